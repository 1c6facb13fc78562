#include "config/secret.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

static char dir[] = "/tmp/atsyncd-secret-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"secret", "fifo"};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        char *path = mem_printf("%s/%s", dir, names[i]);
        (void)unlink(path);
        mem_free(path);
    }
    return rmdir(dir);
}

/* The path of a file with these contents and permissions; caller: mem_free. */
static char *file(const char *bytes, size_t len, mode_t mode)
{
    char *path = mem_printf("%s/secret", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
    return path;
}

static void assert_loads(enum secret_kind kind, const char *ref, const char *wanted)
{
    char *secret = NULL;
    struct errmsg err;

    if (secret_load(kind, ref, &secret, &err) != ST_OK)
        fail_msg("%s", err.text);
    assert_string_equal(secret, wanted);
    mem_free_secret(secret);
}

static void assert_refused(enum secret_kind kind, const char *ref, int st, const char *message)
{
    char *secret = NULL;
    struct errmsg err = {{0}};

    assert_int_equal(secret_load(kind, ref, &secret, &err), st);
    assert_string_equal(err.text, message);
    assert_null(secret);
}

static void test_inline(void **state)
{
    char *long_text = mem_zalloc(64 * 1024 + 2);

    (void)state;
    assert_loads(SECRET_INLINE, "s3cret", "s3cret");
    assert_loads(SECRET_INLINE, "two\nlines\n", "two\nlines");
    assert_refused(SECRET_INLINE, "", ST_INVALID, "the secret is empty");
    assert_refused(SECRET_INLINE, "\n", ST_INVALID, "the secret is empty");
    memset(long_text, 'x', 64 * 1024 + 1);
    assert_refused(SECRET_INLINE, long_text, ST_LIMIT, "the secret is longer than 64 KiB");
    long_text[64 * 1024] = '\0';
    assert_loads(SECRET_INLINE, long_text, long_text);
    mem_free(long_text);
}

static void test_file(void **state)
{
    static const struct {
        const char *bytes, *wanted;
    } cases[] = {
        {"s3cret", "s3cret"},       {"s3cret\n", "s3cret"}, {"s3cret\r\n", "s3cret"},
        {"s3cret\n\n", "s3cret\n"}, {"a\r", "a\r"},
    };
    char *path = NULL;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        path = file(cases[i].bytes, strlen(cases[i].bytes), 0640);
        assert_loads(SECRET_FILE, path, cases[i].wanted);
        mem_free(path);
    }
}

static void test_refused_files(void **state)
{
    char *path = file("s3cret", 6, 0604);
    char *message = mem_printf("others can read or write %s (mode 0604): run chmod o-rwx on it", path);

    (void)state;
    assert_refused(SECRET_FILE, path, ST_DENIED, message);
    mem_free(message);
    mem_free(path);

    path = file("s3cret", 6, 0602);
    message = mem_printf("others can read or write %s (mode 0602): run chmod o-rwx on it", path);
    assert_refused(SECRET_FILE, path, ST_DENIED, message);
    mem_free(message);
    mem_free(path);

    path = file("s3\0cret", 7, 0600);
    message = mem_printf("%s holds a NUL byte: a secret must be text", path);
    assert_refused(SECRET_FILE, path, ST_INVALID, message);
    mem_free(message);
    mem_free(path);

    path = file("\n", 1, 0600);
    message = mem_printf("%s is empty", path);
    assert_refused(SECRET_FILE, path, ST_INVALID, message);
    mem_free(message);
    mem_free(path);

    path = mem_printf("%s/missing", dir);
    message = mem_printf("cannot open %s: No such file or directory", path);
    assert_refused(SECRET_FILE, path, ST_NOT_FOUND, message);
    mem_free(message);
    mem_free(path);

    message = mem_printf("%s is not a regular file", dir);
    assert_refused(SECRET_FILE, dir, ST_INVALID, message);
    mem_free(message);

    /* must not wait for a writer */
    path = mem_printf("%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    message = mem_printf("%s is not a regular file", path);
    assert_refused(SECRET_FILE, path, ST_INVALID, message);
    mem_free(message);
    mem_free(path);
}

static void test_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("ATSYNCD_TEST_SECRET", "s3cret", 1), 0);
    assert_loads(SECRET_ENV, "ATSYNCD_TEST_SECRET", "s3cret");
    assert_int_equal(setenv("ATSYNCD_TEST_SECRET", "", 1), 0);
    assert_refused(SECRET_ENV, "ATSYNCD_TEST_SECRET", ST_INVALID,
                   "the environment variable ATSYNCD_TEST_SECRET is empty");
    assert_int_equal(unsetenv("ATSYNCD_TEST_SECRET"), 0);
    assert_refused(SECRET_ENV, "ATSYNCD_TEST_SECRET", ST_NOT_FOUND,
                   "the environment variable ATSYNCD_TEST_SECRET is not set");
}

static void test_credential(void **state)
{
    char *path = file("s3cret\n", 7, 0444); /* systemd closes the directory, not the files */
    char *message = NULL;

    (void)state;
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_refused(
        SECRET_CREDENTIAL, "secret", ST_NOT_FOUND,
        "no credential secret: CREDENTIALS_DIRECTORY is not set; add LoadCredential=secret:PATH to the unit");
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    assert_loads(SECRET_CREDENTIAL, "secret", "s3cret");
    assert_loads(SECRET_FILE, path, "s3cret");
    message = mem_printf("credential missing: cannot open %s/missing: No such file or directory", dir);
    assert_refused(SECRET_CREDENTIAL, "missing", ST_NOT_FOUND, message);
    mem_free(message);
    assert_refused(SECRET_CREDENTIAL, "../secret", ST_INVALID,
                   "\"../secret\" cannot be the name of a credential: it is a file name without /");
    assert_refused(SECRET_CREDENTIAL, "..", ST_INVALID,
                   "\"..\" cannot be the name of a credential: it is a file name without /");
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    message = mem_printf("others can read or write %s (mode 0444): run chmod o-rwx on it", path);
    assert_refused(SECRET_FILE, path, ST_DENIED, message);
    mem_free(message);
    mem_free(path);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inline),      cmocka_unit_test(test_file),       cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_environment), cmocka_unit_test(test_credential),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
