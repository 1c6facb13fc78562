/* Secrets stay where they belong: an ATS that repeats them, every command and view, the log, the command line. */
#include <signal.h>
#include <stdio.h>

#include "base/text.h"
#include "lib/ctlkit.h"

#define ADMIN_TOKEN "secret-of-admin-0002"
#define SEALING "secret-of-sealing-0003"
#define API_KEY "secret-of-popp-api-0004"
#define PROXY_PASSWORD "secret-of-proxy-0005"
/* where something is wrong with it, or beside it */
#define WRONG "secret-in-a-wrong-place-0006"

static const char *const secrets[] = {E2E_SECRET, E2E_SECRET_OLD, E2E_TOKEN,      ADMIN_TOKEN,
                                      SEALING,    API_KEY,        PROXY_PASSWORD, WRONG};

static void assert_silent(const char *where, const char *text)
{
    assert_non_null(text);
    for (size_t i = 0; i < ATS_COUNT(secrets); i++) {
        const char *found = strstr(text, secrets[i]);

        if (found != NULL)
            fail_msg("%s tells \"%s\": …%.200s", where, secrets[i], found - (found - text > 100 ? 100 : found - text));
    }
}

/* What an ATS that is no friend, or a chatty one, says to a request: all that it has got. */
static void let_it_repeat(struct harness *h, const char *candidate, unsigned status, int times)
{
    ats_fault(h, arena_printf(h->arena,
                              "{\"match\":{\"candidate\":\"%s\"},\"action\":\"status\",\"status\":%u,\"times\":%d,"
                              "\"headers\":{\"WWW-Authenticate\":\"Bearer " E2E_TOKEN "\",\"X-Token\":\"" E2E_TOKEN
                              "\"},\"body\":\"{\\\"error\\\":\\\"Bearer " E2E_TOKEN " may not do this, " E2E_TOKEN
                              "\\\",\\\"" E2E_TOKEN "\\\":1}\"}",
                              candidate, status, times));
}

static void look_at_commands(struct harness *h, const struct program *d)
{
    static const char *const commands[][CTL_ARGS_MAX] = {
        {"check", "--no-probe"},
        {"doctor"},
        {"status"},
        {"status", "ats_422"},
        {"status", "ats_500"},
        {"issues"},
        {"plan"},
        {"connectors"},
        {"connectors", "rest"},
        {"setup", "--print"},
        {"migrate", "--dry-run"},
        {"send-sample", "run-started"},
        {"issues", "--all"},
        {"retry", "--all"},
        {"resync", "--all"},
        {"skip", "--all"},
        {"pause", "sandbox"},
        {"resume", "sandbox"},
        {"pause", "nobody"},
    };

    for (size_t i = 0; i < ATS_COUNT(commands); i++) {
        const char *name = commands[i][0], *arg = commands[i][1];
        const char *output = NULL;

        (void)program_run(h, &output, "atsyncctl", "-c", d->conf_path, name, arg, NULL);
        assert_true(output != NULL && *output != '\0');
        assert_silent(name, output);
        (void)program_run(h, &output, "atsyncctl", "-c", d->conf_path, "--json", name, arg, NULL);
        assert_silent(name, output);
    }
}

static void look_at_pages(struct harness *h, const struct program *d)
{
    static const char *const paths[] = {"/",
                                        "/api/status",
                                        "/api/activity",
                                        "/api/candidate",
                                        "/api/candidate?id=ats_422&personal=1",
                                        "/candidate?id=ats_422",
                                        "/candidate?id=ats_401&personal=1",
                                        "/metrics",
                                        "/healthz",
                                        "/readyz",
                                        "/nowhere"};
    static const char *const logins[] = {"token=" ADMIN_TOKEN, "token=no-" ADMIN_TOKEN, "tok=" ADMIN_TOKEN,
                                         ADMIN_TOKEN};

    for (size_t i = 0; i < ATS_COUNT(paths); i++) {
        struct http_answer a =
            http_call(h, d->admin_port, "GET", paths[i], "Authorization: Bearer " ADMIN_TOKEN "\r\n", NULL, 0);

        assert_true(a.status != 0);
        assert_silent(paths[i], a.head);
        assert_silent(paths[i], a.body);
    }
    for (size_t i = 0; i < ATS_COUNT(logins); i++) {
        struct http_answer a =
            http_call(h, d->admin_port, "POST", "/login", "Content-Type: application/x-www-form-urlencoded\r\n",
                      logins[i], strlen(logins[i]));

        assert_true(a.status != 0);
        assert_silent("/login", a.head);
        assert_silent("/login", a.body);
    }
}

/* Every row of every table and view, as text. */
static void look_at_database(struct harness *h)
{
    const char *names = sql_text(h, "select string_agg(c.relname, ' ') from pg_class c join pg_namespace n on n.oid = "
                                    "c.relnamespace where n.nspname = 'atsync' and c.relkind in ('r', 'p', 'v', 'm')");
    unsigned count = 0;

    while (*names != '\0') {
        size_t len = strcspn(names, " ");
        const char *name = arena_strndup(h->arena, names, len);

        assert_silent(name, sql_text(h, arena_printf(h->arena,
                                                     "select coalesce(string_agg(t::text, chr(10)), '') from "
                                                     "atsync.%s t",
                                                     name)));
        names += len + (names[len] == ' ');
        count++;
    }
    assert_true(count > 20);
}

static void look_at_process(struct harness *h, const struct program *d)
{
    char bytes[4096];
    FILE *f = fopen(arena_printf(h->arena, "/proc/%d/cmdline", (int)d->pid), "re");
    size_t n;

    assert_non_null(f);
    n = fread(bytes, 1, sizeof bytes - 1, f);
    assert_int_equal(fclose(f), 0);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        bytes[i] = bytes[i] != '\0' ? bytes[i] : ' ';
    bytes[n] = '\0';
    assert_silent("the command line", bytes);
}

E2E_TEST(nothing_tells_a_secret)
{
    static const unsigned statuses[] = {400, 404, 422, 500};
    struct daemon_conf conf = {
        .top = "log: {level: debug}\n",
        .admin = "token: \"" ADMIN_TOKEN "\"\n",
        .database = "encryption_key: \"" SEALING "\"\n",
        .source = "signing_secrets: [\"" E2E_SECRET "\", \"" E2E_SECRET_OLD
                  "\"]\norganizations: [org_123456]\napi: {key: \"" API_KEY
                  "\", base_url: \"http://127.0.0.1:9\", after: 1h}\n",
    };
    struct program *d = daemon_start(h, &conf);

    for (size_t i = 0; i < ATS_COUNT(statuses); i++) {
        const char *candidate = arena_printf(h->arena, "ats_%u", statuses[i]);

        let_it_repeat(h, candidate, statuses[i], statuses[i] == 500 ? 1 : -1);
        popp_deliver(h, d,
                     popp_event(h, "run-completed", "candidate", candidate, "run",
                                arena_printf(h->arena, "run_%u", statuses[i]), NULL));
    }
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'ats_42'", "synced");
    wait_sql(h, "select dead_writes > 0 from atsync.sync_status where candidate_external_id = 'ats_422'", "true");
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'ats_500'", "synced");
    wait_sql(h, "select count(*) > 0 from atsync.issues where class = 'dead_writes'", "true");
    assert_true(text_has(sql_text(h, "select string_agg(error, ' ') from atsync.dead_writes"), "Bearer *** may not"));

    /* credentials that are not accepted: the connector is stopped, with what the ATS said */
    let_it_repeat(h, "ats_401", 401, -1);
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_401", "run", "run_401", NULL));
    wait_sql(h, "select count(*) from atsync.issues where class = 'connector_paused' and closed_at is null", "1");

    look_at_process(h, d);
    look_at_commands(h, d);
    look_at_pages(h, d);
    look_at_database(h);
    /* what changes is told, but not what secrets are now; and a configuration that is wrong does not quote them */
    conf.connector = E2E_CONNECTOR E2E_RETRY "proxy: \"http://user:" PROXY_PASSWORD "@127.0.0.1:9\"\n";
    daemon_rewrite_conf(h, d, &conf);
    look_at_commands(h, d);
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_sql(h, "select count(*) from atsync.issues where class = 'connector_paused' and closed_at is null", "0");
    look_at_database(h);
    daemon_stop(h, d);
    assert_silent("the log", program_log(h, d));
}

/* What is wrong in a configuration is told, with file and line, and without what stands there; so is what cannot be reached with it. */
E2E_TEST(nothing_tells_a_secret_that_is_wrong)
{
    static const struct {
        const char *what;
        struct daemon_conf conf;
    } cases[] = {
        {"a password to nowhere", {.conninfo = "postgresql://postgres:" WRONG "@127.0.0.1:1/x"}},
        {"a password to no file", {.conninfo = "host=/nonexistent password=" WRONG " dbname=x"}},
        {"a password in a URL that is none", {.conninfo = "postgresql://postgres:" WRONG "%zz@127.0.0.1/x"}},
        {"a password for a port", {.conninfo = "postgresql://postgres@127.0.0.1:" WRONG "/x"}},
        {"a password with an @", {.conninfo = "postgresql://postgres:x@" WRONG "@127.0.0.1/x"}},
        {"a password with a colon", {.conninfo = "postgresql://postgres:x@y:" WRONG "@127.0.0.1/x"}},
        {"a password without its end", {.conninfo = "host=127.0.0.1 password='" WRONG}},
        {"a password with a blank", {.conninfo = "host=127.0.0.1 password=x " WRONG}},
        {"a password with another name", {.conninfo = "host=127.0.0.1 pasword=" WRONG}},
        {"a proxy that is away", {.connector = E2E_CONNECTOR "proxy: \"http://user:" WRONG "@127.0.0.1:9\"\n"}},
        {"a proxy of another kind", {.connector = E2E_CONNECTOR "proxy: \"ftp://user:" WRONG "@127.0.0.1:9\"\n"}},
        {"a proxy without a host", {.connector = E2E_CONNECTOR "proxy: \"http://user:" WRONG "@\"\n"}},
        {"a proxy with a blank", {.connector = E2E_CONNECTOR "proxy: \"http://user:" WRONG " x@127.0.0.1:9\"\n"}},
        {"a user in the address", {.base_url = "https://user:" WRONG "@ats.example.com/api"}},
        {"a key in the address", {.base_url = "https://ats.example.com/api?key=" WRONG}},
        {"a key in an open address", {.base_url = "http://ats.example.com/api?key=" WRONG}},
        {"a key behind a blank", {.base_url = "https://ats.example.com/api? key=" WRONG}},
        {"a credential in a list", {.access = "credentials: {token: [\"" WRONG "\"]}\n"}},
        {"a credential of an unknown kind", {.access = "credentials: {token: {fil: \"" WRONG "\"}}\n"}},
        {"a credential of two kinds", {.access = "credentials: {token: {env: \"A\", text: \"" WRONG "\"}}\n"}},
        {"a credential without a name", {.access = "credentials: \"" WRONG "\"\n"}},
        {"a credential too many", {.access = "credentials: {token: \"x\", key: \"" WRONG "\"}\n"}},
        {"a credential with a line break", {.access = "credentials: {token: \"" WRONG "\\r\\nx: y\"}\n"}},
        {"a short sealing key", {.database = "encryption_key: \"" WRONG "\"\nencryption: \"" WRONG "\"\n"}},
        {"a signing secret that is no base64",
         {.source = "signature: {scheme: standard-webhooks}\nsigning_secrets: [\"whsec_" WRONG "!\"]\n"}},
        {"an open quotation", {.admin = "token: \"" WRONG "\n"}},
        {"no alias", {.admin = "token: *" WRONG "\n"}},
        {"a tag", {.admin = "token: !" WRONG " x\n"}},
        {"no indentation", {.admin = "token: a: " WRONG "\n"}},
        {"twice", {.admin = "token: \"" WRONG "\"\ntoken: \"x" WRONG "\"\n"}},
    };
    struct program *d = daemon_start(h, NULL);

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *output = NULL;
        int status;

        daemon_rewrite_conf(h, d, &cases[i].conf);
        status = program_run(h, &output, "atsyncd", "-t", "-c", d->conf_path, NULL);
        assert_silent(cases[i].what, output);
        if (status == 0) { /* it shows where it is used */
            (void)program_run(h, &output, "atsyncctl", "-c", d->conf_path, "--json", "check", NULL);
            assert_silent(cases[i].what, output);
            (void)program_run(h, &output, "atsyncctl", "-c", d->conf_path, "doctor", NULL);
            assert_silent(cases[i].what, output);
        }
        assert_int_equal(kill(d->pid, SIGHUP), 0);
        wait_log(h, d, arena_printf(h->arena, " reload=%zu\n", i + 1));
    }
    assert_silent("the log", program_log(h, d));
    daemon_kill(h, d); /* by now it looks for its database elsewhere, or would at the next start */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(nothing_tells_a_secret),
        E2E_RUN(nothing_tells_a_secret_that_is_wrong),
    };

    return e2e_main(tests);
}
