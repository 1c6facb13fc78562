#include "service/tally.h"

#include "base/metrics.h"

static int64_t whole(double n)
{
    return (int64_t)(n + 0.5);
}

static struct activity counted(double *ret_longest_s)
{
    struct metric *received = metric_lookup("atsyncd_events_received_total");
    struct metric *writes = metric_lookup("atsyncd_writes_total");
    struct metric *calls = metric_lookup("atsyncd_ats_requests_total");
    struct metric_observed lag = metric_observed(metric_lookup("atsyncd_sync_lag_seconds"));
    double stored = metric_sum(received, "result", "stored");
    double duplicates = metric_sum(received, "result", "duplicate");
    double erased = metric_sum(received, "result", "erased"); /* taken, and not kept */
    double good_calls = metric_sum(calls, "outcome", "ok") + metric_sum(calls, "outcome", "already") +
                        metric_sum(calls, "outcome", "skip") + metric_sum(calls, "outcome", "lookup");

    *ret_longest_s = lag.longest;
    return (struct activity){
        .events = whole(stored),
        .duplicates = whole(duplicates),
        .refused = whole(metric_sum(received, NULL, NULL) - stored - duplicates - erased),
        .writes = whole(metric_sum(writes, "result", "applied")),
        /* what is wanted no more failed nobody */
        .failed_writes = whole(metric_sum(writes, "result", "pending") + metric_sum(writes, "result", "dead")),
        .calls = whole(metric_sum(calls, NULL, NULL)),
        .failed_calls = whole(metric_sum(calls, NULL, NULL) - good_calls),
        .synced = (int64_t)lag.count,
        .lag_ms = whole(lag.sum * 1000),
    };
}

bool tally_difference(struct tally *t, struct activity *ret)
{
    struct activity *was = &t->written;
    double longest_s;
    struct activity now = counted(&longest_s);
    int64_t longest_ms = whole(longest_s * 1000);

    was->longest_lag_ms = longest_ms > was->longest_lag_ms ? longest_ms : was->longest_lag_ms;
    *ret = (struct activity){
        .events = now.events - was->events,
        .duplicates = now.duplicates - was->duplicates,
        .refused = now.refused - was->refused,
        .writes = now.writes - was->writes,
        .failed_writes = now.failed_writes - was->failed_writes,
        .calls = now.calls - was->calls,
        .failed_calls = now.failed_calls - was->failed_calls,
        .synced = now.synced - was->synced,
        .lag_ms = now.lag_ms - was->lag_ms,
        .longest_lag_ms = was->longest_lag_ms,
    };
    return ret->events + ret->duplicates + ret->refused + ret->writes + ret->failed_writes + ret->calls + ret->synced >
           0;
}

void tally_written(struct tally *t, const struct activity *difference)
{
    struct activity *w = &t->written;

    w->events += difference->events;
    w->duplicates += difference->duplicates;
    w->refused += difference->refused;
    w->writes += difference->writes;
    w->failed_writes += difference->failed_writes;
    w->calls += difference->calls;
    w->failed_calls += difference->failed_calls;
    w->synced += difference->synced;
    w->lag_ms += difference->lag_ms;
    w->longest_lag_ms = 0;
}
