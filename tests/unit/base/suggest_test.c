#include "base/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_suggest(void **state)
{
    static const char *const names[] = {"listen",          "max_body", "max_connections", "tls", NULL,
                                        "PASSED_CRITERIA", "mean"};
    static const struct {
        const char *word;
        const char *meant;
    } cases[] = {
        {"listn", "listen"},
        {"lisetn", "listen"},
        {"max-body", "max_body"},
        {"MAX_BODY", "max_body"},
        {"max_conn", "max_connections"},
        {"passed", "PASSED_CRITERIA"},
        {"PASSED_CRITERA", "PASSED_CRITERIA"},
        {"tsl", NULL}, /* two letters of three */
        {"tl", "tls"},
        {"a", NULL},
        {"", NULL},
        {"something else", NULL},
        {"listen-listen-listen-listen-listen-listen-listen-listen-listen-listen", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *meant = suggest(cases[i].word, names, ATS_COUNT(names));
        if (cases[i].meant == NULL)
            assert_null(meant);
        else
            assert_string_equal(meant, cases[i].meant);
    }
    assert_null(suggest("listen", names, 0));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_suggest)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
