#include "ctl/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

#define DAY_US (INT64_C(86400) * 1000000)

static struct json *parsed(const char *text)
{
    struct json *j = NULL;
    struct errmsg err = {{0}};

    if (json_parse(text, strlen(text), &j, &err) != ST_OK)
        fail_msg("%s: %s", err.text, text);
    return j;
}

/* Findings as "severity check: what", a line each; every one has all its texts. */
static void assert_found(struct diagnoses *d, const char *expected)
{
    struct buf b;

    diagnoses_sort(d);
    buf_init(&b, 100000);
    for (size_t i = 0; i < d->count; i++) {
        buf_printf(&b, "%s %s: %s\n", severity_name(d->items[i].severity), d->items[i].check, d->items[i].what);
        assert_true(strlen(d->items[i].why) > 20);
        assert_true(strlen(d->items[i].todo) > 10);
    }
    assert_string_equal(buf_text(&b), expected);
    buf_free(&b);
    diagnoses_clear(d);
}

/* ---- the server */

static const struct {
    const char *server;
    const char *found;
} servers[] = {
    {"{\"encoding\":\"UTF8\",\"fsync\":true,\"full_page_writes\":true,\"synchronous_commit\":\"on\",\"autovacuum\":"
     "true,"
     "\"track_counts\":true,\"connections\":79,\"connections_max\":100,\"transaction_age\":999999999}",
     ""},
    {"{\"encoding\":\"UTF8\",\"synchronous_commit\":\"local\"}", ""},
    {"{\"encoding\":\"UTF8\",\"fsync\":false,\"full_page_writes\":false,\"synchronous_commit\":\"off\"}",
     "error durability: fsync is off.\n"
     "error durability: full_page_writes is off.\n"
     "error durability: synchronous_commit is off for the daemon's role.\n"},
    {"{\"encoding\":\"LATIN1\"}", "error database: The encoding of the database is LATIN1, not UTF8.\n"},
    {"{\"encoding\":\"UTF8\",\"autovacuum\":false,\"track_counts\":false}", "error autovacuum: autovacuum is off.\n"},
    {"{\"encoding\":\"UTF8\",\"autovacuum\":true,\"track_counts\":false}",
     "error autovacuum: track_counts is off, so autovacuum does not know what to do.\n"},
    {"{\"encoding\":\"UTF8\",\"connections\":80,\"connections_max\":100}",
     "warning connections: 80 of the server's 100 connections are used.\n"},
    {"{\"encoding\":\"UTF8\",\"connections\":96,\"connections_max\":100}",
     "error connections: 96 of the server's 100 connections are used.\n"},
    {"{\"encoding\":\"UTF8\",\"transaction_age\":1000000000}",
     "warning transactions: The oldest row of the database is 1000 million transactions old.\n"},
    {"{\"encoding\":\"UTF8\",\"transaction_age\":1600000000}",
     "error transactions: The oldest row of the database is 1600 million transactions old.\n"},
};

static void test_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(servers); i++) {
        struct json *server = parsed(servers[i].server);
        struct diagnoses d = {.count = 0};

        print_message("case %zu\n", i);
        judge_durability(&d, server);
        judge_server(&d, server);
        judge_autovacuum(&d, server, NULL);
        assert_found(&d, servers[i].found);
        json_free(server);
    }
}

/* ---- lists of facts */

typedef void judge(struct diagnoses *d, const struct json *rows);

static void judge_tables(struct diagnoses *d, const struct json *rows)
{
    judge_autovacuum(d, NULL, rows);
    judge_bloat(d, rows, NULL);
}

static void judge_all_indexes(struct diagnoses *d, const struct json *rows)
{
    judge_indexes(d, rows);
    judge_bloat(d, NULL, rows);
}

static void judge_sender(struct diagnoses *d, const struct json *row)
{
    judge_silence(d, row);
    judge_sender_clock(d, row);
}

static void judge_daemons_of_1(struct diagnoses *d, const struct json *row)
{
    judge_daemons(d, row, "1.0");
}

#define SESSION "\"kind\":\"session\",\"name\":\"4711\",\"active\":true,"
#define SLOT "\"kind\":\"replication slot\",\"name\":\"standby1\",\"seconds\":null,"
#define WEEKS(a, b, c, d)                                                                                              \
    "\"weeks\":[{\"events\":" #a ",\"known\":true},{\"events\":" #b ",\"known\":true},{\"events\":" #c                 \
    ",\"known\":true},{\"events\":" #d ",\"known\":true}]"

static const struct {
    judge *by;
    const char *rows;
    const char *found;
} cases[] = {
    /* who holds the horizon */
    {judge_horizon, "[]", ""},
    {judge_horizon, "[{" SESSION "\"seconds\":899,\"transactions\":50000000}]", ""},
    {judge_horizon, "[{" SESSION "\"seconds\":900,\"transactions\":5}]",
     "warning horizon: The session 4711 has held the horizon for 15 min.\n"},
    {judge_horizon,
     "[{" SESSION
     "\"role\":\"reporting\",\"application\":\"psql\",\"state\":\"idle in transaction\",\"seconds\":9000}]",
     "error horizon: The session 4711 (role reporting, psql, idle in transaction) has held the horizon for 2 h 30 "
     "min.\n"},
    /* whose times are not told */
    {judge_horizon, "[{" SESSION "\"seconds\":null,\"transactions\":999999}]", ""},
    {judge_horizon, "[{" SESSION "\"seconds\":null,\"transactions\":1250000}]",
     "warning horizon: The session 4711 has held the horizon for 1.2 million transactions.\n"},
    {judge_horizon, "[{" SESSION "\"role\":\"x\",\"seconds\":null,\"transactions\":10000000}]",
     "error horizon: The session 4711 (role x) has held the horizon for 10.0 million transactions.\n"},
    {judge_horizon,
     "[{\"kind\":\"prepared transaction\",\"name\":\"tx1\",\"role\":\"app\",\"seconds\":600,\"active\":true}]",
     "warning horizon: The prepared transaction tx1 (role app) has held the horizon for 10 min.\n"},
    {judge_horizon, "[{\"kind\":\"prepared transaction\",\"name\":\"tx1\",\"seconds\":4000,\"active\":true}]",
     "error horizon: The prepared transaction tx1 has held the horizon for 66 min.\n"},
    {judge_horizon, "[{" SLOT "\"transactions\":null,\"kept_bytes\":99000000000,\"active\":true}]", ""},
    {judge_horizon, "[{" SLOT "\"transactions\":null,\"kept_bytes\":1073741824,\"active\":false}]",
     "warning horizon: The replication slot standby1 is not used and keeps 1.0 GiB of write-ahead log.\n"},
    {judge_horizon, "[{" SLOT "\"transactions\":20000000,\"kept_bytes\":20000000000,\"active\":false}]",
     "error horizon: The replication slot standby1 has held the horizon for 20.0 million transactions.\n"
     "error horizon: The replication slot standby1 is not used and keeps 18.6 GiB of write-ahead log.\n"},

    /* tables */
    {judge_tables, "[{\"name\":\"run\",\"live\":10,\"dead\":49999,\"since_vacuum_seconds\":null}]", ""},
    {judge_tables, "[{\"name\":\"run\",\"live\":90000,\"dead\":60000,\"since_vacuum_seconds\":null}]", ""},
    {judge_tables, "[{\"name\":\"run\",\"live\":10,\"dead\":60000,\"since_vacuum_seconds\":3000}]", ""},
    {judge_tables, "[{\"name\":\"run\",\"live\":10,\"dead\":60000,\"since_vacuum_seconds\":null}]",
     "warning autovacuum: The table atsync.run has 60000 dead rows and 10 live ones; it was vacuumed last: never.\n"},
    {judge_tables, "[{\"name\":\"run\",\"live\":10,\"dead\":60000,\"since_vacuum_seconds\":90000}]",
     "warning autovacuum: The table atsync.run has 60000 dead rows and 10 live ones; it was vacuumed last: 25 h "
     "ago.\n"},
    {judge_tables, "[{\"name\":\"run\",\"autovacuum_off\":true}]",
     "error autovacuum: autovacuum is off for the table atsync.run.\n"},
    {judge_tables, "[{\"name\":\"run\",\"bytes\":134217727,\"packed_bytes\":1000}]", ""},
    {judge_tables, "[{\"name\":\"run\",\"bytes\":600000000,\"packed_bytes\":200000001}]", ""},
    {judge_tables, "[{\"name\":\"run\",\"bytes\":600000000,\"packed_bytes\":null}]", ""},
    {judge_tables, "[{\"name\":\"run\",\"bytes\":600000000,\"packed_bytes\":100000000}]",
     "warning bloat: The table atsync.run takes 572 MiB; its rows need about 95 MiB.\n"},

    /* indexes */
    {judge_all_indexes,
     "[{\"name\":\"i\",\"on_table\":\"run\",\"usable\":true,\"bytes\":60000000,\"packed_bytes\":8192}]", ""},
    {judge_all_indexes,
     "[{\"name\":\"i\",\"on_table\":\"run\",\"usable\":true,\"bytes\":2000000000,\"packed_bytes\":8192}]",
     "warning bloat: The index atsync.i takes 1.9 GiB; its entries need about 8 KiB.\n"},
    {judge_all_indexes, "[{\"name\":\"i\",\"on_table\":\"run\",\"usable\":false}]",
     "error schema: The index atsync.i on run cannot be used.\n"},

    /* daemons */
    {judge_daemons_of_1, "{\"daemons\":[{\"owner\":\"a\",\"version\":\"1.0\"}],\"oldest_due_seconds\":599}", ""},
    {judge_daemons_of_1, "{\"daemons\":[],\"anybody_due\":false}",
     "warning daemons: No daemon works on this database.\n"},
    {judge_daemons_of_1, "{\"daemons\":[],\"anybody_due\":true,\"oldest_due_seconds\":90000}",
     "error daemons: No daemon works on this database.\n"},
    {judge_daemons_of_1, "{\"daemons\":[{\"owner\":\"a\",\"version\":\"1.0\"}],\"oldest_due_seconds\":600}",
     "warning daemons: A candidate has been due for 10 min, although 1 daemon works.\n"},
    {judge_daemons_of_1,
     "{\"daemons\":[{\"owner\":\"a\",\"version\":\"1.0\"},{\"owner\":\"b\",\"version\":\"0.9\"}],"
     "\"oldest_due_seconds\":4000}",
     "error daemons: A candidate has been due for 66 min, although 2 daemons work.\n"
     "info daemons: The daemon b is release 0.9; this atsyncctl is 1.0.\n"},

    /* tokens */
    {judge_tokens, "[{\"connector\":\"c\",\"is_kept\":true,\"has_first_token\":true,\"renewed_seconds\":1209599}]", ""},
    {judge_tokens, "[{\"connector\":\"c\",\"is_kept\":true,\"has_first_token\":false,\"renewed_seconds\":9999999}]",
     ""},
    {judge_tokens, "[{\"connector\":\"c\",\"is_kept\":true,\"has_first_token\":true,\"renewed_seconds\":1209600}]",
     "warning tokens: The refresh token of connector c was used last 14 days ago.\n"},
    {judge_tokens, "[{\"connector\":\"c\",\"is_kept\":true,\"has_first_token\":true,\"renewed_seconds\":2592000}]",
     "error tokens: The refresh token of connector c was used last 30 days ago.\n"},

    /* silence: usual is what happened in the same hours of other weeks */
    {judge_sender, "{\"source\":\"popp\",\"is_known\":false,\"silent_seconds\":null}",
     "info silence: popp has never sent an event.\n"},
    {judge_sender, "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":null," WEEKS(0, 0, 9, 9) "}",
     "info silence: popp has sent nothing for more than a week.\n"},
    {judge_sender, "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":null," WEEKS(70, 80, 90, 80) "}",
     "error silence: popp has sent nothing for more than a week. In the same hours of the last 4 weeks it sent 70 to "
     "90 "
     "events.\n"},
    {judge_sender, "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":50000," WEEKS(0, 40, 40, 40) "}",
     ""}, /* it has happened */
    {judge_sender, "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":50000," WEEKS(1, 4, 5, 6) "}",
     ""}, /* too few to tell */
    {judge_sender, "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":25200," WEEKS(1, 7, 5, 7) "}",
     "warning silence: popp has sent nothing for 7 h. In the same hours of the last 4 weeks it sent 1 to 7 events.\n"},
    {judge_sender, "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":2700," WEEKS(34, 61, 55, 60) "}",
     "error silence: popp has sent nothing for 45 min. In the same hours of the last 4 weeks it sent 34 to 61 "
     "events.\n"},
    {judge_sender,
     "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":2700,\"weeks\":[{\"events\":90,\"known\":true},{"
     "\"events\":0,\"known\":"
     "false}]}",
     ""}, /* one week tells nothing */
    {judge_sender,
     "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":2700,\"weeks\":[{\"events\":90,\"known\":true},{"
     "\"events\":80,\"known\":"
     "true},{\"events\":0,\"known\":false}]}",
     "error silence: popp has sent nothing for 45 min. In the same hours of the last 2 weeks it sent 80 to 90 "
     "events.\n"},

    /* the sender's clock */
    {judge_sender,
     "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":1,\"clock_events\":50,\"clock_least_ms\":-5000}", ""},
    {judge_sender,
     "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":1,\"clock_events\":2,\"clock_least_ms\":-90000}", ""},
    {judge_sender,
     "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":1,\"clock_events\":3,\"clock_least_ms\":-90000}",
     "warning clock: Events of popp carry times up to 90 s ahead of the database's clock.\n"},
    {judge_sender,
     "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":1,\"clock_events\":19,\"clock_least_ms\":900000}", ""},
    {judge_sender,
     "{\"source\":\"popp\",\"is_known\":true,\"silent_seconds\":1,\"clock_events\":20,\"clock_least_ms\":900000}",
     "info clock: No event of popp was younger than 15 min when it came.\n"},
};

static void test_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *rows = parsed(cases[i].rows);
        struct diagnoses d = {.count = 0};

        print_message("case %zu: %s\n", i, cases[i].rows);
        cases[i].by(&d, rows);
        assert_found(&d, cases[i].found);
        json_free(rows);
    }
}

/* ---- the way to the database */

static void test_pooling(void **state)
{
#define TRANSACTION "info pooler: A pooler in transaction mode stands before the database.\n"
#define LISTEN "warning pooler: database.listen_conninfo leads through a pooler too.\n"
    static const struct {
        enum pooling pooling;
        bool has_listen;
        enum pooling listen;
        const char *found;
    } ways[] = {
        {POOLING_NONE, false, POOLING_NONE, ""},
        {POOLING_NONE, true, POOLING_NONE, ""},
        {POOLING_TRANSACTION, false, POOLING_NONE, TRANSACTION},
        {POOLING_TRANSACTION, true, POOLING_NONE, ""}, /* as it should be */
        {POOLING_TRANSACTION, true, POOLING_TRANSACTION, LISTEN},
        {POOLING_SESSION, false, POOLING_NONE, "info pooler: A pooler in session mode stands before the database.\n"},
        {POOLING_STATEMENT, false, POOLING_NONE,
         "error pooler: A pooler in statement mode stands before the database.\n"},
        {POOLING_NONE, true, POOLING_SESSION, LISTEN},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(ways); i++) {
        struct diagnoses d = {.count = 0};

        print_message("case %zu\n", i);
        judge_pooling(&d, ways[i].pooling, ways[i].has_listen, ways[i].listen);
        assert_found(&d, ways[i].found);
    }
}

/* ---- disk */

static void test_disk(void **state)
{
    static const int64_t gib = INT64_C(1024) * 1024 * 1024;
    static const struct {
        int64_t free_mib, total_gib;
        const char *found;
    } disks[] = {
        {200 * 1024, 1000, ""},
        {99 * 1024, 1000,
         "warning disk: 99.0 GiB of 1000.0 GiB are free where the database lives (/data); the database has 2.0 GiB.\n"},
        {29 * 1024, 1000,
         "error disk: 29.0 GiB of 1000.0 GiB are free where the database lives (/data); the database has 2.0 GiB.\n"},
        {4 * 1024, 10,
         "warning disk: 4.0 GiB of 10.0 GiB are free where the database lives (/data); the database has 2.0 GiB.\n"},
        {1023, 5,
         "error disk: 1023 MiB of 5.0 GiB are free where the database lives (/data); the database has 2.0 GiB.\n"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(disks); i++) {
        struct disk disk = {
            .path = "/data", .free_bytes = disks[i].free_mib * 1024 * 1024, .total_bytes = disks[i].total_gib * gib};
        struct diagnoses d = {.count = 0};

        print_message("case %zu\n", i);
        judge_disk(&d, &disk, 2 * gib);
        assert_found(&d, disks[i].found);
    }
}

/* ---- what ends */

static void test_ends(void **state)
{
    static const struct {
        int64_t days_left;
        const char *found;
    } ends[] = {
        {14, ""},
        {13, "warning certificates: The certificate ends in 13 days.\n"},
        {3, "warning certificates: The certificate ends in 3 days.\n"},
        {1, "error certificates: The certificate ends in 24 h.\n"},
        {0, "error certificates: The certificate ended 0 s ago.\n"},
        {-2, "error certificates: The certificate ended 2 days ago.\n"},
    };
    const int64_t now_us = INT64_C(1800000000) * 1000000;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(ends); i++) {
        struct diagnoses d = {.count = 0};

        print_message("case %zu\n", i);
        judge_end(&d, "certificates", "The certificate", now_us + ends[i].days_left * DAY_US, now_us,
                  "why it matters, in words", "what to do about it");
        assert_found(&d, ends[i].found);
    }
}

static void test_tokens(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds; /* 0: none */
    } tokens[] = {
        /* {"alg":"none"} . {"sub":"x","exp":1893456000} */
        {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwiZXhwIjoxODkzNDU2MDAwfQ.c2ln", 1893456000},
        /* {"exp":1893456000,"n":"???>>>"}: both characters that base64url has of its own */
        {"eyJhbGciOiJub25lIn0.eyJleHAiOjE4OTM0NTYwMDAsIm4iOiI_Pz8-Pj4ifQ.", 1893456000},
        {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln", 0},                     /* it does not end */
        {"eyJhbGciOiJub25lIn0.eyJleHAiOiJzb29uIn0.c2ln", 0},                 /* "soon" */
        {"eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTk5OTk5OTk5OX0.c2ln", 0}, /* beyond time */
        {"eyJhbGciOiJub25lIn0.!!!!.c2ln", 0},
        {"eyJhbGciOiJub25lIn0", 0},
        {"eyJhbGciOiJub25lIn0..x", 0},
        {"an.api.key", 0},
        {"", 0},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(tokens); i++) {
        int64_t us = -1;

        print_message("case %zu\n", i);
        assert_int_equal(token_end(tokens[i].text, &us), tokens[i].seconds > 0);
        assert_int_equal(us, tokens[i].seconds > 0 ? tokens[i].seconds * 1000000 : -1);
    }
}

/* ---- the schema */

static const char schema[] = "table candidate with (fillfactor=80) -- The queue.\n"
                             "    source text not null\n"
                             "    due_at timestamp with time zone -- when\n"
                             "    candidate_pkey PRIMARY KEY (source)\n"
                             "    kind_check CHECK (kind = ANY (ARRAY['a'::text]))\n"
                             "    CREATE UNIQUE INDEX candidate_pkey ON atsync.candidate USING btree (source)\n"
                             "    CREATE INDEX candidate_due ON atsync.candidate USING btree (due_at)\n"
                             "view runs\n"
                             "    run_id text -- which\n"
                             "function f(a text, b integer) text\n";

static const struct {
    const char *from, *to; /* what is other in the database; NULL: nothing more */
    const char *found;
} schemas[] = {
    {"", "", ""},
    {" -- The queue.", " -- another comment", ""},
    {" -- when", "", ""},
    {"    CREATE INDEX candidate_due ON atsync.candidate USING btree (due_at)\n", "",
     "error schema: The index candidate_due of the table candidate is missing.\n"},
    {"(due_at)\n", "(due_at, source)\n",
     "error schema: The index candidate_due of the table candidate is \"CREATE INDEX candidate_due ON atsync.candidate "
     "USING btree (due_at, source)\", not \"CREATE INDEX candidate_due ON atsync.candidate USING btree (due_at)\".\n"},
    {"view runs\n", "    CREATE INDEX mine ON atsync.candidate USING hash (source)\nview runs\n",
     "info schema: The index mine of the table candidate is not of this release.\n"},
    /* the index of a key goes with it */
    {"    candidate_pkey PRIMARY KEY (source)\n", "",
     "error schema: The constraint candidate_pkey of the table candidate is missing.\n"},
    {"    kind_check CHECK (kind = ANY (ARRAY['a'::text]))\n", "",
     "error schema: The constraint kind_check of the table candidate is missing.\n"},
    {"text not null", "integer not null",
     "error schema: The column source of the table candidate is \"source integer not null\", not \"source text not "
     "null\".\n"},
    {"    source text not null\n", "", "error schema: The column source of the table candidate is missing.\n"},
    {"    source text not null\n", "    source text not null\n    mine text\n",
     "warning schema: The column mine of the table candidate is not of this release: mine text.\n"},
    {" with (fillfactor=80)", "",
     "warning schema: The table candidate is \"table candidate\", not \"table candidate with (fillfactor=80)\".\n"},
    /* of what is missing as a whole nothing more is said */
    {"view runs\n    run_id text -- which\n", "", "error schema: The view runs is missing.\n"},
    {"function f(a text, b integer) text\n", "", "error schema: The function f is missing.\n"},
    {"(a text, b integer) text", "(a text) text",
     "warning schema: The function f is \"function f(a text) text\", not \"function f(a text, b integer) text\".\n"},
    {"view runs\n",
     "table theirs\n    a text\n    theirs_pkey PRIMARY KEY (a)\n    CREATE UNIQUE INDEX theirs_pkey ON "
     "atsync.theirs USING btree (a)\nview runs\n",
     "info schema: The table theirs is not of this release.\n"},
};

static void test_schema(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(schemas); i++) {
        const char *at = strstr(schema, schemas[i].from);
        struct diagnoses d = {.count = 0};
        char *actual;

        print_message("case %zu\n", i);
        assert_non_null(at);
        actual = mem_printf("%.*s%s%s", (int)(at - schema), schema, schemas[i].to, at + strlen(schemas[i].from));
        judge_schema(&d, schema, actual);
        assert_found(&d, schemas[i].found);
        mem_free(actual);
    }
}

static void test_missing_index_can_be_pasted(void **state)
{
    struct diagnoses d = {.count = 0};

    (void)state;
    judge_schema(&d,
                 "table t\n    a text\n    CREATE UNIQUE INDEX u ON atsync.t USING btree (a)\n    CREATE INDEX i ON "
                 "atsync.t USING btree (a) WHERE (a IS NOT NULL)\n",
                 "table t\n    a text\n");
    assert_int_equal(d.count, 2);
    assert_string_equal(d.items[0].todo, "CREATE UNIQUE INDEX CONCURRENTLY u ON atsync.t USING btree (a)");
    assert_string_equal(d.items[1].todo,
                        "CREATE INDEX CONCURRENTLY i ON atsync.t USING btree (a) WHERE (a IS NOT NULL)");
    diagnoses_clear(&d);
}

static void test_release(void **state)
{
    static const struct {
        struct schema_status status;
        const char *found;
    } releases[] = {
        {{.version = 2, .newest_known = 2}, ""},
        {{.version = 0, .newest_known = 2, .migration_missing = true},
         "error schema: The database has no schema atsync yet.\n"},
        {{.version = 1, .newest_known = 2, .migration_missing = true},
         "error schema: The schema is version 1, and this release needs 2.\n"},
        {{.version = 3, .newest_known = 2},
         "warning schema: The schema is version 3; this release, " ATSYNC_VERSION ", knows up to 2.\n"},
        {{.version = 4, .newest_known = 2, .newer_breaking = true},
         "error schema: The schema is version 4, and this release must not work on more than 2.\n"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(releases); i++) {
        struct diagnoses d = {.count = 0};

        judge_release(&d, &releases[i].status);
        assert_found(&d, releases[i].found);
    }
}

static void test_figures(void **state)
{
    (void)state;
    assert_string_equal(span_text(0).s, "0 s");
    assert_string_equal(span_text(119).s, "119 s");
    assert_string_equal(span_text(120).s, "2 min");
    assert_string_equal(span_text(7199).s, "119 min");
    assert_string_equal(span_text(7200).s, "2 h");
    assert_string_equal(span_text(5 * 3600 + 90).s, "5 h 1 min");
    assert_string_equal(span_text(172800).s, "2 days");
    assert_string_equal(bytes_text(8192).s, "8 KiB");
    assert_string_equal(bytes_text(1610612736).s, "1.5 GiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server),  cmocka_unit_test(test_facts),
        cmocka_unit_test(test_pooling), cmocka_unit_test(test_disk),
        cmocka_unit_test(test_ends),    cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_schema),  cmocka_unit_test(test_missing_index_can_be_pasted),
        cmocka_unit_test(test_release), cmocka_unit_test(test_figures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
