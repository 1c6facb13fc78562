/*
 * plan: the dispatcher's own way (load, fold, plan, diff) without its ends: nothing is leased, sent or recorded. What
 * the diff says is printed with its reason.
 */
#include <getopt.h>
#include <inttypes.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "domain/ledger.h"
#include "domain/plan.h"
#include "domain/run.h"
#include "service/app.h"
#include "service/settings.h"
#include "store/name_table.h"
#include "store/operate.h"
#include "store/views.h"

enum {
    PAGE_CANDIDATES = 200,
    VALUE_MAX_CHARS = 120,
    PROBLEMS_MAX_BYTES = 256 * 1024,
};

/* What becomes of a value. */
enum step {
    STEP_WRITE, /* sent now */
    STEP_RETRY, /* sent again now */
    STEP_WAIT,  /* sent again later */
    STEP_DEAD,
    STEP_SKIPPED,
    STEP_NOTHING,    /* there already */
    STEP_SUPERSEDED, /* was wanted, not done, and is not wanted any more */
};
enum { STEP_COUNT = 7 };
static const struct {
    const char *name; /* in JSON */
    char sign;
} steps[STEP_COUNT] = {
    [STEP_WRITE] = {"write", '+'},
    [STEP_RETRY] = {"retry", '~'},
    [STEP_WAIT] = {"wait", '~'},
    [STEP_DEAD] = {"dead", '!'},
    [STEP_SKIPPED] = {"skipped", '='},
    [STEP_NOTHING] = {"nothing", '='},
    [STEP_SUPERSEDED] = {"superseded", '-'},
};

struct plan_command {
    const struct ctl *ctl;
    const struct config *config;  /* whose mapping counts */
    const struct config *current; /* what it is compared with; NULL: with nothing but the ledger */
    struct store *store;
    struct filter filter;
    struct name_table *names;
    /* the sum */
    uint64_t candidates;
    uint64_t writes[WRITE_KIND_COUNT]; /* to be sent now, retries too */
    uint64_t by_step[STEP_COUNT];
    uint64_t unmapped;  /* runs */
    uint64_t too_large; /* candidates at a connector */
    bool any_printed;
};

/* One candidate at one connector. */
struct view {
    const struct claimed *who;
    const struct loaded *loaded;
    const struct ledger_values *values;
    struct workflow_names names;
    struct run_set runs;
    struct plan plan;
    struct ledger_diff diff;
    struct plan old_plan; /* of the current configuration */
    struct ledger_diff old_diff;
    bool headed; /* its heading is printed */
};

/* ---- what to say about one value */

struct change {
    enum step step;
    enum write_kind kind;
    const char *connector, *workflow, *target, *reason, *event_id, *run_id;
    const struct json *value;
    const char *before_kind, *before; /* applied last; NULL: nothing of ours */
    const char *error;
    const char *event_type; /* NULL: unknown */
    int64_t line, event_us, next_attempt_us;
    const struct desired *wish;     /* NULL: superseded */
    const struct ledger_item *item; /* likewise */
    bool interrupted;
};

static int by_key(const void *key, const void *value)
{
    return strcmp(key, ((const struct ledger_value *)value)->key);
}

static const struct ledger_value *find_value(const struct ledger_values *values, const char *key)
{
    return values->count > 0 ? bsearch(key, values->items, values->count, sizeof *values->items, by_key) : NULL;
}

static enum step step_of(const struct ledger_item *item)
{
    if (item->step == LEDGER_SEND) {
        return item->fresh || ledger_is_listed(item->row) ? STEP_WRITE : STEP_RETRY;
    }
    if (item->step == LEDGER_RECORD || !item->row) {
        return STEP_NOTHING;
    }
    switch (item->row->state) {
    case WRITE_PENDING:
    case WRITE_SENDING:
        return STEP_WAIT;
    case WRITE_DEAD:
        return STEP_DEAD;
    case WRITE_SKIPPED:
        return STEP_SKIPPED;
    case WRITE_APPLIED:
    case WRITE_SUPERSEDED:
        break;
    }
    return STEP_NOTHING;
}

static const char *event_type_of(const struct loaded *l, const char *event_id)
{
    for (size_t i = 0; event_id && i < l->event_count; i++) {
        if (strcmp(l->events[i].id, event_id) == 0) {
            return l->events[i].type_name;
        }
    }
    return NULL;
}

static struct change change_of_item(const struct view *v, const struct ledger_item *item)
{
    const struct ledger_value *have = find_value(v->values, item->wish->key);
    struct change c = {
        .step = step_of(item),
        .kind = item->wish->kind,
        .connector = v->who->connector,
        .workflow = item->wish->workflow_external_id,
        .target = item->wish->target,
        .value = item->wish->value,
        .reason = item->wish->reason,
        .line = item->wish->line,
        .event_id = item->wish->stamp.event_id,
        .event_us = item->wish->stamp.time_us,
        .event_type = event_type_of(v->loaded, item->wish->stamp.event_id),
        .run_id = item->wish->run->is_contact_only ? NULL : item->wish->run->run_id,
        .next_attempt_us = item->due_us == INT64_MAX ? INT64_MIN : item->due_us,
        .wish = item->wish,
        .item = item,
        .interrupted = item->row && item->row->state == WRITE_SENDING && item->step == LEDGER_SEND && !item->fresh,
    };

    if (have) {
        c.before_kind = have->applied_kind;
        c.before = have->applied_value;
        c.error = item->fresh ? NULL : have->error;
    }
    return c;
}

static struct change change_of_obsolete(const struct view *v, const struct ledger_row *row, const struct json *value)
{
    const struct ledger_value *have = find_value(v->values, row->key);

    return (struct change){
        .step = STEP_SUPERSEDED,
        .kind = row->kind,
        .connector = v->who->connector,
        .workflow = have ? have->workflow_external_id : NULL,
        .target = have ? have->target : "",
        .value = value,
        .reason = have ? have->reason : "",
        .line = have ? have->line : 0,
        .event_id = have ? have->event_id : NULL,
        .event_us = EVENT_TIME_NONE,
        .event_type = event_type_of(v->loaded, have ? have->event_id : NULL),
        .run_id = have ? have->run_id : NULL,
        .before_kind = have ? have->applied_kind : NULL,
        .before = have ? have->applied_value : NULL,
        .error = have ? have->error : NULL,
        .next_attempt_us = INT64_MIN,
    };
}

/* ---- as text */

static void add_quoted(const char *text, struct buf *b)
{
    struct json *j = json_string(text);

    print_value(j, VALUE_MAX_CHARS, b);
    json_free(j);
}

static void add_value(const struct change *c, struct buf *b)
{
    switch (c->kind) {
    case WRITE_FIELD:
    case WRITE_NOTE:
        buf_printf(b, "%s ", write_kind_name(c->kind));
        print_escaped(c->target, b);
        buf_puts(b, ": ");
        break;
    case WRITE_TAG:
    case WRITE_ASSESSMENT:
    case WRITE_STAGE:
    case WRITE_REJECT:
        buf_printf(b, "%s ", write_kind_name(c->kind));
        break;
    }
    if (c->kind == WRITE_FIELD && json_type(c->value) == JSON_NULL) {
        buf_puts(b, "erased");
    } else {
        print_value(c->value, VALUE_MAX_CHARS, b);
    }
}

/* The ledger keeps values as plain text; one that is not a text now was none then either. */
static void add_before(const struct change *c, struct buf *b)
{
    struct json *before = NULL;

    buf_puts(b, " (was ");
    if (c->before_kind && strcmp(c->before_kind, write_kind_name(c->kind)) != 0) {
        buf_printf(b, "%s ", c->before_kind);
    }
    if (!json_str(c->value) && json_parse(c->before, strlen(c->before), &before, NULL) == ST_OK) {
        print_value(before, VALUE_MAX_CHARS, b);
    } else {
        add_quoted(c->before, b);
    }
    buf_putc(b, ')');
    json_free(before);
}

static void add_only_from(const struct ledger_item *item, struct buf *b)
{
    buf_puts(b, ", only from ");
    for (size_t i = 0; i < item->only_from_count; i++) {
        if (i > 0) {
            buf_puts(b, i + 1 == item->only_from_count ? " or " : ", ");
        }
        if (strcmp(item->only_from[i], "none") == 0) {
            buf_puts(b, "no stage");
        } else {
            add_quoted(item->only_from[i], b);
        }
    }
}

static void add_error(const char *before, const char *error, struct buf *b)
{
    if (error) {
        buf_puts(b, before);
        print_escaped(error, b);
    }
}

static void add_state(const struct change *c, struct buf *b)
{
    switch (c->step) {
    case STEP_WRITE:
        if (c->item->only_from_count > 0) {
            add_only_from(c->item, b);
        }
        break;
    case STEP_RETRY:
        buf_puts(b, c->interrupted ? ", being sent, or interrupted and sent again" : ", tried again now");
        add_error("; last time: ", c->error, b);
        break;
    case STEP_WAIT:
        buf_printf(b, ", tried again %s%s", c->next_attempt_us == INT64_MIN ? "soon" : "at ",
                   c->next_attempt_us == INT64_MIN ? "" : time_iso8601(c->next_attempt_us).s);
        add_error("; last time: ", c->error, b);
        break;
    case STEP_DEAD:
        buf_puts(b, ", dead until atsyncctl retry or skip");
        add_error(": ", c->error, b);
        break;
    case STEP_SKIPPED:
        buf_puts(b, ", skipped");
        add_error(": ", c->error, b);
        break;
    case STEP_NOTHING:
        buf_puts(b, ", nothing to do");
        break;
    case STEP_SUPERSEDED:
        buf_puts(b, ", not done and no longer wanted");
        break;
    }
}

static void add_reason(const struct plan_command *p, const struct change *c, struct buf *b)
{
    buf_puts(b, "      ");
    print_escaped(c->workflow ? c->workflow : "workflow without an external id:", b);
    buf_putc(b, ' ');
    print_escaped(c->reason, b);
    if (c->line > 0 && c->wish) {
        buf_printf(b, " (line %" PRId64 "%s)", c->line, p->current ? " of the new configuration" : "");
    }
    if (c->event_id) {
        buf_puts(b, "; ");
        print_escaped(c->event_type ? c->event_type : "event", b);
        buf_putc(b, ' ');
        print_escaped(c->event_id, b);
        if (c->event_us != EVENT_TIME_NONE) {
            buf_printf(b, ", %s", time_iso8601(c->event_us).s);
        }
    }
    if (c->run_id) {
        buf_puts(b, "; run ");
        print_escaped(c->run_id, b);
    }
    buf_putc(b, '\n');
}

static void add_heading(struct plan_command *p, struct view *v, struct buf *b)
{
    if (v->headed) {
        return;
    }
    v->headed = true;
    if (p->any_printed) {
        buf_putc(b, '\n');
    }
    p->any_printed = true;
    print_escaped(v->who->external_id, b);
    buf_puts(b, " at ");
    print_escaped(v->who->connector, b);
    buf_puts(b, " (");
    print_escaped(v->who->source, b);
    buf_puts(b, ")\n");
}

static void print_text(struct plan_command *p, struct view *v, const struct change *c)
{
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    add_heading(p, v, &b);
    buf_printf(&b, "  %c ", steps[c->step].sign);
    add_value(c, &b);
    if (c->before && c->step != STEP_NOTHING && !write_is_append(c->kind)) {
        add_before(c, &b);
    }
    add_state(c, &b);
    buf_putc(&b, '\n');
    add_reason(p, c, &b);
    fputs(buf_text(&b), stdout);
    buf_free(&b);
}

/* ---- as JSON */

static void print_object(struct plan_command *p, struct json *j)
{
    fputs(p->any_printed ? ",\n" : "[", stdout);
    p->any_printed = true;
    ctl_print_json_part(j);
    json_free(j);
}

static void print_change_json(struct plan_command *p, const struct view *v, const struct change *c)
{
    struct json *j = json_object();

    json_set_str(j, "candidate", v->who->external_id);
    json_set_str(j, "source", v->who->source);
    json_set_str(j, "connector", c->connector);
    json_set_str(j, "workflow", c->workflow);
    json_set_str(j, "kind", write_kind_name(c->kind));
    json_set_str(j, "target", c->target);
    json_set(j, "value", json_copy(c->value));
    json_set_str(j, "before", c->before);
    json_set_str(j, "step", steps[c->step].name);
    json_set_str(j, "error", c->error);
    json_set_str(j, "reason", c->reason);
    if (c->line > 0) {
        json_set_int(j, "line", c->line);
    } else {
        json_set(j, "line", json_null());
    }
    json_set_str(j, "event_id", c->event_id);
    json_set_str(j, "event_type", c->event_type);
    json_set_str(j, "event_time", c->event_us == EVENT_TIME_NONE ? NULL : time_iso8601(c->event_us).s);
    json_set_str(j, "run_id", c->run_id);
    print_object(p, j);
}

/* ---- which values are worth telling */

/* Does the current configuration lead to the same step for the same value? */
static bool is_same_today(const struct view *v, const struct ledger_item *item)
{
    for (size_t i = 0; i < v->old_diff.count; i++) {
        const struct ledger_item *old = &v->old_diff.items[i];

        if (strcmp(old->wish->key, item->wish->key) == 0) {
            return old->step == item->step && old->fresh == item->fresh && old->wish->kind == item->wish->kind &&
                   strcmp(old->wish->hash, item->wish->hash) == 0;
        }
    }
    return false;
}

static bool is_obsolete_today(const struct view *v, const struct ledger_row *row)
{
    for (size_t i = 0; i < v->old_diff.obsolete_count; i++) {
        if (v->old_diff.obsolete[i] == row) {
            return true;
        }
    }
    return false;
}

static bool is_of_workflow(const struct plan_command *p, const char *workflow)
{
    return !p->filter.workflow || text_eq(p->filter.workflow, workflow);
}

static void tell(struct plan_command *p, struct view *v, const struct change *c)
{
    p->by_step[c->step]++;
    if (c->step == STEP_WRITE || c->step == STEP_RETRY) {
        p->writes[c->kind]++;
    }
    if (c->step == STEP_NOTHING && (!p->filter.candidate || p->current)) {
        return; /* of one candidate everything is of interest; of all of them, what is to be done */
    }
    if (p->ctl->json) {
        print_change_json(p, v, c);
    } else {
        print_text(p, v, c);
    }
}

static void tell_obsolete(struct plan_command *p, struct view *v, const struct ledger_row *row)
{
    const struct ledger_value *have = find_value(v->values, row->key);
    struct json *value = json_string(have ? have->value : NULL);
    struct change c = change_of_obsolete(v, row, value);

    if (is_of_workflow(p, c.workflow)) {
        tell(p, v, &c);
    }
    json_free(value);
}

static void tell_view(struct plan_command *p, struct view *v)
{
    for (size_t i = 0; i < v->diff.count; i++) {
        const struct ledger_item *item = &v->diff.items[i];

        if (is_of_workflow(p, item->wish->workflow_external_id) && !(p->current && is_same_today(v, item))) {
            struct change c = change_of_item(v, item);

            tell(p, v, &c);
        }
    }
    for (size_t i = 0; i < v->diff.obsolete_count; i++) {
        if (!(p->current && is_obsolete_today(v, v->diff.obsolete[i]))) {
            tell_obsolete(p, v, v->diff.obsolete[i]);
        }
    }
}

/* Runs that no mapping says anything about; with a new configuration those that have one today. */
static void count_unmapped(struct plan_command *p, const struct view *v)
{
    for (size_t i = 0; i < v->runs.count; i++) {
        const char *workflow = run_workflow_external_id(&v->runs.runs[i], &v->names);

        if (is_of_workflow(p, workflow) && !mapping_find(&p->config->mapping, workflow) &&
            (!p->current || mapping_find(&p->current->mapping, workflow))) {
            p->unmapped++;
        }
    }
}

/* ---- one page of candidates */

/* Each candidate at each connector that is asked for. */
static struct claim_batch at_connectors(const struct plan_command *p, const struct claim_batch *page,
                                        size_t *ret_per_candidate)
{
    struct claim_batch b = {.arena = page->arena, .now_us = page->now_us};
    size_t per_candidate = p->filter.connector ? 1 : p->config->connector_count;

    b.items = arena_alloc(b.arena, (page->count * per_candidate + 1) * sizeof *b.items);
    for (size_t i = 0; i < page->count; i++) {
        for (size_t c = 0; c < per_candidate; c++) {
            b.items[b.count] = page->items[i];
            b.items[b.count].connector = p->filter.connector ? p->filter.connector : p->config->connectors[c].name;
            b.items[b.count].index = b.count;
            b.count++;
        }
    }
    *ret_per_candidate = per_candidate;
    return b;
}

static void plan_view(struct plan_command *p, struct view *v, struct arena *arena, int64_t now_us)
{
    v->names = name_table_of(p->names, v->who->source);
    runs_fold(v->loaded->events, v->loaded->event_count, arena, &v->runs);
    v->runs.settled_us = v->loaded->settled_us;
    plan_make(&v->runs, &p->config->mapping, v->who->connector, &v->names, arena, &v->plan);
    ledger_diff(&v->plan, v->loaded->rows, v->loaded->row_count, now_us, arena, &v->diff);
    if (p->current) {
        plan_make(&v->runs, &p->current->mapping, v->who->connector, &v->names, arena, &v->old_plan);
        ledger_diff(&v->old_plan, v->loaded->rows, v->loaded->row_count, now_us, arena, &v->old_diff);
    }
}

/* As the daemon does: its events are more than delivery.max_history. */
static void tell_too_large(struct plan_command *p, const struct claimed *who)
{
    struct view v = {.who = who};
    struct buf b;

    p->too_large++;
    if (p->ctl->json) {
        struct json *j = json_object();

        json_set_str(j, "candidate", who->external_id);
        json_set_str(j, "source", who->source);
        json_set_str(j, "connector", who->connector);
        json_set_str(j, "step", "too_large");
        json_set_str(j, "error", "its stored events are larger than delivery.max_history: nothing is worked out");
        print_object(p, j);
        return;
    }
    buf_init(&b, SIZE_MAX / 4);
    add_heading(p, &v, &b);
    buf_puts(&b, "  ! its stored events are larger than delivery.max_history: nothing is worked out\n");
    fputs(buf_text(&b), stdout);
    buf_free(&b);
}

static int plan_loaded(struct plan_command *p, const struct claim_batch *b, const struct loaded *loaded,
                       size_t per_candidate, struct errmsg *err)
{
    struct ledger_values *values = NULL;
    int st = store_load_values(p->store, b, &values, err);

    for (size_t i = 0; st == ST_OK && i < b->count; i++) {
        struct view v = {.who = &b->items[i], .loaded = &loaded[i], .values = &values[i]};

        plan_view(p, &v, b->arena, b->now_us);
        tell_view(p, &v);
        if (b->items[i].index % per_candidate == 0) {
            p->candidates++;
            count_unmapped(p, &v);
        }
        plan_clear(&v.plan);
        plan_clear(&v.old_plan);
    }
    return st;
}

/* Looks at as many of the batch, from `begin` on, as may be loaded at once; *count: how many to try, and how many they were. */
static int plan_piece(struct plan_command *p, const struct claim_batch *all, size_t begin, size_t per_candidate,
                      size_t *count, struct errmsg *err)
{
    struct loaded *loaded = NULL;
    int st;

    for (;;) {
        struct claim_batch b = {
            .items = all->items + begin, .count = *count, .now_us = all->now_us, .arena = arena_new()};

        st = store_load(p->store, &b, config_max_history_bytes(p->config), &loaded, err);
        if (st == ST_OK && loaded) {
            st = plan_loaded(p, &b, loaded, per_candidate, err);
        } else if (st == ST_OK && *count == 1) {
            tell_too_large(p, &b.items[0]);
            p->candidates += b.items[0].index % per_candidate == 0;
        }
        arena_free(b.arena);
        if (st != ST_OK || loaded || *count == 1) {
            return st;
        }
        *count /= 2;
    }
}

static int plan_page(struct plan_command *p, const struct claim_batch *page, struct errmsg *err)
{
    size_t per_candidate;
    struct claim_batch b = at_connectors(p, page, &per_candidate);
    size_t count = b.count;
    int st = ST_OK;

    for (size_t done = 0; done < b.count && st == ST_OK; done += count) {
        count = 2 * count < b.count - done ? 2 * count : b.count - done;
        st = plan_piece(p, &b, done, per_candidate, &count, err);
    }
    return st;
}

static int plan_all(struct plan_command *p, struct errmsg *err)
{
    struct filter filter = p->filter;
    char *source = NULL;
    char *ref = NULL;
    size_t count;
    int st;

    filter.connector = NULL; /* who is not at this connector yet may be led there by the mapping */
    do {
        struct claim_batch page = {0};

        count = 0;
        st = store_peek(p->store, &filter, source, ref, PAGE_CANDIDATES, &page, err);
        if (st == ST_OK && page.count > 0) {
            count = page.count;
            mem_free(source);
            mem_free(ref);
            source = mem_strdup(page.items[count - 1].source);
            ref = mem_strdup(page.items[count - 1].ref);
            st = plan_page(p, &page, err);
        }
        claim_batch_clear(&page);
    } while (st == ST_OK && count == PAGE_CANDIDATES);
    mem_free(source);
    mem_free(ref);
    return st;
}

/* ---- the sum */

static void add_count(struct buf *b, const char *before, uint64_t count, const char *after)
{
    if (count > 0) {
        buf_printf(b, "%s%" PRIu64 "%s", before, count, after);
    }
}

static void print_sum(const struct plan_command *p)
{
    static const enum write_kind order[] = {WRITE_FIELD, WRITE_TAG,    WRITE_ASSESSMENT,
                                            WRITE_STAGE, WRITE_REJECT, WRITE_NOTE};
    uint64_t writes = p->by_step[STEP_WRITE] + p->by_step[STEP_RETRY];
    const char *before = " (";
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    buf_printf(&b, "%s%" PRIu64 " %s looked at: ", p->any_printed ? "\n" : "", p->candidates,
               p->candidates == 1 ? "candidate" : "candidates");
    if (writes == 0) {
        buf_puts(&b, p->current ? "the new configuration writes nothing else" : "nothing to write");
    } else {
        buf_printf(&b, "%" PRIu64 " %s", writes, writes == 1 ? "write" : "writes");
        for (size_t i = 0; i < ATS_COUNT(order); i++) {
            if (p->writes[order[i]] > 0) {
                buf_printf(&b, "%s%s %" PRIu64, before, write_kind_name(order[i]), p->writes[order[i]]);
                before = ", ";
            }
        }
        buf_putc(&b, ')');
    }
    add_count(&b, "; ", p->by_step[STEP_NOTHING], " there already");
    add_count(&b, "; ", p->by_step[STEP_WAIT], " waiting for another attempt");
    add_count(&b, "; ", p->by_step[STEP_SKIPPED], " skipped");
    add_count(&b, "; ", p->by_step[STEP_DEAD], " dead");
    add_count(&b, "; ", p->by_step[STEP_SUPERSEDED], " no longer wanted");
    add_count(&b, "; runs without a mapping: ", p->unmapped, "");
    add_count(&b, "; too large to be looked at: ", p->too_large, "");
    buf_puts(&b, ".\nNo call was made and nothing was changed.\n");
    fputs(buf_text(&b), stdout);
    buf_free(&b);
}

static int run_plan(struct plan_command *p, const char *command)
{
    struct errmsg err = {{0}};
    int st = name_table_read(p->store, &p->names, &err);

    if (st == ST_OK) {
        st = plan_all(p, &err);
    }
    name_table_unref(p->names);
    if (p->ctl->json && st == ST_OK) {
        puts(p->any_printed ? "]" : "[]");
    } else if (st == ST_OK) {
        print_sum(p);
    }
    return st == ST_OK ? EXIT_CLEAN : ctl_fail(command, &err);
}

/* ---- the command */

struct wanted {
    struct filter filter;
    const char *since;
    const char *new_config;
};

static int read_arguments(int argc, char **argv, struct wanted *w)
{
    static const struct option options[] = {
        {"candidate", required_argument, NULL, 'x'}, {"connector", required_argument, NULL, 'n'},
        {"workflow", required_argument, NULL, 'w'},  {"since", required_argument, NULL, 's'},
        {"config", required_argument, NULL, 'c'},    {NULL, 0, NULL, 0},
    };
    int option;

    *w = (struct wanted){.filter.since_us = INT64_MIN};
    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        switch (option) {
        case 'x':
            w->filter.candidate = optarg;
            break;
        case 'n':
            w->filter.connector = optarg;
            break;
        case 'w':
            w->filter.workflow = optarg;
            break;
        case 's':
            w->since = optarg;
            break;
        case 'c':
            w->new_config = optarg;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    return optind < argc ? ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]) : CTL_GO_ON;
}

/* The new file is looked at as closely as by the daemon before it takes it. */
static int load_new(const char *path, struct config **ret)
{
    struct connector_set *connectors = NULL;
    struct buf problems;
    int st;

    buf_init(&problems, PROBLEMS_MAX_BYTES);
    st = settings_load(path, ret, &connectors, &problems);
    fputs(buf_text(&problems), stderr);
    buf_free(&problems);
    connector_set_unref(connectors);
    return st == ST_OK ? CTL_GO_ON : EXIT_CONFIG;
}

int ctl_plan(const struct ctl *ctl, int argc, char **argv)
{
    struct wanted w;
    struct config *current = NULL;
    struct config *new_config = NULL;
    struct plan_command p = {.ctl = ctl};
    struct errmsg err = {{0}};
    int status = read_arguments(argc, argv, &w);

    if (status != CTL_GO_ON || (w.new_config && (status = load_new(w.new_config, &new_config)) != CTL_GO_ON) ||
        !ctl_open(ctl, argv[0], &current, &p.store, &status)) {
        goto out;
    }
    p.config = new_config ? new_config : current;
    p.current = new_config ? current : NULL;
    p.filter = w.filter;
    if (w.filter.connector && !config_connector(p.config, w.filter.connector)) {
        status = ctl_unknown_connector(argv[0], p.config, w.filter.connector);
    } else if (w.since && ctl_since(p.store, w.since, &p.filter.since_us, &err) != ST_OK) {
        status = ctl_usage(argv[0], "%s", err.text);
    } else {
        status = run_plan(&p, argv[0]);
    }
out:
    store_free(p.store);
    config_unref(current);
    config_unref(new_config);
    return status;
}
