/* The daemon behind PgBouncer in transaction mode: two server connections for all of its own, so that whatever it left
 * behind in a session would be met by somebody else. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/harness.h"
#include "store/migrations.h"
#include "store/setup.h"

#define STATE_OF(candidate) "select sync_state from atsync.sync_status where candidate_external_id = '" candidate "'"
#define STAGE "jobs." E2E_JOB ".stage"
#define BY_POLLING "what other daemons receive is found by polling"
#define RECEIVES_ONLY "enabled: false\n"

static const char *const samples[] = {
    "published",   "contact-resolution-failed",  "run-failed",     "run-cancelled", "contact-resolved",
    "run-started", "contact-resolution-skipped", "node-completed", "run-completed",
};

struct pooler {
    const char *program; /* NULL: not installed */
    pid_t pid;
    char *config_path;
    char *log_path;
    const char *conninfo;
};

static struct pooler pooler;

/* The value of a word of the direct conninfo, "port=5432 …". */
static const char *word_of(struct harness *h, const char *name)
{
    const char *at = strstr(h->conninfo, name);

    assert_non_null(at);
    at += strlen(name);
    return arena_strndup(h->arena, at, strcspn(at, " "));
}

static bool pooler_answers(struct harness *h, void *arg)
{
    unsigned port = *(unsigned *)arg;
    int fd;

    if (waitpid(pooler.pid, NULL, WNOHANG) != 0) {
        pooler.pid = 0;
        fail_msg("pgbouncer ended at its start: see %s", pooler.log_path);
    }
    fd = http_open(h, port);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static void pooler_exec(void)
{
    FILE *log = freopen(pooler.log_path, "we", stderr);

    if (log == NULL || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        _exit(127);
    if (geteuid() == 0) /* it refuses to be root */
        execl(pooler.program, "pgbouncer", "-u", "nobody", pooler.config_path, (char *)NULL);
    else
        execl(pooler.program, "pgbouncer", pooler.config_path, (char *)NULL);
    _exit(127);
}

static void pooler_start(struct harness *h)
{
    unsigned port = free_port(h);
    FILE *f;

    pooler.config_path = mem_printf("%s/pgbouncer.ini", h->dir);
    pooler.log_path = mem_printf("%s/pgbouncer.log", h->dir);
    f = fopen(pooler.config_path, "we");
    assert_non_null(f);
    assert_true(fprintf(f,
                        "[databases]\n"
                        "in_session = host=127.0.0.1 port=%s user=postgres dbname=%s pool_mode=session\n"
                        "in_statement = host=127.0.0.1 port=%s user=postgres dbname=%s pool_mode=statement\n"
                        "alone = host=127.0.0.1 port=%s user=postgres dbname=%s pool_size=1\n"
                        "* = host=127.0.0.1 port=%s user=postgres\n"
                        "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %u\nunix_socket_dir =\n"
                        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n",
                        word_of(h, "port="), word_of(h, "dbname="), word_of(h, "port="), word_of(h, "dbname="),
                        word_of(h, "port="), word_of(h, "dbname="), word_of(h, "port="), port) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(pooler.config_path, 0644), 0);
    pooler.pid = fork();
    if (pooler.pid == 0)
        pooler_exec();
    assert_true(pooler.pid > 0);
    wait_until(h, pooler_answers, &port, "pgbouncer takes connections");
    pooler.conninfo =
        arena_printf(h->arena, "host=127.0.0.1 port=%u user=postgres dbname=%s", port, word_of(h, "dbname="));
}

static void find_program(void)
{
    static const char *const places[] = {"/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"};

    for (size_t i = 0; i < ATS_COUNT(places) && pooler.program == NULL; i++) {
        if (access(places[i], X_OK) == 0)
            pooler.program = places[i];
    }
}

static int setup(void **state)
{
    find_program();
    return harness_setup(state);
}

static int teardown(void **state)
{
    int status;

    if (pooler.pid > 0) {
        (void)kill(pooler.pid, SIGKILL);
        (void)waitpid(pooler.pid, NULL, 0);
    }
    status = harness_teardown(state); /* the daemons first: theirs are the connections */
    mem_free(pooler.config_path);
    mem_free(pooler.log_path);
    pooler = (struct pooler){.program = NULL};
    return status;
}

#define POOLER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define NEEDS_PGBOUNCER()                                                                                              \
    do {                                                                                                               \
        if (pooler.program == NULL) {                                                                                  \
            print_message("pgbouncer is not installed\n");                                                             \
            harness_passed(h);                                                                                         \
            skip();                                                                                                    \
        }                                                                                                              \
        pooler_start(h);                                                                                               \
    } while (0)

/* What a server session that went from hand to hand holds: nothing. */
static void assert_nothing_left_behind(void)
{
    static const struct sql_stmt left = {
        .name = "session state",
        .text = "select (select count(*) from pg_prepared_statements) + (select count(*) from pg_listening_channels())",
    };
    struct db *db = db_new(pooler.conninfo, "test");
    struct db_result *r = NULL;
    struct errmsg err = {.text = ""};
    int st = db_exec(db, &left, NULL, DB_ROW, &r, &err);
    bool pooled = db_is_pooled(db);
    int64_t count = st == ST_OK ? db_i64(r, 0, 0) : -1;

    db_result_free(r);
    db_free(db);
    if (st != ST_OK)
        fail_msg("%s", err.text);
    assert_true(pooled);
    assert_int_equal(count, 0);
}

static void deliver_samples(struct harness *h, const struct program *d)
{
    for (size_t i = 0; i < ATS_COUNT(samples); i++) {
        popp_deliver(h, d, popp_event(h, samples[i], NULL));
        if (text_eq(samples[i], "run-started"))
            wait_ats(h, "ats_42", STAGE, "\"Contacted\"");
    }
}

E2E_TEST(nine_samples_become_one_right_record)
{
    struct program *d;

    NEEDS_PGBOUNCER();
    d = daemon_start(h, &(struct daemon_conf){.conninfo = pooler.conninfo});
    deliver_samples(h, d);
    wait_ats(h, "ats_42", STAGE, "\"Recruiter screen\"");
    wait_sql(h, STATE_OF("ats_42"), "synced");
    assert_string_equal(ats_value(h, "ats_42", "fields.nmc_pin_score"), "100");
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "tags"))), 2);
    assert_int_equal(json_count(json_of(h, ats_value(h, "ats_42", "notes"))), 3);
    /* all of it went through the pooler: the daemon has no server process of its own */
    assert_string_equal(sql_text(h, "select count(*) <= 2 from pg_stat_activity where datname = current_database() and "
                                    "application_name like 'atsyncd%'"),
                        "true");
    assert_nothing_left_behind();
    daemon_stop(h, d);
    assert_int_equal(text_count(program_log(h, d), "level=error"), 0);
}

/* Word of the other daemon cannot come, and LISTEN must not stay behind in a session that somebody else gets. */
E2E_TEST(what_another_daemon_receives_is_found_by_polling)
{
    struct program *one, *two;

    NEEDS_PGBOUNCER();
    one = daemon_start(h, &(struct daemon_conf){.conninfo = pooler.conninfo});
    two = daemon_start(
        h, &(struct daemon_conf){.instance = "two", .conninfo = pooler.conninfo, .delivery = RECEIVES_ONLY});
    popp_deliver(h, two, popp_event(h, "run-completed", NULL));
    wait_ats(h, "ats_42", STAGE, "\"Recruiter screen\"");
    assert_nothing_left_behind();
    daemon_stop(h, two);
    daemon_stop(h, one);
    assert_int_equal(text_count(program_log(h, one), BY_POLLING), 1);
    assert_true(text_has(program_log(h, one), "database.listen_conninfo"));
    assert_int_equal(text_count(program_log(h, two), BY_POLLING), 0); /* it delivers nothing */
}

E2E_TEST(a_direct_connection_for_wake_ups)
{
    const char *both;
    struct program *one, *two;

    NEEDS_PGBOUNCER();
    both = arena_printf(h->arena, "%s\"\n  listen_conninfo: \"%s", pooler.conninfo, h->conninfo); /* the next line */
    /* the poll is longer than this test would wait */
    one = daemon_start(h, &(struct daemon_conf){.conninfo = both, .delivery = "lease: 2m\npoll: 60s\n"});
    two = daemon_start(
        h, &(struct daemon_conf){.instance = "two", .conninfo = pooler.conninfo, .delivery = RECEIVES_ONLY});
    wait_sql(
        h, "select count(*) from pg_stat_activity where query = 'listen atsync_wake' and datname = current_database()",
        "1");
    popp_deliver(h, two, popp_event(h, "run-completed", NULL));
    wait_ats(h, "ats_42", STAGE, "\"Recruiter screen\"");
    daemon_stop(h, two);
    daemon_stop(h, one);
    assert_int_equal(text_count(program_log(h, one), BY_POLLING), 0);
}

static bool log_tells_of_parameter(struct harness *h, void *arg)
{
    return text_has(program_log(h, arg), "unsupported startup parameter: options");
}

E2E_TEST(a_parameter_that_the_pooler_refuses_is_named)
{
    struct program *d;

    NEEDS_PGBOUNCER();
    d = daemon_spawn(
        h, &(struct daemon_conf){.conninfo = arena_printf(h->arena, "%s options='-c work_mem=8MB'", pooler.conninfo)});
    wait_until(h, log_tells_of_parameter, d, "the log names the parameter");
    assert_true(text_has(program_log(h, d), "ignore_startup_parameters"));
    daemon_stop(h, d);
}

/* ---- migrations */

static void ignore_line(void *ctx, const char *line)
{
    (void)ctx;
    (void)line;
}

/* A lock of a session would stay behind in the pooler's, and nobody could migrate any more. */
E2E_TEST(what_needs_a_session_says_so)
{
    const struct migration later = {.version = 900,
                                    .name = "900_index",
                                    .concurrent = true,
                                    .text = "-- breaking: no. concurrent: yes. For tests.\n"
                                            "create index concurrently later on atsync.event (received_at);\n"};
    struct store *s;
    struct errmsg err;

    NEEDS_PGBOUNCER();
    s = store_new_at(pooler.conninfo, "test");
    assert_int_equal(store_connect(s, &err), ST_OK);
    assert_int_equal(store_migrate(s, false, ignore_line, NULL, &err), ST_OK);
    assert_int_equal(migrations_apply(s, &later, 1, false, ignore_line, NULL, &err), ST_CONFLICT);
    assert_non_null(strstr(err.text, "900_index cannot go through a pooler"));
    assert_null(sql_text(h, "select 1 from pg_locks where locktype = 'advisory'"));
    store_free(s);
}

/* ---- doctor */

/* The finding about the pooler, "severity: what"; "" if there is none. */
static const char *found_by_doctor(struct harness *h, struct program *d, const char *conninfo)
{
    const char *output = NULL;
    const char *found = "";
    bool looked = false;

    daemon_rewrite_conf(h, d, &(struct daemon_conf){.conninfo = conninfo});
    (void)program_run(h, &output, "atsyncctl", "-c", d->conf_path, "doctor", "--json", NULL);
    for (const struct json *f = json_first(json_at(json_of(h, output), "findings")); f != NULL; f = json_next(f)) {
        if (text_eq(json_get_str(f, "check"), "pooler"))
            found = arena_printf(h->arena, "%s%s: %s", found, json_get_str(f, "severity"), json_get_str(f, "what"));
    }
    for (const struct json *c = json_first(json_at(json_of(h, output), "checked")); c != NULL; c = json_next(c))
        looked = looked || text_eq(json_str(c), "pooler");
    if (!looked)
        fail_msg("%s", output);
    return found;
}

E2E_TEST(doctor_tells_the_mode)
{
#define IN_TRANSACTION "info: A pooler in transaction mode stands before the database."
    struct program *d;
    const char *words;

    NEEDS_PGBOUNCER();
    d = daemon_start(h, &(struct daemon_conf){.conninfo = pooler.conninfo});
    words = arena_strndup(h->arena, pooler.conninfo, (size_t)(strstr(pooler.conninfo, "dbname=") - pooler.conninfo));
    /* while the daemon works through the same pool */
    assert_string_equal(found_by_doctor(h, d, pooler.conninfo), IN_TRANSACTION);
    daemon_stop(h, d);
    assert_string_equal(found_by_doctor(h, d, h->conninfo), "");
    assert_string_equal(found_by_doctor(h, d, arena_printf(h->arena, "%sdbname=alone", words)), IN_TRANSACTION);
    assert_string_equal(found_by_doctor(h, d, arena_printf(h->arena, "%sdbname=in_session", words)),
                        "info: A pooler in session mode stands before the database.");
    assert_string_equal(found_by_doctor(h, d, arena_printf(h->arena, "%sdbname=in_statement", words)),
                        "error: A pooler in statement mode stands before the database.");
    /* with a direct connection for LISTEN all is well, with another way through the pooler it is not */
    assert_string_equal(
        found_by_doctor(h, d, arena_printf(h->arena, "%s\"\n  listen_conninfo: \"%s", pooler.conninfo, h->conninfo)),
        "");
    assert_string_equal(
        found_by_doctor(h, d,
                        arena_printf(h->arena, "%s\"\n  listen_conninfo: \"%s", pooler.conninfo, pooler.conninfo)),
        "warning: database.listen_conninfo leads through a pooler too.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOLER_TEST(nine_samples_become_one_right_record),
        POOLER_TEST(what_another_daemon_receives_is_found_by_polling),
        POOLER_TEST(a_direct_connection_for_wake_ups),
        POOLER_TEST(what_needs_a_session_says_so),
        POOLER_TEST(doctor_tells_the_mode),
        POOLER_TEST(a_parameter_that_the_pooler_refuses_is_named),
    };

    return e2e_main(tests);
}
