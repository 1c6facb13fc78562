/*
 * One thread, many candidates:
 *   lane   a connector in use: its compiled program, rate, and how many of its candidates are on the network
 *   task   a job in work: which of its calls is on, and where that call stands
 * A task walks: start call -> (find_marker first, if a note may be there already) -> requests, one at a time -> results -> next call.
 */
#include "service/delivery.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"
#include "connector/remedy.h"
#include "connector/request.h"
#include "connector/step.h"
#include "domain/event.h"
#include "domain/note.h"
#include "lib/crypto.h"
#include "lib/httpc.h"
#include "service/lookup_cache.h"
#include "service/tokens.h"

enum { RESPONSE_MAX_BYTES = 4 * 1024 * 1024, WAIT_MS = 1000 };

struct task {
    struct delivery *delivery;
    struct lane *lane;
    struct job *job;
    size_t call_index;
    bool looking;    /* the find_marker in front of the call is on */
    bool looked;     /* and it has told that our note is not there */
    bool from_cache; /* the call has used an answer that was kept */
    bool refreshed;  /* and was begun anew without, because it ended badly */
    bool renewed;    /* the call was refused, and new tokens were asked for */
    bool begun;      /* a request of the call was sent */
    int64_t sent;    /* serial of the grant that the last request went out with */
    int64_t refused; /* that serial while a newer one is waited for; 0: not so */
    struct call *call;
    struct task *next; /* of the lane's waiting list */
};

/* How fast requests go to a connector: shared by its lanes, so that a change of configuration lets no more through. */
struct pace {
    char *name;                      /* of the connector */
    int64_t rate_count, rate_per_ms; /* of all daemons together; 0: no limit */
    unsigned concurrency_all;
    unsigned daemons; /* among whom that is divided */
    unsigned concurrency;
    unsigned on_wire;                         /* requests under way: at most concurrency */
    double tokens, tokens_max, tokens_per_ms; /* tokens_per_ms 0: no limit */
    int64_t tokens_at_ms;
    struct pace *next;
};

struct lane {
    char *name;            /* of the connector */
    struct config *config; /* what vm, auth and rate belong to; another one makes the lane anew */
    const struct connector_config *connector;
    struct connector_module *module;
    struct connector_vm *vm;
    struct auth_grant *grant; /* what requests go out with; NULL: not known yet */
    bool gets_tokens;         /* it changes with time: see has_grant */
    struct lookup_cache *lookups;
    char *broken; /* why nothing can be sent: the message; NULL: all is well */
    struct pace *pace;
    int64_t timeout_ms;
    bool http1_only;
    const char *redirect_hosts;   /* NULL: none */
    const char *remaining_header; /* NULL: none */
    unsigned in_flight;           /* tasks begun and not ended */
    struct task *waiting;         /* for a place on the wire or a token, oldest first */
    struct task *waiting_last;
    struct task *parked; /* until there are tokens, oldest first */
    struct task *parked_last;
    struct lane *next;
};

struct delivery {
    struct delivery_hooks hooks;
    pthread_t thread;
    bool started;
    struct httpc *http;
    struct tokens *tokens;
    struct lane *lanes;
    struct pace *paces;
    unsigned tasks;
    unsigned daemons; /* that share the connectors' rates */
    unsigned connections_max;
    uint64_t chance; /* the state of next_jitter */
    /* shared with other threads */
    pthread_mutex_t lock;
    struct job *submitted;
    struct job *submitted_last;
    bool stopping;
    bool tokens_changed; /* who is parked may ask again */
    unsigned daemons_now;
    unsigned connections_max_now;
    int64_t renewed_since_ms; /* jobs claimed after this were renewed without a gap */
    int64_t renewed_until_ms;
    struct metric *requests;
    struct metric *seconds;
};

static void advance(struct task *t);

/* ---- lanes -------------------------------------------------------------------------------------------------------- */

static void lane_clear(struct lane *l)
{
    connector_vm_free(l->vm);
    l->vm = NULL;
    lookup_cache_free(l->lookups);
    l->lookups = NULL;
    auth_grant_unref(l->grant);
    l->grant = NULL;
    connector_module_unref(l->module);
    l->module = NULL;
    config_unref(l->config);
    l->config = NULL;
    mem_free(l->broken);
    l->broken = NULL;
}

static void refill(struct pace *p, int64_t now_ms)
{
    p->tokens += (double)(now_ms - p->tokens_at_ms) * p->tokens_per_ms;
    p->tokens = p->tokens > p->tokens_max ? p->tokens_max : p->tokens;
    p->tokens_at_ms = now_ms;
}

/*
 * A bucket that never lets more than the rate through in any of its periods, bursts included: the burst is a fifth of it, and is taken off what
 * flows in. Divided among the daemons that deliver.
 */
static void share_pace(struct pace *p, unsigned daemons)
{
    double count = (double)p->rate_count / daemons;
    double burst = count / 5 > 1 ? count / 5 : 1;

    p->concurrency = p->concurrency_all / daemons > 0 ? p->concurrency_all / daemons : 1;
    p->tokens_max = burst;
    p->tokens = p->tokens < burst ? p->tokens : burst;
    p->tokens_per_ms = (count > burst ? count - burst : count) / (double)p->rate_per_ms;
    if (p->rate_count == 0) {
        p->tokens_per_ms = 0;
    }
    p->daemons = daemons;
}

/* The connector's pace, by the newest limits. What it has used up stays used up. */
static struct pace *set_pace(struct delivery *d, const char *name, const struct connector_limits *limits)
{
    struct pace *p = d->paces;

    while (p && strcmp(p->name, name) != 0) {
        p = p->next;
    }
    if (!p) {
        p = mem_zalloc(sizeof *p);
        p->name = mem_strdup(name);
        p->tokens = (double)limits->rate_count;
        p->tokens_at_ms = clock_mono_ms();
        p->next = d->paces;
        d->paces = p;
    } else if (p->rate_count == 0) { /* there was no limit, and nothing was counted */
        p->tokens = (double)limits->rate_count;
        p->tokens_at_ms = clock_mono_ms();
    } else {
        refill(p, clock_mono_ms());
    }
    p->concurrency_all = (unsigned)limits->concurrency;
    p->rate_count = limits->rate_count;
    p->rate_per_ms = limits->rate_per_ms > 0 ? limits->rate_per_ms : 1000;
    share_pace(p, d->daemons);
    return p;
}

/* The same for all requests, as long as the configuration stays. */
static int make_fixed_grant(struct lane *l, struct errmsg *err)
{
    struct auth *auth = NULL;
    int st = auth_new(l->module, l->config, l->connector, &auth, err);

    if (st == ST_OK) {
        st = auth_grant_make(auth, NULL, 0, &l->grant, err);
    }
    auth_free(auth);
    return st;
}

static void lane_fill(struct delivery *d, struct lane *l, const struct job *job)
{
    struct connector_limits limits = connector_limits_of(job->module, job->connector);
    struct errmsg err;

    l->config = config_ref(job->config);
    l->lookups = lookup_cache_new();
    l->connector = job->connector;
    l->module = connector_module_ref(job->module);
    l->timeout_ms = limits.timeout_ms;
    l->http1_only = limits.http1_only;
    l->redirect_hosts = limits.redirect_hosts;
    l->remaining_header = limits.remaining_header;
    l->pace = set_pace(d, l->name, &limits);
    l->gets_tokens = auth_gets_tokens(connector_module_meta(l->module));
    if (connector_vm_new(l->module, &l->vm, &err) != ST_OK || (!l->gets_tokens && make_fixed_grant(l, &err) != ST_OK)) {
        l->broken = mem_strdup(err.text);
    }
}

/* The lane of the job's connector, made anew when the configuration has changed and nothing of the old one is under way. */
static struct lane *lane_of(struct delivery *d, const struct job *job)
{
    struct lane *l = d->lanes;

    while (l && (strcmp(l->name, job->connector->name) != 0 || (l->config != job->config && l->in_flight > 0))) {
        l = l->next;
    }
    if (!l) {
        l = mem_zalloc(sizeof *l);
        l->name = mem_strdup(job->connector->name);
        l->next = d->lanes;
        d->lanes = l;
    }
    if (l->config != job->config) {
        lane_clear(l);
        lane_fill(d, l, job);
    }
    return l;
}

/* ---- results ------------------------------------------------------------------------------------------------------ */

int64_t job_now_us(const struct job *job)
{
    return job->claimed_now_us + clock_mono_us() - job->claimed_mono_us;
}

static bool is_stopping(struct delivery *d)
{
    bool stopping;

    pthread_mutex_lock(&d->lock);
    stopping = d->stopping;
    pthread_mutex_unlock(&d->lock);
    return stopping;
}

/* How long the candidate is still ours; 0: another daemon may have it. */
static int64_t lease_left_ms(struct task *t)
{
    struct delivery *d = t->delivery;
    struct job *job = t->job;
    int64_t until_ms = job->claim_began_ms + job->lease_ms;
    int64_t now_ms = clock_mono_ms();

    pthread_mutex_lock(&d->lock);
    if (!atomic_load(&job->not_renewed) && job->claim_began_ms > d->renewed_since_ms &&
        d->renewed_until_ms > until_ms) {
        until_ms = d->renewed_until_ms;
    }
    pthread_mutex_unlock(&d->lock);
    return until_ms > now_ms ? until_ms - now_ms : 0;
}

static struct job_call *current(const struct task *t)
{
    return &t->job->calls[t->call_index];
}

static struct retry_policy policy_of(const struct connector_config *c)
{
    return (struct retry_policy){
        .base_ms = c->retry_base_ms, .cap_ms = c->retry_cap_ms, .max_age_ms = c->retry_max_age_ms};
}

static void pause_connector(struct job *job, const char *error_class, const char *message)
{
    struct remedy r = remedy_of(connector_module_meta(job->module), job->connector, error_class, message, job->arena);

    job->pause_reason = r.reason;
    job->pause_hint = r.hint;
    job->pause_words =
        remedy_of(connector_module_meta(job->module), job->connector, error_class, "", job->arena).reason;
}

/* Chance enough for waiting times (splitmix64: Steele, Lea, Flood 2014). */
static uint32_t next_jitter(struct delivery *d)
{
    uint64_t z = (d->chance += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(z >> 32);
}

/* An ATS that says nothing is told of with what it did. */
static const char *reason_of(const struct call_result *r, struct arena *arena)
{
    if (r->message[0] != '\0' || r->error_class[0] == '\0' || r->http_status == 0) {
        return arena_strdup(arena, r->message);
    }
    return arena_printf(arena, "the ATS answered HTTP %ld, without a reason that could be read", (long)r->http_status);
}

/* What the outcome of a call means for each of its writes. */
static void settle(struct task *t, const struct call_result *r)
{
    struct job *job = t->job;
    const struct job_call *call = current(t);
    struct retry_policy policy = policy_of(job->connector);
    const struct delivery_hooks *hooks = &t->delivery->hooks;
    int64_t failures = 0;

    for (size_t i = 0; i < call->item_count; i++) {
        const struct ledger_item *item = call->items[i];
        struct record_result *res = &job->results[job->result_count++];
        struct attempt a = {
            .outcome = r->outcome,
            .error_class = arena_strdup(job->arena, r->error_class),
            .is_append = write_is_append(item->wish->kind),
            .hold_uncertain = job->connector->hold_uncertain,
            .can_look = connector_module_can_find_marker(job->module),
            .attempts = item->attempts + 1,
            .first_tried_us = item->first_tried_us,
            .now_us = job_now_us(job),
            .retry_after_ms = r->retry_after_ms,
        };

        outcome_decide(&policy, &a, next_jitter(t->delivery), &res->verdict);
        if (call->look_first && !t->looked && res->verdict.state == WRITE_PENDING) {
            res->verdict.uncertain = true; /* still nobody knows */
        }
        res->item = item;
        res->http_status = r->http_status;
        res->error = reason_of(r, job->arena);
        if (res->verdict.throttle_ms > job->throttle_ms) {
            job->throttle_ms = res->verdict.throttle_ms;
        }
        if (res->verdict.pause_connector && !job->pause_reason) {
            pause_connector(job, a.error_class, r->message);
        }
        failures += res->verdict.counts_as_failure;
    }
    job->failures += failures;
    /* now, not with the job's end: an ATS that hangs is known before the last call has timed out */
    hooks->tried(hooks->ctx, job, (int64_t)call->item_count, failures);
}

/* The calls that were not made: their writes wait as before. */
static void leave_rest(struct task *t)
{
    struct job *job = t->job;

    for (; t->call_index < job->call_count; t->call_index++) {
        const struct job_call *call = current(t);
        /* the first of these may have been begun */
        bool uncertain = call->look_first || (t->call && call_wrote(t->call));

        for (size_t i = 0; i < call->item_count; i++) {
            const struct ledger_item *item = call->items[i];
            struct record_result *res = &job->results[job->result_count++];

            *res = (struct record_result){.item = item, .error = "", .not_attempted = true};
            res->verdict = (struct verdict){.state = WRITE_PENDING, .uncertain = uncertain, .error_class = ""};
            res->verdict.delay_ms = job->throttle_ms;
        }
        call_free(t->call);
        t->call = NULL;
    }
}

static void end_task(struct task *t)
{
    struct delivery *d = t->delivery;
    struct job *job = t->job;

    leave_rest(t);
    call_free(t->call);
    t->lane->in_flight--;
    d->tasks--;
    mem_free(t);
    d->hooks.done(d->hooks.ctx, job);
}

static void log_call(struct task *t, const struct prepared_request *q, const struct httpc_response *response,
                     const struct call_result *verdict)
{
    struct job *job = t->job;
    char status[24] = "none";

    if (job->log_count == job->log_room) {
        size_t room = job->log_room ? 2 * job->log_room : 8;
        struct record_call *grown = arena_alloc(job->arena, room * sizeof *grown);

        if (job->log_count > 0) {
            memcpy(grown, job->log, job->log_count * sizeof *grown);
        }
        job->log = grown;
        job->log_room = room;
    }
    job->log[job->log_count++] = (struct record_call){
        .verb = t->looking ? "find_marker" : current(t)->verb,
        .method = arena_strdup(job->arena, q->method),
        .path = arena_strdup(job->arena, q->path_for_log),
        .outcome = verdict ? outcome_name(verdict->outcome) : "lookup",
        .error = verdict ? arena_strdup(job->arena, verdict->message) : "",
        .http_status = response->status,
        .duration_us = response->duration_us,
        .ago_ms = clock_mono_ms(), /* turned into "ago" when it is recorded */
    };
    if (response->status) {
        snprintf(status, sizeof status, "%ld", response->status);
    }
    metric_add(t->delivery->requests, 1, job->connector->name, q->method, status,
               verdict ? outcome_name(verdict->outcome) : "lookup");
    metric_observe(t->delivery->seconds, (double)response->duration_us / 1e6, job->connector->name, NULL, NULL, NULL);
}

/* ---- one call ----------------------------------------------------------------------------------------------------- */

static const char *candidate_id(const struct job *job, const struct job_call *call)
{
    const struct run *run = call->items[0]->wish->run;

    return run->external_id ? run->external_id : job->who->external_id;
}

/*
 * What the database cannot hold of an id is changed in it, and where only the database knows the id (an event of
 * somebody else told it) the changed one must not be written to: it could be another candidate's.
 */
static bool has_exact_id(const struct job *job, const struct job_call *call)
{
    const char *id = candidate_id(job, call);

    return call->items[0]->wish->run->external_id || !id || !text_starts(job->who->ref, "x:") ||
           strcmp(subject_key('x', id, job->arena), job->who->ref) == 0;
}

static struct json *write_context(const struct job *job, const struct job_call *call)
{
    const struct desired *wish = call->items[0]->wish;
    struct json *w = json_object();

    switch (wish->kind) {
    case WRITE_FIELD: {
        struct json *fields = json_object();

        for (size_t i = 0; i < call->item_count; i++) {
            json_set(fields, call->items[i]->wish->target, json_copy(call->items[i]->wish->value));
        }
        json_set(w, "fields", fields);
        break;
    }
    case WRITE_TAG: {
        struct json *tags = json_array();

        for (size_t i = 0; i < call->item_count; i++) {
            json_push(tags, json_string(call->items[i]->wish->target));
        }
        json_set(w, "tags", tags);
        break;
    }
    case WRITE_ASSESSMENT:
        json_free(w);
        w = json_copy(wish->value);
        break;
    case WRITE_STAGE: {
        struct json *only = json_array();

        for (size_t i = 0; i < call->items[0]->only_from_count; i++) {
            json_push(only, json_string(call->items[0]->only_from[i]));
        }
        json_set(w, "stage", json_copy(wish->value));
        json_set(w, "only_from", only);
        break;
    }
    case WRITE_REJECT:
        json_set(w, "reason", json_copy(wish->value));
        break;
    case WRITE_NOTE:
        json_set(w, "body", json_copy(wish->value));
        json_set_str(w, "marker", note_marker(job->who->source, job->who->ref, wish->key, job->arena));
        break;
    }
    return w;
}

static struct json *context_of(const struct job *job, const struct job_call *call)
{
    const struct desired *wish = call->items[0]->wish;
    const struct run *r = wish->run;
    struct json *context = json_object();
    struct json *candidate = json_object();
    struct json *run = json_object();

    json_set_str(candidate, "id", candidate_id(job, call));
    json_set_str(candidate, "profile_id", r->profile_id);
    json_set(context, "candidate", candidate);
    json_set_str(context, "job", wish->job);
    json_set_str(run, "id", r->run_id);
    json_set_str(run, "state", run_state_name(r->state));
    json_set_str(run, "outcome", r->outcome);
    json_set_str(run, "result", r->result);
    json_set_str(run, "started_at", r->started_us != EVENT_TIME_NONE ? time_iso8601(r->started_us).s : NULL);
    json_set_str(run, "completed_at", r->completed_us != EVENT_TIME_NONE ? time_iso8601(r->completed_us).s : NULL);
    json_set(context, "run", run);
    json_set_str(context, "workflow", wish->workflow_external_id);
    json_set(context, "write", write_context(job, call));
    return context;
}

/* The same for every repetition of the same write, another one for another value. */
static void idempotency_key(const struct job *job, const struct job_call *call, char ret[37])
{
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    buf_printf(&b, "%s\n%s\n%s\n", job->who->source, job->who->connector, job->who->ref);
    for (size_t i = 0; i < call->item_count; i++) {
        const struct ledger_item *item = call->items[i];

        buf_printf(&b, "%s\n%s\n%s\n", item->wish->key, num_text(item->rev).s,
                   write_is_append(item->wish->kind) ? "" : item->wish->hash);
    }
    crypto_uuid_of(buf_text(&b), ret);
    buf_free(&b);
}

static void begin_call(struct task *t)
{
    struct job_call *call = current(t);
    struct json *context = context_of(t->job, call);
    bool is_append = write_is_append(call->items[0]->wish->kind);
    char key[37];

    t->from_cache = false;
    t->renewed = false;
    t->begun = false;
    t->looking = call->look_first && !t->looked && connector_module_can_find_marker(t->job->module);
    idempotency_key(t->job, call, key);
    t->call = call_new(t->lane->vm, t->lane->connector, t->looking ? "find_marker" : call->verb, context, is_append,
                       t->looking ? NULL : key);
    if (t->lane->gets_tokens) {
        call_set_grant(t->call, t->lane->grant);
    }
}

/* The call is not made, and the next one is on. */
static void end_without_id(struct task *t)
{
    static const struct call_result r = {
        .outcome = OUTCOME_INVALID,
        .error_class = "invalid",
        .message = "the candidate's external id is longer than 400 bytes or holds a NUL or half a character, and the "
                   "events of this run do not repeat it, so that it is not known exactly",
        .retry_after_ms = -1,
    };

    settle(t, &r);
    t->call_index++;
}

/* What was looked up earlier may not be so any more: then the call is worth one more try with fresh answers. */
static bool ended_on_old_answers(const struct task *t, const struct call_result *r)
{
    return t->from_cache && !t->refreshed && r->outcome != OUTCOME_UNCERTAIN &&
           (r->outcome == OUTCOME_NOT_FOUND || r->outcome == OUTCOME_INVALID || r->outcome == OUTCOME_STALE ||
            strcmp(r->error_class, "bad_answer") == 0 ||
            (r->outcome == OUTCOME_CONFIG && strcmp(r->error_class, "configuration") == 0));
}

/* One value that the ATS does not take fails all that went out with it: which one it was is found out by sending them one by one. */
static bool is_worth_splitting(const struct job_call *call, const struct call_result *r)
{
    return call->item_count > 1 && (r->outcome == OUTCOME_INVALID || r->program_failed ||
                                    (r->outcome == OUTCOME_CONFIG && strcmp(r->error_class, "configuration") == 0));
}

/* The array has room for as many calls as there are writes. */
static void split_call(struct task *t)
{
    struct job *job = t->job;
    struct job_call whole = *current(t);
    size_t more = whole.item_count - 1;

    memmove(current(t) + 1 + more, current(t) + 1, (job->call_count - t->call_index - 1) * sizeof *job->calls);
    for (size_t i = 0; i < whole.item_count; i++) {
        job->calls[t->call_index + i] =
            (struct job_call){.verb = whole.verb, .items = whole.items + i, .item_count = 1};
    }
    job->call_count += more;
}

/* The call has ended. Returns false when the job cannot go on with its other calls. */
static bool end_call(struct task *t)
{
    const struct call_result *r = call_result(t->call);
    bool go_on;

    t->begun = false;
    if (ended_on_old_answers(t, r)) {
        lookup_cache_clear(t->lane->lookups);
        call_free(t->call);
        t->call = NULL;
        t->refreshed = true;
        return true;
    }
    if (is_worth_splitting(current(t), r)) {
        split_call(t);
        call_free(t->call);
        t->call = NULL;
        return true;
    }

    if (t->looking && (r->outcome == OUTCOME_OK || r->outcome == OUTCOME_ALREADY)) {
        if (!r->found) { /* it is not there: now it can be written */
            t->looked = true;
            call_free(t->call);
            t->call = NULL;
            return true;
        }
        struct call_result there = {.outcome = OUTCOME_ALREADY,
                                    .error_class = "",
                                    .message = "",
                                    .http_status = r->http_status,
                                    .retry_after_ms = -1};

        settle(t, &there);
        go_on = true;
    } else {
        settle(t, r);
        go_on = r->outcome != OUTCOME_THROTTLED && !t->job->pause_reason;
    }
    call_free(t->call);
    t->call = NULL;
    t->looked = false;
    t->refreshed = false;
    t->call_index++;
    return go_on;
}

/* The tokens are not accepted any more, which proves that nothing was done: one renewal, one repetition. */
static bool wants_renewal(struct task *t)
{
    if (!t->lane->gets_tokens || t->renewed || call_result(t->call)->outcome != OUTCOME_REAUTH) {
        return false;
    }
    t->renewed = true;
    t->refused = t->sent;
    return true;
}

/* The vendor says how many requests it will still take: not more than that go out before new tokens have come. */
static void obey_remaining(struct lane *l, const struct httpc_response *response)
{
    const char *text = l->remaining_header ? httpc_header_value(response, l->remaining_header) : NULL;
    int64_t left;

    if (text && l->pace->tokens_per_ms > 0 && text_to_i64(text, 0, INT32_MAX, &left) &&
        l->pace->tokens > (double)left) {
        l->pace->tokens = (double)left;
    }
}

static void answered(void *ctx, const struct httpc_response *response)
{
    struct task *t = ctx;
    const struct prepared_request *q = call_request(t->call);
    struct prepared_request copy = *q;

    t->lane->pace->on_wire--;
    obey_remaining(t->lane, response);
    FAULT_POINT("answered");
    copy.method = arena_strdup(t->job->arena, q->method);
    copy.path_for_log = arena_strdup(t->job->arena, q->path_for_log);
    lookup_cache_put(t->lane->lookups, q, response, clock_mono_ms());
    call_answer(t->call, response, clock_wall_us());
    /* what the answer meant is known once the call is asked for its next step */
    enum call_next next = call_advance(t->call);

    log_call(t, &copy, response, next == CALL_FINISHED ? call_result(t->call) : NULL);
    if (next == CALL_FINISHED && !(wants_renewal(t) || end_call(t))) {
        end_task(t);
        return;
    }
    if (next == CALL_FINISHED && is_stopping(t->delivery)) {
        end_task(t);
        return;
    }
    advance(t);
}

static void send_request(struct task *t)
{
    const struct prepared_request *q = call_request(t->call);
    struct lane *l = t->lane;
    int64_t lease_ms;
    struct httpc_header headers[64];
    size_t n = 0;

    for (size_t i = 0; i < q->header_count && n < ATS_COUNT(headers); i++) {
        headers[n++] = q->headers[i];
    }
    for (size_t i = 0; i < l->grant->headers.count && n < ATS_COUNT(headers); i++) {
        headers[n++] = l->grant->headers.items[i];
    }
    t->sent = l->grant->serial;
    struct httpc_request request = {
        .method = q->method,
        .url = q->url,
        .headers = headers,
        .header_count = n,
        .body = q->body,
        .body_len = q->body_len,
        .response_max_bytes = RESPONSE_MAX_BYTES,
        .http1_only = l->http1_only,
        .redirect_hosts = l->redirect_hosts,
        .ca_file = l->connector->ca_file,
        .client_cert_file = l->connector->client_certificate_file,
        .client_key_file = l->connector->client_key_file,
        .proxy = l->connector->proxy,
        .allow_private_address = request_allows_private(l->connector),
    };

    t->begun = true;
    FAULT_POINT("before-request");
    lease_ms = lease_left_ms(t); /* at the last moment: this process may have been stopped for a while before */
    if (lease_ms == 0) {         /* somebody else's now, or free for everybody: as if it had not been begun */
        end_task(t);
        return;
    }
    request.timeout_ms = (int)(l->timeout_ms < lease_ms ? l->timeout_ms : lease_ms);
    request.send_before_ms = clock_mono_ms() + lease_ms;
    l->pace->on_wire++;
    httpc_start(t->delivery->http, &request, answered, t);
    FAULT_POINT("request-started");
}

static void wait_for_turn(struct task *t)
{
    struct lane *l = t->lane;

    t->next = NULL;
    if (l->waiting_last) {
        l->waiting_last->next = t;
    } else {
        l->waiting = t;
    }
    l->waiting_last = t;
}

/* A place on the wire and a token, or nothing. */
static bool may_send(struct pace *p)
{
    if (p->on_wire >= p->concurrency) {
        return false;
    }
    if (p->tokens_per_ms > 0) {
        refill(p, clock_mono_ms());
        if (p->tokens < 1) {
            return false;
        }
        p->tokens -= 1;
    }
    return true;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------- */

static void park(struct task *t)
{
    struct lane *l = t->lane;

    t->next = NULL;
    if (l->parked_last) {
        l->parked_last->next = t;
    } else {
        l->parked = t;
    }
    l->parked_last = t;
}

/* There are no tokens: the call that is on has failed, the others were not made. */
static void end_without_tokens(struct task *t, const struct tokens_failure *f)
{
    bool is_ours_to_mend = strcmp(f->error_class, "credentials") == 0 || strcmp(f->error_class, "configuration") == 0;
    struct call_result r = {
        .outcome = is_ours_to_mend ? OUTCOME_REAUTH : OUTCOME_RETRY,
        .error_class = f->error_class,
        .message = f->message,
        .retry_after_ms = f->retry_after_ms,
    };

    settle(t, &r);
    t->call_index++;
    end_task(t);
}

/* Makes the lane's grant one that is good now. False: the task is parked until there is one, or has ended without. */
static bool has_grant(struct task *t)
{
    struct lane *l = t->lane;
    struct auth_grant *fresh = NULL;
    struct tokens_failure failure;

    if (!l->gets_tokens) {
        return true;
    }
    switch (tokens_get(t->delivery->tokens, l->name, t->refused, &fresh, &failure)) {
    case TOKENS_READY:
        auth_grant_unref(l->grant);
        l->grant = fresh;
        break;
    case TOKENS_WAIT:
        park(t);
        return false;
    case TOKENS_FAILED:
        end_without_tokens(t, &failure);
        return false;
    }
    if (t->call) {
        call_set_grant(t->call, l->grant);
    }
    return true;
}

static void tokens_have_changed(void *ctx)
{
    struct delivery *d = ctx;

    pthread_mutex_lock(&d->lock);
    d->tokens_changed = true;
    pthread_mutex_unlock(&d->lock);
    delivery_wake(d);
}

/* Who waits for tokens asks again, or ends where it is. */
static void serve_parked(struct delivery *d, bool stopping)
{
    bool changed;

    pthread_mutex_lock(&d->lock);
    changed = d->tokens_changed;
    d->tokens_changed = false;
    pthread_mutex_unlock(&d->lock);
    for (struct lane *l = d->lanes; l && (changed || stopping); l = l->next) {
        struct task *t = l->parked;

        l->parked = NULL;
        l->parked_last = NULL;
        while (t) {
            struct task *next = t->next;

            if (stopping) {
                end_task(t);
            } else {
                advance(t);
            }
            t = next;
        }
    }
}

/* While the ATS is away no more is tried; what has been begun is finished. */
static bool may_go_on(const struct task *t)
{
    const struct delivery_hooks *hooks = &t->delivery->hooks;

    return t->begun || hooks->may_call(hooks->ctx, t->job);
}

/* Walks on until a request is on the network or waits for its turn, or the job has ended. */
static void advance(struct task *t)
{
    for (;;) {
        if (!t->call && (t->call_index == t->job->call_count || !may_go_on(t))) {
            end_task(t);
            return;
        }
        if (!has_grant(t)) {
            return;
        }
        if (t->refused != 0) {
            t->refused = 0;
            if (!call_repeat(t->call) && !end_call(t)) {
                end_task(t);
                return;
            }
            continue;
        }
        if (!t->call && !has_exact_id(t->job, current(t))) {
            end_without_id(t);
        } else if (!t->call) {
            begin_call(t);
        } else if (call_request(t->call)) {
            const struct httpc_response *kept =
                lookup_cache_get(t->lane->lookups, call_request(t->call), clock_mono_ms());

            if (kept) {
                t->from_cache = true;
                call_answer(t->call, kept, clock_wall_us());
                if (call_advance(t->call) == CALL_FINISHED && !end_call(t)) {
                    end_task(t);
                    return;
                }
                continue;
            }
            if (t->lane->waiting || !may_send(t->lane->pace)) {
                wait_for_turn(t);
            } else {
                send_request(t);
            }
            return;
        }
        if (t->call && call_advance(t->call) == CALL_FINISHED && !end_call(t)) {
            end_task(t);
            return;
        }
    }
}

static void begin_task(struct delivery *d, struct job *job)
{
    struct lane *l = lane_of(d, job);
    struct task *t = mem_zalloc(sizeof *t);
    size_t items = 0;

    for (size_t i = 0; i < job->call_count; i++) {
        items += job->calls[i].item_count;
    }
    job->results = arena_alloc(job->arena, (items + 1) * sizeof *job->results);
    t->delivery = d;
    t->lane = l;
    t->job = job;
    l->in_flight++;
    d->tasks++;
    if (l->broken) {
        pause_connector(job, "configuration", l->broken);
        end_task(t);
    } else if (is_stopping(d)) {
        end_task(t);
    } else {
        advance(t);
    }
}

/* ---- thread ------------------------------------------------------------------------------------------------------- */

static struct job *take_submitted(struct delivery *d)
{
    struct job *list;

    pthread_mutex_lock(&d->lock);
    list = d->submitted;
    d->submitted = NULL;
    d->submitted_last = NULL;
    pthread_mutex_unlock(&d->lock);
    return list;
}

/* Sends what waited for its turn; returns how long until a token is there for the next. */
static int serve_waiting(struct delivery *d, bool stopping)
{
    int wait_ms = WAIT_MS;

    for (struct lane *l = d->lanes; l; l = l->next) {
        while (l->waiting) {
            struct task *t = l->waiting;
            bool ends = stopping || !may_go_on(t);

            if (!ends && !may_send(l->pace)) {
                break;
            }
            l->waiting = t->next;
            if (!l->waiting) {
                l->waiting_last = NULL;
            }
            if (ends) {
                end_task(t);
            } else {
                send_request(t);
            }
        }
        if (l->waiting && l->pace->on_wire < l->pace->concurrency) {
            int ms = (int)((1 - l->pace->tokens) / l->pace->tokens_per_ms) + 1;

            wait_ms = ms < wait_ms ? ms : wait_ms;
        }
    }
    return wait_ms;
}

static void adopt_share(struct delivery *d)
{
    unsigned connections_max = d->connections_max;

    pthread_mutex_lock(&d->lock);
    d->daemons = d->daemons_now;
    d->connections_max = d->connections_max_now;
    pthread_mutex_unlock(&d->lock);
    if (d->connections_max != connections_max) {
        httpc_set_connections_max(d->http, d->connections_max);
    }
    for (struct pace *p = d->paces; p; p = p->next) {
        if (p->daemons != d->daemons) {
            refill(p, clock_mono_ms());
            share_pace(p, d->daemons);
        }
    }
}

static void *delivery_thread(void *arg)
{
    struct delivery *d = arg;

    for (;;) {
        bool stopping = is_stopping(d);
        struct job *jobs = take_submitted(d);

        adopt_share(d);

        while (jobs) {
            struct job *next = jobs->next;

            begin_task(d, jobs);
            jobs = next;
        }
        serve_parked(d, stopping);

        int wait_ms = serve_waiting(d, stopping);

        if (stopping && d->tasks == 0) {
            break;
        }
        httpc_poll(d->http, wait_ms);
    }
    return NULL;
}

struct delivery *delivery_new(struct config *c, struct connector_set *connectors, const struct delivery_hooks *hooks,
                              unsigned connections_max)
{
    static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
    struct delivery *d = mem_zalloc(sizeof *d);

    d->hooks = *hooks;
    d->connections_max = connections_max;
    d->connections_max_now = connections_max;
    crypto_random(&d->chance, sizeof d->chance);
    d->daemons = 1;
    d->daemons_now = 1;
    pthread_mutex_init(&d->lock, NULL);
    d->http = httpc_new(connections_max, "atsyncd/" ATSYNC_VERSION);
    d->tokens = tokens_new(c, connectors, tokens_have_changed, d);
    d->requests =
        metric_counter("atsyncd_ats_requests_total", "Requests sent to an ATS, by HTTP status code and what it meant.",
                       "connector,method,code,outcome");
    d->seconds =
        metric_histogram("atsyncd_ats_request_seconds", "Time from sending a request to the end of its answer.",
                         "connector", bounds, ATS_COUNT(bounds));
    return d;
}

void delivery_reload(struct delivery *d, struct config *c, struct connector_set *connectors)
{
    pthread_mutex_lock(&d->lock);
    d->connections_max_now = (unsigned)c->delivery.slots;
    pthread_mutex_unlock(&d->lock);
    tokens_reload(d->tokens, c, connectors);
    tokens_have_changed(d);
}

int delivery_start(struct delivery *d, struct errmsg *err)
{
    int st = tokens_start(d->tokens, err);

    if (st != ST_OK) {
        return st;
    }
    if (pthread_create(&d->thread, NULL, delivery_thread, d) != 0) {
        return err_set(err, ST_IO, "cannot start the delivery thread");
    }
    pthread_setname_np(d->thread, "delivery");
    d->started = true;
    return ST_OK;
}

void delivery_submit(struct delivery *d, struct job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&d->lock);
    if (d->submitted_last) {
        d->submitted_last->next = job;
    } else {
        d->submitted = job;
    }
    d->submitted_last = job;
    pthread_mutex_unlock(&d->lock);
}

void delivery_wake(struct delivery *d)
{
    httpc_wake(d->http);
}

void delivery_share(struct delivery *d, unsigned daemons)
{
    pthread_mutex_lock(&d->lock);
    d->daemons_now = daemons;
    pthread_mutex_unlock(&d->lock);
}

void delivery_renewed(struct delivery *d, int64_t began_ms, int64_t ended_ms, int64_t renewed_ms, int64_t lease_ms)
{
    pthread_mutex_lock(&d->lock);
    if (ended_ms > d->renewed_until_ms) { /* what was renewed before may have been lost in between */
        d->renewed_since_ms = ended_ms - lease_ms;
    }
    d->renewed_until_ms = began_ms + renewed_ms;
    pthread_mutex_unlock(&d->lock);
}

void delivery_stop(struct delivery *d)
{
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_mutex_unlock(&d->lock);
    delivery_wake(d);
}

void delivery_join(struct delivery *d)
{
    if (d->started) {
        pthread_join(d->thread, NULL);
        d->started = false;
    }
    tokens_stop(d->tokens); /* what an ATS has just given has to be stored */
    tokens_join(d->tokens);
}

void delivery_free(struct delivery *d)
{
    if (!d) {
        return;
    }
    tokens_free(d->tokens);
    httpc_free(d->http);
    while (d->lanes) {
        struct lane *next = d->lanes->next;

        lane_clear(d->lanes);
        mem_free(d->lanes->name);
        mem_free(d->lanes);
        d->lanes = next;
    }
    while (d->paces) {
        struct pace *next = d->paces->next;

        mem_free(d->paces->name);
        mem_free(d->paces);
        d->paces = next;
    }
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}
