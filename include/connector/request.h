/*
 * request - from what a module asks for, as JSON, to a request that may be sent.
 *
 * The module names segments and values, never a finished path: everything is percent-encoded here, so that a value from
 * outside cannot leave its place, and a URL that leads anywhere but to the connector's own hosts is refused. Not a
 * place for authentication, sending, or the meaning of answers.
 *
 * Thread: a struct target is immutable; a struct request belongs to one thread.
 */
#ifndef ATSYNC_CONNECTOR_REQUEST_H
#define ATSYNC_CONNECTOR_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "lib/httpc.h"
#include "lib/json.h"

enum { REQUEST_URL_MAX_BYTES = 8192, REQUEST_BODY_MAX_BYTES = 8 * 1024 * 1024, REQUEST_HEADERS_MAX = 32 };

/* Where the requests of one connector go: base URL, hosts allowed, headers of every request. */
struct target;
/* ST_INVALID says what is wrong with base_url. It may be missing where meta.auth.base_url takes its place later. meta
 * must outlive the target. */
int target_new(const struct json *meta, const struct connector_config *connector, struct target **ret,
               struct errmsg *err) ATS_MUSTCHECK;
void target_free(struct target *t);                  /* NULL is harmless */
const char *target_base_url(const struct target *t); /* without a slash at its end; NULL: not known yet */
/* Requests go to this base URL from now on: the ATS named it when we signed in. What it says is not trusted: ST_DENIED
 * unless it is at the host of the configured base_url or at one of meta.hosts; the target is as before then. */
int target_move(struct target *t, const char *base_url, struct errmsg *err) ATS_MUSTCHECK;
/* Whether an absolute URL is one that requests may go to. */
bool target_allows(const struct target *t, const char *url);

/* Private and loopback addresses may be connected to: the configuration says so, or its base_url is such an address or
 * "localhost". */
bool request_allows_private(const struct connector_config *connector);

struct request {
    char *method;
    char *url;
    char *path; /* of the URL, without query: for logs */
    struct httpc_header headers[REQUEST_HEADERS_MAX];
    char *header_texts[2 * REQUEST_HEADERS_MAX]; /* what headers point to */
    size_t header_count;
    char *body; /* NULL: none */
    size_t body_len;
};

/*
 * spec: {method, path: ["segment", …] or url: "https://…", query: {…}, headers: {…}, body: any JSON or form: {…}}.
 * Segments, query, form and header values are texts or numbers (also booleans in query and form); in query and form a
 * list repeats the name and null leaves it out, as an absent body does. idempotency_key: NULL for none. ST_INVALID: the
 * spec is wrong or leads to a foreign host, the module has to be changed. ST_DENIED: a value cannot stand where it
 * should (a segment that is empty, that leaves the path as text_leaves_path() says, or is no text), the data has to be
 * changed. ST_NOT_FOUND: a segment is null. *ret is untouched then.
 */
int request_make(const struct target *t, const struct json *spec, const char *idempotency_key, struct request *ret,
                 struct errmsg *err) ATS_MUSTCHECK;
/* A request for tokens: the spec may have an Authorization header, and the headers of meta stay out. own_url: the spec's
 * url is the module's and the operator's, and may lead anywhere, encrypted; else it holds what an ATS said, and must be
 * at a host of the connector (ST_DENIED). */
int request_make_auth(const struct target *t, const struct json *spec, bool own_url, struct request *ret,
                      struct errmsg *err) ATS_MUSTCHECK;
void request_clear(struct request *r); /* wipes it as well */

#endif
