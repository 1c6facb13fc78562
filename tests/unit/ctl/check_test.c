#include "ctl/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

#define HINT                                                                                                           \
    "set both by NTP: signatures that carry a time and the ends of access tokens are judged by this machine's clock, " \
    "delays and leases by the database's"

static const struct {
    int64_t ahead_us, unsure_us;
    const char *message;
    bool ok;
} clocks[] = {
    {0, 700, "the clocks of this machine and of the database agree to 1 ms", true},
    {-2500, 2600, "the clocks of this machine and of the database agree to 3 ms", true},
    {4321000, 700, "the clock of this machine is 4.321 s ahead of the database's", true},
    {-5000000, 0, "the clock of this machine is 5.000 s behind the database's", true},
    {-5001000, 0, "the clock of this machine is 5.001 s behind the database's", false},
    {5001000, 2000, "the clock of this machine is 5.001 s ahead of the database's", true}, /* nobody knows */
    {3600000000, 700, "the clock of this machine is 3600.000 s ahead of the database's", false},
};

static void test_clock(void **state)
{
    const int64_t database_us = INT64_C(1800000000) * 1000000;

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(clocks); i++) {
        struct finding f = check_clock(database_us + clocks[i].ahead_us, database_us, clocks[i].unsure_us);

        assert_string_equal(f.message, clocks[i].message);
        assert_int_equal(f.ok, clocks[i].ok);
        if (f.ok)
            assert_null(f.hint);
        else
            assert_string_equal(f.hint, HINT);
        finding_clear(&f);
    }
}

/* ---- permissions: a configuration of our own */

static char dir[] = "/tmp/atsyncd-check-XXXXXX";

static char *in_dir(const char *name)
{
    return mem_printf("%s/%s", dir, name);
}

static void make_file(const char *name, mode_t mode, const char *text)
{
    char *path = in_dir(name);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
    mem_free(path);
}

static void set_mode(const char *name, mode_t mode)
{
    char *path = in_dir(name);

    assert_int_equal(chmod(path, mode), 0);
    mem_free(path);
}

static void look(const char *expected)
{
    struct config_problems problems = {0};
    struct connector_set *set = NULL;
    struct config *config = NULL;
    struct finding f;
    char *path = in_dir("t.conf");
    char *known = mem_strdup(expected);

    if (config_load(path, &config, &problems) != ST_OK || connector_set_load(config, &set, &problems) != ST_OK)
        fail_msg("%s", problems.items[0].message);
    f = check_permissions(config, set);
    assert_string_equal(f.message, known);
    assert_null(f.hint);
    assert_int_equal(f.ok, strncmp(known, "nobody else", 11) == 0);
    finding_clear(&f);
    connector_set_unref(set);
    config_unref(config);
    mem_free(known);
    mem_free(path);
}

static int make_files(void **state)
{
    char *conf;

    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    conf = in_dir("connectors");
    if (mkdir(conf, 0755) != 0 || chmod(conf, 0755) != 0)
        return -1;
    mem_free(conf);
    conf = in_dir("keys");
    if (mkdir(conf, 0700) != 0)
        return -1;
    mem_free(conf);
    make_file("popp.secret", 0640, "0123456789abcdef\n");
    make_file("keys/client.key", 0600, "-----BEGIN PRIVATE KEY-----\n");
    make_file("connectors/mine.jq", 0644,
              "def meta: {name: \"mine\", title: \"M\", base_url: \"https://m.example\", capabilities: {note: {}}};\n"
              "def note: {already: true};\n");
    conf = mem_printf(
        "receiver: {listen: \"127.0.0.1:8480\"}\nadmin: {listen: none}\ndatabase: {conninfo: \"dbname=x\"}\n"
        "sources: {popp: {signing_secrets: [{file: %s/popp.secret}]}}\n"
        "connectors: {mine: {type: mine, tls: {certificate: %s/keys/client.key, key: %s/keys/client.key}}}\n",
        dir, dir, dir);
    make_file("t.conf", 0644, conf);
    mem_free(conf);
    return 0;
}

static int remove_files(void **state)
{
    static const char *const names[] = {"connectors/mine.jq", "t.conf", "popp.secret", "keys/client.key"};
    char *connectors = in_dir("connectors");
    char *keys = in_dir("keys");

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        char *path = in_dir(names[i]);

        (void)unlink(path);
        mem_free(path);
    }
    (void)rmdir(connectors);
    (void)rmdir(keys);
    mem_free(connectors);
    mem_free(keys);
    return rmdir(dir);
}

static void test_permissions(void **state)
{
    char *expected;

    (void)state;
    look("nobody else can change the 4 files that count");

    set_mode("t.conf", 0646);
    set_mode("connectors/mine.jq", 0666);
    expected = mem_printf("others can write %s/t.conf (mode 0646): run chmod o-w on it\n"
                          "others can write %s/connectors/mine.jq (mode 0666): run chmod o-w on it",
                          dir, dir);
    look(expected);
    mem_free(expected);
    set_mode("t.conf", 0644);
    set_mode("connectors/mine.jq", 0644);

    set_mode("keys", 0757);
    expected = mem_printf("others can replace what is in %s/keys (mode 0757): run chmod o-w on it", dir);
    look(expected);
    mem_free(expected);
    set_mode("keys", 0700);

    set_mode("connectors", 0777);
    expected = mem_printf("others can replace what is in %s/connectors (mode 0777): run chmod o-w on it", dir);
    look(expected);
    mem_free(expected);
    set_mode("connectors", 01777); /* only owners can take away their files */
    look("nobody else can change the 4 files that count");
    set_mode("connectors", 0755);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test_setup_teardown(test_permissions, make_files, remove_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
