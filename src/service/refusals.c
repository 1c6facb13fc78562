#include "service/refusals.h"

#include <pthread.h>

#include "base/mem.h"

enum { MINUTES = 5, MINUTE_MS = 60000, REFUSED_MIN = 5 };

struct minute {
    int64_t number;
    int64_t requests;
    int64_t refused;
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

void refusals_count(struct refusals *r, const char *source, bool refused, int64_t now_ms)
{
    int64_t number = now_ms / MINUTE_MS;
    struct minute *m;

    (void)pthread_mutex_lock(&r->mutex);
    m = &source_of(r, source)->minutes[number % MINUTES];
    if (m->number != number) {
        *m = (struct minute){.number = number};
    }
    m->requests++;
    m->refused += refused;
    (void)pthread_mutex_unlock(&r->mutex);
}

static bool is_condition(const struct source *s, int64_t number)
{
    int64_t requests = 0;
    int64_t refused = 0;

    for (unsigned i = 0; i < MINUTES; i++) {
        if (s->minutes[i].number > number - MINUTES) {
            requests += s->minutes[i].requests;
            refused += s->minutes[i].refused;
        }
    }
    return refused >= REFUSED_MIN && 2 * refused >= requests;
}

size_t refusals_problems(struct refusals *r, int64_t now_ms, struct problem *ret, size_t room)
{
    size_t n = 0;

    (void)pthread_mutex_lock(&r->mutex);
    for (const struct source *s = r->sources; s && n < room; s = s->next) {
        if (is_condition(s, now_ms / MINUTE_MS)) {
            ret[n++] = (struct problem){.class = "signatures", .source = s->name};
        }
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return n;
}
