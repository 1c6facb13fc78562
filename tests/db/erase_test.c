/* Erasing a person: that nothing is left of one and all of the others, whoever else is at work, and that what comes later is not kept. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/text.h"
#include "domain/event.h"
#include "lib/db.h"
#include "lib/storekit.h"
#include "store/erase.h"
#include "store/issues.h"
#include "store/operate.h"
#include "sql.h"

/* Whatever any table holds: rows in which a text stands, "event 3, run 1"; null if there is none. */
static const char whole_database[] =
    "create function rows_with(needle text) returns text language plpgsql as $$\n"
    "declare t record; n bigint; found text;\n"
    "begin\n"
    "    for t in select c.relname from pg_class c where c.relnamespace = 'atsync'::regnamespace and c.relkind = 'r' "
    "order by 1 loop\n"
    "        execute format('select count(*) from atsync.%I as x where position(lower($1) in lower(x::text)) > 0', "
    "t.relname) into n using needle;\n"
    "        if t.relname = 'event' then\n"
    "            select count(*) into n from atsync.event e where position(lower(needle) in lower(e::text)) > 0 or "
    "position(convert_to(needle, 'UTF8') in e.body) > 0;\n"
    "        end if;\n"
    "        if n > 0 then found := concat_ws(', ', found, t.relname || ' ' || n); end if;\n"
    "    end loop;\n"
    "    return found;\n"
    "end $$;\n"
    "create function digest_of(needle text) returns text language plpgsql as $$\n"
    "declare t record; d text; all_of text := '';\n"
    "begin\n"
    "    for t in select c.relname from pg_class c where c.relnamespace = 'atsync'::regnamespace and c.relkind = 'r' "
    "order by 1 loop\n"
    "        execute format('select md5(string_agg(x::text, ''|'' order by x::text)) from atsync.%I as x where "
    "position($1 in x::text) > 0', t.relname) into d using needle;\n"
    "        all_of := all_of || t.relname || coalesce(d, '-');\n"
    "    end loop;\n"
    "    return md5(all_of);\n"
    "end $$";

static struct kit *open_kit(struct harness *h)
{
    struct kit *k = kit_open(h, NULL);

    sql_script(h, whole_database);
    return k;
}

static void assert_nothing_of(struct harness *h, const char *text)
{
    const char *found = sql_text(h, arena_printf(h->arena, "select rows_with($a$%s$a$)", text));

    if (found) {
        fail_msg("\"%s\" is still in %s", text, found);
    }
}

static void assert_something_of(struct harness *h, const char *text)
{
    if (!sql_text(h, arena_printf(h->arena, "select rows_with($a$%s$a$)", text))) {
        fail_msg("\"%s\" is nowhere", text);
    }
}

static struct erase_person candidate(struct harness *h, const char *external_id)
{
    return (struct erase_person){
        .source = "popp", .ref = subject_key('x', external_id, h->arena), .external_id = external_id};
}

static struct erasure erase(struct kit *k, const struct erase_person *who, bool preview)
{
    struct erasure e;
    struct errmsg err;

    assert_done(store_erase(k->store, who, preview, NULL, NULL, k->h->arena, &e, &err), &err);
    return e;
}

static struct erasure erase_candidate(struct kit *k, const char *external_id)
{
    struct erase_person who = candidate(k->h, external_id);

    return erase(k, &who, false);
}

static const char *text_of(struct harness *h, const char *fmt, const char *name)
{
    struct buf b;
    const char *text;

    buf_init(&b, 1 << 16);
    for (; *fmt; fmt++) {
        if (*fmt == '@') {
            buf_puts(&b, name);
        } else {
            buf_putc(&b, *fmt);
        }
    }
    text = arena_strdup(h->arena, buf_text(&b));
    buf_free(&b);
    return text;
}

/* As the receiver stores an event of another family: under nobody's name. */
static struct ingest_event nobodys(const char *id, const char *body)
{
    return (struct ingest_event){.source = "popp",
                                 .event_id = id,
                                 .type = "CONVERSATION_COMPLETED",
                                 .subject = "",
                                 .time_us = INT64_C(1777372500000000),
                                 .body = body,
                                 .body_len = strlen(body)};
}

static void ingest(struct kit *k, struct ingest_event *e)
{
    struct errmsg err;

    assert_done(store_ingest(k->store, e, 1, &err), &err);
    assert_done(store_erase_told(k->store, e, 1, &err), &err);
}

static void refuse_by_name(const struct ledger_item *item, struct record_result *res)
{
    if (item->wish->kind == WRITE_STAGE) {
        res->verdict = (struct verdict){.state = WRITE_DEAD, .error_class = "not_found"};
        res->http_status = 404;
        res->error = text_starts(item->wish->run->run_id, "run_7") ? "Unknown on this job: Roe, Jane (ref jr8841)."
                                                                   : "There is no such job.";
    }
}

static void ignore_issue(void *ctx, bool opened, const char *class, const char *connector, const char *message,
                         const char *hint)
{
    (void)ctx, (void)opened, (void)class, (void)connector, (void)message, (void)hint;
}

static void refresh_issues(struct kit *k)
{
    const struct own_problems own = {.count = 0};
    struct errmsg err;

    assert_done(store_issues_refresh(k->store, &k->config->mapping, &own, ignore_issue, NULL, &err), &err);
}

/* One of everything that can be stored of somebody called ats_7, with run_7, cp_ats_7, conv_7, jane.7@example.org, +4477009007. */
static void put_person(struct kit *k, const char *number)
{
    struct harness *h = k->h;
    const char *name = text_of(h, "ats_@", number);
    const char *run = text_of(h, "run_@", number);
    const char *mail = arena_printf(h->arena, "Jane.%s@example.org", number);
    struct ingest_event e;

    assert_true(kit_put(k, popp_event(h, "contact-resolved", "candidate", name, "run", run, "data.email", mail,
                                      "data.phoneNumber", text_of(h, "+447700900@", number), NULL)));
    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", name, "run", run, NULL)));
    assert_true(kit_put(k, popp_event(h, "node-completed", "candidate", name, "run", run, NULL)));
    /* only the profile is told, and only the run */
    assert_true(kit_put(k, popp_event(h, "node-completed", "candidate", name, "run", text_of(h, "run_@_b", number),
                                      "data.candidateProfileExternalId", POPP_ABSENT, NULL)));
    assert_true(kit_put(k, popp_event(h, "node-completed", "run", run, "data.candidateProfileExternalId", POPP_ABSENT,
                                      "data.candidateProfileId", POPP_ABSENT, "data.routingEvent",
                                      text_of(h, "said_only_by_@", number), NULL)));
    assert_true(
        kit_put(k, popp_event(h, "run-completed", "candidate", name, "run", run, "data.nodes.0.outcome.conversationId",
                              text_of(h, "conv_@", number), "data.nodes.0.outcome.answers.0.answer",
                              text_of(h, "My PIN is number @ and secret", number), NULL)));
    assert_true(kit_put(k, popp_event(h, "contact-resolution-failed", "candidate", name, "data.recordId",
                                      text_of(h, "dedup_@", number), "data.email", mail, NULL)));
    /* whom the address alone tells */
    assert_true(kit_put(k, popp_event(h, "contact-resolution-failed", "data.externalId", POPP_ABSENT, "data.recordId",
                                      text_of(h, "dedup_@_b", number), "data.email", mail, NULL)));
    assert_true(kit_put(k, popp_event(h, "contact-resolution-skipped", "candidate", name, "run", run, NULL)));
    e = nobodys(text_of(h, "evt_talk_@", number),
                arena_printf(h->arena,
                             "{\"event\":\"CONVERSATION_COMPLETED\",\"data\":{\"recordId\":\"conv_%s\",\"text\":\"talk "
                             "of %s\"}}",
                             number, number));
    ingest(k, &e);
    e = nobodys(text_of(h, "evt_mail_@", number),
                arena_printf(h->arena,
                             "{\"event\":\"CALENDAR_MEETING_SCHEDULED\",\"data\":{\"recordId\":\"b\",\"to\":[{\"mail\":"
                             "\"%s\"}]}}",
                             mail));
    ingest(k, &e);
    e = nobodys(text_of(h, "evt_column_@", number), "{\"event\":\"OTHER\",\"data\":{}}");
    e.profile_id = text_of(h, "cp_ats_@", number);
    ingest(k, &e);
}

static void settle(struct kit *k)
{
    (void)kit_work(k);
    kit_resync(k);
    (void)kit_work(k);
    refresh_issues(k);
}

E2E_TEST(nothing_is_left_of_one_and_all_of_the_others)
{
    static const char *const traces[] = {"ats_7",
                                         "run_7",
                                         "cp_ats_7",
                                         "jane.7@example.org",
                                         "+4477009007",
                                         "dedup_7",
                                         "number 7 and secret",
                                         "conv_7",
                                         "talk of 7",
                                         "evt_talk_7",
                                         "evt_mail_7",
                                         "evt_column_7",
                                         "said_only_by_7",
                                         "Roe, Jane",
                                         "jr8841"};
    struct kit *k = open_kit(h);
    struct erase_person who = candidate(h, "ats_7");
    struct ingest_event e;
    struct erasure seen, done;
    const char *whole, *others;

    k->answer = refuse_by_name;
    put_person(k, "7");
    put_person(k, "8");
    /* texts that are equal to an external id by chance, and events of nobody at all */
    e = nobodys("evt_chance", "{\"event\":\"X\",\"data\":{\"recordId\":\"z\",\"answer\":\"ats_7\"}}");
    ingest(k, &e);
    sql_script(h, "update atsync.event set body = convert_to(replace(convert_from(body, 'UTF8'), 'ats_7', 'ats_9'), "
                  "'UTF8') where event_id = 'evt_chance'");
    settle(k);
    for (size_t i = 0; i < ATS_COUNT(traces); i++) {
        assert_something_of(h, traces[i]);
    }
    assert_sql(h, "select count(*) > 0 from atsync.issue where message like '%Roe, Jane%'", "true");
    sql_script(h, "create table ids as select event_id from atsync.event where subject in ('x:ats_7', 'p:cp_ats_7', "
                  "'r:run_7', 'c:dedup_7_b')");
    assert_sql(h, "select count(*) from ids", "9");
    whole = sql_text(h, "select digest_of('')");
    others = sql_text(h, "select digest_of('ats_8')");

    seen = erase(k, &who, true);
    assert_string_equal(sql_text(h, "select digest_of('')"), whole); /* looking changes nothing */
    assert_int_equal(seen.erased_us, INT64_MIN);
    assert_int_equal(seen.shared_count, 0);
    done = erase(k, &who, false);
    for (int i = 0; i < ERASE_TABLES; i++) {
        print_message("%s: %d\n", erase_table_name((enum erase_table)i), (int)done.rows[i]);
        assert_int_equal(done.rows[i], seen.rows[i]);
        assert_true(done.rows[i] > 0);
    }
    assert_int_equal(done.rows[ERASE_EVENT], 12);
    assert_int_equal(done.total, seen.total);

    for (size_t i = 0; i < ATS_COUNT(traces); i++) {
        assert_nothing_of(h, traces[i]);
    }
    assert_sql(h,
               "select count(*) from ids where event_id in (select event_id from atsync.event union select event_id "
               "from atsync.ats_write union select event_id from atsync.contact_resolution)",
               "0");
    assert_string_equal(sql_text(h, "select digest_of('ats_8')"), others);
    assert_sql(h, "select count(*) from atsync.event where event_id = 'evt_chance'", "1");
    assert_sql(h, "select concat_ws('|', count(*), bool_and(names > 8)) from atsync.erasures", "1|t");
    refresh_issues(k); /* what is wrong with the others is told on */
    assert_sql(h, "select string_agg(distinct class, ' ') from atsync.issue where closed_at is null",
               "dead_writes identity");
    assert_nothing_of(h, "Roe, Jane");

    done = erase(k, &who, false);
    assert_int_equal(done.total, 0);
    assert_true(done.erased_us != INT64_MIN);
    assert_sql(h, "select count(*) from atsync.erasures", "1");
    kit_close(k);
}

/* Large events of nobody are looked through a few at a time; none is passed over. */
E2E_TEST(large_events_of_nobody)
{
    struct kit *k = open_kit(h);
    struct erase_person who = candidate(h, "ats_7");
    struct db *db = db_new(h->conninfo, "pages");
    struct db_array *names = db_array_new(DB_TEXT_ARRAY);
    struct db_array *texts = db_array_new(DB_TEXT_ARRAY);
    struct db_result *r = NULL;
    struct db_params p;
    struct errmsg err;
    size_t sum = 0;

    put_person(k, "7");
    sql_script(h,
               "insert into atsync.event (source, event_id, type, subject, event_time, body) select 'popp', "
               "'evt_large_' || i, 'OTHER', '', now(), convert_to('{\"event\":\"OTHER\",\"data\":{\"recordId\":\"z\","
               "\"conversationId\":\"' || case when i % 2 = 0 then 'conv_7' else 'conv_x' end || '\",\"more\":\"' || "
               "repeat('x', 1048576) || '\"}}', 'UTF8') from generate_series(1, 80) as i");
    settle(k);
    db_array_text(names, "r:run_7");
    db_array_text(texts, "conv_7");
    db_params_init(&p);
    db_add_text(&p, "popp");
    db_add_array(&p, names);
    db_add_array(&p, texts);
    db_add_time(&p, 0);
    db_add_text(&p, "evt_large");
    db_add_i64(&p, 1000);
    db_add_i64(&p, 8 * 1048576);
    assert_done(db_exec(db, &sql_erase_nobody, &p, DB_ROWS, &r, &err), &err);
    for (size_t i = 0; i < db_rows(r); i++) {
        size_t len = 0;

        sum += db_bytes(r, i, 2, &len) ? len : 0;
    }
    assert_in_range(sum, 1048576, 9 * 1048576);
    assert_int_equal(db_i64(r, db_rows(r) - 1, 3), 8);
    (void)erase(k, &who, false);
    assert_sql(h, "select count(*) from atsync.event where event_id like 'evt_large%'", "40");
    assert_nothing_of(h, "conv_7");
    db_result_free(r);
    db_array_free(names);
    db_array_free(texts);
    db_free(db);
    kit_close(k);
}

/* ---- what comes later */

E2E_TEST(what_comes_later_is_not_kept)
{
    struct kit *k = open_kit(h);
    const char *started = popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL);
    const char *failed = popp_event(h, "contact-resolution-failed", "candidate", "ats_7", "data.recordId", "dedup_7",
                                    "data.email", "jane@example.org", "data.phoneNumber", "+447700900142", NULL);
    struct ingest_event e = nobodys("evt_late", "{}");
    const char *digest;

    assert_true(kit_put(k, started));
    assert_true(kit_put(k, failed));
    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "ats_8", "run", "run_8", NULL)));
    /* a run that nobody knows to be that of ats_7 yet */
    assert_true(kit_put(k, popp_event(h, "node-completed", "run", "run_new", "data.candidateProfileExternalId",
                                      POPP_ABSENT, "data.candidateProfileId", POPP_ABSENT, NULL)));
    settle(k);
    (void)erase_candidate(k, "ats_7");
    assert_nothing_of(h, "ats_7");
    assert_something_of(h, "run_new");
    digest = sql_text(h, "select digest_of('')");

    assert_false(kit_put(k, started)); /* again */
    assert_false(kit_put(k, failed));
    assert_false(kit_put(k, popp_event(h, "run-completed", "run", "run_7", "data.candidateProfileExternalId",
                                       POPP_ABSENT, "data.candidateProfileId", POPP_ABSENT, NULL)));
    assert_false(kit_put(k, popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7",
                                       "data.candidateProfileExternalId", POPP_ABSENT, NULL)));
    e.also[0] = "m:jane@example.org";
    ingest(k, &e);
    assert_true(e.erased && !e.stored && !e.tells_more);
    e.also[0] = "m:john@example.org";
    e.also[1] = "t:+447700900142";
    ingest(k, &e);
    assert_true(e.erased);
    assert_string_equal(sql_text(h, "select digest_of('')"), digest);
    assert_int_equal(kit_work(k), 0);

    /* An event that tells that a run, and another profile, are of ats_7 too: what is there under these goes, and comes no more. */
    assert_false(kit_put(k, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_new",
                                       "data.candidateProfileId", "cp_new", NULL)));
    assert_nothing_of(h, "run_new");
    assert_false(kit_put(k, popp_event(h, "node-completed", "run", "run_new", "data.candidateProfileExternalId",
                                       POPP_ABSENT, "data.candidateProfileId", POPP_ABSENT, NULL)));
    assert_false(kit_put(k, popp_event(h, "run-started", "run", "run_newer", "data.candidateProfileExternalId",
                                       POPP_ABSENT, "data.candidateProfileId", "cp_new", NULL)));
    assert_sql(h, "select count(*) from atsync.erasures", "1"); /* all of one person */

    /* What such an event tells of somebody else is not erased: here a run of ats_7 is said to be by the profile of ats_8. */
    assert_false(kit_put(k, popp_event(h, "node-completed", "run", "run_new", "data.candidateProfileExternalId",
                                       POPP_ABSENT, "data.candidateProfileId", "cp_ats_8", NULL)));
    assert_sql(h, "select count(*) from atsync.event where external_id = 'ats_8'", "1");
    assert_sql(h, "select count(*) from atsync.identity where alias = 'p:cp_ats_8'", "1");
    /* an event of nobody with a run that is told for the first time */
    e = nobodys("evt_run", "{}");
    e.profile_id = "cp_new";
    e.run_id = "run_newest";
    ingest(k, &e);
    assert_true(e.erased && e.tells_more);
    ingest(k, &e);
    assert_true(e.erased && !e.tells_more);
    e.profile_id = NULL;
    ingest(k, &e);
    assert_true(e.erased);
    e.run_id = NULL;

    /* Of the others everything is. */
    assert_true(kit_put(k, popp_event(h, "run-completed", "candidate", "ats_8", "run", "run_8", NULL)));
    e.also[0] = e.also[1] = NULL;
    ingest(k, &e);
    assert_true(e.stored && !e.erased);
    kit_close(k);
}

/* The tombstones are HMAC-SHA256 as others compute it. */
E2E_TEST(the_hash_is_the_usual_one)
{
    struct kit *k = open_kit(h);

    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "ats_7", NULL)));
    (void)erase_candidate(k, "ats_7");
    /* a key of zeros; expected: printf 'popp\\0x:ats_7' | openssl dgst -sha256 -mac HMAC -macopt hexkey:00 */
    sql_script(h, "update atsync.tombstone_key set inner_key = decode(repeat('36', 64), 'hex'), outer_key = "
                  "decode(repeat('5c', 64), 'hex')");
    assert_sql(h, "select encode(atsync.tombstone_hash(k, 'popp', 'x:ats_7'), 'hex') from atsync.tombstone_key k",
               "93222ae944b2999211dcc8aecd103d43df55607aa9edf6a9bc96655b3263505d");
    kit_close(k);
}

/* ---- at the same time */

struct racer {
    struct kit *k;
    struct store *store;
    struct ingest_event event;
    struct erase_person who;
    struct erasure erasure;
    struct arena *arena;
    int st;
    struct errmsg err;
};

static void *race_ingest(void *arg)
{
    struct racer *r = arg;

    r->st = store_ingest(r->store, &r->event, 1, &r->err);
    return NULL;
}

static void *race_erase(void *arg)
{
    struct racer *r = arg;

    r->st = store_erase(r->store, &r->who, false, NULL, NULL, r->arena, &r->erasure, &r->err);
    return NULL;
}

#define WAITING "select count(*) from pg_locks where locktype = 'advisory' and not granted"

static struct ingest_event event_of(const char *id, const char *subject, const char *external_id)
{
    return (struct ingest_event){.source = "popp",
                                 .event_id = id,
                                 .type = "WORKFLOW_RUN_STARTED",
                                 .subject = subject,
                                 .external_id = external_id,
                                 .connector = "ats",
                                 .time_us = INT64_C(1777372500000000),
                                 .body = "{}",
                                 .body_len = 2};
}

/* It began to be stored before the erasure ended, and sees it all the same. */
E2E_TEST(an_event_that_is_stored_meanwhile_does_not_slip_through)
{
    struct kit *k = open_kit(h);
    struct racer r = {.k = k, .store = kit_store(k, "racer"), .event = event_of("late", "x:ats_7", "ats_7")};
    struct db *db = db_new(h->conninfo, "eraser");
    pthread_t thread;
    struct errmsg err;

    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "ats_6", NULL)));
    (void)erase_candidate(k, "ats_6"); /* the key is there */
    /* what store_erase does in its transaction, held open here */
    assert_done(db_script(db, "erase",
                          "begin; select pg_advisory_xact_lock(hashtextextended('atsync.erase', 0)); insert into "
                          "atsync.tombstone (source, hash) select 'popp', atsync.tombstone_hash(k, 'popp', 'x:ats_7') "
                          "from atsync.tombstone_key k",
                          &err),
                &err);
    assert_int_equal(pthread_create(&thread, NULL, race_ingest, &r), 0);
    wait_sql(h, WAITING, "1");
    assert_done(db_script(db, "commit", "commit", &err), &err);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_done(r.st, &r.err);
    assert_true(r.event.erased);
    assert_false(r.event.stored);
    assert_nothing_of(h, "ats_7");
    store_free(r.store);
    db_free(db);
    kit_close(k);
}

/* It is stored and not committed yet when the erasure begins, which waits for it. */
E2E_TEST(an_erasure_waits_for_what_is_being_stored)
{
    struct kit *k = open_kit(h);
    struct racer r = {.k = k, .store = kit_store(k, "racer"), .who = candidate(h, "ats_7"), .arena = arena_new()};
    struct db *db = db_new(h->conninfo, "receiver");
    pthread_t thread;
    struct errmsg err;

    assert_done(db_script(db, "ingest",
                          "begin; select atsync.erased(array['popp'], array['e1'], array['x:ats_7'], array['ats_7'], "
                          "array[null], array[null], '{}', '{}'); insert into atsync.event (source, event_id, type, "
                          "subject, external_id, event_time, body) values ('popp', 'e1', 'T', 'x:ats_7', 'ats_7', "
                          "now(), ''); insert into atsync.candidate (source, connector, ref, external_id, due_at, "
                          "last_event_at) values ('popp', 'ats', 'x:ats_7', 'ats_7', now(), now())",
                          &err),
                &err);
    assert_int_equal(pthread_create(&thread, NULL, race_erase, &r), 0);
    wait_sql(h, WAITING, "1");
    assert_done(db_script(db, "commit", "commit", &err), &err);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_done(r.st, &r.err);
    assert_int_equal(r.erasure.rows[ERASE_EVENT], 1);
    assert_int_equal(r.erasure.rows[ERASE_CANDIDATE], 1);
    assert_nothing_of(h, "ats_7");
    arena_free(r.arena);
    store_free(r.store);
    db_free(db);
    kit_close(k);
}

/* Events of a few people come in all the while that one of them after the other is erased: then nothing is left, and nothing comes back. */
struct stream {
    struct kit *k;
    struct store *store;
    atomic_bool stop;
    unsigned stored;
    struct errmsg err;
    int st;
};

static void *pour(void *arg)
{
    struct stream *s = arg;

    for (unsigned i = 0; !s->stop && s->st == ST_OK; i++) {
        struct ingest_event events[4];
        char text[4][5][32]; /* not in the arena, which is another thread's */

        for (unsigned n = 0; n < ATS_COUNT(events); n++) {
            (void)snprintf(text[n][0], sizeof text[n][0], "evt_%u_%u", i, n);
            (void)snprintf(text[n][1], sizeof text[n][1], "x:ats_%u", n);
            (void)snprintf(text[n][2], sizeof text[n][2], "run_%u_%u", n, i % 50);
            (void)snprintf(text[n][3], sizeof text[n][3], "cp_%u", n);
            (void)snprintf(text[n][4], sizeof text[n][4], "p:cp_%u", n);
            events[n] = event_of(text[n][0], text[n][1], text[n][1] + 2);
            events[n].run_id = text[n][2];
            if (i % 2 == 1) { /* only the profile is told */
                events[n].subject = text[n][4];
                events[n].external_id = NULL;
                events[n].connector = "";
            }
            events[n].profile_id = text[n][3];
        }
        s->st = store_ingest(s->store, events, ATS_COUNT(events), &s->err);
        if (s->st == ST_OK) {
            s->st = store_erase_told(s->store, events, ATS_COUNT(events), &s->err);
        }
        for (unsigned n = 0; n < ATS_COUNT(events); n++) {
            s->stored += events[n].stored;
        }
    }
    return NULL;
}

E2E_TEST(people_are_erased_while_their_events_pour_in)
{
    struct kit *k = open_kit(h);
    struct stream s = {.k = k, .store = kit_store(k, "stream")};
    pthread_t thread;

    for (unsigned n = 0; n < 4; n++) {
        char name[16];

        (void)snprintf(name, sizeof name, "ats_%u", n);
        assert_true(kit_put(k, popp_event(h, "run-started", "candidate", name, "data.candidateProfileId",
                                          arena_printf(h->arena, "cp_%u", n), NULL)));
    }
    (void)kit_work(k);
    assert_int_equal(pthread_create(&thread, NULL, pour, &s), 0);
    wait_sql(h, "select count(*) > 40 from atsync.event", "true");
    (void)erase_candidate(k, "ats_1");
    (void)erase_candidate(k, "ats_3");
    wait_sql(h, "select count(*) > (select max(received_at) is null)::int + 200 from atsync.event", "true");
    s.stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_done(s.st, &s.err);
    assert_sql(h,
               "select string_agg(distinct coalesce(external_id, profile_id), ' ' order by coalesce(external_id, "
               "profile_id)) from atsync.event",
               "ats_0 ats_2 cp_0 cp_2");
    assert_sql(h, "select string_agg(distinct ref, ' ' order by ref) from atsync.candidate where ref ~ '[13]$'", NULL);
    store_free(s.store);
    kit_close(k);
}

/* ---- calls that are under way */

static struct record_call a_call = {.verb = "fields",
                                    .method = "PATCH",
                                    .path = "/candidates/ats_7",
                                    .outcome = "ok",
                                    .http_status = 200,
                                    .duration_us = 1000};

static bool record_late(struct kit *k, const struct claimed *who)
{
    struct record r = {.who = who,
                       .calls = &a_call,
                       .call_count = 1,
                       .release = true,
                       .state = "synced",
                       .synced = true,
                       .next_due_ms = INT64_MAX};
    struct errmsg err;

    assert_done(store_record(k->store, &r, 1, &err), &err);
    assert_true(r.lost);
    return r.erased;
}

E2E_TEST(a_result_that_comes_late_leaves_nothing)
{
    struct kit *k = open_kit(h);
    struct claim_batch first, second;
    struct erasure e;
    struct errmsg err;

    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "ats_7", NULL)));
    assert_done(store_claim(k->store, "ats", false, k->owner, 60000, 10, NULL, &first, &err), &err);
    assert_int_equal(first.count, 1);
    /* lost to another worker: the call is kept */
    sql_script(h, "update atsync.candidate set lease_until = now() - interval '1 second'");
    assert_done(store_claim(k->store, "ats", false, k->owner, 60000, 10, NULL, &second, &err), &err);
    assert_int_equal(second.count, 1);
    assert_false(record_late(k, &first.items[0]));
    assert_sql(h, "select count(*) from atsync.ats_call", "1");

    e = erase_candidate(k, "ats_7");
    assert_string_equal(e.worker, k->owner);
    assert_true(e.worker_s > 0 && e.worker_s <= 60);
    assert_int_equal(e.rows[ERASE_ATS_CALL], 1);
    assert_true(record_late(k, &second.items[0]));
    assert_nothing_of(h, "ats_7");
    assert_sql(h, "select count(*) from atsync.ats_call", "0");
    claim_batch_clear(&first);
    claim_batch_clear(&second);
    kit_close(k);
}

/* ---- who is who */

E2E_TEST(what_two_people_share_is_left_alone)
{
    struct kit *k = open_kit(h);
    struct erase_person who;
    struct erasure e;
    struct errmsg err;

    for (size_t i = 0; i < 2; i++) {
        assert_true(kit_put(k, popp_event(h, "run-started", "candidate", i == 0 ? "ats_7" : "ats_8", "run",
                                          i == 0 ? "run_7" : "run_8", "data.candidateProfileId", "cp_same", NULL)));
    }
    (void)kit_work(k);
    assert_true(kit_put(k, popp_event(h, "node-completed", "run", "run_x", "data.candidateProfileExternalId",
                                      POPP_ABSENT, "data.candidateProfileId", "cp_same", NULL)));
    (void)kit_work(k);
    assert_int_equal(store_erase_whose(k->store, "popp", "p:cp_same", NULL, h->arena, &who, &err), ST_CONFLICT);
    assert_string_equal(err.text, "p:cp_same is claimed by ats_7 and ats_8: erase them one by one with --candidate");

    e = erase_candidate(k, "ats_7");
    assert_int_equal(e.shared_count, 1);
    assert_string_equal(e.shared[0], "p:cp_same");
    assert_nothing_of(h, "ats_7");
    assert_nothing_of(h, "run_7");
    assert_sql(h, "select count(*) from atsync.event", "2");
    /* nor does it become the other's by itself */
    assert_sql(h, "select string_agg(external_id || conflict::text, ' ') from atsync.identity", "ats_8true");
    assert_true(kit_put(k, popp_event(h, "run-completed", "candidate", "ats_8", "run", "run_8",
                                      "data.candidateProfileId", "cp_same", NULL)));

    e = erase_candidate(k, "ats_8"); /* nobody else claims it now */
    assert_int_equal(e.shared_count, 0);
    assert_sql(h, "select count(*) from atsync.event", "0");
    assert_nothing_of(h, "cp_same");
    kit_close(k);
}

E2E_TEST(a_person_whose_external_id_is_not_known)
{
    struct kit *k = open_kit(h);
    struct erase_person who;
    struct erasure e;
    struct errmsg err;

    assert_true(kit_put(k, popp_event(h, "run-started", "run", "run_7", "data.candidateProfileExternalId", POPP_ABSENT,
                                      "data.candidateProfileId", "cp_7", NULL)));
    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "ats_8", "run", "run_8", NULL)));
    (void)kit_work(k);
    assert_done(store_erase_whose(k->store, "popp", "p:cp_7", NULL, h->arena, &who, &err), &err);
    assert_null(who.external_id);
    e = erase(k, &who, false);
    assert_int_equal(e.rows[ERASE_EVENT], 1);
    assert_nothing_of(h, "cp_7");
    assert_nothing_of(h, "run_7");
    assert_false(kit_put(k, popp_event(h, "run-completed", "run", "run_7", "data.candidateProfileExternalId",
                                       POPP_ABSENT, "data.candidateProfileId", POPP_ABSENT, NULL)));

    /* a profile, or a run, leads to the external id where it is known */
    assert_done(store_erase_whose(k->store, "popp", "p:cp_ats_8", NULL, h->arena, &who, &err), &err);
    assert_string_equal(who.external_id, "ats_8");
    assert_done(store_erase_whose(k->store, "popp", "r:run_8", NULL, h->arena, &who, &err), &err);
    assert_string_equal(who.ref, "x:ats_8");
    kit_close(k);
}

E2E_TEST(nobody_who_was_erased_is_linked)
{
    struct kit *k = open_kit(h);
    struct errmsg err;
    int64_t waited = 0;

    assert_true(kit_put(k, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL)));
    assert_true(kit_put(k, popp_event(h, "run-started", "run", "run_n", "data.candidateProfileExternalId", POPP_ABSENT,
                                      "data.candidateProfileId", "cp_n", NULL)));
    (void)kit_work(k);
    (void)erase_candidate(k, "ats_7");
    assert_int_equal(store_link(k->store, "popp", "p:cp_n", "ats_7", &waited, &err), ST_CONFLICT);
    assert_string_equal(err.text, "ats_7 or that name of the candidate was erased: nothing is kept of this person");
    assert_int_equal(store_link(k->store, "popp", "p:cp_ats_7", "ats_8", &waited, &err), ST_CONFLICT);
    assert_done(store_link(k->store, "popp", "p:cp_n", "ats_8", &waited, &err), &err);
    assert_int_equal(waited, 1);
    kit_close(k);
}

/* Restored, say, while a daemon is connected that has asked for the one before. */
E2E_TEST(tombstones_in_a_table_that_was_made_anew_count)
{
    struct kit *k = open_kit(h);
    struct ingest_event e = event_of("e1", "x:1", "1");
    struct ingest_event later = event_of("e2", "x:2", "2");

    ingest(k, &e);
    sql_script(h, "alter table atsync.tombstone rename to before; create table atsync.tombstone (like atsync.before "
                  "including all)");
    (void)erase_candidate(k, "1");
    e.event_id = "e3";
    ingest(k, &e);
    assert_false(e.stored);
    sql_script(h, "drop table atsync.before cascade");
    ingest(k, &later);
    assert_true(later.stored);
    kit_close(k);
}

E2E_TEST(every_source_is_known)
{
    struct kit *k = open_kit(h);
    const char *const *sources = NULL;
    size_t count = 0;
    struct ingest_event e = event_of("e1", "x:1", "1");
    int64_t waited = 0;
    struct errmsg err;

    assert_done(store_erase_sources(k->store, h->arena, &sources, &count, &err), &err);
    assert_int_equal(count, 0);
    e.source = "zebra";
    ingest(k, &e);
    e.source = "apple";
    ingest(k, &e);
    assert_done(store_link(k->store, "middle", "p:1", "1", &waited, &err), &err);
    assert_done(store_erase_sources(k->store, h->arena, &sources, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_string_equal(sources[0], "apple");
    assert_string_equal(sources[1], "middle");
    assert_string_equal(sources[2], "zebra");
    assert_done(store_erase_statistics(k->store, &err), &err);
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(nothing_is_left_of_one_and_all_of_the_others),
        E2E_RUN(large_events_of_nobody),
        E2E_RUN(what_comes_later_is_not_kept),
        E2E_RUN(the_hash_is_the_usual_one),
        E2E_RUN(an_event_that_is_stored_meanwhile_does_not_slip_through),
        E2E_RUN(an_erasure_waits_for_what_is_being_stored),
        E2E_RUN(people_are_erased_while_their_events_pour_in),
        E2E_RUN(a_result_that_comes_late_leaves_nothing),
        E2E_RUN(what_two_people_share_is_left_alone),
        E2E_RUN(a_person_whose_external_id_is_not_known),
        E2E_RUN(nobody_who_was_erased_is_linked),
        E2E_RUN(tombstones_in_a_table_that_was_made_anew_count),
        E2E_RUN(every_source_is_known),
    };

    return e2e_main(tests);
}
