#include "base/text.h"

#include <inttypes.h>
#include <limits.h>

#include "base/mem.h"

enum { DISTANCE_MAX_BYTES = 64, DECODINGS_MAX = 16 };

struct num_text num_text(int64_t n)
{
    struct num_text text;
    char digits[sizeof text.s]; /* from the last one on */
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    size_t count = 0;
    size_t at = 0;

    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (n < 0)
        text.s[at++] = '-';
    while (count > 0)
        text.s[at++] = digits[--count];
    text.s[at] = '\0';
    return text;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits at *p as a number that must not exceed max; *p moves behind them. */
static bool take_u64(const char **p, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    const char *s = *p;

    if (!is_digit(*s))
        return false;
    for (; is_digit(*s); s++) {
        uint64_t digit = (uint64_t)(*s - '0');

        if (value > max / 10 || value * 10 > max - digit)
            return false;
        value = value * 10 + digit;
    }
    *p = s;
    *ret = value;
    return true;
}

bool text_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
    bool negative;
    uint64_t magnitude;
    int64_t value;

    if (s == NULL)
        return false;
    negative = *s == '-';
    s += negative ? 1 : 0;
    if (!take_u64(&s, (uint64_t)INT64_MAX + (negative ? 1 : 0), &magnitude) || *s != '\0')
        return false;
    if (!negative)
        value = (int64_t)magnitude;
    else
        value = magnitude == 0 ? 0 : -(int64_t)(magnitude - 1) - 1; /* INT64_MIN without an overflow */
    if (value < min || value > max)
        return false;
    *ret = value;
    return true;
}

struct unit {
    const char *name;
    int64_t factor;
};

static bool text_to_quantity(const char *s, const struct unit *units, size_t count, int64_t *ret)
{
    uint64_t value;

    if (s == NULL || !take_u64(&s, INT64_MAX, &value))
        return false;
    for (size_t i = 0; i < count; i++) {
        int64_t product;

        if (strcmp(s, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow((int64_t)value, units[i].factor, &product))
            return false;
        *ret = product;
        return true;
    }
    return false;
}

bool text_to_duration_ms(const char *s, int64_t *ret_ms)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

    if (text_eq(s, "0")) {
        *ret_ms = 0;
        return true;
    }
    return text_to_quantity(s, units, ATS_COUNT(units), ret_ms);
}

bool text_to_size_bytes(const char *s, int64_t *ret_bytes)
{
    static const struct unit units[] = {{"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};

    return text_to_quantity(s, units, ATS_COUNT(units), ret_bytes);
}

/* In the greatest unit that leaves no remainder; units in falling order, the last one with factor 1. */
static struct num_text quantity(int64_t n, const struct unit *units)
{
    struct num_text text;

    while (n == 0 ? units->factor != 1 : n % units->factor != 0)
        units++;
    (void)snprintf(text.s, sizeof text.s, "%s%s", num_text(n / units->factor).s, n == 0 ? "" : units->name);
    return text;
}

struct num_text duration_text(int64_t ms)
{
    static const struct unit units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

    return quantity(ms, units);
}

struct num_text size_text(int64_t bytes)
{
    static const struct unit units[] = {{"GiB", 1073741824}, {"MiB", 1048576}, {"KiB", 1024}, {"B", 1}};

    return quantity(bytes, units);
}

bool text_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool text_eq(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static unsigned char ascii_lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool text_ieq(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    for (; ascii_lower(*a) == ascii_lower(*b); a++, b++) {
        if (*a == '\0')
            return true;
    }
    return false;
}

/* Length of the code point at s, or 0 if the bytes there are not UTF-8. Table 3-7 of the Unicode standard: only the
 * second byte has bounds that depend on the first (overlong forms, surrogates, above U+10FFFF). */
static size_t utf8_length(const unsigned char *s, size_t len)
{
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t need;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    need = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (need > len)
        return 0;
    if (s[0] == 0xE0)
        low = 0xA0;
    else if (s[0] == 0xED)
        high = 0x9F;
    else if (s[0] == 0xF0)
        low = 0x90;
    else if (s[0] == 0xF4)
        high = 0x8F;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    }
    return need;
}

bool text_is_utf8(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;

    while (len > 0) {
        size_t n;
        uint64_t eight;

        if (len >= sizeof eight) { /* most text is ASCII: eight bytes at once */
            memcpy(&eight, p, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                p += sizeof eight;
                len -= sizeof eight;
                continue;
            }
        }
        n = utf8_length(p, len);

        if (n == 0)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

size_t text_utf8_chars(const char *s)
{
    size_t count = 0;

    for (; *s != '\0'; s++)
        count += is_continuation(*s) ? 0 : 1;
    return count;
}

size_t text_utf8_cut(const char *s, size_t len, size_t max_bytes)
{
    size_t cut = max_bytes;

    if (len <= max_bytes)
        return len;
    while (cut > 0 && max_bytes - cut < 3 && is_continuation(s[cut]))
        cut--;
    /* three bytes back and still no beginning: not UTF-8, nothing to keep whole */
    return is_continuation(s[cut]) ? max_bytes : cut;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place, once; false if there was nothing to decode. */
static bool decode_percents(char *s)
{
    char *to = s;
    bool any = false;

    for (; *s != '\0'; s++) {
        if (*s == '%' && hex_value(s[1]) >= 0 && hex_value(s[2]) >= 0) {
            char byte = (char)(hex_value(s[1]) * 16 + hex_value(s[2]));

            *to++ = byte != '\0' ? byte : '/'; /* for who stops at a NUL, what is before it is a part of its own */
            s += 2;
            any = true;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
    return any;
}

static bool has_dot_part(const char *s)
{
    for (;;) {
        size_t dots = strspn(s, ".");

        if ((dots == 1 || dots == 2) && strchr("/\\;", s[dots]) != NULL) /* the end of s, too */
            return true;
        s += strcspn(s, "/\\");
        if (*s == '\0')
            return false;
        s++;
    }
}

bool text_leaves_path(const char *s)
{
    char *decoded = mem_strdup(s);
    bool leaves = has_dot_part(decoded);
    unsigned rounds = 0;

    while (!leaves && decode_percents(decoded))
        leaves = ++rounds > DECODINGS_MAX || has_dot_part(decoded);
    mem_free(decoded);
    return leaves;
}

unsigned text_distance(const char *a, const char *b)
{
    unsigned row[DISTANCE_MAX_BYTES + 1];
    size_t a_len = strnlen(a, DISTANCE_MAX_BYTES + 1);
    size_t b_len = strnlen(b, DISTANCE_MAX_BYTES + 1);

    if (a_len > DISTANCE_MAX_BYTES || b_len > DISTANCE_MAX_BYTES)
        return UINT_MAX;
    for (unsigned j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 0; i < a_len; i++) {
        unsigned diagonal = row[0]; /* distance without this byte of either */

        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < b_len; j++) {
            unsigned best = diagonal + (a[i] == b[j] ? 0 : 1);

            diagonal = row[j + 1];
            if (diagonal + 1 < best)
                best = diagonal + 1;
            if (row[j] + 1 < best)
                best = row[j] + 1;
            row[j + 1] = best;
        }
    }
    return row[b_len];
}

uint64_t text_hash64(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint64_t hash = 0xcbf29ce484222325U;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * 0x100000001b3U;
    return hash;
}
