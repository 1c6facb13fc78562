#include "lib/httpd.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/admission.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "lib/half_open.h"
#include "lib/listener.h"

#if MHD_VERSION < 0x00097002
#error "libmicrohttpd 0.9.71 or newer is needed (enum MHD_Result)"
#endif

enum {
    /* Of each connection, for a request's line and headers and what is read of the body at a time. MHD clears all of it for each request: its default, twice
     * as much, was an eighth of the processor time that receiving an event took. */
    CONNECTION_BYTES = 16 * 1024,
    DISCARD_MAX_BYTES = 64 * 1024 * 1024, /* of a chunked body that is too large */
    BACKLOG_TURNS_MAX = 1000,             /* turns of the loop spent on those who had connected before quiesce */
    VAIN_TURNS_MAX = 4,                   /* in succession, before the loop pauses */
    PAUSE_MAX_MS = 5,
    ID_MAX_BYTES = 128,
    ID_RANDOM_BYTES = 8,
};

static const char id_header[] = "X-Request-Id";

/* Forward secrecy and authenticated encryption only; what the system's policy forbids stays forbidden. */
static const char tls_priorities[] =
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-MAC-ALL:+AEAD:%SERVER_PRECEDENCE";

/* Decides the deadline of a connection: libmicrohttpd only knows inactivity, which a dripping sender never shows. */
enum conn_state {
    CONN_FRESH,     /* until the first answer */
    CONN_RECEIVING, /* a later request, from its line on */
    CONN_WORKING,   /* a handler has the request: no deadline */
    CONN_SENDING,   /* answered */
    CONN_IDLE,      /* between two requests */
    CONN_CUT,       /* shut down by us, libmicrohttpd will notice */
};

struct conn {
    struct conn *prev; /* in a list of those with a deadline, the oldest at the head */
    struct conn *next;
    struct admission_conn place;
    struct server *server;
    int64_t since_ms;
    int fd;
    enum conn_state state;
    bool nul_in_address;
    bool linger;
    char peer[INET6_ADDRSTRLEN];
};

struct conn_list {
    struct conn *head;
    struct conn *tail;
};

/* What httpd_reload changes. */
struct limits {
    size_t body_max_bytes;
    uint64_t bodies_max_bytes;
    unsigned connections_per_address_max;
    int request_timeout_ms;
};

/* One libmicrohttpd daemon. After a reload the former one lives on until its connections are gone. */
struct server {
    struct server *next;
    struct httpd *h;
    struct MHD_Daemon *daemon;
    char *certificate_pem;
    char *key_pem;
    struct limits limits;
    char *start_error; /* collects what libmicrohttpd says while it starts; NULL otherwise */
    int listen_fd;     /* a duplicate of the httpd's; -1 after quiesce */
    int epoll_fd;
    struct admission_places places;
};

struct header {
    struct header *next;
    char *name;
    char *value;
};

struct httpd {
    struct httpd_handlers handlers;
    bool close_after_refusal;
    char thread_name[16];
    char id_prefix[2 * ID_RANDOM_BYTES + 1]; /* of the ids that are made: of this server and no other */
    unsigned port;
    int wake_fd;
    pthread_t thread;
    bool started;
    bool joined;

    atomic_bool woken; /* the eventfd was written and not yet read: one write is enough */
    atomic_bool quiesce_asked;
    atomic_bool stop_asked;
    atomic_uint connections;

    pthread_mutex_t mutex;          /* guards the rest of this block, and `answered` of requests that are kept */
    pthread_cond_t adopted;         /* next_server was taken over, or never will be */
    struct httpd_request *answered; /* kept requests whose answer was given */
    struct server *next_server;
    unsigned kept; /* kept requests without an answer, or with one that the loop has not seen */
    int listen_fd; /* -1 after quiesce; changed by the loop only, which may read it without the lock */
    bool ended;

    /* the loop's own */
    struct server *servers; /* the first one accepts */
    struct limits limits;   /* of the first one */
    int64_t now_ms;
    struct conn_list busy;       /* fresh, receiving, sending: request_timeout_ms */
    struct conn_list idle;       /* twice that */
    struct admission *admission; /* who gets a place, and memory for a body */
    unsigned sending;
    uint64_t calls; /* that libmicrohttpd made */
    unsigned vain_turns;
    int pause_ms;
    bool run_again; /* a connection has ended: at its limit libmicrohttpd accepts again only when it is run once more */
    struct half_open half_open; /* only to let the peer read our refusal */
    uint64_t last_id;
    struct pollfd *polled;
    size_t polled_cap;
};

struct httpd_request {
    struct httpd_request *next; /* in httpd.answered */
    struct httpd *h;
    struct conn *conn;
    struct MHD_Connection *connection;
    const char *method;
    const char *path;
    char id[ID_MAX_BYTES + 1];
    struct buf body;
    struct admission_body memory; /* of the body */
    uint64_t discarded_bytes;
    bool dropped; /* its memory was needed */
    bool too_large;
    bool misframed;
    bool kept;
    bool answered;
    unsigned status;
    struct MHD_Response *response;
    struct header *headers;
    void *user;
    void (*free_user)(void *);
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* As logs show it; "" for what is no IP address. */
static void address_text(const struct sockaddr *from, char ret[INET6_ADDRSTRLEN])
{
    static const char mapped[] = "::ffff:";
    const void *address = NULL;

    ret[0] = '\0';
    if (from != NULL && from->sa_family == AF_INET)
        address = &((const struct sockaddr_in *)(const void *)from)->sin_addr;
    else if (from != NULL && from->sa_family == AF_INET6)
        address = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    if (address == NULL || inet_ntop(from->sa_family, address, ret, INET6_ADDRSTRLEN) == NULL)
        ret[0] = '\0';
    else if (text_starts(ret, mapped) && strchr(ret, '.') != NULL)
        memmove(ret, ret + sizeof mapped - 1, strlen(ret) - (sizeof mapped - 1) + 1);
}

/* ---- connections and their deadlines */

static void list_remove(struct conn_list *list, struct conn *c)
{
    *(c->prev != NULL ? &c->prev->next : &list->head) = c->next;
    *(c->next != NULL ? &c->next->prev : &list->tail) = c->prev;
}

static void list_append(struct conn_list *list, struct conn *c)
{
    c->prev = list->tail;
    c->next = NULL;
    *(list->tail != NULL ? &list->tail->next : &list->head) = c;
    list->tail = c;
}

static struct conn_list *timed_list(struct httpd *h, const struct conn *c)
{
    switch (c->state) {
    case CONN_FRESH:
    case CONN_RECEIVING:
    case CONN_SENDING:
        return &h->busy;
    case CONN_IDLE:
        return &h->idle;
    case CONN_WORKING:
    case CONN_CUT:
        break;
    }
    return NULL;
}

static void conn_unlink(struct httpd *h, struct conn *c)
{
    struct conn_list *timed = timed_list(h, c);

    h->sending -= c->state == CONN_SENDING;
    if (timed != NULL)
        list_remove(timed, c);
}

static void conn_link(struct httpd *h, struct conn *c, enum conn_state state)
{
    struct conn_list *timed;

    c->state = state;
    c->since_ms = h->now_ms;
    timed = timed_list(h, c);
    h->sending += state == CONN_SENDING;
    if (timed != NULL)
        list_append(timed, c);
}

static void conn_move(struct httpd *h, struct conn *c, enum conn_state state)
{
    static const enum admission_state states[] = {
        [CONN_FRESH] = ADMISSION_BUSY,   [CONN_RECEIVING] = ADMISSION_BUSY, [CONN_WORKING] = ADMISSION_WORKING,
        [CONN_SENDING] = ADMISSION_BUSY, [CONN_IDLE] = ADMISSION_RESTING,   [CONN_CUT] = ADMISSION_LEAVING,
    };

    if (c->state == CONN_CUT)
        return;
    conn_unlink(h, c);
    conn_link(h, c, state);
    admission_move(&c->place, states[state], h->now_ms);
}

static void tell_dropped(struct httpd *h, enum httpd_drop why, const char *peer)
{
    if (h->handlers.dropped != NULL)
        h->handlers.dropped(h->handlers.ctx, why, peer);
}

/* Shutting the socket down makes libmicrohttpd see the end of the connection and clean up in its own order. */
static void conn_cut(struct httpd *h, struct conn *c)
{
    conn_move(h, c, CONN_CUT);
    (void)shutdown(c->fd, SHUT_RDWR);
}

static void cut_overdue(struct httpd *h, struct conn_list *list, int64_t allowed_ms)
{
    while (list->head != NULL && h->now_ms - list->head->since_ms >= allowed_ms) {
        struct conn *c = list->head;

        if (list == &h->busy)
            tell_dropped(h, HTTPD_DROP_SLOW, c->peer);
        conn_cut(h, c);
    }
}

/* All places are taken, and nobody is about to leave. */
static bool is_crowded(const struct httpd *h)
{
    return h->listen_fd >= 0 && h->servers != NULL && admission_is_full(&h->servers->places);
}

/* Who waits in the system's queue gets the place of others. */
static void make_room(struct httpd *h)
{
    struct pollfd waiting = {.fd = h->listen_fd, .events = POLLIN};
    struct admission_conn *chosen[ADMISSION_CHOSEN_MAX];
    size_t count;

    if (!is_crowded(h) || admission_spare_at_ms(&h->servers->places) > h->now_ms || poll(&waiting, 1, 0) <= 0)
        return;
    count = admission_choose(h->admission, &h->servers->places, h->now_ms, chosen);
    for (size_t i = 0; i < count; i++) {
        struct conn *c = chosen[i]->owner;

        tell_dropped(h, HTTPD_DROP_CROWDED, c->peer);
        conn_cut(h, c);
    }
}

static struct conn *conn_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *from, socklen_t len)
{
    struct server *s = cls;
    const struct admission_key key = admission_key(from);
    char peer[INET6_ADDRSTRLEN];

    (void)len;
    if (admission_may_come(s->h->admission, &key, s->limits.connections_per_address_max))
        return MHD_YES;
    address_text(from, peer);
    tell_dropped(s->h, HTTPD_DROP_ADDRESS, peer);
    return MHD_NO;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server *s = cls;
    struct httpd *h = s->h;
    struct conn *c;

    h->calls++;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        const struct sockaddr *from = info != NULL ? info->client_addr : NULL;
        const struct admission_key key = admission_key(from);

        c = mem_zalloc(sizeof *c);
        c->server = s;
        address_text(from, c->peer);
        c->place.owner = c;
        c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        conn_link(h, c, CONN_FRESH);
        admission_come(h->admission, &c->place, &s->places, &key, h->now_ms);
        atomic_fetch_add(&h->connections, 1);
        *socket_context = c;
    } else if (code == MHD_CONNECTION_NOTIFY_CLOSED && *socket_context != NULL) {
        c = *socket_context;
        if (c->linger)
            half_open_add(&h->half_open, c->fd, h->now_ms);
        conn_unlink(h, c);
        admission_leave(h->admission, &c->place);
        h->run_again = true;
        atomic_fetch_sub(&h->connections, 1);
        mem_free(c);
        *socket_context = NULL;
    }
}

/* ---- requests */

static struct httpd_request *request_new(struct httpd *h, struct conn *c, struct MHD_Connection *connection,
                                         const char *path, const char *method)
{
    struct httpd_request *req = mem_zalloc(sizeof *req);

    req->h = h;
    req->conn = c;
    req->connection = connection;
    req->path = path;
    req->method = method;
    buf_init(&req->body, h->limits.body_max_bytes);
    req->memory.owner = req;
    req->memory.conn = &c->place;
    return req;
}

static void drop_body(struct httpd_request *req)
{
    buf_free(&req->body);
    admission_body_gone(req->h->admission, &req->memory);
}

/* While bodies take too much memory, what has arrived of one is dropped. False: it was this one. */
static bool make_memory(struct httpd_request *req)
{
    struct httpd *h = req->h;
    struct admission_body *chosen;

    while (!req->dropped && (chosen = admission_body_victim(h->admission, h->limits.bodies_max_bytes)) != NULL) {
        struct httpd_request *victim = chosen->owner;

        victim->dropped = true;
        drop_body(victim);
        tell_dropped(h, HTTPD_DROP_MEMORY, victim->conn->peer);
        conn_cut(h, victim->conn);
    }
    return !req->dropped;
}

static void headers_free(struct header *first)
{
    while (first != NULL) {
        struct header *next = first->next;

        mem_free(first->name);
        mem_free(first->value);
        mem_free(first);
        first = next;
    }
}

static void request_free(struct httpd_request *req)
{
    if (req->response != NULL)
        MHD_destroy_response(req->response);
    headers_free(req->headers);
    drop_body(req);
    if (req->free_user != NULL)
        req->free_user(req->user);
    mem_free(req);
}

const char *httpd_method(const struct httpd_request *req)
{
    return req->method;
}

const char *httpd_path(const struct httpd_request *req)
{
    return req->path;
}

const char *httpd_query(const struct httpd_request *req, const char *name)
{
    const char *value = NULL;

    if (MHD_lookup_connection_value_n(req->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, NULL) ==
        MHD_NO)
        return NULL;
    return value != NULL ? value : "";
}

struct header_search {
    const char *name;
    const char *first;
    unsigned count;
    bool differ;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct header_search *search = cls;

    (void)kind;
    if (!text_ieq(name, search->name))
        return MHD_YES;
    if (value == NULL)
        value = "";
    if (search->count++ == 0)
        search->first = value;
    else if (!text_eq(value, search->first))
        search->differ = true;
    return MHD_YES;
}

static struct header_search find_header(const struct httpd_request *req, const char *name)
{
    struct header_search search = {.name = name};

    (void)MHD_get_connection_values(req->connection, MHD_HEADER_KIND, on_header, &search);
    return search;
}

const char *httpd_header(const struct httpd_request *req, const char *name, unsigned *ret_count)
{
    struct header_search search = find_header(req, name);

    if (ret_count != NULL)
        *ret_count = search.count;
    return search.first;
}

/* Fit for a log, a header, and the reference that the instance of a problem is. */
static bool is_sane_id(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)s[i]) && strchr("-._", s[i]) == NULL)
            return false;
    }
    return len >= 1 && len <= ID_MAX_BYTES;
}

static void request_set_id(struct httpd_request *req)
{
    struct header_search received = find_header(req, id_header);
    size_t len = received.first != NULL ? strlen(received.first) : 0;

    while (len > 0 && (received.first[len - 1] == ' ' || received.first[len - 1] == '\t'))
        len--; /* libmicrohttpd leaves them there */
    if (received.count == 1 && is_sane_id(received.first, len))
        (void)snprintf(req->id, sizeof req->id, "%.*s", (int)len, received.first);
    else
        (void)snprintf(req->id, sizeof req->id, "%s-%llx", req->h->id_prefix, (unsigned long long)++req->h->last_id);
}

const char *httpd_body(const struct httpd_request *req, size_t *ret_len)
{
    if (ret_len != NULL)
        *ret_len = req->body.len;
    return buf_text(&req->body);
}

const char *httpd_peer(const struct httpd_request *req)
{
    return req->conn->peer;
}

int httpd_socket(const struct httpd_request *req)
{
    return req->conn->fd;
}

const char *httpd_request_id(const struct httpd_request *req)
{
    return req->id;
}

void httpd_set_user(struct httpd_request *req, void *user, void (*free_user)(void *))
{
    if (req->free_user != NULL)
        req->free_user(req->user);
    req->user = user;
    req->free_user = free_user;
}

void *httpd_user(const struct httpd_request *req)
{
    return req->user;
}

void httpd_add_header(struct httpd_request *req, const char *name, const char *value)
{
    struct header *header = mem_zalloc(sizeof *header);
    struct header **end = &req->headers;

    while (*end != NULL)
        end = &(*end)->next;
    header->name = mem_strdup(name);
    header->value = mem_strdup(value);
    *end = header;
}

/* In the thread of whoever answers: that touches nothing of the daemon and spares the loop the copying. */
static struct MHD_Response *response_new(const struct httpd_request *req, const char *content_type, const char *body,
                                         size_t len)
{
    char *copy = mem_alloc(len);
    struct MHD_Response *response;

    if (len > 0)
        memcpy(copy, body, len);
    response = MHD_create_response_from_buffer_with_free_callback(len, copy, mem_free);
    if (response == NULL) {
        mem_free(copy);
        return NULL;
    }
    if (content_type != NULL)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    (void)MHD_add_response_header(response, id_header, req->id);
    for (const struct header *header = req->headers; header != NULL; header = header->next)
        (void)MHD_add_response_header(response, header->name, header->value);
    return response;
}

void httpd_respond(struct httpd_request *req, unsigned status, const char *content_type, const char *body, size_t len)
{
    struct httpd *h = req->h;

    req->status = status;
    req->response = response_new(req, content_type, body, len);
    (void)pthread_mutex_lock(&h->mutex);
    req->answered = true;
    if (req->kept) {
        req->next = h->answered;
        h->answered = req;
    }
    (void)pthread_mutex_unlock(&h->mutex);
}

void httpd_problem(struct httpd_request *req, unsigned status, const char *title, const char *detail)
{
    struct json *problem = json_object();
    char *text;

    json_set_str(problem, "type", "about:blank");
    json_set_str(problem, "title", title);
    json_set_int(problem, "status", status);
    if (detail != NULL)
        json_set_str(problem, "detail", detail);
    json_set_str(problem, "instance", req->id);
    text = json_text(problem);
    httpd_respond(req, status, "application/problem+json", text, strlen(text));
    mem_free(text);
    json_free(problem);
}

void httpd_wake(struct httpd *h)
{
    static const uint64_t one = 1;

    if (!atomic_exchange(&h->woken, true) && write(h->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        atomic_store(&h->woken, false);
}

/* ---- what libmicrohttpd calls (server's thread) */

/* Hands the answer to libmicrohttpd. MHD_NO closes the connection: there was no memory for the answer. */
static enum MHD_Result queue_answer(struct httpd_request *req)
{
    struct httpd *h = req->h;
    enum MHD_Result queued;
    bool ends;

    drop_body(req); /* taking the answer may last, and others need the memory */
    if (req->response == NULL)
        return MHD_NO;
    ends = req->misframed || (h->close_after_refusal && req->status >= 400 && req->status < 500);
    if (ends)
        req->conn->linger = true; /* what follows is thrown away */
    if (ends || atomic_load(&h->quiesce_asked))
        (void)MHD_add_response_header(req->response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (req->status < 400)
        admission_prove(&req->conn->place, h->now_ms);
    conn_move(h, req->conn, CONN_SENDING);
    queued = MHD_queue_response(req->connection, req->status, req->response);
    MHD_destroy_response(req->response);
    req->response = NULL;
    return queued;
}

static void refuse_stopping(struct httpd_request *req)
{
    httpd_add_header(req, MHD_HTTP_HEADER_RETRY_AFTER, "5");
    httpd_problem(req, MHD_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable",
                  "The service is being stopped. Send the request again.");
}

static void refuse_busy(struct httpd_request *req)
{
    tell_dropped(req->h, HTTPD_DROP_MEMORY, req->conn->peer);
    httpd_add_header(req, MHD_HTTP_HEADER_RETRY_AFTER, "5");
    httpd_problem(req, MHD_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable",
                  "Too much is being received at this moment. Send the request again.");
}

static void refuse_too_large(struct httpd_request *req)
{
    req->too_large = true;
    req->h->handlers.too_large(req->h->handlers.ctx, req);
}

static enum MHD_Result on_header_name(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    bool *all_are_names = cls;

    (void)kind;
    (void)value;
    for (const char *s = name; *s != '\0'; s++)
        *all_are_names &= isalnum((unsigned char)*s) || strchr("!#$%&'*+-.^_`|~", *s) != NULL;
    *all_are_names &= *name != '\0';
    return MHD_YES;
}

/* Where two readers could disagree about where a request ends, it is not read at all (RFC 9112 section 6.3). */
static bool refuse_framing(struct httpd_request *req)
{
    bool all_are_names = true; /* "Transfer-Encoding : chunked" is read as another header by some */
    struct header_search coding = find_header(req, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    struct header_search length = find_header(req, MHD_HTTP_HEADER_CONTENT_LENGTH);

    (void)MHD_get_connection_values(req->connection, MHD_HEADER_KIND, on_header_name, &all_are_names);
    req->misframed = true;
    if (!all_are_names) {
        httpd_problem(req, MHD_HTTP_BAD_REQUEST, "Bad Request",
                      "A header's name has a character that is not allowed in one.");
    } else if (coding.count > 0 && length.count > 0) {
        httpd_problem(req, MHD_HTTP_BAD_REQUEST, "Bad Request",
                      "Transfer-Encoding and Content-Length exclude each other.");
    } else if (length.differ) {
        httpd_problem(req, MHD_HTTP_BAD_REQUEST, "Bad Request",
                      "Content-Length was sent twice, with different values.");
    } else if (coding.count > 1 || (coding.count == 1 && !text_ieq(coding.first, "chunked"))) {
        httpd_problem(req, MHD_HTTP_NOT_IMPLEMENTED, "Not Implemented",
                      "The only transfer coding understood is chunked.");
    } else {
        req->misframed = false;
    }
    return req->misframed;
}

/* The headers are there. An answer now ends the connection if there is a body, which then is never read. */
static enum MHD_Result begin_request(struct httpd_request *req)
{
    struct httpd *h = req->h;
    const char *length = httpd_header(req, MHD_HTTP_HEADER_CONTENT_LENGTH, NULL);
    bool chunked = httpd_header(req, MHD_HTTP_HEADER_TRANSFER_ENCODING, NULL) != NULL;
    int64_t declared = 0;
    bool fits = length == NULL ||
                (text_to_i64(length, 0, INT64_MAX, &declared) && (uint64_t)declared <= h->limits.body_max_bytes);

    if (atomic_load(&h->stop_asked)) {
        refuse_stopping(req);
    } else if (req->conn->nul_in_address) {
        httpd_problem(req, MHD_HTTP_BAD_REQUEST, "Bad Request", "The address contains a NUL byte.");
    } else if (!refuse_framing(req)) {
        h->handlers.check(h->handlers.ctx, req);
        if (!req->answered && !fits)
            refuse_too_large(req);
        else if (!req->answered && !admission_body_fits(h->admission, (uint64_t)declared, h->limits.bodies_max_bytes))
            refuse_busy(req);
    }
    req->conn->nul_in_address = false;
    if (!req->answered || (fits && declared == 0 && !chunked))
        return MHD_YES; /* without a body the answer goes out in the next call, which keeps the connection usable */
    req->conn->linger = true;
    return queue_answer(req);
}

static enum MHD_Result receive_body(struct httpd_request *req, const char *bytes, size_t len)
{
    struct httpd *h = req->h;

    if (req->dropped)
        return MHD_NO;
    if (req->answered || req->too_large) {
        req->discarded_bytes += len;
        return req->discarded_bytes > DISCARD_MAX_BYTES ? MHD_NO : MHD_YES;
    }
    if (!req->memory.arriving)
        admission_body_arrives(h->admission, &req->memory);
    buf_add(&req->body, bytes, len);
    if (req->body.failed) {
        drop_body(req);
        refuse_too_large(req);
        return MHD_YES;
    }
    admission_body_count(h->admission, &req->memory, req->body.cap);
    return make_memory(req) ? MHD_YES : MHD_NO;
}

/* The whole request is there. Called again when a kept request was answered and its connection resumed. */
static enum MHD_Result finish_request(struct httpd_request *req)
{
    struct httpd *h = req->h;
    bool answered;

    if (req->dropped)
        return MHD_NO;
    if (!req->answered && !req->kept && !req->too_large) {
        admission_body_settle(h->admission, &req->memory, false);
        if (atomic_load(&h->stop_asked))
            refuse_stopping(req);
        else
            h->handlers.handle(h->handlers.ctx, req);
    }
    /* The answer may come from another thread at any moment, also before this one gets here: under the lock it is
     * either seen now, or comes after the connection was suspended and goes through the list. */
    (void)pthread_mutex_lock(&h->mutex);
    answered = req->answered;
    if (!answered && !req->kept) {
        admission_body_settle(h->admission, &req->memory, true);
        admission_prove(&req->conn->place, h->now_ms);
        conn_move(h, req->conn, CONN_WORKING);
        req->kept = true;
        h->kept++;
        MHD_suspend_connection(req->connection);
    }
    (void)pthread_mutex_unlock(&h->mutex);
    return answered ? queue_answer(req) : MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload_data, size_t *upload_data_size,
                                  void **con_cls)
{
    struct server *s = cls;
    struct httpd_request *req = *con_cls;
    size_t len = *upload_data_size;

    (void)version;
    s->h->calls++;
    if (req == NULL) {
        req = request_new(s->h, conn_of(connection), connection, url, method);
        request_set_id(req);
        *con_cls = req;
        return begin_request(req);
    }
    if (len > 0) {
        *upload_data_size = 0;
        return receive_body(req, upload_data, len);
    }
    return finish_request(req);
}

/* The request line was read: on a kept connection the time of the request starts. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct server *s = cls;
    struct conn *c = conn_of(connection);

    (void)uri;
    s->h->calls++;
    if (c->state == CONN_IDLE)
        conn_move(s->h, c, CONN_RECEIVING);
    return NULL;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct server *s = cls;
    struct conn *c = conn_of(connection);

    (void)code;
    if (*con_cls != NULL)
        request_free(*con_cls);
    *con_cls = NULL;
    c->nul_in_address = false;
    conn_move(s->h, c, CONN_IDLE);
}

/* Paths and queries are C strings from here on: one that would be cut at a NUL must not look like a shorter one. */
static size_t on_unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    size_t len = MHD_http_unescape(text);

    (void)cls;
    if (strlen(text) != len)
        conn_of(connection)->nul_in_address = true;
    return len;
}

ATS_PRINTF(2, 0) static void on_message(void *cls, const char *fmt, va_list ap)
{
    struct server *s = cls;
    char line[sizeof(struct errmsg)];
    size_t len;
    char *both;

    if (s->start_error == NULL)
        return;
    (void)vsnprintf(line, sizeof line, fmt, ap);
    len = strlen(line);
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '.' || line[len - 1] == ' '))
        line[--len] = '\0';
    both = mem_printf("%s%s%s", s->start_error, s->start_error[0] != '\0' ? "; " : "", line);
    mem_free(s->start_error);
    s->start_error = both;
}

/* ---- servers */

static void server_stop_accepting(struct server *s)
{
    if (s->listen_fd < 0)
        return;
    (void)MHD_quiesce_daemon(s->daemon);
    (void)close(s->listen_fd);
    s->listen_fd = -1;
}

static void server_free(struct server *s)
{
    if (s == NULL)
        return;
    if (s->daemon != NULL) {
        server_stop_accepting(s); /* else MHD_stop_daemon closes the socket, and nobody could tell */
        MHD_stop_daemon(s->daemon);
    } else if (s->listen_fd >= 0) {
        (void)close(s->listen_fd);
    }
    mem_free(s->start_error);
    mem_free(s->certificate_pem);
    mem_free_secret(s->key_pem);
    mem_free(s);
}

/* listen_fd is taken over, also on failure. */
static int server_new(struct httpd *h, int listen_fd, const struct httpd_config *config, struct server **ret,
                      struct errmsg *err)
{
    struct server *s = mem_zalloc(sizeof *s);
    char priorities[sizeof tls_priorities];
    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, NULL},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    static const struct MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, NULL}};
    bool tls = config->tls_certificate_pem != NULL;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (tls ? (unsigned)MHD_USE_TLS : 0U);
    unsigned idle_seconds = ((unsigned)config->request_timeout_ms + 999U) / 1000U;
    const union MHD_DaemonInfo *info;
    struct stat before;
    struct stat after;
    int st = ST_OK;

    memcpy(priorities, tls_priorities, sizeof priorities);
    s->h = h;
    s->limits = (struct limits){.body_max_bytes = config->body_max_bytes,
                                .bodies_max_bytes = config->bodies_max_bytes,
                                .connections_per_address_max = config->connections_per_address_max,
                                .request_timeout_ms = config->request_timeout_ms};
    s->places.max = config->connections_max;
    s->certificate_pem = mem_strdup(config->tls_certificate_pem);
    s->key_pem = mem_strdup(config->tls_key_pem);
    tls_options[0].ptr_value = s->certificate_pem;
    tls_options[1].ptr_value = s->key_pem;
    s->start_error = mem_strdup("");
    s->listen_fd = listen_fd;
    if (tls && MHD_is_feature_supported(MHD_FEATURE_TLS) == MHD_NO) {
        st = err_set(err, ST_INVALID,
                     "cannot serve TLS: this libmicrohttpd was built without it; install one with GnuTLS, or put a "
                     "proxy in front");
        goto out;
    }
    if (listen_fd < 0 || fstat(listen_fd, &before) != 0) {
        st = err_set(err, ST_IO, "cannot duplicate the listening socket: %s", strerror(errno));
        goto out;
    }
    s->daemon = MHD_start_daemon(flags, 0, on_accept, s, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_message,
                                 (void *)s, MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                 (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_LIMIT, s->places.max,
                                 MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                                 MHD_OPTION_NOTIFY_CONNECTION, on_connection, (void *)s, MHD_OPTION_NOTIFY_COMPLETED,
                                 on_completed, (void *)s, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, (void *)s,
                                 MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, (void *)s, MHD_OPTION_ARRAY,
                                 tls ? tls_options : no_options, MHD_OPTION_END);
    if (s->daemon == NULL) {
        /* It closes the socket in some failures and not in others, and another thread may have the number by now. */
        if (fstat(listen_fd, &after) != 0 || after.st_dev != before.st_dev || after.st_ino != before.st_ino)
            s->listen_fd = -1;
        st = tls ? err_set(err, ST_INVALID, "the TLS certificate and key cannot be used: %s", s->start_error)
                 : err_set(err, ST_IO, "libmicrohttpd did not start: %s", s->start_error);
        goto out;
    }
    mem_free(s->start_error);
    s->start_error = NULL;
    info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL) {
        st = err_set(err, ST_IO, "libmicrohttpd was built without epoll, which is needed");
        goto out;
    }
    s->epoll_fd = info->epoll_fd;
    *ret = s;
    s = NULL;
out:
    server_free(s);
    return st;
}

static void server_run(struct server *s)
{
    /* With a timeout other than 0 the bug of 128 ready sockets would be back. */
#if MHD_VERSION >= 0x00097206
    (void)MHD_run_wait(s->daemon, 0);
#else
    (void)MHD_run(s->daemon);
#endif
}

/* ---- the loop */

static void take_answers(struct httpd *h)
{
    struct httpd_request *req;
    struct httpd_request *next;

    (void)pthread_mutex_lock(&h->mutex);
    req = h->answered;
    h->answered = NULL;
    for (const struct httpd_request *r = req; r != NULL; r = r->next)
        h->kept--;
    (void)pthread_mutex_unlock(&h->mutex);
    for (; req != NULL; req = next) {
        next = req->next;
        /* From now on it counts as one to be sent, so that a stop in between waits for it. */
        conn_move(h, req->conn, CONN_SENDING);
        MHD_resume_connection(req->connection);
    }
}

static void adopt_server(struct httpd *h)
{
    struct server *s;

    (void)pthread_mutex_lock(&h->mutex);
    s = h->next_server;
    h->next_server = NULL;
    (void)pthread_cond_broadcast(&h->adopted);
    (void)pthread_mutex_unlock(&h->mutex);
    if (s == NULL)
        return;
    if (h->listen_fd < 0) {
        server_free(s);
        return;
    }
    server_stop_accepting(h->servers);
    s->next = h->servers;
    h->servers = s;
    h->limits = s->limits;
}

/* Those who are connected as far as they know must not be thrown out by the close: they are taken in first. */
static void stop_listening(struct httpd *h)
{
    struct server *s = h->servers;
    struct pollfd waiting = {.fd = h->listen_fd, .events = POLLIN};

    for (int turns = 0; turns < BACKLOG_TURNS_MAX && s->places.taken < s->places.max; turns++) {
        if (poll(&waiting, 1, 0) <= 0)
            break;
        server_run(s);
    }
    server_stop_accepting(s);
    (void)pthread_mutex_lock(&h->mutex);
    (void)close(h->listen_fd);
    h->listen_fd = -1;
    (void)pthread_mutex_unlock(&h->mutex);
}

static void run_servers(struct httpd *h)
{
    struct server **link;

    for (struct server *s = h->servers; s != NULL; s = s->next)
        server_run(s);
    link = &h->servers->next; /* the first one stays */
    while (link != NULL && *link != NULL) {
        struct server *s = *link;

        if (s->places.taken > 0) {
            link = &s->next;
            continue;
        }
        *link = s->next;
        server_free(s);
    }
}

/* One turn, and whether it brought anything. */
static void run_and_watch(struct httpd *h)
{
    uint64_t calls = h->calls;
    int64_t begun_us = clock_mono_us();
    int64_t pause_ms;

    run_servers(h);
    if (h->calls != calls) {
        h->vain_turns = 0;
        return;
    }
    pause_ms = 4 * (clock_mono_us() - begun_us) / 1000;
    h->pause_ms = pause_ms < 1 ? 1 : (int)smaller(pause_ms, PAUSE_MAX_MS);
    if (h->vain_turns < VAIN_TURNS_MAX)
        h->vain_turns++;
}

/* Milliseconds that the loop may sleep, or -1. */
static int loop_timeout_ms(struct httpd *h)
{
    int64_t now_ms = clock_mono_ms();
    int64_t at_ms = INT64_MAX;

    if (h->run_again)
        return 0;
    for (struct server *s = h->servers; s != NULL; s = s->next) {
        MHD_UNSIGNED_LONG_LONG wait_ms = 0;

        if (MHD_get_timeout(s->daemon, &wait_ms) == MHD_YES)
            at_ms = smaller(at_ms, now_ms + (int64_t)(wait_ms < INT_MAX ? wait_ms : INT_MAX));
    }
    if (h->busy.head != NULL)
        at_ms = smaller(at_ms, h->busy.head->since_ms + h->limits.request_timeout_ms);
    if (h->idle.head != NULL)
        at_ms = smaller(at_ms, h->idle.head->since_ms + 2 * (int64_t)h->limits.request_timeout_ms);
    at_ms = smaller(at_ms, half_open_until_ms(&h->half_open));
    if (is_crowded(h) && admission_spare_at_ms(&h->servers->places) > h->now_ms)
        at_ms = smaller(at_ms, admission_spare_at_ms(&h->servers->places));
    if (at_ms == INT64_MAX)
        return -1;
    if (at_ms <= now_ms)
        return 0;
    return at_ms - now_ms < INT_MAX ? (int)(at_ms - now_ms) : INT_MAX;
}

static void add_polled(struct httpd *h, size_t *n, int fd)
{
    if (*n == h->polled_cap) {
        h->polled_cap += 1 + HALF_OPEN_MAX;
        h->polled = mem_grow(h->polled, h->polled_cap, sizeof *h->polled);
    }
    h->polled[(*n)++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

/*
 * libmicrohttpd (0.9.75) asks to be run again at once as long as a TLS handshake is not finished, or its buffer is full of
 * something that is not complete: one such connection would keep a processor busy. So when turns bring nothing, the loop
 * pauses before the next, in proportion to what such a turn costs. In the pause only answers are heard.
 */
static bool is_restless(struct httpd *h)
{
    if (h->vain_turns < VAIN_TURNS_MAX || h->run_again)
        return false;
    for (struct server *s = h->servers; s != NULL; s = s->next) {
        MHD_UNSIGNED_LONG_LONG wait_ms = 1;

        if (MHD_get_timeout(s->daemon, &wait_ms) == MHD_YES && wait_ms == 0)
            return true;
    }
    return false;
}

static void loop_wait(struct httpd *h)
{
    bool pause = is_restless(h);
    size_t n = 0;
    uint64_t count;

    add_polled(h, &n, h->wake_fd);
    for (const struct server *s = h->servers; s != NULL && !pause; s = s->next)
        add_polled(h, &n, s->epoll_fd);
    if (is_crowded(h) && admission_spare_at_ms(&h->servers->places) <= h->now_ms)
        add_polled(h, &n, h->listen_fd);
    for (size_t i = 0; i < h->half_open.count && !pause; i++)
        add_polled(h, &n, h->half_open.items[i].fd);
    if (poll(h->polled, n, pause ? h->pause_ms : loop_timeout_ms(h)) > 0 && h->polled[0].revents != 0) {
        ssize_t got = read(h->wake_fd, &count, sizeof count);

        (void)got;
        /* Before the lists are read: who adds to them from now on writes again. */
        atomic_store(&h->woken, false);
    }
    h->run_again = false;
    h->now_ms = clock_mono_ms();
}

static bool has_kept(struct httpd *h)
{
    bool kept;

    (void)pthread_mutex_lock(&h->mutex);
    kept = h->kept > 0;
    (void)pthread_mutex_unlock(&h->mutex);
    return kept;
}

/* The answers are out, and what peers had sent before the stop has been seen. */
static bool is_finished(struct httpd *h)
{
    if (h->sending > 0)
        return false;
    for (struct server *s = h->servers; s != NULL; s = s->next) {
        struct pollfd ready = {.fd = s->epoll_fd, .events = POLLIN};
        MHD_UNSIGNED_LONG_LONG wait_ms = 0;

        if (poll(&ready, 1, 0) > 0 || (MHD_get_timeout(s->daemon, &wait_ms) == MHD_YES && wait_ms == 0))
            return false;
    }
    return true;
}

static void *loop_main(void *arg)
{
    struct httpd *h = arg;
    int64_t stopping_since_ms = -1;

    for (;;) {
        loop_wait(h);
        adopt_server(h);
        if (h->half_open.count > 0)
            half_open_turn(&h->half_open, h->now_ms);
        take_answers(h);
        if (h->listen_fd >= 0 && atomic_load(&h->quiesce_asked))
            stop_listening(h);
        make_room(h);
        run_and_watch(h);
        cut_overdue(h, &h->busy, h->limits.request_timeout_ms);
        cut_overdue(h, &h->idle, 2 * (int64_t)h->limits.request_timeout_ms);
        if (!atomic_load(&h->stop_asked))
            continue;
        /* A kept request holds up the end, because its answer is a promise; a peer that never ceases to send cannot. */
        if (has_kept(h)) {
            stopping_since_ms = -1;
            continue;
        }
        if (stopping_since_ms < 0)
            stopping_since_ms = h->now_ms;
        if (is_finished(h) || h->now_ms - stopping_since_ms > h->limits.request_timeout_ms)
            break;
    }
    (void)pthread_mutex_lock(&h->mutex);
    h->ended = true;
    (void)pthread_cond_broadcast(&h->adopted);
    (void)pthread_mutex_unlock(&h->mutex);
    return NULL;
}

/* ---- life */

int httpd_new(const struct httpd_config *config, const struct httpd_handlers *handlers, struct httpd **ret,
              struct errmsg *err)
{
    struct httpd *h = mem_zalloc(sizeof *h);
    uint8_t random[ID_RANDOM_BYTES];
    uint64_t seed;
    int st;

    crypto_random(random, sizeof random);
    crypto_hex(random, sizeof random, h->id_prefix);
    (void)pthread_mutex_init(&h->mutex, NULL);
    (void)pthread_cond_init(&h->adopted, NULL);
    h->handlers = *handlers;
    h->close_after_refusal = config->close_after_refusal;
    crypto_random(&seed, sizeof seed);
    h->admission = admission_new(seed);
    (void)snprintf(h->thread_name, sizeof h->thread_name, "%s", config->thread_name);
    h->listen_fd = -1;
    h->now_ms = clock_mono_ms();
    h->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (h->wake_fd < 0) {
        st = err_set(err, ST_IO, "cannot create an eventfd: %s", strerror(errno));
        goto out;
    }
    st = listener_open(config->listen, &h->listen_fd, &h->port, err);
    if (st != ST_OK)
        goto out;
    st = server_new(h, fcntl(h->listen_fd, F_DUPFD_CLOEXEC, 0), config, &h->servers, err);
    if (st != ST_OK)
        goto out;
    h->limits = h->servers->limits;
    *ret = h;
    h = NULL;
out:
    httpd_free(h);
    return st;
}

int httpd_start(struct httpd *h, struct errmsg *err)
{
    sigset_t all;
    sigset_t before;
    int rc;

    /* Signals belong to the main thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&h->thread, NULL, loop_main, h);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return err_set(err, ST_IO, "cannot start the thread %s: %s", h->thread_name, strerror(rc));
    h->started = true;
    (void)pthread_setname_np(h->thread, h->thread_name);
    return ST_OK;
}

void httpd_quiesce(struct httpd *h)
{
    atomic_store(&h->quiesce_asked, true);
    httpd_wake(h);
}

void httpd_stop(struct httpd *h)
{
    atomic_store(&h->quiesce_asked, true);
    atomic_store(&h->stop_asked, true);
    httpd_wake(h);
}

static void close_all(struct httpd *h)
{
    while (h->servers != NULL) {
        struct server *s = h->servers;

        h->servers = s->next;
        server_free(s);
    }
    server_free(h->next_server);
    h->next_server = NULL;
    half_open_close(&h->half_open);
    if (h->listen_fd >= 0)
        (void)close(h->listen_fd);
    h->listen_fd = -1;
}

void httpd_join(struct httpd *h)
{
    if (!h->started || h->joined)
        return;
    (void)pthread_join(h->thread, NULL);
    h->joined = true;
    close_all(h);
}

void httpd_free(struct httpd *h)
{
    if (h == NULL)
        return;
    if (h->started && !h->joined) {
        httpd_stop(h);
        httpd_join(h);
    }
    close_all(h);
    if (h->wake_fd >= 0)
        (void)close(h->wake_fd);
    admission_free(h->admission);
    mem_free(h->polled);
    (void)pthread_cond_destroy(&h->adopted);
    (void)pthread_mutex_destroy(&h->mutex);
    mem_free(h);
}

unsigned httpd_port(const struct httpd *h)
{
    return h->port;
}

unsigned httpd_connections(const struct httpd *h)
{
    return atomic_load(&h->connections);
}

int httpd_reload(struct httpd *h, const struct httpd_config *config, struct errmsg *err)
{
    struct server *s = NULL;
    struct server *superseded;
    bool stopping;
    int fd = -1;
    int st;

    (void)pthread_mutex_lock(&h->mutex);
    stopping = h->listen_fd < 0 || atomic_load(&h->quiesce_asked);
    if (!stopping)
        fd = fcntl(h->listen_fd, F_DUPFD_CLOEXEC, 0);
    (void)pthread_mutex_unlock(&h->mutex);
    if (stopping)
        return err_set(err, ST_UNAVAILABLE, "nothing was changed: the server is being stopped");
    st = server_new(h, fd, config, &s, err);
    if (st != ST_OK)
        return st;
    (void)pthread_mutex_lock(&h->mutex);
    superseded = h->next_server;
    h->next_server = s;
    httpd_wake(h);
    while (h->started && !h->ended && h->next_server == s)
        (void)pthread_cond_wait(&h->adopted, &h->mutex);
    (void)pthread_mutex_unlock(&h->mutex);
    server_free(superseded);
    return ST_OK;
}
