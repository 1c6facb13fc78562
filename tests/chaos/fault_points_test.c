/*
 * A crash, and a long stop, at every named point between accepting an event and giving a candidate back (include/base/fault.h), and at
 * the later passings of each. Whoever goes on, the same daemon restarted or another one after the lease, the record is
 * right in the end and the note is there once. A point that no story reaches fails: it protects nothing.
 */
#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/harness.h"

enum {
    CRASH_STATUS = 137,
    POINTS_MAX = 64,
    PASSINGS = 3,
    POINTS_MIN = 10,
    TAKE_OVER_MS = 12000 /* a lease */
};

struct points {
    char *names[POINTS_MAX];
    size_t count;
};

static bool is_known(const struct points *p, const char *name, size_t len)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strlen(p->names[i]) == len && strncmp(p->names[i], name, len) == 0)
            return true;
    }
    return false;
}

/* The names stand in the program between "fault-point:" and a zero byte. */
static void find_points(struct harness *h, struct points *ret)
{
    static const char mark[] = "fault-point:";
    const size_t mark_len = sizeof(mark) - 1;
    FILE *f = fopen(TEST_BUILD_DIR "/atsyncd", "re");
    char *bytes = NULL;
    size_t len = 0, room = 0, n;

    assert_non_null(f);
    do {
        if (room - len < 64 * 1024) {
            room += 4 * 1024 * 1024;
            bytes = mem_grow(bytes, room, 1);
        }
        n = fread(bytes + len, 1, room - len, f);
        len += n;
    } while (n > 0);
    (void)fclose(f);
    for (size_t i = 0; i + mark_len < len; i++) {
        size_t name_len;

        if (memcmp(bytes + i, mark, mark_len) != 0)
            continue;
        name_len = strnlen(bytes + i + mark_len, len - i - mark_len);
        if (name_len == 0 || strspn(bytes + i + mark_len, "abcdefghijklmnopqrstuvwxyz-") < name_len ||
            is_known(ret, bytes + i + mark_len, name_len))
            continue;
        assert_true(ret->count < POINTS_MAX);
        ret->names[ret->count++] = arena_strndup(h->arena, bytes + i + mark_len, name_len);
    }
    mem_free(bytes);
}

/* As Popp does: again until it is answered with 200, or the daemon is dead. */
static bool deliver(struct harness *h, struct program *d, const char *body, int *ret_status)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;

    while (popp_post(h, d, body).status != 200) {
        if (program_ended(h, d, ret_status))
            return false;
        if (clock_mono_ms() > until_ms)
            fail_msg("an event was not accepted within %d s", DEADLINE_MS / 1000);
        (void)poll(NULL, 0, POLL_MS);
    }
    return true;
}

static const char *state_of(struct harness *h, const char *candidate)
{
    return sql_text(h, arena_printf(h->arena,
                                    "select sync_state from atsync.sync_status where candidate_external_id = '%s'",
                                    candidate));
}

/* The daemon crashes, or the candidate is synced without a crash. Returns whether it crashed. */
static bool crashes_or_syncs(struct harness *h, struct program *d, const char *candidate)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    int status = 0;

    for (;;) {
        if (program_ended(h, d, &status)) {
            assert_int_equal(status, CRASH_STATUS);
            return true;
        }
        if (text_eq(state_of(h, candidate), "synced"))
            break;
        if (clock_mono_ms() > until_ms)
            fail_msg("%s is neither synced nor the daemon dead", candidate);
        (void)poll(NULL, 0, POLL_MS);
    }
    /* what comes after the last commit: give a crash there the time of one more request */
    (void)http_call(h, d->admin_port, "GET", "/readyz", NULL, NULL, 0);
    if (program_ended(h, d, &status)) {
        assert_int_equal(status, CRASH_STATUS);
        return true;
    }
    return false;
}

/* The record as it should be, whoever made it, and the steps to it in the right order. */
static void check_record(struct harness *h, const char *candidate)
{
    const struct json *log = json_of(h, ats_get(h, arena_printf(h->arena, "/_sandbox/log?candidate=%s", candidate)));
    bool moved_on = false;

    if (!text_eq(ats_value(h, candidate, "jobs." E2E_JOB ".stage"), "\"Recruiter screen\"")) {
        print_message("requests about %s:\n%s\n", candidate,
                      ats_get(h, arena_printf(h->arena, "/_sandbox/log?candidate=%s", candidate)));
        print_message(
            "ledger:\n%s\n",
            sql_text(h, arena_printf(h->arena,
                                     "select string_agg(w::text, e'\\n') from atsync.ats_write w where ref = 'x:%s'",
                                     candidate)));
        fail_msg("%s is not where it should be", candidate);
    }
    assert_string_equal(ats_value(h, candidate, "tags"), "[\"popp-passed\"]");
    assert_string_equal(ats_value(h, candidate, "fields.nmc_pin_score"), "100");
    assert_string_equal(ats_value(h, candidate, "fields.popp_outcome"), "\"finished\"");
    assert_int_equal(json_count(json_of(h, ats_value(h, candidate, "notes"))), 1);
    for (const struct json *e = json_first(log); e != NULL; e = json_next(e)) {
        const char *stage = json_get_str(json_get(e, "body"), "stage");

        if (!text_eq(json_get_str(e, "method"), "PUT") || stage == NULL)
            continue;
        if (moved_on && text_eq(stage, "Contacted"))
            fail_msg("%s went back to Contacted", candidate);
        moved_on = moved_on || text_eq(stage, "Recruiter screen");
    }
    assert_string_equal(sql_text(h, "select count(*) from atsync.dead_writes"), "0");
    assert_string_equal(sql_text(h, "select count(*) from atsync.pending_writes"), "0");
    assert_int_equal(ats_figure(h, "max_waiting_per_candidate"), 1);
}

/* One story with one crash at most. Returns whether the point was reached so often. */
static bool crash_at(struct harness *h, struct program *d, struct program *other, const char *point, unsigned passing)
{
    const char *candidate = arena_printf(h->arena, "%s.%u", point, passing);
    const char *run = arena_printf(h->arena, "run.%s", candidate);
    const char *started = popp_event(h, "run-started", "candidate", candidate, "run", run, NULL);
    const char *completed = popp_event(h, "run-completed", "candidate", candidate, "run", run, NULL);
    bool by_other = passing == 2; /* another daemon takes over when the lease has ended */
    bool crashed;
    int status = 0;

    (void)setenv("ATSYNC_FAULT", arena_printf(h->arena, "%s:%u", point, passing), 1);
    daemon_spawn_again(h, d);
    (void)unsetenv("ATSYNC_FAULT");
    crashed = !deliver(h, d, started, &status) || crashes_or_syncs(h, d, candidate) ||
              !deliver(h, d, completed, &status) || crashes_or_syncs(h, d, candidate);
    if (!crashed) {
        check_record(h, candidate);
        (void)kill(d->pid, SIGTERM);
        status = program_wait(h, d);
        if (status == 0)
            return false;
        assert_int_equal(status, CRASH_STATUS); /* a slow one may come to the point only on its way out */
    }
    d = by_other ? other : d;
    daemon_start_again(h, d);
    popp_deliver(h, d, started); /* the sender repeats what it had no answer to; what it had is a duplicate */
    popp_deliver(h, d, completed);
    wait_sql(
        h,
        arena_printf(
            h->arena,
            "select state from atsync.candidate where connector = 'sandbox' and external_id = '%s' and due_at is null",
            candidate),
        "synced");
    check_record(h, candidate);
    daemon_stop(h, d);
    return true;
}

E2E_TEST(a_crash_at_every_point)
{
    struct program *one = daemon_start(h, NULL);
    struct program *two = daemon_start(h, &(struct daemon_conf){.instance = "two"});
    struct points points = {.count = 0};

    daemon_stop(h, one);
    daemon_stop(h, two);
    find_points(h, &points);
    if (points.count < POINTS_MIN)
        fail_msg("%zu fault points in " TEST_BUILD_DIR "/atsyncd: is it built with FAULTS=1?", points.count);
    for (size_t i = 0; i < points.count; i++) {
        unsigned reached = 0;

        for (unsigned passing = 1; passing <= PASSINGS; passing++)
            reached += crash_at(h, one, two, points.names[i], passing);
        print_message("%s: %u crashes\n", points.names[i], reached);
        if (reached == 0)
            fail_msg("the point \"%s\" was never reached", points.names[i]);
    }
}

/* Is the process stopped? (proc(5): the state is behind the name, which is in parentheses) */
static bool is_stopped(const struct program *d)
{
    char *path = mem_printf("/proc/%d/stat", (int)d->pid);
    char line[512] = "";
    FILE *f = fopen(path, "re");
    const char *after;

    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    (void)fclose(f);
    mem_free(path);
    after = strrchr(line, ')');
    return after != NULL && after[1] == ' ' && after[2] == 'T';
}

static bool is_stopped_now(struct harness *h, void *arg)
{
    (void)h;
    return is_stopped(arg);
}

static bool is_synced(struct harness *h, const char *candidate)
{
    return text_eq(sql_text(h, arena_printf(h->arena,
                                            "select state from atsync.candidate where connector = 'sandbox' and "
                                            "external_id = '%s' and due_at is null and version = synced_version",
                                            candidate)),
                   "synced");
}

static bool all_is_idle(struct harness *h, void *arg)
{
    (void)arg;
    return text_eq(
        sql_text(h, "select count(*) from atsync.candidate where due_at is not null or lease_owner is not null"), "0");
}

/* One daemon stops at the point, another takes over and brings the candidate further, then the first goes on. */
static void stop_at(struct harness *h, struct program *one, struct program *two, const char *point)
{
    const char *candidate = arena_printf(h->arena, "stopped-%s", point);
    const char *run = arena_printf(h->arena, "run.%s", candidate);
    int64_t until_ms;

    (void)setenv("ATSYNC_FAULT", arena_printf(h->arena, "%s:1:stop", point), 1);
    daemon_start_again(h, one);
    (void)unsetenv("ATSYNC_FAULT");
    popp_deliver(h, one, popp_event(h, "run-started", "candidate", candidate, "run", run, NULL));
    wait_until(h, is_stopped_now, one, arena_printf(h->arena, "the daemon stops at %s", point));
    daemon_start_again(h, two);
    /* One that was stopped in a transaction holds the candidate's row until somebody ends its session. */
    (void)deliver(h, two, popp_event(h, "run-completed", "candidate", candidate, "run", run, NULL), NULL);
    until_ms = clock_mono_ms() + TAKE_OVER_MS;
    while (!is_synced(h, candidate)) {
        if (clock_mono_ms() > until_ms)
            fail_msg("%s: nobody took over within %d ms", point, TAKE_OVER_MS);
        (void)poll(NULL, 0, POLL_MS);
    }
    check_record(h, candidate);
    (void)kill(one->pid, SIGCONT);
    daemon_wait_ready(h, one);
    daemon_stop(h, one); /* what it had in hand is done by then */
    wait_until(h, all_is_idle, NULL, "nothing is left to do");
    assert_true(is_synced(h, candidate));
    check_record(h, candidate);
    daemon_stop(h, two);
}

E2E_TEST(a_stop_longer_than_the_lease_at_every_point)
{
    struct program *one = daemon_start(h, NULL);
    struct program *two = daemon_start(h, &(struct daemon_conf){.instance = "two"});
    struct points points = {.count = 0};

    daemon_stop(h, one);
    daemon_stop(h, two);
    find_points(h, &points);
    for (size_t i = 0; i < points.count; i++) {
        if (text_starts(points.names[i], "ingest-")) /* no lease is held there */
            continue;
        print_message("%s\n", points.names[i]);
        stop_at(h, one, two, points.names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_crash_at_every_point),
        E2E_RUN(a_stop_longer_than_the_lease_at_every_point),
    };

    return e2e_main(tests);
}
