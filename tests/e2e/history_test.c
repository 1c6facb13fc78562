/*
 * Candidates with more stored events than the daemon may read at once (delivery.max_history): they wait and are told, the others are worked on, and memory
 * stays within its bound; what is large but allowed is worked on bit by bit.
 */
#include <signal.h>

#include "base/text.h"
#include "lib/ctlkit.h"
#include "lib/harness.h"

#define CONTACTED "\"Contacted\""
#define STAGE "jobs." E2E_JOB ".stage"
#define STATE_OF(candidate)                                                                                            \
    "select sync_state from atsync.sync_status where candidate_external_id = '" candidate "' limit 1"
#define TOO_LARGE_OPEN "select message from atsync.issues where class = 'too_large' and closed_at is null"
/* What waits for its next attempt need not be waited for. */
#define DUE_NOW "update atsync.candidate set due_at = now() where due_at > now()"

enum { KIB = 1024, MIB = 1024 * 1024 };

/* So many starts of runs, each with a member of about so many bytes that nobody asked for: texts of 40 characters, which take less than three times
 * their room when they are read, or (packed) numbers, which take forty times theirs. The candidate is due. */
static void add_history(struct harness *h, const char *candidate, int events, int bytes, bool packed)
{
    const char *element = packed ? "1," : "\"0123456789012345678901234567890123456789\",";

    sql_script(h,
               arena_printf(h->arena,
                            "insert into atsync.event (source, event_id, type, subject, external_id, run_id, "
                            "workflow_external_id, event_time, body) "
                            "select 'popp', who || '-' || i, 'WORKFLOW_RUN_STARTED', 'x:' || who, who, 'run-' || who "
                            "|| '-' || i, 'cedar-rgn-screening', now(), "
                            "convert_to('{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"' || who || '-' || i || "
                            "'\",\"data\":{\"recordId\":\"run-' || who || '-' || i || "
                            "'\",\"workflowExternalId\":\"cedar-rgn-screening\",\"candidateProfileExternalId\":\"' "
                            "|| who || '\",\"timestamp\":\"2026-05-12T09:00:00Z\",\"startedAt\":"
                            "\"2026-05-12T09:00:00Z\",\"more\":[' || repeat('%s', %d) || '0]}}', 'UTF8') "
                            "from (select '%s'::text as who) w, generate_series(1, %d) as i",
                            element, bytes / (int)strlen(element), candidate, events));
    sql_script(h, arena_printf(h->arena,
                               "insert into atsync.candidate (source, connector, ref, external_id, "
                               "workflow_external_id, due_at, version, last_event_at) "
                               "select 'popp', 'sandbox', 'x:' || who, who, 'cedar-rgn-screening', now(), %d, now() "
                               "from (select '%s'::text as who) w",
                               events, candidate));
}

static struct program *start(struct harness *h, const char *delivery, const char *receiver)
{
    return daemon_start(h, &(struct daemon_conf){.delivery = delivery, .receiver = receiver});
}

static void deliver_neighbour(struct harness *h, const struct program *d, const char *candidate)
{
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", candidate, "run", candidate, NULL));
    wait_ats(h, candidate, STAGE, CONTACTED);
}

/* Of a program whose memory is also that of a tool (valgrind, ThreadSanitizer) it says nothing. */
static void assert_took_less(const struct program *d, int64_t before_kib, int64_t kib)
{
#ifdef __SANITIZE_THREAD__
    bool is_watched = true;
#else
    bool is_watched = programs_are_run_by_another();
#endif

    if (!is_watched) {
        assert_true(program_memory_max_kib(d) < before_kib + kib);
    }
}

/* By default 16 MiB may be read of a candidate. That much in rows takes no more memory than twice that, where nothing is made of it. */
E2E_TEST(a_huge_candidate_waits_and_its_neighbour_is_delivered)
{
    struct program *d = start(h, NULL, NULL);
    const char *output;
    int64_t before_kib;

    deliver_neighbour(h, d, "ats_before");
    before_kib = program_memory_max_kib(d);
    add_history(h, "ats_huge", 200, MIB, false);
    deliver_neighbour(h, d, "ats_after");
    wait_sql(h, STATE_OF("ats_huge"), "retrying");
    deliver_neighbour(h, d, "ats_later");
    print_message("%s KiB of resident memory before, %s with 200 MiB of events waiting\n", num_text(before_kib).s,
                  num_text(program_memory_max_kib(d)).s);
    assert_took_less(d, before_kib, 64 * KIB);
    assert_int_equal(ats_calls(h, "ats_huge", NULL, NULL), 0);

    /* people see what is the matter */
    wait_sql(
        h, TOO_LARGE_OPEN,
        "The stored events of 1 candidate of source popp are too many or too large to be worked on, and nothing is "
        "written for them. Of one it is said: the stored events of this candidate are too large to be worked on: "
        "more than 16MiB (delivery.max_history), or too tightly packed.");
    assert_string_equal(sql_text(h,
                                 "select blocked_since is not null and last_error like '%delivery.max_history%' from "
                                 "atsync.sync_status where candidate_external_id = 'ats_huge'"),
                        "true");
    assert_has(CTL(h, d, 0, "status", "ats_huge"), "more than 16MiB (delivery.max_history)");
    output = CTL(h, d, 0, "plan", "--candidate", "ats_huge");
    assert_has(output, "its stored events are larger than delivery.max_history: nothing is worked out");
    assert_has(output, "too large to be looked at: 1");

    /* most of it goes, as over age, and it recovers by itself */
    sql_script(h, "delete from atsync.event where subject = 'x:ats_huge' and event_id <> 'ats_huge-200';" DUE_NOW);
    wait_ats(h, "ats_huge", STAGE, CONTACTED);
    wait_sql(h, STATE_OF("ats_huge"), "synced");
    wait_sql(h, TOO_LARGE_OPEN, NULL);
    assert_string_equal(sql_text(h, "select blocked_since is null and last_error is null from atsync.sync_status where "
                                    "candidate_external_id = 'ats_huge'"),
                        "true");
    daemon_stop(h, d);
}

/* Little text, much memory; and many events without a text worth mentioning. */
E2E_TEST(it_is_the_memory_that_counts)
{
    struct program *d = start(h, NULL, NULL);
    int64_t before_kib;

    deliver_neighbour(h, d, "ats_before");
    before_kib = program_memory_max_kib(d);
    add_history(h, "ats_packed", 8, MIB, true); /* 8 MiB, and 320 MiB of memory */
    add_history(h, "ats_many", 20000, 0, false);
    wait_sql(h, STATE_OF("ats_packed"), "retrying");
    wait_sql(h, STATE_OF("ats_many"), "retrying");
    deliver_neighbour(h, d, "ats_after");
    print_message("%s KiB of resident memory before, %s after\n", num_text(before_kib).s,
                  num_text(program_memory_max_kib(d)).s);
    assert_took_less(d, before_kib, 8 * 16 * KIB);
    wait_sql(h, "select affected_candidates from atsync.issues where class = 'too_large' and closed_at is null", "2");
    daemon_stop(h, d);
}

E2E_TEST(a_higher_limit_is_taken_at_once)
{
    struct daemon_conf conf = {.delivery = "lease: 2s\npoll: 200ms\nmax_history: 64KiB\n",
                               .receiver = "max_body: 1KiB\n"};
    struct program *d = daemon_start(h, &conf);

    add_history(h, "ats_1", 50, 2 * KIB, false);
    wait_sql(h, STATE_OF("ats_1"), "retrying");
    wait_sql(
        h, "select last_error like '%more than 64KiB %' from atsync.sync_status where candidate_external_id = 'ats_1'",
        "true");
    assert_int_equal(ats_calls(h, "ats_1", NULL, NULL), 0);
    conf.delivery = "lease: 2s\npoll: 200ms\nmax_history: 1MiB\n";
    daemon_rewrite_conf(h, d, &conf);
    assert_int_equal(kill(d->pid, SIGHUP), 0);
    wait_ats(h, "ats_1", STAGE, CONTACTED);
    wait_sql(h, STATE_OF("ats_1"), "synced");
    daemon_stop(h, d);
}

/* Together too large, each of them fine; and a connector that nobody has to wait for. */
E2E_TEST(a_crowd_is_worked_on_bit_by_bit)
{
    struct program *d = start(h, "lease: 2s\npoll: 200ms\nmax_history: 256KiB\n", "max_body: 64KiB\n");

    daemon_stop(h, d);
    for (int i = 0; i < 64; i++)
        add_history(h, arena_printf(h->arena, "ats_%d", i), 3, 10 * KIB, false); /* 64 KiB are read at once */
    daemon_start_again(h, d);
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", "64");
    for (int i = 0; i < 64; i++)
        assert_string_equal(ats_value(h, arena_printf(h->arena, "ats_%d", i), STAGE), CONTACTED);
    daemon_stop(h, d);
}

/* One large candidate at a time is in work; while its calls take for ever, small ones pass, and other large ones wait without taking memory. */
E2E_TEST(large_ones_are_in_work_one_at_a_time)
{
    struct program *d = start(h, "lease: 2s\npoll: 200ms\nmax_history: 4MiB\n", "max_body: 1MiB\n");
    int64_t before_kib;

    deliver_neighbour(h, d, "ats_before");
    before_kib = program_memory_max_kib(d);
    ats_fault(h, "{\"match\":{\"path_contains\":\"/candidates/large_\"},\"action\":\"delay\",\"delay_ms\":-1}");
    for (int i = 0; i < 16; i++)
        add_history(h, arena_printf(h->arena, "large_%d", i), 3, MIB, false);
    wait_sql(h, "select count(*) from atsync.candidate where ref like 'x:large%' and sending is not null", "1");
    deliver_neighbour(h, d, "ats_small");
    assert_string_equal(
        sql_text(h, "select count(*) from atsync.candidate where ref like 'x:large%' and sending is not null"), "1");
    ats_control(h, "POST", "/_sandbox/release", NULL);
    wait_sql(h,
             "select count(*) from atsync.sync_status where candidate_external_id like 'large%' and sync_state = "
             "'synced'",
             "16");
    print_message("%s KiB of resident memory before, %s after\n", num_text(before_kib).s,
                  num_text(program_memory_max_kib(d)).s);
    assert_took_less(d, before_kib, 8 * 4 * KIB + 16 * KIB);
    daemon_stop(h, d);
}

/* What a candidate's calls take grows with them, and not with their square. */
E2E_TEST(thousands_of_calls_of_one_candidate)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "lease: 60s\npoll: 200ms\n",
                                                              .workflows = "cedar-rgn-screening:\n"
                                                                           "  connector: sandbox\n"
                                                                           "  job: \"" E2E_JOB "\"\n"
                                                                           "  on:\n"
                                                                           "    started: {stage: \"Contacted\"}\n"
                                                                           "    finished: {note: summary}\n"});
    int64_t before_kib;

    deliver_neighbour(h, d, "ats_before");
    before_kib = program_memory_max_kib(d);
    add_history(h, "ats_busy", 3000, 0, false);
    sql_script(h,
               "update atsync.event set type = 'WORKFLOW_RUN_COMPLETED', body = convert_to(replace(convert_from(body, "
               "'UTF8'), 'WORKFLOW_RUN_STARTED', 'WORKFLOW_RUN_COMPLETED'), 'UTF8') where subject = 'x:ats_busy';"
               "update atsync.candidate set due_at = now(), version = version + 1 where ref = 'x:ats_busy'");
    wait_sql(h, "select count(*) from atsync.ats_write where ref = 'x:ats_busy' and kind = 'note'", "3000");
    wait_ats_calls(h, "ats_busy", "POST", "/notes", 1);
    print_message("%s KiB of resident memory before, %s with 3000 notes to write\n", num_text(before_kib).s,
                  num_text(program_memory_max_kib(d)).s);
    assert_took_less(d, before_kib, 48 * KIB);
    daemon_kill(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_huge_candidate_waits_and_its_neighbour_is_delivered),
        E2E_RUN(it_is_the_memory_that_counts),
        E2E_RUN(a_higher_limit_is_taken_at_once),
        E2E_RUN(a_crowd_is_worked_on_bit_by_bit),
        E2E_RUN(large_ones_are_in_work_one_at_a_time),
        E2E_RUN(thousands_of_calls_of_one_candidate),
    };

    keep_little_freed_memory();
    return e2e_main(tests);
}
