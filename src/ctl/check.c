/* Is everything as the daemon needs it? atsyncctl check. */
#include <getopt.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/advice.h"
#include "ctl/check.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "service/app.h"
#include "service/settings.h"
#include "store/store.h"
#include "store/views.h"

enum { PROBLEMS_MAX_BYTES = 256 * 1024, NAME_CHARS = 20, CLOCK_TRIES = 3 };

struct report {
    struct json *checks; /* NULL: as text */
    bool ok;
};

static void print_line(const char *what, const struct finding *f)
{
    struct buf b;
    const char *line = f->message;

    buf_init(&b, (size_t)2 * PROBLEMS_MAX_BYTES);
    buf_printf(&b, "%-*s %s", NAME_CHARS, what, f->ok ? "ok, " : "FAILED: ");
    while (*line != '\0') {
        size_t len = strcspn(line, "\n");
        char *one = mem_strndup(line, len);

        print_escaped(one, &b);
        buf_putc(&b, '\n');
        mem_free(one);
        line += len + (line[len] == '\n');
        if (*line != '\0') {
            buf_printf(&b, "%*s ", NAME_CHARS, "");
        }
    }
    if (f->hint) {
        print_wrapped(f->hint, NAME_CHARS + 1, print_width(), &b);
    }
    fputs(buf_text(&b), stdout);
    (void)fflush(stdout); /* the next one may take its time */
    buf_free(&b);
}

static void add(struct report *r, const char *what, struct finding f)
{
    r->ok = r->ok && f.ok;
    if (r->checks) {
        struct json *check = json_object();

        json_set_str(check, "check", what);
        json_set_bool(check, "ok", f.ok);
        json_set_str(check, "message", f.message);
        json_set_str(check, "hint", f.hint);
        json_push(r->checks, check);
    } else {
        print_line(what, &f);
    }
    finding_clear(&f);
}

/* ---- the database */

static struct finding database_failed(const struct errmsg *err)
{
    return (struct finding){.ok = false, .message = mem_strdup(err->text), .hint = mem_strdup(advice_of(err->text))};
}

/* The shortest of some questions tells best. */
static struct finding look_at_clocks(struct store *store)
{
    int64_t local_us = 0, database_us = 0, unsure_us = INT64_MAX;
    struct errmsg err = {{0}};

    for (int i = 0; i < CLOCK_TRIES; i++) {
        int64_t before_us = clock_wall_us();
        int64_t now_us = 0;

        if (store_now(store, &now_us, &err) != ST_OK) {
            return database_failed(&err);
        }
        int64_t after_us = clock_wall_us();

        if ((after_us - before_us) / 2 < unsure_us) {
            unsure_us = (after_us - before_us) / 2;
            local_us = before_us + unsure_us;
            database_us = now_us;
        }
    }
    return check_clock(local_us, database_us, unsure_us);
}

static void check_database(struct report *r, const struct config *config)
{
    struct store *store = store_new(config, "atsyncctl");
    struct schema_status schema = {0};
    struct errmsg err = {{0}};
    struct finding f = {.ok = true};

    if (ctl_connect(config, store, &err) != ST_OK || store_schema_check(store, &err) != ST_OK ||
        store_schema_status(store, &schema, &err) != ST_OK) {
        add(r, "database", database_failed(&err));
    } else {
        f.message = mem_printf("schema version %d", schema.version);
        add(r, "database", f);
        add(r, "clock", look_at_clocks(store));
    }
    store_free(store);
}

/* ---- the connectors, and the APIs of sources */

static void check_connectors(struct report *r, struct config *config, const struct connector_set *connectors)
{
    struct httpc *http;

    httpc_global_init();
    http = httpc_new(1, "atsyncctl/" ATSYNC_VERSION);
    for (size_t i = 0; i < config->connector_count; i++) {
        const struct connector_config *c = &config->connectors[i];
        char *what = mem_printf("connector %s", c->name);

        add(r, what, check_probe(http, config, c, connector_set_find(connectors, c->name)));
        mem_free(what);
    }
    for (size_t i = 0; i < config->source_count; i++) {
        if (config->sources[i].api.key) {
            char *what = mem_printf("API of %s", config->sources[i].name);

            add(r, what, check_api(http, &config->sources[i]));
            mem_free(what);
        }
    }
    httpc_free(http);
}

/* ---- the command */

static void check_all(struct report *r, const struct ctl *ctl, bool probe)
{
    struct config *config = NULL;
    struct connector_set *connectors = NULL;
    struct buf problems;
    struct finding f = {.ok = true};

    buf_init(&problems, PROBLEMS_MAX_BYTES);
    if (settings_load(ctl->config_path, &config, &connectors, &problems) == ST_OK) {
        f.message = mem_strdup(ctl->config_path);
        add(r, "configuration", f);
        check_database(r, config);
        add(r, "permissions", check_permissions(config, connectors));
        if (probe) {
            check_connectors(r, config, connectors);
        }
    } else {
        f.ok = false;
        f.message = mem_strndup(buf_text(&problems), problems.len > 0 ? problems.len - 1 : 0);
        add(r, "configuration", f);
    }
    buf_free(&problems);
    connector_set_unref(connectors);
    config_unref(config);
}

int ctl_check(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"no-probe", no_argument, NULL, 'n'}, {NULL, 0, NULL, 0}};
    struct report r = {.ok = true};
    bool probe = true;
    int option;

    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        if (option != 'n') {
            return EXIT_USAGE;
        }
        probe = false;
    }
    if (optind < argc) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]);
    }
    r.checks = ctl->json ? json_array() : NULL;
    check_all(&r, ctl, probe);
    if (ctl->json) {
        struct json *j = json_object();

        json_set_bool(j, "ok", r.ok);
        json_set(j, "checks", r.checks);
        ctl_print_json(j);
    }
    return r.ok ? EXIT_CLEAN : EXIT_RUNTIME;
}
