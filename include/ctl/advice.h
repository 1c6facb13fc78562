/*
 * advice - what to do about a failure, from the message alone: PostgreSQL's messages say what is wrong, not what
 * somebody can do about it here. Pure. Not for issues of candidates (domain/issue.h) and not for findings, which carry
 * their own hints.
 */
#ifndef ATSYNC_CTL_ADVICE_H
#define ATSYNC_CTL_ADVICE_H

#include "base/compiler.h"

/* A sentence; NULL if there is none. The messages of a server that speaks another language are not understood. */
const char *advice_of(const char *message);

#endif
