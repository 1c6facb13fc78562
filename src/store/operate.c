#include "store/operate.h"

#include "store/internal.h"
#include "sql.h"

enum { PAGE_CANDIDATES = 500, PAGE_WRITES = 1000, DEADLOCK_TRIES = 5 };

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

/* ---- what a filter fits */

static int count_fits(struct store *s, const struct sql_stmt *stmt, const struct filter *f, struct arena *arena,
                      struct fits *ret, struct errmsg *err)
{
    struct fits fits = {.count = 0};
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    add_filter(&p, f);
    db_add_text(&p, f->error_class);
    st = db_exec(s->db, stmt, &p, DB_ROWS, &r, err);
    if (st != ST_OK) {
        return st;
    }
    fits.items = arena_alloc(arena, (db_rows(r) + 1) * sizeof *fits.items);
    for (size_t i = 0; i < db_rows(r); i++) {
        struct fit fit = {.connector = arena_strdup(arena, db_text(r, i, 0)),
                          .error_class = arena_strdup(arena, db_text(r, i, 1)),
                          .writes = db_i64(r, i, 2),
                          .candidates = db_i64(r, i, 3)};

        if (db_bool(r, i, 4)) {
            fits.total = fit;
        } else {
            fits.items[fits.count++] = fit;
        }
    }
    db_result_free(r);
    *ret = fits;
    return ST_OK;
}

int store_count_resync(struct store *s, const struct filter *f, struct arena *arena, struct fits *ret,
                       struct errmsg *err)
{
    return count_fits(s, &sql_count_resync, f, arena, ret, err);
}

int store_count_dead(struct store *s, const struct filter *f, struct arena *arena, struct fits *ret, struct errmsg *err)
{
    return count_fits(s, &sql_count_dead, f, arena, ret, err);
}

/* ---- page by page */

void pages_clear(struct pages *p)
{
    mem_free(p->source);
    mem_free(p->connector);
    mem_free(p->ref);
    *p = (struct pages){.done = 0};
}

/* Whoever met a lock the wrong way round tries again. */
static int exec_page(struct store *s, const struct sql_stmt *stmt, const struct db_params *p, enum db_shape shape,
                     struct db_result **ret, struct errmsg *err)
{
    int st = ST_CONFLICT;

    for (int i = 0; i < DEADLOCK_TRIES && st == ST_CONFLICT; i++) {
        st = db_exec(s->db, stmt, p, shape, ret, err);
    }
    return st;
}

static void move_on(struct pages *p, const struct db_result *r)
{
    mem_free(p->source);
    mem_free(p->connector);
    mem_free(p->ref);
    p->source = mem_strdup(db_text(r, 0, 0));
    p->connector = mem_strdup(db_text(r, 0, 1));
    p->ref = mem_strdup(db_text(r, 0, 2));
    p->done += db_i64(r, 0, 3);
}

static int resync_page(struct store *s, const struct filter *f, bool is_gone, struct pages *pages, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    add_filter(&p, f);
    db_add_text(&p, f->error_class);
    db_add_text(&p, pages->source);
    db_add_text(&p, pages->connector);
    db_add_text(&p, pages->ref);
    db_add_i64(&p, PAGE_CANDIDATES);
    db_add_bool(&p, is_gone);
    st = exec_page(s, &sql_resync, &p, DB_MAYBE, &r, err);
    if (st == ST_OK && db_rows(r) == 0) {
        pages->over = true;
    } else if (st == ST_OK) {
        move_on(pages, r);
    }
    db_result_free(r);
    return st;
}

int store_resync(struct store *s, const struct filter *f, struct pages *pages, struct errmsg *err)
{
    return resync_page(s, f, false, pages, err);
}

int store_resync_gone(struct store *s, const struct filter *f, struct pages *pages, struct errmsg *err)
{
    return resync_page(s, f, true, pages, err);
}

static int next_dead(struct store *s, const struct sql_stmt *stmt, const struct filter *f, struct pages *pages,
                     struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    add_filter(&p, f);
    db_add_text(&p, f->error_class);
    db_add_time(&p, pages->has_begun ? pages->began_us : INT64_MIN);
    db_add_i64(&p, PAGE_WRITES);
    st = exec_page(s, stmt, &p, DB_ROW, &r, err);
    if (st == ST_OK) {
        pages->over = db_i64(r, 0, 0) == 0;
        pages->done += db_i64(r, 0, 0);
        pages->began_us = db_time(r, 0, 1);
        pages->has_begun = true;
    }
    db_result_free(r);
    return st;
}

int store_retry_dead(struct store *s, const struct filter *f, struct pages *p, struct errmsg *err)
{
    return next_dead(s, &sql_retry_dead, f, p, err);
}

int store_skip_dead(struct store *s, const struct filter *f, struct pages *p, struct errmsg *err)
{
    return next_dead(s, &sql_skip_dead, f, p, err);
}

/* ---- identities and connectors */

/* Nobody who was erased comes back by a new name. */
static int refuse_erased(struct store *s, const char *source, const char *const names[], size_t count,
                         const char *external_id, struct errmsg *err)
{
    struct db_array *array = db_array_new(DB_TEXT_ARRAY);
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    for (size_t i = 0; i < count; i++) {
        db_array_text(array, names[i]);
    }
    db_params_init(&p);
    db_add_text(&p, source);
    db_add_array(&p, array);
    st = db_exec(s->db, &sql_erase_when, &p, DB_ROW, &r, err);
    if (st == ST_OK && !db_is_null(r, 0, 0)) {
        st = err_set(err, ST_CONFLICT, "%s or that name of the candidate was erased: nothing is kept of this person",
                     external_id);
    }
    db_array_free(array);
    db_result_free(r);
    return st;
}

int store_link(struct store *s, const char *source, const char *alias, const char *external_id, int64_t *ret,
               struct errmsg *err)
{
    struct arena *arena = arena_new();
    const char *const names[] = {alias, subject_key('x', external_id, arena), arena_printf(arena, "x:%s", external_id)};
    struct db_params p;
    int st = refuse_erased(s, source, names, ATS_COUNT(names), external_id, err);

    if (st == ST_OK) {
        db_params_init(&p);
        db_add_text(&p, source);
        db_add_text(&p, alias);
        db_add_text(&p, names[1]);
        db_add_text(&p, external_id);
        st = number(s, &sql_link, &p, ret, err);
    }
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

    int64_t woken = 1, since_us = INT64_MIN;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    st = number(s, &sql_connector_resume, &p, ret, err);
    while (st == ST_OK && *ret > 0 && woken > 0) {
        st = store_connector_wake(s, connector, &since_us, &woken, err);
    }
    return st;
}
