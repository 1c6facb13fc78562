#include "connector/step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

#define NOW_US INT64_C(1770000000000000) /* 2026-02-02T02:40:00Z */

/* A module whose functions do what the context's write says, so that each test can script its own. */
static const char module_text[] =
    "def meta: {name: \"t\", title: \"T\", base_url: \"https://t.example/api\",\n"
    "  settings: {user: {help: \"h\", default: \"u1\"}, none: {help: \"h\", required: false}, set: {help: \"h\"}},\n"
    "  credentials: {token: {help: \"h\"}, second: {help: \"h\", required: false}},\n"
    "  auth: {kind: \"header\", name: \"Authorization\", value: \"Bearer {token}\", headers: {\"X-User\": "
    "\"{user}\"}},\n"
    "  idempotency_header: \"Idempotency-Key\", classify: true, probe: true, throttle_ms: 1500,\n"
    "  retry_after: [{header: \"X-Reset\", unit: \"epoch\"}, {header: \"x-left\", unit: \"seconds\"},\n"
    "                {header: \"x-ms\", unit: \"epoch_ms\"}, {header: \"x-date\", unit: \"http_date\"}, {header: "
    "\"x-iso\", unit: \"iso8601\"}],\n"
    "  capabilities: {stage: {}, reject: {}, fields: {}, tags: {}, note: {max_chars: 100, find_marker: true}, "
    "assessment: {max_chars: 100}}};\n"
    "def look($name): {lookup: $name, request: {method: \"GET\", path: [$name]}};\n"
    "# what write.script holds at the place of the number of answers so far; \"echo\" sends the answers back, "
    "\"read\"\n"
    "# reads the first one\n"
    "def stage: .got as $got | .write.script[[.got[] | if type == \"array\" then .[] else . end] | length]\n"
    "  | if . == \"echo\" then {request: {method: \"POST\", path: [\"echo\"], body: $got}}\n"
    "    elif . == \"read\" then {already: ($got.a.body.list[] | .x)} else . end;\n"
    "def reject: .candidate + .write.number;\n"
    "def fields: empty;\n"
    "def tags: {request: {method: \"POST\", path: [\"tags\"], body: {settings, got, write, secret: .credentials}}};\n"
    "def note: {request: {method: \"POST\", path: [\"notes\"], body: {text: .write.text, body: .write.body}}};\n"
    "def find_marker: {request: {method: \"GET\", path: []}};\n"
    "def assessment: {request: {method: \"PUT\", path: [\"a\"], body: .write}};\n"
    "def probe: if .got.me == null then look(\"me\") else {already: true} end;\n"
    "def classify: .body | if type == \"object\" then (if .each != null then .each[] else .classify end) else null "
    "end;\n";

static const char basic_text[] =
    "def meta: {name: \"basic\", title: \"B\", base_url: \"https://b.example\", credentials: {user: {help: \"h\"}, "
    "key: {help: \"h\"}},\n"
    "  auth: {kind: \"basic\", username: \"{user}\", password: \"{key}\"}, capabilities: {note: {}}};\n"
    "def note: {request: {method: \"POST\", path: [\"n\"], body: .write.text}};\n";

static char dir[] = "/tmp/atsyncd-step-XXXXXX";
static struct connector_module *module, *basic_module;
static struct connector_vm *vm;
static struct named_value credentials[] = {{.name = (char[]){"token"}, .value = (char[]){"s3cret-token"}},
                                           {.name = (char[]){"second"}, .value = (char[]){"other-secret"}}};
static struct named_value settings[] = {{.name = (char[]){"set"}, .value = (char[]){"S"}}};
static struct connector_config connector = {.name = (char[]){"ats"},
                                            .type = (char[]){"t"},
                                            .credentials = credentials,
                                            .credential_count = 2,
                                            .settings = settings,
                                            .setting_count = 1};

static struct connector_module *made(const char *type, const char *text)
{
    char *connectors = mem_printf("%s/connectors", dir);
    char *path = mem_printf("%s/%s.jq", connectors, type);
    char *config = mem_printf("%s/t.conf", dir);
    struct connector_module *m = NULL;
    struct errmsg err = {"cannot write"};
    FILE *f = mkdir(connectors, 0700) == 0 ? fopen(path, "we") : NULL;

    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0 || connector_module_load(config, type, &m, &err) != ST_OK)
        print_error("%s: %s\n", path, err.text);
    (void)unlink(path);
    (void)rmdir(connectors);
    mem_free(connectors);
    mem_free(path);
    mem_free(config);
    return m;
}

static int set_up(void **state)
{
    struct errmsg err;

    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    module = made("t", module_text);
    basic_module = made("basic", basic_text);
    return module == NULL || basic_module == NULL || connector_vm_new(module, &vm, &err) != ST_OK ? -1 : rmdir(dir);
}

static int tear_down(void **state)
{
    (void)state;
    connector_vm_free(vm);
    connector_vm_free(NULL);
    connector_module_unref(module);
    connector_module_unref(basic_module);
    return 0;
}

static struct json *json_of(const char *text)
{
    struct json *j = NULL;
    struct errmsg err;

    if (json_parse(text, strlen(text), &j, &err) != ST_OK)
        fail_msg("%s: %s", text, err.text);
    return j;
}

static struct call *begin(const char *verb, const char *write, bool is_append)
{
    char *text = mem_printf("{\"candidate\":{\"id\":\"c1\"},\"job\":\"j1\",\"write\":%s}", write);
    struct json *context = json_of(text);
    struct call *c = call_new(vm, &connector, verb, context, is_append, "key-1");

    mem_free(text);
    return c;
}

/* A call of stage with these steps, one for each number of answers. */
static struct call *scripted(const char *steps)
{
    char *write = mem_printf("{\"script\":%s}", steps);
    struct call *c = begin("stage", write, false);

    mem_free(write);
    return c;
}

struct canned {
    enum httpc_result result;
    long status;
    const char *headers; /* "name: value\n…" in lower case */
    const char *body;
    const char *error;
};

static void answer(struct call *c, struct canned a)
{
    struct httpc_header headers[8];
    char *text = mem_strdup(a.headers != NULL ? a.headers : "");
    size_t count = 0;

    for (char *line = text; *line != '\0';) {
        char *end = strchr(line, '\n'), *colon = strchr(line, ':');

        *end = *colon = '\0';
        headers[count++] = (struct httpc_header){.name = line, .value = colon + 2};
        line = end + 1;
    }
    struct httpc_response r = {.result = a.result,
                               .status = a.status,
                               .headers = headers,
                               .header_count = count,
                               .body = a.body != NULL ? a.body : "",
                               .body_len = a.body != NULL ? strlen(a.body) : 0,
                               .error = a.error != NULL ? a.error : ""};
    call_answer(c, &r, NOW_US);
    mem_free(text);
}

static void assert_next(struct call *c, const char *method, const char *url, const char *body)
{
    const struct prepared_request *r;

    if (call_advance(c) != CALL_REQUEST)
        fail_msg("finished: %s %s", outcome_name(call_result(c)->outcome), call_result(c)->message);
    assert_int_equal(call_advance(c), CALL_REQUEST);
    r = call_request(c);
    assert_string_equal(r->method, method);
    assert_string_equal(r->url, url);
    if (body == NULL)
        assert_null(r->body);
    else
        assert_string_equal(r->body, body);
}

static void assert_result(struct call *c, enum outcome outcome, const char *error_class, const char *message)
{
    const struct call_result *r;

    assert_int_equal(call_advance(c), CALL_FINISHED);
    assert_null(call_request(c));
    r = call_result(c);
    assert_string_equal(r->message, message);
    assert_string_equal(outcome_name(r->outcome), outcome_name(outcome));
    assert_string_equal(r->error_class, error_class);
}

static const char *header_of(const struct prepared_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    }
    return NULL;
}

#define OK_WRITE "{\"request\":{\"method\":\"PUT\",\"path\":[\"w\"],\"body\":1}}"
#define GET(name) "\"request\":{\"method\":\"GET\",\"path\":[\"" name "\"]}"

/* ---- the way through a call */
static void test_lookups_then_write(void **state)
{
    struct call *c = scripted("[{\"lookup\":\"a\"," GET("a") "},{\"lookup\":\"b\"," GET(
        "b") ",\"expect\":[404],\"cache\":\"15m\"}," OK_WRITE "]");

    (void)state;
    assert_next(c, "GET", "https://t.example/api/a", NULL);
    assert_false(call_request(c)->is_write);
    assert_int_equal(call_request(c)->cache_ms, 0);
    assert_string_equal(call_request(c)->path_for_log, "/api/a");
    assert_null(header_of(call_request(c), "Idempotency-Key"));
    answer(c, (struct canned){.status = 200, .body = "{}"});
    assert_next(c, "GET", "https://t.example/api/b", NULL);
    assert_int_equal(call_request(c)->cache_ms, 900000);
    answer(c, (struct canned){.status = 404, .body = "{\"message\":\"no\"}"});
    assert_next(c, "PUT", "https://t.example/api/w", "1");
    assert_true(call_request(c)->is_write);
    assert_string_equal(header_of(call_request(c), "Idempotency-Key"), "key-1");
    assert_null(header_of(call_request(c), "Authorization"));
    answer(c, (struct canned){.status = 204});
    assert_result(c, OUTCOME_OK, "", "");
    assert_int_equal(call_result(c)->http_status, 204);
    assert_true(call_result(c)->was_write);
    assert_int_equal(call_result(c)->retry_after_ms, -1);
    call_free(c);
    call_free(NULL);
}

static void test_what_modules_see(void **state)
{
    struct call *c = begin("tags", "{\"tags\":[\"\\u0000\\ud800\",12345678901234567890]}", false);

    (void)state;
    assert_next(c, "POST", "https://t.example/api/tags",
                "{\"settings\":{\"user\":\"u1\",\"set\":\"S\"},\"got\":{},\"write\":{\"tags\":[\"\\u0000\\ud800\","
                "12345678901234567890]},"
                "\"secret\":null}");
    call_free(c);
    c = begin("probe", "{}", false);
    assert_next(c, "GET", "https://t.example/api/me", NULL);
    answer(c, (struct canned){.status = 200});
    assert_result(c, OUTCOME_ALREADY, "", "");
    assert_false(call_result(c)->was_write);
    assert_int_equal(call_result(c)->http_status, 200);
    call_free(c);
}

static void test_answers_in_got(void **state)
{
    static const struct {
        struct canned answer;
        const char *got;
    } cases[] = {
        {{.status = 200,
          .headers = "content-type: application/json\nx-a: 1\nx-a: \xe4\n",
          .body = "{\"n\":12345678901234567890,\"s\":\"\\u0000\"}"},
         "{\"status\":200,\"headers\":{\"content-type\":\"application/json\",\"x-a\":\"1, \xef\xbf\xbd\"},"
         "\"body\":{\"n\":12345678901234567890,\"s\":\"\\u0000\"},\"length\":39}"},
        {{.status = 204}, "{\"status\":204,\"headers\":{},\"body\":null,\"length\":0}"},
        {{.status = 200, .headers = "content-type: text/plain\n", .body = "secret text"},
         "{\"status\":200,\"headers\":{\"content-type\":\"text/plain\"},\"body\":null,\"length\":11}"},
        {{.status = 200, .headers = "content-type: text/plain\n", .body = " [1]"},
         "{\"status\":200,\"headers\":{\"content-type\":\"text/plain\"},\"body\":[1],\"length\":4}"},
        {{.status = 200, .headers = "content-type: application/vnd.api+JSON\n", .body = "7"},
         "{\"status\":200,\"headers\":{\"content-type\":\"application/vnd.api+JSON\"},\"body\":7,\"length\":1}"},
        {{.status = 200, .body = "7"}, "{\"status\":200,\"headers\":{},\"body\":null,\"length\":1}"},
        {{.status = 200, .body = "{half"}, "{\"status\":200,\"headers\":{},\"body\":null,\"length\":5}"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct call *c = scripted("[{\"lookup\":\"one\"," GET("1") "},\"echo\"]");
        char *body = mem_printf("{\"one\":%s}", cases[i].got);

        assert_next(c, "GET", "https://t.example/api/1", NULL);
        answer(c, cases[i].answer);
        assert_next(c, "POST", "https://t.example/api/echo", body);
        mem_free(body);
        call_free(c);
    }
}

static void test_pages_are_gathered(void **state)
{
    struct call *c = scripted(
        "[{\"lookup\":\"p\",\"append\":true," GET("1") "},{\"lookup\":\"p\",\"append\":true," GET("2") "},\"echo\"]");

    (void)state;
    assert_next(c, "GET", "https://t.example/api/1", NULL);
    answer(c, (struct canned){.status = 200, .body = "[1]"});
    assert_next(c, "GET", "https://t.example/api/2", NULL);
    answer(c, (struct canned){.status = 200, .body = "[2]"});
    assert_next(c, "POST", "https://t.example/api/echo",
                "{\"p\":[{\"status\":200,\"headers\":{},\"body\":[1],\"length\":3},{\"status\":200,\"headers\":{},"
                "\"body\":[2],\"length\":3}]}");
    call_free(c);
}

static void test_lookup_that_writes(void **state)
{
    struct call *c = scripted("[{\"lookup\":\"tag\",\"write\":true,\"request\":{\"method\":\"POST\",\"path\":[\"tags\"]"
                              ",\"body\":{}}}," OK_WRITE "]");
    struct call *again;
    char *key;

    (void)state;
    assert_next(c, "POST", "https://t.example/api/tags", "{}");
    assert_true(call_request(c)->is_write);
    key = mem_strdup(header_of(call_request(c), "Idempotency-Key"));
    assert_int_equal(strlen(key), 36);
    again = scripted(
        "[{\"lookup\":\"tag\",\"write\":true,\"request\":{\"method\":\"POST\",\"path\":[\"tags\"],\"body\":{}}}]");
    assert_int_equal(call_advance(again), CALL_REQUEST);
    assert_string_equal(header_of(call_request(again), "Idempotency-Key"), key);
    answer(again, (struct canned){.result = HTTPC_UNCERTAIN, .error = "lost"});
    assert_result(again, OUTCOME_UNCERTAIN, "uncertain", "lost");
    assert_false(call_result(again)->was_write);
    answer(c, (struct canned){.status = 201, .body = "{}"});
    assert_next(c, "PUT", "https://t.example/api/w", "1");
    assert_string_equal(header_of(call_request(c), "Idempotency-Key"), "key-1");
    mem_free(key);
    call_free(c);
    call_free(again);
}

/* What has been written must not be written again, whatever comes of the rest. */
static void test_a_note_of_several_requests(void **state)
{
    static const char note[] =
        "{\"script\":[{\"lookup\":\"note\",\"write\":true,\"expect\":[404],\"request\":{\"method\":\"POST\",\"path\":"
        "[\"notes\"],\"body\":{}}}," OK_WRITE "]}";
    static const struct {
        struct canned first, second; /* of status 0: it ends with the one before */
        enum outcome outcome;
        const char *error_class;
        bool wrote;
    } cases[] = {
        {{.status = 201, .body = "{}"}, {.status = 200, .body = "{}"}, OUTCOME_OK, "", true},
        {{.status = 201, .body = "{}"}, {.status = 422, .body = "{}"}, OUTCOME_UNCERTAIN, "invalid", true},
        {{.status = 201, .body = "{}"}, {.status = 429, .body = "{}"}, OUTCOME_UNCERTAIN, "rate_limited", true},
        {{.status = 201, .body = "{}"},
         {.result = HTTPC_NOT_SENT, .error = "x"},
         OUTCOME_UNCERTAIN,
         "unavailable",
         true},
        {{.status = 422, .body = "{}"}, {0}, OUTCOME_INVALID, "invalid", false},
        {{.status = 429, .body = "{}"}, {0}, OUTCOME_THROTTLED, "rate_limited", false},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct call *c = begin("stage", note, true);

        assert_int_equal(call_advance(c), CALL_REQUEST);
        assert_false(call_wrote(c));
        answer(c, cases[i].first);
        assert_int_equal(call_wrote(c), cases[i].wrote);
        if (call_advance(c) == CALL_REQUEST) {
            answer(c, cases[i].second);
        }
        assert_int_equal(call_advance(c), CALL_FINISHED);
        assert_int_equal(call_result(c)->outcome, cases[i].outcome);
        assert_string_equal(call_result(c)->error_class, cases[i].error_class);
        call_free(c);
    }
}

/* ---- decisions */
static void test_decisions(void **state)
{
    static const struct {
        const char *step;
        enum outcome outcome;
        const char *error_class;
        const char *message;
    } cases[] = {
        {"{\"already\":true}", OUTCOME_ALREADY, "", ""},
        {"{\"skip\":\"somebody moved it\"}", OUTCOME_SKIP, "moved", "somebody moved it"},
        {"{\"skip\":\"closed\",\"class\":\"closed_job\"}", OUTCOME_SKIP, "closed_job", "closed"},
        {"{\"fail\":\"not_found\",\"message\":\"no application\"}", OUTCOME_NOT_FOUND, "not_found", "no application"},
        {"{\"fail\":\"invalid\"}", OUTCOME_INVALID, "invalid", ""},
        {"{\"fail\":\"configuration\",\"message\":\"m\"}", OUTCOME_CONFIG, "configuration", "m"},
        {"{\"fail\":\"bad_answer\",\"message\":\"m\"}", OUTCOME_RETRY, "bad_answer", "m"},
        {"{\"fail\":\"stale\",\"message\":\"m\"}", OUTCOME_STALE, "stale", "m"},
        {"{\"found\":false}", OUTCOME_OK, "", ""},
#define BROKEN(text) OUTCOME_INVALID, "connector", "connector t, function stage: " text
        {"{\"fail\":\"whatever\"}", BROKEN("\"whatever\" is no class to fail with")},
        {"{\"already\":false}", BROKEN("already can only be true")},
        {"{\"skip\":true}", BROKEN("skip must be a text, and class a word of small letters")},
        {"{\"skip\":\"s\",\"class\":\"A b\"}", BROKEN("skip must be a text, and class a word of small letters")},
        {"{\"found\":1}", BROKEN("found must be true or false")},
        {"{}", BROKEN("its result must be an object with exactly one of request, already, skip, fail and found")},
        {"null", BROKEN("its result must be an object with exactly one of request, already, skip, fail and found")},
        {"\"x\"", BROKEN("its result must be an object with exactly one of request, already, skip, fail and found")},
        {"{\"already\":true,\"skip\":\"x\"}",
         BROKEN("its result must be an object with exactly one of request, already, skip, fail and found")},
        {"{\"alredy\":true}", BROKEN("its result has an unknown member \"alredy\", did you mean \"already\"?")},
        {"{\"lookup\":\"a\"}",
         BROKEN("its result must be an object with exactly one of request, already, skip, fail and found")},
        {"{\"lookup\":\"\"," GET("a") "}", BROKEN("a lookup must have a name")},
        {"{\"lookup\":7," GET("a") "}", BROKEN("a lookup must have a name")},
        {"{\"lookup\":\"a\"," GET("a") ",\"expect\":404}", BROKEN("expect must be a list of HTTP statuses")},
        {"{\"lookup\":\"a\"," GET("a") ",\"expect\":[4]}", BROKEN("expect must be a list of HTTP statuses")},
        {"{\"lookup\":\"a\"," GET("a") ",\"cache\":15}", BROKEN("cache must be a duration such as \"15m\"")},
        {"{\"expect\":[404]," GET("a") "}", BROKEN("expect, list, record, append, write and cache belong to a lookup")},
        {"{\"list\":[]," GET("a") "}", BROKEN("expect, list, record, append, write and cache belong to a lookup")},
        {"{\"record\":[]," GET("a") "}", BROKEN("expect, list, record, append, write and cache belong to a lookup")},
        {"{\"lookup\":\"a\"," GET("a") ",\"list\":\"data\"}",
         BROKEN("list and record must be lists of members' names")},
        {"{\"lookup\":\"a\"," GET("a") ",\"record\":[1]}", BROKEN("list and record must be lists of members' names")},
        {"{\"request\":{}}", BROKEN("the request's method must be GET, POST, PUT, PATCH or DELETE")},
        {"{\"request\":{\"method\":\"GET\",\"url\":\"https://evil.example/\"}}",
         BROKEN("the request's url leads to https://evil.example:443, which is not a host of this connector")},
        {"{\"request\":{\"method\":\"GET\",\"path\":[\"..\"]}}", OUTCOME_INVALID, "invalid",
         "part 1 of the path is or holds a \".\" or \"..\", which would lead elsewhere"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *steps = mem_printf("[%s]", cases[i].step);
        struct call *c = scripted(steps);

        assert_result(c, cases[i].outcome, cases[i].error_class, cases[i].message);
        assert_int_equal(call_result(c)->http_status, 0);
        assert_false(call_result(c)->was_write);
        call_free(c);
        mem_free(steps);
    }
}

static void test_programs_that_fail(void **state)
{
    static const struct {
        const char *verb;
        const char *write;
        const char *message;
    } cases[] = {
        {"reject", "{\"number\":1}", "connector t, function reject: object (…) and number (…) cannot be added"},
        {"reject", "{\"number\":\"secret answer\"}",
         "connector t, function reject: object (…) and string (…) cannot be added"},
        {"fields", "{}", "connector t, function fields: it gave no answer"},
        {"find_marker", "{}", "connector t, function find_marker: it may only look, so every request must be a lookup"},
        {"current", "{}", "connector t, function current: there is no such function: meta does not promise it"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct call *c = begin(cases[i].verb, cases[i].write, false);

        assert_result(c, OUTCOME_INVALID, "connector", cases[i].message);
        call_free(c);
    }
}

static void test_lookups_end(void **state)
{
    struct buf steps;
    struct call *c = scripted("[{\"lookup\":\"a\"," GET("a") "},{\"lookup\":\"a\"," GET("b") "}]");

    (void)state;
    assert_next(c, "GET", "https://t.example/api/a", NULL);
    answer(c, (struct canned){.status = 200});
    assert_result(c, OUTCOME_INVALID, "connector", "connector t, function stage: the same lookup a second time");
    call_free(c);
    c = scripted("[{\"lookup\":\"a\"," GET("a") "},{\"lookup\":\"a\",\"append\":true," GET("b") "}]");
    assert_next(c, "GET", "https://t.example/api/a", NULL);
    answer(c, (struct canned){.status = 200});
    assert_result(
        c, OUTCOME_INVALID, "connector",
        "connector t, function stage: a lookup of this name was made before, once with append and once without");
    call_free(c);

    buf_init(&steps, 100000);
    for (int i = 0; i < 51; i++)
        buf_printf(&steps, "%s{\"lookup\":\"p\",\"append\":true," GET("p") "}", i > 0 ? "," : "[");
    buf_putc(&steps, ']');
    c = scripted(buf_text(&steps));
    for (int i = 0; i < 50; i++) {
        assert_next(c, "GET", "https://t.example/api/p", NULL);
        answer(c, (struct canned){.status = 200, .body = "[]"});
    }
    assert_result(c, OUTCOME_INVALID, "connector", "connector t, function stage: more than 50 requests for one write");
    call_free(c);
    buf_free(&steps);
}

#define NOT_UNDERSTOOD(function, words)                                                                                \
    "the ATS answered with something that the connector does not understand (connector t, function " function          \
    ": " words ")"

/* What the program stumbles over after an answer came from there, and may be otherwise next time. */
static void test_answers_that_the_program_does_not_understand(void **state)
{
    static const struct {
        const char *next; /* after the answer to lookup a */
        const char *body;
        enum outcome outcome;
        const char *error_class;
        const char *message;
        bool program_failed;
    } cases[] = {
        {"\"read\"", "{\"list\":[{\"x\":true}]}", OUTCOME_ALREADY, "", "", false},
        {"\"read\"", "{\"list\":7}", OUTCOME_RETRY, "bad_answer",
         NOT_UNDERSTOOD("stage", "Cannot iterate over number (\xe2\x80\xa6)"), true},
        {"\"read\"", "{\"list\":[]}", OUTCOME_RETRY, "bad_answer", NOT_UNDERSTOOD("stage", "it gave no answer"), true},
        {"{\"request\":{\"method\":\"GET\",\"path\":[[\"id\"]]}}", "{}", OUTCOME_RETRY, "bad_answer",
         NOT_UNDERSTOOD("stage", "part 1 of the path is a list, an object or a boolean, not a text or number"), true},
        {"{\"request\":{\"method\":\"GET\",\"path\":[null]}}", "{}", OUTCOME_RETRY, "bad_answer",
         NOT_UNDERSTOOD("stage", "part 1 of the path is null, not a text or number"), true},
        /* where it is surely the candidate's id, or the program itself */
        {"{\"request\":{\"method\":\"GET\",\"path\":[\"..\"]}}", "{}", OUTCOME_INVALID, "invalid",
         "part 1 of the path is or holds a \".\" or \"..\", which would lead elsewhere", false},
        {"{\"alredy\":true}", "{}", OUTCOME_INVALID, "connector",
         "connector t, function stage: its result has an unknown member \"alredy\", did you mean \"already\"?", false},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *steps = mem_printf("[{\"lookup\":\"a\"," GET("a") "},%s]", cases[i].next);
        struct call *c = scripted(steps);

        assert_next(c, "GET", "https://t.example/api/a", NULL);
        answer(c, (struct canned){.status = 200, .body = cases[i].body});
        assert_result(c, cases[i].outcome, cases[i].error_class, cases[i].message);
        assert_true(call_result(c)->program_failed == cases[i].program_failed);
        assert_false(call_result(c)->was_write);
        call_free(c);
        mem_free(steps);
    }
}

/* What a lookup says that its answer must hold. */
static void test_answers_without_what_was_asked_for(void **state)
{
    static const struct {
        const char *members; /* of the lookup */
        long status;
        const char *body;
        const char *message; /* NULL: it is saved */
    } cases[] = {
        {"\"list\":[]", 200, "[]", NULL},
        {"\"list\":[]", 200, "[{}]", NULL},
        {"\"list\":[]", 204, "", NULL},
        {"\"list\":[]", 200, "", "the ATS answered the lookup \"a\" without a list of records"},
        {"\"list\":[]", 200, "{}", "the ATS answered the lookup \"a\" without a list of records"},
        {"\"list\":[]", 200, "[{},5]", "the ATS answered the lookup \"a\" without a list of records"},
        {"\"list\":[]", 200, "[[]]", "the ATS answered the lookup \"a\" without a list of records"},
        {"\"list\":[\"d\",\"r\"]", 200, "{\"d\":{\"r\":[{}]}}", NULL},
        {"\"list\":[\"d\",\"r\"]", 201, "{\"d\":{\"r\":null}}", NULL},
        {"\"list\":[\"d\",\"r\"]", 200, "{\"d\":{\"r\":{}}}",
         "the ATS answered the lookup \"a\" without a list of records at d.r"},
        {"\"list\":[\"d\",\"r\"]", 200, "{\"d\":{}}",
         "the ATS answered the lookup \"a\" without a list of records at d.r"},
        {"\"list\":[\"d\",\"r\"]", 200, "{\"d\":[]}",
         "the ATS answered the lookup \"a\" without a list of records at d.r"},
        {"\"list\":[\"d\"],\"expect\":[404]", 404, "{}", NULL},
        {"\"record\":[]", 200, "{}", NULL},
        {"\"record\":[]", 200, "[]", "the ATS answered the lookup \"a\" without a record"},
        {"\"record\":[]", 204, "", "the ATS answered the lookup \"a\" without a record"},
        {"\"record\":[\"d\"]", 200, "{\"d\":{}}", NULL},
        {"\"record\":[\"d\"]", 200, "{\"d\":null}", "the ATS answered the lookup \"a\" without a record at d"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *steps = mem_printf("[{\"lookup\":\"a\",%s," GET("a") "},{\"already\":true}]", cases[i].members);
        struct call *c = scripted(steps);

        assert_next(c, "GET", "https://t.example/api/a", NULL);
        answer(c, (struct canned){.status = cases[i].status, .body = cases[i].body});
        if (cases[i].message == NULL)
            assert_result(c, OUTCOME_ALREADY, "", "");
        else
            assert_result(c, OUTCOME_RETRY, "bad_answer", cases[i].message);
        assert_false(call_result(c)->was_write);
        call_free(c);
        mem_free(steps);
    }
}

static char *nested(unsigned levels)
{
    struct buf b;

    buf_init(&b, 10000);
    for (unsigned i = 0; i < levels; i++)
        buf_putc(&b, '[');
    for (unsigned i = 0; i < levels; i++)
        buf_putc(&b, ']');
    return buf_take(&b);
}

static char *object_of(size_t name_bytes)
{
    char *name = mem_zalloc(name_bytes + 1), *text;

    memset(name, 'n', name_bytes);
    text = mem_printf("{\"%s\":1}", name);
    mem_free(name);
    return text;
}

/* No API answers so; what libjq may lose of it when a program fails is bounded by that. */
static void test_monstrous_answers_are_no_answers(void **state)
{
    const struct {
        char *body;
        bool is_read;
    } cases[] = {{nested(200), true}, {nested(201), false}, {object_of(1024), true}, {object_of(1025), false}};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct call *c = scripted("[{\"lookup\":\"a\"," GET("a") "},\"echo\"]");
        char *echo = mem_printf("{\"a\":{\"status\":200,\"headers\":{},\"body\":%s,\"length\":%zu}}",
                                cases[i].is_read ? cases[i].body : "null", strlen(cases[i].body));

        assert_next(c, "GET", "https://t.example/api/a", NULL);
        answer(c, (struct canned){.status = 200, .body = cases[i].body});
        assert_next(c, "POST", "https://t.example/api/echo", echo);
        call_free(c);
        mem_free(echo);
        mem_free(cases[i].body);
    }
}

/* The ATS may be able to carry more than the program; that is no fault of the program. */
static void test_values_that_are_too_deep(void **state)
{
    char *deep = nested(300), *write = mem_printf("{\"tags\":%s}", deep);
    struct call *c = begin("tags", write, false);

    (void)state;
    assert_result(c, OUTCOME_INVALID, "invalid", "the value is nested too deeply: the connector can read 255 levels");
    call_free(c);
    mem_free(write);
    mem_free(deep);
}

/* ---- what answers mean */
static void test_answers_to_the_write(void **state)
{
    static const struct {
        struct canned answer;
        bool is_append;
        enum outcome outcome;
        const char *error_class;
        const char *message;
        int64_t retry_after_ms;
    } cases[] = {
        {{.status = 200, .body = "{\"message\":\"stored\"}"}, false, OUTCOME_OK, "", "", -1},
        {{.status = 202, .headers = "content-type: text/plain\n", .body = "accepted"}, false, OUTCOME_OK, "", "", -1},
        {{.status = 200, .headers = "content-type: text/html\n", .body = "<p>"},
         false,
         OUTCOME_RETRY,
         "bad_answer",
         "",
         -1},
        {{.status = 200, .body = " <!DOCTYPE html><p>"}, true, OUTCOME_UNCERTAIN, "bad_answer", "", -1},
        {{.status = 422, .body = "{\"errors\":[{\"message\":\"no such stage\"}]}"},
         false,
         OUTCOME_INVALID,
         "invalid",
         "no such stage",
         -1},
        {{.status = 422, .headers = "content-type: text/plain\n", .body = "no such stage"},
         false,
         OUTCOME_INVALID,
         "invalid",
         "",
         -1},
        {{.status = 400, .headers = "content-type: application/problem+json\n", .body = "\"text\""},
         false,
         OUTCOME_INVALID,
         "invalid",
         "",
         -1},
        {{.status = 404}, false, OUTCOME_NOT_FOUND, "not_found", "", -1},
        {{.status = 403, .body = "{\"message\":\"token s3cret-token has no scope\"}"},
         false,
         OUTCOME_CONFIG,
         "permission",
         "token *** has no scope",
         -1},
        {{.status = 500, .body = "{\"error\":\"oops\"}"}, false, OUTCOME_RETRY, "unavailable", "oops", -1},
        {{.status = 500}, true, OUTCOME_UNCERTAIN, "unavailable", "", -1},
        {{.status = 503, .headers = "retry-after: 7\n"}, false, OUTCOME_THROTTLED, "rate_limited", "", 7000},
        {{.status = 429}, false, OUTCOME_THROTTLED, "rate_limited", "", 1500},
        {{.status = 429, .headers = "x-left: 1.5\nretry-after: 3\n"},
         false,
         OUTCOME_THROTTLED,
         "rate_limited",
         "",
         3000},
        {{.status = 429, .headers = "x-left: 2.5\n"}, false, OUTCOME_THROTTLED, "rate_limited", "", 2500},
        {{.status = 429, .headers = "x-left: 2.5\nx-reset: 1770000012\n"},
         false,
         OUTCOME_THROTTLED,
         "rate_limited",
         "",
         12000},
        {{.status = 429, .headers = "x-reset: 1\n"}, false, OUTCOME_THROTTLED, "rate_limited", "", 0},
        {{.status = 429, .headers = "x-reset: never\nx-ms: 1770000000250\n"},
         false,
         OUTCOME_THROTTLED,
         "rate_limited",
         "",
         250},
        {{.status = 429, .headers = "x-date: Mon, 02 Feb 2026 02:40:05 GMT\n"},
         false,
         OUTCOME_THROTTLED,
         "rate_limited",
         "",
         5000},
        {{.status = 429, .headers = "x-iso: 2026-02-02T02:41:00Z\n"},
         false,
         OUTCOME_THROTTLED,
         "rate_limited",
         "",
         60000},
        {{.status = 429, .headers = "x-left: 1e9\n"}, false, OUTCOME_THROTTLED, "rate_limited", "", 86400000},
        {{.status = 500, .headers = "x-left: 60\n"}, false, OUTCOME_RETRY, "unavailable", "", -1},
        {{.status = 500, .headers = "retry-after: 60\n"}, false, OUTCOME_RETRY, "unavailable", "", 60000},
        {{.result = HTTPC_NOT_SENT, .error = "connection refused"},
         true,
         OUTCOME_RETRY,
         "unavailable",
         "connection refused",
         -1},
        {{.result = HTTPC_UNCERTAIN, .error = "timed out"}, false, OUTCOME_UNCERTAIN, "uncertain", "timed out", -1},
        {{.result = HTTPC_REFUSED, .error = "private address"},
         false,
         OUTCOME_CONFIG,
         "configuration",
         "private address",
         -1},
        {{.result = HTTPC_TOO_LARGE, .status = 200, .error = "too large"}, true, OUTCOME_OK, "", "", -1},
        {{.result = HTTPC_TOO_LARGE, .status = 422, .error = "too large"},
         true,
         OUTCOME_INVALID,
         "invalid",
         "too large",
         -1},
        /* classify */
        {{.status = 200, .body = "{\"classify\":{\"outcome\":\"invalid\",\"message\":\"not s3cret-token\"}}"},
         false,
         OUTCOME_INVALID,
         "invalid",
         "not ***",
         -1},
        {{.status = 500,
          .body = "{\"message\":\"m\",\"classify\":{\"outcome\":\"config\",\"class\":\"quota_used_up\"}}"},
         false,
         OUTCOME_CONFIG,
         "quota_used_up",
         "m",
         -1},
        {{.status = 409, .body = "{\"classify\":{\"outcome\":\"already\"}}"}, false, OUTCOME_ALREADY, "", "", -1},
        {{.status = 200, .body = "{\"classify\":{\"outcome\":\"throttled\",\"retry_after_ms\":9}}"},
         false,
         OUTCOME_THROTTLED,
         "rate_limited",
         "",
         9},
        {{.status = 422, .body = "{\"classify\":{\"outcome\":\"stale\"}}"}, false, OUTCOME_STALE, "stale", "", -1},
        {{.status = 200, .body = "{\"classify\":{\"outcome\":\"fine\"}}"},
         false,
         OUTCOME_RETRY,
         "bad_answer",
         "connector t, function classify: \"fine\" is no outcome",
         -1},
        {{.status = 200, .body = "{\"classify\":{}}"},
         false,
         OUTCOME_RETRY,
         "bad_answer",
         "connector t, function classify: its result must be null or an object with an outcome",
         -1},
        {{.status = 200, .body = "{\"classify\":{\"outcome\":\"ok\",\"clas\":1}}"},
         false,
         OUTCOME_RETRY,
         "bad_answer",
         "connector t, function classify: its result has an unknown member \"clas\"",
         -1},
        {{.status = 200, .body = "{\"classify\":{\"outcome\":\"retry\",\"class\":\"Not OK\"}}"},
         false,
         OUTCOME_RETRY,
         "bad_answer",
         "connector t, function classify: class must be a word of small letters, digits and _",
         -1},
        {{.status = 200, .body = "{\"classify\":{\"outcome\":\"fine\"}}"},
         true, /* a note that may be there: it is looked for */
         OUTCOME_UNCERTAIN,
         "bad_answer",
         "connector t, function classify: \"fine\" is no outcome",
         -1},
        {{.status = 422, .body = "{\"message\":\"no such stage\",\"classify\":{\"outcome\":\"fine\"}}"},
         false, /* what the status says is clear */
         OUTCOME_INVALID,
         "invalid",
         "no such stage",
         -1},
        {{.status = 500, .body = "{\"classify\":{\"outcome\":\"fine\"}}"},
         false,
         OUTCOME_RETRY,
         "unavailable",
         "connector t, function classify: \"fine\" is no outcome",
         -1},
        {{.status = 200, .body = "{\"each\":\"what the candidate said\"}"},
         false,
         OUTCOME_RETRY,
         "bad_answer",
         NOT_UNDERSTOOD("classify", "Cannot iterate over string (\xe2\x80\xa6)"),
         -1},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct call *c = begin("stage", "{\"script\":[" OK_WRITE "]}", cases[i].is_append);

        assert_next(c, "PUT", "https://t.example/api/w", "1");
        answer(c, cases[i].answer);
        assert_result(c, cases[i].outcome, cases[i].error_class, cases[i].message);
        assert_int_equal(call_result(c)->retry_after_ms, cases[i].retry_after_ms);
        assert_int_equal(call_result(c)->http_status, cases[i].answer.status);
        assert_true(call_result(c)->was_write);
        answer(c, (struct canned){.status = 200}); /* one too many changes nothing */
        assert_result(c, cases[i].outcome, cases[i].error_class, cases[i].message);
        call_free(c);
    }
}

static void test_answers_to_a_lookup(void **state)
{
    static const struct {
        struct canned answer;
        bool goes_on;
        enum outcome outcome;
        const char *error_class;
    } cases[] = {
        {{.status = 200}, true, OUTCOME_OK, ""},
        {{.status = 404}, true, OUTCOME_OK, ""},
        {{.status = 200, .headers = "content-type: text/plain\n", .body = "text"}, true, OUTCOME_OK, ""},
        {{.status = 200, .headers = "content-type: text/html\n", .body = "<p>"}, false, OUTCOME_RETRY, "bad_answer"},
        {{.status = 410}, false, OUTCOME_NOT_FOUND, "not_found"},
        {{.status = 422}, false, OUTCOME_INVALID, "invalid"},
        {{.status = 500}, false, OUTCOME_RETRY, "unavailable"},
        {{.status = 408}, false, OUTCOME_RETRY, "unavailable"},
        {{.result = HTTPC_UNCERTAIN}, false, OUTCOME_RETRY, "unavailable"},
        {{.result = HTTPC_NOT_SENT}, false, OUTCOME_RETRY, "unavailable"},
        {{.result = HTTPC_TOO_LARGE, .status = 200}, false, OUTCOME_INVALID, "bad_answer"},
        {{.status = 500, .body = "{\"classify\":{\"outcome\":\"ok\"}}"}, true, OUTCOME_OK, ""},
        {{.status = 404, .body = "{\"classify\":{\"outcome\":\"config\"}}"}, false, OUTCOME_CONFIG, "configuration"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct call *c =
            begin("stage", "{\"script\":[{\"lookup\":\"a\",\"expect\":[404]," GET("a") "},{\"already\":true}]}", true);

        assert_next(c, "GET", "https://t.example/api/a", NULL);
        answer(c, cases[i].answer);
        if (cases[i].goes_on)
            assert_result(c, OUTCOME_ALREADY, "", "");
        else
            assert_result(c, cases[i].outcome, cases[i].error_class, "");
        assert_false(call_result(c)->was_write);
        call_free(c);
    }
}

static void test_one_repetition_after_new_credentials(void **state)
{
    struct call *c = scripted("[{\"lookup\":\"a\"," GET("a") "}," OK_WRITE "]");

    (void)state;
    assert_false(call_repeat(c));
    assert_next(c, "GET", "https://t.example/api/a", NULL);
    assert_false(call_repeat(c));
    answer(c, (struct canned){.status = 401});
    assert_result(c, OUTCOME_REAUTH, "credentials", "");
    assert_true(call_repeat(c));
    assert_next(c, "GET", "https://t.example/api/a", NULL);
    assert_string_equal(call_result(c)->error_class, "");
    answer(c, (struct canned){.status = 200});
    assert_next(c, "PUT", "https://t.example/api/w", "1");
    answer(c, (struct canned){.status = 401});
    assert_result(c, OUTCOME_REAUTH, "credentials", "");
    assert_false(call_repeat(c));
    call_free(c);
    c = scripted("[" OK_WRITE "]");
    assert_next(c, "PUT", "https://t.example/api/w", "1");
    answer(c, (struct canned){.status = 403});
    assert_false(call_repeat(c));
    call_free(c);
}

/* ---- texts */
static void test_answers_of_candidates_are_not_told(void **state)
{
    struct call *c =
        begin("note", "{\"body\":\"Result: passed\\nWhere do you live?: 7 Elm Street\",\"marker\":\"atsync:1\"}", true);

    (void)state;
    assert_int_equal(call_advance(c), CALL_REQUEST);
    answer(c,
           (struct canned){.status = 422, .body = "{\"message\":\"7 Elm Street: not allowed, Basic s3cret-token\"}"});
    assert_result(c, OUTCOME_INVALID, "invalid", "…: not allowed, Basic ***");
    call_free(c);
}

static void test_notes_are_cut_but_keep_their_marker(void **state)
{
    static const char ten[] = "äöüäöüäöü ";
    struct buf write, expected;
    struct call *c;

    (void)state;
    buf_init(&write, 10000);
    buf_init(&expected, 10000);
    c = begin("note", "{\"body\":\"short\",\"marker\":\"atsync:0123456789abcdef\"}", true);
    assert_next(c, "POST", "https://t.example/api/notes",
                "{\"text\":\"short\\n[atsync:0123456789abcdef]\",\"body\":\"short\"}");
    call_free(c);

    /* 100 in all: 26 for the line with the marker, so 74 of the body fit */
    for (int i = 0; i < 7; i++)
        buf_puts(&expected, ten);
    buf_printf(&write, "{\"body\":\"%s1234\",\"marker\":\"atsync:0123456789abcdef\"}", buf_text(&expected));
    c = begin("note", buf_text(&write), true);
    buf_puts(&expected, "1234");
    buf_reset(&write);
    buf_printf(&write, "{\"text\":\"%s\\n[atsync:0123456789abcdef]\",\"body\":\"%s\"}", buf_text(&expected),
               buf_text(&expected));
    assert_next(c, "POST", "https://t.example/api/notes", buf_text(&write));
    call_free(c);

    /* one more: 67 and the 7 of the mark; a blank before the mark goes, too */
    buf_reset(&write);
    buf_printf(&write, "{\"body\":\"%s5\",\"marker\":\"atsync:0123456789abcdef\"}", buf_text(&expected));
    c = begin("note", buf_text(&write), true);
    buf_reset(&expected);
    for (int i = 0; i < 6; i++)
        buf_puts(&expected, ten);
    buf_puts(&expected, "äöüäöüä… [cut]");
    buf_reset(&write);
    buf_printf(&write, "{\"text\":\"%s\\n[atsync:0123456789abcdef]\",\"body\":\"%s\"}", buf_text(&expected),
               buf_text(&expected));
    assert_next(c, "POST", "https://t.example/api/notes", buf_text(&write));
    call_free(c);

    /* an assessment's summary: 93 and the mark */
    buf_reset(&write);
    buf_puts(&write, "{\"score\":7.5,\"summary\":\"");
    for (int i = 0; i < 101; i++)
        buf_putc(&write, i == 92 ? ' ' : 'x');
    buf_puts(&write, "\"}");
    c = begin("assessment", buf_text(&write), false);
    buf_reset(&write);
    buf_puts(&write, "{\"score\":7.5,\"summary\":\"");
    for (int i = 0; i < 92; i++)
        buf_putc(&write, 'x');
    buf_puts(&write, "… [cut]\"}");
    assert_next(c, "PUT", "https://t.example/api/a", buf_text(&write));
    call_free(c);
    buf_free(&write);
    buf_free(&expected);
}

/* ---- authentication */
static void test_auth_headers(void **state)
{
    struct auth_headers h = {.count = 0};
    struct connector_config poor = connector;
    struct named_value bad[] = {{.name = (char[]){"token"}, .value = (char[]){"a\r\nX-Evil: b"}}};
    struct errmsg err;

    (void)state;
    assert_int_equal(auth_headers_make(module, &connector, &h, &err), ST_OK);
    assert_int_equal(h.count, 2);
    assert_string_equal(h.items[0].name, "Authorization");
    assert_string_equal(h.items[0].value, "Bearer s3cret-token");
    assert_string_equal(h.items[1].name, "X-User");
    assert_string_equal(h.items[1].value, "u1");
    auth_headers_clear(&h);
    assert_int_equal(h.count, 0);
    auth_headers_clear(&h);
    poor.credential_count = 0;
    assert_int_equal(auth_headers_make(module, &poor, &h, &err), ST_INVALID);
    assert_string_equal(err.text, "the credential \"token\" of connector \"ats\" is missing");
    poor.credentials = bad;
    poor.credential_count = 1;
    assert_int_equal(auth_headers_make(module, &poor, &h, &err), ST_INVALID);
    assert_string_equal(
        err.text, "a credential of connector \"ats\" is too long or holds a line break, which no header can carry");
    assert_int_equal(h.count, 0);
}

static void test_basic_authentication(void **state)
{
    struct named_value pair[] = {{.name = (char[]){"user"}, .value = (char[]){"Aladdin"}},
                                 {.name = (char[]){"key"}, .value = (char[]){"open sesame"}}};
    struct connector_config basic = {.name = (char[]){"b"}, .credentials = pair, .credential_count = 2};
    struct json *context = json_of("{\"write\":{\"body\":\"x\",\"marker\":\"m\"}}");
    struct auth_headers h = {.count = 0};
    struct connector_vm *own = NULL;
    struct errmsg err;
    struct call *c;

    (void)state;
    assert_int_equal(auth_headers_make(basic_module, &basic, &h, &err), ST_OK);
    assert_int_equal(h.count, 1);
    assert_string_equal(h.items[0].name, "Authorization");
    assert_string_equal(h.items[0].value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="); /* RFC 7617 section 2 */
    auth_headers_clear(&h);

    /* an ATS that repeats the header */
    assert_int_equal(connector_vm_new(basic_module, &own, &err), ST_OK);
    c = call_new(own, &basic, "note", json_copy(context), true, "key-1");
    assert_next(c, "POST", "https://b.example/n", "\"x\\n[m]\"");
    assert_null(header_of(call_request(c), "Idempotency-Key"));
    answer(c, (struct canned){.status = 403,
                              .body = "{\"message\":\"no: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== (open sesame)\"}"});
    assert_result(c, OUTCOME_CONFIG, "permission", "no: Basic *** (***)");
    call_free(c);
    connector_vm_free(own);
    json_free(context);

    pair[0].value = (char[]){"a:b"};
    assert_int_equal(auth_headers_make(basic_module, &basic, &h, &err), ST_INVALID);
    assert_string_equal(err.text,
                        "the user name of connector \"b\" holds a colon, which basic authentication cannot carry");
    basic.credential_count = 1;
    pair[0].value = (char[]){"a"};
    assert_int_equal(auth_headers_make(basic_module, &basic, &h, &err), ST_INVALID);
    assert_string_equal(err.text, "the credential \"key\" of connector \"b\" is missing");
}

static void test_bad_target_ends_the_call(void **state)
{
    struct connector_config lost = connector;
    struct json *context = json_object();
    struct call *c;

    (void)state;
    lost.base_url = (char[]){"http://ats.example.com"};
    c = call_new(vm, &lost, "note", json_copy(context), true, NULL);
    assert_result(c, OUTCOME_CONFIG, "configuration",
                  "base_url \"http://ats.example.com\" must begin with https://: credentials would travel unencrypted "
                  "(http:// is for "
                  "loopback and private addresses)");
    call_free(c);
    json_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookups_then_write),
        cmocka_unit_test(test_what_modules_see),
        cmocka_unit_test(test_answers_in_got),
        cmocka_unit_test(test_pages_are_gathered),
        cmocka_unit_test(test_lookup_that_writes),
        cmocka_unit_test(test_a_note_of_several_requests),
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_programs_that_fail),
        cmocka_unit_test(test_lookups_end),
        cmocka_unit_test(test_answers_that_the_program_does_not_understand),
        cmocka_unit_test(test_answers_without_what_was_asked_for),
        cmocka_unit_test(test_monstrous_answers_are_no_answers),
        cmocka_unit_test(test_values_that_are_too_deep),
        cmocka_unit_test(test_answers_to_the_write),
        cmocka_unit_test(test_answers_to_a_lookup),
        cmocka_unit_test(test_one_repetition_after_new_credentials),
        cmocka_unit_test(test_answers_of_candidates_are_not_told),
        cmocka_unit_test(test_notes_are_cut_but_keep_their_marker),
        cmocka_unit_test(test_auth_headers),
        cmocka_unit_test(test_basic_authentication),
        cmocka_unit_test(test_bad_target_ends_the_call),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
