#include "base/mask.h"

#include <ctype.h>
#include <stdbool.h>

enum { PHONE_MIN_DIGITS = 7 };

static bool is_word(unsigned char c)
{
    return isalnum(c) || c >= 0x80;
}

static bool is_local(unsigned char c)
{
    return is_word(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-' || c == '\'';
}

static bool is_domain(unsigned char c)
{
    return is_word(c) || c == '.' || c == '-';
}

/* An address around the @ at `at`: where it begins (not before `from`) and ends; false if it is none. */
static bool find_email(const char *text, size_t len, size_t from, size_t at, size_t *ret_begin, size_t *ret_end)
{
    size_t begin = at;
    size_t end = at + 1;

    while (begin > from && is_local((unsigned char)text[begin - 1]))
        begin--;
    while (end < len && is_domain((unsigned char)text[end]))
        end++;
    while (end > at + 1 && !is_word((unsigned char)text[end - 1])) /* the full stop of the sentence */
        end--;
    *ret_begin = begin;
    *ret_end = end;
    return begin < at && end > at + 1;
}

/* The end of the number that begins with the + at `at`, or `at` if it is none: a time with its offset is not. */
static size_t phone_end(const char *text, size_t len, size_t at)
{
    unsigned digits = 0;
    size_t end = at;

    if (at > 0 && is_word((unsigned char)text[at - 1]))
        return at;
    for (size_t i = at + 1; i < len; i++) {
        if (isdigit((unsigned char)text[i])) {
            digits++;
            end = i + 1;
        } else if (strchr(" -.()/", text[i]) == NULL) {
            break;
        }
    }
    return digits >= PHONE_MIN_DIGITS ? end : at;
}

/* Does what goes on here end in an @? A local part may begin like a number. */
static bool is_local_part(const char *text, size_t len, size_t at)
{
    while (at < len && is_local((unsigned char)text[at]))
        at++;
    return at < len && text[at] == '@';
}

void mask_people(const char *text, size_t len, struct buf *out)
{
    size_t done = 0;

    for (size_t i = 0; i < len; i++) {
        size_t begin = i;
        size_t end = i;

        if (text[i] == '@' && find_email(text, len, done, i, &begin, &end)) {
            buf_add(out, text + done, begin - done);
            buf_puts(out, "***@***");
        } else if (text[i] == '+' && (end = phone_end(text, len, i)) > i) {
            if (is_local_part(text, len, end))
                continue;
            buf_add(out, text + done, i - done);
            buf_puts(out, "+***");
        } else {
            continue;
        }
        done = end;
        i = end - 1;
    }
    buf_add(out, text + done, len - done);
}
