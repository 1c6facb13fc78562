/*
 * overseer - looks at the whole every few seconds: opens and closes issues, sets the gauges that come from the database, writes down what this
 * process did in each minute, and ends the database sessions of daemons that were stopped while they held rows.
 *
 * Any number of daemons may do it; the issues are kept by whoever gets the lock. The interval grows with the time that a look takes, so that looking never costs
 * more than a few percent of the database.
 *
 * Thread: one of its own, with its own database connection.
 */
#ifndef ATSYNC_SERVICE_OVERSEER_H
#define ATSYNC_SERVICE_OVERSEER_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "store/issues.h"

struct overseer;
struct metric;

/* own: fills in what only this process can see; called in the overseer's thread; returns how many of at most `room`. Texts must live until the next call. */
typedef size_t (*overseer_own)(void *ctx, struct problem *ret, size_t room);

struct overseer *overseer_new(struct config *c, overseer_own own, void *ctx);
int overseer_start(struct overseer *o, struct errmsg *err) ATS_MUSTCHECK;
void overseer_reload(struct overseer *o, struct config *c);
void overseer_stop(struct overseer *o);
void overseer_join(struct overseer *o);
/* Any thread: a migration that this release must not work with was made since the start (looked for every few seconds). */
bool overseer_schema_is_too_new(struct overseer *o) ATS_MUSTCHECK;
/* The gauge that tells whether the database can be used: 0 until an overseer has been there. */
struct metric *overseer_database_gauge(void);
void overseer_free(struct overseer *o); /* stops and joins if that was not done; NULL is harmless */

#endif
