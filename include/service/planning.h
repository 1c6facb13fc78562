/*
 * planning - the plan phase of one candidate: from what is loaded of it to what is to be recorded of it and sent.
 *
 * Folds the runs, makes the plan, compares it with the ledger, asks the lane whether a wish is known not to fit the ATS; or finds out where a candidate belongs that
 * no connector is known for. Reads and writes no database.
 */
#ifndef ATSYNC_SERVICE_PLANNING_H
#define ATSYNC_SERVICE_PLANNING_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "connector/module.h"
#include "domain/ledger.h"
#include "domain/plan.h"
#include "domain/run.h"
#include "service/delivery.h"
#include "service/lanes.h"
#include "store/name_table.h"
#include "store/store.h"

struct planning { /* what is the same for all candidates of one claim */
    struct config *config;
    struct connector_set *connectors;
    struct lanes *lanes;
    struct name_table *names;
    const struct claim_batch *claim; /* what is made lives in its arena */
    int64_t claimed_mono_us;         /* our monotonic clock at the claim's answer, */
    int64_t claim_began_ms;          /* and before it was sent */
    bool connector_waits;            /* no calls: what is wanted is recorded as waiting, so that people see it */
    void *batch;                     /* of the jobs */
};

struct work { /* what the plan phase made of one candidate; it points to itself, and stays where it is */
    struct claimed *who;
    struct loaded *loaded;
    struct workflow_names names;
    struct run_set runs;
    struct plan plan; /* plan_clear, unless there is a job */
    struct ledger_diff diff;
    struct record record;
    struct job *
        job; /* NULL: nothing to send. With references of its own to the configuration, the connectors and an arena; in no list */
    bool tells_name; /* an event tells a workflow's external id that is not known yet */
    /* nothing has to be durable before its calls (ledger_needs_intent), and nobody waits for what it tells: it may be handed over before it is recorded */
    bool goes_ahead;
};

/* The dispatcher's thread. */
void planning_work(const struct planning *p, struct claimed *who, struct loaded *loaded, struct work *ret);

#endif
