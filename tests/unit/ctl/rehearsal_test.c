#include "ctl/rehearsal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

#define NOW_US (INT64_C(1800000000) * 1000000) /* 2027-01-15T08:00:00Z */
enum { TEXT_MAX_BYTES = 1024 * 1024 };

static struct connector_module *load(const char *type)
{
    struct connector_module *m = NULL;
    struct errmsg err = {{0}};

    if (connector_module_load("conf/atsyncd.conf", type, &m, &err) != ST_OK)
        fail_msg("%s", err.text);
    return m;
}

/* What is printed, or what is wrong with the file; *ret_ok: whether all was well. */
static char *run(const char *type, const char *file, const char *function, bool *ret_ok)
{
    struct connector_module *m = load(type);
    struct config_problems problems = {0};
    struct json *tree = NULL, *rehearsal = NULL;
    struct buf b;

    assert_int_equal(json_parse(file, strlen(file), &tree, NULL), ST_OK);
    buf_init(&b, TEXT_MAX_BYTES);
    if (rehearse(m, "f.json", tree, function, NOW_US, &rehearsal, &problems) == ST_OK) {
        rehearsal_print(rehearsal, &b);
        *ret_ok = rehearsal_ok(rehearsal);
    } else {
        config_problems_print(&problems, &b);
        *ret_ok = false;
    }
    json_free(rehearsal);
    json_free(tree);
    config_problems_clear(&problems);
    connector_module_unref(m);
    return buf_take(&b);
}

#define URL "\"base_url\": \"https://a.example/v1\""
#define WHO "\"candidate\": {\"id\": \"c 1\"}, \"job\": \"7\""
#define STAGE                                                                                                          \
    "\"verb\": \"stage\", " URL ", \"context\": {" WHO ", \"write\": {\"stage\": \"B\", \"only_from\": [\"A\"]}}"

static const struct {
    const char *type, *file, *function, *said;
    bool ok;
} cases[] = {
    {"rest", "{" STAGE "}", NULL,
     "1. GET https://a.example/v1/candidates/c%201/jobs/7/stage\n"
     "   Accept: application/json\n"
     "No answer is recorded for request 1: add it to answers to see what comes next.\n",
     true},
    {"rest", "{" STAGE ", \"answers\": [{\"body\": {\"stage\": \"A\"}}]}", NULL,
     "1. GET https://a.example/v1/candidates/c%201/jobs/7/stage\n"
     "   Accept: application/json\n"
     "   -> 200\n"
     "2. PUT https://a.example/v1/candidates/c%201/jobs/7/stage  (writes)\n"
     "   Idempotency-Key: 00000000-0000-4000-8000-000000000000\n"
     "   Accept: application/json\n"
     "   Content-Type: application/json\n"
     "   {\"stage\":\"B\"}\n"
     "No answer is recorded for request 2: add it to answers to see what comes next.\n",
     true},
    {"rest", "{" STAGE ", \"answers\": [{\"body\": {\"stage\": \"C\"}}]}", NULL,
     "1. GET https://a.example/v1/candidates/c%201/jobs/7/stage\n"
     "   Accept: application/json\n"
     "   -> 200\n"
     "Ended: skip (moved): the candidate is in stage \"C\", the mapping moves only from: A\n",
     true},
    {"rest", "{" STAGE ", \"answers\": [{\"body\": {\"stage\": \"B\"}}, {}, {}]}", NULL,
     "1. GET https://a.example/v1/candidates/c%201/jobs/7/stage\n"
     "   Accept: application/json\n"
     "   -> 200\n"
     "Ended: already\n"
     "2 of the answers were not used.\n",
     false},
    {"rest",
     "{" STAGE
     ", \"answers\": [{\"status\": 429, \"headers\": {\"Retry-After\": \"30\"}, \"text\": \"<html>\\u001b\"}]}",
     NULL,
     "1. GET https://a.example/v1/candidates/c%201/jobs/7/stage\n"
     "   Accept: application/json\n"
     "   -> 429\n"
     "Ended: throttled (rate_limited)\n"
     "To be tried again in 30000 ms, says the ATS.\n",
     true},
    {"rest", "{" STAGE ", \"answers\": [{\"lost\": true}]}", NULL,
     "1. GET https://a.example/v1/candidates/c%201/jobs/7/stage\n"
     "   Accept: application/json\n"
     "   -> the connection is lost\n"
     "Ended: retry (unavailable): the connection was lost\n",
     true},
    {"rest", "{" STAGE "}", "meta", NULL, true},
    {"ashby", "{\"context\": {\"status\": 200, \"body\": {\"success\": true}, \"request\": {\"verb\": \"stage\"}}}",
     "classify", "null\n", true},
    {"ashby", "{\"context\": 3}", "classify", "Function classify failed: Cannot index number with string \"status\"\n",
     false},
    /* what is wrong with the file, all of it */
    {"rest", "[]", NULL, "f.json: must be an object with a context and a verb\n", false},
    {"rest", "{\"verb\": \"stage\", \"contxt\": {}, \"answers\": [{\"staus\": 1}, {\"status\": 99}]}", NULL,
     "f.json: unknown member \"contxt\", did you mean \"context\"?\n"
     "f.json: answers[0]: unknown member \"staus\", did you mean \"status\"?\n"
     "f.json: answers[1]: status must be a number from 100 to 599\n",
     false},
    {"rest", "{\"context\": {}}", NULL,
     "f.json: verb: is missing: which function is to be run (stage, note, probe, classify and so on)?\n", false},
    {"rest", "{\"verb\": \"stage\", \"function\": \"note\"}", NULL,
     "f.json: function: verb and function mean the same: give one of them\n", false},
    {"rest", "{\"verb\": \"classify\"}", NULL,
     "f.json: verb: type rest has no function \"classify\": meta does not promise it\n", false},
    {"rest", "{\"verb\": \"stage\", \"context\": []}", NULL, "f.json: context: must be an object\n", false},
    {"lever", "{\"verb\": \"stage\", \"settings\": {\"perform_as\": 1, \"api_hst\": \"x\"}}", NULL,
     "f.json: settings.perform_as: \"1\" does not look like the connector wants it (pattern [0-9a-fA-F-]{36})\n"
     "f.json: settings.api_hst: type lever has no such setting, did you mean \"api_host\"?\n",
     false},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        bool ok = false;
        char *said = run(cases[i].type, cases[i].file, cases[i].function, &ok);

        if (cases[i].said != NULL)
            assert_string_equal(said, cases[i].said);
        else
            assert_non_null(strstr(said, "\n  \"name\": \"rest\",\n"));
        assert_int_equal(ok, cases[i].ok);
        mem_free(said);
    }
}

/* A type with OAuth2 wants a key for its tokens, and one with credentials wants these: not to be tried. */
static void test_nothing_secret_is_needed_or_shown(void **state)
{
    bool ok = false;
    char *said = run("greenhouse", "{\"verb\": \"probe\", \"settings\": {\"user_id\": \"4080\"}}", NULL, &ok);

    (void)state;
    assert_true(ok);
    assert_non_null(strstr(said, "1. GET https://harvest.greenhouse.io/v3/"));
    assert_null(strstr(said, "made-up"));
    mem_free(said);
    said = run("rest", "{" STAGE ", \"credentials\": {\"token\": \"s3cret\"}}", NULL, &ok);
    assert_true(ok);
    assert_null(strstr(said, "s3cret"));
    mem_free(said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_nothing_secret_is_needed_or_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
