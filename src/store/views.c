#include "store/views.h"

#include "base/clock.h"
#include "base/text.h"
#include "store/internal.h"
#include "sql.h"

int store_now(struct store *s, int64_t *ret_us, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_now, NULL, DB_ROW, &r, err);

    if (st == ST_OK) {
        *ret_us = db_time(r, 0, 0);
    }
    db_result_free(r);
    return st;
}

static bool ends_with(const char *s, const char *end)
{
    size_t len = strlen(s);
    size_t end_len = strlen(end);

    return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

static bool is_time(const char *column)
{
    return text_eq(column, "at") || text_eq(column, "since") || text_eq(column, "until") || ends_with(column, "_at") ||
           ends_with(column, "_seen");
}

/* The server writes times in the session's time zone; everywhere else we speak UTC. */
static struct json *in_utc(const struct json *row)
{
    struct json *copy;

    if (json_type(row) != JSON_OBJECT) {
        return json_copy(row);
    }
    copy = json_object();
    for (const struct json *m = json_first(row); m; m = json_next(m)) {
        int64_t us;

        if (is_time(json_key(m)) && json_str(m) && time_parse_iso8601(json_str(m), &us)) {
            json_set_str(copy, json_key(m), time_iso8601(us).s);
        } else {
            json_set(copy, json_key(m), json_copy(m));
        }
    }
    return copy;
}

static int show(struct store *s, const struct sql_stmt *stmt, const struct db_params *p, struct json **ret,
                struct errmsg *err)
{
    struct db_result *r = NULL;
    struct json *rows = json_array();
    int st = db_exec(s->db, stmt, p, DB_ROWS, &r, err);

    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        const char *text = db_text(r, i, 0);
        struct json *row = NULL;

        st = json_parse(text, strlen(text), &row, err);
        if (st == ST_OK) {
            json_push(rows, in_utc(row));
        }
        json_free(row);
    }
    if (st == ST_OK) {
        *ret = rows;
        rows = NULL;
    }
    json_free(rows);
    db_result_free(r);
    return st;
}

int store_show_queue(struct store *s, struct json **ret, struct errmsg *err)
{
    return show(s, &sql_show_queue, NULL, ret, err);
}

int store_show_connectors(struct store *s, struct json **ret, struct errmsg *err)
{
    return show(s, &sql_show_connectors, NULL, ret, err);
}

int store_show_issues(struct store *s, bool closed_too, struct json **ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_bool(&p, closed_too);
    return show(s, &sql_show_issues, &p, ret, err);
}

int store_show_sync(struct store *s, const char *candidate, struct json **ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, candidate);
    return show(s, &sql_show_sync, &p, ret, err);
}

int store_show_writes(struct store *s, const char *candidate, struct json **ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, candidate);
    return show(s, &sql_show_writes, &p, ret, err);
}

int store_show_timeline(struct store *s, const char *candidate, size_t limit, struct json **ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, candidate);
    db_add_i64(&p, (int64_t)limit);
    return show(s, &sql_show_timeline, &p, ret, err);
}

int store_show_news(struct store *s, int64_t since_us, struct json **ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_time(&p, since_us);
    return show(s, &sql_show_news, &p, ret, err);
}

static int show_some(struct store *s, const struct sql_stmt *stmt, int64_t n, struct json **ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_i64(&p, n);
    return show(s, stmt, &p, ret, err);
}

int store_show_newest(struct store *s, size_t limit, struct json **ret, struct errmsg *err)
{
    return show_some(s, &sql_show_newest, (int64_t)limit, ret, err);
}

int store_show_blocked(struct store *s, size_t limit, struct json **ret, struct errmsg *err)
{
    return show_some(s, &sql_show_blocked, (int64_t)limit, ret, err);
}

int store_show_activity(struct store *s, int64_t hours, struct json **ret, struct errmsg *err)
{
    return show_some(s, &sql_show_activity, hours, ret, err);
}

int store_show_daemons(struct store *s, struct json **ret, struct errmsg *err)
{
    return show(s, &sql_show_daemons, NULL, ret, err);
}

int store_show_hour(struct store *s, struct json **ret, struct errmsg *err)
{
    return show(s, &sql_show_hour, NULL, ret, err);
}

int store_show_hours(struct store *s, struct json **ret, struct errmsg *err)
{
    return show(s, &sql_show_hours, NULL, ret, err);
}

int store_show_answers(struct store *s, const char *candidate, size_t limit, struct json **ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, candidate);
    db_add_i64(&p, (int64_t)limit);
    return show(s, &sql_show_answers, &p, ret, err);
}

int store_show_contacts(struct store *s, const char *candidate, struct json **ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, candidate);
    return show(s, &sql_show_contacts, &p, ret, err);
}

int store_find_candidate(struct store *s, const char *words, const struct config *c, struct json **ret,
                         struct errmsg *err)
{
    struct db_array *sources = db_array_new(DB_TEXT_ARRAY);
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    for (size_t i = 0; i < c->source_count; i++) {
        db_array_text(sources, c->sources[i].name);
    }
    db_params_init(&p);
    db_add_text(&p, words);
    db_add_array(&p, sources);
    st = db_exec(s->db, &sql_find_candidate, &p, DB_ROWS, &r, err);
    if (st == ST_OK) {
        *ret = json_array();
        for (size_t i = 0; i < db_rows(r); i++) {
            json_push(*ret, json_string(db_text(r, i, 0)));
        }
    }
    db_result_free(r);
    db_array_free(sources);
    return st;
}

static struct ledger_value value_of(const struct db_result *r, size_t row, struct arena *arena)
{
    return (struct ledger_value){
        .key = arena_strdup(arena, db_text(r, row, 1)),
        .kind = arena_strdup(arena, db_text(r, row, 2)),
        .target = arena_strdup(arena, db_text(r, row, 3)),
        .value = arena_strdup(arena, db_text(r, row, 4)),
        .state = arena_strdup(arena, db_text(r, row, 5)),
        .error = arena_strdup(arena, db_text(r, row, 6)),
        .workflow_external_id = arena_strdup(arena, db_text(r, row, 7)),
        .run_id = arena_strdup(arena, db_text(r, row, 8)),
        .event_id = arena_strdup(arena, db_text(r, row, 9)),
        .reason = arena_strdup(arena, db_text(r, row, 10)),
        .line = db_i64(r, row, 11),
        .next_attempt_us = db_time(r, row, 12),
        .applied_kind = arena_strdup(arena, db_text(r, row, 13)),
        .applied_value = arena_strdup(arena, db_text(r, row, 14)),
    };
}

int store_load_values(struct store *s, const struct claim_batch *b, struct ledger_values **ret, struct errmsg *err)
{
    struct ledger_values *all = arena_alloc(b->arena, (b->count + 1) * sizeof *all);
    struct db_array *sources = db_array_new(DB_TEXT_ARRAY);
    struct db_array *connectors = db_array_new(DB_TEXT_ARRAY);
    struct db_array *refs = db_array_new(DB_TEXT_ARRAY);
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    for (size_t i = 0; i < b->count; i++) {
        db_array_text(sources, b->items[i].source);
        db_array_text(connectors, b->items[i].connector);
        db_array_text(refs, b->items[i].ref);
    }
    db_params_init(&p);
    db_add_array(&p, sources);
    db_add_array(&p, connectors);
    db_add_array(&p, refs);
    st = db_exec(s->db, &sql_load_values, &p, DB_ROWS, &r, err);
    if (st == ST_OK) {
        struct ledger_value *values = arena_alloc(b->arena, (db_rows(r) + 1) * sizeof *values);

        for (size_t row = 0; row < db_rows(r);
             row++) { /* in the order of the batch, so an item's values stand together */
            struct ledger_values *of = &all[db_i64(r, row, 0) - 1];

            values[row] = value_of(r, row, b->arena);
            of->items = of->items ? of->items : &values[row];
            of->count++;
        }
        *ret = all;
    }
    db_result_free(r);
    db_array_free(sources);
    db_array_free(connectors);
    db_array_free(refs);
    return st;
}
