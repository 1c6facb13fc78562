#include "service/notify.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "domain/backoff.h"
#include "lib/crypto.h"
#include "lib/db.h"
#include "service/thread.h"

enum { RECONNECT_MIN_MS = 500, LISTEN_TIMEOUT_MS = 10000 };

static const struct retry_policy reconnect_policy = {.base_ms = 500, .cap_ms = 30000};

struct notify {
    struct db *db;
    void (*wake)(void *ctx);
    void *ctx;
    int stop_fd;
    atomic_bool stopping;
    pthread_t thread;
    bool started;
};

struct notify *notify_new(const struct config *c, void (*wake)(void *ctx), void *ctx)
{
    struct notify *n = mem_zalloc(sizeof *n);
    char *name = mem_printf("atsyncd %s notify", c->instance);

    n->db = db_new(c->database.listen_conninfo ? c->database.listen_conninfo : c->database.conninfo, name);
    db_set_timeout(n->db, LISTEN_TIMEOUT_MS);
    mem_free(name);
    n->wake = wake;
    n->ctx = ctx;
    n->stop_fd = -1;
    return n;
}

/* Waits for the end or for the socket (timeout_ms -1: for as long as it takes); returns true if the socket has something. */
static bool wait_readable(const struct notify *n, int fd, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = n->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

    return poll(fds, fd >= 0 ? 2 : 1, timeout_ms) > 0 && fds[1].revents != 0;
}

/* Until the connection is lost or the end comes. */
static void listen_while_connected(struct notify *n, struct errmsg *err)
{
    int count = 0;

    while (!atomic_load(&n->stopping) && count >= 0) {
        if (!wait_readable(n, db_fd(n->db), -1)) {
            continue;
        }
        count = db_notifications(n->db, err);
        if (count > 0) {
            n->wake(n->ctx);
        }
    }
    db_disconnect(n->db);
}

static void *notify_main(void *arg)
{
    struct notify *n = arg;
    int64_t failures = 0;

    while (!atomic_load(&n->stopping)) {
        struct errmsg err = {{0}};
        uint32_t jitter;
        int st = db_listen(n->db, "atsync_wake", &err);

        if (st == ST_INVALID) { /* a pooler, or a conninfo that is none: no other try would end otherwise */
            log_info("what other daemons receive is found by polling", "reason", err.text, "hint",
                     "for wake-ups give a direct connection in database.listen_conninfo", NULL);
            (void)wait_readable(n, -1, -1);
            break;
        }
        if (st == ST_OK) {
            failures = 0;
            n->wake(n->ctx); /* for what was missed meanwhile */
            listen_while_connected(n, &err);
        }
        if (atomic_load(&n->stopping)) {
            break;
        }
        log_debug("not listening for other daemons", "error", err.text, NULL);
        crypto_random(&jitter, sizeof jitter);
        (void)wait_readable(n, -1, (int)(RECONNECT_MIN_MS + backoff_delay_ms(&reconnect_policy, ++failures, jitter)));
    }
    db_disconnect(n->db);
    return NULL;
}

int notify_start(struct notify *n, struct errmsg *err)
{
    int st;

    n->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->stop_fd < 0) {
        return err_set(err, ST_IO, "cannot create an eventfd: the limit of open files is reached");
    }
    st = thread_start(&n->thread, "notify", notify_main, n, err);
    n->started = st == ST_OK;
    return st;
}

void notify_stop(struct notify *n)
{
    static const uint64_t one = 1;

    atomic_store(&n->stopping, true);
    if (n->stop_fd >= 0) {
        ssize_t written = write(n->stop_fd, &one, sizeof one);

        (void)written; /* fails only if it is readable anyway */
    }
}

void notify_join(struct notify *n)
{
    if (n->started) {
        (void)pthread_join(n->thread, NULL);
        n->started = false;
    }
}

void notify_free(struct notify *n)
{
    if (!n) {
        return;
    }
    if (n->started) {
        notify_stop(n);
        notify_join(n);
    }
    if (n->stop_fd >= 0) {
        (void)close(n->stop_fd);
    }
    db_free(n->db);
    mem_free(n);
}
