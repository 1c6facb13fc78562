#include "store/inquiry.h"

#include "store/internal.h"
#include "sql.h"

int store_inquiry_claim(struct store *s, const char *source, const struct inquiry_terms *terms, struct arena *arena,
                        struct inquiry **ret, size_t *ret_count, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, source);
    db_add_i64(&p, terms->silent_ms);
    db_add_i64(&p, terms->over_ms);
    db_add_i64(&p, terms->lease_ms);
    db_add_i64(&p, (int64_t)terms->limit);
    st = db_exec(s->db, &sql_inquiry_claim, &p, DB_ROWS, &r, err);
    if (st != ST_OK) {
        return st;
    }
    *ret_count = db_rows(r);
    *ret = arena_alloc(arena, (*ret_count + 1) * sizeof **ret);
    for (size_t i = 0; i < *ret_count; i++) {
        (*ret)[i] = (struct inquiry){.run_id = arena_strdup(arena, db_text(r, i, 0)),
                                     .ref = arena_strdup(arena, db_text(r, i, 1)),
                                     .workflow_id = arena_strdup(arena, db_text(r, i, 2)),
                                     .asked = db_i64(r, i, 3),
                                     .is_over = db_bool(r, i, 4),
                                     .now_us = db_time(r, i, 5)};
    }
    db_result_free(r);
    return ST_OK;
}

int store_inquiry_events(struct store *s, const char *source, const struct inquiry *q, struct arena *arena,
                         int64_t max_bytes, struct event **ret, size_t *ret_count, struct errmsg *err)
{
    struct claimed who = {.source = source, .connector = "", .ref = q->ref};
    const struct claim_batch b = {.items = &who, .count = 1, .now_us = q->now_us, .arena = arena};
    struct loaded *all = NULL;
    int st = store_load(s, &b, max_bytes, &all, err);

    if (st == ST_OK) {
        *ret = all ? all[0].events : NULL;
        *ret_count = all ? all[0].event_count : 0;
    }
    return st;
}

int store_inquiry_put_back(struct store *s, const char *source, const char *run_id, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, source);
    db_add_text(&p, run_id);
    return db_exec(s->db, &sql_inquiry_put_back, &p, DB_COMMAND, NULL, err);
}

int store_inquiry_again(struct store *s, const char *source, const char *run_id, int64_t ms, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, source);
    db_add_text(&p, run_id);
    db_add_i64(&p, ms);
    return db_exec(s->db, &sql_inquiry_again, &p, DB_COMMAND, NULL, err);
}

int store_api_beat(struct store *s, const char *source, const char *fingerprint, int64_t *ret_wait_ms,
                   struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, source);
    db_add_text(&p, fingerprint);
    st = db_exec(s->db, &sql_api_beat, &p, DB_ROW, &r, err);
    if (st == ST_OK) {
        *ret_wait_ms = db_i64(r, 0, 0);
    }
    db_result_free(r);
    return st;
}

int store_api_take(struct store *s, const char *source, int64_t per_day, bool *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, source);
    db_add_i64(&p, per_day);
    st = db_exec(s->db, &sql_api_take, &p, DB_MAYBE, &r, err);
    if (st == ST_OK) {
        *ret = db_rows(r) == 1;
    }
    db_result_free(r);
    return st;
}

int store_api_tell(struct store *s, const char *source, const struct api_trouble *t, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, source);
    db_add_text(&p, t->problem);
    db_add_text(&p, t->error);
    db_add_i64(&p, t->first_ms);
    db_add_i64(&p, t->cap_ms);
    db_add_i64(&p, t->at_least_ms);
    return db_exec(s->db, &sql_api_tell, &p, DB_COMMAND, NULL, err);
}
