#include <getopt.h>

#include "ctl/command.h"
#include "service/app.h"
#include "store/setup.h"
#include "store/store.h"

struct telling {
    struct json *steps; /* NULL: as text, at once */
    size_t count;
};

static void tell(void *ctx, const char *line)
{
    struct telling *t = ctx;

    t->count++;
    if (t->steps) {
        json_push(t->steps, json_string(line));
    } else {
        puts(line);
        (void)fflush(stdout);
    }
}

static void print_end(const struct ctl *ctl, struct telling *t, bool dry_run, const struct schema_status *status)
{
    struct json *j;

    if (ctl->json) {
        j = json_object();
        json_set_bool(j, "dry_run", dry_run);
        json_set(j, "steps", t->steps);
        json_set_int(j, "version", status->version);
        ctl_print_json(j);
        t->steps = NULL;
    } else if (t->count == 0) {
        printf("the schema is up to date (version %d)\n", status->version);
    }
}

/* A role that may not make roles has made the schema without it; it may have been made since. */
static int show_to_reader(struct store *store, struct telling *t, struct errmsg *err)
{
    enum setup_reader reader;
    int st = store_show_to_reader(store, &reader, err);

    if (st == ST_OK && reader == SETUP_READER_SHOWN) {
        tell(t, "the views are shown to the role " SETUP_READER);
    } else if (st == ST_OK && reader == SETUP_READER_MISSING) {
        tell(t, "there is no role " SETUP_READER ": nobody but the owner can read the views. A superuser makes it: "
                "create role " SETUP_READER "; then run this again");
    }
    return st;
}

int ctl_migrate(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"dry-run", no_argument, NULL, 'n'}, {NULL, 0, NULL, 0}};
    struct config *config = NULL;
    struct store *store = NULL;
    struct telling t = {0};
    struct schema_status schema = {0};
    struct errmsg err = {{0}};
    bool dry_run = false;
    int option, status;

    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        if (option != 'n') {
            return EXIT_USAGE;
        }
        dry_run = true;
    }
    if (optind < argc) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]);
    }
    if (!ctl_load_config_without_secrets(ctl, &config, &status)) {
        return status;
    }
    t.steps = ctl->json ? json_array() : NULL;
    store = store_new(config, "atsyncctl");
    if (ctl_connect(config, store, &err) == ST_OK && store_migrate(store, dry_run, tell, &t, &err) == ST_OK &&
        (dry_run || show_to_reader(store, &t, &err) == ST_OK) && store_schema_status(store, &schema, &err) == ST_OK) {
        print_end(ctl, &t, dry_run, &schema);
        status = EXIT_CLEAN;
    } else {
        status = ctl_fail(argv[0], &err);
    }
    json_free(t.steps);
    store_free(store);
    config_unref(config);
    return status;
}
