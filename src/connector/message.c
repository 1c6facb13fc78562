#include "connector/message.h"

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum {
    ANSWER_MIN_CHARS = 4,
    TEXT_MAX_BYTES = 16 * 1024 * 1024,
    ANSWERS_MAX = 2000, /* each is looked for at each place of a text */
    ENOUGH = 8,         /* times the characters that are shown: blanks and control characters fall together later */
};
static const char ELLIPSIS[] = "\xe2\x80\xa6";

/* ---- what the ATS says ------------------------------------------------------------------------------------------ */

const char *message_of_body(const struct json *body)
{
    /* "0": the first element of a list */
    static const char *const places[][3] = {
        {"message"},
        {"error", "message"},
        {"error"},
        {"error_description"},
        {"errorMessage"},
        {"detail"},
        {"title"},
        {"errors", "0", "message"},
        {"errors", "0", "errorMessage"},
        {"errors", "0", "detail"},
        {"errors", "0", "title"},
        {"errors", "0"},
    };

    if (json_type(body) == JSON_ARRAY)
        body = json_first(body);
    for (size_t i = 0; i < ATS_COUNT(places); i++) {
        const struct json *at = body;

        for (size_t k = 0; k < ATS_COUNT(places[i]) && places[i][k] != NULL; k++)
            at = json_type(at) == JSON_ARRAY && strcmp(places[i][k], "0") == 0 ? json_first(at)
                                                                               : json_get(at, places[i][k]);
        if (json_str(at) != NULL && *json_str(at) != '\0')
            return json_str(at);
    }
    return NULL;
}

/* ---- what must not be shown ---------------------------------------------------------------------------------------
 */

void redaction_init(struct redaction *r, struct arena *arena)
{
    *r = (struct redaction){.arena = arena};
}

void redaction_clear(struct redaction *r)
{
    mem_free(r->items);
    *r = (struct redaction){.arena = r->arena};
}

static void add(struct redaction *r, const char *text, const char *instead)
{
    r->items = mem_grow(r->items, r->count + 1, sizeof *r->items);
    r->items[r->count++] = (struct redacted){.text = text, .len = strlen(text), .instead = instead};
}

void redaction_add_secret(struct redaction *r, const char *text)
{
    if (text != NULL && *text != '\0')
        add(r, text, "***");
}

/* Code points; each lead byte is one, also in the forms that are not Unicode. */
static size_t chars_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void add_answer(struct redaction *r, const char *text, size_t len)
{
    char *copy;

    if (r->count >= ANSWERS_MAX) {
        r->is_full = true;
        return;
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\r'))
        len--;
    copy = arena_strndup(r->arena, text, len);
    if (chars_of(copy) >= ANSWER_MIN_CHARS)
        add(r, copy, ELLIPSIS);
}

/* A note is quoted in parts: its lines, and what stands behind "Question: ". */
static void add_lines(struct redaction *r, const char *text)
{
    while (*text != '\0' && !r->is_full) {
        size_t len = strcspn(text, "\n");
        char *line = arena_strndup(r->arena, text, len);
        const char *answer = strstr(line, ": ");

        add_answer(r, line, len);
        if (answer != NULL)
            add_answer(r, answer + 2, strlen(answer + 2));
        text += len + (text[len] == '\n');
    }
}

void redaction_add_answers(struct redaction *r, const struct json *value)
{
    char *digits;

    switch (json_type(value)) {
    case JSON_STRING:
        add_answer(r, json_str(value), strlen(json_str(value)));
        add_lines(r, json_str(value));
        break;
    case JSON_NUMBER:
        digits = json_text(value);
        add_answer(r, digits, strlen(digits));
        mem_free(digits);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        for (const struct json *child = json_first(value); child != NULL; child = json_next(child))
            redaction_add_answers(r, child);
        break;
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        break;
    }
}

/* The longest of the texts that begin here: a first name must not uncover the rest of the whole name. */
static const struct redacted *hidden_at(const struct redaction *r, const char *text)
{
    const struct redacted *longest = NULL;

    for (size_t i = 0; i < r->count; i++) {
        const struct redacted *item = &r->items[i];

        if ((longest == NULL || item->len > longest->len) && strncmp(item->text, text, item->len) == 0)
            longest = item;
    }
    return longest;
}

/* As much as is shown of it: a text may have megabytes. Returns whether that was all. */
static bool redact(const struct redaction *r, const char *text, size_t enough_bytes, struct buf *out)
{
    while (*text != '\0' && (out->len < enough_bytes || ((unsigned char)*text & 0xc0) == 0x80)) {
        const struct redacted *hidden = hidden_at(r, text);

        if (hidden != NULL) {
            buf_puts(out, hidden->instead);
            text += hidden->len;
        } else {
            buf_putc(out, *text++);
        }
    }
    return *text == '\0';
}

/* Control characters and runs of blanks become one space; none at the ends. */
static void make_line(struct buf *b)
{
    size_t len = 0;

    for (size_t i = 0; i < b->len; i++) {
        unsigned char c = (unsigned char)b->data[i];
        bool blank = c <= ' ' || c == 0x7f;

        if (!blank)
            b->data[len++] = (char)c;
        else if (len > 0 && b->data[len - 1] != ' ')
            b->data[len++] = ' ';
    }
    while (len > 0 && b->data[len - 1] == ' ')
        len--;
    if (b->data != NULL)
        b->data[len] = '\0';
    b->len = len;
}

/* Bytes of the first max_chars characters. */
static size_t prefix_bytes(const char *text, size_t max_chars)
{
    size_t at = 0;

    for (size_t n = 0; text[at] != '\0'; at++) {
        if (((unsigned char)text[at] & 0xc0) != 0x80 && n++ == max_chars)
            break;
    }
    return at;
}

const char *message_clean(const struct redaction *r, const char *text, size_t max_chars)
{
    struct buf shown, plain;
    const char *line;
    bool is_all;

    if (r->is_full && *text != '\0')
        return ELLIPSIS;
    buf_init(&shown, TEXT_MAX_BYTES);
    buf_init(&plain, TEXT_MAX_BYTES);
    is_all = redact(r, text, ENOUGH * max_chars, &shown);
    json_plain(buf_text(&shown), &plain);
    make_line(&plain);
    line = buf_text(&plain);
    if (!is_all || chars_of(line) > max_chars)
        line = arena_printf(r->arena, "%.*s%s", (int)prefix_bytes(line, max_chars - 1), line, ELLIPSIS);
    else
        line = arena_strdup(r->arena, line);
    buf_free(&shown);
    buf_free(&plain);
    return line;
}

/* ---- what jq says -------------------------------------------------------------------------------------------------
 */

/* From the first "(" to the last ")" everything may be input, brackets included; jq cuts values, so that one may even
 * be without its end. Only words of jq's own that are found in between are kept. */
static void add_without_values(const char *text, size_t len, struct buf *out)
{
    static const char *const between[] = {
        ") and null (",   ") and boolean (", ") and number (",  ") and string (",  ") and array (",
        ") and object (", ") with string (", ") with number (", ") with object (", ") with array (",
    };
    const char *end = text + len;
    bool open = true;

    buf_printf(out, "(%s", ELLIPSIS);
    for (const char *p = text; p < end; p++) {
        for (size_t i = 0; open && *p == ')' && i < ATS_COUNT(between); i++) {
            if (text_starts(p, between[i])) {
                buf_printf(out, "%s%s", between[i], ELLIPSIS);
                open = false; /* jq quotes two values at most */
            }
        }
    }
    buf_putc(out, ')');
}

/* A key that the program names itself helps whoever mends it; any other may come from the input. */
static void add_quoted(const char *key, size_t len, const char *program, struct buf *out)
{
    char *text = mem_strndup(key, len);

    buf_printf(out, "\"%s\"", strstr(program, text) != NULL ? text : ELLIPSIS);
    mem_free(text);
}

void message_of_jq(const char *words, const char *program, struct buf *out)
{
    const char *open = strchr(words, '(');
    const char *close = strrchr(words, ')');
    const char *end = open != NULL ? open : words + strlen(words);
    const char *quote = memchr(words, '"', (size_t)(end - words));

    if (quote != NULL) {
        const char *last = strrchr(words, '"');

        buf_add(out, words, (size_t)(quote - words));
        if (last > quote) {
            add_quoted(quote + 1, (size_t)(last - quote - 1), program, out);
            if (open == NULL || open > last)
                message_of_jq(last + 1, program, out);
        } else {
            buf_puts(out, ELLIPSIS);
        }
        return;
    }
    buf_add(out, words, (size_t)(end - words));
    if (open == NULL)
        return;
    add_without_values(open + 1, strlen(open + 1), out);
    if (close != NULL && close > open)
        buf_puts(out, close + 1);
}
