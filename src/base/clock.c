#include "base/clock.h"

#include <inttypes.h>
#include <time.h>

enum { US_PER_S = 1000000, S_PER_DAY = 86400, EPOCH_DAY = 719162 /* days from 0001-01-01 to 1970-01-01 */ };

static int64_t clock_read_us(clockid_t id)
{
    struct timespec ts = {0};

    (void)clock_gettime(id, &ts); /* cannot fail for the two clocks used here */
    return (int64_t)ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_mono_us(void)
{
    return clock_read_us(CLOCK_BOOTTIME);
}

int64_t clock_wall_us(void)
{
    return clock_read_us(CLOCK_REALTIME);
}

struct civil {
    int year, month, day, hour, minute, second;
    int fraction_us;
    int offset_minutes; /* east of UTC */
};

static bool year_is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && year_is_leap(year) ? 1 : 0);
}

static bool civil_to_us(const struct civil *c, int64_t *ret_us)
{
    const int64_t first_s = -(int64_t)EPOCH_DAY * S_PER_DAY; /* 0001-01-01 */
    const int64_t end_s = 2932897LL * S_PER_DAY;             /* 10000-01-01 */
    int64_t past = (int64_t)c->year - 1;
    int64_t days = past * 365 + past / 4 - past / 100 + past / 400 - EPOCH_DAY;
    int64_t s;

    if (c->year < 1 || c->month < 1 || c->month > 12 || c->day < 1 || c->day > days_in_month(c->year, c->month) ||
        c->hour > 23 || c->minute > 59 || c->second > 60)
        return false;
    for (int month = 1; month < c->month; month++)
        days += days_in_month(c->year, month);
    days += c->day - 1;
    s = days * S_PER_DAY + (int64_t)c->hour * 3600 + ((int64_t)c->minute - c->offset_minutes) * 60 + c->second;
    /* a leap second stands at the end of a UTC day and counts, as everywhere in POSIX, as the next day's first */
    if (c->second == 60 && s % S_PER_DAY != 0)
        return false;
    if (s < first_s || s >= end_s)
        return false;
    *ret_us = s * US_PER_S + c->fraction_us;
    return true;
}

/* Exactly `count` digits at *p, which then moves on. Stops at the NUL by itself. */
static bool take_digits(const char **p, int count, int *ret)
{
    int value = 0;

    for (int i = 0; i < count; i++) {
        char c = (*p)[i];

        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *p += count;
    *ret = value;
    return true;
}

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static bool take_time(const char **p, struct civil *c)
{
    return take_digits(p, 2, &c->hour) && take_char(p, ':') && take_digits(p, 2, &c->minute) && take_char(p, ':') &&
           take_digits(p, 2, &c->second);
}

static bool take_fraction(const char **p, struct civil *c)
{
    int scale = US_PER_S / 10;
    int digit;

    if (!take_char(p, '.'))
        return true;
    if (!take_digits(p, 1, &digit))
        return false;
    do {
        c->fraction_us += digit * scale;
        scale /= 10; /* 0 after the sixth digit: the rest is cut */
    } while (take_digits(p, 1, &digit));
    return true;
}

static bool take_offset(const char **p, struct civil *c)
{
    bool west = **p == '-';
    int hours;
    int minutes;

    if (**p == '\0' || take_char(p, 'Z') || take_char(p, 'z'))
        return true;
    if (!take_char(p, '-') && !take_char(p, '+'))
        return false;
    if (!take_digits(p, 2, &hours))
        return false;
    (void)take_char(p, ':');
    if (!take_digits(p, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    c->offset_minutes = (west ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

bool time_parse_iso8601(const char *text, int64_t *ret_us)
{
    struct civil c = {0};
    const char *p = text;

    if (p == NULL)
        return false;
    if (!take_digits(&p, 4, &c.year) || !take_char(&p, '-') || !take_digits(&p, 2, &c.month) || !take_char(&p, '-') ||
        !take_digits(&p, 2, &c.day))
        return false;
    if (!take_char(&p, 'T') && !take_char(&p, 't') && !take_char(&p, ' '))
        return false;
    if (!take_time(&p, &c) || !take_fraction(&p, &c) || !take_offset(&p, &c) || *p != '\0')
        return false;
    return civil_to_us(&c, ret_us);
}

/* One of `count` three-letter names at *p; returns its number from 1, or 0. */
static int take_name(const char **p, const char *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(*p, names + (size_t)i * 3, 3) == 0) {
            *p += 3;
            return i + 1;
        }
    }
    return 0;
}

bool time_parse_http_date(const char *text, int64_t *ret_us)
{
    struct civil c = {0};
    const char *p = text;

    if (p == NULL || take_name(&p, "MonTueWedThuFriSatSun", 7) == 0)
        return false;
    if (!take_char(&p, ',') || !take_char(&p, ' ') || !take_digits(&p, 2, &c.day) || !take_char(&p, ' '))
        return false;
    c.month = take_name(&p, "JanFebMarAprMayJunJulAugSepOctNovDec", 12);
    if (c.month == 0 || !take_char(&p, ' ') || !take_digits(&p, 4, &c.year) || !take_char(&p, ' ') ||
        !take_time(&p, &c) || strcmp(p, " GMT") != 0)
        return false;
    return civil_to_us(&c, ret_us);
}

/* So many digits, and the mark behind them. */
static void put_digits(char *at, unsigned count, unsigned n, char mark)
{
    at[count] = mark;
    while (count-- > 0) {
        at[count] = (char)('0' + n % 10);
        n /= 10;
    }
}

struct time_text time_iso8601(int64_t us)
{
    struct time_text text = {{0}};
    struct tm tm = {0};
    int64_t rest_us = us % US_PER_S;
    time_t s = us / US_PER_S;

    if (rest_us < 0) { /* before 1970: round down, not towards zero */
        rest_us += US_PER_S;
        s--;
    }
    (void)gmtime_r(&s, &tm); /* 64 bits of microseconds stay far inside what a tm can hold */
    if (tm.tm_year + 1900 < 0 || tm.tm_year + 1900 > 9999) {
        (void)snprintf(text.s, sizeof text.s, "%04" PRId64 "-%02u-%02uT%02u:%02u:%02u.%03uZ",
                       (int64_t)tm.tm_year + 1900, (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100,
                       (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100,
                       (unsigned)(rest_us / 1000) % 1000);
        return text;
    }
    put_digits(text.s, 4, (unsigned)(tm.tm_year + 1900), '-');
    put_digits(text.s + 5, 2, (unsigned)(tm.tm_mon + 1), '-');
    put_digits(text.s + 8, 2, (unsigned)tm.tm_mday, 'T');
    put_digits(text.s + 11, 2, (unsigned)tm.tm_hour, ':');
    put_digits(text.s + 14, 2, (unsigned)tm.tm_min, ':');
    put_digits(text.s + 17, 2, (unsigned)tm.tm_sec, '.');
    put_digits(text.s + 20, 3, (unsigned)(rest_us / 1000), 'Z');
    return text;
}
