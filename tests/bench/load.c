/*
 * load - a sender of signed webhooks and the ATS that they end at, in one program, so that one clock sees both ends.
 *
 *   load --port P [options]                  sends for --secs seconds, or --count events; prints one line
 *   load --port P --sink P2 [options]        the same, with the ATS on port P2; ends when every event has arrived there
 *   load --sink P2 --run ID [--count N]      only the ATS: until N events of that run arrived, or SIGTERM
 *
 *   --conns N          connections (32)                 --path PATH        of the request (/webhooks/popp)
 *   --secs S           how long to send (5)             --secret TEXT      signs the body, HMAC-SHA256
 *   --rate R           0: closed loop (0)               --sig-header NAME  (x-signature)
 *   --count N          stop after N events              --sig-prefix TEXT  before the hexadecimal signature
 *   --candidates N     only N different ones            --body FILE        the event
 *   --sink-delay MS    before the ATS answers           --label TEXT       printed first
 *   --drain S          how long to wait at the end (30) --run ID           names the ids of this run
 *   --burst            every connection at once, and again when all are answered
 *   --scatter          ids that sort in no order, as real ones do
 *
 * Closed loop: a connection sends the next event when the last was answered. With --rate R events are sent on time, R a
 * second, whether or not the earlier ones were answered; latency counts from when an event was due, so that a stall is
 * seen by all that had to wait for it.
 *
 * Every event has its own ids: evt_abc123, run_xyz789, cp_abc123 and ats_42 in FILE become evt_<run>_<number> and so on.
 * A call to the ATS that carries the candidate's id, anywhere, is that event's delivery; the first one counts.
 *
 * The line: label, sent, acked (answered with 2xx), bad (another answer, or none), stalled (not answered within 2 s), ack_rate, and
 * latencies; with an ATS delivered, dup (further calls), sinkreq, e2e_rate (from the first event sent to the last delivery), drain_rate (from the
 * first delivery to the last) and tail_rate (the same of the last quarter).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "lib/crypto.h"

enum {
    EVENTS_MAX = 8000000,          /* only what is used of the tables takes memory */
    SENT_MAX = EVENTS_MAX - 10000, /* a burst may go over the limit */
    BODY_MAX_BYTES = 128 * 1024,
    HEAD_MAX_BYTES = 1024,
    ANSWER_MAX_BYTES = 8 * 1024,
    REQUEST_MAX_BYTES = 64 * 1024,
    READY_MAX = 256,
    DELAYED_MAX = 1 << 16,
    ID_MAX = 64,
    RUN_MAX = 24,
    DIGITS = 10,
    STALLED_US = 2000000,
    TICK_MS = 20,
    FAILURES_TOLD_MAX = 3,
};

struct options {
    unsigned port, sink_port;
    unsigned conns;
    double secs, rate, drain_s;
    int64_t count; /* 0: no limit */
    int64_t candidates;
    int64_t sink_delay_ms;
    const char *path, *secret, *sig_header, *sig_prefix, *body_path, *label;
    char run[RUN_MAX];
    bool burst, scatter;
};

static struct options options = {
    .conns = 32,
    .secs = 5,
    .drain_s = 30,
    .path = "/webhooks/popp",
    .secret = "test-secret-0123456789",
    .sig_header = "x-signature",
    .sig_prefix = "",
    .body_path = "tests/bench/event.json",
    .label = "",
};

/* What both threads know: the sender writes sent_us before the bytes go out, so the ATS sees it. */
static struct {
    int64_t *sent_us;              /* by number of the event */
    int64_t *ack_us;               /* latencies in order of the answers */
    _Atomic int64_t *delivered_us; /* by number; 0: not yet */
    int64_t sent, acked, bad, stalled;
    int64_t first_sent_us, last_acked_us;
    _Atomic int64_t delivered, repeated, requests;
    _Atomic bool stop;
} tally;

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_signal(int number)
{
    (void)number;
    atomic_store(&tally.stop, true);
}

static int watch(int poller, int op, int fd, uint32_t events, void *what)
{
    struct epoll_event e = {.events = events, .data.ptr = what};

    return epoll_ctl(poller, op, fd, &e);
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Body and head of an HTTP message that is complete, or 0. The text ends with a NUL. */
static size_t message_len(const char *text, size_t len, size_t *ret_head)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    int64_t body = 0;

    if (!end) {
        return 0;
    }
    *ret_head = (size_t)(end - text) + 4;
    for (const char *line = text; line && line < end; line = memmem(line, (size_t)(end - line), "\r\n", 2)) {
        line += line == text ? 0 : 2;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            body = strtoll(line + 15, NULL, 10);
        }
    }
    return body >= 0 && len >= *ret_head + (size_t)body ? *ret_head + (size_t)body : 0;
}

/* ---- ids ---------------------------------------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t mixed(uint64_t n)
{
    uint64_t z = n * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* "ats_<run>_0000000042"; scattered: "ats_1f83d9ab<run>_0000000042". Returns its length. */
static size_t make_id(char ret[ID_MAX], const char *prefix, int64_t number)
{
    char scatter[9] = "";
    int n;

    if (options.scatter) {
        snprintf(scatter, sizeof scatter, "%08" PRIx32, (uint32_t)mixed((uint64_t)number));
    }
    n = snprintf(ret, ID_MAX, "%s%s%s_%0*" PRId64, prefix, scatter, options.run, (int)DIGITS, number);
    return (size_t)n;
}

/* The number of the candidate of ours whose id stands in a request; -1 if none does. */
static int64_t candidate_in(const char *text, size_t len)
{
    static const char prefix[] = "ats_";
    size_t skip = sizeof prefix - 1 + (options.scatter ? 8 : 0);
    size_t run_len = strlen(options.run);
    const char *end = text + len;

    for (const char *at = text; (at = memmem(at, (size_t)(end - at), prefix, sizeof prefix - 1)) != NULL; at++) {
        const char *run = at + skip;

        if ((size_t)(end - at) >= skip + run_len + 1 + DIGITS && memcmp(run, options.run, run_len) == 0 &&
            run[run_len] == '_') {
            int64_t number = strtoll(run + run_len + 1, NULL, 10);

            return number >= 0 && number < EVENTS_MAX ? number : -1;
        }
    }
    return -1;
}

/* ---- the ATS ------------------------------------------------------------------------------------------------------ */

struct caller {
    int fd;
    size_t len;
    unsigned delayed; /* answers that are due later */
    bool closed;
    char text[REQUEST_MAX_BYTES + 1];
};

static struct {
    int poller, listener;
    struct { /* answers that are due later: the delay is always the same, so they are in order */
        struct caller *to;
        int64_t at_us;
    } delayed[DELAYED_MAX];
    size_t first, count;
} ats;

static void caller_close(struct caller *c)
{
    if (!c->closed) {
        close(c->fd);
        c->closed = true;
    }
    if (c->delayed == 0) {
        mem_free(c);
    }
}

/* A caller that does not read what it is told is none we want to measure: then it is cut off. */
static bool caller_answer(const struct caller *c)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
                                 "{\"status\":\"ok\"}\n";

    return send(c->fd, answer, sizeof answer - 1, MSG_NOSIGNAL) == (ssize_t)(sizeof answer - 1);
}

static void count_request(const char *text, size_t len)
{
    int64_t number = candidate_in(text, len);

    atomic_fetch_add(&tally.requests, 1);
    if (number < 0) {
        return;
    }
    if (atomic_load(&tally.delivered_us[number]) != 0) {
        atomic_fetch_add(&tally.repeated, 1);
    } else {
        atomic_store(&tally.delivered_us[number], clock_mono_us());
        atomic_fetch_add(&tally.delivered, 1);
    }
}

static bool answer_later(struct caller *c)
{
    if (ats.count == DELAYED_MAX) {
        return false;
    }
    ats.delayed[(ats.first + ats.count) % DELAYED_MAX].to = c;
    ats.delayed[(ats.first + ats.count) % DELAYED_MAX].at_us = clock_mono_us() + options.sink_delay_ms * 1000;
    ats.count++;
    c->delayed++;
    return true;
}

/* Returns the milliseconds until the next one is due. */
static int answer_delayed(void)
{
    while (ats.count > 0) {
        struct caller *c = ats.delayed[ats.first].to;
        int64_t left_us = ats.delayed[ats.first].at_us - clock_mono_us();

        if (left_us > 0) {
            return (int)(left_us / 1000) + 1;
        }
        ats.first = (ats.first + 1) % DELAYED_MAX;
        ats.count--;
        c->delayed--;
        if (c->closed || !caller_answer(c)) {
            caller_close(c);
        }
    }
    return TICK_MS;
}

/* Reads what has come and answers what is complete; false: the connection is of no more use. */
static bool caller_read(struct caller *c)
{
    ssize_t n = recv(c->fd, c->text + c->len, REQUEST_MAX_BYTES - c->len, 0);
    size_t head;
    size_t len;

    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    c->len += (size_t)n;
    c->text[c->len] = '\0';
    while ((len = message_len(c->text, c->len, &head)) > 0) {
        count_request(c->text, len);
        if (options.sink_delay_ms > 0 ? !answer_later(c) : !caller_answer(c)) {
            return false;
        }
        memmove(c->text, c->text + len, c->len - len + 1);
        c->len -= len;
    }
    return c->len < REQUEST_MAX_BYTES;
}

static void ats_accept(void)
{
    int fd;

    while ((fd = accept4(ats.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct caller *c = mem_alloc(sizeof *c);
        int one = 1;

        c->fd = fd;
        c->len = 0;
        c->delayed = 0;
        c->closed = false;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (watch(ats.poller, EPOLL_CTL_ADD, fd, EPOLLIN, c) != 0) {
            die("epoll");
        }
    }
}

static void ats_listen(void)
{
    struct sockaddr_in address = loopback(options.sink_port);
    int one = 1;

    ats.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ats.poller = epoll_create1(EPOLL_CLOEXEC);
    setsockopt(ats.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(ats.listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(ats.listener, 1024) != 0 ||
        watch(ats.poller, EPOLL_CTL_ADD, ats.listener, EPOLLIN, NULL) != 0) {
        die("the port of --sink");
    }
}

static void *ats_loop(void *unused)
{
    struct epoll_event ready[READY_MAX];

    while (!atomic_load(&tally.stop)) {
        int n = epoll_wait(ats.poller, ready, READY_MAX, answer_delayed());

        for (int i = 0; i < n; i++) {
            struct caller *c = ready[i].data.ptr;

            if (!c) {
                ats_accept();
            } else if (!caller_read(c)) {
                caller_close(c);
            }
        }
    }
    return unused;
}

/* ---- the event ---------------------------------------------------------------------------------------------------- */

enum token { TOKEN_EVENT, TOKEN_RUN, TOKEN_PROFILE, TOKEN_CANDIDATE, TOKENS };

static const struct {
    const char *text, *prefix;
} tokens[TOKENS] = {
    [TOKEN_EVENT] = {"evt_abc123", "evt_"},
    [TOKEN_RUN] = {"run_xyz789", "run_"},
    [TOKEN_PROFILE] = {"cp_abc123", "cp_"},
    [TOKEN_CANDIDATE] = {"ats_42", "ats_"},
};

/* The file in pieces: a text, and the id that follows it. */
static struct piece {
    const char *text;
    size_t len;
    enum token token; /* TOKENS: nothing follows */
} * pieces;
static size_t piece_count;

static void add_piece(const char *text, size_t len, enum token token)
{
    pieces = mem_grow(pieces, piece_count + 1, sizeof *pieces);
    pieces[piece_count++] = (struct piece){text, len, token};
}

static void read_body(void)
{
    static char text[BODY_MAX_BYTES / 2];
    FILE *f = fopen(options.body_path, "re");
    const char *begin = text;
    size_t len;

    if (!f) {
        die(options.body_path);
    }
    len = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    while (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    text[len] = '\0';
    for (const char *at = text; *at;) {
        enum token token = TOKEN_EVENT;

        while (token < TOKENS && !text_starts(at, tokens[token].text)) {
            token++;
        }
        if (token == TOKENS) {
            at++;
            continue;
        }
        add_piece(begin, (size_t)(at - begin), token);
        at += strlen(tokens[token].text);
        begin = at;
    }
    add_piece(begin, strlen(begin), TOKENS);
}

static size_t make_body(char *ret, int64_t number)
{
    int64_t candidate = options.candidates > 0 ? number % options.candidates : number;
    size_t len = 0;

    for (size_t i = 0; i < piece_count; i++) {
        char id[ID_MAX];
        size_t id_len = 0;

        memcpy(ret + len, pieces[i].text, pieces[i].len);
        len += pieces[i].len;
        if (pieces[i].token != TOKENS) {
            bool own = pieces[i].token == TOKEN_EVENT || pieces[i].token == TOKEN_RUN;

            id_len = make_id(id, tokens[pieces[i].token].prefix, own ? number : candidate);
            memcpy(ret + len, id, id_len);
            len += id_len;
        }
        if (len > BODY_MAX_BYTES - ID_MAX) {
            errno = EFBIG;
            die(options.body_path);
        }
    }
    return len;
}

/* ---- the sender --------------------------------------------------------------------------------------------------- */

struct conn {
    int fd;
    bool busy;
    int64_t number; /* of the event that it sends */
    size_t out_len, out_sent, in_len;
    char in[ANSWER_MAX_BYTES + 1];
    char out[HEAD_MAX_BYTES + BODY_MAX_BYTES];
};

static struct {
    int poller, timer;
    struct crypto_hmac *hmac;
    struct conn *conns;
    struct conn **idle; /* open loop and bursts */
    size_t idle_count;
    unsigned busy;
    int64_t end_us; /* nothing is sent any more */
    double due_us;  /* open loop: of the next event */
    int64_t limit;
} sender;

static void conn_dial(struct conn *c)
{
    struct sockaddr_in address = loopback(options.port);
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        die("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 || watch(sender.poller, EPOLL_CTL_ADD, c->fd, EPOLLIN, c) != 0) {
        die("socket");
    }
}

static void conn_write(struct conn *c)
{
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);

        if (n < 0) {
            /* a broken connection shows when it is read */
            watch(sender.poller, EPOLL_CTL_MOD, c->fd, errno == EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN, c);
            return;
        }
        c->out_sent += (size_t)n;
    }
}

static void send_event(struct conn *c, int64_t due_us)
{
    static char body[BODY_MAX_BYTES];
    size_t len = make_body(body, tally.sent);
    struct crypto_part part = {body, len};
    uint8_t mac[CRYPTO_SHA256_BYTES];
    char hex[2 * CRYPTO_SHA256_BYTES + 1];
    int head;

    crypto_hmac_sign(sender.hmac, &part, 1, mac);
    crypto_hex(mac, sizeof mac, hex);
    head = snprintf(c->out, HEAD_MAX_BYTES,
                    "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n%s: %s%s\r\n"
                    "Content-Length: %zu\r\n\r\n",
                    options.path, options.port, options.sig_header, options.sig_prefix, hex, len);
    if (head < 0 || head >= HEAD_MAX_BYTES) {
        errno = EFBIG;
        die("the head of the request");
    }
    memcpy(c->out + head, body, len);
    c->out_len = (size_t)head + len;
    c->out_sent = 0;
    c->in_len = 0;
    c->busy = true;
    c->number = tally.sent++;
    sender.busy++;
    tally.sent_us[c->number] = due_us;
    if (c->number == 0) {
        tally.first_sent_us = due_us;
    }
    conn_write(c);
}

static bool may_send(int64_t now_us)
{
    return now_us < sender.end_us && tally.sent < sender.limit && !atomic_load(&tally.stop);
}

/* The connection is free: closed loop, it sends at once. */
static void conn_next(struct conn *c, int64_t now_us)
{
    if (options.rate > 0 || options.burst) {
        sender.idle[sender.idle_count++] = c;
    } else if (may_send(now_us)) {
        send_event(c, now_us);
    }
}

static void conn_ended(struct conn *c, int64_t now_us)
{
    if (now_us - tally.sent_us[c->number] > STALLED_US) {
        tally.stalled++;
    }
    c->busy = false;
    sender.busy--;
    conn_next(c, now_us);
}

static void conn_broken(struct conn *c)
{
    bool was_busy = c->busy;

    close(c->fd);
    conn_dial(c);
    tally.bad++;
    if (was_busy) {
        conn_ended(c, clock_mono_us());
    }
}

static void conn_read(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, ANSWER_MAX_BYTES - c->in_len, 0);
    size_t head;
    int64_t now_us;

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            conn_broken(c);
        }
        return;
    }
    c->in_len += (size_t)n;
    c->in[c->in_len] = '\0';
    if (!c->busy || message_len(c->in, c->in_len, &head) == 0) {
        return;
    }
    now_us = clock_mono_us();
    if (text_starts(c->in, "HTTP/1.1 2")) {
        tally.ack_us[tally.acked++] = now_us - tally.sent_us[c->number];
        tally.last_acked_us = now_us;
    } else if (tally.bad++ < FAILURES_TOLD_MAX) {
        fprintf(stderr, "load: answered %.12s: %.150s\n", c->in, c->in + head);
    }
    conn_ended(c, now_us);
}

static void arm_timer(int64_t at_us)
{
    struct itimerspec at = {.it_value = {.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000}};

    if (timerfd_settime(sender.timer, TFD_TIMER_ABSTIME, &at, NULL) != 0) {
        die("timer");
    }
}

/* Open loop and bursts: sends what is due over connections that are free. */
static void send_due(int64_t now_us)
{
    if (options.burst) {
        if (sender.busy == 0 && may_send(now_us)) {
            while (sender.idle_count > 0) {
                send_event(sender.idle[--sender.idle_count], clock_mono_us());
            }
        }
        return;
    }
    while (sender.due_us <= (double)now_us && sender.due_us < (double)sender.end_us && sender.idle_count > 0 &&
           tally.sent < sender.limit) {
        send_event(sender.idle[--sender.idle_count], (int64_t)sender.due_us);
        sender.due_us += 1e6 / options.rate;
    }
    if (sender.idle_count > 0 && sender.due_us < (double)sender.end_us) {
        arm_timer((int64_t)sender.due_us + 1);
    }
}

static void sender_open(void)
{
    sender.poller = epoll_create1(EPOLL_CLOEXEC);
    sender.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    sender.hmac = crypto_hmac_new(options.secret, strlen(options.secret));
    sender.conns = mem_array(options.conns, sizeof *sender.conns);
    sender.idle = mem_array(options.conns, sizeof(struct conn *));
    sender.limit = options.count > 0 && options.count < SENT_MAX ? options.count : SENT_MAX;
    if (watch(sender.poller, EPOLL_CTL_ADD, sender.timer, EPOLLIN, NULL) != 0) {
        die("timer");
    }
    for (unsigned i = 0; i < options.conns; i++) {
        conn_dial(&sender.conns[i]);
    }
}

static void sender_handle(const struct epoll_event *ready)
{
    struct conn *c = ready->data.ptr;

    if (!c) {
        uint64_t times;

        (void)!read(sender.timer, &times, sizeof times);
        return;
    }
    if (ready->events & EPOLLOUT) {
        watch(sender.poller, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
        conn_write(c);
    }
    if (ready->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        conn_read(c);
    }
}

static void sender_run(void)
{
    struct epoll_event ready[READY_MAX];
    int64_t now_us = clock_mono_us();
    int64_t give_up_us;

    sender.end_us = now_us + (int64_t)(options.secs * 1e6);
    give_up_us = sender.end_us + (int64_t)(options.drain_s * 1e6);
    sender.due_us = (double)now_us;
    for (unsigned i = 0; i < options.conns; i++) {
        conn_next(&sender.conns[i], now_us);
    }
    while ((may_send(now_us) || sender.busy > 0) && now_us < give_up_us) {
        if (options.rate > 0 || options.burst) {
            send_due(now_us);
        }
        int n = epoll_wait(sender.poller, ready, READY_MAX, TICK_MS);

        for (int i = 0; i < n; i++) {
            sender_handle(&ready[i]);
        }
        now_us = clock_mono_us();
    }
    for (unsigned i = 0; i < options.conns; i++) {
        if (sender.conns[i].busy) { /* never answered */
            tally.bad++;
            tally.stalled++;
        }
    }
}

/* ---- the line ----------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void print_latency(const char *name, int64_t *us, int64_t count)
{
    if (count == 0) {
        printf(" %s n=0", name);
        return;
    }
    qsort(us, (size_t)count, sizeof *us, by_value);
    printf(" %s_p50=%.2fms %s_p99=%.2fms %s_max=%.2fms", name, (double)us[count / 2] / 1e3, name,
           (double)us[count * 99 / 100] / 1e3, name, (double)us[count - 1] / 1e3);
}

static double rate(int64_t count, int64_t from_us, int64_t to_us)
{
    return to_us > from_us ? (double)count * 1e6 / (double)(to_us - from_us) : 0;
}

static void print_deliveries(void)
{
    int64_t most = atomic_load(&tally.delivered);
    int64_t *at_us = mem_array((size_t)most + 1, sizeof *at_us);
    int64_t *took_us = mem_array((size_t)most + 1, sizeof *took_us);
    int64_t timed = 0;
    int64_t count = 0;

    for (int64_t i = 0; i < EVENTS_MAX && count < most; i++) {
        int64_t us = atomic_load(&tally.delivered_us[i]);

        if (us == 0) {
            continue;
        }
        at_us[count++] = us;
        if (i < tally.sent) {
            took_us[timed++] = us - tally.sent_us[i];
        }
    }
    qsort(at_us, (size_t)count, sizeof *at_us, by_value);
    printf(" delivered=%" PRId64 " dup=%" PRId64 " sinkreq=%" PRId64, count, atomic_load(&tally.repeated),
           atomic_load(&tally.requests));
    if (count > 0) {
        int64_t last_us = at_us[count - 1];
        int64_t tail = count - 1 - count * 3 / 4;

        if (options.port != 0) {
            printf(" e2e_rate=%.0f", rate(count, tally.first_sent_us, last_us));
        }
        printf(" drain_rate=%.0f tail_rate=%.0f", rate(count - 1, at_us[0], last_us),
               rate(tail, at_us[count * 3 / 4], last_us));
    }
    print_latency("e2e", took_us, timed);
    mem_free(at_us);
    mem_free(took_us);
}

/* ---- the program -------------------------------------------------------------------------------------------------- */

/* wanted 0: until a signal */
static void wait_for_deliveries(int64_t wanted)
{
    const struct timespec pause = {.tv_nsec = 2 * 1000 * 1000};
    const struct timespec after = {.tv_nsec = 50 * 1000 * 1000}; /* for calls that should not come */
    int64_t until_us = clock_mono_us() + (int64_t)(options.drain_s * 1e6);

    while ((wanted == 0 || atomic_load(&tally.delivered) < wanted) && !atomic_load(&tally.stop) &&
           (wanted == 0 || clock_mono_us() < until_us)) {
        nanosleep(&pause, NULL);
    }
    nanosleep(&after, NULL);
}

static int usage(void)
{
    fputs("load: see the head of tests/bench/load.c\n", stderr);
    return 2;
}

/* strtod and strtoll take any rubbish as 0, which every caller of ours would notice at once */
static int read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, NULL, 'p'},       {"path", 1, NULL, 'P'},       {"conns", 1, NULL, 'c'}, {"secs", 1, NULL, 's'},
        {"rate", 1, NULL, 'r'},       {"sink", 1, NULL, 'k'},       {"drain", 1, NULL, 'd'}, {"secret", 1, NULL, 'S'},
        {"sig-header", 1, NULL, 'H'}, {"sig-prefix", 1, NULL, 'X'}, {"body", 1, NULL, 'b'},  {"count", 1, NULL, 'n'},
        {"label", 1, NULL, 'l'},      {"candidates", 1, NULL, 'C'}, {"run", 1, NULL, 'R'},   {"burst", 0, NULL, 'B'},
        {"scatter", 0, NULL, 'A'},    {"sink-delay", 1, NULL, 'D'}, {NULL, 0, NULL, 0},
    };
    int option;

    snprintf(options.run, sizeof options.run, "%08" PRIx32, (uint32_t)(clock_wall_us() / 1000));
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        double number = optarg ? strtod(optarg, NULL) : 0;

        switch (option) {
        case 'p':
            options.port = (unsigned)number;
            break;
        case 'k':
            options.sink_port = (unsigned)number;
            break;
        case 'c':
            options.conns = (unsigned)number;
            break;
        case 's':
            options.secs = number;
            break;
        case 'r':
            options.rate = number;
            break;
        case 'd':
            options.drain_s = number;
            break;
        case 'n':
            options.count = (int64_t)number;
            break;
        case 'C':
            options.candidates = (int64_t)number;
            break;
        case 'D':
            options.sink_delay_ms = (int64_t)number;
            break;
        case 'P':
            options.path = optarg;
            break;
        case 'S':
            options.secret = optarg;
            break;
        case 'H':
            options.sig_header = optarg;
            break;
        case 'X':
            options.sig_prefix = optarg;
            break;
        case 'b':
            options.body_path = optarg;
            break;
        case 'l':
            options.label = optarg;
            break;
        case 'R':
            snprintf(options.run, sizeof options.run, "%s", optarg);
            break;
        case 'B':
            options.burst = true;
            break;
        case 'A':
            options.scatter = true;
            break;
        default:
            return usage();
        }
    }
    return optind == argc && (options.port != 0 || options.sink_port != 0) && options.conns > 0 ? 0 : usage();
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    pthread_t thread;
    int status = read_options(argc, argv);

    if (status != 0) {
        return status;
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    tally.sent_us = mem_array(EVENTS_MAX, sizeof *tally.sent_us);
    tally.ack_us = mem_array(EVENTS_MAX, sizeof *tally.ack_us);
    tally.delivered_us = mem_array(EVENTS_MAX, sizeof *tally.delivered_us);
    if (options.sink_port != 0) {
        ats_listen();
        if (pthread_create(&thread, NULL, ats_loop, NULL) != 0) {
            die("thread");
        }
    }
    if (options.port != 0) {
        read_body();
        sender_open();
        sender_run();
    }
    if (options.sink_port != 0) {
        if (options.port == 0) {
            wait_for_deliveries(options.count);
        } else if (tally.acked > 0) {
            wait_for_deliveries(options.candidates > 0 && options.candidates < tally.acked ? options.candidates
                                                                                           : tally.acked);
        }
        atomic_store(&tally.stop, true);
        pthread_join(thread, NULL);
    }
    printf("%s sent=%" PRId64 " acked=%" PRId64 " bad=%" PRId64 " stalled=%" PRId64 " ack_rate=%.0f", options.label,
           tally.sent, tally.acked, tally.bad, tally.stalled,
           rate(tally.acked, tally.first_sent_us, tally.last_acked_us));
    print_latency("ack", tally.ack_us, tally.acked);
    if (options.sink_port != 0) {
        print_deliveries();
    }
    putchar('\n');
    return 0;
}
