/*
 * completion - from what Popp's API says of a run to the event that its webhook would have been.
 *
 * For runs that started and never ended, and for those whose last event was cut off. What the API's answer looks like is not published: its members are
 * looked for under several names, what a webhook has said is never replaced by less, and what is not understood changes nothing. The event is marked as
 * made from the API by its id, "(api)/…", which is the same whenever and wherever it is made, so that it is stored once; of two events at the same time
 * the sender's own counts. Pure.
 */
#ifndef ATSYNC_DOMAIN_COMPLETION_H
#define ATSYNC_DOMAIN_COMPLETION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "domain/run.h"
#include "lib/json.h"

enum completion {
    COMPLETION_EVENT,    /* *ret_body is the event */
    COMPLETION_RUNNING,  /* the run goes on */
    COMPLETION_UNUSABLE, /* not understood, or about another run; err says why, without quoting it */
};
#define COMPLETION_ID_PREFIX "(api)/"

/* known: the run as folded from its events. now_us: no event is later. *ret_body: one JSON text in the arena. */
enum completion completion_make(const struct json *answer, const struct run *known, int64_t now_us, struct arena *arena,
                                const char **ret_body, struct errmsg *err);

/* Whether the run knows more with that event than without: only then is it worth storing. */
bool completion_improves(const struct run *before, const struct run *after);

/* A path of the API with {run_id} in it, and {workflow_id} if needed: "/workflow-runs/{run_id}?expand=nodes". ST_INVALID. */
int completion_path_check(const char *path, struct errmsg *err) ATS_MUSTCHECK;
/* The same with the ids in their places, percent-encoded, in the arena; NULL if it needs an id that is not known, or that could lead elsewhere. */
const char *completion_path(const char *path, const char *run_id, const char *workflow_id, struct arena *arena);

/*
 * How long to wait before a run is asked for again, which was asked for so often (>= 1) without success; -1: no more. after_ms: how long a run may go on
 * silently. is_over: it has ended, and is only incomplete.
 */
enum completion_trouble { COMPLETION_STILL_RUNNING, COMPLETION_NOT_FOUND, COMPLETION_NO_NEWS };
int64_t completion_again_ms(enum completion_trouble trouble, int64_t asked, int64_t after_ms, bool is_over);

#endif
