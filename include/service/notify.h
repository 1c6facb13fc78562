/*
 * notify - listens for other processes' word that events were stored, and wakes the dispatcher.
 *
 * Only a shortcut: the dispatcher polls anyway, so a connection that cannot be had is tried again quietly and never an
 * error. It must not go through a pooler in transaction mode: database.listen_conninfo is the way around it. Behind a
 * pooler nothing is listened for, which is said once.
 *
 * Thread: one of its own.
 */
#ifndef ATSYNC_SERVICE_NOTIFY_H
#define ATSYNC_SERVICE_NOTIFY_H

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"

struct notify;

struct notify *notify_new(const struct config *c, void (*wake)(void *ctx), void *ctx);
int notify_start(struct notify *n, struct errmsg *err) ATS_MUSTCHECK;
void notify_stop(struct notify *n);
void notify_join(struct notify *n);
void notify_free(struct notify *n); /* stops and joins if that was not done; NULL is harmless */

#endif
