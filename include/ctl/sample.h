/*
 * sample - the sample events of conf/samples, which are part of the program, and changes to them. Pure but for the
 * random event id.
 */
#ifndef ATSYNC_CTL_SAMPLE_H
#define ATSYNC_CTL_SAMPLE_H

#include <stddef.h>

#include "base/compiler.h"
#include "base/status.h"
#include "lib/json.h"

struct sample {
    const char *name; /* "run-completed" */
    const char *text;
};
extern const struct sample samples[]; /* by name; generated at build time */
extern const size_t sample_count;

/*
 * The sample of this name ("run-completed") or of this event ("WORKFLOW_RUN_COMPLETED"), in any case, as a new tree
 * with an eventId of its own. ST_NOT_FOUND lists the names, with the likely one for a misspelling.
 */
int sample_event(const char *type, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;

/*
 * "data.nodes.0.outcome.status=FAILED_CRITERIA": what stands at the path is replaced. Members that are missing are
 * made; an element of a list must be there, or be the next one. A value that is JSON is taken as such, anything else as
 * text. ST_INVALID says what is wrong; *tree is untouched then.
 */
int sample_set(struct json **tree, const char *assignment, struct errmsg *err) ATS_MUSTCHECK;

#endif
