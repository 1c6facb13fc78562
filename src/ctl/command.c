#include "ctl/command.h"

#include <stdarg.h>

#include "base/buf.h"
#include "base/mem.h"
#include "service/app.h"

enum { PROBLEMS_MAX_BYTES = 256 * 1024 };

bool ctl_load_config(const struct ctl *ctl, struct config **ret, int *ret_status)
{
    struct config_problems problems = {0};
    struct buf text;
    int st = config_load(ctl->config_path, ret, &problems);

    if (st != ST_OK) {
        buf_init(&text, PROBLEMS_MAX_BYTES);
        config_problems_sort(&problems);
        config_problems_print(&problems, &text);
        fputs(buf_text(&text), stderr);
        buf_free(&text);
        *ret_status = EXIT_CONFIG;
    }
    config_problems_clear(&problems);
    return st == ST_OK;
}

int ctl_fail(const char *command, const struct errmsg *err)
{
    fprintf(stderr, "%s: %s\n", command, err->text);
    return EXIT_RUNTIME;
}

int ctl_usage(const char *command, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", command);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nTry: %s --help\n", command);
    return EXIT_USAGE;
}

void ctl_print_json(struct json *j)
{
    char *text = json_text(j);

    puts(text);
    mem_free(text);
    json_free(j);
}
