#include "service/planning.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "service/standing.h"

enum {
    WAIT_FOR_TRY_US = 1000000, /* while another candidate tries a wish that did not fit the ATS */
};

/* ---- what is to be sent ----------------------------------------------------------------------------------------------- */

static const char *const verbs[WRITE_KIND_COUNT] = {"fields", "tags", "assessment", "stage", "reject", "note"};

static bool may_share_call(const struct job *job, const struct ledger_item *a, const struct ledger_item *b)
{
    return a->wish->kind == b->wish->kind && connector_module_batches(job->module, a->wish->kind) &&
           text_eq(a->wish->job, b->wish->job) && !a->look_first && !b->look_first;
}

static void add_calls(struct job *job, const struct ledger_diff *diff)
{
    const struct ledger_item **items = arena_alloc(job->arena, (diff->to_send + 1) * sizeof(struct ledger_item *));

    job->calls = arena_alloc(job->arena, (diff->to_send + 1) * sizeof *job->calls);
    for (size_t i = 0; i < diff->count; i++) {
        const struct ledger_item *item = &diff->items[i];
        struct job_call *call;

        if (item->step != LEDGER_SEND) {
            continue;
        }
        if (job->call_count == 0 || !may_share_call(job, job->calls[job->call_count - 1].items[0], item)) {
            call = &job->calls[job->call_count++];
            call->verb = verbs[item->wish->kind];
            call->items = items; /* those of a call follow each other */
            call->look_first = item->look_first;
        }
        call = &job->calls[job->call_count - 1];
        call->item_count++;
        *items++ = item;
    }
}

static struct job *make_job(const struct planning *p, struct work *w)
{
    struct job *job;

    if (w->diff.to_send == 0) {
        return NULL;
    }
    job = mem_zalloc(sizeof *job);
    job->arena = arena_new();
    job->who = w->who;
    job->config = config_ref(p->config);
    job->connectors = connector_set_ref(p->connectors);
    job->connector = config_connector(p->config, w->who->connector);
    job->module = connector_set_find(p->connectors, w->who->connector);
    job->batch = p->batch;
    job->claimed_now_us = p->claim->now_us;
    job->claimed_mono_us = p->claimed_mono_us;
    job->claim_began_ms = p->claim_began_ms;
    job->lease_ms = p->config->delivery.lease_ms;
    job->diff = &w->diff;
    job->plan = &w->plan;
    add_calls(job, &w->diff);
    return job;
}

/* A row whose attempts are counted anew: atsyncctl retry made it so. */
static bool is_tried_again(const struct ledger_item *item)
{
    return item->row && !item->fresh && item->row->state == WRITE_PENDING && item->attempts == 0 &&
           item->row->failed_before;
}

/*
 * What the diff says is recorded before anything is sent. A wish that does not fit the ATS is recorded as failed like the one that showed it, without a
 * call; while somebody tries whether it still does not, it waits.
 */
static void list_writes(const struct planning *p, struct work *w)
{
    struct lane *lane = lanes_of(p->lanes, w->who->connector);
    struct arena *arena = p->claim->arena;
    int64_t now_us = p->claim->now_us;
    struct record_result *results = arena_alloc(arena, (w->diff.count + 1) * sizeof *results);

    for (size_t i = 0; i < w->diff.count; i++) {
        struct ledger_item *item = &w->diff.items[i];
        const char *why = NULL;
        enum lane_answer answer = item->step == LEDGER_SEND
                                      ? lane_ask(lane, item->wish, is_tried_again(item), clock_mono_ms(), arena, &why)
                                      : LANE_TRY;

        if (answer == LANE_TRY) {
            continue;
        }
        item->step = LEDGER_KEEP;
        w->diff.to_send--;
        if (answer == LANE_REFUSE) {
            results[w->record.result_count++] = (struct record_result){
                .item = item,
                .verdict = {.state = WRITE_DEAD, .error_class = "configuration"},
                .error = why,
                .not_attempted = true,
            };
        } else if (w->diff.next_due_us > now_us + WAIT_FOR_TRY_US) {
            w->diff.next_due_us = now_us + WAIT_FOR_TRY_US;
        }
    }
    w->record.diff = &w->diff;
    w->record.results = results;
}

static bool connector_in(const struct record_route *routes, size_t count, const char *connector)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(routes[i].connector, connector) == 0) {
            return true;
        }
    }
    return false;
}

/* A workflow may lead to another connector than it did when its events came: there the candidate has to be known. */
static void lead_elsewhere(const struct planning *p, struct work *w)
{
    struct record_route *routes = arena_alloc(p->claim->arena, (w->runs.count + 1) * sizeof *routes);
    size_t n = 0;

    for (size_t i = 0; i < w->runs.count; i++) {
        const struct workflow_map *map =
            mapping_find(&p->config->mapping, run_workflow_external_id(&w->runs.runs[i], &w->names));

        if (map && strcmp(map->connector, w->who->connector) != 0 && !connector_in(routes, n, map->connector)) {
            routes[n++] = (struct record_route){.connector = map->connector,
                                                .ref = w->who->ref,
                                                .external_id = w->who->external_id,
                                                .only_if_new = true};
        }
    }
    w->record.routes = routes;
    w->record.route_count = n;
}

static void plan_candidate(const struct planning *p, struct work *w)
{
    struct arena *arena = p->claim->arena;

    lead_elsewhere(p, w);
    plan_make(&w->runs, &p->config->mapping, w->who->connector, &w->names, arena, &w->plan);
    ledger_diff(&w->plan, w->loaded->rows, w->loaded->row_count, p->claim->now_us, arena, &w->diff);
    ledger_noted_elsewhere(&w->diff, w->loaded->noted_elsewhere, w->loaded->noted_count);
    if (p->connector_waits && w->diff.to_send > 0) {
        ledger_list_only(&w->diff);
        w->record.diff = &w->diff;
        w->record.release = w->record.waits = true;
        return;
    }
    list_writes(p, w);
    w->job = make_job(p, w);
    if (!w->job) {
        int64_t next_ms =
            w->diff.next_due_us == INT64_MAX ? INT64_MAX : (w->diff.next_due_us - p->claim->now_us) / 1000 + 1;

        standing_settle(&w->record, &w->diff, standing_any_row(&w->diff, WRITE_DEAD) || w->record.result_count > 0,
                        w->diff.next_due_us != INT64_MAX, next_ms);
    }
}

/* ---- where it belongs ---------------------------------------------------------------------------------------------------- */

/*
 * A candidate that no connector is known for yet: find out whose it is and where it belongs, and let it be looked at there. What cannot be
 * placed stays visible here and is looked at again when an identity or a mapping appears.
 */
static void route_candidate(const struct planning *p, struct work *w)
{
    const char *ref = w->who->ref[0] == 'x' ? w->who->ref : w->loaded->resolved_ref;
    const char *external_id = w->who->ref[0] == 'x' ? w->who->external_id : w->loaded->resolved_external_id;
    struct record_route *routes = arena_alloc(p->claim->arena, (w->runs.count + 1) * sizeof *routes);
    struct record *r = &w->record;
    bool unmapped = false;
    size_t n = 0;

    r->release = true;
    r->synced = true;
    r->next_due_ms = INT64_MAX;
    if (w->who->ref[0] == 'w') {
        r->forget = true;
        return;
    }
    if (!ref) {
        r->state = "waiting_for_identity";
        r->error_class = w->loaded->identity_conflict ? "identity_conflict" : "identity";
        r->error = w->loaded->identity_conflict ? "events give two different external ids for this profile: decide "
                                                  "with atsyncctl link --profile ID --external-id X"
                                                : "no event has told the candidate's external id yet; it can be given "
                                                  "with atsyncctl link --profile ID --external-id X";
        return;
    }
    for (size_t i = 0; i < w->runs.count; i++) {
        const char *workflow = run_workflow_external_id(&w->runs.runs[i], &w->names);
        const struct workflow_map *map = mapping_find(&p->config->mapping, workflow);

        if (!map) {
            unmapped = true;
        } else if (!connector_in(routes, n, map->connector)) {
            routes[n++] = (struct record_route){.connector = map->connector, .ref = ref, .external_id = external_id};
        }
    }
    if (strcmp(ref, w->who->ref) != 0) { /* the other reference answers for everything from here on */
        if (unmapped) {
            routes[n++] = (struct record_route){.connector = "", .ref = ref, .external_id = external_id};
        }
        r->forget = true;
    } else if (unmapped) {
        r->state = "unmapped";
        r->error_class = "unmapped";
        r->error = "no mapping for this workflow: add it under workflows in the configuration and reload";
    } else {
        r->forget = n > 0;
        r->state = "nothing_to_do";
    }
    r->routes = routes;
    r->route_count = n;
}

/* ---- one candidate ---------------------------------------------------------------------------------------------------- */

static bool tells_name(const struct planning *p, const struct work *w)
{
    bool tells = false;

    for (size_t i = 0; i < w->loaded->event_count && !tells; i++) {
        tells = name_table_lacks(p->names, w->who->source, &w->loaded->events[i]);
    }
    return tells;
}

void planning_work(const struct planning *p, struct claimed *who, struct loaded *loaded, struct work *ret)
{
    struct work *w = ret;

    *w = (struct work){.who = who, .loaded = loaded, .names = name_table_of(p->names, who->source)};
    runs_fold(loaded->events, loaded->event_count, p->claim->arena, &w->runs);
    w->runs.settled_us = loaded->settled_us;
    w->record = (struct record){
        .who = who,
        .runs = &w->runs,
        .mapping = &p->config->mapping,
        .names = &w->names,
        .events = loaded->events,
        .event_count = loaded->event_count,
        .next_due_ms = INT64_MAX,
    };
    if (who->connector[0] == '\0') {
        route_candidate(p, w);
    } else if (!config_connector(p->config, who->connector)) {
        standing_settle(&w->record, &w->diff, false, false, INT64_MAX);
    } else {
        plan_candidate(p, w);
    }
    w->tells_name = tells_name(p, w);
    w->goes_ahead = w->job && w->record.result_count == 0 && !w->tells_name && !ledger_needs_intent(&w->diff);
}
