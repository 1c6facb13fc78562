/*
 * The loop of the database side:
 *   record what has ended  ->  claim what is due  ->  load, fold, plan, diff  ->  record runs and intents  ->  hand over to delivery
 * Whatever ended or fell due during one round is handled together in the next, so that rounds grow with the load.
 */
#include "service/dispatcher.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "domain/breaker.h"
#include "domain/ledger.h"
#include "domain/plan.h"
#include "domain/run.h"
#include "service/delivery.h"
#include "store/store.h"

enum {
    CLAIM_MAX = 256,        /* candidates of one claim: more makes the first of them wait for the last */
    STATES_EVERY_MS = 1000, /* how old what we know of paused connectors may be */
    BEAT_EVERY_MS = 2000,
    RETRIES_EVERY_MS = 50, /* how often retries are looked for while there are none */
    LANE_MIN = 16,         /* candidates in work that every connector may have */
    NAMES_EVERY_MS = 60000,
    IDENTIFIED_EVERY_MS = 10000, /* who began to wait for an identity while it was being committed */
    IDENTIFIED_RECENT_S = 600,
    IDENTIFIED_ALL_EVERY_MS = 3600000,
    IDENTIFIED_ALL_S = INT32_MAX,
    RECONNECT_MIN_MS = 200,
    RECONNECT_MAX_MS = 2000,
    STOP_TRIES = 5, /* at recording results while stopping with the database away */
};

/* Candidates claimed together share their memory; the last one to be recorded frees it. */
struct batch_memory {
    struct claim_batch claim;
    struct loaded *loaded;
    int64_t claimed_mono_us;
    int64_t claim_began_ms;
    size_t refs;
};

struct name_table { /* workflow ids that events told an external id of */
    struct arena *arena;
    struct workflow_name_row *rows;
    size_t count;
};

/* A connector in use: its share of the slots, and what its breaker needs. */
struct lane {
    char *name;
    size_t in_work;
    size_t in_work_max;
    int64_t calls, failures; /* not told to the database yet */
    int64_t requests;        /* likewise, for the daily quota */
    int64_t per_day;         /* the quota; 0: none */
    bool was_closed;         /* as seen last: the slow start begins when it closes */
    int64_t closed_at_ms;
    int64_t retries_at_ms; /* when retries are looked for next */
    struct hold *holds;
    struct lane *next;
};

/* A wish that cannot come true before the configuration changes: the first candidate showed it, the others need not try. */
struct hold {
    char *what;
    char *error;
    struct hold *next;
};

/* What the plan phase made of one candidate. */
struct work {
    struct claimed *who;
    struct loaded *loaded;
    struct workflow_names names;
    struct run_set runs;
    struct plan plan;
    struct ledger_diff diff;
    struct record record;
    struct job *job; /* NULL: nothing to send */
};

struct dispatcher {
    struct delivery *delivery;
    struct store *store;
    pthread_t thread;
    bool started;
    int wake_fd;
    char *owner;
    /* shared with other threads */
    pthread_mutex_t lock;
    struct config *next_config; /* after a reload */
    struct connector_set *next_connectors;
    struct job *ended;
    bool stopping;
    bool delivery_ended;
    /* the thread's own */
    struct config *config;
    struct connector_set *connectors;
    struct name_table names;
    int64_t names_at_ms;
    int64_t identified_at_ms;
    int64_t identified_all_at_ms;
    struct arena *states_arena;
    struct connector_status_row *states;
    size_t state_count;
    int64_t states_at_ms;
    int64_t renewed_at_ms;
    struct lane *lanes;
    int64_t beat_at_ms;
    size_t in_work;         /* jobs with delivery, or ended and not yet recorded */
    int64_t next_due_at_ms; /* when the earliest of those that we gave back with a time is due; INT64_MAX: none known */
    bool database_away;
    bool took_back; /* what a dead predecessor held */
    bool give_back; /* something claimed could not be worked on: take it back when nothing is in work */
    int stop_failures;
    struct metric *lag, *writes;
};

/* ---- names of workflows ------------------------------------------------------------------------------------------- */

static const char *external_id_of(void *ctx, const char *source, const char *workflow_id)
{
    const struct name_table *t = ctx;

    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->rows[i].workflow_id, workflow_id) == 0 && strcmp(t->rows[i].source, source) == 0) {
            return t->rows[i].external_id;
        }
    }
    return NULL;
}

static int refresh_names(struct dispatcher *d, struct errmsg *err)
{
    struct arena *fresh = arena_new();
    struct workflow_name_row *rows = NULL;
    size_t count = 0;
    int st = store_workflow_names(d->store, fresh, &rows, &count, err);

    if (st != ST_OK) {
        arena_free(fresh);
        return st;
    }
    arena_free(d->names.arena);
    d->names.arena = fresh;
    d->names.rows = rows;
    d->names.count = count;
    d->names_at_ms = clock_mono_ms();
    return ST_OK;
}

/* ---- what is shared about connectors ------------------------------------------------------------------------------------ */

static int refresh_states(struct dispatcher *d, struct errmsg *err)
{
    struct arena *fresh = arena_new();
    struct connector_status_row *rows = NULL;
    size_t count = 0;
    int st = store_connector_states(d->store, fresh, &rows, &count, err);

    if (st != ST_OK) {
        arena_free(fresh);
        return st;
    }
    arena_free(d->states_arena);
    d->states_arena = fresh;
    d->states = rows;
    d->state_count = count;
    d->states_at_ms = clock_mono_ms();
    return ST_OK;
}

static const struct connector_status_row *state_of(const struct dispatcher *d, const char *connector)
{
    for (size_t i = 0; i < d->state_count; i++) {
        if (strcmp(d->states[i].connector, connector) == 0) {
            return &d->states[i];
        }
    }
    return NULL;
}

static struct lane *lane_of(struct dispatcher *d, const char *connector)
{
    struct lane *l = d->lanes;

    while (l && strcmp(l->name, connector) != 0) {
        l = l->next;
    }
    if (!l) {
        l = mem_zalloc(sizeof *l);
        l->name = mem_strdup(connector);
        l->was_closed = true;
        l->closed_at_ms = INT64_MIN / 2;
        l->next = d->lanes;
        d->lanes = l;
    }
    return l;
}

/* How many more candidates of this connector may be taken into work now. */
static int lane_room(struct dispatcher *d, struct lane *l, size_t *ret, struct errmsg *err)
{
    const struct connector_status_row *s = state_of(d, l->name);
    int64_t age_ms = clock_mono_ms() - d->states_at_ms;
    size_t ramp;
    bool mine = false;
    int st = ST_OK;

    *ret = 0;
    if (s && strcmp(s->state, "paused") == 0) {
        return ST_OK;
    }
    if (s && strcmp(s->state, "throttled") == 0 && s->until_ms > age_ms) {
        return ST_OK;
    }
    if (s && strcmp(s->state, "open") == 0) {
        l->was_closed = false;
        if (s->until_ms <= age_ms && l->in_work == 0) {
            st = store_connector_probe(d->store, l->name, &mine, err);
            d->states_at_ms = 0; /* it is ours or somebody else's now */
        }
        *ret = mine ? 1 : 0;
        return st;
    }
    if (!l->was_closed) {
        l->was_closed = true;
        l->closed_at_ms = clock_mono_ms();
    }
    ramp = breaker_ramp(clock_mono_ms() - l->closed_at_ms);
    ramp = ramp < l->in_work_max ? ramp : l->in_work_max;
    *ret = ramp > l->in_work ? ramp - l->in_work : 0;
    return ST_OK;
}

/* Half of the slots for each connector at most, so that a slow one cannot take them all. */
static void size_lanes(struct dispatcher *d)
{
    size_t slots = (size_t)d->config->delivery.slots;

    for (size_t i = 0; i < d->config->connector_count; i++) {
        const struct connector_config *c = &d->config->connectors[i];
        struct connector_limits limits = connector_limits_of(connector_set_find(d->connectors, c->name), c);
        size_t wanted = 4 * (size_t)limits.concurrency;
        size_t share = d->config->connector_count > 1 ? slots / 2 : slots;

        wanted = wanted > LANE_MIN ? wanted : LANE_MIN;
        lane_of(d, c->name)->in_work_max = wanted < share ? wanted : share;
        lane_of(d, c->name)->per_day = limits.per_day;
    }
    lane_of(d, "")->in_work_max = slots;
}

static void free_holds(struct lane *l)
{
    while (l->holds) {
        struct hold *next = l->holds->next;

        mem_free(l->holds->what);
        mem_free(l->holds->error);
        mem_free(l->holds);
        l->holds = next;
    }
}

static int register_connectors(struct dispatcher *d, bool changed, struct errmsg *err)
{
    int64_t revived = 0;
    int st;

    if (!changed && d->states_arena) {
        return ST_OK;
    }
    size_lanes(d);
    for (struct lane *l = d->lanes; l; l = l->next) {
        free_holds(l);
    }
    st = store_connector_register(d->store, d->config, &revived, err);
    if (st == ST_OK && revived > 0) {
        log_info("the configuration has changed: writes that failed because of it are tried again", "writes",
                 num_text(revived).s, NULL);
    }
    return st;
}

/* A connector that was paused by itself works again once what it needs has been changed. */
static int resume_changed(struct dispatcher *d, struct errmsg *err)
{
    int st = ST_OK;

    for (size_t i = 0; i < d->state_count && st == ST_OK; i++) {
        const struct connector_status_row *s = &d->states[i];
        const struct connector_config *c = config_connector(d->config, s->connector);
        char fingerprint[CONFIG_FINGERPRINT_BYTES];

        if (!c || strcmp(s->state, "paused") != 0 || s->paused_by_operator) {
            continue;
        }
        config_connector_fingerprint(c, fingerprint);
        if (!text_eq(s->config_hash, fingerprint)) {
            log_info("connector works again: its configuration has changed", "connector", c->name, NULL);
            st = store_connector_ok(d->store, c->name, err);
        }
    }
    return st == ST_OK ? refresh_states(d, err) : st;
}

/* ---- wishes that cannot come true before the configuration changes ------------------------------------------------------ */

/* Names a wish that failed because of the configuration, so that the same wish of others is known. */
static char *hold_name(const struct desired *w)
{
    char *value = w->kind == WRITE_STAGE || w->kind == WRITE_REJECT ? json_text(w->value) : NULL;
    char *name = mem_printf("%s\n%s\n%s\n%s", w->workflow_external_id ? w->workflow_external_id : "",
                            write_kind_name(w->kind), value ? "" : w->target, value ? value : "");

    mem_free(value);
    return name;
}

static struct hold *find_hold(const struct lane *l, const struct desired *w)
{
    struct hold *h = l->holds;

    if (h && !write_is_append(w->kind)) {
        char *name = hold_name(w);

        while (h && strcmp(h->what, name) != 0) {
            h = h->next;
        }
        mem_free(name);
        return h;
    }
    return NULL;
}

/* ---- plan phase: one candidate -------------------------------------------------------------------------------------------- */

static const char *const verbs[WRITE_KIND_COUNT] = {"fields", "tags", "assessment", "stage", "reject", "note"};

static bool may_share_call(const struct job *job, const struct ledger_item *a, const struct ledger_item *b)
{
    return a->wish->kind == b->wish->kind && connector_module_batches(job->module, a->wish->kind) &&
           text_eq(a->wish->job, b->wish->job) && !a->look_first && !b->look_first;
}

static void add_calls(struct job *job, const struct ledger_diff *diff)
{
    job->calls = arena_alloc(job->arena, (diff->to_send + 1) * sizeof *job->calls);
    for (size_t i = 0; i < diff->count; i++) {
        const struct ledger_item *item = &diff->items[i];
        struct job_call *last = job->call_count > 0 ? &job->calls[job->call_count - 1] : NULL;

        if (item->step != LEDGER_SEND) {
            continue;
        }
        if (!last || !may_share_call(job, last->items[0], item)) {
            last = &job->calls[job->call_count++];
            last->verb = verbs[item->wish->kind];
            last->items = arena_alloc(job->arena, (diff->count + 1) * sizeof(struct ledger_item *));
            last->look_first = item->look_first;
        }
        last->items[last->item_count++] = item;
    }
}

static struct job *make_job(struct dispatcher *d, struct work *w, struct batch_memory *memory)
{
    struct job *job;

    if (w->diff.to_send == 0) {
        return NULL;
    }
    job = mem_zalloc(sizeof *job);
    job->arena = arena_new();
    job->who = w->who;
    job->config = config_ref(d->config);
    job->connectors = connector_set_ref(d->connectors);
    job->connector = config_connector(d->config, w->who->connector);
    job->module = connector_set_find(d->connectors, w->who->connector);
    job->batch = memory;
    job->claimed_now_us = memory->claim.now_us;
    job->claimed_mono_us = memory->claimed_mono_us;
    job->claim_began_ms = memory->claim_began_ms;
    job->lease_ms = d->config->delivery.lease_ms;
    job->diff = &w->diff;
    job->plan = &w->plan;
    add_calls(job, &w->diff);
    return job;
}

/* The writes to record before anything is sent; what is held is recorded as failed for the same reason, without a call. */
static void list_writes(struct dispatcher *d, struct work *w, struct arena *arena)
{
    const struct lane *lane = lane_of(d, w->who->connector);
    struct record_write *writes = arena_alloc(arena, (w->diff.count + 1) * sizeof *writes);
    struct record_result *results = arena_alloc(arena, (w->diff.count + 1) * sizeof *results);
    size_t n = 0;

    for (size_t i = 0; i < w->diff.count; i++) {
        struct ledger_item *item = &w->diff.items[i];
        const struct hold *h = item->step == LEDGER_SEND ? find_hold(lane, item->wish) : NULL;

        if (item->step != LEDGER_KEEP) {
            writes[n++] =
                (struct record_write){.item = item, .state = item->step == LEDGER_SEND ? WRITE_SENDING : WRITE_APPLIED};
        }
        if (h) {
            results[w->record.result_count++] = (struct record_result){
                .item = item,
                .verdict = {.state = WRITE_DEAD, .error_class = "configuration"},
                .error = arena_strdup(arena, h->error),
                .not_attempted = true,
            };
            item->step = LEDGER_KEEP;
            w->diff.to_send--;
        }
    }
    w->record.writes = writes;
    w->record.write_count = n;
    w->record.results = results;
    w->record.superseded = w->diff.obsolete;
    w->record.superseded_count = w->diff.obsolete_count;
}

static bool row_is(const struct ledger_item *item, enum write_state state)
{
    return item->row && item->row->state == state && item->step == LEDGER_KEEP;
}

static bool any_row(const struct ledger_diff *diff, enum write_state state)
{
    for (size_t i = 0; i < diff->count; i++) {
        if (row_is(&diff->items[i], state)) {
            return true;
        }
    }
    return false;
}

/* How the candidate stands when there is nothing to send (left). */
static void settle_record(struct record *r, const struct ledger_diff *diff, bool any_dead, bool any_pending,
                          int64_t next_due_ms)
{
    r->release = true;
    r->synced = true;
    r->failed = any_pending;
    r->next_due_ms = next_due_ms;
    if (any_pending) {
        r->state = "retrying";
        r->synced = false;
    } else if (any_dead) {
        r->state = "dead";
    } else {
        r->state = diff->count > 0 ? "synced" : "nothing_to_do";
    }
}

static void plan_candidate(struct dispatcher *d, struct work *w, struct batch_memory *memory)
{
    struct arena *arena = memory->claim.arena;

    plan_make(&w->runs, &d->config->mapping, w->who->connector, &w->names, arena, &w->plan);
    ledger_diff(&w->plan, w->loaded->rows, w->loaded->row_count, memory->claim.now_us, arena, &w->diff);
    list_writes(d, w, arena);
    w->job = make_job(d, w, memory);
    if (!w->job) {
        int64_t next_ms =
            w->diff.next_due_us == INT64_MAX ? INT64_MAX : (w->diff.next_due_us - memory->claim.now_us) / 1000 + 1;

        settle_record(&w->record, &w->diff, any_row(&w->diff, WRITE_DEAD) || w->record.result_count > 0,
                      w->diff.next_due_us != INT64_MAX, next_ms);
    }
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

/*
 * A candidate that no connector is known for yet: find out whose it is and where it belongs, and let it be looked at there. What cannot be
 * placed stays visible here and is looked at again when an identity or a mapping appears.
 */
static void route_candidate(struct dispatcher *d, struct work *w, struct arena *arena)
{
    const char *ref = w->who->ref[0] == 'x' ? w->who->ref : w->loaded->resolved_ref;
    const char *external_id = w->who->ref[0] == 'x' ? w->who->external_id : w->loaded->resolved_external_id;
    struct record_route *routes = arena_alloc(arena, (w->runs.count + 1) * sizeof *routes);
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
        const struct workflow_map *map = mapping_find(&d->config->mapping, workflow);

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

static void prepare(struct dispatcher *d, struct work *w, struct batch_memory *memory)
{
    struct arena *arena = memory->claim.arena;

    w->names = (struct workflow_names){.external_id_of = external_id_of, .ctx = &d->names, .source = w->who->source};
    runs_fold(w->loaded->events, w->loaded->event_count, arena, &w->runs);
    w->record = (struct record){
        .who = w->who,
        .runs = &w->runs,
        .mapping = &d->config->mapping,
        .names = &w->names,
        .events = w->loaded->events,
        .event_count = w->loaded->event_count,
        .next_due_ms = INT64_MAX,
    };
    if (w->who->connector[0] == '\0') {
        route_candidate(d, w, arena);
    } else if (!config_connector(d->config, w->who->connector)) {
        settle_record(&w->record, &w->diff, false, false, INT64_MAX);
    } else {
        plan_candidate(d, w, memory);
    }
}

/* ---- memory of a batch ---------------------------------------------------------------------------------------------------- */

static void batch_unref(struct batch_memory *m)
{
    if (--m->refs == 0) {
        loaded_clear(m->loaded, m->claim.count);
        claim_batch_clear(&m->claim);
        mem_free(m);
    }
}

static void job_free(struct job *job)
{
    struct batch_memory *memory = job->batch;

    plan_clear(job->plan);
    config_unref(job->config);
    connector_set_unref(job->connectors);
    arena_free(job->arena);
    mem_free(job);
    batch_unref(memory);
}

/* ---- one claim ---------------------------------------------------------------------------------------------------- */

/* Gives leased candidates back as they were, when the plan phase could not be recorded. */
static void abandon(struct dispatcher *d, struct work *works, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (works[i].job) {
            job_free(works[i].job);
        } else {
            plan_clear(&works[i].plan);
        }
    }
    d->give_back = true; /* the leases end by themselves at the latest; taken back once nothing is in work */
}

static void hand_over(struct dispatcher *d, struct lane *lane, struct work *works, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct work *w = &works[i];

        if (!w->job) {
            plan_clear(&w->plan);
        } else if (w->record.lost) {
            job_free(w->job);
        } else {
            d->in_work++;
            lane->in_work++;
            delivery_submit(d->delivery, w->job);
        }
    }
    delivery_wake(d->delivery);
}

/* So that nothing waits for the poll that we ourselves gave a time to. */
static void remember_due(struct dispatcher *d, const struct record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (records[i].release && records[i].next_due_ms != INT64_MAX) {
            int64_t at_ms = clock_mono_ms() + records[i].next_due_ms;

            d->next_due_at_ms = at_ms < d->next_due_at_ms ? at_ms : d->next_due_at_ms;
        }
    }
}

/* Has one of these events told the external id of a workflow that we did not know yet? */
static bool tells_new_name(struct dispatcher *d, const struct record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < records[i].event_count; k++) {
            const struct event *e = &records[i].events[k];

            if (e->workflow_id && e->workflow_external_id &&
                !external_id_of(&d->names, records[i].who->source, e->workflow_id)) {
                return true;
            }
        }
    }
    return false;
}

/* Returns the number of candidates claimed, or a negative status. */
static int claim_round(struct dispatcher *d, struct lane *lane, bool retries, size_t limit, struct errmsg *err)
{
    struct batch_memory *memory = mem_zalloc(sizeof *memory);
    struct work *works;
    struct record *records;
    size_t count;
    int st;

    memory->claim_began_ms = clock_mono_ms();
    st = store_claim(d->store, lane->name, retries, d->owner, d->config->delivery.lease_ms, limit, &memory->claim, err);
    if (st != ST_OK) {
        d->give_back = true; /* it may have been done all the same */
        mem_free(memory);
        return st;
    }
    memory->refs = 1;
    memory->claimed_mono_us = clock_mono_us();
    count = memory->claim.count;
    if (count == 0) {
        batch_unref(memory);
        return 0;
    }
    FAULT_POINT("claimed");
    st = store_load(d->store, &memory->claim, &memory->loaded, err);
    if (st != ST_OK) {
        memory->claim.count = 0;
        d->give_back = true;
        batch_unref(memory);
        return st;
    }
    FAULT_POINT("loaded");
    works = arena_alloc(memory->claim.arena, count * sizeof *works);
    records = arena_alloc(memory->claim.arena, count * sizeof *records);
    for (size_t i = 0; i < count; i++) {
        works[i].who = &memory->claim.items[i];
        works[i].loaded = &memory->loaded[i];
        prepare(d, &works[i], memory);
        memory->refs += works[i].job != NULL;
        records[i] = works[i].record;
    }
    FAULT_POINT("planned");
    st = store_record(d->store, records, count, err);
    for (size_t i = 0; i < count; i++) {
        works[i].record.lost = records[i].lost;
    }
    if (st == ST_OK) {
        FAULT_POINT("intents-recorded");
        remember_due(d, records, count);
        if (tells_new_name(d, records, count) &&
            ((st = refresh_names(d, err)) != ST_OK || (st = store_wake_unrouted(d->store, err)) != ST_OK)) {
            d->names_at_ms = 0; /* the names come with the next round */
            st = ST_OK;
        }
        hand_over(d, lane, works, count);
    } else {
        abandon(d, works, count);
    }
    batch_unref(memory);
    return st == ST_OK ? (int)count : st;
}

/* ---- results ------------------------------------------------------------------------------------------------------ */

static void count_results(struct dispatcher *d, const struct job *job)
{
    for (size_t i = 0; i < job->result_count; i++) {
        const struct record_result *r = &job->results[i];

        if (!r->not_attempted) {
            metric_add(d->writes, 1, job->who->connector, write_kind_name(r->item->wish->kind),
                       write_state_name(r->verdict.state), NULL);
        }
    }
}

static struct record result_record(const struct job *job)
{
    struct record r = {.who = job->who,
                       .results = job->results,
                       .result_count = job->result_count,
                       .calls = job->log,
                       .call_count = job->log_count,
                       .next_due_ms = INT64_MAX};
    int64_t next_ms =
        job->diff->next_due_us == INT64_MAX ? INT64_MAX : (job->diff->next_due_us - job_now_us(job)) / 1000 + 1;
    bool any_pending = job->diff->next_due_us != INT64_MAX;
    bool any_dead = any_row(job->diff, WRITE_DEAD);
    bool tried = any_pending;

    for (size_t i = 0; i < job->result_count; i++) {
        const struct record_result *res = &job->results[i];

        any_dead = any_dead || res->verdict.state == WRITE_DEAD;
        if (res->verdict.state == WRITE_PENDING) {
            any_pending = true;
            tried = tried || !res->not_attempted;
            next_ms = res->verdict.delay_ms < next_ms ? res->verdict.delay_ms : next_ms;
        }
        if (!r.error && (res->verdict.state == WRITE_PENDING || res->verdict.state == WRITE_DEAD) &&
            !res->not_attempted) {
            r.error_class = res->verdict.error_class;
            r.error = res->error;
        }
    }
    settle_record(&r, job->diff, any_dead, any_pending, any_pending && next_ms < 0 ? 0 : next_ms);
    r.failed = tried;
    if (any_pending && !tried) { /* a stop of ours, not a failure */
        r.state = "pending";
    }
    if (job->throttle_ms > 0) {
        r.state = "throttled";
        r.failed = false;
    }
    for (size_t i = 0; i < job->log_count; i++) {
        job->log[i].ago_ms = clock_mono_ms() - job->log[i].ago_ms;
    }
    return r;
}

static int tell_connectors(struct dispatcher *d, const struct job *job, struct errmsg *err)
{
    char fingerprint[CONFIG_FINGERPRINT_BYTES];
    int st = ST_OK;

    if (job->throttle_ms > 0) {
        log_warn("the ATS asked to slow down", "connector", job->connector->name, "wait_ms",
                 num_text(job->throttle_ms).s, NULL);
        st = store_connector_throttle(d->store, job->connector->name, job->throttle_ms, "the ATS asked to slow down",
                                      err);
    }
    if (st == ST_OK && job->pause_reason) {
        log_error("connector paused until its configuration changes", "connector", job->connector->name, "reason",
                  job->pause_words, "hint", job->pause_hint, "more", "atsyncctl issues", NULL);
        config_connector_fingerprint(job->connector, fingerprint);
        st =
            store_connector_pause(d->store, job->connector->name, job->pause_reason, job->pause_hint, fingerprint, err);
    }
    if (st == ST_OK && (job->throttle_ms > 0 || job->pause_reason)) {
        st = refresh_states(d, err);
    }
    return st;
}

/* Tells the database how the calls went, when some failed; opens the breaker, or closes it after a probe that went well. */
static int tell_breaker(struct dispatcher *d, struct lane *l, struct errmsg *err)
{
    const struct connector_status_row *state = state_of(d, l->name);
    bool open = state && strcmp(state->state, "open") == 0;
    struct breaker_counts counts;
    int64_t calls = l->calls;
    int64_t failures = l->failures;
    int64_t ms;
    int st;

    if (calls == 0 || (failures == 0 && !open)) {
        return ST_OK;
    }
    l->calls = 0;
    l->failures = 0;
    if (open && failures < calls) {
        log_info("the ATS answers again", "connector", l->name, NULL);
        st = store_connector_ok(d->store, l->name, err);
        return st == ST_OK ? refresh_states(d, err) : st;
    }
    st = store_connector_outcomes(d->store, l->name, calls, failures, &counts, err);
    if (st != ST_OK || !(counts.is_open || breaker_should_open(counts.calls, counts.failures))) {
        return st;
    }
    ms = breaker_open_ms(counts.opens);
    log_warn("the ATS seems to be away: its candidates wait", "connector", l->name, "wait_ms", num_text(ms).s, NULL);
    st = store_connector_open(d->store, l->name, ms, "half or more of the calls failed", err);
    return st == ST_OK ? refresh_states(d, err) : st;
}

/* When the vendor's daily quota is used up, the connector waits for midnight. */
static int tell_quota(struct dispatcher *d, struct lane *l, struct errmsg *err)
{
    int64_t used = 0;
    int64_t left_ms = 0;
    int st;

    if (l->per_day == 0 || l->requests == 0) {
        return ST_OK;
    }
    st = store_connector_quota(d->store, l->name, l->requests, &used, &left_ms, err);
    if (st != ST_OK) {
        return st;
    }
    l->requests = 0;
    if (used >= l->per_day) {
        log_warn("the daily quota of the ATS is used up: its candidates wait for midnight UTC", "connector", l->name,
                 "requests", num_text(used).s, NULL);
        st = store_connector_throttle(d->store, l->name, left_ms, "the daily quota is used up until midnight UTC", err);
        return st == ST_OK ? refresh_states(d, err) : st;
    }
    return ST_OK;
}

static void count_calls(struct dispatcher *d, const struct job *job)
{
    struct lane *l = lane_of(d, job->who->connector);

    l->requests += (int64_t)job->log_count;

    for (size_t i = 0; i < job->result_count; i++) {
        if (!job->results[i].not_attempted) {
            l->calls++;
            l->failures += job->results[i].verdict.counts_as_failure;
        }
    }
}

static void remember_holds(struct dispatcher *d, const struct job *job)
{
    struct lane *l = lane_of(d, job->who->connector);

    for (size_t i = 0; i < job->result_count; i++) {
        const struct record_result *r = &job->results[i];
        const struct desired *wish = r->item->wish;

        if (r->verdict.state == WRITE_DEAD && text_eq(r->verdict.error_class, "configuration") &&
            job->config == d->config && !write_is_append(wish->kind) && !find_hold(l, wish)) {
            struct hold *h = mem_zalloc(sizeof *h);

            h->what = hold_name(wish);
            h->error = mem_strdup(r->error);
            h->next = l->holds;
            l->holds = h;
        }
    }
}

static void observe_lag(struct dispatcher *d, const struct job *job, const struct record *r)
{
    if (strcmp(r->state, "synced") == 0) {
        metric_observe(d->lag, (double)(job_now_us(job) - job->who->due_us) / 1e6, job->who->connector, NULL, NULL,
                       NULL);
    }
}

static struct job *take_ended(struct dispatcher *d)
{
    struct job *list;

    pthread_mutex_lock(&d->lock);
    list = d->ended;
    d->ended = NULL;
    pthread_mutex_unlock(&d->lock);
    return list;
}

static void put_back_ended(struct dispatcher *d, struct job *list)
{
    struct job *last = list;

    while (last && last->next) {
        last = last->next;
    }
    pthread_mutex_lock(&d->lock);
    if (last) {
        last->next = d->ended;
        d->ended = list;
    }
    pthread_mutex_unlock(&d->lock);
}

/* Records the jobs that have ended. On failure they stay in the list: what the ATS was told must not be forgotten. */
static int record_ended(struct dispatcher *d, struct errmsg *err)
{
    struct job *list = take_ended(d);
    struct record *records;
    size_t count = 0;
    size_t i = 0;
    int st = ST_OK;

    for (struct job *j = list; j; j = j->next) {
        count++;
    }
    if (count == 0) {
        return ST_OK;
    }
    records = mem_array(count, sizeof *records);
    for (struct job *j = list; j; j = j->next) {
        records[i++] = result_record(j);
    }
    for (struct job *j = list; j && st == ST_OK; j = j->next) {
        st = tell_connectors(d, j, err);
    }
    if (st == ST_OK) {
        FAULT_POINT("results-collected");
        st = store_record(d->store, records, count, err);
    }
    if (st != ST_OK) {
        for (struct job *j = list; j; j = j->next) { /* back to the time of their end */
            for (size_t k = 0; k < j->log_count; k++) {
                j->log[k].ago_ms = clock_mono_ms() - j->log[k].ago_ms;
            }
        }
        put_back_ended(d, list);
    } else {
        FAULT_POINT("results-recorded");
        remember_due(d, records, count);
        i = 0;
        while (list) {
            struct job *next = list->next;

            if (records[i].lost) {
                log_warn("a candidate's lease had passed to another daemon before its result was recorded", "connector",
                         list->who->connector, "ref", list->who->ref, NULL);
            } else {
                count_results(d, list);
                observe_lag(d, list, &records[i]);
            }
            count_calls(d, list);
            remember_holds(d, list);
            i++;
            lane_of(d, list->who->connector)->in_work--;
            job_free(list);
            d->in_work--;
            list = next;
        }
    }
    mem_free(records);
    for (struct lane *l = d->lanes; l && st == ST_OK; l = l->next) {
        if ((st = tell_quota(d, l, err)) == ST_OK) {
            st = tell_breaker(d, l, err);
        }
    }
    return st;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------- */

static void take_new_config(struct dispatcher *d, bool *ret_changed)
{
    *ret_changed = false;
    pthread_mutex_lock(&d->lock);
    if (d->next_config) {
        config_unref(d->config);
        connector_set_unref(d->connectors);
        d->config = d->next_config;
        d->connectors = d->next_connectors;
        d->next_config = NULL;
        d->next_connectors = NULL;
        *ret_changed = true;
    }
    pthread_mutex_unlock(&d->lock);
}

static bool is_stopping(struct dispatcher *d)
{
    bool stopping;

    pthread_mutex_lock(&d->lock);
    stopping = d->stopping;
    pthread_mutex_unlock(&d->lock);
    return stopping;
}

/* First attempts and retries get at most half of the room each, while both want it. */
static int claim_lane(struct dispatcher *d, struct lane *lane, bool *ret_more, struct errmsg *err)
{
    size_t slots = (size_t)d->config->delivery.slots;
    size_t free_slots = slots > d->in_work ? slots - d->in_work : 0;
    int64_t now_ms = clock_mono_ms();
    size_t room = 0;
    int st = lane_room(d, lane, &room, err);
    int n = 0;

    room = room < free_slots ? room : free_slots;
    room = room < CLAIM_MAX ? room : CLAIM_MAX;
    if (st != ST_OK || room == 0) {
        return st;
    }
    if (now_ms >= lane->retries_at_ms || room == 1) {
        n = claim_round(d, lane, true, room > 1 ? (room + 1) / 2 : 1, err);
        if (n < 0) {
            return n;
        }
        lane->retries_at_ms = n > 0 ? 0 : now_ms + RETRIES_EVERY_MS;
        *ret_more = *ret_more || n > 0; /* what was given back at once may be due again */
    }
    if ((size_t)n < room) {
        n = claim_round(d, lane, false, room - (size_t)n, err);
        if (n < 0) {
            return n;
        }
        *ret_more = *ret_more || n > 0;
    }
    return ST_OK;
}

static int claim_all(struct dispatcher *d, bool *ret_more, struct errmsg *err)
{
    int st = claim_lane(d, lane_of(d, ""), ret_more, err);

    for (size_t i = 0; i < d->config->connector_count && st == ST_OK; i++) {
        st = claim_lane(d, lane_of(d, d->config->connectors[i].name), ret_more, err);
    }
    return st;
}

static int renew(struct dispatcher *d, struct errmsg *err)
{
    int64_t lease_ms = d->config->delivery.lease_ms;
    int64_t began_ms = clock_mono_ms();
    int st = store_renew(d->store, d->owner, lease_ms, err);

    if (st == ST_OK) {
        delivery_renewed(d->delivery, began_ms, clock_mono_ms(), STORE_RENEWED_MS(lease_ms), lease_ms);
        d->renewed_at_ms = began_ms;
    }
    return st;
}

/* The waiting crowd may be large, so that all of it is looked at once an hour only. */
static int wake_identified(struct dispatcher *d, int64_t now_ms, struct errmsg *err)
{
    bool all = now_ms - d->identified_all_at_ms > IDENTIFIED_ALL_EVERY_MS || d->identified_all_at_ms == 0;
    int st;

    if (!all && now_ms - d->identified_at_ms <= IDENTIFIED_EVERY_MS) {
        return ST_OK;
    }
    st = store_wake_identified(d->store, all ? IDENTIFIED_ALL_S : IDENTIFIED_RECENT_S, err);
    if (st == ST_OK) {
        d->identified_at_ms = now_ms;
        d->identified_all_at_ms = all ? now_ms : d->identified_all_at_ms;
    }
    return st;
}

/* One round; *ret_wait_ms: how long nothing will be due. */
static int round_once(struct dispatcher *d, bool stopping, int64_t *ret_wait_ms, struct errmsg *err)
{
    int64_t now_ms = clock_mono_ms();
    bool changed;
    bool more = false;
    int st = store_connect(d->store, err);

    take_new_config(d, &changed);
    if (st == ST_OK && (!d->took_back || (d->give_back && d->in_work == 0))) {
        st = store_take_back(d->store, d->owner, err);
        d->took_back = d->took_back || st == ST_OK;
        d->give_back = d->give_back && st != ST_OK;
    }
    if (st == ST_OK) {
        st = record_ended(d, err);
    }
    if (st == ST_OK && d->in_work > 0 && now_ms - d->renewed_at_ms > d->config->delivery.lease_ms / 4) {
        st = renew(d, err);
    }
    if (st != ST_OK || stopping) {
        return st;
    }
    if (changed && (st = store_wake_unrouted(d->store, err)) != ST_OK) {
        return st;
    }
    if ((st = wake_identified(d, now_ms, err)) != ST_OK) {
        return st;
    }
    if ((changed || now_ms - d->names_at_ms > NAMES_EVERY_MS || !d->names.arena) &&
        (st = refresh_names(d, err)) != ST_OK) {
        return st;
    }
    if ((changed || now_ms - d->states_at_ms > STATES_EVERY_MS || !d->states_arena) &&
        ((st = register_connectors(d, changed, err)) != ST_OK || (st = refresh_states(d, err)) != ST_OK ||
         (st = resume_changed(d, err)) != ST_OK)) {
        return st;
    }
    if (d->next_due_at_ms <= now_ms) {
        d->next_due_at_ms = INT64_MAX;
        for (struct lane *l = d->lanes; l; l = l->next) {
            l->retries_at_ms = 0;
        }
    }
    if (now_ms - d->beat_at_ms > BEAT_EVERY_MS || d->beat_at_ms == 0) {
        int64_t others = 0;

        if ((st = store_daemon_beat(d->store, d->owner, &others, err)) != ST_OK) {
            return st;
        }
        delivery_share(d->delivery, (unsigned)others + 1);
        d->beat_at_ms = now_ms;
    }
    if (d->give_back && d->in_work > 0) { /* leases that nobody works on: no new ones until these are taken back */
        return ST_OK;
    }
    if ((st = claim_all(d, &more, err)) != ST_OK) {
        return st;
    }
    if (more) {
        *ret_wait_ms = 0;
    } else if (d->next_due_at_ms != INT64_MAX) {
        int64_t until_ms = d->next_due_at_ms - clock_mono_ms();

        *ret_wait_ms = until_ms < *ret_wait_ms ? (until_ms > 0 ? until_ms : 0) : *ret_wait_ms;
    }
    return ST_OK;
}

static void wait_for_wake(struct dispatcher *d, int64_t wait_ms)
{
    struct pollfd p = {.fd = d->wake_fd, .events = POLLIN};
    uint64_t count;

    if (poll(&p, 1, (int)wait_ms) > 0 && read(d->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN) {
        log_error("cannot read the dispatcher's wake-up descriptor", "error", strerror(errno), NULL);
    }
}

static bool has_delivery_ended(struct dispatcher *d)
{
    bool ended;

    pthread_mutex_lock(&d->lock);
    ended = d->delivery_ended;
    pthread_mutex_unlock(&d->lock);
    return ended;
}

static bool is_away(int st)
{
    return st == ST_UNAVAILABLE || st == ST_UNCERTAIN;
}

static void *dispatcher_thread(void *arg)
{
    struct dispatcher *d = arg;
    int64_t away_ms = RECONNECT_MIN_MS;

    for (;;) {
        bool stopping = is_stopping(d);
        int64_t wait_ms = d->config->delivery.poll_ms;
        struct errmsg err;
        int st;

        if (stopping) {
            delivery_stop(d->delivery); /* only now is it certain that no more jobs are handed over */
        }
        st = round_once(d, stopping, &wait_ms, &err);

        if (st != ST_OK) {
            if (!d->database_away) {
                log_error(is_away(st) ? "database away: candidates wait" : "database error: candidates wait", "error",
                          err.text, NULL);
            }
            d->database_away = true;
            wait_ms = away_ms;
            away_ms = 2 * away_ms < RECONNECT_MAX_MS ? 2 * away_ms : RECONNECT_MAX_MS;
        } else if (d->database_away) {
            log_info("database back", NULL);
            d->database_away = false;
            away_ms = RECONNECT_MIN_MS;
        }
        if (stopping &&
            (d->in_work == 0 || (st != ST_OK && has_delivery_ended(d) && ++d->stop_failures > STOP_TRIES))) {
            break;
        }
        wait_for_wake(d, wait_ms);
    }
    if (store_daemon_leave(d->store, d->owner, NULL) != ST_OK) {
        log_debug("the other daemons learn in a few seconds that this one has ended", NULL);
    }
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static void job_ended(void *ctx, struct job *job)
{
    struct dispatcher *d = ctx;

    pthread_mutex_lock(&d->lock);
    job->next = d->ended;
    d->ended = job;
    pthread_mutex_unlock(&d->lock);
    dispatcher_wake(d);
}

struct dispatcher *dispatcher_new(struct config *c, struct connector_set *connectors)
{
    static const double bounds[] = {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200};
    struct dispatcher *d = mem_zalloc(sizeof *d);

    d->config = config_ref(c);
    d->connectors = connector_set_ref(connectors);
    d->next_due_at_ms = INT64_MAX;
    d->owner = store_owner_name(c->instance);
    d->store = store_new(c, "dispatcher");
    d->delivery = delivery_new(c, connectors, job_ended, d, (unsigned)c->delivery.slots);
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&d->lock, NULL);
    d->lag = metric_histogram("atsyncd_sync_lag_seconds",
                              "Time from an event being stored to the ATS having confirmed what follows from it.",
                              "connector", bounds, ATS_COUNT(bounds));
    d->writes =
        metric_counter("atsyncd_writes_total", "Writes tried, by what became of them.", "connector,kind,result");
    return d;
}

int dispatcher_start(struct dispatcher *d, struct errmsg *err)
{
    int st = d->wake_fd < 0 ? err_set(err, ST_IO, "cannot make an eventfd: %s", strerror(errno))
                            : delivery_start(d->delivery, err);

    if (st != ST_OK) {
        return st;
    }
    if (pthread_create(&d->thread, NULL, dispatcher_thread, d) != 0) {
        return err_set(err, ST_IO, "cannot start the dispatcher thread");
    }
    pthread_setname_np(d->thread, "dispatcher");
    d->started = true;
    return ST_OK;
}

void dispatcher_wake(void *dispatcher)
{
    struct dispatcher *d = dispatcher;
    uint64_t one = 1;

    if (write(d->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN) {
        log_error("cannot wake the dispatcher", "error", strerror(errno), NULL);
    }
}

void dispatcher_reload(struct dispatcher *d, struct config *c, struct connector_set *connectors)
{
    delivery_reload(d->delivery, c, connectors);
    store_reload(d->store, c);
    pthread_mutex_lock(&d->lock);
    config_unref(d->next_config);
    connector_set_unref(d->next_connectors);
    d->next_config = config_ref(c);
    d->next_connectors = connector_set_ref(connectors);
    pthread_mutex_unlock(&d->lock);
    dispatcher_wake(d);
}

void dispatcher_stop(struct dispatcher *d)
{
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_mutex_unlock(&d->lock);
    dispatcher_wake(d);
}

void dispatcher_join(struct dispatcher *d)
{
    delivery_join(d->delivery);
    pthread_mutex_lock(&d->lock);
    d->delivery_ended = true;
    pthread_mutex_unlock(&d->lock);
    dispatcher_wake(d);
    if (d->started) {
        pthread_join(d->thread, NULL);
        d->started = false;
    }
}

void dispatcher_free(struct dispatcher *d)
{
    if (!d) {
        return;
    }
    for (struct job *job = d->ended; job;) { /* results that could not be recorded: the ledger still says "sending" */
        struct job *next = job->next;

        job_free(job);
        job = next;
    }
    while (d->lanes) {
        struct lane *next = d->lanes->next;

        free_holds(d->lanes);
        mem_free(d->lanes->name);
        mem_free(d->lanes);
        d->lanes = next;
    }
    delivery_free(d->delivery);
    store_free(d->store);
    config_unref(d->config);
    connector_set_unref(d->connectors);
    config_unref(d->next_config);
    connector_set_unref(d->next_connectors);
    arena_free(d->names.arena);
    arena_free(d->states_arena);
    if (d->wake_fd >= 0) {
        close(d->wake_fd);
    }
    mem_free(d->owner);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}
