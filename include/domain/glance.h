/*
 * glance - how it goes, in one sentence: what somebody wants to know who has looked for two seconds.
 *
 * Pure: figures in, words out. What is wrong in detail is told by issues (domain/issue.h); this only weighs.
 */
#ifndef ATSYNC_DOMAIN_GLANCE_H
#define ATSYNC_DOMAIN_GLANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"

enum glance_level {
    GLANCE_OK,
    GLANCE_ATTENTION, /* it works; somebody should look when there is time */
    GLANCE_TROUBLE,   /* something does not get to the ATS before somebody acts */
    GLANCE_NOT_READY, /* no events are taken */
};

struct glance_facts {
    bool ready;
    const char *reason; /* why not */
    int64_t errors, warnings;
    const char *worst; /* message of the issue that somebody should read first; NULL: none */
    int64_t waiting;   /* candidates with something to do */
    int64_t oldest_due_seconds;
    int64_t events, writes; /* of the last hour */
};

struct glance {
    enum glance_level level;
    const char *headline; /* two or three words */
    const char *sentence; /* in the arena */
};

struct glance glance_of(const struct glance_facts *f, struct arena *arena);
const char *glance_level_name(enum glance_level level); /* ok attention trouble not_ready */

/* "40 s", "12 min", "3 h 5 min", "2 d 4 h": two places at most, cut, not rounded. */
const char *glance_duration(int64_t seconds, struct arena *arena);

#endif
