/*
 * outcome - what one attempt at a write means, and what follows from it. The whole table of design.md section 7 on one screen.
 *
 * Two steps: outcome_of_response says what a response means where the connector's own classify is silent; outcome_decide says what becomes
 * of the write, when it is tried again, and whether the connector as a whole has to wait. Pure: no clock, no random numbers.
 */
#ifndef ATSYNC_DOMAIN_OUTCOME_H
#define ATSYNC_DOMAIN_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "domain/backoff.h"
#include "domain/ledger.h"

enum outcome {
    OUTCOME_OK,        /* done */
    OUTCOME_ALREADY,   /* was so before */
    OUTCOME_SKIP,      /* the connector decided not to (only_from) */
    OUTCOME_RETRY,     /* not done, may succeed later */
    OUTCOME_THROTTLED, /* not done, the ATS wants us to wait */
    OUTCOME_REAUTH,    /* not done, the credentials were not accepted */
    OUTCOME_UNCERTAIN, /* perhaps done */
    OUTCOME_NOT_FOUND, /* what the write is about does not exist */
    OUTCOME_INVALID,   /* the ATS refuses this value */
    OUTCOME_CONFIG,    /* cannot work before the configuration changes */
    OUTCOME_STALE,     /* somebody else changed the record since we looked */
};
enum { OUTCOME_COUNT = 11 };
const char *outcome_name(enum outcome o);
bool outcome_parse(const char *name, enum outcome *ret);

/* How far a request got. */
enum reached { REACHED_NOTHING, REACHED_PERHAPS, REACHED_ANSWER, REACHED_REFUSED };

struct response_facts {
    enum reached reached;
    long status;    /* REACHED_ANSWER */
    bool is_append; /* repeating the request would do it twice */
    /* the API did not speak: the body is a page for people (of a proxy, of maintenance), or the connector's classify
     * does not know what to make of it */
    bool is_foreign;
    bool has_retry_after;
};

struct meaning {
    enum outcome outcome;
    const char *error_class; /* constant: see outcome_class_words; "" for ok */
};
struct meaning outcome_of_response(const struct response_facts *facts);

/* The classes of errors, in words for people: "unavailable", "rate_limited", "uncertain", "not_found", "invalid", "credentials",
 * "permission", "configuration", "bad_answer", "expired", "connector". The text is a sentence without the names of candidate and connector. */
const char *outcome_class_words(const char *error_class);

struct attempt {
    enum outcome outcome;
    const char *error_class;
    bool is_append;
    bool hold_uncertain; /* on_uncertain: hold, and the connector cannot look for its own marker */
    bool can_look;
    int64_t attempts;       /* including this one */
    int64_t first_tried_us; /* of this revision */
    int64_t now_us;
    int64_t retry_after_ms; /* what the ATS asked for; -1: nothing */
};

struct verdict {
    enum write_state state;
    bool uncertain;
    int64_t delay_ms;       /* WRITE_PENDING: until the next attempt */
    int64_t throttle_ms;    /* > 0: the connector as a whole waits */
    bool pause_connector;   /* until its configuration changes */
    bool counts_as_failure; /* for the breaker */
    const char *error_class;
};

void outcome_decide(const struct retry_policy *policy, const struct attempt *attempt, uint32_t jitter,
                    struct verdict *ret);

#endif
