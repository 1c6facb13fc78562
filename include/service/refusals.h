/*
 * refusals - are the webhooks of a source refused because of their signature, as a condition and not a single case?
 *
 * The threshold: at least five refused, and at least half of all requests, in the last five minutes. Thread: counting from one thread, asking from
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
void refusals_count(struct refusals *r, const char *source, bool refused, int64_t now_ms);
/* One problem of class "signatures" for each source over the threshold; names live as long as r. */
size_t refusals_problems(struct refusals *r, int64_t now_ms, struct problem *ret, size_t room);

#endif
