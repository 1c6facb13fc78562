/* What atsyncctl doctor is told by the database: that the facts are true. What they mean is tested with ctl/doctor. */
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"
#include "store/doctor.h"
#include "store/setup.h"

static struct json *asked; /* freed with the next question */

static const struct json *ask(struct store *s, enum doctor_fact fact)
{
    struct errmsg err;

    json_free(asked);
    asked = NULL;
    assert_done(store_doctor_ask(s, fact, &asked, &err), &err);
    return asked;
}

static void forget(void)
{
    json_free(asked);
    asked = NULL;
}

static const struct json *row_of(const struct json *rows, const char *member, const char *value)
{
    for (const struct json *row = json_first(rows); row; row = json_next(row)) {
        if (text_eq(json_get_str(row, member), value)) {
            return row;
        }
    }
    return NULL;
}

static int64_t number(const struct json *row, const char *member)
{
    int64_t n = -1;

    return json_get_i64(row, member, &n) ? n : -1;
}

/* A role that may read the schema's tables, as the daemon's may, and nothing of the server's. */
static struct store *as_plain_role(struct harness *h)
{
    sql_script(h, "do $$ begin if not exists (select from pg_roles where rolname = 'plain_doctor') then create role "
                  "plain_doctor login; end if; end $$");
    sql_script(h, "grant usage on schema atsync to plain_doctor; grant select on all tables in schema atsync to "
                  "plain_doctor");
    return store_new_at(arena_printf(h->arena, "%s user=plain_doctor", h->conninfo), "plain");
}

E2E_TEST(the_server_is_described)
{
    struct kit *k = kit_open(h, NULL);
    const struct json *server = json_first(ask(k->store, DOCTOR_SERVER));
    struct store *plain;

    assert_string_equal(json_get_str(server, "encoding"), "UTF8");
    assert_true(number(server, "version") >= 130000);
    assert_int_equal(json_get_bool(server, "fsync"), false); /* so is this test's server */
    assert_int_equal(json_get_bool(server, "autovacuum"), true);
    assert_true(number(server, "connections") >= 1);
    assert_true(number(server, "connections_max") > 50);
    assert_true(number(server, "database_bytes") > 1000000);
    assert_true(number(server, "transaction_age") >= 0);
    assert_true(json_get_bool(server, "sees_sessions"));
    assert_true(json_get_bool(server, "is_local"));
    assert_string_equal(json_get_str(server, "data_directory"),
                        sql_text(h, "select current_setting('data_directory')"));

    plain = as_plain_role(h);
    server = json_first(ask(plain, DOCTOR_SERVER));
    assert_false(json_get_bool(server, "sees_sessions"));
    assert_null(json_get_str(server, "data_directory"));
    assert_string_equal(json_get_str(server, "role"), "plain_doctor");
    forget();
    store_free(plain);
    kit_close(k);
}

E2E_TEST(who_holds_the_horizon_is_named)
{
    struct kit *k = kit_open(h, NULL);
    struct store *plain = as_plain_role(h);
    struct db *other = db_new(h->conninfo, "a report");
    const struct json *row;
    struct errmsg err;

    assert_int_equal(json_count(ask(k->store, DOCTOR_HOLDERS)), 0);
    assert_done(
        db_script(other, "begin", "begin isolation level repeatable read; create temporary table t (i int)", &err),
        &err);
    row = row_of(ask(k->store, DOCTOR_HOLDERS), "application", "a report");
    assert_string_equal(json_get_str(row, "kind"), "session");
    assert_string_equal(json_get_str(row, "state"), "idle in transaction");
    assert_string_equal(json_get_str(row, "role"), "postgres");
    assert_true(number(row, "seconds") >= 0);
    assert_true(number(row, "transactions") >= 0);
    assert_true(json_get_bool(row, "active"));
    sql_script(h, "create table later (i int)"); /* a transaction more */
    row = row_of(ask(k->store, DOCTOR_HOLDERS), "application", "a report");
    assert_true(number(row, "transactions") >= 1);

    /* who may not see times sees how many transactions went by */
    row = row_of(ask(plain, DOCTOR_HOLDERS), "application", "a report");
    assert_non_null(row);
    assert_int_equal(number(row, "seconds"), -1);
    assert_true(number(row, "transactions") >= 1);
    assert_done(db_script(other, "rollback", "rollback", &err), &err);
    assert_int_equal(json_count(ask(k->store, DOCTOR_HOLDERS)), 0);
    db_free(other);

    /* a slot that nobody uses */
    (void)sql_text(h, "select slot_name from pg_create_physical_replication_slot('forgotten', true)");
    row = row_of(ask(k->store, DOCTOR_HOLDERS), "name", "forgotten");
    assert_string_equal(json_get_str(row, "kind"), "replication slot");
    assert_false(json_get_bool(row, "active"));
    assert_true(number(row, "kept_bytes") >= 0);
    (void)sql_text(h, "select 1 from pg_drop_replication_slot('forgotten')");
    store_free(plain);
    forget();
    kit_close(k);
}

E2E_TEST(prepared_transactions_are_seen)
{
    struct kit *k = kit_open(h, NULL);
    struct db *other;
    const struct json *row;
    struct errmsg err;

    sql_script(h, "alter system set max_prepared_transactions = 2");
    pg_stop(h, "fast");
    pg_start(h);
    (void)sql_text(h, "select 1");
    other = db_new(h->conninfo, "an application");
    assert_done(db_script(other, "begin", "begin; create table promised (i int)", &err), &err);
    assert_done(db_script(other, "prepare", "prepare transaction 'tx 1'", &err), &err);
    store_disconnect(k->store);
    row = row_of(ask(k->store, DOCTOR_HOLDERS), "kind", "prepared transaction");
    assert_string_equal(json_get_str(row, "name"), "tx 1");
    assert_string_equal(json_get_str(row, "role"), "postgres");
    assert_true(number(row, "seconds") >= 0);
    assert_done(db_script(other, "rollback prepared", "rollback prepared 'tx 1'", &err), &err);
    db_free(other);
    forget();
    kit_close(k);
}

/* Estimates are good to about a third. */
static void assert_packed(const struct json *row, double least, double most)
{
    double ratio = (double)number(row, "bytes") / (double)number(row, "packed_bytes");

    if (number(row, "packed_bytes") <= 0 || ratio < least || ratio > most) {
        fail_msg("%s: %s bytes, packed %s", json_get_str(row, "name"), num_text(number(row, "bytes")).s,
                 num_text(number(row, "packed_bytes")).s);
    }
}

E2E_TEST(sizes_are_estimated)
{
    static const char *const indexes[] = {"ats_write_pkey", "event_pkey", "event_subject", "candidate_due"};
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;
    struct db *db = db_new(h->conninfo, "filler");

    sql_script(h, "alter table atsync.ats_write set (autovacuum_enabled = false)");
    sql_script(
        h, "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, "
           "state, lease_no) select 'popp', 'ats', 'x:ats_' || i, 'field/f', 1, 'field', 'f', 'a value', md5(i::text), "
           "'finished', 'applied', 1 from generate_series(1, 30000) as i");
    sql_script(
        h, "insert into atsync.event (source, event_id, type, subject, event_time, body) select 'popp', 'evt_' || i, "
           "'WORKFLOW_NODE_COMPLETED', 'x:ats_' || i, now(), convert_to(repeat(md5(i::text), 10), 'UTF8') from "
           "generate_series(1, 30000) as i");
    sql_script(
        h, "insert into atsync.candidate (source, connector, ref, last_event_at, due_at) select 'popp', 'ats', 'x:' || "
           "i, now(), now() + i * interval '1 second' from generate_series(1, 30000) as i");
    assert_done(db_script(db, "vacuum", "vacuum analyze", &err), &err);
    assert_packed(row_of(ask(k->store, DOCTOR_TABLES), "name", "ats_write"), 0.8, 1.35);
    assert_packed(row_of(asked, "name", "event"), 0.8, 1.35);
    assert_packed(row_of(asked, "name", "candidate"), 0.8, 1.35);
    assert_true(json_get_bool(row_of(asked, "name", "ats_write"), "autovacuum_off"));
    assert_false(json_get_bool(row_of(asked, "name", "event"), "autovacuum_off"));
    assert_true(number(row_of(asked, "name", "ats_write"), "since_vacuum_seconds") >= 0);
    (void)ask(k->store, DOCTOR_INDEXES);
    for (size_t i = 0; i < ATS_COUNT(indexes); i++) {
        assert_packed(row_of(asked, "name", indexes[i]), 0.5, 2.5); /* pages that were split are half full */
    }
    assert_string_equal(json_get_str(row_of(asked, "name", "event_subject"), "on_table"), "event");

    /* nine of ten rows go, every page keeps one */
    sql_script(h, "delete from atsync.ats_write where substr(ref, 7)::int % 10 <> 0");
    assert_done(db_script(db, "vacuum", "vacuum analyze atsync.ats_write", &err), &err);
    assert_packed(row_of(ask(k->store, DOCTOR_TABLES), "name", "ats_write"), 7, 13);
    assert_packed(row_of(ask(k->store, DOCTOR_INDEXES), "name", "ats_write_pkey"), 5, 16);
    db_free(db);
    forget();
    kit_close(k);
}

E2E_TEST(an_index_that_cannot_be_used_is_seen)
{
    struct kit *k = kit_open(h, NULL);
    struct db *db = db_new(h->conninfo, "maker");
    struct errmsg err;

    for (const struct json *row = json_first(ask(k->store, DOCTOR_INDEXES)); row; row = json_next(row)) {
        assert_true(json_get_bool(row, "usable"));
    }
    sql_script(
        h, "insert into atsync.workflow_name (source, workflow_id, external_id) values ('popp', 'a', 'x'), ('popp', "
           "'b', 'x')");
    assert_int_equal(
        db_script(db, "index", "create unique index concurrently twice on atsync.workflow_name (external_id)", &err),
        ST_CONFLICT);
    assert_false(json_get_bool(row_of(ask(k->store, DOCTOR_INDEXES), "name", "twice"), "usable"));
    db_free(db);
    forget();
    kit_close(k);
}

/* ---- senders */

static const struct json *ask_sources(struct store *s)
{
    static const char *const names[] = {"popp", "quiet", "never"};
    struct errmsg err;

    forget();
    assert_done(store_doctor_ask_sources(s, names, ATS_COUNT(names), &asked, &err), &err);
    assert_int_equal(json_count(asked), 3);
    return asked;
}

E2E_TEST(weeks_of_senders_are_compared)
{
    struct kit *k = kit_open(h, NULL);
    const struct json *popp;

    /* popp: 20 events an hour until 3 hours ago, for three weeks and a bit; its clock is 8 s ahead */
    sql_script(
        h, "insert into atsync.event (source, event_id, type, subject, event_time, received_at) select 'popp', 'evt_' "
           "|| i, 't', '', t + interval '8 seconds', t from (select i, now() - interval '3 hours' - i * interval '3 "
           "minutes' as t from generate_series(0, 20 * 24 * 24) as i) e");
    sql_script(h, "insert into atsync.source (source) values ('popp'), ('quiet')");
    /* quiet: one event five weeks ago */
    sql_script(h,
               "insert into atsync.event (source, event_id, type, subject, event_time, received_at) values ('quiet', "
               "'evt', 't', '', now() - interval '35 days', now() - interval '35 days')");
    popp = row_of(ask_sources(k->store), "source", "popp");
    assert_true(number(popp, "silent_seconds") >= 3 * 3600 && number(popp, "silent_seconds") < 4 * 3600);
    for (size_t week = 1; week <= 4; week++) {
        const struct json *w = json_at(popp, arena_printf(h->arena, "weeks.%zu", week - 1));

        assert_int_equal(json_get_bool(w, "known"), week <= 3);
        if (week <= 3) {
            assert_true(number(w, "events") >= 59 && number(w, "events") <= 61);
        } else {
            assert_int_equal(number(w, "events"), 0);
        }
    }
    assert_int_equal(number(popp, "clock_events"), 20);
    assert_true(json_get_i64(popp, "clock_least_ms", &(int64_t){0}));
    {
        int64_t least_ms = 0;

        (void)json_get_i64(popp, "clock_least_ms", &least_ms);
        assert_int_equal(least_ms, -8000);
    }
    assert_true(json_get_bool(row_of(asked, "source", "quiet"), "is_known"));
    assert_int_equal(number(row_of(asked, "source", "quiet"), "silent_seconds"), -1);
    assert_false(json_get_bool(row_of(asked, "source", "never"), "is_known"));
    assert_int_equal(number(row_of(asked, "source", "never"), "silent_seconds"), -1);
    assert_int_equal(number(row_of(asked, "source", "never"), "clock_events"), 0);
    forget();
    kit_close(k);
}

E2E_TEST(daemons_and_tokens)
{
    struct kit *k = kit_open(h, NULL);
    const struct json *row = json_first(ask(k->store, DOCTOR_DAEMONS));

    assert_int_equal(json_count(json_get(row, "daemons")), 0);
    assert_false(json_get_bool(row, "anybody_due"));
    sql_script(h, "insert into atsync.daemon (owner, delivers, version, seen_at) values ('one', true, '1.0', now()), "
                  "('gone', true, '1.0', now() - interval '2 minutes')");
    sql_script(
        h, "insert into atsync.candidate (source, connector, ref, last_event_at, due_at) values ('popp', 'ats', 'x:1', "
           "now(), now() - interval '100 seconds')");
    row = json_first(ask(k->store, DOCTOR_DAEMONS));
    assert_int_equal(json_count(json_get(row, "daemons")), 1);
    assert_string_equal(json_get_str(json_first(json_get(row, "daemons")), "owner"), "one");
    assert_true(json_get_bool(row, "anybody_due"));
    assert_true(number(row, "oldest_due_seconds") >= 100);

    assert_int_equal(json_count(ask(k->store, DOCTOR_TOKENS)), 0);
    sql_script(h,
               "insert into atsync.connector_token (connector, version, seed, sealed, renewed_at) values ('a', 1, 'd', "
               "'v1:', now() - interval '20 days'), ('b', 1, '', 'v1:', now())");
    row = row_of(ask(k->store, DOCTOR_TOKENS), "connector", "a");
    assert_true(json_get_bool(row, "is_kept"));
    assert_true(json_get_bool(row, "has_first_token"));
    assert_int_equal(number(row, "renewed_seconds") / 86400, 20);
    assert_false(json_get_bool(row_of(asked, "connector", "b"), "has_first_token"));
    forget();
    kit_close(k);
}

E2E_TEST(the_schema_is_told)
{
    struct kit *k = kit_open(h, NULL);
    enum pooling pooling = POOLING_STATEMENT;
    struct store *other = kit_store(k, "other");
    char *text = NULL;
    struct errmsg err;

    assert_done(store_doctor_schema(k->store, &text, &err), &err);
    assert_string_equal(text, store_doctor_expected_schema());
    mem_free(text);
    assert_done(store_doctor_pooling(k->store, other, &pooling, &err), &err);
    assert_int_equal(pooling, POOLING_NONE);
    store_free(other);
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(the_server_is_described),
        E2E_RUN(who_holds_the_horizon_is_named),
        E2E_RUN(prepared_transactions_are_seen),
        E2E_RUN(sizes_are_estimated),
        E2E_RUN(an_index_that_cannot_be_used_is_seen),
        E2E_RUN(weeks_of_senders_are_compared),
        E2E_RUN(daemons_and_tokens),
        E2E_RUN(the_schema_is_told),
    };

    return e2e_main(tests);
}
