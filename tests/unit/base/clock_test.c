#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define UNTOUCHED 4242

static void test_clocks_go_forward(void **state)
{
    int64_t before_us = clock_mono_us();
    int64_t between_ms = clock_mono_ms();
    int64_t after_us = clock_mono_us();

    (void)state;
    assert_true(before_us / 1000 <= between_ms && between_ms <= after_us / 1000);
    assert_true(clock_wall_us() > INT64_C(1600000000) * 1000000); /* later than 2020: microseconds, not another unit */
    assert_true(clock_wall_us() < INT64_C(10000000000) * 1000000);
}

static void test_iso8601(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00", 0},
        {"1970-01-01 00:00:00z", 0},
        {"1970-01-01t00:00:00.5Z", 500000},
        {"2026-04-28T10:45:00.123Z", 1777373100123000},
        {"2026-04-28T10:45:00.123456Z", 1777373100123456},
        {"2026-04-28T10:45:00.1234569999Z", 1777373100123456},
        {"2026-04-28T12:45:00.123+02:00", 1777373100123000},
        {"2026-04-28T12:45:00.123+0200", 1777373100123000},
        {"2026-04-28T05:15:00.123-05:30", 1777373100123000},
        {"2024-02-29T00:00:00Z", 1709164800000000},
        {"2000-02-29T00:00:00Z", 951782400000000},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"2016-12-31T23:59:60Z", 1483228800000000},
        {"2017-01-01T01:59:60+02:00", 1483228800000000},
        {"0001-01-01T00:00:00Z", -62135596800000000},
        {"9999-12-31T23:59:59.999999Z", 253402300799999999},
        {"0001-01-01T02:00:00+02:00", -62135596800000000},
    };
    static const char *const bad[] = {
        "",
        "2026",
        "2026-04-28",
        "2026-04-28T10:45",
        "2026-04-28T10:45Z",
        "2026-04-28T10:45:00.Z",
        "2026-04-28T10:45:00,5Z",
        "2026-04-28T10:45:00ZZ",
        "2026-04-28T10:45:00Z ",
        " 2026-04-28T10:45:00Z",
        "2026-04-28T10:45:00 +02:00",
        "2026-04-28T10:45:00+2:00",
        "2026-04-28T10:45:00+02",
        "2026-04-28T10:45:00+24:00",
        "2026-04-28T10:45:00+02:60",
        "2026-04-28T10:45:00+02:00Z",
        "2026-04-28X10:45:00Z",
        "2026-4-28T10:45:00Z",
        "2026-04-31T10:45:00Z",
        "2026-00-10T10:45:00Z",
        "2026-13-10T10:45:00Z",
        "2026-04-00T10:45:00Z",
        "2026-02-29T10:45:00Z",
        "1900-02-29T10:45:00Z",
        "2026-04-28T24:00:00Z",
        "2026-04-28T10:60:00Z",
        "2026-04-28T10:45:61Z",
        "2026-04-28T10:45:60Z",
        "0000-12-31T10:45:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "12026-04-28T10:45:00Z",
        "-026-04-28T10:45:00Z",
        "1777373100",
    };
    int64_t us;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(good); i++) {
        us = UNTOUCHED;
        if (!time_parse_iso8601(good[i].text, &us) || us != good[i].us)
            fail_msg("%s gave %lld", good[i].text, (long long)us);
    }
    us = UNTOUCHED;
    for (size_t i = 0; i < ATS_COUNT(bad); i++) {
        if (time_parse_iso8601(bad[i], &us))
            fail_msg("\"%s\" was taken for a time", bad[i]);
    }
    assert_false(time_parse_iso8601(NULL, &us));
    assert_int_equal(us, UNTOUCHED);
}

static void test_http_date(void **state)
{
    static const char *const bad[] = {
        "",
        "Sun",
        "Sun, 06 Nov 1994",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Mov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "06 Nov 1994 08:49:37 GMT",
        "120",
    };
    int64_t us = 0;

    (void)state;
    assert_true(time_parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", &us));
    assert_int_equal(us, INT64_C(784111777000000));
    assert_true(time_parse_http_date("Thu, 31 Dec 2026 23:59:59 GMT", &us));
    assert_int_equal(us, INT64_C(1798761599000000));
    us = UNTOUCHED;
    for (size_t i = 0; i < ATS_COUNT(bad); i++) {
        if (time_parse_http_date(bad[i], &us))
            fail_msg("\"%s\" was taken for a time", bad[i]);
    }
    assert_false(time_parse_http_date(NULL, &us));
    assert_int_equal(us, UNTOUCHED);
}

static void test_print(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1777373100123999, "2026-04-28T10:45:00.123Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000000, "1969-12-31T23:59:59.000Z"},
        {-62135596800000000, "0001-01-01T00:00:00.000Z"},
        {253402300799999999, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "294247-01-10T04:00:54.775Z"},
        {INT64_MIN, "-290308-12-21T19:59:05.224Z"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_string_equal(time_iso8601(cases[i].us).s, cases[i].text);
}

/* Every day of 400 years: what is printed is read back, so both agree on the calendar with the C library. */
static void test_round_trip(void **state)
{
    const int64_t day_us = INT64_C(86400) * 1000000;

    (void)state;
    for (int64_t day = -100 * 365; day < 300 * 365; day++) {
        int64_t us = day * day_us + 45296789000;
        int64_t back = 0;

        assert_true(time_parse_iso8601(time_iso8601(us).s, &back));
        assert_int_equal(back, us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks_go_forward), cmocka_unit_test(test_iso8601),
        cmocka_unit_test(test_http_date),         cmocka_unit_test(test_print),
        cmocka_unit_test(test_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
