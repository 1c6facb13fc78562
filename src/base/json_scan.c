#include "base/json_scan.h"

enum state {
    VALUE,        /* a value begins here */
    FIRST_KEY,    /* a key, or the end of the object */
    KEY,          /* a key */
    KEY_TEXT,     /* within a key, */
    KEY_ESCAPE,   /* behind a backslash in it */
    COLON,        /* the colon behind a key */
    FIRST_VALUE,  /* a value, or the end of the list */
    TEXT,         /* within a string, */
    TEXT_ESCAPE,  /* behind a backslash in it */
    SCALAR,       /* within a number, true, false or null */
    AFTER_MEMBER, /* a comma, or the end of what is open */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_scalar(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
}

static bool in_object(const struct json_scan *s)
{
    return s->depth > 0 && (s->is_object[(s->depth - 1) / 8] & (1U << ((s->depth - 1) % 8))) != 0;
}

static enum json_scan_step open_bracket(struct json_scan *s, bool object)
{
    uint8_t bit = (uint8_t)(1U << (s->depth % 8));

    if (s->depth == JSON_SCAN_DEPTH_MAX) {
        return JSON_SCAN_BAD;
    }
    s->is_object[s->depth / 8] =
        (uint8_t)(object ? s->is_object[s->depth / 8] | bit : s->is_object[s->depth / 8] & (uint8_t)~bit);
    s->depth++;
    s->state = object ? FIRST_KEY : FIRST_VALUE;
    return JSON_SCAN_MORE;
}

/* A value has come to its end with the last byte. */
static enum json_scan_step value_ended(struct json_scan *s)
{
    s->state = AFTER_MEMBER;
    return s->depth == 0 ? JSON_SCAN_LAST : JSON_SCAN_MORE;
}

static enum json_scan_step close_bracket(struct json_scan *s, char c)
{
    if (s->depth == 0 || (c == '}') != in_object(s)) {
        return JSON_SCAN_BAD;
    }
    s->depth--;
    return value_ended(s);
}

static enum json_scan_step begin_value(struct json_scan *s, char c)
{
    if (c == '{' || c == '[') {
        return open_bracket(s, c == '{');
    }
    if (c == '"') {
        s->state = TEXT;
        return JSON_SCAN_MORE;
    }
    s->state = SCALAR;
    return (c >= '0' && c <= '9') || c == '-' || c == 't' || c == 'f' || c == 'n' ? JSON_SCAN_MORE : JSON_SCAN_BAD;
}

static enum json_scan_step after_member(struct json_scan *s, char c)
{
    if (c == ',') {
        s->state = in_object(s) ? KEY : VALUE;
        return s->depth > 0 ? JSON_SCAN_MORE : JSON_SCAN_BAD;
    }
    return c == '}' || c == ']' ? close_bracket(s, c) : JSON_SCAN_BAD;
}

/* Within a string: raw control characters, the ends of lines among them, cannot stand there. */
static enum json_scan_step in_text(struct json_scan *s, char c)
{
    bool key = s->state == KEY_TEXT || s->state == KEY_ESCAPE;

    if ((unsigned char)c < 0x20) {
        return JSON_SCAN_BAD;
    }
    if (s->state == KEY_ESCAPE || s->state == TEXT_ESCAPE) {
        s->state = key ? KEY_TEXT : TEXT;
    } else if (c == '\\') {
        s->state = key ? KEY_ESCAPE : TEXT_ESCAPE;
    } else if (c == '"' && key) {
        s->state = COLON;
    } else if (c == '"') {
        return value_ended(s);
    }
    return JSON_SCAN_MORE;
}

static enum json_scan_step expected(struct json_scan *s, char c, char wanted, enum state next)
{
    if (c != wanted) {
        return JSON_SCAN_BAD;
    }
    s->state = (uint8_t)next;
    return JSON_SCAN_MORE;
}

/* Outside of strings and scalars. */
static enum json_scan_step at_mark(struct json_scan *s, char c)
{
    switch ((enum state)s->state) {
    case FIRST_KEY:
        return c == '}' ? close_bracket(s, c) : expected(s, c, '"', KEY_TEXT);
    case KEY:
        return expected(s, c, '"', KEY_TEXT);
    case COLON:
        return expected(s, c, ':', VALUE);
    case FIRST_VALUE:
        return c == ']' ? close_bracket(s, c) : begin_value(s, c);
    case VALUE:
        return begin_value(s, c);
    case AFTER_MEMBER:
    case KEY_TEXT:
    case KEY_ESCAPE:
    case TEXT:
    case TEXT_ESCAPE:
    case SCALAR:
        break;
    }
    return after_member(s, c);
}

enum json_scan_step json_scan_byte(struct json_scan *s, char c)
{
    if (s->state == KEY_TEXT || s->state == KEY_ESCAPE || s->state == TEXT || s->state == TEXT_ESCAPE) {
        return in_text(s, c);
    }
    if (s->state == SCALAR) {
        if (is_scalar(c)) {
            return JSON_SCAN_MORE;
        }
        if (s->depth == 0) {
            return JSON_SCAN_ENDED;
        }
        s->state = AFTER_MEMBER;
    }
    return is_blank(c) ? JSON_SCAN_MORE : at_mark(s, c);
}

bool json_scan_may_end(const struct json_scan *s)
{
    return s->depth == 0 && (s->state == SCALAR || s->state == AFTER_MEMBER);
}

/* ---- whole texts */

static size_t skip_blanks(const char *text, size_t len, size_t at)
{
    while (at < len && is_blank(text[at])) {
        at++;
    }
    return at;
}

bool json_scan_value(const char *text, size_t len, struct json_slice *ret)
{
    struct json_scan s = {0};
    size_t begin = skip_blanks(text, len, 0);
    size_t end = begin;

    while (end < len) {
        enum json_scan_step step = json_scan_byte(&s, text[end]);

        if (step == JSON_SCAN_BAD) {
            return false;
        }
        if (step == JSON_SCAN_ENDED) {
            break;
        }
        end++;
        if (step == JSON_SCAN_LAST) {
            break;
        }
    }
    *ret = (struct json_slice){text + begin, end - begin};
    return json_scan_may_end(&s);
}

/* The value at *at, which moves behind it. */
static bool take_value(struct json_slice container, size_t *at, struct json_slice *ret)
{
    if (!json_scan_value(container.text + *at, container.len - *at, ret)) {
        return false;
    }
    *at = (size_t)(ret->text + ret->len - container.text);
    return true;
}

bool json_scan_next(struct json_slice container, size_t *at, struct json_slice *ret_name, struct json_slice *ret_value)
{
    bool object = container.len > 0 && container.text[0] == '{';

    *at = skip_blanks(container.text, container.len, *at);
    if (*at >= container.len || !strchr(*at == 0 ? "{[" : ",", container.text[*at])) {
        return false;
    }
    ++*at;
    *ret_name = (struct json_slice){container.text, 0};
    if (object) {
        if (!take_value(container, at, ret_name) || ret_name->text[0] != '"') {
            return false;
        }
        *ret_name = (struct json_slice){ret_name->text + 1, ret_name->len - 2};
        *at = skip_blanks(container.text, container.len, *at);
        if (*at >= container.len || container.text[*at] != ':') {
            return false;
        }
        ++*at;
    }
    return take_value(container, at, ret_value);
}

bool json_scan_member(struct json_slice object, const char *name, struct json_slice *ret)
{
    struct json_slice key, value;
    size_t at = 0;
    bool found = false;

    if (object.len == 0 || object.text[0] != '{') {
        return false;
    }
    while (json_scan_next(object, &at, &key, &value)) {
        if (key.len == strlen(name) && memcmp(key.text, name, key.len) == 0) {
            *ret = value;
            found = true;
        }
    }
    return found;
}
