/*
 * delivery - the network side: carries out the calls of candidates, one after the other for each, many candidates at once.
 *
 * One thread with libcurl's multi interface and one compiled program for each connector. Knows no database. Obeys each connector's rate and concurrency.
 */
#ifndef ATSYNC_SERVICE_DELIVERY_H
#define ATSYNC_SERVICE_DELIVERY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "config/config.h"
#include "connector/module.h"
#include "store/store.h"

struct delivery;

struct job_call { /* one verb with the writes that it carries */
    const char *verb;
    const struct ledger_item **items;
    size_t item_count;
    bool look_first; /* append: find_marker before the call */
};

struct job { /* one candidate in work; made by the dispatcher, in `arena` */
    struct arena *arena;
    const struct claimed *who;
    struct config *config;            /* a reference of its own */
    struct connector_set *connectors; /* likewise */
    const struct connector_config *connector;
    struct connector_module *module;
    struct job_call *calls;
    size_t call_count;
    bool is_probe;    /* let through while the breaker is open: shows whether the ATS is back */
    int64_t failures; /* writes that failed because of the ATS, as yet; delivery's */
    /* filled by delivery, in the arena */
    struct record_result *results; /* room for all items */
    size_t result_count;
    struct record_call *log;
    size_t log_count;
    size_t log_room;
    int64_t throttle_ms;      /* > 0: the connector has to wait */
    const char *pause_reason; /* not NULL: the connector has to stop until its configuration changes */
    const char *pause_hint;   /* what a person can do about it */
    const char *pause_words;  /* the reason without what the ATS said, which may repeat personal data: for the log */
    const struct ledger_diff *diff; /* the dispatcher's, likewise the next three */
    struct plan *plan;
    const struct record
        *unrecorded; /* of the plan phase, when the job went ahead of it; NULL once it is the recorder's, or recorded */
    int64_t ahead_since_ms;            /* when it went ahead */
    const struct record *with_results; /* the recorder's: what was unrecorded, to be recorded with the results */
    int64_t claimed_now_us;            /* the database's clock when the job was claimed, */
    int64_t claimed_mono_us;           /* and ours: see job_now_us */
    int64_t claim_began_ms;            /* our monotonic clock before the claim was sent to the database, */
    int64_t lease_ms;                  /* for which the candidate is ours from then on, */
    atomic_bool not_renewed;           /* and no longer, if once it could not be renewed with the others */
    bool told;                         /* the recorder's: the connector waits, or stops, as it asked for; */
    int64_t held_since_ms; /* likewise: since when it cannot be recorded, because somebody holds its row; 0: it can */
    void *batch;
    struct job *next;                   /* of whichever list it is in */
    struct job *work_next, **work_back; /* the dispatcher's list of all that it has not recorded yet */
};

/* The database's time now: clocks of several daemons may differ, so ours only measures how long ago the claim was. */
int64_t job_now_us(const struct job *job);

struct delivery_hooks { /* called in delivery's thread */
    void *ctx;
    /* The job has ended; it is the callee's. */
    void (*done)(void *ctx, struct job *job);
    /* A call of the job has ended: so many writes were tried with it, so many of them failed because of the ATS. */
    void (*tried)(void *ctx, const struct job *job, int64_t writes, int64_t failures);
    /* May the job begin its next call? If not, it ends where it is. */
    bool (*may_call)(void *ctx, const struct job *job);
};

struct delivery *delivery_new(struct config *c, struct connector_set *connectors, const struct delivery_hooks *hooks,
                              unsigned connections_max);
/* Any thread, before the first job with this configuration: for what has to be kept up with no job at hand (tokens,
 * delivery.slots). */
void delivery_reload(struct delivery *d, struct config *c, struct connector_set *connectors);
int delivery_start(struct delivery *d, struct errmsg *err) ATS_MUSTCHECK;
void delivery_submit(struct delivery *d,
                     struct job *job); /* any thread; call delivery_wake after the last of a batch */
void delivery_wake(struct delivery *d);
/* This daemon is one of so many that deliver: rates and concurrency are divided by that. Any thread. */
void delivery_share(struct delivery *d, unsigned daemons);
/*
 * All leases (but of jobs that are marked not_renewed) were renewed by a statement that ran between these times (our monotonic clock): what was ours until then is
 * ours for another renewed_ms from its beginning; lease_ms: what a claim gives. A request is only sent while its job's
 * lease is surely ours, and its time-out is not longer than that: a daemon that was stopped for a while, or whose
 * database was away, must not write beside its successor. Any thread.
 */
void delivery_renewed(struct delivery *d, int64_t began_ms, int64_t ended_ms, int64_t renewed_ms, int64_t lease_ms);
void delivery_stop(
    struct delivery
        *d); /* requests under way are finished, then jobs end where they are; the thread ends when no job is left */
void delivery_join(struct delivery *d);
void delivery_free(struct delivery *d);

#endif
