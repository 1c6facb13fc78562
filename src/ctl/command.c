#include "ctl/command.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "ctl/advice.h"
#include "ctl/print.h"
#include "lib/db.h"
#include "service/app.h"
#include "store/views.h"

enum { PROBLEMS_MAX_BYTES = 256 * 1024 };

static void explain_unreadable(const char *path)
{
    if (access(path, R_OK) == 0) {
        return;
    }
    if (errno == ENOENT) {
        fputs("Another configuration than the default is named with -c FILE.\n", stderr);
    } else if (errno == EACCES) {
        fputs("Only root and the group of the file may read it: try again as root.\n", stderr);
    }
}

static bool load(const struct ctl *ctl, bool needs_secrets, struct config **ret, int *ret_status)
{
    struct config_problems problems = {0};
    struct config *c = NULL;
    struct buf text;
    int st = config_load_partly(ctl->config_path, &c, &problems);

    if (st != ST_OK && c && !needs_secrets && config_problems_only_absent_secrets(&problems)) {
        st = ST_OK;
    }
    if (st == ST_OK) {
        *ret = c;
    } else {
        config_unref(c);
        buf_init(&text, PROBLEMS_MAX_BYTES);
        config_problems_sort(&problems);
        config_problems_print(&problems, &text);
        fputs(buf_text(&text), stderr);
        buf_free(&text);
        explain_unreadable(ctl->config_path);
        *ret_status = EXIT_CONFIG;
    }
    config_problems_clear(&problems);
    return st == ST_OK;
}

bool ctl_load_config(const struct ctl *ctl, struct config **ret, int *ret_status)
{
    return load(ctl, true, ret, ret_status);
}

bool ctl_load_config_without_secrets(const struct ctl *ctl, struct config **ret, int *ret_status)
{
    return load(ctl, false, ret, ret_status);
}

int ctl_fail(const char *command, const struct errmsg *err)
{
    const char *advice = advice_of(err->text);

    (void)fflush(stdout);
    fprintf(stderr, "%s: %s\n", command, err->text);
    if (advice) {
        fprintf(stderr, "What to do: %s\n", advice);
    }
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

static int unknown_option(const char *command, const char *given, const struct option *options)
{
    size_t len = strcspn(given, "="), count = 0;
    char *word = mem_strndup(given, len);
    const char **names;
    const char *near;
    int status;

    while (options[count].name) {
        count++;
    }
    names = mem_array(count + 1, sizeof *names);
    for (size_t i = 0; i < count; i++) {
        names[i] = options[i].name;
    }
    near = suggest(word + strspn(word, "-"), names, count);
    status = near ? ctl_usage(command, "there is no option %s, did you mean --%s?", word, near)
                  : ctl_usage(command, "there is no option %s", word);
    mem_free(names);
    mem_free(word);
    return status;
}

int ctl_next_option(int argc, char **argv, const char *short_options, const struct option *options)
{
    char *with_colon = mem_printf("%s:%s", *short_options == '+' ? "+" : "",
                                  *short_options == '+' ? short_options + 1 : short_options);
    int option;

    opterr = 0;
    option = getopt_long(argc, argv, with_colon, options, NULL);
    mem_free(with_colon);
    if (option == ':') {
        (void)ctl_usage(argv[0], "%s needs a value", argv[optind - 1]);
        return '?';
    }
    if (option == '?') {
        const char *given = argv[optind - 1];

        if (optopt != 0 && !text_starts(given, "--")) {
            (void)ctl_usage(argv[0], "there is no option -%c", optopt);
        } else if (optopt != 0) { /* a known one */
            (void)ctl_usage(argv[0], "%.*s takes no value", (int)strcspn(given, "="), given);
        } else {
            (void)unknown_option(argv[0], given, options);
        }
    }
    return option;
}

void ctl_print_json_part(const struct json *j)
{
    char *text = json_text(j);
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    print_escaped_json(text, &b);
    fputs(buf_text(&b), stdout);
    buf_free(&b);
    mem_free(text);
}

void ctl_print_json(struct json *j)
{
    ctl_print_json_part(j);
    putchar('\n');
    json_free(j);
}

int ctl_connect_as(const char *os_user, struct store *s, struct errmsg *err)
{
    const struct passwd *user = os_user ? getpwnam(os_user) : NULL;
    int st;

    if (os_user && (!user || seteuid(user->pw_uid) != 0)) {
        return err_set(err, ST_DENIED, "cannot connect as the OS user %s", os_user);
    }
    st = store_connect(s, err);
    if (os_user && seteuid(0) != 0) {
        abort(); /* half of somebody else */
    }
    return st;
}

int ctl_connect_by(const char *conninfo, struct store *s, struct errmsg *err)
{
    char *named = geteuid() == 0 ? db_conninfo_value(conninfo, "user") : NULL;
    bool as_daemon = geteuid() == 0 && !named && !getenv("PGUSER") && getpwnam(CTL_DAEMON_USER);

    mem_free_secret(named);
    return ctl_connect_as(as_daemon ? CTL_DAEMON_USER : NULL, s, err);
}

int ctl_connect(const struct config *c, struct store *s, struct errmsg *err)
{
    return ctl_connect_by(c->database.conninfo, s, err);
}

bool ctl_open(const struct ctl *ctl, const char *command, struct config **ret_config, struct store **ret_store,
              int *ret_status)
{
    struct config *config = NULL;
    struct store *store;
    struct errmsg err = {{0}};

    if (!ctl_load_config_without_secrets(ctl, &config, ret_status)) {
        return false;
    }
    store = store_new(config, "atsyncctl");
    if (ctl_connect(config, store, &err) != ST_OK || store_schema_check(store, &err) != ST_OK) {
        *ret_status = ctl_fail(command, &err);
        store_free(store);
        config_unref(config);
        return false;
    }
    *ret_config = config;
    *ret_store = store;
    return true;
}

int ctl_since(struct store *s, const char *text, int64_t *ret_us, struct errmsg *err)
{
    int64_t now_us, back_ms;
    int st;

    char *midnight = mem_printf("%sT00:00:00Z", text); /* of a date alone */
    bool is_time = time_parse_iso8601(text, ret_us) || time_parse_iso8601(midnight, ret_us);

    mem_free(midnight);
    if (is_time) {
        return ST_OK;
    }
    if (!text_to_duration_ms(text, &back_ms)) {
        return err_set(err, ST_INVALID,
                       "--since \"%s\" is no time: write 2h or 3d for so long ago, 2026-04-28, or 2026-04-28T10:45:00Z",
                       text);
    }
    st = store_now(s, &now_us, err);
    if (st == ST_OK) {
        *ret_us = now_us - back_ms * 1000;
    }
    return st;
}

int ctl_find_source(const struct config *c, const char *name, const struct source_config **ret, struct errmsg *err)
{
    const struct source_config *source;
    const char **names;
    const char *near;

    if (!name) {
        if (c->source_count != 1) {
            return err_set(err, ST_INVALID, "the configuration has %zu sources: choose one with --source",
                           c->source_count);
        }
        *ret = &c->sources[0];
        return ST_OK;
    }
    source = config_source(c, name);
    if (source) {
        *ret = source;
        return ST_OK;
    }
    names = mem_array(c->source_count + 1, sizeof *names);
    for (size_t i = 0; i < c->source_count; i++) {
        names[i] = c->sources[i].name;
    }
    near = suggest(name, names, c->source_count);
    if (near) {
        err_set(err, ST_NOT_FOUND, "the configuration has no source \"%s\", did you mean %s?", name, near);
    } else {
        err_set(err, ST_NOT_FOUND, "the configuration has no source \"%s\"", name);
    }
    mem_free(names);
    return ST_NOT_FOUND;
}

int ctl_unknown_connector(const char *command, const struct config *c, const char *name)
{
    const char **names = mem_array(c->connector_count + 1, sizeof *names);
    const char *near;
    int status;

    for (size_t i = 0; i < c->connector_count; i++) {
        names[i] = c->connectors[i].name;
    }
    near = suggest(name, names, c->connector_count);
    if (near) {
        status = ctl_usage(command, "the configuration has no connector \"%s\", did you mean %s?", name, near);
    } else {
        status = ctl_usage(command, "the configuration has no connector \"%s\"", name);
    }
    mem_free(names);
    return status;
}

int ctl_confirm(const char *command, bool yes, const char *sentence)
{
    char answer[16];

    if (yes) {
        return CTL_GO_ON;
    }
    if (isatty(STDIN_FILENO) != 1) {
        return ctl_usage(command, "%s Nobody is there to ask: add --yes to do it", sentence);
    }
    (void)fflush(stdout); /* what was printed belongs before the question */
    fprintf(stderr, "%s Go on? [y/N] ", sentence);
    if (fgets(answer, sizeof answer, stdin) && (text_ieq(answer, "y\n") || text_ieq(answer, "yes\n"))) {
        return CTL_GO_ON;
    }
    fputs("Nothing was done.\n", stderr);
    return EXIT_RUNTIME;
}
