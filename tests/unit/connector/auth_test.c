#include "connector/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

#define NOW_US INT64_C(1770000000000000) /* 2026-02-02T02:40:00Z */
#define S_US INT64_C(1000000)

static char dir[] = "/tmp/auth_test.XXXXXX";

/* One kind of authentication with a configuration: what a test works with. */
struct kit {
    struct connector_module *module;
    struct config *config;
    struct auth *auth;
};

static struct connector_module *made(const char *auth)
{
    char *connectors = mem_printf("%s/connectors", dir);
    char *path = mem_printf("%s/t.jq", connectors);
    char *conf = mem_printf("%s/t.conf", dir);
    struct connector_module *m = NULL;
    struct errmsg err = {"cannot write"};
    FILE *f = mkdir(connectors, 0700) == 0 ? fopen(path, "we") : NULL;

    if (f == NULL ||
        fprintf(f,
                "def meta: {name: \"t\", title: \"T\", base_url: null,\n"
                "  settings: {region: {help: \"h\", default: \"eu\"}, user_id: {help: \"h\", default: \"77\"}},\n"
                "  credentials: {client_id: {help: \"h\"}, client_secret: {help: \"h\"},\n"
                "    refresh_token: {help: \"h\", required: false}},\n"
                "  hosts: [\"*.vendor.example\"], capabilities: {note: {}}, auth: %s};\n"
                "def note: {already: true};\n",
                auth) < 0 ||
        fclose(f) != 0 || connector_module_load(conf, "t", &m, &err) != ST_OK)
        fail_msg("%s: %s", path, err.text);
    (void)unlink(path);
    (void)rmdir(connectors);
    mem_free(connectors);
    mem_free(path);
    mem_free(conf);
    return m;
}

/* credentials: lines of YAML in braces; base_url: NULL for the usual one. */
static struct kit kit_of(const char *auth, const char *credentials, const char *base_url)
{
    struct kit k = {.module = made(auth)};
    struct config_problems problems = {0};
    struct errmsg err;
    char *text = mem_printf("sources: {popp: {signing_secrets: [abcdefgh]}}\n"
                            "connectors:\n  ats:\n    type: t\n    base_url: \"%s\"\n    credentials: {%s}\n",
                            base_url != NULL ? base_url : "https://api.vendor.example/v1", credentials);

    if (config_parse("t.conf", text, strlen(text), &k.config, &problems) != ST_OK)
        fail_msg("%s", problems.items[0].message);
    mem_free(text);
    if (auth_new(k.module, k.config, &k.config->connectors[0], &k.auth, &err) != ST_OK)
        fail_msg("%s", err.text);
    return k;
}

static void kit_clear(struct kit *k)
{
    auth_free(k->auth);
    config_unref(k->config);
    connector_module_unref(k->module);
}

#define CLIENT "client_id: \"id:1\", client_secret: \"s&c=r+t\""
#define CLIENT_AND_FIRST CLIENT ", refresh_token: \"first+/=\""

static const char client_credentials[] = "{kind: \"oauth2_client_credentials\", token_url: "
                                         "\"https://auth.{region}.example/token\", client_id: \"{client_id}\","
                                         " client_secret: \"{client_secret}\", form: {sub: \"{user_id}\"}}";
static const char refreshing[] =
    "{kind: \"oauth2_refresh_token\", token_url: \"https://id.example/token\", client_id: \"{client_id}\","
    " client_secret: \"{client_secret}\", client_auth: \"body\", refresh_token: \"{refresh_token}\","
    " captures: {api: \"/instance/api\"}, base_url: \"{api}\", value: \"Zoho-oauthtoken {access_token}\","
    " refresh_before_ms: 30000, keep_alive_ms: 7200000}";
static const char chain[] =
    "{kind: \"chain\", refresh_token: \"{refresh_token}\", steps: ["
    " {method: \"GET\", url: \"https://rest.vendor.example/info\", query: {username: \"{client_id}\"},"
    "  captures: {oauth: \"/oauthUrl\"}},"
    " {method: \"POST\", url: \"{oauth}/token\", form: {grant_type: \"refresh_token\", refresh_token: "
    "\"{refresh_token}\"},"
    "  basic: {username: \"me\", password: \"{client_secret}\"},"
    "  captures: {access_token: \"/access_token\", refresh_token: \"/refresh_token\"}},"
    " {method: \"POST\", url: \"https://rest.vendor.example/login\", query: {version: \"*\", access_token: "
    "\"{access_token}\"},"
    "  captures: {session: \"/BhRestToken\", rest: \"/restUrl\"}, expires_at: \"/until\"}],"
    " name: \"BhRestToken\", value: \"{session}\", base_url: \"{rest}\", lifetime_ms: 600000}";

/* ---- answers */
static void answer(struct auth_run *r, long status, const char *type, const char *body)
{
    const struct httpc_header headers[] = {{"content-type", type}, {"retry-after", "7"}};
    struct httpc_response response = {.result = HTTPC_ANSWERED,
                                      .status = status,
                                      .headers = headers,
                                      .header_count = status == 429 ? 2 : 1,
                                      .body = body,
                                      .body_len = strlen(body),
                                      .error = ""};

    auth_run_answer(r, &response, NOW_US);
}

static void answer_json(struct auth_run *r, long status, const char *body)
{
    answer(r, status, "application/json", body);
}

static const char *header_of(const struct request *q, const char *name)
{
    for (size_t i = 0; i < q->header_count; i++) {
        if (text_ieq(q->headers[i].name, name))
            return q->headers[i].value;
    }
    return NULL;
}

static void assert_request(const struct auth_run *r, const char *method, const char *url, const char *body)
{
    const struct request *q = auth_run_request(r);

    if (q == NULL)
        fail_msg("no request: %s", auth_run_failure(r)->message);
    assert_string_equal(q->method, method);
    assert_string_equal(q->url, url);
    if (body == NULL)
        assert_null(q->body);
    else
        assert_string_equal(q->body, body);
}

static void assert_failure(const struct auth_run *r, const char *error_class, const char *message)
{
    assert_int_equal(auth_run_next(r), AUTH_FAILED);
    assert_string_equal(auth_run_failure(r)->message, message);
    assert_string_equal(auth_run_failure(r)->error_class, error_class);
}

/* Runs a kind of one request to its end with this answer. */
static struct auth_tokens *got(const struct auth *a, const struct auth_tokens *known, const char *body)
{
    struct auth_run *r = auth_run_new(a, known);
    struct auth_tokens *t;

    answer_json(r, 200, body);
    if (auth_run_next(r) != AUTH_DONE)
        fail_msg("%s", auth_run_failure(r)->message);
    t = auth_tokens_copy(auth_run_tokens(r));
    auth_run_free(r);
    return t;
}

/* ---- the kinds */
static void test_client_credentials(void **state)
{
    struct kit k = kit_of(client_credentials, CLIENT, NULL);
    struct auth_run *r = auth_run_new(k.auth, NULL);
    struct auth_grant *g = NULL;
    struct errmsg err;

    (void)state;
    assert_true(auth_gets_tokens(connector_module_meta(k.module)));
    assert_string_equal(auth_seed(k.auth), "");
    assert_request(r, "POST", "https://auth.eu.example/token", "grant_type=client_credentials&sub=77");
    assert_string_equal(header_of(auth_run_request(r), "Content-Type"), "application/x-www-form-urlencoded");
    /* base64("id%3A1:s%26c%3Dr%2Bt"): RFC 6749 section 2.3.1 */
    assert_string_equal(header_of(auth_run_request(r), "Authorization"), "Basic aWQlM0ExOnMlMjZjJTNEciUyQnQ=");
    answer_json(r, 200, "{\"access_token\":\"t0k/en+=\",\"token_type\":\"Bearer\",\"expires_in\":3600}");
    assert_int_equal(auth_run_next(r), AUTH_DONE);
    assert_int_equal(auth_grant_make(k.auth, auth_run_tokens(r), 5, &g, &err), ST_OK);
    assert_int_equal(g->serial, 5);
    assert_int_equal(g->headers.count, 1);
    assert_string_equal(g->headers.items[0].name, "Authorization");
    assert_string_equal(g->headers.items[0].value, "Bearer t0k/en+=");
    assert_null(g->base_url);
    assert_string_equal(g->secrets[0], "t0k/en+=");
    auth_grant_unref(g);
    auth_run_free(r);
    kit_clear(&k);
}

static void test_refresh_token_rotates(void **state)
{
    struct kit k = kit_of(refreshing, CLIENT_AND_FIRST, NULL);
    struct auth_run *r = auth_run_new(k.auth, NULL);
    struct auth_tokens *first, *second;
    struct auth_grant *g = NULL;
    struct errmsg err;

    (void)state;
    assert_request(
        r, "POST", "https://id.example/token",
        "grant_type=refresh_token&refresh_token=first%2B%2F%3D&client_id=id%3A1&client_secret=s%26c%3Dr%2Bt");
    assert_null(header_of(auth_run_request(r), "Authorization"));
    auth_run_free(r);
    first = got(k.auth, NULL,
                "{\"access_token\":\"a1\",\"refresh_token\":\"r2\",\"expires_in\":\"3600\","
                "\"instance\":{\"api\":\"https://eu7.vendor.example/v2/\"}}");
    assert_int_equal(auth_grant_make(k.auth, first, 1, &g, &err), ST_OK);
    assert_string_equal(g->headers.items[0].value, "Zoho-oauthtoken a1");
    assert_string_equal(g->base_url, "https://eu7.vendor.example/v2/");
    auth_grant_unref(g);
    r = auth_run_new(k.auth, first);
    assert_true(strstr(auth_run_request(r)->body, "refresh_token=r2&") != NULL);
    auth_run_free(r);
    /* no new one in the answer: the old one stays good */
    second = got(k.auth, first, "{\"access_token\":\"a2\",\"instance\":{\"api\":\"https://api.vendor.example\"}}");
    r = auth_run_new(k.auth, second);
    assert_true(strstr(auth_run_request(r)->body, "refresh_token=r2&") != NULL);
    auth_run_free(r);
    auth_tokens_free(second);
    auth_tokens_free(first);
    kit_clear(&k);
}

static void test_chain(void **state)
{
    struct kit k = kit_of(chain, CLIENT_AND_FIRST, NULL);
    struct auth_run *r = auth_run_new(k.auth, NULL);
    struct auth_grant *g = NULL;
    struct errmsg err;

    (void)state;
    assert_request(r, "GET", "https://rest.vendor.example/info?username=id%3A1", NULL);
    answer_json(r, 200, "{\"oauthUrl\":\"https://auth-west.vendor.example/oauth\"}");
    assert_request(r, "POST", "https://auth-west.vendor.example/oauth/token",
                   "grant_type=refresh_token&refresh_token=first%2B%2F%3D");
    assert_string_equal(header_of(auth_run_request(r), "Authorization"), "Basic bWU6cyZjPXIrdA=="); /* me:s&c=r+t */
    answer_json(r, 200, "{\"access_token\":\"5:a b&c\",\"refresh_token\":\"r2\"}");
    /* nothing goes out before the new refresh token is kept */
    assert_int_equal(auth_run_next(r), AUTH_STORE);
    assert_null(auth_run_request(r));
    assert_false(auth_tokens_usable(k.auth, auth_run_tokens(r), NOW_US));
    auth_run_stored(r);
    assert_request(r, "POST", "https://rest.vendor.example/login?version=%2A&access_token=5%3Aa%20b%26c", NULL);
    answer_json(r, 200, "{\"BhRestToken\":\"s-1\",\"restUrl\":\"https://rest9.vendor.example/rest-services/abc/\"}");
    assert_int_equal(auth_run_next(r), AUTH_DONE);
    assert_int_equal(auth_grant_make(k.auth, auth_run_tokens(r), 1, &g, &err), ST_OK);
    assert_string_equal(g->headers.items[0].name, "BhRestToken");
    assert_string_equal(g->headers.items[0].value, "s-1");
    assert_string_equal(g->base_url, "https://rest9.vendor.example/rest-services/abc/");
    assert_true(auth_tokens_usable(k.auth, auth_run_tokens(r), NOW_US + 500 * S_US));
    assert_false(auth_tokens_usable(k.auth, auth_run_tokens(r), NOW_US + 541 * S_US));
    auth_grant_unref(g);
    auth_run_free(r);
    kit_clear(&k);
}

/* ---- time */
static void test_when_tokens_end(void **state)
{
    static const struct {
        const char *answer;
        int64_t usable_s; /* the last second in which they are; -1: for ever */
    } cases[] = {
        {"\"expires_in\":3600", 3539},
        {"\"expires_in\":3600.0", 3539},
        {"\"expires_in\":\"3600\"", 3539},
        {"\"expires_in\":40", 29}, /* a quarter of its life at most */
        {"\"expires_at\":\"2026-02-02T03:40:00Z\"", 3539},
        {"\"expires_at\":1770003600", 3539},
        {"\"expires_at\":1770003600000", 3539},
        {"\"expires_at\":\"1770003600\"", 3539},
        {"\"expires_at\":\"2026-02-02T02:00:00Z\"", -1}, /* over already: one of the clocks is wrong */
        {"\"expires_in\":0", -1},
        {"\"expires_in\":null", -1},
        {"\"x\":1", -1},
    };
    struct kit k = kit_of(client_credentials, CLIENT, NULL);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *body = mem_printf("{\"access_token\":\"a\",%s}", cases[i].answer);
        struct auth_tokens *t = got(k.auth, NULL, body);
        int64_t s = cases[i].usable_s;

        if (!auth_tokens_usable(k.auth, t, NOW_US + (s < 0 ? 1000000000 : s) * S_US) ||
            (s >= 0 && auth_tokens_usable(k.auth, t, NOW_US + (s + 1) * S_US)))
            fail_msg("%s", cases[i].answer);
        assert_int_equal(auth_tokens_keep_alive_us(k.auth, t), INT64_MAX);
        auth_tokens_free(t);
        mem_free(body);
    }
    assert_false(auth_tokens_usable(k.auth, NULL, NOW_US));
    kit_clear(&k);
    k = kit_of(refreshing, CLIENT_AND_FIRST, NULL);
    struct auth_tokens *t =
        got(k.auth, NULL,
            "{\"access_token\":\"a\",\"expires_in\":86400,\"instance\":{\"api\":\"https://a.vendor.example\"}}");

    assert_int_equal(auth_tokens_keep_alive_us(k.auth, t), NOW_US + 7200 * S_US);
    assert_int_equal(auth_tokens_keep_alive_us(k.auth, NULL), 0);
    auth_tokens_free(t);
    kit_clear(&k);
}

/* ---- what is kept */
static void test_tokens_as_text(void **state)
{
    static const char *const bad[] = {"", "x", "{}",
                                      "{\"format\":2,\"seed\":\"\",\"digest\":\"\",\"values\":{},\"renewed_us\":1}"};
    struct kit k = kit_of(refreshing, CLIENT_AND_FIRST, NULL);
    struct kit secret =
        kit_of(refreshing, "client_id: \"id:1\", client_secret: other, refresh_token: \"first+/=\"", NULL);
    struct kit anew = kit_of(refreshing, CLIENT ", refresh_token: second", NULL);
    struct auth_tokens *t =
        got(k.auth, NULL,
            "{\"access_token\":\"a \xc3\xa9 \\\"\\\\\",\"refresh_token\":\"r2\",\"expires_in\":3600,"
            "\"instance\":{\"api\":\"https://a.vendor.example\"}}");
    struct auth_tokens *back = NULL;
    char *text = auth_tokens_text(t);
    struct auth_grant *g = NULL;
    struct auth_run *r;
    struct errmsg err;

    (void)state;
    assert_int_equal(auth_tokens_parse(text, &back, &err), ST_OK);
    assert_true(auth_tokens_usable(k.auth, back, NOW_US));
    assert_false(auth_tokens_usable(k.auth, back, NOW_US + 3600 * S_US));
    assert_int_equal(auth_grant_make(k.auth, back, 1, &g, &err), ST_OK);
    assert_string_equal(g->headers.items[0].value, "Zoho-oauthtoken a \xc3\xa9 \"\\");
    auth_grant_unref(g);
    /* another secret: signed in anew, with the newest refresh token; another first token: that one */
    assert_string_equal(auth_seed(k.auth), auth_seed(secret.auth));
    assert_string_not_equal(auth_digest(k.auth), auth_digest(secret.auth));
    assert_false(auth_tokens_usable(secret.auth, back, NOW_US));
    r = auth_run_new(secret.auth, back);
    assert_true(strstr(auth_run_request(r)->body, "refresh_token=r2&") != NULL);
    auth_run_free(r);
    assert_string_not_equal(auth_seed(k.auth), auth_seed(anew.auth));
    r = auth_run_new(anew.auth, back);
    assert_true(strstr(auth_run_request(r)->body, "refresh_token=second&") != NULL);
    auth_run_free(r);
    for (size_t i = 0; i < ATS_COUNT(bad); i++) {
        struct auth_tokens *none = NULL;

        assert_int_equal(auth_tokens_parse(bad[i], &none, &err), ST_INVALID);
        assert_null(none);
        assert_string_equal(err.text, "the stored tokens are not as this version writes them");
    }
    mem_free_secret(text);
    auth_tokens_free(back);
    auth_tokens_free(t);
    kit_clear(&anew);
    kit_clear(&secret);
    kit_clear(&k);
}

/* ---- failures */
static void test_refusals(void **state)
{
    static const struct {
        long status;
        const char *type, *body, *error_class, *message;
        int64_t retry_after_ms;
    } cases[] = {
        {400, "application/json", "{\"error\":\"invalid_grant\",\"error_description\":\"first+/= was revoked\"}",
         "credentials",
         "the request for a token was answered 400, invalid_grant: *** was revoked; the refresh token was used up, was "
         "revoked "
         "or has expired: authorise atsyncd anew and configure the new refresh token",
         -1},
        {401, "application/json", "{\"error\":\"invalid_client\"}", "credentials",
         "the request for a token was answered 401, invalid_client; check the client id and the client secret", -1},
        {200, "application/json", "{\"error\":\"invalid_code\"}", "credentials",
         "the request for a token was answered 200, invalid_code; the refresh token was used up, was revoked or has "
         "expired: "
         "authorise atsyncd anew and configure the new refresh token",
         -1},
        {403, "application/json", "{\"message\":\"s&c=r+t is blocked\"}", "credentials",
         "the request for a token was answered 403: *** is blocked", -1},
        {403, "text/html", "<html>blocked</html>", "bad_answer", "the request for a token was answered 403", -1},
        {400, "application/json", "{\"error\":\"temporarily_unavailable\"}", "unavailable",
         "the request for a token was answered 400, temporarily_unavailable", -1},
        {500, "text/html", "<html></html>", "unavailable", "the request for a token was answered 500", -1},
        {429, "application/json", "{}", "rate_limited", "the request for a token was answered 429", 7000},
        {404, "application/json", "{}", "configuration", "the request for a token was answered 404", -1},
        {302, "text/plain", "", "configuration", "the request for a token was answered 302", -1},
        {200, "text/plain", "hello", "bad_answer", "the answer to the request for a token is not JSON", -1},
        {200, "application/json", "[]", "bad_answer", "the answer to the request for a token is not JSON", -1},
        {200, "application/json", "{\"instance\":{\"api\":\"https://a.vendor.example\"}}", "bad_answer",
         "the answer to the request for a token has no usable access_token", -1},
        {200, "application/json", "{\"access_token\":\"tok-1\"}", "bad_answer",
         "the answer to the request for a token has no usable api", -1},
        {200, "application/json",
         "{\"access_token\":\"a\\r\\nX-Evil: 1\",\"instance\":{\"api\":\"https://a.vendor.example\"}}", "bad_answer",
         "the answer to the request for a token has no usable access_token", -1},
        {200, "application/json", "{\"access_token\":{\"a\":1},\"instance\":{\"api\":\"https://a.vendor.example\"}}",
         "bad_answer", "the answer to the request for a token has no usable access_token", -1},
    };
    struct kit k = kit_of(refreshing, CLIENT_AND_FIRST, NULL);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct auth_run *r = auth_run_new(k.auth, NULL);

        answer(r, cases[i].status, cases[i].type, cases[i].body);
        assert_failure(r, cases[i].error_class, cases[i].message);
        assert_int_equal(auth_run_failure(r)->retry_after_ms, cases[i].retry_after_ms);
        auth_run_free(r);
    }
    kit_clear(&k);
}

static void test_no_answer(void **state)
{
    static const struct {
        enum httpc_result result;
        const char *error_class;
    } cases[] = {{HTTPC_NOT_SENT, "unavailable"},
                 {HTTPC_UNCERTAIN, "unavailable"},
                 {HTTPC_TOO_LARGE, "bad_answer"},
                 {HTTPC_REFUSED, "configuration"}};
    struct kit k = kit_of(client_credentials, CLIENT, NULL);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct auth_run *r = auth_run_new(k.auth, NULL);
        struct httpc_response response = {.result = cases[i].result, .body = "", .error = "it was so"};

        auth_run_answer(r, &response, NOW_US);
        assert_failure(r, cases[i].error_class, "the request for a token failed: it was so");
        auth_run_free(r);
    }
    kit_clear(&k);
}

/* ---- addresses that an answer names */
static void test_foreign_hosts_are_refused(void **state)
{
    static const struct {
        const char *url, *message; /* NULL: it is allowed */
    } cases[] = {
        {"https://api.vendor.example/v3", NULL},
        {"https://x.y.vendor.example", NULL},
        {"https://evil.example", "leads to https://evil.example:443, which is not a host of this connector"},
        {"https://vendor.example.evil.example/",
         "leads to https://vendor.example.evil.example:443, which is not a host of this connector"},
        {"https://evilvendor.example/",
         "leads to https://evilvendor.example:443, which is not a host of this connector"},
        {"http://a.vendor.example/", "leads to http://a.vendor.example:80, which is not a host of this connector"},
        {"https://a.vendor.example:8443/",
         "leads to https://a.vendor.example:8443, which is not a host of this connector"},
        {"https://169.254.169.254/latest",
         "leads to https://169.254.169.254:443, which is not a host of this connector"},
        {"http://127.0.0.1/", "leads to http://127.0.0.1:80, which is not a host of this connector"},
        {"https://[::1]/", "leads to https://::1:443, which is not a host of this connector"},
        {"https://u:p@a.vendor.example/", "holds a user name"},
        {"https://a.vendor.example/?x=1", "has a query"},
        {"https://a.vendor.example\\\\@evil.example/", "holds a character that cannot stand in a URL, or a fragment"},
        {"https://a.vendor.example/api/../..", "has a path with \".\" or \"..\" in it, which leads elsewhere"},
        {"file:///etc/passwd", "does not begin with https:// or http://"},
        {"gopher", "does not begin with https:// or http://"},
    };
    struct kit k = kit_of(refreshing, CLIENT_AND_FIRST, NULL);
    struct auth_run *r;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *body = mem_printf("{\"access_token\":\"tok-1\",\"instance\":{\"api\":\"%s\"}}", cases[i].url);
        char *message =
            mem_printf("the base URL that signing in gave %s", cases[i].message != NULL ? cases[i].message : "");

        r = auth_run_new(k.auth, NULL);
        answer_json(r, 200, body);
        if (cases[i].message == NULL)
            assert_int_equal(auth_run_next(r), AUTH_DONE);
        else
            assert_failure(r, "configuration", message);
        auth_run_free(r);
        mem_free(message);
        mem_free(body);
    }
    kit_clear(&k);
    /* nor does a request with a secret in it go there */
    k = kit_of(chain, CLIENT_AND_FIRST, NULL);
    r = auth_run_new(k.auth, NULL);
    answer_json(r, 200, "{\"oauthUrl\":\"https://evil.example\"}");
    assert_failure(
        r, "configuration",
        "request 2 of 3 of signing in cannot be made: the request's url leads to https://evil.example:443, which is "
        "not a host of this connector");
    auth_run_free(r);
    kit_clear(&k);
}

static void test_secrets_do_not_travel_unencrypted(void **state)
{
    static const char plain[] = "{kind: \"oauth2_client_credentials\", token_url: \"http://id.example/token\","
                                " client_id: \"{client_id}\", client_secret: \"{client_secret}\"}";
    struct kit k = kit_of(plain, CLIENT, NULL);
    struct auth_run *r = auth_run_new(k.auth, NULL);

    (void)state;
    assert_failure(
        r, "configuration",
        "the request for a token cannot be made: the request's url must begin with https://: secrets would travel "
        "unencrypted");
    auth_run_free(r);
    kit_clear(&k);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_credentials),
        cmocka_unit_test(test_refresh_token_rotates),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_when_tokens_end),
        cmocka_unit_test(test_tokens_as_text),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_foreign_hosts_are_refused),
        cmocka_unit_test(test_secrets_do_not_travel_unencrypted),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
