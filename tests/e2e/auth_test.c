/* Signing in: tokens that are renewed, that work once, that several daemons share, and that are refused. */
#include <signal.h>
#include <unistd.h>

#include "base/text.h"
#include "lib/harness.h"
#include "lib/oauth_stub.h"

#define KEY "encryption_key: \"sixteen characters at least\"\n"
#define NOTES "cedar-rgn-screening:\n  connector: sandbox\n  job: \"182736\"\n  on:\n    finished: {note: summary}\n"
#define SYNCED "select count(*) from atsync.sync_status where sync_state = 'synced'"
#define STATE "select state from atsync.connector_status where connector = 'sandbox'"
#define OPEN_ISSUE                                                                                                     \
    "select message from atsync.issues where closed_at is null and class = 'connector_paused' and connector = "        \
    "'sandbox'"

/* The connectors of these tests stand beside the configuration; those of the product are still found in the tree. */
static void use_test_connectors(struct harness *h)
{
    const char *link = arena_printf(h->arena, "%s/connectors", h->dir);

    (void)unlink(link);
    assert_int_equal(symlink(TEST_SOURCE_DIR "/tests/e2e/connectors", link), 0);
}

static const char *access_lines(struct harness *h, const char *secret, const char *first, const struct oauth_stub *s)
{
    return arena_printf(h->arena,
                        "credentials: {client_id: " OAUTH_CLIENT ", client_secret: \"%s\"%s%s%s}\n"
                        "settings: {auth_url: \"http://127.0.0.1:%u\"}\n",
                        secret, first != NULL ? ", refresh_token: \"" : "", first != NULL ? first : "",
                        first != NULL ? "\"" : "", oauth_stub_port(s));
}

static struct daemon_conf conf_of(struct harness *h, const char *type, const char *first, const struct oauth_stub *s)
{
    use_test_connectors(h);
    return (struct daemon_conf){
        .type = type,
        .access = access_lines(h, OAUTH_SECRET, first, s),
        .database = KEY,
        .workflows = NOTES,
        .connector = "rate_limit: 1000/1s\nconcurrency: 8\ntimeout: 2s\nallow_private_addresses: true\n" E2E_RETRY,
        .base_url = arena_printf(h->arena, "http://127.0.0.1:%u", oauth_stub_port(s)),
    };
}

static void deliver(struct harness *h, const struct program *d, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++)
        popp_deliver(h, d,
                     popp_event(h, "run-completed", "candidate", arena_printf(h->arena, "ats_%u", i), "run",
                                arena_printf(h->arena, "run_%u", i), NULL));
}

static void wait_synced(struct harness *h, unsigned count)
{
    wait_sql(h, SYNCED, num_text(count).s);
}

/* No credential and no token in what people see: the log, and the whole database. */
static void assert_no_secrets(struct harness *h, const struct program *d)
{
    static const char *const secrets[] = {OAUTH_SECRET, OAUTH_FIRST, "access~", "rotated~", "session~"};
    static const char *const tables[] = {"connector_token", "connector_state", "ats_call",
                                         "ats_write",       "issue",           "candidate"};

    for (size_t i = 0; i < ATS_COUNT(secrets); i++) {
        if (text_has(program_log(h, d), secrets[i]))
            fail_msg("the log holds %s", secrets[i]);
        for (size_t k = 0; k < ATS_COUNT(tables); k++) {
            const char *query = arena_printf(
                h->arena, "select count(*) from atsync.%s t where strpos(t::text, '%s') > 0", tables[k], secrets[i]);

            if (!text_eq(sql_text(h, query), "0"))
                fail_msg("the table %s holds %s", tables[k], secrets[i]);
        }
    }
}

E2E_TEST(client_credentials_are_shared_and_renewed_before_their_end)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-client", NULL, s);
    struct program *d;

    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600});
    d = daemon_start(h, &conf);
    deliver(h, d, 0, 5);
    wait_synced(h, 5);
    daemon_stop(h, d);
    daemon_start_again(h, d);
    deliver(h, d, 5, 3);
    wait_synced(h, 8);
    assert_int_equal(oauth_stub_figures(s).tokens, 1); /* the second process has read what the first one got */
    assert_int_equal(oauth_stub_figures(s).notes, 8);
    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 1, .revoke = 1});
    deliver(h, d, 8, 1);
    wait_synced(h, 9);
    assert_int_equal(oauth_stub_figures(s).tokens, 2);
    wait_sql(h, "select renewed_at < clock_timestamp() - interval '1 second' from atsync.connector_token", "true");
    deliver(h, d, 9, 1);
    wait_synced(h, 10);
    assert_int_equal(oauth_stub_figures(s).tokens, 3);
    assert_int_equal(oauth_stub_figures(s).notes_refused, 1); /* the one that was revoked; none because of its age */
    assert_no_secrets(h, d);
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

E2E_TEST(a_rotated_token_outlives_the_process)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-refresh", OAUTH_FIRST, s);
    struct program *d = daemon_start(h, &conf);

    for (unsigned i = 0; i < 3; i++) {
        oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600, .revoke = i > 0});
        deliver(h, d, i, 1);
        wait_synced(h, i + 1);
        daemon_stop(h, d);
        daemon_start_again(h, d);
    }
    assert_int_equal(oauth_stub_figures(s).tokens, 3);
    assert_int_equal(oauth_stub_figures(s).refused, 0);
    /* the base URL that came with the token was used */
    assert_string_equal(sql_text(h, "select min(path) from atsync.ats_call where outcome = 'ok'"),
                        "/v2/candidates/ats_0/notes");
    assert_string_equal(sql_text(h, "select sealed like 'v1:%' from atsync.connector_token"), "true");
    assert_no_secrets(h, d);
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

/* The way that the manual describes: the new key in front of the old one, then alone. The refresh token that works once
 * has to come through it. */
E2E_TEST(the_encryption_key_is_changed)
{
    static const char sealed[] = "select sealed from atsync.connector_token where connector = 'sandbox'";
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-refresh", OAUTH_FIRST, s);
    struct program *d;
    const char *by_old, *version;

    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600});
    d = daemon_start(h, &conf);
    deliver(h, d, 0, 1);
    wait_synced(h, 1);
    by_old = sql_text(h, sealed);
    version = sql_text(h, "select version from atsync.connector_token");
    /* of a connector that is not in the configuration any more; nobody can open that one */
    sql_script(h, "insert into atsync.connector_token (connector, version, sealed) values ('gone', 7, 'v1:AAAA')");

    conf.database = "encryption_key: [\"another one of them, and new\", \"sixteen characters at least\"]\n";
    daemon_rewrite_conf(h, d, &conf);
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_sql(
        h,
        arena_printf(h->arena, "select sealed <> '%s' from atsync.connector_token where connector = 'sandbox'", by_old),
        "true");
    assert_string_equal(sql_text(h, "select version from atsync.connector_token where connector = 'sandbox'"), version);
    assert_string_equal(sql_text(h, "select sealed from atsync.connector_token where connector = 'gone'"), "v1:AAAA");
    daemon_stop(h, d);
    assert_true(text_has(program_log(h, d), "stored tokens are encrypted with the new key now"));

    conf.database = "encryption_key: \"another one of them, and new\"\n";
    daemon_rewrite_conf(h, d, &conf);
    daemon_start_again(h, d);
    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600, .revoke = 1});
    deliver(h, d, 1, 1);
    wait_synced(h, 2);
    assert_int_equal(oauth_stub_figures(s).tokens, 2);
    assert_int_equal(oauth_stub_figures(s).refused, 0);
    daemon_stop(h, d);

    conf.database = KEY; /* the old one alone: what was sealed with the new one does not open */
    daemon_rewrite_conf(h, d, &conf);
    daemon_start_again(h, d);
    deliver(h, d, 2, 1);
    wait_sql(h, STATE, "paused");
    assert_true(text_has(sql_text(h, "select reason from atsync.connector_status where connector = 'sandbox'"),
                         "do not open with database.encryption_key"));
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

struct awaited {
    struct oauth_stub *stub;
    unsigned held, tokens;
};

static bool as_awaited(struct harness *h, void *arg)
{
    const struct awaited *a = arg;
    struct oauth_figures f = oauth_stub_figures(a->stub);

    (void)h;
    return f.held >= a->held && f.tokens >= a->tokens;
}

static void wait_stub(struct harness *h, struct oauth_stub *s, unsigned held, unsigned tokens)
{
    struct awaited a = {.stub = s, .held = held, .tokens = tokens};

    wait_until(h, as_awaited, &a, "the stub was asked");
}

/* Killed after the new refresh token was stored and before anything was done with it. */
E2E_TEST(killed_between_rotation_and_use)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-refresh", OAUTH_FIRST, s);
    struct program *d = daemon_start(h, &conf);

    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600, .hold_notes = true});
    deliver(h, d, 0, 1);
    wait_stub(h, s, 1, 1);
    daemon_kill(h, d);
    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600, .revoke = 1});
    daemon_start_again(h, d);
    wait_synced(h, 1);
    assert_int_equal(oauth_stub_figures(s).tokens, 2); /* the revoked one was renewed with the rotated refresh token */
    assert_int_equal(oauth_stub_figures(s).reused, 0);
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

/* The one window that nobody can close: then it is said what to do, and done it works again. */
E2E_TEST(killed_before_the_rotated_token_was_stored)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-refresh", OAUTH_FIRST, s);
    struct program *d = daemon_start(h, &conf);

    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600, .hold_tokens = true});
    deliver(h, d, 0, 1);
    wait_stub(h, s, 1, 1);
    daemon_kill(h, d);
    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600});
    daemon_start_again(h, d);
    wait_sql(h, STATE, "paused");
    wait_sql(
        h, OPEN_ISSUE,
        "oauth-refresh rejected the credentials of connector sandbox: the request for a token was answered "
        "400, invalid_grant: the token *** was used before; the refresh token was used up, was revoked or has expired: "
        "authorise atsyncd anew and configure the new refresh token. Connector sandbox is stopped; 1 candidate waits.");
    assert_int_equal(oauth_stub_figures(s).reused, 1);
    assert_no_secrets(h, d);
    conf.access = access_lines(h, OAUTH_SECRET, "rotated~1+/==", s); /* what a person gets by authorising anew */
    daemon_rewrite_conf(h, d, &conf);
    (void)kill(d->pid, SIGHUP);
    wait_synced(h, 1);
    wait_sql(h, STATE, "ok");
    assert_int_equal(oauth_stub_figures(s).notes, 1);
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

E2E_TEST(two_daemons_make_one_renewal)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-refresh", OAUTH_FIRST, s);
    struct program *one, *two;

    /* each takes 16 candidates at most, so that the second is left some of its own while the first waits for the token */
    conf.connector = "rate_limit: 1000/1s\nconcurrency: 1\ntimeout: 30s\nallow_private_addresses: true\n" E2E_RETRY;
    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600, .hold_tokens = true});
    one = daemon_start(h, &conf);
    deliver(h, one, 0, 20);
    wait_stub(h, s, 1, 1);
    conf.instance = "two";
    two = daemon_start(h, &conf);
    wait_sql(h, "select count(distinct lease_owner) from atsync.candidate where lease_owner is not null", "2");
    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600});
    wait_synced(h, 20);
    assert_int_equal(oauth_stub_figures(s).tokens, 1);
    assert_int_equal(oauth_stub_figures(s).refused, 0);
    assert_int_equal(oauth_stub_figures(s).notes, 20);
    daemon_stop(h, two);
    daemon_stop(h, one);
    oauth_stub_stop(s);
}

E2E_TEST(one_refusal_is_one_renewal_and_one_repetition)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-refresh", OAUTH_FIRST, s);
    struct program *d = daemon_start(h, &conf);

    deliver(h, d, 0, 1);
    wait_synced(h, 1);
    oauth_stub_rules(s, &(struct oauth_rules){.revoke = 1});
    deliver(h, d, 1, 6); /* several at once meet the revoked token */
    wait_synced(h, 7);
    assert_int_equal(oauth_stub_figures(s).tokens, 2);
    assert_int_equal(oauth_stub_figures(s).notes, 7);
    assert_string_equal(sql_text(h, "select max(attempts) from atsync.ats_write where kind = 'note'"), "1");
    assert_string_equal(sql_text(h, "select count(*) from atsync.dead_writes"), "0");
    assert_string_equal(sql_text(h, STATE), "ok");
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

E2E_TEST(refused_for_ever_stops_the_connector)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-refresh", OAUTH_FIRST, s);
    struct program *d = daemon_start(h, &conf);

    oauth_stub_rules(s, &(struct oauth_rules){.refuse_notes = true});
    deliver(h, d, 0, 1);
    wait_sql(h, STATE, "paused");
    wait_sql(
        h, OPEN_ISSUE,
        "oauth-refresh rejected the credentials of connector sandbox: not let in with Bearer ***. Connector sandbox "
        "is stopped; 1 candidate waits.");
    assert_int_equal(oauth_stub_figures(s).tokens, 2);
    assert_int_equal(oauth_stub_figures(s).notes_refused, 2);
    assert_no_secrets(h, d);
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

E2E_TEST(a_wrong_secret_stops_and_a_corrected_one_resumes)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-client", NULL, s);
    struct program *d;

    conf.access = access_lines(h, "wrong-secret", NULL, s);
    d = daemon_start(h, &conf);
    deliver(h, d, 0, 2);
    wait_sql(h, STATE, "paused");
    wait_sql(h, OPEN_ISSUE,
             "oauth-client rejected the credentials of connector sandbox: the request for a token was answered "
             "401, invalid_client: unknown client; check the client id and the client secret. Connector sandbox is "
             "stopped; 2 candidates wait.");
    assert_string_equal(
        sql_text(h, "select hint from atsync.issues where class = 'connector_paused' and closed_at is null"),
        "Look whether the credentials are still good, and make new ones if not. client_id: of the client. "
        "client_secret: likewise. Put them under credentials in connectors.sandbox and reload (systemctl reload "
        "atsyncd or kill -HUP): it goes on by itself then. Or a setting is wrong. auth_url: where tokens come from. If "
        "it was put right in the ATS instead: atsyncctl resume sandbox.");
    assert_int_equal(oauth_stub_figures(s).notes, 0);
    conf.access = access_lines(h, OAUTH_SECRET, NULL, s);
    daemon_rewrite_conf(h, d, &conf);
    (void)kill(d->pid, SIGHUP);
    wait_synced(h, 2);
    wait_sql(h, STATE, "ok");
    wait_sql(h, OPEN_ISSUE, NULL);
    assert_false(text_has(program_log(h, d), "wrong-secret"));
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

/* The token endpoint is away: candidates wait and are tried again, nothing is stopped. */
E2E_TEST(a_token_endpoint_that_fails_is_tried_again)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-client", NULL, s);
    struct program *d = daemon_start(h, &conf);

    oauth_stub_rules(s, &(struct oauth_rules){.token_status = 503});
    deliver(h, d, 0, 1);
    wait_sql(h, "select sync_state || ': ' || last_error from atsync.sync_status",
             "retrying: the request for a token was answered 503, server_error: not now");
    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 3600});
    wait_synced(h, 1);
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

E2E_TEST(a_chain_of_requests_is_a_session)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-chain", OAUTH_FIRST, s);
    struct program *d = daemon_start(h, &conf);

    deliver(h, d, 0, 3);
    wait_synced(h, 3);
    assert_int_equal(oauth_stub_figures(s).logins, 1);
    oauth_stub_rules(s, &(struct oauth_rules){.revoke = 1}); /* shows as 412 */
    deliver(h, d, 3, 1);
    wait_synced(h, 4);
    assert_int_equal(oauth_stub_figures(s).logins, 2);
    assert_int_equal(oauth_stub_figures(s).reused, 0);
    assert_string_equal(sql_text(h, "select min(path) from atsync.ats_call where outcome = 'ok'"),
                        "/rest/corp/candidates/ats_0/notes");
    assert_no_secrets(h, d);
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

E2E_TEST(a_base_url_that_leads_elsewhere_is_refused)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-refresh", OAUTH_FIRST, s);
    struct program *d = daemon_start(h, &conf);

    oauth_stub_rules(s, &(struct oauth_rules){.foreign = "https://evil.example/v2"});
    deliver(h, d, 0, 1);
    wait_sql(
        h, OPEN_ISSUE,
        "Connector sandbox cannot reach oauth-refresh as it is configured: the base URL that signing in gave leads to "
        "https://evil.example:443, which is not a host of this connector. Connector sandbox is stopped; 1 candidate "
        "waits.");
    assert_int_equal(oauth_stub_figures(s).notes + oauth_stub_figures(s).notes_refused, 0);
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

/* With nothing to do, and several daemons: each token is used once, and the next one is stored. */
E2E_TEST(a_token_that_dies_when_idle_is_kept_alive)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-keep", OAUTH_FIRST, s);
    struct program *one = daemon_start(h, &conf);
    struct program *two;
    struct oauth_figures f;

    conf.instance = "two";
    two = daemon_start(h, &conf);
    wait_stub(h, s, 0, 5);
    daemon_stop(h, two);
    daemon_stop(h, one);
    f = oauth_stub_figures(s);
    assert_int_equal(f.refused, 0);
    assert_string_equal(sql_text(h, "select version from atsync.connector_token"), num_text(f.tokens).s);
    oauth_stub_stop(s);
}

/* No candidate has asked: whoever renews the tokens says the same as a refused call does. */
E2E_TEST(refused_when_idle_stops_the_connector_too)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-keep", OAUTH_FIRST, s);
    struct program *d;

    conf.access = access_lines(h, "wrong-secret", OAUTH_FIRST, s);
    d = daemon_start(h, &conf);
    wait_sql(h, OPEN_ISSUE,
             "oauth-keep rejected the credentials of connector sandbox: the request for a token was answered 401, "
             "invalid_client: unknown client; check the client id and the client secret. Connector sandbox is stopped; "
             "0 candidates wait.");
    assert_true(
        text_has(sql_text(h, "select hint from atsync.issues where class = 'connector_paused' and closed_at is null"),
                 "client_id: of the client. client_secret: likewise. refresh_token: the first one. Put them under "));
    daemon_stop(h, d);
    oauth_stub_stop(s);
}

E2E_TEST(tokens_need_a_key)
{
    struct oauth_stub *s = oauth_stub_start();
    struct daemon_conf conf = conf_of(h, "oauth-client", NULL, s);
    struct program *d;

    conf.database = NULL;
    d = daemon_spawn(h, &conf);
    assert_int_equal(program_wait(h, d), 78);
    assert_true(
        text_has(program_log(h, d),
                 "database.encryption_key: is required by connector \"sandbox\": type oauth-client gets tokens, "
                 "which are stored encrypted"));
    oauth_stub_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(client_credentials_are_shared_and_renewed_before_their_end),
        E2E_RUN(a_rotated_token_outlives_the_process),
        E2E_RUN(the_encryption_key_is_changed),
        E2E_RUN(killed_between_rotation_and_use),
        E2E_RUN(killed_before_the_rotated_token_was_stored),
        E2E_RUN(two_daemons_make_one_renewal),
        E2E_RUN(one_refusal_is_one_renewal_and_one_repetition),
        E2E_RUN(refused_for_ever_stops_the_connector),
        E2E_RUN(a_wrong_secret_stops_and_a_corrected_one_resumes),
        E2E_RUN(a_token_endpoint_that_fails_is_tried_again),
        E2E_RUN(a_chain_of_requests_is_a_session),
        E2E_RUN(a_base_url_that_leads_elsewhere_is_refused),
        E2E_RUN(a_token_that_dies_when_idle_is_kept_alive),
        E2E_RUN(refused_when_idle_stops_the_connector_too),
        E2E_RUN(tokens_need_a_key),
    };

    return e2e_main(tests);
}
