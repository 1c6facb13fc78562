/* What people are told when something outside is wrong: in the words of the matter, with what to do, and only as long as it is so. */
#include <signal.h>

#include "base/text.h"
#include "lib/harness.h"

#define OPEN(class) "select message from atsync.issues where closed_at is null and class = '" class "'"
#define HINT(class) "select hint from atsync.issues where closed_at is null and class = '" class "'"
#define SYNC_STATE "select sync_state from atsync.sync_status where candidate_external_id = 'ats_42'"

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
                        "token of the API. Put "
                        "them under credentials in connectors.sandbox and reload (systemctl reload atsyncd or kill "
                        "-HUP): it goes on by "
                        "itself then. If it was put right in the ATS instead: atsyncctl resume sandbox.");
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
                        "what the ATS has, and "
                        "reload (systemctl reload atsyncd or kill -HUP): the writes are tried again by themselves. If "
                        "it was made in the "
                        "ATS instead: reload, then atsyncctl retry --connector sandbox.");
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
    ats_control(h, "DELETE", "/_sandbox/fault", NULL); /* now it has the stage */
    reload(h, d, 2);
    assert_int_equal(
        program_run(h, &output, "atsyncctl", "-c", d->conf_path, "retry", "--connector", "sandbox", "--yes", NULL), 0);
    wait_ats(h, "ats_7", "jobs." E2E_JOB ".stage", "\"Contcated\"");
    wait_sql(h, OPEN("dead_writes"), NULL);
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(credentials_that_are_refused),
        E2E_RUN(a_permission_that_is_missing),
        E2E_RUN(a_stage_that_the_ats_does_not_have),
    };

    return e2e_main(tests);
}
