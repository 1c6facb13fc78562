#include "lib/relay.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/mem.h"

enum { CONNECTIONS_MAX = 64, HEAD_MAX_BYTES = 4096, PIECE_BYTES = 16384 };

struct relay {
    struct relay_rules rules;
    SSL_CTX *tls;
    int fd;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock; /* for the rest */
    bool stopping;
    struct relay_figures figures;
    struct link {
        struct relay *relay;
        int near, far; /* -1: none */
        pthread_t thread;
    } links[CONNECTIONS_MAX];
    unsigned count;
};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static bool write_all(int fd, SSL *ssl, const char *bytes, int len)
{
    while (len > 0) {
        int n = ssl != NULL ? SSL_write(ssl, bytes, len) : (int)send(fd, bytes, (size_t)len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        bytes += n;
        len -= n;
    }
    return true;
}

static int read_some(int fd, SSL *ssl, char *bytes, int len)
{
    return ssl != NULL ? SSL_read(ssl, bytes, len) : (int)read(fd, bytes, (size_t)len);
}

static int connect_on(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Reads the head of a CONNECT and answers it. */
static bool take_connect(struct link *l)
{
    char head[HEAD_MAX_BYTES] = "", host[256] = "";
    size_t len = 0;

    while (strstr(head, "\r\n\r\n") == NULL) {
        ssize_t n = len + 1 < sizeof head ? read(l->near, head + len, sizeof head - 1 - len) : 0;

        if (n <= 0)
            return false;
        len += (size_t)n;
        head[len] = '\0';
    }
    if (sscanf(head, "CONNECT %255s HTTP/", host) != 1)
        return false;
    (void)pthread_mutex_lock(&l->relay->lock);
    memcpy(l->relay->figures.host, host, sizeof host);
    (void)pthread_mutex_unlock(&l->relay->lock);
    return write_all(l->near, NULL, "HTTP/1.1 200 OK\r\n\r\n", 19);
}

static void pump(const struct link *l, SSL *ssl)
{
    struct pollfd fds[] = {{.fd = l->near, .events = POLLIN}, {.fd = l->far, .events = POLLIN}};
    char bytes[PIECE_BYTES];

    for (;;) {
        bool is_near = ssl != NULL && SSL_pending(ssl) > 0;
        int n;

        if (!is_near) {
            if (poll(fds, 2, -1) < 0)
                return;
            is_near = fds[0].revents != 0;
        }
        n = is_near ? read_some(l->near, ssl, bytes, sizeof bytes) : read_some(l->far, NULL, bytes, sizeof bytes);
        if (n <= 0 || !write_all(is_near ? l->far : l->near, is_near ? NULL : ssl, bytes, n))
            return;
    }
}

static void *serve(void *arg)
{
    struct link *l = arg;
    struct relay *r = l->relay;
    SSL *ssl = r->tls != NULL ? SSL_new(r->tls) : NULL;
    bool came = (ssl == NULL || (SSL_set_fd(ssl, l->near) == 1 && SSL_accept(ssl) == 1)) &&
                (!r->rules.is_proxy || take_connect(l));
    int far = came ? connect_on(r->rules.port) : -1;

    (void)pthread_mutex_lock(&r->lock);
    l->far = far;
    r->figures.connections += came ? 1 : 0;
    r->figures.refused += came ? 0 : 1;
    (void)pthread_mutex_unlock(&r->lock);
    if (far >= 0)
        pump(l, ssl);
    SSL_free(ssl);
    (void)shutdown(l->near, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct relay *r = arg;
    int fd;

    while ((fd = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        (void)pthread_mutex_lock(&r->lock);
        if (r->stopping || r->count == CONNECTIONS_MAX) {
            close(fd);
        } else {
            struct link *l = &r->links[r->count++];

            *l = (struct link){.relay = r, .near = fd, .far = -1};
            must(pthread_create(&l->thread, NULL, serve, l) == 0, "relay: thread");
        }
        (void)pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

static SSL_CTX *make_tls(const struct relay_rules *rules)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    BIO *cert_bio = BIO_new_mem_buf(rules->certificate_pem, -1), *key_bio = BIO_new_mem_buf(rules->key_pem, -1);
    X509 *cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);

    must(SSL_CTX_use_certificate(tls, cert) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1, "relay: certificate");
    if (rules->client_ca_file != NULL) {
        must(SSL_CTX_load_verify_locations(tls, rules->client_ca_file, NULL) == 1, "relay: client_ca_file");
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    return tls;
}

struct relay *relay_start(const struct relay_rules *rules)
{
    struct relay *r = mem_zalloc(sizeof *r);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;

    r->rules = *rules;
    r->tls = rules->certificate_pem != NULL ? make_tls(rules) : NULL;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(r->fd, (struct sockaddr *)&at, len) == 0 && listen(r->fd, CONNECTIONS_MAX) == 0 &&
             getsockname(r->fd, (struct sockaddr *)&at, &len) == 0,
         "relay: listen");
    r->port = ntohs(at.sin_port);
    (void)pthread_mutex_init(&r->lock, NULL);
    must(pthread_create(&r->thread, NULL, accept_all, r) == 0, "relay: thread");
    return r;
}

void relay_stop(struct relay *r)
{
    (void)pthread_mutex_lock(&r->lock);
    r->stopping = true;
    for (unsigned i = 0; i < r->count; i++) {
        (void)shutdown(r->links[i].near, SHUT_RDWR);
        if (r->links[i].far >= 0)
            (void)shutdown(r->links[i].far, SHUT_RDWR);
    }
    (void)pthread_mutex_unlock(&r->lock);
    (void)shutdown(r->fd, SHUT_RDWR); /* ends accept4() */
    (void)pthread_join(r->thread, NULL);
    for (unsigned i = 0; i < r->count; i++) {
        (void)pthread_join(r->links[i].thread, NULL);
        close(r->links[i].near);
        if (r->links[i].far >= 0)
            close(r->links[i].far);
    }
    close(r->fd);
    (void)pthread_mutex_destroy(&r->lock);
    SSL_CTX_free(r->tls);
    mem_free(r);
}

unsigned relay_port(const struct relay *r)
{
    return r->port;
}

struct relay_figures relay_figures(struct relay *r)
{
    struct relay_figures f;

    (void)pthread_mutex_lock(&r->lock);
    f = r->figures;
    (void)pthread_mutex_unlock(&r->lock);
    return f;
}
