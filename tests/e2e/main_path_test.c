/* From the webhook to the candidate's record in the ATS, and to what the views say about it. */
#include "base/text.h"
#include "lib/harness.h"

#define STATE_OF(candidate) "select sync_state from atsync.sync_status where candidate_external_id = '" candidate "'"

static const char *const in_order[] = {
    "published",   "contact-resolution-failed",  "run-failed",     "run-cancelled", "contact-resolved",
    "run-started", "contact-resolution-skipped", "node-completed", "run-completed",
};

static void assert_value(struct harness *h, const char *candidate, const char *path, const char *expected_json)
{
    assert_string_equal(ats_value(h, candidate, path), expected_json);
}

static void assert_tags(struct harness *h, const char *candidate, unsigned count, const char *const *tags)
{
    const char *all = ats_value(h, candidate, "tags");

    assert_int_equal(json_count(json_of(h, all)), count);
    for (unsigned i = 0; i < count; i++) {
        if (!text_has(all, arena_printf(h->arena, "\"%s\"", tags[i])))
            fail_msg("no tag \"%s\" among %s", tags[i], all);
    }
}

/* One note per run, each with a marker of its own. */
static void assert_notes(struct harness *h, const char *candidate, unsigned count)
{
    const struct json *notes = json_of(h, ats_value(h, candidate, "notes"));

    assert_int_equal(json_count(notes), count);
    for (const struct json *n = json_first(notes); n != NULL; n = json_next(n)) {
        assert_non_null(json_get_str(n, "body"));
        assert_non_null(json_get_str(n, "marker"));
        for (const struct json *other = json_next(n); other != NULL; other = json_next(other))
            assert_string_not_equal(json_get_str(n, "marker"), json_get_str(other, "marker"));
    }
}

static void assert_record_of_the_samples(struct harness *h)
{
    static const char *const tags[] = {"unreachable", "popp-passed"};

    assert_value(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Recruiter screen\"");
    assert_value(h, "ats_42", "jobs." E2E_JOB ".rejection", "null");
    assert_value(h, "ats_42", "fields.nmc_pin_status", "\"Yes, my PIN is 18C2094E and it runs until March\"");
    assert_value(h, "ats_42", "fields.nmc_pin_score", "100");
    assert_value(h, "ats_42", "fields.dbs_number", "\"001 812 443 906\"");
    assert_value(h, "ats_42", "fields.has_licence", "\"Yes\"");
    assert_value(h, "ats_42", "fields.popp_outcome", "\"finished\"");
    assert_tags(h, "ats_42", ATS_COUNT(tags), tags);
    assert_notes(h, "ats_42", 3);
}

E2E_TEST(nine_samples_become_one_right_record)
{
    struct program *d = daemon_start(h, NULL);
    const char *bodies[ATS_COUNT(in_order)];
    struct http_answer a;
    unsigned calls;

    for (size_t i = 0; i < ATS_COUNT(in_order); i++) {
        bodies[i] = popp_event(h, in_order[i], NULL);
        popp_deliver(h, d, bodies[i]);
        if (strcmp(in_order[i], "run-started") == 0)
            wait_ats(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Contacted\"");
    }
    wait_ats(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Recruiter screen\"");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_record_of_the_samples(h);
    assert_int_equal(ats_figure(h, "candidates"), 1);

    assert_string_equal(
        sql_text(h, "select concat_ws('|', source, workflow_external_id, connector, job, run_id, outcome, result, "
                    "pending_writes, dead_writes, last_event_at is not null, last_synced_at is not null, "
                    "blocked_since is null, last_error is null) from atsync.sync_status"),
        "popp|cedar-rgn-screening|sandbox|" E2E_JOB "|run_4a1e9c|completed|PASSED_CRITERIA|0|0|t|t|t|t");
    assert_string_equal(
        sql_text(
            h,
            "select string_agg(concat_ws('|', run_id, outcome, result, error_code, error_class, cancellation_reason, "
            "truncated, complete), E'\\n' order by started_at) from atsync.runs where candidate_external_id = "
            "'ats_42'"),
        "run_1f20b3|failed|SYSTEM_FAILURE|SYSTEM|f|t\n"
        "run_2c77d8|cancelled|Started for the wrong job|f|t\n"
        "run_4a1e9c|completed|PASSED_CRITERIA|f|t");
    assert_string_equal(sql_text(h, "select count(*) from atsync.answers where run_id = 'run_4a1e9c'"), "6");
    assert_string_equal(
        sql_text(h, "select concat_ws('|', candidate_external_id, workflow_external_id, node_id, answer, answer_state, "
                    "traffic_light, outcome, score::int) from atsync.answers "
                    "where run_id = 'run_4a1e9c' and slug = 'night-shifts'"),
        "ats_42|cedar-rgn-screening|screen-1|Nights are fine, but not more than three in a "
        "row|INCLUDES|AMBER|PASSED|60");
    assert_string_equal(sql_text(h, "select classified_document_type from atsync.answers where slug = 'cv'"), "cv");
    assert_string_equal(sql_text(h, "select count(*) from atsync.workflow_versions"), "1");
    assert_string_equal(sql_text(h, "select count(*) from atsync.contact_resolutions"), "3");
    assert_string_equal(sql_text(h,
                                 "select string_agg(distinct kind, ',' order by kind) from atsync.candidate_timeline "
                                 "where candidate_external_id = 'ats_42' and kind in ('event', 'write', 'call')"),
                        "call,event,write");
    assert_string_equal(sql_text(h, "select count(*) from atsync.pending_writes"), "0");
    assert_string_equal(sql_text(h, "select count(*) from atsync.dead_writes"), "0");

    /* All of them once more: nothing happens. */
    calls = ats_calls(h, "ats_42", NULL, NULL);
    for (size_t i = 0; i < ATS_COUNT(in_order); i++) {
        a = popp_post(h, d, bodies[i]);
        assert_string_equal(a.body, "{\"status\":\"duplicate\"}");
    }
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_later", "run", "run_later", NULL));
    wait_sql(h, STATE_OF("ats_later"), "synced");
    assert_int_equal(ats_calls(h, "ats_42", NULL, NULL), calls);
    daemon_stop(h, d);
}

E2E_TEST(the_order_of_arrival_means_nothing)
{
    struct program *d = daemon_start(h, NULL);

    for (size_t i = ATS_COUNT(in_order); i-- > 0;) {
        popp_deliver(h, d, popp_event(h, in_order[i], NULL));
        wait_sql(h, STATE_OF("ats_42"), "synced");
    }
    wait_sql(h, "select count(*) from atsync.runs where candidate_external_id = 'ats_42'", "3");
    wait_ats(h, "ats_42", "notes.2.id", "3");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_record_of_the_samples(h);
    /* The late `started` did not move the candidate back for a moment either. */
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    daemon_stop(h, d);
}

E2E_TEST(an_identity_that_comes_later)
{
    struct program *d = daemon_start(h, NULL);

    popp_deliver(h, d,
                 popp_event(h, "run-completed", "candidate", "ats_9", "run", "run_9",
                            "data.candidateProfileExternalId:", "null", NULL));
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'waiting_for_identity'", "1");
    assert_int_equal(ats_figure(h, "requests"), 0);
    popp_deliver(h, d, popp_event(h, "contact-resolved", "candidate", "ats_9", "run", "run_9", NULL));
    wait_ats(h, "ats_9", "jobs." E2E_JOB ".stage", "\"Recruiter screen\"");
    wait_sql(h, STATE_OF("ats_9"), "synced");
    assert_string_equal(sql_text(h, "select count(*) from atsync.sync_status"), "1");
    assert_notes(h, "ats_9", 1);
    daemon_stop(h, d);
}

E2E_TEST(a_workflow_without_a_mapping_is_shown_and_touches_nothing)
{
    struct program *d = daemon_start(h, NULL);

    popp_deliver(h, d,
                 popp_event(h, "run-completed", "data.workflowExternalId", "not-in-the-file", "data.workflowId",
                            "wf_other", NULL));
    wait_sql(h, STATE_OF("ats_42"), "unmapped");
    assert_string_equal(sql_text(h, "select last_synced_at is null from atsync.candidate where ref = 'x:ats_42'"),
                        "true");
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", NULL));
    wait_sql(h, STATE_OF("ats_7"), "synced");
    assert_int_equal(ats_calls(h, "ats_42", NULL, NULL), 0);
    daemon_stop(h, d);

    /* and when it has one, a daemon that starts finds out as one that reads its file again */
    daemon_rewrite_conf(h, d,
                        &(struct daemon_conf){.workflows =
                                                  "not-in-the-file:\n  connector: sandbox\n  on:\n    finished: "
                                                  "{tags: [late]}\n"});
    daemon_start_again(h, d);
    wait_ats(h, "ats_42", "tags", "[\"late\"]");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    daemon_stop(h, d);
}

/* More than are taken at once: nobody waits for the poll. */
E2E_TEST(a_crowd_that_was_stored_is_worked_through_at_once)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\n"});

    for (int i = 0; i < 150; i++) {
        popp_deliver(h, d,
                     popp_event(h, "run-completed", "candidate", arena_printf(h->arena, "ats_%d", i), "run",
                                arena_printf(h->arena, "run_%d", i), "data.workflowExternalId", "somewhere-else",
                                NULL));
    }
    daemon_stop(h, d);
    daemon_rewrite_conf(h, d, &(struct daemon_conf){.delivery = "lease: 10m\npoll: 1m\n"});
    daemon_start_again(h, d);
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'unmapped'", "150");
    daemon_stop(h, d);
}

E2E_TEST(failed_criteria_reject)
{
    struct program *d = daemon_start(h, NULL);

    popp_deliver(h, d, popp_event(h, "run-completed", "data.nodes.0.outcome.status", "FAILED_CRITERIA", NULL));
    wait_ats(h, "ats_42", "jobs." E2E_JOB ".rejection.reason", "\"Did not meet criteria\"");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    /* stage and rejection are one kind: the earlier moment's stage is not written any more */
    assert_value(h, "ats_42", "jobs." E2E_JOB ".stage", "null");
    assert_value(h, "ats_42", "tags", "[]");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/rejection"), 1);
    daemon_stop(h, d);
}

static void run_ctl(struct harness *h, const struct program *d, const char *command)
{
    const char *output = NULL;

    assert_int_equal(program_run(h, &output, "atsyncctl", "-c", d->conf_path, command, "sandbox", NULL), 0);
}

#define TWO_STAGES                                                                                                     \
    "cedar-rgn-screening:\n  connector: sandbox\n  job: \"" E2E_JOB "\"\n  on:\n"                                      \
    "    started: {stage: \"Contacted\"}\n"                                                                            \
    "    completed/PASSED_CRITERIA: {stage: \"Recruiter screen\", only_from: [\"Contacted\"]}\n"

/* Whether the events of a run are worked on one by one or all at once is chance, or an outage of the ATS: the stage is the same. */
E2E_TEST(a_stage_that_was_passed_through_meanwhile)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.workflows = TWO_STAGES});

    run_ctl(h, d, "pause");
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    run_ctl(h, d, "resume");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_value(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Recruiter screen\"");
    daemon_stop(h, d);
}

/* Nor does it matter in which order they come. What was skipped because of where the candidate stood is tried again when it turns out that it was to be there. */
E2E_TEST(a_stage_that_was_passed_through_is_told_of_later)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.workflows = TWO_STAGES});

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, "select concat_ws('|', state, rev) from atsync.ats_write where live and kind = 'stage'", "skipped|1");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_ats(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Recruiter screen\"");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_string_equal(
        sql_text(h, "select concat_ws('|', state, rev) from atsync.ats_write where live and kind = 'stage'"),
        "applied|2");
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    daemon_stop(h, d);
}

/* Nothing is sent while a connector is paused; what has come, and what is going to be written, is seen all the same. */
E2E_TEST(what_waits_for_a_connector_is_seen)
{
    struct program *d = daemon_start(h, NULL);

    run_ctl(h, d, "pause");
    daemon_stop(h, d); /* the next one sees it at once */
    d = daemon_start(h, NULL);
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_43", "run", "run_43", NULL));
    wait_sql(h,
             "select string_agg(candidate_external_id || ' ' || kind || ' ' || value || ' ' || attempts, ', ' order by "
             "1) from atsync.pending_writes",
             "ats_42 stage Contacted 0, ats_43 stage Contacted 0");
    sql_script(h, "update atsync.candidate set due_at = due_at - interval '1 minute'");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL)); /* of one that has waited for long */
    wait_sql(h, "select state || ' ' || outcome from atsync.runs where candidate_external_id = 'ats_42'",
             "completed completed");
    wait_sql(h,
             "select run_state || ' ' || sync_state || ' ' || pending_writes from atsync.sync_status where "
             "candidate_external_id = 'ats_42'",
             "completed paused 8");
    assert_string_equal(
        sql_text(
            h, "select count(*) > 0 from atsync.answers where candidate_external_id = 'ats_42' and answer is not null"),
        "true");
    assert_string_equal(
        sql_text(h, "select string_agg(kind || ':' || target || ':' || attempts || ':' || (next_attempt_at is null and "
                    "error is null), ' ' order by kind, target) "
                    "from atsync.pending_writes where candidate_external_id = 'ats_42'"),
        "field:dbs_number:0:true field:has_licence:0:true field:nmc_pin_score:0:true field:nmc_pin_status:0:true "
        "field:popp_outcome:0:true note:run_4a1e9c/completed:0:true stage:182736:0:true tag:popp-passed:0:true");
    assert_string_equal(sql_text(h, "select waiting || ' ' || leased || ' ' || retrying from atsync.queue_health"),
                        "2 0 0");
    assert_int_equal(ats_figure(h, "requests"), 0);

    run_ctl(h, d, "resume");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    wait_sql(h, STATE_OF("ats_43"), "synced");
    assert_value(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Recruiter screen\"");
    assert_value(h, "ats_43", "jobs." E2E_JOB ".stage", "\"Contacted\"");
    assert_notes(h, "ats_42", 1);
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    assert_string_equal(sql_text(h, "select count(*) from atsync.pending_writes"), "0");
    assert_string_equal(sql_text(h, "select string_agg(distinct state || ' ' || attempts, ', ') from atsync.ats_write"),
                        "applied 1, superseded 0");
    daemon_stop(h, d);
}

E2E_TEST(a_recruiters_own_move_is_not_undone)
{
    static const char *const tags[] = {"popp-passed"};
    struct program *d = daemon_start(h, NULL);

    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_ats(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Contacted\"");
    ats_control(h, "POST", "/_sandbox/set", "{\"candidate\":\"ats_42\",\"job\":\"" E2E_JOB "\",\"stage\":\"Offer\"}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_ats(h, "ats_42", "fields.popp_outcome", "\"finished\"");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_value(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Offer\"");
    assert_tags(h, "ats_42", ATS_COUNT(tags), tags);
    assert_notes(h, "ats_42", 1);
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    daemon_stop(h, d);
}

/* Both daemons get events of the same candidates, and every request takes a while: whoever does not keep to the leases
 * is seen. */
E2E_TEST(two_daemons_never_write_to_one_candidate_at_once)
{
    enum { CANDIDATES = 30 };
    static const char *const samples[] = {"run-started", "node-completed", "run-completed"};
    struct program *daemons[2] = {daemon_start(h, NULL), daemon_start(h, &(struct daemon_conf){.instance = "two"})};

    ats_fault(h, "{\"action\":\"delay\",\"delay_ms\":5,\"times\":-1}");
    for (unsigned s = 0; s < ATS_COUNT(samples); s++) {
        for (unsigned i = 0; i < CANDIDATES; i++) {
            popp_deliver(h, daemons[(s + i) % 2],
                         popp_event(h, samples[s], "candidate", arena_printf(h->arena, "ats_%u", i), "run",
                                    arena_printf(h->arena, "run_%u", i), NULL));
        }
    }
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced' and outcome = 'completed'", "30");
    for (unsigned i = 0; i < CANDIDATES; i++) {
        const char *candidate = arena_printf(h->arena, "ats_%u", i);

        assert_value(h, candidate, "jobs." E2E_JOB ".stage", "\"Recruiter screen\"");
        assert_value(h, candidate, "fields.has_licence", "\"Yes\"");
        assert_notes(h, candidate, 1);
    }
    assert_int_equal(ats_figure(h, "max_in_flight_per_candidate"), 1);
    daemon_stop(h, daemons[0]);
    daemon_stop(h, daemons[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(nine_samples_become_one_right_record),
        E2E_RUN(the_order_of_arrival_means_nothing),
        E2E_RUN(an_identity_that_comes_later),
        E2E_RUN(a_workflow_without_a_mapping_is_shown_and_touches_nothing),
        E2E_RUN(a_crowd_that_was_stored_is_worked_through_at_once),
        E2E_RUN(failed_criteria_reject),
        E2E_RUN(a_stage_that_was_passed_through_meanwhile),
        E2E_RUN(a_stage_that_was_passed_through_is_told_of_later),
        E2E_RUN(what_waits_for_a_connector_is_seen),
        E2E_RUN(a_recruiters_own_move_is_not_undone),
        E2E_RUN(two_daemons_never_write_to_one_candidate_at_once),
    };

    return e2e_main(tests);
}
