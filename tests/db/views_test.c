/* What people and dashboards read: every column of the contract, and the right values from real events. */
#include "base/text.h"
#include "lib/storekit.h"
#include "store/activity.h"

static const char *state_of(struct harness *h, const char *candidate)
{
    return sql_text(
        h, arena_printf(h->arena,
                        "select string_agg(sync_state, ' ') from atsync.sync_status where candidate_external_id = '%s'",
                        candidate));
}

E2E_TEST(the_columns_of_the_contract)
{
    static const struct {
        const char *view, *columns;
    } views[] = {
        {"sync_status", "source candidate_external_id workflow_external_id connector job run_id run_state outcome "
                        "result sync_state pending_writes dead_writes "
                        "last_event_at last_synced_at blocked_since next_attempt_at last_error"},
        {"candidate_timeline", "source candidate_external_id at kind summary detail"},
        {"pending_writes", "source candidate_external_id workflow_external_id connector kind target value attempts "
                           "http_status error_class error first_tried_at "
                           "next_attempt_at"},
        {"dead_writes", "source candidate_external_id workflow_external_id connector kind target value attempts "
                        "http_status error_class error first_tried_at "
                        "next_attempt_at"},
        {"answers", "source candidate_external_id workflow_external_id run_id node_id slug answer answer_state "
                    "traffic_light outcome score "
                    "classified_document_type answered_at"},
        {"runs", "source run_id workflow_id workflow_external_id candidate_external_id state outcome result error_code "
                 "error_class cancellation_reason truncated "
                 "complete started_at completed_at"},
        {"connector_status", "connector state reason since until waiting_candidates oldest_waiting_seconds "
                             "calls_last_hour errors_last_hour p95_ms"},
        {"queue_health", "waiting due_now leased retrying oldest_due_seconds ingest_per_minute synced_per_minute"},
        {"issues", "class severity connector workflow_external_id message hint affected_candidates first_seen "
                   "last_seen closed_at"},
        {"workflow_versions", "source workflow_id workflow_external_id workflow_version_id version_number "
                              "published_by_user_id published_at organization_id"},
        {"contact_resolutions", "source kind record_id organization_id workflow_id workflow_external_id "
                                "workflow_version_id version_number candidate_profile_id "
                                "external_id email phone_number is_new_profile existing_run_status contact_index"},
    };
    struct kit *k = kit_open(h, NULL);

    for (size_t i = 0; i < ATS_COUNT(views); i++) {
        assert_sql(h,
                   arena_printf(h->arena,
                                "select coalesce(string_agg(c, ' '), 'none') from unnest(string_to_array('%s', ' ')) "
                                "as c where not exists "
                                "(select from information_schema.columns where table_schema = 'atsync' and table_name "
                                "= '%s' and column_name = c)",
                                views[i].columns, views[i].view),
                   "none");
    }
    kit_close(k);
}

/* ---- sync_state */

static void answer_dead(const struct ledger_item *item, struct record_result *res)
{
    if (item->wish->kind == WRITE_STAGE) {
        res->verdict = (struct verdict){.state = WRITE_DEAD, .error_class = "invalid"};
        res->http_status = 422;
        res->error = "no such stage";
    }
}

static void answer_retry(const struct ledger_item *item, struct record_result *res)
{
    if (item->wish->kind == WRITE_STAGE) {
        res->verdict = (struct verdict){.state = WRITE_PENDING, .delay_ms = 600000, .error_class = "unavailable"};
        res->http_status = 503;
        res->error = "the ATS is away";
    }
}

static void put_started(struct kit *k, const char *candidate, const char *workflow)
{
    assert_true(kit_put(k, popp_event(k->h, "run-started", "candidate", candidate, "run",
                                      arena_printf(k->h->arena, "run_of_%s", candidate), "data.workflowExternalId",
                                      workflow, NULL)));
}

E2E_TEST(the_ten_states)
{
    static const char mapping[] = "  w-ats: {connector: ats, job: j, on: {started: {stage: S}}}\n"
                                  "  w-spare: {connector: spare, job: j, on: {started: {stage: S}}}\n"
                                  "  w-quiet: {connector: ats, job: j, on: {completed: {stage: S}}}\n";
    struct kit *k = kit_open(h, mapping);
    struct errmsg err;

    put_started(k, "synced", "w-ats");
    put_started(k, "quiet", "w-quiet");
    put_started(k, "unmapped", "w-nobody-mapped");
    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "x", "run", "run_nameless",
                                      "data.candidateProfileExternalId", POPP_ABSENT, NULL)));
    (void)kit_work(k);
    assert_string_equal(state_of(h, "synced"), "synced");
    assert_string_equal(state_of(h, "quiet"), "nothing_to_do");
    assert_string_equal(state_of(h, "unmapped"), "unmapped");
    assert_sql(h,
               "select concat_ws('|', sync_state, run_id, coalesce(connector, '-')) from atsync.sync_status where "
               "candidate_external_id is null",
               "waiting_for_identity|run_nameless|-");

    k->answer = answer_dead;
    put_started(k, "dead", "w-ats");
    (void)kit_work(k);
    assert_string_equal(state_of(h, "dead"), "dead");
    k->answer = answer_retry;
    put_started(k, "retrying", "w-ats");
    (void)kit_work(k);
    assert_string_equal(state_of(h, "retrying"), "retrying");
    k->answer = NULL;
    k->dies = true;
    put_started(k, "leased", "w-ats");
    (void)kit_work(k);
    assert_string_equal(state_of(h, "leased"), "in_progress");

    put_started(k, "fresh", "w-ats");
    put_started(k, "elsewhere", "w-spare");
    assert_string_equal(state_of(h, "fresh"), "pending");
    assert_done(store_connector_throttle(k->store, "spare", 3600000, "slow down", &err), &err);
    assert_string_equal(state_of(h, "elsewhere"), "throttled");
    assert_done(store_connector_pause(k->store, "spare", "the token is wrong", "make a new one", "hash", &err), &err);
    assert_string_equal(state_of(h, "elsewhere"), "paused");
    assert_string_equal(state_of(h, "fresh"), "pending");
    assert_done(store_connector_pause(k->store, "ats", "the token is wrong", "make a new one", "hash", &err), &err);
    assert_string_equal(state_of(h, "retrying"), "paused"); /* also with a run */
    assert_string_equal(state_of(h, "dead"), "dead");
    assert_string_equal(state_of(h, "synced"), "synced");
    kit_close(k);
}

E2E_TEST(the_row_of_a_candidate)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    assert_sql(h,
               "select concat_ws('|', source, candidate_external_id, connector, sync_state, pending_writes, "
               "dead_writes, coalesce(run_id, '-')) from atsync.sync_status",
               "popp|ats_42|ats|pending|0|0|-");
    k->answer = answer_retry;
    (void)kit_work(k);
    assert_sql(h,
               "select concat_ws('|', source, candidate_external_id, workflow_external_id, connector, job, run_id, "
               "run_state, outcome, result, sync_state, pending_writes, "
               "dead_writes, last_event_at at time zone 'UTC', last_synced_at is null, blocked_since is not null, "
               "next_attempt_at > now(), last_error) from atsync.sync_status",
               "popp|ats_42|cedar-rgn-screening|ats|182736|run_4a1e9c|completed|completed|PASSED_CRITERIA|retrying|1|0|"
               "2026-05-12 09:34:10|t|t|t|the ATS is away");
    assert_sql(
        h,
        "select concat_ws('|', source, candidate_external_id, workflow_external_id, connector, kind, target, value, "
        "attempts, http_status, error_class, error, "
        "first_tried_at is not null, next_attempt_at > now()) from atsync.pending_writes",
        "popp|ats_42|cedar-rgn-screening|ats|stage|182736|Recruiter screen|1|503|unavailable|the ATS is away|t|t");
    /* what the connector waits for, its candidates wait for; somebody who has to act has no time */
    sql_script(h, "update atsync.connector_state set state = 'open', until = now() + interval '1 day'");
    assert_sql(
        h,
        "select concat_ws('|', s.next_attempt_at = c.until, p.next_attempt_at = c.until) from atsync.sync_status s, "
        "atsync.pending_writes p, atsync.connector_status c where c.connector = 'ats'",
        "t|t");
    sql_script(h, "update atsync.connector_state set state = 'throttled', until = now() - interval '1 day'");
    assert_sql(h,
               "select s.next_attempt_at > now() and p.next_attempt_at > now() from atsync.sync_status s, "
               "atsync.pending_writes p",
               "true");
    sql_script(h, "update atsync.connector_state set state = 'paused', until = null");
    assert_sql(h,
               "select s.next_attempt_at is null and p.next_attempt_at is null from atsync.sync_status s, "
               "atsync.pending_writes p",
               "true");
    sql_script(h, "update atsync.connector_state set state = 'ok'");
    assert_sql(h, "select count(*) from atsync.dead_writes", "0");
    k->answer = answer_dead;
    sql_script(h, "update atsync.candidate set due_at = now(); update atsync.ats_write set next_attempt_at = null");
    (void)kit_work(k);
    assert_sql(
        h,
        "select concat_ws('|', kind, target, value, attempts, http_status, error_class, error) from atsync.dead_writes",
        "stage|182736|Recruiter screen|2|422|invalid|no such stage");
    assert_sql(h,
               "select concat_ws('|', sync_state, pending_writes, dead_writes, last_error, next_attempt_at is null, "
               "blocked_since is null) "
               "from atsync.sync_status",
               "dead|0|1|no such stage|t|f");
    assert_sql(h, "select count(*) from atsync.pending_writes", "0");
    /* a second workflow has its own row, with its own state */
    assert_true(
        kit_put(k, popp_event(h, "run-started", "run", "run_2", "data.workflowExternalId", "not-mapped", NULL)));
    (void)kit_work(k);
    assert_sql(h,
               "select string_agg(concat_ws('|', workflow_external_id, sync_state), ' ' order by workflow_external_id) "
               "from atsync.sync_status",
               "cedar-rgn-screening|dead not-mapped|unmapped");
    kit_close(k);
}

/* ---- runs and answers */

E2E_TEST(runs_as_they_ended)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-failed", "candidate", "a", "run", "run_f", "data.errorCode",
                                      "NODE_TIMEOUT", "data.errorClass", "SYSTEM", NULL)));
    assert_true(kit_put(
        k, popp_event(h, "run-cancelled", "candidate", "b", "run", "run_c", "data.cancellationReason", "moved", NULL)));
    assert_true(kit_put(k, popp_event(h, "run-completed", "candidate", "c", "run", "run_t", "data.truncated:", "true",
                                      "data.nodes:", "[]", NULL)));
    (void)kit_work(k);
    assert_sql(h,
               "select concat_ws('|', candidate_external_id, state, outcome, error_code, error_class, truncated) from "
               "atsync.runs where run_id = 'run_f'",
               "a|failed|failed|NODE_TIMEOUT|SYSTEM|f");
    assert_sql(h,
               "select concat_ws('|', candidate_external_id, state, outcome, cancellation_reason) from atsync.runs "
               "where run_id = 'run_c'",
               "b|cancelled|cancelled|moved");
    assert_sql(h,
               "select concat_ws('|', state, truncated, complete, started_at at time zone 'UTC', completed_at at time "
               "zone 'UTC') from atsync.runs where run_id = 'run_t'",
               "completed|t|f|2026-05-12 09:00:00|2026-05-12 09:34:10");
    kit_close(k);
}

E2E_TEST(answers_of_every_shape)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    (void)kit_work(k);
    assert_sql(h,
               "select string_agg(slug, ' ' order by slug) from atsync.answers where candidate_external_id = 'ats_42'",
               "cv dbs licence night-shifts nmc-pin start-date");
    assert_sql(h,
               "select concat_ws('|', source, workflow_external_id, run_id, node_id, answer, answer_state, "
               "traffic_light, outcome, score, "
               "answered_at at time zone 'UTC') from atsync.answers where slug = 'nmc-pin'",
               "popp|cedar-rgn-screening|run_4a1e9c|screen-1|Yes, my PIN is 18C2094E and it runs until "
               "March|IS_YES|GREEN|PASSED|100|2026-05-12 09:21:37.48");
    assert_sql(h,
               "select concat_ws('|', classified_document_type, document_twilio_media_sid, score is null) from "
               "atsync.answers where slug = 'cv'",
               "cv|ME5b1f0c7d2a9e4836b0c1d2e3f4a59687|t");

    assert_true(kit_put(
        k, popp_event(
               h, "run-completed", "candidate", "odd", "run", "run_odd", "data.nodes:",
               "[{\"nodeId\":\"n1\",\"completedAt\":\"soon\",\"outcome\":{\"kind\":\"conversation\",\"answers\":["
               "{\"slug\":\"text-score\",\"score\":\"high\",\"answer\":\"\\u0000 "
               "\\ud800\"},{\"slug\":\"huge\",\"score\":1e999999,\"answer\":{\"a\":[1]}},"
               "7,null,\"answer\",[{\"slug\":\"nested\"}],{\"slug\":\"list\",\"answer\":[1,\"b\"]}]}},"
               "{\"nodeId\":\"n2\",\"completedAt\":17,\"outcome\":{\"kind\":\"conversation\",\"answers\":\"none\"}},"
               "{\"nodeId\":\"n3\",\"outcome\":\"odd\"},{\"nodeId\":\"n4\",\"outcome\":null},8,null,"
               "{\"nodeId\":\"n5\",\"completedAt\":\"2026-99-99T99:99:99Z\",\"outcome\":{\"answers\":{\"slug\":"
               "\"alone\",\"score\":0.5}}}]",
               NULL)));
    (void)kit_work(k);
    assert_sql(h,
               "select string_agg(concat_ws('|', node_id, slug, coalesce(answer, '-'), coalesce(score::text, '-'), "
               "answered_at is null), ' ' order by slug) "
               "from atsync.answers where candidate_external_id = 'odd' and slug in ('text-score', 'list', 'alone')",
               "n5|alone|-|0.5|t n1|list|[1, \"b\"]|-|t n1|text-score|\xef\xbf\xbd \xef\xbf\xbd|-|t");
    assert_sql(h, "select count(*) > 0 from (select * from atsync.answers offset 0) a",
               "true"); /* every column of every row can be worked out */
    assert_sql(h, "select state from atsync.runs where run_id = 'run_odd'", "completed");
    kit_close(k);
}

/* What jsonb refuses stands only in the body, and no view reads bodies. */
E2E_TEST(a_body_that_jsonb_refuses)
{
    static const char body[] = "{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"evt_odd\",\"data\":{\"recordId\":"
                               "\"run_odd\",\"workflowId\":\"w\\u0000\","
                               "\"workflowExternalId\":\"cedar-rgn-screening\",\"candidateProfileExternalId\":"
                               "\"a\\u0000b\",\"timestamp\":\"2026-05-12T09:00:00Z\","
                               "\"unknown\":\"\\ud800\\u0000\",\"big\":1e999999}}";
    static const char *const views[] = {
        "sync_status",       "candidate_timeline",  "pending_writes",   "dead_writes",  "answers", "runs",
        "workflow_versions", "contact_resolutions", "connector_status", "queue_health", "issues",  "activity"};
    struct kit *k = kit_open(h, NULL);
    struct arena *arena = arena_new();
    struct event e;
    struct errmsg err;
    struct ingest_event in;

    assert_done(event_parse(body, sizeof body - 1, arena, &e, &err), &err);
    in = (struct ingest_event){.source = "popp",
                               .event_id = e.id,
                               .type = e.type_name,
                               .subject = event_subject(&e, arena),
                               .connector = "ats",
                               .run_id = e.run_id,
                               .time_us = e.time_us,
                               .external_id = "a\xef\xbf\xbd"
                                              "b",
                               .body = body,
                               .body_len = sizeof body - 1};
    assert_done(store_ingest(k->store, &in, 1, &err), &err);
    arena_free(arena);
    assert_true(kit_work(k) > 0);
    for (size_t i = 0; i < ATS_COUNT(views); i++) {
        assert_non_null(sql_text(h, arena_printf(h->arena, "select count(v::text) from atsync.%s v", views[i])));
    }
    assert_sql(h, "select concat_ws('|', state, workflow_id) from atsync.runs", "running|w\xef\xbf\xbd");
    assert_sql(h, "select sync_state from atsync.sync_status", "synced");
    assert_sql(h, "select encode(body, 'escape') like '%u0000%' from atsync.event", "true");
    kit_close(k);
}

/* ---- the story */

E2E_TEST(the_timeline_tells_the_story_in_order)
{
    struct kit *k = kit_open(h, NULL);

    assert_true(kit_put(k, popp_event(h, "contact-resolved", NULL)));
    assert_true(kit_put(
        k, popp_event(h, "run-started", "data.candidateProfileExternalId", POPP_ABSENT, NULL))); /* under the profile */
    k->answer = answer_dead;
    (void)kit_work(k);
    sql_script(
        h, "insert into atsync.issue (class, scope, severity, source, connector, workflow_external_id, message, hint) "
           "values ('dead_writes', 's', 'error', 'popp', 'ats', 'cedar-rgn-screening', 'It did not work.', 'Do "
           "something.'), "
           "('dead_writes', 't', 'error', 'popp', 'ats', 'another', 'Not mine.', '')");
    assert_sql(h,
               "select string_agg(concat_ws('|', kind, summary), ', ' order by at, kind) from "
               "atsync.candidate_timeline where candidate_external_id = 'ats_42'",
               "event|WORKFLOW_CONTACT_RESOLVED, event|WORKFLOW_RUN_STARTED, call|PUT /candidates -> 422, "
               "write|stage 182736 dead, issue|dead_writes");
    assert_sql(h,
               "select bool_and(at >= before) from (select at, lag(at) over () as before from "
               "atsync.candidate_timeline where candidate_external_id = 'ats_42') t where before is not null",
               "true");
    assert_sql(
        h,
        "select string_agg(detail, ', ' order by kind) from atsync.candidate_timeline where kind in ('write', 'issue')",
        "It did not work., because of started, connector ats, 1 attempts, no such stage");
    assert_sql(h, "select count(*) from atsync.candidate_timeline where at is null or source <> 'popp'", "0");
    kit_close(k);
}

/* ---- connectors and queue */

E2E_TEST(connectors_and_the_queue_in_figures)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    assert_sql(h,
               "select string_agg(concat_ws('|', connector, state, waiting_candidates, oldest_waiting_seconds, "
               "calls_last_hour, errors_last_hour), ' ' order by connector) "
               "from atsync.connector_status",
               "ats|ok|0|0|0|0 spare|ok|0|0|0|0");
    assert_sql(h, "select q::text from atsync.queue_health q", "(0,0,0,0,0,0,0)");
    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    assert_true(kit_put(k, popp_event(h, "run-completed", "candidate", "b", "run", "run_b", NULL)));
    k->answer = answer_retry;
    (void)kit_work(k);
    k->dies = true;
    assert_true(kit_put(k, popp_event(h, "run-completed", "candidate", "c", "run", "run_c", NULL)));
    (void)kit_work(k);
    assert_true(kit_put(k, popp_event(h, "run-completed", "candidate", "d", "run", "run_d", NULL)));
    assert_sql(h,
               "select concat_ws('|', waiting, due_now, leased, retrying, oldest_due_seconds < 60, ingest_per_minute, "
               "synced_per_minute) from atsync.queue_health",
               "3|1|1|2|t|4|2");
    /* the database's clock counts, not what the sender says of the event */
    sql_script(h, "update atsync.candidate set due_at = now() - interval '90 seconds' where ref = 'x:d'");
    assert_sql(
        h,
        "select concat_ws('|', state, waiting_candidates, oldest_waiting_seconds between 90 and 150, calls_last_hour, "
        "errors_last_hour, p95_ms) from atsync.connector_status "
        "where connector = 'ats'",
        "ok|4|t|10|2|12.5");
    assert_done(store_connector_throttle(k->store, "ats", 3600000, "slow down", &err), &err);
    assert_sql(h,
               "select concat_ws('|', state, reason, since <= now(), until > now()) from atsync.connector_status where "
               "connector = 'ats'",
               "throttled|slow down|t|t");
    sql_script(h, "update atsync.connector_state set until = now() - interval '1 second' where connector = 'ats'");
    assert_sql(h,
               "select concat_ws('|', s.state, s.reason is null, s.until is null, s.since = c.until) from "
               "atsync.connector_status s join atsync.connector_state c using (connector) where connector = 'ats'",
               "ok|t|t|t");
    kit_close(k);
}

static void add_activity(struct kit *k, struct activity a)
{
    struct errmsg err;

    assert_done(store_activity_add(k->store, &a, &err), &err);
}

E2E_TEST(what_was_done_in_a_minute)
{
    struct kit *k = kit_open(h, NULL);

    sql_script(h, "insert into atsync.activity_minute select now() - interval '32 days', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1;"
                  "insert into atsync.activity_minute select now() - interval '30 days', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1");
    add_activity(k, (struct activity){.events = 1});
    /* a minute that was begun between the two must not decide; the new ones are added up */
    sql_script(
        h, "update atsync.activity_minute set minute = date_trunc('minute', now()) where events = 1 and synced = 0");
    add_activity(k, (struct activity){.events = 2,
                                      .duplicates = 3,
                                      .refused = 4,
                                      .writes = 5,
                                      .failed_writes = 6,
                                      .calls = 7,
                                      .failed_calls = 8,
                                      .synced = 4,
                                      .lag_ms = 5000,
                                      .longest_lag_ms = 3000});
    add_activity(k, (struct activity){.synced = 1, .lag_ms = 500, .longest_lag_ms = 500});
    assert_sql(h,
               "select concat_ws('|', sum(events), sum(duplicates), sum(refused), sum(writes), sum(failed_writes), "
               "sum(calls), sum(failed_calls), sum(synced), max(longest_lag_seconds), "
               "round(sum(lag_seconds * synced)::numeric, 3)) from atsync.activity "
               "where minute > now() - interval '10 minutes' and minute = date_trunc('minute', minute)",
               "3|3|4|5|6|7|8|5|3|5.500");
    assert_sql(h, "select count(*) from atsync.activity where minute < now() - interval '31 days'", "0");
    assert_sql(h, "select count(*) from atsync.activity where minute < now() - interval '29 days'", "1");
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(the_columns_of_the_contract),
        E2E_RUN(the_ten_states),
        E2E_RUN(the_row_of_a_candidate),
        E2E_RUN(runs_as_they_ended),
        E2E_RUN(answers_of_every_shape),
        E2E_RUN(a_body_that_jsonb_refuses),
        E2E_RUN(the_timeline_tells_the_story_in_order),
        E2E_RUN(connectors_and_the_queue_in_figures),
        E2E_RUN(what_was_done_in_a_minute),
    };

    return e2e_main(tests);
}
