#include <inttypes.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "connector/auth.h"
#include "connector/request.h"
#include "connector/step.h"
#include "ctl/check.h"
#include "domain/outcome.h"

enum { TIMEOUT_MAX_MS = 30000, ANSWER_MAX_BYTES = 16 * 1024 * 1024, HEADERS_MAX = 64, WAIT_MS = 1000 };

struct probing {
    struct httpc *http;
    struct config *config;
    const struct connector_config *connector;
    struct connector_module *module;
    struct auth *auth;
    struct auth_run *run; /* while signing in */
    struct call *call;    /* while probing */
    bool done;
    int64_t spent_us;
    char *place; /* scheme and host of the last request */
};

/* ---- one request */

static void answered(void *ctx, const struct httpc_response *response)
{
    struct probing *p = ctx;

    p->done = true;
    p->spent_us += response->duration_us;
    if (p->call) {
        call_answer(p->call, response, clock_wall_us());
    } else {
        auth_run_answer(p->run, response, clock_wall_us());
    }
}

/* The URL without path and query, which may hold ids. */
static char *place_of(const char *url)
{
    const char *host = strstr(url, "://");

    return host ? mem_strndup(url, (size_t)(host - url) + 3 + strcspn(host + 3, "/?#")) : mem_strdup(url);
}

/* method, url, headers and body are there; the rest is as the daemon sends it. */
static void exchange(struct probing *p, struct httpc_request *request)
{
    const struct connector_config *c = p->connector;
    struct connector_limits limits = connector_limits_of(p->module, c);

    request->timeout_ms = (int)(limits.timeout_ms < TIMEOUT_MAX_MS ? limits.timeout_ms : TIMEOUT_MAX_MS);
    request->response_max_bytes = ANSWER_MAX_BYTES;
    request->http1_only = limits.http1_only;
    request->redirect_hosts = limits.redirect_hosts;
    request->ca_file = c->ca_file;
    request->client_cert_file = c->client_certificate_file;
    request->client_key_file = c->client_key_file;
    request->proxy = c->proxy;
    request->allow_private_address = request_allows_private(c);
    mem_free(p->place);
    p->place = place_of(request->url);
    p->done = false;
    httpc_start(p->http, request, answered, p);
    while (!p->done) {
        (void)httpc_poll(p->http, WAIT_MS);
    }
}

/* ---- what went wrong */

static char *hint_of(const struct probing *p, const char *error_class)
{
    static const struct {
        const char *error_class;
        const char *hint; /* with two %s: the connector and its type */
    } hints[] = {
        {"credentials", "are connectors.%s.credentials right, and not expired? atsyncctl connectors %s says where they "
                        "come from"},
        {"permission", "the credentials of connectors.%s are known, but may not do this; atsyncctl connectors %s says "
                       "which permissions are needed"},
        {"configuration", "are base_url and settings of connectors.%s right? atsyncctl connectors %s explains them"},
        {"not_found", "are base_url and settings of connectors.%s right? atsyncctl connectors %s explains them"},
        {"unavailable", "does the base_url of connectors.%s lead to the ATS (type %s), and do name service, firewall "
                        "and proxy let this machine through? If so, try again later"},
        {"rate_limited", "the ATS of connectors.%s (type %s) wants us to wait: try again later"},
        {"connector", "the module of connectors.%s is at fault: try it with atsyncctl connector-test %s"},
    };
    const char *name = p->connector->name;
    const char *type = p->connector->type;

    for (size_t i = 0; i < ATS_COUNT(hints); i++) {
        if (strcmp(hints[i].error_class, error_class) == 0) {
            const char *first = strstr(hints[i].hint, "%s");
            const char *second = strstr(first + 2, "%s");

            return mem_printf("%.*s%s%.*s%s%s", (int)(first - hints[i].hint), hints[i].hint, name,
                              (int)(second - first - 2), first + 2, type, second + 2);
        }
    }
    return mem_printf("see what atsyncctl connectors %s says about this ATS", type);
}

static struct finding failed(const struct probing *p, const char *error_class, const char *message, long http_status)
{
    const char *words = outcome_class_words(error_class);
    char *status = http_status > 0 ? mem_printf(" (HTTP %ld)", http_status) : mem_strdup("");
    struct finding f = {.ok = false, .hint = hint_of(p, error_class)};

    f.message = mem_printf("%s%s%s%s%s%s", p->place ? p->place : "", p->place ? ": " : "", words,
                           *message != '\0' ? ": " : "", message, status);
    mem_free(status);
    return f;
}

/* ---- signing in */

/* A grant that is ours alone: nothing of it is stored. */
static bool sign_in(struct probing *p, struct auth_grant **ret, struct finding *failure)
{
    struct errmsg err = {{0}};
    bool ok = false;

    p->run = auth_run_new(p->auth, NULL);
    while (auth_run_next(p->run) == AUTH_SEND || auth_run_next(p->run) == AUTH_STORE) {
        const struct request *q = auth_run_request(p->run);

        if (auth_run_next(p->run) == AUTH_STORE) {
            auth_run_stored(p->run); /* of a kind that can always sign in anew */
            continue;
        }
        exchange(p, &(struct httpc_request){.method = q->method,
                                            .url = q->url,
                                            .headers = q->headers,
                                            .header_count = q->header_count,
                                            .body = q->body,
                                            .body_len = q->body_len});
    }
    if (auth_run_next(p->run) == AUTH_FAILED) {
        const struct auth_failure *f = auth_run_failure(p->run);

        *failure = failed(p, f->error_class, f->message, 0);
    } else if (auth_grant_make(p->auth, auth_run_tokens(p->run), 1, ret, &err) != ST_OK) {
        *failure = failed(p, "configuration", err.text, 0);
    } else {
        ok = true;
    }
    auth_run_free(p->run);
    p->run = NULL;
    return ok;
}

static bool get_grant(struct probing *p, struct auth_grant **ret, struct finding *failure)
{
    struct errmsg err = {{0}};

    if (auth_new(p->module, p->config, p->connector, &p->auth, &err) != ST_OK) {
        *failure = failed(p, "credentials", err.text, 0);
        return false;
    }
    if (auth_gets_tokens(connector_module_meta(p->module))) {
        return sign_in(p, ret, failure);
    }
    if (auth_grant_make(p->auth, NULL, 0, ret, &err) != ST_OK) {
        *failure = failed(p, "credentials", err.text, 0);
        return false;
    }
    return true;
}

/* ---- the probe */

static void send_request(struct probing *p, const struct auth_grant *grant)
{
    const struct prepared_request *q = call_request(p->call);
    struct httpc_header headers[HEADERS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < q->header_count && n < ATS_COUNT(headers); i++) {
        headers[n++] = q->headers[i];
    }
    for (size_t i = 0; i < grant->headers.count && n < ATS_COUNT(headers); i++) {
        headers[n++] = grant->headers.items[i];
    }
    exchange(p, &(struct httpc_request){.method = q->method,
                                        .url = q->url,
                                        .headers = headers,
                                        .header_count = n,
                                        .body = q->body,
                                        .body_len = q->body_len});
}

static struct finding probe(struct probing *p, struct auth_grant *grant)
{
    struct connector_vm *vm = NULL;
    struct errmsg err = {{0}};
    struct finding f;

    if (connector_vm_new(p->module, &vm, &err) != ST_OK)
        return failed(p, "connector", err.text, 0);
    p->call = call_new(vm, p->connector, "probe", json_object(), false, NULL);
    call_set_grant(p->call, grant);
    while (call_advance(p->call) == CALL_REQUEST) {
        send_request(p, grant);
    }
    const struct call_result *r = call_result(p->call);

    if (r->outcome == OUTCOME_OK || r->outcome == OUTCOME_ALREADY) {
        f = (struct finding){.ok = true,
                             .message = mem_printf("%s lets us in (%" PRId64 " ms)", p->place ? p->place : "the ATS",
                                                   p->spent_us / 1000)};
    } else {
        f = failed(p, r->error_class, r->message, r->http_status);
    }
    call_free(p->call);
    p->call = NULL;
    connector_vm_free(vm);
    return f;
}

struct finding check_probe(struct httpc *http, struct config *config, const struct connector_config *connector,
                           struct connector_module *module)
{
    struct probing p = {.http = http, .config = config, .connector = connector, .module = module};
    const struct json *auth = json_get(connector_module_meta(module), "auth");
    struct auth_grant *grant = NULL;
    struct finding f = {.ok = true};

    if (!connector_module_has(module, "probe")) {
        f.message = mem_printf("not probed: the type %s has no probe", connector->type);
        return f;
    }
    if (json_get(auth, "refresh_token")) {
        f.message = mem_strdup("not probed: its refresh token works once and is the daemon's to use; atsyncctl status "
                               "shows whether the daemon has logged in");
        return f;
    }
    if (get_grant(&p, &grant, &f)) {
        f = probe(&p, grant);
    }
    auth_grant_unref(grant);
    auth_free(p.auth);
    mem_free(p.place);
    return f;
}
