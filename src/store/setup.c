#include "store/setup.h"

#include "base/text.h"
#include "store/internal.h"
#include "store/migrations.h"
#include "sql.h"

enum { OLDEST_SERVER = 130000, LONG_MS = 600000, LIST_MAX_BYTES = 64 * 1024 };

struct store *store_new_at(const char *conninfo, const char *application_name)
{
    struct store *s = mem_zalloc(sizeof *s);

    s->db = db_new(conninfo, application_name);
    return s;
}

/* ---- the server */

static int check_administrator(struct store *admin, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(admin->db, &sql_setup_who, NULL, DB_ROW, &r, err);

    if (st == ST_OK && !db_bool(r, 0, 1)) {
        st = err_set(err, ST_DENIED, "the role %s may not make roles and databases", db_text(r, 0, 0));
    } else if (st == ST_OK && db_i64(r, 0, 2) < OLDEST_SERVER) {
        st = err_set(err, ST_INVALID, "the server is PostgreSQL %d, and 13 or newer is needed",
                     (int)(db_i64(r, 0, 2) / 10000));
    }
    db_result_free(r);
    return st;
}

static int ask_server(struct store *admin, const struct setup_names *n, const char *verifier, struct db_result **ret,
                      struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, n->role);
    db_add_text(&p, SETUP_READER);
    db_add_text(&p, n->database);
    db_add_text(&p, verifier);
    return db_exec(admin->db, &sql_setup_server, &p, DB_ROWS, ret, err);
}

/* A database whose texts cannot hold what events bring does not do. */
static int check_found(const struct db_result *r, size_t row, struct errmsg *err)
{
    const char *detail = db_text(r, row, 3);

    if (strcmp(db_text(r, row, 0), "database") == 0 && db_bool(r, row, 2) && !strstr(detail, ", UTF8")) {
        return err_set(err, ST_INVALID,
                       "the database %s is there (%s), but its encoding is not UTF8: name another one in "
                       "database.conninfo, or drop it if it is not used",
                       db_text(r, row, 1), detail);
    }
    return ST_OK;
}

/* The state of the row before its command was carried out. */
static void tell_row(const struct db_result *r, size_t row, setup_told told, void *ctx)
{
    const char *thing = db_text(r, row, 0);
    const char *detail = db_text(r, row, 3);
    bool is_there = db_bool(r, row, 2);
    bool has_command = !db_is_null(r, row, 4);

    if (strcmp(thing, "membership") != 0) { /* a means only */
        told(ctx,
             !is_there     ? SETUP_MADE
             : has_command ? SETUP_CHANGED
                           : SETUP_WAS_THERE,
             thing, db_text(r, row, 1), is_there && !has_command && detail ? detail : "");
    }
}

static int make_step(struct store *admin, const struct db_result *r, size_t row, setup_told told, void *ctx,
                     struct errmsg *err)
{
    int st = check_found(r, row, err);

    if (st == ST_OK && !db_is_null(r, row, 4)) {
        st = db_script(admin->db, db_text(r, row, 0), db_text(r, row, 4), err);
    }
    if (st == ST_OK) {
        tell_row(r, row, told, ctx);
    }
    return st;
}

int store_setup_server(struct store *admin, const struct setup_names *names, setup_told told, void *ctx,
                       struct errmsg *err)
{
    char *verifier = NULL;
    int st = store_connect(admin, err);

    db_set_timeout(admin->db, LONG_MS);
    if (st == ST_OK) {
        st = check_administrator(admin, err);
    }
    if (st == ST_OK && names->password) {
        st = db_encrypt_password(admin->db, names->role, names->password, &verifier, err);
    }
    /* the rows are always the same ones, and each step sees what the one before has made */
    for (size_t step = 0, steps = 1; st == ST_OK && step < steps; step++) {
        struct db_result *r = NULL;

        st = ask_server(admin, names, verifier, &r, err);
        if (st == ST_OK) {
            steps = db_rows(r);
            st = make_step(admin, r, step, told, ctx, err);
        }
        db_result_free(r);
    }
    mem_free_secret(verifier);
    return st;
}

/* ---- the database */

/* Carries out the commands in this column of all rows. */
static int run_commands(struct store *admin, const struct db_result *r, int column, struct errmsg *err)
{
    int st = ST_OK;

    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        if (!db_is_null(r, i, column)) {
            st = db_script(admin->db, "setup", db_text(r, i, column), err);
        }
    }
    return st;
}

/* In the order of its rows; what belongs to one thing is told in one line. */
static void tell_changes(const struct db_result *r, setup_told told, void *ctx)
{
    struct buf owned;
    int64_t count = 0;

    for (size_t i = 0; i < db_rows(r); i++) {
        if (strcmp(db_text(r, i, 0), "owner") == 0) {
            count++;
        } else {
            told(ctx, SETUP_CHANGED, db_text(r, i, 0), db_text(r, i, 1), "the role may connect and make its schema");
        }
    }
    if (count > 0) {
        buf_init(&owned, LIST_MAX_BYTES);
        buf_printf(&owned, "%s things of somebody else belong to the role now", num_text(count).s);
        told(ctx, SETUP_CHANGED, "owner", "schema atsync", buf_text(&owned));
        buf_free(&owned);
    }
}

static int give_rights(struct store *admin, const struct setup_names *names, setup_told told, void *ctx,
                       struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, names->role);
    st = db_exec(admin->db, &sql_setup_database, &p, DB_ROWS, &r, err);
    if (st == ST_OK) {
        st = run_commands(admin, r, 2, err);
    }
    if (st == ST_OK) {
        tell_changes(r, told, ctx);
    }
    db_result_free(r);
    return st;
}

static int become(struct store *admin, const char *role, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, role);
    st = db_exec(admin->db, &sql_setup_become, &p, DB_ROW, &r, err);
    db_result_free(r);
    return st;
}

static void add_step(void *ctx, const char *line)
{
    struct buf *steps = ctx;

    buf_printf(steps, "%s%s", steps->len > 0 ? ", " : "", line);
}

/* *ret_state: what became of it. */
static int make_schema(struct store *admin, setup_told told, void *ctx, enum setup_state *ret_state, struct errmsg *err)
{
    struct schema_status before = {0}, after = {0};
    struct buf detail;
    int st;

    buf_init(&detail, LIST_MAX_BYTES);
    if ((st = store_schema_status(admin, &before, err)) == ST_OK &&
        (st = store_migrate(admin, false, add_step, &detail, err)) == ST_OK &&
        (st = store_schema_status(admin, &after, err)) == ST_OK) {
        if (detail.len == 0) {
            buf_printf(&detail, "version %d", after.version);
        }
        *ret_state = before.version == 0 ? SETUP_MADE : before.migration_missing ? SETUP_CHANGED : SETUP_WAS_THERE;
        told(ctx, *ret_state, "schema", "atsync", buf_text(&detail));
    }
    buf_free(&detail);
    return st;
}

int store_show_to_reader(struct store *s, enum setup_reader *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    *ret = SETUP_READER_MISSING;
    db_params_init(&p);
    db_add_text(&p, SETUP_READER);
    st = db_exec(s->db, &sql_setup_reader, &p, DB_ROWS, &r, err);
    if (st == ST_OK) {
        st = run_commands(s, r, 0, err);
    }
    if (st == ST_OK && db_rows(r) > 0) {
        *ret = db_rows(r) > 1 ? SETUP_READER_SHOWN : SETUP_READER_SEES;
    }
    db_result_free(r);
    return st;
}

/* A schema that was just made gave its views to the reader itself. */
static int show_to_reader(struct store *admin, enum setup_state schema, setup_told told, void *ctx, struct errmsg *err)
{
    enum setup_reader reader;
    int st = store_show_to_reader(admin, &reader, err);

    if (st == ST_OK) {
        told(ctx,
             schema == SETUP_MADE           ? SETUP_MADE
             : reader == SETUP_READER_SHOWN ? SETUP_CHANGED
                                            : SETUP_WAS_THERE,
             "privileges", SETUP_READER, "may read the views and nothing else");
    }
    return st;
}

int store_setup_database(struct store *admin, const struct setup_names *names, setup_told told, void *ctx,
                         struct errmsg *err)
{
    enum setup_state schema = SETUP_WAS_THERE;
    int st = store_connect(admin, err);

    db_set_timeout(admin->db, LONG_MS);
    if (st == ST_OK) {
        st = give_rights(admin, names, told, ctx, err);
    }
    if (st == ST_OK) {
        st = become(admin, names->role, err);
    }
    if (st == ST_OK) {
        st = make_schema(admin, told, ctx, &schema, err);
    }
    if (st == ST_OK) {
        st = show_to_reader(admin, schema, told, ctx, err);
    }
    return st;
}

/* ---- as a script */

/* As psql reads it: within single quotes, where \ begins an escape. */
static void add_variable(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "\\set %s '", name);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\'' || *p == '\\') {
            buf_putc(out, '\\');
        }
        buf_putc(out, *p);
    }
    buf_puts(out, "'\n");
}

void store_setup_script(const struct setup_names *names, struct buf *out)
{
    buf_puts(out, "\\set ON_ERROR_STOP on\n");
    add_variable(out, "role", names->role);
    add_variable(out, "reader", SETUP_READER);
    add_variable(out, "database", names->database);
    buf_printf(out, "\n%s", sql_dba_begin.text);
    for (unsigned i = 0; i < migration_count; i++) {
        buf_putc(out, '\n');
        add_variable(out, "version", num_text(migrations[i].version).s);
        add_variable(out, "name", migrations[i].name);
        add_variable(out, "breaking", migrations[i].breaking ? "true" : "false");
        buf_printf(
            out, "%s%s%s", migrations[i].concurrent ? sql_dba_concurrent_begin.text : sql_dba_migration_begin.text,
            migrations[i].text, migrations[i].concurrent ? sql_dba_concurrent_end.text : sql_dba_migration_end.text);
    }
    buf_puts(out, sql_dba_end.text);
    if (names->password) {
        buf_puts(out, "\n/* database.conninfo has a password for the role: give the role the same one. */\n"
                      "\\echo 'Last step: \\\\password ' :\"role\"\n");
    }
}
