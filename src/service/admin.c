#include "service/admin.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "lib/httpd.h"
#include "lib/json.h"
#include "service/gate.h"
#include "service/page.h"
#include "service/report.h"
#include "service/thread.h"
#include "store/store.h"

enum {
    BODY_MAX_BYTES = 4096, /* a token is the longest that has to be sent */
    CONNECTIONS_MAX = 100,
    REQUEST_TIMEOUT_MS = 15000,
    READY_MAX_AGE_MS = 1000, /* so that many probes cost the database no more than one */
    METRICS_MAX_BYTES = 16 * 1024 * 1024,
    PAGE_MAX_BYTES = 8 * 1024 * 1024,
    WORDS_MAX_BYTES = 400,
};

struct readiness {
    bool known;
    int64_t checked_ms;
    int status;
    struct errmsg reason;
};

struct waiting {
    const struct route *route;
    struct httpd_request *request;
    struct waiting *next;
};

/* A thread with a database connection of its own, for requests that may wait for the database. Probes have one and the
 * page another, so that a long list does not make the daemon look dead. */
struct worker {
    struct admin *admin;
    pthread_t thread;
    bool started;
    pthread_cond_t changed;
    struct waiting *first, **last; /* guarded by the admin's mutex */
};
enum { WORKER_PROBE, WORKER_PAGE, WORKER_COUNT };

struct admin {
    struct httpd *httpd;
    admin_ready_fn is_ready;
    void *ctx;
    int64_t started_us; /* wall clock */
    struct gate *gate;

    pthread_mutex_t mutex; /* guards the block and the workers' queues */
    struct config *config;
    struct connector_set *connectors;
    struct readiness ready;
    bool stopping;

    struct worker workers[WORKER_COUNT];
    struct store *store;   /* the probes' */
    struct report *report; /* the page's */
};

/* ---- what probes are told (their worker) */

static void look_whether_ready(struct admin *a, struct readiness *r)
{
    r->status = store_schema_check(a->store, &r->reason);
    if (r->status == ST_OK) {
        r->status = a->is_ready(a->ctx, &r->reason);
    }
    r->checked_ms = clock_mono_ms();
    r->known = true;
}

static void respond_json(struct httpd_request *req, unsigned status, const struct json *j)
{
    char *text = json_text(j);

    httpd_respond(req, status, "application/json", text, strlen(text));
    mem_free(text);
}

static void answer_readyz(struct admin *a, struct httpd_request *req)
{
    struct json *j = json_object();
    struct readiness r;

    (void)pthread_mutex_lock(&a->mutex);
    r = a->ready;
    (void)pthread_mutex_unlock(&a->mutex);
    if (!r.known || clock_mono_ms() - r.checked_ms >= READY_MAX_AGE_MS) {
        look_whether_ready(a, &r);
        (void)pthread_mutex_lock(&a->mutex);
        a->ready = r;
        (void)pthread_mutex_unlock(&a->mutex);
    }
    json_set_str(j, "status", r.status == ST_OK ? "ready" : "unavailable");
    if (r.status != ST_OK) {
        json_set_str(j, "reason", r.reason.text);
    }
    respond_json(req, r.status == ST_OK ? 200 : 503, j);
    json_free(j);
}

/* ---- what the page shows (its worker) */

/* The settings in use; released by drop. */
struct settings {
    struct config *config;
    struct connector_set *connectors;
};

static struct settings take(struct admin *a)
{
    struct settings s;

    (void)pthread_mutex_lock(&a->mutex);
    s = (struct settings){config_ref(a->config), connector_set_ref(a->connectors)};
    (void)pthread_mutex_unlock(&a->mutex);
    return s;
}

static void drop(const struct settings *s)
{
    config_unref(s->config);
    connector_set_unref(s->connectors);
}

static const struct json *status_of(struct admin *a, const struct settings *s)
{
    struct errmsg reason;
    bool ready = a->is_ready(a->ctx, &reason) == ST_OK;

    return report_status(a->report, &(struct report_about){.config = s->config,
                                                           .connectors = s->connectors,
                                                           .started_us = a->started_us,
                                                           .ready = ready,
                                                           .reason = ready ? NULL : reason.text});
}

static struct page_about page_about(struct admin *a, const struct settings *s)
{
    return (struct page_about){.may_log_out = gate_needs_token(a->gate),
                               .show_personal = s->config->admin.show_personal};
}

static void respond_page(struct httpd_request *req, unsigned status, const struct buf *page)
{
    if (page->failed) {
        httpd_problem(req, 500, "Internal Server Error", "There is more than can be shown on a page.");
    } else {
        httpd_respond(req, status, "text/html; charset=utf-8", buf_text(page), page->len);
    }
}

static void answer_page(struct admin *a, struct httpd_request *req)
{
    struct settings s = take(a);
    struct page_about about = page_about(a, &s);
    const struct json *status = status_of(a, &s);
    const struct json *hours = NULL;
    struct errmsg err;
    struct buf page;

    if (json_get_bool(status, "ready") && report_hours(a->report, &hours, &err) != ST_OK) {
        hours = NULL;
    }
    buf_init(&page, PAGE_MAX_BYTES);
    page_status(&page, status, hours, &about);
    respond_page(req, 200, &page);
    buf_free(&page);
    drop(&s);
}

static void answer_status(struct admin *a, struct httpd_request *req)
{
    struct settings s = take(a);

    respond_json(req, 200, status_of(a, &s));
    drop(&s);
}

static void respond_unavailable(struct httpd_request *req, const char *reason)
{
    httpd_add_header(req, "Retry-After", "5");
    httpd_problem(req, 503, "Service Unavailable", reason);
}

static void answer_activity(struct admin *a, struct httpd_request *req)
{
    const struct json *activity;
    struct errmsg err;

    if (report_activity(a->report, &activity, &err) == ST_OK) {
        respond_json(req, 200, activity);
    } else {
        respond_unavailable(req, err.text);
    }
}

/* What is looked for; NULL if it cannot be anybody's name. */
static const char *words_of(const struct httpd_request *req)
{
    const char *words = httpd_query(req, "id");

    return words && words[0] != '\0' && strlen(words) <= WORDS_MAX_BYTES && text_is_utf8(words, strlen(words)) ? words
                                                                                                               : NULL;
}

static void tell_who_looked(const struct httpd_request *req, const struct json *candidate)
{
    if (json_get_bool(candidate, "personal") && json_get_str(candidate, "id")) {
        log_info("personal data shown", "candidate", json_get_str(candidate, "id"), "peer", httpd_peer(req), "request",
                 httpd_request_id(req), NULL);
    }
}

/* Personal data only after somebody has pressed the button, which sends a POST. */
static void answer_candidate(struct admin *a, struct httpd_request *req)
{
    struct settings s = take(a);
    struct page_about about = page_about(a, &s);
    const char *words = words_of(req);
    bool personal = about.show_personal && text_eq(httpd_method(req), "POST");
    const struct json *candidate = NULL;
    struct errmsg err;
    struct buf page;
    unsigned status = 200;

    buf_init(&page, PAGE_MAX_BYTES);
    if (!words) {
        page_failure(&page, s.config->instance, NULL, "The address lacks the id of a candidate.", &about);
        status = 400;
    } else if (report_candidate(a->report, s.config, words, personal, &candidate, &err) != ST_OK) {
        page_failure(&page, s.config->instance, words, err.text, &about);
        status = 503;
    } else {
        page_candidate(&page, candidate, s.config->instance, &about);
        tell_who_looked(req, candidate);
        status = json_get_str(candidate, "id") ? 200 : 404;
    }
    respond_page(req, status, &page);
    buf_free(&page);
    drop(&s);
}

static void answer_candidate_json(struct admin *a, struct httpd_request *req)
{
    struct settings s = take(a);
    const char *words = words_of(req);
    bool personal = text_eq(httpd_query(req, "personal"), "1");
    const struct json *candidate = NULL;
    struct errmsg err;

    if (!words) {
        httpd_problem(req, 400, "Bad Request", "id is required: of a candidate in the ATS, a profile or a run.");
    } else if (personal && !s.config->admin.show_personal) {
        httpd_problem(req, 403, "Forbidden", "admin.show_personal is off.");
    } else if (report_candidate(a->report, s.config, words, personal, &candidate, &err) != ST_OK) {
        respond_unavailable(req, err.text);
    } else {
        tell_who_looked(req, candidate);
        respond_json(req, json_get_str(candidate, "id") ? 200 : 404, candidate);
    }
    drop(&s);
}

/* ---- what the HTTP thread answers */

static void answer_healthz(struct admin *a, struct httpd_request *req)
{
    (void)a;
    httpd_respond(req, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

/* What the system knows about this process; where it does not tell, there is none. */
static void set_process_metrics(void)
{
    struct metric *cpu =
        metric_counter("atsyncd_process_cpu_seconds_total", "Processor time used, user and system.", "");
    struct rusage usage;
    FILE *f = fopen("/proc/self/statm", "re");
    long long size, resident;

    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;

        metric_add(cpu, seconds - metric_sum(cpu, NULL, NULL), NULL, NULL, NULL, NULL);
    }
    /* the kernel's own figures. NOLINTNEXTLINE(cert-err34-c) */
    if (f && fscanf(f, "%lld %lld", &size, &resident) == 2) {
        metric_set(metric_gauge("atsyncd_process_resident_memory_bytes", "Memory in use.", ""),
                   (double)resident * (double)sysconf(_SC_PAGESIZE), NULL, NULL, NULL, NULL);
    }
    if (f) {
        (void)fclose(f);
    }
}

static void answer_metrics(struct admin *a, struct httpd_request *req)
{
    struct buf out;

    (void)a;
    set_process_metrics();
    buf_init(&out, METRICS_MAX_BYTES);
    metrics_render(&out);
    if (out.failed) {
        httpd_problem(req, 500, "Internal Server Error", "There are more metrics than can be shown.");
    } else {
        httpd_respond(req, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&out), out.len);
    }
    buf_free(&out);
}

static void answer_file(struct httpd_request *req, const char *name, const char *type)
{
    const char *text = page_file(name);

    httpd_respond(req, 200, type, text, strlen(text));
}

static void answer_css(struct admin *a, struct httpd_request *req)
{
    (void)a;
    answer_file(req, "status.css", "text/css; charset=utf-8");
}

static void answer_js(struct admin *a, struct httpd_request *req)
{
    (void)a;
    answer_file(req, "status.js", "text/javascript; charset=utf-8");
}

static void answer_icon(struct admin *a, struct httpd_request *req)
{
    (void)a;
    answer_file(req, "favicon.svg", "image/svg+xml");
}

/* ---- sessions */

static void respond_login(struct httpd_request *req, unsigned status, const char *message)
{
    struct buf page;

    buf_init(&page, PAGE_MAX_BYTES);
    page_login(&page, message);
    respond_page(req, status, &page);
    buf_free(&page);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* A member of a form as browsers send it (application/x-www-form-urlencoded); NULL if it is not there. mem_free. */
static char *form_value(const char *body, const char *name)
{
    size_t name_len = strlen(name);

    for (const char *at = body; *at != '\0';) {
        size_t len = strcspn(at, "&");

        if (len > name_len && strncmp(at, name, name_len) == 0 && at[name_len] == '=') {
            const char *from = at + name_len + 1, *end = at + len;
            char *value = mem_strndup(from, (size_t)(end - from));
            char *to = value;

            while (from < end) {
                if (*from == '%' && end - from > 2 && hex_digit(from[1]) >= 0 && hex_digit(from[2]) >= 0) {
                    *to++ = (char)(hex_digit(from[1]) * 16 + hex_digit(from[2]));
                    from += 3;
                } else {
                    *to++ = *from == '+' ? ' ' : *from;
                    from++;
                }
            }
            *to = '\0';
            return value;
        }
        at += len + (at[len] == '&');
    }
    return NULL;
}

static void set_session(struct httpd_request *req, const char *session, int seconds)
{
    /* behind a proxy that speaks TLS; a cookie marked so would be lost otherwise */
    bool secure = text_ieq(httpd_header(req, "X-Forwarded-Proto", NULL), "https");
    char *cookie = mem_printf(GATE_COOKIE "=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict%s", session, seconds,
                              secure ? "; Secure" : "");

    httpd_add_header(req, "Set-Cookie", cookie);
    mem_free(cookie);
}

static void answer_login(struct admin *a, struct httpd_request *req)
{
    char *token = form_value(httpd_body(req, NULL), "token");
    char session[GATE_SESSION_BYTES] = "";

    switch (gate_open_session(a->gate, token ? token : "", httpd_peer(req), clock_mono_ms(), session)) {
    case GATE_IN:
        log_info("signed in to the status page", "peer", httpd_peer(req), "request", httpd_request_id(req), NULL);
        set_session(req, session, GATE_SESSION_SECONDS);
        httpd_add_header(req, "Location", "./");
        httpd_respond(req, 303, NULL, "", 0);
        break;
    case GATE_TOO_MANY:
        httpd_add_header(req, "Retry-After", num_text(GATE_WAIT_SECONDS).s);
        respond_login(req, 429, "Too many wrong tokens. Wait a minute.");
        break;
    case GATE_NO_TOKEN:
    case GATE_WRONG:
    case GATE_WRONG_NAME:
    case GATE_FOREIGN:
        log_warn("wrong token for the status page", "peer", httpd_peer(req), "request", httpd_request_id(req), NULL);
        respond_login(req, 401, "This is not the token.");
        break;
    }
    mem_free(token);
}

static void answer_logout(struct admin *a, struct httpd_request *req)
{
    (void)a;
    set_session(req, "", 0);
    httpd_add_header(req, "Location", "./");
    httpd_respond(req, 303, NULL, "", 0);
}

/* ---- routes */

enum access {
    OPEN,    /* for probes, and what the sign-in page is made of: tells nothing */
    SIGN_IN, /* takes a token itself */
    GUARDED,
};
enum where { AT_ONCE = WORKER_COUNT }; /* else the worker's number */

static const struct route {
    const char *path;
    void (*answer)(struct admin *a, struct httpd_request *req);
    enum access access;
    unsigned where;
    const char *methods; /* GET brings HEAD along */
} routes[] = {
    {"/healthz", answer_healthz, OPEN, AT_ONCE, "GET"},
    {"/readyz", answer_readyz, OPEN, WORKER_PROBE, "GET"},
    {"/metrics", answer_metrics, GUARDED, AT_ONCE, "GET"},
    {"/", answer_page, GUARDED, WORKER_PAGE, "GET"},
    {"/candidate", answer_candidate, GUARDED, WORKER_PAGE, "GET POST"},
    {"/api/status", answer_status, GUARDED, WORKER_PAGE, "GET"},
    {"/api/activity", answer_activity, GUARDED, WORKER_PAGE, "GET"},
    {"/api/candidate", answer_candidate_json, GUARDED, WORKER_PAGE, "GET"},
    {"/login", answer_login, SIGN_IN, AT_ONCE, "POST"},
    {"/logout", answer_logout, SIGN_IN, AT_ONCE, "POST"},
    {"/status.css", answer_css, OPEN, AT_ONCE, "GET"},
    {"/status.js", answer_js, OPEN, AT_ONCE, "GET"},
    {"/favicon.svg", answer_icon, OPEN, AT_ONCE, "GET"},
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

static bool takes(const struct route *route, const char *method)
{
    return text_eq(method, "POST")
               ? strstr(route->methods, "POST") != NULL
               : (text_eq(method, "GET") || text_eq(method, "HEAD")) && strstr(route->methods, "GET");
}

/* ---- who may */

static const char *only_header(const struct httpd_request *req, const char *name)
{
    unsigned count = 0;
    const char *value = httpd_header(req, name, &count);

    return count == 1 ? value : NULL;
}

static enum gate_verdict ask_gate(struct admin *a, const struct httpd_request *req, const struct route *route)
{
    const struct gate_request r = {
        .method = httpd_method(req),
        .host = only_header(req, "Host"),
        .authorization = only_header(req, "Authorization"),
        .cookie = only_header(req, "Cookie"),
        .origin = only_header(req, "Origin"),
        .fetch_site = only_header(req, "Sec-Fetch-Site"),
        .fetch_mode = only_header(req, "Sec-Fetch-Mode"),
        .fetch_dest = only_header(req, "Sec-Fetch-Dest"),
        .peer = httpd_peer(req),
    };

    if (route && route->access == OPEN) {
        return GATE_IN;
    }
    return route && route->access == SIGN_IN ? gate_check_origin(a->gate, &r)
                                             : gate_check(a->gate, &r, clock_mono_ms());
}

/* Somebody with a browser gets a form, everybody else a problem document. */
static void ask_for_token(struct httpd_request *req, bool wrong)
{
    const char *accept = httpd_header(req, "Accept", NULL);

    httpd_add_header(req, "WWW-Authenticate", "Bearer");
    if (accept && strstr(accept, "text/html") && !httpd_header(req, "Authorization", NULL)) {
        respond_login(req, 401, wrong ? "The session has ended." : NULL);
    } else {
        httpd_problem(req, 401, "Unauthorized", "admin.token is required as a bearer token.");
    }
}

/* False: it has been refused. */
static bool let_in(struct admin *a, struct httpd_request *req, const struct route *route)
{
    enum gate_verdict v = ask_gate(a, req, route);

    switch (v) {
    case GATE_IN:
        return true;
    case GATE_NO_TOKEN:
        ask_for_token(req, false);
        break;
    case GATE_WRONG:
        log_warn("admin request with a wrong token", "peer", httpd_peer(req), "request", httpd_request_id(req), "path",
                 route ? route->path : NULL, NULL);
        ask_for_token(req, true);
        break;
    case GATE_TOO_MANY:
        httpd_add_header(req, "Retry-After", num_text(GATE_WAIT_SECONDS).s);
        httpd_problem(req, 429, "Too Many Requests", "Too many wrong tokens came from this address.");
        break;
    case GATE_WRONG_NAME:
        httpd_problem(req, 421, "Misdirected Request",
                      "Without a token this is only shown under localhost or an address. Set admin.token to use "
                      "another name.");
        break;
    case GATE_FOREIGN:
        httpd_problem(req, 403, "Forbidden", "Other sites may not ask here.");
        break;
    }
    return false;
}

static void add_headers(struct httpd_request *req)
{
    static const char *const headers[][2] = {
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action "
         "'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"},
    };

    for (size_t i = 0; i < ATS_COUNT(headers); i++) {
        httpd_add_header(req, headers[i][0], headers[i][1]);
    }
}

static void on_check(void *ctx, struct httpd_request *req)
{
    struct admin *a = ctx;
    const struct route *route = find_route(httpd_path(req));

    add_headers(req);
    if (!let_in(a, req, route)) {
        return;
    }
    if (!route) {
        httpd_problem(req, 404, "Not Found",
                      "There are /, /candidate, /api/status, /api/activity, /api/candidate, /metrics, /healthz and "
                      "/readyz.");
    } else if (!takes(route, httpd_method(req))) {
        httpd_add_header(req, "Allow",
                         text_eq(route->methods, "GET")    ? "GET, HEAD"
                         : text_eq(route->methods, "POST") ? "POST"
                                                           : "GET, HEAD, POST");
        httpd_problem(req, 405, "Method Not Allowed", "This is asked for in another way, see Allow.");
    }
}

static void on_too_large(void *ctx, struct httpd_request *req)
{
    (void)ctx;
    httpd_problem(req, 413, "Content Too Large", "No request here has so large a body.");
}

static void on_request(void *ctx, struct httpd_request *req)
{
    struct admin *a = ctx;
    const struct route *route = find_route(httpd_path(req));
    struct worker *worker;
    struct waiting *waiting;

    if (!route) {
        httpd_problem(req, 404, "Not Found", "There is no such page."); /* on_check has said so already */
        return;
    }
    if (route->where == AT_ONCE) {
        route->answer(a, req);
        return;
    }
    worker = &a->workers[route->where];
    waiting = mem_zalloc(sizeof *waiting);
    waiting->route = route;
    waiting->request = req;
    (void)pthread_mutex_lock(&a->mutex);
    *worker->last = waiting;
    worker->last = &waiting->next;
    (void)pthread_cond_signal(&worker->changed);
    (void)pthread_mutex_unlock(&a->mutex);
}

/* ---- the workers */

/* All that wait, in their order; NULL at the end. */
static struct waiting *wait_for_requests(struct worker *w)
{
    struct admin *a = w->admin;
    struct waiting *all;

    (void)pthread_mutex_lock(&a->mutex);
    while (!w->first && !a->stopping) {
        thread_cond_wait(&w->changed, &a->mutex, -1);
    }
    all = w->first;
    w->first = NULL;
    w->last = &w->first;
    (void)pthread_mutex_unlock(&a->mutex);
    return all;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct waiting *w;

    while ((w = wait_for_requests(worker)) != NULL) {
        while (w) {
            struct waiting *next = w->next;

            w->route->answer(worker->admin, w->request);
            httpd_wake(worker->admin->httpd);
            mem_free(w);
            w = next;
        }
    }
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

int admin_new(struct config *c, struct connector_set *connectors, admin_ready_fn ready, void *ctx, struct admin **ret,
              struct errmsg *err)
{
    struct admin *a;
    struct httpd_handlers handlers = {.check = on_check, .too_large = on_too_large, .handle = on_request};
    const struct httpd_config http = {
        .listen = c->admin.listen,
        .body_max_bytes = BODY_MAX_BYTES,
        .connections_max = CONNECTIONS_MAX,
        .close_after_refusal = true,
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
    for (unsigned i = 0; i < WORKER_COUNT; i++) {
        struct worker *w = &a->workers[i];

        w->admin = a;
        thread_cond_init(&w->changed);
        w->last = &w->first;
    }
    a->started_us = clock_wall_us();
    a->config = config_ref(c);
    a->connectors = connector_set_ref(connectors);
    a->gate = gate_new(c->admin.listen, c->admin.token);
    a->store = store_new(c, "admin");
    a->report = report_new(c);
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
    static const char *const names[WORKER_COUNT] = {"admin-probe", "admin-page"};

    if (!a) {
        return ST_OK;
    }
    for (unsigned i = 0; i < WORKER_COUNT; i++) {
        int st = thread_start(&a->workers[i].thread, names[i], worker_main, &a->workers[i], err);

        if (st != ST_OK) {
            return st;
        }
        a->workers[i].started = true;
    }
    return httpd_start(a->httpd, err);
}

void admin_reload(struct admin *a, struct config *c, struct connector_set *connectors)
{
    struct settings old;

    if (!a) {
        return;
    }
    gate_set_token(a->gate, c->admin.token);
    (void)pthread_mutex_lock(&a->mutex);
    old = (struct settings){a->config, a->connectors};
    a->config = config_ref(c);
    a->connectors = connector_set_ref(connectors);
    (void)pthread_mutex_unlock(&a->mutex);
    drop(&old);
    store_reload(a->store, c);
    report_reload(a->report, c);
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
    for (unsigned i = 0; i < WORKER_COUNT; i++) {
        (void)pthread_cond_signal(&a->workers[i].changed);
    }
    (void)pthread_mutex_unlock(&a->mutex);
    for (unsigned i = 0; i < WORKER_COUNT; i++) {
        if (a->workers[i].started) {
            (void)pthread_join(a->workers[i].thread, NULL);
            a->workers[i].started = false;
        }
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
    report_free(a->report);
    store_free(a->store);
    gate_free(a->gate);
    config_unref(a->config);
    connector_set_unref(a->connectors);
    for (unsigned i = 0; i < WORKER_COUNT; i++) {
        (void)pthread_cond_destroy(&a->workers[i].changed);
    }
    (void)pthread_mutex_destroy(&a->mutex);
    mem_free(a);
}
