#include "service/sdnotify.h"

#include <time.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

bool sdnotify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } to = {.un = {.sun_family = AF_UNIX}};
    size_t len = path ? strlen(path) : 0;
    bool sent;
    int fd;

    if (len < 2 || len >= sizeof to.un.sun_path || (path[0] != '/' && path[0] != '@')) {
        return false;
    }
    memcpy(to.un.sun_path, path, len);
    if (path[0] == '@') { /* an abstract name: a NUL in front, none at the end */
        to.un.sun_path[0] = '\0';
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, &to.any,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) >= 0;
    (void)close(fd);
    return sent;
}

bool sdnotify_reloading(void)
{
    struct timespec now = {
        0}; /* sd_notify(3): of CLOCK_MONOTONIC, which stands still while the machine is suspended; ours does not */
    char state[64];

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%s",
                   num_text((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000).s);
    return sdnotify(state);
}

int64_t sdnotify_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    int64_t us, owner;

    if (!usec || !text_to_i64(usec, 2000, INT64_MAX, &us)) {
        return 0;
    }
    if (pid && (!text_to_i64(pid, 1, INT32_MAX, &owner) || owner != (int64_t)getpid())) {
        return 0;
    }
    return us / 2000;
}
