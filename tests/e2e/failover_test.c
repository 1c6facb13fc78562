/* The primary of a replicated database dies while events come in, and its synchronous standby takes its place. */
#include <poll.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/replica.h"

#define STAGE "jobs." E2E_JOB ".stage"

enum {
    BEFORE = 30, /* events taken before the primary dies */
    AFTER = 30,  /* and after its successor was promoted */
    EVENTS_MAX = 3000,
    PAUSE_MS = 5,          /* between two events: a steady stream, not as fast as possible */
    TAKES_AGAIN_MS = 10000 /* the promise */
};

/* ---------------------------------------------------------------- the sender */

struct stream {
    struct program *daemon;
    unsigned sent;
    unsigned taken;                    /* answered 200 */
    const char *taken_ids[EVENTS_MAX]; /* their event ids */
    const char *refused[EVENTS_MAX];   /* bodies of the others, to be sent again as Popp does */
    unsigned refused_count;
};

static const char *id_of(struct harness *h, const char *body)
{
    return json_get_str(json_of(h, body), "eventId");
}

static const char *candidate_name(struct harness *h, unsigned number)
{
    return arena_printf(h->arena, "ats_%u", number);
}

static bool post(struct harness *h, struct stream *s, const char *body)
{
    int status = popp_post(h, s->daemon, body).status;

    if (status == 200) {
        s->taken_ids[s->taken++] = id_of(h, body);
        return true;
    }
    if (status != 503)
        fail_msg("an event was answered %d", status);
    return false;
}

/* The next candidate's finished run. */
static bool send_next(struct harness *h, struct stream *s)
{
    const char *body;

    if (s->sent == EVENTS_MAX)
        fail_msg("the stream of %d events is at its end", EVENTS_MAX);
    body = popp_event(h, "run-completed", "candidate", candidate_name(h, s->sent), "run",
                      arena_printf(h->arena, "run_%u", s->sent), NULL);
    s->sent++;
    (void)poll(NULL, 0, PAUSE_MS);
    if (post(h, s, body))
        return true;
    s->refused[s->refused_count++] = body;
    return false;
}

/* Sends until the script has ended, and returns when that was. */
static int64_t send_until_ended(struct harness *h, struct stream *s, pid_t pid)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    int status = -1;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_mono_ms() > until_ms)
            fail_msg("pg.sh did not end within %d s", DEADLINE_MS / 1000);
        (void)send_next(h, s);
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return clock_mono_ms();
}

static void assert_all_taken_are_there(struct harness *h, const struct stream *s)
{
    for (unsigned i = 0; i < s->taken; i++) {
        const char *count = sql_text(
            h, arena_printf(h->arena, "select count(*) from atsync.event where event_id = '%s'", s->taken_ids[i]));

        if (!text_eq(count, "1"))
            fail_msg("event %s was answered 200 and is %s times in the new primary", s->taken_ids[i], count);
    }
}

static void assert_records_are_right(struct harness *h, const struct stream *s)
{
    for (unsigned i = 0; i < s->sent; i++) {
        const char *candidate = candidate_name(h, i);
        size_t notes = json_count(json_of(h, ats_value(h, candidate, "notes")));

        assert_string_equal(ats_value(h, candidate, STAGE), "\"Recruiter screen\"");
        assert_string_equal(ats_value(h, candidate, "tags"), "[\"popp-passed\"]");
        assert_string_equal(ats_value(h, candidate, "fields.nmc_pin_score"), "100");
        if (notes != 1)
            fail_msg("candidate %s has %zu notes", candidate, notes);
    }
}

E2E_TEST(the_primary_dies_and_nothing_acknowledged_is_lost)
{
    struct stream s = {.sent = 0};
    int64_t promoted_ms;
    unsigned goal;

    replica_start(h);
    s.daemon = daemon_start(h, NULL);
    /* so that calls are under way whenever the primary dies */
    ats_fault(h, "{\"action\":\"delay\",\"delay_ms\":20,\"times\":-1}");
    while (s.taken < BEFORE)
        (void)send_next(h, &s);

    (void)send_until_ended(h, &s, replica_kill_primary());
    promoted_ms = send_until_ended(h, &s, replica_promote());
    while (!send_next(h, &s)) {
        if (clock_mono_ms() - promoted_ms > TAKES_AGAIN_MS)
            fail_msg("no event was taken within %d s of the promotion", TAKES_AGAIN_MS / 1000);
    }
    goal = s.taken + AFTER;
    while (s.taken < goal)
        (void)send_next(h, &s);
    assert_true(s.refused_count > 0); /* the primary did die while events came in */
    for (unsigned i = 0; i < s.refused_count; i++)
        assert_true(post(h, &s, s.refused[i]));

    assert_string_equal(sql_text(h, "select inet_server_port()"), replica_standby_port());
    assert_all_taken_are_there(h, &s);
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", num_text((int64_t)s.sent).s);
    assert_records_are_right(h, &s);
    assert_string_equal(sql_text(h, "select count(*) from atsync.dead_writes"), "0");
    daemon_wait_ready(h, s.daemon);
    daemon_stop(h, s.daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_primary_dies_and_nothing_acknowledged_is_lost, harness_setup,
                                        replica_teardown),
    };

    return e2e_main(tests);
}
