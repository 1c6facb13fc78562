#include "domain/plan.h"

#include "story.h"

#define OBJ(members) "{" members "}"
#define ON(rules) "{'cedar':{'job':'J','on':{" rules "}}}"
#define FIELDS(fields) "{'cedar':{'job':'J','fields':{" fields "}}}"
#define LIVE(fields) "{'cedar':{'job':'J','live':true,'fields':{" fields "}}}"

#define COMPLETED(id, run, from, to, status, answers)                                                                  \
    ENDED("COMPLETED", id, run, from, to, "completed", WHOLE, OBJ(SCREEN("screen-1", from, to, TALK(status, answers))))
#define ASKED(answer) COMPLETED("e1", "run_1", "10:00:00", "11:00:00", "PASSED_CRITERIA", answer)
#define ENDED_AS(outcome, extra) ENDED("COMPLETED", "e1", "run_1", "10:00:00", "11:00:00", outcome, extra, "")
/* a run of another workflow; external id may be null */
#define OTHER(id, run, workflow, external_id, from, to, outcome)                                                       \
    EVENT("WORKFLOW_RUN_COMPLETED", id, to,                                                                            \
          "'recordId':'" run "','workflowId':'" workflow "','workflowExternalId':" external_id                         \
          ",'candidateProfileExternalId':'ats_42','timestamp':" AT(to) ",'startedAt':" AT(from) ",'completedAt':" AT(  \
              to) ",'outcome':'" outcome "','nodes':[]")

enum { MOST_EVENTS = 5 };

/* One row: the mapping, what came, and every wish that must come out. */
static const struct {
    const char *rule;
    const char *mapping;
    const char *events[MOST_EVENTS];
    const char *plan;
} cases[] = {
    /* ---- conditions */
    {"the most specific condition wins for each kind of action, several kinds per condition",
     ON("'finished':{'stage':'F','tags':['f'],'note':'f'},'completed':{'stage':'C','tags':['c']},"
        "'completed/PASSED_CRITERIA':{'stage':'P','fields':{'a':1}}"),
     {ASKED("")},
     "disposition/J stage \"P\" <- completed/PASSED_CRITERIA\nfield/a field 1 <- completed/PASSED_CRITERIA\n"
     "note/run_1/completed note \"f\" <- finished\ntag/c tag \"c\" <- completed\n"},
    {"another status falls back to the plainer condition",
     ON("'completed':{'stage':'C'},'completed/FAILED_CRITERIA':{'reject':'no'}"),
     {ASKED("")},
     "disposition/J stage \"C\" <- completed\n"},
    {"stage and reject are one kind",
     ON("'completed':{'stage':'C'},'completed/PASSED_CRITERIA':{'reject':'too good'}"),
     {ASKED("")},
     "disposition/J reject \"too good\" <- completed/PASSED_CRITERIA\n"},
    {"failed/CODE is more specific than failed/CLASS, and that than failed",
     ON("'failed':{'stage':'any'},'failed/SYSTEM':{'stage':'class','tags':['class']},'failed/"
        "SYSTEM_FAILURE':{'stage':'code'}"),
     {ENDED_AS("failed", WHOLE ",'errorCode':'SYSTEM_FAILURE','errorClass':'SYSTEM'")},
     "disposition/J stage \"code\" <- failed/SYSTEM_FAILURE\ntag/class tag \"class\" <- failed/SYSTEM\n"},
    {"failed/DATA is not failed/SYSTEM",
     ON("'failed':{'stage':'any'},'failed/SYSTEM':{'stage':'class'}"),
     {ENDED_AS("failed", WHOLE ",'errorCode':'EXECUTOR_FAILED','errorClass':'DATA'")},
     "disposition/J stage \"any\" <- failed\n"},
    {"an unknown outcome is still an end",
     ON("'finished':{'tags':['over']},'completed':{'tags':['completed']},'failed':{'tags':['failed']}"),
     {ENDED_AS("evaporated", WHOLE)},
     "tag/over tag \"over\" <- finished\n"},
    {"opted out, delivery failed and cancelled have words of their own",
     ON("'opted_out':{'tags':['o']},'delivery_failed':{'tags':['d']},'cancelled':{'tags':['c']},'completed':{'tags':['"
        "x']}"),
     {ENDED_AS("delivery_failed", WHOLE)},
     "tag/d tag \"d\" <- delivery_failed\n"},
    {"a status that only a newer sender knows",
     ON("'completed/GHOSTED':{'tags':['g']}"),
     {COMPLETED("e1", "run_1", "10:00:00", "11:00:00", "GHOSTED", "")},
     "tag/g tag \"g\" <- completed/GHOSTED\n"},
    {"only_from goes with the stage",
     ON("'completed':{'stage':'C','only_from':['A','none']}"),
     {ASKED("")},
     "disposition/J stage \"C\" only from A, none <- completed\n"},

    /* ---- moments */
    {"what a later event implies has happened: started and nodes without events of their own",
     ON("'started':{'tags':['s']},'node/screen-1':{'tags':['n']},'node/screen-1/PASSED_CRITERIA':{'note':'{run} "
        "passed'},"
        "'node/screen-1/FAILED_CRITERIA':{'tags':['failed']},'node/other':{'tags':['o']}"),
     {ASKED("")},
     "note/run_1/node/screen-1 note \"run_1 passed\" <- node/screen-1/PASSED_CRITERIA\ntag/n tag \"n\" <- "
     "node/screen-1\ntag/s tag \"s\" <- started\n"},
    {"a node event implies the start",
     ON("'started':{'stage':'S'}"),
     {NODE_DONE("e1", "run_1", "10:42:00", SCREEN("a", "10:30:00", "10:42:00", TALK("COMPLETED", "")))},
     "disposition/J stage \"S\" <- started\n"},
    {"a contact that was resolved has not started",
     ON("'started':{'stage':'S'},'contact_resolved':{'tags':['r']}"),
     {CONTACT("RESOLVED", "e1", "run_1", "10:00:00", "")},
     "tag/r tag \"r\" <- contact_resolved\n"},
    {"a contact that could not be resolved",
     ON("'contact_failed':{'tags':['unreachable'],'note':'{state}'}"),
     {CONTACT("RESOLUTION_FAILED", "e1", "dedup_1", "10:00:00", "")},
     "note/dedup_1/contact_failed note \"contact\" <- contact_failed\ntag/unreachable tag \"unreachable\" <- "
     "contact_failed\n"},
    {"contact_skipped of a run that is over stands before its end, and one note is enough for two of them",
     ON("'contact_skipped':{'stage':'S','note':'again'},'completed':{'stage':'C'}"),
     {ASKED(""), CONTACT("RESOLUTION_SKIPPED", "e2", "run_1", "12:00:00", ""),
      CONTACT("RESOLUTION_SKIPPED", "e3", "run_1", "13:00:00", "")},
     "disposition/J stage \"C\" <- completed\nnote/run_1/contact_skipped note \"again\" <- contact_skipped\n"},
    {"a kind that the terminal moment leaves out keeps what the earlier moment said",
     ON("'started':{'stage':'S'},'node/screen-1':{'assessment':'mean'},'completed':{'tags':['c']}"),
     {ASKED("{'slug':'q','score':70}")},
     "assessment/J assessment {\"score\":70,\"status\":\"PASSED_CRITERIA\",\"summary\":\"Step screen-1 of the workflow "
     "ended.\\n\\nAnswers\\n- q: no "
     "answer - score 70\\n\\nWorkflow cedar, run run_1, ended 2026-04-28 11:00 UTC\"} <- node/screen-1\n"
     "disposition/J stage \"S\" <- started\ntag/c tag \"c\" <- completed\n"},
    {"all moments count for tags and notes",
     ON("'started':{'tags':['a'],'note':'began'},'finished':{'tags':['a','b'],'note':'ended'}"),
     {ASKED("")},
     "note/run_1/completed note \"ended\" <- finished\nnote/run_1/started note \"began\" <- started\ntag/a tag \"a\" "
     "<- finished\ntag/b tag \"b\" <- finished\n"},
    {"two terminal events: only the later one is the end",
     ON("'cancelled':{'stage':'X'},'completed':{'stage':'C'}"),
     {ASKED(""), ENDED("CANCELLED", "e2", "run_1", "10:00:00", "11:00:01", "cancelled", WHOLE, "")},
     "disposition/J stage \"X\" <- cancelled\n"},

    /* ---- several runs, several workflows */
    {"the run with the later start decides, though the other one ended later",
     ON("'completed/PASSED_CRITERIA':{'stage':'P'},'completed/FAILED_CRITERIA':{'reject':'F'}"),
     {COMPLETED("e1", "run_1", "10:00:00", "12:00:00", "FAILED_CRITERIA", ""),
      COMPLETED("e2", "run_2", "10:30:00", "11:00:00", "PASSED_CRITERIA", "")},
     "disposition/J stage \"P\" <- completed/PASSED_CRITERIA\n"},
    {"what the later run says nothing about keeps the older run's value, notes are per run",
     ON("'started':{'note':'hello'},'completed':{'stage':'C','fields':{'f':true}}"),
     {COMPLETED("e1", "run_1", "10:00:00", "11:00:00", "COMPLETED", ""), STARTED("e2", "run_2", "12:00:00")},
     "disposition/J stage \"C\" <- completed\nfield/f field true <- completed\nnote/run_1/started note \"hello\" <- "
     "started\n"
     "note/run_2/started note \"hello\" <- started\n"},
    {"the * mapping serves every workflow without one of its own; between workflows the later event decides",
     "{'*':{'job':'J','on':{'completed':{'stage':'C'},'cancelled':{'stage':'X'}}}}",
     {OTHER("e1", "run_1", "wf_1", "'oak'", "10:00:00", "12:00:00", "cancelled"),
      OTHER("e2", "run_2", "wf_2", "'pine'", "10:30:00", "11:00:00", "completed")},
     "disposition/J stage \"X\" <- cancelled\n"},
    {"workflows without an external id are told apart by their own id",
     "{'*':{'job':'J','on':{'completed':{'stage':'C'},'cancelled':{'stage':'X'}}}}",
     {OTHER("e1", "run_1", "wf_1", "null", "10:00:00", "12:00:00", "cancelled"),
      OTHER("e2", "run_2", "wf_2", "null", "10:30:00", "11:00:00", "completed")},
     "disposition/J stage \"X\" <- cancelled\n"},
    {"and one workflow by the later start",
     "{'*':{'job':'J','on':{'completed':{'stage':'C'},'cancelled':{'stage':'X'}}}}",
     {OTHER("e1", "run_1", "wf_1", "null", "10:00:00", "12:00:00", "cancelled"),
      OTHER("e2", "run_2", "wf_1", "null", "10:30:00", "11:00:00", "completed")},
     "disposition/J stage \"C\" <- completed\n"},
    {"a run that its own workflow has overruled does not speak against another workflow",
     "{'oak':{'job':'J','on':{'completed':{'stage':'oak'},'cancelled':{'stage':'oak "
     "cancelled'}}},'pine':{'job':'J','on':{'completed':{'stage':'pine'}}}}",
     {OTHER("e1", "run_1", "wf_1", "'oak'", "10:00:00", "15:00:00", "cancelled"),
      OTHER("e2", "run_2", "wf_2", "'pine'", "10:01:00", "14:00:00", "completed"),
      OTHER("e3", "run_3", "wf_1", "'oak'", "10:02:00", "13:00:00", "completed")},
     "disposition/J stage \"pine\" <- completed\n"},
    {"equal times: the greater event id counts as later",
     "{'oak':{'job':'J','on':{'completed':{'fields':{'f':'oak'}}}},'pine':{'job':'K','on':{'completed':{'fields':{'f':'"
     "pine'}}}}}",
     {OTHER("e2", "run_1", "wf_1", "'oak'", "10:00:00", "11:00:00", "completed"),
      OTHER("e1", "run_2", "wf_2", "'pine'", "10:01:00", "11:00:00", "completed")},
     "field/f field \"oak\" <- completed\n"},
    {"different jobs, different places",
     "{'oak':{'job':'J','on':{'completed':{'stage':'A'}}},'pine':{'job':'K','on':{'completed':{'stage':'A'}}}}",
     {OTHER("e1", "run_1", "wf_1", "'oak'", "10:00:00", "11:00:00", "completed"),
      OTHER("e2", "run_2", "wf_2", "'pine'", "10:01:00", "11:00:00", "completed")},
     "disposition/J stage \"A\" <- completed\ndisposition/K stage \"A\" <- completed\n"},
    {"no mapping, nothing to do", "{'oak':{'on':{'completed':{'stage':'A'}}}}", {ASKED("")}, ""},
    {"constants of an earlier moment give way to answers, those of the end do not",
     "{'cedar':{'on':{'started':{'fields':{'a':'asking','b':'asking'}},'completed':{'fields':{'b':'done'}}},'fields':{'"
     "q':'a','q.score':'b'}}}",
     {ASKED("{'slug':'q','answer':'yes','score':5}")},
     "field/a field \"yes\" <- fields: q\nfield/b field \"done\" <- completed\n"},

    /* ---- fields from answers */
    {"every member of an answer can be mapped",
     FIELDS("'q':'f1','q.answerState':'f2','q.trafficLight':'f3','q.outcome':'f4','q.score':'f5','q.documentS3Key':'f6'"
            ",'q.documentTwilioMediaSid':'f7',"
            "'q.classifiedDocumentType':'f8'"),
     {ASKED("{'slug':'q','answer':'a','answerState':'IS_ANY','trafficLight':'RED','outcome':'PENDING','score':0,'"
            "documentS3Key':'k',"
            "'documentTwilioMediaSid':'m','classifiedDocumentType':'cv'}")},
     "field/f1 field \"a\" <- fields: q\nfield/f2 field \"IS_ANY\" <- fields: q.answerState\nfield/f3 field \"RED\" <- "
     "fields: q.trafficLight\n"
     "field/f4 field \"PENDING\" <- fields: q.outcome\nfield/f5 field 0 <- fields: q.score\nfield/f6 field \"k\" <- "
     "fields: q.documentS3Key\n"
     "field/f7 field \"m\" <- fields: q.documentTwilioMediaSid\nfield/f8 field \"cv\" <- fields: "
     "q.classifiedDocumentType\n"},
    {"null, absent and empty values do not erase",
     FIELDS("'q':'a','q.score':'b','r':'c','s':'d'"),
     {ASKED("{'slug':'q','answer':null},{'slug':'s','answer':''}")},
     ""},
    {"unless the mapping says so",
     FIELDS("'q':{'field':'a','clear':true},'q.score':{'field':'b','clear':true},'r':{'field':'c','clear':true},'s':{'"
            "field':'d','clear':true}"),
     {ASKED("{'slug':'q','answer':null},{'slug':'s','answer':''}")},
     "field/a field null <- fields: q\nfield/b field null <- fields: q.score\nfield/c field null <- fields: r\nfield/d "
     "field null <- fields: s\n"},
    {"what may stand in the part that was cut off is not absent",
     FIELDS("'q':{'field':'a','clear':true},'r':{'field':'c','clear':true}"),
     {ENDED("COMPLETED", "e1", "run_1", "10:00:00", "11:00:00", "completed", CUT,
            OBJ(SCREEN("x", "10:00:00", "10:10:00", TALK("COMPLETED", "{'slug':'q','answer':null}"))))},
     "field/a field null <- fields: q\n"},
    {"an option map: what is not listed writes nothing, not even with clear",
     FIELDS("'q':{'field':'a','from':'answerState','map':{'IS_YES':'Ja','IS_NO':false}},'r':{'field':'b','from':'"
            "answerState','map':{'IS_YES':1}},"
            "'s':{'field':'c','from':'answerState','map':{'IS_YES':1},'clear':true},'t':{'field':'d','from':'score','"
            "map':{'100':'full'}}"),
     {ASKED("{'slug':'q','answerState':'IS_NO'},{'slug':'r','answerState':'IS_YES'},{'slug':'s','answerState':'IS_ANY'}"
            ",{'slug':'t','score':1e2}")},
     "field/a field false <- fields: q\nfield/b field 1 <- fields: r\nfield/d field \"full\" <- fields: t\n"},
    {"the later answer wins, node/slug names one exactly",
     FIELDS("'q':'any','a/q':'a','b/q.score':'b'"),
     {ENDED("COMPLETED", "e1", "run_1", "10:00:00", "11:00:00", "completed", WHOLE,
            OBJ(SCREEN("a", "10:00:00", "10:30:00", TALK("COMPLETED", SAID("q", "first")))) "," OBJ(
                SCREEN("b", "10:30:00", "11:00:00", TALK("COMPLETED", "{'slug':'q','answer':'second','score':9}"))))},
     "field/a field \"first\" <- fields: a/q\nfield/any field \"second\" <- fields: q\nfield/b field 9 <- fields: "
     "b/q.score\n"},
    {"a later null says nothing, with clear it does",
     FIELDS("'q':'keep','q.answer':{'field':'gone','clear':true}"),
     {ENDED("COMPLETED", "e1", "run_1", "10:00:00", "11:00:00", "completed", WHOLE,
            OBJ(SCREEN("a", "10:00:00", "10:30:00", TALK("COMPLETED", SAID("q", "first")))) "," OBJ(
                SCREEN("b", "10:30:00", "11:00:00", TALK("COMPLETED", "{'slug':'q','answer':null}"))))},
     "field/gone field null <- fields: q.answer\nfield/keep field \"first\" <- fields: q\n"},
    {"answers of one time in two nodes: the one further on",
     FIELDS("'q':'a'"),
     {ENDED("COMPLETED", "e1", "run_1", "10:00:00", "11:00:00", "completed", WHOLE,
            OBJ(SCREEN("z", "10:00:00", "11:00:00", TALK("COMPLETED", SAID("q", "first")))) "," OBJ(
                SCREEN("b", "10:30:00", "11:00:00", TALK("COMPLETED", SAID("q", "second")))))},
     "field/a field \"second\" <- fields: q\n"},
    {"a run that is not over writes no fields",
     FIELDS("'q':'a'"),
     {NODE_DONE("e1", "run_1", "10:42:00", SCREEN("a", "10:30:00", "10:42:00", TALK("COMPLETED", SAID("q", "x"))))},
     ""},
    {"unless live, and then null does not erase yet",
     LIVE("'q':'a','r':{'field':'b','clear':true}"),
     {NODE_DONE("e1", "run_1", "10:42:00",
                SCREEN("a", "10:30:00", "10:42:00", TALK("COMPLETED", SAID("q", "x") ",{'slug':'r','answer':null}")))},
     "field/a field \"x\" <- fields: q\n"},
    {"a live answer is as old as its node, whatever else happened to the run since",
     "{'cedar':{'live':true,'fields':{'q':'a'}},'pine':{'on':{'completed':{'fields':{'a':'pine'}}}}}",
     {NODE_DONE("e1", "run_1", "10:42:00", SCREEN("a", "10:30:00", "10:42:00", TALK("COMPLETED", SAID("q", "x")))),
      OTHER("e2", "run_2", "wf_2", "'pine'", "10:00:00", "11:00:00", "completed"),
      CONTACT("RESOLUTION_SKIPPED", "e3", "run_1", "12:00:00", "")},
     "field/a field \"pine\" <- completed\n"},
    {"the later run's null keeps the earlier run's answer",
     FIELDS("'q':'a'"),
     {COMPLETED("e1", "run_1", "10:00:00", "11:00:00", "COMPLETED", SAID("q", "old")),
      COMPLETED("e2", "run_2", "12:00:00", "13:00:00", "COMPLETED", "{'slug':'q','answer':null}")},
     "field/a field \"old\" <- fields: q\n"},
    {"odd answers survive as they are",
     FIELDS("'q':'a','r':'b'"),
     {ASKED("{'slug':'q','answer':'a\\u0000\\ud800'},{'slug':'r','answer':{'b':1,'a':[9007199254740993]}}")},
     "field/a field \"a\\u0000\\ud800\" <- fields: q\nfield/b field {\"a\":[9007199254740993],\"b\":1} <- fields: r\n"},

    /* ---- assessment */
    {"the mean of all scores, a slug of several nodes once; one decimal",
     ON("'finished':{'assessment':'mean'}"),
     {ENDED("COMPLETED", "e1", "run_1", "10:00:00", "11:00:00", "completed", WHOLE,
            OBJ(SCREEN("a", "10:00:00", "10:30:00",
                       TALK("COMPLETED",
                            "{'slug':'q','score':0},{'slug':'r','score':75},{'slug':'s','score':"
                            "null}"))) "," OBJ(SCREEN("b", "10:30:00", "11:00:00",
                                                      TALK("PASSED_CRITERIA", "{'slug':'q','score':100},{'slug':'t','"
                                                                              "score':25}"))))},
     "assessment/J assessment {\"score\":66.7,\"status\":\"PASSED_CRITERIA\",\"summary\":\"Screening passed: the "
     "candidate met the criteria.\\n\\nAnswers\\nIn a:\\n"
     "- q: no answer - score 0\\n- r: no answer - score 75\\n- s: no answer\\nIn b:\\n- q: no answer - score "
     "100\\n- t: no answer - score 25\\n\\n"
     "Workflow cedar, run run_1, ended 2026-04-28 11:00 UTC\"} <- finished\n"},
    {"one slug's score keeps its digits",
     ON("'completed':{'assessment':'q'}"),
     {ASKED("{'slug':'q','score':12345678901234567890}")},
     "assessment/J assessment {\"score\":12345678901234567890,\"status\":\"PASSED_CRITERIA\",\"summary\":\"Screening "
     "passed: the candidate met the criteria.\\n\\nAnswers\\n- q: no answer - score 12345678901234567890\\n\\n"
     "Workflow cedar, run run_1, ended 2026-04-28 11:00 UTC\"} <- completed\n"},
    {"one slug's score; an outcome stands where there is no result; no score is null",
     ON("'opted_out':{'assessment':'screen-1/q'}"),
     {ENDED_AS("opted_out", WHOLE)},
     "assessment/J assessment {\"score\":null,\"status\":\"opted_out\",\"summary\":\"The candidate opted out of the "
     "conversation.\\n\\nWorkflow cedar, run "
     "run_1, ended 2026-04-28 11:00 UTC\"} <- opted_out\n"},
};

static const char *nobody(void *ctx, const char *source, const char *workflow_id)
{
    (void)ctx;
    (void)source;
    (void)workflow_id;
    return NULL;
}

static const char *planned_text(struct story *s, const struct mapping *m, const char *connector)
{
    struct workflow_names names = {.external_id_of = nobody, .source = "popp"};
    struct run_set set;
    struct plan plan;
    const char *text;

    runs_fold(s->events, s->count, s->arena, &set);
    plan_make(&set, m, connector, &names, s->arena, &plan);
    text = story_plan_text(&plan, s->arena);
    plan_clear(&plan);
    assert_int_equal(plan.count, 0);
    return text;
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct story s;

        story_open(&s);
        struct mapping m = story_mapping(cases[i].mapping, s.arena);

        for (size_t e = 0; e < MOST_EVENTS && cases[i].events[e]; e++) {
            story_tell(&s, cases[i].events[e]);
        }
        assert_texts(cases[i].rule, planned_text(&s, &m, "ats"), cases[i].plan);
        for (size_t a = 0, z = s.count - 1; a < z; a++, z--) { /* and in the opposite order */
            struct event t = s.events[a];

            s.events[a] = s.events[z];
            s.events[z] = t;
        }
        assert_texts(cases[i].rule, planned_text(&s, &m, "ats"), cases[i].plan);
        story_close(&s);
    }
}

static void test_types(void **state)
{
    static const struct {
        const char *type;
        const char *answer;
        const char *value; /* NULL: writes nothing */
    } rows[] = {
        {"as_is", "7", "7"},
        {"text", "7", "\"7\""},
        {"text", "true", "\"true\""},
        {"text", "'x'", "\"x\""},
        {"number", "'42'", "42"},
        {"number", "' 42.50 '", "42.5"},
        {"number", "85.5", "85.5"},
        {"number", "'9007199254740993'", "9007199254740993"},
        {"number", "'about 42'", NULL},
        {"number", "'042'", NULL},
        {"number", "'42%'", NULL},
        {"number", "true", NULL},
        {"boolean", "'IS_YES'", "true"},
        {"boolean", "'IS_NO'", "false"},
        {"boolean", "'Yes'", "true"},
        {"boolean", "'no'", "false"},
        {"boolean", "true", "true"},
        {"boolean", "'DOCUMENT_UPLOADED'", "true"},
        {"boolean", "'DOES_NOT_INCLUDE'", "false"},
        {"boolean", "'NEEDS_CLARIFICATION'", NULL},
        {"boolean", "'yes, but'", NULL},
        {"boolean", "1", NULL},
        {"date", "'2026-01-31'", "\"2026-01-31\""},
        {"date", "'31/01/2026'", "\"2026-01-31\""},
        {"date", "'1.2.2026'", "\"2026-02-01\""},
        {"date", "'2026-01-31T23:30:00-05:00'", "\"2026-01-31\""}, /* the day as it was said */
        {"date", "'2028-02-29'", "\"2028-02-29\""},
        {"date", "'2026-02-29'", NULL}, /* no such day */
        {"date", "'2026-13-01'", NULL},
        {"date", "'31/01/26'", NULL}, /* of which century? */
        {"date", "'31/01/-2026'", NULL},
        {"date", "'1/1/20261'", NULL},
        {"date", "'1 June'", NULL},
        {"date", "'2026-01-31 or so'", NULL},
        {"date", "20260131", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(rows); i++) {
        struct story s;

        story_open(&s);
        struct mapping m =
            story_mapping(arena_printf(s.arena, FIELDS("'q':{'field':'f','type':'%s'}"), rows[i].type), s.arena);

        story_tell(&s, arena_printf(s.arena, ASKED("{'slug':'q','answer':%s}"), rows[i].answer));
        assert_texts(rows[i].answer, planned_text(&s, &m, NULL),
                     rows[i].value ? arena_printf(s.arena, "field/f field %s <- fields: q\n", rows[i].value) : "");
        story_close(&s);
    }
}

static const char *learned(void *ctx, const char *source, const char *workflow_id)
{
    assert_string_equal(source, "popp");
    return strcmp(workflow_id, "wf_1") == 0 ? ctx : NULL;
}

/* The external id of a workflow may be absent: learned from other events, else the "*" mapping. */
static void test_learned_names(void **state)
{
    char oak[] = "oak";
    struct workflow_names names = {.external_id_of = learned, .ctx = oak, .source = "popp"};
    struct story s;
    struct run_set set;
    struct plan plan;

    (void)state;
    story_open(&s);
    struct mapping m = story_mapping(
        "{'oak':{'on':{'finished':{'tags':['oak']}}},'*':{'on':{'finished':{'note':'{workflow}|{run}'}}}}", s.arena);

    story_tell(&s, OTHER("e1", "run_1", "wf_1", "null", "10:00:00", "11:00:00", "completed"));
    story_tell(&s, OTHER("e2", "run_2", "wf_2", "null", "10:00:00", "11:00:00", "completed"));
    runs_fold(s.events, s.count, s.arena, &set);
    plan_make(&set, &m, NULL, &names, s.arena, &plan);
    assert_string_equal(story_plan_text(&plan, s.arena),
                        "note/run_2/completed note \"|run_2\" <- finished\ntag/oak tag \"oak\" <- finished\n");
    assert_null(plan.items[0].workflow_external_id);
    assert_string_equal(plan.items[1].workflow_external_id, "oak");
    plan_clear(&plan);
    plan_make(&set, &m, NULL, NULL, s.arena, &plan); /* nothing is known: both are "*" */
    assert_int_equal(plan.count, 2);
    plan_clear(&plan);
    story_close(&s);
}

/* Many runs of many workflows: every note is wanted once, what all of them want comes from the latest, and runs of one workflow are taken together. */
static void test_a_crowd(void **state)
{
    enum { RUNS = 500, WORKFLOWS = 50 };
    static struct event events[RUNS];
    struct arena *a = arena_new();
    struct mapping m = story_mapping("{'*':{'on':{'finished':{'note':'{workflow}','tags':['all']}}}}", a);
    struct run_set set;
    struct plan plan;

    (void)state;
    for (size_t i = 0; i < RUNS; i++) {
        size_t n = i * 7 % RUNS; /* told in another order */
        char *body =
            arena_printf(a,
                         "{'event':'WORKFLOW_RUN_COMPLETED','eventId':'e%03zu','eventTimestamp':"
                         "'2026-04-28T10:%02zu:%02zu.000Z','data':{'recordId':'run_%03zu','workflowId':'wf_%zu',"
                         "'workflowExternalId':'w%02zu','candidateProfileExternalId':'ats_42','timestamp':"
                         "'2026-04-28T10:%02zu:%02zu.000Z','outcome':'completed','nodes':[]}}",
                         n, n / 60, n % 60, n, n % WORKFLOWS, n % WORKFLOWS, n / 60, n % 60);

        for (char *quote = body; (quote = strchr(quote, '\''));) {
            *quote = '"';
        }
        assert_int_equal(event_parse(body, strlen(body), a, &events[i], NULL), ST_OK);
    }
    runs_fold(events, RUNS, a, &set);
    plan_make(&set, &m, NULL, NULL, a, &plan);
    assert_int_equal(plan.count, RUNS + 1);
    for (size_t i = 0; i < RUNS; i++) {
        assert_string_equal(plan.items[i].key, arena_printf(a, "note/run_%03zu/completed", i));
        assert_string_equal(json_str(plan.items[i].value), arena_printf(a, "w%02zu", i % WORKFLOWS));
    }
    assert_string_equal(plan.items[RUNS].key, "tag/all");
    assert_string_equal(plan.items[RUNS].run->run_id, "run_499");
    plan_clear(&plan);
    arena_free(a);
}

static void test_connectors(void **state)
{
    struct story s;

    (void)state;
    story_open(&s);
    struct mapping m = story_mapping("{'oak':{'connector':'a','on':{'finished':{'fields':{'f':1}}}},'pine':{'connector'"
                                     ":'b','on':{'finished':{'fields':{'f':2}}}}}",
                                     s.arena);

    story_tell(&s, OTHER("e1", "run_1", "wf_1", "'oak'", "10:00:00", "11:00:00", "completed"));
    story_tell(&s, OTHER("e2", "run_2", "wf_2", "'pine'", "10:00:00", "11:00:00", "completed"));
    assert_string_equal(planned_text(&s, &m, "a"), "field/f field 1 <- finished\n");
    assert_string_equal(planned_text(&s, &m, "b"), "field/f field 2 <- finished\n");
    assert_string_equal(planned_text(&s, &m, "c"), "");
    assert_string_equal(planned_text(&s, &m, NULL), "field/f field 1 <- finished\nfield/f field 2 <- finished\n");
    story_close(&s);
}

static void test_a_wish_in_full(void **state)
{
    struct story s;
    struct run_set set;
    struct plan plan;

    (void)state;
    story_open(&s);
    struct mapping m = story_mapping(ON("'completed':{'stage':'C'}"), s.arena);

    story_tell(&s, ASKED(""));
    runs_fold(s.events, s.count, s.arena, &set);
    plan_make(&set, &m, "ats", NULL, s.arena, &plan);
    assert_int_equal(plan.count, 1);
    const struct desired *d = &plan.items[0];

    assert_int_equal(d->kind, WRITE_STAGE);
    assert_string_equal(d->target, "J");
    assert_string_equal(d->job, "J");
    assert_int_equal(strlen(d->hash), 32);
    assert_ptr_equal(d->run, &set.runs[0]);
    assert_ptr_equal(d->workflow, &m.workflows[0]);
    assert_string_equal(d->workflow_external_id, "cedar");
    assert_int_equal(d->line, 2);
    assert_string_equal(d->stamp.event_id, "e1");
    plan_clear(&plan);
    story_close(&s);
}

/* Keys are part of an index, and come back from the database as they went in. */
static void test_keys_of_strange_ids(void **state)
{
    struct story s;
    struct run_set set;
    struct plan plan;
    char *id;

    (void)state;
    story_open(&s);
    id = arena_alloc(s.arena, 1001);
    memset(id, 'r', 1000);
    struct mapping m = story_mapping(ON("'started':{'note':'n'}"), s.arena);

    story_tell(&s, arena_printf(s.arena, STARTED("e1", "%s", "10:00:00"), id));
    story_tell(&s, arena_printf(s.arena, STARTED("e2", "%s2", "10:00:01"), id));
    story_tell(&s, STARTED("e3", "a\\u0000", "10:00:02"));
    story_tell(&s, STARTED("e4", "a\\ud800", "10:00:03"));
    runs_fold(s.events, s.count, s.arena, &set);
    plan_make(&set, &m, NULL, NULL, s.arena, &plan);
    assert_int_equal(plan.count, 4);
    for (size_t i = 0; i < plan.count; i++) {
        assert_true(strlen(plan.items[i].key) <= 300);
        assert_true(text_is_utf8(plan.items[i].key, strlen(plan.items[i].key)));
        assert_true(text_starts(plan.items[i].key, "note/"));
        assert_true(i == 0 || strcmp(plan.items[i - 1].key, plan.items[i].key) < 0);
    }
    plan_clear(&plan);
    story_close(&s);
}

static void test_moments(void **state)
{
    static const char *const wanted[] = {"contact_resolved", "contact_skipped", "started",
                                         "node/screen-1/FAILED_CRITERIA", "completed/FAILED_CRITERIA"};
    static const char *const texts[] = {
        COMPLETED("e1", "run_1", "10:00:00", "11:00:00", "FAILED_CRITERIA", ""),
        CONTACT("RESOLUTION_SKIPPED", "e2", "run_1", "12:00:00", ""),
        CONTACT("RESOLVED", "e3", "run_1", "09:59:00", ""),
    };
    const char **names;
    size_t count;
    struct story s;

    (void)state;
    story_open(&s);
    run_moments(story_run(&s, texts, ATS_COUNT(texts)), s.arena, &names, &count);
    assert_int_equal(count, ATS_COUNT(wanted));
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(names[i], wanted[i]);
    }
    story_close(&s);
}

static void test_kinds(void **state)
{
    static const char *const names[WRITE_KIND_COUNT] = {"field", "tag", "assessment", "stage", "reject", "note"};
    enum write_kind k = WRITE_TAG;

    (void)state;
    for (int i = 0; i < WRITE_KIND_COUNT; i++) {
        assert_string_equal(write_kind_name((enum write_kind)i), names[i]);
        assert_true(write_kind_parse(names[i], &k));
        assert_int_equal(k, i);
        assert_int_equal(write_is_append(k), i == WRITE_NOTE);
    }
    k = WRITE_TAG;
    assert_false(write_kind_parse("Note", &k));
    assert_int_equal(k, WRITE_TAG);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_learned_names),
        cmocka_unit_test(test_a_crowd),
        cmocka_unit_test(test_connectors),
        cmocka_unit_test(test_a_wish_in_full),
        cmocka_unit_test(test_keys_of_strange_ids),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_kinds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
