#include "domain/run.h"

#include "base/clock.h"
#include "story.h"

#define YES                                                                                                            \
    "{'slug':'nmc-pin','answer':'Yes','answerState':'IS_YES','trafficLight':'GREEN','outcome':'PASSED','score':100}"
#define PASSED TALK("PASSED_CRITERIA", YES)
#define FAILED TALK("FAILED_CRITERIA", "")
#define DONE TALK("COMPLETED", "")

/* The page's example: a screening of 12 minutes, then a booking of 3. */
#define SCREENING SCREEN("screen-1", "10:30:00", "10:42:00", PASSED)
#define BOOKING ENGAGE("booking", "10:42:00", "10:45:00", DONE)
#define COMPLETED(id, nodes)                                                                                           \
    ENDED("COMPLETED", id, "run_1", "10:30:00", "10:45:00", "completed", WHOLE ",'finalNodeId':'booking'", nodes)
#define COMPLETED_CUT(id, nodes)                                                                                       \
    ENDED("COMPLETED", id, "run_1", "10:30:00", "10:45:00", "completed", CUT ",'finalNodeId':'booking'", nodes)
#define OBJ(members) "{" members "}"

static const char *time_or_dash(int64_t us, struct arena *a)
{
    return us == EVENT_TIME_NONE ? "-" : arena_printf(a, "%.8s", time_iso8601(us).s + 11);
}

/* The run in one line; after it, each node with its status and each answer. */
static const char *run_text(const struct run *r, struct arena *a)
{
    struct buf b;
    const char *text;

    buf_init(&b, 1 << 20);
    buf_printf(&b, "%s outcome=%s result=%s%s%s%s%s started=%s ended=%s order=%s", run_state_name(r->state),
               r->outcome ? r->outcome : "-", r->result ? r->result : "-", r->truncated ? " truncated" : "",
               r->complete ? " complete" : "", r->conflict ? " conflict" : "",
               r->is_contact_only ? " contact-only" : "", time_or_dash(r->started_us, a),
               time_or_dash(r->completed_us, a), time_or_dash(r->order_us, a));
    for (size_t i = 0; i < r->node_count; i++) {
        buf_printf(&b, "; %s %s", r->nodes[i].node_id, r->nodes[i].status ? r->nodes[i].status : "-");
    }
    for (size_t i = 0; i < r->answer_count; i++) {
        buf_printf(&b, "; %s/%s", r->answers[i].node_id, r->answers[i].slug);
    }
    text = arena_strdup(a, buf_text(&b));
    buf_free(&b);
    return text;
}

enum { MOST_EVENTS = 6 };

/* One row: what came, and what must come out, whatever the order. */
static const struct {
    const char *rule;
    const char *events[MOST_EVENTS];
    const char *run;
} stories[] = {
    {"a run has begun",
     {STARTED("e1", "run_1", "10:30:00")},
     "running outcome=- result=- started=10:30:00 ended=- order=10:30:00"},
    {"a contact was resolved ahead of the run starting",
     {CONTACT("RESOLVED", "e1", "run_1", "10:29:55", "")},
     "contact outcome=- result=- started=- ended=- order=10:29:55"},
    {"the run's own start counts, not the contact's time",
     {CONTACT("RESOLVED", "e1", "run_1", "10:29:55", ""), STARTED("e2", "run_1", "10:30:00")},
     "running outcome=- result=- started=10:30:00 ended=- order=10:30:00"},
    {"a contact that could not be resolved has no run",
     {CONTACT("RESOLUTION_FAILED", "e1", "dedup_1", "10:29:55", "")},
     "contact outcome=- result=- contact-only started=- ended=- order=10:29:55"},
    {"nodes that ended together stand as they began, and by their names",
     {NODE_DONE("e1", "run_1", "10:42:00", SCREEN("a", "10:31:00", "10:42:00", DONE)),
      NODE_DONE("e2", "run_1", "10:42:00", SCREEN("c", "10:30:00", "10:42:00", DONE)),
      NODE_DONE("e3", "run_1", "10:42:00", SCREEN("b", "10:30:00", "10:42:00", DONE))},
     "running outcome=- result=- started=- ended=- order=10:30:00; b COMPLETED; c COMPLETED; a COMPLETED"},
    {"skipped points at the existing run, and says nothing about a run that is over",
     {COMPLETED("e1", OBJ(SCREENING) "," OBJ(BOOKING)),
      CONTACT("RESOLUTION_SKIPPED", "e2", "run_1", "11:00:00", ",'existingRunStatus':'COMPLETED'")},
     "completed outcome=completed result=PASSED_CRITERIA complete started=10:30:00 ended=10:45:00 order=10:30:00; "
     "screen-1 PASSED_CRITERIA; booking "
     "COMPLETED; screen-1/nmc-pin"},
    {"a node event is progress, and implies the start",
     {NODE_DONE("e1", "run_1", "10:42:00", SCREENING)},
     "running outcome=- result=- started=- ended=- order=10:30:00; screen-1 PASSED_CRITERIA; screen-1/nmc-pin"},
    {"the same node twice: the later event wins",
     {NODE_DONE("e1", "run_1", "10:42:00", SCREEN("screen-1", "10:30:00", "10:42:00", FAILED)),
      NODE_DONE("e2", "run_1", "10:43:00", SCREENING)},
     "running outcome=- result=- started=- ended=- order=10:30:00; screen-1 PASSED_CRITERIA; screen-1/nmc-pin"},
    {"the same node twice at the same time: the greater event id counts as later",
     {NODE_DONE("e9", "run_1", "10:42:00", SCREEN("screen-1", "10:30:00", "10:42:00", FAILED)),
      NODE_DONE("e8", "run_1", "10:42:00", SCREENING)},
     "running outcome=- result=- started=- ended=- order=10:30:00; screen-1 FAILED_CRITERIA"},
    {"nodes stand in the order in which they ended",
     {NODE_DONE("e1", "run_1", "10:45:00", BOOKING), NODE_DONE("e2", "run_1", "10:42:00", SCREENING)},
     "running outcome=- result=- started=- ended=- order=10:30:00; screen-1 PASSED_CRITERIA; booking COMPLETED; "
     "screen-1/nmc-pin"},
    {"a run that reached its end: the last screening decides, not the last conversation",
     {STARTED("e1", "run_1", "10:30:00"), COMPLETED("e2", OBJ(SCREENING) "," OBJ(BOOKING))},
     "completed outcome=completed result=PASSED_CRITERIA complete started=10:30:00 ended=10:45:00 order=10:30:00; "
     "screen-1 PASSED_CRITERIA; booking "
     "COMPLETED; screen-1/nmc-pin"},
    {"no screening: the last conversation decides; a condition has no say",
     {COMPLETED("e1", OBJ(ENGAGE("a", "10:30:00", "10:40:00", DONE)) "," OBJ(
                          ENGAGE("booking", "10:40:00", "10:44:00",
                                 TALK("NOT_INTERESTED", ""))) "," OBJ(BRANCH("c", "10:44:00", "10:45:00")))},
     "completed outcome=completed result=NOT_INTERESTED complete started=10:30:00 ended=10:45:00 order=10:30:00; a "
     "COMPLETED; booking NOT_INTERESTED; "
     "c -"},
    {"two screenings: the last one decides",
     {COMPLETED("e1", OBJ(SCREEN("a", "10:30:00", "10:40:00", PASSED)) "," OBJ(
                          SCREEN("booking", "10:40:00", "10:45:00", FAILED)))},
     "completed outcome=completed result=FAILED_CRITERIA complete started=10:30:00 ended=10:45:00 order=10:30:00; a "
     "PASSED_CRITERIA; booking "
     "FAILED_CRITERIA; a/nmc-pin"},
    {"a node that was passed twice counts once, with its last visit, at that place",
     {COMPLETED("e1", OBJ(SCREEN("a", "10:30:00", "10:32:00", FAILED)) "," OBJ(SCREEN(
                          "b", "10:32:00", "10:40:00", FAILED)) "," OBJ(SCREEN("a", "10:40:00", "10:45:00", PASSED)))},
     "completed outcome=completed result=PASSED_CRITERIA complete started=10:30:00 ended=10:45:00 order=10:30:00; b "
     "FAILED_CRITERIA; a "
     "PASSED_CRITERIA; a/nmc-pin"},
    {"a terminal event without nodes",
     {COMPLETED("e1", "")},
     "completed outcome=completed result=- complete started=10:30:00 ended=10:45:00 order=10:30:00"},
    {"a terminal event is canonical: node events of other nodes, or of other news, do not change it",
     {COMPLETED("e1", OBJ(SCREENING) "," OBJ(BOOKING)),
      NODE_DONE("e2", "run_1", "10:50:00", SCREEN("screen-1", "10:30:00", "10:42:00", FAILED)),
      NODE_DONE("e3", "run_1", "10:50:00", SCREEN("screen-2", "10:45:00", "10:50:00", FAILED))},
     "completed outcome=completed result=PASSED_CRITERIA complete started=10:30:00 ended=10:45:00 order=10:30:00; "
     "screen-1 PASSED_CRITERIA; booking "
     "COMPLETED; screen-1/nmc-pin"},
    {"opted out: branch on the outcome, not on the event's name; there is no result",
     {ENDED("COMPLETED", "e1", "run_1", "10:30:00", "10:45:00", "opted_out", WHOLE,
            OBJ(SCREEN("a", "10:30:00", "10:45:00", TALK("OPTED_OUT", ""))))},
     "completed outcome=opted_out result=- complete started=10:30:00 ended=10:45:00 order=10:30:00; a OPTED_OUT"},
    {"an outcome that did not exist when this was written",
     {ENDED("COMPLETED", "e1", "run_1", "10:30:00", "10:45:00", "paused_for_good", WHOLE, "")},
     "completed outcome=paused_for_good result=- complete started=10:30:00 ended=10:45:00 order=10:30:00"},
    {"no outcome at all: the event's name says it",
     {EVENT("WORKFLOW_RUN_CANCELLED", "e1", "10:45:00", OF_RUN("run_1") ",'timestamp':" AT("10:45:00"))},
     "cancelled outcome=cancelled result=- complete started=- ended=10:45:00 order=10:45:00"},
    {"the earliest time known stands for a start that nobody told, and the skipped contact came later",
     {EVENT("WORKFLOW_RUN_CANCELLED", "e1", "10:45:00", OF_RUN("run_1") ",'timestamp':" AT("10:45:00")),
      CONTACT("RESOLUTION_SKIPPED", "e2", "run_1", "11:00:00", "")},
     "cancelled outcome=cancelled result=- complete started=- ended=10:45:00 order=10:45:00"},
    {"two terminal events: the later time wins, and the conflict shows",
     {ENDED("CANCELLED", "e1", "run_1", "10:30:00", "10:46:00", "cancelled", WHOLE, ""), COMPLETED("e2", OBJ(BOOKING))},
     "cancelled outcome=cancelled result=- complete conflict started=10:30:00 ended=10:46:00 order=10:30:00"},
    {"two terminal events of one time: the greater event id",
     {ENDED("CANCELLED", "e1", "run_1", "10:30:00", "10:45:00", "cancelled", WHOLE, ""), COMPLETED("e2", OBJ(BOOKING))},
     "completed outcome=completed result=COMPLETED complete conflict started=10:30:00 ended=10:45:00 order=10:30:00; "
     "booking COMPLETED"},
    {"two that agree are no conflict",
     {COMPLETED("e1", OBJ(BOOKING)), COMPLETED("e2", OBJ(BOOKING))},
     "completed outcome=completed result=COMPLETED complete started=10:30:00 ended=10:45:00 order=10:30:00; booking "
     "COMPLETED"},
    {"the terminal event knows the start better than the start event",
     {STARTED("e1", "run_1", "10:31:00"), COMPLETED("e2", OBJ(BOOKING))},
     "completed outcome=completed result=COMPLETED complete started=10:30:00 ended=10:45:00 order=10:30:00; booking "
     "COMPLETED"},

    {"cut short: what is known is there, and the run is not complete",
     {COMPLETED_CUT("e1", OBJ(BOOKING))},
     "completed outcome=completed result=COMPLETED truncated started=10:30:00 ended=10:45:00 order=10:30:00; booking "
     "COMPLETED"},
    {"cut short, without any node",
     {COMPLETED_CUT("e1", "")},
     "completed outcome=completed result=- truncated started=10:30:00 ended=10:45:00 order=10:30:00"},
    {"cut short at the end",
     {COMPLETED_CUT("e1", OBJ(SCREENING))},
     "completed outcome=completed result=PASSED_CRITERIA truncated started=10:30:00 ended=10:45:00 order=10:30:00; "
     "screen-1 PASSED_CRITERIA; "
     "screen-1/nmc-pin"},
    {"cut short in the middle",
     {COMPLETED_CUT("e1", OBJ(SCREEN("a", "10:30:00", "10:32:00", DONE)) "," OBJ(BOOKING))},
     "completed outcome=completed result=COMPLETED truncated started=10:30:00 ended=10:45:00 order=10:30:00; a "
     "COMPLETED; booking COMPLETED"},
    {"a node event that came before or comes later completes it",
     {COMPLETED_CUT("e1", OBJ(BOOKING)), NODE_DONE("e2", "run_1", "10:42:00", SCREENING)},
     "completed outcome=completed result=PASSED_CRITERIA truncated complete started=10:30:00 ended=10:45:00 "
     "order=10:30:00; screen-1 PASSED_CRITERIA; "
     "booking COMPLETED; screen-1/nmc-pin"},
    {"where both tell of a node, the terminal event's word counts",
     {COMPLETED_CUT("e1", OBJ(SCREENING)),
      NODE_DONE("e2", "run_1", "10:50:00", SCREEN("screen-1", "10:30:00", "10:42:00", FAILED)),
      NODE_DONE("e3", "run_1", "10:45:00", BOOKING)},
     "completed outcome=completed result=PASSED_CRITERIA truncated complete started=10:30:00 ended=10:45:00 "
     "order=10:30:00; screen-1 PASSED_CRITERIA; "
     "booking COMPLETED; screen-1/nmc-pin"},
    {"shapes that nobody promised are passed over, not refused",
     {EVENT(
         "WORKFLOW_RUN_COMPLETED", "e1", "10:45:00",
         OF_RUN("run_1") ",'outcome':7,'truncated':'no','nodes':[1,null,{'nodeType':'CONDITION'},{'nodeId':'x','"
                         "outcome':'?'},"
                         "{'nodeId':'y','outcome':{'kind':'hologram','status':'PASSED_CRITERIA','answers':{'a':1}}},"
                         "{'nodeId':'z','outcome':{'kind':'empty','answers':[5,{'answer':'no slug'},{'slug':'s'}]}}]")},
     "completed outcome=completed result=- complete started=- ended=10:45:00 order=10:45:00; x -; y -; z -; z/s"},
};

static void swap(struct event *a, struct event *b)
{
    struct event t = *a;

    *a = *b;
    *b = t;
}

/* Every order of the first n events, with the first event of the row told once more at the end. */
static void each_order(struct story *s, size_t n, const char *rule, const char *wanted)
{
    if (n <= 1) {
        struct run_set set;

        runs_fold(s->events, s->count, s->arena, &set);
        assert_int_equal(set.count, 1);
        assert_texts(rule, run_text(&set.runs[0], s->arena), wanted);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        swap(&s->events[i], &s->events[n - 1]);
        each_order(s, n - 1, rule, wanted);
        swap(&s->events[i], &s->events[n - 1]);
    }
}

static void test_stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(stories); i++) {
        struct story s;
        size_t n = 0;

        story_open(&s);
        for (; n < MOST_EVENTS && stories[i].events[n]; n++) {
            story_tell(&s, stories[i].events[n]);
        }
        each_order(&s, n, stories[i].rule, stories[i].run);
        story_tell(&s, stories[i].events[0]); /* at-least-once: it comes again */
        each_order(&s, n + 1, stories[i].rule, stories[i].run);
        story_close(&s);
    }
}

static void test_members_of_a_failed_run(void **state)
{
    static const char *const texts[] = {
        CONTACT("RESOLVED", "e0", "run_1", "10:29:55", ",'candidateProfileId':'cp_1'"),
        "{'event':'WORKFLOW_RUN_FAILED','eventId':'e1','eventTimestamp':" AT(
            "10:45:00") ",'data':{'recordId':'run_1','organizationId':'org_1',"
                        "'workflowId':'wf_1','outcome':'failed','errorCode':'SYSTEM_FAILURE','errorClass':'SYSTEM','"
                        "lastFailedNodeId':'screen-1',"
                        "'finalNodeId':'screen-1','cancellationReason':null,'nodes':[]}}",
    };
    struct story s;

    (void)state;
    story_open(&s);
    const struct run *r = story_run(&s, texts, ATS_COUNT(texts));

    assert_int_equal(r->state, RUN_FAILED);
    assert_string_equal(r->error_code, "SYSTEM_FAILURE");
    assert_string_equal(r->error_class, "SYSTEM");
    assert_string_equal(r->last_failed_node_id, "screen-1");
    assert_string_equal(r->final_node_id, "screen-1");
    assert_null(r->cancellation_reason);
    /* correlation fields that this event left out are known from the contact's */
    assert_string_equal(r->profile_id, "cp_1");
    assert_string_equal(r->external_id, "ats_42");
    assert_string_equal(r->workflow_external_id, "cedar");
    assert_int_equal(r->contact_count, 1);
    assert_string_equal(r->last_event.event_id, "e1");
    story_close(&s);
}

/* Ordered by start; a start that nobody told is the earliest time known; equal starts by run id. */
static void test_order_of_runs(void **state)
{
    static const char *const texts[] = {
        STARTED("e1", "run_c", "10:00:00"),
        ENDED("COMPLETED", "e2", "run_a", "10:00:00", "10:05:00", "completed", WHOLE, ""),
        NODE_DONE("e3", "run_b", "10:30:00", SCREEN("x", "09:00:00", "10:30:00", DONE)),
        CONTACT("RESOLUTION_FAILED", "e4", "run_a", "11:00:00", ""), /* a dedup key that looks like a run id is none */
        "{'event':'WORKFLOW_PUBLISHED','eventId':'e5','data':{'recordId':'wf_1'}}",
        "{'event':'CONVERSATION_STARTED','eventId':'e6','data':{'recordId':'run_z'}}",
    };
    static const char *const wanted[] = {"run_b", "run_a", "run_c", "run_a"};
    struct story s;
    struct run_set set;

    (void)state;
    story_open(&s);
    for (size_t i = 0; i < ATS_COUNT(texts); i++) {
        story_tell(&s, texts[i]);
    }
    runs_fold(s.events, s.count, s.arena, &set);
    assert_int_equal(set.count, ATS_COUNT(wanted));
    for (size_t i = 0; i < set.count; i++) {
        assert_string_equal(set.runs[i].run_id, wanted[i]);
        assert_int_equal(set.runs[i].is_contact_only, i == 3);
    }
    runs_fold(NULL, 0, s.arena, &set);
    assert_int_equal(set.count, 0);
    story_close(&s);
}

/* The same slug in several nodes: the later completedAt wins, node/slug names one exactly. */
static void test_answers(void **state)
{
    static const char *const texts[] = {ENDED(
        "COMPLETED", "e1", "run_1", "10:00:00", "11:00:00", "completed", WHOLE,
        OBJ(SCREEN("late", "10:00:00", "10:50:00", TALK("COMPLETED", SAID("q", "late") "," SAID("q", "late again")))) "," OBJ(
            SCREEN(
                "early", "10:00:00", "10:20:00",
                TALK(
                    "COMPLETED",
                    SAID("q", "early") "," SAID(
                        "p",
                        "only here")))) "," OBJ(SCREEN("also-late", "10:00:00", "10:50:00",
                                                       TALK(
                                                           "COMPLETED",
                                                           SAID(
                                                               "q",
                                                               "same time, further on")))) ","
                                                                                           "{'nodeId':'timeless','"
                                                                                           "nodeType':'SCREENING_"
                                                                                           "OUTREACH','outcome':" TALK(
                                                                                               "COMPLETED",
                                                                                               SAID("q", "when?") "," SAID(
                                                                                                   "r", "r")) "}")};
    static const struct {
        const char *node;
        const char *slug;
        const char *answer;
    } cases[] = {
        {NULL, "q", "same time, further on"},
        {"late", "q", "late again"},
        {"early", "q", "early"},
        {"timeless", "q", "when?"},
        {NULL, "p", "only here"},
        {"late", "p", NULL},
        {NULL, "r", "r"},
        {NULL, "nobody", NULL},
        {"nowhere", "q", NULL},
    };
    struct story s;

    (void)state;
    story_open(&s);
    const struct run *r = story_run(&s, texts, 1);

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const struct run_answer *a = run_find_answer(r, cases[i].node, cases[i].slug);

        assert_texts(cases[i].slug, a ? json_get_str(a->json, "answer") : NULL, cases[i].answer);
    }
    story_close(&s);
}

static void test_nodes_json(void **state)
{
    static const char *const texts[] = {ENDED(
        "COMPLETED", "e1", "run_1", "10:30:00", "10:45:00", "completed", WHOLE,
        "{'nodeId':'a','nodeType':'CONDITION','enteredAt':'2026-04-28T12:30:00+02:00','completedAt':'late','secret':1,"
        "'outcome':{'kind':'condition','targetNodeId':null}}")};
    struct story s;

    (void)state;
    story_open(&s);
    struct buf text;

    buf_init(&text, SIZE_MAX / 4);
    run_print_nodes(story_run(&s, texts, 1), &text);
    assert_string_equal(
        buf_text(&text),
        "[{\"enteredAt\":\"2026-04-28T10:30:00.000Z\",\"completedAt\":null,\"nodeId\":\"a\",\"nodeType\":\"CONDITION\","
        "\"outcome\":{\"kind\":\"condition\",\"targetNodeId\":null}}]");
    buf_free(&text);
    story_close(&s);
}

static void test_stamps(void **state)
{
    static const struct {
        struct stamp a;
        struct stamp b;
        int sign;
    } cases[] = {
        {{1, "b"}, {2, "a"}, -1},
        {{2, "a"}, {1, "b"}, 1},
        {{1, "a"}, {1, "b"}, -1},
        {{1, "b"}, {1, "a"}, 1},
        {{1, "a"}, {1, "a"}, 0},
        {{1, NULL}, {1, "a"}, -1},
        {{EVENT_TIME_NONE, "z"}, {INT64_MAX, "a"}, -1},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        int order = stamp_compare(&cases[i].a, &cases[i].b);

        assert_int_equal((order > 0) - (order < 0), cases[i].sign);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),       cmocka_unit_test(test_members_of_a_failed_run),
        cmocka_unit_test(test_order_of_runs), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_nodes_json),    cmocka_unit_test(test_stamps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
