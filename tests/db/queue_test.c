/* Leases: who works on a candidate, in which order, until when; and what happens to those of the dead. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/db.h"
#include "lib/storekit.h"
#include "store/activity.h"
#include "store/operate.h"

/* Candidates c1, c2, … of connector "ats", due that many minutes ago. */
static void add_candidates(struct harness *h, int count)
{
    sql_script(h,
               arena_printf(h->arena,
                            "insert into atsync.candidate (source, connector, ref, external_id, due_at, last_event_at) "
                            "select 'popp', 'ats', 'x:c' || i, 'c' || i, now() - i * interval '1 minute', now() from "
                            "generate_series(1, %d) as i",
                            count));
}

static struct claim_batch claim_as(struct store *s, const char *connector, bool retries, const char *owner,
                                   int64_t lease_ms, size_t limit)
{
    struct claim_batch b;
    struct errmsg err;

    assert_done(store_claim(s, connector, retries, owner, lease_ms, limit, NULL, &b, &err), &err);
    return b;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Claims and returns the refs in order, "x:c1 x:c2". */
static const char *claim_refs(struct kit *k, const char *connector, bool retries, const char *owner, size_t limit)
{
    struct claim_batch b = claim_as(k->store, connector, retries, owner, 60000, limit);
    const char **refs = arena_alloc(k->h->arena, (b.count + 1) * sizeof *refs);
    const char *all = "";

    for (size_t i = 0; i < b.count; i++) {
        refs[i] = b.items[i].ref;
    }
    qsort(refs, b.count, sizeof *refs, by_text);
    for (size_t i = 0; i < b.count; i++) {
        all = arena_printf(k->h->arena, "%s%s%s", all, i ? " " : "", refs[i]);
    }
    claim_batch_clear(&b);
    return all;
}

E2E_TEST(the_longest_due_come_first)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    add_candidates(h, 5);
    sql_script(h, "update atsync.candidate set due_at = now() + interval '1 hour' where ref = 'x:c5';"
                  "insert into atsync.candidate (source, connector, ref, due_at, last_event_at) values ('popp', "
                  "'spare', 'x:other', now(), now()), "
                  "('popp', '', 'p:nobody', now(), now()), ('popp', 'ats', 'x:idle', null, now())");
    assert_string_equal(claim_refs(k, "ats", false, "him", 2), "x:c3 x:c4");
    assert_string_equal(claim_refs(k, "ats", false, "him", 9), "x:c1 x:c2");
    assert_string_equal(claim_refs(k, "ats", false, "him", 9), "");
    assert_string_equal(claim_refs(k, "", false, "him", 9), "p:nobody");
    assert_string_equal(claim_refs(k, "spare", false, "him", 9), "x:other");

    /* who claims need not have heard of a pause */
    sql_script(h, "update atsync.candidate set lease_until = null, lease_owner = null");
    assert_done(store_connector_hold(k->store, "ats", "maintenance", &err), &err);
    assert_string_equal(claim_refs(k, "ats", false, "him", 9), "");
    assert_string_equal(claim_refs(k, "spare", false, "him", 9), "x:other");
    kit_close(k);
}

/* Who became due earlier than what was seen last is passed over for a second, and then found. */
E2E_TEST(what_was_seen_lately_is_passed_over)
{
    struct kit *k = kit_open(h, NULL);
    struct claim_mark mark = {0};
    struct claim_batch b;
    struct errmsg err;

    add_candidates(h, 1);
    assert_done(store_claim(k->store, "ats", false, "me", 60000, 9, &mark, &b, &err), &err);
    assert_int_equal(b.count, 1);
    claim_batch_clear(&b);
    sql_script(h, "insert into atsync.candidate (source, connector, ref, due_at, last_event_at) values "
                  "('popp', 'ats', 'x:earlier', now() - interval '1 day', now()), "
                  "('popp', 'ats', 'x:later', now() - interval '1 millisecond', now())");
    assert_done(store_claim(k->store, "ats", false, "me", 60000, 9, &mark, &b, &err), &err);
    assert_int_equal(b.count, 1);
    assert_string_equal(b.items[0].ref, "x:later");
    claim_batch_clear(&b);
    mark.until_ms = 0; /* a second has gone by */
    assert_done(store_claim(k->store, "ats", false, "me", 60000, 9, &mark, &b, &err), &err);
    assert_int_equal(b.count, 1);
    assert_string_equal(b.items[0].ref, "x:earlier");
    claim_batch_clear(&b);
    kit_close(k);
}

/* One step of a walk through those that wait for their connector: how many were leased, the first and the last of them. */
static const char *walk_on(struct kit *k, bool retries, struct claim_walk *walk, size_t limit)
{
    struct claim_batch b;
    struct errmsg err;
    const char **refs;
    const char *told;

    assert_done(store_claim_unplanned(k->store, "ats", retries, k->owner, 60000, limit, walk, &b, &err), &err);
    refs = arena_alloc(k->h->arena, (b.count + 1) * sizeof *refs);
    for (size_t i = 0; i < b.count; i++) {
        refs[i] = arena_strdup(k->h->arena, b.items[i].ref);
        assert_int_equal(b.items[i].index, i);
        assert_true(b.now_us > 0);
    }
    qsort(refs, b.count, sizeof *refs, by_text);
    told = b.count == 0 ? "none" : arena_printf(k->h->arena, "%zu: %s to %s", b.count, refs[0], refs[b.count - 1]);
    claim_batch_clear(&b);
    return told;
}

/* Who waits for a connector is gone through in pieces, those that became due at the same time too, and nobody twice. */
E2E_TEST(who_waits_is_gone_through_once)
{
    struct kit *k = kit_open(h, NULL);
    struct claim_walk walk = {0};
    size_t steps = 0;

    /* 2,500 of one commit, and three before them that were planned already */
    sql_script(
        h, "insert into atsync.candidate (source, connector, ref, due_at, last_event_at, version, planned_version) "
           "select 'popp', 'ats', 'x:p' || i, now() - interval '1 hour', now(), 3, 3 from generate_series(1, 3) as i;"
           "insert into atsync.candidate (source, connector, ref, due_at, last_event_at) "
           "select 'popp', 'ats', 'x:c' || i, now() - interval '1 minute', now() from generate_series(1001, 3500) as i;"
           "insert into atsync.candidate (source, connector, ref, due_at, last_event_at, attempts, sending) values "
           "('popp', 'ats', 'x:later', now() + interval '1 hour', now(), 0, null), "
           "('popp', 'spare', 'x:other', now(), now(), 0, null), "
           "('popp', 'ats', 'x:idle', null, now(), 0, null), "
           "('popp', 'ats', 'x:failed', now(), now(), 2, null), "
           "('popp', 'ats', 'x:interrupted', now(), now(), 0, '1 field h 1:a')");
    assert_string_equal(walk_on(k, false, &walk, 600), "600: x:c1001 to x:c1600");
    assert_false(walk.at_end);
    while (!walk.at_end && steps++ < 10) {
        (void)walk_on(k, false, &walk, 600);
    }
    assert_true(walk.at_end);
    assert_string_equal(
        sql_text(h, "select count(*) || ' ' || max(lease_no) from atsync.candidate where lease_owner is not null"),
        "2500 1");
    walk = (struct claim_walk){0};
    assert_string_equal(walk_on(k, true, &walk, 600), "1: x:failed to x:failed");
    assert_true(walk.at_end);
    kit_close(k);
}

/* At its end the walk finds who comes; who got something new behind its back is found by the next one. A piece without anything new is passed over. */
E2E_TEST(a_walk_goes_on_at_its_end)
{
    struct kit *k = kit_open(h, NULL);
    struct claim_walk walk = {0};

    sql_script(
        h,
        "insert into atsync.candidate (source, connector, ref, due_at, last_event_at, planned_version) "
        "select 'popp', 'ats', 'x:c' || i, now() - interval '1 minute', now(), 1 from generate_series(1, 2500) as i");
    for (unsigned i = 0; i < 3; i++) {
        assert_false(walk.at_end);
        assert_string_equal(walk_on(k, false, &walk, 600), "none");
    }
    assert_true(walk.at_end);
    sql_script(h, "update atsync.candidate set version = version + 1 where ref = 'x:c7';"
                  "insert into atsync.candidate (source, connector, ref, due_at, last_event_at) values "
                  "('popp', 'ats', 'x:new', now(), now())");
    assert_string_equal(walk_on(k, false, &walk, 600), "1: x:new to x:new");
    assert_string_equal(walk_on(k, false, &walk, 600), "none");
    assert_true(walk.at_end);
    walk = (struct claim_walk){0};
    for (unsigned i = 0; i < 3 && !walk.at_end; i++) {
        (void)walk_on(k, false, &walk, 600);
    }
    assert_string_equal(
        sql_text(h, "select string_agg(ref, ' ' order by ref) from atsync.candidate where lease_owner is not null"),
        "x:c7 x:new");
    kit_close(k);
}

E2E_TEST(retries_are_claimed_apart)
{
    struct kit *k = kit_open(h, NULL);

    add_candidates(h, 4);
    sql_script(h, "update atsync.candidate set attempts = 1 where ref in ('x:c1', 'x:c4')");
    assert_string_equal(claim_refs(k, "ats", false, "him", 9), "x:c2 x:c3");
    assert_string_equal(claim_refs(k, "ats", true, "him", 1), "x:c4");
    assert_string_equal(claim_refs(k, "ats", true, "him", 9), "x:c1");
    kit_close(k);
}

E2E_TEST(what_a_claim_tells)
{
    struct kit *k = kit_open(h, NULL);
    struct claim_batch b;

    add_candidates(h, 1);
    sql_script(h, "update atsync.candidate set version = 7, attempts = 3, lease_no = 41");
    b = claim_as(k->store, "ats", true, "him", 60000, 9);
    assert_int_equal(b.count, 1);
    assert_string_equal(b.items[0].source, "popp");
    assert_string_equal(b.items[0].connector, "ats");
    assert_string_equal(b.items[0].ref, "x:c1");
    assert_string_equal(b.items[0].external_id, "c1");
    assert_int_equal(b.items[0].version, 7);
    assert_int_equal(b.items[0].attempts, 3);
    assert_int_equal(b.items[0].lease_no, 42);
    assert_in_range(b.now_us - b.items[0].due_us, 60 * 1000000, 120 * 1000000);
    assert_sql(
        h,
        "select concat_ws('|', lease_owner, lease_no, lease_until > now() + interval '50 seconds', lease_until <= "
        "now() + interval '60 seconds', due_at < now()) from atsync.candidate",
        "him|42|t|t|t");
    claim_batch_clear(&b);
    kit_close(k);
}

E2E_TEST(what_somebody_else_holds_is_passed_over)
{
    struct kit *k = kit_open(h, NULL);

    add_candidates(h, 4);
    sql_script(h, "begin; select from atsync.candidate where ref in ('x:c4', 'x:c2') for update");
    assert_string_equal(claim_refs(k, "ats", false, "him", 2),
                        "x:c1 x:c3"); /* at once, although the oldest is locked */
    sql_script(h, "rollback");
    assert_string_equal(claim_refs(k, "ats", false, "him", 9), "x:c2 x:c4");
    kit_close(k);
}

/* ---- two dispatchers */

struct taker {
    struct store *store;
    const char *owner;
    size_t taken;
    int status;
    struct errmsg err;
};

static void *take_all(void *arg)
{
    struct taker *t = arg;
    struct claim_batch b;
    size_t count = 1;

    while (count > 0 &&
           (t->status = store_claim(t->store, "ats", false, t->owner, 60000, 7, NULL, &b, &t->err)) == ST_OK) {
        count = b.count;
        t->taken += count;
        claim_batch_clear(&b);
    }
    return NULL;
}

E2E_TEST(two_never_get_the_same)
{
    struct kit *k = kit_open(h, NULL);
    struct taker takers[2] = {{.store = kit_store(k, "one"), .owner = "one"},
                              {.store = kit_store(k, "two"), .owner = "two"}};
    pthread_t threads[2];

    add_candidates(h, 1000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &takers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_done(takers[i].status, &takers[i].err);
        store_free(takers[i].store);
    }
    assert_int_equal(takers[0].taken + takers[1].taken, 1000);
    assert_sql(h, "select concat_ws('|', min(lease_no), max(lease_no), count(lease_owner)) from atsync.candidate",
               "1|1|1000");
    kit_close(k);
}

E2E_TEST(an_ended_lease_passes_to_another)
{
    struct kit *k = kit_open(h, NULL);
    struct claim_batch first;
    struct claim_batch second;
    struct record late = {.release = true, .state = "synced", .synced = true, .next_due_ms = INT64_MAX};
    struct record_call call = {.verb = "note", .method = "POST", .path = "/", .outcome = "ok"};
    struct errmsg err;

    add_candidates(h, 2);
    first = claim_as(k->store, "ats", false, "slow", 60000, 1);
    assert_string_equal(first.items[0].ref, "x:c2");
    sql_script(h, "update atsync.candidate set lease_until = now() - interval '1 hour' where ref = 'x:c2'");
    second = claim_as(k->store, "ats", false, "quick", 60000, 9);
    assert_int_equal(second.count, 2);

    /* The slow one comes back: its results are nobody's, and another candidate's in the same transaction are recorded. */
    struct claimed *other = strcmp(second.items[0].ref, "x:c1") == 0 ? &second.items[0] : &second.items[1];
    struct record records[2] = {late, late};

    for (int i = 0; i < 2; i++) {
        records[i].calls = &call;
        records[i].call_count = 1;
    }
    records[0].who = &first.items[0];
    records[1].who = other;
    assert_done(store_record(k->store, records, 2, &err), &err);
    assert_true(records[0].lost);
    assert_false(records[1].lost);
    assert_sql(h,
               "select string_agg(concat_ws('|', ref, state, coalesce(lease_owner, '-'), lease_no), ' ' order by ref) "
               "from atsync.candidate",
               "x:c1|synced|-|1 x:c2|pending|quick|2");
    assert_sql(h, "select string_agg(ref, ' ' order by ref) from atsync.ats_call",
               "x:c1 x:c2"); /* the calls were made all the same */
    claim_batch_clear(&first);
    claim_batch_clear(&second);
    kit_close(k);
}

/* ---- release */

E2E_TEST(how_a_candidate_is_given_back)
{
    static const struct {
        const char *name;
        bool newer; /* an event came meanwhile */
        bool failed, synced;
        int64_t next_due_ms;
        const char *after; /* due, attempts, synced_version, last_synced, blocked */
    } cases[] = {
        {"done", false, false, true, INT64_MAX, "idle|0|1|t|f"},
        {"done, and something new", true, false, true, INT64_MAX, "now|0|1|t|f"},
        {"due later", false, false, false, 600000, "later|0|0|f|f"},
        {"due later, and something new", true, false, false, 600000, "now|0|0|f|f"},
        {"failed", false, true, false, 600000, "later|3|0|f|t"},
        {"failed, and something new", true, true, false, 600000, "later|3|0|f|t"},
        {"failed for good", false, true, true, INT64_MAX, "idle|3|1|t|t"},
    };
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct record r = {.release = true, .state = "pending", .error = "what\x80happened\xc0\x80"};
        struct claim_batch b;

        print_message("case: %s\n", cases[i].name);
        sql_script(h, "delete from atsync.candidate");
        add_candidates(h, 1);
        sql_script(h, "update atsync.candidate set attempts = 2");
        b = claim_as(k->store, "ats", true, "him", 60000, 1);
        if (cases[i].newer) {
            sql_script(h, "update atsync.candidate set version = version + 1");
        }
        r.who = &b.items[0];
        r.failed = cases[i].failed;
        r.synced = cases[i].synced;
        r.next_due_ms = cases[i].next_due_ms;
        assert_done(store_record(k->store, &r, 1, &err), &err);
        assert_sql(
            h,
            "select concat_ws('|', case when due_at > now() + interval '9 minutes' then 'later' when due_at <= now() "
            "then 'now' "
            "when due_at is null then 'idle' end, attempts, synced_version, last_synced_at is not null, blocked_since "
            "is not null) "
            "from atsync.candidate where lease_owner is null and last_error = 'what\xef\xbf\xbdhappened\xef\xbf\xbd'",
            cases[i].after);
        claim_batch_clear(&b);
    }
    kit_close(k);
}

/* ---- owners */

E2E_TEST(an_owner_is_a_process)
{
    char *name = store_owner_name("one", 0);
    char host[256] = "";
    char *expected;

    (void)h;
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    expected = mem_printf("one@%s:%s:", host, num_text(getpid()).s);
    assert_true(text_starts(name, expected));
    assert_true(strlen(name) > strlen(expected));
    mem_free(expected);
    expected = mem_printf("%s/2", name);
    mem_free(name);
    name = store_owner_name("one", 2);
    assert_string_equal(name, expected);
    mem_free(expected);
    mem_free(name);
}

/* A process that lives until it is told to end; its owner name comes through the pipe. */
static pid_t start_twin(char *ret_name, size_t size)
{
    int fds[2];
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        char *name = store_owner_name("one", 0);

        n = write(fds[1], name, strlen(name));
        for (;;) {
            (void)pause();
        }
    }
    assert_true(pid > 0);
    n = read(fds[0], ret_name, size - 1);
    assert_true(n > 0);
    ret_name[n] = '\0';
    (void)close(fds[0]);
    (void)close(fds[1]);
    return pid;
}

static void lease_to(struct harness *h, const char *ref, const char *owner)
{
    sql_script(h,
               arena_printf(
                   h->arena,
                   "insert into atsync.candidate (source, connector, ref, due_at, lease_owner, lease_until, lease_no, "
                   "last_event_at) "
                   "values ('popp', 'ats', '%s', now(), '%s', now() + interval '1 hour', 1, now())",
                   ref, owner));
}

E2E_TEST(leases_of_the_dead_are_taken_back)
{
    struct kit *k = kit_open(h, NULL);
    char host[256] = "";
    char twin[400];
    pid_t pid = start_twin(twin, sizeof twin);
    siginfo_t ended;
    struct errmsg err;

    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    lease_to(h, "mine", k->owner);
    lease_to(h, "predecessor", arena_printf(h->arena, "one@%s:4194305:1", host)); /* above the kernel's highest pid */
    lease_to(h, "same-pid-before", arena_printf(h->arena, "one@%s:%s:1", host, num_text(getpid()).s));
    lease_to(h, "nonsense", arena_printf(h->arena, "one@%s:x", host));
    lease_to(h, "moved", "one@another-host:1:1");
    lease_to(h, "twin", twin);
    lease_to(h, "other-instance", arena_printf(h->arena, "one2@%s:4194305:1", host));
    lease_to(h, "no-instance", "two");
    lease_to(h, "worker", arena_printf(h->arena, "%s/1", k->owner)); /* beside us in this process */
    lease_to(h, "dead-worker", arena_printf(h->arena, "one@%s:4194305:1/1", host));
    assert_done(store_take_back(k->store, k->owner, &err), &err);
    assert_sql(h,
               "select string_agg(ref, ' ' order by ref) from atsync.candidate where lease_owner is null and "
               "lease_until is null",
               "dead-worker mine moved nonsense predecessor same-pid-before");
    /* dead is dead, also before its parent asks what became of it */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
    assert_done(store_take_back(k->store, k->owner, &err), &err);
    assert_sql(h, "select string_agg(ref, ' ' order by ref) from atsync.candidate where lease_owner is not null",
               "no-instance other-instance worker");
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    kit_close(k);
}

E2E_TEST(only_what_would_end_soon_is_renewed)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    static const char *const refs[] = {"soon", "fresh", "ended", "another's"};
    struct claimed who[ATS_COUNT(refs)];
    const struct claimed *list[ATS_COUNT(refs)];
    bool held[ATS_COUNT(refs)];

    for (size_t i = 0; i < ATS_COUNT(refs); i++) {
        who[i] = (struct claimed){.source = "popp", .connector = "ats", .ref = refs[i], .lease_no = 1};
        list[i] = &who[i];
        lease_to(h, i < 3 ? refs[i] : "another''s", "him");
    }
    lease_to(h, "not ours", "her");
    sql_script(
        h, "update atsync.candidate set lease_until = now() + case ref when 'fresh' then interval '50 seconds' when "
           "'ended' then interval '-1 second' else interval '20 seconds' end;"
           "update atsync.candidate set lease_no = 2 where ref = 'another''s'");
    assert_done(store_renew(k->store, list, ATS_COUNT(refs), 60000, held, &err), &err);
    assert_sql(h, "select string_agg(ref, ' ') from atsync.candidate where lease_until > now() + interval '55 seconds'",
               "soon");
    assert_sql(h, "select string_agg(ref, ' ') from atsync.candidate where lease_until <= now()",
               "ended"); /* somebody else may have it by now */
    kit_close(k);
}

/* ---- the rest */

E2E_TEST(the_unrouted_are_looked_at_again)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    sql_script(
        h,
        "insert into atsync.candidate (source, connector, ref, due_at, lease_owner, last_event_at) values "
        "('popp', '', 'x:waits', null, null, now()), ('popp', '', 'x:later', now() + interval '1 hour', null, now()), "
        "('popp', '', 'x:in-work', now() + interval '1 hour', 'him', now()), ('popp', 'ats', 'x:placed', null, null, "
        "now())");
    assert_done(store_wake_unrouted(k->store, &err), &err);
    assert_sql(
        h,
        "select string_agg(concat_ws('|', ref, version), ' ' order by ref) from atsync.candidate where due_at <= now()",
        "x:later|2 x:waits|2");
    kit_close(k);
}

E2E_TEST(who_began_to_wait_beside_its_identity_is_woken)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    sql_script(
        h,
        "insert into atsync.identity (source, alias, ref, external_id, origin) values "
        "('popp', 'p:named', 'x:1', '1', 'event'), ('popp', 'p:long', 'x:1', '1', 'event'), "
        "('popp', 'p:in-work', 'x:1', '1', 'event');"
        "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, external_id, state, truncated, "
        "complete, conflict, last_event_at, nodes) values "
        "('popp', 'told', 'x:1', 'ats', false, true, '1', 'running', false, false, false, now(), '[]'), "
        "('popp', 'untold', 'r:untold', '', false, true, null, 'running', false, false, false, now(), '[]');"
        "insert into atsync.candidate (source, connector, ref, state, error_class, due_at, lease_owner, last_event_at, "
        "blocked_since) select 'popp', '', ref, 'waiting_for_identity', class, due, owner, now(), now() - since from "
        "(values ('p:named', 'identity', null, null, interval '1 minute'), "
        "('p:unknown', 'identity', null, null, interval '1 minute'), "
        "('p:long', 'identity', null, null, interval '1 day'), "
        "('p:in-work', 'identity', now() + interval '1 hour', 'him', interval '1 minute'), "
        "('r:told', 'identity', null, null, interval '1 minute'), "
        "('r:untold', 'identity', null, null, interval '1 minute')) v (ref, class, due, owner, since)");
    assert_done(store_wake_identified(k->store, 600, &err), &err);
    assert_sql(h,
               "select string_agg(ref || '|' || version, ' ' order by ref) from atsync.candidate where due_at <= now()",
               "p:named|2 r:told|2");
    assert_done(store_wake_identified(k->store, INT32_MAX, &err), &err);
    assert_sql(h,
               "select string_agg(ref || '|' || version, ' ' order by ref) from atsync.candidate where due_at <= now()",
               "p:long|2 p:named|2 r:told|2");
    kit_close(k);
}

static void add_count(void *ctx, const struct queue_count *c)
{
    struct harness *h = ctx;

    sql_script(h, arena_printf(h->arena, "insert into counted values ('%s', '%s', %s, %d)", c->connector, c->state,
                               num_text(c->count).s, (int)(c->oldest_due_seconds / 60)));
}

#define COUNTED                                                                                                        \
    "select string_agg(concat_ws('|', connector, state, n, oldest_due_minutes), ' ' order by connector, state) "       \
    "from counted"

E2E_TEST(the_queue_is_counted)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    add_candidates(h, 3);
    sql_script(
        h,
        "update atsync.candidate set attempts = 1, due_at = now() + interval '1 hour' where ref = 'x:c1';"
        "update atsync.candidate set lease_owner = 'him', lease_until = now() + interval '1 hour' where ref = 'x:c2';"
        "insert into atsync.candidate (source, connector, ref, state, due_at, last_event_at) values ('popp', "
        "'', 'p:1', 'waiting_for_identity', null, now()), "
        "('popp', '', 'x:1', 'unmapped', null, now()), ('popp', 'ats', 'x:idle', 'synced', null, now());"
        "update atsync.candidate set due_at = now() - interval '7 minutes' where ref = 'x:c3';"
        "create table counted (connector text, state text, n bigint, oldest_due_minutes bigint)");
    assert_done(store_queue_counts(k->store, add_count, h, &err), &err);
    assert_sql(h, COUNTED,
               "|unmapped|1|0 |waiting_for_identity|1|0 ats|in_progress|1|0 ats|pending|1|7 ats|retrying|1|0");
    /* as sync_state has it */
    sql_script(h, "truncate counted; update atsync.connector_state set state = 'paused'");
    assert_done(store_queue_counts(k->store, add_count, h, &err), &err);
    assert_sql(h, COUNTED, "|unmapped|1|0 |waiting_for_identity|1|0 ats|in_progress|1|0 ats|paused|2|7");
    sql_script(h, "truncate counted");
    assert_done(store_population(k->store, add_count, h, &err), &err);
    assert_sql(h, COUNTED, "ats|synced|1|0");
    kit_close(k);
}

/* As it was, later, or because something is in the way; and not by whom it does not belong to any more. */
E2E_TEST(what_is_put_back)
{
    static const char is[] = "select string_agg(concat_ws('|', ref, state, attempts, lease_owner, lease_no, due_at > "
                             "now(), blocked_since is "
                             "not null, error_class, last_error, sending), ' ' order by ref) from atsync.candidate";
    struct kit *k = kit_open(h, NULL);
    struct claim_batch b;
    struct put_back back[4];
    struct errmsg err;

    add_candidates(h, 4);
    sql_script(h, "update atsync.candidate set due_at = due_at - interval '1 hour', sending = 'list', attempts = 0");
    b = claim_as(k->store, "ats", false, "him", 60000, 9);
    assert_int_equal(b.count, 4);
    for (size_t i = 0; i < b.count; i++) {
        switch (b.items[i].ref[3]) {
        case '1':
            back[i] = (struct put_back){.who = &b.items[i], .delay_ms = -1};
            break;
        case '2':
            back[i] = (struct put_back){.who = &b.items[i], .delay_ms = 60000};
            break;
        case '3':
            back[i] = (struct put_back){
                .who = &b.items[i], .delay_ms = 60000, .error_class = "too_large", .error = "so it is"};
            break;
        default:
            b.items[i].lease_no--;
            back[i] = (struct put_back){.who = &b.items[i], .delay_ms = 0, .error_class = "x", .error = "y"};
            break;
        }
    }
    assert_done(store_put_back(k->store, back, b.count, &err), &err);
    claim_batch_clear(&b);
    assert_sql(h, is,
               "x:c1|pending|0|1|f|f|list x:c2|pending|0|1|t|f|list x:c3|retrying|1|1|t|t|too_large|so it is|list "
               "x:c4|pending|0|him|1|f|f|list");
    assert_done(store_put_back(k->store, back, 0, &err), &err);

    /* another limit */
    assert_done(store_wake_too_large(k->store, &err), &err);
    assert_sql(h,
               "select string_agg(ref, ' ' order by ref) from atsync.candidate where due_at = (select max(due_at) from "
               "atsync.candidate)",
               "x:c2");
    assert_string_equal(claim_refs(k, "ats", true, "him", 9), "x:c3");
    assert_done(store_wake_too_large(k->store, &err), &err); /* it is in work */
    kit_close(k);
}

/* ---- a connector's configuration changes */

static const char *who_is_due(struct harness *h)
{
    return sql_text(h,
                    "select coalesce(string_agg(ref, ' ' order by ref), 'nobody') from atsync.candidate where due_at "
                    "<= now() and lease_owner is null");
}

/* Each candidate c<i> has one write under a key of its own; the case says how it fares. */
static void add_failed(struct harness *h)
{
    add_candidates(h, 6);
    sql_script(
        h,
        "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, lease_no, "
        "state, error_class, attempts, uncertain, next_attempt_at) "
        "select 'popp', 'ats', 'x:c' || i, 'field:x', 1, 'field', 'x', '1', 'hash', 'reason', 1, "
        "w.state, w.error_class, 3, i = 4, w.next_attempt_at from (values "
        "(1, 'dead', 'configuration', null), "
        "(2, 'dead', 'invalid', null), "
        "(3, 'pending', 'unavailable', now() + interval '1 hour'), "
        "(4, 'pending', 'unavailable', now() + interval '1 hour'), "
        "(5, 'pending', 'unavailable', now() + interval '1 hour')) as w (i, state, error_class, next_attempt_at)");
    sql_script(
        h,
        "update atsync.candidate set due_at = null where ref in ('x:c1', 'x:c2');"
        "update atsync.candidate set attempts = 3, due_at = now() + interval '1 hour' where due_at is not null;"
        "update atsync.candidate set lease_owner = 'him', lease_until = now() + interval '1 hour' where ref = 'x:c5'");
}

E2E_TEST(a_changed_configuration_wakes_who_failed)
{
    static const char another[] = "    cedar-rgn-screening:\n      connector: ats\n      job: \"1\"\n      on:\n       "
                                  " started: {stage: \"X\"}\n";
    struct kit *k = kit_open(h, NULL);

    add_failed(h);
    sql_script(h, "update atsync.connector_state set state = 'open', until = now() + interval '1 hour'");
    kit_configure(k, NULL); /* the same one */
    assert_string_equal(who_is_due(h), "nobody");
    assert_sql(h, "select state from atsync.connector_state where connector = 'ats'", "open");

    kit_configure(k, another);
    /* c1: dead of the configuration; c3: waits for its back-off; c4: likewise, but its write may be there and is looked for in time; c6: failed before it had a write.
     * Not c2, whose value the ATS does not take. c5 is in work, and is looked at again afterwards. */
    assert_string_equal(who_is_due(h), "x:c1 x:c3 x:c4 x:c6");
    assert_sql(h, "select string_agg(ref, ' ' order by ref) from atsync.candidate where version > 1",
               "x:c1 x:c3 x:c4 x:c5 x:c6");
    assert_sql(
        h,
        "select string_agg(concat_ws('|', ref, state, attempts, next_attempt_at is null), ' ' order by ref) from "
        "atsync.ats_write",
        "x:c1|pending|0|t x:c2|dead|3|t x:c3|pending|3|t x:c4|pending|3|f x:c5|pending|3|t");
    assert_sql(h, "select state from atsync.connector_state where connector = 'ats'", "ok");

    /* what the ATS or an operator said about time is about time, not about settings */
    sql_script(
        h, "update atsync.connector_state set state = 'throttled', until = now() + interval '1 hour' where connector "
           "= 'ats'; update atsync.connector_state set state = 'paused', paused_by_operator = true where connector = "
           "'spare'");
    kit_configure(k, NULL);
    assert_sql(h, "select string_agg(connector || ' ' || state, ' ' order by connector) from atsync.connector_state",
               "ats throttled spare paused");
    kit_close(k);
}

/* A crowd is worked through in parts; whose row is held is found again, and the configuration is not adopted before. */
E2E_TEST(a_crowd_that_failed_is_woken_in_parts)
{
    enum { CROWD = 2500 };
    struct kit *k = kit_open(h, NULL);
    struct db *other = db_new(h->conninfo, "psql");
    struct store_changed now = {.connector = "ats", .noticed_us = clock_wall_us()};
    int64_t found, woken, all = 0;
    struct errmsg err;

    add_candidates(h, CROWD);
    sql_script(h,
               "update atsync.candidate set attempts = 3, due_at = now() + interval '1 hour', blocked_since = now()");
    assert_done(db_script(other, "begin", "begin; update atsync.candidate set attempts = 4 where ref = 'x:c7'", &err),
                &err);
    do {
        assert_done(store_connector_changed(k->store, &now, &found, &woken, &err), &err);
        assert_in_range(woken, 0, 1000);
        all += woken;
    } while (woken > 0);
    assert_int_equal(all, CROWD - 1);
    assert_int_equal(found, 1);
    assert_done(db_script(other, "rollback", "rollback", &err), &err);
    assert_done(store_connector_changed(k->store, &now, &found, &woken, &err), &err);
    assert_int_equal(woken, 1);
    assert_done(store_connector_changed(k->store, &now, &found, &woken, &err), &err);
    assert_int_equal(found, 0);
    assert_sql(h, "select count(*) from atsync.candidate where due_at <= now() and version = 2", "2500");

    /* who fails again has its back-off, until the configuration is another one once more */
    sql_script(h, "update atsync.candidate set attempts = 1, due_at = now() + interval '1 hour' where ref = 'x:c1'");
    assert_done(store_connector_changed(k->store, &now, &found, &woken, &err), &err);
    assert_int_equal(found, 0);
    now.noticed_us++;
    assert_done(store_connector_changed(k->store, &now, &found, &woken, &err), &err);
    assert_int_equal(woken, 1);

    /* interrupted before it was adopted, it begins anew */
    struct store_changed *changed;
    size_t count = 0;

    sql_script(h, "update atsync.connector_state set mapping_hash = 'before' where connector = 'ats'");
    for (int i = 0; i < 2; i++) {
        assert_done(store_connector_register(k->store, k->config, h->arena, &changed, &count, &err), &err);
        assert_int_equal(count, 1);
        assert_string_equal(changed[0].connector, "ats");
    }
    assert_done(store_connector_adopt(k->store, "ats", changed[0].hash, &err), &err);
    assert_done(store_connector_register(k->store, k->config, h->arena, &changed, &count, &err), &err);
    assert_int_equal(count, 0);
    db_free(other);
    kit_close(k);
}

/* Who waited for a connector is due again, but not who has nothing to wait for, is in work, or is of another one. */
E2E_TEST(a_crowd_that_waited_is_woken_in_parts)
{
    enum { CROWD = 2500 };
    struct kit *k = kit_open(h, NULL);
    int64_t woken, since_us = INT64_MIN, all = 0;
    struct errmsg err;

    add_candidates(h, CROWD);
    sql_script(
        h, "update atsync.candidate set due_at = now() + interval '1 hour';"
           "update atsync.candidate set attempts = 2, blocked_since = now() - interval '2 hours' where ref < 'x:c2';"
           "update atsync.candidate set due_at = null where ref = 'x:c1';"
           "update atsync.candidate set lease_owner = 'him' where ref = 'x:c10';"
           "update atsync.candidate set connector = 'spare' where ref = 'x:c11'");
    do {
        assert_done(store_connector_wake(k->store, "ats", &since_us, &woken, &err), &err);
        assert_in_range(woken, 0, 1000);
        all += woken;
    } while (woken > 0);
    assert_int_equal(all, CROWD - 3);
    assert_sql(h,
               "select string_agg(ref, ' ' order by ref) from atsync.candidate where due_at is null or due_at > now()",
               "x:c1 x:c10 x:c11");
    assert_sql(h,
               "select bool_and(due_at = blocked_since) from atsync.candidate where attempts = 2 and due_at <= now()",
               "true");

    /* who fails again has its back-off, until it has waited for the connector once more */
    sql_script(h, "update atsync.candidate set due_at = now() + interval '1 hour' where ref = 'x:c100'");
    assert_done(store_connector_wake(k->store, "ats", &since_us, &woken, &err), &err);
    assert_int_equal(woken, 0);
    since_us = INT64_MIN;
    assert_done(store_connector_wake(k->store, "ats", &since_us, &woken, &err), &err);
    assert_int_equal(woken, 1);
    kit_close(k);
}

/* After a start with more workflows than before. */
E2E_TEST(who_has_got_a_mapping_is_looked_at_again)
{
    static const char another[] = "    another:\n      connector: ats\n      on:\n        finished: {tags: [x]}\n";
    static const char all[] = "    \"*\":\n      connector: ats\n      on:\n        finished: {tags: [x]}\n";
    struct kit *k = kit_open(h, another);
    struct errmsg err;

    assert_true(kit_put(k, popp_event(h, "run-started", NULL)));
    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", "data.workflowExternalId",
                                      "other", "data.workflowId", "wf_other", NULL)));
    (void)kit_work_connector(k, "");
    assert_sql(h, "select string_agg(distinct state, ' ') from atsync.candidate where due_at is null", "unmapped");
    assert_done(store_wake_mapped(k->store, &k->config->mapping, &err), &err);
    assert_string_equal(who_is_due(h), "nobody");
    kit_configure(k, NULL);
    assert_done(store_wake_mapped(k->store, &k->config->mapping, &err), &err);
    assert_string_equal(who_is_due(h), "x:ats_42");
    kit_configure(k, all);
    assert_done(store_wake_mapped(k->store, &k->config->mapping, &err), &err);
    assert_string_equal(who_is_due(h), "x:ats_42 x:ats_7");
    kit_close(k);
}

static const struct sql_stmt touch_stmt = {
    .name = "touch", .text = "update atsync.candidate set attempts = attempts where ref = $1", .planned_anew = true};
static const struct sql_stmt sleep_stmt = {.name = "sleep", .text = "select pg_sleep($1::int)", .planned_anew = true};
static const struct sql_stmt long_stmt = {.name = "long", .text = "select length($1)", .planned_anew = true};

static void queue_text(struct db *db, const struct sql_stmt *stmt, const char *text, enum db_shape shape)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, text);
    db_queue(db, stmt, &p, shape, NULL);
}

/* Has locked the candidate, and keeps the rest of what it sends to itself: libpq sends what is longer than 8 KB in pieces. */
static struct db *stalled_session(struct harness *h, const char *name, const struct sql_stmt *next, const char *ref)
{
    struct db *db = db_new(h->conninfo, name);
    char *text = mem_zalloc(20 * 1024);

    memset(text, 'x', 20 * 1024 - 1);
    db_queue_begin(db, DB_DURABLE);
    queue_text(db, &touch_stmt, ref, DB_COMMAND);
    if (next)
        queue_text(db, next, "600", DB_COMMAND);
    queue_text(db, &long_stmt, text, DB_COMMAND);
    mem_free(text);
    return db;
}

struct names {
    struct arena *arena;
    const char *text;
};

static void add_name(void *ctx, const char *session)
{
    struct names *n = ctx;

    n->text = arena_printf(n->arena, "%s(%s)", n->text, session);
}

/* A daemon that is stopped in the middle of a transaction loses its session, and nobody else does. */
E2E_TEST(sessions_of_stopped_daemons_are_ended)
{
    struct kit *k = kit_open(h, NULL);
    struct db *stopped, *busy, *foreign, *open;
    struct errmsg err;
    struct names ended = {.arena = h->arena, .text = ""};

    add_candidates(h, 4);
    stopped = stalled_session(h, "atsyncd two dispatcher", NULL, "x:c1");
    busy = stalled_session(h, "atsyncd three dispatcher", &sleep_stmt, "x:c2");
    foreign = stalled_session(h, "somebody", NULL, "x:c3");
    open = db_new(h->conninfo, "atsyncd four dispatcher");
    db_queue_begin(open, DB_DURABLE);
    queue_text(open, &touch_stmt, "x:c4", DB_COMMAND);
    assert_done(db_flush(open, &err), &err);
    wait_sql(h,
             "select string_agg(concat_ws(' ', application_name, state, wait_event), ', ' order by application_name) "
             "from pg_stat_activity where backend_xid is not null",
             "atsyncd four dispatcher idle in transaction ClientRead, atsyncd three dispatcher active PgSleep, "
             "atsyncd two dispatcher active ClientRead, somebody active ClientRead");

    assert_done(store_end_stalled(k->store, 3600000, add_name, &ended, &err), &err);
    assert_string_equal(ended.text, ""); /* who waits for the rest for less than an hour is left alone */
    assert_done(store_end_stalled(k->store, 0, add_name, &ended, &err), &err);
    assert_string_equal(ended.text, "(atsyncd two dispatcher)");
    sql_script(h, "set statement_timeout = '20s'; update atsync.candidate set attempts = 0 where ref = 'x:c1'");
    assert_true(db_flush(stopped, &err) != ST_OK);
    assert_sql(h, "select count(*) from pg_stat_activity where backend_xid is not null", "3");

    sql_script(h, "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'");
    db_free(stopped);
    db_free(busy);
    db_free(foreign);
    db_free(open);
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(the_longest_due_come_first),
        E2E_RUN(what_is_put_back),
        E2E_RUN(what_was_seen_lately_is_passed_over),
        E2E_RUN(who_waits_is_gone_through_once),
        E2E_RUN(a_walk_goes_on_at_its_end),
        E2E_RUN(retries_are_claimed_apart),
        E2E_RUN(what_a_claim_tells),
        E2E_RUN(what_somebody_else_holds_is_passed_over),
        E2E_RUN(two_never_get_the_same),
        E2E_RUN(an_ended_lease_passes_to_another),
        E2E_RUN(how_a_candidate_is_given_back),
        E2E_RUN(an_owner_is_a_process),
        E2E_RUN(leases_of_the_dead_are_taken_back),
        E2E_RUN(only_what_would_end_soon_is_renewed),
        E2E_RUN(the_unrouted_are_looked_at_again),
        E2E_RUN(who_began_to_wait_beside_its_identity_is_woken),
        E2E_RUN(a_changed_configuration_wakes_who_failed),
        E2E_RUN(a_crowd_that_failed_is_woken_in_parts),
        E2E_RUN(a_crowd_that_waited_is_woken_in_parts),
        E2E_RUN(who_has_got_a_mapping_is_looked_at_again),
        E2E_RUN(the_queue_is_counted),
        E2E_RUN(sessions_of_stopped_daemons_are_ended),
    };

    return e2e_main(tests);
}
