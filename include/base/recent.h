/*
 * recent - hashes of a few things that were found out lately, so that they need not be found out again.
 *
 * Bounded, and searched from end to end: for some dozens. What does not fit in displaces the one that would end first; two things of one hash are one. So only for
 * what may be forgotten, and may be taken for another now and then, without harm. Not for ids that decide what is stored.
 *
 * Times are the caller's clock, in ms. One thread.
 */
#ifndef ATSYNC_BASE_RECENT_H
#define ATSYNC_BASE_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recent;

struct recent *recent_new(size_t max); /* room for so many, at least one; to be freed with recent_free */
void recent_free(struct recent *r);    /* NULL is harmless */
/* until_ms: from then on it is as if it had not been added; INT64_MAX: kept as long as there is room. */
void recent_add(struct recent *r, uint64_t hash, int64_t until_ms);
void recent_remove(struct recent *r, uint64_t hash);
bool recent_has(const struct recent *r, uint64_t hash, int64_t now_ms);
bool recent_any(const struct recent *r, int64_t now_ms); /* whether there is any at all: spares hashing */

#endif
