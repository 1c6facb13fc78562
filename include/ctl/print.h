/*
 * print - answers for people and scripts: foreign text made harmless, tables, paragraphs.
 *
 * Pure but for print_width. On a terminal a table has aligned columns and a heading; elsewhere it is lines of
 * tab-separated cells without one, for cut and awk. Nothing here prints JSON: ctl_print_json.
 */
#ifndef ATSYNC_CTL_PRINT_H
#define ATSYNC_CTL_PRINT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "lib/json.h"

/*
 * Appends s so that it can neither move the cursor nor end a line or a cell: control characters (C0, DEL, C1) and those
 * that turn the direction of writing become \n, \t, \r, \xHH or \u{HHHH}, bytes that are not UTF-8 become \xHH. NULL
 * appends nothing.
 */
void print_escaped(const char *s, struct buf *out);
/* The same for a JSON text, in JSON's own way: such characters can stand only inside its strings, where \uHHHH means
 * the same. */
void print_escaped_json(const char *text, struct buf *out);
/* A value in quotes, or as JSON when it is not a text; escaped, and cut after max_chars characters with "…". */
void print_value(const struct json *value, size_t max_chars, struct buf *out);

struct column {
    const char *member; /* of the rows */
    const char *title;
    bool right; /* aligned to the right: numbers */
};
/* rows: an array of objects; null and missing members are "-" on a terminal and empty elsewhere. */
void print_table(const struct json *rows, const struct column *columns, size_t count, bool terminal, struct buf *out);
/* Words wrapped to lines of at most width characters, each with this indentation; foreign text is escaped. */
void print_wrapped(const char *text, size_t indent, size_t width, struct buf *out);

bool print_to_terminal(void); /* is standard output one? */
size_t print_width(void);     /* of that terminal; 80 if it does not tell */
size_t print_width_of(int fd);

#endif
