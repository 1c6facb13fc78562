#include "store/tokens.h"

#include "store/internal.h"
#include "sql.h"

void token_row_clear(struct token_row *row)
{
    mem_free(row->seed);
    mem_free(row->sealed);
    *row = (struct token_row){0};
}

int store_token_claim(struct store *s, const char *connector, const char *owner, int64_t lease_ms,
                      struct token_row *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_text(&p, owner);
    db_add_i64(&p, lease_ms);
    st = db_exec(s->db, &sql_token_claim, &p, DB_MAYBE, &r, err);
    if (st == ST_OK) {
        /* no row: somebody else has made it in this moment, and holds it */
        *ret = (struct token_row){0};
        if (db_rows(r) == 1) {
            *ret = (struct token_row){.version = db_i64(r, 0, 0),
                                      .seed = mem_strdup(db_text(r, 0, 1)),
                                      .sealed = mem_strdup(db_text(r, 0, 2)),
                                      .is_ours = db_bool(r, 0, 3)};
        }
    }
    db_result_free(r);
    return st;
}

int store_token_read(struct store *s, const char *connector, struct token_row *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    st = db_exec(s->db, &sql_token_read, &p, DB_MAYBE, &r, err);
    if (st == ST_OK && db_rows(r) == 0) {
        st = err_set(err, ST_NOT_FOUND, "no tokens of connector %s are stored", connector);
    }
    if (st == ST_OK) {
        *ret = (struct token_row){
            .version = db_i64(r, 0, 0), .seed = mem_strdup(db_text(r, 0, 1)), .sealed = mem_strdup(db_text(r, 0, 2))};
    }
    db_result_free(r);
    return st;
}

int store_token_save(struct store *s, const char *connector, int64_t version, const char *seed, const char *sealed,
                     bool release, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_i64(&p, version);
    db_add_text(&p, seed);
    db_add_text(&p, sealed);
    db_add_bool(&p, release);
    st = db_exec(s->db, &sql_token_save, &p, DB_MAYBE, &r, err);
    if (st == ST_OK && db_rows(r) == 0) {
        st = err_set(err, ST_CONFLICT, "other tokens of connector %s were stored meanwhile", connector);
    }
    db_result_free(r);
    return st;
}

int store_token_list(struct store *s, void (*fn)(void *ctx, const char *connector, int64_t version, const char *sealed),
                     void *ctx, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_token_list, NULL, DB_ROWS, &r, err);

    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        fn(ctx, db_text(r, i, 0), db_i64(r, i, 1), db_text(r, i, 2));
    }
    db_result_free(r);
    return st;
}

int store_token_reseal(struct store *s, const char *connector, int64_t version, const char *old, const char *sealed,
                       struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_i64(&p, version);
    db_add_text(&p, old);
    db_add_text(&p, sealed);
    st = db_exec(s->db, &sql_token_reseal, &p, DB_MAYBE, &r, err);
    if (st == ST_OK && db_rows(r) == 0) {
        st = err_set(err, ST_CONFLICT, "other tokens of connector %s were stored meanwhile", connector);
    }
    db_result_free(r);
    return st;
}

int store_token_release(struct store *s, const char *connector, const char *owner, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_text(&p, owner);
    return db_exec(s->db, &sql_token_release, &p, DB_COMMAND, NULL, err);
}
