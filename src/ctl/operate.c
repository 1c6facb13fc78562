/* What an operator changes: link, resync, retry, skip, pause, resume. */
#include <getopt.h>
#include <inttypes.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "domain/event.h"
#include "service/app.h"
#include "store/operate.h"

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
    while ((option = getopt_long(argc, argv, "y", options, NULL)) != -1) {
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
            return ctl_usage(argv[0], "that option is not known");
        }
    }
    return optind < argc ? ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]) : CTL_GO_ON;
}

struct mass_action {
    const char *what; /* one and many of what it counts */
    const char *whats;
    const char *question; /* with the number and what it counts */
    const char *done;     /* likewise */
    const char *none;
    const char *member; /* of the JSON answer */
    int (*count)(struct store *s, const struct filter *f, int64_t *ret, struct errmsg *err);
    int (*act)(struct store *s, const struct filter *f, int64_t *ret, struct errmsg *err);
};

static void print_sentence(FILE *out, const char *before, int64_t count, const struct mass_action *a, const char *after)
{
    fprintf(out, "%s%" PRId64 " %s%s", before, count, count == 1 ? a->what : a->whats, after);
}

static int act_and_tell(const struct ctl *ctl, const char *command, struct store *store, const struct mass_action *a,
                        const struct selection *s)
{
    struct errmsg err = {{0}};
    int64_t count = 0;
    char *question;
    int status;

    if (a->count(store, &s->filter, &count, &err) != ST_OK) {
        return ctl_fail(command, &err);
    }
    if (count > 0) {
        question = mem_printf("This will %s %" PRId64 " %s.", a->question, count, count == 1 ? a->what : a->whats);
        status = ctl_confirm(command, s->yes, question);
        mem_free(question);
        if (status != CTL_GO_ON) {
            return status;
        }
        if (a->act(store, &s->filter, &count, &err) != ST_OK) {
            return ctl_fail(command, &err);
        }
        wake_daemons(store);
    }
    if (ctl->json) {
        struct json *j = json_object();

        json_set_int(j, a->member, count);
        ctl_print_json(j);
    } else if (count == 0) {
        puts(a->none);
    } else {
        print_sentence(stdout, "", count, a, a->done);
    }
    return EXIT_CLEAN;
}

static int run_mass_action(const struct ctl *ctl, int argc, char **argv, const struct mass_action *a)
{
    struct selection s;
    struct config *config = NULL;
    struct store *store = NULL;
    struct errmsg err = {{0}};
    int status = read_selection(argc, argv, &s);

    if (status != CTL_GO_ON || !ctl_open(ctl, argv[0], &config, &store, &status)) {
        return status;
    }
    if (s.filter.connector && !config_connector(config, s.filter.connector)) {
        status = ctl_unknown_connector(argv[0], config, s.filter.connector);
    } else if (s.since && ctl_since(store, s.since, &s.filter.since_us, &err) != ST_OK) {
        status = ctl_usage(argv[0], "%s", err.text);
    } else {
        status = act_and_tell(ctl, argv[0], store, a, &s);
    }
    store_free(store);
    config_unref(config);
    return status;
}

/* store_resync counts nothing: what was counted before is told. */
static int resync_counted(struct store *s, const struct filter *f, int64_t *ret, struct errmsg *err)
{
    (void)ret;
    return store_resync(s, f, err);
}

int ctl_resync(const struct ctl *ctl, int argc, char **argv)
{
    static const struct mass_action action = {
        .what = "candidate",
        .whats = "candidates",
        .question = "compute everything again for",
        .done = " will be looked at again. What the ATS holds already is not written again.\n",
        .none = "No candidate fits: nothing to do.",
        .member = "candidates",
        .count = store_count_resync,
        .act = resync_counted,
    };

    return run_mass_action(ctl, argc, argv, &action);
}

int ctl_retry(const struct ctl *ctl, int argc, char **argv)
{
    static const struct mass_action action = {
        .what = "dead write",
        .whats = "dead writes",
        .question = "try again",
        .done = " will be tried again: see atsyncctl status, atsyncctl tail.\n",
        .none = "No dead write fits: nothing to do.",
        .member = "writes",
        .count = store_count_dead,
        .act = store_retry_dead,
    };

    return run_mass_action(ctl, argc, argv, &action);
}

int ctl_skip(const struct ctl *ctl, int argc, char **argv)
{
    static const struct mass_action action = {
        .what = "dead write",
        .whats = "dead writes",
        .question = "give up on",
        .done = " given up: not tried again unless a newer event wants something else.\n",
        .none = "No dead write fits: nothing to do.",
        .member = "writes",
        .count = store_count_dead,
        .act = store_skip_dead,
    };

    return run_mass_action(ctl, argc, argv, &action);
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
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
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
            return ctl_usage(argv[0], "that option is not known");
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

    while ((option = getopt_long(argc, argv, "", with_reason ? with : without, NULL)) != -1) {
        if (option != 'r') {
            return ctl_usage(argv[0], "that option is not known");
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
