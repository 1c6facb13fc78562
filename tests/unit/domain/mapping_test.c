#include "domain/mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

static void assert_text(const char *got, const char *wanted)
{
    if (!text_eq(got, wanted))
        fail_msg("got \"%s\", wanted \"%s\"", got != NULL ? got : "(null)", wanted != NULL ? wanted : "(null)");
}

static void test_conditions(void **state)
{
    static const struct {
        const char *text;
        enum moment moment;
        const char *node_id, *qualifier;
    } cases[] = {
        {"contact_resolved", MOMENT_CONTACT_RESOLVED, NULL, NULL},
        {"contact_skipped", MOMENT_CONTACT_SKIPPED, NULL, NULL},
        {"contact_failed", MOMENT_CONTACT_FAILED, NULL, NULL},
        {"started", MOMENT_STARTED, NULL, NULL},
        {"node/screen-1", MOMENT_NODE, "screen-1", NULL},
        {"node/screen-1/PASSED_CRITERIA", MOMENT_NODE, "screen-1", "PASSED_CRITERIA"},
        {"completed", MOMENT_COMPLETED, NULL, NULL},
        {"completed/NOT_INTERESTED", MOMENT_COMPLETED, NULL, "NOT_INTERESTED"},
        {"completed/A_NEW_STATUS", MOMENT_COMPLETED, NULL, "A_NEW_STATUS"}, /* the sender may add values */
        {"opted_out", MOMENT_OPTED_OUT, NULL, NULL},
        {"delivery_failed", MOMENT_DELIVERY_FAILED, NULL, NULL},
        {"cancelled", MOMENT_CANCELLED, NULL, NULL},
        {"failed", MOMENT_FAILED, NULL, NULL},
        {"failed/SYSTEM", MOMENT_FAILED, NULL, "SYSTEM"},
        {"failed/EXECUTOR_TIMEOUT", MOMENT_FAILED, NULL, "EXECUTOR_TIMEOUT"},
        {"finished", MOMENT_FINISHED, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct condition c = {0};
        struct errmsg err;
        if (condition_parse(cases[i].text, &c, &err) != ST_OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_int_equal(c.moment, cases[i].moment);
        assert_text(c.node_id, cases[i].node_id);
        assert_text(c.qualifier, cases[i].qualifier);
        condition_clear(&c);
        assert_null(c.node_id);
        assert_null(c.qualifier);
    }
}

static void test_refused_conditions(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"complete", "unknown condition \"complete\", did you mean \"completed\"?"},
        {"complete/PASSED_CRITERIA", "unknown condition \"complete/PASSED_CRITERIA\", did you mean \"completed\"?"},
        {"canceled", "unknown condition \"canceled\", did you mean \"cancelled\"?"},
        {"hired",
         "unknown condition \"hired\"; possible are contact_resolved, contact_skipped, contact_failed, started, "
         "node/<id>[/<STATUS>], completed[/<STATUS>], opted_out, delivery_failed, cancelled, failed[/<CODE or "
         "CLASS>], finished"},
        {"started/NOW", "\"started/NOW\": nothing can follow \"started\"; only node, completed and failed take a /"},
        {"finished/", "\"finished/\": nothing can follow \"finished\"; only node, completed and failed take a /"},
        {"completed/PASSED", "no status \"PASSED\" in \"completed/PASSED\", did you mean \"PASSED_CRITERIA\"?"},
        {"completed/passed_criteria",
         "no status \"passed_criteria\" in \"completed/passed_criteria\", did you mean \"PASSED_CRITERIA\"?"},
        {"completed/why not",
         "\"why not\" in \"completed/why not\" is not a status: these are written in capitals, as PASSED_CRITERIA"},
        {"completed/Quite another", "\"Quite another\" in \"completed/Quite another\" is not a status: these are "
                                    "written in capitals, as PASSED_CRITERIA"},
        {"completed/", "\"\" in \"completed/\" is not a status: these are written in capitals, as PASSED_CRITERIA"},
        {"failed/SYSTM", "no error code or class \"SYSTM\" in \"failed/SYSTM\", did you mean \"SYSTEM\"?"},
        {"node", "\"node\" names no node: write node/<id> or node/<id>/<STATUS>"},
        {"node/", "\"node/\" names no node: write node/<id> or node/<id>/<STATUS>"},
        {"node//COMPLETED", "\"node//COMPLETED\" names no node: write node/<id> or node/<id>/<STATUS>"},
        {"node/a/COMPLETE", "no status \"COMPLETE\" in \"node/a/COMPLETE\", did you mean \"COMPLETED\"?"},
        {"node/a/b/COMPLETED", "\"node/a/b/COMPLETED\" has too many parts: write node/<id> or node/<id>/<STATUS>"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct condition c = {.moment = MOMENT_FINISHED};
        struct errmsg err = {{0}};
        assert_int_equal(condition_parse(cases[i].text, &c, &err), ST_INVALID);
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(c.moment, MOMENT_FINISHED);
        assert_null(c.qualifier);
    }
}

static void test_members(void **state)
{
    static const char *const names[] = {"answer", "answerState",   "trafficLight",           "outcome",
                                        "score",  "documentS3Key", "documentTwilioMediaSid", "classifiedDocumentType"};

    (void)state;
    for (unsigned i = 0; i < ANSWER_MEMBER_COUNT; i++) {
        enum answer_member m = i == 0 ? ANSWER_SCORE : ANSWER_TEXT;
        assert_string_equal(answer_member_name((enum answer_member)i), names[i]);
        assert_true(answer_member_parse(names[i], &m));
        assert_int_equal(m, i);
    }
    enum answer_member untouched = ANSWER_SCORE;
    assert_false(answer_member_parse("Answer", &untouched));
    assert_int_equal(untouched, ANSWER_SCORE);
}

static void test_field_keys(void **state)
{
    static const struct {
        const char *text, *node_id, *slug;
        enum answer_member member;
    } cases[] = {
        {"nmc-pin", NULL, "nmc-pin", ANSWER_TEXT},
        {"nmc-pin.score", NULL, "nmc-pin", ANSWER_SCORE},
        {"screen-1/dbs", "screen-1", "dbs", ANSWER_TEXT},
        {"screen-1/dbs.trafficLight", "screen-1", "dbs", ANSWER_TRAFFIC_LIGHT},
        {"screen.1/dbs", "screen.1", "dbs", ANSWER_TEXT},
        {"a.b", NULL, "a.b", ANSWER_TEXT}, /* no member of that name: part of the slug */
        {"a.score.answer", NULL, "a.score", ANSWER_TEXT},
        {"a.scor.answer", NULL, "a.scor", ANSWER_TEXT},
        {"version.1.0", NULL, "version.1.0", ANSWER_TEXT},
        {"score", NULL, "score", ANSWER_TEXT},
    };
    static const struct {
        const char *text, *message;
    } refused[] = {
        {"", "\"\" names no slug: write SLUG or NODE/SLUG"},
        {".score", "\".score\" names no slug: write SLUG or NODE/SLUG"},
        {"node/", "\"node/\" names no slug: write SLUG or NODE/SLUG"},
        {"/dbs", "\"/dbs\" is not the key of an answer: write SLUG or NODE/SLUG"},
        {"a/b/c", "\"a/b/c\" is not the key of an answer: write SLUG or NODE/SLUG"},
        {"nmc-pin.scor", "an answer has no member \"scor\", did you mean \"score\"? If it belongs to the slug, write "
                         "\"nmc-pin.scor.answer\""},
        {"nmc-pin.answerstate",
         "an answer has no member \"answerstate\", did you mean \"answerState\"? If it belongs to "
         "the slug, write \"nmc-pin.answerstate.answer\""},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct field_map f = {0};
        struct errmsg err;
        if (field_key_parse(cases[i].text, &f, &err) != ST_OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_text(f.node_id, cases[i].node_id);
        assert_text(f.slug, cases[i].slug);
        assert_int_equal(f.member, cases[i].member);
        mem_free(f.node_id);
        mem_free(f.slug);
    }
    for (size_t i = 0; i < ATS_COUNT(refused); i++) {
        struct field_map f = {0};
        struct errmsg err = {{0}};
        assert_int_equal(field_key_parse(refused[i].text, &f, &err), ST_INVALID);
        assert_string_equal(err.text, refused[i].message);
        assert_null(f.slug);
        assert_null(f.node_id);
    }
}

static void test_find(void **state)
{
    char a[] = "a", star[] = "*", b[] = "b";
    struct workflow_map workflows[] = {{.external_id = a}, {.external_id = star}, {.external_id = b}};
    struct mapping with_default = {.workflows = workflows, .count = 3};
    struct mapping without = {.workflows = workflows, .count = 1};
    struct mapping empty = {0};

    (void)state;
    assert_ptr_equal(mapping_find(&with_default, "a"), &workflows[0]);
    assert_ptr_equal(mapping_find(&with_default, "b"), &workflows[2]); /* the default does not hide what follows it */
    assert_ptr_equal(mapping_find(&with_default, "c"), &workflows[1]);
    assert_ptr_equal(mapping_find(&with_default, NULL), &workflows[1]);
    assert_ptr_equal(mapping_find(&without, "a"), &workflows[0]);
    assert_null(mapping_find(&without, "c"));
    assert_null(mapping_find(&without, NULL));
    assert_null(mapping_find(&empty, "a"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions), cmocka_unit_test(test_refused_conditions),
        cmocka_unit_test(test_members),    cmocka_unit_test(test_field_keys),
        cmocka_unit_test(test_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
