/*
 * fault - named points at which a test build crashes on demand, as kill -9 would: no destructor runs, nothing is
 * flushed, no connection is closed politely. In a build without FAULTS=1 a point is nothing at all.
 *
 *     FAULT_POINT("claimed");     ATSYNC_FAULT=claimed crashes at the first passing, ATSYNC_FAULT=claimed:3 at the third,
 *                                 ATSYNC_FAULT=claimed:3:stop is stopped there, until it gets SIGCONT
 *
 * The names stand in the program as "fault-point:NAME", so that a test finds all of them and fails for one that it
 * never reached. Any thread.
 */
#ifndef ATSYNC_BASE_FAULT_H
#define ATSYNC_BASE_FAULT_H

#ifdef ATSYNC_FAULTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAULT_EXIT_STATUS = 137 }; /* as a shell reports kill -9 */

static inline void fault_point(const char *name, atomic_ulong *passed)
{
    const char *wanted = getenv("ATSYNC_FAULT");
    size_t len = strlen(name);
    unsigned long nth = 1;
    char *rest = NULL;

    if (!wanted || strncmp(wanted, name, len) != 0 || (wanted[len] != '\0' && wanted[len] != ':')) {
        return;
    }
    if (wanted[len] == ':') {
        nth = strtoul(wanted + len + 1, &rest, 10);
    }
    if (atomic_fetch_add(passed, 1) + 1 != nth) {
        return;
    }
    if (rest && strcmp(rest, ":stop") == 0) {
        /* This thread stops here; with kill(getpid()) it would run on until another one took the signal. */
        (void)raise(SIGSTOP);
    } else {
        _exit(FAULT_EXIT_STATUS);
    }
}

#define FAULT_POINT(name)                                                                                              \
    do {                                                                                                               \
        static const char fault_name_[] = "fault-point:" name;                                                         \
        static atomic_ulong fault_passed_;                                                                             \
                                                                                                                       \
        fault_point(fault_name_ + sizeof "fault-point:" - 1, &fault_passed_);                                          \
    } while (0)

#else

#define FAULT_POINT(name) ((void)0)

#endif

#endif
