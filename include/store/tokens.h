/*
 * tokens - where the tokens of connectors are kept, and the lease under which one daemon of all renews them.
 *
 * Same rules as store.h. Knows sealed texts only: what is in them is service/tokens.h's business.
 */
#ifndef ATSYNC_STORE_TOKENS_H
#define ATSYNC_STORE_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "store/store.h"

struct token_row {
    int64_t version; /* raised by every save; 0: nothing was ever stored */
    char *seed;      /* which first token it all began with; NULL: nothing is stored */
    char *sealed;    /* NULL likewise */
    bool is_ours;    /* the lease */
};
void token_row_clear(struct token_row *row);
/* Takes the lease if nobody else has it, or prolongs our own. *ret is filled either way: token_row_clear. */
int store_token_claim(struct store *s, const char *connector, const char *owner, int64_t lease_ms,
                      struct token_row *ret, struct errmsg *err) ATS_MUSTCHECK;
/* Without asking for the lease. ST_NOT_FOUND: there is no row yet. */
int store_token_read(struct store *s, const char *connector, struct token_row *ret, struct errmsg *err) ATS_MUSTCHECK;
/* Replaces version `version` by `version` + 1. ST_CONFLICT: somebody else has saved meanwhile, nothing was changed. */
int store_token_save(struct store *s, const char *connector, int64_t version, const char *seed, const char *sealed,
                     bool release, struct errmsg *err) ATS_MUSTCHECK;
/* Calls fn with each sealed text there is. */
int store_token_list(struct store *s, void (*fn)(void *ctx, const char *connector, int64_t version, const char *sealed),
                     void *ctx, struct errmsg *err) ATS_MUSTCHECK;
/* The same tokens, sealed anew: no new version. ST_CONFLICT: others were stored meanwhile, nothing was changed. */
int store_token_reseal(struct store *s, const char *connector, int64_t version, const char *old, const char *sealed,
                       struct errmsg *err) ATS_MUSTCHECK;
int store_token_release(struct store *s, const char *connector, const char *owner, struct errmsg *err) ATS_MUSTCHECK;

#endif
