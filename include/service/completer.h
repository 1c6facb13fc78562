/*
 * completer - asks Popp's API for runs that its webhooks left incomplete, and stores what it says as the event that would have completed them.
 *
 * Only for sources that have an API key (sources.NAME.api): for others nothing is ever asked, and without any the thread sleeps. Which runs, when
 * again, and how much in a day is kept in the database and shared by all daemons. One request at a time.
 *
 * Thread: one of its own, with its own database connection and HTTP client.
 */
#ifndef ATSYNC_SERVICE_COMPLETER_H
#define ATSYNC_SERVICE_COMPLETER_H

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"

struct completer;

/* wake: called in its thread when an event was stored. */
struct completer *completer_new(struct config *c, void (*wake)(void *ctx), void *ctx);
int completer_start(struct completer *c, struct errmsg *err) ATS_MUSTCHECK;
void completer_reload(struct completer *c, struct config *config);
void completer_stop(struct completer *c); /* a request under way is dropped */
void completer_join(struct completer *c);
void completer_free(struct completer *c); /* stops and joins if that was not done; NULL is harmless */

#endif
