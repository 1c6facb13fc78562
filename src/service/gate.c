#include "service/gate.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/text.h"
#include "lib/crypto.h"

enum { PEERS_MAX = 64, WRONG_MAX = 10, NAME_BYTES = 256, ADDRESS_BYTES = 64, MAC_CHARS = 2 * CRYPTO_SHA256_BYTES };

/* Wrong tokens of an address within the current stretch of GATE_WAIT_SECONDS. */
struct peer {
    char address[ADDRESS_BYTES];
    int64_t since_ms;
    unsigned wrong;
};

struct gate {
    pthread_mutex_t mutex;
    char *listen_name;                /* of the address, without the port */
    uint8_t secret[CRYPTO_KEY_BYTES]; /* of this process: sessions end with it */
    bool needed;
    uint8_t token[CRYPTO_SHA256_BYTES]; /* digest: a comparison tells neither length nor place of a difference */
    struct peer peers[PEERS_MAX];
};

/* ---- names: "localhost:8481", "127.0.0.1", "[::1]:8481" */

/* The host without its port and brackets; false if it is too long to be one. */
static bool split_host(const char *host, char ret[NAME_BYTES])
{
    bool bracket = host[0] == '[';
    size_t len = bracket ? strcspn(host + 1, "]") : strcspn(host, ":");

    if (len >= NAME_BYTES) {
        return false;
    }
    memcpy(ret, host + (bracket ? 1 : 0), len);
    ret[len] = '\0';
    return true;
}

/* Only digits, hex digits, dots and colons: nobody can make such a "name" point elsewhere. */
static bool is_address(const char *host, const char *name)
{
    if (host[0] == '[') {
        return name[0] != '\0' && name[strspn(name, "0123456789abcdefABCDEF:.")] == '\0';
    }
    return name[0] != '\0' && name[strspn(name, "0123456789.")] == '\0';
}

static bool name_is_ours(const struct gate *g, const char *host)
{
    char name[NAME_BYTES];

    return split_host(host, name) &&
           (is_address(host, name) || text_ieq(name, "localhost") || text_ieq(name, g->listen_name));
}

/* ---- other sites */

/* What a browser says about where a request comes from; everybody else says nothing. */
static bool is_foreign(const struct gate_request *r)
{
    const char *after;

    if (r->fetch_site && (text_eq(r->fetch_site, "same-origin") || text_eq(r->fetch_site, "none"))) {
        return false; /* a form may come with an Origin of "null" all the same */
    }
    if (r->fetch_site) {
        /* somebody followed a link to here: the other site does not see what comes of it */
        bool followed =
            text_eq(r->fetch_mode, "navigate") && text_eq(r->fetch_dest, "document") && text_eq(r->method, "GET");

        return !followed;
    }
    if (!r->origin) {
        return false;
    }
    after = strstr(r->origin, "://");
    return !after || !r->host || !text_ieq(after + 3, r->host);
}

enum gate_verdict gate_check_origin(struct gate *g, const struct gate_request *r)
{
    if (is_foreign(r)) {
        return GATE_FOREIGN;
    }
    /* with a token a foreign name gains nothing: the session's cookie belongs to the right one */
    if (!gate_needs_token(g) && r->host && !name_is_ours(g, r->host)) {
        return GATE_WRONG_NAME;
    }
    return GATE_IN;
}

/* ---- who has tried too often; all with the lock held */

static struct peer *peer_of(struct gate *g, const char *address, int64_t now_ms)
{
    struct peer *oldest = &g->peers[0];

    for (size_t i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &g->peers[i];

        if (strcmp(p->address, address) == 0) {
            if (now_ms - p->since_ms >= (int64_t)GATE_WAIT_SECONDS * 1000) {
                p->wrong = 0;
                p->since_ms = now_ms;
            }
            return p;
        }
        oldest = p->since_ms < oldest->since_ms ? p : oldest;
    }
    *oldest = (struct peer){.since_ms = now_ms};
    (void)snprintf(oldest->address, sizeof oldest->address, "%s", address);
    return oldest;
}

static bool token_fits(const struct gate *g, const char *token)
{
    uint8_t given[CRYPTO_SHA256_BYTES];

    crypto_sha256(token, strlen(token), given);
    return crypto_equal(g->token, given, sizeof given);
}

static enum gate_verdict try_token(struct gate *g, const char *token, const char *address, int64_t now_ms)
{
    struct peer *peer = peer_of(g, address ? address : "", now_ms);

    if (peer->wrong >= WRONG_MAX) {
        return GATE_TOO_MANY;
    }
    if (token_fits(g, token)) {
        return GATE_IN;
    }
    peer->wrong++;
    return GATE_WRONG;
}

/* ---- sessions: "<when it ends, ms>.<MAC over that and the token's digest>" */

static void sign_session(const struct gate *g, const char *ends, char ret[MAC_CHARS + 1])
{
    struct crypto_hmac *h = crypto_hmac_new(g->secret, sizeof g->secret);
    const struct crypto_part parts[] = {{ends, strlen(ends)}, {g->token, sizeof g->token}};
    uint8_t mac[CRYPTO_SHA256_BYTES];

    crypto_hmac_sign(h, parts, ATS_COUNT(parts), mac);
    crypto_hmac_free(h);
    crypto_hex(mac, sizeof mac, ret);
}

static bool session_fits(const struct gate *g, const char *session, size_t len, int64_t now_ms)
{
    char ends[24], mac[MAC_CHARS + 1];
    const char *dot = memchr(session, '.', len);
    size_t ends_len = dot ? (size_t)(dot - session) : 0;
    int64_t ends_ms;

    if (!dot || ends_len >= sizeof ends || len - ends_len - 1 != MAC_CHARS) {
        return false;
    }
    memcpy(ends, session, ends_len);
    ends[ends_len] = '\0';
    sign_session(g, ends, mac);
    return crypto_equal(mac, dot + 1, MAC_CHARS) && text_to_i64(ends, 0, INT64_MAX, &ends_ms) && now_ms < ends_ms;
}

/* Looks for our cookie in "a=1; atsyncd_session=…; b=2". */
static bool has_session(const struct gate *g, const char *cookies, int64_t now_ms)
{
    static const char name[] = GATE_COOKIE "=";

    for (const char *at = cookies; at && *at != '\0';) {
        size_t len;

        at += strspn(at, " ;");
        len = strcspn(at, ";");
        if (strncmp(at, name, sizeof name - 1) == 0 &&
            session_fits(g, at + sizeof name - 1, len - (sizeof name - 1), now_ms)) {
            return true;
        }
        at += len;
    }
    return false;
}

enum gate_verdict gate_open_session(struct gate *g, const char *token, const char *peer, int64_t now_ms,
                                    char ret[GATE_SESSION_BYTES])
{
    enum gate_verdict v;

    (void)pthread_mutex_lock(&g->mutex);
    v = g->needed ? try_token(g, token, peer, now_ms) : GATE_WRONG;
    if (v == GATE_IN) {
        char mac[MAC_CHARS + 1];
        struct num_text ends = num_text(now_ms + (int64_t)GATE_SESSION_SECONDS * 1000);

        sign_session(g, ends.s, mac);
        (void)snprintf(ret, GATE_SESSION_BYTES, "%s.%s", ends.s, mac);
    }
    (void)pthread_mutex_unlock(&g->mutex);
    return v;
}

enum gate_verdict gate_check(struct gate *g, const struct gate_request *r, int64_t now_ms)
{
    static const char scheme[] = "Bearer ";
    bool bearer = r->authorization && strncasecmp(r->authorization, scheme, sizeof scheme - 1) == 0;
    enum gate_verdict v = gate_check_origin(g, r);

    if (v != GATE_IN) {
        return v;
    }
    (void)pthread_mutex_lock(&g->mutex);
    if (!g->needed || has_session(g, r->cookie, now_ms)) {
        v = GATE_IN;
    } else if (bearer) {
        v = try_token(g, r->authorization + sizeof scheme - 1, r->peer, now_ms);
    } else {
        v = r->cookie && strstr(r->cookie, GATE_COOKIE "=") ? GATE_WRONG : GATE_NO_TOKEN;
    }
    (void)pthread_mutex_unlock(&g->mutex);
    return v;
}

/* ---- life */

void gate_set_token(struct gate *g, const char *token)
{
    (void)pthread_mutex_lock(&g->mutex);
    g->needed = token != NULL;
    if (token) {
        crypto_sha256(token, strlen(token), g->token);
    }
    (void)pthread_mutex_unlock(&g->mutex);
}

bool gate_needs_token(struct gate *g)
{
    bool needed;

    (void)pthread_mutex_lock(&g->mutex);
    needed = g->needed;
    (void)pthread_mutex_unlock(&g->mutex);
    return needed;
}

struct gate *gate_new(const char *listen, const char *token)
{
    struct gate *g = mem_zalloc(sizeof *g);
    char name[NAME_BYTES];

    (void)pthread_mutex_init(&g->mutex, NULL);
    g->listen_name = mem_strdup(split_host(listen, name) ? name : "");
    crypto_random(g->secret, sizeof g->secret);
    gate_set_token(g, token);
    return g;
}

void gate_free(struct gate *g)
{
    if (!g) {
        return;
    }
    mem_free(g->listen_name);
    (void)pthread_mutex_destroy(&g->mutex);
    mem_free(g);
}
