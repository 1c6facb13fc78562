/* The primary of a replicated database dies while events come in, and its synchronous standby takes its place. */
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/harness.h"

#define STAGE "jobs." E2E_JOB ".stage"

enum {
    BEFORE = 30, /* events taken before the primary dies */
    AFTER = 30,  /* and after its successor was promoted */
    EVENTS_MAX = 3000,
    PAUSE_MS = 5,          /* between two events: a steady stream, not as fast as possible */
    TAKES_AGAIN_MS = 10000 /* the promise */
};

struct cluster {
    char *dir;
    const char *port;
};

/* One of each for the program: harness_teardown knows nothing of them. */
static struct cluster primary, standby;

static pid_t pg_sh_start(const char *command, const char *dir, const char *arg)
{
    pid_t pid = fork();

    if (pid == 0) {
        execl(TEST_SOURCE_DIR "/tests/lib/pg.sh", "pg.sh", command, dir, arg, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static int pg_sh(const char *command, const char *dir, const char *arg)
{
    int status = -1;

    assert_true(waitpid(pg_sh_start(command, dir, arg), &status, 0) > 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The port of a cluster that pg.sh has started. */
static const char *port_of(struct harness *h, const char *dir)
{
    char *path = mem_printf("%s/port", dir);
    FILE *f = fopen(path, "re");
    char line[16] = "";

    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    (void)fclose(f);
    mem_free(path);
    return arena_strndup(h->arena, line, strcspn(line, "\n"));
}

static int remove_clusters(void **state)
{
    int status = 0;

    for (struct cluster *c = &primary; c != NULL; c = c == &primary ? &standby : NULL) {
        if (c->dir != NULL && pg_sh("remove", c->dir, NULL) != 0)
            status = -1;
        mem_free(c->dir);
        c->dir = NULL;
    }
    return harness_teardown(state) == 0 ? status : -1;
}

/* From now on the test's database is the one that is replicated. */
static void replicate(struct harness *h)
{
    primary.dir = mem_printf("%s/primary", h->dir);
    standby.dir = mem_printf("%s/standby", h->dir);
    assert_int_equal(pg_sh("start", primary.dir, NULL), 0);
    assert_int_equal(pg_sh("standby", standby.dir, primary.dir), 0);
    primary.port = port_of(h, primary.dir);
    standby.port = port_of(h, standby.dir);
    mem_free(h->conninfo);
    h->conninfo = mem_printf("host=127.0.0.1,127.0.0.1 port=%s,%s user=postgres dbname=atsync "
                             "target_session_attrs=read-write connect_timeout=2",
                             primary.port, standby.port);
}

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

    replicate(h);
    s.daemon = daemon_start(h, NULL);
    /* so that calls are under way whenever the primary dies */
    ats_fault(h, "{\"action\":\"delay\",\"delay_ms\":20,\"times\":-1}");
    while (s.taken < BEFORE)
        (void)send_next(h, &s);

    (void)send_until_ended(h, &s, pg_sh_start("kill", primary.dir, NULL));
    promoted_ms = send_until_ended(h, &s, pg_sh_start("promote", standby.dir, NULL));
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

    assert_string_equal(sql_text(h, "select inet_server_port()"), standby.port);
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
                                        remove_clusters),
    };

    return e2e_main(tests);
}
