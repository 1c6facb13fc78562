#include "domain/skew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A slow answer is no wrong clock. */
static void test_skew(void **state)
{
    static const struct {
        int64_t ahead_us, unsure_us;
        bool sure;
    } clocks[] = {
        {0, 0, false},          {5000000, 0, false},         {5000001, 0, true},         {-5000001, 0, true},
        {5000001, 1000, false}, {60000000, 55000000, false}, {60000000, 54999999, true}, {-60000000, 54999999, true},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(clocks); i++) {
        assert_int_equal(skew_is_sure(clocks[i].ahead_us, clocks[i].unsure_us), clocks[i].sure);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
