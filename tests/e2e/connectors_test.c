/* The connectors as an administrator meets them: the catalogue, check with its probe, and modules of one's own. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/harness.h"

#define WRONG_TOKEN "credentials: {token: \"not-the-sandbox-token\"}\n"

static void assert_has(const char *output, const char *part)
{
    if (!text_has(output, part))
        fail_msg("no \"%s\" in:\n%s", part, output);
}

static void assert_has_not(const char *output, const char *part)
{
    if (text_has(output, part))
        fail_msg("\"%s\" in:\n%s", part, output);
}

#define SHIPPED TEST_SOURCE_DIR "/conf/connectors"

static void each_shipped(struct harness *h, const char *dir, bool link_them)
{
    DIR *shipped = opendir(SHIPPED);
    const struct dirent *entry;

    assert_non_null(shipped);
    while ((entry = readdir(shipped)) != NULL) {
        const char *there = arena_printf(h->arena, "%s/%s", dir, entry->d_name);

        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(
            link_them ? symlink(arena_printf(h->arena, SHIPPED "/%s", entry->d_name), there) : unlink(there), 0);
    }
    (void)closedir(shipped);
}

/*
 * DIR/connectors/TYPE.jq beside the configuration; text NULL: is taken away. The harness has a link there to the
 * directory of the shipped modules, which must not be written to: one with links to them takes its place meanwhile.
 */
static const char *own_module(struct harness *h, const char *type, const char *text)
{
    const char *dir = arena_printf(h->arena, "%s/connectors", h->dir);
    const char *path = arena_printf(h->arena, "%s/%s.jq", dir, type);
    const char *shipped = arena_printf(h->arena, SHIPPED "/%s.jq", type);
    struct stat info;
    FILE *f;

    assert_int_equal(lstat(dir, &info), 0);
    if (S_ISLNK(info.st_mode)) {
        assert_int_equal(unlink(dir), 0);
        assert_int_equal(mkdir(dir, 0755), 0);
        each_shipped(h, dir, true);
    }
    if (unlink(path) != 0)
        assert_int_equal(errno, ENOENT);
    if (text == NULL) {
        if (access(shipped, F_OK) == 0)
            assert_int_equal(symlink(shipped, path), 0);
        each_shipped(h, dir, false);
        assert_int_equal(rmdir(dir), 0);
        assert_int_equal(symlink(SHIPPED, dir), 0);
        return path;
    }
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0644), 0);
    return path;
}

static const char *run(struct harness *h, int expected, const char *program, const char *conf, const char *a,
                       const char *b, const char *c)
{
    const char *output = NULL;
    int status = program_run(h, &output, program, "-c", conf, a, b, c, NULL);

    if (status != expected)
        fail_msg("%s %s: status %d, not %d:\n%s", program, a, status, expected, output);
    return output;
}

/* ---- check */

E2E_TEST(check_finds_all_well)
{
    struct program *d = daemon_start(h, NULL);
    const char *output = run(h, 0, "atsyncctl", d->conf_path, "check", NULL, NULL);
    const struct json *j;

    assert_has(output, "configuration        ok, ");
    assert_has(output, "\ndatabase             ok, schema version ");
    assert_has(output, "\nclock                ok, the clock");
    assert_has(output, "\npermissions          ok, nobody else can change the 2 files that count\n");
    assert_has(output,
               arena_printf(h->arena, "\nconnector sandbox    ok, http://127.0.0.1:%u lets us in (", h->sandbox->port));
    assert_int_equal(ats_figure(h, "requests"), 1);

    j = json_of(h, run(h, 0, "atsyncctl", d->conf_path, "check", "--json", NULL));
    assert_true(json_get_bool(j, "ok"));
    assert_int_equal(json_count(json_get(j, "checks")), 5);
    assert_string_equal(json_str(json_at(j, "checks.4.check")), "connector sandbox");
    assert_int_equal(ats_figure(h, "requests"), 2);

    output = run(h, 0, "atsyncctl", d->conf_path, "check", "--no-probe", NULL);
    assert_has_not(output, "connector sandbox");
    assert_int_equal(ats_figure(h, "requests"), 2);
    daemon_stop(h, d);
}

E2E_TEST(check_says_what_an_ats_does_not_like)
{
    struct program *d = daemon_start(h, NULL);
    const char *output;
    const struct json *j;

    daemon_rewrite_conf(h, d, &(struct daemon_conf){.access = WRONG_TOKEN});
    output = run(h, 1, "atsyncctl", d->conf_path, "check", NULL, NULL);
    assert_has(output,
               arena_printf(h->arena, "\nconnector sandbox    FAILED: http://127.0.0.1:%u: ", h->sandbox->port));
    assert_has(output, " (HTTP 401)\n                     are connectors.sandbox.credentials right, and not expired?");
    assert_has_not(output, "not-the-sandbox-token");
    /* the others were looked at all the same */
    assert_has(output, "\ndatabase             ok, ");

    daemon_rewrite_conf(h, d, NULL);
    ats_stop(h);
    j = json_of(h, run(h, 1, "atsyncctl", d->conf_path, "check", "--json", NULL));
    assert_false(json_get_bool(j, "ok"));
    assert_false(json_get_bool(json_at(j, "checks.4"), "ok"));
    assert_has(json_str(json_at(j, "checks.4.hint")), "does the base_url of connectors.sandbox lead to the ATS");
    ats_start(h);

    daemon_rewrite_conf(h, d, &(struct daemon_conf){.conninfo = "host=/nowhere dbname=none"});
    output = run(h, 1, "atsyncctl", d->conf_path, "check", NULL, NULL);
    assert_has(output, "\ndatabase             FAILED: ");
    assert_has(output, "\nconnector sandbox    ok, ");
    daemon_rewrite_conf(h, d, NULL);
    daemon_stop(h, d);
}

/* A module without a probe, and one that needs what only the daemon has. */
E2E_TEST(check_says_what_it_does_not_probe)
{
    struct program *d = daemon_start(h, NULL);
    const char *output;

    (void)own_module(h, "rest",
                     "def meta: {name: \"rest\", title: \"Mine\", credentials: {token: {help: \"t\"}},\n"
                     "  capabilities: {stage: {only_from: true}, reject: {}, fields: {}, tags: {}, note: {}}};\n"
                     "def stage: {already: true};\ndef reject: stage;\ndef fields: stage;\n"
                     "def tags: stage;\ndef note: stage;\n");
    output = run(h, 0, "atsyncctl", d->conf_path, "check", NULL, NULL);
    assert_has(output, "\nconnector sandbox    ok, not probed: the type rest has no probe\n");
    assert_int_equal(ats_figure(h, "requests"), 0);
    (void)own_module(h, "rest", NULL);
    daemon_stop(h, d);
}

/* ---- modules of one's own */

/* Does less than the shipped one, and does it elsewhere. */
#define MINE                                                                                                           \
    "def meta: {name: \"rest\", title: \"My own\", credentials: {token: {help: \"t\"}},\n"                             \
    "  auth: {kind: \"header\", name: \"Authorization\", value: \"Bearer {token}\"},\n"                                \
    "  capabilities: {tags: {batch: true}, stage: {}, reject: {}, fields: {}, note: {}}};\n"                           \
    "def tags: {request: {method: \"POST\", path: [\"candidates\", .candidate.id, \"tags\"],\n"                        \
    "  body: {tags: [.write.tags[] | \"mine-\" + .]}}};\n"                                                             \
    "def stage: {already: true};\ndef reject: stage;\ndef fields: stage;\ndef note: stage;\n"
#define TAGS_ONLY                                                                                                      \
    "cedar-rgn-screening:\n  connector: sandbox\n  job: \"" E2E_JOB "\"\n  on:\n    started: {tags: [begun]}\n"

E2E_TEST(own_module_overrides_a_shipped_one)
{
    const char *path = own_module(h, "rest", MINE);
    struct program *d = daemon_start(h, &(struct daemon_conf){.workflows = TAGS_ONLY});
    const char *output;

    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_7", NULL));
    wait_ats(h, "ats_7", "tags", "[\"mine-begun\"]");
    output = run(h, 0, "atsyncctl", d->conf_path, "connectors", "rest", NULL);
    assert_has(output, "title         My own\n");
    assert_has(output, arena_printf(h->arena, "file          %s\n", path));
    daemon_stop(h, d);

    (void)own_module(h, "rest", NULL);
    daemon_start_again(h, d);
    popp_deliver(h, d, popp_event(h, "run-started", "candidate", "ats_8", "run", "run_8", NULL));
    wait_ats(h, "ats_8", "tags", "[\"begun\"]");
    daemon_stop(h, d);
}

E2E_TEST(own_module_of_a_new_type)
{
    struct program *d = daemon_start(h, NULL);
    const char *output;

    (void)own_module(h, "house",
                     "def meta: {name: \"house\", title: \"Our own ATS\", capabilities: {note: {}}};\n"
                     "def note: {request: {method: \"POST\", path: [\"notes\"], body: .write}};\n");
    output = run(h, 0, "atsyncctl", d->conf_path, "connectors", NULL, NULL);
    assert_has(output, "house\tOur own ATS\tnote\tbase_url\t");
    assert_has(output,
               "\nrest\tPlain REST API\tstage reject fields tags note assessment\tbase_url credentials.token\t");
    assert_has(output, "\ngreenhouse\tGreenhouse (Harvest v3)\t");
    (void)own_module(h, "house", NULL);
    output = run(h, 2, "atsyncctl", d->conf_path, "connectors", "reest", NULL);
    assert_has(output, "there is no connector type \"reest\", did you mean rest?");
    daemon_stop(h, d);
}

static const struct {
    const char *text;
    unsigned line;
    const char *reason;
} faulty[] = {
    {"def meta: {name: \"rest\",\n  title: \"x\",\n  capabilities: ]};\n", 3, "closes nothing"},
    {"def meta: {name: \"rest\", title: \"x\", capabilities: {note: {}}};\n\ndef note:\n  nowhere(1);\n", 4,
     "nowhere/1"},
    {"def meta: {name: \"rest\", title: \"x\", capabilities: {note: {}}};\ndef note: $ENV;\n", 2, "ENV"},
    {"def meta: {name: \"rest\", title: \"x\", capabilities: {nte: {}}};\n", 1, "did you mean \"note\"?"},
};

E2E_TEST(faulty_module_is_told_with_file_and_line)
{
    struct program *d = daemon_start(h, NULL);

    for (size_t i = 0; i < ATS_COUNT(faulty); i++) {
        const char *path = own_module(h, "rest", faulty[i].text);
        const char *place = arena_printf(h->arena, "%s:%u: ", path, faulty[i].line);
        const char *output = run(h, 1, "atsyncd", d->conf_path, "-t", NULL, NULL);

        assert_has(output, place);
        assert_has(output, faulty[i].reason);
        /* on the line of the configuration that names the type */
        assert_has(output, arena_printf(h->arena, "%s:", d->conf_path));
        assert_has(output, ": connectors.sandbox.type: ");
        output = run(h, 1, "atsyncctl", d->conf_path, "connectors", NULL, NULL);
        assert_has(output, place);
        assert_has(output, "greenhouse\t"); /* the others are there */
        output = run(h, 1, "atsyncctl", d->conf_path, "connectors", "rest", NULL);
        assert_has(output, place);
        output = run(h, 1, "atsyncctl", d->conf_path, "check", NULL, NULL);
        assert_has(output, "configuration        FAILED: ");
        assert_has(output, place);
    }
    (void)own_module(h, "rest", NULL);
    (void)run(h, 0, "atsyncd", d->conf_path, "-t", NULL, NULL);
    daemon_stop(h, d);
}

/* Whoever corrects a file wants to know of everything at once: what the parts are, and what the connectors can do with those that could be read. */
E2E_TEST(all_problems_are_told_in_one_go)
{
    static const char text[] = "receiver: {lisen: x}\n"
                               "sources: {popp: {signing_secrets: [{env: HOME}]}}\n"
                               "database: {conninfo: dbname=x}\n"
                               "connectors:\n"
                               "  good: {type: lever, credentials: {api_key: x}, settings: {perform_as: "
                               "0123abcd-0123-0123-0123-0123456789ab}}\n"
                               "  lever: {type: lever, rate_limit: fast, credentials: {foo: x, api_key: {file: "
                               "/nowhere}}, settings: {perform_as: x}}\n"
                               "  wrong: {type: ../x}\n"
                               "  none: {credentials: {token: x}}\n"
                               "workflows:\n"
                               "  a: {connector: lever, on: {finished: {assessment: mean}, completd: {stage: x}}, "
                               "fields: {x: y, z: {feld: u}}}\n"
                               "  b: {connector: nobody, on: {started: {stage: x}}}\n"
                               "  c: {on: {started: {tags: [t]}}}\n"
                               "  d: {connector: none, on: {started: {tags: [t]}}}\n";
    static const struct {
        unsigned line;
        const char *problem;
    } expected[] = {
        {1, "receiver.lisen: unknown key, did you mean \"listen\"?"},
        {6, "connectors.lever.rate_limit: must be a rate"},
        {6, "connectors.lever.credentials.foo: type lever has no such credential"},
        {6, "connectors.lever.credentials.api_key"},
        {7, "connectors.wrong.type: must consist of"},
        {8, "connectors.none.type: is missing"},
        {6, "connectors.lever.settings.perform_as: \"x\" does not look like"},
        {10, "workflows.a.on.finished.assessment: connector \"lever\" (type lever) cannot record assessments"},
        {10, "workflows.a.on.completd: unknown condition \"completd\", did you mean \"completed\"?"},
        {10, "workflows.a.fields: connector \"lever\" (type lever) cannot write fields"},
        {10, "workflows.a.fields.z.feld: unknown key, did you mean \"field\"?"},
        {10, "workflows.a.fields.z.field: is missing"},
        {11, "workflows.b.connector: there is no connector \"nobody\""},
        {12, "workflows.c.connector: is missing"},
    };
    const char *path = private_file(h, "faulty.conf", text);
    const char *output = run(h, 1, "atsyncd", path, "-t", NULL, NULL);
    size_t lines = 0;

    for (const char *at = output; (at = strstr(at, path)) != NULL; at++)
        lines++;
    for (size_t i = 0; i < ATS_COUNT(expected); i++)
        assert_has(output, arena_printf(h->arena, "%s:%u: %s", path, expected[i].line, expected[i].problem));
    assert_int_equal(lines, ATS_COUNT(expected)); /* and none of them twice, nor what only follows from another */
}

/* ---- connector-test */

E2E_TEST(connector_test_of_the_example)
{
    struct program *d = daemon_start(h, NULL);
    const char *example = TEST_SOURCE_DIR "/conf/connector-tests/rest.json";
    const char *output = run(h, 0, "atsyncctl", d->conf_path, "connector-test", "rest", example);
    const struct json *j;

    assert_has(output, "1. GET https://ats.example.com/api/candidates/ats_42/jobs/182736/stage\n");
    assert_has(output, "2. PUT https://ats.example.com/api/candidates/ats_42/jobs/182736/stage  (writes)\n");
    assert_has(output, "\nEnded: ok\n");
    assert_int_equal(program_run(h, &output, "atsyncctl", "-c", d->conf_path, "connector-test", "rest", example,
                                 "--function", "reject", "--json", NULL),
                     1);
    j = json_of(h, output);
    assert_string_equal(json_str(json_at(j, "requests.0.method")), "POST");
    assert_string_equal(json_str(json_at(j, "result.outcome")), "ok");
    assert_int_equal(ats_figure(h, "requests"), 0);
    output = run(h, 1, "atsyncctl", d->conf_path, "connector-test", "rest", d->conf_path);
    assert_has(output, d->conf_path);
    assert_has(output, "not valid JSON");
    output = run(h, 2, "atsyncctl", d->conf_path, "connector-test", "rest", NULL);
    assert_has(output, "TYPE and FILE are wanted");
    daemon_stop(h, d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(check_finds_all_well),
        E2E_RUN(check_says_what_an_ats_does_not_like),
        E2E_RUN(check_says_what_it_does_not_probe),
        E2E_RUN(own_module_overrides_a_shipped_one),
        E2E_RUN(own_module_of_a_new_type),
        E2E_RUN(faulty_module_is_told_with_file_and_line),
        E2E_RUN(all_problems_are_told_in_one_go),
        E2E_RUN(connector_test_of_the_example),
    };

    return e2e_main(tests);
}
