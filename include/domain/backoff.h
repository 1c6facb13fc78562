/*
 * backoff - when to try again.
 *
 * Exponential with full jitter: a random time between 0 and min(cap, base * 2^(attempts - 1)), so that candidates that failed together do not
 * come back together (AWS Architecture Blog, "Exponential Backoff And Jitter"). Pure: the random number is the caller's.
 */
#ifndef ATSYNC_DOMAIN_BACKOFF_H
#define ATSYNC_DOMAIN_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct retry_policy {
    int64_t base_ms;
    int64_t cap_ms;
    int64_t max_age_ms; /* from the first attempt; then the write is dead */
};

/* attempts: failed ones so far, from 1. jitter: uniform in 0..UINT32_MAX. */
int64_t backoff_delay_ms(const struct retry_policy *policy, int64_t attempts, uint32_t jitter);

/* A Retry-After header: seconds or an HTTP date (RFC 9110 section 10.2.3), at most 24 hours; false if it is neither. */
bool retry_after_ms(const char *header, int64_t now_us, int64_t *ret_ms) ATS_MUSTCHECK;

#endif
