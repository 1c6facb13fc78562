#include "service/thread.h"

#include <signal.h>
#include <time.h>

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg, struct errmsg *err)
{
    sigset_t all, before;
    int rc;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(ret, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        return err_set(err, ST_IO, "cannot start the thread %s: %s", name, strerror(rc));
    }
    (void)pthread_setname_np(*ret, name);
    return ST_OK;
}

void thread_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
}

void thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t wait_ms)
{
    struct timespec until;

    if (wait_ms < 0) {
        (void)pthread_cond_wait(cond, mutex);
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(cond, mutex, &until);
}
