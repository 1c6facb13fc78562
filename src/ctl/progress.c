#include "ctl/progress.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "ctl/print.h"

enum {
    DRAW_EVERY_MS = 200,
    FIRST_MS = 500,       /* who is ready within that needs no line */
    STRETCH_MS = 5000,    /* the pace is that of the last 5 to 10 seconds */
    SURE_MS = 1000,       /* no pace is told from less */
    LINE_MAX_BYTES = 512, /* more than any width shows */
};

/* ---- pure */

void progress_pace_begin(struct progress_pace *pace, int64_t now_ms)
{
    *pace = (struct progress_pace){.from_ms = now_ms, .mid_ms = now_ms};
}

double progress_pace_at(struct progress_pace *pace, int64_t done, int64_t now_ms)
{
    if (now_ms - pace->mid_ms >= STRETCH_MS) {
        pace->from_ms = pace->mid_ms;
        pace->from_done = pace->mid_done;
        pace->mid_ms = now_ms;
        pace->mid_done = done;
    }
    if (now_ms - pace->from_ms < SURE_MS || done <= pace->from_done) {
        return 0;
    }
    return (double)(done - pace->from_done) * 1000 / (double)(now_ms - pace->from_ms);
}

/* 1234567 -> "1,234,567" */
static void add_grouped(int64_t n, struct buf *out)
{
    struct num_text digits = num_text(n);
    size_t len = strlen(digits.s);

    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            buf_putc(out, ',');
        }
        buf_putc(out, digits.s[i]);
    }
}

static void add_time_left(double seconds, struct buf *out)
{
    int64_t s = seconds < 1e9 ? (int64_t)(seconds + 0.5) : INT64_C(1000000000);

    if (s < 60) {
        buf_printf(out, ", %" PRId64 "s left", s);
    } else if (s < 3600) {
        buf_printf(out, ", %" PRId64 "m%02" PRId64 "s left", s / 60, s % 60);
    } else if (s < 86400) {
        buf_printf(out, ", %" PRId64 "h%02" PRId64 "m left", s / 3600, s / 60 % 60);
    } else {
        buf_puts(out, ", more than a day left");
    }
}

void progress_line(const char *what, int64_t done, int64_t total, double per_second, size_t width, struct buf *out)
{
    struct buf line;

    buf_init(&line, LINE_MAX_BYTES);
    buf_printf(&line, "%s ", what);
    add_grouped(done, &line);
    if (total > 0) { /* more may have come since they were counted */
        buf_puts(&line, " of ");
        add_grouped(total > done ? total : done, &line);
        buf_printf(&line, " (%d%%)", done < total ? (int)((double)done * 100 / (double)total) : 100);
    }
    if (per_second > 0) {
        buf_puts(&line, ", ");
        if (per_second < 9.95) {
            buf_printf(&line, "%.1f", per_second);
        } else {
            add_grouped((int64_t)(per_second + 0.5), &line);
        }
        buf_puts(&line, "/s");
        if (total > done) {
            add_time_left((double)(total - done) / per_second, &line);
        }
    }
    buf_add(out, buf_text(&line), text_utf8_cut(buf_text(&line), line.len, width));
    buf_free(&line);
}

/* ---- on the terminal */

/* A dumb one cannot draw a line anew. */
static bool is_terminal(void)
{
    const char *term = getenv("TERM");

    return isatty(STDERR_FILENO) == 1 && term && *term != '\0' && !text_eq(term, "dumb");
}

void progress_begin(struct progress *p, const char *what, int64_t total)
{
    *p = (struct progress){.what = what, .total = total, .visible = is_terminal()};
    progress_pace_begin(&p->pace, clock_mono_ms());
}

static void draw(struct progress *p, int64_t now_ms)
{
    double per_second = progress_pace_at(&p->pace, p->done, now_ms);
    struct buf line;

    buf_init(&line, LINE_MAX_BYTES);
    progress_line(p->what, p->done, p->total, per_second, print_width_of(STDERR_FILENO) - 1, &line);
    (void)fflush(stdout);                           /* it may be the same terminal */
    fprintf(stderr, "\r%s\033[K", buf_text(&line)); /* and erase what was longer before */
    (void)fflush(stderr);
    buf_free(&line);
    p->drawn_ms = now_ms;
}

void progress_at(struct progress *p, int64_t done)
{
    int64_t now_ms;

    p->done = done;
    if (!p->visible) {
        return;
    }
    now_ms = clock_mono_ms();
    if (p->drawn_ms > 0 ? now_ms - p->drawn_ms >= DRAW_EVERY_MS : now_ms - p->pace.from_ms >= FIRST_MS) {
        draw(p, now_ms);
    }
}

void progress_hide(struct progress *p)
{
    if (p->drawn_ms > 0) {
        fputs("\r\033[K", stderr);
        (void)fflush(stderr);
        p->drawn_ms = 0;
    }
}

void progress_end(struct progress *p)
{
    progress_hide(p);
    p->visible = false;
}
