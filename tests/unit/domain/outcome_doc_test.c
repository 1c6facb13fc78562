/* The tables of packaging/doc/delivery.md are what the code does: both are printed from the code and compared. */
#include "domain/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

enum { TEXT_MAX_BYTES = 1 << 20 };

static struct meaning meaning_of(struct response_facts facts, bool is_append)
{
    facts.is_append = is_append;
    return outcome_of_response(&facts);
}

static void add_answer(struct buf *out, const char *what, struct response_facts facts)
{
    struct meaning set = meaning_of(facts, false);

    buf_printf(out, "| %s | %s | %s | %s |\n", what, outcome_name(set.outcome),
               outcome_name(meaning_of(facts, true).outcome), set.error_class[0] ? set.error_class : "-");
}

static bool mean_the_same(long a, long b)
{
    struct response_facts x = {.reached = REACHED_ANSWER, .status = a}, y = {.reached = REACHED_ANSWER, .status = b};

    return meaning_of(x, false).outcome == meaning_of(y, false).outcome &&
           meaning_of(x, true).outcome == meaning_of(y, true).outcome &&
           strcmp(meaning_of(x, false).error_class, meaning_of(y, false).error_class) == 0;
}

/* Each run of status codes that mean the same is a row. */
static void print_answers(struct buf *out)
{
    enum { FIRST = 200, LAST = 599 };

    buf_puts(out, "| answer | set | note | class |\n|---|---|---|---|\n");
    for (long from = FIRST, to; from <= LAST; from = to + 1) {
        char what[64];

        to = from;
        while (to < LAST && mean_the_same(from, to + 1)) {
            to++;
        }
        if (from == to) {
            snprintf(what, sizeof what, "%ld", from);
        } else {
            snprintf(what, sizeof what, "%ld to %ld", from, to);
        }
        add_answer(out, what, (struct response_facts){.reached = REACHED_ANSWER, .status = from});
    }
    add_answer(out, "503 with Retry-After",
               (struct response_facts){.reached = REACHED_ANSWER, .status = 503, .has_retry_after = true});
    add_answer(out, "2xx with a page (HTML)",
               (struct response_facts){.reached = REACHED_ANSWER, .status = 200, .is_foreign = true});
    add_answer(out, "any other status", (struct response_facts){.reached = REACHED_ANSWER, .status = 100});
    add_answer(out, "none, nothing was sent", (struct response_facts){.reached = REACHED_NOTHING});
    add_answer(out, "none, something was sent", (struct response_facts){.reached = REACHED_PERHAPS});
    add_answer(out, "none, we refused to send", (struct response_facts){.reached = REACHED_REFUSED});
}

static void add_verdict(struct buf *out, const char *what, struct attempt a)
{
    static const struct retry_policy policy = {.base_ms = 1000, .cap_ms = 8000, .max_age_ms = 60000};
    struct verdict v;
    const char *next = "never";
    const char *connector = "-";

    a.attempts = 1;
    a.retry_after_ms = a.outcome == OUTCOME_THROTTLED ? 30000 : -1;
    outcome_decide(&policy, &a, UINT32_MAX, &v);
    if (v.state == WRITE_PENDING) {
        next = v.throttle_ms > 0 ? "when told" : "after the back-off";
    }
    if (v.pause_connector) {
        connector = "is paused until its configuration changes";
    } else if (v.throttle_ms > 0) {
        connector = "waits as long as told";
    } else if (v.counts_as_failure) {
        connector = "counts a failure";
    }
    buf_printf(out, "| %s | %s%s | %s | %s |\n", what, write_state_name(v.state), v.uncertain ? ", uncertain" : "",
               next, connector);
}

static void print_verdicts(struct buf *out)
{
    buf_puts(out, "| outcome | the write is | tried again | the connector |\n|---|---|---|---|\n");
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        add_verdict(out, outcome_name((enum outcome)o),
                    (struct attempt){.outcome = (enum outcome)o, .error_class = "configuration"});
    }
    add_verdict(out, "config, of class credentials or permission",
                (struct attempt){.outcome = OUTCOME_CONFIG, .error_class = "permission"});
    add_verdict(
        out, "uncertain, a note to be held (`on_uncertain: hold`) that cannot be looked for",
        (struct attempt){
            .outcome = OUTCOME_UNCERTAIN, .error_class = "uncertain", .is_append = true, .hold_uncertain = true});
    add_verdict(out, "retry, older than `max_age`",
                (struct attempt){.outcome = OUTCOME_RETRY, .error_class = "unavailable", .now_us = 60000001});
}

static char *document(void)
{
    FILE *f = fopen(TEST_SOURCE_DIR "/packaging/doc/delivery.md", "re");
    char *text = mem_zalloc(TEXT_MAX_BYTES);

    assert_non_null(f);
    assert_true(fread(text, 1, TEXT_MAX_BYTES - 1, f) > 0);
    (void)fclose(f);
    return text;
}

static void expect(void (*print)(struct buf *out))
{
    char *text = document();
    struct buf b;

    buf_init(&b, TEXT_MAX_BYTES);
    print(&b);
    if (!strstr(text, buf_text(&b))) {
        printf("%s", buf_text(&b)); /* longer than a message may be */
        fail_msg("packaging/doc/delivery.md does not have the table above");
    }
    buf_free(&b);
    mem_free(text);
}

static void test_answers(void **state)
{
    (void)state;
    expect(print_answers);
}

static void test_verdicts(void **state)
{
    (void)state;
    expect(print_verdicts);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_verdicts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
