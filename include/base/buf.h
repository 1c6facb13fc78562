/*
 * buf - a growing byte buffer that is born with a maximum.
 *
 * Appending is sticky: after the maximum was reached every append is a no-op and `failed` stays true, so a builder
 * writes freely and checks once at the end. `data` is always NUL-terminated (when not NULL); the NUL is not counted.
 * Not thread-safe.
 */
#ifndef ATSYNC_BASE_BUF_H
#define ATSYNC_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

struct buf {
    char *data; /* NULL until the first append */
    size_t len;
    size_t cap;
    size_t max; /* bytes it may hold, without the NUL */
    bool failed;
    bool secret; /* memory is overwritten before it is given back */
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b); /* frees the bytes; the buf may be used again with the same maximum */
/* For secrets: neither growing nor buf_free() leaves a copy behind. */
void buf_init_secret(struct buf *b, size_t max);
void buf_reset(struct buf *b); /* length 0, failure forgotten, memory kept */
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_puts(struct buf *b, const char *s); /* NULL adds nothing */
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) ATS_PRINTF(2, 3);
/* Gives the bytes away (caller: mem_free) and empties the buf; never NULL. `failed` stays as it was: check it. */
char *buf_take(struct buf *b);
const char *buf_text(const struct buf *b); /* the text so far, "" when empty */

#endif
