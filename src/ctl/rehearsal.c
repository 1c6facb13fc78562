#include "ctl/rehearsal.h"

#include <ctype.h>
#include <inttypes.h>

#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "connector/fit.h"
#include "connector/step.h"
#include "ctl/print.h"
#include "domain/outcome.h"
#include "lib/httpc.h"

enum { ANSWER_HEADERS_MAX = 64, TEXT_MAX_BYTES = 64 * 1024 * 1024, NOT_GIVEN = 200, BODY_MAX_CHARS = 100000 };

static const char *const verbs[] = {"stage", "reject", "fields", "tags", "note", "assessment", "find_marker", "probe"};
static const char *const members[] = {"context", "verb", "function", "settings", "credentials", "base_url", "answers"};
static const char *const answer_members[] = {"status", "headers", "body", "text", "lost"};

struct rehearsing {
    struct connector_module *module;
    const char *name; /* of the file */
    const struct json *file;
    const char *function;
    struct config_problems *problems;
    struct connector_config connector; /* its texts are in the arena */
    struct arena *arena;
};

/* ---- the file */

static void check_names(struct rehearsing *r, const char *path, const struct json *object, const char *const *names,
                        size_t count)
{
    for (const struct json *m = json_first(object); m; m = json_next(m)) {
        const char *meant;
        size_t i = 0;

        while (i < count && strcmp(names[i], json_key(m)) != 0) {
            i++;
        }
        if (i < count) {
            continue;
        }
        meant = suggest(json_key(m), names, count);
        config_problem_add(r->problems, r->name, 0, path, "unknown member \"%s\"%s%s%s", json_key(m),
                           meant ? ", did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    }
}

static void check_type(struct rehearsing *r, const char *path, const struct json *value, enum json_type type,
                       const char *what)
{
    if (value && json_type(value) != type) {
        config_problem_add(r->problems, r->name, 0, path, "must be %s", what);
    }
}

static void check_answer(struct rehearsing *r, const char *path, const struct json *answer)
{
    const struct json *headers = json_get(answer, "headers");
    int64_t status = NOT_GIVEN;

    check_type(r, path, answer, JSON_OBJECT, "an object");
    check_names(r, path, answer, answer_members, ATS_COUNT(answer_members));
    check_type(r, path, headers, JSON_OBJECT, "an object with an object of headers");
    if (json_get(answer, "status") && (!json_get_i64(answer, "status", &status) || status < 100 || status > 599)) {
        config_problem_add(r->problems, r->name, 0, path, "status must be a number from 100 to 599");
    }
    if (json_get(answer, "body") && json_get(answer, "text")) {
        config_problem_add(r->problems, r->name, 0, path, "has a body and a text: body is JSON, text is anything else");
    }
    for (const struct json *h = json_first(headers); h; h = json_next(h)) {
        if (!json_str(h)) {
            config_problem_add(r->problems, r->name, 0, path, "the header %s must be a text", json_key(h));
        }
    }
    if (json_count(headers) > ANSWER_HEADERS_MAX) {
        config_problem_add(r->problems, r->name, 0, path, "has over %d headers", (int)ANSWER_HEADERS_MAX);
    }
}

static bool is_verb(const char *function)
{
    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        if (text_eq(verbs[i], function)) {
            return true;
        }
    }
    return false;
}

static void check_function(struct rehearsing *r, const char *function)
{
    const char *named = json_get_str(r->file, "function") ? "function" : "verb";

    r->function = function ? function : json_get_str(r->file, named);
    if (json_get(r->file, "verb") && json_get(r->file, "function")) {
        config_problem_add(r->problems, r->name, 0, "function", "verb and function mean the same: give one of them");
    } else if (!r->function) {
        config_problem_add(r->problems, r->name, 0, "verb",
                           "is missing: which function is to be run (stage, note, probe, classify and so on)?");
    } else if (!connector_module_has(r->module, r->function)) {
        config_problem_add(r->problems, r->name, 0, named, "type %s has no function \"%s\": meta does not promise it",
                           connector_module_type(r->module), r->function);
    }
}

static void check_file(struct rehearsing *r, const char *function)
{
    size_t i = 0;

    if (json_type(r->file) != JSON_OBJECT) {
        config_problem_add(r->problems, r->name, 0, "", "must be an object with a context and a verb");
        return;
    }
    check_names(r, "", r->file, members, ATS_COUNT(members));
    check_function(r, function);
    check_type(r, "settings", json_get(r->file, "settings"), JSON_OBJECT, "an object");
    check_type(r, "credentials", json_get(r->file, "credentials"), JSON_OBJECT, "an object");
    check_type(r, "base_url", json_get(r->file, "base_url"), JSON_STRING, "a text");
    check_type(r, "answers", json_get(r->file, "answers"), JSON_ARRAY, "a list");
    if (r->function && is_verb(r->function)) {
        check_type(r, "context", json_get(r->file, "context"), JSON_OBJECT, "an object");
    }
    for (const struct json *a = json_first(json_get(r->file, "answers")); a; a = json_next(a)) {
        char *path = mem_printf("answers[%zu]", i++);

        check_answer(r, path, a);
        mem_free(path);
    }
}

/* ---- the connector as it would be configured */

/* Numbers and booleans as they are written, like in the configuration. */
static struct named_value *values_of(struct rehearsing *r, const struct json *given, size_t room, size_t *ret_count)
{
    struct named_value *values = arena_alloc(r->arena, (json_count(given) + room + 1) * sizeof *values);
    size_t count = 0;

    for (const struct json *v = json_first(given); v; v = json_next(v)) {
        char *text = json_str(v) ? mem_strdup(json_str(v)) : json_text(v);

        values[count++] =
            (struct named_value){.name = arena_strdup(r->arena, json_key(v)), .value = arena_strdup(r->arena, text)};
        mem_free(text);
    }
    *ret_count = count;
    return values;
}

static void configure(struct rehearsing *r)
{
    const struct json *known = json_get(connector_module_meta(r->module), "credentials");
    struct connector_config *c = &r->connector;
    /* nothing is stored here, but a type that gets tokens insists on a key */
    char *key = arena_strdup(r->arena, "made-up-key-of-nothing");
    struct config config = {.path = arena_strdup(r->arena, r->name),
                            .database = {.encryption_keys = &key, .encryption_key_count = 1}};
    size_t first, skip;

    c->name = arena_strdup(r->arena, connector_module_type(r->module));
    c->type = c->name;
    c->base_url = arena_strdup(r->arena, json_get_str(r->file, "base_url"));
    c->settings = values_of(r, json_get(r->file, "settings"), 0, &c->setting_count);
    c->credentials = values_of(r, json_get(r->file, "credentials"), json_count(known), &c->credential_count);
    for (const struct json *k = json_first(known); k; k = json_next(k)) {
        if (!config_value(c->credentials, c->credential_count, json_key(k))) {
            c->credentials[c->credential_count++] = (struct named_value){
                .name = arena_strdup(r->arena, json_key(k)), .value = arena_strdup(r->arena, "made-up-credential")};
        }
    }
    first = r->problems->count;
    fit_connector(&config, c, r->module, r->problems);
    /* the file has no connectors.NAME before settings */
    skip = strlen("connectors.") + strlen(c->name) + 1;
    for (size_t i = first; i < r->problems->count; i++) {
        char *path = r->problems->items[i].path;

        if (text_starts(path, "connectors.") && strlen(path) > skip) {
            memmove(path, path + skip, strlen(path + skip) + 1);
        }
    }
}

/* ---- answers */

struct recorded {
    struct httpc_response response;
    struct httpc_header headers[ANSWER_HEADERS_MAX];
};

/* Header names as the client gives them, in small letters. */
static const char *small_letters(struct arena *arena, const char *name)
{
    char *copy = arena_strdup(arena, name);

    for (char *p = copy; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return copy;
}

static void recorded_make(struct rehearsing *r, const struct json *answer, struct recorded *ret)
{
    const struct json *body = json_get(answer, "body");
    char *text = body ? json_text(body) : mem_strdup(json_get_str(answer, "text"));
    int64_t status = NOT_GIVEN;

    (void)json_get_i64(answer, "status", &status);
    *ret = (struct recorded){.response = {.result = HTTPC_ANSWERED, .status = (long)status, .error = ""}};
    ret->response.body = arena_strdup(r->arena, text ? text : "");
    ret->response.body_len = strlen(ret->response.body);
    if (json_get_bool(answer, "lost")) {
        ret->response.result = HTTPC_UNCERTAIN;
        ret->response.status = 0;
        ret->response.error = "the connection was lost";
    }
    for (const struct json *h = json_first(json_get(answer, "headers")); h; h = json_next(h)) {
        ret->headers[ret->response.header_count++] =
            (struct httpc_header){small_letters(r->arena, json_key(h)), json_str(h)};
    }
    ret->response.headers = ret->headers;
    mem_free(text);
}

/* ---- running it */

static struct json *request_json(const struct prepared_request *q)
{
    struct json *j = json_object();
    struct json *headers = json_object();
    struct json *body = NULL;

    json_set_str(j, "method", q->method);
    json_set_str(j, "url", q->url);
    for (size_t i = 0; i < q->header_count; i++) {
        json_set_str(headers, q->headers[i].name, q->headers[i].value);
    }
    json_set(j, "headers", headers);
    if (q->body && json_parse(q->body, q->body_len, &body, NULL) != ST_OK) {
        body = json_string(q->body);
    }
    json_set(j, "body", body ? body : json_null());
    json_set_bool(j, "is_write", q->is_write);
    json_set_int(j, "cache_ms", q->cache_ms);
    return j;
}

static struct json *result_json(const struct call_result *c)
{
    struct json *j = json_object();

    json_set_str(j, "outcome", outcome_name(c->outcome));
    json_set_str(j, "class", c->error_class);
    json_set_str(j, "message", c->message);
    json_set_int(j, "http_status", c->http_status);
    json_set_int(j, "retry_after_ms", c->retry_after_ms);
    json_set_bool(j, "found", c->found);
    json_set_bool(j, "was_write", c->was_write);
    return j;
}

static struct json *run_verb(struct rehearsing *r, struct connector_vm *vm, int64_t now_us)
{
    struct json *j = json_object();
    struct json *requests = json_array();
    const struct json *answers = json_get(r->file, "answers");
    const struct json *answer = json_first(answers);
    size_t used = 0;
    struct call *call = call_new(vm, &r->connector, r->function, json_copy(json_get(r->file, "context")),
                                 strcmp(r->function, "note") == 0, "00000000-0000-4000-8000-000000000000");
    enum call_next next = call_advance(call);

    while (next == CALL_REQUEST) {
        struct json *request = request_json(call_request(call));
        struct recorded recorded;

        json_push(requests, request);
        json_set_bool(request, "answered", answer != NULL);
        if (!answer) {
            break;
        }
        recorded_make(r, answer, &recorded);
        json_set_int(request, "status", recorded.response.status);
        call_answer(call, &recorded.response, now_us);
        answer = json_next(answer);
        used++;
        next = call_advance(call);
    }
    json_set(j, "requests", requests);
    json_set_bool(j, "ended", next == CALL_FINISHED);
    json_set_int(j, "unused_answers", (int64_t)(json_count(answers) - used));
    json_set(j, "result", next == CALL_FINISHED ? result_json(call_result(call)) : json_null());
    call_free(call);
    return j;
}

static struct json *run_alone(const struct rehearsing *r, struct connector_vm *vm)
{
    const struct json *context = json_get(r->file, "context");
    struct json *j = json_object();
    struct json *nothing = json_null();
    struct json *output = NULL;
    struct errmsg err = {{0}};

    json_set_str(j, "function", r->function);
    if (connector_vm_run(vm, r->function, context ? context : nothing, &output, &err) == ST_OK) {
        json_set(j, "output", output);
    } else {
        json_set_str(j, "error", err.text);
    }
    json_free(nothing);
    return j;
}

int rehearse(struct connector_module *m, const char *name, const struct json *file, const char *function,
             int64_t now_us, struct json **ret, struct config_problems *problems)
{
    struct rehearsing r = {.module = m, .name = name, .file = file, .problems = problems, .arena = arena_new()};
    struct connector_vm *vm = NULL;
    struct errmsg err = {{0}};
    size_t before = problems->count;

    check_file(&r, function);
    if (problems->count == before && is_verb(r.function)) {
        configure(&r);
    }
    if (problems->count == before && connector_vm_new(m, &vm, &err) != ST_OK) {
        config_problem_add(problems, connector_module_path(m), 0, "", "%s", err.text);
    }
    if (problems->count == before) {
        *ret = is_verb(r.function) ? run_verb(&r, vm, now_us) : run_alone(&r, vm);
    }
    connector_vm_free(vm);
    arena_free(r.arena);
    return problems->count == before ? ST_OK : ST_INVALID;
}

bool rehearsal_ok(const struct json *rehearsal)
{
    int64_t unused = 0;

    (void)json_get_i64(rehearsal, "unused_answers", &unused);
    return unused == 0 && !json_get(rehearsal, "error") &&
           !text_eq(json_get_str(json_get(rehearsal, "result"), "class"), "connector");
}

/* ---- for people */

static void print_request(const struct json *q, unsigned number, struct buf *out)
{
    int64_t cache_ms = 0, n = 0;
    struct buf body;

    buf_printf(out, "%u. %s ", number, json_get_str(q, "method"));
    print_escaped(json_get_str(q, "url"), out);
    buf_puts(out, json_get_bool(q, "is_write") ? "  (writes)" : "");
    if (json_get_i64(q, "cache_ms", &cache_ms) && cache_ms > 0) {
        buf_printf(out, "  (the answer is kept for %" PRId64 " s)", cache_ms / 1000);
    }
    buf_putc(out, '\n');
    for (const struct json *h = json_first(json_get(q, "headers")); h; h = json_next(h)) {
        buf_printf(out, "   %s: ", json_key(h));
        print_escaped(json_str(h), out);
        buf_putc(out, '\n');
    }
    if (json_type(json_get(q, "body")) != JSON_NULL) {
        buf_init(&body, TEXT_MAX_BYTES);
        print_value(json_get(q, "body"), BODY_MAX_CHARS, &body);
        buf_printf(out, "   %s\n", buf_text(&body));
        buf_free(&body);
    }
    if (json_get_i64(q, "status", &n)) {
        buf_printf(out, "   -> %s\n", n > 0 ? num_text(n).s : "the connection is lost");
    }
}

static void print_result(const struct json *result, struct buf *out)
{
    const char *error_class = json_get_str(result, "class");
    const char *message = json_get_str(result, "message");
    int64_t n = -1;

    buf_printf(out, "Ended: %s", json_get_str(result, "outcome"));
    if (error_class) {
        buf_printf(out, " (%s)", error_class);
    }
    if (json_get_bool(result, "found")) {
        buf_puts(out, ", found");
    }
    if (message) {
        buf_puts(out, ": ");
        print_escaped(message, out);
    }
    buf_putc(out, '\n');
    if (json_get_i64(result, "retry_after_ms", &n) && n >= 0) {
        buf_printf(out, "To be tried again in %" PRId64 " ms, says the ATS.\n", n);
    }
}

static void print_output(const struct json *rehearsal, struct buf *out)
{
    struct buf text;
    const char *line;

    if (!json_get(rehearsal, "output")) {
        buf_printf(out, "Function %s failed: ", json_get_str(rehearsal, "function"));
        print_escaped(json_get_str(rehearsal, "error"), out);
        buf_putc(out, '\n');
        return;
    }
    buf_init(&text, TEXT_MAX_BYTES);
    json_print_pretty(json_get(rehearsal, "output"), &text);
    line = buf_text(&text);
    while (*line != '\0') {
        size_t len = strcspn(line, "\n");
        char *one = mem_strndup(line, len);

        print_escaped_json(one, out);
        buf_putc(out, '\n');
        mem_free(one);
        line += len + (line[len] == '\n');
    }
    buf_free(&text);
}

void rehearsal_print(const struct json *rehearsal, struct buf *out)
{
    unsigned number = 0;
    int64_t unused = 0;

    if (json_get(rehearsal, "function")) {
        print_output(rehearsal, out);
        return;
    }
    for (const struct json *q = json_first(json_get(rehearsal, "requests")); q; q = json_next(q)) {
        print_request(q, ++number, out);
    }
    if (json_get_bool(rehearsal, "ended")) {
        print_result(json_get(rehearsal, "result"), out);
    } else {
        buf_printf(out, "No answer is recorded for request %u: add it to answers to see what comes next.\n", number);
    }
    if (json_get_i64(rehearsal, "unused_answers", &unused) && unused > 0) {
        buf_printf(out, "%" PRId64 " of the answers %s not used.\n", unused, unused == 1 ? "was" : "were");
    }
}
