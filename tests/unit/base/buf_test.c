#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static void test_appends(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_string_equal(buf_text(&b), "");
    buf_puts(&b, "ab");
    buf_putc(&b, 'c');
    buf_puts(&b, NULL);
    buf_add(&b, "d\0e", 3);
    buf_add(&b, NULL, 0);
    buf_printf(&b, "-%d-%s", 42, "x");
    assert_false(b.failed);
    assert_int_equal(b.len, 11);
    assert_memory_equal(b.data, "abcd\0e-42-x", 12);
    buf_free(&b);
    assert_string_equal(buf_text(&b), "");
    assert_int_equal(b.max, 1000);
}

/* All three ways in: the last byte fits, one more fails and stays failed, what was there stays. */
static void test_maximum_is_exact_and_sticky(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        for (size_t max = 0; max < 300; max += 7) {
            struct buf b;

            buf_init(&b, max);
            for (size_t i = 0; i < max; i++) {
                if (way == 0)
                    buf_putc(&b, 'x');
                else if (way == 1)
                    buf_printf(&b, "%c", 'x');
                else
                    buf_add(&b, "x", 1);
            }
            assert_false(b.failed);
            assert_int_equal(b.len, max);
            if (way == 1)
                buf_printf(&b, "%d", 12);
            else
                buf_puts(&b, "12");
            assert_true(b.failed);
            assert_int_equal(b.len, max);
            assert_int_equal(strlen(buf_text(&b)), max);
            buf_puts(&b, ""); /* even what would fit changes nothing any more */
            assert_true(b.failed);
            buf_free(&b);
            assert_false(b.failed);
        }
    }
}

static void test_failed_printf_leaves_no_rest(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    buf_puts(&b, "abc");
    buf_printf(&b, "%s", "defgh");
    assert_true(b.failed);
    assert_string_equal(buf_text(&b), "abc");
    buf_printf(&b, "%s", "d"); /* would fit, but a text with a hole is worse than a short one */
    buf_puts(&b, "d");
    buf_putc(&b, 'd');
    assert_string_equal(buf_text(&b), "abc");
    buf_reset(&b);
    assert_false(b.failed);
    assert_string_equal(buf_text(&b), "");
    buf_printf(&b, "%s", "d");
    assert_string_equal(buf_text(&b), "d");
    buf_free(&b);
}

static void test_take(void **state)
{
    struct buf b;
    char *taken;

    (void)state;
    buf_init(&b, 3);
    taken = buf_take(&b);
    assert_string_equal(taken, "");
    mem_free(taken);
    buf_puts(&b, "abc");
    buf_puts(&b, "d");
    taken = buf_take(&b);
    assert_string_equal(taken, "abc");
    mem_free(taken);
    assert_true(b.failed); /* so that a caller may look after taking */
    assert_int_equal(b.len, 0);
    buf_reset(&b);
    buf_puts(&b, "new");
    assert_string_equal(buf_text(&b), "new");
    buf_free(&b);
}

static void test_without_maximum(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    for (int i = 0; i < 5000; i++)
        buf_printf(&b, "%04d", i);
    assert_false(b.failed);
    assert_int_equal(b.len, 20000);
    assert_string_equal(b.data + 19996, "4999");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_maximum_is_exact_and_sticky),
        cmocka_unit_test(test_failed_printf_leaves_no_rest),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_without_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
