/*
 * retention - forgets in the background what is over age (configuration: retention), a little at a time.
 *
 * It works a third of the time at most, in transactions of some 40 ms, so that receiving and delivering go on beside
 * it. When all is done that can be done it looks again after half a minute, or later when much was looked at in vain. Of
 * several daemons one works at a time; after a restart it goes on where there is something left. What it did is counted in
 * atsyncd_forgotten_total and told in the log. What is forgotten, and how, is in store/retention.h.
 *
 * Thread: one of its own, with its own database connection.
 */
#ifndef ATSYNC_SERVICE_RETENTION_H
#define ATSYNC_SERVICE_RETENTION_H

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"

struct retention;

struct retention *retention_new(struct config *c);
int retention_start(struct retention *r, struct errmsg *err) ATS_MUSTCHECK;
void retention_reload(struct retention *r, struct config *c);
void retention_stop(struct retention *r); /* what is under way is finished: a few hundred events */
void retention_join(struct retention *r);
void retention_free(struct retention *r); /* stops and joins if that was not done; NULL is harmless */

#endif
