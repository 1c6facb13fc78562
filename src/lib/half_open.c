#include "lib/half_open.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MS = 5000, LINGER_READ_BYTES = 16 * 1024 };

void half_open_add(struct half_open *l, int fd, int64_t now_ms)
{
    int copy;

    if (l->count == HALF_OPEN_MAX)
        return;
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return;
    (void)shutdown(copy, SHUT_WR);
    l->items[l->count++] = (struct half_open_socket){.fd = copy, .until_ms = now_ms + LINGER_MS};
}

void half_open_turn(struct half_open *l, int64_t now_ms)
{
    char scrap[LINGER_READ_BYTES];
    size_t i = 0;

    while (i < l->count) {
        struct half_open_socket *one = &l->items[i];
        ssize_t n = recv(one->fd, scrap, sizeof scrap, MSG_DONTWAIT);

        if (one->until_ms > now_ms && (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))) {
            i++;
            continue;
        }
        (void)close(one->fd);
        *one = l->items[--l->count];
    }
}

int64_t half_open_until_ms(const struct half_open *l)
{
    int64_t at_ms = INT64_MAX;

    for (size_t i = 0; i < l->count; i++)
        at_ms = l->items[i].until_ms < at_ms ? l->items[i].until_ms : at_ms;
    return at_ms;
}

void half_open_close(struct half_open *l)
{
    while (l->count > 0)
        (void)close(l->items[--l->count].fd);
}
