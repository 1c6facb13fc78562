/* What a sender of webhooks gets for an answer, and what is kept of what it sent. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/harness.h"

static const char mark[] = "mark-of-the-body";

static const char *signed_headers(struct harness *h, const char *secret, const char *body)
{
    char *signature = popp_signature(secret, body, strlen(body));
    const char *headers = arena_printf(h->arena, "Content-Type: application/json\r\nX-Signature: %s\r\n", signature);

    mem_free(signature);
    return headers;
}

static struct http_answer post(struct harness *h, const struct program *d, const char *headers, const char *body)
{
    return http_call(h, d->port, "POST", "/webhooks/popp", headers, body, strlen(body));
}

/* Refusals are problem documents (RFC 9457) that say which status they are and repeat nothing of what was sent. */
static void assert_problem(struct harness *h, const struct http_answer *a, int status, const char *words)
{
    const struct json *problem;
    int64_t told = 0;

    if (a->status != status)
        fail_msg("answered %d, not %d: %s", a->status, status, a->body);
    assert_string_equal(http_header(h, a, "Content-Type"), "application/problem+json");
    problem = json_of(h, a->body);
    assert_true(json_get_i64(problem, "status", &told));
    assert_int_equal(told, status);
    assert_non_null(json_get_str(problem, "title"));
    if (words != NULL && !text_has(json_get_str(problem, "detail"), words))
        fail_msg("the detail does not say \"%s\": %s", words, a->body);
    assert_false(text_has(a->body, mark));
    assert_false(text_has(a->head, mark));
}

E2E_TEST(stored_then_duplicate)
{
    struct program *d = daemon_start(h, NULL);
    const char *body = popp_event(h, "run-started", NULL);
    struct http_answer a = popp_post(h, d, body);

    assert_int_equal(a.status, 200);
    assert_string_equal(http_header(h, &a, "Content-Type"), "application/json");
    assert_string_equal(a.body, "{\"status\":\"stored\"}");
    a = popp_post(h, d, body);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"status\":\"duplicate\"}");
    /* The event id decides, not the bytes. */
    a = popp_post(h, d, arena_printf(h->arena, "%s\n", body));
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"status\":\"duplicate\"}");
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "1");
    daemon_stop(h, d);
}

E2E_TEST(every_refusal_of_the_table)
{
    static const struct {
        const char *what, *method, *path;
        const char *type;   /* Content-Type, or NULL for none */
        const char *secret; /* signs with it; NULL: no signature header */
        const char *forged; /* signature header as it is */
        const char *body;   /* NULL: a sample event */
        int status;
        const char *words; /* of the detail */
    } cases[] = {
        {"no signature", "POST", "/webhooks/popp", "application/json", NULL, NULL, NULL, 401, NULL},
        {"no hex", "POST", "/webhooks/popp", "application/json", NULL, "not-a-signature", NULL, 401, NULL},
        {"too short", "POST", "/webhooks/popp", "application/json", NULL, "ab12", NULL, 401, NULL},
        {"another secret", "POST", "/webhooks/popp", "application/json", "somebody else's secret", NULL, NULL, 401,
         NULL},
        {"wrong signature before bad JSON", "POST", "/webhooks/popp", "application/json", "somebody else's secret",
         NULL, "{\"mark-of-the-body", 401, NULL},
        {"no such source", "POST", "/webhooks/nobody", "application/json", E2E_SECRET, NULL, NULL, 404, NULL},
        {"no such path", "POST", "/webhook/popp", "application/json", E2E_SECRET, NULL, NULL, 404, NULL},
        {"below a source", "POST", "/webhooks/popp/more", "application/json", E2E_SECRET, NULL, NULL, 404, NULL},
        {"the root", "POST", "/", "application/json", E2E_SECRET, NULL, NULL, 404, NULL},
        {"not POST", "PUT", "/webhooks/popp", "application/json", E2E_SECRET, NULL, NULL, 405, NULL},
        {"not JSON", "POST", "/webhooks/popp", "application/json", E2E_SECRET, NULL, "{\"event\": mark-of-the-body",
         400, "JSON"},
        {"empty", "POST", "/webhooks/popp", "application/json", E2E_SECRET, NULL, "", 400, "JSON"},
        {"an array", "POST", "/webhooks/popp", "application/json", E2E_SECRET, NULL, "[\"mark-of-the-body\"]", 400,
         NULL},
        {"no event", "POST", "/webhooks/popp", "application/json", E2E_SECRET, NULL,
         "{\"data\":{\"recordId\":\"mark-of-the-body\",\"organizationId\":\"org_123456\"}}", 400, "event"},
        {"data no object", "POST", "/webhooks/popp", "application/json", E2E_SECRET, NULL,
         "{\"event\":\"mark-of-the-body\",\"data\":[]}", 400, "data"},
        {"no recordId", "POST", "/webhooks/popp", "application/json", E2E_SECRET, NULL,
         "{\"event\":\"mark-of-the-body\",\"data\":{\"organizationId\":\"org_123456\"}}", 400, "recordId"},
        {"not JSON by type", "POST", "/webhooks/popp", "application/x-www-form-urlencoded", E2E_SECRET, NULL, NULL, 415,
         NULL},
        {"text", "POST", "/webhooks/popp", "text/plain; charset=utf-8", E2E_SECRET, NULL, NULL, 415, NULL},
        {"another organization", "POST", "/webhooks/popp", "application/json", E2E_SECRET, NULL,
         "{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"e1\",\"data\":{\"recordId\":\"mark-of-the-body\","
         "\"organizationId\":\"org_of_others\"}}",
         403, NULL},
    };
    struct program *d =
        daemon_start(h, &(struct daemon_conf){
                            .source = "signing_secrets: [\"" E2E_SECRET "\"]\norganizations: [org_123456]\n",
                        });

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *body =
            cases[i].body != NULL ? cases[i].body : popp_event(h, "run-started", "data.recordId", mark, NULL);
        const char *headers = "";
        struct http_answer a;

        if (cases[i].type != NULL)
            headers = arena_printf(h->arena, "Content-Type: %s\r\n", cases[i].type);
        if (cases[i].forged != NULL) {
            headers = arena_printf(h->arena, "%sx-signature: %s\r\n", headers, cases[i].forged);
        } else if (cases[i].secret != NULL) {
            char *signature = popp_signature(cases[i].secret, body, strlen(body));

            headers = arena_printf(h->arena, "%sx-signature: %s\r\n", headers, signature);
            mem_free(signature);
        }
        print_message("case: %s\n", cases[i].what);
        a = http_call(h, d->port, cases[i].method, cases[i].path, headers, body, strlen(body));
        assert_problem(h, &a, cases[i].status, cases[i].words);
        if (cases[i].status == 405)
            assert_string_equal(http_header(h, &a, "Allow"), "POST");
    }
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "0");
    daemon_stop(h, d);
    assert_false(text_has(program_log(h, d), mark));
}

E2E_TEST(what_must_be_accepted)
{
    static const char legacy[] =
        "{\"event\":\"CONVERSATION_STARTED\",\"data\":{\"recordId\":\"conv_1\",\"organizationId\":\"org_123456\","
        "\"externalId\":\"ats_42\"}}";
    static const char odd[] =
        "{\"event\":\"SOMETHING_NEW\",\"eventId\":\"odd\",\"eventTimestamp\":\"2026-05-12T09:00:00.000Z\",\"data\":"
        "{\"recordId\":\"x\",\"organizationId\":\"org_123456\",\"text\":\"\\u0000 \\ud800\",\"n\":1e400}}";
    struct program *d = daemon_start(h, NULL);
    const char *body = popp_event(h, "run-started", NULL);
    struct http_answer a;

    /* the older of two secrets, while they are being exchanged */
    a = post(h, d, signed_headers(h, E2E_SECRET_OLD, body), body);
    assert_int_equal(a.status, 200);

    /* an envelope without eventId and eventTimestamp: its bytes are its id */
    a = post(h, d, signed_headers(h, E2E_SECRET, legacy), legacy);
    assert_string_equal(a.body, "{\"status\":\"stored\"}");
    a = post(h, d, signed_headers(h, E2E_SECRET, legacy), legacy);
    assert_string_equal(a.body, "{\"status\":\"duplicate\"}");

    /* what jsonb refuses survives byte by byte */
    a = post(h, d, signed_headers(h, E2E_SECRET, odd), odd);
    assert_string_equal(a.body, "{\"status\":\"stored\"}");
    assert_string_equal(
        sql_text(h, arena_printf(h->arena,
                                 "select count(*) from atsync.event where body = convert_to($t$%s$t$, 'UTF8')", odd)),
        "1");

    /* no Content-Type, and one with parameters */
    body = popp_event(h, "run-started", NULL);
    {
        char *signature = popp_signature(E2E_SECRET, body, strlen(body));

        a = post(h, d, arena_printf(h->arena, "x-signature: %s\r\n", signature), body);
        assert_string_equal(a.body, "{\"status\":\"stored\"}");
        a = post(
            h, d,
            arena_printf(h->arena, "Content-Type: application/json; charset=utf-8\r\nx-signature: %s\r\n", signature),
            body);
        assert_string_equal(a.body, "{\"status\":\"duplicate\"}");
        mem_free(signature);
    }
    daemon_stop(h, d);
}

E2E_TEST(too_large_is_refused_before_the_body)
{
    static const char head[] =
        "POST /webhooks/popp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 70000\r\n"
        "x-signature: 0000000000000000000000000000000000000000000000000000000000000000\r\n";
    static const char *const extra[] = {"", "Expect: 100-continue\r\n"};
    struct program *d = daemon_start(h, &(struct daemon_conf){.receiver = "max_body: 64KiB\n"});

    for (size_t i = 0; i < ATS_COUNT(extra); i++) {
        const char *text = arena_printf(h->arena, "%s%s\r\n", head, extra[i]);
        int fd = http_open(h, d->port);
        struct http_answer a;

        assert_true(fd >= 0);
        http_write(h, fd, text, strlen(text)); /* and not one byte of the body */
        a = http_read(h, fd);
        assert_problem(h, &a, 413, NULL);
        (void)close(fd);
    }
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "0");
    daemon_stop(h, d);
}

E2E_TEST(twenty_times_the_same_event_is_one_set_of_calls)
{
    struct program *d = daemon_start(h, NULL);
    const char *body = popp_event(h, "run-completed", NULL);
    unsigned calls;

    for (int i = 0; i < 20; i++)
        popp_deliver(h, d, body);
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'ats_42'", "synced");
    calls = ats_calls(h, "ats_42", NULL, NULL);
    for (int i = 0; i < 20; i++)
        popp_deliver(h, d, body);
    /* When a later event has gone all the way, the repetitions have had their chance. */
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_later", "run", "run_later", NULL));
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'ats_later'", "synced");
    assert_int_equal(ats_calls(h, "ats_42", NULL, NULL), calls);
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 1);
    assert_int_equal(ats_calls(h, "ats_42", "PATCH", NULL), 1);
    assert_int_equal(ats_calls(h, "ats_42", "PUT", "/stage"), 1);
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/tags"), 1);
    daemon_stop(h, d);
}

static unsigned lines_with(const char *text, const char *part)
{
    unsigned count = 0;

    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        const char *at = strstr(text, part);

        count += at != NULL && at < text + len;
        text += len + (text[len] == '\n');
    }
    return count;
}

E2E_TEST(a_bad_signature_stores_nothing_and_is_one_line_of_the_log)
{
    struct program *d = daemon_start(h, NULL);
    const char *body = popp_event(h, "run-started", "data.recordId", mark, NULL);
    struct http_answer a = post(h, d, signed_headers(h, "somebody else's secret", body), body);
    const char *log;

    assert_int_equal(a.status, 401);
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "0");
    daemon_stop(h, d);
    log = program_log(h, d);
    assert_int_equal(lines_with(log, "signature"), 1);
    assert_false(text_has(log, mark));
    assert_false(text_has(log, E2E_SECRET));
}

struct attempt {
    const struct program *d;
    const char *body;
};

static bool is_taken(struct harness *h, void *arg)
{
    const struct attempt *attempt = arg;

    return popp_post(h, attempt->d, attempt->body).status == 200;
}

static bool is_not_ready(struct harness *h, void *arg)
{
    const struct program *d = arg;

    return http_call(h, d->admin_port, "GET", "/readyz", NULL, NULL, 0).status == 503;
}

E2E_TEST(without_the_database_503_and_the_retry_succeeds)
{
    struct program *d = daemon_start(h, NULL);
    struct attempt attempt = {d, popp_event(h, "run-started", NULL)};
    struct http_answer a;
    int64_t seconds = 0, before_ms;

    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_1", "run", "run_1", NULL));
    pg_stop(h, "immediate");
    before_ms = clock_mono_ms();
    a = popp_post(h, d, attempt.body);
    assert_problem(h, &a, 503, NULL);
    assert_true(clock_mono_ms() - before_ms < 10000);
    assert_non_null(http_header(h, &a, "Retry-After"));
    assert_true(text_to_i64(http_header(h, &a, "Retry-After"), 1, 3600, &seconds));
    assert_int_equal(http_call(h, d->admin_port, "GET", "/healthz", NULL, NULL, 0).status, 200);
    wait_until(h, is_not_ready, d, "GET /readyz answers 503");
    pg_start(h);
    wait_until(h, is_taken, &attempt, "the sender's retry is answered 200");
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "2");
    daemon_wait_ready(h, d);
    daemon_stop(h, d);
}

enum { SENDERS = 12 };

/* One event of each sender, all at once. Returns how many were answered 200. */
static unsigned send_round(struct harness *h, const struct program *d, unsigned round)
{
    int fds[SENDERS];
    unsigned stored = 0;

    for (unsigned i = 0; i < SENDERS; i++) {
        const char *body = popp_event(h, "run-started", "candidate", arena_printf(h->arena, "ats_%u_%u", round, i),
                                      "run", arena_printf(h->arena, "run_%u_%u", round, i), NULL);
        const char *request = arena_printf(
            h->arena, "POST /webhooks/popp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
            signed_headers(h, E2E_SECRET, body), strlen(body), body);

        fds[i] = http_open(h, d->port);
        http_write(h, fds[i], request, strlen(request));
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        stored += http_read(h, fds[i]).status == 200;
        (void)close(fds[i]);
    }
    return stored;
}

#define WRITERS_NOW                                                                                                    \
    "select count(*) from pg_stat_activity where datname = current_database() and application_name like '%receiver'"

/* Where commits take long, what comes meanwhile is stored over other connections. */
E2E_TEST(slow_commits_do_not_wait_for_each_other)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\n"});
    unsigned round = 0;

    for (; round < 3; round++)
        popp_deliver(h, d, popp_event(h, "run-started", NULL));
    sql_script(
        h, "create function atsync.slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); "
           "return null; end $$;"
           "create constraint trigger slowly after insert on atsync.event deferrable initially deferred for each row "
           "execute function atsync.slowly()");
    for (; round < 100 && strcmp(sql_text(h, WRITERS_NOW), "4") != 0; round++)
        assert_int_equal(send_round(h, d, round), SENDERS);
    assert_string_equal(sql_text(h, WRITERS_NOW), "4");
    assert_int_equal(send_round(h, d, round), SENDERS);
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"),
                        arena_printf(h->arena, "%u", 3 + (round - 2) * SENDERS));
    daemon_stop(h, d);
}

/* An event is not acknowledged before its commit has succeeded; the others of its batch are. */
E2E_TEST(a_commit_that_fails_is_not_acknowledged)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\n"});
    struct attempt attempt = {d, popp_event(h, "run-started", "candidate", "ats_bad", "run", "run_bad", NULL)};
    struct http_answer a;

    sql_script(
        h, "create function atsync.refuse() returns trigger language plpgsql as $$ begin if new.run_id = 'run_bad' "
           "then raise "
           "'not today'; end if; return null; end $$;"
           "create constraint trigger refuse after insert on atsync.event deferrable initially deferred for each row "
           "execute function atsync.refuse()");
    a = popp_post(h, d, attempt.body);
    assert_problem(h, &a, 503, NULL);
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "0");
    assert_int_equal(send_round(h, d, 1), SENDERS);
    sql_script(h, "drop trigger refuse on atsync.event");
    assert_true(is_taken(h, &attempt));
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), arena_printf(h->arena, "%d", SENDERS + 1));
    daemon_stop(h, d);
}

/* Somebody has changed a candidate by hand and forgotten to commit: its events wait with the sender, all others are stored. */
E2E_TEST(an_open_transaction_keeps_one_candidate_out)
{
    struct program *d = daemon_start(h, NULL);
    struct db *other = db_new(h->conninfo, "psql");
    const char *held = popp_event(h, "run-completed", "candidate", "held", "run", "run_held", NULL);
    const char *new = popp_event(h, "run-started", "candidate", "new", "run", "run_new", NULL);
    struct http_answer a;
    struct errmsg err;

    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "held", "run", "run_held", NULL));
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'held'", "synced");
    assert_int_equal(
        db_script(other, "begin", "begin; update atsync.candidate set attempts = attempts where ref = 'x:held'", &err),
        ST_OK);
    a = popp_post(h, d, held);
    assert_int_equal(a.status, 503);
    assert_non_null(http_header(h, &a, "Retry-After"));
    wait_log(h, d, "events not stored: another database session holds the rows of their candidates");
    assert_true(text_has(program_log(h, d), ", psql, role "));
    popp_deliver(h, d, new);
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'new'", "synced");
    assert_int_equal(http_call(h, d->admin_port, "GET", "/readyz", NULL, NULL, 0).status, 200);
    assert_int_equal(db_script(other, "rollback", "rollback", &err), ST_OK);
    popp_deliver(h, d, held);
    wait_sql(h, "select result from atsync.sync_status where candidate_external_id = 'held'", "PASSED_CRITERIA");
    db_free(other);
    daemon_stop(h, d);
}

E2E_TEST(a_second_daemon_gives_the_same_answers)
{
    struct program *one = daemon_start(h, NULL);
    struct program *two = daemon_start(h, &(struct daemon_conf){.instance = "two"});
    const char *body = popp_event(h, "run-started", NULL);
    struct http_answer a = popp_post(h, one, body);

    assert_string_equal(a.body, "{\"status\":\"stored\"}");
    a = popp_post(h, two, body);
    assert_string_equal(a.body, "{\"status\":\"duplicate\"}");
    body = popp_event(h, "run-completed", NULL);
    a = popp_post(h, two, body);
    assert_string_equal(a.body, "{\"status\":\"stored\"}");
    a = popp_post(h, one, body);
    assert_string_equal(a.body, "{\"status\":\"duplicate\"}");
    daemon_stop(h, one);
    daemon_stop(h, two);
}

/* What a shell allows by itself is not what the daemon has to do with. */
E2E_TEST(connections_do_not_use_up_the_descriptors)
{
    enum { SOFT = 64, CONNECTIONS = 100 };
    struct rlimit limit, low;
    struct program *d;
    int fds[CONNECTIONS];

    if (getenv("PROGRAM_RUNNER") != NULL)
        skip(); /* valgrind takes the limit that it was started with for its own, and lets no program raise it */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = SOFT;
    assert_true(limit.rlim_max > SOFT + CONNECTIONS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    d = daemon_start(h, &(struct daemon_conf){.receiver = "request_timeout: 10m\n"});
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        fds[i] = http_open(h, d->port);
        assert_true(fds[i] >= 0);
    }
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, "select sync_state from atsync.sync_status", "synced");
    for (size_t i = 0; i < CONNECTIONS; i++)
        (void)close(fds[i]);
    daemon_stop(h, d);
}

/* A connection from an address of this machine; of IPv6, ::1. */
static int come_from(struct harness *h, const struct program *d, const char *ip)
{
    bool is_v6 = strchr(ip, ':') != NULL;
    struct sockaddr_in from = {.sin_family = AF_INET},
                       to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)d->port)};
    struct sockaddr_in6 to_v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)d->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct timeval patience = {.tv_sec = DEADLINE_MS / 1000};
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

    (void)h;
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    if (!is_v6) {
        assert_int_equal(inet_pton(AF_INET, ip, &from.sin_addr), 1);
        assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    }
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = is_v6 ? connect(fd, (struct sockaddr *)&to_v6, sizeof to_v6) : connect(fd, (struct sockaddr *)&to, sizeof to);
    assert_int_equal(rc, 0);
    return fd;
}

/* "in": its event is taken, and it stays open; "out": it was closed at once. */
static const char *fate(struct harness *h, int fd)
{
    const char *body = popp_event(h, "run-started", NULL);
    const char *request =
        arena_printf(h->arena, "POST /webhooks/popp HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n%s\r\n%s",
                     strlen(body), signed_headers(h, E2E_SECRET, body), body);
    char answer[16] = "";

    (void)send(fd, request, strlen(request), MSG_NOSIGNAL);
    if (recv(fd, answer, sizeof answer - 1, 0) <= 0)
        return "out";
    assert_true(text_starts(answer, "HTTP/1.1 200"));
    return "in";
}

/* Whoever has an IPv6 network has any number of addresses. */
E2E_TEST(an_ipv6_network_is_one_address)
{
    static const struct {
        const char *ip;
        const char *fate;
    } clients[] = {
        {"127.1.0.1", "in"}, {"127.1.0.2", "in"}, {"127.1.200.3", "out"}, {"127.1.0.1", "out"},
        {"127.2.0.1", "in"}, {"127.2.0.1", "in"}, {"127.2.0.2", "out"},   {"127.0.0.1", "in"},
    };
    int fds[ATS_COUNT(clients)];
    struct daemon_conf conf = {.receiver = "max_connections_per_address: 2\n"};
    struct program *d;

    make_public_net(true);
    d = daemon_start(h, &conf);
    for (size_t i = 0; i < ATS_COUNT(clients); i++) {
        fds[i] = come_from(h, d, clients[i].ip);
        if (!text_eq(fate(h, fds[i]), clients[i].fate))
            fail_msg("%s (%zu) is not %s", clients[i].ip, i, clients[i].fate);
    }
    wait_log(h, d, "2001:db8:0:1::c8:3");
    for (size_t i = 0; i < ATS_COUNT(clients); i++)
        close(fds[i]);
    assert_int_equal(popp_post(h, d, popp_event(h, "run-started", NULL)).status, 200);
    daemon_stop(h, d);
}

E2E_TEST(a_listener_of_ipv6)
{
    static const char *const fates[] = {"in", "in", "out"};
    struct daemon_conf conf = {.listen = "[::1]", .receiver = "max_connections_per_address: 2\n"};
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fds[ATS_COUNT(fates)], fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    struct program *d;

    if (fd >= 0)
        close(fd);
    if (!has_ipv6)
        skip();
    d = daemon_start(h, &conf);
    for (size_t i = 0; i < ATS_COUNT(fates); i++) {
        fds[i] = come_from(h, d, "::1");
        assert_string_equal(fate(h, fds[i]), fates[i]);
    }
    for (size_t i = 0; i < ATS_COUNT(fates); i++)
        close(fds[i]);
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(stored_then_duplicate),
        E2E_RUN(connections_do_not_use_up_the_descriptors),
        E2E_RUN(every_refusal_of_the_table),
        E2E_RUN(what_must_be_accepted),
        E2E_RUN(too_large_is_refused_before_the_body),
        E2E_RUN(twenty_times_the_same_event_is_one_set_of_calls),
        E2E_RUN(a_bad_signature_stores_nothing_and_is_one_line_of_the_log),
        E2E_RUN(without_the_database_503_and_the_retry_succeeds),
        E2E_RUN(slow_commits_do_not_wait_for_each_other),
        E2E_RUN(a_commit_that_fails_is_not_acknowledged),
        E2E_RUN(an_open_transaction_keeps_one_candidate_out),
        E2E_RUN(a_second_daemon_gives_the_same_answers),
        E2E_RUN(an_ipv6_network_is_one_address),
        E2E_RUN(a_listener_of_ipv6),
    };

    return e2e_main(tests);
}
