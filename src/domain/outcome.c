#include "domain/outcome.h"

static const char *const outcome_names[OUTCOME_COUNT] = {
    "ok", "already", "skip", "retry", "throttled", "reauth", "uncertain", "not_found", "invalid", "config", "stale"};

const char *outcome_name(enum outcome o)
{
    return outcome_names[o];
}

bool outcome_parse(const char *name, enum outcome *ret)
{
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        if (strcmp(outcome_names[o], name) == 0) {
            *ret = (enum outcome)o;
            return true;
        }
    }
    return false;
}

static const struct {
    const char *error_class;
    const char *words;
} class_words[] = {
    {"unavailable", "the ATS could not be reached or reported an error of its own"},
    {"rate_limited", "the ATS asked us to slow down"},
    {"uncertain", "the connection was lost before the ATS answered, so the change may or may not be there"},
    {"not_found", "the ATS does not know this candidate, job or object"},
    {"invalid", "the ATS does not accept this value"},
    {"credentials", "the ATS does not accept the credentials"},
    {"permission", "the credentials are not permitted to do this"},
    {"configuration", "the configuration does not fit the ATS"},
    {"bad_answer", "the ATS answered with something that is not its API"},
    {"expired", "it was tried for as long as the configuration allows"},
    {"connector", "the connector's own program failed"},
    {"stale", "the record was changed in the ATS at the same time"},
    {"moved", "the candidate stands in another stage than those that the mapping may change"},
};

const char *outcome_class_words(const char *error_class)
{
    for (size_t i = 0; i < ATS_COUNT(class_words); i++) {
        if (strcmp(class_words[i].error_class, error_class) == 0) {
            return class_words[i].words;
        }
    }
    return "the ATS refused it";
}

/* First fitting row decides; RFC 9110 section 15 for the meaning of the codes. */
static const struct {
    long from, to;
    enum outcome outcome;
    const char *error_class;
} by_status[] = {
    {200, 299, OUTCOME_OK, ""},
    {300, 399, OUTCOME_CONFIG, "configuration"}, /* a redirect that the connector does not allow: a wrong base_url */
    {401, 401, OUTCOME_REAUTH, "credentials"},
    {403, 403, OUTCOME_CONFIG, "permission"},
    {404, 404, OUTCOME_NOT_FOUND, "not_found"},
    {407, 407, OUTCOME_CONFIG, "configuration"},
    {408, 408, OUTCOME_UNCERTAIN, "uncertain"},
    {409, 409, OUTCOME_RETRY, "unavailable"},
    {410, 410, OUTCOME_NOT_FOUND, "not_found"},
    {423, 423, OUTCOME_RETRY, "unavailable"},
    {425, 425, OUTCOME_RETRY, "unavailable"},
    {429, 429, OUTCOME_THROTTLED, "rate_limited"},
    {400, 499, OUTCOME_INVALID, "invalid"},
    {501, 501, OUTCOME_INVALID, "invalid"},
    {505, 505, OUTCOME_CONFIG, "configuration"},
    {500, 599, OUTCOME_RETRY, "unavailable"},
};

struct meaning outcome_of_response(const struct response_facts *facts)
{
    switch (facts->reached) {
    case REACHED_NOTHING:
        return (struct meaning){OUTCOME_RETRY, "unavailable"};
    case REACHED_PERHAPS:
        return (struct meaning){OUTCOME_UNCERTAIN, "uncertain"};
    case REACHED_REFUSED:
        return (struct meaning){OUTCOME_CONFIG, "configuration"};
    case REACHED_ANSWER:
        break;
    }
    if (facts->status / 100 == 2 && facts->is_foreign) {
        return (struct meaning){facts->is_append ? OUTCOME_UNCERTAIN : OUTCOME_RETRY, "bad_answer"};
    }
    if (facts->status == 503 && facts->has_retry_after) {
        return (struct meaning){OUTCOME_THROTTLED, "rate_limited"};
    }
    for (size_t i = 0; i < ATS_COUNT(by_status); i++) {
        if (facts->status < by_status[i].from || facts->status > by_status[i].to) {
            continue;
        }
        /* a server that failed may have failed after it did the work */
        if (facts->is_append && facts->status >= 500 && facts->status != 503 && by_status[i].outcome == OUTCOME_RETRY) {
            return (struct meaning){OUTCOME_UNCERTAIN, "unavailable"};
        }
        return (struct meaning){by_status[i].outcome, by_status[i].error_class};
    }
    return (struct meaning){OUTCOME_RETRY, "bad_answer"};
}

/*
 * outcome     write      next attempt        connector
 * ok already  applied
 * skip        skipped
 * retry stale pending    back-off            counts as failure (stale: not)
 * throttled   pending    as told             waits as told
 * uncertain   pending    back-off            counts as failure; an append that cannot look and is to be held: dead
 * reauth      pending    back-off            paused (the engine has already renewed the token once)
 * config      pending    back-off            paused, where it is about credentials or permissions; else dead
 * not_found   dead
 * invalid     dead
 * Whatever would be pending is dead once its first attempt is older than max_age.
 */
void outcome_decide(const struct retry_policy *policy, const struct attempt *a, uint32_t jitter, struct verdict *ret)
{
    struct verdict v = {.state = WRITE_PENDING, .error_class = a->error_class};

    switch (a->outcome) {
    case OUTCOME_OK:
    case OUTCOME_ALREADY:
        v.state = WRITE_APPLIED;
        break;
    case OUTCOME_SKIP:
        v.state = WRITE_SKIPPED;
        break;
    case OUTCOME_RETRY:
        v.counts_as_failure = true;
        break;
    case OUTCOME_STALE:
        break;
    case OUTCOME_THROTTLED:
        v.throttle_ms = a->retry_after_ms >= 0 ? a->retry_after_ms : backoff_delay_ms(policy, a->attempts, UINT32_MAX);
        v.throttle_ms = v.throttle_ms > 0 ? v.throttle_ms : 1;
        break;
    case OUTCOME_UNCERTAIN:
        v.uncertain = true;
        v.counts_as_failure = true;
        if (a->is_append && !a->can_look && a->hold_uncertain) {
            v.state = WRITE_DEAD;
        }
        break;
    case OUTCOME_REAUTH:
        v.pause_connector = true;
        break;
    case OUTCOME_CONFIG:
        v.pause_connector = strcmp(a->error_class, "credentials") == 0 || strcmp(a->error_class, "permission") == 0;
        if (!v.pause_connector) {
            v.state = WRITE_DEAD;
        }
        break;
    case OUTCOME_NOT_FOUND:
    case OUTCOME_INVALID:
        v.state = WRITE_DEAD;
        break;
    }
    if (v.state == WRITE_PENDING) {
        v.delay_ms = backoff_delay_ms(policy, a->attempts, jitter);
        if (a->retry_after_ms > v.delay_ms) {
            v.delay_ms = a->retry_after_ms;
        }
        if (v.throttle_ms > v.delay_ms) {
            v.delay_ms = v.throttle_ms;
        }
        if (!v.pause_connector && a->outcome != OUTCOME_THROTTLED && a->first_tried_us != INT64_MIN &&
            a->now_us - a->first_tried_us > policy->max_age_ms * 1000) {
            v.state = WRITE_DEAD;
            v.error_class = "expired";
        }
    }
    *ret = v;
}
