/*
 * Chaos: hundreds of candidates live through their screening while daemons are killed, stopped and frozen, PostgreSQL
 * crashes and the ATS answers with everything but what it should. When the dust has settled:
 *
 *   - every event that was answered with 200 is in the database, as it was sent
 *   - each candidate's record in the ATS is what the model says; nobody else has one
 *   - no note was written twice
 *   - no older state was sent after a newer one, not even tried
 *   - never did two writers work on one candidate
 *   - nothing is left to do, nothing is dead, and a repeated event or a restart changes nothing any more
 *
 * The model is the life story itself. Every node of a run has a rank, greater for later ones, and stages, answers and
 * scores carry it, so that what was sent too late can be seen in a request by itself.
 *
 * The database has a synchronous standby, which takes its place once. The clock of one daemon is wrong by most of an hour.
 *
 * SEED repeats stories and schedule of faults (not the clock), CHAOS_SECONDS says how long the faults go on (60).
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "lib/crypto.h"
#include "lib/replica.h"

enum {
    DAEMONS = 3,
    RUNS_MAX = 2,
    NODES_MAX = 8,
    RUN_RANK = 100, /* added to the ranks of the second run */
    RANK_END = 9,   /* the rank of a run's end */
    SECONDS_DEFAULT = 60,
    CANDIDATES_PER_SECOND = 8,
    TICK_MS = 10,
    POSTS_PER_TICK = 16,
    SETTLE_MS = 180000,
    REPEATED_AT_THE_END = 50,
};

/* ---------------------------------------------------------------- chance */

static uint64_t chance_state;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t chance(void)
{
    uint64_t z = (chance_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned below(unsigned n)
{
    return (unsigned)(chance() % n);
}

static unsigned between(unsigned low, unsigned high)
{
    return low + below(high - low + 1);
}

static bool percent(unsigned p)
{
    return below(100) < p;
}

/* ---------------------------------------------------------------- stories */

enum ending { STILL_RUNNING, PASSED, OPTED_OUT, FAILED_CRITERIA, CANCELLED, BROKE_DOWN };

struct life_run {
    const char *id;
    char letter; /* of its nodes: a1, a2 … in the first run, b1 … in the second */
    unsigned nodes;
    enum ending ending;
    bool has_contact;
    bool truncated;  /* its end does not list the nodes */
    int64_t started; /* seconds; nodes follow every minute */
};

struct life {
    const char *id;
    bool is_nameless;     /* its runs do not know the external id, only the contact events do */
    bool has_no_profile;  /* nor a profile id */
    bool has_no_workflow; /* its runs do not know the external id of the workflow */
    struct life_run runs[RUNS_MAX];
    unsigned run_count;
};

struct told { /* one event */
    const char *id;
    const char *body;
    bool answered;
};

struct post { /* one sending of it */
    unsigned event;
    int64_t at_ms;
};

struct chaos {
    struct harness *h;
    struct life *lives;
    unsigned life_count;
    struct told *events;
    unsigned event_count;
    struct post *posts; /* in no order */
    unsigned post_count;
    struct program *daemons[DAEMONS];
    int64_t back_at_ms[DAEMONS]; /* dead: when it is started again; frozen: when it goes on */
    bool frozen[DAEMONS];
    bool leaving[DAEMONS]; /* was sent SIGTERM */
    int64_t pg_back_at_ms; /* 0: it runs */
    int64_t pg_calm_until_ms;
    int64_t failover_at_ms; /* 0: it has been */
    int64_t started_ms;
    unsigned kills, freezes, stops, crashes, cuts, faults, refused;
};

static int64_t now_ms(const struct chaos *c)
{
    return clock_mono_ms() - c->started_ms;
}

static const char *node_name(struct chaos *c, const struct life_run *r, unsigned node)
{
    return arena_printf(c->h->arena, "%c%u", r->letter, node);
}

static unsigned rank_of(const struct life_run *r, unsigned node)
{
    return (r->letter == 'a' ? 0 : RUN_RANK) + node;
}

static void make_life(struct chaos *c, unsigned number)
{
    static const enum ending first_endings[] = {PASSED, PASSED, OPTED_OUT};
    static const enum ending last_endings[] = {PASSED,    OPTED_OUT,  FAILED_CRITERIA,
                                               CANCELLED, BROKE_DOWN, STILL_RUNNING};
    struct life *l = &c->lives[number];

    l->id = arena_printf(c->h->arena, "c%04u", number);
    l->is_nameless = percent(20);
    l->has_no_profile = l->is_nameless && percent(25);
    l->has_no_workflow = percent(15);
    l->run_count = 1 + percent(40);
    for (unsigned i = 0; i < l->run_count; i++) {
        struct life_run *r = &l->runs[i];
        bool is_last = i + 1 == l->run_count;

        r->id = arena_printf(c->h->arena, "run-%s-%c", l->id, 'a' + (char)i);
        r->letter = (char)('a' + i);
        r->nodes = between(1, NODES_MAX);
        r->has_contact = l->is_nameless || percent(40);
        r->started = 1000 + i * 3600;
        r->ending =
            is_last ? last_endings[below(ATS_COUNT(last_endings))] : first_endings[below(ATS_COUNT(first_endings))];
        if (i == 1 && r->ending == PASSED) {
            r->ending = FAILED_CRITERIA; /* the stage of a passed run has no letter */
        }
        r->truncated = percent(20);
    }
}

/* ---------------------------------------------------------------- events */

static const char *iso(struct chaos *c, int64_t seconds)
{
    return arena_printf(c->h->arena, "%s", time_iso8601((INT64_C(1777370000) + seconds) * 1000000).s);
}

static void add_event(struct chaos *c, const char *type, int64_t at, struct buf *data)
{
    struct told *t;

    c->events = mem_grow(c->events, c->event_count + 1, sizeof(*c->events));
    t = &c->events[c->event_count];
    t->id = arena_printf(c->h->arena, "evt-%u", c->event_count);
    t->body = arena_printf(c->h->arena,
                           "{\"event\":\"WORKFLOW_%s\",\"eventId\":\"%s\",\"eventTimestamp\":\"%s\",\"data\":{%s}}",
                           type, t->id, iso(c, at), buf_text(data));
    t->answered = false;
    c->event_count++;
    buf_reset(data);
}

static void begin_run_event(struct chaos *c, struct buf *b, const struct life *l, const struct life_run *r, int64_t at)
{
    buf_printf(b, "\"recordId\":\"%s\",\"organizationId\":\"org_1\",\"workflowId\":\"wf_ladder\",\"timestamp\":\"%s\"",
               r->id, iso(c, at));
    if (!l->has_no_workflow)
        buf_puts(b, ",\"workflowExternalId\":\"ladder\"");
    if (!l->has_no_profile)
        buf_printf(b, ",\"candidateProfileId\":\"cp_%s\"", l->id);
    if (!l->is_nameless)
        buf_printf(b, ",\"candidateProfileExternalId\":\"%s\"", l->id);
}

static void add_node(struct chaos *c, struct buf *b, const struct life_run *r, unsigned node)
{
    bool is_last = node == r->nodes;
    const char *status = "COMPLETED";

    if (is_last && r->ending == PASSED)
        status = "PASSED_CRITERIA";
    else if (is_last && r->ending == FAILED_CRITERIA)
        status = "FAILED_CRITERIA";
    buf_printf(b,
               "\"nodeId\":\"%s\",\"nodeType\":\"SCREENING_OUTREACH\",\"enteredAt\":\"%s\",\"completedAt\":\"%s\","
               "\"outcome\":{\"kind\":\"conversation\",\"status\":\"%s\",\"answers\":[{\"slug\":\"rung\","
               "\"answer\":\"rung %u\",\"score\":%u}]}",
               node_name(c, r, node), iso(c, r->started + 60 * (int64_t)(node - 1)),
               iso(c, r->started + 60 * (int64_t)node), status, rank_of(r, node), rank_of(r, node));
}

static void add_end(struct chaos *c, struct buf *b, const struct life *l, const struct life_run *r)
{
    static const struct {
        const char *type, *outcome;
    } ends[] = {
        [PASSED] = {"RUN_COMPLETED", "completed"},
        [OPTED_OUT] = {"RUN_COMPLETED", "opted_out"},
        [FAILED_CRITERIA] = {"RUN_COMPLETED", "completed"},
        [CANCELLED] = {"RUN_CANCELLED", "cancelled"},
        [BROKE_DOWN] = {"RUN_FAILED", "failed"},
    };
    int64_t over = r->started + 60 * (int64_t)r->nodes + 5;

    begin_run_event(c, b, l, r, over);
    buf_printf(b, ",\"startedAt\":\"%s\",\"completedAt\":\"%s\",\"outcome\":\"%s\",\"truncated\":%s,\"nodes\":[",
               iso(c, r->started), iso(c, over), ends[r->ending].outcome, r->truncated ? "true" : "false");
    for (unsigned n = 1; n <= r->nodes && !r->truncated; n++) {
        buf_puts(b, n > 1 ? ",{" : "{");
        add_node(c, b, r, n);
        buf_puts(b, "}");
    }
    buf_puts(b, "]");
    add_event(c, ends[r->ending].type, over, b);
}

static void tell_run(struct chaos *c, struct buf *b, const struct life *l, const struct life_run *r)
{
    if (r->has_contact) {
        buf_printf(b,
                   "\"recordId\":\"%s\",\"organizationId\":\"org_1\",\"workflowId\":\"wf_ladder\","
                   "\"workflowExternalId\":\"ladder\","
                   "\"candidateProfileId\":\"cp_%s\",\"externalId\":\"%s\",\"contactIndex\":0",
                   r->id, l->id, l->id);
        add_event(c, "CONTACT_RESOLVED", r->started - 5, b);
    }
    begin_run_event(c, b, l, r, r->started);
    add_event(c, "RUN_STARTED", r->started, b);
    for (unsigned n = 1; n <= r->nodes; n++) {
        int64_t at = r->started + 60 * (int64_t)n;

        begin_run_event(c, b, l, r, at);
        buf_puts(b, ",");
        add_node(c, b, r, n);
        add_event(c, "NODE_COMPLETED", at, b);
    }
    if (r->ending != STILL_RUNNING)
        add_end(c, b, l, r);
}

static void add_post(struct chaos *c, unsigned event, int64_t at_ms)
{
    c->posts = mem_grow(c->posts, c->post_count + 1, sizeof(*c->posts));
    c->posts[c->post_count++] = (struct post){.event = event, .at_ms = at_ms};
}

/* Each life has its window in the schedule; within it, its events come in any order, some of them again and again. */
static void make_stories(struct chaos *c, int64_t seconds)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    c->life_count = (unsigned)seconds * CANDIDATES_PER_SECOND;
    c->lives = mem_array(c->life_count, sizeof(*c->lives));
    for (unsigned i = 0; i < c->life_count; i++) {
        unsigned first = c->event_count;
        unsigned last_second = (unsigned)seconds * 1000;
        unsigned begins = below(last_second / 10 * 9);
        unsigned lasts = between(500, last_second - begins);

        make_life(c, i);
        for (unsigned r = 0; r < c->lives[i].run_count; r++)
            tell_run(c, &b, &c->lives[i], &c->lives[i].runs[r]);
        for (unsigned e = first; e < c->event_count; e++) {
            do
                add_post(c, e, begins + below(lasts));
            while (percent(25));
        }
    }
    buf_free(&b);
}

static char *workflow_yaml(void)
{
    struct buf b;
    char *text;

    buf_init(&b, 1 << 20);
    buf_puts(&b, "ladder:\n  connector: sandbox\n  job: J\n  live: true\n  on:\n"
                 "    contact_resolved: {tags: [contacted]}\n"
                 "    started: {tags: [started]}\n"
                 "    completed/PASSED_CRITERIA: {stage: \"9\"}\n"
                 "    completed/FAILED_CRITERIA: {reject: \"109\"}\n"
                 "    completed: {assessment: {score: rung}}\n"
                 "    opted_out: {tags: [opted-out]}\n"
                 "    cancelled: {stage: \"109\"}\n"
                 "    finished: {note: \"over: {run} {outcome}\", tags: [over], fields: {over: \"yes\"}}\n");
    for (char letter = 'a'; letter <= 'b'; letter++) {
        for (unsigned n = 1; n <= NODES_MAX; n++) {
            buf_printf(&b, "    node/%c%u: {stage: \"%u\", tags: [t-%c%u]", letter, n,
                       (letter == 'a' ? 0U : RUN_RANK) + n, letter, n);
            buf_printf(&b, n % 3 == 2 ? ", note: \"%u reached: {run}\"}\n" : "}\n", n);
        }
    }
    buf_puts(&b, "  fields:\n    rung: rung\n    a1/rung: first_a\n    b2/rung: second_b\n");
    text = mem_strdup(buf_text(&b));
    buf_free(&b);
    return text;
}

/* ---------------------------------------------------------------- faults */

static void journal(struct chaos *c, const char *format, ...) ATS_PRINTF(2, 3);
static void journal(struct chaos *c, const char *format, ...)
{
    va_list ap;

    printf("%7.2f  ", (double)now_ms(c) / 1000);
    va_start(ap, format);
    (void)vprintf(format, ap);
    va_end(ap);
    (void)putchar('\n');
}

static bool is_up(const struct chaos *c, unsigned d)
{
    return c->daemons[d]->pid != 0 && !c->frozen[d] && !c->leaving[d];
}

/* A program that has just been started has no handlers yet, and a signal that it would handle ends it. */
static bool takes_signals(struct chaos *c, unsigned d)
{
    return is_up(c, d) && http_call(c->h, c->daemons[d]->admin_port, "GET", "/healthz", NULL, NULL, 0).status == 200;
}

/* The clock of the last daemon is wrong by most of an hour, from its first start to its last. */
static void lives_in_the_past(unsigned d, bool now)
{
    shift_clock(d + 1 == DAEMONS && now ? -3000 : 0);
}

static void start_again(struct chaos *c, unsigned d)
{
    lives_in_the_past(d, true);
    daemon_spawn_again(c->h, c->daemons[d]);
    lives_in_the_past(d, false);
}

static void kill_daemon(struct chaos *c, unsigned d)
{
    if (c->daemons[d]->pid == 0)
        return;
    daemon_kill(c->h, c->daemons[d]);
    c->frozen[d] = c->leaving[d] = false;
    c->back_at_ms[d] = now_ms(c) + (percent(50) ? 0 : below(3500)); /* at once, or after somebody took over */
    c->kills++;
    journal(c, "kill -9 %s", c->daemons[d]->name);
}

static void freeze_daemon(struct chaos *c, unsigned d)
{
    if (!is_up(c, d))
        return;
    (void)kill(c->daemons[d]->pid, SIGSTOP);
    c->frozen[d] = true;
    c->back_at_ms[d] = now_ms(c) + between(500, 5000); /* shorter and longer than its lease */
    c->freezes++;
    journal(c, "%s is frozen until %.2f", c->daemons[d]->name, (double)c->back_at_ms[d] / 1000);
}

static void stop_daemon(struct chaos *c, unsigned d)
{
    if (!takes_signals(c, d))
        return;
    (void)kill(c->daemons[d]->pid, SIGTERM);
    c->leaving[d] = true;
    c->back_at_ms[d] = now_ms(c) + DEADLINE_MS; /* must have ended by then */
    c->stops++;
    journal(c, "SIGTERM to %s", c->daemons[d]->name);
}

static void crash_database(struct chaos *c)
{
    if (c->pg_back_at_ms != 0 || now_ms(c) < c->pg_calm_until_ms)
        return;
    journal(c, "PostgreSQL crashes");
    replica_stop("immediate");
    c->pg_back_at_ms = now_ms(c) + 1 + below(4000);
    c->crashes++;
}

/* Once, at its time, or when the database is there again. */
static void fail_over_when_due(struct chaos *c)
{
    if (c->failover_at_ms == 0 || now_ms(c) < c->failover_at_ms || c->pg_back_at_ms != 0)
        return;
    journal(c, "the primary dies, and its standby takes its place");
    replica_fail_over();
    c->failover_at_ms = 0;
    c->pg_calm_until_ms = now_ms(c) + 3000;
    journal(c, "the standby is the primary");
}

static void cut_connections(struct chaos *c)
{
    if (c->pg_back_at_ms != 0)
        return;
    (void)sql_text(c->h, "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                         "where datname = current_database() and pid <> pg_backend_pid()");
    c->cuts++;
    journal(c, "PostgreSQL cuts all connections");
}

static void spoil_answers(struct chaos *c)
{
    static const char *const actions[] = {
        "\"action\":\"status\",\"status\":500",
        "\"action\":\"status\",\"status\":502,\"apply\":true",
        "\"action\":\"status\",\"status\":503",
        "\"action\":\"status\",\"status\":429,\"headers\":{\"Retry-After\":\"1\"}",
        "\"action\":\"status\",\"status\":408",
        "\"action\":\"reset_before\"",
        "\"action\":\"reset_after\"",
        "\"action\":\"hang\"",
        "\"action\":\"garbage\"",
        "\"action\":\"half\"",
        "\"action\":\"html\"",
    };
    static const char *const matches[] = {
        "{}",
        "{}",
        "{\"path_contains\":\"/notes\"}",
        "{\"method\":\"POST\"}",
        "{\"path_contains\":\"/stage\"}",
        "{\"method\":\"PATCH\"}",
    };
    const char *match = matches[below(ATS_COUNT(matches))];
    unsigned times = between(1, 4);
    const char *rule;

    if (percent(40)) /* slow, some of it slower than the time-out */
        rule = arena_printf(c->h->arena, "{\"match\":%s,\"times\":%u,\"action\":\"delay\",\"delay_ms\":%u}", match,
                            8 * times, 10 + below(1500));
    else
        rule = arena_printf(c->h->arena, "{\"match\":%s,\"times\":%u,%s}", match, times,
                            actions[below(ATS_COUNT(actions))]);
    ats_fault(c->h, rule);
    c->faults++;
    journal(c, "ATS: %s", rule);
}

static void something_happens(struct chaos *c)
{
    unsigned d = below(DAEMONS);
    unsigned what = below(100);

    if (what < 30) {
        kill_daemon(c, d);
    } else if (what < 36) {
        freeze_daemon(c, d);
    } else if (what < 42) {
        stop_daemon(c, d);
    } else if (what < 45 && takes_signals(c, d)) {
        (void)kill(c->daemons[d]->pid, SIGHUP);
        journal(c, "SIGHUP to %s", c->daemons[d]->name);
    } else if (what < 52) {
        crash_database(c);
    } else if (what < 57) {
        cut_connections(c);
    } else {
        spoil_answers(c);
    }
}

/* What was broken for a while works again when its time has come. */
static void repair(struct chaos *c, bool all)
{
    if (c->pg_back_at_ms != 0 && (all || now_ms(c) >= c->pg_back_at_ms)) {
        replica_start_again();
        c->pg_back_at_ms = 0;
        c->pg_calm_until_ms = now_ms(c) + 3000;
        journal(c, "PostgreSQL is back");
    }
    for (unsigned d = 0; d < DAEMONS; d++) {
        int status = -1;

        if (program_ended(c->h, c->daemons[d], &status)) {
            if (!c->leaving[d] || status != 0)
                fail_msg("%s ended by itself with status %d", c->daemons[d]->name, status);
            c->leaving[d] = false;
            c->back_at_ms[d] = now_ms(c) + below(1000);
        } else if (c->leaving[d] && now_ms(c) > c->back_at_ms[d]) {
            fail_msg("%s did not end within %d s of SIGTERM", c->daemons[d]->name, DEADLINE_MS / 1000);
        }
        if (c->frozen[d] && (all || now_ms(c) >= c->back_at_ms[d])) {
            (void)kill(c->daemons[d]->pid, SIGCONT);
            c->frozen[d] = false;
            journal(c, "%s goes on", c->daemons[d]->name);
        } else if (c->daemons[d]->pid == 0 && (all || now_ms(c) >= c->back_at_ms[d])) {
            start_again(c, d);
        }
    }
}

/* ---------------------------------------------------------------- sending, as Popp does: at least once */

static void send_post(struct chaos *c, struct post p)
{
    unsigned d = below(DAEMONS);
    struct http_answer a = {.status = 0};

    if (is_up(c, d))
        a = popp_post(c->h, c->daemons[d], c->events[p.event].body);
    if (a.status == 200) {
        c->events[p.event].answered = true;
        return;
    }
    if (a.status != 0 && a.status != 503)
        fail_msg("%s was answered %d: %s", c->events[p.event].id, a.status, a.body);
    c->refused++;
    add_post(c, p.event, now_ms(c) + 50 + below(500));
}

static void send_due(struct chaos *c)
{
    unsigned sent = 0;

    for (unsigned i = 0; i < c->post_count && sent < POSTS_PER_TICK; i++) {
        struct post p = c->posts[i];

        if (p.at_ms <= now_ms(c)) {
            c->posts[i--] = c->posts[--c->post_count];
            send_post(c, p);
            sent++;
        }
    }
}

/* ---------------------------------------------------------------- the end */

static bool is_idle(struct harness *h, void *arg)
{
    (void)arg;
    return text_eq(
        sql_text(h,
                 "select count(*) from atsync.candidate where due_at is not null or lease_owner is not null or state = "
                 "'waiting_for_identity'"), /* each of them has an event that tells who it is */
        "0");
}

static const char *what_is_left(struct harness *h)
{
    return sql_text(h, "select string_agg(concat_ws(' ', connector, ref, state, due_at - now(), attempts, lease_owner, "
                       "last_error), e'\\n') from "
                       "(select * from atsync.candidate where due_at is not null or lease_owner is not null or state = "
                       "'waiting_for_identity' limit 20) c");
}

static void settle(struct chaos *c)
{
    int64_t until_ms;

    repair(c, true);
    for (unsigned d = 0; d < DAEMONS; d++) {
        if (c->leaving[d]) {
            assert_int_equal(program_wait(c->h, c->daemons[d]), 0);
            c->leaving[d] = false;
            start_again(c, d);
        }
    }
    ats_control(c->h, "DELETE", "/_sandbox/fault", NULL);
    ats_control(c->h, "POST", "/_sandbox/release", NULL);
    for (unsigned d = 0; d < DAEMONS; d++)
        daemon_wait_ready(c->h, c->daemons[d]);
    journal(c, "everything works again");
    until_ms = clock_mono_ms() + DEADLINE_MS;
    for (unsigned i = 0; i < c->post_count; i++)
        c->posts[i].at_ms = 0;
    while (c->post_count > 0) { /* however slow the machine is: none for so long means that none will be */
        unsigned before = c->post_count;

        send_due(c);
        if (c->post_count < before)
            until_ms = clock_mono_ms() + DEADLINE_MS;
        else if (clock_mono_ms() > until_ms)
            fail_msg("%u events are still not accepted", c->post_count);
    }
    journal(c, "all events are accepted");
    until_ms = clock_mono_ms() + SETTLE_MS;
    while (!is_idle(c->h, NULL)) {
        if (clock_mono_ms() > until_ms)
            fail_msg("not all is done after %d s:\n%s", SETTLE_MS / 1000, what_is_left(c->h));
        (void)poll(NULL, 0, POLL_MS);
    }
    journal(c, "nothing is left to do");
}

/* ---------------------------------------------------------------- checks: they count all that is wrong, then fail */

static unsigned problems;

static void wrong(const char *format, ...) ATS_PRINTF(1, 2);
static void wrong(const char *format, ...)
{
    va_list ap;

    if (++problems > 40)
        return;
    printf("WRONG: ");
    va_start(ap, format);
    (void)vprintf(format, ap);
    va_end(ap);
    (void)putchar('\n');
}

static void check_events(struct chaos *c)
{
    struct buf b;
    const char *missing;

    buf_init(&b, 64 << 20);
    buf_puts(
        &b,
        "create table public.sent (event_id text primary key, hash text not null);\ninsert into public.sent values\n");
    for (unsigned i = 0; i < c->event_count; i++) {
        uint8_t digest[CRYPTO_SHA256_BYTES];
        char hex[2 * CRYPTO_SHA256_BYTES + 1];

        assert_true(c->events[i].answered);
        crypto_sha256(c->events[i].body, strlen(c->events[i].body), digest);
        crypto_hex(digest, sizeof(digest), hex);
        buf_printf(&b, "%s('%s','%s')", i > 0 ? ",\n" : "", c->events[i].id, hex);
    }
    sql_script(c->h, buf_text(&b));
    buf_free(&b);
    missing = sql_text(
        c->h, "select string_agg(s.event_id, ' ') from public.sent s left join atsync.event e on e.source = 'popp' and "
              "e.event_id = s.event_id where e.event_id is null or encode(sha256(e.body), 'hex') <> s.hash");
    if (missing != NULL)
        wrong("answered with 200, but not in the database as sent: %s", missing);
    missing = sql_text(
        c->h, "select count(*) from atsync.event e left join public.sent s using (event_id) where s.event_id is null");
    if (!text_eq(missing, "0"))
        wrong("%s events in the database that nobody sent", missing);
}

static const struct life_run *last_run_that(const struct life *l, bool (*says)(const struct life_run *r))
{
    const struct life_run *found = NULL;

    for (unsigned i = 0; i < l->run_count; i++) {
        if (says(&l->runs[i]))
            found = &l->runs[i];
    }
    return found;
}

static bool is_completed(const struct life_run *r)
{
    return r->ending == PASSED || r->ending == FAILED_CRITERIA;
}

static void check_value(const struct life *l, const struct json *record, const char *path, const char *expected)
{
    char *got = json_text(json_at(record, path));

    if (strcmp(got, expected) != 0)
        wrong("%s: %s is %s, not %s", l->id, path, got, expected);
    mem_free(got);
}

static void check_disposition(struct chaos *c, const struct life *l, const struct json *record)
{
    const struct life_run *r = &l->runs[l->run_count - 1];
    unsigned stage = rank_of(r, r->nodes);

    switch (r->ending) {
    case FAILED_CRITERIA:
        check_value(l, record, "jobs.J.rejection.reason", "\"109\"");
        return;
    case CANCELLED:
        stage = RUN_RANK + RANK_END;
        break;
    case PASSED:
        stage = RANK_END;
        break;
    case STILL_RUNNING:
    case OPTED_OUT:
    case BROKE_DOWN:
        break;
    }
    check_value(l, record, "jobs.J.stage", arena_printf(c->h->arena, "\"%u\"", stage));
    check_value(l, record, "jobs.J.rejection", "null");
}

static void check_fields(struct chaos *c, const struct life *l, const struct json *record)
{
    const struct life_run *last = &l->runs[l->run_count - 1];
    const struct life_run *scored = last_run_that(l, is_completed);
    bool any_over = false;

    for (unsigned i = 0; i < l->run_count; i++)
        any_over = any_over || l->runs[i].ending != STILL_RUNNING;
    check_value(l, record, "fields.rung", arena_printf(c->h->arena, "\"rung %u\"", rank_of(last, last->nodes)));
    check_value(l, record, "fields.first_a", "\"rung 1\"");
    check_value(l, record, "fields.second_b", l->run_count > 1 && last->nodes >= 2 ? "\"rung 102\"" : "null");
    check_value(l, record, "fields.over", any_over ? "\"yes\"" : "null");
    check_value(l, record, "jobs.J.assessment.score",
                scored != NULL ? arena_printf(c->h->arena, "%u", rank_of(scored, scored->nodes)) : "null");
}

/* An array of texts as one text, in order. */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct texts {
    const char *items[64];
    size_t count;
};

static void add_text(struct texts *t, const char *text)
{
    assert_true(t->count < ATS_COUNT(t->items));
    t->items[t->count++] = text != NULL ? text : "(none)";
}

static void check_same(const struct life *l, const char *what, struct texts *got, struct texts *expected)
{
    qsort(got->items, got->count, sizeof(got->items[0]), by_text);
    qsort(expected->items, expected->count, sizeof(expected->items[0]), by_text);
    for (size_t i = 0; i < got->count || i < expected->count; i++) {
        const char *g = i < got->count ? got->items[i] : "nothing";
        const char *e = i < expected->count ? expected->items[i] : "nothing";

        if (strcmp(g, e) != 0) {
            wrong("%s: %s: \"%s\" where \"%s\" should be", l->id, what, g, e);
            return;
        }
    }
}

static void check_tags_and_notes(struct chaos *c, const struct life *l, const struct json *record)
{
    static const char *const outcomes[] = {"", "completed", "opted_out", "completed", "cancelled", "failed"};
    struct texts tags = {.count = 0}, wanted_tags = {.count = 0}, notes = {.count = 0}, wanted_notes = {.count = 0};
    struct texts markers = {.count = 0};
    bool contacted = false, over = false, opted_out = false;

    for (const struct json *t = json_first(json_get(record, "tags")); t != NULL; t = json_next(t))
        add_text(&tags, json_str(t));
    for (const struct json *n = json_first(json_get(record, "notes")); n != NULL; n = json_next(n)) {
        const char *body = json_get_str(n, "body"), *marker = json_get_str(n, "marker");
        const char *last = body != NULL ? strchr(body, '\n') : NULL;

        if (last == NULL || marker == NULL || !text_has(last, marker))
            wrong("%s: a note whose last line is not its marker: %s", l->id, body != NULL ? body : "none");
        add_text(&notes, last != NULL ? arena_strndup(c->h->arena, body, (size_t)(last - body)) : body);
        add_text(&markers, marker);
    }
    add_text(&wanted_tags, "started");
    for (unsigned i = 0; i < l->run_count; i++) {
        const struct life_run *r = &l->runs[i];

        contacted = contacted || r->has_contact;
        opted_out = opted_out || r->ending == OPTED_OUT;
        over = over || (r->ending != STILL_RUNNING && r->ending != OPTED_OUT); /* the more special rule's tags */
        if (r->ending != STILL_RUNNING)
            add_text(&wanted_notes, arena_printf(c->h->arena, "over: %s %s", r->id, outcomes[r->ending]));
        for (unsigned n = 1; n <= r->nodes; n++) {
            add_text(&wanted_tags, arena_printf(c->h->arena, "t-%s", node_name(c, r, n)));
            if (n % 3 == 2)
                add_text(&wanted_notes, arena_printf(c->h->arena, "%u reached: %s", n, r->id));
        }
    }
    if (contacted)
        add_text(&wanted_tags, "contacted");
    if (opted_out)
        add_text(&wanted_tags, "opted-out");
    if (over)
        add_text(&wanted_tags, "over");
    check_same(l, "tags", &tags, &wanted_tags);
    check_same(l, "notes", &notes, &wanted_notes);
    qsort(markers.items, markers.count, sizeof(markers.items[0]), by_text);
    for (size_t i = 1; i < markers.count; i++) {
        if (strcmp(markers.items[i - 1], markers.items[i]) == 0)
            wrong("%s: two notes with the marker %s", l->id, markers.items[i]);
    }
}

/* The greatest rank sent so far, for each thing that has one. */
struct ladder {
    const char *name;
    int64_t top;
};

static void climb(const struct life *l, struct ladder *ladder, int64_t rank, const struct json *entry)
{
    int64_t seq = 0;

    if (rank < ladder->top) {
        (void)json_get_i64(entry, "seq", &seq);
        wrong("%s: %s %" PRId64 " was sent after %" PRId64 " (request %" PRId64 ")", l->id, ladder->name, rank,
              ladder->top, seq);
    }
    ladder->top = rank > ladder->top ? rank : ladder->top;
}

static int64_t number_in(const char *text)
{
    int64_t n = -1;

    if (text == NULL || !text_to_i64(text_starts(text, "rung ") ? text + 5 : text, 0, 1000, &n))
        wrong("a rank that nobody gave: %s", text != NULL ? text : "none");
    return n;
}

static void check_order(struct chaos *c, const struct life *l)
{
    struct ladder disposition = {"stage or rejection", 0}, answer = {"answer", 0}, score = {"score", 0};
    const struct json *log =
        json_of(c->h, ats_get(c->h, arena_printf(c->h->arena, "/_sandbox/log?candidate=%s", l->id)));

    for (const struct json *e = json_first(log); e != NULL; e = json_next(e)) {
        const struct json *body = json_get(e, "body");
        const struct json *rung = json_at(body, "fields.rung");
        int64_t n;

        if (text_eq(json_get_str(e, "method"), "GET"))
            continue;
        if (json_get_str(body, "stage") != NULL)
            climb(l, &disposition, number_in(json_get_str(body, "stage")), e);
        if (json_get_str(body, "reason") != NULL)
            climb(l, &disposition, number_in(json_get_str(body, "reason")), e);
        if (json_get_i64(body, "score", &n))
            climb(l, &score, n, e);
        if (rung != NULL)
            climb(l, &answer, number_in(json_str(rung)), e);
    }
}

static void check_candidates(struct chaos *c)
{
    int64_t candidates = ats_figure(c->h, "candidates");

    if (candidates != c->life_count)
        wrong("%" PRId64 " candidates in the ATS, not %u", candidates, c->life_count);
    for (unsigned i = 0; i < c->life_count; i++) {
        const struct life *l = &c->lives[i];
        struct http_answer a = http_call(c->h, c->h->sandbox->port, "GET",
                                         arena_printf(c->h->arena, "/_sandbox/candidates/%s", l->id), NULL, NULL, 0);
        const struct json *record = a.status == 200 ? json_of(c->h, a.body) : NULL;

        check_disposition(c, l, record);
        check_fields(c, l, record);
        check_tags_and_notes(c, l, record);
        check_order(c, l);
    }
}

static void check_database(struct chaos *c)
{
    static const struct {
        const char *what, *query;
    } queries[] = {
        {"dead writes", "select count(*) from atsync.dead_writes"},
        {"pending writes", "select count(*) from atsync.pending_writes"},
        {"candidates not synced",
         "select count(*) from atsync.sync_status where sync_state not in ('synced', 'nothing_to_do')"},
        {"candidates behind their events", "select count(*) from atsync.candidate where synced_version <> version"},
        {"results under a number that was never claimed",
         "select count(*) from atsync.ats_write w join atsync.candidate q using (source, connector, ref) "
         "where w.lease_no > q.lease_no"},
    };

    for (size_t i = 0; i < ATS_COUNT(queries); i++) {
        const char *count = sql_text(c->h, queries[i].query);

        if (!text_eq(count, "0"))
            wrong("%s: %s", queries[i].what, count);
    }
}

static void check_writers(struct chaos *c)
{
    int64_t writers = ats_figure(c->h, "max_waiting_per_candidate");

    if (writers != 1)
        wrong("%" PRId64 " requests about one candidate were on the way at once", writers);
}

/* The same events once more, and everybody restarted: nobody sees a reason to call the ATS. */
static void check_rest(struct chaos *c)
{
    int64_t requests = ats_figure(c->h, "requests");

    for (unsigned d = 0; d < DAEMONS; d++) {
        daemon_stop(c->h, c->daemons[d]);
        start_again(c, d);
        daemon_wait_ready(c->h, c->daemons[d]);
    }
    for (unsigned i = 0; i < REPEATED_AT_THE_END; i++) {
        struct http_answer a = popp_post(c->h, c->daemons[below(DAEMONS)], c->events[below(c->event_count)].body);

        if (a.status != 200 || !text_has(a.body, "duplicate"))
            wrong("an event that was there was answered %d: %s", a.status, a.body);
    }
    sql_script(c->h, "update atsync.candidate set due_at = now(), version = version + 1");
    wait_until(c->h, is_idle, NULL, "all candidates are looked at again");
    if (ats_figure(c->h, "requests") != requests)
        wrong("%" PRId64 " requests for candidates with nothing new", ats_figure(c->h, "requests") - requests);
    for (unsigned d = 0; d < DAEMONS; d++)
        daemon_stop(c->h, c->daemons[d]);
}

/* ---------------------------------------------------------------- the run */

static int64_t number_from(const char *name, int64_t low, int64_t high, int64_t fallback)
{
    const char *text = getenv(name);
    int64_t n = fallback;

    if (text != NULL && *text != '\0' && !text_to_i64(text, low, high, &n))
        fail_msg("%s must be a number between %" PRId64 " and %" PRId64, name, low, high);
    return n;
}

static void start_all(struct chaos *c)
{
    static const char *const names[DAEMONS] = {"one", "two", "three"};
    char *workflows = workflow_yaml();

    for (unsigned d = 0; d < DAEMONS; d++) {
        lives_in_the_past(d, true);
        c->daemons[d] = daemon_start(c->h, &(struct daemon_conf){
                                               .instance = names[d],
                                               .delivery = d == 1 ? "lease: 2s\npoll: 200ms\nworkers: 2\n" : NULL,
                                               .workflows = workflows,
                                               .connector = "rate_limit: 1000/1s\nconcurrency: 24\ntimeout: 1s\n"
                                                            "allow_private_addresses: true\n" E2E_RETRY,
                                           });
        lives_in_the_past(d, false);
    }
    mem_free(workflows);
}

E2E_TEST(everything_breaks_and_nothing_is_lost)
{
    struct chaos c = {.h = h};
    int64_t seconds = number_from("CHAOS_SECONDS", 5, 86400, SECONDS_DEFAULT);
    int64_t seed = number_from("SEED", 0, INT64_MAX, clock_wall_us());
    uint64_t step = 0;
    int64_t next_ms = 1000;

    printf("SEED=%" PRId64 " CHAOS_SECONDS=%" PRId64 "\n", seed, seconds);
    chance_state = (uint64_t)seed;
    make_stories(&c, seconds);
    c.failover_at_ms = seconds * 400 + below((unsigned)seconds * 300);
    replica_start(h);
    start_all(&c);
    c.started_ms = clock_mono_ms();
    printf("%u candidates, %u events, %u posts\n", c.life_count, c.event_count, c.post_count);
    while (now_ms(&c) < seconds * 1000) {
        if (now_ms(&c) >= next_ms) {
            uint64_t others = chance_state;

            chance_state =
                (uint64_t)seed + ++step * UINT64_C(1000003); /* the schedule does not depend on what became of it */
            next_ms += between(150, 600);
            something_happens(&c);
            chance_state = others;
        }
        repair(&c, false);
        fail_over_when_due(&c);
        send_due(&c);
        (void)poll(NULL, 0, TICK_MS);
        (void)fflush(stdout);
    }
    settle(&c);
    problems = 0;
    check_events(&c);
    check_candidates(&c);
    check_database(&c);
    check_writers(&c);
    check_rest(&c);
    printf("%u kills, %u freezes, %u stops, %u crashes of PostgreSQL, %u cut connections, %u rules for the ATS, %u "
           "posts refused, "
           "%" PRId64 " requests to the ATS, %" PRId64 " of them repeated\n",
           c.kills, c.freezes, c.stops, c.crashes, c.cuts, c.faults, c.refused, ats_figure(h, "requests"),
           ats_figure(h, "repeated_keys"));
    mem_free(c.events);
    mem_free(c.posts);
    mem_free(c.lives);
    assert_true(c.kills > 0 && c.faults > 0 && c.failover_at_ms == 0);
    if (problems > 0)
        fail_msg("%u things are wrong (above); the same again: SEED=%" PRId64 " CHAOS_SECONDS=%" PRId64, problems, seed,
                 seconds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_breaks_and_nothing_is_lost, harness_setup, replica_teardown),
    };

    return e2e_main(tests);
}
