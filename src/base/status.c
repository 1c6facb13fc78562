#include "base/status.h"

#undef err_set
#undef err_prefix

#include <stdarg.h>

#include "base/text.h"

/* Cuts at a whole code point: the text ends up in JSON and in the database, which refuse half of one. */
static void err_store(struct errmsg *err, const char *text, size_t len)
{
    size_t keep = text_utf8_cut(text, len, sizeof err->text - 1);

    memcpy(err->text, text, keep);
    err->text[keep] = '\0';
}

/* Formats beside *err, because the arguments may point into it. Room for twice the text, so that a cut is seen here. */
static void err_vformat(struct errmsg *err, const char *tail, const char *fmt, va_list ap) ATS_PRINTF(3, 0);

static void err_vformat(struct errmsg *err, const char *tail, const char *fmt, va_list ap)
{
    char text[2 * sizeof err->text];
    size_t len = 0;
    int n = vsnprintf(text, sizeof text, fmt, ap);

    if (n > 0)
        len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (tail != NULL) {
        n = snprintf(text + len, sizeof text - len, ": %s", tail);
        if (n > 0)
            len += (size_t)n < sizeof text - len ? (size_t)n : sizeof text - len - 1;
    }
    err_store(err, text, len);
}

int err_set(struct errmsg *err, enum status st, const char *fmt, ...)
{
    va_list ap;

    if (err != NULL) {
        va_start(ap, fmt);
        err_vformat(err, NULL, fmt, ap);
        va_end(ap);
    }
    return (int)st;
}

int err_prefix(struct errmsg *err, int st, const char *fmt, ...)
{
    va_list ap;

    if (err != NULL) {
        va_start(ap, fmt);
        err_vformat(err, err->text, fmt, ap);
        va_end(ap);
    }
    return st;
}

const char *status_name(int st)
{
    switch ((enum status)st) {
    case ST_OK:
        return "ok";
    case ST_INVALID:
        return "invalid";
    case ST_NOT_FOUND:
        return "not_found";
    case ST_LIMIT:
        return "limit";
    case ST_IO:
        return "io";
    case ST_UNAVAILABLE:
        return "unavailable";
    case ST_UNCERTAIN:
        return "uncertain";
    case ST_CONFLICT:
        return "conflict";
    case ST_DENIED:
        return "denied";
    case ST_INTERNAL:
        return "internal";
    }
    return "unknown"; /* a number that is none of ours: the switch stays without default, so that gcc checks it */
}
