/*
 * The kinds that get tokens are all one: a list of steps, each a request whose texts are templates and whose answer gives
 * values by JSON Pointers. The two oauth2 kinds are lists of one step, made here out of their members.
 */
#include "connector/auth.h"

#include <ctype.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/mem.h"
#include "base/text.h"
#include "connector/message.h"
#include "connector/meta.h"
#include "domain/backoff.h"
#include "lib/crypto.h"

enum {
    CREDENTIALS_MAX_BYTES = 64 * 1024,
    TEXT_MAX_BYTES = 256 * 1024,
    VALUE_MAX_BYTES = 16 * 1024,
    DIGEST_HEX_BYTES = 2 * CRYPTO_SHA256_BYTES + 1,
    TOKENS_FORMAT = 1,
    REFRESH_BEFORE_MS = 60000,
    FAILURE_MAX_CHARS = 400,
    CODE_MAX_BYTES = 60,
};
static const double LIFETIME_MAX_S = 10.0 * 365 * 86400;
static const double EPOCH_MS_FROM = 1e11; /* a number over this counts milliseconds: as seconds it is the year 5138 */

static bool is_header_value(const char *s)
{
    for (; *s != '\0'; s++) {
        if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
            return false;
    }
    return true;
}

/* ---- headers --------------------------------------------------------------------------------------------------------
 */

/* What the templates of one connector are filled with. */
struct source {
    const struct json *meta;
    const struct connector_config *connector;
    const struct json *values; /* captured; NULL: none */
};

static void add_header(struct auth_headers *h, const char *name, char *value)
{
    h->values[h->count] = value;
    h->items[h->count] = (struct httpc_header){.name = name, .value = value};
    h->count++;
}

static int add_filled(const struct source *s, const char *name, const char *template, struct auth_headers *h,
                      struct errmsg *err)
{
    struct buf value;
    int st;

    buf_init_secret(&value, CREDENTIALS_MAX_BYTES);
    st = meta_fill_with(s->meta, s->connector, s->values, template, true, &value, err);
    if (st == ST_OK && (value.failed || !is_header_value(buf_text(&value))))
        st = err_set(err, ST_INVALID,
                     "a credential of connector \"%s\" is too long or holds a line break, which no header can carry",
                     s->connector->name);
    if (st == ST_OK)
        add_header(h, name, mem_strdup(buf_text(&value)));
    buf_free(&value);
    return st == ST_OK ? ST_OK : ST_INVALID;
}

/* "Basic …" (RFC 7617) of two templates. escaped: both are percent-encoded first (RFC 6749 section 2.3.1). */
static void add_escaped(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~", *text) != NULL)
            buf_putc(out, *text);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

static int fill_part(const struct source *s, const char *template, bool escaped, struct buf *out, struct errmsg *err)
{
    struct buf plain;
    int st;

    if (!escaped)
        return meta_fill_with(s->meta, s->connector, s->values, template, true, out, err);
    buf_init_secret(&plain, CREDENTIALS_MAX_BYTES);
    st = meta_fill_with(s->meta, s->connector, s->values, template, true, &plain, err);
    add_escaped(out, buf_text(&plain));
    out->failed = out->failed || plain.failed;
    buf_free(&plain);
    return st;
}

static int basic_value(const struct source *s, const char *username, const char *password, bool escaped, char **ret,
                       struct errmsg *err)
{
    struct buf pair;
    int st;

    buf_init_secret(&pair, CREDENTIALS_MAX_BYTES);
    st = fill_part(s, username, escaped, &pair, err);
    if (st == ST_OK && strchr(buf_text(&pair), ':') != NULL)
        st = err_set(err, ST_INVALID,
                     "the user name of connector \"%s\" holds a colon, which basic authentication cannot carry",
                     s->connector->name);
    buf_putc(&pair, ':');
    if (st == ST_OK)
        st = fill_part(s, password, escaped, &pair, err);
    if (st == ST_OK && pair.failed)
        st = err_set(err, ST_INVALID, "the credentials of connector \"%s\" are too long", s->connector->name);
    if (st == ST_OK) {
        static const char scheme[] = "Basic ";
        char *value = mem_zalloc(sizeof scheme + 4 * ((pair.len + 2) / 3) + 1);

        memcpy(value, scheme, sizeof scheme);
        crypto_base64(pair.data, pair.len, value + strlen(scheme));
        *ret = value;
    }
    buf_free(&pair);
    return st == ST_OK ? ST_OK : ST_INVALID;
}

static const char *auth_text(const struct json *auth, const char *name, const char *otherwise)
{
    const char *text = json_str(json_get(auth, name));

    return text != NULL ? text : otherwise;
}

/* All headers of meta.auth. Names that are not the module's are constants. */
static int make_headers(const struct source *s, struct auth_headers *ret, struct errmsg *err)
{
    const struct json *auth = json_get(s->meta, "auth");
    const char *kind = json_str(json_get(auth, "kind"));
    struct auth_headers h = {.count = 0};
    char *basic = NULL;
    int st = ST_OK;

    if (kind != NULL && strcmp(kind, "basic") == 0) {
        st = basic_value(s, auth_text(auth, "username", ""), auth_text(auth, "password", ""), false, &basic, err);
        if (st == ST_OK)
            add_header(&h, "Authorization", basic);
    } else if (kind != NULL && strcmp(kind, "none") != 0) {
        st = add_filled(s, auth_text(auth, "name", "Authorization"), auth_text(auth, "value", "Bearer {access_token}"),
                        &h, err);
    }
    for (const struct json *e = json_first(json_get(auth, "headers")); e != NULL && st == ST_OK; e = json_next(e))
        st = add_filled(s, json_key(e), json_str(e), &h, err);
    if (st == ST_OK)
        *ret = h;
    else
        auth_headers_clear(&h);
    return st;
}

int auth_headers_make(const struct connector_module *m, const struct connector_config *connector,
                      struct auth_headers *ret, struct errmsg *err)
{
    struct source s = {.meta = connector_module_meta(m), .connector = connector};

    if (auth_gets_tokens(s.meta))
        return err_set(err, ST_INVALID, "connector \"%s\" authenticates with tokens, which have to be got first",
                       connector->name);
    return make_headers(&s, ret, err);
}

void auth_headers_clear(struct auth_headers *h)
{
    for (size_t i = 0; i < h->count; i++)
        mem_free_secret(h->values[i]);
    *h = (struct auth_headers){.count = 0};
}

/* ---- how one connector authenticates
 * ----------------------------------------------------------------------------------- */

struct auth {
    struct connector_module *module;
    struct config *config;
    struct source source; /* without captured values */
    struct json *steps;
    bool escapes_client; /* an oauth2 kind: RFC 6749 section 2.3.1 */
    char *first_token;   /* secret; NULL: none */
    char seed[DIGEST_HEX_BYTES];
    char digest[DIGEST_HEX_BYTES];
    int64_t lifetime_ms; /* 0: not known */
    int64_t before_ms;
    int64_t keep_alive_ms; /* 0: off */
};

bool auth_gets_tokens(const struct json *meta)
{
    const char *kind = json_str(json_get(json_get(meta, "auth"), "kind"));

    return kind != NULL && (text_starts(kind, "oauth2_") || strcmp(kind, "chain") == 0);
}

bool auth_is_invalid_status(const struct json *meta, long status)
{
    double n;

    for (const struct json *e = json_first(json_get(json_get(meta, "auth"), "invalid_statuses")); e != NULL;
         e = json_next(e)) {
        if (json_num(e, &n) && (long)n == status)
            return true;
    }
    return false;
}

static struct json *copy_or_object(const struct json *j)
{
    return j != NULL ? json_copy(j) : json_object();
}

/* The one request of RFC 6749 as a step like those of a chain. */
static struct json *make_oauth2_step(const struct json *auth)
{
    bool refreshes = strcmp(json_str(json_get(auth, "kind")), "oauth2_refresh_token") == 0;
    bool in_body = strcmp(auth_text(auth, "client_auth", "basic"), "body") == 0;
    struct json *step = json_object();
    struct json *form = json_object();
    struct json *captures = copy_or_object(json_get(auth, "captures"));

    json_set_str(form, "grant_type", refreshes ? "refresh_token" : "client_credentials");
    if (refreshes)
        json_set_str(form, "refresh_token", "{refresh_token}");
    if (in_body) {
        json_set_str(form, "client_id", auth_text(auth, "client_id", ""));
        json_set_str(form, "client_secret", auth_text(auth, "client_secret", ""));
    } else {
        struct json *basic = json_object();

        json_set_str(basic, "username", auth_text(auth, "client_id", ""));
        json_set_str(basic, "password", auth_text(auth, "client_secret", ""));
        json_set(step, "basic", basic);
    }
    for (const struct json *m = json_first(json_get(auth, "form")); m != NULL; m = json_next(m))
        json_set(form, json_key(m), json_copy(m));
    json_set_str(captures, "access_token", "/access_token");
    json_set_str(step, "method", "POST");
    json_set_str(step, "url", auth_text(auth, "token_url", ""));
    json_set(step, "form", form);
    json_set(step, "captures", captures);
    json_set_str(step, "expires_in", "/expires_in");
    json_set_str(step, "expires_at", "/expires_at");
    if (refreshes)
        json_set_str(step, "rotates", "/refresh_token");
    return step;
}

static void digest_text(const char *text, char ret[DIGEST_HEX_BYTES])
{
    uint8_t digest[CRYPTO_SHA256_BYTES];

    crypto_sha256(text, strlen(text), digest);
    crypto_hex(digest, sizeof digest, ret);
}

static void add_values(struct buf *out, const struct named_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%zu:%s%zu:%s", strlen(values[i].name), values[i].name, strlen(values[i].value),
                   values[i].value);
    buf_putc(out, '\n');
}

/* The module's own words count, too: tokens that another version of it got may lack what this one needs. */
static void make_digests(struct auth *a, const struct json *auth)
{
    const struct connector_config *c = a->source.connector;
    struct buf all;

    buf_init_secret(&all, TEXT_MAX_BYTES + 2 * CREDENTIALS_MAX_BYTES);
    json_print_canonical(auth, &all);
    buf_printf(&all, "\n%s\n", c->base_url != NULL ? c->base_url : "");
    add_values(&all, c->credentials, c->credential_count);
    add_values(&all, c->settings, c->setting_count);
    digest_text(buf_text(&all), a->digest);
    buf_free(&all);
    if (a->first_token != NULL) {
        char *text = mem_printf("%s\n%s", c->name, a->first_token);

        digest_text(text, a->seed);
        mem_free_secret(text);
    }
}

int auth_new(struct connector_module *m, struct config *config, const struct connector_config *connector,
             struct auth **ret, struct errmsg *err)
{
    struct auth *a = mem_zalloc(sizeof *a);
    const struct json *auth = json_get(connector_module_meta(m), "auth");
    const char *first = json_str(json_get(auth, "refresh_token"));
    int st = ST_OK;

    a->module = connector_module_ref(m);
    a->config = config_ref(config);
    a->source = (struct source){.meta = connector_module_meta(m), .connector = connector};
    a->before_ms = REFRESH_BEFORE_MS;
    (void)json_get_i64(auth, "lifetime_ms", &a->lifetime_ms);
    (void)json_get_i64(auth, "refresh_before_ms", &a->before_ms);
    (void)json_get_i64(auth, "keep_alive_ms", &a->keep_alive_ms);
    if (json_get(auth, "steps") != NULL) {
        a->steps = json_copy(json_get(auth, "steps"));
    } else if (auth_gets_tokens(a->source.meta)) {
        a->escapes_client = true;
        a->steps = json_array();
        json_push(a->steps, make_oauth2_step(auth));
    }
    if (first != NULL) {
        struct buf token;

        buf_init_secret(&token, CREDENTIALS_MAX_BYTES);
        st = meta_fill(a->source.meta, connector, first, true, &token, err);
        if (st == ST_OK && (token.failed || token.len == 0))
            st =
                err_set(err, ST_INVALID, "the refresh token of connector \"%s\" is empty or too long", connector->name);
        if (st == ST_OK)
            a->first_token = mem_strdup(buf_text(&token));
        buf_free(&token);
    }
    make_digests(a, auth);
    if (st == ST_OK) {
        *ret = a;
        a = NULL;
    }
    auth_free(a);
    return st == ST_OK ? ST_OK : ST_INVALID;
}

void auth_free(struct auth *a)
{
    if (a == NULL)
        return;
    json_free(a->steps);
    mem_free_secret(a->first_token);
    connector_module_unref(a->module);
    config_unref(a->config);
    mem_free(a);
}

const struct connector_config *auth_connector(const struct auth *a)
{
    return a->source.connector;
}

struct connector_module *auth_module(const struct auth *a)
{
    return a->module;
}

const char *auth_seed(const struct auth *a)
{
    return a->seed;
}

const char *auth_digest(const struct auth *a)
{
    return a->digest;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------------
 */

struct auth_tokens {
    struct json *values; /* texts by name */
    char seed[DIGEST_HEX_BYTES];
    char digest[DIGEST_HEX_BYTES];
    bool complete;
    int64_t expires_us; /* INT64_MAX: not known */
    int64_t renewed_us;
};

static void copy_digest(char ret[DIGEST_HEX_BYTES], const char *digest)
{
    memset(ret, 0, DIGEST_HEX_BYTES);
    memcpy(ret, digest, strnlen(digest, DIGEST_HEX_BYTES - 1));
}

static struct auth_tokens *tokens_for(const struct auth *a)
{
    struct auth_tokens *t = mem_zalloc(sizeof *t);

    t->values = json_object();
    t->expires_us = INT64_MAX;
    copy_digest(t->seed, a->seed);
    copy_digest(t->digest, a->digest);
    return t;
}

int auth_tokens_parse(const char *text, struct auth_tokens **ret, struct errmsg *err)
{
    struct json *tree = NULL;
    struct auth_tokens *t = mem_zalloc(sizeof *t);
    const char *seed, *digest;
    int64_t format = 0;
    int st = json_parse(text, strlen(text), &tree, NULL);

    seed = json_str(json_get(tree, "seed"));
    digest = json_str(json_get(tree, "digest"));
    if (st != ST_OK || !json_get_i64(tree, "format", &format) || format != TOKENS_FORMAT || seed == NULL ||
        digest == NULL || json_type(json_get(tree, "values")) != JSON_OBJECT ||
        !json_get_i64(tree, "renewed_us", &t->renewed_us)) {
        st = err_set(err, ST_INVALID, "the stored tokens are not as this version writes them");
        goto out;
    }
    if (!json_get_i64(tree, "expires_us", &t->expires_us))
        t->expires_us = INT64_MAX;
    t->complete = json_get_bool(tree, "complete");
    t->values = json_copy(json_get(tree, "values"));
    copy_digest(t->seed, seed);
    copy_digest(t->digest, digest);
    *ret = t;
    t = NULL;
out:
    json_free_secret(tree);
    auth_tokens_free(t);
    return st;
}

char *auth_tokens_text(const struct auth_tokens *t)
{
    struct json *tree = json_object();
    struct buf text;

    json_set_int(tree, "format", TOKENS_FORMAT);
    json_set_str(tree, "seed", t->seed);
    json_set_str(tree, "digest", t->digest);
    json_set_bool(tree, "complete", t->complete);
    json_set_int(tree, "renewed_us", t->renewed_us);
    if (t->expires_us != INT64_MAX)
        json_set_int(tree, "expires_us", t->expires_us);
    json_set(tree, "values", json_copy(t->values));
    buf_init_secret(&text, SIZE_MAX / 4);
    json_print(tree, &text);
    json_free_secret(tree);
    return buf_take(&text);
}

void auth_tokens_free(struct auth_tokens *t)
{
    if (t == NULL)
        return;
    json_free_secret(t->values);
    mem_free(t);
}

struct auth_tokens *auth_tokens_copy(const struct auth_tokens *t)
{
    struct auth_tokens *copy = mem_zalloc(sizeof *copy);

    *copy = *t;
    copy->values = json_copy(t->values);
    return copy;
}

bool auth_tokens_usable(const struct auth *a, const struct auth_tokens *t, int64_t now_us)
{
    int64_t before_us = a->before_ms * 1000;
    int64_t quarter_us;

    if (t == NULL || !t->complete || !crypto_text_equal(t->digest, a->digest))
        return false;
    if (t->expires_us == INT64_MAX)
        return true;
    quarter_us = (t->expires_us - t->renewed_us) / 4;
    before_us = before_us < quarter_us ? before_us : quarter_us;
    return now_us < t->expires_us - before_us;
}

int64_t auth_tokens_keep_alive_us(const struct auth *a, const struct auth_tokens *t)
{
    if (a->keep_alive_ms == 0)
        return INT64_MAX;
    return t != NULL ? t->renewed_us + a->keep_alive_ms * 1000 : 0;
}

/* ---- a run ----------------------------------------------------------------------------------------------------------
 */

struct auth_run {
    const struct auth *auth;
    struct arena *arena;
    struct redaction redaction;
    struct target *target;
    struct auth_tokens *tokens;
    const struct json *step; /* NULL: all are done */
    size_t index;            /* of it, from 1 */
    enum auth_next next;
    struct request request;
    struct auth_failure failure;
};

static struct source source_of(const struct auth_run *r)
{
    struct source s = r->auth->source;

    s.values = r->tokens->values;
    return s;
}

/* Captured addresses are no secret, and an operator has to see where they lead. */
static bool is_address(const char *value)
{
    return text_starts(value, "https://") || text_starts(value, "http://");
}

/* What may have to be kept out of a message now: credentials, and all that was captured. */
static void hide_secrets(struct auth_run *r)
{
    const struct connector_config *c = r->auth->source.connector;

    redaction_clear(&r->redaction);
    redaction_init(&r->redaction, r->arena);
    for (size_t i = 0; i < c->credential_count; i++)
        redaction_add_secret(&r->redaction, c->credentials[i].value);
    for (const struct json *v = json_first(r->tokens->values); v != NULL; v = json_next(v)) {
        if (!is_address(json_str(v)))
            redaction_add_secret(&r->redaction, arena_strdup(r->arena, json_str(v)));
    }
}

static void fail(struct auth_run *r, const char *error_class, int64_t retry_after_ms, const char *message)
{
    request_clear(&r->request);
    r->next = AUTH_FAILED;
    r->failure = (struct auth_failure){.error_class = error_class,
                                       .message = message_clean(&r->redaction, message, FAILURE_MAX_CHARS),
                                       .retry_after_ms = retry_after_ms};
}

/* "the request for a token", "request 2 of 3 of signing in" */
static const char *step_words(const struct auth_run *r)
{
    size_t count = json_count(r->auth->steps);

    return count == 1 ? "the request for a token"
                      : arena_printf(r->arena, "request %zu of %zu of signing in", r->index, count);
}

static int fill_map(const struct auth_run *r, const char *name, const struct json *map, struct json *spec,
                    struct errmsg *err)
{
    struct source s = source_of(r);
    struct json *filled = json_object();
    int st = ST_OK;

    for (const struct json *m = json_first(map); m != NULL && st == ST_OK; m = json_next(m)) {
        struct buf value;

        buf_init_secret(&value, CREDENTIALS_MAX_BYTES);
        st = meta_fill_with(s.meta, s.connector, s.values, json_str(m), true, &value, err);
        if (st == ST_OK && value.failed)
            st = err_set(err, ST_INVALID, "the value of %s is too long", json_key(m));
        if (st == ST_OK)
            json_set_str(filled, json_key(m), buf_text(&value));
        buf_free(&value);
    }
    if (st == ST_OK && map != NULL)
        json_set(spec, name, filled);
    else
        json_free_secret(filled);
    return st;
}

static int add_basic(const struct auth_run *r, struct json *spec, struct errmsg *err)
{
    const struct json *basic = json_get(r->step, "basic");
    struct source s = source_of(r);
    struct json *headers;
    char *value = NULL;
    int st;

    if (basic == NULL)
        return ST_OK;
    st = basic_value(&s, json_str(json_get(basic, "username")), json_str(json_get(basic, "password")),
                     r->auth->escapes_client, &value, err);
    if (st != ST_OK)
        return st;
    headers = copy_or_object(json_get(spec, "headers"));
    json_set_str(headers, "Authorization", value);
    json_set(spec, "headers", headers);
    mem_free_secret(value);
    return ST_OK;
}

static int fill_url(const struct auth_run *r, struct json *spec, struct errmsg *err)
{
    struct source s = source_of(r);
    struct buf url;
    int st;

    buf_init_secret(&url, CREDENTIALS_MAX_BYTES);
    st = meta_fill_with(s.meta, s.connector, s.values, json_str(json_get(r->step, "url")), false, &url, err);
    if (st == ST_OK)
        json_set_str(spec, "url", buf_text(&url));
    buf_free(&url);
    return st;
}

/* The request of the step that is on. */
static void make_step_request(struct auth_run *r)
{
    struct json *spec = json_object();
    bool own_url = !meta_uses(json_str(json_get(r->step, "url")), r->tokens->values);
    struct errmsg err = {""};
    int st;

    json_set_str(spec, "method", json_str(json_get(r->step, "method")));
    if ((st = fill_url(r, spec, &err)) == ST_OK &&
        (st = fill_map(r, "query", json_get(r->step, "query"), spec, &err)) == ST_OK &&
        (st = fill_map(r, "form", json_get(r->step, "form"), spec, &err)) == ST_OK &&
        (st = fill_map(r, "headers", json_get(r->step, "headers"), spec, &err)) == ST_OK &&
        (st = add_basic(r, spec, &err)) == ST_OK)
        st = request_make_auth(r->target, spec, own_url, &r->request, &err);
    json_free_secret(spec);
    if (st == ST_OK)
        r->next = AUTH_SEND;
    else
        fail(r, "configuration", -1, arena_printf(r->arena, "%s cannot be made: %s", step_words(r), err.text));
}

struct auth_run *auth_run_new(const struct auth *a, const struct auth_tokens *known)
{
    struct auth_run *r = mem_zalloc(sizeof *r);
    const char *kept = known != NULL && crypto_text_equal(known->seed, a->seed)
                           ? json_str(json_get(known->values, "refresh_token"))
                           : NULL;
    struct errmsg err;

    r->auth = a;
    r->arena = arena_new();
    r->tokens = tokens_for(a);
    if (a->first_token != NULL)
        json_set_str(r->tokens->values, "refresh_token", kept != NULL ? kept : a->first_token);
    redaction_init(&r->redaction, r->arena);
    hide_secrets(r);
    r->step = json_first(a->steps);
    r->index = 1;
    if (target_new(a->source.meta, a->source.connector, &r->target, &err) != ST_OK)
        fail(r, "configuration", -1, err.text);
    else
        make_step_request(r);
    return r;
}

void auth_run_free(struct auth_run *r)
{
    if (r == NULL)
        return;
    request_clear(&r->request);
    target_free(r->target);
    auth_tokens_free(r->tokens);
    redaction_clear(&r->redaction);
    arena_free_secret(r->arena);
    mem_free(r);
}

enum auth_next auth_run_next(const struct auth_run *r)
{
    return r->next;
}

const struct request *auth_run_request(const struct auth_run *r)
{
    return r->next == AUTH_SEND ? &r->request : NULL;
}

const struct auth_tokens *auth_run_tokens(const struct auth_run *r)
{
    return r->tokens;
}

const struct auth_failure *auth_run_failure(const struct auth_run *r)
{
    return &r->failure;
}

/* ---- answers */

/* RFC 6901 into a tree; NULL: nothing is there. */
static const struct json *at_pointer(const struct json *j, const char *pointer)
{
    while (j != NULL && *pointer == '/') {
        size_t len = strcspn(++pointer, "/");
        char *part = mem_zalloc(len + 1);
        size_t n = 0;
        int64_t index;

        for (size_t i = 0; i < len; i++) {
            bool escape = pointer[i] == '~' && i + 1 < len;

            part[n++] = !escape ? pointer[i] : pointer[++i] == '1' ? '/' : '~';
        }
        if (json_type(j) == JSON_ARRAY) {
            j = text_to_i64(part, 0, INT32_MAX, &index) ? json_first(j) : NULL;
            for (; j != NULL && index > 0; index--)
                j = json_next(j);
        } else {
            j = json_get(j, part);
        }
        mem_free(part);
        pointer += len;
    }
    return j;
}

/* A text or number that may stand in a header; NULL: it is none. Caller: mem_free_secret. */
static char *captured_text(const struct json *value)
{
    const char *text = json_str(value);

    if (json_type(value) == JSON_NUMBER)
        return json_text(value);
    if (text == NULL || *text == '\0' || strlen(text) > VALUE_MAX_BYTES || !text_is_utf8(text, strlen(text)) ||
        !is_header_value(text))
        return NULL;
    return mem_strdup(text);
}

/* A number, also as a text. */
static bool number_of(const struct json *value, double *ret)
{
    return json_num(value, ret) || (json_str(value) != NULL && decimal_parse(json_str(value), ret));
}

static bool expiry_of(const struct json *step, const struct json *body, int64_t now_us, int64_t *ret_us)
{
    const char *in = json_str(json_get(step, "expires_in"));
    const char *at = json_str(json_get(step, "expires_at"));
    const struct json *value;
    double n;
    int64_t us;

    if (in != NULL && number_of(at_pointer(body, in), &n) && n > 0) {
        *ret_us = now_us + (int64_t)((n < LIFETIME_MAX_S ? n : LIFETIME_MAX_S) * 1e6);
        return true;
    }
    value = at != NULL ? at_pointer(body, at) : NULL;
    if (number_of(value, &n) && n > 0 && n < 1e15)
        us = (int64_t)(n * (n > EPOCH_MS_FROM ? 1e3 : 1e6));
    else if (json_str(value) == NULL || !time_parse_iso8601(json_str(value), &us))
        return false;
    if (us <= now_us)
        return false; /* just made, and yet over: one of the clocks is wrong */
    *ret_us = us;
    return true;
}

/* Takes over what the step captures. Returns the name of what is missing, or NULL. */
static const char *capture(struct auth_run *r, const struct json *body, bool *ret_rotated)
{
    const char *rotates = json_str(json_get(r->step, "rotates"));
    char *before = mem_strdup(json_str(json_get(r->tokens->values, "refresh_token")));
    const char *missing = NULL;

    for (const struct json *c = json_first(json_get(r->step, "captures")); c != NULL; c = json_next(c)) {
        bool optional = strcmp(json_key(c), "refresh_token") == 0; /* no new one: the old one stays good */
        char *text = captured_text(at_pointer(body, json_str(c)));

        if (text != NULL)
            json_set_str(r->tokens->values, json_key(c), text);
        else if (!optional && missing == NULL)
            missing = json_key(c);
        mem_free_secret(text);
    }
    if (rotates != NULL) {
        char *text = captured_text(at_pointer(body, rotates));

        if (text != NULL)
            json_set_str(r->tokens->values, "refresh_token", text);
        mem_free_secret(text);
    }
    *ret_rotated = !crypto_text_equal(before, json_str(json_get(r->tokens->values, "refresh_token")));
    mem_free_secret(before);
    return missing;
}

/* The base URL is looked at before anybody is told that all is well. */
static int check_base_url(const struct auth_run *r, struct errmsg *err)
{
    struct auth_grant *g = NULL;
    int st = auth_grant_make(r->auth, r->tokens, 0, &g, err);

    auth_grant_unref(g);
    return st;
}

static void finish(struct auth_run *r)
{
    struct errmsg err;

    r->tokens->complete = true;
    if (r->tokens->expires_us == INT64_MAX && r->auth->lifetime_ms > 0)
        r->tokens->expires_us = r->tokens->renewed_us + r->auth->lifetime_ms * 1000;
    if (check_base_url(r, &err) != ST_OK) {
        r->tokens->complete = false;
        fail(r, "configuration", -1, err.text);
        return;
    }
    r->next = AUTH_DONE;
}

static void go_on(struct auth_run *r)
{
    if (r->step != NULL)
        make_step_request(r);
    else
        finish(r);
}

void auth_run_stored(struct auth_run *r)
{
    if (r->next == AUTH_STORE)
        go_on(r);
}

/* The code of RFC 6749 section 5.2, if it is a word; else "". */
static const char *error_code(struct auth_run *r, const struct json *body)
{
    const char *code = json_get_str(body, "error");
    size_t len = 0;

    if (code == NULL)
        return "";
    while (len < CODE_MAX_BYTES && (isalnum((unsigned char)code[len]) || code[len] == '_' || code[len] == '-'))
        len++;
    return len < CODE_MAX_BYTES && code[len] == '\0' ? arena_strdup(r->arena, code) : "";
}

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0)
            return true;
    }
    return false;
}

/* What a person can do about a refusal. */
static const char *advice(const struct auth_run *r, const char *code)
{
    static const char *const grants[] = {"invalid_grant", "invalid_code", "invalid_token", "expired_token"};
    static const char *const clients[] = {"invalid_client", "unauthorized_client", "invalid_client_secret"};

    if (r->auth->first_token != NULL && is_one_of(code, grants, ATS_COUNT(grants)))
        return "; the refresh token was used up, was revoked or has expired: authorise atsyncd anew and configure the "
               "new refresh token";
    if (is_one_of(code, clients, ATS_COUNT(clients)))
        return "; check the client id and the client secret";
    return "";
}

static void fail_refused(struct auth_run *r, const struct httpc_response *response, const struct json *body,
                         int64_t now_us)
{
    static const char *const passing[] = {"temporarily_unavailable", "server_error", "slow_down"};
    const char *code = error_code(r, body);
    const char *words = json_get_str(body, "error_description");
    const char *after = httpc_header_value(response, "retry-after");
    const char *type = httpc_header_value(response, "content-type");
    const char *error_class = "configuration";
    long status = response->status;
    int64_t wait_ms = -1;

    if (words == NULL && *code == '\0')
        words = message_of_body(body);
    if (after != NULL && !retry_after_ms(after, now_us, &wait_ms))
        wait_ms = -1;
    if (is_one_of(code, passing, ATS_COUNT(passing)) || status >= 500 || status == 408 || status == 409 ||
        status == 425)
        error_class = "unavailable";
    else if (status == 429)
        error_class = "rate_limited";
    else if (status == 403 && type != NULL && text_starts(type, "text/html"))
        error_class = "bad_answer"; /* something in between spoke */
    else if (status / 100 == 2 || status == 400 || status == 401 || status == 403)
        error_class = "credentials";
    fail(r, error_class, wait_ms,
         arena_printf(r->arena, "%s was answered %ld%s%s%s%s%s", step_words(r), status, *code != '\0' ? ", " : "", code,
                      words != NULL ? ": " : "", words != NULL ? words : "", advice(r, code)));
}

static void fail_unanswered(struct auth_run *r, const struct httpc_response *response)
{
    const char *error_class = "unavailable";

    if (response->result == HTTPC_REFUSED)
        error_class = "configuration";
    if (response->result == HTTPC_TOO_LARGE)
        error_class = "bad_answer";
    fail(r, error_class, -1, arena_printf(r->arena, "%s failed: %s", step_words(r), response->error));
}

static void take_answer(struct auth_run *r, const struct json *body, int64_t now_us)
{
    bool rotated = false;
    const char *missing = capture(r, body, &rotated);
    int64_t expires_us;

    hide_secrets(r);
    r->tokens->renewed_us = now_us;
    if (expiry_of(r->step, body, now_us, &expires_us))
        r->tokens->expires_us = expires_us;
    if (missing != NULL) {
        fail(r, "bad_answer", -1, arena_printf(r->arena, "the answer to %s has no usable %s", step_words(r), missing));
        return;
    }
    r->step = json_next(r->step);
    r->index++;
    if (rotated && r->step != NULL)
        r->next = AUTH_STORE;
    else
        go_on(r);
}

void auth_run_answer(struct auth_run *r, const struct httpc_response *response, int64_t now_us)
{
    struct json *body = NULL;

    if (r->next != AUTH_SEND)
        return;
    request_clear(&r->request);
    if (response->result != HTTPC_ANSWERED) {
        fail_unanswered(r, response);
        return;
    }
    if (json_parse(response->body, response->body_len, &body, NULL) != ST_OK)
        body = NULL;
    if (response->status / 100 != 2 || json_get_str(body, "error") != NULL)
        fail_refused(r, response, body, now_us); /* some say no with 200 */
    else if (json_type(body) != JSON_OBJECT)
        fail(r, "bad_answer", -1, arena_printf(r->arena, "the answer to %s is not JSON", step_words(r)));
    else
        take_answer(r, body, now_us);
    json_free_secret(body);
}

/* ---- grants ---------------------------------------------------------------------------------------------------------
 */

struct grant { /* what a struct auth_grant is the first member of */
    struct auth_grant shown;
    atomic_int refs;
    struct connector_module *module; /* the headers' names live in it */
};

static int fill_base_url(const struct source *s, struct auth_grant *g, struct errmsg *err)
{
    const char *template = json_str(json_get(json_get(s->meta, "auth"), "base_url"));
    struct target *t = NULL;
    struct buf url;
    int st;

    if (template == NULL || s->values == NULL)
        return ST_OK;
    buf_init(&url, REQUEST_URL_MAX_BYTES);
    st = meta_fill_with(s->meta, s->connector, s->values, template, false, &url, err);
    if (st == ST_OK && url.failed)
        st =
            err_set(err, ST_DENIED, "the base URL that signing in gave is longer than %d bytes", REQUEST_URL_MAX_BYTES);
    if (st == ST_OK)
        st = target_new(s->meta, s->connector, &t, err);
    if (st == ST_OK)
        st = target_move(t, buf_text(&url), err);
    if (st == ST_OK)
        g->base_url = buf_take(&url);
    target_free(t);
    buf_free(&url);
    return st;
}

static void list_secrets(struct auth_grant *g, const struct json *values)
{
    g->secrets = mem_array(g->headers.count + json_count(values) + 1, sizeof *g->secrets);
    for (size_t i = 0; i < g->headers.count; i++) {
        const char *space = strchr(g->headers.values[i], ' ');

        g->secrets[g->secret_count++] = mem_strdup(space != NULL ? space + 1 : g->headers.values[i]);
    }
    for (const struct json *v = json_first(values); v != NULL; v = json_next(v)) {
        if (!is_address(json_str(v)))
            g->secrets[g->secret_count++] = mem_strdup(json_str(v));
    }
}

int auth_grant_make(const struct auth *a, const struct auth_tokens *tokens, int64_t serial, struct auth_grant **ret,
                    struct errmsg *err)
{
    struct grant *g = mem_zalloc(sizeof *g);
    struct source s = a->source;
    int st;

    atomic_init(&g->refs, 1);
    g->module = connector_module_ref(a->module);
    g->shown.serial = serial;
    s.values = tokens != NULL ? tokens->values : NULL;
    st = make_headers(&s, &g->shown.headers, err);
    if (st == ST_OK)
        st = fill_base_url(&s, &g->shown, err);
    if (st == ST_OK) {
        list_secrets(&g->shown, s.values);
        *ret = &g->shown;
    } else {
        auth_grant_unref(&g->shown);
    }
    return st;
}

struct auth_grant *auth_grant_ref(struct auth_grant *shown)
{
    struct grant *g = (struct grant *)shown;

    atomic_fetch_add(&g->refs, 1);
    return shown;
}

void auth_grant_unref(struct auth_grant *shown)
{
    struct grant *g = (struct grant *)shown;

    if (g == NULL || atomic_fetch_sub(&g->refs, 1) != 1)
        return;
    for (size_t i = 0; i < shown->secret_count; i++)
        mem_free_secret(shown->secrets[i]);
    mem_free(shown->secrets);
    mem_free(shown->base_url);
    auth_headers_clear(&shown->headers);
    connector_module_unref(g->module);
    mem_free(g);
}
