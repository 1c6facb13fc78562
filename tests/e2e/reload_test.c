/* SIGHUP: all that can change does, at once and without disturbing what is under way; the rest is named. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "lib/harness.h"
#include "lib/tls.h"

#define STATE_OF(candidate) "select sync_state from atsync.sync_status where candidate_external_id = '" candidate "'"
#define STAGE "jobs." E2E_JOB ".stage"
#define WORKFLOW(stage)                                                                                                \
    "cedar-rgn-screening:\n  connector: sandbox\n  job: \"" E2E_JOB "\"\n  on:\n    started: {stage: \"" stage "\"}\n"

struct awaited {
    const struct program *d;
    const char *begin, *part;
};

/* A line that has both. */
static bool is_told(struct harness *h, void *arg)
{
    const struct awaited *a = arg;

    for (const char *at = strstr(program_log(h, a->d), a->begin); at != NULL; at = strstr(at + 1, a->begin)) {
        if (text_has(arena_strndup(h->arena, at, strcspn(at, "\n")), a->part))
            return true;
    }
    return false;
}

static bool log_has(struct harness *h, const struct program *d, const char *begin, const char *part)
{
    return is_told(h, &(struct awaited){d, begin, part});
}

static void wait_log_line(struct harness *h, const struct program *d, const char *begin, const char *part)
{
    wait_until(h, is_told, &(struct awaited){d, begin, part},
               arena_printf(h->arena, "the log says: %s … %s", begin, part));
}

/* The n-th reload of this process; outcome: "reloaded" with what follows in the line, or "not reloaded". */
static void reload_as_it_is(struct harness *h, struct program *d, unsigned n, const char *outcome)
{
    const char *begin = arena_printf(h->arena, "msg=\"configuration %s", outcome);

    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_log_line(h, d, "reloaded\"", arena_printf(h->arena, " reload=%u", n)); /* whatever it was */
    if (!log_has(h, d, begin, arena_printf(h->arena, " reload=%u", n)))
        fail_msg("reload %u did not end so: %s", n, outcome);
}

static void reload(struct harness *h, struct program *d, const struct daemon_conf *conf, unsigned n,
                   const char *outcome)
{
    daemon_rewrite_conf(h, d, conf);
    reload_as_it_is(h, d, n, outcome);
}

static bool one_is_pending(struct harness *h, void *arg)
{
    (void)arg;
    return ats_figure(h, "pending") == 1;
}

static const char *write_secret(struct harness *h, const char *name, const char *text)
{
    const char *path = arena_printf(h->arena, "%s/%s", h->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    return path;
}

static int post_with(struct harness *h, const struct program *d, const char *secret, const char *body)
{
    char *signature = popp_signature(secret, body, strlen(body));
    const char *headers = arena_printf(h->arena, "Content-Type: application/json\r\nx-signature: %s\r\n", signature);

    mem_free(signature);
    return http_call(h, d->port, "POST", "/webhooks/popp", headers, body, strlen(body)).status;
}

/* ---- what changes */

E2E_TEST(a_new_mapping_holds_for_what_comes_next)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.workflows = WORKFLOW("Contacted")});

    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_ats(h, "ats_42", STAGE, "\"Contacted\"");
    reload(h, d, &(struct daemon_conf){.workflows = WORKFLOW("Called"), .top = "log: {level: debug}\n"}, 1,
           "reloaded\" changes=2 restart_needed=0");
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL));
    wait_ats(h, "ats_7", STAGE, "\"Called\"");
    wait_log_line(h, d, "level=debug", "msg=\"event answered 200\"");
    assert_true(log_has(h, d, "msg=\"setting changed\"",
                        "workflows.cedar-rgn-screening.on.started.stage: Contacted -> Called"));
    assert_true(log_has(h, d, "msg=\"setting changed\"", "log.level: info -> debug"));
    /* what was synced stays as it was: only an operator's resync writes it anew */
    assert_string_equal(ats_value(h, "ats_42", STAGE), "\"Contacted\"");
    daemon_stop(h, d);
}

E2E_TEST(a_workflow_that_was_not_mapped_is_synced)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.workflows = "another:\n  connector: sandbox\n"});

    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_sql(h, STATE_OF("ats_42"), "unmapped");
    reload(h, d, &(struct daemon_conf){.workflows = WORKFLOW("Contacted")}, 1, "reloaded\" changes=2 ");
    wait_ats(h, "ats_42", STAGE, "\"Contacted\"");
    daemon_stop(h, d);
}

/* Whoever has mended the address does not wait for the back-off, nor for the breaker. */
E2E_TEST(what_failed_at_a_wrong_address_is_tried_at_the_right_one)
{
    enum { CANDIDATES = 12 }; /* enough to open the breaker */
    static const char nobody[] = "http://127.0.0.1:9";
    struct daemon_conf conf = {
        .workflows = WORKFLOW("Contacted"),
        .connector = "allow_private_addresses: true\nretry: {base: 30m, cap: 1h}\n",
        .base_url = nobody,
    };
    struct program *d = daemon_start(h, &conf);

    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_sql(h, "select count(*) from atsync.pending_writes where next_attempt_at is not null", "1");
    sql_script(
        h, "update atsync.ats_write set next_attempt_at = now() + interval '1 hour';" /* jitter may have made it soon */
           "update atsync.candidate set due_at = now() + interval '1 hour'");
    conf.base_url = NULL;
    reload(h, d, &conf, 1, "reloaded\" changes=1 ");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    wait_log_line(h, d, "msg=\"the configuration has changed: what failed is tried again\"",
                  " connector=sandbox candidates=1");

    conf.base_url = nobody;
    reload(h, d, &conf, 2, "reloaded\" changes=1 ");
    for (unsigned i = 0; i < CANDIDATES; i++)
        popp_deliver(h, d,
                     popp_event(h, "run-started", "candidate", arena_printf(h->arena, "ats_open_%u", i), "run",
                                arena_printf(h->arena, "run_open_%u", i), NULL));
    wait_sql(h, "select state from atsync.connector_status", "open");
    conf.base_url = NULL;
    reload(h, d, &conf, 3, "reloaded\" changes=1 ");
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", "13");
    wait_sql(h, "select state from atsync.connector_status", "ok");
    wait_log(h, d, "the configuration has changed: the ATS is tried again\" connector=sandbox");
    daemon_stop(h, d);
}

/* The file is the same, the files that it names are not. */
E2E_TEST(secrets_rotate_by_their_files_alone)
{
    const char *signing = write_secret(h, "signing.secret", "first-signing-secret\n");
    const char *token = write_secret(h, "ats.token", E2E_TOKEN);
    struct daemon_conf conf = {
        .source = arena_printf(h->arena, "signing_secrets: [{file: %s}]\n", signing),
        .access = arena_printf(h->arena, "credentials: {token: {file: %s}}\n", token),
    };
    struct program *d = daemon_start(h, &conf);
    const char *body = popp_event(h, "run-started", NULL);

    assert_int_equal(post_with(h, d, "first-signing-secret", body), 200);
    wait_ats(h, "ats_42", STAGE, "\"Contacted\"");
    write_secret(h, "signing.secret", "second-signing-secret");
    write_secret(h, "ats.token", "not-the-token-of-the-ats");
    assert_int_equal(post_with(h, d, "second-signing-secret", body), 401); /* not before the signal */
    reload_as_it_is(h, d, 1, "reloaded\" changes=2 restart_needed=0");
    assert_int_equal(post_with(h, d, "first-signing-secret", body), 401);
    body = popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL);
    assert_int_equal(post_with(h, d, "second-signing-secret", body), 200);
    wait_sql(h, "select state from atsync.connector_status", "paused");
    write_secret(h, "ats.token", E2E_TOKEN);
    reload_as_it_is(h, d, 2, "reloaded\" changes=1 restart_needed=0");
    wait_ats(h, "ats_7", STAGE, "\"Contacted\"");
    assert_true(log_has(h, d, "msg=\"setting changed\"", "sources.popp.signing_secrets: changed"));
    assert_true(log_has(h, d, "msg=\"setting changed\"", "connectors.sandbox.credentials.token: changed"));
    daemon_stop(h, d);
    assert_false(text_has(program_log(h, d), "first-signing-secret"));
    assert_false(text_has(program_log(h, d), "second-signing-secret"));
    assert_false(text_has(program_log(h, d), "not-the-token"));
    assert_false(text_has(program_log(h, d), E2E_TOKEN));
}

E2E_TEST(limits_change_while_connections_are_open)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.receiver = "max_body: 1KiB\nmax_connections: 3\n"});
    const char *body = popp_event(h, "run-completed", NULL);

    assert_true(strlen(body) > 1024);
    assert_int_equal(popp_post(h, d, body).status, 413);
    reload(h, d,
           &(struct daemon_conf){
               .receiver = "max_body: 1MiB\nmax_connections: 50\nmax_connections_per_address: 40\n"
                           "request_timeout: 20s\nqueue_max_events: 17\n",
               .database = "statement_timeout: 11s\nlisten_conninfo: \"host=/nowhere\"\n",
               .delivery = "lease: 2s\npoll: 150ms\nslots: 7\n",
           },
           1, "reloaded\" changes=9 restart_needed=0");
    popp_deliver(h, d, body);
    wait_sql(h, STATE_OF("ats_42"), "synced");
    daemon_stop(h, d);
}

/* ---- what does not */

E2E_TEST(what_needs_a_restart_is_named_and_the_rest_is_taken)
{
    struct daemon_conf later = {
        .instance = "another",
        .delivery = "lease: 9s\npoll: 200ms\n",
        .conninfo = arena_printf(h->arena, "%s password=hush-hush", h->conninfo),
        .workflows = WORKFLOW("Called"),
    };
    struct program *d = daemon_start(h, &(struct daemon_conf){.workflows = WORKFLOW("Contacted")});
    unsigned port = d->port;
    struct http_answer a;

    d->port = free_port(h);
    daemon_rewrite_conf(h, d, &later);
    d->port = port;
    for (unsigned n = 1; n <= 2; n++) { /* told again at each reload, as long as it is so */
        const char *in = arena_printf(h->arena, " reload=%u", n);

        reload_as_it_is(h, d, n,
                        n == 1 ? "reloaded\" changes=1 restart_needed=4" : "reloaded\" changes=0 restart_needed=4");
        assert_true(log_has(h, d, "msg=\"setting needs a restart\" setting=\"instance: one -> another\"", in));
        assert_true(log_has(h, d, "msg=\"setting needs a restart\" setting=\"receiver.listen: 127.0.0.1:", in));
        assert_true(log_has(h, d, "msg=\"setting needs a restart\" setting=\"database.conninfo: changed\"", in));
        assert_true(log_has(h, d, "msg=\"setting needs a restart\" setting=\"delivery.lease: 2s -> 9s\"", in));
    }
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_ats(h, "ats_42", STAGE, "\"Called\"");
    a = http_call(h, d->admin_port, "GET", "/metrics", NULL, NULL, 0);
    assert_true(text_has(a.body, "\natsyncd_config_restart_needed_settings 4\n"));
    assert_true(text_has(a.body, "\natsyncd_config_reload_successful 1\n"));
    assert_string_equal(sql_text(h, "select count(*) from atsync.daemon where owner like 'another@%'"), "0");
    daemon_stop(h, d);
    assert_false(text_has(program_log(h, d), "hush-hush"));
    /* and the restart takes them */
    later.conninfo = NULL;
    daemon_rewrite_conf(h, d, &later);
    daemon_start_again(h, d);
    wait_sql(h, "select count(*) from atsync.daemon where owner like 'another@%'", "1");
    daemon_stop(h, d);
}

E2E_TEST(a_bad_file_changes_nothing_and_says_so)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.workflows = WORKFLOW("Contacted")});
    struct http_answer a;

    reload(h, d, &(struct daemon_conf){.workflows = WORKFLOW("Called"), .top = "log: {lewel: debug}\n"}, 1,
           "not reloaded\"");
    assert_true(log_has(h, d, "level=error msg=\"configuration problem\"", "log.lewel: unknown key, did you mean"));
    reload(h, d, &(struct daemon_conf){.workflows = "cedar-rgn-screening: {connector: nobody}\n"}, 2, "not reloaded\"");
    reload(h, d, &(struct daemon_conf){.type = "no-such-type"}, 3, "not reloaded\"");
    assert_int_equal(unlink(d->conf_path), 0);
    reload_as_it_is(h, d, 4, "not reloaded\"");
    a = http_call(h, d->admin_port, "GET", "/metrics", NULL, NULL, 0);
    assert_true(text_has(a.body, "\natsyncd_config_reload_successful 0\n"));
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_ats(h, "ats_42", STAGE, "\"Contacted\"");
    reload(h, d, &(struct daemon_conf){.workflows = WORKFLOW("Called")}, 5, "reloaded\" changes=1 ");
    daemon_stop(h, d);
}

/* A certificate without its key is noticed by the server only: nothing else may have changed by then. */
E2E_TEST(certificates_rotate_under_open_connections)
{
    /* what is refused would end its connection */
    const char *body = popp_event(h, "run-started", NULL);
    char *signature = popp_signature(E2E_SECRET, body, strlen(body));
    const char *request = arena_printf(
        h->arena, "POST /webhooks/popp HTTP/1.1\r\nHost: t\r\nx-signature: %s\r\nContent-Length: %zu\r\n\r\n%s",
        signature, strlen(body), body);
    char *certificate[2], *key[2];
    const char *certificate_file, *key_file;
    struct tls_client *old, *fresh;
    struct daemon_conf conf = {.workflows = WORKFLOW("Contacted")};
    struct program *d;
    int plain;

    tls_make_certificate("first", &certificate[0], &key[0]);
    tls_make_certificate("second", &certificate[1], &key[1]);
    certificate_file = write_secret(h, "certificate.pem", certificate[0]);
    key_file = write_secret(h, "key.pem", key[0]);
    d = daemon_start(h, &conf); /* plain HTTP, to begin with */
    plain = http_open(h, d->port);
    http_write(h, plain, request, strlen(request));
    assert_int_equal(http_read(h, plain).status, 200);

    conf.receiver = arena_printf(h->arena, "tls: {certificate: %s, key: %s}\n", certificate_file, key_file);
    reload(h, d, &conf, 1, "reloaded\" changes=2 restart_needed=0");
    old = tls_client_new(http_open(h, d->port));
    assert_string_equal(tls_client_peer(old), "first");
    assert_int_equal(tls_client_status(old, request), 200);

    write_secret(h, "certificate.pem", certificate[1]);
    reload_as_it_is(h, d, 2, "not reloaded\"");
    assert_true(
        log_has(h, d, "msg=\"configuration problem\"", "receiver.tls: the key does not belong to the certificate"));
    fresh = tls_client_new(http_open(h, d->port));
    assert_string_equal(tls_client_peer(fresh), "first");
    tls_client_free(fresh);

    write_secret(h, "key.pem", key[1]);
    reload_as_it_is(h, d, 3, "reloaded\" changes=2 restart_needed=0");
    fresh = tls_client_new(http_open(h, d->port));
    assert_string_equal(tls_client_peer(fresh), "second");
    assert_int_equal(tls_client_status(fresh, request), 200);
    /* those that were open go on, each as it began */
    assert_int_equal(tls_client_status(old, request), 200);
    http_write(h, plain, request, strlen(request));
    assert_int_equal(http_read(h, plain).status, 200);
    assert_true(log_has(h, d, "msg=\"setting changed\"", "receiver.tls.certificate: "));
    assert_false(text_has(program_log(h, d), "PRIVATE KEY"));
    tls_client_free(fresh);
    tls_client_free(old);
    (void)close(plain);
    mem_free(signature);
    for (unsigned i = 0; i < 2; i++) {
        mem_free(certificate[i]);
        mem_free(key[i]);
    }
    daemon_stop(h, d);
}

/* ---- what is under way */

/* whatever else the machine has to do: no lease and no call may end meanwhile */
#define LONG_LEASE "lease: 10m\npoll: 200ms\n"
#define PATIENT "rate_limit: 1000/1s\nconcurrency: 8\ntimeout: 60s\nallow_private_addresses: true\n"

E2E_TEST(a_call_under_way_survives_and_is_recorded)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.connector = PATIENT E2E_RETRY, .delivery = LONG_LEASE});

    ats_fault(h, "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/notes\"},\"action\":\"delay\",\"delay_ms\":-1}");
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_until(h, one_is_pending, NULL, "the note is with the ATS");
    reload(h, d,
           &(struct daemon_conf){.delivery = LONG_LEASE,
                                 .connector = PATIENT "retry: {base: 60ms, cap: 600ms, max_age: 1h}\n"},
           1, "reloaded\" changes=2 ");
    reload_as_it_is(h, d, 2, "reloaded\" changes=0 ");
    /* others are worked on meanwhile, under the new settings */
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", NULL));
    wait_sql(h, STATE_OF("ats_7"), "synced");
    assert_int_equal(ats_figure(h, "pending"), 1);
    ats_control(h, "POST", "/_sandbox/release", NULL);
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_int_equal(ats_calls(h, "ats_42", "POST", "/notes"), 1);
    wait_sql(h, "select count(*) from atsync.ats_call where ref = 'x:ats_42' and verb = 'note' and outcome = 'ok'",
             "1");
    daemon_stop(h, d);
}

/* An event that waits for its commit while the reload happens. */
E2E_TEST(an_event_under_way_is_stored)
{
    struct program *d = daemon_start(h, NULL);
    const char *body = popp_event(h, "run-started", NULL);
    char *signature = popp_signature(E2E_SECRET, body, strlen(body));
    const char *head = arena_printf(h->arena,
                                    "POST /webhooks/popp HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                                    "x-signature: %s\r\nContent-Length: %zu\r\n\r\n",
                                    signature, strlen(body));
    int fd = http_open(h, d->port);

    mem_free(signature);
    http_write(h, fd, head, strlen(head));
    http_write(h, fd, body, strlen(body) / 2);
    reload(h, d, &(struct daemon_conf){.receiver = "max_body: 2MiB\n", .top = "log: {format: json}\n"}, 1,
           "reloaded\"");
    http_write(h, fd, body + strlen(body) / 2, strlen(body) - strlen(body) / 2);
    assert_int_equal(http_read(h, fd).status, 200);
    (void)close(fd);
    wait_sql(h, STATE_OF("ats_42"), "synced");
    daemon_stop(h, d);
    assert_true(text_has(program_log(h, d), "\"msg\":\"atsyncd has ended\""));
}

/* However often it is reloaded, no more requests go out than the pace allows. */
E2E_TEST(reloads_do_not_quicken_the_pace)
{
    enum { CANDIDATES = 6 };
    struct daemon_conf conf = {
        .workflows = WORKFLOW("Contacted"),
        .connector = "rate_limit: 2/1s\nconcurrency: 8\ntimeout: 60s\nallow_private_addresses: true\n" E2E_RETRY,
        .delivery = LONG_LEASE,
    };
    struct program *d = daemon_start(h, &conf);
    const struct json *log, *last = NULL;
    int64_t first_ms = 0, last_ms = 0;

    for (unsigned i = 0; i < CANDIDATES; i++) { /* each under a configuration of its own */
        popp_deliver(h, d,
                     popp_event(h, "run-started", "candidate", arena_printf(h->arena, "ats_%u", i), "run",
                                arena_printf(h->arena, "run_%u", i), NULL));
        reload_as_it_is(h, d, i + 1, "reloaded\" changes=0 ");
    }
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", "6");
    log = json_of(h, ats_get(h, "/_sandbox/log"));
    assert_int_equal(json_count(log), CANDIDATES);
    assert_true(json_get_i64(json_first(log), "at_ms", &first_ms));
    for (const struct json *e = json_first(log); e != NULL; e = json_next(e))
        last = e;
    assert_true(json_get_i64(last, "at_ms", &last_ms));
    assert_true(last_ms - first_ms > 3500); /* 5,000 ms as they are sent; one with each reload if that began anew */
    daemon_stop(h, d);
}

E2E_TEST(without_the_database_as_well)
{
    struct program *one = daemon_start(h, &(struct daemon_conf){.workflows = WORKFLOW("Contacted")});
    struct program *d = one;

    pg_stop(h, "immediate");
    reload(h, d, &(struct daemon_conf){.workflows = WORKFLOW("Called")}, 1, "reloaded\" changes=1 ");
    pg_start(h);
    daemon_wait_ready(h, d);
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    wait_ats(h, "ats_42", STAGE, "\"Called\"");
    /* and before it was seen for the first time */
    pg_stop(h, "immediate");
    d = daemon_spawn(h, &(struct daemon_conf){.instance = "two", .workflows = WORKFLOW("Contacted")});
    wait_log_line(h, d, "msg=\"atsyncd is up\"", "");
    reload(h, d, &(struct daemon_conf){.instance = "two", .workflows = WORKFLOW("Phoned")}, 1, "reloaded\" changes=1 ");
    pg_start(h);
    daemon_wait_ready(h, d);
    daemon_stop(h, one);
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL));
    wait_ats(h, "ats_7", STAGE, "\"Phoned\"");
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_new_mapping_holds_for_what_comes_next),
        E2E_RUN(a_workflow_that_was_not_mapped_is_synced),
        E2E_RUN(what_failed_at_a_wrong_address_is_tried_at_the_right_one),
        E2E_RUN(secrets_rotate_by_their_files_alone),
        E2E_RUN(limits_change_while_connections_are_open),
        E2E_RUN(what_needs_a_restart_is_named_and_the_rest_is_taken),
        E2E_RUN(a_bad_file_changes_nothing_and_says_so),
        E2E_RUN(certificates_rotate_under_open_connections),
        E2E_RUN(a_call_under_way_survives_and_is_recorded),
        E2E_RUN(an_event_under_way_is_stored),
        E2E_RUN(reloads_do_not_quicken_the_pace),
        E2E_RUN(without_the_database_as_well),
    };

    return e2e_main(tests);
}
