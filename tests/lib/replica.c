#include "lib/replica.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

struct server {
    char *dir;
    char port[16];
};

/* One of each for the program: a test that fails leaves them to its teardown. */
static struct server primary, standby;
static struct server *in_use;

static pid_t pg_sh_start(const char *command, const char *dir, const char *arg)
{
    pid_t pid = fork();

    if (pid == 0) {
        execl(TEST_SOURCE_DIR "/tests/lib/pg.sh", "pg.sh", command, dir, arg, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static int ended(pid_t pid)
{
    int status = -1;

    assert_true(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int pg_sh(const char *command, const char *dir, const char *arg)
{
    return ended(pg_sh_start(command, dir, arg));
}

static void read_port(struct server *s)
{
    char *path = mem_printf("%s/port", s->dir);
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    assert_non_null(fgets(s->port, sizeof(s->port), f));
    (void)fclose(f);
    mem_free(path);
    s->port[strcspn(s->port, "\n")] = '\0';
}

void replica_start(struct harness *h)
{
    primary.dir = mem_printf("%s/primary", h->dir);
    standby.dir = mem_printf("%s/standby", h->dir);
    assert_int_equal(pg_sh("start", primary.dir, NULL), 0);
    assert_int_equal(pg_sh("standby", standby.dir, primary.dir), 0);
    read_port(&primary);
    read_port(&standby);
    in_use = &primary;
    mem_free(h->conninfo);
    h->conninfo = mem_printf("host=127.0.0.1,127.0.0.1 port=%s,%s user=postgres dbname=atsync "
                             "target_session_attrs=read-write connect_timeout=2",
                             primary.port, standby.port);
}

int replica_teardown(void **state)
{
    int status = 0;

    for (struct server *s = &primary; s != NULL; s = s == &primary ? &standby : NULL) {
        if (s->dir != NULL && pg_sh("remove", s->dir, NULL) != 0)
            status = -1;
        mem_free(s->dir);
        s->dir = NULL;
    }
    in_use = NULL;
    return harness_teardown(state) == 0 ? status : -1;
}

pid_t replica_kill_primary(void)
{
    return pg_sh_start("kill", primary.dir, NULL);
}

pid_t replica_promote(void)
{
    in_use = &standby;
    return pg_sh_start("promote", standby.dir, NULL);
}

void replica_fail_over(void)
{
    assert_int_equal(ended(replica_kill_primary()), 0);
    assert_int_equal(ended(replica_promote()), 0);
}

const char *replica_standby_port(void)
{
    return standby.port;
}

void replica_stop(const char *mode)
{
    assert_int_equal(pg_sh("stop", in_use->dir, mode), 0);
}

void replica_start_again(void)
{
    assert_int_equal(pg_sh("start", in_use->dir, NULL), 0);
}
