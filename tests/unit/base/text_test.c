#include "base/text.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define UNTOUCHED 4242

static void test_num_text(void **state)
{
    (void)state;
    assert_string_equal(num_text(0).s, "0");
    assert_string_equal(num_text(INT64_MAX).s, "9223372036854775807");
    assert_string_equal(num_text(INT64_MIN).s, "-9223372036854775808");
}

static void test_to_i64(void **state)
{
    static const struct {
        const char *text;
        int64_t min, max;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", 0, 10, true, 0},
        {"-0", 0, 10, true, 0},
        {"007", 0, 10, true, 7},
        {"10", 0, 10, true, 10},
        {"11", 0, 10, false, 0},
        {"-1", 0, 10, false, 0},
        {"-5", -5, 10, true, -5},
        {"9223372036854775807", INT64_MIN, INT64_MAX, true, INT64_MAX},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN},
        {"9223372036854775808", INT64_MIN, INT64_MAX, false, 0},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, false, 0},
        {"18446744073709551620", INT64_MIN, INT64_MAX, false, 0}, /* 4 modulo 2^64 */
        {"99999999999999999999999", INT64_MIN, INT64_MAX, false, 0},
        {"", 0, 10, false, 0},
        {"-", -5, 10, false, 0},
        {"+1", 0, 10, false, 0},
        {" 1", 0, 10, false, 0},
        {"1 ", 0, 10, false, 0},
        {"1x", 0, 10, false, 0},
        {"0x1", 0, 10, false, 0},
        {"1e1", 0, 10, false, 0},
        {"--1", -5, 10, false, 0},
        {NULL, 0, 10, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        int64_t value = UNTOUCHED;
        bool ok = text_to_i64(cases[i].text, cases[i].min, cases[i].max, &value);

        if (ok != cases[i].ok || value != (ok ? cases[i].value : UNTOUCHED))
            fail_msg("case %zu (%s) gave %d, %lld", i, cases[i].text, ok, (long long)value);
    }
}

struct quantity {
    const char *text;
    bool ok;
    int64_t value;
};

static void check_quantities(const struct quantity *cases, size_t count, bool (*parse)(const char *, int64_t *))
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = UNTOUCHED;
        bool ok = parse(cases[i].text, &value);

        if (ok != cases[i].ok || value != (ok ? cases[i].value : UNTOUCHED))
            fail_msg("\"%s\" gave %d, %lld", cases[i].text, ok, (long long)value);
    }
}

static void test_to_duration(void **state)
{
    static const struct quantity cases[] = {
        {"500ms", true, 500},
        {"5s", true, 5000},
        {"15m", true, 900000},
        {"12h", true, 43200000},
        {"3d", true, 259200000},
        {"0", true, 0},
        {"0s", true, 0},
        {"106751991167d", true, INT64_C(106751991167) * 86400000},
        {"106751991168d", false, 0},
        {"9223372036854775808ms", false, 0},
        {"5", false, 0},
        {"00", false, 0},
        {"s", false, 0},
        {"-5s", false, 0},
        {"1.5s", false, 0},
        {"5 s", false, 0},
        {"5S", false, 0},
        {"5min", false, 0},
        {"5s5s", false, 0},
        {"", false, 0},
        {NULL, false, 0},
    };

    (void)state;
    check_quantities(cases, ATS_COUNT(cases), text_to_duration_ms);
}

static void test_to_size(void **state)
{
    static const struct quantity cases[] = {
        {"512", true, 512},
        {"512B", true, 512},
        {"64KiB", true, 65536},
        {"4MiB", true, 4194304},
        {"1GiB", true, 1073741824},
        {"0", true, 0},
        {"8589934591GiB", true, INT64_C(8589934591) * 1073741824},
        {"8589934592GiB", false, 0},
        {"4MB", false, 0},
        {"4M", false, 0},
        {"4mib", false, 0},
        {"4 MiB", false, 0},
        {"-4", false, 0},
        {"MiB", false, 0},
        {"", false, 0},
        {NULL, false, 0},
    };

    (void)state;
    check_quantities(cases, ATS_COUNT(cases), text_to_size_bytes);
}

static void test_compare(void **state)
{
    (void)state;
    assert_true(text_starts("whsec_abc", "whsec_"));
    assert_true(text_starts("abc", ""));
    assert_false(text_starts("whs", "whsec_"));
    assert_true(text_eq("a", "a") && text_eq(NULL, NULL));
    assert_false(text_eq("a", "A") || text_eq("a", NULL) || text_eq(NULL, "a"));
    assert_true(text_ieq("X-Signature", "x-sIGNATURE") && text_ieq(NULL, NULL) && text_ieq("", ""));
    assert_false(text_ieq("a", "ab") || text_ieq("ab", "a") || text_ieq("a", NULL) || text_ieq(NULL, "a"));
    assert_false(text_ieq("[", "{") || text_ieq("\xc3\x84", "\xc3\xa4")); /* letters of ASCII only */
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        size_t chars; /* 0: not UTF-8 */
    } cases[] = {
        {"abc", 3},
        {"caf\xc3\xa9", 4},
        {"\xe2\x82\xac", 1},
        {"\xf0\x9f\x98\x80!", 2},
        {"\xc2\x80\xdf\xbf", 2},
        {"\xe0\xa0\x80\xef\xbf\xbf", 2},
        {"\xed\x9f\xbf\xee\x80\x80", 2},
        {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 2},
        {"\x80", 0},
        {"\xc3", 0},
        {"\xc3(", 0},
        {"\xc0\x80", 0}, /* overlong */
        {"\xc1\xbf", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xed\xa0\x80", 0}, /* surrogates */
        {"\xed\xbf\xbf", 0},
        {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"\xe2\x82", 0},
        {"\xe2\x82(", 0},
        {"\xf0\x9f\x98", 0},
        {"\xf0\x9f\x98(", 0},
        {"\xff", 0},
    };

    (void)state;
    assert_true(text_is_utf8("", 0));
    assert_true(text_is_utf8("a\0b", 3));
    assert_false(text_is_utf8("\xc3\xa9", 1)); /* the rest stands behind the end */
    assert_false(text_is_utf8("\xe2\x82\xac", 2));
    assert_false(text_is_utf8("\xf0\x9f\x98\x80", 3));
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        if (text_is_utf8(cases[i].text, strlen(cases[i].text)) != (cases[i].chars > 0))
            fail_msg("case %zu", i);
        if (cases[i].chars > 0)
            assert_int_equal(text_utf8_chars(cases[i].text), cases[i].chars);
    }
}

static void test_utf8_cut(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"; /* 1 + 2 + 3 + 4 bytes */
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};

    (void)state;
    for (size_t max = 0; max < ATS_COUNT(cuts); max++)
        assert_int_equal(text_utf8_cut(text, sizeof text - 1, max), cuts[max]);
    assert_int_equal(text_utf8_cut("\x80\x80\x80\x80\x80\x80\x80", 7, 5), 5); /* nothing whole to be kept */
    assert_int_equal(text_utf8_cut("\x80\x80\x80", 3, 2), 2);
    assert_int_equal(text_utf8_cut("", 0, 0), 0);
}

static void test_distance(void **state)
{
    char at_limit[65];
    char beyond[66];

    (void)state;
    assert_int_equal(text_distance("", ""), 0);
    assert_int_equal(text_distance("listen", "listen"), 0);
    assert_int_equal(text_distance("", "abc"), 3);
    assert_int_equal(text_distance("abc", ""), 3);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
    assert_int_equal(text_distance("lisetn", "listen"), 2);
    assert_int_equal(text_distance("conector", "connector"), 1);
    memset(at_limit, 'x', sizeof at_limit);
    memset(beyond, 'x', sizeof beyond);
    at_limit[64] = '\0';
    beyond[65] = '\0';
    assert_int_equal(text_distance(at_limit, "x"), 63);
    assert_int_equal(text_distance(at_limit, at_limit), 0);
    assert_true(text_distance(beyond, beyond) == UINT_MAX);
    assert_true(text_distance("x", beyond) == UINT_MAX);
}

static void test_leaves_path(void **state)
{
    static const char *const leaving[] = {
        ".",      "..",        "../x",  "a/..",       "a/../b",       "/..",        "./a",        "a/.",
        "..\\a",  "%2e%2e",    "%2E.",  ".%2e",       "%2e",          "a%2f..",     "a%2F%2e%2E", "..;x",
        "..;/a",  "a/..;b",    "%5c..", "%252e%252e", "%252e%252f",   "%2525252e.", "%%32%65",    "%2e%2e%00x",
        "a%00..", "a%00%2f..", "..%3b", "a%252f..",   "%25%32%65%2e",
    };
    static const char *const staying[] = {
        "",
        "a",
        "a/b",
        "a%2fb",
        "...",
        "..a",
        "a..",
        "a/..b",
        "a/b../c",
        ".a",
        "%",
        "%2",
        "%zz",
        "100%",
        "a;..",
        "caf\xc3\xa9",
        "'; drop table x; --",
        "$(id)",
        "a b\r\n",
    };
    char wrapped[200] = "%2e";

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(leaving); i++)
        if (!text_leaves_path(leaving[i]))
            fail_msg("%s stays", leaving[i]);
    for (size_t i = 0; i < ATS_COUNT(staying); i++)
        if (text_leaves_path(staying[i]))
            fail_msg("%s leaves", staying[i]);
    /* encoded again and again: nobody's id, so nobody waits for the end of it */
    for (unsigned i = 0; i < 40; i++) {
        memmove(wrapped + 3, wrapped + 1, strlen(wrapped));
        memcpy(wrapped, "%25", 3);
    }
    assert_true(text_leaves_path(wrapped));
    memcpy(wrapped + strlen(wrapped) - 2, "41", 2);
    assert_true(text_leaves_path(wrapped));
}

/* Published FNV-1a values: the hash may be stored, so it must never change. */
static void test_hash(void **state)
{
    (void)state;
    assert_true(text_hash64("", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(text_hash64("a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(text_hash64("foobar", 6) == UINT64_C(0x85944171f73967e8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_num_text), cmocka_unit_test(test_to_i64),   cmocka_unit_test(test_to_duration),
        cmocka_unit_test(test_to_size),  cmocka_unit_test(test_compare),  cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_cut), cmocka_unit_test(test_distance), cmocka_unit_test(test_leaves_path),
        cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
