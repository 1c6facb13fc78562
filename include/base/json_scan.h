/*
 * json_scan - where JSON values begin and end in a run of bytes: for cutting values out of files, exactly as they stand
 * there. Builds nothing and decides little: numbers, escapes and characters are looked at by whoever parses the value
 * (lib/json.h).
 *
 * Grammar errors are found at the first byte that cannot stand where it stands, so that the line on which a value broke
 * off is known. Pure.
 */
#ifndef ATSYNC_BASE_JSON_SCAN_H
#define ATSYNC_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum { JSON_SCAN_DEPTH_MAX = 1000 };

struct json_scan { /* zeroed: at the beginning of a value */
    unsigned depth;
    uint8_t is_object[JSON_SCAN_DEPTH_MAX / 8 + 1]; /* one bit for each open bracket; otherwise it is a list */
    uint8_t state;
};

enum json_scan_step {
    JSON_SCAN_MORE,  /* the value goes on */
    JSON_SCAN_LAST,  /* it ends with this byte */
    JSON_SCAN_ENDED, /* it has ended before this byte (numbers, true, false, null) */
    JSON_SCAN_BAD,   /* this byte cannot stand here */
};
enum json_scan_step json_scan_byte(struct json_scan *s, char c);
/* Whether a value that nothing follows is whole. */
bool json_scan_may_end(const struct json_scan *s);

struct json_slice { /* bytes of the text that was given */
    const char *text;
    size_t len;
};
/* The first value in a text, without the blanks around it; false if there is none or it is broken. */
bool json_scan_value(const char *text, size_t len, struct json_slice *ret);
/*
 * The members of an object or the elements of a list, one after the other: *at is 0 at first. ret_name (as it stands in
 * the text, without the quotes) is empty for elements. false: there are no more, or the rest is broken.
 */
bool json_scan_next(struct json_slice container, size_t *at, struct json_slice *ret_name, struct json_slice *ret_value);
/* The last member of this name, which must need no escapes; false if there is none. */
bool json_scan_member(struct json_slice object, const char *name, struct json_slice *ret);

#endif
