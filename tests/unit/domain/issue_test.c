#include "domain/issue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    struct problem problem;
    const char *scope, *severity, *message;
    const char *hint; /* a part of it */
} cases[] = {
    {{.class = "clock_skew", .source = "popp", .ahead_ms = 720000},
     "popp///",
     "error",
     "Webhooks of source popp are refused: their signature is right, but the sender's clock is 12 minutes ahead of "
     "this machine's, which is more than the tolerance.",
     "Let NTP set the clock of this machine: chrony or systemd-timesyncd (timedatectl tells whether it is "
     "synchronized). If it is right, the sender's clock is wrong, or its requests are held up or repeated on the way: "
     "tell the sender. Until then signature.tolerance of sources.popp may be raised."},
    {{.class = "clock_skew", .source = "popp", .ahead_ms = -10800000},
     "popp///",
     "error",
     "Webhooks of source popp are refused: their signature is right, but the sender's clock is 3 hours behind this "
     "machine's, which is more than the tolerance.",
     "NTP"},
    {{.class = "too_large", .source = "popp", .affected = 2, .sample = "more than 16MiB."},
     "popp///",
     "error",
     "The stored events of 2 candidates of source popp are too many or too large to be worked on, and nothing is "
     "written for them. Of one it is said: more than 16MiB.",
     "raise delivery.max_history and reload: they are worked on then by themselves"},
    {{.class = "source_api", .source = "popp", .detail = "key", .sample = "HTTP 401", .affected = 2},
     "popp///key",
     "error",
     "Popp's API does not accept the key of source popp: runs that were cut off or never ended are not completed. The "
     "last answer: HTTP 401.",
     "put a new one into sources.popp.api.key and reload"},
    {{.class = "source_api", .source = "popp", .detail = "answer", .sample = "the answer has no status"},
     "popp///answer",
     "warning",
     "Answers of Popp's API for source popp are not understood: runs that were cut off or never ended are not "
     "completed. "
     "The last answer: the answer has no status.",
     "fit sources.popp.api.run_path or answer to it"},
    {{.class = "source_api", .source = "popp", .detail = "limit", .sample = ""},
     "popp///limit",
     "warning",
     "The requests to Popp's API that source popp may make in a day are used up: other runs wait for tomorrow (UTC).",
     "Raise sources.popp.api.per_day"},
    {{.class = "source_api", .source = "popp", .detail = "unavailable", .sample = "HTTP 503"},
     "popp///unavailable",
     "warning",
     "Popp's API for source popp does not answer properly: runs that were cut off or never ended wait for it. The last "
     "answer: HTTP 503.",
     "See whether sources.popp.api.base_url is right"},
    {{.class = "clock_skew", .detail = "one", .ahead_ms = -7456},
     "///one",
     "warning",
     "The clock of the database is 7.5 seconds behind the clock of the machine that runs daemon one.",
     "Let NTP set the clock of both machines: chrony or systemd-timesyncd (timedatectl tells whether it is "
     "synchronized). This machine's clock judges the time in signed webhooks, TLS certificates and the ends of access "
     "tokens. The order of writes is decided by the database's clock and is not affected."},
    {{.class = "clock_skew", .source = "popp", .detail = "events", .ahead_ms = 200000000},
     "popp///events",
     "warning",
     "Events of source popp are said to have happened in the future: 2 days ahead of this machine's clock.",
     "The events are taken all the same"},
    {{.class = "connector_paused",
      .connector = "lever",
      .sample = "Lever rejected the credentials of connector lever: Invalid API key.",
      .hint = "Make a new one.",
      .affected = 12},
     "/lever//",
     "error",
     "Lever rejected the credentials of connector lever: Invalid API key. Connector lever is stopped; 12 candidates "
     "wait.",
     "Make a new one."},
    {{.class = "connector_paused", .connector = "lever", .affected = 1},
     "/lever//",
     "error",
     "No reason was given. Connector lever is stopped; 1 candidate waits.",
     "atsyncctl resume lever"},
    {{.class = "dead_writes",
      .source = "popp",
      .connector = "ashby",
      .workflow = "nurses",
      .detail = "configuration",
      .kind = "stage",
      .what = "Screen",
      .sample = "there is no stage \"Screen\" in job 7; it has: \"Screening\", \"Offer\"",
      .affected = 3},
     "popp/ashby/nurses/configuration/stage/Screen",
     "error",
     "Connector ashby cannot set stage \"Screen\" for 3 candidates of workflow nurses: there is no stage \"Screen\" in "
     "job 7; it has: \"Screening\", \"Offer\".",
     "Correct it in workflows.nurses (or in the settings of connectors.ashby) to what the ATS has, and reload "
     "(systemctl reload atsyncd or kill -HUP): the writes are tried again by themselves. If it was made in the ATS "
     "instead: "
     "atsyncctl retry --connector ashby."},
    {{.class = "dead_writes",
      .source = "popp",
      .connector = "ashby",
      .workflow = "nurses",
      .detail = "configuration",
      .kind = "field",
      .what = "nmc_pin",
      .sample = "",
      .affected = 1},
     "popp/ashby/nurses/configuration/field/nmc_pin",
     "error",
     "Connector ashby cannot write field \"nmc_pin\" for 1 candidate of workflow nurses: the configuration does not "
     "fit the ATS.",
     "workflows.nurses"},
    {{.class = "dead_writes",
      .source = "popp",
      .connector = "ashby",
      .workflow = "nurses",
      .detail = "configuration",
      .kind = "note",
      .sample = "notes need a user who writes them: set the connector's setting user_id",
      .affected = 2},
     "popp/ashby/nurses/configuration/note/",
     "error",
     "Connector ashby cannot write the note for 2 candidates of workflow nurses: notes need a user who writes them: "
     "set the connector's setting user_id.",
     "connectors.ashby"},
    {{.class = "dead_writes",
      .source = "popp",
      .connector = "ashby",
      .workflow = "nurses",
      .detail = "not_found",
      .sample = "",
      .affected = 2},
     "popp/ashby/nurses/not_found",
     "error",
     "Writes of workflow nurses could not be made in the ATS by connector ashby for 2 candidates: the ATS does not "
     "know this candidate, job or object.",
     "external id"},
    {{.class = "dead_writes",
      .source = "popp",
      .connector = "ashby",
      .workflow = "nurses",
      .detail = "new",
      .affected = 1},
     "popp/ashby/nurses/new",
     "error",
     "Writes of workflow nurses could not be made in the ATS by connector ashby for 1 candidate: the ATS refused it.",
     "See dead_writes for each write"},
    {{.class = "unmapped", .source = "popp", .affected = 2},
     "popp///",
     "warning",
     "Runs of a workflow without an external id are not in the configuration; 2 candidates wait.",
     "reload"},
    {{.class = "unmapped", .source = "popp", .workflow = "nurses", .affected = 1},
     "popp//nurses/",
     "warning",
     "Workflow nurses is not in the configuration; 1 candidate waits for it.",
     "workflows"},
};

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct arena *arena = arena_new();
        struct issue_text t = issue_words(&cases[i].problem, arena);

        assert_string_equal(t.message, cases[i].message);
        assert_string_equal(t.scope, cases[i].scope);
        assert_string_equal(t.severity, cases[i].severity);
        if (strstr(t.hint, cases[i].hint) == NULL) {
            fail_msg("%s\nis not in\n%s", cases[i].hint, t.hint);
        }
        arena_free(arena);
    }
}

/* As exact as people want to know it. */
static void test_durations(void **state)
{
    static const struct {
        int64_t ms;
        const char *words;
    } durations[] = {
        {5001, " 5.0 seconds "},     {119999, " 120.0 seconds "},
        {120000, " 2 minutes "},     {7199999, " 120 minutes "},
        {7200000, " 2 hours "},      {172799999, " 48 hours "},
        {172800000, " 2 days "},     {-90000, " 90.0 seconds behind "},
        {31536000000, " 365 days "},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(durations); i++) {
        struct arena *arena = arena_new();
        struct problem p = {.class = "clock_skew", .detail = "one", .ahead_ms = durations[i].ms};

        assert_non_null(strstr(issue_words(&p, arena).message, durations[i].words));
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_durations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
