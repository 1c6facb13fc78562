#include "lib/json.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

enum { OUT_MAX = 1 << 20 };
#define MARK "\xf4\x8f\xbf\xbf" /* U+10FFFF */

static struct json *parsed(const char *text, size_t len)
{
    struct json *j = NULL;
    struct errmsg err;

    if (json_parse(text, len, &j, &err) != ST_OK) {
        fail_msg("%.60s: %s", text, err.text);
    }
    return j;
}

typedef void print_fn(const struct json *j, struct buf *out);

/* Parses text, prints it with fn, compares. */
static void assert_printed(print_fn *fn, const char *text, const char *wanted)
{
    struct json *j = parsed(text, strlen(text));
    struct buf out;

    buf_init(&out, OUT_MAX);
    fn(j, &out);
    if (!text_eq(buf_text(&out), wanted)) {
        fail_msg("of %s: got %s, wanted %s", text, buf_text(&out), wanted);
    }
    buf_free(&out);
    json_free(j);
}

/* RFC 8259 section numbers in the comments. */
static void test_survives(void **state)
{
    static const struct {
        const char *text;
        const char *printed; /* NULL: the same */
    } cases[] = {
        {"null", NULL},
        {"true", NULL},
        {"\"\"", NULL},
        {"[]", NULL},
        {"{}", NULL},
        {" [ 1 , {\"a\" : null}\t]\r\n", "[1,{\"a\":null}]"},
        {"{\"b\":1,\"a\":2}", NULL}, /* the order of members is kept */
        {"{\"\":0}", NULL},          /* an empty name is a name */
        /* section 7: strings */
        {"\"a\\u0000b\"", NULL}, /* jsonb would refuse it */
        {"\"\\u0000\"", NULL},
        {"\"\\ud800\"", NULL},                          /* a high surrogate alone */
        {"\"\\udc00\\ud800\"", NULL},                   /* two in the wrong order */
        {"\"\\uD83D\\uDE00\"", "\"\xf0\x9f\x98\x80\""}, /* a pair is a character */
        {"\"\\ud83dx\\ude00\"", NULL},
        {"{\"k\\u0000\":\"\\udfff\"}", NULL}, /* in names, too */
        {"\"\\u0041\\/\\b\\f\\n\\r\\t\\\"\\\\\"", "\"A/\\u0008\\u000c\\n\\r\\t\\\"\\\\\""},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"", NULL},
        {"\"" MARK "\"", NULL},
        /* section 6: numbers */
        {"0", NULL},
        {"-0", NULL},
        {"-17", NULL},
        {"0.1", NULL},
        {"1.0", "1"},
        {"1e2", "100"},
        {"100.5e-1", "10.05"},
        {"1e15", "1e+15"},    /* as an integer it would need more digits than a double is trusted with */
        {"-9947e0250", NULL}, /* as a double it would be printed with an exponent that is too large for one */
        {"1e250", "1e+250"},
        {"99e-252", NULL},
        {"9007199254740993", NULL}, /* 2^53 + 1 */
        {"-9223372036854775808", NULL},
        {"123456789012345678901234567890", NULL},
        {"0.1234567890123456789", NULL},
        {"1e400", NULL}, /* beyond a double */
        {"-1E-400", NULL},
        {"0.00000000000000000000000000000000000000000000000000000000000000000000000000000001e-300", NULL},
        {"[9007199254740993,\"9007199254740993\"]", NULL}, /* the number and the text stay apart */
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        assert_printed(json_print, cases[i].text, cases[i].printed ? cases[i].printed : cases[i].text);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", "not valid JSON"},
        {"01", "not valid JSON near byte 0"},
        {"1.", "not valid JSON near byte 0"},
        {"[-]", "not valid JSON near byte 1"},
        {"[.5]", "not valid JSON near byte 1"},
        {"+1", "not valid JSON near byte 0"},
        {"1e", "not valid JSON near byte 0"},
        {"0x10", "not valid JSON near byte 1"},
        {"NaN", "not valid JSON near byte 0"},
        {"{} {}", "not valid JSON near byte 3"},
        {"[1,]", "not valid JSON near byte 3"},
        {"{\"a\":1,}", "not valid JSON near byte 7"},
        {"{a:1}", "not valid JSON near byte 1"},
        {"[1", "not valid JSON near byte 2"},
        {"\"abc", "not valid JSON near byte 0"},
        {"\"a\nb\"", "not valid JSON near byte 0"}, /* control characters must be escaped */
        {"\"a\x01\"", "not valid JSON near byte 0"},
        {"\"\\x41\"", "not valid JSON near byte 0"},
        {"\"\\u12g4\"", "not valid JSON near byte 0"},
        {"\"\\u12", "not valid JSON near byte 0"},
        {"'a'", "not valid JSON near byte 0"},
        {"[1] // no comments", "not valid JSON near byte 4"},
        {"\"\xff\"", "not valid JSON: the text is not UTF-8"},
        {"\"\xc0\x80\"",
         "not valid JSON: the text is not UTF-8"}, /* U+0000 in two bytes: our own form, not a sender's */
        {"\"\xed\xa0\x80\"", "not valid JSON: the text is not UTF-8"}, /* a surrogate as bytes: likewise */
        {"\xef\xbb\xbf{}", "not valid JSON near byte 0"},              /* a byte order mark */
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *untouched = NULL;
        struct errmsg err = {{0}};

        assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), &untouched, &err), ST_INVALID);
        if (!text_eq(err.text, cases[i].message)) {
            fail_msg("of %s: got \"%s\", wanted \"%s\"", cases[i].text, err.text, cases[i].message);
        }
        assert_null(untouched);
        assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), &untouched, NULL), ST_INVALID);
    }
    struct json *untouched = NULL;

    assert_int_equal(json_parse("[1]\0", 4, &untouched, NULL), ST_INVALID); /* a NUL is no blank */
    assert_int_equal(json_parse("\"a\0b\"", 5, &untouched, NULL), ST_INVALID);
    assert_null(untouched);
}

static void test_length_is_respected(void **state)
{
    struct json *j = parsed("[1]garbage", 3);

    (void)state;
    assert_int_equal(json_count(j), 1);
    json_free(j);
}

static void test_nesting(void **state)
{
    static const struct {
        size_t levels;
        bool fits;
    } cases[] = {{1, true}, {999, true}, {1000, true}, {1001, false}, {200000, false}};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        size_t levels = cases[i].levels;
        char *text = mem_alloc(2 * levels + 1);
        struct json *j = NULL;

        memset(text, '[', levels);
        memset(text + levels, ']', levels);
        text[2 * levels] = '\0';
        assert_int_equal(json_parse(text, 2 * levels, &j, NULL), cases[i].fits ? ST_OK : ST_INVALID);
        if (j) {
            char *again = json_text(j);

            assert_string_equal(again, text);
            mem_free(again);
            json_free(json_copy(j));
            json_free(j);
        }
        mem_free(text);
    }
}

static void test_repeated_keys(void **state)
{
    static const char text[] = "{\"k\":1,\"a\":true,\"k\":2}";
    struct json *j = parsed(text, sizeof text - 1);
    struct json *once = parsed("{\"a\":true,\"k\":2}", strlen("{\"a\":true,\"k\":2}"));
    int64_t n = 0;

    (void)state;
    assert_true(json_get_i64(j, "k", &n));
    assert_int_equal(n, 2); /* the last one wins, whatever is done with it */
    assert_true(json_equal(j, j));
    assert_true(json_equal(j, once));
    assert_true(json_equal(once, j));
    assert_printed(json_print_canonical, text, "{\"a\":true,\"k\":2}");
    assert_printed(json_print, text, text);
    json_set_int(j, "k", 3);
    assert_true(json_get_i64(j, "k", &n));
    assert_int_equal(n, 3);
    json_set(j, "k", NULL);
    assert_null(json_get(j, "k"));
    json_free(j);
    json_free(once);
}

static void test_canonical(void **state)
{
    static const struct {
        const char *text;
        const char *printed;
    } cases[] = {
        {"{\"b\":{\"y\":1,\"x\":[2,1]},\"a\":\"z\"}", "{\"a\":\"z\",\"b\":{\"x\":[2,1],\"y\":1}}"},
        {"{\"aa\":1,\"a\":2,\"B\":3,\"\":4}", "{\"\":4,\"B\":3,\"a\":2,\"aa\":1}"}, /* by bytes */
        {"{\"x\":1.0,\"w\":1e0}", "{\"w\":1,\"x\":1}"},                             /* equal values print equal */
        {"[3,1,2]", "[3,1,2]"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        assert_printed(json_print_canonical, cases[i].text, cases[i].printed);
    }
}

/* What jsonb takes. */
static void test_plain(void **state)
{
    static const struct {
        const char *text;
        const char *printed;
    } cases[] = {
        {"\"a\\u0000b\"", "\"a\xef\xbf\xbd"
                          "b\""},
        {"{\"\\ud800\":\"\\udc00x\"}", "{\"\xef\xbf\xbd\":\"\xef\xbf\xbdx\"}"},
        {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
        {"9007199254740993", "9007199254740993"},
        {"1e400", "1e400"},           /* numeric holds it */
        {"1e100001", "\"1e100001\""}, /* and not this */
        {"1E+999999999999", "\"1E+999999999999\""},
        {"1e-10001", "\"1e-10001\""},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        assert_printed(json_print_plain, cases[i].text, cases[i].printed);
    }
    struct buf out;

    buf_init(&out, 100);
    json_plain(NULL, &out);
    assert_int_equal(out.len, 0);
    json_plain("a\xc0\x80"
               "b\xed\xa0\x80"
               "c\xed\x9f\xbf",
               &out); /* U+D7FF is no surrogate */
    assert_string_equal(buf_text(&out), "a\xef\xbf\xbd"
                                        "b\xef\xbf\xbd"
                                        "c\xed\x9f\xbf");
    /* cut in the middle of a surrogate, in memory that ends there */
    char *cut = mem_strdup("b\xed\xa0");
    buf_reset(&out);
    json_plain(cut, &out);
    assert_string_equal(buf_text(&out), cut);
    mem_free(cut);
    buf_free(&out);
}

static void test_pretty(void **state)
{
    (void)state;
    assert_printed(json_print_pretty, "{\"a\":[1,{}],\"b\":[]}", "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
}

/* To a processor that knows doubles and Unicode only, and back. */
static void test_wrapped(void **state)
{
    static const struct {
        const char *text;
        const char *wrapped;
    } cases[] = {
        {"[1,0.5,\"plain\"]", "[1,0.5,\"plain\"]"},
        {"9007199254740993", "\"" MARK "n9007199254740993\""},
        {"[1e400]", "[\"" MARK "n1e400\"]"},
        {"\"a\\u0000b\"", "\"a" MARK "u0000b\""},
        {"{\"\\ud800\":\"\\udfff\"}", "{\"" MARK "ud800\":\"" MARK "udfff\"}"},
        {"\"" MARK "\"", "\"" MARK "x\""}, /* texts that hold the mark themselves come back as they were */
        {"\"" MARK "x\"", "\"" MARK "xx\""},
        {"\"" MARK "n5\"", "\"" MARK "xn5\""},
        {"\"" MARK "u0000\"", "\"" MARK "xu0000\""},
        {"\"" MARK MARK "\"", "\"" MARK "x" MARK "x\""},
        {"{\"" MARK "n1\":1}", "{\"" MARK "xn1\":1}"},
        {"\"" MARK "\\u0000" MARK "\"", "\"" MARK "x" MARK "u0000" MARK "x\""},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *j = parsed(cases[i].text, strlen(cases[i].text));
        struct json *back = NULL;
        struct buf out;
        char *again;

        buf_init(&out, OUT_MAX);
        json_print_wrapped(j, &out);
        assert_string_equal(buf_text(&out), cases[i].wrapped);
        assert_int_equal(json_parse_unwrap(out.data, out.len, &back, NULL), ST_OK);
        assert_true(json_equal(j, back));
        again = json_text(back);
        assert_string_equal(again, cases[i].text);
        mem_free(again);
        json_free(back);
        json_free(j);
        buf_free(&out);
    }
}

/* What the processor made of wrapped values itself. */
static void test_unwrapping_of_foreign_marks(void **state)
{
    static const struct {
        const char *text;
        const char *unwrapped;
    } cases[] = {
        {"\"id-" MARK "n9007199254740993\"", "\"id-9007199254740993\""}, /* a number put into a text */
        {"\"" MARK "n9007199254740993-a\"", "\"9007199254740993-a\""},
        {"{\"" MARK "n9007199254740993\":1}", "{\"9007199254740993\":1}"}, /* a number made a name: a name is a text */
        {"\"" MARK "uzzzz\"", "\"" MARK "uzzzz\""},                        /* not ours: left alone */
        {"\"" MARK "u0041\"", "\"" MARK "u0041\""},
        {"\"" MARK "\"", "\"" MARK "\""},
        {"\"" MARK "n\"", "\"\""},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *j = NULL;
        char *text;

        assert_int_equal(json_parse_unwrap(cases[i].text, strlen(cases[i].text), &j, NULL), ST_OK);
        text = json_text(j);
        assert_string_equal(text, cases[i].unwrapped);
        mem_free(text);
        json_free(j);
    }
    struct json *untouched = NULL;
    struct errmsg err;

    assert_int_equal(json_parse_unwrap("[", 1, &untouched, &err), ST_INVALID);
    assert_string_equal(err.text, "not valid JSON near byte 1");
    assert_null(untouched);
}

static void test_integers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"{\"n\":0}", true, 0},
        {"{\"n\":-5}", true, -5},
        {"{\"n\":1e3}", true, 1000},
        {"{\"n\":9007199254740993}", true, INT64_C(9007199254740993)},
        {"{\"n\":9223372036854775807}", true, INT64_MAX},
        {"{\"n\":-9223372036854775808}", true, INT64_MIN},
        {"{\"n\":9223372036854775808}", false, 0},
        {"{\"n\":1.5}", false, 0},
        {"{\"n\":1e400}", false, 0},
        {"{\"n\":1e30}", false, 0},
        {"{\"n\":\"7\"}", false, 0},
        {"{\"n\":null}", false, 0},
        {"{}", false, 0},
        {"[]", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *j = parsed(cases[i].text, strlen(cases[i].text));
        int64_t n = 77;

        assert_int_equal(json_get_i64(j, "n", &n), cases[i].ok);
        assert_true(n == (cases[i].ok ? cases[i].value : 77));
        json_free(j);
    }
}

static void test_doubles(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        double value;
    } cases[] = {
        {"0.1", true, 0.1},  {"85.5", true, 85.5}, {"9007199254740993", true, 9007199254740992.0},
        {"1e400", false, 0}, {"\"1\"", false, 0},  {"true", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *j = parsed(cases[i].text, strlen(cases[i].text));
        double n = -1;

        assert_int_equal(json_num(j, &n), cases[i].ok);
        assert_true(fabs(n - (cases[i].ok ? cases[i].value : -1)) < 1e-12);
        json_free(j);
    }
}

static void test_reading_nothing(void **state)
{
    double d = 5;
    int64_t n = 5;

    (void)state;
    assert_int_equal(json_type(NULL), JSON_NULL);
    assert_null(json_get(NULL, "a"));
    assert_null(json_first(NULL));
    assert_null(json_next(NULL));
    assert_null(json_key(NULL));
    assert_null(json_str(NULL));
    assert_null(json_get_str(NULL, "a"));
    assert_int_equal(json_count(NULL), 0);
    assert_false(json_get_bool(NULL, "a"));
    assert_false(json_num(NULL, &d));
    assert_false(json_get_i64(NULL, "a", &n));
    assert_null(json_copy(NULL));
    assert_true(json_equal(NULL, NULL));
    json_free(NULL);

    static const char text[] = "{\"e\":\"\",\"t\":\"x\",\"y\":true,\"n\":false}";
    struct json *j = parsed(text, sizeof text - 1);

    assert_null(json_get_str(j, "e")); /* an empty text counts as absent */
    assert_string_equal(json_str(json_get(j, "e")), "");
    assert_string_equal(json_get_str(j, "t"), "x");
    assert_true(json_get_bool(j, "y"));
    assert_false(json_get_bool(j, "n"));
    assert_false(json_get_bool(j, "t"));
    assert_null(json_first(json_get(j, "t"))); /* a text has no elements */
    json_free(j);
}

static void test_equal(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        bool equal;
    } cases[] = {
        {"{\"a\":1,\"b\":[true,null]}", "{\"b\":[true,null],\"a\":1.0}", true},
        {"[1,2]", "[2,1]", false},
        {"[1]", "[1,1]", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":null}", false},
        {"{\"a\":1,\"b\":null}", "{\"a\":1}", false},
        {"9007199254740993", "9007199254740993", true},
        {"9007199254740993", "9007199254740992", false},
        {"9007199254740993", "\"9007199254740993\"", false},
        {"\"a\\u0000\"", "\"a\"", false},
        {"true", "false", false},
        {"0.1", "0.10", true},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *a = parsed(cases[i].a, strlen(cases[i].a));
        struct json *b = parsed(cases[i].b, strlen(cases[i].b));

        assert_int_equal(json_equal(a, b), cases[i].equal);
        assert_int_equal(json_equal(b, a), cases[i].equal);
        json_free(a);
        json_free(b);
    }
}

/* A number of ours and what is read of it are one value, so that what is compared does not depend on where it comes from. */
static void test_numbers_of_ours(void **state)
{
    static const double numbers[] = {0,       -0.0,       0.1,       66.7,    200.0 / 3, 1e15,     9007199254740993.0,
                                     1.5e300, 1.00444e53, -2.5e-260, DBL_MAX, DBL_MIN,   123456.75};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(numbers); i++) {
        struct json *ours = json_number(numbers[i]);
        struct json *read = NULL;
        char *text = json_text(ours);
        double back = 0;

        assert_int_equal(json_parse(text, strlen(text), &read, NULL), ST_OK);
        if (!json_equal(ours, read)) {
            fail_msg("%s reads as another value", text);
        }
        assert_true(json_num(ours, &back));
        assert_true(!(back < numbers[i]) && !(back > numbers[i]));
        mem_free(text);
        json_free(ours);
        json_free(read);
    }
}

static void test_building(void **state)
{
    struct json *o = json_object();
    struct json *list = json_array();
    char *text;

    (void)state;
    json_push(list, json_integer(INT64_C(9007199254740993)));
    json_push(list, json_number(0.1));
    json_push(list, json_number((double)INFINITY)); /* JSON has no word for it */
    json_push(list, json_bool(true));
    json_push(list, json_string(NULL));
    json_push(list, json_number_text("1e400"));
    json_set(o, "list", list);
    json_set_str(o, "text", "quote \" and \xc3\xa9");
    json_set_str(o, "nothing", NULL);
    json_set_bool(o, "flag", false);
    json_set_int(o, "n", -1);
    json_set_int(o, "n", 1); /* replaces */
    json_set_str(o, "gone", "x");
    json_set(o, "gone", NULL);
    text = json_text(o);
    assert_string_equal(text,
                        "{\"list\":[9007199254740993,0.1,null,true,null,1e400],\"text\":\"quote \\\" and \xc3\xa9\","
                        "\"nothing\":null,\"flag\":false,\"n\":1}");
    mem_free(text);

    struct json *copy = json_copy(o);

    assert_true(json_equal(o, copy));
    json_set_int(copy, "n", 2);
    assert_false(json_equal(o, copy));
    json_free(o);
    json_free(copy);

    static const char *const no_numbers[] = {"", " 1", "1 ", "01", "1.", ".5", "1e", "abc", "0x1", "NaN"};

    for (size_t i = 0; i < ATS_COUNT(no_numbers); i++) {
        assert_null(json_number_text(no_numbers[i]));
    }
    assert_null(json_number_text(NULL));
}

static void test_a_full_buffer_shows(void **state)
{
    struct json *j = parsed("[1,2,3,4,5,6,7,8,9]", 19);
    struct buf out;

    (void)state;
    buf_init(&out, 5);
    json_print(j, &out);
    assert_true(out.failed);
    buf_free(&out);
    json_free(j);
}

/* A tree that is only read needs no json_free; others made meanwhile are as they always are. */
static void test_in_an_arena(void **state)
{
    static const char text[] = "{\"a\":[1,\"\\u0000x\",9007199254740993],\"b\":{\"c\":null}} \n";
    struct arena *arena = arena_new();
    const struct json *j = NULL;
    struct json *copy;
    struct errmsg err = {{0}};
    char *printed;

    (void)state;
    assert_int_equal(json_parse_in(arena, text, strlen(text), &j, &err), ST_OK);
    copy = json_copy(j);
    assert_true(json_equal(j, copy));
    printed = json_text(copy);
    assert_string_equal(printed, "{\"a\":[1,\"\\u0000x\",9007199254740993],\"b\":{\"c\":null}}");
    assert_int_equal(json_parse_in(arena, "[1,", 3, &j, &err), ST_INVALID);
    assert_string_equal(err.text, "not valid JSON near byte 3");
    assert_int_equal(json_parse_in(arena, "[1] x", 5, &j, &err), ST_INVALID);
    arena_free(arena);
    mem_free(printed);
    json_free(copy);
}

/* [1,1,1,...: two bytes of text are a node of the tree. */
static void test_tree_without_room(void **state)
{
    struct arena *arena = arena_new();
    const struct json *j = NULL;
    struct errmsg err = {{0}};
    struct buf text;

    (void)state;
    buf_init(&text, OUT_MAX);
    buf_putc(&text, '[');
    for (int i = 0; i < 50000; i++) {
        buf_puts(&text, "1,");
    }
    buf_puts(&text, "{\"a\":\"b\"}]");
    arena_set_max(arena, arena_bytes(arena) + 200000);
    assert_int_equal(json_parse_in(arena, text.data, text.len, &j, &err), ST_LIMIT);
    assert_string_equal(err.text, "the JSON takes more memory than it may");
    assert_null(j);
    assert_true(arena_bytes(arena) < 400000);
    assert_int_equal(json_parse_in(arena, "{", 1, &j, &err), ST_LIMIT); /* it is full */
    arena_set_max(arena, SIZE_MAX);
    assert_int_equal(json_parse_in(arena, text.data, text.len, &j, &err), ST_OK);
    assert_int_equal(json_count(j), 50001);
    assert_int_equal(json_parse_in(arena, "[1", 2, &j, &err), ST_INVALID);
    arena_free(arena);
    buf_free(&text);
}

static void test_bytes(void **state)
{
    static const char *const texts[] = {"null", "\"abc\"", "[1,2,3]", "{\"key\":\"value\",\"other\":[\"x\"]}"};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(texts); i++) {
        struct json *j = NULL;

        assert_int_equal(json_parse(texts[i], strlen(texts[i]), &j, NULL), ST_OK);
        assert_in_range(json_bytes(j), strlen(texts[i]) / 2, strlen(texts[i]) * 6);
        json_free(j);
    }
    assert_int_equal(json_bytes(NULL), 4);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_survives),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_length_is_respected),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_repeated_keys),
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_pretty),
        cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_unwrapping_of_foreign_marks),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_reading_nothing),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_numbers_of_ours),
        cmocka_unit_test(test_building),
        cmocka_unit_test(test_a_full_buffer_shows),
        cmocka_unit_test(test_in_an_arena),
        cmocka_unit_test(test_tree_without_room),
        cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
