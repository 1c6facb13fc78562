/* The status page as text: whatever the words are, they stay words; what is not known is not shown. */
#include "service/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/json.h"

#define EVIL "\"'><script>x</script>&@title@"

enum { PAGE_MAX = 1 << 20 };

static struct json *parsed(const char *text)
{
    struct json *j = NULL;
    struct errmsg err;

    assert_int_equal(json_parse(text, strlen(text), &j, &err), ST_OK);
    return j;
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + strlen(part), part))
        n++;
    return n;
}

static const struct page_about nobody = {.may_log_out = false, .show_personal = false};

/* A copy in which every text has become this one, save states and times. */
static struct json *spoiled(const struct json *j, const char *key)
{
    struct json *copy;

    if (json_str(j) != NULL)
        return strcmp(key, "words") == 0 || strstr(key, "_at") == NULL ? json_string(EVIL) : json_copy(j);
    if (json_type(j) != JSON_OBJECT && json_type(j) != JSON_ARRAY)
        return json_copy(j);
    copy = json_type(j) == JSON_OBJECT ? json_object() : json_array();
    for (const struct json *e = json_first(j); e != NULL; e = json_next(e)) {
        if (json_type(j) == JSON_OBJECT)
            json_set(copy, json_key(e), spoiled(e, json_key(e)));
        else
            json_push(copy, spoiled(e, key));
    }
    return copy;
}

static const char status_text[] =
    "{\"at\":\"2026-05-12T09:34:10.000Z\",\"version\":\"1.2.3\",\"instance\":\"one\",\"started_at\":\"2026-05-12T09:"
    "00:00.000Z\",\"uptime_seconds\":3660,\"ready\":true,\"state\":\"trouble\",\"headline\":\"Trouble\",\"summary\":"
    "\"1 problem: A.\",\"queue\":{\"waiting\":1234567,\"due_now\":2,\"leased\":3,\"retrying\":4,"
    "\"oldest_due_seconds\":61},\"last_hour\":{\"events\":5,\"refused\":6,\"writes\":7,\"failed_writes\":8,\"synced\":"
    "9,\"lag_seconds\":0.257,\"longest_lag_seconds\":75.2},\"connectors\":[{\"connector\":\"ats\",\"type\":\"rest\","
    "\"state\":\"open\",\"reason\":\"too many failures\",\"since\":\"2026-05-12T09:30:00.000Z\",\"until\":\"2026-05-"
    "12T09:40:00.000Z\",\"waiting_candidates\":1,\"oldest_waiting_seconds\":7,\"calls_last_hour\":1000,"
    "\"errors_last_hour\":10,\"p95_ms\":12.6,\"quota_used\":5,\"configured\":true,\"pace\":{\"requests\":50,"
    "\"per_seconds\":10,\"per_day\":1000,\"concurrency\":8}},{\"connector\":\"old\",\"state\":\"ok\",\"reason\":null,"
    "\"p95_ms\":null,\"configured\":false}],\"issues\":[{\"class\":\"dead_writes\",\"severity\":\"error\",\"message\":"
    "\"A.\",\"hint\":\"B.\",\"affected_candidates\":3,\"first_seen\":\"2026-05-12T09:31:00.000Z\"}],\"blocked\":[{"
    "\"candidate_external_id\":null,\"ref\":\"p:cp/1 2\",\"workflow_external_id\":null,\"sync_state\":"
    "\"waiting_for_identity\",\"since\":\"2026-05-12T09:32:00.000Z\",\"next_attempt_at\":null,\"last_error\":\"no "
    "id\"}],\"newest\":[{\"candidate_external_id\":\"ats_42\",\"ref\":\"x:ats_42\",\"workflow_external_id\":\"w\","
    "\"run_state\":\"completed\",\"sync_state\":\"synced\",\"last_event_at\":\"2026-05-12T09:33:00.000Z\"}],"
    "\"daemons\":[{\"owner\":\"one@a:1\",\"version\":\"1.2.3\",\"started_at\":\"2026-05-12T09:00:00.000Z\"},{"
    "\"owner\":\"two@b:2\",\"version\":\"1.2.4\",\"started_at\":\"2026-05-12T09:00:00.000Z\"}]}";
static const char hours_text[] = "[{\"at\":\"2026-05-12T09:00:00.000Z\",\"events\":5,\"refused\":0,\"writes\":7,"
                                 "\"failed_writes\":8,\"synced\":0,\"lag_seconds\":null,\"longest_lag_seconds\":0}]";

static void assert_has(const char *page, const char *part)
{
    if (strstr(page, part) == NULL)
        fail_msg("\"%s\" is not in\n%s", part, page);
}

static void test_a_status(void **state)
{
    static const char *const parts[] = {
        "<title>Trouble - atsyncd one</title>",
        "<section id=\"state\" class=\"state bad\" data-live data-state=\"trouble\">",
        "<p>1 problem: A.</p>",
        "<dd>1\xe2\x80\xaf"
        "234\xe2\x80\xaf"
        "567 <small>2 due now</small></dd>",
        "<dt>Longest due</dt><dd>1 min</dd>",
        "<dd>0.26 s <small>longest 1 min</small></dd>",
        "<small>6 refused</small>",
        "<article class=\"issue bad\">",
        "dead writes</h3>\n<p>A.</p>\n<p class=\"hint\"><strong>What to do:</strong> B.</p>",
        "<time datetime=\"2026-05-12T09:31:00.000Z\">2026-05-12 09:31 UTC</time>, 3 affected.",
        "<small>too many failures</small>",
        "50 in 10 s, 8 at once, today 5 of 1\xe2\x80\xaf"
        "000</td>",
        "13 ms</td>",
        "not in the configuration</td>",
        "<a href=\"candidate?id=p%3Acp%2F1%202\">p:cp/1 2</a>",
        "<a href=\"candidate?id=ats_42\">ats_42</a>",
        "waiting for identity</span>",
        "<li>two@b:2 (1.2.4), since ",
        "up for 1 h 1 min.",
        "data-label=\"Failed\" class=\"number\">8</td>",
    };
    struct json *status = parsed(status_text), *hours = parsed(hours_text);
    struct buf out;

    (void)state;
    buf_init(&out, PAGE_MAX);
    page_status(&out, status, hours, &nobody);
    assert_false(out.failed);
    for (size_t i = 0; i < ATS_COUNT(parts); i++)
        assert_has(buf_text(&out), parts[i]);
    assert_null(strstr(buf_text(&out), "@"
                                       "main@"));
    assert_int_equal(count(buf_text(&out), "Sign out"), 0);
    buf_reset(&out);
    page_status(&out, status, hours, &(struct page_about){.may_log_out = true});
    assert_int_equal(count(buf_text(&out), "Sign out"), 1);
    buf_free(&out);
    json_free(hours);
    json_free(status);
}

static void test_many_issues(void **state)
{
    struct json *status = parsed(status_text), *issues = json_array();
    struct buf out;

    (void)state;
    for (int i = 0; i < 1060; i++)
        json_push(issues, json_copy(json_first(json_get(status, "issues"))));
    json_set(status, "issues", issues);
    buf_init(&out, PAGE_MAX);
    page_status(&out, status, NULL, &nobody);
    assert_int_equal(count(buf_text(&out), "<article class=\"issue"), 50);
    assert_has(buf_text(&out), "And 1\xe2\x80\xaf"
                               "010 more: <code>atsyncctl issues</code>");
    buf_free(&out);
    json_free(status);
}

static void test_without_a_database(void **state)
{
    struct json *status =
        parsed("{\"at\":\"2026-05-12T09:34:10.000Z\",\"version\":\"1\",\"instance\":\"one\",\"state\":"
               "\"not_ready\",\"headline\":\"Not ready\",\"summary\":\"Gone.\",\"ready\":false}");
    struct buf out;

    (void)state;
    buf_init(&out, PAGE_MAX);
    page_status(&out, status, NULL, &nobody);
    assert_has(buf_text(&out), "<p>Gone.</p>");
    assert_null(strstr(buf_text(&out), "id=\"figures\""));
    assert_null(strstr(buf_text(&out), "id=\"newest\""));
    buf_free(&out);
    json_free(status);
}

static const char candidate_text[] =
    "{\"words\":\"run_1\",\"found\":[\"ats_42\",\"ats 43\"],\"personal\":true,\"id\":\"ats_42\",\"sync\":[{"
    "\"workflow_external_id\":\"w\",\"connector\":\"ats\",\"job\":\"1\",\"run_id\":\"run_1\",\"run_state\":"
    "\"completed\",\"outcome\":\"completed\",\"result\":\"PASSED_CRITERIA\",\"sync_state\":\"dead\",\"pending_writes\":"
    "0,\"dead_writes\":1,\"last_event_at\":\"2026-05-12T09:33:00.000Z\",\"last_error\":\"no such stage\"}],"
    "\"open_writes\":[{\"kind\":\"stage\",\"target\":\"1\",\"connector\":\"ats\",\"state\":\"dead\",\"attempts\":1,"
    "\"error\":\"no such stage\",\"value\":\"Screen\"}],\"timeline\":[{\"at\":\"2026-05-12T09:33:00.000Z\",\"kind\":"
    "\"event\",\"summary\":\"FIRST\",\"detail\":\"d\"},{\"at\":\"2026-05-12T09:34:00.000Z\",\"kind\":\"call\","
    "\"summary\":\"SECOND\",\"detail\":\"d\"}],\"answers\":[{\"slug\":\"pin\",\"workflow_external_id\":\"w\","
    "\"answer\":\"18C\",\"answer_state\":\"IS_YES\",\"traffic_light\":\"GREEN\",\"outcome\":\"PASSED\",\"score\":99.5,"
    "\"answered_at\":null}],\"contacts\":[{\"at\":\"2026-05-12T09:33:00.000Z\",\"email\":\"a@b.example\","
    "\"phone_number\":\"+44\"}]}";

static void test_a_candidate(void **state)
{
    struct json *c = parsed(candidate_text);
    struct buf out;

    (void)state;
    buf_init(&out, PAGE_MAX);
    page_candidate(&out, c, "one", &(struct page_about){.show_personal = true});
    assert_has(buf_text(&out), "<h1>Candidate ats_42</h1>");
    assert_has(buf_text(&out), "value=\"run_1\"");
    assert_has(buf_text(&out), "<a href=\"candidate?id=ats%2043\">ats 43</a>");
    assert_has(buf_text(&out), "<dt>Result</dt><dd>PASSED_CRITERIA</dd>");
    assert_has(buf_text(&out), ">18C</td>");
    assert_has(buf_text(&out), ">99.5</td>");
    assert_has(buf_text(&out), ">a@b.example</td>");
    assert_has(buf_text(&out), ">Screen</td>");
    assert_true(strstr(buf_text(&out), "SECOND") < strstr(buf_text(&out), "FIRST"));
    assert_null(strstr(buf_text(&out), "show-personal"));
    json_set_bool(c, "personal", false);
    buf_reset(&out);
    page_candidate(&out, c, "one", &(struct page_about){.show_personal = true});
    assert_has(buf_text(&out), "<form action=\"candidate?id=ats_42\" method=\"post\"><button id=\"show-personal\">");
    assert_null(strstr(buf_text(&out), "18C"));
    assert_null(strstr(buf_text(&out), "Screen"));
    buf_reset(&out);
    page_candidate(&out, c, "one", &nobody);
    assert_null(strstr(buf_text(&out), "show-personal"));
    assert_has(buf_text(&out), "admin.show_personal");
    buf_free(&out);
    json_free(c);
}

/* A long answer is cut between characters. */
static void test_a_long_answer(void **state)
{
    struct json *c = parsed("{\"words\":\"a\",\"found\":[\"a\"],\"id\":\"a\",\"personal\":true,\"answers\":[{\"slug\":"
                            "\"s\"}]}");
    struct buf out, answer;
    struct json *row = json_object(), *rows = json_array();

    (void)state;
    buf_init(&answer, PAGE_MAX);
    for (int i = 0; i < 3000; i++)
        buf_puts(&answer, "\xc3\xa4");
    json_set_str(row, "answer", buf_text(&answer));
    json_push(rows, row);
    json_set(c, "answers", rows);
    buf_init(&out, PAGE_MAX);
    page_candidate(&out, c, "one", &nobody);
    assert_int_equal(count(buf_text(&out), "\xc3\xa4"), 2000);
    assert_has(buf_text(&out), "\xc3\xa4\xe2\x80\xa6</td>");
    buf_free(&out);
    buf_free(&answer);
    json_free(c);
}

/* Every text of every document, wherever it is shown. */
static void test_words_stay_words(void **state)
{
    static const char *const documents[] = {status_text, candidate_text};
    struct json *hours = parsed(hours_text);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(documents); i++) {
        struct json *j = parsed(documents[i]);
        struct json *evil = spoiled(j, "");
        struct buf out;

        buf_init(&out, PAGE_MAX);
        if (i == 0)
            page_status(&out, evil, hours, &nobody);
        else
            page_candidate(&out, evil, EVIL, &(struct page_about){.show_personal = true});
        assert_int_equal(count(buf_text(&out), "<script"), 1); /* our own */
        assert_int_equal(count(buf_text(&out), "\"'>"), 0);
        assert_true(count(buf_text(&out), "&quot;&#39;&gt;&lt;script&gt;x&lt;/script&gt;&amp;@title@") > 10);
        buf_free(&out);
        json_free(evil);
        json_free(j);
    }
    json_free(hours);
}

static void test_failures_and_signing_in(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, PAGE_MAX);
    page_failure(&out, "one", EVIL, EVIL, &nobody);
    assert_int_equal(count(buf_text(&out), "<script"), 1);
    assert_has(buf_text(&out), "&lt;script&gt;");
    buf_reset(&out);
    page_login(&out, NULL);
    assert_int_equal(count(buf_text(&out), "role=\"alert\""), 0);
    assert_has(buf_text(&out), "action=\"login\" method=\"post\"");
    buf_reset(&out);
    page_login(&out, "This is not the token.");
    assert_has(buf_text(&out), "role=\"alert\">This is not the token.</p>");
    buf_free(&out);
}

/* More than fits is told, not cut. */
static void test_too_much(void **state)
{
    struct json *status = parsed(status_text);
    struct buf out;

    (void)state;
    buf_init(&out, 2000);
    page_status(&out, status, NULL, &nobody);
    assert_true(out.failed);
    buf_free(&out);
    json_free(status);
}

static void test_files(void **state)
{
    (void)state;
    assert_non_null(page_file("status.js"));
    assert_non_null(strstr(page_file("status.css"), ":root {"));
    assert_null(page_file("nothing"));
    /* what the policy of the page forbids */
    assert_null(strstr(page_file("status.js"), "innerHTML"));
    assert_null(strstr(page_file("status.js"), "eval("));
    assert_null(strstr(page_file("status.css"), "@import"));
    assert_null(strstr(page_file("status.css"), "url("));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_status),
        cmocka_unit_test(test_many_issues),
        cmocka_unit_test(test_without_a_database),
        cmocka_unit_test(test_a_candidate),
        cmocka_unit_test(test_a_long_answer),
        cmocka_unit_test(test_words_stay_words),
        cmocka_unit_test(test_failures_and_signing_in),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
