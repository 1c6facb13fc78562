#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>

#include "base/mem.h"

enum { BUF_FIRST_BYTES = 128 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void buf_init_secret(struct buf *b, size_t max)
{
    buf_init(b, max);
    b->secret = true;
}

static void give_back(const struct buf *b)
{
    if (b->secret && b->data != NULL)
        mem_wipe(b->data, b->cap);
    mem_free(b->data);
}

void buf_free(struct buf *b)
{
    bool secret = b->secret;

    give_back(b);
    buf_init(b, b->max);
    b->secret = secret;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

/* Makes room for `more` bytes and the NUL, or fails for good. `cap` counts the NUL. */
static bool buf_reserve(struct buf *b, size_t more)
{
    size_t want;
    size_t cap;

    if (b->failed || more > b->max - b->len) {
        b->failed = true;
        return false;
    }
    want = b->len + more + 1;
    if (want <= b->cap)
        return true;
    cap = b->cap > 0 ? b->cap : BUF_FIRST_BYTES;
    while (cap < want)
        cap = cap > SIZE_MAX / 2 ? want : cap * 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    if (b->secret) { /* realloc() leaves what was in the old place */
        char *data = mem_alloc(cap);

        if (b->data != NULL)
            memcpy(data, b->data, b->len + 1);
        give_back(b);
        b->data = data;
    } else {
        b->data = mem_grow(b->data, cap, 1);
    }
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    bool fits = !b->failed && len < b->cap - b->len && len <= b->max - b->len;

    if (!fits && !buf_reserve(b, len))
        return;
    if (len > 0)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
    if (s != NULL)
        buf_add(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    if (b->failed || b->len + 2 > b->cap || b->len >= b->max) {
        buf_add(b, &c, 1);
        return;
    }
    b->data[b->len++] = c;
    b->data[b->len] = '\0';
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    size_t room = b->cap > b->len ? b->cap - b->len : 0;
    va_list ap;
    int n;

    if (b->failed)
        return;
    va_start(ap, fmt);
    n = vsnprintf(room > 0 ? b->data + b->len : NULL, room, fmt, ap);
    va_end(ap);
    if (n < 0)
        b->failed = true;
    if (n >= 0 && (size_t)n >= room && buf_reserve(b, (size_t)n)) {
        va_start(ap, fmt);
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    if (!b->failed)
        b->len += (size_t)n;
    else if (b->data != NULL)
        b->data[b->len] = '\0'; /* what did not fit was already begun behind the end */
}

char *buf_take(struct buf *b)
{
    char *data = b->data != NULL ? b->data : mem_strndup("", 0);

    b->data = NULL;
    b->len = 0;
    b->cap = 0;
    return data;
}

const char *buf_text(const struct buf *b)
{
    return b->data != NULL ? b->data : "";
}
