/*
 * activity - figures for charts and metrics.
 *
 * How much was done in each minute is counted by the daemons themselves, because counting a day's events and calls each
 * time somebody looks would cost too much. Not exact to the last event: what a daemon counted in its last seconds
 * before it was killed is missing. Whoever needs exact figures counts the views.
 *
 * Same rules as store.h.
 */
#ifndef ATSYNC_STORE_ACTIVITY_H
#define ATSYNC_STORE_ACTIVITY_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "store/store.h"

struct activity {
    int64_t events, duplicates, refused; /* webhooks: stored, stored before, not accepted */
    int64_t writes, failed_writes;       /* done at an ATS; tried in vain */
    int64_t calls, failed_calls;         /* HTTP requests to an ATS */
    int64_t synced, lag_ms;              /* candidates brought up to date, and the sum of how long that took */
    int64_t longest_lag_ms;
};

/* Adds to the current minute (of the database's clock). All zero: says that a daemon was there in this minute. */
int store_activity_add(struct store *s, const struct activity *a, struct errmsg *err) ATS_MUSTCHECK;

struct queue_count {       /* texts live as long as the call */
    const char *connector; /* '' for those without one */
    const char *state;     /* as sync_state of the views */
    int64_t count;
    double oldest_due_seconds; /* 0 if none is due */
};
typedef void (*queue_count_fn)(void *ctx, const struct queue_count *c);
/* How many candidates wait or are in work, and how many have no connector. */
int store_queue_counts(struct store *s, queue_count_fn fn, void *ctx, struct errmsg *err) ATS_MUSTCHECK;
/* How many candidates of a connector are idle (synced, dead, …). Reads the whole table: ask seldom. */
int store_population(struct store *s, queue_count_fn fn, void *ctx, struct errmsg *err) ATS_MUSTCHECK;

#endif
