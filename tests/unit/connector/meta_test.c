#include "connector/meta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define CAN "\"capabilities\":{\"note\":{}}"
#define META(members) "{\"name\":\"x\",\"title\":\"X\"," CAN "," members "}"

#define TOKENS(members)                                                                                                \
    META("\"settings\":{\"s\":{\"help\":\"h\"}},\"credentials\":{\"k\":{\"help\":\"h\"},\"refresh_token\":{"           \
         "\"help\":\"h\"}},\"auth\":{" members "}")
#define CLIENT "\"token_url\":\"https://{s}.x/t\",\"client_id\":\"{k}\",\"client_secret\":\"{k}\""
#define CREDENTIALS "\"kind\":\"oauth2_client_credentials\"," CLIENT
#define NOT_REDIRECT(text)                                                                                             \
    "meta.redirects: \"" text                                                                                          \
    "\" is not a host name in small letters such as api.example.com, *.example.com or api.example.com:8443"
#define CHAIN(step) TOKENS("\"kind\":\"chain\",\"name\":\"N\",\"value\":\"\",\"steps\":[{" step "}]")

static struct json *json_of(const char *text)
{
    struct json *j = NULL;
    struct errmsg err;

    if (json_parse(text, strlen(text), &j, &err) != ST_OK)
        fail_msg("%s: %s", text, err.text);
    return j;
}

static void test_full_meta_is_accepted(void **state)
{
    static const char *const texts[] = {
        "{\"name\":\"x\",\"title\":\"X\"," CAN "}",
        META("\"base_url\":null"),
        META(
            "\"base_url\":\"https://{sub}.example.com/"
            "v1\",\"settings\":{\"sub\":{\"help\":\"h\",\"pattern\":\"[a-z]+\",\"default\":\"eu\","
            "\"required\":false}},\"credentials\":{\"key\":{\"help\":\"h\",\"required\":true},\"b2\":{\"help\":\"h\"}},"
            "\"auth\":{\"kind\":\"header\",\"name\":\"Authorization\",\"value\":\"Token "
            "token={key}\",\"headers\":{\"X-A\":\"{b2}\","
            "\"X-B\":\"{sub}\",\"X-C\":\"c\"}},\"headers\":{\"X-Api-Version\":\"20240904\",\"X-T\":\"{sub}\"},"
            "\"hosts\":[\"api.example.com\",\"*.example.com\"],\"redirects\":[\"*.example.com\","
            "\"a.example.com:1\",\"*.example.com:65535\"],\"rate\":{\"count\":"
            "50,\"per_ms\":10000},"
            "\"concurrency\":8,\"timeout_ms\":130000,\"http1_only\":true,\"content_type\":\"application/vnd.api+json\","
            "\"idempotency_header\":\"Idempotency-Key\",\"retry_after\":[{\"header\":\"X-Rate-Limit-Reset\",\"unit\":"
            "\"epoch\"}],"
            "\"throttle_ms\":1000,\"classify\":true,\"probe\":false,\"notes\":[\"n\"]"),
        META("\"auth\":{\"kind\":\"none\"}"),
        TOKENS("\"kind\":\"oauth2_client_credentials\"," CLIENT ",\"client_auth\":\"body\",\"form\":{\"scope\":\"a "
               "{s}\"},\"captures\":{\"api\":\"/a~1b/0\"},\"name\":\"X\",\"value\":\"{access_token}{api}\","
               "\"headers\":{\"Y\":\"{api}{k}\"},\"base_url\":\"{api}\",\"lifetime_ms\":1000,"
               "\"refresh_before_ms\":0,\"keep_alive_ms\":86400000,\"invalid_statuses\":[412]"),
        TOKENS("\"kind\":\"oauth2_refresh_token\"," CLIENT ",\"refresh_token\":\"{refresh_token}\""),
        TOKENS("\"kind\":\"chain\",\"refresh_token\":\"{k}\",\"steps\":[{\"method\":\"GET\",\"url\":\"https://{s}.x\","
               "\"captures\":{\"one\":\"/1\"}},{\"method\":\"POST\",\"url\":\"{one}/t\",\"query\":{\"q\":\"{one}\"},"
               "\"form\":{\"f\":\"{refresh_token}\"},\"headers\":{\"H\":\"{k}\"},\"basic\":{\"username\":\"{k}\","
               "\"password\":\"{one}\"},\"captures\":{\"refresh_token\":\"/r\"},\"expires_in\":\"/e\","
               "\"expires_at\":\"/f\"}],\"name\":\"N\",\"value\":\"{one}\""),
        META("\"credentials\":{\"k\":{\"help\":\"h\"}},\"auth\":{\"kind\":\"basic\",\"username\":\"{k}\",\"password\":"
             "\"\"}"),
        "{\"name\":\"x\",\"title\":\"X\",\"capabilities\":{\"stage\":{\"needs_job\":true,\"values\":[\"NEW\"],"
        "\"pattern\":\".\",\"only_from\":true},"
        "\"reject\":{\"needs_job\":false},\"fields\":{\"batch\":true,\"pattern\":\"customText[0-9]+\"},\"tags\":{\"max_"
        "chars\":25},"
        "\"note\":{\"max_chars\":10000,\"find_marker\":true},\"assessment\":{\"max_chars\":255}}}",
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(texts); i++) {
        struct json *meta = json_of(texts[i]);
        struct errmsg err = {""};

        if (meta_check("x.jq", "x", meta, &err) != ST_OK)
            fail_msg("%s\n%s", texts[i], err.text);
        json_free(meta);
    }
}

static void test_what_is_wrong(void **state)
{
    static const struct {
        const char *meta;
        const char *message;
    } cases[] = {
        {"[]", "meta must be an object"},
        {"{}", "meta.name is missing"},
        {"{\"name\":\"x\"}", "meta.title is missing"},
        {"{\"name\":\"x\",\"title\":\"X\"}", "meta.capabilities is missing"},
        {"{\"name\":\"x\",\"title\":\"X\",\"capabilities\":{}}", "meta.capabilities must name at least one verb"},
        {"{\"name\":\"y\",\"title\":\"X\"," CAN "}", "meta.name must be \"x\", as the file is called"},
        {"{\"name\":1,\"title\":\"X\"," CAN "}", "meta.name must be a text"},
        {META("\"base_ulr\":null"), "meta has an unknown member \"base_ulr\", did you mean \"base_url\"?"},
        {META("\"qqq\":null"), "meta has an unknown member \"qqq\""},
        {META("\"base_url\":1"), "meta.base_url must be a text or null"},
        {META("\"base_url\":\"https://{sub}.x\""), "meta.base_url: {sub} is not among meta.settings"},
        {META("\"base_url\":\"https://{sub\""),
         "meta.base_url: a brace must open or close a {name} of small letters, digits and _"},
        {META("\"base_url\":\"https://sub}\""),
         "meta.base_url: a brace must open or close a {name} of small letters, digits and _"},
        {META("\"base_url\":\"https://{}\""),
         "meta.base_url: a brace must open or close a {name} of small letters, digits and _"},
        {META("\"credentials\":{\"k\":{\"help\":\"h\"}},\"base_url\":\"https://{k}\""),
         "meta.base_url: {k} is not among meta.settings"},
        {META("\"settings\":[]"), "meta.settings must be an object"},
        {META("\"settings\":{\"s\":{}}"), "meta.settings.s.help is missing"},
        {META("\"settings\":{\"s\":\"t\"}"), "meta.settings.s must be an object"},
        {META("\"settings\":{\"S\":{\"help\":\"h\"}}"),
         "meta.settings: the name \"S\" must consist of small letters, digits and _"},
        {META("\"settings\":{\"s\":{\"help\":\"h\",\"patern\":\"\"}}"),
         "meta.settings.s has an unknown member \"patern\", did you mean \"pattern\"?"},
        {META("\"settings\":{\"s\":{\"help\":\"h\"}},\"credentials\":{\"s\":{\"help\":\"h\"}}"),
         "meta.settings: \"s\" is a setting as well as a credential"},
        {META("\"auth\":{}"), "meta.auth.kind is missing"},
        {META("\"auth\":{\"kind\":\"heder\"}"),
         "meta.auth.kind must be none, header, basic, oauth2_client_credentials, oauth2_refresh_token or chain, not "
         "\"heder\"; did you mean \"header\"?"},
        {META("\"auth\":{\"kind\":\"oauth2\"}"),
         "meta.auth.kind must be none, header, basic, oauth2_client_credentials, oauth2_refresh_token or chain, not "
         "\"oauth2\"; did you mean \"oauth2_client_credentials\"?"},
        {META("\"auth\":{\"kind\":\"header\",\"name\":\"A\"}"), "meta.auth.value is missing"},
        {META("\"auth\":{\"kind\":\"basic\",\"username\":\"u\"}"), "meta.auth.password is missing"},
        {META("\"auth\":{\"kind\":\"header\",\"name\":\"A\",\"value\":\"{k}\"}"),
         "meta.auth.value: {k} is not among meta.settings or meta.credentials"},
        {META("\"auth\":{\"kind\":\"none\",\"headers\":{\"A\":\"\",\"B\":\"\",\"C\":\"\",\"D\":\"\"}}"),
         "meta.auth.headers must have 3 members at most"},
        {META("\"auth\":{\"kind\":\"none\",\"headers\":{\"A\":\"{k}\"}}"),
         "meta.auth.headers.A: {k} is not among meta.settings or meta.credentials"},
        {META("\"auth\":{\"kind\":\"none\",\"steps\":[]}"), "meta.auth.steps has no meaning for kind none"},
        {TOKENS(CREDENTIALS ",\"refresh_token\":\"{k}\""),
         "meta.auth.refresh_token has no meaning for kind oauth2_client_credentials"},
        {TOKENS("\"kind\":\"oauth2_refresh_token\"," CLIENT), "meta.auth.refresh_token is missing"},
        {TOKENS(CREDENTIALS ",\"client_auth\":\"post\""), "meta.auth.client_auth must be basic or body"},
        {TOKENS("\"kind\":\"oauth2_client_credentials\",\"token_url\":\"https://{k}.x\",\"client_id\":\"\","
                "\"client_secret\":\"\""),
         "meta.auth.token_url: {k} is not among meta.settings"},
        {TOKENS(CREDENTIALS ",\"value\":\"{other}\""),
         "meta.auth.value: {other} is not among meta.settings or meta.credentials, and not captured before"},
        {TOKENS(CREDENTIALS ",\"base_url\":\"{k}\""),
         "meta.auth.base_url: {k} is not among meta.settings, and not captured before"},
        {TOKENS(CREDENTIALS ",\"captures\":{\"api\":\"api\"}"),
         "meta.auth.captures.api must be a JSON Pointer such as /access_token"},
        {TOKENS(CREDENTIALS ",\"captures\":{\"api\":\"/a~2\"}"),
         "meta.auth.captures.api must be a JSON Pointer such as /access_token"},
        {TOKENS(CREDENTIALS ",\"captures\":{\"k\":\"/a\"}"),
         "meta.auth.captures.k has the name of a setting or credential"},
        {TOKENS(CREDENTIALS ",\"captures\":{\"A\":\"/a\"}"),
         "meta.auth.captures.A must have a name of small letters, digits and _"},
        {TOKENS(CREDENTIALS ",\"invalid_statuses\":[500]"),
         "meta.auth.invalid_statuses must hold HTTP statuses from 400 to 499"},
        {TOKENS("\"kind\":\"chain\",\"name\":\"N\",\"value\":\"\",\"steps\":[]"),
         "meta.auth.steps must have at least one step"},
        {CHAIN("\"method\":\"PUT\",\"url\":\"\",\"captures\":{}"), "meta.auth.steps[0].method must be GET or POST"},
        {CHAIN("\"method\":\"GET\",\"url\":\"\",\"form\":{},\"captures\":{}"),
         "meta.auth.steps[0].form cannot go out with GET"},
        {CHAIN("\"method\":\"GET\",\"url\":\"https://{k}\",\"captures\":{}"),
         "meta.auth.steps[0].url: {k} is not among meta.settings, and not captured before"},
        {CHAIN(
             "\"method\":\"POST\",\"url\":\"https://x\",\"form\":{\"f\":\"{later}\"},\"captures\":{\"later\":\"/l\"}"),
         "meta.auth.steps[0].form.f: {later} is not among meta.settings or meta.credentials, and not captured before"},
        {CHAIN("\"method\":\"GET\",\"url\":\"https://x\",\"captures\":{\"a\":\"x\"}"),
         "meta.auth.steps[0].captures.a must be a JSON Pointer such as /access_token"},
        {CHAIN("\"method\":\"GET\",\"url\":\"https://x\""), "meta.auth.steps[0].captures is missing"},
        {META("\"headers\":{\"A\":1}"), "meta.headers.A must be a text"},
        {META("\"headers\":{\"A\":\"{s}\"}"), "meta.headers.A: {s} is not among meta.settings"},
        {META("\"hosts\":\"a.b\""), "meta.hosts must be a list"},
        {META("\"hosts\":[1]"), "meta.hosts[0] must be a text"},
        {META("\"hosts\":[\"*\"]"),
         "meta.hosts: \"*\" is not a host name in small letters such as api.example.com or *.example.com"},
        {META("\"hosts\":[\"a.b:8443\"]"),
         "meta.hosts: \"a.b:8443\" is not a host name in small letters such as api.example.com or *.example.com"},
        {META("\"redirects\":[\"a.b\",\"a/b\"]"), NOT_REDIRECT("a/b")},
        {META("\"redirects\":[\"a.b:\"]"), NOT_REDIRECT("a.b:")},
        {META("\"redirects\":[\"a.b:0\"]"), NOT_REDIRECT("a.b:0")},
        {META("\"redirects\":[\"a.b:0443\"]"), NOT_REDIRECT("a.b:0443")},
        {META("\"redirects\":[\"a.b:65536\"]"), NOT_REDIRECT("a.b:65536")},
        {META("\"redirects\":[\"a.b:443:443\"]"), NOT_REDIRECT("a.b:443:443")},
        {META("\"redirects\":[\"a.b:*\"]"), NOT_REDIRECT("a.b:*")},
        {META("\"redirects\":[\":443\"]"), NOT_REDIRECT(":443")},
        {"{\"name\":\"x\",\"title\":\"X\",\"capabilities\":{\"note\":{\"shown_as\":\"markdown\"}}}",
         "meta.capabilities.note.shown_as must be text or html; leave it out where that is not known"},
        {META("\"rate\":{\"count\":50}"), "meta.rate.per_ms is missing"},
        {META("\"rate\":{\"count\":0,\"per_ms\":1}"), "meta.rate.count must be a whole number from 1 to 1000000"},
        {META("\"concurrency\":1.5"), "meta.concurrency must be a whole number from 1 to 1000"},
        {META("\"timeout_ms\":\"30s\""), "meta.timeout_ms must be a whole number from 100 to 600000"},
        {META("\"http1_only\":1"), "meta.http1_only must be true or false"},
        {META("\"retry_after\":[{\"header\":\"h\",\"unit\":\"minutes\"}]"),
         "meta.retry_after: the unit \"minutes\" is none of seconds, epoch, epoch_ms, http_date, iso8601"},
        {META("\"retry_after\":[{\"header\":\"h\"}]"), "meta.retry_after[0].unit is missing"},
        {"{\"name\":\"x\",\"title\":\"X\",\"capabilities\":{\"notes\":{}}}",
         "meta.capabilities has an unknown member \"notes\", did you mean \"note\"?"},
        {"{\"name\":\"x\",\"title\":\"X\",\"capabilities\":{\"note\":{\"max_chars\":99}}}",
         "meta.capabilities.note.max_chars must be a whole number from 100 to 10000000"},
        {"{\"name\":\"x\",\"title\":\"X\",\"capabilities\":{\"note\":true}}",
         "meta.capabilities.note must be an object"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *meta = json_of(cases[i].meta);
        struct errmsg err = {""};
        char expected[512];

        snprintf(expected, sizeof expected, "x.jq: %s", cases[i].message);
        if (meta_check("x.jq", "x", meta, &err) != ST_INVALID || strcmp(err.text, expected) != 0)
            fail_msg("%s\ngives    %s\nexpected %s", cases[i].meta, err.text, expected);
        json_free(meta);
    }
}

static void test_filling(void **state)
{
    struct json *meta = json_of("{\"settings\":{\"a\":{\"help\":\"\"},\"b\":{\"help\":\"\",\"default\":\"B\"}},"
                                "\"credentials\":{\"k\":{\"help\":\"\"}}}");
    struct named_value settings[] = {{.name = (char[]){"a"}, .value = (char[]){"A{b}"}}};
    struct named_value credentials[] = {{.name = (char[]){"k"}, .value = (char[]){"secret"}}};
    struct connector_config connector = {.name = (char[]){"c"},
                                         .settings = settings,
                                         .setting_count = 1,
                                         .credentials = credentials,
                                         .credential_count = 1};
    static const struct {
        const char *text;
        bool with_credentials;
        int status;
        const char *result; /* or the message */
    } cases[] = {
        {"plain", false, ST_OK, "plain"},
        {"{a}-{b}.", false, ST_OK, "A{b}-B."},
        {"Bearer {k}", true, ST_OK, "Bearer secret"},
        {"Bearer {k}", false, ST_NOT_FOUND, "the setting \"k\" of connector \"c\" is missing"},
        {"{x}", true, ST_NOT_FOUND, "the setting \"x\" of connector \"c\" is missing"},
        {"{X}", true, ST_INVALID, "a brace must open or close a {name} of small letters, digits and _"},
    };
    struct errmsg err;
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        buf_reset(&out);
        assert_int_equal(meta_fill(meta, &connector, cases[i].text, cases[i].with_credentials, &out, &err),
                         cases[i].status);
        assert_string_equal(cases[i].status == ST_OK ? buf_text(&out) : err.text, cases[i].result);
    }
    connector.credential_count = 0;
    buf_reset(&out);
    assert_int_equal(meta_fill(meta, &connector, "{k}", true, &out, &err), ST_NOT_FOUND);
    assert_string_equal(err.text, "the credential \"k\" of connector \"c\" is missing");
    assert_string_equal(meta_setting(meta, &connector, "b"), "B");
    assert_null(meta_setting(meta, &connector, "c"));
    buf_free(&out);
    json_free(meta);
}

static void test_host_patterns(void **state)
{
    static const struct {
        const char *pattern;
        bool ok;
    } cases[] = {{"a", true},
                 {"api.example.com", true},
                 {"*.example.com", true},
                 {"*", false},
                 {"*.", false},
                 {"", false},
                 {".a", false},
                 {"a.", false},
                 {"a..b", false},
                 {"A.b", false},
                 {"a.*.b", false},
                 {"a b", false},
                 {"a:443", false},
                 {"a-1.b2.c", true},
                 {"**.a", false}};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        if (meta_host_pattern_ok(cases[i].pattern) != cases[i].ok)
            fail_msg("%s", cases[i].pattern);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_meta_is_accepted),
        cmocka_unit_test(test_what_is_wrong),
        cmocka_unit_test(test_filling),
        cmocka_unit_test(test_host_patterns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
