#include "service/refusals.h"

#include <pthread.h>

#include "base/mem.h"

enum { MINUTES = 5, MINUTE_MS = 60000, CASES_MIN = 5, FUTURE_MAX_MS = 10 * 60000 };

struct minute {
    int64_t number;
    int64_t requests;
    int64_t signature, time; /* refused because of */
    int64_t future;          /* taken, but the event says that it has not happened yet */
    int64_t time_ahead_ms, future_ahead_ms;
};

struct source {
    char *name;
    struct minute minutes[MINUTES]; /* a ring: the place of a minute is its number modulo MINUTES */
    struct source *next;
};

struct refusals {
    pthread_mutex_t mutex;
    struct source *sources;
};

struct refusals *refusals_new(void)
{
    struct refusals *r = mem_zalloc(sizeof *r);

    (void)pthread_mutex_init(&r->mutex, NULL);
    return r;
}

void refusals_free(struct refusals *r)
{
    if (!r) {
        return;
    }
    while (r->sources) {
        struct source *next = r->sources->next;

        mem_free(r->sources->name);
        mem_free(r->sources);
        r->sources = next;
    }
    (void)pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}

static struct source *source_of(struct refusals *r, const char *name)
{
    struct source *s = r->sources;

    while (s && strcmp(s->name, name) != 0) {
        s = s->next;
    }
    if (!s) {
        s = mem_zalloc(sizeof *s);
        s->name = mem_strdup(name);
        s->next = r->sources;
        r->sources = s;
    }
    return s;
}

/* A request that was on its way for long looks older than it is, never younger: the one that is furthest ahead tells the
 * difference of the clocks best. */
static void note(int64_t *count, int64_t *furthest_ms, int64_t ahead_ms)
{
    if (*count == 0 || ahead_ms > *furthest_ms) {
        *furthest_ms = ahead_ms;
    }
    ++*count;
}

void refusals_count(struct refusals *r, const char *source, enum refusal what, int64_t ahead_ms, int64_t now_ms)
{
    int64_t number = now_ms / MINUTE_MS;
    struct minute *m;

    (void)pthread_mutex_lock(&r->mutex);
    m = &source_of(r, source)->minutes[number % MINUTES];
    if (m->number != number) {
        *m = (struct minute){.number = number};
    }
    m->requests++;
    switch (what) {
    case REFUSAL_SIGNATURE:
        m->signature++;
        break;
    case REFUSAL_TIME:
        note(&m->time, &m->time_ahead_ms, ahead_ms);
        break;
    case REFUSAL_NONE:
        if (ahead_ms > FUTURE_MAX_MS) {
            note(&m->future, &m->future_ahead_ms, ahead_ms);
        }
        break;
    }
    (void)pthread_mutex_unlock(&r->mutex);
}

static void add(int64_t *count, int64_t *furthest_ms, int64_t more, int64_t ahead_ms)
{
    if (more > 0) {
        *furthest_ms = *count == 0 || ahead_ms > *furthest_ms ? ahead_ms : *furthest_ms;
        *count += more;
    }
}

static struct minute sum_of(const struct source *s, int64_t number)
{
    struct minute sum = {0};

    for (unsigned i = 0; i < MINUTES; i++) {
        const struct minute *m = &s->minutes[i];

        if (m->number > number - MINUTES) {
            sum.requests += m->requests;
            sum.signature += m->signature;
            add(&sum.time, &sum.time_ahead_ms, m->time, m->time_ahead_ms);
            add(&sum.future, &sum.future_ahead_ms, m->future, m->future_ahead_ms);
        }
    }
    return sum;
}

static bool is_condition(int64_t cases, int64_t requests)
{
    return cases >= CASES_MIN && 2 * cases >= requests;
}

/* At most three. */
static size_t problems_of(const struct source *s, int64_t number, struct problem *ret)
{
    struct minute sum = sum_of(s, number);
    int64_t refused = sum.signature + sum.time;
    size_t n = 0;

    if (is_condition(refused, sum.requests) && 2 * sum.signature >= refused) {
        ret[n++] = (struct problem){.class = "signatures", .source = s->name};
    }
    if (is_condition(refused, sum.requests) && 2 * sum.time >= refused) {
        ret[n++] = (struct problem){.class = "clock_skew", .source = s->name, .ahead_ms = sum.time_ahead_ms};
    }
    if (is_condition(sum.future, sum.requests)) {
        ret[n++] = (struct problem){
            .class = "clock_skew", .source = s->name, .detail = "events", .ahead_ms = sum.future_ahead_ms};
    }
    return n;
}

size_t refusals_problems(struct refusals *r, int64_t now_ms, struct problem *ret, size_t room)
{
    size_t n = 0;

    (void)pthread_mutex_lock(&r->mutex);
    for (const struct source *s = r->sources; s; s = s->next) {
        struct problem found[3];
        size_t count = problems_of(s, now_ms / MINUTE_MS, found);

        for (size_t i = 0; i < count && n < room; i++) {
            ret[n++] = found[i];
        }
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return n;
}
