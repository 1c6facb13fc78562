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
    WRITERS = 4,
    SLOW_COMMIT_US = 1000,
    TELL_EVERY = 16,   /* batches */
    WORTH_IT_PART = 4, /* of the events under way: so many more are worth a batch of their own beside them */
    BATCH_EVENTS_MAX = 200,
    BATCH_BYTES_MAX = 8 * 1024 * 1024,
    FAILURES_TOLD_MAX = 5, /* of one batch: a full disk must not fill the log's disk as well */
    NOTIFY_INTERVAL_MS = 250,
    RECONNECT_MIN_MS = 200,
    QUICK_FAILURE_MS = 2000, /* a broken connection shows at once; what took longer is a server in trouble */
};

static const struct retry_policy reconnect_policy = {.base_ms = 200, .cap_ms = 1800};

enum told { TOLD_NOTHING, TOLD_AWAY, TOLD_SCHEMA };

/* One connection with its thread. The first one, the leader, is the one that says how the database is, and that wakes other daemons. */
struct writer {
    struct ingest *in;
    unsigned number; /* 0: the leader */
    pthread_t thread;
    bool started;
    pthread_cond_t wake;
    /* guarded by the ingest's mutex */
    bool idle;        /* waits for somebody to wake it */
    int64_t since_us; /* in this phase of its batch; our monotonic clock */
    bool tells;       /* when its batch is in the tables, or only at the end */
    bool inserting;   /* its batch is on the way into the tables; from then to its commit others may begin */
    size_t in_flight; /* events of its batch; 0: it has none */
    /* the thread's own */
    struct store *store;
    struct ingest_item *items[BATCH_EVENTS_MAX];
    struct ingest_event events[BATCH_EVENTS_MAX];
    size_t count;
    bool connected;
    bool repeated; /* this batch, over a new connection */
    int64_t connect_at_ms;
    int64_t connect_failures;
};

struct ingest {
    struct ingest_hooks hooks;
    struct writer writers[WRITERS];
    struct metric *seconds;
    struct metric *batch_events;

    pthread_mutex_t mutex; /* guards the block, and of writers what they say */
    size_t queue_max;
    struct ingest_item *first, *last;
    size_t queued;
    bool stopping;
    enum ingest_state state;
    struct errmsg reason;
    bool notify_wanted;
    /* how long batches take lately, to be in the tables and from there to the disk */
    int64_t insert_us;
    int64_t commit_us;
    uint64_t batches;

    /* the leader's own */
    enum told told;
    int64_t notify_at_ms;
};

static const double seconds_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
static const double batch_bounds[] = {1, 2, 5, 10, 20, 50, 100, BATCH_EVENTS_MAX};

static void inserted(void *writer);

struct ingest *ingest_new(const struct config *c, const struct ingest_hooks *hooks)
{
    struct ingest *in = mem_zalloc(sizeof *in);

    in->hooks = *hooks;
    in->queue_max = (size_t)c->receiver.queue_max_events;
    (void)pthread_mutex_init(&in->mutex, NULL);
    in->seconds = metric_histogram("atsyncd_ingest_seconds", "Time from a verified event to its commit.", "",
                                   seconds_bounds, ATS_COUNT(seconds_bounds));
    in->batch_events = metric_histogram("atsyncd_ingest_batch_events", "Events that shared a commit.", "", batch_bounds,
                                        ATS_COUNT(batch_bounds));
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *w = &in->writers[i];

        w->in = in;
        w->number = i;
        w->store = store_new(c, "receiver");
        store_expect_few_rows(w->store, false);
        thread_cond_init(&w->wake);
    }
    return in;
}

/* ---- who is woken: with the lock */

static bool disk_is_slow(const struct ingest *in)
{
    return in->commit_us >= SLOW_COMMIT_US && 2 * in->commit_us >= in->insert_us;
}

/*
 * While the events of one batch are on their way into the tables, those that come wait and share the next one. It begins when nothing is under way, or
 * beside a commit that is waited for where commits take long. Where they do not, the processor is what there is too little of: a batch costs some events'
 * worth by itself, and beginning before those that wait for that commit are back makes more and smaller ones.
 */
static bool may_begin(const struct ingest *in)
{
    size_t under_way = 0;

    for (unsigned i = 0; i < WRITERS; i++) {
        if (in->writers[i].inserting) {
            return false;
        }
        under_way += in->writers[i].in_flight;
    }
    return in->first && (under_way == 0 || (disk_is_slow(in) && WORTH_IT_PART * in->queued >= under_way));
}

static void learn_time(int64_t *us, int64_t last_us)
{
    *us += (last_us - *us) / 8;
}

static void wake(struct writer *w)
{
    if (w->idle) {
        w->idle = false;
        (void)pthread_cond_signal(&w->wake);
    }
}

/* The leader if it is idle: so that a quiet daemon needs one connection. If nobody is, the first one whose commit is done looks by itself. */
static void wake_one(struct ingest *in)
{
    unsigned i = 0;

    while (i < WRITERS && !in->writers[i].idle) {
        i++;
    }
    if (i < WRITERS && may_begin(in)) {
        wake(&in->writers[i]);
    }
}

/* When the daemon is ending: there may be nothing left to wait for. */
static void wake_who_ends(struct ingest *in)
{
    for (unsigned i = 0; i < WRITERS && in->stopping; i++) {
        wake(&in->writers[i]);
    }
}

/* From store_ingest: only the commit of this batch is waited for. */
static void inserted(void *writer)
{
    struct writer *w = writer;
    int64_t now_us = clock_mono_us();

    (void)pthread_mutex_lock(&w->in->mutex);
    learn_time(&w->in->insert_us, now_us - w->since_us);
    w->since_us = now_us;
    w->inserting = false;
    wake_one(w->in);
    (void)pthread_mutex_unlock(&w->in->mutex);
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
        if (in->first) {
            in->last->next = item;
        } else {
            in->first = item;
        }
        in->last = item;
        in->queued++;
        wake_one(in);
    }
    (void)pthread_mutex_unlock(&in->mutex);
    return st;
}

void ingest_reload(struct ingest *in, const struct config *c)
{
    (void)pthread_mutex_lock(&in->mutex);
    in->queue_max = (size_t)c->receiver.queue_max_events;
    (void)pthread_mutex_unlock(&in->mutex);
    for (unsigned i = 0; i < WRITERS; i++) {
        store_reload(in->writers[i].store, c);
    }
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

/* Nothing is promised any more: whoever waits hears so at once, and newcomers are refused until the database is back. */
static void go_away(struct ingest *in, enum ingest_state state, const struct errmsg *reason)
{
    struct ingest_item *item;

    (void)pthread_mutex_lock(&in->mutex);
    in->state = state;
    in->reason = *reason;
    item = in->first;
    in->first = in->last = NULL;
    in->queued = 0;
    wake_who_ends(in);
    (void)pthread_mutex_unlock(&in->mutex);

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

/* A connection other than the leader's says nothing of the database: the leader meets what is wrong with it, too, as soon as it is asked. */
static void lose_connection(struct writer *w, const struct errmsg *reason)
{
    w->connected = false;
    if (w->number == 0) {
        tell_away(w->in, false, reason);
        go_away(w->in, INGEST_AWAY, reason);
    }
}

static bool schema_is_too_new(struct store *store)
{
    struct schema_status status;

    return store_schema_status(store, &status, NULL) == ST_OK && status.newer_breaking;
}

static void connect_database(struct writer *w)
{
    struct ingest *in = w->in;
    struct errmsg err = {{0}};
    uint32_t jitter;
    int st = store_connect(w->store, &err);

    if (st == ST_OK && w->number == 0) {
        st = store_schema_check(w->store, &err);
    }
    if (st != ST_OK) {
        crypto_random(&jitter, sizeof jitter);
        w->connect_at_ms =
            clock_mono_ms() + RECONNECT_MIN_MS + backoff_delay_ms(&reconnect_policy, ++w->connect_failures, jitter);
        if (w->number > 0) {
            log_debug("no further connection for events: those that there are store them", "error", err.text, NULL);
            return;
        }
        tell_away(in, st == ST_CONFLICT, &err);
        go_away(in, st == ST_CONFLICT && schema_is_too_new(w->store) ? INGEST_SCHEMA_TOO_NEW : INGEST_AWAY, &err);
        return;
    }
    w->connected = true;
    w->connect_failures = 0;
    if (w->number > 0) {
        return;
    }
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

static int store_and_tell(struct writer *w, struct ingest_event *events, size_t count, struct errmsg *err)
{
    int st = store_ingest(w->store, events, count, err);

    return st == ST_OK ? store_erase_told(w->store, events, count, err) : st;
}

/* A connection that broke while nobody looked (a restarted server, a failover) is made anew once; events that were
 * stored by the lost statement are duplicates then, and acknowledged all the same. */
static int store_events(struct writer *w, struct ingest_event *events, size_t count, struct errmsg *err)
{
    int64_t began_ms = clock_mono_ms();
    int st = store_and_tell(w, events, count, err);

    if (lost_connection(st) && clock_mono_ms() - began_ms < QUICK_FAILURE_MS &&
        store_connect(w->store, NULL) == ST_OK) {
        st = store_and_tell(w, events, count, err);
        w->repeated = true; /* duplicates now may be news that nobody was woken for */
    }
    return st;
}

/* It is answered 503 as often as it comes, so it has to be told who can end that. */
static void tell_held(const struct store *store, const struct ingest_event *events, size_t count)
{
    const struct ingest_event *first = NULL;
    size_t held = 0;

    for (size_t i = 0; i < count; i++) {
        first = first || !events[i].held ? first : &events[i];
        held += events[i].held;
    }
    if (first) {
        log_warn("events not stored: another database session holds the rows of their candidates", "events",
                 num_text((int64_t)held).s, "source", first->source, "event", first->event_id, "held_by",
                 store_held_by(store), "hint",
                 "they were answered 503, the sender will repeat them; if that session stays, end its transaction, "
                 "with pg_terminate_backend "
                 "if need be",
                 NULL);
    }
}

/* Answers the events from `from` up to `to` and forgets them: an item may be gone when its done returns. */
static void answer(struct writer *w, size_t from, size_t to, bool stored)
{
    int64_t now_us = clock_mono_us();

    if (stored) {
        tell_held(w->store, w->events + from, to - from);
    }
    for (size_t i = from; i < to; i++) {
        struct ingest_item *item = w->items[i];

        if (!stored || w->events[i].held) {
            item->done(item, INGEST_UNAVAILABLE);
            continue;
        }
        metric_observe(w->in->seconds, (double)(now_us - item->submitted_us) / 1e6, NULL, NULL, NULL, NULL);
        item->event.stored = w->events[i].stored;
        item->done(item, w->events[i].stored ? INGEST_STORED : w->events[i].erased ? INGEST_ERASED : INGEST_DUPLICATE);
    }
}

static bool any_stored(const struct writer *w, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (w->events[i].stored) {
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
static int store_singly(struct writer *w, bool *ret_any, struct errmsg *err)
{
    size_t failures = 0;

    for (size_t i = 0; i < w->count; i++) {
        int st = store_events(w, &w->events[i], 1, err);

        if (lost_connection(st)) {
            answer(w, i, w->count, false);
            return st;
        }
        if (st != ST_OK && ++failures <= FAILURES_TOLD_MAX) {
            tell_failure(&w->events[i], err);
        }
        answer(w, i, i + 1, st == ST_OK);
        *ret_any = *ret_any || (st == ST_OK && w->events[i].stored);
    }
    if (failures > FAILURES_TOLD_MAX) {
        log_error("more events not stored", "events", num_text((int64_t)(failures - FAILURES_TOLD_MAX)).s, "error",
                  err->text, NULL);
    }
    return ST_OK;
}

static void committed(struct writer *w)
{
    int64_t now_us = clock_mono_us();

    (void)pthread_mutex_lock(&w->in->mutex);
    if (!w->inserting) {
        learn_time(&w->in->commit_us, now_us - w->since_us);
    }
    (void)pthread_mutex_unlock(&w->in->mutex);
}

/* Returns whether others have to be woken for something new. */
static bool write_batch(struct writer *w)
{
    struct errmsg err = {{0}};
    bool any = false;
    int st;

    w->repeated = false;
    store_tell_inserted(w->store, w->tells ? inserted : NULL, w);
    FAULT_POINT("ingest-before-commit");
    st = store_events(w, w->events, w->count, &err);

    if (st == ST_OK) {
        committed(w);
        FAULT_POINT("ingest-committed");
        any = any_stored(w, 0, w->count) || w->repeated;
        metric_observe(w->in->batch_events, (double)w->count, NULL, NULL, NULL, NULL);
        answer(w, 0, w->count, true);
    } else if (w->count > 1 && (st == ST_INVALID || st == ST_INTERNAL || st == ST_LIMIT || st == ST_CONFLICT)) {
        st = store_singly(w, &any, &err);
    } else {
        if (w->count == 1 && !lost_connection(st)) {
            tell_failure(&w->events[0], &err);
        } else if (!lost_connection(st)) {
            log_error("events not stored", "events", num_text((int64_t)w->count).s, "error", err.text, NULL);
        }
        answer(w, 0, w->count, false);
    }
    w->in->hooks.batch_done(w->in->hooks.ctx, any);
    if (lost_connection(st)) {
        lose_connection(w, &err);
    }
    return any;
}

/* Other processes' dispatchers; ours was woken already. */
static void notify_others(struct writer *w)
{
    struct errmsg err = {{0}};
    int st;

    (void)pthread_mutex_lock(&w->in->mutex);
    w->in->notify_wanted = false; /* who wants it from now on, wants another one */
    (void)pthread_mutex_unlock(&w->in->mutex);
    st = store_notify(w->store, &err);
    w->in->notify_at_ms = clock_mono_ms() + NOTIFY_INTERVAL_MS;
    if (lost_connection(st)) {
        lose_connection(w, &err);
    } else if (st != ST_OK) {
        log_warn("other daemons not woken", "error", err.text, "hint", "they find the events when they poll", NULL);
    }
}

/* ---- the writers */

enum work { WORK_NONE, WORK_CONNECT, WORK_NOTIFY, WORK_BATCH, WORK_END };

/* With the lock. */
static void take_batch(struct writer *w)
{
    struct ingest *in = w->in;
    size_t bytes = 0;

    w->count = 0;
    while (in->first && w->count < BATCH_EVENTS_MAX &&
           (w->count == 0 || bytes + in->first->event.body_len <= BATCH_BYTES_MAX)) {
        bytes += in->first->event.body_len;
        w->items[w->count] = in->first;
        w->events[w->count++] = in->first->event;
        in->first = in->first->next;
        in->queued--;
    }
    if (!in->first) {
        in->last = NULL;
    }
    w->in_flight = w->count;
    w->inserting = true;
    /* it costs a wake-up: where the disk is quick, only to learn that it is not any more */
    w->tells = disk_is_slow(in) || in->batches++ % TELL_EVERY == 0;
    w->since_us = clock_mono_us();
}

static void batch_ended(struct writer *w, bool any)
{
    struct ingest *in = w->in;

    (void)pthread_mutex_lock(&in->mutex);
    w->in_flight = 0;
    w->inserting = false;
    in->notify_wanted = in->notify_wanted || any;
    if (any) {
        wake(&in->writers[0]);
    }
    if (!w->connected) {
        wake_one(in); /* it has to connect first */
    }
    wake_who_ends(in);
    (void)pthread_mutex_unlock(&in->mutex);
}

/* With the lock. */
static bool any_busy(const struct ingest *in)
{
    bool busy = false;

    for (unsigned i = 0; i < WRITERS; i++) {
        busy = busy || in->writers[i].in_flight > 0;
    }
    return busy;
}

/* What is to be done now; WORK_NONE with the time to wait. With the lock. */
static enum work choose_work(const struct writer *w, int64_t *ret_wait_ms)
{
    const struct ingest *in = w->in;
    bool leads = w->number == 0;
    bool is_over = in->stopping && !in->first;
    bool begins = may_begin(in) && (leads || in->state == INGEST_READY); /* the leader knows whether the schema fits */
    int64_t now_ms = clock_mono_ms();

    *ret_wait_ms = -1;
    if (!w->connected) {
        if (is_over) {
            return WORK_END;
        }
        if (!leads && !begins) {
            return WORK_NONE;
        }
        *ret_wait_ms = w->connect_at_ms - now_ms;
        return *ret_wait_ms <= 0 ? WORK_CONNECT : WORK_NONE;
    }
    if (leads && in->notify_wanted && (now_ms >= in->notify_at_ms || is_over)) {
        return WORK_NOTIFY;
    }
    if (begins) {
        return WORK_BATCH;
    }
    if (is_over && !(leads && any_busy(in))) { /* what the others have stored is told by the leader */
        return WORK_END;
    }
    if (leads && in->notify_wanted) {
        *ret_wait_ms = in->notify_at_ms - now_ms;
    }
    return WORK_NONE;
}

static enum work wait_for_work(struct writer *w)
{
    enum work work;
    int64_t wait_ms;

    (void)pthread_mutex_lock(&w->in->mutex);
    while ((work = choose_work(w, &wait_ms)) == WORK_NONE) {
        w->idle = true;
        thread_cond_wait(&w->wake, &w->in->mutex, wait_ms);
        w->idle = false;
    }
    if (work == WORK_BATCH) {
        take_batch(w);
    }
    (void)pthread_mutex_unlock(&w->in->mutex);
    return work;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;

    for (;;) {
        switch (wait_for_work(w)) {
        case WORK_CONNECT:
            connect_database(w);
            break;
        case WORK_NOTIFY:
            notify_others(w);
            break;
        case WORK_BATCH:
            batch_ended(w, write_batch(w));
            break;
        case WORK_END:
            store_disconnect(w->store);
            return NULL;
        case WORK_NONE:
            break;
        }
    }
}

int ingest_start(struct ingest *in, struct errmsg *err)
{
    int st = ST_OK;

    for (unsigned i = 0; i < WRITERS && st == ST_OK; i++) {
        st = thread_start(&in->writers[i].thread, "ingest", writer_main, &in->writers[i], err);
        in->writers[i].started = st == ST_OK;
    }
    return st;
}

void ingest_stop(struct ingest *in)
{
    (void)pthread_mutex_lock(&in->mutex);
    in->stopping = true;
    wake_who_ends(in);
    (void)pthread_mutex_unlock(&in->mutex);
}

void ingest_join(struct ingest *in)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        if (in->writers[i].started) {
            (void)pthread_join(in->writers[i].thread, NULL);
            in->writers[i].started = false;
        }
    }
}

void ingest_free(struct ingest *in)
{
    if (!in) {
        return;
    }
    ingest_stop(in);
    ingest_join(in);
    for (unsigned i = 0; i < WRITERS; i++) {
        store_free(in->writers[i].store);
        (void)pthread_cond_destroy(&in->writers[i].wake);
    }
    (void)pthread_mutex_destroy(&in->mutex);
    mem_free(in);
}
