/*
 * From a fresh package and a PostgreSQL to a working database: atsyncctl setup.
 *
 * It reads no more of the configuration than it needs, because the rest is not there yet on a fresh machine: the
 * secrets that it makes, and credentials that an administrator still has to get.
 */
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/file.h"
#include "ctl/advice.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/setup.h"
#include "lib/db.h"
#include "service/app.h"
#include "service/settings.h"
#include "store/setup.h"

enum { TEXT_MAX_BYTES = 4 * 1024 * 1024, DEFAULT_PORT = 5432, STATE_CHARS = 9, THING_CHARS = 10, NAME_CHARS = 20 };

struct setup {
    const struct ctl *ctl;
    const char *command;
    const char *superuser; /* NULL: not given */
    const char *os_user;   /* of the daemon; NULL: not given */
    bool print;

    struct yaml *root;
    char *conninfo;
    char *role, *database, *password;
    struct file_reader daemon; /* its user */
    char *daemon_name;
    bool schema_is_new;
    struct json *steps; /* NULL: as text, at once */
    struct json *next;
};

/* ---- telling */

static void tell_step(struct setup *s, const char *state, const char *thing, const char *name, const char *detail)
{
    if (s->steps) {
        struct json *step = json_object();

        json_set_str(step, "state", state);
        json_set_str(step, "thing", thing);
        json_set_str(step, "name", name);
        json_set_str(step, "detail", detail);
        json_push(s->steps, step);
    } else if (print_to_terminal()) {
        printf("%-*s %-*s %-*s %s\n", STATE_CHARS, state, THING_CHARS, thing, NAME_CHARS, name, detail);
    } else {
        printf("%s\t%s\t%s\t%s\n", state, thing, name, detail);
    }
    (void)fflush(stdout);
}

static void told_step(void *ctx, enum setup_state state, const char *thing, const char *name, const char *detail)
{
    static const char *const names[] = {
        [SETUP_WAS_THERE] = "was there", [SETUP_MADE] = "made", [SETUP_CHANGED] = "changed"};
    struct setup *s = ctx;

    if (text_eq(thing, "schema") && state == SETUP_MADE) {
        s->schema_is_new = true;
    }
    if (text_eq(thing, "role") && text_eq(name, s->role) && state == SETUP_MADE) {
        detail = s->password ? "may log in with the password of database.conninfo"
                             : "logs in as its OS user (peer authentication)";
    } else if (text_eq(thing, "role") && text_eq(name, SETUP_READER)) {
        detail = "to be granted to people and dashboards";
    } else if (text_eq(thing, "database") && state == SETUP_MADE) {
        detail = "UTF8, owned by the role";
    }
    tell_step(s, names[state], thing, name, detail);
}

static void add_next(struct setup *s, char *sentence)
{
    json_push(s->next, json_string(sentence));
    mem_free(sentence);
}

/* ---- what is wanted */

static int read_arguments(int argc, char **argv, struct setup *s)
{
    static const struct option options[] = {{"print", no_argument, NULL, 'p'},
                                            {"superuser", required_argument, NULL, 's'},
                                            {"user", required_argument, NULL, 'u'},
                                            {NULL, 0, NULL, 0}};
    int option;

    while ((option = ctl_next_option(argc, argv, "", options)) != -1) {
        switch (option) {
        case 'p':
            s->print = true;
            break;
        case 's':
            s->superuser = optarg;
            break;
        case 'u':
            s->os_user = optarg;
            break;
        default:
            return EXIT_USAGE;
        }
    }
    return optind < argc ? ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]) : CTL_GO_ON;
}

static int read_configuration(struct setup *s)
{
    const struct yaml *conninfo;
    struct errmsg err = {{0}};
    unsigned line = 0;
    char *text = NULL;
    size_t len = 0;
    int st = file_read(s->ctl->config_path, YAML_TEXT_MAX_BYTES, 0, &text, &len, NULL, &err);

    if (st == ST_OK && (st = yaml_tree_parse(text, len, &s->root, &line, &err)) != ST_OK) {
        err_prefix(&err, st, "%s:%u", s->ctl->config_path, line);
    }
    if (text) {
        mem_wipe(text, len);
    }
    mem_free(text);
    if (st != ST_OK) {
        fprintf(stderr, "%s: %s\n", s->command, err.text);
        return EXIT_CONFIG;
    }
    conninfo = yaml_tree_get(yaml_tree_get(s->root, "database"), "conninfo");
    if (!conninfo || conninfo->kind != YAML_SCALAR) {
        fprintf(stderr,
                "%s: %s has no database.conninfo: write for example\n    database: {conninfo: \"dbname=atsync\"}\n",
                s->command, s->ctl->config_path);
        return EXIT_CONFIG;
    }
    s->conninfo = mem_strdup(conninfo->scalar);
    return CTL_GO_ON;
}

/* The user that the daemon runs as: named, or the package's, or for somebody who tries it without being root himself. */
/* Then PostgreSQL need not know the daemon by its OS user. */
static bool names_role(const struct setup *s)
{
    char *role = db_conninfo_value(s->conninfo, "user");
    bool named = role != NULL;

    mem_free(role);
    return named;
}

static int find_os_user(struct setup *s)
{
    const char *name = s->os_user ? s->os_user : CTL_DAEMON_USER;
    const struct passwd *user = getpwnam(name);

    if (!user && !s->os_user && (geteuid() != 0 || names_role(s))) {
        user = getpwuid(geteuid());
    }
    if (user) {
        s->daemon_name = mem_strdup(user->pw_name);
        s->daemon = (struct file_reader){.name = s->daemon_name, .uid = user->pw_uid, .gid = user->pw_gid};
        return CTL_GO_ON;
    }
    if (s->print) { /* it may be for another machine */
        s->daemon_name = mem_strdup(name);
        return CTL_GO_ON;
    }
    fprintf(stderr,
            "%s: this system has no user %s, which the daemon runs as and PostgreSQL knows it by\nTo make it:\n"
            "    useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin %s\n"
            "Then run this again. Another user is named with --user.\n",
            s->command, name, name);
    return EXIT_RUNTIME;
}

/* libpq's own rules: the user is the OS user unless it is named, the database is called as the user. */
static int read_target(struct setup *s)
{
    int status = read_configuration(s);
    char *whole;

    if (status == CTL_GO_ON) {
        status = find_os_user(s);
    }
    if (status != CTL_GO_ON) {
        return status;
    }
    whole = db_conninfo_with(s->conninfo, NULL);
    if (!whole) {
        fprintf(stderr, "%s: database.conninfo is no connection string: \"dbname=atsync\" is one\n", s->command);
        return EXIT_CONFIG;
    }
    mem_free_secret(whole);
    s->role = db_conninfo_value(s->conninfo, "user");
    s->role = s->role ? s->role : mem_strdup(s->daemon_name);
    s->database = db_conninfo_value(s->conninfo, "dbname");
    s->database = s->database ? s->database : mem_strdup(s->role);
    s->password = db_conninfo_value(s->conninfo, "password");
    return CTL_GO_ON;
}

static int print_script(const struct setup *s)
{
    struct setup_names names = {.role = s->role, .database = s->database, .password = s->password};
    struct buf b;

    buf_init(&b, TEXT_MAX_BYTES);
    store_setup_script(&names, &b);
    if (s->ctl->json) {
        struct json *j = json_object();

        json_set_str(j, "sql", buf_text(&b));
        ctl_print_json(j);
    } else {
        printf("/* For a superuser of the database server: atsyncctl setup --print | psql -X\n"
               "   Nothing that is there already is changed. */\n%s",
               buf_text(&b));
    }
    buf_free(&b);
    return EXIT_CLEAN;
}

/* ---- the database */

/* Through the socket. */
static bool is_socket(const struct setup *s)
{
    char *host = db_conninfo_value(s->conninfo, "host");
    char *address = db_conninfo_value(s->conninfo, "hostaddr");
    bool socket = !address && (!host || *host == '/' || *host == '\0');

    mem_free_secret(host);
    mem_free_secret(address);
    return socket;
}

static bool is_loopback(const struct setup *s)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    char *host = db_conninfo_value(s->conninfo, "host");
    bool loopback = false;

    for (size_t i = 0; i < ATS_COUNT(names); i++) {
        loopback = loopback || (host && strcmp(host, names[i]) == 0);
    }
    mem_free_secret(host);
    return loopback;
}

static bool is_local(const struct setup *s)
{
    return is_socket(s) || is_loopback(s);
}

/* As root on this machine the OS user postgres is the superuser; otherwise who runs this has to be one. */
static const char *administrator_os_user(const struct setup *s)
{
    return geteuid() == 0 && !s->superuser && is_local(s) && getpwnam("postgres") ? "postgres" : NULL;
}

static char *administrator_conninfo(const struct setup *s, const char *database)
{
    bool as_postgres = geteuid() == 0 && !s->superuser;
    char *conninfo;
    char *local;

    if (s->superuser) {
        return db_conninfo_with(s->superuser, "dbname", database, NULL);
    }
    conninfo = db_conninfo_with(s->conninfo, "dbname", database, "user", as_postgres ? "postgres" : NULL, "password",
                                NULL, "passfile", NULL, "sslcert", NULL, "sslkey", NULL, "options", NULL, NULL);
    if (!as_postgres || !is_loopback(s)) {
        return conninfo;
    }
    /* peer authentication is for the socket */
    local = db_conninfo_with(conninfo, "host", NULL, "hostaddr", NULL, NULL);
    mem_free_secret(conninfo);
    return local;
}

static int wanted_port(const struct setup *s)
{
    char *text = db_conninfo_value(s->superuser ? s->superuser : s->conninfo, "port");
    int64_t port = DEFAULT_PORT;

    if (text && !text_to_i64(text, 1, 65535, &port)) {
        port = DEFAULT_PORT;
    }
    mem_free_secret(text);
    return (int)port;
}

static bool is_about_rights(const char *message)
{
    static const char *const parts[] = {"may not make roles and databases", "authentication failed",
                                        "no password supplied", "no pg_hba.conf entry", "SQLSTATE 42501"};
    const char *role = strstr(message, "role \"");

    for (size_t i = 0; i < ATS_COUNT(parts); i++) {
        if (strstr(message, parts[i])) {
            return true;
        }
    }
    return role && strstr(role, "does not exist");
}

static void explain_failure(const struct setup *s, const struct errmsg *err)
{
    const char *advice = advice_of(err->text);
    bool unanswered = strstr(err->text, "No such file or directory") || strstr(err->text, "Connection refused");

    fprintf(stderr, "%s: %s\n", s->command, err->text);
    if (unanswered && is_local(s) && !s->superuser) {
        struct server_facts facts = setup_look_at_server("", wanted_port(s));
        char *text = setup_server_advice(&facts);

        fputs(text, stderr);
        mem_free(text);
    } else if (is_about_rights(err->text)) {
        fprintf(
            stderr,
            "What to do: %sname a superuser with --superuser \"host=... user=postgres\", or give what atsyncctl setup "
            "--print prints to the administrator of the database.\n",
            geteuid() == 0 ? "" : "run this as root or as the OS user postgres, ");
    } else if (advice) {
        fprintf(stderr, "What to do: %s\n", advice);
    }
}

typedef int setup_part(struct store *admin, const struct setup_names *names, setup_told told, void *ctx,
                       struct errmsg *err);

static int run_part(struct setup *s, const char *database, setup_part *part, struct errmsg *err)
{
    struct setup_names names = {.role = s->role, .database = s->database, .password = s->password};
    char *conninfo = administrator_conninfo(s, database);
    struct store *admin;
    int st;

    if (!conninfo) {
        return err_set(err, ST_INVALID,
                       "--superuser is no connection string: \"host=db.example.com user=postgres\" is one");
    }
    admin = store_new_at(conninfo, "atsyncctl setup");
    st = ctl_connect_as(administrator_os_user(s), admin, err);
    if (st == ST_OK) {
        st = part(admin, &names, told_step, s, err);
    }
    store_free(admin);
    mem_free_secret(conninfo);
    return st;
}

static int make_database(struct setup *s)
{
    struct errmsg err = {{0}};

    if (run_part(s, "postgres", store_setup_server, &err) == ST_OK &&
        run_part(s, s->database, store_setup_database, &err) == ST_OK) {
        return CTL_GO_ON;
    }
    explain_failure(s, &err);
    return EXIT_RUNTIME;
}

/* ---- the daemon's own way in */

static int check_connection(struct setup *s)
{
    char *named = db_conninfo_value(s->conninfo, "user");
    bool is_me = geteuid() == s->daemon.uid;
    struct errmsg err = {{0}};
    struct store *store;
    char *detail;
    int status = CTL_GO_ON;

    if (geteuid() != 0 && !is_me && !named) { /* only root can try it as somebody else */
        tell_step(s, "not tried", "connection", s->role, "only root or the daemon's own user can");
        add_next(s, mem_printf("Try the daemon's way in: as root, atsyncctl check"));
        mem_free_secret(named);
        return CTL_GO_ON;
    }
    mem_free_secret(named);
    store = store_new_at(s->conninfo, "atsyncctl setup");
    if (ctl_connect_as(geteuid() == 0 ? s->daemon.name : NULL, store, &err) == ST_OK &&
        store_schema_check(store, &err) == ST_OK) {
        detail = mem_printf("the daemon gets in, as the OS user %s",
                            geteuid() == 0 || is_me ? s->daemon.name : "that runs this");
        tell_step(s, "works", "connection", s->role, detail);
        mem_free(detail);
    } else {
        tell_step(s, "failed", "connection", s->role, "the daemon does not get in");
        fprintf(stderr, "%s: as the daemon: %s\n", s->command, err.text);
        if (is_socket(s)) {
            fprintf(
                stderr,
                "What to do: let the role in by a line in the server's pg_hba.conf (its place: show hba_file), above "
                "the others, and reload the server:\n    local %s %s peer%s\n",
                s->database, s->role,
                strcmp(s->role, s->daemon.name) == 0 ? "" : " map=NAME     # with a line in pg_ident.conf");
        } else if (advice_of(err.text)) {
            fprintf(stderr, "What to do: %s\n", advice_of(err.text));
        }
        status = EXIT_RUNTIME;
    }
    store_free(store);
    return status;
}

/* ---- secrets */

static int make_secrets(struct setup *s, struct arena *arena)
{
    struct secret_file *files = NULL;
    size_t count = setup_secret_files(s->root, arena, &files);
    int status = CTL_GO_ON;

    for (size_t i = 0; i < count; i++) {
        const struct secret_file *f = &files[i];
        bool is_key = text_eq(f->key, "database.encryption_key");
        struct errmsg err = {{0}};

        if (!f->is_ours) {
            continue; /* what is missing of these is told with the rest of the configuration */
        }
        if (access(f->path, F_OK) == 0) {
            tell_step(s, "was there", "secret", f->path, f->key);
            continue;
        }
        if (is_key && !s->schema_is_new) { /* perhaps it is only not where it should be */
            tell_step(s, "missing", "secret", f->path, "not made anew: the tokens in the database need the old one");
            add_next(s, mem_printf("Bring %s back; if it is lost, make any text of 16 characters or more and authorise "
                                   "the connectors anew.",
                                   f->path));
            continue;
        }
        if (setup_make_secret(f->path, &s->daemon, &err) != ST_OK) {
            tell_step(s, "failed", "secret", f->path, f->key);
            fprintf(stderr, "%s: %s\nWhat to do: run this as root; the directory has to be there.\n", s->command,
                    err.text);
            status = EXIT_RUNTIME;
            continue;
        }
        tell_step(s, "made", "secret", f->path, f->key);
        if (text_starts(f->key, "sources.")) {
            add_next(s, mem_printf("Give the sender the secret in %s. If the sender shows you one of its own instead, "
                                   "write that into the file.",
                                   f->path));
        }
    }
    return status;
}

/* What the daemon's user cannot read, it cannot use. */
static void check_readable(struct setup *s, struct arena *arena)
{
    struct secret_file *files = NULL;
    size_t count = setup_secret_files(s->root, arena, &files);
    const struct group *group = getgrgid(s->daemon.gid);
    struct buf unreadable;

    buf_init(&unreadable, TEXT_MAX_BYTES);
    if (!setup_can_read(s->ctl->config_path, &s->daemon)) {
        buf_puts(&unreadable, s->ctl->config_path);
    }
    for (size_t i = 0; i < count; i++) {
        if (access(files[i].path, F_OK) == 0 && !setup_can_read(files[i].path, &s->daemon)) {
            buf_printf(&unreadable, "%s%s", unreadable.len > 0 ? " " : "", files[i].path);
        }
    }
    if (unreadable.len > 0) {
        add_next(s, mem_printf("Let the daemon's user read its files (and enter their directories): chgrp %s %s; chmod "
                               "640 %s",
                               group ? group->gr_name : s->daemon.name, buf_text(&unreadable), buf_text(&unreadable)));
    }
    buf_free(&unreadable);
}

/* ---- what is left to do */

static void check_rest(struct setup *s)
{
    struct config *config = NULL;
    struct connector_set *connectors = NULL;
    struct buf problems;

    buf_init(&problems, TEXT_MAX_BYTES);
    if (settings_load(s->ctl->config_path, &config, &connectors, &problems) == ST_OK) {
        add_next(s, mem_printf("Start the daemon (systemctl enable --now atsyncd), then look: atsyncctl check"));
    } else {
        for (const char *line = buf_text(&problems); *line != '\0'; line += *line == '\n') {
            size_t len = strcspn(line, "\n");

            add_next(s, mem_printf("Complete the configuration: %.*s", (int)len, line));
            line += len;
        }
    }
    buf_free(&problems);
    connector_set_unref(connectors);
    config_unref(config);
}

static void print_end(struct setup *s, int status)
{
    if (s->steps) {
        struct json *j = json_object();

        json_set_bool(j, "ok", status == EXIT_CLEAN);
        json_set(j, "steps", s->steps);
        json_set(j, "next", json_copy(s->next));
        s->steps = NULL;
        ctl_print_json(j);
        return;
    }
    for (const struct json *n = json_first(s->next); n; n = json_next(n)) {
        struct buf b;

        buf_init(&b, TEXT_MAX_BYTES);
        if (print_to_terminal()) {
            fputs(n == json_first(s->next) ? "\nWhat is left to do:\n" : "", stdout);
            print_wrapped(json_str(n), 2, print_width(), &b);
            fputs(buf_text(&b), stdout);
        } else {
            print_escaped(json_str(n), &b);
            printf("next\t%s\n", buf_text(&b));
        }
        buf_free(&b);
    }
}

static int set_up(struct setup *s)
{
    struct arena *arena = arena_new();
    int status, secrets;

    s->steps = s->ctl->json ? json_array() : NULL;
    status = make_database(s);
    if (status == CTL_GO_ON) {
        status = check_connection(s);
        secrets = make_secrets(s, arena);
        check_readable(s, arena);
        check_rest(s);
        status = status == CTL_GO_ON ? secrets : status;
        status = status == CTL_GO_ON ? EXIT_CLEAN : status;
    }
    print_end(s, status);
    arena_free(arena);
    return status;
}

int ctl_setup(const struct ctl *ctl, int argc, char **argv)
{
    struct setup s = {.ctl = ctl, .command = argv[0], .next = json_array()};
    int status = read_arguments(argc, argv, &s);

    if (status == CTL_GO_ON) {
        status = read_target(&s);
    }
    if (status == CTL_GO_ON) {
        status = s.print ? print_script(&s) : set_up(&s);
    }
    yaml_tree_free(s.root);
    mem_free_secret(s.conninfo);
    mem_free(s.daemon_name);
    mem_free_secret(s.role);
    mem_free_secret(s.database);
    mem_free_secret(s.password);
    json_free(s.steps);
    json_free(s.next);
    return status;
}
