/*
 * stub-ats - answers as a vendor's ATS does, for `make run CONNECTOR=TYPE`: from the recorded answers of the connector's
 * own tests (tests/unit/connector/TYPE.json, see table.h there). It has no state: what is written is logged, and the
 * answers stay the same. Not for tests of whether a record is right: that is the sandbox ATS.
 *
 *   stub-ats TYPE --dir DIR
 *
 * Listens on a free port of the loopback, and writes into DIR what a configuration needs:
 *   connector.yaml   a connector's lines: type, base_url, credentials, settings
 *   workflow.yaml    a mapping that the recorded answers know
 *   candidate, job   whose record they are about
 *   connectors/      for a type that gets tokens: its module, with the addresses where tokens come from turned to here
 *   port             the last one to appear
 * GET /_sandbox/log?since=N lists the calls since the Nth, as the sandbox ATS does.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "connector/module.h"
#include "lib/httpd.h"
#include "lib/json.h"

enum {
    FILE_MAX_BYTES = 8 * 1024 * 1024,
    LOGGED_MAX_BYTES = 2000,
    LOG_MAX = 100000,
    PARTS_MAX = 40,
    TOKEN_LIFETIME_S = 3600,
};

static const char *const verbs[] = {"stage", "reject", "fields", "tags", "note", "assessment"};

struct pair {
    char *name, *value;
};
struct route { /* of a recorded request */
    char *method, *path;
    struct pair query[PARTS_MAX];
    size_t query_count;
    const struct json *body; /* NULL: none */
    const struct json *answer;
};

static struct {
    const char *type;
    struct json *table;
    struct connector_module *module;
    char *url;
    struct route *routes;
    size_t route_count;
    pthread_mutex_t lock; /* of what follows */
    struct json *log;
    int64_t seq;
} stub = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "stub-ats: %s: %s\n", what, why);
    exit(1);
}

/* ---- files */

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "re");
    struct buf b;
    char chunk[4096];
    size_t n;

    if (!f) {
        give_up(path, strerror(errno));
    }
    buf_init(&b, FILE_MAX_BYTES);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0) {
        buf_add(&b, chunk, n);
    }
    if (ferror(f) || b.failed) {
        give_up(path, "cannot be read, or is too large");
    }
    (void)fclose(f);
    return buf_take(&b);
}

/* Under another name first: who waits for the file finds it whole. */
static void write_text(const char *dir, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", dir, name);
    char *unfinished = mem_printf("%s.new", path);
    FILE *f = fopen(unfinished, "we");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0 || rename(unfinished, path) != 0) {
        give_up(path, strerror(errno));
    }
    mem_free(unfinished);
    mem_free(path);
}

/* ---- the table */

static const struct json *named(const struct json *value, const char *section)
{
    return json_str(value) ? json_get(json_get(stub.table, section), json_str(value)) : value;
}

static const char *outcome_of(const struct json *which)
{
    return json_get_str(json_get(which, "result"), "outcome");
}

static bool is_good(const struct json *which)
{
    return text_eq(outcome_of(which), "ok") || text_eq(outcome_of(which), "already");
}

/* The case that the demonstration's value of a verb is taken from: about the candidate and job of the table as a whole,
 * with its settings if possible. NULL: none. */
static const struct json *chosen_case(const char *verb)
{
    const struct json *second = NULL;

    for (const struct json *c = json_first(json_get(stub.table, "cases")); c; c = json_next(c)) {
        if (!text_eq(json_get_str(c, "verb"), verb) || !text_eq(outcome_of(c), "ok") || json_get(c, "candidate") ||
            json_get(c, "job")) {
            continue;
        }
        if (!json_get(c, "settings")) {
            return c;
        }
        second = second ? second : c;
    }
    return second;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static char *decoded(const char *text, size_t len)
{
    struct buf b;

    buf_init(&b, FILE_MAX_BYTES);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%' && i + 2 < len && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
            buf_putc(&b, (char)(hex(text[i + 1]) * 16 + hex(text[i + 2])));
            i += 2;
        } else {
            buf_putc(&b, text[i]);
        }
    }
    return buf_take(&b);
}

static void add_route(const struct json *step)
{
    const char *request = json_get_str(step, "request");
    const char *blank = request ? strchr(request, ' ') : NULL;
    struct route *r;

    if (!blank || blank[1] != '/') {
        return; /* a whole URL, which leads elsewhere */
    }
    stub.routes = mem_grow(stub.routes, stub.route_count + 1, sizeof *stub.routes);
    r = &stub.routes[stub.route_count++];
    *r = (struct route){.method = mem_strndup(request, (size_t)(blank - request))};
    r->path = decoded(blank + 1, strcspn(blank + 1, "?"));
    r->body = json_get(step, "body");
    r->answer = named(json_get(step, "answer"), "answers");
    for (const char *p = strchr(blank, '?'); p && *p != '\0' && r->query_count < PARTS_MAX;) {
        size_t len = strcspn(++p, "&");
        size_t name_len = strcspn(p, "=&");

        r->query[r->query_count].name = decoded(p, name_len);
        r->query[r->query_count++].value =
            name_len < len ? decoded(p + name_len + 1, len - name_len - 1) : mem_strdup("");
        p += len;
    }
}

static void add_case(const struct json *which)
{
    for (const struct json *s = json_first(json_get(which, "steps")); s; s = json_next(s)) {
        add_route(named(s, "steps"));
    }
}

/* The first route that fits is used: what the demonstration asks for goes before the others. */
static void make_routes(void)
{
    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        add_case(chosen_case(verbs[i]));
    }
    for (const struct json *c = json_first(json_get(stub.table, "cases")); c; c = json_next(c)) {
        if (is_good(c)) {
            add_case(c);
        }
    }
}

/* ---- tokens */

/* What stands behind scheme and host, or behind a captured {url}. */
static const char *path_of(const char *url)
{
    const char *host = strstr(url, "://");
    const char *slash = host ? strchr(host + 3, '/') : strchr(url, '}');

    return !slash ? "" : *slash == '}' ? slash + 1 : slash;
}

/* A captured value is an address if requests go there. */
static bool is_address(const char *name)
{
    const char *base = json_get_str(json_get(connector_module_meta(stub.module), "auth"), "base_url");
    char *braced = mem_printf("{%s}", name);
    bool yes = strstr(name, "url") || (base && strstr(base, braced));

    mem_free(braced);
    return yes;
}

static struct json *captured(const struct json *captures)
{
    struct json *answer = json_object();

    for (const struct json *c = json_first(captures); c; c = json_next(c)) {
        char *value = is_address(json_key(c)) ? mem_strdup(stub.url) : mem_printf("stub-%s", json_key(c));

        json_set_str(answer, json_str(c) + 1, value); /* a pointer of one level, as "/access_token" */
        mem_free(value);
    }
    return answer;
}

/* NULL: the path is no place for tokens. */
static struct json *token_answer(const char *path)
{
    const struct json *auth = json_get(connector_module_meta(stub.module), "auth");
    const char *token_url = json_get_str(auth, "token_url");
    struct json *answer;

    for (const struct json *s = json_first(json_get(auth, "steps")); s; s = json_next(s)) {
        if (text_eq(path_of(json_get_str(s, "url")), path)) {
            return captured(json_get(s, "captures"));
        }
    }
    if (!token_url || !text_eq(path_of(token_url), path)) {
        return NULL;
    }
    answer = captured(json_get(auth, "captures"));
    json_set_str(answer, "access_token", "stub-access-token");
    json_set_str(answer, "refresh_token", "stub-refresh-token");
    json_set_str(answer, "token_type", "Bearer");
    json_set_int(answer, "expires_in", TOKEN_LIFETIME_S);
    return answer;
}

static char *replaced(const char *text, const char *what, const char *instead)
{
    struct buf b;
    const char *at;

    buf_init(&b, FILE_MAX_BYTES);
    while ((at = strstr(text, what)) != NULL) {
        buf_add(&b, text, (size_t)(at - text));
        buf_puts(&b, instead);
        text = at + strlen(what);
    }
    buf_puts(&b, text);
    return buf_take(&b);
}

static char *turned(char *source, const char *url)
{
    const char *path = url ? path_of(url) : "";
    char *origin, *fresh;

    if (!text_starts(url ? url : "", "https://")) {
        return source;
    }
    origin = mem_strndup(url, strlen(url) - strlen(path));
    fresh = replaced(source, origin, stub.url);
    mem_free(origin);
    mem_free(source);
    return fresh;
}

static void write_module(const char *dir)
{
    const struct json *auth = json_get(connector_module_meta(stub.module), "auth");
    char *source = turned(mem_strdup(connector_module_source(stub.module)), json_get_str(auth, "token_url"));
    char *connectors = mem_printf("%s/connectors", dir);
    char *name = mem_printf("%s.jq", stub.type);

    for (const struct json *s = json_first(json_get(auth, "steps")); s; s = json_next(s)) {
        source = turned(source, json_get_str(s, "url"));
    }
    if (strcmp(source, connector_module_source(stub.module)) != 0) {
        if (mkdir(connectors, 0755) != 0 && errno != EEXIST) {
            give_up(connectors, strerror(errno));
        }
        write_text(connectors, name, source);
    }
    mem_free(source);
    mem_free(connectors);
    mem_free(name);
}

/* ---- the configuration */

static void add_json(const struct json *value, struct buf *out)
{
    json_print(value, out); /* JSON is YAML */
}

/* Those of the table, and those without which a chosen case would not be as it is. */
static struct json *settings(void)
{
    const struct json *common = json_get(stub.table, "settings");
    struct json *all = common ? json_copy(common) : json_object();

    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        for (const struct json *s = json_first(json_get(chosen_case(verbs[i]), "settings")); s; s = json_next(s)) {
            json_set(all, json_key(s), json_copy(s));
        }
    }
    return all;
}

static void add_values(const char *name, const struct json *values, struct buf *out)
{
    if (json_count(values) > 0) {
        buf_printf(out, "%s: ", name);
        add_json(values, out);
        buf_putc(out, '\n');
    }
}

static void write_connector(const char *dir)
{
    struct json *all = settings();
    struct buf b;

    buf_init(&b, FILE_MAX_BYTES);
    buf_printf(&b, "type: %s\nbase_url: %s\nallow_private_addresses: true\n", stub.type, stub.url);
    add_values("credentials", json_get(stub.table, "credentials"), &b);
    add_values("settings", all, &b);
    write_text(dir, "connector.yaml", buf_text(&b));
    buf_free(&b);
    json_free(all);
}

/* One field that takes a text. */
static const struct json *text_field(const struct json *write)
{
    for (const struct json *f = json_first(json_get(write, "fields")); f; f = json_next(f)) {
        if (json_get_str(json_get(write, "fields"), json_key(f))) {
            return f;
        }
    }
    return NULL;
}

static void add_action(const char *verb, struct buf *out)
{
    const struct json *write = json_get(chosen_case(verb), "write");
    const struct json *field = text_field(write);

    if (text_eq(verb, "stage") && write) {
        buf_puts(out, "stage: ");
        add_json(json_get(write, "stage"), out);
    } else if (text_eq(verb, "tags") && write) {
        buf_puts(out, "tags: ");
        add_json(json_get(write, "tags"), out);
    } else if (text_eq(verb, "fields") && field) {
        struct json *fields = json_object();

        json_set(fields, json_key(field), json_copy(field));
        buf_puts(out, "fields: ");
        add_json(fields, out);
        json_free(fields);
    } else if (text_eq(verb, "note") && connector_module_can(stub.module, WRITE_NOTE)) {
        buf_puts(out, "note: summary");
    } else if (text_eq(verb, "assessment") && write) {
        buf_puts(out, "assessment: {score: mean}");
    }
}

static void write_workflow(const char *dir)
{
    const struct json *reject = json_get(json_get(chosen_case("reject"), "write"), "reason");
    struct buf b, action;

    buf_init(&b, FILE_MAX_BYTES);
    buf_init(&action, FILE_MAX_BYTES);
    buf_puts(&b, "connector: sandbox\njob: ");
    add_json(json_get(stub.table, "job"), &b);
    buf_puts(&b, "\non:\n  completed/PASSED_CRITERIA:\n");
    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        buf_reset(&action);
        add_action(verbs[i], &action);
        if (action.len > 0) {
            buf_printf(&b, "    %s\n", buf_text(&action));
        }
    }
    if (reject) {
        buf_puts(&b, "  completed/FAILED_CRITERIA:\n    reject: ");
        add_json(reject, &b);
        buf_putc(&b, '\n');
    }
    write_text(dir, "workflow.yaml", buf_text(&b));
    buf_free(&b);
    buf_free(&action);
}

/* ---- requests */

/* How well a request fits: 0 not at all. */
static unsigned fits(const struct route *r, const struct httpd_request *req, const struct json *body)
{
    size_t same = 0;

    if (!text_eq(r->method, httpd_method(req)) || !text_eq(r->path, httpd_path(req))) {
        return 0;
    }
    while (same < r->query_count && text_eq(httpd_query(req, r->query[same].name), r->query[same].value)) {
        same++;
    }
    return 1U + (same == r->query_count) + (r->body && json_equal(r->body, body));
}

/* NULL: nothing like it is recorded. */
static const struct json *find_answer(const struct httpd_request *req)
{
    const struct json *answer = NULL;
    struct json *body = NULL;
    unsigned best = 0;
    size_t len = 0;
    const char *text = httpd_body(req, &len);

    if (len > 0 && json_parse(text, len, &body, NULL) != ST_OK) {
        body = NULL;
    }
    for (size_t i = 0; i < stub.route_count; i++) {
        unsigned fit = fits(&stub.routes[i], req, body);

        if (fit > best) {
            best = fit;
            answer = stub.routes[i].answer;
        }
    }
    json_free(body);
    return answer;
}

static void log_call(const struct httpd_request *req)
{
    struct json *call = json_object();
    size_t len = 0;
    const char *body = httpd_body(req, &len);
    char *cut = mem_strndup(body, text_utf8_cut(body, len, LOGGED_MAX_BYTES));

    pthread_mutex_lock(&stub.lock);
    json_set_int(call, "seq", ++stub.seq);
    json_set_str(call, "method", httpd_method(req));
    json_set_str(call, "path", httpd_path(req));
    json_set_str(call, "body", len > 0 && text_is_utf8(body, len) ? cut : NULL);
    if (json_count(stub.log) < LOG_MAX) {
        json_push(stub.log, call);
    } else {
        json_free(call);
    }
    pthread_mutex_unlock(&stub.lock);
    mem_free(cut);
}

static void respond_json(struct httpd_request *req, unsigned status, const struct json *body)
{
    char *text = json_text(body);

    httpd_respond(req, status, "application/json", text, strlen(text));
    mem_free(text);
}

static void respond_log(struct httpd_request *req)
{
    const char *since = httpd_query(req, "since");
    struct json *list = json_array();
    int64_t from = 0, seq = 0;

    if (since && !text_to_i64(since, 0, INT64_MAX, &from)) {
        from = 0;
    }
    pthread_mutex_lock(&stub.lock);
    for (const struct json *c = json_first(stub.log); c; c = json_next(c)) {
        if (json_get_i64(c, "seq", &seq) && seq > from) {
            json_push(list, json_copy(c));
        }
    }
    pthread_mutex_unlock(&stub.lock);
    respond_json(req, 200, list);
    json_free(list);
}

static void respond_recorded(struct httpd_request *req, const struct json *answer)
{
    int64_t status = 200;

    (void)json_get_i64(answer, "status", &status);
    for (const struct json *h = json_first(json_get(answer, "headers")); h; h = json_next(h)) {
        if (!text_ieq(json_key(h), "content-type")) {
            httpd_add_header(req, json_key(h), json_str(h));
        }
    }
    if (json_get(answer, "body")) {
        respond_json(req, (unsigned)status, json_get(answer, "body"));
    } else {
        const char *text = json_get_str(answer, "text");

        httpd_respond(req, (unsigned)status, text ? "text/plain" : NULL, text ? text : "", text ? strlen(text) : 0);
    }
}

static void handle(void *ctx ATS_UNUSED, struct httpd_request *req)
{
    struct json *tokens;
    const struct json *answer;

    if (text_eq(httpd_path(req), "/_sandbox/log")) {
        respond_log(req);
        return;
    }
    tokens = token_answer(httpd_path(req));
    if (tokens) {
        respond_json(req, 200, tokens);
        json_free(tokens);
        return;
    }
    log_call(req);
    answer = find_answer(req);
    if (answer) {
        respond_recorded(req, answer);
    } else if (text_eq(httpd_method(req), "GET")) {
        httpd_problem(req, 404, "Not Found", "no answer to this is recorded");
    } else {
        httpd_respond(req, 200, "application/json", "{}", 2);
    }
}

static void check(void *ctx ATS_UNUSED, struct httpd_request *req ATS_UNUSED)
{
}

static void too_large(void *ctx ATS_UNUSED, struct httpd_request *req)
{
    httpd_problem(req, 413, "Content Too Large", NULL);
}

/* ---- the program */

static void load(void)
{
    char *path = mem_printf("tests/unit/connector/%s.json", stub.type);
    char *text = read_text(path);
    struct errmsg err = {{0}};

    if (json_parse(text, strlen(text), &stub.table, &err) != ST_OK) {
        give_up(path, err.text);
    }
    if (connector_module_load("conf/atsyncd.conf", stub.type, &stub.module, &err) != ST_OK) {
        give_up(stub.type, err.text);
    }
    mem_free(text);
    mem_free(path);
    make_routes();
    stub.log = json_array();
}

static void clear(void)
{
    for (size_t i = 0; i < stub.route_count; i++) {
        mem_free(stub.routes[i].method);
        mem_free(stub.routes[i].path);
        for (size_t k = 0; k < stub.routes[i].query_count; k++) {
            mem_free(stub.routes[i].query[k].name);
            mem_free(stub.routes[i].query[k].value);
        }
    }
    mem_free(stub.routes);
    mem_free(stub.url);
    json_free(stub.log);
    json_free(stub.table);
    connector_module_unref(stub.module);
}

static void write_all(const char *dir, unsigned port)
{
    const struct json *candidate = json_get(json_get(stub.table, "candidate"), "id");
    char *number = mem_printf("%u\n", port);

    write_module(dir);
    write_connector(dir);
    write_workflow(dir);
    write_text(dir, "candidate", json_str(candidate) ? json_str(candidate) : "ats_42");
    write_text(dir, "port", number);
    mem_free(number);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'}, {NULL, 0, NULL, 0}};
    const struct httpd_config config = {
        .listen = "127.0.0.1:0",
        .body_max_bytes = FILE_MAX_BYTES,
        .connections_max = 200,
        .request_timeout_ms = 60000,
        .thread_name = "stub",
    };
    const struct httpd_handlers handlers = {.check = check, .too_large = too_large, .handle = handle};
    const char *dir = NULL;
    struct httpd *httpd = NULL;
    struct errmsg err = {{0}};
    sigset_t signals;
    int option, got;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        dir = option == 'd' ? optarg : NULL;
    }
    if (!dir || optind + 1 != argc) {
        fputs("Usage: stub-ats TYPE --dir DIR   (in the root of the project)\n", stderr);
        return 2;
    }
    stub.type = argv[optind];
    load();
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before the first thread */
    if (httpd_new(&config, &handlers, &httpd, &err) != ST_OK) {
        give_up("listening", err.text);
    }
    stub.url = mem_printf("http://127.0.0.1:%u", httpd_port(httpd));
    if (httpd_start(httpd, &err) != ST_OK) {
        give_up("starting", err.text);
    }
    write_all(dir, httpd_port(httpd));
    (void)sigwait(&signals, &got);
    httpd_stop(httpd);
    httpd_join(httpd);
    httpd_free(httpd);
    clear();
    return 0;
}
