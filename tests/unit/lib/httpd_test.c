/* httpd against plain sockets. Every wait has a deadline; nothing sleeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "lib/httpd.h"
#include "lib/tls.h"

enum {
    DEADLINE_MS = 20000,
    BODY_MAX_BYTES = 64 * 1024,
    KEPT_MAX = 512,
    ANSWER_MAX_BYTES = 32 * 1024 * 1024,
    LONG_BYTES = 16 * 1024 * 1024, /* does not fit into the buffers of sockets */
};

/* ---- the service under test */

struct service {
    struct httpd *httpd;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct httpd_request *kept[KEPT_MAX];
    unsigned kept_count;
    bool raced;
    atomic_uint checked;
    atomic_uint handled;
    atomic_uint too_large;
    atomic_uint users_freed;
    atomic_uint dropped[HTTPD_DROP_MEMORY + 1];
};

static void count_free(void *user)
{
    atomic_fetch_add((atomic_uint *)user, 1);
}

static void answer(struct httpd_request *req, const char *text)
{
    httpd_respond(req, 200, "text/plain", text, strlen(text));
}

static void on_check(void *ctx, struct httpd_request *req)
{
    struct service *s = ctx;

    atomic_fetch_add(&s->checked, 1);
    httpd_set_user(req, &s->users_freed, count_free);
    if (text_starts(httpd_path(req), "/refuse"))
        httpd_problem(req, 403, "Forbidden", "You may not.");
}

static void on_too_large(void *ctx, struct httpd_request *req)
{
    struct service *s = ctx;

    atomic_fetch_add(&s->too_large, 1);
    assert_ptr_equal(httpd_user(req), &s->users_freed); /* check came first */
    httpd_problem(req, 413, "Content Too Large", NULL);
}

static void on_dropped(void *ctx, enum httpd_drop why, const char *peer)
{
    struct service *s = ctx;

    assert_string_equal(peer, "127.0.0.1");
    atomic_fetch_add(&s->dropped[why], 1);
}

static void describe(struct httpd_request *req)
{
    struct buf text;
    unsigned count = 0;
    const char *first = httpd_header(req, "X-SIGNATURE", &count);
    const char *a = httpd_query(req, "a");
    const char *flag = httpd_query(req, "flag");

    buf_init(&text, 4096);
    buf_printf(&text, "%s %s first=%s count=%u a=%s flag=[%s] absent=%d peer=%s", httpd_method(req), httpd_path(req),
               first != NULL ? first : "-", count, a != NULL ? a : "-", flag != NULL ? flag : "-",
               httpd_query(req, "absent") != NULL, httpd_peer(req));
    answer(req, buf_text(&text));
    buf_free(&text);
}

static void on_handle(void *ctx, struct httpd_request *req)
{
    struct service *s = ctx;
    const char *path = httpd_path(req);

    atomic_fetch_add(&s->handled, 1);
    if (text_eq(path, "/echo")) {
        size_t len = 0;
        const char *body = httpd_body(req, &len);

        assert_int_equal(body[len], '\0');
        httpd_add_header(req, "X-Copied", "yes");
        httpd_add_header(req, "X-Forged", "a\r\nX-Injected: b");
        httpd_respond(req, 200, "application/octet-stream", body, len);
    } else if (text_eq(path, "/long")) {
        char *text = mem_zalloc(LONG_BYTES);

        httpd_respond(req, 200, "application/octet-stream", text, LONG_BYTES);
        mem_free(text);
    } else if (text_eq(path, "/id")) {
        answer(req, httpd_request_id(req));
    } else if (text_eq(path, "/problem")) {
        httpd_problem(req, 400, "Bad \"Request\"", "line\nbreak, \\ and \x01");
    } else if (text_eq(path, "/nothing")) {
        httpd_respond(req, 204, NULL, NULL, 0);
    } else if (text_starts(path, "/keep") || text_eq(path, "/race")) {
        (void)pthread_mutex_lock(&s->mutex);
        assert_true(s->kept_count < KEPT_MAX);
        s->kept[s->kept_count++] = req;
        (void)pthread_cond_broadcast(&s->changed);
        /* Stays in the handler until the other thread has answered. */
        while (text_eq(path, "/race") && !s->raced)
            (void)pthread_cond_wait(&s->changed, &s->mutex);
        (void)pthread_mutex_unlock(&s->mutex);
    } else {
        describe(req);
    }
}

static struct httpd_config plain_config(void)
{
    return (struct httpd_config){
        .listen = "127.0.0.1:0",
        .body_max_bytes = BODY_MAX_BYTES,
        .connections_max = 1000,
        .request_timeout_ms = DEADLINE_MS,
        .thread_name = "httpd-test",
    };
}

static struct service *service_start(const struct httpd_config *config)
{
    struct service *s = mem_zalloc(sizeof *s);
    const struct httpd_handlers handlers = {
        .check = on_check, .too_large = on_too_large, .handle = on_handle, .dropped = on_dropped, .ctx = s};
    struct errmsg err = {.text = ""};

    (void)pthread_mutex_init(&s->mutex, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    if (httpd_new(config, &handlers, &s->httpd, &err) != ST_OK || httpd_start(s->httpd, &err) != ST_OK)
        fail_msg("%s", err.text);
    return s;
}

static void service_free(struct service *s)
{
    httpd_free(s->httpd);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->mutex);
    mem_free(s);
}

/* Waits until that many requests are kept, and takes them. */
static void service_take_kept(struct service *s, unsigned count, struct httpd_request **ret)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    (void)pthread_mutex_lock(&s->mutex);
    while (s->kept_count < count) {
        if (pthread_cond_timedwait(&s->changed, &s->mutex, &until) != 0) {
            unsigned got = s->kept_count;

            (void)pthread_mutex_unlock(&s->mutex);
            fail_msg("only %u of %u requests reached the handler", got, count);
        }
    }
    memcpy(ret, s->kept, count * sizeof *ret);
    s->kept_count -= count;
    memmove(s->kept, s->kept + count, s->kept_count * sizeof *ret);
    (void)pthread_mutex_unlock(&s->mutex);
}

/* ---- a client */

struct client {
    int fd;
    SSL *ssl;
    struct buf in;
    /* of the last response */
    unsigned status;
    char headers[4096];
    char *body;
    size_t body_len;
};

static int try_connect(unsigned port)
{
    const struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = DEADLINE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    assert_int_equal(close(fd), 0);
    return -1;
}

static struct client *client_new(unsigned port)
{
    struct client *c = mem_zalloc(sizeof *c);

    buf_init(&c->in, ANSWER_MAX_BYTES);
    c->fd = try_connect(port);
    assert_true(c->fd >= 0);
    return c;
}

static void client_free(struct client *c)
{
    SSL_free(c->ssl);
    if (c->fd >= 0)
        (void)close(c->fd);
    mem_free(c->body);
    buf_free(&c->in);
    mem_free(c);
}

static bool client_try_send(struct client *c, const void *bytes, size_t len)
{
    size_t sent = 0;

    while (sent < len) {
        ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, (const char *)bytes + sent, (int)(len - sent))
                                   : send(c->fd, (const char *)bytes + sent, len - sent, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    return true;
}

static void client_send(struct client *c, const void *bytes, size_t len)
{
    if (!client_try_send(c, bytes, len))
        fail_msg("cannot send: %s", strerror(errno));
}

ATS_PRINTF(2, 3) static void client_sendf(struct client *c, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    assert_true(n > 0 && (size_t)n < sizeof text);
    client_send(c, text, (size_t)n);
}

/* 0 at the end of the connection; a reset counts as one too. */
static size_t client_fill(struct client *c)
{
    char bytes[16 * 1024];
    ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, bytes, sizeof bytes) : recv(c->fd, bytes, sizeof bytes, 0);

    if (n < 0 && c->ssl == NULL && errno != ECONNRESET)
        fail_msg("nothing came within %d ms: %s", DEADLINE_MS, strerror(errno));
    if (n <= 0)
        return 0;
    buf_add(&c->in, bytes, (size_t)n);
    assert_false(c->in.failed);
    return (size_t)n;
}

static const char *client_header(const struct client *c, const char *name, char *value, size_t size)
{
    const char *line = c->headers;
    size_t len = strlen(name);

    for (; line != NULL; line = strstr(line, "\r\n") != NULL ? strstr(line, "\r\n") + 2 : NULL) {
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            (void)snprintf(value, size, "%.*s", (int)strcspn(line + len + 2, "\r"), line + len + 2);
            return value;
        }
    }
    return NULL;
}

static void client_read(struct client *c)
{
    char value[64];
    const char *end;
    size_t head;
    int64_t length = 0;

    while ((end = strstr(buf_text(&c->in), "\r\n\r\n")) == NULL) {
        if (client_fill(c) == 0)
            fail_msg("the connection ended without an answer");
    }
    head = (size_t)(end - c->in.data) + 4;
    assert_int_equal(sscanf(c->in.data, "HTTP/1.1 %u", &c->status), 1);
    assert_true(head < sizeof c->headers);
    (void)snprintf(c->headers, sizeof c->headers, "%.*s", (int)head, c->in.data);
    if (client_header(c, "Content-Length", value, sizeof value) != NULL)
        assert_true(text_to_i64(value, 0, ANSWER_MAX_BYTES, &length));
    while (c->in.len < head + (size_t)length) {
        if (client_fill(c) == 0)
            fail_msg("the connection ended within an answer");
    }
    mem_free(c->body);
    c->body_len = (size_t)length;
    c->body = mem_alloc(c->body_len + 1);
    memcpy(c->body, c->in.data + head, c->body_len);
    c->body[c->body_len] = '\0';
    c->in.len -= head + c->body_len;
    memmove(c->in.data, c->in.data + head + c->body_len, c->in.len + 1);
}

static void assert_answer(struct client *c, unsigned status, const char *body)
{
    client_read(c);
    assert_int_equal(c->status, status);
    assert_string_equal(c->body, body);
}

static void assert_closed(struct client *c)
{
    assert_int_equal(c->in.len, 0);
    assert_int_equal(client_fill(c), 0);
}

static void assert_closing(const struct client *c, bool closing)
{
    char value[64];
    const char *connection = client_header(c, "Connection", value, sizeof value);

    assert_int_equal(connection != NULL && strcasecmp(connection, "close") == 0, closing);
}

static void client_get(struct client *c, const char *path)
{
    client_sendf(c, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path);
}

/* A connection with a request that is kept, or waits for a place. */
static struct client *service_keep(struct service *s)
{
    struct client *c = client_new(httpd_port(s->httpd));

    client_get(c, "/keep");
    return c;
}

/* Keeps the server's thread inside a handler, until service_let_go. */
static struct client *service_hold(struct service *s, struct httpd_request **ret)
{
    struct client *c = client_new(httpd_port(s->httpd));

    s->raced = false;
    client_get(c, "/race");
    service_take_kept(s, 1, ret);
    return c;
}

static void service_let_go(struct service *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    s->raced = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->mutex);
}

/* ---- tests */

static void test_plain(void **state)
{
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    char value[64];

    (void)state;
    client_sendf(c, "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_answer(c, 200, "hello");
    assert_string_equal(client_header(c, "Content-Type", value, sizeof value), "application/octet-stream");
    assert_string_equal(client_header(c, "X-Copied", value, sizeof value), "yes");
    assert_null(client_header(c, "X-Forged", value, sizeof value));
    assert_null(client_header(c, "X-Injected", value, sizeof value));
    assert_null(client_header(c, "Cache-Control", value, sizeof value));
    assert_closing(c, false);
    client_get(c, "/nothing");
    assert_answer(c, 204, "");
    assert_null(client_header(c, "Content-Type", value, sizeof value));
    assert_int_equal(httpd_connections(s->httpd), 1);
    client_free(c);
    service_free(s);
}

static void test_keep_alive(void **state)
{
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));

    (void)state;
    for (int i = 0; i < 20; i++) {
        client_get(c, "/x");
        client_read(c);
        assert_int_equal(c->status, 200);
    }
    /* two in one packet */
    client_sendf(c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\noneGET /x HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_answer(c, 200, "one");
    assert_answer(c, 200, "GET /x first=- count=0 a=- flag=[-] absent=0 peer=127.0.0.1");
    client_sendf(c, "GET /x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    client_read(c);
    assert_closing(c, true);
    assert_closed(c);
    client_free(c);
    service_free(s);
}

static void test_what_a_handler_sees(void **state)
{
    static const struct {
        const char *request;
        const char *answer;
    } cases[] = {
        {"GET /a%20b?a=x%26y+z&flag HTTP/1.1\r\nHost: t\r\n\r\n",
         "GET /a b first=- count=0 a=x&y z flag=[] absent=0 peer=127.0.0.1"},
        {"DELETE /x HTTP/1.1\r\nHost: t\r\nx-signature: one\r\n\r\n",
         "DELETE /x first=one count=1 a=- flag=[-] absent=0 peer=127.0.0.1"},
        {"POST /x?a=1&a=2 HTTP/1.1\r\nHost: t\r\nX-Signature: one\r\nOther: x\r\nX-SIGNATURE: two\r\nContent-Length: "
         "0\r\n\r\n",
         "POST /x first=one count=2 a=1 flag=[-] absent=0 peer=127.0.0.1"},
        {"GET /x HTTP/1.1\r\nHost: t\r\nX-Signature:\r\n\r\n",
         "GET /x first= count=1 a=- flag=[-] absent=0 peer=127.0.0.1"},
    };
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        client_send(c, cases[i].request, strlen(cases[i].request));
        assert_answer(c, 200, cases[i].answer);
    }
    client_free(c);
    service_free(s);
}

static void test_binary_body(void **state)
{
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1024\r\n\r\n";
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    char body[1024];

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i & 0xff);
    client_send(c, head, sizeof head - 1);
    client_send(c, body, 100);
    client_send(c, body + 100, sizeof body - 100);
    client_read(c);
    assert_int_equal(c->body_len, sizeof body);
    assert_memory_equal(c->body, body, sizeof body);
    client_sendf(
        c, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n");
    assert_answer(c, 200, "abcdefgh");
    client_free(c);
    service_free(s);
}

/* The id that a sane X-Request-Id gives, or one that is made; the same in handler and answer. */
static void test_request_id(void **state)
{
    static const struct {
        const char *headers;
        const char *id; /* NULL: one is made */
    } cases[] = {
        {"", NULL},
        {"X-Request-Id: 0af7651916cd43dd8448eb211c80319c\r\n", "0af7651916cd43dd8448eb211c80319c"},
        {"x-request-id:  A_b-C.9 \r\n", "A_b-C.9"},
        {"X-Request-Id: \r\n", NULL},
        {"X-Request-Id: jane@example.com\r\n", NULL},
        {"X-Request-Id: a b\r\n", NULL},
        {"X-Request-Id: a\x1b[31m\r\n", NULL},
        {"X-Request-Id: caf\xc3\xa9\r\n", NULL},
        {"X-Request-Id: one\r\nX-Request-Id: two\r\n", NULL},
        {"X-Request-Id: "
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901234567\r\n",
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901234567"},
        {"X-Request-Id: "
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "01234567890123456789012345678\r\n",
         NULL},
    };
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct service *other = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    struct client *elsewhere = client_new(httpd_port(other->httpd));
    char first[200], value[200];

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        client_sendf(c, "GET /id HTTP/1.1\r\nHost: t\r\n%s\r\n", cases[i].headers);
        client_read(c);
        assert_int_equal(c->status, 200);
        assert_string_equal(client_header(c, "X-Request-Id", value, sizeof value), c->body);
        if (cases[i].id != NULL)
            assert_string_equal(c->body, cases[i].id);
        else
            assert_int_equal(strspn(c->body, "0123456789abcdef-"), strlen(c->body));
        if (i == 0)
            (void)snprintf(first, sizeof first, "%s", c->body);
        else
            assert_string_not_equal(c->body, first);
    }
    client_get(elsewhere, "/id"); /* no other server makes the same */
    client_read(elsewhere);
    assert_string_not_equal(elsewhere->body, first);
    client_free(elsewhere);
    client_free(c);
    service_free(other);
    service_free(s);
}

static void test_problem(void **state)
{
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    char value[64];

    (void)state;
    client_sendf(c, "GET /problem HTTP/1.1\r\nHost: t\r\nX-Request-Id: r-1\r\n\r\n");
    assert_answer(c, 400,
                  "{\"type\":\"about:blank\",\"title\":\"Bad \\\"Request\\\"\",\"status\":400,"
                  "\"detail\":\"line\\nbreak, \\\\ and \\u0001\",\"instance\":\"r-1\"}");
    assert_string_equal(client_header(c, "Content-Type", value, sizeof value), "application/problem+json");
    client_free(c);
    service_free(s);
}

static void test_kept(void **state)
{
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    struct client *gone = client_new(httpd_port(s->httpd));
    struct httpd_request *req[2];
    int64_t started_ms = clock_mono_ms();

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        client_sendf(c, "POST /keep HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
        service_take_kept(s, 1, req);
        assert_string_equal(httpd_body(req[0], NULL), "body");
        answer(req[0], "later");
        httpd_wake(s->httpd);
        assert_answer(c, 200, "later");
        assert_closing(c, false);
    }
    /* An answer that waits for some timeout takes a second. */
    assert_true(clock_mono_ms() - started_ms < 10000);

    /* A peer that has left in the meantime harms nobody, and its request is freed all the same. */
    client_get(gone, "/keep");
    client_get(c, "/keep");
    service_take_kept(s, 2, req);
    client_free(gone);
    answer(req[0], "x");
    answer(req[1], "x");
    httpd_wake(s->httpd);
    assert_answer(c, 200, "x");
    client_free(c);
    httpd_stop(s->httpd);
    httpd_join(s->httpd);
    assert_int_equal(atomic_load(&s->users_freed), 22);
    assert_int_equal(httpd_connections(s->httpd), 0);
    service_free(s);
}

/* The answer comes from another thread while the handler has not returned. */
static void test_answer_overtakes_handler(void **state)
{
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct httpd_request *req[1];

    (void)state;
    for (int i = 0; i < 50; i++) {
        struct client *c = service_hold(s, req);

        answer(req[0], "raced");
        service_let_go(s);
        httpd_wake(s->httpd);
        assert_answer(c, 200, "raced");
        client_free(c);
    }
    service_free(s);
}

/*
 * libmicrohttpd 0.9.75 stalls for good when its own loop finds exactly 128 (256, ...) sockets ready. So the requests
 * are all there when the server's thread comes to look.
 */
static void many_at_once(unsigned connections, unsigned rounds)
{
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client **clients = mem_array(connections, sizeof *clients);
    struct httpd_request *req[KEPT_MAX];
    struct client *holder;
    int64_t started_ms;

    for (unsigned i = 0; i < connections; i++) {
        clients[i] = client_new(httpd_port(s->httpd));
        client_get(clients[i], "/id");
        client_read(clients[i]);
    }
    started_ms = clock_mono_ms();
    for (unsigned round = 0; round < rounds; round++) {
        holder = service_hold(s, req);
        for (unsigned i = 0; i < connections; i++)
            client_get(clients[i], "/keep");
        answer(req[0], "held");
        service_let_go(s);
        assert_answer(holder, 200, "held");
        client_free(holder);
        service_take_kept(s, connections, req);
        for (unsigned i = 0; i < connections; i++)
            answer(req[i], "committed");
        httpd_wake(s->httpd);
        for (unsigned i = 0; i < connections; i++)
            assert_answer(clients[i], 200, "committed");
    }
    /* A stalled round waits for a timeout. */
    assert_true(clock_mono_ms() - started_ms < DEADLINE_MS / 2);
    for (unsigned i = 0; i < connections; i++)
        client_free(clients[i]);
    mem_free(clients);
    service_free(s);
}

static void test_128_at_once(void **state)
{
    (void)state;
    many_at_once(128, 20);
}

static void test_256_at_once(void **state)
{
    (void)state;
    many_at_once(256, 10);
}

/* One thread drives all connections in a closed loop, each request answered by the handler itself. */
static void test_closed_loop(void **state)
{
    enum { CONNECTIONS = 128, REQUESTS = 6400 };
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *clients[CONNECTIONS];
    struct pollfd polled[CONNECTIONS];
    unsigned answered = 0;
    unsigned sent = 0;

    (void)state;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        clients[i] = client_new(httpd_port(s->httpd));
        polled[i] = (struct pollfd){.fd = clients[i]->fd, .events = POLLIN};
    }
    for (; sent < CONNECTIONS; sent++)
        client_get(clients[sent], "/id");
    while (answered < REQUESTS) {
        if (poll(polled, CONNECTIONS, DEADLINE_MS) <= 0)
            fail_msg("stalled after %u of %u answers", answered, sent);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            if (polled[i].revents == 0)
                continue;
            client_read(clients[i]);
            assert_int_equal(clients[i]->status, 200);
            answered++;
            if (sent < REQUESTS) {
                client_get(clients[i], "/id");
                sent++;
            }
        }
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        client_free(clients[i]);
    service_free(s);
}

static void test_declared_too_large(void **state)
{
    static const char *const lengths[] = {"65537", "9223372036854775807", "9223372036854775808"};
    static const char too_large[] =
        "{\"type\":\"about:blank\",\"title\":\"Content Too Large\",\"status\":413,\"instance\":\"r\"}";
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c;
    char *body = mem_zalloc(BODY_MAX_BYTES);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(lengths); i++) {
        c = client_new(httpd_port(s->httpd));
        client_sendf(
            c,
            "POST /echo HTTP/1.1\r\nHost: t\r\nX-Request-Id: r\r\nExpect: 100-continue\r\nContent-Length: %s\r\n\r\n",
            lengths[i]);
        assert_answer(c, 413, too_large); /* at once, and without a 100 before it */
        assert_closing(c, true);
        assert_closed(c);
        client_free(c);
    }
    assert_int_equal(atomic_load(&s->too_large), ATS_COUNT(lengths));
    assert_int_equal(atomic_load(&s->handled), 0);

    c = client_new(httpd_port(s->httpd));
    client_sendf(c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY_MAX_BYTES);
    client_send(c, body, BODY_MAX_BYTES);
    client_read(c);
    assert_int_equal(c->status, 200);
    assert_int_equal(c->body_len, BODY_MAX_BYTES);
    client_free(c);
    mem_free(body);
    service_free(s);
}

/* A sender that writes everything before it reads must not lose the answer to a reset. */
static void test_refused_sender_can_read_the_answer(void **state)
{
    enum { BODY = 32 * 1024 * 1024 };
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    char *body = mem_zalloc(BODY);

    (void)state;
    client_sendf(c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY);
    client_send(c, body, BODY);
    client_read(c);
    assert_int_equal(c->status, 413);
    assert_closed(c);
    client_free(c);
    mem_free(body);
    service_free(s);
}

static void test_chunked_too_large(void **state)
{
    enum { CHUNKS = 20, CHUNK = 8 * 1024 };
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    char chunk[CHUNK];

    (void)state;
    memset(chunk, 'x', sizeof chunk);
    client_sendf(c, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < CHUNKS; i++) {
        client_sendf(c, "%x\r\n", (unsigned)CHUNK);
        client_send(c, chunk, CHUNK);
        client_sendf(c, "\r\n");
    }
    client_sendf(c, "0\r\n\r\n");
    client_read(c);
    assert_int_equal(c->status, 413);
    assert_int_equal(atomic_load(&s->too_large), 1);
    assert_int_equal(atomic_load(&s->handled), 0);
    client_get(c, "/x"); /* the whole body was taken off the connection */
    client_read(c);
    assert_int_equal(c->status, 200);
    client_free(c);
    service_free(s);
}

/* 64 MiB over the maximum is where patience ends. */
static void test_endless_chunked(void **state)
{
    enum { CHUNK = 1024 * 1024, CHUNKS_MAX = 100 };
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    char *chunk = mem_zalloc(CHUNK);
    int i = 0;

    (void)state;
    client_sendf(c, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (i < CHUNKS_MAX && client_try_send(c, "100000\r\n", 8) && client_try_send(c, chunk, CHUNK) &&
           client_try_send(c, "\r\n", 2))
        i++;
    assert_true(i >= 63 && i < CHUNKS_MAX);
    client_free(c);
    mem_free(chunk);
    service_free(s);
}

static void test_check_refuses(void **state)
{
    static const char refused[] = "{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403,\"detail\":\"You "
                                  "may not.\",\"instance\":\"r\"}";
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));

    (void)state;
    /* no body: the connection stays */
    client_sendf(c, "GET /refuse HTTP/1.1\r\nHost: t\r\nX-Request-Id: r\r\n\r\n");
    assert_answer(c, 403, refused);
    assert_closing(c, false);
    client_sendf(
        c, "POST /refuse HTTP/1.1\r\nHost: t\r\nX-Request-Id: r\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
    assert_answer(c, 403, refused); /* without having sent a byte of the body */
    assert_closing(c, true);
    assert_closed(c);
    client_free(c);
    c = client_new(httpd_port(s->httpd));
    client_sendf(c, "POST /refuse HTTP/1.1\r\nHost: t\r\nX-Request-Id: r\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_answer(c, 403, refused);
    assert_closed(c);
    client_free(c);
    assert_int_equal(atomic_load(&s->checked), 3);
    assert_int_equal(atomic_load(&s->handled), 0);

    c = client_new(httpd_port(s->httpd));
    client_sendf(c, "POST /echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_answer(c, 100, "");
    client_sendf(c, "ok");
    assert_answer(c, 200, "ok");
    client_free(c);
    service_free(s);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
        const char *contains;
        bool is_last; /* nobody knows where the next one would begin: what follows is not read */
    } cases[] = {
        {"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
         "exclude each other", true},
        {"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400, "with different values",
         true},
        {"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "transfer coding", true},
        {"GET /x%00y HTTP/1.1\r\nHost: t\r\n\r\n", 400, "NUL byte", false},
        {"GET /x?a=%00y HTTP/1.1\r\nHost: t\r\n\r\n", 400, "NUL byte", false},
        {"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: -3\r\n\r\n", 400, "", true},
        {"GET /x HTTP/1.1\r\n\r\n", 400, "", true},
        {"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", 400, "with different values",
         true},
        {"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding : chunked\r\n\r\n", 400, "not allowed", true},
        {"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length\t: 5\r\n\r\n", 400, "not allowed", true},
    };
    static const char next[] = "GET /x HTTP/1.1\r\nHost: t\r\n\r\n";
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct client *c = client_new(httpd_port(s->httpd));

        client_send(c, cases[i].request, strlen(cases[i].request));
        client_read(c);
        if (c->status != cases[i].status || strstr(c->body, cases[i].contains) == NULL)
            fail_msg("case %zu: %u %s", i, c->status, c->body);
        if (cases[i].is_last) {
            (void)client_try_send(c, next, sizeof next - 1);
            while (client_fill(c) > 0)
                ;
        }
        client_free(c);
    }
    assert_int_equal(atomic_load(&s->handled), 0);
    service_free(s);
}

/* Sends `head`, then one byte at a time, until the server has had enough. */
static void drip(struct service *s, struct client *c, const char *head, int timeout_ms)
{
    int64_t started_ms = clock_mono_ms();
    struct pollfd polled = {.fd = c->fd, .events = POLLIN};

    client_send(c, head, strlen(head));
    while (poll(&polled, 1, 20) == 0) {
        if (clock_mono_ms() - started_ms > DEADLINE_MS)
            fail_msg("not cut after %d ms", DEADLINE_MS);
        (void)client_try_send(c, "x", 1);
    }
    assert_closed(c);
    assert_true(clock_mono_ms() - started_ms >= timeout_ms - 50);
    assert_true(clock_mono_ms() - started_ms < 4 * timeout_ms + 2000);
    assert_int_equal(atomic_load(&s->handled), 1); /* the kept one */
}

static void test_slow_sender(void **state)
{
    enum { TIMEOUT_MS = 300 };
    struct httpd_config config = plain_config();
    struct service *s;
    struct client *kept;
    struct client *idle;
    struct client *c;
    struct httpd_request *req[1];

    (void)state;
    config.request_timeout_ms = TIMEOUT_MS;
    s = service_start(&config);
    kept = client_new(httpd_port(s->httpd));
    client_get(kept, "/keep");
    service_take_kept(s, 1, req);
    idle = client_new(httpd_port(s->httpd));

    c = client_new(httpd_port(s->httpd));
    drip(s, c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 60000\r\n\r\n", TIMEOUT_MS);
    client_free(c);
    c = client_new(httpd_port(s->httpd));
    drip(s, c, "POST /echo HTTP/1.1\r\nHost: t\r\nX-Long: ", TIMEOUT_MS);
    client_free(c);
    c = client_new(httpd_port(s->httpd));
    drip(s, c, "P", TIMEOUT_MS);
    client_free(c);
    /* and on a kept connection, after a good request */
    c = client_new(httpd_port(s->httpd));
    client_get(c, "/refuse");
    client_read(c);
    drip(s, c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 60000\r\n\r\n", TIMEOUT_MS);
    client_free(c);
    c = client_new(httpd_port(s->httpd));
    client_get(c, "/refuse");
    client_read(c);
    drip(s, c, "POST /", 2 * TIMEOUT_MS);
    client_free(c);

    assert_closed(idle);
    client_free(idle);
    /* Much later than the timeout: a request that is being processed is not cut. */
    answer(req[0], "patience");
    httpd_wake(s->httpd);
    assert_answer(kept, 200, "patience");
    client_free(kept);
    service_free(s);
}

static void test_limits(void **state)
{
    struct httpd_config config = plain_config();
    struct service *s;
    struct client *c[3];
    struct httpd_request *req[2];

    (void)state;
    config.connections_per_address_max = 2;
    s = service_start(&config);
    for (unsigned i = 0; i < 2; i++) {
        c[i] = client_new(httpd_port(s->httpd));
        client_get(c[i], "/x");
        client_read(c[i]);
    }
    c[2] = client_new(httpd_port(s->httpd));
    assert_closed(c[2]);
    assert_int_equal(httpd_connections(s->httpd), 2);
    assert_int_equal(atomic_load(&s->dropped[HTTPD_DROP_ADDRESS]), 1);
    for (unsigned i = 0; i < 3; i++)
        client_free(c[i]);
    service_free(s);

    config = plain_config();
    config.connections_max = 2;
    s = service_start(&config);
    for (unsigned i = 0; i < 3; i++)
        c[i] = service_keep(s);
    service_take_kept(s, 2, req);
    assert_int_equal(httpd_connections(s->httpd), 2); /* who is worked for is not closed: the third waits */
    assert_int_equal(atomic_load(&s->dropped[HTTPD_DROP_CROWDED]), 0);
    client_free(c[0]);
    answer(req[0], "one");
    answer(req[1], "two");
    httpd_wake(s->httpd);
    assert_answer(c[1], 200, "two");
    service_take_kept(s, 1, req);
    answer(req[0], "three");
    httpd_wake(s->httpd);
    assert_answer(c[2], 200, "three");
    client_free(c[1]);
    client_free(c[2]);
    service_free(s);
}

/* Who waits gets the place of who has not shown to be of use, or of who rests. */
static void test_places(void **state)
{
    struct httpd_config config = plain_config();
    struct service *s;
    struct client *proven;
    struct client *idle[3];
    struct client *late;

    (void)state;
    config.connections_max = 4;
    s = service_start(&config);
    for (unsigned i = 0; i < 3; i++) {
        idle[i] = client_new(httpd_port(s->httpd));
        client_sendf(idle[i], i == 0 ? "GET /" : "GET /x HTTP/1.1\r\n");
    }
    proven = client_new(httpd_port(s->httpd));
    client_get(proven, "/x");
    client_read(proven);
    for (unsigned i = 0; i < 3; i++) {
        late = client_new(httpd_port(s->httpd));
        client_get(late, "/x");
        client_read(late);
        assert_int_equal(late->status, 200);
        client_free(late);
    }
    assert_closed(idle[0]); /* the oldest was first */
    client_get(proven, "/x");
    client_read(proven);
    assert_int_equal(proven->status, 200);
    assert_true(atomic_load(&s->dropped[HTTPD_DROP_CROWDED]) >= 1);
    for (unsigned i = 0; i < 3; i++)
        client_free(idle[i]);
    client_free(proven);
    service_free(s);

    /* all have done good requests and rest: the longest resting goes */
    config.connections_max = 2;
    s = service_start(&config);
    for (unsigned i = 0; i < 3; i++) {
        idle[i] = client_new(httpd_port(s->httpd));
        client_get(idle[i], "/x");
        client_read(idle[i]);
        assert_int_equal(idle[i]->status, 200);
    }
    assert_closed(idle[0]);
    client_get(idle[1], "/x");
    client_read(idle[1]);
    assert_int_equal(idle[1]->status, 200);
    for (unsigned i = 0; i < 3; i++)
        client_free(idle[i]);
    service_free(s);
}

static void test_memory_of_bodies(void **state)
{
    enum { BODY = 40 * 1024, MAX = 200 * 1024 }; /* a body takes up 64 KB while it grows */
    struct httpd_config config = plain_config();
    struct service *s;
    struct client *c[3];
    struct client *proven;
    struct client *other;
    struct httpd_request *req[3];
    char *body = mem_zalloc(BODY);

    (void)state;
    config.bodies_max_bytes = MAX;
    s = service_start(&config);
    proven = client_new(httpd_port(s->httpd));
    client_get(proven, "/x");
    client_read(proven);
    client_sendf(proven, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY + 1);
    client_send(proven, body, BODY);
    /* the third takes what the first has: the oldest that has not proven itself */
    for (unsigned i = 0; i < 3; i++) {
        c[i] = client_new(httpd_port(s->httpd));
        client_sendf(c[i], "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY + 1);
        client_send(c[i], body, BODY);
        /* the next request's answer comes after these bytes were read */
        if (i == 0) {
            other = client_new(httpd_port(s->httpd));
            client_get(other, "/x");
            client_read(other);
            client_free(other);
        }
    }
    assert_closed(c[0]);
    client_send(c[2], "x", 1);
    client_read(c[2]);
    assert_int_equal(c[2]->status, 200);
    assert_int_equal(c[2]->body_len, BODY + 1);
    client_send(proven, "x", 1);
    client_read(proven);
    assert_int_equal(proven->status, 200);
    assert_true(atomic_load(&s->dropped[HTTPD_DROP_MEMORY]) >= 1);
    for (unsigned i = 0; i < 3; i++)
        client_free(c[i]);
    client_free(proven);

    /* what is being worked on keeps its memory; what does not fit beside it is told to come back */
    for (unsigned i = 0; i < 3; i++) {
        c[i] = client_new(httpd_port(s->httpd));
        client_sendf(c[i], "POST /keep HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY);
        client_send(c[i], body, BODY);
        service_take_kept(s, 1, &req[i]);
        other = client_new(httpd_port(s->httpd));
        client_sendf(other, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY);
        client_send(other, body, BODY);
        client_read(other);
        assert_int_equal(other->status, i < 2 ? 200 : 503);
        client_free(other);
    }
    for (unsigned i = 0; i < 3; i++)
        answer(req[i], "done");
    httpd_wake(s->httpd);
    for (unsigned i = 0; i < 3; i++)
        assert_answer(c[i], 200, "done");
    client_sendf(c[0], "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY);
    client_send(c[0], body, BODY);
    client_read(c[0]);
    assert_int_equal(c[0]->status, 200);
    for (unsigned i = 0; i < 3; i++)
        client_free(c[i]);

    /* the body of who is answered and takes his time keeps nobody out */
    for (unsigned i = 0; i < 3; i++) {
        c[i] = client_new(httpd_port(s->httpd));
        client_sendf(c[i], "POST /long HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY);
        client_send(c[i], body, BODY);
        (void)client_fill(c[i]);
        other = client_new(httpd_port(s->httpd));
        client_sendf(other, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY);
        client_send(other, body, BODY);
        client_read(other);
        assert_int_equal(other->status, 200);
        client_free(other);
    }
    for (unsigned i = 0; i < 3; i++)
        client_free(c[i]);
    mem_free(body);
    service_free(s);
}

/* A refusal ends the connection where the server faces strangers: nothing that stands behind it is read. */
static void test_close_after_refusal(void **state)
{
    struct httpd_config config = plain_config();
    struct service *s;
    struct client *c;

    (void)state;
    config.close_after_refusal = true;
    s = service_start(&config);
    c = client_new(httpd_port(s->httpd));
    client_sendf(c, "GET /x HTTP/1.1\r\nHost: t\r\n\r\nGET /refuse HTTP/1.1\r\nHost: t\r\n\r\n"
                    "GET /x HTTP/1.1\r\nHost: t\r\n\r\n");
    client_read(c);
    assert_int_equal(c->status, 200);
    assert_closing(c, false);
    client_read(c);
    assert_int_equal(c->status, 403);
    assert_closing(c, true);
    assert_closed(c);
    assert_int_equal(atomic_load(&s->handled), 1);
    client_free(c);
    service_free(s);
}

/* Answers that nobody takes. */
static void test_slow_reader(void **state)
{
    enum { TIMEOUT_MS = 300, BODY = 60 * 1024 };
    struct httpd_config config = plain_config();
    struct service *s;
    struct client *c;
    char *body = mem_zalloc(BODY);
    struct pollfd over = {.events = POLLRDHUP};

    (void)state;
    config.request_timeout_ms = TIMEOUT_MS;
    s = service_start(&config);
    c = client_new(httpd_port(s->httpd));
    do
        client_sendf(c, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY);
    while (client_try_send(c, body, BODY) && atomic_load(&s->handled) < 400 &&
           (over.fd = c->fd, poll(&over, 1, 0) == 0));
    over.fd = c->fd;
    assert_int_equal(poll(&over, 1, DEADLINE_MS), 1);
    assert_true(atomic_load(&s->handled) < 400);
    assert_int_equal(atomic_load(&s->dropped[HTTPD_DROP_SLOW]), 1);
    mem_free(body);
    client_free(c);
    service_free(s);
}

static void test_listen(void **state)
{
    static const struct {
        const char *listen;
        int st;
        const char *message;
    } cases[] = {
        {"8480", ST_INVALID, "cannot listen on \"8480\": write host:port or [address]:port, with a port up to 65535"},
        {":8480", ST_INVALID, "cannot listen on \":8480\": write host:port or [address]:port, with a port up to 65535"},
        {"[]:8480", ST_INVALID,
         "cannot listen on \"[]:8480\": write host:port or [address]:port, with a port up to 65535"},
        {"127.0.0.1:", ST_INVALID,
         "cannot listen on \"127.0.0.1:\": write host:port or [address]:port, with a port up to 65535"},
        {"127.0.0.1:65536", ST_INVALID,
         "cannot listen on \"127.0.0.1:65536\": write host:port or [address]:port, with a port up to 65535"},
        {"127.0.0.1:http", ST_INVALID,
         "cannot listen on \"127.0.0.1:http\": write host:port or [address]:port, with a port up to 65535"},
        {"::1:8480", ST_INVALID, "cannot listen on \"::1:8480\": write an IPv6 address in brackets, as [::1]:8480"},
        {"192.0.2.1:0", ST_IO,
         "cannot listen on 192.0.2.1:0: Cannot assign requested address (no network interface of this machine has this "
         "address)"},
    };
    const struct httpd_handlers handlers = {.check = on_check, .too_large = on_too_large, .handle = on_handle};
    struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct httpd *h = NULL;
    struct errmsg err;
    char taken[64];
    char expected[256];
    struct client *c;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        config.listen = cases[i].listen;
        assert_int_equal(httpd_new(&config, &handlers, &h, &err), cases[i].st);
        assert_string_equal(err.text, cases[i].message);
        assert_null(h);
    }
    /* The resolver's words depend on whether there is a network. */
    config.listen = "no-such-host.invalid:0";
    assert_int_equal(httpd_new(&config, &handlers, &h, &err), ST_IO);
    assert_true(text_starts(err.text, "cannot listen on no-such-host.invalid:0: "));
    assert_true(strlen(err.text) > strlen("cannot listen on no-such-host.invalid:0: "));

    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", httpd_port(s->httpd));
    (void)snprintf(expected, sizeof expected,
                   "cannot listen on %s: Address already in use (another program, or another daemon, listens there)",
                   taken);
    config.listen = taken;
    assert_int_equal(httpd_new(&config, &handlers, &h, &err), ST_IO);
    assert_string_equal(err.text, expected);
    assert_null(h);
    service_free(s);

    config.listen = "localhost:0";
    assert_int_equal(httpd_new(&config, &handlers, &h, &err), ST_OK);
    assert_true(httpd_port(h) > 0);
    httpd_free(h); /* never started */

    config.listen = "[::]:0";
    if (httpd_new(&config, &handlers, &h, &err) == ST_OK) { /* a machine may have no IPv6 */
        httpd_free(h);
        s = service_start(&config);
        c = client_new(httpd_port(s->httpd)); /* IPv4 is taken as well, and shown as such */
        client_get(c, "/x");
        assert_answer(c, 200, "GET /x first=- count=0 a=- flag=[-] absent=0 peer=127.0.0.1");
        client_free(c);
        service_free(s);
    } else {
        assert_non_null(strstr(err.text, "cannot listen on [::]:0: "));
    }
}

static void test_stop_loses_nothing(void **state)
{
    enum { KEPT = 20, WAITING = 30 };
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    unsigned port = httpd_port(s->httpd);
    struct client *kept[KEPT];
    struct client *open[4];
    struct client *held;
    struct client *waiting[WAITING];
    struct httpd_request *req[KEPT];
    struct httpd_request *req_held[1];
    unsigned checked;
    unsigned handled;
    int64_t started_ms;
    int fd;

    (void)state;
    for (unsigned i = 0; i < ATS_COUNT(open); i++) {
        open[i] = client_new(port);
        client_get(open[i], "/x");
        client_read(open[i]);
        assert_closing(open[i], false);
    }
    for (unsigned i = 0; i < KEPT; i++) {
        kept[i] = client_new(port);
        client_get(kept[i], "/keep");
    }
    service_take_kept(s, KEPT, req);

    /* While the server's thread is held up in a handler, others connect and the quiesce comes: they are not thrown out.
     */
    held = service_hold(s, req_held);
    for (unsigned i = 0; i < WAITING; i++)
        waiting[i] = client_new(port);
    httpd_quiesce(s->httpd);
    answer(req_held[0], "held");
    service_let_go(s);
    assert_answer(held, 200, "held");
    assert_closing(held, true);
    assert_closed(held);
    client_free(held);
    for (unsigned i = 0; i < WAITING; i++) {
        client_get(waiting[i], "/x");
        client_read(waiting[i]);
        assert_int_equal(waiting[i]->status, 200);
        assert_closing(waiting[i], true);
        client_free(waiting[i]);
    }
    started_ms = clock_mono_ms();
    while ((fd = try_connect(port)) >= 0) {
        assert_int_equal(close(fd), 0);
        assert_true(clock_mono_ms() - started_ms < DEADLINE_MS);
    }
    assert_int_equal(errno, ECONNREFUSED);

    client_get(open[0], "/x"); /* still handled */
    assert_answer(open[0], 200, "GET /x first=- count=0 a=- flag=[-] absent=0 peer=127.0.0.1");
    assert_closing(open[0], true);
    assert_closed(open[0]);

    client_sendf(open[2], "POST /x HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_answer(open[2], 100, "");
    checked = atomic_load(&s->checked);
    handled = atomic_load(&s->handled);
    httpd_stop(s->httpd);
    /* no longer handled, but answered, because a kept request holds up the end */
    client_sendf(open[2], "ok");
    client_get(open[1], "/x");
    for (unsigned i = 1; i < 3; i++) {
        client_read(open[i]);
        assert_int_equal(open[i]->status, 503);
        assert_closing(open[i], true);
        assert_closed(open[i]);
    }
    assert_int_equal(atomic_load(&s->checked), checked);
    assert_int_equal(atomic_load(&s->handled), handled);

    for (unsigned i = 0; i < KEPT; i++)
        answer(req[i], "committed");
    httpd_wake(s->httpd);
    httpd_join(s->httpd);
    for (unsigned i = 0; i < KEPT; i++) {
        assert_answer(kept[i], 200, "committed");
        assert_closing(kept[i], true);
        client_free(kept[i]);
    }
    assert_closed(open[3]);
    for (unsigned i = 0; i < ATS_COUNT(open); i++)
        client_free(open[i]);
    assert_int_equal(httpd_connections(s->httpd), 0);
    httpd_join(s->httpd);
    service_free(s);
}

static void *join_main(void *arg)
{
    httpd_join(arg);
    return NULL;
}

/* The end waits for an answer that does not fit into the socket's buffers. */
static void test_stop_waits_for_a_long_answer(void **state)
{
    enum { LENGTH = LONG_BYTES };
    const struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c = client_new(httpd_port(s->httpd));
    struct httpd_request *req[1];
    char *text = mem_zalloc(LENGTH);
    pthread_t joiner;

    (void)state;
    client_get(c, "/keep");
    service_take_kept(s, 1, req);
    httpd_stop(s->httpd);
    assert_int_equal(pthread_create(&joiner, NULL, join_main, s->httpd), 0);
    httpd_respond(req[0], 200, "text/plain", text, LENGTH);
    httpd_wake(s->httpd);
    client_read(c);
    assert_int_equal(c->body_len, LENGTH);
    assert_int_equal(pthread_join(joiner, NULL), 0);
    client_free(c);
    mem_free(text);
    service_free(s);
}

/* ---- TLS */

/* ciphers: of TLS 1.2; NULL: the usual ones */
static bool client_try_tls(struct client *c, int max_version, const char *ciphers)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_security_level(ctx, 0);
    if (ciphers != NULL)
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, ciphers), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, max_version), 1);
    c->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
    return SSL_connect(c->ssl) == 1;
}

static void assert_peer_name(const struct client *c, const char *name)
{
    X509 *cert = SSL_get1_peer_certificate(c->ssl);
    char cn[64] = "";

    assert_non_null(cert);
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn) > 0);
    X509_free(cert);
    assert_string_equal(cn, name);
}

static struct client *client_new_tls(unsigned port, const char *name)
{
    struct client *c = client_new(port);

    assert_true(client_try_tls(c, TLS1_3_VERSION, NULL));
    assert_peer_name(c, name);
    return c;
}

static void test_tls(void **state)
{
    static const char wrong[] = "the TLS certificate and key cannot be used: ";
    /* without authenticated encryption, and without forward secrecy */
    static const char *const weak[] = {"ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA",
                                       "AES256-GCM-SHA384:AES128-SHA"};
    const struct httpd_handlers handlers = {.check = on_check, .too_large = on_too_large, .handle = on_handle};
    struct httpd_config config = plain_config();
    struct service *s;
    struct client *c;
    struct client *old;
    struct client *kept;
    struct httpd_request *req[1];
    struct httpd *h = NULL;
    struct errmsg err;
    char *cert[2];
    char *key[2];
    unsigned port;

    (void)state;
    tls_make_certificate("first", &cert[0], &key[0]);
    tls_make_certificate("second", &cert[1], &key[1]);
    config.tls_certificate_pem = "not a certificate";
    config.tls_key_pem = key[0];
    assert_int_equal(httpd_new(&config, &handlers, &h, &err), ST_INVALID);
    assert_true(text_starts(err.text, wrong));
    assert_true(strlen(err.text) > sizeof wrong + 10);
    assert_null(strchr(err.text, '\n'));

    config.tls_certificate_pem = cert[0];
    s = service_start(&config);
    port = httpd_port(s->httpd);

    old = client_new_tls(port, "first");
    assert_string_equal(SSL_get_version(old->ssl), "TLSv1.3");
    client_sendf(old, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
    assert_answer(old, 200, "hello");
    c = client_new(port);
    assert_true(client_try_tls(c, TLS1_2_VERSION, NULL));
    client_get(c, "/id");
    client_read(c);
    client_free(c);
    c = client_new(port);
    assert_false(client_try_tls(c, TLS1_1_VERSION, NULL));
    client_free(c);

    for (size_t i = 0; i < ATS_COUNT(weak); i++) {
        c = client_new(port);
        assert_false(client_try_tls(c, TLS1_2_VERSION, weak[i]));
        client_free(c);
    }

    kept = client_new_tls(port, "first");
    client_get(kept, "/keep");
    service_take_kept(s, 1, req);

    /* certificate and key that do not belong together: refused, the old ones stay */
    config.tls_certificate_pem = cert[1];
    assert_int_equal(httpd_reload(s->httpd, &config, &err), ST_INVALID);
    assert_true(text_starts(err.text, wrong));
    client_free(client_new_tls(port, "first"));

    config.tls_key_pem = key[1];
    for (int i = 0; i < 5; i++) {
        assert_int_equal(httpd_reload(s->httpd, &config, &err), ST_OK);
        c = client_new_tls(port, "second");
        client_get(c, "/id");
        client_read(c);
        assert_int_equal(c->status, 200);
        client_free(c);
    }
    /* the connections from before go on */
    client_get(old, "/id");
    client_read(old);
    assert_int_equal(old->status, 200);
    assert_closing(old, false);
    httpd_stop(s->httpd);
    assert_int_equal(httpd_reload(s->httpd, &config, &err), ST_UNAVAILABLE);
    assert_string_equal(err.text, "nothing was changed: the server is being stopped");
    answer(req[0], "committed");
    httpd_wake(s->httpd);
    httpd_join(s->httpd);
    assert_answer(kept, 200, "committed");
    client_free(kept);
    client_free(old);
    service_free(s);

    /* from plain HTTP to TLS and back */
    config = plain_config();
    s = service_start(&config);
    port = httpd_port(s->httpd);
    old = client_new(port);
    client_get(old, "/id");
    client_read(old);
    config.tls_certificate_pem = cert[0];
    config.tls_key_pem = key[0];
    assert_int_equal(httpd_reload(s->httpd, &config, &err), ST_OK);
    client_get(old, "/id");
    client_read(old);
    assert_int_equal(old->status, 200);
    kept = client_new_tls(port, "first");
    config = plain_config();
    assert_int_equal(httpd_reload(s->httpd, &config, &err), ST_OK);
    c = client_new(port);
    client_get(c, "/id");
    client_read(c);
    assert_int_equal(c->status, 200);
    client_get(kept, "/id");
    client_read(kept);
    assert_int_equal(kept->status, 200);
    client_free(c);
    client_free(kept);
    client_free(old);
    service_free(s);
    for (unsigned i = 0; i < 2; i++) {
        mem_free(cert[i]);
        mem_free(key[i]);
    }
}

/* ---- a libmicrohttpd without TLS, and one that does not start */

static bool without_tls;

/* of libmicrohttpd; the linker calls these instead of it (Makefile) */
int __real_MHD_is_feature_supported(int feature);
int __wrap_MHD_is_feature_supported(int feature);

int __wrap_MHD_is_feature_supported(int feature)
{
    return without_tls ? 0 : __real_MHD_is_feature_supported(feature);
}

/* The number that the next descriptor gets: that of the lowest free one. */
static int next_descriptor(void)
{
    int fd = dup(STDIN_FILENO);

    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    return fd;
}

static void test_refused_reload_leaves_nothing_open(void **state)
{
    struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *c;
    struct errmsg err;
    int before = next_descriptor();

    (void)state;
    config.tls_certificate_pem = "not a certificate";
    config.tls_key_pem = "nor a key";
    for (int i = 0; i < 10; i++) {
        without_tls = i % 2 == 0;
        assert_int_equal(httpd_reload(s->httpd, &config, &err), ST_INVALID);
        if (without_tls)
            assert_string_equal(err.text, "cannot serve TLS: this libmicrohttpd was built without it; install one with "
                                          "GnuTLS, or put a proxy in front");
        without_tls = false;
        assert_int_equal(next_descriptor(), before);
    }
    c = client_new(httpd_port(s->httpd)); /* all stayed as it was */
    client_get(c, "/id");
    client_read(c);
    assert_int_equal(c->status, 200);
    client_free(c);
    service_free(s);
}

/* Neither a handshake that is not finished nor a buffer full of nothing keeps the processor busy. A busy machine only makes
 * the share smaller. */
static void test_stalled_connections_cost_little(void **state)
{
    enum { TIMEOUT_MS = 700 };
    struct httpd_config config = plain_config();
    char *cert;
    char *key;
    size_t hello_len;
    char *hello = tls_client_hello(&hello_len);
    char filler[32 * 1024];

    (void)state;
    memset(filler, 'x', sizeof filler);
    tls_make_certificate("stalled", &cert, &key);
    config.request_timeout_ms = TIMEOUT_MS;
    for (int tls = 0; tls <= 1; tls++) {
        struct service *s;
        struct client *c;
        struct timespec before;
        struct timespec after;
        int64_t began_ms;
        int64_t used_ms;

        config.tls_certificate_pem = tls ? cert : NULL;
        config.tls_key_pem = tls ? key : NULL;
        s = service_start(&config);
        c = client_new(httpd_port(s->httpd));
        if (tls) {
            client_send(c, hello, hello_len / 2);
        } else {
            client_sendf(c, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1;");
            (void)client_try_send(c, filler, sizeof filler); /* more than is read of a line */
        }
        assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before), 0);
        began_ms = clock_mono_ms();
        (void)client_fill(c); /* until the timeout */
        assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after), 0);
        used_ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
        if (used_ms * 10 > (clock_mono_ms() - began_ms) * 6)
            fail_msg("%s: %d ms of the processor for nothing", tls ? "handshake" : "chunk", (int)used_ms);
        client_free(c);
        service_free(s);
    }
    mem_free(hello);
    mem_free(cert);
    mem_free(key);
}

/* Limits that change while connections are open. */
static void test_reload_of_limits(void **state)
{
    struct httpd_config config = plain_config();
    struct service *s = service_start(&config);
    struct client *old = client_new(httpd_port(s->httpd));
    struct client *two[2];
    struct errmsg err;

    (void)state;
    client_sendf(old, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
    assert_answer(old, 200, "hello");
    config.body_max_bytes = 4;
    config.connections_max = 1;
    assert_int_equal(httpd_reload(s->httpd, &config, &err), ST_OK);
    two[0] = client_new(httpd_port(s->httpd));
    client_get(two[0], "/id");
    client_read(two[0]);
    assert_int_equal(two[0]->status, 200);
    two[1] = client_new(httpd_port(s->httpd));
    client_get(two[1], "/id"); /* gets the one place, whose owner rests */
    assert_closed(two[0]);
    client_sendf(old, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n");
    client_read(old);
    assert_int_equal(old->status, 413);
    client_free(two[0]);
    client_read(two[1]);
    assert_int_equal(two[1]->status, 200);

    config.body_max_bytes = 6;
    config.request_timeout_ms =
        100; /* an idle connection is cut after twice that, and it was opened under another rule */
    assert_int_equal(httpd_reload(s->httpd, &config, &err), ST_OK);
    client_sendf(two[1], "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
    assert_answer(two[1], 200, "hello");
    assert_closed(two[1]);
    client_free(two[1]);
    client_free(old);
    service_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_what_a_handler_sees),
        cmocka_unit_test(test_binary_body),
        cmocka_unit_test(test_request_id),
        cmocka_unit_test(test_problem),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_answer_overtakes_handler),
        cmocka_unit_test(test_128_at_once),
        cmocka_unit_test(test_256_at_once),
        cmocka_unit_test(test_closed_loop),
        cmocka_unit_test(test_declared_too_large),
        cmocka_unit_test(test_refused_sender_can_read_the_answer),
        cmocka_unit_test(test_chunked_too_large),
        cmocka_unit_test(test_endless_chunked),
        cmocka_unit_test(test_check_refuses),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_slow_sender),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_memory_of_bodies),
        cmocka_unit_test(test_close_after_refusal),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_stop_loses_nothing),
        cmocka_unit_test(test_stop_waits_for_a_long_answer),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_refused_reload_leaves_nothing_open),
        cmocka_unit_test(test_stalled_connections_cost_little),
        cmocka_unit_test(test_reload_of_limits),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    return cmocka_run_group_tests_name("lib/httpd", tests, NULL, NULL);
}
