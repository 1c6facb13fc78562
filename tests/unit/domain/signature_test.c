#include "domain/signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

/* A request as the verifier sees it: names and values in pairs, ended by NULL. */
struct request {
    const char *pairs[16];
};

static const char *find_header(void *request, const char *name, unsigned *ret_count)
{
    const struct request *r = request;
    const char *value = NULL;

    *ret_count = 0;
    for (size_t i = 0; r->pairs[i] != NULL; i += 2) {
        if (text_ieq(r->pairs[i], name)) {
            value = r->pairs[i + 1];
            (*ret_count)++;
        }
    }
    return value;
}

static const int64_t now_us = INT64_C(1614265330) * 1000000;

static struct signature_verifier *new_verifier(enum signature_scheme scheme, enum signature_encoding encoding,
                                               const char *prefix, const char *const *secrets, size_t count)
{
    const struct signature_config config = {scheme, "x-signature", encoding, prefix, 300000, secrets, count};
    struct signature_verifier *v = NULL;
    struct errmsg err = {""};

    if (signature_verifier_new(&config, &v, &err) != ST_OK)
        fail_msg("%s", err.text);
    return v;
}

/* expected: NULL for accepted, else the reason */
static void check(struct signature_verifier *v, struct request request, const char *body, int64_t at_us,
                  const char *expected)
{
    struct errmsg err = {""};
    int64_t ahead_ms = -1;
    int st = signature_verify(v, find_header, &request, body, strlen(body), at_us, &ahead_ms, &err);

    assert_int_equal(st, expected == NULL ? ST_OK : ST_DENIED);
    assert_string_equal(err.text, expected == NULL ? "" : expected);
    /* only who knows the secret can tell us anything about clocks */
    assert_int_equal(ahead_ms != 0, expected != NULL && strncmp(expected, "timestamp is", 12) == 0);
}

/* HMAC-SHA256 of "what do ya want for nothing?" under "Jefe": RFC 4231, case 2 */
#define JEFE_BODY "what do ya want for nothing?"
#define JEFE_HEX "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
#define JEFE_HEX_UPPER "5BDCC146BF60754E6A042426089575C75A003F089D2739839DEC58B964EC3843"
#define JEFE_BASE64 "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="

static const char *const jefe[] = {"Jefe"};
static const char *const rotated[] = {"new secret", "Jefe", "a third"};

static void test_body_hex(void **state)
{
    static const struct {
        const char *value, *reason;
    } cases[] = {
        {JEFE_HEX, NULL},
        {JEFE_HEX_UPPER, NULL},
        {" " JEFE_HEX "\t ", NULL},
        {"sha256=" JEFE_HEX, NULL},
        {"", "header x-signature is not 64 hex digits"},
        {"sha256=", "header x-signature is not 64 hex digits"},
        {"sha256=sha256=" JEFE_HEX, "header x-signature is not 64 hex digits"},
        {"sha1=" JEFE_HEX, "header x-signature is not 64 hex digits"},
        {JEFE_HEX "0", "header x-signature is not 64 hex digits"},
        {JEFE_HEX "," JEFE_HEX, "header x-signature is not 64 hex digits"},
        {"5bdcc146", "header x-signature is not 64 hex digits"},
        {"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec384g", "header x-signature is not 64 hex digits"},
        {JEFE_BASE64, "header x-signature is not 64 hex digits"},
        {"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3842",
         "header x-signature does not match the signing secret"},
        {"4bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
         "header x-signature does not match the signing secret"},
    };
    struct signature_verifier *v = new_verifier(SIGNATURE_BODY, SIGNATURE_HEX, "", jefe, 1);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        check(v, (struct request){{"X-Signature", cases[i].value}}, JEFE_BODY, 0, cases[i].reason);
    check(v, (struct request){{"x-other", JEFE_HEX}}, JEFE_BODY, 0, "header x-signature is missing");
    check(v, (struct request){{"x-signature", JEFE_HEX, "X-Signature", JEFE_HEX}}, JEFE_BODY, 0,
          "header x-signature came 2 times");
    check(v, (struct request){{"x-signature", JEFE_HEX}}, JEFE_BODY " ", 0,
          "header x-signature does not match the signing secret");
    signature_verifier_free(v);
    signature_verifier_free(NULL);
}

static void test_body_base64_and_prefix(void **state)
{
    struct signature_verifier *v = new_verifier(SIGNATURE_BODY, SIGNATURE_BASE64, NULL, jefe, 1);

    (void)state;
    check(v, (struct request){{"x-signature", JEFE_BASE64}}, JEFE_BODY, 0, NULL);
    check(v, (struct request){{"x-signature", JEFE_HEX}}, JEFE_BODY, 0, "header x-signature is not base64 of 32 bytes");
    check(v, (struct request){{"x-signature", "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEN="}}, JEFE_BODY, 0,
          "header x-signature is not base64 of 32 bytes"); /* the same bytes, but not the one text for them */
    check(v, (struct request){{"x-signature", "sha256=" JEFE_BASE64}}, JEFE_BODY, 0,
          "header x-signature is not base64 of 32 bytes"); /* guessed for hex only */
    signature_verifier_free(v);

    v = new_verifier(SIGNATURE_BODY, SIGNATURE_HEX, "hmac:", jefe, 1);
    check(v, (struct request){{"x-signature", "hmac:" JEFE_HEX}}, JEFE_BODY, 0, NULL);
    check(v, (struct request){{"x-signature", JEFE_HEX}}, JEFE_BODY, 0,
          "header x-signature does not begin with the configured prefix");
    check(v, (struct request){{"x-signature", "hma"}}, JEFE_BODY, 0,
          "header x-signature does not begin with the configured prefix");
    check(v, (struct request){{"x-signature", "sha256=" JEFE_HEX}}, JEFE_BODY, 0,
          "header x-signature does not begin with the configured prefix");
    check(v, (struct request){{"x-signature", "hmac:sha256=" JEFE_HEX}}, JEFE_BODY, 0,
          "header x-signature is not 64 hex digits");
    signature_verifier_free(v);
}

static void test_any_secret_is_accepted(void **state)
{
    struct signature_verifier *v;

    (void)state;
    for (size_t first = 0; first < 3; first++) {
        const char *const secrets[] = {rotated[first], rotated[(first + 1) % 3], rotated[(first + 2) % 3]};

        v = new_verifier(SIGNATURE_BODY, SIGNATURE_HEX, "", secrets, 3);
        check(v, (struct request){{"x-signature", JEFE_HEX}}, JEFE_BODY, 0, NULL);
        check(v, (struct request){{"x-signature", JEFE_HEX}}, "other", 0,
              "header x-signature does not match any of 3 secrets");
        signature_verifier_free(v);
    }
}

/* The example of the standard-webhooks reference implementations */
#define STANDARD_SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define STANDARD_BODY "{\"test\": 2432232314}"
#define STANDARD_ID "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define STANDARD_MAC "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define OTHER_MAC "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static const char *const standard[] = {STANDARD_SECRET};

static struct request standard_request(const char *id, const char *timestamp, const char *signature)
{
    return (struct request){{"webhook-id", id, "webhook-timestamp", timestamp, "webhook-signature", signature}};
}

static void test_standard(void **state)
{
    static const char no_list[] = "header webhook-signature is not a list of version,signature";
    static const char no_base64[] = "header webhook-signature has a v1 that is not base64 of 32 bytes";
    static const char no_match[] = "header webhook-signature does not match the signing secret";
    static const struct {
        const char *value, *reason;
    } cases[] = {
        {"v1," STANDARD_MAC, NULL},
        {"v1," OTHER_MAC " v1," STANDARD_MAC, NULL},
        {"v1a,anything  v1," STANDARD_MAC " ", NULL},
        {"v1," OTHER_MAC, no_match},
        {"v1a," STANDARD_MAC, "header webhook-signature has no v1"},
        {"", "header webhook-signature has no v1"},
        {"v1", no_list},
        {STANDARD_MAC, no_list},
        {"v1," STANDARD_MAC " x", no_list},
        {"v1,", no_base64},
        {"v1," STANDARD_MAC " v1,abc", no_base64},
        {"v1," STANDARD_MAC ",v1," STANDARD_MAC, no_base64},
    };
    struct signature_verifier *v = new_verifier(SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_HEX, "", standard, 1);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        check(v, standard_request(STANDARD_ID, "1614265330", cases[i].value), STANDARD_BODY, now_us, cases[i].reason);
    check(v, standard_request("msg_other", "1614265330", "v1," STANDARD_MAC), STANDARD_BODY, now_us, no_match);
    check(v, standard_request(STANDARD_ID, "1614265331", "v1," STANDARD_MAC), STANDARD_BODY, now_us, no_match);
    check(v, standard_request(STANDARD_ID, "1614265330", "v1," STANDARD_MAC), "{}", now_us, no_match);
    check(v, standard_request("", "1614265330", "v1," STANDARD_MAC), STANDARD_BODY, now_us,
          "header webhook-id is empty");
    check(v, (struct request){{"webhook-timestamp", "1614265330", "webhook-signature", "v1," STANDARD_MAC}},
          STANDARD_BODY, now_us, "header webhook-id is missing");
    check(v, (struct request){{"webhook-id", STANDARD_ID, "webhook-signature", "v1," STANDARD_MAC}}, STANDARD_BODY,
          now_us, "header webhook-timestamp is missing");
    check(v, (struct request){{"webhook-id", STANDARD_ID, "webhook-timestamp", "1614265330"}}, STANDARD_BODY, now_us,
          "header webhook-signature is missing");
    check(v,
          (struct request){{"webhook-id", STANDARD_ID, "webhook-id", STANDARD_ID, "webhook-timestamp", "1614265330",
                            "webhook-signature", "v1," STANDARD_MAC}},
          STANDARD_BODY, now_us, "header webhook-id came 2 times");
    signature_verifier_free(v);
}

static void test_timestamps(void **state)
{
    static const char no_time[] = "header webhook-timestamp has no timestamp in seconds";
    static const struct {
        const char *timestamp;
        int64_t now_s;
        const char *reason;
    } cases[] = {
        {"1614265330", 1614265330 + 300, NULL},
        {"1614265330", 1614265330 - 300, NULL},
        {"1614265330", 1614265330 + 1290, "timestamp is 1290 s old, tolerance is 300 s"},
        {"1614265330", 1614265330 - 301, "timestamp is 301 s in the future, tolerance is 300 s; compare the clocks"},
        {"", 1614265330, no_time},
        {"-5", 1614265330, no_time},
        {"+1614265330", 1614265330, no_time},
        {"1614265330.5", 1614265330, no_time},
        {"2021-02-25T15:02:10Z", 1614265330, no_time},
        {"9223372036854775807", 1614265330, no_time},
        {"253402300800", 1614265330, no_time},
        {"000000000000000000001614265330", 1614265330, no_time},
        {"1614265330000", 1614265330, no_time}, /* milliseconds */
        {"253402300799", 1614265330, "header webhook-signature does not match the signing secret"},
    };
    struct signature_verifier *v = new_verifier(SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_HEX, "", standard, 1);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        check(v, standard_request(STANDARD_ID, cases[i].timestamp, "v1," STANDARD_MAC), STANDARD_BODY,
              cases[i].now_s * 1000000, cases[i].reason);
    check(v, standard_request(STANDARD_ID, "1614265330", "v1," STANDARD_MAC), STANDARD_BODY, now_us + 300000999, NULL);
    check(v, standard_request(STANDARD_ID, "1614265330", "v1," STANDARD_MAC), STANDARD_BODY, now_us + 300001000,
          "timestamp is 301 s old, tolerance is 300 s");
    signature_verifier_free(v);
}

/* The sender's clock is wrong, not its secret: by how much is told, in both schemes that sign a time. */
static void test_skew(void **state)
{
    static const struct {
        int64_t ahead_ms;
        const char *reason;
    } cases[] = {
        {0, NULL},
        {300000, NULL},
        {-300000, NULL},
        {301000, "timestamp is 301 s in the future, tolerance is 300 s; compare the clocks"},
        {-720000, "timestamp is 720 s old, tolerance is 300 s"},
        {86400000, "timestamp is 86400 s in the future, tolerance is 300 s; compare the clocks"},
    };
    static const enum signature_scheme schemes[] = {SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_TIMESTAMPED};

    (void)state;
    for (size_t k = 0; k < ATS_COUNT(schemes); k++) {
        struct signature_verifier *v = new_verifier(schemes[k], SIGNATURE_HEX, "", jefe, 1);
        struct signature_verifier *other = new_verifier(schemes[k], SIGNATURE_HEX, "", rotated, 1);

        for (size_t i = 0; i < ATS_COUNT(cases); i++) {
            struct signature_headers h;
            struct request request = {{NULL}};
            struct errmsg err = {""};
            int64_t ahead_ms = -1;
            int st;

            signature_sign(v, "id", "{}", 2, now_us + cases[i].ahead_ms * 1000, &h);
            for (size_t n = 0; n < h.count; n++) {
                request.pairs[2 * n] = h.header[n].name;
                request.pairs[2 * n + 1] = h.header[n].value;
            }
            st = signature_verify(v, find_header, &request, "{}", 2, now_us, &ahead_ms, &err);
            assert_int_equal(st, cases[i].reason == NULL ? ST_OK : ST_DENIED);
            assert_string_equal(err.text, cases[i].reason == NULL ? "" : cases[i].reason);
            assert_int_equal(ahead_ms, cases[i].reason == NULL ? 0 : cases[i].ahead_ms);
            /* without the secret it is a wrong signature, whatever its time */
            assert_int_equal(signature_verify(other, find_header, &request, "{}", 2, now_us, &ahead_ms, &err),
                             ST_DENIED);
            assert_non_null(strstr(err.text, "does not match"));
            assert_int_equal(ahead_ms, 0);
            signature_headers_free(&h);
        }
        signature_verifier_free(v);
        signature_verifier_free(other);
    }
}

/* The same key in the three ways it can be written gives the same signature; other texts stand for themselves. */
static void test_standard_secrets(void **state)
{
    static const struct {
        const char *secret;
        bool same;
    } cases[] = {
        {STANDARD_SECRET, true},
        {"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true},
        {"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ", false},
        {"not base64 at all", false},
    };
    static const char *const short_text[] = {"Zm9v"}; /* base64, but of 3 bytes: the text itself is the key */
    static const char *const short_bytes[] = {"whsec_Wm05dg=="};
    struct signature_verifier *v;
    struct signature_verifier *other;
    struct signature_headers h;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        v = new_verifier(SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_HEX, "", &cases[i].secret, 1);
        check(v, standard_request(STANDARD_ID, "1614265330", "v1," STANDARD_MAC), STANDARD_BODY, now_us,
              cases[i].same ? NULL : "header webhook-signature does not match the signing secret");
        signature_verifier_free(v);
    }
    v = new_verifier(SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_HEX, "", short_text, 1);
    other = new_verifier(SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_HEX, "", short_bytes, 1);
    signature_sign(v, "id", "x", 1, now_us, &h);
    check(other, standard_request(h.header[0].value, h.header[1].value, h.header[2].value), "x", now_us, NULL);
    signature_headers_free(&h);
    signature_verifier_free(v);
    signature_verifier_free(other);
}

/* HMAC-SHA256 of "1614265330.{}" under "Jefe" */
#define STAMPED_HEX "676e9438cfdb369147817f6a65feb8665d3ea421333db70b0dbc2abb2e0a497e"
#define ZERO_HEX "0000000000000000000000000000000000000000000000000000000000000000"

static void test_timestamped(void **state)
{
    static const char no_list[] = "header x-signature is not a list of t=... and v1=...";
    static const char no_hex[] = "header x-signature has a v1 that is not 64 hex digits";
    static const struct {
        const char *value, *reason;
    } cases[] = {
        {"t=1614265330,v1=" STAMPED_HEX, NULL},
        {"v1=" STAMPED_HEX ",t=1614265330", NULL},
        {"t=1614265330, v0=abc, v1=" ZERO_HEX " ,v1=" STAMPED_HEX, NULL},
        {"t=1614265330,v1=" ZERO_HEX, "header x-signature does not match the signing secret"},
        {"t=1614265331,v1=" STAMPED_HEX, "header x-signature does not match the signing secret"},
        {"t=1614265330", "header x-signature has no v1"},
        {"t=1614265330,v0=" STAMPED_HEX, "header x-signature has no v1"},
        {"v1=" STAMPED_HEX, "header x-signature has no t"},
        {"t=1614265330,t=1614265330,v1=" STAMPED_HEX, "header x-signature has more than one t"},
        {"t=,v1=" STAMPED_HEX, "header x-signature has no timestamp in seconds"},
        {"t= 1614265330,v1=" STAMPED_HEX, "header x-signature has no timestamp in seconds"},
        {"t=1614264030,v1=" STAMPED_HEX, "header x-signature does not match the signing secret"},
        {"", no_list},
        {",", no_list},
        {"t=1614265330,v1=" STAMPED_HEX ",", no_list},
        {STAMPED_HEX, no_list},
        {"t=1614265330,v1=", no_hex},
        {"t=1614265330,v1=" STAMPED_HEX ",v1=" JEFE_BASE64, no_hex},
    };
    struct signature_verifier *v = new_verifier(SIGNATURE_TIMESTAMPED, SIGNATURE_HEX, "", jefe, 1);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        check(v, (struct request){{"x-signature", cases[i].value}}, "{}", now_us, cases[i].reason);
    check(v, (struct request){{"a", "b"}}, "{}", now_us, "header x-signature is missing");
    signature_verifier_free(v);
}

/* What signature_sign makes is what signature_verify takes, in every scheme; with the first of the secrets. */
static void test_sign_is_verified(void **state)
{
    static const struct {
        enum signature_scheme scheme;
        enum signature_encoding encoding;
        const char *prefix, *last_name;
        size_t count;
    } cases[] = {
        {SIGNATURE_BODY, SIGNATURE_HEX, "", "x-signature", 1},
        {SIGNATURE_BODY, SIGNATURE_BASE64, "p:", "x-signature", 1},
        {SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_HEX, "", "webhook-signature", 3},
        {SIGNATURE_TIMESTAMPED, SIGNATURE_HEX, "", "x-signature", 1},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct signature_verifier *v = new_verifier(cases[i].scheme, cases[i].encoding, cases[i].prefix, rotated, 3);
        struct signature_verifier *first =
            new_verifier(cases[i].scheme, cases[i].encoding, cases[i].prefix, rotated, 1);
        struct signature_headers h = {0};
        struct request request = {{NULL}};

        signature_sign(v, "evt_1", "{\"a\":1}", 7, now_us, &h);
        assert_int_equal(h.count, cases[i].count);
        assert_string_equal(h.header[h.count - 1].name, cases[i].last_name);
        for (size_t k = 0; k < h.count; k++) {
            request.pairs[2 * k] = h.header[k].name;
            request.pairs[2 * k + 1] = h.header[k].value;
        }
        check(v, request, "{\"a\":1}", now_us, NULL);
        check(first, request, "{\"a\":1}", now_us, NULL);
        signature_headers_free(&h);
        assert_int_equal(h.count, 0);
        signature_verifier_free(v);
        signature_verifier_free(first);
    }
}

static void test_configuration_is_checked(void **state)
{
    static const char *const bad_standard[] = {STANDARD_SECRET, "whsec_not base64"};
    static const char *const bare_mark[] = {"whsec_"};
    static const char *const empty[] = {"Jefe", ""};
    static const char no_base64[] =
        "signing secret %d begins with whsec_, but the rest is not base64; copy it again from the sender";
    const struct {
        struct signature_config config;
        const char *message;
        int number;
    } cases[] = {
        {{SIGNATURE_BODY, "x", SIGNATURE_HEX, "", 0, NULL, 0}, "there is no signing secret; configure at least one", 0},
        {{SIGNATURE_BODY, "x", SIGNATURE_HEX, "", 0, empty, 2}, "signing secret 2 is empty", 0},
        {{SIGNATURE_STANDARD_WEBHOOKS, NULL, SIGNATURE_HEX, "", 0, empty + 1, 1}, "signing secret 1 is empty", 0},
        {{SIGNATURE_STANDARD_WEBHOOKS, NULL, SIGNATURE_HEX, "", 0, bad_standard, 2}, no_base64, 2},
        {{SIGNATURE_STANDARD_WEBHOOKS, NULL, SIGNATURE_HEX, "", 0, bare_mark, 1}, no_base64, 1},
        {{SIGNATURE_BODY, NULL, SIGNATURE_HEX, "", 0, jefe, 1},
         "the signature has no header; configure the name of the header that holds it",
         0},
        {{SIGNATURE_TIMESTAMPED, "", SIGNATURE_HEX, "", 0, jefe, 1},
         "the signature has no header; configure the name of the header that holds it",
         0},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct signature_verifier *v = NULL;
        struct errmsg err = {""};
        const char *percent = strstr(cases[i].message, "%d");
        char *expected = percent == NULL ? mem_strdup(cases[i].message)
                                         : mem_printf("%.*s%d%s", (int)(percent - cases[i].message), cases[i].message,
                                                      cases[i].number, percent + 2);

        assert_int_equal(signature_verifier_new(&cases[i].config, &v, &err), ST_INVALID);
        assert_string_equal(err.text, expected);
        assert_null(v);
        mem_free(expected);
    }
}

/* Every beginning of good values, long runs of each of their letters, and noise: nothing is accepted, nothing read
 * behind the end (the sanitizers look on), and the reason never quotes the value. */
static void test_hostile_values(void **state)
{
    static const char *const good[] = {JEFE_HEX, "sha256=" JEFE_HEX, "v1," STANDARD_MAC,
                                       "t=1614265330,v1=" STAMPED_HEX};
    static const char letters[] = "tv1=, .0aA/+\t\x80\xff";
    struct signature_verifier *all[] = {
        new_verifier(SIGNATURE_BODY, SIGNATURE_HEX, "", rotated, 3),
        new_verifier(SIGNATURE_BODY, SIGNATURE_BASE64, "sha256=", rotated, 3),
        new_verifier(SIGNATURE_STANDARD_WEBHOOKS, SIGNATURE_HEX, "", rotated, 3),
        new_verifier(SIGNATURE_TIMESTAMPED, SIGNATURE_HEX, "", rotated, 3),
    };
    uint32_t noise = 1;

    (void)state;
    for (size_t round = 0; round < 4000; round++) {
        size_t len = round < 400 ? round % 100 : round % 37 == 0 ? 20000 + round : round % 150;
        const char *from = good[round / 100 % ATS_COUNT(good)];
        char *value;

        if (round < 400) {
            value = mem_strndup(from, len < strlen(from) ? len : strlen(from) - 1);
        } else {
            value = mem_alloc(len + 1);
            for (size_t i = 0; i < len; i++) {
                noise = noise * 1664525U + 1013904223U;
                value[i] = letters[(round % 3 == 0 ? round : noise >> 16) % (sizeof letters - 1)];
            }
            value[len] = '\0';
        }
        for (size_t i = 0; i < ATS_COUNT(all); i++) {
            struct request request = {{"webhook-id", "x", "webhook-timestamp", "1614265330", "webhook-signature", value,
                                       "x-signature", value}};
            struct errmsg err = {""};
            int64_t ahead_ms;

            assert_int_equal(
                signature_verify(all[i], find_header, &request, JEFE_BODY, strlen(JEFE_BODY), now_us, &ahead_ms, &err),
                ST_DENIED);
            assert_true(strlen(err.text) > 0 && strlen(err.text) < 100);
        }
        mem_free(value);
    }
    for (size_t i = 0; i < ATS_COUNT(all); i++)
        signature_verifier_free(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_hex),
        cmocka_unit_test(test_body_base64_and_prefix),
        cmocka_unit_test(test_any_secret_is_accepted),
        cmocka_unit_test(test_standard),
        cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_skew),
        cmocka_unit_test(test_standard_secrets),
        cmocka_unit_test(test_timestamped),
        cmocka_unit_test(test_sign_is_verified),
        cmocka_unit_test(test_configuration_is_checked),
        cmocka_unit_test(test_hostile_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
