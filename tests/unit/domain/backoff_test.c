#include "domain/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct retry_policy policy = {.base_ms = 5000, .cap_ms = 60000, .max_age_ms = 3600000};

static void test_delay(void **state)
{
    static const struct {
        int64_t attempts;
        uint32_t jitter;
        int64_t delay_ms;
    } cases[] = {
        {1, UINT32_MAX, 5000},
        {2, UINT32_MAX, 10000},
        {3, UINT32_MAX, 20000},
        {4, UINT32_MAX, 40000},
        {5, UINT32_MAX, 60000},
        {6, UINT32_MAX, 60000},
        {INT64_MAX, UINT32_MAX, 60000}, /* no overflow, no long loop */
        {1, 0, 0},
        {9, 0, 0},
        {2, UINT32_MAX / 2 + 1, 5000}, /* full jitter: from nothing on */
        {0, UINT32_MAX, 5000},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        assert_int_equal(backoff_delay_ms(&policy, cases[i].attempts, cases[i].jitter), cases[i].delay_ms);
    }
    struct retry_policy flat = {.base_ms = 90000, .cap_ms = 60000};

    assert_int_equal(backoff_delay_ms(&flat, 1, UINT32_MAX), 60000);
    struct retry_policy endless = {.base_ms = 1, .cap_ms = INT64_C(1) << 52};

    assert_int_equal(backoff_delay_ms(&endless, 1000, UINT32_MAX), INT64_C(1) << 52);
}

/* RFC 9110 section 10.2.3: a number of seconds or an HTTP date. */
static void test_retry_after(void **state)
{
    static const struct {
        const char *header;
        bool ok;
        int64_t ms;
    } cases[] = {
        {"0", true, 0},
        {"120", true, 120000},
        {"86400", true, 86400000},
        {"86401", true, 86400000}, /* at most a day */
        {"99999999999999999999999", true, 86400000},
        {"Sun, 06 Nov 1994 08:50:07 GMT", true, 30000},
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, 0},
        {"Sun, 06 Nov 1994 08:00:00 GMT", true, 0}, /* in the past: at once */
        {"Mon, 06 Nov 2034 08:49:37 GMT", true, 86400000},
        {"-1", false, 0},
        {"1.5", false, 0},
        {"soon", false, 0},
        {"", false, 0},
        {NULL, false, 0},
    };
    static const int64_t now_us = INT64_C(784111777) * 1000000; /* Sun, 06 Nov 1994 08:49:37 GMT */

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        int64_t ms = -7;

        assert_int_equal(retry_after_ms(cases[i].header, now_us, &ms), cases[i].ok);
        assert_int_equal(ms, cases[i].ok ? cases[i].ms : -7);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_delay), cmocka_unit_test(test_retry_after)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
