#include "service/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"

enum { MINUTE_MS = 60000, LATER_MS = 1000 * MINUTE_MS };

struct requests {
    unsigned count;
    enum refusal what;
    int64_t ahead_ms;
};

/* "signatures popp, clock_skew popp 720000": what the counts of one moment come to. */
static void expect_problems(struct refusals *r, int64_t now_ms, const char *expected)
{
    struct problem found[8];
    size_t n = refusals_problems(r, now_ms, found, ATS_COUNT(found));
    struct buf told;

    buf_init(&told, 4096);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&told, "%s%s %s", i > 0 ? ", " : "", found[i].class, found[i].source);
        if (found[i].detail) {
            buf_printf(&told, " %s", found[i].detail);
        }
        if (found[i].ahead_ms != 0) {
            buf_printf(&told, " %ld", (long)found[i].ahead_ms);
        }
    }
    assert_string_equal(buf_text(&told), expected);
    buf_free(&told);
}

static void put(struct refusals *r, const char *source, struct requests q, int64_t now_ms)
{
    for (unsigned i = 0; i < q.count; i++) {
        refusals_count(r, source, q.what, q.ahead_ms, now_ms);
    }
}

static void test_threshold(void **state)
{
    static const struct {
        struct requests requests[4];
        const char *problems;
    } cases[] = {
        {{{100, REFUSAL_NONE, 0}}, ""},
        {{{4, REFUSAL_SIGNATURE, 0}}, ""},
        {{{5, REFUSAL_SIGNATURE, 0}}, "signatures popp"},
        {{{5, REFUSAL_SIGNATURE, 0}, {5, REFUSAL_NONE, 0}}, "signatures popp"},
        {{{5, REFUSAL_SIGNATURE, 0}, {6, REFUSAL_NONE, 0}}, ""},
        {{{4, REFUSAL_TIME, 720000}}, ""},
        {{{5, REFUSAL_TIME, 720000}}, "clock_skew popp 720000"},
        {{{5, REFUSAL_TIME, -720000}}, "clock_skew popp -720000"},
        {{{5, REFUSAL_TIME, 720000}, {6, REFUSAL_NONE, 0}}, ""},
        /* the least delayed tells it best */
        {{{4, REFUSAL_TIME, -900000}, {1, REFUSAL_TIME, -400000}, {3, REFUSAL_TIME, -500000}},
         "clock_skew popp -400000"},
        /* together they are a condition, and the greater part gives its name */
        {{{3, REFUSAL_SIGNATURE, 0}, {2, REFUSAL_TIME, 400000}}, "signatures popp"},
        {{{2, REFUSAL_SIGNATURE, 0}, {3, REFUSAL_TIME, 400000}}, "clock_skew popp 400000"},
        {{{3, REFUSAL_SIGNATURE, 0}, {3, REFUSAL_TIME, 400000}}, "signatures popp, clock_skew popp 400000"},
        /* events that have not happened yet */
        {{{100, REFUSAL_NONE, 600000}}, ""},
        {{{5, REFUSAL_NONE, 600001}, {3, REFUSAL_NONE, 3600000}}, "clock_skew popp events 3600000"},
        {{{5, REFUSAL_NONE, 3600000}, {6, REFUSAL_NONE, -3600000}}, ""},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct refusals *r = refusals_new();

        for (size_t k = 0; k < ATS_COUNT(cases[i].requests); k++) {
            put(r, "popp", cases[i].requests[k], LATER_MS);
        }
        expect_problems(r, LATER_MS, cases[i].problems);
        refusals_free(r);
    }
}

static void test_five_minutes(void **state)
{
    struct refusals *r = refusals_new();

    (void)state;
    put(r, "popp", (struct requests){3, REFUSAL_TIME, 720000}, LATER_MS);
    put(r, "popp", (struct requests){2, REFUSAL_TIME, 900000}, LATER_MS + 4 * MINUTE_MS);
    expect_problems(r, LATER_MS + 4 * MINUTE_MS, "clock_skew popp 900000");
    expect_problems(r, LATER_MS + 5 * MINUTE_MS, ""); /* three of the five are too long ago */
    put(r, "popp", (struct requests){3, REFUSAL_TIME, 300000}, LATER_MS + 8 * MINUTE_MS);
    expect_problems(r, LATER_MS + 8 * MINUTE_MS, "clock_skew popp 900000");
    put(r, "popp", (struct requests){2, REFUSAL_TIME, 200000}, LATER_MS + 9 * MINUTE_MS);
    expect_problems(r, LATER_MS + 9 * MINUTE_MS, "clock_skew popp 300000");
    expect_problems(r, LATER_MS + 60 * MINUTE_MS, ""); /* by itself */
    refusals_free(r);
}

static void test_sources(void **state)
{
    struct refusals *r = refusals_new();
    struct problem one[1];

    (void)state;
    put(r, "a", (struct requests){5, REFUSAL_SIGNATURE, 0}, LATER_MS);
    put(r, "b", (struct requests){50, REFUSAL_NONE, 0}, LATER_MS);
    put(r, "c", (struct requests){5, REFUSAL_TIME, 400000}, LATER_MS);
    expect_problems(r, LATER_MS, "clock_skew c 400000, signatures a");
    assert_int_equal(refusals_problems(r, LATER_MS, one, 1), 1);
    refusals_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_five_minutes),
        cmocka_unit_test(test_sources),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
