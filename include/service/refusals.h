/*
 * refusals - are the webhooks of a source refused, or their times wrong, as a condition and not a single case?
 *
 * The threshold: at least five, and at least half of all requests, in the last five minutes. Thread: counting from one thread, asking from
 * another; it locks for itself.
 */
#ifndef ATSYNC_SERVICE_REFUSALS_H
#define ATSYNC_SERVICE_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "domain/issue.h"

struct refusals;

struct refusals *refusals_new(void);
void refusals_free(struct refusals *r); /* NULL is harmless */

enum refusal {
    REFUSAL_NONE,
    REFUSAL_SIGNATURE, /* missing, malformed, wrong */
    REFUSAL_TIME,      /* the signature is right, its time is outside the tolerance */
};
/* ahead_ms: the request's time before this machine's clock, negative when behind: the signed time for REFUSAL_TIME, the
 * event's for REFUSAL_NONE (0: it has none). now_ms: monotonic. */
void refusals_count(struct refusals *r, const char *source, enum refusal what, int64_t ahead_ms, int64_t now_ms);
/*
 * For each source over the threshold a problem of class "signatures", or "clock_skew" with what was measured, or both
 * when each is half of what was refused; and "clock_skew" with detail "events" when it is the times in the events that
 * lie in the future. Names live as long as r.
 */
size_t refusals_problems(struct refusals *r, int64_t now_ms, struct problem *ret, size_t room);

#endif
