/*
 * mask - hides what looks like a person's address: the last guard before a text from outside is written where people who
 * need not know it read it (the log, an error message that is kept).
 *
 * Not a licence to pass personal data in: names and answers look like any other text and are not recognised. Pure.
 */
#ifndef ATSYNC_BASE_MASK_H
#define ATSYNC_BASE_MASK_H

#include <stddef.h>

#include "base/buf.h"
#include "base/compiler.h"

/* Appends the text with every e-mail address as "***@***" and every telephone number in international form ("+44 7700
 * 900000") as "+***". A text with neither is appended as it is. */
void mask_people(const char *text, size_t len, struct buf *out);

#endif
