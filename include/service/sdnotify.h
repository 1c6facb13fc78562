/*
 * sdnotify - tells the service manager how the daemon is doing (sd_notify(3)'s protocol: a datagram to $NOTIFY_SOCKET).
 * Without a service manager nothing happens.
 *
 * Thread: any; the environment must not change meanwhile.
 */
#ifndef ATSYNC_SERVICE_SDNOTIFY_H
#define ATSYNC_SERVICE_SDNOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* state: "READY=1", several as lines. Returns false if nobody listens. */
bool sdnotify(const char *state);
bool sdnotify_reloading(void); /* RELOADING=1 with the time that Type=notify-reload wants; READY=1 ends it */
/* How often WATCHDOG=1 has to be sent, half of what the manager allows; 0 if it does not want it from this process. */
int64_t sdnotify_watchdog_ms(void);

#endif
