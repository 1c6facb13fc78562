/* Each class of issue opens in its own words, follows its cause, and closes when the cause is gone. */
#include <pthread.h>

#include "base/text.h"
#include "lib/storekit.h"
#include "store/issues.h"

static const struct own_problems nothing = {0};

static void note_change(void *ctx, bool opened, const char *class, const char *connector, const char *message,
                        const char *hint)
{
    struct harness *h = ctx;

    (void)connector;
    assert_true(message[0] != '\0' && hint[0] != '\0');
    sql_script(h, arena_printf(h->arena, "insert into changes values ('%s %s')", opened ? "opened" : "closed", class));
}

/* Looks, and tells what was opened and closed: "opened unmapped, closed throttled". */
static const char *refresh(struct kit *k, const struct own_problems *own)
{
    struct errmsg err;

    sql_script(k->h, "create table if not exists changes (what text); truncate changes");
    assert_done(store_issues_refresh(k->store, &k->config->mapping, own, note_change, k->h, &err), &err);
    return sql_text(k->h, "select coalesce(string_agg(what, ', ' order by what), '') from changes");
}

E2E_TEST(each_class_opens_and_closes)
{
    static const struct {
        const char *class, *cause, *gone;
        const char *words; /* severity, connector, workflow, affected, the beginning of the message */
    } cases[] = {
        {"dead_writes",
         "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, state, "
         "lease_no, workflow_external_id, error_class, error) "
         "values ('popp', 'ats', 'x:1', 'k', 1, 'field', 'f', 'v', 'h', 'r', 'dead', 1, 'w', 'not_found', 'no such "
         "candidate')",
         "update atsync.ats_write set state = 'skipped'",
         "error|ats|w|1|Writes of workflow w could not be made in the ATS by connector ats for 1 candidate: %no such "
         "candidate%"},
        {"dead_writes",
         "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, state, "
         "lease_no, workflow_external_id, error_class, error) "
         "values ('popp', 'ats', 'x:1', 'k', 1, 'stage', '182736', 'Screen', 'h', 'r', 'dead', 1, 'w', "
         "'configuration', 'there is no stage \"Screen\"; it has: \"Offer\"')",
         "update atsync.ats_write set state = 'pending'",
         "error|ats|w|1|Connector ats cannot set stage \"Screen\" for 1 candidate of workflow w: there is no stage "
         "\"Screen\"; it has: \"Offer\"."},
        {"unmapped",
         "insert into atsync.candidate (source, connector, ref, state, last_event_at) values ('popp', '', 'x:1', "
         "'unmapped', now());"
         "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, workflow_external_id, state, "
         "truncated, complete, conflict, last_event_at, nodes) "
         "values ('popp', 'r', 'x:1', '', false, true, 'w', 'running', false, false, false, now(), '[]')",
         "update atsync.candidate set state = 'synced'",
         "warning|-|w|1|Workflow w is not in the configuration; 1 candidate wait%"},
        {"identity",
         "insert into atsync.candidate (source, connector, ref, state, error_class, last_event_at) values ('popp', '', "
         "'p:1', 'waiting_for_identity', 'identity', now()), "
         "('popp', '', 'p:2', 'waiting_for_identity', 'identity', now())",
         "delete from atsync.candidate", "warning|-|-|2|The external id of 2 candidates is not known%"},
        {"identity_conflict",
         "insert into atsync.identity (source, alias, ref, external_id, origin, conflict) values ('popp', 'p:1', "
         "'x:1', '1', 'event', true), "
         "('popp', 'p:1', 'x:2', '2', 'event', true)",
         "update atsync.identity set origin = 'operator' where ref = 'x:1'",
         "error|-|-|2|Events give p:1 two different external ids%"},
        {"truncated",
         "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, workflow_external_id, state, "
         "outcome, truncated, complete, conflict, last_event_at, nodes) "
         "values ('popp', 'r', 'x:1', 'ats', false, true, 'w', 'completed', 'completed', true, false, false, now(), "
         "'[]')",
         "update atsync.run set complete = true", "warning|-|w|1|Runs of workflow w arrived cut off%"},
        {"run_conflict",
         "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, workflow_external_id, state, "
         "outcome, truncated, complete, conflict, last_event_at, nodes) "
         "values ('popp', 'r', 'x:1', 'ats', false, true, 'w', 'completed', 'completed', false, true, true, now(), "
         "'[]')",
         "update atsync.run set conflict = false", "warning|-|w|1|Runs of workflow w ended twice%"},
        {"too_large",
         "insert into atsync.candidate (source, connector, ref, state, error_class, last_error, attempts, due_at, "
         "last_event_at) select 'popp', c, 'x:1', 'retrying', 'too_large', 'more than 16MiB', 3, now() + interval '1 "
         "hour', now() from unnest(array['ats', '']) as c",
         "update atsync.candidate set error_class = null, attempts = 0",
         "error|-|-|1|The stored events of 1 candidate of source popp are too many or too large%more than 16MiB."},
        {"connector_paused",
         "update atsync.connector_state set state = 'paused', reason = 'the token is wrong' where connector = 'ats'",
         "update atsync.connector_state set state = 'ok'",
         "error|ats|-|0|the token is wrong. Connector ats is stopped; 0 candidates wait."},
        {"connector_held",
         "update atsync.connector_state set state = 'paused', paused_by_operator = true where connector = 'ats'",
         "update atsync.connector_state set state = 'ok', paused_by_operator = false",
         "info|ats|-|0|Connector ats was paused by an operator%"},
        {"throttled",
         "update atsync.connector_state set state = 'throttled', since = now() - interval '2 hours', until = now() + "
         "interval '1 minute' where connector = 'ats'",
         "update atsync.connector_state set state = 'ok'",
         "warning|ats|-|0|The ATS of connector ats has been asking us to slow down%"},
        {"ats_away",
         "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, state, "
         "lease_no, error_class, error, first_tried_at) "
         "values ('popp', 'ats', 'x:1', 'k', 1, 'field', 'f', 'v', 'h', 'r', 'pending', 1, 'unavailable', 'timeout', "
         "now() - interval '20 minutes')",
         "insert into atsync.ats_call (source, connector, ref, at, verb, method, path, outcome, duration_ms) "
         "values ('popp', 'ats', 'x:2', now(), 'fields', 'PATCH', '/', 'ok', 1)",
         "error|ats|-|1|The ATS of connector ats has not answered properly%timeout"},
        {"unseen_slug",
         "insert into atsync.workflow_version (source, workflow_id, workflow_version_id, workflow_external_id, "
         "published_at, event_id, event_time) "
         "values ('popp', 'wf', 'v2', 'cedar-rgn-screening', now(), 'e', now());"
         "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, workflow_version_id, "
         "workflow_external_id, state, outcome, truncated, complete, "
         "conflict, last_event_at, nodes) select 'popp', 'r' || i, 'x:' || i, 'ats', false, true, 'v2', "
         "'cedar-rgn-screening', 'completed', 'completed', false, true, false, "
         "now(), '[{\"outcome\":{\"answers\":[{\"slug\":\"other\"}]}}]' from generate_series(1, 5) as i",
         "update atsync.run set nodes = '[{\"outcome\":{\"answers\":[{\"slug\":\"nmc-pin\"}]}}]' where run_id = 'r1'",
         "warning|-|cedar-rgn-screening|0|The mapping of workflow cedar-rgn-screening uses the question \"nmc-pin\"%"},
    };
    struct kit *k = kit_open(h, NULL);

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        print_message("case: %s\n", cases[i].class);
        sql_script(h, "truncate atsync.ats_write, atsync.candidate, atsync.run, atsync.identity, atsync.ats_call, "
                      "atsync.workflow_version, atsync.issue");
        assert_string_equal(refresh(k, &nothing), "");
        sql_script(h, cases[i].cause);
        assert_string_equal(refresh(k, &nothing), arena_printf(h->arena, "opened %s", cases[i].class));
        assert_sql(h,
                   arena_printf(h->arena,
                                "select concat_ws('|', severity, coalesce(connector, '-'), "
                                "coalesce(workflow_external_id, '-'), affected_candidates, message) like '%s' "
                                "and hint <> '' and closed_at is null from atsync.issues where class = '%s'",
                                cases[i].words, cases[i].class),
                   "true");
        assert_string_equal(refresh(k, &nothing), "");
        sql_script(h, cases[i].gone);
        assert_string_equal(refresh(k, &nothing), arena_printf(h->arena, "closed %s", cases[i].class));
        assert_sql(h, "select concat_ws('|', count(*), count(closed_at)) from atsync.issues", "1|1");
    }
    kit_close(k);
}

E2E_TEST(an_open_issue_follows_its_cause)
{
    struct kit *k = kit_open(h, NULL);

    sql_script(h, "insert into atsync.candidate (source, connector, ref, state, error_class, last_event_at) values "
                  "('popp', '', 'p:1', 'waiting_for_identity', 'identity', now())");
    assert_string_equal(refresh(k, &nothing), "opened identity");
    sql_script(h, "update atsync.issue set first_seen = '2026-01-01Z', last_seen = '2026-01-01Z';"
                  "insert into atsync.candidate (source, connector, ref, state, error_class, last_event_at) values "
                  "('popp', '', 'p:2', 'waiting_for_identity', 'identity', now())");
    assert_string_equal(refresh(k, &nothing), "");
    assert_sql(h,
               "select concat_ws('|', affected_candidates, first_seen at time zone 'UTC', last_seen > now() - interval "
               "'1 minute') from atsync.issues",
               "2|2026-01-01 00:00:00|t");
    sql_script(h, "update atsync.candidate set state = 'synced'");
    assert_string_equal(refresh(k, &nothing), "closed identity");
    sql_script(h, "update atsync.candidate set state = 'waiting_for_identity'");
    assert_string_equal(refresh(k, &nothing), "opened identity"); /* a new one; the old one stays in the list */
    assert_sql(h, "select concat_ws('|', count(*), count(closed_at)) from atsync.issues", "2|1");
    kit_close(k);
}

/* Of two names that the ATS does not know, each is told: mending one does not hide the other. */
/* Workflows can be invented by whoever has the signing secret: so many are told, and the same ones each time; other classes are told all the same. */
E2E_TEST(a_crowd_of_one_class)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    sql_script(h,
               "create table changes (what text);"
               "insert into atsync.candidate (source, connector, ref, state, last_event_at) select 'popp', '', 'x:' || "
               "i, 'unmapped', now() from generate_series(1, 1500) as i;"
               "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, workflow_external_id, "
               "state, truncated, complete, conflict, last_event_at, nodes) select 'popp', 'r' || i, 'x:' || i, '', "
               "false, true, 'w' || i, 'running', false, false, false, now(), '[]' from generate_series(1, 1500) as i;"
               "update atsync.run set conflict = true where run_id = 'r1'");
    for (int i = 0; i < 2; i++) {
        assert_done(store_issues_refresh(k->store, &k->config->mapping, &nothing, note_change, h, &err), &err);
        assert_sql(h,
                   "select string_agg(what || ' ' || n, ', ' order by what) from (select what, count(*) as n from "
                   "changes group by what) c",
                   "opened run_conflict 1, opened unmapped 500");
        assert_sql(h, "select count(*) from atsync.issues where closed_at is null", "501");
    }
    kit_close(k);
}

E2E_TEST(each_name_that_the_ats_does_not_know)
{
    struct kit *k = kit_open(h, NULL);

    sql_script(
        h, "insert into atsync.ats_write (source, connector, ref, key, rev, kind, target, value, hash, reason, "
           "state, lease_no, workflow_external_id, error_class, error) "
           "select 'popp', 'ats', 'x:' || i, v.kind || v.target || v.value, 1, v.kind, v.target, v.value, 'h', 'r', "
           "'dead', 1, 'w', 'configuration', 'there is no such ' || v.kind "
           "from generate_series(1, 3) as i cross join lateral (values ('field', 'nmc_pin', i::text), ('field', "
           "'dbs', 'yes'), ('stage', '182736', 'Screen'), ('reject', '182736', 'Too late'), ('tag', 'passed', ''), "
           "('note', 'run_' || i || '/finished', 'Screening …')) as v (kind, target, value)");
    assert_string_equal(refresh(k, &nothing), "opened dead_writes, opened dead_writes, opened dead_writes, opened "
                                              "dead_writes, opened dead_writes, opened dead_writes");
    assert_sql(
        h,
        "select string_agg(message, ' ' order by message) from atsync.issues where connector = 'ats' and "
        "affected_candidates = 3 and hint like '%workflows.w %connectors.ats%reload%'",
        "Connector ats cannot add tag \"passed\" for 3 candidates of workflow w: there is no such tag. "
        "Connector ats cannot reject with the reason \"Too late\" for 3 candidates of workflow w: there is no such "
        "reject. Connector ats cannot set stage \"Screen\" for 3 candidates of workflow w: there is no such stage. "
        "Connector ats cannot write field \"dbs\" for 3 candidates of workflow w: there is no such field. "
        "Connector ats cannot write field \"nmc_pin\" for 3 candidates of workflow w: there is no such field. "
        "Connector ats cannot write the note for 3 candidates of workflow w: there is no such note.");
    sql_script(h, "update atsync.ats_write set state = 'applied' where target = 'dbs'");
    assert_string_equal(refresh(k, &nothing), "closed dead_writes");
    kit_close(k);
}

/* What the vendor's product is called and where its keys are made comes from whoever stopped the connector. */
E2E_TEST(a_stopped_connector_has_a_hint_of_its_own)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    assert_done(store_connector_pause(k->store, "ats", "Lever rejected the credentials of connector ats",
                                      "Make a new key.", "hash", &err),
                &err);
    assert_string_equal(refresh(k, &nothing), "opened connector_paused");
    assert_sql(
        h, "select message || '|' || hint from atsync.issues",
        "Lever rejected the credentials of connector ats. Connector ats is stopped; 0 candidates wait.|Make a new "
        "key.");
    assert_done(store_connector_ok(k->store, "ats", &err), &err);
    assert_string_equal(refresh(k, &nothing), "closed connector_paused");
    assert_sql(h, "select hint from atsync.connector_state where connector = 'ats'", NULL);
    kit_close(k);
}

static void count_class(void *ctx, const char *class, const char *severity, int64_t count)
{
    struct harness *h = ctx;

    sql_script(h,
               arena_printf(h->arena, "insert into changes values ('%s %s %s')", class, severity, num_text(count).s));
}

E2E_TEST(what_only_this_process_sees)
{
    static const struct problem problems[] = {{.class = "signatures", .source = "popp", .affected = 0},
                                              {.class = "signatures", .source = "other", .affected = 0}};
    struct kit *k = kit_open(h, NULL);
    struct own_problems own = {.items = problems, .count = 2};
    struct errmsg err;

    own.hold_ms = 3600000;
    assert_string_equal(refresh(k, &own), "opened signatures, opened signatures");
    sql_script(h, "truncate changes");
    assert_done(store_issues_open(k->store, count_class, h, &err), &err);
    assert_sql(h, "select string_agg(what, ', ') from changes", "signatures error 2");
    own.count = 1;
    sql_script(h, "update atsync.issue set hold_until = now() - interval '1 millisecond'");
    assert_string_equal(refresh(k, &own), "closed signatures");
    assert_sql(h, "select string_agg(source, ' ') from atsync.issues where closed_at is null", "popp");
    kit_close(k);
}

/* Of several daemons one sees it: the others, who do not, must not close it, and it closes when nobody tells it any more. */
E2E_TEST(what_one_daemon_sees_is_not_closed_by_another)
{
    static const struct problem problems[] = {{.class = "clock_skew", .detail = "one", .ahead_ms = -7456},
                                              {.class = "clock_skew", .source = "popp", .ahead_ms = 720000}};
    struct kit *k = kit_open(h, NULL);
    struct own_problems one = {.items = problems, .count = 2, .hold_ms = 3600000};

    assert_string_equal(refresh(k, &one), "opened clock_skew, opened clock_skew");
    assert_sql(
        h,
        "select string_agg(concat_ws('|', severity, coalesce(source, '-'), message), ' ' order by severity) from "
        "atsync.issues where hint like '%NTP%'",
        "error|popp|Webhooks of source popp are refused: their signature is right, but the sender's clock is 12 "
        "minutes ahead of this machine's, which is more than the tolerance. "
        "warning|-|The clock of the database is 7.5 seconds behind the clock of the machine that runs daemon one.");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(refresh(k, &nothing), ""); /* the other daemon */
        assert_string_equal(refresh(k, &one), "");
    }
    one.count = 1;
    assert_string_equal(refresh(k, &one), "");
    sql_script(h, "update atsync.issue set hold_until = now() - interval '1 millisecond' where source = 'popp'");
    assert_string_equal(refresh(k, &one), "closed clock_skew");
    sql_script(h, "update atsync.issue set hold_until = now() - interval '1 millisecond'");
    assert_string_equal(refresh(k, &one), ""); /* told again */
    sql_script(h, "update atsync.issue set hold_until = now() - interval '1 millisecond'");
    assert_string_equal(refresh(k, &nothing), "closed clock_skew"); /* its daemon is gone */
    kit_close(k);
}

/* ---- two overseers */

struct overseer {
    struct kit *kit;
    struct store *store;
    int status;
    unsigned opened;
    struct errmsg err;
};

static void count_change(void *ctx, bool opened, const char *class, const char *connector, const char *message,
                         const char *hint)
{
    struct overseer *o = ctx;

    (void)class;
    (void)connector;
    (void)message;
    (void)hint;
    o->opened += opened;
}

static void *oversee(void *arg)
{
    struct overseer *o = arg;

    for (int i = 0; i < 50 && o->status == ST_OK; i++) {
        o->status = store_issues_refresh(o->store, &o->kit->config->mapping, &nothing, count_change, o, &o->err);
    }
    return NULL;
}

E2E_TEST(two_at_once_open_one_issue)
{
    struct kit *k = kit_open(h, NULL);
    struct overseer o[2] = {{.kit = k, .store = kit_store(k, "one")}, {.kit = k, .store = kit_store(k, "two")}};
    pthread_t threads[2];

    sql_script(h, "insert into atsync.candidate (source, connector, ref, state, error_class, last_event_at) values "
                  "('popp', '', 'p:1', 'waiting_for_identity', 'identity', now())");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, oversee, &o[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_done(o[i].status, &o[i].err);
        store_free(o[i].store);
    }
    assert_int_equal(o[0].opened + o[1].opened, 1);
    assert_sql(h, "select concat_ws('|', count(*), count(closed_at)) from atsync.issues", "1|0");
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(each_class_opens_and_closes),          E2E_RUN(an_open_issue_follows_its_cause),
        E2E_RUN(each_name_that_the_ats_does_not_know), E2E_RUN(a_stopped_connector_has_a_hint_of_its_own),
        E2E_RUN(what_only_this_process_sees),          E2E_RUN(what_one_daemon_sees_is_not_closed_by_another),
        E2E_RUN(two_at_once_open_one_issue),           E2E_RUN(a_crowd_of_one_class),
    };

    return e2e_main(tests);
}
