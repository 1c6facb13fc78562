/*
 * message - sentences for people out of what an ATS or jq said, without secrets and without what a candidate answered.
 *
 * Thread: a struct redaction belongs to one thread.
 */
#ifndef ATSYNC_CONNECTOR_MESSAGE_H
#define ATSYNC_CONNECTOR_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "lib/json.h"

enum { MESSAGE_MAX_CHARS = 200 };

/* What the ATS says went wrong: the first of message, error.message, error, detail, title, errors[0].message … that is
 * a text; of a list its first element. NULL if there is none; lives as long as the body. */
const char *message_of_body(const struct json *body);

/* Texts that must not be shown. Secrets are not copied: they must outlive the redaction. redaction_clear frees the
 * list. */
struct redaction {
    struct redacted {
        const char *text;
        size_t len;
        const char *instead;
    } * items;
    size_t count;
    bool is_full;        /* there were more answers than can be looked for */
    struct arena *arena; /* for texts made here */
};
void redaction_init(struct redaction *r, struct arena *arena);
void redaction_clear(struct redaction *r);
void redaction_add_secret(struct redaction *r, const char *text); /* shown as ***; NULL and "" add nothing */
/* All texts and numbers in there that have over 3 characters, and their lines, shown as "…". With over 2,000 of them
 * nothing is shown but "…". */
void redaction_add_answers(struct redaction *r, const struct json *value);

/* One line of clean UTF-8, redacted first, then cut to max_chars characters (a cut shows as "…"). Lives in the arena.
 */
const char *message_clean(const struct redaction *r, const char *text, size_t max_chars);

/*
 * jq's words about an error at run time, without the values that it quotes: what stands in parentheses, and quoted keys
 * that are no text of the program itself ("string (\"abc\") and number (1) cannot be added" -> "string (…) and number
 * (…) cannot be added").
 */
void message_of_jq(const char *words, const char *program, struct buf *out);

#endif
