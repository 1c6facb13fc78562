/* What another session holds: an administrator who has not committed, say. Nobody but who needs it has to wait, and nothing of it is lost. */
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"

enum { CANDIDATES = 3 };

/* Three candidates of connector "ats", claimed; each is to be released with one call. */
struct claims {
    struct kit *k;
    struct claim_batch batch;
    struct record records[CANDIDATES];
    struct record_call calls[CANDIDATES];
    const struct claimed *who[CANDIDATES];
    struct db *other;
};

/* Its transaction has no end of its own. */
static void hold(struct claims *c, const char *statement)
{
    struct errmsg err;

    assert_done(db_script(c->other, "begin", "begin", &err), &err);
    assert_done(db_script(c->other, "hold", statement, &err), &err);
}

static void let_go(struct claims *c)
{
    struct errmsg err;

    assert_done(db_script(c->other, "rollback", "rollback", &err), &err);
}

static int by_ref(const void *a, const void *b)
{
    return strcmp(((const struct claimed *)a)->ref, ((const struct claimed *)b)->ref);
}

static void claims_open(struct harness *h, struct claims *c)
{
    struct errmsg err;

    c->k = kit_open(h, NULL);
    c->other = db_new(h->conninfo, "a report");
    sql_script(h, "insert into atsync.candidate (source, connector, ref, due_at, last_event_at) "
                  "select 'popp', 'ats', 'x:' || i, now(), now() from generate_series(1, 3) as i");
    assert_done(store_claim(c->k->store, "ats", false, c->k->owner, 60000, CANDIDATES, NULL, &c->batch, &err), &err);
    assert_int_equal(c->batch.count, CANDIDATES);
    qsort(c->batch.items, CANDIDATES, sizeof c->batch.items[0], by_ref);
    for (int i = 0; i < CANDIDATES; i++) {
        c->who[i] = &c->batch.items[i];
        c->calls[i] = (struct record_call){
            .verb = "tags", .method = "PUT", .path = "/candidates", .outcome = "ok", .http_status = 200};
        c->records[i] = (struct record){.who = c->who[i],
                                        .calls = &c->calls[i],
                                        .call_count = 1,
                                        .release = true,
                                        .synced = true,
                                        .state = "synced",
                                        .next_due_ms = INT64_MAX};
    }
}

static void claims_close(struct claims *c)
{
    claim_batch_clear(&c->batch);
    db_free(c->other);
    kit_close(c->k);
}

static void record(struct claims *c, size_t from, size_t count)
{
    struct errmsg err;

    assert_done(store_record(c->k->store, &c->records[from], count, &err), &err);
}

#define STANDING                                                                                                       \
    "select string_agg(concat_ws('|', c.ref, c.state, c.lease_owner is null, "                                         \
    "(select count(*) from atsync.ats_call a where a.ref = c.ref)), ' ' order by ref) from atsync.candidate c"

E2E_TEST(a_held_candidate_is_recorded_later)
{
    struct claims c;

    claims_open(h, &c);
    hold(&c, "update atsync.candidate set attempts = attempts where ref = 'x:2'");
    record(&c, 0, CANDIDATES);
    assert_true(!c.records[0].held && c.records[1].held && !c.records[2].held);
    assert_true(!c.records[0].lost && c.records[1].lost && !c.records[2].lost);
    assert_false(c.records[1].erased);
    assert_sql(h, STANDING, "x:1|synced|t|1 x:2|pending|f|0 x:3|synced|t|1");
    assert_string_equal(store_held_by(c.k->store),
                        sql_text(h, "select concat_ws(', ', 'process ' || pid, application_name, 'role ' || usename) "
                                    "from pg_stat_activity where application_name = 'a report'"));
    record(&c, 1, 1); /* nothing is left of it */
    assert_true(c.records[1].held);
    let_go(&c);
    record(&c, 1, 1);
    assert_true(!c.records[1].held && !c.records[1].lost);
    assert_sql(h, STANDING, "x:1|synced|t|1 x:2|synced|t|1 x:3|synced|t|1");
    claims_close(&c);
}

/* What it is passed on to is held: it is not forgotten before that can be told. */
E2E_TEST(who_passes_something_on_waits_for_its_place)
{
    struct record_route route = {.connector = "spare", .ref = "x:9", .external_id = "9"};
    struct claims c;

    claims_open(h, &c);
    sql_script(h, "insert into atsync.candidate (source, connector, ref, last_event_at) values ('popp', 'spare', "
                  "'x:9', now())");
    c.records[0].routes = &route;
    c.records[0].route_count = 1;
    c.records[0].forget = true;
    hold(&c, "update atsync.candidate set attempts = attempts where ref = 'x:9'");
    record(&c, 0, CANDIDATES);
    assert_true(c.records[0].held && !c.records[1].held && !c.records[2].held);
    assert_sql(h, STANDING, "x:1|pending|f|0 x:2|synced|t|1 x:3|synced|t|1 x:9|pending|t|0");
    let_go(&c);
    record(&c, 0, 1);
    assert_sql(h, "select string_agg(concat_ws('|', ref, due_at is not null), ' ' order by ref) from atsync.candidate",
               "x:2|f x:3|f x:9|t");
    claims_close(&c);
}

/* Something else is held that one of them needs, and nobody can tell which. */
E2E_TEST(who_needs_what_is_held_is_found_out)
{
    struct claims c;

    claims_open(h, &c);
    c.records[0].call_count = c.records[2].call_count = 0;
    hold(&c, "lock table atsync.ats_call in share mode");
    record(&c, 0, CANDIDATES);
    assert_true(!c.records[0].held && c.records[1].held && !c.records[2].held);
    assert_true(!c.records[0].lost && c.records[1].lost && !c.records[2].lost);
    assert_string_equal(store_held_by(c.k->store), "");
    assert_sql(h, STANDING, "x:1|synced|t|0 x:2|pending|f|0 x:3|synced|t|0");
    let_go(&c);
    record(&c, 1, 1);
    assert_sql(h, STANDING, "x:1|synced|t|0 x:2|synced|t|1 x:3|synced|t|0");
    claims_close(&c);
}

/* Who could not be renewed is told: its job must not go on as if it had been. */
E2E_TEST(all_other_leases_are_renewed)
{
    bool held[CANDIDATES];
    struct errmsg err;
    struct claims c;

    claims_open(h, &c);
    hold(&c, "update atsync.candidate set attempts = attempts where ref = 'x:2'");
    assert_done(store_renew(c.k->store, c.who, CANDIDATES, 600000, held, &err), &err);
    assert_true(!held[0] && held[1] && !held[2]);
    assert_sql(h,
               "select string_agg(ref, ' ' order by ref) from atsync.candidate where lease_until > now() + interval "
               "'5 minutes'",
               "x:1 x:3");
    let_go(&c);
    assert_done(store_renew(c.k->store, c.who, CANDIDATES, 6000000, held, &err), &err);
    assert_true(!held[0] && !held[1] && !held[2]);
    claims_close(&c);
}

E2E_TEST(all_others_are_given_back)
{
    struct put_back items[CANDIDATES];
    struct errmsg err;
    struct claims c;

    claims_open(h, &c);
    for (int i = 0; i < CANDIDATES; i++) {
        items[i] = (struct put_back){.who = c.who[i], .delay_ms = -1};
    }
    hold(&c, "update atsync.candidate set attempts = attempts where ref = 'x:2'");
    assert_done(store_put_back(c.k->store, items, CANDIDATES, &err), &err);
    assert_sql(h, "select string_agg(ref, ' ' order by ref) from atsync.candidate where lease_owner is null",
               "x:1 x:3");

    /* a daemon that comes back under the same name does not wait for it either */
    sql_script(h, "update atsync.candidate set lease_owner = 'him', lease_until = now() + interval '1 hour' where ref "
                  "<> 'x:2'");
    assert_done(store_take_back(c.k->store, "him", &err), &err);
    assert_sql(h, "select string_agg(ref, ' ' order by ref) from atsync.candidate where lease_owner is null",
               "x:1 x:3");
    let_go(&c);
    assert_done(store_take_back(c.k->store, c.k->owner, &err), &err);
    assert_sql(h, "select count(*) from atsync.candidate where lease_owner is null", "3");
    claims_close(&c);
}

/* Of those who wait for their name, too. */
E2E_TEST(all_others_are_identified)
{
    struct errmsg err;
    struct claims c;

    claims_open(h, &c);
    sql_script(h, "update atsync.candidate set connector = '', state = 'waiting_for_identity', error_class = "
                  "'identity', lease_owner = null, lease_until = null, due_at = null, blocked_since = now();"
                  "insert into atsync.identity (source, alias, ref, external_id, origin) select source, ref, 'x:e', "
                  "'e', 'event' from "
                  "atsync.candidate");
    hold(&c, "update atsync.candidate set attempts = attempts where ref = 'x:2'");
    assert_done(store_wake_identified(c.k->store, 60, &err), &err);
    assert_sql(h, "select string_agg(ref, ' ' order by ref) from atsync.candidate where due_at is not null", "x:1 x:3");
    let_go(&c);
    assert_done(store_wake_identified(c.k->store, 60, &err), &err);
    assert_sql(h, "select count(*) from atsync.candidate where due_at is not null", "3");
    claims_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_held_candidate_is_recorded_later),  E2E_RUN(who_passes_something_on_waits_for_its_place),
        E2E_RUN(who_needs_what_is_held_is_found_out), E2E_RUN(all_other_leases_are_renewed),
        E2E_RUN(all_others_are_given_back),           E2E_RUN(all_others_are_identified),
    };

    return e2e_main(tests);
}
