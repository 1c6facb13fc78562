#include "store/activity.h"

#include "store/internal.h"
#include "sql.h"

int store_activity_add(struct store *s, const struct activity *a, struct errmsg *err)
{
    const int64_t counts[] = {a->events, a->duplicates,   a->refused, a->writes, a->failed_writes,
                              a->calls,  a->failed_calls, a->synced,  a->lag_ms, a->longest_lag_ms};
    struct db_params p;

    db_params_init(&p);
    for (unsigned i = 0; i < ATS_COUNT(counts); i++) {
        db_add_i64(&p, counts[i]);
    }
    return db_exec(s->db, &sql_activity_add, &p, DB_COMMAND, NULL, err);
}

static int count(struct store *s, const struct sql_stmt *stmt, queue_count_fn fn, void *ctx, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, stmt, NULL, DB_ROWS, &r, err);

    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        const struct queue_count c = {.connector = db_text(r, i, 0),
                                      .state = db_text(r, i, 1),
                                      .count = db_i64(r, i, 2),
                                      .oldest_due_seconds = db_double(r, i, 3)};

        fn(ctx, &c);
    }
    db_result_free(r);
    return st;
}

int store_queue_counts(struct store *s, queue_count_fn fn, void *ctx, struct errmsg *err)
{
    return count(s, &sql_gauges, fn, ctx, err);
}

int store_population(struct store *s, queue_count_fn fn, void *ctx, struct errmsg *err)
{
    return count(s, &sql_population, fn, ctx, err);
}
