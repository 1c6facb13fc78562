/* The Grafana dashboard on the views alone: every question in it is one that the reader's role may ask and that has an answer. */
#include "base/buf.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"
#include "store/activity.h"

#define DASHBOARD TEST_SOURCE_DIR "/packaging/monitoring/grafana-postgresql.json"

/* What Grafana puts in the place of its macros. */
static const struct {
    const char *macro, *sql;
} macros[] = {
    {"$__timeGroupAlias(a.minute, $__interval)",
     "to_timestamp(floor(extract(epoch from a.minute) / 300) * 300) as \"time\""},
    {"$__timeFilter(a.minute)", "a.minute between now() - interval '24 hours' and now()"},
    {"$__timeFilter(closed_at)", "closed_at between now() - interval '24 hours' and now()"},
    {"${candidate:sqlstring}", "'ats_42'"},
};

static const char *expanded(struct harness *h, const char *sql)
{
    for (size_t i = 0; i < ATS_COUNT(macros); i++) {
        const char *at = strstr(sql, macros[i].macro);

        while (at) {
            sql = arena_printf(h->arena, "%.*s%s%s", (int)(at - sql), sql, macros[i].sql, at + strlen(macros[i].macro));
            at = strstr(sql, macros[i].macro);
        }
    }
    if (strchr(sql, '$')) {
        fail_msg("a macro that this test does not know: %s", sql);
    }
    return sql;
}

static const char *text_of_file(struct harness *h, const char *path)
{
    char piece[4096];
    struct buf out;
    const char *copy;
    size_t n;
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    buf_init(&out, 1 << 20);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) {
        buf_add(&out, piece, n);
    }
    assert_int_equal(fclose(f), 0);
    copy = arena_strdup(h->arena, buf_text(&out));
    buf_free(&out);
    return copy;
}

E2E_TEST(every_question_has_an_answer)
{
    struct kit *k = kit_open(h, NULL);
    const struct json *dashboard = json_of(h, text_of_file(h, DASHBOARD));
    struct db *db = db_new(h->conninfo, "dashboard");
    unsigned asked = 0, answered = 0;
    struct errmsg err;

    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    (void)kit_work(k);
    assert_done(store_activity_add(k->store, &(struct activity){.events = 1, .synced = 1, .lag_ms = 10}, &err), &err);
    sql_script(h,
               "update atsync.ats_write set state = 'dead', error = 'no such stage' where kind = 'stage';"
               "insert into atsync.issue (class, scope, severity, message, hint, closed_at) values ('unmapped', 'a', "
               "'warning', 'A.', 'B.', null), ('unmapped', 'b', 'warning', 'A.', 'B.', now())");
    assert_done(db_script(db, "role", "set role atsync_reader", &err), &err);
    for (const struct json *p = json_first(json_get(dashboard, "panels")); p; p = json_next(p)) {
        for (const struct json *t = json_first(json_get(p, "targets")); t; t = json_next(t)) {
            const char *sql = expanded(h, json_get_str(t, "rawSql"));
            struct sql_stmt stmt = {.name = json_get_str(p, "title"), .text = sql, .planned_anew = true};
            struct db_result *r = NULL;

            if (db_exec(db, &stmt, NULL, DB_ROWS, &r, &err) != ST_OK) {
                fail_msg("%s: %s: %s", json_get_str(p, "title"), err.text, sql);
            }
            asked++;
            answered += db_rows(r) > 0;
            db_result_free(r);
        }
    }
    assert_true(asked >= 15);
    assert_int_equal(answered, asked);
    db_free(db);
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_RUN(every_question_has_an_answer)};

    return e2e_main(tests);
}
