/*
 * dispatcher - the reconciler: claims due candidates, works out what the ATS should hold, has it delivered, records the result.
 *
 * Three threads: this one claims, loads, folds, plans, diffs and records intents where they are needed; service/delivery is the network side (connector programs, HTTP);
 * service/recorder writes down what became of it. A candidate is handed from one to the next and is worked on by exactly one of them at any time; only what is to be recorded of one that went
 * ahead may be recorded here while its calls are made. No transaction is open while a call is under way.
 */
#ifndef ATSYNC_SERVICE_DISPATCHER_H
#define ATSYNC_SERVICE_DISPATCHER_H

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "connector/module.h"

struct dispatcher;

/* worker: of several in this daemon, from 0. */
struct dispatcher *dispatcher_new(struct config *c, struct connector_set *connectors, unsigned worker);
int dispatcher_start(struct dispatcher *d, struct errmsg *err) ATS_MUSTCHECK;
void dispatcher_wake(
    void *dispatcher); /* any thread: there may be something due. (void * so that it serves as a hook) */
void dispatcher_reload(struct dispatcher *d, struct config *c, struct connector_set *connectors);
void dispatcher_stop(struct dispatcher *d); /* claims nothing more; calls under way are finished and recorded */
void dispatcher_join(struct dispatcher *d);
void dispatcher_free(struct dispatcher *d); /* NULL is harmless */

#endif
