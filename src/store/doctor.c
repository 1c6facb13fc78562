#include "store/doctor.h"

#include "store/internal.h"
#include "store/migrations.h"
#include "sql.h"

enum { POOLING_ROUNDS = 4, POOLING_TIMEOUT_MS = 2000 };

static int ask(struct store *s, const struct sql_stmt *stmt, const struct db_params *p, struct json **ret,
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
            json_push(rows, row);
        }
    }
    if (st == ST_OK) {
        *ret = rows;
        rows = NULL;
    }
    json_free(rows);
    db_result_free(r);
    return st;
}

int store_doctor_ask(struct store *s, enum doctor_fact fact, struct json **ret, struct errmsg *err)
{
    static const struct sql_stmt *const statements[] = {
        [DOCTOR_SERVER] = &sql_doctor_server,   [DOCTOR_HOLDERS] = &sql_doctor_holders,
        [DOCTOR_TABLES] = &sql_doctor_tables,   [DOCTOR_INDEXES] = &sql_doctor_indexes,
        [DOCTOR_DAEMONS] = &sql_doctor_daemons, [DOCTOR_TOKENS] = &sql_doctor_tokens,
    };

    return ask(s, statements[fact], NULL, ret, err);
}

int store_doctor_ask_sources(struct store *s, const char *const *sources, size_t count, struct json **ret,
                             struct errmsg *err)
{
    struct db_array *names = db_array_new(DB_TEXT_ARRAY);
    struct db_params p;
    int st;

    for (size_t i = 0; i < count; i++) {
        db_array_text(names, sources[i]);
    }
    db_params_init(&p);
    db_add_array(&p, names);
    st = ask(s, &sql_doctor_sources, &p, ret, err);
    db_array_free(names);
    return st;
}

/* ---- what stands between */

static int ask_pid(struct store *s, int64_t *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_doctor_pid, NULL, DB_ROW, &r, err);

    if (st == ST_OK) {
        *ret = db_i64(r, 0, 0);
    }
    db_result_free(r);
    return st;
}

/*
 * While the other connection holds a transaction, ours is asked which process serves it. Between transactions a pooler
 * gives the process back, so sooner or later it is another one, or the other's; with a pool of one there is none left to
 * answer.
 */
static int watch_processes(struct store *s, struct store *other, enum pooling *ret, struct errmsg *err)
{
    int64_t first = 0;
    int st = ask_pid(s, &first, err);

    *ret = POOLING_SESSION;
    for (int i = 0; i < POOLING_ROUNDS && st == ST_OK && *ret == POOLING_SESSION; i++) {
        int64_t theirs = 0, ours = 0;

        st = db_begin(other->db, err);
        /* PgBouncer's words, or all that is left of them when it has closed the connection too */
        if (st != ST_OK && (strstr(err->text, "statement pooling") || strstr(err->text, "08P01"))) {
            *ret = POOLING_STATEMENT;
            return ST_OK;
        }
        if (st == ST_OK) {
            st = ask_pid(other, &theirs, err);
        }
        if (st == ST_OK) {
            st = ask_pid(s, &ours, err);
            if (st == ST_UNCERTAIN || st == ST_UNAVAILABLE || ours != first || theirs == first) {
                *ret = POOLING_TRANSACTION;
                st = ST_OK;
            }
        }
        db_rollback(other->db);
    }
    return st;
}

int store_doctor_pooling(struct store *s, struct store *other, enum pooling *ret, struct errmsg *err)
{
    int st = store_connect(s, err);

    if (st == ST_OK) {
        st = store_connect(other, err);
    }
    if (st != ST_OK) {
        return st;
    }
    if (!db_is_pooled(s->db)) {
        *ret = POOLING_NONE;
        return ST_OK;
    }
    db_set_timeout(s->db, POOLING_TIMEOUT_MS);
    return watch_processes(s, other, ret, err);
}

/* ---- the schema */

int store_doctor_schema(struct store *s, char **ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_schema_catalog, NULL, DB_ROW, &r, err);

    if (st == ST_OK) {
        *ret = mem_strdup(db_is_null(r, 0, 0) ? "" : db_text(r, 0, 0));
    }
    db_result_free(r);
    return st;
}

const char *store_doctor_expected_schema(void)
{
    return schema_golden;
}
