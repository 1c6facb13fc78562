#include "ctl/event_file.h"

#include <stdbool.h>

#include "base/buf.h"
#include "base/json_scan.h"
#include "base/text.h"
#include "lib/crypto.h"
#include "lib/json.h"

enum { PIECE_BYTES = 64 * 1024, LEVELS_MAX = 10 };

static const char broken[] = "not JSON: it breaks off, or something stands there that cannot";
static const char cut_off[] = "the file ends in the middle of it";
static const char list_cut_off[] = "the file ends before this list does: it may have been cut off";
static const char too_large[] = "larger than receiver.max_body";

struct event_file {
    event_file_read read;
    void *ctx;
    size_t max; /* bytes of a value */
    char *data; /* from `at` on not handed out yet */
    size_t len, room, at;
    uint64_t line; /* of data[at] */
    size_t column; /* how many bytes stand before data[at] in its line */
    bool ended;    /* there is nothing more to read */
    bool failed;   /* nothing more can be read */
    bool in_list;  /* a list at the top, which began at */
    uint64_t list_line;
};

struct event_file *event_file_new(event_file_read read, void *ctx, size_t value_max_bytes)
{
    struct event_file *f = mem_zalloc(sizeof *f);

    f->read = read;
    f->ctx = ctx;
    f->max = value_max_bytes;
    f->room = PIECE_BYTES;
    f->data = mem_alloc(f->room);
    f->line = 1;
    return f;
}

void event_file_free(struct event_file *f)
{
    if (f) {
        mem_free(f->data);
        mem_free(f);
    }
}

/* Reads more behind data[len]; what is before `at` may go. false at the end. Positions move by *ret_moved. */
static bool fill(struct event_file *f, size_t *ret_moved)
{
    ssize_t n;

    *ret_moved = 0;
    if (f->ended || f->failed) {
        return false;
    }
    if (f->at > 0) {
        *ret_moved = f->at;
        f->len -= f->at;
        memmove(f->data, f->data + f->at, f->len);
        f->at = 0;
    }
    if (f->room - f->len < PIECE_BYTES) {
        f->room = f->len + PIECE_BYTES > 2 * f->room ? f->len + PIECE_BYTES : 2 * f->room;
        f->data = mem_grow(f->data, f->room, 1);
    }
    n = f->read(f->ctx, f->data + f->len, PIECE_BYTES);
    f->ended = n == 0;
    f->failed = n < 0;
    f->len += n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* data[at] is done with. */
static void pass(struct event_file *f)
{
    f->column++;
    if (f->data[f->at++] == '\n') {
        f->line++;
        f->column = 0;
    }
}

static void pass_to(struct event_file *f, size_t at)
{
    while (f->at < at) {
        pass(f);
    }
}

static bool ensure_byte(struct event_file *f)
{
    size_t moved;

    return f->at < f->len || fill(f, &moved);
}

/* Blanks, commas, the mark of JSON text sequences (RFC 7464), a byte order mark, and the brackets of a list at the top:
 * true when a value begins. */
static bool find_value(struct event_file *f)
{
    while (ensure_byte(f)) {
        char c = f->data[f->at];

        if (c == '[' && !f->in_list) {
            f->in_list = true;
            f->list_line = f->line;
        } else if (c == ']' && f->in_list) {
            f->in_list = false;
        } else if (!strchr(" \t\r\n,\x1e\xef\xbb\xbf", c) || c == '\0') {
            return true;
        }
        pass(f);
    }
    return false;
}

/* To the next line that may begin an event: an object, or the end of the list, not further to the right than what broke
 * off. */
static void find_line(struct event_file *f, size_t column)
{
    while (ensure_byte(f)) {
        char c = f->data[f->at];

        if (f->column <= column && (c == '{' || c == ']')) {
            break;
        }
        do { /* the rest of the line, and the blanks that the next one begins with */
            c = f->data[f->at];
            pass(f);
        } while (c != '\n' && ensure_byte(f));
        while (ensure_byte(f) && strchr(" \t", f->data[f->at]) && f->data[f->at] != '\0') {
            pass(f);
        }
    }
}

/* The rest of the line on which a value broke off, then the next line that may begin one. */
static void skip_broken(struct event_file *f, size_t column)
{
    while (ensure_byte(f) && f->data[f->at] != '\n') {
        pass(f);
    }
    find_line(f, column);
}

enum event_file_result event_file_next(struct event_file *f, struct event_file_value *ret)
{
    struct json_scan scan = {0};
    enum json_scan_step step = JSON_SCAN_MORE;
    bool oversized = false;
    size_t end, column, moved;

    *ret = (struct event_file_value){0};
    if (!find_value(f)) {
        if (!f->failed && f->in_list) {
            f->in_list = false;
            *ret = (struct event_file_value){.line = f->list_line, .problem = list_cut_off};
            return EVENT_FILE_VALUE;
        }
        return f->failed ? EVENT_FILE_FAILED : EVENT_FILE_END;
    }
    ret->line = f->line;
    column = f->column;
    for (end = f->at;;) {
        if (end - f->at > f->max) { /* its bytes are not needed any more */
            oversized = true;
            pass_to(f, end);
        }
        if (end == f->len) {
            bool more = fill(f, &moved);

            end -= moved;
            if (!more) {
                break;
            }
        }
        step = json_scan_byte(&scan, f->data[end]);
        end += step == JSON_SCAN_MORE || step == JSON_SCAN_LAST;
        if (step != JSON_SCAN_MORE) {
            break;
        }
    }
    if (f->failed) {
        return EVENT_FILE_FAILED;
    }
    if (step == JSON_SCAN_BAD) {
        ret->problem = broken;
        skip_broken(f, column);
    } else if (!json_scan_may_end(&scan)) {
        ret->problem = cut_off;
        skip_broken(f, column);
    } else if (oversized || end - f->at > f->max) {
        ret->problem = too_large;
        pass_to(f, end);
    } else {
        ret->len = end - f->at;
        pass_to(f, end);
        ret->text = f->data + end - ret->len;
    }
    return EVENT_FILE_VALUE;
}

/* ---- events in their wrappers */

struct unwrapping {
    struct arena *arena;
    void (*fn)(void *ctx, const char *body, size_t len);
    void *ctx;
};

/* Where those who keep what could not be delivered put it; the first that holds an event counts. */
static const char *const wrappers[] = {"payload", "body",     "Body",    "message", "Message",
                                       "event",   "detail",   "data",    "request", "Messages",
                                       "Records", "messages", "records", "events",  "items"};

static size_t unwrap(const struct unwrapping *u, struct json_slice value, unsigned depth);

static bool is_event(struct json_slice object)
{
    struct json_slice type, data;

    return json_scan_member(object, "event", &type) && type.text[0] == '"' &&
           (json_scan_member(object, "data", &data) || json_scan_member(object, "eventId", &data));
}

/* A text in a text: JSON, or base64 of it. */
static size_t unwrap_text(const struct unwrapping *u, struct json_slice quoted, unsigned depth)
{
    struct json *tree = NULL;
    struct json_slice inner;
    const char *text = NULL;
    size_t len = 0;
    uint8_t *bytes;

    if (json_parse(quoted.text, quoted.len, &tree, NULL) == ST_OK) {
        text = arena_strdup(u->arena, json_str(tree));
        len = strlen(text);
    }
    json_free(tree);
    if (text && json_scan_value(text, len, &inner) && (inner.text[0] == '{' || inner.text[0] == '[')) {
        return unwrap(u, inner, depth);
    }
    bytes = arena_alloc(u->arena, len + 1);
    if (text && crypto_unbase64(text, len, bytes, len, &len) && json_scan_value((const char *)bytes, len, &inner) &&
        (inner.text[0] == '{' || inner.text[0] == '[')) {
        return unwrap(u, inner, depth);
    }
    return 0;
}

static size_t unwrap_list(const struct unwrapping *u, struct json_slice list, unsigned depth)
{
    struct json_slice name, element;
    size_t at = 0;
    size_t found = 0;

    while (json_scan_next(list, &at, &name, &element)) {
        found += unwrap(u, element, depth);
    }
    return found;
}

static size_t unwrap(const struct unwrapping *u, struct json_slice value, unsigned depth)
{
    if (depth > LEVELS_MAX) {
        return 0;
    }
    if (value.text[0] == '[') {
        return unwrap_list(u, value, depth + 1);
    }
    if (value.text[0] == '"') {
        return unwrap_text(u, value, depth + 1);
    }
    if (value.text[0] != '{') {
        return 0;
    }
    if (is_event(value)) {
        u->fn(u->ctx, value.text, value.len);
        return 1;
    }
    for (size_t i = 0; i < ATS_COUNT(wrappers); i++) {
        struct json_slice inner;
        size_t found = json_scan_member(value, wrappers[i], &inner) ? unwrap(u, inner, depth + 1) : 0;

        if (found > 0) {
            return found;
        }
    }
    return 0;
}

size_t event_file_unwrap(const char *text, size_t len, struct arena *arena,
                         void (*fn)(void *ctx, const char *body, size_t len), void *ctx)
{
    struct unwrapping u = {.arena = arena, .fn = fn, .ctx = ctx};
    struct json_slice value;

    return json_scan_value(text, len, &value) ? unwrap(&u, value, 0) : 0;
}
