/* What was seen lately: known for its time, as far as there is room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/recent.h"

enum { MAX = 4 };

static void each_has_its_time(void **state)
{
    struct recent *r = recent_new(MAX);

    (void)state;
    assert_false(recent_any(r, 0));
    assert_false(recent_has(r, 7, 0));
    recent_add(r, 7, 100);
    recent_add(r, 0, INT64_MAX); /* a hash as any other */
    assert_true(recent_has(r, 7, 99));
    assert_false(recent_has(r, 7, 100));
    assert_true(recent_has(r, 0, INT64_MAX - 1));
    assert_false(recent_has(r, 8, 0));
    recent_add(r, 7, 200); /* once more: one entry, the later time */
    assert_true(recent_has(r, 7, 150));
    recent_remove(r, 7);
    assert_false(recent_has(r, 7, 0));
    assert_true(recent_has(r, 0, 0));
    recent_remove(r, 7); /* it is not there */
    recent_remove(r, 0);
    assert_false(recent_any(r, 0));
    recent_free(r);
    recent_free(NULL);
}

static void what_has_ended_counts_for_nothing(void **state)
{
    struct recent *r = recent_new(MAX);

    (void)state;
    recent_add(r, 1, 10);
    recent_add(r, 2, 20);
    assert_true(recent_any(r, 19));
    assert_false(recent_any(r, 20));
    recent_free(r);
}

static void who_ends_first_makes_room(void **state)
{
    struct recent *r = recent_new(MAX);
    size_t kept = 0;

    (void)state;
    for (uint64_t i = 1; i <= MAX; i++) {
        recent_add(r, i, i == 3 ? 10 : 1000);
    }
    recent_add(r, 50, 1000);
    assert_true(recent_has(r, 50, 0));
    for (uint64_t i = 1; i <= MAX; i++) {
        assert_int_equal(recent_has(r, i, 0), i != 3);
    }
    for (uint64_t i = 100; i < 200; i++) { /* all end together: the newest is always in */
        recent_add(r, i, 1000);
        assert_true(recent_has(r, i, 0));
    }
    for (uint64_t i = 0; i < 200; i++) {
        kept += recent_has(r, i, 0);
    }
    assert_int_equal(kept, MAX);
    recent_free(r);

    r = recent_new(0); /* room for one */
    recent_add(r, 1, 10);
    recent_add(r, 2, 5);
    assert_false(recent_has(r, 1, 0));
    assert_true(recent_has(r, 2, 0));
    recent_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_time),
        cmocka_unit_test(what_has_ended_counts_for_nothing),
        cmocka_unit_test(who_ends_first_makes_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
