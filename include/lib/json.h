/*
 * json - JSON values that keep what a foreign sender wrote (the only file that knows cJSON).
 *
 * cJSON alone refuses or loses things that RFC 8259 allows and that candidates' answers do contain: \u0000, lone
 * surrogates, integers above 2^53, exponents beyond a double. Here they survive parse -> print unchanged. What a string is in
 * memory says base/json_text.h, whose json_plain() gives clean UTF-8 for SQL text, URLs and people.
 *
 * Limits: 1,000 levels of nesting. Text must be UTF-8 (RFC 8259 section 8.1). A repeated key: the last one wins.
 * Ownership: a tree is freed by json_free on its root only; strings and child pointers live as long as the tree.
 * Thread: a tree belongs to one thread at a time.
 */
#ifndef ATSYNC_LIB_JSON_H
#define ATSYNC_LIB_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "base/status.h"

struct json;

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* Whole text or nothing: ST_INVALID with a reason that never quotes the text ("not valid JSON near byte 17"). */
int json_parse(const char *text, size_t len, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
/* A tree that is only read: it lives in the arena with its texts, and is never freed by itself. ST_LIMIT: the arena has no room for it (arena_set_max);
 * it takes three to four times its text as a rule, and at most some forty times (of small numbers in an array). */
int json_parse_in(struct arena *arena, const char *text, size_t len, const struct json **ret,
                  struct errmsg *err) ATS_MUSTCHECK;
void json_free(struct json *j);        /* NULL is harmless */
void json_free_secret(struct json *j); /* overwrites its texts before; NULL is harmless */
struct json *json_copy(const struct json *j);

/* ---- reading: every function accepts NULL and answers NULL, 0 or false for it */
enum json_type json_type(const struct json *j);                       /* NULL counts as JSON_NULL */
const struct json *json_get(const struct json *obj, const char *key); /* member, or NULL */
const struct json *json_first(const struct json *container);          /* first element or member */
const struct json *json_next(const struct json *element);
size_t json_count(const struct json *container);
size_t json_bytes(const struct json *j); /* about as many as its text has: for limits */
const char *json_key(const struct json *member);
const char *json_str(const struct json *j); /* text of a string, else NULL */
const char *json_get_str(const struct json *obj,
                         const char *key);                   /* text of a string member that is not empty, else NULL */
bool json_get_bool(const struct json *obj, const char *key); /* true only for true */
bool json_num(const struct json *j, double *ret);            /* false if not a number, or not finite as a double */
bool json_get_i64(const struct json *obj, const char *key, int64_t *ret); /* exact integers only */
bool json_equal(const struct json *a,
                const struct json *b); /* member order does not matter, numbers by their text or value */

/* ---- building: children are given away; keys and texts are copied. Setting an existing key replaces it. */
struct json *json_object(void);
struct json *json_array(void);
struct json *json_string(const char *s); /* NULL makes null */
struct json *json_number(double n);      /* the same value as is read when it is printed; null if it is not finite */
struct json *json_integer(int64_t n);
struct json *json_number_text(const char *digits); /* keeps every digit; NULL if it is not JSON number syntax */
struct json *json_bool(bool b);
struct json *json_null(void);
void json_set(struct json *obj, const char *key, struct json *value); /* value NULL removes the key */
void json_set_str(struct json *obj, const char *key, const char *s);  /* s NULL sets null */
void json_set_int(struct json *obj, const char *key, int64_t n);
void json_set_bool(struct json *obj, const char *key, bool b);
void json_push(struct json *arr, struct json *value);
void json_add(struct json *obj, const char *key, struct json *value); /* a key that is known not to be there yet */

/* ---- printing (compact, no spaces). A full buf shows in out->failed. */
void json_print(const struct json *j, struct buf *out); /* as received, \u0000 and lone surrogates escaped again */
void json_print_canonical(const struct json *j, struct buf *out); /* members sorted by key: equal values print equal */
/* For jsonb columns: U+0000, lone surrogates become U+FFFD, numbers beyond PostgreSQL's numeric become strings. */
void json_print_plain(const struct json *j, struct buf *out);
void json_print_pretty(const struct json *j, struct buf *out); /* two spaces, for people */
char *json_text(const struct json *j); /* json_print as a new string (caller: mem_free); never NULL */

/* Wrapped, and back (base/json_text.h). */
void json_print_wrapped(const struct json *j, struct buf *out);
int json_parse_unwrap(const char *text, size_t len, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
/* The same piece by piece, for who builds the processor's own values. */
const char *json_exact_digits(const struct json *j); /* of a number that a double cannot hold; else NULL */
struct json *json_unwrapped(const char *s);          /* a string, or the number that was wrapped in it */

#endif
