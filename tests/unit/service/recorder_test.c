/* When results wait for others. */
#include "service/recorder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_linger(void **state)
{
    static const struct {
        size_t ended, in_work;
        bool any_failed;
        int64_t waited_ms, more_ms; /* 0: they are recorded at once */
    } cases[] = {
        {1, 1, false, 0, 0},    {1, 64, false, 0, 0},    {1, 65, false, 0, 5},
        {10, 160, false, 3, 2}, {10, 160, false, 5, 0},  {63, 127, false, 0, 5},
        {63, 126, false, 0, 0}, {64, 1000, false, 0, 0}, {1, 1000, true, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        int64_t ms =
            recorder_linger_ms(cases[i].ended, cases[i].in_work, cases[i].any_failed, 1000, 1000 + cases[i].waited_ms);

        if ((ms > 0 ? ms : 0) != cases[i].more_ms) {
            fail_msg("%zu ended of %zu after %d ms: waits %d ms", cases[i].ended, cases[i].in_work,
                     (int)cases[i].waited_ms, (int)ms);
        }
    }
    /* what was put back ended long ago */
    assert_true(recorder_linger_ms(1, 1000, false, 0, 1000) <= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linger)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
