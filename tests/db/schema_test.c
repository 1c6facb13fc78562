/* Migrations: on an empty database, again, two at once, dry, against newer releases; and the schema that they make. */
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"
#include "store/migrations.h"

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
    assert_string_equal(migrate(h, s, true), "would apply 002_views;");
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

/* ---- two at once */

static pid_t migrate_in_child(struct harness *h)
{
    pid_t pid = fork();
    struct config *c;
    struct store *s;
    struct buf told;
    int st;

    if (pid != 0) {
        return pid;
    }
    c = kit_config(h, NULL);
    s = store_new(c, "schema");
    buf_init(&told, 1 << 16);
    st = store_migrate(s, false, add_line, &told, NULL);
    _exit(st == ST_OK ? (int)text_count(buf_text(&told), "applied") : 100);
}

E2E_TEST(two_at_once)
{
    pid_t children[2];
    int applied = 0;

    /* Both wait for us, so both begin on the empty database. */
    assert_sql(h, "select pg_advisory_lock(hashtextextended('atsync.migrate', 0))::text", "");
    for (size_t i = 0; i < ATS_COUNT(children); i++) {
        children[i] = migrate_in_child(h);
        assert_true(children[i] > 0);
    }
    wait_sql(h, "select count(*) from pg_locks where locktype = 'advisory' and not granted", "2");
    assert_sql(h, "select pg_advisory_unlock(hashtextextended('atsync.migrate', 0))", "true");
    for (size_t i = 0; i < ATS_COUNT(children); i++) {
        int status = 0;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        applied += WEXITSTATUS(status);
    }
    assert_int_equal(applied, 2);
    assert_sql(h, "select count(*) from atsync.schema_version", "2");
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

static void migrate_from(struct harness *h, const char *release)
{
    const char *dump = file_of(h, arena_printf(h->arena, RELEASED "/%s.sql", release));
    const char *data = file_of(h, arena_printf(h->arena, RELEASED "/%s.data.sql", release));
    struct store *s = open_store(h);
    const char *rows;
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
    sql_script(h, dump);
    sql_script(h, data);
    rows = sql_text(h, COUNT_ROWS);
    (void)migrate(h, s, false);
    assert_done(store_schema_check(s, &err), &err);
    assert_string_equal(sql_text(h, file_of(h, TEST_SOURCE_DIR "/sql/stmt/schema_catalog.sql")), file_of(h, GOLDEN));
    /* a migration may bring tables, and loses no row */
    for (const char *line = rows; *line;
         line += line[strcspn(line, "\n")] == '\n' ? strcspn(line, "\n") + 1 : strlen(line)) {
        const char *one = arena_printf(h->arena, "%.*s", (int)strcspn(line, "\n"), line);

        if (!strstr(sql_text(h, COUNT_ROWS), one)) {
            fail_msg("from release %s: there were \"%s\" rows, and are\n%s", release, one, sql_text(h, COUNT_ROWS));
        }
    }
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
