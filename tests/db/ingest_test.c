/* store_ingest: what is stored, what was there before, and what becomes of the candidate's row in the queue. */
#include <pthread.h>

#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"

#define CANDIDATE(columns) "select concat_ws('|', " columns ") from atsync.candidate"

static struct ingest_event event_of(const char *id, const char *subject)
{
    return (struct ingest_event){.source = "popp",
                                 .event_id = id,
                                 .type = "WORKFLOW_RUN_STARTED",
                                 .subject = subject,
                                 .connector = "ats",
                                 .time_us = INT64_C(1777372500000000), /* 2026-04-28T10:35:00Z */
                                 .body = "{}",
                                 .body_len = 2};
}

static void ingest(struct kit *k, struct ingest_event *events, size_t count)
{
    struct errmsg err;

    assert_done(store_ingest(k->store, events, count, &err), &err);
}

E2E_TEST(stored_once)
{
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e = event_of("e1", "x:1");
    struct ingest_event other = event_of("e1", "x:1");

    e.external_id = "1";
    e.profile_id = "p1";
    e.run_id = "r1";
    e.workflow_id = "w1";
    e.workflow_external_id = "cedar";
    ingest(k, &e, 1);
    assert_true(e.stored);
    ingest(k, &e, 1);
    assert_false(e.stored);
    other.source = "another";
    ingest(k, &other, 1);
    assert_true(other.stored); /* ids belong to their source */
    assert_sql(h, "select count(*) from atsync.event", "2");
    assert_sql(h,
               "select concat_ws('|', source, event_id, type, subject, external_id, profile_id, run_id, workflow_id, "
               "workflow_external_id, "
               "event_time at time zone 'UTC', convert_from(body, 'UTF8'), received_at between now() - interval '1 "
               "minute' and now()) "
               "from atsync.event where source = 'popp'",
               "popp|e1|WORKFLOW_RUN_STARTED|x:1|1|p1|r1|w1|cedar|2026-04-28 10:35:00|{}|t");
    assert_sql(h,
               CANDIDATE("connector, ref, external_id, workflow_external_id, state, version, synced_version, attempts, "
                         "due_at <= now()") " where source = 'popp'",
               "ats|x:1|1|cedar|pending|1|0|0|t");
    kit_close(k);
}

E2E_TEST(the_same_id_twice_in_one_batch)
{
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e[] = {event_of("b", "x:1"), event_of("a", "x:1"), event_of("b", "x:2"), event_of("b", "x:1"),
                               event_of("a", "x:1")};

    e[0].body = "first";
    e[0].body_len = 5;
    ingest(k, e, ATS_COUNT(e));
    assert_true(e[0].stored);
    assert_true(e[1].stored);
    assert_false(e[2].stored);
    assert_false(e[3].stored);
    assert_false(e[4].stored);
    assert_sql(h, "select convert_from(body, 'UTF8') from atsync.event where event_id = 'b'", "first");
    assert_sql(h, "select string_agg(concat_ws('|', ref, version), ' ') from atsync.candidate", "x:1|1");
    ingest(k, e, ATS_COUNT(e)); /* the sender repeats all of it */
    for (size_t i = 0; i < ATS_COUNT(e); i++) {
        assert_false(e[i].stored);
    }
    assert_sql(h, CANDIDATE("version"), "1");
    kit_close(k);
}

/* Only who has something new becomes due, also where the sender repeats some of a batch. */
E2E_TEST(of_a_batch_that_is_new_in_part_only_what_is_new_wakes)
{
    struct kit *k = kit_open(h, NULL);
    struct ingest_event old[] = {event_of("a", "x:1"), event_of("b", "x:2")};
    struct ingest_event e[] = {event_of("a", "x:1"), event_of("b", "x:2"), event_of("c", "x:2"), event_of("d", "x:3")};

    ingest(k, old, ATS_COUNT(old));
    sql_script(h, "update atsync.candidate set due_at = null, synced_version = version");
    e[0].external_id = "told again, which nobody needs";
    e[2].external_id = "2";
    ingest(k, e, ATS_COUNT(e));
    assert_false(e[0].stored || e[1].stored);
    assert_true(e[2].stored && e[3].stored);
    assert_sql(h,
               "select string_agg(concat_ws('|', ref, version - synced_version, due_at <= now(), external_id), ' ' "
               "order by ref) "
               "from atsync.candidate",
               "x:1|0 x:2|1|t|2 x:3|1|t");
    kit_close(k);
}

/* What a batch tells of one candidate is one row of the queue: the last time, and the names that any of its events told. */
E2E_TEST(a_batch_tells_of_a_candidate_once)
{
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e[] = {event_of("c", "x:1"), event_of("b", "x:1"), event_of("a", "x:1"), event_of("d", "x:1")};

    e[0].workflow_external_id = "cedar";
    e[1].external_id = "1";
    e[1].time_us += INT64_C(3600000000);
    e[2].workflow_external_id = "birch";
    e[3].connector = "spare";
    ingest(k, e, ATS_COUNT(e));
    assert_sql(h,
               "select string_agg(concat_ws('|', connector, version, external_id, workflow_external_id, last_event_at "
               "at time zone 'UTC'), ' ' "
               "order by connector) from atsync.candidate",
               "ats|1|1|cedar|2026-04-28 11:35:00 spare|1|2026-04-28 10:35:00");
    e[0] = event_of("e", "x:1"); /* without a time: now */
    e[0].time_us = EVENT_TIME_NONE;
    e[1] = event_of("f", "x:1");
    ingest(k, e, 2);
    assert_sql(h, "select last_event_at > now() - interval '1 minute' from atsync.candidate where connector = 'ats'",
               "true");
    kit_close(k);
}

E2E_TEST(ids_that_sort_oddly_are_told_apart)
{
    static const char *const ids[] = {"",   "A",    "a", "\xc3\xa4", "Z", "a b", "a'b", "\xf0\x9f\x98\x80",
                                      "ab", "a\\b", "0", "~"};
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e[2 * ATS_COUNT(ids)];

    for (size_t i = 0; i < ATS_COUNT(ids); i++) {
        e[i] = event_of(ids[i], "");
        e[i].connector = NULL;
        e[i + ATS_COUNT(ids)] = event_of(ids[i], "");
        e[i + ATS_COUNT(ids)].source = "b";
    }
    ingest(k, e, ATS_COUNT(ids));
    ingest(k, e, ATS_COUNT(e));
    for (size_t i = 0; i < ATS_COUNT(e); i++) {
        assert_int_equal(e[i].stored, i >= ATS_COUNT(ids));
    }
    kit_close(k);
}

E2E_TEST(what_needs_no_work_is_only_kept)
{
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e = event_of("e1", "");

    e.connector = NULL;
    e.time_us = EVENT_TIME_NONE;
    ingest(k, &e, 1);
    assert_true(e.stored);
    assert_sql(h, "select count(*) from atsync.candidate", "0");
    assert_sql(h, "select event_time between now() - interval '1 minute' and now() from atsync.event", "true");
    ingest(k, &e, 0);
    kit_close(k);
}

/* ---- the row in the queue */

E2E_TEST(a_candidate_collects_its_events)
{
    static const struct {
        const char *before; /* how the candidate stands */
        const char *after;  /* due, version, lease owner */
    } cases[] = {
        {"due_at = null, version = 5, synced_version = 5", "due|6|-"},
        {"due_at = now() + interval '1 hour', version = 5", "due|6|-"},
        {"due_at = now() - interval '1 hour', version = 5", "long due|6|-"},
        /* in work: looked at again when it is released */
        {"due_at = now() - interval '1 hour', lease_owner = 'him', lease_until = now() + interval '1 hour', lease_no = "
         "1, version = 5",
         "long due|6|him"},
        /* waits for its next attempt, which will find this event too */
        {"due_at = now() + interval '1 hour', attempts = 2, version = 5", "later|6|-"},
        {"due_at = now() - interval '1 hour', attempts = 2, version = 5", "long due|6|-"},
        /* failed, and nothing is left to be tried */
        {"due_at = null, attempts = 2, version = 5", "due|6|-"},
    };
    struct kit *k = kit_open(h, NULL);

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *id = arena_printf(h->arena, "case%zu", i);
        struct ingest_event first = event_of(arena_printf(h->arena, "%s-a", id), id);
        struct ingest_event second = event_of(arena_printf(h->arena, "%s-b", id), id);

        print_message("case: %s\n", cases[i].before);
        ingest(k, &first, 1);
        sql_script(h, arena_printf(h->arena, "update atsync.candidate set %s where ref = '%s'", cases[i].before, id));
        second.external_id = "learned";
        second.time_us = INT64_C(1777372400000000); /* earlier than what is known */
        ingest(k, &second, 1);
        assert_sql(h,
                   arena_printf(h->arena,
                                "select concat_ws('|', case when due_at > now() then 'later' when due_at < now() - "
                                "interval '30 minutes' then 'long due' "
                                "when due_at is not null then 'due' else 'idle' end, version, coalesce(lease_owner, "
                                "'-')) from atsync.candidate where ref = '%s'",
                                id),
                   cases[i].after);
        assert_sql(h,
                   arena_printf(h->arena,
                                "select concat_ws('|', external_id, last_event_at at time zone 'UTC') from "
                                "atsync.candidate where ref = '%s'",
                                id),
                   "learned|2026-04-28 10:35:00");
        ingest(k, &second, 1); /* a repetition changes nothing */
        assert_sql(h, arena_printf(h->arena, "select version from atsync.candidate where ref = '%s'", id), "6");
    }
    kit_close(k);
}

/* ---- bodies */

E2E_TEST(bodies_are_kept_byte_for_byte)
{
    static const char odd[] = "{\"event\":\"X\",\"data\":{\"recordId\":\"a\\u0000b\\ud800\",\"raw\":\"\xff\xfe\"}} ";
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e = event_of("odd", "x:1");
    struct ingest_event big = event_of("big", "x:1");
    struct ingest_event empty = event_of("empty", "x:1");
    size_t len = 1024 * 1024;
    char *body = mem_alloc(len);
    uint32_t n = 1;

    for (size_t i = 0; i < len; i++) { /* what lz4 cannot make smaller, with every byte in it */
        n = n * 1664525U + 1013904223U;
        body[i] = (char)(unsigned char)(n >> 24);
    }
    e.body = odd;
    e.body_len = sizeof odd; /* with the NUL at its end */
    big.body = body;
    big.body_len = len;
    empty.body = "";
    empty.body_len = 0;
    ingest(k, (struct ingest_event[]){e, big, empty}, 3);
    assert_sql(h, "select encode(body, 'escape') || '.' || octet_length(body) from atsync.event where event_id = 'odd'",
               "{\"event\":\"X\",\"data\":{\"recordId\":\"a\\\\u0000b\\\\ud800\",\"raw\":\"\\377\\376\"}} \\000.63");
    assert_sql(h, "select octet_length(body) from atsync.event where event_id = 'empty'", "0");

    struct db *db = db_new(h->conninfo, "bodies");
    struct sql_stmt stmt = {
        .name = "body", .text = "select body from atsync.event where event_id = 'big'", .planned_anew = true};
    struct db_result *r = NULL;
    struct errmsg err;
    size_t got = 0;

    assert_done(db_exec(db, &stmt, NULL, DB_ROW, &r, &err), &err);
    const void *bytes = db_bytes(r, 0, 0, &got);

    assert_int_equal(got, len);
    assert_memory_equal(bytes, body, len);
    db_result_free(r);
    db_free(db);
    mem_free(body);
    kit_close(k);
}

/* ---- all or nothing */

E2E_TEST(a_batch_is_one_transaction)
{
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e[] = {event_of("a", "x:1"), event_of("b", "x:2")};
    struct errmsg err;

    e[1].subject = "x:\xff"; /* not for PostgreSQL's text */
    assert_int_equal(store_ingest(k->store, e, 2, &err), ST_INVALID);
    assert_false(e[0].stored);
    assert_sql(h, "select count(*) from atsync.event", "0");
    e[1].subject = "x:2";
    ingest(k, e, 2);
    assert_true(e[0].stored && e[1].stored);
    kit_close(k);
}

/* An immutable function is called when a statement is planned, and not when that plan is used. */
E2E_TEST(a_batch_of_one_is_not_planned_each_time)
{
    struct kit *k = kit_open(h, NULL);
    struct store *s = kit_store(k, "receiver");
    struct errmsg err;

    sql_script(h,
               "insert into atsync.event (source, event_id, type, subject, event_time) "
               "select 'popp', 'old' || i, 'T', 'x:old' || i, now() from generate_series(1, 20000) i; "
               "insert into atsync.candidate (source, connector, ref, last_event_at) "
               "select 'popp', 'ats', 'x:old' || i, now() from generate_series(1, 20000) i; "
               "analyze atsync.event, atsync.candidate; "
               "create sequence plans; create function planned() returns timestamptz immutable language plpgsql as $$ "
               "begin perform nextval('public.plans'); return '2026-04-28'; end $$; "
               "alter table atsync.event alter received_at set default planned()");
    store_disconnect(s);
    store_expect_few_rows(s, false);
    assert_done(store_connect(s, &err), &err);
    for (int i = 0; i < 40; i++) {
        char id[16];

        snprintf(id, sizeof id, "e%d", i);
        struct ingest_event e = event_of(id, "x:1");
        assert_done(store_ingest(s, &e, 1, &err), &err);
        assert_true(e.stored);
    }
    assert_sql(h, "select last_value < 10 from plans", "true"); /* and anew from time to time */
    store_free(s);
    kit_close(k);
}

/* ---- two receivers */

enum { ROUNDS = 60, BATCH = 40 };

struct receiver {
    struct store *store;
    bool backwards;
    int status;
    struct errmsg err;
    int64_t stored;
    pthread_barrier_t *start;
};

static void *receive(void *arg)
{
    struct receiver *me = arg;
    char ids[BATCH][32];
    char subjects[BATCH][32];
    struct ingest_event e[BATCH];

    for (int round = 0; round < ROUNDS && me->status == ST_OK; round++) {
        for (int i = 0; i < BATCH; i++) {
            int at = me->backwards ? BATCH - 1 - i : i;

            snprintf(ids[at], sizeof ids[at], "e%d-%d", round, at);
            snprintf(subjects[at], sizeof subjects[at], "x:%d", at / 2);
            e[i] = event_of(ids[at], subjects[at]);
        }
        (void)pthread_barrier_wait(me->start);
        me->status = store_ingest(me->store, e, BATCH, &me->err);
        for (int i = 0; i < BATCH; i++) {
            me->stored += e[i].stored;
        }
    }
    return NULL;
}

E2E_TEST(two_receivers_with_the_same_events_in_opposite_order)
{
    struct kit *k = kit_open(h, NULL);
    struct receiver r[2] = {{.store = kit_store(k, "one")}, {.store = kit_store(k, "two"), .backwards = true}};
    pthread_barrier_t start;
    pthread_t threads[2];

    assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
    for (int i = 0; i < 2; i++) {
        r[i].start = &start;
        assert_int_equal(pthread_create(&threads[i], NULL, receive, &r[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_done(r[i].status, &r[i].err);
        store_free(r[i].store);
    }
    assert_int_equal(r[0].stored + r[1].stored, ROUNDS * BATCH);
    assert_sql(h, "select count(*) from atsync.event", num_text(ROUNDS * BATCH).s);
    assert_sql(h, "select concat_ws('|', count(*), min(version) >= 60, max(version) <= 120) from atsync.candidate",
               "20|t|t");
    assert_sql(h, "select deadlocks from pg_stat_database where datname = current_database()", "0");
    (void)pthread_barrier_destroy(&start);
    kit_close(k);
}

static void tell(struct db *db, const char *text)
{
    const struct sql_stmt stmt = {.name = "said", .text = text, .planned_anew = true};
    struct db_result *r = NULL;
    struct errmsg err;

    assert_done(db_exec(db, &stmt, NULL, DB_ROWS, &r, &err), &err);
    db_result_free(r);
}

static void *receive_two(void *arg)
{
    struct receiver *me = arg;
    struct ingest_event e[] = {event_of("new1", "x:1"), event_of("new2", "x:2")};

    me->status = store_ingest(me->store, e, ATS_COUNT(e), &me->err);
    me->stored = e[0].stored + e[1].stored;
    return NULL;
}

/* Somebody who locks the queue in another order than everybody does: PostgreSQL ends our transaction, because the other one does not look. */
E2E_TEST(a_deadlock_is_tried_again)
{
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e[] = {event_of("old1", "x:1"), event_of("old2", "x:2")};
    struct receiver r = {.store = kit_store(k, "receiver")};
    struct db *other = db_new(h->conninfo, "other");
    pthread_t thread;
    struct errmsg err;

    ingest(k, e, ATS_COUNT(e));
    assert_done(db_begin(other, &err), &err);
    tell(other, "select set_config('deadlock_timeout', '1h', true)");
    tell(other, "select from atsync.candidate where ref = 'x:2' for update");
    assert_int_equal(pthread_create(&thread, NULL, receive_two, &r), 0);
    wait_sql(
        h,
        "select count(*) from pg_stat_activity where application_name like '% receiver' and wait_event_type = 'Lock'",
        "1");
    tell(other, "select from atsync.candidate where ref = 'x:1' for update");
    assert_done(db_commit(other, &err), &err);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_done(r.status, &r.err);
    assert_int_equal(r.stored, 2);
    assert_sql(h, "select string_agg(concat_ws('|', ref, version), ' ' order by ref) from atsync.candidate",
               "x:1|2 x:2|2");
    /* or more than one: the next try may be quicker than the other one, who is waking */
    wait_sql(h, "select deadlocks >= 1 from pg_stat_database where datname = current_database()", "true");
    db_free(other);
    store_free(r.store);
    kit_close(k);
}

/* An administrator's open transaction on one candidate keeps its events out, and no others. */
static void hold_some(struct harness *h, struct kit *k)
{
    struct ingest_event first[] = {event_of("a1", "x:1"), event_of("b1", "x:2"), event_of("c1", "x:3")};
    struct ingest_event e[] = {event_of("a2", "x:1"), event_of("b2", "x:2"), event_of("c2", "x:3"),
                               event_of("d2", "x:4"), event_of("a2", "x:5"), event_of("a2", "x:5")};
    struct db *other = db_new(h->conninfo, "a report");
    struct errmsg err;

    ingest(k, first, ATS_COUNT(first));
    assert_done(db_script(other, "begin", "begin", &err), &err); /* without an end of its own */
    tell(other, "update atsync.candidate set attempts = attempts where ref in ('x:1', 'x:3') returning 1");
    ingest(k, e, 4);
    assert_true(e[0].held && !e[1].held && e[2].held && !e[3].held);
    assert_true(!e[0].stored && e[1].stored && !e[2].stored && e[3].stored);
    assert_string_equal(store_held_by(k->store),
                        sql_text(h, "select concat_ws(', ', 'process ' || pid, application_name, 'role ' || usename) "
                                    "from pg_stat_activity where application_name = 'a report'"));
    assert_sql(h, "select string_agg(concat_ws('|', ref, version), ' ' order by ref) from atsync.candidate",
               "x:1|1 x:2|2 x:3|1 x:4|1");

    /* nobody waits for them a second time; the same id of somebody else, who is free, is no repetition of what was not stored */
    ingest(k, e, ATS_COUNT(e));
    assert_true(e[0].held && e[2].held);
    assert_true(!e[4].held && e[4].stored && !e[5].held && !e[5].stored);
    ingest(k, &e[0], 1); /* nothing is left of it */
    assert_true(e[0].held && !e[0].stored);

    assert_done(db_commit(other, &err), &err);
    ingest(k, &e[2], 1);
    assert_true(!e[2].held && e[2].stored);
    assert_sql(h, "select string_agg(event_id, ' ' order by event_id) from atsync.event where event_id like '%2'",
               "a2 b2 c2 d2");
    db_free(other);
}

E2E_TEST(who_is_held_by_somebody_is_left_out)
{
    struct kit *k = kit_open(h, NULL);

    hold_some(h, k);
    kit_close(k);
}

/* There a batch is a transaction of several statements. */
E2E_TEST(who_is_held_is_left_out_where_somebody_was_erased)
{
    struct kit *k = kit_open(h, NULL);

    sql_script(h, "do $$ begin execute format('alter database %I set standard_conforming_strings = off', "
                  "current_database()); end $$");
    store_disconnect(k->store);
    sql_script(h, "insert into atsync.tombstone_key (inner_key, outer_key) values (sha512('i'), sha512('o'));"
                  "insert into atsync.tombstone (source, hash) values ('popp', '\\x00')");
    hold_some(h, k);
    kit_close(k);
}

/* The id itself is what another transaction is about to store: the others can be stored without it. */
E2E_TEST(an_id_that_somebody_is_storing)
{
    struct kit *k = kit_open(h, NULL);
    struct ingest_event e[] = {event_of("a", "x:1"), event_of("b", "x:2")};
    struct db *other = db_new(h->conninfo, "a report");
    struct errmsg err;

    assert_done(db_script(other, "begin", "begin", &err), &err); /* without an end of its own */
    tell(other,
         "insert into atsync.event (source, event_id, type, subject, event_time, body) values ('popp', 'a', 't', "
         "'x:9', now(), '') returning 1");
    assert_int_equal(store_ingest(k->store, e, 2, &err), ST_CONFLICT);
    assert_int_equal(store_ingest(k->store, &e[0], 1, &err), ST_CONFLICT);
    ingest(k, &e[1], 1);
    assert_true(e[1].stored);
    assert_done(db_commit(other, &err), &err);
    ingest(k, &e[0], 1);
    assert_false(e[0].stored);
    db_free(other);
    kit_close(k);
}

E2E_TEST(a_notification_wakes_others)
{
    struct kit *k = kit_open(h, NULL);
    struct db *db = db_new(h->conninfo, "dispatcher");
    struct errmsg err;
    int64_t got = 0;

    assert_done(db_listen(db, "atsync_wake", &err), &err);
    assert_done(store_notify(k->store, &err), &err);
    got = db_notifications(db, &err); /* committed before the call returned, but it may be on its way still */
    while (got == 0) {
        assert_sql(h, "select 1", "1");
        got = db_notifications(db, &err);
    }
    assert_int_equal(got, 1);
    db_free(db);
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(stored_once),
        E2E_RUN(the_same_id_twice_in_one_batch),
        E2E_RUN(of_a_batch_that_is_new_in_part_only_what_is_new_wakes),
        E2E_RUN(a_batch_tells_of_a_candidate_once),
        E2E_RUN(ids_that_sort_oddly_are_told_apart),
        E2E_RUN(what_needs_no_work_is_only_kept),
        E2E_RUN(a_candidate_collects_its_events),
        E2E_RUN(bodies_are_kept_byte_for_byte),
        E2E_RUN(a_batch_is_one_transaction),
        E2E_RUN(a_batch_of_one_is_not_planned_each_time),
        E2E_RUN(two_receivers_with_the_same_events_in_opposite_order),
        E2E_RUN(a_deadlock_is_tried_again),
        E2E_RUN(who_is_held_by_somebody_is_left_out),
        E2E_RUN(who_is_held_is_left_out_where_somebody_was_erased),
        E2E_RUN(an_id_that_somebody_is_storing),
        E2E_RUN(a_notification_wakes_others),
    };

    return e2e_main(tests);
}
