/*
 * The loop of the database side:
 *   claim what is due  ->  load, fold, plan, diff  ->  record runs and intents  ->  hand over to delivery
 * Whatever fell due during one round is handled together in the next, so that rounds grow with the load.
 * A candidate that needs no intent (ledger_needs_intent) goes ahead: it is handed over when it is planned, and its runs are recorded with its results, or
 * here when its calls take long.
 * While a connector's calls wait, its candidates go as far as the record, and no further.
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
#include "base/text.h"
#include "domain/breaker.h"
#include "service/batch_memory.h"
#include "service/connector_states.h"
#include "service/delivery.h"
#include "service/in_work.h"
#include "service/lanes.h"
#include "service/planning.h"
#include "service/recorder.h"
#include "store/name_table.h"
#include "store/store.h"

enum {
    CLAIM_MAX = 64,         /* candidates of one claim: more makes the first of them wait for the last */
    STATES_EVERY_MS = 1000, /* how old what we know of paused connectors may be */
    BEAT_EVERY_MS = 2000,
    RETRIES_EVERY_MS = 50, /* how often retries are looked for while there are none */
    NAMES_EVERY_MS = 60000,
    IDENTIFIED_EVERY_MS = 10000, /* who began to wait for an identity while it was being committed */
    IDENTIFIED_SOON_MS = 1000,   /* after one of ours has begun to wait */
    IDENTIFIED_RECENT_S = 600,
    IDENTIFIED_ALL_EVERY_MS = 3600000,
    IDENTIFIED_ALL_S = INT32_MAX,
    LARGE_AGAIN_MS = 500, /* when a large one is tried again, while another is in work */
    ONE_BY_ONE_MAX_MS = 1000,
    TOO_LARGE_FIRST_MS = 60000, /* when one that is too large is looked at again, twice as long each time */
    TOO_LARGE_CAP_MS = 3600000,
    LIST_FROM_MS = 1000,  /* a connector that waits for less is not worth planning twice */
    LIST_EVERY_MS = 250,  /* how often its newest candidates are looked for, */
    WALK_EVERY_MS = 5000, /* and all of them, or more seldom by this many times what that takes */
    WALK_REST = 20,
    CHANGED_AGAIN_MS = 1000,
    RECONNECT_MIN_MS = 200,
    RECONNECT_MAX_MS = 2000,
};

/* How a connector was looked at last. */
struct look {
    struct lane *lane;
    bool was_closed; /* as seen last: the slow start begins when it closes */
    int64_t closed_at_ms;
    int64_t probe_until_ms; /* so long the one candidate that may try while the breaker is open is ours; 0: it is not */
    int64_t retries_at_ms;  /* when retries are looked for next */
    struct claim_mark marks[2]; /* of first attempts and of retries */
    /* while its calls wait: its candidates are gone through for what is new of them */
    bool waits;
    bool waited;            /* its breaker was open, or it was paused, when it was looked at last */
    bool wakes;             /* and is not any more: who waited for that becomes due, little by little */
    int64_t wakes_since_us; /* the database's clock; INT64_MIN: it begins */
    const struct store_changed
        *changed; /* likewise who failed under a configuration that is no more; NULL: the new one is adopted */
    int64_t changed_again_ms;   /* when the next of these are looked for */
    int64_t tried_again;        /* so many were woken */
    struct claim_walk walks[2]; /* see waits */
    int64_t walk_began_ms;
    int64_t walk_again_ms; /* when it begins anew */
    int64_t walk_on_ms;    /* at its end: when it is looked for more */
    struct look *next;
};

struct dispatcher {
    struct delivery *delivery;
    struct recorder *recorder;
    struct lanes *lanes;
    struct store *store;
    pthread_t thread;
    bool started;
    int wake_fd;
    char *owner;
    /* shared with other threads */
    pthread_mutex_t lock;
    struct config *next_config; /* after a reload */
    struct connector_set *next_connectors;
    bool stopping;
    bool states_changed; /* by the recorder */
    bool recorder_done;
    int64_t next_due_at_ms; /* when the earliest of those that we gave back with a time is due; INT64_MAX: none known */
    struct in_work *in_work;
    /* the thread's own */
    struct config *config;
    struct connector_set *connectors;
    struct name_table *names; /* NULL: not read yet */
    int64_t names_at_ms;
    int64_t identified_at_ms;
    int64_t identified_all_at_ms;
    struct connector_states states;
    struct look *looks;
    bool is_new_config;    /* what follows from it is not done yet */
    struct arena *changed; /* of what looks know of changed configurations */
    struct memory_use *use;
    int64_t walk_at_ms; /* when candidates of a connector that waits are gone through next; INT64_MAX: none waits */
    int64_t renewed_at_ms;
    int64_t beat_at_ms;
    bool database_away;
    bool took_back; /* what a dead predecessor held */
    bool give_back; /* something claimed could not be worked on: take it back when nothing is in work */
};

/* ---- names of workflows ------------------------------------------------------------------------------------------- */

static int refresh_names(struct dispatcher *d, struct errmsg *err)
{
    struct name_table *fresh = NULL;
    int st = name_table_read(d->store, &fresh, err);

    if (st == ST_OK) {
        name_table_unref(d->names);
        d->names = fresh;
        d->names_at_ms = clock_mono_ms();
    }
    return st;
}

/* ---- lanes ---------------------------------------------------------------------------------------------------------- */

static struct look *look_of(struct dispatcher *d, const char *connector)
{
    struct look *l = d->looks;

    while (l && strcmp(lane_name(l->lane), connector) != 0) {
        l = l->next;
    }
    if (!l) {
        l = mem_zalloc(sizeof *l);
        l->lane = lanes_of(d->lanes, connector);
        l->was_closed = true;
        l->closed_at_ms = INT64_MIN / 2;
        l->next = d->looks;
        d->looks = l;
    }
    return l;
}

static void begin_to_wake(struct look *l)
{
    l->wakes = true;
    l->wakes_since_us = INT64_MIN;
}

/* How many more candidates of this connector may be taken into work now. */
static int lane_room(struct dispatcher *d, struct look *l, size_t *ret, struct errmsg *err)
{
    const struct connector_status_row *s = connector_states_find(&d->states, lane_name(l->lane));
    int64_t age_ms = clock_mono_ms() - d->states.at_ms;
    size_t in_work = lane_in_work(l->lane);
    size_t max = lane_in_work_max(l->lane);
    size_t ramp;
    int64_t now_ms = clock_mono_ms();
    bool mine = false;
    int st = ST_OK;

    bool open = s && strcmp(s->state, "open") == 0;
    bool held = s && (strcmp(s->state, "paused") == 0 || (strcmp(s->state, "throttled") == 0 && s->until_ms > age_ms));

    *ret = 0;
    lane_set_waits(l->lane, open || held);
    if (open || held) {
        l->wakes = false;
    } else if (l->waited) {
        begin_to_wake(l);
    }
    l->waited = open || (held && strcmp(s->state, "paused") == 0) || (l->waited && held);
    l->waits = open || (held && (strcmp(s->state, "paused") == 0 || s->until_ms > age_ms + LIST_FROM_MS));
    if (held) {
        return ST_OK;
    }
    if (open) {
        l->was_closed = false;
        if (l->probe_until_ms <= now_ms && s->until_ms <= age_ms && in_work == 0) {
            st = store_connector_probe(d->store, lane_name(l->lane), &mine, err);
            l->probe_until_ms = mine ? now_ms + BREAKER_PROBE_MS : 0;
            d->states.at_ms = 0; /* it is ours or somebody else's now */
        }
        *ret = l->probe_until_ms > now_ms && in_work == 0 ? 1 : 0;
        return st;
    }
    l->probe_until_ms = 0;
    if (!l->was_closed) {
        l->was_closed = true;
        l->closed_at_ms = clock_mono_ms();
    }
    ramp = breaker_ramp(clock_mono_ms() - l->closed_at_ms);
    ramp = ramp < max ? ramp : max;
    *ret = ramp > in_work ? ramp - in_work : 0;
    return ST_OK;
}

static int register_connectors(struct dispatcher *d, struct errmsg *err)
{
    struct store_changed *all;
    size_t count;
    int st;

    lanes_adopt(d->lanes, d->config, d->connectors);
    for (struct look *l = d->looks; l; l = l->next) {
        l->changed = NULL;
    }
    arena_free(d->changed);
    d->changed = arena_new();
    st = store_connector_register(d->store, d->config, d->changed, &all, &count, err);
    for (size_t i = 0; i < count && st == ST_OK; i++) {
        struct look *l = look_of(d, all[i].connector);
        bool was_open = false;

        l->changed = &all[i];
        l->changed_again_ms = l->tried_again = 0;
        st = store_connector_closed(d->store, all[i].connector, &was_open, err);
        if (was_open) {
            log_info("the configuration has changed: the ATS is tried again", "connector", all[i].connector, NULL);
        }
    }
    return st;
}

/* Some of those who failed under the configuration before; *ret_more: there may be more of them. */
static int try_changed_again(struct dispatcher *d, struct look *l, bool *ret_more, struct errmsg *err)
{
    int64_t found = 0, woken = 0;
    int st;

    if (!l->changed || clock_mono_ms() < l->changed_again_ms) {
        return ST_OK;
    }
    st = store_connector_changed(d->store, l->changed, &found, &woken, err);
    l->tried_again += woken;
    *ret_more = *ret_more || woken > 0;
    l->changed_again_ms = found > 0 && woken == 0 ? clock_mono_ms() + CHANGED_AGAIN_MS : 0;
    if (st != ST_OK || found > 0) {
        return st;
    }
    if ((st = store_connector_adopt(d->store, l->changed->connector, l->changed->hash, err)) == ST_OK) {
        l->changed = NULL;
        if (l->tried_again > 0) {
            log_info("the configuration has changed: what failed is tried again", "connector", lane_name(l->lane),
                     "candidates", num_text(l->tried_again).s, NULL);
        }
    }
    return st;
}

/* Some of those who waited for the connector to go on; *ret_more: there may be more of them. */
static int wake_some(struct dispatcher *d, struct look *l, bool *ret_more, struct errmsg *err)
{
    int64_t woken = 0;
    int st = ST_OK;

    if (l->wakes) {
        st = store_connector_wake(d->store, lane_name(l->lane), &l->wakes_since_us, &woken, err);
        l->wakes = st != ST_OK || woken > 0;
        *ret_more = *ret_more || woken > 0;
        if (woken > 0) { /* also who is due now and was not when it was looked last */
            l->retries_at_ms = 0;
            l->marks[0].until_ms = l->marks[1].until_ms = 0;
        }
    }
    return st;
}

/* A connector that was paused by itself works again once what it needs has been changed. */
static int resume_changed(struct dispatcher *d, struct errmsg *err)
{
    int st = ST_OK;

    for (size_t i = 0; i < d->states.count && st == ST_OK; i++) {
        const struct connector_status_row *s = &d->states.rows[i];
        const struct connector_config *c = config_connector(d->config, s->connector);
        char fingerprint[CONFIG_FINGERPRINT_BYTES];

        if (!c || strcmp(s->state, "paused") != 0 || s->paused_by_operator) {
            continue;
        }
        config_connector_fingerprint(c, fingerprint);
        if (!text_eq(s->config_hash, fingerprint)) {
            log_info("connector works again: its configuration has changed", "connector", c->name, NULL);
            st = store_connector_ok(d->store, c->name, err);
            begin_to_wake(look_of(d, c->name));
        }
    }
    return st == ST_OK ? connector_states_refresh(&d->states, d->store, err) : st;
}

/* ---- what was claimed is planned and handed over ------------------------------------------------------------------- */

/* Whether more may be taken into work. */
static bool has_memory(const struct dispatcher *d)
{
    return memory_use_has_room(d->use, config_max_history_bytes(d->config));
}

static int64_t load_max_bytes(const struct dispatcher *d, bool is_large)
{
    return memory_use_load_max(config_max_history_bytes(d->config), is_large);
}

static void job_free(struct job *job)
{
    struct batch_memory *memory = job->batch;

    plan_clear(job->plan);
    config_unref(job->config);
    connector_set_unref(job->connectors);
    arena_free(job->arena);
    mem_free(job);
    batch_memory_unref(memory);
}

/* Gives leased candidates back as they were, when the plan phase could not be recorded. */
static void abandon(struct dispatcher *d, struct work *works, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (works[i].goes_ahead) {
            continue;
        }
        if (works[i].job) {
            job_free(works[i].job);
        } else {
            plan_clear(&works[i].plan);
        }
    }
    d->give_back = true; /* the leases end by themselves at the latest; taken back once nothing is in work */
}

/* plan: of one that goes ahead of its record; NULL: it is recorded. */
static void hand_over(struct dispatcher *d, struct look *look, struct job *job, const struct record *plan)
{
    lane_begin(look->lane);
    job->is_probe = look->probe_until_ms > 0; /* who has nothing to send shows nothing: the next one may try */
    look->probe_until_ms = 0;
    in_work_add(d->in_work, job, plan);
    delivery_submit(d->delivery, job);
}

static void hand_over_recorded(struct dispatcher *d, struct look *look, struct work *works, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct work *w = &works[i];

        if (w->goes_ahead) {
            continue;
        }
        if (!w->job) {
            plan_clear(&w->plan);
        } else if (w->record.lost) {
            job_free(w->job);
        } else {
            hand_over(d, look, w->job, NULL);
        }
    }
    delivery_wake(d->delivery);
}

static void hand_over_ahead(struct dispatcher *d, struct look *look, struct work *works, size_t count)
{
    size_t ahead = 0;

    for (size_t i = 0; i < count; i++) {
        struct work *w = &works[i];

        if (w->job && w->goes_ahead) {
            hand_over(d, look, w->job, &w->record);
            ahead++;
        }
    }
    if (ahead > 0) {
        delivery_wake(d->delivery);
    }
}

static void due_in(struct dispatcher *d, int64_t due_ms)
{
    int64_t at_ms = due_ms == INT64_MAX ? INT64_MAX : clock_mono_ms() + due_ms;

    (void)pthread_mutex_lock(&d->lock);
    d->next_due_at_ms = at_ms < d->next_due_at_ms ? at_ms : d->next_due_at_ms;
    (void)pthread_mutex_unlock(&d->lock);
}

/* So that nothing waits for the poll that we ourselves gave a time to. */
static void remember_due(struct dispatcher *d, const struct record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (records[i].release && records[i].next_due_ms != INT64_MAX) {
            due_in(d, records[i].next_due_ms);
        }
    }
}

/* Whoever knows the name of one that begins to wait passes it over while we hold it: it is looked for again soon. */
static void look_for_identities_soon(struct dispatcher *d, const struct record *records, size_t count)
{
    int64_t soon_ms = clock_mono_ms() - IDENTIFIED_EVERY_MS + IDENTIFIED_SOON_MS;

    for (size_t i = 0; i < count; i++) {
        if (records[i].state && strcmp(records[i].state, "waiting_for_identity") == 0) {
            d->identified_at_ms = d->identified_at_ms < soon_ms ? d->identified_at_ms : soon_ms;
        }
    }
}

/* It is looked at again when its lease has ended. */
static void tell_held(const struct dispatcher *d, const struct claimed *who)
{
    log_warn("a candidate is not worked on now: another database session holds its row", "connector", who->connector,
             "ref", who->ref, "held_by", store_held_by(d->store), "hint",
             "if that session stays, end its transaction, with pg_terminate_backend if need be", NULL);
}

/* What is loaded is planned, recorded and handed over. Returns the number of candidates, or a negative status. */
static int work_on(struct dispatcher *d, struct look *look, struct batch_memory *memory, struct errmsg *err)
{
    const struct planning planning = {.connector_waits = memory->connector_waits,
                                      .config = d->config,
                                      .connectors = d->connectors,
                                      .lanes = d->lanes,
                                      .names = memory->names,
                                      .claim = &memory->claim,
                                      .claimed_mono_us = memory->claimed_mono_us,
                                      .claim_began_ms = memory->claim_began_ms,
                                      .batch = memory};
    size_t count = memory->claim.count;
    struct work *works = arena_alloc(memory->claim.arena, count * sizeof *works);
    struct record *records = arena_alloc(memory->claim.arena, count * sizeof *records);
    size_t *places = arena_alloc(memory->claim.arena, count * sizeof *places);
    size_t to_record = 0;
    bool names_told = false;
    int st;

    for (size_t i = 0; i < count; i++) {
        planning_work(&planning, &memory->claim.items[i], &memory->loaded[i], &works[i]);
        if (works[i].job) {
            batch_memory_ref(memory);
        }
        if (!works[i].goes_ahead) {
            places[to_record] = i;
            names_told = names_told || works[i].tells_name;
            records[to_record++] = works[i].record;
        }
    }
    batch_memory_count(memory);
    FAULT_POINT("planned");
    hand_over_ahead(d, look, works, count);
    st = store_record(d->store, records, to_record, err);
    for (size_t i = 0; i < to_record; i++) {
        works[places[i]].record.lost = records[i].lost;
        if (st == ST_OK && records[i].held) {
            tell_held(d, records[i].who);
        }
    }
    if (st == ST_OK) {
        FAULT_POINT("intents-recorded");
        remember_due(d, records, to_record);
        look_for_identities_soon(d, records, to_record);
        if (names_told && (refresh_names(d, err) != ST_OK || store_wake_unrouted(d->store, err) != ST_OK)) {
            d->names_at_ms = 0; /* the names come with the next round */
        }
        hand_over_recorded(d, look, works, count);
    } else {
        abandon(d, works, count);
    }
    return st == ST_OK ? (int)count : st;
}

/* ---- a claim that is too large to be loaded at once: one candidate after the other -------------------------------------------- */

/* It is told, and looked at again from time to time: events get over age, or the limit is raised (store_wake_too_large). */
static struct put_back too_large(struct dispatcher *d, const struct claimed *who, struct arena *arena)
{
    int64_t max_bytes = load_max_bytes(d, true);
    int64_t doublings = who->attempts < 6 ? who->attempts : 6;
    int64_t delay_ms = TOO_LARGE_FIRST_MS << doublings;

    log_warn("a candidate has too many events to be worked on, or too large ones: it waits", "connector",
             who->connector, "ref", who->ref, "max_history", size_text(max_bytes).s, NULL);
    return (struct put_back){
        .who = who,
        .delay_ms = delay_ms < TOO_LARGE_CAP_MS ? delay_ms : TOO_LARGE_CAP_MS,
        .error_class = "too_large",
        .error = arena_printf(arena,
                              "the stored events of this candidate are too large to be worked on: more than %s "
                              "(delivery.max_history), or too tightly packed",
                              size_text(max_bytes).s),
    };
}

/* 1: worked on; 0: it has to be put back as *ret_back says; or a negative status. */
static int work_on_one(struct dispatcher *d, struct look *look, const struct batch_memory *all, size_t i,
                       struct put_back *ret_back, struct errmsg *err)
{
    const struct claimed *who = &all->claim.items[i];
    bool may_be_large = !memory_use_large_in_work(d->use);
    struct batch_memory *m;
    int st;

    if (!may_be_large && memory_use_is_known_large(d->use, who)) {
        *ret_back = (struct put_back){.who = who, .delay_ms = LARGE_AGAIN_MS};
        return 0;
    }
    m = batch_memory_of_one(all, i, d->names);
    st = store_load(d->store, &m->claim, load_max_bytes(d, may_be_large), &m->loaded, err);
    if (st == ST_OK && m->loaded) {
        m->is_large = arena_bytes(m->claim.arena) > STORE_LOAD_MEMORY(load_max_bytes(d, false));
        memory_use_know_large(d->use, who, m->is_large);
        st = work_on(d, look, m, err);
    } else if (st == ST_OK && may_be_large) {
        *ret_back = too_large(d, who, all->claim.arena);
    } else if (st == ST_OK) {
        memory_use_know_large(d->use, who, true);
        *ret_back = (struct put_back){.who = who, .delay_ms = LARGE_AGAIN_MS};
    }
    batch_memory_unref(m);
    return st;
}

static int by_due(const void *a, const void *b)
{
    const struct claimed *x = a;
    const struct claimed *y = b;

    return x->due_us < y->due_us ? -1 : x->due_us > y->due_us;
}

/*
 * The longest due first, so that none waits for ever behind the others; as many as there is time and memory for. The others go back to their places in the
 * queue. Returns the number of those with whom something was done, or a negative status.
 */
static int work_one_by_one(struct dispatcher *d, struct look *look, bool retries, struct batch_memory *all,
                           struct errmsg *err)
{
    struct claim_batch *b = &all->claim;
    struct put_back *back = arena_alloc(b->arena, b->count * sizeof *back);
    int64_t lease_part_ms =
        d->config->delivery.lease_ms / 8; /* of theirs, and of those in work, which are renewed by this thread */
    int64_t until_ms = all->claim_began_ms + (lease_part_ms < ONE_BY_ONE_MAX_MS ? lease_part_ms : ONE_BY_ONE_MAX_MS);
    size_t back_count = 0;
    int done = 0;
    int st = 0;

    qsort(b->items, b->count, sizeof *b->items, by_due);
    for (size_t i = 0; i < b->count && st >= 0; i++) {
        if (i > 0 && (clock_mono_ms() >= until_ms || !has_memory(d))) {
            look->marks[retries].until_ms = 0; /* they are due as before */
            back[back_count++] = (struct put_back){.who = &b->items[i], .delay_ms = -1};
            continue;
        }
        st = work_on_one(d, look, all, i, &back[back_count], err);
        if (st == 0) {
            due_in(d, back[back_count].delay_ms);
            done += back[back_count].error != NULL;
            back_count++;
        } else if (st > 0) {
            done += st;
        }
    }
    st = st < 0 ? st : store_put_back(d->store, back, back_count, err);
    if (st < 0) {
        d->give_back = true;
        return st;
    }
    return done;
}

/* ---- a claim ------------------------------------------------------------------------------------------------------------------ */

/* What follows a claim that was asked for with st. Takes the memory. Returns the number of candidates with whom something was done, or a negative status. */
static int work_on_claim(struct dispatcher *d, struct look *look, bool retries, struct batch_memory *memory, int st,
                         bool *ret_more, struct errmsg *err)
{
    memory->claimed_mono_us = clock_mono_us();
    if (st != ST_OK) {
        d->give_back = true; /* it may have been done all the same */
    } else if (memory->claim.count > 0) {
        FAULT_POINT("claimed");
        if (!memory_use_any_known_large(d->use, &memory->claim)) {
            st = store_load(d->store, &memory->claim, load_max_bytes(d, false), &memory->loaded, err);
        }
        if (st != ST_OK) {
            d->give_back = true;
        } else if (memory->loaded) {
            FAULT_POINT("loaded");
            st = work_on(d, look, memory, err);
        } else {
            *ret_more = true;
            st = work_one_by_one(d, look, retries, memory, err);
        }
    }
    batch_memory_unref(memory);
    return st;
}

static struct batch_memory *claim_begin(struct dispatcher *d)
{
    struct batch_memory *memory = batch_memory_new(d->use, d->names);

    memory->claim_began_ms = clock_mono_ms();
    return memory;
}

/* As work_on_claim. *ret_more becomes true when more may be due already: as many as there was room for were taken, or some were put back. Who comes later wakes us. */
static int claim_round(struct dispatcher *d, struct look *look, bool retries, size_t limit, bool *ret_more,
                       struct errmsg *err)
{
    struct batch_memory *memory = claim_begin(d);
    int st = store_claim(d->store, lane_name(look->lane), retries, d->owner, d->config->delivery.lease_ms, limit,
                         &look->marks[retries], &memory->claim, err);

    *ret_more = *ret_more || (st == ST_OK && memory->claim.count == limit);
    return work_on_claim(d, look, retries, memory, st, ret_more, err);
}

/* ---- while a connector waits ------------------------------------------------------------------------------------------------------- */

static int list_round(struct dispatcher *d, struct look *look, bool retries, bool *ret_more, struct errmsg *err)
{
    struct batch_memory *memory = claim_begin(d);
    int st = store_claim_unplanned(d->store, lane_name(look->lane), retries, d->owner, d->config->delivery.lease_ms,
                                   CLAIM_MAX, &look->walks[retries], &memory->claim, err);

    memory->connector_waits = true;
    *ret_more = *ret_more || (st == ST_OK && !look->walks[retries].at_end);
    return work_on_claim(d, look, retries, memory, st, ret_more, err);
}

static void walk_at(struct dispatcher *d, int64_t at_ms)
{
    d->walk_at_ms = at_ms < d->walk_at_ms ? at_ms : d->walk_at_ms;
}

/*
 * Nothing is sent, but what has come is worked out and recorded, so that the views show runs, answers, and what is going to be written. Once the walk
 * through all has come to its end, who becomes due is found there. Now and then it begins anew, because who waited already may have got another event.
 */
static int list_waiting(struct dispatcher *d, struct look *look, bool *ret_more, struct errmsg *err)
{
    int64_t now_ms = clock_mono_ms();
    int st = ST_OK;

    if (!look->waits) {
        look->walk_again_ms = 0;
        return ST_OK;
    }
    if (now_ms >= look->walk_again_ms) {
        look->walks[0] = look->walks[1] = (struct claim_walk){0};
        look->walk_began_ms = now_ms;
        look->walk_again_ms = INT64_MAX;
        look->walk_on_ms = 0;
    }
    if (now_ms < look->walk_on_ms) {
        walk_at(d, look->walk_on_ms);
        return ST_OK;
    }
    if (!has_memory(d)) { /* whoever leaves it wakes us */
        return ST_OK;
    }
    for (int retries = 0; retries < 2 && st >= 0; retries++) {
        if (look->walk_again_ms != INT64_MAX || !look->walks[retries].at_end) {
            st = list_round(d, look, retries, ret_more, err);
        }
    }
    if (st >= 0 && look->walks[0].at_end && look->walks[1].at_end) {
        now_ms = clock_mono_ms();
        look->walk_on_ms = now_ms + LIST_EVERY_MS;
        walk_at(d, look->walk_on_ms);
        if (look->walk_again_ms == INT64_MAX) {
            int64_t rest_ms = WALK_REST * (now_ms - look->walk_began_ms);

            look->walk_again_ms = now_ms + (rest_ms > WALK_EVERY_MS ? rest_ms : WALK_EVERY_MS);
        }
    }
    return st < 0 ? st : ST_OK;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------- */

static void take_new_config(struct dispatcher *d)
{
    pthread_mutex_lock(&d->lock);
    if (d->next_config) {
        config_unref(d->config);
        connector_set_unref(d->connectors);
        d->config = d->next_config;
        d->connectors = d->next_connectors;
        d->next_config = NULL;
        d->next_connectors = NULL;
        d->is_new_config = true;
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
static int claim_lane(struct dispatcher *d, struct look *look, bool *ret_more, struct errmsg *err)
{
    size_t slots = (size_t)d->config->delivery.slots;
    size_t in_work = lanes_in_work(d->lanes);
    size_t free_slots = slots > in_work ? slots - in_work : 0;
    int64_t now_ms = clock_mono_ms();
    size_t room = 0;
    int st = lane_room(d, look, &room, err);
    int n = 0;

    room = room < free_slots ? room : free_slots;
    room = room < CLAIM_MAX ? room : CLAIM_MAX;
    if (st == ST_OK) {
        st = try_changed_again(d, look, ret_more, err);
    }
    if (st == ST_OK) {
        st = wake_some(d, look, ret_more, err);
    }
    if (st == ST_OK) {
        st = list_waiting(d, look, ret_more, err);
    }
    if (st != ST_OK || room == 0 || !has_memory(d)) {
        return st;
    }
    if (now_ms >= look->retries_at_ms || room == 1) {
        n = claim_round(d, look, true, room > 1 ? (room + 1) / 2 : 1, ret_more, err);
        if (n < 0) {
            return n;
        }
        look->retries_at_ms = n > 0 ? 0 : now_ms + RETRIES_EVERY_MS;
        *ret_more = *ret_more || n > 0; /* what was given back at once may be due again */
    }
    if ((size_t)n < room && has_memory(d)) {
        n = claim_round(d, look, false, room - (size_t)n, ret_more, err);
        if (n < 0) {
            return n;
        }
    }
    return ST_OK;
}

static int claim_all(struct dispatcher *d, bool *ret_more, struct errmsg *err)
{
    int st = ST_OK;

    d->walk_at_ms = INT64_MAX;
    for (size_t i = 0; i < d->config->connector_count && st == ST_OK; i++) {
        st = claim_lane(d, look_of(d, d->config->connectors[i].name), ret_more, err);
    }
    return st == ST_OK ? claim_lane(d, look_of(d, ""), ret_more, err) : st;
}

static int renew(struct dispatcher *d, struct errmsg *err)
{
    int64_t lease_ms = d->config->delivery.lease_ms;
    int64_t began_ms = clock_mono_ms();
    struct arena *arena = arena_new();
    const struct claimed **who;
    size_t count = in_work_list(d->in_work, arena, &who);
    bool *held = arena_alloc(arena, count + 1);
    int st = store_renew(d->store, who, count, lease_ms, held, err);

    if (st == ST_OK) {
        for (size_t i = 0; i < count; i++) {
            if (held[i]) {
                in_work_not_renewed(d->in_work, who[i]);
            }
        }
        delivery_renewed(d->delivery, began_ms, clock_mono_ms(), STORE_RENEWED_MS(lease_ms), lease_ms);
        d->renewed_at_ms = began_ms;
    }
    arena_free(arena);
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

static bool take_states_changed(struct dispatcher *d)
{
    bool changed;

    (void)pthread_mutex_lock(&d->lock);
    changed = d->states_changed;
    d->states_changed = false;
    (void)pthread_mutex_unlock(&d->lock);
    return changed;
}

/* Whether the time has come that was given to one of those that we gave back. */
static bool take_due(struct dispatcher *d, int64_t now_ms)
{
    bool due;

    (void)pthread_mutex_lock(&d->lock);
    due = d->next_due_at_ms <= now_ms;
    d->next_due_at_ms = due ? INT64_MAX : d->next_due_at_ms;
    (void)pthread_mutex_unlock(&d->lock);
    return due;
}

static int64_t next_due_in_ms(struct dispatcher *d)
{
    int64_t at_ms;
    int64_t now_ms = clock_mono_ms();

    (void)pthread_mutex_lock(&d->lock);
    at_ms = d->next_due_at_ms;
    (void)pthread_mutex_unlock(&d->lock);
    if (at_ms == INT64_MAX) {
        return INT64_MAX;
    }
    return at_ms > now_ms ? at_ms - now_ms : 0;
}

/* What follows from a new configuration, or from the first one; begun anew if it cannot be done to its end. */
static int take_over_config(struct dispatcher *d, struct errmsg *err)
{
    bool is_first = !d->states.arena;
    int st;

    if (!d->is_new_config) {
        return ST_OK;
    }
    st = is_first ? store_wake_mapped(d->store, &d->config->mapping, err) : store_wake_unrouted(d->store, err);
    if (st != ST_OK) {
        return st;
    }
    if ((st = store_wake_too_large(d->store, err)) != ST_OK || (st = register_connectors(d, err)) != ST_OK) {
        return st;
    }
    d->names_at_ms = clock_mono_ms() - NAMES_EVERY_MS - 1;
    d->states.at_ms = 0;
    d->is_new_config = false;
    return ST_OK;
}

/* One round; *ret_wait_ms: how long nothing will be due. */
static int round_once(struct dispatcher *d, bool stopping, int64_t *ret_wait_ms, struct errmsg *err)
{
    int64_t now_ms = clock_mono_ms();
    bool more = false;
    int st = store_connect(d->store, err);

    take_new_config(d);
    if (st == ST_OK && (!d->took_back || (d->give_back && lanes_in_work(d->lanes) == 0))) {
        st = store_take_back(d->store, d->owner, err);
        d->took_back = d->took_back || st == ST_OK;
        d->give_back = d->give_back && st != ST_OK;
    }
    if (st == ST_OK && lanes_in_work(d->lanes) > 0 && now_ms - d->renewed_at_ms > d->config->delivery.lease_ms / 4) {
        st = renew(d, err);
    }
    if (st == ST_OK && !stopping) {
        st = in_work_record_late(d->in_work, d->store, now_ms, err);
    }
    if (st != ST_OK || stopping) {
        return st;
    }
    if ((st = take_over_config(d, err)) != ST_OK || (st = wake_identified(d, now_ms, err)) != ST_OK) {
        return st;
    }
    if ((now_ms - d->names_at_ms > NAMES_EVERY_MS || !d->names) && (st = refresh_names(d, err)) != ST_OK) {
        return st;
    }
    if ((take_states_changed(d) || now_ms - d->states.at_ms > STATES_EVERY_MS || !d->states.arena) &&
        ((st = connector_states_refresh(&d->states, d->store, err)) != ST_OK ||
         (st = resume_changed(d, err)) != ST_OK)) {
        return st;
    }
    if (take_due(d, now_ms)) { /* also who became due earlier than what was seen last */
        for (struct look *l = d->looks; l; l = l->next) {
            l->retries_at_ms = 0;
            l->marks[0].until_ms = l->marks[1].until_ms = 0;
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
    if (d->give_back &&
        lanes_in_work(d->lanes) > 0) { /* leases that nobody works on: no new ones until these are taken back */
        return ST_OK;
    }
    if ((st = claim_all(d, &more, err)) != ST_OK) {
        return st;
    }
    if (more) {
        *ret_wait_ms = 0;
    } else {
        int64_t until_ms = next_due_in_ms(d);
        int64_t ahead_ms = in_work_record_late_in_ms(d->in_work, clock_mono_ms());
        int64_t walk_ms = d->walk_at_ms - clock_mono_ms();

        *ret_wait_ms = walk_ms < *ret_wait_ms ? walk_ms : *ret_wait_ms;
        *ret_wait_ms = *ret_wait_ms > 0 ? *ret_wait_ms : 0;
        *ret_wait_ms = until_ms < *ret_wait_ms ? until_ms : *ret_wait_ms;
        *ret_wait_ms = ahead_ms < *ret_wait_ms ? ahead_ms : *ret_wait_ms;
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

/* It has recorded everything, or given up. */
static bool is_recorder_done(struct dispatcher *d)
{
    bool done;

    (void)pthread_mutex_lock(&d->lock);
    done = d->recorder_done;
    (void)pthread_mutex_unlock(&d->lock);
    return done;
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
        if (stopping && (lanes_in_work(d->lanes) == 0 || is_recorder_done(d))) {
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

    recorder_submit(d->recorder, job);
}

static void job_tried(void *ctx, const struct job *job, int64_t writes, int64_t failures)
{
    struct dispatcher *d = ctx;

    recorder_tried(d->recorder, job, writes, failures);
}

static bool job_may_call(void *ctx, const struct job *job)
{
    struct dispatcher *d = ctx;

    return job->is_probe ? job->failures == 0 : !lane_waits(lanes_of(d->lanes, job->who->connector));
}

static const struct record *take_plan(void *ctx, struct job *job)
{
    struct dispatcher *d = ctx;

    return in_work_take_plan(d->in_work, job);
}

static void job_recorded(void *ctx, struct job *job, int64_t due_ms)
{
    struct dispatcher *d = ctx;

    in_work_remove(d->in_work, job);
    due_in(d, due_ms);
    lane_end(lanes_of(d->lanes, job->who->connector));
    job_free(job);
}

static void batch_recorded(void *ctx, bool states_changed)
{
    struct dispatcher *d = ctx;

    (void)pthread_mutex_lock(&d->lock);
    d->states_changed = d->states_changed || states_changed;
    (void)pthread_mutex_unlock(&d->lock);
    dispatcher_wake(d); /* there is room again */
}

struct dispatcher *dispatcher_new(struct config *c, struct connector_set *connectors, unsigned worker)
{
    struct dispatcher *d = mem_zalloc(sizeof *d);

    d->config = config_ref(c);
    d->is_new_config = true;
    d->connectors = connector_set_ref(connectors);
    d->next_due_at_ms = INT64_MAX;
    d->lanes = lanes_new();
    d->use = memory_use_new();
    d->in_work = in_work_new();
    d->owner = store_owner_name(c->instance, worker);
    d->store = store_new(c, "dispatcher");
    store_expect_few_rows(d->store, false); /* calls may follow a claim with nothing else durable in between */
    d->delivery = delivery_new(
        c, connectors,
        &(struct delivery_hooks){.ctx = d, .done = job_ended, .tried = job_tried, .may_call = job_may_call},
        (unsigned)c->delivery.slots);
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&d->lock, NULL);
    d->recorder =
        recorder_new(c, d->lanes,
                     &(struct recorder_hooks){
                         .ctx = d, .take_plan = take_plan, .recorded = job_recorded, .batch_done = batch_recorded});
    return d;
}

int dispatcher_start(struct dispatcher *d, struct errmsg *err)
{
    int st = d->wake_fd < 0 ? err_set(err, ST_IO, "cannot make an eventfd: %s", strerror(errno))
                            : recorder_start(d->recorder, err);

    if (st == ST_OK) {
        st = delivery_start(d->delivery, err);
    }

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
    recorder_reload(d->recorder, c);
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
    recorder_stop(d->recorder); /* nothing ends any more */
    recorder_join(d->recorder);
    pthread_mutex_lock(&d->lock);
    d->recorder_done = true;
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
    while (d->looks) {
        struct look *next = d->looks->next;

        mem_free(d->looks);
        d->looks = next;
    }
    delivery_free(d->delivery);
    recorder_free(d->recorder, job_free); /* what could not be recorded: the ledger still says "sending" */
    in_work_free(d->in_work);
    memory_use_free(d->use);
    lanes_free(d->lanes);
    store_free(d->store);
    config_unref(d->config);
    connector_set_unref(d->connectors);
    config_unref(d->next_config);
    connector_set_unref(d->next_connectors);
    name_table_unref(d->names);
    connector_states_clear(&d->states);
    arena_free(d->changed);
    if (d->wake_fd >= 0) {
        close(d->wake_fd);
    }
    mem_free(d->owner);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}
