/* How much is read of candidates at once: all of it, or nothing; and never more than that leaves the server. */
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"
#include "sql.h"

enum { EACH = 1024 /* what an event counts beside its body */ };

/* Events of candidate "c<i>" for i from 1, each with a body of so many bytes. */
static void add_events(struct harness *h, int candidate, int events, int bytes)
{
    sql_script(h,
               arena_printf(h->arena,
                            "insert into atsync.event (source, event_id, type, subject, external_id, event_time, body) "
                            "select 'popp', 'c%d-' || i, 'CONVERSATION_STARTED', 'x:c%d', 'c%d', now(), "
                            "convert_to(rpad('{\"event\":\"CONVERSATION_STARTED\",\"data\":{\"recordId\":\"r\"}}', "
                            "%d), 'UTF8') from generate_series(1, %d) as i",
                            candidate, candidate, candidate, bytes, events));
}

static void add_candidates(struct harness *h, int count)
{
    sql_script(h, arena_printf(h->arena,
                               "insert into atsync.candidate (source, connector, ref, external_id, due_at, "
                               "last_event_at) select 'popp', 'ats', 'x:c' || i, 'c' || i, now() - i * interval '1 "
                               "minute', now() from generate_series(1, %d) as i",
                               count));
}

/* How many events were loaded of each, "2 0 7" in the order of their names; "none": it was too much. */
static const char *loaded_events(struct kit *k, struct claim_batch *b, int64_t max_bytes)
{
    struct loaded *all = NULL;
    const char *text = "";
    struct errmsg err;

    assert_done(store_load(k->store, b, max_bytes, &all, &err), &err);
    for (size_t c = 1; all && c <= b->count; c++) {
        for (size_t i = 0; i < b->count; i++) {
            if (strcmp(b->items[i].external_id + 1, num_text((int64_t)c).s) == 0) {
                text = arena_printf(k->h->arena, "%s%s%s", text, c > 1 ? " " : "",
                                    num_text((int64_t)all[i].event_count).s);
            }
        }
    }
    return all ? text : "none";
}

static struct claim_batch claim_all(struct kit *k)
{
    struct claim_batch b;
    struct errmsg err;

    assert_done(store_claim(k->store, "ats", false, "him", 60000, 64, NULL, &b, &err), &err);
    return b;
}

E2E_TEST(all_or_nothing)
{
    struct kit *k = kit_open(h, NULL);
    struct claim_batch b;
    struct claim_batch one;

    add_candidates(h, 3);
    add_events(h, 1, 2, 1000);
    add_events(h, 3, 3, 5000);
    b = claim_all(k);
    assert_int_equal(b.count, 3);
    assert_string_equal(loaded_events(k, &b, 2 * (1000 + EACH) + 3 * (5000 + EACH)), "2 0 3");
    assert_string_equal(loaded_events(k, &b, 2 * (1000 + EACH) + 3 * (5000 + EACH) - 1), "none");
    assert_string_equal(loaded_events(k, &b, 1), "none");

    /* names that are known to be theirs count too, and so does what is left of runs that have been forgotten */
    sql_script(h,
               "insert into atsync.identity (source, alias, ref, external_id, origin) values ('popp', 'p:1', 'x:c1', "
               "'c1', 'event'); update atsync.event set subject = 'p:1' where event_id = 'c1-2';"
               "update atsync.event set body = null, run_id = 'gone' where event_id = 'c3-1'");
    assert_string_equal(loaded_events(k, &b, 2 * (1000 + EACH) + EACH + 2 * (5000 + EACH)), "2 0 2");
    assert_string_equal(loaded_events(k, &b, 2 * (1000 + EACH) + EACH + 2 * (5000 + EACH) - 1), "none");

    /* each of them alone */
    one = b;
    one.count = 1;
    for (size_t i = 0; i < b.count; i++) {
        one.items = &b.items[i];
        assert_string_not_equal(loaded_events(k, &one, EACH + 2 * (5000 + EACH)), "none");
    }
    claim_batch_clear(&b);
    kit_close(k);
}

/* Two bytes of text can be eighty of memory. */
E2E_TEST(memory_counts_as_well)
{
    struct kit *k = kit_open(h, NULL);
    struct claim_batch b;

    add_candidates(h, 1);
    sql_script(h, "insert into atsync.event (source, event_id, type, subject, external_id, event_time, body) "
                  "select 'popp', 'packed', 'CONVERSATION_STARTED', 'x:c1', 'c1', now(), convert_to('{\"event\":\"E\","
                  "\"data\":{\"recordId\":\"r\",\"more\":[' || repeat('1,', 50000) || '1]}}', 'UTF8')");
    b = claim_all(k);
    assert_string_equal(loaded_events(k, &b, 200000), "none");
    assert_true(arena_bytes(b.arena) < 2 * STORE_LOAD_MEMORY(200000));
    assert_string_equal(loaded_events(k, &b, 2000000), "1");
    claim_batch_clear(&b);
    kit_close(k);
}

/* What is beyond is not sent, and not even looked for. */
E2E_TEST(the_server_keeps_the_rest)
{
    struct kit *k = kit_open(h, NULL);
    struct db *db = db_new(h->conninfo, "load");
    struct db_array *sources = db_array_new(DB_TEXT_ARRAY);
    struct db_array *refs = db_array_new(DB_TEXT_ARRAY);
    struct db_result *r = NULL;
    struct db_params p;
    struct errmsg err;
    size_t sum = 0;

    add_events(h, 1, 300, 100000);
    db_array_text(sources, "popp");
    db_array_text(refs, "x:c1");
    db_params_init(&p);
    db_add_array(&p, sources);
    db_add_array(&p, refs);
    db_add_i64(&p, 1000000);
    assert_done(db_exec(db, &sql_load_events, &p, DB_ROWS, &r, &err), &err);
    for (size_t i = 0; i < db_rows(r); i++) {
        size_t len = 0;

        sum += db_bytes(r, i, 3, &len) ? len : 0;
    }
    assert_int_equal(sum, 900000);
    assert_int_equal(db_rows(r), 10); /* the last one says that there is more */
    assert_true(db_i64(r, 9, 6) > 1000000);
    db_result_free(r);
    db_array_free(sources);
    db_array_free(refs);
    db_free(db);
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(all_or_nothing),
        E2E_RUN(memory_counts_as_well),
        E2E_RUN(the_server_keeps_the_rest),
    };

    return e2e_main(tests);
}
