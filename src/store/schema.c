#include <limits.h>

#include "base/buf.h"
#include "store/internal.h"
#include "store/migrations.h"
#include "store/store.h"
#include "sql.h"

static const char base_script[] = "create schema if not exists atsync;"
                                  "create table if not exists atsync.schema_version ("
                                  " version integer primary key, name text not null, breaking boolean not null, "
                                  "applied_at timestamptz not null default now())";

static int newest_known(void)
{
    int newest = 0;

    for (unsigned i = 0; i < migration_count; i++) {
        newest = migrations[i].version > newest ? migrations[i].version : newest;
    }
    return newest;
}

static int schema_exists(struct store *s, bool *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_schema_exists, NULL, DB_ROW, &r, err);

    if (st == ST_OK) {
        *ret = db_bool(r, 0, 0);
    }
    db_result_free(r);
    return st;
}

static bool has_version(const struct db_result *r, int version)
{
    for (size_t row = 0; row < db_rows(r); row++) {
        if (db_i64(r, row, 0) == version) {
            return true;
        }
    }
    return false;
}

static void read_versions(const struct db_result *r, struct schema_status *ret)
{
    for (size_t row = 0; row < db_rows(r); row++) {
        int version = (int)db_i64(r, row, 0);

        ret->version = version > ret->version ? version : ret->version;
        if (version > ret->newest_known && db_bool(r, row, 2)) {
            ret->newer_breaking = true;
        }
    }
    for (unsigned i = 0; i < migration_count; i++) {
        ret->migration_missing = ret->migration_missing || !has_version(r, migrations[i].version);
    }
}

int store_schema_status(struct store *s, struct schema_status *ret, struct errmsg *err)
{
    struct schema_status status = {.newest_known = newest_known()};
    struct db_result *r = NULL;
    bool exists = false;
    int st = schema_exists(s, &exists, err);

    if (st == ST_OK && exists) {
        st = db_exec(s->db, &sql_schema_version, NULL, DB_ROWS, &r, err);
    }
    if (st != ST_OK) {
        return st;
    }
    if (r) {
        read_versions(r, &status);
        db_result_free(r);
    } else {
        status.migration_missing = true;
    }
    *ret = status;
    return ST_OK;
}

int store_schema_check(struct store *s, struct errmsg *err)
{
    struct schema_status status;
    int st = store_schema_status(s, &status, err);

    if (st != ST_OK) {
        return st;
    }
    if (status.version == 0) {
        return err_set(err, ST_CONFLICT, "the database has no schema atsync yet: run atsyncctl migrate");
    }
    if (status.newer_breaking) {
        return err_set(err, ST_CONFLICT,
                       "the database has schema version %d, which this release (it knows up to %d) must not work on: "
                       "install the newer release",
                       status.version, status.newest_known);
    }
    if (status.migration_missing) {
        return err_set(err, ST_CONFLICT,
                       "the database has schema version %d, this release needs %d: run atsyncctl migrate",
                       status.version, status.newest_known);
    }
    return ST_OK;
}

static void tell(void (*told)(void *, const char *), void *ctx, const char *what, const struct migration *m)
{
    char *line = mem_printf("%s %s", what, m->name);

    told(ctx, line);
    mem_free(line);
}

/* One migration: under the lock, version row first, then the script. *ret_done false: somebody else was faster. */
static int apply(struct store *s, const struct migration *m, bool *ret_done, struct errmsg *err)
{
    struct db_result *locked = NULL;
    struct db_result *have = NULL;
    struct db_params p;
    int st = db_begin(s->db, err);

    if (st != ST_OK) {
        return st;
    }
    *ret_done = false;
    if ((st = db_exec(s->db, &sql_schema_lock, NULL, DB_ROW, &locked, err)) != ST_OK ||
        (st = db_exec(s->db, &sql_schema_version, NULL, DB_ROWS, &have, err)) != ST_OK) {
        goto out;
    }
    if (has_version(have, m->version)) {
        goto out;
    }
    db_params_init(&p);
    db_add_i64(&p, m->version);
    db_add_text(&p, m->name);
    db_add_bool(&p, m->breaking);
    if ((st = db_exec(s->db, &sql_schema_record, &p, DB_COMMAND, NULL, err)) != ST_OK ||
        (st = db_script(s->db, m->name, m->text, err)) != ST_OK || (st = db_commit(s->db, err)) != ST_OK) {
        goto out;
    }
    *ret_done = true;
out:
    if (!*ret_done) {
        db_rollback(s->db);
    }
    db_result_free(locked);
    db_result_free(have);
    return st;
}

/* Makes the table of versions; under the lock too, because "if not exists" is not safe against a second program. */
static int make_base(struct store *s, struct errmsg *err)
{
    struct db_result *locked = NULL;
    int st = db_begin(s->db, err);

    if (st == ST_OK && (st = db_exec(s->db, &sql_schema_lock, NULL, DB_ROW, &locked, err)) == ST_OK &&
        (st = db_script(s->db, "schema_version", base_script, err)) == ST_OK) {
        st = db_commit(s->db, err);
    }
    if (st != ST_OK) {
        db_rollback(s->db);
    }
    db_result_free(locked);
    return st;
}

int store_migrate(struct store *s, bool dry_run, void (*told)(void *ctx, const char *line), void *ctx,
                  struct errmsg *err)
{
    struct schema_status status;
    struct db_result *have = NULL;
    bool exists = false;
    int st = store_schema_status(s, &status, err);

    if (st != ST_OK) {
        return st;
    }
    if (status.newer_breaking) {
        return store_schema_check(s, err);
    }
    db_set_timeout(s->db, INT_MAX); /* a migration takes as long as it takes */
    if ((st = schema_exists(s, &exists, err)) != ST_OK) {
        return st;
    }
    if (!exists && !dry_run && (st = make_base(s, err)) != ST_OK) {
        return st;
    }
    if ((exists || !dry_run) && (st = db_exec(s->db, &sql_schema_version, NULL, DB_ROWS, &have, err)) != ST_OK) {
        return st;
    }
    for (unsigned i = 0; i < migration_count && st == ST_OK; i++) {
        bool done = false;

        if (have && has_version(have, migrations[i].version)) {
            continue;
        }
        if (dry_run) {
            tell(told, ctx, "would apply", &migrations[i]);
        } else if ((st = apply(s, &migrations[i], &done, err)) == ST_OK && done) {
            tell(told, ctx, "applied", &migrations[i]);
        } else if (st != ST_OK) {
            err_prefix(err, st, "migration");
        }
    }
    db_result_free(have);
    return st;
}
