/* What an operator changes: link, resync, retry, skip, pause, resume. */
#include <getopt.h>
#include <inttypes.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/progress.h"
#include "domain/event.h"
#include "service/app.h"
#include "store/operate.h"

enum { NAMED_FITS_MAX = 4 }; /* in a question */

/* Daemons look by themselves within their poll interval; this makes it at once. Not worth an error. */
static void wake_daemons(struct store *s)
{
    struct errmsg ignored;

    if (store_notify(s, &ignored) != ST_OK) {
        fputs("The daemons could not be told; they will look by themselves.\n", stderr);
    }
}

/* ---- resync, retry, skip */

struct selection {
    struct filter filter;
    const char *since;
    bool yes;
};

static int read_selection(int argc, char **argv, struct selection *s)
{
    static const struct option options[] = {
        {"candidate", required_argument, NULL, 'x'},
        {"connector", required_argument, NULL, 'n'},
        {"workflow", required_argument, NULL, 'w'},
        {"class", required_argument, NULL, 'l'},
        {"since", required_argument, NULL, 's'},
        {"yes", no_argument, NULL, 'y'},
        {NULL, 0, NULL, 0},
    };
    int option;

    *s = (struct selection){.filter.since_us = INT64_MIN};
    while ((option = ctl_next_option(argc, argv, "y", options)) != -1) {
        switch (option) {
        case 'x':
            s->filter.candidate = optarg;
            break;
        case 'n':
            s->filter.connector = optarg;
            break;
        case 'w':
            s->filter.workflow = optarg;
            break;
        case 'l':
            s->filter.error_class = optarg;
            break;
        case 's':
            s->since = optarg;
            break;
        case 'y':
            s->yes = true;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    return optind < argc ? ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]) : CTL_GO_ON;
}

struct mass_action {
    const char *verb;  /* "try again": of the question */
    const char *doing; /* of the progress line */
    const char *done;  /* behind the number and what it counts */
    const char *none;
    bool of_writes; /* it counts dead writes, otherwise candidates */
    int (*count)(struct store *s, const struct filter *f, struct arena *arena, struct fits *ret, struct errmsg *err);
    int (*page)(struct store *s, const struct filter *f, struct pages *p, struct errmsg *err);
};

static void add_counted(struct buf *b, int64_t count, const char *one)
{
    buf_printf(b, "%" PRId64 " %s%s", count, one, count == 1 ? "" : "s");
}

/* "This will try again 12 dead writes of 10 candidates: 10 at greenhouse (not_found), 2 at lever (invalid)." */
static void describe(const struct mass_action *a, const struct fits *fits, struct buf *b)
{
    int64_t others = a->of_writes ? fits->total.writes : fits->total.candidates;
    const char *before = ": ";

    buf_printf(b, "This will %s ", a->verb);
    if (a->of_writes) {
        add_counted(b, fits->total.writes, "dead write");
        buf_puts(b, " of ");
    }
    add_counted(b, fits->total.candidates, "candidate");
    for (size_t i = 0; i < fits->count && i < NAMED_FITS_MAX; i++) {
        const struct fit *fit = &fits->items[i];
        int64_t count = a->of_writes ? fit->writes : fit->candidates;

        buf_printf(b, "%s%" PRId64 "%s", before, count, *fit->connector == '\0' ? " without a connector yet" : " at ");
        print_escaped(fit->connector, b);
        if (fit->error_class) {
            buf_puts(b, " (");
            print_escaped(fit->error_class, b);
            buf_putc(b, ')');
        }
        others -= count;
        before = ", ";
    }
    if (fits->count > NAMED_FITS_MAX && others > 0) {
        buf_printf(b, "%s%" PRId64 " others", before, others);
    }
    buf_putc(b, '.');
}

static int work_through(struct store *store, const struct mass_action *a, const struct filter *f, int64_t total,
                        int64_t *ret_done, struct errmsg *err)
{
    struct progress progress;
    struct pages pages = {.done = 0};
    int st = ST_OK;

    progress_begin(&progress, a->doing, total);
    /* a write that dies again without being tried would be met for ever: so many were counted, and no more are done */
    while (st == ST_OK && !pages.over && !(a->of_writes && pages.done >= total)) {
        st = a->page(store, f, &pages, err);
        progress_at(&progress, pages.done);
    }
    progress_end(&progress);
    *ret_done = pages.done;
    pages_clear(&pages);
    return st;
}

static void tell_done(const struct ctl *ctl, const struct mass_action *a, int64_t count)
{
    struct buf b;

    if (ctl->json) {
        struct json *j = json_object();

        json_set_int(j, a->of_writes ? "writes" : "candidates", count);
        ctl_print_json(j);
    } else if (count == 0) {
        puts(a->none);
    } else {
        buf_init(&b, SIZE_MAX / 4);
        add_counted(&b, count, a->of_writes ? "dead write" : "candidate");
        printf("%s%s", buf_text(&b), a->done);
        buf_free(&b);
    }
}

static int act_and_tell(const struct ctl *ctl, const char *command, struct store *store, const struct mass_action *a,
                        const struct selection *s)
{
    struct arena *arena = arena_new();
    struct fits fits = {.count = 0};
    struct errmsg err = {{0}};
    struct buf question;
    int64_t total, done = 0;
    int status;

    buf_init(&question, SIZE_MAX / 4);
    if (a->count(store, &s->filter, arena, &fits, &err) != ST_OK) {
        status = ctl_fail(command, &err);
        goto out;
    }
    total = a->of_writes ? fits.total.writes : fits.total.candidates;
    if (total > 0) {
        describe(a, &fits, &question);
        status = ctl_confirm(command, s->yes, buf_text(&question));
        if (status != CTL_GO_ON) {
            goto out;
        }
        if (work_through(store, a, &s->filter, total, &done, &err) != ST_OK) {
            if (done > 0) {
                err_prefix(&err, ST_IO, "after %" PRId64 " of %" PRId64 ", the same command does the rest", done,
                           total);
            }
            status = ctl_fail(command, &err);
            goto out;
        }
        wake_daemons(store);
    }
    /* a candidate of several connectors is worked on for each of them, and is one */
    tell_done(ctl, a, a->of_writes ? done : total);
    status = EXIT_CLEAN;
out:
    buf_free(&question);
    arena_free(arena);
    return status;
}

/* Not in the configuration, but there was one of this name. */
static int was_there(struct store *store, const char *connector, bool *ret, struct errmsg *err)
{
    struct arena *arena = arena_new();
    struct connector_status_row *rows = NULL;
    size_t count = 0;
    int st = store_connector_states(store, arena, &rows, &count, err);

    *ret = false;
    for (size_t i = 0; st == ST_OK && i < count; i++) {
        *ret = *ret || strcmp(rows[i].connector, connector) == 0;
    }
    arena_free(arena);
    return st;
}

/* gone: what is done instead where the connector is not in the configuration any more; NULL: nothing. */
static int run_mass_action(const struct ctl *ctl, int argc, char **argv, const struct mass_action *a,
                           const struct mass_action *gone)
{
    bool is_gone = false;
    struct selection s;
    struct config *config = NULL;
    struct store *store = NULL;
    struct errmsg err = {{0}};
    int status = read_selection(argc, argv, &s);

    if (status != CTL_GO_ON || !ctl_open(ctl, argv[0], &config, &store, &status)) {
        return status;
    }
    if (s.filter.connector && !config_connector(config, s.filter.connector) && gone &&
        was_there(store, s.filter.connector, &is_gone, &err) != ST_OK) {
        status = ctl_fail(argv[0], &err);
    } else if (s.filter.connector && !config_connector(config, s.filter.connector) && !is_gone) {
        status = ctl_unknown_connector(argv[0], config, s.filter.connector);
    } else if (s.since && ctl_since(store, s.since, &s.filter.since_us, &err) != ST_OK) {
        status = ctl_usage(argv[0], "%s", err.text);
    } else {
        status = act_and_tell(ctl, argv[0], store, is_gone ? gone : a, &s);
    }
    store_free(store);
    config_unref(config);
    return status;
}

int ctl_resync(const struct ctl *ctl, int argc, char **argv)
{
    static const struct mass_action action = {
        .verb = "compute everything again for",
        .doing = "resyncing",
        .done = " will be looked at again. What the ATS holds already is not written again.\n",
        .none = "No candidate fits: nothing to do.",
        .count = store_count_resync,
        .page = store_resync,
    };
    static const struct mass_action gone = {
        .verb = "give up what was not written at a connector that the configuration does not have any more, and look "
                "elsewhere for",
        .doing = "handing over",
        .done = " will be looked at where the workflows lead now.\n",
        .none = "No candidate fits: nothing to do.",
        .count = store_count_resync,
        .page = store_resync_gone,
    };

    return run_mass_action(ctl, argc, argv, &action, &gone);
}

int ctl_retry(const struct ctl *ctl, int argc, char **argv)
{
    static const struct mass_action action = {
        .verb = "try again",
        .doing = "reviving",
        .done = " will be tried again: see atsyncctl status, atsyncctl tail.\n",
        .none = "No dead write fits: nothing to do.",
        .of_writes = true,
        .count = store_count_dead,
        .page = store_retry_dead,
    };

    return run_mass_action(ctl, argc, argv, &action, NULL);
}

int ctl_skip(const struct ctl *ctl, int argc, char **argv)
{
    static const struct mass_action action = {
        .verb = "give up on",
        .doing = "giving up",
        .done = " given up: not tried again unless a newer event wants something else.\n",
        .none = "No dead write fits: nothing to do.",
        .of_writes = true,
        .count = store_count_dead,
        .page = store_skip_dead,
    };

    return run_mass_action(ctl, argc, argv, &action, NULL);
}

/* ---- link */

struct link {
    char kind; /* of the alias; '\0': none given */
    const char *id;
    const char *external_id;
    const char *source;
    unsigned aliases; /* how many were given */
};

static int read_link(int argc, char **argv, struct link *l)
{
    static const struct option options[] = {
        {"profile", required_argument, NULL, 'p'}, {"run", required_argument, NULL, 'r'},
        {"contact", required_argument, NULL, 'c'}, {"external-id", required_argument, NULL, 'x'},
        {"source", required_argument, NULL, 's'},  {NULL, 0, NULL, 0},
    };
    int option;

    *l = (struct link){.kind = '\0'};
    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        switch (option) {
        case 'p':
        case 'r':
        case 'c':
            l->kind = (char)option;
            l->id = optarg;
            l->aliases++;
            break;
        case 'x':
            l->external_id = optarg;
            break;
        case 's':
            l->source = optarg;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]);
    }
    if (l->aliases != 1 || *l->id == '\0') {
        return ctl_usage(argv[0], "say who it is with one of --profile ID, --run ID, --contact ID");
    }
    if (!l->external_id || *l->external_id == '\0') {
        return ctl_usage(argv[0], "say which record of the ATS it is with --external-id X");
    }
    if (!text_is_utf8(l->external_id, strlen(l->external_id))) {
        return ctl_usage(argv[0], "the external id is not UTF-8");
    }
    return CTL_GO_ON;
}

static void tell_link(const struct ctl *ctl, const char *source, const char *alias, const char *external_id,
                      int64_t waited)
{
    struct buf b;

    if (ctl->json) {
        struct json *j = json_object();

        json_set_str(j, "source", source);
        json_set_str(j, "alias", alias);
        json_set_str(j, "external_id", external_id);
        json_set_int(j, "waited", waited);
        ctl_print_json(j);
        return;
    }
    buf_init(&b, SIZE_MAX / 4);
    print_escaped(alias, &b);
    buf_puts(&b, " is ");
    print_escaped(external_id, &b);
    buf_puts(&b, waited > 0 ? ": what waited for that is synced now."
                            : ": nothing waits for it yet, its next event will use it.");
    puts(buf_text(&b));
    buf_free(&b);
}

int ctl_link(const struct ctl *ctl, int argc, char **argv)
{
    struct link l;
    struct config *config = NULL;
    struct store *store = NULL;
    const struct source_config *source = NULL;
    struct arena *arena;
    const char *alias;
    struct errmsg err = {{0}};
    int64_t waited = 0;
    int status = read_link(argc, argv, &l);

    if (status != CTL_GO_ON || !ctl_open(ctl, argv[0], &config, &store, &status)) {
        return status;
    }
    arena = arena_new();
    alias = subject_key(l.kind, l.id, arena);
    if (ctl_find_source(config, l.source, &source, &err) != ST_OK) {
        status = ctl_usage(argv[0], "%s", err.text);
    } else if (store_link(store, source->name, alias, l.external_id, &waited, &err) != ST_OK) {
        status = ctl_fail(argv[0], &err);
    } else {
        wake_daemons(store);
        tell_link(ctl, source->name, alias, l.external_id, waited);
        status = EXIT_CLEAN;
    }
    arena_free(arena);
    store_free(store);
    config_unref(config);
    return status;
}

/* ---- pause, resume */

static int read_connector(int argc, char **argv, bool with_reason, const char **ret_name, const char **ret_reason)
{
    static const struct option with[] = {{"reason", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0}};
    static const struct option without[] = {{NULL, 0, NULL, 0}};
    int option;

    while ((option = ctl_next_option(argc, argv, "", with_reason ? with : without)) != -1) {
        if (option != 'r') {
            return EXIT_USAGE;
        }
        *ret_reason = optarg;
    }
    if (argc - optind != 1) {
        return ctl_usage(argv[0], argc == optind ? "which connector? CONNECTOR is missing" : "one CONNECTOR at a time");
    }
    *ret_name = argv[optind];
    return CTL_GO_ON;
}

static void tell_connector(const struct ctl *ctl, const char *name, const char *state, bool changed, const char *words)
{
    struct json *j;

    if (!ctl->json) {
        printf("%s: %s\n", name, words);
        return;
    }
    j = json_object();
    json_set_str(j, "connector", name);
    json_set_str(j, "state", state);
    json_set_bool(j, "changed", changed);
    ctl_print_json(j);
}

int ctl_pause(const struct ctl *ctl, int argc, char **argv)
{
    struct config *config = NULL;
    struct store *store = NULL;
    const char *name = NULL;
    const char *reason = "paused by an operator";
    struct errmsg err = {{0}};
    int status = read_connector(argc, argv, true, &name, &reason);

    if (status != CTL_GO_ON || !ctl_open(ctl, argv[0], &config, &store, &status)) {
        return status;
    }
    if (!config_connector(config, name)) {
        status = ctl_unknown_connector(argv[0], config, name);
    } else if (!text_is_utf8(reason, strlen(reason))) {
        status = ctl_usage(argv[0], "the reason is not UTF-8");
    } else if (store_connector_hold(store, name, reason, &err) != ST_OK) {
        status = ctl_fail(argv[0], &err);
    } else {
        tell_connector(ctl, name, "paused", true,
                       "paused within a second; events are still received and kept. To go on: atsyncctl resume");
        status = EXIT_CLEAN;
    }
    store_free(store);
    config_unref(config);
    return status;
}

int ctl_resume(const struct ctl *ctl, int argc, char **argv)
{
    struct config *config = NULL;
    struct store *store = NULL;
    const char *name = NULL;
    const char *none = NULL;
    struct errmsg err = {{0}};
    int64_t changed = 0;
    int status = read_connector(argc, argv, false, &name, &none);

    if (status != CTL_GO_ON || !ctl_open(ctl, argv[0], &config, &store, &status)) {
        return status;
    }
    if (!config_connector(config, name)) {
        status = ctl_unknown_connector(argv[0], config, name);
    } else if (store_connector_resume(store, name, &changed, &err) != ST_OK) {
        status = ctl_fail(argv[0], &err);
    } else {
        wake_daemons(store);
        tell_connector(ctl, name, "ok", changed > 0,
                       changed > 0 ? "goes on; who waited for it is synced now" : "was not paused: nothing to do");
        status = EXIT_CLEAN;
    }
    store_free(store);
    config_unref(config);
    return status;
}
