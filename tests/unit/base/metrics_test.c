#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

/* The part of the exposition that belongs to one family; families cannot be removed, so the tests share them. */
static char *render_family(const char *name)
{
    char *begin_mark = mem_printf("# HELP %s ", name);
    struct buf out;
    const char *begin;
    const char *end;
    char *part;

    buf_init(&out, 4 * 1024 * 1024);
    metrics_render(&out);
    assert_false(out.failed);
    begin = strstr(buf_text(&out), begin_mark);
    assert_non_null(begin);
    end = strstr(begin + 1, "# HELP ");
    part = end != NULL ? mem_strndup(begin, (size_t)(end - begin)) : mem_strdup(begin);
    mem_free(begin_mark);
    buf_free(&out);
    return part;
}

static void assert_family(const char *name, const char *expected)
{
    char *text = render_family(name);

    assert_string_equal(text, expected);
    mem_free(text);
}

static void test_counter(void **state)
{
    struct metric *m = metric_counter("t_events_total", "Events by source.", "source,result");

    (void)state;
    assert_family("t_events_total", "# HELP t_events_total Events by source.\n# TYPE t_events_total counter\n");
    metric_add(m, 1, "popp", "stored", NULL, NULL);
    metric_add(m, 2, "popp", "duplicate", NULL, NULL);
    metric_add(m, 1234567889, "popp", "stored", NULL, NULL);
    metric_add(m, -5, "popp", "stored", NULL, NULL);
    metric_add(m, (double)NAN, "popp", "stored", NULL, NULL);
    metric_set(m, 7, "popp", "stored", NULL, NULL);
    metric_observe(m, 7, "popp", "stored", NULL, NULL);
    metric_refill_begin(m);
    metric_refill_end(m);
    assert_family("t_events_total", "# HELP t_events_total Events by source.\n# TYPE t_events_total counter\n"
                                    "t_events_total{source=\"popp\",result=\"stored\"} 1234567890\n"
                                    "t_events_total{source=\"popp\",result=\"duplicate\"} 2\n");
    assert_ptr_equal(metric_counter("t_events_total", "again", ""), m);
}

static void test_gauge(void **state)
{
    struct metric *m = metric_gauge("t_waiting", "Waiting\\now,\nnot later.", "");

    (void)state;
    metric_set(m, 3, NULL, NULL, NULL, NULL);
    metric_add(m, -1.5, NULL, NULL, NULL, NULL);
    metric_observe(m, 9, NULL, NULL, NULL, NULL);
    assert_family("t_waiting",
                  "# HELP t_waiting Waiting\\\\now,\\nnot later.\n# TYPE t_waiting gauge\nt_waiting 1.5\n");
    metric_refill_begin(m);
    metric_refill_end(m);
    assert_family("t_waiting", "# HELP t_waiting Waiting\\\\now,\\nnot later.\n# TYPE t_waiting gauge\n");
    metric_set(m, 4, NULL, NULL, NULL, NULL);
    assert_family("t_waiting", "# HELP t_waiting Waiting\\\\now,\\nnot later.\n# TYPE t_waiting gauge\nt_waiting 4\n");
}

static void test_a_refilled_gauge_is_never_empty(void **state)
{
    struct metric *m = metric_gauge("t_refilled", "r", "n");
    static const char full[] = "# HELP t_refilled r\n# TYPE t_refilled gauge\n"
                               "t_refilled{n=\"0\"} 0\nt_refilled{n=\"1\"} 1\nt_refilled{n=\"2\"} 2\n";
    char *text;

    (void)state;
    for (int i = 0; i < 3; i++)
        metric_set(m, i, num_text(i).s, NULL, NULL, NULL);
    metric_refill_begin(m);
    assert_family("t_refilled", full);
    metric_set(m, 7, "1", NULL, NULL, NULL);
    metric_set(m, 8, "new", NULL, NULL, NULL);
    metric_refill_end(m);
    assert_family("t_refilled", "# HELP t_refilled r\n# TYPE t_refilled gauge\n"
                                "t_refilled{n=\"1\"} 7\nt_refilled{n=\"new\"} 8\n");
    /* what is left is still found, also after the table has grown */
    metric_refill_begin(m);
    for (int i = 0; i < 100; i++)
        metric_set(m, i, num_text(i).s, NULL, NULL, NULL);
    metric_refill_end(m);
    metric_set(m, 5, "99", NULL, NULL, NULL);
    assert_true(metric_sum(m, NULL, NULL) == 4950 - 99 + 5);
    text = render_family("t_refilled");
    assert_null(strstr(text, "new"));
    mem_free(text);
}

static void test_reading_back(void **state)
{
    static const double bounds[] = {1};
    struct metric *m = metric_counter("t_read_total", "r", "source,result");
    struct metric *h = metric_histogram("t_read_seconds", "r", "source", bounds, 1);
    struct metric_observed seen;

    (void)state;
    metric_add(m, 1, "popp", "stored", NULL, NULL);
    metric_add(m, 2, "other", "stored", NULL, NULL);
    metric_add(m, 4, "popp", "duplicate", NULL, NULL);
    assert_true(metric_sum(m, "result", "stored") == 3);
    assert_true(metric_sum(m, "source", "popp") == 5);
    assert_true(metric_sum(m, NULL, NULL) == 7);
    assert_true(metric_sum(m, "result", "never") == 0);
    assert_true(metric_sum(m, "no such label", "stored") == 0);
    assert_true(metric_sum(NULL, NULL, NULL) == 0);
    assert_ptr_equal(metric_lookup("t_read_total"), m);
    assert_null(metric_lookup("t_never_declared"));

    assert_int_equal(metric_observed(NULL).count, 0);
    assert_int_equal(metric_observed(m).count, 0);
    metric_observe(h, 0.5, "popp", NULL, NULL, NULL);
    metric_observe(h, 3, "other", NULL, NULL, NULL);
    seen = metric_observed(h);
    assert_int_equal(seen.count, 2);
    assert_true(seen.sum == 3.5 && seen.longest == 3);
    metric_observe(h, 2, "other", NULL, NULL, NULL);
    seen = metric_observed(h);
    assert_int_equal(seen.count, 3);
    assert_true(seen.sum == 5.5 && seen.longest == 2);
    assert_true(metric_observed(h).longest == 0);
}

static void test_numbers(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-3, "-3"},
        {999999999999999, "999999999999999"},
        {1e15, "1e+15"},
        {0.1, "0.1"},
        {1.0 / 3, "0.33333333333333331"},
        {0.000001, "1e-06"},
        {HUGE_VAL, "+Inf"},
        {-HUGE_VAL, "-Inf"},
        {(double)NAN, "NaN"},
    };
    struct metric *m = metric_gauge("t_number", "n", "");

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *expected = mem_printf("# HELP t_number n\n# TYPE t_number gauge\nt_number %s\n", cases[i].text);

        metric_set(m, cases[i].value, NULL, NULL, NULL, NULL);
        assert_family("t_number", expected);
        mem_free(expected);
    }
}

static void test_label_values_are_escaped(void **state)
{
    struct metric *m = metric_gauge("t_escape", "e", "a,b");

    (void)state;
    metric_set(m, 1, "x\"y\\z\n} 5", NULL, NULL, NULL);
    assert_family("t_escape", "# HELP t_escape e\n# TYPE t_escape gauge\n"
                              "t_escape{a=\"x\\\"y\\\\z\\n} 5\",b=\"\"} 1\n");
}

static void test_histogram(void **state)
{
    static const double bounds[] = {0.005, 0.1, 1};
    struct metric *m = metric_histogram("t_seconds", "h", "source", bounds, ATS_COUNT(bounds));
    struct metric *bare = metric_histogram("t_bare_seconds", "h", "", bounds, 1);

    (void)state;
    metric_observe(m, 0.005, "popp", NULL, NULL, NULL); /* a bound belongs to its bucket */
    metric_observe(m, 0.0051, "popp", NULL, NULL, NULL);
    metric_observe(m, 0.5, "popp", NULL, NULL, NULL);
    metric_observe(m, 20, "popp", NULL, NULL, NULL);
    metric_observe(m, (double)NAN, "popp", NULL, NULL, NULL);
    metric_add(m, 1, "popp", NULL, NULL, NULL);
    metric_set(m, 1, "popp", NULL, NULL, NULL);
    assert_family("t_seconds", "# HELP t_seconds h\n# TYPE t_seconds histogram\n"
                               "t_seconds_bucket{source=\"popp\",le=\"0.005\"} 1\n"
                               "t_seconds_bucket{source=\"popp\",le=\"0.1\"} 2\n"
                               "t_seconds_bucket{source=\"popp\",le=\"1\"} 3\n"
                               "t_seconds_bucket{source=\"popp\",le=\"+Inf\"} 4\n"
                               "t_seconds_sum{source=\"popp\"} 20.5101\n"
                               "t_seconds_count{source=\"popp\"} 4\n");
    metric_observe(bare, 2, NULL, NULL, NULL, NULL);
    assert_family("t_bare_seconds", "# HELP t_bare_seconds h\n# TYPE t_bare_seconds histogram\n"
                                    "t_bare_seconds_bucket{le=\"0.005\"} 0\n"
                                    "t_bare_seconds_bucket{le=\"+Inf\"} 1\n"
                                    "t_bare_seconds_sum 2\n"
                                    "t_bare_seconds_count 1\n");
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; *text != '\0'; text++)
        lines += *text == '\n' ? 1 : 0;
    return lines;
}

static void test_series_are_bounded(void **state)
{
    struct metric *m = metric_counter("t_many_total", "m", "a,b");
    char *text;

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2500; i++)
            metric_add(m, 1, num_text(i).s, "x", NULL, NULL);
    }
    text = render_family("t_many_total");
    assert_int_equal(count_lines(text), 2 + 2000 + 1);
    assert_non_null(strstr(text, "\nt_many_total{a=\"0\",b=\"x\"} 2\n"));
    assert_non_null(strstr(text, "\nt_many_total{a=\"1999\",b=\"x\"} 2\n"));
    assert_null(strstr(text, "{a=\"2000\""));
    assert_non_null(strstr(text, "\nt_many_total{a=\"other\",b=\"other\"} 1000\n"));
    mem_free(text);
}

static void test_families_keep_their_order(void **state)
{
    struct buf out;
    const char *first;

    (void)state;
    (void)metric_gauge("t_z_first", "z", "");
    (void)metric_gauge("t_a_second", "a", "");
    buf_init(&out, 4 * 1024 * 1024);
    metrics_render(&out);
    first = strstr(buf_text(&out), "# TYPE t_z_first gauge\n");
    assert_non_null(first);
    assert_non_null(strstr(first, "# TYPE t_a_second gauge\n"));
    buf_free(&out);
}

static void *add_many(void *arg)
{
    for (int i = 0; i < 10000; i++)
        metric_add(arg, 1, num_text(i % 50).s, NULL, NULL, NULL);
    return NULL;
}

static void test_threads_lose_nothing(void **state)
{
    struct metric *m = metric_counter("t_threads_total", "t", "n");
    pthread_t threads[4];
    char *text;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, m), 0);
    for (size_t i = 0; i < ATS_COUNT(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    text = render_family("t_threads_total");
    assert_int_equal(count_lines(text), 2 + 50);
    assert_non_null(strstr(text, "\nt_threads_total{n=\"49\"} 800\n"));
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter),
        cmocka_unit_test(test_gauge),
        cmocka_unit_test(test_a_refilled_gauge_is_never_empty),
        cmocka_unit_test(test_reading_back),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_label_values_are_escaped),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_series_are_bounded),
        cmocka_unit_test(test_families_keep_their_order),
        cmocka_unit_test(test_threads_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
