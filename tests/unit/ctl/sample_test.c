#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "ctl/sample.h"
#include "domain/event.h"

/* Every sample is an event that the daemon understands, found by both of its names. */
static void test_all_samples(void **state)
{
    bool seen[EVENT_OTHER] = {false};

    (void)state;
    assert_int_equal(sample_count, 9);
    for (size_t i = 0; i < sample_count; i++) {
        struct arena *arena = arena_new();
        struct json *tree = NULL, *again = NULL;
        struct event e;
        char *text;

        assert_int_equal(sample_event(samples[i].name, &tree, NULL), ST_OK);
        text = json_text(tree);
        assert_int_equal(event_parse(text, strlen(text), arena, &e, NULL), ST_OK);
        assert_true(e.type < EVENT_OTHER);
        assert_false(seen[e.type]);
        seen[e.type] = true;
        assert_true(e.time_us != EVENT_TIME_NONE);
        assert_true(text_starts(e.id, "evt_sample_"));
        assert_int_equal(sample_event(e.type_name, &again, NULL), ST_OK);
        assert_string_not_equal(json_get_str(again, "eventId"), json_get_str(tree, "eventId"));
        mem_free(text);
        json_free(tree);
        json_free(again);
        arena_free(arena);
    }
}

static void test_names(void **state)
{
    struct json *tree = NULL;
    struct errmsg err;

    (void)state;
    assert_int_equal(sample_event("Run-Completed", &tree, &err), ST_OK);
    assert_string_equal(json_get_str(tree, "event"), "WORKFLOW_RUN_COMPLETED");
    json_free(tree);
    assert_int_equal(sample_event("run-complet", &tree, &err), ST_NOT_FOUND);
    assert_string_equal(err.text, "there is no sample \"run-complet\", did you mean run-completed?");
    assert_int_equal(sample_event("zzzzzzzz", &tree, &err), ST_NOT_FOUND);
    assert_string_equal(
        err.text, "there is no sample \"zzzzzzzz\"; there are contact-resolution-failed, contact-resolution-skipped, "
                  "contact-resolved, node-completed, published, run-cancelled, run-completed, run-failed, run-started");
}

static void test_set(void **state)
{
    static const char before[] = "{\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"d\":\"text\",\"n\":null}";
    static const struct {
        const char *assignment, *after, *error;
    } cases[] = {
        {"a.b.1.c=y", "{\"a\":{\"b\":[1,{\"c\":\"y\"}]},\"d\":\"text\",\"n\":null}", NULL},
        {"a.b.0={\"q\":true}", "{\"a\":{\"b\":[{\"q\":true},{\"c\":\"x\"}]},\"d\":\"text\",\"n\":null}", NULL},
        {"a.b.2=7", "{\"a\":{\"b\":[1,{\"c\":\"x\"},7]},\"d\":\"text\",\"n\":null}", NULL},
        {"d=true", "{\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"d\":true,\"n\":null}", NULL},
        {"d=\"true\"", "{\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"d\":\"true\",\"n\":null}", NULL},
        {"d=1 June = summer", "{\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"d\":\"1 June = summer\",\"n\":null}", NULL},
        {"d=", "{\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"d\":\"\",\"n\":null}", NULL},
        {"n.new.er=ats_7", "{\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"d\":\"text\",\"n\":{\"new\":{\"er\":\"ats_7\"}}}", NULL},
        {"d", NULL, "\"d\" is no assignment: write data.candidateProfileExternalId=ats_7"},
        {"=1", NULL, "the path has an empty part: write data.candidateProfileExternalId=ats_7"},
        {"a..b=1", NULL, "the path has an empty part: write data.candidateProfileExternalId=ats_7"},
        {"a.b.3=1", NULL, "\"3\" is no element of this list: there are 2, counted from 0"},
        {"a.b.x.c=1", NULL, "\"x\" is no element of this list: there are 2, counted from 0"},
        {"d.e=1", NULL, "what \"e\" would be a member of is not an object"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *tree = NULL;
        struct errmsg err = {{0}};
        char *text;

        assert_int_equal(json_parse(before, sizeof before - 1, &tree, NULL), ST_OK);
        assert_int_equal(sample_set(&tree, cases[i].assignment, &err), cases[i].after != NULL ? ST_OK : ST_INVALID);
        text = json_text(tree);
        assert_string_equal(text, cases[i].after != NULL ? cases[i].after : before);
        assert_string_equal(err.text, cases[i].error != NULL ? cases[i].error : "");
        mem_free(text);
        json_free(tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_samples), cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_set)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
