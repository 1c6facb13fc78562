#include "lib/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/status.h"
#include "base/text.h"
#include "domain/signature.h"
#include "lib/db.h"

enum {
    PORT_FIRST = 10000, /* below every usual ephemeral range, and away from pg.sh's */
    PORT_COUNT = 9000,
    LOCKS_MAX = 256,
    TREES_MAX = 100000,
    TEXT_MAX_BYTES = 64 * 1024 * 1024,
    LOG_SHOWN_BYTES = 64 * 1024,
    ARGS_MAX = 32,
};

struct harness_state {
    struct program *programs;
    struct db *db;
    struct json **trees;
    size_t tree_count;
    char *pg_dir;
    char *pg_host;
    char *pg_port;
    char *admin_conninfo; /* of the database "atsync", where the tests' databases are made from */
    int locks[LOCKS_MAX];
    size_t lock_count;
    unsigned test_number;
    unsigned event_number;
    bool passed;
};

/* ---------------------------------------------------------------- small things */

int deadline_ms(void)
{
    enum { ORDINARY_MS = 20000, PATIENCE_MAX = 100 };
    const char *patience = getenv("TEST_PATIENCE");
    int64_t times = 1;

    if (patience != NULL && !text_to_i64(patience, 1, PATIENCE_MAX, &times))
        fail_msg("TEST_PATIENCE must be a number from 1 to %d", PATIENCE_MAX);
    return ORDINARY_MS * (int)times;
}

static void short_wait(void)
{
    (void)poll(NULL, 0, POLL_MS);
}

bool text_has(const char *text, const char *part)
{
    return text != NULL && strstr(text, part) != NULL;
}

unsigned text_count(const char *text, const char *part)
{
    unsigned count = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + strlen(part), part))
        count++;
    return count;
}

void wait_until(struct harness *h, bool (*yes)(struct harness *h, void *arg), void *arg, const char *what)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;

    while (!yes(h, arg)) {
        if (clock_mono_ms() >= until_ms)
            fail_msg("not within %d s: %s", DEADLINE_MS / 1000, what);
        short_wait();
    }
}

/* A whole file as text in the arena; "" if it is not there. */
static char *file_text(struct harness *h, const char *path)
{
    struct buf text;
    char piece[16 * 1024];
    char *copy;
    size_t n;
    FILE *f = fopen(path, "re");

    buf_init(&text, TEXT_MAX_BYTES);
    while (f != NULL && (n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_add(&text, piece, n);
    if (f != NULL)
        (void)fclose(f);
    copy = arena_strndup(h->arena, buf_text(&text), text.len);
    buf_free(&text);
    return copy;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(text);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len || close(fd) != 0)
        fail_msg("cannot write %s: %s", path, strerror(errno));
}

const struct json *json_of(struct harness *h, const char *text)
{
    struct json *tree = NULL;
    struct errmsg err;

    if (json_parse(text, strlen(text), &tree, &err) != ST_OK)
        fail_msg("%s in: %s", err.text, text);
    if (h->state->tree_count == TREES_MAX)
        fail_msg("a test may look at %d JSON texts", TREES_MAX);
    h->state->trees = mem_grow(h->state->trees, h->state->tree_count + 1, sizeof(struct json *));
    h->state->trees[h->state->tree_count++] = tree;
    return tree;
}

static void forget_trees(struct harness *h, size_t keep)
{
    while (h->state->tree_count > keep)
        json_free(h->state->trees[--h->state->tree_count]);
}

/* The child that the first part of a path names. *path moves behind the part. */
static const struct json *json_step(const struct json *j, const char **path)
{
    size_t len = strcspn(*path, ".");
    char *part = mem_strndup(*path, len);
    const struct json *child = NULL;
    int64_t index;

    if (json_type(j) == JSON_OBJECT) {
        child = json_get(j, part);
    } else if (json_type(j) == JSON_ARRAY && text_to_i64(part, 0, 1000000, &index)) {
        child = json_first(j);
        for (; child != NULL && index > 0; index--)
            child = json_next(child);
    }
    *path += len + ((*path)[len] == '.');
    mem_free(part);
    return child;
}

const struct json *json_at(const struct json *j, const char *path)
{
    while (j != NULL && *path != '\0')
        j = json_step(j, &path);
    return j;
}

/* A copy of j in which path has this value (given away; NULL removes). What is missing on the way is made as objects.
 */
static struct json *json_with(const struct json *j, const char *path, struct json *value)
{
    size_t len = strcspn(path, ".");
    const char *rest = path + len + (path[len] == '.');
    const char *stepped = path;
    const struct json *changed = json_step(j, &stepped);
    struct json *copy = json_type(j) == JSON_ARRAY ? json_array() : json_object();

    if (json_type(j) == JSON_ARRAY) {
        for (const struct json *e = json_first(j); e != NULL; e = json_next(e)) {
            if (e != changed)
                json_push(copy, json_copy(e));
            else if (*rest != '\0')
                json_push(copy, json_with(e, rest, value));
            else if (value != NULL)
                json_push(copy, value);
        }
        if (changed == NULL)
            fail_msg("no such element of the sample event: %s", path);
    } else {
        char *key = mem_strndup(path, len);

        for (const struct json *m = json_first(j); m != NULL; m = json_next(m)) {
            if (m != changed)
                json_set(copy, json_key(m), json_copy(m));
            else if (*rest != '\0')
                json_set(copy, key, json_with(m, rest, value));
            else if (value != NULL)
                json_set(copy, key, value);
        }
        if (changed == NULL && value != NULL)
            json_set(copy, key, *rest != '\0' ? json_with(NULL, rest, value) : value);
        mem_free(key);
    }
    return copy;
}

static char *json_in_arena(struct harness *h, const struct json *j)
{
    char *text = json_text(j);
    char *copy = arena_strdup(h->arena, text);

    mem_free(text);
    return copy;
}

/* ---------------------------------------------------------------- processes */

/* Starts a program with its output appended to a file. It dies with us. */
static pid_t spawn(const char *log_path, char *const argv[])
{
    pid_t parent = getpid();
    pid_t pid = fork();
    int log;

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_DFL); /* it would inherit that we ignore it */
    if (getppid() != parent)
        _exit(126);
    log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (log < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(126);
    (void)execvp(argv[0], argv);
    fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static const char *preloaded[] = {TEST_BUILD_DIR "/clock_shift.so", TEST_BUILD_DIR "/public_net.so",
                                  TEST_BUILD_DIR "/leftovers.so"};
static bool is_preloaded[ATS_COUNT(preloaded)];

/* Sanitizers want to be told that something comes before them. */
static void preload(size_t which, bool wanted)
{
    static char *sanitizer_options;
    static bool asked;
    struct buf list;

    if (!asked) {
        sanitizer_options = mem_strdup(getenv("ASAN_OPTIONS"));
        asked = true;
    }
    is_preloaded[which] = wanted;
    buf_init(&list, 4096);
    for (size_t i = 0; i < ATS_COUNT(preloaded); i++) {
        if (is_preloaded[i])
            buf_printf(&list, "%s%s", list.len > 0 ? ":" : "", preloaded[i]);
    }
    if (list.len > 0) {
        char *options = mem_printf("%s%sverify_asan_link_order=0", sanitizer_options != NULL ? sanitizer_options : "",
                                   sanitizer_options != NULL ? ":" : "");

        (void)setenv("LD_PRELOAD", buf_text(&list), 1);
        (void)setenv("ASAN_OPTIONS", options, 1);
        mem_free(options);
    } else {
        (void)unsetenv("LD_PRELOAD");
        if (sanitizer_options != NULL)
            (void)setenv("ASAN_OPTIONS", sanitizer_options, 1);
        else
            (void)unsetenv("ASAN_OPTIONS");
    }
    buf_free(&list);
}

void shift_clock(int64_t seconds)
{
    preload(0, seconds != 0);
    if (seconds != 0)
        (void)setenv("CLOCK_SHIFT_S", num_text(seconds).s, 1);
    else
        (void)unsetenv("CLOCK_SHIFT_S");
}

void make_public_net(bool there)
{
    preload(1, there);
}

void find_leftovers(const char *secrets_path, const char *report_path)
{
    preload(2, secrets_path != NULL);
    if (secrets_path != NULL) {
        (void)setenv("LEFTOVERS", secrets_path, 1);
        (void)setenv("LEFTOVERS_REPORT", report_path, 1);
    } else {
        (void)unsetenv("LEFTOVERS");
        (void)unsetenv("LEFTOVERS_REPORT");
    }
}

static int status_of(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

/* True when it has ended; *ret gets the exit status. */
static bool has_ended(struct program *p, int *ret)
{
    int wait_status = 0;

    if (p->pid == 0 || waitpid(p->pid, &wait_status, WNOHANG) != p->pid)
        return false;
    p->pid = 0;
    *ret = status_of(wait_status);
    return true;
}

int64_t program_memory_max_kib(const struct program *p)
{
    char *path = mem_printf("/proc/%ld/status", (long)p->pid);
    FILE *f = fopen(path, "re");
    char line[256];
    long kib = 0;

    mem_free(path);
    assert_non_null(f);
    while (fgets(line, sizeof line, f) && sscanf(line, "VmHWM: %ld", &kib) != 1) {
    }
    (void)fclose(f);
    assert_true(kib > 0);
    return kib;
}

void keep_little_freed_memory(void)
{
    const char *before = getenv("ASAN_OPTIONS");
    char *options = mem_printf("%s%squarantine_size_mb=8", before != NULL ? before : "", before != NULL ? ":" : "");

    (void)setenv("ASAN_OPTIONS", options, 1);
    mem_free(options);
}

int program_wait(struct harness *h, struct program *p)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    int status = -1;

    (void)h;
    while (!has_ended(p, &status)) {
        if (p->pid == 0)
            fail_msg("%s is not running", p->name);
        if (clock_mono_ms() >= until_ms)
            fail_msg("%s did not end within %d s", p->name, DEADLINE_MS / 1000);
        short_wait();
    }
    return status;
}

bool program_ended(struct harness *h, struct program *p, int *ret_status)
{
    (void)h;
    return has_ended(p, ret_status);
}

static void program_kill(struct program *p)
{
    if (p->pid == 0)
        return;
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

static struct program *program_new(struct harness *h, const char *name)
{
    struct program *p = mem_zalloc(sizeof(*p));
    struct program **end = &h->state->programs;

    while (*end != NULL)
        end = &(*end)->next;
    *end = p;
    p->name = mem_strdup(name);
    p->log_path = mem_printf("%s/test%u-%s.log", h->dir, h->state->test_number, name);
    return p;
}

bool programs_are_run_by_another(void)
{
    const char *runner = getenv("PROGRAM_RUNNER");

    return runner != NULL && *runner != '\0';
}

char **program_argv(struct harness *h, char **argv)
{
    const char *runner = getenv("PROGRAM_RUNNER");
    size_t count = 0, args = 0;
    char **all;

    if (!programs_are_run_by_another())
        return argv;
    while (argv[args] != NULL)
        args++;
    all = arena_alloc(h->arena, (args + strlen(runner) + 1) * sizeof *all);
    for (const char *at = runner + strspn(runner, " "); *at != '\0'; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");

        all[count++] = arena_strndup(h->arena, at, len);
        at += len;
    }
    memcpy(all + count, argv, (args + 1) * sizeof *all);
    return all;
}

/* The arguments that follow the first, after argv[0]. */
static void take_arguments(struct harness *h, char **argv, va_list ap)
{
    const char *arg;
    size_t n = 1;

    while ((arg = va_arg(ap, const char *)) != NULL && n + 1 < ARGS_MAX)
        argv[n++] = arena_strdup(h->arena, arg);
}

struct program *program_start(struct harness *h, const char *name, ...)
{
    const char *slash = strrchr(name, '/');
    struct program *p = program_new(h, slash != NULL ? slash + 1 : name);
    char *argv[ARGS_MAX] = {NULL};
    va_list ap;

    argv[0] = arena_strdup(h->arena, name);
    va_start(ap, name);
    take_arguments(h, argv, ap);
    va_end(ap);
    p->pid = spawn(p->log_path, argv);
    assert_true(p->pid > 0);
    return p;
}

const char *program_log(struct harness *h, const struct program *p)
{
    return file_text(h, p->log_path);
}

struct awaited {
    const struct program *program;
    const char *part;
};

static bool log_holds(struct harness *h, void *arg)
{
    const struct awaited *a = arg;

    return text_has(program_log(h, a->program), a->part);
}

void wait_log(struct harness *h, const struct program *p, const char *part)
{
    struct awaited a = {p, part};

    wait_until(h, log_holds, &a, arena_printf(h->arena, "the log says: %s", part));
}

const char *private_file(struct harness *h, const char *name, const char *text)
{
    const char *path = arena_printf(h->arena, "%s/%s", h->dir, name);
    FILE *f;

    (void)unlink(path);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

/* Runs argv to its end. */
static int run(const char *log_path, char *const argv[])
{
    pid_t pid = spawn(log_path, argv);
    int wait_status = 0;

    if (pid < 0 || waitpid(pid, &wait_status, 0) != pid)
        return -1;
    return status_of(wait_status);
}

int program_run(struct harness *h, const char **ret_output, const char *name, ...)
{
    char *argv[ARGS_MAX] = {NULL};
    char *log_path = arena_printf(h->arena, "%s/run-%s.out", h->dir, name);
    va_list ap;
    int status;

    argv[0] = arena_printf(h->arena, "%s/%s", TEST_BUILD_DIR, name);
    va_start(ap, name);
    take_arguments(h, argv, ap);
    va_end(ap);
    (void)unlink(log_path);
    status = run(log_path, program_argv(h, argv));
    if (ret_output != NULL)
        *ret_output = file_text(h, log_path);
    return status;
}

static int run_pg_sh(struct harness *h, const char *command, const char *arg)
{
    char *log_path = mem_printf("%s/pg.out", h->dir);
    char *script = mem_strdup(TEST_SOURCE_DIR "/tests/lib/pg.sh");
    char *what = mem_strdup(command);
    char *more = mem_strdup(arg);
    char *argv[] = {script, what, h->state->pg_dir, more, NULL};
    int status;

    (void)unlink(log_path);
    status = run(log_path, argv);
    if (status != 0)
        fprintf(stderr, "pg.sh %s failed:\n%s\n", command, file_text(h, log_path));
    mem_free(log_path);
    mem_free(script);
    mem_free(what);
    mem_free(more);
    return status;
}

void pg_stop(struct harness *h, const char *mode)
{
    assert_int_equal(run_pg_sh(h, "stop", mode), 0);
}

void pg_start(struct harness *h)
{
    assert_int_equal(run_pg_sh(h, "start", NULL), 0);
}

/* ---------------------------------------------------------------- ports */

/* A name in the abstract socket namespace is the lock: it vanishes with the process that holds it. */
static bool lock_port(struct harness_state *s, unsigned port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int len = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "atsyncd-test-port-%u", port);

    if (fd < 0 || s->lock_count == LOCKS_MAX)
        return false;
    if (bind(fd, (const struct sockaddr *)&name,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) != 0) {
        (void)close(fd);
        return false;
    }
    s->locks[s->lock_count++] = fd;
    return true;
}

static bool can_bind(unsigned port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    bool ok;

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
         bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

unsigned free_port(struct harness *h)
{
    unsigned start = (unsigned)getpid() * 37U;

    for (unsigned i = 0; i < PORT_COUNT; i++) {
        unsigned port = PORT_FIRST + (start + i) % PORT_COUNT;

        if (can_bind(port) && lock_port(h->state, port))
            return port;
    }
    fail_msg("no free port between %d and %d", PORT_FIRST, PORT_FIRST + PORT_COUNT - 1);
    return 0;
}

/* ---------------------------------------------------------------- HTTP */

static int connect_to(unsigned port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = DEADLINE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
        connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

int http_open(struct harness *h, unsigned port)
{
    (void)h;
    return connect_to(port);
}

void http_write(struct harness *h, int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    (void)h;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

        if (n <= 0)
            return; /* the peer may close while we write; what it said is read next */
        at += n;
        len -= (size_t)n;
    }
}

const char *http_header(struct harness *h, const struct http_answer *a, const char *name)
{
    size_t name_len = strlen(name);

    for (const char *line = a->head; line != NULL && *line != '\0'; line = strchr(line, '\n'), line += line != NULL) {
        const char *value;

        if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        value = line + name_len + 1 + strspn(line + name_len + 1, " \t");
        return arena_strndup(h->arena, value, strcspn(value, "\r\n"));
    }
    return NULL;
}

/* Reads until `wanted` bytes are there (or the peer ends). */
static void receive(int fd, struct buf *b, size_t wanted)
{
    char piece[16 * 1024];

    while (b->len < wanted) {
        size_t room = wanted - b->len;
        ssize_t n = recv(fd, piece, room < sizeof(piece) ? room : sizeof(piece), 0);

        if (n <= 0)
            return;
        buf_add(b, piece, (size_t)n);
    }
}

struct http_answer http_read(struct harness *h, int fd)
{
    struct http_answer a = {.status = 0, .head = "", .body = ""};
    const char *length, *end = NULL;
    int64_t body_len = 0, status = 0;
    struct buf b;
    size_t head_len;

    buf_init(&b, TEXT_MAX_BYTES);
    while (end == NULL) { /* byte by byte, so that a following answer stays in the socket */
        size_t before = b.len;

        receive(fd, &b, b.len + 1);
        if (b.len == before)
            goto done;
        if (b.len >= 4 && memcmp(b.data + b.len - 4, "\r\n\r\n", 4) == 0)
            end = b.data + b.len;
    }
    head_len = b.len;
    a.head = arena_strndup(h->arena, b.data, head_len);
    if (text_starts(a.head, "HTTP/1.1 ")) {
        char *digits = mem_strndup(a.head + 9, 3);

        if (!text_to_i64(digits, 100, 599, &status))
            status = 0;
        mem_free(digits);
    }
    a.status = (int)status;
    length = http_header(h, &a, "Content-Length");
    if (length != NULL && text_to_i64(length, 0, TEXT_MAX_BYTES / 2, &body_len)) {
        receive(fd, &b, head_len + (size_t)body_len);
        a.body_len = b.len - head_len;
        a.body = arena_strndup(h->arena, b.data + head_len, a.body_len);
    }
done:
    buf_free(&b);
    return a;
}

struct http_answer http_call(struct harness *h, unsigned port, const char *method, const char *path,
                             const char *headers, const char *body, size_t len)
{
    struct http_answer a = {.status = 0, .head = "", .body = ""};
    struct buf request;
    int fd = connect_to(port);

    if (fd < 0)
        return a;
    buf_init(&request, TEXT_MAX_BYTES);
    buf_printf(&request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n%s", method, path, port,
               headers != NULL ? headers : "");
    if (body != NULL)
        buf_printf(&request, "Content-Length: %zu\r\n", len);
    buf_puts(&request, "\r\n");
    if (body != NULL)
        buf_add(&request, body, len);
    http_write(h, fd, request.data, request.len);
    buf_free(&request);
    a = http_read(h, fd);
    (void)close(fd);
    return a;
}

/* ---------------------------------------------------------------- database */

static struct db *database(struct harness *h)
{
    if (h->state->db == NULL)
        h->state->db = db_new(h->conninfo, "harness");
    return h->state->db;
}

/* ST_OK and the text (NULL for none), or what failed. */
static int try_sql(struct harness *h, const char *query, const char **ret, struct errmsg *err)
{
    char *text = mem_printf("select (t.c)::text from (%s) as t(c)", query);
    struct sql_stmt stmt = {.name = "test query", .text = text, .planned_anew = true};
    struct db_result *result = NULL;
    int st = db_exec(database(h), &stmt, NULL, DB_MAYBE, &result, err);

    if (st == ST_OK)
        *ret = db_rows(result) == 1 ? arena_strdup(h->arena, db_text(result, 0, 0)) : NULL;
    db_result_free(result);
    mem_free(text);
    return st;
}

const char *sql_text(struct harness *h, const char *query)
{
    const char *text = NULL;
    struct errmsg err = {.text = ""};
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    int st;

    /* A connection that a test's own restart of the server broke is found out only by using it. */
    while ((st = try_sql(h, query, &text, &err)) == ST_UNAVAILABLE || st == ST_UNCERTAIN) {
        if (clock_mono_ms() >= until_ms)
            break;
        short_wait();
    }
    if (st != ST_OK)
        fail_msg("%s: %s", query, err.text);
    return text;
}

void sql_script(struct harness *h, const char *text)
{
    struct errmsg err = {.text = ""};

    if (db_script(database(h), "test script", text, &err) != ST_OK)
        fail_msg("%s: %s", text, err.text);
}

void wait_sql(struct harness *h, const char *query, const char *expected)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    const char *got = sql_text(h, query);

    while (!text_eq(got, expected)) {
        if (clock_mono_ms() >= until_ms)
            fail_msg("%s\n    is %s\n    and not %s within %d s", query, got != NULL ? got : "NULL",
                     expected != NULL ? expected : "NULL", DEADLINE_MS / 1000);
        short_wait();
        got = sql_text(h, query);
    }
}

/* ---------------------------------------------------------------- the ATS */

static bool sandbox_answers(struct harness *h, void *arg)
{
    struct program *p = arg;
    int status;

    if (has_ended(p, &status))
        fail_msg("sandbox-ats ended with status %d", status);
    return http_call(h, p->port, "GET", "/_sandbox/stats", NULL, NULL, 0).status == 200;
}

void ats_start(struct harness *h)
{
    struct program *p = h->sandbox;
    char *argv[] = {arena_printf(h->arena, "%s/sandbox-ats", TEST_BUILD_DIR),
                    arena_strdup(h->arena, "--token"),
                    arena_strdup(h->arena, E2E_TOKEN),
                    arena_strdup(h->arena, "--listen"),
                    arena_printf(h->arena, "127.0.0.1:%u", p->port),
                    arena_strdup(h->arena, "--log-max"),
                    arena_strdup(h->arena, "200000"),
                    NULL};

    p->pid = spawn(p->log_path, argv);
    wait_until(h, sandbox_answers, p, "sandbox-ats answers");
}

void ats_stop(struct harness *h)
{
    (void)kill(h->sandbox->pid, SIGTERM);
    assert_int_equal(program_wait(h, h->sandbox), 0);
}

const char *ats_get(struct harness *h, const char *path)
{
    struct http_answer a = http_call(h, h->sandbox->port, "GET", path, NULL, NULL, 0);

    if (a.status != 200)
        fail_msg("GET %s of the sandbox: status %d, %s", path, a.status, a.body);
    return a.body;
}

void ats_control(struct harness *h, const char *method, const char *path, const char *json)
{
    struct http_answer a = http_call(h, h->sandbox->port, method, path, NULL, json, json != NULL ? strlen(json) : 0);

    if (a.status / 100 != 2)
        fail_msg("%s %s of the sandbox: status %d, %s", method, path, a.status, a.body);
}

void ats_fault(struct harness *h, const char *json)
{
    ats_control(h, "POST", "/_sandbox/fault", json);
}

const char *ats_value(struct harness *h, const char *candidate, const char *path)
{
    size_t keep = h->state->tree_count;
    const char *url = arena_printf(h->arena, "/_sandbox/candidates/%s", candidate);
    struct http_answer a = http_call(h, h->sandbox->port, "GET", url, NULL, NULL, 0);
    const char *text;

    if (a.status != 200)
        return "null";
    text = json_in_arena(h, json_at(json_of(h, a.body), path));
    forget_trees(h, keep);
    return text;
}

void wait_ats(struct harness *h, const char *candidate, const char *path, const char *expected_json)
{
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    const char *got = ats_value(h, candidate, path);

    while (strcmp(got, expected_json) != 0) {
        if (clock_mono_ms() >= until_ms)
            fail_msg("%s of candidate %s in the ATS\n    is %s\n    and not %s within %d s", path, candidate, got,
                     expected_json, DEADLINE_MS / 1000);
        short_wait();
        got = ats_value(h, candidate, path);
    }
}

unsigned ats_calls(struct harness *h, const char *candidate, const char *method, const char *path_end)
{
    size_t keep = h->state->tree_count;
    const struct json *log = json_of(h, ats_get(h, arena_printf(h->arena, "/_sandbox/log?candidate=%s", candidate)));
    unsigned count = 0;

    for (const struct json *e = json_first(log); e != NULL; e = json_next(e)) {
        const char *path = json_get_str(e, "path");
        size_t len = path != NULL ? strlen(path) : 0;
        size_t end_len = path_end != NULL ? strlen(path_end) : 0;

        if ((method == NULL || text_eq(json_get_str(e, "method"), method)) && len >= end_len &&
            (path_end == NULL || strcmp(path + len - end_len, path_end) == 0))
            count++;
    }
    forget_trees(h, keep);
    return count;
}

struct calls_wanted {
    const char *candidate, *method, *path_end;
    unsigned at_least;
};

static bool calls_came(struct harness *h, void *arg)
{
    const struct calls_wanted *w = arg;

    return ats_calls(h, w->candidate, w->method, w->path_end) >= w->at_least;
}

void wait_ats_calls(struct harness *h, const char *candidate, const char *method, const char *path_end,
                    unsigned at_least)
{
    struct calls_wanted wanted = {candidate, method, path_end, at_least};
    const char *what =
        arena_printf(h->arena, "%u requests %s …%s about %s", at_least, method != NULL ? method : "of any method",
                     path_end != NULL ? path_end : "", candidate);

    wait_until(h, calls_came, &wanted, what);
}

int64_t ats_figure(struct harness *h, const char *name)
{
    int64_t n = -1;

    if (!json_get_i64(json_of(h, ats_get(h, "/_sandbox/stats")), name, &n))
        fail_msg("the sandbox has no figure \"%s\"", name);
    return n;
}

/* ---------------------------------------------------------------- the daemon */

static const char default_workflows[] =
    "cedar-rgn-screening:\n"
    "  connector: sandbox\n"
    "  job: \"" E2E_JOB "\"\n"
    "  on:\n"
    "    started:                   {stage: \"Contacted\"}\n"
    "    completed/PASSED_CRITERIA: {stage: \"Recruiter screen\", "
    "only_from: [\"Contacted\", none], tags: [popp-passed]}\n"
    "    completed/FAILED_CRITERIA: {reject: \"Did not meet criteria\"}\n"
    "    opted_out:                 {tags: [opted-out]}\n"
    "    contact_failed:            {tags: [unreachable]}\n"
    "    finished:                  {note: summary, fields: {popp_outcome: \"finished\"}}\n"
    "  fields:\n"
    "    nmc-pin:       nmc_pin_status\n"
    "    nmc-pin.score: nmc_pin_score\n"
    "    screen-1/dbs:  dbs_number\n"
    "    licence:       {field: has_licence, from: answerState, "
    "map: {IS_YES: \"Yes\", IS_NO: \"No\"}, clear: true}\n";

static void add_lines(struct buf *out, const char *indent, const char *lines, const char *fallback)
{
    const char *at = lines != NULL ? lines : fallback;

    while (*at != '\0') {
        size_t len = strcspn(at, "\n");

        buf_puts(out, indent);
        buf_add(out, at, len);
        buf_putc(out, '\n');
        at += len + (at[len] == '\n');
    }
}

void daemon_rewrite_conf(struct harness *h, struct program *d, const struct daemon_conf *conf)
{
    static const struct daemon_conf defaults = {.instance = NULL};
    struct buf out;

    if (conf == NULL)
        conf = &defaults;
    buf_init(&out, TEXT_MAX_BYTES);
    buf_printf(&out, "instance: %s\n", conf->instance != NULL ? conf->instance : "one");
    buf_printf(&out, "receiver:\n  listen: \"%s:%u\"\n", conf->listen != NULL ? conf->listen : "127.0.0.1", d->port);
    add_lines(&out, "  ", conf->receiver, "");
    buf_printf(&out, "admin:\n  listen: 127.0.0.1:%u\n", d->admin_port);
    add_lines(&out, "  ", conf->admin, "");
    buf_printf(&out, "database:\n  conninfo: \"%s\"\n", conf->conninfo != NULL ? conf->conninfo : h->conninfo);
    add_lines(&out, "  ", conf->database, "");
    buf_puts(&out, "delivery:\n");
    add_lines(&out, "  ", conf->delivery, "lease: 2s\npoll: 200ms\n");
    buf_puts(&out, "sources:\n  popp:\n");
    add_lines(&out, "    ", conf->source, "signing_secrets: [\"" E2E_SECRET "\", \"" E2E_SECRET_OLD "\"]\n");
    buf_printf(&out, "connectors:\n  sandbox:\n    type: %s\n", conf->type != NULL ? conf->type : "rest");
    add_lines(&out, "    ", conf->access, "credentials: {token: \"" E2E_TOKEN "\"}\n");
    if (conf->base_url != NULL)
        buf_printf(&out, "    base_url: \"%s\"\n", conf->base_url);
    else
        buf_printf(&out, "    base_url: \"http://127.0.0.1:%u\"\n", h->sandbox->port);
    add_lines(&out, "    ", conf->connector, E2E_CONNECTOR E2E_RETRY);
    buf_puts(&out, "workflows:\n");
    add_lines(&out, "  ", conf->workflows, default_workflows);
    add_lines(&out, "", conf->top, "");
    write_file(d->conf_path, buf_text(&out));
    buf_free(&out);
}

static void daemon_exec(struct harness *h, struct program *d)
{
    char *argv[] = {arena_printf(h->arena, "%s/atsyncd", TEST_BUILD_DIR), arena_strdup(h->arena, "-c"), d->conf_path,
                    NULL};

    d->pid = spawn(d->log_path, program_argv(h, argv));
    assert_true(d->pid > 0);
}

struct program *daemon_spawn(struct harness *h, const struct daemon_conf *conf)
{
    const char *instance = conf != NULL && conf->instance != NULL ? conf->instance : "one";
    char *name = mem_printf("atsyncd-%s", instance);
    struct program *d = program_new(h, name);

    mem_free(name);
    d->port = free_port(h);
    d->admin_port = free_port(h);
    d->conf_path = mem_printf("%s/test%u-%s.conf", h->dir, h->state->test_number, instance);
    daemon_rewrite_conf(h, d, conf);
    daemon_exec(h, d);
    return d;
}

static bool daemon_is_ready(struct harness *h, void *arg)
{
    struct program *d = arg;
    int status;

    if (has_ended(d, &status))
        fail_msg("%s ended with status %d before it was ready", d->name, status);
    return http_call(h, d->admin_port, "GET", "/readyz", NULL, NULL, 0).status == 200;
}

void daemon_wait_ready(struct harness *h, struct program *d)
{
    wait_until(h, daemon_is_ready, d, "GET /readyz answers 200");
}

struct program *daemon_start(struct harness *h, const struct daemon_conf *conf)
{
    const char *instance = conf != NULL && conf->instance != NULL ? conf->instance : "one";
    char *name = mem_printf("atsyncd-%s", instance);
    struct program *d = program_new(h, name);
    const char *output = NULL;

    mem_free(name);
    d->port = free_port(h);
    d->admin_port = free_port(h);
    d->conf_path = mem_printf("%s/test%u-%s.conf", h->dir, h->state->test_number, instance);
    daemon_rewrite_conf(h, d, conf);
    if (program_run(h, &output, "atsyncctl", "-c", d->conf_path, "migrate", NULL) != 0)
        fail_msg("atsyncctl migrate failed: %s", output);
    daemon_exec(h, d);
    daemon_wait_ready(h, d);
    return d;
}

void daemon_spawn_again(struct harness *h, struct program *d)
{
    assert_int_equal(d->pid, 0);
    daemon_exec(h, d);
}

void daemon_start_again(struct harness *h, struct program *d)
{
    daemon_spawn_again(h, d);
    daemon_wait_ready(h, d);
}

void daemon_stop(struct harness *h, struct program *d)
{
    int status;

    assert_true(d->pid > 0);
    (void)kill(d->pid, SIGTERM);
    status = program_wait(h, d);
    if (status != 0)
        fail_msg("%s ended with status %d after SIGTERM", d->name, status);
}

void daemon_kill(struct harness *h, struct program *d)
{
    (void)h;
    assert_true(d->pid > 0);
    program_kill(d);
}

/* ---------------------------------------------------------------- Popp */

const char POPP_ABSENT[] = "absent";

/* A copy in which every text that is a time is later by this much. */
static struct json *json_shifted(const struct json *j, int64_t shift_us)
{
    struct json *copy;
    int64_t us;

    switch (json_type(j)) {
    case JSON_OBJECT:
        copy = json_object();
        for (const struct json *m = json_first(j); m != NULL; m = json_next(m))
            json_set(copy, json_key(m), json_shifted(m, shift_us));
        return copy;
    case JSON_ARRAY:
        copy = json_array();
        for (const struct json *e = json_first(j); e != NULL; e = json_next(e))
            json_push(copy, json_shifted(e, shift_us));
        return copy;
    case JSON_STRING:
        if (time_parse_iso8601(json_str(j), &us))
            return json_string(time_iso8601(us + shift_us).s);
        return json_copy(j);
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
    case JSON_NUMBER:
        break;
    }
    return json_copy(j);
}

static void replace(struct json **tree, const char *path, struct json *value)
{
    struct json *changed = json_with(*tree, path, value);

    json_free(*tree);
    *tree = changed;
}

static void replace_if_there(struct json **tree, const char *path, const char *text)
{
    if (json_at(*tree, path) != NULL)
        replace(tree, path, json_string(text));
}

static void event_override(struct harness *h, struct json **tree, const char *path, const char *text)
{
    size_t len = strlen(path);

    if (text == POPP_ABSENT) {
        replace(tree, path, NULL);
    } else if (strcmp(path, "candidate") == 0) {
        replace_if_there(tree, "data.candidateProfileExternalId", text);
        replace_if_there(tree, "data.externalId", text);
        replace_if_there(tree, "data.candidateProfileId", arena_printf(h->arena, "cp_%s", text));
    } else if (strcmp(path, "run") == 0) {
        replace(tree, "data.recordId", json_string(text));
    } else if (strcmp(path, "shift") == 0) {
        struct json *shifted;
        int64_t seconds = 0;

        assert_true(text_to_i64(text, INT32_MIN, INT32_MAX, &seconds));
        shifted = json_shifted(*tree, seconds * 1000000);
        json_free(*tree);
        *tree = shifted;
    } else if (len > 1 && path[len - 1] == ':') {
        struct json *value = NULL;

        if (json_parse(text, strlen(text), &value, NULL) != ST_OK)
            fail_msg("not JSON: %s", text);
        replace(tree, arena_strndup(h->arena, path, len - 1), value);
    } else {
        replace(tree, path, json_string(text));
    }
}

const char *popp_event(struct harness *h, const char *sample, ...)
{
    const char *file = arena_printf(h->arena, "%s/tests/samples/%s.json", TEST_SOURCE_DIR, sample);
    const char *text = file_text(h, file);
    struct json *tree = NULL;
    const char *path;
    va_list ap;

    if (json_parse(text, strlen(text), &tree, NULL) != ST_OK)
        fail_msg("%s is not there, or not JSON", file);
    replace(&tree, "eventId",
            json_string(arena_printf(h->arena, "evt_%u_%u", h->state->test_number, ++h->state->event_number)));
    va_start(ap, sample);
    while ((path = va_arg(ap, const char *)) != NULL)
        event_override(h, &tree, path, va_arg(ap, const char *));
    va_end(ap);
    text = json_in_arena(h, tree);
    json_free(tree);
    return text;
}

char *popp_signature(const char *secret, const char *body, size_t len)
{
    const char *const secrets[] = {secret};
    struct signature_config config = {
        .scheme = SIGNATURE_BODY,
        .header = "x-signature",
        .encoding = SIGNATURE_HEX,
        .prefix = "",
        .secrets = secrets,
        .secret_count = 1,
    };
    struct signature_verifier *v = NULL;
    struct signature_headers headers;
    struct errmsg err;
    char *value;

    if (signature_verifier_new(&config, &v, &err) != ST_OK)
        fail_msg("%s", err.text);
    signature_sign(v, NULL, body, len, clock_wall_us(), &headers);
    value = mem_strdup(headers.header[0].value);
    signature_headers_free(&headers);
    signature_verifier_free(v);
    return value;
}

struct http_answer popp_post(struct harness *h, const struct program *d, const char *body)
{
    size_t len = strlen(body);
    char *signature = popp_signature(E2E_SECRET, body, len);
    const char *headers = arena_printf(h->arena, "Content-Type: application/json\r\nx-signature: %s\r\n", signature);

    mem_free(signature);
    return http_call(h, d->port, "POST", "/webhooks/popp", headers, body, len);
}

void popp_deliver(struct harness *h, const struct program *d, const char *body)
{
    struct http_answer a = popp_post(h, d, body);

    if (a.status != 200)
        fail_msg("the event was answered %d, not 200: %s", a.status, a.body);
}

/* ---------------------------------------------------------------- life */

static void show_log(struct harness *h, const struct program *p)
{
    const char *text = program_log(h, p);
    size_t len = strlen(text);

    fprintf(stderr, "---- log of %s\n%s%s", p->name, len > LOG_SHOWN_BYTES ? "…\n" : "",
            len > LOG_SHOWN_BYTES ? text + len - LOG_SHOWN_BYTES : text);
}

void harness_passed(struct harness *h)
{
    h->state->passed = true;
}

static void create_database(struct harness *h)
{
    struct db *db = db_new(h->state->admin_conninfo, "harness");
    struct errmsg err = {.text = ""};
    char *text = mem_printf("create database test%u", h->state->test_number);
    int st = db_script(db, "create database", text, &err);

    db_free(db);
    mem_free(text);
    if (st != ST_OK)
        fail_msg("%s", err.text);
}

int harness_setup(void **state)
{
    struct harness *h = *state;

    shift_clock(0);
    make_public_net(false);
    find_leftovers(NULL, NULL);
    h->state->test_number++;
    h->state->passed = false;
    mem_free(h->conninfo);
    h->conninfo = mem_printf("host=%s port=%s user=postgres dbname=test%u", h->state->pg_host, h->state->pg_port,
                             h->state->test_number);
    create_database(h);
    h->sandbox = program_new(h, "sandbox-ats");
    h->sandbox->port = free_port(h);
    ats_start(h);
    return 0;
}

int harness_teardown(void **state)
{
    struct harness *h = *state;
    struct harness_state *s = h->state;

    for (struct program *p = s->programs, *next; p != NULL; p = next) {
        next = p->next;
        program_kill(p);
        if (!s->passed)
            show_log(h, p);
        mem_free(p->name);
        mem_free(p->log_path);
        mem_free(p->conf_path);
        mem_free(p);
    }
    s->programs = NULL;
    h->sandbox = NULL;
    /* nor is PostgreSQL given what a test that failed had preloaded */
    shift_clock(0);
    make_public_net(false);
    find_leftovers(NULL, NULL);
    db_free(s->db);
    s->db = NULL;
    forget_trees(h, 0);
    arena_reset(h->arena);
    while (s->lock_count > 0)
        (void)close(s->locks[--s->lock_count]);
    /* A test may have failed while the cluster was stopped. */
    return run_pg_sh(h, "start", NULL) == 0 ? 0 : -1;
}

static void read_pg_env(struct harness *h)
{
    char *log_path = mem_printf("%s/pg.out", h->dir);
    const char *at = NULL;

    if (run_pg_sh(h, "env", NULL) == 0)
        at = file_text(h, log_path);
    for (; at != NULL && *at != '\0'; at = strchr(at, '\n'), at += at != NULL) {
        if (text_starts(at, "PGHOST="))
            h->state->pg_host = mem_strndup(at + 7, strcspn(at + 7, "\n"));
        else if (text_starts(at, "PGPORT="))
            h->state->pg_port = mem_strndup(at + 7, strcspn(at + 7, "\n"));
    }
    mem_free(log_path);
}

static void harness_free(struct harness *h)
{
    char *dir;

    if (h == NULL)
        return;
    dir = mem_strdup(h->dir);
    if (h->state->pg_dir != NULL)
        (void)run_pg_sh(h, "remove", NULL);
    if (dir != NULL) {
        char *argv[] = {(char[]){"rm"}, (char[]){"-rf"}, (char[]){"--"}, dir, NULL};

        (void)run("/dev/null", argv);
    }
    mem_free(dir);
    mem_free(h->dir);
    mem_free(h->conninfo);
    arena_free(h->arena);
    mem_free(h->state->trees);
    mem_free(h->state->pg_dir);
    mem_free(h->state->pg_host);
    mem_free(h->state->pg_port);
    mem_free(h->state->admin_conninfo);
    mem_free(h->state);
    mem_free(h);
}

static int group_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    struct harness *h = mem_zalloc(sizeof(*h));
    char *link;

    /* OpenSSL writes without MSG_NOSIGNAL: a peer that has closed shall fail the test, not end it */
    (void)signal(SIGPIPE, SIG_IGN);
    h->state = mem_zalloc(sizeof(*h->state));
    h->arena = arena_new();
    h->dir = mem_printf("%s/atsyncd-e2e.XXXXXX", tmp != NULL && *tmp != '\0' ? tmp : "/tmp");
    *state = h;
    /* 0711: the server's user must get through to its directory. */
    if (mkdtemp(h->dir) == NULL || chmod(h->dir, 0711) != 0) {
        fprintf(stderr, "cannot make %s: %s\n", h->dir, strerror(errno));
        return -1;
    }
    link = mem_printf("%s/connectors", h->dir);
    if (symlink(TEST_SOURCE_DIR "/conf/connectors", link) != 0)
        fprintf(stderr, "cannot link %s: %s\n", link, strerror(errno));
    mem_free(link);
    h->state->pg_dir = mem_printf("%s/pg", h->dir);
    (void)setenv("PG_FAST", "1", 1);
    (void)setenv("PG_OWNER", num_text(getpid()).s, 1);
    if (run_pg_sh(h, "start", NULL) != 0)
        return -1;
    read_pg_env(h);
    if (h->state->pg_host == NULL || h->state->pg_port == NULL)
        return -1;
    h->state->admin_conninfo =
        mem_printf("host=%s port=%s user=postgres dbname=atsync", h->state->pg_host, h->state->pg_port);
    return 0;
}

static int group_teardown(void **state)
{
    harness_free(*state);
    *state = NULL;
    return 0;
}

/* For developers: only tests of this name, * and ? allowed. One that is misspelled is not a test that passed. */
static bool filter(const struct CMUnitTest *tests, size_t count)
{
    const char *pattern = getenv("TEST_FILTER");
    bool any = pattern == NULL;

    for (size_t i = 0; i < count && !any; i++) {
        any = fnmatch(pattern, tests[i].name, 0) == 0;
    }
    cmocka_set_test_filter(pattern);
    return any;
}

int e2e_main_(const char *name, const struct CMUnitTest *tests, size_t count)
{
    if (!filter(tests, count)) {
        fprintf(stderr, "%s: no test is called %s (TEST_FILTER)\n", name, getenv("TEST_FILTER"));
        return 1;
    }
    return _cmocka_run_group_tests(name, tests, count, group_setup, group_teardown);
}
