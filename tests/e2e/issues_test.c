/* What people are told when something outside is wrong: in the words of the matter, with what to do, and only as long as it is so. */
#include <signal.h>

#include "base/clock.h"
#include "base/text.h"
#include "domain/signature.h"
#include "lib/harness.h"

#define OPEN(class) "select message from atsync.issues where closed_at is null and class = '" class "'"
#define HINT(class) "select hint from atsync.issues where closed_at is null and class = '" class "'"
#define NUMBER_OPEN(class) "select count(*) from atsync.issues where closed_at is null and class = '" class "'"
#define SYNC_STATE "select sync_state from atsync.sync_status where candidate_external_id = 'ats_42'"
/* As if so much time had passed that nobody's word of before counts any more. */
#define TIME_PASSES "update atsync.issue set hold_until = now()"
#define STAMPED                                                                                                        \
    "signing_secrets: [\"" E2E_SECRET "\"]\nsignature: {scheme: timestamped, header: x-signature, tolerance: 5m}\n"
#define BY_NTP "chrony or systemd-timesyncd"

/* As a sender does whose clock is wrong by so much. */
static int post_stamped(struct harness *h, const struct program *d, const char *secret, int64_t ahead_s)
{
    const char *body = popp_event(h, "run-started", NULL);
    const struct signature_config config = {
        .scheme = SIGNATURE_TIMESTAMPED, .header = "x-signature", .secrets = &secret, .secret_count = 1};
    struct signature_verifier *v = NULL;
    struct signature_headers signature;
    struct errmsg err = {""};
    const char *headers;

    if (signature_verifier_new(&config, &v, &err) != ST_OK)
        fail_msg("%s", err.text);
    signature_sign(v, NULL, body, strlen(body), clock_wall_us() + ahead_s * 1000000, &signature);
    headers =
        arena_printf(h->arena, "Content-Type: application/json\r\nx-signature: %s\r\n", signature.header[0].value);
    signature_headers_free(&signature);
    signature_verifier_free(v);
    return http_call(h, d->port, "POST", "/webhooks/popp", headers, body, strlen(body)).status;
}

E2E_TEST(a_sender_whose_clock_is_wrong)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.source = STAMPED});

    for (int i = 0; i < 5; i++)
        assert_int_equal(post_stamped(h, d, E2E_SECRET, -3600), 401);
    wait_sql(
        h, OPEN("clock_skew"),
        "Webhooks of source popp are refused: their signature is right, but the sender's clock is 60 minutes behind "
        "this machine's, which is more than the tolerance.");
    assert_true(text_has(sql_text(h, HINT("clock_skew")), BY_NTP));
    assert_string_equal(sql_text(h, NUMBER_OPEN("signatures")), "0");
    for (int i = 0; i < 6; i++) /* its clock was set */
        assert_int_equal(post_stamped(h, d, E2E_SECRET, 0), 200);
    sql_script(h, TIME_PASSES);
    wait_sql(h, OPEN("clock_skew"), NULL);
    daemon_stop(h, d);
}

/* Of the time in a request that somebody else has signed nothing is concluded. */
E2E_TEST(a_wrong_secret_is_no_wrong_clock)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.source = STAMPED});

    for (int i = 0; i < 5; i++)
        assert_int_equal(post_stamped(h, d, "somebody else's secret", -3600), 401);
    wait_sql(h, OPEN("signatures"), "Webhooks of source popp are refused because their signature is wrong.");
    assert_string_equal(sql_text(h, NUMBER_OPEN("clock_skew")), "0");
    daemon_stop(h, d);
}

E2E_TEST(events_from_the_future)
{
    struct program *d = daemon_start(h, NULL);
    const char *in_an_hour = time_iso8601(clock_wall_us() + INT64_C(3660) * 1000000).s;

    for (int i = 0; i < 5; i++)
        popp_deliver(h, d,
                     popp_event(h, "run-started", "eventTimestamp", in_an_hour, "data.timestamp", in_an_hour, NULL));
    wait_sql(
        h, OPEN("clock_skew"),
        "Events of source popp are said to have happened in the future: 61 minutes ahead of this machine's clock.");
    daemon_stop(h, d);
}

E2E_TEST(this_machine_s_clock_is_wrong)
{
    struct program *d;

    shift_clock(-3000);
    d = daemon_start(h, NULL);
    shift_clock(0);
    wait_sql(h, OPEN("clock_skew"),
             "The clock of the database is 50 minutes ahead of the clock of the machine that runs daemon one.");
    assert_true(text_has(sql_text(h, HINT("clock_skew")), BY_NTP));
    assert_true(text_has(sql_text(h, HINT("clock_skew")), "The order of writes is decided by the database's clock"));
    popp_deliver(h, d, popp_event(h, "run-completed", NULL)); /* and so it is */
    wait_sql(h, SYNC_STATE, "synced");
    daemon_stop(h, d);
    daemon_start_again(h, d);
    sql_script(h, TIME_PASSES);
    wait_sql(h, OPEN("clock_skew"), NULL);
    daemon_stop(h, d);
}

/* Some databases let nobody end sessions. It is said once, and problems are looked for all the same. */
E2E_TEST(a_role_that_may_not_end_sessions)
{
    struct program *d;

    sql_script(h, "do $$ begin execute (select 'revoke execute on function ' || oid::regprocedure || ' from public' "
                  "from pg_proc where proname = 'pg_terminate_backend'); end $$; create role limited_role login");
    sql_script(h,
               "do $$ begin execute format('grant create on database %I to limited_role', current_database()); end $$");
    d = daemon_start(h, &(struct daemon_conf){.access = "credentials: {token: \"an old token\"}\n",
                                              .conninfo = arena_printf(h->arena, "%s user=limited_role", h->conninfo)});
    wait_log(h, d, "the database role may not call pg_terminate_backend");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, NUMBER_OPEN("connector_paused"), "1");
    daemon_stop(h, d);
    assert_null(strstr(strstr(program_log(h, d), "pg_terminate_backend:") + 1, "pg_terminate_backend:"));
}

E2E_TEST(credentials_that_are_refused)
{
    struct daemon_conf conf = {.access = "credentials: {token: \"an old token\"}\n"};
    struct program *d = daemon_start(h, &conf);

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(
        h, OPEN("connector_paused"),
        "Plain REST API rejected the credentials of connector sandbox: the bearer token is missing or wrong. Connector "
        "sandbox is stopped; 1 candidate waits.");
    assert_string_equal(sql_text(h, HINT("connector_paused")),
                        "Look whether the credentials are still good, and make new ones if not. token: the bearer "
                        "token of the API. Put them under credentials in connectors.sandbox and reload (systemctl "
                        "reload atsyncd or kill -HUP): it goes on by itself then. If it was put right in the ATS "
                        "instead: atsyncctl resume sandbox.");
    conf.access = NULL;
    daemon_rewrite_conf(h, d, &conf);
    (void)kill(d->pid, SIGHUP);
    wait_sql(h, SYNC_STATE, "synced");
    wait_sql(h, OPEN("connector_paused"), NULL);
    daemon_stop(h, d);
}

E2E_TEST(a_permission_that_is_missing)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;

    ats_fault(h, "{\"action\":\"status\",\"status\":403,\"times\":-1,\"body\":\"{\\\"code\\\":403}\"}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(
        h, OPEN("connector_paused"),
        "Plain REST API does not permit connector sandbox to do its work. Connector sandbox is stopped; 1 candidate "
        "waits.");
    assert_true(text_starts(sql_text(h, HINT("connector_paused")),
                            "Permit it to the owner of the credentials, then atsyncctl resume sandbox; atsyncctl "
                            "connectors rest tells what is needed."));
    ats_control(h, "DELETE", "/_sandbox/fault", NULL);
    assert_int_equal(program_run(h, &output, "atsyncctl", "-c", d->conf_path, "resume", "sandbox", NULL), 0);
    wait_sql(h, SYNC_STATE, "synced");
    wait_sql(h, OPEN("connector_paused"), NULL);
    daemon_stop(h, d);
}

struct reloads {
    const struct program *d;
    unsigned count;
};

static bool has_reloaded(struct harness *h, void *arg)
{
    const struct reloads *r = arg;

    return text_count(program_log(h, r->d), "configuration reloaded") == r->count;
}

static void reload(struct harness *h, const struct program *d, unsigned times_so_far)
{
    struct reloads wanted = {d, times_so_far + 1};

    (void)kill(d->pid, SIGHUP);
    wait_until(h, has_reloaded, &wanted, "the configuration has been reloaded");
}

#define MAPPING(stage)                                                                                                 \
    "cedar-rgn-screening:\n  connector: sandbox\n  job: \"" E2E_JOB "\"\n  on:\n    started: {stage: \"" stage "\"}\n"
/* A redirect that is not followed is taken for a wrong configuration; a connector that looks stages up says the same. */
#define NO_SUCH_STAGE                                                                                                  \
    "{\"match\":{\"body_contains\":\"Contcated\"},\"action\":\"status\",\"status\":300,\"times\":-1,"                  \
    "\"body\":\"{\\\"error\\\":\\\"there is no stage \\\\\\\"Contcated\\\\\\\"; it has: Contacted, Offer.\\\"}\"}"
#define NO_SUCH_STAGE_ISSUE                                                                                            \
    "Connector sandbox cannot set stage \"Contcated\" for 1 candidate of workflow cedar-rgn-screening: there is no "   \
    "stage \"Contcated\"; it has: Contacted, Offer."

/* Then at least what it did is told. */
E2E_TEST(an_ats_that_gives_no_reason)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.workflows = MAPPING("Contacted")});

    ats_fault(h, "{\"match\":{\"method\":\"PUT\",\"path_contains\":\"/"
                 "stage\"},\"action\":\"status\",\"status\":422,\"body\":\"\"}");
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_sql(h, SYNC_STATE, "dead");
    assert_string_equal(sql_text(h, "select error from atsync.dead_writes"),
                        "the ATS answered HTTP 422, without a reason that could be read");
    wait_sql(h, "select last_error from atsync.sync_status where candidate_external_id = 'ats_42'",
             "the ATS answered HTTP 422, without a reason that could be read");
    daemon_stop(h, d);
}

/* The two ways out that the hint names: in the configuration, and in the ATS. */
E2E_TEST(a_stage_that_the_ats_does_not_have)
{
    struct daemon_conf conf = {.workflows = MAPPING("Contcated")};
    struct program *d = daemon_start(h, &conf);
    const char *output = NULL;

    ats_fault(h, NO_SUCH_STAGE);
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_sql(h, OPEN("dead_writes"), NO_SUCH_STAGE_ISSUE);
    assert_string_equal(sql_text(h, HINT("dead_writes")),
                        "Correct it in workflows.cedar-rgn-screening (or in the settings of connectors.sandbox) to "
                        "what the ATS has, and reload (systemctl reload atsyncd or kill -HUP): the writes are tried "
                        "again by themselves. If it was made in the ATS instead: atsyncctl retry --connector sandbox.");
    conf.workflows = MAPPING("Contacted");
    daemon_rewrite_conf(h, d, &conf);
    reload(h, d, 0);
    wait_ats(h, "ats_42", "jobs." E2E_JOB ".stage", "\"Contacted\"");
    wait_sql(h, OPEN("dead_writes"), NULL);

    conf.workflows = MAPPING("Contcated");
    daemon_rewrite_conf(h, d, &conf);
    reload(h, d, 1);
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL));
    wait_sql(h, OPEN("dead_writes"), NO_SUCH_STAGE_ISSUE);
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_8", "run", "run_8", NULL));
    wait_sql(h, "select count(*) from atsync.dead_writes", "2");
    assert_int_equal(ats_calls(h, "ats_8", NULL, NULL), 0); /* it would have failed for the same reason */
    ats_control(h, "DELETE", "/_sandbox/fault", NULL);      /* now it has the stage */
    assert_int_equal(
        program_run(h, &output, "atsyncctl", "-c", d->conf_path, "retry", "--connector", "sandbox", "--yes", NULL), 0);
    wait_ats(h, "ats_7", "jobs." E2E_JOB ".stage", "\"Contcated\"");
    wait_ats(h, "ats_8", "jobs." E2E_JOB ".stage", "\"Contcated\"");
    wait_sql(h, OPEN("dead_writes"), NULL);
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_sender_whose_clock_is_wrong),
        E2E_RUN(a_wrong_secret_is_no_wrong_clock),
        E2E_RUN(events_from_the_future),
        E2E_RUN(this_machine_s_clock_is_wrong),
        E2E_RUN(a_role_that_may_not_end_sessions),
        E2E_RUN(credentials_that_are_refused),
        E2E_RUN(a_permission_that_is_missing),
        E2E_RUN(an_ats_that_gives_no_reason),
        E2E_RUN(a_stage_that_the_ats_does_not_have),
    };

    return e2e_main(tests);
}
