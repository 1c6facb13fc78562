/*
 * text - small pure functions on strings and numbers as text.
 *
 * Numbers are parsed whole or not at all: outputs stay untouched on failure.
 */
#ifndef ATSYNC_BASE_TEXT_H
#define ATSYNC_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

struct num_text {
    char s[24];
};
struct num_text num_text(int64_t n); /* by value: use as num_text(n).s inside one full expression */

bool text_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret) ATS_MUSTCHECK;

/* "500ms", "5s", "15m", "12h", "3d" -> milliseconds; "0" alone is allowed. */
bool text_to_duration_ms(const char *s, int64_t *ret_ms) ATS_MUSTCHECK;
/* "512", "512B", "64KiB", "4MiB", "1GiB" -> bytes. */
bool text_to_size_bytes(const char *s, int64_t *ret_bytes) ATS_MUSTCHECK;
/* And back, in the greatest unit that leaves no remainder. */
struct num_text duration_text(int64_t ms);
struct num_text size_text(int64_t bytes);

bool text_starts(const char *s, const char *prefix);
bool text_eq(const char *a, const char *b);   /* both may be NULL: NULL equals only NULL */
bool text_ieq(const char *a, const char *b);  /* ASCII case-insensitive */
bool text_is_utf8(const char *s, size_t len); /* RFC 3629: no surrogates, no overlong forms */
size_t text_utf8_chars(const char *s);        /* code points of valid UTF-8 */
/* The longest prefix of at most max_bytes that does not cut a code point. */
size_t text_utf8_cut(const char *s, size_t len, size_t max_bytes);
/* The two arguments of "%.*s" with which a message repeats the beginning of somebody's text, without half a code point. */
#define TEXT_ECHO(s) (int)text_utf8_cut((s), strlen(s), TEXT_ECHO_MAX_BYTES), (s)
enum { TEXT_ECHO_MAX_BYTES = 80 };
/*
 * Whether a path that has this text as one of its segments could be taken for another path: because a part of it is "."
 * or "..", for a server that decodes percent signs (once more than it should) before it splits the path, takes a
 * backslash for a slash, or cuts off what follows a semicolon. "..", "%2e%2e", "a/../b" and "..;x" do, "a/b" and "..."
 * do not. What is encoded more than 16 times counts as true.
 */
bool text_leaves_path(const char *s);
/* Levenshtein distance, for "did you mean"; a string over 64 bytes is UINT_MAX away from anything. */
unsigned text_distance(const char *a, const char *b);
uint64_t text_hash64(const void *bytes, size_t len); /* FNV-1a: for hash tables, not against an adversary */

#endif
