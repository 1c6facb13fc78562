/* Migrations: on an empty database, again, two at once, dry, against newer releases; and the schema that they make. */
#include <dirent.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"
#include "store/migrations.h"
#include "store/setup.h"

#define GOLDEN TEST_SOURCE_DIR "/sql/schema.golden"
#define RELEASED TEST_SOURCE_DIR "/tests/db/released"
#define VIEWS_PAGE TEST_SOURCE_DIR "/packaging/man/atsyncd-views.7"
#define VIEWS_BEGIN ".\\\" Begin of what `make schema-files' writes. Change the comments in sql/migrations instead.\n"
#define VIEWS_END ".\\\" End of what `make schema-files' writes.\n"
#define COUNT_RELATIONS                                                                                                \
    "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'atsync'"

static struct store *open_store(struct harness *h)
{
    struct config *c = kit_config(h, NULL);
    struct store *s = store_new(c, "schema");
    struct errmsg err;

    config_unref(c);
    assert_done(store_connect(s, &err), &err);
    return s;
}

static void add_line(void *ctx, const char *line)
{
    buf_printf(ctx, "%s;", line);
}

/* Returns the steps that were told. */
static const char *migrate(struct harness *h, struct store *s, bool dry_run)
{
    struct buf told;
    struct errmsg err;
    const char *text;

    buf_init(&told, 1 << 16);
    assert_done(store_migrate(s, dry_run, add_line, &told, &err), &err);
    text = arena_strdup(h->arena, buf_text(&told));
    buf_free(&told);
    return text;
}

/* First in the program: the role atsync_reader belongs to the whole cluster and is not there yet. */
E2E_TEST(an_owner_without_privileges_can_migrate)
{
    struct harness plain = *h;
    enum setup_reader reader;
    struct store *s;
    struct errmsg err;

    sql_script(h, "create role plain login");
    sql_script(
        h, arena_printf(h->arena, "grant create on database %s to plain", sql_text(h, "select current_database()")));
    plain.conninfo = arena_printf(h->arena, "%s user=plain", h->conninfo);
    s = open_store(&plain);
    assert_string_equal(migrate(h, s, false), "applied 001_init;applied 002_views;");
    assert_done(store_schema_check(s, &err), &err);
    assert_sql(h, "select count(*) from pg_roles where rolname = 'atsync_reader'", "0");
    assert_sql(h, "select nspowner::regrole::text from pg_namespace where nspname = 'atsync'", "plain");

    /* somebody who may makes the role, and it is shown the views */
    assert_done(store_show_to_reader(s, &reader, &err), &err);
    assert_int_equal(reader, SETUP_READER_MISSING);
    sql_script(h, "create role atsync_reader");
    assert_done(store_show_to_reader(s, &reader, &err), &err);
    assert_int_equal(reader, SETUP_READER_SHOWN);
    assert_done(store_show_to_reader(s, &reader, &err), &err);
    assert_int_equal(reader, SETUP_READER_SEES);
    sql_script(h, "do $$ begin set local role atsync_reader; perform 1 from atsync.sync_status; end $$");
    store_free(s);
}

E2E_TEST(an_empty_database_is_filled_once)
{
    struct store *s = open_store(h);
    struct schema_status status;
    struct errmsg err;

    assert_int_equal(store_schema_check(s, &err), ST_CONFLICT);
    assert_string_equal(err.text, "the database has no schema atsync yet: run atsyncctl migrate");
    assert_done(store_schema_status(s, &status, &err), &err);
    assert_int_equal(status.version, 0);
    assert_int_equal(status.newest_known, 2);
    assert_true(status.migration_missing);
    assert_string_equal(migrate(h, s, true), "would apply 001_init;would apply 002_views;");
    assert_sql(h, "select to_regnamespace('atsync') is null", "true");

    assert_string_equal(migrate(h, s, false), "applied 001_init;applied 002_views;");
    assert_done(store_schema_check(s, &err), &err);
    assert_done(store_schema_status(s, &status, &err), &err);
    assert_int_equal(status.version, 2);
    assert_false(status.migration_missing);
    assert_false(status.newer_breaking);
    assert_sql(
        h,
        "select string_agg(concat_ws(' ', version, name, breaking), ', ' order by version) from atsync.schema_version",
        "1 001_init t, 2 002_views f");
    sql_script(h, "insert into atsync.workflow_name values ('popp', 'w', 'x')");
    assert_string_equal(migrate(h, s, false), "");
    assert_string_equal(migrate(h, s, true), "");
    assert_sql(h, "select count(*) from atsync.workflow_name", "1");
    store_free(s);
}

E2E_TEST(what_is_missing_is_said_and_applied)
{
    struct store *s = open_store(h);
    struct errmsg err;

    (void)migrate(h, s, false);
    sql_script(h, "delete from atsync.schema_version where version = 2; drop view atsync.issues");
    assert_int_equal(store_schema_check(s, &err), ST_CONFLICT);
    assert_string_equal(err.text, "the database has schema version 1, this release needs 2: run atsyncctl migrate");
    assert_string_equal(migrate(h, s, true), "would apply 002_views: daemons of older releases go on beside it;");
    assert_sql(h, "select to_regclass('atsync.issues') is null", "true");
    assert_string_equal(migrate(h, s, false), "applied 002_views;");
    assert_sql(h, "select count(*) from atsync.issues", "0");
    assert_done(store_schema_check(s, &err), &err);
    store_free(s);
}

E2E_TEST(a_failed_migration_leaves_nothing)
{
    struct store *s = open_store(h);
    struct buf told;
    struct errmsg err;

    buf_init(&told, 1 << 16);
    sql_script(
        h, "create schema atsync; create table atsync.issue (theirs int)"); /* near the end of the first migration */
    assert_int_equal(store_migrate(s, false, add_line, &told, &err), ST_INTERNAL);
    assert_string_equal(err.text, "migration: 001_init: relation \"issue\" already exists (SQLSTATE 42P07)");
    assert_string_equal(buf_text(&told), "");
    assert_sql(h, COUNT_RELATIONS " and c.relkind = 'r'", "2"); /* theirs and schema_version */
    assert_sql(h, "select count(*) from atsync.schema_version", "0");
    sql_script(h, "drop table atsync.issue");
    assert_string_equal(migrate(h, s, false), "applied 001_init;applied 002_views;");
    buf_free(&told);
    store_free(s);
}

E2E_TEST(newer_releases)
{
    struct store *s = open_store(h);
    struct schema_status status;
    struct errmsg err;

    (void)migrate(h, s, false);
    sql_script(h, "insert into atsync.schema_version (version, name, breaking) values (3, '003_more', false)");
    assert_done(store_schema_check(s, &err), &err);
    assert_string_equal(migrate(h, s, false), "");
    sql_script(h, "insert into atsync.schema_version (version, name, breaking) values (4, '004_other', true)");
    assert_int_equal(store_schema_check(s, &err), ST_CONFLICT);
    assert_string_equal(err.text, "the database has schema version 4, which this release (it knows up to 2) must not "
                                  "work on: install the newer release");
    assert_done(store_schema_status(s, &status, &err), &err);
    assert_true(status.newer_breaking);
    assert_int_equal(status.version, 4);
    assert_int_equal(store_migrate(s, false, add_line, NULL, &err), ST_CONFLICT);
    store_free(s);
}

/* ---- beside others */

/* A release to come: migrations of its own, applied by another process. */
static const struct migration later_index = {
    .version = 900,
    .name = "900_index",
    .concurrent = true,
    .text = "-- breaking: no. concurrent: yes. For tests.\n\n"
            "drop index concurrently if exists atsync.workflow_later;\n"
            "create unique index concurrently workflow_later\n    on atsync.workflow_name (external_id);\n"};
static const struct migration later_column = {
    .version = 901,
    .name = "901_column",
    .breaking = true,
    .text = "-- breaking: yes. For tests.\n\nalter table atsync.workflow_name add column later integer;\n"};

struct migrator {
    pid_t pid;
    int told; /* its lines */
};

static void write_line(void *ctx, const char *line)
{
    const struct migrator *m = ctx;

    (void)!write(m->told, line, strlen(line));
    (void)!write(m->told, "\n", 1);
}

/* Ends with the number of migrations it applied; NULL: those of this release. */
static struct migrator migrator_start(struct harness *h, const struct migration *one)
{
    struct migrator m = {0};
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    m.pid = fork();
    assert_true(m.pid >= 0);
    if (m.pid == 0) {
        struct config *c = kit_config(h, NULL);
        struct store *s = store_new(c, "schema");
        struct errmsg err = {{0}};
        int st;

        (void)close(fds[0]);
        m.told = fds[1];
        st = one ? migrations_apply(s, one, 1, false, write_line, &m, &err)
                 : store_migrate(s, false, write_line, &m, &err);
        if (st != ST_OK) {
            write_line(&m, err.text);
        }
        store_free(s);
        config_unref(c);
        _exit(0);
    }
    (void)close(fds[1]);
    m.told = fds[0];
    return m;
}

/* The next line that it tells; "" at its end. */
static const char *migrator_line(struct harness *h, const struct migrator *m)
{
    struct pollfd waiting = {.fd = m->told, .events = POLLIN};
    char line[256];
    size_t len = 0;

    while (len < sizeof line - 1) {
        if (poll(&waiting, 1, 60000) != 1) {
            fail_msg("a migration tells nothing");
        }
        if (read(m->told, line + len, 1) != 1 || line[len] == '\n') {
            break;
        }
        len++;
    }
    line[len] = '\0';
    return arena_strdup(h->arena, line);
}

static void migrator_ends(struct harness *h, const struct migrator *m)
{
    int status = 0;

    assert_string_equal(migrator_line(h, m), "");
    (void)close(m->told);
    assert_int_equal(waitpid(m->pid, &status, 0), m->pid);
    assert_int_equal(status, 0);
}

/* Somebody else's connection. */
static struct db *other_begin(struct harness *h, const char *script)
{
    struct db *db = db_new(h->conninfo, "other");
    struct errmsg err;

    assert_done(db_script(db, "other", "begin", &err), &err);
    assert_done(db_script(db, "other", script, &err), &err);
    return db;
}

static void other_end(struct db *db)
{
    struct errmsg err;

    assert_done(db_script(db, "other", "commit", &err), &err);
    db_free(db);
}

E2E_TEST(two_at_once)
{
    struct migrator two[2];
    size_t applied = 0;

    /* Both wait for us, so both begin on the empty database. */
    assert_sql(h, "select pg_advisory_lock(hashtextextended('atsync.migrate', 0))::text", "");
    for (size_t i = 0; i < ATS_COUNT(two); i++) {
        two[i] = migrator_start(h, NULL);
        assert_string_equal(migrator_line(h, &two[i]), "waiting: another program migrates this database");
    }
    assert_sql(h, "select pg_advisory_unlock(hashtextextended('atsync.migrate', 0))", "true");
    for (size_t i = 0; i < ATS_COUNT(two); i++) {
        const char *line;

        while (*(line = migrator_line(h, &two[i])) != '\0') {
            applied += text_count(line, "applied ");
            assert_null(strstr(line, "migration:"));
        }
        migrator_ends(h, &two[i]);
    }
    assert_int_equal(applied, 2);
    assert_sql(h, "select count(*) from atsync.schema_version", "2");
}

/* An index that is built concurrently waits for all transactions that began before; neither daemons nor a second migrator wait with it,
 * and that one does not make it wait. */
E2E_TEST(an_index_is_built_beside_the_work)
{
    struct store *s = open_store(h);
    struct migrator first, second;
    struct db *other;

    (void)migrate(h, s, false);
    other = other_begin(h, "insert into atsync.workflow_name values ('popp', 'a', 'a')");
    first = migrator_start(h, &later_index);
    assert_string_equal(migrator_line(h, &first),
                        "applying 900_index beside the work of the daemons; on large tables this takes minutes");
    wait_sql(h,
             "select count(*) from pg_stat_activity where query like 'create unique index concurrently%' and "
             "wait_event_type = 'Lock' and datname = current_database()",
             "1");
    second = migrator_start(h, &later_index);
    assert_string_equal(migrator_line(h, &second),
                        "applying 900_index beside the work of the daemons; on large tables this takes minutes");
    assert_string_equal(migrator_line(h, &second), "waiting: another program migrates this database");
    sql_script(h, "insert into atsync.workflow_name values ('popp', 'b', 'b')");
    assert_sql(h, "select count(*) from atsync.schema_version where version = 900", "0");
    other_end(other);
    assert_string_equal(migrator_line(h, &first), "applied 900_index");
    migrator_ends(h, &first);
    migrator_ends(h, &second);
    assert_sql(h, "select indisvalid from pg_index where indexrelid = 'atsync.workflow_later'::regclass", "true");
    assert_sql(h, "select concat_ws(' ', name, breaking) from atsync.schema_version where version = 900",
               "900_index f");
    store_free(s);
}

/* What it left behind is in nobody's way when it is tried again. */
E2E_TEST(an_index_that_could_not_be_built_is_built_again)
{
    struct store *s = open_store(h);
    struct errmsg err;
    struct buf told;

    buf_init(&told, 1 << 10);
    (void)migrate(h, s, false);
    sql_script(h, "insert into atsync.workflow_name values ('popp', 'a', 'x'), ('popp', 'b', 'x')");
    assert_int_equal(migrations_apply(s, &later_index, 1, false, add_line, &told, &err), ST_CONFLICT);
    assert_non_null(strstr(err.text, "migration: 900_index: "));
    assert_sql(h, "select indisvalid from pg_index where indexrelid = 'atsync.workflow_later'::regclass", "false");
    assert_sql(h, "select count(*) from atsync.schema_version where version = 900", "0");
    sql_script(h, "update atsync.workflow_name set external_id = workflow_id");
    assert_done(migrations_apply(s, &later_index, 1, false, add_line, &told, &err), &err);
    assert_sql(h, "select indisvalid from pg_index where indexrelid = 'atsync.workflow_later'::regclass", "true");
    assert_non_null(strstr(buf_text(&told), ";applied 900_index;"));
    buf_free(&told);
    store_free(s);
}

/* A change of a table waits for who has it open, and everybody else would wait behind the change. */
E2E_TEST(nobody_waits_long_behind_a_change)
{
    struct store *s = open_store(h);
    struct migrator m;
    struct db *other;

    (void)migrate(h, s, false);
    other = other_begin(h, "lock table atsync.workflow_name in access share mode"); /* a backup */
    m = migrator_start(h, &later_column);
    assert_string_equal(migrator_line(h, &m),
                        "waiting: others have a table open that 901_column changes (a long query, a backup)");
    sql_script(h, "insert into atsync.workflow_name values ('popp', 'a', 'a')"); /* although the backup goes on */
    other_end(other);
    assert_string_equal(migrator_line(h, &m), "applied 901_column");
    migrator_ends(h, &m);
    assert_sql(h, "select later is null from atsync.workflow_name", "true");
    store_free(s);
}

/* What a release to come would do is said before, and what it means for the others. */
E2E_TEST(a_dry_run_says_what_it_means_for_others)
{
    const struct migration later[] = {later_index, later_column};
    struct store *s = open_store(h);
    struct buf told;
    struct errmsg err;

    buf_init(&told, 1 << 10);
    (void)migrate(h, s, false);
    assert_done(migrations_apply(s, later, 2, true, add_line, &told, &err), &err);
    assert_string_equal(buf_text(&told),
                        "would apply 900_index: daemons of older releases go on beside it; it may take minutes and "
                        "stops nobody;would apply 901_column: breaking, daemons of older releases end by themselves;");
    buf_free(&told);
    store_free(s);
}

/* ---- what is there then */

static const char *file_of(struct harness *h, const char *path)
{
    struct buf text;
    char piece[4096];
    const char *copy;
    size_t n;
    FILE *f = fopen(path, "re");

    buf_init(&text, 1 << 20);
    while (f && (n = fread(piece, 1, sizeof piece, f)) > 0) {
        buf_add(&text, piece, n);
    }
    if (f) {
        (void)fclose(f);
    }
    copy = arena_strdup(h->arena, buf_text(&text));
    buf_free(&text);
    return copy;
}

static bool is_update(void)
{
    const char *update = getenv("ATSYNC_GOLDEN");

    return update && strcmp(update, "update") == 0;
}

static void write_golden(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

E2E_TEST(the_schema_is_the_golden_one)
{
    struct store *s = open_store(h);
    const char *query = file_of(h, TEST_SOURCE_DIR "/sql/stmt/schema_catalog.sql");
    const char *is;
    const char *golden;
    unsigned line = 1;

    (void)migrate(h, s, false);
    store_free(s);
    is = sql_text(h, query);
    if (is_update()) {
        write_golden(GOLDEN, is);
    }
    golden = file_of(h, GOLDEN);
    assert_true(strlen(golden) > 1000);
    for (const char *a = is, *b = golden; *a || *b; line++) {
        size_t a_len = strcspn(a, "\n");
        size_t b_len = strcspn(b, "\n");

        if (a_len != b_len || strncmp(a, b, a_len) != 0) {
            fail_msg("line %u of the schema is\n%.*s\nand of %s\n%.*s\nIf that is meant: make schema-files writes "
                     "it anew",
                     line, (int)a_len, a, GOLDEN, (int)b_len, b);
        }
        a += a_len + (a[a_len] != '\0');
        b += b_len + (b[b_len] != '\0');
    }
}

/* ---- from each release to this one */

/* What a database of this release is made of, as text: its migrations and their rows in schema_version. */
static const char *schema_of_this_release(struct harness *h)
{
    const char *text =
        "-- The schema as release " ATSYNC_VERSION " makes it. Not changed once that is released: schema_test migrates "
        "from it.\n\ncreate schema atsync;\ncreate table atsync.schema_version (version integer primary key, name text "
        "not null, breaking boolean not null,\n    applied_at timestamptz not null default now());\n";

    for (unsigned i = 0; i < migration_count; i++) {
        text = arena_printf(
            h->arena,
            "%s\n-- ---- %s\ninsert into atsync.schema_version (version, name, breaking) values (%d, '%s', %s);\n%s",
            text, migrations[i].name, migrations[i].version, migrations[i].name,
            migrations[i].breaking ? "true" : "false", migrations[i].text);
    }
    return text;
}

E2E_TEST(the_schema_of_this_release_is_kept)
{
    const char *is = schema_of_this_release(h);

    if (is_update()) {
        write_golden(RELEASED "/" ATSYNC_VERSION ".sql", is);
    } else if (strcmp(file_of(h, RELEASED "/" ATSYNC_VERSION ".sql"), is) != 0) {
        fail_msg("sql/migrations makes another schema than " RELEASED "/" ATSYNC_VERSION ".sql says. If " ATSYNC_VERSION
                 " is not released "
                 "yet: make schema-files writes that anew. If it is: undo the change, and make it in a migration of "
                 "its own");
    }
}

#define COUNT_ROWS                                                                                                     \
    "select string_agg(format('%s %s', c.relname, (xpath('//n/text()', query_to_xml(format('select count(*) as n "     \
    "from "                                                                                                            \
    "atsync.%I', c.relname), false, false, '')))[1]), E'\\n' order by c.relname) from pg_class c where "               \
    "c.relnamespace = "                                                                                                \
    "'atsync'::regnamespace and c.relkind = 'r' and c.relname <> 'schema_version'"

/* As its migrations were applied: what is concurrent statement by statement. */
static void run_dump(struct harness *h, const char *dump)
{
    while (*dump) {
        const char *next = strstr(dump + 1, "\n-- ---- ");
        size_t len = next ? (size_t)(next - dump) : strlen(dump);
        const char *part = arena_printf(h->arena, "%.*s", (int)len, dump);

        if (strstr(part, "\n-- breaking: no. concurrent: yes.")) {
            const char *at = part;
            const char *statement;
            size_t statement_len;

            while ((statement = migration_statement(&at, &statement_len)) != NULL) {
                sql_script(h, arena_printf(h->arena, "%.*s", (int)statement_len, statement));
            }
        } else {
            sql_script(h, part);
        }
        dump += len;
    }
}

#define TABLES                                                                                                         \
    "select string_agg(c.relname || ' ' || c.relfilenode, E'\\n' order by c.relname) from pg_class c where "           \
    "c.relnamespace = 'atsync'::regnamespace and c.relkind = 'r'"

static void assert_lines_are_in(const char *lines, const char *all, const char *what)
{
    for (const char *line = lines; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n')) {
        char *one = mem_printf("\n%.*s\n", (int)strcspn(line, "\n"), line);
        char *text = mem_printf("\n%s\n", all);
        bool is_in = strstr(text, one) != NULL;

        mem_free(text);
        if (!is_in) {
            fail_msg("%s: there was%sand is\n%s", what, one, all);
        }
        mem_free(one);
    }
}

static void migrate_from(struct harness *h, const char *release)
{
    const char *dump = file_of(h, arena_printf(h->arena, RELEASED "/%s.sql", release));
    const char *data = file_of(h, arena_printf(h->arena, RELEASED "/%s.data.sql", release));
    struct store *s = open_store(h);
    const char *rows, *files;
    struct errmsg err;

    assert_true(strlen(dump) > 1000 && strlen(data) > 100);
    /* what was released stays as it was: whoever has it would not get the change */
    for (unsigned i = 0; i < migration_count; i++) {
        const char *head = arena_printf(h->arena, "\n-- ---- %s\n", migrations[i].name);

        if (strstr(dump, head) && !strstr(dump, migrations[i].text)) {
            fail_msg("%s was changed after release %s: undo that, and make the change in a migration of its own",
                     migrations[i].name, release);
        }
    }
    sql_script(h, "drop schema if exists atsync cascade");
    run_dump(h, dump);
    sql_script(h, data);
    rows = sql_text(h, COUNT_ROWS);
    files = sql_text(h, TABLES);
    (void)migrate(h, s, false);
    assert_done(store_schema_check(s, &err), &err);
    /* a migration may bring tables, loses no row, and writes no table anew: with ten million rows that stops everybody for minutes */
    assert_lines_are_in(rows, sql_text(h, COUNT_ROWS), arena_printf(h->arena, "rows from release %s", release));
    assert_lines_are_in(files, sql_text(h, TABLES),
                        arena_printf(h->arena, "a table of release %s is written anew", release));
    assert_string_equal(sql_text(h, file_of(h, TEST_SOURCE_DIR "/sql/stmt/schema_catalog.sql")), file_of(h, GOLDEN));
    store_free(s);
}

E2E_TEST(every_released_schema_is_migrated)
{
    DIR *dir = opendir(RELEASED);
    unsigned releases = 0;

    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t len = strlen(entry->d_name);

        if (len > 4 && strcmp(entry->d_name + len - 4, ".sql") == 0 && !strstr(entry->d_name, ".data.")) {
            migrate_from(h, arena_printf(h->arena, "%.*s", (int)(len - 4), entry->d_name));
            releases++;
        }
    }
    (void)closedir(dir);
    assert_true(releases > 0);
}

/* The manual shows every view and column with the words of the database's own comments. */
E2E_TEST(the_manual_shows_the_views)
{
    struct store *s = open_store(h);
    const char *page = file_of(h, VIEWS_PAGE);
    const char *begin = strstr(page, VIEWS_BEGIN);
    const char *end = strstr(page, VIEWS_END);
    const char *is;

    (void)migrate(h, s, false);
    store_free(s);
    assert_non_null(begin);
    assert_non_null(end);
    begin += strlen(VIEWS_BEGIN);
    is = sql_text(h, file_of(h, TEST_SOURCE_DIR "/tests/db/views_page.sql"));
    if (is_update()) {
        write_golden(VIEWS_PAGE, arena_printf(h->arena, "%.*s%s%s", (int)(begin - page), page, is, end));
    } else if ((size_t)(end - begin) != strlen(is) || memcmp(begin, is, strlen(is)) != 0) {
        fail_msg("%s does not show the views as they are: make schema-files writes it anew", VIEWS_PAGE);
    }
}

/* The table in the guide, "| `event` | `event_id` | ...": Citus wants the column in each unique key of the table. */
E2E_TEST(unique_keys_hold_what_tables_could_be_distributed_by)
{
    struct store *s = open_store(h);
    const char *page = strstr(file_of(h, TEST_SOURCE_DIR "/packaging/doc/deployment.md"), "| table | distributed by |");
    unsigned tables = 0;

    (void)migrate(h, s, false);
    store_free(s);
    assert_non_null(page);
    for (const char *line = page; line && *line == '|'; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char table[64], column[64];

        if (sscanf(line, "| `%63[a-z_]` | `%63[a-z_]` |", table, column) == 2) {
            assert_sql(
                h,
                arena_printf(h->arena,
                             "select count(*) from pg_attribute a where a.attrelid = 'atsync.%s'::regclass and "
                             "a.attname = '%s' and not exists (select from pg_index i where i.indrelid = a.attrelid "
                             "and i.indisunique and not a.attnum = any (i.indkey))",
                             table, column),
                "1");
            tables++;
        }
    }
    assert_int_equal(tables, 8);
}

E2E_TEST(the_reader_sees_the_views_and_nothing_else)
{
    struct store *s = open_store(h);

    (void)migrate(h, s, false);
    store_free(s);
    assert_sql(
        h,
        "select string_agg(c.relname, ' ') from pg_class c where c.relnamespace = 'atsync'::regnamespace and c.relkind "
        "in ('r', 'v', 'S') "
        "and (has_table_privilege('atsync_reader', c.oid, 'SELECT') <> (c.relkind = 'v') "
        "or has_table_privilege('atsync_reader', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER'))",
        NULL);
    assert_sql(h, "select has_schema_privilege('atsync_reader', 'atsync', 'CREATE')", "false");
    /* and the views work for it, although the tables are closed */
    sql_script(h, "do $$ declare v name; begin set local role atsync_reader; "
                  "for v in select viewname from pg_views where schemaname = 'atsync' loop execute format('select * "
                  "from atsync.%I', v); end loop; end $$");
    sql_script(h,
               "do $$ begin set local role atsync_reader; perform 1 from atsync.event; raise 'the reader saw a table'; "
               "exception when insufficient_privilege then null; end $$");
}

E2E_TEST(every_view_says_what_it_is)
{
    struct store *s = open_store(h);

    (void)migrate(h, s, false);
    store_free(s);
    assert_sql(h,
               "select string_agg(c.relname, ' ') from pg_class c where c.relnamespace = 'atsync'::regnamespace and "
               "c.relkind in ('r', 'v') "
               "and obj_description(c.oid, 'pg_class') is null",
               NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(an_owner_without_privileges_can_migrate),
        E2E_RUN(an_empty_database_is_filled_once),
        E2E_RUN(what_is_missing_is_said_and_applied),
        E2E_RUN(a_failed_migration_leaves_nothing),
        E2E_RUN(newer_releases),
        E2E_RUN(two_at_once),
        E2E_RUN(an_index_is_built_beside_the_work),
        E2E_RUN(an_index_that_could_not_be_built_is_built_again),
        E2E_RUN(nobody_waits_long_behind_a_change),
        E2E_RUN(a_dry_run_says_what_it_means_for_others),
        E2E_RUN(the_schema_is_the_golden_one),
        E2E_RUN(the_schema_of_this_release_is_kept),
        E2E_RUN(every_released_schema_is_migrated),
        E2E_RUN(the_manual_shows_the_views),
        E2E_RUN(unique_keys_hold_what_tables_could_be_distributed_by),
        E2E_RUN(the_reader_sees_the_views_and_nothing_else),
        E2E_RUN(every_view_says_what_it_is),
    };

    return e2e_main(tests);
}
