#include "store/operate.h"

#include "store/internal.h"
#include "sql.h"

static void add_filter(struct db_params *p, const struct filter *f)
{
    db_params_init(p);
    db_add_text(p, f->candidate);
    db_add_text(p, f->connector);
    db_add_text(p, f->workflow);
    db_add_time(p, f->since_us);
}

int store_peek(struct store *s, const struct filter *f, const char *after_source, const char *after_ref, size_t limit,
               struct claim_batch *ret, struct errmsg *err)
{
    struct claim_batch b = {0};
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    add_filter(&p, f);
    db_add_text(&p, after_source);
    db_add_text(&p, after_ref);
    db_add_i64(&p, (int64_t)limit);
    st = db_exec(s->db, &sql_peek, &p, DB_ROWS, &r, err);
    if (st != ST_OK) {
        return st;
    }
    b.arena = arena_new();
    b.count = db_rows(r);
    b.now_us = b.count > 0 ? db_time(r, 0, 4) : 0;
    b.items = arena_alloc(b.arena, (b.count + 1) * sizeof *b.items);
    for (size_t i = 0; i < b.count; i++) {
        b.items[i] = (struct claimed){.source = arena_strdup(b.arena, db_text(r, i, 0)),
                                      .ref = arena_strdup(b.arena, db_text(r, i, 1)),
                                      .external_id = arena_strdup(b.arena, db_text(r, i, 2)),
                                      .version = db_i64(r, i, 3),
                                      .index = i};
    }
    db_result_free(r);
    *ret = b;
    return ST_OK;
}

int store_resync(struct store *s, const struct filter *f, struct errmsg *err)
{
    struct db_params p;

    add_filter(&p, f);
    db_add_text(&p, f->error_class);
    return db_exec(s->db, &sql_resync, &p, DB_COMMAND, NULL, err);
}

/* A statement with parameters that returns one number. */
static int number(struct store *s, const struct sql_stmt *stmt, const struct db_params *p, int64_t *ret,
                  struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, stmt, p, DB_ROW, &r, err);

    if (st == ST_OK) {
        *ret = db_i64(r, 0, 0);
    }
    db_result_free(r);
    return st;
}

static int counted(struct store *s, const struct sql_stmt *stmt, const struct filter *f, int64_t *ret,
                   struct errmsg *err)
{
    struct db_params p;

    add_filter(&p, f);
    db_add_text(&p, f->error_class);
    return number(s, stmt, &p, ret, err);
}

int store_count_resync(struct store *s, const struct filter *f, int64_t *ret, struct errmsg *err)
{
    return counted(s, &sql_count_resync, f, ret, err);
}

int store_count_dead(struct store *s, const struct filter *f, int64_t *ret, struct errmsg *err)
{
    return counted(s, &sql_count_dead, f, ret, err);
}

int store_retry_dead(struct store *s, const struct filter *f, int64_t *ret, struct errmsg *err)
{
    return counted(s, &sql_retry_dead, f, ret, err);
}

int store_skip_dead(struct store *s, const struct filter *f, int64_t *ret, struct errmsg *err)
{
    return counted(s, &sql_skip_dead, f, ret, err);
}

int store_link(struct store *s, const char *source, const char *alias, const char *external_id, int64_t *ret,
               struct errmsg *err)
{
    struct arena *arena = arena_new();
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, source);
    db_add_text(&p, alias);
    db_add_text(&p, subject_key('x', external_id, arena));
    db_add_text(&p, external_id);
    st = number(s, &sql_link, &p, ret, err);
    arena_free(arena);
    return st;
}

int store_connector_hold(struct store *s, const char *connector, const char *reason, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_text(&p, reason);
    return db_exec(s->db, &sql_connector_hold, &p, DB_COMMAND, NULL, err);
}

int store_connector_resume(struct store *s, const char *connector, int64_t *ret, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, connector);
    return number(s, &sql_connector_resume, &p, ret, err);
}
