/*
 * inquiry - which runs are to be asked for at a source's API, and how that API is to be treated; shared by all daemons.
 *
 * Same rules as store.h: one transaction each, one thread at a time.
 */
#ifndef ATSYNC_STORE_INQUIRY_H
#define ATSYNC_STORE_INQUIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "domain/event.h"
#include "store/store.h"

struct inquiry { /* a run; texts in the arena that was given */
    const char *run_id, *ref;
    const char *workflow_id; /* NULL: not known */
    int64_t asked;           /* how often, this time included */
    bool is_over;            /* it has ended, and nodes are missing */
    int64_t now_us;          /* the database's clock */
};
struct inquiry_terms {
    int64_t silent_ms; /* how long a run without an end has to be silent, */
    int64_t over_ms;   /* and one with missing nodes */
    int64_t lease_ms;  /* so long nobody else asks */
    size_t limit;
};
int store_inquiry_claim(struct store *s, const char *source, const struct inquiry_terms *terms, struct arena *arena,
                        struct inquiry **ret, size_t *ret_count, struct errmsg *err) ATS_MUSTCHECK;
/* All events of the run's candidate, in any order. *ret NULL: they are too large (store_load). */
int store_inquiry_events(struct store *s, const char *source, const struct inquiry *q, struct arena *arena,
                         int64_t max_bytes, struct event **ret, size_t *ret_count, struct errmsg *err) ATS_MUSTCHECK;
/* It has not had its turn: as before it was claimed. */
int store_inquiry_put_back(struct store *s, const char *source, const char *run_id, struct errmsg *err) ATS_MUSTCHECK;
/* When it is asked for again, from now; less than 0: not any more. */
int store_inquiry_again(struct store *s, const char *source, const char *run_id, int64_t ms,
                        struct errmsg *err) ATS_MUSTCHECK;

/* Says that we are there. *ret_wait_ms: nothing may be asked for so long. Other settings (fingerprint) begin anew. */
int store_api_beat(struct store *s, const char *source, const char *fingerprint, int64_t *ret_wait_ms,
                   struct errmsg *err) ATS_MUSTCHECK;
/* The right to one request; false: those of today are used up. */
int store_api_take(struct store *s, const char *source, int64_t per_day, bool *ret, struct errmsg *err) ATS_MUSTCHECK;
struct api_trouble {
    const char *problem; /* key, answer, unavailable, limit; NULL: all is well */
    const char *error;   /* in words */
    int64_t first_ms, cap_ms, at_least_ms;
};
int store_api_tell(struct store *s, const char *source, const struct api_trouble *t, struct errmsg *err) ATS_MUSTCHECK;

#endif
