/* What an administrator does with people's data, against a real database and the daemon: import, erase. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "lib/ctlkit.h"
#include "lib/db.h"

enum { ARGS_MAX = CTL_ARGS_MAX, OUTPUT_MAX_BYTES = 4 * 1024 * 1024 };

#define STAGE "jobs." E2E_JOB ".stage"
#define ONE_ORGANIZATION "signing_secrets: [\"" E2E_SECRET "\"]\norganizations: [org_123456]\n"

static void assert_sql(struct harness *h, const char *query, const char *expected)
{
    const char *got = sql_text(h, query);

    if (!text_eq(got, expected))
        fail_msg("%s\n    is %s\n    and not %s", query, got ? got : "NULL", expected ? expected : "NULL");
}

/* ---- running atsyncctl, with something on its standard input */

static const char *read_all(struct harness *h, int fd)
{
    struct buf text;
    char piece[4096];
    const char *copy;
    ssize_t n;

    buf_init(&text, OUTPUT_MAX_BYTES);
    while ((n = read(fd, piece, sizeof(piece))) > 0)
        buf_add(&text, piece, (size_t)n);
    copy = arena_strdup(h->arena, buf_text(&text));
    buf_free(&text);
    return copy;
}

/* With this file (NULL: nothing) as its standard input; it must end with this status. Standard output alone, or both. */
static const char *ctl_with(struct harness *h, const struct program *d, int expected, const char *input_path, bool both,
                            const char *const args[ARGS_MAX])
{
    char *argv[ARGS_MAX + 4] = {arena_printf(h->arena, "%s/atsyncctl", TEST_BUILD_DIR), arena_strdup(h->arena, "-c"),
                                d->conf_path};
    char **run;
    const char *output;
    int out[2], status = 0;
    pid_t pid;

    for (size_t i = 0; i < ARGS_MAX && args[i] != NULL; i++)
        argv[i + 3] = arena_strdup(h->arena, args[i]);
    run = program_argv(h, argv);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int in = open(input_path != NULL ? input_path : "/dev/null", O_RDONLY);

        if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0 ||
            (both && dup2(out[1], STDERR_FILENO) < 0))
            _exit(126);
        (void)execvp(run[0], run);
        _exit(127);
    }
    (void)close(out[1]);
    output = read_all(h, out[0]);
    (void)close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != expected)
        fail_msg("status %d (wait status %d), not %d:\n%s", WEXITSTATUS(status), status, expected, output);
    return output;
}
#define CTL_JSON(h, d, expected, ...)                                                                                  \
    json_of(h, ctl_with(h, d, expected, NULL, false, (const char *const[ARGS_MAX]){"--json", __VA_ARGS__}))

static const char *file_with(struct harness *h, const char *name, const char *text)
{
    char *path = arena_printf(h->arena, "%s/%s", h->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(text);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    assert_int_equal(close(fd), 0);
    return path;
}

static int64_t number(const struct json *j, const char *name)
{
    int64_t n = -1;

    if (!json_get_i64(j, name, &n))
        fail_msg("no number %s", name);
    return n;
}

static void assert_counts(const struct json *answer, int64_t stored, int64_t duplicates, int64_t refused)
{
    assert_int_equal(number(answer, "stored"), stored);
    assert_int_equal(number(answer, "duplicates"), duplicates);
    assert_int_equal(number(answer, "refused"), refused);
    assert_int_equal(json_count(json_get(answer, "refusals")), refused);
}

static const char *quoted(struct harness *h, const char *text)
{
    struct json *j = json_string(text);
    char *printed = json_text(j);
    const char *copy = arena_strdup(h->arena, printed);

    mem_free(printed);
    json_free(j);
    return copy;
}

/* ---- send-sample */

E2E_TEST(a_sample_is_signed_and_sent)
{
    struct program *d = daemon_start(h, NULL);
    const char *url = arena_printf(h->arena, "http://127.0.0.1:%u/webhooks/popp", d->port);
    const struct json *told = CTL_JSON(h, d, 0, "send-sample", "run-completed", "--set",
                                       "data.candidateProfileExternalId=ats_7", "--set", "eventId=evt_sample");
    const char *text;

    assert_string_equal(json_get_str(told, "event"), "WORKFLOW_RUN_COMPLETED");
    assert_string_equal(json_get_str(told, "eventId"), "evt_sample");
    assert_string_equal(json_get_str(told, "url"), url);
    assert_int_equal(number(told, "status"), 200);
    assert_string_equal(json_get_str(json_get(told, "answer"), "status"), "stored");
    wait_ats(h, "ats_7", STAGE, "\"Recruiter screen\"");
    text = ctl_with(
        h, d, 0, NULL, false,
        (const char *const[ARGS_MAX]){"send-sample", "run-completed", "--set", "eventId=evt_sample", "--url", url});
    assert_string_equal(
        text, arena_printf(h->arena, "WORKFLOW_RUN_COMPLETED evt_sample -> %s\n200 {\"status\":\"duplicate\"}\n", url));

    /* what the receiver refuses, who is not there, and what cannot be sent */
    text =
        ctl_with(h, d, 1, NULL, true,
                 (const char *const[ARGS_MAX]){"send-sample", "run-completed", "--url",
                                               arena_printf(h->arena, "http://127.0.0.1:%u/webhooks/nobody", d->port)});
    assert_true(text_has(text, "\n404 "));
    text = ctl_with(h, d, 1, NULL, true,
                    (const char *const[ARGS_MAX]){"send-sample", "run-completed", "--url",
                                                  arena_printf(h->arena, "http://127.0.0.1:%u/", free_port(h))});
    assert_true(text_has(text, "no answer from http://127.0.0.1:"));
    text = ctl_with(h, d, 1, NULL, true,
                    (const char *const[ARGS_MAX]){"send-sample", "run-completed", "--source", "nobody"});
    assert_true(text_has(text, "nobody"));
    text = ctl_with(h, d, 2, NULL, true, (const char *const[ARGS_MAX]){"send-sample", "run-compleated"});
    assert_true(text_has(text, "run-completed"));
    text = ctl_with(h, d, 2, NULL, true, (const char *const[ARGS_MAX]){"send-sample"});
    assert_true(text_has(text, "TYPE is missing"));
    daemon_stop(h, d);
}

/* What was written before the last piece may be what is lost. */
E2E_TEST(output_that_is_lost_is_told)
{
    struct program *d = daemon_spawn(h, NULL);
    const char *command =
        arena_printf(h->arena, "%s/atsyncctl -c %s connectors --mdoc >/dev/full 2>&1", TEST_BUILD_DIR, d->conf_path);
    FILE *f = popen(command, "re");
    int status;

    assert_non_null(f);
    status = pclose(f);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

/* ---- import */

E2E_TEST(an_imported_event_is_like_a_received_one)
{
    struct program *d = daemon_start(h, NULL);
    const char *completed = popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_7", NULL);
    const char *spaced = arena_printf(h->arena, "  %s  \n\n", completed);
    const struct json *answer = CTL_JSON(h, d, 0, "import", file_with(h, "one.json", spaced));

    assert_counts(answer, 1, 0, 0);
    /* exactly the bytes of the event, without what stands around it */
    assert_sql(h, "select convert_from(body, 'UTF8') from atsync.event", completed);
    assert_sql(
        h, "select concat_ws('|', source, type, subject, external_id, run_id, workflow_external_id) from atsync.event",
        "popp|WORKFLOW_RUN_COMPLETED|x:ats_7|ats_7|run_7|cedar-rgn-screening");
    wait_ats(h, "ats_7", STAGE, "\"Recruiter screen\""); /* the daemon was woken */
    /* whichever way it comes next, it is the same event */
    assert_string_equal(popp_post(h, d, completed).body, "{\"status\":\"duplicate\"}");
    assert_counts(CTL_JSON(h, d, 0, "import", file_with(h, "one.json", spaced)), 0, 1, 0);
    daemon_stop(h, d);
}

E2E_TEST(every_shape_of_file)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\n"});
    const char *e[10];
    const char *lines, *list, *wrapped, *pretty, *output;

    for (size_t i = 0; i < ATS_COUNT(e); i++)
        e[i] = popp_event(h, "run-started", "candidate", arena_printf(h->arena, "ats_%zu", i), NULL);
    lines = file_with(h, "lines.ndjson", arena_printf(h->arena, "%s\n%s\n", e[0], e[1]));
    list = file_with(h, "list.json", arena_printf(h->arena, "[%s,\n%s]", e[2], e[3]));
    wrapped = file_with(
        h, "wrapped.json",
        arena_printf(h->arena, "{\"payload\":%s,\"reason\":\"503\"}\n{\"body\":%s}\n{\"Messages\":[{\"Body\":%s}]}",
                     e[4], quoted(h, e[5]), quoted(h, e[6])));
    pretty = file_with(h, "run.json",
                       "{\n  \"event\": \"WORKFLOW_RUN_STARTED\",\n  \"eventId\": \"pretty\",\n"
                       "  \"data\": {\n    \"recordId\": \"run_p\"\n  }\n}\n");
    output = CTL(h, d, 0, "import", lines, list, wrapped, pretty, lines);
    assert_has(output, "8 events stored, 2 were there already, 0 refused.");
    assert_sql(h, "select count(*) from atsync.event", "8");
    assert_sql(h,
               arena_printf(h->arena,
                            "select count(*) from atsync.event where body in (convert_to($a$%s$a$, 'UTF8'), "
                            "convert_to($a$%s$a$, 'UTF8'))",
                            e[4], e[5]),
               "2"); /* what was wrapped is stored without the wrapper */
    /* standard input */
    output = ctl_with(h, d, 0, file_with(h, "stdin.ndjson", arena_printf(h->arena, "%s%s", e[7], e[8])), true,
                      (const char *const[ARGS_MAX]){"import", "-"});
    assert_has(output, "2 events stored, 0 were there already, 0 refused.");
    daemon_stop(h, d);
}

E2E_TEST(what_is_refused_is_told_with_its_line)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.source = ONE_ORGANIZATION,
                                                              .receiver = "max_body: 64KiB\n",
                                                              .delivery = "enabled: false\n"});
    const char *good = popp_event(h, "run-started", "candidate", "ats_1", NULL);
    const char *also_good = popp_event(h, "run-started", "candidate", "ats_2", NULL);
    const char *other = popp_event(h, "run-started", "data.organizationId", "org_other", NULL);
    const char *no_record = popp_event(h, "run-started", "data.recordId", POPP_ABSENT, NULL);
    char *large = arena_alloc(h->arena, 70000);
    const char *path, *output;
    const struct json *answer;

    memset(large, 'x', 69999);
    path = file_with(h, "mixed.ndjson",
                     arena_printf(h->arena,
                                  "%s\n%.40s\n%s\n{\"hello\":1}\n%s\n\n%s\n{\"event\":\"E\",\"data\":{\"x\":\"%s\"}}\n"
                                  "{\"event\":\"E\",\"data\":{\"recordId\":\"\\q\"}}\n17\n%s",
                                  good, good, other, no_record, also_good, large, good));
    output = CTL(h, d, 1, "import", path);
    assert_has(output, "mixed.ndjson:2: refused: not JSON");
    assert_has(
        output,
        "mixed.ndjson:3: refused: organization org_other is not among those that sources.popp.organizations accepts");
    assert_has(output, "mixed.ndjson:4: refused: neither an event");
    assert_has(output, "mixed.ndjson:5: refused: member data.recordId is missing or not a text");
    assert_has(output, "mixed.ndjson:8: refused: larger than receiver.max_body");
    assert_has(output, "mixed.ndjson:9: refused: not valid JSON");
    assert_has(output, "mixed.ndjson:10: refused: neither an event");
    assert_has(output, "2 events stored, 1 was there already, 7 refused.");
    answer = CTL_JSON(h, d, 1, "import", path);
    assert_counts(answer, 0, 3, 7);
    assert_int_equal(number(json_first(json_get(answer, "refusals")), "line"), 2);
    assert_has(json_get_str(json_first(json_get(answer, "refusals")), "file"), "mixed.ndjson");
    assert_sql(h, "select string_agg(external_id, ' ' order by external_id) from atsync.event", "ats_1 ats_2");
    daemon_stop(h, d);
}

E2E_TEST(an_import_beside_an_open_transaction)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\n"});
    struct db *other = db_new(h->conninfo, "psql");
    const char *path, *output;
    struct errmsg err;

    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_1", NULL));
    assert_int_equal(
        db_script(other, "begin", "begin; update atsync.candidate set attempts = attempts where ref = 'x:ats_1'", &err),
        ST_OK);
    path = file_with(h, "held.ndjson",
                     arena_printf(h->arena, "%s\n%s\n", popp_event(h, "run-completed", "candidate", "ats_1", NULL),
                                  popp_event(h, "run-completed", "candidate", "ats_2", "run", "run_2", NULL)));
    output = CTL(h, d, 1, "import", path);
    assert_has(output, "held.ndjson:1: refused: another database session holds the row of its candidate");
    assert_has(output, "1 event stored, 0 were there already, 1 refused.");
    assert_int_equal(db_script(other, "rollback", "rollback", &err), ST_OK);
    assert_has(CTL(h, d, 0, "import", path), "1 event stored, 1 was there already, 0 refused.");
    db_free(other);
    daemon_stop(h, d);
}

E2E_TEST(what_import_cannot_do)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\n"});
    const char *good = popp_event(h, "run-started", NULL);
    const char *path = file_with(h, "good.json", good);

    assert_has(CTL(h, d, 2, "import"), "FILE is missing");
    assert_has(CTL(h, d, 1, "import", path, "/nowhere.json"), "cannot open /nowhere.json: No such file");
    assert_has(CTL(h, d, 1, "import", h->dir), "is a directory");
    assert_has(CTL(h, d, 2, "import", "--source", "pop", path), "did you mean popp?");
    assert_sql(h, "select count(*) from atsync.event", "0"); /* not even the good one */
    assert_has(CTL(h, d, 0, "import", file_with(h, "empty.json", "")), "0 events stored");
    pg_stop(h, "fast");
    assert_has(CTL(h, d, 1, "import", path), "atsyncctl import: ");
    pg_start(h);
    assert_has(CTL(h, d, 0, "import", "--source", "popp", path), "1 event stored");
    daemon_stop(h, d);
}

/* More than one commit, and more than is read at once. */
E2E_TEST(a_large_file)
{
    enum { EVENTS = 3000 };
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\n"});
    struct buf text;

    buf_init(&text, SIZE_MAX / 4);
    for (int i = 0; i < EVENTS; i++)
        buf_printf(&text,
                   "{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"e%d\",\"data\":{\"recordId\":\"run_%d\","
                   "\"candidateProfileExternalId\":\"c%d\","
                   "\"text\":\"%0400d\"}}\n",
                   i, i, i % 500, i);
    assert_counts(CTL_JSON(h, d, 0, "import", file_with(h, "large.ndjson", buf_text(&text))), EVENTS, 0, 0);
    assert_sql(h, "select concat_ws('|', count(*), count(distinct subject)) from atsync.event", "3000|500");
    assert_sql(h, "select sum(version) from atsync.candidate", "3000");
    buf_free(&text);
    daemon_stop(h, d);
}

/* ---- erase */

/* The whole database as text, as a backup has it. */
static const char *dump(struct harness *h)
{
    FILE *p = popen(arena_printf(h->arena, "pg_dump '%s'", h->conninfo), "re");
    struct buf text;
    char piece[65536];
    const char *copy;
    size_t n;

    assert_non_null(p);
    buf_init(&text, 64 * 1024 * 1024);
    while ((n = fread(piece, 1, sizeof piece, p)) > 0)
        buf_add(&text, piece, n);
    assert_int_equal(pclose(p), 0);
    copy = arena_strdup(h->arena, buf_text(&text));
    buf_free(&text);
    assert_true(text_has(copy, "COPY atsync.event"));
    return copy;
}

/* As text, or as bytes, which a dump has in hexadecimal digits. */
static bool dump_has(struct harness *h, const char *dumped, const char *text)
{
    char *hex = arena_alloc(h->arena, 2 * strlen(text) + 1);

    for (size_t i = 0; text[i] != '\0'; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text[i]);
    return text_has(dumped, text) || text_has(dumped, hex);
}

#define ANSWER "My own words jr7731"
static const char *const personal[] = {"ats_7",   "cp_ats_7",  "run_of_seven",      "Jane.Roe@example.org",
                                       ANSWER,    "jr7731",    "+447700900777",     "dedup_seven",
                                       "conv_77", "evt_seven", "words in a chat 77"};

static void put_person(struct harness *h, const struct program *d)
{
    popp_deliver(h, d,
                 popp_event(h, "contact-resolved", "candidate", "ats_7", "run", "run_of_seven", "eventId",
                            "evt_seven_1", "data.email", "Jane.Roe@example.org", "data.phoneNumber", "+447700900777",
                            NULL));
    popp_deliver(
        h, d,
        popp_event(h, "run-started", "candidate", "ats_7", "run", "run_of_seven", "eventId", "evt_seven_2", NULL));
    popp_deliver(h, d,
                 popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_of_seven", "eventId", "evt_seven_3",
                            "data.nodes.0.outcome.answers.0.answer", ANSWER, "data.nodes.0.outcome.conversationId",
                            "conv_77", NULL));
    popp_deliver(h, d,
                 popp_event(h, "contact-resolution-failed", "data.externalId", POPP_ABSENT, "data.recordId",
                            "dedup_seven", "data.email", "jane.roe@EXAMPLE.org", "eventId", "evt_seven_4", NULL));
    popp_deliver(h, d,
                 "{\"event\":\"CONVERSATION_COMPLETED\",\"eventId\":\"evt_seven_5\",\"data\":{\"recordId\":\"conv_77\","
                 "\"text\":\"words in a chat 77\"}}");
    wait_ats(h, "ats_7", STAGE, "\"Recruiter screen\"");
    wait_sql(h, "select count(*) from atsync.ats_write where kind = 'note' and state = 'applied'", "1");
}

static void assert_answer(struct harness *h, const struct program *d, const char *body, const char *expected)
{
    struct http_answer a = popp_post(h, d, body);

    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, expected);
}

E2E_TEST(nothing_of_an_erased_person_is_in_a_dump)
{
    static const char erased[] = "{\"status\":\"duplicate\"}"; /* the metric below tells that they are none */
    struct program *d = daemon_start(h, NULL);
    const char *again =
        popp_event(h, "run-completed", "candidate", "ats_7", "run", "run_of_seven", "eventId", "evt_seven_3", NULL);
    const char *later = popp_event(h, "run-started", "candidate", "ats_7", "run", "run_new", NULL);
    const char *text, *output;
    const struct json *j;

    put_person(h, d);
    popp_deliver(h, d, popp_event(h, "run-completed", "candidate", "ats_8", "run", "run_8", NULL));
    wait_ats(h, "ats_8", STAGE, "\"Recruiter screen\"");
    wait_sql(
        h,
        "select string_agg(distinct sync_state, ' ') from atsync.sync_status where candidate_external_id is not null",
        "synced");
    text = dump(h);
    for (size_t i = 0; i < ATS_COUNT(personal); i++)
        if (!dump_has(h, text, personal[i]))
            fail_msg("the dump has no %s to begin with", personal[i]);

    /* nobody is there to ask, and nothing happens */
    output = CTL(h, d, 2, "erase", "--candidate", "ats_7");
    assert_has(output, "This will erase ats_7 of source popp: 5 events, ");
    assert_has(output,
               "It cannot be undone, and it does not reach the ATS, the log or backups. Nobody is there to ask: "
               "add --yes to do it");
    assert_sql(h, "select count(*) from atsync.event", "6");
    j = json_first(CTL_JSON(h, d, 0, "erase", "--candidate", "ats_7", "--yes"));
    assert_string_equal(json_get_str(j, "candidate"), "ats_7");
    assert_string_equal(json_get_str(j, "source"), "popp");
    assert_true(json_get_bool(j, "erased"));
    assert_int_equal(number(json_get(j, "rows"), "event"), 5);
    assert_true(number(json_get(j, "rows"), "ats_write") > 0);

    text = dump(h);
    for (size_t i = 0; i < ATS_COUNT(personal); i++)
        if (dump_has(h, text, personal[i]))
            fail_msg("%s is still in the dump", personal[i]);
    assert_true(dump_has(h, text, "ats_8"));
    /* nor in what the planner noted */
    assert_sql(h,
               "select string_agg(tablename || '.' || attname, ' ') from pg_stats where schemaname = 'atsync' and "
               "(most_common_vals::text ~ 'ats_7|seven' or histogram_bounds::text ~ 'ats_7|seven')",
               NULL);

    /* what comes again, or later, is answered and not kept: also after a restart, and out of a file */
    assert_answer(h, d, again, erased);
    assert_answer(h, d, later, erased);
    daemon_stop(h, d);
    daemon_start_again(h, d);
    assert_answer(h, d, again, erased);
    assert_answer(h, d,
                  popp_event(h, "node-completed", "run", "run_new", "data.candidateProfileExternalId", POPP_ABSENT,
                             "data.candidateProfileId", POPP_ABSENT, NULL),
                  erased); /* that it is hers was told by the one before */
    assert_answer(h, d,
                  popp_event(h, "contact-resolution-failed", "data.externalId", POPP_ABSENT, "data.recordId", "dedup_n",
                             "data.email", "JANE.ROE@example.org", NULL),
                  erased);
    assert_answer(
        h, d, "{\"event\":\"CONVERSATION_NEEDS_REVIEW\",\"data\":{\"recordId\":\"x\",\"conversationId\":\"conv_77\"}}",
        erased);
    assert_has(http_call(h, d->admin_port, "GET", "/metrics", NULL, NULL, 0).body,
               "atsyncd_events_received_total{source=\"popp\",type=\"WORKFLOW_RUN_COMPLETED\",result=\"erased\"} 1");
    output = CTL(h, d, 0, "import", file_with(h, "dead.ndjson", arena_printf(h->arena, "%s\n%s\n", again, later)));
    assert_has(output, "0 events stored, 0 were there already, 2 of people who were erased, 0 refused.");
    assert_int_equal(number(CTL_JSON(h, d, 0, "import", file_with(h, "dead.ndjson", again)), "erased"), 1);
    text = dump(h);
    for (size_t i = 0; i < ATS_COUNT(personal); i++)
        if (dump_has(h, text, personal[i]))
            fail_msg("%s is in the dump again", personal[i]);
    assert_false(dump_has(h, text, "run_new"));

    /* the others go on */
    assert_answer(h, d, popp_event(h, "run-started", "candidate", "ats_9", "run", "run_9", NULL),
                  "{\"status\":\"stored\"}");
    assert_sql(h, "select string_agg(distinct external_id, ' ') from atsync.event where external_id <> 'ats_9'",
               "ats_8");
    daemon_stop(h, d);
}

E2E_TEST(what_erase_says)
{
    struct program *d = daemon_start(h, &(struct daemon_conf){.delivery = "enabled: false\n"});
    const char *output;
    struct child c;

    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL));
    popp_deliver(h, d,
                 popp_event(h, "run-started", "run", "run_p", "data.candidateProfileExternalId", POPP_ABSENT,
                            "data.candidateProfileId", "cp_p", NULL));
    assert_has(CTL(h, d, 2, "erase"), "say who it is with --candidate X, or where no external id is known");
    assert_has(CTL(h, d, 2, "erase", "--candidate", "a", "--profile", "b"), "say who it is");
    assert_has(CTL(h, d, 2, "erase", "--candidate", "a", "--canidate"), "did you mean --candidate?");
    output = CTL(h, d, 1, "erase", "--candidate", "ats_nobody", "--yes");
    assert_has(output, "nothing is stored of \"ats_nobody\", and nobody of this name was erased");
    assert_has(CTL(h, d, 1, "erase", "--candidate", "ats_7", "--source", "other", "--yes"), "nothing is stored of");

    child_start(h, &c, true, (const char *const[]){"-c", d->conf_path, "erase", "--candidate", "ats_7", NULL});
    child_wait_for(&c, "Go on? [y/N] ");
    child_type(&c, "n\n");
    assert_has(child_end(h, &c, 1), "Nothing was done.");
    assert_sql(h, "select count(*) from atsync.event", "2");

    output = CTL(h, d, 0, "erase", "--candidate", "ats_7", "--yes");
    assert_has(output, "ats_7 of source popp is erased: 1 event, 1 place in the queue.");
    assert_has(output, "Left to do: erase the person in the ATS and in Popp; the log and backups keep what they have");
    output = CTL(h, d, 0, "erase", "--candidate", "ats_7", "--yes");
    assert_has(output, "ats_7 of source popp: nothing is stored. It was erased at 20");
    assert_has(CTL(h, d, 0, "erase", "--profile", "cp_p", "-y"), "p:cp_p of source popp is erased: 1 event, ");
    assert_sql(h, "select count(*) from atsync.event", "0");
    assert_has(CTL(h, d, 1, "link", "--profile", "cp_p", "--external-id", "ats_1"), "was erased");
    daemon_stop(h, d);
}

static bool log_tells_of_erased(struct harness *h, void *arg)
{
    return text_has(program_log(h, arg), "its candidate was erased while the call was made");
}

/* The ATS takes its time, and the person goes meanwhile. */
E2E_TEST(a_person_is_erased_while_a_call_is_under_way)
{
    /* a call, and a lease, that last as long as the command, however slow that is */
    struct program *d =
        daemon_start(h, &(struct daemon_conf){.delivery = "lease: 2m\npoll: 200ms\n",
                                              .connector = "rate_limit: 1000/1s\nconcurrency: 8\ntimeout: 2m\n"
                                                           "allow_private_addresses: true\n" E2E_RETRY});
    const char *output;

    ats_fault(
        h,
        "{\"match\":{\"path_contains\":\"/candidates/ats_7\"},\"action\":\"delay\",\"times\":1}"); /* until it is released */
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_7", "run", "run_7", NULL));
    wait_ats_calls(h, "ats_7", NULL, NULL, 1);
    output = CTL(h, d, 0, "erase", "--candidate", "ats_7", "--yes");
    assert_has(output, "works on this candidate now: for ");
    assert_has(output, "it may still write to the ATS");
    ats_control(h, "POST", "/_sandbox/release", NULL);
    wait_until(h, log_tells_of_erased, d, "the log tells of the result");
    assert_false(dump_has(h, dump(h), "ats_7"));
    daemon_stop(h, d);
    assert_has_not(program_log(h, d), "ats_7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(a_sample_is_signed_and_sent),
        E2E_RUN(output_that_is_lost_is_told),
        E2E_RUN(an_imported_event_is_like_a_received_one),
        E2E_RUN(every_shape_of_file),
        E2E_RUN(what_is_refused_is_told_with_its_line),
        E2E_RUN(an_import_beside_an_open_transaction),
        E2E_RUN(what_import_cannot_do),
        E2E_RUN(a_large_file),
        E2E_RUN(nothing_of_an_erased_person_is_in_a_dump),
        E2E_RUN(what_erase_says),
        E2E_RUN(a_person_is_erased_while_a_call_is_under_way),
    };

    return e2e_main(tests);
}
