#include "domain/plan.h"

#include <math.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "domain/note.h"
#include "lib/crypto.h"

/* ---- names -------------------------------------------------------------------------------------------------------- */

static const char *const kind_names[WRITE_KIND_COUNT] = {"field", "tag", "assessment", "stage", "reject", "note"};

const char *write_kind_name(enum write_kind k)
{
    return kind_names[k];
}

bool write_kind_parse(const char *name, enum write_kind *ret)
{
    for (int k = 0; k < WRITE_KIND_COUNT; k++) {
        if (strcmp(kind_names[k], name) == 0) {
            *ret = (enum write_kind)k;
            return true;
        }
    }
    return false;
}

bool write_is_append(enum write_kind k)
{
    return k == WRITE_NOTE;
}

const char *run_workflow_external_id(const struct run *r, const struct workflow_names *names)
{
    if (r->workflow_external_id) {
        return r->workflow_external_id;
    }
    return r->workflow_id && names ? names->external_id_of(names->ctx, names->source, r->workflow_id) : NULL;
}

/* ---- moments: what has happened in a run, in order --------------------------------------------------------------------- */

struct happened {
    enum moment moment;
    const char *name;    /* unique within the run: names the note */
    const char *node_id; /* MOMENT_NODE */
    const char *status;  /* of the node; result of a completed run; code of a failed one */
    const char *class;   /* of a failed run */
    struct stamp stamp;
};

static enum moment contact_moment(enum event_type type)
{
    if (type == EVENT_CONTACT_FAILED) {
        return MOMENT_CONTACT_FAILED;
    }
    return type == EVENT_CONTACT_SKIPPED ? MOMENT_CONTACT_SKIPPED : MOMENT_CONTACT_RESOLVED;
}

static const char *contact_name(enum moment m)
{
    if (m == MOMENT_CONTACT_FAILED) {
        return "contact_failed";
    }
    return m == MOMENT_CONTACT_SKIPPED ? "contact_skipped" : "contact_resolved";
}

static const struct {
    const char *outcome;
    enum moment moment;
} outcomes[] = {
    {"completed", MOMENT_COMPLETED}, {"opted_out", MOMENT_OPTED_OUT}, {"delivery_failed", MOMENT_DELIVERY_FAILED},
    {"cancelled", MOMENT_CANCELLED}, {"failed", MOMENT_FAILED},
};

/* An outcome that we do not know is still an end of the run. */
static enum moment terminal_moment(const char *outcome)
{
    for (size_t i = 0; i < ATS_COUNT(outcomes); i++) {
        if (strcmp(outcomes[i].outcome, outcome) == 0) {
            return outcomes[i].moment;
        }
    }
    return MOMENT_FINISHED;
}

static struct stamp node_stamp(const struct run_node *node)
{
    struct stamp stamp = node->stamp;

    if (node->completed_us != EVENT_TIME_NONE) {
        stamp.time_us = node->completed_us; /* the same whether a node event or the terminal one told it */
    }
    return stamp;
}

static size_t list_moments(const struct run *r, struct arena *arena, struct happened **ret)
{
    struct happened *list = arena_alloc(arena, (r->contact_count + r->node_count + 2) * sizeof *list);
    size_t n = 0;

    for (size_t i = 0; i < r->contact_count; i++) {
        enum moment m = contact_moment(r->contacts[i].type);

        list[n++] = (struct happened){.moment = m, .name = contact_name(m), .stamp = r->contacts[i].stamp};
    }
    if (r->has_started) {
        list[n++] = (struct happened){.moment = MOMENT_STARTED, .name = "started", .stamp = r->started};
    }
    for (size_t i = 0; i < r->node_count; i++) {
        const struct run_node *node = &r->nodes[i];

        list[n++] = (struct happened){.moment = MOMENT_NODE,
                                      .name = arena_printf(arena, "node/%s", node->node_id),
                                      .node_id = node->node_id,
                                      .status = node->status,
                                      .stamp = node_stamp(node)};
    }
    if (r->outcome) {
        enum moment m = terminal_moment(r->outcome);

        list[n++] = (struct happened){.moment = m,
                                      .name = r->outcome,
                                      .status = m == MOMENT_FAILED ? r->error_code : r->result,
                                      .class = r->error_class,
                                      .stamp = r->terminal};
    }
    *ret = list;
    return n;
}

void run_moments(const struct run *r, struct arena *arena, const char ***ret_names, size_t *ret_count)
{
    struct happened *list;
    size_t count = list_moments(r, arena, &list);
    const char **names = arena_alloc(arena, (count + 1) * sizeof *names);

    for (size_t i = 0; i < count; i++) {
        names[i] = list[i].status ? arena_printf(arena, "%s/%s", list[i].name, list[i].status) : list[i].name;
    }
    *ret_names = names;
    *ret_count = count;
}

/* 0: the condition does not name this moment; otherwise how specific it is. */
static int match(const struct condition *c, const struct happened *h)
{
    bool terminal = h->moment >= MOMENT_COMPLETED;

    if (c->moment == MOMENT_FINISHED) {
        return terminal ? 1 : 0;
    }
    if (c->moment != h->moment) {
        return 0;
    }
    if (c->node_id && !text_eq(c->node_id, h->node_id)) {
        return 0;
    }
    if (!c->qualifier) {
        return 2;
    }
    if (h->status && strcmp(c->qualifier, h->status) == 0) {
        return 4;
    }
    /* of a failed run, the code says more than its class */
    return h->class && strcmp(c->qualifier, h->class) == 0 ? 3 : 0;
}

/* ---- collecting --------------------------------------------------------------------------------------------------- */

struct wish { /* one of possibly several under a key */
    struct desired wanted;
    size_t nth; /* in which it came */
};

/* Wishes are collected and settled by sorting, so that many cost no more than their number: who has the signing secret chooses keys and how many. */
struct planner {
    struct arena *arena;
    struct wish *items;
    size_t count;
    size_t room;
    size_t came;   /* so many */
    bool by_event; /* the later event decides, not who came last */
    const struct run *run;
    const struct passage *passage; /* the last one of this run; NULL: none yet */
    const struct workflow_map *workflow;
    const char *workflow_external_id;
};

static const char *hash_of(struct planner *p, enum write_kind kind, const struct json *value)
{
    struct buf b;
    uint8_t digest[CRYPTO_SHA256_BYTES];
    enum { USED_BYTES = 16 }; /* against accidents, not adversaries */
    char *hex = arena_alloc(p->arena, 2 * USED_BYTES + 1);

    buf_init(&b, SIZE_MAX / 4);
    buf_puts(&b, kind_names[kind]);
    buf_putc(&b, '\n');
    json_print_canonical(value, &b);
    crypto_sha256(b.data, b.len, digest);
    crypto_hex(digest, USED_BYTES, hex);
    buf_free(&b);
    return hex;
}

/* A key is part of an index: one that is long, or not clean text, keeps its beginning and ends in a digest. */
static const char *short_key(struct planner *p, const char *key)
{
    enum { KEY_MAX_BYTES = 300, KEPT_BYTES = 60 };
    uint8_t digest[CRYPTO_SHA256_BYTES];
    char hex[2 * CRYPTO_SHA256_BYTES + 1];
    size_t len = strlen(key);
    bool clean = text_is_utf8(key, len);
    size_t kept = clean ? text_utf8_cut(key, len, KEPT_BYTES) : strcspn(key, "/") + 1;

    if (len <= KEY_MAX_BYTES && clean) {
        return key;
    }
    crypto_sha256(key, len, digest);
    crypto_hex(digest, sizeof digest, hex);
    return arena_printf(p->arena, "%.*s#%s", (int)kept, key, hex);
}

static int by_key(const void *a, const void *b)
{
    const struct wish *x = a;
    const struct wish *y = b;
    int order = strcmp(x->wanted.key, y->wanted.key);

    order = order ? order : strcmp(x->wanted.workflow->connector, y->wanted.workflow->connector);
    return order ? order : (x->nth > y->nth) - (x->nth < y->nth);
}

static bool is_same_key(const struct wish *a, const struct wish *b)
{
    return strcmp(a->wanted.key, b->wanted.key) == 0 &&
           strcmp(a->wanted.workflow->connector, b->wanted.workflow->connector) == 0;
}

/* One wish is left under each key of a connector; they are in the order of the keys. */
static void settle(struct planner *p)
{
    size_t kept = 0;

    if (p->count > 1) {
        qsort(p->items, p->count, sizeof *p->items, by_key);
    }
    for (size_t i = 0; i < p->count; i++) {
        struct wish *have = kept > 0 ? &p->items[kept - 1] : NULL;
        const struct wish *next = &p->items[i];

        if (!have || !is_same_key(have, next)) {
            p->items[kept++] = *next;
        } else if (p->by_event && stamp_compare(&next->wanted.stamp, &have->wanted.stamp) < 0) {
            json_free(next->wanted.value);
        } else {
            json_free(have->wanted.value);
            *have = *next;
        }
    }
    p->count = kept;
}

static void add_wish(struct planner *p, const struct desired *wanted)
{
    bool is_full = p->count == p->room;

    if (is_full) {
        settle(p);
    }
    if (is_full && p->count >= p->room / 2) { /* few were given up */
        size_t room = p->room ? 2 * p->room : 16;
        struct wish *grown = arena_alloc(p->arena, room * sizeof *grown);

        if (p->count > 0) {
            memcpy(grown, p->items, p->count * sizeof *grown);
        }
        p->items = grown;
        p->room = room;
    }
    p->items[p->count++] = (struct wish){.wanted = *wanted, .nth = p->came++};
}

/* Within a workflow the later call decides: callers go from the oldest run and moment to the newest. Takes value. */
static void want(struct planner *p, struct desired wish, struct json *value)
{
    wish.key = short_key(p, wish.key);
    wish.run = p->run;
    wish.workflow = p->workflow;
    wish.workflow_external_id = p->workflow_external_id;
    wish.job = p->workflow->job;
    wish.value = value;
    wish.hash = hash_of(p, wish.kind, value);
    add_wish(p, &wish);
}

/* Between workflows the later event decides. Only what each of them wants in the end is compared. */
static void merge_workflow(struct planner *all, struct planner *one)
{
    settle(one);
    for (size_t i = 0; i < one->count; i++) {
        add_wish(all, &one->items[i].wanted);
    }
}

/* The rule that decides this kind of action at this moment: the most specific one that says something about it. */
static const struct rule *deciding_rule(const struct workflow_map *w, const struct happened *h,
                                        bool (*says)(const struct rule *))
{
    const struct rule *best = NULL;
    int best_match = 0;

    for (size_t i = 0; i < w->rule_count; i++) {
        int m = match(&w->rules[i].condition, h);

        if (m > best_match && says(&w->rules[i])) {
            best = &w->rules[i];
            best_match = m;
        }
    }
    return best;
}

static bool says_disposition(const struct rule *r)
{
    return r->stage || r->reject;
}

static bool says_fields(const struct rule *r)
{
    return r->field_count > 0;
}

static bool says_tags(const struct rule *r)
{
    return r->tag_count > 0;
}

static bool says_note(const struct rule *r)
{
    return r->note != NULL;
}

static bool says_assessment(const struct rule *r)
{
    return r->assessment != NULL;
}

static struct json *scalar(const char *text)
{
    struct json *j = NULL;

    return json_parse(text, strlen(text), &j, NULL) == ST_OK ? j : json_string(text);
}

static const struct passage *pass(struct planner *p, const struct rule *r, const struct happened *h)
{
    struct passage *passage = arena_alloc(p->arena, sizeof *passage);

    *passage = (struct passage){.stage = r->stage,
                                .only_from = (const char *const *)r->only_from,
                                .only_from_count = r->only_from_count,
                                .event_id = h->stamp.event_id,
                                .before = p->passage};
    return passage;
}

static void plan_disposition(struct planner *p, const struct happened *h)
{
    const struct rule *r = deciding_rule(p->workflow, h, says_disposition);
    const char *job = p->workflow->job ? p->workflow->job : "";

    if (!r) {
        return;
    }
    struct desired wish = {
        .key = arena_printf(p->arena, "disposition/%s", job),
        .kind = r->stage ? WRITE_STAGE : WRITE_REJECT,
        .target = job,
        .only_from = (const char *const *)r->only_from,
        .only_from_count = r->only_from_count,
        .reason = r->condition_text,
        .line = r->line,
        .stamp = h->stamp,
    };
    if (wish.only_from_count > 0) {
        wish.before = p->passage;
    }
    p->passage = r->stage ? pass(p, r, h) : NULL;
    want(p, wish, json_string(r->stage ? r->stage : r->reject));
}

static void plan_constants(struct planner *p, const struct happened *h)
{
    const struct rule *r = deciding_rule(p->workflow, h, says_fields);

    for (size_t i = 0; r && i < r->field_count; i++) {
        struct desired wish = {
            .key = arena_printf(p->arena, "field/%s", r->fields[i].field),
            .kind = WRITE_FIELD,
            .target = r->fields[i].field,
            .reason = r->condition_text,
            .line = r->fields[i].line,
            .stamp = h->stamp,
        };
        want(p, wish, scalar(r->fields[i].value_json));
    }
}

static void plan_tags(struct planner *p, const struct happened *h)
{
    const struct rule *r = deciding_rule(p->workflow, h, says_tags);

    for (size_t i = 0; r && i < r->tag_count; i++) {
        struct desired wish = {
            .key = arena_printf(p->arena, "tag/%s", r->tags[i]),
            .kind = WRITE_TAG,
            .target = r->tags[i],
            .reason = r->condition_text,
            .line = r->line,
            .stamp = h->stamp,
        };
        want(p, wish, json_string(r->tags[i]));
    }
}

static void plan_note(struct planner *p, const struct happened *h)
{
    const struct rule *r = deciding_rule(p->workflow, h, says_note);
    char *text;

    if (!r) {
        return;
    }
    text = strcmp(r->note, "summary") == 0 ? note_summary(p->run, h->name, p->workflow_external_id, p->arena)
                                           : note_render(r->note, p->run, h->name, p->workflow_external_id, p->arena);
    struct desired wish = {
        .key = arena_printf(p->arena, "note/%s/%s", p->run->run_id, h->name),
        .kind = WRITE_NOTE,
        .target = arena_printf(p->arena, "%s/%s", p->run->run_id, h->name),
        .reason = r->condition_text,
        .line = r->line,
        .stamp = h->stamp,
    };
    want(p, wish, json_string(text));
}

/* With one decimal; null if there is no score. */
static struct json *mean_score(const struct run *r)
{
    double sum = 0;
    unsigned n = 0;
    double score;

    for (size_t i = 0; i < r->answer_count; i++) {
        /* a slug that was answered in several nodes counts once, with its last answer */
        if (run_find_answer(r, NULL, r->answers[i].slug) == &r->answers[i] &&
            json_num(json_get(r->answers[i].json, "score"), &score)) {
            sum += score;
            n++;
        }
    }
    return n > 0 ? json_number(floor(sum / n * 10 + 0.5) / 10) : json_null();
}

/* The mean of all scores, or one answer's with every digit. Caller: json_free. */
static struct json *score_of(const struct run *r, const char *from)
{
    const char *slash = strchr(from, '/');
    const struct run_answer *a;
    const struct json *score;
    char *node;

    if (strcmp(from, "mean") == 0) {
        return mean_score(r);
    }
    node = slash ? mem_strndup(from, (size_t)(slash - from)) : NULL;
    a = run_find_answer(r, node, slash ? slash + 1 : from);
    mem_free(node);
    score = a ? json_get(a->json, "score") : NULL;
    return json_type(score) == JSON_NUMBER ? json_copy(score) : json_null();
}

static void plan_assessment(struct planner *p, const struct happened *h)
{
    const struct rule *r = deciding_rule(p->workflow, h, says_assessment);
    const char *job = p->workflow->job ? p->workflow->job : "";
    struct json *value;

    if (!r) {
        return;
    }
    value = json_object();
    json_set(value, "score", score_of(p->run, r->assessment->score_from));
    json_set_str(value, "status", p->run->result ? p->run->result : p->run->outcome);
    json_set_str(value, "summary", note_summary(p->run, h->name, p->workflow_external_id, p->arena));
    struct desired wish = {
        .key = arena_printf(p->arena, "assessment/%s", job),
        .kind = WRITE_ASSESSMENT,
        .target = job,
        .reason = r->condition_text,
        .line = r->line,
        .stamp = h->stamp,
    };
    want(p, wish, value);
}

/* ---- fields from answers -------------------------------------------------------------------------------------------- */

static const struct json *option_for(const struct field_map *f, const struct json *value, struct json **ret_owned)
{
    char *text = json_str(value) ? mem_strdup(json_str(value)) : json_text(value);

    *ret_owned = NULL;
    for (size_t i = 0; i < f->option_count; i++) {
        if (strcmp(f->options[i].from, text) == 0) {
            *ret_owned = scalar(f->options[i].to_json);
            break;
        }
    }
    mem_free(text);
    return *ret_owned;
}

/* IS_YES and IS_NO are the sender's booleans; in an answer's text only plain words count. NULL: neither. */
static struct json *as_boolean(const struct json *value)
{
    static const char *const yes[] = {"IS_YES", "yes", "true", "PASSED", "GREEN", "DOCUMENT_UPLOADED", "INCLUDES"};
    static const char *const no[] = {"IS_NO",           "no", "false", "FAILED", "RED", "DOCUMENT_NOT_UPLOADED",
                                     "DOES_NOT_INCLUDE"};
    const char *text = json_str(value);

    if (json_type(value) == JSON_TRUE || json_type(value) == JSON_FALSE) {
        return json_copy(value);
    }
    for (size_t i = 0; text && i < ATS_COUNT(yes); i++) {
        if (text_ieq(text, yes[i])) {
            return json_bool(true);
        }
        if (text_ieq(text, no[i])) {
            return json_bool(false);
        }
    }
    return NULL;
}

/* 2026-01-31, 31/01/2026 or 31.01.2026 (day first), or a full ISO time -> 2026-01-31. NULL: not a date. */
static struct json *as_date(const struct json *value)
{
    const char *text = json_str(value);
    int64_t us;
    unsigned d;
    unsigned m;
    unsigned y;
    int used = 0;
    char iso[32];

    if (!text) {
        return NULL;
    }
    if (time_parse_iso8601(text, &us)) {
        snprintf(iso, sizeof iso, "%.10s", text); /* the day as it was said, in the time zone of who said it */
        return json_string(iso);
    }
    if (text[strspn(text, "0123456789-/.")] != '\0') {
        return NULL; /* scanf would take signs and blanks */
    }
    /* how many digits are read is limited: no number is too large. NOLINTBEGIN(cert-err34-c) */
    if (!((sscanf(text, "%4u-%2u-%2u%n", &y, &m, &d, &used) == 3 && text[used] == '\0') ||
          (used = 0,
           sscanf(text, "%2u%*1[/.]%2u%*1[/.]%4u%n", &d, &m, &y, &used) == 3 && used > 0 && text[used] == '\0'))) {
        return NULL;
    }
    /* NOLINTEND(cert-err34-c) */
    snprintf(iso, sizeof iso, "%04u-%02u-%02uT00:00:00Z", y % 10000, m % 100, d % 100);
    if (y < 1000 || y > 9999 || !time_parse_iso8601(iso, &us)) {
        return NULL; /* of which century a year of two digits is nobody knows */
    }
    iso[10] = '\0';
    return json_string(iso);
}

static struct json *as_number(const struct json *value)
{
    const char *text = json_str(value);

    if (json_type(value) == JSON_NUMBER) {
        return json_copy(value);
    }
    if (!text) {
        return NULL;
    }
    while (*text == ' ') {
        text++;
    }
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == ' ') {
        len--;
    }
    char *trimmed = mem_strndup(text, len);
    struct json *number = json_number_text(trimmed);

    mem_free(trimmed);
    return number;
}

static struct json *typed(const struct field_map *f, const struct json *value)
{
    struct json *owned;

    if (f->option_count > 0) {
        option_for(f, value, &owned);
        return owned;
    }
    switch (f->type) {
    case VALUE_AS_IS:
        return json_copy(value);
    case VALUE_TEXT: {
        char *text = json_str(value) ? NULL : json_text(value);

        owned = json_string(text ? text : json_str(value));
        mem_free(text);
        return owned;
    }
    case VALUE_NUMBER:
        return as_number(value);
    case VALUE_BOOLEAN:
        return as_boolean(value);
    case VALUE_DATE:
        return as_date(value);
    }
    return NULL;
}

/* When an answer was given: the moment of its node. */
static struct stamp answer_stamp(const struct run *r, const struct run_answer *a)
{
    for (size_t i = 0; i < r->node_count; i++) {
        if (strcmp(r->nodes[i].node_id, a->node_id) == 0) {
            return node_stamp(&r->nodes[i]);
        }
    }
    return r->last_event;
}

/* Null, absent, and an empty text say nothing. */
static bool says_nothing(const struct json *raw)
{
    return json_type(raw) == JSON_NULL || (json_str(raw) && json_str(raw)[0] == '\0');
}

struct told { /* what the answers of a run say about one field */
    const struct run_answer *answer;
    struct json *value; /* NULL with an answer: to be erased */
};

/*
 * The last answer that says something decides: one that is null, or has no place in the options or the type, does not take back
 * what was answered in an earlier node, as that may have been written already. To be cleared, null says something.
 */
static struct told told_of(const struct run *r, const struct field_map *f, bool clear)
{
    struct told t = {0};

    for (size_t i = 0; i < r->answer_count; i++) {
        const struct run_answer *a = &r->answers[i];
        const struct json *raw = json_get(a->json, answer_member_name(f->member));
        struct json *value;

        if (strcmp(a->slug, f->slug) != 0 || (f->node_id && strcmp(a->node_id, f->node_id) != 0) ||
            (t.answer && a->answered_us < t.answer->answered_us)) {
            continue;
        }
        value = says_nothing(raw) ? NULL : typed(f, raw);
        if (value || (clear && says_nothing(raw))) {
            json_free(t.value);
            t = (struct told){.answer = a, .value = value};
        }
    }
    return t;
}

static bool was_asked(const struct run *r, const struct field_map *f)
{
    return run_find_answer(r, f->node_id, f->slug) != NULL;
}

static void plan_answers(struct planner *p, const struct stamp *terminal)
{
    for (size_t i = 0; i < p->workflow->field_count; i++) {
        const struct field_map *f = &p->workflow->fields[i];
        bool clear = f->clear && terminal;
        struct told t = told_of(p->run, f, clear);
        /* an answer that is not there may stand in the part of a truncated run that has not come yet */
        bool absent = !was_asked(p->run, f) && p->run->complete;

        if (!t.value && !(clear && (t.answer || absent))) {
            continue;
        }
        struct desired wish = {
            .key = arena_printf(p->arena, "field/%s", f->field),
            .kind = WRITE_FIELD,
            .target = f->field,
            .reason = arena_printf(p->arena, "fields: %s", f->key_text),
            .line = f->line,
            .stamp = terminal ? *terminal : answer_stamp(p->run, t.answer),
        };
        want(p, wish, t.value ? t.value : json_null());
    }
}

/* ---- a run, all runs ---------------------------------------------------------------------------------------------------- */

static void plan_run(struct planner *p)
{
    struct happened *moments;
    size_t count = list_moments(p->run, p->arena, &moments);

    p->passage = NULL;
    for (size_t i = 0; i < count; i++) {
        if (moments[i].moment >= MOMENT_COMPLETED) {
            plan_answers(p, &p->run->terminal); /* before the end's own constants, after those of earlier moments */
        }
        plan_constants(p, &moments[i]);
        plan_tags(p, &moments[i]);
        plan_assessment(p, &moments[i]);
        plan_disposition(p, &moments[i]);
        plan_note(p, &moments[i]);
    }
    if (p->workflow->live && !p->run->outcome) {
        plan_answers(p, NULL);
    }
}

/* A run by its workflow's external id, or its own. */
struct member {
    const char *external_id, *workflow_id; /* each NULL if there is none, or if it does not count */
    size_t run;
};

static int compare_texts(const char *a, const char *b)
{
    if (!a || !b) {
        return (a != NULL) - (b != NULL);
    }
    return strcmp(a, b);
}

static int compare_workflows(const struct member *a, const struct member *b)
{
    int order = compare_texts(a->external_id, b->external_id);

    return order ? order : compare_texts(a->workflow_id, b->workflow_id);
}

static int by_workflow(const void *a, const void *b)
{
    const struct member *x = a;
    const struct member *y = b;
    int order = compare_workflows(x, y);

    return order ? order : (x->run > y->run) - (x->run < y->run);
}

const size_t *runs_of_same_workflow(const struct run_set *runs, const struct workflow_names *names, bool by_own_id,
                                    struct arena *arena)
{
    struct member *members = arena_alloc(arena, (runs->count + 1) * sizeof *members);
    size_t *next = arena_alloc(arena, (runs->count + 1) * sizeof *next);

    for (size_t i = 0; i < runs->count; i++) {
        const char *external_id = run_workflow_external_id(&runs->runs[i], names);

        members[i] = (struct member){external_id, external_id || !by_own_id ? NULL : runs->runs[i].workflow_id, i};
    }
    if (runs->count > 1) {
        qsort(members, runs->count, sizeof *members, by_workflow);
    }
    for (size_t i = 0; i < runs->count; i++) {
        bool has_next = i + 1 < runs->count && compare_workflows(&members[i], &members[i + 1]) == 0;

        next[members[i].run] = has_next ? members[i + 1].run : runs->count;
    }
    return next;
}

/* All but what was settled with runs that are forgotten. */
static void take_wishes(const struct planner *p, int64_t settled_us, struct plan *ret)
{
    ret->items = arena_alloc(p->arena, (p->count + 1) * sizeof *ret->items);
    ret->count = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (settled_us != 0 && p->items[i].wanted.stamp.time_us <= settled_us) {
            json_free(p->items[i].wanted.value);
        } else {
            ret->items[ret->count++] = p->items[i].wanted;
        }
    }
}

void plan_make(const struct run_set *runs, const struct mapping *mapping, const char *connector,
               const struct workflow_names *names, struct arena *arena, struct plan *ret)
{
    struct planner all = {.arena = arena, .by_event = true};
    const char **external_ids = arena_alloc(arena, (runs->count + 1) * sizeof *external_ids);
    bool *planned = arena_alloc(arena, runs->count + 1);
    const size_t *next = runs_of_same_workflow(runs, names, true, arena);

    for (size_t i = 0; i < runs->count; i++) {
        external_ids[i] = arena_strdup(arena, run_workflow_external_id(&runs->runs[i], names));
    }
    for (size_t i = 0; i < runs->count; i++) {
        struct planner one = {.arena = arena, .workflow_external_id = external_ids[i]};

        one.workflow = mapping_find(mapping, external_ids[i]);
        if (planned[i] || !one.workflow || (connector && strcmp(one.workflow->connector, connector) != 0)) {
            continue;
        }
        for (size_t k = i; k < runs->count; k = next[k]) {
            planned[k] = true;
            one.run = &runs->runs[k];
            plan_run(&one);
        }
        merge_workflow(&all, &one);
    }
    settle(&all);
    take_wishes(&all, runs->settled_us, ret);
}

void plan_clear(struct plan *p)
{
    for (size_t i = 0; i < p->count; i++) {
        json_free(p->items[i].value);
    }
    p->count = 0;
}
