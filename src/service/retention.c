#include "service/retention.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "service/thread.h"
#include "store/retention.h"

enum {
    /* a batch takes about so long: nobody who stores an event of one of its candidates waits longer */
    BATCH_MS = 40,
    BATCH_MIN = 50,
    BATCH_MAX = 500,
    REST_PER_WORK = 2, /* after each batch, in its own time */
    REST_MIN_MS = 20,
    PAUSE_PER_WORK = 30, /* after all there was: what is over age and cannot go yet is looked at each time, in vain */
    PAUSE_MIN_MS = 30 * 1000,
    PAUSE_MAX_MS = 3600 * 1000,
};

/* What was forgotten since the last line in the log. */
struct sums {
    int64_t events, runs, writes, ids, calls, issues, versions;
};

struct retention {
    struct store *store;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* guards the block */
    pthread_cond_t changed;
    struct config *config;
    bool stopping;
    bool reloaded;

    bool failed; /* the last time */
    struct metric *forgotten;
};

static bool is_stopping(struct retention *r)
{
    bool stopping;

    (void)pthread_mutex_lock(&r->mutex);
    stopping = r->stopping;
    (void)pthread_mutex_unlock(&r->mutex);
    return stopping;
}

/* The end has come, or other ages are configured. */
static bool is_interrupted(struct retention *r)
{
    bool interrupted;

    (void)pthread_mutex_lock(&r->mutex);
    interrupted = r->stopping || r->reloaded;
    (void)pthread_mutex_unlock(&r->mutex);
    return interrupted;
}

/* Until the time is over, the end comes, or the configuration is another one. */
static void rest(struct retention *r, int64_t ms)
{
    int64_t until_ms = clock_mono_ms() + ms;

    (void)pthread_mutex_lock(&r->mutex);
    while (!r->stopping && !r->reloaded && clock_mono_ms() < until_ms) {
        thread_cond_wait(&r->changed, &r->mutex, until_ms - clock_mono_ms());
    }
    (void)pthread_mutex_unlock(&r->mutex);
}

/* The size of a batch follows from how long the one before took. */
struct pace {
    size_t limit;
    int64_t began_ms;
};

static void pace_begin(struct pace *p)
{
    p->began_ms = clock_mono_ms();
}

/* Rests. Returns how long the work took. */
static int64_t pace_end(struct retention *r, struct pace *p)
{
    int64_t ms = clock_mono_ms() - p->began_ms;
    int64_t rest_ms = ms * REST_PER_WORK;

    if (ms > BATCH_MS && p->limit > BATCH_MIN) {
        p->limit /= 2;
    } else if (ms < BATCH_MS / 3 && p->limit < BATCH_MAX) {
        p->limit *= 2;
    }
    rest(r, rest_ms > REST_MIN_MS ? rest_ms : REST_MIN_MS);
    return ms;
}

static void count(struct retention *r, const char *what, int64_t n, int64_t *sum)
{
    *sum += n;
    metric_add(r->forgotten, (double)n, what, NULL, NULL, NULL);
}

/* ---- one kind after the other, each until there is nothing left */

static int forget_events(struct retention *r, const struct config *c, struct sums *sums, int64_t *in_vain_ms,
                         struct errmsg *err)
{
    struct pace pace = {.limit = BATCH_MIN};
    struct retained done = {0};
    int st = ST_OK;

    do {
        pace_begin(&pace);
        st = store_retain_events(r->store, c->retention_events_ms, pace.limit, &done, err);
        if (st != ST_OK || done.looked_at == 0) {
            break;
        }
        count(r, "events", done.events, &sums->events);
        count(r, "runs", done.runs, &sums->runs);
        count(r, "writes", done.writes, &sums->writes);
        *in_vain_ms += pace_end(r, &pace) * (done.events == 0);
    } while (!is_interrupted(r));
    return st;
}

struct kind {
    const char *name; /* in the metric */
    int (*remove)(struct store *s, int64_t age_ms, size_t limit, int64_t *ret, struct errmsg *err);
    int64_t age_ms;
    int64_t *sum;
};

static int forget_kind(struct retention *r, const struct kind *k, struct errmsg *err)
{
    struct pace pace = {.limit = BATCH_MIN};
    int64_t gone = 0;
    int st = ST_OK;

    do {
        pace_begin(&pace);
        st = k->remove(r->store, k->age_ms, pace.limit, &gone, err);
        if (st != ST_OK || gone == 0) {
            break;
        }
        count(r, k->name, gone, k->sum);
        (void)pace_end(r, &pace);
    } while (!is_interrupted(r));
    return st;
}

static int forget_all(struct retention *r, const struct config *c, struct sums *sums, int64_t *in_vain_ms,
                      struct errmsg *err)
{
    int64_t ids_ms = c->retention_ids_ms > c->retention_events_ms ? c->retention_ids_ms : c->retention_events_ms;
    const struct kind kinds[] = {
        {"ids", store_retain_ids, ids_ms, &sums->ids},
        {"calls", store_retain_calls, c->retention_calls_ms, &sums->calls},
        {"issues", store_retain_issues, c->retention_events_ms, &sums->issues},
        {"versions", store_retain_versions, c->retention_events_ms, &sums->versions},
    };
    int st = store_connect(r->store, err);

    if (st == ST_OK) {
        st = forget_events(r, c, sums, in_vain_ms, err);
    }
    for (size_t i = 0; st == ST_OK && i < ATS_COUNT(kinds) && !is_interrupted(r); i++) {
        st = forget_kind(r, &kinds[i], err);
    }
    return st;
}

/* ---- the thread */

static void tell(struct retention *r, const struct sums *s, int st, const struct errmsg *err)
{
    if (s->events + s->ids + s->calls + s->issues + s->versions > 0) {
        log_info("what is over age was forgotten", "events", num_text(s->events).s, "runs", num_text(s->runs).s,
                 "writes", num_text(s->writes).s, "ids", num_text(s->ids).s, "calls", num_text(s->calls).s, "issues",
                 num_text(s->issues).s, "versions", num_text(s->versions).s, NULL);
    }
    if (st != ST_OK && st != ST_UNAVAILABLE && st != ST_UNCERTAIN && !r->failed) {
        log_error("cannot forget what is over age", "error", err->text, "hint", "it is tried again", NULL);
    }
    r->failed = st != ST_OK;
}

static int64_t pause_after(int64_t in_vain_ms)
{
    int64_t ms = in_vain_ms * PAUSE_PER_WORK;

    ms = ms > PAUSE_MIN_MS ? ms : PAUSE_MIN_MS;
    return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

static void *retention_main(void *arg)
{
    struct retention *r = arg;

    while (!is_stopping(r)) {
        struct sums sums = {0};
        struct errmsg err = {{0}};
        int64_t in_vain_ms = 0;
        struct config *c;
        int st;

        (void)pthread_mutex_lock(&r->mutex);
        c = config_ref(r->config);
        r->reloaded = false;
        (void)pthread_mutex_unlock(&r->mutex);
        st = forget_all(r, c, &sums, &in_vain_ms, &err);
        config_unref(c);
        tell(r, &sums, st, &err);
        rest(r, pause_after(in_vain_ms));
    }
    return NULL;
}

struct retention *retention_new(struct config *c)
{
    struct retention *r = mem_zalloc(sizeof *r);

    r->config = config_ref(c);
    r->store = store_new(c, "retention");
    (void)pthread_mutex_init(&r->mutex, NULL);
    thread_cond_init(&r->changed);
    r->forgotten = metric_counter("atsyncd_forgotten_total", "Rows that were removed because of their age.", "what");
    return r;
}

int retention_start(struct retention *r, struct errmsg *err)
{
    int st = thread_start(&r->thread, "retention", retention_main, r, err);

    r->started = st == ST_OK;
    return st;
}

void retention_reload(struct retention *r, struct config *c)
{
    struct config *old;

    (void)pthread_mutex_lock(&r->mutex);
    old = r->config;
    r->config = config_ref(c);
    r->reloaded = true;
    (void)pthread_cond_signal(&r->changed);
    (void)pthread_mutex_unlock(&r->mutex);
    config_unref(old);
    store_reload(r->store, c);
}

void retention_stop(struct retention *r)
{
    (void)pthread_mutex_lock(&r->mutex);
    r->stopping = true;
    (void)pthread_cond_signal(&r->changed);
    (void)pthread_mutex_unlock(&r->mutex);
}

void retention_join(struct retention *r)
{
    if (r->started) {
        (void)pthread_join(r->thread, NULL);
        r->started = false;
    }
}

void retention_free(struct retention *r)
{
    if (!r) {
        return;
    }
    if (r->started) {
        retention_stop(r);
        retention_join(r);
    }
    store_free(r->store);
    config_unref(r->config);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}
