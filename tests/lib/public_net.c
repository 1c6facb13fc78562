/*
 * public_net - others' networks on this machine. Preloaded into a program (LD_PRELOAD) or linked into it.
 *
 * The addresses 192.0.2.1 to 192.0.2.254 (RFC 5737: nobody's, and not private) lead here: who connects to one comes to the same port of
 * 127.0.0.1, and sees the address that it asked for at the other end. So a test without a network has a host that counts as a public one.
 *
 * Who is connected to from 127.N.A.B, of which everybody may use any, sees 2001:db8:0:N::A:B (RFC 3849) there, unless N is 0. So a test has
 * clients of many IPv6 networks.
 */
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { FDS_MAX = 65536 };
static const uint32_t net = 0xc0000200, mask = 0xffffff00;

static _Atomic uint32_t asked_for[FDS_MAX]; /* by descriptor; 0: was connected as it was asked */

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t len)
{
    int (*real)(int, const struct sockaddr *, socklen_t);
    const struct sockaddr *given = to.__sockaddr__;
    void *found = next("connect");
    struct sockaddr_in at;

    memcpy(&real, &found, sizeof real);
    if (fd >= 0 && fd < FDS_MAX)
        asked_for[fd] = 0;
    if (given->sa_family != AF_INET || len < sizeof at || fd < 0 || fd >= FDS_MAX)
        return real(fd, given, len);
    memcpy(&at, given, sizeof at);
    if ((ntohl(at.sin_addr.s_addr) & mask) != net)
        return real(fd, given, len);
    asked_for[fd] = ntohl(at.sin_addr.s_addr);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return real(fd, (const struct sockaddr *)&at, sizeof at);
}

int getpeername(int fd, __SOCKADDR_ARG ret, socklen_t *restrict ret_len)
{
    int (*real)(int, struct sockaddr *, socklen_t *);
    struct sockaddr *peer = ret.__sockaddr__;
    void *found = next("getpeername");
    struct sockaddr_in at;
    int rc;

    memcpy(&real, &found, sizeof real);
    rc = real(fd, peer, ret_len);
    if (rc == 0 && fd < FDS_MAX && asked_for[fd] != 0 && peer->sa_family == AF_INET && *ret_len >= sizeof at) {
        memcpy(&at, peer, sizeof at);
        at.sin_addr.s_addr = htonl(asked_for[fd]);
        memcpy(peer, &at, sizeof at);
    }
    return rc;
}

/* Room for an address of either kind is what servers have. */
int accept4(int fd, __SOCKADDR_ARG ret, socklen_t *restrict ret_len, int flags)
{
    int (*real)(int, struct sockaddr *, socklen_t *, int);
    struct sockaddr *from = ret.__sockaddr__;
    void *found = next("accept4");
    socklen_t room = from != NULL ? *ret_len : 0;
    struct sockaddr_in6 seen = {.sin6_family = AF_INET6};
    struct sockaddr_in at;
    uint32_t ip;
    int rc;

    memcpy(&real, &found, sizeof real);
    rc = real(fd, from, ret_len, flags);
    if (rc < 0 || room < sizeof seen || from->sa_family != AF_INET)
        return rc;
    memcpy(&at, from, sizeof at);
    ip = ntohl(at.sin_addr.s_addr);
    if (ip >> 24 != 127 || (ip >> 16 & 0xff) == 0)
        return rc;
    seen.sin6_port = at.sin_port;
    memcpy(seen.sin6_addr.s6_addr, "\x20\x01\x0d\xb8", 4);
    seen.sin6_addr.s6_addr[7] = (uint8_t)(ip >> 16);
    seen.sin6_addr.s6_addr[13] = (uint8_t)(ip >> 8);
    seen.sin6_addr.s6_addr[15] = (uint8_t)ip;
    memcpy(from, &seen, sizeof seen);
    *ret_len = sizeof seen;
    return rc;
}
