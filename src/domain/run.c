#include "domain/run.h"

#include "base/clock.h"
#include "base/text.h"

/* Nodes follow each other at once; only a gap longer than this means that one is missing. */
static const int64_t NODE_GAP_US = 2000000;

const char *run_state_name(enum run_state s)
{
    static const char *const names[] = {"contact", "running", "completed", "failed", "cancelled"};

    return names[s];
}

int stamp_compare(const struct stamp *a, const struct stamp *b)
{
    if (a->time_us != b->time_us) {
        return a->time_us < b->time_us ? -1 : 1;
    }
    return strcmp(a->event_id ? a->event_id : "", b->event_id ? b->event_id : "");
}

static struct stamp stamp_of(const struct event *e)
{
    return (struct stamp){.time_us = e->time_us, .event_id = e->id};
}

static int64_t time_member(const struct json *obj, const char *key)
{
    const char *text = json_get_str(obj, key);
    int64_t us;

    return text && time_parse_iso8601(text, &us) ? us : EVENT_TIME_NONE;
}

/* ---- sorting the events: newest last, so that "the last one wins" is a plain loop ------------------------------------- */

/* The dedup key of a contact that has no run is no run id, even if the texts are the same. */
static int run_compare(const struct event *x, const struct event *y)
{
    if (!x->run_id != !y->run_id) {
        return x->run_id ? 1 : -1;
    }
    return strcmp(x->run_id ? x->run_id : x->record_id, y->run_id ? y->run_id : y->record_id);
}

static int by_run_then_stamp(const void *a, const void *b)
{
    const struct event *x = *(const struct event *const *)a;
    const struct event *y = *(const struct event *const *)b;
    struct stamp sx = stamp_of(x);
    struct stamp sy = stamp_of(y);
    int order = run_compare(x, y);

    return order ? order : stamp_compare(&sx, &sy);
}

static bool belongs_to_a_run(const struct event *e)
{
    return e->run_id || e->type == EVENT_CONTACT_FAILED;
}

static void learn(const char **place, const char *value)
{
    if (value) {
        *place = value;
    }
}

static void earliest(int64_t *place, int64_t us)
{
    if (us != EVENT_TIME_NONE && (*place == EVENT_TIME_NONE || us < *place)) {
        *place = us;
    }
}

/* ---- nodes -------------------------------------------------------------------------------------------------------- */

static struct run_node node_of(const struct json *json, bool from_terminal, struct stamp stamp)
{
    const struct json *outcome = json_get(json, "outcome");
    const char *kind = json_get_str(outcome, "kind");

    return (struct run_node){
        .node_id = json_get_str(json, "nodeId"),
        .node_type = json_get_str(json, "nodeType"),
        .kind = kind ? kind : "",
        .status = kind && strcmp(kind, "conversation") == 0 ? json_get_str(outcome, "status") : NULL,
        .entered_us = time_member(json, "enteredAt"),
        .completed_us = time_member(json, "completedAt"),
        .from_terminal = from_terminal,
        .stamp = stamp,
        .json = json,
    };
}

/*
 * Puts a node in, or over the one of the same id: the terminal event's word counts more, then the later event's. A node that
 * a terminal event lists twice was passed twice; its last visit counts and has its place.
 */
static void merge_node(struct run *r, struct run_node node)
{
    if (!node.node_id) {
        return;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        struct run_node *have = &r->nodes[i];

        if (strcmp(have->node_id, node.node_id) != 0) {
            continue;
        }
        if (have->from_terminal && node.from_terminal) {
            r->node_count--;
            memmove(have, have + 1, (r->node_count - i) * sizeof *have);
            break;
        }
        if (!have->from_terminal) {
            *have = node;
        }
        return;
    }
    r->nodes[r->node_count++] = node;
}

static int by_completion(const void *a, const void *b)
{
    const struct run_node *x = a;
    const struct run_node *y = b;
    int64_t tx = x->completed_us != EVENT_TIME_NONE ? x->completed_us : x->stamp.time_us;
    int64_t ty = y->completed_us != EVENT_TIME_NONE ? y->completed_us : y->stamp.time_us;

    if (tx != ty) {
        return tx < ty ? -1 : 1;
    }
    if (x->entered_us != y->entered_us) {
        return x->entered_us < y->entered_us ? -1 : 1;
    }
    return strcmp(x->node_id, y->node_id);
}

static void collect_nodes(struct run *r, const struct event *const *events, size_t count, const struct event *terminal,
                          struct arena *arena)
{
    const struct json *listed = terminal ? json_get(terminal->data, "nodes") : NULL;
    bool use_node_events = !terminal || r->truncated;

    if (json_type(listed) != JSON_ARRAY) {
        listed = NULL;
    }
    r->nodes = arena_alloc(arena, (json_count(listed) + count + 1) * sizeof *r->nodes);
    for (const struct json *n = json_first(listed); terminal && n; n = json_next(n)) {
        merge_node(r, node_of(n, true, stamp_of(terminal)));
    }
    if (!use_node_events) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (events[i]->type == EVENT_NODE_COMPLETED) {
            merge_node(r, node_of(events[i]->data, false, stamp_of(events[i])));
        }
    }
    if (r->node_count > 1) {
        qsort(r->nodes, r->node_count, sizeof *r->nodes, by_completion);
    }
}

static void collect_answers(struct run *r, struct arena *arena)
{
    size_t total = 0;

    for (size_t i = 0; i < r->node_count; i++) {
        total += json_count(json_get(json_get(r->nodes[i].json, "outcome"), "answers"));
    }
    r->answers = arena_alloc(arena, (total + 1) * sizeof *r->answers);
    for (size_t i = 0; i < r->node_count; i++) {
        const struct run_node *node = &r->nodes[i];
        const struct json *answers = json_get(json_get(node->json, "outcome"), "answers");

        if (json_type(answers) != JSON_ARRAY) {
            continue;
        }
        for (const struct json *a = json_first(answers); a; a = json_next(a)) {
            const char *slug = json_get_str(a, "slug");

            if (slug) {
                r->answers[r->answer_count++] = (struct run_answer){
                    .json = a, .node_id = node->node_id, .slug = slug, .answered_us = node->completed_us};
            }
        }
    }
}

/* From the start to the final node, each node begins when the one before it ends. */
static bool nodes_without_gap(const struct run *r, const struct json *terminal_data)
{
    int64_t reached = time_member(terminal_data, "startedAt");
    int64_t end = time_member(terminal_data, "completedAt");
    const char *final_node = json_get_str(terminal_data, "finalNodeId");
    bool final_seen = !final_node;

    if (r->node_count == 0) {
        return false;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        const struct run_node *node = &r->nodes[i];

        final_seen = final_seen || strcmp(node->node_id, final_node) == 0;
        if (node->entered_us != EVENT_TIME_NONE && reached != EVENT_TIME_NONE &&
            node->entered_us > reached + NODE_GAP_US) {
            return false;
        }
        if (node->completed_us != EVENT_TIME_NONE && node->completed_us > reached) {
            reached = node->completed_us;
        }
    }
    return final_seen && (end == EVENT_TIME_NONE || reached == EVENT_TIME_NONE || reached + NODE_GAP_US >= end);
}

static const char *deciding_status(const struct run *r)
{
    const char *conversation = NULL;
    const char *screening = NULL;

    for (size_t i = 0; i < r->node_count; i++) {
        const struct run_node *node = &r->nodes[i];

        if (!node->status) {
            continue;
        }
        conversation = node->status;
        if (node->node_type && text_ieq(node->node_type, "SCREENING_OUTREACH")) {
            screening = node->status;
        }
    }
    return screening ? screening : conversation;
}

/* ---- one run ------------------------------------------------------------------------------------------------------ */

static enum run_state terminal_state(enum event_type type)
{
    if (type == EVENT_RUN_FAILED) {
        return RUN_FAILED;
    }
    return type == EVENT_RUN_CANCELLED ? RUN_CANCELLED : RUN_COMPLETED;
}

/* What the event's name says where a sender left the outcome out. */
static const char *implied_outcome(enum event_type type)
{
    if (type == EVENT_RUN_FAILED) {
        return "failed";
    }
    return type == EVENT_RUN_CANCELLED ? "cancelled" : "completed";
}

static void take_terminal(struct run *r, const struct event *e)
{
    const char *outcome = json_get_str(e->data, "outcome");

    outcome = outcome ? outcome : implied_outcome(e->type);
    if (r->outcome && strcmp(r->outcome, outcome) != 0) {
        r->conflict = true;
    }
    r->state = terminal_state(e->type);
    r->outcome = outcome;
    r->terminal = stamp_of(e);
    r->error_code = json_get_str(e->data, "errorCode");
    r->error_class = json_get_str(e->data, "errorClass");
    r->last_failed_node_id = json_get_str(e->data, "lastFailedNodeId");
    r->cancellation_reason = json_get_str(e->data, "cancellationReason");
    r->final_node_id = json_get_str(e->data, "finalNodeId");
    r->truncated = json_get_bool(e->data, "truncated");
    r->completed_us = time_member(e->data, "completedAt");
    if (r->completed_us == EVENT_TIME_NONE) {
        r->completed_us = e->time_us;
    }
    r->has_started = true;
}

static void take_contact(struct run *r, const struct event *e)
{
    r->contacts[r->contact_count++] = (struct run_contact){.type = e->type, .stamp = stamp_of(e), .data = e->data};
}

static void take_event(struct run *r, const struct event *e, const struct event **terminal)
{
    learn(&r->organization_id, e->organization_id);
    learn(&r->workflow_id, e->workflow_id);
    learn(&r->workflow_version_id, e->workflow_version_id);
    learn(&r->workflow_external_id, e->workflow_external_id);
    learn(&r->profile_id, e->profile_id);
    learn(&r->external_id, e->external_id);
    r->last_event = stamp_of(e);
    switch (e->type) {
    case EVENT_RUN_STARTED:
        if (!r->started.event_id || e->time_us < r->started.time_us) {
            r->started = stamp_of(e);
        }
        earliest(&r->started_us, e->time_us);
        r->has_started = true;
        break;
    case EVENT_RUN_COMPLETED:
    case EVENT_RUN_FAILED:
    case EVENT_RUN_CANCELLED:
        take_terminal(r, e);
        *terminal = e;
        break;
    case EVENT_NODE_COMPLETED:
        r->has_started = true;
        break;
    case EVENT_CONTACT_RESOLVED:
    case EVENT_CONTACT_SKIPPED:
    case EVENT_CONTACT_FAILED:
        take_contact(r, e);
        break;
    case EVENT_PUBLISHED:
    case EVENT_OTHER:
        break;
    }
}

/* What is known of the start of the run; its events only where neither an event nor a node tells it. */
static int64_t start_of(const struct run *r, const struct event *const *events, size_t count)
{
    int64_t us = r->started_us;

    if (us != EVENT_TIME_NONE) {
        return us;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        earliest(&us, r->nodes[i].entered_us);
    }
    for (size_t i = 0; i < count && us == EVENT_TIME_NONE; i++) {
        us = events[i]->time_us; /* these are sorted by it */
    }
    return us;
}

static void fold_run(struct run *r, const struct event *const *events, size_t count, struct arena *arena)
{
    const struct event *terminal = NULL;
    int64_t said_start;

    *r = (struct run){
        .run_id = events[0]->run_id ? events[0]->run_id : events[0]->record_id,
        .is_contact_only = !events[0]->run_id,
        .started_us = EVENT_TIME_NONE,
        .completed_us = EVENT_TIME_NONE,
        .order_us = EVENT_TIME_NONE,
        .started = {.time_us = EVENT_TIME_NONE},
        .terminal = {.time_us = EVENT_TIME_NONE},
        .contacts = arena_alloc(arena, count * sizeof *r->contacts),
    };
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(events[i]->id, events[i - 1]->id) != 0) { /* a repetition says nothing new */
            take_event(r, events[i], &terminal);
        }
    }
    collect_nodes(r, events, count, terminal, arena);
    said_start = terminal ? time_member(terminal->data, "startedAt") : EVENT_TIME_NONE;
    if (said_start != EVENT_TIME_NONE) {
        r->started_us = said_start;
    }
    r->order_us = start_of(r, events, count);
    if (!r->started.event_id && r->has_started) { /* implied by a later event: its own moment, told by that event */
        r->started =
            (struct stamp){.time_us = r->order_us, .event_id = terminal ? terminal->id : r->last_event.event_id};
    }
    if (!terminal) {
        r->state = r->has_started ? RUN_RUNNING : RUN_CONTACT;
    } else {
        r->complete = !r->truncated || nodes_without_gap(r, terminal->data);
    }
    collect_answers(r, arena);
    if (r->outcome && strcmp(r->outcome, "completed") == 0) {
        r->result = deciding_status(r);
    }
}

static int by_start(const void *a, const void *b)
{
    const struct run *x = a;
    const struct run *y = b;

    if (x->order_us != y->order_us) {
        return x->order_us < y->order_us ? -1 : 1;
    }
    return strcmp(x->run_id, y->run_id);
}

void runs_fold(const struct event *events, size_t count, struct arena *arena, struct run_set *ret)
{
    const struct event **sorted = arena_alloc(arena, (count + 1) * sizeof *sorted);
    size_t n = 0;
    struct run_set set = {0};

    for (size_t i = 0; i < count; i++) {
        if (belongs_to_a_run(&events[i])) {
            sorted[n++] = &events[i];
        }
    }
    set.runs = arena_alloc(arena, (n + 1) * sizeof *set.runs);
    if (n > 1) {
        qsort(sorted, n, sizeof *sorted, by_run_then_stamp);
    }
    for (size_t from = 0; from < n;) {
        size_t to = from;

        while (to < n && run_compare(sorted[to], sorted[from]) == 0) {
            to++;
        }
        fold_run(&set.runs[set.count++], sorted + from, to - from, arena);
        from = to;
    }
    if (set.count > 1) {
        qsort(set.runs, set.count, sizeof *set.runs, by_start);
    }
    *ret = set;
}

const struct run_answer *run_find_answer(const struct run *r, const char *node_id, const char *slug)
{
    const struct run_answer *found = NULL;

    for (size_t i = 0; i < r->answer_count; i++) {
        const struct run_answer *a = &r->answers[i];

        if (strcmp(a->slug, slug) != 0 || (node_id && strcmp(a->node_id, node_id) != 0)) {
            continue;
        }
        if (!found || a->answered_us >= found->answered_us) {
            found = a;
        }
    }
    return found;
}

/* name: quoted, with its colon */
static void print_time(struct buf *out, const char *name, int64_t us)
{
    buf_puts(out, name);
    if (us == EVENT_TIME_NONE) {
        buf_puts(out, "null,");
    } else {
        buf_putc(out, '"');
        buf_puts(out, time_iso8601(us).s);
        buf_puts(out, "\",");
    }
}

void run_print_nodes(const struct run *r, struct buf *out)
{
    static const char *const members[] = {"nodeId", "nodeType", "routingEvent", "outcome"};

    buf_putc(out, '[');
    for (size_t i = 0; i < r->node_count; i++) {
        const struct run_node *n = &r->nodes[i];

        buf_puts(out, i > 0 ? ",{" : "{");
        /* times as parsed, so that a view can cast them whatever was sent */
        print_time(out, "\"enteredAt\":", n->entered_us);
        print_time(out, "\"completedAt\":", n->completed_us);
        for (size_t m = 0; m < ATS_COUNT(members); m++) {
            const struct json *value = json_get(n->json, members[m]);

            if (value) {
                buf_putc(out, '"');
                buf_puts(out, members[m]);
                buf_puts(out, "\":");
                json_print_plain(value, out);
                buf_putc(out, ',');
            }
        }
        out->data[out->len - 1] = '}'; /* in the place of the last comma: there are times at least */
    }
    buf_putc(out, ']');
}
