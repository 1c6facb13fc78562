#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "lib/httpc.h"

enum {
    DEADLINE_MS = 30000, /* for what should take milliseconds */
    CONNECTIONS_MAX = 1000,
    LARGE_BYTES = 1500000, /* over 1 MiB libcurl would like to ask before sending */
    REQUEST_MAX_BYTES = 2000000,
    ANSWER_MAX_BYTES = 2000000,
};

/* ---- a server whose answers depend on the path ----------------------------------------------------------------- */

struct server {
    int fd;
    unsigned port;
    SSL_CTX *tls;         /* NULL: plain */
    const char *greeting; /* not NULL: said to everybody, who is then hung up on */
    pthread_t thread;
    pthread_mutex_t lock; /* for the rest */
    bool stopping;
    unsigned accepted, open, open_max, requests;
    struct connection {
        struct server *server;
        int fd;
        bool over; /* the descriptor is closed */
        pthread_t thread;
    } connections[CONNECTIONS_MAX];
};

struct stream {
    int fd;
    SSL *ssl;
};

static int stream_read(struct stream *s, char *bytes, int len)
{
    return s->ssl != NULL ? SSL_read(s->ssl, bytes, len) : (int)recv(s->fd, bytes, (size_t)len, 0);
}

static void stream_write(struct stream *s, const char *bytes, size_t len)
{
    while (len > 0) {
        int n = s->ssl != NULL ? SSL_write(s->ssl, bytes, (int)len) : (int)send(s->fd, bytes, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

/* Reads one request into b; false when the peer has gone. */
static bool read_request(struct stream *s, struct buf *b, size_t *head_len)
{
    size_t need = 0;
    char bytes[4096];

    buf_reset(b);
    *head_len = 0;
    while (*head_len == 0 || b->len < need) {
        int n = stream_read(s, bytes, sizeof bytes);
        const char *end;

        if (n <= 0)
            return false;
        buf_add(b, bytes, (size_t)n);
        end = strstr(buf_text(b), "\r\n\r\n");
        if (*head_len == 0 && end != NULL) {
            const char *length = strcasestr(buf_text(b), "\r\nContent-Length:");

            *head_len = (size_t)(end - b->data) + 4;
            need = *head_len + (length != NULL ? strtoul(length + 17, NULL, 10) : 0);
        }
    }
    return true;
}

static void answer(struct stream *s, const char *status, const char *headers, const char *body, size_t len)
{
    struct buf b;

    buf_init(&b, REQUEST_MAX_BYTES);
    buf_printf(&b, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n", status, headers, len);
    buf_add(&b, body, len);
    stream_write(s, b.data, b.len); /* in one piece, else the second one waits for a delayed ACK */
    buf_free(&b);
}

static void say(struct stream *s, const char *text)
{
    stream_write(s, text, strlen(text));
}

/* Returns false to hang up. */
static bool serve(struct server *server, struct stream *s, struct buf *request, unsigned number)
{
    char method[16] = "";
    char target[256] = "";
    char host[64] = "";
    char rest[64] = "";
    char *text;
    unsigned status;
    bool stay = true;

    sscanf(buf_text(request), "%15s %255s", method, target);
    if (strcmp(target, "/ok") == 0) {
        answer(s, "200 OK", "Content-Type: text/plain\r\nX-Thing:  a value \r\nX-Empty:\r\n", "hello", 5);
    } else if (strcmp(target, "/echo") == 0) {
        answer(s, "200 OK", "", buf_text(request), request->len);
    } else if (strcmp(target, "/empty") == 0) {
        say(s, "HTTP/1.1 204 No Content\r\n\r\n");
    } else if (strncmp(target, "/hold", 5) == 0) {
        stay = stream_read(s, rest, 1) > 0;
    } else if (strcmp(target, "/half") == 0 || strcmp(target, "/half-hold") == 0) {
        say(s, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
        stay = strcmp(target, "/half-hold") == 0 && stream_read(s, rest, 1) > 0;
    } else if (strcmp(target, "/close") == 0) {
        stay = false;
    } else if (strcmp(target, "/second-lost") == 0) {
        stay = number < 2;
        if (stay)
            answer(s, "200 OK", "", "first", 5);
    } else if (strcmp(target, "/big") == 0) {
        text = mem_zalloc(100001);
        memset(text, 'x', 100000);
        answer(s, "200 OK", "X-Thing: big\r\n", text, 100000);
        mem_free(text);
    } else if (strcmp(target, "/headers") == 0) {
        say(s, "HTTP/1.1 200 OK\r\n");
        for (unsigned i = 0; i < 1000; i++) {
            text = mem_printf("X-Header-%u: %0100u\r\n", i, i);
            say(s, text);
            mem_free(text);
        }
        say(s, "Content-Length: 0\r\n\r\n");
    } else if (strcmp(target, "/interim") == 0) {
        say(s, "HTTP/1.1 103 Early Hints\r\nX-Thing: early\r\n\r\nHTTP/1.1 200 OK\r\nX-Thing: late\r\n"
               "Content-Length: 3\r\n\r\nabc");
    } else if (strcmp(target, "/chunked") == 0) {
        static const char chunks[] =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\n\0d\r\n0\r\n"
            "X-Trailer: no\r\n\r\n";

        stream_write(s, chunks, sizeof chunks - 1);
    } else if (strcmp(target, "/junk") == 0) {
        say(s, "220 mail.example ESMTP\r\n");
        stay = false;
    } else if (strcmp(target, "/loop") == 0) {
        answer(s, "307 Temporary Redirect", "Location: /loop\r\n", "again", 5);
    } else if (sscanf(target, "/to/%u/%63[^/]/%63s", &status, host, rest) == 3) {
        char *location = mem_printf("Location: http://%s:%u/%s\r\n", host, server->port, rest);
        char *line = mem_printf("%u Redirect", status);

        answer(s, line, location, "elsewhere", 9);
        mem_free(location);
        mem_free(line);
    } else if (sscanf(target, "/port/%u", &status) == 1) {
        text = mem_printf("Location: http://127.0.0.1:%u/ok\r\n", status);
        answer(s, "307 Temporary Redirect", text, "", 0);
        mem_free(text);
    } else if (strcmp(target, "/plainly") == 0 || strcmp(target, "/secretly") == 0) {
        answer(s, "307 Temporary Redirect",
               target[1] == 'p' ? "Location: http://127.0.0.1/ok\r\n" : "Location: https://127.0.0.1/ok\r\n", "", 0);
    } else if (strcmp(method, "CONNECT") == 0) {
        answer(s, "403 Forbidden", "", "", 0);
    } else if (strncmp(target, "http://", 7) == 0) {
        answer(s, "200 OK", "", target, strlen(target));
    } else {
        answer(s, "404 Not Found", "", "", 0);
    }
    return stay;
}

static void *run_connection(void *ctx)
{
    struct connection *c = ctx;
    struct server *server = c->server;
    struct stream s = {.fd = c->fd};
    struct buf request;
    size_t head_len;
    bool stay = true;

    buf_init(&request, REQUEST_MAX_BYTES);
    if (server->greeting != NULL) {
        say(&s, server->greeting);
        stay = false;
    } else if (server->tls != NULL) {
        s.ssl = SSL_new(server->tls);
        SSL_set_fd(s.ssl, s.fd);
        stay = SSL_accept(s.ssl) == 1;
    }
    for (unsigned number = 1; stay && read_request(&s, &request, &head_len); number++) {
        pthread_mutex_lock(&server->lock);
        server->requests++;
        pthread_mutex_unlock(&server->lock);
        stay = serve(server, &s, &request, number);
    }
    SSL_free(s.ssl);
    buf_free(&request);
    pthread_mutex_lock(&server->lock);
    c->over = true;
    server->open--;
    close(c->fd);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static void *run_server(void *ctx)
{
    struct server *server = ctx;

    for (;;) {
        int fd = accept(server->fd, NULL, NULL);
        struct connection *c;

        if (fd < 0 && errno == EINTR)
            continue;
        pthread_mutex_lock(&server->lock);
        if (fd < 0 || server->stopping || server->accepted == CONNECTIONS_MAX) {
            pthread_mutex_unlock(&server->lock);
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        c = &server->connections[server->accepted++];
        *c = (struct connection){.server = server, .fd = fd};
        server->open++;
        if (server->open > server->open_max)
            server->open_max = server->open;
        if (pthread_create(&c->thread, NULL, run_connection, c) != 0)
            abort();
        pthread_mutex_unlock(&server->lock);
    }
}

static int listen_anywhere(unsigned *ret_port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static struct server *server_start(SSL_CTX *tls, const char *greeting)
{
    struct server *server = mem_zalloc(sizeof *server);

    server->fd = listen_anywhere(&server->port, 512);
    server->tls = tls;
    server->greeting = greeting;
    pthread_mutex_init(&server->lock, NULL);
    assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
    return server;
}

static void server_stop(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    for (unsigned i = 0; i < server->accepted; i++)
        if (!server->connections[i].over)
            shutdown(server->connections[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&server->lock);
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    for (unsigned i = 0; i < server->accepted; i++)
        pthread_join(server->connections[i].thread, NULL);
    close(server->fd);
    pthread_mutex_destroy(&server->lock);
    mem_free(server);
}

static unsigned server_count(struct server *server, const unsigned *counter)
{
    unsigned n;

    pthread_mutex_lock(&server->lock);
    n = *counter;
    pthread_mutex_unlock(&server->lock);
    return n;
}

/* ---- asking it ------------------------------------------------------------------------------------------------- */

struct fixture {
    struct server *server;
    struct httpc *c;
    char url[400];
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    f->server = server_start(NULL, NULL);
    f->c = httpc_new(16, "atsyncd-test/1");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    httpc_free(f->c);
    server_stop(f->server);
    mem_free(f);
    return 0;
}

static const char *url_of(struct fixture *f, const char *path)
{
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u%s", f->server->port, path);
    return f->url;
}

/* A request that the tests change where they differ. */
static struct httpc_request request_of(const char *method, const char *url)
{
    return (struct httpc_request){
        .method = method,
        .url = url,
        .timeout_ms = DEADLINE_MS,
        .response_max_bytes = ANSWER_MAX_BYTES,
        .allow_private_address = true,
    };
}

struct result {
    unsigned called;
    enum httpc_result result;
    long status;
    char *body;
    size_t body_len;
    char *error;
    char *thing; /* the header x-thing, or NULL */
    size_t header_count;
    int64_t duration_us;
};

static void on_done(void *ctx, const struct httpc_response *response)
{
    struct result *r = ctx;

    r->called++;
    r->result = response->result;
    r->status = response->status;
    r->body = mem_strndup(response->body, response->body_len);
    r->body_len = response->body_len;
    r->error = mem_strdup(response->error);
    r->thing = mem_strdup(httpc_header_value(response, "x-thing"));
    r->header_count = response->header_count;
    r->duration_us = response->duration_us;
    assert_int_equal(response->body[response->body_len], '\0');
}

static void result_free(struct result *r)
{
    mem_free(r->body);
    mem_free(r->error);
    mem_free(r->thing);
    *r = (struct result){.called = 0};
}

static void wait_for(struct httpc *c, const unsigned *called, unsigned count)
{
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;

    while (*called < count && clock_mono_ms() < end_ms)
        httpc_poll(c, 1000);
    assert_int_equal(*called, count);
}

static struct result ask(struct httpc *c, const struct httpc_request *request)
{
    struct result r = {.called = 0};

    httpc_start(c, request, on_done, &r);
    assert_int_equal(r.called, 0);
    wait_for(c, &r.called, 1);
    assert_int_equal(httpc_poll(c, 0), 0);
    assert_int_equal(r.called, 1);
    return r;
}

/* An error message in which @ stands for 127.0.0.1 and the port of the server. */
static void assert_result(struct fixture *f, struct result *r, enum httpc_result result, const char *error)
{
    const char *at = strchr(error, '@');
    char *expected = at == NULL ? mem_strdup(error)
                                : mem_printf("%.*s127.0.0.1:%u%s", (int)(at - error), error, f->server->port, at + 1);

    assert_string_equal(r->error, expected);
    assert_int_equal(r->result, result);
    mem_free(expected);
    result_free(r);
}

static void test_answer(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("GET", url_of(f, "/ok"));
    struct result r = ask(f->c, &request);

    assert_int_equal(r.result, HTTPC_ANSWERED);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "hello");
    assert_string_equal(r.error, "");
    assert_string_equal(r.thing, "a value");
    assert_int_equal(r.header_count, 4);
    assert_true(r.duration_us > 0);
    result_free(&r);

    request = request_of("GET", url_of(f, "/nothing-here"));
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_ANSWERED);
    assert_int_equal(r.status, 404);
    assert_null(r.thing);
    result_free(&r);

    request = request_of("DELETE", url_of(f, "/empty"));
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_ANSWERED);
    assert_int_equal(r.status, 204);
    assert_string_equal(r.body, "");
    result_free(&r);
}

static void test_interim_answers_and_trailers_are_dropped(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("GET", url_of(f, "/interim"));
    struct result r = ask(f->c, &request);

    assert_int_equal(r.status, 200);
    assert_string_equal(r.thing, "late");
    assert_string_equal(r.body, "abc");
    result_free(&r);

    request = request_of("GET", url_of(f, "/chunked"));
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_ANSWERED);
    assert_int_equal(r.body_len, 5);
    assert_memory_equal(r.body, "abc\0d", 5);
    assert_int_equal(r.header_count, 1);
    result_free(&r);
}

static void test_what_is_sent(void **state)
{
    static const struct {
        const char *method;
        const char *body;
        const char *expected;
    } cases[] = {
        {"GET", NULL, ""},
        {"DELETE", NULL, ""},
        {"DELETE", "{}", "Content-Length: 2\r\n\r\n{}"},
        {"POST", NULL, "Content-Length: 0\r\n\r\n"},
        {"POST", "{\"a\":1}", "Content-Length: 7\r\n\r\n{\"a\":1}"},
        {"PUT", "x", "Content-Length: 1\r\n\r\nx"},
        {"PUT", NULL, "Content-Length: 0\r\n\r\n"},
        {"PATCH", "", "Content-Length: 0\r\n\r\n"},
    };
    static const struct httpc_header headers[] = {
        {"Authorization", "Bearer t0ken"}, {"X-Nothing", ""}, {"x-tab", "a\tb"}};
    struct fixture *f = *state;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct httpc_request request = request_of(cases[i].method, url_of(f, "/echo"));
        struct result r;
        char *expected =
            mem_printf("%s /echo HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: atsyncd-test/1\r\nAccept: */*\r\n"
                       "Authorization: Bearer t0ken\r\nX-Nothing:\r\nx-tab: a\tb\r\n%s",
                       cases[i].method, f->server->port, cases[i].expected[0] != '\0' ? cases[i].expected : "\r\n");

        request.headers = headers;
        request.header_count = ATS_COUNT(headers);
        request.body = cases[i].body;
        request.body_len = cases[i].body != NULL ? strlen(cases[i].body) : 0;
        r = ask(f->c, &request);
        assert_string_equal(r.body, expected);
        mem_free(expected);
        result_free(&r);
    }
}

static void test_large_body_and_content_type(void **state)
{
    static const struct httpc_header headers[] = {{"content-type", "application/json"}};
    struct fixture *f = *state;
    struct httpc_request request = request_of("POST", url_of(f, "/echo"));
    char *body = mem_alloc(LARGE_BYTES);
    struct result r = {.called = 0};

    memset(body, 'y', LARGE_BYTES);
    request.headers = headers;
    request.header_count = 1;
    request.body = body;
    request.body_len = LARGE_BYTES;
    httpc_start(f->c, &request, on_done, &r);
    memset(body, 'n', LARGE_BYTES); /* it has been copied */
    wait_for(f->c, &r.called, 1);
    assert_int_equal(r.result, HTTPC_ANSWERED);
    assert_non_null(strstr(r.body, "\r\ncontent-type: application/json\r\n"));
    assert_null(strcasestr(r.body, "Expect"));
    assert_int_equal(strspn(strstr(r.body, "\r\n\r\n") + 4, "y"), LARGE_BYTES);
    result_free(&r);
    mem_free(body);
}

static void test_connections_are_kept(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("POST", url_of(f, "/ok"));

    for (unsigned i = 0; i < 50; i++) {
        struct result r = ask(f->c, &request);

        assert_int_equal(r.status, 200);
        result_free(&r);
    }
    assert_int_equal(server_count(f->server, &f->server->requests), 50);
    assert_int_equal(server_count(f->server, &f->server->accepted), 1);
}

static void on_count(void *ctx, const struct httpc_response *response)
{
    unsigned *count = ctx;

    if (response->result == HTTPC_ANSWERED && response->status == 200)
        ++*count;
}

static void test_hundreds_at_once(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("GET", url_of(f, "/ok"));
    struct httpc *c = httpc_new(500, "t");
    unsigned answered = 0;

    for (unsigned i = 0; i < 400; i++)
        httpc_start(c, &request, on_count, &answered);
    assert_int_equal(httpc_poll(c, 0), 400 - answered);
    wait_for(c, &answered, 400);
    assert_int_equal(httpc_poll(c, 0), 0);
    assert_true(server_count(f->server, &f->server->open_max) > 100);
    httpc_free(c);
}

static void test_no_more_than_the_maximum_at_once(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("GET", url_of(f, "/ok"));
    struct httpc *c = httpc_new(4, "t");
    unsigned answered = 0;

    for (unsigned i = 0; i < 400; i++)
        httpc_start(c, &request, on_count, &answered);
    wait_for(c, &answered, 400);
    assert_true(server_count(f->server, &f->server->accepted) <= 4);
    httpc_free(c);
}

static void test_the_maximum_changes(void **state)
{
    struct fixture *f = *state;
    struct httpc_request hold = request_of("GET", url_of(f, "/hold"));
    struct httpc_request ok;
    struct httpc *c = httpc_new(1, "t");
    unsigned answered = 0;

    httpc_start(c, &hold, on_count, &answered);
    ok = request_of("GET", url_of(f, "/ok"));
    httpc_start(c, &ok, on_count, &answered);
    assert_int_equal(httpc_poll(c, 50), 2); /* one is held, and the other waits for its place */
    httpc_set_connections_max(c, 3);
    wait_for(c, &answered, 1);
    for (unsigned i = 0; i < 40; i++)
        httpc_start(c, &ok, on_count, &answered);
    httpc_set_connections_max(c, 2); /* those on the network end, those that wait get their turn */
    wait_for(c, &answered, 41);
    httpc_free(c);
}

static void test_waiting_does_not_use_up_the_time(void **state)
{
    struct fixture *f = *state;
    struct httpc_request hold = request_of("GET", url_of(f, "/hold"));
    struct httpc_request ok;
    struct httpc *c = httpc_new(1, "t");
    struct result first = {.called = 0};
    struct result second = {.called = 0};

    hold.timeout_ms = 400;
    httpc_start(c, &hold, on_done, &first);
    ok = request_of("GET", url_of(f, "/ok"));
    ok.timeout_ms = 300;
    httpc_start(c, &ok, on_done, &second);
    wait_for(c, &second.called, 1);
    assert_int_equal(first.called, 1);
    assert_int_equal(second.result, HTTPC_ANSWERED);
    result_free(&first);
    result_free(&second);
    httpc_free(c);
}

struct chain {
    struct httpc *c;
    struct httpc_request request;
    unsigned called;
};

static void on_link(void *ctx, const struct httpc_response *response)
{
    struct chain *chain = ctx;

    assert_int_equal(response->status, 200);
    if (++chain->called < 300)
        httpc_start(chain->c, &chain->request, on_link, chain);
}

/* Each one ends and starts the next inside libcurl's own work: none may be left for the end of a wait. */
static void test_nothing_waits_for_the_poll(void **state)
{
    struct fixture *f = *state;
    struct chain chain = {.c = f->c, .request = request_of("GET", url_of(f, "/ok"))};
    int64_t begin_ms = clock_mono_ms();

    httpc_start(f->c, &chain.request, on_link, &chain);
    while (chain.called < 300 && clock_mono_ms() < begin_ms + DEADLINE_MS)
        httpc_poll(f->c, 5000);
    assert_int_equal(chain.called, 300);
    assert_true(clock_mono_ms() < begin_ms + 5000);
}

static void test_refused_port(void **state)
{
    struct fixture *f = *state;
    unsigned port;
    int fd = listen_anywhere(&port, 1);
    struct httpc_request request;
    struct result r;
    char expected[100];

    close(fd);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u/a?secret=1", port);
    request = request_of("POST", f->url);
    r = ask(f->c, &request);
    snprintf(expected, sizeof expected, "could not connect to 127.0.0.1:%u: Connection refused", port);
    assert_int_equal(r.status, 0);
    assert_result(f, &r, HTTPC_NOT_SENT, expected);
}

static void test_unknown_name(void **state)
{
    /* a label over 63 bytes: the resolver answers without asking anybody */
    static const char name[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.invalid";
    struct fixture *f = *state;
    struct httpc_request request;
    struct result r;
    char *expected = mem_printf("the name %s cannot be resolved", name);

    snprintf(f->url, sizeof f->url, "http://%s/", name);
    request = request_of("GET", f->url);
    r = ask(f->c, &request);
    assert_result(f, &r, HTTPC_NOT_SENT, expected);
    mem_free(expected);
}

/* Neither over a new connection nor over a kept one, and what is in time goes out. */
static void test_not_sent_after_its_time(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("POST", url_of(f, "/ok"));
    struct result r;

    for (unsigned i = 0; i < 2; i++) {
        request.send_before_ms = clock_mono_ms();
        r = ask(f->c, &request);
        assert_int_equal(r.status, 0);
        assert_result(f, &r, HTTPC_NOT_SENT, "the time in which a request could be sent to @ was over");
        assert_int_equal(server_count(f->server, &f->server->requests), i);
        request.send_before_ms = clock_mono_ms() + DEADLINE_MS;
        r = ask(f->c, &request);
        assert_int_equal(r.status, 200);
        result_free(&r);
    }
}

static void test_time_out_before_the_answer(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("POST", url_of(f, "/hold?secret=1"));
    struct result r;

    request.timeout_ms = 200;
    r = ask(f->c, &request);
    assert_true(r.duration_us >= 190000);
    assert_result(f, &r, HTTPC_UNCERTAIN, "timed out after 0.2 s waiting for the answer of @");

    request = request_of("GET", url_of(f, "/half-hold"));
    request.timeout_ms = 200;
    r = ask(f->c, &request);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "");
    assert_result(f, &r, HTTPC_UNCERTAIN, "timed out after 0.2 s in the middle of the answer of @");
}

/* A listener that takes no more: its system drops what would be the next connection. */
static void test_time_out_while_connecting(void **state)
{
    struct fixture *f = *state;
    unsigned port;
    int fd = listen_anywhere(&port, 0);
    int waiting[8];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct httpc_request request;
    struct result r;
    char expected[100];

    address.sin_port = htons((uint16_t)port);
    for (size_t i = 0; i < ATS_COUNT(waiting); i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(connect(waiting[i], (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS);
    }
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u/", port);
    request = request_of("POST", f->url);
    request.timeout_ms = 200;
    r = ask(f->c, &request);
    snprintf(expected, sizeof expected, "timed out after 0.2 s connecting to 127.0.0.1:%u", port);
    assert_result(f, &r, HTTPC_NOT_SENT, expected);
    for (size_t i = 0; i < ATS_COUNT(waiting); i++)
        close(waiting[i]);
    close(fd);
}

static void test_lost_connections(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("POST", url_of(f, "/close"));
    struct result r = ask(f->c, &request);

    assert_int_equal(r.status, 0);
    assert_result(f, &r, HTTPC_UNCERTAIN, "the connection to @ was lost before the answer");
    request = request_of("GET", url_of(f, "/half"));
    r = ask(f->c, &request);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "");
    assert_result(f, &r, HTTPC_UNCERTAIN, "the connection to @ was lost in the middle of the answer");
    request = request_of("GET", url_of(f, "/junk"));
    r = ask(f->c, &request);
    assert_result(f, &r, HTTPC_UNCERTAIN, "@ did not answer in HTTP");
}

/* The server executes the second request on a connection and then loses it. What may be repeated is, the rest is not.
 */
static void test_kept_connection_that_breaks(void **state)
{
    static const struct {
        const char *method;
        unsigned requests;
        enum httpc_result result;
    } cases[] = {
        {"POST", 2, HTTPC_UNCERTAIN}, {"PATCH", 2, HTTPC_UNCERTAIN}, {"GET", 3, HTTPC_ANSWERED},
        {"PUT", 3, HTTPC_ANSWERED},   {"DELETE", 3, HTTPC_ANSWERED},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct httpc *c = httpc_new(4, "t");
        struct httpc_request request = request_of(cases[i].method, url_of(f, "/second-lost"));
        unsigned before = server_count(f->server, &f->server->requests);
        struct result r = ask(c, &request);

        assert_int_equal(r.result, HTTPC_ANSWERED);
        result_free(&r);
        r = ask(c, &request);
        assert_int_equal(server_count(f->server, &f->server->requests) - before, cases[i].requests);
        assert_result(f, &r, cases[i].result,
                      cases[i].result == HTTPC_ANSWERED ? "" : "the connection to @ was lost before the answer");
        httpc_free(c);
    }
}

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("GET", url_of(f, "/big"));
    struct result r;

    request.response_max_bytes = 100000;
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_ANSWERED);
    assert_int_equal(r.body_len, 100000);
    result_free(&r);
    request.response_max_bytes = 99999;
    r = ask(f->c, &request);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "");
    assert_string_equal(r.thing, "big");
    assert_result(f, &r, HTTPC_TOO_LARGE, "the answer of @ has more than 99999 bytes");
    request = request_of("GET", url_of(f, "/headers"));
    r = ask(f->c, &request);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.header_count, 0);
    assert_result(f, &r, HTTPC_TOO_LARGE, "the answer of @ has more than 65536 bytes of headers");
}

static void test_bad_requests_are_refused(void **state)
{
    static const struct {
        const char *method;
        const char *url; /* NULL: one that would be answered */
        struct httpc_header header;
        const char *error;
    } cases[] = {
        {"GET", NULL, {"X-A", "b\r\nX-Evil: 1"}, "the value of the header X-A has a control character (a line break?)"},
        {"GET", NULL, {"X-A", "b\n"}, "the value of the header X-A has a control character (a line break?)"},
        {"GET", NULL, {"X-A", "b\x7f"}, "the value of the header X-A has a control character (a line break?)"},
        {"GET", NULL, {"X-A\r\nX-Evil", "b"}, "a header's name has a character that HTTP does not allow there"},
        {"GET", NULL, {"X A", "b"}, "a header's name has a character that HTTP does not allow there"},
        {"GET", NULL, {"X-A:", "b"}, "a header's name has a character that HTTP does not allow there"},
        {"GET", NULL, {"", "b"}, "a header's name has a character that HTTP does not allow there"},
        {"GET", NULL, {"host", "b"}, "the header Host cannot be set, it is made from the request"},
        {"PUT", NULL, {"Content-length", "1"}, "the header Content-Length cannot be set, it is made from the request"},
        {"PUT",
         NULL,
         {"Transfer-Encoding", "x"},
         "the header Transfer-Encoding cannot be set, it is made from the request"},
        {"HEAD", NULL, {"X-A", "b"}, "the method is not one of GET, POST, PUT, PATCH, DELETE"},
        {"GET\r\n", NULL, {"X-A", "b"}, "the method is not one of GET, POST, PUT, PATCH, DELETE"},
        {"GET", "", {"X-A", "b"}, "the URL does not begin with https:// or http://"},
        {"GET", "ftp://127.0.0.1/", {"X-A", "b"}, "the URL does not begin with https:// or http://"},
        {"GET", "file:///etc/passwd", {"X-A", "b"}, "the URL does not begin with https:// or http://"},
        {"GET", "127.0.0.1/", {"X-A", "b"}, "the URL does not begin with https:// or http://"},
        {"GET", "http:/127.0.0.1/", {"X-A", "b"}, "the URL is malformed"},
        {"GET", "http:///127.0.0.1/", {"X-A", "b"}, "the URL is malformed"},
        {"GET", "http://", {"X-A", "b"}, "the URL is malformed"},
        {"GET", "http://127.0.0.1:99999/", {"X-A", "b"}, "the URL is malformed"},
        {"GET",
         "http://u:p@127.0.0.1/",
         {"X-A", "b"},
         "the URL of 127.0.0.1 holds a user name or password; use a header"},
        {"GET",
         "http://u@127.0.0.1/",
         {"X-A", "b"},
         "the URL of 127.0.0.1 holds a user name or password; use a header"},
        {"GET", "http://127.0.0.1/a b", {"X-A", "b"}, "the URL has a character that must be percent-encoded"},
        {"GET", "http://127.0.0.1/a\r\nb", {"X-A", "b"}, "the URL has a character that must be percent-encoded"},
        {"GET", "http://127.0.0.1/\xc3\xa9", {"X-A", "b"}, "the URL has a character that must be percent-encoded"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct httpc_request request =
            request_of(cases[i].method, cases[i].url != NULL ? cases[i].url : url_of(f, "/ok"));
        struct result r;

        request.headers = &cases[i].header;
        request.header_count = 1;
        r = ask(f->c, &request);
        assert_int_equal(r.status, 0);
        assert_result(f, &r, HTTPC_REFUSED, cases[i].error);
    }
    assert_int_equal(server_count(f->server, &f->server->accepted), 0);
}

static void test_more_bad_requests(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("GET", url_of(f, "/ok"));
    char *long_value = mem_zalloc(HTTPC_HEADERS_MAX_BYTES + 1);
    struct httpc_header header = {"X-Long", long_value};
    struct result r;

    request.timeout_ms = 0;
    r = ask(f->c, &request);
    assert_result(f, &r, HTTPC_REFUSED, "the request has no time-out");
    memset(long_value, 'x', HTTPC_HEADERS_MAX_BYTES);
    request.timeout_ms = 1000;
    request.headers = &header;
    request.header_count = 1;
    r = ask(f->c, &request);
    assert_result(f, &r, HTTPC_REFUSED, "the header X-Long is longer than 65536 bytes");
    mem_free(long_value);
}

static void test_private_address_is_refused(void **state)
{
    static const struct {
        const char *host;
        const char *error;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1 is not a public address; allow_private_addresses permits it"},
        {"2130706433", "127.0.0.1 is not a public address; allow_private_addresses permits it"},
        {"0x7f.1", "127.0.0.1 is not a public address; allow_private_addresses permits it"},
        {"169.254.169.254", "169.254.169.254 is not a public address; allow_private_addresses permits it"},
        {"10.0.0.1", "10.0.0.1 is not a public address; allow_private_addresses permits it"},
        {"[::1]", "::1 is not a public address; allow_private_addresses permits it"},
        {"[::ffff:127.0.0.1]", "::ffff:127.0.0.1 is not a public address; allow_private_addresses permits it"},
        {"[64:ff9b::7f00:1]", "64:ff9b::7f00:1 is not a public address; allow_private_addresses permits it"},
    };
    struct fixture *f = *state;
    struct httpc_request request;
    struct result r;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        snprintf(f->url, sizeof f->url, "http://%s:%u/ok", cases[i].host, f->server->port);
        request = request_of("GET", f->url);
        request.allow_private_address = false;
        r = ask(f->c, &request);
        assert_result(f, &r, HTTPC_REFUSED, cases[i].error);
    }
    assert_int_equal(server_count(f->server, &f->server->accepted), 0);
}

/* A name leads there, first over a new connection and then over one that another request was allowed to make. */
static void test_name_of_a_private_address_is_refused(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request;
    struct result r;
    int at;

    snprintf(f->url, sizeof f->url, "http://localhost:%u/ok", f->server->port);
    request = request_of("GET", f->url);
    request.allow_private_address = false;
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_REFUSED);
    at = 0;
    sscanf(r.error, "localhost is at %*[0-9.:], which is not a public address; allow_private_addresses permits it%n",
           &at);
    assert_true(at > 0 && r.error[at] == '\0');
    result_free(&r);
    assert_int_equal(server_count(f->server, &f->server->accepted), 0);

    request.allow_private_address = true;
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_ANSWERED);
    result_free(&r);
    request.allow_private_address = false;
    r = ask(f->c, &request);
    assert_result(f, &r, HTTPC_REFUSED,
                  "localhost is at 127.0.0.1, which is not a public address; allow_private_addresses permits it");
    assert_int_equal(server_count(f->server, &f->server->requests), 1);
}

static void test_redirects(void **state)
{
    static const struct httpc_header headers[] = {{"X-Key", "k3y"}};
    static const struct {
        const char *path;
        const char *hosts;
        long status;
        unsigned requests;
    } cases[] = {
        {"/to/307/localhost/echo", NULL, 307, 1},
        {"/to/307/localhost/echo", "", 307, 1},
        {"/to/307/localhost/echo", "127.0.0.1", 307, 1},
        {"/to/307/localhost/echo", "ocalhost, localhos, xlocalhost", 307, 1},
        {"/to/307/localhost/echo", "*.localhost", 307, 1},
        {"/to/307/localhost/echo", "localhost", 200, 2},
        {"/to/308/localhost/echo", "a.example, LOCALHOST ,b.example", 200, 2},
        {"/to/307/ats.localhost/echo", "*.localhost", 200, 2},
        {"/to/307/ats.localhost/echo", "*.host", 307, 1},
        {"/to/307/u@localhost/echo", "localhost", 307, 1},
        {"/to/301/localhost/echo", "localhost", 301, 1},
        {"/to/302/localhost/echo", "localhost", 302, 1},
        {"/to/303/localhost/echo", "localhost", 303, 1},
        {"/loop", "127.0.0.1", 307, 1 + HTTPC_REDIRECTS_MAX},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct httpc_request request = request_of("POST", url_of(f, cases[i].path));
        unsigned before = server_count(f->server, &f->server->requests);
        struct result r;

        request.redirect_hosts = cases[i].hosts;
        request.headers = headers;
        request.header_count = 1;
        request.body = "payload";
        request.body_len = 7;
        r = ask(f->c, &request);
        assert_int_equal(r.result, HTTPC_ANSWERED);
        if (r.status != cases[i].status)
            fail_msg("%s to %s: %ld", cases[i].path, cases[i].hosts, r.status);
        assert_int_equal(server_count(f->server, &f->server->requests) - before, cases[i].requests);
        if (r.status == 200) {
            assert_int_equal(strncmp(r.body, "POST /echo HTTP/1.1\r\n", 21), 0);
            assert_non_null(strstr(r.body, "\r\nX-Key: k3y\r\n"));
            assert_string_equal(strstr(r.body, "\r\n\r\n") + 4, "payload");
        }
        result_free(&r);
    }
}

static void test_redirect_to_nowhere_was_not_executed(void **state)
{
    struct fixture *f = *state;
    unsigned port;
    int fd = listen_anywhere(&port, 1);
    struct httpc_request request;
    struct result r;
    char path[40];
    char expected[100];

    close(fd);
    snprintf(path, sizeof path, "/port/%u", port);
    request = request_of("POST", url_of(f, path));
    snprintf(expected, sizeof expected, "127.0.0.1:%u", port);
    request.redirect_hosts = expected;
    r = ask(f->c, &request);
    snprintf(expected, sizeof expected, "could not connect to 127.0.0.1:%u: Connection refused", port);
    assert_int_equal(r.status, 0);
    assert_result(f, &r, HTTPC_NOT_SENT, expected);
}

/* Who may listen at another port of a host that is trusted is another question. */
static void test_redirect_to_another_port(void **state)
{
    static const struct {
        const char *hosts; /* @: the port of the other server, $: of the first one */
        bool followed;
    } cases[] = {
        {"127.0.0.1", false},   {"127.0.0.1:$", false}, {"127.0.0.1:@0", false},          {"127.0.0.1:", false},
        {"localhost:@", false}, {"127.0.0.1:@", true},  {"127.0.0.1, 127.0.0.1:@", true}, {"*.0.0.1:@,a.example", true},
    };
    struct fixture *f = *state;
    struct server *other = server_start(NULL, NULL);
    struct httpc_request request;
    struct result r;
    char path[40];

    snprintf(path, sizeof path, "/port/%u", other->port);
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        unsigned before = server_count(other, &other->requests);
        struct buf hosts;

        buf_init(&hosts, 200);
        for (const char *c = cases[i].hosts; *c != '\0'; c++) {
            if (*c == '@' || *c == '$')
                buf_printf(&hosts, "%u", *c == '@' ? other->port : f->server->port);
            else
                buf_putc(&hosts, *c);
        }
        request = request_of("POST", url_of(f, path));
        request.redirect_hosts = buf_text(&hosts);
        r = ask(f->c, &request);
        assert_int_equal(r.result, HTTPC_ANSWERED);
        if (r.status != (cases[i].followed ? 200 : 307) ||
            server_count(other, &other->requests) - before != (cases[i].followed ? 1 : 0))
            fail_msg("%s: %ld", cases[i].hosts, r.status);
        result_free(&r);
        buf_free(&hosts);
    }
    server_stop(other);
}

/* Of a name without a port: that of https, but not that of http, unless it was asked before. */
static void test_redirect_to_the_port_of_https(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("POST", url_of(f, "/plainly"));
    struct result r;

    request.redirect_hosts = "127.0.0.1";
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_ANSWERED);
    assert_int_equal(r.status, 307);
    result_free(&r);
    request.url = url_of(f, "/secretly");
    r = ask(f->c, &request); /* nobody is there, or somebody whom we do not trust */
    assert_int_equal(r.result, HTTPC_NOT_SENT);
    assert_non_null(strstr(r.error, " 127.0.0.1:443"));
    result_free(&r);
}

/* A host that may be asked leads to one that may not: an address, a name, and a name to which a connection is kept. */
static void test_redirect_to_a_private_address(void **state)
{
    static const struct {
        const char *to;
        const char *error; /* up to the address that a name has here */
    } cases[] = {
        {"127.0.0.1",
         "a redirect leads to 127.0.0.1, which is not a public address; allow_private_addresses permits it"},
        {"169.254.169.254",
         "a redirect leads to 169.254.169.254, which is not a public address; allow_private_addresses permits it"},
        {"2130706433",
         "a redirect leads to 127.0.0.1, which is not a public address; allow_private_addresses permits it"},
        {"localhost", "a redirect leads to localhost at "},
        {"ats.localhost", "a redirect leads to ats.localhost at "},
    };
    struct fixture *f = *state;
    struct httpc_request request, allowed;
    struct result r;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        for (int kept = 0; kept < 2; kept++) {
            unsigned before;

            snprintf(f->url, sizeof f->url, "http://%s:%u/ok", cases[i].to, f->server->port);
            allowed = request_of("GET", f->url);
            if (kept != 0 && strcmp(cases[i].to, "169.254.169.254") != 0) {
                r = ask(f->c, &allowed);
                assert_int_equal(r.result, HTTPC_ANSWERED);
                result_free(&r);
            }
            before = server_count(f->server, &f->server->requests);
            snprintf(f->url, sizeof f->url, "http://192.0.2.1:%u/to/307/%s/ok", f->server->port, cases[i].to);
            request = request_of("POST", f->url);
            request.allow_private_address = false;
            request.redirect_hosts = "127.0.0.1,169.254.169.254,localhost,*.localhost";
            r = ask(f->c, &request);
            assert_int_equal(r.result, HTTPC_REFUSED);
            assert_int_equal(r.status, 0);
            assert_int_equal(strncmp(r.error, cases[i].error, strlen(cases[i].error)), 0);
            assert_non_null(strstr(r.error, ", which is not a public address; allow_private_addresses permits it"));
            assert_int_equal(server_count(f->server, &f->server->requests) - before, 1); /* the first one alone */
            result_free(&r);
        }
    }
    request.allow_private_address = true; /* so it was the address */
    r = ask(f->c, &request);
    assert_int_equal(r.status, 200);
    result_free(&r);
}

static void test_proxy(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("GET", "http://ats.invalid/x");
    struct result r;
    char proxy[100];
    unsigned port;
    int fd = listen_anywhere(&port, 1);

    close(fd);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", port);
    setenv("http_proxy", proxy, 1);
    setenv("https_proxy", proxy, 1);
    setenv("all_proxy", proxy, 1);
    setenv("no_proxy", "*", 1);
    request = request_of("GET", url_of(f, "/ok"));
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_ANSWERED); /* the environment is not asked for a proxy */
    result_free(&r);
    snprintf(proxy, sizeof proxy, "http://user:s3cret@127.0.0.1:%u", f->server->port);
    request = request_of("GET", "http://ats.invalid/x");
    request.proxy = proxy;
    request.allow_private_address = false; /* not for the proxy's own address */
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_ANSWERED); /* nor for hosts without one */
    assert_string_equal(r.body, "http://ats.invalid/x");
    result_free(&r);
    request.url = "https://ats.invalid/x";
    r = ask(f->c, &request);
    assert_result(f, &r, HTTPC_NOT_SENT, "the proxy does not lead to ats.invalid:443: it answered 403");
    snprintf(proxy, sizeof proxy, "http://user:s3cret@127.0.0.1:%u", port);
    r = ask(f->c, &request);
    assert_result(f, &r, HTTPC_NOT_SENT,
                  "could not connect to the proxy on the way to ats.invalid:443: Connection refused");
    request.proxy = "gopher://user:s3cret@x";
    r = ask(f->c, &request);
    assert_int_equal(r.result, HTTPC_NOT_SENT);
    assert_null(strstr(r.error, "s3cret"));
    result_free(&r);
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("all_proxy");
    unsetenv("no_proxy");
}

/* ---- TLS ------------------------------------------------------------------------------------------------------- */

/* A server's certificate for 127.0.0.1, signed by itself; also written to a file, to be trusted or not. */
static SSL_CTX *make_tls(char file[])
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    FILE *out;

    assert_non_null(key);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_add_ext(cert, alt, -1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(tls, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(tls, key), 1);
    out = fdopen(mkstemp(file), "w");
    assert_non_null(out);
    assert_int_equal(PEM_write_X509(out, cert), 1);
    fclose(out);
    X509_EXTENSION_free(alt);
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

static void test_tls(void **state)
{
    struct fixture *f = *state;
    char file[] = "/tmp/httpc_test.XXXXXX";
    SSL_CTX *tls = make_tls(file);
    struct server *server = server_start(tls, NULL);
    struct httpc_request request;
    struct result r;
    char *expected;

    snprintf(f->url, sizeof f->url, "https://127.0.0.1:%u/ok", server->port);
    request = request_of("POST", f->url);
    r = ask(f->c, &request);
    expected = mem_printf("no secure connection to 127.0.0.1:%u: SSL certificate problem: ", server->port);
    assert_true(text_starts(r.error, expected));
    assert_int_equal(r.result, HTTPC_NOT_SENT);
    assert_int_equal(server_count(server, &server->requests), 0);
    result_free(&r);
    mem_free(expected);

    request.ca_file = file;
    for (unsigned i = 0; i < 3; i++) {
        r = ask(f->c, &request);
        assert_string_equal(r.body, "hello");
        result_free(&r);
    }
    assert_int_equal(server_count(server, &server->requests), 3);
    assert_int_equal(server_count(server, &server->accepted), 2);

    request.ca_file = NULL;
    r = ask(f->c, &request); /* neither the kept connection nor the used handle lends its trust */
    assert_int_equal(r.result, HTTPC_NOT_SENT);
    result_free(&r);
    request.ca_file = file;

    snprintf(f->url, sizeof f->url, "https://localhost:%u/ok", server->port);
    r = ask(f->c, &request); /* trusted, but for another name */
    expected = mem_printf("no secure connection to localhost:%u: SSL: no alternative certificate subject name matches "
                          "target host name 'localhost'",
                          server->port);
    assert_result(f, &r, HTTPC_NOT_SENT, expected);
    mem_free(expected);

    snprintf(f->url, sizeof f->url, "https://127.0.0.1:%u/to/307/127.0.0.1/ok", server->port);
    request.redirect_hosts = "127.0.0.1";
    r = ask(f->c, &request); /* it leads to http:// */
    assert_int_equal(r.result, HTTPC_ANSWERED);
    assert_int_equal(r.status, 307);
    result_free(&r);

    snprintf(f->url, sizeof f->url, "https://127.0.0.1:%u/ok", server->port);
    request.ca_file = "/nonexistent/ca.pem";
    r = ask(f->c, &request);
    expected = mem_printf("no secure connection to 127.0.0.1:%u: error setting certificate ", server->port);
    assert_int_equal(r.result, HTTPC_NOT_SENT);
    assert_true(text_starts(r.error, expected));
    result_free(&r);
    mem_free(expected);

    unlink(file);
    server_stop(server);
    SSL_CTX_free(tls);
}

static void test_tls_with_a_server_that_has_none(void **state)
{
    struct fixture *f = *state;
    struct server *rude = server_start(NULL, "220 mail.example ESMTP\r\n");
    struct httpc_request request;
    struct result r;
    char expected[100];

    snprintf(f->url, sizeof f->url, "https://127.0.0.1:%u/ok", rude->port);
    request = request_of("POST", f->url);
    r = ask(f->c, &request);
    snprintf(expected, sizeof expected, "no secure connection to 127.0.0.1:%u: ", rude->port);
    assert_int_equal(r.result, HTTPC_NOT_SENT);
    assert_true(text_starts(r.error, expected));
    result_free(&r);
    server_stop(rude);

    snprintf(f->url, sizeof f->url, "https://127.0.0.1:%u/ok", f->server->port);
    request.timeout_ms = 200;
    r = ask(f->c, &request); /* our plain server waits for the end of a request head */
    assert_result(f, &r, HTTPC_NOT_SENT, "timed out after 0.2 s making a secure connection to @");
}

/* ---- polling, waking, ending ------------------------------------------------------------------------------------ */

static void *run_waker(void *ctx)
{
    httpc_wake(ctx);
    return NULL;
}

static void test_wake(void **state)
{
    struct fixture *f = *state;
    struct httpc_request request = request_of("GET", url_of(f, "/hold"));
    struct result r = {.called = 0};
    int64_t begin_ms = clock_mono_ms();
    pthread_t thread;

    /* with nothing under way the wait has no other end */
    assert_int_equal(pthread_create(&thread, NULL, run_waker, f->c), 0);
    assert_int_equal(httpc_poll(f->c, DEADLINE_MS), 0);
    assert_true(clock_mono_ms() < begin_ms + DEADLINE_MS / 2);
    pthread_join(thread, NULL);

    begin_ms = clock_mono_ms();
    httpc_start(f->c, &request, on_done, &r);
    while (server_count(f->server, &f->server->requests) == 0 && clock_mono_ms() < begin_ms + DEADLINE_MS)
        httpc_poll(f->c, 10);
    assert_int_equal(pthread_create(&thread, NULL, run_waker, f->c), 0);
    assert_int_equal(httpc_poll(f->c, DEADLINE_MS), 1);
    pthread_join(thread, NULL);
    assert_int_equal(r.called, 0);
}

static void test_poll_waits(void **state)
{
    struct fixture *f = *state;
    int64_t begin_ms = clock_mono_ms();

    assert_int_equal(httpc_poll(f->c, 50), 0);
    assert_true(clock_mono_ms() >= begin_ms + 45);
}

static void on_refused_again(void *ctx, const struct httpc_response *response)
{
    struct chain *chain = ctx;

    assert_int_equal(response->result, HTTPC_REFUSED);
    chain->called++;
    httpc_start(chain->c, &chain->request, on_refused_again, chain);
}

static void test_refusals_come_one_poll_later(void **state)
{
    struct fixture *f = *state;
    struct chain chain = {.c = f->c, .request = request_of("GET", "ftp://x/")};

    httpc_start(f->c, &chain.request, on_refused_again, &chain);
    for (unsigned i = 1; i <= 5; i++) {
        int64_t begin_ms = clock_mono_ms();

        assert_int_equal(httpc_poll(f->c, DEADLINE_MS), 1);
        assert_int_equal(chain.called, i);
        assert_true(clock_mono_ms() < begin_ms + DEADLINE_MS / 2);
    }
}

static void test_free_with_transfers_under_way(void **state)
{
    struct fixture *f = *state;
    struct httpc *c = httpc_new(8, "t");
    struct httpc_request request;
    struct result r = {.called = 0};
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;

    request = request_of("POST", url_of(f, "/half-hold"));
    request.body = "some body";
    request.body_len = 9;
    request.redirect_hosts = "a.example";
    for (unsigned i = 0; i < 20; i++) /* 8 run, 12 wait */
        httpc_start(c, &request, on_done, &r);
    while (server_count(f->server, &f->server->requests) < 8 && clock_mono_ms() < end_ms)
        httpc_poll(c, 10);
    assert_int_equal(server_count(f->server, &f->server->requests), 8);
    request.url = "ftp://x/";
    httpc_start(c, &request, on_done, &r);
    httpc_free(c);
    assert_int_equal(r.called, 0);
    httpc_free(NULL);
}

static void test_easy_handles_start_clean(void **state)
{
    static const struct httpc_header headers[] = {{"X-Key", "k3y"}};
    struct fixture *f = *state;
    struct httpc *c = httpc_new(1, "t");
    struct httpc_request request = request_of("POST", url_of(f, "/echo"));
    struct result r;

    request.headers = headers;
    request.header_count = 1;
    request.body = "payload";
    request.body_len = 7;
    r = ask(c, &request);
    assert_non_null(strstr(r.body, "payload"));
    result_free(&r);
    request = request_of("GET", url_of(f, "/echo"));
    r = ask(c, &request);
    assert_int_equal(strncmp(r.body, "GET /echo HTTP/1.1\r\n", 20), 0);
    assert_null(strstr(r.body, "payload"));
    assert_null(strstr(r.body, "X-Key"));
    result_free(&r);
    httpc_free(c);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_answer),
        TEST(test_interim_answers_and_trailers_are_dropped),
        TEST(test_what_is_sent),
        TEST(test_large_body_and_content_type),
        TEST(test_connections_are_kept),
        TEST(test_hundreds_at_once),
        TEST(test_no_more_than_the_maximum_at_once),
        TEST(test_the_maximum_changes),
        TEST(test_waiting_does_not_use_up_the_time),
        TEST(test_nothing_waits_for_the_poll),
        TEST(test_refused_port),
        TEST(test_unknown_name),
        TEST(test_not_sent_after_its_time),
        TEST(test_time_out_before_the_answer),
        TEST(test_time_out_while_connecting),
        TEST(test_lost_connections),
        TEST(test_kept_connection_that_breaks),
        TEST(test_too_large),
        TEST(test_bad_requests_are_refused),
        TEST(test_more_bad_requests),
        TEST(test_private_address_is_refused),
        TEST(test_name_of_a_private_address_is_refused),
        TEST(test_redirects),
        TEST(test_redirect_to_nowhere_was_not_executed),
        TEST(test_redirect_to_another_port),
        TEST(test_redirect_to_the_port_of_https),
        TEST(test_redirect_to_a_private_address),
        TEST(test_proxy),
        TEST(test_tls),
        TEST(test_tls_with_a_server_that_has_none),
        TEST(test_wake),
        TEST(test_poll_waits),
        TEST(test_refusals_come_one_poll_later),
        TEST(test_free_with_transfers_under_way),
        TEST(test_easy_handles_start_clean),
    };

    httpc_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
