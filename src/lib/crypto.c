#include "lib/crypto.h"

#include <limits.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "base/mem.h"

enum {
    NONCE_BYTES = 12, /* NIST SP 800-38D section 8.2: the size that GCM is made for */
    TAG_BYTES = 16,
    UUID_BYTES = 16,
};

static const char seal_mark[] = "v1:";

/* OpenSSL without SHA-256, AES or randomness: nothing that this process does would be safe any more. */
ATS_NORETURN static void crypto_die(const char *what)
{
    (void)dprintf(STDERR_FILENO, "level=error msg=\"OpenSSL failed, the process ends\" what=\"%s\"\n", what);
    _exit(1);
}

void crypto_sha256(const void *data, size_t len, uint8_t ret[CRYPTO_SHA256_BYTES])
{
    if (EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL) != 1)
        crypto_die("SHA-256");
}

struct crypto_hmac {
    EVP_MAC_CTX *ctx;
};

struct crypto_hmac *crypto_hmac_new(const void *key, size_t key_len)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    const void *bytes = key_len > 0 ? key : ""; /* NULL would mean "the key from before" */
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    struct crypto_hmac *h = mem_zalloc(sizeof *h);

    if (mac == NULL)
        crypto_die("HMAC");
    h->ctx = EVP_MAC_CTX_new(mac);
    if (h->ctx == NULL || EVP_MAC_init(h->ctx, bytes, key_len, params) != 1)
        crypto_die("HMAC key");
    EVP_MAC_free(mac); /* the context holds its own reference */
    return h;
}

void crypto_hmac_free(struct crypto_hmac *h)
{
    if (h == NULL)
        return;
    EVP_MAC_CTX_free(h->ctx);
    mem_free(h);
}

void crypto_hmac_sign(struct crypto_hmac *h, const struct crypto_part *parts, size_t count,
                      uint8_t ret[CRYPTO_SHA256_BYTES])
{
    size_t len = 0;

    if (EVP_MAC_init(h->ctx, NULL, 0, NULL) != 1) /* same key, new message */
        crypto_die("HMAC start");
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0 && EVP_MAC_update(h->ctx, parts[i].data, parts[i].len) != 1)
            crypto_die("HMAC update");
    }
    if (EVP_MAC_final(h->ctx, ret, &len, CRYPTO_SHA256_BYTES) != 1 || len != CRYPTO_SHA256_BYTES)
        crypto_die("HMAC end");
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

bool crypto_text_equal(const char *a, const char *b)
{
    size_t len = a != NULL ? strlen(a) : 0;

    return a != NULL && b != NULL ? strlen(b) == len && crypto_equal(a, b, len) : a == b;
}

void crypto_random(void *ret, size_t len)
{
    uint8_t *p = ret;

    while (len > 0) {
        size_t part = len < INT_MAX ? len : INT_MAX;

        if (RAND_bytes(p, (int)part) != 1)
            crypto_die("random bytes");
        p += part;
        len -= part;
    }
}

void crypto_hex(const void *data, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        *ret++ = digits[p[i] >> 4];
        *ret++ = digits[p[i] & 15];
    }
    *ret = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool crypto_unhex(const char *text, size_t len, uint8_t *ret, size_t cap, size_t *ret_len)
{
    if (len % 2 != 0 || len / 2 > cap)
        return false;
    for (size_t i = 0; i < len; i++) { /* all of it before the first byte is written: whole or nothing */
        if (hex_value(text[i]) < 0)
            return false;
    }
    for (size_t i = 0; i < len / 2; i++)
        ret[i] = (uint8_t)((unsigned)hex_value(text[2 * i]) << 4 | (unsigned)hex_value(text[2 * i + 1]));
    *ret_len = len / 2;
    return true;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void crypto_base64(const void *data, size_t len, char *ret)
{
    const uint8_t *p = data;

    for (; len >= 3; len -= 3, p += 3) {
        *ret++ = base64_digits[p[0] >> 2];
        *ret++ = base64_digits[(p[0] & 3) << 4 | p[1] >> 4];
        *ret++ = base64_digits[(p[1] & 15) << 2 | p[2] >> 6];
        *ret++ = base64_digits[p[2] & 63];
    }
    if (len > 0) {
        unsigned second = len > 1 ? p[1] : 0;

        *ret++ = base64_digits[p[0] >> 2];
        *ret++ = base64_digits[(p[0] & 3U) << 4 | second >> 4];
        *ret++ = len > 1 ? base64_digits[(second & 15) << 2] : '=';
        *ret++ = '=';
    }
    *ret = '\0';
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

bool crypto_unbase64(const char *text, size_t len, uint8_t *ret, size_t cap, size_t *ret_len)
{
    size_t digits = len;
    size_t bytes;
    unsigned bits = 0; /* a shift register: the newest six on the right */
    size_t done = 0;

    while (digits > 0 && len - digits < 2 && text[digits - 1] == '=')
        digits--;
    bytes = digits / 4 * 3 + (digits % 4 > 0 ? digits % 4 - 1 : 0);
    if (len % 4 != 0 || bytes > cap)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (base64_value(text[i]) < 0)
            return false;
    }
    /* RFC 4648 section 3.5: the bits that no byte uses are zero, so that every value has one text */
    if (digits % 4 == 2 && (base64_value(text[digits - 1]) & 15) != 0)
        return false;
    if (digits % 4 == 3 && (base64_value(text[digits - 1]) & 3) != 0)
        return false;
    for (size_t i = 0; i < digits; i++) {
        bits = (bits << 6 | (unsigned)base64_value(text[i])) & 0xFFFFFFU;
        if (i % 4 > 0)
            ret[done++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    *ret_len = done;
    return true;
}

void crypto_uuid_of(const char *text, char ret[37])
{
    uint8_t digest[CRYPTO_SHA256_BYTES];
    char hex[2 * UUID_BYTES + 1];
    char *out = ret;

    crypto_sha256(text, strlen(text), digest);
    digest[6] = (uint8_t)((digest[6] & 0x0F) | 0x80); /* version 8 */
    digest[8] = (uint8_t)((digest[8] & 0x3F) | 0x80); /* the variant of RFC 9562 */
    crypto_hex(digest, UUID_BYTES, hex);
    for (size_t i = 0; i < sizeof hex; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *out++ = '-';
        *out++ = hex[i];
    }
}

/* The cipher with key, nonce and context set, ready for the text. */
static EVP_CIPHER_CTX *gcm_begin(const uint8_t *key, const uint8_t *nonce, const char *context, bool encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t context_len = strlen(context);
    int n;

    if (ctx == NULL || context_len > INT_MAX ||
        EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, encrypt ? 1 : 0) != 1 ||
        EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)context, (int)context_len) != 1)
        crypto_die("AES-256-GCM");
    return ctx;
}

char *crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES], const char *plain, const char *context)
{
    size_t len = strlen(plain);
    size_t packed_len = NONCE_BYTES + len + TAG_BYTES;
    EVP_CIPHER_CTX *ctx;
    uint8_t *packed;
    uint8_t *text;
    char *sealed;
    int n;

    if (len > INT_MAX - NONCE_BYTES - TAG_BYTES)
        crypto_die("AES-256-GCM, text too long");
    packed = mem_alloc(packed_len);
    text = packed + NONCE_BYTES;
    crypto_random(packed, NONCE_BYTES);
    ctx = gcm_begin(key, packed, context, true);
    if ((len > 0 && EVP_CipherUpdate(ctx, text, &n, (const unsigned char *)plain, (int)len) != 1) ||
        EVP_CipherFinal_ex(ctx, text + len, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, text + len) != 1)
        crypto_die("AES-256-GCM");
    EVP_CIPHER_CTX_free(ctx);

    sealed = mem_alloc(sizeof seal_mark + 4 * ((packed_len + 2) / 3));
    memcpy(sealed, seal_mark, sizeof seal_mark - 1);
    crypto_base64(packed, packed_len, sealed + sizeof seal_mark - 1);
    mem_free(packed);
    return sealed;
}

int crypto_open(const uint8_t key[CRYPTO_KEY_BYTES], const char *sealed, const char *context, char **ret_plain,
                struct errmsg *err)
{
    const size_t mark_len = sizeof seal_mark - 1;
    size_t text_len = strlen(sealed);
    size_t packed_len = 0;
    size_t len;
    uint8_t *packed = NULL;
    uint8_t *plain = NULL;
    EVP_CIPHER_CTX *ctx = NULL;
    int st;
    int n;

    if (strncmp(sealed, seal_mark, mark_len) != 0 || text_len > INT_MAX) {
        st = err_set(err, ST_INVALID, "the stored secret does not begin with \"v1:\"; enter the credentials again");
        goto done;
    }
    packed = mem_alloc(text_len);
    if (!crypto_unbase64(sealed + mark_len, text_len - mark_len, packed, text_len, &packed_len) ||
        packed_len < NONCE_BYTES + TAG_BYTES) {
        st = err_set(err, ST_INVALID, "the stored secret is damaged; enter the credentials again");
        goto done;
    }
    len = packed_len - NONCE_BYTES - TAG_BYTES;
    plain = mem_zalloc(len + 1);
    ctx = gcm_begin(key, packed, context, false);
    if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, packed + NONCE_BYTES + len) != 1)
        crypto_die("AES-256-GCM tag");
    if ((len > 0 && EVP_CipherUpdate(ctx, plain, &n, packed + NONCE_BYTES, (int)len) != 1) ||
        EVP_CipherFinal_ex(ctx, plain + len, &n) != 1) {
        mem_wipe(plain, len);
        st = err_set(err, ST_INVALID,
                     "the stored secret does not open: it was sealed with another encryption key or for another owner; "
                     "restore the old key or enter the credentials again");
        goto done;
    }
    *ret_plain = (char *)plain;
    plain = NULL;
    st = ST_OK;
done:
    EVP_CIPHER_CTX_free(ctx);
    mem_free(packed);
    mem_free(plain);
    return st;
}

/* ---- certificates */

static void note_certificate(X509 *certificate, struct crypto_certificates *all)
{
    struct tm end = {0};
    int64_t ends_us;
    BIO *name;
    int len;

    all->count++;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
        return;
    ends_us = (int64_t)timegm(&end) * 1000000;
    if (ends_us >= all->ends_us)
        return;
    all->ends_us = ends_us;
    all->subject[0] = '\0';
    name = BIO_new(BIO_s_mem());
    if (name != NULL && X509_NAME_print_ex(name, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_read(name, all->subject, (int)sizeof all->subject - 1);
        all->subject[len > 0 ? len : 0] = '\0';
    }
    BIO_free(name);
}

int crypto_certificates(const char *pem, size_t len, struct crypto_certificates *ret, struct errmsg *err)
{
    struct crypto_certificates all = {.ends_us = INT64_MAX};
    BIO *in = len <= INT_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    X509 *certificate;
    unsigned long code;

    if (in == NULL)
        return err_set(err, ST_LIMIT, "too many certificates to look at");
    while ((certificate = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        note_certificate(certificate, &all);
        X509_free(certificate);
    }
    code = ERR_peek_last_error();
    ERR_clear_error();
    BIO_free(in);
    if (all.count == 0)
        return err_set(err, ST_INVALID, "there is no certificate in it");
    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE) /* how the end looks */
        return err_set(err, ST_INVALID, "a certificate in it is damaged");
    *ret = all;
    return ST_OK;
}

/* Instead of the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

int crypto_key_fits(const char *certificate_pem, const char *key_pem, struct errmsg *err)
{
    BIO *in = BIO_new_mem_buf(certificate_pem, -1);
    X509 *certificate = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key;
    int st = ST_OK;

    BIO_free(in);
    in = BIO_new_mem_buf(key_pem, -1);
    key = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL) : NULL;
    BIO_free(in);
    if (certificate == NULL)
        st = err_set(err, ST_INVALID, "the certificate cannot be read");
    else if (key == NULL)
        st = err_set(err, ST_INVALID, "the key cannot be read: it must be a private key without a passphrase");
    else if (X509_check_private_key(certificate, key) != 1)
        st = err_set(err, ST_INVALID, "the key does not belong to the certificate");
    X509_free(certificate);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return st;
}
