#include "base/buf.h"
#include "base/mem.h"
#include "ctl/command.h"
#include "service/app.h"
#include "service/settings.h"
#include "store/store.h"

enum { PROBLEMS_MAX_BYTES = 256 * 1024 };

struct report {
    struct json *checks; /* NULL: as text */
    bool ok;
};

/* problems: lines; "" means that all is well. */
static void add(struct report *r, const char *what, const char *fine, const char *problems)
{
    bool ok = *problems == '\0';
    struct json *check;

    r->ok = r->ok && ok;
    if (!r->checks) {
        printf("%-14s %s\n", what, ok ? fine : "FAILED");
        (void)fflush(stdout);
        fputs(problems, stderr);
        return;
    }
    check = json_object();
    json_set_str(check, "check", what);
    json_set_bool(check, "ok", ok);
    if (!ok) {
        struct json *list = json_array();

        for (size_t len; *problems != '\0'; problems += len + (problems[len] == '\n')) {
            char *line = mem_strndup(problems, len = strcspn(problems, "\n"));

            json_push(list, json_string(line));
            mem_free(line);
        }
        json_set(check, "problems", list);
    }
    json_push(r->checks, check);
}

static void check_database(struct report *r, const struct config *config)
{
    struct store *store = store_new(config, "atsyncctl");
    struct schema_status schema = {0};
    struct errmsg err = {{0}};
    char *problem = NULL;
    char *fine = NULL;

    if (store_schema_check(store, &err) != ST_OK || store_schema_status(store, &schema, &err) != ST_OK) {
        problem = mem_printf("%s\n", err.text);
    } else {
        fine = mem_printf("ok, schema version %d", schema.version);
    }
    add(r, "database", fine ? fine : "", problem ? problem : "");
    mem_free(problem);
    mem_free(fine);
    store_free(store);
}

int ctl_check(const struct ctl *ctl, int argc, char **argv)
{
    struct report r = {.ok = true};
    struct config *config = NULL;
    struct connector_set *connectors = NULL;
    struct buf problems;

    if (argc > 1) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[1]);
    }
    r.checks = ctl->json ? json_array() : NULL;
    buf_init(&problems, PROBLEMS_MAX_BYTES);
    if (settings_load(ctl->config_path, &config, &connectors, &problems) == ST_OK) {
        add(&r, "configuration", "ok", "");
        check_database(&r, config);
    } else {
        add(&r, "configuration", "", buf_text(&problems));
    }
    buf_free(&problems);
    connector_set_unref(connectors);
    config_unref(config);
    if (ctl->json) {
        struct json *j = json_object();

        json_set_bool(j, "ok", r.ok);
        json_set(j, "checks", r.checks);
        ctl_print_json(j);
    }
    return r.ok ? EXIT_CLEAN : EXIT_RUNTIME;
}
