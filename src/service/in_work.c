#include "service/in_work.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"

enum {
    AHEAD_MAX_MS = 250,    /* how long the views may not know of runs whose candidate went ahead */
    HELD_AGAIN_MS = 10000, /* if they cannot be told then */
};

struct in_work {
    pthread_mutex_t lock; /* guards the list */
    struct job *first;
    size_t count;
    pthread_mutex_t
        ahead_lock; /* guards job.unrecorded: held while these are recorded here, so that the recorder waits; before lock */
    int64_t ahead_since_ms; /* the dispatcher's: the first that went ahead since they were looked at last; 0: none */
};

struct in_work *in_work_new(void)
{
    struct in_work *w = mem_zalloc(sizeof *w);

    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_mutex_init(&w->ahead_lock, NULL);
    return w;
}

void in_work_free(struct in_work *w)
{
    if (w) {
        (void)pthread_mutex_destroy(&w->lock);
        (void)pthread_mutex_destroy(&w->ahead_lock);
        mem_free(w);
    }
}

/* ---- the list --------------------------------------------------------------------------------------------------------- */

void in_work_add(struct in_work *w, struct job *job, const struct record *plan)
{
    if (plan) {
        job->unrecorded = plan;
        job->ahead_since_ms = clock_mono_ms();
        w->ahead_since_ms = w->ahead_since_ms > 0 ? w->ahead_since_ms : job->ahead_since_ms;
    }
    (void)pthread_mutex_lock(&w->lock);
    job->work_next = w->first;
    job->work_back = &w->first;
    if (w->first) {
        w->first->work_back = &job->work_next;
    }
    w->first = job;
    w->count++;
    (void)pthread_mutex_unlock(&w->lock);
}

void in_work_remove(struct in_work *w, struct job *job)
{
    (void)pthread_mutex_lock(&w->lock);
    *job->work_back = job->work_next;
    if (job->work_next) {
        job->work_next->work_back = job->work_back;
    }
    w->count--;
    (void)pthread_mutex_unlock(&w->lock);
}

size_t in_work_list(struct in_work *w, struct arena *arena, const struct claimed ***ret)
{
    size_t count = 0;

    (void)pthread_mutex_lock(&w->lock);
    *ret = arena_alloc(arena, (w->count + 1) * sizeof **ret);
    for (const struct job *job = w->first; job; job = job->work_next) {
        struct claimed *copy = arena_alloc(arena, sizeof *copy);

        copy->source = arena_strdup(arena, job->who->source);
        copy->connector = arena_strdup(arena, job->who->connector);
        copy->ref = arena_strdup(arena, job->who->ref);
        copy->lease_no = job->who->lease_no;
        (*ret)[count++] = copy;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return count;
}

void in_work_not_renewed(struct in_work *w, const struct claimed *who)
{
    (void)pthread_mutex_lock(&w->lock);
    for (struct job *job = w->first; job; job = job->work_next) {
        if (job->who->lease_no == who->lease_no && strcmp(job->who->ref, who->ref) == 0 &&
            strcmp(job->who->connector, who->connector) == 0 && strcmp(job->who->source, who->source) == 0) {
            atomic_store(&job->not_renewed, true);
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
}

/* ---- who went ahead --------------------------------------------------------------------------------------------------- */

const struct record *in_work_take_plan(struct in_work *w, struct job *job)
{
    const struct record *plan;

    (void)pthread_mutex_lock(&w->ahead_lock);
    plan = job->unrecorded;
    job->unrecorded = NULL;
    (void)pthread_mutex_unlock(&w->ahead_lock);
    return plan;
}

static void is_ahead_since(struct in_work *w, const struct job *job)
{
    if (w->ahead_since_ms == 0 || job->ahead_since_ms < w->ahead_since_ms) {
        w->ahead_since_ms = job->ahead_since_ms;
    }
}

/* Those that went ahead long ago, in *ret, and since when the first of the others did. With ahead_lock: none of them ends meanwhile. */
static size_t list_late(struct in_work *w, int64_t now_ms, struct arena *arena, struct job ***ret)
{
    size_t count = 0;

    w->ahead_since_ms = 0;
    (void)pthread_mutex_lock(&w->lock);
    *ret = arena_alloc(arena, (w->count + 1) * sizeof **ret);
    for (struct job *job = w->first; job; job = job->work_next) {
        if (!job->unrecorded) {
            continue;
        }
        if (job->ahead_since_ms + AHEAD_MAX_MS <= now_ms) {
            (*ret)[count++] = job;
        } else {
            is_ahead_since(w, job);
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    return count;
}

int in_work_record_late(struct in_work *w, struct store *s, int64_t now_ms, struct errmsg *err)
{
    struct arena *arena;
    struct job **jobs;
    struct record *records;
    size_t count;
    int st;

    if (in_work_record_late_in_ms(w, now_ms) > 0) {
        return ST_OK;
    }
    arena = arena_new();
    (void)pthread_mutex_lock(&w->ahead_lock);
    count = list_late(w, now_ms, arena, &jobs);
    records = arena_alloc(arena, (count + 1) * sizeof *records);
    for (size_t i = 0; i < count; i++) {
        records[i] = *jobs[i]->unrecorded;
    }
    st = store_record(s, records, count, err);
    for (size_t i = 0; i < count; i++) {
        if (st == ST_OK && !records[i].held) {
            jobs[i]->unrecorded = NULL;
            continue;
        }
        if (st == ST_OK) {
            jobs[i]->ahead_since_ms = now_ms + HELD_AGAIN_MS;
        }
        is_ahead_since(w, jobs[i]);
    }
    (void)pthread_mutex_unlock(&w->ahead_lock);
    arena_free(arena);
    return st;
}

int64_t in_work_record_late_in_ms(const struct in_work *w, int64_t now_ms)
{
    int64_t left_ms = w->ahead_since_ms + AHEAD_MAX_MS - now_ms;

    if (w->ahead_since_ms == 0) {
        return INT64_MAX;
    }
    return left_ms > 0 ? left_ms : 0;
}
