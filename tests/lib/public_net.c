/*
 * public_net - the addresses 192.0.2.1 to 192.0.2.254 (RFC 5737: nobody's, and not private) lead to this machine: who connects to one comes to
 * the same port of 127.0.0.1, and sees the address that it asked for at the other end. Preloaded into a program (LD_PRELOAD) or linked
 * into it, so that a test without a network has a host that counts as a public one.
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
