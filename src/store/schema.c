#include <limits.h>
#include <poll.h>

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

/* ---- migrating ---------------------------------------------------------------------------------------------------- */

enum {
    LOCK_AGAIN_MS = 200,
    TABLE_AGAIN_MS = 1000,
};
/* A change of a table waits for everybody who has the table open, and everybody else waits behind the change: for so long and no longer.
 * What limits other statements of this role does not limit a migration. */
#define SHORT_WAITS "set local lock_timeout = 3000; set local statement_timeout = 0"
#define NO_LIMITS "set lock_timeout = 0; set statement_timeout = 0"

struct migrating {
    struct store *store;
    void (*told)(void *ctx, const char *line);
    void *ctx;
};

static void tell(const struct migrating *m, char *line)
{
    m->told(m->ctx, line);
    mem_free(line);
}

static void nap(int ms)
{
    (void)poll(NULL, 0, ms);
}

/*
 * Waits until nobody else migrates: to the end of a transaction that is begun here, or for this session. Who has to wait asks again and
 * again: within a statement that waits it would hold a snapshot, and an index that is built concurrently waits for all of these.
 */
static int lock(const struct migrating *m, bool in_transaction, struct errmsg *err)
{
    struct db *db = m->store->db;

    for (bool waits = false;; waits = true) {
        struct db_result *r = NULL;
        bool locked;
        int st = in_transaction ? db_begin(db, err) : ST_OK;

        if (st != ST_OK || (st = db_exec(db, in_transaction ? &sql_schema_lock : &sql_schema_lock_session, NULL, DB_ROW,
                                         &r, err)) != ST_OK) {
            return st;
        }
        locked = db_bool(r, 0, 0);
        db_result_free(r);
        if (locked) {
            return ST_OK;
        }
        db_rollback(db);
        if (!waits) {
            tell(m, mem_strdup("waiting: another program migrates this database"));
        }
        nap(LOCK_AGAIN_MS);
    }
}

static void unlock_session(struct store *s)
{
    struct db_result *r = NULL;
    struct errmsg ignored;

    if (db_exec(s->db, &sql_schema_unlock_session, NULL, DB_ROW, &r, &ignored) != ST_OK) {
        db_disconnect(s->db); /* and the lock ends with the session */
    }
    db_result_free(r);
}

static int is_applied(struct store *s, const struct migration *one, bool *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_schema_version, NULL, DB_ROWS, &r, err);

    if (st == ST_OK) {
        *ret = has_version(r, one->version);
    }
    db_result_free(r);
    return st;
}

static int record(struct store *s, const struct migration *one, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_i64(&p, one->version);
    db_add_text(&p, one->name);
    db_add_bool(&p, one->breaking);
    return db_exec(s->db, &sql_schema_record, &p, DB_COMMAND, NULL, err);
}

/* Under the lock, version row first, then the script. *ret_done false and ST_OK: somebody else was faster. *ret_busy: it failed because others
 * have a table open. */
static int apply_at_once(const struct migrating *m, const struct migration *one, bool *ret_done, bool *ret_busy,
                         struct errmsg *err)
{
    struct store *s = m->store;
    bool applied = false;
    int st = lock(m, true, err);

    *ret_done = false;
    if (st == ST_OK && (st = is_applied(s, one, &applied, err)) == ST_OK && !applied &&
        (st = db_script(s->db, "limits", SHORT_WAITS, err)) == ST_OK && (st = record(s, one, err)) == ST_OK &&
        (st = db_script(s->db, one->name, one->text, err)) == ST_OK && (st = db_commit(s->db, err)) == ST_OK) {
        *ret_done = true;
    }
    *ret_busy = st != ST_OK && (strcmp(db_sqlstate(s->db), "55P03") == 0 || strcmp(db_sqlstate(s->db), "40P01") == 0);
    if (!*ret_done) {
        db_rollback(s->db);
    }
    return st;
}

const char *migration_statement(const char **at, size_t *ret_len)
{
    const char *begin = *at + strspn(*at, "\n");
    const char *end = strstr(begin, ";\n");

    if (!end) {
        return NULL;
    }
    *ret_len = (size_t)(end - begin) + 1;
    *at = end + 1;
    return begin;
}

static int run_statements(struct store *s, const struct migration *one, struct errmsg *err)
{
    const char *at = one->text;
    const char *statement;
    size_t len;
    int st = ST_OK;

    while (st == ST_OK && (statement = migration_statement(&at, &len)) != NULL) {
        char *copy = mem_strndup(statement, len);

        st = db_script(s->db, one->name, copy, err);
        mem_free(copy);
    }
    return st;
}

/* The version row comes last: what was cut off is repeated. */
static int apply_concurrently(const struct migrating *m, const struct migration *one, bool *ret_done,
                              struct errmsg *err)
{
    struct store *s = m->store;
    bool applied = false;
    int st;

    *ret_done = false;
    if (db_is_pooled(s->db)) { /* settings and locks of a session stay behind in the pooler's */
        return err_set(err, ST_CONFLICT,
                       "%s cannot go through a pooler: run atsyncctl migrate with a configuration whose "
                       "database.conninfo leads to the server itself",
                       one->name);
    }
    if ((st = lock(m, false, err)) != ST_OK) {
        return st;
    }
    if ((st = is_applied(s, one, &applied, err)) == ST_OK && !applied &&
        (st = db_script(s->db, "limits", NO_LIMITS, err)) == ST_OK && (st = run_statements(s, one, err)) == ST_OK &&
        (st = record(s, one, err)) == ST_OK) {
        *ret_done = true;
    }
    unlock_session(s);
    return st;
}

static int apply(const struct migrating *m, const struct migration *one, struct errmsg *err)
{
    bool done = false;
    bool busy = false;
    int st;

    if (one->concurrent) {
        tell(m,
             mem_printf("applying %s beside the work of the daemons; on large tables this takes minutes", one->name));
        st = apply_concurrently(m, one, &done, err);
    } else {
        for (bool told = false; (st = apply_at_once(m, one, &done, &busy, err)) != ST_OK && busy; told = true) {
            if (!told) {
                tell(m, mem_printf("waiting: others have a table open that %s changes (a long query, a backup)",
                                   one->name));
            }
            nap(TABLE_AGAIN_MS);
        }
    }
    if (st != ST_OK) {
        err_prefix(err, st, "migration");
    } else if (done) {
        tell(m, mem_printf("applied %s", one->name));
    }
    return st;
}

/* Makes the table of versions; under the lock too, because "if not exists" is not safe against a second program. */
static int make_base(const struct migrating *m, struct errmsg *err)
{
    struct db *db = m->store->db;
    int st = lock(m, true, err);

    if (st == ST_OK && (st = db_script(db, "schema_version", base_script, err)) == ST_OK) {
        st = db_commit(db, err);
    }
    if (st != ST_OK) {
        db_rollback(db);
    }
    return st;
}

/* In a database without a schema there is nobody whom it could concern. */
static void tell_would_apply(const struct migrating *m, const struct migration *one, bool is_new)
{
    tell(m, mem_printf("would apply %s%s%s", one->name,
                       is_new          ? ""
                       : one->breaking ? ": breaking, daemons of older releases end by themselves"
                                       : ": daemons of older releases go on beside it",
                       one->concurrent && !is_new ? "; it may take minutes and stops nobody" : ""));
}

int migrations_apply(struct store *s, const struct migration *list, unsigned count, bool dry_run,
                     void (*told)(void *ctx, const char *line), void *ctx, struct errmsg *err)
{
    const struct migrating m = {.store = s, .told = told, .ctx = ctx};
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
    if (!exists && !dry_run && (st = make_base(&m, err)) != ST_OK) {
        return st;
    }
    if ((exists || !dry_run) && (st = db_exec(s->db, &sql_schema_version, NULL, DB_ROWS, &have, err)) != ST_OK) {
        return st;
    }
    for (unsigned i = 0; i < count && st == ST_OK; i++) {
        if (have && has_version(have, list[i].version)) {
            continue;
        }
        if (dry_run) {
            tell_would_apply(&m, &list[i], status.version == 0);
        } else {
            st = apply(&m, &list[i], err);
        }
    }
    db_result_free(have);
    return st;
}

int store_migrate(struct store *s, bool dry_run, void (*told)(void *ctx, const char *line), void *ctx,
                  struct errmsg *err)
{
    return migrations_apply(s, migrations, migration_count, dry_run, told, ctx, err);
}
