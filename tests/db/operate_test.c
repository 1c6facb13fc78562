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

typedef int page_of(struct store *s, const struct filter *f, struct pages *p, struct errmsg *err);

/* To the end; returns how many. */
static int64_t all_pages(struct kit *k, page_of *page, const struct filter *f)
{
    struct pages pages = {.done = 0};
    struct errmsg err;
    int64_t done;

    while (!pages.over) {
        assert_done(page(k->store, f, &pages, &err), &err);
    }
    done = pages.done;
    pages_clear(&pages);
    return done;
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
    sql_script(
        h, "update atsync.ats_write set last_tried_at = '2026-06-01Z'; update atsync.ats_write set "
           "last_tried_at = '2026-07-01Z' where ref = 'x:b';"
           "update atsync.event set received_at = '2026-06-01Z'; update atsync.event set received_at = '2026-07-01Z' "
           "where subject = 'x:b'");
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
        struct fits fits = {.count = 0};

        print_message("case %zu\n", i);
        assert_done(store_count_dead(k->store, &filters[i].filter, h->arena, &fits, &err), &err);
        assert_int_equal(fits.total.writes, filters[i].dead);
        assert_int_equal(fits.total.candidates, filters[i].dead);
        sql_script(h, "create table kept as select * from atsync.ats_write; create table kept_candidate as select * "
                      "from atsync.candidate");
        assert_int_equal(all_pages(k, store_retry_dead, &filters[i].filter), filters[i].dead);
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
        assert_int_equal(all_pages(k, store_skip_dead, &filters[i].filter), filters[i].dead);
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

    assert_int_equal(all_pages(k, store_skip_dead, &(struct filter){.candidate = "a", .since_us = INT64_MIN}), 1);
    assert_int_equal(all_pages(k, store_retry_dead, &everything), 2);
    k->answer = NULL;
    (void)kit_work(k);
    assert_sql(
        h, "select string_agg(concat_ws('|', ref, state), ' ' order by ref) from atsync.ats_write where kind = 'stage'",
        "x:a|skipped x:b|applied x:c|applied");
    assert_int_equal(all_pages(k, store_resync, &everything), 4);
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
        struct fits fits = {.count = 0};

        print_message("case %zu\n", i);
        sql_script(h, "update atsync.candidate set due_at = null, attempts = 5, version = 1");
        assert_done(store_count_resync(k->store, &cases[i].filter, h->arena, &fits, &err), &err);
        assert_int_equal(all_pages(k, store_resync, &cases[i].filter), fits.total.candidates);
        assert_sql(h,
                   "select string_agg(substr(ref, 3), ' ' order by ref) from atsync.candidate where due_at <= now() "
                   "and attempts = 0 and version = 2",
                   cases[i].due);
        assert_int_equal(fits.total.candidates, (strlen(cases[i].due) + 1) / 2);
    }
    /* what came under another name of the candidate counts; when it happened does not */
    sql_script(h, "update atsync.candidate set due_at = null, last_event_at = '2026-06-30Z';"
                  "update atsync.event set subject = 'r:told' where subject = 'x:b';"
                  "insert into atsync.identity (source, alias, ref, external_id, origin) values ('popp', 'r:told', "
                  "'x:d', 'd', 'event')");
    assert_int_equal(all_pages(k, store_resync, &cases[4].filter), 1);
    assert_sql(h, "select string_agg(ref, ' ') from atsync.candidate where due_at is not null", "x:d");
    sql_script(h, "update atsync.candidate set due_at = now() + interval '1 minute', lease_owner = 'him', version = 1");
    (void)all_pages(k, store_resync, &everything);
    assert_sql(h, "select bool_and(due_at > now() and version = 2) from atsync.candidate",
               "true"); /* who is in work is looked at afterwards */
    kit_close(k);
}

E2E_TEST(what_a_filter_fits_is_told_apart)
{
    struct kit *k = open_case(h);
    struct fits fits = {.count = 0};
    struct errmsg err;

    assert_done(store_count_dead(k->store, &everything, h->arena, &fits, &err), &err);
    assert_int_equal(fits.count, 3);
    assert_string_equal(fits.items[0].connector, "ats");
    assert_string_equal(fits.items[0].error_class, "invalid");
    assert_string_equal(fits.items[1].error_class, "not_found");
    assert_string_equal(fits.items[2].connector, "spare");
    assert_int_equal(fits.items[2].writes, 1);
    assert_null(fits.total.connector);
    assert_done(store_count_resync(k->store, &everything, h->arena, &fits, &err), &err);
    assert_int_equal(fits.count, 2);
    assert_string_equal(fits.items[0].connector, "ats");
    assert_int_equal(fits.items[0].candidates, 3);
    assert_int_equal(fits.total.candidates, 4);
    kit_close(k);
}

/* More than fit on one page: each once, also those that fit again as soon as they were touched. */
E2E_TEST(many_are_worked_through_page_by_page)
{
    struct kit *k = open_case(h);

    sql_script(h, "insert into atsync.candidate (source, connector, ref, external_id, last_event_at) select 'popp', "
                  "'ats', 'x:' || n, n::text, now() from generate_series(1, 1203) n;"
                  "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, "
                  "state, lease_no) select 'popp', 'ats', 'x:' || n, 'tag/' || t, 1, 'tag', 't', 't', 'h', 'r', "
                  "'dead', 1 from generate_series(1, 1203) n, generate_series(1, 2) t");
    assert_int_equal(all_pages(k, store_resync, &everything), 1207);
    assert_sql(h, "select count(*) from atsync.candidate where version = 2", "1207");
    assert_int_equal(all_pages(k, store_retry_dead, &(struct filter){.connector = "ats", .since_us = INT64_MIN}), 2408);
    assert_sql(h,
               "select string_agg(concat_ws(' ', connector, count), ', ' order by connector) from (select connector, "
               "count(*) from atsync.ats_write where state = 'dead' group by connector) d",
               "spare 1");
    assert_sql(h, "select count(*) from atsync.candidate where version = 3", "1205");
    assert_int_equal(all_pages(k, store_skip_dead, &everything), 1);

    /* what dies again meanwhile is not met again */
    {
        struct pages pages = {.done = 0};
        struct errmsg err;
        const char *all;
        int64_t again;

        sql_script(h, "update atsync.ats_write set state = 'dead', last_tried_at = now() where connector = 'ats'");
        all = sql_text(h, "select count(*) from atsync.ats_write where state = 'dead'");
        assert_done(store_retry_dead(k->store, &everything, &pages, &err), &err);
        assert_false(pages.over);
        again = pages.done;
        assert_true(again >= 1000 && again < 2000);
        sql_script(h, "update atsync.ats_write set state = 'dead', last_tried_at = now() where state = 'pending'");
        while (!pages.over)
            assert_done(store_retry_dead(k->store, &everything, &pages, &err), &err);
        assert_string_equal(num_text(pages.done).s, all);
        assert_sql(h, "select count(*) from atsync.ats_write where state = 'dead'", num_text(again).s);
        pages_clear(&pages);
    }
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
    assert_string_equal(all, "a1 b1 a2 b2 a3 b3 a4 b4 a5 b5 ");
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

/* Of a connector that is gone: what was not written is given up and looked at elsewhere, also of a daemon that is gone with it; not who is in work. */
E2E_TEST(what_a_connector_that_is_gone_had_is_handed_over)
{
    struct kit *k = kit_open(h, NULL);
    struct filter f = {.connector = "old", .since_us = INT64_MIN};
    struct pages pages = {.done = 0};
    struct errmsg err;

    sql_script(
        h, "insert into atsync.candidate (source, connector, ref, external_id, state, attempts, due_at, lease_owner, "
           "lease_until, lease_no, blocked_since, last_event_at) values "
           "('popp', 'old', 'x:1', '1', 'retrying', 3, now(), null, null, 4, now(), now()), "
           "('popp', 'old', 'x:2', '2', 'retrying', 3, now(), 'him', now() - interval '1 second', 4, now(), now()), "
           "('popp', 'old', 'x:3', '3', 'retrying', 3, now(), 'her', now() + interval '1 hour', 4, now(), now()), "
           "('popp', 'ats', 'x:4', '4', 'retrying', 3, now(), null, null, 4, now(), now())");
    sql_script(h,
               "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, "
               "lease_no, state) select source, connector, ref, 'field/x', 1, 'field', 'x', '1', 'hash', 'reason', 1, "
               "'pending' from atsync.candidate");
    while (!pages.over) {
        assert_done(store_resync_gone(k->store, &f, &pages, &err), &err);
    }
    pages_clear(&pages);
    assert_sql(
        h,
        "select string_agg(concat_ws('|', c.ref, c.connector, c.state, c.attempts, c.due_at is not null, "
        "coalesce(c.lease_owner, '-'), c.lease_no, w.state), ' ' order by c.ref, c.connector) from "
        "atsync.candidate c left join atsync.ats_write w using (source, connector, ref)",
        "x:1||pending|0|t|-|0 x:1|old|nothing_to_do|0|f|-|5|superseded x:2||pending|0|t|-|0 "
        "x:2|old|nothing_to_do|0|f|-|5|superseded x:3|old|retrying|3|t|her|4|pending x:4|ats|retrying|3|t|-|4|pending");
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(dead_writes_are_counted_tried_again_and_given_up_by_filter),
        E2E_RUN(tried_again_it_succeeds_and_given_up_it_stays),
        E2E_RUN(worked_out_again_by_filter),
        E2E_RUN(what_a_connector_that_is_gone_had_is_handed_over),
        E2E_RUN(what_a_filter_fits_is_told_apart),
        E2E_RUN(many_are_worked_through_page_by_page),
        E2E_RUN(peeking_goes_page_by_page),
        E2E_RUN(a_connector_is_held_and_resumed),
    };

    return e2e_main(tests);
}
