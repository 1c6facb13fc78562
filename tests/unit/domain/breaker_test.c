#include "domain/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void opens_at_half_of_at_least_ten(void **state)
{
    (void)state;
    assert_false(breaker_should_open(9, 9)); /* a few that fail may be anybody's */
    assert_true(breaker_should_open(10, 5));
    assert_true(breaker_should_open(10, 10));
    assert_false(breaker_should_open(11, 5));
    assert_false(breaker_should_open(1000, 499));
    assert_true(breaker_should_open(1000, 500));
    assert_false(breaker_should_open(10, 0));
}

static void waits_longer_each_time_up_to_five_minutes(void **state)
{
    (void)state;
    assert_int_equal(breaker_open_ms(0), 15000);
    assert_int_equal(breaker_open_ms(1), 30000);
    assert_int_equal(breaker_open_ms(4), 240000);
    assert_int_equal(breaker_open_ms(5), 300000);
    assert_int_equal(breaker_open_ms(INT64_MAX), 300000);
}

static void begins_slowly_after_closing(void **state)
{
    (void)state;
    assert_int_equal(breaker_ramp(0), 2);
    assert_int_equal(breaker_ramp(999), 2);
    assert_int_equal(breaker_ramp(1000), 4);
    assert_int_equal(breaker_ramp(9999), 1024);
    assert_true(breaker_ramp(10000) == SIZE_MAX);
}

static void a_few_young_calls_that_went_well_count_beside_failures(void **state)
{
    struct breaker_clean clean = {0};

    (void)state;
    assert_int_equal(breaker_clean_take(&clean, 1000000), 0);
    breaker_clean_add(&clean, 3, 1000000);
    breaker_clean_add(&clean, 4, 1000010);
    assert_int_equal(breaker_clean_take(&clean, 1000020), 7);
    assert_int_equal(breaker_clean_take(&clean, 1000020), 0); /* once */

    breaker_clean_add(&clean, 1000000, 1000000); /* of any number only a few, or an outage would be seen late */
    assert_true(breaker_should_open(breaker_clean_take(&clean, 1000001) + 20, 20));

    breaker_clean_add(&clean, 5, 1000000);
    assert_int_equal(breaker_clean_take(&clean, 1000000 + BREAKER_WINDOW_MS), 0); /* too old */

    breaker_clean_add(&clean, 5, 1000000);
    breaker_clean_add(&clean, 0, 1000000 + BREAKER_WINDOW_MS - 1); /* nothing new */
    assert_int_equal(breaker_clean_take(&clean, 1000000 + BREAKER_WINDOW_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_at_half_of_at_least_ten),
        cmocka_unit_test(waits_longer_each_time_up_to_five_minutes),
        cmocka_unit_test(begins_slowly_after_closing),
        cmocka_unit_test(a_few_young_calls_that_went_well_count_beside_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
