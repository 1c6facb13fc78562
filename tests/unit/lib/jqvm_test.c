#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/text.h"
#include "lib/jqvm.h"

enum { OUTPUT_MAX_BYTES = 100000, MESSAGE_BYTES = 512 };

#define ENVIRONMENT ": it would depend on the environment of the process"
#define INPUT ": its only input is '.'"
#define OUTPUT ": its result is its only output"
#define FILES ": it must stand alone in its file"
#define END ": only error(…) may end it early"
#define CLOCK ": the same input must always give the same result"

static struct jqvm *compiled(const char *program)
{
    struct jqvm *q = NULL;
    struct errmsg err = {""};

    if (jqvm_compile("x.jq", program, &q, &err) != ST_OK)
        fail_msg("%s\ndoes not compile: %s", program, err.text);
    assert_non_null(q);
    return q;
}

/* Compiles and runs; gives the output, or the error message after its status. */
static char *evaluated(const char *program, const char *input)
{
    struct jqvm *q = compiled(program);
    struct errmsg err = {""};
    struct buf out;
    char *text;
    int st;

    buf_init(&out, OUTPUT_MAX_BYTES);
    st = jqvm_run(q, input, strlen(input), &out, &err);
    if (st == ST_OK) {
        text = buf_take(&out);
    } else {
        assert_int_equal(out.len, 0);
        text = mem_printf("%s: %s", status_name(st), err.text);
    }
    buf_free(&out);
    jqvm_free(q);
    return text;
}

static void assert_evaluates(const char *program, const char *input, const char *expected)
{
    char *text = evaluated(program, input);

    if (strcmp(text, expected) != 0)
        fail_msg("%s\ngives    %s\nexpected %s", program, text, expected);
    mem_free(text);
}

static void test_denied_words(void **state)
{
    static const struct {
        const char *program;
        unsigned line;
        const char *what;
    } cases[] = {
        {"env", 1, "env" ENVIRONMENT},
        {"def f: .a;\n\nf | env.HOME", 3, "env" ENVIRONMENT},
        {"$ENV.HOME", 1, "$ENV" ENVIRONMENT},
        {"$ # why\n ENV", 1, "$ENV" ENVIRONMENT},
        {"{$ENV}", 1, "$ENV" ENVIRONMENT},
        {". as {$ENV} | 1", 1, "$ENV" ENVIRONMENT},
        {"$__prog_args", 1, "$__prog_args" ENVIRONMENT},
        {"1env", 1, "env" ENVIRONMENT},
        {"..\n|\r\n..env", 3, "env" ENVIRONMENT},
        {"[.a,\ninput]", 2, "input" INPUT},
        {"[inputs]", 1, "inputs" INPUT},
        {"input_filename", 1, "input_filename" INPUT},
        {"input_line_number", 1, "input_line_number" INPUT},
        {". input", 1, "input" INPUT},
        {"def input: 1; .", 1, "input" INPUT},
        {"def f(input): 1; .", 1, "input" INPUT},
        {"{a: input}", 1, "input" INPUT},
        {"{a: 1 | input}", 1, "input" INPUT},
        {"{(input): 1}", 1, "input" INPUT},
        {"{a: [1, input]}", 1, "input" INPUT},
        {"{a: if . then 1, input, 2 else 3 end}", 1, "input" INPUT},
        {"{\"\\(1, input)\": 1}", 1, "input" INPUT},
        {"\"a\n\\(\n{b: \"\\(input)\"})\"", 3, "input" INPUT},
        {"\"\\\\\\(input)\"", 1, "input" INPUT},
        {"@json \"x\\(input)\"", 1, "input" INPUT},
        {"@base64 | input", 1, "input" INPUT},
        {"\"#\" | input", 1, "input" INPUT},
        {"# \"\n input", 2, "input" INPUT},
        {"debug", 1, "debug" OUTPUT},
        {"debug(\"x\")", 1, "debug" OUTPUT},
        {".|stderr", 1, "stderr" OUTPUT},
        {"\nimport \"a\" as a; .", 2, "import" FILES},
        {"include \"a\"; .", 1, "include" FILES},
        {"modulemeta", 1, "modulemeta" FILES},
        {"get_search_list", 1, "get_search_list" FILES},
        {"get_jq_origin", 1, "get_jq_origin" FILES},
        {"get_prog_origin", 1, "get_prog_origin" FILES},
        {"halt", 1, "halt" END},
        {"halt_error", 1, "halt_error" END},
        {"halt_error(1)", 1, "halt_error" END},
        {"now", 1, "now" CLOCK},
        {"0 | localtime", 1, "localtime" CLOCK},
        {"0 | strflocaltime(\"%H\")", 1, "strflocaltime" CLOCK},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct jqvm *q = NULL;
        struct errmsg err = {""};
        char expected[MESSAGE_BYTES];

        snprintf(expected, sizeof expected, "ats.jq:%u: a connector may not use %s", cases[i].line, cases[i].what);
        if (jqvm_compile("ats.jq", cases[i].program, &q, &err) != ST_INVALID || strcmp(err.text, expected) != 0)
            fail_msg("%s\nsays     %s\nexpected %s", cases[i].program, err.text, expected);
        assert_null(q);
    }
}

static void test_allowed_look_alikes(void **state)
{
    static const struct {
        const char *program;
        const char *output;
    } cases[] = {
        {".input", "7"},
        {".a.env?", "null"},
        {"{input: 1}", "{\"input\":1}"},
        {"{a: 1, input: 2}", "{\"a\":1,\"input\":2}"},
        {"{input}", "{\"input\":7}"},
        {"{a: 1, input, env # now\n }", "{\"a\":1,\"input\":7,\"env\":null}"},
        {"{\"env\": 1}", "{\"env\":1}"},
        {"{a: (if . then 1 else 2 end), input: 3}", "{\"a\":1,\"input\":3}"},
        {". as {input: $x} | $x", "7"},
        {". as {$input} | $input", "7"},
        {". as $env | $env.input", "7"},
        {"\"env input \\\\(now)\"", "\"env input \\\\(now)\""},
        {"\"\\(.input) debug\"", "\"7 debug\""},
        {"# env\n.input # input", "7"},
        {"\"a#b\" | length", "3"},
        {".[\"input\"]", "7"},
        {".\"input\"", "7"},
        {"def environment: 1; def inputs_of: 2; environment + inputs_of", "3"},
        {"def now_: 3; now_", "3"},
        {"getpath([\"input\"])", "7"},
        {"[limit(2; repeat(1))]", "[1,1]"},
        {"\"a, b\" | [splits(\", \")]", "[\"a\",\"b\"]"},
        {"0 | todate", "\"1970-01-01T00:00:00Z\""},
        {"\"1970-01-02T00:00:00Z\" | fromdate", "86400"},
        {"0 | gmtime | mktime", "0"},
        {"$__loc__.line", "1"},
        {"[1.5e3, .5, 2.e1] | map(. * 1)", "[1500,0.5,20]"},
        {"@base64 \"\\(.input)\" + @uri \"/\\(\"a b\")\"", "\"Nw==/a%20b\""},
        {"\"\\(def f: \"x\\(1)\"; f)\"", "\"x1\""},
        {". as $all | \"\\($all.input)\\(\"<\\($all|length)>\")\"", "\"7<1>\""},
        {".a // 3 | .,4", "3"},
        {"", "{\"input\":7}"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_evaluates(cases[i].program, "{\"input\":7}", cases[i].output);
}

static void test_module_directive(void **state)
{
    struct jqvm *q = NULL;
    struct errmsg err = {""};

    (void)state;
    assert_evaluates("# c\nmodule {\"name\": \"ats\", \"input\": 1};\ndef f: .a;\n{b: f}", "{\"a\":[1]}",
                     "{\"b\":[1]}");
    assert_int_equal(jqvm_compile("m.jq", "module {};\n\nfoo", &q, &err), ST_INVALID);
    assert_string_equal(err.text, "m.jq:3: foo/0 is not defined");
}

static void test_compile_errors(void **state)
{
    static const struct {
        const char *program;
        const char *message;
    } cases[] = {
        {".a |\n foo(1)", "ats.jq:2: foo/1 is not defined"},
        {"foo |\n\nbar", "ats.jq:1: foo/0 is not defined; ats.jq:3: bar/0 is not defined"},
        {"\n\n. as $x | $y", "ats.jq:3: $y is not defined"},
        {"\n(.a\n|[", "ats.jq:3: [ is never closed"},
        {"\n(.a", "ats.jq:2: ( is never closed"},
        {".a\n]", "ats.jq:2: ] closes nothing"},
        {"(.a]", "ats.jq:1: ] closes nothing"},
        {"\"\\(.a]\"", "ats.jq:1: ] closes nothing"},
        {"if .a\nthen 1 else 2", "ats.jq:1: an if has no end"},
        {".a\nend", "ats.jq:2: end without if"},
        {"1 + \n\"abc\n\n", "ats.jq:2: a string is never closed"},
        {"\"abc\\", "ats.jq:1: a string is never closed"},
        {"\"abc \\(\n1", "ats.jq:1: \\( is never closed"},
        {"1 # a \\\n + 1", "ats.jq:1: a comment must not end in a backslash"},
        {"1\n# a \\", "ats.jq:2: a comment must not end in a backslash"},
        {"1 # a\r + 1", "ats.jq:1: a carriage return stands alone; lines end in \\n or \\r\\n"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct jqvm *q = NULL;
        struct errmsg err = {""};

        assert_int_equal(jqvm_compile("ats.jq", cases[i].program, &q, &err), ST_INVALID);
        assert_string_equal(err.text, cases[i].message);
        assert_null(q);
    }
}

/* The words are the parser's, and it finds others in other versions; the place and the beginning are ours. */
static void test_syntax_errors(void **state)
{
    static const struct {
        const char *program;
        const char *begin;
    } cases[] = {
        {".a |\n1 + + 2", "ats.jq:2: syntax error, unexpected '+'"},
        {"\n\"\\q\"", "ats.jq:2: Invalid escape at line 1, column 4"},
        {"\"a\n\\(1\n+)\"", "ats.jq:3: syntax error, unexpected ')'"},
        {"@json \"a\n\\(\"b\n\\(1;2)\")\"", "ats.jq:3: syntax error, unexpected ';'"},
        {"\n.a .", "ats.jq:2: syntax error"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct jqvm *q = NULL;
        struct errmsg err = {""};

        assert_int_equal(jqvm_compile("ats.jq", cases[i].program, &q, &err), ST_INVALID);
        if (!text_starts(err.text, cases[i].begin) || strstr(err.text, "shell") != NULL ||
            strchr(err.text, '\n') != NULL)
            fail_msg("%s\nsays %s", cases[i].program, err.text);
        assert_null(q);
    }
}

static void test_nested_program_is_refused_not_fatal(void **state)
{
    char *program = mem_alloc(401);
    struct jqvm *q = NULL;
    struct errmsg err = {""};

    (void)state;
    memset(program, '[', 200);
    memset(program + 200, ']', 200);
    program[400] = '\0';
    assert_int_equal(jqvm_compile("n.jq", program, &q, &err), ST_OK);
    jqvm_free(q);
    q = NULL;
    memset(program, '[', 201);
    assert_int_equal(jqvm_compile("n.jq", program, &q, &err), ST_INVALID);
    assert_string_equal(err.text, "n.jq:1: nested deeper than 200 levels");
    assert_null(q);
    mem_free(program);
}

static void test_many_errors_are_cut_to_fit(void **state)
{
    struct buf program;
    struct jqvm *q = NULL;
    struct errmsg err = {""};

    (void)state;
    buf_init(&program, OUTPUT_MAX_BYTES);
    buf_puts(&program, ".");
    for (unsigned i = 0; i < 100; i++)
        buf_printf(&program, "\n| undefined_%u", i);
    assert_int_equal(jqvm_compile("ats.jq", buf_text(&program), &q, &err), ST_INVALID);
    assert_int_equal(strncmp(err.text, "ats.jq:2: undefined_0/0 is not defined; ats.jq:3: ", 50), 0);
    assert_true(strlen(err.text) < sizeof err.text);
    buf_free(&program);
}

static void test_nothing_goes_to_stderr(void **state)
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    struct jqvm *q = NULL;
    struct stat info;
    char *text;
    int st;

    (void)state;
    assert_non_null(file);
    fflush(stderr);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    st = jqvm_compile("x.jq", "foo | bar", &q, NULL);
    text = evaluated("error(\"x\")", "1");
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(st, ST_INVALID);
    assert_string_equal(text, "invalid: x");
    assert_int_equal(fstat(fileno(file), &info), 0);
    assert_int_equal(info.st_size, 0);
    mem_free(text);
    fclose(file);
}

static void test_run_time_errors(void **state)
{
    char *text = evaluated(".a", "1");

    (void)state;
    assert_true(text_starts(text, "invalid: Cannot index number with "));
    mem_free(text);
    text = evaluated("\"x\" | test(\"(\")", "1");
    assert_true(text_starts(text, "invalid: "));
    mem_free(text);
    assert_evaluates("error(\"no job in settings\")", "1", "invalid: no job in settings");
    assert_evaluates("error({class: \"config\"})", "1", "invalid: {\"class\":\"config\"}");
    assert_evaluates("try error(\"x\") catch (\"caught \" + .)", "1", "\"caught x\"");
}

static void test_outputs(void **state)
{
    (void)state;
    assert_evaluates("empty", "1", "not_found: the program gave no output");
    assert_evaluates(".[]", "[]", "not_found: the program gave no output");
    assert_evaluates("3, 2, error(\"never reached\")", "1", "3");
    assert_evaluates(".[]", "[\"a\",\"b\"]", "\"a\"");
    assert_evaluates("null", "1", "null");
    assert_evaluates("false", "1", "false");
    assert_evaluates(".", "\"\\u00e9\\u20ac\\n\"", "\"é€\\n\"");
}

static void test_bad_input(void **state)
{
    (void)state;
    assert_evaluates(".", "", "invalid: the input is empty");
    assert_evaluates(".", "  \n", "invalid: the input is empty");
    assert_evaluates(".", "1 2", "invalid: the input is more than one JSON text");
    assert_evaluates(
        ".",
        "{\"a\":", "invalid: the input is not JSON that jq can read: Unfinished JSON term at EOF at line 1, column 5");
    assert_evaluates(
        ".", "[1] x",
        "invalid: the input is not JSON that jq can read: Invalid numeric literal at EOF at line 1, column 5");
}

static char *nested(size_t levels)
{
    char *text = mem_alloc(2 * levels + 1);

    memset(text, '[', levels);
    memset(text + levels, ']', levels);
    text[2 * levels] = '\0';
    return text;
}

static void test_depth(void **state)
{
    char *fits = nested(250);
    char *deep = nested(20000);
    char *text;

    (void)state;
    assert_evaluates("length", fits, "1");
    text = evaluated("length", deep);
    assert_int_equal(
        strncmp(text, "invalid: the input is not JSON that jq can read: Exceeds depth limit for parsing", 80), 0);
    mem_free(text);
    assert_evaluates("reduce range(20000) as $i (0; [.])", "1", "invalid: the output is nested too deeply");
    assert_evaluates("\"a\\\"<skipped: too deep>\"", "1", "\"a\\\"<skipped: too deep>\"");
    mem_free(fits);
    mem_free(deep);
}

static void test_output_is_appended_only_on_success(void **state)
{
    struct jqvm *q = compiled("if . == 1 then error(\"x\") elif . == 2 then empty else . end");
    struct errmsg err = {""};
    struct buf out;

    (void)state;
    buf_init(&out, 10);
    buf_puts(&out, "ab");
    assert_int_equal(jqvm_run(q, "1", 1, &out, &err), ST_INVALID);
    assert_int_equal(jqvm_run(q, "2", 1, &out, &err), ST_NOT_FOUND);
    assert_int_equal(jqvm_run(q, "[", 1, &out, &err), ST_INVALID);
    assert_int_equal(jqvm_run(q, "\"1234567\"", 9, &out, &err), ST_LIMIT);
    assert_string_equal(err.text, "the output of 9 bytes is larger than allowed");
    assert_string_equal(buf_text(&out), "ab");
    assert_false(out.failed);
    assert_int_equal(jqvm_run(q, "\"123456\"", 8, &out, &err), ST_OK);
    assert_string_equal(buf_text(&out), "ab\"123456\"");
    buf_free(&out);
    jqvm_free(q);
}

static void test_reuse_does_not_grow(void **state)
{
    static const char input[] =
        "{\"nodes\":[{\"answers\":[{\"slug\":\"a\",\"answer\":\"b\"},{\"slug\":\"c\",\"answer\":1.5}]}]}";
    struct jqvm *q = compiled("if .fail then error(.fail) else [.nodes[].answers[] | {(.slug): .answer}] | add end");
    struct buf out;
    size_t before = 0;

    (void)state;
    buf_init(&out, OUTPUT_MAX_BYTES);
    for (unsigned i = 0; i < 1000; i++) {
        if (i == 100)
            before = mallinfo2().uordblks;
        buf_reset(&out);
        assert_int_equal(jqvm_run(q, input, sizeof input - 1, &out, NULL), ST_OK);
        assert_string_equal(buf_text(&out), "{\"a\":\"b\",\"c\":1.5}");
        assert_int_equal(jqvm_run(q, "{\"fail\":\"x\"}", 12, &out, NULL), ST_INVALID);
        assert_int_equal(jqvm_run(q, "{\"fail\"", 7, &out, NULL), ST_INVALID);
    }
    assert_true(mallinfo2().uordblks <= before + 1000);
    buf_free(&out);
    jqvm_free(q);
}

struct worker {
    pthread_t thread;
    unsigned number;
    unsigned right;
};

static void *run_worker(void *ctx)
{
    struct worker *w = ctx;
    struct jqvm *q = NULL;
    struct buf out;
    char input[32];
    char expected[32];

    if (jqvm_compile("w.jq", "if (.text | test(\"^t[0-9]+$\")) then .number * 2.5 else error end", &q, NULL) != ST_OK)
        return NULL;
    buf_init(&out, 100);
    for (unsigned i = 0; i < 500; i++) {
        unsigned number = 2 * (w->number * 1000 + i);

        snprintf(input, sizeof input, "{\"text\":\"t%u\",\"number\":%u}", number, number);
        snprintf(expected, sizeof expected, "%u", number / 2 * 5);
        buf_reset(&out);
        if (jqvm_run(q, input, strlen(input), &out, NULL) == ST_OK && strcmp(buf_text(&out), expected) == 0)
            w->right++;
    }
    buf_free(&out);
    jqvm_free(q);
    return NULL;
}

static void test_threads_with_their_own(void **state)
{
    struct worker workers[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(workers); i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    for (size_t i = 0; i < ATS_COUNT(workers); i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < ATS_COUNT(workers); i++)
        assert_int_equal(workers[i].right, 500);
}

static struct json *parsed(const char *text)
{
    struct json *j = NULL;

    assert_int_equal(json_parse(text, strlen(text), &j, NULL), ST_OK);
    return j;
}

/* The context as it comes out again, through a program that only hands it on; or the error. */
static char *called(const char *program, const char *function, const char *context, size_t max)
{
    struct jqvm *q = compiled(program);
    struct json *in = parsed(context);
    struct json *out = NULL;
    struct errmsg err = {""};
    int st = jqvm_call(q, function, in, max, &out, &err);
    char *text = st == ST_OK ? json_text(out) : mem_printf("%s: %s", status_name(st), err.text);

    json_free(out);
    json_free(in);
    jqvm_free(q);
    return text;
}

static void assert_called(const char *program, const char *context, const char *expected)
{
    char *text = called(program, "f", context, OUTPUT_MAX_BYTES);

    if (strcmp(text, expected) != 0)
        fail_msg("%s of %s gives %s, not %s", program, context, text, expected);
    mem_free(text);
}

/* Trees go in and come out as text would: what jq only copies is not changed, not even where its own types are too small. */
static void test_trees(void **state)
{
    static const char *const unharmed[] = {
        "null",           "true",
        "false",          "0",
        "-0.5",           "1e300",
        "\"\"",           "\"a\\u0000b\"",
        "\"\\ud800\"",    "9007199254740993",
        "1e400",          "\"\xf4\x8f\xbf\xbf\"",
        "[[],{},[null]]", "{\"b\":1,\"a\":{\"\\u0000\":[1,2]},\"\xc3\xa4\":\"\xf0\x9f\x98\x80\"}",
    };
    char *text;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(unharmed); i++)
        assert_called(".ctx", unharmed[i], unharmed[i]);
    assert_called(".fn", "{}", "\"f\"");
    assert_called("{x: .ctx.a, y: (.ctx.a | length)}", "{\"a\":\"\xc3\xa4\"}", "{\"x\":\"\xc3\xa4\",\"y\":1}");
    assert_called("[\"x\\(.ctx)\", ([\"a\\u0000\"] | .[0])]", "9007199254740993",
                  "[\"x9007199254740993\",\"a\\u0000\"]");
    assert_called("[nan, infinite]", "0", "[null,1.7976931348623157e+308]");
    assert_called("error(\"no: \" + .ctx)", "\"x\"", "invalid: no: x");
    assert_called("empty", "0", "not_found: the program gave no output");
    text = called(".ctx", "f", "\"1234567890\"", 5);
    assert_true(strncmp(text, "limit", 5) == 0);
    mem_free(text);
}

static void test_trees_that_are_too_deep(void **state)
{
    struct buf deep;
    char *text;

    (void)state;
    buf_init(&deep, 10000);
    for (int i = 0; i < 300; i++)
        buf_putc(&deep, '[');
    for (int i = 0; i < 300; i++)
        buf_putc(&deep, ']');
    text = called(".ctx", "f", buf_text(&deep), OUTPUT_MAX_BYTES);
    assert_string_equal(text, "limit: the value is nested too deeply: the connector can read 255 levels");
    mem_free(text);
    text = called("reduce range(300) as $i (0; [.])", "f", "0", OUTPUT_MAX_BYTES);
    assert_string_equal(text, "limit: the request would be nested deeper than 255 levels");
    mem_free(text);
    buf_free(&deep);
}

static void test_home_cannot_change_a_program(void **state)
{
    char home[] = "/tmp/jqvm_test.XXXXXX";
    struct jqvm *q = NULL;
    struct errmsg err = {""};
    char expected[MESSAGE_BYTES];
    char *path;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(home));
    path = mem_printf("%s/.jq", home);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("def map(f): \"not the real one\";\n", file);
    fclose(file);
    setenv("HOME", home, 1);
    snprintf(expected, sizeof expected,
             "x.jq:1: jq would mix %s into this program; move that file away, or run with another HOME", path);
    assert_int_equal(jqvm_compile("x.jq", "map(.)", &q, &err), ST_INVALID);
    assert_string_equal(err.text, expected);
    assert_null(q);
    unlink(path);
    assert_evaluates("map(.)", "[1]", "[1]");
    rmdir(home);
    setenv("HOME", "/nonexistent", 1);
    mem_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_with_their_own), /* first: libjq's global state is still to be set up */
        cmocka_unit_test(test_denied_words),
        cmocka_unit_test(test_allowed_look_alikes),
        cmocka_unit_test(test_module_directive),
        cmocka_unit_test(test_compile_errors),
        cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_nested_program_is_refused_not_fatal),
        cmocka_unit_test(test_many_errors_are_cut_to_fit),
        cmocka_unit_test(test_nothing_goes_to_stderr),
        cmocka_unit_test(test_run_time_errors),
        cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_output_is_appended_only_on_success),
        cmocka_unit_test(test_reuse_does_not_grow),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_trees_that_are_too_deep),
        cmocka_unit_test(test_home_cannot_change_a_program),
    };

    setenv("HOME", "/nonexistent", 1); /* whoever runs the tests may have a ~/.jq */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
