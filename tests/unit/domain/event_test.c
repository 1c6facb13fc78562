#include "domain/event.h"

#include "base/clock.h"
#include "story.h"

static const char *long_id(struct arena *a, size_t len)
{
    char *id = arena_alloc(a, len + 1);

    memset(id, 'a', len);
    return id;
}

/* The page's table "Available events": what recordId is. */
static void test_types(void **state)
{
    static const struct {
        const char *name;
        enum event_type type;
        bool record_is_run;
        bool terminal;
    } cases[] = {
        {"WORKFLOW_RUN_STARTED", EVENT_RUN_STARTED, true, false},
        {"WORKFLOW_RUN_COMPLETED", EVENT_RUN_COMPLETED, true, true},
        {"WORKFLOW_RUN_FAILED", EVENT_RUN_FAILED, true, true},
        {"WORKFLOW_RUN_CANCELLED", EVENT_RUN_CANCELLED, true, true},
        {"WORKFLOW_NODE_COMPLETED", EVENT_NODE_COMPLETED, true, false},
        {"WORKFLOW_CONTACT_RESOLVED", EVENT_CONTACT_RESOLVED, true, false},
        {"WORKFLOW_CONTACT_RESOLUTION_FAILED", EVENT_CONTACT_FAILED, false, false},  /* a dedup key */
        {"WORKFLOW_CONTACT_RESOLUTION_SKIPPED", EVENT_CONTACT_SKIPPED, true, false}, /* the existing run */
        {"WORKFLOW_PUBLISHED", EVENT_PUBLISHED, false, false},                       /* the workflow */
        {"CONVERSATION_COMPLETED", EVENT_OTHER, false, false},
        {"SOMETHING_NEW", EVENT_OTHER, false, false},
        {"workflow_run_started", EVENT_OTHER, false, false}, /* names are exact */
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct story s;

        story_open(&s);
        story_tell(&s,
                   arena_printf(s.arena, "{'event':'%s','eventId':'e1','data':{'recordId':'rec_1'}}", cases[i].name));
        assert_int_equal(s.events[0].type, cases[i].type);
        assert_string_equal(s.events[0].type_name, cases[i].name);
        assert_texts(cases[i].name, s.events[0].run_id, cases[i].record_is_run ? "rec_1" : NULL);
        assert_int_equal(event_is_terminal(s.events[0].type), cases[i].terminal);
        assert_string_equal(s.events[0].record_id, "rec_1");
        story_close(&s);
    }
}

static void test_labels(void **state)
{
    (void)state;
    assert_string_equal(event_type_label("WORKFLOW_PUBLISHED"), "WORKFLOW_PUBLISHED");
    assert_string_equal(event_type_label("DOCUMENT_UPLOADED"), "DOCUMENT_UPLOADED");
    assert_string_equal(event_type_label("CALENDAR_MEETING_RESCHEDULED"), "CALENDAR_MEETING_RESCHEDULED");
    assert_string_equal(event_type_label("'; drop table"), "other"); /* a foreign text never becomes a label */
}

static void test_members(void **state)
{
    struct story s;
    const struct event *e = &s.events[0];

    (void)state;
    story_open(&s);
    story_tell(&s, STARTED("evt_1", "run_1", "10:30:00"));
    assert_string_equal(e->id, "evt_1");
    assert_string_equal(e->organization_id, "org_1");
    assert_string_equal(e->workflow_id, "wf_1");
    assert_string_equal(e->workflow_version_id, "wfv_1");
    assert_string_equal(e->workflow_external_id, "cedar");
    assert_string_equal(e->profile_id, "cp_1");
    assert_string_equal(e->external_id, "ats_42");
    story_tell(&s, CONTACT("RESOLVED", "evt_2", "run_1", "10:29:55", ""));
    assert_string_equal(s.events[1].external_id, "ats_42"); /* its externalId */
    story_tell(&s, EVENT("WORKFLOW_PUBLISHED", "evt_3", "09:00:00", "'recordId':'wf_9'"));
    assert_string_equal(s.events[2].workflow_id, "wf_9"); /* its recordId */
    assert_null(s.events[2].profile_id);
    /* null, empty and missing are alike; an id that came as a number keeps its digits */
    story_tell(&s, "{'event':'WORKFLOW_RUN_STARTED','data':{'recordId':90071992547409931,'workflowId':null,'"
                   "candidateProfileId':'',"
                   "'candidateProfileExternalId':42,'surprise':[1]}}");
    assert_string_equal(s.events[3].run_id, "90071992547409931");
    assert_null(s.events[3].workflow_id);
    assert_null(s.events[3].profile_id);
    assert_string_equal(s.events[3].external_id, "42");
    story_close(&s);
}

/* No eventId: the body's SHA-256, so that a repetition is still known. */
static void test_missing_id(void **state)
{
    struct story s;

    (void)state;
    story_open(&s);
    story_tell(&s, "{'event':'X','data':{'recordId':'r'}}");
    story_tell(&s, "{'event':'X','data':{'recordId':'r'}}");
    story_tell(&s, "{'event':'X','data':{'recordId':'s'}}");
    assert_string_equal(s.events[0].id, "f981f6c70c3cb94982dac25f0a747b116597479b402224f65cc0b73d93350d58");
    assert_string_equal(s.events[1].id, s.events[0].id);
    assert_string_not_equal(s.events[2].id, s.events[0].id);
    story_close(&s);
}

/* data.timestamp, else eventTimestamp. */
static void test_times(void **state)
{
    static const struct {
        const char *envelope;
        const char *own;
        const char *wanted; /* NULL: none */
    } cases[] = {
        {"'2026-04-28T10:00:00Z'", "'2026-04-28T09:00:00.123Z'", "2026-04-28T09:00:00.123Z"},
        {"'2026-04-28T10:00:00Z'", "null", "2026-04-28T10:00:00.000Z"},
        {"'2026-04-28T10:00:00Z'", "'yesterday'", "2026-04-28T10:00:00.000Z"},
        {"'2026-04-28T10:00:00Z'", "'2026-04-28T12:30:00+02:00'", "2026-04-28T10:30:00.000Z"},
        {"null", "'2026-04-28T09:00:00Z'", "2026-04-28T09:00:00.000Z"},
        {"17", "null", NULL},
        {"'soon'", "'now'", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct story s;

        story_open(&s);
        story_tell(&s, arena_printf(s.arena,
                                    "{'event':'WORKFLOW_RUN_STARTED','eventId':'e','eventTimestamp':%s,'data':{'"
                                    "recordId':'r','timestamp':%s}}",
                                    cases[i].envelope, cases[i].own));
        if (cases[i].wanted) {
            assert_string_equal(time_iso8601(s.events[0].time_us).s, cases[i].wanted);
        } else {
            assert_true(s.events[0].time_us == EVENT_TIME_NONE);
        }
        story_close(&s);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"{", "not valid JSON near byte 1"},
        {"[]", "the body is not a JSON object"},
        {"'text'", "the body is not a JSON object"},
        {"{'data':{'recordId':'r'}}", "member event is missing or not a text"},
        {"{'event':7,'data':{'recordId':'r'}}", "member event is missing or not a text"},
        {"{'event':'','data':{'recordId':'r'}}", "member event is missing or not a text"},
        {"{'event':'X'}", "member data is missing or not an object"},
        {"{'event':'X','data':[]}", "member data is missing or not an object"},
        {"{'event':'X','data':{}}", "member data.recordId is missing or not a text"},
        {"{'event':'X','data':{'recordId':null}}", "member data.recordId is missing or not a text"},
        {"{'event':'X','data':{'recordId':{'a':'secret'}}}", "member data.recordId is missing or not a text"},
    };
    struct arena *a = arena_new();

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *body = unquoted(cases[i].text, a);
        struct event untouched = {.record_id = "as before"};
        struct errmsg err;

        assert_int_equal(event_parse(body, strlen(body), a, &untouched, &err), ST_INVALID);
        assert_string_equal(err.text, cases[i].message);
        assert_string_equal(untouched.record_id, "as before");
    }
    arena_free(a);
}

static void test_subjects(void **state)
{
    static const struct {
        const char *text;
        const char *subject;
    } cases[] = {
        {STARTED("e", "run_1", "10:00:00"), "x:ats_42"},
        {"{'event':'WORKFLOW_RUN_STARTED','data':{'recordId':'run_1','candidateProfileId':'cp_1'}}", "p:cp_1"},
        {"{'event':'WORKFLOW_RUN_STARTED','data':{'recordId':'run_1'}}", "r:run_1"},
        {"{'event':'WORKFLOW_CONTACT_RESOLUTION_FAILED','data':{'recordId':'dedup_1','externalId':'ats_42'}}",
         "x:ats_42"},
        {"{'event':'WORKFLOW_CONTACT_RESOLUTION_FAILED','data':{'recordId':'dedup_1','email':'a@b'}}", "c:dedup_1"},
        {"{'event':'WORKFLOW_PUBLISHED','data':{'recordId':'wf_1'}}", "w:wf_1"},
        {"{'event':'CONVERSATION_STARTED','data':{'recordId':'conv_1'}}", ""}, /* nobody that we know */
        /* clean and short, whatever was sent; one that looks like a replacement is replaced itself */
        {"{'event':'WORKFLOW_RUN_STARTED','data':{'recordId':'r','candidateProfileExternalId':'#1'}}",
         "x:#0b0fa0b2280a09639e2059e56c8fa9328f4d76ab48e081dfdc80da7f0984f94e"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct story s;

        story_open(&s);
        story_tell(&s, cases[i].text);
        assert_texts(cases[i].text, event_subject(&s.events[0], s.arena), cases[i].subject);
        story_close(&s);
    }
}

static void test_subjects_fit_an_index(void **state)
{
    struct arena *a = arena_new();

    (void)state;
    assert_int_equal(strlen(subject_key('x', long_id(a, 200), a)), 202);
    assert_int_equal(strlen(subject_key('x', long_id(a, 201), a)), 3 + 64);
    assert_string_not_equal(subject_key('x', long_id(a, 201), a), subject_key('x', long_id(a, 202), a));
    /* U+0000 and a lone surrogate, which clean text would make the same */
    const char *zero = subject_key('x', "a\xc0\x80", a);
    const char *lone = subject_key('x', "a\xed\xa0\x80", a);

    assert_true(text_starts(zero, "x:#") && text_starts(lone, "x:#"));
    assert_string_not_equal(zero, lone);
    assert_string_equal(subject_key('p', "\xc3\xa9", a), "p:\xc3\xa9");
    arena_free(a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),    cmocka_unit_test(test_labels),
        cmocka_unit_test(test_members),  cmocka_unit_test(test_missing_id),
        cmocka_unit_test(test_times),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_subjects), cmocka_unit_test(test_subjects_fit_an_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
