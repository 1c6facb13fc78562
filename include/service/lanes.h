/*
 * lanes - what the dispatcher and the recorder share about each connector: how many of its candidates are in work, how its calls went, whether
 * it waits, and which wishes do not fit the ATS.
 *
 * A lane lives as long as struct lanes. Any thread.
 */
#ifndef ATSYNC_SERVICE_LANES_H
#define ATSYNC_SERVICE_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "config/config.h"
#include "connector/module.h"
#include "domain/plan.h"

struct lanes;
struct lane;

struct lanes *lanes_new(void);
void lanes_free(struct lanes *l); /* NULL is harmless */

/* The lane of a connector; "": of candidates that have none. */
struct lane *lanes_of(struct lanes *l, const char *connector);
const char *lane_name(const struct lane *lane);
/* Shares the slots out and forgets all holds: this configuration is in use from now on. */
void lanes_adopt(struct lanes *l, const struct config *c, const struct connector_set *connectors);

/* ---- in work */
void lane_begin(struct lane *lane); /* one more */
void lane_end(struct lane *lane);
size_t lane_in_work(const struct lane *lane);
size_t lane_in_work_max(const struct lane *lane);
size_t lanes_in_work(struct lanes *l); /* of all lanes */
/* Its candidates wait now: the ATS is away or asked for patience, or somebody paused it. Who is in work begins no more calls. */
void lane_set_waits(struct lane *lane, bool waits);
bool lane_waits(const struct lane *lane);

/* ---- how calls went; what was taken is the caller's to tell to the database */
struct lane_counts {
    int64_t calls, failures;             /* writes tried, for the breaker */
    int64_t probe_calls, probe_failures; /* likewise, by the candidate that was let through while it was open */
    int64_t requests;                    /* HTTP requests, for the daily quota */
};
void lane_count(struct lane *lane, const struct lane_counts *more);
struct lane_counts lane_take_counts(struct lane *lane);
/* Calls of which none failed, so that nothing was told: see breaker_clean. */
void lane_add_clean(struct lane *lane, int64_t calls, int64_t now_ms);
int64_t lane_take_clean(struct lane *lane, int64_t now_ms);
int64_t lane_per_day(const struct lane *lane); /* the quota; 0: none */

/*
 * ---- wishes that do not fit the ATS: a stage, a field that it does not have. The first candidate showed it, the others need not fail for the same reason.
 *
 * A new configuration forgets them (lanes_adopt). As somebody may put the missing thing into the ATS instead, now and then one candidate tries while the
 * others wait for a second: once a minute, and soon when somebody asked for it (atsyncctl retry).
 */
enum lane_answer { LANE_TRY, LANE_WAIT, LANE_REFUSE };

/* is_again: somebody asked for another try. *ret_error: why it is refused, a copy in the arena. now_ms: the monotonic clock. */
enum lane_answer lane_ask(struct lane *lane, const struct desired *wish, bool is_again, int64_t now_ms,
                          struct arena *arena, const char **ret_error);
/* It failed so. c: the configuration that the wish came from; of one that is not in use any more nothing is remembered. */
void lane_remember_misfit(struct lane *lane, const struct config *c, const struct desired *wish, int64_t now_ms,
                          const char *error);
/* It ended otherwise, which says nothing of whether it fits: who waited for what comes of it need not. */
void lane_leave_misfit(struct lane *lane, const struct desired *wish);
/* It came true. */
void lane_forget_misfit(struct lane *lane, const struct desired *wish);

/* Each lane once. */
void lanes_each(struct lanes *l, void (*fn)(void *ctx, struct lane *lane), void *ctx);

#endif
