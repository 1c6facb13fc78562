/* What an administrator does with atsyncctl: setup, doctor, completion, and long work at a terminal. */
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/ctlkit.h"

#define COMPLETION TEST_SOURCE_DIR "/packaging/completion/atsyncctl"
#define SAMPLE_CONF TEST_SOURCE_DIR "/conf/atsyncd.conf"

/* ---- files and databases beside the test's own */

static const char *file_of(struct harness *h, const char *path)
{
    struct buf text;
    char piece[4096];
    const char *copy;
    size_t n;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        fail_msg("cannot read %s", path);
    buf_init(&text, 1 << 24);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_add(&text, piece, n);
    (void)fclose(f);
    copy = arena_strdup(h->arena, buf_text(&text));
    buf_free(&text);
    return copy;
}

/* The value of a word of the test's conninfo, "port=5432 ...". */
static const char *word_of(struct harness *h, const char *name)
{
    const char *at = strstr(h->conninfo, name);

    assert_non_null(at);
    at += strlen(name);
    return arena_strndup(h->arena, at, strcspn(at, " "));
}

/* A conninfo for this server with these words in place of user and database. */
static const char *conninfo_with(struct harness *h, const char *words)
{
    return arena_printf(h->arena, "host=%s port=%s %s", word_of(h, "host="), word_of(h, "port="), words);
}

/* One text from another database. */
static const char *text_in(struct harness *h, const char *conninfo, const char *query)
{
    struct db *db = db_new(conninfo, "test");
    struct sql_stmt stmt = {.name = "test query", .text = query, .planned_anew = true};
    struct db_result *r = NULL;
    struct errmsg err = {{0}};
    const char *text;

    if (db_exec(db, &stmt, NULL, DB_ROW, &r, &err) != ST_OK)
        fail_msg("%s: %s", query, err.text);
    text = arena_strdup(h->arena, db_text(r, 0, 0));
    db_result_free(r);
    db_free(db);
    return text;
}

/* Runs it without the default arguments; what it printed. */
static const char *run_ctl(struct harness *h, int expected, const char *const args[CTL_ARGS_MAX])
{
    const char *output = NULL;
    int status = program_run(h, &output, "atsyncctl", args[0], args[1], args[2], args[3], args[4], args[5], args[6],
                             args[7], args[8], NULL);

    if (status != expected)
        fail_msg("status %d, not %d:\n%s", status, expected, output);
    return output;
}
#define RUN(h, expected, ...) run_ctl(h, expected, (const char *const[CTL_ARGS_MAX]){__VA_ARGS__})

/* ---- the manual */

/* What atsyncctl(8) has as the head of a command: ".It Cm migrate Op Fl -dry-run", or the lines from ".It Xo" to ".Xc". */
static const char *manual_head(struct harness *h, const char *page, const char *command)
{
    for (int i = 0; i < 2; i++) {
        const char *start = arena_printf(h->arena, i == 0 ? "\n.It Cm %s" : "\n.It Xo\n.Cm %s", command);
        const char *at = page;

        while ((at = strstr(at, start)) != NULL) {
            const char *behind = at + strlen(start);

            if (*behind == '\n' || *behind == ' ') {
                const char *end = strstr(behind, i == 0 ? "\n" : "\n.Xc\n");

                assert_non_null(end);
                return arena_printf(h->arena, "%.*s\n", (int)(end - behind), behind);
            }
            at = behind;
        }
    }
    fail_msg("atsyncctl(8) has no command %s", command);
    return NULL;
}

/* The options behind `before` in text, each as its name between blanks. */
static const char *options_in(struct harness *h, const char *text, const char *before)
{
    const char *names = " ";

    for (const char *at = text; (at = strstr(at, before)) != NULL;) {
        size_t len;

        at += strlen(before);
        len = strspn(at, "abcdefghijklmnopqrstuvwxyz-");
        names = arena_printf(h->arena, "%s%.*s ", names, (int)len, at);
    }
    return names;
}

static void assert_each_is_in(struct harness *h, const char *names, const char *others, const char *complaint)
{
    for (const char *at = names + strspn(names, " "); *at; at += strcspn(at, " "), at += strspn(at, " ")) {
        const char *name = arena_printf(h->arena, " %.*s ", (int)strcspn(at, " "), at);

        if (!strstr(others, name)) {
            fail_msg("%s:%s", complaint, name);
        }
    }
}

/* Commands and options as the program knows them, and nothing that it does not know. */
E2E_TEST(the_manual_has_every_command_and_option)
{
    const char *page = file_of(h, TEST_SOURCE_DIR "/packaging/man/atsyncctl.8");
    const char *selection = strstr(page, ".It Fl -candidate Ar ");
    const char *line = strstr(RUN(h, 0, "--help"), "\nCommands:\n");
    unsigned commands = 0;

    assert_non_null(line);
    assert_non_null(selection);
    selection = options_in(h, arena_printf(h->arena, "%.*s", (int)(strstr(selection, ".El") - selection), selection),
                           "\n.It Fl -");
    selection = arena_printf(h->arena, " candidate%s", selection);
    for (line = strchr(line + 1, '\n') + 1; text_starts(line, "  "); line = strchr(line, '\n') + 1) {
        const char *command = arena_printf(h->arena, "%.*s", (int)strcspn(line + 2, " "), line + 2);
        const char *usage = RUN(h, 0, command, "--help");
        const char *head = manual_head(h, page, command);
        const char *shown = options_in(h, head, "Fl -");
        const char *known;

        usage = arena_printf(h->arena, "%.*s", (int)strcspn(usage, "\n"), usage);
        known = options_in(h, strstr(usage, arena_printf(h->arena, "] %s", command)), "--");
        if (strstr(head, "Ar selection")) {
            shown = arena_printf(h->arena, "%s%s", shown, selection);
        }
        assert_each_is_in(h, known, shown, arena_printf(h->arena, "atsyncctl(8) lacks an option of %s", command));
        assert_each_is_in(h, shown, known,
                          arena_printf(h->arena, "atsyncctl(8) has an option that %s does not", command));
        commands++;
    }
    assert_true(commands > 10);
}

/* ---- setup */

/*
 * As root the way of a fresh machine: peer authentication, as the OS user postgres for the superuser, as the daemon's
 * user for the daemon. Otherwise the server trusts everybody, and PGUSER says who the superuser is.
 */
static const char *daemon_user(void)
{
    const struct passwd *me = getpwuid(geteuid());

    assert_non_null(me);
    return geteuid() == 0 ? "nobody" : me->pw_name;
}

static void write_hba(struct harness *h, const char *first_line)
{
    FILE *f = fopen(sql_text(h, "select setting from pg_settings where name = 'hba_file'"), "we");

    assert_non_null(f);
    fprintf(f, "%slocal all all trust\nhost all all 127.0.0.1/32 trust\n", first_line);
    assert_int_equal(fclose(f), 0);
    sql_script(h, "select pg_reload_conf()");
}

static bool refuses_us(struct harness *h, void *arg)
{
    struct db *db = db_new(conninfo_with(h, "user=postgres dbname=postgres"), "test");
    struct errmsg err;
    int st = db_connect(db, &err);

    (void)arg;
    db_free(db);
    return st != ST_OK;
}

static int with_peers(void **state)
{
    int status = harness_setup(state);
    struct harness *h = *state;

    if (geteuid() != 0)
        return setenv("PGUSER", "postgres", 1);
    write_hba(h, "local postgres,setup_one all peer\n");
    wait_until(h, refuses_us, NULL, "the server asks who we are");
    return status;
}

static int without_peers(void **state)
{
    if (geteuid() == 0)
        write_hba(*state, "");
    return harness_teardown(state);
}

static const char *setup_conf(struct harness *h, const char *conninfo)
{
    (void)unlink(arena_printf(h->arena, "%s/setup.secret", h->dir));
    (void)unlink(arena_printf(h->arena, "%s/setup.key", h->dir));
    return private_file(h, "setup.conf",
                        arena_printf(h->arena,
                                     "receiver: {listen: \"127.0.0.1:8480\"}\n"
                                     "database: {conninfo: \"%s\", encryption_key: {file: %s/setup.key}}\n"
                                     "sources:\n  popp: {signing_secrets: [{file: %s/setup.secret}]}\n"
                                     "connectors:\n  ats:\n    type: rest\n    base_url: https://ats.example.com\n"
                                     "    credentials: {token: {file: %s/setup.token}}\n"
                                     "workflows: {}\n",
                                     conninfo, h->dir, h->dir, h->dir));
}

static const char *catalog_of(struct harness *h, const char *conninfo)
{
    return text_in(h, conninfo, file_of(h, TEST_SOURCE_DIR "/sql/stmt/schema_catalog.sql"));
}

/* First in the program: the role atsync_reader belongs to the whole server and is not there yet. */
E2E_TEST(setup_makes_what_is_missing_and_can_be_repeated)
{
    const char *user = daemon_user();
    const char *conf = setup_conf(h, conninfo_with(h, "dbname=setup_one"));
    const char *secret = arena_printf(h->arena, "%s/setup.secret", h->dir);
    const char *output, *kept;
    const struct json *j;
    struct stat info;

    output = RUN(h, 0, "-c", conf, "setup", "--user", user);
    assert_true(
        text_starts(output, arena_printf(h->arena,
                                         "made\trole\t%s\tlogs in as its OS user (peer authentication)\n"
                                         "made\trole\tatsync_reader\tto be granted to people and dashboards\n"
                                         "made\tdatabase\tsetup_one\tUTF8, owned by the role\n"
                                         "made\tschema\tatsync\tapplied 001_init, applied 002_views\n"
                                         "made\tprivileges\tatsync_reader\tmay read the views and nothing else\n"
                                         "works\tconnection\t%s\tthe daemon gets in, as the OS user %s\n"
                                         "made\tsecret\t%s/setup.key\tdatabase.encryption_key\n"
                                         "made\tsecret\t%s\tsources.popp.signing_secrets\n",
                                         user, user, user, h->dir, secret)));
    assert_has(output, arena_printf(h->arena, "next\tGive the sender the secret in %s.", secret));
    assert_has(output, "next\tComplete the configuration: ");
    assert_has(output, "/setup.token: No such file or directory\n");

    /* the secret: whose, and nobody has seen it */
    kept = file_of(h, secret);
    assert_int_equal(strspn(kept, "0123456789abcdef"), 64);
    assert_has_not(output, arena_strndup(h->arena, kept, 64));
    assert_int_equal(stat(secret, &info), 0);
    assert_int_equal(info.st_mode & 07777U, geteuid() == 0 ? 0640 : 0600);
    if (geteuid() == 0)
        assert_int_equal(info.st_gid, getpwnam(user)->pw_gid);

    /* the roles have no more than they need */
    assert_string_equal(sql_text(h, arena_printf(h->arena,
                                                 "select concat_ws('|', rolcanlogin, rolsuper, rolcreatedb, "
                                                 "rolcreaterole, rolreplication) from pg_roles where rolname = '%s'",
                                                 user)),
                        "t|f|f|f|f");
    assert_string_equal(sql_text(h, "select concat_ws('|', rolcanlogin, rolsuper) from pg_roles where rolname = "
                                    "'atsync_reader'"),
                        "f|f");
    assert_string_equal(
        sql_text(h, "select concat_ws('|', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate) from "
                    "pg_database where datname = 'setup_one'"),
        arena_printf(h->arena, "%s|UTF8|C", user));

    /* again: everything is there, and stays */
    output = RUN(h, 0, "-c", conf, "setup", "--user", user, "--json");
    j = json_of(h, output);
    assert_int_equal(json_type(json_get(j, "ok")), JSON_TRUE);
    assert_int_equal(json_count(json_get(j, "steps")), 8);
    for (const struct json *step = json_first(json_get(j, "steps")); step != NULL; step = json_next(step)) {
        assert_string_equal(json_get_str(step, "state"),
                            strcmp(json_get_str(step, "thing"), "connection") == 0 ? "works" : "was there");
    }
    assert_string_equal(file_of(h, secret), kept);

    /* a key that is missing although there may be tokens which need it */
    assert_int_equal(unlink(arena_printf(h->arena, "%s/setup.key", h->dir)), 0);
    output = RUN(h, 0, "-c", conf, "setup", "--user", user);
    assert_has(output, "missing\tsecret\t");
    assert_int_equal(access(arena_printf(h->arena, "%s/setup.key", h->dir), F_OK), -1);
}

E2E_TEST(setup_repairs_rights)
{
    const char *admin = conninfo_with(h, "user=postgres dbname=setup_three");
    const char *conf;
    const char *output;

    sql_script(h, "create database setup_three");
    sql_script(h, "create role keeper login; revoke all on database setup_three from public");
    /* somebody has migrated as the superuser, and has closed a view */
    conf = setup_conf(h, admin);
    output = RUN(h, 0, "-c", conf, "setup", "--superuser", admin, "--user", daemon_user());
    assert_has(output, "was there\trole\tpostgres\ta superuser\n");
    assert_string_equal(catalog_of(h, admin), file_of(h, TEST_SOURCE_DIR "/sql/schema.golden"));
    {
        struct db *db = db_new(admin, "test");
        struct errmsg err;

        assert_int_equal(db_script(db, "test", "revoke select on atsync.runs from atsync_reader", &err), ST_OK);
        db_free(db);
    }
    conf = setup_conf(h, conninfo_with(h, "user=keeper dbname=setup_three"));
    output = RUN(h, 0, "-c", conf, "setup", "--superuser", admin, "--user", daemon_user());
    assert_has(output, "was there\trole\tkeeper\tmay log in\n");
    assert_has(output, "was there\tdatabase\tsetup_three\towner postgres, UTF8\n");
    assert_has(output, "changed\tprivileges\tdatabase setup_three\tthe role may connect and make its schema\n");
    assert_has(output, "changed\towner\tschema atsync\t");
    assert_has(output, "was there\tschema\tatsync\tversion ");
    assert_has(output, "changed\tprivileges\tatsync_reader\tmay read the views and nothing else\n");
    assert_has(output, "works\tconnection\tkeeper\t");
    assert_string_equal(text_in(h, admin,
                                "select count(*)::text from pg_class where relnamespace = 'atsync'::regnamespace and "
                                "relkind in ('r', 'v') and pg_get_userbyid(relowner) <> 'keeper'"),
                        "0");
    assert_string_equal(text_in(h, admin, "select has_table_privilege('atsync_reader', 'atsync.runs', 'select')::text"),
                        "true");
    output = RUN(h, 0, "-c", conf, "setup", "--superuser", admin, "--user", daemon_user());
    assert_has_not(output, "changed\t");
    assert_has_not(output, "made\t");
}

/* On a hosted server there is no superuser to be had, only who may make roles and databases. */
E2E_TEST(setup_without_a_superuser)
{
    const char *maker = conninfo_with(h, "user=maker");
    const char *conf = setup_conf(h, conninfo_with(h, "user=tenant password=tenant-word dbname=setup_four"));
    const char *output;

    sql_script(h, "create role maker login createrole createdb; create role nothing login");
    output = RUN(h, 1, "-c", conf, "setup", "--superuser", conninfo_with(h, "user=nothing dbname=test1"), "--user",
                 daemon_user());
    assert_has(output, "the role nothing may not make roles and databases\n");
    assert_has(output, "What to do: ");
    assert_has(output, "--superuser");
    output = RUN(h, 0, "-c", conf, "setup", "--superuser", maker, "--user", daemon_user());
    assert_has(output, "made\trole\ttenant\tmay log in with the password of database.conninfo\n");
    assert_has(output, "made\tdatabase\tsetup_four\tUTF8, owned by the role\n");
    assert_has(output, "works\tconnection\ttenant\t");
    assert_has_not(output, "tenant-word");
    assert_string_equal(sql_text(h, "select left(rolpassword, 14) from pg_authid where rolname = 'tenant'"),
                        "SCRAM-SHA-256$");
    assert_string_equal(sql_text(h, "select rolpassword is null from pg_authid where rolname = 'atsync_reader'"),
                        "true");
}

static const char *psql(struct harness *h)
{
    char line[512];
    FILE *f =
        popen("ls -1 /usr/lib/postgresql/*/bin/psql /usr/pgsql-*/bin/psql /usr/bin/psql 2>/dev/null | head -n 1", "re");

    assert_non_null(f);
    if (fgets(line, sizeof line, f) == NULL)
        fail_msg("no psql is installed");
    (void)pclose(f);
    return arena_strndup(h->arena, line, strcspn(line, "\n"));
}

E2E_TEST(setup_prints_what_an_administrator_runs)
{
    /* names that need quoting in every way */
    const char *conf = setup_conf(h, conninfo_with(h, "user='o\\\\'neill \\\\\\\\ 1' dbname=setup-five"));
    const char *admin = conninfo_with(h, "user=postgres dbname=setup-five");
    const char *script, *output;
    char *command;

    script = private_file(h, "setup.sql", RUN(h, 0, "-c", conf, "setup", "--print"));
    assert_string_equal(sql_text(h, "select count(*) from pg_database where datname = 'setup-five'"), "0");
    command = arena_printf(h->arena, "%s -X -q -h %s -p %s -U postgres -d test1 -f %s >%s/psql.out 2>&1", psql(h),
                           word_of(h, "host="), word_of(h, "port="), script, h->dir);
    for (int i = 0; i < 2; i++) { /* and it can be repeated */
        FILE *f = popen(command, "re");

        assert_non_null(f);
        if (pclose(f) != 0)
            fail_msg("%s", file_of(h, arena_printf(h->arena, "%s/psql.out", h->dir)));
        assert_string_equal(catalog_of(h, admin), file_of(h, TEST_SOURCE_DIR "/sql/schema.golden"));
    }
    output = RUN(h, 0, "-c", conf, "setup", "--superuser", conninfo_with(h, "user=postgres host=127.0.0.1"), "--user",
                 daemon_user());
    assert_has_not(output, "changed\t");
    assert_has_not(output, "made\trole");
    assert_has_not(output, "made\tdatabase");
    output = RUN(h, 0, "-c", conf, "setup", "--print", "--json");
    assert_true(text_starts(json_get_str(json_of(h, output), "sql"), "\\set ON_ERROR_STOP on\n"));
}

E2E_TEST(setup_says_why_not)
{
    const char *conf = setup_conf(h, arena_printf(h->arena, "host=%s/nothing dbname=x", h->dir));
    const char *output;

    output = RUN(h, 1, "-c", conf, "setup", "--user", daemon_user());
    assert_has(output, "No such file or directory");
    assert_has(output,
               "Then run this again. For a database on another machine write host=NAME into database.conninfo.\n");
    assert_int_equal(access(arena_printf(h->arena, "%s/setup.secret", h->dir), F_OK), -1); /* nothing half */

    output = RUN(h, 1, "-c", conf, "setup", "--user", "no-such-user");
    assert_has(output, "this system has no user no-such-user");
    assert_has(output, "\n    useradd --system ");

    sql_script(h, "create database setup_latin encoding 'LATIN1' template template0");
    conf = setup_conf(h, conninfo_with(h, "user=postgres dbname=setup_latin"));
    output = RUN(h, 1, "-c", conf, "setup", "--superuser", conninfo_with(h, "user=postgres host=127.0.0.1"), "--user",
                 daemon_user());
    assert_has(output, "the database setup_latin is there (owner postgres, LATIN1), but its encoding is not UTF8");

    conf = private_file(h, "bad.conf", "receiver: {}\n");
    output = RUN(h, 78, "-c", conf, "setup");
    assert_has(output, "has no database.conninfo: write for example\n");
    conf = private_file(h, "bad.conf", "database: {conninfo: \"dbname\"}\n");
    output = RUN(h, 78, "-c", conf, "setup", "--user", daemon_user());
    assert_has(output, "database.conninfo is no connection string");
    output = RUN(h, 78, "-c", "/no/such/file", "setup");
    assert_has(output, "atsyncctl setup: cannot open /no/such/file: No such file or directory\n");
    output = RUN(h, 2, "setup", "--usr", "x");
    assert_has(output, "there is no option --usr, did you mean --user?\n");
}

/* ---- doctor */

/* Ended with the year 2019. */
static const char ended_certificate[] = "-----BEGIN CERTIFICATE-----\n"
                                        "MIIBGzCBwgIBATAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA9vbGQuZXhhbXBsZS5j\n"
                                        "b20wHhcNMTkwMTAxMDAwMDAwWhcNMjAwMTAxMDAwMDAwWjAaMRgwFgYDVQQDDA9v\n"
                                        "bGQuZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASuPrKal0wI\n"
                                        "OCQwHRjIYqmQA8rExAMbL6wTUCh2t9nf6XeKSKd4nuX31QEdJZNV3Q/5oZIqkX9q\n"
                                        "XzxFsZDUTMwWMAoGCCqGSM49BAMCA0gAMEUCIQCGTyZ4YRpbeQONYVEs33vd7U/+\n"
                                        "kYUrJGuRdecot/xGOwIgFcq9nIOlJ7X0xghu3JDNIjIBs261t3uaQdCrcpGY26Q=\n"
                                        "-----END CERTIFICATE-----\n";

/* {"exp":1577836800}: likewise. */
#define ENDED_TOKEN "eyJhbGciOiJub25lIn0.eyJleHAiOjE1Nzc4MzY4MDB9.c2ln"

static const struct json *doctor(struct harness *h, const struct program *d, int expected)
{
    return json_of(h, RUN(h, expected, "-c", d->conf_path, "doctor", "--json"));
}

static bool has_finding(const struct json *report, const char *severity, const char *check, const char *part)
{
    for (const struct json *f = json_first(json_get(report, "findings")); f != NULL; f = json_next(f)) {
        if (text_eq(json_get_str(f, "severity"), severity) && text_eq(json_get_str(f, "check"), check) &&
            text_has(json_get_str(f, "what"), part)) {
            assert_non_null(json_get_str(f, "why"));
            assert_non_null(json_get_str(f, "todo"));
            return true;
        }
    }
    return false;
}

static void assert_finding(const struct json *report, const char *severity, const char *check, const char *part)
{
    if (!has_finding(report, severity, check, part))
        fail_msg("no %s of %s with \"%s\" in: %s", severity, check, part, json_text(report));
}

/* With a disk that is nearly full a test machine is as good as with another one. */
static size_t count_findings(const struct json *report)
{
    size_t count = 0;

    for (const struct json *f = json_first(json_get(report, "findings")); f != NULL; f = json_next(f))
        count += !text_eq(json_get_str(f, "check"), "disk");
    return count;
}

static void set_server(struct harness *h, const char *setting, const char *expected)
{
    sql_script(h, setting);
    sql_script(h, "select pg_reload_conf()");
    wait_sql(h, "select current_setting('fsync')", expected);
}

E2E_TEST(doctor_finds_nothing_where_all_is_well)
{
    struct program *d = daemon_start(h, NULL);
    const struct json *report;
    const char *output;

    popp_deliver(h, d, popp_event(h, "run-completed", NULL));
    wait_sql(h, "select sync_state from atsync.sync_status", "synced");
    sql_script(h, "alter system set full_page_writes = on");
    set_server(h, "alter system set fsync = on", "on");
    report = json_of(h, RUN(h, 0, "-c", d->conf_path, "doctor", "--json"));
    if (count_findings(report) > 0)
        fail_msg("%s", json_text(report));
    assert_true(json_get_bool(report, "ok"));
    assert_true(json_count(json_get(report, "checked")) >= 17);
    assert_true(json_count(json_get(json_get(report, "measured"), "tables")) >= 10);
    if (geteuid() == 0)
        assert_int_equal(json_count(json_get(report, "not_checked")), 0);
    output = on_terminal(h, 0, (const char *const[]){"-c", d->conf_path, "doctor", NULL});
    if (json_count(json_get(report, "findings")) == 0) {
        assert_has(output, "Nothing is wrong: ");
        assert_string_equal(RUN(h, 0, "-c", d->conf_path, "doctor"), "");
    }
    sql_script(h, "alter system reset full_page_writes");
    set_server(h, "alter system reset fsync", "off");
    daemon_stop(h, d);
}

/* A session of somebody else is as old as the daemon's role cannot see, and root can. */
E2E_TEST(doctor_of_root_sees_everybody)
{
    struct program *d;
    struct db *other = db_new(h->conninfo, "a report");
    const struct json *report, *holder;
    struct errmsg err;

    sql_script(h, "create role daemon_role login");
    sql_script(h, arena_printf(h->arena, "grant create on database %s to daemon_role", word_of(h, "dbname=")));
    d = daemon_start(
        h, &(struct daemon_conf){.conninfo = conninfo_with(
                                     h, arena_printf(h->arena, "user=daemon_role dbname=%s", word_of(h, "dbname=")))});
    assert_int_equal(
        db_script(other, "begin", "begin isolation level repeatable read; create temporary table t ()", &err), ST_OK);
    report = doctor(h, d, 1); /* fsync */
    holder = json_at(report, "measured.horizon.0");
    assert_string_equal(json_get_str(holder, "application"), "a report");
    if (geteuid() == 0) {
        assert_int_equal(json_type(json_get(holder, "seconds")), JSON_NUMBER);
        assert_int_equal(json_count(json_get(report, "not_checked")), 0);
    } else {
        assert_int_equal(json_type(json_get(holder, "seconds")), JSON_NULL);
        assert_string_equal(json_get_str(json_at(report, "not_checked.0"), "check"), "horizon");
    }
    db_free(other);
    daemon_stop(h, d);
}

E2E_TEST(doctor_names_what_is_broken)
{
    const char *certificate = private_file(h, "ended.pem", ended_certificate);
    struct program *d =
        daemon_start(h, &(struct daemon_conf){.access = "credentials: {token: \"" ENDED_TOKEN "\"}\n",
                                              .connector = arena_printf(
                                                  h->arena, E2E_CONNECTOR E2E_RETRY "tls: {certificate: %s, key: %s}\n",
                                                  certificate, certificate)});
    const struct json *report;
    const char *output;

    /* the same hours of the weeks before had events; a sender's clock that is ahead */
    sql_script(
        h, "insert into atsync.source (source) values ('popp') on conflict do nothing; "
           "insert into atsync.event (source, event_id, type, subject, event_time, received_at) select 'popp', 'evt_' "
           "|| i, 't', '', now() - i * interval '3 minutes' - interval '3 hours' + interval '90 seconds', now() - i * "
           "interval '3 minutes' - interval '3 hours' from generate_series(0, 20 * 24 * 30) as i");
    sql_script(h,
               "drop index atsync.candidate_external; create index mine on atsync.event (type); alter table atsync.run "
               "set (autovacuum_enabled = false); alter table atsync.ats_call drop column verb cascade");
    report = doctor(h, d, 1);
    assert_false(json_get_bool(report, "ok"));
    assert_finding(report, "error", "durability", "fsync is off.");
    assert_finding(report, "error", "durability", "full_page_writes is off.");
    assert_finding(report, "error", "schema", "The index candidate_external of the table candidate is missing.");
    assert_finding(report, "error", "schema", "The column verb of the table ats_call is missing.");
    assert_finding(report, "error", "schema", "The view candidate_timeline is missing.");
    assert_finding(report, "info", "schema", "The index mine of the table event is not of this release.");
    assert_finding(report, "warning", "schema", "The table run is ");
    assert_finding(report, "error", "autovacuum", "autovacuum is off for the table atsync.run.");
    assert_finding(report, "error", "tokens", "The token connectors.sandbox.credentials.token ended ");
    assert_finding(report, "error", "certificates", "The certificate CN=old.example.com of connector sandbox (");
    assert_finding(report, "error", "silence",
                   "popp has sent nothing for 3 h. In the same hours of the last 4 weeks it sent");
    assert_finding(report, "warning", "clock", "Events of popp carry times up to 90 s ahead of the database's clock.");
    /* nothing of secrets is told */
    output = RUN(h, 1, "-c", d->conf_path, "doctor", "--json");
    assert_has_not(output, "eyJleHAi");
    assert_has_not(output, E2E_SECRET);

    /* for scripts: five cells a line, the worst first; for people wrapped */
    output = RUN(h, 1, "-c", d->conf_path, "doctor");
    assert_true(text_starts(output, "error\t"));
    for (const char *line = output; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_int_equal(text_count(arena_strndup(h->arena, line, strcspn(line, "\n")), "\t"), 4);
    output = on_terminal(h, 1, (const char *const[]){"-c", d->conf_path, "doctor", NULL});
    assert_has(output, "error    schema\r\n  The index candidate_external of the table candidate is\r\n  missing.\r\n");
    assert_has(output, "    To do: CREATE INDEX CONCURRENTLY candidate_external ON\r\n    atsync.candidate");

    /* a wrong clock on this machine */
    shift_clock(3600);
    report = doctor(h, d, 1);
    shift_clock(0);
    assert_finding(report, "error", "clock", "the clock of this machine is 3");

    /* what others can read */
    assert_int_equal(chmod(d->conf_path, 0644), 0);
    report = doctor(h, d, 1);
    assert_finding(report, "error", "configuration", d->conf_path);
    assert_finding(report, "error", "secrets", "Everybody on this machine can read ");
    assert_finding(report, "error", "durability", "fsync is off."); /* it goes on with what it knows */
    assert_int_equal(chmod(d->conf_path, 0600), 0);

    /* a release older than the schema: what is missing cannot be told any more */
    sql_script(h, "insert into atsync.schema_version (version, name, breaking) values (98, '098_later', false)");
    report = doctor(h, d, 1);
    assert_finding(report, "warning", "schema", "The schema is version 98; this release, ");
    assert_false(has_finding(report, "error", "schema", "candidate_external"));
    sql_script(h, "insert into atsync.schema_version (version, name, breaking) values (99, '099_other', true)");
    report = doctor(h, d, 1);
    assert_finding(report, "error", "schema", "The schema is version 99, and this release must not work on more than ");

    daemon_kill(h, d);
    sql_script(
        h, "delete from atsync.daemon; update atsync.candidate set due_at = now() - interval '1 hour'; insert into "
           "atsync.candidate (source, connector, ref, last_event_at, due_at) values ('popp', 'sandbox', 'x:1', now(), "
           "now() - interval '1 hour')");
    report = doctor(h, d, 1);
    assert_finding(report, "error", "daemons", "No daemon works on this database.");

    pg_stop(h, "fast");
    report = doctor(h, d, 1);
    assert_finding(report, "error", "database", "cannot connect to the database: ");
    pg_start(h);
    report = json_of(h, RUN(h, 1, "-c", "/no/such/file", "doctor", "--json"));
    assert_finding(report, "error", "configuration", "cannot open /no/such/file");
    assert_string_equal(json_get_str(json_at(report, "not_checked.0"), "check"), "database");
}

/* ---- long work */

/* More than one page; the second one waits for a lock, so that the line has to be drawn when that is gone. */
E2E_TEST(long_work_shows_how_far_it_is)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\nlease: 2s\npoll: 200ms\n"});
    struct db *other = db_new(h->conninfo, "other");
    const char *const args[] = {"-c", d->conf_path, "resync", "--yes", NULL};
    const char *output;
    struct errmsg err;
    struct child c;
    int64_t until;

    sql_script(h, "insert into atsync.candidate (source, connector, ref, external_id, last_event_at) select 'popp', "
                  "'sandbox', 'x:' || n, n::text, now() from generate_series(1001, 2700) n");
    assert_int_equal(
        db_script(other, "lock", "begin; update atsync.candidate set attempts = 0 where ref = 'x:1700'", &err), ST_OK);
    assert_int_equal(setenv("TERM", "xterm", 1), 0);
    child_start(h, &c, true, args);
    wait_sql(h, "select version from atsync.candidate where ref = 'x:1001'", "2");
    assert_string_equal(sql_text(h, "select version from atsync.candidate where ref = 'x:1700'"), "1");
    /* until it would be drawn */
    for (until = clock_mono_ms() + 700; clock_mono_ms() < until;)
        (void)child_read(&c, POLL_MS);
    assert_int_equal(db_script(other, "unlock", "rollback", &err), ST_OK);
    db_free(other);
    output = child_end(h, &c, 0);
    assert_has(output, "resyncing 1,000 of 1,700 (58%)");
    assert_has(output, "\r\033[K1700 candidates will be looked at again."); /* the line is gone before the result */
    assert_int_equal(text_count(output, "\n"), 1);

    /* a dumb terminal and a pipe see nothing of it */
    sql_script(h, "update atsync.candidate set version = 1");
    assert_string_equal(RUN(h, 0, "-c", d->conf_path, "resync", "--yes"),
                        "1700 candidates will be looked at again. What the ATS holds already is not written again.\n");
    daemon_stop(h, d);
}

/* ---- completion */

/* What bash offers at the end of this line; a word each, in its order. */
static const char *completed(struct harness *h, const char *line)
{
    char *command = arena_printf(h->arena,
                                 "PATH=%s:$PATH; . %s || exit; words=(%s); COMP_WORDS=(\"${words[@]}\"); "
                                 "COMP_CWORD=$((${#words[@]} - 1)); _atsyncctl; printf '%%s ' \"${COMPREPLY[@]}\"",
                                 TEST_BUILD_DIR, COMPLETION, line);
    char *script = arena_printf(h->arena, "%s/completion.sh", h->dir);
    char output[4096];
    FILE *f = fopen(script, "we");
    size_t n;

    assert_non_null(f);
    fputs(command, f);
    assert_int_equal(fclose(f), 0);
    f = popen(arena_printf(h->arena, "bash --norc %s 2>&1", script), "re");
    assert_non_null(f);
    n = fread(output, 1, sizeof output - 1, f);
    assert_int_equal(pclose(f), 0);
    while (n > 0 && output[n - 1] == ' ')
        n--;
    return arena_strndup(h->arena, output, n);
}

E2E_TEST(bash_completes)
{
#define CONF "-c " SAMPLE_CONF " "
    static const struct {
        const char *line;
        const char *offered;
    } cases[] = {
        {"atsyncctl re", "retry resync resume"},
        {"atsyncctl --v", "--version"},
        {"atsyncctl --json sta", "status"},
        {"atsyncctl retry --c", "--candidate --connector --class"},
        {"atsyncctl retry --y", "--yes"},
        {"atsyncctl " CONF "retry --connector ''", "greenhouse"},
        {"atsyncctl " CONF "retry --connector = gr", "greenhouse"}, /* as bash splits --connector=gr */
        {"atsyncctl " CONF "resync --candidate x --workflow ''", "cedar-rgn-screening"},
        {"atsyncctl retry --class not", "not_found"},
        {"atsyncctl " CONF "pause ''", "greenhouse"},
        {"atsyncctl " CONF "pause greenhouse ''", ""}, /* one at a time */
        {"atsyncctl send-sample run-c", "run-completed run-cancelled"},
        {"atsyncctl " CONF "send-sample --source ''", "popp"},
        {"atsyncctl " CONF "connectors recr", "recruitee"},
        {"atsyncctl " CONF "connector-test re", "recruitee rest"},
        {"atsyncctl plan --config " TEST_SOURCE_DIR "/conf/atsyncd.c", SAMPLE_CONF},
        {"atsyncctl " CONF "status ''", ""}, /* no candidate is looked up for it */
        {"atsyncctl nonsense --", "--help --json"},
    };
#undef CONF

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *offered = completed(h, cases[i].line);

        if (strcmp(offered, cases[i].offered) != 0)
            fail_msg("%s\noffers  %s\nand not %s", cases[i].line, offered, cases[i].offered);
    }
}

/* Every command that there is has a help with an example, and its options are offered. */
E2E_TEST(every_command_has_help_and_completion)
{
    const char *commands = completed(h, "atsyncctl ''");
    unsigned count = 0;

    for (const char *at = commands; *at != '\0'; at += strspn(at, " ")) {
        const char *name = arena_strndup(h->arena, at, strcspn(at, " "));
        const char *help = NULL;
        const char *offered = completed(h, arena_printf(h->arena, "atsyncctl %s --", name));

        at += strlen(name);
        count++;
        assert_int_equal(program_run(h, &help, "atsyncctl", name, "--help", NULL), 0);
        assert_has(help, arena_printf(h->arena, "Usage: atsyncctl [-c FILE] [--json] %s", name));
        assert_has(help, "\nExample: atsyncctl ");
        assert_has(strstr(help, "\nExample: "), arena_printf(h->arena, " %s", name));
        for (const char *line = strstr(help, "\n  -"); line != NULL; line = strstr(line + 1, "\n  -")) {
            const char *option = strstr(line, "--");

            assert_non_null(option);
            option = arena_strndup(h->arena, option, strspn(option, "-abcdefghijklmnopqrstuvwxyz"));
            if (!text_has(arena_printf(h->arena, "%s ", offered), arena_printf(h->arena, "%s ", option)))
                fail_msg("%s %s is not completed, only %s", name, option, offered);
        }
    }
    assert_true(count >= 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(the_manual_has_every_command_and_option),
        cmocka_unit_test_setup_teardown(setup_makes_what_is_missing_and_can_be_repeated, with_peers, without_peers),
        E2E_RUN(setup_repairs_rights),
        E2E_RUN(setup_without_a_superuser),
        E2E_RUN(setup_prints_what_an_administrator_runs),
        E2E_RUN(setup_says_why_not),
        E2E_RUN(doctor_finds_nothing_where_all_is_well),
        E2E_RUN(doctor_of_root_sees_everybody),
        E2E_RUN(doctor_names_what_is_broken),
        E2E_RUN(long_work_shows_how_far_it_is),
        E2E_RUN(bash_completes),
        E2E_RUN(every_command_has_help_and_completion),
    };

    if (freopen("/dev/null", "r", stdin) == NULL) /* whoever runs the tests may sit at a terminal */
        return 1;
    return e2e_main(tests);
}
