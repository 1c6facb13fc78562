#include "connector/meta.h"

#include <ctype.h>
#include <stdint.h>

#include "base/suggest.h"
#include "base/text.h"

enum { NAME_MAX_BYTES = 64, PLACE_MAX_BYTES = 200, HEADERS_OF_AUTH_MAX = 4, TEXT_CHARS_MIN = 100 };

/* ---- the format as tables --------------------------------------------------------------------------------------- */

enum shape {
    SHAPE_TEXT,
    SHAPE_TEXT_OR_NULL,
    SHAPE_BOOL,
    SHAPE_COUNT,    /* an integer within min and max */
    SHAPE_TEXTS,    /* a list of texts */
    SHAPE_STATUSES, /* a list of HTTP statuses */
    SHAPE_TEXT_MAP, /* any names, each with a text */
    SHAPE_OBJECT,   /* the members in `members` */
    SHAPE_OBJECT_OR_NULL,
    SHAPE_ENTRIES, /* any names, each with an object of `members` */
    SHAPE_LIST,    /* a list of objects of `members` */
};

struct member {
    const char *name; /* NULL ends a table */
    enum shape shape;
    bool required;
    int64_t min, max;
    const struct member *members;
};

static const struct member setting_members[] = {
    {.name = "help", .shape = SHAPE_TEXT, .required = true},
    {.name = "required", .shape = SHAPE_BOOL},
    {.name = "default", .shape = SHAPE_TEXT},
    {.name = "pattern", .shape = SHAPE_TEXT},
    {.name = NULL},
};
static const struct member credential_members[] = {
    {.name = "help", .shape = SHAPE_TEXT, .required = true},
    {.name = "required", .shape = SHAPE_BOOL},
    {.name = NULL},
};
static const struct member step_basic_members[] = {
    {.name = "username", .shape = SHAPE_TEXT, .required = true},
    {.name = "password", .shape = SHAPE_TEXT, .required = true},
    {.name = NULL},
};
static const struct member step_members[] = {
    {.name = "method", .shape = SHAPE_TEXT, .required = true},
    {.name = "url", .shape = SHAPE_TEXT, .required = true},
    {.name = "query", .shape = SHAPE_TEXT_MAP},
    {.name = "form", .shape = SHAPE_TEXT_MAP},
    {.name = "headers", .shape = SHAPE_TEXT_MAP},
    {.name = "basic", .shape = SHAPE_OBJECT, .members = step_basic_members},
    {.name = "captures", .shape = SHAPE_TEXT_MAP, .required = true},
    {.name = "expires_in", .shape = SHAPE_TEXT},
    {.name = "expires_at", .shape = SHAPE_TEXT},
    {.name = NULL},
};
static const struct member auth_members[] = {
    {.name = "kind", .shape = SHAPE_TEXT, .required = true},
    {.name = "name", .shape = SHAPE_TEXT},
    {.name = "value", .shape = SHAPE_TEXT},
    {.name = "headers", .shape = SHAPE_TEXT_MAP},
    {.name = "username", .shape = SHAPE_TEXT},
    {.name = "password", .shape = SHAPE_TEXT},
    {.name = "token_url", .shape = SHAPE_TEXT},
    {.name = "client_id", .shape = SHAPE_TEXT},
    {.name = "client_secret", .shape = SHAPE_TEXT},
    {.name = "client_auth", .shape = SHAPE_TEXT},
    {.name = "form", .shape = SHAPE_TEXT_MAP},
    {.name = "refresh_token", .shape = SHAPE_TEXT},
    {.name = "steps", .shape = SHAPE_LIST, .members = step_members},
    {.name = "captures", .shape = SHAPE_TEXT_MAP},
    {.name = "base_url", .shape = SHAPE_TEXT},
    {.name = "lifetime_ms", .shape = SHAPE_COUNT, .min = 1000, .max = 31536000000},
    {.name = "refresh_before_ms", .shape = SHAPE_COUNT, .min = 0, .max = 86400000},
    {.name = "keep_alive_ms", .shape = SHAPE_COUNT, .min = 100, .max = 31536000000},
    {.name = "invalid_statuses", .shape = SHAPE_STATUSES},
    {.name = NULL},
};
static const struct member rate_members[] = {
    {.name = "count", .shape = SHAPE_COUNT, .required = true, .min = 1, .max = 1000000},
    {.name = "per_ms", .shape = SHAPE_COUNT, .required = true, .min = 1, .max = 86400000},
    {.name = "per_day", .shape = SHAPE_COUNT, .min = 1, .max = 1000000000},
    {.name = "remaining", .shape = SHAPE_TEXT},
    {.name = NULL},
};
static const struct member retry_after_members[] = {
    {.name = "header", .shape = SHAPE_TEXT, .required = true},
    {.name = "unit", .shape = SHAPE_TEXT, .required = true},
    {.name = NULL},
};
#define VALUE_MEMBERS                                                                                                  \
    {.name = "needs_job", .shape = SHAPE_BOOL}, {.name = "values", .shape = SHAPE_TEXTS},                              \
    {                                                                                                                  \
        .name = "pattern", .shape = SHAPE_TEXT                                                                         \
    }
static const struct member stage_members[] = {
    VALUE_MEMBERS,
    {.name = "only_from", .shape = SHAPE_BOOL},
    {.name = NULL},
};
static const struct member reject_members[] = {VALUE_MEMBERS, {.name = NULL}};
static const struct member fields_members[] = {
    VALUE_MEMBERS,
    {.name = "batch", .shape = SHAPE_BOOL},
    {.name = NULL},
};
static const struct member tags_members[] = {
    VALUE_MEMBERS,
    {.name = "batch", .shape = SHAPE_BOOL},
    {.name = "max_chars", .shape = SHAPE_COUNT, .min = 1, .max = 100000},
    {.name = NULL},
};
static const struct member note_members[] = {
    {.name = "needs_job", .shape = SHAPE_BOOL},
    {.name = "max_chars", .shape = SHAPE_COUNT, .min = TEXT_CHARS_MIN, .max = 10000000},
    {.name = "find_marker", .shape = SHAPE_BOOL},
    {.name = "shown_as", .shape = SHAPE_TEXT},
    {.name = NULL},
};
static const struct member assessment_members[] = {
    {.name = "needs_job", .shape = SHAPE_BOOL},
    {.name = "max_chars", .shape = SHAPE_COUNT, .min = TEXT_CHARS_MIN, .max = 10000000},
    {.name = NULL},
};
static const struct member capability_members[] = {
    {.name = "stage", .shape = SHAPE_OBJECT, .members = stage_members},
    {.name = "reject", .shape = SHAPE_OBJECT, .members = reject_members},
    {.name = "fields", .shape = SHAPE_OBJECT, .members = fields_members},
    {.name = "tags", .shape = SHAPE_OBJECT, .members = tags_members},
    {.name = "note", .shape = SHAPE_OBJECT, .members = note_members},
    {.name = "assessment", .shape = SHAPE_OBJECT, .members = assessment_members},
    {.name = NULL},
};
static const struct member meta_members[] = {
    {.name = "name", .shape = SHAPE_TEXT, .required = true},
    {.name = "title", .shape = SHAPE_TEXT, .required = true},
    {.name = "base_url", .shape = SHAPE_TEXT_OR_NULL},
    {.name = "settings", .shape = SHAPE_ENTRIES, .members = setting_members},
    {.name = "credentials", .shape = SHAPE_ENTRIES, .members = credential_members},
    {.name = "auth", .shape = SHAPE_OBJECT, .members = auth_members},
    {.name = "headers", .shape = SHAPE_TEXT_MAP},
    {.name = "hosts", .shape = SHAPE_TEXTS},
    {.name = "redirects", .shape = SHAPE_TEXTS},
    {.name = "rate", .shape = SHAPE_OBJECT_OR_NULL, .members = rate_members},
    {.name = "concurrency", .shape = SHAPE_COUNT, .min = 1, .max = 1000},
    {.name = "timeout_ms", .shape = SHAPE_COUNT, .min = 100, .max = 600000},
    {.name = "http1_only", .shape = SHAPE_BOOL},
    {.name = "content_type", .shape = SHAPE_TEXT},
    {.name = "idempotency_header", .shape = SHAPE_TEXT},
    {.name = "retry_after", .shape = SHAPE_LIST, .members = retry_after_members},
    {.name = "throttle_ms", .shape = SHAPE_COUNT, .min = 1, .max = 86400000},
    {.name = "capabilities", .shape = SHAPE_OBJECT, .required = true, .members = capability_members},
    {.name = "classify", .shape = SHAPE_BOOL},
    {.name = "probe", .shape = SHAPE_BOOL},
    {.name = "notes", .shape = SHAPE_TEXTS},
    {.name = NULL},
};

/* ---- does a value have the format? ---------------------------------------------------------------------------------
 */

struct check {
    const char *path; /* of the file */
    const struct json *meta;
    struct errmsg *err;
};

static int check_members(const struct check *c, const char *place, const struct json *value,
                         const struct member *members);

static int wrong(const struct check *c, const char *place, const char *what)
{
    return err_set(c->err, ST_INVALID, "%s: %s %s", c->path, place, what);
}

static bool is_text(const struct json *value)
{
    return json_type(value) == JSON_STRING;
}

static int check_each(const struct check *c, const char *place, const struct json *value, const struct member *m)
{
    char below[PLACE_MAX_BYTES];
    size_t i = 0;
    int st = ST_OK;

    for (const struct json *child = json_first(value); child != NULL && st == ST_OK; child = json_next(child), i++) {
        if (json_type(value) == JSON_ARRAY)
            snprintf(below, sizeof below, "%s[%zu]", place, i);
        else
            snprintf(below, sizeof below, "%s.%s", place, json_key(child));
        if (m->members != NULL)
            st = check_members(c, below, child, m->members);
        else if (!is_text(child))
            st = wrong(c, below, "must be a text");
    }
    return st;
}

static int check_count(const struct check *c, const char *place, const struct json *owner, const struct member *m)
{
    int64_t n;

    if (json_get_i64(owner, m->name, &n) && n >= m->min && n <= m->max)
        return ST_OK;
    return err_set(c->err, ST_INVALID, "%s: %s must be a whole number from %lld to %lld", c->path, place,
                   (long long)m->min, (long long)m->max);
}

static int check_statuses(const struct check *c, const char *place, const struct json *list)
{
    double n;

    for (const struct json *e = json_first(list); e != NULL; e = json_next(e)) {
        if (!json_num(e, &n) || n < 400 || n > 499 || n != (double)(int)n)
            return wrong(c, place, "must hold HTTP statuses from 400 to 499");
    }
    return ST_OK;
}

static int check_value(const struct check *c, const char *place, const struct json *owner, const struct member *m)
{
    const struct json *value = json_get(owner, m->name);
    enum json_type type = json_type(value);

    switch (m->shape) {
    case SHAPE_TEXT:
        return is_text(value) ? ST_OK : wrong(c, place, "must be a text");
    case SHAPE_TEXT_OR_NULL:
        return is_text(value) || type == JSON_NULL ? ST_OK : wrong(c, place, "must be a text or null");
    case SHAPE_BOOL:
        return type == JSON_TRUE || type == JSON_FALSE ? ST_OK : wrong(c, place, "must be true or false");
    case SHAPE_COUNT:
        return check_count(c, place, owner, m);
    case SHAPE_OBJECT_OR_NULL:
        return type == JSON_NULL ? ST_OK : check_members(c, place, value, m->members);
    case SHAPE_OBJECT:
        return check_members(c, place, value, m->members);
    case SHAPE_TEXTS:
    case SHAPE_LIST:
        return type == JSON_ARRAY ? check_each(c, place, value, m) : wrong(c, place, "must be a list");
    case SHAPE_STATUSES:
        return type == JSON_ARRAY ? check_statuses(c, place, value) : wrong(c, place, "must be a list");
    case SHAPE_TEXT_MAP:
    case SHAPE_ENTRIES:
        return type == JSON_OBJECT ? check_each(c, place, value, m) : wrong(c, place, "must be an object");
    }
    return ST_OK;
}

static const struct member *find_member(const struct member *members, const char *name)
{
    while (members->name != NULL && strcmp(members->name, name) != 0)
        members++;
    return members->name != NULL ? members : NULL;
}

static int unknown_member(const struct check *c, const char *place, const char *name, const struct member *members)
{
    const char *names[ATS_COUNT(meta_members)];
    size_t count = 0;
    const char *meant;

    for (; members->name != NULL; members++)
        names[count++] = members->name;
    meant = suggest(name, names, count);
    return err_set(c->err, ST_INVALID, "%s: %s has an unknown member \"%s\"%s%s%s", c->path, place, name,
                   meant != NULL ? ", did you mean \"" : "", meant != NULL ? meant : "", meant != NULL ? "\"?" : "");
}

static int check_members(const struct check *c, const char *place, const struct json *value,
                         const struct member *members)
{
    char below[PLACE_MAX_BYTES];
    int st = ST_OK;

    if (json_type(value) != JSON_OBJECT)
        return wrong(c, place, "must be an object");
    for (const struct json *m = json_first(value); m != NULL; m = json_next(m)) {
        if (find_member(members, json_key(m)) == NULL)
            return unknown_member(c, place, json_key(m), members);
    }
    for (; members->name != NULL && st == ST_OK; members++) {
        snprintf(below, sizeof below, "%s.%s", place, members->name);
        if (json_get(value, members->name) != NULL)
            st = check_value(c, below, value, members);
        else if (members->required)
            st = wrong(c, below, "is missing");
    }
    return st;
}

/* ---- {name} in texts ----------------------------------------------------------------------------------------------
 */

static bool is_name(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!islower((unsigned char)s[i]) && !isdigit((unsigned char)s[i]) && s[i] != '_')
            return false;
    }
    return len > 0 && len <= NAME_MAX_BYTES;
}

/* Calls one for each {name}, and literal for what stands between. Either may be NULL. */
struct template_sink {
    void (*literal)(void *ctx, const char *text, size_t len);
    int (*name)(void *ctx, const char *name, struct errmsg *err);
    void *ctx;
};

static int walk_template(const char *text, const struct template_sink *sink, struct errmsg *err)
{
    int st = ST_OK;

    while (*text != '\0' && st == ST_OK) {
        size_t len = strcspn(text, "{}");
        const char *close;
        char name[NAME_MAX_BYTES + 1] = "";

        sink->literal(sink->ctx, text, len);
        text += len;
        if (*text == '\0')
            break;
        close = *text == '{' ? strchr(text, '}') : NULL;
        if (close == NULL || !is_name(text + 1, (size_t)(close - text - 1)))
            return err_set(err, ST_INVALID, "a brace must open or close a {name} of small letters, digits and _");
        memcpy(name, text + 1, (size_t)(close - text - 1));
        st = sink->name(sink->ctx, name, err);
        text = close + 1;
    }
    return st;
}

const char *meta_setting(const struct json *meta, const struct connector_config *connector, const char *name)
{
    const char *value = config_value(connector->settings, connector->setting_count, name);

    return value != NULL ? value : json_str(json_get(json_get(json_get(meta, "settings"), name), "default"));
}

struct filling {
    const struct json *meta;
    const struct connector_config *connector;
    const struct json *values;
    bool with_credentials;
    struct buf *out;
};

static void fill_literal(void *ctx, const char *text, size_t len)
{
    struct filling *f = ctx;

    buf_add(f->out, text, len);
}

static int fill_name(void *ctx, const char *name, struct errmsg *err)
{
    struct filling *f = ctx;
    const char *value = NULL;
    const char *what = "setting";

    if (json_str(json_get(f->values, name)) != NULL) {
        value = json_str(json_get(f->values, name));
    } else if (f->with_credentials && json_get(json_get(f->meta, "credentials"), name) != NULL) {
        value = config_value(f->connector->credentials, f->connector->credential_count, name);
        what = "credential";
    } else {
        value = meta_setting(f->meta, f->connector, name);
    }
    if (value == NULL)
        return err_set(err, ST_NOT_FOUND, "the %s \"%s\" of connector \"%s\" is missing", what, name,
                       f->connector->name);
    buf_puts(f->out, value);
    return ST_OK;
}

int meta_fill_with(const struct json *meta, const struct connector_config *connector, const struct json *values,
                   const char *text, bool with_credentials, struct buf *out, struct errmsg *err)
{
    struct filling f = {
        .meta = meta, .connector = connector, .values = values, .with_credentials = with_credentials, .out = out};
    struct template_sink sink = {.literal = fill_literal, .name = fill_name, .ctx = &f};

    return walk_template(text, &sink, err);
}

int meta_fill(const struct json *meta, const struct connector_config *connector, const char *text,
              bool with_credentials, struct buf *out, struct errmsg *err)
{
    return meta_fill_with(meta, connector, NULL, text, with_credentials, out, err);
}

struct searching {
    const struct json *names;
    bool found;
};

static void skip_literal(void *ctx, const char *text, size_t len)
{
    (void)ctx;
    (void)text;
    (void)len;
}

static int search_name(void *ctx, const char *name, struct errmsg *err)
{
    struct searching *s = ctx;

    (void)err;
    s->found = s->found || json_get(s->names, name) != NULL;
    return ST_OK;
}

bool meta_uses(const char *text, const struct json *names)
{
    struct searching s = {.names = names};
    struct template_sink sink = {.literal = skip_literal, .name = search_name, .ctx = &s};

    return walk_template(text, &sink, NULL) == ST_OK && s.found;
}

/* ---- what tables cannot say -----------------------------------------------------------------------------------------
 */

struct declared {
    const struct json *meta;
    const struct json *captured; /* an object with the names that an answer has given; NULL: none */
    bool with_credentials;
};

static int check_name(void *ctx, const char *name, struct errmsg *err)
{
    struct declared *d = ctx;

    if (json_get(json_get(d->meta, "settings"), name) != NULL || json_get(d->captured, name) != NULL ||
        (d->with_credentials && json_get(json_get(d->meta, "credentials"), name) != NULL))
        return ST_OK;
    return err_set(err, ST_INVALID, "{%s} is not among meta.settings%s%s", name,
                   d->with_credentials ? " or meta.credentials" : "",
                   d->captured != NULL ? ", and not captured before" : "");
}

static int check_template_in(const struct check *c, const char *place, const struct json *text, bool with_credentials,
                             const struct json *captured)
{
    struct declared d = {.meta = c->meta, .captured = captured, .with_credentials = with_credentials};
    struct template_sink sink = {.literal = skip_literal, .name = check_name, .ctx = &d};
    int st = json_str(text) != NULL ? walk_template(json_str(text), &sink, c->err) : ST_OK;

    return st == ST_OK ? ST_OK : err_prefix(c->err, st, "%s: %s", c->path, place);
}

static int check_template(const struct check *c, const char *place, const struct json *text, bool with_credentials)
{
    return check_template_in(c, place, text, with_credentials, NULL);
}

static int check_template_map_in(const struct check *c, const char *place, const struct json *map,
                                 bool with_credentials, const struct json *captured)
{
    char below[PLACE_MAX_BYTES];
    int st = ST_OK;

    for (const struct json *m = json_first(map); m != NULL && st == ST_OK; m = json_next(m)) {
        snprintf(below, sizeof below, "%s.%s", place, json_key(m));
        st = check_template_in(c, below, m, with_credentials, captured);
    }
    return st;
}

static int check_template_map(const struct check *c, const char *place, const struct json *map, bool with_credentials)
{
    return check_template_map_in(c, place, map, with_credentials, NULL);
}

static int check_names(const struct check *c, const char *place, const struct json *entries)
{
    for (const struct json *e = json_first(entries); e != NULL; e = json_next(e)) {
        if (!is_name(json_key(e), strlen(json_key(e))))
            return err_set(c->err, ST_INVALID, "%s: %s: the name \"%s\" must consist of small letters, digits and _",
                           c->path, place, json_key(e));
        if (json_get(json_get(c->meta, "settings"), json_key(e)) != NULL &&
            json_get(json_get(c->meta, "credentials"), json_key(e)) != NULL)
            return err_set(c->err, ST_INVALID, "%s: %s: \"%s\" is a setting as well as a credential", c->path, place,
                           json_key(e));
    }
    return ST_OK;
}

/* ---- auth */

enum { AUTH_NEEDS_MAX = 4, AUTH_MAY_MAX = 10 };
#define OF_TOKENS "base_url", "lifetime_ms", "refresh_before_ms", "keep_alive_ms", "invalid_statuses"

static const struct auth_kind {
    const char *kind;
    const char *needs[AUTH_NEEDS_MAX + 1]; /* templates, or steps */
    const char *may[AUTH_MAY_MAX + 1];     /* beside kind and headers */
    bool gets_tokens;
} auth_kinds[] = {
    {.kind = "none"},
    {.kind = "header", .needs = {"name", "value"}},
    {.kind = "basic", .needs = {"username", "password"}},
    {.kind = "oauth2_client_credentials",
     .needs = {"token_url", "client_id", "client_secret"},
     .may = {"client_auth", "form", "captures", "name", "value", OF_TOKENS},
     .gets_tokens = true},
    {.kind = "oauth2_refresh_token",
     .needs = {"token_url", "client_id", "client_secret", "refresh_token"},
     .may = {"client_auth", "form", "captures", "name", "value", OF_TOKENS},
     .gets_tokens = true},
    {.kind = "chain", .needs = {"steps", "name", "value"}, .may = {"refresh_token", OF_TOKENS}, .gets_tokens = true},
};

static bool is_listed(const char *const *list, const char *name)
{
    while (*list != NULL && strcmp(*list, name) != 0)
        list++;
    return *list != NULL;
}

static int find_auth_kind(const struct check *c, const char *kind, const struct auth_kind **ret)
{
    const char *names[ATS_COUNT(auth_kinds)];
    const char *meant;

    for (size_t i = 0; i < ATS_COUNT(auth_kinds); i++) {
        names[i] = auth_kinds[i].kind;
        if (strcmp(names[i], kind) == 0) {
            *ret = &auth_kinds[i];
            return ST_OK;
        }
    }
    meant = suggest(kind, names, ATS_COUNT(names));
    return err_set(c->err, ST_INVALID,
                   "%s: meta.auth.kind must be none, header, basic, oauth2_client_credentials, oauth2_refresh_token or "
                   "chain, not \"%s\"%s%s%s",
                   c->path, kind, meant != NULL ? "; did you mean \"" : "", meant != NULL ? meant : "",
                   meant != NULL ? "\"?" : "");
}

static int check_auth_members(const struct check *c, const struct json *auth, const struct auth_kind *kind)
{
    char below[PLACE_MAX_BYTES];

    for (const struct json *m = json_first(auth); m != NULL; m = json_next(m)) {
        const char *name = json_key(m);

        if (strcmp(name, "kind") == 0 || strcmp(name, "headers") == 0 || is_listed(kind->needs, name) ||
            is_listed(kind->may, name))
            continue;
        return err_set(c->err, ST_INVALID, "%s: meta.auth.%s has no meaning for kind %s", c->path, name, kind->kind);
    }
    for (size_t i = 0; kind->needs[i] != NULL; i++) {
        snprintf(below, sizeof below, "meta.auth.%s", kind->needs[i]);
        if (json_get(auth, kind->needs[i]) == NULL)
            return wrong(c, below, "is missing");
    }
    return ST_OK;
}

static int check_pointer(const struct check *c, const char *place, const struct json *pointer)
{
    const char *text = json_str(pointer);

    if (text == NULL)
        return ST_OK;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '~' && p[1] != '0' && p[1] != '1')
            return wrong(c, place, "must be a JSON Pointer such as /access_token");
    }
    return *text == '/' ? ST_OK : wrong(c, place, "must be a JSON Pointer such as /access_token");
}

/* Adds the names to captured. */
static int check_captures(const struct check *c, const char *place, const struct json *captures, struct json *captured)
{
    char below[PLACE_MAX_BYTES];
    int st = ST_OK;

    for (const struct json *m = json_first(captures); m != NULL && st == ST_OK; m = json_next(m)) {
        const char *name = json_key(m);

        snprintf(below, sizeof below, "%s.%s", place, name);
        if (!is_name(name, strlen(name)))
            return wrong(c, below, "must have a name of small letters, digits and _");
        if (json_get(json_get(c->meta, "settings"), name) != NULL ||
            (json_get(json_get(c->meta, "credentials"), name) != NULL && strcmp(name, "refresh_token") != 0))
            return wrong(c, below, "has the name of a setting or credential");
        st = check_pointer(c, below, m);
        json_set_bool(captured, name, true);
    }
    return st;
}

static const char *place_below(char room[PLACE_MAX_BYTES], const char *place, const char *name)
{
    return snprintf(room, PLACE_MAX_BYTES, "%s.%s", place, name) > 0 ? room : place;
}

static int check_step(const struct check *c, const char *place, const struct json *step, struct json *captured)
{
    static const char *const maps[] = {"query", "form", "headers", "basic"};
    static const char *const pointers[] = {"expires_in", "expires_at"};
    const char *method = json_str(json_get(step, "method"));
    char room[PLACE_MAX_BYTES];
    int st;

    if (strcmp(method, "GET") != 0 && strcmp(method, "POST") != 0)
        return wrong(c, place_below(room, place, "method"), "must be GET or POST");
    if (strcmp(method, "GET") == 0 && json_get(step, "form") != NULL)
        return wrong(c, place_below(room, place, "form"), "cannot go out with GET");
    st = check_template_in(c, place_below(room, place, "url"), json_get(step, "url"), false, captured);
    for (size_t i = 0; i < ATS_COUNT(maps) && st == ST_OK; i++)
        st = check_template_map_in(c, place_below(room, place, maps[i]), json_get(step, maps[i]), true, captured);
    for (size_t i = 0; i < ATS_COUNT(pointers) && st == ST_OK; i++)
        st = check_pointer(c, place_below(room, place, pointers[i]), json_get(step, pointers[i]));
    return st == ST_OK ? check_captures(c, place_below(room, place, "captures"), json_get(step, "captures"), captured)
                       : st;
}

/* What a kind that gets tokens captures, into captured; its templates on the way. */
static int check_token_auth(const struct check *c, const struct json *auth, struct json *captured)
{
    static const char *const templates[] = {"client_id", "client_secret", "refresh_token"};
    const char *client_auth = json_str(json_get(auth, "client_auth"));
    const struct json *steps = json_get(auth, "steps");
    char below[PLACE_MAX_BYTES];
    size_t index = 0;
    int st = check_template(c, "meta.auth.token_url", json_get(auth, "token_url"), false);

    for (size_t i = 0; i < ATS_COUNT(templates) && st == ST_OK; i++) {
        snprintf(below, sizeof below, "meta.auth.%s", templates[i]);
        st = check_template(c, below, json_get(auth, templates[i]), true);
    }
    if (st == ST_OK)
        st = check_template_map(c, "meta.auth.form", json_get(auth, "form"), true);
    if (st == ST_OK && client_auth != NULL && strcmp(client_auth, "basic") != 0 && strcmp(client_auth, "body") != 0)
        st = wrong(c, "meta.auth.client_auth", "must be basic or body");
    if (steps == NULL)
        json_set_bool(captured, "access_token", true);
    else if (json_count(steps) == 0)
        st = wrong(c, "meta.auth.steps", "must have at least one step");
    if (json_get(auth, "refresh_token") != NULL)
        json_set_bool(captured, "refresh_token", true);
    if (st == ST_OK)
        st = check_captures(c, "meta.auth.captures", json_get(auth, "captures"), captured);
    for (const struct json *s = json_first(steps); s != NULL && st == ST_OK; s = json_next(s)) {
        snprintf(below, sizeof below, "meta.auth.steps[%zu]", index++);
        st = check_step(c, below, s, captured);
    }
    return st == ST_OK ? check_template_in(c, "meta.auth.base_url", json_get(auth, "base_url"), false, captured) : st;
}

static int check_auth(const struct check *c)
{
    static const char *const templates[] = {"value", "username", "password"};
    const struct json *auth = json_get(c->meta, "auth");
    const struct auth_kind *kind = NULL;
    struct json *captured = NULL;
    char below[PLACE_MAX_BYTES];
    int st;

    if (auth == NULL)
        return ST_OK;
    if ((st = find_auth_kind(c, json_str(json_get(auth, "kind")), &kind)) != ST_OK ||
        (st = check_auth_members(c, auth, kind)) != ST_OK)
        return st;
    if (kind->gets_tokens) {
        captured = json_object();
        st = check_token_auth(c, auth, captured);
    }
    for (size_t i = 0; i < ATS_COUNT(templates) && st == ST_OK; i++) {
        snprintf(below, sizeof below, "meta.auth.%s", templates[i]);
        st = check_template_in(c, below, json_get(auth, templates[i]), true, captured);
    }
    if (st == ST_OK && json_count(json_get(auth, "headers")) >= HEADERS_OF_AUTH_MAX)
        st = wrong(c, "meta.auth.headers", "must have 3 members at most");
    if (st == ST_OK)
        st = check_template_map_in(c, "meta.auth.headers", json_get(auth, "headers"), true, captured);
    json_free(captured);
    return st;
}

bool meta_host_pattern_ok(const char *pattern)
{
    size_t label = 0;

    if (text_starts(pattern, "*."))
        pattern += 2;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '.' ? label == 0
                            : !islower((unsigned char)*pattern) && !isdigit((unsigned char)*pattern) && *pattern != '-')
            return false;
        label = *pattern == '.' ? 0 : label + 1;
    }
    return label > 0;
}

static int check_hosts(const struct check *c)
{
    for (const struct json *h = json_first(json_get(c->meta, "hosts")); h != NULL; h = json_next(h)) {
        if (!meta_host_pattern_ok(json_str(h)))
            return err_set(
                c->err, ST_INVALID,
                "%s: meta.hosts: \"%s\" is not a host name in small letters such as api.example.com or *.example.com",
                c->path, json_str(h));
    }
    return ST_OK;
}

/* "HOST" or "HOST:PORT" */
static bool redirect_ok(const char *text)
{
    const char *colon = strchr(text, ':');
    char *host = mem_strndup(text, colon != NULL ? (size_t)(colon - text) : strlen(text));
    int64_t port = 0;
    bool ok =
        meta_host_pattern_ok(host) && (colon == NULL || (colon[1] != '0' && text_to_i64(colon + 1, 1, 65535, &port)));

    mem_free(host);
    return ok;
}

static int check_redirects(const struct check *c)
{
    for (const struct json *h = json_first(json_get(c->meta, "redirects")); h != NULL; h = json_next(h)) {
        if (!redirect_ok(json_str(h)))
            return err_set(c->err, ST_INVALID,
                           "%s: meta.redirects: \"%s\" is not a host name in small letters such as api.example.com, "
                           "*.example.com or api.example.com:8443",
                           c->path, json_str(h));
    }
    return ST_OK;
}

static int check_units(const struct check *c)
{
    static const char *const units[] = {"seconds", "epoch", "epoch_ms", "http_date", "iso8601"};

    for (const struct json *r = json_first(json_get(c->meta, "retry_after")); r != NULL; r = json_next(r)) {
        const char *unit = json_str(json_get(r, "unit"));
        size_t i = 0;

        while (i < ATS_COUNT(units) && strcmp(units[i], unit) != 0)
            i++;
        if (i == ATS_COUNT(units))
            return err_set(
                c->err, ST_INVALID,
                "%s: meta.retry_after: the unit \"%s\" is none of seconds, epoch, epoch_ms, http_date, iso8601",
                c->path, unit);
    }
    return ST_OK;
}

static int check_note(const struct check *c)
{
    const char *shown_as = json_get_str(json_get(json_get(c->meta, "capabilities"), "note"), "shown_as");

    if (shown_as == NULL || strcmp(shown_as, "text") == 0 || strcmp(shown_as, "html") == 0)
        return ST_OK;
    return wrong(c, "meta.capabilities.note.shown_as", "must be text or html; leave it out where that is not known");
}

int meta_check(const char *path, const char *type, const struct json *meta, struct errmsg *err)
{
    struct check c = {.path = path, .meta = meta, .err = err};
    int st = check_members(&c, "meta", meta, meta_members);

    if (st != ST_OK)
        return st;
    if (strcmp(json_str(json_get(meta, "name")), type) != 0)
        return err_set(err, ST_INVALID, "%s: meta.name must be \"%s\", as the file is called", path, type);
    if (json_count(json_get(meta, "capabilities")) == 0)
        return wrong(&c, "meta.capabilities", "must name at least one verb");
    if ((st = check_names(&c, "meta.settings", json_get(meta, "settings"))) != ST_OK ||
        (st = check_names(&c, "meta.credentials", json_get(meta, "credentials"))) != ST_OK ||
        (st = check_template(&c, "meta.base_url", json_get(meta, "base_url"), false)) != ST_OK ||
        (st = check_template_map(&c, "meta.headers", json_get(meta, "headers"), false)) != ST_OK ||
        (st = check_auth(&c)) != ST_OK || (st = check_hosts(&c)) != ST_OK || (st = check_redirects(&c)) != ST_OK ||
        (st = check_note(&c)) != ST_OK)
        return st;
    return check_units(&c);
}
