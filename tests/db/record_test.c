/* store_record and what it keeps: ledger, runs, identities, names, audit, routes. Folded and planned for real. */
#include "base/text.h"
#include "domain/event.h"
#include "lib/storekit.h"
#include "store/operate.h"

#define LEDGER(columns, where)                                                                                         \
    "select string_agg(concat_ws('|', " columns "), ' ' order by key, rev) from atsync.ats_write where " where

static void no_stage(const struct ledger_item *item, struct record_result *res)
{
    if (item->wish->kind == WRITE_STAGE) {
        res->verdict = (struct verdict){.state = WRITE_PENDING, .delay_ms = 600000, .error_class = "unavailable"};
        res->http_status = 503;
        res->error = "the ATS is away";
    }
}

E2E_TEST(intent_then_result)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    k->dies = true;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, LEDGER("key, rev, state, attempts, applied_at is null, first_tried_at is not null, lease_no", "live"),
               "note/run_4a1e9c/completed|1|sending|1|t|t|1");
    assert_sql(h, "select regexp_replace(sending, '[0-9a-f]{16,}', 'HASH', 'g') from atsync.candidate",
               "1 field HASH 19:field/nmc_pin_score\n1 field HASH 20:field/nmc_pin_status\n1 tag HASH 10:tag/passed\n"
               "1 stage HASH 18:disposition/182736\n");

    /* The lease ends, and the next one does not know whether the calls were made. */
    sql_script(h, "update atsync.candidate set lease_until = now() - interval '1 second'");
    k->dies = false;
    k->answer = no_stage;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, "select sending from atsync.candidate", NULL);
    assert_sql(
        h,
        "select concat_ws('|', kind, target, value, job, run_id, workflow_external_id, event_id is not null, "
        "event_time at time zone 'UTC', reason, config_line > 0, uncertain) from atsync.ats_write where kind = 'stage'",
        "stage|182736|Recruiter screen|182736|run_4a1e9c|cedar-rgn-screening|t|2026-05-12 "
        "09:34:10|completed/PASSED_CRITERIA|t|f");
    assert_sql(
        h,
        LEDGER("key, rev, state, attempts, uncertain, http_status, error_class, error",
               "live and kind in ('stage', 'note')"),
        "disposition/182736|1|pending|1|f|503|unavailable|the ATS is away note/run_4a1e9c/completed|1|applied|2|f|200");
    assert_sql(h,
               "select concat_ws('|', next_attempt_at > now(), applied_at is null, lease_no) from atsync.ats_write "
               "where kind = 'stage'",
               "t|t|2");
    assert_sql(h, "select bool_and(applied_at is not null) from atsync.ats_write where kind <> 'stage'", "true");
    assert_sql(h, "select count(*) from atsync.ats_call", "5");
    kit_close(k);
}

static void everything_away(const struct ledger_item *item, struct record_result *res)
{
    (void)item;
    res->verdict = (struct verdict){.state = WRITE_PENDING, .delay_ms = 600000, .error_class = "unavailable"};
    res->http_status = 503;
    res->error = "the ATS is away";
}

#define STANDING                                                                                                       \
    "select concat_ws('|', state, attempts, blocked_since is not null, last_error, due_at <= now(), lease_owner is "   \
    "null, sending is null, version - planned_version) from atsync.candidate"

/* While its connector waits: runs and wishes are there, and it stands where it stood. */
E2E_TEST(what_waits_is_recorded_without_an_attempt)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-started", NULL)));
    k->waits = true;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, STANDING, "pending|0|f|t|t|t|0");
    assert_sql(h, "select state from atsync.run", "running");
    assert_sql(
        h,
        LEDGER("key, rev, state, attempts, first_tried_at is null, last_tried_at is null, applied_at is null", "live"),
        "disposition/182736|1|pending|0|t|t|t");

    /* It fails, and something new comes: the attempts that were made stay, a value that nobody wants any more gives way. */
    k->waits = false;
    k->answer = everything_away;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    sql_script(h, "update atsync.candidate set due_at = now()");
    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    k->waits = true;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, STANDING, "retrying|1|t|the ATS is away|t|t|t|0");
    assert_sql(h, "select state from atsync.run", "completed");
    assert_sql(h, LEDGER("key, rev, state, live, attempts", "kind = 'stage'"),
               "disposition/182736|1|superseded|f|1 disposition/182736|2|pending|t|0");
    assert_sql(h, "select string_agg(distinct state || attempts, ' ') from atsync.ats_write where live", "pending0");

    /* At last: each once, the note as well. */
    k->waits = false;
    k->answer = NULL;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, STANDING, "synced|0|f|t|t|0");
    assert_sql(h, "select string_agg(distinct state || attempts, ' ') from atsync.ats_write where live", "applied1");
    kit_close(k);
}

/* One that went ahead: what is known of it before and what became of it come together, or not at all. */
E2E_TEST(first_values_need_no_intent)
{
    struct kit *k = kit_open(h, NULL);

    k->goes_ahead = true;
    k->dies = true;
    assert_true(kit_put(k, popp_event(h, "run-started", NULL)));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h,
               "select concat_ws('|', (select count(*) from atsync.ats_write), (select count(*) from atsync.run), "
               "(select count(*) from atsync.identity), sending is null, lease_no, lease_owner is not null) "
               "from atsync.candidate",
               "0|0|0|t|1|t");
    sql_script(h, "update atsync.candidate set lease_until = now() - interval '1 second'");
    k->dies = false;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, LEDGER("key, rev, state, attempts, uncertain, value, lease_no", "live"),
               "disposition/182736|1|applied|1|f|Contacted|2");
    assert_sql(h,
               "select concat_ws('|', (select state from atsync.run), (select count(*) > 0 from atsync.identity), "
               "(select count(*) from atsync.ats_call), sending is null, state, synced_version, lease_owner is null) "
               "from atsync.candidate",
               "running|t|1|t|synced|1|t");

    /* The next value follows one that is known, and a note must not come twice: both have their intents. */
    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    k->dies = true;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h,
               "select concat_ws('|', sending like '%2 stage %', (select count(*) from atsync.ats_write where state = "
               "'sending'), (select state from atsync.run)) from atsync.candidate",
               "t|1|completed");
    kit_close(k);
}

static bool saw_uncertain;

static void look_for_uncertain(const struct ledger_item *item, struct record_result *res)
{
    (void)res;
    saw_uncertain = saw_uncertain || (item->wish->kind == WRITE_NOTE && item->look_first);
}

E2E_TEST(what_was_being_sent_is_uncertain)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    k->dies = true;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    sql_script(h, "update atsync.candidate set lease_until = now() - interval '1 second'");
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, "select bool_and(uncertain) from atsync.ats_write", "true");
    sql_script(h, "update atsync.candidate set lease_until = now() - interval '1 second'");
    k->dies = false;
    k->answer = look_for_uncertain;
    saw_uncertain = false;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_true(saw_uncertain);
    assert_sql(
        h,
        "select concat_ws('|', bool_or(uncertain), bool_and(state = 'applied'), max(attempts)) from atsync.ats_write",
        "f|t|3");
    kit_close(k);
}

#define STAGE_WORKFLOW(on) "  cedar-rgn-screening: {connector: ats, job: \"182736\", on: {" on "}}\n"

static void look_again(struct kit *k, const char *workflow)
{
    kit_configure(k, workflow);
    sql_script(k->h, "update atsync.candidate set lease_until = now() - interval '1 second', due_at = now(), "
                     "version = version + 1");
}

/* A crash after "Recruiter screen" was perhaps sent: that "Contacted" was applied before proves nothing any more. */
E2E_TEST(what_may_have_been_sent_is_not_forgotten)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-started", NULL)));
    (void)kit_work(k);
    assert_sql(h, LEDGER("rev, value, state, live", "true"), "1|Contacted|applied|t");
    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    k->dies = true;
    look_again(k, STAGE_WORKFLOW("finished: {stage: Recruiter screen}"));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    k->dies = false;

    /* Nobody wants a stage now: the doubt stays with the candidate, for as long as it takes. */
    look_again(k, STAGE_WORKFLOW("contact_failed: {tags: [x]}"));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    look_again(k, STAGE_WORKFLOW("contact_failed: {tags: [x]}"));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h,
               "select sending ~ '^2 stage [0-9a-f]+ 18:disposition/182736\n$' and lease_owner is null from "
               "atsync.candidate",
               "true");

    /* "Contacted" is sent once more, although it was applied last. */
    look_again(k, STAGE_WORKFLOW("finished: {stage: Contacted}"));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, LEDGER("rev, value, state, live", "kind = 'stage'"), "1|Contacted|applied|f 3|Contacted|applied|t");
    assert_sql(h, "select sending from atsync.candidate", NULL);

    /* And not again. */
    look_again(k, STAGE_WORKFLOW("finished: {stage: Contacted}"));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, LEDGER("rev, value, state, live", "kind = 'stage' and live"), "3|Contacted|applied|t");
    kit_close(k);
}

/* Planned before the run told the name, recorded after: the name stays where whoever waits looks for it. */
E2E_TEST(a_run_without_a_name_does_not_hide_one_that_has_it)
{
    struct kit *k = kit_open(h, NULL);
    struct run run = {.run_id = "run_late", .state = RUN_RUNNING, .started_us = EVENT_TIME_NONE};
    struct run_set runs = {.runs = &run, .count = 1};
    struct workflow_names names = {.source = "popp"};
    struct claim_batch b;
    struct record late;
    struct errmsg err;

    run.completed_us = EVENT_TIME_NONE;
    run.last_event = (struct stamp){.time_us = INT64_C(1777372400000000), .event_id = "e"};
    sql_script(h, "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, external_id, state, "
                  "truncated, complete, conflict, last_event_at, nodes) values "
                  "('popp', 'run_late', 'x:1', 'ats', false, true, '1', 'running', false, false, false, now(), '[]');"
                  "insert into atsync.candidate (source, connector, ref, due_at, last_event_at) values ('popp', '', "
                  "'r:run_late', now() - interval '1 second', now())");
    assert_done(store_claim(k->store, "", false, "him", 60000, 9, NULL, &b, &err), &err);
    assert_int_equal(b.count, 1);
    late = (struct record){.who = &b.items[0],
                           .runs = &runs,
                           .mapping = &k->config->mapping,
                           .names = &names,
                           .release = true,
                           .state = "waiting_for_identity",
                           .error_class = "identity",
                           .next_due_ms = INT64_MAX};
    assert_done(store_record(k->store, &late, 1, &err), &err);
    assert_sql(h, "select concat_ws('|', ref, external_id) from atsync.run", "x:1|1");
    assert_done(store_wake_identified(k->store, 600, &err), &err);
    assert_sql(h, "select ref from atsync.candidate where due_at <= now()", "r:run_late");
    claim_batch_clear(&b);
    kit_close(k);
}

E2E_TEST(newer_values_take_the_place_of_older_ones)
{
    struct kit *k = kit_open(h, NULL);

    k->answer = no_stage;
    assert_true(kit_put(k, popp_event(h, "run-started", NULL)));
    (void)kit_work(k);
    assert_sql(h, LEDGER("key, rev, value, state, live", "true"), "disposition/182736|1|Contacted|pending|t");
    k->answer = NULL;
    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    sql_script(h, "update atsync.candidate set due_at = now()");
    (void)kit_work(k);
    assert_sql(h, LEDGER("rev, value, state, live, next_attempt_at is null", "kind = 'stage'"),
               "1|Contacted|superseded|f|t 2|Recruiter screen|applied|t|t");

    /* What was done stays as it was when a newer value follows; what nobody wants any more and was not done is superseded. */
    k->answer = no_stage;
    kit_configure(k, "  cedar-rgn-screening: {connector: ats, job: \"182736\", on: {finished: {stage: Elsewhere}}}\n");
    kit_resync(k);
    (void)kit_work(k);
    assert_sql(h, LEDGER("rev, value, state, live", "kind = 'stage'"),
               "1|Contacted|superseded|f 2|Recruiter screen|applied|f 3|Elsewhere|pending|t");
    kit_configure(k, "  cedar-rgn-screening: {connector: ats, job: \"182736\", on: {finished: {tags: [x]}}}\n");
    kit_resync(k);
    (void)kit_work(k);
    assert_sql(h, LEDGER("rev, value, state, live", "kind = 'stage' and rev = 3"), "3|Elsewhere|superseded|t");
    assert_sql(h, "select count(*) from atsync.pending_writes", "0");
    kit_close(k);
}

static void not_made(const struct ledger_item *item, struct record_result *res)
{
    (void)item;
    res->not_attempted = true;
    res->verdict = (struct verdict){.state = WRITE_PENDING, .delay_ms = 600000, .error_class = ""};
    res->http_status = 0;
}

E2E_TEST(a_call_that_was_not_made_does_not_count)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-started", NULL)));
    k->answer = not_made;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, LEDGER("state, attempts, first_tried_at is null, coalesce(error_class, '-')", "true"),
               "pending|0|t|-");
    kit_close(k);
}

static struct harness *ledger_of;

static void already_there(const struct ledger_item *item, struct record_result *res)
{
    (void)res;
    if (item->wish->kind == WRITE_STAGE) {
        sql_script(ledger_of,
                   "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, "
                   "state, attempts, lease_no) values ('popp', 'ats', 'x:ats_42', 'disposition/182736', 1, 'stage', "
                   "'182736', 'Elsewhere', 'hash', '', 'sending', 1, 1)");
    }
}

/* New revisions are inserted without looking: one that is there in spite of that must not stop the results. */
E2E_TEST(a_row_that_nobody_expected_is_another_attempt)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    ledger_of = h;
    k->answer = already_there;
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, LEDGER("rev, value, state, attempts", "kind = 'stage'"), "1|Recruiter screen|applied|2");
    assert_sql(h, "select bool_and(state = 'applied') and count(*) = 5 from atsync.ats_write", "true");
    assert_sql(h, "select count(*) from atsync.ats_call", "5");
    kit_close(k);
}

/* ---- runs */

E2E_TEST(runs_are_written_when_they_change)
{
    struct kit *k = kit_open(h, NULL);
    const char *before;

    assert_true(kit_put(k, popp_event(h, "run-completed", "data.candidateProfileId", POPP_ABSENT, NULL)));
    (void)kit_work(k);
    assert_sql(h,
               "select concat_ws('|', run_id, ref, connector, is_latest, job, external_id, coalesce(profile_id, '-'), "
               "state, outcome, result) from atsync.run",
               "run_4a1e9c|x:ats_42|ats|t|182736|ats_42|-|completed|completed|PASSED_CRITERIA");
    before = sql_text(h, "select xmin from atsync.run");
    kit_resync(k);
    assert_true(kit_work(k) > 0);
    assert_sql(h, "select xmin from atsync.run", before);
    /* An older event that comes late and tells something else is no newer event, but news. */
    assert_true(kit_put(k, popp_event(h, "contact-resolved", NULL)));
    (void)kit_work(k);
    assert_sql(h, "select profile_id from atsync.run", "cp_8842f0");
    kit_close(k);
}

E2E_TEST(the_newest_run_of_a_workflow_is_the_latest)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-completed", "run", "run_b", "shift", "3600", NULL)));
    assert_true(kit_put(k, popp_event(h, "run-completed", "run", "run_a", NULL)));
    assert_true(kit_put(k, popp_event(h, "run-completed", "run", "run_c", "data.workflowExternalId", "another", NULL)));
    (void)kit_work(k);
    assert_sql(h, "select string_agg(concat_ws('|', run_id, is_latest), ' ' order by run_id) from atsync.run",
               "run_a|f run_b|t run_c|t");

    /* runs whose workflow has no external id are one line of the views, whatever their workflows' own ids are */
    for (int i = 1; i <= 2; i++) {
        assert_true(kit_put(k, popp_event(h, "run-completed", "run", arena_printf(h->arena, "run_without_%d", i),
                                          "shift", arena_printf(h->arena, "%d", i), "data.workflowExternalId",
                                          POPP_ABSENT, "data.workflowId", arena_printf(h->arena, "w%d", i), NULL)));
    }
    (void)kit_work(k);
    assert_sql(h,
               "select string_agg(concat_ws('|', run_id, is_latest), ' ' order by run_id) from atsync.run where "
               "workflow_external_id is null",
               "run_without_1|f run_without_2|t");
    kit_close(k);
}

/* ---- identities */

E2E_TEST(a_learned_identity_wakes_who_waited)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-started", "data.candidateProfileExternalId", POPP_ABSENT, NULL)));
    (void)kit_work(k);
    assert_sql(h, "select concat_ws('|', connector, ref, state, error_class, due_at is null) from atsync.candidate",
               "|p:cp_8842f0|waiting_for_identity|identity|t");
    assert_true(kit_put(k, popp_event(h, "contact-resolved", NULL)));
    (void)kit_work(k);
    assert_sql(h, "select string_agg(concat_ws('|', connector, ref, external_id, state), ' ') from atsync.candidate",
               "ats|x:ats_42|ats_42|synced");
    assert_sql(h, LEDGER("value, state", "true"), "Contacted|applied");
    assert_sql(h, "select concat_ws('|', alias, ref, external_id, origin, conflict) from atsync.identity",
               "p:cp_8842f0|x:ats_42|ats_42|event|f");
    /* and from now on at once */
    assert_true(kit_put(k, popp_event(h, "run-cancelled", "data.candidateProfileExternalId", POPP_ABSENT,
                                      "data.recordId", "run_4a1e9c", NULL)));
    (void)kit_work(k);
    assert_sql(h, "select concat_ws('|', ref, external_id, state) from atsync.run where run_id = 'run_4a1e9c'",
               "x:ats_42|ats_42|cancelled");
    kit_close(k);
}

E2E_TEST(a_run_that_is_known_wakes_its_nameless_events)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-completed", "data.candidateProfileExternalId", POPP_ABSENT,
                                      "data.candidateProfileId", POPP_ABSENT, NULL)));
    (void)kit_work(k);
    assert_sql(h, "select concat_ws('|', ref, state) from atsync.candidate", "r:run_4a1e9c|waiting_for_identity");
    assert_true(kit_put(k, popp_event(h, "run-started", NULL)));
    (void)kit_work(k);
    assert_sql(h, "select string_agg(concat_ws('|', ref, state), ' ') from atsync.candidate", "x:ats_42|synced");
    assert_sql(h, "select string_agg(concat_ws('|', run_id, ref, state), ' ') from atsync.run",
               "run_4a1e9c|x:ats_42|completed");
    kit_close(k);
}

E2E_TEST(two_external_ids_are_a_conflict_until_an_operator_decides)
{
    struct kit *k = kit_open(h, NULL);
    int64_t woken = -1;
    struct errmsg err;

    assert_true(kit_put(k, popp_event(h, "contact-resolved", NULL)));
    (void)kit_work(k);
    assert_true(
        kit_put(k, popp_event(h, "contact-resolved", "data.externalId", "ats_43", "data.recordId", "run_other", NULL)));
    (void)kit_work(k);
    assert_true(kit_put(k, popp_event(h, "run-started", "data.candidateProfileExternalId", POPP_ABSENT, "data.recordId",
                                      "run_new", NULL)));
    (void)kit_work(k);
    assert_sql(h, "select string_agg(concat_ws('|', alias, ref, conflict), ' ' order by ref) from atsync.identity",
               "p:cp_8842f0|x:ats_42|t p:cp_8842f0|x:ats_43|t");
    assert_sql(h, "select concat_ws('|', ref, state, error_class) from atsync.candidate where connector = ''",
               "p:cp_8842f0|waiting_for_identity|identity_conflict");

    assert_done(store_link(k->store, "popp", "p:cp_8842f0", "ats_43", &woken, &err), &err);
    assert_int_equal(woken, 1);
    (void)kit_work(k);
    assert_sql(h, "select string_agg(concat_ws('|', ref, origin, conflict), ' ' order by ref) from atsync.identity",
               "x:ats_42|event|t x:ats_43|operator|f");
    assert_sql(h, "select count(*) from atsync.candidate where connector = ''", "0");
    assert_sql(h, "select concat_ws('|', ref, external_id, connector) from atsync.run where run_id = 'run_new'",
               "x:ats_43|ats_43|ats");
    assert_sql(h, "select concat_ws('|', ref, value, state) from atsync.ats_write", "x:ats_43|Contacted|applied");
    assert_done(store_link(k->store, "popp", "p:nobody", "ats_44", &woken, &err), &err);
    assert_int_equal(woken, 0);
    kit_close(k);
}

static const char *told_of(struct harness *h, const char *candidate, const char *run, const char *time)
{
    return popp_event(h, "run-started", "candidate", candidate, "run", run, "data.candidateProfileId", "cp_1",
                      "data.timestamp", time, "eventId", arena_printf(h->arena, "evt_%s_%s", candidate, run), NULL);
}

/* Events name the same runs and the same profile for two candidates, who are recorded in one transaction. */
E2E_TEST(what_two_candidates_of_a_batch_claim)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, told_of(h, "ats_1", "run_1", "2026-05-12T09:00:00Z")));
    assert_true(kit_put(k, told_of(h, "ats_2", "run_1", "2026-05-12T10:00:00Z")));
    assert_true(kit_put(k, told_of(h, "ats_1", "run_2", "2026-05-12T12:00:00Z")));
    assert_true(kit_put(k, told_of(h, "ats_2", "run_2", "2026-05-12T11:00:00Z")));
    k->dies = true; /* each is recorded once only */
    assert_int_equal(kit_work_connector(k, "ats"), 2);
    assert_sql(h, "select count(distinct xmin::text) from atsync.run", "1");
    assert_sql(h, "select string_agg(concat_ws('|', run_id, ref), ' ' order by run_id) from atsync.run",
               "run_1|x:ats_2 run_2|x:ats_1"); /* the later one shows */
    assert_sql(h, "select string_agg(concat_ws('|', alias, ref, conflict), ' ' order by ref) from atsync.identity",
               "p:cp_1|x:ats_1|t p:cp_1|x:ats_2|t");
    kit_close(k);
}

/* Whoever of them is worked on last, then and later. */
E2E_TEST(what_two_candidates_claim_one_after_the_other)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, told_of(h, "ats_1", "run_1", "2026-05-12T10:00:00Z")));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_true(kit_put(k, told_of(h, "ats_2", "run_1", "2026-05-12T09:00:00Z")));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    assert_sql(h, "select concat_ws('|', run_id, ref) from atsync.run", "run_1|x:ats_1");
    assert_true(kit_put(k, told_of(h, "ats_3", "run_1", "2026-05-12T11:00:00Z")));
    assert_int_equal(kit_work_connector(k, "ats"), 1);
    kit_resync(k);
    assert_int_equal(kit_work_connector(k, "ats"), 3);
    assert_sql(h, "select concat_ws('|', run_id, ref) from atsync.run", "run_1|x:ats_3");
    kit_close(k);
}

/* ---- names, audit */

E2E_TEST(workflow_names_are_learned)
{
    struct kit *k = kit_open(h, NULL);
    struct workflow_name_row *rows = NULL;
    size_t count = 0;
    struct errmsg err;

    assert_true(kit_put(k, popp_event(h, "run-started", "data.workflowExternalId", POPP_ABSENT, NULL)));
    (void)kit_work(k);
    assert_sql(h, "select concat_ws('|', connector, state) from atsync.candidate", "|unmapped");
    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL)));
    (void)kit_work(k);
    assert_done(store_workflow_names(k->store, h->arena, &rows, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(rows[0].source, "popp");
    assert_string_equal(rows[0].workflow_id, "wf_c3d9a1");
    assert_string_equal(rows[0].external_id, "cedar-rgn-screening");
    assert_done(store_wake_unrouted(k->store, &err), &err);
    (void)kit_work(k);
    assert_sql(h, "select string_agg(concat_ws('|', connector, ref, state), ' ' order by ref) from atsync.candidate",
               "ats|x:ats_42|synced ats|x:ats_7|synced");
    kit_close(k);
}

/* Who has the signing secret can invent any number of them. */
E2E_TEST(a_crowd_of_workflow_names_has_an_end)
{
    struct kit *k = kit_open(h, NULL);
    struct workflow_name_row *rows = NULL;
    size_t count = 0;
    struct errmsg err;

    sql_script(
        h, "insert into atsync.workflow_name (source, workflow_id, external_id, learned_at) select 'popp', 'invented' "
           "|| i, 'x', now() + i * interval '1 ms' from generate_series(1, 20000) as i;"
           "insert into atsync.workflow_name (source, workflow_id, external_id, learned_at) values ('popp', "
           "'zzz-first', 'ours', now() - interval '1 day')");
    assert_done(store_workflow_names(k->store, h->arena, &rows, &count, &err), &err);
    assert_int_equal(count, WORKFLOW_NAMES_MAX);
    assert_string_equal(rows[0].workflow_id, "zzz-first");
    kit_close(k);
}

E2E_TEST(the_audit_has_every_member)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "published", NULL)));
    assert_true(kit_put(k, popp_event(h, "contact-resolved", "data.isNewProfile:", "true", NULL)));
    assert_true(kit_put(k, popp_event(h, "contact-resolution-skipped", NULL)));
    assert_true(kit_put(k, popp_event(h, "contact-resolution-failed", NULL)));
    (void)kit_work(k);
    sql_script(h, "set timezone = 'UTC'");
    assert_sql(
        h, "select to_jsonb(v) - 'event_id' from atsync.workflow_versions v",
        "{\"source\": \"popp\", \"event_time\": \"2026-05-08T15:30:00+00:00\", \"workflow_id\": \"wf_c3d9a1\", "
        "\"published_at\": \"2026-05-08T15:30:00+00:00\", \"version_number\": 7, \"organization_id\": \"org_123456\", "
        "\"workflow_version_id\": \"wfv_70b2e4\", \"published_by_user_id\": \"user_31d0\", \"workflow_external_id\": "
        "\"cedar-rgn-screening\"}");
    assert_sql(h,
               "select to_jsonb(v) - 'event_id' - 'event_time' - 'source' from atsync.contact_resolutions v where kind "
               "= 'resolved'",
               "{\"kind\": \"resolved\", \"email\": \"m.okafor@mail.example\", \"run_id\": \"run_4a1e9c\", "
               "\"record_id\": \"run_4a1e9c\", "
               "\"external_id\": \"ats_42\", \"workflow_id\": \"wf_c3d9a1\", \"phone_number\": \"+447700900142\", "
               "\"contact_index\": 0, "
               "\"is_new_profile\": true, \"version_number\": 7, \"organization_id\": \"org_123456\", "
               "\"existing_run_status\": null, "
               "\"workflow_version_id\": \"wfv_70b2e4\", \"candidate_profile_id\": \"cp_8842f0\", "
               "\"workflow_external_id\": \"cedar-rgn-screening\"}");
    assert_sql(h,
               "select concat_ws('|', run_id, existing_run_status, coalesce(is_new_profile::text, '-'), "
               "candidate_profile_id, contact_index) "
               "from atsync.contact_resolutions where kind = 'skipped'",
               "run_4a1e9c|RUNNING|-|cp_8842f0|5");
    assert_sql(h,
               "select concat_ws('|', coalesce(run_id, '-'), record_id, email, coalesce(phone_number, '-'), "
               "external_id, contact_index) "
               "from atsync.contact_resolutions where kind = 'failed'",
               "-|contact_dedup_77be20|m.okafor@invalid|-|ats_42|2");
    assert_sql(h, "select count(*) from atsync.candidate where ref like 'w:%'", "0");
    /* what is no truth value tells neither */
    assert_true(kit_put(k, popp_event(h, "contact-resolved", "candidate", "ats_9", "data.isNewProfile", "yes", NULL)));
    assert_true(
        kit_put(k, popp_event(h, "contact-resolved", "candidate", "ats_9", "data.isNewProfile:", "false", NULL)));
    (void)kit_work(k);
    assert_sql(h,
               "select string_agg(coalesce(is_new_profile::text, '-'), ' ' order by is_new_profile) from "
               "atsync.contact_resolutions where external_id = 'ats_9'",
               "false -");
    kit_close(k);
}

/* ---- routes, forget */

E2E_TEST(an_unrouted_candidate_is_forgotten_unless_something_came)
{
    struct kit *k = kit_open(h, NULL);
    struct record_route route = {.connector = "ats", .ref = "x:1", .external_id = "1"};
    struct claim_batch b;
    struct errmsg err;

    sql_script(h, "insert into atsync.candidate (source, connector, ref, due_at, last_event_at) values ('popp', '', "
                  "'p:1', now(), '2026-01-01Z'), "
                  "('popp', '', 'p:2', now(), '2026-01-02Z')");
    assert_done(store_claim(k->store, "", false, "him", 60000, 9, NULL, &b, &err), &err);
    assert_int_equal(b.count, 2);
    sql_script(h, "update atsync.candidate set version = version + 1 where ref = 'p:2'");

    struct record records[2] = {{.who = &b.items[0]}, {.who = &b.items[1]}};

    for (int i = 0; i < 2; i++) {
        records[i].routes = &route; /* both stand for the same: one row */
        records[i].route_count = 1;
        records[i].release = true;
        records[i].forget = true;
        records[i].synced = true;
        records[i].next_due_ms = INT64_MAX;
        records[i].state = "nothing_to_do";
    }
    assert_done(store_record(k->store, records, 2, &err), &err);
    assert_sql(h,
               "select string_agg(concat_ws('|', connector, ref, coalesce(lease_owner, '-'), due_at <= now()), ' ' "
               "order by ref) from atsync.candidate",
               "|p:2|-|t ats|x:1|-|t");
    claim_batch_clear(&b);

    /* A route to who is in work: looked at again afterwards; to who waits for its next attempt: then. */
    sql_script(h,
               "update atsync.candidate set due_at = now() + interval '1 hour', lease_owner = 'her' where ref = 'x:1'");
    assert_done(store_claim(k->store, "", false, "him", 60000, 9, NULL, &b, &err), &err);
    records[0].who = &b.items[0];
    assert_done(store_record(k->store, records, 1, &err), &err);
    assert_sql(
        h, "select string_agg(concat_ws('|', ref, version, due_at > now(), lease_owner), ' ') from atsync.candidate",
        "x:1|2|t|her");
    claim_batch_clear(&b);
    kit_close(k);
}

E2E_TEST(texts_that_postgresql_refuses_are_cleaned)
{
    struct kit *k = kit_open(h, NULL);
    char *long_id = mem_alloc(5001);

    memset(long_id, 'w', 5000);
    long_id[5000] = '\0';
    assert_true(kit_put(k, popp_event(h, "run-cancelled", "data.recordId", "run_1", "data.workflowVersionId", long_id,
                                      "data.cancellationReason:", "\"moved \\u0000 abroad \\ud800\"", NULL)));
    (void)kit_work(k);
    assert_sql(h,
               "select concat_ws('|', cancellation_reason, length(workflow_version_id), left(workflow_version_id, 1)) "
               "from atsync.run",
               "moved \xef\xbf\xbd abroad \xef\xbf\xbd|65|#");
    mem_free(long_id);
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(intent_then_result),
        E2E_RUN(what_waits_is_recorded_without_an_attempt),
        E2E_RUN(first_values_need_no_intent),
        E2E_RUN(what_was_being_sent_is_uncertain),
        E2E_RUN(what_may_have_been_sent_is_not_forgotten),
        E2E_RUN(a_run_without_a_name_does_not_hide_one_that_has_it),
        E2E_RUN(newer_values_take_the_place_of_older_ones),
        E2E_RUN(a_call_that_was_not_made_does_not_count),
        E2E_RUN(a_row_that_nobody_expected_is_another_attempt),
        E2E_RUN(runs_are_written_when_they_change),
        E2E_RUN(the_newest_run_of_a_workflow_is_the_latest),
        E2E_RUN(a_learned_identity_wakes_who_waited),
        E2E_RUN(a_run_that_is_known_wakes_its_nameless_events),
        E2E_RUN(two_external_ids_are_a_conflict_until_an_operator_decides),
        E2E_RUN(what_two_candidates_of_a_batch_claim),
        E2E_RUN(what_two_candidates_claim_one_after_the_other),
        E2E_RUN(workflow_names_are_learned),
        E2E_RUN(a_crowd_of_workflow_names_has_an_end),
        E2E_RUN(the_audit_has_every_member),
        E2E_RUN(an_unrouted_candidate_is_forgotten_unless_something_came),
        E2E_RUN(texts_that_postgresql_refuses_are_cleaned),
    };

    return e2e_main(tests);
}
