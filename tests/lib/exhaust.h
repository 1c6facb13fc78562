/*
 * exhaust - the same work again and again, each time with another allocation that fails as if the system had no memory left. What
 * base/mem.h promises of that is what the work must show: the process ends with status 1, says so, and does nothing more.
 *
 * For programs that are linked with --wrap for malloc, calloc and realloc (the Makefile's EXHAUST_LDFLAGS), so that every
 * allocation of our own objects comes by here; those inside shared libraries do not. One thread only.
 */
#ifndef ATSYNC_TESTS_EXHAUST_H
#define ATSYNC_TESTS_EXHAUST_H

/*
 * Runs the work twice as it is, the second time to see where it allocates, then once in a child process for each allocation that is made
 * by a way through the program (the last few calls) by which none has failed yet in this test program. The work must do the same
 * each time. Fails the running test when a child does anything else than what is promised. Returns how many allocations failed.
 * Under valgrind it only looks.
 */
unsigned exhaust_each(void (*work)(void *ctx), void *ctx);

#endif
