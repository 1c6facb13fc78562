#include "lib/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <strings.h>
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

struct tls_client *tls_client_new(int fd)
{
    struct tls_client *c = mem_zalloc(sizeof *c);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    X509 *cert;

    assert_true(fd >= 0);
    c->fd = fd;
    c->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    assert_int_equal(SSL_set_fd(c->ssl, fd), 1);
    assert_int_equal(SSL_connect(c->ssl), 1);
    cert = SSL_get1_peer_certificate(c->ssl);
    assert_non_null(cert);
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, c->peer, sizeof c->peer) > 0);
    X509_free(cert);
    return c;
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

int tls_client_status(struct tls_client *c, const char *request)
{
    char head[4096] = "";
    size_t len = 0;
    const char *length;
    int64_t status = 0, left = 0;
    char byte;

    assert_true(SSL_write(c->ssl, request, (int)strlen(request)) > 0);
    while (strstr(head, "\r\n\r\n") == NULL) {
        assert_true(len + 1 < sizeof head);
        assert_int_equal(SSL_read(c->ssl, head + len, 1), 1);
        head[++len] = '\0';
    }
    assert_true(text_starts(head, "HTTP/1.1 "));
    head[12] = '\0';
    assert_true(text_to_i64(head + 9, 100, 599, &status));
    length = strcasestr(head + 13, "Content-Length: ");
    if (length != NULL) {
        length += strlen("Content-Length: ");
        head[(size_t)(length - head) + strcspn(length, "\r")] = '\0';
        assert_true(text_to_i64(length, 0, 1000000, &left));
    }
    for (; left > 0; left--)
        assert_int_equal(SSL_read(c->ssl, &byte, 1), 1);
    return (int)status;
}
