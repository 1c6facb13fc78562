#include "base/mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    const char *text, *masked;
} cases[] = {
    {"", ""},
    {"nothing to hide: 12 candidates wait", "nothing to hide: 12 candidates wait"},
    {"jane.doe+jobs@mail.example.com", "***@***"},
    {"Candidate <Jane.O'Neil@example.com> exists already.", "Candidate <***@***> exists already."},
    {"invalid@example", "***@***"},
    {"a@b,c@d; and \"e@f\".", "***@***,***@***; and \"***@***\"."},
    {"jos\xc3\xa9@ex\xc3\xa1mple.com.", "***@***."},
    {"email=x@y.z", "email=***@***"},
    {"a@@b", "a@@b"},
    {"@home or me @ home", "@home or me @ home"},
    {"a@b@c", "***@***@c"},
    {"call +447700900000.", "call +***."},
    {"+44 (0)7700 900-000 or +1.212.555.0100, please", "+*** or +***, please"},
    {"phone:+447700900000x", "phone:+***x"},
    {"+447700900000@sms.example", "***@***"},
    {"2026-05-12T09:34:00.000+01000000", "2026-05-12T09:34:00.000+01000000"},
    {"+1 and +99 999 9 are no numbers", "+1 and +99 999 9 are no numbers"},
    {"+", "+"},
    {"@", "@"},
};

static void test_mask(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        buf_reset(&out);
        mask_people(cases[i].text, strlen(cases[i].text), &out);
        assert_string_equal(buf_text(&out), cases[i].masked);
    }
    buf_free(&out);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_mask)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
