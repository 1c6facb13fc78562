/*
 * listener - a TCP socket that listens. Not for sockets that systemd hands over: there are none.
 */
#ifndef ATSYNC_LIB_LISTENER_H
#define ATSYNC_LIB_LISTENER_H

#include "base/compiler.h"
#include "base/status.h"

/*
 * listen_on: "host:port" or "[address]:port"; port 0: any free one. The socket does not block and is the caller's to close. ST_INVALID: not written so; ST_IO: the
 * system refuses, in words that say what to do. Looks names up, which may take a while. Any thread.
 */
int listener_open(const char *listen_on, int *ret_fd, unsigned *ret_port, struct errmsg *err) ATS_MUSTCHECK;

#endif
