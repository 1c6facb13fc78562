#include "lib/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "base/text.h"

struct tls_client {
    SSL *ssl;
    int fd;
    char peer[64];
};

void tls_make_certificate(const char *name, char **ret_certificate, char **ret_key)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    BIO *out = BIO_new(BIO_s_mem());
    char *text;
    long len;

    assert_int_equal(X509_set_version(cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -60));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(cert, subject), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509(out, cert), 1);
    len = BIO_get_mem_data(out, &text);
    *ret_certificate = mem_strndup(text, (size_t)len);
    assert_int_equal(BIO_reset(out), 1);
    assert_int_equal(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    len = BIO_get_mem_data(out, &text);
    *ret_key = mem_strndup(text, (size_t)len);
    BIO_free(out);
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct tls_client *tls_client_try_new(int fd)
{
    struct tls_client *c = mem_zalloc(sizeof *c);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    X509 *cert = NULL;

    c->fd = fd;
    c->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    if (SSL_set_fd(c->ssl, fd) == 1 && SSL_connect(c->ssl) == 1)
        cert = SSL_get1_peer_certificate(c->ssl);
    if (cert == NULL ||
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, c->peer, sizeof c->peer) <= 0) {
        tls_client_free(c);
        c = NULL;
    }
    X509_free(cert);
    return c;
}

struct tls_client *tls_client_new(int fd)
{
    struct tls_client *c;

    assert_true(fd >= 0);
    c = tls_client_try_new(fd);
    assert_non_null(c);
    return c;
}

char *tls_client_hello(size_t *ret_len)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *out = BIO_new(BIO_s_mem());
    char *bytes, *copy;

    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out); /* both are the connection's from here on */
    assert_int_equal(SSL_connect(ssl), -1);      /* nobody answers */
    *ret_len = (size_t)BIO_get_mem_data(out, &bytes);
    assert_true(*ret_len > 0);
    copy = mem_alloc(*ret_len);
    memcpy(copy, bytes, *ret_len);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return copy;
}

void tls_client_free(struct tls_client *c)
{
    if (c == NULL)
        return;
    SSL_free(c->ssl);
    (void)close(c->fd);
    mem_free(c);
}

const char *tls_client_peer(const struct tls_client *c)
{
    return c->peer;
}

int tls_client_try_status(struct tls_client *c, const char *request, char *ret_text, size_t room)
{
    size_t len = 0, wanted = SIZE_MAX;

    ret_text[0] = '\0';
    if (SSL_write(c->ssl, request, (int)strlen(request)) <= 0)
        return 0;
    while (len < wanted) {
        const char *end, *length;
        int n = len + 1 < room ? SSL_read(c->ssl, ret_text + len, (int)(room - 1 - len)) : 0;

        if (n <= 0)
            return 0;
        len += (size_t)n;
        ret_text[len] = '\0';
        end = strstr(ret_text, "\r\n\r\n");
        length = strcasestr(ret_text, "\r\nContent-Length: ");
        if (end != NULL)
            wanted = (size_t)(end - ret_text) + 4 + (length != NULL ? strtoul(length + 18, NULL, 10) : 0);
    }
    if (!text_starts(ret_text, "HTTP/1.1 ") || len < 12)
        return 0;
    return (int)strtol(ret_text + 9, NULL, 10);
}

int tls_client_status(struct tls_client *c, const char *request)
{
    char text[16 * 1024];
    int status = tls_client_try_status(c, request, text, sizeof text);

    assert_true(status > 0);
    return status;
}
