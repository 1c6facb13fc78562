/*
 * relay - what stands between a daemon and its ATS, inside the test program: TLS in front of it (with client certificates if
 * wanted), or a proxy that is asked to CONNECT. Bytes go through unchanged.
 *
 * Thread: all functions from any thread. What cannot be set up ends the process.
 */
#ifndef ATSYNC_TESTS_RELAY_H
#define ATSYNC_TESTS_RELAY_H

#include <stdbool.h>

struct relay_rules {
    unsigned port;               /* of the loopback, where everything goes to */
    const char *certificate_pem; /* text; NULL: no TLS */
    const char *key_pem;
    const char *client_ca_file; /* who connects must show a certificate of it; NULL: need not */
    bool is_proxy;              /* the first thing to come is a CONNECT */
};
struct relay_figures {
    unsigned connections; /* that came through */
    unsigned refused;     /* no TLS, no certificate, no CONNECT */
    char host[256];       /* that the last CONNECT named, with its port */
};

struct relay;
struct relay *relay_start(const struct relay_rules *rules);
void relay_stop(struct relay *r); /* connections that are open end */
unsigned relay_port(const struct relay *r);
struct relay_figures relay_figures(struct relay *r);

#endif
