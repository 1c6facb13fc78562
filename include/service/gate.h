/*
 * gate - who may see what the admin listener shows.
 *
 * Without a token (loopback only, the configuration sees to that) whoever can reach the address may look, but not a web
 * page of somebody else in a browser on the same machine: requests under a foreign name (DNS rebinding) and requests
 * that a browser says come from another site are refused. With a token, every request needs it as a bearer token, or a
 * session that was opened with it. Tokens are compared in constant time; after several wrong ones an address has to
 * wait.
 *
 * No HTTP here: the caller says what the headers were. Thread: any; it locks for itself.
 */
#ifndef ATSYNC_SERVICE_GATE_H
#define ATSYNC_SERVICE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct gate;

struct gate_request { /* headers as sent; NULL: absent, or several where one is allowed */
    const char *method;
    const char *host;
    const char *authorization;
    const char *cookie;
    const char *origin;
    const char *fetch_site, *fetch_mode, *fetch_dest;
    const char *peer; /* address, without port */
};

enum gate_verdict {
    GATE_IN,
    GATE_NO_TOKEN,   /* none was given, and no session */
    GATE_WRONG,      /* the token is wrong, or the session has ended */
    GATE_TOO_MANY,   /* this address has tried too many wrong tokens */
    GATE_WRONG_NAME, /* a name that is not this machine's */
    GATE_FOREIGN,    /* from another site */
};

enum { GATE_SESSION_SECONDS = 12 * 3600, GATE_WAIT_SECONDS = 60, GATE_SESSION_BYTES = 128 };

/* listen: as configured. token NULL: none is needed. Both are copied. */
struct gate *gate_new(const char *listen, const char *token);
void gate_free(struct gate *g); /* NULL is harmless */
/* Another token ends all sessions. */
void gate_set_token(struct gate *g, const char *token);
bool gate_needs_token(struct gate *g);

enum gate_verdict gate_check(struct gate *g, const struct gate_request *r, int64_t now_ms);
/* As gate_check, for what shows nothing and takes a token itself: without asking for one. */
enum gate_verdict gate_check_origin(struct gate *g, const struct gate_request *r);
/* Opens a session: the value of the cookie GATE_COOKIE is written to ret. GATE_IN, GATE_WRONG or GATE_TOO_MANY. */
enum gate_verdict gate_open_session(struct gate *g, const char *token, const char *peer, int64_t now_ms,
                                    char ret[GATE_SESSION_BYTES]);
#define GATE_COOKIE "atsyncd_session"

#endif
