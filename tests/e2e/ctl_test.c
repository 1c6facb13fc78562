/* What an operator does with atsyncctl, against a real database and the daemon. */
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "lib/ctlkit.h"

enum { TEXT_MAX_BYTES = 1024 * 1024 };

#define STATE_OF(candidate) "select sync_state from atsync.sync_status where candidate_external_id = '" candidate "'"
#define STAGE "jobs." E2E_JOB ".stage"
#define DELIVERY_OFF "enabled: false\nlease: 2s\npoll: 200ms\n"
#define GOLDEN TEST_SOURCE_DIR "/tests/e2e/plan.golden"

/* ---- files */

static const char *read_text(struct harness *h, const char *path)
{
    struct buf b;
    FILE *f = fopen(path, "re");
    int ch;
    const char *copy;

    if (f == NULL)
        fail_msg("cannot read %s: %s", path, strerror(errno));
    buf_init(&b, TEXT_MAX_BYTES);
    while ((ch = getc(f)) != EOF)
        buf_putc(&b, (char)ch);
    (void)fclose(f);
    copy = arena_strdup(h->arena, buf_text(&b));
    buf_free(&b);
    return copy;
}

static const char *new_conf(struct harness *h, const struct program *d, const char *from, const char *to)
{
    const char *text = read_text(h, d->conf_path);
    const char *at = strstr(text, from);
    char *path = arena_printf(h->arena, "%s/new.conf", h->dir);
    FILE *f = fopen(path, "we");

    assert_non_null(at);
    assert_non_null(f);
    assert_int_equal(fchmod(fileno(f), 0600), 0);
    fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_int_equal(fclose(f), 0);
    return path;
}

/* ---- plan */

static const char *const samples[] = {
    "published",   "contact-resolution-failed",  "run-failed",     "run-cancelled", "contact-resolved",
    "run-started", "contact-resolution-skipped", "node-completed", "run-completed",
};

static void deliver_samples(struct harness *h, struct program *d)
{
    for (size_t i = 0; i < ATS_COUNT(samples); i++) {
        const char *id = arena_printf(h->arena, "evt_%zu_%s", i + 1, samples[i]);

        popp_deliver(h, d, popp_event(h, samples[i], "eventId", id, NULL));
    }
}

/* Everything that a dry run must leave alone. */
static const char *footprint(struct harness *h)
{
    return sql_text(
        h, "select concat_ws('|', (select count(*) from atsync.event), (select count(*) from atsync.ats_write),"
           " (select count(*) from atsync.ats_call), (select count(*) from atsync.run),"
           " (select count(*) from atsync.identity), (select md5(string_agg(c::text, ',' order by c::text))"
           " from atsync.candidate c))");
}

E2E_TEST(plan_of_the_nine_samples)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = DELIVERY_OFF});
    const char *output = NULL;
    const char *before;
    const struct json *changes;
    unsigned stages = 0;
    unsigned contacts = 0;

    deliver_samples(h, d);
    before = footprint(h);
    output = CTL(h, d, 0, "plan");
    assert_string_equal(output, read_text(h, GOLDEN));

    output = CTL(h, d, 0, "plan", "--json");
    changes = json_of(h, output);
    assert_int_equal(json_count(changes), 11);
    for (const struct json *c = json_first(changes); c != NULL; c = json_next(c)) {
        assert_string_equal(json_get_str(c, "candidate"), "ats_42");
        assert_string_equal(json_get_str(c, "connector"), "sandbox");
        assert_string_equal(json_get_str(c, "workflow"), "cedar-rgn-screening");
        assert_string_equal(json_get_str(c, "step"), "write");
        assert_non_null(json_get_str(c, "event_id"));
        contacts += json_get_str(c, "run_id") == NULL;
        if (strcmp(json_get_str(c, "kind"), "stage") == 0) {
            stages++;
            assert_string_equal(json_get_str(c, "value"), "Recruiter screen");
            assert_string_equal(json_get_str(c, "reason"), "completed/PASSED_CRITERIA");
            assert_string_equal(json_get_str(c, "event_id"), "evt_9_run-completed");
            assert_string_equal(json_get_str(c, "event_type"), "WORKFLOW_RUN_COMPLETED");
        }
    }
    assert_int_equal(stages, 1);
    assert_int_equal(contacts, 1); /* one that failed is no run */

    output = CTL(h, d, 0, "plan", "--candidate", "nobody");
    assert_has(output, "0 candidates looked at: nothing to write.");
    output = CTL(h, d, 0, "plan", "--since", "2099-01-01T00:00:00Z");
    assert_has(output, "0 candidates looked at");
    /* options for all commands may stand behind the command too */
    assert_int_equal(
        program_run(h, &output, "atsyncctl", "plan", "--connector", "sandbox", "-c", d->conf_path, "--json", NULL), 0);
    assert_int_equal(json_count(json_of(h, output)), 11);

    assert_string_equal(footprint(h), before);
    assert_int_equal(ats_figure(h, "requests"), 0);

    /* and once it is done, nothing is left to do */
    daemon_stop(h, d);
    daemon_rewrite_conf(h, d, NULL);
    daemon_start_again(h, d);
    wait_sql(h, STATE_OF("ats_42"), "synced");
    output = CTL(h, d, 0, "plan");
    assert_string_equal(output, "1 candidate looked at: nothing to write; 11 there already.\n"
                                "No call was made and nothing was changed.\n");
    output = CTL(h, d, 0, "plan", "--candidate", "ats_42");
    assert_has(output, "  = stage \"Recruiter screen\", nothing to do\n");
    assert_int_equal(text_count(output, ", nothing to do\n"), 11);
    daemon_stop(h, d);
}

/* More than are looked at in one go. */
E2E_TEST(plan_of_many_candidates)
{
    enum { CANDIDATES = 205 };
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = DELIVERY_OFF});
    const char *output;

    for (unsigned i = 0; i < CANDIDATES; i++)
        popp_deliver(h, d,
                     popp_event(h, "run-started", "candidate", arena_printf(h->arena, "ats_%u", i), "run",
                                arena_printf(h->arena, "run_%u", i), NULL));
    output = CTL(h, d, 0, "plan", "--json");
    assert_int_equal(json_count(json_of(h, output)), CANDIDATES);
    for (unsigned i = 0; i < CANDIDATES; i++)
        assert_int_equal(text_count(output, arena_printf(h->arena, "\"candidate\":\"ats_%u\"", i)), 1);
    output = CTL(h, d, 0, "plan");
    assert_has(output, "\n205 candidates looked at: 205 writes (stage 205).\n");
    daemon_stop(h, d);
}

E2E_TEST(plan_with_a_new_configuration)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;
    const char *before;
    const char *path;

    popp_deliver(h, d, popp_event(h, "run-completed", "eventId", "evt_done", NULL));
    wait_sql(h, STATE_OF("ats_42"), "synced");
    before = footprint(h);

    path = new_conf(h, d, "Recruiter screen", "Phone screen");
    output = CTL(h, d, 0, "plan", "--config", path);
    assert_has(output, "ats_42 at sandbox (popp)\n"
                       "  + stage \"Phone screen\" (was \"Recruiter screen\"), only from \"Contacted\" or no stage\n"
                       "      cedar-rgn-screening completed/PASSED_CRITERIA (line ");
    assert_has(output, " of the new configuration); WORKFLOW_RUN_COMPLETED evt_done, ");
    assert_has(output, "\n\n1 candidate looked at: 1 write (stage 1).\n");
    assert_int_equal(text_count(output, "\n  + "), 1);

    output = CTL(h, d, 0, "plan", "--config", path, "--json");
    assert_string_equal(json_get_str(json_at(json_of(h, output), "0"), "before"), "Recruiter screen");

    /* the same file: nothing else would be written */
    output = CTL(h, d, 0, "plan", "--config", d->conf_path);
    assert_string_equal(output, "1 candidate looked at: the new configuration writes nothing else.\n"
                                "No call was made and nothing was changed.\n");

    /* another connector */
    path =
        new_conf(h, d, "workflows:\n  cedar-rgn-screening:\n    connector: sandbox\n",
                 "  second:\n    type: rest\n    credentials: {token: another}\n    base_url: \"http://127.0.0.1:9\"\n"
                 "    allow_private_addresses: true\nworkflows:\n  cedar-rgn-screening:\n    connector: second\n");
    output = CTL(h, d, 0, "plan", "--config", path);
    assert_has(output, "ats_42 at second (popp)\n");
    assert_has(output, "1 candidate looked at: 8 writes (field 5, tag 1, stage 1, note 1).\n");
    output = CTL(h, d, 0, "plan", "--config", path, "--connector", "second", "--json");
    assert_int_equal(json_count(json_of(h, output)), 8);

    /* a mapping less */
    path = new_conf(h, d, "  cedar-rgn-screening:\n", "  another-one:\n");
    output = CTL(h, d, 0, "plan", "--config", path);
    assert_has(output, "; runs without a mapping: 1.\n");

    /* checked like the daemon does */
    path =
        new_conf(h, d, "cedar-rgn-screening:\n    connector: sandbox", "cedar-rgn-screening:\n    connector: sandbx");
    output = CTL(h, d, 78, "plan", "--config", path);
    assert_has(output, "new.conf:");
    assert_has(output, "sandbox");

    assert_string_equal(footprint(h), before);
    daemon_stop(h, d);
}

E2E_TEST(plan_tells_dead_waiting_and_skipped)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;

    ats_fault(h, "{\"match\":{\"path_contains\":\"/notes\"},\"action\":\"status\",\"status\":422,\"times\":-1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, STATE_OF("ats_42"), "dead");
    output = CTL(h, d, 0, "plan");
    assert_has(output, "  ! note run_4a1e9c/completed: \"");
    assert_has(output, "\", dead until atsyncctl retry or skip: ");
    assert_has(output, "nothing to write; 7 there already; 1 dead.\n");
    output = CTL(h, d, 0, "skip", "--yes");
    output = CTL(h, d, 0, "plan");
    assert_has(output, "\", skipped: given up by an operator");
    assert_has(output, "; 1 skipped.\n");
    daemon_stop(h, d);

    /* a write that is tried again later, and is not wanted any more by another configuration */
    daemon_rewrite_conf(
        h, d, &(struct daemon_conf){.connector = E2E_CONNECTOR "retry: {base: 10m, cap: 20m, max_age: 1h}\n"});
    daemon_start_again(h, d);
    ats_fault(h, "{\"match\":{\"path_contains\":\"/stage\"},\"action\":\"status\",\"status\":500,\"times\":-1}");
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_9", "run", "run_9", NULL));
    wait_sql(h, STATE_OF("ats_9"), "retrying");
    output = CTL(h, d, 0, "plan", "--candidate", "ats_9");
    assert_has(output, "  ~ stage \"Contacted\", tried again at 20");
    assert_has(output, "; last time: ");
    output = CTL(h, d, 0, "plan", "--candidate", "ats_9", "--config",
                 new_conf(h, d, "started:                   {stage: \"Contacted\"}", "cancelled: {tags: [x]}"));
    assert_has(output, "  - stage \"Contacted\", not done and no longer wanted\n");
    assert_has(output, "; 1 no longer wanted.\n");
    daemon_stop(h, d);
}

/* A candidate's own words are data to a terminal too. */
E2E_TEST(foreign_text_does_not_reach_the_terminal_raw)
{
    static const char *const dangerous[] = {"\033", "\b", "\302\233", "\177", "\342\200\256"};
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = DELIVERY_OFF});
    const char *output = NULL;

    popp_deliver(h, d,
                 popp_event(h, "run-completed", "candidate", "ats\0332J", "data.nodes.0.outcome.answers.0.answer",
                            "\033[2Jgone \b\302\233 \177 \342\200\256 end", NULL));
    output = CTL(h, d, 0, "plan");
    for (size_t i = 0; i < ATS_COUNT(dangerous); i++)
        assert_has_not(output, dangerous[i]);
    assert_has(output, "ats\\x1B2J at sandbox");
    output = CTL(h, d, 0, "plan", "--json");
    for (size_t i = 0; i < ATS_COUNT(dangerous); i++)
        assert_has_not(output, dangerous[i]);
    assert_has(output, "\\u009b");
    assert_true(json_count(json_of(h, output)) > 0);
    daemon_stop(h, d);
}

/* ---- link */

E2E_TEST(link_by_hand)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;

    popp_deliver(h, d,
                 popp_event(h, "run-completed", "candidate", "ats_9", "run", "run_9",
                            "data.candidateProfileExternalId:", "null", NULL));
    popp_deliver(
        h, d,
        popp_event(h, "contact-resolution-failed", "data.recordId", "contact_77", "data.externalId:", "null", NULL));
    wait_sql(h, "select count(*) from atsync.candidate where state = 'waiting_for_identity'", "2");
    output = CTL(h, d, 0, "status", "p:cp_ats_9");
    assert_has(output, "\twaiting_for_identity\t");

    output = CTL(h, d, 0, "link", "--profile", "cp_ats_9", "--external-id", "ats_9");
    assert_string_equal(output, "p:cp_ats_9 is ats_9: what waited for that is synced now.\n");
    wait_ats(h, "ats_9", STAGE, "\"Recruiter screen\"");
    wait_sql(h, STATE_OF("ats_9"), "synced");

    output = CTL(h, d, 0, "link", "--contact", "contact_77", "--external-id", "ats_50", "--source", "popp", "--json");
    assert_string_equal(output,
                        "{\"source\":\"popp\",\"alias\":\"c:contact_77\",\"external_id\":\"ats_50\",\"waited\":1}\n");
    wait_ats(h, "ats_50", "tags", "[\"unreachable\"]");
    wait_sql(h, "select count(*) from atsync.candidate where state = 'waiting_for_identity'", "0");

    /* before its events come */
    output = CTL(h, d, 0, "link", "--run", "run_60", "--external-id", "ats_60");
    assert_string_equal(output, "r:run_60 is ats_60: nothing waits for it yet, its next event will use it.\n");
    popp_deliver(h, d,
                 popp_event(h, "run-completed", "run", "run_60", "data.candidateProfileExternalId:", "null",
                            "data.candidateProfileId:", "null", NULL));
    wait_ats(h, "ats_60", STAGE, "\"Recruiter screen\"");

    output = CTL(h, d, 2, "link", "--external-id", "ats_9");
    assert_has(output, "atsyncctl link: say who it is with one of --profile ID, --run ID, --contact ID\n");
    output = CTL(h, d, 2, "link", "--run", "r", "--profile", "p", "--external-id", "x");
    output = CTL(h, d, 2, "link", "--run", "r");
    assert_has(output, "--external-id X");
    output = CTL(h, d, 2, "link", "--run", "r", "--external-id", "x", "--source", "pop");
    assert_has(output, "the configuration has no source \"pop\", did you mean popp?\n");
    daemon_stop(h, d);
}

/* ---- retry, skip, resync */

E2E_TEST(dead_writes_are_retried_or_given_up)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;
    struct child c;

    ats_fault(h, "{\"match\":{\"path_contains\":\"/stage\"},\"action\":\"status\",\"status\":422,\"times\":2}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", NULL));
    wait_sql(h, "select count(*) from atsync.dead_writes", "2");
    wait_sql(h, STATE_OF("ats_42"), "dead");
    wait_sql(h, STATE_OF("ats_7"), "dead");
    output = CTL(h, d, 0, "status", "ats_42");
    assert_has(output, "\ndead\tsandbox\tstage\t" E2E_JOB "\tRecruiter screen\t1\t422\t");

    /* nobody to ask */
    output = CTL(h, d, 2, "retry");
    assert_string_equal(
        output, "atsyncctl retry: This will try again 2 dead writes of 2 candidates: 2 at sandbox (invalid). Nobody is "
                "there to ask: add --yes to do it\n"
                "Try: atsyncctl retry --help\n");
    /* somebody who says no, and nothing */
    child_start(h, &c, true, (const char *const[]){"-c", d->conf_path, "retry", "--candidate", "ats_42", NULL});
    child_wait_for(&c, "This will try again 1 dead write of 1 candidate: 1 at sandbox (invalid). Go on? [y/N] ");
    child_type(&c, "n\n");
    output = child_end(h, &c, 1);
    assert_has(output, "Nothing was done.");
    assert_string_equal(sql_text(h, "select count(*) from atsync.dead_writes"), "2");
    /* what does not fit is not touched */
    output = CTL(h, d, 0, "retry", "--yes", "--class", "not_found");
    assert_string_equal(output, "No dead write fits: nothing to do.\n");
    output = CTL(h, d, 0, "retry", "--yes", "--since", "2099-01-01");
    assert_string_equal(output, "No dead write fits: nothing to do.\n");
    output = CTL(h, d, 0, "retry", "--yes", "--since", "2099-01-01T00:00:00Z");
    assert_string_equal(output, "No dead write fits: nothing to do.\n");

    child_start(h, &c, true,
                (const char *const[]){"-c", d->conf_path, "retry", "--candidate", "ats_42", "--workflow",
                                      "cedar-rgn-screening", NULL});
    child_wait_for(&c, "[y/N] ");
    child_type(&c, "y\n");
    output = child_end(h, &c, 0);
    assert_has(output, "1 dead write will be tried again");
    wait_ats(h, "ats_42", STAGE, "\"Recruiter screen\"");
    wait_sql(h, STATE_OF("ats_42"), "synced");

    output = CTL(h, d, 0, "skip", "--connector", "sandbox", "--since", "1h", "--yes", "--json");
    assert_string_equal(output, "{\"writes\":1}\n");
    assert_string_equal(sql_text(h, "select count(*) from atsync.dead_writes"), "0");
    assert_string_equal(ats_value(h, "ats_7", STAGE), "null");
    wait_sql(h,
             "select concat_ws('|', sync_state, last_error is null) from atsync.sync_status where "
             "candidate_external_id = 'ats_7'",
             "synced|t");
    output = CTL(h, d, 0, "skip", "--yes");
    assert_string_equal(output, "No dead write fits: nothing to do.\n");
    daemon_stop(h, d);
}

E2E_TEST(resync_after_a_changed_mapping)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", NULL));
    wait_sql(h, STATE_OF("ats_42"), "synced");
    wait_sql(h, STATE_OF("ats_7"), "synced");
    daemon_rewrite_conf(
        h, d,
        &(struct daemon_conf){
            .workflows = "cedar-rgn-screening:\n  connector: sandbox\n  job: \"" E2E_JOB
                         "\"\n  on:\n    completed: {stage: \"Recruiter screen\", tags: [popp-passed, popp-new]}\n"});
    (void)kill(d->pid, SIGHUP);
    output = CTL(h, d, 2, "resync");
    assert_has(output, "This will compute everything again for 2 candidates: 2 at sandbox. Nobody is there to ask");
    /* the reload may come after it: then once more */
    for (unsigned i = 0; i < 200 && strstr(ats_value(h, "ats_42", "tags"), "popp-new") == NULL; i++) {
        output = CTL(h, d, 0, "resync", "--candidate", "ats_42", "--yes");
        assert_string_equal(output,
                            "1 candidate will be looked at again. What the ATS holds already is not written again.\n");
        wait_sql(h, STATE_OF("ats_42"), "synced");
    }
    assert_string_equal(ats_value(h, "ats_42", "tags"), "[\"popp-passed\",\"popp-new\"]");
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    assert_string_equal(ats_value(h, "ats_7", "tags"), "[\"popp-passed\"]");
    /* the samples tell of what happened in May, and came just now */
    output = CTL(h, d, 0, "resync", "--since", "1h", "--yes", "--json");
    assert_string_equal(output, "{\"candidates\":2}\n");
    wait_ats(h, "ats_7", "tags", "[\"popp-passed\",\"popp-new\"]");
    output = CTL(h, d, 0, "resync", "--candidate", "nobody");
    assert_string_equal(output, "No candidate fits: nothing to do.\n");
    daemon_stop(h, d);
}

/* In the daemon's own file, which is read again. */
static void change_conf(struct harness *h, const struct program *d, const char *from, const char *to)
{
    assert_int_equal(rename(new_conf(h, d, from, to), d->conf_path), 0);
}

#define AT_CONNECTORS                                                                                                  \
    "select string_agg(concat_ws('|', connector, state), ' ' order by connector) from atsync.candidate where ref = "   \
    "'x:%s'"

/* A workflow is led to another connector: resync looks at its candidates there. */
E2E_TEST(resync_after_a_workflow_has_moved)
{
    struct program *d = daemon_start(h, NULL);

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, STATE_OF("ats_42"), "synced");
    daemon_stop(h, d);
    change_conf(h, d, "connectors:\n",
                arena_printf(h->arena,
                             "connectors:\n  second:\n    type: rest\n    credentials: {token: \"" E2E_TOKEN
                             "\"}\n    base_url: \"http://127.0.0.1:%u\"\n    allow_private_addresses: true\n",
                             h->sandbox->port));
    change_conf(h, d, "    connector: sandbox\n", "    connector: second\n");
    daemon_start_again(h, d);
    (void)CTL(h, d, 0, "resync", "--candidate", "ats_42", "--yes");
    wait_sql(h, arena_printf(h->arena, AT_CONNECTORS, "ats_42"), "sandbox|nothing_to_do second|synced");
    assert_string_equal(
        sql_text(h, "select string_agg(distinct state, ' ') from atsync.ats_write where connector = 'second'"),
        "applied");
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "notes"))),
                     1); /* the same note: its marker is there */
    daemon_stop(h, d);
}

/* A connector has got another name: what waited for the old one is handed over when somebody says so, and nobody else's. */
E2E_TEST(resync_after_a_connector_was_renamed)
{
    struct program *d = daemon_start(h, NULL);
    const char *output;

    ats_fault(h, "{\"match\":{\"path_contains\":\"/stage\"},\"action\":\"status\",\"status\":500,\"times\":-1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, STATE_OF("ats_42"), "retrying");
    daemon_stop(h, d);
    change_conf(h, d, "connectors:\n  sandbox:\n", "connectors:\n  renamed:\n");
    change_conf(h, d, "    connector: sandbox\n", "    connector: renamed\n");
    ats_control(h, "DELETE", "/_sandbox/fault", NULL);
    daemon_start_again(h, d);
    output = CTL(h, d, 2, "resync", "--connector", "never");
    assert_has(output, "the configuration has no connector \"never\"");
    output = CTL(h, d, 2, "resync", "--connector", "sandbox");
    assert_has(output,
               "This will give up what was not written at a connector that the configuration does not have any more, "
               "and look elsewhere for 1 candidate: 1 at sandbox. ");
    output = CTL(h, d, 2, "retry", "--connector", "sandbox");
    assert_has(output, "the configuration has no connector \"sandbox\"");
    output = CTL(h, d, 0, "resync", "--connector", "sandbox", "--yes");
    assert_string_equal(output, "1 candidate will be looked at where the workflows lead now.\n");
    wait_sql(h, arena_printf(h->arena, AT_CONNECTORS, "ats_42"), "renamed|synced sandbox|nothing_to_do");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_string_equal(ats_value(h, "ats_42", STAGE), "\"Recruiter screen\"");
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "notes"))), 1);
    assert_string_equal(sql_text(h, "select count(*) from atsync.pending_writes"), "0");
    daemon_stop(h, d);
}

/* What the daemon's unit has need not be in the environment of who asks the database something; all else that is wrong is still told. */
E2E_TEST(secrets_of_the_daemon_are_not_needed)
{
    struct program *d = daemon_start(h, NULL);
    const char *output;

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, STATE_OF("ats_42"), "synced");
    change_conf(h, d, "\"" E2E_SECRET "\"", "{env: ATSYNC_TEST_NOT_THERE}");
    change_conf(h, d, "credentials: {token: \"" E2E_TOKEN "\"}", "credentials: {token: {credential: not-there}}");
    assert_has(CTL(h, d, 0, "status", "ats_42"), "synced");
    assert_has(CTL(h, d, 0, "resync", "--candidate", "ats_42", "--yes"), "1 candidate will be looked at again.");
    output = CTL(h, d, 78, "send-sample", "run-started");
    assert_has(output, "sources.popp.signing_secrets[0]: the environment variable ATSYNC_TEST_NOT_THERE is not set");
    change_conf(h, d, "instance: one", "instance: one\nwhat: else");
    output = CTL(h, d, 78, "status");
    assert_has(output, "what: unknown key");
    assert_has(output, "credential not-there");
    daemon_stop(h, d);
}

/* ---- pause, resume */

E2E_TEST(pause_and_resume)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;
    int64_t until;

    output = CTL(h, d, 2, "pause", "sandbax");
    assert_has(output, "atsyncctl pause: the configuration has no connector \"sandbax\", did you mean sandbox?\n");
    output = CTL(h, d, 0, "resume", "sandbox");
    assert_string_equal(output, "sandbox: was not paused: nothing to do\n");
    output = CTL(h, d, 0, "pause", "sandbox", "--reason", "moving house");
    assert_has(output, "sandbox: paused within a second");
    assert_string_equal(
        sql_text(h, "select state || '|' || reason from atsync.connector_status where connector = 'sandbox'"),
        "paused|moving house");
    /* until the daemon has surely seen it */
    until = clock_mono_ms() + 1500;
    while (clock_mono_ms() < until)
        (void)http_call(h, d->admin_port, "GET", "/readyz", NULL, NULL, 0);
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, STATE_OF("ats_42"), "paused");
    assert_int_equal(ats_figure(h, "requests"), 0);
    output = CTL(h, d, 0, "status");
    assert_has(output, "\nsandbox\tpaused\t1\t");
    assert_has(output, "\tmoving house\n");
    output = CTL(h, d, 0, "resume", "sandbox", "--json");
    assert_string_equal(output, "{\"connector\":\"sandbox\",\"state\":\"ok\",\"changed\":true}\n");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    daemon_stop(h, d);
}

/* ---- status, issues, tail */

E2E_TEST(status_of_the_whole_and_of_one)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;
    const struct json *j;

    popp_deliver(h, d, popp_event(h, "run-completed", "eventId", "evt_done", NULL));
    wait_sql(h, STATE_OF("ats_42"), "synced");
    output = CTL(h, d, 0, "status", "--json");
    j = json_of(h, output);
    assert_string_equal(json_get_str(json_at(j, "connectors.0"), "connector"), "sandbox");
    assert_string_equal(json_get_str(json_at(j, "connectors.0"), "state"), "ok");
    assert_int_equal(json_type(json_at(j, "queue.waiting")), JSON_NUMBER);
    assert_int_equal(json_type(json_at(j, "open_issues.error")), JSON_NUMBER);
    assert_int_equal(json_type(json_at(j, "waiting_for_identity")), JSON_NUMBER);

    output = on_terminal(h, 0, (const char *const[]){"-c", d->conf_path, "status", NULL});
    assert_has(output, "WAITING  DUE NOW  IN WORK  RETRYING  OLDEST DUE (S)  EVENTS/MIN  SYNCED/MIN\r\n");
    assert_has(output, "Connectors\r\nCONNECTOR  STATE  WAITING");
    assert_has(output, "\r\nOpen issues: ");

    output = CTL(h, d, 0, "status", "ats_42");
    assert_true(text_starts(output, "cedar-rgn-screening\tsandbox\t" E2E_JOB
                                    "\tsynced\trun_4a1e9c\tcompleted\tPASSED_CRITERIA\t0\t0\t"));
    assert_has(output, "\tevent\tWORKFLOW_RUN_COMPLETED\trun run_4a1e9c, workflow cedar-rgn-screening");
    assert_has(output, "\twrite\tstage " E2E_JOB " applied\tbecause of completed/PASSED_CRITERIA");
    assert_has(output, "\tcall\tPUT ");
    assert_true(strstr(output, "\tevent\t") < strstr(output, "\tcall\t")); /* in the order of time */
    output = CTL(h, d, 0, "status", "ats_42", "--json");
    j = json_of(h, output);
    assert_string_equal(json_get_str(json_at(j, "sync.0"), "sync_state"), "synced");
    assert_int_equal(json_count(json_at(j, "writes")), 0);
    assert_string_equal(json_get_str(json_at(j, "timeline.0"), "kind"), "event");
    assert_true(text_has(json_get_str(json_at(j, "timeline.0"), "at"), "Z"));

    output = CTL(h, d, 1, "status", "ats_nobody");
    assert_string_equal(output, "atsyncctl status: nothing is known of candidate \"ats_nobody\": CANDIDATE is the "
                                "external id that the events carry\n");
    daemon_stop(h, d);
}

E2E_TEST(issues_say_what_to_do)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;
    size_t longest = 0;

    output = CTL(h, d, 0, "issues");
    assert_string_equal(output, "");
    sql_script(h, "insert into atsync.issue (class, scope, severity, connector, message, hint, affected_candidates, "
                  "closed_at) values"
                  " ('test_open', 'a', 'error', 'sandbox', 'Something that takes more words to say than fit into a "
                  "single line of a terminal.',"
                  " 'Do this, and then do that, and look whether it has helped.', 3, null),"
                  " ('test_closed', 'b', 'info', null, 'It is over.', 'Nothing.', 0, now())");
    output = CTL(h, d, 0, "issues");
    assert_true(text_starts(output, "error\ttest_open\tsandbox\t\t3\t20"));
    assert_has_not(output, "test_closed");
    output = CTL(h, d, 0, "issues", "--all", "--json");
    assert_int_equal(json_count(json_of(h, output)), 2);
    assert_string_equal(json_get_str(json_at(json_of(h, output), "1"), "class"), "test_closed");

    output = on_terminal(h, 0, (const char *const[]){"-c", d->conf_path, "issues", NULL});
    assert_has(output, "error  test_open  connector sandbox  since 20");
    assert_has(output, "  3 candidates\r\n  Something that takes more words to say than fit into a\r\n  single line of "
                       "a terminal.\r\n    Do this,");
    for (const char *line = strstr(output, "  Something"); *line != '\0'; line += strcspn(line, "\n") + 1)
        longest = strcspn(line, "\r") > longest ? strcspn(line, "\r") : longest;
    assert_true(longest <= 60);
    daemon_stop(h, d);
}

E2E_TEST(tail_follows)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;
    struct child c;

    popp_deliver(h, d, popp_event(h, "run-started", "eventId", "evt_before", NULL));
    wait_sql(h, STATE_OF("ats_42"), "synced");
    child_start(h, &c, false, (const char *const[]){"-c", d->conf_path, "tail", "--since", "1h", NULL});
    child_wait_for(&c, "\twrite\tats_42\tstage " E2E_JOB " applied\tsandbox, because of started");
    assert_has_not(buf_text(&c.seen), "evt_after");
    popp_deliver(h, d, popp_event(h, "run-completed", "eventId", "evt_after", NULL));
    child_wait_for(&c, "\tevent\tats_42\tWORKFLOW_RUN_COMPLETED\tevent evt_after, run run_4a1e9c");
    child_wait_for(&c, "because of completed/PASSED_CRITERIA");
    sql_script(h, "insert into atsync.issue (class, scope, severity, message, hint) values ('test', 'a', 'info', 'A "
                  "message.', 'A hint.')");
    child_wait_for(&c, "\tissue\t\ttest opened\tA message. A hint.\n");
    sql_script(h, "update atsync.issue set closed_at = now() where class = 'test'");
    child_wait_for(&c, "\tissue\t\ttest closed\tA message.\n");
    assert_int_equal(kill(c.pid, SIGINT), 0);
    output = child_end(h, &c, 0);
    /* nothing twice, although it looks back a little every time */
    assert_int_equal(text_count(output, "evt_before"), 1);
    assert_int_equal(text_count(output, "evt_after"), 1);
    assert_int_equal(text_count(output, "test opened"), 1);

    /* without --since only what comes */
    child_start(h, &c, false, (const char *const[]){"-c", d->conf_path, "--json", "tail", NULL});
    for (unsigned i = 0; !text_has(buf_text(&c.seen), "\n") && i < (unsigned)DEADLINE_MS / 500; i++) {
        popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_8", "run", "run_8", NULL));
        (void)child_read(&c, 500);
    }
    assert_int_equal(kill(c.pid, SIGINT), 0);
    output = child_end(h, &c, 0);
    assert_true(text_starts(output, "{\"at\":\"20"));
    assert_has(output, "\"candidate_external_id\":\"ats_8\"");
    assert_has_not(output, "evt_before");
    daemon_stop(h, d);
}

/* ---- the command line */

E2E_TEST(usage)
{
    static const char *const commands[] = {"plan",  "link",   "resync", "retry",  "skip",
                                           "pause", "resume", "status", "issues", "tail"};
    struct program *d = daemon_start(h, NULL);
    const char *output = NULL;

    for (size_t i = 0; i < ATS_COUNT(commands); i++) {
        output = CTL(h, d, 0, commands[i], "--help");
        assert_has(output, arena_printf(h->arena, "Usage: atsyncctl [-c FILE] [--json] %s", commands[i]));
        assert_has(output, arena_printf(h->arena, "\nExample: atsyncctl %s", commands[i]));
        output = CTL(h, d, 2, commands[i], "--no-such-option");
        assert_has(output, arena_printf(h->arena, "Try: atsyncctl %s --help\n", commands[i]));
        output = CTL(h, d, 2, commands[i], "one", "two");
    }
    output = CTL(h, d, 2, "plan", "--since", "yesterday");
    assert_has(output, "atsyncctl plan: --since \"yesterday\" is no time: write 2h or 3d for so long ago, 2026-04-28, "
                       "or 2026-04-28T10:45:00Z\n");
    output = CTL(h, d, 2, "plan", "--connector", "sandbax");
    assert_has(output, "did you mean sandbox?");
    output = CTL(h, d, 2, "retry", "--connector", "sandbax");
    assert_has(output, "did you mean sandbox?");
    daemon_stop(h, d);

    /* the database is away: 1, and why */
    pg_stop(h, "fast");
    output = CTL(h, d, 1, "status");
    assert_true(text_starts(output, "atsyncctl status: "));
    pg_start(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(plan_of_the_nine_samples),
        E2E_RUN(plan_of_many_candidates),
        E2E_RUN(plan_with_a_new_configuration),
        E2E_RUN(plan_tells_dead_waiting_and_skipped),
        E2E_RUN(foreign_text_does_not_reach_the_terminal_raw),
        E2E_RUN(link_by_hand),
        E2E_RUN(dead_writes_are_retried_or_given_up),
        E2E_RUN(resync_after_a_changed_mapping),
        E2E_RUN(resync_after_a_workflow_has_moved),
        E2E_RUN(secrets_of_the_daemon_are_not_needed),
        E2E_RUN(resync_after_a_connector_was_renamed),
        E2E_RUN(pause_and_resume),
        E2E_RUN(status_of_the_whole_and_of_one),
        E2E_RUN(issues_say_what_to_do),
        E2E_RUN(tail_follows),
        E2E_RUN(usage),
    };

    if (freopen("/dev/null", "r", stdin) == NULL) /* whoever runs the tests may sit at a terminal */
        return 1;
    return e2e_main(tests);
}
