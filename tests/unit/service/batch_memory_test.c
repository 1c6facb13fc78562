/* Who is known to be large, and when there is room for more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "service/batch_memory.h"

enum { MAX_BYTES = 1 << 20, MANY = 300 };

static struct claimed someone(struct arena *arena, int i)
{
    return (struct claimed){.source = "popp", .connector = "ats", .ref = arena_printf(arena, "x:c%d", i)};
}

static void who_is_large_is_remembered(void **state)
{
    struct memory_use *u = memory_use_new();
    struct arena *arena = arena_new();
    struct claimed who[] = {someone(arena, 1), someone(arena, 2), someone(arena, 3)};
    struct claimed same_name = {.source = "other", .connector = "ats", .ref = "x:c2"};
    struct claim_batch all = {.items = who, .count = 3}, others = {.items = who, .count = 1};

    (void)state;
    assert_false(memory_use_any_known_large(u, &all));
    memory_use_know_large(u, &who[1], true);
    memory_use_know_large(u, &who[1], true);
    assert_true(memory_use_is_known_large(u, &who[1]));
    assert_false(memory_use_is_known_large(u, &who[0]));
    assert_false(memory_use_is_known_large(u, &same_name));
    assert_true(memory_use_any_known_large(u, &all));
    assert_false(memory_use_any_known_large(u, &others));
    memory_use_know_large(u, &who[1], false); /* it was told once */
    assert_false(memory_use_any_known_large(u, &all));
    arena_free(arena);
    memory_use_free(u);
}

/* Who does not fit in is found out again; nobody who is not large is taken for it. */
static void as_many_as_there_is_room_for(void **state)
{
    struct memory_use *u = memory_use_new();
    struct arena *arena = arena_new();
    struct claimed last = {0};
    unsigned known = 0;

    (void)state;
    for (int i = 0; i < MANY; i++) {
        last = someone(arena, i);
        memory_use_know_large(u, &last, true);
        assert_true(memory_use_is_known_large(u, &last));
    }
    for (int i = 0; i < 2 * MANY; i++) {
        struct claimed who = someone(arena, i);
        bool is_known = memory_use_is_known_large(u, &who);

        assert_false(is_known && i >= MANY);
        known += is_known;
    }
    assert_in_range(known, MANY / 2, 256);
    arena_free(arena);
    memory_use_free(u);
}

static struct batch_memory *batch_of(struct memory_use *u, size_t bytes, bool is_large)
{
    struct batch_memory *m = batch_memory_new(u, NULL);

    m->claim.arena = arena_new();
    memset(arena_alloc(m->claim.arena, bytes), 0, bytes);
    m->is_large = is_large;
    batch_memory_count(m);
    return m;
}

static void one_large_one_is_in_work_beside_the_others(void **state)
{
    struct memory_use *u = memory_use_new();
    size_t room = 2 * STORE_LOAD_MEMORY(memory_use_load_max(MAX_BYTES, false));
    struct batch_memory *large, *second, *small;

    (void)state;
    assert_int_equal(memory_use_load_max(MAX_BYTES, true), MAX_BYTES);
    large = batch_of(u, 2 * room, true);
    assert_true(memory_use_large_in_work(u));
    assert_true(memory_use_has_room(u, MAX_BYTES)); /* what it takes is not the others' */
    small = batch_of(u, room / 2, false);
    assert_true(memory_use_has_room(u, MAX_BYTES));
    second = batch_of(u, room, true); /* somebody was faster: it counts with the others */
    assert_false(memory_use_has_room(u, MAX_BYTES));
    batch_memory_ref(second); /* a job of it */
    batch_memory_unref(second);
    assert_false(memory_use_has_room(u, MAX_BYTES));
    batch_memory_unref(second);
    assert_true(memory_use_has_room(u, MAX_BYTES));
    assert_true(memory_use_large_in_work(u));
    batch_memory_unref(large);
    assert_false(memory_use_large_in_work(u));
    batch_memory_unref(small);
    memory_use_free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_large_is_remembered),
        cmocka_unit_test(as_many_as_there_is_room_for),
        cmocka_unit_test(one_large_one_is_in_work_beside_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
