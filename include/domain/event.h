/*
 * event - one webhook: the envelope that the receiver needs, and the whole of it for the fold.
 *
 * Source: Popp's pages "Workflow Events" and "Webhook event structure". The page is tolerant in what it promises, so are we:
 * missing and null members are alike, unknown types, members and enum values are kept and never an error.
 *
 * Pure. Thread: a struct event belongs to one thread.
 */
#ifndef ATSYNC_DOMAIN_EVENT_H
#define ATSYNC_DOMAIN_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "lib/json.h"

enum event_type {
    EVENT_RUN_STARTED,
    EVENT_RUN_COMPLETED,
    EVENT_RUN_FAILED,
    EVENT_RUN_CANCELLED,
    EVENT_NODE_COMPLETED,
    EVENT_CONTACT_RESOLVED,
    EVENT_CONTACT_FAILED,
    EVENT_CONTACT_SKIPPED,
    EVENT_PUBLISHED,
    EVENT_OTHER, /* other families, and names that did not exist when this was written */
};

#define EVENT_TIME_NONE INT64_MIN

struct event {
    enum event_type type;
    const char *type_name; /* as sent */
    const char *id;        /* eventId; 64 hex digits of the body's SHA-256 where it is missing */
    int64_t
        time_us; /* data.timestamp, else eventTimestamp, else EVENT_TIME_NONE: the caller puts the time of receipt in */
    const char *record_id;
    const char *organization_id;
    const char *workflow_id; /* of WORKFLOW_PUBLISHED: its recordId */
    const char *workflow_version_id;
    const char *workflow_external_id;
    const char *profile_id;
    const char *external_id; /* candidateProfileExternalId, or a contact event's externalId */
    const char *run_id;      /* recordId where it is a run, else NULL */
    const struct json *data;
    const struct json *tree;
};

/*
 * Reads a body. ST_INVALID with the reason in words, which never quotes the body ("member event is missing or not a
 * text"). The event, its tree and its strings live in the arena.
 */
int event_parse(const char *body, size_t len, struct arena *arena, struct event *ret, struct errmsg *err) ATS_MUSTCHECK;

/* For metrics: the type's name if it is one of the catalogue of known events, else "other". */
const char *event_type_label(const char *type_name);
/* The catalogue, from 0 on; NULL after the last. */
const char *event_type_known(size_t number);
bool event_is_terminal(enum event_type type);

/*
 * Whom an event is about, as one key that is short and clean enough for an index:
 *   x:<external id>  the caller's own reference
 *   p:<profile id>   only the sender's profile is known yet
 *   r:<run id>       only the run is known
 *   c:<dedup key>    a contact that could not be resolved and has no external id
 *   w:<workflow id>  a published workflow
 *   ""               nobody (other families without a candidate)
 * Values over 200 bytes or with characters that PostgreSQL's text cannot hold are replaced by "#" and their SHA-256.
 */
const char *event_subject(const struct event *e, struct arena *arena);
const char *subject_key(char kind, const char *id, struct arena *arena);

#endif
