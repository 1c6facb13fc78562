#include "ctl/print.h"

#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

enum { DEFAULT_WIDTH = 80, OUTPUT_MAX_BYTES = 1024 * 1024 * 1024, CELL_MAX_CHARS = 100 };

/* ---- foreign text */

/* The code point that begins at s, with its length; 0 if the bytes are not UTF-8. */
static size_t decode(const char *s, uint32_t *ret)
{
    const unsigned char *b = (const unsigned char *)s;
    size_t len = b[0] < 0x80 ? 1 : b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;
    uint32_t point = len == 1 ? b[0] : b[0] & (0xFFU >> (len + 1));

    for (size_t i = 1; i < len; i++) {
        if ((b[i] & 0xC0U) != 0x80) { /* the final NUL too */
            return 0;
        }
        point = point << 6 | (b[i] & 0x3FU);
    }
    if (!text_is_utf8(s, len)) {
        return 0;
    }
    *ret = point;
    return len;
}

static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point < 0xA0);
}

/* Characters that reorder what stands around them, or end a line for some programs. */
static bool is_layout(uint32_t point)
{
    return point == 0x061C || point == 0x200E || point == 0x200F || (point >= 0x2028 && point <= 0x202E) ||
           (point >= 0x2066 && point <= 0x2069);
}

static void escape_point(uint32_t point, struct buf *out)
{
    if (point == '\n') {
        buf_puts(out, "\\n");
    } else if (point == '\t') {
        buf_puts(out, "\\t");
    } else if (point == '\r') {
        buf_puts(out, "\\r");
    } else if (point < 0x80) {
        buf_printf(out, "\\x%02X", (unsigned)point);
    } else {
        buf_printf(out, "\\u{%04X}", (unsigned)point);
    }
}

void print_escaped(const char *s, struct buf *out)
{
    while (s && *s != '\0') {
        uint32_t point = 0;
        size_t len = decode(s, &point);

        if (len == 0) {
            buf_printf(out, "\\x%02X", (unsigned)(unsigned char)*s);
            s++;
            continue;
        }
        if (is_control(point) || is_layout(point)) {
            escape_point(point, out);
        } else {
            buf_add(out, s, len);
        }
        s += len;
    }
}

void print_escaped_json(const char *text, struct buf *out)
{
    while (*text != '\0') {
        uint32_t point = 0;
        size_t len = decode(text, &point);

        if (len > 0 && (is_control(point) || is_layout(point))) {
            buf_printf(out, "\\u%04x", (unsigned)point);
        } else {
            buf_add(out, text, len > 0 ? len : 1);
        }
        text += len > 0 ? len : 1;
    }
}

/* The length of the first max_chars characters of s. */
static size_t bytes_of_chars(const char *s, size_t max_chars)
{
    size_t len = 0;

    while (s[len] != '\0' && max_chars > 0) {
        len++;
        while (((unsigned char)s[len] & 0xC0) == 0x80) {
            len++;
        }
        max_chars--;
    }
    return len;
}

void print_value(const struct json *value, size_t max_chars, struct buf *out)
{
    const char *text = json_str(value);
    size_t keep = text ? bytes_of_chars(text, max_chars) : 0;
    char *cut = text && text[keep] != '\0' ? mem_printf("%.*s…", (int)keep, text) : NULL;
    struct json *shown = cut ? json_string(cut) : NULL;
    char *printed = json_text(shown ? shown : value);

    if (!text) {
        keep = bytes_of_chars(printed, max_chars);
        if (printed[keep] != '\0') {
            mem_free(cut);
            cut = mem_printf("%.*s…", (int)keep, printed);
        }
    }
    print_escaped(text || !cut ? printed : cut, out);
    mem_free(printed);
    mem_free(cut);
    json_free(shown);
}

/* ---- tables */

static char *cell_text(const struct json *row, const struct column *c, bool terminal)
{
    const struct json *value = json_get(row, c->member);
    char *number = NULL;
    const char *text = json_str(value);
    struct buf b;

    buf_init(&b, OUTPUT_MAX_BYTES);
    if (!text && json_type(value) != JSON_NULL) {
        text = number = json_text(value);
    }
    if (terminal && (!text || *text == '\0')) {
        text = "-";
    }
    print_escaped(text, &b);
    mem_free(number);
    if (terminal && text_utf8_chars(buf_text(&b)) > CELL_MAX_CHARS) {
        char *cut = mem_printf("%.*s…", (int)bytes_of_chars(buf_text(&b), CELL_MAX_CHARS), buf_text(&b));

        buf_free(&b);
        return cut;
    }
    return buf_take(&b);
}

static void add_cell(const char *text, size_t width, bool right, bool last, struct buf *out)
{
    size_t chars = text_utf8_chars(text);
    size_t blanks = chars < width ? width - chars : 0;

    if (right) {
        buf_printf(out, "%*s", (int)blanks, "");
    }
    buf_puts(out, text);
    if (!last) {
        buf_printf(out, "%*s", (int)((right ? 0 : blanks) + 2), "");
    }
}

static void print_aligned(char *const *cells, size_t rows, const struct column *columns, size_t count, struct buf *out)
{
    size_t *widths = mem_array(count + 1, sizeof *widths);

    for (size_t c = 0; c < count; c++) {
        widths[c] = text_utf8_chars(columns[c].title);
        for (size_t r = 0; r < rows; r++) {
            size_t chars = text_utf8_chars(cells[r * count + c]);

            widths[c] = chars > widths[c] ? chars : widths[c];
        }
    }
    for (size_t c = 0; c < count; c++) {
        add_cell(columns[c].title, widths[c], columns[c].right, c + 1 == count, out);
    }
    buf_putc(out, '\n');
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < count; c++) {
            add_cell(cells[r * count + c], widths[c], columns[c].right, c + 1 == count, out);
        }
        buf_putc(out, '\n');
    }
    mem_free(widths);
}

void print_table(const struct json *rows, const struct column *columns, size_t count, bool terminal, struct buf *out)
{
    size_t row_count = json_count(rows);
    char **cells = mem_array(row_count * count + 1, sizeof *cells);
    size_t n = 0;

    for (const struct json *row = json_first(rows); row; row = json_next(row)) {
        for (size_t c = 0; c < count; c++) {
            cells[n++] = cell_text(row, &columns[c], terminal);
        }
    }
    if (terminal) {
        print_aligned(cells, row_count, columns, count, out);
    } else {
        for (size_t i = 0; i < n; i++) {
            buf_puts(out, cells[i]);
            buf_putc(out, (i + 1) % count == 0 ? '\n' : '\t');
        }
    }
    for (size_t i = 0; i < n; i++) {
        mem_free(cells[i]);
    }
    mem_free(cells);
}

/* ---- paragraphs */

void print_wrapped(const char *text, size_t indent, size_t width, struct buf *out)
{
    struct buf clean;
    const char *word;
    size_t column = 0;

    buf_init(&clean, OUTPUT_MAX_BYTES);
    print_escaped(text, &clean);
    word = buf_text(&clean);
    while (*(word += strspn(word, " ")) != '\0') {
        size_t len = strcspn(word, " ");
        char *one = mem_strndup(word, len);
        size_t chars = text_utf8_chars(one);

        if (column > 0 && column + 1 + chars > width) {
            buf_putc(out, '\n');
            column = 0;
        }
        if (column == 0) {
            buf_printf(out, "%*s", (int)indent, "");
            column = indent;
        } else {
            buf_putc(out, ' ');
            column++;
        }
        buf_puts(out, one);
        column += chars;
        mem_free(one);
        word += len;
    }
    buf_putc(out, '\n');
    buf_free(&clean);
}

/* ---- where it goes */

bool print_to_terminal(void)
{
    return isatty(STDOUT_FILENO) == 1;
}

size_t print_width_of(int fd)
{
    struct winsize size = {0};

    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : DEFAULT_WIDTH;
}

size_t print_width(void)
{
    return print_width_of(STDOUT_FILENO);
}
