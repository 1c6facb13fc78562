/*
 * leftovers - preloaded into a program (LD_PRELOAD), looks for secrets in each block of memory that the program or one of its libraries
 * gives back, and tells who gave it back. LEFTOVERS names a file of lines "NAME HEX": what to look for. LEFTOVERS_REPORT names the file
 * that gets a line for each new way to such a block:
 *
 *     NAME <tab> OBJECT <tab> BYTES <tab> OBJECT+OFFSET OBJECT+OFFSET …
 *
 * The first OBJECT, a program or shared library, is the innermost caller that is not the C library. Blocks are overwritten after they
 * were looked at, so that what one owner forgets is not found again in the next one's.
 *
 * Compiled with LEFTOVERS_BY_SANITIZER it has the sanitizer's allocator call it, else it takes the place of free and realloc.
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SECRETS_MAX = 64,
    SECRET_MAX_BYTES = 256,
    NAME_MAX_BYTES = 64,
    FRAMES_MAX = 24,
    SEEN_MAX = 4096,
    LINE_MAX_BYTES = 4096,
    FREED = 0xdb
};

static struct secret {
    char name[NAME_MAX_BYTES];
    unsigned char bytes[SECRET_MAX_BYTES];
    size_t len;
} secrets[SECRETS_MAX];
static size_t secret_count;
static int report_fd = -1;
static atomic_bool ready;
static _Atomic uint64_t seen[SEEN_MAX];
static _Thread_local bool busy;

#ifdef LEFTOVERS_BY_SANITIZER
__attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                                                    void (*on_free)(const volatile void *));
__attribute__((weak)) size_t __sanitizer_get_allocated_size(const volatile void *p);
#else
void __libc_free(void *p);
void *__libc_malloc(size_t size);
#endif

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static bool is_system(const char *object)
{
    return strncmp(object, "libc.so", 7) == 0 || strncmp(object, "libasan.", 8) == 0 ||
           strncmp(object, "libtsan.", 8) == 0 || strncmp(object, "leftovers.", 10) == 0;
}

static bool is_new(uint64_t way)
{
    for (size_t i = 0; i < SEEN_MAX; i++) {
        uint64_t none = 0;

        if (atomic_compare_exchange_strong(&seen[i], &none, way))
            return true;
        if (none == way)
            return false;
    }
    return true;
}

static void tell(const struct secret *s, size_t size)
{
    void *frames[FRAMES_MAX];
    char line[LINE_MAX_BYTES], trace[LINE_MAX_BYTES / 2] = "";
    const char *owner = NULL;
    uint64_t way = 1469598103934665603u ^ (uint64_t)(s - secrets);
    size_t len = 0;
    int count = backtrace(frames, FRAMES_MAX), n;

    for (int i = 0; i < count; i++) {
        Dl_info info;
        const char *object;

        if (dladdr((char *)frames[i] - 1, &info) == 0 || info.dli_fname == NULL)
            continue;
        object = last_part(info.dli_fname);
        if (owner == NULL && is_system(object))
            continue;
        owner = owner != NULL ? owner : object;
        way = (way ^ (uint64_t)(uintptr_t)frames[i]) * 1099511628211u;
        n = snprintf(trace + len, sizeof trace - len, "%s%s+%#zx", len > 0 ? " " : "", object,
                     (size_t)((char *)frames[i] - 1 - (char *)info.dli_fbase));
        len = n > 0 && (size_t)n < sizeof trace - len ? len + (size_t)n : len;
        trace[len] = '\0';
    }
    if (!is_new(way))
        return;
    n = snprintf(line, sizeof line, "%s\t%s\t%zu\t%s\n", s->name, owner != NULL ? owner : "?", size, trace);
    if (n > 0 && write(report_fd, line, (size_t)n) < 0)
        abort();
}

static void look_at(void *p, size_t size)
{
    if (p == NULL || busy || !atomic_load_explicit(&ready, memory_order_acquire))
        return;
    busy = true;
    for (size_t i = 0; i < secret_count; i++) {
        if (size >= secrets[i].len && memmem(p, size, secrets[i].bytes, secrets[i].len) != NULL)
            tell(&secrets[i], size);
    }
    memset(p, FREED, size);
    busy = false;
}

static void read_secrets(const char *path)
{
    char name[NAME_MAX_BYTES], hex[2 * SECRET_MAX_BYTES + 1];
    FILE *f = fopen(path, "re");

    while (f != NULL && secret_count < SECRETS_MAX && fscanf(f, "%63s %512s", name, hex) == 2) {
        struct secret *s = &secrets[secret_count++];

        memcpy(s->name, name, sizeof name);
        for (const char *c = hex; c[0] != '\0' && c[1] != '\0'; c += 2) {
            const char pair[3] = {c[0], c[1], '\0'};

            s->bytes[s->len++] = (unsigned char)strtoul(pair, NULL, 16);
        }
    }
    if (f == NULL || secret_count == 0)
        abort();
    (void)fclose(f);
}

#ifdef LEFTOVERS_BY_SANITIZER
static void on_malloc(const volatile void *p, size_t size)
{
    (void)p;
    (void)size;
}

static void on_free(const volatile void *p)
{
    if (p != NULL)
        look_at((void *)(uintptr_t)p, __sanitizer_get_allocated_size(p));
}
#else
void free(void *p)
{
    if (p != NULL)
        look_at(p, malloc_usable_size(p));
    __libc_free(p);
}

/* Never in place: the block before is one that is given back. */
void *realloc(void *old, size_t size)
{
    size_t old_size = old != NULL ? malloc_usable_size(old) : 0;
    void *p;

    if (size == 0 && old != NULL) {
        free(old);
        return NULL;
    }
    p = __libc_malloc(size);
    if (p == NULL || old == NULL)
        return p;
    memcpy(p, old, old_size < size ? old_size : size);
    free(old);
    return p;
}
#endif

__attribute__((constructor)) static void begin(void)
{
    const char *what = getenv("LEFTOVERS"), *report = getenv("LEFTOVERS_REPORT");
    void *frame;

    if (what == NULL || report == NULL)
        return;
#ifdef LEFTOVERS_BY_SANITIZER
    if (__sanitizer_install_malloc_and_free_hooks == NULL)
        return; /* a program of somebody else, such as a shell */
#endif
    (void)backtrace(&frame, 1); /* loads what it needs now, and not when a block is given back */
    read_secrets(what);
    report_fd = open(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (report_fd < 0)
        abort();
#ifdef LEFTOVERS_BY_SANITIZER
    if (__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) == 0)
        abort();
#endif
    atomic_store_explicit(&ready, true, memory_order_release);
}
