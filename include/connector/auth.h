/*
 * auth - proving to an ATS who we are: from meta.auth (connector/meta.h) and the configured credentials to the headers of
 * every request, by way of tokens where a kind gets them.
 *
 * Pure: who drives it makes the requests, keeps what was got and holds a lock while it is renewed (service/tokens.h).
 * Nothing here ends in a log: failures are sentences without credentials and tokens.
 *
 * Thread: a struct auth and a struct auth_grant are immutable and shared; the others belong to one thread at a time.
 */
#ifndef ATSYNC_CONNECTOR_AUTH_H
#define ATSYNC_CONNECTOR_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "connector/module.h"
#include "connector/request.h"
#include "lib/httpc.h"
#include "lib/json.h"

/* ---- headers that need no token */
enum { AUTH_HEADERS_MAX = 4 };
struct auth_headers {
    struct httpc_header items[AUTH_HEADERS_MAX];
    char *values[AUTH_HEADERS_MAX]; /* what items point to */
    size_t count;
};
/* meta.auth with the connector's credentials put in. ST_INVALID names the missing credential, or says that the kind gets
 * tokens. Names live as long as the module; values are wiped by auth_headers_clear. */
int auth_headers_make(const struct connector_module *m, const struct connector_config *connector,
                      struct auth_headers *ret, struct errmsg *err) ATS_MUSTCHECK;
void auth_headers_clear(struct auth_headers *h);

/* ---- how one connector authenticates */
bool auth_gets_tokens(const struct json *meta);
/* Whether a status says that tokens are not accepted any more, beside 401. */
bool auth_is_invalid_status(const struct json *meta, long status);

struct auth;
/* Holds references to the module and the configuration, whose member connector is. ST_INVALID: a credential cannot be
 * used. */
int auth_new(struct connector_module *m, struct config *config, const struct connector_config *connector,
             struct auth **ret, struct errmsg *err) ATS_MUSTCHECK;
void auth_free(struct auth *a);                                      /* NULL is harmless */
const struct connector_config *auth_connector(const struct auth *a); /* lives as long as a, as does the module */
struct connector_module *auth_module(const struct auth *a);
/* Digests (hex, live as long as a): of the first refresh token ("" if there is none), and of all that tokens depend on.
 * Tokens made under another first token are worthless; under another configuration only their refresh token counts. */
const char *auth_seed(const struct auth *a);
const char *auth_digest(const struct auth *a);

/* ---- tokens: what signing in gave */
struct auth_tokens;
/* From the text that auth_tokens_text made. ST_INVALID: it is not such a text, or of a later version. */
int auth_tokens_parse(const char *text, struct auth_tokens **ret, struct errmsg *err) ATS_MUSTCHECK;
char *auth_tokens_text(const struct auth_tokens *t); /* secret: mem_free_secret */
void auth_tokens_free(struct auth_tokens *t);        /* NULL is harmless */
struct auth_tokens *auth_tokens_copy(const struct auth_tokens *t);
/* Made by this configuration, complete, and not about to end. NULL is not usable. */
bool auth_tokens_usable(const struct auth *a, const struct auth_tokens *t, int64_t now_us);
/* When they have to be renewed even if nobody needs them (keep_alive_ms); INT64_MAX: never. */
int64_t auth_tokens_keep_alive_us(const struct auth *a, const struct auth_tokens *t);

/* ---- signing in or renewing: one request or several */
struct auth_run;
enum auth_next {
    AUTH_SEND,   /* send auth_run_request(), then auth_run_answer() */
    AUTH_STORE,  /* the refresh token is another one: keep auth_run_tokens() durably, then auth_run_stored() */
    AUTH_DONE,   /* auth_run_tokens() are complete: keep them durably, then use them */
    AUTH_FAILED, /* auth_run_failure() */
};
struct auth_failure {
    const char *error_class; /* credentials, configuration, unavailable, rate_limited or bad_answer */
    const char *message;     /* a sentence for people */
    int64_t retry_after_ms;  /* -1: the ATS did not say */
};
/* known: what was kept; NULL: nothing. a must outlive the run. Never fails: what is wrong shows as AUTH_FAILED. */
struct auth_run *auth_run_new(const struct auth *a, const struct auth_tokens *known);
void auth_run_free(struct auth_run *r); /* NULL is harmless */
enum auth_next auth_run_next(const struct auth_run *r);
const struct request *auth_run_request(const struct auth_run *r); /* until the next auth_run_answer */
void auth_run_answer(struct auth_run *r, const struct httpc_response *response, int64_t now_us);
void auth_run_stored(struct auth_run *r);
const struct auth_tokens *auth_run_tokens(const struct auth_run *r);
const struct auth_failure *auth_run_failure(const struct auth_run *r); /* texts live as long as the run */

/* ---- what a request needs */
struct auth_grant {
    int64_t serial; /* of the tokens: the higher the newer; 0: without tokens */
    struct auth_headers headers;
    char *base_url; /* instead of the connector's own; NULL: none */
    char **secrets; /* texts that must not be shown */
    size_t secret_count;
};
/* tokens: usable ones, or NULL for a kind without. ST_DENIED: the base URL in them leads to a foreign host; ST_INVALID:
 * they cannot stand in a header. */
int auth_grant_make(const struct auth *a, const struct auth_tokens *tokens, int64_t serial, struct auth_grant **ret,
                    struct errmsg *err) ATS_MUSTCHECK;
struct auth_grant *auth_grant_ref(struct auth_grant *g);
void auth_grant_unref(struct auth_grant *g); /* the last one wipes it; NULL is harmless */

#endif
