/*
 * What is done to a listener that faces the internet, while a good client sends on.
 *
 * Each attack runs for ATTACK_MS (500), then until the daemon has ended all connections of the attackers. With ATTACK_P99_MS the
 * good client's 99th percentile must stay below it (`make attacks`, on a release build); without, only that each answer
 * comes in time, as sanitizers and a busy machine are slow.
 *
 * Under valgrind (PROGRAM_RUNNER, make check-valgrind) the daemon is many times slower than its attackers and has all of valgrind's memory,
 * so neither the good client's luck nor time nor memory are judged: the attacks are smaller, and what counts is what valgrind finds, that the
 * attackers' connections end, and that what was acknowledged is stored.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "lib/crowd.h"
#include "lib/harness.h"
#include "lib/tls.h"

enum {
    PLACES = 200,      /* receiver.max_connections */
    TIMEOUT_MS = 1000, /* receiver.request_timeout */
    REST_MS = 2 * TIMEOUT_MS,
    BODY_MAX = 1 << 20,                /* receiver.max_body */
    BODIES_MAX = 8 << 20,              /* receiver.max_body_total */
    LATE_MS = 4000,                    /* how much later than it should something may happen on a busy machine */
    WATCHED_CONNECTIONS = PLACES + 50, /* of an attack under valgrind */
    GOOD_INTERVAL_MS = 25,
    GOOD_ANSWER_MS = 5000,
    DESCRIPTORS =
        PLACES + 150, /* beside the connections: those kept for a last answer, the database, the daemon's own */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    MEMORY_KIB = 160 * 1024,
#else
    MEMORY_KIB = 48 * 1024, /* more than before: the bodies twice, as they grow, and 100 KB for each connection */
#endif
};

#define LIMITS "max_body: 1MiB\nmax_body_total: 8MiB\nmax_connections: 200\nrequest_timeout: 1s\n"
#define HEAD "POST /webhooks/popp HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
#define FORGED "x-signature: 0000000000000000000000000000000000000000000000000000000000000000\r\n"

static const char good_mark[] = "0000000000";

/* ---------------------------------------------------------------- texts */

static struct crowd_text text_of(const char *text)
{
    return (struct crowd_text){.bytes = text, .len = strlen(text)};
}

/* head, then so many times part, then tail */
static struct crowd_text repeated(struct harness *h, const char *head, const char *part, unsigned times,
                                  const char *tail)
{
    struct buf b;
    struct crowd_text text;

    buf_init(&b, 64 << 20);
    buf_puts(&b, head);
    for (unsigned i = 0; i < times; i++)
        buf_puts(&b, part);
    buf_puts(&b, tail);
    assert_false(b.failed);
    text = (struct crowd_text){.bytes = arena_strndup(h->arena, b.data, b.len), .len = b.len};
    buf_free(&b);
    return text;
}

static const char filler_1k[] =
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
    HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "012345678901234567890123";

static const char *signed_event(struct harness *h)
{
    const char *body = popp_event(h, "run-started", NULL);
    char *signature = popp_signature(E2E_SECRET, body, strlen(body));
    const char *request =
        arena_printf(h->arena, HEAD "x-signature: %s\r\nContent-Length: %zu\r\n\r\n%s", signature, strlen(body), body);

    mem_free(signature);
    return request;
}

/* ---------------------------------------------------------------- the frame of each attack */

struct siege {
    struct harness *h;
    struct program *d;
    int64_t attack_ms;
    int64_t p99_max_ms; /* 0: not looked at */
    bool watched;       /* by valgrind: see above */
    int64_t memory_before_kib;
    struct good_config good_config;
};

/* Of the test that runs; it would outlive one that fails. */
static struct good_client *good;

static int teardown(void **state)
{
    if (good != NULL) {
        good_stop(good);
        good_free(good);
    }
    good = NULL;
    return harness_teardown(state);
}

static int64_t from_environment(const char *name, int64_t otherwise)
{
    const char *text = getenv(name);
    int64_t value = otherwise;

    if (text != NULL && !text_to_i64(text, 1, 3600000, &value))
        fail_msg("%s must be a number, not \"%s\"", name, text);
    return value;
}

/* Each connection of a crowd is a descriptor, and the usual limit is lower than what an attacker has. */
static void allow_descriptors(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static struct siege siege_begin(struct harness *h, const char *receiver, bool tls)
{
    struct siege s = {.h = h,
                      .attack_ms = from_environment("ATTACK_MS", 500),
                      .p99_max_ms = from_environment("ATTACK_P99_MS", 0),
                      .watched = programs_are_run_by_another()};
    struct good_figures quiet;

    allow_descriptors();
    s.d = daemon_start(h, &(struct daemon_conf){.receiver = receiver, .delivery = "enabled: false\n"});
    s.good_config = (struct good_config){.port = s.d->port,
                                         .tls = tls,
                                         .interval_ms = GOOD_INTERVAL_MS,
                                         .rest_max_ms = TIMEOUT_MS / 2,
                                         .event = popp_event(h, "run-started", "eventId", good_mark, NULL),
                                         .mark = good_mark,
                                         .secret = E2E_SECRET,
                                         .pid = s.d->pid};
    good = good_start(&s.good_config);
    while ((quiet = good_figures_since(good)).memory_max_kib == 0)
        ;
    s.memory_before_kib = quiet.memory_max_kib;
    print_message("%-38s %6s %6s %7s %7s %7s %5s %6s %4s %4s\n", "attack", "opened", "ended", "p50 ms", "p99 ms",
                  "max ms", "good", "MB", "fds", "cpu%");
    return s;
}

static void check_good(const struct siege *s, const char *name, const struct good_figures *f)
{
    if (f->failures > 0)
        fail_msg("%s: of the good client's requests %u failed and %u succeeded, first: %s", name, f->failures,
                 f->answers, f->failure);
    if (f->reconnects > 0)
        fail_msg("%s: the good client's connection was closed %u times", name, f->reconnects);
    if (f->longest_us > GOOD_ANSWER_MS * 1000)
        fail_msg("%s: the good client waited %lld ms for an answer", name, (long long)f->longest_us / 1000);
    if (s->p99_max_ms > 0 && f->p99_us >= s->p99_max_ms * 1000)
        fail_msg("%s: the good client's p99 is %lld ms", name, (long long)f->p99_us / 1000);
}

static void attack(struct siege *s, const char *name, struct crowd crowd, int64_t longest_ms)
{
    int64_t wait_ms = s->watched ? DEADLINE_MS : longest_ms + LATE_MS;
    struct crowd_figures c;
    struct good_figures f;

    crowd.port = s->d->port;
    if (s->watched && crowd.connections > WATCHED_CONNECTIONS)
        crowd.connections = WATCHED_CONNECTIONS;
    (void)good_figures_since(good);
    c = crowd_run(&crowd, s->attack_ms, wait_ms);
    f = good_figures_since(good);
    print_message("%-38s %6u %6u %7.1f %7.1f %7.1f %5u %6.1f %4u %4lld\n", name, c.opened, c.ended,
                  (double)f.p50_us / 1000, (double)f.p99_us / 1000, (double)f.longest_us / 1000, f.answers + f.failures,
                  (double)(f.memory_max_kib - s->memory_before_kib) / 1024, f.descriptors_max,
                  (long long)(100 * f.processor_ms / f.duration_ms));
    assert_true(c.opened > 0);
    assert_int_equal(c.failed, 0); /* else it is no attack, but what this machine has left of one */
    if (c.left > 0)
        fail_msg("%s: %u connections were still open %lld ms after the attack", name, c.left, (long long)wait_ms);
    if (s->watched)
        return;
    check_good(s, name, &f);
    if (c.longest_ms > longest_ms + LATE_MS)
        fail_msg("%s: a connection lasted %lld ms", name, (long long)c.longest_ms);
    if (f.memory_max_kib > s->memory_before_kib + MEMORY_KIB)
        fail_msg("%s: the daemon took %lld KiB, before the attacks %lld KiB", name, (long long)f.memory_max_kib,
                 (long long)s->memory_before_kib);
    if (f.descriptors_max > DESCRIPTORS)
        fail_msg("%s: the daemon had %u descriptors", name, f.descriptors_max);
}

/* Every event that was answered "stored" is in the database, and nothing else came in. (A slow daemon may come to an attacker's event too
 * late, and to the good client with its answer.) */
static void siege_end(struct siege *s, unsigned others)
{
    int64_t stored = 0;

    good_stop(good);
    assert_true(text_to_i64(sql_text(s->h, "select count(*) from atsync.event"), 0, INT64_MAX, &stored));
    if (s->watched ? stored < good_stored(good) : stored != good_stored(good) + others)
        fail_msg("%lld events are stored; the good client knows of %u, and the attackers sent %u", (long long)stored,
                 good_stored(good), others);
    good_free(good);
    good = NULL;
    daemon_stop(s->h, s->d);
}

static double metric_value(struct harness *h, const struct program *d, const char *series)
{
    struct http_answer a = http_call(h, d->admin_port, "GET", "/metrics", NULL, NULL, 0);
    const char *at = a.body;

    while (at != NULL && !text_starts(at, series))
        at = strchr(at, '\n') != NULL ? strchr(at, '\n') + 1 : NULL;
    if (at == NULL)
        fail_msg("there is no series %s", series);
    return strtod(at + strlen(series), NULL);
}

/* Some connections were, for this reason. */
static void assert_dropped(const struct siege *s, const char *reason)
{
    double count = metric_value(
        s->h, s->d, arena_printf(s->h->arena, "atsyncd_receiver_dropped_connections_total{reason=\"%s\"} ", reason));

    if (count == 0 && !s->watched)
        fail_msg("no connection was dropped as %s", reason);
}

/* ---------------------------------------------------------------- attacks */

E2E_TEST(idle_connections)
{
    struct siege s = siege_begin(h, LIMITS, false);
    struct crowd_text event = text_of(signed_event(h));

    attack(&s, "idle, one address", (struct crowd){.connections = 1500}, TIMEOUT_MS);
    attack(&s, "idle, 250 addresses", (struct crowd){.connections = 1500, .addresses = 250}, TIMEOUT_MS);
    assert_dropped(&s, "crowded");
    assert_dropped(&s, "slow");
    attack(&s, "idle after a good request",
           (struct crowd){.connections = 2 * PLACES, .per_second_max = 400, .texts = {event}, .text_count = 1},
           REST_MS + TIMEOUT_MS);
    attack(&s, "half closed at once", (struct crowd){.connections = 500, .then = CROWD_ENDS_SENDING}, TIMEOUT_MS);
    attack(&s, "opened and closed", (struct crowd){.connections = 100, .then = CROWD_HANGS_UP}, TIMEOUT_MS);
    siege_end(&s, 1);
}

E2E_TEST(slow_senders)
{
    static const char x = 'x';
    struct siege s = siege_begin(h, LIMITS, false);
    struct crowd slow = {
        .connections = 500, .drip = &x, .drip_len = 1, .drip_ms = 50, .takes_answers = true, .text_count = 1};

    slow.texts[0] = text_of("POST /webhooks/po");
    attack(&s, "slow request line", slow, TIMEOUT_MS);
    slow.texts[0] = text_of(HEAD "X-Long: ");
    attack(&s, "slow header", slow, TIMEOUT_MS);
    slow.texts[0] = text_of(HEAD FORGED "Content-Length: 100000\r\n\r\n");
    attack(&s, "slow body", slow, TIMEOUT_MS);
    slow.texts[0] = text_of(HEAD FORGED "Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n");
    attack(&s, "slow body after 100-continue", slow, TIMEOUT_MS);
    slow.texts[0] = text_of(arena_printf(h->arena, "%sPOST /webhooks/po", signed_event(h)));
    slow.connections = PLACES + 50;
    slow.per_second_max = 400;
    attack(&s, "slow after a good request", slow, TIMEOUT_MS + REST_MS);
    slow = (struct crowd){.connections = 500, .drip_ms = 50, .takes_answers = true, .text_count = 1};
    slow.texts[0] = text_of(HEAD);
    slow.drip = "a: b\r\n";
    slow.drip_len = 6;
    attack(&s, "slow headers, line by line", slow, TIMEOUT_MS);
    slow.texts[0] = text_of(HEAD FORGED "Transfer-Encoding: chunked\r\n\r\n");
    slow.drip = "1\r\nx\r\n";
    attack(&s, "slow chunks", slow, TIMEOUT_MS);
    siege_end(&s, 1);
}

E2E_TEST(floods)
{
    struct siege s = siege_begin(h, LIMITS, false);
    struct crowd_text chunks = repeated(h, "10000\r\n", filler_1k, 64, "\r\n");
    const char *event = signed_event(h);
    struct crowd flood = {.connections = 20, .per_second_max = 200, .text_count = 1, .takes_answers = true};

    flood.texts[0] = repeated(h, HEAD, "X-Header: y\r\n", 10000, "\r\n");
    attack(&s, "10000 headers", flood, TIMEOUT_MS);
    flood.texts[0] = repeated(h, HEAD "X-Long: ", filler_1k, 1024, "\r\n\r\n");
    attack(&s, "a header of 1 MB", flood, TIMEOUT_MS);
    flood.texts[0] = repeated(h, "POST /", filler_1k, 1024, " HTTP/1.1\r\nHost: t\r\n\r\n");
    attack(&s, "a URL of 1 MB", flood, TIMEOUT_MS);
    flood.texts[0] = repeated(h, HEAD FORGED "Transfer-Encoding: chunked\r\n\r\n1;", filler_1k, 1024, "\r\nx\r\n");
    attack(&s, "a chunk extension of 1 MB", flood, TIMEOUT_MS);
    flood.texts[0] =
        repeated(h, HEAD FORGED "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", "X-Trailer: y\r\n", 10000, "\r\n");
    attack(&s, "10000 trailers", flood, TIMEOUT_MS);
    flood.texts[0] = repeated(h, "", "GET /nothing HTTP/1.1\r\nHost: t\r\n\r\n", 1000, "");
    attack(&s, "1000 refused requests at once", flood, TIMEOUT_MS);
    flood.texts[0] = repeated(h, "", "POST /webhooks/popp HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", 1000, "");
    flood.takes_answers = false;
    attack(&s, "1000 unsigned ones, no answer taken", flood, TIMEOUT_MS);
    flood.texts[0] = repeated(h, "", event, 200, "");
    flood.connections = 2;
    attack(&s, "200 good ones, no answer taken", flood, TIMEOUT_MS + REST_MS);
    flood = (struct crowd){.connections = 8, .per_second_max = 50, .text_count = 1, .takes_answers = true};
    flood.texts[0] = text_of(HEAD FORGED "Transfer-Encoding: chunked\r\n\r\n");
    flood.drip = chunks.bytes;
    flood.drip_len = chunks.len;
    attack(&s, "chunks without an end", flood, TIMEOUT_MS);
    siege_end(&s, 1);
}

E2E_TEST(uploads)
{
    struct siege s = siege_begin(h, LIMITS, false);
    struct crowd_text whole = repeated(h, HEAD FORGED "Content-Length: 1048576\r\n\r\n", filler_1k, 1024, "");
    struct crowd_text most = {.bytes = whole.bytes, .len = whole.len - 1000};
    struct crowd_text some = {.bytes = whole.bytes, .len = 100 * 1024};
    struct crowd up = {
        .connections = 8, .per_second_max = 50, .text_count = 1, .texts = {whole}, .takes_answers = true};

    attack(&s, "bodies of 1 MB with a wrong signature", up, TIMEOUT_MS);
    up = (struct crowd){.connections = PLACES - 10, .per_second_max = 300, .text_count = 1, .texts = {most}};
    attack(&s, "1 MB that never ends", up, TIMEOUT_MS);
    up.addresses = 50;
    attack(&s, "1 MB that never ends, 50 addresses", up, TIMEOUT_MS);
    assert_dropped(&s, "memory");
    up = (struct crowd){.connections = 50,
                        .per_second_max = 500,
                        .text_count = 6,
                        .texts = {text_of("POST /webh"), text_of(HEAD),
                                  text_of(HEAD FORGED "Content-Length: 100000\r\n\r\n"), some, most,
                                  text_of(HEAD FORGED "Transfer-Encoding: chunked\r\n\r\nffff\r\nxxx")},
                        .then = CROWD_HANGS_UP};
    attack(&s, "uploads that are given up", up, TIMEOUT_MS);
    up.then = CROWD_BREAKS;
    attack(&s, "uploads that are reset", up, TIMEOUT_MS);
    up.then = CROWD_ENDS_SENDING;
    attack(&s, "uploads that are half closed", up, TIMEOUT_MS);
    siege_end(&s, 0);
}

E2E_TEST(nonsense)
{
    struct siege s = siege_begin(h, LIMITS, false);
    size_t hello_len;
    char *hello = tls_client_hello(&hello_len);
    struct crowd crowd = {
        .connections = 50,
        .per_second_max = 1000,
        .text_count = 8,
        .texts = {text_of("GET /\r\n\r\n"),
                  text_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                  {.bytes = hello, .len = hello_len},
                  text_of("\r\n\r\n\r\n\r\n"),
                  text_of("CONNECT example.com:443 HTTP/1.1\r\nHost: t\r\n\r\n"),
                  text_of("TRACE / HTTP/1.1\r\nHost: t\r\n\r\n"),
                  text_of("GET / HTTP/1.1\r\nHost: t\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n"),
                  {.bytes = "\0\xff\x80\0 \0\r\n\r\n", .len = 10}},
        .takes_answers = true};

    attack(&s, "other protocols", crowd, TIMEOUT_MS);
    crowd.then = CROWD_BREAKS;
    attack(&s, "other protocols, reset", crowd, TIMEOUT_MS);
    siege_end(&s, 0);
    mem_free(hello);
}

E2E_TEST(attacks_on_tls)
{
    char *certificate, *key;
    size_t hello_len;
    char *hello = tls_client_hello(&hello_len);
    struct crowd crowd = {.connections = 500, .text_count = 1};
    struct siege s;

    tls_make_certificate("attacked", &certificate, &key);
    s = siege_begin(h,
                    arena_printf(h->arena, LIMITS "tls: {certificate: %s, key: %s}\n",
                                 private_file(h, "certificate.pem", certificate), private_file(h, "key.pem", key)),
                    true);
    attack(&s, "TLS: nothing is sent", (struct crowd){.connections = 1500}, TIMEOUT_MS);
    crowd.texts[0] = (struct crowd_text){.bytes = hello, .len = hello_len / 2};
    attack(&s, "TLS: half a first message", crowd, TIMEOUT_MS);
    crowd.texts[0].len = 1;
    crowd.drip = hello + 1;
    crowd.drip_len = 1; /* a second byte that is right, and then no more */
    crowd.drip_ms = 50;
    attack(&s, "TLS: byte by byte", crowd, TIMEOUT_MS);
    crowd = (struct crowd){.connections = 500, .text_count = 1};
    crowd.texts[0] = (struct crowd_text){.bytes = hello, .len = hello_len};
    attack(&s, "TLS: never ends its handshake", crowd, TIMEOUT_MS);
    crowd.connections = 50;
    crowd.per_second_max = 300;
    crowd.then = CROWD_BREAKS;
    attack(&s, "TLS: handshakes given up", crowd, TIMEOUT_MS);
    crowd = (struct crowd){.connections = 50, .per_second_max = 1000, .text_count = 1, .takes_answers = true};
    crowd.texts[0] = text_of(HEAD FORGED "Content-Length: 0\r\n\r\n");
    attack(&s, "TLS: plain HTTP", crowd, TIMEOUT_MS);
    siege_end(&s, 0);
    mem_free(hello);
    mem_free(certificate);
    mem_free(key);
}

/* ---------------------------------------------------------------- where a request ends */

/* All that the server says until it closes, or stays silent for a while. */
static const char *read_all(struct harness *h, int fd, bool *ret_closed)
{
    char text[16 * 1024];
    size_t len = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    *ret_closed = false;
    while (len + 1 < sizeof text && poll(&ready, 1, DEADLINE_MS) > 0) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);

        if (n <= 0) {
            *ret_closed = true;
            break;
        }
        len += (size_t)n;
    }
    text[len] = '\0';
    return arena_strdup(h->arena, text);
}

/*
 * Behind each of these a proxy could see no second request where we see one, or the other way round. So one answer is given,
 * a refusal, and what follows is not read, although it is a good event.
 */
E2E_TEST(no_request_is_smuggled)
{
#define LINE "POST /webhooks/popp HTTP/1.1\r\nHost: t\r\n" FORGED
#define BYTES(text)                                                                                                    \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }
    static const struct {
        const char *head;
        size_t len;
    } shapes[] = {
        BYTES(LINE "Content-Length: 0\r\nContent-Length: 5\r\n\r\n"),
        BYTES(LINE "Content-Length: 5\r\nContent-Length: 0\r\n\r\n"),
        BYTES(LINE "Content-Length: 0, 5\r\n\r\n"),
        BYTES(LINE "Content-Length: -1\r\n\r\n"),
        BYTES(LINE "Content-Length: +0\r\n\r\n"),
        BYTES(LINE "Content-Length: 0x0\r\n\r\n"),
        BYTES(LINE "Content-Length: zero\r\n\r\n"),
        BYTES(LINE "Content-Length:\r\n\r\n"),
        BYTES(LINE "Content-Length: 18446744073709551616\r\n\r\n"),
        BYTES(LINE "Content-Length: 18446744073709551615\r\n\r\n"),
        BYTES(LINE "Content-Length : 5\r\n\r\n"),
        BYTES(LINE "Content-Length\t: 5\r\n\r\n"),
        BYTES(LINE " Content-Length: 5\r\n\r\n"),
        BYTES(LINE "Content-Length: 0\r\n 5\r\n\r\n"),
        BYTES(LINE "Content-Length:\r\n 5\r\n\r\n"),
        BYTES(LINE "Content-Length: 0\0\r\n\r\n"),
        BYTES(LINE "Content-Length\0: 5\r\n\r\n"),
        BYTES(LINE "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: xchunked\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: identity\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding:\x0b"
                   "chunked\r\n\r\n0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        BYTES(LINE "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BYTES(LINE "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BYTES(LINE "X: y\rTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\n\r\n1;a=\nx\r\n0\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n"),
        BYTES(LINE "Transfer-Encoding: chunked\n\n0\n\n"),
        BYTES(LINE "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"),
        BYTES(LINE "\r\n"), /* no length at all */
        BYTES("GET /webhooks/popp HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n"),
        BYTES("GET /webhooks/popp HTTP/1.1\r\nHost: t\r\n\r\n"),
        BYTES("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n"),
        BYTES("POST /webhooks/popp HTTP/1.1\r\nHost: t\r\nHost: u\r\nContent-Length: 0\r\n\r\n"),
        BYTES("POST /webhooks/popp HTTP/1.1\r\n\r\n"),
        BYTES("POST /webhooks/popp HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BYTES("POST  /webhooks/popp  HTTP/1.1\r\nHost: t\r\n\r\n"),
        BYTES("POST /webhooks/popp HTTP/1.1 \r\nHost: t\r\n\r\n"),
        BYTES("POST /webhooks/popp\0 HTTP/1.1\r\nHost: t\r\n\r\n"),
        BYTES("POST /webhooks/popp\r\n\r\n"),
        BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        BYTES("NOSUCHMETHOD /webhooks/popp HTTP/1.1\r\nHost: t\r\n\r\n"),
    };
    struct program *d = daemon_start(h, &(struct daemon_conf){.receiver = LIMITS, .delivery = "enabled: false\n"});
    const char *event = signed_event(h);

    for (size_t i = 0; i < ATS_COUNT(shapes); i++) {
        int fd = http_open(h, d->port);
        const char *said, *end;
        bool closed;
        int64_t status = 0;

        assert_true(fd >= 0);
        http_write(h, fd, shapes[i].head, shapes[i].len);
        http_write(h, fd, event, strlen(event));
        said = read_all(h, fd, &closed);
        end = strstr(said, "\r\n\r\n");
        if (text_starts(said, "HTTP/1.1 ") && !text_to_i64(arena_strndup(h->arena, said + 9, 3), 100, 599, &status))
            status = 0;
        /* to be closed without an answer is one as well; what follows an answer that ends the connection is not looked at
         * by anybody, and libmicrohttpd 0.9.75 sends some of its refusals' heads twice */
        if (!closed || text_has(said, "HTTP/1.1 2") ||
            (said[0] != '\0' && (status < 400 || status > 505 || end == NULL ||
                                 !text_has(arena_strndup(h->arena, said, (size_t)(end - said)), "Connection: close"))))
            fail_msg("shape %zu (%s): %s, %s", i, shapes[i].head, closed ? "closed" : "not closed", said);
        (void)close(fd);
    }
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), "0");
    popp_deliver(h, d, popp_event(h, "run-started", NULL));
    daemon_stop(h, d);
}

#define ATTACK_RUN(name) cmocka_unit_test_setup_teardown(name, harness_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ATTACK_RUN(no_request_is_smuggled),
        ATTACK_RUN(idle_connections),
        ATTACK_RUN(slow_senders),
        ATTACK_RUN(floods),
        ATTACK_RUN(uploads),
        ATTACK_RUN(nonsense),
        ATTACK_RUN(attacks_on_tls),
    };

    keep_little_freed_memory();
    return e2e_main(tests);
}
