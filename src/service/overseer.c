#include "service/overseer.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "domain/skew.h"
#include "service/thread.h"
#include "store/store.h"
#include "store/views.h"

enum {
    INTERVAL_MIN_MS = 2000,
    INTERVAL_PER_COST = 25,
    OWN_MAX = 32,
    HOLD_MIN_MS = 20000, /* what only we see stays told for so long after we told it last, */
    HOLD_INTERVALS = 3,  /* and for so many of our looks */
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

    bool away;
    int64_t interval_ms;
    struct metric *candidates, *issues, *breaker;
};

static void tell(void *ctx, bool opened, const char *class, const char *connector, const char *message,
                 const char *hint)
{
    (void)ctx;
    if (opened) {
        log_warn("issue opened", "class", class, "connector", connector, "problem", message, "hint", hint, NULL);
    } else {
        log_info("issue closed", "class", class, "connector", connector, "problem", message, NULL);
    }
}

static void set_issue_gauge(void *ctx, const char *class, int64_t count)
{
    struct overseer *o = ctx;

    metric_set(o->issues, (double)count, class, NULL, NULL, NULL);
}

static void set_candidate_gauge(void *ctx, const char *connector, const char *state, int64_t count)
{
    struct overseer *o = ctx;

    metric_set(o->candidates, (double)count, connector, state, NULL, NULL);
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
        metric_clear(o->breaker);
        for (size_t i = 0; i < count; i++) {
            metric_set(o->breaker, breaker_value(rows[i].state), rows[i].connector, NULL, NULL, NULL);
        }
    }
    arena_free(arena);
    return st;
}

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
    int st = store_connect(o->store, err);

    list.hold_ms = list.hold_ms > HOLD_MIN_MS ? list.hold_ms : HOLD_MIN_MS;
    list.count = o->own ? o->own(o->ctx, own, OWN_MAX - 1) : 0;
    if (st != ST_OK || (st = look_at_clocks(o, c, own, &list.count, err)) != ST_OK ||
        (st = store_issues_refresh(o->store, &c->mapping, &list, tell, o, err)) != ST_OK) {
        return st;
    }
    metric_clear(o->issues);
    if ((st = store_issues_open(o->store, set_issue_gauge, o, err)) != ST_OK) {
        return st;
    }
    metric_clear(o->candidates);
    if ((st = store_queue_counts(o->store, set_candidate_gauge, o, err)) != ST_OK) {
        return st;
    }
    return set_breaker_gauge(o, err);
}

static void *overseer_main(void *arg)
{
    struct overseer *o = arg;

    (void)pthread_mutex_lock(&o->mutex);
    while (!o->stopping) {
        struct config *c = config_ref(o->config);
        int64_t began_ms = clock_mono_ms();
        int64_t wait_ms;
        struct errmsg err;
        int st;

        (void)pthread_mutex_unlock(&o->mutex);
        st = look(o, c, &err);
        config_unref(c);
        if (st != ST_OK && st != ST_UNAVAILABLE && st != ST_UNCERTAIN && !o->away) {
            log_error("cannot look for problems", "error", err.text, NULL);
        }
        o->away = st != ST_OK;
        wait_ms = (clock_mono_ms() - began_ms) * INTERVAL_PER_COST;
        wait_ms = wait_ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : wait_ms;
        o->interval_ms = wait_ms;
        (void)pthread_mutex_lock(&o->mutex);
        if (!o->stopping) {
            thread_cond_wait(&o->changed, &o->mutex, wait_ms);
        }
    }
    (void)pthread_mutex_unlock(&o->mutex);
    return NULL;
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
    o->candidates =
        metric_gauge("atsyncd_candidates", "Candidates that wait or are in work, by state.", "connector,state");
    o->issues = metric_gauge("atsyncd_issues_open", "Open issues.", "class");
    o->breaker = metric_gauge("atsyncd_breaker_state",
                              "0: the connector works, 1: it waits or probes, 2: it is stopped.", "connector");
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
    store_free(o->store);
    config_unref(o->config);
    (void)pthread_cond_destroy(&o->changed);
    (void)pthread_mutex_destroy(&o->mutex);
    mem_free(o);
}
