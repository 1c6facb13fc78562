/* The ATS is away: the breaker opens once, lets one candidate try at a time, and closes when that one gets through. */
#include "base/text.h"
#include "lib/harness.h"

/* The breaker opens when ten calls have timed out, at which time who began first is in the second call. */
enum { CANDIDATES = 60, SETTLED = 5, CALLS_BEFORE_OPENING = 3 };

#define STATE "select state from atsync.connector_status where connector = 'sandbox'"
#define OPENS "select opens from atsync.connector_state where connector = 'sandbox'"
#define IN_WORK "select count(*) from atsync.candidate where lease_owner is not null"
#define LET_ONE_TRY "update atsync.connector_state set until = now() where state = 'open'"
#define NOBODY_TRIES "update atsync.connector_state set until = now() + interval '1 hour' where state = 'open'"

static const char *name_of(struct harness *h, const char *prefix, unsigned number)
{
    return arena_printf(h->arena, "%s_%u", prefix, number);
}

static void deliver(struct harness *h, struct program *d, const char *prefix, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const char *name = name_of(h, prefix, i);

        popp_deliver(
            h, d,
            popp_event(h, "run-completed", "candidate", name, "run", arena_printf(h->arena, "run_%s", name), NULL));
    }
}

/* Every call of many candidates ends with a timeout, one after the other, as their beginnings were. */
static struct program *begin_outage(struct harness *h)
{
    static const struct daemon_conf conf = {
        .delivery = "lease: 60s\npoll: 200ms",
        .connector = "rate_limit: 50/1s\nconcurrency: 40\ntimeout: 1s\nallow_private_addresses: true\n" E2E_RETRY,
    };
    struct program *d = daemon_start(h, &conf);

    deliver(h, d, "settled", SETTLED);
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", num_text(SETTLED).s);
    ats_fault(h, "{\"action\":\"hang\",\"times\":-1}");
    deliver(h, d, "ats", CANDIDATES);
    wait_sql(h, STATE, "open");
    sql_script(h, NOBODY_TRIES);
    return d;
}

E2E_TEST(calls_that_were_under_way_do_not_open_it_again)
{
    struct program *d = begin_outage(h);

    assert_string_not_equal(sql_text(h, IN_WORK), "0"); /* so there were some */
    wait_sql(h, IN_WORK, "0");
    assert_string_equal(sql_text(h, OPENS), "1");
    assert_string_equal(sql_text(h, "select until > now() + interval '30 minutes' from atsync.connector_state "
                                    "where connector = 'sandbox'"),
                        "true");
    assert_int_equal(text_count(program_log(h, d), "the ATS seems to be away"), 1);
    assert_true(ats_calls(h, name_of(h, "settled", 0), NULL, NULL) > CALLS_BEFORE_OPENING);
    for (unsigned i = 0; i < CANDIDATES; i++) /* nor did they go on to try everything else that was wanted of them */
        assert_true(ats_calls(h, name_of(h, "ats", i), NULL, NULL) <= CALLS_BEFORE_OPENING);

    sql_script(h, LET_ONE_TRY);
    wait_sql(h, OPENS, "2");
    daemon_stop(h, d);
}

/* Who has nothing to send does not show whether the ATS is back, so the next one may try at once. */
E2E_TEST(who_has_nothing_to_send_does_not_use_up_the_try)
{
    struct program *d = begin_outage(h);

    wait_sql(h, IN_WORK, "0");
    ats_control(h, "DELETE", "/_sandbox/fault", NULL);
    sql_script(h, "update atsync.candidate set due_at = now() - interval '1 day', attempts = 1 "
                  "where external_id like 'settled%'");
    sql_script(h, LET_ONE_TRY);
    wait_sql(h, STATE, "ok");
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'",
             num_text(SETTLED + CANDIDATES).s);
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(calls_that_were_under_way_do_not_open_it_again),
        E2E_RUN(who_has_nothing_to_send_does_not_use_up_the_try),
    };

    return e2e_main(tests);
}
