/*
 * The promise that order does not matter, tried on random life stories of a candidate.
 *
 * A story is made first, as the truth: runs of several workflows, their nodes, answers, ends. Its events are derived
 * from it, told in a random order with repetitions, and must give what a second, simple reading of the rules (the
 * model: it works on the story, not on events, and shares no code with run.c and plan.c) says about the same story.
 * Then the events come bit by bit, and after each bit the writes go to an ATS where calls fail, get lost, or the daemon
 * dies: in the end the ATS holds what the model says, each note once.
 *
 * ATSYNC_SEED repeats a run, ATSYNC_STORIES says how many stories (10000).
 */
#include <inttypes.h>

#include "base/clock.h"
#include "domain/ledger.h"
#include "story.h"

enum { MAX_NODES = 4, MAX_ANSWERS = 3, MAX_RUNS = 4, MAX_ENDS = 2, MAX_TOLD = 64, MAX_WISHES = 128, MAX_ROWS = 256 };

/* ---- chance -------------------------------------------------------------------------------------------------------
 */

static uint64_t chance_state;
static uint64_t seed;
static unsigned long story_no;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t chance(void)
{
    uint64_t z = (chance_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned below(unsigned n)
{
    return (unsigned)(chance() % n);
}

static bool percent(unsigned p)
{
    return below(100) < p;
}

#define PICK(array) ((array)[below(ATS_COUNT(array))])

/* ---- the truth ----------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *id;
    const char *external_id; /* NULL: never told */
    unsigned identity;       /* what makes runs belong together */
    const char *map;
} workflows[] = {
    {"wf_0", "cedar", 0, "cedar"}, {"wf_1", "oak", 1, "*"},    {"wf_2", NULL, 2, "*"},
    {"wf_3", NULL, 3, "*"},        {"wf_4", NULL, 0, "cedar"}, /* learned */
};

struct t_answer {
    const char *slug;
    const char *answer; /* NULL: null */
    const char *state;
    int score; /* -1: null */
};

struct t_node {
    const char *id;
    unsigned type; /* 0 screening, 1 engagement, 2 condition */
    const char *status;
    int64_t from, to; /* seconds; likewise below */
    struct t_answer answers[MAX_ANSWERS];
    size_t answer_count;
    const char *event_id; /* NULL: its event got lost */
    int64_t event_time;
};

struct t_end {
    const char *event_id;
    int64_t time;
    const char *type;
    const char *outcome;
    const char *code;
    const char *class;
    bool truncated;
    bool listed[MAX_NODES];
};

struct t_run {
    const char *id;
    unsigned workflow;
    bool is_failed_contact;
    int64_t start;
    const char *resolved_id, *skipped_id, *started_id; /* NULL: no such event */
    int64_t resolved_time, skipped_time, started_time;
    struct t_node nodes[MAX_NODES];
    size_t node_count;
    struct t_end ends[MAX_ENDS];
    size_t end_count;
};

struct truth {
    struct arena *arena;
    struct t_run runs[MAX_RUNS];
    size_t run_count;
    bool calm; /* nothing in it can make known things unknown again: no cut events, no contradictions */
    struct json *maps;
};

static const char *fresh_id(struct arena *a)
{
    static unsigned long n;

    n = (n + 1) % 10000000;
    return arena_printf(a, "%02x-%lu", below(256), n); /* greater ids are not later ones */
}

static void make_node(struct truth *t, struct t_node *n, size_t place, int64_t from)
{
    static const char *const ids[MAX_NODES] = {"n0", "n1", "n2", "n3"};
    static const char *const statuses[] = {"PASSED_CRITERIA", "FAILED_CRITERIA", "COMPLETED", "NOT_INTERESTED"};
    static const char *const slugs[] = {"q1", "q2", "q3"};
    static const char *const words[] = {"red", "green", "blue", NULL};
    static const char *const states[] = {"IS_YES", "IS_NO", "IS_ANY", NULL};

    *n = (struct t_node){.id = ids[place], .type = below(3), .from = from, .to = from + 10 + below(3) * 10};
    n->event_time = n->to;
    n->event_id = percent(70) ? fresh_id(t->arena) : NULL;
    if (n->type == 2) {
        return;
    }
    n->status = PICK(statuses);
    for (size_t i = 0; i < MAX_ANSWERS; i++) {
        if (percent(60)) {
            n->answers[n->answer_count++] = (struct t_answer){.slug = slugs[i],
                                                              .answer = PICK(words),
                                                              .state = PICK(states),
                                                              .score = percent(60) ? (int)below(101) : -1};
        }
    }
}

static void make_end(struct truth *t, struct t_run *r, int64_t at)
{
    static const char *const types[] = {"COMPLETED", "FAILED", "CANCELLED"};
    static const char *const outcomes[] = {"completed",       "completed", "completed", "opted_out",
                                           "delivery_failed", "cancelled", "failed",    "evaporated"};
    static const char *const codes[] = {"SYSTEM_FAILURE", "EXECUTOR_TIMEOUT", NULL};
    static const char *const classes[] = {"SYSTEM", "DATA", NULL};
    struct t_end *e = &r->ends[r->end_count++];

    *e = (struct t_end){.event_id = fresh_id(t->arena), .time = at, .type = PICK(types), .outcome = PICK(outcomes)};
    if (strcmp(e->outcome, "failed") == 0) {
        e->code = PICK(codes);
        e->class = PICK(classes);
    }
    e->truncated = r->node_count > 0 && percent(25);
    for (size_t i = 0; i < r->node_count; i++) {
        e->listed[i] = !e->truncated || percent(50);
    }
    t->calm = t->calm && !e->truncated;
}

static void make_run(struct truth *t, size_t place)
{
    static const char *const ids[MAX_RUNS] = {"run_c", "run_a", "run_d", "run_b"};
    struct t_run *r = &t->runs[place];
    int64_t now = 1000 + below(12) * 10; /* coarse, so that times are often equal */

    *r = (struct t_run){.id = ids[place], .workflow = below(ATS_COUNT(workflows)), .start = now};
    if (percent(10)) {
        r->is_failed_contact = true;
        r->resolved_id = fresh_id(t->arena);
        r->resolved_time = now;
        return;
    }
    r->resolved_id = percent(30) ? fresh_id(t->arena) : NULL;
    r->resolved_time = now - 5;
    r->started_id = percent(60) ? fresh_id(t->arena) : NULL;
    r->started_time = now + below(2);
    r->skipped_id = percent(15) ? fresh_id(t->arena) : NULL;
    r->skipped_time = now + below(20) * 10;
    r->node_count = below(MAX_NODES + 1);
    for (size_t i = 0; i < r->node_count; i++) {
        make_node(t, &r->nodes[i], i, now);
        now = r->nodes[i].to;
    }
    if (percent(75)) {
        make_end(t, r, now);
        if (percent(8)) {
            make_end(t, r, now + below(2));
            t->calm = false;
        }
    }
    if (!r->resolved_id && !r->started_id && !r->skipped_id && r->end_count == 0) {
        r->started_id = fresh_id(t->arena); /* somebody must tell of it */
    }
}

/* ---- a mapping ----------------------------------------------------------------------------------------------------
 */

static void add_rules(struct buf *b)
{
    static const char *const conditions[] = {
        "contact_resolved",
        "contact_skipped",
        "contact_failed",
        "started",
        "node/n0",
        "node/n1/PASSED_CRITERIA",
        "node/n1",
        "node/n2",
        "completed",
        "completed/PASSED_CRITERIA",
        "completed/FAILED_CRITERIA",
        "opted_out",
        "delivery_failed",
        "cancelled",
        "failed",
        "failed/SYSTEM",
        "failed/SYSTEM_FAILURE",
        "failed/DATA",
        "finished",
    };
    bool first = true;

    for (size_t i = 0; i < ATS_COUNT(conditions); i++) {
        const char *comma = "";

        if (!percent(45)) {
            continue;
        }
        buf_printf(b, "%s'%s':{", first ? "" : ",", conditions[i]);
        first = false;
        if (percent(40)) {
            buf_printf(b, "'%s':'S%u'", percent(70) ? "stage" : "reject", below(4));
            comma = ",";
        }
        if (percent(30)) {
            buf_printf(b, "%s'tags':['t%u','u%u']", comma, below(3), below(3));
            comma = ",";
        }
        if (percent(30)) {
            buf_printf(b, "%s'note':'%zu {run} {state} {outcome} {result}'", comma, i);
            comma = ",";
        }
        if (percent(30)) {
            buf_printf(b, "%s'fields':{'f%u':%u,'g':'c%u'}", comma, below(5), below(3), below(3));
            comma = ",";
        }
        if (percent(20)) {
            buf_printf(b, "%s'assessment':'%s'", comma, percent(50) ? "mean" : percent(50) ? "q2" : "n1/q1");
        }
        buf_puts(b, "}");
    }
}

static const char *make_mapping(struct arena *a)
{
    static const char *const fields[] = {
        "'q1':'f0'",
        "'q2.score':'f1'",
        "'n1/q1':'f2'",
        "'q1.answerState':{'field':'f3','map':{'IS_YES':true,'IS_NO':'no'}}",
        "'q2':{'field':'f4','clear':true}",
        "'q3':'f0'",
        "'n2/q2.score':{'field':'f1','clear':true}",
    };
    static const char *const names[] = {"cedar", "*"};
    struct buf b;
    const char *text;

    buf_init(&b, 1 << 20);
    for (size_t w = 0; w < ATS_COUNT(names); w++) {
        bool first = true;

        buf_printf(&b, "%s'%s':{'job':'%s','live':%s,'on':{", w == 0 ? "{" : ",", names[w], percent(70) ? "J" : "K",
                   percent(30) ? "true" : "false");
        add_rules(&b);
        buf_puts(&b, "},'fields':{");
        for (size_t i = 0; i < ATS_COUNT(fields); i++) {
            if (percent(50)) {
                buf_printf(&b, "%s%s", first ? "" : ",", fields[i]);
                first = false;
            }
        }
        buf_puts(&b, "}}");
    }
    buf_puts(&b, "}");
    text = arena_strdup(a, buf_text(&b));
    buf_free(&b);
    return text;
}

/* ---- the events that the truth sends ------------------------------------------------------------------------------
 */

static const char *iso(struct truth *t, int64_t seconds)
{
    return arena_printf(t->arena, "%s", time_iso8601((INT64_C(1777370000) + seconds) * 1000000).s);
}

static const char *quoted(struct truth *t, const char *s)
{
    return s ? arena_printf(t->arena, "\"%s\"", s) : "null";
}

static void begin_event(struct truth *t, struct buf *b, const struct t_run *r, const char *type, const char *id,
                        int64_t time, bool contact)
{
    buf_reset(b);
    buf_printf(b,
               "{\"event\":\"WORKFLOW_%s\",\"eventId\":\"%s\",\"eventTimestamp\":\"%s\",\"data\":{\"recordId\":\"%s\","
               "\"workflowId\":\"%s\"",
               type, id, iso(t, contact ? time : time + below(50)), r->id, workflows[r->workflow].id);
    buf_printf(b, ",\"workflowExternalId\":%s", quoted(t, workflows[r->workflow].external_id));
    if (contact) {
        buf_puts(b, ",\"externalId\":\"ats_42\"");
    } else {
        buf_printf(b, ",\"timestamp\":\"%s\"", iso(t, time));
    }
}

static void end_event(struct buf *b, struct story *s)
{
    buf_puts(b, "}}");
    assert_true(s->count < STORY_MAX_EVENTS);
    assert_int_equal(event_parse(buf_text(b), b->len, s->arena, &s->events[s->count], NULL), ST_OK);
    s->count++;
}

static void add_node(struct truth *t, struct buf *b, const struct t_node *n)
{
    static const char *const types[] = {"SCREENING_OUTREACH", "ENGAGEMENT_OUTREACH", "CONDITION"};

    buf_printf(b,
               "\"nodeId\":\"%s\",\"nodeType\":\"%s\",\"enteredAt\":\"%s\",\"completedAt\":\"%s\",\"outcome\":", n->id,
               types[n->type], iso(t, n->from), iso(t, n->to));
    if (n->type == 2) {
        buf_puts(b, "{\"kind\":\"condition\",\"targetNodeId\":null}");
        return;
    }
    buf_printf(b, "{\"kind\":\"conversation\",\"status\":\"%s\",\"answers\":[", n->status);
    for (size_t i = 0; i < n->answer_count; i++) {
        const struct t_answer *a = &n->answers[i];

        buf_printf(b, "%s{\"slug\":\"%s\",\"answer\":%s,\"answerState\":%s,\"score\":", i == 0 ? "" : ",", a->slug,
                   quoted(t, a->answer), quoted(t, a->state));
        if (a->score < 0) {
            buf_puts(b, "null}");
        } else {
            buf_printf(b, "%d}", a->score);
        }
    }
    buf_puts(b, "]}");
}

static void tell_end(struct truth *t, struct buf *b, const struct t_run *r, const struct t_end *e, struct story *s)
{
    int64_t over = r->node_count > 0 ? r->nodes[r->node_count - 1].to : r->start;
    const char *comma = "";

    begin_event(t, b, r, arena_printf(t->arena, "RUN_%s", e->type), e->event_id, e->time, false);
    buf_printf(b,
               ",\"startedAt\":\"%s\",\"completedAt\":\"%s\",\"outcome\":\"%s\",\"errorCode\":%s,\"errorClass\":%s,"
               "\"truncated\":%s",
               iso(t, r->start), iso(t, over), e->outcome, quoted(t, e->code), quoted(t, e->class),
               e->truncated ? "true" : "false");
    if (r->node_count > 0) {
        buf_printf(b, ",\"finalNodeId\":\"%s\"", r->nodes[r->node_count - 1].id);
    }
    buf_puts(b, ",\"nodes\":[");
    for (size_t i = 0; i < r->node_count; i++) {
        if (e->listed[i]) {
            buf_printf(b, "%s{", comma);
            add_node(t, b, &r->nodes[i]);
            buf_puts(b, "}");
            comma = ",";
        }
    }
    buf_puts(b, "]");
    end_event(b, s);
}

static void tell_run(struct truth *t, struct buf *b, const struct t_run *r, struct story *s)
{
    if (r->resolved_id) {
        begin_event(t, b, r, r->is_failed_contact ? "CONTACT_RESOLUTION_FAILED" : "CONTACT_RESOLVED", r->resolved_id,
                    r->resolved_time, true);
        end_event(b, s);
    }
    if (r->skipped_id) {
        begin_event(t, b, r, "CONTACT_RESOLUTION_SKIPPED", r->skipped_id, r->skipped_time, true);
        end_event(b, s);
    }
    if (r->started_id) {
        begin_event(t, b, r, "RUN_STARTED", r->started_id, r->started_time, false);
        end_event(b, s);
    }
    for (size_t i = 0; i < r->node_count; i++) {
        if (r->nodes[i].event_id) {
            begin_event(t, b, r, "NODE_COMPLETED", r->nodes[i].event_id, r->nodes[i].event_time, false);
            buf_puts(b, ",");
            add_node(t, b, &r->nodes[i]);
            end_event(b, s);
        }
    }
    for (size_t i = 0; i < r->end_count; i++) {
        tell_end(t, b, r, &r->ends[i], s);
    }
}

static void tell(struct truth *t, struct story *s)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < t->run_count; i++) {
        tell_run(t, &b, &t->runs[i], s);
    }
    if (percent(20)) { /* and one that is about no candidate */
        begin_event(t, &b, &t->runs[0], "PUBLISHED", fresh_id(t->arena), 0, true);
        end_event(&b, s);
    }
    buf_free(&b);
}

/* ---- the model: the rules, read once more ---------------------------------------------------------------------------
 */

struct m_moment {
    const char *names[4]; /* conditions that name it, the most specific first */
    const char *name;     /* of the note */
    int64_t time;
    const char *event_id;
};

struct m_wish {
    const char *key;
    const char *text; /* kind and value */
    unsigned identity;
    int64_t time;
    const char *event_id;
};

struct model {
    struct truth *t;
    struct m_wish wishes[MAX_WISHES];
    size_t count;
};

static bool is_later(int64_t time, const char *id, int64_t than_time, const char *than_id)
{
    return time != than_time ? time > than_time : strcmp(id, than_id) > 0;
}

static const struct t_end *the_end(const struct t_run *r)
{
    const struct t_end *last = NULL;

    for (size_t i = 0; i < r->end_count; i++) {
        if (!last || is_later(r->ends[i].time, r->ends[i].event_id, last->time, last->event_id)) {
            last = &r->ends[i];
        }
    }
    return last;
}

static bool listed_at_end(const struct t_run *r, size_t node)
{
    const struct t_end *e = the_end(r);

    return e && e->listed[node];
}

static bool is_known(const struct t_run *r, size_t node)
{
    return listed_at_end(r, node) || r->nodes[node].event_id;
}

static bool all_known(const struct t_run *r)
{
    for (size_t i = 0; i < r->node_count; i++) {
        if (!is_known(r, i)) {
            return false;
        }
    }
    return true;
}

/* Everything that came of a run, as times; the latest event as an id. */
static void span_of(const struct t_run *r, int64_t *ret_first, const char **ret_last_id)
{
    struct {
        const char *id;
        int64_t time;
    } all[3 + MAX_NODES + MAX_ENDS];
    size_t n = 0;
    size_t last = 0;

    all[n].id = r->resolved_id, all[n++].time = r->resolved_time;
    all[n].id = r->skipped_id, all[n++].time = r->skipped_time;
    all[n].id = r->started_id, all[n++].time = r->started_time;
    for (size_t i = 0; i < r->node_count; i++) {
        all[n].id = r->nodes[i].event_id, all[n++].time = r->nodes[i].event_time;
    }
    for (size_t i = 0; i < r->end_count; i++) {
        all[n].id = r->ends[i].event_id, all[n++].time = r->ends[i].time;
    }
    *ret_first = INT64_MAX;
    *ret_last_id = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!all[i].id) {
            continue;
        }
        *ret_first = all[i].time < *ret_first ? all[i].time : *ret_first;
        if (!*ret_last_id || is_later(all[i].time, all[i].id, all[last].time, all[last].id)) {
            last = i;
            *ret_last_id = all[i].id;
        }
    }
}

static int64_t order_of(const struct t_run *r)
{
    int64_t first;
    const char *last_id;

    if (the_end(r)) {
        return r->start;
    }
    if (r->started_id) {
        return r->started_time;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        if (is_known(r, i)) {
            return r->nodes[i].from;
        }
    }
    span_of(r, &first, &last_id);
    return first;
}

static const char *result_of(const struct t_run *r)
{
    const char *talk = NULL;
    const char *screening = NULL;

    if (!the_end(r) || strcmp(the_end(r)->outcome, "completed") != 0) {
        return NULL;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        if (is_known(r, i) && r->nodes[i].status) {
            talk = r->nodes[i].status;
            screening = r->nodes[i].type == 0 ? talk : screening;
        }
    }
    return screening ? screening : talk;
}

static const char *state_of(const struct t_run *r, bool has_started)
{
    const struct t_end *e = the_end(r);

    if (!e) {
        return has_started ? "running" : "contact";
    }
    return strcmp(e->type, "COMPLETED") == 0 ? "completed" : strcmp(e->type, "FAILED") == 0 ? "failed" : "cancelled";
}

/* The moments of a run, in order. */
static size_t moments_of(struct truth *t, const struct t_run *r, struct m_moment *ret, bool *ret_started)
{
    const struct t_end *e = the_end(r);
    const char *last_id;
    int64_t first;
    size_t n = 0;
    bool started = r->started_id || e;
    size_t contacts = 0;

    span_of(r, &first, &last_id);
    if (r->is_failed_contact) {
        ret[n++] = (struct m_moment){{"contact_failed"}, "contact_failed", r->resolved_time, r->resolved_id};
    } else if (r->resolved_id) {
        ret[n++] = (struct m_moment){{"contact_resolved"}, "contact_resolved", r->resolved_time, r->resolved_id};
    }
    if (r->skipped_id) {
        ret[n++] = (struct m_moment){{"contact_skipped"}, "contact_skipped", r->skipped_time, r->skipped_id};
    }
    contacts = n;
    if (contacts == 2 && is_later(ret[0].time, ret[0].event_id, ret[1].time, ret[1].event_id)) {
        struct m_moment swapped = ret[0];

        ret[0] = ret[1];
        ret[1] = swapped;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        started = started || r->nodes[i].event_id;
    }
    if (started) {
        ret[n++] = (struct m_moment){{"started"},
                                     "started",
                                     r->started_id ? r->started_time : order_of(r),
                                     r->started_id ? r->started_id
                                     : e           ? e->event_id
                                                   : last_id};
    }
    for (size_t i = 0; i < r->node_count; i++) {
        const struct t_node *node = &r->nodes[i];

        if (is_known(r, i)) {
            const char *name = arena_printf(t->arena, "node/%s", node->id);

            ret[n++] =
                (struct m_moment){{node->status ? arena_printf(t->arena, "%s/%s", name, node->status) : name, name},
                                  name,
                                  node->to,
                                  listed_at_end(r, i) ? e->event_id : node->event_id};
        }
    }
    if (e && strcmp(e->outcome, "failed") == 0) {
        ret[n++] =
            (struct m_moment){{arena_printf(t->arena, "failed/%s", e->code ? e->code : "-"),
                               arena_printf(t->arena, "failed/%s", e->class ? e->class : "-"), "failed", "finished"},
                              "failed",
                              e->time,
                              e->event_id};
    } else if (e) {
        const char *result = result_of(r);

        ret[n++] = (struct m_moment){
            {result ? arena_printf(t->arena, "%s/%s", e->outcome, result) : e->outcome, e->outcome, "finished"},
            e->outcome,
            e->time,
            e->event_id};
    }
    *ret_started = started;
    return n;
}

/* The rule that speaks about an action at a moment. */
static const struct json *rule_for(const struct json *map, const struct m_moment *m, const char *action,
                                   const char *or_action)
{
    for (size_t i = 0; i < ATS_COUNT(m->names) && m->names[i]; i++) {
        const struct json *rule = json_get(json_get(map, "on"), m->names[i]);

        if (json_get(rule, action) || (or_action && json_get(rule, or_action))) {
            return rule;
        }
    }
    return NULL;
}

static void wish(struct model *m, const struct t_run *r, int64_t time, const char *event_id, const char *key,
                 const char *text)
{
    struct m_wish w = {key, text, workflows[r->workflow].identity, time, event_id};

    for (size_t i = 0; i < m->count; i++) {
        if (m->wishes[i].identity == w.identity && strcmp(m->wishes[i].key, key) == 0) {
            m->wishes[i] = w;
            return;
        }
    }
    assert_true(m->count < MAX_WISHES);
    m->wishes[m->count++] = w;
}

static const char *text_of(struct truth *t, const char *kind, const struct json *value)
{
    char *text = json_text(value);
    const char *copy = arena_printf(t->arena, "%s %s", kind, text);

    mem_free(text);
    return copy;
}

/* The last answer to a slug; in_node NULL: anywhere. */
static const struct t_answer *last_answer(const struct t_run *r, const char *in_node, const char *slug)
{
    const struct t_answer *found = NULL;

    for (size_t i = 0; i < r->node_count; i++) {
        if (!is_known(r, i) || (in_node && strcmp(in_node, r->nodes[i].id) != 0)) {
            continue;
        }
        for (size_t k = 0; k < r->nodes[i].answer_count; k++) {
            found = strcmp(r->nodes[i].answers[k].slug, slug) == 0 ? &r->nodes[i].answers[k] : found;
        }
    }
    return found;
}

static const char *score_text(struct truth *t, const struct t_run *r, const char *from)
{
    static const char *const slugs[] = {"q1", "q2", "q3"};
    int sum = 0;
    int n = 0;

    if (strcmp(from, "mean") != 0) {
        const struct t_answer *a = from[0] == 'n' ? last_answer(r, "n1", "q1") : last_answer(r, NULL, from);

        return a && a->score >= 0 ? arena_printf(t->arena, "%d", a->score) : "null";
    }
    for (size_t i = 0; i < ATS_COUNT(slugs); i++) {
        const struct t_answer *a = last_answer(r, NULL, slugs[i]);

        sum += a && a->score >= 0 ? a->score : 0;
        n += a && a->score >= 0;
    }
    if (n == 0) {
        return "null";
    }
    int tenths = (sum * 20 + n) / (2 * n);

    return tenths % 10 ? arena_printf(t->arena, "%d.%d", tenths / 10, tenths % 10)
                       : arena_printf(t->arena, "%d", tenths / 10);
}

/* What one field says of an answer, as JSON text; NULL: nothing. */
static const char *answer_text(struct truth *t, const char *key, const struct t_answer *a)
{
    if (strstr(key, ".score")) {
        return a->score < 0 ? NULL : arena_printf(t->arena, "%d", a->score);
    }
    if (strstr(key, ".answerState")) {
        return !a->state                         ? NULL
               : strcmp(a->state, "IS_YES") == 0 ? "true"
               : strcmp(a->state, "IS_NO") == 0  ? "\"no\""
                                                 : NULL;
    }
    return a->answer ? quoted(t, a->answer) : NULL;
}

static void model_fields(struct model *m, const struct t_run *r, const struct json *map)
{
    const struct t_end *e = the_end(r);

    for (const struct json *f = json_first(json_get(map, "fields")); f; f = json_next(f)) {
        const char *key = json_key(f);
        const char *slash = strchr(key, '/');
        const char *slug = slash ? slash + 1 : key;
        bool clear = json_get_bool(f, "clear") && e;
        bool asked = false;
        bool said = false;
        const char *value = NULL;
        size_t node = 0;

        for (size_t i = 0; i < r->node_count; i++) {
            for (size_t k = 0; is_known(r, i) && k < r->nodes[i].answer_count; k++) {
                const struct t_answer *a = &r->nodes[i].answers[k];

                if (strncmp(a->slug, slug, 2) != 0 || (slash && strncmp(key, r->nodes[i].id, 2) != 0)) {
                    continue;
                }
                asked = true;
                if (answer_text(m->t, key, a) || clear) {
                    value = answer_text(m->t, key, a);
                    node = i;
                    said = true;
                }
            }
        }
        bool whole = e && (!e->truncated || all_known(r));

        if (value || (clear && (said || (!asked && whole)))) {
            const char *field = json_str(f) ? json_str(f) : json_get_str(f, "field");

            wish(m, r, e ? e->time : r->nodes[node].to, e ? e->event_id : r->nodes[node].event_id,
                 arena_printf(m->t->arena, "field/%s", field),
                 arena_printf(m->t->arena, "field %s", value ? value : "null"));
        }
    }
}

static void model_moment(struct model *m, const struct t_run *r, const struct json *map, const struct m_moment *h,
                         bool has_started)
{
    struct arena *a = m->t->arena;
    const char *job = json_get_str(map, "job");
    const char *result = result_of(r);
    const struct json *rule = rule_for(map, h, "stage", "reject");

    if (rule) {
        const char *kind = json_get(rule, "stage") ? "stage" : "reject";

        wish(m, r, h->time, h->event_id, arena_printf(a, "disposition/%s", job),
             text_of(m->t, kind, json_get(rule, kind)));
    }
    for (const struct json *tag = json_first(json_get(rule_for(map, h, "tags", NULL), "tags")); tag;
         tag = json_next(tag)) {
        wish(m, r, h->time, h->event_id, arena_printf(a, "tag/%s", json_str(tag)), text_of(m->t, "tag", tag));
    }
    for (const struct json *f = json_first(json_get(rule_for(map, h, "fields", NULL), "fields")); f; f = json_next(f)) {
        wish(m, r, h->time, h->event_id, arena_printf(a, "field/%s", json_key(f)), text_of(m->t, "field", f));
    }
    rule = rule_for(map, h, "assessment", NULL);
    if (rule) {
        const char *status = result ? result : the_end(r) ? the_end(r)->outcome : NULL;

        wish(m, r, h->time, h->event_id, arena_printf(a, "assessment/%s", job),
             arena_printf(a, "assessment %s %s", score_text(m->t, r, json_get_str(rule, "assessment")),
                          quoted(m->t, status)));
    }
    rule = rule_for(map, h, "note", NULL);
    if (rule) {
        const char *number = arena_strndup(a, json_get_str(rule, "note"), strcspn(json_get_str(rule, "note"), " "));

        wish(m, r, h->time, h->event_id, arena_printf(a, "note/%s/%s", r->id, h->name),
             arena_printf(a, "note \"%s %s %s %s %s\"", number, r->id, state_of(r, has_started),
                          the_end(r) ? the_end(r)->outcome : "", result ? result : ""));
    }
}

static int by_order(const void *a, const void *b)
{
    const struct t_run *x = *(const struct t_run *const *)a;
    const struct t_run *y = *(const struct t_run *const *)b;
    int64_t ox = order_of(x);
    int64_t oy = order_of(y);

    if (x->is_failed_contact || y->is_failed_contact) {
        ox = x->is_failed_contact ? x->resolved_time : ox;
        oy = y->is_failed_contact ? y->resolved_time : oy;
    }
    return ox != oy ? (ox < oy ? -1 : 1) : strcmp(x->id, y->id);
}

static int by_wish_key(const void *a, const void *b)
{
    return strcmp(((const struct m_wish *)a)->key, ((const struct m_wish *)b)->key);
}

static void model_make(struct model *m)
{
    const struct t_run *sorted[MAX_RUNS];
    size_t kept = 0;

    for (size_t i = 0; i < m->t->run_count; i++) {
        sorted[i] = &m->t->runs[i];
    }
    qsort(sorted, m->t->run_count, sizeof *sorted, by_order);
    for (size_t i = 0; i < m->t->run_count; i++) {
        const struct t_run *r = sorted[i];
        const struct json *map = json_get(m->t->maps, workflows[r->workflow].map);
        struct m_moment list[3 + MAX_NODES + 1];
        bool started;
        size_t n = moments_of(m->t, r, list, &started);
        bool over = the_end(r) != NULL;

        for (size_t k = 0; k < n; k++) {
            if (over && k + 1 == n) {
                model_fields(m, r, map);
            }
            model_moment(m, r, map, &list[k], started);
        }
        if (!over && json_get_bool(map, "live")) {
            model_fields(m, r, map);
        }
    }
    /* between workflows the later event decides */
    for (size_t i = 0; i < m->count; i++) {
        size_t k = 0;

        while (k < kept && strcmp(m->wishes[k].key, m->wishes[i].key) != 0) {
            k++;
        }
        if (k == kept) {
            m->wishes[kept++] = m->wishes[i];
        } else if (is_later(m->wishes[i].time, m->wishes[i].event_id, m->wishes[k].time, m->wishes[k].event_id)) {
            m->wishes[k] = m->wishes[i];
        }
    }
    m->count = kept;
    qsort(m->wishes, m->count, sizeof *m->wishes, by_wish_key);
}

/* ---- fold and plan of what has been told
 * ------------------------------------------------------------------------------ */

static const char *learned(void *ctx, const char *source, const char *workflow_id)
{
    (void)ctx;
    (void)source;
    return strcmp(workflow_id, "wf_4") == 0 ? "cedar" : NULL;
}

static void plan_of(const struct event *told, size_t count, const struct mapping *mapping, struct arena *a,
                    struct plan *ret)
{
    static const struct workflow_names names = {.external_id_of = learned, .source = "popp"};
    struct run_set *set = arena_alloc(a, sizeof *set);

    runs_fold(told, count, a, set);
    plan_make(set, mapping, "ats", &names, a, ret);
}

static const char *wish_text(const struct desired *d, struct arena *a)
{
    struct buf b;
    const char *text;

    buf_init(&b, 1 << 20);
    buf_printf(&b, "%s ", write_kind_name(d->kind));
    json_print_canonical(d->value, &b);
    text = arena_strdup(a, buf_text(&b));
    buf_free(&b);
    return text;
}

/* The model does not write summaries: of an assessment score and status. */
static const char *compared_text(const struct desired *d, struct arena *a)
{
    if (d->kind != WRITE_ASSESSMENT) {
        return wish_text(d, a);
    }
    char *score = json_text(json_get(d->value, "score"));
    char *status = json_text(json_get(d->value, "status"));
    const char *text = arena_printf(a, "assessment %s %s", score, status);

    mem_free(score);
    mem_free(status);
    return text;
}

#define BROKEN(...)                                                                                                    \
    do {                                                                                                               \
        print_error("ATSYNC_SEED=%" PRIu64 ", story %lu:\n", seed, story_no);                                          \
        fail_msg(__VA_ARGS__);                                                                                         \
    } while (0)

static void compare_with_model(const struct plan *plan, const struct model *m, struct arena *a)
{
    for (size_t i = 0; i < plan->count && i < m->count; i++) {
        const char *got = compared_text(&plan->items[i], a);

        if (strcmp(plan->items[i].key, m->wishes[i].key) != 0 || strcmp(got, m->wishes[i].text) != 0) {
            BROKEN("got %s = %s, the model says %s = %s", plan->items[i].key, got, m->wishes[i].key, m->wishes[i].text);
        }
        if (strcmp(plan->items[i].stamp.event_id, m->wishes[i].event_id) != 0) {
            BROKEN("%s was decided by event %s, the model says %s", plan->items[i].key, plan->items[i].stamp.event_id,
                   m->wishes[i].event_id);
        }
    }
    if (plan->count != m->count) {
        BROKEN("%zu wishes, the model has %zu", plan->count, m->count);
    }
}

/* ---- an ATS and a ledger, where things go wrong
 * ------------------------------------------------------------------------- */

struct place {
    const char *key;
    const char *text; /* what is there now */
    unsigned notes;   /* how many notes of this key were posted */
};

struct world {
    struct arena *arena;
    struct place ats[MAX_WISHES];
    size_t ats_count;
    struct ledger_row rows[MAX_ROWS]; /* live rows, by key */
    size_t row_count;
    int64_t now_us;
};

static struct place *place_of(struct world *w, const char *key)
{
    for (size_t i = 0; i < w->ats_count; i++) {
        if (strcmp(w->ats[i].key, key) == 0) {
            return &w->ats[i];
        }
    }
    return NULL;
}

static bool ats_has(struct world *w, const struct desired *d)
{
    const struct place *p = place_of(w, d->key);

    return p && (write_is_append(d->kind) || strcmp(p->text, wish_text(d, w->arena)) == 0);
}

static void ats_write(struct world *w, const struct desired *d)
{
    struct place *p = place_of(w, d->key);

    if (!p) {
        assert_true(w->ats_count < MAX_WISHES);
        p = &w->ats[w->ats_count++];
        *p = (struct place){.key = arena_strdup(w->arena, d->key)};
    }
    p->text = wish_text(d, w->arena);
    p->notes += write_is_append(d->kind);
    if (p->notes > 1) {
        BROKEN("%s was posted twice", d->key);
    }
}

static int by_row_key(const void *a, const void *b)
{
    return strcmp(((const struct ledger_row *)a)->key, ((const struct ledger_row *)b)->key);
}

/* The row that is to hold the wish, as the store writes it before the call. */
static struct ledger_row *intend(struct world *w, const struct ledger_item *item, enum write_state state)
{
    struct ledger_row *row = item->row ? &w->rows[item->row - w->rows] : &w->rows[w->row_count];

    if (item->fresh) {
        assert_true(w->row_count < MAX_ROWS);
        w->row_count += !item->row;
        *row = (struct ledger_row){.key = arena_strdup(w->arena, item->wish->key),
                                   .rev = item->rev,
                                   .kind = item->wish->kind,
                                   .base_hash = arena_strdup(w->arena, item->base_hash),
                                   .first_tried_us = state == WRITE_PENDING ? INT64_MIN : w->now_us,
                                   .next_attempt_us = INT64_MIN};
    }
    row->hash = arena_strdup(w->arena, item->wish->hash);
    row->uncertain = row->uncertain || row->state == WRITE_SENDING;
    row->state = state;
    row->attempts += state == WRITE_SENDING;
    row->failed_before = row->failed_before || row->attempts > 0;
    return row;
}

static void put_off(struct world *w, struct ledger_row *row, bool uncertain)
{
    row->state = WRITE_PENDING;
    row->uncertain = uncertain;
    row->next_attempt_us = w->now_us + below(3);
}

/* Makes the call. Returns false when the daemon dies in it. */
static bool make_call(struct world *w, const struct ledger_item *item, struct ledger_row *row, bool rough)
{
    if (item->look_first && ats_has(w, item->wish)) {
        row->state = WRITE_APPLIED;
        return true;
    }
    switch (rough ? below(8) : 0) {
    case 1: /* not done */
        put_off(w, row, false);
        return true;
    case 2: /* done or not, the answer was lost */
        if (percent(50)) {
            ats_write(w, item->wish);
        }
        put_off(w, row, true);
        return true;
    case 3: /* died before or after */
        if (percent(50)) {
            ats_write(w, item->wish);
        }
        return false;
    case 4: /* refused */
        row->state = WRITE_DEAD;
        row->uncertain = false;
        return true;
    case 5: /* not even begun: the connector has to wait */
        put_off(w, row, item->look_first);
        row->attempts--;
        return true;
    default:
        ats_write(w, item->wish);
        row->state = WRITE_APPLIED;
        row->uncertain = false;
        return true;
    }
}

/* One round of the dispatcher. Returns how much there was to do. */
static size_t deliver(struct world *w, const struct plan *plan, bool rough)
{
    struct ledger_diff d;
    struct ledger_row **targets;
    size_t work;

    ledger_diff(plan, w->rows, w->row_count, w->now_us, w->arena, &d);
    if (rough && percent(20)) {
        ledger_list_only(&d); /* the connector waits */
    }
    work = d.to_send + d.obsolete_count;
    targets = arena_alloc(w->arena, (d.count + 1) * sizeof(struct ledger_row *));
    for (size_t i = 0; i < d.obsolete_count; i++) {
        w->rows[d.obsolete[i] - w->rows].state = WRITE_SUPERSEDED;
    }
    for (size_t i = 0; i < d.count; i++) {
        const struct ledger_item *item = &d.items[i];
        bool there = item->step == LEDGER_RECORD || (item->step == LEDGER_KEEP && item->row->state == WRITE_APPLIED);

        if (there && !ats_has(w, item->wish)) {
            BROKEN("the ledger takes %s for done, but the ATS does not hold it", item->wish->key);
        }
        work += item->step == LEDGER_RECORD;
        if (item->step != LEDGER_KEEP) {
            targets[i] = intend(w, item,
                                item->step == LEDGER_LIST   ? WRITE_PENDING
                                : item->step == LEDGER_SEND ? WRITE_SENDING
                                                            : WRITE_APPLIED);
        }
    }
    for (size_t i = 0; i < d.count; i++) {
        if (d.items[i].step == LEDGER_SEND && !make_call(w, &d.items[i], targets[i], rough)) {
            break; /* the rows of the other calls still say "sending" */
        }
    }
    qsort(w->rows, w->row_count, sizeof *w->rows, by_row_key);
    w->now_us++;
    return work;
}

static void everything_works(struct world *w, const struct plan *plan)
{
    size_t rounds = 0;

    do {
        for (size_t i = 0; i < w->row_count; i++) {
            if (w->rows[i].state == WRITE_DEAD) { /* somebody said: try again */
                w->rows[i].state = WRITE_PENDING;
                w->rows[i].next_attempt_us = INT64_MIN;
            }
        }
        w->now_us += 100;
        assert_true(++rounds < 10);
    } while (deliver(w, plan, false) > 0);
}

static void check_the_end(struct world *w, const struct plan *plan, bool calm)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct desired *d = &plan->items[i];
        const struct place *p = place_of(w, d->key);

        if (!p || !ats_has(w, d)) {
            BROKEN("in the end %s is %s, wanted %s", d->key, p ? p->text : "missing", wish_text(d, w->arena));
        }
        if (write_is_append(d->kind) && p->notes != 1) {
            BROKEN("%s stands there %u times", d->key, p->notes);
        }
    }
    for (size_t i = 0; calm && i < w->ats_count;
         i++) { /* what comes late only adds: nothing was written that is not wanted in the end */
        bool wanted = false;

        for (size_t k = 0; k < plan->count; k++) {
            wanted = wanted || strcmp(plan->items[k].key, w->ats[i].key) == 0;
        }
        if (!wanted) {
            BROKEN("%s = %s was written and is not wanted", w->ats[i].key, w->ats[i].text);
        }
    }
    for (size_t i = 0; i < w->row_count; i++) {
        assert_true(w->rows[i].state == WRITE_APPLIED || w->rows[i].state == WRITE_SUPERSEDED);
    }
}

/* ---- a story
 * ---------------------------------------------------------------------------------------------------------- */

/* All events, some of them twice, in any order. */
static size_t shuffle(const struct story *s, struct event *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++) {
        ret[n++] = s->events[i];
        if (n + (s->count - i) < MAX_TOLD && percent(30)) {
            ret[n++] = s->events[i];
        }
    }
    for (size_t i = n; i > 1; i--) {
        size_t k = below((unsigned)i);
        struct event swapped = ret[i - 1];

        ret[i - 1] = ret[k];
        ret[k] = swapped;
    }
    return n;
}

/* other: what the configuration says for a while; NULL: it never changes. */
static void live_through(const struct event *told, size_t count, const struct mapping *mapping,
                         const struct mapping *other, bool calm, struct arena *a)
{
    struct world *w = arena_alloc(a, sizeof *w);
    size_t known = 0;
    struct plan plan;

    w->arena = a;
    while (known < count) {
        known += 1 + below((unsigned)(count - known));
        plan_of(told, known, other && known < count && percent(50) ? other : mapping, a, &plan);
        for (unsigned rounds = below(3); rounds > 0; rounds--) {
            deliver(w, &plan, true);
        }
        if (known == count) {
            everything_works(w, &plan);
            check_the_end(w, &plan, calm);
        }
        plan_clear(&plan);
    }
}

static void one_story(void)
{
    struct truth t = {.arena = arena_new(), .calm = true};
    struct event told[MAX_TOLD];
    struct model *m = arena_alloc(t.arena, sizeof *m);
    struct story s = {.arena = t.arena};
    struct mapping mapping;
    struct mapping other;
    struct plan first;
    struct plan second;
    size_t count;

    t.run_count = 1 + below(MAX_RUNS);
    for (size_t i = 0; i < t.run_count; i++) {
        make_run(&t, i);
    }
    const char *text = unquoted(make_mapping(t.arena), t.arena);

    assert_int_equal(json_parse(text, strlen(text), &t.maps, NULL), ST_OK);
    mapping = story_mapping(text, t.arena);
    tell(&t, &s);
    m->t = &t;
    model_make(m);

    count = shuffle(&s, told);
    plan_of(told, count, &mapping, t.arena, &first);
    compare_with_model(&first, m, t.arena);
    bool reconfigured = percent(30);

    if (reconfigured) {
        other = story_mapping(make_mapping(t.arena), t.arena);
    }
    live_through(told, count, &mapping, reconfigured ? &other : NULL, t.calm && !reconfigured, t.arena);

    count = shuffle(&s, told);
    plan_of(told, count, &mapping, t.arena, &second);
    const char *once = story_plan_text(&first, t.arena);
    const char *again = story_plan_text(&second, t.arena);

    if (strcmp(once, again) != 0) {
        BROKEN("one order gives\n%s\nanother one\n%s", once, again);
    }
    plan_clear(&first);
    plan_clear(&second);
    json_free(t.maps);
    arena_free(t.arena);
}

static void test_stories(void **state)
{
    const char *text = getenv("ATSYNC_STORIES");
    int64_t stories = 10000;

    (void)state;
    if (text) {
        assert_true(text_to_i64(text, 1, 100000000, &stories));
    }
    for (story_no = 0; story_no < (unsigned long)stories; story_no++) {
        chance_state = seed + story_no * UINT64_C(1000003); /* so that a story does not depend on those before it */
        one_story();
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_stories)};
    const char *text = getenv("ATSYNC_SEED");
    int64_t number;

    seed = text && text_to_i64(text, 0, INT64_MAX, &number) ? (uint64_t)number : (uint64_t)clock_wall_us();
    printf("ATSYNC_SEED=%" PRIu64 "\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
