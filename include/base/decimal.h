/*
 * decimal - numbers as digits: what a double holds of them, and how a double is written down. Knows no tree; lib/json.h keeps the digits
 * of numbers that a double would change. Pure; any thread.
 */
#ifndef ATSYNC_BASE_DECIMAL_H
#define ATSYNC_BASE_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum { DECIMAL_TEXT_MAX = 40 };

struct decimal {
    uint64_t digits; /* all that count, without the point; right if they are no more than a double holds */
    size_t count;    /* of them */
    size_t places;   /* behind the point: many zeros there make a number too small for a double */
    long exponent;
    bool negative;
    bool exact_needed; /* a double would not print the same value again */
};

/* Reads one number by RFC 8259's grammar (section 6); returns the place behind it, NULL if there is none. */
const char *decimal_scan(const char *p, const char *end, struct decimal *ret);
/* Of one that was read from this text and is not exact_needed. */
double decimal_double(const struct decimal *n, const char *text, size_t len);
/* The whole text, by the same grammar: strtod alone would take hexadecimal, "inf", leading blanks and more. false also for what is not finite, and NULL. */
bool decimal_parse(const char *s, double *ret) ATS_MUSTCHECK;
/* An integer with no more digits than a double holds whatever they are. */
bool decimal_is_short_integer(double n);
/* As short as reads back as the same double, which must be finite. */
void decimal_print(double n, char ret[DECIMAL_TEXT_MAX]);
/* PostgreSQL's numeric ends at 131072 digits before and 16383 after the point; false for what is surely within. */
bool decimal_is_beyond_numeric(const char *digits);

#endif
