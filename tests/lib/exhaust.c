#include "lib/exhaust.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"

enum {
    WAY_CALLS = 9,    /* from here outwards: these functions, base/mem.c's, and some of their callers */
    WAYS_MAX = 20000, /* of one test program */
    PLACES_MAX = 1000000,
    STATUS_WENT_ON = 77,
    STATUS_NO_OUTPUT = 78,
};

static const char promised[] = "level=error msg=\"out of memory, the process ends; nothing acknowledged is lost\"\n";

static enum { IDLE, LOOKING, FAILING } mode;
static unsigned long allocations; /* of this run of the work */
static unsigned long fails_at;    /* FAILING: which one */
static unsigned long *places;     /* LOOKING: those that are made by a new way */
static size_t place_count;
static uint64_t ways[WAYS_MAX];
static size_t way_count;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool is_new_way(void)
{
    void *calls[WAY_CALLS];
    int count = backtrace(calls, WAY_CALLS);
    uint64_t way = text_hash64(calls, (size_t)count * sizeof *calls);

    for (size_t i = 0; i < way_count; i++) {
        if (ways[i] == way)
            return false;
    }
    if (way_count == WAYS_MAX)
        fail_msg("more than %d ways to an allocation", WAYS_MAX);
    ways[way_count++] = way;
    return true;
}

static bool fails_now(void)
{
    if (mode == IDLE)
        return false;
    allocations++;
    if (mode == FAILING)
        return allocations == fails_at;
    if (is_new_way() && place_count < PLACES_MAX)
        places[place_count++] = allocations;
    return false;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __real_realloc(old, size);
}

/* In the child: nothing comes back from it but what it says and how it ends. */
__attribute__((noreturn)) static void work_without(unsigned long place, int said_fd, void (*work)(void *ctx), void *ctx)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(said_fd, STDERR_FILENO) < 0)
        _exit(STATUS_NO_OUTPUT);
    allocations = 0;
    fails_at = place;
    mode = FAILING;
    work(ctx);
    _exit(STATUS_WENT_ON);
}

static void fail_one(unsigned long place, void (*work)(void *ctx), void *ctx)
{
    char said[4096];
    size_t len = 0;
    ssize_t n;
    int status = 0;
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        work_without(place, fds[1], work, ctx);
    (void)close(fds[1]);
    while ((n = read(fds[0], said + len, sizeof said - 1 - len)) > 0 || (n < 0 && errno == EINTR))
        len += n > 0 ? (size_t)n : 0;
    said[len] = '\0';
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_WENT_ON)
        fail_msg("allocation %lu failed, and the work went on: %s", place, said);
    /* the log may have said something before, nobody anything afterwards */
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || len < sizeof promised - 1 ||
        strstr(said, promised) != said + len - (sizeof promised - 1))
        fail_msg("allocation %lu failed, and the process ended with %s %d: %s", place,
                 WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
                 said);
}

/* What a process leaves that ends in the middle is no leak, but valgrind makes it one, and an exit status of its own of that. */
static bool is_under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return preloaded != NULL && strstr(preloaded, "vgpreload") != NULL;
}

unsigned exhaust_each(void (*work)(void *ctx), void *ctx)
{
    bool only_look = is_under_valgrind();
    unsigned failed = 0;

    work(ctx); /* what is made once and kept is there afterwards */
    if (places == NULL)
        places = __real_malloc(PLACES_MAX * sizeof *places);
    assert_non_null(places);
    place_count = 0;
    allocations = 0;
    mode = LOOKING;
    work(ctx);
    mode = IDLE;
    for (size_t i = 0; i < place_count; i++, failed++) {
        if (!only_look)
            fail_one(places[i], work, ctx);
    }
    return failed;
}
