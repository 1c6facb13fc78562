/*
 * The ATS was away for long, and a crowd has gathered: BACKLOG_CANDIDATES (2,000) of three events each, the third of which outdates what
 * the others wanted. When the ATS comes back, all of them are brought to their newest state at no more than the configured rate
 * (BACKLOG_RATE, 200 a second), with no call more than a single sync needs, the oldest first; until then one candidate at a time tries.
 *
 * All of it is read from the sandbox's own log of requests. How long it took decides nothing.
 */
#include <stdlib.h>
#include <poll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "lib/harness.h"

enum {
    CANDIDATES_DEFAULT = 2000,
    CANDIDATES_MAX = 100000, /* two calls each: as many as the sandbox's log holds */
    RATE_DEFAULT = 200,
    WINDOW_MS = 1000,
    CONCURRENCY = 8,
    IN_WORK_MAX = 4 * CONCURRENCY, /* candidates of a connector that are in work at once (dispatcher.c) */
    SENDERS = 32,
    PROBES = 3,
    PAGE_ENTRIES = 1000,
};

/* ids that every candidate has another one of; the same length, so that a template is filled in place */
#define ID_MARK "_00000000"
#define TIME_MARK "2000-01-01T00:00:00.000Z"

#define OPENS "select opens from atsync.connector_state where connector = 'sandbox'"
#define WORKFLOW                                                                                                       \
    "cedar-rgn-screening:\n"                                                                                           \
    "  connector: sandbox\n"                                                                                           \
    "  job: \"" E2E_JOB "\"\n"                                                                                         \
    "  live: true\n"                                                                                                   \
    "  on:\n"                                                                                                          \
    "    started:                   {stage: \"Contacted\"}\n"                                                          \
    "    completed/PASSED_CRITERIA: {stage: \"Recruiter screen\"}\n"                                                   \
    "  fields:\n"                                                                                                      \
    "    nmc-pin.score: nmc_pin_score\n"

struct call {
    int64_t seq, at_ms;
    unsigned candidate;
    bool is_stage; /* else it is the field */
    bool is_newest;
    bool was_refused; /* the ATS was away */
};

struct calls {
    struct call *items;
    size_t count;
};

struct candidate {
    unsigned fields, stages; /* that were taken */
    bool is_known;           /* to have failed while the ATS was away */
    bool is_begun;
};

/* ---- events */

static unsigned number_of(const char *name, unsigned fallback, unsigned max)
{
    const char *text = getenv(name);
    int64_t n = fallback;

    if (text != NULL && *text != '\0' && !text_to_i64(text, 1, max, &n))
        fail_msg("%s must be a number from 1 to %u", name, max);
    return (unsigned)n;
}

static void fill_in(char *event, const char *mark, const char *text)
{
    for (char *at = event; (at = strstr(at, mark)) != NULL; at += strlen(text))
        memcpy(at, text, strlen(text));
}

/* The template's event for this candidate; the higher its number, the later. */
static char *event_for(const char *template, unsigned candidate, int64_t time_us)
{
    char *event = mem_strdup(template);
    char *id = mem_printf("_%08u", candidate);

    fill_in(event, ID_MARK, id);
    fill_in(event, TIME_MARK, time_iso8601(time_us + (int64_t)candidate * 1000).s);
    mem_free(id);
    return event;
}

static void send_event(struct harness *h, int fd, char *body)
{
    char *signature = popp_signature(E2E_SECRET, body, strlen(body));
    char *request = mem_printf("POST /webhooks/popp HTTP/1.1\r\nHost: atsyncd\r\nContent-Type: application/json\r\n"
                               "x-signature: %s\r\nContent-Length: %zu\r\n\r\n%s",
                               signature, strlen(body), body);

    http_write(h, fd, request, strlen(request));
    mem_free(request);
    mem_free(signature);
    mem_free(body);
}

/* One event for every candidate, in their order, over several connections at once: requests that wait together are committed together. */
static void deliver_all(struct harness *h, const struct program *d, unsigned candidates, const char *template,
                        int64_t time_us)
{
    int fds[SENDERS];

    for (unsigned s = 0; s < SENDERS; s++)
        fds[s] = http_open(h, d->port);
    for (unsigned first = 0; first < candidates; first += SENDERS) {
        unsigned count = candidates - first < SENDERS ? candidates - first : SENDERS;

        for (unsigned s = 0; s < count; s++)
            send_event(h, fds[s], event_for(template, first + s, time_us));
        for (unsigned s = 0; s < count; s++)
            assert_int_equal(http_read(h, fds[s]).status, 200);
    }
    for (unsigned s = 0; s < SENDERS; s++)
        (void)close(fds[s]);
}

static void deliver_stories(struct harness *h, const struct program *d, unsigned candidates)
{
    static const struct {
        const char *sample, *event_id, *at, *score_path;
    } events[] = {
        /* without a score the list of changes ends there */
        {"run-started", "started" ID_MARK, "2026-05-12T09:00:00Z", NULL},
        {"node-completed", "node" ID_MARK, "2026-05-12T09:20:00Z", "data.outcome.answers.0.score:"},
        {"run-completed", "completed" ID_MARK, "2026-05-12T09:34:00Z", NULL},
    };

    for (size_t i = 0; i < ATS_COUNT(events); i++) {
        const char *template = popp_event(h, events[i].sample, "candidate", "ats" ID_MARK, "run", "run" ID_MARK,
                                          "eventId", events[i].event_id, "eventTimestamp", TIME_MARK, "data.timestamp",
                                          TIME_MARK, events[i].score_path, "1", NULL);
        int64_t time_us = 0;

        assert_true(time_parse_iso8601(events[i].at, &time_us));
        deliver_all(h, d, candidates, template, time_us);
    }
}

/* ---- the log of the ATS */

static void read_call(struct calls *calls, const struct json *entry)
{
    static const char prefix[] = "ats_";
    const char *candidate = json_get_str(entry, "candidate");
    const struct json *body = json_get(entry, "body");
    struct call *c;
    int64_t number = -1, score = -1;

    calls->items = mem_grow(calls->items, calls->count + 1, sizeof *calls->items);
    c = &calls->items[calls->count++];
    *c = (struct call){.is_stage = strcmp(json_get_str(entry, "method"), "PUT") == 0};
    assert_true(json_get_i64(entry, "seq", &c->seq) && json_get_i64(entry, "at_ms", &c->at_ms));
    assert_true(text_starts(candidate, prefix) &&
                text_to_i64(candidate + sizeof prefix - 1, 0, CANDIDATES_MAX, &number));
    c->candidate = (unsigned)number;
    c->was_refused = json_get_str(entry, "fault") != NULL;
    (void)json_get_i64(json_get(body, "fields"), "nmc_pin_score", &score);
    c->is_newest = c->is_stage ? text_eq(json_get_str(body, "stage"), "Recruiter screen") : score == 100;
}

/* Adds what has come since. */
static void read_log(struct harness *h, struct calls *calls)
{
    size_t before;

    do {
        int64_t since = calls->count > 0 ? calls->items[calls->count - 1].seq : 0;
        char *path = mem_printf("/_sandbox/log?limit=%d&since=%lld", PAGE_ENTRIES, (long long)since);
        const char *text = ats_get(h, path);
        struct json *page = NULL;

        before = calls->count;
        assert_int_equal(json_parse(text, strlen(text), &page, NULL), ST_OK);
        for (const struct json *e = json_first(page); e != NULL; e = json_next(e))
            read_call(calls, e);
        json_free(page);
        mem_free(path);
    } while (calls->count - before == PAGE_ENTRIES);
}

/* ---- the outage */

static int64_t number_in(struct harness *h, const char *query)
{
    int64_t n = -1;

    assert_true(text_to_i64(sql_text(h, query), 0, INT64_MAX, &n));
    return n;
}

static void wait_quiet(struct harness *h)
{
    wait_sql(h, "select count(*) from atsync.candidate where lease_owner is not null", "0");
}

static bool has_probed(struct harness *h, void *arg)
{
    return number_in(h, OPENS) > *(int64_t *)arg;
}

/* As if the time had passed after which somebody may try. */
static void let_one_try(struct harness *h)
{
    int64_t opens = number_in(h, OPENS);

    sql_script(h, "update atsync.connector_state set until = now() where connector = 'sandbox' and state = 'open'");
    wait_until(h, has_probed, &opens, "a candidate has tried, in vain");
}

/* Nobody tries before we let them. Twice, as a try that was under way gave a time of its own. */
static void let_nobody_try(struct harness *h)
{
    for (int i = 0; i < 2; i++) {
        sql_script(h, "update atsync.connector_state set until = now() + interval '1 hour' where state = 'open'");
        wait_quiet(h);
    }
}

/* From here on the breaker is open: as many candidates have called as there were tries, one after the other. */
static void check_probes(struct harness *h, struct calls *calls)
{
    size_t from;
    int64_t opens;
    int64_t tries = 0;

    let_nobody_try(h);
    opens = number_in(h, OPENS);
    read_log(h, calls);
    from = calls->count;
    for (int i = 0; i < PROBES; i++)
        let_one_try(h);
    wait_quiet(h);
    opens = number_in(h, OPENS) - opens;
    read_log(h, calls);
    for (size_t i = from; i < calls->count; i++) {
        assert_true(calls->items[i].was_refused);
        tries += i == from || calls->items[i].candidate != calls->items[i - 1].candidate;
    }
    print_message("%lld tries while the ATS was away, %zu requests\n", (long long)opens, calls->count - from);
    assert_true(opens >= PROBES);
    assert_int_equal(tries, opens);
    assert_true(calls->count - from <= 2 * (size_t)opens); /* what one sync needs */
}

/* Until nobody waits any more; fails when nothing moves. */
static void wait_worked_off(struct harness *h)
{
    int64_t left = INT64_MAX;
    int64_t moved_ms = clock_mono_ms();

    while (left > 0) {
        int64_t now = number_in(h, "select count(*) from atsync.candidate where due_at is not null");

        if (now < left)
            moved_ms = clock_mono_ms();
        left = now;
        if (clock_mono_ms() - moved_ms > DEADLINE_MS)
            fail_msg("%lld candidates wait, and nothing moves", (long long)left);
        (void)poll(NULL, 0, POLL_MS);
    }
}

/* ---- what the log must show */

/*
 * No second has more requests than the rate. They were timed where they arrived, not where they were sent: those of a second were sent in
 * that second, but for what was on its way at its beginning, which the concurrency bounds.
 */
static void check_rate(const struct calls *calls, unsigned rate)
{
    size_t most = 0;

    for (size_t i = 0, first = 0; i < calls->count; i++) {
        while (calls->items[i].at_ms - calls->items[first].at_ms >= WINDOW_MS)
            first++;
        most = i - first + 1 > most ? i - first + 1 : most;
    }
    print_message("%zu requests in the busiest second, the rate is %u\n", most, rate);
    assert_true(most <= rate + CONCURRENCY);
}

/* seen_seq: the last request before all events were there. */
static void check_writes(const struct calls *calls, struct candidate *candidates, unsigned count, int64_t seen_seq)
{
    for (size_t i = 0; i < calls->count; i++) {
        const struct call *c = &calls->items[i];
        struct candidate *who = &candidates[c->candidate];

        assert_true(c->candidate < count);
        if (!c->is_newest && c->seq > seen_seq)
            fail_msg("request %lld about candidate %u carries an outdated value", (long long)c->seq, c->candidate);
        if (c->was_refused) {
            who->is_known = true;
            continue;
        }
        who->fields += !c->is_stage;
        who->stages += c->is_stage;
    }
    for (unsigned i = 0; i < count; i++) {
        if (candidates[i].fields != 1 || candidates[i].stages != 1)
            fail_msg("candidate %u got %u writes of its field and %u of its stage", i, candidates[i].fields,
                     candidates[i].stages);
    }
}

/*
 * Candidates fall due in the order of their numbers. Who failed before has a queue of its own; within each, nobody is begun further from its
 * place than the number that may be in work at once.
 */
static void check_order(const struct calls *calls, struct candidate *candidates, unsigned count, bool known)
{
    unsigned *rank = mem_array(count, sizeof *rank);
    unsigned members = 0, begun = 0;
    int64_t furthest = 0;

    for (unsigned i = 0; i < count; i++)
        rank[i] = candidates[i].is_known == known ? members++ : 0;
    for (size_t i = 0; i < calls->count; i++) {
        const struct call *c = &calls->items[i];
        struct candidate *who = &candidates[c->candidate];
        int64_t apart;

        if (c->was_refused || who->is_known != known || who->is_begun)
            continue;
        who->is_begun = true;
        apart = (int64_t)begun++ - rank[c->candidate];
        apart = apart < 0 ? -apart : apart;
        furthest = apart > furthest ? apart : furthest;
    }
    print_message("%u candidates that had %s: %lld places out of order at most\n", members,
                  known ? "failed before" : "not been tried", (long long)furthest);
    assert_true(furthest < IN_WORK_MAX);
    mem_free(rank);
}

static unsigned known_of(const struct candidate *candidates, unsigned count)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++)
        n += candidates[i].is_known;
    return n;
}

E2E_TEST(a_backlog_is_worked_off_under_the_same_rules)
{
    unsigned count = number_of("BACKLOG_CANDIDATES", CANDIDATES_DEFAULT, CANDIDATES_MAX);
    unsigned rate = number_of("BACKLOG_RATE", RATE_DEFAULT, 100000);
    struct daemon_conf conf = {
        .workflows = WORKFLOW,
        .connector = arena_printf(
            h->arena, "rate_limit: %u/1s\nconcurrency: %d\ntimeout: 5s\nallow_private_addresses: true\n" E2E_RETRY,
            rate, CONCURRENCY),
    };
    struct candidate *candidates = mem_array(count, sizeof *candidates);
    struct calls calls = {NULL, 0};
    struct program *d;
    int64_t seen_seq;

    ats_fault(h, "{\"action\":\"status\",\"status\":503,\"times\":-1}");
    d = daemon_start(h, &conf);
    deliver_stories(h, d, count);
    seen_seq = ats_figure(h, "requests");
    wait_sql(h, "select state from atsync.connector_status where connector = 'sandbox'", "open");
    check_probes(h, &calls);

    ats_control(h, "DELETE", "/_sandbox/fault", NULL);
    sql_script(h, "update atsync.connector_state set until = now() where connector = 'sandbox' and state = 'open'");
    wait_worked_off(h);
    assert_string_equal(sql_text(h, "select count(*) from atsync.sync_status where sync_state = 'synced'"),
                        num_text(count).s);
    read_log(h, &calls);
    check_rate(&calls, rate);
    check_writes(&calls, candidates, count, seen_seq);
    check_order(&calls, candidates, count, false);
    check_order(&calls, candidates, count, true);
    /* who was in work when the breaker opened, what had been begun before, and one for each try: not the crowd */
    assert_true(known_of(candidates, count) <= 2 * IN_WORK_MAX + (unsigned)PROBES + 2);
    daemon_stop(h, d);
    mem_free(calls.items);
    mem_free(candidates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_backlog_is_worked_off_under_the_same_rules),
    };

    return e2e_main(tests);
}
