/*
 * PostgreSQL's disk is full: the sender gets 503 and keeps its events, nothing is lost and nothing ends by itself, and
 * everything goes on when there is room again.
 *
 * The cluster lies on a small tmpfs in a mount namespace of this program, which vanishes with it. Needs root, or user
 * namespaces; skipped where both are refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "lib/harness.h"

enum { DISK_MIB = 256, BODY_BYTES = 200 * 1000, EVENTS_MAX = 400 };

static bool write_line(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* A mount namespace of our own, in which we may mount. */
static bool enter_namespace(void)
{
    char *uid = mem_printf("%d %d 1", (int)getuid(), (int)getuid());
    char *gid = mem_printf("%d %d 1", (int)getgid(), (int)getgid());
    bool ok = getuid() == 0 && unshare(CLONE_NEWNS) == 0;

    if (!ok && getuid() != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0)
        ok = write_line("/proc/self/setgroups", "deny") && write_line("/proc/self/uid_map", uid) &&
             write_line("/proc/self/gid_map", gid);
    mem_free(uid);
    mem_free(gid);
    return ok && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static const char *run_pg(struct harness *h, const char *command, const char *dir)
{
    const char *script =
        arena_printf(h->arena, "PG_FAST=1 PG_OWNER=%d '" TEST_SOURCE_DIR "/tests/lib/pg.sh' %s '%s' 2>&1",
                     (int)getpid(), command, dir);
    char text[4096];
    size_t len;
    FILE *p = popen(script, "re");

    assert_non_null(p);
    len = fread(text, 1, sizeof(text) - 1, p);
    text[len] = '\0';
    if (pclose(p) != 0)
        fail_msg("pg.sh %s failed: %s", command, text);
    return arena_strdup(h->arena, text);
}

static const char *value_of(struct harness *h, const char *env, const char *name)
{
    const char *at = strstr(env, name);

    assert_non_null(at);
    at += strlen(name);
    return arena_strndup(h->arena, at, strcspn(at, "\n"));
}

/* Takes all that is left on the disk. */
static void fill(const char *path)
{
    static char zeros[64 * 1024];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    for (size_t piece = sizeof(zeros); piece > 0; piece /= 2) {
        while (write(fd, zeros, piece) > 0)
            continue;
    }
    assert_int_equal(errno, ENOSPC);
    (void)close(fd);
}

/* Digits that do not compress well. */
static const char *long_text(struct harness *h, unsigned seed)
{
    char *text = arena_alloc(h->arena, BODY_BYTES + 1);
    uint64_t x = seed + 1;

    for (size_t i = 0; i < BODY_BYTES; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[x >> 58];
    }
    return text;
}

static const char *candidate_of(struct harness *h, unsigned n)
{
    return arena_printf(h->arena, "full-%u", n);
}

static const char *event_of(struct harness *h, unsigned n)
{
    return popp_event(h, "run-completed", "candidate", candidate_of(h, n), "run",
                      arena_printf(h->arena, "run.full-%u", n), "data.padding", long_text(h, n), NULL);
}

static bool one_is_pending(struct harness *h, void *arg)
{
    (void)arg;
    return ats_figure(h, "pending") == 1;
}

E2E_TEST(a_full_disk)
{
    const char *disk, *env, *filler;
    const char *bodies[EVENTS_MAX];
    bool stored[EVENTS_MAX] = {false};
    unsigned sent = 0, refused = 0;
    struct http_answer a;
    struct program *d;

    if (!enter_namespace()) {
        print_message("skipped: no mount namespace for a small disk: %s\n", strerror(errno));
        skip();
    }
    disk = arena_printf(h->arena, "%s/disk", h->dir);
    assert_int_equal(mkdir(disk, 0755), 0);
    if (mount("tmpfs", disk, "tmpfs", 0, arena_printf(h->arena, "size=%dm,mode=755", DISK_MIB)) != 0) {
        print_message("skipped: cannot mount a tmpfs: %s\n", strerror(errno));
        skip();
    }
    (void)run_pg(h, "start", arena_printf(h->arena, "%s/pg", disk));
    env = run_pg(h, "env", arena_printf(h->arena, "%s/pg", disk));
    mem_free(h->conninfo);
    h->conninfo = mem_printf("host=%s port=%s user=postgres dbname=atsync", value_of(h, env, "PGHOST="),
                             value_of(h, env, "PGPORT="));

    d = daemon_start(h, NULL);
    bodies[sent] = event_of(h, sent);
    popp_deliver(h, d, bodies[sent]);
    stored[sent++] = true;
    wait_sql(h, "select sync_state from atsync.sync_status", "synced");

    /* one call is on the way when it happens: what the ATS did cannot be written down */
    ats_fault(h, "{\"match\":{\"method\":\"POST\",\"path_contains\":\"/notes\"},\"action\":\"delay\",\"delay_ms\":-1}");
    bodies[sent] = event_of(h, sent);
    popp_deliver(h, d, bodies[sent]);
    stored[sent++] = true;
    wait_until(h, one_is_pending, NULL, "the note is with the ATS");
    filler = arena_printf(h->arena, "%s/filler", disk);
    fill(filler);
    ats_control(h, "POST", "/_sandbox/release", NULL);
    while (refused < 3) { /* what was allocated before takes a few more */
        assert_true(sent < EVENTS_MAX);
        bodies[sent] = event_of(h, sent);
        a = popp_post(h, d, bodies[sent]);
        if (a.status == 200) {
            stored[sent] = true;
        } else {
            assert_int_equal(a.status, 503);
            assert_non_null(http_header(h, &a, "Retry-After"));
            refused++;
        }
        sent++;
    }
    a = http_call(h, d->admin_port, "GET", "/healthz", NULL, NULL, 0);
    assert_int_equal(a.status, 200);

    assert_int_equal(unlink(filler), 0);
    (void)run_pg(h, "start", arena_printf(h->arena, "%s/pg", disk)); /* if it had given up; else nothing */
    daemon_wait_ready(h, d);
    for (unsigned i = 0; i < sent; i++) {
        int64_t until_ms = clock_mono_ms() + DEADLINE_MS;

        while (!stored[i]) { /* the sender repeats */
            stored[i] = popp_post(h, d, bodies[i]).status == 200;
            if (clock_mono_ms() > until_ms)
                fail_msg("event %u is not accepted although there is room again", i);
        }
    }
    assert_string_equal(sql_text(h, "select count(*) from atsync.event"), num_text((int64_t)sent).s);
    wait_sql(h, "select count(*) from atsync.sync_status where sync_state = 'synced'", num_text((int64_t)sent).s);
    for (unsigned i = 0; i < sent; i++) {
        assert_string_equal(ats_value(h, candidate_of(h, i), "jobs." E2E_JOB ".stage"), "\"Recruiter screen\"");
        assert_int_equal(json_count(json_of(h, ats_value(h, candidate_of(h, i), "notes"))), 1);
    }
    print_message("%u events, %u of them refused while the disk was full\n", sent, refused);
    daemon_stop(h, d);
    (void)run_pg(h, "remove", arena_printf(h->arena, "%s/pg", disk));
    (void)umount2(disk, MNT_DETACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {E2E_RUN(a_full_disk)};

    return e2e_main(tests);
}
