/*
 * crypto - digests, MACs, random bytes, text encodings of bytes, and sealing of secrets at rest (the only file that
 * knows OpenSSL). Not for TLS: libcurl and libmicrohttpd do their own.
 *
 * Thread: all functions from any thread; a struct crypto_hmac belongs to one thread.
 */
#ifndef ATSYNC_LIB_CRYPTO_H
#define ATSYNC_LIB_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"

enum { CRYPTO_SHA256_BYTES = 32, CRYPTO_KEY_BYTES = 32 };

void crypto_sha256(const void *data, size_t len, uint8_t ret[CRYPTO_SHA256_BYTES]);

/* An HMAC-SHA256 key made ready once and used for many messages (RFC 2104). The key bytes are copied by OpenSSL and
 * wiped on free. */
struct crypto_hmac;
struct crypto_hmac *crypto_hmac_new(const void *key, size_t key_len);
void crypto_hmac_free(struct crypto_hmac *h); /* NULL is harmless */
/* The MAC of the concatenated parts. */
struct crypto_part {
    const void *data;
    size_t len;
};
void crypto_hmac_sign(struct crypto_hmac *h, const struct crypto_part *parts, size_t count,
                      uint8_t ret[CRYPTO_SHA256_BYTES]);

/* For secrets, and what is made of them (make lint): takes the same time wherever they differ. */
bool crypto_equal(const void *a, const void *b, size_t len);
bool crypto_text_equal(const char *a, const char *b); /* tells the lengths; NULL equals only NULL */
void crypto_random(void *ret, size_t len);            /* ends the process if the system has no randomness */

/* Encodings. Encoders write a NUL; ret must have room for 2*len+1 or 4*((len+2)/3)+1 bytes. */
void crypto_hex(const void *data, size_t len, char *ret);
void crypto_base64(const void *data, size_t len, char *ret);
/* Decoders take the whole text or nothing; hex in either case, base64 with padding (RFC 4648 section 4). */
bool crypto_unhex(const char *text, size_t len, uint8_t *ret, size_t cap, size_t *ret_len) ATS_MUSTCHECK;
bool crypto_unbase64(const char *text, size_t len, uint8_t *ret, size_t cap, size_t *ret_len) ATS_MUSTCHECK;

/* The certificates of a PEM text: how many there are, and the one that ends first. ST_INVALID: there is none, or one is
 * damaged. */
struct crypto_certificates {
    size_t count;
    int64_t ends_us;   /* since 1970 */
    char subject[200]; /* "CN=atsync.example.com, O=…", cut */
};
int crypto_certificates(const char *pem, size_t len, struct crypto_certificates *ret, struct errmsg *err) ATS_MUSTCHECK;
/* Whether a server can show the first certificate of one PEM text with the private key of the other. ST_INVALID: not, and why; also if the key asks for a
 * passphrase. */
int crypto_key_fits(const char *certificate_pem, const char *key_pem, struct errmsg *err) ATS_MUSTCHECK;

/* A UUID (RFC 9562, version 8: our own) made from a digest of the text: equal texts, equal UUIDs. ret: 37 bytes. */
void crypto_uuid_of(const char *text, char ret[37]);

/* AES-256-GCM with a random nonce; `context` is authenticated but not stored (what the secret belongs to). The sealed
 * form is "v1:" + base64(nonce | ciphertext | tag); caller frees with mem_free / mem_free_secret. */
char *crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES], const char *plain, const char *context);
int crypto_open(const uint8_t key[CRYPTO_KEY_BYTES], const char *sealed, const char *context, char **ret_plain,
                struct errmsg *err) ATS_MUSTCHECK;

#endif
