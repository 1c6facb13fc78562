/*
 * issue - what is wrong, in words that a recruiter or administrator understands.
 *
 * Level-triggered like everything else: the store lists what is wrong now (struct problem), these functions put it into words, the
 * store opens, updates and closes issues to match. Pure. Texts live in the arena; they name connectors, workflows and references, never answers,
 * e-mail addresses, phones or secrets.
 */
#ifndef ATSYNC_DOMAIN_ISSUE_H
#define ATSYNC_DOMAIN_ISSUE_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"

struct problem {
    const char *class;                         /* see the table in issue.c */
    const char *source, *connector, *workflow; /* NULL where they play no part */
    const char *detail;                        /* error class, reference, slug, … */
    const char *kind, *what; /* which write it is about: stage and its name, field and its name; NULL */
    const char *sample;      /* one error message as an example; NULL */
    const char *hint;        /* of who noticed it and knows better; NULL */
    int64_t affected;        /* candidates */
    int64_t ahead_ms;        /* clock_skew: the other clock before this machine's; negative: behind */
};

struct issue_text {
    const char *scope;    /* with the class: which issue this is; stable while the problem lasts */
    const char *severity; /* info, warning, error */
    const char *message;
    const char *hint;
};

/* Words for a problem. An unknown class is a bug and gives its name as the message. */
struct issue_text issue_words(const struct problem *p, struct arena *arena);
const char *issue_class(size_t number); /* from 0 on; NULL after the last */

#endif
