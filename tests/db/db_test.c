/* The wrapper of libpq against a real server: values there and back, shapes, classes of failure, lost connections. */
#include "lib/db.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/storekit.h"

#define BEFORE_2000_US INT64_C(-62135596800000000) /* 0001-01-01, the first day that ISO 8601 years have */
#define LONG_AFTER_US INT64_C(253402300799999999)  /* 9999-12-31T23:59:59.999999Z */

static struct db *open_db(struct harness *h)
{
    struct db *db = db_new(h->conninfo, "db_test");
    struct errmsg err;

    assert_done(db_connect(db, &err), &err);
    return db;
}

static int ask(struct db *db, const char *text, const struct db_params *p, enum db_shape shape, struct db_result **ret,
               struct errmsg *err)
{
    struct sql_stmt stmt = {.name = "question", .text = text, .planned_anew = true}; /* never the same twice */

    return db_exec(db, &stmt, p, shape, ret, err);
}

/* A question with one number as its answer; also proves that the connection works. */
static int64_t number_of(struct db *db, const char *text)
{
    struct db_result *r = NULL;
    struct errmsg err;
    int64_t n;

    assert_done(ask(db, text, NULL, DB_ROW, &r, &err), &err);
    n = db_i64(r, 0, 0);
    db_result_free(r);
    return n;
}

/* ---- values */

E2E_TEST(values_come_back_as_they_went)
{
    static const int64_t times[] = {
        0, BEFORE_2000_US, LONG_AFTER_US, INT64_C(946684799999999), INT64_C(946684800000000), INT64_C(-1)};
    static const int64_t numbers[] = {0, -1, INT64_MAX, INT64_MIN, 4294967296};
    struct db *db = open_db(h);
    struct db_result *r = NULL;
    struct db_params p;
    struct errmsg err;
    size_t len = 0;

    for (size_t i = 0; i < ATS_COUNT(times); i++) {
        db_params_init(&p);
        db_add_time(&p, times[i]);
        assert_done(ask(db, "select $1", &p, DB_ROW, &r, &err), &err);
        assert_int_equal(db_time(r, 0, 0), times[i]);
        db_result_free(r);
    }
    for (size_t i = 0; i < ATS_COUNT(numbers); i++) {
        db_params_init(&p);
        db_add_i64(&p, numbers[i]);
        db_add_text(&p, num_text(numbers[i]).s);
        assert_done(ask(db, "select $1, $1 = $2::int8", &p, DB_ROW, &r, &err), &err);
        assert_int_equal(db_i64(r, 0, 0), numbers[i]);
        assert_true(db_bool(r, 0, 1));
        db_result_free(r);
    }
    db_params_init(&p);
    db_add_i32(&p, INT32_MIN);
    db_add_bool(&p, true);
    db_add_bool(&p, false);
    db_add_bytes(&p, "\0\xff\\x00'", 7);
    db_add_text(&p, "");
    db_add_text(&p, NULL);
    db_add_time(&p, INT64_MIN);
    assert_done(ask(db,
                    "select $1, $2, $3, $4, $5, $6, $7, (-7)::int2, 0.125::float8, "
                    "'1999-12-31T23:59:58.5Z'::timestamptz as late, ''::bytea",
                    &p, DB_ROW, &r, &err),
                &err);
    assert_int_equal(db_columns(r), 11);
    assert_int_equal(db_i64(r, 0, 0), INT32_MIN);
    assert_true(db_bool(r, 0, 1));
    assert_false(db_bool(r, 0, 2));
    assert_memory_equal(db_bytes(r, 0, 3, &len), "\0\xff\\x00'", 7);
    assert_int_equal(len, 7);
    assert_string_equal(db_text(r, 0, 4), "");
    assert_null(db_text(r, 0, 5));
    assert_true(db_is_null(r, 0, 6));
    assert_int_equal(db_time(r, 0, 6), INT64_MIN);
    assert_int_equal(db_i64(r, 0, 7), -7);
    assert_true(db_double(r, 0, 8) == 0.125);
    assert_string_equal(db_column_name(r, 9), "late");
    assert_int_equal(db_time(r, 0, 9), INT64_C(946684798500000));
    assert_non_null(db_bytes(r, 0, 10, &len));
    assert_int_equal(len, 0);
    assert_false(db_is_null(r, 0, 4));
    db_result_free(r);
    db_free(db);
}

/* "1 2|null|3": the elements as PostgreSQL sees them. */
static void assert_array(struct db *db, struct db_array *a, const char *as_text, const char *expected)
{
    struct db_result *r = NULL;
    struct db_params p;
    struct errmsg err;
    char *text = mem_printf("select coalesce(string_agg(coalesce(%s, 'null'), '|' order by o), 'empty') from "
                            "unnest($1) with ordinality as u (e, o)",
                            as_text);

    db_params_init(&p);
    db_add_array(&p, a);
    assert_done(ask(db, text, &p, DB_ROW, &r, &err), &err);
    assert_string_equal(db_text(r, 0, 0), expected);
    db_result_free(r);
    mem_free(text);
}

E2E_TEST(arrays_of_every_type)
{
    static const struct {
        enum db_elem type;
        const char *as_text;
        int64_t n[3];
        const char *expected;
    } cases[] = {
        {DB_I64_ARRAY, "e::text", {1, DB_NULL_I64, INT64_MAX}, "1|null|9223372036854775807"},
        {DB_I32_ARRAY, "e::text", {-1, DB_NULL_I64, INT32_MAX}, "-1|null|2147483647"},
        {DB_BOOL_ARRAY, "e::text", {1, DB_NULL_I64, 0}, "true|null|false"},
        {DB_TIME_ARRAY,
         "(extract(epoch from e) * 1000000)::bigint::text",
         {-1, DB_NULL_I64, BEFORE_2000_US},
         "-1|null|-62135596800000000"},
    };
    struct db *db = open_db(h);
    struct db_array *a;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        a = db_array_new(cases[i].type);
        assert_array(db, a, cases[i].as_text, "empty");
        for (size_t k = 0; k < ATS_COUNT(cases[i].n); k++) {
            db_array_i64(a, cases[i].n[k]);
        }
        assert_array(db, a, cases[i].as_text, cases[i].expected);
        db_array_reset(a);
        db_array_i64(a, 1); /* no null any more: the header says so too */
        assert_array(db, a, "'one'", "one");
        db_array_free(a);
    }
    a = db_array_new(DB_TEXT_ARRAY);
    assert_array(db, a, "e", "empty");
    db_array_text(a, "");
    db_array_text(a, NULL);
    db_array_text(a, "{\"a\",NULL}");
    assert_array(db, a, "e", "|null|{\"a\",NULL}");
    db_array_free(a);
    a = db_array_new(DB_BYTES_ARRAY);
    assert_array(db, a, "encode(e, 'hex')", "empty");
    db_array_bytes(a, "\0\x01", 2);
    db_array_bytes(a, NULL, 0);
    db_array_bytes(a, "", 0);
    assert_array(db, a, "encode(e, 'hex')", "0001|null|");
    db_array_free(a);
    db_free(db);
}

E2E_TEST(no_text_needs_quoting)
{
    static const char *const hostile[] = {
        "'",
        "''; drop table kept; --",
        "\"; drop table kept; --",
        "\\'; select 1",
        "$1 $2 $$ $tag$",
        "%s%n%d",
        "{a,\"b\",NULL}",
        "NULL",
        "\r\n\t\v\f\b\x1b[31m",
        "*/ /* --",
        "\xc2\xa0\xe2\x80\xae\xf0\x9f\x98\x80 \xef\xbf\xbd \xef\xbf\xbf",
        "E'\\000'",
    };
    struct db *db = open_db(h);
    struct db_array *a = db_array_new(DB_TEXT_ARRAY);
    struct db_result *r = NULL;
    struct db_params p;
    struct errmsg err;
    size_t big = 3000000;
    char *text = mem_alloc(big + 1);

    assert_done(db_script(db, "table", "create table kept (t text)", &err), &err);
    for (size_t i = 0; i < ATS_COUNT(hostile); i++) {
        db_params_init(&p);
        db_add_text(&p, hostile[i]);
        assert_done(ask(db, "insert into kept values ($1) returning t, octet_length($1)", &p, DB_ROW, &r, &err), &err);
        assert_string_equal(db_text(r, 0, 0), hostile[i]);
        assert_int_equal(db_i64(r, 0, 1), strlen(hostile[i]));
        db_result_free(r);
        db_array_text(a, hostile[i]);
    }
    db_params_init(&p);
    db_add_array(&p, a);
    assert_done(ask(db, "select u.t from unnest($1) with ordinality as u (t, o) join kept k on k.t = u.t order by o",
                    &p, DB_ROWS, &r, &err),
                &err);
    assert_int_equal(db_rows(r), ATS_COUNT(hostile));
    for (size_t i = 0; i < ATS_COUNT(hostile); i++) {
        assert_string_equal(db_text(r, i, 0), hostile[i]);
    }
    db_result_free(r);
    memset(text, '\'', big);
    text[big] = '\0';
    db_params_init(&p);
    db_add_text(&p, text);
    assert_done(ask(db, "select $1", &p, DB_ROW, &r, &err), &err);
    assert_string_equal(db_text(r, 0, 0), text);
    db_result_free(r);
    mem_free(text);
    db_array_free(a);
    db_free(db);
}

/* ---- shapes and failures */

E2E_TEST(another_shape_is_a_bug)
{
    static const struct {
        const char *text;
        enum db_shape shape;
        const char *message; /* NULL: fits */
    } cases[] = {
        {"select 1", DB_ROW, NULL},
        {"select 1 where false", DB_MAYBE, NULL},
        {"select 1", DB_MAYBE, NULL},
        {"select 1 where false", DB_ROWS, NULL},
        {"create table x ()", DB_COMMAND, NULL},
        {"insert into x default values", DB_COMMAND, NULL},
        {"select 1 where false", DB_ROW, "question: 0 rows came, one was expected"},
        {"select generate_series(1, 2)", DB_ROW, "question: 2 rows came, one was expected"},
        {"select generate_series(1, 2)", DB_MAYBE, "question: 2 rows came, at most one was expected"},
        {"select 1", DB_COMMAND, "question: 1 rows came, none were expected"},
        {"create table y ()", DB_ROWS, "question: no rows came, a set was expected"},
    };
    struct db *db = open_db(h);

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct db_result *r = NULL;
        struct errmsg err = {""};
        int st = ask(db, cases[i].text, NULL, cases[i].shape, &r, &err);

        assert_int_equal(st, cases[i].message ? ST_INTERNAL : ST_OK);
        if (cases[i].message) {
            assert_string_equal(err.text, cases[i].message);
            assert_null(r);
        }
        db_result_free(r);
        assert_true(db_is_connected(db));
    }
    db_free(db);
}

E2E_TEST(each_sqlstate_has_its_class)
{
    static const struct {
        const char *state;
        int status;
        bool connected; /* afterwards */
    } cases[] = {
        {"08006", ST_UNAVAILABLE, false}, {"57P01", ST_UNAVAILABLE, false}, {"57P03", ST_UNAVAILABLE, false},
        {"25006", ST_UNAVAILABLE, false}, {"58030", ST_UNAVAILABLE, false}, {"57014", ST_UNAVAILABLE, true},
        {"40003", ST_UNCERTAIN, true},    {"40001", ST_CONFLICT, true},     {"40P01", ST_CONFLICT, true},
        {"55P03", ST_CONFLICT, true},     {"23505", ST_CONFLICT, true},     {"53100", ST_LIMIT, true},
        {"53300", ST_LIMIT, true},        {"28000", ST_DENIED, true},       {"42501", ST_DENIED, true},
        {"22021", ST_INVALID, true},      {"22P05", ST_INVALID, true},      {"42601", ST_INTERNAL, true},
        {"XX000", ST_INTERNAL, true},     {"P0001", ST_INTERNAL, true},
    };
    struct db *db = open_db(h);

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *text = mem_printf("do $$ begin raise exception 'so it is' using errcode = '%s'; end $$", cases[i].state);
        char *message = mem_printf("question: raised by a function in the database, with words that are in the "
                                   "server's log (SQLSTATE %s)",
                                   cases[i].state);
        struct errmsg err;

        print_message("case: %s\n", cases[i].state);
        assert_int_equal(ask(db, text, NULL, DB_COMMAND, NULL, &err), cases[i].status);
        assert_string_equal(err.text, message);
        assert_string_equal(db_sqlstate(db), cases[i].state);
        assert_int_equal(db_is_connected(db), cases[i].connected);
        assert_int_equal(number_of(db, "select 7"), 7);
        assert_string_equal(db_sqlstate(db), "");
        mem_free(text);
        mem_free(message);
    }
    db_free(db);
}

/* Nothing of the values that the server's words, its DETAIL and its CONTEXT repeat. */
E2E_TEST(errors_do_not_quote_values)
{
    static const struct {
        const char *question, *words;
    } cases[] = {
        {"select 'mark of an answer'::int",
         "question: invalid input syntax for type integer\xe2\x80\xa6 (SQLSTATE 22P02)"},
        {"select 'mark of an answer'::timestamptz",
         "question: invalid input syntax for type timestamp with time zone\xe2\x80\xa6 (SQLSTATE 22007)"},
        {"select '{\"mark of an answer'::jsonb", "question: invalid input syntax for type json (SQLSTATE 22P02)"},
        {"insert into t values ('mark of an answer')",
         "question: duplicate key value violates unique constraint \"t_pkey\" (SQLSTATE 23505)"},
        {"insert into t values (repeat('mark of an answer', 9))",
         "question: new row for relation \"t\" violates check constraint \"t_a_check\" (SQLSTATE 23514)"},
        {"insert into t values ('x')", "question: raised by a function in the database, with words that are in the "
                                       "server's log (SQLSTATE 23514)"},
    };
    struct db *db = open_db(h);
    struct errmsg err;

    assert_done(db_script(db, "table",
                          "create table t (a text primary key check (length(a) < 99));"
                          "insert into t values ('mark of an answer');"
                          "create function f() returns trigger language plpgsql as $$ begin if new.a = 'x' then raise "
                          "check_violation using message = 'mark of an answer'; end if; return new; end $$;"
                          "create trigger g before insert on t for each row execute function f()",
                          &err),
                &err);
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        assert_int_not_equal(ask(db, cases[i].question, NULL, DB_COMMAND, NULL, &err), ST_OK);
        assert_string_equal(err.text, cases[i].words);
    }
    db_free(db);
}

E2E_TEST(a_failed_transaction_is_undone)
{
    struct db *db = open_db(h);
    struct errmsg err;

    assert_done(db_script(db, "table", "create table t (n int primary key)", &err), &err);
    assert_done(db_begin(db, &err), &err);
    assert_done(ask(db, "insert into t values (1)", NULL, DB_COMMAND, NULL, &err), &err);
    assert_int_equal(ask(db, "insert into t values (1)", NULL, DB_COMMAND, NULL, &err), ST_CONFLICT);
    db_rollback(db);
    assert_string_equal(db_sqlstate(db), "23505"); /* still: undoing it is no answer */
    assert_int_equal(number_of(db, "select count(*) from t"), 0);
    assert_done(db_begin(db, &err), &err);
    assert_done(ask(db, "insert into t values (1)", NULL, DB_COMMAND, NULL, &err), &err);
    assert_done(db_commit(db, &err), &err);
    assert_int_equal(number_of(db, "select count(*) from t"), 1);
    /* of a script's statements the first failure is told, and none has happened */
    assert_int_equal(db_script(db, "three",
                               "insert into t values (2); insert into t values (2); insert into nowhere values (3)",
                               &err),
                     ST_CONFLICT);
    assert_string_equal(db_sqlstate(db), "23505");
    assert_int_equal(number_of(db, "select count(*) from t"), 1);
    db_rollback(db); /* harmless without a transaction */
    db_free(db);
}

/* ---- connections */

E2E_TEST(no_connection_is_said_in_words)
{
    char *refused = mem_printf("host=127.0.0.1 port=%u user=postgres dbname=x", free_port(h));
    char *nobody = mem_printf("%s dbname=nobody_made_it", h->conninfo);
    struct db *db = db_new("host=a nonsense", "x");
    struct errmsg err;

    assert_int_equal(db_connect(db, &err), ST_INVALID);
    assert_string_equal(err.text,
                        "database.conninfo is not valid: missing \"=\" after \"nonsense\" in connection info string");
    db_free(db);
    db = db_new("host=a password=first second", "x"); /* a password with a blank has to stand in quotes */
    assert_int_equal(db_connect(db, &err), ST_INVALID);
    assert_true(text_starts(err.text, "database.conninfo is not valid: "));
    assert_false(text_has(err.text, "second"));
    db_free(db);
    db = db_new("postgresql://first@second@127.0.0.1/x", "x"); /* one with an @ has to be encoded */
    assert_int_equal(db_connect(db, &err), ST_INVALID);
    assert_true(text_starts(err.text, "database.conninfo is not valid: its host or its port cannot be one"));
    assert_false(text_has(err.text, "second"));
    db_free(db);
    db = db_new("postgresql://first@127.0.0.1:second/x", "x");
    assert_int_equal(db_connect(db, &err), ST_INVALID);
    assert_false(text_has(err.text, "second"));
    db_free(db);
    db = db_new(refused, "x");
    assert_int_equal(db_connect(db, &err), ST_UNAVAILABLE);
    assert_true(text_starts(err.text, "cannot connect to the database: "));
    assert_true(text_has(err.text, "Connection refused"));
    assert_false(db_is_connected(db));
    assert_int_equal(db_server_version(db), 0);
    assert_int_equal(db_fd(db), -1);
    assert_int_equal(ask(db, "select 1", NULL, DB_COMMAND, NULL, &err), ST_UNAVAILABLE);
    assert_int_equal(db_commit(db, &err), ST_UNAVAILABLE);
    db_free(db);
    db = db_new(nobody, "x");
    assert_int_equal(db_connect(db, &err), ST_UNAVAILABLE);
    assert_true(text_has(err.text, "database \"nobody_made_it\" does not exist"));
    db_free(db);
    mem_free(refused);
    mem_free(nobody);
}

/* A server that lets everybody in, says that it is going down, and goes. */
static void *end_in_the_middle(void *arg)
{
    static const char answer[] = "R\0\0\0\10\0\0\0\0"
                                 "N\0\0\0\45SWARNING\0C57P02\0Mgoing down now\0";
    int listener = *(int *)arg;
    int fd;

    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        char startup[1000];

        if (read(fd, startup, sizeof startup) > 0) { /* else it was given up before it began */
            assert_int_equal(write(fd, answer, sizeof answer), sizeof answer);
        }
        (void)close(fd);
    }
    return NULL;
}

/* Every line on standard error is one of the log: also while connections are made to a server that is shut down. */
E2E_TEST(what_a_server_says_meanwhile_is_not_printed)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *path = arena_printf(h->arena, "%s/stderr", h->dir);
    int kept = dup(STDERR_FILENO);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    pthread_t server;
    struct errmsg err;
    struct db *db;
    int st;

    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(pthread_create(&server, NULL, end_in_the_middle, &listener), 0);
    db = db_new(arena_printf(h->arena, "host=127.0.0.1 port=%u sslmode=disable gssencmode=disable dbname=x user=x",
                             ntohs(address.sin_port)),
                "test");
    (void)fflush(stderr);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    st = db_connect(db, &err);
    (void)fflush(stderr);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    assert_int_equal(st, ST_UNAVAILABLE);
    assert_int_equal(lseek(file, 0, SEEK_END), 0);
    db_free(db);
    (void)shutdown(listener, SHUT_RDWR);
    (void)pthread_join(server, NULL);
    (void)close(listener);
    (void)close(file);
    (void)close(kept);
}

E2E_TEST(an_ended_connection_is_made_anew)
{
    struct db *db = open_db(h);
    struct errmsg err;
    int st;

    assert_true(db_server_version(db) >= 120000);
    assert_sql(
        h, "select count(*) from pg_stat_activity where application_name = 'db_test' and datname = current_database()",
        "1");
    assert_sql(h,
               "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'db_test' and "
               "datname = current_database()",
               "true");
    st = ask(db, "select 1", NULL, DB_ROW, NULL, &err);
    assert_true(st == ST_UNAVAILABLE || st == ST_UNCERTAIN);
    assert_false(db_is_connected(db));
    assert_int_equal(number_of(db, "select 7"), 7);
    db_free(db);
}

E2E_TEST(a_restart_of_the_server_is_survived)
{
    struct db *db = open_db(h);
    struct errmsg err;
    int st;

    pg_stop(h, "fast");
    st = ask(db, "select 1", NULL, DB_ROW, NULL, &err);
    assert_true(st == ST_UNAVAILABLE || st == ST_UNCERTAIN);
    assert_int_equal(ask(db, "select 1", NULL, DB_ROW, NULL, &err), ST_UNAVAILABLE);
    assert_true(text_starts(err.text, "cannot connect to the database: "));
    pg_start(h);
    assert_int_equal(number_of(db, "select 7"), 7);
    db_free(db);
}

/* The server's process for our connection kills itself, so that no word of farewell comes. */
#define DIE "copy (select 1) to program 'kill -9 $PPID'"

static bool transaction_begun(struct harness *h, void *arg)
{
    struct errmsg err;

    (void)h;
    if (db_begin(arg, &err) == ST_OK && ask(arg, "insert into t values (1)", NULL, DB_COMMAND, NULL, &err) == ST_OK) {
        return true;
    }
    db_disconnect(arg);
    return false;
}

E2E_TEST(dying_during_a_statement_or_commit_is_uncertain)
{
    struct db *db = open_db(h);
    struct errmsg err;

    assert_done(db_script(db, "trigger",
                          "create table t (n int);"
                          "create function die() returns trigger language plpgsql as $$ begin execute $q$" DIE
                          "$q$; return null; end $$;"
                          "create constraint trigger at_commit after insert on t deferrable initially deferred for "
                          "each row execute function die()",
                          &err),
                &err);
    assert_int_equal(ask(db, DIE, NULL, DB_COMMAND, NULL, &err), ST_UNCERTAIN);
    assert_true(text_starts(err.text, "question: "));
    assert_false(db_is_connected(db));
    wait_until(h, transaction_begun, db, "the server has recovered");
    assert_int_equal(db_commit(db, &err), ST_UNCERTAIN);
    assert_true(text_starts(err.text, "commit: "));
    assert_false(db_is_connected(db));
    db_rollback(db);
    wait_until(h, transaction_begun, db, "the server has recovered again");
    assert_int_equal(number_of(db, "select count(*) from t"), 1); /* only the row of this transaction */
    db_free(db);
}

E2E_TEST(a_statement_has_a_time_limit)
{
    struct db *db = open_db(h);
    int64_t began_ms = clock_mono_ms();
    struct errmsg err;

    db_set_timeout(db, 200);
    assert_int_equal(ask(db, "select pg_sleep(30)", NULL, DB_ROW, NULL, &err), ST_UNCERTAIN);
    assert_string_equal(err.text, "question: the database did not answer within 200 ms");
    assert_in_range(clock_mono_ms() - began_ms, 200, 5000);
    assert_false(db_is_connected(db));
    db_set_timeout(db, 10000);
    assert_int_equal(number_of(db, "select 7"), 7);
    db_free(db);
}

E2E_TEST(notifications_arrive)
{
    struct db *db = open_db(h);
    struct errmsg err;
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    int n = 0;

    assert_done(db_listen(db, "atsync_wake", &err), &err);
    assert_int_equal(db_notifications(db, &err), 0);
    sql_script(h, "notify atsync_other; notify atsync_wake");
    while (n == 0 && clock_mono_ms() < until_ms) {
        struct pollfd p = {.fd = db_fd(db), .events = POLLIN};

        assert_true(poll(&p, 1, DEADLINE_MS) >= 0);
        n = db_notifications(db, &err);
    }
    assert_int_equal(n, 1);
    assert_sql(h,
               "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'db_test' and "
               "datname = current_database()",
               "true");
    while ((n = db_notifications(db, &err)) >= 0 && clock_mono_ms() < until_ms) {
        struct pollfd p = {.fd = db_fd(db), .events = POLLIN};

        assert_true(poll(&p, 1, DEADLINE_MS) >= 0);
    }
    assert_int_equal(n, ST_UNAVAILABLE);
    assert_int_equal(db_notifications(db, &err), ST_UNAVAILABLE);
    assert_string_equal(err.text, "listen: not connected");
    db_free(db);
}

/* Whatever the connection string, the role or the database says of texts. */
E2E_TEST(what_is_sent_is_utf_8)
{
    struct db *db = db_new(arena_printf(h->arena, "%s client_encoding=LATIN1", h->conninfo), "db_test");
    struct db_result *r = NULL;
    struct db_params p;
    struct errmsg err;

    db_params_init(&p);
    db_add_text(&p, "\xc3\xbf\xe2\x82\xac");
    assert_done(ask(db, "select $1::text, char_length($1)::int8", &p, DB_ROW, &r, &err), &err);
    assert_string_equal(db_text(r, 0, 0), "\xc3\xbf\xe2\x82\xac");
    assert_int_equal(db_i64(r, 0, 1), 2);
    db_result_free(r);
    db_free(db);
}

E2E_TEST(connection_strings_are_read_and_changed)
{
    static const struct {
        const char *conninfo, *user; /* user: NULL if none */
    } cases[] = {
        {"dbname=atsync", NULL},
        {"host=/tmp port=5433 user=me password='a b'", "me"},
        {"postgresql://you:secret@db.example.com:5433/atsync?sslmode=require", "you"},
        {"", NULL},
        {"host", NULL}, /* no connection string */
    };

    (void)h;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *user = db_conninfo_value(cases[i].conninfo, "user");
        char *with = db_conninfo_with(cases[i].conninfo, "user", "o'\\", "dbname", "postgres", "password", NULL, NULL);
        char *again;

        assert_true(text_eq(user, cases[i].user));
        if (strcmp(cases[i].conninfo, "host") == 0) {
            assert_null(with);
            continue;
        }
        again = db_conninfo_value(with, "user");
        assert_string_equal(again, "o'\\"); /* quoted so that it comes back as it was */
        mem_free_secret(again);
        again = db_conninfo_value(with, "password");
        assert_null(again);
        again = db_conninfo_value(with, "port");
        assert_int_equal(again != NULL, strstr(cases[i].conninfo, "5433") != NULL);
        mem_free_secret(again);
        again = db_conninfo_value(with, "sslmode");
        assert_int_equal(again != NULL, strstr(cases[i].conninfo, "sslmode") != NULL);
        mem_free_secret(again);
        mem_free_secret(user);
        mem_free_secret(with);
    }
}

/* ---- several at once */

static const struct sql_stmt insert_stmt = {.name = "insert_one", .text = "insert into kept values ($1)"};
static const struct sql_stmt count_stmt = {.name = "count_kept", .text = "select count(*) from kept"};
static const struct sql_stmt bad_stmt = {.name = "bad", .text = "select 1 / $1"};

static void queue_number(struct db *db, const struct sql_stmt *stmt, int64_t n, enum db_shape shape,
                         struct db_result **ret)
{
    struct db_params p;

    db_params_init(&p);
    db_add_i64(&p, n);
    db_queue(db, stmt, &p, shape, ret);
}

E2E_TEST(statements_go_together)
{
    struct db *db = open_db(h);
    struct db_result *first = NULL;
    struct db_result *second = NULL;
    struct errmsg err;

    sql_script(h, "create table kept (n bigint)");
    for (int round = 1; round <= 3; round++) { /* the first prepares */
        db_queue_begin(db, round == 2 ? DB_MAY_BE_LOST : DB_DURABLE);
        queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL);
        db_queue(db, &count_stmt, NULL, DB_ROW, &first);
        queue_number(db, &insert_stmt, 2, DB_COMMAND, NULL);
        db_queue(db, &count_stmt, NULL, DB_ROW, &second);
        db_queue_commit(db);
        assert_done(db_flush(db, &err), &err);
        assert_int_equal(db_i64(first, 0, 0), 2 * round - 1);
        assert_int_equal(db_i64(second, 0, 0), 2 * round);
        db_result_free(first);
        db_result_free(second);
    }
    assert_sql(h, "select count(*) from kept", "6");
    assert_done(db_flush(db, &err), &err); /* nothing is nothing */
    assert_int_equal(number_of(db, "select 7"), 7);
    db_free(db);
}

E2E_TEST(what_follows_a_failure_is_not_done)
{
    struct db *db = open_db(h);
    struct db_result *count = NULL;
    struct db_result *never = NULL;
    struct errmsg err;

    sql_script(h, "create table kept (n bigint)");
    db_queue_begin(db, DB_DURABLE);
    queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL);
    db_queue(db, &count_stmt, NULL, DB_ROW, &count);
    queue_number(db, &bad_stmt, 0, DB_ROW, &never);
    queue_number(db, &insert_stmt, 2, DB_COMMAND, NULL);
    db_queue_commit(db);
    assert_int_equal(db_flush(db, &err), ST_INVALID);
    assert_string_equal(db_sqlstate(db), "22012");
    assert_string_equal(err.text, "bad: division by zero (SQLSTATE 22012)");
    assert_null(count);
    assert_null(never);
    db_rollback(db);
    assert_sql(h, "select count(*) from kept", "0");

    /* An open transaction goes on over several round trips. */
    db_queue_begin(db, DB_DURABLE);
    queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL);
    assert_done(db_flush(db, &err), &err);
    assert_sql(h, "select count(*) from kept", "0");
    db_queue_commit(db);
    assert_done(db_flush(db, &err), &err);
    assert_sql(h, "select count(*) from kept", "1");

    db_queue(db, &count_stmt, NULL, DB_COMMAND, NULL); /* another shape is a bug here, too */
    assert_int_equal(db_flush(db, &err), ST_INTERNAL);
    assert_int_equal(number_of(db, "select 7"), 7);
    db_free(db);
}

struct listener {
    struct harness *h;
    struct db *holder; /* of the lock that each commit waits for */
    struct db_result **result;
    unsigned told;
};

/* The result is there, and nobody else sees what the statement did. */
static void look(void *ctx)
{
    struct listener *l = ctx;

    l->told++;
    assert_int_equal(db_i64(*l->result, 0, 0), l->told);
    assert_sql(l->h, "select count(*) from kept", l->told == 1 ? "0" : "1");
    assert_int_equal(number_of(l->holder, "select 1::bigint from pg_advisory_unlock(7)"), 1);
}

static void not_told(void *ctx)
{
    (void)ctx;
    fail_msg("told of a statement that was not carried out");
}

/* Who wants to know is told of a statement before the commit that follows it, with a transaction that was begun or without. */
E2E_TEST(a_statement_is_told_before_the_commit)
{
    struct db *db = open_db(h);
    struct db_result *count = NULL;
    struct listener listener = {h, open_db(h), &count, 0};
    struct errmsg err;

    sql_script(h, "create table kept (n bigint);"
                  "create function wait_for_it() returns trigger language plpgsql as "
                  "$$ begin perform pg_advisory_xact_lock(7); return null; end $$;"
                  "create constraint trigger at_commit after insert on kept deferrable initially deferred for each row "
                  "execute function wait_for_it()");
    for (unsigned round = 1; round <= 2; round++) {
        assert_int_equal(number_of(listener.holder, "select 1::bigint from pg_advisory_lock(7)"), 1);
        if (round == 2)
            db_queue_begin(db, DB_DURABLE);
        queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL);
        db_queue_telling(db, &count_stmt, NULL, DB_ROW, &count, look, &listener);
        if (round == 2)
            db_queue_commit(db);
        assert_done(db_flush(db, &err), &err);
        db_result_free(count);
    }
    assert_int_equal(listener.told, 2);
    assert_sql(h, "select count(*) from kept", "2");

    queue_number(db, &bad_stmt, 0, DB_ROW, &count);
    db_queue_telling(db, &count_stmt, NULL, DB_ROW, &count, not_told, NULL);
    assert_int_equal(db_flush(db, &err), ST_INVALID);
    assert_int_equal(number_of(db, "select 7"), 7);
    db_free(listener.holder);
    db_free(db);
}

/* A commit that fails at the end of the queue undoes it all, and the connection goes on. */
E2E_TEST(a_commit_at_the_end_of_a_queue_may_fail)
{
    struct db *db = open_db(h);
    struct errmsg err;

    sql_script(h, "create table kept (n bigint unique deferrable initially deferred)");
    queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL);
    queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL);
    assert_true(db_flush(db, &err) != ST_OK);
    assert_string_equal(db_sqlstate(db), "23505");
    assert_sql(h, "select count(*) from kept", "0");
    queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL);
    assert_done(db_flush(db, &err), &err);
    assert_sql(h, "select count(*) from kept", "1");
    assert_int_equal(number_of(db, "select 7"), 7);
    db_free(db);
}

/* More than a connection keeps prepared: the others go without. */
E2E_TEST(a_connection_prepares_a_bounded_number_of_statements)
{
    enum { MANY = 150 };
    struct db *db = open_db(h);
    struct sql_stmt stmts[MANY];
    struct errmsg err;

    for (size_t i = 0; i < MANY; i++) {
        stmts[i] = (struct sql_stmt){.name = arena_printf(h->arena, "many_%zu", i),
                                     .text = arena_printf(h->arena, "select %zu::bigint", i)};
    }
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < MANY; i++) {
            struct db_result *r = NULL;

            db_queue(db, &stmts[i], NULL, DB_ROW, &r);
            assert_done(db_flush(db, &err), &err);
            assert_int_equal(db_i64(r, 0, 0), i);
            db_result_free(r);
        }
    }
    assert_in_range(number_of(db, "select count(*) from pg_prepared_statements"), 1, 64);
    db_free(db);
}

/* What is constant for the planner is worked out with the plan, so it tells when that was made. */
static const struct sql_stmt planned_stmt = {.name = "planned", .text = "select planned_at()"};

static int64_t planned_at_us(struct db *db, bool queued)
{
    struct db_result *r = NULL;
    struct errmsg err;
    int64_t at_us;

    if (queued) {
        db_queue(db, &planned_stmt, NULL, DB_ROW, &r);
        assert_done(db_flush(db, &err), &err);
    } else {
        assert_done(db_exec(db, &planned_stmt, NULL, DB_ROW, &r, &err), &err);
    }
    at_us = db_time(r, 0, 0);
    db_result_free(r);
    return at_us;
}

E2E_TEST(plans_do_not_stay_for_ever)
{
    struct db *db = open_db(h);
    struct errmsg err;

    sql_script(h,
               "create function planned_at() returns timestamptz immutable language sql as 'select clock_timestamp()'");
    for (int queued = 0; queued < 2; queued++) {
        int64_t until_ms = clock_mono_ms() + 30000;
        int64_t first_us = planned_at_us(db, queued == 1);
        unsigned plans = 1;
        unsigned asked = 0;

        for (int64_t last_us = first_us; plans < 2 && clock_mono_ms() < until_ms; asked++) {
            int64_t at_us = planned_at_us(db, queued == 1);

            plans += at_us != last_us;
            last_us = at_us;
        }
        assert_int_equal(plans, 2);
        assert_true(asked > 10); /* and are not made for each question */
    }

    /* never within a transaction, which goes on as it began */
    assert_done(db_begin(db, &err), &err);
    int64_t within_us = planned_at_us(db, false);
    int64_t until_ms = clock_mono_ms() + 4500;

    while (clock_mono_ms() < until_ms) {
        assert_int_equal(planned_at_us(db, false), within_us);
    }
    assert_done(db_commit(db, &err), &err);
    db_free(db);
}

E2E_TEST(a_lost_connection_shows_at_the_end_of_the_queue)
{
    struct db *db = open_db(h);
    struct errmsg err;

    sql_script(h, "create table kept (n bigint)");
    assert_int_equal(number_of(db, "select 7"), 7);
    assert_sql(h,
               "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'db_test' and "
               "datname = current_database()",
               "true");
    db_queue_begin(db, DB_DURABLE);
    queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL);
    db_queue_commit(db);
    assert_true(db_flush(db, &err) != ST_OK);
    assert_false(db_is_connected(db));
    queue_number(db, &insert_stmt, 1, DB_COMMAND, NULL); /* a new connection is made by itself */
    assert_done(db_flush(db, &err), &err);
    assert_sql(h, "select count(*) from kept", "1");
    db_free(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(values_come_back_as_they_went),
        E2E_RUN(arrays_of_every_type),
        E2E_RUN(no_text_needs_quoting),
        E2E_RUN(another_shape_is_a_bug),
        E2E_RUN(each_sqlstate_has_its_class),
        E2E_RUN(errors_do_not_quote_values),
        E2E_RUN(a_failed_transaction_is_undone),
        E2E_RUN(no_connection_is_said_in_words),
        E2E_RUN(what_a_server_says_meanwhile_is_not_printed),
        E2E_RUN(an_ended_connection_is_made_anew),
        E2E_RUN(a_restart_of_the_server_is_survived),
        E2E_RUN(dying_during_a_statement_or_commit_is_uncertain),
        E2E_RUN(a_statement_has_a_time_limit),
        E2E_RUN(notifications_arrive),
        E2E_RUN(what_is_sent_is_utf_8),
        E2E_RUN(connection_strings_are_read_and_changed),
        E2E_RUN(statements_go_together),
        E2E_RUN(what_follows_a_failure_is_not_done),
        E2E_RUN(a_statement_is_told_before_the_commit),
        E2E_RUN(a_commit_at_the_end_of_a_queue_may_fail),
        E2E_RUN(a_connection_prepares_a_bounded_number_of_statements),
        E2E_RUN(plans_do_not_stay_for_ever),
        E2E_RUN(a_lost_connection_shows_at_the_end_of_the_queue),
    };

    return e2e_main(tests);
}
