/* Who gets in: by name, by site, by token, by session; and how often somebody may be wrong. */
#include "service/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

#define TOKEN "a token of some length"

static enum gate_verdict check(struct gate *g, struct gate_request r, int64_t now_ms)
{
    r.method = r.method ? r.method : "GET";
    r.peer = r.peer ? r.peer : "127.0.0.1";
    return gate_check(g, &r, now_ms);
}

static void test_names(void **state)
{
    static const struct {
        const char *listen, *host;
        enum gate_verdict verdict;
    } cases[] = {
        {"127.0.0.1:8481", NULL, GATE_IN}, /* no browser */
        {"127.0.0.1:8481", "127.0.0.1:8481", GATE_IN},
        {"127.0.0.1:8481", "127.0.0.1", GATE_IN},
        {"127.0.0.1:8481", "localhost:9000", GATE_IN}, /* through a tunnel */
        {"127.0.0.1:8481", "LOCALHOST", GATE_IN},
        {"[::1]:8481", "[::1]:8481", GATE_IN},
        {"localhost:8481", "localhost:8481", GATE_IN},
        {"127.0.0.1:8481", "evil.example", GATE_WRONG_NAME},
        {"127.0.0.1:8481", "evil.example:8481", GATE_WRONG_NAME},
        {"127.0.0.1:8481", "localhost.evil.example", GATE_WRONG_NAME},
        {"127.0.0.1:8481", "127.0.0.1.evil.example:8481", GATE_WRONG_NAME},
        {"127.0.0.1:8481", "[evil.example]:8481", GATE_WRONG_NAME},
        {"127.0.0.1:8481", "abad.cafe", GATE_WRONG_NAME}, /* hex digits alone make no address */
        {"127.0.0.1:8481", "", GATE_WRONG_NAME},
        {"127.0.0.1:8481", "[]", GATE_WRONG_NAME},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct gate *g = gate_new(cases[i].listen, NULL);
        enum gate_verdict v = check(g, (struct gate_request){.host = cases[i].host}, 0);

        if (v != cases[i].verdict) {
            fail_msg("case %zu (%s): %d", i, cases[i].host ? cases[i].host : "none", (int)v);
        }
        gate_free(g);
    }
}

static void test_a_long_name_is_none(void **state)
{
    struct gate *g = gate_new("127.0.0.1:8481", NULL);
    char host[1000];

    (void)state;
    memset(host, '1', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    assert_int_equal(check(g, (struct gate_request){.host = host}, 0), GATE_WRONG_NAME);
    gate_free(g);
}

static void test_sites(void **state)
{
    static const struct {
        const char *what;
        struct gate_request r;
        enum gate_verdict verdict;
    } cases[] = {
        {"the page itself", {.fetch_site = "same-origin", .fetch_mode = "cors", .fetch_dest = "empty"}, GATE_IN},
        {"typed into the address bar",
         {.fetch_site = "none", .fetch_mode = "navigate", .fetch_dest = "document"},
         GATE_IN},
        {"a link in a wiki", {.fetch_site = "cross-site", .fetch_mode = "navigate", .fetch_dest = "document"}, GATE_IN},
        {"a form of another site",
         {.method = "POST", .fetch_site = "cross-site", .fetch_mode = "navigate", .fetch_dest = "document"},
         GATE_FOREIGN},
        {"a frame", {.fetch_site = "cross-site", .fetch_mode = "navigate", .fetch_dest = "iframe"}, GATE_FOREIGN},
        {"a script element",
         {.fetch_site = "cross-site", .fetch_mode = "no-cors", .fetch_dest = "script"},
         GATE_FOREIGN},
        {"another port of this machine", {.fetch_site = "same-site", .fetch_mode = "cors"}, GATE_FOREIGN},
        {"an old browser, itself", {.origin = "http://127.0.0.1:8481"}, GATE_IN},
        {"an old browser, another site", {.origin = "http://evil.example"}, GATE_FOREIGN},
        {"an old browser, another port", {.origin = "http://127.0.0.1:3000"}, GATE_FOREIGN},
        {"a form of the page",
         {.method = "POST", .origin = "null", .fetch_site = "same-origin", .fetch_mode = "navigate"},
         GATE_IN},
        {"an opaque origin", {.origin = "null"}, GATE_FOREIGN},
        {"no browser", {.fetch_site = NULL}, GATE_IN},
    };
    struct gate *g = gate_new("127.0.0.1:8481", NULL);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct gate_request r = cases[i].r;

        r.host = "127.0.0.1:8481";
        if (check(g, r, 0) != cases[i].verdict) {
            fail_msg("%s", cases[i].what);
        }
    }
    gate_free(g);
}

static void test_bearer_tokens(void **state)
{
    static const struct {
        const char *authorization;
        enum gate_verdict verdict;
    } cases[] = {
        {NULL, GATE_NO_TOKEN},           {"Bearer " TOKEN, GATE_IN},
        {"bearer " TOKEN, GATE_IN},      {"Bearer " TOKEN "x", GATE_WRONG},
        {"Bearer a token", GATE_WRONG},  {"Bearer ", GATE_WRONG},
        {"Basic " TOKEN, GATE_NO_TOKEN}, {TOKEN, GATE_NO_TOKEN},
    };
    struct gate *g = gate_new("0.0.0.0:8481", TOKEN);

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_int_equal(
            check(g, (struct gate_request){.authorization = cases[i].authorization, .host = "status.example.com"}, 0),
            cases[i].verdict);
    gate_set_token(g, "another token");
    assert_int_equal(check(g, (struct gate_request){.authorization = "Bearer " TOKEN}, 0), GATE_WRONG);
    assert_int_equal(check(g, (struct gate_request){.authorization = "Bearer another token"}, 0), GATE_IN);
    gate_free(g);
}

static enum gate_verdict with_cookie(struct gate *g, const char *fmt, const char *session, int64_t now_ms)
{
    char *cookie = mem_printf("%s%s", fmt, session);
    enum gate_verdict v = check(g, (struct gate_request){.cookie = cookie}, now_ms);

    mem_free(cookie);
    return v;
}

static void test_sessions(void **state)
{
    const int64_t lasts_ms = (int64_t)GATE_SESSION_SECONDS * 1000;
    struct gate *g = gate_new("0.0.0.0:8481", TOKEN);
    struct gate *other = gate_new("0.0.0.0:8481", TOKEN);
    char session[GATE_SESSION_BYTES] = "", forged[GATE_SESSION_BYTES];

    (void)state;
    assert_int_equal(gate_open_session(g, "wrong", "10.0.0.1", 1000, session), GATE_WRONG);
    assert_string_equal(session, "");
    assert_int_equal(gate_open_session(g, TOKEN, "10.0.0.1", 1000, session), GATE_IN);
    assert_int_equal(with_cookie(g, GATE_COOKIE "=", session, 1000), GATE_IN);
    assert_int_equal(with_cookie(g, "a=1; " GATE_COOKIE "=", session, 1000 + lasts_ms - 1), GATE_IN);
    assert_int_equal(with_cookie(g, GATE_COOKIE "=", session, 1000 + lasts_ms), GATE_WRONG);
    assert_int_equal(with_cookie(g, "x" GATE_COOKIE "=", session, 1000), GATE_WRONG);
    assert_int_equal(with_cookie(g, "a=1; b=2;", "", 1000), GATE_NO_TOKEN);
    assert_int_equal(with_cookie(other, GATE_COOKIE "=", session, 1000), GATE_WRONG); /* of another process */
    /* a later end, with the old MAC */
    memcpy(forged, session, sizeof forged);
    forged[0] = '9';
    assert_int_equal(with_cookie(g, GATE_COOKIE "=", forged, 1000), GATE_WRONG);
    assert_int_equal(with_cookie(g, GATE_COOKIE "=", ".", 1000), GATE_WRONG);
    assert_int_equal(with_cookie(g, GATE_COOKIE "=", "", 1000), GATE_WRONG);
    gate_set_token(g, "another token");
    assert_int_equal(with_cookie(g, GATE_COOKIE "=", session, 1000), GATE_WRONG);
    gate_set_token(g, TOKEN);
    assert_int_equal(with_cookie(g, GATE_COOKIE "=", session, 1000), GATE_IN);
    gate_free(g);
    gate_free(other);
}

/* Without a token there is nothing to log in to. */
static void test_no_session_without_a_token(void **state)
{
    struct gate *g = gate_new("127.0.0.1:8481", NULL);
    char session[GATE_SESSION_BYTES] = "";

    (void)state;
    assert_int_equal(gate_open_session(g, "", "127.0.0.1", 0, session), GATE_WRONG);
    assert_false(gate_needs_token(g));
    gate_free(g);
}

static void test_whoever_guesses_has_to_wait(void **state)
{
    struct gate *g = gate_new("0.0.0.0:8481", TOKEN);
    struct gate_request wrong = {.authorization = "Bearer wrong", .peer = "10.0.0.1"};
    struct gate_request right = {.authorization = "Bearer " TOKEN, .peer = "10.0.0.1"};
    struct gate_request somebody_else = {.authorization = "Bearer " TOKEN, .peer = "10.0.0.2"};
    char session[GATE_SESSION_BYTES];

    (void)state;
    assert_int_equal(gate_open_session(g, TOKEN, "10.0.0.1", 1, session), GATE_IN);
    for (int i = 0; i < 10; i++)
        assert_int_equal(check(g, wrong, 1000), GATE_WRONG);
    assert_int_equal(check(g, wrong, 1000), GATE_TOO_MANY);
    assert_int_equal(check(g, right, 1000), GATE_TOO_MANY); /* else the right guess would be told */
    assert_int_equal(gate_open_session(g, TOKEN, "10.0.0.1", 1000, session), GATE_TOO_MANY);
    assert_int_equal(with_cookie(g, GATE_COOKIE "=", session, 1000), GATE_IN); /* sessions cannot be guessed */
    assert_int_equal(check(g, somebody_else, 1000), GATE_IN);
    assert_int_equal(check(g, right, 1 + GATE_WAIT_SECONDS * 1000), GATE_IN);
    /* the table is full: the oldest is forgotten */
    for (int i = 0; i < 200; i++) {
        struct num_text peer = num_text(i);

        wrong.peer = peer.s;
        assert_int_equal(check(g, wrong, 100000 + i), GATE_WRONG);
    }
    gate_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_a_long_name_is_none),
        cmocka_unit_test(test_sites),
        cmocka_unit_test(test_bearer_tokens),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_no_session_without_a_token),
        cmocka_unit_test(test_whoever_guesses_has_to_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
