/* What an operator does: look, work out again, try again, give up, hold and resume. */
#include "base/text.h"
#include "lib/storekit.h"
#include "store/operate.h"

static const struct filter everything = {.since_us = INT64_MIN};

/* Candidates a, b, c: a and b with a dead stage at "ats", c with a dead one at "spare"; d is well. */
static const char mapping[] = "  w-ats: {connector: ats, job: j, on: {started: {stage: S, tags: [t]}}}\n"
                              "  w-spare: {connector: spare, job: j, on: {started: {stage: S}}}\n"
                              "  w-well: {connector: ats, job: j, on: {started: {tags: [t]}}}\n";

static void refuse_stage(const struct ledger_item *item, struct record_result *res)
{
    if (item->wish->kind == WRITE_STAGE) {
        res->verdict =
            (struct verdict){.state = WRITE_DEAD,
                             .error_class = strcmp(item->wish->run->external_id, "b") == 0 ? "not_found" : "invalid"};
        res->http_status = 422;
        res->error = "refused";
    }
}

static struct kit *open_case(struct harness *h)
{
    static const char *const cases[][2] = {{"a", "w-ats"}, {"b", "w-ats"}, {"c", "w-spare"}, {"d", "w-well"}};
    struct kit *k = kit_open(h, mapping);

    k->answer = refuse_stage;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        assert_true(kit_put(k, popp_event(h, "run-started", "candidate", cases[i][0], "run",
                                          arena_printf(h->arena, "run_%s", cases[i][0]), "data.workflowExternalId",
                                          cases[i][1], NULL)));
    }
    (void)kit_work(k);
    sql_script(h, "update atsync.ats_write set last_tried_at = '2026-06-01Z'; update atsync.ats_write set "
                  "last_tried_at = '2026-07-01Z' where ref = 'x:b';"
                  "update atsync.candidate set last_event_at = '2026-07-01Z' where ref = 'x:b'");
    return k;
}

static const struct {
    struct filter filter;
    int64_t dead;
    const char *candidates;
} filters[] = {
    {{.since_us = INT64_MIN}, 3, "a b c"},
    {{.candidate = "a", .since_us = INT64_MIN}, 1, "a"},
    {{.candidate = "nobody", .since_us = INT64_MIN}, 0, NULL},
    {{.connector = "spare", .since_us = INT64_MIN}, 1, "c"},
    {{.workflow = "w-ats", .since_us = INT64_MIN}, 2, "a b"},
    {{.error_class = "not_found", .since_us = INT64_MIN}, 1, "b"},
    {{.since_us = INT64_C(1781481600000000)}, 1, "b"}, /* 2026-06-15 */
    {{.connector = "ats", .workflow = "w-ats", .error_class = "invalid", .since_us = INT64_C(1764547200000000)},
     1,
     "a"},
    {{.candidate = "a", .connector = "spare", .since_us = INT64_MIN}, 0, NULL},
};

E2E_TEST(dead_writes_are_counted_tried_again_and_given_up_by_filter)
{
    struct kit *k = open_case(h);
    struct errmsg err;

    for (size_t i = 0; i < ATS_COUNT(filters); i++) {
        int64_t counted = -1;
        int64_t touched = -1;

        print_message("case %zu\n", i);
        assert_done(store_count_dead(k->store, &filters[i].filter, &counted, &err), &err);
        assert_int_equal(counted, filters[i].dead);
        sql_script(h, "create table kept as select * from atsync.ats_write; create table kept_candidate as select * "
                      "from atsync.candidate");
        assert_done(store_retry_dead(k->store, &filters[i].filter, &touched, &err), &err);
        assert_int_equal(touched, filters[i].dead);
        assert_sql(h,
                   "select string_agg(substr(ref, 3), ' ' order by ref) from atsync.ats_write where state = 'pending' "
                   "and attempts = 0 and first_tried_at is null",
                   filters[i].candidates);
        assert_sql(h,
                   "select string_agg(substr(ref, 3), ' ' order by ref) from atsync.candidate where due_at <= now() "
                   "and attempts = 0 and version = 2",
                   filters[i].candidates);
        sql_script(h, "truncate atsync.ats_write, atsync.candidate; insert into atsync.ats_write select * from kept;"
                      "insert into atsync.candidate select * from kept_candidate");
        assert_done(store_skip_dead(k->store, &filters[i].filter, &touched, &err), &err);
        assert_int_equal(touched, filters[i].dead);
        assert_sql(h,
                   "select string_agg(substr(ref, 3), ' ' order by ref) from atsync.ats_write where state = 'skipped' "
                   "and error = 'given up by an operator: refused'",
                   filters[i].candidates);
        sql_script(h, "truncate atsync.ats_write, atsync.candidate; insert into atsync.ats_write select * from kept;"
                      "insert into atsync.candidate select * from kept_candidate; drop table kept, kept_candidate");
    }
    kit_close(k);
}

E2E_TEST(tried_again_it_succeeds_and_given_up_it_stays)
{
    struct kit *k = open_case(h);
    int64_t n = -1;
    struct errmsg err;

    assert_done(store_skip_dead(k->store, &(struct filter){.candidate = "a", .since_us = INT64_MIN}, &n, &err), &err);
    assert_done(store_retry_dead(k->store, &everything, &n, &err), &err);
    assert_int_equal(n, 2);
    k->answer = NULL;
    (void)kit_work(k);
    assert_sql(
        h, "select string_agg(concat_ws('|', ref, state), ' ' order by ref) from atsync.ats_write where kind = 'stage'",
        "x:a|skipped x:b|applied x:c|applied");
    assert_done(store_resync(k->store, &everything, &err), &err);
    (void)kit_work(k);
    assert_sql(
        h, "select string_agg(concat_ws('|', ref, state), ' ' order by ref) from atsync.ats_write where kind = 'stage'",
        "x:a|skipped x:b|applied x:c|applied");
    assert_sql(h, "select count(*) from atsync.ats_call where ref = 'x:d'",
               "1"); /* what the ATS holds is not written again */
    kit_close(k);
}

E2E_TEST(worked_out_again_by_filter)
{
    static const struct {
        struct filter filter;
        const char *due;
    } cases[] = {
        {{.since_us = INT64_MIN}, "a b c d"},
        {{.candidate = "d", .since_us = INT64_MIN}, "d"},
        {{.connector = "spare", .since_us = INT64_MIN}, "c"},
        {{.workflow = "w-ats", .since_us = INT64_MIN}, "a b"},
        {{.since_us = INT64_C(1781481600000000)}, "b"},
        {{.error_class = "invalid", .since_us = INT64_MIN}, "a c"},
    };
    struct kit *k = open_case(h);
    struct errmsg err;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        int64_t count = -1;

        print_message("case %zu\n", i);
        sql_script(h, "update atsync.candidate set due_at = null, attempts = 5, version = 1");
        assert_done(store_count_resync(k->store, &cases[i].filter, &count, &err), &err);
        assert_done(store_resync(k->store, &cases[i].filter, &err), &err);
        assert_sql(h,
                   "select string_agg(substr(ref, 3), ' ' order by ref) from atsync.candidate where due_at <= now() "
                   "and attempts = 0 and version = 2",
                   cases[i].due);
        assert_int_equal(count, (strlen(cases[i].due) + 1) / 2);
    }
    sql_script(h, "update atsync.candidate set due_at = now() + interval '1 minute', lease_owner = 'him', version = 1");
    assert_done(store_resync(k->store, &everything, &err), &err);
    assert_sql(h, "select bool_and(due_at > now() and version = 2) from atsync.candidate",
               "true"); /* who is in work is looked at afterwards */
    kit_close(k);
}

E2E_TEST(peeking_goes_page_by_page)
{
    struct kit *k = kit_open(h, NULL);
    const char *source = NULL;
    const char *ref = NULL;
    const char *all = "";
    unsigned pages = 0;
    struct errmsg err;

    sql_script(h, "insert into atsync.candidate (source, connector, ref, external_id, last_event_at) "
                  "select s, c, 'x:' || i, i::text, now() from generate_series(1, 5) as i, unnest(array['a', 'b']) as "
                  "s, unnest(array['ats', 'spare']) as c;"
                  "insert into atsync.candidate (source, connector, ref, last_event_at) values ('a', '', 'p:1', "
                  "now()), ('b', '', 'r:1', now())");
    for (;;) {
        struct claim_batch page;

        assert_done(store_peek(k->store, &everything, source, ref, 3, &page, &err), &err);
        for (size_t i = 0; i < page.count; i++) {
            all = arena_printf(h->arena, "%s%s%s ", all, page.items[i].source, page.items[i].external_id);
            assert_null(page.items[i].connector);
            source = arena_strdup(h->arena, page.items[i].source);
            ref = arena_strdup(h->arena, page.items[i].ref);
        }
        pages += page.count > 0;
        if (page.count < 3) {
            claim_batch_clear(&page);
            break;
        }
        claim_batch_clear(&page);
    }
    assert_string_equal(all, "a1 a2 a3 a4 a5 b1 b2 b3 b4 b5 ");
    assert_int_equal(pages, 4);
    assert_sql(h, "select count(*) from atsync.candidate where lease_no > 0 or lease_owner is not null", "0");
    kit_close(k);
}

E2E_TEST(a_connector_is_held_and_resumed)
{
    struct kit *k = open_case(h);
    struct connector_status_row *rows = NULL;
    size_t count = 0;
    int64_t n = -1;
    struct errmsg err;

    assert_done(store_connector_resume(k->store, "ats", &n, &err), &err);
    assert_int_equal(n, 0);
    assert_done(store_connector_hold(k->store, "ats", "maintenance", &err), &err);
    assert_done(store_connector_ok(k->store, "ats", &err), &err); /* a daemon that is content does not end it */
    assert_done(store_connector_throttle(k->store, "ats", 1000, "slow down", &err), &err);
    assert_sql(h, "select concat_ws('|', state, reason) from atsync.connector_status where connector = 'ats'",
               "paused|maintenance");
    assert_done(store_connector_states(k->store, h->arena, &rows, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        bool held = strcmp(rows[i].connector, "ats") == 0;

        assert_string_equal(rows[i].state, held ? "paused" : "ok");
        assert_int_equal(rows[i].paused_by_operator, held);
    }
    assert_int_equal(count, 2);
    sql_script(h, "update atsync.candidate set due_at = now() + interval '1 hour' where ref in ('x:a', 'x:c');"
                  "update atsync.ats_write set state = 'pending', next_attempt_at = now() + interval '1 hour' where "
                  "ref = 'x:a' and kind = 'stage'");
    assert_done(store_connector_resume(k->store, "ats", &n, &err), &err);
    assert_int_equal(n, 1);
    assert_sql(h, "select string_agg(ref, ' ') from atsync.candidate where due_at <= now()", "x:a");
    assert_sql(h, "select next_attempt_at is null from atsync.ats_write where ref = 'x:a' and kind = 'stage'", "true");
    assert_sql(
        h, "select concat_ws('|', state, coalesce(reason, '-')) from atsync.connector_status where connector = 'ats'",
        "ok|-");

    /* A pause of the daemon's own ends when the daemon is content. */
    assert_done(store_connector_pause(k->store, "ats", "the token is wrong", "make a new one", "hash", &err), &err);
    assert_done(store_connector_ok(k->store, "ats", &err), &err);
    assert_sql(h, "select state from atsync.connector_status where connector = 'ats'", "ok");
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(dead_writes_are_counted_tried_again_and_given_up_by_filter),
        E2E_RUN(tried_again_it_succeeds_and_given_up_it_stays),
        E2E_RUN(worked_out_again_by_filter),
        E2E_RUN(peeking_goes_page_by_page),
        E2E_RUN(a_connector_is_held_and_resumed),
    };

    return e2e_main(tests);
}
