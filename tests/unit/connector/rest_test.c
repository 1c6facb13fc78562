/*
 * conf/connectors/rest.jq: what each function makes of a context, by our engine and by the plain jq command, which must
 * agree; and the whole of each verb against the requests that the interface promises.
 */
#include "connector/step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

#define CONTEXT(write, got)                                                                                            \
    "{\"candidate\":{\"id\":\"ats "                                                                                    \
    "42\",\"profile_id\":\"p\"},\"job\":\"182736\",\"run\":{},\"workflow\":\"w\",\"settings\":{},\"write\":" write     \
    ",\"got\":" got "}"
#define ANSWER(status, body) "{\"status\":" status ",\"headers\":{},\"body\":" body ",\"length\":0}"
#define MOVE                                                                                                           \
    "{\"request\":{\"method\":\"PUT\",\"path\":[\"candidates\",\"ats "                                                 \
    "42\",\"jobs\",\"182736\",\"stage\"],\"body\":{\"stage\":\"B\"}}}"
#define LOOK_NOTES                                                                                                     \
    "{\"lookup\":\"notes\",\"request\":{\"method\":\"GET\",\"path\":[\"candidates\",\"ats 42\",\"notes\"]}}"

static const struct {
    const char *function;
    const char *context;
    const char *result;
} cases[] = {
    {"stage", CONTEXT("{\"stage\":\"B\"}", "{}"), MOVE},
    {"stage", CONTEXT("{\"stage\":\"B\",\"only_from\":[]}", "{}"), MOVE},
    {"stage", CONTEXT("{\"stage\":\"B\",\"only_from\":[\"A\"]}", "{}"),
     "{\"lookup\":\"current\",\"expect\":[404],\"request\":{\"method\":\"GET\",\"path\":[\"candidates\",\"ats "
     "42\",\"jobs\",\"182736\","
     "\"stage\"]}}"},
    {"stage",
     CONTEXT("{\"stage\":\"B\",\"only_from\":[\"A\",\"C\"]}", "{\"current\":" ANSWER("200", "{\"stage\":\"C\"}") "}"),
     MOVE},
    {"stage",
     CONTEXT("{\"stage\":\"B\",\"only_from\":[\"A\"]}", "{\"current\":" ANSWER("200", "{\"stage\":\"B\"}") "}"),
     "{\"already\":true}"},
    {"stage",
     CONTEXT("{\"stage\":\"B\",\"only_from\":[\"A\",\"C\"]}", "{\"current\":" ANSWER("200", "{\"stage\":\"D\"}") "}"),
     "{\"skip\":\"the candidate is in stage \\\"D\\\", the mapping moves only from: A, C\"}"},
    {"stage",
     CONTEXT("{\"stage\":\"B\",\"only_from\":[\"A\"]}", "{\"current\":" ANSWER("404", "{\"error\":\"none\"}") "}"),
     "{\"skip\":\"the candidate is in no stage of this job yet, the mapping moves only from: A\"}"},
    {"stage", CONTEXT("{\"stage\":\"B\",\"only_from\":[\"A\",\"none\"]}", "{\"current\":" ANSWER("404", "null") "}"),
     MOVE},
    {"reject", CONTEXT("{\"reason\":\"No\"}", "{}"),
     "{\"request\":{\"method\":\"POST\",\"path\":[\"candidates\",\"ats "
     "42\",\"jobs\",\"182736\",\"rejection\"],\"body\":{\"reason\":\"No\"}}}"},
    {"fields", CONTEXT("{\"fields\":{\"a\":1,\"b\":null}}", "{}"),
     "{\"request\":{\"method\":\"PATCH\",\"path\":[\"candidates\",\"ats "
     "42\"],\"body\":{\"fields\":{\"a\":1,\"b\":null}}}}"},
    {"tags", CONTEXT("{\"tags\":[\"x\",\"y\"]}", "{}"),
     "{\"request\":{\"method\":\"POST\",\"path\":[\"candidates\",\"ats "
     "42\",\"tags\"],\"body\":{\"tags\":[\"x\",\"y\"]}}}"},
    {"note", CONTEXT("{\"body\":\"b\",\"marker\":\"m\",\"text\":\"b\\n[m]\"}", "{}"),
     "{\"request\":{\"method\":\"POST\",\"path\":[\"candidates\",\"ats "
     "42\",\"notes\"],\"body\":{\"body\":\"b\\n[m]\",\"marker\":\"m\"}}}"},
    {"assessment", CONTEXT("{\"score\":7.5,\"status\":\"S\",\"summary\":\"s\",\"more\":1}", "{}"),
     "{\"request\":{\"method\":\"PUT\",\"path\":[\"candidates\",\"ats "
     "42\",\"jobs\",\"182736\",\"assessment\"],\"body\":{\"score\":7.5,"
     "\"status\":\"S\",\"summary\":\"s\"}}}"},
    {"find_marker", CONTEXT("{\"marker\":\"m\"}", "{}"), LOOK_NOTES},
    {"find_marker",
     CONTEXT("{\"marker\":\"m\"}",
             "{\"notes\":" ANSWER("200", "[{\"body\":\"x\",\"marker\":\"n\"},{\"body\":null,\"marker\":\"m\"}]") "}"),
     "{\"found\":true}"},
    {"find_marker", CONTEXT("{\"marker\":\"m\"}", "{\"notes\":" ANSWER("200", "[{\"body\":\"x\\n[m]\"}]") "}"),
     "{\"found\":true}"},
    {"find_marker",
     CONTEXT("{\"marker\":\"m\"}", "{\"notes\":" ANSWER("200", "[{\"body\":\"mm\",\"marker\":null},{}]") "}"),
     "{\"found\":false}"},
    {"find_marker", CONTEXT("{\"marker\":\"m\"}", "{\"notes\":" ANSWER("200", "[]") "}"), "{\"found\":false}"},
    {"find_marker", CONTEXT("{\"marker\":\"m\"}", "{\"notes\":" ANSWER("200", "{}") "}"),
     "{\"fail\":\"bad_answer\",\"message\":\"the list of notes is not a list\"}"},
    {"probe", CONTEXT("{}", "{}"),
     "{\"lookup\":\"notes\",\"expect\":[404],\"request\":{\"method\":\"GET\",\"path\":[\"candidates\",\"atsyncd-"
     "probe\",\"notes\"]}}"},
    {"probe", CONTEXT("{}", "{\"notes\":" ANSWER("404", "null") "}"), "{\"already\":true}"},
};

static struct connector_module *module;
static struct connector_vm *vm;
static struct named_value token[] = {{.name = (char[]){"token"}, .value = (char[]){"secret"}}};
static struct connector_config connector = {.name = (char[]){"ats"},
                                            .base_url = (char[]){"http://127.0.0.1:8/api/"},
                                            .credentials = token,
                                            .credential_count = 1};

static int set_up(void **state)
{
    struct errmsg err = {""};

    (void)state;
    if (connector_module_load("conf/atsyncd.conf", "rest", &module, &err) == ST_OK &&
        connector_vm_new(module, &vm, &err) == ST_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int tear_down(void **state)
{
    (void)state;
    connector_vm_free(vm);
    connector_module_unref(module);
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

static void test_functions_by_the_engine(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *context = json_of(cases[i].context), *expected = json_of(cases[i].result), *result = NULL;
        struct errmsg err = {""};

        if (connector_vm_run(vm, cases[i].function, context, &result, &err) != ST_OK)
            fail_msg("%s: %s", cases[i].function, err.text);
        if (!json_equal(result, expected))
            fail_msg("%s of %s\nis not    %s\nbut       %s", cases[i].function, cases[i].context, cases[i].result,
                     json_text(result));
        json_free(result);
        json_free(expected);
        json_free(context);
    }
}

/* Runs the jq command on all contexts at once, as compiling takes most of the time. NULL: there is no such command. */
static char *jq_says(const char *program, const char *input)
{
    char path[] = "/tmp/atsyncd-rest-XXXXXX", bytes[4096];
    int out[2], status = 0, in = mkstemp(path);
    struct buf said;
    ssize_t n;
    pid_t pid;

    assert_true(in >= 0);
    (void)unlink(path);
    assert_int_equal(write(in, input, strlen(input)), strlen(input));
    assert_int_equal(lseek(in, 0, SEEK_SET), 0);
    assert_int_equal(pipe(out), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (dup2(in, STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0 && close(out[0]) == 0)
            (void)execlp("jq", "jq", "-c", "-L", "conf/connectors", program, (char *)NULL);
        _exit(127);
    }
    (void)close(in);
    (void)close(out[1]);
    buf_init(&said, 1000000);
    while ((n = read(out[0], bytes, sizeof bytes)) > 0)
        buf_add(&said, bytes, (size_t)n);
    (void)close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        buf_free(&said);
        return NULL;
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return buf_take(&said);
}

static void test_functions_by_the_jq_command(void **state)
{
    static const char program[] = "include \"rest\"; .fn as $fn | .ctx | if $fn == \"stage\" then stage elif $fn == "
                                  "\"reject\" then reject elif $fn == \"fields\" then "
                                  "fields elif $fn == \"tags\" then tags elif $fn == \"note\" then note elif $fn == "
                                  "\"assessment\" then assessment elif $fn == "
                                  "\"find_marker\" then find_marker else probe end";
    struct buf input;
    char *said, *line;

    (void)state;
    buf_init(&input, 1000000);
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        buf_printf(&input, "{\"fn\":\"%s\",\"ctx\":%s}\n", cases[i].function, cases[i].context);
    said = jq_says(program, buf_text(&input));
    buf_free(&input);
    if (said == NULL)
        skip();
    line = said;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *end = strchr(line, '\n');
        struct json *expected = json_of(cases[i].result), *result;

        assert_non_null(end);
        *end = '\0';
        result = json_of(line);
        if (!json_equal(result, expected))
            fail_msg("%s of %s\nis not    %s\nbut       %s", cases[i].function, cases[i].context, cases[i].result,
                     line);
        json_free(result);
        json_free(expected);
        line = end + 1;
    }
    assert_string_equal(line, "");
    mem_free(said);
}

/* ---- whole calls */
static void answer(struct call *c, long status, const char *body)
{
    struct httpc_response r = {
        .result = HTTPC_ANSWERED, .status = status, .body = body, .body_len = strlen(body), .error = ""};

    call_answer(c, &r, 0);
}

static const char *key_sent(const struct prepared_request *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (strcmp(r->headers[i].name, "Idempotency-Key") == 0)
            return r->headers[i].value;
    }
    return "none";
}

static void test_every_verb_on_the_wire(void **state)
{
    static const struct {
        const char *verb;
        const char *write;
        const char *request; /* method, URL, key, body */
    } wire[] = {
        {"fields", "{\"fields\":{\"f\":\"v\"}}",
         "PATCH http://127.0.0.1:8/api/candidates/ats%2042 k {\"fields\":{\"f\":\"v\"}}"},
        {"stage", "{\"stage\":\"S\"}",
         "PUT http://127.0.0.1:8/api/candidates/ats%2042/jobs/182736/stage k {\"stage\":\"S\"}"},
        {"stage", "{\"stage\":\"S\",\"only_from\":[\"A\"]}",
         "GET http://127.0.0.1:8/api/candidates/ats%2042/jobs/182736/stage none -"},
        {"reject", "{\"reason\":\"R\"}",
         "POST http://127.0.0.1:8/api/candidates/ats%2042/jobs/182736/rejection k {\"reason\":\"R\"}"},
        {"tags", "{\"tags\":[\"t\"]}", "POST http://127.0.0.1:8/api/candidates/ats%2042/tags k {\"tags\":[\"t\"]}"},
        {"note", "{\"body\":\"b\",\"marker\":\"m\"}",
         "POST http://127.0.0.1:8/api/candidates/ats%2042/notes k {\"body\":\"b\\n[m]\",\"marker\":\"m\"}"},
        {"find_marker", "{\"body\":\"b\",\"marker\":\"m\"}",
         "GET http://127.0.0.1:8/api/candidates/ats%2042/notes none -"},
        {"assessment", "{\"score\":1,\"status\":\"s\",\"summary\":\"t\"}",
         "PUT http://127.0.0.1:8/api/candidates/ats%2042/jobs/182736/assessment k "
         "{\"score\":1,\"status\":\"s\",\"summary\":\"t\"}"},
        {"probe", "{}", "GET http://127.0.0.1:8/api/candidates/atsyncd-probe/notes none -"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(wire); i++) {
        char *text = mem_printf(CONTEXT("%s", "{}"), wire[i].write), *sent;
        struct json *context = json_of(text);
        struct call *c = call_new(vm, &connector, wire[i].verb, json_copy(context), false, "k");
        const struct prepared_request *r;

        assert_int_equal(call_advance(c), CALL_REQUEST);
        r = call_request(c);
        sent = mem_printf("%s %s %s %s", r->method, r->url, key_sent(r), r->body != NULL ? r->body : "-");
        assert_string_equal(sent, wire[i].request);
        mem_free(sent);
        call_free(c);
        json_free(context);
        mem_free(text);
    }
}

static void test_guarded_move(void **state)
{
    static const struct {
        long status;
        const char *body;
        bool moves;
        enum outcome outcome;
        const char *message;
    } moves[] = {
        {200, "{\"stage\":\"A\"}", true, OUTCOME_OK, ""},
        {404, "{\"message\":\"no stage\"}", true, OUTCOME_OK, ""},
        {200, "{\"stage\":\"B\"}", false, OUTCOME_ALREADY, ""},
        {200, "{\"stage\":\"Hired\"}", false, OUTCOME_SKIP,
         "the candidate is in stage \"Hired\", the mapping moves only from: A, none"},
        {500, "", false, OUTCOME_RETRY, ""},
        {200, "{\"stage\":{\"name\":\"A\"}}", false, OUTCOME_RETRY,
         "the stage that the candidate stands in is not a text"},
        {200, "[]", false, OUTCOME_RETRY, "the stage that the candidate stands in is not a text"},
        {200, "", false, OUTCOME_RETRY, "the stage that the candidate stands in is not a text"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(moves); i++) {
        struct json *context = json_of(CONTEXT("{\"stage\":\"B\",\"only_from\":[\"A\",\"none\"]}", "{}"));
        struct call *c = call_new(vm, &connector, "stage", json_copy(context), false, "k");

        assert_int_equal(call_advance(c), CALL_REQUEST);
        answer(c, moves[i].status, moves[i].body);
        if (moves[i].moves) {
            assert_int_equal(call_advance(c), CALL_REQUEST);
            assert_string_equal(call_request(c)->method, "PUT");
            answer(c, 200, "");
        }
        assert_int_equal(call_advance(c), CALL_FINISHED);
        assert_string_equal(outcome_name(call_result(c)->outcome), outcome_name(moves[i].outcome));
        assert_string_equal(call_result(c)->message, moves[i].message);
        call_free(c);
        json_free(context);
    }
}

static void test_marker_is_found(void **state)
{
    static const struct {
        const char *notes;
        bool found;
    } lists[] = {{"[{\"id\":1,\"body\":\"b\\n[m]\",\"marker\":\"m\"}]", true}, {"[]", false}};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(lists); i++) {
        struct json *context = json_of(CONTEXT("{\"body\":\"b\",\"marker\":\"m\"}", "{}"));
        struct call *c = call_new(vm, &connector, "find_marker", json_copy(context), true, NULL);

        assert_int_equal(call_advance(c), CALL_REQUEST);
        answer(c, 200, lists[i].notes);
        assert_int_equal(call_advance(c), CALL_FINISHED);
        assert_string_equal(outcome_name(call_result(c)->outcome), "ok");
        assert_true(call_result(c)->found == lists[i].found);
        call_free(c);
        json_free(context);
    }
}

static void test_job_that_is_missing(void **state)
{
    struct json *context = json_of("{\"candidate\":{\"id\":\"c\"},\"job\":null,\"write\":{\"stage\":\"S\"}}");
    struct call *c = call_new(vm, &connector, "stage", json_copy(context), false, NULL);

    (void)state;
    assert_int_equal(call_advance(c), CALL_FINISHED);
    assert_string_equal(call_result(c)->error_class, "invalid");
    assert_string_equal(call_result(c)->message, "part 4 of the path is null, not a text or number");
    call_free(c);
    json_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions_by_the_engine), cmocka_unit_test(test_functions_by_the_jq_command),
        cmocka_unit_test(test_every_verb_on_the_wire),  cmocka_unit_test(test_guarded_move),
        cmocka_unit_test(test_marker_is_found),         cmocka_unit_test(test_job_that_is_missing),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
