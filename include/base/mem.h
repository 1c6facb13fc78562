/*
 * mem - allocation with one stated policy, and arenas.
 *
 * Policy: these functions never return NULL. When the system has no memory left the process says so on stderr and
 * ends with status 1; everything acknowledged is in the database, and the service manager starts a new process. What a
 * peer can make grow (bodies, answers, queues) never gets here unbounded: it lives in a struct buf or a counted queue
 * with a maximum, and reaching that is an ordinary error.
 *
 * Thread: all functions are thread-safe, except that one arena belongs to one thread at a time.
 */
#ifndef ATSYNC_BASE_MEM_H
#define ATSYNC_BASE_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

ATS_NONNULL void *mem_alloc(size_t size);               /* uninitialised; size 0 counts as 1 */
ATS_NONNULL void *mem_zalloc(size_t size);              /* zeroed */
ATS_NONNULL void *mem_array(size_t count, size_t size); /* zeroed; an overflowing product ends the process */
ATS_NONNULL void *mem_grow(void *old, size_t count,
                           size_t size); /* realloc with overflow check; new part uninitialised */
char *mem_strdup(const char *s);         /* NULL gives NULL */
ATS_NONNULL char *mem_strndup(const char *s, size_t len);
ATS_NONNULL char *mem_printf(const char *fmt, ...) ATS_PRINTF(1, 2);
void mem_free(void *p);              /* NULL is harmless */
void mem_wipe(void *p, size_t size); /* overwrites in a way the compiler keeps */
void mem_free_secret(char *s);       /* wipes a string, then frees it; NULL is harmless */
/* The same end, for a library's function that fails for lack of memory only. */
ATS_NORETURN void mem_exhausted(void);

/* From now on a crash of this process leaves no core, which would hold secrets and answers of people. Only the soft
 * limit is lowered: prlimit(1) raises it again for who looks for a fault. */
void mem_forbid_core(void);

/* The memory of one job: allocate freely, free once. */
struct arena;
ATS_NONNULL struct arena *arena_new(void);
void arena_free(struct arena *a);                           /* NULL is harmless */
void arena_free_secret(struct arena *a);                    /* wipes all of it before; NULL is harmless */
void arena_reset(struct arena *a);                          /* forgets everything, keeps the first block */
ATS_NONNULL void *arena_take(struct arena *a, size_t size); /* as arena_alloc, but with whatever was there before */
ATS_NONNULL void *arena_alloc(struct arena *a,
                              size_t size);         /* zeroed, aligned for any type; lives as long as the arena */
char *arena_strdup(struct arena *a, const char *s); /* NULL gives NULL */
ATS_NONNULL char *arena_strndup(struct arena *a, const char *s, size_t len);
ATS_NONNULL char *arena_printf(struct arena *a, const char *fmt, ...) ATS_PRINTF(2, 3);
ATS_NONNULL char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) ATS_PRINTF(2, 0);
size_t arena_bytes(const struct arena *a); /* how much memory it has taken so far */
/* What others can make large asks before it takes (json_parse_in does): arena_alloc itself knows no limit. SIZE_MAX: none, as in a new one. */
void arena_set_max(struct arena *a, size_t bytes);
bool arena_has_room(const struct arena *a, size_t size);

#endif
