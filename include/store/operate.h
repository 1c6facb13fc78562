/*
 * operate - what an operator does with candidates, dead writes, identities and connectors (atsyncctl).
 *
 * Same rules as store.h: one transaction each, one thread at a time. A filter's NULL members mean "any".
 */
#ifndef ATSYNC_STORE_OPERATE_H
#define ATSYNC_STORE_OPERATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "store/store.h"

struct filter {
    const char *candidate; /* external id */
    const char *connector;
    const char *workflow;    /* external id */
    int64_t since_us;        /* INT64_MIN: any time. Of candidates: their last event; of writes: their last attempt */
    const char *error_class; /* dead writes only */
};

/* Candidates with an external id, in key order, `limit` of them after (after_source, after_ref) (NULL: from the beginning); connector of the items is NULL,
 * nothing is leased. For a dry run: give the items connectors, then store_load. */
int store_peek(struct store *s, const struct filter *f, const char *after_source, const char *after_ref, size_t limit,
               struct claim_batch *ret, struct errmsg *err) ATS_MUSTCHECK;

/* What a filter fits, before anything is done. */
struct fit {
    const char *connector;   /* '' while none is known; NULL in the sum */
    const char *error_class; /* of dead writes; NULL elsewhere */
    int64_t writes;          /* dead ones; 0 where candidates are counted */
    int64_t candidates;
};
struct fits {
    struct fit total;
    struct fit *items; /* the most first */
    size_t count;
};
/* In the arena. */
int store_count_dead(struct store *s, const struct filter *f, struct arena *arena, struct fits *ret,
                     struct errmsg *err) ATS_MUSTCHECK;
int store_count_resync(struct store *s, const struct filter *f, struct arena *arena, struct fits *ret,
                       struct errmsg *err) ATS_MUSTCHECK;

/*
 * What may touch a million rows goes on page by page, each a transaction of its own, so that no daemon waits long for a
 * lock: zero the struct, call until `over`, then pages_clear. A page that met somebody else's lock the wrong way round
 * is tried again. After a failure the pages before are done; beginning anew does the rest.
 */
struct pages {
    int64_t done; /* so far: writes, for store_resync candidates */
    bool over;
    char *source, *connector, *ref; /* store_resync: where the last page ended */
    bool has_begun;                 /* the others: when; what has died since is not theirs */
    int64_t began_us;
};
void pages_clear(struct pages *p);
int store_resync(struct store *s, const struct filter *f, struct pages *p, struct errmsg *err) ATS_MUSTCHECK;
/* f names a connector that no configuration has any more: what was not written there is given up, and its candidates are looked at where their workflows lead now. */
int store_resync_gone(struct store *s, const struct filter *f, struct pages *p, struct errmsg *err) ATS_MUSTCHECK;
int store_retry_dead(struct store *s, const struct filter *f, struct pages *p, struct errmsg *err) ATS_MUSTCHECK;
int store_skip_dead(struct store *s, const struct filter *f, struct pages *p, struct errmsg *err) ATS_MUSTCHECK;

/* alias: subject_key('p', profile), ('r', run) or ('c', contact). *ret: how many candidates waited under it.
 * ST_CONFLICT: the person was erased. */
int store_link(struct store *s, const char *source, const char *alias, const char *external_id, int64_t *ret,
               struct errmsg *err) ATS_MUSTCHECK;
int store_connector_hold(struct store *s, const char *connector, const char *reason, struct errmsg *err) ATS_MUSTCHECK;
/* *ret: 0 if it was not paused, throttled or open. */
int store_connector_resume(struct store *s, const char *connector, int64_t *ret, struct errmsg *err) ATS_MUSTCHECK;

#endif
