/*
 * half_open - sockets of refused senders that are held half open for a while.
 *
 * Closing a socket with unread bytes in it resets the connection (RFC 9112, section 9.6), and the peer may lose the answer that it had not read yet. So
 * what still comes is read and thrown away, for at most a few seconds and of at most a few dozen at a time; others are closed at once.
 *
 * Times are those of the monotonic clock. One thread.
 */
#ifndef ATSYNC_LIB_HALF_OPEN_H
#define ATSYNC_LIB_HALF_OPEN_H

#include <stddef.h>
#include <stdint.h>

enum { HALF_OPEN_MAX = 64 };

struct half_open {
    struct half_open_socket {
        int fd;
        int64_t until_ms;
    } items[HALF_OPEN_MAX];
    size_t count;
};

void half_open_add(struct half_open *l, int fd,
                   int64_t now_ms); /* of a duplicate: fd itself stays the caller's to close */
void half_open_turn(struct half_open *l,
                    int64_t now_ms); /* reads what has come, and closes who has left or had its time */
int64_t
half_open_until_ms(const struct half_open *l); /* when the next of them has had its time; INT64_MAX: there is none */
void half_open_close(struct half_open *l);     /* all of them */

#endif
