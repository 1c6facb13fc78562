/*
 * ingest - the group commit: many requests, one statement, one commit.
 *
 * Events wait in a bounded queue; a writer takes whatever is there (at most 200 events or 8 MiB), stores it in one transaction, and only then tells each
 * submitter. An idle daemon so answers after one commit, a busy one after one shared commit. Where a commit takes a
 * millisecond or longer (disks, a synchronous standby), the next writer takes what has come meanwhile into the tables, over a connection of its own: one
 * batch is inserted at a time, and up to four are on their way.
 *
 * Thread: ingest_submit from any thread; `done` is called from the writers' threads, in the order of submission within a batch, then `batch_done` once.
 */
#ifndef ATSYNC_SERVICE_INGEST_H
#define ATSYNC_SERVICE_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "store/store.h"

struct ingest;

enum ingest_result {
    INGEST_STORED,
    INGEST_DUPLICATE,
    INGEST_ERASED, /* about somebody who was erased: not stored, and no more to be done about it */
    INGEST_UNAVAILABLE,
};

struct ingest_item {
    struct ingest_event event; /* everything it points to must live until done is called */
    /* The item may be gone when it returns. */
    void (*done)(struct ingest_item *item, enum ingest_result result);
    void *user;
    struct ingest_item *next; /* ingest's own, as is the next one */
    int64_t submitted_us;
};

struct ingest_hooks {
    /* After the answers of a batch: wake the HTTP loop, wake the dispatcher. */
    void (*batch_done)(void *ctx, bool any_stored);
    void *ctx;
};

struct ingest *ingest_new(const struct config *c, const struct ingest_hooks *hooks);
int ingest_start(struct ingest *in, struct errmsg *err) ATS_MUSTCHECK;
/* Queues an event. ST_LIMIT: the queue is full; ST_UNAVAILABLE: the database is away (known from the last commit, until
 * a reconnect succeeds) or ingest is stopping. Then done is not called. */
int ingest_submit(struct ingest *in, struct ingest_item *item) ATS_MUSTCHECK;
void ingest_reload(struct ingest *in, const struct config *c); /* queue_max_events and statement_timeout; any thread */
/* How it stands with the database. */
enum ingest_state {
    INGEST_CONNECTING, /* not known yet; events are taken */
    INGEST_READY,
    INGEST_AWAY,           /* or its schema is missing or old; tried again all the time */
    INGEST_SCHEMA_TOO_NEW, /* another release's, which this one must not touch */
};
/* Any thread, never waits. ret_reason (may be NULL) is set for the last two. */
enum ingest_state ingest_state(struct ingest *in, struct errmsg *ret_reason);
size_t ingest_queued(struct ingest *in);
void ingest_stop(struct ingest *in); /* what is queued is still written */
void ingest_join(struct ingest *in);
void ingest_free(struct ingest *in); /* stops and joins if that was not done; NULL is harmless */

#endif
