#include "lib/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

/* Splits "host:port" and "[address]:port"; *ret_host is a new string. */
static int parse_listen(const char *listen_on, char **ret_host, const char **ret_port, struct errmsg *err)
{
    const char *colon = strrchr(listen_on, ':');
    const char *host = listen_on;
    size_t host_len = colon != NULL ? (size_t)(colon - listen_on) : 0;
    int64_t port;

    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    } else if (host_len > 0 && memchr(host, ':', host_len) != NULL) {
        return err_set(err, ST_INVALID, "cannot listen on \"%s\": write an IPv6 address in brackets, as [::1]:8480",
                       listen_on);
    }
    if (host_len == 0 || !text_to_i64(colon + 1, 0, 65535, &port))
        return err_set(err, ST_INVALID,
                       "cannot listen on \"%s\": write host:port or [address]:port, with a port up to 65535",
                       listen_on);
    *ret_host = mem_strndup(host, host_len);
    *ret_port = colon + 1;
    return ST_OK;
}

static const char *bind_hint(int reason)
{
    switch (reason) {
    case EADDRINUSE:
        return " (another program, or another daemon, listens there)";
    case EACCES:
        return " (ports below 1024 need CAP_NET_BIND_SERVICE)";
    case EADDRNOTAVAIL:
        return " (no network interface of this machine has this address)";
    default:
        return "";
    }
}

static int bind_one(const struct addrinfo *ai, const char *listen_on, int *ret_fd, struct errmsg *err)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    int on = 1;
    int off = 0;
    int reason;

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (ai->ai_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0) {
        *ret_fd = fd;
        return ST_OK;
    }
    reason = errno;
    if (fd >= 0)
        (void)close(fd);
    return err_set(err, ST_IO, "cannot listen on %s: %s%s", listen_on, strerror(reason), bind_hint(reason));
}

int listener_open(const char *listen_on, int *ret_fd, unsigned *ret_port, struct errmsg *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char *host = NULL;
    const char *port = NULL;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {0}};
    socklen_t bound_len = sizeof bound;
    int fd = -1;
    int st;
    int rc;

    st = parse_listen(listen_on, &host, &port, err);
    if (st != ST_OK)
        goto out;
    rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        st = err_set(err, ST_IO, "cannot listen on %s: %s", listen_on,
                     rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
        goto out;
    }
    st = ST_IO;
    for (const struct addrinfo *ai = found; st != ST_OK && ai != NULL; ai = ai->ai_next)
        st = bind_one(ai, listen_on, &fd, err);
    if (st != ST_OK)
        goto out;
    if (getsockname(fd, &bound.any, &bound_len) != 0) {
        st = err_set(err, ST_IO, "cannot listen on %s: %s", listen_on, strerror(errno));
        goto out;
    }
    *ret_port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    *ret_fd = fd;
    fd = -1;
out:
    if (fd >= 0)
        (void)close(fd);
    if (found != NULL)
        freeaddrinfo(found);
    mem_free(host);
    return st;
}
