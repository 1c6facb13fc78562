/* The admin listener as machines and administrators meet it: metrics, status as JSON, who gets in, what is told of people. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "lib/harness.h"

#define TOKEN "a token for the admin listener"
#define WITH_TOKEN "Authorization: Bearer " TOKEN "\r\n"
#define HTML "Accept: text/html,application/xhtml+xml\r\n"

static struct http_answer get(struct harness *h, const struct program *d, const char *path, const char *headers)
{
    return http_call(h, d->admin_port, "GET", path, headers, NULL, 0);
}

static const char *body_of(struct harness *h, const struct program *d, const char *path)
{
    struct http_answer a = get(h, d, path, NULL);

    assert_int_equal(a.status, 200);
    return a.body;
}

static const char *text_at(const struct json *j, const char *path)
{
    const char *text = json_str(json_at(j, path));

    return text ? text : "(none)";
}

/* ---- metrics */

struct expected {
    struct program *d;
    const char *line;
};

/* A sample whose name and labels are exactly these; its value begins with what follows the blank. */
static bool is_scraped(struct harness *h, void *arg)
{
    const struct expected *e = arg;

    return text_has(body_of(h, e->d, "/metrics"), arena_printf(h->arena, "\n%s", e->line));
}

static void wait_metric(struct harness *h, struct program *d, const char *line)
{
    struct expected e = {.d = d, .line = line};

    wait_until(h, is_scraped, &e, line);
}

/* Every name of the contract with its labels, after traffic of every kind. */
E2E_TEST(the_metrics_of_the_contract)
{
    static const char *const names[] = {
        "atsyncd_events_received_total{source=\"popp\",type=\"WORKFLOW_RUN_COMPLETED\",result=\"stored\"} 3\n",
        "atsyncd_events_received_total{source=\"popp\",type=\"WORKFLOW_RUN_COMPLETED\",result=\"duplicate\"} 1\n",
        "atsyncd_events_received_total{source=\"popp\",type=\"WORKFLOW_RUN_STARTED\",result=\"stored\"} 2\n",
        "atsyncd_events_received_total{source=\"popp\",type=\"WORKFLOW_PUBLISHED\",result=\"stored\"} 0\n",
        "atsyncd_events_received_total{source=\"popp\",type=\"unknown\",result=\"unauthorized\"} 1\n",
        "atsyncd_events_received_total{source=\"popp\",type=\"unknown\",result=\"invalid\"} 1\n",
        "atsyncd_events_received_total{source=\"popp\",type=\"other\",result=\"stored\"} 3\n",
        "atsyncd_ingest_seconds_bucket{le=\"+Inf\"} ",
        "atsyncd_ingest_seconds_sum ",
        "atsyncd_ingest_seconds_count ",
        "atsyncd_ingest_batch_events_bucket{le=\"1\"} ",
        "atsyncd_ingest_batch_events_count ",
        "atsyncd_candidates{connector=\"sandbox\",state=\"synced\"} 2\n",
        "atsyncd_candidates{connector=\"sandbox\",state=\"dead\"} 1\n",
        "atsyncd_candidates{connector=\"sandbox\",state=\"pending\"} 0\n",
        "atsyncd_candidates{connector=\"sandbox\",state=\"retrying\"} 0\n",
        "atsyncd_candidates{connector=\"\",state=\"unmapped\"} 1\n",
        "atsyncd_candidates{connector=\"\",state=\"waiting_for_identity\"} 1\n",
        "atsyncd_oldest_due_seconds{connector=\"sandbox\"} 0\n",
        "atsyncd_sync_lag_seconds_bucket{connector=\"sandbox\",le=\"+Inf\"} ",
        "atsyncd_sync_lag_seconds_count{connector=\"sandbox\"} ",
        "atsyncd_ats_requests_total{connector=\"sandbox\",method=\"POST\",code=\"201\",outcome=\"ok\"} ",
        "atsyncd_ats_requests_total{connector=\"sandbox\",method=\"PATCH\",code=\"422\",outcome=\"invalid\"} ",
        "atsyncd_ats_request_seconds_bucket{connector=\"sandbox\",le=\"+Inf\"} ",
        "atsyncd_writes_total{connector=\"sandbox\",kind=\"note\",result=\"applied\"} 2\n",
        "atsyncd_writes_total{connector=\"sandbox\",kind=\"stage\",result=\"dead\"} 1\n",
        "atsyncd_breaker_state{connector=\"sandbox\"} 0\n",
        "atsyncd_issues_open{class=\"dead_writes\"} ",
        "atsyncd_issues_open{class=\"unmapped\"} 1\n",
        "atsyncd_issues_open{class=\"identity\"} 1\n",
        "atsyncd_issues_open{class=\"connector_paused\"} 0\n",
        "atsyncd_issues_open_by_severity{severity=\"warning\"} 2\n",
        "atsyncd_issues_open_by_severity{severity=\"info\"} 0\n",
        "atsyncd_ready 1\n",
        "atsyncd_database_up 1\n",
        "atsyncd_build_info{version=\"" ATSYNC_VERSION "\"} 1\n",
        "atsyncd_start_time_seconds 1",
        "atsyncd_process_cpu_seconds_total ",
        "atsyncd_process_resident_memory_bytes ",
        "atsyncd_receiver_connections ",
        "atsyncd_ingest_queue_events 0\n",
    };
    struct program *d = daemon_start(h, NULL);
    const char *once = popp_event(h, "run-completed", NULL);
    struct http_answer a;

    ats_fault(h, "{\"match\":{\"path_contains\":\"/candidates/ats_dead\"},\"action\":\"status\",\"status\":422,"
                 "\"times\":-1}");
    popp_deliver(h, d, once);
    popp_deliver(h, d, once);
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "b", "run", "run_b", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_dead", "run", "run_dead", NULL));
    popp_deliver(
        h, d,
        popp_event(h, "run-started", "candidate", "c", "run", "run_c", "data.workflowExternalId", "nobodys", NULL));
    popp_deliver(h, d,
                 popp_event(h, "run-started", "candidate", "d", "run", "run_d", "data.candidateProfileExternalId",
                            POPP_ABSENT, NULL));
    /* foreign names must not become labels: neither of types nor of paths */
    for (int i = 0; i < 3; i++) {
        popp_deliver(h, d,
                     popp_event(h, "run-started", "event", arena_printf(h->arena, "INVENTED_%d", i), "run",
                                arena_printf(h->arena, "odd_%d", i), NULL));
        (void)http_call(h, d->port, "POST", arena_printf(h->arena, "/webhooks/foreign-%d", i), NULL, "{}", 2);
        (void)get(h, d, arena_printf(h->arena, "/foreign-%d", i), NULL);
    }
    assert_int_equal(http_call(h, d->port, "POST", "/webhooks/popp", NULL, "{}", 2).status, 401);
    assert_int_equal(popp_post(h, d, "{\"event\":\"X\"}").status, 400);
    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        wait_metric(h, d, names[i]);
    }
    a = get(h, d, "/metrics", NULL);
    assert_true(text_starts(http_header(h, &a, "Content-Type"), "text/plain; version=0.0.4"));
    assert_false(text_has(a.body, "INVENTED"));
    assert_false(text_has(a.body, "foreign"));
    assert_false(text_has(a.body, "ats_42"));
    daemon_stop(h, d);
}

static const char *manual(struct harness *h)
{
    static char text[256 * 1024];
    FILE *f = fopen(TEST_SOURCE_DIR "/packaging/man/atsyncd.8", "re");
    size_t len;

    (void)h;
    assert_non_null(f);
    len = fread(text, 1, sizeof text - 1, f);
    assert_int_equal(fclose(f), 0);
    text[len] = '\0';
    return text;
}

/* The prefix, a text and a type for each, and a word about it in atsyncd(8) (promtool says the rest, where it is
 * installed). */
E2E_TEST(the_metrics_are_well_formed)
{
    struct program *d = daemon_start(h, NULL);
    char *promtool = arena_strdup(h->arena, "command -v promtool >/dev/null || exit 77; exec promtool check metrics");
    const char *page = manual(h);
    const char *text;
    FILE *lint;
    int status;

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_metric(h, d, "atsyncd_writes_total{connector=\"sandbox\",kind=\"note\",result=\"applied\"} 1\n");
    text = body_of(h, d, "/metrics");
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
        const char *name = text_starts(line, "# ") ? line + 7 : line;

        if (!text_starts(name, "atsyncd_")) {
            fail_msg("a name without the prefix: %.*s", (int)strcspn(line, "\n"), line);
        }
        if (text_starts(line, "# HELP ") &&
            !text_has(page, arena_printf(h->arena, "%.*s", (int)strcspn(name, " "), name))) {
            fail_msg("atsyncd(8) does not explain %.*s", (int)strcspn(name, " "), name);
        }
    }
    lint = popen(promtool, "w");
    assert_non_null(lint);
    assert_true(fputs(text, lint) >= 0);
    status = pclose(lint);
    if (WEXITSTATUS(status) == 77) {
        print_message("promtool is not installed: its rules are not tried\n");
    } else {
        assert_int_equal(status, 0);
    }
    daemon_stop(h, d);
}

E2E_TEST(metrics_without_a_database)
{
    struct program *d = daemon_start(h, NULL);

    wait_metric(h, d, "atsyncd_database_up 1\n");
    pg_stop(h, "immediate");
    wait_metric(h, d, "atsyncd_database_up 0\n");
    wait_metric(h, d, "atsyncd_ready 0\n");
    assert_int_equal(get(h, d, "/healthz", NULL).status, 200);
    pg_start(h);
    wait_metric(h, d, "atsyncd_database_up 1\n");
    wait_metric(h, d, "atsyncd_ready 1\n");
    daemon_stop(h, d);
}

/* ---- status */

static bool says(struct harness *h, void *arg)
{
    const struct expected *e = arg;

    return text_has(body_of(h, e->d, "/api/status"), e->line);
}

static void wait_status(struct harness *h, struct program *d, const char *part)
{
    struct expected e = {.d = d, .line = part};

    wait_until(h, says, &e, part);
}

E2E_TEST(status_as_json)
{
    struct program *d = daemon_start(h, NULL);
    const struct json *j = json_of(h, body_of(h, d, "/api/status"));
    int64_t n = -1;
    char *issues;

    assert_string_equal(text_at(j, "state"), "ok");
    assert_string_equal(text_at(j, "version"), ATSYNC_VERSION);
    assert_string_equal(text_at(j, "instance"), "one");
    assert_int_equal(json_count(json_get(j, "newest")), 0);

    ats_fault(h, "{\"match\":{\"path_contains\":\"/candidates/ats_dead\"},\"action\":\"status\",\"status\":422,"
                 "\"times\":-1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_dead", "run", "run_dead", NULL));
    popp_deliver(
        h, d,
        popp_event(h, "run-started", "candidate", "c", "run", "run_c", "data.workflowExternalId", "nobodys", NULL));
    wait_status(h, d, "\"state\":\"trouble\"");
    wait_status(h, d, "\"class\":\"unmapped\"");
    wait_status(h, d, "\"events\":3,");
    j = json_of(h, body_of(h, d, "/api/status"));
    /* the same as the views say */
    issues = json_text(json_get(j, "issues"));
    assert_string_equal(
        sql_text(h, arena_printf(h->arena,
                                 "select count(*) from json_array_elements('%s') e where not exists (select from "
                                 "atsync.issues i where i.closed_at is null and i.class = e ->> 'class' and i.message "
                                 "= e ->> 'message' and i.hint = e ->> 'hint')",
                                 issues)),
        "0");
    mem_free(issues);
    assert_string_equal(text_at(j, "connectors.0.connector"), "sandbox");
    assert_string_equal(text_at(j, "connectors.0.state"), "ok");
    assert_string_equal(text_at(j, "connectors.0.type"), "rest");
    assert_true(json_get_i64(json_at(j, "connectors.0.pace"), "requests", &n) && n == 1000);
    assert_true(json_get_i64(json_at(j, "connectors.0.pace"), "concurrency", &n) && n == 8);
    assert_true(json_get_i64(json_at(j, "queue"), "waiting", &n) && n == 0);
    assert_true(json_get_i64(json_at(j, "last_hour"), "synced", &n) && n >= 1);
    assert_int_equal(json_count(json_get(j, "newest")), 3);
    assert_int_equal(json_count(json_get(j, "blocked")), 2);
    assert_string_equal(text_at(j, "daemons.0.version"), ATSYNC_VERSION);
    assert_true(text_has(text_at(j, "summary"), "1 problem: "));
    daemon_stop(h, d);
}

E2E_TEST(activity_as_json)
{
    struct program *d = daemon_start(h, NULL);
    const struct json *j;
    double events = 0, time_s = 0;

    sql_script(h, "insert into atsync.activity_minute select date_trunc('minute', now()) - interval '23 hours', 7, 1, "
                  "2, 3, 4, 5, 6, 2, 3000, 2500;"
                  "insert into atsync.activity_minute select date_trunc('minute', now()) - interval '25 hours', 1, 1, "
                  "1, 1, 1, 1, 1, 1, 1, 1");
    j = json_of(h, body_of(h, d, "/api/activity"));
    assert_string_equal(text_at(j, "columns.0"), "time");
    assert_string_equal(text_at(j, "columns.1"), "events");
    assert_true(json_num(json_at(j, "rows.0.1"), &events) && events == 7);
    assert_true(json_num(json_at(j, "rows.0.0"), &time_s));
    assert_string_equal(sql_text(h, arena_printf(h->arena,
                                                 "select date_trunc('minute', now()) - to_timestamp(%lld) between "
                                                 "interval '23 hours' and interval '23 hours 5 minutes'",
                                                 (long long)time_s)),
                        "true");
    daemon_stop(h, d);
}

/* ---- people */

#define ANSWER "18C2094E"
#define MAIL "m.okafor@mail.example"

static const char *candidate_of(struct harness *h, struct program *d, const char *query)
{
    return body_of(h, d, arena_printf(h->arena, "/api/candidate?id=%s", query));
}

static bool is_reloaded(struct harness *h, void *arg)
{
    return text_has(program_log(h, arg), "configuration reloaded");
}

E2E_TEST(a_candidate_as_json)
{
    struct daemon_conf conf = {.admin = "show_personal: true\n"};
    struct program *d = daemon_start(h, NULL);
    const struct json *j;
    const char *text;

    ats_fault(h, "{\"match\":{\"path_contains\":\"/stage\"},\"action\":\"status\",\"status\":422,\"times\":-1}");
    popp_deliver(h, d, popp_event(h, "contact-resolved", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, "select count(*) from atsync.dead_writes", "1");
    text = candidate_of(h, d, "ats_42");
    j = json_of(h, text);
    assert_string_equal(text_at(j, "sync.0.workflow_external_id"), "cedar-rgn-screening");
    assert_string_equal(text_at(j, "open_writes.0.kind"), "stage");
    assert_null(json_at(j, "open_writes.0.value"));
    assert_true(json_count(json_get(j, "timeline")) > 5);
    assert_null(json_get(j, "answers"));
    assert_false(text_has(text, ANSWER) || text_has(text, MAIL) || text_has(text, "Recruiter screen"));
    assert_int_equal(get(h, d, "/api/candidate?id=ats_42&personal=1", NULL).status, 403);
    assert_int_equal(get(h, d, "/api/candidate", NULL).status, 400);
    assert_int_equal(get(h, d, "/api/candidate?id=", NULL).status, 400);
    assert_int_equal(get(h, d, "/api/candidate?id=%ff%fe", NULL).status, 400);
    assert_int_equal(get(h, d, "/api/candidate?id=nobody", NULL).status, 404);
    assert_int_equal(get(h, d, arena_printf(h->arena, "/api/candidate?id=%0500d", 1), NULL).status, 400);
    /* a post asks for more than is allowed: the page stays without */
    text = http_call(h, d->admin_port, "POST", "/candidate?id=ats_42", NULL, "", 0).body;
    assert_true(text_has(text, "admin.show_personal"));
    assert_false(text_has(text, ANSWER) || text_has(text, MAIL));
    /* by run and by profile */
    assert_string_equal(text_at(json_of(h, candidate_of(h, d, "run_4a1e9c")), "id"), "ats_42");
    assert_string_equal(text_at(json_of(h, candidate_of(h, d, "cp_8842f0")), "id"), "ats_42");

    daemon_rewrite_conf(h, d, &conf);
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_until(h, is_reloaded, d, "the configuration is reloaded");
    text = candidate_of(h, d, "ats_42");
    assert_false(text_has(text, ANSWER) || text_has(text, MAIL) || text_has(text, "Recruiter screen"));
    assert_false(text_has(get(h, d, "/candidate?id=ats_42", NULL).body, ANSWER));
    assert_false(text_has(program_log(h, d), "personal data shown"));
    text = candidate_of(h, d, "ats_42&personal=1");
    assert_true(text_has(text, ANSWER) && text_has(text, MAIL) && text_has(text, "Recruiter screen"));
    assert_true(text_has(program_log(h, d), "msg=\"personal data shown\" candidate=ats_42 peer=127.0.0.1"));
    daemon_stop(h, d);
}

/* ---- who gets in */

E2E_TEST(with_a_token)
{
    struct daemon_conf conf = {.admin = "token: \"" TOKEN "\"\n"};
    static const char *const guarded[] = {
        "/", "/api/status", "/api/activity", "/api/candidate?id=x", "/candidate?id=x", "/metrics", "/nothing"};
    static const char *const open[] = {"/healthz", "/readyz", "/status.css", "/status.js", "/favicon.svg"};
    struct program *d = daemon_start(h, &conf);
    struct http_answer a;
    const char *cookie;

    for (size_t i = 0; i < ATS_COUNT(guarded); i++) {
        a = get(h, d, guarded[i], NULL);
        assert_int_equal(a.status, 401);
        assert_string_equal(http_header(h, &a, "WWW-Authenticate"), "Bearer");
        assert_int_equal(get(h, d, guarded[i], "Authorization: Bearer wrong\r\n").status, i < 5 ? 401 : a.status);
    }
    for (size_t i = 0; i < ATS_COUNT(open); i++) {
        assert_int_equal(get(h, d, open[i], NULL).status, 200);
    }
    assert_int_equal(get(h, d, "/api/status", WITH_TOKEN).status, 200);
    assert_int_equal(get(h, d, "/metrics", WITH_TOKEN).status, 200);
    assert_int_equal(get(h, d, "/nothing", WITH_TOKEN).status, 404);
    assert_int_equal(get(h, d, "/api/status", "Authorization: Basic " TOKEN "\r\n").status, 401);
    /* a browser is asked with a form */
    a = get(h, d, "/", HTML);
    assert_int_equal(a.status, 401);
    assert_true(text_has(a.body, "action=\"login\""));
    a = http_call(h, d->admin_port, "POST", "/login", NULL, "token=a+token+for+the+admin%20listener", 38);
    assert_int_equal(a.status, 303);
    assert_string_equal(http_header(h, &a, "Location"), "./");
    cookie = http_header(h, &a, "Set-Cookie");
    assert_true(text_has(cookie, "; HttpOnly; SameSite=Strict"));
    assert_false(text_has(cookie, "Secure"));
    assert_false(text_has(cookie, "token"));
    cookie = arena_printf(h->arena, "Cookie: %.*s\r\n", (int)strcspn(cookie, ";"), cookie);
    assert_int_equal(get(h, d, "/", cookie).status, 200);
    /* behind a proxy that speaks TLS the cookie is for TLS only */
    a = http_call(h, d->admin_port, "POST", "/login", "X-Forwarded-Proto: https\r\n",
                  "token=a+token+for+the+admin%20listener", 38);
    assert_true(text_has(http_header(h, &a, "Set-Cookie"), "; Secure"));
    a = http_call(h, d->admin_port, "POST", "/logout", cookie, "", 0);
    assert_int_equal(a.status, 303);
    assert_true(text_has(http_header(h, &a, "Set-Cookie"), "Max-Age=0"));
    /* not from another site */
    assert_int_equal(http_call(h, d->admin_port, "POST", "/login", "Origin: http://evil.example\r\n",
                               "token=a+token+for+the+admin%20listener", 38)
                         .status,
                     403);
    /* no guessing: neither here nor there, and the log says who */
    for (int i = 0; i < 10; i++) {
        a = http_call(h, d->admin_port, "POST", "/login", NULL, "token=guess", 11);
    }
    assert_int_equal(a.status, 429);
    assert_int_equal(get(h, d, "/metrics", WITH_TOKEN).status, 429);
    assert_int_equal(get(h, d, "/", cookie).status, 200);
    assert_int_equal(get(h, d, "/readyz", NULL).status, 200);
    assert_true(text_has(program_log(h, d), "msg=\"wrong token for the status page\" peer=127.0.0.1"));
    assert_false(text_has(program_log(h, d), TOKEN));
    daemon_stop(h, d);
}

/* A page of another site, in a browser on this machine. */
E2E_TEST(other_sites_see_nothing)
{
    struct program *d = daemon_start(h, NULL);
    int fd = http_open(h, d->admin_port);
    const char *request = "GET /api/status HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    struct http_answer a;

    http_write(h, fd, request, strlen(request)); /* its name points here now */
    a = http_read(h, fd);
    (void)close(fd);
    assert_int_equal(a.status, 421);
    assert_int_equal(get(h, d, "/api/status", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n").status, 403);
    assert_int_equal(get(h, d, "/metrics", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n").status, 403);
    assert_int_equal(get(h, d, "/api/status", "Origin: http://evil.example\r\n").status, 403);
    assert_int_equal(
        get(h, d, "/", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n").status,
        200); /* a link */
    daemon_stop(h, d);
}

static const struct {
    const char *name, *value;
} wanted_headers[] = {
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "same-origin"},
    {"Cache-Control", "no-store"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
     "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"},
};

E2E_TEST(headers_and_methods)
{
    static const char *const paths[] = {"/", "/api/status", "/metrics", "/status.js", "/nothing", "/healthz"};
    struct program *d = daemon_start(h, NULL);
    struct http_answer a;

    for (size_t i = 0; i < ATS_COUNT(paths); i++) {
        a = get(h, d, paths[i], NULL);
        for (size_t k = 0; k < ATS_COUNT(wanted_headers); k++) {
            assert_string_equal(http_header(h, &a, wanted_headers[k].name), wanted_headers[k].value);
        }
    }
    a = http_call(h, d->admin_port, "DELETE", "/", NULL, NULL, 0);
    assert_int_equal(a.status, 405);
    assert_string_equal(http_header(h, &a, "Allow"), "GET, HEAD");
    a = http_call(h, d->admin_port, "GET", "/login", NULL, NULL, 0);
    assert_int_equal(a.status, 405);
    assert_string_equal(http_header(h, &a, "Allow"), "POST");
    assert_int_equal(http_call(h, d->admin_port, "POST", "/api/status", NULL, "", 0).status, 405);
    /* nothing of the page comes from elsewhere, and there is nothing in it that its policy forbids */
    a = get(h, d, "/", NULL);
    assert_false(text_has(a.body, "http://") || text_has(a.body, "https://") || text_has(a.body, "src=\"//"));
    assert_false(text_has(a.body, "<style") || text_has(a.body, " style=") || text_has(a.body, " onclick="));
    assert_int_equal(text_count(a.body, "<script"), 1);
    /* it says the same without a script */
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_status(h, d, "\"sync_state\":\"synced\"");
    a = get(h, d, "/", NULL);
    assert_true(text_has(a.body, "<a href=\"candidate?id=ats_42\">ats_42</a>"));
    assert_true(text_has(a.body, "All is well"));
    daemon_stop(h, d);
}

/* Probes are answered while the page waits for the database. */
E2E_TEST(a_slow_page_does_not_delay_probes)
{
    struct program *d = daemon_start(h, NULL);
    int fd;
    const char *request =
        arena_printf(h->arena, "GET /candidate?id=x HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", d->admin_port);

    wait_status(h, d, "\"ready\":true");
    sql_script(h, "begin; lock table atsync.run in access exclusive mode; select 1");
    fd = http_open(h, d->admin_port);
    http_write(h, fd, request, strlen(request));
    wait_sql(h, "select count(*) > 0 from pg_locks where relation = 'atsync.run'::regclass and not granted", "true");
    assert_int_equal(get(h, d, "/healthz", NULL).status, 200);
    assert_int_equal(get(h, d, "/readyz", NULL).status, 200);
    sql_script(h, "commit");
    assert_int_equal(http_read(h, fd).status, 404); /* nobody is called x */
    (void)close(fd);
    daemon_stop(h, d);
}

static bool one_is_pending(struct harness *h, void *arg)
{
    (void)arg;
    return ats_figure(h, "pending") == 1;
}

/* Who ends lets what is under way end, for as long as that takes: nobody should be sent here any more. */
E2E_TEST(who_is_ending_is_not_ready)
{
    static const char ending[] = "the daemon is ending: no events are taken any more";
    struct program *d =
        daemon_start(/* the call outlasts any answer of before */
                     h, &(struct daemon_conf){.connector = "rate_limit: 1000/1s\nconcurrency: 8\ntimeout: "
                                                           "60s\nallow_private_addresses: true\n" E2E_RETRY,
                                              .delivery = "lease: 2m\n"});
    static const char state[] = "select sync_state from atsync.sync_status";
    struct http_answer answer;

    ats_fault(h, "{\"action\":\"delay\",\"times\":1}"); /* until it is released */
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_until(h, one_is_pending, NULL, "a call is under way");
    assert_int_equal(http_call(h, d->admin_port, "GET", "/readyz", NULL, NULL, 0).status, 200);
    assert_int_equal(kill(d->pid, SIGTERM), 0);
    do {
        answer = http_call(h, d->admin_port, "GET", "/readyz", NULL, NULL, 0);
    } while (answer.status == 200); /* its end at the latest */
    assert_int_equal(answer.status, 503);
    assert_true(text_has(answer.body, ending));
    assert_int_equal(http_call(h, d->admin_port, "GET", "/healthz", NULL, NULL, 0).status, 200);
    assert_true(text_has(http_call(h, d->admin_port, "GET", "/metrics", NULL, NULL, 0).body, "\natsyncd_ready 0\n"));
    ats_control(h, "POST", "/_sandbox/release", NULL);
    assert_int_equal(program_wait(h, d), 0);
    assert_string_equal(sql_text(h, state), "synced");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(the_metrics_of_the_contract),
        E2E_RUN(the_metrics_are_well_formed),
        E2E_RUN(metrics_without_a_database),
        E2E_RUN(status_as_json),
        E2E_RUN(activity_as_json),
        E2E_RUN(a_candidate_as_json),
        E2E_RUN(with_a_token),
        E2E_RUN(other_sites_see_nothing),
        E2E_RUN(headers_and_methods),
        E2E_RUN(a_slow_page_does_not_delay_probes),
        E2E_RUN(who_is_ending_is_not_ready),
    };

    return e2e_main(tests);
}
