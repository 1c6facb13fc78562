#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json_scan.h"

/* What the scanner says of the text: the offset of the byte that is bad, -1 while more is wanted, -2 when it is whole. */
static int scan(const char *text, size_t *ret_len)
{
    struct json_scan s = {0};

    for (size_t i = 0; text[i] != '\0'; i++) {
        enum json_scan_step step = json_scan_byte(&s, text[i]);

        *ret_len = i;
        if (step == JSON_SCAN_BAD) {
            return (int)i;
        }
        if (step == JSON_SCAN_ENDED) {
            return -2;
        }
        if (step == JSON_SCAN_LAST) {
            *ret_len = i + 1;
            return -2;
        }
    }
    *ret_len = strlen(text);
    return json_scan_may_end(&s) ? -2 : -1;
}

static void test_where_values_end(void **state)
{
    static const struct {
        const char *text;
        int verdict;
        size_t len;
    } cases[] = {
        {"{}", -2, 2},
        {"{}x", -2, 2},
        {"[]", -2, 2},
        {"{\"a\":1}{\"b\":2}", -2, 7},
        {"{\"a\":[1,2,{\"b\":\"}\"}]} ", -2, 21},
        {"{ \"a\" : \"\\\"}\" , \"b\\\"\" : [ ] }", -2, 29},
        {"\"text\"", -2, 6},
        {"\"a\\\\\"\"", -2, 5},
        {"12 ", -2, 2},
        {"12", -2, 2},
        {"true,", -2, 4},
        {"-1.5e+3]", -2, 7},
        {"{\"a\":-1.5E+3}", -2, 13},
        /* not whole yet */
        {"{", -1, 1},
        {"{\"a\":", -1, 5},
        {"{\"a\":1,", -1, 7},
        {"[1,", -1, 3},
        {"\"abc\\", -1, 5},
        /* broken, and where */
        {"{\"a\":1\n{\"b\":2}", 7, 7},
        {"{\"a\":1,\n{\"b\":2}", 8, 8},
        {"{\"a\":\"cut\n", 9, 9},
        {"{\"cut\n", 5, 5},
        {"{\"a\" 1}", 5, 5},
        {"{\"a\"}", 4, 4},
        {"{a:1}", 1, 1},
        {"{,}", 1, 1},
        {"{\"a\":1]", 6, 6},
        {"[1}", 2, 2},
        {"[1,]", 3, 3},
        {"{\"a\":1,}", 7, 7},
        {"[1 2]", 3, 3},
        {"}", 0, 0},
        {"]", 0, 0},
        {",", 0, 0},
        {"%", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        size_t len = 0;
        int verdict = scan(cases[i].text, &len);

        if (verdict != cases[i].verdict || len != cases[i].len) {
            fail_msg("%s: %d at %zu, not %d at %zu", cases[i].text, verdict, len, cases[i].verdict, cases[i].len);
        }
    }
}

static void test_depth(void **state)
{
    struct json_scan s = {0};

    (void)state;
    for (int i = 0; i < JSON_SCAN_DEPTH_MAX; i++) {
        assert_int_equal(json_scan_byte(&s, '['), JSON_SCAN_MORE);
    }
    assert_int_equal(json_scan_byte(&s, '['), JSON_SCAN_BAD);
    memset(&s, 0, sizeof s);
    for (int i = 0; i < JSON_SCAN_DEPTH_MAX; i++) {
        assert_int_equal(json_scan_byte(&s, '['), JSON_SCAN_MORE);
    }
    for (int i = 0; i < JSON_SCAN_DEPTH_MAX - 1; i++) {
        assert_int_equal(json_scan_byte(&s, ']'), JSON_SCAN_MORE);
    }
    assert_int_equal(json_scan_byte(&s, ']'), JSON_SCAN_LAST);
}

static void assert_slice(struct json_slice s, const char *expected)
{
    assert_int_equal(s.len, strlen(expected));
    assert_memory_equal(s.text, expected, s.len);
}

static void test_members(void **state)
{
    static const char text[] = " {\"a\" : 1 ,\"b\":{\"a\":\"x,y\"},\"c\":[1, \"2\" ,{}],\"a\":null} rest";
    struct json_slice object, name, value;
    size_t at = 0;

    (void)state;
    object = (struct json_slice){"{\"a\" 1}", 7};
    assert_false(json_scan_next(object, &at, &name, &value)); /* no colon */
    at = 0;
    assert_true(json_scan_value(text, strlen(text), &object));
    assert_int_equal(object.text - text, 1);
    assert_true(json_scan_next(object, &at, &name, &value));
    assert_slice(name, "a");
    assert_slice(value, "1");
    assert_true(json_scan_member(object, "b", &value));
    assert_slice(value, "{\"a\":\"x,y\"}");
    assert_true(json_scan_member(object, "a", &value)); /* the last one, as in a parser */
    assert_slice(value, "null");
    assert_false(json_scan_member(object, "d", &value));
    assert_true(json_scan_member(object, "c", &value));
    assert_false(json_scan_member(value, "c", &value)); /* a list has no members */
    at = 0;
    object = value;
    assert_true(json_scan_next(object, &at, &name, &value));
    assert_slice(value, "1");
    assert_int_equal(name.len, 0);
    assert_true(json_scan_next(object, &at, &name, &value));
    assert_slice(value, "\"2\"");
    assert_true(json_scan_next(object, &at, &name, &value));
    assert_slice(value, "{}");
    assert_false(json_scan_next(object, &at, &name, &value));
}

static void test_empty_and_broken(void **state)
{
    static const char *const none[] = {"", " ", "{\"a\":", "{\"a\"", "[1", "x", "{]"};
    static const char *const empty[] = {"{}", "[]", "[ ]", "12"};
    struct json_slice s, name, value;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(none); i++) {
        assert_false(json_scan_value(none[i], strlen(none[i]), &s));
    }
    for (size_t i = 0; i < ATS_COUNT(empty); i++) {
        size_t at = 0;

        assert_true(json_scan_value(empty[i], strlen(empty[i]), &s));
        assert_false(json_scan_next(s, &at, &name, &value));
        assert_false(json_scan_member(s, "a", &value));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_values_end),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_empty_and_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
