/*
 * thread - starting the daemon's threads and letting them wait, the same way everywhere.
 */
#ifndef ATSYNC_SERVICE_THREAD_H
#define ATSYNC_SERVICE_THREAD_H

#include <pthread.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"

/* Signals belong to the main thread: all are blocked in the new one. name: at most 15 characters. ST_IO if the system
 * has no thread left. */
int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg, struct errmsg *err) ATS_MUSTCHECK;

/* A condition whose waits are not disturbed by changes of the wall clock. */
void thread_cond_init(pthread_cond_t *cond);
/* Waits at most wait_ms; less than 0: for as long as it takes. May end early, as all conditions may. */
void thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t wait_ms);

#endif
