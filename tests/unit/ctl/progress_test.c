#include "ctl/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_line(void **state)
{
    static const struct {
        int64_t done, total;
        double per_second;
        size_t width;
        const char *line;
    } cases[] = {
        {0, 10, 0, 80, "importing 0 of 10 (0%)"},
        {999, 1000, 100, 80, "importing 999 of 1,000 (99%), 100/s, 0s left"}, /* not yet all */
        {1234, 10000, 56.2, 80, "importing 1,234 of 10,000 (12%), 56/s, 2m36s left"},
        {1234567, 23456789, 1234.5, 80, "importing 1,234,567 of 23,456,789 (5%), 1,235/s, 5h00m left"},
        {5, 1000000, 9.94, 80, "importing 5 of 1,000,000 (0%), 9.9/s, more than a day left"},
        {5, 1000000, 1e-300, 80, "importing 5 of 1,000,000 (0%), 0.0/s, more than a day left"},
        {10, 10, 3, 80, "importing 10 of 10 (100%), 3.0/s"},
        {12, 10, 3, 80, "importing 12 of 12 (100%), 3.0/s"}, /* more came than were counted */
        {7, -1, 0, 80, "importing 7"},                       /* a pipe */
        {1007, -1, 12, 80, "importing 1,007, 12/s"},
        {0, 0, 0, 80, "importing 0"},
        {1234, 10000, 56, 20, "importing 1,234 of 1"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct buf b;

        buf_init(&b, 1000);
        progress_line("importing", cases[i].done, cases[i].total, cases[i].per_second, cases[i].width, &b);
        assert_string_equal(buf_text(&b), cases[i].line);
        buf_free(&b);
    }
}

static void assert_pace(struct progress_pace *pace, int64_t done, int64_t now_ms, int expected)
{
    double per_second = progress_pace_at(pace, done, now_ms);

    assert_int_equal((int)(per_second + 0.5), expected);
}

/* 100 a second for 20 s, then 10 a second: after two stretches only those count. */
static void test_pace(void **state)
{
    struct progress_pace pace;

    (void)state;
    progress_pace_begin(&pace, 1000);
    assert_pace(&pace, 0, 1000, 0);
    assert_pace(&pace, 50, 1500, 0); /* too early to tell */
    assert_pace(&pace, 100, 2000, 100);
    for (int64_t s = 2; s <= 20; s++)
        assert_pace(&pace, s * 100, 1000 + s * 1000, 100);
    for (int64_t s = 1; s <= 10; s++)
        (void)progress_pace_at(&pace, 2000 + s * 10, 21000 + s * 1000);
    assert_pace(&pace, 2110, 32000, 10);
    /* nothing goes on: nothing to foretell from */
    for (int64_t s = 1; s <= 10; s++)
        (void)progress_pace_at(&pace, 2110, 32000 + s * 1000);
    assert_pace(&pace, 2110, 43000, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_pace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
