#include "base/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/mem.h"

#define NUL_TEXT "\xc0\x80"
#define LONE_TEXT "\xed\xa0\xbd" /* U+D83D */

/* In pages of the heap of their own size, so that a sanitizer sees a step too far. */
static void test_ordinary(void **state)
{
    static const char odd[] = {'"', '\\', '\0', '\n', '\x1f'};

    (void)state;
    for (size_t len = 0; len < 20; len++) {
        char *text = mem_alloc(len + 1);

        memset(text, 'a', len);
        assert_int_equal(json_text_ordinary(text, text + len), len);
        for (size_t at = 0; at < len; at++) {
            for (size_t k = 0; k < ATS_COUNT(odd); k++) {
                text[at] = odd[k];
                assert_int_equal(json_text_ordinary(text, text + len), at);
            }
            text[at] = '\x80'; /* part of a character */
        }
        mem_free(text);
    }
}

static const struct {
    const char *text;
    const char *bytes; /* NULL: no escape */
    size_t used;
} escapes[] = {
    {"\\n", "\n", 2},
    {"\\/", "/", 2},
    {"\\\"x", "\"", 2},
    {"\\a", NULL, 0},
    {"\\", NULL, 0},
    {"\\u00e4", "\xc3\xa4", 6},
    {"\\u20AC", "\xe2\x82\xac", 6},
    {"\\u0000", NUL_TEXT, 6},
    {"\\uD83D\\uDE00", "\xf0\x9f\x98\x80", 12},
    {"\\uD83D", LONE_TEXT, 6},
    {"\\uD83Dx", LONE_TEXT, 6},
    {"\\uD83D\\u0041", LONE_TEXT, 6}, /* the other one is not the second half */
    {"\\uDE00\\uD83D", "\xed\xb8\x80", 6},
    {"\\u12", NULL, 0},
    {"\\u12g4", NULL, 0},
};

static void test_unescape(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(escapes); i++) {
        size_t len = strlen(escapes[i].text);
        char *text = mem_strndup(escapes[i].text, len);
        const char *from = text;
        char bytes[4];
        char *to = bytes;
        bool is_escape = json_text_unescape(&from, text + len, &to);

        assert_int_equal(is_escape, escapes[i].bytes != NULL);
        if (is_escape) {
            assert_int_equal(from - text, escapes[i].used);
            assert_int_equal(to - bytes, strlen(escapes[i].bytes));
            assert_memory_equal(bytes, escapes[i].bytes, (size_t)(to - bytes));
        }
        mem_free(text);
    }
}

static const struct {
    const char *text;
    const char *received, *plain, *wrapped; /* without the quotes */
} printed[] = {
    {"", "", "", ""},
    {"plain \xc3\xa4\xf0\x9f\x98\x80", "plain \xc3\xa4\xf0\x9f\x98\x80", "plain \xc3\xa4\xf0\x9f\x98\x80",
     "plain \xc3\xa4\xf0\x9f\x98\x80"},
    {"\"\\\n\r\t\x01", "\\\"\\\\\\n\\r\\t\\u0001", "\\\"\\\\\\n\\r\\t\\u0001", "\\\"\\\\\\n\\r\\t\\u0001"},
    {"a" NUL_TEXT "b", "a\\u0000b",
     "a\xef\xbf\xbd"
     "b",
     "a" JSON_WRAP_MARK "u0000b"},
    {LONE_TEXT, "\\ud83d", "\xef\xbf\xbd", JSON_WRAP_MARK "ud83d"},
    {JSON_WRAP_MARK "n7", JSON_WRAP_MARK "n7", JSON_WRAP_MARK "n7", JSON_WRAP_MARK "xn7"},
};

static void assert_printed(const char *text, enum json_text_form form, const char *expected)
{
    struct buf out;

    buf_init(&out, 1000);
    json_text_print(text, form, &out);
    assert_int_equal(buf_text(&out)[0], '"');
    assert_int_equal(out.len, strlen(expected) + 2);
    assert_memory_equal(buf_text(&out) + 1, expected, strlen(expected));
    assert_string_equal(buf_text(&out) + 1 + strlen(expected), "\"");
    buf_free(&out);
}

static void test_print(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(printed); i++) {
        assert_printed(printed[i].text, JSON_AS_RECEIVED, printed[i].received);
        assert_printed(printed[i].text, JSON_PLAIN, printed[i].plain);
        assert_printed(printed[i].text, JSON_WRAPPED, printed[i].wrapped);
    }
}

/* What is wrapped is what it was on the way back, and no mark of ours is left in between. */
static void test_wrap(void **state)
{
    static const char *const odd[] = {"a" NUL_TEXT, LONE_TEXT "b", "x" JSON_WRAP_MARK, JSON_WRAP_MARK "n12",
                                      JSON_WRAP_MARK "u0000"};
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    for (size_t i = 0; i < ATS_COUNT(odd); i++) {
        char *back;

        buf_reset(&out);
        assert_true(json_needs_wrap(odd[i]));
        json_wrap(odd[i], &out);
        assert_string_not_equal(buf_text(&out), odd[i]);
        back = json_unwrap_text(buf_text(&out));
        assert_string_equal(back, odd[i]);
        mem_free(back);
        back = json_unwrap_key(buf_text(&out));
        assert_string_equal(back, odd[i]);
        mem_free(back);
    }
    buf_free(&out);
    assert_false(json_needs_wrap("\xc3\xa4 and \xf0\x9f\x98\x80"));
    assert_null(json_unwrap_text("\xc3\xa4 and \xf0\x9f\x98\x80"));
}

static void test_digits(void **state)
{
    char *wrapped = json_wrap_digits("9007199254740993");
    char *number = json_unwrap_text(wrapped);
    char *key = json_unwrap_key(wrapped);
    char *within = mem_printf("no. %s!", wrapped);
    char *text = json_unwrap_text(within);

    (void)state;
    assert_int_equal(number[0], JSON_EXACT_MARK);
    assert_string_equal(number + 1, "9007199254740993");
    assert_string_equal(key, "9007199254740993");
    assert_string_equal(text, "no. 9007199254740993!");
    mem_free(text);
    text = json_unwrap_text(JSON_WRAP_MARK "n12x"); /* that is no number */
    assert_string_equal(text, "12x");
    mem_free(text);
    mem_free(within);
    mem_free(key);
    mem_free(number);
    mem_free(wrapped);
}

static void test_plain(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    json_plain("a" NUL_TEXT "\xc3\xa4" LONE_TEXT "z", &out);
    json_plain(NULL, &out);
    assert_string_equal(buf_text(&out), "a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbdz");
    buf_free(&out);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary), cmocka_unit_test(test_unescape), cmocka_unit_test(test_print),
        cmocka_unit_test(test_wrap),     cmocka_unit_test(test_digits),   cmocka_unit_test(test_plain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
