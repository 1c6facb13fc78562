#include "service/recorder.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "domain/breaker.h"
#include "service/connector_states.h"
#include "service/standing.h"
#include "service/thread.h"
#include "store/store.h"

enum {
    STATES_EVERY_MS = 1000,
    TELL_MS = 100, /* failures of so long are told together */
    RECONNECT_MIN_MS = 200,
    RECONNECT_MAX_MS = 2000,
    STOP_TRIES = 5, /* while stopping with the database away */
    HELD_MIN_MS = 1000,
    HELD_MAX_MS = 16000,
    BATCH_WANTED = 64,
    LINGER_MS = 5,
};

struct recorder {
    struct recorder_hooks hooks;
    struct lanes *lanes;
    struct store *store;
    pthread_t thread;
    bool started;
    struct metric *lag, *writes;

    pthread_mutex_t mutex; /* guards the block */
    pthread_cond_t changed;
    struct job *ended;
    size_t ended_count;
    int64_t ended_since_ms; /* the first of them */
    int64_t tell_at_ms; /* the database is told of failures then, whether a job has ended or not; 0: there are none */
    bool stopping;

    /* the thread's own */
    struct connector_states states;
    bool states_changed; /* by this batch */
    bool database_away;
    struct job *held;                       /* those whose rows another session holds, */
    int64_t held_again_at_ms, held_wait_ms; /* which are tried again then */
};

/* ---- one candidate -------------------------------------------------------------------------------------------------- */

static void count_results(struct recorder *r, const struct job *job)
{
    for (size_t i = 0; i < job->result_count; i++) {
        const struct record_result *res = &job->results[i];

        if (!res->not_attempted) {
            metric_add(r->writes, 1, job->who->connector, write_kind_name(res->item->wish->kind),
                       write_state_name(res->verdict.state), NULL);
        }
    }
}

static struct record result_record(const struct job *job)
{
    struct record r = {.who = job->who,
                       .results = job->results,
                       .result_count = job->result_count,
                       .calls = job->log,
                       .call_count = job->log_count,
                       .diff = job->diff,
                       .next_due_ms = INT64_MAX};
    const struct record *plan = job->with_results;
    int64_t next_ms =
        job->diff->next_due_us == INT64_MAX ? INT64_MAX : (job->diff->next_due_us - job_now_us(job)) / 1000 + 1;
    bool any_pending = job->diff->next_due_us != INT64_MAX;
    bool any_dead = standing_any_row(job->diff, WRITE_DEAD);
    bool tried = any_pending;

    if (plan) {
        r.runs = plan->runs;
        r.mapping = plan->mapping;
        r.names = plan->names;
        r.events = plan->events;
        r.event_count = plan->event_count;
        r.routes = plan->routes;
        r.route_count = plan->route_count;
    }
    for (size_t i = 0; i < job->result_count; i++) {
        const struct record_result *res = &job->results[i];

        any_dead = any_dead || res->verdict.state == WRITE_DEAD;
        if (res->verdict.state == WRITE_PENDING) {
            any_pending = true;
            tried = tried || !res->not_attempted;
            next_ms = res->verdict.delay_ms < next_ms ? res->verdict.delay_ms : next_ms;
        }
        if (!r.error && (res->verdict.state == WRITE_PENDING || res->verdict.state == WRITE_DEAD) &&
            !res->not_attempted) {
            r.error_class = res->verdict.error_class;
            r.error = res->error;
        }
    }
    standing_settle(&r, job->diff, any_dead, any_pending, any_pending && next_ms < 0 ? 0 : next_ms);
    r.failed = tried;
    if (any_pending && !tried) { /* a stop of ours, not a failure */
        r.state = "pending";
    }
    if (job->throttle_ms > 0) {
        r.state = "throttled";
        r.failed = false;
    }
    return r;
}

static void count_requests(struct recorder *r, const struct job *job)
{
    struct lane_counts counts = {.requests = (int64_t)job->log_count};

    lane_count(lanes_of(r->lanes, job->who->connector), &counts);
}

static void remember_misfits(struct recorder *r, const struct job *job)
{
    struct lane *lane = lanes_of(r->lanes, job->who->connector);

    for (size_t i = 0; i < job->result_count; i++) {
        const struct record_result *res = &job->results[i];

        if (res->verdict.state == WRITE_DEAD && text_eq(res->verdict.error_class, "configuration")) {
            lane_remember_misfit(lane, job->config, res->item->wish, clock_mono_ms(), res->error);
        } else if (res->verdict.state == WRITE_APPLIED) {
            lane_forget_misfit(lane, res->item->wish);
        } else {
            lane_leave_misfit(lane, res->item->wish);
        }
    }
}

static void observe_lag(struct recorder *r, const struct job *job, const struct record *record)
{
    if (strcmp(record->state, "synced") == 0) {
        metric_observe(r->lag, (double)(job_now_us(job) - job->who->due_us) / 1e6, job->who->connector, NULL, NULL,
                       NULL);
    }
}

/* ---- connectors ------------------------------------------------------------------------------------------------------- */

static int states_have_changed(struct recorder *r, struct errmsg *err)
{
    r->states_changed = true;
    return connector_states_refresh(&r->states, r->store, err);
}

/* What an answer of the ATS asks of all daemons: to wait, or to stop. */
static int tell_connector(struct recorder *r, const struct job *job, struct errmsg *err)
{
    const char *name = job->connector->name;
    char fingerprint[CONFIG_FINGERPRINT_BYTES];
    int st = ST_OK;

    if (job->throttle_ms > 0) {
        log_warn("the ATS asked to slow down", "connector", name, "wait_ms", num_text(job->throttle_ms).s, NULL);
        st = store_connector_throttle(r->store, name, job->throttle_ms, "the ATS asked to slow down", err);
    }
    if (st == ST_OK && job->pause_reason) {
        log_error("connector paused until its configuration changes", "connector", name, "reason", job->pause_words,
                  "hint", job->pause_hint, "more", "atsyncctl issues", NULL);
        config_connector_fingerprint(job->connector, fingerprint);
        st = store_connector_pause(r->store, name, job->pause_reason, job->pause_hint, fingerprint, err);
    }
    return st == ST_OK && (job->throttle_ms > 0 || job->pause_reason) ? states_have_changed(r, err) : st;
}

static bool is_open(const struct recorder *r, const char *name)
{
    const struct connector_status_row *state = connector_states_find(&r->states, name);

    return state && strcmp(state->state, "open") == 0;
}

static int open_breaker(struct recorder *r, const char *name, int64_t opens, bool is_probe, struct errmsg *err)
{
    int64_t ms = breaker_open_ms(opens);
    bool opened = false;
    int st = store_connector_open(r->store, name, ms, "half or more of the calls failed", is_probe, &opened, err);

    if (st == ST_OK && opened) {
        log_warn("the ATS seems to be away: its candidates wait", "connector", name, "wait_ms", num_text(ms).s, NULL);
    }
    return st == ST_OK ? states_have_changed(r, err) : st;
}

/* The one candidate that was let through while the breaker was open closes it, or opens it for longer. */
static int tell_probe(struct recorder *r, const char *name, const struct lane_counts *c, struct errmsg *err)
{
    struct breaker_counts counts;
    int st = states_have_changed(r, err);

    if (st != ST_OK || !is_open(r, name)) { /* paused meanwhile */
        return st;
    }
    if (c->probe_failures < c->probe_calls) {
        log_info("the ATS answers again", "connector", name, NULL);
        st = store_connector_ok(r->store, name, err);
        return st == ST_OK ? states_have_changed(r, err) : st;
    }
    st = store_connector_outcomes(r->store, name, c->probe_calls, c->probe_failures, &counts, err);
    return st == ST_OK ? open_breaker(r, name, counts.opens, true, err) : st;
}

/*
 * Tells the database how the calls went, when some failed, and opens the breaker when too many did. Once it is open, calls that were under way say
 * nothing new: each batch of them would open it for longer, or close it.
 */
static int tell_breaker(struct recorder *r, struct lane *lane, const struct lane_counts *c, struct errmsg *err)
{
    const char *name = lane_name(lane);
    struct breaker_counts counts;
    int64_t calls = c->calls;
    int st = c->probe_calls > 0 ? tell_probe(r, name, c, err) : ST_OK;

    if (st != ST_OK || is_open(r, name)) {
        return st;
    }
    if (c->failures == 0) {
        lane_add_clean(lane, c->calls, clock_mono_ms());
        return ST_OK;
    }
    calls += lane_take_clean(lane, clock_mono_ms());
    st = store_connector_outcomes(r->store, name, calls, c->failures, &counts, err);
    if (st != ST_OK || counts.is_open || !breaker_should_open(counts.calls, counts.failures)) {
        return st;
    }
    return open_breaker(r, name, counts.opens, false, err);
}

/* When the vendor's daily quota is used up, the connector waits for midnight. */
static int tell_quota(struct recorder *r, const struct lane *lane, const struct lane_counts *c, struct errmsg *err)
{
    int64_t used = 0;
    int64_t left_ms = 0;
    int st;

    if (lane_per_day(lane) == 0 || c->requests == 0) {
        return ST_OK;
    }
    st = store_connector_quota(r->store, lane_name(lane), c->requests, &used, &left_ms, err);
    if (st != ST_OK || used < lane_per_day(lane)) {
        return st;
    }
    log_warn("the daily quota of the ATS is used up: its candidates wait for midnight UTC", "connector",
             lane_name(lane), "requests", num_text(used).s, NULL);
    st = store_connector_throttle(r->store, lane_name(lane), left_ms, "the daily quota is used up until midnight UTC",
                                  err);
    return st == ST_OK ? states_have_changed(r, err) : st;
}

struct telling {
    struct recorder *recorder;
    struct errmsg *err;
    int st;
};

/* What cannot be told now counts with the next batch. */
static void tell_lane(void *ctx, struct lane *lane)
{
    struct telling *t = ctx;
    struct lane_counts c = lane_take_counts(lane);

    if (t->st == ST_OK) {
        t->st = tell_quota(t->recorder, lane, &c, t->err);
        c.requests = t->st == ST_OK ? 0 : c.requests; /* not twice */
    }
    if (t->st == ST_OK) {
        t->st = tell_breaker(t->recorder, lane, &c, t->err);
    }
    if (t->st != ST_OK) {
        lane_count(lane, &c);
    }
}

static int tell_lanes(struct recorder *r, struct errmsg *err)
{
    struct telling t = {.recorder = r, .err = err, .st = ST_OK};

    if (!r->states.arena || clock_mono_ms() - r->states.at_ms > STATES_EVERY_MS) {
        t.st = connector_states_refresh(&r->states, r->store, err);
    }
    if (t.st == ST_OK) {
        lanes_each(r->lanes, tell_lane, &t);
    }
    return t.st;
}

/* ---- batches ---------------------------------------------------------------------------------------------------------- */

static size_t count_jobs(const struct job *list)
{
    size_t count = 0;

    for (; list; list = list->next) {
        count++;
    }
    return count;
}

/* From times to how long ago they are, and back. */
static void turn_times(struct job *job)
{
    for (size_t i = 0; i < job->log_count; i++) {
        job->log[i].ago_ms = clock_mono_ms() - job->log[i].ago_ms;
    }
}

/* What the ATS was told must not be forgotten. */
static void put_back(struct recorder *r, struct job *list)
{
    struct job **end = &list;
    size_t count = 0;

    for (; *end; end = &(*end)->next) {
        turn_times(*end); /* back to the time of their end */
        count++;
    }
    (void)pthread_mutex_lock(&r->mutex);
    *end = r->ended;
    r->ended = list;
    r->ended_count += count;
    (void)pthread_mutex_unlock(&r->mutex);
}

/* While its lease would have lasted. Then it is as if this daemon had ended before: whoever claims it finds out what became of what was sent. */
static bool is_kept(const struct job *job, const struct record *record, int64_t now_ms)
{
    return record->held && (job->held_since_ms == 0 || now_ms < job->held_since_ms + job->lease_ms);
}

static void account(struct recorder *r, const struct job *list, const struct record *records, int64_t now_ms)
{
    for (; list; list = list->next, records++) {
        if (is_kept(list, records, now_ms)) {
            continue;
        }
        if (records->held) {
            log_warn("a result was not recorded: another database session still holds its candidate's row", "connector",
                     list->who->connector, "ref", list->who->ref, "held_by", store_held_by(r->store), "hint",
                     "end that transaction; what was sent is then looked for, or sent again", NULL);
        } else if (records->erased) {
            log_info("a result was not recorded: its candidate was erased while the call was made", "connector",
                     list->who->connector, NULL);
        } else if (records->lost) {
            log_warn("a candidate's lease had passed to another daemon before its result was recorded", "connector",
                     list->who->connector, "ref", list->who->ref, NULL);
        } else {
            count_results(r, list);
            observe_lag(r, list, records);
        }
        count_requests(r, list);
        remember_misfits(r, list);
    }
}

static void keep_held(struct recorder *r, struct job *job, int64_t now_ms)
{
    if (job->held_since_ms == 0) {
        job->held_since_ms = now_ms;
        log_warn("a result is not recorded yet: another database session holds its candidate's row", "connector",
                 job->who->connector, "ref", job->who->ref, "held_by", store_held_by(r->store), "hint",
                 "it is kept and tried again; if that session stays, end its transaction, with pg_terminate_backend if "
                 "need be",
                 NULL);
    }
    turn_times(job);
    if (!r->held) {
        r->held_wait_ms = r->held_wait_ms > 0 ? r->held_wait_ms : HELD_MIN_MS;
        r->held_again_at_ms = now_ms + r->held_wait_ms;
    }
    job->next = r->held;
    r->held = job;
}

static int record_batch(struct recorder *r, struct job *list, struct errmsg *err)
{
    int64_t now_ms;
    size_t count = count_jobs(list);
    struct record *records = mem_array(count, sizeof *records);
    size_t i = 0;
    int st = ST_OK;

    r->states_changed = false;
    for (struct job *j = list; j; j = j->next) {
        if (!j->with_results) { /* not of one that could not be recorded before */
            j->with_results = r->hooks.take_plan(r->hooks.ctx, j);
        }
        records[i++] = result_record(j);
        turn_times(j);
    }
    for (struct job *j = list; j && st == ST_OK; j = j->next) {
        st = j->told ? ST_OK : tell_connector(r, j, err);
        j->told = st == ST_OK;
    }
    if (st == ST_OK) {
        FAULT_POINT("results-collected");
        st = store_record(r->store, records, count, err);
    }
    if (st != ST_OK) {
        put_back(r, list);
        goto out;
    }
    FAULT_POINT("results-recorded");
    now_ms = clock_mono_ms();
    account(r, list, records, now_ms);
    st = tell_lanes(r, err); /* before there is room again: an ATS that is away is not asked by one more */
    for (i = 0; list; i++) {
        struct job *next = list->next;

        if (is_kept(list, &records[i], now_ms)) {
            keep_held(r, list, now_ms);
        } else {
            r->hooks.recorded(r->hooks.ctx, list, records[i].next_due_ms);
        }
        list = next;
    }
    r->hooks.batch_done(r->hooks.ctx, r->states_changed);
out:
    mem_free(records);
    return st;
}

/* Apart from those that have ended meanwhile: these do not wait for what is still held. */
static int record_held(struct recorder *r, struct errmsg *err)
{
    struct job *list = r->held;
    int st;

    r->held = NULL;
    r->held_wait_ms = 2 * r->held_wait_ms < HELD_MAX_MS ? 2 * r->held_wait_ms : HELD_MAX_MS;
    st = record_batch(r, list, err);
    r->held_wait_ms = r->held ? r->held_wait_ms : 0;
    return st;
}

/* What failed while no job has ended. */
static int tell_only(struct recorder *r, struct errmsg *err)
{
    int st;

    r->states_changed = false;
    st = tell_lanes(r, err);
    if (r->states_changed) {
        r->hooks.batch_done(r->hooks.ctx, true);
    }
    return st;
}

/* ---- the thread ------------------------------------------------------------------------------------------------------- */

int64_t recorder_linger_ms(size_t ended, size_t in_work, bool any_failed, int64_t ended_since_ms, int64_t now_ms)
{
    if (any_failed || ended >= BATCH_WANTED || in_work < ended + BATCH_WANTED) {
        return 0;
    }
    return ended_since_ms + LINGER_MS - now_ms;
}

/* What there is to do. */
struct todo {
    struct job *ended; /* NULL: nothing has ended */
    bool tell;         /* there are failures to tell */
    bool held;         /* those that were held are to be tried again */
    bool stopping;     /* nothing more will end */
};

/* Waits until there is something to do, or nothing ever will be. */
static struct todo take(struct recorder *r)
{
    struct todo t;

    (void)pthread_mutex_lock(&r->mutex);
    for (;;) {
        int64_t now_ms = clock_mono_ms();
        int64_t left_ms = r->tell_at_ms == 0 ? -1 : r->tell_at_ms - now_ms;
        int64_t held_ms = r->held ? r->held_again_at_ms - now_ms : -1;

        t.held = r->held && held_ms <= 0;
        if (r->stopping || t.held || (r->tell_at_ms != 0 && left_ms <= 0)) {
            break;
        }
        left_ms = held_ms >= 0 && (left_ms < 0 || held_ms < left_ms) ? held_ms : left_ms;
        if (r->ended) {
            left_ms = recorder_linger_ms(r->ended_count, lanes_in_work(r->lanes), r->tell_at_ms != 0, r->ended_since_ms,
                                         now_ms);
            if (left_ms <= 0) {
                break;
            }
        }
        thread_cond_wait(&r->changed, &r->mutex, left_ms);
    }
    t.ended = r->ended;
    r->ended = NULL;
    r->ended_count = 0;
    t.tell = r->tell_at_ms != 0;
    r->tell_at_ms = 0;
    t.stopping = r->stopping;
    t.held = t.held || (t.stopping && r->held); /* the last time */
    (void)pthread_mutex_unlock(&r->mutex);
    return t;
}

static void wait_for_database(struct recorder *r, int64_t ms)
{
    int64_t until_ms = clock_mono_ms() + ms;

    (void)pthread_mutex_lock(&r->mutex);
    while (clock_mono_ms() < until_ms) {
        thread_cond_wait(&r->changed, &r->mutex, until_ms - clock_mono_ms());
    }
    (void)pthread_mutex_unlock(&r->mutex);
}

static int work(struct recorder *r, const struct todo *t, struct errmsg *err)
{
    int st = ST_OK;

    if (t->ended) {
        st = record_batch(r, t->ended, err);
    }
    if (st == ST_OK && t->held) {
        st = record_held(r, err);
    }
    return st == ST_OK && !t->ended && !t->held ? tell_only(r, err) : st;
}

static void *recorder_main(void *arg)
{
    struct recorder *r = arg;
    int64_t away_ms = RECONNECT_MIN_MS;
    int failures = 0;

    for (;;) {
        struct todo t = take(r);
        struct errmsg err = {{0}};
        int st;

        if (!t.ended && !t.tell && !t.held) {
            break;
        }
        st = work(r, &t, &err);
        if (st == ST_OK) {
            if (t.stopping && r->held) { /* as if we had been killed: who claims them finds out */
                break;
            }
            if (r->database_away) {
                log_info("database back: results are recorded", NULL);
            }
            r->database_away = false;
            away_ms = RECONNECT_MIN_MS;
            failures = 0;
            continue;
        }
        if (!r->database_away) {
            log_error("results of calls cannot be recorded now: they are kept", "error", err.text, NULL);
        }
        r->database_away = true;
        if (t.stopping && ++failures > STOP_TRIES) {
            break;
        }
        wait_for_database(r, away_ms);
        away_ms = 2 * away_ms < RECONNECT_MAX_MS ? 2 * away_ms : RECONNECT_MAX_MS;
    }
    store_disconnect(r->store);
    return NULL;
}

struct recorder *recorder_new(const struct config *c, struct lanes *lanes, const struct recorder_hooks *hooks)
{
    static const double bounds[] = {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200};
    struct recorder *r = mem_zalloc(sizeof *r);

    r->hooks = *hooks;
    r->lanes = lanes;
    r->store = store_new(c, "recorder");
    store_expect_few_rows(r->store, true);
    (void)pthread_mutex_init(&r->mutex, NULL);
    thread_cond_init(&r->changed);
    r->lag = metric_histogram("atsyncd_sync_lag_seconds",
                              "Time from an event being stored to the ATS having confirmed what follows from it.",
                              "connector", bounds, ATS_COUNT(bounds));
    r->writes =
        metric_counter("atsyncd_writes_total", "Writes tried, by what became of them.", "connector,kind,result");
    return r;
}

int recorder_start(struct recorder *r, struct errmsg *err)
{
    int st = thread_start(&r->thread, "recorder", recorder_main, r, err);

    r->started = st == ST_OK;
    return st;
}

void recorder_reload(struct recorder *r, const struct config *c)
{
    store_reload(r->store, c);
}

void recorder_submit(struct recorder *r, struct job *job)
{
    (void)pthread_mutex_lock(&r->mutex);
    if (!r->ended) {
        r->ended_since_ms = clock_mono_ms();
    }
    job->next = r->ended;
    r->ended = job;
    r->ended_count++;
    if (r->ended_count == 1 || r->ended_count == BATCH_WANTED) {
        (void)pthread_cond_signal(&r->changed);
    }
    (void)pthread_mutex_unlock(&r->mutex);
}

void recorder_tried(struct recorder *r, const struct job *job, int64_t writes, int64_t failures)
{
    struct lane_counts counts = {0};

    if (job->is_probe) {
        counts.probe_calls = writes;
        counts.probe_failures = failures;
    } else {
        counts.calls = writes;
        counts.failures = failures;
    }
    lane_count(lanes_of(r->lanes, job->who->connector), &counts);
    if (failures == 0 && !job->is_probe) {
        return;
    }
    (void)pthread_mutex_lock(&r->mutex);
    if (r->tell_at_ms == 0) {
        r->tell_at_ms = clock_mono_ms() + TELL_MS;
        (void)pthread_cond_signal(&r->changed);
    }
    (void)pthread_mutex_unlock(&r->mutex);
}

void recorder_stop(struct recorder *r)
{
    (void)pthread_mutex_lock(&r->mutex);
    r->stopping = true;
    (void)pthread_cond_signal(&r->changed);
    (void)pthread_mutex_unlock(&r->mutex);
}

void recorder_join(struct recorder *r)
{
    if (r->started) {
        (void)pthread_join(r->thread, NULL);
        r->started = false;
    }
}

static void give_up_all(struct job *list, void (*give_up)(struct job *job))
{
    while (list) {
        struct job *next = list->next;

        give_up(list);
        list = next;
    }
}

void recorder_free(struct recorder *r, void (*give_up)(struct job *job))
{
    if (!r) {
        return;
    }
    give_up_all(r->ended, give_up);
    give_up_all(r->held, give_up);
    connector_states_clear(&r->states);
    store_free(r->store);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}
