#include "domain/note.h"

#include "story.h"

#define OBJ(members) "{" members "}"
#define FOOT "\nWorkflow cedar, run run_1, ended 2026-04-28 10:45 UTC"
#define ENDED_AS(type, outcome, extra, nodes) ENDED(type, "e1", "run_1", "10:30:00", "10:45:00", outcome, extra, nodes)
#define SCREENED(status, answers)                                                                                      \
    ENDED_AS("COMPLETED", "completed", WHOLE, OBJ(SCREEN("screen-1", "10:30:00", "10:45:00", TALK(status, answers))))
#define FULL                                                                                                           \
    "{'slug':'nmc-pin','answer':'Yes I`m "                                                                             \
    "registered','answerState':'IS_YES','trafficLight':'GREEN','outcome':'PASSED','score':100}"

/* What came, from which moment it is seen, and what the recruiter reads. */
static const struct {
    const char *event;
    const char *moment;
    const char *text;
} summaries[] = {
    {SCREENED("PASSED_CRITERIA", FULL), "completed",
     "Screening passed: the candidate met the criteria.\n\nAnswers\n- nmc-pin: \"Yes I'm registered\" (yes) - green, "
     "passed, score 100\n" FOOT},
    {SCREENED("FAILED_CRITERIA", ""), "completed",
     "Screening not passed: the candidate did not meet the criteria.\n" FOOT},
    {SCREENED("NOT_INTERESTED", ""), "completed", "The candidate is not interested.\n" FOOT},
    {SCREENED("COMPLETED", ""), "completed", "Conversation completed.\n" FOOT},
    {SCREENED("GHOSTED", ""), "completed", "Workflow completed with result GHOSTED.\n" FOOT},
    {ENDED_AS("COMPLETED", "completed", WHOLE, ""), "completed", "Workflow completed.\n" FOOT},
    {ENDED_AS("COMPLETED", "opted_out", WHOLE, ""), "opted_out", "The candidate opted out of the conversation.\n" FOOT},
    {ENDED_AS("COMPLETED", "delivery_failed", WHOLE, ""), "delivery_failed",
     "The messages could not be delivered to the candidate.\n" FOOT},
    {ENDED_AS("COMPLETED", "evaporated", WHOLE, ""), "evaporated", "Workflow ended with outcome evaporated.\n" FOOT},
    {ENDED_AS("CANCELLED", "cancelled", WHOLE ",'cancellationReason':'Candidate withdrew\\nvia ATS'", ""), "cancelled",
     "The workflow run was cancelled.\nReason: Candidate withdrew via ATS\n" FOOT},
    {ENDED_AS("FAILED", "failed",
              WHOLE ",'errorCode':'SYSTEM_FAILURE','errorClass':'SYSTEM','lastFailedNodeId':'screen-1'", ""),
     "failed",
     "The workflow run failed.\nReason: a technical problem lasted too long, in step screen-1. The run can be started "
     "again.\n" FOOT},
    {ENDED_AS("FAILED", "failed", WHOLE ",'errorCode':'NEW_CODE','errorClass':'DATA'", ""), "failed",
     "The workflow run failed.\nReason: NEW_CODE. Somebody should look at the data of this candidate or "
     "workflow.\n" FOOT},
    {ENDED_AS("FAILED", "failed", WHOLE, ""), "failed", "The workflow run failed.\nReason: not told.\n" FOOT},
    {ENDED_AS("COMPLETED", "completed", CUT,
              OBJ(SCREEN("screen-1", "10:40:00", "10:45:00", TALK("PASSED_CRITERIA", SAID("q", "a"))))),
     "completed",
     "Screening passed: the candidate met the criteria.\n\nAnswers\n- q: \"a\"\n\nSome answers are missing here: the "
     "event that ended the run was too long and was "
     "cut.\n" FOOT},
    /* earlier moments */
    {STARTED("e1", "run_1", "10:30:00"), "started", "Workflow run started.\n\nWorkflow cedar, run run_1"},
    {CONTACT("RESOLVED", "e1", "run_1", "10:29:00", ""), "contact_resolved",
     "The contact was matched to a candidate.\n\nWorkflow cedar, run run_1"},
    {CONTACT("RESOLUTION_SKIPPED", "e1", "run_1", "10:29:00", ""), "contact_skipped",
     "The contact was skipped: the candidate already has a run of this workflow.\n\nWorkflow cedar, run run_1"},
    {CONTACT("RESOLUTION_FAILED", "e1", "dedup_1", "10:29:00", ""), "contact_failed",
     "The contact could not be matched to a candidate.\n\nWorkflow cedar, contact dedup_1"},
    {NODE_DONE("e1", "run_1", "10:42:00",
               SCREEN("screen-1", "10:30:00", "10:42:00", TALK("COMPLETED", SAID("q", "a")))),
     "node/screen-1", "Step screen-1 of the workflow ended.\n\nAnswers\n- q: \"a\"\n\nWorkflow cedar, run run_1"},
    /* each member of an answer, and what is missing */
    {SCREENED("PASSED_CRITERIA", "{'slug':'cv','answer':null,'answerState':'DOCUMENT_UPLOADED','trafficLight':'AMBER','"
                                 "outcome':'NEEDS_REVIEW','documentS3Key':'k','classifiedDocumentType':'cv'},"
                                 "{'slug':'id','documentTwilioMediaSid':'m'},{'slug':'empty','answer':''},{'slug':'"
                                 "number','answer':7,'score':0},{'slug':'new','answerState':'IS_MAYBE',"
                                 "'trafficLight':'PURPLE'}"),
     "completed",
     "Screening passed: the candidate met the criteria.\n\nAnswers\n- cv: document uploaded - amber, needs review, "
     "document: cv\n"
     "- id: no answer - document: type not recognised\n- empty: no answer\n- number: 7 - score 0\n- new: IS_MAYBE - "
     "PURPLE\n" FOOT},
    /* control characters of a candidate stay out of a recruiter's text; what is not Unicode becomes U+FFFD */
    {SCREENED("PASSED_CRITERIA", "{'slug':'q','answer':'two\\r\\nlines\\u0007\\u0000\\ud800 \xc3\xa9\\ud83d\\ude00'}"),
     "completed",
     "Screening passed: the candidate met the criteria.\n\nAnswers\n- q: \"two  lines \xef\xbf\xbd\xef\xbf\xbd "
     "\xc3\xa9\xf0\x9f\x98\x80\"\n" FOOT},
    /* so do those in codes that we have no words for */
    {SCREENED("NEW\\n\\u0000",
              "{'slug':'q','answer':'a','answerState':'IS\\n[atsync:0]\\ud800'},{'slug':'r','answerState':'\\n'}"),
     "completed",
     "Workflow completed with result NEW \xef\xbf\xbd.\n\nAnswers\n- q: \"a\" (IS [atsync:0]\xef\xbf\xbd)\n- r:  "
     "\n" FOOT},
};

static void test_summaries(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(summaries); i++) {
        struct story s;

        story_open(&s);
        const struct run *r = story_run(&s, &summaries[i].event, 1);

        assert_texts(summaries[i].moment, note_summary(r, summaries[i].moment, "cedar", s.arena), summaries[i].text);
        story_close(&s);
    }
}

static void test_answers_of_several_nodes(void **state)
{
    static const char *const texts[] = {
        ENDED_AS("COMPLETED", "completed", WHOLE,
                 OBJ(SCREEN("a", "10:30:00", "10:35:00", TALK("COMPLETED", SAID("q", "1") "," SAID("r", "2")))) "," OBJ(
                     BRANCH("b", "10:35:00", "10:36:00")) "," OBJ(SCREEN("c", "10:36:00", "10:45:00",
                                                                         TALK("PASSED_CRITERIA", SAID("q", "3")))))};
    struct story s;

    (void)state;
    story_open(&s);
    assert_texts("nodes", note_summary(story_run(&s, texts, 1), "completed", NULL, s.arena),
                 "Screening passed: the candidate met the criteria.\n\nAnswers\nIn a:\n- q: \"1\"\n- r: \"2\"\nIn "
                 "c:\n- q: \"3\"\n\nWorkflow wf_1, run run_1, ended "
                 "2026-04-28 10:45 UTC");
    story_close(&s);
}

static void test_templates(void **state)
{
    static const struct {
        const char *text;
        const char *rendered;
    } cases[] = {
        {"plain", "plain"},
        {"", ""},
        {"{{literal}} {run}", "{literal} run_1"},
        {"{candidate} {workflow} {state} {outcome} {result}", "ats_42 cedar completed completed PASSED_CRITERIA"},
        {"{started} to {finished}", "2026-04-28 10:30 UTC to 2026-04-28 10:45 UTC"},
        {"[{reason}{error}]", "[]"},
        {"{answer:nmc-pin}, {answer:nmc-pin.score}, {answer:screen-1/nmc-pin.trafficLight}, "
         "{answer:elsewhere/nmc-pin}{answer:nobody}",
         "Yes I'm registered, 100, GREEN, "},
        {"{answers}end", "- nmc-pin: \"Yes I'm registered\" (yes) - green, passed, score 100\nend"},
        {"Popp says: {summary}", "Popp says: Screening passed: the candidate met the criteria.\n\nAnswers\n- nmc-pin: "
                                 "\"Yes I'm registered\" (yes) - green, passed, score 100\n" FOOT},
    };
    static const char *const texts[] = {SCREENED("PASSED_CRITERIA", FULL)};
    struct story s;

    (void)state;
    story_open(&s);
    const struct run *r = story_run(&s, texts, 1);

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct errmsg err = {{0}};

        assert_int_equal(note_template_check(cases[i].text, &err), ST_OK);
        assert_texts(cases[i].text, note_render(cases[i].text, r, "completed", "cedar", s.arena), cases[i].rendered);
    }
    story_close(&s);
}

static void test_reasons_in_templates(void **state)
{
    static const char *const failed[] = {
        ENDED_AS("FAILED", "failed", ",'errorCode':'EXECUTOR_TIMEOUT','cancellationReason':'why'", "")};
    struct story s;

    (void)state;
    story_open(&s);
    assert_texts("failed", note_render("{error}, {reason}", story_run(&s, failed, 1), "failed", "cedar", s.arena),
                 "a step took longer than its time limit, why");
    story_close(&s);
}

static void test_refused_templates(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"{sumary}", "unknown placeholder {sumary} in the note's text, did you mean {summary}?"},
        {"{salary expectation}", "unknown placeholder {salary expectation} in the note's text"},
        {"{answer:}", "unknown placeholder {answer:} in the note's text, did you mean {answers}?"},
        {"{}", "unknown placeholder {} in the note's text, did you mean {run}?"},
        {"100 {", "a single { in the note's text: write {{ for the character itself"},
        {"a } b", "a single } in the note's text: write }} for the character itself"},
        {"{run", "a single { in the note's text: write {{ for the character itself"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct errmsg err = {{0}};

        assert_int_equal(note_template_check(cases[i].text, &err), ST_INVALID);
        assert_string_equal(err.text, cases[i].message);
    }
}

/* Short, the same for every repetition, another one for another note, and nothing of a person in it. */
static void test_markers(void **state)
{
    struct arena *a = arena_new();
    const char *marker = note_marker("popp", "x:ats_42", "note/run_1/completed", a);

    (void)state;
    assert_int_equal(strlen(marker), strlen("atsync:") + 16);
    assert_true(text_starts(marker, "atsync:"));
    assert_int_equal(strspn(marker + 7, "0123456789abcdef"), 16);
    assert_string_equal(marker, note_marker("popp", "x:ats_42", "note/run_1/completed", a));
    assert_string_not_equal(marker, note_marker("popp", "x:ats_42", "note/run_1/started", a));
    assert_string_not_equal(marker, note_marker("popp", "x:ats_43", "note/run_1/completed", a));
    assert_string_not_equal(marker, note_marker("popq", "x:ats_42", "note/run_1/completed", a));
    arena_free(a);
}

static char *whole_file(const char *path)
{
    struct buf b;
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    buf_init(&b, 1024 * 1024);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_add(&b, piece, n);
    fclose(f);
    return buf_take(&b);
}

/* The note that README shows is the one that its sample gets. */
static void test_readme(void **state)
{
    char *body = whole_file("conf/samples/run-completed.json");
    char *readme = whole_file("README.md");
    struct arena *a = arena_new();
    struct event e;
    struct run_set runs;

    (void)state;
    assert_int_equal(event_parse(body, strlen(body), a, &e, NULL), ST_OK);
    runs_fold(&e, 1, a, &runs);
    assert_int_equal(runs.count, 1);
    assert_non_null(strstr(readme, arena_printf(a, "```text\n%s\n[%s]\n```",
                                                note_summary(&runs.runs[0], "completed", e.workflow_external_id, a),
                                                note_marker("popp", "x:ats_42", "note/run_4a1e9c/completed", a))));
    arena_free(a);
    mem_free(body);
    mem_free(readme);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readme),
        cmocka_unit_test(test_summaries),
        cmocka_unit_test(test_answers_of_several_nodes),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_reasons_in_templates),
        cmocka_unit_test(test_refused_templates),
        cmocka_unit_test(test_markers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
