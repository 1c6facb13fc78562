/* erase: everything that is stored of a person. */
#include "store/erase.h"

#include <getopt.h>
#include <inttypes.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/progress.h"
#include "domain/event.h"
#include "service/app.h"

struct request {
    char kind; /* of the name; '\0': none given */
    const char *id;
    const char *source; /* NULL: all that know this name */
    unsigned names;     /* how many were given */
    bool yes;
};

/* A person of one source, as found, and as erased. */
struct found {
    struct erase_person person;
    struct erasure erasure;
};

struct erase_run {
    const struct ctl *ctl;
    const char *command;
    struct store *store;
    struct arena *arena;
    struct found *found;
    size_t count;
};

static int read_request(int argc, char **argv, struct request *q)
{
    static const struct option options[] = {
        {"candidate", required_argument, NULL, 'x'},
        {"profile", required_argument, NULL, 'p'},
        {"run", required_argument, NULL, 'r'},
        {"contact", required_argument, NULL, 'c'},
        {"source", required_argument, NULL, 's'},
        {"yes", no_argument, NULL, 'y'},
        {NULL, 0, NULL, 0},
    };
    int option;

    *q = (struct request){.kind = '\0'};
    while ((option = ctl_next_option(argc, argv, "y", options)) != -1) {
        switch (option) {
        case 'x':
        case 'p':
        case 'r':
        case 'c':
            q->kind = (char)option;
            q->id = optarg;
            q->names++;
            break;
        case 's':
            q->source = optarg;
            break;
        case 'y':
            q->yes = true;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]);
    }
    if (q->names != 1 || *q->id == '\0') {
        return ctl_usage(argv[0], "say who it is with --candidate X, or where no external id is known with one of "
                                  "--profile ID, --run ID, --contact ID");
    }
    if (!text_is_utf8(q->id, strlen(q->id)) || (q->source && !text_is_utf8(q->source, strlen(q->source)))) {
        return ctl_usage(argv[0], "that is not UTF-8");
    }
    return CTL_GO_ON;
}

static void show_progress(void *ctx, int64_t events)
{
    progress_at(ctx, events);
}

static const char *shown_name(const struct erase_person *p)
{
    return p->external_id ? p->external_id : p->ref;
}

/* ---- looking */

static int look_at_source(struct erase_run *run, const struct request *q, const char *source, struct progress *progress,
                          struct errmsg *err)
{
    struct found *f = &run->found[run->count];
    int st = store_erase_whose(run->store, source, subject_key(q->kind, q->id, run->arena),
                               q->kind == 'x' ? q->id : NULL, run->arena, &f->person, err);

    if (st == ST_OK) {
        st = store_erase(run->store, &f->person, true, show_progress, progress, run->arena, &f->erasure, err);
    }
    run->count += st == ST_OK && (f->erasure.total > 0 || f->erasure.erased_us != INT64_MIN);
    return st;
}

static int look(struct erase_run *run, const struct request *q, struct errmsg *err)
{
    const char *const *sources = &q->source;
    size_t count = 1;
    struct progress progress;
    int st = q->source ? ST_OK : store_erase_sources(run->store, run->arena, &sources, &count, err);

    if (st != ST_OK) {
        return st;
    }
    run->found = arena_alloc(run->arena, (count + 1) * sizeof *run->found);
    progress_begin(&progress, "looking through events", -1);
    for (size_t i = 0; i < count && st == ST_OK; i++) {
        st = look_at_source(run, q, sources[i], &progress, err);
    }
    progress_end(&progress);
    return st;
}

static int64_t total_of(const struct erase_run *run)
{
    int64_t total = 0;

    for (size_t i = 0; i < run->count; i++) {
        total += run->found[i].erasure.total;
    }
    return total;
}

/* ---- words */

/* "7 events, 1 run, 9 writes" */
static void add_rows(const struct erasure *e, struct buf *b)
{
    static const char *const words[ERASE_TABLES][2] = {
        {"event", "events"},
        {"run with its answers", "runs with their answers"},
        {"write", "writes"},
        {"call", "calls"},
        {"contact", "contacts"},
        {"other name", "other names"},
        {"place in the queue", "places in the queue"},
        {"issue", "issues"},
    };
    const char *before = "";

    for (int i = 0; i < ERASE_TABLES; i++) {
        if (e->rows[i] > 0) {
            buf_printf(b, "%s%" PRId64 " %s", before, e->rows[i], words[i][e->rows[i] != 1]);
            before = ", ";
        }
    }
}

static void add_person(const struct found *f, struct buf *b)
{
    print_escaped(shown_name(&f->person), b);
    buf_puts(b, " of source ");
    print_escaped(f->person.source, b);
}

/* "This will erase ats_42 of source popp: 7 events, 1 run. …" */
static void describe(const struct erase_run *run, struct buf *b)
{
    const char *before = "This will erase ";

    for (size_t i = 0; i < run->count; i++) {
        if (run->found[i].erasure.total > 0) {
            buf_puts(b, before);
            add_person(&run->found[i], b);
            buf_puts(b, ": ");
            add_rows(&run->found[i].erasure, b);
            before = "; and ";
        }
    }
    buf_puts(b, ". What comes of this person later is not kept. It cannot be undone, and it does not reach the ATS, "
                "the log or backups.");
}

/* What is left alone, and what may still happen. */
static void warn(const struct found *f)
{
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    for (size_t i = 0; i < f->erasure.shared_count; i++) {
        buf_puts(&b, "Left alone, because another candidate claims it too: ");
        print_escaped(f->erasure.shared[i], &b);
        buf_putc(&b, '\n');
    }
    if (f->erasure.worker) {
        buf_puts(&b, "A daemon (");
        print_escaped(f->erasure.worker, &b);
        buf_printf(&b,
                   ") works on this candidate now: for %" PRId64 " seconds at most it may still write to the ATS.\n",
                   f->erasure.worker_s);
    }
    fputs(buf_text(&b), stderr);
    buf_free(&b);
}

static struct json *json_of(const struct found *f, bool erased)
{
    struct json *j = json_object();
    struct json *rows = json_object();
    struct json *shared = json_array();

    json_set_str(j, "source", f->person.source);
    json_set_str(j, "candidate", f->person.external_id);
    json_set_str(j, "ref", f->person.ref);
    json_set_bool(j, "erased", erased);
    for (int i = 0; i < ERASE_TABLES; i++) {
        json_set_int(rows, erase_table_name((enum erase_table)i), f->erasure.rows[i]);
    }
    json_set(j, "rows", rows);
    json_set_int(j, "total", f->erasure.total);
    json_set_int(j, "names", (int64_t)f->erasure.name_count);
    for (size_t i = 0; i < f->erasure.shared_count; i++) {
        json_push(shared, json_string(f->erasure.shared[i]));
    }
    json_set(j, "left_alone", shared);
    json_set_str(j, "in_work_at", f->erasure.worker);
    json_set_int(j, "in_work_seconds", f->erasure.worker_s);
    json_set_str(j, "erased_before", f->erasure.erased_us != INT64_MIN ? time_iso8601(f->erasure.erased_us).s : NULL);
    return j;
}

static void tell_person(const struct found *f)
{
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    add_person(f, &b);
    if (f->erasure.total > 0) {
        buf_puts(&b, " is erased: ");
        add_rows(&f->erasure, &b);
        buf_putc(&b, '.');
    } else {
        buf_printf(&b, ": nothing is stored. It was erased at %s, and what comes of this person is not kept.",
                   time_iso8601(f->erasure.erased_us).s);
    }
    puts(buf_text(&b));
    buf_free(&b);
}

static void tell(const struct erase_run *run)
{
    struct json *list;

    if (run->ctl->json) {
        list = json_array();
        for (size_t i = 0; i < run->count; i++) {
            json_push(list, json_of(&run->found[i], run->found[i].erasure.total > 0));
        }
        ctl_print_json(list);
        return;
    }
    for (size_t i = 0; i < run->count; i++) {
        tell_person(&run->found[i]);
    }
    if (total_of(run) > 0) {
        puts("Left to do: erase the person in the ATS and in Popp; the log and backups keep what they have until they "
             "expire.");
    }
}

/* ---- doing */

static int erase_all(struct erase_run *run, struct errmsg *err)
{
    struct progress progress;
    int st = ST_OK;

    progress_begin(&progress, "looking through events", -1);
    for (size_t i = 0; i < run->count && st == ST_OK; i++) {
        struct found *f = &run->found[i];

        if (f->erasure.total > 0) {
            st = store_erase(run->store, &f->person, false, show_progress, &progress, run->arena, &f->erasure, err);
        }
    }
    progress_end(&progress);
    return st;
}

static int ask_and_erase(struct erase_run *run, const struct request *q)
{
    struct errmsg err = {{0}};
    struct buf question;
    int status;

    if (look(run, q, &err) != ST_OK) {
        return ctl_fail(run->command, &err);
    }
    if (run->count == 0) {
        err_set(&err, ST_NOT_FOUND,
                "nothing is stored of \"%s\", and nobody of this name was erased: --candidate takes the external id "
                "that the events carry",
                q->id);
        return ctl_fail(run->command, &err);
    }
    if (total_of(run) == 0) {
        tell(run);
        return EXIT_CLEAN;
    }
    for (size_t i = 0; i < run->count; i++) {
        warn(&run->found[i]);
    }
    buf_init(&question, SIZE_MAX / 4);
    describe(run, &question);
    status = ctl_confirm(run->command, q->yes, buf_text(&question));
    buf_free(&question);
    if (status != CTL_GO_ON) {
        return status;
    }
    if (erase_all(run, &err) != ST_OK) {
        return ctl_fail(run->command, &err);
    }
    tell(run);
    if (store_erase_statistics(run->store, &err) != ST_OK) {
        fprintf(stderr,
                "The planner's statistics could not be made anew (%s): some values may stay in them until "
                "autovacuum does.\n",
                err.text);
    }
    return EXIT_CLEAN;
}

int ctl_erase(const struct ctl *ctl, int argc, char **argv)
{
    struct erase_run run = {.ctl = ctl, .command = argv[0]};
    struct config *config = NULL;
    struct request q;
    int status = read_request(argc, argv, &q);

    if (status != CTL_GO_ON || !ctl_open(ctl, argv[0], &config, &run.store, &status)) {
        return status;
    }
    run.arena = arena_new();
    status = ask_and_erase(&run, &q);
    arena_free(run.arena);
    store_free(run.store);
    config_unref(config);
    return status;
}
