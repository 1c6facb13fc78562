#include "domain/event.h"

#include "base/clock.h"
#include "base/text.h"
#include "lib/crypto.h"

enum { SUBJECT_MAX_BYTES = 200 };

static const struct {
    const char *name;
    enum event_type type;
} workflow_types[] = {
    {"WORKFLOW_RUN_STARTED", EVENT_RUN_STARTED},
    {"WORKFLOW_RUN_COMPLETED", EVENT_RUN_COMPLETED},
    {"WORKFLOW_RUN_FAILED", EVENT_RUN_FAILED},
    {"WORKFLOW_RUN_CANCELLED", EVENT_RUN_CANCELLED},
    {"WORKFLOW_NODE_COMPLETED", EVENT_NODE_COMPLETED},
    {"WORKFLOW_CONTACT_RESOLVED", EVENT_CONTACT_RESOLVED},
    {"WORKFLOW_CONTACT_RESOLUTION_FAILED", EVENT_CONTACT_FAILED},
    {"WORKFLOW_CONTACT_RESOLUTION_SKIPPED", EVENT_CONTACT_SKIPPED},
    {"WORKFLOW_PUBLISHED", EVENT_PUBLISHED},
};

/* The other families of the sender's catalogue: stored and shown, without a meaning for the ATS. */
static const char *const other_types[] = {
    "CONVERSATION_QUEUED",
    "CONVERSATION_STARTED",
    "CONVERSATION_COMPLETED",
    "CONVERSATION_NEEDS_REVIEW",
    "CONVERSATION_OPTED_OUT",
    "CONVERSATION_MAX_NUDGES_REACHED",
    "START_CONVERSATION_FAILED",
    "ANALYSIS_CREATED",
    "CANDIDATE_ANALYSIS_COMPLETED",
    "CALENDAR_MEETING_SCHEDULED",
    "CALENDAR_MEETING_UPDATED",
    "CALENDAR_MEETING_CANCELLED",
    "CALENDAR_MEETING_RESCHEDULED",
    "CALENDAR_AVAILABILITY_NOT_FOUND",
    "CALENDAR_MORE_TIME_REQUESTED",
    "CALENDAR_NOTE_TAKER_COMPLETED",
    "DOCUMENT_UPLOADED",
};

static enum event_type type_of(const char *name)
{
    for (size_t i = 0; i < ATS_COUNT(workflow_types); i++) {
        if (strcmp(workflow_types[i].name, name) == 0) {
            return workflow_types[i].type;
        }
    }
    return EVENT_OTHER;
}

const char *event_type_label(const char *type_name)
{
    if (type_of(type_name) != EVENT_OTHER) {
        return type_name;
    }
    for (size_t i = 0; i < ATS_COUNT(other_types); i++) {
        if (strcmp(other_types[i], type_name) == 0) {
            return type_name;
        }
    }
    return "other";
}

const char *event_type_known(size_t number)
{
    if (number < ATS_COUNT(workflow_types)) {
        return workflow_types[number].name;
    }
    number -= ATS_COUNT(workflow_types);
    return number < ATS_COUNT(other_types) ? other_types[number] : NULL;
}

bool event_is_terminal(enum event_type type)
{
    return type == EVENT_RUN_COMPLETED || type == EVENT_RUN_FAILED || type == EVENT_RUN_CANCELLED;
}

/* A member that is text; numbers count too, since ids are opaque and some senders write them bare. */
static const char *text_member(const struct json *obj, const char *key, struct arena *arena)
{
    const struct json *j = json_get(obj, key);
    char *digits;
    const char *copy;

    if (json_type(j) != JSON_NUMBER) {
        return json_get_str(obj, key);
    }
    digits = json_text(j);
    copy = arena_strdup(arena, digits);
    mem_free(digits);
    return copy;
}

static const char *digest_text(const char *bytes, size_t len, struct arena *arena)
{
    uint8_t digest[CRYPTO_SHA256_BYTES];
    char *hex = arena_alloc(arena, 2 * sizeof digest + 1);

    crypto_sha256(bytes, len, digest);
    crypto_hex(digest, sizeof digest, hex);
    return hex;
}

static int64_t time_of(const struct event *e)
{
    int64_t us;
    const char *own = json_get_str(e->data, "timestamp");
    const char *envelope = json_get_str(e->tree, "eventTimestamp");

    if (own && time_parse_iso8601(own, &us)) {
        return us;
    }
    return envelope && time_parse_iso8601(envelope, &us) ? us : EVENT_TIME_NONE;
}

int event_parse(const char *body, size_t len, struct arena *arena, struct event *ret, struct errmsg *err)
{
    struct event e = {0};
    int st = json_parse_in(arena, body, len, &e.tree, err);

    if (st != ST_OK) {
        return st;
    }
    st = ST_INVALID;
    if (json_type(e.tree) != JSON_OBJECT) {
        err_set(err, st, "the body is not a JSON object");
        return st;
    }
    e.type_name = json_get_str(e.tree, "event");
    if (!e.type_name) {
        err_set(err, st, "member event is missing or not a text");
        return st;
    }
    e.data = json_get(e.tree, "data");
    if (json_type(e.data) != JSON_OBJECT) {
        err_set(err, st, "member data is missing or not an object");
        return st;
    }
    e.record_id = text_member(e.data, "recordId", arena);
    if (!e.record_id) {
        err_set(err, st, "member data.recordId is missing or not a text");
        return st;
    }
    e.type = type_of(e.type_name);
    e.id = text_member(e.tree, "eventId", arena);
    if (!e.id) {
        e.id = digest_text(body, len, arena);
    }
    e.organization_id = text_member(e.data, "organizationId", arena);
    e.workflow_id = text_member(e.data, "workflowId", arena);
    e.workflow_version_id = text_member(e.data, "workflowVersionId", arena);
    e.workflow_external_id = text_member(e.data, "workflowExternalId", arena);
    e.profile_id = text_member(e.data, "candidateProfileId", arena);
    e.external_id = text_member(e.data, "candidateProfileExternalId", arena);
    e.time_us = time_of(&e);
    switch (e.type) {
    case EVENT_CONTACT_RESOLVED:
    case EVENT_CONTACT_SKIPPED:
        e.run_id = e.record_id;
        e.external_id = text_member(e.data, "externalId", arena);
        break;
    case EVENT_CONTACT_FAILED:
        e.external_id = text_member(e.data, "externalId", arena);
        break;
    case EVENT_PUBLISHED:
        e.workflow_id = e.record_id;
        break;
    case EVENT_RUN_STARTED:
    case EVENT_RUN_COMPLETED:
    case EVENT_RUN_FAILED:
    case EVENT_RUN_CANCELLED:
    case EVENT_NODE_COMPLETED:
        e.run_id = e.record_id;
        break;
    case EVENT_OTHER:
        break;
    }
    *ret = e;
    return ST_OK;
}

/* Text that PostgreSQL would refuse, or that json_plain would make equal to another. */
static bool is_odd(const char *s)
{
    return !text_is_utf8(s, strlen(s));
}

const char *subject_key(char kind, const char *id, struct arena *arena)
{
    size_t len = strlen(id);

    if (len > SUBJECT_MAX_BYTES || is_odd(id) || id[0] == '#') {
        return arena_printf(arena, "%c:#%s", kind, digest_text(id, len, arena));
    }
    return arena_printf(arena, "%c:%s", kind, id);
}

const char *event_subject(const struct event *e, struct arena *arena)
{
    if (e->type == EVENT_PUBLISHED) {
        return subject_key('w', e->workflow_id, arena);
    }
    if (e->type == EVENT_OTHER && !e->external_id) {
        return "";
    }
    if (e->external_id) {
        return subject_key('x', e->external_id, arena);
    }
    if (e->profile_id) {
        return subject_key('p', e->profile_id, arena);
    }
    if (e->run_id) {
        return subject_key('r', e->run_id, arena);
    }
    return subject_key('c', e->record_id, arena);
}
