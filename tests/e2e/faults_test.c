/* What breaks on the way, and that the record is right afterwards: every change there, every note once. */
#include <unistd.h>

#include "base/text.h"
#include "lib/db.h"
#include "lib/harness.h"

#define STATE_OF(candidate) "select sync_state from atsync.sync_status where candidate_external_id = '" candidate "'"
#define STAGE "jobs." E2E_JOB ".stage"

static void assert_one_note(struct harness *h, const char *candidate)
{
    assert_int_equal(json_count(json_of(h, ats_value(h, candidate, "notes"))), 1);
}

/* The whole record of a completed sample run, and nothing twice. */
static void wait_whole_record(struct harness *h, const char *candidate)
{
    wait_sql(h,
             arena_printf(h->arena, "select sync_state from atsync.sync_status where candidate_external_id = '%s'",
                          candidate),
             "synced");
    assert_string_equal(ats_value(h, candidate, STAGE), "\"Recruiter screen\"");
    assert_string_equal(ats_value(h, candidate, "tags"), "[\"popp-passed\"]");
    assert_string_equal(ats_value(h, candidate, "fields.nmc_pin_score"), "100");
    assert_one_note(h, candidate);
}

static bool one_is_pending(struct harness *h, void *arg)
{
    (void)arg;
    return ats_figure(h, "pending") == 1;
}

E2E_TEST(errors_500_are_repeated)
{
    struct program *d = daemon_start(h, NULL);

    ats_fault(h, "{\"action\":\"status\",\"status\":500,\"times\":4}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_whole_record(h, "ats_42");
    assert_string_equal(sql_text(h, "select count(*) from atsync.dead_writes"), "0");
    assert_int_equal(ats_figure(h, "faults"), 0);
    daemon_stop(h, d);
}

E2E_TEST(the_ats_is_away)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){
                                            .connector = E2E_CONNECTOR "retry: {base: 2s, cap: 2s, max_age: 1h}\n",
                                        });

    ats_stop(h);
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, STATE_OF("ats_42"), "retrying");
    wait_sql(h,
             "select concat_ws('|', pending_writes > 0, dead_writes, last_error <> '', next_attempt_at is not null, "
             "blocked_since is not null) from atsync.sync_status",
             "t|0|t|t|t");
    ats_start(h);
    wait_whole_record(h, "ats_42");
    assert_string_equal(sql_text(h, "select concat_ws('|', pending_writes, last_error is null, blocked_since is null) "
                                    "from atsync.sync_status"),
                        "0|t|t");
    daemon_stop(h, d);
}

E2E_TEST(killed_right_after_the_200)
{
    struct program *d = daemon_start(h, NULL);

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    daemon_kill(h, d);
    daemon_start_again(h, d);
    wait_whole_record(h, "ats_42");
    daemon_stop(h, d);
}

/* The ATS has made the change, the daemon will never read the answer. */
E2E_TEST(killed_between_intent_and_result)
{
    struct program *d = daemon_start(h, NULL);

    ats_fault(h, "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/notes\"},\"action\":\"delay\",\"delay_ms\":-1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_until(h, one_is_pending, NULL, "the note is with the ATS");
    assert_one_note(h, "ats_42");
    daemon_kill(h, d);
    ats_control(h, "POST", "/_sandbox/release", NULL);
    daemon_start_again(h, d);
    wait_whole_record(h, "ats_42");
    assert_true(ats_calls(h, "ats_42", "GET", "/notes") >= 1); /* it looked before it repeated */
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 1);
    daemon_stop(h, d);
}

/* The other half of the same: the note had not been written. */
E2E_TEST(killed_before_the_ats_did_anything)
{
    struct program *d = daemon_start(h, NULL);

    ats_fault(h, "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/notes\"},\"action\":\"hang\"}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_until(h, one_is_pending, NULL, "the note is with the ATS");
    daemon_kill(h, d);
    daemon_start_again(h, d);
    wait_whole_record(h, "ats_42");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 2);
    daemon_stop(h, d);
}

E2E_TEST(whatever_happens_to_the_answer_the_note_is_there_once)
{
    static const char *const actions[] = {"reset_before", "reset_after", "hang", "garbage", "half", "html"};
    struct program *d = daemon_start(
        h, &(struct daemon_conf){
               .connector =
                   "rate_limit: 1000/1s\nconcurrency: 8\ntimeout: 500ms\nallow_private_addresses: true\n" E2E_RETRY,
           });

    for (size_t i = 0; i < ATS_COUNT(actions); i++) {
        const char *candidate = arena_printf(h->arena, "ats_%s", actions[i]);

        print_message("case: %s\n", actions[i]);
        ats_fault(h, arena_printf(h->arena,
                                  "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/%s/notes\"},\"action\":\"%s\"}",
                                  candidate, actions[i]));
        popp_deliver(
            h, d,
            popp_event(h, "run-completed", "candidate", candidate, "run", arena_printf(h->arena, "run_%zu", i), NULL));
        wait_whole_record(h, candidate);
        assert_int_equal(ats_figure(h, "faults"), 0);
    }
    daemon_stop(h, d);
}

/* A connector that others wrote. */
static struct program *start_with(struct harness *h, const char *type, const char *connector)
{
    const char *link = arena_printf(h->arena, "%s/connectors", h->dir);

    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(TEST_SOURCE_DIR "/tests/e2e/connectors", link), 0);
    return daemon_start(
        h, &(struct daemon_conf){
               .type = type,
               .connector = connector,
               .delivery = "lease: 1m\npoll: 200ms\n",
               .workflows = "cedar-rgn-screening:\n  connector: sandbox\n  on:\n    finished: {note: summary}\n"});
}

static void end_with(struct harness *h, struct program *d)
{
    const char *link = arena_printf(h->arena, "%s/connectors", h->dir);

    daemon_stop(h, d);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(TEST_SOURCE_DIR "/conf/connectors", link), 0);
}

/* An answer that nobody understands may be that of a note that is there, also when what was looked up for it may be old. */
E2E_TEST(a_note_behind_a_kept_lookup_is_there_once)
{
    struct program *d = start_with(h, "keeping", E2E_CONNECTOR E2E_RETRY);

    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_42", "run", "run_42", NULL));
    wait_sql(h, STATE_OF("ats_42"), "synced");
    ats_fault(h, "{\"match\":{\"candidate\":\"ats_43\",\"method\":\"POST\"},\"action\":\"html\",\"times\":1,"
                 "\"apply\":true}");
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_43", "run", "run_43", NULL));
    wait_sql(h, STATE_OF("ats_43"), "synced");
    assert_one_note(h, "ats_42");
    assert_one_note(h, "ats_43");
    end_with(h, d);
}

/* The daemon ends between the two requests that a note takes. */
E2E_TEST(a_note_of_two_requests_is_there_once)
{
    struct program *d =
        start_with(h, "two-step", "rate_limit: 1/3s\ntimeout: 5s\nallow_private_addresses: true\n" E2E_RETRY);

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_ats_calls(h, "ats_42", "POST", "notes", 1);
    daemon_stop(h, d);
    assert_string_equal(
        sql_text(h, "select concat_ws('|', state, uncertain) from atsync.ats_write where kind = 'note'"), "pending|t");
    daemon_start_again(h, d);
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_one_note(h, "ats_42");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "notes"), 1);
    end_with(h, d);
}

E2E_TEST(retry_after_is_obeyed)
{
    struct program *d = daemon_start(h, NULL);
    const struct json *log, *last = NULL;
    int64_t throttled_ms = -1, next_ms = -1;

    ats_fault(h, "{\"action\":\"status\",\"status\":429,\"headers\":{\"Retry-After\":\"2\"},\"times\":1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_whole_record(h, "ats_42");
    log = json_of(h, ats_get(h, "/_sandbox/log?candidate=ats_42"));
    for (const struct json *e = json_first(log); e != NULL && next_ms < 0; e = json_next(e)) {
        int64_t status = 0;

        assert_true(json_get_i64(e, "status", &status));
        if (last != NULL)
            assert_true(json_get_i64(e, "at_ms", &next_ms));
        if (status == 429) {
            assert_true(json_get_i64(e, "at_ms", &throttled_ms));
            last = e;
        }
    }
    assert_true(throttled_ms >= 0 && next_ms >= 0);
    assert_in_range(next_ms - throttled_ms, 1900, DEADLINE_MS);
    daemon_stop(h, d);
}

/* What the ATS will never take is dead at once; the candidate's other writes and other candidates go on. */
E2E_TEST(one_bad_write_does_not_stop_the_others)
{
    struct program *d = daemon_start(h, NULL);

    ats_fault(
        h,
        "{\"match\":{\"method\":\"PATCH\",\"candidate\":\"ats_42\"},\"action\":\"status\",\"status\":422,\"times\":-1,"
        "\"body\":\"{\\\"error\\\":\\\"nmc_pin_score is not a field\\\"}\"}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", NULL));
    wait_whole_record(h, "ats_7");
    wait_sql(h, STATE_OF("ats_42"), "dead");
    assert_string_equal(ats_value(h, "ats_42", STAGE), "\"Recruiter screen\"");
    assert_string_equal(ats_value(h, "ats_42", "tags"), "[\"popp-passed\"]");
    assert_one_note(h, "ats_42");
    assert_string_equal(
        sql_text(h, "select concat_ws('|', count(*) > 0, min(http_status), min(kind), bool_and(error <> '')) "
                    "from atsync.dead_writes where candidate_external_id = 'ats_42'"),
        "t|422|field|t");
    wait_sql(h, "select count(*) > 0 from atsync.issues where closed_at is null and connector = 'sandbox'", "true");
    daemon_stop(h, d);
}

E2E_TEST(the_database_restarts)
{
    struct program *d = daemon_start(h, NULL);

    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_ats(h, "ats_42", STAGE, "\"Contacted\"");
    pg_stop(h, "fast");
    pg_start(h);
    daemon_wait_ready(h, d);
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_whole_record(h, "ats_42");
    daemon_stop(h, d);
}

/* The call was made, its result could not be recorded while the database was away. */
E2E_TEST(the_database_crashes_during_a_call)
{
    struct program *d = daemon_start(h, NULL);

    ats_fault(h, "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/notes\"},\"action\":\"delay\",\"delay_ms\":-1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_until(h, one_is_pending, NULL, "the note is with the ATS");
    pg_stop(h, "immediate");
    ats_control(h, "POST", "/_sandbox/release", NULL);
    pg_start(h);
    wait_whole_record(h, "ats_42");
    daemon_stop(h, d);
}

/* Who tells a workflow's name first is recorded before the calls, because others wait for it: somebody else tells it here. */
static void tell_name(struct harness *h, struct program *d)
{
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_1", "run", "run_1", NULL));
    wait_sql(h, STATE_OF("ats_1"), "synced");
}

/* Its answer waits for /_sandbox/release. */
static void hold_first_stage(struct harness *h, struct program *d)
{
    ats_fault(h, "{\"match\":{\"method\":\"PUT\",\"path_contains\":\"/stage\"},\"action\":\"delay\",\"delay_ms\":-1}");
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_until(h, one_is_pending, NULL, "the stage is with the ATS");
}

/* A first value needs no intent: nothing is known of it when the daemon ends, and it is sent once more. */
E2E_TEST(killed_while_a_first_value_is_sent)
{
    struct program *d = daemon_start(h, NULL);

    tell_name(h, d);
    hold_first_stage(h, d);
    daemon_kill(h, d);
    ats_control(h, "POST", "/_sandbox/release", NULL);
    daemon_start_again(h, d);
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_string_equal(ats_value(h, "ats_42", STAGE), "\"Contacted\"");
    assert_string_equal(
        sql_text(h, "select concat_ws('|', state, rev, uncertain) from atsync.ats_write where ref = 'x:ats_42'"),
        "applied|1|f");
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 2);
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_whole_record(h, "ats_42");
    daemon_stop(h, d);
}

/* What its plan says is recorded with the result; when that is long in coming, before it. */
E2E_TEST(a_run_shows_while_its_first_call_takes_long)
{
    struct program *d = daemon_start(h, NULL);

    tell_name(h, d);
    hold_first_stage(h, d);
    wait_sql(h,
             "select concat_ws('|', run_state, sync_state) from atsync.sync_status where candidate_external_id = "
             "'ats_42' and run_id is not null",
             "running|in_progress");
    assert_string_equal(sql_text(h, "select sending like '1 stage %' from atsync.candidate where ref = 'x:ats_42'"),
                        "true");
    assert_int_equal(ats_figure(h, "pending"), 1);
    ats_control(h, "POST", "/_sandbox/release", NULL);
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_string_equal(sql_text(h, "select coalesce(sending, 'nothing') from atsync.candidate where ref = 'x:ats_42'"),
                        "nothing");
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    daemon_stop(h, d);
}

#define NOTED "select coalesce(string_agg(what || ' ' || durability, ', ' order by id), '') from noted"

/*
 * What a crash of the server may undo (off) and what not. Should it forget a claim, the next one would get the same number, and who sends under the first
 * would not be told from it; should it forget an intent or a note, the note would come twice.
 */
E2E_TEST(what_must_not_be_forgotten_waits_for_the_disk)
{
    struct program *d = daemon_start(h, NULL);

    tell_name(h, d);
    sql_script(h, "create table noted (id serial, what text, durability text)");
    sql_script(
        h,
        "create function note() returns trigger language plpgsql as $$ begin insert into noted (what, durability) "
        "values "
        "(case when new.lease_no > old.lease_no then 'claim' when new.lease_owner is null then 'result' else 'intent' "
        "end, current_setting('synchronous_commit')); return new; end $$");
    sql_script(h,
               "create trigger note after update on atsync.candidate for each row when (new.lease_no > old.lease_no or "
               "old.lease_owner is not null) execute function note()");
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_sql(h, NOTED, "claim on, result off"); /* a first value */
    sql_script(h, "delete from noted");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, NOTED, "claim on, intent on, result on"); /* with a note */
    daemon_stop(h, d);
}

/* In a transaction without an end of its own. */
static void hold_row(struct harness *h, struct db *other, const char *ref)
{
    const char *begin =
        arena_printf(h->arena, "begin; update atsync.candidate set attempts = attempts where ref = '%s'", ref);
    struct errmsg err;

    assert_int_equal(db_script(other, "begin", begin, &err), ST_OK);
}

static void let_go(struct db *other)
{
    struct errmsg err;

    assert_int_equal(db_script(other, "rollback", "rollback", &err), ST_OK);
}

/*
 * Somebody has changed a candidate in work by hand, and not committed. Its result waits for that, all others go on, leases are renewed, and what was told
 * to the ATS is not told again.
 */
E2E_TEST(an_open_transaction_keeps_one_result_waiting)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "lease: 1m\npoll: 200ms\n"});
    struct db *other = db_new(h->conninfo, "psql");

    ats_fault(h, "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/notes\"},\"action\":\"delay\",\"delay_ms\":-1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_until(h, one_is_pending, NULL, "the note is with the ATS");
    hold_row(h, other, "x:ats_42");
    ats_control(h, "POST", "/_sandbox/release", NULL);
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_8", "run", "run_8", NULL));
    wait_whole_record(h, "ats_7");
    wait_whole_record(h, "ats_8");
    wait_log(h, d, "a result is not recorded yet: another database session holds its candidate's row");
    assert_true(text_has(program_log(h, d), ", psql, role "));
    assert_string_equal(sql_text(h, "select lease_owner is not null from atsync.candidate where ref = 'x:ats_42'"),
                        "true");
    let_go(other);
    wait_whole_record(h, "ats_42");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 1);
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    assert_string_equal(sql_text(h, "select lease_no from atsync.candidate where ref = 'x:ats_42'"), "1");
    db_free(other);
    daemon_stop(h, d);
}

/*
 * The same for longer than a lease, which cannot be renewed: its job sends nothing more and is let go, whoever claims the candidate then finds out what was done, and the
 * daemon ends as always.
 */
E2E_TEST(an_open_transaction_that_outlasts_a_lease)
{
    struct program *d =
        daemon_start(h, &(struct daemon_conf){.delivery = "lease: 6s\npoll: 200ms\n",
                                              .connector = E2E_RETRY "timeout: 30s\nallow_private_addresses: true\n"});
    struct db *other = db_new(h->conninfo, "psql");

    ats_fault(h, "{\"match\":{\"method\":\"PUT\",\"path_contains\":\"/stage\"},\"action\":\"delay\",\"delay_ms\":-1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_until(h, one_is_pending, NULL, "the stage is with the ATS");
    hold_row(h, other, "x:ats_42");
    wait_sql(h, "select lease_until < now() from atsync.candidate where ref = 'x:ats_42'", "true");
    ats_control(h, "POST", "/_sandbox/release", NULL);
    wait_log(h, d, "a result was not recorded: another database session still holds its candidate's row");
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 0);
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", NULL));
    wait_whole_record(h, "ats_7");
    let_go(other);
    wait_whole_record(h, "ats_42");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 1);

    /* held when the daemon is to end */
    ats_fault(h, "{\"match\":{\"method\":\"PUT\",\"path_contains\":\"/stage\"},\"action\":\"delay\",\"delay_ms\":-1}");
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_9", "run", "run_9", NULL));
    wait_until(h, one_is_pending, NULL, "the stage is with the ATS");
    hold_row(h, other, "x:ats_9");
    ats_control(h, "POST", "/_sandbox/release", NULL);
    daemon_stop(h, d); /* exit status 0 */
    let_go(other);
    daemon_start_again(h, d);
    wait_sql(h, STATE_OF("ats_9"), "synced");
    db_free(other);
    daemon_stop(h, d);
}

E2E_TEST(sigterm_lets_the_call_finish)
{
    struct program *d = daemon_start(h, NULL);

    ats_fault(h,
              "{\"match\":{\"method\":\"PUT\",\"path_contains\":\"/stage\"},\"action\":\"delay\",\"delay_ms\":1000}");
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_until(h, one_is_pending, NULL, "the stage is with the ATS");
    daemon_stop(h, d); /* exit status 0 */
    assert_int_equal(ats_figure(h, "pending"), 0);
    assert_string_equal(ats_value(h, "ats_42", STAGE), "\"Contacted\"");
    assert_string_equal(sql_text(h, STATE_OF("ats_42")), "synced");
    daemon_start_again(h, d);
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_whole_record(h, "ats_42");
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 2); /* Contacted, Recruiter screen: none repeated */
    daemon_stop(h, d);
}

E2E_TEST(another_daemon_takes_over_within_a_lease)
{
    struct program *one = daemon_start(h, NULL);
    struct program *two;

    ats_fault(h, "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/notes\"},\"action\":\"delay\",\"delay_ms\":-1}");
    popp_deliver(h, one, popp_event(h, "run-completed", NULL));
    wait_until(h, one_is_pending, NULL, "the note is with the ATS");
    two = daemon_start(h, &(struct daemon_conf){.instance = "two"});
    daemon_kill(h, one);
    ats_control(h, "POST", "/_sandbox/release", NULL);
    wait_whole_record(h, "ats_42");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 1);
    daemon_stop(h, two);
}

/* Older daemons must not write what the newer release's tables no longer mean. */
E2E_TEST(a_newer_release_migrates_under_a_running_daemon)
{
    struct program *d = daemon_start(h, NULL);

    sql_script(h, "insert into atsync.schema_version (version, name, breaking) values (900, '900_more', false)");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_whole_record(h, "ats_42");
    sql_script(h, "insert into atsync.schema_version (version, name, breaking) values (901, '901_other', true)");
    assert_int_equal(program_wait(h, d), 1);
    assert_non_null(strstr(program_log(h, d), "install the newer release"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(errors_500_are_repeated),
        E2E_RUN(the_ats_is_away),
        E2E_RUN(a_newer_release_migrates_under_a_running_daemon),
        E2E_RUN(killed_right_after_the_200),
        E2E_RUN(killed_between_intent_and_result),
        E2E_RUN(killed_before_the_ats_did_anything),
        E2E_RUN(whatever_happens_to_the_answer_the_note_is_there_once),
        E2E_RUN(a_note_behind_a_kept_lookup_is_there_once),
        E2E_RUN(a_note_of_two_requests_is_there_once),
        E2E_RUN(retry_after_is_obeyed),
        E2E_RUN(one_bad_write_does_not_stop_the_others),
        E2E_RUN(the_database_restarts),
        E2E_RUN(the_database_crashes_during_a_call),
        E2E_RUN(killed_while_a_first_value_is_sent),
        E2E_RUN(a_run_shows_while_its_first_call_takes_long),
        E2E_RUN(what_must_not_be_forgotten_waits_for_the_disk),
        E2E_RUN(an_open_transaction_keeps_one_result_waiting),
        E2E_RUN(an_open_transaction_that_outlasts_a_lease),
        E2E_RUN(sigterm_lets_the_call_finish),
        E2E_RUN(another_daemon_takes_over_within_a_lease),
    };

    return e2e_main(tests);
}
