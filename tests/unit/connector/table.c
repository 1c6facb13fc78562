#include "table.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "connector/auth.h"
#include "connector/request.h"
#include "connector/step.h"
#include "lib/json.h"

enum { FILE_MAX_BYTES = 4 * 1024 * 1024, JQ_MAX_BYTES = 64 * 1024 * 1024, VALUES_MAX = 32, STEPS_MAX = 60 };

static struct {
    struct json *file;
    struct connector_module *module;
    struct connector_vm *vm;
    struct buf questions; /* for jq, a line each */
    struct json *answers; /* what our engine answered, in the same order */
} table;

static const int64_t now_us = INT64_C(1800000000) * 1000000; /* 2027-01-15T08:00:00Z */

/* ---- the file */

static struct json *read_json(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct json *j = NULL;
    struct errmsg err = {""};
    struct buf text;
    char bytes[4096];
    size_t n;

    if (f == NULL) {
        print_error("%s cannot be opened: unit tests run in the root of the project\n", path);
        return NULL;
    }
    buf_init(&text, FILE_MAX_BYTES);
    while ((n = fread(bytes, 1, sizeof bytes, f)) > 0)
        buf_add(&text, bytes, n);
    (void)fclose(f);
    if (text.failed || json_parse(buf_text(&text), text.len, &j, &err) != ST_OK)
        print_error("%s: %s\n", path, text.failed ? "too long" : err.text);
    buf_free(&text);
    return j;
}

/* The case's own member, else the file's. */
static const struct json *of_case(const struct json *which, const char *name)
{
    const struct json *own = json_get(which, name);

    return own != NULL ? own : json_get(table.file, name);
}

/* A text stands for the entry of this name in a section of the file. */
static const struct json *named(const struct json *value, const char *section)
{
    const struct json *entry = value;

    if (json_str(value) != NULL) {
        entry = json_get(json_get(table.file, section), json_str(value));
        if (entry == NULL)
            fail_msg("there is no \"%s\" in %s", json_str(value), section);
    }
    return entry;
}

struct configured {
    struct connector_config connector;
    struct named_value settings[VALUES_MAX];
    struct named_value credentials[VALUES_MAX];
};

static size_t add_values(struct named_value *values, size_t count, const struct json *from)
{
    for (const struct json *v = json_first(from); v != NULL; v = json_next(v)) {
        size_t i = 0;

        while (i < count && strcmp(values[i].name, json_key(v)) != 0)
            i++;
        assert_true(i < VALUES_MAX);
        if (i < count)
            mem_free(values[i].value);
        else
            values[count++].name = mem_strdup(json_key(v));
        values[i].value = mem_strdup(json_str(v));
    }
    return count;
}

static void configure(struct configured *c, const struct json *which)
{
    *c = (struct configured){.connector = {.name = mem_strdup("ats")}};
    c->connector.setting_count = add_values(c->settings, 0, json_get(table.file, "settings"));
    c->connector.setting_count = add_values(c->settings, c->connector.setting_count, json_get(which, "settings"));
    c->connector.credential_count = add_values(c->credentials, 0, json_get(table.file, "credentials"));
    c->connector.settings = c->settings;
    c->connector.credentials = c->credentials;
    if (json_get_str(table.file, "base_url") != NULL)
        c->connector.base_url = mem_strdup(json_get_str(table.file, "base_url"));
}

static void configured_clear(struct configured *c)
{
    for (size_t i = 0; i < c->connector.setting_count; i++) {
        mem_free(c->settings[i].name);
        mem_free(c->settings[i].value);
    }
    for (size_t i = 0; i < c->connector.credential_count; i++) {
        mem_free(c->credentials[i].name);
        mem_free(c->credentials[i].value);
    }
    mem_free(c->connector.name);
    mem_free(c->connector.base_url);
}

static struct json *context_of(const struct json *which)
{
    static const char *const members[] = {"candidate", "job", "run", "write"};
    struct json *context = json_object();

    json_set_str(context, "workflow", "w");
    for (size_t i = 0; i < ATS_COUNT(members); i++) {
        const struct json *value = of_case(which, members[i]);

        json_set(context, members[i], value != NULL ? json_copy(value) : json_object());
    }
    return context;
}

/* ---- answers */

struct scripted {
    struct httpc_response response;
    struct httpc_header headers[VALUES_MAX];
    char *body;
};

static void scripted_make(struct scripted *s, const struct json *answer)
{
    const struct json *body = json_get(answer, "body");
    int64_t status = 200;

    (void)json_get_i64(answer, "status", &status);
    s->body = body != NULL ? json_text(body) : mem_strdup(json_get_str(answer, "text"));
    if (s->body == NULL)
        s->body = mem_strdup("");
    s->response = (struct httpc_response){.result = HTTPC_ANSWERED,
                                          .status = (long)status,
                                          .headers = s->headers,
                                          .body = s->body,
                                          .body_len = strlen(s->body),
                                          .error = ""};
    if (json_get_bool(answer, "lost")) {
        s->response.result = HTTPC_UNCERTAIN;
        s->response.status = 0;
        s->response.error = "the connection was lost";
    }
    for (const struct json *h = json_first(json_get(answer, "headers")); h != NULL; h = json_next(h)) {
        assert_true(s->response.header_count < VALUES_MAX);
        s->headers[s->response.header_count++] = (struct httpc_header){json_key(h), json_str(h)};
    }
}

/* As a module sees it in .got. */
static struct json *answer_seen(const struct json *answer)
{
    struct json *seen = json_object(), *body = NULL;
    struct scripted s;

    scripted_make(&s, answer);
    if (*s.body == '{' || *s.body == '[')
        assert_int_equal(json_parse(s.body, strlen(s.body), &body, NULL), ST_OK);
    json_set_int(seen, "status", s.response.status);
    json_set(seen, "headers",
             json_get(answer, "headers") != NULL ? json_copy(json_get(answer, "headers")) : json_object());
    json_set(seen, "body", body != NULL ? body : json_null());
    json_set_int(seen, "length", (int64_t)strlen(s.body));
    mem_free(s.body);
    return seen;
}

/* ---- what goes out */

static const char *header_sent(const struct prepared_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (strcasecmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    }
    return NULL;
}

/* "METHOD URL" as expected, with the base URL put in; mem_free. */
static char *wanted_line(const struct json *step, const struct connector_config *connector)
{
    const char *line = json_get_str(step, "request");
    const char *place = line != NULL ? strchr(line, ' ') : NULL;
    struct target *target = NULL;
    struct errmsg err = {""};
    char *wanted;

    if (place == NULL) {
        fail_msg("a step has no request such as \"GET /path\"");
        return NULL;
    }
    if (place[1] != '/')
        return mem_strdup(line);
    if (target_new(connector_module_meta(table.module), connector, &target, &err) != ST_OK)
        fail_msg("%s", err.text);
    wanted = mem_printf("%.*s%s%s", (int)(place + 1 - line), line, target_base_url(target), place + 1);
    target_free(target);
    return wanted;
}

static void check_body(const struct json *step, const struct prepared_request *r, size_t at)
{
    const struct json *body = json_get(step, "body");
    const char *form = json_get_str(step, "form");
    struct json *sent = NULL;

    if (body == NULL && form == NULL) {
        if (r->body != NULL)
            fail_msg("request %zu has a body: %s", at + 1, r->body);
        return;
    }
    if (r->body == NULL)
        fail_msg("request %zu has no body", at + 1);
    if (form != NULL) {
        assert_string_equal(r->body, form);
        return;
    }
    if (json_parse(r->body, r->body_len, &sent, NULL) != ST_OK || !json_equal(sent, body))
        fail_msg("request %zu: the body is\n%s\nand not\n%s", at + 1, r->body, json_text(body));
    json_free(sent);
}

static void check_request(const struct json *step, const struct prepared_request *r, size_t at,
                          const struct connector_config *connector)
{
    char *wanted = wanted_line(step, connector), *sent = mem_printf("%s %s", r->method, r->url);
    const struct json *write = json_get(step, "write");
    int64_t cache_ms;

    if (strcmp(wanted, sent) != 0)
        fail_msg("request %zu is\n%s\nand not\n%s\nwith body %s", at + 1, sent, wanted,
                 r->body != NULL ? r->body : "none");
    check_body(step, r, at);
    for (const struct json *h = json_first(json_get(step, "headers")); h != NULL; h = json_next(h)) {
        const char *value = header_sent(r, json_key(h));

        if (json_str(h) == NULL ? value != NULL : value == NULL || strcmp(value, json_str(h)) != 0)
            fail_msg("request %zu: the header %s is %s", at + 1, json_key(h), value != NULL ? value : "missing");
    }
    if (write != NULL && json_get_bool(step, "write") != r->is_write)
        fail_msg("request %zu: is_write is %s", at + 1, r->is_write ? "true" : "false");
    if (json_get_str(step, "cache") != NULL) {
        assert_true(text_to_duration_ms(json_get_str(step, "cache"), &cache_ms));
        if (cache_ms != r->cache_ms)
            fail_msg("request %zu: its answer is kept for %lld ms", at + 1, (long long)r->cache_ms);
    }
    mem_free(sent);
    mem_free(wanted);
}

static void check_text(const char *what, const struct json *wanted, const char *is)
{
    if (json_str(wanted) != NULL && strcmp(json_str(wanted), is) != 0)
        fail_msg("the %s is\n%s\nand not\n%s", what, is, json_str(wanted));
}

static void check_result(const struct json *wanted, const struct call_result *r)
{
    bool good = r->outcome == OUTCOME_OK || r->outcome == OUTCOME_ALREADY;
    int64_t ms;

    if (json_get_str(wanted, "outcome") == NULL)
        fail_msg("the case does not say what its outcome is");
    if (strcmp(json_get_str(wanted, "outcome"), outcome_name(r->outcome)) != 0)
        fail_msg("the outcome is %s (%s: %s) and not %s", outcome_name(r->outcome), r->error_class, r->message,
                 json_get_str(wanted, "outcome"));
    check_text("class", json_get(wanted, "class"), r->error_class);
    check_text("message", json_get(wanted, "message"), r->message);
    if (good && json_get(wanted, "message") == NULL)
        assert_string_equal(r->message, "");
    if (json_get_i64(wanted, "retry_after_ms", &ms))
        assert_int_equal(r->retry_after_ms, ms);
    if (json_get(wanted, "found") != NULL)
        assert_int_equal(r->found, json_get_bool(wanted, "found"));
    if (json_get(wanted, "was_write") != NULL)
        assert_int_equal(r->was_write, json_get_bool(wanted, "was_write"));
}

/* ---- a case in the engine */

static size_t steps_of(const struct json *which, const struct json **steps)
{
    size_t count = 0;

    for (const struct json *s = json_first(json_get(which, "steps")); s != NULL; s = json_next(s)) {
        assert_true(count < STEPS_MAX);
        steps[count++] = named(s, "steps");
    }
    return count;
}

static void run_in_engine(const struct json *which)
{
    const struct json *steps[STEPS_MAX];
    size_t count = steps_of(which, steps);
    const char *verb = json_get_str(which, "verb");
    struct json *context = context_of(which);
    struct configured c;
    struct call *call;

    configure(&c, which);
    call = call_new(table.vm, &c.connector, verb, json_copy(context), strcmp(verb, "note") == 0, "key");
    for (size_t i = 0; i < count; i++) {
        struct scripted s;

        if (call_advance(call) != CALL_REQUEST)
            fail_msg("it ended before request %zu: %s (%s: %s)", i + 1, outcome_name(call_result(call)->outcome),
                     call_result(call)->error_class, call_result(call)->message);
        check_request(steps[i], call_request(call), i, &c.connector);
        scripted_make(&s, named(json_get(steps[i], "answer"), "answers"));
        call_answer(call, &s.response, now_us);
        mem_free(s.body);
    }
    if (call_advance(call) != CALL_FINISHED)
        fail_msg("it makes a further request: %s %s %s", call_request(call)->method, call_request(call)->url,
                 call_request(call)->body != NULL ? call_request(call)->body : "without body");
    check_result(json_get(which, "result"), call_result(call));
    call_free(call);
    configured_clear(&c);
    json_free(context);
}

/* ---- the same with ids that try to leave their place */

static char *encoded(const char *text)
{
    struct buf b;

    buf_init(&b, FILE_MAX_BYTES);
    for (; *text != '\0'; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~", *text) != NULL)
            buf_putc(&b, *text);
        else
            buf_printf(&b, "%%%02X", (unsigned)(unsigned char)*text);
    }
    return buf_take(&b);
}

static char *replaced(const char *text, const char *old, const char *fresh)
{
    struct buf b;

    buf_init(&b, FILE_MAX_BYTES);
    while (*text != '\0') {
        if (*old != '\0' && strncmp(text, old, strlen(old)) == 0) {
            buf_puts(&b, fresh);
            text += strlen(old);
        } else {
            buf_putc(&b, *text++);
        }
    }
    return buf_take(&b);
}

/* The module may refuse the id; what it sends must differ in the id and in nothing else. */
static void run_with_id(const struct json *which, const char *old, const char *hostile, bool is_job)
{
    const struct json *steps[STEPS_MAX];
    size_t count = steps_of(which, steps);
    struct json *context = context_of(which), *candidate = json_copy(json_get(context, "candidate"));
    char *old_encoded = encoded(old), *new_encoded = encoded(hostile);
    struct configured c;
    struct call *call;

    configure(&c, which);
    if (is_job) {
        json_set_str(context, "job", hostile);
        json_free(candidate);
    } else {
        json_set_str(candidate, "id", hostile);
        json_set(context, "candidate", candidate);
    }
    call = call_new(table.vm, &c.connector, json_get_str(which, "verb"), json_copy(context), false, "key");
    for (size_t i = 0; i < count && call_advance(call) == CALL_REQUEST; i++) {
        char *line = wanted_line(steps[i], &c.connector), *wanted = replaced(line, old_encoded, new_encoded);
        char *sent = mem_printf("%s %s", call_request(call)->method, call_request(call)->url);
        struct scripted s;

        if (strcmp(sent, wanted) != 0 && strcmp(sent, line) != 0)
            fail_msg("with the id %s request %zu is\n%s\nand not\n%s", hostile, i + 1, sent, wanted);
        scripted_make(&s, named(json_get(steps[i], "answer"), "answers"));
        call_answer(call, &s.response, now_us);
        mem_free(s.body);
        mem_free(sent);
        mem_free(wanted);
        mem_free(line);
    }
    call_free(call);
    configured_clear(&c);
    mem_free(old_encoded);
    mem_free(new_encoded);
    json_free(context);
}

static void run_with_hostile_ids(const struct json *which)
{
    static const char *const hostile[] = {
        "a/b",
        "..",
        "x?y",
        "a%2fb",
        "q\"}#&=\\ ",
        "%2e%2e",
        "a/../b",
        "1 OR 1=1",
        "1' OR '1'='1",
        "1,2",
        "1) OR (1=1",
        "*",
        "null",
        "\\(env)",
        "{token}",
        "1\r\nX-A: b",
        "a\xc0\x80",
        "\xed\xa0\x80",
        "\xf0\x9f\x98\x80",
        "$(id)",
    };
    static const char *const ends[] = {"\n", " ", "\nx", ".0", "e0"};
    const char *id = json_get_str(of_case(which, "candidate"), "id");
    const char *job = json_str(of_case(which, "job"));

    for (size_t i = 0; i < ATS_COUNT(hostile); i++) {
        if (id != NULL)
            run_with_id(which, id, hostile[i], false);
        if (job != NULL)
            run_with_id(which, job, hostile[i], true);
    }
    /* one that would be equal for who looks at a line of it, or makes a number of it */
    for (size_t i = 0; i < ATS_COUNT(ends); i++) {
        char *like_id = id != NULL ? mem_printf("%s%s", id, ends[i]) : NULL;
        char *like_job = job != NULL ? mem_printf("%s%s", job, ends[i]) : NULL;

        if (id != NULL)
            run_with_id(which, id, like_id, false);
        if (job != NULL)
            run_with_id(which, job, like_job, true);
        mem_free(like_id);
        mem_free(like_job);
    }
}

/* ---- the same with answers that are JSON, but not what the ATS promises */

static const char *const junk[] = {"{}",    "[]",    "[5]",
                                   "[[1]]", "\"x\"", "{\"data\":5,\"results\":5,\"content\":5,\"candidate\":5}"};

/* Who writes a list or a text as a whole must have read it: an answer without it would have it overwritten. */
static void check_nothing_is_lost(const struct call *call, const char *body)
{
    const struct prepared_request *r = call_request(call);
    static const char *const whole[] = {"\"skillTags\":[", "\"attributes\":{\"tags\":[", "{\"tags\":["};
    bool replaces = r->is_write && (strcmp(r->method, "PUT") == 0 || strcmp(r->method, "PATCH") == 0);

    for (size_t i = 0; i < ATS_COUNT(whole) && replaces && r->body != NULL; i++) {
        if (strstr(r->body, whole[i]) != NULL)
            fail_msg("after the answer %s all is replaced by %s", body, r->body);
    }
}

/*
 * What was asked and not understood decides nothing: a note is not written once more because our own was not seen, and
 * nothing is dead because the list that has it was none. Where a list is a whole answer, an empty one is one
 * ("empty_answer": "[]"), and where empty members are left out any object is ("{}"); what was written may be answered
 * with anything.
 */
static void check_nothing_is_decided(struct call *call, const char *verb, size_t at, const char *body)
{
    const char *empty = json_get_str(table.file, "empty_answer");
    const struct call_result *r;

    /* a probe asks whether there is an answer at all */
    if (strcmp(verb, "probe") == 0 ||
        (empty != NULL && (strcmp(body, empty) == 0 || (empty[0] == '{' && body[0] == '{'))))
        return;
    if (call_advance(call) != CALL_FINISHED) {
        if (call_request(call)->is_write)
            fail_msg("when request %zu is answered with %s, %s %s is written", at + 1, body, call_request(call)->method,
                     call_request(call)->url);
        return;
    }
    r = call_result(call);
    if (r->outcome != OUTCOME_RETRY)
        fail_msg("when request %zu is answered with %s, it is %s (%s: %s)", at + 1, body, outcome_name(r->outcome),
                 r->error_class, r->message);
}

/* Whatever the module makes of it, it must not be the module's fault. The tables with "broken_answers" promise more:
 * nor does its program fail. */
static void run_with_junk(const struct json *which, size_t at, const char *body)
{
    static const struct httpc_header json_type_header[] = {{"content-type", "application/json"}};
    const struct json *steps[STEPS_MAX];
    size_t count = steps_of(which, steps);
    struct json *context = context_of(which);
    struct configured c;
    struct call *call;
    bool asked = false;

    configure(&c, which);
    call = call_new(table.vm, &c.connector, json_get_str(which, "verb"), json_copy(context), false, "key");
    for (size_t i = 0; i < count && i <= at && call_advance(call) == CALL_REQUEST; i++) {
        struct scripted s;

        scripted_make(&s, named(json_get(steps[i], "answer"), "answers"));
        if (i == at) {
            asked = !call_request(call)->is_write;
            s.response.body = body;
            s.response.body_len = strlen(body);
            s.response.status = 200;
            s.response.headers = json_type_header;
            s.response.header_count = ATS_COUNT(json_type_header);
        }
        call_answer(call, &s.response, now_us);
        mem_free(s.body);
    }
    if (asked)
        check_nothing_is_decided(call, json_get_str(which, "verb"), at, body);
    if (call_advance(call) == CALL_FINISHED) {
        const struct call_result *r = call_result(call);

        if (strcmp(r->error_class, "connector") == 0 ||
            (r->program_failed && json_get_bool(table.file, "broken_answers")))
            fail_msg("when request %zu is answered with %s: %s", at + 1, body, r->message);
    } else {
        check_nothing_is_lost(call, body);
    }
    call_free(call);
    configured_clear(&c);
    json_free(context);
}

static void run_with_broken_answers(const struct json *which)
{
    for (size_t at = 0; at < json_count(json_get(which, "steps")); at++) {
        for (size_t i = 0; i < ATS_COUNT(junk); i++)
            run_with_junk(which, at, junk[i]);
    }
}

/* ---- the same asked of jq */

static void remember(const char *function, const struct json *input, const struct json *answer)
{
    buf_printf(&table.questions, "{\"fn\":\"%s\",\"ctx\":", function);
    json_print_wrapped(input, &table.questions); /* as our engine hands it to jq */
    buf_puts(&table.questions, "}\n");
    json_push(table.answers, json_copy(answer));
}

static void add_settings(struct json *context, const struct json *which)
{
    struct json *settings = json_object();
    const struct json *const given[] = {json_get(table.file, "settings"), json_get(which, "settings")};

    for (const struct json *s = json_first(json_get(connector_module_meta(table.module), "settings")); s != NULL;
         s = json_next(s)) {
        if (json_str(json_get(s, "default")) != NULL)
            json_set_str(settings, json_key(s), json_str(json_get(s, "default")));
    }
    for (size_t i = 0; i < ATS_COUNT(given); i++) {
        for (const struct json *s = json_first(given[i]); s != NULL; s = json_next(s))
            json_set_str(settings, json_key(s), json_str(s));
    }
    json_set(context, "settings", settings);
}

static void add_text(struct json *context)
{
    const struct json *write = json_get(context, "write");
    const char *body = json_get_str(write, "body"), *marker = json_get_str(write, "marker");
    struct json *fresh;
    char *text;

    if (body == NULL || marker == NULL)
        return;
    fresh = json_copy(write);
    text = mem_printf("%s\n[%s]", body, marker);
    json_set_str(fresh, "text", text);
    json_set(context, "write", fresh);
    mem_free(text);
}

static void ask_classify(const struct json *which, const struct json *wish, const struct json *answer)
{
    struct json *input = answer_seen(answer), *request = json_object(), *opinion = NULL;
    const char *lookup = json_get_str(wish, "lookup");
    struct errmsg err = {""};

    json_set_str(request, "verb", json_get_str(which, "verb"));
    json_set_str(request, "method", json_get_str(json_get(wish, "request"), "method"));
    json_set_bool(request, "is_write", lookup == NULL || json_get_bool(wish, "write"));
    json_set_str(request, "lookup", lookup);
    json_set(input, "request", request);
    if (connector_vm_run(table.vm, "classify", input, &opinion, &err) != ST_OK)
        fail_msg("classify: %s", err.text);
    remember("classify", input, opinion);
    json_free(opinion);
    json_free(input);
}

static void save_answer(struct json *got, const struct json *wish, const struct json *answer)
{
    const char *lookup = json_get_str(wish, "lookup");
    struct json *list;

    if (!json_get_bool(wish, "append")) {
        json_set(got, lookup, answer_seen(answer));
        return;
    }
    list = json_get(got, lookup) != NULL ? json_copy(json_get(got, lookup)) : json_array();
    json_push(list, answer_seen(answer));
    json_set(got, lookup, list);
}

/* The engine does not ask again after an answer that ended the call, so a function need not cope with that one. */
static void run_as_functions(const struct json *which)
{
    const struct json *steps[STEPS_MAX];
    size_t count = steps_of(which, steps);
    const char *verb = json_get_str(which, "verb");
    struct json *context = context_of(which), *got = json_object();
    bool on = true;

    json_set(context, "got", got);
    add_settings(context, which);
    add_text(context);
    for (size_t i = 0; on; i++) {
        struct json *wish = NULL;
        struct errmsg err = {""};

        if (connector_vm_run(table.vm, verb, context, &wish, &err) != ST_OK) {
            if (i < count || count == 0)
                fail_msg("%s: %s", verb, err.text);
            break;
        }
        remember(verb, context, wish);
        on = i < count && json_get_str(wish, "lookup") != NULL;
        if (i < count && json_get(wish, "request") != NULL) {
            const struct json *answer = named(json_get(steps[i], "answer"), "answers");

            if (connector_module_has(table.module, "classify") && !json_get_bool(answer, "lost"))
                ask_classify(which, wish, answer);
            if (on)
                save_answer(got, wish, answer);
        }
        json_free(wish);
    }
    json_free(context);
}

static void test_case(void **state)
{
    const struct json *which = *state;

    run_in_engine(which);
    run_with_hostile_ids(which);
    run_with_broken_answers(which);
    run_as_functions(which);
}

/* Runs the jq command on all questions at once, as compiling takes most of the time. NULL: there is no such command. */
static char *jq_says(const char *program, const char *input, size_t len)
{
    char path[] = "/tmp/atsyncd-table-XXXXXX", bytes[4096];
    int out[2], status = 0, in = mkstemp(path);
    struct buf said;
    ssize_t n;
    pid_t pid;

    assert_true(in >= 0);
    (void)unlink(path);
    assert_int_equal(write(in, input, len), len);
    assert_int_equal(lseek(in, 0, SEEK_SET), 0);
    assert_int_equal(pipe(out), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (dup2(in, STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0 && close(out[0]) == 0)
            (void)execlp("jq", "jq", "-c", program, (char *)NULL);
        _exit(127);
    }
    (void)close(in);
    (void)close(out[1]);
    buf_init(&said, JQ_MAX_BYTES);
    while ((n = read(out[0], bytes, sizeof bytes)) > 0)
        buf_add(&said, bytes, (size_t)n);
    (void)close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        buf_free(&said);
        return NULL;
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return buf_take(&said);
}

static void test_jq_command_agrees(void **state)
{
    char *said, *line;

    (void)state;
    said = jq_says(connector_module_program(table.module), buf_text(&table.questions), table.questions.len);
    if (said == NULL)
        skip();
    line = said;
    for (const struct json *a = json_first(table.answers); a != NULL; a = json_next(a)) {
        char *end = strchr(line, '\n');
        struct json *jq = NULL;

        assert_non_null(end);
        assert_int_equal(json_parse_unwrap(line, (size_t)(end - line), &jq, NULL), ST_OK);
        if (!json_equal(jq, a))
            fail_msg("jq says %.*s\nand our engine %s", (int)(end - line), line, json_text(a));
        json_free(jq);
        line = end + 1;
    }
    assert_string_equal(line, "");
    mem_free(said);
}

/* ---- the module as a whole */

static void test_every_function_is_tried(void **state)
{
    static const char *const functions[] = {"stage", "reject",     "fields", "tags",
                                            "note",  "assessment", "probe",  "find_marker"};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(functions); i++) {
        bool tried = false;

        for (const struct json *c = json_first(json_get(table.file, "cases")); c != NULL; c = json_next(c))
            tried = tried || strcmp(json_get_str(c, "verb"), functions[i]) == 0;
        if (tried != connector_module_has(table.module, functions[i]))
            fail_msg("%s is %s", functions[i], tried ? "tried, but not in meta" : "not tried by any case");
    }
}

static void test_authentication(void **state)
{
    const struct json *wanted = json_get(table.file, "auth");
    struct auth_headers h = {.count = 0};
    struct errmsg err = {""};
    struct configured c;

    (void)state;
    if (wanted == NULL)
        skip();
    configure(&c, NULL);
    if (auth_headers_make(table.module, &c.connector, &h, &err) != ST_OK)
        fail_msg("%s", err.text);
    assert_int_equal(h.count, json_count(wanted));
    for (size_t i = 0; i < h.count; i++) {
        const char *value = json_get_str(wanted, h.items[i].name);

        assert_non_null(value);
        assert_string_equal(h.items[i].value, value);
    }
    auth_headers_clear(&h);
    configured_clear(&c);
}

static int set_up(void)
{
    const char *type = json_get_str(table.file, "type");
    struct errmsg err = {""};

    if (type == NULL || json_count(json_get(table.file, "cases")) == 0) {
        print_error("the file has no type or no cases\n");
        return -1;
    }
    if (connector_module_load("conf/atsyncd.conf", type, &table.module, &err) != ST_OK ||
        connector_vm_new(table.module, &table.vm, &err) != ST_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    buf_init(&table.questions, JQ_MAX_BYTES);
    table.answers = json_array();
    return 0;
}

static void tear_down(void)
{
    json_free(table.answers);
    buf_free(&table.questions);
    connector_vm_free(table.vm);
    connector_module_unref(table.module);
    json_free(table.file);
    memset(&table, 0, sizeof table);
}

/* ---- one note, for tests of all connectors */

static const struct json *first_note(void)
{
    for (const struct json *c = json_first(json_get(table.file, "cases")); c != NULL; c = json_next(c)) {
        const char *outcome = json_get_str(json_get(c, "result"), "outcome");

        if (strcmp(json_get_str(c, "verb"), "note") == 0 && outcome != NULL && strcmp(outcome, "ok") == 0)
            return c;
    }
    fail_msg("no case writes a note");
    return NULL;
}

static char *note_sent(const struct json *which, const char *body)
{
    const struct json *steps[STEPS_MAX];
    size_t count = steps_of(which, steps);
    struct json *context = context_of(which), *write = json_copy(json_get(context, "write"));
    struct configured c;
    struct call *call;
    char *sent = NULL;

    json_set_str(write, "body", body);
    json_set(context, "write", write);
    configure(&c, which);
    call = call_new(table.vm, &c.connector, "note", json_copy(context), true, "key");
    for (size_t i = 0; i < count && call_advance(call) == CALL_REQUEST; i++) {
        struct scripted s;

        if (call_request(call)->is_write) {
            mem_free(sent);
            sent = mem_strdup(call_request(call)->body);
        }
        scripted_make(&s, named(json_get(steps[i], "answer"), "answers"));
        call_answer(call, &s.response, now_us);
        mem_free(s.body);
    }
    assert_int_equal(call_advance(call), CALL_FINISHED);
    assert_int_equal(call_result(call)->outcome, OUTCOME_OK);
    assert_non_null(sent);
    call_free(call);
    configured_clear(&c);
    json_free(context);
    return sent;
}

void table_notes(const char *path, char *const *bodies, char **ret_sent, size_t count)
{
    table.file = read_json(path);
    assert_non_null(table.file);
    assert_int_equal(set_up(), 0);
    for (size_t i = 0; i < count; i++)
        ret_sent[i] = note_sent(first_note(), bodies[i]);
    tear_down();
}

int table_run(const char *path)
{
    struct CMUnitTest *tests = NULL;
    size_t count = 0;
    int rc = 1;

    table.file = read_json(path);
    if (table.file == NULL || set_up() != 0)
        goto out;
    tests = mem_zalloc((json_count(json_get(table.file, "cases")) + 3) * sizeof *tests);
    tests[count++] = (struct CMUnitTest){.name = "every_function_is_tried", .test_func = test_every_function_is_tried};
    if (json_get(table.file, "auth") != NULL)
        tests[count++] = (struct CMUnitTest){.name = "authentication", .test_func = test_authentication};
    for (const struct json *c = json_first(json_get(table.file, "cases")); c != NULL; c = json_next(c)) {
        if (json_get_str(c, "name") == NULL || json_get_str(c, "verb") == NULL) {
            print_error("case %zu has no name or no verb\n", count);
            goto out;
        }
        tests[count++] = (struct CMUnitTest){
            .name = json_get_str(c, "name"), .test_func = test_case, .initial_state = (void *)(uintptr_t)c};
    }
    tests[count++] = (struct CMUnitTest){.name = "jq_command_agrees", .test_func = test_jq_command_agrees};
    rc = _cmocka_run_group_tests(path, tests, count, NULL, NULL);
out:
    mem_free(tests);
    tear_down();
    return rc;
}
