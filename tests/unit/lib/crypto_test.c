#include "lib/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

static void assert_digest(const uint8_t *digest, const char *expected)
{
    char hex[2 * CRYPTO_SHA256_BYTES + 1];

    crypto_hex(digest, CRYPTO_SHA256_BYTES, hex);
    assert_string_equal(hex, expected);
}

/* FIPS 180-2, appendix B */
static void test_sha256(void **state)
{
    uint8_t digest[CRYPTO_SHA256_BYTES];

    (void)state;
    crypto_sha256("abc", 3, digest);
    assert_digest(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(NULL, 0, digest);
    assert_digest(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4231, cases 2 and 6 (a key longer than a block); each twice, since the context is used again */
static void test_hmac(void **state)
{
    char long_key[131];
    struct {
        const void *key;
        size_t key_len;
        const char *text, *mac;
    } cases[] = {
        {"Jefe", 4, "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {long_key, sizeof long_key, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {NULL, 0, "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    };

    (void)state;
    memset(long_key, 0xaa, sizeof long_key);
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct crypto_hmac *h = crypto_hmac_new(cases[i].key, cases[i].key_len);
        size_t len = strlen(cases[i].text);
        uint8_t mac[CRYPTO_SHA256_BYTES];

        crypto_hmac_sign(h, (const struct crypto_part[]){{cases[i].text, len}}, 1, mac);
        assert_digest(mac, cases[i].mac);
        crypto_hmac_sign(h, (const struct crypto_part[]){{"other", 5}}, 1, mac);
        /* in three parts, one of them empty */
        crypto_hmac_sign(
            h,
            (const struct crypto_part[]){{cases[i].text, len / 2}, {NULL, 0}, {cases[i].text + len / 2, len - len / 2}},
            3, mac);
        assert_digest(mac, cases[i].mac);
        crypto_hmac_free(h);
    }
    crypto_hmac_free(NULL);
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(crypto_equal("abcd", "abcd", 4));
    assert_true(crypto_equal("abcd", "abce", 3));
    assert_false(crypto_equal("abcd", "abce", 4));
    assert_false(crypto_equal("xbcd", "abcd", 4));
    assert_true(crypto_equal("a", "b", 0));
    assert_true(crypto_text_equal("abcd", "abcd"));
    assert_true(crypto_text_equal("", ""));
    assert_true(crypto_text_equal(NULL, NULL));
    assert_false(crypto_text_equal("abcd", "abce"));
    assert_false(crypto_text_equal("xbcd", "abcd"));
    assert_false(crypto_text_equal("abcd", "abc"));
    assert_false(crypto_text_equal("abc", "abcd"));
    assert_false(crypto_text_equal("", "a"));
    assert_false(crypto_text_equal(NULL, ""));
    assert_false(crypto_text_equal("", NULL));
}

static void test_random(void **state)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};

    (void)state;
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    crypto_random(a, 0);
}

static void test_hex(void **state)
{
    static const char *const bad[] = {"0", "0g", "g0", "0 ", " 0", "0x", "00\n0", "/0", ":0", "@0", "G0", "`0"};
    uint8_t bytes[4] = {9, 9, 9, 9};
    size_t len = 77;
    char text[9];

    (void)state;
    crypto_hex("\x00\x7f\x80\xff", 4, text);
    assert_string_equal(text, "007f80ff");
    crypto_hex(NULL, 0, text);
    assert_string_equal(text, "");
    for (size_t i = 0; i < ATS_COUNT(bad); i++)
        assert_false(crypto_unhex(bad[i], strlen(bad[i]), bytes, sizeof bytes, &len));
    assert_false(crypto_unhex("0011223344", 10, bytes, sizeof bytes, &len)); /* no room */
    assert_int_equal(len, 77);
    assert_memory_equal(bytes, "\x09\x09\x09\x09", 4); /* untouched, also by what was good before the fault */
    assert_true(crypto_unhex("aBcDEf09", 8, bytes, sizeof bytes, &len));
    assert_int_equal(len, 4);
    assert_memory_equal(bytes, "\xab\xcd\xef\x09", 4);
    assert_true(crypto_unhex("", 0, bytes, 0, &len));
    assert_int_equal(len, 0);
}

/* RFC 4648, section 10, and what its section 3 lets a decoder refuse */
static void test_base64(void **state)
{
    static const struct {
        const char *plain, *text;
    } good[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"},
                {"\xfb\xff\xfe", "+//+"}};
    static const char *const bad[] = {"Z",      "Zg",       "Zg=",      "Zm8",  "=",       "==",
                                      "====",   "Z===",     "Zh==",     "Zm9=", "Zg= =",   "Zm9v ",
                                      "Zm9v\n", "Zm9v====", "Zg==Zg==", "-_-_", "Zm9v*mFy"};
    uint8_t bytes[8];
    size_t len;
    char text[16];

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(good); i++) {
        size_t plain_len = strlen(good[i].plain);

        crypto_base64(good[i].plain, plain_len, text);
        assert_string_equal(text, good[i].text);
        len = 77;
        assert_true(crypto_unbase64(text, strlen(text), bytes, plain_len, &len)); /* exactly the room it needs */
        assert_int_equal(len, plain_len);
        assert_memory_equal(bytes, good[i].plain, plain_len);
        if (plain_len > 0)
            assert_false(crypto_unbase64(text, strlen(text), bytes, plain_len - 1, &len));
    }
    memset(bytes, 9, sizeof bytes);
    len = 77;
    for (size_t i = 0; i < ATS_COUNT(bad); i++) {
        if (crypto_unbase64(bad[i], strlen(bad[i]), bytes, sizeof bytes, &len))
            fail_msg("\"%s\" was taken for base64", bad[i]);
    }
    assert_int_equal(len, 77);
    assert_memory_equal(bytes, "\x09\x09\x09\x09\x09\x09\x09\x09", 8);
}

/* SHA-256 of "abc", cut to 16 bytes, with version 8 and the variant in their places */
static void test_uuid(void **state)
{
    char uuid[37];

    (void)state;
    crypto_uuid_of("abc", uuid);
    assert_string_equal(uuid, "ba7816bf-8f01-8fea-8141-40de5dae2223");
}

static const uint8_t key[CRYPTO_KEY_BYTES] = "0123456789abcdef0123456789abcde";

static void test_seal_and_open(void **state)
{
    static const char *const texts[] = {"", "x", "a token of more than one block, caf\xc3\xa9"};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(texts); i++) {
        char *sealed = crypto_seal(key, texts[i], "greenhouse");
        char *again = crypto_seal(key, texts[i], "greenhouse");
        char *plain = NULL;

        assert_true(text_starts(sealed, "v1:"));
        assert_int_equal(strlen(sealed), 3 + 4 * ((12 + strlen(texts[i]) + 16 + 2) / 3));
        assert_string_not_equal(sealed, again); /* a nonce is never used twice */
        assert_int_equal(crypto_open(key, sealed, "greenhouse", &plain, NULL), ST_OK);
        assert_string_equal(plain, texts[i]);
        mem_free_secret(plain);
        mem_free(sealed);
        mem_free(again);
    }
}

/* NIST's AES-256-GCM example with zero key, nonce and text: what is stored today must open in every later version. */
static void test_stored_form_never_changes(void **state)
{
    static const uint8_t zeros[CRYPTO_KEY_BYTES];
    char *plain = NULL;

    (void)state;
    assert_int_equal(
        crypto_open(zeros, "v1:AAAAAAAAAAAAAAAAzqdAPU1ga24HTsXTuvOdGNDRyKeZmWvwJluYtdSKuRk=", "", &plain, NULL), ST_OK);
    assert_memory_equal(plain, zeros, 17);
    mem_free(plain);
}

static void test_open_refuses(void **state)
{
    static const char no_key[] = "the stored secret does not open: it was sealed with another encryption key or for "
                                 "another owner; restore the old key or enter the credentials again";
    static const char damaged[] = "the stored secret is damaged; enter the credentials again";
    static const uint8_t other_key[CRYPTO_KEY_BYTES] = "1123456789abcdef0123456789abcde";
    char *sealed = crypto_seal(key, "secret", "greenhouse");
    char *flipped = mem_strdup(sealed);
    char *cut = mem_strndup(sealed, strlen(sealed) - 4);
    const struct {
        const uint8_t *key;
        const char *sealed, *context, *message;
    } cases[] = {
        {other_key, sealed, "greenhouse", no_key},
        {key, sealed, "lever", no_key},
        {key, flipped, "greenhouse", no_key},
        {key, cut, "greenhouse", no_key},
        {key, "v1:", "greenhouse", damaged},
        {key, "v1:AAAA", "greenhouse", damaged},
        {key, "v1:not base64", "greenhouse", damaged},
        {key, "secret", "greenhouse", "the stored secret does not begin with \"v1:\"; enter the credentials again"},
    };
    char *plain = NULL;

    (void)state;
    flipped[20] = flipped[20] == 'A' ? 'B' : 'A';
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct errmsg err = {""};

        assert_int_equal(crypto_open(cases[i].key, cases[i].sealed, cases[i].context, &plain, &err), ST_INVALID);
        assert_string_equal(err.text, cases[i].message);
        assert_null(plain);
    }
    mem_free(sealed);
    mem_free(flipped);
    mem_free(cut);
}

/* ---- certificates: made with openssl ca, both with the same key */

static const char ended[] = "-----BEGIN CERTIFICATE-----\n"
                            "MIIBGzCBwgIBATAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA9vbGQuZXhhbXBsZS5j\n"
                            "b20wHhcNMTkwMTAxMDAwMDAwWhcNMjAwMTAxMDAwMDAwWjAaMRgwFgYDVQQDDA9v\n"
                            "bGQuZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASuPrKal0wI\n"
                            "OCQwHRjIYqmQA8rExAMbL6wTUCh2t9nf6XeKSKd4nuX31QEdJZNV3Q/5oZIqkX9q\n"
                            "XzxFsZDUTMwWMAoGCCqGSM49BAMCA0gAMEUCIQCGTyZ4YRpbeQONYVEs33vd7U/+\n"
                            "kYUrJGuRdecot/xGOwIgFcq9nIOlJ7X0xghu3JDNIjIBs261t3uaQdCrcpGY26Q=\n"
                            "-----END CERTIFICATE-----\n";
static const char good[] = "-----BEGIN CERTIFICATE-----\n"
                           "MIIBSDCB7gIBAjAKBggqhkjOPQQDAjAvMRgwFgYDVQQDDA9uZXcuZXhhbXBsZS5j\n"
                           "b20xEzARBgNVBAoMCkNlZGFyLCBMdGQwIBcNMTkwMTAxMDAwMDAwWhgPMjExOTAx\n"
                           "MDEwMDAwMDBaMC8xGDAWBgNVBAMMD25ldy5leGFtcGxlLmNvbTETMBEGA1UECgwK\n"
                           "Q2VkYXIsIEx0ZDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABK4+spqXTAg4JDAd\n"
                           "GMhiqZADysTEAxsvrBNQKHa32d/pd4pIp3ie5ffVAR0lk1XdD/mhkiqRf2pfPEWx\n"
                           "kNRMzBYwCgYIKoZIzj0EAwIDSQAwRgIhAM029hHhoJC1KirTBS60PxT6WwXUEtLQ\n"
                           "Gt+8mdnGkrtlAiEAv08emrGQpZfpWqYOIoWIAz7OVNXoauq/FOnr4WwtD7w=\n"
                           "-----END CERTIFICATE-----\n";

static void test_certificates(void **state)
{
    static const struct {
        const char *first, *second;
        size_t count; /* 0: refused */
        int64_t ends_s;
        const char *subject; /* or the message */
    } cases[] = {
        {good, "", 1, INT64_C(4701974400), "O=Cedar\\, Ltd,CN=new.example.com"},
        {ended, "", 1, 1577836800, "CN=old.example.com"},
        {good, ended, 2, 1577836800, "CN=old.example.com"}, /* the one that ends first */
        {ended, good, 2, 1577836800, "CN=old.example.com"},
        {"# a comment\n\n", good, 1, INT64_C(4701974400), "O=Cedar\\, Ltd,CN=new.example.com"},
        {"", "", 0, 0, "there is no certificate in it"},
        {"nothing", "", 0, 0, "there is no certificate in it"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", 0, 0, "there is no certificate in it"},
        {good, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0, 0,
         "a certificate in it is damaged"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *pem = mem_printf("%s%s", cases[i].first, cases[i].second);
        struct crypto_certificates all = {.count = 99};
        struct errmsg err = {""};
        int st = crypto_certificates(pem, strlen(pem), &all, &err);

        print_message("case %zu\n", i);
        if (cases[i].count == 0) {
            assert_int_equal(st, ST_INVALID);
            assert_string_equal(err.text, cases[i].subject);
            assert_int_equal(all.count, 99);
        } else {
            assert_int_equal(st, ST_OK);
            assert_int_equal(all.count, cases[i].count);
            assert_int_equal(all.ends_us, cases[i].ends_s * 1000000);
            assert_string_equal(all.subject, cases[i].subject);
        }
        mem_free(pem);
    }
}

static const char one_certificate[] = "-----BEGIN CERTIFICATE-----\n"
                                      "MIIBczCCARmgAwIBAgIUIapBQob1dI2V7d+x++tJyfBOix8wCgYIKoZIzj0EAwIw\n"
                                      "DjEMMAoGA1UEAwwDb25lMCAXDTI2MTEyNzE3MzEyMFoYDzIxMjYxMTAzMTczMTIw\n"
                                      "WjAOMQwwCgYDVQQDDANvbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASuPYIJ\n"
                                      "K7JDULjMIenv8Kxs5W4ckgyxiKptIl3AS0OW86rL4hkcNAvOeBl2PtHwBI7x4d8T\n"
                                      "jOSrJGhtw/3w0lbZo1MwUTAdBgNVHQ4EFgQUmsYjl5IDuJFLWZeIfM6JmOBYlDAw\n"
                                      "HwYDVR0jBBgwFoAUmsYjl5IDuJFLWZeIfM6JmOBYlDAwDwYDVR0TAQH/BAUwAwEB\n"
                                      "/zAKBggqhkjOPQQDAgNIADBFAiAvAlzT8PUmxCD6A5pw1/mvlDyafbDJP1F46h3K\n"
                                      "OP3DIwIhAIG6TRkmGsRhbePId3b1nx4Nz48wzpsZetCtcFFy3ucW\n"
                                      "-----END CERTIFICATE-----\n";
static const char one_key[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAUaD+jNICDpUhYgJ\n"
                              "+CHAxwZLMznwo9hvyIkvNu9nYouhRANCAASuPYIJK7JDULjMIenv8Kxs5W4ckgyx\n"
                              "iKptIl3AS0OW86rL4hkcNAvOeBl2PtHwBI7x4d8TjOSrJGhtw/3w0lbZ\n"
                              "-----END PRIVATE KEY-----\n";
static const char other_key[] = "-----BEGIN PRIVATE KEY-----\n"
                                "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNLfyfBfxZ0Lhment\n"
                                "M9sl9ZoJJtNJAGNQpURgO+42pdahRANCAATmsn7oeBtQMkV+cRxFTtboWwO5yXWm\n"
                                "pbBGKDIr9ZUN6la9Q+q4QV0caAuj0UDoduiICIGYIP+KfbojcXSqsPAL\n"
                                "-----END PRIVATE KEY-----\n";
static const char locked_key[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                                 "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhvVv4qcOnhXQICCAAw\n"
                                 "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEGgaPeJkk7IFY8CGmnq7YCwEgZDk\n"
                                 "mobP2smsV2GsmCI4p1GHMwj7mFSl+utrDjX0A6k5DAUfXV3yhp0nZYE+A2T6Y5gm\n"
                                 "qVaV98Q+Y2PjFN7mLpHziv8Ws9GkfvDSy3WjBw9WbSG1KjgZQnXpUmwXdcma4319\n"
                                 "nUYnyIx/IsIv4VDz88veHbgRWJqjmeTglIpEG61Iv0hdUZAzozHtKyGkQy6krOg=\n"
                                 "-----END ENCRYPTED PRIVATE KEY-----\n";

static void test_certificate_and_key(void **state)
{
    static const struct {
        const char *certificate, *key, *message; /* NULL: they fit */
    } pairs[] = {
        {one_certificate, one_key, NULL},
        {one_certificate, other_key, "the key does not belong to the certificate"},
        {good, one_key, "the key does not belong to the certificate"},
        {one_certificate, locked_key, "the key cannot be read: it must be a private key without a passphrase"},
        {one_certificate, one_certificate, "the key cannot be read: it must be a private key without a passphrase"},
        {one_certificate, "", "the key cannot be read: it must be a private key without a passphrase"},
        {one_key, one_key, "the certificate cannot be read"},
        {"", one_key, "the certificate cannot be read"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(pairs); i++) {
        struct errmsg err = {""};
        int st = crypto_key_fits(pairs[i].certificate, pairs[i].key, &err);

        print_message("pair %zu\n", i);
        assert_int_equal(st, pairs[i].message ? ST_INVALID : ST_OK);
        assert_string_equal(err.text, pairs[i].message ? pairs[i].message : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_seal_and_open),
        cmocka_unit_test(test_stored_form_never_changes),
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_certificate_and_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
