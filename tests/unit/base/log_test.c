#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/text.h"

/* stderr becomes one end of a datagram socket: each write(2) arrives as one piece, so that a line made of two writes
 * would be seen as two. */
static int log_fd = -1;
static int read_fd = -1;
static int saved_stderr = -1;

static int64_t now_ms = 1000000;

int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_mono_ms(void)
{
    return now_ms;
}

static void stderr_to_log(void)
{
    (void)fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    (void)dup2(log_fd, STDERR_FILENO);
}

static void stderr_back(void)
{
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
}

#define LOGGED(call) (stderr_to_log(), (call), stderr_back())

static char received[64 * 1024];

/* The next line without its time, or NULL when nothing more was written. */
static const char *next_line(void)
{
    ssize_t n = recv(read_fd, received, sizeof received - 1, MSG_DONTWAIT);

    if (n <= 0)
        return NULL;
    assert_int_equal(received[n - 1], '\n');
    received[n - 1] = '\0';
    assert_null(strchr(received, '\n'));
    return received;
}

static const char *next_text(void)
{
    const char *line = next_line();
    char time[25];
    int64_t us;

    if (line == NULL)
        return NULL;
    assert_true(strlen(line) > 25);
    memcpy(time, line, 24);
    time[24] = '\0';
    assert_true(time_parse_iso8601(time, &us));
    assert_int_equal(line[24], ' ');
    return line + 25;
}

static const char *next_json(void)
{
    const char *line = next_line();

    if (line == NULL)
        return NULL;
    assert_true(text_starts(line, "{\"time\":\"20"));
    assert_memory_equal(line + 9 + 24, "\",", 2);
    return line + 9 + 26;
}

static int setup(void **state)
{
    (void)state;
    now_ms += 1000000;
    LOGGED((log_finish(), log_setup(LOG_DEBUG, LOG_TEXT)));
    while (next_line() != NULL)
        ;
    return 0;
}

static void test_text_lines(void **state)
{
    (void)state;
    LOGGED(log_warn("signature rejected", "source", "popp", "reason", "header x-signature is missing", NULL));
    assert_string_equal(next_text(), "level=warn msg=\"signature rejected\" source=popp "
                                     "reason=\"header x-signature is missing\"");
    LOGGED(log_info("started", NULL));
    assert_string_equal(next_text(), "level=info msg=\"started\"");
    LOGGED(log_debug("x", "absent", NULL, "empty", "", "eq", "a=b", "q", "say \"hi\"", "back", "a\\b", NULL));
    assert_string_equal(next_text(),
                        "level=debug msg=\"x\" empty=\"\" eq=\"a=b\" q=\"say \\\"hi\\\"\" back=\"a\\\\b\"");
    LOGGED(log_error("y", "plain", "/a/b:1,2;3[4]", NULL));
    assert_string_equal(next_text(), "level=error msg=\"y\" plain=/a/b:1,2;3[4]");
    assert_null(next_line());
}

/* What a peer may put into a value, and what stands in the line. */
static const struct {
    const char *value, *text, *json;
} hostile[] = {
    {"a\nlevel=error msg=forged", "\"a\\nlevel=error msg=forged\"", "\"a\\nlevel=error msg=forged\""},
    {"\r\t", "\"\\r\\t\"", "\"\\r\\t\""},
    {"\x1b[31m", "\"\\x1b[31m\"", "\"\\u001b[31m\""},
    {"\x7f", "\"\\x7f\"", "\"\\u007f\""},
    {"\xc2\x9b"
     "31m",
     "\"\\u009b31m\"", "\"\\u009b31m\""},
    {"a\xe2\x80\xa8z", "\"a\\u2028z\"", "\"a\\u2028z\""},
    {"\xe2\x80\xaetxt.exe\xe2\x81\xa9", "\"\\u202etxt.exe\\u2069\"", "\"\\u202etxt.exe\\u2069\""},
    {"\xff\xc3(", "\"\\xff\\xc3(\"", "\"\\\\xff\\\\xc3(\""},
    {"\xed\xa0\x80", "\"\\xed\\xa0\\x80\"", "\"\\\\xed\\\\xa0\\\\x80\""},
    {"caf\xc3\xa9 \xf0\x9f\x98\x80", "\"caf\xc3\xa9 \xf0\x9f\x98\x80\"", "\"caf\xc3\xa9 \xf0\x9f\x98\x80\""},
    {"\"}", "\"\\\"}\"", "\"\\\"}\""},
};

static void test_hostile_values(void **state)
{
    char expected[200];

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(hostile); i++) {
        LOGGED(log_info("v", "k", hostile[i].value, NULL));
        (void)snprintf(expected, sizeof expected, "level=info msg=\"v\" k=%s", hostile[i].text);
        assert_string_equal(next_text(), expected);
    }
    log_setup(LOG_DEBUG, LOG_JSON);
    for (size_t i = 0; i < ATS_COUNT(hostile); i++) {
        LOGGED(log_info("v", "k", hostile[i].value, NULL));
        (void)snprintf(expected, sizeof expected, "\"level\":\"info\",\"msg\":\"v\",\"k\":%s}", hostile[i].json);
        assert_string_equal(next_json(), expected);
    }
}

static void test_json_lines(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_JSON);
    LOGGED(log_warn("signature rejected", "source", "popp", "none", NULL, "empty", "", NULL));
    assert_string_equal(next_json(),
                        "\"level\":\"warn\",\"msg\":\"signature rejected\",\"source\":\"popp\",\"empty\":\"\"}");
    LOGGED(log_warn("signature rejected", "source", "popp", "none", NULL, "empty", "", NULL));
    assert_null(next_line());
    LOGGED(log_finish());
    assert_string_equal(next_json(), "\"level\":\"warn\",\"msg\":\"signature rejected\",\"source\":\"popp\","
                                     "\"empty\":\"\",\"repeated\":1}");
}

static void test_level(void **state)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    enum log_level level = LOG_WARN;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        assert_true(log_level_parse(names[i], &level));
        assert_int_equal(level, i);
    }
    assert_false(log_level_parse("warning", &level));
    assert_false(log_level_parse(NULL, &level));
    assert_int_equal(level, LOG_ERROR);

    log_setup(LOG_WARN, LOG_TEXT);
    LOGGED((log_debug("a", NULL), log_info("b", NULL), log_warn("c", NULL), log_error("d", NULL)));
    assert_string_equal(next_text(), "level=warn msg=\"c\"");
    assert_string_equal(next_text(), "level=error msg=\"d\"");
    assert_null(next_line());
}

static void test_long_values_and_lines_are_cut(void **state)
{
    static char value[5000];
    const char *line;

    (void)state;
    memset(value, 'v', sizeof value - 1);
    LOGGED(log_info("long", "k", value, NULL));
    line = next_text();
    assert_non_null(line);
    assert_int_equal(strlen(line), strlen("level=info msg=\"long\" k=\"") + 2048 + strlen("...\""));
    assert_string_equal(line + strlen(line) - 5, "v...\"");

    /* six bytes for each, so that the third does not fit: it is left out whole, and the line says so */
    memset(value, '\1', sizeof value - 1);
    log_setup(LOG_DEBUG, LOG_JSON);
    LOGGED(log_info("long", "a", value, "b", value, "last", "c", NULL));
    line = next_json();
    assert_non_null(line);
    assert_true(strlen(line) < 16 * 1024);
    assert_null(strstr(line, "\"b\":"));
    assert_non_null(strstr(line, "\\u0001...\",\"last\":\"c\",\"cut\":true}"));
}

static void test_repeats_are_folded(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        LOGGED(log_warn("database away", "host", "a", "request", i == 0 ? "r1" : "r2", NULL));
    LOGGED(log_warn("database away", "host", "b", "request", "r1", NULL)); /* another line */
    LOGGED(log_error("database away", "host", "a", NULL));                 /* another level */
    assert_string_equal(next_text(), "level=warn msg=\"database away\" host=a request=r1");
    assert_string_equal(next_text(), "level=warn msg=\"database away\" host=b request=r1");
    assert_string_equal(next_text(), "level=error msg=\"database away\" host=a");
    assert_null(next_line());

    now_ms += 9999; /* the interval is not over yet */
    LOGGED((log_warn("database away", "host", "a", NULL), log_flush_repeats()));
    assert_null(next_line());
    now_ms += 1;
    LOGGED(log_warn("database away", "host", "a", "request", "r9", NULL));
    assert_string_equal(next_text(), "level=warn msg=\"database away\" host=a repeated=5");
    assert_string_equal(next_text(), "level=warn msg=\"database away\" host=a request=r9");
    assert_null(next_line());
}

static void test_flush_tells_what_is_over(void **state)
{
    (void)state;
    LOGGED((log_info("old", NULL), log_info("old", NULL), log_info("single", NULL)));
    now_ms += 6000;
    LOGGED((log_info("young", NULL), log_info("young", NULL), log_info("young", NULL)));
    assert_string_equal(next_text(), "level=info msg=\"old\"");
    assert_string_equal(next_text(), "level=info msg=\"single\"");
    assert_string_equal(next_text(), "level=info msg=\"young\"");
    now_ms += 4000;
    LOGGED(log_flush_repeats());
    assert_string_equal(next_text(), "level=info msg=\"old\" repeated=1");
    assert_null(next_line());
    LOGGED(log_flush_repeats()); /* told once */
    assert_null(next_line());
    LOGGED(log_finish());
    assert_string_equal(next_text(), "level=info msg=\"young\" repeated=2");
    assert_null(next_line());
    LOGGED(log_info("young", NULL));
    assert_string_equal(next_text(), "level=info msg=\"young\"");
}

/* Fields that differ each time make no other line. */
static void test_varying_fields_do_not_count(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        LOGGED(log_warn("slow down", "connector", "a", "wait_ms", num_text(i).s, "events", num_text(-i).s, "request",
                        num_text(7 * i).s, NULL));
    assert_string_equal(next_text(), "level=warn msg=\"slow down\" connector=a wait_ms=0 events=0 request=0");
    assert_null(next_line());
    LOGGED(log_finish());
    assert_string_equal(next_text(), "level=warn msg=\"slow down\" connector=a repeated=2");
    assert_null(next_line());
}

/* A thousand peers with a wrong signature each, twice: a hundred lines, their counts, and how many more there were. */
static void test_a_flood_is_bounded(void **state)
{
    unsigned lines = 0, counts = 0;
    const char *line;

    (void)state;
    for (int i = 0; i < 2000; i++)
        LOGGED(log_warn("signature rejected", "peer", num_text(i / 2).s, NULL));
    while ((line = next_text()) != NULL) {
        lines += strstr(line, "repeated=") == NULL;
        counts += strstr(line, "repeated=1") != NULL;
    }
    assert_int_equal(lines, 100);
    assert_int_equal(counts, 100 - 64); /* the others are in the table still */
    LOGGED((log_warn("another", "peer", "1", NULL), log_info("signature rejected", "peer", "0", NULL)));
    while ((line = next_text()) != NULL)
        lines += strstr(line, "repeated=") == NULL;
    assert_int_equal(lines, 102); /* each message for itself, and what is no warning is not counted */
    now_ms += 10000;
    LOGGED(log_warn("signature rejected", "peer", "late", NULL));
    assert_string_equal(next_text(), "level=warn msg=\"signature rejected\" suppressed=1800");
    LOGGED(log_finish());
    while ((line = next_text()) != NULL)
        lines += strstr(line, "repeated=") == NULL;
    assert_int_equal(lines, 103);
}

static void test_addresses_of_people_are_hidden(void **state)
{
    static char value[3000];

    (void)state;
    LOGGED(log_error("e", "error", "jane.doe@example.com has +44 7700 900000", NULL));
    assert_string_equal(next_text(), "level=error msg=\"e\" error=\"***@*** has +***\"");
    /* not even when the value is cut in its middle */
    memset(value, 'v', sizeof value - 1);
    memcpy(value + 2040, " jane.doe@example.com ", 22);
    LOGGED(log_error("e", "error", value, NULL));
    assert_null(strstr(next_text(), "jane"));
}

/* 64 places: the 65th line drives out the oldest, whose count is not lost. */
static void test_table_is_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 64; i++) {
        LOGGED((log_info("n", "i", num_text(i).s, NULL), log_info("n", "i", num_text(i).s, NULL)));
        assert_non_null(next_line());
        now_ms++;
    }
    assert_null(next_line());
    LOGGED(log_info("n", "i", "64", NULL));
    assert_string_equal(next_text(), "level=info msg=\"n\" i=0 repeated=1");
    assert_string_equal(next_text(), "level=info msg=\"n\" i=64");
    LOGGED(log_info("n", "i", "1", NULL)); /* still known */
    assert_null(next_line());
    LOGGED(log_info("n", "i", "0", NULL)); /* forgotten */
    assert_string_equal(next_text(), "level=info msg=\"n\" i=1 repeated=2");
    assert_string_equal(next_text(), "level=info msg=\"n\" i=0");
}

static void test_format_change_tells_in_the_old_format(void **state)
{
    (void)state;
    LOGGED((log_info("a", NULL), log_info("a", NULL), log_setup(LOG_DEBUG, LOG_JSON), log_info("a", NULL)));
    assert_string_equal(next_text(), "level=info msg=\"a\"");
    assert_string_equal(next_text(), "level=info msg=\"a\" repeated=1");
    assert_string_equal(next_json(), "\"level\":\"info\",\"msg\":\"a\"}");
}

static void test_closed_stderr_is_survived(void **state)
{
    int saved = dup(STDERR_FILENO);

    (void)state;
    (void)close(STDERR_FILENO);
    log_info("nobody reads this", NULL);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    LOGGED(log_info("somebody does", NULL));
    assert_string_equal(next_text(), "level=info msg=\"somebody does\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text_lines, setup),
        cmocka_unit_test_setup(test_hostile_values, setup),
        cmocka_unit_test_setup(test_json_lines, setup),
        cmocka_unit_test_setup(test_level, setup),
        cmocka_unit_test_setup(test_long_values_and_lines_are_cut, setup),
        cmocka_unit_test_setup(test_repeats_are_folded, setup),
        cmocka_unit_test_setup(test_flush_tells_what_is_over, setup),
        cmocka_unit_test_setup(test_varying_fields_do_not_count, setup),
        cmocka_unit_test_setup(test_a_flood_is_bounded, setup),
        cmocka_unit_test_setup(test_addresses_of_people_are_hidden, setup),
        cmocka_unit_test_setup(test_table_is_bounded, setup),
        cmocka_unit_test_setup(test_format_change_tells_in_the_old_format, setup),
        cmocka_unit_test_setup(test_closed_stderr_is_survived, setup),
    };
    int size = 1024 * 1024;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) != 0 ||
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size) != 0)
        return 1;
    log_fd = fds[0];
    read_fd = fds[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
