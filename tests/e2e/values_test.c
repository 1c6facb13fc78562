/*
 * Values that a stranger made: ids, answers, and what an ATS says. Each comes to its end, which is the ATS or a dead
 * write with a reason, and nobody beside it is disturbed.
 */
#include "base/buf.h"
#include "base/text.h"
#include "lib/crypto.h"
#include "lib/harness.h"

enum { MIB = 1024 * 1024, LONG_ID_BYTES = 10 * 1024, ANSWER_MAX_BYTES = 4 * MIB };

#define STAGE "jobs." E2E_JOB ".stage"

static char *filled(struct harness *h, char with, size_t len)
{
    char *text = arena_alloc(h->arena, len + 1);

    memset(text, with, len);
    return text;
}

/* Nothing that could be compressed, so that it takes its room in an index, too (xorshift: Marsaglia 2003). */
static char *chaotic(struct harness *h, size_t len)
{
    static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char *text = filled(h, 'x', len);
    uint64_t x = 88172645463325252;

    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        text[i] = chars[x % 64];
    }
    return text;
}

/* As the name of a candidate in the sandbox's control API. */
static const char *encoded(struct harness *h, const char *text)
{
    char *out = arena_alloc(h->arena, 3 * strlen(text) + 1);

    for (size_t at = 0; *text != '\0'; text++, at += 3)
        snprintf(out + at, 4, "%%%02X", (unsigned)(unsigned char)*text);
    return out;
}

static const char *sql_of_run(struct harness *h, const char *run, const char *what)
{
    return arena_printf(h->arena, "select %s from atsync.sync_status where run_id = '%s'", what, run);
}

static void assert_whole_record(struct harness *h, const char *candidate)
{
    assert_string_equal(ats_value(h, candidate, STAGE), "\"Recruiter screen\"");
    assert_string_equal(ats_value(h, candidate, "tags"), "[\"popp-passed\"]");
    assert_string_equal(ats_value(h, candidate, "fields.dbs_number"), "\"001 812 443 906\"");
    assert_int_equal(json_count(json_of(h, ats_value(h, candidate, "notes"))), 1);
}

/* Somebody ordinary among them. */
static const char *good_name(struct harness *h, size_t i)
{
    return arena_printf(h->arena, "ats_good%zu", i);
}

static void deliver_good(struct harness *h, const struct program *d, size_t i)
{
    popp_deliver(h, d,
                 popp_event(h, "run-completed", "candidate", good_name(h, i), "run",
                            arena_printf(h->arena, "good_%zu", i), NULL));
}

static void wait_good(struct harness *h, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wait_sql(h, sql_of_run(h, arena_printf(h->arena, "good_%zu", i), "sync_state"), "synced");
        assert_whole_record(h, good_name(h, i));
        assert_string_equal(ats_value(h, good_name(h, i), "fields.nmc_pin_score"), "100");
        assert_int_equal(ats_calls(h, good_name(h, i), "POST", "/notes"), 1);
    }
    assert_string_equal(sql_text(h, "select concat_ws('|', state, reason is null) from atsync.connector_status"),
                        "ok|t");
}

/* The event is there as it was sent, byte by byte. */
static void assert_survived(struct harness *h, const char *body)
{
    const char *id = json_get_str(json_of(h, body), "eventId");
    uint8_t digest[CRYPTO_SHA256_BYTES];
    char hex[2 * CRYPTO_SHA256_BYTES + 1];

    crypto_sha256(body, strlen(body), digest);
    crypto_hex(digest, sizeof digest, hex);
    assert_string_equal(
        sql_text(h, arena_printf(h->arena, "select encode(sha256(body), 'hex') from atsync.event where event_id = '%s'",
                                 id)),
        hex);
}

static const char *dead_of_run(struct harness *h, const char *run, const char *what)
{
    return arena_printf(h->arena,
                        "select %s from atsync.dead_writes w join atsync.sync_status s using (source, "
                        "candidate_external_id) where s.run_id = '%s'",
                        what, run);
}

/* ---- external ids */

#define ELSEWHERE "part 2 of the path is or holds a \".\" or \"..\", which would lead elsewhere"
#define NO_TEXT "the path holds a NUL or half a character, which no URL and no header can carry"

static const struct id {
    const char *json;
    const char *text; /* as the ATS gets it; NULL: it does not */
    const char *reason;
} ids[] = {
    {"\"..\"", NULL, ELSEWHERE},
    {"\".\"", NULL, ELSEWHERE},
    {"\"%2e%2e\"", NULL, ELSEWHERE},
    {"\"%252e%252e\"", NULL, ELSEWHERE},
    {"\"../../_sandbox/reset\"", NULL, ELSEWHERE},
    {"\"..%2f..%2f_sandbox%2freset\"", NULL, ELSEWHERE},
    {"\"..\\\\..\"", NULL, ELSEWHERE},
    {"\"..;x=1\"", NULL, ELSEWHERE},
    {"\"a\\u0000b\"", NULL, NO_TEXT},
    {"\"half \\ud800\"", NULL, NO_TEXT},
    {"\"a/b\"", "a/b", NULL},
    {"\"a%2fb\"", "a%2fb", NULL},
    {"\"\\r\\nX-Injected: 1\\r\\n\\r\\nGET /x\"", "\r\nX-Injected: 1\r\n\r\nGET /x", NULL},
    {"\"\\ud83d\\ude00 \\u00e9\"", "\xf0\x9f\x98\x80 \xc3\xa9", NULL},
    {"\"x'; drop schema atsync cascade; --\"", "x'; drop schema atsync cascade; --", NULL},
    {"\"x\\\") | error(\\\"jq\\\") | (\\\"\"", "x\") | error(\"jq\") | (\"", NULL},
    {"\"\\\\(env) $ENV\"", "\\(env) $ENV", NULL},
    {"\"$(touch /tmp/x) `id` && {{7*7}} %s%n\"", "$(touch /tmp/x) `id` && {{7*7}} %s%n", NULL},
    {"\"x?stage=1&a=b#c\"", "x?stage=1&a=b#c", NULL},
    {"\"<script>alert(1)</script>\"", "<script>alert(1)</script>", NULL},
    {"\"#5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8\"",
     "#5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8", NULL},
    {"12345678901234567890", "12345678901234567890", NULL},
};

/* Who the ATS may have been asked about. */
static bool is_expected(struct harness *h, const char *candidate)
{
    for (size_t i = 0; i < ATS_COUNT(ids); i++)
        if (text_eq(candidate, ids[i].text))
            return true;
    for (size_t i = 0; i <= ATS_COUNT(ids); i++)
        if (text_eq(candidate, good_name(h, i)))
            return true;
    return false;
}

/* Every request was about one of the candidates, and about nothing else of it than the mapping says. */
static void assert_no_path_was_left(struct harness *h)
{
    static const char *const ends[] = {"", "/tags", "/notes", "/jobs/" E2E_JOB "/stage"};
    const struct json *log = json_of(h, ats_get(h, "/_sandbox/log"));

    assert_true(json_count(log) > 0);
    for (const struct json *e = json_first(log); e != NULL; e = json_next(e)) {
        const char *path = json_get_str(e, "path"), *candidate = json_get_str(e, "candidate");
        bool known = false;

        for (size_t i = 0; i < ATS_COUNT(ends) && candidate != NULL; i++)
            known = known || text_eq(path, arena_printf(h->arena, "/candidates/%s%s", candidate, ends[i]));
        if (!known || !is_expected(h, candidate))
            fail_msg("a request to %s", path);
    }
}

static void assert_end(struct harness *h, const char *run, const char *text, const char *reason)
{
    if (text != NULL) {
        wait_sql(h, sql_of_run(h, run, "sync_state"), "synced");
        assert_whole_record(h, encoded(h, text));
        return;
    }
    wait_sql(h, sql_of_run(h, run, "sync_state"), "dead");
    wait_sql(h, sql_of_run(h, run, "pending_writes"), "0");
    assert_string_equal(sql_text(h, dead_of_run(h, run, "string_agg(distinct error_class || ': ' || error, '; ')")),
                        arena_printf(h->arena, "invalid: %s", reason));
    assert_string_equal(sql_text(h, dead_of_run(h, run, "string_agg(distinct w.kind, ' ' order by w.kind)")),
                        "field note stage tag");
}

E2E_TEST(no_external_id_leaves_its_place)
{
    struct program *d = daemon_start(h, NULL);
    const char *bodies[ATS_COUNT(ids)];
    const char *of_10_kb = arena_printf(h->arena, "\"%s\"", chaotic(h, LONG_ID_BYTES));
    const char *body;
    const struct json *issue;

    for (size_t i = 0; i < ATS_COUNT(ids); i++) {
        bodies[i] =
            popp_event(h, "run-completed", "candidate", arena_printf(h->arena, "%zu", i), "run",
                       arena_printf(h->arena, "hostile_%zu", i), "data.candidateProfileExternalId:", ids[i].json, NULL);
        popp_deliver(h, d, bodies[i]);
        deliver_good(h, d, i);
    }
    body = popp_event(h, "run-completed", "run", "hostile_long", "data.candidateProfileExternalId:", of_10_kb, NULL);
    popp_deliver(h, d, body);
    deliver_good(h, d, ATS_COUNT(ids));

    for (size_t i = 0; i < ATS_COUNT(ids); i++) {
        print_message("id: %s\n", ids[i].json);
        assert_end(h, arena_printf(h->arena, "hostile_%zu", i), ids[i].text, ids[i].reason);
        assert_survived(h, bodies[i]);
    }
    assert_end(h, "hostile_long", NULL, "the request's URL would be longer than 8192 bytes");
    assert_survived(h, body);
    wait_good(h, ATS_COUNT(ids) + 1);
    assert_no_path_was_left(h);

    wait_sql(h, "select count(*) from atsync.issues where class = 'dead_writes' and closed_at is null", "1");
    issue = json_of(h, sql_text(h, "select to_json(i) from atsync.issues i where class = 'dead_writes'"));
    assert_true(text_has(json_get_str(issue, "message"), "For example: "));
    assert_true(text_has(json_get_str(issue, "hint"), "atsyncctl retry"));
    daemon_stop(h, d);
}

/* Longer than an index can hold, wherever an event has an id. */
E2E_TEST(no_id_is_too_long_to_be_stored)
{
    struct program *d = daemon_start(h, NULL);
    const char *id = chaotic(h, LONG_ID_BYTES);
    const char *body = popp_event(h, "run-completed", "eventId", id, "run", id, "data.workflowId", id,
                                  "data.workflowVersionId", id, "data.candidateProfileId", id, "data.nodes.0.nodeId",
                                  id, "data.nodes.0.outcome.answers.1.slug", id, NULL);

    popp_deliver(h, d, body);
    popp_deliver(
        h, d,
        popp_event(h, "run-completed", "candidate", "ats_43", "run", "run_43", "data.workflowExternalId", id, NULL));
    popp_deliver(h, d, popp_event(h, "contact-resolved", "candidate", id, "run", id, "data.email", id, NULL));
    popp_deliver(h, d, popp_event(h, "contact-resolution-failed", "data.externalId", id, NULL));
    popp_deliver(h, d, popp_event(h, "published", "data.recordId", id, "data.workflowVersionId", id, NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "event", id, NULL));
    deliver_good(h, d, 0);
    wait_good(h, 1);
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'ats_42'", "synced");
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "notes"))), 1);
    wait_sql(h, "select sync_state from atsync.sync_status where candidate_external_id = 'ats_43'", "unmapped");
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "7");
    assert_true(text_has(popp_post(h, d, body).body, "duplicate"));
    daemon_stop(h, d);
}

/* Only another event knows whose run it is, and what the database keeps of that id is not the id itself. */
E2E_TEST(an_id_that_is_not_known_exactly_is_not_written_to)
{
    const char *const odd[] = {"\"a\\u0000b\"", "\"a\\ud800b\"", arena_printf(h->arena, "\"%s\"", chaotic(h, 401))};
    struct program *d = daemon_start(h, NULL);

    for (size_t i = 0; i < ATS_COUNT(odd); i++) {
        const char *name = arena_printf(h->arena, "%zu", i), *run = arena_printf(h->arena, "hostile_%zu", i);

        popp_deliver(h, d,
                     popp_event(h, "contact-resolved", "candidate", name, "run", arena_printf(h->arena, "other_%zu", i),
                                "data.externalId:", odd[i], NULL));
        popp_deliver(h, d,
                     popp_event(h, "run-completed", "candidate", name, "run", run, "data.candidateProfileExternalId",
                                POPP_ABSENT, NULL));
    }
    popp_deliver(h, d, popp_event(h, "contact-resolved", "candidate", "ats_7", "run", "run_other", NULL));
    popp_deliver(h, d,
                 popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", "data.candidateProfileExternalId",
                            POPP_ABSENT, NULL));
    wait_sql(h, sql_of_run(h, "run_7", "sync_state"), "synced");
    assert_whole_record(h, "ats_7");
    for (size_t i = 0; i < ATS_COUNT(odd); i++) {
        const char *run = arena_printf(h->arena, "hostile_%zu", i);

        print_message("id: %.40s\n", odd[i]);
        wait_sql(h, sql_of_run(h, run, "sync_state"), "dead");
        assert_string_equal(
            sql_text(h, dead_of_run(h, run, "string_agg(distinct error_class || ': ' || left(error, 88), '; ')")),
            "invalid: the candidate's external id is longer than 400 bytes or holds a NUL or half a character,");
    }
    assert_int_equal(ats_figure(h, "candidates"), 1);
    daemon_stop(h, d);
}

/* ---- answers */

struct answer {
    const char *json; /* also what has to arrive */
    const char *score;
    const char *reason; /* NULL: it arrives */
    const char *error_class;
};

static const char *nested(struct harness *h, size_t levels)
{
    return arena_printf(h->arena, "%s7%s", filled(h, '[', levels), filled(h, ']', levels));
}

/* A long answer with everything in it that JSON, HTML and a line of text have to escape. */
static const char *long_answer(struct harness *h)
{
    static const char piece[] = "<b>\\\"it's\\\\ \\n\\t\\u0000\\ud800 \\ud83d\\ude00</b> ${x} %s \\u2028";
    struct buf b;
    const char *text;

    buf_init(&b, 2 * MIB);
    buf_putc(&b, '"');
    while (b.len < MIB)
        buf_puts(&b, piece);
    buf_putc(&b, '"');
    text = arena_strdup(h->arena, buf_text(&b));
    buf_free(&b);
    return text;
}

static void assert_answer(struct harness *h, size_t i, const struct answer *a)
{
    const char *candidate = arena_printf(h->arena, "ats_%zu", i);
    const char *run = arena_printf(h->arena, "answer_%zu", i);

    wait_sql(h, sql_of_run(h, run, "sync_state"), a->reason != NULL ? "dead" : "synced");
    assert_whole_record(h, candidate);
    assert_string_equal(ats_value(h, candidate, "fields.nmc_pin_score"), a->score);
    if (a->reason == NULL) {
        const char *there = ats_value(h, candidate, "fields.nmc_pin_status");

        if (!json_equal(json_of(h, there), json_of(h, a->json)))
            fail_msg("%.200s arrived as %.200s", a->json, there);
        return;
    }
    assert_string_equal(ats_value(h, candidate, "fields.nmc_pin_status"), "null");
    assert_string_equal(sql_text(h, dead_of_run(h, run, "concat_ws('|', w.kind, w.target, error_class, error)")),
                        arena_printf(h->arena, "field|nmc_pin_status|%s|%s", a->error_class, a->reason));
}

E2E_TEST(answers_arrive_as_they_are_or_are_dead)
{
    const struct answer answers[] = {
        {"\"nul \\u0000 in it\"", "9007199254740993", NULL, NULL},
        {"\"halves \\ud800 \\udc00\\ud800\"", "-9007199254740993", NULL, NULL},
        {"\"pair \\ud83d\\ude00\"", "1e400", NULL, NULL},
        {"9007199254740993", "0.1", NULL, NULL},
        {"123456789012345678901234567890.123456789", "-0", NULL, NULL},
        {"1e400", "5e-324", NULL, NULL},
        {"[1e400,[9007199254740993]]", "100", NULL, NULL},
        {"\"'; delete from atsync.event; --\"", "100", NULL, NULL},
        {"\"\\\") | halt_error | (\\\"\"", "100", NULL, NULL},
        {"\"$(reboot)`reboot` {{7*7}} {token} %s%n\"", "100", NULL, NULL},
        {"\"\\r\\nX-Injected: 1\\r\\n\\r\\n\"", "100", NULL, NULL},
        {"\"<img src=x onerror=alert(1)>\"", "100", NULL, NULL},
        {"\"\xf4\x8f\xbf\xbfn17 \xf4\x8f\xbf\xbfu0000\"", "100", NULL, NULL}, /* looks like what jq gets wrapped */
        {long_answer(h), "100", NULL, NULL},
        {nested(h, 200), "100", NULL, NULL},
        {nested(h, 300), "100", "the value is nested too deeply: the connector can read 255 levels", "invalid"},
        /* the candidate's word is hidden in what the ATS says */
        {"{\"an\":\"object\"}", "100", "a field's value must not be an \xe2\x80\xa6", "invalid"},
    };
    struct program *d = daemon_start(h, NULL);
    const char *bodies[ATS_COUNT(answers)];

    for (size_t i = 0; i < ATS_COUNT(answers); i++) {
        bodies[i] = popp_event(h, "run-completed", "candidate", arena_printf(h->arena, "ats_%zu", i), "run",
                               arena_printf(h->arena, "answer_%zu", i),
                               "data.nodes.0.outcome.answers.0.answer:", answers[i].json,
                               "data.nodes.0.outcome.answers.0.score:", answers[i].score, NULL);
        popp_deliver(h, d, bodies[i]);
        deliver_good(h, d, i);
    }
    for (size_t i = 0; i < ATS_COUNT(answers); i++) {
        print_message("answer: %.80s\n", answers[i].json);
        assert_answer(h, i, &answers[i]);
        assert_survived(h, bodies[i]);
    }
    wait_good(h, ATS_COUNT(answers));
    daemon_stop(h, d);
}

/* ---- what the ATS says */

/* So often; -1: always. */
static void spoil(struct harness *h, const char *candidate, const char *body, size_t pad_bytes, int times)
{
    struct json *fault = json_object(), *match = json_object();
    char *text;

    json_set_str(match, "method", "GET");
    json_set_str(match, "candidate", candidate);
    json_set_str(match, "path_contains", "/stage");
    json_set(fault, "match", match);
    json_set_str(fault, "action", "status");
    json_set_int(fault, "status", 200);
    json_set_str(fault, "body", body);
    json_set_int(fault, "pad_bytes", (int64_t)pad_bytes);
    json_set_int(fault, "times", times);
    text = json_text(fault);
    json_free(fault);
    ats_fault(h, text);
    mem_free(text);
}

/* What is odd about an answer may pass, so it is asked again; the others do not wait for that. */
E2E_TEST(an_odd_answer_of_the_ats_is_asked_for_again)
{
    const char *const odd[] = {
        "[]",
        "5",
        "[[[{\"stage\":1}]]]",
        "{\"stage\":{\"name\":\"Contacted\"}}",
        "{\"stage\":17}",
        nested(h, 250),
        nested(h, 5000),
        "{\"stage\":\"Cont",
        arena_printf(h->arena, "{\"%s\":1}", filled(h, 'n', MIB)),
    };
    struct program *d = daemon_start(h, NULL);

    for (size_t i = 0; i < ATS_COUNT(odd); i++) {
        const char *candidate = arena_printf(h->arena, "ats_%zu", i);

        spoil(h, candidate, odd[i], 0, 1);
        popp_deliver(
            h, d,
            popp_event(h, "run-completed", "candidate", candidate, "run", arena_printf(h->arena, "odd_%zu", i), NULL));
        deliver_good(h, d, i);
    }
    for (size_t i = 0; i < ATS_COUNT(odd); i++) {
        const char *candidate = arena_printf(h->arena, "ats_%zu", i);

        print_message("answer: %.80s\n", odd[i]);
        wait_sql(h, sql_of_run(h, arena_printf(h->arena, "odd_%zu", i), "sync_state"), "synced");
        assert_whole_record(h, candidate);
        assert_int_equal(ats_calls(h, candidate, "GET", "/stage"), 2);
    }
    assert_int_equal(ats_figure(h, "faults"), 0);
    assert_string_equal(sql_text(h, "select count(*) from atsync.dead_writes"), "0");
    wait_good(h, ATS_COUNT(odd));
    daemon_stop(h, d);
}

/* An answer that is larger than we read will not get smaller: who wanted to read it gives up, the others go on. */
E2E_TEST(an_endless_answer_of_the_ats_is_cut_off)
{
    struct program *d = daemon_start(h, NULL);

    spoil(h, "ats_42", "{\"stage\":\"Contacted\"}", ANSWER_MAX_BYTES - strlen("{\"stage\":\"Contacted\"}"), 1);
    spoil(h, "ats_43", "{\"stage\":\"Contacted\"}", ANSWER_MAX_BYTES, -1);
    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_43", "run", "run_43", NULL));
    deliver_good(h, d, 0);
    wait_sql(h, sql_of_run(h, "run_4a1e9c", "sync_state"), "synced");
    assert_whole_record(h, "ats_42");
    wait_sql(h, sql_of_run(h, "run_43", "sync_state"), "dead");
    assert_string_equal(
        sql_text(h, "select string_agg(concat_ws('|', kind, error_class), ' ') from atsync.dead_writes"),
        "stage|bad_answer");
    assert_true(text_has(sql_text(h, "select error from atsync.dead_writes"), "has more than 4194304 bytes"));
    assert_string_equal(ats_value(h, "ats_43", "tags"), "[\"popp-passed\"]");
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_43", "notes"))), 1);
    wait_good(h, 1);
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(no_external_id_leaves_its_place),
        E2E_RUN(no_id_is_too_long_to_be_stored),
        E2E_RUN(an_id_that_is_not_known_exactly_is_not_written_to),
        E2E_RUN(answers_arrive_as_they_are_or_are_dead),
        E2E_RUN(an_odd_answer_of_the_ats_is_asked_for_again),
        E2E_RUN(an_endless_answer_of_the_ats_is_cut_off),
    };

    return e2e_main(tests);
}
