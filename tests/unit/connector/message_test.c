#include "connector/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct json *json_of(const char *text)
{
    struct json *j = NULL;
    struct errmsg err;

    if (json_parse(text, strlen(text), &j, &err) != ST_OK)
        fail_msg("%s: %s", text, err.text);
    return j;
}

static void test_words_of_the_ats(void **state)
{
    static const struct {
        const char *body;
        const char *message; /* NULL: none */
    } cases[] = {
        {"{\"message\":\"a\",\"error\":\"b\"}", "a"},
        {"{\"error\":{\"code\":1,\"message\":\"b\"}}", "b"},
        {"{\"error\":\"b\",\"detail\":\"c\"}", "b"},
        {"{\"error\":{},\"error_description\":\"d\"}", "d"},
        {"{\"errorMessage\":\"e\"}", "e"},
        {"{\"title\":\"t\",\"detail\":\"d\"}", "d"},
        {"{\"title\":\"t\"}", "t"},
        {"{\"errors\":[{\"message\":\"first\"},{\"message\":\"second\"}]}", "first"},
        {"{\"errors\":[{\"errorMessage\":\"m\"}]}", "m"},
        {"{\"errors\":[\"stage_not_found\"]}", "stage_not_found"},
        {"[{\"message\":\"of the first\"}]", "of the first"},
        {"{\"message\":\"\",\"title\":\"t\"}", "t"},
        {"{\"message\":7}", NULL},
        {"{\"errors\":{\"0\":{\"message\":\"no list\"}}}", "no list"},
        {"{}", NULL},
        {"\"text\"", NULL},
        {"null", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct json *body = json_of(cases[i].body);
        const char *message = message_of_body(body);

        if (cases[i].message == NULL ? message != NULL : message == NULL || strcmp(message, cases[i].message) != 0)
            fail_msg("%s gives %s", cases[i].body, message != NULL ? message : "nothing");
        json_free(body);
    }
}

static void test_what_must_not_be_shown(void **state)
{
    static const char answers_text[] =
        "{\"dbs\":\"Ann\",\"first\":\"John\",\"name\":\"John Smith\","
        "\"year\":1987,\"big\":12345678901234567890,\"yes\":true,"
        "\"list\":[\"first line\\nQuestion: the answer \\nlast\"],\"odd\":\"ab\\u0000cd\"}";
    static const struct {
        const char *text;
        const char *shown;
    } cases[] = {
        {"", ""},
        {"nothing special", "nothing special"},
        {"token s3cret is wrong, s3cret!", "token *** is wrong, ***!"},
        {"John Smith and John are unknown", "… and … are unknown"},
        {"Ann is short enough", "Ann is short enough"},
        {"1987 and 12345678901234567890", "… and …"},
        {"it said: the answer", "it said: …"},
        {"a first line of it, last", "a … of it, …"},
        {"  two\nlines\t and\x01 more \x7f ", "two lines and more"},
        {"odd \xc0\x80 and \xed\xa0\x80", "odd \xef\xbf\xbd and \xef\xbf\xbd"},
        {"ab\xc0\x80"
         "cd",
         "…"},
        {"x\ns3cret\n", "x ***"},
    };
    struct arena *arena = arena_new();
    struct json *answers = json_of(answers_text);
    struct redaction r;

    (void)state;
    redaction_init(&r, arena);
    redaction_add_secret(&r, "s3cret");
    redaction_add_secret(&r, "");
    redaction_add_secret(&r, NULL);
    redaction_add_answers(&r, answers);
    redaction_add_answers(&r, NULL);
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_string_equal(message_clean(&r, cases[i].text, 100), cases[i].shown);
    redaction_clear(&r);
    assert_int_equal(r.count, 0);
    json_free(answers);
    arena_free(arena);
}

static void test_cut_counts_characters_and_comes_after_redaction(void **state)
{
    struct arena *arena = arena_new();
    struct redaction r;

    (void)state;
    redaction_init(&r, arena);
    redaction_add_secret(&r, "abcdefgh");
    assert_string_equal(message_clean(&r, "äöüäö", 5), "äöüäö");
    assert_string_equal(message_clean(&r, "äöüäöü", 5), "äöüä…");
    assert_string_equal(message_clean(&r, "1 abcdefgh", 5), "1 ***");
    redaction_clear(&r);
    arena_free(arena);
}

/* Neither what a candidate wrote nor what an ATS says of it may hold up everybody else: without a limit this would take an hour. */
static void test_long_texts_take_no_time(void **state)
{
    enum { LINES = 200000 };
    struct arena *arena = arena_new();
    struct json *few = json_array(), *many = json_array();
    struct redaction r;
    struct buf text;

    (void)state;
    buf_init(&text, 16 * 1024 * 1024);
    for (unsigned i = 0; i < LINES; i++)
        buf_printf(&text, "line %u of the answer\n", i);
    for (unsigned i = 0; i < 900; i++)
        json_push(few, json_string("a word"));
    json_push(many, json_string(buf_text(&text)));

    redaction_init(&r, arena);
    redaction_add_secret(&r, "s3cret");
    redaction_add_answers(&r, few);
    assert_string_equal(message_clean(&r, "s3cret, a word and more", 100), "***, \xe2\x80\xa6 and more");
    buf_reset(&text);
    for (unsigned i = 0; i < LINES; i++)
        buf_puts(&text, "the ATS says \n\n a word ");
    assert_string_equal(message_clean(&r, buf_text(&text), 20), "the ATS says \xe2\x80\xa6 the \xe2\x80\xa6");
    redaction_add_answers(&r, many);
    assert_string_equal(message_clean(&r, buf_text(&text), 20), "\xe2\x80\xa6");
    assert_string_equal(message_clean(&r, "", 20), "");
    redaction_clear(&r);
    json_free(few);
    json_free(many);
    buf_free(&text);
    arena_free(arena);
}

static void test_words_of_jq(void **state)
{
    static const char program[] = "def stage: .body.stage; def f: \"known\";";
    static const struct {
        const char *words;
        const char *shown;
    } cases[] = {
        {"string (\"abc\") and number (1) cannot be added", "string (…) and number (…) cannot be added"},
        {"string (\"a) and b(\") and array ([\"(\"]) cannot be added", "string (…) and array (…) cannot be added"},
        {"string (\") and number (\") and object ({...) cannot be added", "string (…) and number (…) cannot be added"},
        {"Cannot iterate over string (\"secret\")", "Cannot iterate over string (…)"},
        {"Cannot iterate over null (null)", "Cannot iterate over null (…)"},
        {"Cannot iterate over null", "Cannot iterate over null"},
        {"Cannot index number with \"stage\"", "Cannot index number with \"stage\""},
        {"Cannot index number with \"private\"", "Cannot index number with \"…\""},
        {"Cannot index number with \"a \\\" (b)\"", "Cannot index number with \"…\""},
        {"Cannot index array with string \"private\"", "Cannot index array with string \"…\""},
        {"date \"1.1.\" does not match format \"%Y\"", "date \"…\""},
        {"Invalid numeric literal at EOF at line 1, column 3 (while parsing 'abc')",
         "Invalid numeric literal at EOF at line 1, column 3 (…)"},
        {"null (null) has no keys", "null (…) has no keys"},
        {"unclosed (\"abc", "unclosed (…)"},
        {"a \" alone", "a …"},
        {"own words", "own words"},
        {"", ""},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        buf_reset(&out);
        message_of_jq(cases[i].words, program, &out);
        assert_string_equal(buf_text(&out), cases[i].shown);
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_of_the_ats),
        cmocka_unit_test(test_what_must_not_be_shown),
        cmocka_unit_test(test_cut_counts_characters_and_comes_after_redaction),
        cmocka_unit_test(test_long_texts_take_no_time),
        cmocka_unit_test(test_words_of_jq),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
