#include "store/retention.h"

#include "store/internal.h"
#include "sql.h"

struct due {                                       /* what the oldest events are about */
    struct db_array *sources, *refs;               /* candidates, each once */
    struct db_array *loose_sources, *loose_events; /* events that are nobody's */
    size_t count;
};

static void due_init(struct due *d)
{
    d->sources = db_array_new(DB_TEXT_ARRAY);
    d->refs = db_array_new(DB_TEXT_ARRAY);
    d->loose_sources = db_array_new(DB_TEXT_ARRAY);
    d->loose_events = db_array_new(DB_TEXT_ARRAY);
    d->count = 0;
}

static void due_clear(struct due *d)
{
    db_array_free(d->sources);
    db_array_free(d->refs);
    db_array_free(d->loose_sources);
    db_array_free(d->loose_events);
}

static bool was_seen(const struct db_result *r, size_t row)
{
    for (size_t i = 0; i < row; i++) {
        if (strcmp(db_text(r, i, 2), db_text(r, row, 2)) == 0 && strcmp(db_text(r, i, 0), db_text(r, row, 0)) == 0) {
            return true;
        }
    }
    return false;
}

static int find_due(struct store *s, int64_t events_ms, size_t limit, struct retained *io, struct db_result **ret,
                    struct errmsg *err)
{
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_i64(&p, events_ms);
    db_add_time(&p, io->after_us);
    db_add_text(&p, io->after_id);
    db_add_i64(&p, (int64_t)limit);
    st = db_exec(s->db, &sql_retain_due, &p, DB_ROWS, ret, err);
    io->looked_at = st == ST_OK ? (int64_t)db_rows(*ret) : 0;
    if (io->looked_at > 0) {
        size_t last = db_rows(*ret) - 1;

        io->after_us = db_time(*ret, last, 3);
        (void)snprintf(io->after_id, sizeof io->after_id, "%s", db_text(*ret, last, 1));
    }
    return st;
}

/* Those of the candidates that are idle, and locked from now on; and the loose events. */
static int lock_due(struct store *s, const struct db_result *found, struct due *d, struct errmsg *err)
{
    struct db_array *sources = db_array_new(DB_TEXT_ARRAY);
    struct db_array *refs = db_array_new(DB_TEXT_ARRAY);
    size_t *rows = mem_array(db_rows(found) + 1, sizeof *rows);
    struct db_result *r = NULL;
    struct db_params p;
    size_t count = 0;
    int st;

    for (size_t i = 0; i < db_rows(found); i++) {
        if (db_text(found, i, 2)[0] == '\0') {
            db_array_text(d->loose_sources, db_text(found, i, 0));
            db_array_text(d->loose_events, db_text(found, i, 1));
            d->count++;
        } else if (!was_seen(found, i)) {
            db_array_text(sources, db_text(found, i, 0));
            db_array_text(refs, db_text(found, i, 2));
            rows[count++] = i;
        }
    }
    db_params_init(&p);
    db_add_array(&p, sources);
    db_add_array(&p, refs);
    st = db_exec(s->db, &sql_retain_lock, &p, DB_ROWS, &r, err);
    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        size_t row = rows[db_i64(r, i, 0) - 1];

        db_array_text(d->sources, db_text(found, row, 0));
        db_array_text(d->refs, db_text(found, row, 2));
        d->count++;
    }
    db_result_free(r);
    db_array_free(sources);
    db_array_free(refs);
    mem_free(rows);
    return st;
}

/* *ret: whether this daemon is the one that forgets. If not, and after a failure, there is no transaction. */
static int begin(struct store *s, bool *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st;

    *ret = false;
    /* what a crash undoes is over age afterwards as before; and locks do not last as long as the disk takes */
    db_queue_begin(s->db, DB_MAY_BE_LOST);
    db_queue(s->db, &sql_retain_begin, NULL, DB_ROW, &r);
    st = db_flush(s->db, err);
    if (st == ST_OK) {
        *ret = db_bool(r, 0, 0);
    }
    db_result_free(r);
    if (!*ret) {
        db_rollback(s->db);
    }
    return st;
}

static int end(struct store *s, int st, struct errmsg *err)
{
    if (st != ST_OK) {
        db_rollback(s->db);
        return st;
    }
    return db_commit(s->db, err);
}

static int forget(struct store *s, const struct due *d, int64_t events_ms, struct retained *io, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_array(&p, d->sources);
    db_add_array(&p, d->refs);
    db_add_i64(&p, events_ms);
    db_add_i64(&p, events_ms + RETENTION_UNDONE_MS);
    db_add_array(&p, d->loose_sources);
    db_add_array(&p, d->loose_events);
    st = db_exec(s->db, &sql_retain_forget, &p, DB_ROW, &r, err);
    if (st == ST_OK) {
        io->events = db_i64(r, 0, 0);
        io->runs = db_i64(r, 0, 1);
        io->writes = db_i64(r, 0, 2);
    }
    db_result_free(r);
    return st;
}

int store_retain_events(struct store *s, int64_t events_ms, size_t limit, struct retained *io, struct errmsg *err)
{
    struct db_result *found = NULL;
    bool ours;
    struct due d;
    int st = begin(s, &ours, err);

    io->looked_at = io->events = io->runs = io->writes = 0;
    if (!ours) {
        return st;
    }
    due_init(&d);
    st = find_due(s, events_ms, limit, io, &found, err);
    if (st == ST_OK && io->looked_at > 0) {
        st = lock_due(s, found, &d, err);
    }
    if (st == ST_OK && d.count > 0) {
        st = forget(s, &d, events_ms, io, err);
    }
    db_result_free(found);
    due_clear(&d);
    return end(s, st, err);
}

static int remove_some(struct store *s, const struct sql_stmt *stmt, int64_t age_ms, size_t limit, int64_t *ret,
                       struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    bool ours;
    int st = begin(s, &ours, err);

    *ret = 0;
    if (!ours) {
        return st;
    }
    db_params_init(&p);
    db_add_i64(&p, age_ms);
    db_add_i64(&p, (int64_t)limit);
    st = db_exec(s->db, stmt, &p, DB_ROW, &r, err);
    if (st == ST_OK) {
        *ret = db_i64(r, 0, 0);
    }
    db_result_free(r);
    return end(s, st, err);
}

int store_retain_ids(struct store *s, int64_t ids_ms, size_t limit, int64_t *ret, struct errmsg *err)
{
    return remove_some(s, &sql_retain_ids, ids_ms, limit, ret, err);
}

int store_retain_calls(struct store *s, int64_t calls_ms, size_t limit, int64_t *ret, struct errmsg *err)
{
    return remove_some(s, &sql_retain_calls, calls_ms, limit, ret, err);
}

int store_retain_issues(struct store *s, int64_t events_ms, size_t limit, int64_t *ret, struct errmsg *err)
{
    return remove_some(s, &sql_retain_issues, events_ms, limit, ret, err);
}

int store_retain_versions(struct store *s, int64_t events_ms, size_t limit, int64_t *ret, struct errmsg *err)
{
    return remove_some(s, &sql_retain_versions, events_ms, limit, ret, err);
}
