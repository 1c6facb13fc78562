#include "connector/step.h"

#include <ctype.h>
#include <stdarg.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "connector/auth.h"
#include "connector/message.h"
#include "connector/meta.h"
#include "connector/request.h"
#include "lib/crypto.h"
#include "lib/jqvm.h"

enum {
    REQUESTS_MAX = 50,
    INPUT_MAX_BYTES = 128 * 1024 * 1024,
    OUTPUT_MAX_BYTES = 16 * 1024 * 1024,
    WORDS_MAX_BYTES = 4096,
    CLASS_MAX_BYTES = 40,
    OWN_MESSAGE_MAX_CHARS = 400,
    WAIT_MAX_MS = 24 * 3600 * 1000,
    ANSWER_DEPTH_MAX = 200,
    ANSWER_NAME_MAX_BYTES = 1024,
};

/* ---- running a function -------------------------------------------------------------------------------------------
 */

struct connector_vm {
    struct connector_module *module;
    struct jqvm *q;
    const struct connector_config *auth_of; /* whose sign-in this is; NULL: not made yet */
    struct auth_headers auth;               /* to know their values when an ATS repeats them */
};

int connector_vm_new(struct connector_module *m, struct connector_vm **ret, struct errmsg *err)
{
    struct jqvm *q = NULL;
    int st = jqvm_compile(connector_module_path(m), connector_module_program(m), &q, err);

    if (st != ST_OK)
        return st;
    *ret = mem_zalloc(sizeof **ret);
    (*ret)->module = connector_module_ref(m);
    (*ret)->q = q;
    return ST_OK;
}

void connector_vm_free(struct connector_vm *vm)
{
    if (vm == NULL)
        return;
    jqvm_free(vm->q);
    auth_headers_clear(&vm->auth);
    connector_module_unref(vm->module);
    mem_free(vm);
}

int connector_vm_run(struct connector_vm *vm, const char *function, const struct json *input, struct json **ret,
                     struct errmsg *err)
{
    struct buf words;
    struct errmsg said = {""};
    int st;

    if (!connector_module_has(vm->module, function))
        return err_set(err, ST_NOT_FOUND, "there is no such function: meta does not promise it");
    if (json_bytes(input) > INPUT_MAX_BYTES)
        return err_set(err, ST_LIMIT, "the answers so far are larger than %d bytes", INPUT_MAX_BYTES);
    st = jqvm_call(vm->q, function, input, OUTPUT_MAX_BYTES, ret, &said);
    if (st == ST_NOT_FOUND) {
        st = err_set(err, ST_INVALID, "it gave no answer");
    } else if (st != ST_OK) {
        buf_init(&words, WORDS_MAX_BYTES);
        message_of_jq(said.text, connector_module_source(vm->module), &words);
        st = err_set(err, st, "%s", buf_text(&words));
        buf_free(&words);
    }
    return st;
}

/* ---- a call
 * ------------------------------------------------------------------------------------------------------------ */

enum call_state { CALL_ASKING, CALL_WAITING, CALL_DONE };

struct call {
    struct connector_vm *vm;
    const struct json *meta;
    const struct connector_config *connector;
    struct target *target;
    struct arena *arena;
    struct redaction redaction;
    struct auth_grant **grants; /* all that were given: to know their values when an ATS repeats them */
    size_t grant_count;
    const char *verb;
    struct json *context;
    struct json *got; /* in context */
    bool is_append;
    const char *idempotency_key;

    enum call_state state;
    unsigned requests;
    bool refused;               /* the last answer was a "reauth" */
    const char *not_classified; /* why classify has no opinion of the last answer: it failed. NULL: it did not */
    bool repeated;
    bool wrote; /* a lookup of an append did what it was to write */
    struct call_result result;

    /* what the module wants now */
    struct json *wish;
    const char *lookup; /* in wish; NULL: it is the write itself */
    struct request request;
    struct prepared_request prepared;
};

/* However an append ends that has written something already: it must not begin anew before that is looked for. */
static void finish(struct call *c, enum outcome outcome, const char *error_class, const char *message, size_t max_chars)
{
    c->state = CALL_DONE;
    if (c->wrote && outcome != OUTCOME_OK && outcome != OUTCOME_ALREADY) {
        outcome = OUTCOME_UNCERTAIN;
        error_class = *error_class != '\0' ? error_class : "uncertain";
    }
    c->result.outcome = outcome;
    c->result.error_class = arena_strdup(c->arena, error_class);
    c->result.message = message != NULL ? message_clean(&c->redaction, message, max_chars) : "";
}

static char *in_function(const struct call *c, const char *function, const char *words)
{
    return arena_printf(c->arena, "connector %s, function %s: %s", connector_module_type(c->vm->module), function,
                        words);
}

static char *not_understood(const struct call *c, const char *function, const char *words)
{
    return arena_printf(c->arena, "the ATS answered with something that the connector does not understand (%s)",
                        in_function(c, function, words));
}

/* The module did something that no module may. */
static void finish_broken(struct call *c, const char *function, const char *words)
{
    finish(c, OUTCOME_INVALID, "connector", in_function(c, function, words), OWN_MESSAGE_MAX_CHARS);
}

/*
 * The module could not go on. With answers of the ATS before it, it is these that are not as they should be (half an
 * outage, a change of the API), which may pass; without any it is the module's own fault, which does not.
 */
static void finish_stuck(struct call *c, const char *words)
{
    if (json_count(c->got) == 0) {
        finish_broken(c, c->verb, words);
        return;
    }
    finish(c, OUTCOME_RETRY, "bad_answer", not_understood(c, c->verb, words), OWN_MESSAGE_MAX_CHARS);
    c->result.program_failed = true;
}

/* ---- long texts: cut before the module sees them */

static size_t chars_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* The text, or as much of it as leaves it within max_chars with the mark that shows the cut. */
static const char *cut_text(struct arena *arena, const char *text, size_t max_chars)
{
    static const char mark[] = "\xe2\x80\xa6 [cut]";
    size_t keep, at = 0;

    if (chars_of(text) <= max_chars)
        return text;
    keep = max_chars - chars_of(mark);
    for (size_t n = 0; text[at] != '\0'; at++) {
        if (((unsigned char)text[at] & 0xc0) != 0x80 && n++ == keep)
            break;
    }
    while (at > 0 && isspace((unsigned char)text[at - 1]))
        at--;
    return arena_printf(arena, "%.*s%s", (int)at, text, mark);
}

static size_t max_chars_of(const struct call *c, const char *verb)
{
    int64_t n = INT32_MAX;

    (void)json_get_i64(json_get(json_get(c->meta, "capabilities"), verb), "max_chars", &n);
    return (size_t)n;
}

static const struct json *write_of(const struct call *c)
{
    return json_get(c->context, "write");
}

/* A copy of the write with some texts replaced takes its place in the context. */
static void replace_write(struct call *c, const char *const *names, const char *const *texts, size_t count)
{
    struct json *fresh = json_copy(write_of(c));

    for (size_t i = 0; i < count; i++)
        json_set_str(fresh, names[i], texts[i]);
    json_set(c->context, "write", fresh);
}

/* ---- what a candidate has typed is no markup in a note */

static const char *as_html(struct arena *arena, const char *text)
{
    struct buf b;
    const char *html;

    buf_init(&b, strlen(text) * (sizeof "&quot;" - 1));
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            buf_puts(&b, "&amp;");
            break;
        case '<':
            buf_puts(&b, "&lt;");
            break;
        case '>':
            buf_puts(&b, "&gt;");
            break;
        case '"':
            buf_puts(&b, "&quot;");
            break;
        case '\r':
            if (text[1] != '\n')
                buf_putc(&b, *text);
            break;
        case '\n':
            buf_puts(&b, "<br>");
            break;
        default:
            buf_putc(&b, *text);
            break;
        }
    }
    html = arena_strdup(arena, buf_text(&b));
    buf_free(&b);
    return html;
}

/* What begins a tag, a comment or a declaration where a note is shown as HTML (HTML Standard, 13.2.5.6, tag open state) begins none any
 * more, and is read as before where it is shown as text. As many characters as before. */
static const char *without_tags(struct arena *arena, const char *text)
{
    static const char angle[] = "\xe2\x80\xb9";
    struct buf b;
    const char *plain;

    buf_init(&b, strlen(text) * (sizeof angle - 1));
    for (; *text != '\0'; text++) {
        if (text[0] == '<' && (isalpha((unsigned char)text[1]) || text[1] == '/' || text[1] == '!' || text[1] == '?'))
            buf_puts(&b, angle);
        else
            buf_putc(&b, *text);
    }
    plain = arena_strdup(arena, buf_text(&b));
    buf_free(&b);
    return plain;
}

static const char *for_note(struct call *c, const char *text)
{
    const char *shown_as = json_get_str(json_get(json_get(c->meta, "capabilities"), "note"), "shown_as");

    if (shown_as == NULL)
        return without_tags(c->arena, text);
    return strcmp(shown_as, "html") == 0 ? as_html(c->arena, text) : text;
}

static void fit_note(struct call *c)
{
    static const char *const names[] = {"body", "text"};
    const char *body = json_str(json_get(write_of(c), "body"));
    const char *marker = json_get_str(write_of(c), "marker");
    const char *texts[2];
    char *last = marker != NULL ? arena_printf(c->arena, "\n[%s]", marker) : arena_strdup(c->arena, "");
    size_t max = max_chars_of(c, "note"), last_chars = chars_of(last);

    if (body == NULL)
        return;
    texts[0] = arena_strdup(c->arena, cut_text(c->arena, body, max > last_chars ? max - last_chars : 0));
    texts[1] = for_note(c, arena_printf(c->arena, "%s%s", texts[0], last));
    texts[0] = for_note(c, texts[0]);
    replace_write(c, names, texts, ATS_COUNT(names));
}

static void fit_summary(struct call *c)
{
    static const char *const names[] = {"summary"};
    const char *summary = json_str(json_get(write_of(c), "summary"));
    const char *texts[1];

    if (summary == NULL)
        return;
    texts[0] = arena_strdup(c->arena, cut_text(c->arena, summary, max_chars_of(c, "assessment")));
    replace_write(c, names, texts, ATS_COUNT(names));
}

/* ---- beginning and end */

static void add_settings(struct call *c)
{
    struct json *settings = json_object();

    for (const struct json *s = json_first(json_get(c->meta, "settings")); s != NULL; s = json_next(s)) {
        const char *value = meta_setting(c->meta, c->connector, json_key(s));

        if (value != NULL)
            json_set_str(settings, json_key(s), value);
    }
    json_set(c->context, "settings", settings);
}

/* The headers that a connector always signs in with, made once; none if it has to ask for tokens. */
static const struct auth_headers *fixed_headers(struct connector_vm *vm, const struct connector_config *connector)
{
    if (vm->auth_of != connector) {
        auth_headers_clear(&vm->auth);
        vm->auth = (struct auth_headers){0};
        if (auth_headers_make(vm->module, connector, &vm->auth, NULL) != ST_OK)
            vm->auth = (struct auth_headers){0};
        vm->auth_of = connector;
    }
    return &vm->auth;
}

/* What must never be shown: the credentials, however they travel, and the candidate's answers. What the operator wrote
 * into the mapping (stage, reason, tags) may be. */
static void hide(struct call *c)
{
    static const char *const personal[] = {"fields", "body", "summary", "score"};
    const struct connector_config *connector = c->connector;
    const struct auth_headers *headers = fixed_headers(c->vm, connector);

    for (size_t i = 0; i < connector->credential_count; i++)
        redaction_add_secret(&c->redaction, connector->credentials[i].value);
    for (size_t i = 0; i < headers->count; i++) {
        const char *space = strchr(headers->values[i], ' ');

        redaction_add_secret(&c->redaction, space != NULL ? space + 1 : headers->values[i]);
    }
    for (size_t i = 0; i < ATS_COUNT(personal); i++)
        redaction_add_answers(&c->redaction, json_get(write_of(c), personal[i]));
}

struct call *call_new(struct connector_vm *vm, const struct connector_config *connector, const char *verb,
                      struct json *context, bool is_append, const char *idempotency_key)
{
    struct call *c = mem_zalloc(sizeof *c);
    struct errmsg err;

    c->vm = vm;
    c->meta = connector_module_meta(vm->module);
    c->connector = connector;
    c->arena = arena_new();
    redaction_init(&c->redaction, c->arena);
    c->verb = arena_strdup(c->arena, verb);
    c->is_append = is_append;
    c->idempotency_key = arena_strdup(c->arena, idempotency_key);
    c->result = (struct call_result){.error_class = "", .message = "", .retry_after_ms = -1};
    c->context = context;
    if (json_type(context) != JSON_OBJECT) {
        json_free(context);
        c->context = json_object();
    }
    hide(c);
    add_settings(c);
    if (strcmp(verb, "note") == 0 || strcmp(verb, "find_marker") == 0)
        fit_note(c);
    if (strcmp(verb, "assessment") == 0)
        fit_summary(c);
    c->got = json_object();
    json_set(c->context, "got", c->got);
    if (target_new(c->meta, connector, &c->target, &err) != ST_OK)
        finish(c, OUTCOME_CONFIG, "configuration", err.text, OWN_MESSAGE_MAX_CHARS);
    return c;
}

void call_set_grant(struct call *c, struct auth_grant *grant)
{
    struct errmsg err;

    if (c->grant_count > 0 && c->grants[c->grant_count - 1] == grant)
        return;
    c->grants = mem_grow(c->grants, c->grant_count + 1, sizeof(struct auth_grant *));
    c->grants[c->grant_count++] = auth_grant_ref(grant);
    for (size_t i = 0; i < grant->secret_count; i++)
        redaction_add_secret(&c->redaction, grant->secrets[i]);
    if (grant->base_url == NULL || c->target == NULL)
        return;
    if (target_move(c->target, grant->base_url, &err) != ST_OK)
        finish(c, OUTCOME_REAUTH, "configuration", err.text, OWN_MESSAGE_MAX_CHARS);
}

static void forget_wish(struct call *c)
{
    request_clear(&c->request);
    json_free(c->wish);
    c->wish = NULL;
    c->lookup = NULL;
}

void call_free(struct call *c)
{
    if (c == NULL)
        return;
    forget_wish(c);
    redaction_clear(&c->redaction);
    for (size_t i = 0; i < c->grant_count; i++)
        auth_grant_unref(c->grants[i]);
    mem_free(c->grants);
    target_free(c->target);
    json_free(c->context);
    arena_free(c->arena);
    mem_free(c);
}

/* ---- what the module decided
 * ------------------------------------------------------------------------------------------ */

/* The meaning of a class that a module fails with; also which classes there are. */
static const struct {
    const char *error_class;
    enum outcome outcome;
} classes[] = {
    {"not_found", OUTCOME_NOT_FOUND},
    {"invalid", OUTCOME_INVALID},
    {"configuration", OUTCOME_CONFIG},
    {"permission", OUTCOME_CONFIG},
    {"credentials", OUTCOME_REAUTH},
    {"unavailable", OUTCOME_RETRY},
    {"rate_limited", OUTCOME_THROTTLED},
    {"uncertain", OUTCOME_UNCERTAIN},
    {"bad_answer", OUTCOME_RETRY},
    {"stale", OUTCOME_STALE},
    {"moved", OUTCOME_SKIP},
    {"connector", OUTCOME_INVALID},
};

static const char *class_of(enum outcome outcome)
{
    for (size_t i = 0; i < ATS_COUNT(classes); i++) {
        if (classes[i].outcome == outcome)
            return classes[i].error_class;
    }
    return ""; /* ok, already */
}

/* It goes into metrics and views. */
static bool is_class(const char *s)
{
    size_t len = strlen(s);

    for (; *s != '\0'; s++) {
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '_')
            return false;
    }
    return len > 0 && len <= CLASS_MAX_BYTES;
}

static void decide_fail(struct call *c)
{
    const char *name = json_str(json_get(c->wish, "fail"));
    const char *message = json_str(json_get(c->wish, "message"));

    for (size_t i = 0; name != NULL && i < ATS_COUNT(classes); i++) {
        if (strcmp(classes[i].error_class, name) == 0) {
            finish(c, classes[i].outcome, name, message, MESSAGE_MAX_CHARS);
            return;
        }
    }
    finish_broken(c, c->verb, arena_printf(c->arena, "\"%s\" is no class to fail with", name != NULL ? name : "null"));
}

static void decide_skip(struct call *c)
{
    const char *why = json_str(json_get(c->wish, "skip"));
    const char *error_class = json_str(json_get(c->wish, "class"));

    if (why == NULL || (error_class != NULL && !is_class(error_class)))
        finish_broken(c, c->verb, "skip must be a text, and class a word of small letters");
    else
        finish(c, OUTCOME_SKIP, error_class != NULL ? error_class : "moved", why, MESSAGE_MAX_CHARS);
}

static void decide_already(struct call *c)
{
    if (json_get_bool(c->wish, "already"))
        finish(c, OUTCOME_ALREADY, "", NULL, 0);
    else
        finish_broken(c, c->verb, "already can only be true");
}

static void decide_found(struct call *c)
{
    enum json_type type = json_type(json_get(c->wish, "found"));

    c->result.found = type == JSON_TRUE;
    if (type == JSON_TRUE || type == JSON_FALSE)
        finish(c, OUTCOME_OK, "", NULL, 0);
    else
        finish_broken(c, c->verb, "found must be true or false");
}

static bool is_path(const struct json *path)
{
    for (const struct json *name = json_first(path); name != NULL; name = json_next(name)) {
        if (json_str(name) == NULL)
            return false;
    }
    return json_type(path) == JSON_ARRAY;
}

/* What a lookup asks for beside its request; NULL: all is right. */
static const char *lookup_fault(const struct call *c)
{
    const struct json *expect = json_get(c->wish, "expect");
    const struct json *cache = json_get(c->wish, "cache");
    const struct json *list = json_get(c->wish, "list");
    const struct json *record = json_get(c->wish, "record");
    const struct json *old = c->lookup != NULL ? json_get(c->got, c->lookup) : NULL;
    bool append = json_get_bool(c->wish, "append");
    double status;
    int64_t ms;

    if (json_get(c->wish, "lookup") == NULL)
        return expect != NULL || cache != NULL || append || list != NULL || record != NULL ||
                       json_get(c->wish, "write") != NULL
                   ? "expect, list, record, append, write and cache belong to a lookup"
                   : NULL;
    if (c->lookup == NULL || *c->lookup == '\0')
        return "a lookup must have a name";
    if (old != NULL && append != (json_type(old) == JSON_ARRAY))
        return "a lookup of this name was made before, once with append and once without";
    if (old != NULL && !append)
        return "the same lookup a second time";
    for (const struct json *e = json_first(expect); e != NULL; e = json_next(e)) {
        if (!json_num(e, &status) || status < 100 || status > 599)
            return "expect must be a list of HTTP statuses";
    }
    if (expect != NULL && json_type(expect) != JSON_ARRAY)
        return "expect must be a list of HTTP statuses";
    if (cache != NULL && (json_str(cache) == NULL || !text_to_duration_ms(json_str(cache), &ms)))
        return "cache must be a duration such as \"15m\"";
    if ((list != NULL && !is_path(list)) || (record != NULL && !is_path(record)))
        return "list and record must be lists of members' names";
    return NULL;
}

/* A lookup that writes gets a key of its own, which is the same whenever this write is repeated. */
static const char *key_of(const struct call *c)
{
    char uuid[37];

    if (c->idempotency_key == NULL || c->lookup == NULL)
        return c->idempotency_key;
    crypto_uuid_of(arena_printf(c->arena, "%s/%s", c->idempotency_key, c->lookup), uuid);
    return arena_strdup(c->arena, uuid);
}

/* Makes the request that the module wants. Goes on with what waits, or ends the call. */
static void prepare_request(struct call *c, bool is_write)
{
    struct errmsg err;
    int st = request_make(c->target, json_get(c->wish, "request"), is_write ? key_of(c) : NULL, &c->request, &err);

    if (st == ST_NOT_FOUND && json_count(c->got) == 0)
        st = ST_DENIED; /* what is null has not come from an answer */
    if (st == ST_DENIED) {
        finish(c, OUTCOME_INVALID, "invalid", err.text, OWN_MESSAGE_MAX_CHARS);
        return;
    }
    if (st != ST_OK) {
        finish_stuck(c, err.text);
        return;
    }
    c->prepared = (struct prepared_request){
        .method = c->request.method,
        .url = c->request.url,
        .path_for_log = message_clean(&c->redaction, c->request.path, REQUEST_URL_MAX_BYTES),
        .headers = c->request.headers,
        .header_count = c->request.header_count,
        .body = c->request.body,
        .body_len = c->request.body_len,
        .is_write = is_write,
    };
    if (json_str(json_get(c->wish, "cache")) != NULL &&
        !text_to_duration_ms(json_str(json_get(c->wish, "cache")), &c->prepared.cache_ms))
        c->prepared.cache_ms = 0;
    c->state = CALL_WAITING;
}

static void decide_request(struct call *c)
{
    const char *fault;
    bool is_write;

    c->lookup = json_str(json_get(c->wish, "lookup"));
    fault = lookup_fault(c);
    if (fault != NULL) {
        finish_broken(c, c->verb, fault);
        return;
    }
    if (c->requests == REQUESTS_MAX) {
        finish_broken(c, c->verb, arena_printf(c->arena, "more than %d requests for one write", REQUESTS_MAX));
        return;
    }
    is_write = json_get(c->wish, "lookup") == NULL || json_get_bool(c->wish, "write");
    if (is_write && (strcmp(c->verb, "find_marker") == 0 || strcmp(c->verb, "probe") == 0)) {
        finish_broken(c, c->verb, "it may only look, so every request must be a lookup");
        return;
    }
    c->requests++;
    prepare_request(c, is_write);
}

static void decide(struct call *c)
{
    static const struct {
        const char *member;
        void (*fn)(struct call *c);
    } decisions[] = {{"request", decide_request},
                     {"already", decide_already},
                     {"skip", decide_skip},
                     {"fail", decide_fail},
                     {"found", decide_found}};
    static const char *const members[] = {"request", "lookup", "already", "skip",  "fail",  "found", "message",
                                          "class",   "expect", "append",  "write", "cache", "list",  "record"};
    size_t chosen = 0, count = 0;

    for (const struct json *m = json_first(c->wish); m != NULL && json_type(c->wish) == JSON_OBJECT; m = json_next(m)) {
        size_t i = 0;

        while (i < ATS_COUNT(members) && strcmp(members[i], json_key(m)) != 0)
            i++;
        if (i == ATS_COUNT(members)) {
            const char *meant = suggest(json_key(m), members, ATS_COUNT(members));

            finish_broken(c, c->verb,
                          arena_printf(c->arena, "its result has an unknown member \"%s\"%s%s%s", json_key(m),
                                       meant != NULL ? ", did you mean \"" : "", meant != NULL ? meant : "",
                                       meant != NULL ? "\"?" : ""));
            return;
        }
    }
    for (size_t i = 0; i < ATS_COUNT(decisions); i++) {
        if (json_get(c->wish, decisions[i].member) != NULL) {
            chosen = i;
            count++;
        }
    }
    if (count == 1)
        decisions[chosen].fn(c);
    else
        finish_broken(c, c->verb,
                      "its result must be an object with exactly one of request, already, skip, fail and found");
}

enum call_next call_advance(struct call *c)
{
    struct errmsg err;
    int st;

    if (c->state == CALL_ASKING) {
        forget_wish(c);
        st = connector_vm_run(c->vm, c->verb, c->context, &c->wish, &err);
        if (st == ST_OK)
            decide(c);
        else if (st == ST_LIMIT) /* too large or too deep, and it will not get smaller */
            finish(c, OUTCOME_INVALID, json_count(c->got) == 0 ? "invalid" : "bad_answer", err.text,
                   OWN_MESSAGE_MAX_CHARS);
        else
            finish_stuck(c, err.text);
    }
    return c->state == CALL_WAITING ? CALL_REQUEST : CALL_FINISHED;
}

const struct prepared_request *call_request(const struct call *c)
{
    return c->state == CALL_WAITING ? &c->prepared : NULL;
}

/* ---- answers
 * ------------------------------------------------------------------------------------------------------------- */

static bool contains_ignoring_case(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (; *text != '\0'; text++) {
        if (strncasecmp(text, word, len) == 0)
            return true;
    }
    return false;
}

static const char *first_mark(const char *body)
{
    while (isspace((unsigned char)*body))
        body++;
    return body;
}

/*
 * As no API answers: nested deeper than jq and PostgreSQL like it, or with a name that is a text of its own. libjq 1.6
 * loses a name of an object whenever an error ends .[] over it, so what the ATS sends must not decide how much that is.
 */
static bool is_monstrous(const struct json *j, unsigned levels)
{
    bool is_container = json_type(j) == JSON_ARRAY || json_type(j) == JSON_OBJECT;

    if (is_container && levels == 0)
        return true;
    for (const struct json *child = json_first(j); child != NULL; child = json_next(child)) {
        const char *name = json_key(child);

        if ((name != NULL && strlen(name) > ANSWER_NAME_MAX_BYTES) || is_monstrous(child, levels - 1))
            return true;
    }
    return false;
}

/* NULL: no JSON. The content type may lie or be missing, so the body is looked at, too. */
static struct json *parse_body(const struct httpc_response *response)
{
    const char *type = httpc_header_value(response, "content-type");
    char first = *first_mark(response->body);
    struct json *body = NULL;

    if (first == '\0' || (first != '{' && first != '[' && (type == NULL || !contains_ignoring_case(type, "json"))))
        return NULL;
    if (json_parse(response->body, response->body_len, &body, NULL) != ST_OK)
        return NULL;
    if (!is_monstrous(body, ANSWER_DEPTH_MAX))
        return body;
    json_free(body);
    return NULL;
}

static bool is_page(const struct httpc_response *response)
{
    const char *type = httpc_header_value(response, "content-type");
    const char *text = first_mark(response->body);

    if (*text == '\0')
        return false;
    return (type != NULL && contains_ignoring_case(type, "text/html")) ||
           strncasecmp(text, "<!doctype html", 14) == 0 || strncasecmp(text, "<html", 5) == 0;
}

/* Header values are bytes; where they are no UTF-8, what is beyond ASCII becomes U+FFFD, which means nothing in an address either. */
static char *header_text(const char *value)
{
    static const char stands_for_it[] = "\xef\xbf\xbd";
    size_t len = strlen(value);
    struct buf text;

    if (text_is_utf8(value, len))
        return mem_strdup(value);
    buf_init(&text, len * (sizeof stands_for_it - 1));
    for (const char *p = value; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x80)
            buf_putc(&text, *p);
        else
            buf_puts(&text, stands_for_it);
    }
    return buf_take(&text);
}

/* RFC 9110 section 5.3: fields of one name are one list. */
static struct json *headers_json(const struct httpc_response *response)
{
    struct json *headers = json_object();

    for (size_t i = 0; i < response->header_count; i++) {
        char *name = header_text(response->headers[i].name);
        char *value = header_text(response->headers[i].value);
        const char *before = json_str(json_get(headers, name));
        char *joined = before != NULL ? mem_printf("%s, %s", before, value) : mem_strdup(value);

        json_set_str(headers, name, joined);
        mem_free(joined);
        mem_free(value);
        mem_free(name);
    }
    return headers;
}

static struct json *answer_json(const struct httpc_response *response)
{
    struct json *answer = json_object();
    struct json *body = parse_body(response);

    json_set_int(answer, "status", response->status);
    json_set(answer, "headers", headers_json(response));
    json_set(answer, "body", body != NULL ? body : json_null());
    json_set_int(answer, "length", (int64_t)response->body_len);
    return answer;
}

static void save_answer(struct call *c, const struct json *answer)
{
    const struct json *old = json_get(c->got, c->lookup);
    struct json *list;

    if (!json_get_bool(c->wish, "append")) {
        json_set(c->got, c->lookup, json_copy(answer));
        return;
    }
    list = old != NULL ? json_copy(old) : json_array();
    json_push(list, json_copy(answer));
    json_set(c->got, c->lookup, list);
}

static const struct json *at_path(const struct json *body, const struct json *path)
{
    for (const struct json *name = json_first(path); name != NULL; name = json_next(name))
        body = json_get(body, json_str(name));
    return body;
}

/* Some vendors write null for an empty list. */
static bool has_list_of_records(const struct json *body, const struct json *path)
{
    const struct json *list = at_path(body, path);

    for (const struct json *record = json_first(list); record != NULL; record = json_next(record)) {
        if (json_type(record) != JSON_OBJECT)
            return false;
    }
    return json_type(list) == JSON_ARRAY || (list != NULL && json_type(list) == JSON_NULL && json_count(path) > 0);
}

static const char *without(struct call *c, const char *what, const struct json *path)
{
    struct buf names;
    const char *words;

    buf_init(&names, WORDS_MAX_BYTES);
    for (const struct json *name = json_first(path); name != NULL; name = json_next(name))
        buf_printf(&names, "%s%s", names.len > 0 ? "." : " at ", json_str(name));
    words =
        arena_printf(c->arena, "the ATS answered the lookup \"%s\" without %s%s", c->lookup, what, buf_text(&names));
    buf_free(&names);
    return words;
}

/* A lookup may say what its answer must hold, so that something else (half an outage, a gateway's own words) is not
 * taken for "there is none"; NULL: it does. No content is an empty list. */
static const char *lacks(struct call *c, long status, const struct json *answer)
{
    const struct json *list = json_get(c->wish, "list");
    const struct json *record = json_get(c->wish, "record");
    const struct json *body = json_get(answer, "body");

    if (status < 200 || status > 299)
        return NULL; /* one that the lookup expects */
    if (list != NULL && status != 204 && !has_list_of_records(body, list))
        return without(c, "a list of records", list);
    if (record != NULL && json_type(at_path(body, record)) != JSON_OBJECT)
        return without(c, "a record", record);
    return NULL;
}

static bool is_expected(const struct call *c, long status)
{
    double n;

    for (const struct json *e = json_first(json_get(c->wish, "expect")); e != NULL; e = json_next(e)) {
        if (json_num(e, &n) && (long)n == status)
            return true;
    }
    return false;
}

/* One of the vendor's own headers, by its unit. */
static bool wait_of_header(const char *value, const char *unit, int64_t now_us, int64_t *ret_ms)
{
    int64_t then_us;
    double n;

    if (strcmp(unit, "http_date") == 0 || strcmp(unit, "iso8601") == 0) {
        if (strcmp(unit, "iso8601") == 0 ? !time_parse_iso8601(value, &then_us)
                                         : !time_parse_http_date(value, &then_us))
            return false;
        n = (double)(then_us - now_us) / 1000;
    } else {
        if (!decimal_parse(value, &n))
            return false;
        n = strcmp(unit, "epoch_ms") == 0 ? n : n * 1000;
        n = strcmp(unit, "seconds") == 0 ? n : n - (double)now_us / 1000;
    }
    n = n > 0 ? n : 0;
    *ret_ms = n < WAIT_MAX_MS ? (int64_t)n : WAIT_MAX_MS;
    return true;
}

/* How long the ATS wants us to wait; -1: it did not say. */
static int64_t wait_asked(const struct call *c, const struct httpc_response *response, enum outcome outcome,
                          int64_t now_us)
{
    const char *after = httpc_header_value(response, "retry-after");
    int64_t ms = -1;

    if (after != NULL && retry_after_ms(after, now_us, &ms))
        return ms;
    if (outcome != OUTCOME_THROTTLED)
        return -1; /* the vendors' own headers come with every answer */
    for (const struct json *r = json_first(json_get(c->meta, "retry_after")); r != NULL; r = json_next(r)) {
        char *name = mem_strdup(json_str(json_get(r, "header")));
        const char *value;

        for (char *p = name; *p != '\0'; p++)
            *p = (char)tolower((unsigned char)*p);
        value = httpc_header_value(response, name);
        mem_free(name);
        if (value != NULL && wait_of_header(value, json_str(json_get(r, "unit")), now_us, &ms))
            return ms;
    }
    (void)json_get_i64(c->meta, "throttle_ms", &ms);
    return ms;
}

/* The module's own opinion: the classification, or NULL if it has none, or could not come to one. */
static struct json *ask_classify(struct call *c, const struct json *answer)
{
    static const char *const members[] = {"outcome", "class", "message", "retry_after_ms"};
    struct json *input, *request, *opinion = NULL;
    struct errmsg err;
    enum outcome outcome;
    const char *name;
    const char *fault = NULL;
    int st;

    c->not_classified = NULL;
    if (!connector_module_has(c->vm->module, "classify"))
        return NULL;
    request = json_object();
    json_set_str(request, "verb", c->verb);
    json_set_str(request, "method", c->request.method);
    json_set_bool(request, "is_write", c->prepared.is_write);
    json_set_str(request, "lookup", c->lookup);
    input = json_copy(answer);
    json_set(input, "request", request);
    st = connector_vm_run(c->vm, "classify", input, &opinion, &err);
    json_free(input);
    if (st != ST_OK) {
        c->not_classified = not_understood(c, "classify", err.text);
        return NULL;
    }
    if (json_type(opinion) == JSON_NULL) {
        json_free(opinion);
        return NULL;
    }
    name = json_str(json_get(opinion, "outcome"));
    if (json_type(opinion) != JSON_OBJECT || name == NULL)
        fault = "its result must be null or an object with an outcome";
    else if (!outcome_parse(name, &outcome))
        fault = arena_printf(c->arena, "\"%s\" is no outcome", name);
    else if (json_str(json_get(opinion, "class")) != NULL && !is_class(json_str(json_get(opinion, "class"))))
        fault = "class must be a word of small letters, digits and _";
    for (const struct json *m = json_first(opinion); m != NULL && fault == NULL; m = json_next(m)) {
        size_t i = 0;

        while (i < ATS_COUNT(members) && strcmp(members[i], json_key(m)) != 0)
            i++;
        if (i == ATS_COUNT(members))
            fault = arena_printf(c->arena, "its result has an unknown member \"%s\"", json_key(m));
    }
    if (fault != NULL) {
        c->not_classified = in_function(c, "classify", fault);
        json_free(opinion);
        return NULL;
    }
    return opinion;
}

struct judgement {
    enum outcome outcome;
    const char *error_class;
    const char *message; /* NULL: none */
    int64_t retry_after_ms;
};

static void judge_by_opinion(const struct json *opinion, struct judgement *j)
{
    const char *error_class = json_get_str(opinion, "class");
    double ms;

    (void)outcome_parse(json_str(json_get(opinion, "outcome")), &j->outcome);
    j->error_class = error_class != NULL ? error_class : class_of(j->outcome);
    if (json_get_str(opinion, "message") != NULL)
        j->message = json_get_str(opinion, "message");
    if (json_num(json_get(opinion, "retry_after_ms"), &ms))
        j->retry_after_ms = ms < 0 ? 0 : ms < WAIT_MAX_MS ? (int64_t)ms : WAIT_MAX_MS;
}

static enum reached reached_of(const struct httpc_response *response)
{
    switch (response->result) {
    case HTTPC_ANSWERED:
    case HTTPC_TOO_LARGE:
        return REACHED_ANSWER;
    case HTTPC_NOT_SENT:
        return REACHED_NOTHING;
    case HTTPC_UNCERTAIN:
        return REACHED_PERHAPS;
    case HTTPC_REFUSED:
        return REACHED_REFUSED;
    }
    return REACHED_PERHAPS;
}

static void judge_by_status(const struct call *c, const struct httpc_response *response, struct judgement *j)
{
    struct response_facts facts = {
        .reached = reached_of(response),
        .status = response->status,
        .is_append = c->is_append && c->prepared.is_write,
        .is_foreign = is_page(response) || c->not_classified != NULL,
        .has_retry_after = httpc_header_value(response, "retry-after") != NULL,
    };
    struct meaning meaning;

    if (c->lookup != NULL && response->result == HTTPC_ANSWERED && is_expected(c, response->status)) {
        *j = (struct judgement){.outcome = OUTCOME_OK, .error_class = "", .retry_after_ms = -1};
        return;
    }
    meaning = outcome_of_response(&facts);
    if (response->result == HTTPC_ANSWERED && auth_is_invalid_status(c->meta, response->status))
        meaning = (struct meaning){OUTCOME_REAUTH, "credentials"};
    /* only looking does nothing, however it ends */
    if (!c->prepared.is_write && meaning.outcome == OUTCOME_UNCERTAIN)
        meaning = (struct meaning){OUTCOME_RETRY, "unavailable"};
    /* an answer that we could not keep serves a write, but not who wanted to read it; it will not get smaller */
    if (response->result == HTTPC_TOO_LARGE && c->lookup != NULL && meaning.outcome == OUTCOME_OK)
        meaning = (struct meaning){OUTCOME_INVALID, "bad_answer"};
    j->outcome = meaning.outcome;
    j->error_class = meaning.error_class;
}

static void judge(struct call *c, const struct httpc_response *response, const struct json *answer,
                  const struct json *opinion, int64_t now_us)
{
    struct judgement j = {.outcome = OUTCOME_OK, .error_class = "", .retry_after_ms = -1};
    bool good;

    j.message = response->result == HTTPC_ANSWERED ? message_of_body(json_get(answer, "body")) : response->error;
    judge_by_status(c, response, &j);
    if (opinion != NULL)
        judge_by_opinion(opinion, &j);
    else if (c->not_classified != NULL && (j.message == NULL || strcmp(j.error_class, "bad_answer") == 0))
        j.message = c->not_classified;
    if (j.retry_after_ms < 0 &&
        (j.outcome == OUTCOME_THROTTLED || j.outcome == OUTCOME_RETRY || j.outcome == OUTCOME_UNCERTAIN))
        j.retry_after_ms = wait_asked(c, response, j.outcome, now_us);
    good = j.outcome == OUTCOME_OK || j.outcome == OUTCOME_ALREADY;
    c->wrote = c->wrote || (good && c->lookup != NULL && c->is_append && c->prepared.is_write);
    if (good && c->lookup != NULL) {
        const char *fault = lacks(c, response->status, answer);

        if (fault != NULL) {
            finish(c, OUTCOME_RETRY, "bad_answer", fault, OWN_MESSAGE_MAX_CHARS);
            return;
        }
        save_answer(c, answer);
        c->state = CALL_ASKING;
        return;
    }
    finish(c, j.outcome, j.error_class, good && opinion == NULL ? NULL : j.message,
           j.message == c->not_classified ? OWN_MESSAGE_MAX_CHARS : MESSAGE_MAX_CHARS);
    c->result.retry_after_ms = j.retry_after_ms;
    c->result.was_write = c->lookup == NULL;
    c->refused = j.outcome == OUTCOME_REAUTH;
}

void call_answer(struct call *c, const struct httpc_response *response, int64_t now_us)
{
    struct json *answer, *opinion;

    if (c->state != CALL_WAITING)
        return;
    c->result.http_status = response->status;
    answer = answer_json(response);
    opinion = response->result == HTTPC_ANSWERED ? ask_classify(c, answer) : NULL;
    judge(c, response, answer, opinion, now_us);
    json_free_secret(opinion);
    json_free_secret(answer); /* it may repeat what we signed in with */
}

bool call_repeat(struct call *c)
{
    if (c->state != CALL_DONE || !c->refused || c->repeated)
        return false;
    c->repeated = true;
    c->refused = false;
    c->not_classified = NULL;
    c->result = (struct call_result){.error_class = "", .message = "", .retry_after_ms = -1};
    request_clear(&c->request); /* the base URL may be another one now */
    prepare_request(c, c->prepared.is_write);
    return true;
}

bool call_wrote(const struct call *c)
{
    return c->wrote;
}

const struct call_result *call_result(const struct call *c)
{
    return &c->result;
}
