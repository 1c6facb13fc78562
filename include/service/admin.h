/*
 * admin - the listener for operators and machines: health, readiness, metrics, status (interface.md section 4).
 *
 * Thread: an HTTP thread answers what needs no database (health, metrics) and never waits; the rest is handed to workers
 * with database connections of their own, one for probes and one for the page, so that neither a database that hangs
 * nor a long list makes the daemon look dead.
 */
#ifndef ATSYNC_SERVICE_ADMIN_H
#define ATSYNC_SERVICE_ADMIN_H

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "connector/module.h"

struct admin;

/* What must hold for readiness besides a database that answers: ST_OK, or anything else with the reason. Any thread,
 * must not wait. */
typedef int (*admin_ready_fn)(void *ctx, struct errmsg *reason);

/* *ret is NULL, with ST_OK, when the configuration says "none". Binds the address. */
int admin_new(struct config *c, struct connector_set *connectors, admin_ready_fn ready, void *ctx, struct admin **ret,
              struct errmsg *err) ATS_MUSTCHECK;
/* All that follow: NULL is harmless. */
int admin_start(struct admin *a, struct errmsg *err) ATS_MUSTCHECK;
void admin_reload(struct admin *a, struct config *c, struct connector_set *connectors); /* another token */
unsigned admin_port(const struct admin *a);                                             /* 0 for NULL */
void admin_stop(struct admin *a);
void admin_join(struct admin *a);
void admin_free(struct admin *a); /* stops and joins if that was not done */

#endif
