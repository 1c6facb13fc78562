/*
 * tally - what this process has done since it was last written down: the metrics' counters as amounts per time.
 *
 * Thread: one at a time. The first difference counts from the start of the process.
 */
#ifndef ATSYNC_SERVICE_TALLY_H
#define ATSYNC_SERVICE_TALLY_H

#include <stdbool.h>

#include "base/compiler.h"
#include "store/activity.h"

struct tally {
    struct activity written; /* up to where it was written down; longest_lag_ms: seen since and not written yet */
};

/* *ret: what has been added since tally_written. False: nothing. */
bool tally_difference(struct tally *t, struct activity *ret);
void tally_written(struct tally *t, const struct activity *difference);

#endif
