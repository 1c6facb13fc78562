/*
 * recorder - writes down what became of the candidates that delivery has ended, and tells the database how each connector is doing (breaker, daily quota,
 * pauses that the ATS asked for).
 *
 * One thread with a database connection of its own, beside the dispatcher's: what is recorded does not wait for what is planned. Whatever ended while one
 * batch was written is written together in the next, which waits a moment for more while many are in work.
 */
#ifndef ATSYNC_SERVICE_RECORDER_H
#define ATSYNC_SERVICE_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "service/delivery.h"
#include "service/lanes.h"

struct recorder;

struct recorder_hooks { /* called in the recorder's thread */
    void *ctx;
    /* What the plan phase has to record of this job and has not; the recorder's from now on. NULL: nothing. */
    const struct record *(*take_plan)(void *ctx, struct job *job);
    /* The job is the callee's. due_ms: when its candidate is due again, from now; INT64_MAX: not before something happens. */
    void (*recorded)(void *ctx, struct job *job, int64_t due_ms);
    /* After a batch, or when calls have shown that the ATS is away or back. states_changed: what is shared about a connector is not what it was. */
    void (*batch_done)(void *ctx, bool states_changed);
};

/*
 * How long it pays to wait for more before these are recorded, in ms; 0 or less: not at all. Half of what recording one alone costs is the transaction's: as many
 * share one as end within a moment, while that many more are in work (in_work counts those that have ended, too). Never while something failed: the
 * breaker has to hear of it. Pure.
 */
int64_t recorder_linger_ms(size_t ended, size_t in_work, bool any_failed, int64_t ended_since_ms, int64_t now_ms);

struct recorder *recorder_new(const struct config *c, struct lanes *lanes, const struct recorder_hooks *hooks);
int recorder_start(struct recorder *r, struct errmsg *err) ATS_MUSTCHECK;
void recorder_reload(struct recorder *r, const struct config *c); /* any thread: time limits */
void recorder_submit(struct recorder *r, struct job *job);        /* any thread */
/*
 * So many writes of the job were tried just now, and so many of them failed because of the ATS: the breaker hears of it at once, not when the job has ended,
 * which may take as many time-outs as it has calls. Any thread.
 */
void recorder_tried(struct recorder *r, const struct job *job, int64_t writes, int64_t failures);
/* No more jobs will come: ends when all are recorded, or after a few attempts with the database away. */
void recorder_stop(struct recorder *r);
void recorder_join(struct recorder *r);
void recorder_free(struct recorder *r,
                   void (*give_up)(struct job *job)); /* give_up: for jobs that could not be recorded */

#endif
