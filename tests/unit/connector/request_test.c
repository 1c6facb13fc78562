#include "connector/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

static struct json *json_of(const char *text)
{
    struct json *j = NULL;
    struct errmsg err;

    if (json_parse(text, strlen(text), &j, &err) != ST_OK)
        fail_msg("%s: %s", text, err.text);
    return j;
}

static void test_base_url(void **state)
{
    static const struct {
        const char *meta;
        const char *configured; /* NULL: nothing */
        bool allow_private;
        const char *base; /* NULL: refused */
        const char *message;
    } cases[] = {
        {"{}", "https://ats.example.com", false, "https://ats.example.com", NULL},
        {"{}", "https://ats.example.com/api/v1//", false, "https://ats.example.com/api/v1", NULL},
        {"{}", "https://ATS.example.com:8443/", false, "https://ATS.example.com:8443", NULL},
        {"{}", "http://127.0.0.1:8080/x", false, "http://127.0.0.1:8080/x", NULL},
        {"{}", "http://[::1]:8080", false, "http://[::1]:8080", NULL},
        {"{}", "http://localhost", false, "http://localhost", NULL},
        {"{}", "http://ats.localhost", false, "http://ats.localhost", NULL},
        {"{}", "http://192.168.1.2", false, "http://192.168.1.2", NULL},
        {"{}", "http://ats.internal", true, "http://ats.internal", NULL},
        {"{\"base_url\":\"https://{sub}.example.com/v1\"}", NULL, false, "https://acme.example.com/v1", NULL},
        {"{\"base_url\":\"https://{sub}.example.com/v1\"}", "https://other.example", false, "https://other.example",
         NULL},
        {"{\"base_url\":\"https://{no}.example.com\"}", NULL, false, NULL,
         "the setting \"no\" of connector \"ats\" is missing"},
        {"{}", NULL, false, NULL,
         "base_url is required: the address of the ATS's API, such as https://ats.example.com/api"},
        {"{\"base_url\":null}", NULL, false, NULL,
         "base_url is required: the address of the ATS's API, such as https://ats.example.com/api"},
        {"{}", "http://ats.example.com", false, NULL,
         "base_url \"http://ats.example.com\" must begin with https://: credentials would travel unencrypted (http:// "
         "is for loopback "
         "and private addresses)"},
        {"{}", "http://localhost.example.com", false, NULL,
         "base_url \"http://localhost.example.com\" must begin with https://: credentials would travel unencrypted "
         "(http:// is for "
         "loopback and private addresses)"},
        {"{}", "http://8.8.8.8", false, NULL,
         "base_url \"http://8.8.8.8\" must begin with https://: credentials would travel unencrypted (http:// is for "
         "loopback "
         "and private addresses)"},
        {"{}", "ftp://ats.example.com", false, NULL,
         "base_url \"ftp://ats.example.com\" does not begin with https:// or http://"},
        {"{}", "https://user@ats.example.com", false, NULL,
         "base_url \"https://user@ats.example.com\" holds a user name"},
        {"{}", "https://ats.example.com?a=1", false, NULL,
         "base_url \"https://ats.example.com\" has a query, which belongs to single requests"},
        {"{}", "https://ats.example.com/#a", false, NULL,
         "base_url \"https://ats.example.com/#a\" holds a character that cannot stand in a URL, or a fragment"},
        {"{}", "https://ats.example.com:99999", false, NULL,
         "base_url \"https://ats.example.com:99999\" has a port that is not a number from 1 to 65535"},
        {"{}", "https://ats.example.com:", false, NULL,
         "base_url \"https://ats.example.com:\" has a port that is not a number from 1 to 65535"},
        {"{}", "https://ats.example.com/api/..", false, NULL,
         "base_url \"https://ats.example.com/api/..\" has a path with \".\" or \"..\" in it, which leads elsewhere"},
        {"{}", "https://", false, NULL, "base_url \"https:\" does not begin with https:// or http://"},
        {"{}", "https://a..b", false, NULL, "base_url \"https://a..b\" has no valid host"},
        {"{}", "https://[1.2.3.4]", false, NULL, "base_url \"https://[1.2.3.4]\" has no valid host"},
        {"{}", "https://[::1", false, NULL, "base_url \"https://[::1\" has no valid host"},
        {"{\"base_url\":\"https://x\",\"headers\":{\"X-A\":\"{line}\"}}", NULL, false, NULL,
         "the header X-A of connector \"ats\" cannot be sent: its value is too long or holds control characters"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct named_value settings[] = {{.name = (char[]){"sub"}, .value = (char[]){"acme"}},
                                         {.name = (char[]){"line"}, .value = (char[]){"a\nb"}}};
        char *configured = mem_strdup(cases[i].configured);
        struct connector_config connector = {.name = (char[]){"ats"},
                                             .base_url = configured,
                                             .settings = settings,
                                             .setting_count = 2,
                                             .allow_private_addresses = cases[i].allow_private};
        struct json *meta = json_of(cases[i].meta);
        struct target *t = NULL;
        struct errmsg err = {""};
        int st = target_new(meta, &connector, &t, &err);

        if (cases[i].base != NULL) {
            if (st != ST_OK)
                fail_msg("%s", err.text);
            assert_string_equal(target_base_url(t), cases[i].base);
        } else {
            assert_int_equal(st, ST_INVALID);
            assert_null(t);
            assert_string_equal(err.text, cases[i].message);
        }
        target_free(t);
        json_free(meta);
        mem_free(configured);
    }
}

static void test_private_addresses(void **state)
{
    static const struct {
        const char *base_url;
        bool flag;
        bool allowed;
    } cases[] = {
        {NULL, false, false},
        {NULL, true, true},
        {"https://ats.example.com", false, false},
        {"https://ats.example.com", true, true},
        {"http://127.0.0.1:1", false, true},
        {"https://10.0.0.1/x", false, true},
        {"https://[fd00::1]", false, true},
        {"https://localhost", false, true},
        {"https://8.8.8.8", false, false},
        {"https://127.0.0.1.example.com", false, false},
        {"https://2130706433", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *base_url = mem_strdup(cases[i].base_url);
        struct connector_config connector = {.base_url = base_url, .allow_private_addresses = cases[i].flag};

        if (request_allows_private(&connector) != cases[i].allowed)
            fail_msg("%s", base_url != NULL ? base_url : "none");
        mem_free(base_url);
    }
}

static void test_hosts(void **state)
{
    static const struct {
        const char *base_url;
        const char *url;
        bool allowed;
    } cases[] = {
        {"https://base.example/v1", "https://base.example/other?x=1", true},
        {"https://base.example/v1", "https://BASE.example:443/", true},
        {"https://base.example/v1", "https://base.example:444/", false},
        {"https://base.example/v1", "http://base.example/", false},
        {"https://base.example/v1", "http://base.example:443/", false},
        {"https://base.example/v1", "https://base.example.evil/", false},
        {"https://base.example/v1", "https://evil@base.example/", false},
        {"https://base.example/v1", "https://base.example@evil/", false},
        {"https://base.example/v1", "https://evil?base.example/", false},
        {"https://base.example/v1", "https://evil\\@base.example/", false},
        {"https://base.example/v1", "https://api.example.com", true},
        {"https://base.example/v1", "http://api.example.com", false},
        {"https://base.example/v1", "https://api.example.com:8443", false},
        {"https://base.example/v1", "https://a.b.rest.example.com/x", true},
        {"https://base.example/v1", "https://rest.example.com/", false},
        {"https://base.example/v1", "https://evilrest.example.com/", false},
        {"https://base.example/v1", "https://127.0.0.1/", false},
        {"https://base.example/v1", "https://base.example./", false},
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080/next?page=2", true},
        {"http://127.0.0.1:8080", "http://127.0.0.1:8081/", false},
        {"http://127.0.0.1:8080", "http://api.example.com", false},
        {"http://127.0.0.1:8080", "https://api.example.com", true},
    };
    struct json *meta = json_of("{\"hosts\":[\"api.example.com\",\"*.rest.example.com\"]}");

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *base_url = mem_strdup(cases[i].base_url);
        struct connector_config connector = {.name = (char[]){"ats"}, .base_url = base_url};
        struct target *t = NULL;

        assert_int_equal(target_new(meta, &connector, &t, NULL), ST_OK);
        if (target_allows(t, cases[i].url) != cases[i].allowed)
            fail_msg("%s with base %s", cases[i].url, base_url);
        target_free(t);
        mem_free(base_url);
    }
    json_free(meta);
}

/* "METHOD URL path", the headers, an empty line and the body. */
static char *shown(const struct request *r)
{
    struct buf b;

    buf_init(&b, 100000);
    buf_printf(&b, "%s %s %s\n", r->method, r->url, r->path);
    for (size_t i = 0; i < r->header_count; i++)
        buf_printf(&b, "%s: %s\n", r->headers[i].name, r->headers[i].value);
    if (r->body != NULL) {
        assert_int_equal(strlen(r->body), r->body_len);
        buf_printf(&b, "\n%s", r->body);
    }
    return buf_take(&b);
}

#define JSON_META                                                                                                      \
    "{\"content_type\":\"application/"                                                                                 \
    "vnd.api+json\",\"idempotency_header\":\"Idempotency-Key\",\"headers\":{\"X-Version\":\"2\"}}"

static void assert_made(const char *meta_text, const char *spec_text, const char *key, int status, const char *expected)
{
    struct json *meta = json_of(meta_text);
    struct json *spec = json_of(spec_text);
    struct connector_config connector = {.name = (char[]){"ats"}, .base_url = (char[]){"https://ats.example/api"}};
    struct target *t = NULL;
    struct request r = {0};
    struct errmsg err = {""};
    char *text;
    int st;

    assert_int_equal(target_new(meta, &connector, &t, &err), ST_OK);
    st = request_make(t, spec, key, &r, &err);
    text = st == ST_OK ? shown(&r) : mem_strdup(err.text);
    if (st != status || strcmp(text, expected) != 0)
        fail_msg("%s\ngives    %d %s\nexpected %d %s", spec_text, st, text, status, expected);
    if (st != ST_OK)
        assert_null(r.method);
    mem_free(text);
    request_clear(&r);
    target_free(t);
    json_free(spec);
    json_free(meta);
}

#define ACCEPT "Accept: application/json\n"

static void test_requests(void **state)
{
    static const struct {
        const char *spec;
        const char *request;
    } cases[] = {
        {"{\"method\":\"GET\",\"path\":[]}", "GET https://ats.example/api /api\n" ACCEPT},
        {"{\"method\":\"GET\",\"path\":[\"candidates\",\"a/..b\",\"jobs\",12345678901234567890]}",
         "GET https://ats.example/api/candidates/a%2F..b/jobs/12345678901234567890 "
         "/api/candidates/a%2F..b/jobs/12345678901234567890\n" ACCEPT},
        {"{\"method\":\"GET\",\"path\":[\"a?b=c&d#e%2e\",\"\\u00fc \\n\",\"...\",\"a.b-c_d~e\"]}",
         "GET https://ats.example/api/a%3Fb%3Dc%26d%23e%252e/%C3%BC%20%0A/.../a.b-c_d~e "
         "/api/a%3Fb%3Dc%26d%23e%252e/%C3%BC%20%0A/.../a.b-c_d~e\n" ACCEPT},
        {"{\"method\":\"GET\",\"path\":[\"x\"],\"query\":{\"filter[email]\":\"a+b@c.d\",\"n\":7,\"t\":true,\"no\":null,"
         "\"ids\":[1,\"2\",null]}}",
         "GET https://ats.example/api/x?filter%5Bemail%5D=a%2Bb%40c.d&n=7&t=true&ids=1&ids=2 /api/x\n" ACCEPT},
        {"{\"method\":\"GET\",\"path\":[\"x\"],\"query\":{\"no\":null}}",
         "GET https://ats.example/api/x /api/x\n" ACCEPT},
        {"{\"method\":\"GET\",\"url\":\"https://ats.example/next?cursor=a%2Fb\",\"query\":{\"n\":1}}",
         "GET https://ats.example/next?cursor=a%2Fb&n=1 /next\n" ACCEPT},
        {"{\"method\":\"GET\",\"url\":\"https://ats.example?x\"}", "GET https://ats.example?x /\n" ACCEPT},
        {"{\"method\":\"GET\",\"url\":\"https://ats.example/.x/a..b?back=/../\"}",
         "GET https://ats.example/.x/a..b?back=/../ /.x/a..b\n" ACCEPT},
        {"{\"method\":\"POST\",\"path\":[\"x\"],\"body\":{\"a\":[1,\"\\u0000\\ud800\",12345678901234567890]}}",
         "POST https://ats.example/api/x /api/x\n" ACCEPT
         "Content-Type: application/json\n\n{\"a\":[1,\"\\u0000\\ud800\",12345678901234567890]}"},
        {"{\"method\":\"PUT\",\"path\":[\"x\"],\"body\":false}",
         "PUT https://ats.example/api/x /api/x\n" ACCEPT "Content-Type: application/json\n\nfalse"},
        {"{\"method\":\"PATCH\",\"path\":[\"x\"],\"body\":null,\"query\":null}",
         "PATCH https://ats.example/api/x /api/x\n" ACCEPT},
        {"{\"method\":\"POST\",\"path\":[\"x\"],\"form\":{\"grant type\":\"a&b\",\"n\":1}}",
         "POST https://ats.example/api/x /api/x\n" ACCEPT
         "Content-Type: application/x-www-form-urlencoded\n\ngrant%20type=a%26b&n=1"},
        {"{\"method\":\"DELETE\",\"path\":[\"x\"],\"headers\":{\"accept\":\"text/"
         "plain\",\"On-Behalf-Of\":4080,\"X-No\":null}}",
         "DELETE https://ats.example/api/x /api/x\naccept: text/plain\nOn-Behalf-Of: 4080\n"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_made("{}", cases[i].spec, "key", ST_OK, cases[i].request);
    assert_made(JSON_META, "{\"method\":\"POST\",\"path\":[\"x\"],\"body\":{}}", "k-1", ST_OK,
                "POST https://ats.example/api/x /api/x\nX-Version: 2\nIdempotency-Key: k-1\n" ACCEPT
                "Content-Type: application/vnd.api+json\n\n{}");
    assert_made(JSON_META, "{\"method\":\"GET\",\"path\":[\"x\"],\"headers\":{\"x-version\":\"3\"}}", NULL, ST_OK,
                "GET https://ats.example/api/x /api/x\nx-version: 3\n" ACCEPT);
}

static void test_refused_requests(void **state)
{
    static const struct {
        const char *spec;
        int status;
        const char *message;
    } cases[] = {
        {"[]", ST_INVALID, "the request must be an object"},
        {"{}", ST_INVALID, "the request's method must be GET, POST, PUT, PATCH or DELETE"},
        {"{\"method\":\"get\",\"path\":[]}", ST_INVALID,
         "the request's method must be GET, POST, PUT, PATCH or DELETE"},
        {"{\"method\":\"GET\"}", ST_INVALID, "the request must have either a path or a url"},
        {"{\"method\":\"GET\",\"path\":[],\"url\":\"https://ats.example\"}", ST_INVALID,
         "the request must have either a path or a url"},
        {"{\"method\":\"GET\",\"path\":\"/x\"}", ST_INVALID, "the request's path must be a list of segments"},
        {"{\"method\":\"GET\",\"path\":[\"a\",\"\"]}", ST_DENIED,
         "part 2 of the path is empty, which would lead elsewhere"},
        {"{\"method\":\"GET\",\"path\":[\".\"]}", ST_DENIED,
         "part 1 of the path is or holds a \".\" or \"..\", which would lead elsewhere"},
        {"{\"method\":\"GET\",\"path\":[\"a\",\"b\",\"..\"]}", ST_DENIED,
         "part 3 of the path is or holds a \".\" or \"..\", which would lead elsewhere"},
        {"{\"method\":\"GET\",\"path\":[\"x%2F%2e%2e\"]}", ST_DENIED,
         "part 1 of the path is or holds a \".\" or \"..\", which would lead elsewhere"},
        {"{\"method\":\"GET\",\"path\":[\"a\",null]}", ST_NOT_FOUND,
         "part 2 of the path is null, not a text or number"},
        {"{\"method\":\"GET\",\"path\":[[\"a\"]]}", ST_INVALID,
         "part 1 of the path is a list, an object or a boolean, not a text or number"},
        {"{\"method\":\"GET\",\"path\":[\"a\\u0000\"]}", ST_DENIED,
         "the path holds a NUL or half a character, which no URL and no header can carry"},
        {"{\"method\":\"GET\",\"path\":[],\"query\":{\"a\":\"\\udc00\"}}", ST_DENIED,
         "the request's query holds a NUL or half a character, which no URL and no header can carry"},
        {"{\"method\":\"GET\",\"path\":[],\"query\":{\"a\":{}}}", ST_INVALID,
         "the request's query: \"a\" must be a text, a number, a boolean, null or a list of them"},
        {"{\"method\":\"GET\",\"path\":[],\"query\":[]}", ST_INVALID, "the request's query must be an object"},
        {"{\"method\":\"GET\",\"path\":[],\"quary\":{}}", ST_INVALID,
         "the request has an unknown member \"quary\", did you mean \"query\"?"},
        {"{\"method\":\"GET\",\"url\":7}", ST_INVALID, "the request's url must be a text"},
        {"{\"method\":\"GET\",\"url\":\"/x\"}", ST_INVALID,
         "the request's url does not begin with https:// or http://"},
        {"{\"method\":\"GET\",\"url\":\"https://ats.example/v1/../admin?a=b\"}", ST_INVALID,
         "the request's url has a path with \".\" or \"..\" in it, which leads elsewhere"},
        {"{\"method\":\"GET\",\"url\":\"https://ats.example/v1/.?or=2\"}", ST_INVALID,
         "the request's url has a path with \".\" or \"..\" in it, which leads elsewhere"},
        {"{\"method\":\"GET\",\"url\":\"https://ats.example/%2e%2E/x\"}", ST_INVALID,
         "the request's url has a path with \".\" or \"..\" in it, which leads elsewhere"},
        {"{\"method\":\"GET\",\"url\":\"https://evil.example/x\"}", ST_INVALID,
         "the request's url leads to https://evil.example:443, which is not a host of this connector"},
        {"{\"method\":\"GET\",\"url\":\"http://ats.example/x\"}", ST_INVALID,
         "the request's url leads to http://ats.example:80, which is not a host of this connector"},
        {"{\"method\":\"GET\",\"path\":[],\"headers\":[]}", ST_INVALID, "the request's headers must be an object"},
        {"{\"method\":\"GET\",\"path\":[],\"headers\":{\"authorization\":\"x\"}}", ST_INVALID,
         "the header \"authorization\" is not for a connector to set"},
        {"{\"method\":\"GET\",\"path\":[],\"headers\":{\"A b\":\"x\"}}", ST_INVALID,
         "the header \"A b\" is not for a connector to set"},
        {"{\"method\":\"GET\",\"path\":[],\"headers\":{\"X-A\":\"a\\r\\nX-B: c\"}}", ST_DENIED,
         "the value of the header X-A holds control characters or is too long"},
        {"{\"method\":\"GET\",\"path\":[],\"headers\":{\"X-A\":{}}}", ST_INVALID,
         "the header X-A must be a text or a number"},
        {"{\"method\":\"GET\",\"path\":[],\"body\":{}}", ST_INVALID, "a GET request cannot have a body"},
        {"{\"method\":\"PUT\",\"path\":[],\"body\":{},\"form\":{}}", ST_INVALID,
         "the request has a body as well as a form"},
    };
    struct buf long_spec;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_made("{}", cases[i].spec, NULL, cases[i].status, cases[i].message);
    buf_init(&long_spec, 100000);
    buf_puts(&long_spec, "{\"method\":\"GET\",\"path\":[\"");
    for (int i = 0; i < 3000; i++)
        buf_puts(&long_spec, "\\u00fc");
    buf_puts(&long_spec, "\"]}");
    assert_made("{}", buf_text(&long_spec), NULL, ST_DENIED, "the request's URL would be longer than 8192 bytes");
    buf_free(&long_spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_url), cmocka_unit_test(test_private_addresses), cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_requests), cmocka_unit_test(test_refused_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
