#include "service/overseer.h"

#include <stdatomic.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "domain/issue.h"
#include "domain/skew.h"
#include "service/tally.h"
#include "service/thread.h"
#include "store/activity.h"
#include "store/store.h"
#include "store/views.h"

enum {
    TICK_MS = 2000,
    LOOK_PER_COST = 25,        /* of the time, at most 4 percent is spent on looking */
    POPULATION_PER_COST = 200, /* and half a percent on counting everybody */
    OWN_MAX = 32,
    STALLED_MS = 10000,  /* as long as TCP waits for what is not acknowledged (db.h) */
    HOLD_MIN_MS = 20000, /* what only we see stays told for so long after we told it last, */
    HOLD_INTERVALS = 3,  /* and for so many of our looks */
    MINUTE_US = 60 * 1000 * 1000,
};

/* A row of a gauge as it came from the database; labels live in an arena. */
struct reading {
    const char *label, *label2;
    double value, value2;
};
struct readings {
    struct reading *items;
    size_t count, room;
    struct arena *arena;
};

struct overseer {
    overseer_own own;
    void *ctx;
    struct store *store;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* guards the block */
    pthread_cond_t changed;
    struct config *config;
    bool stopping;

    atomic_bool schema_too_new;

    /* the thread's own */
    bool away;
    bool may_not_end;                 /* sessions of daemons that are stopped */
    const struct config *looked_with; /* only to be compared: it may be gone */
    int64_t interval_ms, look_due_ms, population_due_ms, tallied_minute;
    struct readings idle; /* candidates that nothing is done for, as counted last */
    struct tally tally;
    struct metric *candidates, *oldest, *issues, *severities, *breaker, *database;
};

/* The message may repeat what an ATS said, and that what a candidate said: it stays in the table. */
static void tell(void *ctx, bool opened, const char *class, const char *connector, const char *message,
                 const char *hint)
{
    (void)ctx;
    (void)message;
    if (opened) {
        log_warn("issue opened", "class", class, "connector", connector, "hint", hint, "more", "atsyncctl issues",
                 NULL);
    } else {
        log_info("issue closed", "class", class, "connector", connector, NULL);
    }
}

/* ---- readings */

static void readings_init(struct readings *r)
{
    *r = (struct readings){.arena = arena_new()};
}

static void readings_clear(struct readings *r)
{
    mem_free(r->items);
    arena_free(r->arena);
    *r = (struct readings){.arena = NULL};
}

static void readings_add(struct readings *r, const char *label, const char *label2, double value, double value2)
{
    if (r->count == r->room) {
        r->room = r->room > 0 ? 2 * r->room : 16;
        r->items = mem_grow(r->items, r->room, sizeof *r->items);
    }
    r->items[r->count++] = (struct reading){.label = arena_strdup(r->arena, label),
                                            .label2 = arena_strdup(r->arena, label2),
                                            .value = value,
                                            .value2 = value2};
}

/* Sums up; label NULL: any. */
static double readings_sum(const struct readings *r, const char *label, const char *label2)
{
    double sum = 0;

    for (size_t i = 0; i < r->count; i++) {
        if ((!label || text_eq(label, r->items[i].label)) && (!label2 || text_eq(label2, r->items[i].label2))) {
            sum += r->items[i].value;
        }
    }
    return sum;
}

static void add_issues(void *ctx, const char *class, const char *severity, int64_t count)
{
    readings_add(ctx, class, severity, (double)count, 0);
}

static void add_candidates(void *ctx, const struct queue_count *c)
{
    readings_add(ctx, c->connector, c->state, (double)c->count, c->oldest_due_seconds);
}

/* ---- gauges. What can be is told as 0 too, so that a rule can tell "none" from "not known". */

static int set_issue_gauges(struct overseer *o, struct errmsg *err)
{
    static const char *const severities[] = {"error", "warning", "info"};
    struct readings open;
    int st;

    readings_init(&open);
    st = store_issues_open(o->store, add_issues, &open, err);
    if (st == ST_OK) {
        metric_refill_begin(o->issues);
        for (size_t i = 0; issue_class(i); i++) {
            metric_set(o->issues, readings_sum(&open, issue_class(i), NULL), issue_class(i), NULL, NULL, NULL);
        }
        for (size_t i = 0; i < open.count; i++) { /* a newer daemon may know more classes */
            metric_set(o->issues, readings_sum(&open, open.items[i].label, NULL), open.items[i].label, NULL, NULL,
                       NULL);
        }
        metric_refill_end(o->issues);
        for (size_t i = 0; i < ATS_COUNT(severities); i++) {
            metric_set(o->severities, readings_sum(&open, NULL, severities[i]), severities[i], NULL, NULL, NULL);
        }
    }
    readings_clear(&open);
    return st;
}

/* Everybody is counted seldom, because that reads the whole table. */
static int count_idle(struct overseer *o, struct errmsg *err)
{
    int64_t began_ms = clock_mono_ms();
    struct readings idle;
    int st = ST_OK;

    if (began_ms < o->population_due_ms) {
        return ST_OK;
    }
    readings_init(&idle);
    st = store_population(o->store, add_candidates, &idle, err);
    if (st == ST_OK) {
        struct readings old = o->idle;

        o->idle = idle;
        idle = old;
    }
    o->population_due_ms = clock_mono_ms() + (clock_mono_ms() - began_ms) * POPULATION_PER_COST;
    readings_clear(&idle);
    return st;
}

static void set_candidates(struct overseer *o, const struct readings *all, const char *connector, const char *state)
{
    metric_set(o->candidates, readings_sum(all, connector, state), connector, state, NULL, NULL);
}

static void set_oldest(struct overseer *o, const struct readings *all, const char *connector)
{
    double oldest_s = 0;

    for (size_t i = 0; i < all->count; i++) {
        if (text_eq(all->items[i].label, connector) && all->items[i].value2 > oldest_s) {
            oldest_s = all->items[i].value2;
        }
    }
    metric_set(o->oldest, oldest_s, connector, NULL, NULL, NULL);
}

static int set_candidate_gauges(struct overseer *o, const struct config *c, struct errmsg *err)
{
    static const char *const states[] = {"synced",    "pending", "in_progress", "retrying",
                                         "throttled", "paused",  "dead",        "nothing_to_do"};
    static const char *const states_without_connector[] = {"waiting_for_identity", "unmapped"};
    struct readings all;
    int st = count_idle(o, err);

    readings_init(&all);
    if (st != ST_OK || (st = store_queue_counts(o->store, add_candidates, &all, err)) != ST_OK) {
        goto out;
    }
    for (size_t i = 0; i < o->idle.count; i++) {
        const struct reading *r = &o->idle.items[i];

        readings_add(&all, r->label, r->label2, r->value, 0);
    }
    metric_refill_begin(o->candidates);
    metric_refill_begin(o->oldest);
    for (size_t i = 0; i < c->connector_count; i++) {
        for (size_t k = 0; k < ATS_COUNT(states); k++) {
            set_candidates(o, &all, c->connectors[i].name, states[k]);
        }
        set_oldest(o, &all, c->connectors[i].name);
    }
    for (size_t k = 0; k < ATS_COUNT(states_without_connector); k++) {
        set_candidates(o, &all, "", states_without_connector[k]);
    }
    for (size_t i = 0; i < all.count; i++) { /* connectors of before, states that pass */
        set_candidates(o, &all, all.items[i].label, all.items[i].label2);
        set_oldest(o, &all, all.items[i].label);
    }
    metric_refill_end(o->candidates);
    metric_refill_end(o->oldest);
out:
    readings_clear(&all);
    return st;
}

/* 0 works, 1 waits or probes, 2 stopped: higher is worse */
static double breaker_value(const char *state)
{
    if (strcmp(state, "ok") == 0) {
        return 0;
    }
    return strcmp(state, "paused") == 0 ? 2 : 1;
}

static int set_breaker_gauge(struct overseer *o, struct errmsg *err)
{
    struct arena *arena = arena_new();
    struct connector_status_row *rows = NULL;
    size_t count = 0;
    int st = store_connector_states(o->store, arena, &rows, &count, err);

    if (st == ST_OK) {
        metric_refill_begin(o->breaker);
        for (size_t i = 0; i < count; i++) {
            bool over = strcmp(rows[i].state, "throttled") == 0 && rows[i].until_ms <= 0;

            metric_set(o->breaker, over ? 0 : breaker_value(rows[i].state), rows[i].connector, NULL, NULL, NULL);
        }
        metric_refill_end(o->breaker);
    }
    arena_free(arena);
    return st;
}

/* ---- the work */

/*
 * Adds a problem if this machine's clock is not the database's. The database said its time at some moment of the round
 * trip: its middle, give or take half of it.
 */
static int look_at_clocks(struct overseer *o, const struct config *c, struct problem *ret, size_t *count,
                          struct errmsg *err)
{
    int64_t began_us = clock_mono_us();
    int64_t before_us = clock_wall_us();
    int64_t database_us;
    int64_t unsure_us;
    int64_t ahead_us;
    int st = store_now(o->store, &database_us, err);

    if (st != ST_OK) {
        return st;
    }
    unsure_us = (clock_mono_us() - began_us) / 2;
    ahead_us = database_us - (before_us + unsure_us);
    if (skew_is_sure(ahead_us, unsure_us)) {
        ret[(*count)++] = (struct problem){.class = "clock_skew", .detail = c->instance, .ahead_ms = ahead_us / 1000};
    }
    return ST_OK;
}

static int look(struct overseer *o, const struct config *c, struct errmsg *err)
{
    struct problem own[OWN_MAX];
    struct own_problems list = {.items = own, .hold_ms = HOLD_INTERVALS * o->interval_ms};
    int64_t began_ms = clock_mono_ms();
    int st;

    if (began_ms < o->look_due_ms) {
        return ST_OK;
    }
    list.hold_ms = list.hold_ms > HOLD_MIN_MS ? list.hold_ms : HOLD_MIN_MS;
    list.count = o->own ? o->own(o->ctx, own, OWN_MAX - 1) : 0;
    if ((st = store_connect(o->store, err)) == ST_OK && (st = look_at_clocks(o, c, own, &list.count, err)) == ST_OK &&
        (st = store_issues_refresh(o->store, &c->mapping, &list, tell, o, err)) == ST_OK &&
        (st = set_issue_gauges(o, err)) == ST_OK && (st = set_candidate_gauges(o, c, err)) == ST_OK) {
        st = set_breaker_gauge(o, err);
    }
    o->interval_ms = (clock_mono_ms() - began_ms) * LOOK_PER_COST;
    o->interval_ms = o->interval_ms < TICK_MS ? TICK_MS : o->interval_ms;
    o->look_due_ms = clock_mono_ms() + o->interval_ms - TICK_MS / 10; /* a tick is not late by a hair */
    return st;
}

/* A minute in which nothing happened is written down too: it tells that a daemon was there. */
static int write_tally(struct overseer *o, struct errmsg *err)
{
    int64_t minute = clock_wall_us() / MINUTE_US;
    struct activity difference;
    int st;

    if (!tally_difference(&o->tally, &difference) && minute == o->tallied_minute) {
        return ST_OK;
    }
    st = store_activity_add(o->store, &difference, err);
    if (st == ST_OK || st == ST_UNCERTAIN) { /* rather once too few than twice */
        tally_written(&o->tally, &difference);
        o->tallied_minute = minute;
    }
    return st;
}

/* A newer release may have brought the database to another schema under a daemon that runs. */
static int look_at_schema(struct overseer *o, struct errmsg *err)
{
    struct schema_status schema;
    int st = store_connect(o->store, err);

    if (st == ST_OK && (st = store_schema_status(o->store, &schema, err)) == ST_OK && schema.newer_breaking) {
        atomic_store(&o->schema_too_new, true);
    }
    return st;
}

static void tell_ended(void *ctx, const char *session)
{
    (void)ctx;
    log_warn("ended the database session of a daemon that was stopped in the middle of a transaction, since it kept "
             "others from storing events; end that daemon, or let it go on",
             "session", session, NULL);
}

/* Where the role may not do it, all else goes on. */
static int end_stalled(struct overseer *o, struct errmsg *err)
{
    int st = o->may_not_end ? ST_OK : store_end_stalled(o->store, STALLED_MS, tell_ended, o, err);

    if (st == ST_DENIED) {
        o->may_not_end = true;
        log_warn("the database role may not call pg_terminate_backend: if a daemon is stopped in the middle of a "
                 "transaction, events of the candidates that it had in hand cannot be stored until it goes on",
                 "error", err->text, NULL);
        st = ST_OK;
    }
    return st;
}

static void tick(struct overseer *o, const struct config *c)
{
    struct errmsg err;
    int st = look_at_schema(o, &err);

    if (st == ST_OK && !atomic_load(&o->schema_too_new)) {
        st = end_stalled(o, &err);
    }
    if (st == ST_OK && !atomic_load(&o->schema_too_new)) {
        st = write_tally(o, &err);
    }
    if (st == ST_OK && !atomic_load(&o->schema_too_new)) {
        st = look(o, c, &err);
    }
    if (st != ST_OK && st != ST_UNAVAILABLE && st != ST_UNCERTAIN && !o->away) {
        log_error("cannot look for problems", "error", err.text, NULL);
    }
    o->away = st != ST_OK;
    metric_set(o->database, o->away ? 0 : 1, NULL, NULL, NULL, NULL);
}

static void *overseer_main(void *arg)
{
    struct overseer *o = arg;
    struct errmsg err;

    (void)pthread_mutex_lock(&o->mutex);
    while (!o->stopping) {
        struct config *c = config_ref(o->config);

        (void)pthread_mutex_unlock(&o->mutex);
        if (c != o->looked_with) { /* what changed with the settings is looked at without delay */
            o->looked_with = c;
            o->look_due_ms = 0;
        }
        tick(o, c);
        config_unref(c);
        (void)pthread_mutex_lock(&o->mutex);
        if (!o->stopping) {
            thread_cond_wait(&o->changed, &o->mutex, TICK_MS);
        }
    }
    (void)pthread_mutex_unlock(&o->mutex);
    if (!o->away) {
        (void)write_tally(o, &err); /* the last seconds; nothing is lost but their figures */
    }
    return NULL;
}

bool overseer_schema_is_too_new(struct overseer *o)
{
    return atomic_load(&o->schema_too_new);
}

struct metric *overseer_database_gauge(void)
{
    return metric_gauge("atsyncd_database_up", "1 if the database answered when it was asked last, and could be used.",
                        "");
}

struct overseer *overseer_new(struct config *c, overseer_own own, void *ctx)
{
    struct overseer *o = mem_zalloc(sizeof *o);

    o->own = own;
    o->ctx = ctx;
    o->config = config_ref(c);
    o->store = store_new(c, "overseer");
    (void)pthread_mutex_init(&o->mutex, NULL);
    thread_cond_init(&o->changed);
    o->candidates = metric_gauge("atsyncd_candidates", "Candidates by state; those without a connector have it empty.",
                                 "connector,state");
    o->oldest = metric_gauge("atsyncd_oldest_due_seconds",
                             "For how long the candidate that waits longest could have been worked on.", "connector");
    o->issues = metric_gauge("atsyncd_issues_open", "Open issues.", "class");
    o->severities = metric_gauge("atsyncd_issues_open_by_severity", "Open issues.", "severity");
    o->breaker = metric_gauge("atsyncd_breaker_state",
                              "0: the connector works, 1: it waits or probes, 2: it is stopped.", "connector");
    o->database = overseer_database_gauge();
    return o;
}

int overseer_start(struct overseer *o, struct errmsg *err)
{
    int st = thread_start(&o->thread, "overseer", overseer_main, o, err);

    o->started = st == ST_OK;
    return st;
}

void overseer_reload(struct overseer *o, struct config *c)
{
    struct config *old;

    (void)pthread_mutex_lock(&o->mutex);
    old = o->config;
    o->config = config_ref(c);
    (void)pthread_cond_signal(&o->changed);
    (void)pthread_mutex_unlock(&o->mutex);
    config_unref(old);
    store_reload(o->store, c);
}

void overseer_stop(struct overseer *o)
{
    (void)pthread_mutex_lock(&o->mutex);
    o->stopping = true;
    (void)pthread_cond_signal(&o->changed);
    (void)pthread_mutex_unlock(&o->mutex);
}

void overseer_join(struct overseer *o)
{
    if (o->started) {
        (void)pthread_join(o->thread, NULL);
        o->started = false;
    }
}

void overseer_free(struct overseer *o)
{
    if (!o) {
        return;
    }
    if (o->started) {
        overseer_stop(o);
        overseer_join(o);
    }
    readings_clear(&o->idle);
    store_free(o->store);
    config_unref(o->config);
    (void)pthread_cond_destroy(&o->changed);
    (void)pthread_mutex_destroy(&o->mutex);
    mem_free(o);
}
