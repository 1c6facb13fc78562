#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/text.h"
#include "ctl/event_file.h"

enum { MAX_BYTES = 200, OUT_MAX = 1024 * 1024 };

struct source { /* a file that is read in pieces of any size */
    const char *text;
    size_t len, at, piece;
    bool fails; /* behind its end */
};

static ssize_t read_source(void *ctx, char *into, size_t room)
{
    struct source *s = ctx;
    size_t n = s->len - s->at < s->piece ? s->len - s->at : s->piece;

    n = n < room ? n : room;
    if (n == 0 && s->fails) {
        return -1;
    }
    memcpy(into, s->text + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

/* "1:{…};3:!why;" */
static char *values_of(const char *text, size_t piece)
{
    struct source s = {.text = text, .len = strlen(text), .piece = piece};
    struct event_file *f = event_file_new(read_source, &s, MAX_BYTES);
    struct event_file_value v;
    enum event_file_result result;
    struct buf out;

    buf_init(&out, OUT_MAX);
    while ((result = event_file_next(f, &v)) == EVENT_FILE_VALUE) {
        buf_printf(&out, "%s:", num_text((int64_t)v.line).s);
        if (v.problem) {
            buf_printf(&out, "!%.9s", v.problem);
        } else {
            buf_add(&out, v.text, v.len);
        }
        buf_putc(&out, ';');
    }
    assert_int_equal(result, EVENT_FILE_END);
    event_file_free(f);
    return buf_take(&out);
}

static void test_values(void **state)
{
    static const struct {
        const char *text, *values;
    } cases[] = {
        {"", ""},
        {" \n\n", ""},
        {"{\"a\":1}", "1:{\"a\":1};"},
        {"\xef\xbb\xbf{\"a\":1}\n", "1:{\"a\":1};"},
        {"{\"a\":1}\n{\"b\":2}\r\n\n{\"c\":3}", "1:{\"a\":1};2:{\"b\":2};4:{\"c\":3};"},
        {"{\"a\":1}{\"b\":2} {\"c\":3},{\"d\":4}", "1:{\"a\":1};1:{\"b\":2};1:{\"c\":3};1:{\"d\":4};"},
        {"\x1e{\"a\":1}\n\x1e{\"b\":2}\n", "1:{\"a\":1};2:{\"b\":2};"},
        {"[{\"a\":1},\n {\"b\":[2]}]\n", "1:{\"a\":1};2:{\"b\":[2]};"},
        {"[]\n[\n]\n{\"a\":1}", "4:{\"a\":1};"},
        {"[[{\"a\":1}]]", "1:[{\"a\":1}];"},
        {"{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\n  \"c\": 2\n}\n",
         "1:{\n  \"a\": {\n    \"b\": 1\n  }\n};6:{\n  \"c\": 2\n};"},
        {"12 \"x\" true\nnull", "1:12;1:\"x\";1:true;2:null;"},
        /* a line that broke off takes no other with it */
        {"{\"a\":1}\n{\"b\":\"cut\n{\"c\":3}\n", "1:{\"a\":1};2:!not JSON:;3:{\"c\":3};"},
        {"{\"b\":{\"x\":1\n{\"c\":3}\n", "1:!not JSON:;2:{\"c\":3};"},
        {"{\"b\":\n{\"c\":3}\n{\"d\":4}\n", "1:!not JSON:;2:{\"c\":3};3:{\"d\":4};"},
        {"{\"a\":1}}\n{\"c\":3}\n", "1:{\"a\":1};1:!not JSON:;2:{\"c\":3};"},
        {"garbage, and more of it\n{\"c\":3}\n", "1:!not JSON:;2:{\"c\":3};"},
        {"-- \n{\"c\":3}\n", "1:--;2:{\"c\":3};"}, /* a parser will tell */
        /* within an event over several lines nothing begins one */
        {"{\n  \"a\": [\n    {\n      \"x\" 1\n    }\n  ]\n}\n{\"c\":3}\n", "1:!not JSON:;8:{\"c\":3};"},
        {"[\n  {\n    \"a\" 1\n  },\n  {\n    \"b\": 2\n  }\n]\n{\"c\":3}",
         "2:!not JSON:;5:{\n    \"b\": 2\n  };9:{\"c\":3};"},
        /* the end in the middle */
        {"{\"a\":1}\n{\"b\":", "1:{\"a\":1};2:!the file ;"},
        {"{\n\"b\":{\n\"c\":1", "1:!the file ;"},
        {"[{\"a\":1},\n", "1:{\"a\":1};1:!the file ;"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        for (size_t piece = 1; piece < 20; piece += 3) { /* wherever the pieces end */
            char *values = values_of(cases[i].text, piece);

            if (strcmp(values, cases[i].values) != 0) {
                fail_msg("in pieces of %zu:\n%s\ngives\n%s\nand not\n%s", piece, cases[i].text, values,
                         cases[i].values);
            }
            mem_free(values);
        }
    }
}

static void test_too_large(void **state)
{
    char *text = mem_alloc(3 * MAX_BYTES + 100);
    size_t len = 0;
    char *values;

    (void)state;
    len += (size_t)snprintf(text, 20, "{\"a\":\"");
    memset(text + len, 'x', 2 * MAX_BYTES);
    len += 2 * MAX_BYTES;
    snprintf(text + len, 50, "\n\"}\n{\"b\":2}");
    values = values_of(text, 7); /* broken, far behind what is kept */
    assert_string_equal(values, "1:!not JSON:;3:{\"b\":2};");
    mem_free(values);
    snprintf(text + len, 50, "\"}\n{\"b\":2}");
    values = values_of(text, 7);
    assert_string_equal(values, "1:!larger th;2:{\"b\":2};");
    mem_free(values);
    memset(text, 'y', MAX_BYTES - 2);
    text[0] = text[MAX_BYTES - 1] = '"';
    memset(text + 1, 'y', MAX_BYTES - 2);
    snprintf(text + MAX_BYTES, 50, " 1"); /* exactly as large as may be */
    values = values_of(text, 7);
    assert_null(strchr(values, '!'));
    mem_free(values);
    mem_free(text);
}

static void test_memory_is_bounded(void **state)
{
    enum { EVENTS = 20000 };
    struct buf text;
    struct event_file *f;
    struct event_file_value v;
    struct source s;
    size_t count = 0;

    (void)state;
    buf_init(&text, SIZE_MAX / 4);
    for (int i = 0; i < EVENTS; i++) {
        buf_printf(&text, "{\"n\":%d,\"text\":\"%0100d\"}\n", i, i);
    }
    s = (struct source){.text = buf_text(&text), .len = text.len, .piece = SIZE_MAX};
    f = event_file_new(read_source, &s, MAX_BYTES);
    while (event_file_next(f, &v) == EVENT_FILE_VALUE) {
        assert_null(v.problem);
        assert_int_equal(v.line, ++count);
        assert_true(s.at < (count + 2) * 1000 + 128 * 1024UL); /* reads as it goes on, not all at once */
    }
    assert_int_equal(count, EVENTS);
    event_file_free(f);
    buf_free(&text);
}

static void test_read_failure(void **state)
{
    struct source s = {.text = "{\"a\":1}\n{\"b\":", .len = 13, .piece = 5, .fails = true};
    struct event_file *f = event_file_new(read_source, &s, MAX_BYTES);
    struct event_file_value v;

    (void)state;
    assert_int_equal(event_file_next(f, &v), EVENT_FILE_VALUE);
    assert_int_equal(event_file_next(f, &v), EVENT_FILE_FAILED);
    assert_int_equal(event_file_next(f, &v), EVENT_FILE_FAILED);
    event_file_free(f);
}

/* ---- wrappers */

static void add_body(void *ctx, const char *body, size_t len)
{
    struct buf *out = ctx;

    buf_add(out, body, len);
    buf_putc(out, ';');
}

#define EVENT "{\"event\":\"E\", \"data\":{}}"
#define DEEP "{\"body\":{\"body\":{\"body\":{\"body\":"
#define QUOTED "\"{\\\"event\\\":\\\"E\\\", \\\"data\\\":{}}\""

static void test_wrappers(void **state)
{
    static const struct {
        const char *text, *events;
    } cases[] = {
        {EVENT, EVENT ";"},
        {" " EVENT " ", EVENT ";"},
        {"{\"event\":\"E\",\"eventId\":\"1\"}", "{\"event\":\"E\",\"eventId\":\"1\"};"}, /* refused later, in words */
        {"{\"payload\": " EVENT "}", EVENT ";"},
        {"{\"body\": " QUOTED "}", EVENT ";"},
        {"{\"MessageId\":\"1\",\"Body\":" QUOTED "}", EVENT ";"},
        {"{\"Messages\":[{\"Body\":" QUOTED "},{\"Body\":" QUOTED "}]}", EVENT ";" EVENT ";"},
        {"{\"Records\":[{\"body\":\"{\\\"Message\\\":\\\"{\\\\\\\"event\\\\\\\":\\\\\\\"E\\\\\\\",\\\\\\\"data\\\\\\\":"
         "{}}\\\"}\"}]}",
         "{\"event\":\"E\",\"data\":{}};"}, /* a queue that a topic writes to */
        {"{\"event\": " EVENT ", \"error\": \"timeout\"}", EVENT ";"},
        {"{\"reason\":\"503\",\"request\":{\"body\":" QUOTED ",\"headers\":{}}}", EVENT ";"},
        {"{\"body\":\"eyJldmVudCI6IkUiLCJkYXRhIjp7fX0=\"}", "{\"event\":\"E\",\"data\":{}};"},
        {"[" EVENT ", " EVENT "]", EVENT ";" EVENT ";"},
        {QUOTED, EVENT ";"},
        {"{\"data\":" EVENT "}", EVENT ";"},
        /* what is inside an event is its own */
        {"{\"event\":\"E\",\"data\":{\"payload\":" EVENT "}}", "{\"event\":\"E\",\"data\":{\"payload\":" EVENT "}};"},
        /* nothing there */
        {"{}", ""},
        {"12", ""},
        {"\"text\"", ""},
        {"{\"body\":\"text\"}", ""},
        {"{\"body\":null,\"payload\":[]}", ""},
        {"{\"other\":" EVENT "}", ""},
        {DEEP DEEP DEEP EVENT "}}}}}}}}}}}}", ""},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct arena *arena = arena_new();
        struct buf out;
        size_t count;

        buf_init(&out, OUT_MAX);
        count = event_file_unwrap(cases[i].text, strlen(cases[i].text), arena, add_body, &out);
        if (strcmp(buf_text(&out), cases[i].events) != 0) {
            fail_msg("%s\ngives\n%s\nand not\n%s", cases[i].text, buf_text(&out), cases[i].events);
        }
        assert_int_equal(count > 0, cases[i].events[0] != '\0');
        buf_free(&out);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),       cmocka_unit_test(test_too_large), cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_read_failure), cmocka_unit_test(test_wrappers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
