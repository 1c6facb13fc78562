#include "connector/module.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

/* A configuration file of our own has its connectors beside it; the shipped ones are found from the root of the tree.
 */
static char dir[] = "/tmp/atsyncd-module-XXXXXX";
static char config_path[sizeof dir + sizeof "/t.conf"];
#define SHIPPED_CONFIG "conf/t.conf"

static const struct {
    const char *type;
    const char *text;
} files[] = {
    {"region", "def meta: {name: \"region\", title: \"R\", base_url: \"https://{region}.example.com/v1\",\n"
               "  settings: {region: {help: \"where\", pattern: \"[a-z]{2}\"}, user: {help: \"who\", default: \"1\"},\n"
               "             extra: {help: \"more\", required: false}},\n"
               "  credentials: {api_key: {help: \"the key\"}, second: {help: \"another\", required: false}},\n"
               "  auth: {kind: \"basic\", username: \"{api_key}\", password: \"\"},\n"
               "  rate: {count: 50, per_ms: 10000}, concurrency: 3, timeout_ms: 128000, http1_only: true,\n"
               "  redirects: [\"*.example.com\", \"example.com\"],\n"
               "  capabilities: {stage: {values: [\"NEW\", \"IN_REVIEW\"]}, fields: {pattern: \"custom[0-9]+\"},\n"
               "                 tags: {batch: true, max_chars: 5}},\n"
               "  classify: true};\n"
               "def stage: 1;\ndef fields: 1;\ndef tags: 1;\ndef classify: null;\n"},
    {"other", "def meta: {name: \"other\", title: \"O\", base_url: \"https://o.example\", capabilities: {assessment: "
              "{needs_job: true}}};\n"
              "def assessment: 1;\n"},
    {"broken", "def meta:\n  {name: \"broken\",\n   title: };\n"},
    {"nofn", "def meta: {name: \"nofn\", title: \"N\", capabilities: {note: {}}};\n"},
    {"badfn", "def meta: {name: \"badfn\", title: \"N\", capabilities: {note: {}}};\n\ndef note:\n  nowhere(1);\n"},
    {"badmeta", "# capabilities\ndef meta: {name: \"badmeta\", title: \"N\", capabilities: {notes: {}}};\n"},
    {"failing", "def meta: \"a\" + 1;\n"},
    {"badpattern", "def meta: {name: \"badpattern\", title: \"B\", base_url: \"https://b.example\",\n"
                   "  settings: {s: {help: \"h\", pattern: \"[\"}}, capabilities: {note: {}}};\ndef note: 1;\n"},
    {"rest",
     "# over the shipped one\ndef meta: {name: \"rest\", title: \"mine\", capabilities: {note: {}}};\ndef note: 1;\n"},
};

static char *module_path(const char *type)
{
    return mem_printf("%s/connectors/%s.jq", dir, type);
}

static int make_files(void **state)
{
    char *connectors;

    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(config_path, sizeof config_path, "%s/t.conf", dir);
    connectors = mem_printf("%s/connectors", dir);
    if (mkdir(connectors, 0700) != 0)
        return -1;
    mem_free(connectors);
    for (size_t i = 0; i < ATS_COUNT(files); i++) {
        char *path = module_path(files[i].type);
        FILE *f = fopen(path, "we");

        if (f == NULL || fputs(files[i].text, f) < 0 || fclose(f) != 0)
            return -1;
        mem_free(path);
    }
    return 0;
}

static int remove_files(void **state)
{
    char *connectors = mem_printf("%s/connectors", dir);
    int rc;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(files); i++) {
        char *path = module_path(files[i].type);

        (void)unlink(path);
        mem_free(path);
    }
    rc = rmdir(connectors) != 0 || rmdir(dir) != 0 ? -1 : 0;
    mem_free(connectors);
    return rc;
}

/* ---- loading */
static struct connector_module *load(const char *path, const char *type)
{
    struct connector_module *m = NULL;
    struct errmsg err;

    if (connector_module_load(path, type, &m, &err) != ST_OK)
        fail_msg("%s", err.text);
    return m;
}

static void test_rest_is_found_and_can_everything(void **state)
{
    struct connector_module *m = load(SHIPPED_CONFIG, "rest");
    struct connector_config connector = {.name = (char[]){"c"}};
    struct connector_limits limits = connector_limits_of(m, &connector);

    (void)state;
    assert_string_equal(connector_module_type(m), "rest");
    assert_string_equal(connector_module_path(m), "conf/connectors/rest.jq");
    assert_string_equal(json_str(json_get(connector_module_meta(m), "name")), "rest");
    for (int kind = 0; kind < WRITE_KIND_COUNT; kind++)
        assert_true(connector_module_can(m, (enum write_kind)kind));
    assert_true(connector_module_can_find_marker(m));
    assert_true(connector_module_batches(m, WRITE_FIELD));
    assert_true(connector_module_batches(m, WRITE_TAG));
    assert_false(connector_module_batches(m, WRITE_NOTE));
    assert_true(connector_module_has(m, "probe"));
    assert_true(connector_module_has(m, "meta"));
    assert_false(connector_module_has(m, "classify"));
    assert_false(connector_module_has(m, "current_stage"));
    assert_int_equal(limits.timeout_ms, 30000);
    assert_false(limits.http1_only);
    assert_null(limits.redirect_hosts);
    connector_module_unref(m);
    connector_module_unref(NULL);
}

static void test_own_module_goes_before_a_shipped_one(void **state)
{
    struct connector_module *m = load(config_path, "rest");
    char *path = module_path("rest");

    (void)state;
    assert_string_equal(connector_module_path(m), path);
    assert_string_equal(json_str(json_get(connector_module_meta(m), "title")), "mine");
    mem_free(path);
    connector_module_unref(m);
}

static void test_limits(void **state)
{
    struct connector_module *m = load(config_path, "region");
    struct connector_module *plain = load(config_path, "other");
    struct connector_config connector = {.name = (char[]){"c"}};
    struct connector_limits limits = connector_limits_of(m, &connector);

    (void)state;
    assert_int_equal(limits.rate_count, 50);
    assert_int_equal(limits.rate_per_ms, 10000);
    assert_int_equal(limits.concurrency, 3);
    assert_int_equal(limits.timeout_ms, 128000);
    assert_true(limits.http1_only);
    assert_string_equal(limits.redirect_hosts, "*.example.com,example.com");
    connector.rate_count = 7;
    connector.rate_per_ms = 60000;
    connector.concurrency = 1;
    connector.timeout_ms = 500;
    limits = connector_limits_of(m, &connector);
    assert_int_equal(limits.rate_count, 7);
    assert_int_equal(limits.rate_per_ms, 60000);
    assert_int_equal(limits.concurrency, 1);
    assert_int_equal(limits.timeout_ms, 500);
    connector = (struct connector_config){.name = (char[]){"c"}};
    limits = connector_limits_of(plain, &connector);
    assert_int_equal(limits.rate_count, 10);
    assert_int_equal(limits.rate_per_ms, 1000);
    assert_int_equal(limits.concurrency, 4);
    assert_int_equal(limits.timeout_ms, 30000);
    assert_string_equal(connector_verb(WRITE_FIELD), "fields");
    assert_string_equal(connector_verb(WRITE_TAG), "tags");
    assert_string_equal(connector_verb(WRITE_NOTE), "note");
    connector_module_unref(plain);
    connector_module_unref(connector_module_ref(m));
    connector_module_unref(m);
}

static void test_what_cannot_be_loaded(void **state)
{
    static const struct {
        const char *type;
        int status;
        const char *begin; /* %s: the directory */
        const char *part;
    } cases[] = {
        {"regoin", ST_NOT_FOUND,
         "there is no connector type \"regoin\", did you mean \"region\"? (looked for regoin.jq in %s/connectors, ",
         "/atsyncd/connectors)"},
        {"zzzzzz", ST_NOT_FOUND, "there is no connector type \"zzzzzz\" (looked for zzzzzz.jq in %s/connectors, ",
         "/atsyncd/connectors)"},
        {"../connectors/region", ST_NOT_FOUND,
         "\"../connectors/region\" is no connector type: types have small letters, digits, \"-\" and \"_\"", ""},
        {"", ST_NOT_FOUND, "\"\" is no connector type: types have small letters, digits, \"-\" and \"_\"", ""},
        {"broken", ST_INVALID, "%s/connectors/broken.jq:3: syntax error", ""},
        {"nofn", ST_INVALID,
         "%s/connectors/nofn.jq: meta promises a function that the file does not have: ", "note/0 is not defined"},
        {"badfn", ST_INVALID, "%s/connectors/badfn.jq:4: nowhere/1 is not defined", ""},
        {"badmeta", ST_INVALID,
         "%s/connectors/badmeta.jq:2: meta.capabilities has an unknown member \"notes\", did you mean \"note\"?", ""},
        {"failing", ST_INVALID, "%s/connectors/failing.jq:1: meta: string (\"a\") and number (1) cannot be added", ""},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct connector_module *m = NULL;
        struct errmsg err = {""};
        const char *mark = strstr(cases[i].begin, "%s");
        char *begin = mark != NULL ? mem_printf("%.*s%s%s", (int)(mark - cases[i].begin), cases[i].begin, dir, mark + 2)
                                   : mem_strdup(cases[i].begin);

        assert_int_equal(connector_module_load(config_path, cases[i].type, &m, &err), cases[i].status);
        assert_null(m);
        if (!text_starts(err.text, begin) || strstr(err.text, cases[i].part) == NULL)
            fail_msg("%s", err.text);
        mem_free(begin);
    }
}

static void test_catalogue(void **state)
{
    struct json *list = connector_catalogue(config_path);
    const char *before = "";
    char *path = module_path("region");
    size_t errors = 0;

    (void)state;
    for (const struct json *e = json_first(list); e != NULL; e = json_next(e)) {
        const char *type = json_str(json_get(e, "type"));

        assert_true(strcmp(before, type) < 0);
        before = type;
        errors += json_get(e, "error") != NULL;
        assert_true((json_get(e, "error") == NULL) == (json_get(e, "meta") != NULL));
        assert_non_null(json_get_str(e, "path"));
        if (strcmp(type, "region") == 0) {
            assert_string_equal(json_str(json_get(e, "path")), path);
            assert_string_equal(json_str(json_get(json_get(e, "meta"), "title")), "R");
        }
    }
    assert_true(json_count(list) >= ATS_COUNT(files));
    assert_int_equal(errors, 5);
    mem_free(path);
    json_free(list);
}

/* ---- fitting */
#define WORKFLOW(text) "workflows:\n  w:\n    connector: ats\n" text

/* Problems as they are printed, without the file's directory; "" if all is right. Caller: mem_free. */
static char *problems_of(const char *path, const char *text)
{
    struct config *c = NULL;
    struct config_problems problems = {0};
    struct connector_set *set = NULL;
    struct buf out;
    int st;

    buf_init(&out, 65536);
    st = config_parse(path, text, strlen(text), &c, &problems);
    if (st == ST_OK) {
        st = connector_set_load(c, &set, &problems);
        assert_int_equal(st, problems.count > 0 ? ST_INVALID : ST_OK);
        assert_true((set != NULL) == (st == ST_OK));
    }
    config_problems_print(&problems, &out);
    config_problems_clear(&problems);
    connector_set_unref(set);
    config_unref(c);
    return buf_take(&out);
}

static void assert_problems(const char *path, const char *text, const char *expected)
{
    char *printed = problems_of(path, text);

    if (strcmp(printed, expected) != 0)
        fail_msg("%s\ngives\n%s\nexpected\n%s", text, printed, expected);
    mem_free(printed);
}

#define REST "connectors:\n  ats: {type: rest, base_url: \"http://127.0.0.1:1\", credentials: {token: t}}\n"

static void test_rest_fits(void **state)
{
    static const struct {
        const char *text;
        const char *problems;
    } cases[] = {
        {REST WORKFLOW(
             "    job: \"1\"\n    on: {started: {stage: A, only_from: [none], tags: [t]}, completed: {reject: no},\n"
             "         finished: {note: summary, assessment: mean, fields: {a: b}}}\n    fields: {x: y}\n"),
         ""},
        {"connectors:\n  ats:\n    type: rest\n",
         "conf/t.conf:2: connectors.ats.credentials.token: is required by type rest: the bearer token of the API\n"
         "conf/t.conf:2: connectors.ats.base_url: base_url is required: the address of the ATS's API, such as "
         "https://ats.example.com/api\n"},
        {"connectors:\n  ats:\n    type: rest\n    base_url: http://ats.example.com\n    credentials:\n      tokn: t\n "
         "     token: t\n"
         "    settings:\n      what: 1\n",
         "conf/t.conf:2: connectors.ats.base_url: base_url \"http://ats.example.com\" must begin with https://: "
         "credentials would travel "
         "unencrypted (http:// is for loopback and private addresses)\n"
         "conf/t.conf:6: connectors.ats.credentials.tokn: type rest has no such credential, did you mean \"token\"?\n"
         "conf/t.conf:9: connectors.ats.settings.what: type rest has no such setting\n"},
        {REST WORKFLOW("    on:\n      started: {stage: A}\n      completed: {reject: no}\n      finished: "
                       "{assessment: mean, tags: [x]}\n"),
         "conf/t.conf:7: workflows.w.on.started.stage: connector \"ats\" (type rest) needs to know the job for this: "
         "give workflows.w a job\n"
         "conf/t.conf:8: workflows.w.on.completed.reject: connector \"ats\" (type rest) needs to know the job for "
         "this: give workflows.w a "
         "job\n"
         "conf/t.conf:9: workflows.w.on.finished.assessment: connector \"ats\" (type rest) needs to know the job for "
         "this: give workflows.w "
         "a job\n"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_problems(SHIPPED_CONFIG, cases[i].text, cases[i].problems);
}

#define REGION "connectors:\n  ats: {type: region, settings: {region: eu}, credentials: {api_key: k}}\n"
#define OTHER "connectors:\n  ats: {type: other}\n"

static void test_abilities_and_values(void **state)
{
    static const struct {
        const char *text;
        const char *problems; /* each line without "DIR/t.conf:" */
    } cases[] = {
        {REGION WORKFLOW(
             "    on: {started: {stage: NEW, tags: [five5], fields: {custom12: x}}}\n    fields: {a: custom1}\n"),
         ""},
        {REGION WORKFLOW("    on:\n      started: {stage: NEWS, tags: [äöüäö, sixsix]}\n      completed: {stage: "
                         "Hired, only_from: [NEW]}\n"),
         "7: workflows.w.on.started.stage: the ATS has no \"NEWS\", did you mean \"NEW\"?\n"
         "7: workflows.w.on.started.tags: \"sixsix\" is longer than the 5 characters that the ATS allows\n"
         "8: workflows.w.on.completed.stage: the ATS has no \"Hired\"\n"
         "8: workflows.w.on.completed.only_from: connector \"ats\" (type region) cannot see in which stage a candidate "
         "is, so only_from is "
         "not possible\n"},
        {REGION WORKFLOW(
             "    on:\n      finished:\n        note: summary\n        assessment: mean\n        reject: no\n"
             "        fields:\n          custom1: a\n          customs: b\n    fields:\n      slug: xcustom1\n"),
         "7: workflows.w.on.finished.reject: connector \"ats\" (type region) cannot reject candidates\n"
         "7: workflows.w.on.finished.note: connector \"ats\" (type region) cannot write notes\n"
         "7: workflows.w.on.finished.assessment: connector \"ats\" (type region) cannot record assessments\n"
         "13: workflows.w.on.finished.fields: \"customs\" does not look like the connector wants it (pattern "
         "custom[0-9]+)\n"
         "15: workflows.w.fields: \"xcustom1\" does not look like the connector wants it (pattern custom[0-9]+)\n"},
        {OTHER WORKFLOW("    on:\n      started: {stage: A, tags: [a, b]}\n    fields:\n      x: y\n      z: y\n"),
         "7: workflows.w.on.started.stage: connector \"ats\" (type other) cannot move candidates to a stage\n"
         "7: workflows.w.on.started.tags: connector \"ats\" (type other) cannot set tags\n"
         "9: workflows.w.fields: connector \"ats\" (type other) cannot write fields\n"},
        {"connectors:\n  ats: {type: region, settings: {region: eux}, credentials: {api_key: k}}\n",
         "2: connectors.ats.settings.region: \"eux\" does not look like the connector wants it (pattern [a-z]{2})\n"},
        {"connectors:\n  ats: {type: region}\n",
         "2: connectors.ats.settings.region: is required by type region: where\n"
         "2: connectors.ats.credentials.api_key: is required by type region: the key\n"},
        {"connectors:\n  ats: {type: badpattern, settings: {s: x}}\n",
         "2: connectors.ats.settings.s: the pattern in DIR/connectors/badpattern.jq cannot be used: [\n"},
        {"connectors:\n  ats:\n    type: badmeta\n  two: {type: other}\n",
         "3: connectors.ats.type: DIR/connectors/badmeta.jq:2: meta.capabilities has an unknown member \"notes\", did "
         "you mean \"note\"?\n"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        char *printed = problems_of(config_path, cases[i].text);
        struct buf expected;

        /* puts file names and the directory in */
        buf_init(&expected, 65536);
        for (const char *p = cases[i].problems; *p != '\0'; p++) {
            if (p == cases[i].problems || p[-1] == '\n')
                buf_printf(&expected, "%s:", config_path);
            if (text_starts(p, "DIR")) {
                buf_puts(&expected, dir);
                p += 2;
            } else {
                buf_putc(&expected, *p);
            }
        }
        assert_string_equal(printed, buf_text(&expected));
        buf_free(&expected);
        mem_free(printed);
    }
}

static void test_set_shares_modules(void **state)
{
    static const char text[] = "connectors:\n  one: {type: other}\n  two: {type: other}\n";
    struct config *c = NULL;
    struct config_problems problems = {0};
    struct connector_set *set = NULL;
    struct connector_module *m;

    (void)state;
    assert_int_equal(config_parse(config_path, text, strlen(text), &c, &problems), ST_OK);
    assert_int_equal(connector_set_load(c, &set, &problems), ST_OK);
    config_unref(c);
    m = connector_set_find(set, "one");
    assert_non_null(m);
    assert_ptr_equal(connector_set_find(set, "two"), m);
    assert_null(connector_set_find(set, "three"));
    connector_set_unref(connector_set_ref(set));
    assert_string_equal(connector_module_type(m), "other");
    connector_module_ref(m);
    connector_set_unref(set);
    assert_string_equal(connector_module_type(m), "other");
    connector_module_unref(m);
    connector_set_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rest_is_found_and_can_everything),
        cmocka_unit_test(test_own_module_goes_before_a_shipped_one),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_what_cannot_be_loaded),
        cmocka_unit_test(test_catalogue),
        cmocka_unit_test(test_rest_fits),
        cmocka_unit_test(test_abilities_and_values),
        cmocka_unit_test(test_set_shares_modules),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
