#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "service/sdnotify.h"

/* A manager's socket: at a path, or with '@' in front an abstract one. Returns the descriptor. */
static int manager_open(const char *name)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } at = {.un = {.sun_family = AF_UNIX}};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0 && len < sizeof at.un.sun_path);
    memcpy(at.un.sun_path, name, len);
    if (name[0] == '@')
        at.un.sun_path[0] = '\0';
    assert_int_equal(bind(fd, &at.any, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void assert_got(int fd, const char *expected)
{
    char got[256];
    ssize_t n = recv(fd, got, sizeof got - 1, MSG_DONTWAIT);

    assert_true(n >= 0);
    got[n] = '\0';
    assert_string_equal(got, expected);
}

static void test_path_and_abstract_name(void **state)
{
    char dir[] = "/tmp/sdnotify-XXXXXX";
    char *names[2];

    (void)state;
    assert_non_null(mkdtemp(dir));
    names[0] = mem_printf("%s/notify", dir);
    names[1] = mem_printf("@sdnotify-test-%ld", (long)getpid());
    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        int fd = manager_open(names[i]);

        assert_true(sdnotify("READY=1"));
        assert_got(fd, "READY=1");
        (void)close(fd);
        assert_false(sdnotify("READY=1")); /* the manager has gone */
    }
    (void)unlink(names[0]);
    (void)rmdir(dir);
    mem_free(names[0]);
    mem_free(names[1]);
}

static void test_reloading_tells_the_time(void **state)
{
    static const char head[] = "RELOADING=1\nMONOTONIC_USEC=";
    char *name = mem_printf("@sdnotify-test-%ld", (long)getpid());
    int fd = manager_open(name);
    int64_t before_us = clock_mono_us(), told_us;
    char got[128];
    ssize_t n;

    (void)state;
    assert_true(sdnotify_reloading());
    n = recv(fd, got, sizeof got - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    got[n] = '\0';
    assert_true(text_starts(got, head));
    assert_true(text_to_i64(got + sizeof head - 1, before_us, clock_mono_us(), &told_us));
    (void)close(fd);
    mem_free(name);
}

static void test_without_a_manager_nothing_happens(void **state)
{
    static const char *const names[] = {NULL, "", "/", "notify", "vsock:2:1", "/tmp/there-is-no-such-directory/notify"};
    char too_long[200];

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        if (names[i] == NULL)
            assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
        else
            assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
        assert_false(sdnotify("READY=1"));
    }
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[0] = '/';
    too_long[sizeof too_long - 1] = '\0';
    assert_int_equal(setenv("NOTIFY_SOCKET", too_long, 1), 0);
    assert_false(sdnotify("READY=1"));
}

static void test_watchdog(void **state)
{
    char *own = mem_printf("%ld", (long)getpid());
    const struct {
        const char *usec, *pid;
        int64_t ms;
    } cases[] = {
        {NULL, NULL, 0},      {"30000000", NULL, 15000}, {"30000000", own, 15000},
        {"30000000", "1", 0}, {"30000000", "x", 0},      {"0", NULL, 0},
        {"-5", NULL, 0},      {"abc", NULL, 0},          {"2000", NULL, 1},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        (void)unsetenv("WATCHDOG_USEC");
        (void)unsetenv("WATCHDOG_PID");
        if (cases[i].usec != NULL)
            (void)setenv("WATCHDOG_USEC", cases[i].usec, 1);
        if (cases[i].pid != NULL)
            (void)setenv("WATCHDOG_PID", cases[i].pid, 1);
        assert_int_equal(sdnotify_watchdog_ms(), cases[i].ms);
    }
    mem_free(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_and_abstract_name),
        cmocka_unit_test(test_reloading_tells_the_time),
        cmocka_unit_test(test_without_a_manager_nothing_happens),
        cmocka_unit_test(test_watchdog),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
