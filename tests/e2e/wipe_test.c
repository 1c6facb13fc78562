/* Memory that held a secret is overwritten before it is given back: a whole life of the daemon and of atsyncctl, with each freed block looked at. */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "lib/crypto.h"
#include "lib/harness.h"
#include "lib/oauth_stub.h"
#include "lib/tls.h"

enum { REPORT_MAX_BYTES = 4 * 1024 * 1024 };

#define INLINE_SIGNING "inline-signing-secret-0001"
#define FILE_SIGNING "file-signing-secret-0002"
#define ENV_SIGNING "environment-signing-secret-0003"
#define NEXT_SIGNING "signing-secret-after-reload-0004"
#define SEALING "sealing-secret-0005-long-enough"
#define OLD_SEALING "sealing-secret-of-before-0006"
#define ADMIN_TOKEN "admin-token-0007"
#define API_KEY "popp-api-key-0008"
#define PROXY_PASSWORD "proxy-password-0009"
#define DATABASE_PASSWORD "database-password-0010"
#define BEARER "bearer-token-of-rest-0011"
/* what signing secrets of Standard Webhooks are the base64 of */
#define RAW_SIGNING "raw-signing-key-of-0013"

/* Whose blocks they are when no line of ours gives them back: what security.md says of them. */
static const char *const theirs[] = {"libcurl",   "libpq",   "libcrypto", "libssl", "libmicrohttpd",
                                     "libgnutls", "libyaml", "libjq",     "libnss"};

/* ---- what is looked for, and what was found */

static void add_secret(struct buf *out, const char *name, const void *bytes, size_t len)
{
    char *hex = mem_zalloc(2 * len + 1);

    crypto_hex(bytes, len, hex);
    buf_printf(out, "%s %s\n", name, hex);
    mem_free(hex);
}

static void add_text(struct buf *out, const char *name, const char *text)
{
    add_secret(out, name, text, strlen(text));
}

static void add_derived(struct buf *out, const char *name, const char *secret)
{
    static const char purpose[] = "connector_token v1";
    const struct crypto_part part = {purpose, sizeof purpose - 1};
    struct crypto_hmac *hmac = crypto_hmac_new(secret, strlen(secret));
    uint8_t key[CRYPTO_SHA256_BYTES];

    crypto_hmac_sign(hmac, &part, 1, key);
    crypto_hmac_free(hmac);
    add_secret(out, name, key, sizeof key);
}

static void add_base64(struct buf *out, const char *name, const char *text)
{
    char *encoded = mem_zalloc(4 * ((strlen(text) + 2) / 3) + 1);

    crypto_base64(text, strlen(text), encoded);
    add_text(out, name, encoded);
    mem_free(encoded);
}

static const char *look_for(struct harness *h, const char *private_key)
{
    const char *path;
    struct buf out;

    buf_init(&out, 64 * 1024);
    add_text(&out, "inline_signing", INLINE_SIGNING);
    add_text(&out, "file_signing", FILE_SIGNING);
    add_text(&out, "env_signing", ENV_SIGNING);
    add_text(&out, "next_signing", NEXT_SIGNING);
    add_text(&out, "raw_signing", RAW_SIGNING);
    add_base64(&out, "raw_signing_base64", RAW_SIGNING);
    add_text(&out, "sealing", SEALING);
    add_text(&out, "old_sealing", OLD_SEALING);
    add_derived(&out, "sealing_key", SEALING);
    add_derived(&out, "old_sealing_key", OLD_SEALING);
    add_text(&out, "admin_token", ADMIN_TOKEN);
    add_text(&out, "api_key", API_KEY);
    add_text(&out, "proxy_password", PROXY_PASSWORD);
    add_text(&out, "database_password", DATABASE_PASSWORD);
    add_text(&out, "bearer", BEARER);
    add_text(&out, "credential", E2E_TOKEN);
    add_text(&out, "senders_signing", E2E_SECRET);
    add_text(&out, "client_secret", OAUTH_SECRET);
    add_text(&out, "client_secret_form", "s3cret%3A%2F%2B%26%3D");
    add_base64(&out, "client_secret_basic", OAUTH_CLIENT ":s3cret%3A%2F%2B%26%3D");
    add_text(&out, "first_refresh_token", OAUTH_FIRST);
    add_text(&out, "access_token", "access~");
    add_text(&out, "refresh_token", "rotated~");
    add_text(&out, "session", "session~");
    /* a line in the middle of it */
    add_secret(&out, "private_key", strchr(strchr(private_key, '\n') + 1, '\n') + 1, 60);
    assert_false(out.failed);
    path = private_file(h, "leftovers.secrets", buf_text(&out));
    buf_free(&out);
    return path;
}

static bool is_theirs(const char *object)
{
    for (size_t i = 0; i < ATS_COUNT(theirs); i++) {
        if (text_starts(object, theirs[i]))
            return true;
    }
    return false;
}

/* One line of the report, with the lines of the sources that its first calls stand at. */
static void print_way(const char *line)
{
    char command[16 * 1024], called[1024];
    const char *calls = strrchr(line, '\t') + 1;
    int len =
        snprintf(command, sizeof command, "addr2line -spfie " TEST_BUILD_DIR "/%.*s", (int)strcspn(calls, "+"), calls);
    FILE *lines;

    print_error("%.*s\n", (int)(calls - line), line);
    for (const char *c = calls; (c = strchr(c, '+')) != NULL; c++)
        len += snprintf(command + len, sizeof command - (size_t)len, " %.*s", (int)strcspn(c + 1, " \n"), c + 1);
    lines = popen(command, "re"); /* NOLINT(cert-env33-c): names of our own making */
    while (lines != NULL && fgets(called, sizeof called, lines) != NULL)
        print_error("    %s", called);
    if (lines != NULL)
        (void)pclose(lines);
}

/* Nothing of ours; returns how many lines were theirs, which shows that it was looked at all. */
static unsigned assert_wiped(const char *report)
{
    FILE *f = fopen(report, "re");
    char line[8192], name[64], object[256];
    unsigned ours = 0, others = 0;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        assert_int_equal(sscanf(line, "%63s %255s", name, object), 2);
        if (is_theirs(object)) {
            others++;
        } else {
            print_way(line);
            ours++;
        }
    }
    assert_int_equal(fclose(f), 0);
    if (ours > 0)
        fail_msg("%u ways to memory that was given back with a secret in it", ours);
    return others;
}

/* ---- lives */

#define NOTES "cedar-rgn-screening:\n  connector: sandbox\n  job: \"182736\"\n  on:\n    finished: {note: summary}\n"
#define LOCAL "rate_limit: 1000/1s\ntimeout: 5s\nallow_private_addresses: true\n" E2E_RETRY

/* The connectors of these tests stand beside the configuration; those of the product are still found in the tree. */
static void use_test_connectors(struct harness *h)
{
    const char *link = arena_printf(h->arena, "%s/connectors", h->dir);

    (void)unlink(link);
    assert_int_equal(symlink(TEST_SOURCE_DIR "/tests/e2e/connectors", link), 0);
}

static const char *begin(struct harness *h, const char *private_key)
{
    const char *report = arena_printf(h->arena, "%s/leftovers.report", h->dir);

#ifdef __SANITIZE_THREAD__
    skip(); /* the allocator is the sanitizer's, which lets nobody in between; */
#endif
    if (getenv("PROGRAM_RUNNER") != NULL)
        skip(); /* or valgrind's */
    use_test_connectors(h);
    (void)private_file(h, "leftovers.report", "");
    find_leftovers(look_for(h, private_key), report);
    return report;
}

static void deliver(struct harness *h, const struct program *d, const char *candidate)
{
    popp_deliver(h, d,
                 popp_event(h, "run-completed", "candidate", candidate, "run",
                            arena_printf(h->arena, "run_%s", candidate), NULL));
    wait_sql(h,
             arena_printf(h->arena, "select sync_state from atsync.sync_status where candidate_external_id = '%s'",
                          candidate),
             "synced");
}

static void reload(struct harness *h, struct program *d, const struct daemon_conf *conf, const char *said)
{
    daemon_rewrite_conf(h, d, conf);
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_log(h, d, said);
}

static void look_around(struct harness *h, const struct program *d)
{
    static const char *const commands[] = {"check", "doctor", "status", "issues", "plan"};
    static const char *const tokens[] = {ADMIN_TOKEN, "no-" ADMIN_TOKEN, "adm"};

    for (size_t i = 0; i < ATS_COUNT(commands); i++)
        (void)program_run(h, NULL, "atsyncctl", "-c", d->conf_path, commands[i], NULL);
    (void)program_run(h, NULL, "atsyncctl", "-c", d->conf_path, "send-sample", "run-started", NULL);
    for (size_t i = 0; i < ATS_COUNT(tokens); i++)
        (void)http_call(h, d->admin_port, "GET", "/api/status",
                        arena_printf(h->arena, "Authorization: Bearer %s\r\n", tokens[i]), NULL, 0);
}

/* Signing secrets from everywhere, a token that is renewed, and settings that change or are wrong. */
E2E_TEST(a_life_with_tokens)
{
    static const char *const types[] = {"oauth-refresh", "oauth-client", "oauth-chain"};
    char *cert, *key;
    const char *report, *file;

    tls_make_certificate("receiver.example", &cert, &key);
    report = begin(h, key);
    file = private_file(h, "signing.secret", FILE_SIGNING "\n");
    assert_int_equal(setenv("WIPE_TEST_SIGNING", ENV_SIGNING, 1), 0);
    for (size_t i = 0; i < ATS_COUNT(types); i++) {
        struct oauth_stub *s = oauth_stub_start();
        struct daemon_conf conf = {
            .type = types[i],
            .instance = types[i],
            .admin = "token: \"" ADMIN_TOKEN "\"\n",
            .conninfo = arena_printf(h->arena, "%s password=" DATABASE_PASSWORD, h->conninfo),
            .database = "encryption_key: [\"" SEALING "\", \"" OLD_SEALING "\"]\n",
            .source = arena_printf(
                h->arena,
                "signing_secrets: [\"" INLINE_SIGNING "\", \"" E2E_SECRET
                "\", {file: %s}, {env: WIPE_TEST_SIGNING}]\norganizations: [org_123456]\napi: {key: \"" API_KEY
                "\", base_url: \"http://127.0.0.1:9\", after: 1h, proxy: \"http://user:" PROXY_PASSWORD
                "@127.0.0.1:9\"}\n",
                file),
            .connector = LOCAL,
            .workflows = NOTES,
            .base_url = arena_printf(h->arena, "http://127.0.0.1:%u", oauth_stub_port(s)),
            .access =
                arena_printf(h->arena,
                             "credentials: {client_id: " OAUTH_CLIENT ", client_secret: \"" OAUTH_SECRET
                             "\", refresh_token: \"" OAUTH_FIRST "\"}\nsettings: {auth_url: \"http://127.0.0.1:%u\"}\n",
                             oauth_stub_port(s)),
        };
        struct program *d;
        const char *const candidates[] = {arena_printf(h->arena, "ats_%zu1", i), arena_printf(h->arena, "ats_%zu2", i),
                                          arena_printf(h->arena, "ats_%zu3", i)};

        oauth_stub_rules(s, &(struct oauth_rules){.long_tokens = true});
        d = daemon_start(h, &conf);
        deliver(h, d, candidates[0]);
        oauth_stub_rules(s, &(struct oauth_rules){.long_tokens = true, .revoke = 1});
        deliver(h, d, candidates[1]);
        assert_int_equal(
            popp_post(h, d, popp_event(h, "run-completed", "organizationId", "org_of_nobody", NULL)).status, 200);
        if (i == 1) { /* a token that is got anew whenever it is asked for */
            oauth_stub_rules(s, &(struct oauth_rules){.long_tokens = true, .revoke = 1, .cut = 1});
            deliver(h, d, "ats_of_a_cut_answer");
            assert_int_equal(oauth_stub_figures(s).tokens, 4);
        }
        if (i == 0)
            look_around(h, d);
        conf.source = "signing_secrets: [\"" NEXT_SIGNING "\", \"" E2E_SECRET "\"]\n";
        conf.database = "encryption_key: \"" SEALING "\"\n";
        reload(h, d, &conf, "configuration reloaded");
        oauth_stub_rules(s, &(struct oauth_rules){.long_tokens = true, .revoke = 1});
        deliver(h, d, candidates[2]);
        conf.source =
            "signing_secrets: [\"" INLINE_SIGNING "\", {file: /nonexistent/secret}]\nsurprise: {key: [" API_KEY "]}\n";
        reload(h, d, &conf, "surprise");
        conf.source = "signing_secrets: [\"" INLINE_SIGNING "\", \"" FILE_SIGNING "\n";
        reload(h, d, &conf, "not valid YAML");
        daemon_stop(h, d);
        oauth_stub_stop(s);
    }
    assert_true(assert_wiped(report) > 0);
    find_leftovers(NULL, NULL);
    mem_free(cert);
    mem_free(key);
}

/* Signed as Standard Webhooks (https://www.standardwebhooks.com) wants it. */
static void deliver_standard(struct harness *h, const struct program *d)
{
    const char *body = popp_event(h, "run-completed", NULL);
    const char *now = sql_text(h, "select extract(epoch from clock_timestamp())::bigint");
    const struct crypto_part parts[] = {{"msg_1.", 6}, {now, strlen(now)}, {".", 1}, {body, strlen(body)}};
    struct crypto_hmac *hmac = crypto_hmac_new(RAW_SIGNING, strlen(RAW_SIGNING));
    uint8_t mac[CRYPTO_SHA256_BYTES];
    char text[64];
    struct http_answer a;

    crypto_hmac_sign(hmac, parts, ATS_COUNT(parts), mac);
    crypto_hmac_free(hmac);
    crypto_base64(mac, sizeof mac, text);
    a = http_call(h, d->port, "POST", "/webhooks/popp",
                  arena_printf(h->arena,
                               "Content-Type: application/json\r\nwebhook-id: msg_1\r\nwebhook-timestamp: %s\r\n"
                               "webhook-signature: v1,%s\r\n",
                               now, text),
                  body, strlen(body));
    assert_int_equal(a.status, 200);
    wait_sql(h, "select sync_state from atsync.sync_status", "synced");
}

/* A private key that is exchanged and switched off, a credential of systemd's, a signing secret that is base64. */
E2E_TEST(a_life_with_keys)
{
    char *cert, *key, *next_cert, *next_key, *encoded = mem_zalloc(4 * sizeof RAW_SIGNING);
    const char *report, *tls;
    struct daemon_conf conf = {.access = "credentials: {token: {credential: bearer}}\n", .connector = LOCAL};
    struct program *d;

    tls_make_certificate("receiver.example", &cert, &key);
    tls_make_certificate("receiver.example", &next_cert, &next_key);
    report = begin(h, key);
    crypto_base64(RAW_SIGNING, strlen(RAW_SIGNING), encoded);
    (void)private_file(h, "bearer", E2E_TOKEN "\n");
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", h->dir, 1), 0);
    tls = arena_printf(h->arena, "tls: {certificate: %s, key: %s}\n", private_file(h, "receiver.pem", cert),
                       private_file(h, "receiver.key", key));
    conf.receiver = tls;
    conf.source =
        arena_printf(h->arena, "signature: {scheme: standard-webhooks}\nsigning_secrets: [\"whsec_%s\"]\n", encoded);
    d = daemon_start(h, &conf);
    tls_client_free(tls_client_new(http_open(h, d->port)));
    (void)program_run(h, NULL, "atsyncctl", "-c", d->conf_path, "doctor", NULL);
    (void)private_file(h, "receiver.pem", next_cert);
    (void)private_file(h, "receiver.key", next_key);
    reload(h, d, &conf, "reload=1");
    conf.receiver = NULL;
    reload(h, d, &conf, "restart_needed=0 reload=2");
    deliver_standard(h, d);
    conf.access = "credentials: {token: \"" BEARER "\"}\n";
    conf.source = "signing_secrets: [\"" NEXT_SIGNING "\"]\n";
    reload(h, d, &conf, "restart_needed=0 reload=3");
    daemon_stop(h, d);
    assert_true(assert_wiped(report) > 0);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    mem_free(encoded);
    mem_free(cert);
    mem_free(key);
    mem_free(next_cert);
    mem_free(next_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_life_with_tokens),
        E2E_RUN(a_life_with_keys),
    };

    return e2e_main(tests);
}
