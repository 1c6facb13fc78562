/*
 * suggest - which of the known names did somebody mean? Not for anything but error messages: the answer is a guess.
 */
#ifndef ATSYNC_BASE_SUGGEST_H
#define ATSYNC_BASE_SUGGEST_H

#include <stddef.h>

#include "base/compiler.h"

/* The name nearest to word: few letters differ (case does not count), or word is the beginning of it. NULL if none is
 * near. The answer is one of the pointers in names; entries that are NULL are passed over. */
const char *suggest(const char *word, const char *const *names, size_t count);

#endif
