/* The bytes that PostgreSQL is sent; that it takes them for what they are meant to be is asked in tests/db/db_test.c. */
#include "base/db_params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_param(const struct db_params *p, unsigned i, uint32_t type, const char *bytes, size_t len)
{
    assert_true(i < p->count);
    assert_int_equal(p->types[i], type);
    assert_int_equal(p->lengths[i], len);
    if (bytes) {
        assert_memory_equal(p->values[i], bytes, len);
    } else {
        assert_null(p->values[i]);
    }
}

static void test_values(void **state)
{
    struct db_params p;

    (void)state;
    db_params_init(&p);
    db_add_text(&p, "text");
    db_add_text(&p, NULL);
    db_add_i64(&p, -2);
    db_add_i32(&p, 258);
    db_add_bool(&p, true);
    db_add_time(&p, DB_EPOCH_US + 1);
    db_add_time(&p, INT64_MIN);
    db_add_bytes(&p, "\0\1", 2);
    assert_int_equal(p.count, 8);
    assert_param(&p, 0, 25, "text", 4);
    assert_param(&p, 1, 25, NULL, 0);
    assert_param(&p, 2, 20, "\xff\xff\xff\xff\xff\xff\xff\xfe", 8);
    assert_param(&p, 3, 23, "\0\0\1\2", 4);
    assert_param(&p, 4, 16, "\1", 1);
    assert_param(&p, 5, 1184, "\0\0\0\0\0\0\0\1", 8);
    assert_param(&p, 6, 1184, NULL, 0);
    assert_param(&p, 7, 17, "\0\1", 2);
}

/* Dimensions, whether there are nulls, the elements' type, how many, the first one's number; then length and bytes of each. */
#define HEADER(nulls, type, count) "\0\0\0\1\0\0\0" nulls "\0\0" type "\0\0\0" count "\0\0\0\1"

static void assert_array(struct db_array *a, uint32_t type, const char *bytes, size_t len)
{
    struct db_params p;

    db_params_init(&p);
    db_add_array(&p, a);
    assert_param(&p, 0, type, bytes, len);
    db_array_free(a);
}

static void test_arrays(void **state)
{
    static const char texts[] = HEADER("\1", "\0\x19", "\3") "\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0";
    static const char flags[] = HEADER("\0", "\0\x10", "\2") "\0\0\0\1\1\0\0\0\1\0";
    static const char small[] = HEADER("\0", "\0\x17", "\1") "\0\0\0\4\0\0\0\7";
    static const char large[] = HEADER("\1", "\0\x14", "\2") "\0\0\0\x08\0\0\0\0\0\0\0\7\xff\xff\xff\xff";
    static const char times[] = HEADER("\0", "\4\xa0", "\1") "\0\0\0\x08\0\0\0\0\0\0\0\2";
    struct db_array *a = db_array_new(DB_TEXT_ARRAY);

    (void)state;
    db_array_text(a, "forgotten");
    db_array_text(a, NULL);
    db_array_reset(a);
    db_array_text(a, "ab");
    db_array_text(a, NULL);
    db_array_text(a, "");
    assert_array(a, 1009, texts, sizeof texts - 1);
    a = db_array_new(DB_BOOL_ARRAY);
    db_array_i64(a, 5);
    db_array_i64(a, 0);
    assert_array(a, 1000, flags, sizeof flags - 1);
    a = db_array_new(DB_I32_ARRAY);
    db_array_i64(a, 7);
    assert_array(a, 1007, small, sizeof small - 1);
    a = db_array_new(DB_I64_ARRAY);
    db_array_i64(a, 7);
    db_array_i64(a, DB_NULL_I64);
    assert_array(a, 1016, large, sizeof large - 1);
    a = db_array_new(DB_TIME_ARRAY);
    db_array_i64(a, DB_EPOCH_US + 2);
    assert_array(a, 1185, times, sizeof times - 1);
    /* an empty one has no dimension */
    assert_array(db_array_new(DB_BYTES_ARRAY), 1001, "\0\0\0\0\0\0\0\0\0\0\0\x11", 12);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_arrays)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
