#include "domain/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"

static void test_names(void **state)
{
    static const char *const names[OUTCOME_COUNT] = {"ok",        "already", "skip",      "retry",
                                                     "throttled", "reauth",  "uncertain", "not_found",
                                                     "invalid",   "config",  "stale"};
    enum outcome o = OUTCOME_SKIP;

    (void)state;
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        assert_string_equal(outcome_name((enum outcome)i), names[i]);
        assert_true(outcome_parse(names[i], &o));
        assert_int_equal(o, i);
    }
    o = OUTCOME_SKIP;
    assert_false(outcome_parse("fine", &o));
    assert_int_equal(o, OUTCOME_SKIP);
}

/* What a response means where the connector is silent; for a write that a repetition would do twice, where that
 * differs. */
static void test_responses(void **state)
{
    static const struct {
        long status;
        bool is_html, has_retry_after;
        enum outcome set, append;
        const char *error_class;
    } cases[] = {
        {200, false, false, OUTCOME_OK, OUTCOME_OK, ""},
        {201, false, false, OUTCOME_OK, OUTCOME_OK, ""},
        {204, false, false, OUTCOME_OK, OUTCOME_OK, ""},
        {200, true, false, OUTCOME_RETRY, OUTCOME_UNCERTAIN, "bad_answer"}, /* a proxy's page is no answer */
        {100, false, false, OUTCOME_RETRY, OUTCOME_RETRY, "bad_answer"},
        {302, false, false, OUTCOME_CONFIG, OUTCOME_CONFIG, "configuration"},
        {400, false, false, OUTCOME_INVALID, OUTCOME_INVALID, "invalid"},
        {401, false, false, OUTCOME_REAUTH, OUTCOME_REAUTH, "credentials"},
        {403, false, false, OUTCOME_CONFIG, OUTCOME_CONFIG, "permission"},
        {404, false, false, OUTCOME_NOT_FOUND, OUTCOME_NOT_FOUND, "not_found"},
        {408, false, false, OUTCOME_UNCERTAIN, OUTCOME_UNCERTAIN, "uncertain"},
        {409, false, false, OUTCOME_RETRY, OUTCOME_RETRY, "unavailable"},
        {410, false, false, OUTCOME_NOT_FOUND, OUTCOME_NOT_FOUND, "not_found"},
        {422, false, false, OUTCOME_INVALID, OUTCOME_INVALID, "invalid"},
        {423, false, false, OUTCOME_RETRY, OUTCOME_RETRY, "unavailable"},
        {425, false, false, OUTCOME_RETRY, OUTCOME_RETRY, "unavailable"},
        {429, false, false, OUTCOME_THROTTLED, OUTCOME_THROTTLED, "rate_limited"},
        {429, true, true, OUTCOME_THROTTLED, OUTCOME_THROTTLED, "rate_limited"},
        {500, false, false, OUTCOME_RETRY, OUTCOME_UNCERTAIN,
         "unavailable"}, /* it may have failed after the work was done */
        {501, false, false, OUTCOME_INVALID, OUTCOME_INVALID, "invalid"},
        {502, true, false, OUTCOME_RETRY, OUTCOME_UNCERTAIN, "unavailable"},
        {503, false, false, OUTCOME_RETRY, OUTCOME_RETRY, "unavailable"},
        {503, false, true, OUTCOME_THROTTLED, OUTCOME_THROTTLED, "rate_limited"},
        {504, false, false, OUTCOME_RETRY, OUTCOME_UNCERTAIN, "unavailable"},
        {505, false, false, OUTCOME_CONFIG, OUTCOME_CONFIG, "configuration"},
        {700, false, false, OUTCOME_RETRY, OUTCOME_RETRY, "bad_answer"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct response_facts facts = {REACHED_ANSWER, cases[i].status, false, cases[i].is_html,
                                       cases[i].has_retry_after};
        struct meaning set = outcome_of_response(&facts);

        facts.is_append = true;
        struct meaning append = outcome_of_response(&facts);

        if (set.outcome != cases[i].set || append.outcome != cases[i].append ||
            !text_eq(set.error_class, cases[i].error_class)) {
            fail_msg("%ld: %s, appended %s, class %s", cases[i].status, outcome_name(set.outcome),
                     outcome_name(append.outcome), set.error_class);
        }
    }
}

static void test_no_response(void **state)
{
    static const struct {
        enum reached reached;
        enum outcome outcome;
        const char *error_class;
    } cases[] = {
        {REACHED_NOTHING, OUTCOME_RETRY, "unavailable"},   /* nothing left this machine: surely not done */
        {REACHED_PERHAPS, OUTCOME_UNCERTAIN, "uncertain"}, /* sent, no answer */
        {REACHED_REFUSED, OUTCOME_CONFIG, "configuration"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct response_facts facts = {.reached = cases[i].reached};
        struct meaning m = outcome_of_response(&facts);

        assert_int_equal(m.outcome, cases[i].outcome);
        assert_string_equal(m.error_class, cases[i].error_class);
    }
}

static void test_words(void **state)
{
    static const char *const classes[] = {"unavailable",   "rate_limited", "uncertain",  "not_found",
                                          "invalid",       "credentials",  "permission", "expired",
                                          "configuration", "bad_answer",   "connector"};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(classes); i++) {
        assert_string_not_equal(outcome_class_words(classes[i]), outcome_class_words("?"));
    }
    assert_string_equal(outcome_class_words("rate_limited"), "the ATS asked us to slow down");
    assert_string_equal(outcome_class_words("?"), "the ATS refused it");
}

static const struct retry_policy policy = {.base_ms = 1000, .cap_ms = 8000, .max_age_ms = 60000};

static void test_verdicts(void **state)
{
    static const struct {
        const char *rule;
        struct attempt a; /* attempts, first_tried_us, now_us, retry_after_ms: see below */
        enum write_state became;
        bool uncertain;
        int64_t delay_ms;
        int64_t throttle_ms;
        bool pause, failure;
        const char *error_class;
    } cases[] = {
        {"done",
         {.outcome = OUTCOME_OK, .error_class = "", .attempts = 1, .retry_after_ms = -1},
         WRITE_APPLIED,
         false,
         0,
         0,
         false,
         false,
         ""},
        {"so before",
         {.outcome = OUTCOME_ALREADY, .error_class = "", .attempts = 3, .retry_after_ms = -1},
         WRITE_APPLIED,
         false,
         0,
         0,
         false,
         false,
         ""},
        {"only_from",
         {.outcome = OUTCOME_SKIP, .error_class = "moved", .attempts = 1, .retry_after_ms = -1},
         WRITE_SKIPPED,
         false,
         0,
         0,
         false,
         false,
         "moved"},
        {"back-off",
         {.outcome = OUTCOME_RETRY, .error_class = "unavailable", .attempts = 3, .retry_after_ms = -1},
         WRITE_PENDING,
         false,
         4000,
         0,
         false,
         true,
         "unavailable"},
        {"not sooner than asked",
         {.outcome = OUTCOME_RETRY, .error_class = "unavailable", .attempts = 1, .retry_after_ms = 5000},
         WRITE_PENDING,
         false,
         5000,
         0,
         false,
         true,
         "unavailable"},
        {"somebody else's change is no failure",
         {.outcome = OUTCOME_STALE, .error_class = "stale", .attempts = 1, .retry_after_ms = -1},
         WRITE_PENDING,
         false,
         1000,
         0,
         false,
         false,
         "stale"},
        {"the connector waits as told",
         {.outcome = OUTCOME_THROTTLED, .error_class = "rate_limited", .attempts = 1, .retry_after_ms = 30000},
         WRITE_PENDING,
         false,
         30000,
         30000,
         false,
         false,
         "rate_limited"},
        {"told nothing: back-off",
         {.outcome = OUTCOME_THROTTLED, .error_class = "rate_limited", .attempts = 2, .retry_after_ms = -1},
         WRITE_PENDING,
         false,
         2000,
         2000,
         false,
         false,
         "rate_limited"},
        {"told to wait no time at all",
         {.outcome = OUTCOME_THROTTLED, .error_class = "rate_limited", .attempts = 1, .retry_after_ms = 0},
         WRITE_PENDING,
         false,
         1000,
         1,
         false,
         false,
         "rate_limited"},
        {"throttled writes do not grow too old",
         {.outcome = OUTCOME_THROTTLED,
          .error_class = "rate_limited",
          .attempts = 1,
          .now_us = 99000000,
          .retry_after_ms = 30000},
         WRITE_PENDING,
         false,
         30000,
         30000,
         false,
         false,
         "rate_limited"},
        {"perhaps done",
         {.outcome = OUTCOME_UNCERTAIN, .error_class = "uncertain", .attempts = 1, .retry_after_ms = -1},
         WRITE_PENDING,
         true,
         1000,
         0,
         false,
         true,
         "uncertain"},
        {"perhaps appended, can look",
         {.outcome = OUTCOME_UNCERTAIN,
          .error_class = "uncertain",
          .is_append = true,
          .hold_uncertain = true,
          .can_look = true,
          .attempts = 1,
          .retry_after_ms = -1},
         WRITE_PENDING,
         true,
         1000,
         0,
         false,
         true,
         "uncertain"},
        {"perhaps appended, cannot look, to be held",
         {.outcome = OUTCOME_UNCERTAIN,
          .error_class = "uncertain",
          .is_append = true,
          .hold_uncertain = true,
          .attempts = 1,
          .retry_after_ms = -1},
         WRITE_DEAD,
         true,
         0,
         0,
         false,
         true,
         "uncertain"},
        {"perhaps appended, cannot look, repeat all the same",
         {.outcome = OUTCOME_UNCERTAIN,
          .error_class = "uncertain",
          .is_append = true,
          .attempts = 1,
          .retry_after_ms = -1},
         WRITE_PENDING,
         true,
         1000,
         0,
         false,
         true,
         "uncertain"},
        {"credentials pause the connector, and the write lives on",
         {.outcome = OUTCOME_REAUTH,
          .error_class = "credentials",
          .attempts = 1,
          .now_us = 99000000,
          .retry_after_ms = -1},
         WRITE_PENDING,
         false,
         1000,
         0,
         true,
         false,
         "credentials"},
        {"so does a missing permission",
         {.outcome = OUTCOME_CONFIG, .error_class = "permission", .attempts = 1, .retry_after_ms = -1},
         WRITE_PENDING,
         false,
         1000,
         0,
         true,
         false,
         "permission"},
        {"a mapping that does not fit stops only itself",
         {.outcome = OUTCOME_CONFIG, .error_class = "configuration", .attempts = 1, .retry_after_ms = -1},
         WRITE_DEAD,
         false,
         0,
         0,
         false,
         false,
         "configuration"},
        {"not found",
         {.outcome = OUTCOME_NOT_FOUND, .error_class = "not_found", .attempts = 1, .retry_after_ms = -1},
         WRITE_DEAD,
         false,
         0,
         0,
         false,
         false,
         "not_found"},
        {"not accepted",
         {.outcome = OUTCOME_INVALID, .error_class = "invalid", .attempts = 1, .retry_after_ms = -1},
         WRITE_DEAD,
         false,
         0,
         0,
         false,
         false,
         "invalid"},
        {"just young enough",
         {.outcome = OUTCOME_RETRY,
          .error_class = "unavailable",
          .attempts = 9,
          .now_us = 60000000,
          .retry_after_ms = -1},
         WRITE_PENDING,
         false,
         8000,
         0,
         false,
         true,
         "unavailable"},
        {"too old",
         {.outcome = OUTCOME_RETRY,
          .error_class = "unavailable",
          .attempts = 9,
          .now_us = 60000001,
          .retry_after_ms = -1},
         WRITE_DEAD,
         false,
         8000,
         0,
         false,
         true,
         "expired"},
        {"never tried before",
         {.outcome = OUTCOME_RETRY,
          .error_class = "unavailable",
          .attempts = 1,
          .first_tried_us = INT64_MIN,
          .now_us = 99000000,
          .retry_after_ms = -1},
         WRITE_PENDING,
         false,
         1000,
         0,
         false,
         true,
         "unavailable"},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct verdict v;

        outcome_decide(&policy, &cases[i].a, UINT32_MAX, &v);
        if (v.state != cases[i].became || v.uncertain != cases[i].uncertain || v.delay_ms != cases[i].delay_ms ||
            v.throttle_ms != cases[i].throttle_ms || v.pause_connector != cases[i].pause ||
            v.counts_as_failure != cases[i].failure || !text_eq(v.error_class, cases[i].error_class)) {
            fail_msg("%s: became %s uncertain=%d delay=%lld throttle=%lld pause=%d failure=%d class=%s", cases[i].rule,
                     write_state_name(v.state), v.uncertain, (long long)v.delay_ms, (long long)v.throttle_ms,
                     v.pause_connector, v.counts_as_failure, v.error_class);
        }
    }
}

/* Whatever chance says of its own delay, who was throttled does not come back before the others of its connector. */
static void test_throttled_waits_like_its_connector(void **state)
{
    const struct attempt a = {
        .outcome = OUTCOME_THROTTLED, .error_class = "throttled", .attempts = 3, .retry_after_ms = -1};
    struct verdict v;

    (void)state;
    outcome_decide(&policy, &a, 0, &v);
    assert_true(v.throttle_ms > 1);
    assert_int_equal(v.delay_ms, v.throttle_ms);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_responses),
        cmocka_unit_test(test_no_response), cmocka_unit_test(test_words),
        cmocka_unit_test(test_verdicts),    cmocka_unit_test(test_throttled_waits_like_its_connector),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
