/* How the daemon and atsyncctl reach an ATS: whom they trust, through what, where they do not go. */
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"
#include "base/text.h"
#include "lib/harness.h"
#include "lib/relay.h"
#include "lib/tls.h"

#define STATE "select sync_state from atsync.sync_status"
#define PLAIN "rate_limit: 1000/1s\ntimeout: 5s\nretry: {base: 50ms, cap: 200ms, max_age: 1h}\n"
#define PRIVATE PLAIN "allow_private_addresses: true\n"

static void reload(struct harness *h, struct program *d, const struct daemon_conf *conf)
{
    daemon_rewrite_conf(h, d, conf);
    assert_int_equal(kill(d->pid, SIGHUP), 0);
}

/* atsyncctl comes to the same end. */
static const char *check(struct harness *h, const struct program *d, int expected)
{
    const char *output = NULL;

    assert_int_equal(program_run(h, &output, "atsyncctl", "-c", d->conf_path, "check", NULL), expected);
    return output;
}

static void wait_error(struct harness *h, const char *part)
{
    wait_sql(h, arena_printf(h->arena, "select bool_or(strpos(last_error, '%s') > 0) from atsync.sync_status", part),
             "true");
}

/* Each time somebody new, as the breaker may wait with those before. */
static void deliver(struct harness *h, const struct program *d, const char *candidate)
{
    popp_deliver(h, d,
                 popp_event(h, "run-completed", "candidate", candidate, "run",
                            arena_printf(h->arena, "run_%s", candidate), NULL));
}

/* A certificate of nobody whom the system knows, and an ATS that wants to see ours. */
E2E_TEST(a_private_authority_and_a_client_certificate)
{
    char *cert, *key, *own_cert, *own_key;
    struct relay *ats;
    struct program *d;
    struct daemon_conf conf = {.base_url = NULL};
    const char *ca_file, *own_cert_file, *own_key_file;
    unsigned came;

    tls_make_certificate("127.0.0.1", &cert, &key);
    tls_make_certificate("atsyncd of Cedar", &own_cert, &own_key);
    ca_file = private_file(h, "ca.pem", cert);
    own_cert_file = private_file(h, "own.pem", own_cert);
    own_key_file = private_file(h, "own.key", own_key);
    ats = relay_start(&(struct relay_rules){
        .port = h->sandbox->port, .certificate_pem = cert, .key_pem = key, .client_ca_file = own_cert_file});
    conf.base_url = arena_printf(h->arena, "https://127.0.0.1:%u", relay_port(ats));
    conf.connector = arena_printf(h->arena, PRIVATE "tls: {ca: %s, certificate: %s, key: %s}\n", ca_file, own_cert_file,
                                  own_key_file);
    d = daemon_start(h, &conf);
    deliver(h, d, "ats_42");
    wait_sql(h, STATE, "synced");
    assert_true(text_has(check(h, d, 0), "lets us in"));
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "notes"))), 1);
    came = relay_figures(ats).connections;
    assert_true(came > 0);

    /* without ours */
    conf.connector = arena_printf(h->arena, PRIVATE "tls: {ca: %s}\n", ca_file);
    daemon_rewrite_conf(h, d, &conf);
    assert_false(text_has(check(h, d, 1), "SSL certificate problem"));
    assert_int_equal(relay_figures(ats).connections, came);

    /* without theirs: the daemon does not talk to who it cannot verify */
    conf.connector = PRIVATE;
    reload(h, d, &conf);
    wait_log(h, d, "configuration reloaded");
    deliver(h, d, "ats_43");
    wait_error(h, "SSL certificate problem: self-signed certificate");
    assert_true(text_has(check(h, d, 1), "SSL certificate problem"));
    assert_int_equal(relay_figures(ats).connections, came);
    assert_int_equal(ats_calls(h, "ats_43", NULL, NULL), 0);
    daemon_stop(h, d);
    relay_stop(ats);
    mem_free(cert);
    mem_free(key);
    mem_free(own_cert);
    mem_free(own_key);
}

/* The name is nobody's but the proxy's, and the ATS's certificate is verified through it. */
E2E_TEST(an_ats_behind_a_proxy)
{
    char *cert, *key;
    struct relay *ats, *proxy;
    struct program *d;
    struct daemon_conf conf = {.base_url = "https://ats.invalid"};
    const char *by_proxy;

    tls_make_certificate("ats.invalid", &cert, &key);
    ats = relay_start(&(struct relay_rules){.port = h->sandbox->port, .certificate_pem = cert, .key_pem = key});
    proxy = relay_start(&(struct relay_rules){.port = relay_port(ats), .is_proxy = true});
    by_proxy = arena_printf(h->arena, PLAIN "proxy: http://127.0.0.1:%u\n", relay_port(proxy));
    conf.connector = arena_printf(h->arena, "%stls: {ca: %s}\n", by_proxy, private_file(h, "ca.pem", cert));
    d = daemon_start(h, &conf);
    deliver(h, d, "ats_42");
    wait_sql(h, STATE, "synced");
    assert_true(text_has(check(h, d, 0), "lets us in"));
    assert_string_equal(relay_figures(proxy).host, "ats.invalid:443");
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "notes"))), 1);

    conf.connector = by_proxy;
    reload(h, d, &conf);
    wait_log(h, d, "configuration reloaded");
    deliver(h, d, "ats_43");
    wait_error(h, "SSL certificate problem");
    assert_true(text_has(check(h, d, 1), "SSL certificate problem"));

    /* the environment is not asked for a proxy */
    conf.connector = PLAIN;
    daemon_rewrite_conf(h, d, &conf);
    assert_int_equal(setenv("https_proxy", arena_printf(h->arena, "http://127.0.0.1:%u", relay_port(proxy)), 1), 0);
    assert_true(text_has(check(h, d, 1), "the name ats.invalid cannot be resolved"));
    assert_int_equal(unsetenv("https_proxy"), 0);
    daemon_stop(h, d);
    relay_stop(proxy);
    relay_stop(ats);
    mem_free(cert);
    mem_free(key);
}

static bool does_listen(const struct addrinfo *there)
{
    int fd = socket(there->ai_family, there->ai_socktype | SOCK_CLOEXEC, there->ai_protocol);
    bool does;

    assert_true(fd >= 0);
    does = connect(fd, there->ai_addr, there->ai_addrlen) == 0;
    (void)close(fd);
    return does;
}

/* A name that leads to the sandbox's address, as a public one does whose name server was taken over. NULL: this machine has none but localhost. */
static const char *name_of_a_private_address(struct harness *h)
{
    char own[256] = "";
    const char *const names[] = {own, "localhost.localdomain"};
    const char *port = arena_printf(h->arena, "%u", h->sandbox->port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};

    (void)gethostname(own, sizeof own - 1);
    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        struct addrinfo *found = NULL;
        char ip[100] = "";
        bool fits = !text_eq(names[i], "localhost") && getaddrinfo(names[i], port, &hints, &found) == 0 &&
                    getnameinfo(found->ai_addr, found->ai_addrlen, ip, sizeof ip, NULL, 0, NI_NUMERICHOST) == 0 &&
                    address_is_private(ip) && does_listen(found);

        if (found != NULL)
            freeaddrinfo(found);
        if (fits)
            return arena_strdup(h->arena, names[i]);
    }
    return NULL;
}

E2E_TEST(a_name_that_leads_to_a_private_address)
{
    const char *name = name_of_a_private_address(h);
    struct daemon_conf conf = {.connector = PLAIN};
    struct program *d;

    if (name == NULL)
        skip();
    conf.base_url = arena_printf(h->arena, "https://%s:%u", name, h->sandbox->port);
    d = daemon_start(h, &conf);
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_error(h, "which is not a public address; allow_private_addresses permits it");
    assert_true(text_has(check(h, d, 1), "which is not a public address"));
    assert_int_equal(ats_figure(h, "requests"), 0);
    conf.connector = PRIVATE;
    reload(h, d, &conf);
    wait_error(h, "no secure connection"); /* now it goes there by itself, and the sandbox has no TLS */
    daemon_stop(h, d);
}

/* Where the connector's module names no host, nobody is followed, with the credentials or without. */
E2E_TEST(a_redirect_is_not_followed)
{
    struct relay *elsewhere = relay_start(&(struct relay_rules){.port = h->sandbox->port});
    struct program *d = daemon_start(h, NULL);

    ats_fault(h,
              arena_printf(h->arena,
                           "{\"match\":{\"path_contains\":\"/tags\"},\"action\":\"status\",\"status\":307,\"headers\":"
                           "{\"Location\":\"http://127.0.0.1:%u/candidates/ats_7/tags\"}}",
                           relay_port(elsewhere)));
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, STATE, "dead");
    assert_string_equal(sql_text(h, "select concat_ws('|', kind, http_status, error_class) from atsync.dead_writes"),
                        "tag|307|configuration");
    assert_int_equal(relay_figures(elsewhere).connections, 0);
    assert_string_equal(ats_value(h, "ats_7", "tags"), "null");
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "notes"))), 1);
    daemon_stop(h, d);
    relay_stop(elsewhere);
}

/* A host that the module trusts, whose name leads into our network by now: an ATS that was taken over looks around from here. */
E2E_TEST(a_redirect_to_a_private_address)
{
    const char *link = arena_printf(h->arena, "%s/connectors", h->dir);
    char *cert, *key;
    struct relay *ats;
    struct program *d;
    struct daemon_conf conf = {
        .type = "moving",
        .workflows = "cedar-rgn-screening:\n  connector: sandbox\n  on:\n    finished: {note: summary}\n",
    };

    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(TEST_SOURCE_DIR "/tests/e2e/connectors", link), 0);
    make_public_net(true);
    tls_make_certificate("192.0.2.1", &cert, &key);
    ats = relay_start(&(struct relay_rules){.port = h->sandbox->port, .certificate_pem = cert, .key_pem = key});
    conf.base_url = arena_printf(h->arena, "https://192.0.2.1:%u", relay_port(ats));
    conf.connector = arena_printf(h->arena, PLAIN "tls: {ca: %s}\n", private_file(h, "ca.pem", cert));
    d = daemon_start(h, &conf);
    deliver(h, d, "ats_42");
    wait_sql(h, STATE, "synced");
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "notes"))), 1);

    ats_fault(h,
              arena_printf(
                  h->arena,
                  "{\"match\":{\"candidate\":\"ats_43\"},\"action\":\"status\",\"status\":307,\"times\":-1,\"headers\":"
                  "{\"Location\":\"https://localhost:%u/candidates/ats_7/notes\"}}",
                  relay_port(ats)));
    deliver(h, d, "ats_43");
    wait_sql(h, "select concat_ws('|', kind, error_class) from atsync.dead_writes", "note|configuration");
    assert_true(text_starts(sql_text(h, "select error from atsync.dead_writes"), "a redirect leads to localhost at "));
    assert_true(text_has(sql_text(h, "select error from atsync.dead_writes"),
                         ", which is not a public address; allow_private_addresses permits it"));
    assert_int_equal(ats_calls(h, "ats_43", NULL, NULL), 1);

    /* where it is permitted, it is the certificate that does not fit there */
    conf.connector = arena_printf(h->arena, "%sallow_private_addresses: true\n", conf.connector);
    reload(h, d, &conf);
    wait_log(h, d, "configuration reloaded");
    assert_int_equal(program_run(h, NULL, "atsyncctl", "-c", d->conf_path, "retry", "--candidate", "ats_43", NULL), 0);
    wait_error(h, "no secure connection to localhost:");
    assert_string_equal(ats_value(h, "ats_7", "notes"), "null");
    daemon_stop(h, d);
    relay_stop(ats);
    mem_free(cert);
    mem_free(key);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(TEST_SOURCE_DIR "/conf/connectors", link), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_private_authority_and_a_client_certificate),
        E2E_RUN(an_ats_behind_a_proxy),
        E2E_RUN(a_name_that_leads_to_a_private_address),
        E2E_RUN(a_redirect_is_not_followed),
        E2E_RUN(a_redirect_to_a_private_address),
    };

    return e2e_main(tests);
}
