#include "lib/crowd.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "lib/harness.h"
#include "lib/tls.h"

enum {
    TURN_MS = 5,
    PER_SECOND = 2000,
    PIECE_BYTES = 64 * 1024,
    PIECES_PER_TURN = 4, /* of one connection */
    ANSWER_WAIT_S = 10,
    LATENCIES_MAX = 100000,
    LOOK_EVERY = 4, /* requests between two looks at the daemon */
};

/* ---------------------------------------------------------------- the crowd */

struct member {
    int fd; /* -1: none */
    int64_t opened_ms;
    int64_t drip_at_ms;
    const struct crowd_text *text;
    size_t said;    /* of text */
    size_t dripped; /* of drip */
    bool half;
};

struct run {
    const struct crowd *crowd;
    struct member *members;
    struct pollfd *polled;
    struct crowd_figures figures;
    unsigned opened_in_all; /* chooses addresses and texts */
};

static int member_connect(const struct crowd *crowd, unsigned number)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)crowd->port)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (crowd->addresses > 0) {
        from.sin_addr.s_addr = htonl(0x7F000101U + number % crowd->addresses);
        if (bind(fd, (const struct sockaddr *)&from, sizeof from) != 0)
            goto failed;
    }
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS)
        return fd;
failed:
    (void)close(fd);
    return -1;
}

static void member_open(struct run *run, struct member *m, int64_t now_ms)
{
    const struct crowd *crowd = run->crowd;
    unsigned number = run->opened_in_all++;

    m->fd = member_connect(crowd, number);
    if (m->fd < 0) {
        run->figures.failed++;
        return;
    }
    m->opened_ms = now_ms;
    m->drip_at_ms = now_ms + crowd->drip_ms;
    m->text = crowd->text_count > 0 ? &crowd->texts[number % crowd->text_count] : NULL;
    m->said = m->dripped = 0;
    m->half = false;
    run->figures.opened++;
}

static void member_close(struct run *run, struct member *m, bool by_server, int64_t now_ms)
{
    if (by_server) {
        run->figures.ended++;
        if (now_ms - m->opened_ms > run->figures.longest_ms)
            run->figures.longest_ms = now_ms - m->opened_ms;
    }
    (void)close(m->fd);
    m->fd = -1;
}

/* False: the connection is over. */
static bool say(struct run *run, const struct member *m, const char *bytes, size_t len, size_t *said)
{
    for (int i = 0; i < PIECES_PER_TURN && *said < len; i++) {
        size_t piece = len - *said < PIECE_BYTES ? len - *said : PIECE_BYTES;
        ssize_t n = send(m->fd, bytes + *said, piece, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR || errno == ENOTCONN;
        *said += (size_t)n;
        run->figures.sent_bytes += (uint64_t)n;
    }
    return true;
}

static void hang_up(struct run *run, struct member *m, bool reset, int64_t now_ms)
{
    const struct linger at_once = {.l_onoff = 1};

    if (reset)
        (void)setsockopt(m->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    member_close(run, m, false, now_ms);
}

static bool member_drip(struct run *run, struct member *m, int64_t now_ms)
{
    const struct crowd *crowd = run->crowd;

    for (int i = 0; i < PIECES_PER_TURN && now_ms >= m->drip_at_ms; i++) {
        if (!say(run, m, crowd->drip, crowd->drip_len, &m->dripped))
            return false;
        if (m->dripped < crowd->drip_len)
            return true;
        m->dripped = 0;
        m->drip_at_ms = now_ms + crowd->drip_ms;
    }
    return true;
}

static void member_turn(struct run *run, struct member *m, int64_t now_ms)
{
    const struct crowd *crowd = run->crowd;

    if (m->text != NULL && !say(run, m, m->text->bytes, m->text->len, &m->said)) {
        member_close(run, m, true, now_ms);
        return;
    }
    if (m->text != NULL && m->said < m->text->len)
        return;
    switch (crowd->then) {
    case CROWD_STAYS:
        if (crowd->drip != NULL && !member_drip(run, m, now_ms))
            member_close(run, m, true, now_ms);
        break;
    case CROWD_REPEATS:
        m->said = 0;
        break;
    case CROWD_ENDS_SENDING:
        if (!m->half)
            (void)shutdown(m->fd, SHUT_WR);
        m->half = true;
        break;
    case CROWD_HANGS_UP:
        hang_up(run, m, false, now_ms);
        break;
    case CROWD_BREAKS:
        hang_up(run, m, true, now_ms);
        break;
    }
}

/* What the server says; who does not take answers sees only that it is over. */
static void member_look(struct run *run, struct member *m, short events, int64_t now_ms)
{
    char scrap[16 * 1024];
    ssize_t n = 1;

    if (run->crowd->takes_answers && (events & POLLIN) != 0) {
        do
            n = recv(m->fd, scrap, sizeof scrap, MSG_DONTWAIT);
        while (n > 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            n = 1;
    }
    if (n <= 0 || (events & (POLLHUP | POLLERR | POLLRDHUP)) != 0)
        member_close(run, m, true, now_ms);
}

static unsigned look(struct run *run, int64_t now_ms)
{
    unsigned n = run->crowd->connections;
    unsigned open = 0;

    for (unsigned i = 0; i < n; i++) {
        short events = run->crowd->takes_answers ? POLLIN | POLLRDHUP : POLLRDHUP;

        run->polled[i] = (struct pollfd){.fd = run->members[i].fd, .events = events};
    }
    (void)poll(run->polled, n, TURN_MS);
    for (unsigned i = 0; i < n; i++) {
        if (run->members[i].fd < 0)
            continue;
        open++;
        if (run->polled[i].revents != 0)
            member_look(run, &run->members[i], run->polled[i].revents, now_ms);
    }
    return open;
}

static void open_more(struct run *run, unsigned *allowed, int64_t now_ms)
{
    for (unsigned i = 0; i<run->crowd->connections && * allowed> 0; i++) {
        if (run->members[i].fd >= 0)
            continue;
        member_open(run, &run->members[i], now_ms);
        --*allowed;
    }
}

struct crowd_figures crowd_run(const struct crowd *crowd, int64_t duration_ms, int64_t patience_ms)
{
    struct run run = {.crowd = crowd,
                      .members = mem_array(crowd->connections, sizeof *run.members),
                      .polled = mem_array(crowd->connections, sizeof *run.polled)};
    unsigned per_second = crowd->per_second_max > 0 ? crowd->per_second_max : PER_SECOND;
    int64_t begun_ms = clock_mono_ms(), now_ms = begun_ms;
    unsigned open = 1;

    for (unsigned i = 0; i < crowd->connections; i++)
        run.members[i].fd = -1;
    while (now_ms - begun_ms < duration_ms || (open > 0 && now_ms - begun_ms < duration_ms + patience_ms)) {
        if (now_ms - begun_ms < duration_ms) {
            unsigned due = (unsigned)((now_ms - begun_ms + TURN_MS) * per_second / 1000);
            unsigned allowed = due > run.opened_in_all ? due - run.opened_in_all : 0;

            open_more(&run, &allowed, now_ms);
        }
        for (unsigned i = 0; i < crowd->connections; i++) {
            if (run.members[i].fd >= 0)
                member_turn(&run, &run.members[i], now_ms);
        }
        open = look(&run, now_ms);
        now_ms = clock_mono_ms();
    }
    for (unsigned i = 0; i < crowd->connections; i++) {
        if (run.members[i].fd < 0)
            continue;
        run.figures.left++;
        (void)close(run.members[i].fd);
    }
    mem_free(run.members);
    mem_free(run.polled);
    return run.figures;
}

/* ---------------------------------------------------------------- the good client */

struct good_client {
    struct good_config config;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t counted;
    struct good_figures figures;
    int64_t *latencies_us;
    unsigned latency_count;
    unsigned stored;
    int64_t since_ms;
    int64_t processor_since_ms;

    /* the thread's own */
    unsigned number;
    int kept_fd;
    struct tls_client *kept_tls;
    int64_t kept_used_us;
};

static int good_connect(const struct good_client *g)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)g->config.port)};
    const struct timeval patience = {.tv_sec = ANSWER_WAIT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1; /* else the end of a handshake and what follows wait for each other, 40 ms */

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* A signed event that nobody has sent before. */
static char *good_request(struct good_client *g)
{
    char *body = mem_strdup(g->config.event);
    char *at = strstr(body, g->config.mark);
    int digits = (int)strlen(g->config.mark);
    char *signature, *request;
    char number[32];

    (void)snprintf(number, sizeof number, "%0*u", digits, g->number++);
    memcpy(at, number, (size_t)digits);
    signature = popp_signature(g->config.secret, body, strlen(body));
    request = mem_printf("POST /webhooks/popp HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                         "x-signature: %s\r\nContent-Length: %zu\r\n\r\n%s",
                         signature, strlen(body), body);
    mem_free(signature);
    mem_free(body);
    return request;
}

static bool is_whole(const char *text, size_t len)
{
    const char *end = strstr(text, "\r\n\r\n");
    const char *length = strcasestr(text, "\r\nContent-Length: ");

    return end != NULL && length != NULL && length < end &&
           len >= (size_t)(end - text) + 4 + (size_t)strtoul(length + 18, NULL, 10);
}

/* The status; 0: there was no whole answer. */
static int plain_status(int fd, const char *request, char *text, size_t room)
{
    size_t sent = 0, len = strlen(request), got = 0;

    text[0] = '\0';
    while (sent < len) {
        ssize_t n = send(fd, request + sent, len - sent, MSG_NOSIGNAL);

        if (n <= 0)
            return 0;
        sent += (size_t)n;
    }
    while (!is_whole(text, got)) {
        ssize_t n = recv(fd, text + got, room - 1 - got, 0);

        if (n <= 0)
            return 0;
        got += (size_t)n;
        text[got] = '\0';
    }
    return text_starts(text, "HTTP/1.1 ") ? (int)strtol(text + 9, NULL, 10) : 0;
}

static void good_close_kept(struct good_client *g)
{
    if (g->kept_tls != NULL)
        tls_client_free(g->kept_tls);
    else if (g->kept_fd >= 0)
        (void)close(g->kept_fd);
    g->kept_tls = NULL;
    g->kept_fd = -1;
}

/* One request over one of the two kinds of connection. */
static int good_send(struct good_client *g, bool kept, const char *request, char *text, size_t room,
                     bool *ret_reconnect)
{
    struct tls_client *tls = kept ? g->kept_tls : NULL;
    int fd = kept ? g->kept_fd : -1;
    int status = 0;

    if (fd < 0) {
        fd = good_connect(g);
        *ret_reconnect = kept && g->number > 2;
        if (fd >= 0 && g->config.tls && (tls = tls_client_try_new(fd)) == NULL)
            fd = -1;
    }
    if (fd >= 0)
        status =
            g->config.tls ? tls_client_try_status(tls, request, text, room) : plain_status(fd, request, text, room);
    if (!kept || status == 0) {
        if (tls != NULL)
            tls_client_free(tls);
        else if (fd >= 0)
            (void)close(fd);
        tls = NULL;
        fd = -1;
    }
    if (kept) {
        g->kept_fd = fd;
        g->kept_tls = tls;
    }
    return status;
}

static int64_t memory_kib(int pid)
{
    char path[64], line[128];
    long kib = 0;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/status", pid);
    f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    }
    if (f != NULL)
        (void)fclose(f);
    return kib;
}

static int64_t processor_ms(int pid)
{
    char path[64], line[512];
    unsigned long user = 0, system = 0;
    const char *after;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fgets(line, sizeof line, f) != NULL && (after = strrchr(line, ')')) != NULL)
        (void)sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    (void)fclose(f);
    return (int64_t)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

static unsigned descriptors(int pid)
{
    char path[64];
    unsigned count = 0;
    DIR *dir;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", pid);
    dir = opendir(path);
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

static void good_count(struct good_client *g, int status, const char *text, bool kept, bool reconnect, int64_t us)
{
    struct good_figures *f = &g->figures;

    (void)pthread_mutex_lock(&g->mutex);
    f->reconnects += reconnect;
    g->stored += strstr(text, "{\"status\":\"stored\"}") != NULL;
    if (status == 200)
        f->answers++;
    else if (f->failures++ == 0)
        (void)snprintf(f->failure, sizeof f->failure, "%s connection, after %d ms: %d %.150s", kept ? "kept" : "new",
                       (int)(us / 1000), status, text);
    if (g->latency_count < LATENCIES_MAX)
        g->latencies_us[g->latency_count++] = us;
    if (g->number % LOOK_EVERY == 0) {
        int64_t kib = memory_kib(g->config.pid);
        unsigned fds = descriptors(g->config.pid);

        f->memory_max_kib = kib > f->memory_max_kib ? kib : f->memory_max_kib;
        f->descriptors_max = fds > f->descriptors_max ? fds : f->descriptors_max;
    }
    (void)pthread_cond_broadcast(&g->counted);
    (void)pthread_mutex_unlock(&g->mutex);
}

static void *good_main(void *arg)
{
    struct good_client *g = arg;
    char text[4096];

    for (int64_t due_us = clock_mono_us(); !atomic_load(&g->stop); due_us += g->config.interval_ms * 1000) {
        int64_t now_us = clock_mono_us();
        bool kept = g->number % 2 == 0, reconnect = false, rested = false;
        char *request;
        int status;

        if (due_us > now_us) {
            const struct timespec wait = {.tv_nsec = (long)(due_us - now_us) * 1000};

            (void)nanosleep(&wait, NULL);
        } else {
            due_us = now_us; /* an answer took long: the rate is not made up for */
        }
        request = good_request(g);
        text[0] = '\0';
        now_us = clock_mono_us();
        if (kept && g->kept_fd >= 0 && now_us - g->kept_used_us > g->config.rest_max_ms * 1000LL) {
            good_close_kept(g); /* a busy machine has kept us from it */
            rested = true;
        }
        status = good_send(g, kept, request, text, sizeof text, &reconnect);
        reconnect = reconnect && !rested;
        if (kept)
            g->kept_used_us = clock_mono_us();
        good_count(g, status, text, kept, reconnect, clock_mono_us() - now_us);
        mem_free(request);
    }
    good_close_kept(g);
    return NULL;
}

struct good_client *good_start(const struct good_config *config)
{
    struct good_client *g = mem_zalloc(sizeof *g);

    g->config = *config;
    g->kept_fd = -1;
    g->latencies_us = mem_array(LATENCIES_MAX, sizeof *g->latencies_us);
    (void)pthread_mutex_init(&g->mutex, NULL);
    (void)pthread_cond_init(&g->counted, NULL);
    assert_int_equal(pthread_create(&g->thread, NULL, good_main, g), 0);
    return g;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

struct good_figures good_figures_since(struct good_client *g)
{
    struct good_figures f;
    unsigned before, n;

    (void)pthread_mutex_lock(&g->mutex);
    before = g->latency_count;
    while (g->latency_count == before && g->latency_count < LATENCIES_MAX)
        (void)pthread_cond_wait(&g->counted, &g->mutex);
    f = g->figures;
    n = g->latency_count;
    qsort(g->latencies_us, n, sizeof *g->latencies_us, by_size);
    f.p50_us = g->latencies_us[n / 2];
    f.p99_us = g->latencies_us[n * 99 / 100];
    f.longest_us = g->latencies_us[n - 1];
    f.duration_ms = clock_mono_ms() - g->since_ms;
    f.processor_ms = processor_ms(g->config.pid) - g->processor_since_ms;
    g->since_ms += f.duration_ms;
    g->processor_since_ms += f.processor_ms;
    g->figures = (struct good_figures){0};
    g->latency_count = 0;
    (void)pthread_mutex_unlock(&g->mutex);
    return f;
}

void good_stop(struct good_client *g)
{
    atomic_store(&g->stop, true);
    (void)pthread_join(g->thread, NULL);
}

unsigned good_stored(const struct good_client *g)
{
    return g->stored;
}

void good_free(struct good_client *g)
{
    (void)pthread_mutex_destroy(&g->mutex);
    (void)pthread_cond_destroy(&g->counted);
    mem_free(g->latencies_us);
    mem_free(g);
}
