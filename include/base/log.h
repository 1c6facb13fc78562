/*
 * log - one line per event on stderr, as key=value text or as JSON.
 *
 * Only programs log (services, ctl, main); libraries and pure modules return. A message is a constant English phrase,
 * everything variable goes into fields. Secrets, answers, e-mail addresses and phone numbers are never passed in; what
 * an ATS or Popp says in its own words is not either, as it may repeat them. As a last guard values go through
 * base/mask.
 *
 * A line that repeats (same level, message and fields; fields named request, wait_ms and events do not count) within 10
 * seconds of the written one is not written but counted. The count is told as the same line with repeated=N. The table
 * of such lines has 64 places; when it is full the oldest is told and forgotten. Of warnings and errors with the same
 * message and ever other fields 100 are written in 10 seconds; how many more there were is told with suppressed=N.
 *
 * Thread: log_setup before the first thread, everything else from any thread.
 */
#ifndef ATSYNC_BASE_LOG_H
#define ATSYNC_BASE_LOG_H

#include <stdbool.h>

#include "base/compiler.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

void log_setup(enum log_level level, enum log_format format); /* may be called again at reload */
bool log_level_parse(const char *name, enum log_level *ret);  /* debug info warn error */

/*
 * log_write(LOG_WARN, "signature rejected", "source", name, "request", id, NULL)
 * Pairs of key and text, ended by NULL; a pair whose text is NULL is left out. Control characters in values are
 * escaped, values are cut at 2 KiB and lines at 16 KiB (fields that do not fit are left out, cut=true stands at the
 * end), so that a foreign byte can neither forge a line nor fill the disk. Bytes that are not UTF-8 are shown as \xHH.
 * A line is one write(2). When stderr fails the line is lost; the program goes on.
 */
void log_write(enum log_level level, const char *message, ...) ATS_SENTINEL;

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

void log_flush_repeats(void); /* tells the counts whose 10 seconds are over; called by the janitor */
void log_finish(void);        /* tells all counts; called once at the end of a program */

#endif
