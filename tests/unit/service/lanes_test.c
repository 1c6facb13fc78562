/* What one candidate showed about a wish that does not fit the ATS, and how the others learn that it fits now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/json.h"
#include "service/lanes.h"

enum { MINUTE_MS = 60000, AGAIN_MS = 5000, TRY_MS = 30000, NOW_MS = 1000000 };

struct fixture {
    struct lanes *lanes;
    struct lane *lane;
    struct arena *arena;
    struct json *value;
    struct desired wish;
};

static struct desired stage(struct json *value)
{
    return (struct desired){.kind = WRITE_STAGE, .target = "stage", .value = value, .workflow_external_id = "nurses"};
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    f->lanes = lanes_new();
    f->lane = lanes_of(f->lanes, "ats");
    f->arena = arena_new();
    f->value = json_string("Screen");
    f->wish = stage(f->value);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    json_free(f->value);
    arena_free(f->arena);
    lanes_free(f->lanes);
    mem_free(f);
    return 0;
}

static void fails(struct fixture *f, int64_t now_ms)
{
    lane_remember_misfit(f->lane, NULL, &f->wish, now_ms, "there is no stage \"Screen\"");
}

static enum lane_answer ask(struct fixture *f, bool is_again, int64_t now_ms)
{
    const char *error = NULL;
    enum lane_answer answer = lane_ask(f->lane, &f->wish, is_again, now_ms, f->arena, &error);

    if (answer == LANE_REFUSE)
        assert_string_equal(error, "there is no stage \"Screen\"");
    else
        assert_null(error);
    return answer;
}

static void one_failure_speaks_for_all_that_wish_the_same(void **state)
{
    struct fixture *f = *state;
    struct json *other = json_string("Offer");
    struct desired other_wish = stage(other);
    const char *error = NULL;

    assert_int_equal(ask(f, false, NOW_MS), LANE_TRY);
    assert_int_equal(ask(f, false, NOW_MS), LANE_TRY); /* nothing is known yet */
    fails(f, NOW_MS);
    assert_int_equal(ask(f, false, NOW_MS + 1), LANE_REFUSE);
    assert_int_equal(lane_ask(f->lane, &other_wish, false, NOW_MS + 1, f->arena, &error), LANE_TRY);
    json_free(other);
}

static void a_minute_later_one_tries(void **state)
{
    struct fixture *f = *state;

    fails(f, NOW_MS);
    assert_int_equal(ask(f, false, NOW_MS + MINUTE_MS - 1), LANE_REFUSE);
    assert_int_equal(ask(f, false, NOW_MS + MINUTE_MS), LANE_TRY);
    assert_int_equal(ask(f, false, NOW_MS + MINUTE_MS), LANE_WAIT);
    fails(f, NOW_MS + MINUTE_MS + 100);
    assert_int_equal(ask(f, false, NOW_MS + MINUTE_MS + 101), LANE_REFUSE);
    assert_int_equal(ask(f, false, NOW_MS + 2 * MINUTE_MS + 100), LANE_TRY);
    lane_forget_misfit(f->lane, &f->wish); /* it came true */
    assert_int_equal(ask(f, false, NOW_MS + 2 * MINUTE_MS + 200), LANE_TRY);
    assert_int_equal(ask(f, false, NOW_MS + 2 * MINUTE_MS + 200), LANE_TRY);
}

static void who_asks_for_it_need_not_wait(void **state)
{
    struct fixture *f = *state;

    fails(f, NOW_MS);
    assert_int_equal(ask(f, true, NOW_MS + 1), LANE_TRY);
    assert_int_equal(ask(f, true, NOW_MS + 1), LANE_WAIT);
    fails(f, NOW_MS + 100); /* the others are not tried one by one */
    assert_int_equal(ask(f, true, NOW_MS + 1100), LANE_REFUSE);
    assert_int_equal(ask(f, true, NOW_MS + 100 + AGAIN_MS), LANE_TRY);
}

static void a_try_of_which_nothing_is_heard_is_given_up(void **state)
{
    struct fixture *f = *state;

    fails(f, NOW_MS);
    assert_int_equal(ask(f, true, NOW_MS), LANE_TRY);
    assert_int_equal(ask(f, true, NOW_MS + TRY_MS - 1), LANE_WAIT);
    assert_int_equal(ask(f, true, NOW_MS + TRY_MS), LANE_TRY);
}

/* The candidate of the try was not found, say: the next one tries. */
static void a_try_that_shows_nothing_makes_nobody_wait(void **state)
{
    struct fixture *f = *state;

    fails(f, NOW_MS);
    assert_int_equal(ask(f, false, NOW_MS + MINUTE_MS), LANE_TRY);
    lane_leave_misfit(f->lane, &f->wish);
    assert_int_equal(ask(f, false, NOW_MS + MINUTE_MS + 1), LANE_TRY);
    assert_int_equal(ask(f, false, NOW_MS + MINUTE_MS + 1), LANE_WAIT);
    fails(f, NOW_MS + MINUTE_MS + 2);
    lane_leave_misfit(f->lane, &f->wish); /* of one that was under way before: what is known stays known */
    assert_int_equal(ask(f, false, NOW_MS + MINUTE_MS + 3), LANE_REFUSE);
}

/* Notes say something different for each candidate. */
static void notes_are_not_remembered(void **state)
{
    struct fixture *f = *state;

    f->wish.kind = WRITE_NOTE;
    fails(f, NOW_MS);
    assert_int_equal(ask(f, false, NOW_MS), LANE_TRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_failure_speaks_for_all_that_wish_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(a_minute_later_one_tries, setup, teardown),
        cmocka_unit_test_setup_teardown(who_asks_for_it_need_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_try_of_which_nothing_is_heard_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_try_that_shows_nothing_makes_nobody_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(notes_are_not_remembered, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
