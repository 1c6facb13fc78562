#include "service/admin.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "lib/crypto.h"
#include "lib/httpd.h"
#include "lib/json.h"
#include "service/thread.h"
#include "store/store.h"

enum {
    BODY_MAX_BYTES = 4096, /* nobody has to send one */
    CONNECTIONS_MAX = 100,
    REQUEST_TIMEOUT_MS = 15000,
    READY_MAX_AGE_MS = 1000, /* so that many probes cost the database no more than one */
    METRICS_MAX_BYTES = 16 * 1024 * 1024,
    PAGE_MAX_BYTES = 1024 * 1024,
};

struct readiness {
    bool known;
    int64_t checked_ms;
    int status;
    struct errmsg reason;
};

struct waiting {
    struct httpd_request *request;
    struct waiting *next;
};

struct admin {
    struct httpd *httpd;
    admin_ready_fn is_ready;
    void *ctx;
    int64_t started_us; /* wall clock */
    int64_t started_ms;
    pthread_t worker;
    bool started;

    pthread_mutex_t mutex; /* guards the block */
    pthread_cond_t changed;
    struct config *config;
    struct waiting *first, **last;
    bool stopping;

    /* the worker's own */
    struct store *store;
    struct readiness ready;
};

/* ---- what the worker answers */

static const struct readiness *check_readiness(struct admin *a)
{
    struct readiness *r = &a->ready;

    if (r->known && clock_mono_ms() - r->checked_ms < READY_MAX_AGE_MS) {
        return r;
    }
    r->status = store_schema_check(a->store, &r->reason);
    if (r->status == ST_OK) {
        r->status = a->is_ready(a->ctx, &r->reason);
    }
    r->checked_ms = clock_mono_ms();
    r->known = true;
    return r;
}

static void respond_json(struct httpd_request *req, unsigned status, struct json *j)
{
    char *text = json_text(j);

    httpd_respond(req, status, "application/json", text, strlen(text));
    mem_free(text);
    json_free(j);
}

static void answer_readyz(struct admin *a, struct httpd_request *req)
{
    const struct readiness *r = check_readiness(a);
    struct json *j = json_object();

    json_set_str(j, "status", r->status == ST_OK ? "ready" : "unavailable");
    if (r->status != ST_OK) {
        json_set_str(j, "reason", r->reason.text);
    }
    respond_json(req, r->status == ST_OK ? 200 : 503, j);
}

static struct json *status_of(struct admin *a)
{
    const struct readiness *r = check_readiness(a);
    struct json *j = json_object();

    json_set_str(j, "version", ATSYNC_VERSION);
    (void)pthread_mutex_lock(&a->mutex);
    json_set_str(j, "instance", a->config->instance);
    (void)pthread_mutex_unlock(&a->mutex);
    json_set_int(j, "uptime_seconds", (clock_mono_ms() - a->started_ms) / 1000);
    json_set_bool(j, "ready", r->status == ST_OK);
    if (r->status != ST_OK) {
        json_set_str(j, "reason", r->reason.text);
    }
    return j;
}

static void add_html(struct buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        switch (*s) {
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        default:
            buf_putc(out, *s);
        }
    }
}

static void add_row(struct buf *out, const char *name, const char *value)
{
    buf_puts(out, "<tr><th scope=\"row\">");
    add_html(out, name);
    buf_puts(out, "</th><td>");
    add_html(out, value);
    buf_puts(out, "</td></tr>\n");
}

static void answer_page(struct admin *a, struct httpd_request *req)
{
    static const char head[] =
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>atsyncd</title>\n<style>\n"
        "body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: "
        "#1d2733; background: #fff }\n"
        "h1 { font-size: 1.4rem } .ok { color: #17692f } .bad { color: #a4161a }\n"
        "table { border-collapse: collapse } th { text-align: left; font-weight: 600; padding: .3rem 2rem .3rem 0; "
        "vertical-align: top }\n"
        "td { padding: .3rem 0 }\n"
        "@media (prefers-color-scheme: dark) { body { color: #dce3ea; background: #14181d } .ok { color: #6fcf8b } "
        ".bad { color: #ff8a8a }"
        " a { color: #8ab8ff } }\n"
        "</style></head><body>\n<h1>atsyncd</h1>\n";
    struct json *status = status_of(a);
    bool ready = json_get_bool(status, "ready");
    int64_t uptime_s = 0;
    char uptime[64];
    struct buf out;

    (void)json_get_i64(status, "uptime_seconds", &uptime_s);
    (void)snprintf(uptime, sizeof uptime, "%lld d %02lld:%02lld:%02lld", (long long)(uptime_s / 86400),
                   (long long)(uptime_s / 3600 % 24), (long long)(uptime_s / 60 % 60), (long long)(uptime_s % 60));
    buf_init(&out, PAGE_MAX_BYTES);
    buf_puts(&out, head);
    buf_printf(&out, "<p class=\"%s\">%s</p>\n<table>\n", ready ? "ok" : "bad",
               ready ? "Ready: events are taken and stored."
                     : "Not ready: events are answered 503 and have to be sent again.");
    if (!ready) {
        add_row(&out, "Reason", json_get_str(status, "reason"));
    }
    add_row(&out, "Version", json_get_str(status, "version"));
    add_row(&out, "Instance", json_get_str(status, "instance"));
    add_row(&out, "Started", time_iso8601(a->started_us).s);
    add_row(&out, "Up for", uptime);
    buf_puts(
        &out,
        "</table>\n<p><a href=\"/api/status\">As JSON</a>, <a href=\"/metrics\">metrics</a></p>\n</body></html>\n");
    httpd_respond(req, 200, "text/html; charset=utf-8", buf_text(&out), out.len);
    buf_free(&out);
    json_free(status);
}

static void answer_status(struct admin *a, struct httpd_request *req)
{
    respond_json(req, 200, status_of(a));
}

/* ---- what the HTTP thread answers */

static void answer_healthz(struct admin *a, struct httpd_request *req)
{
    (void)a;
    httpd_respond(req, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

static void answer_metrics(struct admin *a, struct httpd_request *req)
{
    struct buf out;

    (void)a;
    buf_init(&out, METRICS_MAX_BYTES);
    metrics_render(&out);
    if (out.failed) {
        httpd_problem(req, 500, "Internal Server Error", "There are more metrics than can be shown.");
    } else {
        httpd_respond(req, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&out), out.len);
    }
    buf_free(&out);
}

static const struct route {
    const char *path;
    void (*answer)(struct admin *a, struct httpd_request *req);
    bool open;     /* for probes, which have no token */
    bool database; /* may wait for it: the worker's */
} routes[] = {
    {"/healthz", answer_healthz, true, false},   {"/readyz", answer_readyz, true, true},
    {"/metrics", answer_metrics, false, false},  {"/", answer_page, false, true},
    {"/api/status", answer_status, false, true},
};

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < ATS_COUNT(routes); i++) {
        if (text_eq(routes[i].path, path)) {
            return &routes[i];
        }
    }
    return NULL;
}

/* The digests are compared, so that neither length nor place of a difference shows in the time. */
static bool token_fits(struct admin *a, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    uint8_t wanted[CRYPTO_SHA256_BYTES], given[CRYPTO_SHA256_BYTES];
    bool needed;

    (void)pthread_mutex_lock(&a->mutex);
    needed = a->config->admin.token != NULL;
    if (needed) {
        crypto_sha256(a->config->admin.token, strlen(a->config->admin.token), wanted);
    }
    (void)pthread_mutex_unlock(&a->mutex);
    if (!needed) {
        return true;
    }
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) {
        return false;
    }
    authorization += sizeof scheme - 1;
    crypto_sha256(authorization, strlen(authorization), given);
    return crypto_equal(wanted, given, sizeof wanted);
}

static void on_check(void *ctx, struct httpd_request *req)
{
    struct admin *a = ctx;
    const struct route *route = find_route(httpd_path(req));
    unsigned count = 0;
    const char *authorization = httpd_header(req, "Authorization", &count);

    httpd_add_header(req, "Cache-Control", "no-store");
    httpd_add_header(req, "X-Content-Type-Options", "nosniff");
    httpd_add_header(req, "Content-Security-Policy",
                     "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'");
    if (!(route && route->open) && !token_fits(a, count == 1 ? authorization : NULL)) {
        log_warn("admin request without the token", "peer", httpd_peer(req), "request", httpd_request_id(req), "path",
                 route ? route->path : NULL, NULL);
        httpd_add_header(req, "WWW-Authenticate", "Bearer");
        httpd_problem(req, 401, "Unauthorized", "admin.token is required as a bearer token.");
    } else if (!route) {
        httpd_problem(req, 404, "Not Found", "There are /, /api/status, /metrics, /healthz and /readyz.");
    } else if (!text_eq(httpd_method(req), "GET") && !text_eq(httpd_method(req), "HEAD")) {
        httpd_add_header(req, "Allow", "GET, HEAD");
        httpd_problem(req, 405, "Method Not Allowed", "Everything here is read with GET.");
    }
}

static void on_too_large(void *ctx, struct httpd_request *req)
{
    (void)ctx;
    httpd_problem(req, 413, "Content Too Large", "No request here has a body.");
}

static void on_request(void *ctx, struct httpd_request *req)
{
    struct admin *a = ctx;
    const struct route *route = find_route(httpd_path(req));
    struct waiting *waiting;

    if (!route->database) {
        route->answer(a, req);
        return;
    }
    waiting = mem_zalloc(sizeof *waiting);
    waiting->request = req;
    (void)pthread_mutex_lock(&a->mutex);
    *a->last = waiting;
    a->last = &waiting->next;
    (void)pthread_cond_signal(&a->changed);
    (void)pthread_mutex_unlock(&a->mutex);
}

/* ---- the worker */

/* All that wait, in their order; NULL at the end. */
static struct waiting *wait_for_requests(struct admin *a)
{
    struct waiting *all;

    (void)pthread_mutex_lock(&a->mutex);
    while (!a->first && !a->stopping) {
        thread_cond_wait(&a->changed, &a->mutex, -1);
    }
    all = a->first;
    a->first = NULL;
    a->last = &a->first;
    (void)pthread_mutex_unlock(&a->mutex);
    return all;
}

static void *worker_main(void *arg)
{
    struct admin *a = arg;
    struct waiting *w;

    while ((w = wait_for_requests(a)) != NULL) {
        while (w) {
            struct waiting *next = w->next;

            find_route(httpd_path(w->request))->answer(a, w->request);
            mem_free(w);
            w = next;
        }
        httpd_wake(a->httpd);
    }
    store_disconnect(a->store);
    return NULL;
}

/* ---- life */

static void set_process_gauges(const struct admin *a)
{
    metric_set(metric_gauge("atsyncd_build_info", "Which release this is; always 1.", "version"), 1, ATSYNC_VERSION,
               NULL, NULL, NULL);
    metric_set(metric_gauge("atsyncd_start_time_seconds", "When the daemon was started, in seconds since 1970.", ""),
               (double)a->started_us / 1e6, NULL, NULL, NULL, NULL);
}

int admin_new(struct config *c, admin_ready_fn ready, void *ctx, struct admin **ret, struct errmsg *err)
{
    struct admin *a;
    struct httpd_handlers handlers = {.check = on_check, .too_large = on_too_large, .handle = on_request};
    const struct httpd_config http = {
        .listen = c->admin.listen,
        .body_max_bytes = BODY_MAX_BYTES,
        .connections_max = CONNECTIONS_MAX,
        .request_timeout_ms = REQUEST_TIMEOUT_MS,
        .thread_name = "admin",
    };
    int st;

    if (!c->admin.listen) {
        *ret = NULL;
        return ST_OK;
    }
    a = mem_zalloc(sizeof *a);
    a->is_ready = ready;
    a->ctx = ctx;
    handlers.ctx = a;
    (void)pthread_mutex_init(&a->mutex, NULL);
    thread_cond_init(&a->changed);
    a->last = &a->first;
    a->started_us = clock_wall_us();
    a->started_ms = clock_mono_ms();
    a->config = config_ref(c);
    a->store = store_new(c, "admin");
    st = httpd_new(&http, &handlers, &a->httpd, err);
    if (st != ST_OK) {
        err_prefix(err, st, "admin");
        admin_free(a);
        return st;
    }
    set_process_gauges(a);
    *ret = a;
    return ST_OK;
}

int admin_start(struct admin *a, struct errmsg *err)
{
    int st;

    if (!a) {
        return ST_OK;
    }
    st = thread_start(&a->worker, "admin-worker", worker_main, a, err);
    a->started = st == ST_OK;
    return st == ST_OK ? httpd_start(a->httpd, err) : st;
}

void admin_reload(struct admin *a, struct config *c)
{
    struct config *old;

    if (!a) {
        return;
    }
    (void)pthread_mutex_lock(&a->mutex);
    old = a->config;
    a->config = config_ref(c);
    (void)pthread_mutex_unlock(&a->mutex);
    config_unref(old);
    store_reload(a->store, c);
}

unsigned admin_port(const struct admin *a)
{
    return a ? httpd_port(a->httpd) : 0;
}

void admin_stop(struct admin *a)
{
    if (a) {
        httpd_stop(a->httpd);
    }
}

void admin_join(struct admin *a)
{
    if (!a) {
        return;
    }
    httpd_join(a->httpd); /* first: requests that wait are still answered */
    (void)pthread_mutex_lock(&a->mutex);
    a->stopping = true;
    (void)pthread_cond_signal(&a->changed);
    (void)pthread_mutex_unlock(&a->mutex);
    if (a->started) {
        (void)pthread_join(a->worker, NULL);
        a->started = false;
    }
}

void admin_free(struct admin *a)
{
    if (!a) {
        return;
    }
    if (a->httpd) {
        admin_stop(a);
        admin_join(a);
    }
    httpd_free(a->httpd);
    store_free(a->store);
    config_unref(a->config);
    (void)pthread_cond_destroy(&a->changed);
    (void)pthread_mutex_destroy(&a->mutex);
    mem_free(a);
}
