/*
 * replica - a primary with a synchronous standby of the program's own, in the place of the harness' database: for what has to be lost and
 * taken over. Not for tests that do not mind which server they have.
 *
 * One pair at a time. Functions fail the running test by themselves; those that return a process only start pg.sh.
 */
#ifndef ATSYNC_TESTS_REPLICA_H
#define ATSYNC_TESTS_REPLICA_H

#include <sys/types.h>

#include "lib/harness.h"

/* Before anything else of the test: h->conninfo names both servers from then on. */
void replica_start(struct harness *h);
int replica_teardown(void **state); /* of the test, in the place of harness_teardown */

/* As a crash of the machine would, and the standby in its place: who waits for pg.sh decides what happens meanwhile. */
pid_t replica_kill_primary(void);
pid_t replica_promote(void);
/* Both, one after the other. */
void replica_fail_over(void);
const char *replica_standby_port(void);

/* The server in use: the primary, or after a failover the standby that took its place. */
void replica_stop(const char *mode); /* "fast" or "immediate" */
void replica_start_again(void);

#endif
