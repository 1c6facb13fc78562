/*
 * requests - sends what a connector really sends to a Prism that mocks an OpenAPI document, and says whether it fits.
 *
 *   requests TYPE FILE SECTION BASE_URL
 *
 * FILE, tests/contract/TYPE.json, says what to try:
 *   {"candidate": {"id": …}, "job": …, "run": {…}, "settings": {NAME: TEXT}, "credentials": {NAME: TEXT},
 *    "writes": [{"verb": …, "write": {…}, "settings": {…}, "candidate": {…}, "job": …, "outcome": "ok"}, …],
 *    "vendor": {"spec": FILE, "prefix": "/v1", the same members, each instead of the one above}}
 * SECTION is "own" or "vendor". Of a write, settings are added to the others, candidate and job count instead of the
 * others; outcome is "ok" if left out ("invalid" where Prism makes up an answer with errors in it, for want of examples);
 * prefix is the part of the base URL that stands in the document's paths.
 *
 * Each verb is walked through the engine (connector/step.h), and Prism's example answers are what it gets to read. No
 * request may violate the document, and the call must end as it should. Then, for each operation that was used, a request
 * that is wrong on purpose must be refused: Prism silently checks nothing where it cannot make sense of a schema. In the
 * section "own" every verb that the module has must be among the writes.
 *
 * Prints a line "ok …" or "FAILED …" for each call and each operation. Exit status 1 if anything failed. The working
 * directory is the root of the project.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "connector/step.h"
#include "lib/httpc.h"
#include "lib/json.h"

enum {
    FILE_MAX_BYTES = 1024 * 1024,
    ANSWER_MAX_BYTES = 8 * 1024 * 1024,
    TIMEOUT_MS = 30000,
    VALUES_MAX = 32,
    HEADERS_MAX = 64,
    OPERATIONS_MAX = 64,
    PATH_SHOWN_BYTES = 300,
};

struct message { /* a request, and what came back; all in the arena */
    const char *method;
    const char *url;
    struct httpc_header headers[HEADERS_MAX];
    size_t header_count;
    size_t auth_count; /* of the headers, the last ones */
    const char *body;  /* NULL: none */

    struct httpc_response answer;
    struct httpc_header answer_headers[HEADERS_MAX];
};

struct trial {
    const char *type;
    const char *base_url;
    const struct json *file;
    const struct json *section; /* NULL: own */
    struct connector_module *module;
    struct connector_vm *vm;
    struct httpc *http;
    struct arena *arena;
    struct message *operations[OPERATIONS_MAX]; /* the first request of each method and path */
    size_t operation_count;
    unsigned failed;
};

static void report(struct trial *t, const char *what, const char *fault)
{
    if (fault == NULL) {
        printf("ok      contract/%s%s %s\n", t->type, t->section != NULL ? " (vendor)" : "", what);
        return;
    }
    printf("FAILED  contract/%s%s %s: %s\n", t->type, t->section != NULL ? " (vendor)" : "", what, fault);
    t->failed++;
}

static struct json *read_json(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct json *j = NULL;
    struct errmsg err = {"cannot be opened"};
    struct buf text;
    char bytes[4096];
    size_t n;

    buf_init(&text, FILE_MAX_BYTES);
    while (f != NULL && (n = fread(bytes, 1, sizeof bytes, f)) > 0)
        buf_add(&text, bytes, n);
    if (f == NULL || json_parse(buf_text(&text), text.len, &j, &err) != ST_OK)
        fprintf(stderr, "%s: %s\n", path, err.text);
    if (f != NULL)
        (void)fclose(f);
    buf_free(&text);
    return j;
}

/* The section's own member, else the file's. */
static const struct json *member(const struct trial *t, const char *name)
{
    const struct json *own = json_get(t->section, name);

    return own != NULL ? own : json_get(t->file, name);
}

/* ---- one exchange with Prism */

static void keep_answer(void *ctx, const struct httpc_response *response)
{
    struct trial *t = ((void **)ctx)[0];
    struct message *m = ((void **)ctx)[1];

    m->answer = *response;
    m->answer.headers = m->answer_headers;
    m->answer.header_count = 0;
    for (size_t i = 0; i < response->header_count && i < HEADERS_MAX; i++)
        m->answer_headers[m->answer.header_count++] = (struct httpc_header){
            arena_strdup(t->arena, response->headers[i].name), arena_strdup(t->arena, response->headers[i].value)};
    m->answer.body = arena_strdup(t->arena, response->body);
    m->answer.body_len = strlen(m->answer.body);
    m->answer.error = arena_strdup(t->arena, response->error);
}

static void exchange(struct trial *t, struct message *m)
{
    void *ctx[2] = {t, m};
    struct httpc_request r = {
        .method = m->method,
        .url = m->url,
        .headers = m->headers,
        .header_count = m->header_count,
        .body = m->body,
        .body_len = m->body != NULL ? strlen(m->body) : 0,
        .timeout_ms = TIMEOUT_MS,
        .response_max_bytes = ANSWER_MAX_BYTES,
        .allow_private_address = true,
    };

    httpc_start(t->http, &r, keep_answer, ctx);
    while (httpc_poll(t->http, TIMEOUT_MS) > 0)
        ;
}

/* Whether the list in the header holds more than complaints about Prism's own answer: a vendor's examples need not fit the
 * vendor's schema. */
static bool blames_request(const char *said)
{
    struct json *list = NULL;
    bool blamed = false;

    if (json_parse(said, strlen(said), &list, NULL) != ST_OK)
        return true;
    for (const struct json *v = json_first(list); v != NULL && !blamed; v = json_next(v)) {
        const char *place = json_str(json_first(json_get(v, "location")));

        blamed = place == NULL || strcmp(place, "response") != 0;
    }
    json_free(list);
    return blamed;
}

/* What Prism finds wrong with a request, or NULL. It says so in a header, or, where the document has no error answer, in
 * an answer of its own. examples_too: also what is wrong with the answer that it gives. */
static const char *violation(const struct message *m, bool examples_too)
{
    const char *said = httpc_header_value(&m->answer, "sl-violations");

    if (m->answer.result != HTTPC_ANSWERED)
        return m->answer.error;
    if (said != NULL && (examples_too || blames_request(said)))
        return said;
    return strstr(m->answer.body, "stoplight.io/prism/errors#") != NULL ? m->answer.body : NULL;
}

/* ---- the connector */

struct configured {
    struct connector_config connector;
    struct named_value settings[VALUES_MAX];
    struct named_value credentials[VALUES_MAX];
};

/* Later values take the place of earlier ones of the same name. */
static size_t add_values(struct arena *a, struct named_value *values, size_t count, const struct json *from)
{
    for (const struct json *v = json_first(from); v != NULL; v = json_next(v)) {
        size_t i = 0;

        while (i < count && strcmp(values[i].name, json_key(v)) != 0)
            i++;
        if (i == VALUES_MAX)
            break;
        values[i] = (struct named_value){.name = arena_strdup(a, json_key(v)), .value = arena_strdup(a, json_str(v))};
        count = i == count ? count + 1 : count;
    }
    return count;
}

static void configure(struct trial *t, struct configured *c, const struct json *wish)
{
    *c = (struct configured){
        .connector = {.name = arena_strdup(t->arena, t->type), .base_url = arena_strdup(t->arena, t->base_url)}};
    c->connector.setting_count = add_values(t->arena, c->settings, 0, member(t, "settings"));
    c->connector.setting_count =
        add_values(t->arena, c->settings, c->connector.setting_count, json_get(wish, "settings"));
    c->connector.credential_count = add_values(t->arena, c->credentials, 0, member(t, "credentials"));
    c->connector.settings = c->settings;
    c->connector.credentials = c->credentials;
}

static void add_header(struct trial *t, struct message *m, const char *name, const char *value)
{
    if (m->header_count < HEADERS_MAX)
        m->headers[m->header_count++] =
            (struct httpc_header){arena_strdup(t->arena, name), arena_strdup(t->arena, value)};
}

/* Where a token has to be fetched first, any token will do here: Prism looks at its place and scheme only. */
static void add_made_up_token(struct trial *t, struct message *m, const struct json *auth)
{
    const char *name = json_get_str(auth, "name"), *value = json_get_str(auth, "value");

    if (json_get(auth, "token_url") == NULL && json_get(auth, "steps") == NULL)
        return;
    value = value != NULL ? value : "Bearer {access_token}";
    add_header(t, m, name != NULL ? name : "Authorization",
               arena_printf(t->arena, "%.*scontract", (int)strcspn(value, "{"), value));
}

static void add_authentication(struct trial *t, struct message *m, const struct configured *c)
{
    struct auth_headers h = {.count = 0};
    size_t before = m->header_count;

    if (auth_headers_make(t->module, &c->connector, &h, NULL) == ST_OK) {
        for (size_t i = 0; i < h.count; i++)
            add_header(t, m, h.items[i].name, h.items[i].value);
        auth_headers_clear(&h);
    }
    if (m->header_count == before)
        add_made_up_token(t, m, json_get(connector_module_meta(t->module), "auth"));
    m->auth_count = m->header_count - before;
}

static struct message *message_of(struct trial *t, const struct configured *c, const struct prepared_request *r)
{
    struct message *m = arena_alloc(t->arena, sizeof *m);

    m->method = arena_strdup(t->arena, r->method);
    m->url = arena_strdup(t->arena, r->url);
    m->body = arena_strdup(t->arena, r->body);
    for (size_t i = 0; i < r->header_count; i++)
        add_header(t, m, r->headers[i].name, r->headers[i].value);
    add_authentication(t, m, c);
    return m;
}

static size_t path_len(const struct message *m)
{
    return strcspn(m->url, "?");
}

static void remember_operation(struct trial *t, struct message *m)
{
    for (size_t i = 0; i < t->operation_count; i++) {
        const struct message *o = t->operations[i];

        if (strcmp(o->method, m->method) == 0 && path_len(o) == path_len(m) &&
            strncmp(o->url, m->url, path_len(m)) == 0)
            return;
    }
    if (t->operation_count < OPERATIONS_MAX)
        t->operations[t->operation_count++] = m;
}

/* ---- a verb */

static struct json *context_of(const struct trial *t, const struct json *wish)
{
    static const char *const members[] = {"candidate", "job", "run"};
    struct json *context = json_object();

    json_set_str(context, "workflow", "contract");
    for (size_t i = 0; i < ATS_COUNT(members); i++) {
        const struct json *own = json_get(wish, members[i]);
        const struct json *value = own != NULL ? own : member(t, members[i]);

        json_set(context, members[i], value != NULL ? json_copy(value) : json_object());
    }
    json_set(context, "write", json_copy(json_get(wish, "write")));
    return context;
}

/* NULL, or what is wrong; *ret_count is the number of requests. */
static const char *walk(struct trial *t, const struct json *wish, unsigned *ret_count)
{
    const char *verb = json_get_str(wish, "verb"), *outcome = json_get_str(wish, "outcome"), *fault = NULL;
    struct json *context = context_of(t, wish);
    struct configured c;
    struct call *call;

    configure(t, &c, wish);
    call = call_new(t->vm, &c.connector, verb, json_copy(context), strcmp(verb, "note") == 0, "contract-key");
    while (fault == NULL && call_advance(call) == CALL_REQUEST) {
        struct message *m = message_of(t, &c, call_request(call));
        const char *wrong;

        exchange(t, m);
        wrong = violation(m, t->section == NULL); /* our own examples must fit our own schemas */
        if (wrong != NULL)
            fault =
                arena_printf(t->arena, "%s %s %s: %.1000s", m->method, m->url, m->body != NULL ? m->body : "", wrong);
        remember_operation(t, m);
        call_answer(call, &m->answer, clock_wall_us());
        (*ret_count)++;
    }
    if (fault == NULL) {
        const struct call_result *r = call_result(call);
        const char *wanted = outcome != NULL ? outcome : "ok";

        if (strcmp(outcome_name(r->outcome), wanted) != 0)
            fault = arena_printf(t->arena, "after %u requests the outcome is %s (%s: %s) and not %s", *ret_count,
                                 outcome_name(r->outcome), r->error_class, r->message, wanted);
    }
    call_free(call);
    json_free(context);
    return fault;
}

static void walk_all(struct trial *t)
{
    static const char *const verbs[] = {"stage", "reject",     "fields", "tags",
                                        "note",  "assessment", "probe",  "find_marker"};
    const struct json *writes = member(t, "writes");

    for (const struct json *w = json_first(writes); w != NULL; w = json_next(w)) {
        const char *verb = json_get_str(w, "verb");
        unsigned count = 0;
        const char *fault =
            verb != NULL && connector_module_has(t->module, verb) ? walk(t, w, &count) : "the module has no such verb";

        report(t, arena_printf(t->arena, "%s, %u requests", verb != NULL ? verb : "?", count), fault);
    }
    for (size_t i = 0; i < ATS_COUNT(verbs) && t->section == NULL; i++) {
        bool tried = !connector_module_has(t->module, verbs[i]);

        for (const struct json *w = json_first(writes); w != NULL && !tried; w = json_next(w))
            tried = strcmp(json_get_str(w, "verb"), verbs[i]) == 0;
        if (!tried)
            report(t, verbs[i], "the module has this verb, but no write in the file tries it");
    }
}

/* ---- negative controls */

/* Whether Prism finds something wrong with a changed copy of the request. */
static bool is_refused(struct trial *t, const struct message *m, const char *url, const char *body, bool with_auth)
{
    struct message *wrong = arena_alloc(t->arena, sizeof *wrong);

    *wrong = *m;
    wrong->url = url;
    wrong->body = body;
    if (!with_auth)
        wrong->header_count -= wrong->auth_count;
    exchange(t, wrong);
    return wrong->answer.result == HTTPC_ANSWERED && violation(wrong, false) != NULL;
}

static void control(struct trial *t, const struct message *m)
{
    static const char *const bodies[] = {"{\"atsyncd_wrong\":[]}", "[]", "\"wrong\""};
    size_t len = path_len(m), base = strlen(t->base_url);
    const char *what =
        arena_printf(t->arena, "refuses a wrong %s %.*s", m->method,
                     len - base < PATH_SHOWN_BYTES ? (int)(len - base) : PATH_SHOWN_BYTES, m->url + base);
    const char *deeper = arena_printf(t->arena, "%.*s/atsyncd-wrong/atsyncd-wrong%s", (int)len, m->url, m->url + len);
    bool refused = false;

    for (size_t i = 0; m->body != NULL && i < ATS_COUNT(bodies) && !refused; i++)
        refused = is_refused(t, m, m->url, bodies[i], true);
    if (m->body == NULL)
        refused = (m->auth_count > 0 && is_refused(t, m, m->url, NULL, false)) || is_refused(t, m, deeper, NULL, true);
    report(t, what, refused ? NULL : "Prism accepts a wrong request, so it checks nothing here");
}

int main(int argc, char **argv)
{
    struct trial t = {.failed = 1};
    struct json *file = NULL;
    struct errmsg err = {""};

    if (argc != 5) {
        fputs("usage: requests TYPE FILE own|vendor BASE_URL\n", stderr);
        return 2;
    }
    t.type = argv[1];
    t.base_url = argv[4];
    t.arena = arena_new();
    httpc_global_init();
    t.http = httpc_new(1, "atsyncd-contract");
    file = read_json(argv[2]);
    if (file == NULL)
        goto out;
    t.file = file;
    t.section = strcmp(argv[3], "vendor") == 0 ? json_get(file, "vendor") : NULL;
    if (json_get_str(t.section, "prefix") != NULL)
        t.base_url = arena_printf(t.arena, "%s%s", t.base_url, json_get_str(t.section, "prefix"));
    if (connector_module_load("conf/atsyncd.conf", t.type, &t.module, &err) != ST_OK ||
        connector_vm_new(t.module, &t.vm, &err) != ST_OK) {
        fprintf(stderr, "%s\n", err.text);
        goto out;
    }
    t.failed = 0;
    walk_all(&t);
    for (size_t i = 0; i < t.operation_count; i++)
        control(&t, t.operations[i]);
    if (t.operation_count == 0)
        report(&t, "requests", "not one was made");
out:
    connector_vm_free(t.vm);
    connector_module_unref(t.module);
    json_free(file);
    httpc_free(t.http);
    arena_free(t.arena);
    return t.failed == 0 ? 0 : 1;
}
