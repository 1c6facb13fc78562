/* What the log says, and above all what it does not say: one line for each event, and nothing of a candidate. */
#include <ctype.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/text.h"
#include "lib/harness.h"

/* Whatever is nobody's business has this word in it. */
#define MARK "zebra"
#define PHONE "+447700900142"
#define EMAIL "Zebra.Okafor@mail.example"
#define ANSWER "Zebra crossings are fine, 4711"

static struct http_answer post(struct harness *h, const struct program *d, const char *path, const char *secret,
                               const char *more, const char *body)
{
    char *signature = popp_signature(secret, body, strlen(body));
    const char *headers =
        arena_printf(h->arena, "Content-Type: application/json\r\nx-signature: %s\r\n%s", signature, more);

    mem_free(signature);
    return http_call(h, d->port, "POST", path, headers, body, strlen(body));
}

static struct http_answer post_signed(struct harness *h, const struct program *d, const char *more, const char *body)
{
    return post(h, d, "/webhooks/popp", E2E_SECRET, more, body);
}

/* ---- the lines */

static const char *next_line(struct harness *h, const char **at)
{
    size_t len = strcspn(*at, "\n");
    const char *line = arena_strndup(h->arena, *at, len);

    *at += len + ((*at)[len] == '\n');
    return line;
}

/* key=plain or key="with \" and \\": the end of it, or NULL. */
static const char *skip_pair(const char *p)
{
    size_t key = strspn(p, "abcdefghijklmnopqrstuvwxyz_");

    if (key == 0 || p[key] != '=')
        return NULL;
    p += key + 1;
    if (*p != '"')
        return p + strcspn(p, " ");
    for (p++; *p != '"'; p++) {
        if (*p == '\\')
            p++;
        if (*p == '\0')
            return NULL;
    }
    return p + 1;
}

static bool is_text_line(const char *line)
{
    const char *p = line + 24;

    if (strlen(line) < 25 || line[23] != 'Z' || !text_starts(p, " level="))
        return false;
    while (p != NULL && *p == ' ')
        p = skip_pair(p + 1);
    return p != NULL && *p == '\0';
}

static bool is_json_line(struct harness *h, const char *line)
{
    const struct json *j = json_of(h, line);

    return json_get_str(j, "time") != NULL && json_get_str(j, "level") != NULL && json_get_str(j, "msg") != NULL;
}

static void assert_lines(struct harness *h, const struct program *d, bool json)
{
    const char *at = program_log(h, d);

    assert_true(*at != '\0' && at[strlen(at) - 1] == '\n');
    assert_true(text_is_utf8(at, strlen(at)));
    while (*at != '\0') {
        const char *line = next_line(h, &at);

        for (const char *p = line; *p != '\0'; p++) {
            if ((unsigned char)*p < ' ' || *p == 0x7f)
                fail_msg("a control character in: %s", line);
        }
        if (json ? !is_json_line(h, line) : !is_text_line(line))
            fail_msg("no line of the log: %s", line);
    }
}

static const char *find_ignoring_case(const char *text, const char *part)
{
    for (; *text != '\0'; text++) {
        if (strncasecmp(text, part, strlen(part)) == 0)
            return text;
    }
    return NULL;
}

static void assert_nothing_personal(struct harness *h, const struct program *d)
{
    static const char *const parts[] = {MARK, "7700900142", E2E_SECRET, E2E_SECRET_OLD, E2E_TOKEN, "mail.example"};
    const char *log = program_log(h, d);

    for (size_t i = 0; i < ATS_COUNT(parts); i++) {
        const char *found = find_ignoring_case(log, parts[i]);

        if (found != NULL)
            fail_msg("the log holds \"%s\": …%.200s", parts[i], found - (found - log > 100 ? 100 : found - log));
    }
}

static unsigned lines_with(struct harness *h, const char *log, const char *one, const char *other)
{
    unsigned count = 0;

    while (*log != '\0') {
        const char *line = next_line(h, &log);

        count += text_has(line, one) && text_has(line, other);
    }
    return count;
}

/* ---- request ids */

E2E_TEST(a_request_is_found_by_its_id)
{
    static const char *const insane[] = {"two words", "jane@example.com", "caf\xc3\xa9",      "\x1b[31mred",
                                         "a\"b",      "{\"id\":1}",       "/../../etc/passwd"};
    struct program *d = daemon_start(h, &(struct daemon_conf){.top = "log: {level: debug}\n"});
    const char *body = popp_event(h, "run-started", NULL);
    struct http_answer a = post_signed(h, d, "X-Request-Id: from-popp.17_A\r\n", body);

    assert_int_equal(a.status, 200);
    assert_string_equal(http_header(h, &a, "X-Request-Id"), "from-popp.17_A");
    a = post(h, d, "/webhooks/popp", "not the secret", "x-request-id: refused-1\r\n", body);
    assert_int_equal(a.status, 401);
    assert_string_equal(json_get_str(json_of(h, a.body), "instance"), "refused-1");
    assert_string_equal(http_header(h, &a, "X-Request-Id"), "refused-1");
    a = post(h, d, "/webhooks/nobody", E2E_SECRET, "x-request-id: lost-1\r\n", body);
    assert_int_equal(a.status, 404);
    assert_string_equal(json_get_str(json_of(h, a.body), "instance"), "lost-1");
    for (size_t i = 0; i < ATS_COUNT(insane); i++) {
        const char *id, *log;

        a = post_signed(h, d, arena_printf(h->arena, "X-Request-Id: %s\r\n", insane[i]), "{}");
        assert_int_equal(a.status, 400);
        id = http_header(h, &a, "X-Request-Id");
        assert_non_null(id);
        assert_int_equal(strspn(id, "0123456789abcdef-"), strlen(id));
        assert_string_equal(json_get_str(json_of(h, a.body), "instance"), id);
        log = program_log(h, d);
        assert_false(text_has(log, insane[i]));
        /* the first line has its id; those folded into it are counted */
        assert_int_equal(lines_with(h, log, "msg=\"event refused\"", "request="), 1);
        if (i == 0)
            assert_int_equal(lines_with(h, log, "msg=\"event refused\"", id), 1);
    }
    a = http_call(h, d->admin_port, "GET", "/healthz", "X-Request-Id: probe-7\r\n", NULL, 0);
    assert_string_equal(http_header(h, &a, "X-Request-Id"), "probe-7");
    daemon_stop(h, d);
    assert_int_equal(lines_with(h, program_log(h, d), "level=debug", "request=from-popp.17_A"), 1);
    assert_int_equal(lines_with(h, program_log(h, d), "msg=\"signature rejected\"", "request=refused-1"), 1);
    assert_int_equal(lines_with(h, program_log(h, d), "msg=\"request refused\"", "request=lost-1"), 1);
    assert_int_equal(lines_with(h, program_log(h, d), "msg=\"event refused\"", "repeated=6"), 1);
    assert_lines(h, d, false);
}

/* ---- personal data */

static const char *completed(struct harness *h, const char *candidate)
{
    return popp_event(h, "run-completed", "candidate", candidate, "run", arena_printf(h->arena, "run_%s", candidate),
                      "data.nodes.0.outcome.answers.0.answer", ANSWER, "data.nodes.0.outcome.answers.1.answer", EMAIL,
                      NULL);
}

static void refuse_all_kinds(struct harness *h, const struct program *d)
{
    const char *body = completed(h, "refused");
    const char *other = popp_event(h, "contact-resolved", "data.email", EMAIL, "data.phoneNumber", PHONE,
                                   "data.organizationId", "org of " EMAIL " " PHONE, NULL);
    char *big = mem_printf("{\"event\":\"" ANSWER "%*s", 70000, "\"}");

    assert_int_equal(post(h, d, "/webhooks/popp", "not the secret", "", body).status, 401);
    assert_int_equal(post_signed(h, d, "x-signature: " MARK "\r\n", body).status, 401);
    assert_int_equal(post(h, d, "/webhooks/" MARK "?token=" MARK, E2E_SECRET, "", body).status, 404);
    assert_int_equal(post_signed(h, d, "", "{\"event\": " ANSWER).status, 400);
    assert_int_equal(post_signed(h, d, "", "{\"event\":\"" ANSWER "\",\"data\":{\"" EMAIL "\":1}}").status, 400);
    assert_int_equal(post_signed(h, d, "", other).status, 403);
    assert_int_equal(post_signed(h, d, "", big).status, 413);
    mem_free(big);
    assert_int_equal(http_call(h, d->port, "PUT", "/webhooks/popp", "X-Mark: " MARK "\r\n", body, strlen(body)).status,
                     405);
    assert_int_equal(
        http_call(h, d->port, "POST", "/webhooks/popp", "Content-Type: text/" MARK "\r\n", body, strlen(body)).status,
        415);
    assert_int_equal(
        http_call(h, d->admin_port, "GET", "/" MARK "?q=" MARK, "Authorization: Bearer " MARK "\r\n", NULL, 0).status,
        404);
}

#define SPILLING                                                                                                       \
    "\"body\":\"{\\\"error\\\":\\\"ZEBRA CROSSINGS ARE FINE is not a value for Zebra Okafor (" EMAIL ", " PHONE        \
    "): " ANSWER "\\\"}\""

/* Errors of the ATS that repeat what was written, and what it knows itself, in words of its own. */
static void let_the_ats_spill(struct harness *h, const struct program *d)
{
    static const unsigned statuses[] = {400, 404, 409, 422, 500, 403};

    for (size_t i = 0; i < ATS_COUNT(statuses); i++) {
        const char *candidate = arena_printf(h->arena, "spill_%u", statuses[i]);

        ats_fault(
            h, arena_printf(
                   h->arena,
                   "{\"match\":{\"candidate\":\"%s\"},\"action\":\"status\",\"status\":%u,\"times\":%d," SPILLING "}",
                   candidate, statuses[i], statuses[i] == 403 ? 1 : 3)); /* it must not stop the connector again */
        popp_deliver(h, d, completed(h, candidate));
        wait_sql(h,
                 arena_printf(h->arena,
                              "select count(*) > 0 from atsync.ats_call where outcome <> 'ok' and ref = 'x:%s'",
                              candidate),
                 "true");
    }
    wait_log(h, d, "class=dead_writes");
    wait_log(h, d, "class=connector_paused");
    assert_int_equal(program_run(h, NULL, "atsyncctl", "-c", d->conf_path, "resume", "sandbox", NULL), 0);
    wait_sql(h, "select state from atsync.connector_status", "ok");
}

/* Errors of the database whose DETAIL and words repeat a row. */
static void let_the_database_spill(struct harness *h, const struct program *d)
{
    sql_script(h, "alter table atsync.event add constraint no_such check (external_id <> 'checked')");
    assert_int_equal(post_signed(h, d, "", completed(h, "checked")).status, 503);
    sql_script(h, "alter table atsync.event drop constraint no_such;"
                  "create function atsync.f() returns trigger language plpgsql as $$ begin "
                  "if new.external_id = 'raised' then raise check_violation using message = '" ANSWER
                  "', detail = '" EMAIL "'; end if; return new; end $$;"
                  "create trigger g before insert on atsync.event for each row execute function atsync.f()");
    assert_int_equal(post_signed(h, d, "", completed(h, "raised")).status, 503);
    sql_script(h, "drop trigger g on atsync.event; drop function atsync.f();"
                  "alter table atsync.ats_write add constraint no_such check (value not like '%4711%') not valid");
    popp_deliver(h, d, completed(h, "planned"));
    wait_log(h, d, "database error: candidates wait");
    sql_script(h, "alter table atsync.ats_write drop constraint no_such");
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'planned'", "synced");
}

static void assert_quiet_about_everything(struct harness *h, bool json)
{
    struct program *d = daemon_start(
        h, &(struct daemon_conf){
               .top = json ? "log: {level: debug, format: json}\n" : "log: {level: debug}\n",
               .receiver = "max_body: 64KiB\n",
               .source = "signing_secrets: [\"" E2E_SECRET "\", \"" E2E_SECRET_OLD "\"]\norganizations: [org_123456]\n",
           });

    refuse_all_kinds(h, d);
    popp_deliver(h, d,
                 popp_event(h, "contact-resolved", "candidate", "known", "run", "run_known", "data.email", EMAIL,
                            "data.phoneNumber", PHONE, NULL));
    popp_deliver(h, d, completed(h, "known"));
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'known'", "synced");
    let_the_database_spill(h, d);
    if (!json)
        let_the_ats_spill(h, d);
    daemon_stop(h, d);
    assert_lines(h, d, json);
    assert_nothing_personal(h, d);
}

E2E_TEST(nothing_personal_as_text)
{
    assert_quiet_about_everything(h, false);
}

E2E_TEST(nothing_personal_as_json)
{
    assert_quiet_about_everything(h, true);
}

/* A connector's program that fails with the answer in its words, and quotes what was no object. */
E2E_TEST(a_failing_connector_program_does_not_tell)
{
    const char *link = arena_printf(h->arena, "%s/connectors", h->dir);
    struct program *d;

    (void)unlink(link);
    assert_int_equal(symlink(TEST_SOURCE_DIR "/tests/e2e/connectors", link), 0);
    d = daemon_start(h, &(struct daemon_conf){
                            .type = "spiller",
                            .top = "log: {level: debug}\n",
                            .workflows = "cedar-rgn-screening:\n  connector: sandbox\n  on: {finished: {note: summary, "
                                         "tags: [done]}}\n  fields: {nmc-pin: pin, dbs: dbs}\n",
                        });
    popp_deliver(h, d, completed(h, "known"));
    wait_sql(h, "select dead_writes from atsync.sync_status where candidate_external_id = 'known'", "4");
    wait_log(h, d, "class=dead_writes");
    daemon_stop(h, d);
    assert_lines(h, d, false);
    assert_nothing_personal(h, d);
}

/* ---- folding */

struct sender {
    const struct program *d;
    const char *body;
    unsigned refused;
};

static bool has_been_refused_often(struct harness *h, void *arg)
{
    struct sender *s = arg;

    s->refused += post_signed(h, s->d, "", s->body).status == 503;
    return s->refused == 200;
}

E2E_TEST(what_repeats_is_counted)
{
    struct program *d = daemon_start(h, NULL);
    struct sender s = {d, popp_event(h, "run-started", NULL), 0};
    const char *log;

    for (int i = 0; i < 50; i++)
        assert_int_equal(post(h, d, "/webhooks/popp", "not the secret", "", s.body).status, 401);
    pg_stop(h, "immediate");
    wait_until(h, has_been_refused_often, &s, "200 events are answered 503");
    daemon_stop(h, d);
    log = program_log(h, d);
    assert_int_equal(lines_with(h, log, "msg=\"signature rejected\"", "repeated=49"), 1);
    assert_int_equal(lines_with(h, log, "msg=\"signature rejected\"", ""), 2);
    assert_true(lines_with(h, log, "msg=\"event answered 503\"", "") < 20);
    assert_true(lines_with(h, log, "msg=\"database away\"", "") <= 2);
    assert_lines(h, d, false);
    pg_start(h);
}

/* ---- injection */

#define FORGED "x\\u000alevel=error msg=forged\\u000d\\u001b[2J\\u0000\\ud800\\u202e"
#define FORGED_EVENT(organization)                                                                                     \
    "{\"event\":\"" FORGED "\",\"eventId\":\"" FORGED "\",\"data\":{\"recordId\":\"" FORGED                            \
    "\",\"organizationId\":\"" organization "\",\"candidateProfileExternalId\":\"" FORGED "\"}}"

E2E_TEST(nobody_forges_a_line)
{
    struct program *d =
        daemon_start(h, &(struct daemon_conf){
                            .top = "log: {level: debug}\n",
                            .source = "signing_secrets: [\"" E2E_SECRET "\"]\norganizations: [org_123456]\n",
                        });
    struct http_answer a;

    assert_int_equal(post_signed(h, d, "", FORGED_EVENT(FORGED)).status, 403);
    assert_int_equal(post_signed(h, d, "", FORGED_EVENT("org_123456")).status, 200);
    assert_int_equal(post_signed(h, d, "", "{\"event\":\"\xff\xfe\"}").status, 400);
    a = http_call(h, d->port, "POST", "/webhooks/%0alevel=error%20msg=forged%1b", NULL, "", 0);
    assert_int_equal(a.status, 404);
    daemon_stop(h, d);
    assert_lines(h, d, false);
    assert_int_equal(lines_with(h, program_log(h, d), "Z level=error msg=forged", ""), 0);
    assert_int_equal(lines_with(h, program_log(h, d), "organization=\"x\\nlevel=error msg=forged\\r\\x1b[2J", ""), 1);
}

/* A core would tell what the log does not. The hard limit is as it was, for who looks for a fault. */
E2E_TEST(no_core_is_left)
{
    struct rlimit ours, daemons;
    struct program *d;
    const char *asan;

    assert_int_equal(getrlimit(RLIMIT_CORE, &ours), 0);
    if (setrlimit(RLIMIT_CORE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}) == 0) /* root may */
        ours.rlim_max = RLIM_INFINITY;
    ours.rlim_cur = ours.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_CORE, &ours), 0);
    /* AddressSanitizer would forbid a core by itself */
    asan = arena_strdup(h->arena, getenv("ASAN_OPTIONS"));
    assert_int_equal(
        setenv("ASAN_OPTIONS", arena_printf(h->arena, "%s:disable_coredump=0", asan != NULL ? asan : ""), 1), 0);
    d = daemon_start(h, &(struct daemon_conf){0});
    assert_int_equal(asan != NULL ? setenv("ASAN_OPTIONS", asan, 1) : unsetenv("ASAN_OPTIONS"), 0);
    assert_int_equal(prlimit(d->pid, RLIMIT_CORE, NULL, &daemons), 0);
    assert_int_equal(daemons.rlim_cur, ours.rlim_max > 1 ? 1 : ours.rlim_max); /* see mem_forbid_core() */
    assert_true(daemons.rlim_max == ours.rlim_max);
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_request_is_found_by_its_id),
        E2E_RUN(nothing_personal_as_text),
        E2E_RUN(nothing_personal_as_json),
        E2E_RUN(what_repeats_is_counted),
        E2E_RUN(nobody_forges_a_line),
        E2E_RUN(no_core_is_left),
        E2E_RUN(a_failing_connector_program_does_not_tell), /* last: it changes where connectors are found */
    };

    return e2e_main(tests);
}
