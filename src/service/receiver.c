#include "service/receiver.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "domain/event.h"
#include "domain/signature.h"
#include "lib/crypto.h"
#include "lib/httpd.h"
#include "service/incoming.h"
#include "service/refusals.h"

enum { GRACE_MS = 500, GRACE_STEP_MS = 5 };

static const char retry_after_s[] = "5";
static const char unparsed[] = "unknown"; /* the type of what was refused before it was read */

/* What a reload replaces. Requests under way keep the one that they began with. */
struct rules {
    atomic_uint references;
    struct config *config;
    struct signature_verifier **verifiers; /* one for each source; used in the HTTP thread only */
    size_t verifier_count;
};

struct receiver {
    struct httpd *httpd;
    struct ingest *ingest;
    void (*wake_dispatcher)(void *ctx);
    void *wake_ctx;
    pthread_mutex_t mutex; /* guards rules, the pointer */
    struct rules *rules;
    struct refusals *refusals;
    struct arena *parsing; /* the event that is being looked at; of the thread that calls our handlers */
    struct metric *received;
    struct metric *connections;
    struct metric *dropped;
    struct metric *queued;
};

/* A request whose event waits for its commit; lives in its own arena. */
struct pending {
    struct ingest_item item;
    struct receiver *receiver;
    struct httpd_request *request;
    struct arena *arena;
    const char *type_label;
};

/* ---- rules */

static void rules_unref(struct rules *rules)
{
    if (!rules || atomic_fetch_sub(&rules->references, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < rules->verifier_count; i++) {
        signature_verifier_free(rules->verifiers[i]);
    }
    mem_free(rules->verifiers);
    config_unref(rules->config);
    mem_free(rules);
}

static int rules_new(struct config *c, struct rules **ret, struct errmsg *err)
{
    struct rules *rules = mem_zalloc(sizeof *rules);
    int st = ST_OK;

    atomic_init(&rules->references, 1);
    rules->config = config_ref(c);
    rules->verifiers = mem_array(c->source_count, sizeof *rules->verifiers);
    for (size_t i = 0; i < c->source_count; i++) {
        st = signature_verifier_new(&c->sources[i].signature, &rules->verifiers[i], err);
        if (st != ST_OK) {
            err_prefix(err, st, "sources.%s", c->sources[i].name);
            goto out;
        }
        rules->verifier_count++;
    }
    *ret = rules;
    rules = NULL;
out:
    rules_unref(rules);
    return st;
}

static struct rules *rules_take(struct receiver *r)
{
    struct rules *rules;

    (void)pthread_mutex_lock(&r->mutex);
    rules = r->rules;
    atomic_fetch_add(&rules->references, 1);
    (void)pthread_mutex_unlock(&r->mutex);
    return rules;
}

/* ---- answers */

static void respond_unavailable(struct httpd_request *req, const char *source, const char *detail)
{
    log_warn("event answered 503", "source", source, "peer", httpd_peer(req), "request", httpd_request_id(req),
             "reason", detail, NULL);
    httpd_add_header(req, "Retry-After", retry_after_s);
    httpd_problem(req, 503, "Service Unavailable", detail);
}

/* Told as 0 before the first comes: else a rule about silence would not see who has never sent anything. */
static void expect_events(const struct receiver *r, const struct config *c)
{
    for (size_t i = 0; i < c->source_count; i++) {
        for (size_t k = 0; event_type_known(k); k++) {
            if (text_starts(event_type_known(k), "WORKFLOW_")) {
                metric_add(r->received, 0, c->sources[i].name, event_type_known(k), "stored", NULL);
            }
        }
    }
}

static void count(const struct receiver *r, const char *source, const char *type_label, const char *result)
{
    metric_add(r->received, 1, source, type_label, result, NULL);
}

/* ---- connections (HTTP thread) */

static const struct {
    const char *label;
    const char *reason;
    const char *hint;
} drops[] = {
    [HTTPD_DROP_SLOW] = {"slow", "a request or the taking of its answer took too long",
                         "receiver.request_timeout is the time allowed"},
    [HTTPD_DROP_CROWDED] = {"crowded", "all places were taken and others waited",
                            "receiver.max_connections is the number of places"},
    [HTTPD_DROP_ADDRESS] = {"address", "its address has too many connections",
                            "receiver.max_connections_per_address is the limit"},
    [HTTPD_DROP_MEMORY] = {"memory", "the bodies of all requests together took too much memory",
                           "receiver.max_body_total is the limit"},
};

static void on_dropped(void *ctx, enum httpd_drop why, const char *peer)
{
    const struct receiver *r = ctx;

    metric_add(r->dropped, 1, drops[why].label, NULL, NULL, NULL);
    log_warn("connection dropped", "peer", peer, "reason", drops[why].reason, "hint", drops[why].hint, NULL);
}

/* ---- requests (HTTP thread) */

/* A sender that was set up wrongly learns it from the answer, and who runs this from the log. The path is not told: some
 * put a secret into theirs. */
static void tell_refused(const struct httpd_request *req, const char *source, const char *reason)
{
    log_warn("request refused", "source", source, "peer", httpd_peer(req), "request", httpd_request_id(req), "reason",
             reason, NULL);
}

static void refuse_unknown(struct httpd_request *req)
{
    tell_refused(req, NULL, "its path is not /webhooks/NAME with a source of the configuration");
    httpd_problem(req, 404, "Not Found", "Webhooks are taken at /webhooks/NAME, where NAME is a configured source.");
}

static void on_check(void *ctx, struct httpd_request *req)
{
    struct receiver *r = ctx;
    struct rules *rules = rules_take(r);
    const char *name = incoming_source(httpd_path(req));
    const char *content_type = httpd_header(req, "Content-Type", NULL);

    if (!name || !config_source(rules->config, name)) {
        refuse_unknown(req);
    } else if (!text_eq(httpd_method(req), "POST")) {
        tell_refused(req, name, "it was not sent with POST");
        httpd_add_header(req, "Allow", "POST");
        httpd_problem(req, 405, "Method Not Allowed", "Webhooks are sent with POST.");
    } else if (content_type && !incoming_is_json(content_type)) {
        tell_refused(req, name, "its Content-Type is not JSON");
        httpd_problem(req, 415, "Unsupported Media Type", "The body of a webhook is JSON (application/json).");
    }
    rules_unref(rules);
}

static void on_too_large(void *ctx, struct httpd_request *req)
{
    struct receiver *r = ctx;
    struct rules *rules = rules_take(r);
    const char *name = incoming_source(httpd_path(req));
    const struct source_config *source = name ? config_source(rules->config, name) : NULL;

    if (source) {
        count(r, source->name, unparsed, "too_large");
        log_warn("event too large", "source", source->name, "peer", httpd_peer(req), "request", httpd_request_id(req),
                 "max_bytes", num_text(rules->config->receiver.max_body_bytes).s, "hint",
                 "receiver.max_body may be raised", NULL);
    }
    httpd_problem(req, 413, "Content Too Large", "The event is larger than this receiver accepts.");
    rules_unref(rules);
}

static const char *header_of(void *request, const char *name, unsigned *ret_count)
{
    return httpd_header(request, name, ret_count);
}

/* Only for who looks for one event: thousands of them come in a second. */
static void tell_stored(const struct pending *p, const char *result)
{
    log_debug("event answered 200", "source", p->item.event.source, "type", p->type_label, "event",
              p->item.event.event_id, "result", result, "peer", httpd_peer(p->request), "request",
              httpd_request_id(p->request), NULL);
}

static void pending_free(void *p)
{
    struct pending *pending = p;

    arena_free(pending->arena);
}

/* From a writer thread, when the event is on disk or cannot be brought there. The request may be gone when this
 * returns. */
static void on_done(struct ingest_item *item, enum ingest_result result)
{
    static const char stored[] = "{\"status\":\"stored\"}";
    static const char duplicate[] = "{\"status\":\"duplicate\"}";
    const struct pending *p = item->user;

    switch (result) {
    case INGEST_STORED:
        count(p->receiver, item->event.source, p->type_label, "stored");
        tell_stored(p, "stored");
        httpd_respond(p->request, 200, "application/json", stored, sizeof stored - 1);
        break;
    case INGEST_DUPLICATE:
        count(p->receiver, item->event.source, p->type_label, "duplicate");
        tell_stored(p, "duplicate");
        httpd_respond(p->request, 200, "application/json", duplicate, sizeof duplicate - 1);
        break;
    case INGEST_ERASED:
        count(p->receiver, item->event.source, p->type_label, "erased");
        tell_stored(p, "erased");
        /* what is not kept is nothing new to the sender, who is not told who was erased */
        httpd_respond(p->request, 200, "application/json", duplicate, sizeof duplicate - 1);
        break;
    case INGEST_UNAVAILABLE:
        count(p->receiver, item->event.source, p->type_label, "unavailable");
        respond_unavailable(p->request, item->event.source, "The event could not be stored now. Send it again.");
        break;
    }
}

/* The event's signature and envelope are good: the answer comes from on_done, unless it cannot even be queued. */
static void submit(struct receiver *r, struct httpd_request *req, const struct event *e, const char *source,
                   const struct mapping *mapping)
{
    struct arena *arena = arena_new(); /* the request's, and perhaps gone with it when this returns */
    struct pending *p = arena_alloc(arena, sizeof *p);
    int st;

    p->receiver = r;
    p->request = req;
    p->arena = arena;
    p->type_label = arena_strdup(arena, event_type_label(e->type_name));
    p->item.done = on_done;
    p->item.user = p;
    incoming_event(e, arena_strdup(arena, source), mapping, arena, &p->item.event);
    p->item.event.connector = arena_strdup(arena, p->item.event.connector); /* the mapping may be replaced meanwhile */
    p->item.event.body = httpd_body(req, &p->item.event.body_len);
    httpd_set_user(req, p, pending_free);
    st = ingest_submit(r->ingest, &p->item);
    if (st != ST_OK) {
        count(r, p->item.event.source, p->type_label, "unavailable");
        respond_unavailable(req, p->item.event.source,
                            st == ST_LIMIT ? "Too many events are waiting to be stored. Send the event again."
                                           : "The event could not be stored now. Send it again.");
    }
}

/* How far the event's own time is ahead of this machine's clock; 0: it has none. */
static int64_t event_ahead_ms(const struct event *e, int64_t now_us)
{
    return e->time_us != EVENT_TIME_NONE ? (e->time_us - now_us) / 1000 : 0;
}

static void handle_body(struct receiver *r, struct httpd_request *req, const struct rules *rules,
                        const struct source_config *source)
{
    size_t len = 0;
    const char *body = httpd_body(req, &len);
    int64_t now_us = clock_wall_us();
    int64_t ahead_ms = 0;
    struct event e;
    struct errmsg err = {{0}};
    int st;

    if (signature_verify(rules->verifiers[source - rules->config->sources], header_of, req, body, len, now_us,
                         &ahead_ms, &err) != ST_OK) {
        count(r, source->name, unparsed, "unauthorized");
        refusals_count(r->refusals, source->name, ahead_ms != 0 ? REFUSAL_TIME : REFUSAL_SIGNATURE, ahead_ms,
                       clock_mono_ms());
        log_warn("signature rejected", "source", source->name, "peer", httpd_peer(req), "request",
                 httpd_request_id(req), "reason", err.text, NULL);
        httpd_problem(req, 401, "Unauthorized", NULL); /* a reason would only help who forges */
        return;
    }
    st = incoming_check(body, len, source, r->parsing, &e, &err);
    refusals_count(r->refusals, source->name, REFUSAL_NONE, st != ST_INVALID ? event_ahead_ms(&e, now_us) : 0,
                   clock_mono_ms());
    if (st == ST_INVALID) {
        count(r, source->name, unparsed, "invalid");
        log_warn("event refused", "source", source->name, "peer", httpd_peer(req), "request", httpd_request_id(req),
                 "reason", err.text, NULL);
        httpd_problem(req, 400, "Bad Request", err.text);
    } else if (st != ST_OK) {
        count(r, source->name, event_type_label(e.type_name), "forbidden");
        log_warn("event of another organization", "source", source->name, "peer", httpd_peer(req), "request",
                 httpd_request_id(req), "organization", e.organization_id ? e.organization_id : "(none)", "hint",
                 "sources.NAME.organizations lists those accepted", NULL);
        httpd_problem(req, 403, "Forbidden", "Events of this organization are not accepted here.");
    } else {
        submit(r, req, &e, source->name, &rules->config->mapping);
    }
    arena_reset(r->parsing);
}

static void on_request(void *ctx, struct httpd_request *req)
{
    struct receiver *r = ctx;
    struct rules *rules = rules_take(r);
    const struct source_config *source = config_source(rules->config, incoming_source(httpd_path(req)));

    if (source) {
        handle_body(r, req, rules, source);
    } else { /* a reload took it away while the body came in */
        refuse_unknown(req);
    }
    rules_unref(rules);
}

static void on_batch_done(void *ctx, bool any_stored)
{
    struct receiver *r = ctx;

    httpd_wake(r->httpd);
    if (any_stored && r->wake_dispatcher) {
        r->wake_dispatcher(r->wake_ctx);
    }
}

/* ---- life */

static struct httpd_config http_of(const struct config *c)
{
    return (struct httpd_config){
        .listen = c->receiver.listen,
        .body_max_bytes = (size_t)c->receiver.max_body_bytes,
        .bodies_max_bytes = (uint64_t)c->receiver.max_body_total_bytes,
        .connections_max = (unsigned)c->receiver.max_connections,
        .connections_per_address_max = (unsigned)c->receiver.max_connections_per_address,
        .request_timeout_ms = (int)c->receiver.request_timeout_ms,
        .tls_certificate_pem = c->receiver.tls_certificate_pem,
        .tls_key_pem = c->receiver.tls_key_pem,
        .close_after_refusal = true,
        .thread_name = "receiver",
    };
}

static bool same_http(const struct config *a, const struct config *b)
{
    return a->receiver.max_body_bytes == b->receiver.max_body_bytes &&
           a->receiver.max_body_total_bytes == b->receiver.max_body_total_bytes &&
           a->receiver.max_connections == b->receiver.max_connections &&
           a->receiver.max_connections_per_address == b->receiver.max_connections_per_address &&
           a->receiver.request_timeout_ms == b->receiver.request_timeout_ms &&
           text_eq(a->receiver.tls_certificate_pem, b->receiver.tls_certificate_pem) &&
           crypto_text_equal(a->receiver.tls_key_pem, b->receiver.tls_key_pem);
}

int receiver_new(struct config *c, void (*wake_dispatcher)(void *ctx), void *ctx, struct receiver **ret,
                 struct errmsg *err)
{
    struct receiver *r = mem_zalloc(sizeof *r);
    const struct httpd_handlers handlers = {
        .check = on_check, .too_large = on_too_large, .handle = on_request, .dropped = on_dropped, .ctx = r};
    const struct ingest_hooks hooks = {.batch_done = on_batch_done, .ctx = r};
    const struct httpd_config http = http_of(c);
    int st;

    (void)pthread_mutex_init(&r->mutex, NULL);
    r->refusals = refusals_new();
    r->parsing = arena_new();
    r->wake_dispatcher = wake_dispatcher;
    r->wake_ctx = ctx;
    r->received =
        metric_counter("atsyncd_events_received_total", "Events by what became of them.", "source,type,result");
    r->connections = metric_gauge("atsyncd_receiver_connections", "Open connections of senders.", "");
    r->dropped = metric_counter("atsyncd_receiver_dropped_connections_total",
                                "Connections of senders that were closed because of a limit.", "reason");
    for (size_t i = 0; i < ATS_COUNT(drops); i++) {
        metric_add(r->dropped, 0, drops[i].label, NULL, NULL, NULL);
    }
    r->queued = metric_gauge("atsyncd_ingest_queue_events", "Events that wait for their commit.", "");
    st = rules_new(c, &r->rules, err);
    if (st != ST_OK) {
        goto out;
    }
    st = httpd_new(&http, &handlers, &r->httpd, err);
    if (st != ST_OK) {
        err_prefix(err, st, "receiver");
        goto out;
    }
    expect_events(r, c);
    r->ingest = ingest_new(c, &hooks);
    *ret = r;
    r = NULL;
out:
    receiver_free(r);
    return st;
}

int receiver_start(struct receiver *r, struct errmsg *err)
{
    int st = ingest_start(r->ingest, err);

    return st == ST_OK ? httpd_start(r->httpd, err) : st;
}

int receiver_reload(struct receiver *r, struct config *c, struct errmsg *err)
{
    const struct httpd_config http = http_of(c);
    struct rules *rules = NULL;
    struct rules *old;
    int st = rules_new(c, &rules, err);

    if (st != ST_OK) {
        return st;
    }
    old = rules_take(r);
    st = same_http(old->config, c) ? ST_OK : httpd_reload(r->httpd, &http, err);
    rules_unref(old);
    if (st != ST_OK) {
        rules_unref(rules);
        return err_prefix(err, st, "receiver");
    }
    (void)pthread_mutex_lock(&r->mutex);
    old = r->rules;
    r->rules = rules;
    (void)pthread_mutex_unlock(&r->mutex);
    rules_unref(old);
    expect_events(r, c);
    ingest_reload(r->ingest, c);
    return ST_OK;
}

unsigned receiver_port(const struct receiver *r)
{
    return httpd_port(r->httpd);
}

enum ingest_state receiver_database(struct receiver *r, struct errmsg *ret_reason)
{
    return ingest_state(r->ingest, ret_reason);
}

size_t receiver_problems(struct receiver *r, struct problem *ret, size_t room)
{
    return refusals_problems(r->refusals, clock_mono_ms(), ret, room);
}

void receiver_refresh_gauges(struct receiver *r)
{
    metric_set(r->connections, (double)httpd_connections(r->httpd), NULL, NULL, NULL, NULL);
    metric_set(r->queued, (double)ingest_queued(r->ingest), NULL, NULL, NULL, NULL);
}

void receiver_stop(struct receiver *r)
{
    int64_t until_ms = clock_mono_ms() + GRACE_MS;
    const struct timespec step = {.tv_nsec = GRACE_STEP_MS * 1000000L};

    /* Requests that are on their way in are better answered than refused; connections without one are not waited for
     * long. */
    httpd_quiesce(r->httpd);
    while (httpd_connections(r->httpd) > 0 && clock_mono_ms() < until_ms) {
        (void)nanosleep(&step, NULL);
    }
    httpd_stop(r->httpd);
}

void receiver_join(struct receiver *r)
{
    httpd_join(r->httpd); /* first: it waits for the answers of what is queued */
    ingest_stop(r->ingest);
    ingest_join(r->ingest);
}

void receiver_free(struct receiver *r)
{
    if (!r) {
        return;
    }
    httpd_free(r->httpd);
    ingest_free(r->ingest);
    rules_unref(r->rules);
    refusals_free(r->refusals);
    arena_free(r->parsing);
    (void)pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}
