#include "base/mem.h"

#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    ARENA_BLOCK_BYTES = 2048, /* most arenas are of one call or one candidate, and hundreds of them live at once */
    ARENA_BLOCK_MAX_BYTES = 1024 * 1024, /* doubling stops here: what one job wastes stays small */
};

/* No allocation, no stdio and no atexit handlers: none of them can be trusted now. */
void mem_exhausted(void)
{
    static const char why[] = "level=error msg=\"out of memory, the process ends; nothing acknowledged is lost\"\n";
    ssize_t n = write(STDERR_FILENO, why, sizeof why - 1);

    (void)n;
    _exit(1);
}

static size_t mem_product(size_t count, size_t size)
{
    size_t product;

    if (__builtin_mul_overflow(count, size, &product))
        mem_exhausted();
    return product;
}

void *mem_alloc(size_t size)
{
    void *p = malloc(size > 0 ? size : 1);

    if (p == NULL)
        mem_exhausted();
    return p;
}

void *mem_zalloc(size_t size)
{
    return mem_array(1, size);
}

void *mem_array(size_t count, size_t size)
{
    size_t bytes = mem_product(count, size);
    void *p = calloc(1, bytes > 0 ? bytes : 1);

    if (p == NULL)
        mem_exhausted();
    return p;
}

void *mem_grow(void *old, size_t count, size_t size)
{
    size_t bytes = mem_product(count, size);
    void *p = realloc(old, bytes > 0 ? bytes : 1);

    if (p == NULL)
        mem_exhausted();
    return p;
}

char *mem_strdup(const char *s)
{
    return s != NULL ? mem_strndup(s, strlen(s)) : NULL;
}

char *mem_strndup(const char *s, size_t len)
{
    char *copy;

    if (len == SIZE_MAX)
        mem_exhausted();
    copy = mem_alloc(len + 1);
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    char *text;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        mem_exhausted();
    text = mem_alloc((size_t)n + 1); /* of its size at once: vasprintf() grows, and leaves what it had there behind */
    va_start(ap, fmt);
    (void)vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

void mem_free(void *p)
{
    free(p);
}

void mem_wipe(void *p, size_t size)
{
    if (size > 0)
        explicit_bzero(p, size);
}

void mem_free_secret(char *s)
{
    if (s != NULL)
        mem_wipe(s, strlen(s));
    free(s);
}

/* 1 and not 0: a core_pattern that is a program gets the core whatever the limit is, unless the limit is 1. */
void mem_forbid_core(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max >= 1) {
        limit.rlim_cur = 1;
        (void)setrlimit(RLIMIT_CORE, &limit);
    }
}

struct arena_block {
    struct arena_block *next; /* the block before this one; NULL for the first */
    size_t size;              /* of bytes[] */
    size_t used;
    _Alignas(max_align_t) unsigned char bytes[];
};

struct arena {
    struct arena_block *current;
    size_t next_size; /* of the next ordinary block */
    size_t bytes;     /* of all blocks */
    size_t max_bytes;
};

static struct arena_block *arena_block_new(size_t size, struct arena_block *next)
{
    struct arena_block *block;

    if (size > SIZE_MAX - sizeof *block)
        mem_exhausted();
    block = mem_alloc(sizeof *block + size);
    block->next = next;
    block->size = size;
    block->used = 0;
    return block;
}

struct arena *arena_new(void)
{
    struct arena *a = mem_alloc(sizeof *a);

    a->current = arena_block_new(ARENA_BLOCK_BYTES, NULL);
    a->next_size = 2 * (size_t)ARENA_BLOCK_BYTES;
    a->bytes = a->current->size;
    a->max_bytes = SIZE_MAX;
    return a;
}

void arena_free(struct arena *a)
{
    if (a == NULL)
        return;
    arena_reset(a);
    mem_free(a->current);
    mem_free(a);
}

void arena_free_secret(struct arena *a)
{
    struct arena_block *block;

    if (a == NULL)
        return;
    block = a->current; /* there is always one */
    do {
        mem_wipe(block->bytes, block->size); /* also what was there before a reset */
        block = block->next;
    } while (block != NULL);
    arena_free(a);
}

void arena_reset(struct arena *a)
{
    while (a->current->next != NULL) {
        struct arena_block *block = a->current;

        a->current = block->next;
        mem_free(block);
    }
    a->current->used = 0;
    a->next_size = 2 * (size_t)ARENA_BLOCK_BYTES;
    a->bytes = a->current->size;
}

/* A block that surely holds `size` bytes. The rest of the block before it is given up, at most half of it is lost on
 * average, and it keeps allocation to one comparison. */
static void arena_add_block(struct arena *a, size_t size)
{
    size_t block_size = size > a->next_size ? size : a->next_size;

    a->current = arena_block_new(block_size, a->current);
    a->bytes += block_size;
    if (a->next_size < ARENA_BLOCK_MAX_BYTES)
        a->next_size *= 2;
}

void *arena_take(struct arena *a, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    void *p;

    if (size > SIZE_MAX - align)
        mem_exhausted();
    size = size > 0 ? (size + align - 1) / align * align : align;
    if (size > a->current->size - a->current->used)
        arena_add_block(a, size);
    p = a->current->bytes + a->current->used;
    a->current->used += size;
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    return memset(arena_take(a, size), 0, size);
}

char *arena_strdup(struct arena *a, const char *s)
{
    return s != NULL ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *copy;

    if (len == SIZE_MAX)
        mem_exhausted();
    copy = arena_take(a, len + 1);
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return text;
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    char *text;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        mem_exhausted();
    text = arena_take(a, (size_t)n + 1);
    (void)vsnprintf(text, (size_t)n + 1, fmt, ap);
    return text;
}

size_t arena_bytes(const struct arena *a)
{
    return a->bytes;
}

void arena_set_max(struct arena *a, size_t bytes)
{
    a->max_bytes = bytes;
}

bool arena_has_room(const struct arena *a, size_t size)
{
    return a->bytes <= a->max_bytes && size <= a->max_bytes - a->bytes;
}
