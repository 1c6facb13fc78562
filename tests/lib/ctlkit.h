/*
 * ctlkit - atsyncctl as people and scripts run it: to its end, or as a process of its own with its output in a pipe or
 * everything on a terminal.
 *
 * Same rules as harness.h.
 */
#ifndef ATSYNC_TESTS_CTLKIT_H
#define ATSYNC_TESTS_CTLKIT_H

#include "base/buf.h"
#include "lib/harness.h"

enum { CTL_ARGS_MAX = 16 };

/* Runs it with the configuration of d to its end, which must have this status; what it printed, errors too. */
const char *ctl(struct harness *h, const struct program *d, int expected, const char *const args[CTL_ARGS_MAX]);
#define CTL(h, d, expected, ...) ctl(h, d, expected, (const char *const[CTL_ARGS_MAX]){__VA_ARGS__})

void assert_has(const char *output, const char *part);
void assert_has_not(const char *output, const char *part);

struct child {
    pid_t pid;
    int fd;
    struct buf seen;
};
/* args: all of them, ended by NULL. A terminal has 60 columns. */
void child_start(struct harness *h, struct child *c, bool terminal, const char *const *args);
bool child_read(struct child *c, int wait_ms); /* reads what is there; false at the end */
void child_wait_for(struct child *c, const char *part);
void child_type(struct child *c, const char *text);
/* Reads to the end, which must have this status; everything that was printed. */
const char *child_end(struct harness *h, struct child *c, int expected);
const char *on_terminal(struct harness *h, int expected, const char *const *args);

#endif
