/*
 * progress - how far long work is: one line on standard error that is drawn over itself, for somebody who waits.
 *
 *     struct progress p;
 *
 *     progress_begin(&p, "importing", total);
 *     while (…)
 *         progress_at(&p, done);          as often as wanted: it draws a few times a second at most
 *     progress_end(&p);                   takes the line away; the result is for the caller to print
 *
 * It shows only where standard error is a terminal, so a pipe, a log and cron see nothing of it. What else is printed
 * meanwhile goes between progress_hide and the next progress_at. One thread.
 */
#ifndef ATSYNC_CTL_PROGRESS_H
#define ATSYNC_CTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"

/* How fast it goes, over the last seconds: what was measured before an ATS or a disk became slow says nothing. */
struct progress_pace {
    int64_t from_ms, from_done; /* where the measured stretch begins */
    int64_t mid_ms, mid_done;   /* where the next one will */
};

struct progress {
    const char *what;
    int64_t total, done;
    int64_t drawn_ms; /* when it was drawn last; 0: it is not on the screen */
    bool visible;     /* there is a terminal */
    struct progress_pace pace;
};

/* what: "importing"; borrowed until the end. total: -1 if it is not known. */
void progress_begin(struct progress *p, const char *what, int64_t total);
void progress_at(struct progress *p, int64_t done); /* so many are done by now */
void progress_hide(struct progress *p);
void progress_end(struct progress *p);

/* ---- the pure part */
void progress_pace_begin(struct progress_pace *pace, int64_t now_ms);
/* Units per second at this moment; 0 while that cannot be told yet. */
double progress_pace_at(struct progress_pace *pace, int64_t done, int64_t now_ms);
/* "importing 1,234 of 10,000 (12%), 56/s, 2m36s left", cut to width characters. total -1 and per_second 0: unknown. */
void progress_line(const char *what, int64_t done, int64_t total, double per_second, size_t width, struct buf *out);

#endif
