#include "domain/glance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_sentences(void **state)
{
    static const struct {
        struct glance_facts facts;
        enum glance_level level;
        const char *headline, *sentence;
    } cases[] = {
        {{.ready = true}, GLANCE_OK, "All is well", "Nothing has come in during the last hour. Nothing waits."},
        {{.ready = true, .events = 1, .writes = 12, .waiting = 1, .oldest_due_seconds = 299},
         GLANCE_OK,
         "All is well",
         "In the last hour 1 event came in and 12 writes went out. 1 candidate waits."},
        {{.ready = true, .events = 7, .waiting = 3},
         GLANCE_OK,
         "All is well",
         "In the last hour 7 events came in and no writes went out. 3 candidates wait."},
        {{.ready = true, .warnings = 1, .worst = "Workflow w is not in the configuration."},
         GLANCE_ATTENTION,
         "Worth a look",
         "1 warning: Workflow w is not in the configuration."},
        {{.ready = true, .warnings = 2, .worst = "A."}, GLANCE_ATTENTION, "Worth a look", "2 warnings, the first: A."},
        {{.ready = true, .warnings = 2}, GLANCE_ATTENTION, "Worth a look", "2 warnings."},
        {{.ready = true, .warnings = 2, .worst = "A.", .waiting = 5, .oldest_due_seconds = 300},
         GLANCE_ATTENTION,
         "Slow",
         "A candidate has been due for 5 min: delivery does not keep up. Nothing has come in during the last hour. 5 "
         "candidates wait."},
        {{.ready = true, .errors = 1, .warnings = 4, .worst = "Connector ats is stopped.", .oldest_due_seconds = 9999},
         GLANCE_TROUBLE,
         "Trouble",
         "1 problem: Connector ats is stopped."},
        {{.ready = false, .reason = "the database does not answer", .errors = 3, .worst = "A."},
         GLANCE_NOT_READY,
         "Not ready",
         "The database does not answer. Webhooks are answered 503 and have to be sent again."},
        {{.ready = false, .reason = "is it running?"},
         GLANCE_NOT_READY,
         "Not ready",
         "Is it running? Webhooks are answered 503 and have to be sent again."},
        {{.ready = false},
         GLANCE_NOT_READY,
         "Not ready",
         "The reason is not known. Webhooks are answered 503 and have to be sent again."},
    };
    struct arena *arena = arena_new();

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct glance g = glance_of(&cases[i].facts, arena);

        assert_string_equal(g.sentence, cases[i].sentence);
        assert_string_equal(g.headline, cases[i].headline);
        assert_int_equal(g.level, cases[i].level);
    }
    arena_free(arena);
}

static void test_levels(void **state)
{
    (void)state;
    assert_string_equal(glance_level_name(GLANCE_OK), "ok");
    assert_string_equal(glance_level_name(GLANCE_ATTENTION), "attention");
    assert_string_equal(glance_level_name(GLANCE_TROUBLE), "trouble");
    assert_string_equal(glance_level_name(GLANCE_NOT_READY), "not_ready");
}

static void test_durations(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {-5, "0 s"},      {0, "0 s"},         {59, "59 s"},           {60, "1 min"},
        {3599, "59 min"}, {3600, "1 h"},      {3660, "1 h 1 min"},    {86399, "23 h 59 min"},
        {86400, "1 d"},   {90000, "1 d 1 h"}, {400 * 86400, "400 d"},
    };
    struct arena *arena = arena_new();

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_string_equal(glance_duration(cases[i].seconds, arena), cases[i].text);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_durations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
