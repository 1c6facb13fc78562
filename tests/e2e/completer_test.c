/* Runs that the webhooks left incomplete, and Popp's API, which is asked for them - or not. */
#include <signal.h>

#include "base/text.h"
#include "lib/harness.h"
#include "lib/popp_stub.h"

#define STATE_OF(candidate) "select sync_state from atsync.sync_status where candidate_external_id = '" candidate "'"
#define RUN                                                                                                            \
    "select concat_ws('|', state, outcome, result, truncated, complete) from atsync.runs where run_id = 'run_4a1e9c'"
#define ISSUE "select message from atsync.issues where class = 'source_api' and closed_at is null"
#define STAGE "jobs." E2E_JOB ".stage"

/* As the samples tell the run of ats_42, in the shape of the events. */
static const char *nodes_of_the_sample(struct harness *h)
{
    const struct json *event = json_of(h, popp_event(h, "run-completed", NULL));
    char *text = json_text(json_at(event, "data.nodes"));
    const char *copy = arena_strdup(h->arena, text);

    mem_free(text);
    return copy;
}

static const char *whole_answer(struct harness *h)
{
    return arena_printf(
        h->arena,
        "{\"data\":{\"id\":\"run_4a1e9c\",\"status\":\"COMPLETED\",\"outcome\":\"completed\",\"startedAt\":"
        "\"2026-05-12T09:00:00.000Z\",\"completedAt\":\"2026-05-12T09:34:10.000Z\",\"finalNodeId\":"
        "\"engage-booking\",\"nodes\":%s}}",
        nodes_of_the_sample(h));
}

static const char *api_lines(struct harness *h, const struct popp_stub *s, const char *key, const char *more)
{
    return arena_printf(
        h->arena,
        "signing_secrets: [\"" E2E_SECRET "\"]\norganizations: [" POPP_ORGANIZATION "]\n"
        "api:\n  key: \"%s\"\n  base_url: \"http://127.0.0.1:%u/v1/\"\n  after: 1s\n  rate_limit: 100/1s\n"
        "  timeout: 500ms\n%s",
        key, popp_stub_port(s), more);
}

static struct program *start(struct harness *h, const struct popp_stub *s, const char *instance, const char *more)
{
    return daemon_start(h, &(struct daemon_conf){.instance = instance, .source = api_lines(h, s, POPP_KEY, more)});
}

/* The samples' times are fixed; what is asked for depends on how long ago they are. */
static void make_recent(struct harness *h, const char *seconds_ago)
{
    sql_script(
        h, arena_printf(h->arena, "update atsync.run set last_event_at = now() - interval '%s seconds'", seconds_ago));
}

/* A run that started, and nothing was heard of it afterwards. */
static void deliver_silent(struct harness *h, struct program *d)
{
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_sql(h, STATE_OF("ats_42"), "synced");
    make_recent(h, "60");
}

/* A run whose event holds the first of its nodes only. */
static const char *cut_event(struct harness *h)
{
    const struct json *event = json_of(h, popp_event(h, "run-completed", NULL));
    char *first = json_text(json_at(event, "data.nodes.0"));
    const char *body = popp_event(h, "run-completed", "data.truncated:", "true",
                                  "data.nodes:", arena_printf(h->arena, "[%s]", first), NULL);

    mem_free(first);
    return body;
}

struct awaited {
    struct popp_stub *stub;
    const char *run;
    unsigned count;
};

static bool is_asked(struct harness *h, void *arg)
{
    const struct awaited *a = arg;

    (void)h;
    return popp_stub_asked(a->stub, a->run) >= a->count;
}

static void wait_asked(struct harness *h, struct popp_stub *s, const char *run, unsigned count)
{
    struct awaited a = {s, run, count};

    wait_until(h, is_asked, &a, arena_printf(h->arena, "the API was asked for %s %u times", run, count));
}

/* ---- completed ----------------------------------------------------------------------------------------------------- */

E2E_TEST(a_run_that_never_ended_is_completed)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d;
    struct http_answer a;

    popp_stub_set(s, "run_4a1e9c", whole_answer(h));
    d = start(h, s, "one", "");
    deliver_silent(h, d);
    wait_sql(h, RUN, "completed|completed|PASSED_CRITERIA|f|t");
    wait_ats(h, "ats_42", STAGE, "\"Recruiter screen\"");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_string_equal(ats_value(h, "ats_42", "fields.dbs_number"), "\"001 812 443 906\"");
    assert_string_equal(
        sql_text(h, "select concat_ws('|', event_id, type, subject, event_time = '2026-05-12T09:34:10Z') from "
                    "atsync.event where event_id like '(api)/%'"),
        "(api)/run_4a1e9c/ended|WORKFLOW_RUN_COMPLETED|x:ats_42|t");
    assert_true(text_has(sql_text(h, "select detail from atsync.candidate_timeline where kind = 'event' and summary = "
                                     "'WORKFLOW_RUN_COMPLETED'"),
                         "made from Popp's API"));
    assert_int_equal(popp_stub_asked(s, "run_4a1e9c"), 1);

    /* the webhook that comes after all is the one that counts, and changes nothing that was right */
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, "select count(*) from atsync.candidate where version = synced_version", "1");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_string_equal(sql_text(h, "select conflict from atsync.runs"), "false");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 1);
    assert_int_equal(popp_stub_figures(s).requests, 1);
    a = http_call(h, d->admin_port, "GET", "/metrics", NULL, NULL, 0);
    assert_true(text_has(a.body, "atsyncd_popp_api_completed_runs_total{source=\"popp\"} 1\n"));
    assert_true(text_has(a.body, "atsyncd_popp_api_requests_total{source=\"popp\",result=\"ok\"} 1\n"));
    daemon_stop(h, d);
    assert_false(text_has(program_log(h, d), POPP_KEY));
    assert_false(text_has(program_log(h, d), "812 443"));
    popp_stub_stop(s);
}

E2E_TEST(a_run_that_was_cut_off_is_completed)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d;

    popp_stub_set(s, "run_4a1e9c", whole_answer(h));
    d = start(h, s, "one", "");
    popp_deliver(h, d, cut_event(h));
    wait_sql(h, RUN, "completed|completed|PASSED_CRITERIA|f|t");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_string_equal(
        sql_text(h, "select count(*) from atsync.event where event_id like '(api)/run_4a1e9c/after/evt_%'"), "1");
    assert_string_equal(sql_text(h, "select nodes like '%engage-booking%' from atsync.run"), "true");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 1);
    wait_sql(h, "select count(*) from atsync.issues where class = 'truncated' and closed_at is null", "0");
    daemon_stop(h, d);
    popp_stub_stop(s);
}

/* What the API says in another shape, by another path. */
E2E_TEST(path_and_shape_can_be_fitted)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d;

    popp_stub_set(s, "run_4a1e9c/full/wf_c3d9a1",
                  arena_printf(h->arena,
                               "{\"r\":{\"phase\":\"done\",\"when\":\"2026-05-12T09:34:10.000Z\",\"steps\":%s}}",
                               nodes_of_the_sample(h)));
    d = start(h, s, "one",
              "  run_path: /workflow-runs/{run_id}/full/{workflow_id}?expand=all\n"
              "  answer: |\n    .r | {status: (if .phase == \"done\" then \"COMPLETED\" else \"RUNNING\" end),\n"
              "          completedAt: .when, nodes: .steps}\n");
    deliver_silent(h, d);
    wait_sql(h, RUN, "completed|completed|PASSED_CRITERIA|f|t");
    daemon_stop(h, d);
    popp_stub_stop(s);
}

E2E_TEST(two_daemons_make_one_event)
{
    struct popp_stub *s = popp_stub_start();
    struct program *one, *two;

    popp_stub_set(s, "run_4a1e9c", whole_answer(h));
    one = start(h, s, "one", "");
    two = start(h, s, "two", "");
    for (unsigned i = 0; i < 20; i++) {
        const char *run = arena_printf(h->arena, "run_%u", i);

        popp_stub_set(s, run,
                      arena_printf(h->arena,
                                   "{\"status\":\"FAILED\",\"id\":\"%s\",\"failedAt\":"
                                   "\"2026-05-12T10:00:00Z\",\"errorCode\":\"EXECUTOR_TIMEOUT\"}",
                                   run));
        popp_deliver(h, i % 2 == 0 ? one : two,
                     popp_event(h, "run-started", "candidate", arena_printf(h->arena, "ats_%u", i), "run", run, NULL));
    }
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", "20");
    make_recent(h, "60");
    wait_sql(h, "select count(*) from atsync.runs where state = 'failed' and error_code = 'EXECUTOR_TIMEOUT'", "20");
    assert_string_equal(sql_text(h, "select count(*) from atsync.event where event_id like '(api)/%'"), "20");
    assert_int_equal(popp_stub_figures(s).requests, 20);
    daemon_stop(h, one);
    daemon_stop(h, two);
    popp_stub_stop(s);
}

/* ---- not completed ------------------------------------------------------------------------------------------------- */

E2E_TEST(without_a_key_nothing_is_asked)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d = daemon_start(h, NULL);
    const char *output;

    deliver_silent(h, d);
    popp_deliver(h, d,
                 popp_event(h, "run-completed", "data.truncated:", "true", "data.nodes:", "[]", "candidate", "ats_7",
                            "run", "run_7", NULL));
    wait_sql(h, STATE_OF("ats_7"), "synced");
    assert_string_equal(sql_text(h, "select count(*) from atsync.source_api"), "0");
    assert_string_equal(sql_text(h, "select count(*) from atsync.run where asked > 0 or ask_at is not null"), "0");
    assert_string_equal(sql_text(h, "select count(*) from pg_stat_activity where application_name like '%completer'"),
                        "0");
    assert_int_equal(program_run(h, &output, "atsyncctl", "-c", d->conf_path, "check", NULL), 0);
    assert_false(text_has(output, "API of"));

    /* a reload switches it on */
    popp_stub_set(s, "run_4a1e9c", whole_answer(h));
    daemon_rewrite_conf(h, d, &(struct daemon_conf){.source = api_lines(h, s, POPP_KEY, "")});
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_sql(h, RUN, "completed|completed|PASSED_CRITERIA|f|t");
    /* and off */
    daemon_rewrite_conf(h, d, NULL);
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_sql(h, "select count(*) from pg_stat_activity where application_name like '%completer'", "0");
    daemon_stop(h, d);
    popp_stub_stop(s);
}

E2E_TEST(a_run_that_goes_on_is_left_alone)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d;

    popp_stub_set(s, "run_4a1e9c", "{\"id\":\"run_4a1e9c\",\"status\":\"RUNNING\"}");
    d = start(h, s, "one", "");
    deliver_silent(h, d);
    wait_asked(h, s, "run_4a1e9c", 2);
    assert_string_equal(sql_text(h, RUN), "running|f|f");
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "1");
    assert_string_equal(sql_text(h, "select count(*) from atsync.run where ask_at > now()"), "1");
    popp_stub_set(s, "run_4a1e9c", whole_answer(h)); /* until it does not any more */
    sql_script(h, "update atsync.run set ask_at = now()");
    wait_sql(h, RUN, "completed|completed|PASSED_CRITERIA|f|t");
    daemon_stop(h, d);
    popp_stub_stop(s);
}

/* One request, an issue in words, and quiet; a new key is tried at once. */
E2E_TEST(a_wrong_key_is_told_and_not_tried_again_and_again)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d = daemon_start(h, &(struct daemon_conf){.source = api_lines(h, s, "not-the-key", "")});
    const char *output;

    popp_stub_set(s, "run_4a1e9c", whole_answer(h));
    deliver_silent(h, d);
    for (unsigned i = 0; i < 5; i++)
        popp_deliver(h, d,
                     popp_event(h, "run-started", "candidate", arena_printf(h->arena, "ats_%u", i), "run",
                                arena_printf(h->arena, "run_%u", i), NULL));
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", "6");
    make_recent(h, "60");
    wait_sql(h, ISSUE,
             "Popp's API does not accept the key of source popp: runs that were cut off or never ended are not "
             "completed. The last answer: HTTP 401.");
    assert_string_equal(
        sql_text(h, "select concat_ws('|', severity, hint like '%sources.popp.api.key%') from atsync.issues "
                    "where class = 'source_api'"),
        "error|t");
    assert_int_equal(popp_stub_figures(s).requests, 1);
    assert_string_equal(sql_text(h, "select until > now() + interval '59 minutes' from atsync.source_api"), "true");
    assert_string_equal(sql_text(h, "select sum(asked) from atsync.run"), "0"); /* nobody's turn is lost */
    assert_int_not_equal(program_run(h, &output, "atsyncctl", "-c", d->conf_path, "check", NULL), 0);
    assert_true(text_has(output, "the key is not accepted (HTTP 401)"));
    assert_false(text_has(output, "not-the-key"));

    /* a restart is no reason to try again */
    daemon_stop(h, d);
    daemon_start_again(h, d);
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_9", "run", "run_9", NULL));
    wait_sql(h, STATE_OF("ats_9"), "synced");
    assert_int_equal(popp_stub_figures(s).requests, 1);

    daemon_rewrite_conf(h, d, &(struct daemon_conf){.source = api_lines(h, s, POPP_KEY, "")});
    assert_int_equal(program_run(h, &output, "atsyncctl", "-c", d->conf_path, "check", NULL), 0);
    assert_true(text_has(output, "accepts the key"));
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_sql(h, RUN, "completed|completed|PASSED_CRITERIA|f|t");
    wait_sql(h, ISSUE, NULL);
    daemon_stop(h, d);
    assert_false(text_has(program_log(h, d), "not-the-key"));
    popp_stub_stop(s);
}

E2E_TEST(a_run_that_the_api_does_not_know_is_given_up)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d = start(h, s, "one", "");

    deliver_silent(h, d);
    for (unsigned i = 1; i <= 5; i++) {
        wait_asked(h, s, "run_4a1e9c", i);
        wait_sql(h, "select ask_at > now() + interval '1.5 seconds' from atsync.run", "true");
        sql_script(h, "update atsync.run set ask_at = now() where ask_at <> 'infinity'");
    }
    wait_sql(h, "select ask_at = 'infinity' from atsync.run", "true");
    assert_string_equal(sql_text(h, RUN), "running|f|f");
    assert_null(sql_text(h, ISSUE));
    daemon_stop(h, d);
    popp_stub_stop(s);
}

/* Whatever comes, nothing is stored of it, it is told in words of ours, and the next try waits. */
E2E_TEST(what_is_not_understood_changes_nothing)
{
    static const struct {
        const char *what;
        struct popp_rules rules;
        const char *issue; /* a part; NULL: none yet */
        const char *problem;
    } cases[] = {
        {"garbage", {.body = "<html>zebra"}, "are not understood", "answer"},
        {"no status", {.body = "{\"id\":\"run_4a1e9c\",\"zebra\":true}"}, "has no status", "answer"},
        {"another run", {.body = "{\"id\":\"run_zebra\",\"status\":\"COMPLETED\"}"}, "about another run", "answer"},
        {"a redirect", {.status = 302}, "HTTP 302", "answer"},
        {"a wrong address", {.status = 400}, "HTTP 400", "answer"},
        {"a time-out", {.hang = true}, NULL, "unavailable"},
        {"an error", {.status = 500, .body = "{\"message\":\"zebra\"}"}, NULL, "unavailable"},
        {"too many requests", {.status = 429, .retry_after = "7200"}, NULL, "unavailable"},
    };
    struct popp_stub *s = popp_stub_start();
    struct program *d = start(h, s, "one", "");

    deliver_silent(h, d);
    for (unsigned i = 0; i < ATS_COUNT(cases); i++) {
        unsigned asked = popp_stub_asked(s, "run_4a1e9c");

        print_message("case: %s\n", cases[i].what);
        popp_stub_rules(s, &cases[i].rules);
        sql_script(h, "update atsync.source_api set until = null, failures = 0, problem = null;"
                      "update atsync.run set ask_at = now(), asked = 0");
        wait_asked(h, s, "run_4a1e9c", asked + 1);
        wait_sql(h, "select problem from atsync.source_api", cases[i].problem);
        wait_sql(h, "select until > now() + interval '50 seconds' from atsync.source_api", "true");
        if (cases[i].rules.retry_after != NULL)
            assert_string_equal(sql_text(h, "select until > now() + interval '119 minutes' from atsync.source_api"),
                                "true");
        if (cases[i].issue != NULL)
            wait_sql(h,
                     arena_printf(h->arena,
                                  "select message like '%%%s%%' from atsync.issues where class = 'source_api' and "
                                  "closed_at is null",
                                  cases[i].issue),
                     "true");
        assert_int_equal(popp_stub_asked(s, "run_4a1e9c"), asked + 1);
        assert_string_equal(sql_text(h, RUN), "running|f|f");
    }
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "1");
    /* and with a proper answer all is well again */
    popp_stub_rules(s, &(struct popp_rules){.status = 0});
    popp_stub_set(s, "run_4a1e9c", whole_answer(h));
    sql_script(h, "update atsync.source_api set until = null; update atsync.run set ask_at = now()");
    wait_sql(h, RUN, "completed|completed|PASSED_CRITERIA|f|t");
    wait_sql(h, "select problem from atsync.source_api", NULL);
    daemon_stop(h, d);
    assert_false(text_has(program_log(h, d), "zebra"));
    popp_stub_stop(s);
}

E2E_TEST(the_day_has_its_limit)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d = start(h, s, "one", "  per_day: 3\n");

    popp_stub_rules(s, &(struct popp_rules){.body = "{\"status\":\"RUNNING\"}"});
    for (unsigned i = 0; i < 8; i++)
        popp_deliver(h, d,
                     popp_event(h, "run-started", "candidate", arena_printf(h->arena, "ats_%u", i), "run",
                                arena_printf(h->arena, "run_%u", i), NULL));
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", "8");
    make_recent(h, "60");
    wait_sql(h,
             "select message like 'The requests to Popp''s API that source popp may make in a day are used up%' from "
             "atsync.issues where class = 'source_api' and closed_at is null",
             "true");
    assert_int_equal(popp_stub_figures(s).requests, 3);
    assert_string_equal(
        sql_text(h, "select until = (date_trunc('day', now() at time zone 'UTC') + interval '1 day') at time "
                    "zone 'UTC' from atsync.source_api"),
        "true");
    daemon_stop(h, d);
    popp_stub_stop(s);
}

E2E_TEST(a_stop_does_not_wait_for_the_api)
{
    struct popp_stub *s = popp_stub_start();
    struct program *d = start(h, s, "one", "  per_day: 1000\n");

    daemon_rewrite_conf(h, d,
                        &(struct daemon_conf){.source = arena_printf(h->arena, "%s", api_lines(h, s, POPP_KEY, ""))});
    popp_stub_rules(s, &(struct popp_rules){.hang = true});
    deliver_silent(h, d);
    wait_asked(h, s, "run_4a1e9c", 1);
    daemon_stop(h, d);
    popp_stub_rules(s, &(struct popp_rules){.hang = false});
    popp_stub_set(s, "run_4a1e9c", whole_answer(h));
    sql_script(h, "update atsync.run set ask_at = now(); update atsync.source_api set until = null");
    daemon_start_again(h, d);
    wait_sql(h, RUN, "completed|completed|PASSED_CRITERIA|f|t");
    daemon_stop(h, d);
    popp_stub_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_run_that_never_ended_is_completed),
        E2E_RUN(a_run_that_was_cut_off_is_completed),
        E2E_RUN(path_and_shape_can_be_fitted),
        E2E_RUN(two_daemons_make_one_event),
        E2E_RUN(without_a_key_nothing_is_asked),
        E2E_RUN(a_run_that_goes_on_is_left_alone),
        E2E_RUN(a_wrong_key_is_told_and_not_tried_again_and_again),
        E2E_RUN(a_run_that_the_api_does_not_know_is_given_up),
        E2E_RUN(what_is_not_understood_changes_nothing),
        E2E_RUN(the_day_has_its_limit),
        E2E_RUN(a_stop_does_not_wait_for_the_api),
    };

    return e2e_main(tests);
}
