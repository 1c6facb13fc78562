#include "service/completer.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "connector/popp_api.h"
#include "domain/completion.h"
#include "domain/run.h"
#include "lib/httpc.h"
#include "lib/jqvm.h"
#include "service/incoming.h"
#include "service/thread.h"
#include "store/erase.h"
#include "store/inquiry.h"
#include "store/store.h"

enum {
    LOOK_MIN_MS = 200, /* how often it is looked for runs to ask for: a quarter of `after`, between these */
    LOOK_MAX_MS = 60000,
    OVER_AFTER_MS = 60000, /* for node events that may still come */
    AFTER_NEWS_MS = 3600000,
    TOO_LARGE_AGAIN_MS = 3600000,
    LEASE_EXTRA_MS = 60000,
    CLAIM_MAX = 10,
    POLL_MS = 1000,
    SHAPED_MAX_BYTES = 32 * 1024 * 1024,
    TROUBLE_FIRST_MS = 60000,
    TROUBLE_CAP_MS = 3600000,
    KEY_CAP_MS = 24 * 3600000,
};

struct completer {
    void (*wake)(void *ctx);
    void *ctx;
    struct store *store;
    struct httpc *http;
    pthread_t thread;
    bool started;
    struct metric *requests, *completed;

    pthread_mutex_t mutex; /* guards the block */
    pthread_cond_t changed;
    struct config *config;
    bool stopping;
    bool reloaded;

    bool away; /* the thread's own: the database, told once */
};

/* One source in one round of looking. */
struct round {
    struct completer *c;
    struct config *config;
    const struct source_config *source;
    struct jqvm *shape; /* NULL: answers are taken as they are */
    bool over;          /* no more requests in this round */
};

static bool is_stopping(struct completer *c)
{
    bool stopping;

    (void)pthread_mutex_lock(&c->mutex);
    stopping = c->stopping;
    (void)pthread_mutex_unlock(&c->mutex);
    return stopping;
}

/* ---- one request -------------------------------------------------------------------------------------------------- */

struct answer {
    bool done;
    enum popp_api_answer meaning;
    int64_t wait_ms;
    struct errmsg words;
    char *body; /* of POPP_API_OK */
    size_t body_len;
};

static void answered(void *ctx, const struct httpc_response *response)
{
    struct answer *a = ctx;

    a->done = true;
    a->meaning = popp_api_meaning(response, clock_wall_us(), &a->wait_ms, &a->words);
    if (a->meaning == POPP_API_OK) {
        a->body = mem_strndup(response->body, response->body_len);
        a->body_len = response->body_len;
    }
}

/* False: the daemon is ending. */
static bool ask(struct round *r, const char *path, struct arena *arena, struct answer *a)
{
    struct httpc_request request;

    popp_api_request(r->source, path, arena, &request);
    httpc_start(r->c->http, &request, answered, a);
    while (!a->done && !is_stopping(r->c)) {
        (void)httpc_poll(r->c->http, POLL_MS);
    }
    if (!a->done) { /* never polled again: the answer cannot come into what is gone */
        return false;
    }
    metric_add(r->c->requests, 1, r->source->name, popp_api_answer_name(a->meaning), NULL, NULL);
    return true;
}

/* ---- what an answer is worth -------------------------------------------------------------------------------------- */

static const struct run *find_run(const struct run_set *set, const char *run_id)
{
    for (size_t i = 0; i < set->count; i++) {
        if (!set->runs[i].is_contact_only && strcmp(set->runs[i].run_id, run_id) == 0) {
            return &set->runs[i];
        }
    }
    return NULL;
}

/* The answer as JSON, in the shape that the configuration gives it. jq's words may quote it, and are not passed on. */
static int shape(struct round *r, const struct answer *a, struct arena *arena, const struct json **ret,
                 struct errmsg *err)
{
    struct buf out;
    int st;

    if (!r->shape) {
        return json_parse_in(arena, a->body, a->body_len, ret, err);
    }
    buf_init(&out, SHAPED_MAX_BYTES);
    st = jqvm_run(r->shape, a->body, a->body_len, &out, NULL);
    st = st == ST_OK ? json_parse_in(arena, buf_text(&out), out.len, ret, err)
                     : err_set(err, ST_INVALID, "the program in api.answer failed on it (%s)", status_name(st));
    buf_free(&out);
    return st;
}

/* Stores the event if the run knows more with it. *ret_stored: whether it was, or had been before. */
static int store_if_better(struct round *r, const struct run *known, const struct event *events, size_t count,
                           const char *body, struct arena *arena, bool *ret_better, struct errmsg *err)
{
    struct event *all = arena_alloc(arena, (count + 1) * sizeof *all);
    struct ingest_event incoming;
    struct run_set set;
    const struct run *after;
    int st;

    memcpy(all, events, count * sizeof *all);
    st = event_parse(body, strlen(body), arena, &all[count], err);
    if (st != ST_OK) {
        return st;
    }
    runs_fold(all, count + 1, arena, &set);
    after = find_run(&set, known->run_id);
    *ret_better = after && completion_improves(known, after);
    if (!*ret_better) {
        return ST_OK;
    }
    incoming_event(&all[count], r->source->name, &r->config->mapping, arena, &incoming);
    incoming.body = body;
    incoming.body_len = strlen(body);
    st = store_ingest(r->c->store, &incoming, 1, err);
    if (st == ST_OK) {
        st = store_erase_told(r->c->store, &incoming, 1, err);
    }
    if (st == ST_OK && incoming.stored) {
        metric_add(r->c->completed, 1, r->source->name, NULL, NULL, NULL);
        log_info("run completed from Popp's API", "source", r->source->name, "run", known->run_id, "event",
                 incoming.event_id, NULL);
        r->c->wake(r->c->ctx);
        st = store_notify(r->c->store, err);
    }
    return st;
}

/* ---- one run ------------------------------------------------------------------------------------------------------ */

static int tell(struct round *r, const struct api_trouble *t, struct errmsg *err)
{
    return store_api_tell(r->c->store, r->source->name, t, err);
}

static int put_back(struct round *r, const struct inquiry *q, struct errmsg *err)
{
    return store_inquiry_put_back(r->c->store, r->source->name, q->run_id, err);
}

/* Something is wrong with the API as a whole: nothing is asked for a while. */
static int stop_asking(struct round *r, const struct api_trouble *t, struct errmsg *err)
{
    log_warn("Popp's API is of no use now", "source", r->source->name, "problem", t->problem, "error", t->error, "more",
             "atsyncctl issues", NULL);
    r->over = true;
    return tell(r, t, err);
}

static int again(struct round *r, const struct inquiry *q, enum completion_trouble trouble, struct errmsg *err)
{
    int64_t ms = completion_again_ms(trouble, q->asked, r->source->api.after_ms, q->is_over);

    return store_inquiry_again(r->c->store, r->source->name, q->run_id, ms, err);
}

static int not_understood(struct round *r, const struct inquiry *q, const char *why, struct errmsg *err)
{
    const struct api_trouble t = {
        .problem = "answer", .error = why, .first_ms = TROUBLE_FIRST_MS, .cap_ms = TROUBLE_CAP_MS};
    int st = stop_asking(r, &t, err);

    return st == ST_OK ? again(r, q, COMPLETION_NOT_FOUND, err) : st; /* it may be this one run that is odd */
}

static int use_answer(struct round *r, const struct inquiry *q, const struct answer *a, const struct run *known,
                      const struct event *events, size_t count, struct arena *arena, struct errmsg *err)
{
    const struct json *run = NULL;
    const char *body = NULL;
    struct errmsg why = {{0}};
    bool better = false;
    int st;

    if (shape(r, a, arena, &run, &why) != ST_OK) {
        return not_understood(r, q, why.text, err);
    }
    switch (completion_make(run, known, q->now_us, arena, &body, &why)) {
    case COMPLETION_UNUSABLE:
        return not_understood(r, q, why.text, err);
    case COMPLETION_RUNNING:
        st = tell(r, &(struct api_trouble){.problem = NULL}, err);
        return st == ST_OK ? again(r, q, q->is_over ? COMPLETION_NO_NEWS : COMPLETION_STILL_RUNNING, err) : st;
    case COMPLETION_EVENT:
        break;
    }
    if ((st = tell(r, &(struct api_trouble){.problem = NULL}, err)) != ST_OK ||
        (st = store_if_better(r, known, events, count, body, arena, &better, err)) != ST_OK) {
        return st;
    }
    /* when it is better it may not be whole yet, but first it has to be worked on */
    return better ? store_inquiry_again(r->c->store, r->source->name, q->run_id, AFTER_NEWS_MS, err)
                  : again(r, q, COMPLETION_NO_NEWS, err);
}

static int use(struct round *r, const struct inquiry *q, const struct answer *a, const struct run *known,
               const struct event *events, size_t count, struct arena *arena, struct errmsg *err)
{
    struct api_trouble t = {
        .error = a->words.text, .first_ms = TROUBLE_FIRST_MS, .cap_ms = TROUBLE_CAP_MS, .at_least_ms = a->wait_ms};
    int st;

    switch (a->meaning) {
    case POPP_API_OK:
        return use_answer(r, q, a, known, events, count, arena, err);
    case POPP_API_NOT_FOUND:
        st = tell(r, &(struct api_trouble){.problem = NULL}, err);
        return st == ST_OK ? again(r, q, COMPLETION_NOT_FOUND, err) : st;
    case POPP_API_KEY:
        t.problem = "key";
        t.first_ms = TROUBLE_CAP_MS;
        t.cap_ms = KEY_CAP_MS;
        break;
    case POPP_API_THROTTLED:
    case POPP_API_UNAVAILABLE:
        t.problem = "unavailable";
        break;
    case POPP_API_ODD:
        t.problem = "answer";
        break;
    }
    st = stop_asking(r, &t, err);
    return st == ST_OK ? put_back(r, q, err) : st;
}

/* The right to a request; without it the round is over. */
static int take(struct round *r, const struct inquiry *q, bool *ret, struct errmsg *err)
{
    const struct api_trouble none_left = {.problem = "limit", .error = ""};
    int st = store_api_take(r->c->store, r->source->name, r->source->api.per_day, ret, err);

    if (st == ST_OK && !*ret && (st = stop_asking(r, &none_left, err)) == ST_OK) {
        st = put_back(r, q, err);
    }
    return st;
}

static int inquire(struct round *r, const struct inquiry *q, struct arena *arena, struct errmsg *err)
{
    const char *path = completion_path(r->source->api.run_path, q->run_id, q->workflow_id, arena);
    struct event *events = NULL;
    struct answer a = {.done = false};
    struct run_set set;
    const struct run *known;
    size_t count = 0;
    bool may = false;
    int st = store_inquiry_events(r->c->store, r->source->name, q, arena, config_max_history_bytes(r->config), &events,
                                  &count, err);

    if (st != ST_OK) {
        return st;
    }
    if (!events) { /* nothing could be made of an answer while its candidate cannot be worked on */
        return store_inquiry_again(r->c->store, r->source->name, q->run_id, TOO_LARGE_AGAIN_MS, err);
    }
    runs_fold(events, count, arena, &set);
    known = find_run(&set, q->run_id);
    if (!path || !known || (known->terminal.event_id && known->complete)) { /* no way to ask, or no need any more */
        return store_inquiry_again(r->c->store, r->source->name, q->run_id, -1, err);
    }
    if ((st = take(r, q, &may, err)) != ST_OK || !may) {
        return st;
    }
    if (!ask(r, path, arena, &a)) {
        return put_back(r, q, err);
    }
    st = use(r, q, &a, known, events, count, arena, err);
    mem_free(a.body);
    return st;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------- */

/* Waits between two requests; returns early when there is something new. */
static void keep_pace(struct round *r)
{
    struct completer *c = r->c;
    int64_t until_ms = clock_mono_ms() + r->source->api.rate_per_ms / r->source->api.rate_count;
    int64_t left_ms;

    (void)pthread_mutex_lock(&c->mutex);
    while (!c->stopping && (left_ms = until_ms - clock_mono_ms()) > 0) {
        thread_cond_wait(&c->changed, &c->mutex, left_ms);
    }
    r->over = r->over || c->stopping || c->reloaded;
    (void)pthread_mutex_unlock(&c->mutex);
}

static int64_t over_after_ms(const struct source_config *s)
{
    return s->api.after_ms < OVER_AFTER_MS ? s->api.after_ms : OVER_AFTER_MS;
}

static int look(struct round *r, bool *ret_more, struct errmsg *err)
{
    const struct source_api *api = &r->source->api;
    const struct inquiry_terms terms = {.silent_ms = api->after_ms,
                                        .over_ms = over_after_ms(r->source),
                                        .lease_ms = CLAIM_MAX * (api->timeout_ms + api->rate_per_ms / api->rate_count) +
                                                    LEASE_EXTRA_MS,
                                        .limit = CLAIM_MAX};
    struct arena *arena = arena_new();
    struct inquiry *due = NULL;
    size_t count = 0;
    int st = store_inquiry_claim(r->c->store, r->source->name, &terms, arena, &due, &count, err);

    *ret_more = st == ST_OK && count == CLAIM_MAX;
    for (size_t i = 0; i < count && st == ST_OK; i++) {
        struct arena *own = arena_new();

        if (r->over) { /* its turn comes another time */
            st = put_back(r, &due[i], err);
        } else if ((st = inquire(r, &due[i], own, err)) == ST_OK) {
            keep_pace(r);
        }
        arena_free(own);
    }
    *ret_more = *ret_more && !r->over;
    arena_free(arena);
    return st;
}

static int look_at_source(struct completer *c, struct config *config, const struct source_config *s, bool *ret_more,
                          struct errmsg *err)
{
    struct round r = {.c = c, .config = config, .source = s};
    char fingerprint[CONFIG_FINGERPRINT_BYTES];
    int64_t wait_ms = 0;
    int st;

    config_api_fingerprint(s, fingerprint);
    st = store_api_beat(c->store, s->name, fingerprint, &wait_ms, err);
    if (st != ST_OK || wait_ms > 0) {
        return st;
    }
    if (s->api.answer && (st = jqvm_compile("answer", s->api.answer, &r.shape, err)) != ST_OK) {
        return st; /* it compiled when the configuration was loaded */
    }
    st = look(&r, ret_more, err);
    jqvm_free(r.shape);
    return st;
}

/* Returns how long nothing has to be done; -1: until the configuration changes. */
static int64_t look_at_all(struct completer *c, struct config *config)
{
    int64_t wait_ms = -1;

    for (size_t i = 0; i < config->source_count && !is_stopping(c); i++) {
        const struct source_config *s = &config->sources[i];
        int64_t ms = s->api.after_ms / 4;
        struct errmsg err = {{0}};
        bool more = false;
        int st;

        if (!s->api.key) {
            continue;
        }
        st = look_at_source(c, config, s, &more, &err);
        if (st != ST_OK && !c->away) {
            log_error("incomplete runs cannot be looked for", "source", s->name, "error", err.text, NULL);
        }
        c->away = st != ST_OK;
        ms = ms < LOOK_MIN_MS ? LOOK_MIN_MS : ms > LOOK_MAX_MS ? LOOK_MAX_MS : ms;
        ms = more ? 0 : ms;
        wait_ms = wait_ms < 0 || ms < wait_ms ? ms : wait_ms;
    }
    return wait_ms;
}

static void *completer_main(void *arg)
{
    struct completer *c = arg;

    (void)pthread_mutex_lock(&c->mutex);
    while (!c->stopping) {
        struct config *config = config_ref(c->config);
        int64_t wait_ms;

        c->reloaded = false;
        (void)pthread_mutex_unlock(&c->mutex);
        wait_ms = look_at_all(c, config);
        config_unref(config);
        if (wait_ms < 0) { /* nothing to ask: nothing is held */
            store_disconnect(c->store);
        }
        (void)pthread_mutex_lock(&c->mutex);
        if (!c->stopping && !c->reloaded && wait_ms != 0) {
            thread_cond_wait(&c->changed, &c->mutex, wait_ms);
        }
    }
    (void)pthread_mutex_unlock(&c->mutex);
    store_disconnect(c->store);
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

struct completer *completer_new(struct config *config, void (*wake)(void *ctx), void *ctx)
{
    struct completer *c = mem_zalloc(sizeof *c);

    c->wake = wake;
    c->ctx = ctx;
    c->config = config_ref(config);
    c->store = store_new(config, "completer");
    c->http = httpc_new(1, "atsyncd/" ATSYNC_VERSION);
    (void)pthread_mutex_init(&c->mutex, NULL);
    thread_cond_init(&c->changed);
    c->requests =
        metric_counter("atsyncd_popp_api_requests_total",
                       "Requests for incomplete runs to Popp's API, by what the answer was.", "source,result");
    c->completed = metric_counter("atsyncd_popp_api_completed_runs_total", "Runs completed from Popp's API.", "source");
    return c;
}

int completer_start(struct completer *c, struct errmsg *err)
{
    int st = thread_start(&c->thread, "completer", completer_main, c, err);

    c->started = st == ST_OK;
    return st;
}

void completer_reload(struct completer *c, struct config *config)
{
    struct config *old;

    (void)pthread_mutex_lock(&c->mutex);
    old = c->config;
    c->config = config_ref(config);
    c->reloaded = true;
    (void)pthread_cond_signal(&c->changed);
    (void)pthread_mutex_unlock(&c->mutex);
    config_unref(old);
    store_reload(c->store, config);
}

void completer_stop(struct completer *c)
{
    (void)pthread_mutex_lock(&c->mutex);
    c->stopping = true;
    (void)pthread_cond_signal(&c->changed);
    (void)pthread_mutex_unlock(&c->mutex);
    httpc_wake(c->http);
}

void completer_join(struct completer *c)
{
    if (c->started) {
        (void)pthread_join(c->thread, NULL);
        c->started = false;
    }
}

void completer_free(struct completer *c)
{
    if (!c) {
        return;
    }
    if (c->started) {
        completer_stop(c);
        completer_join(c);
    }
    httpc_free(c->http);
    store_free(c->store);
    config_unref(c->config);
    (void)pthread_cond_destroy(&c->changed);
    (void)pthread_mutex_destroy(&c->mutex);
    mem_free(c);
}
