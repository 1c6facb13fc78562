/*
 * signature - is this body from somebody who knows one of our signing secrets?
 *
 * Pure but for the MAC itself. Checked over the raw bytes as received, before anything is parsed. Three schemes:
 *   body              HMAC-SHA256 of the body, hex or base64, behind a fixed prefix if one is configured; without one,
 * a hex signature may stand behind the common "sha256=" standard-webhooks headers webhook-id, webhook-timestamp,
 * webhook-signature "v1,<base64> v1,…" over "id.timestamp.body"; a secret "whsec_…" is base64 of the key
 * (standardwebhooks.com specification). Without whsec_ a secret that is base64 of 24 to 64 bytes is taken as such, any
 * other as the key's own bytes timestamped       one header "t=<unix seconds>,v1=<hex>[,v1=…]" over "t.body" The last
 * two refuse timestamps further away than tolerance_ms, in either direction. Signatures of other versions than v1 are
 * passed over; a v1 that is malformed, like a header that is missing or came twice, denies the request.
 *
 * A verifier belongs to one thread (the MAC contexts are reused).
 */
#ifndef ATSYNC_DOMAIN_SIGNATURE_H
#define ATSYNC_DOMAIN_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"

enum signature_scheme { SIGNATURE_BODY, SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_TIMESTAMPED };
enum signature_encoding { SIGNATURE_HEX, SIGNATURE_BASE64 };

struct signature_config {
    enum signature_scheme scheme;
    const char *header;               /* name of the header that holds the signature (body, timestamped) */
    enum signature_encoding encoding; /* body only */
    const char *prefix;               /* body only; "" for none */
    int64_t tolerance_ms;             /* the other two */
    const char *const *secrets;       /* any of them is accepted: rotation without a lost event */
    size_t secret_count;
};

struct signature_verifier;

/* Copies the configuration. ST_INVALID if a whsec_ secret is not base64, a secret is empty, there is none, or a scheme
 * that needs a header has no name of one. */
int signature_verifier_new(const struct signature_config *config, struct signature_verifier **ret,
                           struct errmsg *err) ATS_MUSTCHECK;
void signature_verifier_free(struct signature_verifier *v); /* NULL is harmless */

/* How a header of the request is found: value, or NULL; *ret_count how often it came. */
typedef const char *(*signature_header_fn)(void *request, const char *name, unsigned *ret_count);

/* ST_OK, or ST_DENIED with a reason for the log that quotes nothing of the request ("header x-signature is missing",
 * "came 2 times", "is not 64 hex digits", "does not match any of 2 secrets", "timestamp is 1290 s old, tolerance is
 * 300 s"). Every secret is always tried, and compared in constant time.
 *
 * *ret_ahead_ms is not 0 when the signature is right and only the time was refused: how far the sender's time is ahead of
 * now_us, negative when it is behind. */
int signature_verify(struct signature_verifier *v, signature_header_fn header, void *request, const void *body,
                     size_t len, int64_t now_us, int64_t *ret_ahead_ms, struct errmsg *err) ATS_MUSTCHECK;

/* For send-sample, tests and the demo: the headers that a sender would add for this body with the first secret. Up to
 * three; names and values are mem_free'd by signature_headers_free. event_id is used by standard-webhooks only, and
 * must not be empty there. */
struct signature_headers {
    size_t count;
    struct {
        char *name;
        char *value;
    } header[3];
};
void signature_sign(struct signature_verifier *v, const char *event_id, const void *body, size_t len, int64_t now_us,
                    struct signature_headers *ret);
void signature_headers_free(struct signature_headers *h);

#endif
