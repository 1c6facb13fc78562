#include "lib/ctlkit.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { OUTPUT_MAX_BYTES = 1024 * 1024 };

const char *ctl(struct harness *h, const struct program *d, int expected, const char *const args[CTL_ARGS_MAX])
{
    const char *output = NULL;
    int status = program_run(h, &output, "atsyncctl", "-c", d->conf_path, args[0], args[1], args[2], args[3], args[4],
                             args[5], args[6], args[7], NULL);

    if (status != expected)
        fail_msg("status %d, not %d:\n%s", status, expected, output != NULL ? output : "");
    return output;
}
void assert_has(const char *output, const char *part)
{
    if (!text_has(output, part))
        fail_msg("no \"%s\" in:\n%s", part, output);
}

void assert_has_not(const char *output, const char *part)
{
    if (text_has(output, part))
        fail_msg("\"%s\" in:\n%s", part, output);
}

static void child_exec(char *const argv[])
{
    (void)execvp(argv[0], argv);
    _exit(127);
}

void child_start(struct harness *h, struct child *c, bool terminal, const char *const *args)
{
    struct winsize size = {.ws_row = 25, .ws_col = 60};
    char *argv[CTL_ARGS_MAX] = {arena_printf(h->arena, "%s/atsyncctl", TEST_BUILD_DIR)};
    char **run;
    int pipes[2] = {-1, -1};

    for (size_t i = 0; args[i] != NULL && i + 2 < CTL_ARGS_MAX; i++)
        argv[i + 1] = arena_strdup(h->arena, args[i]);
    buf_init(&c->seen, OUTPUT_MAX_BYTES);
    run = program_argv(h, argv);
    if (terminal) {
        c->pid = forkpty(&c->fd, NULL, NULL, &size);
    } else {
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        c->pid = fork();
        c->fd = pipes[0];
    }
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        if (!terminal && dup2(pipes[1], STDOUT_FILENO) < 0)
            _exit(126);
        child_exec(run);
    }
    if (!terminal)
        (void)close(pipes[1]);
}

bool child_read(struct child *c, int wait_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    char piece[4096];
    ssize_t n;

    if (poll(&p, 1, wait_ms) <= 0)
        return true;
    n = read(c->fd, piece, sizeof(piece)); /* a terminal whose other side is closed says EIO */
    if (n > 0)
        buf_add(&c->seen, piece, (size_t)n);
    return n > 0;
}

void child_wait_for(struct child *c, const char *part)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;

    while (!text_has(buf_text(&c->seen), part)) {
        if (!child_read(c, POLL_MS) || clock_mono_ms() > deadline)
            fail_msg("no \"%s\" in:\n%s", part, buf_text(&c->seen));
    }
}

void child_type(struct child *c, const char *text)
{
    assert_int_equal(write(c->fd, text, strlen(text)), (ssize_t)strlen(text));
}

const char *child_end(struct harness *h, struct child *c, int expected)
{
    const char *output;
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    int status = 0;

    while (child_read(c, POLL_MS)) {
        if (clock_mono_ms() > deadline) {
            (void)kill(c->pid, SIGKILL);
            (void)waitpid(c->pid, &status, 0);
            fail_msg("it does not end; so far:\n%s", buf_text(&c->seen));
        }
    }
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    (void)close(c->fd);
    output = arena_strdup(h->arena, buf_text(&c->seen));
    buf_free(&c->seen);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != expected)
        fail_msg("wait status %d, not exit status %d:\n%s", status, expected, output);
    return output;
}

const char *on_terminal(struct harness *h, int expected, const char *const *args)
{
    struct child c;

    child_start(h, &c, true, args);
    return child_end(h, &c, expected);
}
