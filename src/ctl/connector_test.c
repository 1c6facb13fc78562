/* For people who write a connector: atsyncctl connector-test. */
#include <getopt.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/file.h"
#include "connector/module.h"
#include "ctl/command.h"
#include "ctl/rehearsal.h"
#include "service/app.h"

enum { FILE_MAX_BYTES = 16 * 1024 * 1024, PROBLEMS_MAX_BYTES = 256 * 1024, CHUNK_BYTES = 16 * 1024 };

static int read_stdin(char **ret, size_t *ret_len, struct errmsg *err)
{
    char chunk[CHUNK_BYTES];
    struct buf b;
    size_t n;
    int st = ST_OK;

    buf_init(&b, FILE_MAX_BYTES);
    while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0) {
        buf_add(&b, chunk, n);
    }
    if (ferror(stdin)) {
        st = err_set(err, ST_IO, "cannot read standard input");
    } else if (b.failed) {
        st = err_set(err, ST_LIMIT, "standard input is larger than %d bytes", (int)FILE_MAX_BYTES);
    } else {
        *ret_len = b.len;
        *ret = buf_take(&b);
    }
    buf_free(&b);
    return st;
}

static int read_json(const char *path, struct json **ret, struct errmsg *err)
{
    char *text = NULL;
    size_t len = 0;
    int st =
        text_eq(path, "-") ? read_stdin(&text, &len, err) : file_read(path, FILE_MAX_BYTES, 0, &text, &len, NULL, err);

    if (st == ST_OK && json_parse(text, len, ret, err) != ST_OK) {
        st = err_prefix(err, ST_INVALID, "%s", text_eq(path, "-") ? "standard input" : path);
    }
    mem_free(text);
    return st;
}

static void print_problems(struct config_problems *problems)
{
    struct buf b;

    buf_init(&b, PROBLEMS_MAX_BYTES);
    config_problems_print(problems, &b);
    fputs(buf_text(&b), stderr);
    buf_free(&b);
    config_problems_clear(problems);
}

static int show(const struct ctl *ctl, struct json *rehearsal)
{
    bool ok = rehearsal_ok(rehearsal);
    struct buf b;

    if (ctl->json) {
        ctl_print_json(rehearsal);
    } else {
        buf_init(&b, SIZE_MAX / 4);
        rehearsal_print(rehearsal, &b);
        fputs(buf_text(&b), stdout);
        buf_free(&b);
        json_free(rehearsal);
    }
    return ok ? EXIT_CLEAN : EXIT_RUNTIME;
}

int ctl_connector_test(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"function", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
    const char *function = NULL;
    const char *name;
    struct connector_module *module = NULL;
    struct config_problems problems = {0};
    struct json *file = NULL;
    struct json *rehearsal = NULL;
    struct errmsg err = {{0}};
    int option, status;

    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        if (option != 'f') {
            return EXIT_USAGE;
        }
        function = optarg;
    }
    if (argc - optind != 2) {
        return ctl_usage(argv[0], "TYPE and FILE are wanted; - as FILE is standard input");
    }
    name = text_eq(argv[optind + 1], "-") ? "standard input" : argv[optind + 1];
    if (connector_module_load(ctl->config_path, argv[optind], &module, &err) != ST_OK ||
        read_json(argv[optind + 1], &file, &err) != ST_OK) {
        status = ctl_fail(argv[0], &err);
    } else if (rehearse(module, name, file, function, clock_wall_us(), &rehearsal, &problems) != ST_OK) {
        print_problems(&problems);
        status = EXIT_RUNTIME;
    } else {
        status = show(ctl, rehearsal);
    }
    json_free(file);
    connector_module_unref(module);
    return status;
}
