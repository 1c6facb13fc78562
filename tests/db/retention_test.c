/*
 * Retention: what goes and what stays, and that nothing is written because something was forgotten: no note twice, no
 * older value over a newer one, nothing once more. Random histories are compared with what would be there if nothing was ever
 * forgotten: two of them, twenty with ATSYNC_FULL=1.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"
#include "store/retention.h"

#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define EVENTS_DAYS 400
#define IDS_DAYS 1200
#define OTHER "elm-hca-screening"

static const char workflows[] = "  " KIT_WORKFLOW ":\n"
                                "    connector: ats\n"
                                "    job: \"182736\"\n"
                                "    on:\n"
                                "      started: {stage: \"Contacted\"}\n"
                                "      completed/PASSED_CRITERIA: {stage: \"Recruiter screen\", tags: [passed]}\n"
                                "      cancelled: {tags: [cancelled]}\n"
                                "      contact_failed: {tags: [unreachable], note: \"not reached\"}\n"
                                "      finished: {note: summary}\n"
                                "    fields: {nmc-pin: nmc_pin_status, licence: {field: licence, clear: true}}\n"
                                "  " OTHER ":\n" /* shares job and fields with the first */
                                "    connector: ats\n"
                                "    job: \"182736\"\n"
                                "    on:\n"
                                "      started: {stage: \"Elm contacted\"}\n"
                                "      completed: {stage: \"Elm screen\", tags: [elm]}\n"
                                "      finished: {note: summary}\n"
                                "    fields: {nmc-pin: nmc_pin_status}\n";

/* ---- telling a story: samples moved to so many days ago, received a moment after they were sent */

static const char *told(struct harness *h, const char *sample, const char *candidate, const char *run, int64_t days_ago,
                        const char *path, const char *value)
{
    int64_t sample_us = 0;
    int64_t shift_s;

    assert_true(time_parse_iso8601("2026-05-12T09:34:10Z", &sample_us));
    shift_s = (clock_wall_us() - sample_us) / 1000000 - days_ago * 24 * 3600;
    return popp_event(h, sample, "candidate", candidate, "run", run, "shift", num_text(shift_s).s,
                      path ? path : "data.organizationId", path ? value : "org_123456", NULL);
}

static void put_as(struct kit *k, const char *body)
{
    assert_true(kit_put(k, body));
    sql_script(k->h, "update atsync.event set received_at = event_time + interval '1 minute' "
                     "where received_at > now() - interval '1 minute' and event_time < now() - interval '1 hour'");
}

#define PUT(k, sample, candidate, run, days) put_as(k, told((k)->h, sample, candidate, run, days, NULL, NULL))

/* ---- what was sent */

enum { SENT_MAX = 256 };
static char sent[SENT_MAX][160];
static size_t sent_count;

static void note_sent(const struct ledger_item *item, struct record_result *res)
{
    char *value = json_text(item->wish->value);

    (void)res;
    assert_true(sent_count < SENT_MAX);
    if (item->wish->kind == WRITE_NOTE) {
        (void)snprintf(sent[sent_count++], sizeof sent[0], "%s", item->wish->key);
    } else {
        (void)snprintf(sent[sent_count++], sizeof sent[0], "%s=%s", item->wish->key, value);
    }
    mem_free(value);
}

static struct kit *open_kit(struct harness *h)
{
    struct kit *k = kit_open(h, workflows);

    k->answer = note_sent;
    sent_count = 0;
    return k;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* What was sent since the last look, in order of the alphabet. */
static void assert_sent(struct kit *k, const char *expected)
{
    struct buf b;

    (void)kit_work(k);
    qsort(sent, sent_count, sizeof sent[0], by_text);
    buf_init(&b, SENT_MAX * sizeof sent[0]);
    for (size_t i = 0; i < sent_count; i++) {
        buf_printf(&b, "%s%s", i > 0 ? " " : "", sent[i]);
    }
    if (strcmp(buf_text(&b), expected) != 0) {
        fail_msg("sent: %s\n    and not %s", buf_text(&b), expected);
    }
    buf_free(&b);
    sent_count = 0;
}

/* ---- forgetting */

static struct retained retain(struct kit *k, int64_t days)
{
    struct retained sum = {0};
    struct retained done = {0};
    struct errmsg err;

    do {
        assert_done(store_retain_events(k->store, days * DAY_MS, 3, &done, &err), &err);
        sum.looked_at += done.looked_at;
        sum.events += done.events;
        sum.runs += done.runs;
        sum.writes += done.writes;
    } while (done.looked_at > 0);
    return sum;
}

static int64_t retain_ids(struct kit *k, int64_t days)
{
    int64_t sum = 0;
    int64_t gone;
    struct errmsg err;

    do {
        assert_done(store_retain_ids(k->store, days * DAY_MS, 2, &gone, &err), &err);
        sum += gone;
    } while (gone > 0);
    return sum;
}

#define BODIES "select count(*) from atsync.event where body is not null"

E2E_TEST(content_goes_and_ids_stay)
{
    struct kit *k = open_kit(h);
    const char *completed = told(h, "run-completed", "ats_1", "run_1", 410, NULL, NULL);
    struct retained done;

    PUT(k, "contact-resolved", "ats_1", "run_1", 411);
    PUT(k, "run-started", "ats_1", "run_1", 411);
    put_as(k, completed);
    PUT(k, "run-completed", "ats_2", "run_2", 390);
    (void)kit_work(k);
    assert_sql(h, "select count(*) from atsync.contact_resolution", "1");
    done = retain(k, EVENTS_DAYS);
    assert_int_equal(done.events, 3);
    assert_int_equal(done.runs, 1);
    assert_true(done.writes >= 5);
    /* nothing of the person but the reference and the run, once; the other candidate is as before */
    assert_sql(h,
               "select string_agg(concat_ws('|', type, subject, run_id, external_id, profile_id, workflow_id, "
               "workflow_external_id), ' ' order by subject) "
               "from atsync.event where body is null",
               "WORKFLOW_CONTACT_RESOLVED| WORKFLOW_RUN_STARTED| WORKFLOW_RUN_COMPLETED|x:ats_1|run_1");
    assert_sql(h, "select string_agg(distinct external_id, ' ') from atsync.run", "ats_2");
    assert_sql(h, "select string_agg(distinct ref, ' ') from atsync.ats_write", "x:ats_2");
    assert_sql(h, "select count(*) from atsync.contact_resolution", "0");
    assert_sql(h, "select count(*) from atsync.answers where candidate_external_id = 'ats_1'", "0");
    assert_sql(h, "select string_agg(distinct candidate_external_id, ' ') from atsync.sync_status", "ats_2");
    assert_sql(h, "select string_agg(concat_ws('|', ref, state), ' ' order by ref) from atsync.candidate",
               "x:ats_1|nothing_to_do x:ats_2|synced");
    assert_sql(
        h,
        "select concat_ws('|', kind, summary, split_part(detail, ', received', 1)) from atsync.candidate_timeline "
        "where candidate_external_id = 'ats_1' and kind = 'event'",
        "event|WORKFLOW_RUN_COMPLETED|no longer kept, nor are others of this run, run run_1");
    /* what is sent again is known, whatever part of the run it was */
    assert_false(kit_put(k, completed));
    assert_sent(
        k,
        "disposition/182736=\"Recruiter screen\" disposition/182736=\"Recruiter screen\" "
        "field/licence=\"Yes, full UK licence and my own car\" field/licence=\"Yes, full UK licence and my own car\" "
        "field/nmc_pin_status=\"Yes, my PIN is 18C2094E and it runs until March\" "
        "field/nmc_pin_status=\"Yes, my PIN is 18C2094E and it runs until March\" note/run_1/completed "
        "note/run_2/completed "
        "tag/passed=\"passed\" tag/passed=\"passed\"");
    done = retain(k, EVENTS_DAYS); /* there is nothing left to do */
    assert_int_equal(done.looked_at, 0);
    kit_close(k);
}

E2E_TEST(what_is_not_at_its_end_stays)
{
    static const struct {
        const char *name, *sample, *after; /* SQL when it was worked on */
        int64_t stays, goes;               /* days */
    } cases[] = {
        {"ended", "run-completed", NULL, 399, 401},
        {"has not ended", "run-started", NULL, 489, 491},
        {"dead write", "run-completed", "update atsync.ats_write set state = 'dead' where kind = 'tag'", 489, 491},
        {"dead once, replaced since", "run-completed",
         "update atsync.ats_write set state = 'dead', live = false where kind = 'tag'", 399, 401},
        {"waits for an attempt", "run-completed", "update atsync.candidate set due_at = now() + interval '1 hour'",
         10000, 0},
        {"in work", "run-completed",
         "update atsync.candidate set due_at = now() + interval '1 minute', lease_owner = 'him'", 10000, 0},
        {"due", "run-completed", "update atsync.candidate set due_at = now()", 10000, 0},
        /* of a connector that no configuration has had yet, or has any more */
        {"due, connector unknown", "run-completed",
         "update atsync.candidate set due_at = now(); delete from atsync.connector_state", 10000, 0},
        {"dead write, connector unknown", "run-completed",
         "update atsync.ats_write set state = 'dead' where kind = 'tag'; delete from atsync.connector_state", 489, 491},
    };
    struct kit *k = open_kit(h);

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        print_message("case: %s\n", cases[i].name);
        for (int goes = 0; goes < (cases[i].goes > 0 ? 2 : 1); goes++) {
            PUT(k, cases[i].sample, "ats_1", "run_1", goes ? cases[i].goes : cases[i].stays);
            (void)kit_work(k);
            if (cases[i].after) {
                sql_script(h, cases[i].after);
            }
            assert_int_equal(retain(k, EVENTS_DAYS).events, goes);
            assert_sql(h, BODIES, goes ? "0" : "1");
            sql_script(h, "delete from atsync.event; delete from atsync.candidate; delete from atsync.run; delete from "
                          "atsync.ats_write; "
                          "delete from atsync.identity");
        }
    }
    kit_close(k);
}

/* A run that began earlier and is young holds back one that began later and is old: of two runs of a workflow the one that
 * began later decides. */
E2E_TEST(no_run_goes_before_an_earlier_one)
{
    struct kit *k = open_kit(h);

    PUT(k, "run-started", "ats_1", "run_early", 450);
    PUT(k, "run-started", "ats_1", "run_late", 440);
    PUT(k, "run-cancelled", "ats_1", "run_late", 439);
    (void)kit_work(k);
    PUT(k, "run-completed", "ats_1", "run_early", 330);
    (void)kit_work(k);
    sent_count = 0;
    assert_int_equal(retain(k, EVENTS_DAYS).events, 0);
    kit_resync(k);
    assert_sent(k, "");
    /* when it is so old that even what has not ended would go, it goes all the same; what it had decided is not undone */
    assert_int_equal(retain(k, 345).events, 2);
    assert_sql(h, "select string_agg(run_id, ' ') from atsync.runs", "run_early");
    kit_resync(k);
    assert_sent(k, "");
    kit_close(k);
}

E2E_TEST(a_new_run_after_an_old_one_was_forgotten)
{
    struct kit *k = open_kit(h);

    PUT(k, "run-started", "ats_1", "run_1", 500);
    PUT(k, "run-completed", "ats_1", "run_1", 499);
    (void)kit_work(k);
    assert_int_equal(retain(k, EVENTS_DAYS).runs, 1);
    sent_count = 0;
    kit_resync(k);
    assert_sent(k, "");
    PUT(k, "run-started", "ats_1", "run_2", 1);
    assert_sent(k, "disposition/182736=\"Contacted\"");
    PUT(k, "run-cancelled", "ats_1", "run_2", 0);
    assert_sent(
        k, "field/licence=null field/nmc_pin_status=\"Give me a minute, I have to look it up\" note/run_2/cancelled "
           "tag/cancelled=\"cancelled\""); /* what this run says, as if the other were still known */
    assert_sql(h, "select string_agg(run_id, ' ') from atsync.runs", "run_2");
    assert_sql(
        h, "select string_agg(concat_ws('|', key, rev, live), ' ' order by key collate \"C\") from atsync.ats_write",
        "disposition/182736|1|t field/licence|1|t field/nmc_pin_status|1|t note/run_2/cancelled|1|t tag/cancelled|1|t");
    kit_close(k);
}

/* Whatever comes late of a run that has been forgotten: it is stored and shown, and changes nothing. */
E2E_TEST(what_comes_late_of_a_forgotten_run)
{
    static const struct {
        const char *sample;
        int64_t days_ago;
    } late[] = {
        {"run-started", 499},  {"node-completed", 499}, {"contact-resolved", 499}, {"contact-resolution-skipped", 1},
        {"node-completed", 1}, {"run-started", 1},      {"run-cancelled", 1},      {"run-completed", 0},
        {"run-failed", 0},
    };
    struct kit *k = open_kit(h);

    PUT(k, "run-started", "ats_1", "run_1", 500);
    PUT(k, "run-completed", "ats_1", "run_1", 499);
    PUT(k, "run-completed", "ats_1", "run_kept", 300);
    (void)kit_work(k);
    assert_int_equal(retain(k, EVENTS_DAYS).runs, 1);
    sent_count = 0;
    for (size_t i = 0; i < ATS_COUNT(late); i++) {
        print_message("late: %s of %d days ago\n", late[i].sample, (int)late[i].days_ago);
        assert_true(kit_put(k, told(h, late[i].sample, "ats_1", "run_1", late[i].days_ago, NULL, NULL)));
        assert_sent(k, "");
        assert_sql(h, "select string_agg(run_id, ' ') from atsync.runs", "run_kept");
    }
    assert_sql(h, "select count(*) from atsync.contact_resolution", "0");
    /* they go by their own age, which is no longer than that of what has ended */
    sql_script(h, "update atsync.event set received_at = now() - interval '401 days' where body is not null and run_id "
                  "= 'run_1'");
    assert_int_equal(retain(k, EVENTS_DAYS).events, ATS_COUNT(late));
    assert_sql(h, "select string_agg(run_id, ' ') from atsync.runs", "run_kept");
    kit_resync(k);
    assert_sent(k, "");
    kit_close(k);
}

/* A run that nobody had told of, from before what has been forgotten: it is no news. What it did afterwards is. */
E2E_TEST(an_older_run_turns_up)
{
    struct kit *k = open_kit(h);

    PUT(k, "run-started", "ats_1", "run_1", 500);
    PUT(k, "run-completed", "ats_1", "run_1", 450);
    (void)kit_work(k);
    assert_int_equal(retain(k, EVENTS_DAYS).runs, 1);
    sent_count = 0;
    assert_true(kit_put(k, told(h, "run-started", "ats_1", "run_old", 520, NULL, NULL)));
    assert_true(kit_put(k, told(h, "run-cancelled", "ats_1", "run_old", 510, NULL, NULL)));
    assert_sent(k, "");
    assert_true(kit_put(k, told(h, "run-started", "ats_1", "run_elm", 460, "data.workflowExternalId", OTHER)));
    assert_sent(k, "");
    assert_true(kit_put(k, told(h, "run-completed", "ats_1", "run_elm", 440, "data.workflowExternalId", OTHER)));
    assert_sent(k, "disposition/182736=\"Elm screen\" "
                   "field/nmc_pin_status=\"Yes, my PIN is 18C2094E and it runs until March\" note/run_elm/completed "
                   "tag/elm=\"elm\"");
    kit_close(k);
}

/* Two workflows that share the job: the later event decides, also after its run is gone. */
E2E_TEST(a_workflow_does_not_undo_a_forgotten_one)
{
    struct kit *k = open_kit(h);

    PUT(k, "run-started", "ats_1", "run_1", 435);
    (void)kit_work(k);
    put_as(k, told(h, "run-started", "ats_1", "run_elm", 430, "data.workflowExternalId", OTHER));
    (void)kit_work(k);
    PUT(k, "run-completed", "ats_1", "run_1", 420);
    (void)kit_work(k);
    put_as(k, told(h, "run-cancelled", "ats_1", "run_elm", 390, "data.workflowExternalId", OTHER));
    (void)kit_work(k);
    assert_sql(h,
               "select string_agg(concat_ws('|', rev, value, run_id, live), ' ' order by rev) from atsync.ats_write "
               "where key = 'disposition/182736'",
               "1|Contacted|run_1|f 2|Elm contacted|run_elm|f 3|Recruiter screen|run_1|t");
    assert_int_equal(retain(k, EVENTS_DAYS).runs, 1);
    sent_count = 0;
    kit_resync(k);
    assert_sent(k, ""); /* the start of the other run is older than what has been forgotten */
    put_as(k, told(h, "run-completed", "ats_1", "run_elm", 380, "data.workflowExternalId", OTHER));
    assert_sent(k, "disposition/182736=\"Elm screen\" "
                   "field/nmc_pin_status=\"Yes, my PIN is 18C2094E and it runs until March\" note/run_elm/completed "
                   "tag/elm=\"elm\"");
    kit_resync(k);
    assert_sent(k, ""); /* what was written now is known to be written */
    PUT(k, "run-started", "ats_1", "run_2", 1);
    assert_sent(k, "disposition/182736=\"Contacted\"");
    kit_resync(k);
    assert_sent(k, "");
    kit_close(k);
}

/* Two runs that want the same: when the first is gone, what it wrote is still known to be there. A recruiter may have changed it meanwhile. */
E2E_TEST(what_a_forgotten_run_wrote_is_not_written_again)
{
    struct kit *k = open_kit(h);

    PUT(k, "run-started", "ats_1", "run_1", 500);
    PUT(k, "run-completed", "ats_1", "run_1", 499);
    (void)kit_work(k);
    PUT(k, "run-completed", "ats_1", "run_2", 390);
    (void)kit_work(k);
    sent_count = 0;
    assert_int_equal(retain(k, EVENTS_DAYS).runs, 1);
    assert_sql(h, "select string_agg(run_id, ' ') from atsync.runs", "run_2");
    assert_sql(
        h,
        "select string_agg(concat_ws('|', key, run_id, value), ' ' order by key collate \"C\") from atsync.ats_write "
        "where run_id = 'run_1'",
        "disposition/182736|run_1| field/licence|run_1| field/nmc_pin_status|run_1| tag/passed|run_1|");
    assert_sql(h, "select count(*) from atsync.ats_write where run_id = 'run_2'", "1"); /* its note */
    kit_resync(k);
    assert_sent(k, "");
    PUT(k, "run-completed", "ats_1", "run_3", 1);
    assert_sent(k, "note/run_3/completed");
    kit_close(k);
}

E2E_TEST(contacts_aliases_and_those_who_wait)
{
    struct kit *k = open_kit(h);
    const char *failed = told(h, "contact-resolution-failed", "ats_9", "contact_9", 410, "data.externalId", "ats_9");

    /* the profile is known by an event of the candidate; what came before under the profile alone is the candidate's */
    put_as(k, told(h, "run-started", "ats_1", "run_1", 420, "data.candidateProfileExternalId", POPP_ABSENT));
    (void)kit_work(k);
    assert_sql(h, "select state from atsync.candidate where connector = ''", "waiting_for_identity");
    PUT(k, "run-completed", "ats_1", "run_1", 410);
    (void)kit_work(k);
    put_as(k, failed);
    put_as(k, told(h, "run-started", "ats_2", "run_2", 500, "data.candidateProfileExternalId", POPP_ABSENT));
    (void)kit_work(k);
    assert_int_equal(retain(k, EVENTS_DAYS).events, 4);
    assert_sql(h,
               "select string_agg(concat_ws('|', type, subject, run_id), ' ' order by subject) from atsync.event where "
               "subject <> ''",
               "WORKFLOW_RUN_STARTED|p:cp_ats_2|run_2 WORKFLOW_RUN_COMPLETED|x:ats_1|run_1 "
               "WORKFLOW_CONTACT_RESOLUTION_FAILED|x:ats_9|contact_9");
    assert_sql(h, "select count(*) from atsync.contact_resolution", "0");
    /* nobody waits for what has been forgotten */
    assert_sql(
        h, "select string_agg(concat_ws('|', ref, state, error_class), ' ') from atsync.candidate where connector = ''",
        "p:cp_ats_2|nothing_to_do");
    sent_count = 0;
    /* the same contact once more, under another id of the event; and the run, by the profile alone */
    assert_true(kit_put(k, told(h, "contact-resolution-failed", "ats_9", "contact_9", 1, "data.externalId", "ats_9")));
    assert_true(
        kit_put(k, told(h, "node-completed", "ats_1", "run_1", 1, "data.candidateProfileExternalId", POPP_ABSENT)));
    assert_sent(k, "");
    assert_true(kit_put(k, told(h, "contact-resolution-failed", "ats_9", "contact_10", 1, "data.externalId", "ats_9")));
    assert_sent(k, "note/contact_10/contact_failed tag/unreachable=\"unreachable\"");
    kit_close(k);
}

E2E_TEST(what_concerns_nobody_goes_by_its_age)
{
    struct kit *k = open_kit(h);

    PUT(k, "published", "ats_1", "run_1", 410);
    put_as(k, "{\"event\":\"CONVERSATION_STARTED\",\"eventId\":\"c1\",\"eventTimestamp\":\"2020-05-12T09:00:00Z\","
              "\"data\":{\"recordId\":\"conv_1\"}}");
    put_as(k, "{\"event\":\"CONVERSATION_STARTED\",\"eventId\":\"c2\",\"eventTimestamp\":\"2020-05-12T09:00:00Z\","
              "\"data\":{\"recordId\":\"conv_1\",\"candidateProfileExternalId\":\"ats_1\"}}");
    assert_true(
        kit_put(k, "{\"event\":\"CONVERSATION_STARTED\",\"eventId\":\"c3\",\"data\":{\"recordId\":\"conv_1\"}}"));
    (void)kit_work(k);
    assert_int_equal(retain(k, EVENTS_DAYS).events, 3);
    assert_sql(h, "select string_agg(event_id, ' ') from atsync.event where body is not null", "c3");
    assert_sql(h,
               "select count(*) from atsync.event where subject <> '' or run_id is not null or workflow_id is not null",
               "0");
    kit_close(k);
}

E2E_TEST(ids_go_last)
{
    struct kit *k = open_kit(h);
    const char *completed = told(h, "run-completed", "ats_1", "run_1", 1210, NULL, NULL);
    int64_t gone = -1;
    struct errmsg err;

    PUT(k, "run-started", "ats_1", "run_1", 1211);
    put_as(k, completed);
    PUT(k, "run-completed", "ats_2", "run_2", 1210);
    PUT(k, "run-completed", "ats_2", "run_22", 500);
    put_as(k, told(h, "run-completed", "ats_3", "run_3", 1210, "data.candidateProfileExternalId", POPP_ABSENT));
    (void)kit_work(k);
    assert_done(store_retain_ids(k->store, IDS_DAYS * DAY_MS, 100, &gone, &err), &err);
    assert_int_equal(gone, 0); /* not while there are bodies */
    assert_int_equal(retain(k, EVENTS_DAYS).events, 5);
    assert_sql(h, "select count(*) from atsync.identity", "2");
    assert_int_equal(retain_ids(k, IDS_DAYS), 4);
    assert_sql(h, "select string_agg(concat_ws('|', subject, run_id), ' ') from atsync.event", "x:ats_2|run_22");
    assert_sql(h, "select string_agg(ref, ' ') from atsync.candidate", "x:ats_2");
    assert_sql(h, "select string_agg(alias, ' ') from atsync.identity", "p:cp_ats_2");
    assert_true(kit_put(k, completed)); /* nobody knows it any more */
    kit_close(k);
}

E2E_TEST(calls_issues_and_versions)
{
    struct kit *k = open_kit(h);
    int64_t gone = 0;
    struct errmsg err;

    sql_script(
        h,
        "insert into atsync.ats_call (source, connector, ref, at, verb, method, path, outcome, duration_ms) "
        "select 'popp', 'ats', 'x:1', now() - i * interval '1 day', 'note', 'POST', '/notes', 'ok', 1 from "
        "generate_series(1, 60) i;"
        "insert into atsync.issue (class, scope, severity, message, hint, closed_at) select 'unmapped', i::text, "
        "'error', 'm', 'h', "
        "case when i < 3 then null else now() - i * interval '100 days' end from generate_series(1, 6) i;"
        "insert into atsync.workflow_version (source, workflow_id, workflow_version_id, event_id, event_time, "
        "published_at) "
        "select 'popp', 'wf' || i % 2, 'v' || i, 'e', now() - i * interval '100 days', now() - i * interval '100 days' "
        "from generate_series(1, 8) i where i % 2 = 0 or i > 6;");
    assert_done(store_retain_calls(k->store, 30 * DAY_MS, 20, &gone, &err), &err);
    assert_int_equal(gone, 20);
    assert_sql(h, "select count(*) from atsync.ats_call where at < now() - interval '41 days'",
               "0"); /* the oldest first */
    assert_done(store_retain_calls(k->store, 30 * DAY_MS, 20, &gone, &err), &err);
    assert_done(store_retain_calls(k->store, 30 * DAY_MS, 20, &gone, &err), &err);
    assert_int_equal(gone, 0);
    assert_sql(h, "select count(*) from atsync.ats_call", "29");
    assert_done(store_retain_issues(k->store, EVENTS_DAYS * DAY_MS, 2, &gone, &err), &err);
    assert_int_equal(gone, 2);
    assert_done(store_retain_issues(k->store, EVENTS_DAYS * DAY_MS, 2, &gone, &err), &err);
    assert_int_equal(gone, 1);
    assert_sql(h, "select string_agg(scope, ' ' order by scope) from atsync.issue", "1 2 3");
    /* the newest of a workflow stays, however old it is */
    assert_done(store_retain_versions(k->store, EVENTS_DAYS * DAY_MS, 20, &gone, &err), &err);
    assert_int_equal(gone, 3);
    assert_sql(h,
               "select string_agg(workflow_version_id, ' ' order by workflow_version_id) from atsync.workflow_version",
               "v2 v7");
    kit_close(k);
}

/* Another daemon at work, and a candidate that somebody holds: neither is waited for. */
E2E_TEST(waits_for_nobody)
{
    struct kit *k = open_kit(h);
    struct db *other = db_new(h->conninfo, "other");
    struct retained done = {0};
    int64_t gone = 1;
    struct errmsg err;

    PUT(k, "run-completed", "ats_1", "run_1", 410);
    PUT(k, "run-completed", "ats_2", "run_2", 410);
    (void)kit_work(k);
    sql_script(h, "update atsync.ats_call set at = now() - interval '100 days'");
    assert_done(db_begin(other, &err), &err);
    assert_done(db_script(other, "hold", "select pg_advisory_xact_lock(hashtextextended('atsync.retention', 0))", &err),
                &err);
    assert_done(store_retain_events(k->store, EVENTS_DAYS * DAY_MS, 10, &done, &err), &err);
    assert_int_equal(done.looked_at, 0);
    assert_done(store_retain_calls(k->store, 30 * DAY_MS, 10, &gone, &err), &err);
    assert_int_equal(gone, 0);
    assert_done(store_retain_ids(k->store, 30 * DAY_MS, 10, &gone, &err), &err);
    assert_int_equal(gone, 0);
    db_rollback(other);

    assert_done(db_begin(other, &err), &err);
    assert_done(db_script(other, "hold", "select from atsync.candidate where ref = 'x:ats_1' for update", &err), &err);
    assert_int_equal(retain(k, EVENTS_DAYS).events, 1);
    assert_sql(h, "select string_agg(subject, ' ') from atsync.event where body is not null", "x:ats_1");
    db_rollback(other);
    assert_int_equal(retain(k, EVENTS_DAYS).events, 1);
    db_free(other);
    kit_close(k);
}

static bool is_full(void)
{
    return text_eq(getenv("ATSYNC_FULL"), "1");
}

/* ---- random histories: with and without forgetting the ATS ends up the same */

enum {
    PEOPLE = 24,
    STORY_EVENTS_MAX = 64,
    MAP_MAX = 128,
    KEEP_DAYS = 30,
    TOTAL_EVENTS_MAX = PEOPLE * STORY_EVENTS_MAX
};

static const char random_workflows[] = "  " KIT_WORKFLOW ":\n"
                                       "    connector: ats\n"
                                       "    job: \"1\"\n"
                                       "    on:\n"
                                       "      started: {stage: \"Contacted\", tags: [seen]}\n"
                                       "      completed/PASSED_CRITERIA: {stage: \"Screen\", tags: [passed]}\n"
                                       "      completed/FAILED_CRITERIA: {reject: \"no\"}\n"
                                       "      cancelled: {tags: [cancelled], fields: {outcome: cancelled}}\n"
                                       "      finished: {note: summary, fields: {outcome: finished}}\n"
                                       "    fields: {a: field_a, b: {field: field_b, clear: true}}\n"
                                       "  " OTHER ":\n"
                                       "    connector: ats\n"
                                       "    job: \"1\"\n"
                                       "    live: true\n"
                                       "    on:\n"
                                       "      started: {stage: \"Elm\"}\n"
                                       "      node/n1/PASSED_CRITERIA: {tags: [halfway], note: \"halfway\"}\n"
                                       "      completed: {stage: \"Elm screen\"}\n"
                                       "      failed: {tags: [failed]}\n"
                                       "      finished: {note: summary}\n"
                                       "    fields: {a: field_a}\n";

struct teller { /* what would be there if nothing was ever forgotten */
    struct event events[STORY_EVENTS_MAX];
    size_t count;
    char keys[MAP_MAX][96];
    char hashes[MAP_MAX][40];
    size_t key_count;
};

struct arrival {
    int64_t at_s, event_s; /* seconds since the beginning */
    const char *body, *id;
    unsigned person;
};

struct world {
    struct teller expected[PEOPLE], found[PEOPLE]; /* of found only what was sent */
    struct arrival arrivals[TOTAL_EVENTS_MAX];
    size_t arrival_count;
    struct arena *arena;
    uint64_t random;
    int64_t begin_s;
    unsigned event_number;
    unsigned sends;
};

static struct world *world; /* for note_random, which is called without a context */

static unsigned pick(unsigned n)
{
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(world->random >> 33) % n;
}

/* true: the key has this value now and had another one, or none, before. */
static bool map_set(struct teller *t, const char *key, const char *hash)
{
    size_t i = 0;
    bool changed;

    while (i < t->key_count && strcmp(t->keys[i], key) != 0) {
        i++;
    }
    assert_true(i < MAP_MAX);
    changed = i == t->key_count || strcmp(t->hashes[i], hash) != 0;
    t->key_count += i == t->key_count;
    (void)snprintf(t->keys[i], sizeof t->keys[i], "%s", key);
    (void)snprintf(t->hashes[i], sizeof t->hashes[i], "%s", hash);
    return changed;
}

static void note_random(const struct ledger_item *item, struct record_result *res)
{
    int64_t person = -1;

    (void)res;
    world->sends++;
    assert_true(text_to_i64(item->wish->run->external_id, 0, PEOPLE - 1, &person));
    if (!map_set(&world->found[person], item->wish->key, item->wish->hash) && item->wish->kind == WRITE_NOTE) {
        fail_msg("a note twice: %s", item->wish->key);
    }
}

static void arrive(unsigned person, int64_t at_s, int64_t late_s, const char *type, const char *run,
                   const char *workflow, const char *more)
{
    struct arrival *a = &world->arrivals[world->arrival_count++];
    const char *time = arena_strdup(world->arena, time_iso8601((world->begin_s + at_s) * 1000000).s);

    assert_true(world->arrival_count < TOTAL_EVENTS_MAX);
    a->id = arena_printf(world->arena, "e%u", world->event_number++);
    a->event_s = at_s;
    a->at_s = at_s + late_s;
    a->person = person;
    a->body = arena_printf(world->arena,
                           "{\"event\":\"%s\",\"eventId\":\"%s\",\"eventTimestamp\":\"%s\",\"data\":{\"recordId\":\"%"
                           "s\",\"workflowId\":\"w-%s\","
                           "\"workflowExternalId\":\"%s\",\"candidateProfileId\":\"cp_%u\","
                           "\"candidateProfileExternalId\":\"%u\",\"timestamp\":\"%s\"%s}}",
                           type, a->id, time, run, workflow, workflow, person, person, time, more);
}

static const char *node_text(int64_t from_s, int64_t to_s, const char *status)
{
    static const char *const answers[] = {"yes", "no", "perhaps"};
    const char *from = arena_strdup(world->arena, time_iso8601((world->begin_s + from_s) * 1000000).s);
    const char *to = arena_strdup(world->arena, time_iso8601((world->begin_s + to_s) * 1000000).s);
    const char *second =
        pick(2) ? arena_printf(world->arena, ",{\"slug\":\"b\",\"answer\":\"%s\"}", answers[pick(3)]) : "";

    return arena_printf(world->arena,
                        "\"nodeId\":\"n1\",\"nodeType\":\"SCREENING_OUTREACH\",\"enteredAt\":\"%s\",\"completedAt\":\"%"
                        "s\",\"routingEvent\":\"onComplete\","
                        "\"outcome\":{\"kind\":\"conversation\",\"conversationId\":\"c\",\"status\":\"%s\",\"answers\":"
                        "[{\"slug\":\"a\",\"answer\":\"%s\"}%s]}",
                        from, to, status, answers[pick(3)], second);
}

static void tell_run(unsigned person, unsigned number, int64_t from_s)
{
    static const char *const ends[] = {"COMPLETED", "COMPLETED", "CANCELLED", "FAILED"};
    const int64_t day = 24 * 3600;
    const char *run = arena_printf(world->arena, "r%u-%u", person, number);
    const char *workflow = pick(2) ? KIT_WORKFLOW : OTHER;
    const char *status = pick(2) ? "PASSED_CRITERIA" : "FAILED_CRITERIA";
    int64_t node_s = from_s + 3600 + pick(20) * day;
    int64_t end_s = node_s + 3600 + pick(pick(4) == 0 ? 60 : 10) * day;
    const char *node = node_text(from_s + 60, node_s, status);
    const char *end = ends[pick(ATS_COUNT(ends))];

    arrive(person, from_s, pick(2) * day, "WORKFLOW_RUN_STARTED", run, workflow, "");
    if (pick(3) > 0) {
        arrive(person, node_s, pick(3) * day, "WORKFLOW_NODE_COMPLETED", run, workflow,
               arena_printf(world->arena, ",%s", node));
    }
    if (pick(6) > 0) {
        arrive(person, end_s, pick(4) * day, arena_printf(world->arena, "WORKFLOW_RUN_%s", end), run, workflow,
               arena_printf(world->arena,
                            ",\"startedAt\":\"%s\",\"completedAt\":\"%s\",\"truncated\":false,\"nodes\":[{%s}]",
                            arena_strdup(world->arena, time_iso8601((world->begin_s + from_s) * 1000000).s),
                            arena_strdup(world->arena, time_iso8601((world->begin_s + end_s) * 1000000).s), node));
    }
}

static int by_arrival(const void *a, const void *b)
{
    const struct arrival *x = a;
    const struct arrival *y = b;

    return x->at_s != y->at_s ? (x->at_s < y->at_s ? -1 : 1) : strcmp(x->id, y->id);
}

static void expect(struct kit *k, unsigned person)
{
    struct teller *t = &world->expected[person];
    struct arena *arena = arena_new();
    struct run_set runs;
    struct plan plan;

    runs_fold(t->events, t->count, arena, &runs);
    plan_make(&runs, &k->config->mapping, "ats", NULL, arena, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        if (plan.items[i].kind == WRITE_NOTE) {
            (void)map_set(t, plan.items[i].key, "");
        } else {
            (void)map_set(t, plan.items[i].key, plan.items[i].hash);
        }
    }
    plan_clear(&plan);
    arena_free(arena);
}

static void compare(unsigned person, const struct arrival *a)
{
    const struct teller *want = &world->expected[person];
    const struct teller *have = &world->found[person];

    for (size_t i = 0; i < want->key_count; i++) {
        size_t j = 0;

        while (j < have->key_count && strcmp(have->keys[j], want->keys[i]) != 0) {
            j++;
        }
        if (j == have->key_count || (want->hashes[i][0] && strcmp(have->hashes[j], want->hashes[i]) != 0)) {
            fail_msg("person %u, after %s: %s is %s", person, a->body, want->keys[i],
                     j == have->key_count ? "not there" : "another value");
        }
    }
    if (have->key_count != want->key_count) {
        fail_msg("person %u, after %s: %zu keys and not %zu", person, a->body, have->key_count, want->key_count);
    }
}

static void receive(struct kit *k, const struct arrival *a)
{
    struct teller *t = &world->expected[a->person];
    struct errmsg err;

    assert_true(kit_put(k, a->body));
    sql_script(k->h,
               arena_printf(k->h->arena, "update atsync.event set received_at = to_timestamp(%s) where event_id = '%s'",
                            num_text(world->begin_s + a->at_s).s, a->id));
    assert_true(t->count < STORY_EVENTS_MAX);
    assert_done(event_parse(a->body, strlen(a->body), world->arena, &t->events[t->count++], &err), &err);
}

static int64_t live_through(struct harness *h, uint64_t seed)
{
    struct kit *k = kit_open(h, random_workflows);
    int64_t forgotten = 0;

    world = mem_zalloc(sizeof *world);
    world->arena = arena_new();
    world->random = seed;
    world->begin_s = clock_wall_us() / 1000000 - INT64_C(2000) * 24 * 3600;
    k->answer = note_random;
    for (unsigned person = 0; person < PEOPLE; person++) {
        unsigned runs = 2 + pick(7);

        for (unsigned i = 0; i < runs; i++) {
            tell_run(person, i, (int64_t)pick(400) * 24 * 3600 + person);
        }
    }
    qsort(world->arrivals, world->arrival_count, sizeof world->arrivals[0], by_arrival);
    for (size_t i = 0; i < world->arrival_count; i++) {
        const struct arrival *a = &world->arrivals[i];
        int64_t age_s = clock_wall_us() / 1000000 - (world->begin_s + a->at_s) + KEEP_DAYS * 24 * 3600;

        receive(k, a);
        expect(k, a->person);
        (void)kit_work(k);
        compare(a->person, a);
        if (pick(3) == 0) {
            struct retained done = {0};
            struct errmsg err;

            do {
                assert_done(store_retain_events(k->store, age_s * 1000, 20, &done, &err), &err);
                forgotten += done.runs;
            } while (done.looked_at > 0);
        }
        if (pick(10) == 0) { /* at rest, everything once more: still nothing to do */
            world->sends = 0;
            kit_resync(k);
            (void)kit_work(k);
            assert_int_equal(world->sends, 0);
            for (unsigned person = 0; person < PEOPLE; person++) {
                compare(person, a);
            }
        }
    }
    print_message("seed %s: %zu events, %s runs forgotten on the way\n", num_text((int64_t)seed).s,
                  world->arrival_count, num_text(forgotten).s);
    sql_script(
        h,
        "delete from atsync.event; delete from atsync.candidate; delete from atsync.run; delete from atsync.ats_write; "
        "delete from atsync.identity; delete from atsync.ats_call");
    arena_free(world->arena);
    mem_free(world);
    kit_close(k);
    return forgotten;
}

E2E_TEST(random_histories_end_as_if_nothing_was_forgotten)
{
    for (uint64_t seed = 1; seed <= (is_full() ? 20 : 2); seed++) {
        assert_true(live_through(h, seed) > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(content_goes_and_ids_stay),
        E2E_RUN(what_is_not_at_its_end_stays),
        E2E_RUN(no_run_goes_before_an_earlier_one),
        E2E_RUN(a_new_run_after_an_old_one_was_forgotten),
        E2E_RUN(what_comes_late_of_a_forgotten_run),
        E2E_RUN(an_older_run_turns_up),
        E2E_RUN(a_workflow_does_not_undo_a_forgotten_one),
        E2E_RUN(what_a_forgotten_run_wrote_is_not_written_again),
        E2E_RUN(contacts_aliases_and_those_who_wait),
        E2E_RUN(what_concerns_nobody_goes_by_its_age),
        E2E_RUN(ids_go_last),
        E2E_RUN(calls_issues_and_versions),
        E2E_RUN(waits_for_nobody),
        E2E_RUN(random_histories_end_as_if_nothing_was_forgotten),
    };

    return e2e_main(tests);
}
