/*
 * run - fold: from all events of one candidate, in any order and any repetition, to what happened.
 *
 * The result depends on the set of events only, never on the order of the array: equal times are broken by the greater event id.
 * Rules (design.md section 4, Popp's page "Workflow Events"):
 *   - terminal events are the canonical record; of two, the later one wins and `conflict` is set;
 *   - node events count while no terminal event is there, and afterwards only for nodes that a truncated one left out;
 *   - a truncated run is complete when its nodes follow each other without a gap from its start to its final node;
 *   - a completed run's result is the status of its last screening conversation, else of its last conversation.
 *
 * Pure: no clock, no I/O. Everything returned lives in the arena or points into the events, which must outlive it.
 */
#ifndef ATSYNC_DOMAIN_RUN_H
#define ATSYNC_DOMAIN_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "domain/event.h"
#include "domain/mapping.h"
#include "lib/json.h"

enum run_state { RUN_CONTACT, RUN_RUNNING, RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED };
const char *run_state_name(enum run_state s); /* contact running completed failed cancelled */

struct stamp { /* when, with the tie-break; what a later event is compared by */
    int64_t time_us;
    const char *event_id;
};
/* <0, 0, >0 like strcmp. */
int stamp_compare(const struct stamp *a, const struct stamp *b);

struct run_answer {
    const struct json *json; /* the entry of answers[] */
    const char *node_id;
    const char *slug;
    int64_t answered_us; /* the node's completedAt */
};

struct run_node {
    const char *node_id;
    const char *node_type;
    const char *kind;   /* conversation, condition, empty, or unknown text; "" when absent */
    const char *status; /* of a conversation; NULL */
    int64_t entered_us; /* EVENT_TIME_NONE when absent; likewise below */
    int64_t completed_us;
    bool from_terminal;      /* stood in the terminal event */
    struct stamp stamp;      /* of the event that told it */
    const struct json *json; /* the node's object: nodeId … outcome */
};

struct run_contact { /* a contact event of this run */
    enum event_type type;
    struct stamp stamp;
    const struct json *data;
};

struct run {
    const char *run_id;   /* of a failed contact: its dedup key */
    bool is_contact_only; /* WORKFLOW_CONTACT_RESOLUTION_FAILED: no run was made */
    const char *workflow_id, *workflow_version_id, *workflow_external_id;
    const char *organization_id;
    const char *profile_id, *external_id;
    enum run_state state;
    const char *outcome; /* of the terminal event; NULL before it */
    const char *result;  /* of a completed run; NULL */
    const char *error_code, *error_class, *last_failed_node_id, *cancellation_reason, *final_node_id;
    bool truncated, complete, conflict;
    int64_t started_us, completed_us; /* EVENT_TIME_NONE while unknown */
    int64_t order_us;                 /* what "the later start" is compared by: started, else the earliest time known */
    bool has_started;                 /* a start event came, or a later event implies it */
    struct stamp started;             /* of the moment "started" */
    struct stamp terminal;            /* of the deciding terminal event */
    struct run_node *nodes;           /* in the order of the traversal */
    size_t node_count;
    struct run_answer *answers; /* in the order of nodes */
    size_t answer_count;
    struct run_contact *contacts; /* by time */
    size_t contact_count;
    struct stamp last_event;
};

struct run_set {
    struct run *runs; /* by order_us, then run_id: the later start comes last */
    size_t count;
    int64_t
        settled_us; /* put in by whoever loaded the events: runs that ended until then have been forgotten, and what they decided, with all that
                           happened until then, is not decided anew; 0: nothing has been forgotten */
};

/* events: in any order, all of one candidate; events of other types are passed over. */
void runs_fold(const struct event *events, size_t count, struct arena *arena, struct run_set *ret);

/* The entry with this slug that was answered last, in this node or (node_id NULL) in any; NULL if none. */
const struct run_answer *run_find_answer(const struct run *r, const char *node_id, const char *slug);

/* The run's nodes as one JSON array, for the run table and its views. out: without a limit. */
void run_print_nodes(const struct run *r, struct buf *out);

#endif
