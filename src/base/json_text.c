#include "base/json_text.h"

#include <string.h>

#include "base/decimal.h"
#include "base/mem.h"

enum { WRAP_MARK_LEN = sizeof JSON_WRAP_MARK - 1 };

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

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

size_t json_text_ordinary(const char *p, const char *end)
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

bool json_text_unescape(const char **from, const char *end, char **to)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char *p = *from;
    const char *name;
    unsigned code;
    unsigned low;

    if (end - p < 2) {
        return false;
    }
    if (p[1] != 'u') {
        name = memchr(names, p[1], sizeof names - 1);
        if (!name) {
            return false;
        }
        *(*to)++ = values[name - names];
        *from += 2;
        return true;
    }
    if (!hex4(p + 2, end, &code)) {
        return false;
    }
    *from += 6;
    if (code >= 0xd800 && code < 0xdc00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u' && hex4(p + 8, end, &low) &&
        low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        *from += 6;
    }
    *to += put_code(*to, code);
    return true;
}

/* ---- printing --------------------------------------------------------------------------------------------------------- */

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

static void print_odd(unsigned code, enum json_text_form form, struct buf *out)
{
    switch (form) {
    case JSON_AS_RECEIVED:
        buf_printf(out, "\\u%04x", code);
        break;
    case JSON_PLAIN:
        buf_puts(out, "\xef\xbf\xbd");
        break;
    case JSON_WRAPPED:
        buf_printf(out, "%su%04x", JSON_WRAP_MARK, code);
        break;
    }
}

void json_text_print(const char *s, enum json_text_form form, struct buf *out)
{
    const char *from = s;

    buf_putc(out, '"');
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
            bool mark = form == JSON_WRAPPED && c == 0xf4 && strncmp(s, JSON_WRAP_MARK, WRAP_MARK_LEN) == 0;

            if (!odd && !mark) {
                s++;
                continue;
            }
            buf_add(out, from, (size_t)(s - from));
            if (odd) {
                print_odd(code, form, out);
                s += odd;
            } else {
                buf_printf(out, "%sx", JSON_WRAP_MARK);
                s += WRAP_MARK_LEN;
            }
            from = s;
            continue;
        }
        buf_add(out, from, (size_t)(s - from));
        switch (c) {
        case '"':
            buf_puts(out, "\\\"");
            break;
        case '\\':
            buf_puts(out, "\\\\");
            break;
        case '\n':
            buf_puts(out, "\\n");
            break;
        case '\r':
            buf_puts(out, "\\r");
            break;
        case '\t':
            buf_puts(out, "\\t");
            break;
        default:
            buf_printf(out, "\\u%04x", (unsigned)c);
            break;
        }
        s++;
        from = s;
    }
    buf_add(out, from, (size_t)(s - from));
    buf_putc(out, '"');
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

/* ---- wrapping --------------------------------------------------------------------------------------------------------- */

bool json_needs_wrap(const char *s)
{
    unsigned code;

    for (; *s; s++) {
        if ((unsigned char)*s >= 0xc0 && (odd_char(s, &code) || strncmp(s, JSON_WRAP_MARK, WRAP_MARK_LEN) == 0)) {
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
            buf_printf(out, "%su%04x", JSON_WRAP_MARK, code);
            s += odd;
        } else if (strncmp(s, JSON_WRAP_MARK, WRAP_MARK_LEN) == 0) {
            buf_printf(out, "%sx", JSON_WRAP_MARK);
            s += WRAP_MARK_LEN;
        } else {
            buf_putc(out, *s++);
        }
    }
}

char *json_wrap_digits(const char *digits)
{
    return mem_printf("%sn%s", JSON_WRAP_MARK, digits);
}

/* One marked place of a string; returns the bytes consumed. A mark that we did not make stays as it is. */
static size_t unwrap_mark(const char *s, struct buf *out)
{
    const char *p = s + WRAP_MARK_LEN;
    unsigned code;

    if (*p == 'x') {
        buf_add(out, JSON_WRAP_MARK, WRAP_MARK_LEN);
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
    buf_add(out, JSON_WRAP_MARK, WRAP_MARK_LEN);
    return WRAP_MARK_LEN;
}

static char *unwrap(const char *s, bool is_key)
{
    const char *mark = strstr(s, JSON_WRAP_MARK);
    struct buf out;

    if (!mark) {
        return NULL;
    }
    buf_init(&out, strlen(s) + 1);
    if (!is_key && mark == s && s[WRAP_MARK_LEN] == 'n') {
        const char *digits = s + WRAP_MARK_LEN + 1;
        struct decimal n;
        const char *end = decimal_scan(digits, digits + strlen(digits), &n);

        if (end && *end == '\0') {
            buf_putc(&out, JSON_EXACT_MARK);
            buf_puts(&out, digits);
            return buf_take(&out);
        }
    }
    while (mark) {
        buf_add(&out, s, (size_t)(mark - s));
        s = mark + unwrap_mark(mark, &out);
        mark = strstr(s, JSON_WRAP_MARK);
    }
    buf_puts(&out, s);
    return buf_take(&out);
}

char *json_unwrap_text(const char *s)
{
    return unwrap(s, false);
}

char *json_unwrap_key(const char *s)
{
    return unwrap(s, true);
}
