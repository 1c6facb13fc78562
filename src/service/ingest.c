#include "service/ingest.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "domain/backoff.h"
#include "lib/crypto.h"
#include "service/thread.h"
#include "store/erase.h"

enum {
    BATCH_EVENTS_MAX = 200,
    BATCH_BYTES_MAX = 8 * 1024 * 1024,
    FAILURES_TOLD_MAX = 5, /* of one batch: a full disk must not fill the log's disk as well */
    NOTIFY_INTERVAL_MS = 250,
    RECONNECT_MIN_MS = 200,
    QUICK_FAILURE_MS = 2000, /* a broken connection shows at once; what took longer is a server in trouble */
};

static const struct retry_policy reconnect_policy = {.base_ms = 200, .cap_ms = 1800};

enum told { TOLD_NOTHING, TOLD_AWAY, TOLD_SCHEMA };

struct ingest {
    struct ingest_hooks hooks;
    pthread_t thread;
    bool started;
    struct metric *seconds;
    struct metric *batch_events;

    pthread_mutex_t mutex; /* guards the block */
    pthread_cond_t changed;
    size_t queue_max;
    struct ingest_item *first, *last;
    size_t queued;
    bool stopping;
    enum ingest_state state;
    struct errmsg reason;

    /* the writer's own */
    struct store *store;
    struct ingest_item *items[BATCH_EVENTS_MAX];
    struct ingest_event events[BATCH_EVENTS_MAX];
    size_t count;
    bool connected;
    bool repeated; /* this batch, over a new connection */
    enum told told;
    int64_t connect_at_ms;
    int64_t connect_failures;
    bool notify_wanted;
    int64_t notify_at_ms;
};

static const double seconds_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
static const double batch_bounds[] = {1, 2, 5, 10, 20, 50, 100, BATCH_EVENTS_MAX};

struct ingest *ingest_new(const struct config *c, const struct ingest_hooks *hooks)
{
    struct ingest *in = mem_zalloc(sizeof *in);

    in->hooks = *hooks;
    in->queue_max = (size_t)c->receiver.queue_max_events;
    in->store = store_new(c, "receiver");
    store_expect_few_rows(in->store, false);
    (void)pthread_mutex_init(&in->mutex, NULL);
    thread_cond_init(&in->changed);
    in->seconds = metric_histogram("atsyncd_ingest_seconds", "Time from a verified event to its commit.", "",
                                   seconds_bounds, ATS_COUNT(seconds_bounds));
    in->batch_events = metric_histogram("atsyncd_ingest_batch_events", "Events that shared a commit.", "", batch_bounds,
                                        ATS_COUNT(batch_bounds));
    return in;
}

int ingest_submit(struct ingest *in, struct ingest_item *item)
{
    int st = ST_OK;

    item->next = NULL;
    item->submitted_us = clock_mono_us();
    (void)pthread_mutex_lock(&in->mutex);
    if (in->stopping || in->state == INGEST_AWAY || in->state == INGEST_SCHEMA_TOO_NEW) {
        st = ST_UNAVAILABLE;
    } else if (in->queued >= in->queue_max) {
        st = ST_LIMIT;
    } else {
        if (in->last) {
            in->last->next = item;
        } else {
            in->first = item;
            (void)pthread_cond_signal(&in->changed); /* a writer at work looks by itself when its commit is done */
        }
        in->last = item;
        in->queued++;
    }
    (void)pthread_mutex_unlock(&in->mutex);
    return st;
}

void ingest_reload(struct ingest *in, const struct config *c)
{
    (void)pthread_mutex_lock(&in->mutex);
    in->queue_max = (size_t)c->receiver.queue_max_events;
    (void)pthread_mutex_unlock(&in->mutex);
    store_reload(in->store, c);
}

enum ingest_state ingest_state(struct ingest *in, struct errmsg *ret_reason)
{
    enum ingest_state state;

    (void)pthread_mutex_lock(&in->mutex);
    state = in->state;
    if (ret_reason && (state == INGEST_AWAY || state == INGEST_SCHEMA_TOO_NEW)) {
        *ret_reason = in->reason;
    }
    (void)pthread_mutex_unlock(&in->mutex);
    return state;
}

size_t ingest_queued(struct ingest *in)
{
    size_t queued;

    (void)pthread_mutex_lock(&in->mutex);
    queued = in->queued;
    (void)pthread_mutex_unlock(&in->mutex);
    return queued;
}

/* ---- the connection */

/* Once for each time that it went away, and once more if it came back with a schema that does not fit. */
static void tell_away(struct ingest *in, bool schema, const struct errmsg *reason)
{
    enum told told = schema ? TOLD_SCHEMA : TOLD_AWAY;

    if (in->told == told || (in->told == TOLD_SCHEMA && told == TOLD_AWAY)) {
        return;
    }
    in->told = told;
    log_error(schema ? "database schema does not fit" : "database away", "error", reason->text, "hint",
              "events are answered 503 until this is over", NULL);
}

/* Nothing is promised any more: whoever waits hears so at once, and newcomers are refused until the database is back.
 */
static void go_away(struct ingest *in, enum ingest_state state, const struct errmsg *reason)
{
    struct ingest_item *item;

    (void)pthread_mutex_lock(&in->mutex);
    in->state = state;
    in->reason = *reason;
    item = in->first;
    in->first = in->last = NULL;
    in->queued = 0;
    (void)pthread_mutex_unlock(&in->mutex);

    in->connected = false;
    if (!item) {
        return;
    }
    while (item) {
        struct ingest_item *next = item->next;

        item->done(item, INGEST_UNAVAILABLE);
        item = next;
    }
    in->hooks.batch_done(in->hooks.ctx, false);
}

static bool schema_is_too_new(struct ingest *in)
{
    struct schema_status status;

    return store_schema_status(in->store, &status, NULL) == ST_OK && status.newer_breaking;
}

static void connect_database(struct ingest *in)
{
    struct errmsg err = {{0}};
    uint32_t jitter;
    int st = store_connect(in->store, &err);

    if (st == ST_OK) {
        st = store_schema_check(in->store, &err);
    }
    if (st != ST_OK) {
        tell_away(in, st == ST_CONFLICT, &err);
        go_away(in, st == ST_CONFLICT && schema_is_too_new(in) ? INGEST_SCHEMA_TOO_NEW : INGEST_AWAY, &err);
        crypto_random(&jitter, sizeof jitter);
        in->connect_at_ms =
            clock_mono_ms() + RECONNECT_MIN_MS + backoff_delay_ms(&reconnect_policy, ++in->connect_failures, jitter);
        return;
    }
    in->connected = true;
    in->connect_failures = 0;
    (void)pthread_mutex_lock(&in->mutex);
    in->state = INGEST_READY;
    (void)pthread_mutex_unlock(&in->mutex);
    if (in->told != TOLD_NOTHING) {
        log_info("database back", NULL);
        in->told = TOLD_NOTHING;
    }
}

/* ---- batches */

static bool lost_connection(int st)
{
    return st == ST_UNAVAILABLE || st == ST_UNCERTAIN || st == ST_IO;
}

static int store_and_tell(struct ingest *in, struct ingest_event *events, size_t count, struct errmsg *err)
{
    int st = store_ingest(in->store, events, count, err);

    return st == ST_OK ? store_erase_told(in->store, events, count, err) : st;
}

/* A connection that broke while nobody looked (a restarted server, a failover) is made anew once; events that were
 * stored by the lost statement are duplicates then, and acknowledged all the same. */
static int store_events(struct ingest *in, struct ingest_event *events, size_t count, struct errmsg *err)
{
    int64_t began_ms = clock_mono_ms();
    int st = store_and_tell(in, events, count, err);

    if (lost_connection(st) && clock_mono_ms() - began_ms < QUICK_FAILURE_MS &&
        store_connect(in->store, NULL) == ST_OK) {
        st = store_and_tell(in, events, count, err);
        in->repeated = true; /* duplicates now may be news that nobody was woken for */
    }
    return st;
}

/* Answers the events from `from` up to `to` and forgets them: an item may be gone when its done returns. */
static void answer(struct ingest *in, size_t from, size_t to, bool stored)
{
    int64_t now_us = clock_mono_us();

    for (size_t i = from; i < to; i++) {
        struct ingest_item *item = in->items[i];

        if (!stored) {
            item->done(item, INGEST_UNAVAILABLE);
            continue;
        }
        metric_observe(in->seconds, (double)(now_us - item->submitted_us) / 1e6, NULL, NULL, NULL, NULL);
        item->event.stored = in->events[i].stored;
        item->done(item, in->events[i].stored   ? INGEST_STORED
                         : in->events[i].erased ? INGEST_ERASED
                                                : INGEST_DUPLICATE);
    }
}

static bool any_stored(const struct ingest *in, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (in->events[i].stored) {
            return true;
        }
    }
    return false;
}

static void tell_failure(const struct ingest_event *e, const struct errmsg *err)
{
    log_error("event not stored", "source", e->source, "event", e->event_id, "error", err->text, "hint",
              "it was answered 503, the sender will repeat it", NULL);
}

/* After the batch as a whole failed: one event that the database cannot take must not fail its neighbours. */
static int store_singly(struct ingest *in, bool *ret_any, struct errmsg *err)
{
    size_t failures = 0;

    for (size_t i = 0; i < in->count; i++) {
        int st = store_events(in, &in->events[i], 1, err);

        if (lost_connection(st)) {
            answer(in, i, in->count, false);
            return st;
        }
        if (st != ST_OK && ++failures <= FAILURES_TOLD_MAX) {
            tell_failure(&in->events[i], err);
        }
        answer(in, i, i + 1, st == ST_OK);
        *ret_any = *ret_any || (st == ST_OK && in->events[i].stored);
    }
    if (failures > FAILURES_TOLD_MAX) {
        log_error("more events not stored", "events", num_text((int64_t)(failures - FAILURES_TOLD_MAX)).s, "error",
                  err->text, NULL);
    }
    return ST_OK;
}

static void write_batch(struct ingest *in)
{
    struct errmsg err = {{0}};
    bool any = false;
    int st;

    in->repeated = false;
    FAULT_POINT("ingest-before-commit");
    st = store_events(in, in->events, in->count, &err);

    if (st == ST_OK) {
        FAULT_POINT("ingest-committed");
        any = any_stored(in, 0, in->count) || in->repeated;
        metric_observe(in->batch_events, (double)in->count, NULL, NULL, NULL, NULL);
        answer(in, 0, in->count, true);
    } else if (in->count > 1 && (st == ST_INVALID || st == ST_INTERNAL || st == ST_LIMIT)) {
        st = store_singly(in, &any, &err);
    } else {
        if (in->count == 1 && !lost_connection(st)) {
            tell_failure(&in->events[0], &err);
        } else if (!lost_connection(st)) {
            log_error("events not stored", "events", num_text((int64_t)in->count).s, "error", err.text, NULL);
        }
        answer(in, 0, in->count, false);
    }
    in->notify_wanted = in->notify_wanted || any;
    in->hooks.batch_done(in->hooks.ctx, any);
    if (lost_connection(st)) {
        tell_away(in, false, &err);
        go_away(in, INGEST_AWAY, &err);
    }
}

/* Other processes' dispatchers; ours was woken already. */
static void notify_others(struct ingest *in)
{
    struct errmsg err = {{0}};
    int st = store_notify(in->store, &err);

    in->notify_wanted = false;
    in->notify_at_ms = clock_mono_ms() + NOTIFY_INTERVAL_MS;
    if (lost_connection(st)) {
        tell_away(in, false, &err);
        go_away(in, INGEST_AWAY, &err);
    } else if (st != ST_OK) {
        log_warn("other daemons not woken", "error", err.text, "hint", "they find the events when they poll", NULL);
    }
}

/* ---- the writer */

enum work { WORK_NONE, WORK_CONNECT, WORK_NOTIFY, WORK_BATCH, WORK_END };

/* With the lock. */
static void take_batch(struct ingest *in)
{
    size_t bytes = 0;

    in->count = 0;
    while (in->first && in->count < BATCH_EVENTS_MAX &&
           (in->count == 0 || bytes + in->first->event.body_len <= BATCH_BYTES_MAX)) {
        bytes += in->first->event.body_len;
        in->items[in->count] = in->first;
        in->events[in->count++] = in->first->event;
        in->first = in->first->next;
        in->queued--;
    }
    if (!in->first) {
        in->last = NULL;
    }
}

/* What is to be done now; WORK_NONE with the time to wait. With the lock. */
static enum work choose_work(const struct ingest *in, int64_t *ret_wait_ms)
{
    int64_t now_ms = clock_mono_ms();

    *ret_wait_ms = -1;
    if (!in->connected) {
        if (in->stopping && !in->first) {
            return WORK_END;
        }
        *ret_wait_ms = in->connect_at_ms - now_ms;
        return *ret_wait_ms <= 0 ? WORK_CONNECT : WORK_NONE;
    }
    if (in->notify_wanted && (now_ms >= in->notify_at_ms || (in->stopping && !in->first))) {
        return WORK_NOTIFY;
    }
    if (in->first) {
        return WORK_BATCH;
    }
    if (in->stopping) {
        return WORK_END;
    }
    if (in->notify_wanted) {
        *ret_wait_ms = in->notify_at_ms - now_ms;
    }
    return WORK_NONE;
}

static enum work wait_for_work(struct ingest *in)
{
    enum work work;
    int64_t wait_ms;

    (void)pthread_mutex_lock(&in->mutex);
    while ((work = choose_work(in, &wait_ms)) == WORK_NONE) {
        thread_cond_wait(&in->changed, &in->mutex, wait_ms);
    }
    if (work == WORK_BATCH) {
        take_batch(in);
    }
    (void)pthread_mutex_unlock(&in->mutex);
    return work;
}

static void *writer_main(void *arg)
{
    struct ingest *in = arg;

    for (;;) {
        switch (wait_for_work(in)) {
        case WORK_CONNECT:
            connect_database(in);
            break;
        case WORK_NOTIFY:
            notify_others(in);
            break;
        case WORK_BATCH:
            write_batch(in);
            break;
        case WORK_END:
            store_disconnect(in->store);
            return NULL;
        case WORK_NONE:
            break;
        }
    }
}

int ingest_start(struct ingest *in, struct errmsg *err)
{
    int st = thread_start(&in->thread, "ingest", writer_main, in, err);

    in->started = st == ST_OK;
    return st;
}

void ingest_stop(struct ingest *in)
{
    (void)pthread_mutex_lock(&in->mutex);
    in->stopping = true;
    (void)pthread_cond_signal(&in->changed);
    (void)pthread_mutex_unlock(&in->mutex);
}

void ingest_join(struct ingest *in)
{
    if (in->started) {
        (void)pthread_join(in->thread, NULL);
        in->started = false;
    }
}

void ingest_free(struct ingest *in)
{
    if (!in) {
        return;
    }
    if (in->started) {
        ingest_stop(in);
        ingest_join(in);
    }
    store_free(in->store);
    (void)pthread_cond_destroy(&in->changed);
    (void)pthread_mutex_destroy(&in->mutex);
    mem_free(in);
}
