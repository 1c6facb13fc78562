/*
 * views - what people ask: the answers of the views as JSON rows, and the ledger's values for a dry run. Nothing here
 * changes anything.
 *
 * Same rules as store.h. A row is an object whose members are the view's columns; times are texts in UTC. Rows come in
 * an array that the caller frees (json_free). Values hold candidates' own words: escape them before a terminal sees
 * them.
 */
#ifndef ATSYNC_STORE_VIEWS_H
#define ATSYNC_STORE_VIEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "lib/json.h"
#include "store/store.h"

int store_now(struct store *s, int64_t *ret_us, struct errmsg *err) ATS_MUSTCHECK; /* the database's clock */

int store_show_queue(struct store *s, struct json **ret, struct errmsg *err) ATS_MUSTCHECK; /* queue_health: one row */
int store_show_connectors(struct store *s, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
int store_show_issues(struct store *s, bool closed_too, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
/* candidate: an external id; a reference ("p:cp_1") for who waits for one. */
int store_show_sync(struct store *s, const char *candidate, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
int store_show_writes(struct store *s, const char *candidate, struct json **ret,
                      struct errmsg *err) ATS_MUSTCHECK; /* pending and dead ones */
int store_show_timeline(struct store *s, const char *candidate, size_t limit, struct json **ret,
                        struct errmsg *err) ATS_MUSTCHECK;
/* What has happened after this time: rows with at, kind (event, call, write, issue), source, candidate_external_id,
 * summary, detail. A commit that takes long brings rows with older times, so ask again from a little earlier. */
int store_show_news(struct store *s, int64_t since_us, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;

/* ---- for the status page */
int store_show_newest(struct store *s, size_t limit, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
/* Rows of sync_status with "since", the longest blocked first. */
int store_show_blocked(struct store *s, size_t limit, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
int store_show_daemons(struct store *s, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
int store_show_hour(struct store *s, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;  /* one row: the last hour */
int store_show_hours(struct store *s, struct json **ret, struct errmsg *err) ATS_MUSTCHECK; /* each of the last 24 */
/* One array a minute: Unix time, events, refused, writes, failed_writes, calls, failed_calls, synced, lag_seconds,
 * longest_lag_seconds (the last two may be null). */
int store_show_activity(struct store *s, int64_t hours, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
/* Personal data: what somebody answered, and where he or she can be reached. */
int store_show_answers(struct store *s, const char *candidate, size_t limit, struct json **ret,
                       struct errmsg *err) ATS_MUSTCHECK;
int store_show_contacts(struct store *s, const char *candidate, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
/* Who is meant: by external id, profile id, run id, or reference. An array of texts (external ids, references of those
 * without one), the likeliest first; several if runs or profiles of several sources have this id. */
int store_find_candidate(struct store *s, const char *words, const struct config *c, struct json **ret,
                         struct errmsg *err) ATS_MUSTCHECK;

struct ledger_value { /* the live row of a key, as people want to see it */
    const char *key, *kind, *target, *value, *state;
    const char *error, *workflow_external_id, *run_id, *event_id; /* NULL: none */
    const char *reason;
    int64_t line;
    int64_t next_attempt_us;                  /* INT64_MIN: none */
    const char *applied_kind, *applied_value; /* what was applied last under this key; NULL: nothing */
};
struct ledger_values {
    struct ledger_value *items; /* by key */
    size_t count;
};
/* One entry per item of the batch, in the batch's arena. */
int store_load_values(struct store *s, const struct claim_batch *b, struct ledger_values **ret,
                      struct errmsg *err) ATS_MUSTCHECK;

#endif
