#include "lib/httpc.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/text.h"

#if LIBCURL_VERSION_NUM < 0x075000
#error "libcurl 7.80 or newer is needed: CURLOPT_PREREQFUNCTION tells what was sent and where to"
#endif

enum {
    CONNECT_MAX_MS = 10000,
    IDLE_MAX_S = 60,       /* servers and middleboxes forget idle connections; a stale one costs a POST its certainty */
    SPARE_CONNECTIONS = 8, /* kept connections beyond those in use, so that one host does not push out another's */
    ROUNDS_MAX = 16,       /* a callback that starts another transfer each time must not hold httpc_poll for ever */
};

/*
 * One request and its answer. Each stands in exactly one list of its httpc:
 * waiting (for a free place), running (in the multi handle) or ended (refused or failed before libcurl saw it).
 */
struct transfer {
    struct transfer *prev, *next;
    struct httpc *owner;
    httpc_done done;
    void *ctx;
    CURL *easy;
    struct curl_slist *header_list;
    char *host;           /* of the current URL */
    char *place;          /* "host:port", for messages */
    char *redirect_hosts; /* NULL: answers only */
    bool https;
    bool by_proxy;
    bool vet_address;
    bool repeatable; /* sending it twice does no more than sending it once */
    int timeout_ms;
    int64_t begun_us; /* 0: not yet */
    int64_t send_before_ms;
    bool too_late;
    unsigned redirects;

    /* of the request under way; a redirect begins them anew */
    unsigned sends;                    /* how often it was about to go out; more than one: libcurl repeats it */
    char refused_ip[INET6_ADDRSTRLEN]; /* the last address that we refused, or "" */
    bool allowed_ip;                   /* an address that we did not refuse was tried */
    struct buf headers;                /* name NUL value NUL … */
    size_t header_count;
    long line_status; /* of the last status line */
    bool headers_done;
    bool headers_too_large, body_too_large;
    struct buf body;
    char curl_text[CURL_ERROR_SIZE];

    enum httpc_result result;
    long status;
    struct errmsg err;
};

struct list {
    struct transfer *head, *tail;
    size_t count;
};

struct httpc {
    CURLM *multi;
    char *user_agent;
    size_t connections_max;
    struct list waiting, running, ended;
    CURL **idle; /* easy handles to be used again; room for connections_max */
    size_t idle_count;
};

static void list_push(struct list *l, struct transfer *t)
{
    t->next = NULL;
    t->prev = l->tail;
    if (l->tail != NULL)
        l->tail->next = t;
    else
        l->head = t;
    l->tail = t;
    l->count++;
}

static void list_remove(struct list *l, struct transfer *t)
{
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        l->head = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
    else
        l->tail = t->prev;
    l->count--;
}

/* libcurl gives NULL for lack of memory only: the policy of base/mem. */
static void *must(void *made)
{
    if (made == NULL)
        mem_exhausted();
    return made;
}

/* ---- what libcurl calls ---------------------------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    size_t len = size * count;

    buf_add(&t->body, bytes, len);
    if (!t->body.failed)
        return len;
    t->body_too_large = true;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void add_header(struct transfer *t, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    const char *value;
    const char *end = line + len;

    if (colon == NULL || colon == line || is_blank(line[0]) || memchr(line, '\0', len) != NULL)
        return; /* no header, or the continuation of one, which RFC 9112 section 5.2 lets us drop */
    for (const char *c = line; c < colon; c++)
        buf_putc(&t->headers, *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c);
    buf_putc(&t->headers, '\0');
    for (value = colon + 1; value < end && is_blank(*value);)
        value++;
    while (end > value && is_blank(end[-1]))
        end--;
    buf_add(&t->headers, value, (size_t)(end - value));
    buf_putc(&t->headers, '\0');
    t->header_count++;
}

/* Status line and headers; also those of interim answers (1xx) before and the trailers after, which are dropped. */
static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    size_t len = size * count;

    if (t->headers_done)
        return len;
    if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
        const char *space = memchr(line, ' ', len);

        buf_reset(&t->headers);
        t->header_count = 0;
        t->line_status = 0;
        for (const char *c = space; c != NULL && ++c < line + len && *c >= '0' && *c <= '9' && t->line_status < 1000;)
            t->line_status = t->line_status * 10 + (*c - '0');
    } else if (len <= 2 && is_blank(line[0])) {
        t->headers_done = t->line_status >= 200;
    } else {
        add_header(t, line, len);
    }
    if (!t->headers.failed)
        return len;
    t->headers_too_large = true;
    return 0;
}

static bool refuses(struct transfer *t, const char *ip)
{
    if (!t->vet_address || !address_is_private(ip)) {
        t->allowed_ip = true;
        return false;
    }
    snprintf(t->refused_ip, sizeof t->refused_ip, "%s", ip);
    return true;
}

/* The name has been resolved: no later answer of the name server can lead elsewhere. */
static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    char ip[INET6_ADDRSTRLEN] = "";
    const void *sockaddr = &address->addr; /* libcurl has room for any family there */

    (void)purpose;
    if (address->family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)sockaddr)->sin_addr, ip, sizeof ip);
    else if (address->family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sockaddr)->sin6_addr, ip, sizeof ip);
    if (refuses(ctx, ip))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/*
 * The connection stands and the request is about to go out. A kept connection may come from a transfer that was
 * allowed more, so the address is looked at here as well.
 *
 * libcurl comes here again when a kept connection broke without a byte of answer: it would send the request once more.
 * The server may have executed it, so that is not for POST and PATCH, unless nothing at all had left us.
 */
static int on_before_request(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    struct transfer *t = ctx;
    long sent_bytes = 0;

    (void)local_ip;
    (void)port;
    (void)local_port;
    t->too_late = t->send_before_ms != 0 && clock_mono_ms() >= t->send_before_ms;
    if (t->too_late || refuses(t, ip))
        return CURL_PREREQFUNC_ABORT;
    if (t->sends > 0 && !t->repeatable) {
        curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
        if (sent_bytes > 0)
            return CURL_PREREQFUNC_ABORT;
    }
    t->sends++;
    return CURL_PREREQFUNC_OK;
}

/* ---- what a request may look like ------------------------------------------------------------------------------ */

static bool is_token(const char *s)
{
    static const char chars[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    return s[0] != '\0' && s[strspn(s, chars)] == '\0';
}

static int check_header(const struct httpc_header *h, struct errmsg *err)
{
    static const char *const ours[] = {"Host",       "Content-Length", "Transfer-Encoding",
                                       "Connection", "Upgrade",        "Expect"};

    if (!is_token(h->name))
        return err_set(err, ST_INVALID, "a header's name has a character that HTTP does not allow there");
    for (size_t i = 0; i < ATS_COUNT(ours); i++)
        if (text_ieq(h->name, ours[i]))
            return err_set(err, ST_INVALID, "the header %s cannot be set, it is made from the request", ours[i]);
    if (strlen(h->name) + strlen(h->value) > HTTPC_HEADERS_MAX_BYTES)
        return err_set(err, ST_INVALID, "the header %.40s is longer than %d bytes", h->name, HTTPC_HEADERS_MAX_BYTES);
    for (const char *c = h->value; *c != '\0'; c++)
        if ((*c > 0 && *c < ' ' && *c != '\t') || *c == 0x7f)
            return err_set(err, ST_INVALID, "the value of the header %s has a control character (a line break?)",
                           h->name);
    return ST_OK;
}

static bool url_part(CURLU *url, CURLUPart part, unsigned flags, char **ret)
{
    return curl_url_get(url, part, ret, flags) == CURLUE_OK;
}

/* ip: what the host's name led to, NULL where the URL holds the address itself. */
static void describe_private(struct transfer *t, const char *ip)
{
    const char *how = t->redirects > 0 ? "a redirect leads to " : "";

    if (ip == NULL)
        err_set(&t->err, ST_DENIED, "%s%s%s is not a public address; allow_private_addresses permits it", how, t->host,
                t->redirects > 0 ? ", which" : "");
    else
        err_set(&t->err, ST_DENIED, "%s%s%s at %s, which is not a public address; allow_private_addresses permits it",
                how, t->host, t->redirects > 0 ? "" : " is", ip);
}

/* Sets host, place and https. */
static int check_url(struct transfer *t, const char *text)
{
    CURLU *url = must(curl_url());
    char *scheme = NULL;
    char *host = NULL;
    char *port = NULL;
    char *user = NULL;
    char *password = NULL;
    size_t len;
    int st = ST_INVALID;

    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c >= 0x7f) { /* char may be signed: bytes from 0x80 on are below ' ' then */
            err_set(&t->err, ST_INVALID, "the URL has a character that must be percent-encoded");
            goto done;
        }
    }
    len = strcspn(text, ":");
    if (!(len == 4 && strncasecmp(text, "http", len) == 0) && !(len == 5 && strncasecmp(text, "https", len) == 0)) {
        err_set(&t->err, ST_INVALID, "the URL does not begin with https:// or http://");
        goto done;
    }
    if (strncmp(text + len, "://", 3) != 0 || text[len + 3] == '/' ||
        curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK || !url_part(url, CURLUPART_SCHEME, 0, &scheme) ||
        !url_part(url, CURLUPART_HOST, 0, &host) || !url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, &port)) {
        err_set(&t->err, ST_INVALID, "the URL is malformed");
        goto done;
    }
    if (url_part(url, CURLUPART_USER, 0, &user) || url_part(url, CURLUPART_PASSWORD, 0, &password)) {
        err_set(&t->err, ST_INVALID, "the URL of %s holds a user name or password; use a header", host);
        goto done;
    }
    mem_free(t->host);
    mem_free(t->place);
    t->place = mem_printf("%s:%s", host, port);
    len = strlen(host);
    t->host = host[0] == '[' ? mem_strndup(host + 1, len - 2) : mem_strndup(host, len);
    t->https = strlen(scheme) == 5;
    /* an address in the URL needs no socket to be judged; names come to on_open_socket() */
    if (t->vet_address && address_is_numeric(t->host) && address_is_private(t->host))
        describe_private(t, NULL);
    else
        st = ST_OK;
done:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(url);
    return st;
}

/* Methods that RFC 9110 section 9.2.2 calls idempotent may be sent again. */
static const struct method {
    const char *name;
    bool repeatable;
    bool has_body; /* always: a missing one is sent as Content-Length: 0 */
} methods[] = {
    {"GET", true, false}, {"POST", false, true}, {"PUT", true, true}, {"PATCH", false, true}, {"DELETE", true, false},
};

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < ATS_COUNT(methods); i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

static int check_request(struct transfer *t, const struct httpc_request *r)
{
    const struct method *method = find_method(r->method);
    int st = ST_OK;

    if (method == NULL)
        return err_set(&t->err, ST_INVALID, "the method is not one of GET, POST, PUT, PATCH, DELETE");
    if (r->timeout_ms <= 0)
        return err_set(&t->err, ST_INVALID, "the request has no time-out");
    t->repeatable = method->repeatable;
    t->timeout_ms = r->timeout_ms;
    t->by_proxy = r->proxy != NULL;
    t->vet_address = !r->allow_private_address && !t->by_proxy;
    for (size_t i = 0; st == ST_OK && i < r->header_count; i++)
        st = check_header(&r->headers[i], &t->err);
    return st == ST_OK ? check_url(t, r->url) : st;
}

/* ---- handing it to libcurl ------------------------------------------------------------------------------------- */

static void add_line(struct transfer *t, const char *line)
{
    t->header_list = must(curl_slist_append(t->header_list, line));
}

static void make_header_list(struct transfer *t, const struct httpc_request *r)
{
    bool typed = false;
    struct buf line;

    buf_init_secret(&line, HTTPC_HEADERS_MAX_BYTES + sizeof ": ");
    for (size_t i = 0; i < r->header_count; i++) {
        const struct httpc_header *h = &r->headers[i];

        buf_reset(&line);
        buf_puts(&line, h->name);
        if (h->value[strspn(h->value, " \t")] == '\0') {
            buf_putc(&line, ';'); /* how libcurl is told of an empty value: with a colon it would drop the header */
        } else {
            buf_puts(&line, ": ");
            buf_puts(&line, h->value);
        }
        add_line(t, buf_text(&line));
        typed = typed || text_ieq(h->name, "Content-Type");
    }
    buf_free(&line);
    if (!typed)
        add_line(t, "Content-Type:"); /* else libcurl says that it is a form */
    add_line(t, "Expect:");           /* else large bodies wait up to a second for 100 Continue */
}

#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        if (code == CURLE_OK)                                                                                          \
            code = curl_easy_setopt(t->easy, option, value);                                                           \
    } while (0)

static CURLcode set_fixed_options(struct transfer *t)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_ERRORBUFFER, t->curl_text);
    SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* a time-out must not wait for the thread that hangs in the name lookup */
#endif
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_USERAGENT, t->owner->user_agent);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_MAXAGE_CONN, (long)IDLE_MAX_S);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, t);
    SET(CURLOPT_PREREQFUNCTION, on_before_request);
    SET(CURLOPT_PREREQDATA, t);
    return code;
}

static CURLcode set_request_options(struct transfer *t, const struct httpc_request *r)
{
    const struct method *method = find_method(r->method);
    CURLcode code = CURLE_OK;

    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_HTTPHEADER, t->header_list);
    if (r->body != NULL || method->has_body) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(r->body != NULL ? r->body_len : 0));
        SET(CURLOPT_COPYPOSTFIELDS, r->body != NULL ? r->body : "");
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    SET(CURLOPT_CUSTOMREQUEST, method->name);
    /* "" and not NULL: for NULL libcurl asks the environment */
    SET(CURLOPT_PROXY, r->proxy != NULL ? r->proxy : "");
    SET(CURLOPT_NOPROXY, "");
    if (r->ca_file != NULL) {
        SET(CURLOPT_CAINFO, r->ca_file);
        SET(CURLOPT_CAPATH, NULL); /* the system's authorities would be trusted beside it */
    }
    if (r->client_cert_file != NULL)
        SET(CURLOPT_SSLCERT, r->client_cert_file);
    if (r->client_key_file != NULL)
        SET(CURLOPT_SSLKEY, r->client_key_file);
    return code;
}

static CURL *easy_take(struct httpc *c)
{
    return c->idle_count > 0 ? c->idle[--c->idle_count] : must(curl_easy_init());
}

static void easy_give_back(struct httpc *c, CURL *easy)
{
    if (c->idle_count < c->connections_max) {
        curl_easy_reset(easy); /* connections, DNS and TLS sessions stay: they belong to the multi handle */
        c->idle[c->idle_count++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

static void transfer_free(struct transfer *t)
{
    if (t->easy != NULL)
        easy_give_back(t->owner, t->easy);
    for (struct curl_slist *line = t->header_list; line != NULL; line = line->next)
        mem_wipe(line->data, strlen(line->data)); /* credentials */
    curl_slist_free_all(t->header_list);          /* after the easy handle, which points to it */
    buf_free(&t->headers);
    buf_free(&t->body);
    mem_free(t->host);
    mem_free(t->place);
    mem_free(t->redirect_hosts);
    mem_free(t);
}

/* It will be called back by the next httpc_poll(). */
static void end_unsent(struct transfer *t, enum httpc_result result)
{
    t->result = result;
    list_push(&t->owner->ended, t);
}

/* Puts the transfer on the network with what is left of its time. */
static void run(struct transfer *t)
{
    int64_t now_us = clock_mono_us();
    int64_t left_ms;
    CURLcode code = CURLE_OK;

    if (t->begun_us == 0)
        t->begun_us = now_us;
    left_ms = t->timeout_ms - (now_us - t->begun_us) / 1000;
    if (left_ms < 1)
        left_ms = 1; /* 0 would be: no limit */
    SET(CURLOPT_TIMEOUT_MS, (long)left_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(left_ms < CONNECT_MAX_MS ? left_ms : CONNECT_MAX_MS));
    if (code != CURLE_OK || curl_multi_add_handle(t->owner->multi, t->easy) != CURLM_OK) {
        err_set(&t->err, ST_INTERNAL, "libcurl does not take the request to %s", t->place);
        end_unsent(t, HTTPC_NOT_SENT);
        return;
    }
    list_push(&t->owner->running, t);
}

void httpc_start(struct httpc *c, const struct httpc_request *request, httpc_done done, void *ctx)
{
    struct transfer *t = mem_zalloc(sizeof *t);
    CURLcode code;

    t->owner = c;
    t->done = done;
    t->ctx = ctx;
    buf_init(&t->headers, HTTPC_HEADERS_MAX_BYTES);
    buf_init_secret(&t->body, request->response_max_bytes); /* tokens, or what the ATS knows of people */
    if (check_request(t, request) != ST_OK) {
        end_unsent(t, HTTPC_REFUSED);
        return;
    }
    t->redirect_hosts = mem_strdup(request->redirect_hosts);
    t->send_before_ms = request->send_before_ms;
    t->easy = easy_take(c);
    make_header_list(t, request);
    code = set_fixed_options(t);
    if (code == CURLE_OK)
        code = set_request_options(t, request);
    if (code != CURLE_OK) {
        err_set(&t->err, ST_INTERNAL, "libcurl cannot make the request to %s: %s", t->place, curl_easy_strerror(code));
        end_unsent(t, HTTPC_NOT_SENT);
    } else if (c->waiting.count > 0 || c->running.count >= c->connections_max) {
        list_push(&c->waiting, t);
    } else {
        run(t);
    }
}

/* ---- what came of it ------------------------------------------------------------------------------------------- */

static double seconds(int64_t ms)
{
    return (double)ms / 1000;
}

static void describe_connect_timeout(struct transfer *t)
{
    double limit_s = seconds(t->timeout_ms < CONNECT_MAX_MS ? t->timeout_ms : CONNECT_MAX_MS);
    curl_off_t looked_up_us = 0;

    curl_easy_getinfo(t->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up_us);
    if (t->by_proxy)
        err_set(&t->err, ST_UNAVAILABLE, "timed out after %g s connecting to %s through the proxy", limit_s, t->place);
    else if (looked_up_us == 0)
        err_set(&t->err, ST_UNAVAILABLE, "timed out after %g s looking up the name %s", limit_s, t->host);
    else
        err_set(&t->err, ST_UNAVAILABLE, "timed out after %g s %s %s", limit_s,
                t->https ? "making a secure connection to" : "connecting to", t->place);
}

static void describe_connect_failure(struct transfer *t)
{
    const char *via = t->by_proxy ? "the proxy on the way to " : "";
    char buffer[128];
    long number = 0;

    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
    if (number > 0)
        err_set(&t->err, ST_UNAVAILABLE, "could not connect to %s%s: %s", via, t->place,
                strerror_r((int)number, buffer, sizeof buffer));
    else
        err_set(&t->err, ST_UNAVAILABLE, "could not connect to %s%s", via, t->place);
}

/* Nothing went out. libcurl's own text is used for TLS only: elsewhere it can hold a proxy's URL with its password. */
static void describe_unsent(struct transfer *t, CURLcode code)
{
    long connect_status = 0;

    switch ((int)code) { /* an int, because nobody wants all hundred codes here */
    case CURLE_COULDNT_RESOLVE_HOST:
        err_set(&t->err, ST_UNAVAILABLE, "the name %s cannot be resolved", t->host);
        break;
    case CURLE_COULDNT_RESOLVE_PROXY:
        err_set(&t->err, ST_UNAVAILABLE, "the name of the proxy on the way to %s cannot be resolved", t->place);
        break;
    case CURLE_COULDNT_CONNECT:
        describe_connect_failure(t);
        break;
    case CURLE_OPERATION_TIMEDOUT:
        describe_connect_timeout(t);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CLIENTCERT:
        err_set(&t->err, ST_UNAVAILABLE, "no secure connection to %s: %s", t->place,
                t->curl_text[0] != '\0' ? t->curl_text : curl_easy_strerror(code));
        break;
    default:
        curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
        if (connect_status != 0)
            err_set(&t->err, ST_UNAVAILABLE, "the proxy does not lead to %s: it answered %ld", t->place,
                    connect_status);
        else
            err_set(&t->err, ST_UNAVAILABLE, "no connection to %s: %s", t->place, curl_easy_strerror(code));
        break;
    }
}

static void describe_uncertain(struct transfer *t, CURLcode code)
{
    if (code == CURLE_OPERATION_TIMEDOUT)
        err_set(&t->err, ST_UNCERTAIN, "timed out after %g s %s the answer of %s", seconds(t->timeout_ms),
                t->line_status != 0 ? "in the middle of" : "waiting for", t->place);
    else if (code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL)
        err_set(&t->err, ST_UNCERTAIN, "%s did not answer in HTTP", t->place);
    else
        err_set(&t->err, ST_UNCERTAIN, "the connection to %s was lost %s the answer", t->place,
                t->line_status != 0 ? "in the middle of" : "before");
}

static void conclude(struct transfer *t, CURLcode code)
{
    t->status = t->line_status >= 200 ? t->line_status : 0;
    if (code == CURLE_OK) {
        t->result = HTTPC_ANSWERED;
    } else if (t->body_too_large || t->headers_too_large) {
        t->result = HTTPC_TOO_LARGE;
        err_set(&t->err, ST_LIMIT, "the answer of %s has more than %zu bytes%s", t->place,
                t->body_too_large ? t->body.max : t->headers.max, t->body_too_large ? "" : " of headers");
    } else if (t->sends > 0) {
        t->result = HTTPC_UNCERTAIN;
        describe_uncertain(t, code);
    } else if (t->too_late) {
        t->result = HTTPC_NOT_SENT;
        err_set(&t->err, ST_UNAVAILABLE, "the time in which a request could be sent to %s was over", t->place);
    } else if (t->refused_ip[0] != '\0' && !t->allowed_ip) {
        t->result = HTTPC_REFUSED;
        describe_private(t, t->refused_ip);
    } else {
        t->result = HTTPC_NOT_SENT;
        describe_unsent(t, code);
    }
}

/* One name of the list, without its port. */
static bool host_fits(const char *name, size_t len, const char *host)
{
    size_t host_len = strlen(host);

    if (len > 2 && name[0] == '*' && name[1] == '.')
        return host_len > len - 1 && strncasecmp(host + host_len - (len - 1), name + 1, len - 1) == 0;
    return len > 0 && len == host_len && strncasecmp(host, name, len) == 0;
}

/* The ports that go without saying are the one that was asked before, and that of https. */
static bool redirect_listed(const char *list, const char *host, const char *port, bool port_is_plain)
{
    while (*list != '\0') {
        size_t len, host_len;

        list += strspn(list, ", \t");
        len = strcspn(list, ", \t");
        host_len = strcspn(list, ":, \t");
        if (host_fits(list, host_len, host) &&
            (host_len == len
                 ? port_is_plain
                 : len - host_len - 1 == strlen(port) && memcmp(list + host_len + 1, port, strlen(port)) == 0))
            return true;
        list += len;
    }
    return false;
}

/* Whether credentials may go to where an answer leads: it is encrypted at least as much as before, at a port and host named for that. */
static bool may_follow(const struct transfer *t, CURLU *url)
{
    const char *port_before = strrchr(t->place, ':') + 1;
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    bool may = false;

    if (url_part(url, CURLUPART_SCHEME, 0, &scheme) && url_part(url, CURLUPART_HOST, 0, &host) &&
        url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, &port) && !url_part(url, CURLUPART_USER, 0, &user)) {
        bool is_https = strcmp(scheme, "https") == 0;

        may = (is_https || (strcmp(scheme, "http") == 0 && !t->https)) &&
              redirect_listed(t->redirect_hosts, host, port,
                              (is_https && strcmp(port, "443") == 0) ||
                                  (is_https == t->https && strcmp(port, port_before) == 0));
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    return may;
}

/* What happens to a complete answer: it is one, or it leads elsewhere. */
enum answer { ANSWER_FINAL, ANSWER_REDIRECTS, ANSWER_REDIRECT_REFUSED };

static enum answer follow(struct transfer *t)
{
    long status = t->line_status;
    char *found = NULL;
    char *url = NULL;
    CURLU *parsed = NULL;
    enum answer answer = ANSWER_FINAL;

    if (t->redirect_hosts == NULL || (status != 307 && status != 308) || t->redirects == HTTPC_REDIRECTS_MAX ||
        curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &found) != CURLE_OK || found == NULL)
        return ANSWER_FINAL;
    url = mem_strdup(found); /* it belongs to the easy handle */
    parsed = must(curl_url());
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK || !may_follow(t, parsed))
        goto done;
    answer = ANSWER_REDIRECT_REFUSED;
    t->redirects++;
    if (check_url(t, url) != ST_OK)
        goto done;
    if (curl_easy_setopt(t->easy, CURLOPT_URL, url) != CURLE_OK) {
        err_set(&t->err, ST_INTERNAL, "libcurl cannot follow a redirect to %s", t->place);
        goto done;
    }
    answer = ANSWER_REDIRECTS;
    t->sends = 0; /* the answer says that nothing was executed */
    t->refused_ip[0] = '\0';
    t->allowed_ip = false;
    t->line_status = 0;
    t->headers_done = false;
    t->header_count = 0;
    buf_reset(&t->headers);
    buf_reset(&t->body);
done:
    mem_free(url);
    curl_url_cleanup(parsed);
    return answer;
}

/* Calls back and frees. The transfer stands in no list any more. */
static void deliver(struct transfer *t)
{
    bool answered = t->result == HTTPC_ANSWERED;
    struct httpc_header *headers = mem_array(t->header_count + 1, sizeof *headers);
    struct httpc_response response = {
        .result = t->result,
        .status = t->status,
        .headers = headers,
        .body = answered ? buf_text(&t->body) : "",
        .body_len = answered ? t->body.len : 0,
        .error = t->err.text,
        .duration_us = t->begun_us != 0 ? clock_mono_us() - t->begun_us : 0,
    };
    const char *text = buf_text(&t->headers);

    if (!t->headers_too_large)
        for (; response.header_count < t->header_count; response.header_count++) {
            headers[response.header_count].name = text;
            text += strlen(text) + 1;
            headers[response.header_count].value = text;
            text += strlen(text) + 1;
        }
    if (t->easy != NULL)
        easy_give_back(t->owner, t->easy); /* before the callback, which may start the next one */
    t->easy = NULL;
    t->done(t->ctx, &response);
    mem_free(headers);
    transfer_free(t);
}

static void finish(struct transfer *t, CURLcode code)
{
    curl_multi_remove_handle(t->owner->multi, t->easy);
    list_remove(&t->owner->running, t);
    switch (code == CURLE_OK ? follow(t) : ANSWER_FINAL) {
    case ANSWER_REDIRECTS:
        run(t);
        return;
    case ANSWER_REDIRECT_REFUSED:
        t->result = HTTPC_REFUSED;
        break;
    case ANSWER_FINAL:
        conclude(t, code);
        break;
    }
    deliver(t);
}

/* Takes what libcurl has finished. */
static bool collect(struct httpc *c)
{
    bool any = false;
    int left;

    for (CURLMsg *m = curl_multi_info_read(c->multi, &left); m != NULL; m = curl_multi_info_read(c->multi, &left)) {
        CURLcode code = m->data.result;
        char *private = NULL;

        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        finish((struct transfer *)(void *)private, code); /* the message is gone after this */
        any = true;
    }
    return any;
}

/* A transfer can end inside curl_multi_perform, and its callback can start another one. Both must be noticed before
 * anybody waits: curl_multi_poll would sleep through them. */
static bool move_on(struct httpc *c)
{
    bool any = false;

    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        int running;

        while (c->waiting.count > 0 && c->running.count < c->connections_max) {
            struct transfer *t = c->waiting.head;

            list_remove(&c->waiting, t);
            run(t);
        }
        curl_multi_perform(c->multi, &running);
        if (!collect(c))
            break;
        any = true;
    }
    return any;
}

unsigned httpc_poll(struct httpc *c, int wait_ms)
{
    size_t ended = c->ended.count; /* not those that the callbacks add: they could add for ever */
    bool any = ended > 0;

    for (; ended > 0; ended--) {
        struct transfer *t = c->ended.head;

        list_remove(&c->ended, t);
        deliver(t);
    }
    any = move_on(c) || any;
    if (!any && wait_ms > 0 && c->ended.count == 0) {
        curl_multi_poll(c->multi, NULL, 0, wait_ms, NULL);
        move_on(c);
    }
    return (unsigned)(c->waiting.count + c->running.count + c->ended.count);
}

void httpc_wake(struct httpc *c)
{
    curl_multi_wakeup(c->multi);
}

const char *httpc_header_value(const struct httpc_response *response, const char *lower_name)
{
    for (size_t i = 0; i < response->header_count; i++)
        if (strcmp(response->headers[i].name, lower_name) == 0)
            return response->headers[i].value;
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------------------------------------- */

void httpc_global_init(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGPIPE, &ignore, NULL);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fputs("libcurl cannot start\n", stderr);
        _exit(1);
    }
}

void httpc_set_connections_max(struct httpc *c, unsigned connections_max)
{
    c->connections_max = connections_max > 0 ? connections_max : 1;
    while (c->idle_count > c->connections_max)
        curl_easy_cleanup(c->idle[--c->idle_count]);
    c->idle = mem_grow(c->idle, c->connections_max, sizeof(CURL *));
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->connections_max + SPARE_CONNECTIONS);
}

struct httpc *httpc_new(unsigned connections_max, const char *user_agent)
{
    struct httpc *c = mem_zalloc(sizeof *c);

    c->multi = must(curl_multi_init());
    c->user_agent = mem_strdup(user_agent);
    httpc_set_connections_max(c, connections_max);
    curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    return c;
}

static void drop_all(struct list *l)
{
    while (l->head != NULL) {
        struct transfer *t = l->head;

        list_remove(l, t);
        transfer_free(t);
    }
}

void httpc_free(struct httpc *c)
{
    if (c == NULL)
        return;
    for (struct transfer *t = c->running.head; t != NULL; t = t->next)
        curl_multi_remove_handle(c->multi, t->easy);
    drop_all(&c->running);
    drop_all(&c->waiting);
    drop_all(&c->ended);
    while (c->idle_count > 0)
        curl_easy_cleanup(c->idle[--c->idle_count]);
    curl_multi_cleanup(c->multi);
    mem_free(c->idle);
    mem_free(c->user_agent);
    mem_free(c);
}
