#include "service/janitor.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "service/sdnotify.h"
#include "service/thread.h"

enum { REPEATS_INTERVAL_MS = 10000, GAUGES_INTERVAL_MS = 2000 };

struct chore {
    int64_t interval_ms;
    int64_t due_ms;
    void (*run)(struct janitor *j);
};

enum { CHORES_MAX = 3 };

struct janitor {
    void (*refresh)(void *ctx);
    void *ctx;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* guards stopping */
    pthread_cond_t changed;
    bool stopping;
    struct chore chores[CHORES_MAX];
    unsigned chore_count;
};

static void flush_repeats(struct janitor *j)
{
    (void)j;
    log_flush_repeats();
}

static void refresh_gauges(struct janitor *j)
{
    j->refresh(j->ctx);
}

static void feed_watchdog(struct janitor *j)
{
    (void)j;
    (void)sdnotify("WATCHDOG=1");
}

static void add_chore(struct janitor *j, int64_t interval_ms, void (*run)(struct janitor *j))
{
    j->chores[j->chore_count++] = (struct chore){.interval_ms = interval_ms, .due_ms = clock_mono_ms(), .run = run};
}

struct janitor *janitor_new(void (*refresh)(void *ctx), void *ctx)
{
    struct janitor *j = mem_zalloc(sizeof *j);
    int64_t watchdog_ms = sdnotify_watchdog_ms();

    j->refresh = refresh;
    j->ctx = ctx;
    (void)pthread_mutex_init(&j->mutex, NULL);
    thread_cond_init(&j->changed);
    add_chore(j, GAUGES_INTERVAL_MS, refresh_gauges);
    add_chore(j, REPEATS_INTERVAL_MS, flush_repeats);
    if (watchdog_ms > 0) {
        add_chore(j, watchdog_ms, feed_watchdog);
    }
    return j;
}

/* Runs what is due; returns the time until the next. */
static int64_t run_chores(struct janitor *j)
{
    int64_t now_ms = clock_mono_ms();
    int64_t wait_ms = INT64_MAX;

    for (unsigned i = 0; i < j->chore_count; i++) {
        struct chore *c = &j->chores[i];

        if (c->due_ms <= now_ms) {
            c->run(j);
            c->due_ms = now_ms + c->interval_ms;
        }
        wait_ms = c->due_ms - now_ms < wait_ms ? c->due_ms - now_ms : wait_ms;
    }
    return wait_ms;
}

static void *janitor_main(void *arg)
{
    struct janitor *j = arg;

    (void)pthread_mutex_lock(&j->mutex);
    while (!j->stopping) {
        int64_t wait_ms;

        (void)pthread_mutex_unlock(&j->mutex);
        wait_ms = run_chores(j);
        (void)pthread_mutex_lock(&j->mutex);
        if (!j->stopping) {
            thread_cond_wait(&j->changed, &j->mutex, wait_ms);
        }
    }
    (void)pthread_mutex_unlock(&j->mutex);
    return NULL;
}

int janitor_start(struct janitor *j, struct errmsg *err)
{
    int st = thread_start(&j->thread, "janitor", janitor_main, j, err);

    j->started = st == ST_OK;
    return st;
}

void janitor_stop(struct janitor *j)
{
    (void)pthread_mutex_lock(&j->mutex);
    j->stopping = true;
    (void)pthread_cond_signal(&j->changed);
    (void)pthread_mutex_unlock(&j->mutex);
}

void janitor_join(struct janitor *j)
{
    if (j->started) {
        (void)pthread_join(j->thread, NULL);
        j->started = false;
    }
}

void janitor_free(struct janitor *j)
{
    if (!j) {
        return;
    }
    if (j->started) {
        janitor_stop(j);
        janitor_join(j);
    }
    (void)pthread_cond_destroy(&j->changed);
    (void)pthread_mutex_destroy(&j->mutex);
    mem_free(j);
}
