/* What has been done since it was written down last, out of the metrics' counters. */
#include "service/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/metrics.h"

static void assert_activity(const struct activity *a, const int64_t expected[10])
{
    const int64_t is[] = {a->events, a->duplicates,   a->refused, a->writes, a->failed_writes,
                          a->calls,  a->failed_calls, a->synced,  a->lag_ms, a->longest_lag_ms};

    for (size_t i = 0; i < ATS_COUNT(is); i++) {
        if (is[i] != expected[i]) {
            fail_msg("figure %zu is %lld, not %lld", i, (long long)is[i], (long long)expected[i]);
        }
    }
}

/* A daemon that only receives has no metrics of delivery. */
static void test_nothing_has_been_done(void **state)
{
    struct tally t = {0};
    struct activity a;

    (void)state;
    assert_false(tally_difference(&t, &a));
    assert_activity(&a, (const int64_t[10]){0});
}

static void test_what_is_added_up(void **state)
{
    static const double bounds[] = {1};
    struct metric *received = metric_counter("atsyncd_events_received_total", "e", "source,type,result");
    struct metric *writes = metric_counter("atsyncd_writes_total", "w", "connector,kind,result");
    struct metric *calls = metric_counter("atsyncd_ats_requests_total", "c", "connector,method,code,outcome");
    struct metric *lag = metric_histogram("atsyncd_sync_lag_seconds", "l", "connector", bounds, 1);
    struct tally t = {0};
    struct activity a;

    (void)state;
    metric_add(received, 3, "popp", "A", "stored", NULL);
    metric_add(received, 2, "other", "B", "stored", NULL);
    metric_add(received, 1, "popp", "A", "duplicate", NULL);
    metric_add(received, 9, "popp", "A", "erased", NULL); /* neither kept nor refused */
    metric_add(received, 4, "popp", "unknown", "unauthorized", NULL);
    metric_add(received, 1, "popp", "A", "unavailable", NULL);
    metric_add(writes, 7, "ats", "note", "applied", NULL);
    metric_add(writes, 1, "ats", "note", "pending", NULL);
    metric_add(writes, 1, "ats", "stage", "dead", NULL);
    metric_add(writes, 5, "ats", "stage", "skipped", NULL);
    metric_add(calls, 6, "ats", "PUT", "200", "ok");
    metric_add(calls, 1, "ats", "PUT", "409", "already");
    metric_add(calls, 2, "ats", "GET", "404", "lookup");
    metric_add(calls, 2, "ats", "PUT", "500", "retry");
    metric_observe(lag, 0.25, "ats", NULL, NULL, NULL);
    metric_observe(lag, 4.5, "ats", NULL, NULL, NULL);
    assert_true(tally_difference(&t, &a));
    assert_activity(&a, (const int64_t[]){5, 1, 5, 7, 2, 11, 2, 2, 4750, 4500});

    /* it could not be written down: nothing is lost, the longest neither */
    metric_add(received, 1, "popp", "A", "stored", NULL);
    assert_true(tally_difference(&t, &a));
    assert_activity(&a, (const int64_t[]){6, 1, 5, 7, 2, 11, 2, 2, 4750, 4500});
    tally_written(&t, &a);

    assert_false(tally_difference(&t, &a));
    assert_activity(&a, (const int64_t[10]){0});
    metric_observe(lag, 2, "ats", NULL, NULL, NULL);
    assert_true(tally_difference(&t, &a));
    assert_activity(&a, (const int64_t[]){0, 0, 0, 0, 0, 0, 0, 1, 2000, 2000});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_has_been_done),
        cmocka_unit_test(test_what_is_added_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
