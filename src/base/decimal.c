#include "base/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

enum { DOUBLE_DIGITS = 15, EXPONENT_MAX = 250, PLACES_MAX = 50 };

const char *decimal_scan(const char *p, const char *end, struct decimal *ret)
{
    struct decimal n = {0};
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
    n.exact_needed =
        n.count > DOUBLE_DIGITS || n.exponent > EXPONENT_MAX || labs(place) > EXPONENT_MAX || n.places > PLACES_MAX;
    n.exponent = exponent_negative ? -n.exponent : n.exponent;
    *ret = n;
    return p;
}

/* Two exact doubles, multiplied or divided, are rounded once; everything else is left to strtod. */
double decimal_double(const struct decimal *n, const char *text, size_t len)
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

bool decimal_parse(const char *s, double *ret)
{
    struct decimal n;
    const char *end = s ? decimal_scan(s, s + strlen(s), &n) : NULL;
    double value;

    if (!end || *end != '\0') {
        return false;
    }
    value = strtod(s, NULL); /* the programs never leave the C locale, so the point is a point */
    if (!isfinite(value)) {
        return false;
    }
    *ret = value;
    return true;
}

bool decimal_is_short_integer(double n)
{
    return n > -1e15 && n < 1e15 && !(floor(n) < n); /* no more digits than DOUBLE_DIGITS */
}

void decimal_print(double n, char ret[DECIMAL_TEXT_MAX])
{
    double back;

    if (decimal_is_short_integer(n)) {
        bool is_minus_zero = signbit(n) && n >= 0;

        snprintf(ret, DECIMAL_TEXT_MAX, "%s", is_minus_zero ? "-0" : num_text((int64_t)n).s);
        return;
    }
    snprintf(ret, DECIMAL_TEXT_MAX, "%.15g", n);
    back = strtod(ret, NULL);
    if (back < n || back > n) {
        snprintf(ret, DECIMAL_TEXT_MAX, "%.17g", n);
    }
}

bool decimal_is_beyond_numeric(const char *digits)
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
