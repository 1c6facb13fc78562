/*
 * Events of a candidate, a line each: fold, plan, diff and notes. Whatever the events say, and in whatever order and however
 * often they come, the wishes are the same ones; texts for people are clean.
 */
#include "fuzz.h"

#include <ctype.h>

#include "base/buf.h"
#include "base/text.h"
#include "config/config.h"
#include "domain/ledger.h"
#include "domain/note.h"
#include "domain/plan.h"

enum { EVENTS_MAX = 24, TEXT_MAX_BYTES = 64 * 1024 * 1024 };

static const char config_text[] =
    "sources: {popp: {signing_secrets: [a-secret-of-popp]}}\n"
    "connectors: {ats: {type: rest, base_url: 'https://ats.example.com/api', credentials: {token: a-token-of-ats}}}\n"
    "workflows:\n"
    "  cedar-rgn-screening:\n"
    "    connector: ats\n"
    "    job: '182736'\n"
    "    live: true\n"
    "    on:\n"
    "      contact_resolved: {tags: [found]}\n"
    "      contact_skipped: {note: 'skipped {candidate} {run} {workflow} {state}'}\n"
    "      contact_failed: {tags: [unreachable], note: summary}\n"
    "      started: {stage: Contacted, note: summary}\n"
    "      node/screen-1: {tags: [screened], note: '{answers}'}\n"
    "      node/screen-1/PASSED_CRITERIA: {stage: Screened, fields: {level: 1}}\n"
    "      completed: {assessment: {score: mean}, note: summary}\n"
    "      completed/PASSED_CRITERIA: {stage: Recruiter screen, only_from: [Contacted, none], tags: [passed]}\n"
    "      completed/FAILED_CRITERIA: {reject: Did not meet criteria, assessment: {score: nmc-pin}}\n"
    "      opted_out: {tags: [opted-out]}\n"
    "      delivery_failed: {note: summary}\n"
    "      cancelled: {note: 'cancelled: {reason}'}\n"
    "      failed: {note: 'failed: {error} {outcome}'}\n"
    "      failed/SYSTEM: {tags: [broken]}\n"
    "      finished: {note: '{{{result}}} {started} {finished} {answer:nmc-pin} {answer:screen-1/dbs.score} "
    "{summary}{answers}', fields: {outcome: finished}}\n"
    "    fields:\n"
    "      nmc-pin: pin\n"
    "      nmc-pin.score: {field: pin_score, type: number}\n"
    "      screen-1/dbs: {field: dbs, type: text, clear: true}\n"
    "      licence: {field: licence, from: answerState, map: {IS_YES: yes it is, IS_NO: false}}\n"
    "      night-shifts: {field: nights, type: boolean}\n"
    "      start-date: {field: available_from, type: date, clear: true}\n"
    "  '*': {connector: ats, on: {finished: {note: summary, tags: [other]}}, fields: {nmc-pin: pin}}\n";

static const struct config *configured(void)
{
    static struct config *config;
    struct config_problems problems = {0};
    struct buf said;

    if (config == NULL && config_parse("fuzz.conf", config_text, strlen(config_text), &config, &problems) != ST_OK) {
        buf_init(&said, TEXT_MAX_BYTES);
        config_problems_print(&problems, &said);
        PROMISE(false, "%s", buf_text(&said));
    }
    return config;
}

static const char *no_name(void *ctx, const char *source, const char *workflow_id)
{
    (void)ctx;
    (void)source;
    return strcmp(workflow_id, "wf_learned") == 0 ? "cedar-rgn-screening" : NULL;
}

static const struct workflow_names names = {.external_id_of = no_name, .source = "popp"};

/* The store keeps one event of each id. */
static bool is_known(const struct event *events, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(events[i].id, id) == 0)
            return true;
    }
    return false;
}

static size_t read_events(struct fuzz_input in, struct event *ret, struct arena *arena)
{
    size_t count = 0;

    while (in.left > 0 && count < EVENTS_MAX) {
        struct fuzz_input line = fuzz_take(&in, "\n");
        struct event e;

        if (event_parse(line.at, line.left, arena, &e, NULL) != ST_OK || is_known(ret, count, e.id))
            continue;
        e.time_us = e.time_us == EVENT_TIME_NONE ? 0 : e.time_us;
        ret[count++] = e;
    }
    return count;
}

static void check_clean(const char *text, const char *what)
{
    PROMISE(text_is_utf8(text, strlen(text)), "%s is not UTF-8", what);
    for (; *text != '\0'; text++)
        PROMISE(*text == '\n' || !iscntrl((unsigned char)*text), "%s holds the control character %d", what, *text);
}

static void check_wish(const struct desired *d, const char *before)
{
    struct buf text;

    PROMISE(before == NULL || strcmp(before, d->key) < 0, "the keys are not in order: %s, %s", before, d->key);
    PROMISE(strlen(d->hash) == 32 && strspn(d->hash, "0123456789abcdef") == 32, "the hash is %s", d->hash);
    PROMISE(d->reason != NULL && d->run != NULL && d->workflow != NULL, "%s has no reason", d->key);
    buf_init(&text, TEXT_MAX_BYTES);
    json_print(d->value, &text);
    fuzz_same(d->value, buf_text(&text), text.len, d->key);
    buf_free(&text);
    if (d->kind == WRITE_NOTE) {
        PROMISE(json_str(d->value) != NULL, "a note is no text");
        PROMISE(text_is_utf8(json_str(d->value), strlen(json_str(d->value))), "the note %s is not UTF-8", d->key);
    }
    if (d->kind == WRITE_ASSESSMENT)
        check_clean(json_get_str(d->value, "summary"), "the summary of an assessment");
}

static const char *plan_text(const struct event *events, size_t count, struct arena *arena)
{
    struct run_set set;
    struct plan plan;
    struct buf b;
    const char *text;

    buf_init(&b, TEXT_MAX_BYTES);
    runs_fold(events, count, arena, &set);
    plan_make(&set, &configured()->mapping, "ats", &names, arena, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        const struct desired *d = &plan.items[i];

        check_wish(d, i > 0 ? plan.items[i - 1].key : NULL);
        buf_printf(&b, "%s %s %s %s ", d->key, d->hash, d->reason, d->stamp.event_id);
        json_print_canonical(d->value, &b);
        buf_putc(&b, '\n');
    }
    text = arena_strdup(arena, buf_text(&b));
    plan_clear(&plan);
    buf_free(&b);
    return text;
}

static void check_order(const struct event *events, size_t count, struct arena *arena)
{
    struct event told[3 * EVENTS_MAX];
    size_t n = 0;
    const char *first = plan_text(events, count, arena), *second;

    for (size_t i = count; i > 0; i--) {
        told[n++] = events[i - 1];
        if (i % 2 == 0)
            told[n++] = events[count - i];
    }
    for (size_t i = 0; i < count; i++)
        told[n++] = events[i];
    second = plan_text(told, n, arena);
    PROMISE(strcmp(first, second) == 0, "one order gives\n%s\nanother one\n%s", first, second);
}

static void check_run(const struct run *r, struct arena *arena)
{
    const char **moments;
    size_t count;
    struct json *nodes;
    struct buf text;

    PROMISE(r->run_id != NULL, "a run without an id");
    run_moments(r, arena, &moments, &count);
    for (size_t i = 0; i < count; i++)
        check_clean(note_summary(r, moments[i], NULL, arena), "a summary");
    buf_init(&text, TEXT_MAX_BYTES);
    run_print_nodes(r, &text);
    nodes = fuzz_json(buf_text(&text), text.len);
    PROMISE(json_type(nodes) == JSON_ARRAY && json_count(nodes) == r->node_count, "the nodes are %s", buf_text(&text));
    json_free(nodes);
    buf_free(&text);
}

/* Once all is done there is nothing to do. */
static void check_diff(const struct plan *plan, struct arena *arena)
{
    struct ledger_row *rows = arena_alloc(arena, (plan->count + 1) * sizeof *rows);
    struct ledger_diff diff;

    ledger_diff(plan, NULL, 0, 0, arena, &diff);
    PROMISE(diff.count == plan->count && diff.to_send == plan->count, "not all of what is new is sent");
    for (size_t i = 0; i < plan->count; i++)
        rows[i] = (struct ledger_row){.key = plan->items[i].key,
                                      .rev = 1,
                                      .kind = plan->items[i].kind,
                                      .hash = plan->items[i].hash,
                                      .base_hash = plan->items[i].hash,
                                      .state = WRITE_APPLIED,
                                      .first_tried_us = INT64_MIN,
                                      .next_attempt_us = INT64_MIN};
    ledger_diff(plan, rows, plan->count, 0, arena, &diff);
    PROMISE(diff.to_send == 0 && diff.obsolete_count == 0, "what is done is sent again");
}

static void check_sending(const struct plan *plan, struct arena *arena)
{
    struct ledger_row *rows;
    struct buf list;
    size_t count, set_writes = 0;

    buf_init(&list, TEXT_MAX_BYTES);
    for (size_t i = 0; i < plan->count; i++) {
        const struct desired *d = &plan->items[i];

        if (write_is_append(d->kind) || !text_is_utf8(d->key, strlen(d->key)))
            continue;
        ledger_sending_add(&list, d->key, 1, d->kind, d->hash);
        set_writes++;
    }
    PROMISE(ledger_overlay(NULL, 0, buf_text(&list), arena, &rows, &count) == ST_OK && count == set_writes,
            "the list of what is being sent cannot be read: %s", buf_text(&list));
    buf_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event events[EVENTS_MAX];
    struct arena *arena = arena_new();
    size_t count = read_events((struct fuzz_input){(const char *)data, size}, events, arena);
    struct run_set set;
    struct plan plan;

    check_order(events, count, arena);
    runs_fold(events, count, arena, &set);
    for (size_t i = 0; i < set.count; i++)
        check_run(&set.runs[i], arena);
    plan_make(&set, &configured()->mapping, NULL, &names, arena, &plan);
    check_diff(&plan, arena);
    check_sending(&plan, arena);
    plan_clear(&plan);
    arena_free(arena);
    return 0;
}
