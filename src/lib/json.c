#include "lib/json.h"

#include <limits.h>
#include <math.h>
#include <cjson/cJSON.h>

#include "base/decimal.h"
#include "base/mem.h"
#include "base/text.h"

/*
 * In memory: a cJSON tree, with two conventions that cJSON's own types have no room for.
 *   strings  hold what base/json_text.h says
 *   numbers  that a double cannot hold exactly are strings whose first byte is JSON_EXACT_MARK, then the digits
 */

static const cJSON *in(const struct json *j)
{
    return (const cJSON *)(const void *)j;
}

static cJSON *inout(struct json *j)
{
    return (cJSON *)(void *)j;
}

static struct json *out_of(cJSON *c)
{
    return (struct json *)(void *)c;
}

static const struct json *view_of(const cJSON *c)
{
    return (const struct json *)(const void *)c;
}

static cJSON *must(cJSON *c)
{
    if (!c) {
        mem_exhausted();
    }
    return c;
}

static bool is_exact(const cJSON *c)
{
    return (c->type & 0xff) == cJSON_String && c->valuestring[0] == JSON_EXACT_MARK;
}

/* ---- where trees get their memory from: cJSON's allocator is one for the whole program, so it looks what this thread wants ------ */

static _Thread_local struct arena *tree_arena;

static void *tree_alloc(size_t size)
{
    return tree_arena ? arena_take(tree_arena, size) : mem_alloc(size);
}

static void tree_free(void *memory)
{
    if (!tree_arena) {
        mem_free(memory);
    }
}

/* Before there are threads. */
__attribute__((constructor)) static void take_over_allocator(void)
{
    cJSON_Hooks hooks = {.malloc_fn = tree_alloc, .free_fn = tree_free};

    cJSON_InitHooks(&hooks);
}

/*
 * ---- parsing: by RFC 8259 to the letter, into cJSON's own nodes. cJSON's parser takes more than JSON is and loses what is said at the top, so
 * that a text had to be looked through and rewritten before it; one walk is simpler, knows the place of each mistake, and takes a third of the time.
 */
enum { NESTING_MAX = 1000 };

struct parser {
    const char *p, *end;
    const char *bad; /* the token that cannot stand where it stands */
    unsigned depth;
    bool full; /* the arena has no room for more */
};

static bool refuse(struct parser *t, const char *at)
{
    t->bad = at;
    return false;
}

static void skip_blank(struct parser *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\t' || *t->p == '\n' || *t->p == '\r')) {
        t->p++;
    }
}

static cJSON *node_new(int type)
{
    cJSON *c = tree_alloc(sizeof *c);

    *c = (cJSON){.type = type};
    return c;
}

/* The text from the quote at t->p on; NULL with the place noted if it is not well-formed. */
static char *parse_text(struct parser *t)
{
    const char *begin = t->p;
    size_t len = json_text_ordinary(begin + 1, t->end);
    const char *close = begin + 1 + len;
    char *text;
    char *to;

    if (close < t->end && *close == '"') { /* most texts */
        text = tree_alloc(len + 1);
        memcpy(text, begin + 1, len);
        text[len] = '\0';
        t->p = close + 1;
        return text;
    }
    while (close < t->end &&
           *close != '"') { /* its end, for the room it needs; whether it is well-formed is seen below */
        close += *close == '\\' && t->end - close > 1 ? 2 : 1;
    }
    if (close >= t->end) {
        t->bad = begin;
        return NULL;
    }
    text = tree_alloc((size_t)(close - begin));
    to = text;
    t->p++;
    for (;;) {
        len = json_text_ordinary(t->p, close);
        memcpy(to, t->p, len);
        to += len;
        t->p += len;
        if (t->p == close) {
            break;
        }
        if (*t->p != '\\' || !json_text_unescape(&t->p, t->end, &to)) {
            t->bad = begin;
            mem_wipe(text, (size_t)(to - text));
            tree_free(text);
            return NULL;
        }
    }
    *to = '\0';
    t->p = close + 1;
    return text;
}

static void wipe_texts(cJSON *c)
{
    if (c->valuestring) {
        mem_wipe(c->valuestring, strlen(c->valuestring));
    }
    for (cJSON *child = c->child; child; child = child->next) {
        wipe_texts(child);
    }
}

/* The tree of a text that turns out to be no JSON, which may be an answer with tokens. */
static void drop(cJSON *c)
{
    wipe_texts(c);
    cJSON_Delete(c);
}

static cJSON *number_node(double value)
{
    cJSON *c = node_new(cJSON_Number);

    c->valuedouble = value;
    c->valueint = value >= INT_MAX ? INT_MAX : value <= INT_MIN ? INT_MIN : (int)value;
    return c;
}

static cJSON *parse_number(struct parser *t)
{
    const char *from = t->p;
    struct decimal n;
    const char *to = decimal_scan(from, t->end, &n);
    size_t len;
    cJSON *c;

    if (!to) {
        t->bad = from;
        return NULL;
    }
    t->p = to;
    len = (size_t)(to - from);
    if (!n.exact_needed) {
        return number_node(decimal_double(&n, from, len));
    }
    c = node_new(cJSON_String);
    c->valuestring = tree_alloc(len + 2);
    c->valuestring[0] = JSON_EXACT_MARK;
    memcpy(c->valuestring + 1, from, len);
    c->valuestring[len + 1] = '\0';
    return c;
}

static cJSON *parse_word(struct parser *t, const char *word, size_t len, int type)
{
    if ((size_t)(t->end - t->p) < len || memcmp(t->p, word, len) != 0) {
        t->bad = t->p;
        return NULL;
    }
    t->p += len;
    return node_new(type);
}

static cJSON *parse_value(struct parser *t);

/* "name" and the colon behind it, before the value of a member. */
static char *parse_name(struct parser *t)
{
    char *name;

    if (t->p >= t->end || *t->p != '"') {
        t->bad = t->p;
        return NULL;
    }
    name = parse_text(t);
    if (!name) {
        return NULL;
    }
    skip_blank(t);
    if (t->p >= t->end || *t->p != ':') {
        t->bad = t->p;
        tree_free(name);
        return NULL;
    }
    t->p++;
    skip_blank(t);
    return name;
}

/* What stands between the brackets, as children of c, which is whole at any time. */
static bool parse_members(struct parser *t, cJSON *c, char closing)
{
    bool is_object = closing == '}';
    cJSON *last = NULL;

    t->p++;
    skip_blank(t);
    if (t->p < t->end && *t->p == closing) {
        t->p++;
        return true;
    }
    for (;;) {
        char *name = is_object ? parse_name(t) : NULL;
        cJSON *child = is_object && !name ? NULL : parse_value(t);

        if (!child) {
            tree_free(name);
            return false;
        }
        child->string = name;
        child->prev = last; /* cJSON: the first one's is the last of all */
        *(last ? &last->next : &c->child) = child;
        c->child->prev = child;
        last = child;
        skip_blank(t);
        if (t->p >= t->end || (*t->p != ',' && *t->p != closing)) {
            return refuse(t, t->p);
        }
        if (*t->p++ == closing) {
            return true;
        }
        skip_blank(t);
    }
}

static cJSON *parse_container(struct parser *t, int type, char closing)
{
    cJSON *c;

    if (++t->depth > NESTING_MAX) {
        t->bad = t->p;
        return NULL;
    }
    c = node_new(type);
    if (!parse_members(t, c, closing)) {
        drop(c);
        return NULL;
    }
    t->depth--;
    return c;
}

static cJSON *parse_value(struct parser *t)
{
    cJSON *c;
    char *text;

    if (tree_arena && !arena_has_room(tree_arena, 0)) {
        t->full = true;
        return NULL;
    }
    switch (t->p < t->end ? *t->p : '\0') {
    case '{':
        return parse_container(t, cJSON_Object, '}');
    case '[':
        return parse_container(t, cJSON_Array, ']');
    case '"':
        text = parse_text(t);
        if (!text) {
            return NULL;
        }
        c = node_new(cJSON_String);
        c->valuestring = text;
        return c;
    case 't':
        return parse_word(t, "true", 4, cJSON_True);
    case 'f':
        return parse_word(t, "false", 5, cJSON_False);
    case 'n':
        return parse_word(t, "null", 4, cJSON_NULL);
    default:
        return parse_number(t);
    }
}

static int parse(const char *text, size_t len, cJSON **ret, struct errmsg *err)
{
    struct parser t = {.p = text, .end = text + len};
    cJSON *tree;

    if (!text_is_utf8(text, len)) {
        return err_set(err, ST_INVALID, "not valid JSON: the text is not UTF-8");
    }
    skip_blank(&t);
    tree = parse_value(&t);
    skip_blank(&t);
    if (tree && t.p < t.end) {
        drop(tree);
        tree = NULL;
        t.bad = t.p;
    }
    if (!tree && t.full) {
        return err_set(err, ST_LIMIT, "the JSON takes more memory than it may");
    }
    if (!tree) {
        return len == 0 ? err_set(err, ST_INVALID, "not valid JSON")
                        : err_set(err, ST_INVALID, "not valid JSON near byte %zu", (size_t)(t.bad - text));
    }
    *ret = tree;
    return ST_OK;
}

int json_parse(const char *text, size_t len, struct json **ret, struct errmsg *err)
{
    cJSON *tree = NULL;
    int st = parse(text, len, &tree, err);

    if (st == ST_OK) {
        *ret = out_of(tree);
    }
    return st;
}

int json_parse_in(struct arena *arena, const char *text, size_t len, const struct json **ret, struct errmsg *err)
{
    cJSON *tree = NULL;
    int st;

    tree_arena = arena;
    st = parse(text, len, &tree, err);
    tree_arena = NULL;
    if (st == ST_OK) {
        *ret = view_of(tree);
    }
    return st;
}

void json_free(struct json *j)
{
    cJSON_Delete(inout(j));
}

void json_free_secret(struct json *j)
{
    if (j) {
        wipe_texts(inout(j));
    }
    cJSON_Delete(inout(j));
}

struct json *json_copy(const struct json *j)
{
    return j ? out_of(must(cJSON_Duplicate(in(j), 1))) : NULL;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

enum json_type json_type(const struct json *j)
{
    const cJSON *c = in(j);

    switch (c ? c->type & 0xff : cJSON_NULL) {
    case cJSON_False:
        return JSON_FALSE;
    case cJSON_True:
        return JSON_TRUE;
    case cJSON_Number:
        return JSON_NUMBER;
    case cJSON_String:
        return c->valuestring[0] == JSON_EXACT_MARK ? JSON_NUMBER : JSON_STRING;
    case cJSON_Array:
        return JSON_ARRAY;
    case cJSON_Object:
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

const struct json *json_get(const struct json *obj, const char *key)
{
    const cJSON *found = NULL;

    if (json_type(obj) != JSON_OBJECT) {
        return NULL;
    }
    for (const cJSON *c = in(obj)->child; c; c = c->next) {
        if (c->string[0] == key[0] && strcmp(c->string, key) == 0) {
            found = c;
        }
    }
    return view_of(found);
}

const struct json *json_first(const struct json *container)
{
    const cJSON *c = in(container);

    return c && ((c->type & 0xff) == cJSON_Array || (c->type & 0xff) == cJSON_Object) ? view_of(c->child) : NULL;
}

const struct json *json_next(const struct json *element)
{
    return element ? view_of(in(element)->next) : NULL;
}

size_t json_count(const struct json *container)
{
    size_t count = 0;

    for (const struct json *e = json_first(container); e; e = json_next(e)) {
        count++;
    }
    return count;
}

size_t json_bytes(const struct json *j)
{
    const cJSON *c = in(j);
    size_t bytes = 2;

    if (!c) {
        return 4;
    }
    if (cJSON_IsString(c)) {
        bytes += strlen(c->valuestring);
    } else if (cJSON_IsNumber(c)) {
        bytes += 8;
    }
    for (const cJSON *m = c->child; m; m = m->next) {
        bytes += json_bytes(view_of(m)) + 1 + (m->string ? strlen(m->string) + 3 : 0);
    }
    return bytes;
}

const char *json_exact_digits(const struct json *j)
{
    return j && is_exact(in(j)) ? in(j)->valuestring + 1 : NULL;
}

const char *json_key(const struct json *member)
{
    return member ? in(member)->string : NULL;
}

const char *json_str(const struct json *j)
{
    return json_type(j) == JSON_STRING ? in(j)->valuestring : NULL;
}

const char *json_get_str(const struct json *obj, const char *key)
{
    const char *s = json_str(json_get(obj, key));

    return s && s[0] != '\0' ? s : NULL;
}

bool json_get_bool(const struct json *obj, const char *key)
{
    return json_type(json_get(obj, key)) == JSON_TRUE;
}

bool json_num(const struct json *j, double *ret)
{
    const cJSON *c = in(j);
    double value;

    if (json_type(j) != JSON_NUMBER) {
        return false;
    }
    value = is_exact(c) ? strtod(c->valuestring + 1, NULL) : c->valuedouble;
    if (!isfinite(value)) {
        return false;
    }
    *ret = value;
    return true;
}

bool json_get_i64(const struct json *obj, const char *key, int64_t *ret)
{
    const cJSON *c = in(json_get(obj, key));

    if (!c) {
        return false;
    }
    if (is_exact(c)) {
        return text_to_i64(c->valuestring + 1, INT64_MIN, INT64_MAX, ret);
    }
    if (!cJSON_IsNumber(c) || floor(c->valuedouble) < c->valuedouble || fabs(c->valuedouble) > 9007199254740992.0) {
        return false;
    }
    *ret = (int64_t)c->valuedouble;
    return true;
}

static bool number_equal(const cJSON *a, const cJSON *b)
{
    double x = 0;
    double y = 0;

    if (is_exact(a) && is_exact(b)) {
        return strcmp(a->valuestring, b->valuestring) == 0;
    }
    if (is_exact(a) || is_exact(b)) {
        return false; /* one needs more digits than the other has */
    }
    x = a->valuedouble;
    y = b->valuedouble;
    return !(x < y) && !(x > y);
}

bool json_equal(const struct json *a, const struct json *b)
{
    enum json_type type = json_type(a);

    if (type != json_type(b)) {
        return false;
    }
    switch (type) {
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        return true;
    case JSON_NUMBER:
        return number_equal(in(a), in(b));
    case JSON_STRING:
        return strcmp(json_str(a), json_str(b)) == 0;
    case JSON_ARRAY: {
        const struct json *x = json_first(a);
        const struct json *y = json_first(b);

        for (; x && y; x = json_next(x), y = json_next(y)) {
            if (!json_equal(x, y)) {
                return false;
            }
        }
        return !x && !y;
    }
    case JSON_OBJECT:
        for (const struct json *x = json_first(a); x; x = json_next(x)) {
            const struct json *y = json_get(b, json_key(x));

            if (!y || (json_get(a, json_key(x)) == x && !json_equal(x, y))) {
                return false;
            }
        }
        for (const struct json *y = json_first(b); y; y = json_next(y)) {
            if (!json_get(a, json_key(y))) {
                return false;
            }
        }
        return true;
    }
    return false;
}

/* ---- building ----------------------------------------------------------------------------------------------------- */

struct json *json_object(void)
{
    return out_of(must(cJSON_CreateObject()));
}

struct json *json_array(void)
{
    return out_of(must(cJSON_CreateArray()));
}

struct json *json_string(const char *s)
{
    return s ? out_of(must(cJSON_CreateString(s))) : json_null();
}

struct json *json_number(double n)
{
    char text[DECIMAL_TEXT_MAX];

    if (!isfinite(n)) {
        return json_null();
    }
    if (decimal_is_short_integer(n)) {
        return out_of(number_node(n));
    }
    decimal_print(n, text);
    return json_number_text(text);
}

struct json *json_integer(int64_t n)
{
    return json_number_text(num_text(n).s);
}

struct json *json_number_text(const char *digits)
{
    size_t len = digits ? strlen(digits) : 0;
    struct decimal n = {0};
    const char *end = len ? decimal_scan(digits, digits + len, &n) : NULL;

    if (!end || *end != '\0') {
        return NULL;
    }
    if (!n.exact_needed) {
        return out_of(number_node(decimal_double(&n, digits, len)));
    }
    char *marked = mem_printf("%c%s", JSON_EXACT_MARK, digits);
    struct json *j = json_string(marked);

    mem_free(marked);
    return j;
}

struct json *json_bool(bool b)
{
    return out_of(must(cJSON_CreateBool(b)));
}

struct json *json_null(void)
{
    return out_of(must(cJSON_CreateNull()));
}

void json_set(struct json *obj, const char *key, struct json *value)
{
    cJSON *before;

    while ((before = cJSON_DetachItemFromObjectCaseSensitive(inout(obj), key)) !=
           NULL) {          /* a parsed object may hold it several times */
        wipe_texts(before); /* a token that is replaced */
        cJSON_Delete(before);
    }
    if (value && !cJSON_AddItemToObject(inout(obj), key, inout(value))) {
        must(NULL);
    }
}

void json_add(struct json *obj, const char *key, struct json *value)
{
    if (!cJSON_AddItemToObject(inout(obj), key, inout(value))) {
        must(NULL);
    }
}

void json_set_str(struct json *obj, const char *key, const char *s)
{
    json_set(obj, key, json_string(s));
}

void json_set_int(struct json *obj, const char *key, int64_t n)
{
    json_set(obj, key, json_integer(n));
}

void json_set_bool(struct json *obj, const char *key, bool b)
{
    json_set(obj, key, json_bool(b));
}

void json_push(struct json *arr, struct json *value)
{
    if (!cJSON_AddItemToArray(inout(arr), inout(value))) {
        must(NULL);
    }
}

/* ---- printing ----------------------------------------------------------------------------------------------------- */

struct printer {
    struct buf *out;
    enum json_text_form form;
    bool sorted;
    int indent; /* -1: one line */
};

static void print_number(const struct printer *p, const cJSON *c)
{
    char text[DECIMAL_TEXT_MAX];
    const char *digits;

    if (!is_exact(c)) {
        decimal_print(c->valuedouble, text);
        buf_puts(p->out, text);
        return;
    }
    digits = c->valuestring + 1;

    if (p->form == JSON_WRAPPED) {
        buf_printf(p->out, "\"%sn%s\"", JSON_WRAP_MARK, digits);
    } else if (p->form == JSON_PLAIN && decimal_is_beyond_numeric(digits)) {
        buf_printf(p->out, "\"%s\"", digits);
    } else {
        buf_puts(p->out, digits);
    }
}

struct member {
    const cJSON *value;
    size_t place;
};

static int by_key(const void *a, const void *b)
{
    const struct member *x = a;
    const struct member *y = b;
    int order = strcmp(x->value->string, y->value->string);

    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* The members by key, of a repeated key only the last. Returns how many. */
static size_t sort_members(const cJSON *object, struct member *ret)
{
    size_t count = 0;
    size_t kept = 0;

    for (const cJSON *m = object->child; m; m = m->next) {
        ret[count] = (struct member){.value = m, .place = count};
        count++;
    }
    qsort(ret, count, sizeof *ret, by_key);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 == count || strcmp(ret[i].value->string, ret[i + 1].value->string) != 0) {
            ret[kept++] = ret[i];
        }
    }
    return kept;
}

static void print_break(const struct printer *p, int depth)
{
    if (p->indent >= 0) {
        buf_putc(p->out, '\n');
        for (int i = 0; i < depth * p->indent; i++) {
            buf_putc(p->out, ' ');
        }
    }
}

static void print_value(const struct printer *p, const cJSON *c, int depth);

static void print_members(const struct printer *p, const cJSON *container, int depth)
{
    bool object = cJSON_IsObject(container);
    size_t count = json_count(view_of(container));
    struct member *sorted = NULL;
    const cJSON *c = container->child;

    if (p->sorted && object && count > 1) {
        sorted = mem_array(count, sizeof *sorted);
        count = sort_members(container, sorted);
    }
    buf_putc(p->out, object ? '{' : '[');
    for (size_t i = 0; i < count; i++) {
        const cJSON *m = sorted ? sorted[i].value : c;

        if (i > 0) {
            buf_putc(p->out, ',');
        }
        print_break(p, depth + 1);
        if (object) {
            json_text_print(m->string, p->form, p->out);
            buf_puts(p->out, p->indent >= 0 ? ": " : ":");
        }
        print_value(p, m, depth + 1);
        c = sorted ? c : c->next;
    }
    if (count > 0) {
        print_break(p, depth);
    }
    buf_putc(p->out, object ? '}' : ']');
    mem_free(sorted);
}

static void print_value(const struct printer *p, const cJSON *c, int depth)
{
    switch (json_type(view_of(c))) {
    case JSON_NULL:
        buf_puts(p->out, "null");
        break;
    case JSON_FALSE:
        buf_puts(p->out, "false");
        break;
    case JSON_TRUE:
        buf_puts(p->out, "true");
        break;
    case JSON_NUMBER:
        print_number(p, c);
        break;
    case JSON_STRING:
        json_text_print(c->valuestring, p->form, p->out);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        print_members(p, c, depth);
        break;
    }
}

static void print_with(const struct json *j, struct buf *out, enum json_text_form form, bool sorted, int indent)
{
    struct printer p = {.out = out, .form = form, .sorted = sorted, .indent = indent};

    print_value(&p, in(j), 0);
}

void json_print(const struct json *j, struct buf *out)
{
    print_with(j, out, JSON_AS_RECEIVED, false, -1);
}

void json_print_canonical(const struct json *j, struct buf *out)
{
    print_with(j, out, JSON_AS_RECEIVED, true, -1);
}

void json_print_plain(const struct json *j, struct buf *out)
{
    print_with(j, out, JSON_PLAIN, false, -1);
}

void json_print_pretty(const struct json *j, struct buf *out)
{
    print_with(j, out, JSON_AS_RECEIVED, false, 2);
}

char *json_text(const struct json *j)
{
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    json_print(j, &b);
    return buf_take(&b);
}

/* ---- for a processor with doubles and proper strings only ------------------------------------------------------------ */

void json_print_wrapped(const struct json *j, struct buf *out)
{
    print_with(j, out, JSON_WRAPPED, false, -1);
}

struct json *json_unwrapped(const char *s)
{
    char *plain = json_unwrap_text(s);
    struct json *j = json_string(plain ? plain : s);

    mem_free(plain);
    return j;
}

/* The string belongs to cJSON's allocator, so it is exchanged with one that cJSON made. */
static void unwrap_in_place(char **text, bool is_key)
{
    char *plain = is_key ? json_unwrap_key(*text) : json_unwrap_text(*text);

    if (plain) {
        cJSON *fresh = must(cJSON_CreateString(plain));
        char *old = *text;

        *text = fresh->valuestring;
        fresh->valuestring = old;
        cJSON_Delete(fresh);
        mem_free(plain);
    }
}

static void unwrap_tree(cJSON *c)
{
    for (; c; c = c->next) {
        if (c->string) {
            unwrap_in_place(&c->string, true);
        }
        if (cJSON_IsString(c)) {
            unwrap_in_place(&c->valuestring, false);
        }
        unwrap_tree(c->child);
    }
}

int json_parse_unwrap(const char *text, size_t len, struct json **ret, struct errmsg *err)
{
    struct json *j = NULL;
    int st = json_parse(text, len, &j, err);

    if (st == ST_OK) {
        unwrap_tree(inout(j));
        *ret = j;
    }
    return st;
}
