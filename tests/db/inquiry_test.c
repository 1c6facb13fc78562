/* Which runs are asked for at the sender's API, by whom, how often; and how the API is treated by all daemons together. */
#include "base/text.h"
#include "lib/storekit.h"
#include "store/inquiry.h"

enum { HOUR_MS = 3600000 };

static const char *claim(struct kit *k, struct store *s, size_t limit)
{
    const struct inquiry_terms terms = {.silent_ms = HOUR_MS, .over_ms = 60000, .lease_ms = 60000, .limit = limit};
    struct inquiry *due = NULL;
    const char *names = "";
    size_t count = 0;
    struct errmsg err;

    assert_done(store_inquiry_claim(s, "popp", &terms, k->h->arena, &due, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_true(due[i].now_us > 0);
        names = arena_printf(k->h->arena, "%s%s%s:%s%s", names, i > 0 ? " " : "", due[i].run_id,
                             num_text(due[i].asked).s, due[i].is_over ? ":over" : "");
    }
    return names;
}

static void add_run(struct harness *h, const char *run, const char *columns)
{
    sql_script(h, arena_printf(h->arena,
                               "insert into atsync.run (source, run_id, ref, connector, is_contact, is_latest, state, "
                               "outcome, truncated, complete, conflict, last_event_at, ask_at, nodes) "
                               "select 'popp', '%s', 'x:' || '%s', 'ats', false, true, %s, '[]'",
                               run, run, columns));
}

E2E_TEST(only_what_is_due_is_taken_and_by_one_only)
{
    struct kit *k = kit_open(h, NULL);
    struct store *other = kit_store(k, "other");
    struct errmsg err;

    add_run(h, "silent", "'running', null, false, false, false, now() - interval '2 hours', null");
    add_run(h, "talking", "'running', null, false, false, false, now() - interval '30 minutes', null");
    add_run(h, "forgotten", "'running', null, false, false, false, now() - interval '31 days', null");
    add_run(h, "asked",
            "'running', null, false, false, false, now() - interval '2 hours', now() + interval '1 minute'");
    add_run(h, "given_up", "'running', null, false, false, false, now() - interval '2 hours', 'infinity'");
    add_run(h, "whole", "'completed', 'completed', false, true, false, now() - interval '2 hours', null");
    add_run(h, "mended", "'completed', 'completed', true, true, false, now() - interval '2 hours', null");
    add_run(h, "contact", "'contact', null, false, false, false, now() - interval '2 hours', null");
    assert_string_equal(claim(k, k->store, 10), "silent:1");
    assert_string_equal(claim(k, other, 10), "");
    add_run(h, "cut", "'completed', 'completed', true, false, false, now() - interval '2 minutes', null");
    add_run(h, "just_cut", "'completed', 'completed', true, false, false, now() - interval '30 seconds', null");
    assert_string_equal(claim(k, other, 10), "cut:1:over");
    assert_string_equal(claim(k, k->store, 10), "");

    assert_done(store_inquiry_put_back(k->store, "popp", "silent", &err), &err);
    assert_string_equal(claim(k, other, 10), "silent:1"); /* its turn was not had */
    assert_done(store_inquiry_again(k->store, "popp", "silent", 0, &err), &err);
    assert_string_equal(claim(k, other, 10), "silent:2");
    assert_done(store_inquiry_again(k->store, "popp", "silent", 5000, &err), &err);
    assert_string_equal(claim(k, other, 10), "");
    assert_done(store_inquiry_again(k->store, "popp", "silent", -1, &err), &err);
    assert_string_equal(claim(k, other, 10), "");
    assert_string_equal(sql_text(h, "select ask_at from atsync.run where run_id = 'silent'"), "infinity");
    store_free(other);
    kit_close(k);
}

E2E_TEST(no_more_than_the_limit_and_the_newest_first)
{
    struct kit *k = kit_open(h, NULL);

    for (unsigned i = 0; i < 9; i++)
        add_run(
            h, arena_printf(h->arena, "run_%u", i),
            arena_printf(h->arena, "'running', null, false, false, false, now() - interval '%u hours', null", 10 - i));
    assert_string_equal(claim(k, k->store, 1), "run_8:1");
    assert_string_equal(claim(k, k->store, 1), "run_7:1");
    assert_int_equal(text_count(claim(k, k->store, 4), ":1"), 4);
    assert_int_equal(text_count(claim(k, k->store, 4), ":1"), 3);
    kit_close(k);
}

E2E_TEST(the_day_is_counted_over_all)
{
    struct kit *k = kit_open(h, NULL);
    struct store *other = kit_store(k, "other");
    int64_t wait_ms = -1;
    struct errmsg err;
    bool may;

    assert_done(store_api_beat(k->store, "popp", "f", &wait_ms, &err), &err);
    assert_int_equal(wait_ms, 0);
    for (unsigned i = 0; i < 5; i++) {
        assert_done(store_api_take(i % 2 ? other : k->store, "popp", 3, &may, &err), &err);
        assert_int_equal(may, i < 3);
    }
    sql_script(h, "update atsync.source_api set day = day - 1");
    assert_done(store_api_take(other, "popp", 3, &may, &err), &err);
    assert_true(may);
    assert_string_equal(sql_text(h, "select used from atsync.source_api"), "1");
    store_free(other);
    kit_close(k);
}

static int64_t wait_of(struct kit *k, const char *fingerprint)
{
    int64_t ms = -1;
    struct errmsg err;

    assert_done(store_api_beat(k->store, "popp", fingerprint, &ms, &err), &err);
    return ms;
}

E2E_TEST(trouble_grows_and_ends)
{
    const struct api_trouble t = {.problem = "unavailable", .error = "HTTP 503", .first_ms = 10000, .cap_ms = 25000};
    const struct api_trouble long_one = {
        .problem = "unavailable", .error = "HTTP 429", .first_ms = 10000, .cap_ms = 25000, .at_least_ms = 90000};
    const struct api_trouble key = {.problem = "key", .error = "HTTP 401", .first_ms = 10000, .cap_ms = 25000};
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    assert_int_equal(wait_of(k, "f"), 0);
    assert_done(store_api_tell(k->store, "popp", &t, &err), &err);
    assert_in_range(wait_of(k, "f"), 5000, 10000);
    assert_done(store_api_tell(k->store, "popp", &t, &err), &err);
    assert_in_range(wait_of(k, "f"), 15000, 20000);
    assert_done(store_api_tell(k->store, "popp", &t, &err), &err);
    assert_in_range(wait_of(k, "f"), 20000, 25000);
    assert_done(store_api_tell(k->store, "popp", &long_one, &err), &err);
    assert_in_range(wait_of(k, "f"), 80000, 90000);
    assert_string_equal(sql_text(h, "select concat_ws('|', failures, problem, error) from atsync.source_api"),
                        "4|unavailable|HTTP 429");
    assert_done(store_api_tell(k->store, "popp", &(struct api_trouble){.problem = NULL}, &err), &err);
    assert_int_equal(wait_of(k, "f"), 0);
    assert_string_equal(sql_text(h, "select concat_ws('|', failures, problem is null) from atsync.source_api"), "0|t");
    /* other settings are tried at once, the same are not */
    assert_done(store_api_tell(k->store, "popp", &key, &err), &err);
    assert_true(wait_of(k, "f") > 0);
    assert_int_equal(wait_of(k, "g"), 0);
    assert_string_equal(sql_text(h, "select concat_ws('|', failures, problem is null) from atsync.source_api"), "0|t");
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(only_what_is_due_is_taken_and_by_one_only),
        E2E_RUN(no_more_than_the_limit_and_the_newest_first),
        E2E_RUN(the_day_is_counted_over_all),
        E2E_RUN(trouble_grows_and_ends),
    };

    return e2e_main(tests);
}
