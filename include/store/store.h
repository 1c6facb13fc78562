/*
 * store - the only place with SQL: events, the queue, the ledger, and the views' tables.
 *
 * A struct store is one database connection with the statements of this program; one thread at a time. Functions are single
 * transactions: they have happened as a whole, or not at all, or (ST_UNCERTAIN) nobody knows, and then it is safe to call them again. Statuses are
 * those of lib/db.h. Time that decides is the database's.
 */
#ifndef ATSYNC_STORE_STORE_H
#define ATSYNC_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "config/config.h"
#include "domain/event.h"
#include "domain/ledger.h"
#include "domain/outcome.h"
#include "domain/plan.h"
#include "domain/run.h"

struct store;

struct store *store_new(const struct config *c,
                        const char *role); /* role: for application_name, "receiver"; does not connect */
/* For a connection that asks for few rows by their keys and nothing else (receiver, dispatcher): its plans do not depend on how large tables were
 * when they were made. may_forget: what is done by single statements (states of connectors) does not wait for the disk; a crash of the server may undo
 * the last of it. Not for claims: two would get the same lease number. Before the first connection. */
void store_expect_few_rows(struct store *s, bool may_forget);
void store_free(struct store *s); /* NULL is harmless */
void store_disconnect(struct store *s);
/* Takes from the configuration what may change while connected (database.statement_timeout). Any thread. */
void store_reload(struct store *s, const struct config *c);
int store_connect(struct store *s, struct errmsg *err) ATS_MUSTCHECK;

/* ---- schema */
enum { SCHEMA_NAME_MAX = 64 };
struct schema_status {
    int version;            /* in the database; 0: none */
    int newest_known;       /* of this program */
    bool newer_breaking;    /* the database holds a breaking migration that this program does not know */
    bool migration_missing; /* the program needs one that is not there */
};
int store_schema_status(struct store *s, struct schema_status *ret, struct errmsg *err) ATS_MUSTCHECK;
/* ST_OK if this program may work on this schema; else ST_CONFLICT with what to do. */
int store_schema_check(struct store *s, struct errmsg *err) ATS_MUSTCHECK;
/*
 * Applies what is missing, each migration in a transaction of its own that begins with its version row, or, if it is concurrent, statement by
 * statement and the row at the end (not through a pooler: ST_CONFLICT says so). told is called with one line for each step, and when something is waited for; with dry_run nothing is
 * changed. Two programs at once: one waits for the other. Daemons may work meanwhile: who holds a table that is to be changed is waited for
 * in short tries, so that no event waits behind the change for longer than three seconds.
 */
int store_migrate(struct store *s, bool dry_run, void (*told)(void *ctx, const char *line), void *ctx,
                  struct errmsg *err) ATS_MUSTCHECK;

/* ---- ingest */
enum { INGEST_ALSO_MAX = 4 };
struct ingest_event { /* borrowed texts, plain UTF-8 */
    const char *source;
    const char *event_id;
    const char *type;
    const char *subject;
    const char *connector; /* '' when none can be told yet; NULL: concerns no candidate and needs no work */
    const char *external_id, *profile_id, *run_id, *workflow_id, *workflow_external_id;
    int64_t time_us; /* EVENT_TIME_NONE: the time of receipt */
    const void *body;
    size_t body_len;
    const char *also
        [INGEST_ALSO_MAX]; /* further names of whom it is about ("m:<e-mail>"), only to tell erased people; NULL: no more */
    bool stored;           /* out: true if new, false if the id was there before or the person was erased */
    bool erased;           /* out: it is about somebody who was erased (store/erase.h), and was not stored; */
    bool tells_more;       /* out: and it told names of that person that were not known: store_erase_told */
    bool held;             /* out: another session holds the row of its candidate: not stored, may be tried again */
};
/*
 * fn is called within store_ingest, in its thread, when a batch is in the tables and only its commit is waited for: who stores other events over another
 * connection has the processor now, and cannot meet this one in a deadlock. Not at every batch: not if it fails, and with an old libpq never.
 */
void store_tell_inserted(struct store *s, void (*fn)(void *ctx), void *ctx);
/*
 * All or nothing, one commit; a deadlock, which PostgreSQL undoes, is tried again here. Event ids may repeat within the batch: only the first is
 * stored. Left out are events of candidates whose rows somebody holds for seconds (an open transaction of an administrator, a stopped daemon): `held`. ST_CONFLICT also when
 * something else is held that the batch needs: singly, the others can be stored.
 */
int store_ingest(struct store *s, struct ingest_event *events, size_t count, struct errmsg *err) ATS_MUSTCHECK;
/* Whose session held the first of those that store_ingest, store_record or store_renew left out last, in words; "": the row did not tell. */
const char *store_held_by(const struct store *s);
int store_notify(struct store *s, struct errmsg *err) ATS_MUSTCHECK; /* wakes the dispatchers of other processes */

/* ---- queue */
struct claimed {
    const char *source, *connector, *ref, *external_id;
    int64_t version, lease_no, attempts;
    int64_t due_us;      /* when it was due: how long it waited */
    const char *sending; /* what was being sent when it was worked on last, and is not in the ledger; NULL: nothing */
    size_t index;        /* in the batch */
};
struct claim_batch {
    struct claimed *items;
    size_t count;
    int64_t now_us; /* the database's clock */
    struct arena *arena;
};
/*
 * How far claims of one connector and kind have come: who became due before since_us is passed over until until_ms (our monotonic clock), and looked for
 * again then. All zero: nothing was seen yet. Looking for all costs more the more was done since the oldest snapshot that somebody holds in the database;
 * so a claim costs the same while that goes on, and who became due out of order waits a second at most.
 */
struct claim_mark {
    int64_t since_us;
    int64_t until_ms;
};
/*
 * Leases up to limit due candidates of one connector ('' for those without one), the longest due first: those that failed before (retries), or the
 * others. mark is the caller's to keep from claim to claim; NULL: look for all.
 */
int store_claim(struct store *s, const char *connector, bool retries, const char *owner, int64_t lease_ms, size_t limit,
                struct claim_mark *mark, struct claim_batch *ret, struct errmsg *err) ATS_MUSTCHECK;
/* How far a walk through those that are due has come: at ("(block,row)") among those due at due_us. All zero: it begins. */
struct claim_walk {
    int64_t due_us;
    char at[32];
    bool at_end; /* the next one goes on a little before that end, and finds who has become due since */
};
/*
 * Of a connector whose calls wait: leases up to limit of the next due candidates that have something new to be worked out (events since they were planned last), so
 * that the views show it. What is read is bounded: call again until walk->at_end. Who had been passed already when something new came is found by
 * the next walk from the beginning.
 */
int store_claim_unplanned(struct store *s, const char *connector, bool retries, const char *owner, int64_t lease_ms,
                          size_t limit, struct claim_walk *walk, struct claim_batch *ret,
                          struct errmsg *err) ATS_MUSTCHECK;
void claim_batch_clear(struct claim_batch *b);
/*
 * Who holds a lease: "<instance>@<host>:<pid>:<start of the process>[/<worker>]", so that a restarted daemon can tell its own dead predecessor from a living
 * twin that was given the same name by mistake. Caller: mem_free.
 */
char *store_owner_name(const char *instance, unsigned worker); /* worker: of several in this process, from 0 */
/* Makes due at once what this owner and its dead predecessors of the same instance hold. Only while this owner has nothing in work. */
int store_take_back(struct store *s, const char *owner, struct errmsg *err) ATS_MUSTCHECK;
/*
 * Prolongs the leases of these candidates, those that have ended excepted: afterwards each lasts STORE_RENEWED_MS or longer. Not of those whose rows another session holds:
 * ret_held[i]. Sorts who before.
 */
#define STORE_RENEWED_MS(lease_ms) ((lease_ms) / 4 * 3)
int store_renew(struct store *s, const struct claimed **who, size_t count, int64_t lease_ms, bool *ret_held,
                struct errmsg *err) ATS_MUSTCHECK;
/* Gives claimed candidates back, unworked; one whose lease has passed to another is left alone, and one whose row another session holds: its lease ends by itself. Sorts items. */
struct put_back {
    const struct claimed *who;
    int64_t delay_ms; /* when it is due again, from now; -1: as it was */
    const char *error_class,
        *error; /* what is in the way: counts as a failed attempt, and is shown; NULL: nothing is */
};
int store_put_back(struct store *s, struct put_back *items, size_t count, struct errmsg *err) ATS_MUSTCHECK;
/* Candidates that were too large to be loaded ("too_large") become due: the limit may be another one now. */
int store_wake_too_large(struct store *s, struct errmsg *err) ATS_MUSTCHECK;
/*
 * Candidates that wait for an identity which is known by now become due: those that began to wait within the last seconds. Only for the
 * narrow case that nobody woke them, because they began to wait while the identity was being committed.
 */
int store_wake_identified(struct store *s, int64_t began_within_s, struct errmsg *err) ATS_MUSTCHECK;
/* Those without a connector who have one in this mapping become due: it may be another one than before the daemon was started. */
int store_wake_mapped(struct store *s, const struct mapping *m, struct errmsg *err) ATS_MUSTCHECK;
/* All candidates without a connector become due again, e.g. when the mapping changed. */
int store_wake_unrouted(struct store *s, struct errmsg *err) ATS_MUSTCHECK;

/* ---- what is known of the claimed candidates */
struct loaded {
    struct event *
        events; /* parsed; left out: a body that cannot be parsed any more, and what came late of a run that has been forgotten */
    size_t event_count;
    int64_t settled_us;      /* the latest event of the forgotten runs; 0: there are none */
    struct ledger_row *rows; /* by key */
    size_t row_count;
    const char **
        noted_elsewhere; /* keys of notes that other connectors have written, or may have: see ledger_noted_elsewhere */
    size_t noted_count;
    /* the aliases of this candidate's identity; for a ref without external id: what it stands for */
    const char *resolved_ref, *resolved_external_id;
    bool identity_conflict;
};
/*
 * *ret: one entry per claimed candidate, in the batch's arena; or NULL: all of them together have events of more than max_bytes (each counted 1 KiB more
 * than its body has), or such as take more than STORE_LOAD_MEMORY of it, and nothing was loaded. One candidate alone is then too large.
 */
#define STORE_LOAD_MEMORY(max_bytes) (4 * (size_t)(max_bytes))
int store_load(struct store *s, const struct claim_batch *b, int64_t max_bytes, struct loaded **ret,
               struct errmsg *err) ATS_MUSTCHECK;

/* Workflow ids and the external ids that events told of them, WORKFLOW_NAMES_MAX at most: who has the signing secret can invent any number. */
enum { WORKFLOW_NAMES_MAX = 10000 };
struct workflow_name_row {
    const char *source, *workflow_id, *external_id;
};
int store_workflow_names(struct store *s, struct arena *arena, struct workflow_name_row **ret, size_t *ret_count,
                         struct errmsg *err) ATS_MUSTCHECK;

/* ---- recording: one transaction for a whole batch of candidates, each guarded by its lease number */
struct record_result { /* what became of a write that was to be sent */
    const struct ledger_item *item;
    struct verdict verdict;
    long http_status;
    const char *error;  /* "" if none */
    bool not_attempted; /* the call was not made: it does not count as an attempt */
};
struct record_call {
    const char *verb, *method, *path, *outcome, *error;
    long http_status;
    int64_t duration_us;
    int64_t ago_ms; /* how long ago it ended */
};
struct record_route { /* a candidate at another connector (or another ref) that has to be looked at */
    const char *connector, *ref, *external_id;
    bool only_if_new; /* only if it has never been looked at there */
};
struct record {
    const struct claimed *who;
    /* plan phase; or, with the results, of one whose calls were made without intents (ledger_needs_intent) */
    const struct run_set *runs;    /* NULL: do not touch the run table */
    const struct mapping *mapping; /* for job and connector of the runs */
    const struct workflow_names *names;
    const struct event *events; /* contact events and published versions go to their tables */
    size_t event_count;
    const struct record_route *routes;
    size_t route_count;
    /* both: what the plan phase records of it before anything is sent, and what the list of what is being sent must keep. NULL: nothing */
    const struct ledger_diff *diff;
    /* result phase */
    const struct record_result *results;
    size_t result_count;
    const struct record_call *calls;
    size_t call_count;
    /* release */
    bool release;
    bool waits;              /* its connector does: only its lease ends, and all that is said of it stays */
    const char *state;       /* pending, retrying, synced, … */
    int64_t next_due_ms;     /* from now; INT64_MAX: nothing to do before something happens */
    bool failed;             /* something has to be tried again: counts as an attempt of the candidate */
    bool synced;             /* everything up to who->version is done: last_synced_at is set */
    const char *error_class; /* NULL: none */
    const char *error;
    bool forget; /* the row has served (resolved into another): delete it */
    bool
        held; /* out: another session holds a row that this needs (store_held_by): nothing of it was recorded, it may be tried again; lost, too */
    bool lost;   /* out: the lease was not ours any more: only the calls that were made were recorded */
    bool erased; /* out: and not even these, because the person was erased meanwhile (store/erase.h) */
};
/* All but those that are held: in one transaction, or each in one of its own if somebody holds rows of other tables than the queue. */
int store_record(struct store *s, struct record *records, size_t count, struct errmsg *err) ATS_MUSTCHECK;

/* ---- connectors */
struct store_changed {
    const char *connector;
    const char *hash;   /* of its mapping and settings, as they are now */
    int64_t noticed_us; /* the database's clock */
};
/*
 * Makes sure that every configured connector has a row. *ret, in the arena: those whose configuration is another one than the tables know. For each of them an open breaker
 * is closed (store_connector_closed), what failed because of it and what waits to be tried again is woken (store_connector_changed, until it finds nobody), and then the
 * configuration is adopted: who is interrupted before begins anew.
 */
int store_connector_register(struct store *s, const struct config *c, struct arena *arena, struct store_changed **ret,
                             size_t *ret_count, struct errmsg *err) ATS_MUSTCHECK;
int store_connector_closed(struct store *s, const char *connector, bool *ret,
                           struct errmsg *err) ATS_MUSTCHECK; /* *ret: it was open */
/* A thousand of each kind at most, and nobody twice; *ret_found with none woken: somebody holds their rows, to be tried later. */
int store_connector_changed(struct store *s, const struct store_changed *changed, int64_t *ret_found,
                            int64_t *ret_woken, struct errmsg *err) ATS_MUSTCHECK;
int store_connector_adopt(struct store *s, const char *connector, const char *hash, struct errmsg *err) ATS_MUSTCHECK;
int store_connector_throttle(struct store *s, const char *connector, int64_t ms, const char *reason,
                             struct errmsg *err) ATS_MUSTCHECK;
/* hint: what a person can do about it. */
int store_connector_pause(struct store *s, const char *connector, const char *reason, const char *hint,
                          const char *config_hash, struct errmsg *err) ATS_MUSTCHECK;
struct connector_status_row {
    const char *connector, *state, *config_hash;
    int64_t until_ms; /* from now; 0 or less: over */
    bool paused_by_operator;
};
int store_connector_states(struct store *s, struct arena *arena, struct connector_status_row **ret, size_t *ret_count,
                           struct errmsg *err) ATS_MUSTCHECK;
/* Adds to the counts of the breaker's window; *ret_* are those of all daemons. ST_NOT_FOUND: no such connector. */
struct breaker_counts {
    int64_t calls, failures, opens;
    bool is_open;
};
int store_connector_outcomes(struct store *s, const char *connector, int64_t calls, int64_t failures,
                             struct breaker_counts *ret, struct errmsg *err) ATS_MUSTCHECK;
/* Counts requests against a daily quota. *ret_used: of today (UTC), by all daemons; *ret_left_ms: until midnight. */
int store_connector_quota(struct store *s, const char *connector, int64_t requests, int64_t *ret_used,
                          int64_t *ret_left_ms, struct errmsg *err) ATS_MUSTCHECK;
/*
 * Nothing is tried for so long. is_probe: because the candidate that was let through to try failed; else *ret is false and nothing changes when it is
 * open already, as calls that were under way when it opened say nothing new.
 */
int store_connector_open(struct store *s, const char *connector, int64_t ms, const char *reason, bool is_probe,
                         bool *ret, struct errmsg *err) ATS_MUSTCHECK;
/* The right to try one candidate of an open connector: *ret is true for one daemon only. */
int store_connector_probe(struct store *s, const char *connector, bool *ret, struct errmsg *err) ATS_MUSTCHECK;
/* *ret_others: how many other daemons deliver at this moment. */
int store_daemon_beat(struct store *s, const char *owner, int64_t *ret_others, struct errmsg *err) ATS_MUSTCHECK;
int store_daemon_leave(struct store *s, const char *owner, struct errmsg *err) ATS_MUSTCHECK;
/*
 * Ends database sessions of daemons that were stopped in the middle of sending a transaction, and have sent nothing more for so long: their rows could not be changed by anybody until they go on. Told
 * one by one with the session's application name, "atsyncd INSTANCE THREAD", which is valid in the call only.
 */
int store_end_stalled(struct store *s, int64_t stalled_ms, void (*ended)(void *ctx, const char *session), void *ctx,
                      struct errmsg *err) ATS_MUSTCHECK;
/* Ends an automatic pause, wait, or open breaker. Who waited for that is woken by store_connector_wake. */
int store_connector_ok(struct store *s, const char *connector, struct errmsg *err) ATS_MUSTCHECK;
/*
 * A connector that waited goes on: up to a thousand of those that would be tried later become due, each once. To be repeated until *ret_woken is 0. *since_us, the
 * database's clock: since when it goes on; set here if it is INT64_MIN.
 */
int store_connector_wake(struct store *s, const char *connector, int64_t *since_us, int64_t *ret_woken,
                         struct errmsg *err) ATS_MUSTCHECK;

#endif
