/* import: events from files, through the door that webhooks come through. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/event_file.h"
#include "ctl/print.h"
#include "ctl/progress.h"
#include "service/app.h"
#include "service/incoming.h"
#include "store/erase.h"

enum {
    BATCH_EVENTS_MAX = 200,
    BATCH_BYTES_MAX = 8 * 1024 * 1024,
    NOTIFY_INTERVAL_MS = 250,
    LISTED_MAX = 1000, /* refused events that the JSON answer lists; all are counted */
    KIB = 1024,
};

struct import {
    const struct ctl *ctl;
    const char *command;
    const struct config *config;
    const struct source_config *source;
    struct store *store;
    struct progress progress;
    struct json *refused; /* with --json */
    int64_t stored, duplicates, erased, refusals;
    /* the file being read */
    const char *name;
    int fd;
    int64_t bytes_read; /* of all files */
    int read_errno;
    /* what is gathered for one commit */
    struct arena *arena;
    struct ingest_event events[BATCH_EVENTS_MAX];
    uint64_t lines[BATCH_EVENTS_MAX];
    size_t count, bytes;
    int64_t notify_at_ms;
    bool notify_wanted;
    int status; /* to end with; -1: go on */
    /* the value being looked at */
    struct arena *scratch;
    uint64_t line;
};

/* ---- what is told */

static void refuse(struct import *im, uint64_t line, const char *reason)
{
    struct json *j;

    im->refusals++;
    if (!im->ctl->json) {
        struct buf b;

        buf_init(&b, SIZE_MAX / 4);
        print_escaped(im->name, &b);
        buf_printf(&b, ":%" PRIu64 ": refused: ", line);
        print_escaped(reason, &b);
        progress_hide(&im->progress);
        fprintf(stderr, "%s\n", buf_text(&b));
        buf_free(&b);
    } else if (json_count(im->refused) < LISTED_MAX) {
        j = json_object();
        json_set_str(j, "file", im->name);
        json_set_int(j, "line", (int64_t)line);
        json_set_str(j, "reason", reason);
        json_push(im->refused, j);
    }
}

static void add_count(struct buf *b, const char *before, int64_t count, const char *one, const char *many)
{
    buf_printf(b, "%s%" PRId64 " %s", before, count, count == 1 ? one : many);
}

static void tell_end(struct import *im)
{
    struct buf b;
    struct json *j;

    if (im->ctl->json) {
        j = json_object();
        json_set_int(j, "stored", im->stored);
        json_set_int(j, "duplicates", im->duplicates);
        json_set_int(j, "erased", im->erased);
        json_set_int(j, "refused", im->refusals);
        json_set(j, "refusals", im->refused);
        im->refused = NULL;
        ctl_print_json(j);
        return;
    }
    buf_init(&b, SIZE_MAX / 4);
    add_count(&b, "", im->stored, "event stored", "events stored");
    add_count(&b, ", ", im->duplicates, "was there already", "were there already");
    if (im->erased > 0) {
        add_count(&b, ", ", im->erased, "of people who were erased", "of people who were erased");
    }
    add_count(&b, ", ", im->refusals, "refused", "refused");
    printf("%s.\n", buf_text(&b));
    buf_free(&b);
}

/* ---- storing */

static void wake_daemons(struct import *im, bool now)
{
    struct errmsg ignored;

    if (!im->notify_wanted || (!now && clock_mono_ms() < im->notify_at_ms)) {
        return;
    }
    im->notify_wanted = false;
    im->notify_at_ms = clock_mono_ms() + NOTIFY_INTERVAL_MS;
    if (store_notify(im->store, &ignored) != ST_OK && now) {
        fputs("The daemons could not be told; they will look by themselves.\n", stderr);
    }
}

static int store_and_tell(struct import *im, struct ingest_event *events, size_t count, struct errmsg *err)
{
    int st = store_ingest(im->store, events, count, err);

    return st == ST_OK ? store_erase_told(im->store, events, count, err) : st;
}

static bool is_about_the_event(int st)
{
    return st == ST_INVALID || st == ST_INTERNAL || st == ST_LIMIT || st == ST_CONFLICT;
}

static void count_stored(struct import *im, size_t i)
{
    const struct ingest_event *e = &im->events[i];

    if (e->held) {
        refuse(im, im->lines[i],
               "another database session holds the row of its candidate: import it again when that has ended");
        return;
    }
    im->stored += e->stored;
    im->erased += e->erased;
    im->duplicates += !e->stored && !e->erased;
    im->notify_wanted = im->notify_wanted || e->stored;
}

/* One event that the database cannot take must not fail its neighbours. */
static int store_singly(struct import *im, struct errmsg *err)
{
    for (size_t i = 0; i < im->count; i++) {
        int st = store_and_tell(im, &im->events[i], 1, err);

        if (is_about_the_event(st)) {
            refuse(im, im->lines[i], err->text);
        } else if (st != ST_OK) {
            return st;
        } else {
            count_stored(im, i);
        }
    }
    return ST_OK;
}

static void store_batch(struct import *im)
{
    struct errmsg err = {{0}};
    int st = store_and_tell(im, im->events, im->count, &err);

    if (st == ST_OK) {
        for (size_t i = 0; i < im->count; i++) {
            count_stored(im, i);
        }
    } else if (is_about_the_event(st)) {
        st = store_singly(im, &err);
    }
    if (st != ST_OK) {
        progress_end(&im->progress);
        im->status = ctl_fail(im->command, &err);
        fprintf(stderr,
                "%" PRId64 " events were stored before that. Import the same files again when it is mended: "
                "what is there already is recognised.\n",
                im->stored);
    }
    wake_daemons(im, false);
    im->count = 0;
    im->bytes = 0;
    arena_reset(im->arena);
    progress_at(&im->progress, im->bytes_read / KIB);
}

/* ---- reading */

static ssize_t read_file(void *ctx, char *into, size_t room)
{
    struct import *im = ctx;
    ssize_t n;

    do {
        n = read(im->fd, into, room);
    } while (n < 0 && errno == EINTR);
    im->read_errno = n < 0 ? errno : 0;
    im->bytes_read += n > 0 ? n : 0;
    return n;
}

static void take_event(void *ctx, const char *body, size_t len)
{
    struct import *im = ctx;
    struct ingest_event *incoming = &im->events[im->count];
    struct event e;
    struct errmsg err = {{0}};

    if (im->status >= 0) {
        return;
    }
    if (incoming_check(body, len, im->source, im->scratch, &e, &err) == ST_OK) {
        incoming_event(&e, im->source->name, &im->config->mapping, im->arena, incoming);
        incoming->body = arena_strndup(im->arena, body, len);
        incoming->body_len = len;
        im->lines[im->count++] = im->line;
        im->bytes += len;
    } else {
        refuse(im, im->line, err.text);
    }
    if (im->count == BATCH_EVENTS_MAX) {
        store_batch(im);
    }
}

static void take_value(struct import *im, const struct event_file_value *v)
{
    im->line = v->line;
    if (v->problem) {
        refuse(im, v->line, v->problem);
        return;
    }
    if (event_file_unwrap(v->text, v->len, im->scratch, take_event, im) == 0) {
        refuse(im, v->line,
               "neither an event (an object with the members event and data) nor something that holds one "
               "in a member such as payload or body");
    }
    arena_reset(im->scratch);
    if (im->bytes > BATCH_BYTES_MAX && im->status < 0) {
        store_batch(im);
    }
}

static void import_file(struct import *im)
{
    struct event_file *f = event_file_new(read_file, im, (size_t)im->config->receiver.max_body_bytes);
    enum event_file_result result = EVENT_FILE_VALUE;

    while (im->status < 0 && result == EVENT_FILE_VALUE) {
        struct event_file_value v;

        result = event_file_next(f, &v);
        if (result == EVENT_FILE_VALUE) {
            take_value(im, &v);
        }
    }
    event_file_free(f);
    if (im->count > 0 && im->status < 0) {
        store_batch(im); /* before the next file: refusals of the database are told with the name of this one */
    }
    if (result == EVENT_FILE_FAILED && im->status < 0) {
        progress_end(&im->progress);
        fprintf(stderr, "%s: cannot read %s: %s\n", im->command, im->name, strerror(im->read_errno));
        im->status = EXIT_RUNTIME;
    }
}

/* ---- the command */

/* All of them before the first event is stored: a misspelt name should not be found out halfway. */
static int open_files(const char *command, char **names, size_t count, int *fds, int64_t *ret_bytes)
{
    *ret_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct stat st;

        fds[i] = text_eq(names[i], "-") ? STDIN_FILENO : open(names[i], O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0 || fstat(fds[i], &st) != 0) {
            fprintf(stderr, "%s: cannot open %s: %s\n", command, names[i], strerror(errno));
            return EXIT_RUNTIME;
        }
        if (S_ISDIR(st.st_mode)) {
            fprintf(stderr, "%s: %s is a directory: name the files in it\n", command, names[i]);
            return EXIT_RUNTIME;
        }
        *ret_bytes = S_ISREG(st.st_mode) && *ret_bytes >= 0 ? *ret_bytes + st.st_size : -1;
    }
    return CTL_GO_ON;
}

static int read_arguments(int argc, char **argv, const char **ret_source)
{
    static const struct option options[] = {{"source", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 's') {
            return ctl_usage(argv[0], "that option is not known");
        }
        *ret_source = optarg;
    }
    return optind < argc ? CTL_GO_ON : ctl_usage(argv[0], "which file? FILE is missing; - is standard input");
}

static int import_all(struct import *im, char **names, const int *fds, size_t count, int64_t bytes)
{
    im->arena = arena_new();
    im->scratch = arena_new();
    im->refused = json_array();
    progress_begin(&im->progress, "importing KiB", bytes < 0 ? -1 : bytes / KIB);
    for (size_t i = 0; i < count && im->status < 0; i++) {
        im->name = text_eq(names[i], "-") ? "standard input" : names[i];
        im->fd = fds[i];
        import_file(im);
    }
    progress_end(&im->progress);
    wake_daemons(im, true);
    if (im->status < 0) {
        tell_end(im);
        im->status = im->refusals > 0 ? EXIT_RUNTIME : EXIT_CLEAN;
    }
    json_free(im->refused);
    arena_free(im->arena);
    arena_free(im->scratch);
    return im->status;
}

int ctl_import(const struct ctl *ctl, int argc, char **argv)
{
    struct import *im = mem_zalloc(sizeof *im);
    struct config *config = NULL;
    const char *source = NULL;
    size_t count = 0;
    int *fds = NULL;
    int64_t bytes = 0;
    struct errmsg err = {{0}};
    int status = read_arguments(argc, argv, &source);

    im->ctl = ctl;
    im->command = argv[0];
    im->status = -1;
    if (status == CTL_GO_ON) {
        count = (size_t)(argc - optind);
        fds = mem_array(count, sizeof *fds);
        memset(fds, -1, count * sizeof *fds);
        status = open_files(argv[0], argv + optind, count, fds, &bytes);
    }
    if (status == CTL_GO_ON && ctl_open(ctl, argv[0], &config, &im->store, &status)) {
        im->config = config;
        status = ctl_find_source(config, source, &im->source, &err) == ST_OK
                     ? import_all(im, argv + optind, fds, count, bytes)
                     : ctl_usage(argv[0], "%s", err.text);
    }
    for (size_t i = 0; i < count; i++) {
        if (fds[i] > STDERR_FILENO) {
            (void)close(fds[i]);
        }
    }
    mem_free(fds);
    store_free(im->store);
    config_unref(config);
    mem_free(im);
    return status;
}
