#include "domain/completion.h"

#include "base/clock.h"
#include "story.h"

#define YES                                                                                                            \
    "{'slug':'nmc-pin','answer':'Yes','answerState':'IS_YES','trafficLight':'GREEN','outcome':'PASSED','score':100}"
#define SCREENING SCREEN("screen-1", "10:30:00", "10:42:00", TALK("PASSED_CRITERIA", YES))
#define SCREENING_BARE SCREEN("screen-1", "10:30:00", "10:42:00", TALK("PASSED_CRITERIA", ""))
#define BOOKING ENGAGE("booking", "10:42:00", "10:45:00", TALK("COMPLETED", ""))
#define OBJ(members) "{" members "}"
#define CUT_OFF(id, nodes)                                                                                             \
    ENDED("COMPLETED", id, "run_1", "10:30:00", "10:45:00", "completed", CUT ",'finalNodeId':'booking'", nodes)
#define NOW INT64_C(1777800000000000) /* 2026-05-03 */

enum { MOST_EVENTS = 4 };

static const char *run_text(const struct run *r, struct arena *a)
{
    struct buf b;
    const char *text;

    buf_init(&b, 1 << 20);
    buf_printf(&b, "%s %s %s%s%s%s at %s by %s", run_state_name(r->state), r->outcome ? r->outcome : "-",
               r->result ? r->result : "-", r->truncated ? " truncated" : "", r->complete ? " complete" : "",
               r->conflict ? " conflict" : "",
               r->terminal.event_id ? arena_printf(a, "%.12s+%d", time_iso8601(r->terminal.time_us).s + 11,
                                                   (int)(r->terminal.time_us % 1000))
                                    : "-",
               r->terminal.event_id ? r->terminal.event_id : "-");
    for (size_t i = 0; i < r->node_count; i++)
        buf_printf(&b, "; %s", r->nodes[i].node_id);
    for (size_t i = 0; i < r->answer_count; i++)
        buf_printf(&b, "; %s/%s", r->answers[i].node_id, r->answers[i].slug);
    text = arena_strdup(a, buf_text(&b));
    buf_free(&b);
    return text;
}

/* What came by webhook, what the API says, and what is known then. */
static const struct {
    const char *rule;
    const char *events[MOST_EVENTS];
    const char *answer;
    const char
        *result; /* "running", "unusable: why", or the run; with "no better: " in front if it is not worth storing */
} cases[] = {
    {"a run that never ended",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'id':'run_1','status':'COMPLETED','completedAt':" AT("10:45:00") ",'outcome':'completed','nodes':[" OBJ(
         SCREENING) "," OBJ(BOOKING) "]}",
     "completed completed PASSED_CRITERIA complete at 10:45:00.000+0 by (api)/run_1/ended; screen-1; booking; "
     "screen-1/nmc-pin"},
    {"the same in another dress: wrapped, other names, nodes by id in a text",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'data':{'run':{'runId':'run_1','state':'completed','endedAt':" AT(
         "10:45:00") ",'context':'{\\'nodes\\':{"
                     "\\'screen-1\\':{\\'nodeType\\':\\'SCREENING_OUTREACH\\',\\'completedAt\\':\\'2026-04-28T10:42:"
                     "00Z\\',\\'outcome\\':"
                     "{\\'kind\\':\\'conversation\\',\\'status\\':\\'FAILED_CRITERIA\\',\\'answers\\':[]}}}}'}}}",
     "completed completed FAILED_CRITERIA complete at 10:45:00.000+0 by (api)/run_1/ended; screen-1"},
    {"opted out",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'OPTED_OUT','completedAt':" AT("10:31:00") ",'nodes':[]}",
     "completed opted_out - complete at 10:31:00.000+0 by (api)/run_1/ended"},
    {"delivery failed",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'FAILED','outcome':'delivery_failed','failedAt':" AT("10:31:00") ",'nodes':[]}",
     "failed delivery_failed - complete at 10:31:00.000+0 by (api)/run_1/ended"},
    {"cancelled",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'CANCELED','cancelledAt':" AT("10:31:00") ",'cancellationReason':'moved','nodes':[]}",
     "cancelled cancelled - complete at 10:31:00.000+0 by (api)/run_1/ended"},
    {"what nodes told by webhook is kept, and without a list nobody knows that it is all",
     {STARTED("e1", "run_1", "10:30:00"), NODE_DONE("e2", "run_1", "10:42:00", SCREENING)},
     "{'status':'COMPLETED','completedAt':" AT("10:50:00") "}",
     "completed completed PASSED_CRITERIA truncated at 10:50:00.000+0 by (api)/run_1/ended; screen-1; "
     "screen-1/nmc-pin"},
    {"an answer that the API leaves out is kept",
     {STARTED("e1", "run_1", "10:30:00"), NODE_DONE("e2", "run_1", "10:42:00", SCREENING)},
     "{'status':'COMPLETED','completedAt':" AT("10:45:00") ",'nodes':[" OBJ(BOOKING) "," OBJ(SCREENING_BARE) "]}",
     "completed completed PASSED_CRITERIA complete at 10:45:00.000+0 by (api)/run_1/ended; booking; screen-1; "
     "screen-1/nmc-pin"},
    {"a list of something else is none",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'COMPLETED','completedAt':" AT(
         "10:45:00") ",'nodes':{'screen-1':{'type':'screeningOutreach','label':'x'},'booking':7}}",
     "completed completed - truncated at 10:45:00.000+0 by (api)/run_1/ended"},
    {"without a time: when its last node ended",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'COMPLETED','nodes':[" OBJ(SCREENING) "]}",
     "completed completed PASSED_CRITERIA complete at 10:42:00.000+0 by (api)/run_1/ended; screen-1; screen-1/nmc-pin"},
    {"without any: right after the last event",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'COMPLETED','completedAt':'yesterday','nodes':[]}",
     "completed completed - complete at 10:30:00.000+1 by (api)/run_1/ended"},
    {"not later than now",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'COMPLETED','completedAt':'9999-01-01T00:00:00Z','nodes':[]}",
     "completed completed - complete at 09:20:00.000+0 by (api)/run_1/ended"},
    {"a run that was cut off: right after its event, whose outcome stays",
     {STARTED("e1", "run_1", "10:30:00"), CUT_OFF("e9", OBJ(SCREENING))},
     "{'id':'run_1','status':'FAILED','outcome':'failed','completedAt':" AT("11:45:00") ",'nodes':[" OBJ(
         SCREENING) "," OBJ(BOOKING) "]}",
     "completed completed PASSED_CRITERIA complete at 10:45:00.000+1 by (api)/run_1/after/e9; screen-1; booking; "
     "screen-1/nmc-pin"},
    {"cut off, and the API knows no more",
     {CUT_OFF("e9", OBJ(SCREENING))},
     "{'status':'COMPLETED','truncated':true,'nodes':[" OBJ(SCREENING) "]}",
     "no better: completed completed PASSED_CRITERIA truncated at 10:45:00.000+1 by (api)/run_1/after/e9; screen-1; "
     "screen-1/nmc-pin"},
    {"cut off, and the API has no list",
     {CUT_OFF("e9", OBJ(SCREENING))},
     "{'status':'COMPLETED'}",
     "no better: completed completed PASSED_CRITERIA truncated at 10:45:00.000+1 by (api)/run_1/after/e9; screen-1; "
     "screen-1/nmc-pin"},
    {"cut off, and the API has less: nothing is lost",
     {CUT_OFF("e9", OBJ(SCREENING)), NODE_DONE("e2", "run_1", "10:42:00", BOOKING)},
     "{'status':'COMPLETED','nodes':[]}",
     "no better: completed completed PASSED_CRITERIA complete at 10:45:00.000+1 by (api)/run_1/after/e9; screen-1; "
     "booking; "
     "screen-1/nmc-pin"},
    {"a failed run that was cut off stays failed",
     {ENDED("FAILED", "e9", "run_1", "10:30:00", "10:45:00", "failed", CUT, OBJ(SCREENING))},
     "{'status':'COMPLETED','completedAt':" AT("11:45:00") ",'nodes':[" OBJ(SCREENING) "," OBJ(BOOKING) "]}",
     "failed failed - complete at 10:45:00.000+1 by (api)/run_1/after/e9; screen-1; booking; screen-1/nmc-pin"},
    {"and a cancelled one cancelled",
     {ENDED("CANCELLED", "e9", "run_1", "10:30:00", "10:45:00", "cancelled", CUT, OBJ(SCREENING))},
     "{'status':'COMPLETED','completedAt':" AT("11:45:00") ",'nodes':[" OBJ(SCREENING) "," OBJ(BOOKING) "]}",
     "cancelled cancelled - complete at 10:45:00.000+1 by (api)/run_1/after/e9; screen-1; booking; screen-1/nmc-pin"},
    {"a node that only a webhook told stands where it ended",
     {STARTED("e1", "run_1", "10:30:00"), NODE_DONE("e2", "run_1", "10:42:00", SCREENING)},
     "{'status':'COMPLETED','completedAt':" AT("10:45:00") ",'nodes':[" OBJ(BOOKING) "]}",
     "completed completed PASSED_CRITERIA complete at 10:45:00.000+0 by (api)/run_1/ended; screen-1; booking; "
     "screen-1/nmc-pin"},
    {"a node that is listed twice counts once, as it was last",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'COMPLETED','completedAt':" AT("10:45:00") ",'nodes':[" OBJ(SCREENING_BARE) "," OBJ(SCREENING) "]}",
     "completed completed PASSED_CRITERIA complete at 10:45:00.000+0 by (api)/run_1/ended; screen-1; screen-1/nmc-pin"},
    {"it goes on", {STARTED("e1", "run_1", "10:30:00")}, "{'id':'run_1','status':'RUNNING'}", "running"},
    {"it waits", {STARTED("e1", "run_1", "10:30:00")}, "{'data':{'status':'in_progress'}}", "running"},
    {"another run",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'id':'run_2','status':'COMPLETED'}",
     "unusable: the answer is about another run"},
    {"no status",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'id':'run_1','status':7}",
     "unusable: the answer has no status (status or state, as a text)"},
    {"a new status",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'SLEEPING_WELL'}",
     "unusable: the answer has a status that is not known: SLEEPING_WELL"},
    {"a status that could be anything",
     {STARTED("e1", "run_1", "10:30:00")},
     "{'status':'jane@example.com'}",
     "unusable: the answer has a status that is not known: (no word)"},
    {"a list", {STARTED("e1", "run_1", "10:30:00")}, "[1]", "unusable: the answer is not a JSON object"},
};

static const char *complete(struct story *s, const struct run *known, const char *answer)
{
    const char *text = unquoted(answer, s->arena);
    struct json *tree = NULL;
    const char *body = NULL;
    struct run_set set;
    struct errmsg err = {{0}};
    enum completion c;

    assert_int_equal(json_parse(text, strlen(text), &tree, &err), ST_OK);
    c = completion_make(tree, known, NOW, s->arena, &body, &err);
    json_free(tree);
    if (c == COMPLETION_RUNNING)
        return "running";
    if (c == COMPLETION_UNUSABLE)
        return arena_printf(s->arena, "unusable: %s", err.text);
    assert_int_equal(event_parse(body, strlen(body), s->arena, &s->events[s->count], &err), ST_OK);
    s->count++;
    runs_fold(s->events, s->count, s->arena, &set);
    assert_int_equal(set.count, 1);
    assert_string_equal(set.runs[0].external_id, "ats_42");
    assert_string_equal(set.runs[0].organization_id, "org_1");
    return arena_printf(s->arena, "%s%s", completion_improves(known, &set.runs[0]) ? "" : "no better: ",
                        run_text(&set.runs[0], s->arena));
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct story s;
        const struct run *known;

        print_message("case: %s\n", cases[i].rule);
        story_open(&s);
        known = story_run(&s, cases[i].events, MOST_EVENTS);
        assert_string_equal(complete(&s, known, cases[i].answer), cases[i].result);
        story_close(&s);
    }
}

/* The sender's own event counts, whichever comes first, and the same event of ours is made again and again. */
static void test_the_webhook_wins(void **state)
{
    static const char *const started[] = {STARTED("e1", "run_1", "10:30:00")};
    static const char answer[] = "{'status':'FAILED','completedAt':" AT("10:45:00") ",'nodes':[]}";
    struct story s;
    struct run_set set;
    struct run known;

    (void)state;
    story_open(&s);
    known = *story_run(&s, started, 1);
    (void)complete(&s, &known, answer);
    story_tell(&s, ENDED("COMPLETED", "0-is-less-than-a-letter", "run_1", "10:30:00", "10:45:00", "completed", WHOLE,
                         OBJ(SCREENING)));
    runs_fold(s.events, s.count, s.arena, &set);
    assert_string_equal(set.runs[0].terminal.event_id, "0-is-less-than-a-letter");
    assert_string_equal(set.runs[0].outcome, "completed");
    assert_true(set.runs[0].conflict);
    s.count--;
    (void)complete(&s, &known, answer);
    assert_string_equal(s.events[s.count - 1].id, s.events[s.count - 2].id);
    story_close(&s);
}

static void test_paths(void **state)
{
    static const struct {
        const char *path, *fault, *filled;
    } paths[] = {
        {"/workflow-runs/{run_id}", NULL, "/workflow-runs/run%2F1"},
        {"/w/{workflow_id}/runs/{run_id}/x?run={run_id}&expand=nodes", NULL,
         "/w/wf%201/runs/run%2F1/x?run=run%2F1&expand=nodes"},
        {"workflow-runs/{run_id}", "must begin with one /, such as /workflow-runs/{run_id}", NULL},
        {"//evil.example/{run_id}", "must begin with one /, such as /workflow-runs/{run_id}", NULL},
        {"/runs", "must hold {run_id}: the place of the run's id", NULL},
        {"/runs/{id}", "may hold {run_id} and {workflow_id}, but no other name in braces", NULL},
        {"/runs/{run_id", "may hold {run_id} and {workflow_id}, but no other name in braces", NULL},
        {"/a/../{run_id}", "must not hold . or .. as a part", NULL},
        {"/a b/{run_id}", "holds a character that cannot stand in a URL", NULL},
        {"/a/{run_id}#x", "holds a character that cannot stand in a URL", NULL},
    };
    struct arena *arena = arena_new();
    struct errmsg err;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(paths); i++) {
        err.text[0] = '\0';
        assert_int_equal(completion_path_check(paths[i].path, &err), paths[i].fault != NULL ? ST_INVALID : ST_OK);
        assert_string_equal(err.text, paths[i].fault != NULL ? paths[i].fault : "");
        if (paths[i].filled != NULL)
            assert_string_equal(completion_path(paths[i].path, "run/1", "wf 1", arena), paths[i].filled);
    }
    char *path = arena_printf(arena, "/%01020d{run_id}", 0);
    assert_int_equal(completion_path_check(path, &err), ST_INVALID);
    assert_string_equal(err.text, "is longer than 1024 bytes");
    assert_null(completion_path("/w/{workflow_id}/{run_id}", "run_1", NULL, arena));
    assert_null(completion_path("/{run_id}", "..", NULL, arena));
    assert_null(completion_path("/{run_id}", "", NULL, arena));
    assert_null(completion_path("/{run_id}", "../../admin", NULL, arena));
    assert_null(completion_path("/{run_id}", "%2e%2e", NULL, arena));
    assert_null(completion_path("/{run_id}", "a\xc0\x80", NULL, arena)); /* U+0000, which no URL can carry */
    assert_string_equal(completion_path("/{run_id}", "a/b", NULL, arena), "/a%2Fb");
    arena_free(arena);
}

/* Whatever the event would add: who has a node or an answer less, or is not over, knows no more. */
static void test_less_is_no_improvement(void **state)
{
    struct run_node one = {.node_id = "one"}, two = {.node_id = "two"};
    const struct run before = {.nodes = &one, .node_count = 1, .answer_count = 1};
    struct run after = {.terminal = {.event_id = "e"}, .nodes = &one, .node_count = 1, .answer_count = 1};

    (void)state;
    assert_true(completion_improves(&before, &after));
    after.answer_count = 0;
    assert_false(completion_improves(&before, &after));
    after.answer_count = 1;
    after.nodes = &two;
    assert_false(completion_improves(&before, &after));
    after.nodes = &one;
    after.terminal.event_id = NULL;
    assert_false(completion_improves(&before, &after));
}

static void test_when_again(void **state)
{
    enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

    (void)state;
    assert_int_equal(completion_again_ms(COMPLETION_STILL_RUNNING, 1, HOUR, false), 2 * HOUR);
    assert_int_equal(completion_again_ms(COMPLETION_STILL_RUNNING, 4, HOUR, false), 16 * HOUR);
    assert_int_equal(completion_again_ms(COMPLETION_STILL_RUNNING, 5, HOUR, false), DAY);
    assert_int_equal(completion_again_ms(COMPLETION_STILL_RUNNING, INT64_MAX, HOUR, false), DAY);
    assert_int_equal(completion_again_ms(COMPLETION_NO_NEWS, 1, HOUR, true), 2 * MINUTE);
    assert_int_equal(completion_again_ms(COMPLETION_NO_NEWS, 1, 1000, true), 2000);
    assert_int_equal(completion_again_ms(COMPLETION_NO_NEWS, 9, HOUR, true), 512 * MINUTE);
    assert_int_equal(completion_again_ms(COMPLETION_NO_NEWS, 10, HOUR, true), -1);
    assert_int_equal(completion_again_ms(COMPLETION_NOT_FOUND, 4, HOUR, false), 16 * HOUR);
    assert_int_equal(completion_again_ms(COMPLETION_NOT_FOUND, 5, HOUR, false), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),      cmocka_unit_test(test_the_webhook_wins),
        cmocka_unit_test(test_paths),      cmocka_unit_test(test_less_is_no_improvement),
        cmocka_unit_test(test_when_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
