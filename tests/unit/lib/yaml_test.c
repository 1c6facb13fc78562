#include "lib/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

static struct yaml *parsed(const char *text)
{
    struct yaml *root = NULL;
    unsigned line = 0;
    struct errmsg err;

    if (yaml_tree_parse(text, strlen(text), &root, &line, &err) != ST_OK)
        fail_msg("line %u: %s", line, err.text);
    return root;
}

static void test_tree_with_lines(void **state)
{
    (void)state;
    struct yaml *root = parsed("# a comment\n"
                               "a: plain text\n"
                               "b:\n"
                               "  - 1\n"
                               "  - \"2\"\n"
                               "  - {c: 'x', d: }\n"
                               "e: |\n"
                               "  two\n"
                               "  lines\n");

    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->count, 3);
    assert_int_equal(root->line, 2);
    const struct yaml *a = yaml_tree_get(root, "a");
    assert_string_equal(a->scalar, "plain text");
    assert_false(a->quoted);
    assert_int_equal(a->line, 2);
    const struct yaml *b = yaml_tree_get(root, "b");
    assert_int_equal(b->kind, YAML_SEQ);
    assert_int_equal(b->count, 3);
    assert_int_equal(root->items[1].key_line, 3);
    assert_int_equal(b->items[0].value->line, 4);
    assert_false(b->items[0].value->quoted);
    assert_true(b->items[1].value->quoted);
    const struct yaml *map = b->items[2].value;
    assert_string_equal(yaml_tree_get(map, "c")->scalar, "x");
    assert_true(yaml_tree_is_null(yaml_tree_get(map, "d")));
    assert_null(yaml_tree_get(map, "z"));
    assert_null(yaml_tree_get(a, "z"));
    assert_null(yaml_tree_get(NULL, "z"));
    assert_string_equal(yaml_tree_get(root, "e")->scalar, "two\nlines\n");
    assert_true(yaml_tree_get(root, "e")->quoted);
    yaml_tree_free(root);
    yaml_tree_free(NULL);
}

static void test_empty_documents_are_empty_maps(void **state)
{
    static const char *const texts[] = {"", "\n\n", "# only a comment\n", "---\n", "---\n...\n", "~\n", "\xEF\xBB\xBF"};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(texts); i++) {
        struct yaml *root = parsed(texts[i]);
        assert_int_equal(root->kind, YAML_MAP);
        assert_int_equal(root->count, 0);
        assert_int_equal(root->line, 1);
        yaml_tree_free(root);
    }
}

static void test_repeated_keys_are_kept_and_marked(void **state)
{
    (void)state;
    struct yaml *root = parsed("a: 1\nb: 2\na: 3\nc: 4\na: 5\n");

    assert_int_equal(root->count, 5);
    assert_int_equal(root->items[0].first_line, 0);
    assert_int_equal(root->items[1].first_line, 0);
    assert_int_equal(root->items[2].first_line, 1);
    assert_int_equal(root->items[3].first_line, 0);
    assert_int_equal(root->items[4].first_line, 1);
    assert_string_equal(yaml_tree_get(root, "a")->scalar, "1");
    yaml_tree_free(root);
}

static void test_null(void **state)
{
    static const struct {
        const char *text;
        bool null;
    } cases[] = {
        {"v:\n", true},       {"v: ~\n", true},       {"v: null\n", true}, {"v: NULL\n", true}, {"v: Null\n", true},
        {"v: \"\"\n", false}, {"v: 'null'\n", false}, {"v: nil\n", false}, {"v: []\n", false},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct yaml *root = parsed(cases[i].text);
        assert_int_equal(yaml_tree_is_null(yaml_tree_get(root, "v")), cases[i].null);
        yaml_tree_free(root);
    }
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
        const char *message;
    } cases[] = {
        {"a: 1\nb: &x 2\n", 2, "anchors (&) are not supported here: write the value out"},
        {"a: &x [1]\n", 1, "anchors (&) are not supported here: write the value out"},
        {"a: &x {b: 1}\n", 1, "anchors (&) are not supported here: write the value out"},
        {"a: 1\n\nb: *x\n", 3, "aliases (*) are not supported here: write the value out"},
        {"a: !!str 1\n", 1, "tags (!) are not supported here: leave the tag out"},
        {"a: ! 1\n", 1, "tags (!) are not supported here: leave the tag out"},
        {"a: !x [1]\n", 1, "tags (!) are not supported here: leave the tag out"},
        {"a: !x {b: 1}\n", 1, "tags (!) are not supported here: leave the tag out"},
        {"%TAG ! tag:example.com,2000:\n---\na: 1\n", 1, "tags (%TAG) are not supported here: leave the directive out"},
        {"a:\n  <<: {b: 1}\n", 2, "merge keys (<<) are not supported here: write the keys out"},
        {"? [a]\n: 1\n", 1, "a key must be a text, not a list or a map"},
        {"a: 1\n---\nb: 2\n", 2, "a second document (---) is not supported: keep one document a file"},
        {"a: \"x\\0y\"\n", 1, "a text must not hold a NUL character (\\0)"},
        {"a: 1\nb: [1, 2\nc: 3\n", 3,
         "not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence that began in line 2)"},
        {"a: 1\n\tb: 2\n", 2,
         "not valid YAML: found a tab character that violates indentation (while scanning a plain scalar that began in "
         "line 1)"},
        {"a: 1\nb: \x01\n", 2, "not valid YAML: control characters are not allowed"},
        {"a: 1\nb: \xC3(\n", 2, "not valid YAML: invalid trailing UTF-8 octet"},
        {"a: [1", 2, /* the end of the file counts as the next line */
         "not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence that began in line 1)"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct yaml *root = NULL;
        unsigned line = 0;
        struct errmsg err = {{0}};
        int st = yaml_tree_parse(cases[i].text, strlen(cases[i].text), &root, &line, &err);
        assert_int_equal(st, ST_INVALID);
        assert_string_equal(err.text, cases[i].message);
        if (line != cases[i].line)
            fail_msg("%s: line %u, wanted %u", cases[i].message, line, cases[i].line);
        assert_null(root);
    }
}

static int parse_repeated(const char *head, const char *piece, size_t times, const char *tail, struct errmsg *err)
{
    struct buf text;
    struct yaml *root = NULL;
    unsigned line = 0;

    buf_init(&text, 4 * YAML_TEXT_MAX_BYTES);
    buf_puts(&text, head);
    for (size_t i = 0; i < times; i++)
        buf_puts(&text, piece);
    buf_puts(&text, tail);
    int st = yaml_tree_parse(buf_text(&text), text.len, &root, &line, err);
    yaml_tree_free(root);
    buf_free(&text);
    return st;
}

static void test_limits(void **state)
{
    struct errmsg err;

    (void)state;
    assert_int_equal(parse_repeated("", "- ", 63, "x\n", &err), ST_OK);
    assert_int_equal(parse_repeated("", "- ", 64, "x\n", &err), ST_LIMIT);
    assert_string_equal(err.text, "nested deeper than 64 levels");
    assert_int_equal(parse_repeated("", "- x\n", 99999, "", &err), ST_OK);
    assert_int_equal(parse_repeated("", "- x\n", 100000, "", &err), ST_LIMIT);
    assert_string_equal(err.text, "more than 100000 values in one file");
    assert_int_equal(parse_repeated("a: ", "x", YAML_TEXT_MAX_BYTES - 3, "", &err), ST_OK);
    assert_int_equal(parse_repeated("a: ", "x", YAML_TEXT_MAX_BYTES - 2, "", &err), ST_LIMIT);
    assert_string_equal(err.text, "larger than 1 MiB");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_with_lines),
        cmocka_unit_test(test_empty_documents_are_empty_maps),
        cmocka_unit_test(test_repeated_keys_are_kept_and_marked),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
