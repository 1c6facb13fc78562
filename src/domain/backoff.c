#include "domain/backoff.h"

#include "base/clock.h"
#include "base/text.h"

static const int64_t RETRY_AFTER_MAX_MS = INT64_C(24) * 3600 * 1000;

int64_t backoff_delay_ms(const struct retry_policy *policy, int64_t attempts, uint32_t jitter)
{
    int64_t ceiling_ms = policy->base_ms;

    for (int64_t i = 1; i < attempts && ceiling_ms < policy->cap_ms; i++) {
        ceiling_ms = ceiling_ms > policy->cap_ms / 2 ? policy->cap_ms : 2 * ceiling_ms;
    }
    if (ceiling_ms > policy->cap_ms) {
        ceiling_ms = policy->cap_ms;
    }
    return (int64_t)((double)ceiling_ms * ((double)jitter / (double)UINT32_MAX));
}

bool retry_after_ms(const char *header, int64_t now_us, int64_t *ret_ms)
{
    int64_t seconds;
    int64_t at_us;
    int64_t ms;

    if (!header) {
        return false;
    }
    if (header[0] && header[strspn(header, "0123456789")] == '\0') {
        /* a number of any length is allowed; one that does not fit is very long anyway */
        ms = text_to_i64(header, 0, INT64_MAX / 1000, &seconds) ? seconds * 1000 : INT64_MAX;
    } else if (time_parse_http_date(header, &at_us)) {
        ms = at_us > now_us ? (at_us - now_us) / 1000 : 0;
    } else {
        return false;
    }
    *ret_ms = ms < RETRY_AFTER_MAX_MS ? ms : RETRY_AFTER_MAX_MS;
    return true;
}
