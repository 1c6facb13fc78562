/*
 * breaker - when a connector's ATS is taken to be away, and how it is let back.
 *
 *   closed     calls go out; counted over a window of half a minute
 *   open       at least ten calls in the window and half of them failed: nothing is tried for 15 s, then 30 s, … at most five minutes
 *   half-open  the time is over: one candidate tries; success closes, failure opens for longer
 *   slow start after closing, two candidates at once, then twice as many each second, so that a backlog does not fall upon a server that just got up
 *
 * The figures are shared by all daemons through the database (connector_state). Pure.
 */
#ifndef ATSYNC_DOMAIN_BREAKER_H
#define ATSYNC_DOMAIN_BREAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum { BREAKER_WINDOW_MS = 30000, BREAKER_PROBE_MS = 60000 };

bool breaker_should_open(int64_t calls, int64_t failures);
/*
 * Calls that went well are not told to the database as they come. A few of the last half minute count beside those that fail later: an ATS that refuses
 * one call in ten is not away. Only a few, so that an outage is seen soon however fast all went before.
 */
struct breaker_clean {
    int64_t calls, at_ms; /* the monotonic clock */
};
void breaker_clean_add(struct breaker_clean *clean, int64_t calls, int64_t now_ms);
int64_t breaker_clean_take(struct breaker_clean *clean, int64_t now_ms); /* and forgets them */
/* opens: how often it has opened in a row before. */
int64_t breaker_open_ms(int64_t opens);
/* How many candidates may be in work so long after closing; SIZE_MAX when the slow start is over. */
size_t breaker_ramp(int64_t ms_since_closing);

#endif
