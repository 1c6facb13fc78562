/*
 * storekit - what the database tests stand on beside the harness: a store on the test's own database, events put in as
 * the receiver does, and a dispatcher that folds, plans and records for real, but makes no call: the test says what the
 * ATS would have answered.
 *
 * Every function fails the running test by itself when the store refuses. One thread only.
 */
#ifndef ATSYNC_TESTS_STOREKIT_H
#define ATSYNC_TESTS_STOREKIT_H

#include "lib/harness.h"

#include "config/config.h"
#include "store/store.h"

/* What the ATS says to a write; NULL: it takes everything. res is set to "applied" with status 200 before. */
typedef void (*kit_answer)(const struct ledger_item *item, struct record_result *res);

struct kit {
    struct harness *h;
    struct config *config;
    struct store *store;
    char *owner;
    int64_t lease_ms;
    kit_answer answer;
    bool goes_ahead; /* who needs no intent is recorded with the results only */
    bool dies;       /* between intent and result: the candidates stay leased */
    bool waits;      /* the connector: no calls are made */
};

#define KIT_WORKFLOW "cedar-rgn-screening"
/* The schema is brought up to date. workflows: YAML below `workflows`, indented by two; NULL: KIT_WORKFLOW at connector "ats", job 182736,
 * with a stage at started and completed/PASSED_CRITERIA, a tag, a note and two fields. The other connector is "spare". */
struct kit *kit_open(struct harness *h, const char *workflows);
void kit_configure(struct kit *k, const char *workflows); /* as after a reload; the store stays */
void kit_close(struct kit *k);
struct store *kit_store(struct kit *k, const char *role);            /* one more connection; store_free */
struct config *kit_config(struct harness *h, const char *workflows); /* config_unref */

/* true: stored; false: was there before. */
bool kit_put(struct kit *k, const char *body);
bool kit_put_bytes(struct kit *k, const char *body, size_t len);
/* Works until no candidate is due; returns how many were worked on. */
size_t kit_work(struct kit *k);
void kit_resync(struct kit *k);                                  /* everybody is due */
size_t kit_work_connector(struct kit *k, const char *connector); /* one claim only: first attempts, then retries */

/* The query's one value is this; NULL: null or no row. */
void assert_sql(struct harness *h, const char *query, const char *expected);
/* As ST_OK, with the message if not. */
void assert_done(int st, const struct errmsg *err);

#endif
