/*
 * httpc - many HTTP requests at once from one thread, over kept connections (the only file that knows libcurl; 7.80 and
 * newer).
 *
 * Certificates are always verified, no cookies, no .netrc, no proxy from the environment. Response bodies and headers
 * have a cap. The outcome tells apart what a caller must treat differently: not sent, perhaps executed, answered. Not a
 * place for retries, rate limits or authentication.
 *
 * A connection that was kept and turns out to be dead when the request has gone out: GET, PUT and DELETE, which may be
 * repeated (RFC 9110 section 9.2.2), are sent again over a new connection by libcurl if no byte of the answer had come;
 * POST and PATCH are not, they end as HTTPC_UNCERTAIN. Connections idle for over 60 s are not used again, so that this
 * stays rare.
 *
 * Thread: one struct httpc belongs to one thread, except httpc_wake().
 */
#ifndef ATSYNC_LIB_HTTPC_H
#define ATSYNC_LIB_HTTPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct httpc;

enum httpc_result {
    HTTPC_ANSWERED,  /* a complete response is there */
    HTTPC_NOT_SENT,  /* name not found, refused, TLS failure, proxy failure: the request was not executed */
    HTTPC_UNCERTAIN, /* time-out or lost connection after sending began: perhaps executed */
    HTTPC_TOO_LARGE, /* answered (status is valid), but the body or the headers went over the cap and were dropped */
    /* refused by us, nothing was executed: address not allowed; URL, header, method or time-out not acceptable */
    HTTPC_REFUSED,
};

enum { HTTPC_HEADERS_MAX_BYTES = 64 * 1024, HTTPC_REDIRECTS_MAX = 5 };

struct httpc_header {
    const char *name;
    const char *value;
};

struct httpc_request {  /* everything is copied by httpc_start */
    const char *method; /* GET POST PUT PATCH DELETE */
    const char *url;    /* http:// or https://, ASCII, without user name and password */
    /* Names are tokens (RFC 9110 section 5.6.2), values hold no control characters but the tab. Host, Content-Length,
     * Transfer-Encoding, Connection, Upgrade and Expect are ours and refused. A Content-Type is not made up. */
    const struct httpc_header *headers;
    size_t header_count;
    const char *body; /* NULL: none */
    size_t body_len;
    int timeout_ms; /* at least 1; whole transfer with its redirects, from when it begins. Connecting: 10 s at most */
    /* Not sent at or after this time of clock_mono_ms(): HTTPC_NOT_SENT then. Looked at right before the request goes
     * out, so that a process that was stopped meanwhile does not send what it has lost the right to; 0: any time. */
    int64_t send_before_ms;
    size_t response_max_bytes;
    /* Every request is HTTP/1.1, true or not: kept HTTP/1.1 connections were measured twice as fast as HTTP/2, and no
     * ATS needs more. true promises that this stays so for this request (some ATSs answer 505 to anything newer). */
    bool http1_only;
    /*
     * NULL: a redirect is an answer like any other. Else comma-separated host names ("*.example.com": any host below
     * it): a 307 or 308 to one of them is followed, up to HTTPC_REDIRECTS_MAX times, with method, body and all headers,
     * credentials included, which is why the list is explicit; never from https to http. A name stands for https at port
     * 443 and for the port of the request before; "a.example:8443" for that port alone, as who may listen at a host's
     * other ports need not be who the credentials are for. What does not fit, and 301, 302 and 303, are answers.
     */
    const char *redirect_hosts;
    const char *ca_file; /* NULL: the system's; else only the authorities in this file (private CA) */
    const char *client_cert_file, *client_key_file; /* PEM; NULL: none */
    const char *proxy;                              /* NULL: none */
    /* false: an address that address_is_private() is HTTPC_REFUSED, also on kept connections. Through a proxy the
     * check is not made: the name is resolved by the proxy, and the proxy's own address is the operator's choice. */
    bool allow_private_address;
};

struct httpc_response { /* valid during the callback only */
    enum httpc_result result;
    long status;                        /* 0 if no status line came */
    const struct httpc_header *headers; /* names in lower case; no trailers */
    size_t header_count;
    const char *body; /* NUL-terminated, never NULL; may hold NULs; "" unless HTTPC_ANSWERED */
    size_t body_len;
    const char *error; /* "" if HTTPC_ANSWERED, else a sentence; never holds paths of URLs, headers or bodies */
    int64_t duration_us;
};

typedef void (*httpc_done)(void *ctx, const struct httpc_response *response);

/* Once, before threads. Makes the process ignore SIGPIPE, which OpenSSL cannot avoid, and ends it without libcurl. */
void httpc_global_init(void);
/* connections_max: transfers on the network at once; further ones wait for their turn, in the order of their start. */
struct httpc *httpc_new(unsigned connections_max, const char *user_agent);
/* Fewer: transfers that are on the network already end as they would. Not from inside a callback. */
void httpc_set_connections_max(struct httpc *c, unsigned connections_max);
/* Transfers under way are dropped without a callback; NULL is harmless. Not from inside a callback. */
void httpc_free(struct httpc *c);

/* Starts a transfer; done is called once, from httpc_poll and never from here. What is refused gives a callback with
 * HTTPC_REFUSED too, so that the caller has one path. May be called from inside a callback. */
void httpc_start(struct httpc *c, const struct httpc_request *request, httpc_done done, void *ctx);
/* Moves transfers on and calls back those that ended; waits up to wait_ms if none did. Returns the number under way.
 * Not from inside a callback. */
unsigned httpc_poll(struct httpc *c, int wait_ms);
void httpc_wake(struct httpc *c); /* any thread: ends a waiting httpc_poll, or the next one's wait */
const char *httpc_header_value(const struct httpc_response *response, const char *lower_name); /* the first, or NULL */

#endif
