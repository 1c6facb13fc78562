#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"

static void test_set_formats_and_returns(void **state)
{
    struct errmsg err = {""};

    (void)state;
    assert_int_equal(err_set(&err, ST_LIMIT, "body has %d bytes", 7), ST_LIMIT);
    assert_string_equal(err.text, "body has 7 bytes");
    assert_int_equal(err_set(NULL, ST_IO, "nobody listens"), ST_IO);
}

static void test_set_may_use_its_own_text(void **state)
{
    struct errmsg err = {"old"};

    (void)state;
    (void)err_set(&err, ST_IO, "%s and new", err.text);
    assert_string_equal(err.text, "old and new");
}

static void test_prefix(void **state)
{
    struct errmsg err = {"no such host"};

    (void)state;
    assert_int_equal(err_prefix(&err, ST_IO, "connector %s", "lever"), ST_IO);
    assert_string_equal(err.text, "connector lever: no such host");
    assert_int_equal(err_prefix(NULL, -3, "x"), -3);
}

/* 511 bytes fit; a two-byte letter that would be cut in the middle is left out whole. */
static void test_long_text_is_cut_at_a_letter(void **state)
{
    struct errmsg err;
    char text[600];

    (void)state;
    for (size_t odd = 0; odd < 2; odd++) {
        memset(text, 'a', sizeof text);
        for (size_t i = odd; i + 2 < sizeof text; i += 2)
            memcpy(text + i, "\xc3\xa9", 2);
        text[sizeof text - 1] = '\0';
        (void)err_set(&err, ST_INVALID, "%s", text);
        assert_int_equal(strlen(err.text), odd == 1 ? 511 : 510);
        assert_true(text_is_utf8(err.text, strlen(err.text)));
        (void)err_prefix(&err, ST_INVALID, "field %d", 12);
        assert_true(strlen(err.text) >= 510 && text_is_utf8(err.text, strlen(err.text)));
        assert_true(text_starts(err.text, "field 12: "));
    }
}

static void test_names(void **state)
{
    static const struct {
        int st;
        const char *name;
    } cases[] = {{ST_OK, "ok"},
                 {ST_INVALID, "invalid"},
                 {ST_NOT_FOUND, "not_found"},
                 {ST_LIMIT, "limit"},
                 {ST_IO, "io"},
                 {ST_UNAVAILABLE, "unavailable"},
                 {ST_UNCERTAIN, "uncertain"},
                 {ST_CONFLICT, "conflict"},
                 {ST_DENIED, "denied"},
                 {ST_INTERNAL, "internal"},
                 {-77, "unknown"},
                 {1, "unknown"}};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_string_equal(status_name(cases[i].st), cases[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_formats_and_returns),
        cmocka_unit_test(test_set_may_use_its_own_text),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_long_text_is_cut_at_a_letter),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
