/*
 * retention - forgets what is over age, a little at a time.
 *
 * Content goes first: bodies of events, runs with their answers, writes, contacts. What is needed to recognise and place
 * what is sent again late stays longer: ids of events, runs and candidates, and times. See atsyncd.conf(5), retention.
 *
 * A run is forgotten as a whole, when it has ended, when the candidate has nothing to do, and not before the runs that
 * began earlier: what is left of the candidate gives the same wishes as before, or fewer. Fewer does no harm, as nothing
 * is taken back that nobody wants any more. Until which time everything is settled stays known (loaded.settled_us), and
 * what comes late of a forgotten run is passed over. While other runs are left, the ledger keeps the hash of what the ATS
 * was given last, without the value, so that it is not sent again.
 *
 * Same rules as store.h: each function is one transaction. It is short, waits for nobody (a candidate in work is left
 * for another time), and of several daemons one works at a time (an advisory lock of the transaction; poolers do no
 * harm). Whoever stores an event of a candidate that is being forgotten at this moment waits until it ends; hence small limits.
 */
#ifndef ATSYNC_STORE_RETENTION_H
#define ATSYNC_STORE_RETENTION_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "store/store.h"

/* How much longer what has not ended is kept than what has. */
#define RETENTION_UNDONE_MS (INT64_C(90) * 24 * 3600 * 1000)

enum { RETENTION_ID_BYTES = 408 };
struct retained {                      /* what one call did */
    int64_t looked_at;                 /* events over age; 0: there are no more after those that were looked at */
    int64_t events, runs, writes;      /* forgotten */
    int64_t after_us;                  /* where the next call goes on: zeroed at first, in and out */
    char after_id[RETENTION_ID_BYTES]; /* likewise */
};
/* Looks at the oldest `limit` events that are older than events_ms. */
int store_retain_events(struct store *s, int64_t events_ms, size_t limit, struct retained *io,
                        struct errmsg *err) ATS_MUSTCHECK;
/* The others: *ret is how many went; 0: there are no more, or another daemon is at it. */
int store_retain_ids(struct store *s, int64_t ids_ms, size_t limit, int64_t *ret, struct errmsg *err) ATS_MUSTCHECK;
int store_retain_calls(struct store *s, int64_t calls_ms, size_t limit, int64_t *ret, struct errmsg *err) ATS_MUSTCHECK;
/* Closed issues. */
int store_retain_issues(struct store *s, int64_t events_ms, size_t limit, int64_t *ret,
                        struct errmsg *err) ATS_MUSTCHECK;
/* Published versions of workflows that have been followed by others. */
int store_retain_versions(struct store *s, int64_t events_ms, size_t limit, int64_t *ret,
                          struct errmsg *err) ATS_MUSTCHECK;

#endif
