/* JSON of a stranger: what is read can be printed and read again in each form, and the scanner agrees with the reader. */
#include "fuzz.h"

#include "base/buf.h"
#include "base/json_scan.h"
#include "base/text.h"

enum { TEXT_MAX_BYTES = 64 * 1024 * 1024 };

static void check_print(const struct json *j, void (*print)(const struct json *j, struct buf *out), bool same,
                        const char *what)
{
    struct buf text;

    buf_init(&text, TEXT_MAX_BYTES);
    print(j, &text);
    PROMISE(!text.failed, "%s is too long", what);
    PROMISE(text_is_utf8(buf_text(&text), text.len), "%s is not UTF-8", what);
    if (same) {
        fuzz_same(j, buf_text(&text), text.len, what);
    } else {
        struct json *again = fuzz_json(buf_text(&text), text.len);

        PROMISE(again != NULL, "%s cannot be read: %s", what, buf_text(&text));
        json_free(again);
    }
    buf_free(&text);
}

/* Equal values have equal texts. */
static void check_canonical(const struct json *j)
{
    struct json *copy = json_copy(j), *again;
    struct buf first, second;

    buf_init(&first, TEXT_MAX_BYTES);
    buf_init(&second, TEXT_MAX_BYTES);
    PROMISE(json_equal(j, copy) && json_equal(copy, j), "a copy differs");
    json_print_canonical(j, &first);
    again = fuzz_json(buf_text(&first), first.len);
    PROMISE(again != NULL, "the canonical text cannot be read: %s", buf_text(&first));
    json_print_canonical(again, &second);
    PROMISE(text_eq(buf_text(&first), buf_text(&second)), "canonical text of canonical text: %s and %s",
            buf_text(&first), buf_text(&second));
    json_free(again);
    json_free(copy);
    buf_free(&first);
    buf_free(&second);
}

/* As jq sees it, and back. */
static void check_wrapped(const struct json *j)
{
    struct json *back = NULL;
    struct buf text;

    buf_init(&text, TEXT_MAX_BYTES);
    json_print_wrapped(j, &text);
    PROMISE(json_parse_unwrap(buf_text(&text), text.len, &back, NULL) == ST_OK, "the wrapped text cannot be read: %s",
            buf_text(&text));
    PROMISE(json_equal(j, back), "wrapped and unwrapped differs: %s", buf_text(&text));
    json_free(back);
    buf_free(&text);
}

static void check_scan_members(const struct json *j, struct json_slice whole)
{
    struct json_slice name, value;
    size_t at = 0, count = 0;

    while (json_scan_next(whole, &at, &name, &value)) {
        PROMISE(value.text >= whole.text && value.text + value.len <= whole.text + whole.len, "a value out of bounds");
        PROMISE(at <= whole.len, "the scanner is out of bounds");
        count++;
    }
    if (j != NULL && (json_type(j) == JSON_ARRAY || json_type(j) == JSON_OBJECT))
        PROMISE(json_type(j) == JSON_ARRAY ? count == json_count(j) : count >= json_count(j),
                "the scanner finds %zu members, the reader %zu", count, json_count(j));
}

static void check_scan(const struct json *j, const char *text, size_t len)
{
    struct json_slice value = {NULL, 0}, member;
    struct json *part;

    if (!json_scan_value(text, len, &value)) {
        PROMISE(j == NULL, "the reader takes what the scanner refuses: %.*s", (int)len, text);
        return;
    }
    PROMISE(value.text >= text && value.text + value.len <= text + len && value.len > 0, "a value out of bounds");
    check_scan_members(j, value);
    (void)json_scan_member(value, "data", &member);
    if (j == NULL)
        return;
    part = fuzz_json(value.text, value.len);
    PROMISE(part != NULL && json_equal(j, part), "the scanner cuts out another value: %.*s", (int)value.len,
            value.text);
    json_free(part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* of its own, without a NUL behind it */
    const char *text = (const char *)data;
    struct arena *arena = arena_new();
    const struct json *read_only = NULL;
    struct json *j = NULL;
    struct errmsg err = {""}, err_in = {""};
    int st = json_parse(text, size, &j, &err);

    PROMISE(json_parse_in(arena, text, size, &read_only, &err_in) == st && text_eq(err.text, err_in.text),
            "one reader says \"%s\", the other \"%s\"", err.text, err_in.text);
    if (st == ST_OK) {
        PROMISE(text_is_utf8(text, size), "what is no UTF-8 was taken");
        PROMISE(json_equal(j, read_only), "the readers disagree");
        check_print(j, json_print, true, "the text");
        check_print(j, json_print_pretty, true, "the pretty text");
        check_print(j, json_print_plain, false, "the plain text");
        check_print(j, json_print_wrapped, false, "the wrapped text");
        check_canonical(j);
        check_wrapped(j);
        (void)json_bytes(j);
    } else {
        PROMISE(st == ST_INVALID && err.text[0] != '\0', "refused without a reason");
    }
    check_scan(j, text, size);
    json_free(j);
    arena_free(arena);
    return 0;
}
