#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_strings(void **state)
{
    char *s;

    (void)state;
    assert_null(mem_strdup(NULL));
    s = mem_strdup("text");
    assert_string_equal(s, "text");
    mem_free(s);
    s = mem_strndup("text", 2);
    assert_string_equal(s, "te");
    mem_free(s);
    s = mem_strndup(NULL, 0);
    assert_string_equal(s, "");
    mem_free(s);
    s = mem_printf("%s-%d", "a", 5);
    assert_string_equal(s, "a-5");
    mem_free_secret(s);
    mem_free_secret(NULL);
    mem_free(NULL);
}

static void test_arrays(void **state)
{
    uint32_t *numbers = mem_array(3, sizeof *numbers);

    (void)state;
    assert_int_equal(numbers[0] | numbers[1] | numbers[2], 0);
    numbers[2] = 9;
    numbers = mem_grow(numbers, 1000, sizeof *numbers);
    assert_int_equal(numbers[2], 9);
    mem_free(numbers);
    mem_free(mem_alloc(0));
    mem_free(mem_grow(NULL, 0, 8));
}

static void test_wipe(void **state)
{
    char secret[8] = "secret!";
    static const char zeros[8];

    (void)state;
    mem_wipe(secret, sizeof secret);
    assert_memory_equal(secret, zeros, sizeof secret);
    mem_wipe(NULL, 0);
}

/* The policy of the header: the process ends with status 1 and says why. */
static void test_exhaustion_ends_the_process(void **state)
{
    char said[200] = "";
    int status = 0;
    int fds[2];
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(fds[1], STDERR_FILENO);
        (void)mem_array(SIZE_MAX / 2, 3);
        _exit(0);
    }
    (void)close(fds[1]);
    assert_true(read(fds[0], said, sizeof said - 1) > 0);
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_string_equal(said, "level=error msg=\"out of memory, the process ends; nothing acknowledged is lost\"\n");
}

static void test_arena_is_zeroed_and_aligned(void **state)
{
    struct arena *a = arena_new();

    (void)state;
    for (int round = 0; round < 2; round++) { /* the second one gets bytes that were used before */
        for (size_t size = 0; size < 300; size++) {
            unsigned char *p = arena_alloc(a, size);

            assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xAA, size);
        }
        arena_reset(a);
    }
    arena_free(a);
    arena_free(NULL);
}

/* Pieces of any size keep their bytes while others are allocated, also those larger than a block. */
static void test_arena_keeps_pieces_apart(void **state)
{
    static const size_t sizes[] = {1, 16 * 1024, 15, 16 * 1024 + 1, 3 * 1024 * 1024, 8, 100000, 17};
    unsigned char *pieces[ATS_COUNT(sizes)];
    struct arena *a = arena_new();

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(sizes); i++) {
        pieces[i] = arena_alloc(a, sizes[i]);
        memset(pieces[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < ATS_COUNT(sizes); i++) {
        assert_int_equal(pieces[i][0], i + 1);
        assert_int_equal(pieces[i][sizes[i] - 1], i + 1);
    }
    arena_free(a);
}

static void test_arena_strings(void **state)
{
    struct arena *a = arena_new();
    char *kept = arena_printf(a, "%s/%d", "node", 7);

    (void)state;
    assert_null(arena_strdup(a, NULL));
    assert_string_equal(arena_strdup(a, "abc"), "abc");
    assert_string_equal(arena_strndup(a, "abc", 1), "a");
    assert_string_equal(arena_strndup(a, NULL, 0), "");
    assert_int_equal(strlen(arena_printf(a, "%*s", 40000, "x")), 40000);
    assert_string_equal(kept, "node/7");
    arena_free(a);
}

static void test_arena_knows_its_size(void **state)
{
    struct arena *a = arena_new();
    size_t empty = arena_bytes(a);

    (void)state;
    assert_true(arena_has_room(a, SIZE_MAX - empty));
    (void)arena_alloc(a, 1000);
    assert_int_equal(arena_bytes(a), empty); /* of the block that it has */
    (void)arena_alloc(a, 1000000);
    assert_true(arena_bytes(a) >= empty + 1000000);
    arena_set_max(a, arena_bytes(a) + 10);
    assert_true(arena_has_room(a, 10));
    assert_false(arena_has_room(a, 11));
    (void)arena_alloc(a, 1000000); /* goes on all the same */
    assert_false(arena_has_room(a, 0));
    assert_false(arena_has_room(a, SIZE_MAX));
    arena_reset(a);
    assert_int_equal(arena_bytes(a), empty);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_wipe),
        cmocka_unit_test(test_exhaustion_ends_the_process),
        cmocka_unit_test(test_arena_is_zeroed_and_aligned),
        cmocka_unit_test(test_arena_keeps_pieces_apart),
        cmocka_unit_test(test_arena_strings),
        cmocka_unit_test(test_arena_knows_its_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
