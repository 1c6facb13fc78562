#include "store/issues.h"

#include "store/internal.h"
#include "sql.h"

/* The classes that this statement decides about; an open issue of another class is left alone. */
static const char *const decided[] = {"dead_writes",    "unmapped",     "identity",  "identity_conflict",
                                      "truncated",      "run_conflict", "too_large", "connector_paused",
                                      "connector_held", "throttled",    "ats_away",  "unseen_slug",
                                      "source_api",     "signatures",   "clock_skew"};

/* hold_ms: 0 for what every daemon sees. */
static void add_problem(struct batch *b, const struct problem *p, int64_t hold_ms, struct arena *arena)
{
    struct issue_text words = issue_words(p, arena);
    const char *const texts[] = {p->class,     words.scope, words.severity, p->source,
                                 p->connector, p->workflow, words.message,  words.hint};

    for (unsigned i = 0; i < ATS_COUNT(texts); i++) {
        db_array_text(b->column[i], store_plain(texts[i], arena));
    }
    db_array_i64(b->column[8], p->affected);
    db_array_i64(b->column[9], hold_ms > 0 ? hold_ms : DB_NULL_I64);
    b->rows++;
}

static int list_problems(struct store *s, const struct mapping *mapping, struct db_result **ret, struct errmsg *err)
{
    struct db_array *workflows = db_array_new(DB_TEXT_ARRAY);
    struct db_array *slugs = db_array_new(DB_TEXT_ARRAY);
    struct db_params p;
    int st;

    for (size_t w = 0; w < mapping->count; w++) {
        for (size_t f = 0; f < mapping->workflows[w].field_count; f++) {
            db_array_text(workflows, mapping->workflows[w].external_id);
            db_array_text(slugs, mapping->workflows[w].fields[f].slug);
        }
    }
    db_params_init(&p);
    db_add_array(&p, workflows);
    db_add_array(&p, slugs);
    st = db_exec(s->db, &sql_problems, &p, DB_ROWS, ret, err);
    db_array_free(workflows);
    db_array_free(slugs);
    return st;
}

static int sync_issues(struct store *s, struct batch *b, struct db_result **ret, struct errmsg *err)
{
    struct db_array *classes = db_array_new(DB_TEXT_ARRAY);
    struct db_params p;
    int st;

    for (size_t i = 0; i < ATS_COUNT(decided); i++) {
        db_array_text(classes, decided[i]);
    }
    db_params_init(&p);
    for (unsigned i = 0; i < b->columns; i++) {
        db_add_array(&p, b->column[i]);
    }
    db_add_array(&p, classes);
    st = db_exec(s->db, &sql_issue_sync, &p, DB_ROWS, ret, err);
    db_array_free(classes);
    return st;
}

/* *ret: nobody else is at it. */
static int lock_issues(struct store *s, bool *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_issues_lock, NULL, DB_ROW, &r, err);

    *ret = st == ST_OK && db_bool(r, 0, 0);
    db_result_free(r);
    return st;
}

int store_issues_refresh(struct store *s, const struct mapping *mapping, const struct own_problems *own,
                         issue_changed changed, void *ctx, struct errmsg *err)
{
    struct arena *arena = arena_new();
    struct db_result *found = NULL;
    struct db_result *told = NULL;
    struct batch b;
    bool ours = false;
    int st;

    batch_init(&b, "ttttttttll");
    if ((st = db_begin(s->db, err)) != ST_OK || (st = lock_issues(s, &ours, err)) != ST_OK || !ours ||
        (st = list_problems(s, mapping, &found, err)) != ST_OK) {
        goto out;
    }
    for (size_t i = 0; i < db_rows(found); i++) {
        struct problem p = {.class = db_text(found, i, 0),
                            .source = db_text(found, i, 1),
                            .connector = db_text(found, i, 2),
                            .workflow = db_text(found, i, 3),
                            .detail = db_text(found, i, 4),
                            .sample = db_text(found, i, 5),
                            .affected = db_i64(found, i, 6),
                            .kind = db_text(found, i, 7),
                            .what = db_text(found, i, 8),
                            .hint = db_text(found, i, 9)};

        add_problem(&b, &p, 0, arena);
    }
    for (size_t i = 0; i < own->count; i++) {
        add_problem(&b, &own->items[i], own->hold_ms, arena);
    }
    if ((st = sync_issues(s, &b, &told, err)) != ST_OK || (st = db_commit(s->db, err)) != ST_OK) {
        goto out;
    }
    for (size_t i = 0; i < db_rows(told); i++) {
        changed(ctx, strcmp(db_text(told, i, 0), "opened") == 0, db_text(told, i, 1), db_text(told, i, 2),
                db_text(told, i, 3), db_text(told, i, 4));
    }
out:
    db_rollback(s->db);
    batch_clear(&b);
    db_result_free(found);
    db_result_free(told);
    arena_free(arena);
    return st;
}

int store_issues_open(struct store *s, issue_count_fn fn, void *ctx, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_issues_open, NULL, DB_ROWS, &r, err);

    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        fn(ctx, db_text(r, i, 0), db_text(r, i, 1), db_i64(r, i, 2));
    }
    db_result_free(r);
    return st;
}
