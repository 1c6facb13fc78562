/*
 * clock - the two clocks of the process, and times as text.
 *
 * Pure modules never call clock_*_now: their callers pass the time in. Wall time is only for showing and for talking to
 * people; what decides between several daemons is the database's clock.
 */
#ifndef ATSYNC_BASE_CLOCK_H
#define ATSYNC_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Never goes back, and goes on while the machine is suspended: a lease, a time-out, a wait that began before is over afterwards, as it is for everybody else
 * (clock_gettime(2), CLOCK_BOOTTIME).
 */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_wall_us(void); /* microseconds since 1970-01-01T00:00:00Z */

/* RFC 3339 / ISO 8601 with date, 'T' (or a space), time, optional fraction (any number of digits, cut to
 * microseconds) and Z or ±hh:mm or ±hhmm. A missing offset counts as UTC; a leap second (23:59:60 UTC) counts as the
 * second after it. Returns false and leaves *ret_us alone for NULL, anything else, dates that do not exist, and years
 * outside 1..9999. */
bool time_parse_iso8601(const char *text, int64_t *ret_us);

/* RFC 9110 section 5.6.7, IMF-fixdate only ("Sun, 06 Nov 1994 08:49:37 GMT"); same rules for failure. The day's
 * name must be one, but is not compared with the date: the date alone is the time. */
bool time_parse_http_date(const char *text, int64_t *ret_us);

struct time_text {
    char s[40];
};
struct time_text time_iso8601(int64_t us); /* "2026-04-28T10:45:00.000Z", by value: nothing to free */

#endif
