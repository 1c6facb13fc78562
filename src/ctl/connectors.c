/* The catalogue of connectors: atsyncctl connectors. */
#include <getopt.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "connector/module.h"
#include "ctl/command.h"
#include "ctl/connector_page.h"
#include "ctl/print.h"
#include "service/app.h"

static const struct column columns[] = {
    {"type", "TYPE", false},   {"title", "TITLE", false}, {"can", "CAN", false},
    {"needs", "NEEDS", false}, {"path", "FILE", false},
};

static void print_and_free(struct buf *b)
{
    fputs(buf_text(b), stdout);
    buf_free(b);
}

/* Modules that cannot be loaded are told on standard error; returns the exit status. */
static int tell_broken(const struct json *catalogue)
{
    int status = EXIT_CLEAN;

    for (const struct json *e = json_first(catalogue); e; e = json_next(e)) {
        if (json_get_str(e, "error")) {
            fprintf(stderr, "%s\n", json_get_str(e, "error"));
            status = EXIT_RUNTIME;
        }
    }
    return status;
}

static int list_all(const struct ctl *ctl, const struct json *catalogue)
{
    struct json *rows = json_array();
    struct buf b;

    for (const struct json *e = json_first(catalogue); e; e = json_next(e)) {
        if (ctl->json) {
            struct json *row = connector_page_json(e);

            json_set(row, "meta", NULL);
            json_set(row, "example", NULL);
            json_push(rows, row);
        } else if (json_get(e, "meta")) {
            json_push(rows, connector_page_row(e));
        }
    }
    if (ctl->json) {
        ctl_print_json(rows);
    } else {
        buf_init(&b, SIZE_MAX / 4);
        print_table(rows, columns, ATS_COUNT(columns), print_to_terminal(), &b);
        print_and_free(&b);
        json_free(rows);
    }
    return tell_broken(catalogue);
}

static int unknown_type(const char *command, const struct json *catalogue, const char *type)
{
    const char **names = mem_array(json_count(catalogue) + 1, sizeof *names);
    const char *near;
    size_t count = 0;
    int status;

    for (const struct json *e = json_first(catalogue); e; e = json_next(e)) {
        names[count++] = json_get_str(e, "type");
    }
    near = suggest(type, names, count);
    if (near) {
        status = ctl_usage(command, "there is no connector type \"%s\", did you mean %s?", type, near);
    } else {
        status = ctl_usage(command, "there is no connector type \"%s\"", type);
    }
    mem_free(names);
    return status;
}

static int show_one(const struct ctl *ctl, const char *command, const struct json *catalogue, const char *type)
{
    const struct json *entry = json_first(catalogue);
    struct buf b;

    while (entry && !text_eq(json_get_str(entry, "type"), type)) {
        entry = json_next(entry);
    }
    if (!entry) {
        return unknown_type(command, catalogue, type);
    }
    if (ctl->json) {
        ctl_print_json(connector_page_json(entry));
    } else if (json_get(entry, "meta")) {
        buf_init(&b, SIZE_MAX / 4);
        connector_page_text(entry, print_to_terminal() ? print_width() : 80, &b);
        print_and_free(&b);
    }
    if (json_get_str(entry, "error")) {
        fprintf(stderr, "%s\n", json_get_str(entry, "error"));
        return EXIT_RUNTIME;
    }
    return EXIT_CLEAN;
}

static int print_mdoc(const struct json *catalogue)
{
    int status = tell_broken(catalogue);
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    for (const struct json *e = json_first(catalogue); e; e = json_next(e)) {
        if (json_get(e, "meta")) {
            connector_page_mdoc(e, &b);
        }
    }
    print_and_free(&b);
    return status;
}

int ctl_connectors(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"mdoc", no_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
    struct json *catalogue;
    bool mdoc = false;
    int option, status;

    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        if (option != 'm') {
            return EXIT_USAGE;
        }
        mdoc = true;
    }
    if (argc - optind > 1 || (mdoc && optind < argc)) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[argc - 1]);
    }
    catalogue = connector_catalogue(ctl->config_path);
    if (mdoc) {
        status = print_mdoc(catalogue);
    } else if (optind < argc) {
        status = show_one(ctl, argv[0], catalogue, argv[optind]);
    } else {
        status = list_all(ctl, catalogue);
    }
    json_free(catalogue);
    return status;
}
