#include "lib/oauth_stub.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "lib/crypto.h"
#include "lib/httpd.h"

enum { HELD_MAX = 64, TEXT_MAX = 400 };

struct held {
    struct httpd_request *req;
    unsigned status;
    char *body;
};

struct oauth_stub {
    struct httpd *http;
    pthread_mutex_t lock;
    struct oauth_rules rules;
    struct oauth_figures figures;
    unsigned serial;   /* of the newest access token; 0: none */
    unsigned rotation; /* of the newest refresh token; 0: the first one */
    unsigned session;
    struct held held[HELD_MAX];
};

static void answer(struct httpd_request *req, unsigned status, const char *body)
{
    httpd_respond(req, status, "application/json", body, strlen(body));
}

static void hold(struct oauth_stub *s, struct httpd_request *req, unsigned status, const char *body)
{
    if (s->figures.held == HELD_MAX) {
        answer(req, 500, "{\"message\":\"too many are held\"}");
        return;
    }
    s->held[s->figures.held++] = (struct held){.req = req, .status = status, .body = mem_strdup(body)};
}

/* A value of the form, decoded; "" if it is not there. */
static void form_value(const char *form, const char *name, char ret[TEXT_MAX])
{
    size_t name_len = strlen(name), n = 0;

    for (const char *at = form; at != NULL && *at != '\0'; at = strchr(at, '&'), at += at != NULL) {
        if (strncmp(at, name, name_len) != 0 || at[name_len] != '=')
            continue;
        for (const char *p = at + name_len + 1; *p != '\0' && *p != '&' && n < TEXT_MAX - 1; p++) {
            uint8_t byte;
            size_t len;

            if (*p == '%' && crypto_unhex(p + 1, 2, &byte, 1, &len)) {
                ret[n++] = (char)byte;
                p += 2;
            } else {
                ret[n++] = *p == '+' ? ' ' : *p;
            }
        }
        break;
    }
    ret[n] = '\0';
}

static void encode(const char *text, char ret[TEXT_MAX])
{
    size_t n = 0;

    for (; *text != '\0' && n < TEXT_MAX - 4; text++) {
        if (strchr("-._~", *text) != NULL || (*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') ||
            (*text >= 'A' && *text <= 'Z'))
            ret[n++] = *text;
        else
            n += (size_t)snprintf(ret + n, 4, "%%%02X", (unsigned)(unsigned char)*text);
    }
    ret[n] = '\0';
}

/* By "basic", encoded as RFC 6749 wants it, or plain as for a chain; or in the body. */
static bool client_is_right(const struct oauth_stub *s, struct httpd_request *req)
{
    const char *given = httpd_header(req, "authorization", NULL);
    const char *secret = s->rules.secret != NULL ? s->rules.secret : OAUTH_SECRET;
    char encoded[TEXT_MAX], in_body[TEXT_MAX], id[TEXT_MAX];

    encode(secret, encoded);
    form_value(httpd_body(req, NULL), "client_secret", in_body);
    form_value(httpd_body(req, NULL), "client_id", id);
    if (given == NULL)
        return strcmp(in_body, secret) == 0 && strcmp(id, OAUTH_CLIENT) == 0;
    for (int i = 0; i < 2; i++) {
        char pair[2 * TEXT_MAX], value[4 * TEXT_MAX] = "Basic ";
        int len = snprintf(pair, sizeof(pair), "%s:%s", OAUTH_CLIENT, i == 0 ? encoded : secret);

        crypto_base64(pair, (size_t)len, value + 6);
        if (strcmp(value, given) == 0)
            return true;
    }
    return false;
}

static const char *more(const struct oauth_stub *s)
{
#define FIFTY "01234567890123456789012345678901234567890123456789"
    return s->rules.long_tokens ? FIFTY FIFTY FIFTY FIFTY : "";
}

static void access_token(const struct oauth_stub *s, char ret[TEXT_MAX])
{
    snprintf(ret, TEXT_MAX, "access~%u.-_+/%s==", s->serial, more(s));
}

static void refresh_token(const struct oauth_stub *s, char ret[TEXT_MAX])
{
    if (s->rotation == 0)
        snprintf(ret, TEXT_MAX, "%s", OAUTH_FIRST);
    else
        snprintf(ret, TEXT_MAX, "rotated~%u+/%s==", s->rotation, more(s));
}

static void refuse(struct oauth_stub *s, struct httpd_request *req, unsigned status, const char *code,
                   const char *words)
{
    char body[2 * TEXT_MAX];

    s->figures.refused++;
    snprintf(body, sizeof(body), "{\"error\":\"%.50s\",\"error_description\":\"%.600s\"}", code, words);
    answer(req, status, body);
}

static void handle_token(struct oauth_stub *s, struct httpd_request *req)
{
    char grant[TEXT_MAX], given[TEXT_MAX], newest[TEXT_MAX], scope[TEXT_MAX], access[TEXT_MAX], words[2 * TEXT_MAX];
    char expires[64] = "", body[8 * TEXT_MAX];
    bool refreshes;

    form_value(httpd_body(req, NULL), "grant_type", grant);
    form_value(httpd_body(req, NULL), "refresh_token", given);
    form_value(httpd_body(req, NULL), "scope", scope);
    refresh_token(s, newest);
    refreshes = strcmp(grant, "refresh_token") == 0;
    if (s->rules.token_status != 0) {
        refuse(s, req, (unsigned)s->rules.token_status, "server_error", "not now");
    } else if (!client_is_right(s, req)) {
        refuse(s, req, 401, "invalid_client", "unknown client");
    } else if (refreshes && strcmp(given, newest) != 0) {
        s->figures.reused++;
        snprintf(words, sizeof(words), "the token %s was used before", given);
        refuse(s, req, 400, "invalid_grant", words);
    } else if (!refreshes && (strcmp(grant, "client_credentials") != 0 || strcmp(scope, "notes") != 0)) {
        refuse(s, req, 400, "unsupported_grant_type", "no such grant, or no scope");
    } else {
        s->figures.tokens++;
        s->serial++;
        s->rotation += refreshes;
        access_token(s, access);
        refresh_token(s, newest);
        if (s->rules.expires_in > 0)
            snprintf(expires, sizeof(expires), ",\"expires_in\":%d", s->rules.expires_in);
        snprintf(body, sizeof(body), "{\"access_token\":\"%s\"%s%s%s%s,\"api\":\"http://127.0.0.1:%u/v2\"}", access,
                 expires, refreshes ? ",\"refresh_token\":\"" : "", refreshes ? newest : "", refreshes ? "\"" : "",
                 httpd_port(s->http));
        if (s->rules.foreign != NULL)
            snprintf(body, sizeof(body), "{\"access_token\":\"%s\",\"refresh_token\":\"%s\",\"api\":\"%s\"}", access,
                     newest, s->rules.foreign);
        if (s->rules.cut > 0) {
            s->rules.cut--;
            body[strlen(body) - 1] = '\0';
        }
        if (s->rules.hold_tokens)
            hold(s, req, 200, body);
        else
            answer(req, 200, body);
    }
}

static void handle_login(struct oauth_stub *s, struct httpd_request *req)
{
    const char *given = httpd_query(req, "access_token");
    char newest[TEXT_MAX], body[2 * TEXT_MAX];

    access_token(s, newest);
    if (given == NULL || strcmp(given, newest) != 0) {
        answer(req, 401, "{\"message\":\"no such token\"}");
        return;
    }
    s->figures.logins++;
    s->session++;
    snprintf(body, sizeof(body), "{\"session\":\"session~%u\",\"api\":\"http://127.0.0.1:%u/rest/corp/\"}", s->session,
             httpd_port(s->http));
    answer(req, 200, body);
}

static void handle_note(struct oauth_stub *s, struct httpd_request *req)
{
    const char *bearer = httpd_header(req, "authorization", NULL);
    const char *session = httpd_header(req, "x-session", NULL);
    char access[TEXT_MAX], wanted[TEXT_MAX], body[2 * TEXT_MAX];
    bool ok;

    access_token(s, access);
    snprintf(wanted, sizeof(wanted), "Bearer %.300s", access);
    if (session != NULL)
        snprintf(wanted, sizeof(wanted), "session~%u", s->session);
    ok = session != NULL ? strcmp(session, wanted) == 0 && text_starts(httpd_path(req), "/rest/corp/")
                         : bearer != NULL && strcmp(bearer, wanted) == 0;
    if (ok && s->rules.revoke > 0) {
        s->rules.revoke--;
        s->serial++; /* one that nobody has */
        s->session++;
        ok = false;
    }
    if (s->rules.hold_notes) {
        hold(s, req, 503, "{}");
    } else if (!ok || s->rules.refuse_notes) {
        s->figures.notes_refused++;
        snprintf(body, sizeof(body), "{\"message\":\"not let in with %.300s\"}",
                 session != NULL  ? session
                 : bearer != NULL ? bearer
                                  : "");
        answer(req, session != NULL ? 412 : 401, body);
    } else {
        s->figures.notes++;
        answer(req, 201, "{}");
    }
}

static void handle(void *ctx, struct httpd_request *req)
{
    struct oauth_stub *s = ctx;
    const char *path = httpd_path(req);
    size_t len = strlen(path);
    char body[TEXT_MAX];

    pthread_mutex_lock(&s->lock);
    if (strcmp(path, "/token") == 0) {
        handle_token(s, req);
    } else if (strcmp(path, "/info") == 0) {
        snprintf(body, sizeof(body), "{\"oauthUrl\":\"http://127.0.0.1:%u\"}", httpd_port(s->http));
        answer(req, 200, body);
    } else if (strcmp(path, "/login") == 0) {
        handle_login(s, req);
    } else if (len > 6 && strcmp(path + len - 6, "/notes") == 0) {
        handle_note(s, req);
    } else {
        answer(req, 404, "{\"message\":\"no such path\"}");
    }
    pthread_mutex_unlock(&s->lock);
}

static void check(void *ctx, struct httpd_request *req)
{
    (void)ctx;
    (void)req;
}

static void too_large(void *ctx, struct httpd_request *req)
{
    (void)ctx;
    answer(req, 413, "{}");
}

struct oauth_stub *oauth_stub_start(void)
{
    struct oauth_stub *s = mem_zalloc(sizeof(*s));
    struct httpd_config config = {.listen = "127.0.0.1:0",
                                  .body_max_bytes = 1024 * 1024,
                                  .connections_max = 200,
                                  .request_timeout_ms = 60000,
                                  .thread_name = "oauth-stub"};
    struct httpd_handlers handlers = {.check = check, .too_large = too_large, .handle = handle, .ctx = s};
    struct errmsg err;

    pthread_mutex_init(&s->lock, NULL);
    if (httpd_new(&config, &handlers, &s->http, &err) != ST_OK || httpd_start(s->http, &err) != ST_OK) {
        fprintf(stderr, "oauth stub: %s\n", err.text);
        exit(1);
    }
    return s;
}

unsigned oauth_stub_port(const struct oauth_stub *s)
{
    return httpd_port(s->http);
}

void oauth_stub_rules(struct oauth_stub *s, const struct oauth_rules *rules)
{
    pthread_mutex_lock(&s->lock);
    s->rules = *rules;
    for (unsigned i = 0; i < s->figures.held; i++) {
        answer(s->held[i].req, s->held[i].status, s->held[i].body);
        mem_free(s->held[i].body);
    }
    s->figures.held = 0;
    pthread_mutex_unlock(&s->lock);
    httpd_wake(s->http);
}

struct oauth_figures oauth_stub_figures(struct oauth_stub *s)
{
    struct oauth_figures f;

    pthread_mutex_lock(&s->lock);
    f = s->figures;
    pthread_mutex_unlock(&s->lock);
    return f;
}

void oauth_stub_stop(struct oauth_stub *s)
{
    oauth_stub_rules(s, &(struct oauth_rules){.expires_in = 0});
    httpd_free(s->http);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
