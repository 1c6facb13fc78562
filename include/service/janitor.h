/*
 * janitor - what has to be done every few seconds: the service manager's watchdog, gauges, the counts of repeated log
 * lines.
 *
 * Thread: one of its own; refresh is called in it.
 */
#ifndef ATSYNC_SERVICE_JANITOR_H
#define ATSYNC_SERVICE_JANITOR_H

#include "base/compiler.h"
#include "base/status.h"

struct janitor;

struct janitor *janitor_new(void (*refresh)(void *ctx), void *ctx); /* refresh: sets gauges; must not wait */
int janitor_start(struct janitor *j, struct errmsg *err) ATS_MUSTCHECK;
void janitor_stop(struct janitor *j);
void janitor_join(struct janitor *j);
void janitor_free(struct janitor *j); /* stops and joins if that was not done; NULL is harmless */

#endif
