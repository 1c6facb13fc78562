/*
 * story - how the tests of the domain tell what happened: events and mappings as short texts.
 *
 * Events are the sender's JSON with ' for ", put together from macros; a mapping is JSON of the same shape as the YAML
 * of the configuration. Not a test of its own: included by the tests beside it.
 */
#ifndef ATSYNC_TESTS_DOMAIN_STORY_H
#define ATSYNC_TESTS_DOMAIN_STORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "domain/event.h"
#include "domain/mapping.h"
#include "domain/plan.h"
#include "domain/run.h"
#include "lib/json.h"

enum { STORY_MAX_EVENTS = 64 };

struct story {
    struct arena *arena;
    struct event events[STORY_MAX_EVENTS];
    size_t count;
};

/* ---- events: of run R at time "10:30:00", the day is always the same
 * -------------------------------------------------- */

#define AT(hms) "'2026-04-28T" hms ".000Z'"
#define OF_RUN(run)                                                                                                    \
    "'recordId':'" run                                                                                                 \
    "','organizationId':'org_1','workflowId':'wf_1','workflowVersionId':'wfv_1','workflowExternalId':'cedar',"         \
    "'candidateProfileId':'cp_1','candidateProfileExternalId':'ats_42'"
#define EVENT(type, id, hms, data)                                                                                     \
    "{'event':'" type "','eventId':'" id "','eventTimestamp':" AT(hms) ",'data':{" data "}}"
#define STARTED(id, run, hms) EVENT("WORKFLOW_RUN_STARTED", id, hms, OF_RUN(run) ",'timestamp':" AT(hms))
#define NODE_DONE(id, run, hms, node)                                                                                  \
    EVENT("WORKFLOW_NODE_COMPLETED", id, hms, OF_RUN(run) ",'timestamp':" AT(hms) "," node)
/* extra: further members, each with a comma in front; nodes: objects with commas between */
#define ENDED(type, id, run, from, to, outcome, extra, nodes)                                                          \
    EVENT("WORKFLOW_RUN_" type, id, to,                                                                                \
          OF_RUN(run) ",'timestamp':" AT(to) ",'startedAt':" AT(from) ",'completedAt':" AT(to) ",'outcome':'" outcome  \
                                                                                               "'" extra               \
                                                                                               ",'nodes':[" nodes "]")
#define WHOLE ",'truncated':false"
#define CUT ",'truncated':true"
#define CONTACT(type, id, run, hms, extra)                                                                             \
    EVENT("WORKFLOW_CONTACT_" type, id, hms,                                                                           \
          "'recordId':'" run "','organizationId':'org_1','workflowId':'wf_1','workflowExternalId':'cedar',"            \
          "'externalId':'ats_42','contactIndex':0" extra)

#define NODE(name, type, from, to, outcome)                                                                            \
    "'nodeId':'" name "','nodeType':'" type                                                                            \
    "','enteredAt':" AT(from) ",'completedAt':" AT(to) ",'routingEvent':'onComplete','outcome':" outcome
#define SCREEN(name, from, to, outcome) NODE(name, "SCREENING_OUTREACH", from, to, outcome)
#define ENGAGE(name, from, to, outcome) NODE(name, "ENGAGEMENT_OUTREACH", from, to, outcome)
#define BRANCH(name, from, to)                                                                                         \
    NODE(name, "CONDITION", from, to, "{'kind':'condition','targetNodeId':'x','targetNodeLabel':null}")
#define TALK(status, answers)                                                                                          \
    "{'kind':'conversation','conversationId':'conv_1','status':'" status "','answers':[" answers "]}"
#define SAID(slug, text) "{'slug':'" slug "','answer':'" text "'}"

/* ' becomes ", and ` becomes '. */
ATS_UNUSED static char *unquoted(const char *text, struct arena *arena)
{
    char *copy = arena_strdup(arena, text);

    for (char *c = copy; *c; c++) {
        *c = *c == '\'' ? '"' : *c == '`' ? '\'' : *c;
    }
    return copy;
}

ATS_UNUSED static void story_open(struct story *s)
{
    *s = (struct story){.arena = arena_new()};
}

ATS_UNUSED static void story_close(struct story *s)
{
    arena_free(s->arena);
}

ATS_UNUSED static void story_tell(struct story *s, const char *text)
{
    const char *body = unquoted(text, s->arena);
    struct errmsg err;

    assert_true(s->count < STORY_MAX_EVENTS);
    if (event_parse(body, strlen(body), s->arena, &s->events[s->count], &err) != ST_OK) {
        fail_msg("%s in %s", err.text, body);
    }
    s->count++;
}

/* The one run that the texts tell of. */
ATS_UNUSED static const struct run *story_run(struct story *s, const char *const *texts, size_t count)
{
    struct run_set set;

    for (size_t i = 0; i < count && texts[i]; i++) {
        story_tell(s, texts[i]);
    }
    runs_fold(s->events, s->count, s->arena, &set);
    assert_int_equal(set.count, 1);
    return &set.runs[0];
}

ATS_UNUSED static void assert_texts(const char *what, const char *got, const char *wanted)
{
    if (!text_eq(got, wanted)) {
        fail_msg("%s: got\n%s\nwanted\n%s", what, got ? got : "(null)", wanted ? wanted : "(null)");
    }
}

/* ---- mappings -----------------------------------------------------------------------------------------------------
 */

static char *story_dup(const struct json *j, struct arena *a)
{
    return arena_strdup(a, json_str(j));
}

static char *story_scalar(const struct json *j, struct arena *a)
{
    char *text = json_text(j);
    char *copy = arena_strdup(a, text);

    mem_free(text);
    return copy;
}

static char **story_list(const struct json *array, size_t *ret_count, struct arena *a)
{
    char **list = arena_alloc(a, (json_count(array) + 1) * sizeof *list);
    size_t n = 0;

    for (const struct json *e = json_first(array); e; e = json_next(e)) {
        list[n++] = story_dup(e, a);
    }
    *ret_count = n;
    return list;
}

static struct rule story_rule(const struct json *member, unsigned line, struct arena *a)
{
    struct rule r = {.condition_text = arena_strdup(a, json_key(member)), .line = line};
    struct condition c;
    struct errmsg err;
    const struct json *fields = json_get(member, "fields");

    if (condition_parse(r.condition_text, &c, &err) != ST_OK) {
        fail_msg("%s", err.text);
    }
    r.condition = (struct condition){
        .moment = c.moment, .node_id = arena_strdup(a, c.node_id), .qualifier = arena_strdup(a, c.qualifier)};
    condition_clear(&c);
    r.stage = story_dup(json_get(member, "stage"), a);
    r.reject = story_dup(json_get(member, "reject"), a);
    r.note = story_dup(json_get(member, "note"), a);
    r.only_from = story_list(json_get(member, "only_from"), &r.only_from_count, a);
    r.tags = story_list(json_get(member, "tags"), &r.tag_count, a);
    r.fields = arena_alloc(a, (json_count(fields) + 1) * sizeof *r.fields);
    for (const struct json *f = json_first(fields); f; f = json_next(f)) {
        r.fields[r.field_count++] = (struct field_constant){
            .field = arena_strdup(a, json_key(f)), .value_json = story_scalar(f, a), .line = line};
    }
    if (json_get_str(member, "assessment")) {
        r.assessment = arena_alloc(a, sizeof *r.assessment);
        r.assessment->score_from = story_dup(json_get(member, "assessment"), a);
    }
    return r;
}

static enum value_type story_type(const char *name)
{
    static const char *const names[] = {"as_is", "text", "number", "boolean", "date"};

    for (size_t i = 0; name && i < ATS_COUNT(names); i++) {
        if (text_eq(names[i], name)) {
            return (enum value_type)i;
        }
    }
    return VALUE_AS_IS;
}

static struct field_map story_field(const struct json *member, unsigned line, struct arena *a)
{
    struct field_map parsed = {0};
    struct field_map f = {0};
    const struct json *options = json_get(member, "map");
    const char *from = json_get_str(member, "from");
    struct errmsg err;

    if (field_key_parse(json_key(member), &parsed, &err) != ST_OK) {
        fail_msg("%s", err.text);
    }
    f.key_text = arena_strdup(a, json_key(member));
    f.node_id = arena_strdup(a, parsed.node_id);
    f.slug = arena_strdup(a, parsed.slug);
    f.member = parsed.member;
    mem_free(parsed.node_id);
    mem_free(parsed.slug);
    if (from) {
        assert_true(answer_member_parse(from, &f.member));
    }
    f.field = json_str(member) ? story_dup(member, a) : story_dup(json_get(member, "field"), a);
    f.type = story_type(json_get_str(member, "type"));
    f.clear = json_get_bool(member, "clear");
    f.line = line;
    f.options = arena_alloc(a, (json_count(options) + 1) * sizeof *f.options);
    for (const struct json *o = json_first(options); o; o = json_next(o)) {
        f.options[f.option_count++] =
            (struct option_pair){.from = arena_strdup(a, json_key(o)), .to_json = story_scalar(o, a)};
    }
    return f;
}

/* {"cedar": {"connector": …, "job": …, "live": …, "on": {condition: {…}}, "fields": {key: field or {…}}}} */
ATS_UNUSED static struct mapping story_mapping(const char *text, struct arena *a)
{
    const char *body = unquoted(text, a);
    struct json *tree = NULL;
    struct mapping m = {0};
    struct errmsg err;
    unsigned line = 0;

    if (json_parse(body, strlen(body), &tree, &err) != ST_OK) {
        fail_msg("%s in %s", err.text, body);
    }
    m.workflows = arena_alloc(a, (json_count(tree) + 1) * sizeof *m.workflows);
    for (const struct json *w = json_first(tree); w; w = json_next(w)) {
        struct workflow_map *map = &m.workflows[m.count++];
        const struct json *on = json_get(w, "on");
        const struct json *fields = json_get(w, "fields");

        map->external_id = arena_strdup(a, json_key(w));
        map->connector = arena_strdup(a, json_get_str(w, "connector") ? json_get_str(w, "connector") : "ats");
        map->job = story_dup(json_get(w, "job"), a);
        map->live = json_get_bool(w, "live");
        map->line = ++line;
        map->rules = arena_alloc(a, (json_count(on) + 1) * sizeof *map->rules);
        for (const struct json *r = json_first(on); r; r = json_next(r)) {
            map->rules[map->rule_count++] = story_rule(r, ++line, a);
        }
        map->fields = arena_alloc(a, (json_count(fields) + 1) * sizeof *map->fields);
        for (const struct json *f = json_first(fields); f; f = json_next(f)) {
            map->fields[map->field_count++] = story_field(f, ++line, a);
        }
    }
    json_free(tree);
    return m;
}

/* One line per wish: "disposition/J stage "Contacted" <- started". */
ATS_UNUSED static const char *story_plan_text(const struct plan *p, struct arena *arena)
{
    struct buf b;
    const char *text;

    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < p->count; i++) {
        const struct desired *d = &p->items[i];

        buf_printf(&b, "%s %s ", d->key, write_kind_name(d->kind));
        json_print_canonical(d->value, &b);
        for (size_t k = 0; k < d->only_from_count; k++) {
            buf_printf(&b, "%s%s", k == 0 ? " only from " : ", ", d->only_from[k]);
        }
        buf_printf(&b, " <- %s\n", d->reason);
    }
    text = arena_strdup(arena, buf_text(&b));
    buf_free(&b);
    return text;
}

#endif
