#include <ctype.h>
#include <errno.h>
#include <unistd.h>

#include "base/decimal.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "config/config_keys.h"
#include "config/file.h"
#include "config/secret.h"
#include "lib/crypto.h"
#include "lib/db.h"
#include "lib/json.h"

enum { PEM_MAX_BYTES = 256 * 1024, OTHERS = 07, CHOICES_MAX = 16 };

/* ---- members of objects, without casting between pointer types */
void value_get(const void *object, size_t offset, void *ret, size_t size)
{
    memcpy(ret, (const char *)object + offset, size);
}

void value_put(void *object, size_t offset, const void *value, size_t size)
{
    memcpy((char *)object + offset, value, size);
}

char *text_get(const void *object, size_t offset)
{
    char *s;

    value_get(object, offset, &s, sizeof s);
    return s;
}

/* Takes s over; the text before it is freed. */
void text_put(void *object, size_t offset, char *s)
{
    mem_free_secret(text_get(object, offset));
    value_put(object, offset, &s, sizeof s);
}

static int64_t number_get(const void *object, size_t offset)
{
    int64_t n;

    value_get(object, offset, &n, sizeof n);
    return n;
}

/* ---- text */
static void show_text(const struct key *key, const void *object, struct buf *out)
{
    const char *s = text_get(object, key->offset);

    buf_puts(out, s != NULL ? s : "(none)");
}

/* Some are secrets; it is not done often. */
static bool same_text(const struct key *key, const void *a, const void *b)
{
    return crypto_text_equal(text_get(a, key->offset), text_get(b, key->offset));
}

static void release_text(const struct key *key, void *object)
{
    text_put(object, key->offset, NULL);
}

static void copy_text(const struct key *key, void *to, const void *from)
{
    text_put(to, key->offset, mem_strdup(text_get(from, key->offset)));
}

static bool text_fits(struct config_reader *r, const struct key *key, const char *s, unsigned line,
                      const struct key_path *path)
{
    size_t len = strlen(s);

    if (len == 0 && key->min > 0) {
        reader_problem(r, line, path, "must not be empty");
        return false;
    }
    if (len > (size_t)key->max) {
        reader_problem(r, line, path, "is %zu bytes long, the most is %s", len, num_text(key->max).s);
        return false;
    }
    return true;
}

static void read_text(struct config_reader *r, const struct key *key, const struct yaml *node,
                      const struct key_path *path, void *object)
{
    const char *s = reader_scalar(r, key, node, path);

    if (s != NULL && text_fits(r, key, s, node->line, path))
        text_put(object, key->offset, mem_strdup(s));
}

const struct key_type type_text = {
    .name = "text",
    .read = read_text,
    .show = show_text,
    .same = same_text,
    .release = release_text,
};

/* A setting of a connector: its type says what is allowed. */
const struct key_type type_scalar = {
    .name = "text, number or boolean",
    .read = read_text,
    .show = show_text,
    .same = same_text,
    .release = release_text,
};

/* ---- lists of texts */
struct text_list {
    char **items;
    size_t count;
};

static struct text_list list_get(const struct key *key, const void *object)
{
    struct text_list list;

    value_get(object, key->offset, &list.items, sizeof list.items);
    value_get(object, key->offset2, &list.count, sizeof list.count);
    return list;
}

static void release_list(const struct key *key, void *object)
{
    struct text_list list = list_get(key, object);

    for (size_t i = 0; i < list.count; i++)
        mem_free_secret(list.items[i]);
    mem_free(list.items);
    list = (struct text_list){0};
    value_put(object, key->offset, &list.items, sizeof list.items);
    value_put(object, key->offset2, &list.count, sizeof list.count);
}

static void list_put(const struct key *key, void *object, struct text_list list)
{
    release_list(key, object);
    value_put(object, key->offset, &list.items, sizeof list.items);
    value_put(object, key->offset2, &list.count, sizeof list.count);
}

static void show_list(const struct key *key, const void *object, struct buf *out)
{
    struct text_list list = list_get(key, object);

    if (list.count == 0) {
        buf_puts(out, "(none)");
        return;
    }
    buf_putc(out, '[');
    for (size_t i = 0; i < list.count; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", list.items[i]);
    buf_putc(out, ']');
}

static bool same_list(const struct key *key, const void *a, const void *b)
{
    struct text_list x = list_get(key, a), y = list_get(key, b);

    if (x.count != y.count)
        return false;
    for (size_t i = 0; i < x.count; i++) {
        if (!crypto_text_equal(x.items[i], y.items[i]))
            return false;
    }
    return true;
}

/* One text is the same as a list of one. */
static void read_texts(struct config_reader *r, const struct key *key, const struct yaml *node,
                       const struct key_path *path, void *object)
{
    struct text_list list = {0};

    if (node->kind == YAML_SCALAR) {
        const char *s = reader_scalar(r, key, node, path);
        if (s == NULL || !text_fits(r, key, s, node->line, path))
            return;
        list.items = mem_array(1, sizeof *list.items);
        list.items[list.count++] = mem_strdup(s);
    } else if (node->kind == YAML_SEQ) {
        if (node->count == 0) {
            reader_problem(r, node->line, path, "is an empty list: give at least one text or leave the key out");
            return;
        }
        list.items = mem_array(node->count, sizeof *list.items);
        for (size_t i = 0; i < node->count; i++) {
            const struct key_path place = {.parent = path, .index = i};
            const struct yaml *element = node->items[i].value;
            const char *s = reader_scalar(r, &(struct key){.type = &type_text}, element, &place);
            if (s != NULL && text_fits(r, key, s, element->line, &place))
                list.items[list.count++] = mem_strdup(s);
        }
    } else {
        reader_problem(r, node->line, path, "must be a text or a list of texts, not a map");
        return;
    }
    list_put(key, object, list);
}

const struct key_type type_texts = {
    .name = "text or list of texts",
    .read = read_texts,
    .show = show_list,
    .same = same_list,
    .release = release_list,
};

/* ---- booleans */
static void copy_bool(const struct key *key, void *to, const void *from)
{
    bool yes;

    value_get(from, key->offset, &yes, sizeof yes);
    value_put(to, key->offset, &yes, sizeof yes);
}

static void read_bool(struct config_reader *r, const struct key *key, const struct yaml *node,
                      const struct key_path *path, void *object)
{
    const char *s = reader_scalar(r, key, node, path);

    if (s == NULL)
        return;
    bool yes = text_eq(s, "true");
    if (node->quoted) {
        reader_problem(r, node->line, path, "must be true or false, not a text in quotes");
        return;
    }
    if (!yes && !text_eq(s, "false")) {
        reader_problem(r, node->line, path, "must be true or false, not \"%.*s\"", TEXT_ECHO(s));
        return;
    }
    value_put(object, key->offset, &yes, sizeof yes);
}

static void show_bool(const struct key *key, const void *object, struct buf *out)
{
    bool yes;

    value_get(object, key->offset, &yes, sizeof yes);
    buf_puts(out, yes ? "true" : "false");
}

const struct key_type type_bool = {
    .name = "boolean",
    .example = "true or false",
    .read = read_bool,
    .show = show_bool,
    .copy = copy_bool,
};

/* ---- numbers, durations, sizes: int64_t with bounds */
typedef bool parse_fn(const char *s, int64_t *ret);
typedef struct num_text format_fn(int64_t n);

static bool parse_count(const char *s, int64_t *ret)
{
    return text_to_i64(s, INT64_MIN, INT64_MAX, ret);
}

static void read_number(struct config_reader *r, const struct key *key, const struct yaml *node,
                        const struct key_path *path, void *object, parse_fn *parse, format_fn *format)
{
    const char *s = reader_scalar(r, key, node, path);
    int64_t n;

    if (s == NULL)
        return;
    if (!parse(s, &n)) {
        reader_problem(r, node->line, path, "must be a %s (such as %s), not \"%.*s\"", key->type->name,
                       key->type->example, TEXT_ECHO(s));
        return;
    }
    if (n < key->min || n > key->max) {
        reader_problem(r, node->line, path, "must be between %s and %s, not %.*s", format(key->min).s,
                       format(key->max).s, TEXT_ECHO(s));
        return;
    }
    value_put(object, key->offset, &n, sizeof n);
}

static void read_count(struct config_reader *r, const struct key *key, const struct yaml *node,
                       const struct key_path *path, void *object)
{
    if (node->kind == YAML_SCALAR && node->quoted) {
        reader_problem(r, node->line, path, "must be a number (such as %s), not a text in quotes", key->type->example);
        return;
    }
    read_number(r, key, node, path, object, parse_count, num_text);
}

static void show_count(const struct key *key, const void *object, struct buf *out)
{
    buf_puts(out, num_text(number_get(object, key->offset)).s);
}

static void copy_number(const struct key *key, void *to, const void *from)
{
    int64_t n = number_get(from, key->offset);

    value_put(to, key->offset, &n, sizeof n);
}

const struct key_type type_count = {
    .name = "number", .example = "100", .read = read_count, .show = show_count, .copy = copy_number};

static void read_duration(struct config_reader *r, const struct key *key, const struct yaml *node,
                          const struct key_path *path, void *object)
{
    read_number(r, key, node, path, object, text_to_duration_ms, duration_text);
}

static void show_duration(const struct key *key, const void *object, struct buf *out)
{
    buf_puts(out, duration_text(number_get(object, key->offset)).s);
}

const struct key_type type_duration = {
    .name = "duration",
    .example = "500ms, 5s, 15m, 12h or 3d",
    .read = read_duration,
    .show = show_duration,
    .copy = copy_number,
};

static void read_size(struct config_reader *r, const struct key *key, const struct yaml *node,
                      const struct key_path *path, void *object)
{
    read_number(r, key, node, path, object, text_to_size_bytes, size_text);
}

static void show_size(const struct key *key, const void *object, struct buf *out)
{
    buf_puts(out, size_text(number_get(object, key->offset)).s);
}

const struct key_type type_size = {
    .name = "size",
    .example = "64KiB or 4MiB",
    .read = read_size,
    .show = show_size,
};

/* ---- one of several names */
static bool read_choice_value(struct config_reader *r, const struct key *key, const struct yaml *node,
                              const struct key_path *path, int *ret)
{
    const char *s = reader_scalar(r, key, node, path);
    const char *names[CHOICES_MAX];
    size_t count = 0;
    struct buf possible;

    if (s == NULL)
        return false;
    buf_init(&possible, 512);
    for (const struct key_choice *c = key->choices; c->name != NULL && count < CHOICES_MAX; c++) {
        if (text_eq(c->name, s)) {
            *ret = c->value;
            buf_free(&possible);
            return true;
        }
        buf_printf(&possible, "%s%s", count == 0 ? "" : c[1].name == NULL ? " or " : ", ", c->name);
        names[count++] = c->name;
    }
    const char *meant = suggest(s, names, count);
    if (meant != NULL)
        reader_problem(r, node->line, path, "must be %s, not \"%.*s\"; did you mean \"%s\"?", buf_text(&possible),
                       TEXT_ECHO(s), meant);
    else
        reader_problem(r, node->line, path, "must be %s, not \"%.*s\"", buf_text(&possible), TEXT_ECHO(s));
    buf_free(&possible);
    return false;
}

static const char *choice_name(const struct key *key, int value)
{
    const struct key_choice *c = key->choices;

    while (c->name != NULL && c->value != value)
        c++;
    return c->name != NULL ? c->name : "(none)";
}

_Static_assert(sizeof(enum signature_scheme) == sizeof(int) && sizeof(enum signature_encoding) == sizeof(int) &&
                   sizeof(enum log_level) == sizeof(int) && sizeof(enum log_format) == sizeof(int) &&
                   sizeof(enum answer_member) == sizeof(int) && sizeof(enum value_type) == sizeof(int),
               "type_choice stores enums as int");

static void read_choice(struct config_reader *r, const struct key *key, const struct yaml *node,
                        const struct key_path *path, void *object)
{
    int value;

    if (read_choice_value(r, key, node, path, &value))
        value_put(object, key->offset, &value, sizeof value);
}

static void show_choice(const struct key *key, const void *object, struct buf *out)
{
    int value;

    value_get(object, key->offset, &value, sizeof value);
    buf_puts(out, choice_name(key, value));
}

const struct key_type type_choice = {.name = "choice", .read = read_choice, .show = show_choice};

static void read_switch(struct config_reader *r, const struct key *key, const struct yaml *node,
                        const struct key_path *path, void *object)
{
    int value;

    if (read_choice_value(r, key, node, path, &value)) {
        bool on = value != 0;
        value_put(object, key->offset, &on, sizeof on);
    }
}

static void show_switch(const struct key *key, const void *object, struct buf *out)
{
    bool on;

    value_get(object, key->offset, &on, sizeof on);
    buf_puts(out, choice_name(key, on));
}

const struct key_type type_switch = {.name = "choice", .read = read_switch, .show = show_switch};

/* ---- addresses */
static const char *address_fault(const char *s)
{
    const char *colon = strrchr(s, ':');
    int64_t port;

    if (colon == NULL || !text_to_i64(colon + 1, 0, 65535, &port))
        return "must be HOST:PORT or [IPV6]:PORT";
    size_t host_len = (size_t)(colon - s);
    if (host_len == 0)
        return "has no host: write 0.0.0.0:PORT or [::]:PORT for all addresses";
    if (*s == '[')
        return host_len > 2 && s[host_len - 1] == ']' && memchr(s, ']', host_len - 1) == NULL
                   ? NULL
                   : "must be HOST:PORT or [IPV6]:PORT";
    if (memchr(s, ':', host_len) != NULL)
        return "is an IPv6 address without brackets: write [IPV6]:PORT";
    for (size_t i = 0; i < host_len; i++) {
        if (!isalnum((unsigned char)s[i]) && s[i] != '.' && s[i] != '-' && s[i] != '_')
            return "must be HOST:PORT or [IPV6]:PORT";
    }
    return NULL;
}

static void read_address(struct config_reader *r, const struct key *key, const struct yaml *node,
                         const struct key_path *path, void *object)
{
    const char *s = reader_scalar(r, key, node, path);
    const char *fault;

    if (s == NULL)
        return;
    if ((fault = address_fault(s)) != NULL)
        reader_problem(r, node->line, path, "\"%.*s\" %s", TEXT_ECHO(s), fault);
    else
        text_put(object, key->offset, mem_strdup(s));
}

const struct key_type type_address = {
    .name = "address",
    .example = "127.0.0.1:8480 or [::]:8480",
    .read = read_address,
    .show = show_text,
    .same = same_text,
    .release = release_text,
    .copy = copy_text,
};

static void read_address_or_none(struct config_reader *r, const struct key *key, const struct yaml *node,
                                 const struct key_path *path, void *object)
{
    if (node->kind == YAML_SCALAR && (text_eq(node->scalar, "none") || text_eq(node->scalar, "off")))
        text_put(object, key->offset, NULL);
    else
        read_address(r, key, node, path, object);
}

const struct key_type type_address_or_none = {
    .name = "address or none",
    .example = "127.0.0.1:8481 or none",
    .read = read_address_or_none,
    .show = show_text,
    .same = same_text,
    .release = release_text,
    .copy = copy_text,
};

/* ---- the name of this daemon */
static void read_instance(struct config_reader *r, const struct key *key, const struct yaml *node,
                          const struct key_path *path, void *object)
{
    const char *s = reader_scalar(r, key, node, path);
    char host[256] = "";

    if (s == NULL)
        return;
    if (text_eq(s, "auto")) {
        if (gethostname(host, sizeof host - 1) != 0 || *host == '\0') {
            reader_problem(r, node->line, path, "this host has no name: write a name instead of auto");
            return;
        }
        s = host;
    }
    if (!text_fits(r, key, s, node->line, path))
        return;
    for (const char *p = s; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr("._-", *p) == NULL) {
            reader_problem(r, node->line, path, "\"%.*s\" must consist of letters, digits, \".\", \"_\" and \"-\"",
                           TEXT_ECHO(s));
            return;
        }
    }
    text_put(object, key->offset, mem_strdup(s));
}

const struct key_type type_instance = {
    .name = "text",
    .read = read_instance,
    .show = show_text,
    .same = same_text,
    .release = release_text,
    .copy = copy_text,
};

/* ---- texts that may hold a password */
static bool has_userinfo_password(const char *url)
{
    const char *authority = strstr(url, "://");

    if (authority == NULL)
        return false;
    authority += 3;
    size_t len = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', len);
    return at != NULL && memchr(authority, ':', (size_t)(at - authority)) != NULL;
}

/* password=, sslpassword=, with the blanks that libpq allows; passfile= is only a path. */
static bool has_password_keyword(const char *conninfo)
{
    for (const char *p = conninfo; (p = strstr(p, "password")) != NULL;) {
        p += strlen("password");
        if (p[strspn(p, " \t\r\n")] == '=')
            return true;
    }
    return false;
}

/* Reserved characters in a user or password: the name of the host would begin too early or too late, and end up in
 * messages with a part of the password in it. */
static bool has_stray_at(const char *conninfo)
{
    const char *authority = strstr(conninfo, "://");
    const char *at;

    if (authority == NULL || (at = strchr(authority, '@')) == NULL)
        return false;
    authority += 3;
    return strchr(at + 1, '@') != NULL || (size_t)(at - authority) > strcspn(authority, "/?#");
}

static void read_conninfo(struct config_reader *r, const struct key *key, const struct yaml *node,
                          const struct key_path *path, void *object)
{
    const char *s = reader_scalar(r, key, node, path);

    if (s == NULL || !text_fits(r, key, s, node->line, path))
        return;
    if (has_userinfo_password(s) || has_password_keyword(s))
        reader_inline_secret(r, node->line);
    if (has_stray_at(s)) {
        reader_problem(
            r, node->line, path,
            "holds an @ that does not end user and password: in them @ is written %%40, : %%3A, / %%2F, ? %%3F, "
            "# %%23 and %% %%25");
        return;
    }
    if (!db_conninfo_is_valid(s)) {
        /* in libpq's own words there may be a part of a password */
        reader_problem(
            r, node->line, path,
            "is no connection string that PostgreSQL's libpq takes: \"dbname=atsync host=db.example user=atsyncd\" or "
            "\"postgresql://atsyncd@db.example/atsync\", with its keywords");
        return;
    }
    text_put(object, key->offset, mem_strdup(s));
}

const struct key_type type_conninfo = {
    .name = "text",
    .secret = true,
    .read = read_conninfo,
    .show = show_text,
    .same = same_text,
    .release = release_text,
    .copy = copy_text,
};

static bool scheme_is_one_of(const char *url, const char *const *schemes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (text_starts(url, schemes[i]))
            return true;
    }
    return false;
}

static const char *url_fault(const char *url, bool userinfo_allowed)
{
    const char *authority = strstr(url, "://") + 3;
    size_t len = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', len);

    if (len == 0 || *authority == ':')
        return "names no host";
    for (const char *p = url; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return "holds a blank or a control character";
    }
    if (at != NULL && !userinfo_allowed)
        return "must not hold a user or password: they belong into credentials";
    if (strpbrk(authority, "?#") != NULL)
        return "must end before the ? and #";
    return NULL;
}

static void read_url(struct config_reader *r, const struct key *key, const struct yaml *node,
                     const struct key_path *path, void *object)
{
    static const char *const schemes[] = {"https://", "http://"};
    const char *s = reader_scalar(r, key, node, path);
    const char *fault = NULL;

    if (s == NULL || !text_fits(r, key, s, node->line, path))
        return;
    if (!scheme_is_one_of(s, schemes, ATS_COUNT(schemes)))
        reader_problem(r, node->line, path, "must be a URL that begins with https:// or http://");
    else if ((fault = url_fault(s, false)) != NULL)
        reader_problem(r, node->line, path, "this URL %s", fault);
    else
        text_put(object, key->offset, mem_strdup(s));
}

const struct key_type type_url = {
    .name = "URL",
    .read = read_url,
    .show = show_text,
    .same = same_text,
    .release = release_text,
};

static void read_proxy(struct config_reader *r, const struct key *key, const struct yaml *node,
                       const struct key_path *path, void *object)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    const char *s = reader_scalar(r, key, node, path);
    const char *fault = NULL;

    if (s == NULL || !text_fits(r, key, s, node->line, path))
        return;
    if (has_userinfo_password(s))
        reader_inline_secret(r, node->line);
    if (!scheme_is_one_of(s, schemes, ATS_COUNT(schemes)))
        reader_problem(r, node->line, path,
                       "must be a URL that begins with http://, https://, socks5:// or socks5h://");
    else if ((fault = url_fault(s, true)) != NULL)
        reader_problem(r, node->line, path, "this URL %s", fault);
    else
        text_put(object, key->offset, mem_strdup(s));
}

const struct key_type type_proxy = {
    .name = "URL",
    .secret = true,
    .read = read_proxy,
    .show = show_text,
    .same = same_text,
    .release = release_text,
};

/* ---- secrets */
static const struct secret_form {
    const char *name;
    enum secret_kind kind;
} secret_forms[] = {{"file", SECRET_FILE}, {"env", SECRET_ENV}, {"credential", SECRET_CREDENTIAL}};

static const char secret_shape[] = "must be a text, {file: PATH}, {env: NAME} or {credential: NAME}";

static bool secret_reference(struct config_reader *r, const struct yaml *node, const struct key_path *path,
                             enum secret_kind *ret_kind, const char **ret_ref)
{
    const char *names[ATS_COUNT(secret_forms)];

    if (node->count != 1) {
        reader_problem(r, node->line, path, "%s: exactly one of them", secret_shape);
        return false;
    }
    const struct yaml_item *item = &node->items[0];
    for (size_t i = 0; i < ATS_COUNT(secret_forms); i++) {
        names[i] = secret_forms[i].name;
        if (!text_eq(item->key, secret_forms[i].name))
            continue;
        const struct key_path below = {.parent = path, .name = item->key};
        const char *ref = reader_scalar(r, &(struct key){.type = &type_text}, item->value, &below);
        if (ref == NULL)
            return false;
        if (*ref == '\0') {
            reader_problem(r, item->value->line, &below, "must not be empty");
            return false;
        }
        *ret_kind = secret_forms[i].kind;
        *ret_ref = ref;
        return true;
    }
    const char *meant = suggest(item->key, names, ATS_COUNT(names));
    const struct key_path below = {.parent = path, .name = item->key};
    if (meant != NULL)
        reader_problem(r, item->key_line, &below, "unknown key, did you mean \"%s\"?", meant);
    else /* not its name: it may be the secret */
        reader_problem(r, item->key_line, path, "%s", secret_shape);
    return false;
}

/* Never repeats what it read: a secret may stand in the wrong place. */
static char *load_secret(struct config_reader *r, const struct key *key, const struct yaml *node,
                         const struct key_path *path)
{
    enum secret_kind kind = SECRET_INLINE;
    const char *ref = node->scalar;
    char *secret = NULL;
    struct errmsg err;

    if (node->kind == YAML_SEQ) {
        reader_problem(r, node->line, path, "%s, not a list", secret_shape);
        return NULL;
    }
    if (yaml_tree_is_null(node)) {
        reader_problem(r, node->line, path, "has no value: it %s", secret_shape);
        return NULL;
    }
    if (node->kind == YAML_MAP && !secret_reference(r, node, path, &kind, &ref))
        return NULL;
    if (kind == SECRET_INLINE)
        reader_inline_secret(r, node->line);
    if (secret_load(kind, ref, &secret, &err) != ST_OK) {
        reader_problem(r, node->line, path, "%s", err.text);
        r->problems->items[r->problems->count - 1].is_absent_secret = kind == SECRET_ENV || kind == SECRET_CREDENTIAL;
        return NULL;
    }
    if (text_utf8_chars(secret) < (size_t)key->min) {
        reader_problem(r, node->line, path, "is too short: %s characters are the least", num_text(key->min).s);
        mem_free_secret(secret);
        return NULL;
    }
    return secret;
}

static void read_secret(struct config_reader *r, const struct key *key, const struct yaml *node,
                        const struct key_path *path, void *object)
{
    char *secret = load_secret(r, key, node, path);

    if (secret != NULL)
        text_put(object, key->offset, secret);
}

const struct key_type type_secret = {
    .name = "secret",
    .secret = true,
    .read = read_secret,
    .show = show_text,
    .same = same_text,
    .release = release_text,
    .copy = copy_text,
};

static void read_secret_list(struct config_reader *r, const struct key *key, const struct yaml *node,
                             const struct key_path *path, void *object)
{
    struct text_list list = {0};

    if (node->count == 0) {
        reader_problem(r, node->line, path, "is an empty list: give at least one secret");
        return;
    }
    list.items = mem_array(node->count, sizeof *list.items);
    for (size_t i = 0; i < node->count; i++) {
        const struct key_path place = {.parent = path, .index = i};
        char *secret = load_secret(r, key, node->items[i].value, &place);
        if (secret != NULL)
            list.items[list.count++] = secret;
    }
    list_put(key, object, list);
}

static void read_secrets(struct config_reader *r, const struct key *key, const struct yaml *node,
                         const struct key_path *path, void *object)
{
    if (node->kind != YAML_SEQ)
        reader_problem(r, node->line, path, "must be a list of secrets, each with a \"- \" before it");
    else
        read_secret_list(r, key, node, path, object);
}

const struct key_type type_secrets = {
    .name = "list of secrets",
    .secret = true,
    .read = read_secrets,
    .show = show_list,
    .same = same_list,
    .release = release_list,
};

/* One is the same as a list of one. */
static void read_secret_or_secrets(struct config_reader *r, const struct key *key, const struct yaml *node,
                                   const struct key_path *path, void *object)
{
    struct text_list list = {0};
    char *secret;

    if (node->kind == YAML_SEQ) {
        read_secret_list(r, key, node, path, object);
        return;
    }
    secret = load_secret(r, key, node, path);
    if (secret == NULL)
        return;
    list.items = mem_array(1, sizeof *list.items);
    list.items[list.count++] = secret;
    list_put(key, object, list);
}

const struct key_type type_secret_or_secrets = {
    .name = "secret or list of secrets",
    .secret = true,
    .read = read_secret_or_secrets,
    .show = show_list,
    .same = same_list,
    .release = release_list,
};

/* ---- files */
static bool load_pem(struct config_reader *r, const struct key *key, const struct yaml *node,
                     const struct key_path *path, unsigned forbidden_mode, const char **ret_path, char **ret)
{
    const char *file = reader_scalar(r, key, node, path);
    char *text = NULL;
    size_t len = 0;
    struct errmsg err;

    if (file == NULL || !text_fits(r, key, file, node->line, path))
        return false;
    if (file_read(file, PEM_MAX_BYTES, forbidden_mode, &text, &len, NULL, &err) != ST_OK) {
        reader_problem(r, node->line, path, "%s", err.text);
        return false;
    }
    if (memmem(text, len, "-----BEGIN ", 11) == NULL || memchr(text, '\0', len) != NULL) {
        reader_problem(r, node->line, path, "%s is not a PEM file (-----BEGIN ... is missing)", file);
        mem_wipe(text, len);
        mem_free(text);
        return false;
    }
    *ret_path = file;
    *ret = text;
    return true;
}

static void read_pem_contents(struct config_reader *r, const struct key *key, const struct yaml *node,
                              const struct key_path *path, void *object, unsigned forbidden_mode)
{
    const char *file;
    char *text;

    if (!load_pem(r, key, node, path, forbidden_mode, &file, &text))
        return;
    text_put(object, key->offset, mem_strdup(file));
    text_put(object, key->offset2, text);
}

static void read_pem(struct config_reader *r, const struct key *key, const struct yaml *node,
                     const struct key_path *path, void *object)
{
    read_pem_contents(r, key, node, path, object, 0);
}

static void read_pem_key(struct config_reader *r, const struct key *key, const struct yaml *node,
                         const struct key_path *path, void *object)
{
    read_pem_contents(r, key, node, path, object, OTHERS);
}

static bool same_pem(const struct key *key, const void *a, const void *b)
{
    return same_text(key, a, b) && crypto_text_equal(text_get(a, key->offset2), text_get(b, key->offset2));
}

static void release_pem(const struct key *key, void *object)
{
    text_put(object, key->offset, NULL);
    text_put(object, key->offset2, NULL);
}

const struct key_type type_pem = {
    .name = "file",
    .read = read_pem,
    .show = show_text,
    .same = same_pem,
    .release = release_pem,
};
const struct key_type type_pem_key = {
    .name = "file",
    .read = read_pem_key,
    .show = show_text,
    .same = same_pem,
    .release = release_pem,
};

/* libcurl reads these itself; a wrong path must show now and not at the first request. */
static void read_file_path(struct config_reader *r, const struct key *key, const struct yaml *node,
                           const struct key_path *path, void *object, unsigned forbidden_mode)
{
    const char *file;
    char *text;

    if (!load_pem(r, key, node, path, forbidden_mode, &file, &text))
        return;
    mem_free_secret(text);
    text_put(object, key->offset, mem_strdup(file));
}

static void read_file(struct config_reader *r, const struct key *key, const struct yaml *node,
                      const struct key_path *path, void *object)
{
    read_file_path(r, key, node, path, object, 0);
}

static void read_key_file(struct config_reader *r, const struct key *key, const struct yaml *node,
                          const struct key_path *path, void *object)
{
    read_file_path(r, key, node, path, object, OTHERS);
}

const struct key_type type_file = {
    .name = "file",
    .read = read_file,
    .show = show_text,
    .same = same_text,
    .release = release_text,
};
const struct key_type type_key_file = {
    .name = "file",
    .read = read_key_file,
    .show = show_text,
    .same = same_text,
    .release = release_text,
};

/* ---- rate: "50/10s", "100/m" */
static bool parse_rate(const char *s, int64_t *ret_count, int64_t *ret_per_ms)
{
    const char *slash = strchr(s, '/');
    bool ok = false;

    if (slash == NULL)
        return false;
    char *count = mem_strndup(s, (size_t)(slash - s));
    char *per = mem_printf("%s%s", isdigit((unsigned char)slash[1]) ? "" : "1", slash + 1);
    ok = text_to_i64(count, 0, INT64_MAX, ret_count) && text_to_duration_ms(per, ret_per_ms);
    mem_free(count);
    mem_free(per);
    return ok;
}

static void read_rate(struct config_reader *r, const struct key *key, const struct yaml *node,
                      const struct key_path *path, void *object)
{
    enum { PER_MIN_MS = 100 };
    const int64_t per_max_ms = INT64_C(31) * 86400000;
    const char *s = reader_scalar(r, key, node, path);
    int64_t count, per_ms;

    if (s == NULL)
        return;
    if (!parse_rate(s, &count, &per_ms))
        reader_problem(r, node->line, path, "must be a rate (such as %s), not \"%.*s\"", key->type->example,
                       TEXT_ECHO(s));
    else if (count < key->min || count > key->max)
        reader_problem(r, node->line, path, "the number must be between %s and %s, not %s", num_text(key->min).s,
                       num_text(key->max).s, num_text(count).s);
    else if (per_ms < PER_MIN_MS || per_ms > per_max_ms)
        reader_problem(r, node->line, path, "the time must be between %s and %s, not %s", duration_text(PER_MIN_MS).s,
                       duration_text(per_max_ms).s, duration_text(per_ms).s);
    else {
        value_put(object, key->offset, &count, sizeof count);
        value_put(object, key->offset2, &per_ms, sizeof per_ms);
    }
}

static void show_rate(const struct key *key, const void *object, struct buf *out)
{
    int64_t count = number_get(object, key->offset);

    if (count == 0)
        buf_puts(out, "(none)");
    else
        buf_printf(out, "%s/%s", num_text(count).s, duration_text(number_get(object, key->offset2)).s);
}

const struct key_type type_rate = {
    .name = "rate",
    .example = "50/10s or 100/m",
    .read = read_rate,
    .show = show_rate,
};

/* ---- constants: JSON scalars, so that numbers keep their digits and quotes make a text */
static void read_constant(struct config_reader *r, const struct key *key, const struct yaml *node,
                          const struct key_path *path, void *object)
{
    const char *s = reader_scalar(r, key, node, path);
    double number;

    if (s == NULL || !text_fits(r, key, s, node->line, path))
        return;
    if (!node->quoted && (text_eq(s, "true") || text_eq(s, "false") || decimal_parse(s, &number))) {
        text_put(object, key->offset, mem_strdup(s)); /* these are JSON as they stand */
        return;
    }
    struct json *value = json_string(s);
    text_put(object, key->offset, json_text(value));
    json_free(value);
}

const struct key_type type_constant = {
    .name = "text, number or boolean",
    .read = read_constant,
    .show = show_text,
    .same = same_text,
    .release = release_text,
};

/* ---- assessment */
static struct assessment_rule *assessment_get(const struct key *key, const void *object)
{
    struct assessment_rule *a;

    value_get(object, key->offset, &a, sizeof a);
    return a;
}

static void release_assessment(const struct key *key, void *object)
{
    struct assessment_rule *a = assessment_get(key, object);

    if (a != NULL)
        mem_free(a->score_from);
    mem_free(a);
    a = NULL;
    value_put(object, key->offset, &a, sizeof a);
}

static void assessment_put(const struct key *key, void *object, const char *score_from)
{
    struct assessment_rule *a = mem_zalloc(sizeof *a);

    release_assessment(key, object);
    a->score_from = mem_strdup(score_from);
    value_put(object, key->offset, &a, sizeof a);
}

static void show_assessment(const struct key *key, const void *object, struct buf *out)
{
    const struct assessment_rule *a = assessment_get(key, object);

    buf_puts(out, a != NULL ? a->score_from : "(none)");
}

static void read_assessment(struct config_reader *r, const struct key *key, const struct yaml *node,
                            const struct key_path *path, void *object)
{
    const char *s = reader_scalar(r, key, node, path);

    if (s == NULL)
        return;
    if (!text_eq(s, "mean"))
        reader_problem(r, node->line, path, "must be mean, {score: mean} or {score: SLUG}, not \"%.*s\"", TEXT_ECHO(s));
    else
        assessment_put(key, object, s);
}

/* The short form; `score` shows, compares and frees what both forms fill. */
const struct key_type type_assessment = {.name = "mean, or a section", .read = read_assessment};

static void read_score(struct config_reader *r, const struct key *key, const struct yaml *node,
                       const struct key_path *path, void *object)
{
    const char *s = reader_scalar(r, key, node, path);
    struct field_map parsed = {0};
    struct errmsg err;

    if (s == NULL)
        return;
    if (field_key_parse(s, &parsed, &err) != ST_OK)
        reader_problem(r, node->line, path, "%s", err.text);
    else if (strlen(parsed.slug) + (parsed.node_id != NULL ? strlen(parsed.node_id) + 1 : 0) != strlen(s))
        reader_problem(r, node->line, path, "\"%.*s\" must not name a member: the score is meant anyhow", TEXT_ECHO(s));
    else
        assessment_put(key, object, s);
    mem_free(parsed.node_id);
    mem_free(parsed.slug);
}

const struct key_type type_score = {
    .name = "text",
    .read = read_score,
    .show = show_assessment,
    .release = release_assessment,
};
