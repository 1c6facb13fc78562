/* What an administrator does with people's data, against a real database and the daemon: import, erase. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "lib/ctlkit.h"

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
    const char *output;
    int out[2], status = 0;
    pid_t pid;

    for (size_t i = 0; i < ARGS_MAX && args[i] != NULL; i++)
        argv[i + 3] = arena_strdup(h->arena, args[i]);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int in = open(input_path != NULL ? input_path : "/dev/null", O_RDONLY);

        if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0 ||
            (both && dup2(out[1], STDERR_FILENO) < 0))
            _exit(126);
        (void)execv(argv[0], argv);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(an_imported_event_is_like_a_received_one),
        E2E_RUN(every_shape_of_file),
        E2E_RUN(what_is_refused_is_told_with_its_line),
        E2E_RUN(what_import_cannot_do),
        E2E_RUN(a_large_file),
    };

    return e2e_main(tests);
}
