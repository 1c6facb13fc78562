#include "ctl/print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

enum { MAX_BYTES = 64 * 1024 };

static void test_escaped(void **state)
{
    static const struct {
        const char *text;
        const char *printed;
    } cases[] = {
        {"", ""},
        {"plain, Grüße, 日本, 🙂", "plain, Grüße, 日本, 🙂"},
        {"one\ntwo\tthree\r", "one\\ntwo\\tthree\\r"},
        {"\033[2J\a\177", "\\x1B[2J\\x07\\x7F"},
        {"\302\2332J", "\\u{009B}2J"}, /* C1: as good as ESC [ */
        {"a\342\200\256b\342\201\246c", "a\\u{202E}b\\u{2066}c"},
        {"\377\376", "\\xFF\\xFE"},
        {"\300\200", "\\xC0\\x80"},
        {"\342\202", "\\xE2\\x82"},          /* cut */
        {"\355\240\200", "\\xED\\xA0\\x80"}, /* a lone surrogate */
        {"\302", "\\xC2"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct buf b;

        buf_init(&b, MAX_BYTES);
        print_escaped(cases[i].text, &b);
        assert_string_equal(buf_text(&b), cases[i].printed);
        buf_free(&b);
    }
}

static void test_escaped_json(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, MAX_BYTES);
    print_escaped_json("{\"a\":\"Grüße \302\233\177\342\200\256\"}", &b);
    assert_string_equal(buf_text(&b), "{\"a\":\"Grüße \\u009b\\u007f\\u202e\"}");
    buf_free(&b);
}

static struct json *parsed(const char *text)
{
    struct json *j = NULL;

    assert_int_equal(json_parse(text, strlen(text), &j, NULL), ST_OK);
    return j;
}

static void test_value(void **state)
{
    static const struct {
        const char *json;
        size_t max_chars;
        const char *printed;
    } cases[] = {
        {"\"Contacted\"", 20, "\"Contacted\""},
        {"\"Contacted\"", 9, "\"Contacted\""},
        {"\"Contacted\"", 8, "\"Contacte…\""},
        {"\"Grüße\"", 3, "\"Grü…\""},
        {"\"two\\nlines \\\"quoted\\\"\"", 40, "\"two\\nlines \\\"quoted\\\"\""},
        {"100", 20, "100"},
        {"1.25", 20, "1.25"},
        {"null", 20, "null"},
        {"{\"score\":87,\"status\":\"x\"}", 40, "{\"score\":87,\"status\":\"x\"}"},
        {"{\"score\":87,\"status\":\"x\"}", 10, "{\"score\":8…"},
        {"\"\\u001b[2J\"", 20, "\"\\u001b[2J\""},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *j = parsed(cases[i].json);
        struct buf b;

        buf_init(&b, MAX_BYTES);
        print_value(j, cases[i].max_chars, &b);
        assert_string_equal(buf_text(&b), cases[i].printed);
        buf_free(&b);
        json_free(j);
    }
}

static void test_table(void **state)
{
    static const struct column columns[] = {
        {"name", "NAME", false}, {"n", "COUNT", true}, {"ok", "OK", false}, {"note", "NOTE", false}};
    struct json *rows = parsed("[{\"name\":\"Grüße\",\"n\":7,\"ok\":true,\"note\":null},"
                               "{\"name\":\"a\\tb\",\"n\":123456,\"note\":\"line\\nbreak\"}]");
    struct json *none = parsed("[]");
    struct buf b;

    (void)state;
    buf_init(&b, MAX_BYTES);
    print_table(rows, columns, ATS_COUNT(columns), true, &b);
    assert_string_equal(buf_text(&b), "NAME    COUNT  OK    NOTE\n"
                                      "Grüße       7  true  -\n"
                                      "a\\tb   123456  -     line\\nbreak\n");
    buf_reset(&b);
    print_table(rows, columns, ATS_COUNT(columns), false, &b);
    assert_string_equal(buf_text(&b), "Grüße\t7\ttrue\t\n"
                                      "a\\tb\t123456\t\tline\\nbreak\n");
    buf_reset(&b);
    print_table(none, columns, ATS_COUNT(columns), true, &b);
    assert_string_equal(buf_text(&b), "NAME  COUNT  OK  NOTE\n");
    buf_reset(&b);
    print_table(none, columns, ATS_COUNT(columns), false, &b);
    assert_string_equal(buf_text(&b), "");
    buf_free(&b);
    json_free(rows);
    json_free(none);
}

static void test_long_cells_are_cut_on_a_terminal_only(void **state)
{
    static const struct column columns[] = {{"a", "A", false}};
    struct json *rows = json_array();
    struct json *row = json_object();
    char long_text[151];
    struct buf b;

    (void)state;
    memset(long_text, 'x', 150);
    long_text[150] = '\0';
    json_set_str(row, "a", long_text);
    json_push(rows, row);
    buf_init(&b, MAX_BYTES);
    print_table(rows, columns, 1, true, &b);
    assert_int_equal(b.len, strlen("A\n") + 100 + strlen("…\n"));
    buf_reset(&b);
    print_table(rows, columns, 1, false, &b);
    assert_int_equal(b.len, 151);
    buf_free(&b);
    json_free(rows);
}

static void test_wrapped(void **state)
{
    static const struct {
        const char *text;
        size_t indent, width;
        const char *printed;
    } cases[] = {
        {"one two three four", 2, 11, "  one two\n  three\n  four\n"},
        {"one two", 0, 7, "one two\n"},
        {"one two", 0, 6, "one\ntwo\n"},
        {"  many   blanks  ", 0, 40, "many blanks\n"},
        {"toolongforanyline x", 1, 5, " toolongforanyline\n x\n"},
        {"Grüße an alle", 0, 8, "Grüße an\nalle\n"},
        {"a\nb\033", 0, 40, "a\\nb\\x1B\n"},
        {"", 2, 40, "\n"},
        {NULL, 2, 40, "\n"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct buf b;

        buf_init(&b, MAX_BYTES);
        print_wrapped(cases[i].text, cases[i].indent, cases[i].width, &b);
        assert_string_equal(buf_text(&b), cases[i].printed);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escaped),
        cmocka_unit_test(test_escaped_json),
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_long_cells_are_cut_on_a_terminal_only),
        cmocka_unit_test(test_wrapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
