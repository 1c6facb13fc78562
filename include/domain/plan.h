/*
 * plan - from runs and the mapping to what the ATS should hold: the desired writes of one candidate at one connector.
 *
 * The rules of combination (design.md section 5) live here and nowhere else: moments in order, the most specific
 * condition per kind of action, the latest moment decides set actions, all moments count for tags and notes, the run with the
 * later start decides within a workflow, the later event decides between workflows that want the same thing changed.
 *
 * Pure: no clock, no I/O. What is returned lives in the arena and points into runs and mapping, which must outlive it; JSON
 * values are owned by the plan: plan_clear.
 */
#ifndef ATSYNC_DOMAIN_PLAN_H
#define ATSYNC_DOMAIN_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "domain/mapping.h"
#include "domain/run.h"
#include "lib/json.h"

enum write_kind { WRITE_FIELD, WRITE_TAG, WRITE_ASSESSMENT, WRITE_STAGE, WRITE_REJECT, WRITE_NOTE };
enum { WRITE_KIND_COUNT = 6 };
const char *write_kind_name(enum write_kind k); /* field tag assessment stage reject note */
bool write_kind_parse(const char *name, enum write_kind *ret);
bool write_is_append(enum write_kind k); /* notes: exactly one per key; all others are set writes */

struct passage { /* a stage that the same run was to stand in before */
    const char *stage;
    const char *const *only_from;
    size_t only_from_count; /* 0: it may be entered from anywhere */
    const char *event_id;   /* that told of it */
    const struct passage *before;
};

struct desired {
    const char *key; /* field/<name>, tag/<tag>, assessment/<job>, disposition/<job>, note/<run>/<moment> */
    enum write_kind kind;
    const char *target;           /* name of the field, the tag, the job, or the run and moment of the note */
    struct json *value;           /* what is to be there */
    const char *hash;             /* of kind and value: 32 hex digits */
    const char *job;              /* NULL: none */
    const char *const *only_from; /* stage only */
    size_t only_from_count;
    const struct passage *before; /* stage with only_from; NULL: none */
    const struct run *run;
    const struct workflow_map *workflow;
    const char *workflow_external_id; /* of the run, which may differ from the map's "*" */
    const char *reason;               /* "completed/PASSED_CRITERIA", or "fields: nmc-pin.score" */
    unsigned line;                    /* of the configuration */
    struct stamp stamp;               /* of the moment that decided */
};

struct plan {
    struct desired *items; /* by key */
    size_t count;
};

/* How a run finds its map, when its own external id is absent: "learned" maps workflow ids that other events told. */
struct workflow_names {
    const char *(*external_id_of)(void *ctx, const char *source, const char *workflow_id); /* NULL if unknown */
    void *ctx;
    const char *source; /* whose ids these are */
};

/* The external id of a run's workflow: its own, else what is known of its workflow id, else NULL. */
const char *run_workflow_external_id(const struct run *r, const struct workflow_names *names);
/* Of each run the next one of the same workflow, in the order of the set; runs->count: there is none. Runs whose workflow has no external id are told apart by
 * its own id (by_own_id), or all taken for one, as the views do. In the arena. */
const size_t *runs_of_same_workflow(const struct run_set *runs, const struct workflow_names *names, bool by_own_id,
                                    struct arena *arena);

/* The writes wanted at this connector (NULL: at any). What was decided until runs->settled_us is left out: it was written, by these runs or by some
 * that have been forgotten since. */
void plan_make(const struct run_set *runs, const struct mapping *mapping, const char *connector,
               const struct workflow_names *names, struct arena *arena, struct plan *ret);
void plan_clear(struct plan *p);

/* Names of the moments of a run that have happened, for tests and for candidate_timeline: "started", "node/x/PASSED_CRITERIA", … */
void run_moments(const struct run *r, struct arena *arena, const char ***ret_names, size_t *ret_count);

#endif
