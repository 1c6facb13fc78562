/*
 * tls - certificates made on the spot, and the client's end of a TLS connection, for tests.
 *
 * Failures fail the running test. One thread only.
 */
#ifndef ATSYNC_TESTS_TLS_H
#define ATSYNC_TESTS_TLS_H

#include <stddef.h>

#include "base/compiler.h"

/* A certificate that signs itself, for an hour, and its key, both as PEM (mem_free). */
void tls_make_certificate(const char *name, char **ret_certificate, char **ret_key);

struct tls_client;
struct tls_client *tls_client_new(int fd); /* the handshake; fd is taken over */
/* The same in any thread: NULL if it does not succeed. */
struct tls_client *tls_client_try_new(int fd);
/* The status and the whole answer as text, cut at room; 0: there was none. Any thread. */
int tls_client_try_status(struct tls_client *c, const char *request, char *ret_text, size_t room);
/* The first message of a handshake, as it goes over the wire (mem_free). */
char *tls_client_hello(size_t *ret_len);
void tls_client_free(struct tls_client *c);                       /* NULL is harmless */
const char *tls_client_peer(const struct tls_client *c);          /* the name in the server's certificate */
int tls_client_status(struct tls_client *c, const char *request); /* of the answer: its body is read and dropped */

#endif
