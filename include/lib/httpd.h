/*
 * httpd - a small HTTP server for JSON bodies (the only file that knows libmicrohttpd).
 *
 * Not a web framework: no routing, no files, no streaming. A body is read whole, an answer is given whole.
 *
 * The loop is our own thread around MHD's epoll descriptor: MHD's internal epoll thread stalls when exactly 128 sockets
 * are ready, and in an external loop its resume does not wake, so an eventfd of ours does, once per batch of answers.
 * One thread serves all connections; a handler must not block. A handler answers at once, or keeps the request and
 * answers later from any thread (the connection is suspended meanwhile).
 *
 * Refused before any handler sees them: what libmicrohttpd finds malformed (400, 413, 431, 501), a NUL byte in the
 * address (400), Transfer-Encoding together with Content-Length or a second, different Content-Length (400, RFC 9112
 * section 6.3), a header whose name is none (400), and a transfer coding other than chunked (501). After the latter three
 * the connection ends, as nobody knows where the next request begins.
 *
 * A connection is proven by its first request that was kept or answered with less than 400. When all places are taken
 * and somebody waits for one, and when bodies take too much memory, base/admission.h says who has to go.
 *
 * Every request has an id by which people find it in several logs: what came in X-Request-Id if that is once 1 to 128
 * letters, digits, "-", "." and "_", else one that is made. It stands in X-Request-Id of the answer (not of those that
 * libmicrohttpd gives itself), and as the instance of a problem document.
 */
#ifndef ATSYNC_LIB_HTTPD_H
#define ATSYNC_LIB_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"

struct httpd;
struct httpd_request;

struct httpd_config {
    /* "host:port" (a name or an IPv4 address) or "[address]:port"; "[::]:port" takes IPv4 as well; port 0 lets the
     * system choose. Of a name with several addresses the first that can be bound is taken. */
    const char *listen;
    size_t body_max_bytes;
    /* Of the bodies of all requests together, received and being received; 0: no limit. When that is exceeded,
     * connections whose request is not complete are closed. What is kept stays: a request that does not fit beside it is
     * answered 503. */
    uint64_t bodies_max_bytes;
    unsigned connections_max; /* more wait in the system's queue until one ends or can be closed, see above */
    /* 0: no limit; more are closed at once. The first 64 bits of an IPv6 address count as the address. */
    unsigned connections_per_address_max;
    /* An answer of 400 to 499 ends the connection. If somebody smuggled a request behind the refused one, through a proxy
     * that frames otherwise than we do, it is never read. */
    bool close_after_refusal;
    /*
     * How long a connection may be idle, and how long a whole request may take to arrive and an answer to be taken: a
     * peer that keeps sending single bytes is cut all the same. The time starts with the connection, on a kept
     * connection with the request line (which must be there within twice this time after the last answer). A request
     * that is being processed is never cut.
     */
    int request_timeout_ms;
    /* NULL: plain HTTP. Else TLS 1.2 and newer, the chain with the leaf first. Both texts are copied. */
    const char *tls_certificate_pem;
    const char *tls_key_pem;
    const char *thread_name; /* at most 15 characters */
};

/* Why a connection was closed that had done nothing wrong yet, or not sent all it wanted to. */
enum httpd_drop {
    HTTPD_DROP_SLOW,    /* request_timeout_ms was over, with the request or the taking of its answer */
    HTTPD_DROP_CROWDED, /* connections_max: others waited */
    HTTPD_DROP_ADDRESS, /* connections_per_address_max */
    HTTPD_DROP_MEMORY,  /* bodies_max_bytes; also with the 503 */
};

/*
 * All are called in the server's thread, from httpd_start until httpd_join has returned, and but for dropped must be set. Each
 * request is answered exactly once.
 */
struct httpd_handlers {
    /* The headers are there and the body is not: answer now to refuse, or do nothing to go on; keeping the request is
     * not possible yet. Refusing a request with a body ends the connection, in a way that lets the peer read the
     * answer. */
    void (*check)(void *ctx, struct httpd_request *req);
    /* After check (so what it set with httpd_set_user is there) and instead of handle, for a body over body_max_bytes:
     * must answer. A declared body is never read. Of a chunked one the excess is thrown away unstored, because
     * libmicrohttpd cannot answer before its end; after 64 MiB of it the connection is cut. */
    void (*too_large)(void *ctx, struct httpd_request *req);
    /* The whole body is there. Returning without an answer keeps the request. */
    void (*handle)(void *ctx, struct httpd_request *req);
    /* A connection is closed, or never begun. peer: its numeric address. May be NULL. */
    void (*dropped)(void *ctx, enum httpd_drop why, const char *peer);
    void *ctx;
};

/*
 * Binds and listens; no thread yet. ST_IO with the address and the reason; ST_INVALID for an address that is none, for
 * a certificate or key that cannot be used, and if libmicrohttpd was built without TLS.
 */
int httpd_new(const struct httpd_config *config, const struct httpd_handlers *handlers, struct httpd **ret,
              struct errmsg *err) ATS_MUSTCHECK;
int httpd_start(struct httpd *h, struct errmsg *err) ATS_MUSTCHECK;

/*
 * The way down: quiesce, stop, answer what was kept, join. Each may be called again. quiesce and stop only ask: they
 * return at once, and may be called from any thread.
 */

/* Closes the listening socket after taking in who had already connected. Requests on open connections are still
 * handled; each such connection ends with its next answer. */
void httpd_quiesce(struct httpd *h);
/* Quiesces, and calls no handler any more: requests that still arrive are answered 503. */
void httpd_stop(struct httpd *h);
/* Waits for the thread, which ends when every kept request was answered and the answers are on their way, at most
 * request_timeout_ms after the last one was given; then closes all connections. One thread, not the server's own. */
void httpd_join(struct httpd *h);
void httpd_free(struct httpd *h); /* stops and joins if that was not done; NULL is harmless */
unsigned httpd_port(const struct httpd *h);
unsigned httpd_connections(const struct httpd *h); /* open now; any thread */
/*
 * Other limits, certificate, TLS or not, for connections from now on; listening socket and thread stay (listen and
 * thread_name and close_after_refusal are not looked at). Open connections go on with the certificate that they have, and
 * are not counted among the new ones but in connections_per_address_max; body_max_bytes, bodies_max_bytes and
 * request_timeout_ms hold for their next requests as well. Any thread but the server's
 * own. On failure all stays as it was: ST_INVALID with the reason; ST_UNAVAILABLE while stopping.
 */
int httpd_reload(struct httpd *h, const struct httpd_config *config, struct errmsg *err) ATS_MUSTCHECK;

/*
 * ---- inside a handler, and in whatever thread owns a kept request, until it is answered.
 * The texts live as long as the request.
 */
const char *httpd_method(const struct httpd_request *req);
const char *httpd_path(const struct httpd_request *req); /* decoded, without the query */
/* The decoded value ("" if it has none), or NULL. */
const char *httpd_query(const struct httpd_request *req, const char *name);
/* The first value, or NULL if absent; *ret_count (may be NULL) how often it came. Names are case-insensitive. */
const char *httpd_header(const struct httpd_request *req, const char *name, unsigned *ret_count);
const char *httpd_body(const struct httpd_request *req, size_t *ret_len); /* NUL-terminated; ret_len may be NULL */
const char *httpd_peer(const struct httpd_request *req);                  /* numeric address without port, for logs */
/* The connection's socket, for a test server that breaks connections on purpose: may be shut down, not closed. */
int httpd_socket(const struct httpd_request *req);
const char *httpd_request_id(const struct httpd_request *req); /* see above; for logs */
/* Freed with the request (in the server's thread), or when replaced. free_user may be NULL. */
void httpd_set_user(struct httpd_request *req, void *user, void (*free_user)(void *));
void *httpd_user(const struct httpd_request *req);

/* Adds a response header (copied); before httpd_respond only. What HTTP does not allow (a line break) is left out. */
void httpd_add_header(struct httpd_request *req, const char *name, const char *value);
/*
 * Answers. body is copied; content_type NULL sends none. The request must not be touched afterwards, except by the
 * handler that answers it, until that returns. Of a kept request the answer leaves with the next httpd_wake().
 */
void httpd_respond(struct httpd_request *req, unsigned status, const char *content_type, const char *body, size_t len);
/* application/problem+json (RFC 9457) with type about:blank, title, status, instance and, unless it is NULL, detail. */
void httpd_problem(struct httpd_request *req, unsigned status, const char *title, const char *detail);
void httpd_wake(struct httpd *h); /* any thread: sends the answers given since the last wake */

#endif
