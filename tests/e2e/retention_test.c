/*
 * Retention in the running daemon: what is over age goes after a reload, and nothing else happens because of it; and many old events
 * (RETENTION_EVENTS, 20,000; `make check-retention` takes a million) go while others are received and delivered.
 *
 * How long it took is printed and decides nothing.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/ctlkit.h"
#include "lib/db.h"
#include "lib/harness.h"
#include "lib/storekit.h"

#define WORKFLOW                                                                                                       \
    "cedar-rgn-screening:\n"                                                                                           \
    "  connector: sandbox\n"                                                                                           \
    "  job: \"" E2E_JOB "\"\n"                                                                                         \
    "  on:\n"                                                                                                          \
    "    finished: {note: summary}\n"
#define FORGOTTEN "msg=\"what is over age was forgotten\""

enum {
    EVENTS_DEFAULT = 20000,
    EVENTS_MAX = 100000000,
    EVENTS_EACH = 5, /* of one run; every candidate has one */
    /* of a hundred candidates the first so many have something that must stay */
    CASES = 100,
    UNDONE = 0, /* the run has not ended */
    DEAD = 1,   /* a write could not be made */
    WAITING = 2,
    YOUNG = 3,
    STAY = 4,
    SENDERS = 8,
    LOOK_ROUNDS = 50,
};

/* ---- a single candidate */

static const char *metrics(struct harness *h, const struct program *d)
{
    struct http_answer a = http_call(h, d->admin_port, "GET", "/metrics", NULL, NULL, 0);

    assert_int_equal(a.status, 200);
    return a.body;
}

static void reload(struct harness *h, struct program *d, const char *retention)
{
    daemon_rewrite_conf(h, d, &(struct daemon_conf){.top = arena_printf(h->arena, "retention: {%s}\n", retention)});
    assert_int_equal(kill(d->pid, SIGHUP), 0);
}

static void assert_answer(struct harness *h, const struct program *d, const char *body, const char *status)
{
    struct http_answer a = popp_post(h, d, body);

    assert_int_equal(a.status, 200);
    assert_string_equal(json_get_str(json_of(h, a.body), "status"), status);
}

E2E_TEST(old_content_goes_after_a_reload_and_nothing_is_written)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.top = "retention: {events: 600d}\n"});
    const char *completed = popp_event(h, "run-completed", "candidate", "ats_1", "run", "run_1", NULL);
    int64_t requests;

    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_1", "run", "run_1", NULL));
    popp_deliver(h, d, completed);
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_2", "run", "run_2", NULL));
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", "2");
    sql_script(h, "update atsync.event set received_at = now() - interval '500 days', event_time = now() - interval "
                  "'500 days' where external_id = 'ats_1'");
    requests = ats_figure(h, "requests");

    reload(h, d, "events: 30d"); /* and ids at least as long */
    wait_sql(h, "select count(*) from atsync.event where body is not null", "1");
    assert_sql(h, "select string_agg(candidate_external_id, ' ') from atsync.runs", "ats_2");
    assert_sql(h, "select count(*) from atsync.ats_write where ref = 'x:ats_1'", "0");
    wait_sql(h, "select count(*) from atsync.event where body is null", "2");
    assert_true(text_has(metrics(h, d), "\natsyncd_forgotten_total{what=\"events\"} 2\n"));
    assert_true(text_has(metrics(h, d), "\natsyncd_forgotten_total{what=\"runs\"} 1\n"));
    wait_log(h, d, FORGOTTEN " events=2 runs=1 writes=");

    /* sent again it is known; what comes late of this run, and a run from before, are stored; all worked out again, nothing is to be done */
    assert_answer(h, d, completed, "duplicate");
    assert_answer(h, d, popp_event(h, "run-cancelled", "candidate", "ats_1", "run", "run_1", NULL), "stored");
    assert_answer(h, d,
                  popp_event(h, "run-completed", "candidate", "ats_1", "run", "run_0", "shift", "-63072000", NULL),
                  "stored");
    assert_has(CTL(h, d, 0, "-c", d->conf_path, "resync", "--candidate", "ats_1", "--yes"), "1");
    wait_sql(h, "select count(*) from atsync.candidate where due_at is not null", "0");
    assert_int_equal(ats_figure(h, "requests"), requests);
    assert_has(CTL(h, d, 0, "-c", d->conf_path, "plan", "--candidate", "ats_1"), "nothing to write");
    assert_sql(h, "select string_agg(run_id, ' ' order by run_id) from atsync.runs", "run_0 run_2");
    daemon_stop(h, d);
}

/* ---- many, while others arrive */

/*
 * n() events of n() / 5 candidates, received between 480 and 410 days ago and worked off, but for the cases. A candidate has a run that has ended, three
 * fields and a note.
 */
static const char generator[] =
    "insert into atsync.event (source, event_id, type, subject, external_id, profile_id, run_id, workflow_id, "
    "workflow_external_id, event_time, received_at, body) "
    "select 'popp', 'old-' || i, t.type, 'x:c' || c, 'c' || c, 'cp_' || c, 'old_' || c, 'wf', 'cedar-rgn-screening', "
    "t.at, t.at, "
    "convert_to(format('{\"event\":\"%s\",\"eventId\":\"old-%s\",\"data\":{\"recordId\":\"old_%s\","
    "\"workflowExternalId\":"
    "\"cedar-rgn-screening\",\"candidateProfileExternalId\":\"c%s\",\"outcome\":\"completed\",\"nodes\":[],"
    "\"text\":\"%s\"}}', t.type, i, c, c, repeat(md5(i::text), 20)), 'UTF8') "
    "from generate_series(0, n() - 1) as i "
    "cross join lateral (select i / 5 as c) r "
    "cross join lateral (select case when i % 5 = 0 then 'WORKFLOW_RUN_STARTED' when i % 5 < 4 or c % 100 = 0 then "
    "'WORKFLOW_NODE_COMPLETED' else 'WORKFLOW_RUN_COMPLETED' end as type, now() - case when c % 100 = 3 then interval "
    "'390 days' else interval '480 days' - i * (interval '70 days' / n()) end as at) t;"
    "insert into atsync.candidate (source, connector, ref, external_id, workflow_external_id, state, due_at, attempts, "
    "version, synced_version, last_event_at) "
    "select 'popp', 'sandbox', 'x:c' || c, 'c' || c, 'cedar-rgn-screening', case when c % 100 = 1 then 'dead' else "
    "'synced' end, case when c % 100 = 2 then now() + interval '1 day' end, case when c % 100 = 2 then 1 else 0 end, "
    "5, 5, now() - interval '410 days' from generate_series(0, n() / 5 - 1) c;"
    "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, workflow_external_id, job, "
    "external_id, state, outcome, truncated, complete, conflict, last_event_at, nodes) "
    "select 'popp', 'old_' || c, 'x:c' || c, 'sandbox', false, true, 'cedar-rgn-screening', '1', 'c' || c, "
    "case when c % 100 = 0 then 'running' else 'completed' end, case when c % 100 = 0 then null else 'completed' end, "
    "false, true, false, now() - interval '410 days', '[]' from generate_series(0, n() / 5 - 1) c;"
    "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, job, run_id, "
    "workflow_external_id, reason, state, lease_no, applied_at) "
    "select 'popp', 'sandbox', 'x:c' || i / 4, case when i % 4 = 0 then 'note/old_' || i / 4 || '/completed' else "
    "'field/f' || i % 4 end, 1, case when i % 4 = 0 then 'note' else 'field' end, 't', 'v', 'h', '1', 'old_' || i / 4, "
    "'cedar-rgn-screening', 'finished', case when i % 4 = 1 and (i / 4) % 100 = 1 then 'dead' else 'applied' end, 1, "
    "now() from generate_series(0, n() / 5 * 4 - 1) i;"
    "insert into atsync.identity (source, alias, ref, external_id, origin) select 'popp', 'p:cp_' || c, 'x:c' || c, "
    "'c' || c, 'event' from generate_series(0, n() / 5 - 1) c;"
    "analyze atsync.event; analyze atsync.candidate; analyze atsync.run; analyze atsync.ats_write; analyze "
    "atsync.identity;";

/* Of the candidates' numbers, where c stands for one. */
#define MUST_STAY "substr(external_id, 2)::int % 100 < 4"

static int64_t number_of_events(void)
{
    const char *text = getenv("RETENTION_EVENTS");
    int64_t n = EVENTS_DEFAULT;

    if (text && *text && !text_to_i64(text, EVENTS_EACH * CASES, EVENTS_MAX, &n)) {
        fail_msg("RETENTION_EVENTS must be a number from %d to %d", EVENTS_EACH * CASES, EVENTS_MAX);
    }
    return n / (EVENTS_EACH * CASES) * (EVENTS_EACH * CASES);
}

static void fill(struct harness *h, int64_t events)
{
    struct db *db = db_new(h->conninfo, "generator");
    struct errmsg err;

    db_set_timeout(db, 3600 * 1000);
    assert_done(db_script(db, "how many",
                          arena_printf(h->arena,
                                       "set synchronous_commit = off; create function n() returns int immutable "
                                       "language sql as 'select %s'",
                                       num_text(events).s),
                          &err),
                &err);
    assert_done(db_script(db, "generator", generator, &err), &err);
    db_free(db);
}

struct traffic {
    struct harness *h;
    struct program *d;
    int fds[SENDERS];
    int64_t old_candidates;
    int64_t old_events;
    int64_t fresh, again; /* sent */
    int64_t longest_ms;
};

/* A new run, of somebody with a past now and then, or of somebody new. */
static char *fresh_event(int64_t n, int64_t old_candidates)
{
    int64_t c = n * 7919 % old_candidates;
    bool has_past = n % 16 == 1 && c % CASES >= STAY;

    return mem_printf("{\"event\":\"WORKFLOW_RUN_COMPLETED\",\"eventId\":\"new-%s\",\"data\":{\"recordId\":\"new_%s\","
                      "\"workflowExternalId\":\"cedar-rgn-screening\",\"candidateProfileExternalId\":\"%s%s\","
                      "\"outcome\":\"completed\",\"nodes\":[]}}",
                      num_text(n).s, num_text(n).s, has_past ? "c" : "new", num_text(has_past ? c : n).s);
}

/* One that was received long ago, whether it has been forgotten by now or not. Only its id is looked at. */
static char *old_event(int64_t n, int64_t old_events)
{
    return mem_printf("{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"old-%s\",\"data\":{\"recordId\":\"again\","
                      "\"workflowExternalId\":\"cedar-rgn-screening\",\"candidateProfileExternalId\":\"again\"}}",
                      num_text(n * 7919 % old_events).s);
}

static void send_event(struct harness *h, int fd, const char *body)
{
    char *signature = popp_signature(E2E_SECRET, body, strlen(body));
    char *request = mem_printf("POST /webhooks/popp HTTP/1.1\r\nHost: atsyncd\r\nContent-Type: application/json\r\n"
                               "x-signature: %s\r\nContent-Length: %zu\r\n\r\n%s",
                               signature, strlen(body), body);

    http_write(h, fd, request, strlen(request));
    mem_free(request);
    mem_free(signature);
}

/* Over all connections at once; the first one sends what was received before. */
static void send_round(struct traffic *t)
{
    int64_t began_ms = clock_mono_ms();
    int64_t ms;

    for (int i = 0; i < SENDERS; i++) {
        char *body = i == 0 ? old_event(t->again++, t->old_events) : fresh_event(t->fresh++, t->old_candidates);

        send_event(t->h, t->fds[i], body);
        mem_free(body);
    }
    for (int i = 0; i < SENDERS; i++) {
        struct http_answer a = http_read(t->h, t->fds[i]);

        if (a.status != 200 || !text_has(a.body, i == 0 ? "\"duplicate\"" : "\"stored\"")) {
            fail_msg("answered with %d and %s", a.status, a.body);
        }
    }
    ms = clock_mono_ms() - began_ms;
    t->longest_ms = ms > t->longest_ms ? ms : t->longest_ms;
}

static const char *forgotten_line(struct harness *h, int64_t events)
{
    return arena_printf(h->arena, "\natsyncd_forgotten_total{what=\"events\"} %s\n", num_text(events).s);
}

static bool has_forgotten(struct traffic *t)
{
    return text_has(metrics(t->h, t->d), forgotten_line(t->h, t->old_events / CASES * (CASES - STAY)));
}

/* What is over age and must stay is looked at on the way: that takes longer the more there is. */
static void wait_forgotten(struct traffic *t)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS * (1 + t->old_events / EVENTS_DEFAULT);

    while (!has_forgotten(t)) {
        if (clock_mono_ms() > until_ms) {
            fail_msg("not all that is over age has been forgotten");
        }
        (void)poll(NULL, 0, POLL_MS);
    }
}

static bool is_worked_off(struct harness *h, void *arg)
{
    struct traffic *t = arg;

    /* the waiting ones among the old were due later from the beginning */
    return text_eq(sql_text(h, "select count(*) from atsync.candidate where due_at is not null"),
                   num_text(t->old_candidates / CASES).s);
}

static void check_the_end(struct traffic *t)
{
    struct harness *h = t->h;
    const char *fresh = arena_strdup(h->arena, num_text(t->fresh).s);
    int64_t staying = t->old_candidates / CASES * STAY;

    /* what is new: there, worked on, written once */
    assert_sql(h, "select count(*) from atsync.event where event_id like 'new-%' and body is not null", fresh);
    assert_sql(h, "select count(*) from atsync.run where run_id like 'new%'", fresh);
    assert_sql(h,
               "select count(*) from atsync.ats_write where kind = 'note' and state = 'applied' and run_id like 'new%'",
               fresh);
    assert_int_equal(ats_figure(h, "requests"), t->fresh);
    assert_int_equal(ats_figure(h, "repeated_keys"), 0);
    /* what must stay */
    assert_sql(h, "select count(*) from atsync.event where event_id like 'old-%' and body is not null and " MUST_STAY,
               num_text(staying * EVENTS_EACH).s);
    assert_sql(h, "select count(*) from atsync.run where run_id like 'old%' and " MUST_STAY, num_text(staying).s);
    assert_sql(h,
               "select count(*) from atsync.ats_write where run_id like 'old%' and value <> '' and "
               "substr(ref, 4)::int % 100 < 4",
               num_text(staying * 4).s);
    /* what must go: all but the ids */
    assert_sql(h, "select count(*) from atsync.event where event_id like 'old-%'", num_text(t->old_events).s);
    assert_sql(h,
               "select count(*) from atsync.event where event_id like 'old-%' and body is not null and not " MUST_STAY,
               "0");
    assert_sql(
        h,
        "select count(*) from atsync.event where body is null and (external_id is not null or profile_id is not null)",
        "0");
    assert_sql(h, "select count(*) from atsync.run where run_id like 'old%' and not " MUST_STAY, "0");
    assert_sql(h,
               "select count(*) from atsync.ats_write where run_id like 'old%' and value <> '' and "
               "substr(ref, 4)::int % 100 >= 4",
               "0");
    assert_sql(h, "select count(*) from atsync.event where external_id = 'again'", "0");
}

E2E_TEST(many_go_while_others_arrive)
{
    struct traffic t = {.h = h, .old_events = number_of_events()};
    struct daemon_conf conf = {.workflows = WORKFLOW,
                               .connector = "rate_limit: 100000/1s\nconcurrency: 16\ntimeout: 5s\n"
                                            "allow_private_addresses: true\n" E2E_RETRY};
    int64_t began_ms;

    t.old_candidates = t.old_events / EVENTS_EACH;
    t.d = daemon_start(h, &conf);
    daemon_stop(h, t.d);
    fill(h, t.old_events);
    began_ms = clock_mono_ms();
    daemon_start_again(h, t.d); /* and begins at once */
    for (int i = 0; i < SENDERS; i++) {
        t.fds[i] = http_open(h, t.d->port);
    }
    do {
        for (int i = 0; i < LOOK_ROUNDS; i++) {
            send_round(&t);
            (void)poll(NULL, 0, POLL_MS); /* not as much as the machine can take: forgetting is looked at */
        }
    } while (!text_has(program_log(h, t.d), FORGOTTEN));
    print_message("%s old events gone in %s ms; meanwhile %s received, the longest answer to %d at once took %s ms\n",
                  num_text(t.old_events).s, num_text(clock_mono_ms() - began_ms).s, num_text(t.fresh).s, SENDERS,
                  num_text(t.longest_ms).s);
    wait_until(h, is_worked_off, &t, "what was received is worked off");
    /* who was in work when the turn came is left for the next time, which a reload brings about */
    assert_int_equal(kill(t.d->pid, SIGHUP), 0);
    wait_forgotten(&t);
    send_round(&t); /* and still a duplicate */
    wait_until(h, is_worked_off, &t, "the last ones are worked off");
    check_the_end(&t);
    for (int i = 0; i < SENDERS; i++) {
        (void)close(t.fds[i]);
    }
    daemon_stop(h, t.d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(old_content_goes_after_a_reload_and_nothing_is_written),
        E2E_RUN(many_go_while_others_arrive),
    };

    return e2e_main(tests);
}
