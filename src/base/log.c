#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mask.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    LOG_VALUE_MAX_BYTES = 2 * 1024,
    LOG_LINE_MAX_BYTES = 16 * 1024,
    LOG_LINE_ROOM_BYTES = 128, /* kept free at the end of a line for its cut= and repeated= */
    LOG_FOLD_INTERVAL_MS = 10000,
    LOG_FOLD_ENTRIES = 64,
    LOG_FLOOD_LINES = 100, /* warnings and errors with one message within the interval */
    LOG_FLOOD_ENTRIES = 64,
};

/* What differs from one occurrence of the same event to the next: a field with such a key makes no other line. */
static const char *const log_varying[] = {"request", "wait_ms", "events"};

/* A line that was written lately. `body` is the line without its time and without the fields that vary. */
struct log_fold {
    char *body; /* NULL: this entry is free */
    uint64_t hash;
    int64_t since_ms;
    uint64_t repeated;
};

/* How often a message was written lately, whatever its fields: a crowd of peers must not fill the disk. */
struct log_flood {
    char *head; /* level and message; NULL: this entry is free */
    int64_t since_ms;
    unsigned lines;
    uint64_t suppressed;
};

static struct {
    atomic_int level;
    atomic_int format;
    pthread_mutex_t lock; /* of the table, and of the order of lines */
    struct log_fold folds[LOG_FOLD_ENTRIES];
    struct log_flood floods[LOG_FLOOD_ENTRIES];
} log_state = {.level = LOG_INFO, .format = LOG_TEXT, .lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const log_level_names[] = {"debug", "info", "warn", "error"};

bool log_level_parse(const char *name, enum log_level *ret)
{
    for (size_t i = 0; i < ATS_COUNT(log_level_names); i++) {
        if (text_eq(name, log_level_names[i])) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Length of the UTF-8 sequence at s, 0 if there is none. */
static size_t sequence_length(const char *s, size_t len)
{
    for (size_t n = 1; n <= 4 && n <= len; n++) {
        if (text_is_utf8(s, n))
            return n;
    }
    return 0;
}

/* Code points that a terminal or a viewer takes for a command or for the end of a line, or that turn the order of what
 * follows around: C0, DEL, C1, U+2028, U+2029, and the marks of bidirectional text. */
static bool is_control(const char *s, size_t n, unsigned *ret_code)
{
    const unsigned char *p = (const unsigned char *)s;
    unsigned code = 0;

    if (n == 1)
        code = p[0];
    else if (n == 2)
        code = (p[0] & 0x1FU) << 6 | (p[1] & 0x3FU);
    else if (n == 3)
        code = (p[0] & 0x0FU) << 12 | (p[1] & 0x3FU) << 6 | (p[2] & 0x3FU);
    else
        return false;
    *ret_code = code;
    return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x061C || code == 0x200E || code == 0x200F ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

static void add_escaped(struct buf *b, const char *value, enum log_format format)
{
    size_t len = strnlen(value, LOG_VALUE_MAX_BYTES + 1);
    size_t keep = text_utf8_cut(value, len, LOG_VALUE_MAX_BYTES);

    for (size_t i = 0; i < keep;) {
        size_t n = sequence_length(value + i, keep - i);
        unsigned code = 0;

        if (n == 0) { /* JSON cannot carry a bare byte: there the escape itself is text */
            buf_printf(b, format == LOG_JSON ? "\\\\x%02x" : "\\x%02x", (unsigned)(unsigned char)value[i]);
            n = 1;
        } else if (value[i] == '"' || value[i] == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, value[i]);
        } else if (value[i] == '\n') {
            buf_puts(b, "\\n");
        } else if (value[i] == '\r') {
            buf_puts(b, "\\r");
        } else if (value[i] == '\t') {
            buf_puts(b, "\\t");
        } else if (is_control(value + i, n, &code)) {
            buf_printf(b, format == LOG_TEXT && code < 0x80 ? "\\x%02x" : "\\u%04x", code);
        } else {
            buf_add(b, value + i, n);
        }
        i += n;
    }
    if (keep < len)
        buf_puts(b, "...");
}

static void add_quoted(struct buf *b, const char *value, enum log_format format)
{
    buf_putc(b, '"');
    add_escaped(b, value, format);
    buf_putc(b, '"');
}

static bool is_plain(const char *value)
{
    for (const char *s = value; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;

        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7F)
            return false;
    }
    return *value != '\0';
}

static void add_field_text(struct buf *field, const char *key, const char *value, enum log_format format)
{
    if (format == LOG_JSON) {
        buf_printf(field, ",\"%s\":", key);
        add_quoted(field, value, format);
        return;
    }
    buf_printf(field, " %s=", key);
    if (is_plain(value) && strnlen(value, LOG_VALUE_MAX_BYTES + 1) <= LOG_VALUE_MAX_BYTES)
        buf_puts(field, value);
    else
        add_quoted(field, value, format);
}

/* One field with its separator; built apart, because it goes into a line whole or not at all. */
static void build_field(struct buf *field, const char *key, const char *value, enum log_format format)
{
    struct buf masked;
    size_t len;

    buf_reset(field);
    if (strpbrk(value, "@+") == NULL) {
        add_field_text(field, key, value, format);
        return;
    }
    len = strnlen(value,
                  (size_t)2 * LOG_VALUE_MAX_BYTES); /* more than is shown, so that none is cut before it is found */
    buf_init(&masked, SIZE_MAX / 4);
    mask_people(value, len, &masked);
    add_field_text(field, key, buf_text(&masked), format);
    buf_free(&masked);
}

/* Returns false when the line is full, so that it can say so at its end. */
static bool add_field(struct buf *line, const struct buf *field)
{
    if (field->failed || line->len + field->len > LOG_LINE_MAX_BYTES - LOG_LINE_ROOM_BYTES)
        return false;
    buf_add(line, field->data, field->len);
    return true;
}

static void build_head(struct buf *b, enum log_level level, const char *message, enum log_format format)
{
    if (format == LOG_JSON)
        buf_printf(b, "\"level\":\"%s\",\"msg\":", log_level_names[level]);
    else
        buf_printf(b, "level=%s msg=", log_level_names[level]);
    add_quoted(b, message, format);
}

/* Puts the time before a body and the count (0: none) behind it, and writes the line with one system call. Called with
 * the lock. */
static void write_line(const char *body, const char *count_key, uint64_t count, enum log_format format)
{
    struct time_text now = time_iso8601(clock_wall_us());
    struct buf line;
    size_t done = 0;

    buf_init(&line, LOG_LINE_MAX_BYTES + 2 * LOG_LINE_ROOM_BYTES);
    if (format == LOG_JSON)
        buf_printf(&line, "{\"time\":\"%s\",%s", now.s, body);
    else
        buf_printf(&line, "%s %s", now.s, body);
    if (count > 0)
        buf_printf(&line, format == LOG_JSON ? ",\"%s\":%llu" : " %s=%llu", count_key, (unsigned long long)count);
    buf_puts(&line, format == LOG_JSON ? "}\n" : "\n");
    while (done < line.len) { /* more than once only if a pipe took a part */
        ssize_t n = write(STDERR_FILENO, line.data + done, line.len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* nobody can be told that logging fails */
        done += (size_t)n;
    }
    buf_free(&line);
}

static enum log_format current_format(void)
{
    return (enum log_format)atomic_load_explicit(&log_state.format, memory_order_relaxed);
}

static void fold_tell(struct log_fold *fold)
{
    if (fold->repeated > 0)
        write_line(fold->body, "repeated", fold->repeated, current_format());
    fold->repeated = 0;
}

static void fold_drop(struct log_fold *fold)
{
    if (fold->body == NULL)
        return;
    fold_tell(fold);
    mem_free(fold->body);
    *fold = (struct log_fold){0};
}

static void flood_drop(struct log_flood *flood)
{
    if (flood->head == NULL)
        return;
    if (flood->suppressed > 0)
        write_line(flood->head, "suppressed", flood->suppressed, current_format());
    mem_free(flood->head);
    *flood = (struct log_flood){0};
}

static void drop_older_than(int64_t limit_ms)
{
    for (size_t i = 0; i < LOG_FOLD_ENTRIES; i++) {
        if (log_state.folds[i].since_ms <= limit_ms)
            fold_drop(&log_state.folds[i]);
    }
    for (size_t i = 0; i < LOG_FLOOD_ENTRIES; i++) {
        if (log_state.floods[i].since_ms <= limit_ms)
            flood_drop(&log_state.floods[i]);
    }
}

/* The entry of this body, or NULL and in *ret_free where one can be made: a free one, else the oldest. */
static struct log_fold *fold_find(const char *body, uint64_t hash, struct log_fold **ret_free)
{
    struct log_fold *place = &log_state.folds[0];

    for (size_t i = 0; i < LOG_FOLD_ENTRIES; i++) {
        struct log_fold *fold = &log_state.folds[i];

        if (fold->body != NULL && fold->hash == hash && strcmp(fold->body, body) == 0)
            return fold;
        if (place->body != NULL && (fold->body == NULL || fold->since_ms < place->since_ms))
            place = fold;
    }
    *ret_free = place;
    return NULL;
}

/* Whether one more line with this head may be written now; otherwise it was counted. */
static bool flood_admit(const char *head, int64_t now_ms)
{
    struct log_flood *place = &log_state.floods[0];

    for (size_t i = 0; i < LOG_FLOOD_ENTRIES; i++) {
        struct log_flood *flood = &log_state.floods[i];

        if (flood->head != NULL && strcmp(flood->head, head) == 0) {
            place = flood;
            break;
        }
        if (place->head != NULL && (flood->head == NULL || flood->since_ms < place->since_ms))
            place = flood;
    }
    if (place->head == NULL || strcmp(place->head, head) != 0 || now_ms - place->since_ms >= LOG_FOLD_INTERVAL_MS) {
        flood_drop(place);
        place->head = mem_strdup(head);
        place->since_ms = now_ms;
    }
    if (place->lines == LOG_FLOOD_LINES) {
        place->suppressed++;
        return false;
    }
    place->lines++;
    return true;
}

/* Whether a line is to be written now; otherwise it was counted. head: of warnings and errors, which may be too many. */
static bool admit(const char *head, const struct buf *body)
{
    uint64_t hash = text_hash64(buf_text(body), body->len);
    int64_t now_ms = clock_mono_ms();
    struct log_fold *place = NULL;
    struct log_fold *fold = fold_find(buf_text(body), hash, &place);

    if (fold != NULL && now_ms - fold->since_ms < LOG_FOLD_INTERVAL_MS) {
        fold->repeated++;
        return false;
    }
    if (head != NULL && !flood_admit(head, now_ms))
        return false;
    if (fold != NULL) {
        fold_tell(fold);
        fold->since_ms = now_ms;
        return true;
    }
    fold_drop(place);
    place->body = mem_strndup(buf_text(body), body->len);
    place->hash = hash;
    place->since_ms = now_ms;
    return true;
}

static bool is_varying(const char *key)
{
    for (size_t i = 0; i < ATS_COUNT(log_varying); i++) {
        if (text_eq(key, log_varying[i]))
            return true;
    }
    return false;
}

void log_setup(enum log_level level, enum log_format format)
{
    (void)pthread_mutex_lock(&log_state.lock);
    if (format != current_format())
        drop_older_than(INT64_MAX); /* their bodies are in the old format */
    atomic_store_explicit(&log_state.level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&log_state.format, (int)format, memory_order_relaxed);
    (void)pthread_mutex_unlock(&log_state.lock);
}

void log_write(enum log_level level, const char *message, ...)
{
    struct buf line; /* all fields */
    struct buf body; /* without those that vary: what makes two lines the same */
    struct buf field;
    char *head;
    enum log_format format;
    bool cut = false;
    const char *key;
    va_list ap;

    if ((int)level < atomic_load_explicit(&log_state.level, memory_order_relaxed))
        return;
    buf_init(&line, LOG_LINE_MAX_BYTES);
    buf_init(&body, LOG_LINE_MAX_BYTES);
    buf_init(&field, LOG_LINE_MAX_BYTES);

    (void)pthread_mutex_lock(&log_state.lock); /* from here on, because the format may change at a reload */
    format = current_format();
    build_head(&line, level, message, format);
    head = level >= LOG_WARN ? mem_strdup(buf_text(&line)) : NULL;
    buf_add(&body, line.data, line.len);
    va_start(ap, message);
    while ((key = va_arg(ap, const char *)) != NULL) {
        const char *value = va_arg(ap, const char *);

        if (value == NULL)
            continue;
        build_field(&field, key, value, format);
        if (!add_field(&line, &field))
            cut = true;
        else if (!is_varying(key))
            (void)add_field(&body, &field);
    }
    va_end(ap);
    if (cut)
        buf_puts(&line, format == LOG_JSON ? ",\"cut\":true" : " cut=true");
    if (admit(head, &body))
        write_line(buf_text(&line), NULL, 0, format);
    (void)pthread_mutex_unlock(&log_state.lock);

    mem_free(head);
    buf_free(&line);
    buf_free(&body);
    buf_free(&field);
}

void log_flush_repeats(void)
{
    (void)pthread_mutex_lock(&log_state.lock);
    drop_older_than(clock_mono_ms() - LOG_FOLD_INTERVAL_MS);
    (void)pthread_mutex_unlock(&log_state.lock);
}

void log_finish(void)
{
    (void)pthread_mutex_lock(&log_state.lock);
    drop_older_than(INT64_MAX);
    (void)pthread_mutex_unlock(&log_state.lock);
}
