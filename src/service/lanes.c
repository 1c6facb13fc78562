#include "service/lanes.h"

#include <pthread.h>

#include "domain/breaker.h"
#include "domain/ledger.h"

enum {
    LANE_MIN = 16,          /* candidates in work that every connector may have */
    MISFIT_REST_MS = 60000, /* a wish that does not fit is tried again after that, by one candidate */
    /* When somebody asks, at once; but who waited for that try is not tried one by one when it has failed. */
    AGAIN_REST_MS = 5000,
    TRY_MS = 30000, /* what comes of that try is waited for so long */
};

struct misfit {
    char *what;
    char *error;
    int64_t failed_at_ms;
    int64_t try_failed_at_ms; /* INT64_MIN / 2: none was made */
    int64_t tried_until_ms;   /* so long one candidate may be about to show whether it is over; 0: none is */
    struct misfit *next;
};

struct lane {
    struct lanes *all;
    char *name;
    size_t in_work;
    size_t in_work_max;
    bool waits;
    int64_t per_day;
    struct lane_counts counts;
    struct breaker_clean clean;
    struct misfit *misfits;
    struct lane *next;
};

struct lanes {
    pthread_mutex_t mutex; /* guards everything, names excepted */
    struct lane *first;
    const struct config *config; /* in use; only compared */
    size_t in_work;
};

struct lanes *lanes_new(void)
{
    struct lanes *l = mem_zalloc(sizeof *l);

    (void)pthread_mutex_init(&l->mutex, NULL);
    return l;
}

static void misfit_free(struct misfit *m)
{
    mem_free(m->what);
    mem_free(m->error);
    mem_free(m);
}

static void forget_misfits(struct lane *lane)
{
    while (lane->misfits) {
        struct misfit *next = lane->misfits->next;

        misfit_free(lane->misfits);
        lane->misfits = next;
    }
}

void lanes_free(struct lanes *l)
{
    if (!l) {
        return;
    }
    while (l->first) {
        struct lane *next = l->first->next;

        forget_misfits(l->first);
        mem_free(l->first->name);
        mem_free(l->first);
        l->first = next;
    }
    (void)pthread_mutex_destroy(&l->mutex);
    mem_free(l);
}

static void lock(const struct lane *lane)
{
    (void)pthread_mutex_lock(&lane->all->mutex);
}

static void unlock(const struct lane *lane)
{
    (void)pthread_mutex_unlock(&lane->all->mutex);
}

/* With the lock. */
static struct lane *find(struct lanes *l, const char *connector)
{
    struct lane *lane = l->first;

    while (lane && strcmp(lane->name, connector) != 0) {
        lane = lane->next;
    }
    if (!lane) {
        lane = mem_zalloc(sizeof *lane);
        lane->all = l;
        lane->name = mem_strdup(connector);
        lane->next = l->first;
        l->first = lane;
    }
    return lane;
}

struct lane *lanes_of(struct lanes *l, const char *connector)
{
    struct lane *lane;

    (void)pthread_mutex_lock(&l->mutex);
    lane = find(l, connector);
    (void)pthread_mutex_unlock(&l->mutex);
    return lane;
}

const char *lane_name(const struct lane *lane)
{
    return lane->name;
}

/* Half of the slots for each connector at most, so that a slow one cannot take them all. */
void lanes_adopt(struct lanes *l, const struct config *c, const struct connector_set *connectors)
{
    size_t slots = (size_t)c->delivery.slots;
    size_t share = c->connector_count > 1 ? slots / 2 : slots;

    (void)pthread_mutex_lock(&l->mutex);
    l->config = c;
    for (struct lane *lane = l->first; lane; lane = lane->next) {
        forget_misfits(lane);
    }
    for (size_t i = 0; i < c->connector_count; i++) {
        const struct connector_config *connector = &c->connectors[i];
        struct connector_limits limits =
            connector_limits_of(connector_set_find(connectors, connector->name), connector);
        struct lane *lane = find(l, connector->name);
        size_t wanted = 4 * (size_t)limits.concurrency;

        wanted = wanted > LANE_MIN ? wanted : LANE_MIN;
        lane->in_work_max = wanted < share ? wanted : share;
        lane->per_day = limits.per_day;
    }
    find(l, "")->in_work_max = slots;
    (void)pthread_mutex_unlock(&l->mutex);
}

void lanes_each(struct lanes *l, void (*fn)(void *ctx, struct lane *lane), void *ctx)
{
    struct lane *lane;

    (void)pthread_mutex_lock(&l->mutex);
    lane = l->first;
    (void)pthread_mutex_unlock(&l->mutex);
    for (; lane; lane = lane->next) { /* lanes come at the head and never go */
        fn(ctx, lane);
    }
}

/* ---- in work ------------------------------------------------------------------------------------------------------ */

void lane_begin(struct lane *lane)
{
    lock(lane);
    lane->in_work++;
    lane->all->in_work++;
    unlock(lane);
}

void lane_end(struct lane *lane)
{
    lock(lane);
    lane->in_work--;
    lane->all->in_work--;
    unlock(lane);
}

size_t lane_in_work(const struct lane *lane)
{
    size_t n;

    lock(lane);
    n = lane->in_work;
    unlock(lane);
    return n;
}

size_t lane_in_work_max(const struct lane *lane)
{
    size_t n;

    lock(lane);
    n = lane->in_work_max;
    unlock(lane);
    return n;
}

void lane_set_waits(struct lane *lane, bool waits)
{
    lock(lane);
    lane->waits = waits;
    unlock(lane);
}

bool lane_waits(const struct lane *lane)
{
    bool waits;

    lock(lane);
    waits = lane->waits;
    unlock(lane);
    return waits;
}

size_t lanes_in_work(struct lanes *l)
{
    size_t n;

    (void)pthread_mutex_lock(&l->mutex);
    n = l->in_work;
    (void)pthread_mutex_unlock(&l->mutex);
    return n;
}

/* ---- counts --------------------------------------------------------------------------------------------------------- */

void lane_count(struct lane *lane, const struct lane_counts *more)
{
    lock(lane);
    lane->counts.calls += more->calls;
    lane->counts.failures += more->failures;
    lane->counts.probe_calls += more->probe_calls;
    lane->counts.probe_failures += more->probe_failures;
    lane->counts.requests += more->requests;
    unlock(lane);
}

struct lane_counts lane_take_counts(struct lane *lane)
{
    struct lane_counts taken;

    lock(lane);
    taken = lane->counts;
    lane->counts = (struct lane_counts){0};
    unlock(lane);
    return taken;
}

void lane_add_clean(struct lane *lane, int64_t calls, int64_t now_ms)
{
    lock(lane);
    breaker_clean_add(&lane->clean, calls, now_ms);
    unlock(lane);
}

int64_t lane_take_clean(struct lane *lane, int64_t now_ms)
{
    int64_t calls;

    lock(lane);
    calls = breaker_clean_take(&lane->clean, now_ms);
    unlock(lane);
    return calls;
}

int64_t lane_per_day(const struct lane *lane)
{
    int64_t n;

    lock(lane);
    n = lane->per_day;
    unlock(lane);
    return n;
}

/* ---- misfits -------------------------------------------------------------------------------------------------------- */

/* The same wish of others has the same name. */
static char *wish_name(const struct desired *w)
{
    char *value = w->kind == WRITE_STAGE || w->kind == WRITE_REJECT ? json_text(w->value) : NULL;
    char *name = mem_printf("%s\n%s\n%s\n%s", w->workflow_external_id ? w->workflow_external_id : "",
                            write_kind_name(w->kind), value ? "" : w->target, value ? value : "");

    mem_free(value);
    return name;
}

/* With the lock. */
static struct misfit **find_misfit(struct lane *lane, const struct desired *wish)
{
    struct misfit **at = &lane->misfits;
    char *name;

    if (!*at || write_is_append(wish->kind)) {
        return NULL;
    }
    name = wish_name(wish);
    while (*at && strcmp((*at)->what, name) != 0) {
        at = &(*at)->next;
    }
    mem_free(name);
    return *at ? at : NULL;
}

enum lane_answer lane_ask(struct lane *lane, const struct desired *wish, bool is_again, int64_t now_ms,
                          struct arena *arena, const char **ret_error)
{
    enum lane_answer answer = LANE_TRY;
    struct misfit **at;

    lock(lane);
    at = find_misfit(lane, wish);
    if (at && (*at)->tried_until_ms > now_ms) {
        answer = LANE_WAIT;
    } else if (at && (is_again ? now_ms - (*at)->try_failed_at_ms < AGAIN_REST_MS
                               : now_ms - (*at)->failed_at_ms < MISFIT_REST_MS)) {
        answer = LANE_REFUSE;
        *ret_error = arena_strdup(arena, (*at)->error);
    } else if (at) {
        (*at)->tried_until_ms = now_ms + TRY_MS;
    }
    unlock(lane);
    return answer;
}

void lane_remember_misfit(struct lane *lane, const struct config *c, const struct desired *wish, int64_t now_ms,
                          const char *error)
{
    lock(lane);
    if (c == lane->all->config && !write_is_append(wish->kind)) {
        struct misfit **at = find_misfit(lane, wish);
        struct misfit *m = at ? *at : mem_zalloc(sizeof *m);

        if (!at) {
            m->what = wish_name(wish);
            m->try_failed_at_ms = INT64_MIN / 2;
            m->next = lane->misfits;
            lane->misfits = m;
        }
        if (m->tried_until_ms > 0) {
            m->try_failed_at_ms = now_ms;
        }
        mem_free(m->error);
        m->error = mem_strdup(error);
        m->failed_at_ms = now_ms;
        m->tried_until_ms = 0;
    }
    unlock(lane);
}

void lane_leave_misfit(struct lane *lane, const struct desired *wish)
{
    struct misfit **at;

    lock(lane);
    at = find_misfit(lane, wish);
    if (at) {
        (*at)->tried_until_ms = 0;
    }
    unlock(lane);
}

void lane_forget_misfit(struct lane *lane, const struct desired *wish)
{
    struct misfit **at;

    lock(lane);
    at = find_misfit(lane, wish);
    if (at) {
        struct misfit *m = *at;

        *at = m->next;
        misfit_free(m);
    }
    unlock(lane);
}
