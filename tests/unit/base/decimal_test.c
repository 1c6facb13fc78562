#include "base/decimal.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"

#define UNTOUCHED (-12345.0)

static const struct {
    const char *text;
    size_t len; /* of the number at its beginning; 0: there is none */
    bool exact_needed;
} scanned[] = {
    {"0", 1, false},
    {"-0", 2, false},
    {"-0.5e+3,", 7, false},
    {"12]", 2, false},
    {"01", 0, false},
    {"-", 0, false},
    {"+1", 0, false},
    {".5", 0, false},
    {"5.", 0, false},
    {"1e", 0, false},
    {"1e+", 0, false},
    {"", 0, false},
    {"123456789012345", 15, false},
    {"1234567890123456", 16, true},
    {"0.000123456789012345", 20, false}, /* zeros in front of the digits do not count, */
    {"1000000000000000", 16, true},      /* those behind them do */
    {"1e250", 5, false},
    {"1e251", 5, true},
    {"1e-250", 6, false},
    {"10e250", 6, true}, /* the same as 1e251 */
    {"1e99999999999999999999", 22, true},
    {"0.00000000000000000000000000000000000000000000000001", 52, false},
    {"0.000000000000000000000000000000000000000000000000001", 53, true},
};

static void test_scan(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(scanned); i++) {
        const char *text = scanned[i].text;
        struct decimal n = {0};
        const char *end = decimal_scan(text, text + strlen(text), &n);

        if (scanned[i].len == 0) {
            assert_null(end);
        } else {
            assert_ptr_equal(end, text + scanned[i].len);
            assert_int_equal(n.exact_needed, scanned[i].exact_needed);
        }
    }
}

/* Nothing is looked at behind the end. */
static void test_end(void **state)
{
    static const char text[] = "12.5e3";
    static const size_t whole[] = {0, 1, 2, 0, 4, 0, 6}; /* how long a number the first so many bytes are */

    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        struct decimal n;
        const char *end = decimal_scan(text, text + len, &n);

        assert_true(whole[len] == 0 ? !end : end == text + whole[len]);
    }
}

static void test_doubles(void **state)
{
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0},
        {"-12.5", -12.5},
        {"1e22", 1e22},
        {"1e23", 1e23},
        {"7e-22", 7e-22},
        {"3.3e-30", 3.3e-30},
        {"0.1", 0.1},
        {"-1.5e-250", -1.5e-250},
        {"9.99e100", 9.99e100},
        {"123456789.012345", 123456789.012345},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *text = cases[i].text;
        size_t len = strlen(text);
        struct decimal n;
        double value;

        assert_ptr_equal(decimal_scan(text, text + len, &n), text + len);
        value = decimal_double(&n, text, len);
        assert_memory_equal(&value, &cases[i].value, sizeof value);
    }
}

static void test_print(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {7, "7"},
        {-999999999999999, "-999999999999999"},
        {1e15, "1e+15"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {DBL_MAX, "1.7976931348623157e+308"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char text[DECIMAL_TEXT_MAX];

        decimal_print(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_beyond_numeric(void **state)
{
    char long_text[5002];

    (void)state;
    memset(long_text, '1', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    assert_true(decimal_is_beyond_numeric(long_text));
    assert_false(decimal_is_beyond_numeric("12345678901234567890"));
    assert_false(decimal_is_beyond_numeric("1e+100000"));
    assert_true(decimal_is_beyond_numeric("1E100001"));
    assert_false(decimal_is_beyond_numeric("1e-10000"));
    assert_true(decimal_is_beyond_numeric("1e-10001"));
    assert_true(decimal_is_beyond_numeric("1e99999999999999999999"));
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},       {"-0.5", -0.5},  {"12.25", 12.25}, {"1e3", 1000},
                {"1E+3", 1000}, {"25e-2", 0.25}, {"0.1e1", 1},     {"1e-400", 0}};
    static const char *const bad[] = {"",    "-",   "+1", ".5", "5.",  "01",    "1e",     "1e+", "0x10",
                                      "inf", "nan", " 1", "1 ", "1,5", "1e400", "-1e400", "--1", "1.e3"};
    double value;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(good); i++) {
        value = UNTOUCHED;
        if (!decimal_parse(good[i].text, &value) || value < good[i].value || value > good[i].value)
            fail_msg("%s gave %g", good[i].text, value);
    }
    value = UNTOUCHED;
    for (size_t i = 0; i < ATS_COUNT(bad); i++) {
        if (decimal_parse(bad[i], &value))
            fail_msg("\"%s\" was taken for a number", bad[i]);
    }
    assert_false(decimal_parse(NULL, &value));
    assert_true(value >= UNTOUCHED && value <= UNTOUCHED);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),    cmocka_unit_test(test_parse), cmocka_unit_test(test_end),
        cmocka_unit_test(test_doubles), cmocka_unit_test(test_print), cmocka_unit_test(test_beyond_numeric),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
