/*
 * oauth_stub - an ATS that wants to be signed in to, inside the test program: a token endpoint with refresh tokens that
 * work once, a session of three requests, and notes that only the newest token may write.
 *
 *   POST /token    RFC 6749: client_credentials, or refresh_token (the newest one only; it is replaced)
 *   GET  /info     where the token endpoint is
 *   POST /login    a session for the newest access token
 *   POST …/notes   201 with the newest access token as bearer, or the newest session in X-Session; else 401 (session: 412)
 *
 * Thread: all functions from any thread.
 */
#ifndef ATSYNC_TESTS_OAUTH_STUB_H
#define ATSYNC_TESTS_OAUTH_STUB_H

#include <stdbool.h>

#include "base/compiler.h"

#define OAUTH_CLIENT "client-1"
#define OAUTH_SECRET "s3cret:/+&="
#define OAUTH_FIRST "first~refresh+token/=="

struct oauth_rules {
    int expires_in;      /* 0: the answer does not say */
    const char *secret;  /* that the token endpoint takes; NULL: OAUTH_SECRET */
    int token_status;    /* what it answers with everything; 0: as it should */
    bool hold_tokens;    /* answers with tokens are made, and kept back */
    bool hold_notes;     /* requests for notes are kept back, undone */
    bool refuse_notes;   /* whatever they come with */
    const char *foreign; /* the base URL that comes with tokens; NULL: this server's */
    bool long_tokens;    /* access and refresh tokens have 200 characters more */
    int revoke;          /* so many of the next notes find their token revoked */
    int cut;             /* so many of the next answers with tokens break off behind them */
};
struct oauth_figures {
    unsigned tokens;  /* token requests that were answered with tokens */
    unsigned refused; /* those that were not */
    unsigned reused;  /* among them: with a refresh token that was replaced before */
    unsigned logins;
    unsigned notes, notes_refused;
    unsigned held; /* requests kept back now */
};

struct oauth_stub;
struct oauth_stub *oauth_stub_start(void); /* ends the process if it cannot */
void oauth_stub_stop(struct oauth_stub *s);
unsigned oauth_stub_port(const struct oauth_stub *s);
void oauth_stub_rules(struct oauth_stub *s, const struct oauth_rules *rules); /* from now on; lets go what was held */
struct oauth_figures oauth_stub_figures(struct oauth_stub *s);

#endif
