#include "connector/request.h"

#include <ctype.h>

#include "base/address.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "connector/meta.h"

enum {
    HOST_MAX_BYTES = 253,
    PORT_HTTPS = 443,
    PORT_HTTP = 80,
    HEADER_MAX_BYTES = 16 * 1024,
    AUTH_BODY_MAX_BYTES = 64 * 1024
};

/* ---- URLs -----------------------------------------------------------------------------------------------------------
 */

struct url {
    bool https;
    char host[HOST_MAX_BYTES + 1]; /* small letters; IPv6 without brackets */
    int64_t port;
    const char *rest; /* in the text: path and query, or "" */
};

/* Labels of letters, digits, - and _; also IPv4. */
static bool is_host_name(const char *host)
{
    size_t label = 0;

    for (; *host != '\0'; host++) {
        if (*host == '.' ? label == 0 : !isalnum((unsigned char)*host) && *host != '-' && *host != '_')
            return false;
        label = *host == '.' ? 0 : label + 1;
    }
    return label > 0;
}

static bool leaves_path(const char *rest)
{
    char *path = mem_strndup(rest, strcspn(rest, "?"));
    bool leaves = text_leaves_path(path);

    mem_free(path);
    return leaves;
}

/* RFC 3986 without user names and steps to another folder. Returns what is wrong with the text, or NULL. */
static const char *url_split(const char *text, struct url *ret)
{
    struct url u = {.https = text_starts(text, "https://")};
    const char *host = strstr(text, "://");
    const char *end;
    size_t len;

    if (!u.https && !text_starts(text, "http://"))
        return "does not begin with https:// or http://";
    if (strlen(text) > REQUEST_URL_MAX_BYTES)
        return "is longer than 8192 bytes";
    for (const char *p = text; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`{|}#", *p) != NULL)
            return "holds a character that cannot stand in a URL, or a fragment";
    }
    host += 3;
    u.rest = host + strcspn(host, "/?");
    end = memchr(host, '@', (size_t)(u.rest - host));
    if (end != NULL)
        return "holds a user name";
    if (*host == '[') {
        end = memchr(host, ']', (size_t)(u.rest - host));
        if (end == NULL)
            return "has no valid host";
        host++;
        len = (size_t)(end - host);
        end++;
    } else {
        len = strcspn(host, ":/?");
        end = host + len;
    }
    if (len == 0 || len > HOST_MAX_BYTES)
        return "has no valid host";
    for (size_t i = 0; i < len; i++)
        u.host[i] = (char)tolower((unsigned char)host[i]);
    if (host[-1] == '[' ? strchr(u.host, ':') == NULL || !address_is_numeric(u.host) : !is_host_name(u.host))
        return "has no valid host";
    u.port = u.https ? PORT_HTTPS : PORT_HTTP;
    if (end < u.rest) {
        char *digits = mem_strndup(end + 1, (size_t)(u.rest - end - 1));
        bool ok = *end == ':' && isdigit((unsigned char)*digits) && text_to_i64(digits, 1, 65535, &u.port);

        mem_free(digits);
        if (!ok)
            return "has a port that is not a number from 1 to 65535";
    }
    if (leaves_path(u.rest))
        return "has a path with \".\" or \"..\" in it, which leads elsewhere";
    *ret = u;
    return NULL;
}

static bool host_fits(const char *host, const char *pattern)
{
    size_t host_len = strlen(host), tail_len;

    if (!text_starts(pattern, "*."))
        return strcmp(host, pattern) == 0;
    pattern++; /* ".example.com" */
    tail_len = strlen(pattern);
    return host_len > tail_len && strcmp(host + host_len - tail_len, pattern) == 0;
}

static bool is_private_host(const char *host)
{
    if (host_fits(host, "localhost") || host_fits(host, "*.localhost"))
        return true;
    return address_is_numeric(host) && address_is_private(host);
}

bool request_allows_private(const struct connector_config *connector)
{
    struct url u;

    return connector->allow_private_addresses ||
           (connector->base_url != NULL && url_split(connector->base_url, &u) == NULL && is_private_host(u.host));
}

/* ---- target ---------------------------------------------------------------------------------------------------------
 */

struct target {
    const struct json *meta;
    bool plain_allowed; /* http:// to any host */
    char *base;         /* NULL: not known before we have signed in */
    struct url url;     /* rest points into base */
    char *header_names[REQUEST_HEADERS_MAX];
    char *header_values[REQUEST_HEADERS_MAX];
    size_t header_count;
};

static bool is_token(const char *s)
{
    if (*s == '\0')
        return false;
    for (; *s != '\0'; s++) {
        if (!isalnum((unsigned char)*s) && strchr("!#$%&'*+-.^_`|~", *s) == NULL)
            return false;
    }
    return true;
}

static bool is_header_value(const char *s)
{
    for (; *s != '\0'; s++) {
        if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
            return false;
    }
    return true;
}

static int fill_headers(struct target *t, const struct connector_config *connector, struct errmsg *err)
{
    struct buf value;
    int st = ST_OK;

    buf_init(&value, HEADER_MAX_BYTES);
    for (const struct json *h = json_first(json_get(t->meta, "headers")); h != NULL && st == ST_OK; h = json_next(h)) {
        buf_reset(&value);
        st = meta_fill(t->meta, connector, json_str(h), false, &value, err);
        if (st == ST_OK && (t->header_count == REQUEST_HEADERS_MAX || value.failed || !is_token(json_key(h)) ||
                            !is_header_value(buf_text(&value))))
            st = err_set(err, ST_INVALID,
                         "the header %s of connector \"%s\" cannot be sent: its value is too long or holds "
                         "control characters",
                         json_key(h), connector->name);
        if (st == ST_OK) {
            t->header_names[t->header_count] = mem_strdup(json_key(h));
            t->header_values[t->header_count++] = mem_strdup(buf_text(&value));
        }
    }
    buf_free(&value);
    return st == ST_OK ? ST_OK : ST_INVALID;
}

static int fill_base(struct target *t, const struct connector_config *connector, struct errmsg *err)
{
    const char *template = json_str(json_get(t->meta, "base_url"));
    struct buf base;
    const char *fault = NULL;
    int shown; /* what stands behind ? may be a key */
    int st = ST_OK;

    if (connector->base_url == NULL && template == NULL && json_get(json_get(t->meta, "auth"), "base_url") != NULL)
        return ST_OK;
    if (connector->base_url == NULL && template == NULL)
        return err_set(err, ST_INVALID,
                       "base_url is required: the address of the ATS's API, such as https://ats.example.com/api");
    buf_init(&base, REQUEST_URL_MAX_BYTES);
    if (connector->base_url != NULL)
        buf_puts(&base, connector->base_url);
    else
        st = meta_fill(t->meta, connector, template, false, &base, err);
    if (st == ST_OK && base.failed)
        st = err_set(err, ST_INVALID, "base_url is longer than %d bytes", REQUEST_URL_MAX_BYTES);
    if (st != ST_OK)
        goto out;
    while (base.len > 0 && base.data[base.len - 1] == '/')
        base.data[--base.len] = '\0';
    t->base = buf_take(&base);
    fault = url_split(t->base, &t->url);
    shown = (int)strcspn(t->base, "?");
    if (fault != NULL)
        st = err_set(err, ST_INVALID, "base_url \"%.*s\" %s", shown, t->base, fault);
    else if (strchr(t->base, '?') != NULL)
        st =
            err_set(err, ST_INVALID, "base_url \"%.*s\" has a query, which belongs to single requests", shown, t->base);
    else if (!t->url.https && !is_private_host(t->url.host) && !connector->allow_private_addresses)
        st = err_set(err, ST_INVALID,
                     "base_url \"%s\" must begin with https://: credentials would travel unencrypted (http:// is for "
                     "loopback and private addresses)",
                     t->base);
out:
    buf_free(&base);
    return st == ST_OK ? ST_OK : ST_INVALID;
}

int target_new(const struct json *meta, const struct connector_config *connector, struct target **ret,
               struct errmsg *err)
{
    struct target *t = mem_zalloc(sizeof *t);
    int st;

    t->meta = meta;
    t->plain_allowed = connector->allow_private_addresses;
    st = fill_base(t, connector, err);
    if (st == ST_OK)
        st = fill_headers(t, connector, err);
    if (st == ST_OK) {
        *ret = t;
        t = NULL;
    }
    target_free(t);
    return st;
}

void target_free(struct target *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->header_count; i++) {
        mem_free(t->header_names[i]);
        mem_free(t->header_values[i]);
    }
    mem_free(t->base);
    mem_free(t);
}

const char *target_base_url(const struct target *t)
{
    return t->base;
}

static bool url_allowed(const struct target *t, const struct url *u)
{
    if (t->base != NULL && u->https == t->url.https && u->port == t->url.port && strcmp(u->host, t->url.host) == 0)
        return true;
    if (!u->https || u->port != PORT_HTTPS || address_is_numeric(u->host))
        return false;
    for (const struct json *h = json_first(json_get(t->meta, "hosts")); h != NULL; h = json_next(h)) {
        if (host_fits(u->host, json_str(h)))
            return true;
    }
    return false;
}

bool target_allows(const struct target *t, const char *url)
{
    struct url u;

    return url_split(url, &u) == NULL && url_allowed(t, &u);
}

int target_move(struct target *t, const char *base_url, struct errmsg *err)
{
    char *base = mem_strdup(base_url);
    struct url u;
    const char *fault;
    int st = ST_OK;

    for (size_t len = strlen(base); len > 0 && base[len - 1] == '/'; len--)
        base[len - 1] = '\0';
    fault = url_split(base, &u);
    if (fault == NULL && strchr(base, '?') != NULL)
        fault = "has a query";
    if (fault != NULL)
        st = err_set(err, ST_DENIED, "the base URL that signing in gave %s", fault);
    else if (!url_allowed(t, &u))
        st = err_set(err, ST_DENIED,
                     "the base URL that signing in gave leads to %s://%s:%lld, which is not a host of this connector",
                     u.https ? "https" : "http", u.host, (long long)u.port);
    if (st == ST_OK) {
        mem_free(t->base);
        t->base = base;
        t->url = u;
        base = NULL;
    }
    mem_free(base);
    return st;
}

/* ---- a request
 * -------------------------------------------------------------------------------------------------------- */

struct making {
    const struct target *target;
    bool for_auth; /* a request for tokens */
    bool own_url;
    struct request request;
    struct buf url;
    bool has_query;
    struct errmsg *err;
};

/* What goes to sign in holds secrets. */
static void init_text(const struct making *m, struct buf *b, size_t max)
{
    if (m->for_auth)
        buf_init_secret(b, max);
    else
        buf_init(b, max);
}

/* Everything but the unreserved characters of RFC 3986 section 2.3. */
static void add_encoded(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~", *text) != NULL)
            buf_putc(out, *text);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

/* A text, number or boolean as text (caller: mem_free). NULL: another type, or not Unicode. */
static char *scalar_text(const struct json *value, bool with_booleans)
{
    const char *text = json_str(value);

    switch (json_type(value)) {
    case JSON_STRING:
        return text_is_utf8(text, strlen(text)) ? mem_strdup(text) : NULL;
    case JSON_NUMBER:
        return json_text(value);
    case JSON_FALSE:
    case JSON_TRUE:
        return with_booleans ? json_text(value) : NULL;
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    return NULL;
}

static bool is_scalar(const struct json *value)
{
    return json_type(value) == JSON_STRING || json_type(value) == JSON_NUMBER || json_type(value) == JSON_TRUE ||
           json_type(value) == JSON_FALSE;
}

static int not_unicode(struct making *m, const char *where)
{
    return err_set(m->err, ST_DENIED, "%s holds a NUL or half a character, which no URL and no header can carry",
                   where);
}

static int add_segment(struct making *m, const struct json *segment, size_t index)
{
    char *text;
    int st = ST_OK;

    if (json_type(segment) != JSON_STRING && json_type(segment) != JSON_NUMBER)
        return err_set(m->err, json_type(segment) == JSON_NULL ? ST_NOT_FOUND : ST_INVALID,
                       "part %zu of the path is %s, not a text or number", index,
                       json_type(segment) == JSON_NULL ? "null" : "a list, an object or a boolean");
    text = scalar_text(segment, false);
    if (text == NULL)
        return not_unicode(m, "the path");
    buf_putc(&m->url, '/');
    add_encoded(&m->url, text);
    if (*text == '\0')
        st = err_set(m->err, ST_DENIED, "part %zu of the path is empty, which would lead elsewhere", index);
    else if (!m->url.failed && text_leaves_path(text)) /* too long ones are refused anyway */
        st = err_set(m->err, ST_DENIED,
                     "part %zu of the path is or holds a \".\" or \"..\", which would lead elsewhere", index);
    mem_free(text);
    return st;
}

static int add_path(struct making *m, const struct json *path)
{
    size_t index = 1;
    int st = ST_OK;

    if (json_type(path) != JSON_ARRAY)
        return err_set(m->err, ST_INVALID, "the request's path must be a list of segments");
    if (m->target->base == NULL)
        return err_set(m->err, ST_INVALID, "signing in gave no base URL, so that no path can be asked for");
    buf_puts(&m->url, m->target->base);
    for (const struct json *s = json_first(path); s != NULL && st == ST_OK; s = json_next(s))
        st = add_segment(m, s, index++);
    return st;
}

static int add_url(struct making *m, const struct json *url)
{
    const char *text = json_str(url);
    struct url u;
    const char *fault;

    if (text == NULL)
        return err_set(m->err, ST_INVALID, "the request's url must be a text");
    fault = url_split(text, &u);
    if (fault != NULL)
        return err_set(m->err, ST_INVALID, "the request's url %s", fault);
    if (m->own_url && !u.https && !m->target->plain_allowed && !is_private_host(u.host))
        return err_set(m->err, ST_INVALID,
                       "the request's url must begin with https://: secrets would travel unencrypted");
    if (!m->own_url && !url_allowed(m->target, &u))
        return err_set(m->err, m->for_auth ? ST_DENIED : ST_INVALID,
                       "the request's url leads to %s://%s:%lld, which is not a host of this connector",
                       u.https ? "https" : "http", u.host, (long long)u.port);
    m->has_query = strchr(text, '?') != NULL;
    buf_puts(&m->url, text);
    return ST_OK;
}

/* name=value&…, of a query or a form. */
static int add_pair(struct making *m, struct buf *out, bool *first, const char *name, const struct json *value,
                    const char *where)
{
    char *text;

    if (json_type(value) == JSON_NULL)
        return ST_OK;
    if (!is_scalar(value))
        return err_set(m->err, ST_INVALID, "%s: \"%s\" must be a text, a number, a boolean, null or a list of them",
                       where, name);
    text = scalar_text(value, true);
    if (text == NULL)
        return not_unicode(m, where);
    if (!*first)
        buf_putc(out, '&');
    *first = false;
    add_encoded(out, name);
    buf_putc(out, '=');
    add_encoded(out, text);
    mem_free_secret(text);
    return ST_OK;
}

static int add_pairs(struct making *m, struct buf *out, const struct json *pairs, const char *where)
{
    bool first = true;
    int st = ST_OK;

    if (json_type(pairs) != JSON_OBJECT)
        return err_set(m->err, ST_INVALID, "%s must be an object", where);
    for (const struct json *p = json_first(pairs); p != NULL && st == ST_OK; p = json_next(p)) {
        if (!text_is_utf8(json_key(p), strlen(json_key(p))))
            st = not_unicode(m, where);
        else if (json_type(p) != JSON_ARRAY)
            st = add_pair(m, out, &first, json_key(p), p, where);
        else
            for (const struct json *e = json_first(p); e != NULL && st == ST_OK; e = json_next(e))
                st = add_pair(m, out, &first, json_key(p), e, where);
    }
    return st;
}

static int add_query(struct making *m, const struct json *query)
{
    struct buf pairs;
    int st;

    init_text(m, &pairs, REQUEST_URL_MAX_BYTES);
    st = add_pairs(m, &pairs, query, "the request's query");
    if (st == ST_OK && pairs.failed)
        m->url.failed = true;
    if (st == ST_OK && pairs.len > 0) {
        buf_putc(&m->url, m->has_query ? '&' : '?');
        buf_puts(&m->url, buf_text(&pairs));
    }
    buf_free(&pairs);
    return st;
}

static bool has_header(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (text_ieq(r->headers[i].name, name))
            return true;
    }
    return false;
}

/* What is there already stays: the request's own headers are added first. */
static int add_header(struct making *m, const char *name, const char *value)
{
    struct request *r = &m->request;

    if (has_header(r, name))
        return ST_OK;
    if (r->header_count == REQUEST_HEADERS_MAX)
        return err_set(m->err, ST_INVALID, "the request has more than %d headers", REQUEST_HEADERS_MAX);
    r->header_texts[2 * r->header_count] = mem_strdup(name);
    r->header_texts[2 * r->header_count + 1] = mem_strdup(value);
    r->headers[r->header_count] = (struct httpc_header){.name = r->header_texts[2 * r->header_count],
                                                        .value = r->header_texts[2 * r->header_count + 1]};
    r->header_count++;
    return ST_OK;
}

static bool is_reserved_header(const char *name)
{
    static const char *const names[] = {"Host",    "Content-Length", "Transfer-Encoding", "Connection",
                                        "Upgrade", "Expect",         "Authorization",     "Proxy-Authorization"};

    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        if (text_ieq(names[i], name))
            return true;
    }
    return false;
}

static int add_own_headers(struct making *m, const struct json *headers)
{
    int st = ST_OK;

    if (headers != NULL && json_type(headers) != JSON_OBJECT)
        return err_set(m->err, ST_INVALID, "the request's headers must be an object");
    for (const struct json *h = json_first(headers); h != NULL && st == ST_OK; h = json_next(h)) {
        char *value;

        if (json_type(h) == JSON_NULL)
            continue;
        if (!is_token(json_key(h)) ||
            (is_reserved_header(json_key(h)) && !(m->for_auth && text_ieq(json_key(h), "Authorization"))))
            return err_set(m->err, ST_INVALID, "the header \"%s\" is not for a connector to set", json_key(h));
        value = scalar_text(h, false);
        if (value == NULL)
            return json_str(h) != NULL
                       ? not_unicode(m, "a header")
                       : err_set(m->err, ST_INVALID, "the header %s must be a text or a number", json_key(h));
        if (strlen(value) > HEADER_MAX_BYTES || !is_header_value(value))
            st = err_set(m->err, ST_DENIED, "the value of the header %s holds control characters or is too long",
                         json_key(h));
        else
            st = add_header(m, json_key(h), value);
        mem_free_secret(value);
    }
    return st;
}

static int add_body(struct making *m, const struct json *spec)
{
    const struct json *body = json_get(spec, "body");
    const struct json *form = json_get(spec, "form");
    const char *type = json_str(json_get(m->target->meta, "content_type"));
    struct buf text;
    int st = ST_OK;

    if (json_type(body) == JSON_NULL && json_type(form) == JSON_NULL)
        return ST_OK;
    if (json_type(body) != JSON_NULL && json_type(form) != JSON_NULL)
        return err_set(m->err, ST_INVALID, "the request has a body as well as a form");
    if (strcmp(m->request.method, "GET") == 0)
        return err_set(m->err, ST_INVALID, "a GET request cannot have a body");
    init_text(m, &text, m->for_auth ? AUTH_BODY_MAX_BYTES : REQUEST_BODY_MAX_BYTES);
    if (json_type(body) != JSON_NULL) {
        json_print(body, &text);
        st = add_header(m, "Content-Type", type != NULL ? type : "application/json");
    } else {
        st = add_pairs(m, &text, form, "the request's form");
        if (st == ST_OK)
            st = add_header(m, "Content-Type", "application/x-www-form-urlencoded");
    }
    if (st == ST_OK && text.failed)
        st = err_set(m->err, ST_DENIED, "the body is larger than %zu bytes", text.max);
    if (st == ST_OK) {
        m->request.body_len = text.len;
        m->request.body = buf_take(&text);
    }
    buf_free(&text);
    return st;
}

static int check_spec(const struct json *spec, struct errmsg *err)
{
    static const char *const names[] = {"method", "path", "url", "query", "headers", "body", "form"};
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    const char *method = json_str(json_get(spec, "method"));

    if (json_type(spec) != JSON_OBJECT)
        return err_set(err, ST_INVALID, "the request must be an object");
    for (const struct json *s = json_first(spec); s != NULL; s = json_next(s)) {
        size_t i = 0;
        const char *meant;

        while (i < ATS_COUNT(names) && strcmp(names[i], json_key(s)) != 0)
            i++;
        if (i < ATS_COUNT(names))
            continue;
        meant = suggest(json_key(s), names, ATS_COUNT(names));
        return err_set(err, ST_INVALID, "the request has an unknown member \"%s\"%s%s%s", json_key(s),
                       meant != NULL ? ", did you mean \"" : "", meant != NULL ? meant : "",
                       meant != NULL ? "\"?" : "");
    }
    for (size_t i = 0; method != NULL && i < ATS_COUNT(methods); i++) {
        if (strcmp(methods[i], method) == 0)
            return ST_OK;
    }
    return err_set(err, ST_INVALID, "the request's method must be GET, POST, PUT, PATCH or DELETE");
}

static int add_place(struct making *m, const struct json *spec)
{
    const struct json *path = json_get(spec, "path");
    const struct json *url = json_get(spec, "url");
    int st;

    if ((path == NULL) == (url == NULL))
        return err_set(m->err, ST_INVALID, "the request must have either a path or a url");
    st = path != NULL ? add_path(m, path) : add_url(m, url);
    if (st == ST_OK && json_type(json_get(spec, "query")) != JSON_NULL)
        st = add_query(m, json_get(spec, "query"));
    if (st == ST_OK && m->url.failed)
        st = err_set(m->err, ST_DENIED, "the request's URL would be longer than %d bytes", REQUEST_URL_MAX_BYTES);
    return st;
}

static char *path_of(const char *url)
{
    const char *path = strstr(url, "://") + 3;

    path += strcspn(path, "/?");
    return *path == '/' ? mem_strndup(path, strcspn(path, "?")) : mem_strdup("/");
}

static int make(struct making *m, const struct json *spec, const char *idempotency_key, struct request *ret)
{
    const struct target *t = m->target;
    const char *key_header = json_str(json_get(t->meta, "idempotency_header"));
    int st;

    init_text(m, &m->url, REQUEST_URL_MAX_BYTES);
    st = check_spec(spec, m->err);
    if (st != ST_OK)
        goto out;
    m->request.method = mem_strdup(json_str(json_get(spec, "method")));
    if ((st = add_place(m, spec)) != ST_OK || (st = add_own_headers(m, json_get(spec, "headers"))) != ST_OK)
        goto out;
    for (size_t i = 0; i < t->header_count && st == ST_OK && !m->for_auth; i++)
        st = add_header(m, t->header_names[i], t->header_values[i]);
    if (st == ST_OK && idempotency_key != NULL && key_header != NULL)
        st = add_header(m, key_header, idempotency_key);
    if (st != ST_OK || (st = add_header(m, "Accept", "application/json")) != ST_OK || (st = add_body(m, spec)) != ST_OK)
        goto out;
    m->request.url = buf_take(&m->url);
    m->request.path = path_of(m->request.url);
    *ret = m->request;
    m->request = (struct request){0};
out:
    request_clear(&m->request);
    buf_free(&m->url);
    return st;
}

int request_make(const struct target *t, const struct json *spec, const char *idempotency_key, struct request *ret,
                 struct errmsg *err)
{
    struct making m = {.target = t, .err = err};

    return make(&m, spec, idempotency_key, ret);
}

int request_make_auth(const struct target *t, const struct json *spec, bool own_url, struct request *ret,
                      struct errmsg *err)
{
    struct making m = {.target = t, .err = err, .for_auth = true, .own_url = own_url};

    return make(&m, spec, NULL, ret);
}

void request_clear(struct request *r)
{
    for (size_t i = 0; i < 2 * r->header_count; i++)
        mem_free_secret(r->header_texts[i]);
    if (r->body != NULL)
        mem_wipe(r->body, r->body_len);
    mem_free(r->method);
    mem_free_secret(r->url);
    mem_free(r->path);
    mem_free(r->body);
    *r = (struct request){0};
}
