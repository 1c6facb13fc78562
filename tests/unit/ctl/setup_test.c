#include "ctl/setup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"

static char dir[] = "/tmp/atsyncd-setup-XXXXXX";

static char *in_dir(const char *name)
{
    return mem_printf("%s/%s", dir, name);
}

/* With its directories. */
static void make_file(const char *name, const char *text)
{
    char *path = in_dir(name);
    FILE *f;

    for (char *slash = strchr(path + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
    f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    mem_free(path);
}

static int group_setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
    int status = 0;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* ---- secrets */

static void test_secret_files(void **state)
{
    static const char text[] = "database: {conninfo: x, encryption_key: {file: /e/key}}\n"
                               "admin: {listen: none, token: {file: /e/admin}}\n"
                               "receiver: {tls: {certificate: /e/cert, key: /e/tls.key}}\n"
                               "sources:\n"
                               "  popp:\n"
                               "    signing_secrets: [{file: /e/one}, inline, {env: X}, {file: /e/two}]\n"
                               "  other: {signing_secrets: {file: /e/three}}\n"
                               "connectors:\n"
                               "  ats: {credentials: {token: {file: /e/token}, signing_secrets: {file: /e/no}}}\n";
    static const struct {
        const char *key, *path;
        bool is_ours;
    } expected[] = {
        {"database.encryption_key", "/e/key", true},
        {"admin.token", "/e/admin", true},
        {"sources.popp.signing_secrets", "/e/one", true},
        {"sources.popp.signing_secrets", "/e/two", true},
        {"sources.other.signing_secrets", "/e/three", true},
        {"connectors.ats.credentials.token", "/e/token", false},
        {"connectors.ats.credentials.signing_secrets", "/e/no", false},
    };
    struct arena *arena = arena_new();
    struct secret_file *files = NULL;
    struct yaml *root = NULL;
    struct errmsg err = {{0}};
    unsigned line = 0;

    (void)state;
    assert_int_equal(yaml_tree_parse(text, strlen(text), &root, &line, &err), ST_OK);
    assert_int_equal(setup_secret_files(root, arena, &files), ATS_COUNT(expected));
    yaml_tree_free(root);
    for (size_t i = 0; i < ATS_COUNT(expected); i++) {
        assert_string_equal(files[i].key, expected[i].key);
        assert_string_equal(files[i].path, expected[i].path);
        assert_int_equal(files[i].is_ours, expected[i].is_ours);
    }
    arena_free(arena);
}

static char *text_of(const char *path)
{
    char text[200];
    FILE *f = fopen(path, "re");
    size_t n;

    assert_non_null(f);
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    return mem_strndup(text, n);
}

static void test_make_secret(void **state)
{
    const struct file_reader reader = {.name = "nobody", .uid = 65534, .gid = 65534};
    struct errmsg err = {{0}};
    struct stat info;
    char *path = in_dir("secret");
    char *other = in_dir("other");
    char *nowhere = in_dir("nowhere/secret");
    char *first, *second;

    (void)state;
    assert_int_equal(setup_make_secret(path, &reader, &err), ST_OK);
    first = text_of(path);
    assert_int_equal(strlen(first), 65);
    assert_int_equal(strspn(first, "0123456789abcdef"), 64);
    assert_int_equal(first[64], '\n');
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_uid, geteuid());
    if (geteuid() == 0) {
        assert_int_equal(info.st_mode & 07777U, 0640);
        assert_int_equal(info.st_gid, 65534);
        assert_true(setup_can_read(path, &reader) == false); /* its directory is closed */
        assert_int_equal(chmod(dir, 0711), 0);
        assert_true(setup_can_read(path, &reader));
        assert_int_equal(chown(path, 0, 0), 0);
        assert_false(setup_can_read(path, &reader));
        assert_int_equal(chmod(path, 0644), 0);
        assert_true(setup_can_read(path, &reader));
    } else {
        assert_int_equal(info.st_mode & 07777U, 0600);
    }

    /* never over another, and nothing is left beside it */
    assert_int_equal(setup_make_secret(path, &reader, &err), ST_CONFLICT);
    second = text_of(path);
    assert_string_equal(second, first);
    mem_free(second);
    assert_int_equal(setup_make_secret(other, &reader, &err), ST_OK);
    second = text_of(other);
    assert_string_not_equal(second, first);
    assert_int_equal(setup_make_secret(nowhere, &reader, &err), ST_IO);
    assert_true(text_starts(err.text, "cannot make "));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
    mem_free(first);
    mem_free(second);
    mem_free(path);
    mem_free(other);
    mem_free(nowhere);
}

/* ---- the server */

static const char debian[] = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
static const char ubuntu[] = "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n";
static const char fedora[] = "NAME=\"Fedora Linux\"\nID=fedora\n";
static const char rocky[] = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
static const char alpine[] = "ID=alpine\n";

#define THEN_AGAIN "Then run this again. For a database on another machine write host=NAME into database.conninfo.\n"

static const struct {
    const char *os_release;
    const char *files[4];
    const char *advice;
} servers[] = {
    {debian,
     {NULL},
     "PostgreSQL is not installed on this machine. To install and start it:\n    apt install postgresql\n"},
    {ubuntu,
     {"usr/lib/postgresql/9.6/bin/postgres", "usr/lib/postgresql/16/bin/postgres"},
     "PostgreSQL is installed, but it has no data yet. To make them and start it:\n    pg_createcluster 16 main "
     "--start\n"},
    {debian,
     {"usr/lib/postgresql/15/bin/postgres", "etc/postgresql/15/main/postgresql.conf"},
     "PostgreSQL is installed, but it does not run. To start it:\n    systemctl start postgresql\n    pg_lsclusters    "
     "                  # shows the clusters, their ports and whether they run\n"},
    {debian,
     {"usr/lib/postgresql/15/bin/postgres", "etc/postgresql/15/main/postgresql.conf", "run/postgresql/.s.PGSQL.5433"},
     "A server listens on port 5433: is it meant? Then write port=5433 into database.conninfo.\n"},
    /* a socket of the wanted port that nobody listens on is no other server */
    {debian,
     {"usr/lib/postgresql/15/bin/postgres", "etc/postgresql/15/main/postgresql.conf", "run/postgresql/.s.PGSQL.5432"},
     "PostgreSQL is installed, but it does not run. To start it:\n    systemctl start postgresql\n    pg_lsclusters    "
     "                  # shows the clusters, their ports and whether they run\n"},
    {fedora,
     {NULL},
     "PostgreSQL is not installed on this machine. To install and start it:\n    dnf install postgresql-server\n    "
     "postgresql-setup --initdb\n    systemctl enable --now postgresql\n"},
    {fedora,
     {"usr/bin/postgres"},
     "PostgreSQL is installed, but it has no data yet. To make them and start it:\n    postgresql-setup --initdb\n    "
     "systemctl enable --now postgresql\n"},
    {fedora,
     {"usr/bin/postgres", "var/lib/pgsql/data/PG_VERSION"},
     "PostgreSQL is installed, but it does not run. To start it:\n    systemctl enable --now postgresql\n"},
    {rocky,
     {"usr/pgsql-16/bin/postgres"},
     "PostgreSQL is installed, but it has no data yet. To make them and start it:\n    "
     "/usr/pgsql-16/bin/postgresql-16-setup initdb\n    systemctl enable --now postgresql-16\n"},
    {rocky,
     {"usr/pgsql-16/bin/postgres", "var/lib/pgsql/16/data/PG_VERSION"},
     "PostgreSQL is installed, but it does not run. To start it:\n    systemctl enable --now postgresql-16\n"},
    {alpine,
     {NULL},
     "PostgreSQL is not installed on this machine. To install and start it:\n    the package of the PostgreSQL server, "
     "13 or newer, of this system\n"},
};

static void test_server_advice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(servers); i++) {
        char *name = mem_printf("%zu", i);
        char *root = in_dir(name);
        char *release = mem_printf("%zu/etc/os-release", i);
        struct server_facts facts;
        char *advice, *expected;

        make_file(release, servers[i].os_release);
        for (size_t f = 0; f < ATS_COUNT(servers[i].files) && servers[i].files[f]; f++) {
            char *file = mem_printf("%zu/%s", i, servers[i].files[f]);

            make_file(file, "");
            mem_free(file);
        }
        facts = setup_look_at_server(root, 5432);
        advice = setup_server_advice(&facts);
        expected = mem_printf("%s" THEN_AGAIN, servers[i].advice);
        print_message("case %zu\n", i);
        assert_string_equal(advice, expected);
        mem_free(expected);
        mem_free(advice);
        mem_free(release);
        mem_free(root);
        mem_free(name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret_files),
        cmocka_unit_test(test_make_secret),
        cmocka_unit_test(test_server_advice),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
