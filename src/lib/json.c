#include "lib/json.h"

#include <limits.h>
#include <math.h>
#include <cjson/cJSON.h>

#include "base/mem.h"
#include "base/text.h"

/*
 * In memory: a cJSON tree, with two conventions that cJSON's own types have no room for.
 *   strings  modified UTF-8: U+0000 is C0 80, a lone surrogate its three-byte form ED A0..BF xx. Neither can come from
 *            outside as bytes, because the text is checked to be UTF-8 first.
 *   numbers  that a double cannot hold exactly are strings whose first byte is FF (never UTF-8), then the digits.
 */
#define EXACT_MARK '\xff'
static const char WRAP_MARK[] = "\xf4\x8f\xbf\xbf"; /* U+10FFFF, a noncharacter */
enum { WRAP_MARK_LEN = 4, EXACT_DIGITS = 15, EXPONENT_MAX = 250, DOUBLE_TEXT_MAX = 40 };

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
    return (c->type & 0xff) == cJSON_String && c->valuestring[0] == EXACT_MARK;
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

static bool hex4(const char *p, const char *end, unsigned *ret)
{
    unsigned value = 0;

    if (end - p < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];

        value <<= 4;
        if (c >= '0' && c <= '9') {
            value |= (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value |= (unsigned)(c - 'a' + 10);
        } else if (c >= 'A' && c <= 'F') {
            value |= (unsigned)(c - 'A' + 10);
        } else {
            return false;
        }
    }
    *ret = value;
    return true;
}

/* In UTF-8, U+0000 and a lone surrogate by our convention. Returns the number of bytes. */
static size_t put_code(char *to, unsigned code)
{
    if (code > 0 && code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xc0 | (code >> 6));
        to[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xe0 | (code >> 12));
        to[1] = (char)(0x80 | ((code >> 6) & 0x3f));
        to[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | (code >> 18));
    to[1] = (char)(0x80 | ((code >> 12) & 0x3f));
    to[2] = (char)(0x80 | ((code >> 6) & 0x3f));
    to[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* How many bytes from p on are neither a quote nor a backslash nor a control character. */
static size_t ordinary(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = ones * 0x80;
    const char *from = p;

    for (; end - p >= 8; p += 8) {
        uint64_t eight;
        uint64_t quote;
        uint64_t backslash;

        memcpy(&eight, p, sizeof eight);
        quote = eight ^ (ones * '"');
        backslash = eight ^ (ones * '\\');
        /* a byte of zero, or below 0x20, has its highest bit set in one of these (or a byte below it is such a byte) */
        if (((((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((eight - ones * 0x20) & ~eight)) &
             highs) != 0) {
            break;
        }
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) {
        p++;
    }
    return (size_t)(p - from);
}

/* What follows a backslash at t->p, as bytes at *to; at most four, and never more than it takes in the text. */
static bool unescape(struct parser *t, char **to)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char *p = t->p;
    const char *name;
    unsigned code;
    unsigned low;

    if (t->end - p < 2) {
        return false;
    }
    if (p[1] != 'u') {
        name = memchr(names, p[1], sizeof names - 1);
        if (!name) {
            return false;
        }
        *(*to)++ = values[name - names];
        t->p += 2;
        return true;
    }
    if (!hex4(p + 2, t->end, &code)) {
        return false;
    }
    t->p += 6;
    if (code >= 0xd800 && code < 0xdc00 && t->end - p >= 12 && p[6] == '\\' && p[7] == 'u' &&
        hex4(p + 8, t->end, &low) && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        t->p += 6;
    }
    *to += put_code(*to, code);
    return true;
}

/* The text from the quote at t->p on; NULL with the place noted if it is not well-formed. */
static char *parse_text(struct parser *t)
{
    const char *begin = t->p;
    size_t len = ordinary(begin + 1, t->end);
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
        len = ordinary(t->p, close);
        memcpy(to, t->p, len);
        to += len;
        t->p += len;
        if (t->p == close) {
            break;
        }
        if (*t->p != '\\' || !unescape(t, &to)) {
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

struct number {
    uint64_t digits; /* all that count, without the point; right if they are no more than EXACT_DIGITS */
    size_t count;    /* of them */
    size_t places;   /* behind the point: many zeros there make a number too small for a double */
    long exponent;
    bool negative;
    bool exact_needed; /* a double would not print the same value again */
};

/* Reads one number by RFC 8259's grammar; returns the place behind it. */
static const char *scan_number(const char *p, const char *end, struct number *ret)
{
    struct number n = {0};
    bool exponent_negative = false;
    long place;

    if (p < end && *p == '-') {
        n.negative = true;
        p++;
    }
    if (p >= end || *p < '0' || *p > '9') {
        return NULL;
    }
    if (*p == '0' && p + 1 < end && p[1] >= '0' && p[1] <= '9') {
        return NULL;
    }
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        n.count += n.count > 0 || *p != '0';
        n.digits = n.digits * 10 + (unsigned)(*p - '0');
    }
    if (p < end && *p == '.') {
        p++;
        if (p >= end || *p < '0' || *p > '9') {
            return NULL;
        }
        for (; p < end && *p >= '0' && *p <= '9'; p++) {
            n.count += n.count > 0 || *p != '0';
            n.digits = n.digits * 10 + (unsigned)(*p - '0');
            n.places++;
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) {
            exponent_negative = *p == '-';
            p++;
        }
        if (p >= end || *p < '0' || *p > '9') {
            return NULL;
        }
        for (; p < end && *p >= '0' && *p <= '9'; p++) {
            n.exponent = n.exponent > 100000 ? n.exponent : n.exponent * 10 + (*p - '0');
        }
    }
    /* where the first digit stands, however the number is written: what is printed as a double must be one when it is read again */
    place = (exponent_negative ? -n.exponent : n.exponent) + (long)n.count - (long)n.places - 1;
    n.exact_needed = n.count > EXACT_DIGITS || n.exponent > EXPONENT_MAX || labs(place) > EXPONENT_MAX || n.places > 50;
    n.exponent = exponent_negative ? -n.exponent : n.exponent;
    *ret = n;
    return p;
}

/* Of a number that a double holds. Two exact doubles, multiplied or divided, are rounded once; everything else is left to strtod. */
static double double_of(const struct number *n, const char *text, size_t len)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    long exponent = n->exponent - (long)n->places;
    double value = (double)n->digits;

    if (exponent >= (long)ATS_COUNT(tens) || -exponent >= (long)ATS_COUNT(tens)) {
        char *copy = mem_strndup(text, len);

        value = strtod(copy, NULL);
        mem_free(copy);
        return value;
    }
    value = exponent < 0 ? value / tens[-exponent] : value * tens[exponent];
    return n->negative ? -value : value;
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
    struct number n;
    const char *to = scan_number(from, t->end, &n);
    size_t len;
    cJSON *c;

    if (!to) {
        t->bad = from;
        return NULL;
    }
    t->p = to;
    len = (size_t)(to - from);
    if (!n.exact_needed) {
        return number_node(double_of(&n, from, len));
    }
    c = node_new(cJSON_String);
    c->valuestring = tree_alloc(len + 2);
    c->valuestring[0] = EXACT_MARK;
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
        return c->valuestring[0] == EXACT_MARK ? JSON_NUMBER : JSON_STRING;
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

static bool is_short_integer(double n)
{
    return n > -1e15 && n < 1e15 && !(floor(n) < n); /* no more digits than EXACT_DIGITS */
}

/* As short as reads back as the same double. */
static void double_text(double n, char ret[DOUBLE_TEXT_MAX])
{
    double back;

    snprintf(ret, DOUBLE_TEXT_MAX, "%.15g", n);
    back = strtod(ret, NULL);
    if (back < n || back > n) {
        snprintf(ret, DOUBLE_TEXT_MAX, "%.17g", n);
    }
}

struct json *json_number(double n)
{
    char text[DOUBLE_TEXT_MAX];

    if (!isfinite(n)) {
        return json_null();
    }
    if (is_short_integer(n)) {
        return out_of(number_node(n));
    }
    double_text(n, text);
    return json_number_text(text);
}

struct json *json_integer(int64_t n)
{
    return json_number_text(num_text(n).s);
}

struct json *json_number_text(const char *digits)
{
    size_t len = digits ? strlen(digits) : 0;
    struct number n = {0};
    const char *end = len ? scan_number(digits, digits + len, &n) : NULL;

    if (!end || *end != '\0') {
        return NULL;
    }
    if (!n.exact_needed) {
        return out_of(number_node(double_of(&n, digits, len)));
    }
    char *marked = mem_printf("%c%s", EXACT_MARK, digits);
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

enum print_mode { PRINT_AS_RECEIVED, PRINT_PLAIN, PRINT_WRAPPED };

struct printer {
    struct buf *out;
    enum print_mode mode;
    bool sorted;
    int indent; /* -1: one line */
};

/*
 * The code of a place that is not proper UTF-8 by our convention (U+0000, a lone surrogate), with its length; 0 otherwise,
 * and for the beginning of such a place at the end of a text that somebody cut.
 */
static size_t odd_char(const char *s, unsigned *ret_code)
{
    unsigned char a = (unsigned char)s[0];
    unsigned char b = a ? (unsigned char)s[1] : 0;

    if (a == 0xc0 && b == 0x80) {
        *ret_code = 0;
        return 2;
    }
    if (a == 0xed && b >= 0xa0 && b < 0xc0 && ((unsigned char)s[2] & 0xc0) == 0x80) {
        *ret_code = 0xd000U | ((unsigned)(b & 0x3f) << 6) | ((unsigned char)s[2] & 0x3fU);
        return 3;
    }
    return 0;
}

static void print_odd(const struct printer *p, unsigned code)
{
    switch (p->mode) {
    case PRINT_AS_RECEIVED:
        buf_printf(p->out, "\\u%04x", code);
        break;
    case PRINT_PLAIN:
        buf_puts(p->out, "\xef\xbf\xbd");
        break;
    case PRINT_WRAPPED:
        buf_printf(p->out, "%su%04x", WRAP_MARK, code);
        break;
    }
}

static void print_string(const struct printer *p, const char *s)
{
    const char *from = s;

    buf_putc(p->out, '"');
    while (*s) {
        unsigned char c = (unsigned char)*s;
        unsigned code = 0;
        size_t odd = 0;

        if (c >= 0x20 && c != '"' && c != '\\' && c < 0xc0) {
            s++;
            continue;
        }
        if (c >= 0xc0) {
            odd = odd_char(s, &code);
            bool mark = p->mode == PRINT_WRAPPED && c == 0xf4 && strncmp(s, WRAP_MARK, WRAP_MARK_LEN) == 0;

            if (!odd && !mark) {
                s++;
                continue;
            }
            buf_add(p->out, from, (size_t)(s - from));
            if (odd) {
                print_odd(p, code);
                s += odd;
            } else {
                buf_printf(p->out, "%sx", WRAP_MARK);
                s += WRAP_MARK_LEN;
            }
            from = s;
            continue;
        }
        buf_add(p->out, from, (size_t)(s - from));
        switch (c) {
        case '"':
            buf_puts(p->out, "\\\"");
            break;
        case '\\':
            buf_puts(p->out, "\\\\");
            break;
        case '\n':
            buf_puts(p->out, "\\n");
            break;
        case '\r':
            buf_puts(p->out, "\\r");
            break;
        case '\t':
            buf_puts(p->out, "\\t");
            break;
        default:
            buf_printf(p->out, "\\u%04x", (unsigned)c);
            break;
        }
        s++;
        from = s;
    }
    buf_add(p->out, from, (size_t)(s - from));
    buf_putc(p->out, '"');
}

static void print_double(struct buf *out, double n)
{
    char text[DOUBLE_TEXT_MAX];

    if (is_short_integer(n)) {
        buf_puts(out, signbit(n) && n >= 0 ? "-0" : num_text((int64_t)n).s);
        return;
    }
    double_text(n, text);
    buf_puts(out, text);
}

/* PostgreSQL's numeric ends at 131072 digits before and 16383 after the point. */
static bool beyond_numeric(const char *digits)
{
    const char *e = strpbrk(digits, "eE");
    int64_t exponent = 0;

    if (strlen(digits) > 4000) {
        return true;
    }
    if (!e) {
        return false;
    }
    if (!text_to_i64(e[1] == '+' ? e + 2 : e + 1, -1000000, 1000000, &exponent)) {
        return true;
    }
    return exponent > 100000 || exponent < -10000;
}

static void print_number(const struct printer *p, const cJSON *c)
{
    if (!is_exact(c)) {
        print_double(p->out, c->valuedouble);
        return;
    }
    const char *digits = c->valuestring + 1;

    if (p->mode == PRINT_WRAPPED) {
        buf_printf(p->out, "\"%sn%s\"", WRAP_MARK, digits);
    } else if (p->mode == PRINT_PLAIN && beyond_numeric(digits)) {
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
            print_string(p, m->string);
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
        print_string(p, c->valuestring);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        print_members(p, c, depth);
        break;
    }
}

static void print_with(const struct json *j, struct buf *out, enum print_mode mode, bool sorted, int indent)
{
    struct printer p = {.out = out, .mode = mode, .sorted = sorted, .indent = indent};

    print_value(&p, in(j), 0);
}

void json_print(const struct json *j, struct buf *out)
{
    print_with(j, out, PRINT_AS_RECEIVED, false, -1);
}

void json_print_canonical(const struct json *j, struct buf *out)
{
    print_with(j, out, PRINT_AS_RECEIVED, true, -1);
}

void json_print_plain(const struct json *j, struct buf *out)
{
    print_with(j, out, PRINT_PLAIN, false, -1);
}

void json_print_pretty(const struct json *j, struct buf *out)
{
    print_with(j, out, PRINT_AS_RECEIVED, false, 2);
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
    print_with(j, out, PRINT_WRAPPED, false, -1);
}

/* One marked place of a string; returns the bytes consumed. A mark that we did not make stays as it is. */
static size_t unwrap_mark(const char *s, struct buf *out)
{
    const char *p = s + WRAP_MARK_LEN;
    unsigned code;

    if (*p == 'x') {
        buf_add(out, WRAP_MARK, WRAP_MARK_LEN);
        return WRAP_MARK_LEN + 1;
    }
    if (*p == 'n') { /* a number that was put into the middle of a text: just its digits */
        return WRAP_MARK_LEN + 1;
    }
    if (*p == 'u' && hex4(p + 1, p + strlen(p), &code) && (code == 0 || (code >= 0xd800 && code < 0xe000))) {
        char bytes[4];

        buf_add(out, bytes, put_code(bytes, code));
        return WRAP_MARK_LEN + 5;
    }
    buf_add(out, WRAP_MARK, WRAP_MARK_LEN);
    return WRAP_MARK_LEN;
}

/* Returns the unwrapped text (caller: mem_free), or NULL if the text holds no mark. A key is always text. */
static char *unwrap_text(const char *s, bool is_key)
{
    const char *mark = strstr(s, WRAP_MARK);
    struct buf out;

    if (!mark) {
        return NULL;
    }
    buf_init(&out, strlen(s) + 1);
    if (!is_key && mark == s && s[WRAP_MARK_LEN] == 'n') {
        const char *digits = s + WRAP_MARK_LEN + 1;
        struct number n;
        const char *end = scan_number(digits, digits + strlen(digits), &n);

        if (end && *end == '\0') {
            buf_putc(&out, EXACT_MARK);
            buf_puts(&out, digits);
            return buf_take(&out);
        }
    }
    while (mark) {
        buf_add(&out, s, (size_t)(mark - s));
        s = mark + unwrap_mark(mark, &out);
        mark = strstr(s, WRAP_MARK);
    }
    buf_puts(&out, s);
    return buf_take(&out);
}

bool json_needs_wrap(const char *s)
{
    unsigned code;

    for (; *s; s++) {
        if ((unsigned char)*s >= 0xc0 && (odd_char(s, &code) || strncmp(s, WRAP_MARK, WRAP_MARK_LEN) == 0)) {
            return true;
        }
    }
    return false;
}

void json_wrap(const char *s, struct buf *out)
{
    while (*s) {
        unsigned code = 0;
        size_t odd = (unsigned char)*s >= 0xc0 ? odd_char(s, &code) : 0;

        if (odd) {
            buf_printf(out, "%su%04x", WRAP_MARK, code);
            s += odd;
        } else if (strncmp(s, WRAP_MARK, WRAP_MARK_LEN) == 0) {
            buf_printf(out, "%sx", WRAP_MARK);
            s += WRAP_MARK_LEN;
        } else {
            buf_putc(out, *s++);
        }
    }
}

char *json_wrap_digits(const char *digits)
{
    return mem_printf("%sn%s", WRAP_MARK, digits);
}

struct json *json_unwrapped(const char *s)
{
    char *plain = unwrap_text(s, false);
    struct json *j = json_string(plain ? plain : s);

    mem_free(plain);
    return j;
}

char *json_unwrap_key(const char *s)
{
    return unwrap_text(s, true);
}

/* The string belongs to cJSON's allocator, so it is exchanged with one that cJSON made. */
static void unwrap_in_place(char **text, bool is_key)
{
    char *plain = unwrap_text(*text, is_key);

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

void json_plain(const char *s, struct buf *out)
{
    const char *from = s;

    if (!s) {
        return;
    }
    while (*s) {
        unsigned code;
        size_t odd = (unsigned char)*s >= 0xc0 ? odd_char(s, &code) : 0;

        if (!odd) {
            s++;
            continue;
        }
        buf_add(out, from, (size_t)(s - from));
        buf_puts(out, "\xef\xbf\xbd");
        s += odd;
        from = s;
    }
    buf_add(out, from, (size_t)(s - from));
}
