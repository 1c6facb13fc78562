/*
 * json_text - the texts of JSON strings in memory, and on their way in and out. No trees here (lib/json.h), and no search for where a value
 * ends (base/json_scan.h).
 *
 * In memory a string is NUL-terminated UTF-8 in which U+0000 is the two bytes C0 80 and a lone surrogate its three-byte form ED A0..BF xx. Neither can
 * come from outside as bytes, because who parses looks first whether all of it is UTF-8. Pure; any thread.
 */
#ifndef ATSYNC_BASE_JSON_TEXT_H
#define ATSYNC_BASE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define JSON_EXACT_MARK '\xff'            /* never UTF-8: the digits of a number follow */
#define JSON_WRAP_MARK "\xf4\x8f\xbf\xbf" /* U+10FFFF, a noncharacter */

/* ---- reading */

/* How many bytes from p on are neither a quote nor a backslash nor a control character. */
size_t json_text_ordinary(const char *p, const char *end);
/* What follows a backslash at *from, as bytes at *to, at most four and never more than it takes in the text; both go on behind it. false: no escape. */
bool json_text_unescape(const char **from, const char *end, char **to);

/* ---- printing */

enum json_text_form {
    JSON_AS_RECEIVED, /* U+0000 and lone surrogates escaped again */
    JSON_PLAIN,       /* they become U+FFFD */
    JSON_WRAPPED,     /* see below */
};

/* With its quotes. */
void json_text_print(const char *s, enum json_text_form form, struct buf *out);
/* Copies s as clean UTF-8: U+0000 and lone surrogates become U+FFFD. Appends to out; NULL appends nothing. */
void json_plain(const char *s, struct buf *out);

/*
 * ---- wrapping, for a processor with doubles and proper strings only (jq 1.6): numbers that a double cannot hold and strings that are
 * not Unicode become strings marked with U+10FFFF, and what they were on the way back. What the processor copies arrives unharmed; what it
 * computes with is its own affair.
 */

bool json_needs_wrap(const char *s);
void json_wrap(const char *s, struct buf *out);
char *json_wrap_digits(const char *digits); /* mem_free */
/* Caller: mem_free; NULL: it is as it should be. Of a number that was wrapped JSON_EXACT_MARK and its digits; a key is always text. */
char *json_unwrap_text(const char *s);
char *json_unwrap_key(const char *s);

#endif
