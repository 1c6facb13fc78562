/*
 * tokens - signs in at the ATSs that want it, renews what they gave, and keeps it.
 *
 * One thread with its own database connection and its own HTTP client; sign-ins of several connectors run side by side. One
 * daemon of all renews a connector's tokens at a time, under a lease in the database; the others wait and read what it got.
 * A refresh token that was given anew is committed before anything else is sent or used. What is stored is sealed with a
 * key made of database.encryption_key; what an older key of that list has sealed is sealed anew after the start.
 *
 * The one window that no client can close: the ATS has replaced the refresh token, and its answer or this process is lost
 * before it is stored. The old one is tried again then, and if it is refused the connector stops with the advice to
 * authorise anew.
 *
 * Credentials that are refused stop the connector (connector_state), as a refused call does. Failures of other kinds are
 * tried again when somebody asks, after a growing time.
 */
#ifndef ATSYNC_SERVICE_TOKENS_H
#define ATSYNC_SERVICE_TOKENS_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "connector/auth.h"
#include "connector/module.h"

struct tokens;

/* changed: called in the thread of tokens whenever asking again may give another answer; must not wait. */
struct tokens *tokens_new(struct config *c, struct connector_set *connectors, void (*changed)(void *ctx), void *ctx);
int tokens_start(struct tokens *t, struct errmsg *err) ATS_MUSTCHECK;
void tokens_reload(struct tokens *t, struct config *c, struct connector_set *connectors); /* any thread */

enum tokens_answer { TOKENS_READY, TOKENS_WAIT, TOKENS_FAILED };
struct tokens_failure {
    char error_class[24]; /* as in struct auth_failure */
    char message[512];
    int64_t retry_after_ms; /* -1: the ATS did not say */
};
/*
 * Any thread, never waits. refused: the serial of a grant that the ATS did not accept any more; 0: none was refused.
 * TOKENS_READY: *ret is a reference to a grant that is newer than that. TOKENS_WAIT: it is being got, `changed` will be
 * called.
 */
enum tokens_answer tokens_get(struct tokens *t, const char *connector, int64_t refused, struct auth_grant **ret,
                              struct tokens_failure *failure);

void tokens_stop(struct tokens *t); /* sign-ins under way are finished and stored */
void tokens_join(struct tokens *t);
void tokens_free(struct tokens *t); /* stops and joins if that was not done; NULL is harmless */

#endif
