/*
 * receiver - POST /webhooks/<source>: signature over the raw bytes, envelope, store, and only then the answer
 * (interface.md section 3).
 *
 * Thread: its HTTP server's one thread handles requests; answers come from ingest's writer thread.
 */
#ifndef ATSYNC_SERVICE_RECEIVER_H
#define ATSYNC_SERVICE_RECEIVER_H

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "domain/issue.h"
#include "service/ingest.h"

struct receiver;

/* wake_dispatcher (may be NULL) is called after a batch with new events. Binds the address. */
int receiver_new(struct config *c, void (*wake_dispatcher)(void *ctx), void *ctx, struct receiver **ret,
                 struct errmsg *err) ATS_MUSTCHECK;
int receiver_start(struct receiver *r, struct errmsg *err) ATS_MUSTCHECK;
/* New secrets, organizations, mapping (for routing), certificate, limits; the listen address stays. On failure nothing
 * has changed. */
int receiver_reload(struct receiver *r, struct config *c, struct errmsg *err) ATS_MUSTCHECK;
unsigned receiver_port(const struct receiver *r);
enum ingest_state receiver_database(struct receiver *r, struct errmsg *ret_reason); /* as ingest_state */
/* What only this process knows to be wrong (refused signatures); texts live as long as the receiver. */
size_t receiver_problems(struct receiver *r, struct problem *ret, size_t room);
void receiver_refresh_gauges(struct receiver *r);
void receiver_stop(struct receiver *r); /* no new requests; those under way are answered. Waits half a second at most */
void receiver_join(struct receiver *r); /* until everything accepted is written */
void receiver_free(struct receiver *r); /* NULL is harmless */

#endif
