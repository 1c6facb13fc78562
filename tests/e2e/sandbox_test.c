/* The sandbox ATS itself: what the other tests conclude from its records and its log must be so. */
#include <unistd.h>

#include "lib/harness.h"

static const char auth[] = "Authorization: Bearer " E2E_TOKEN "\r\n";

static struct http_answer call(struct harness *h, const char *method, const char *path, const char *body)
{
    return http_call(h, h->sandbox->port, method, path, auth, body, body != NULL ? strlen(body) : 0);
}

E2E_TEST(it_speaks_the_rest_protocol)
{
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *answer; /* NULL: anything */
    } steps[] = {
        {"GET", "/candidates/7/jobs/9/stage", NULL, 404, NULL},
        {"GET", "/candidates/7/notes", NULL, 200, "[]"},
        {"GET", "/candidates/7", NULL, 404, NULL},
        {"PATCH", "/candidates/7", "{\"fields\":{\"a\":1,\"b\":\"x\"}}", 200,
         "{\"id\":\"7\",\"fields\":{\"a\":1,\"b\":\"x\"}}"},
        {"PATCH", "/candidates/7", "{\"fields\":{\"b\":null}}", 200, "{\"id\":\"7\",\"fields\":{\"a\":1,\"b\":null}}"},
        {"PATCH", "/candidates/7", "{\"a\":1}", 422, NULL},
        {"PATCH", "/candidates/7", "{\"fields\":", 400, NULL},
        {"POST", "/candidates/7/tags", "{\"tags\":[\"x\",\"y\",\"x\"]}", 200, "{\"tags\":[\"x\",\"y\"]}"},
        {"POST", "/candidates/7/tags", "{\"tags\":[1]}", 422, NULL},
        {"PUT", "/candidates/7/jobs/9/stage", "{\"stage\":\"Contacted\"}", 200, "{\"stage\":\"Contacted\"}"},
        {"GET", "/candidates/7/jobs/9/stage", NULL, 200, "{\"stage\":\"Contacted\"}"},
        {"GET", "/candidates/7/jobs/8/stage", NULL, 404, NULL},
        {"PUT", "/candidates/7/jobs/9/stage", "{\"stage\":\"\"}", 422, NULL},
        {"POST", "/candidates/7/jobs/9/rejection", "{\"reason\":\"No\"}", 201, NULL},
        {"PUT", "/candidates/7/jobs/9/assessment", "{\"score\":80,\"status\":\"PASSED\"}", 200, NULL},
        {"PUT", "/candidates/7/jobs/9/assessment", "{\"score\":\"80\",\"status\":\"PASSED\"}", 422, NULL},
        {"POST", "/candidates/a%2Fb/notes", "{\"body\":\"text\",\"marker\":\"m\"}", 201, NULL},
        {"POST", "/candidates/7/notes", "{\"marker\":\"m\"}", 422, NULL},
        {"DELETE", "/candidates/7/notes", NULL, 405, NULL},
        {"GET", "/nothing", NULL, 404, NULL},
    };

    for (size_t i = 0; i < ATS_COUNT(steps); i++) {
        struct http_answer a = call(h, steps[i].method, steps[i].path, steps[i].body);

        print_message("step: %s %s\n", steps[i].method, steps[i].path);
        assert_int_equal(a.status, steps[i].status);
        if (steps[i].answer != NULL)
            assert_string_equal(a.body, steps[i].answer);
    }
    assert_int_equal(http_call(h, h->sandbox->port, "GET", "/candidates/7", NULL, NULL, 0).status, 401);
    assert_string_equal(ats_value(h, "7", "jobs.9.rejection.reason"), "\"No\"");
    assert_string_equal(ats_value(h, "7", "jobs.9.assessment.score"), "80");
    assert_string_equal(ats_value(h, "a/b", "notes.0.marker"), "\"m\"");
    /* A move takes the rejection back. */
    ats_control(h, "POST", "/_sandbox/set", "{\"candidate\":\"7\",\"job\":\"9\",\"stage\":\"Offer\"}");
    assert_string_equal(ats_value(h, "7", "jobs.9.rejection"), "null");
    assert_string_equal(ats_value(h, "7", "jobs.9.stage"), "\"Offer\"");
    assert_int_equal(ats_figure(h, "requests"), ATS_COUNT(steps) + 1);
}

/* Whether the change was made, and what the client sees, for each action. */
E2E_TEST(faults_do_what_they_say)
{
    static const struct {
        const char *rule;
        int status; /* 0: no answer */
        bool is_made;
    } cases[] = {
        {"\"action\":\"status\",\"status\":503", 503, false},
        {"\"action\":\"status\",\"status\":500,\"apply\":true", 500, true},
        {"\"action\":\"delay\",\"delay_ms\":50", 201, true},
        {"\"action\":\"reset_before\"", 0, false},
        {"\"action\":\"reset_after\"", 0, true},
        {"\"action\":\"garbage\"", 0, false},
        {"\"action\":\"half\"", 200, true},
        {"\"action\":\"html\"", 200, false},
    };

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *candidate = arena_printf(h->arena, "c%zu", i);
        struct http_answer a;

        print_message("case: %s\n", cases[i].rule);
        ats_fault(h, arena_printf(h->arena, "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/notes\"},%s}",
                                  cases[i].rule));
        assert_int_equal(call(h, "GET", "/candidates/1/notes", NULL).status, 200); /* does not match */
        a = call(h, "POST", arena_printf(h->arena, "/candidates/%s/notes", candidate), "{\"body\":\"text\"}");
        assert_int_equal(a.status, cases[i].status);
        if (text_has(cases[i].rule, "half"))
            assert_false(text_has(a.body, "}"));
        assert_int_equal(json_count(json_of(h, ats_value(h, candidate, "notes"))), cases[i].is_made ? 1 : 0);
        assert_int_equal(ats_figure(h, "faults"), 0);
    }
    assert_int_equal(ats_figure(h, "pending"), 0);
}

static bool pending_are(struct harness *h, void *arg)
{
    const int64_t *wanted = arg;

    return ats_figure(h, "pending") == *wanted;
}

E2E_TEST(what_hangs_is_seen_in_flight_until_the_client_leaves)
{
    static const char request[] = "GET /candidates/7/notes HTTP/1.1\r\nHost: x\r\n"
                                  "Authorization: Bearer " E2E_TOKEN "\r\n\r\n";
    int64_t two = 2, none = 0;
    int fds[2];

    ats_fault(h, "{\"action\":\"hang\",\"times\":2}");
    for (int i = 0; i < 2; i++) {
        fds[i] = http_open(h, h->sandbox->port);
        http_write(h, fds[i], request, strlen(request));
    }
    wait_until(h, pending_are, &two, "both requests hang");
    assert_int_equal(ats_figure(h, "max_in_flight_per_candidate"), 2);
    (void)close(fds[0]);
    (void)close(fds[1]);
    wait_until(h, pending_are, &none, "the sandbox has noticed that the clients left");
    ats_control(h, "DELETE", "/_sandbox/fault", NULL);
    assert_int_equal(call(h, "GET", "/candidates/7/notes", NULL).status, 200);
}

E2E_TEST(keys_are_counted_and_not_honoured)
{
    const char *headers = arena_printf(h->arena, "%sIdempotency-Key: k1\r\n", auth);

    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            http_call(h, h->sandbox->port, "POST", "/candidates/7/notes", headers, "{\"body\":\"text\"}", 15).status,
            201);
    }
    assert_int_equal(json_count(json_of(h, ats_value(h, "7", "notes"))), 2);
    assert_int_equal(ats_figure(h, "repeated_keys"), 1);
    assert_string_equal(ats_get(h, "/_sandbox/keys"), "{\n  \"k1\": 2\n}\n");
    ats_control(h, "POST", "/_sandbox/reset", NULL);
    assert_string_equal(ats_get(h, "/_sandbox/keys"), "{}\n");
    assert_int_equal(ats_figure(h, "candidates"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(it_speaks_the_rest_protocol),
        E2E_RUN(faults_do_what_they_say),
        E2E_RUN(what_hangs_is_seen_in_flight_until_the_client_leaves),
        E2E_RUN(keys_are_counted_and_not_honoured),
    };

    return e2e_main(tests);
}
