#include "lib/popp_stub.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "lib/httpd.h"

enum { HELD_MAX = 64, RUNS_MAX = 256 };

struct known_run {
    char *id;
    char *answer; /* NULL: only asked for so far */
    unsigned asked;
};

struct popp_stub {
    struct httpd *http;
    pthread_mutex_t lock;
    struct popp_rules rules;
    struct popp_figures figures;
    struct known_run runs[RUNS_MAX];
    unsigned run_count;
    struct httpd_request *held[HELD_MAX];
};

static void answer(struct httpd_request *req, int status, const char *body)
{
    httpd_respond(req, (unsigned)status, "application/json", body, strlen(body));
}

/* With the lock. */
static struct known_run *run_of(struct popp_stub *s, const char *id)
{
    for (unsigned i = 0; i < s->run_count; i++) {
        if (strcmp(s->runs[i].id, id) == 0)
            return &s->runs[i];
    }
    if (s->run_count == RUNS_MAX)
        abort();
    s->runs[s->run_count] = (struct known_run){.id = mem_strdup(id)};
    return &s->runs[s->run_count++];
}

static bool is_let_in(const struct popp_stub *s, const struct httpd_request *req)
{
    return text_eq(httpd_header(req, "x-api-key", NULL), s->rules.key != NULL ? s->rules.key : POPP_KEY) &&
           text_eq(httpd_header(req, "x-organization-id", NULL), POPP_ORGANIZATION);
}

static void on_check(void *ctx, struct httpd_request *req)
{
    (void)ctx;
    (void)req;
}

static void on_too_large(void *ctx, struct httpd_request *req)
{
    (void)ctx;
    answer(req, 413, "{}");
}

static void on_run(struct popp_stub *s, struct httpd_request *req, const char *id)
{
    struct known_run *run = run_of(s, id);

    s->figures.requests++;
    run->asked++;
    if (s->rules.hang && s->figures.held < HELD_MAX) {
        s->held[s->figures.held++] = req;
        return;
    }
    if (s->rules.status != 0) {
        if (s->rules.retry_after != NULL)
            httpd_add_header(req, "Retry-After", s->rules.retry_after);
        answer(req, s->rules.status, s->rules.body != NULL ? s->rules.body : "{\"message\":\"as the rules say\"}");
    } else if (!is_let_in(s, req)) {
        s->figures.refused++;
        answer(req, 401, "{\"message\":\"Unauthorized\"}");
    } else if (s->rules.body != NULL) {
        answer(req, 200, s->rules.body);
    } else if (run->answer != NULL) {
        answer(req, 200, run->answer);
    } else {
        answer(req, 404, "{\"message\":\"no such run\"}");
    }
}

static void on_request(void *ctx, struct httpd_request *req)
{
    static const char runs[] = "/v1/workflow-runs/";
    struct popp_stub *s = ctx;
    const char *path = httpd_path(req);

    (void)pthread_mutex_lock(&s->lock);
    if (!text_eq(httpd_method(req), "GET")) {
        answer(req, 405, "{}");
    } else if (text_starts(path, runs)) {
        on_run(s, req, path + sizeof runs - 1);
    } else {
        s->figures.probes++;
        answer(req, !is_let_in(s, req) ? 401 : text_starts(path, "/v1/candidate-profiles/") ? 404 : 400, "{}");
    }
    (void)pthread_mutex_unlock(&s->lock);
}

struct popp_stub *popp_stub_start(void)
{
    struct popp_stub *s = mem_zalloc(sizeof *s);
    const struct httpd_handlers handlers = {
        .check = on_check, .too_large = on_too_large, .handle = on_request, .ctx = s};
    const struct httpd_config config = {.listen = "127.0.0.1:0",
                                        .body_max_bytes = 1024,
                                        .connections_max = 100,
                                        .request_timeout_ms = 60000,
                                        .thread_name = "popp"};
    struct errmsg err = {.text = ""};

    (void)pthread_mutex_init(&s->lock, NULL);
    if (httpd_new(&config, &handlers, &s->http, &err) != ST_OK || httpd_start(s->http, &err) != ST_OK) {
        fprintf(stderr, "popp_stub: %s\n", err.text);
        exit(1);
    }
    return s;
}

/* With the lock. */
static void let_go(struct popp_stub *s)
{
    while (s->figures.held > 0)
        answer(s->held[--s->figures.held], 503, "{}");
    httpd_wake(s->http);
}

void popp_stub_stop(struct popp_stub *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->rules.hang = false;
    let_go(s);
    (void)pthread_mutex_unlock(&s->lock);
    httpd_free(s->http);
    for (unsigned i = 0; i < s->run_count; i++) {
        mem_free(s->runs[i].id);
        mem_free(s->runs[i].answer);
    }
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

unsigned popp_stub_port(const struct popp_stub *s)
{
    return httpd_port(s->http);
}

void popp_stub_rules(struct popp_stub *s, const struct popp_rules *rules)
{
    (void)pthread_mutex_lock(&s->lock);
    s->rules = *rules;
    let_go(s);
    (void)pthread_mutex_unlock(&s->lock);
}

void popp_stub_set(struct popp_stub *s, const char *run_id, const char *text)
{
    struct known_run *run;

    (void)pthread_mutex_lock(&s->lock);
    run = run_of(s, run_id);
    mem_free(run->answer);
    run->answer = mem_strdup(text);
    (void)pthread_mutex_unlock(&s->lock);
}

struct popp_figures popp_stub_figures(struct popp_stub *s)
{
    struct popp_figures f;

    (void)pthread_mutex_lock(&s->lock);
    f = s->figures;
    (void)pthread_mutex_unlock(&s->lock);
    return f;
}

unsigned popp_stub_asked(struct popp_stub *s, const char *run_id)
{
    unsigned asked;

    (void)pthread_mutex_lock(&s->lock);
    asked = run_of(s, run_id)->asked;
    (void)pthread_mutex_unlock(&s->lock);
    return asked;
}
