/*
 * How PostgreSQL carries out what we ask it, on a big database: no statement of the daemon and no everyday question to a view reads a whole table
 * of events, candidates, runs, writes, calls or names. 200,000 events; with ATSYNC_FULL=1 ten millions of a million candidates. Measured times are printed, and decide nothing.
 */
#include <dirent.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"

static const char *const big_tables[] = {"event", "candidate", "run", "ats_write", "ats_call", "identity"};

/* Ten events, a run, four writes and five calls for each candidate; one in a hundred waits, one in a thousand has a dead write. */
static const char generator[] =
    "set synchronous_commit = off; set work_mem = '64MB'; set maintenance_work_mem = '256MB';"
    "insert into atsync.event (source, event_id, type, subject, external_id, profile_id, run_id, workflow_id, "
    "workflow_external_id, event_time, received_at, body) "
    "select 'popp', 'evt_' || i, 'WORKFLOW_NODE_COMPLETED', 'x:c' || i % n(), 'c' || i % n(), 'p' || i % n(), 'run_' "
    "|| i % n(), 'wf', 'cedar', "
    "now() - (n() * 10 - i) * interval '0.5 second', now() - (n() * 10 - i) * interval '0.5 second', "
    "convert_to(repeat('{\"event\":\"x\"}', 20), 'UTF8') "
    "from generate_series(1, n() * 10) as i;"
    "insert into atsync.candidate (source, connector, ref, external_id, workflow_external_id, state, due_at, version, "
    "synced_version, attempts, lease_owner, last_event_at) "
    "select 'popp', case when i % 500 = 1 then '' else 'ats' end, 'x:c' || i, 'c' || i, 'cedar', case when i % 500 = 1 "
    "then 'unmapped' else 'synced' end, "
    "case when i % 100 = 0 then now() - interval '1 minute' end, 5, case when i % 200 = 0 then 0 else 5 end, (i % 400 "
    "= 0)::int, "
    "case when i % 1000 = 0 then 'him' end, now() - (n() - i) * interval '5 seconds' from generate_series(0, n() - 1) "
    "as i;"
    "update atsync.candidate set blocked_since = now() - interval '1 hour' where ref like 'x:c%01';"
    "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, workflow_id, workflow_version_id, "
    "workflow_external_id, job, profile_id, external_id, "
    "state, outcome, result, truncated, complete, conflict, started_at, completed_at, last_event_at, nodes) "
    "select 'popp', 'run_' || i, 'x:c' || i, case when i % 500 = 1 then '' else 'ats' end, false, true, 'wf', 'wfv', "
    "'cedar', '1', 'p' || i, 'c' || i, 'completed', "
    "'completed', 'PASSED_CRITERIA', false, true, i % 5000 = 7, now(), now(), now() - (n() - i) * interval '5 "
    "seconds', "
    "'[{\"nodeId\":\"n\",\"completedAt\":\"2026-05-12T09:00:00Z\",\"outcome\":{\"answers\":[{\"slug\":\"s\",\"answer\":"
    "\"yes\"},{\"slug\":\"t\",\"answer\":\"no\"}]}}]' "
    "from generate_series(0, n() - 1) as i where i % 200 <> 0;"
    /* one in ten goes on, half of these were asked for; one in a hundred was cut off */
    "update atsync.run r set state = case when i % 10 = 3 then 'running' else r.state end, outcome = case when i % 10 "
    "= 3 "
    "then null else r.outcome end, truncated = i % 100 = 1, complete = i % 100 <> 1, ask_at = case when i % 20 = 3 "
    "then "
    "now() + (i - n() / 2) * interval '1 minute' end from (select substr(run_id, 5)::int as i, run_id from atsync.run) "
    "u "
    "where u.run_id = r.run_id;"
    "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, job, run_id, "
    "workflow_external_id, reason, state, lease_no, error_class, error, "
    "attempts, first_tried_at, last_tried_at, applied_at) "
    "select 'popp', 'ats', 'x:c' || i / 4, 'field/f' || i % 4, 1, 'field', 'f', 'v', 'h', '1', 'run_' || i / 4, "
    "'cedar', 'finished', "
    "case when i % 4000 = 3 then 'dead' when i % 400 = 1 then 'pending' else 'applied' end, 1, case when i % 4000 = 3 "
    "then 'invalid' end, "
    "case when i % 4000 = 3 then 'no such field' end, 1, now(), now(), now() from generate_series(0, n() * 4 - 1) as i;"
    "insert into atsync.ats_call (source, connector, ref, at, verb, method, path, http_status, outcome, duration_ms) "
    "select 'popp', 'ats', 'x:c' || i % n(), now() - (n() * 5 - i) * interval '1 second', 'fields', 'PATCH', "
    "'/candidates', 200, 'ok', i % 1000 "
    "from generate_series(1, n() * 5) as i;"
    "insert into atsync.identity (source, alias, ref, external_id, origin) select 'popp', 'p:p' || i, 'x:c' || i, 'c' "
    "|| i, 'event' from generate_series(0, n() - 1) as i;"
    "create function refs() returns text[] language sql as $$ select array_agg('x:c' || i * 7) from generate_series(1, "
    "100) as i $$;"
    "create function runs() returns text[] language sql as $$ select array_agg('r:run_' || i * 7) from "
    "generate_series(1, 100) as i $$;"
    "create function same(t text) returns text[] language sql as $$ select array_fill(t, array[100]) $$;"
    "create function same(n bigint) returns bigint[] language sql as $$ select array_fill(n, array[100]) $$;"
    "create function same(b boolean) returns boolean[] language sql as $$ select array_fill(b, array[100]) $$;"
    "create function same(n integer) returns integer[] language sql as $$ select array_fill(n, array[100]) $$;"
    "create function same(t timestamptz) returns timestamptz[] language sql as $$ select array_fill(t, array[100]) $$;";

#define KEYS "same('popp'::text), same('ats'::text), refs()"
#define NONE "null, null, null, null, null"
#define T "same('t'::text), "
#define B "same(false), "
#define Z "same(now()), "

/* Every statement of sql/stmt that names one of the big tables stands here. */
static const struct {
    const char *name;
    const char *arguments;
    const char *reads_whole; /* a table that may be read as a whole, and why */
} statements[] = {
    {"claim", "'ats', 'me', 60000, 100, 0, '-infinity'", NULL},
    {"claim", "'ats', 'me', 60000, 100, 1, now() - interval '1 second'", NULL},
    {"claim_unplanned", "'ats', 'me', 60000, 100, 0, '-infinity', '(0,0)'", NULL},
    {"claim_unplanned", "'ats', 'me', 60000, 100, 1, now() - interval '1 second', '(5,1)'", NULL},
    {"connector_adopt", "'ats', 'hash'", NULL},
    {"connector_changed", "'ats', now()", NULL},
    {"connector_closed", "'ats'", NULL},
    {"connector_ok", "'ats'", NULL},
    {"connector_wake", "'ats', 1, null", NULL},
    {"connector_wake", "'ats', 0, now()", NULL},
    {"connector_resume", "'ats'", NULL},
    {"count_resync", "'c77', null, null, null, null", NULL},
    {"count_resync", "null, null, null, now() - interval '1 hour', null",
     "candidate: an operator wants to know how much there is"},
    {"count_resync", NONE, "candidate: an operator wants to know how much there is"},
    {"count_dead", NONE, NULL},
    {"count_dead", "'c77', null, null, null, null", NULL},
    {"doctor_daemons", "", NULL},
    {"doctor_sources", "array['popp', 'other']",
     "event: who has been silent for long is looked for in a week of events"},
    {"erase_candidates", "'popp', array['x:c77', 'p:p77', 'r:run_77']", NULL},
    {"erase_names", "'popp', array['x:c77', 'p:p77', 'r:run_77'], 'x:c77', '{}'", NULL},
    {"erase_nobody", "'popp', array['p:p77'], array['c77'], '-infinity', '', 1000, 16777216", NULL},
    {"erase_nobody", "'popp', array['p:p77'], array['c77'], now() - interval '1 minute', '', 1000, 16777216", NULL},
    {"erase_rows", "'popp', array['x:c77', 'p:p77', 'r:run_77'], array['evt_78'], array['o:conv']", NULL},
    {"erase_sources", "", NULL},
    {"erase_texts", "'popp', array['x:c77']", NULL},
    {"erase_told", "'popp', array['x:c77']", NULL},
    {"erase_whose", "'popp', 'r:run_77'", NULL},
    {"find_candidate", "'c77', array['popp']", NULL},
    {"find_candidate", "'run_77', array['popp']", NULL},
    {"gauges", "", NULL},
    {"ingest",
     "same('popp'::text), refs(), " T T T T T T T Z "same('x'::text)::bytea[], same('popp'::text), " T "refs(), " T T Z
     "false",
     NULL},
    {"held", KEYS, NULL},
    {"ingest_erased", "same('popp'::text), refs(), " T T T T "'{}', '{}'", NULL},
    {"inquiry_again", "'popp', 'run_77', 5000", NULL},
    {"inquiry_claim", "'popp', 3600000, 60000, 60000, 10", NULL},
    {"inquiry_put_back", "'popp', 'run_77'", NULL},
    {"lease_owners", "'him'", NULL},
    {"link", "'popp', 'p:p77', 'x:c77', 'c77'", NULL},
    {"load_events", "same('popp'::text), refs(), 4194304", NULL},
    {"load_ledger", KEYS, NULL},
    {"load_values", KEYS, NULL},
    {"peek", "'c77', null, null, null, null, null, 100", NULL},
    {"peek", "null, null, null, now() - interval '1 hour', 'popp', 'x:c5', 100",
     "candidate: an operator's look at all candidates"},
    {"peek", "null, null, null, null, 'popp', 'x:c5', 100", "candidate: an operator's look at all candidates"},
    {"population", "", "candidate: everybody is counted, seldom"},
    {"problems", "array['cedar'], array['s']", NULL},
    {"put_back", KEYS ", same(1::bigint), same(5::bigint), " T "same('t'::text)", NULL},
    {"record_call", KEYS ", same(1::bigint), " T T T "same(200), " T "same(5::bigint), same('t'::text)", NULL},
    {"record_lost_call", KEYS ", same(1::bigint), " T T T "same(200), " T "same(5::bigint), same('t'::text)", NULL},
    {"record_candidate",
     KEYS ", same(0::bigint), same(1::bigint), " B T "same(5::bigint), " T B B T T "same(5::bigint), same(false)",
     NULL},
    {"record_forget", KEYS ", same(5::bigint)", NULL},
    {"record_identity", "same('popp'::text), refs(), refs(), refs(), same(false), same('popp'::text), runs()", NULL},
    {"record_result",
     KEYS ", same('field/f1'::text), same(1::bigint), same('applied'::text), " B "same(1::bigint), same(200), " T T
          "same(0)",
     NULL},
    {"record_route_new", KEYS ", refs(), same('ats'::text), refs()", NULL},
    {"record_route", KEYS ", refs(), same('ats'::text), refs()", NULL},
    {"record_run",
     "same('popp'::text), refs(), refs(), " T B B T T T T T T T T T T T T T T B B B Z Z Z "same('[]'::text)", NULL},
    {"record_supersede", KEYS ", same('field/f1'::text), same(1::bigint), same(false), same(false)", NULL},
    {"record_value",
     KEYS ", same('field/f9'::text), same(1::bigint), same('field'::text), " T T T T T T T T Z T
          "same(1), same('applied'::text), same(1::bigint), " B "same(1::bigint), same(200), " T T "same(0)",
     NULL},
    {"record_value_new",
     KEYS ", same('field/f9'::text), same(1::bigint), same('field'::text), " T T T T T T T T Z T
          "same(1), same('applied'::text), same(1::bigint), " B "same(1::bigint), same(200), " T T "same(0)",
     NULL},
    {"record_write",
     KEYS ", same('field/f9'::text), same(1::bigint), same('field'::text), " T T T T T T T T Z T
          "same(1), same('sending'::text), same(1::bigint)",
     NULL},
    {"renew", KEYS ", same(1::bigint), 60000", NULL},
    {"resolve", "same('popp'::text), runs()", NULL},
    {"retain_calls", "3600000, 500", NULL},
    {"retain_due", "3600000, '1970-01-01', '', 500", NULL},
    {"retain_forget", "same('popp'::text), refs(), 3600000, 7200000, array['popp'], array['x']", NULL},
    {"retain_ids", "3600000, 500", NULL},
    {"retain_lock", "same('popp'::text), refs()", NULL},
    {"resync", "'c77', null, null, null, null, null, null, null, 500, false", NULL},
    {"resync", "'c77', 'ats', null, null, null, null, null, null, 500, true", NULL},
    {"resync", "null, null, null, now() - interval '1 hour', null, null, null, null, 500, false",
     "candidate: a page of it is joined with all of a small table"},
    {"resync", NONE ", null, null, null, 500, false", "candidate: a page of it is joined with all of a small table"},
    {"resync", NONE ", 'popp', 'ats', 'x:c5', 500, false",
     "candidate: a page of it is joined with all of a small table"},
    {"retry_dead", NONE ", null, 500", NULL},
    {"retry_dead", NONE ", now(), 500", NULL},
    {"retry_dead", "'c77', null, null, null, null, null, 500", NULL},
    {"show_answers", "'c77', 100", NULL},
    {"show_blocked", "20", NULL},
    {"show_contacts", "'c77'", NULL},
    {"show_newest", "20", NULL},
    {"show_news", "now() - interval '5 seconds'", NULL},
    {"show_sync", "'c77'", NULL},
    {"skip_dead", "null, 'ats', 'cedar', now() - interval '1 day', 'invalid', null, 500", NULL},
    {"source_seen", "array['popp']", NULL},
    {"take_back", "'him'", NULL},
    {"wake_identified", "600", NULL},
    {"wake_too_large", "", NULL},
    {"wake_mapped", "array['w', 'v'], false", NULL},
    {"wake_unrouted", "", NULL},
};

static const struct {
    const char *query;
    const char *reads_whole;
} questions[] = {
    {"select * from atsync.sync_status where candidate_external_id = 'c77'", NULL},
    {"select * from atsync.sync_status order by last_event_at desc limit 100", NULL},
    {"select * from atsync.runs where candidate_external_id = 'c77'", NULL},
    {"select * from atsync.runs where source = 'popp' and run_id = 'run_77'", NULL},
    {"select * from atsync.answers where candidate_external_id = 'c77'", NULL},
    {"select * from atsync.candidate_timeline where candidate_external_id = 'c77' order by at", NULL},
    {"select * from atsync.pending_writes where candidate_external_id = 'c77'", NULL},
    {"select * from atsync.dead_writes where candidate_external_id = 'c77'", NULL},
    {"select * from atsync.pending_writes where connector = 'ats' limit 100", NULL},
    {"select * from atsync.dead_writes where connector = 'ats' limit 100", NULL},
    {"select * from atsync.connector_status", NULL},
    {"select * from atsync.queue_health", NULL},
    {"select * from atsync.issues where closed_at is null", NULL},
};

/* ---- the data, once for all tests of this program */

static struct kit *kit;

static bool is_full(void)
{
    const char *full = getenv("ATSYNC_FULL");

    return full && strcmp(full, "1") == 0;
}

static void fill(struct harness *h)
{
    int candidates = is_full() ? 1000000 : 20000;
    int64_t began_ms = clock_mono_ms();
    int64_t ms;
    struct db *db = db_new(h->conninfo, "generator");
    char *how_many = mem_printf("create function n() returns int immutable language sql as 'select %d'", candidates);
    struct errmsg err;

    kit = kit_open(h, NULL);
    db_set_timeout(db, 3600000);
    assert_done(db_script(db, "how many", how_many, &err), &err);
    assert_done(db_script(db, "generator", generator, &err), &err);
    for (size_t i = 0; i < ATS_COUNT(big_tables); i++) {
        char *vacuum = mem_printf("vacuum analyze atsync.%s", big_tables[i]);

        assert_done(db_script(db, "vacuum", vacuum, &err), &err);
        mem_free(vacuum);
    }
    ms = clock_mono_ms() - began_ms;
    print_message("%d events of %d candidates in %s ms\n", 10 * candidates, candidates, num_text(ms).s);
    mem_free(how_many);
    db_free(db);
}

/* ---- plans */

/* Runs an EXPLAIN ANALYZE inside a transaction that is undone; returns its lines. */
static const char *explain(struct harness *h, struct db *db, const char *what)
{
    struct sql_stmt stmt = {.name = "explain",
                            .text = arena_printf(h->arena, "explain (analyze, buffers, timing off) %s", what),
                            .planned_anew = true};
    struct db_result *r = NULL;
    struct errmsg err;
    struct buf text;
    const char *copy;

    assert_done(db_begin(db, &err), &err);
    if (db_exec(db, &stmt, NULL, DB_ROWS, &r, &err) != ST_OK) {
        fail_msg("%s: %s", err.text, what);
    }
    buf_init(&text, 1 << 24);
    for (size_t i = 0; i < db_rows(r); i++) {
        buf_printf(&text, "%s\n", db_text(r, i, 0));
    }
    copy = arena_strdup(h->arena, buf_text(&text));
    buf_free(&text);
    db_result_free(r);
    db_rollback(db);
    return copy;
}

static bool reads_whole(const char *plan, const char *table)
{
    static const char scan[] = "Seq Scan on ";

    for (const char *at = strstr(plan, scan); at; at = strstr(at + 1, scan)) {
        const char *name = at + strlen(scan);

        if (strncmp(name, table, strlen(table)) == 0 && !strchr("abcdefghijklmnopqrstuvwxyz_", name[strlen(table)])) {
            return true;
        }
    }
    return false;
}

static unsigned check_plan(const char *what, const char *plan, const char *exception)
{
    const char *time = strstr(plan, "Execution Time: ");
    unsigned bad = 0;

    print_message("%-12.*s %.150s\n", time ? (int)strcspn(time + 16, "\n") : 0, time ? time + 16 : "", what);
    for (size_t i = 0; i < ATS_COUNT(big_tables); i++) {
        bool allowed = exception && text_starts(exception, big_tables[i]) && exception[strlen(big_tables[i])] == ':';
        allowed = allowed && (!is_full() || !strstr(exception, "small"));
        /* with a few thousand names PostgreSQL reads them all about as fast as it finds some: only the full size tells */
        allowed = allowed || (!is_full() && strcmp(big_tables[i], "identity") == 0);

        if (reads_whole(plan, big_tables[i]) && !allowed) {
            fprintf(stderr, "%s reads the whole table %s:\n%s\n", what, big_tables[i],
                    plan); /* longer than cmocka prints */
            bad++;
        }
    }
    return bad;
}

static const char *statement_text(struct harness *h, const char *name)
{
    char *path = arena_printf(h->arena, "%s/sql/stmt/%s", TEST_SOURCE_DIR, name);
    FILE *f = fopen(path, "re");
    char piece[32768];
    size_t n;

    assert_non_null(f);
    n = fread(piece, 1, sizeof piece - 1, f);
    (void)fclose(f);
    return arena_strndup(h->arena, piece, n);
}

static bool names_big_table(const char *text)
{
    for (size_t i = 0; i < ATS_COUNT(big_tables); i++) {
        char *name = mem_printf("atsync.%s", big_tables[i]);
        const char *at = strstr(text, name);
        bool found = at && !strchr("abcdefghijklmnopqrstuvwxyz_", at[strlen(name)]);

        mem_free(name);
        if (found) {
            return true;
        }
    }
    return false;
}

static bool is_listed(const char *name)
{
    for (size_t i = 0; i < ATS_COUNT(statements); i++) {
        if (strcmp(statements[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void every_statement_is_listed(struct harness *h)
{
    DIR *dir = opendir(TEST_SOURCE_DIR "/sql/stmt");
    struct dirent *entry;
    unsigned seen = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');

        if (dot && strcmp(dot, ".sql") == 0) {
            const char *name = arena_strndup(h->arena, entry->d_name, (size_t)(dot - entry->d_name));

            bool is_query = !text_has(statement_text(h, entry->d_name), "\nanalyze "); /* that has no plan */

            seen++;
            if (is_query && names_big_table(statement_text(h, entry->d_name)) && !is_listed(name)) {
                fail_msg("sql/stmt/%s.sql names a big table and is not in the list of this test", name);
            }
        }
    }
    (void)closedir(dir);
    assert_true(seen > ATS_COUNT(statements) / 2);
}

static unsigned check_statement(struct harness *h, struct db *db, size_t index, const char *mode)
{
    const char *arguments = statements[index].arguments;
    const char *text = statement_text(h, arena_printf(h->arena, "%s.sql", statements[index].name));
    struct errmsg err;

    assert_done(
        db_script(db, "prepare",
                  arena_printf(h->arena, "set plan_cache_mode = %s; deallocate all; prepare p as %s", mode, text),
                  &err),
        &err);
    return check_plan(
        arena_printf(h->arena, "%s, %s", statements[index].name, mode + strlen("force_")),
        explain(h, db,
                arena_printf(h->arena, "execute p%s%s%s", arguments[0] ? "(" : "", arguments, arguments[0] ? ")" : "")),
        statements[index].reads_whole);
}

E2E_TEST(nothing_reads_a_whole_table)
{
    struct db *db = db_new(h->conninfo, "plans");
    struct errmsg err;
    unsigned bad = 0;

    every_statement_is_listed(h);
    fill(h);
    db_set_timeout(db, 120000);
    assert_done(db_script(db, "settings", "set jit = off", &err), &err);
    for (size_t i = 0; i < ATS_COUNT(statements); i++) {
        bad += check_statement(h, db, i, "force_custom_plan");
        /* one that is prepared once gets a plan for all values */
        if (!text_has(statement_text(h, arena_printf(h->arena, "%s.sql", statements[i].name)), "-- plan: anew")) {
            bad += check_statement(h, db, i, "force_generic_plan");
        }
    }
    for (size_t i = 0; i < ATS_COUNT(questions); i++) {
        bad += check_plan(questions[i].query, explain(h, db, questions[i].query), questions[i].reads_whole);
    }
    db_free(db);
    kit_close(kit);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(nothing_reads_a_whole_table),
    };

    return e2e_main(tests);
}
