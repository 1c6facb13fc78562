/* What is wrong or will be: atsyncctl doctor. Gathers facts; ctl/doctor.h says what they mean. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/file.h"
#include "ctl/advice.h"
#include "ctl/check.h"
#include "ctl/command.h"
#include "ctl/doctor.h"
#include "ctl/print.h"
#include "ctl/setup.h"
#include "lib/crypto.h"
#include "lib/db.h"
#include "service/app.h"
#include "service/settings.h"
#include "store/setup.h"
#include "store/views.h"

enum { PEM_MAX_BYTES = 256 * 1024, PROBLEMS_MAX_BYTES = 256 * 1024, SEVERITY_CHARS = 8, CLOCK_TRIES = 3 };

struct doctor {
    const struct ctl *ctl;
    struct diagnoses found;
    struct config *config; /* NULL: it cannot be loaded */
    struct connector_set *connectors;
    char *conninfo; /* NULL: not known */
    struct store *store;
    struct json *facts;     /* measured, by the name of the check */
    struct json *looked_at; /* names of checks */
    struct json *unseen;    /* what could not be looked at, with the reason */
};

static void looked_at(struct doctor *d, const char *check)
{
    json_push(d->looked_at, json_string(check));
}

static void could_not_look(struct doctor *d, const char *check, const char *reason)
{
    struct json *one = json_object();

    json_set_str(one, "check", check);
    json_set_str(one, "reason", reason);
    json_push(d->unseen, one);
}

/* Asks, keeps the answer among the facts, and gives it back; NULL after a failure, which is told. */
static const struct json *ask(struct doctor *d, const char *name, enum doctor_fact fact)
{
    struct errmsg err = {{0}};
    struct json *rows = NULL;

    if (store_doctor_ask(d->store, fact, &rows, &err) != ST_OK) {
        could_not_look(d, name, err.text);
        return NULL;
    }
    json_set(d->facts, name, rows);
    return json_get(d->facts, name);
}

/* ---- configuration, secrets, certificates */

static void look_at_configuration(struct doctor *d)
{
    struct buf problems;

    looked_at(d, "configuration");
    buf_init(&problems, PROBLEMS_MAX_BYTES);
    if (settings_load(d->ctl->config_path, &d->config, &d->connectors, &problems) == ST_OK) {
        d->conninfo = mem_strdup(d->config->database.conninfo);
    }
    for (const char *line = buf_text(&problems); *line != '\0'; line += *line == '\n') {
        size_t len = strcspn(line, "\n");

        diagnose(&d->found, SEVERITY_ERROR, "configuration", mem_strndup(line, len),
                 mem_strdup("The daemon does not start with it; one that runs keeps its old settings."),
                 mem_strdup("Correct it, and try it with atsyncctl check."));
        line += len;
    }
    buf_free(&problems);
}

/* Who may read a secret beside the daemon and root. */
static void look_at_secret(struct doctor *d, const char *path, const struct file_reader *daemon)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        return; /* told with the configuration */
    }
    if ((info.st_mode & S_IROTH) != 0) {
        diagnose(&d->found, SEVERITY_ERROR, "secrets", mem_printf("Everybody on this machine can read %s.", path),
                 mem_strdup("Who has the secret can send events as the sender, or act in the ATS as we do."),
                 mem_printf("chmod o-rwx %s, and have another secret made.", path));
    } else if ((info.st_mode & S_IRGRP) != 0 && info.st_gid != 0 && info.st_gid != daemon->gid &&
               info.st_gid != getegid()) {
        const struct group *group = getgrgid(info.st_gid);

        diagnose(&d->found, SEVERITY_WARNING, "secrets",
                 mem_printf("The group %s, which is not the daemon's, can read %s.",
                            group ? group->gr_name : num_text((int64_t)info.st_gid).s, path),
                 mem_strdup("Who has the secret can send events as the sender, or act in the ATS as we do."),
                 mem_printf("chgrp %s %s", daemon->name, path));
    }
    if (info.st_uid != 0 && info.st_uid != daemon->uid && info.st_uid != geteuid()) {
        diagnose(&d->found, SEVERITY_WARNING, "secrets",
                 mem_printf("%s belongs to the user %" PRIuMAX ", neither root nor the daemon.", path,
                            (uintmax_t)info.st_uid),
                 mem_strdup("The owner can read and replace it."), mem_printf("chown root %s", path));
    }
    if (geteuid() == 0 && daemon->uid != 0 && !setup_can_read(path, daemon)) {
        diagnose(&d->found, SEVERITY_ERROR, "secrets",
                 mem_printf("The daemon's user %s cannot read %s.", daemon->name, path),
                 mem_strdup("The daemon does not start, or keeps its old settings."),
                 mem_printf("chgrp %s %s; chmod 640 %s (and let it enter the directory)", daemon->name, path, path));
    }
}

static struct yaml *read_yaml(const struct doctor *d)
{
    struct yaml *root = NULL;
    struct errmsg err = {{0}};
    unsigned line = 0;
    char *text = NULL;
    size_t len = 0;

    if (file_read(d->ctl->config_path, YAML_TEXT_MAX_BYTES, 0, &text, &len, NULL, &err) == ST_OK &&
        yaml_tree_parse(text, len, &root, &line, &err) != ST_OK) {
        root = NULL; /* told with the configuration */
    }
    if (text) {
        mem_wipe(text, len);
    }
    mem_free(text);
    return root;
}

static void look_at_secrets(struct doctor *d)
{
    const struct passwd *user = getpwnam(CTL_DAEMON_USER);
    struct file_reader daemon = {
        .name = user ? user->pw_name : "root", .uid = user ? user->pw_uid : 0, .gid = user ? user->pw_gid : 0};
    struct arena *arena = arena_new();
    struct yaml *root = read_yaml(d);
    struct secret_file *files = NULL;
    size_t count = root ? setup_secret_files(root, arena, &files) : 0;

    if (root) {
        const struct yaml *conninfo = yaml_tree_get(yaml_tree_get(root, "database"), "conninfo");

        looked_at(d, "secrets");
        look_at_secret(d, d->ctl->config_path, &daemon);
        for (size_t i = 0; i < count; i++) {
            look_at_secret(d, files[i].path, &daemon);
        }
        if (!d->conninfo && conninfo && conninfo->kind == YAML_SCALAR) { /* good enough to look on */
            d->conninfo = mem_strdup(conninfo->scalar);
        }
    }
    if (d->config && d->config->receiver.tls_key_file) {
        look_at_secret(d, d->config->receiver.tls_key_file, &daemon);
    }
    for (size_t i = 0; d->config && i < d->config->connector_count; i++) {
        if (d->config->connectors[i].client_key_file) {
            look_at_secret(d, d->config->connectors[i].client_key_file, &daemon);
        }
    }
    if (d->config) {
        struct finding f = check_permissions(d->config, d->connectors);

        for (const char *line = f.message; !f.ok && *line != '\0'; line += *line == '\n') {
            size_t len = strcspn(line, "\n");

            diagnose(&d->found, SEVERITY_ERROR, "secrets", mem_strndup(line, len),
                     mem_strdup("Who can change it decides what the daemon does, and where candidates' data go."),
                     mem_strdup("As the message says."));
            line += len;
        }
        finding_clear(&f);
    }
    yaml_tree_free(root);
    arena_free(arena);
}

static void look_at_pem(struct doctor *d, const char *whose, const char *path, const char *pem, size_t len,
                        const char *why)
{
    struct crypto_certificates all;
    struct errmsg err = {{0}};
    char *what;

    if (crypto_certificates(pem, len, &all, &err) != ST_OK) {
        diagnose(&d->found, SEVERITY_ERROR, "certificates", mem_printf("%s (%s): %s.", whose, path, err.text),
                 mem_strdup(why), mem_strdup("Put the certificate there in PEM form."));
        return;
    }
    what = mem_printf("The certificate %s %s (%s)", all.subject, whose, path);
    judge_end(&d->found, "certificates", what, all.ends_us, clock_wall_us(), why,
              "Have it renewed, put it in its place, then systemctl reload atsyncd.");
    mem_free(what);
}

static void look_at_certificate_file(struct doctor *d, const char *whose, const char *path, bool only_if_single,
                                     const char *why)
{
    struct crypto_certificates all;
    struct errmsg err = {{0}};
    char *pem = NULL;
    size_t len = 0;

    if (!path) {
        return;
    }
    if (file_read(path, PEM_MAX_BYTES, 0, &pem, &len, NULL, &err) != ST_OK) {
        if (!only_if_single) {
            could_not_look(d, "certificates", err.text);
        }
        return;
    }
    if (!only_if_single || (crypto_certificates(pem, len, &all, &err) == ST_OK && all.count == 1)) {
        look_at_pem(d, whose, path, pem, len, why);
    }
    mem_free(pem);
}

static void look_at_certificates(struct doctor *d)
{
    const struct receiver_config *r = &d->config->receiver;
    char *client;

    looked_at(d, "certificates");
    if (r->tls_certificate_pem) {
        look_at_pem(d, "of the receiver", r->tls_certificate_file, r->tls_certificate_pem,
                    strlen(r->tls_certificate_pem),
                    "Senders refuse to deliver to a receiver whose certificate has ended.");
    }
    for (size_t i = 0; i < d->config->connector_count; i++) {
        const struct connector_config *c = &d->config->connectors[i];
        char *whose = mem_printf("of connector %s", c->name);

        look_at_certificate_file(d, whose, c->client_certificate_file, false,
                                 "The ATS does not let us in with a certificate that has ended.");
        /* of a bundle the daemon uses one that has not ended */
        look_at_certificate_file(d, whose, c->ca_file, true,
                                 "With an authority that has ended, no certificate of the ATS is believed.");
        mem_free(whose);
    }
    client = db_conninfo_value(d->config->database.conninfo, "sslcert");
    look_at_certificate_file(d, "of the database connection", client, false,
                             "The database does not let us in with a certificate that has ended.");
    mem_free_secret(client);
}

static void look_at_credentials(struct doctor *d)
{
    looked_at(d, "tokens");
    for (size_t i = 0; i < d->config->connector_count; i++) {
        const struct connector_config *c = &d->config->connectors[i];

        for (size_t k = 0; k < c->credential_count; k++) {
            int64_t ends_us;

            if (token_end(c->credentials[k].value, &ends_us)) {
                char *what = mem_printf("The token connectors.%s.credentials.%s", c->name, c->credentials[k].name);

                judge_end(&d->found, "tokens", what, ends_us, clock_wall_us(),
                          "The ATS does not let us in with a token that has ended, and the connector stops.",
                          "Get a new one from the ATS, put it in its place, then systemctl reload atsyncd.");
                mem_free(what);
            }
        }
    }
}

/* ---- the database */

/* The shortest of some questions tells best. */
static void look_at_clocks(struct doctor *d)
{
    int64_t local_us = 0, database_us = 0, unsure_us = INT64_MAX;
    struct errmsg err = {{0}};
    struct finding f;

    for (int i = 0; i < CLOCK_TRIES; i++) {
        int64_t before_us = clock_wall_us(), now_us = 0;

        if (store_now(d->store, &now_us, &err) != ST_OK) {
            could_not_look(d, "clock", err.text);
            return;
        }
        if ((clock_wall_us() - before_us) / 2 < unsure_us) {
            unsure_us = (clock_wall_us() - before_us) / 2;
            local_us = before_us + unsure_us;
            database_us = now_us;
        }
    }
    looked_at(d, "clock");
    f = check_clock(local_us, database_us, unsure_us);
    if (!f.ok) {
        diagnose(&d->found, SEVERITY_ERROR, "clock", mem_strdup(f.message),
                 mem_strdup("Signatures that carry a time and the ends of access tokens are judged by this machine's "
                            "clock, delays and leases by the database's."),
                 mem_strdup("Set both by NTP."));
    }
    finding_clear(&f);
}

static bool has_version_file(const char *directory)
{
    char *path = mem_printf("%s/PG_VERSION", directory);
    bool has = access(path, F_OK) == 0;

    mem_free(path);
    return has;
}

/* PostgreSQL says where only to some; root finds it by the process that answers. */
static char *find_data_directory(const struct json *server)
{
    const char *told = json_get_str(server, "data_directory");
    char target[4096];
    int64_t pid = 0;
    char *link;
    ssize_t len;

    if (told) {
        return mem_strdup(told);
    }
    if (!json_get_i64(server, "pid", &pid)) {
        return NULL;
    }
    link = mem_printf("/proc/%" PRId64 "/cwd", pid);
    len = readlink(link, target, sizeof target - 1);
    mem_free(link);
    if (len <= 0) {
        return NULL;
    }
    target[len] = '\0';
    return has_version_file(target) ? mem_strdup(target) : NULL;
}

static void look_at_disk(struct doctor *d, const struct json *server)
{
    char *directory = json_get_bool(server, "is_local") ? find_data_directory(server) : NULL;
    struct statfs info;
    int64_t database_bytes = 0;
    struct json *facts;

    (void)json_get_i64(server, "database_bytes", &database_bytes);
    if (!json_get_bool(server, "is_local")) {
        could_not_look(d, "disk", "the database is on another machine");
    } else if (!directory) {
        could_not_look(d, "disk", "only root, and roles in pg_read_all_settings, are told where the database lives");
    } else if (statfs(directory, &info) != 0) {
        char *reason = mem_printf("%s: %s", directory, strerror(errno));

        could_not_look(d, "disk", reason);
        mem_free(reason);
    } else {
        struct disk disk = {.path = directory,
                            .free_bytes = (int64_t)info.f_bavail * (int64_t)info.f_bsize,
                            .total_bytes = (int64_t)info.f_blocks * (int64_t)info.f_bsize};

        looked_at(d, "disk");
        facts = json_object();
        json_set_str(facts, "path", disk.path);
        json_set_int(facts, "free_bytes", disk.free_bytes);
        json_set_int(facts, "total_bytes", disk.total_bytes);
        json_set(d->facts, "disk", facts);
        judge_disk(&d->found, &disk, database_bytes);
    }
    mem_free(directory);
}

/*
 * Who holds the horizon, as the server's own superuser where we can be that one: root of this machine may become the OS
 * user postgres, and is told about everybody's sessions then. *ret_all: whether that was so.
 */
static const struct json *ask_for_holders(struct doctor *d, const struct json *server, bool *ret_all)
{
    struct store *own = d->store;
    struct store *admin = NULL;
    char *conninfo = NULL;
    const struct json *holders;
    struct errmsg err = {{0}};

    *ret_all = json_get_bool(server, "sees_sessions");
    if (!*ret_all && geteuid() == 0 && json_get_bool(server, "is_local") && getpwnam("postgres")) {
        conninfo = db_conninfo_with(d->conninfo, "user", "postgres", "password", NULL, "passfile", NULL, "options",
                                    NULL, NULL);
    }
    if (conninfo) {
        admin = store_new_at(conninfo, "atsyncctl doctor");
        if (ctl_connect_as("postgres", admin, &err) == ST_OK) {
            d->store = admin;
            *ret_all = true;
        }
    }
    holders = ask(d, "horizon", DOCTOR_HOLDERS);
    d->store = own;
    store_free(admin);
    mem_free_secret(conninfo);
    return holders;
}

static void look_at_server(struct doctor *d)
{
    const struct json *server = json_first(ask(d, "server", DOCTOR_SERVER));
    const struct json *tables = ask(d, "tables", DOCTOR_TABLES);
    const struct json *indexes = ask(d, "indexes", DOCTOR_INDEXES);
    bool sees_all = false;
    const struct json *holders = ask_for_holders(d, server, &sees_all);

    if (server) {
        looked_at(d, "durability");
        looked_at(d, "connections");
        looked_at(d, "transactions");
        judge_durability(&d->found, server);
        judge_server(&d->found, server);
        look_at_disk(d, server);
    }
    if (holders) {
        looked_at(d, "horizon");
        judge_horizon(&d->found, holders);
        if (server && !sees_all) {
            char *reason =
                mem_printf("of other roles' sessions it is not told how old they are: grant pg_read_all_stats to %s",
                           json_get_str(server, "role"));

            could_not_look(d, "horizon", reason);
            mem_free(reason);
        }
    }
    if (server && tables && indexes) {
        looked_at(d, "autovacuum");
        looked_at(d, "bloat");
        judge_autovacuum(&d->found, server, tables);
        judge_bloat(&d->found, tables, indexes);
        judge_indexes(&d->found, indexes);
    }
}

/* True if the schema is one that can be looked at. */
static bool look_at_schema(struct doctor *d)
{
    struct schema_status status = {0};
    struct errmsg err = {{0}};
    char *actual = NULL;

    if (store_schema_status(d->store, &status, &err) != ST_OK) {
        could_not_look(d, "schema", err.text);
        return false;
    }
    looked_at(d, "schema");
    judge_release(&d->found, &status);
    if (status.version == status.newest_known && !status.migration_missing) {
        if (store_doctor_schema(d->store, &actual, &err) == ST_OK) {
            judge_schema(&d->found, store_doctor_expected_schema(), actual);
        } else {
            could_not_look(d, "schema", err.text);
        }
        mem_free(actual);
    }
    return status.version > 0;
}

static void look_at_senders(struct doctor *d)
{
    const char **names = mem_array(d->config->source_count + 1, sizeof *names);
    struct errmsg err = {{0}};
    struct json *rows = NULL;

    for (size_t i = 0; i < d->config->source_count; i++) {
        names[i] = d->config->sources[i].name;
    }
    if (store_doctor_ask_sources(d->store, names, d->config->source_count, &rows, &err) == ST_OK) {
        looked_at(d, "silence");
        for (const struct json *row = json_first(rows); row; row = json_next(row)) {
            judge_silence(&d->found, row);
            judge_sender_clock(&d->found, row);
        }
        json_set(d->facts, "senders", rows);
    } else {
        could_not_look(d, "silence", err.text);
    }
    mem_free(names);
}

static void count_issues(struct doctor *d)
{
    struct errmsg err = {{0}};
    struct json *issues = NULL;
    size_t errors = 0;

    if (store_show_issues(d->store, false, &issues, &err) != ST_OK) {
        could_not_look(d, "issues", err.text);
        return;
    }
    looked_at(d, "issues");
    for (const struct json *i = json_first(issues); i; i = json_next(i)) {
        errors += text_eq(json_get_str(i, "severity"), "error");
    }
    if (json_count(issues) > 0) {
        diagnose(
            &d->found, errors > 0 ? SEVERITY_WARNING : SEVERITY_INFO, "issues",
            mem_printf("%zu %s open, %zu of them errors.", json_count(issues),
                       json_count(issues) == 1 ? "issue is" : "issues are", errors),
            mem_strdup("The daemon has found something about candidates, connectors or the mapping that people have "
                       "to look at."),
            mem_strdup("atsyncctl issues"));
    }
    json_free(issues);
}

static bool ask_pooling(struct doctor *d, const char *conninfo, enum pooling *ret)
{
    struct store *one = store_new_at(conninfo, "atsyncctl doctor");
    struct store *other = store_new_at(conninfo, "atsyncctl doctor");
    struct errmsg err = {{0}};
    bool ok = ctl_connect_by(conninfo, one, &err) == ST_OK && ctl_connect_by(conninfo, other, &err) == ST_OK &&
              store_doctor_pooling(one, other, ret, &err) == ST_OK;

    if (!ok) {
        could_not_look(d, "pooler", err.text);
    }
    store_free(one);
    store_free(other);
    return ok;
}

static void look_at_pooling(struct doctor *d)
{
    const char *listen_conninfo = d->config ? d->config->database.listen_conninfo : NULL;
    enum pooling pooling = POOLING_NONE, listen = POOLING_NONE;

    if (ask_pooling(d, d->conninfo, &pooling) && (!listen_conninfo || ask_pooling(d, listen_conninfo, &listen))) {
        looked_at(d, "pooler");
        judge_pooling(&d->found, pooling, listen_conninfo != NULL, listen);
    }
}

static void look_at_database(struct doctor *d)
{
    const struct json *rows;
    struct errmsg err = {{0}};

    d->store = store_new_at(d->conninfo, "atsyncctl doctor");
    looked_at(d, "database");
    if (ctl_connect_by(d->conninfo, d->store, &err) != ST_OK) {
        const char *advice = advice_of(err.text);

        diagnose(&d->found, SEVERITY_ERROR, "database", mem_printf("%s.", err.text),
                 mem_strdup("Without it events are answered with 503 and nothing is delivered."),
                 mem_strdup(advice ? advice : "Look at the server's log, and at database.conninfo."));
        return;
    }
    /* a pooler may have no more than two for us */
    store_disconnect(d->store);
    look_at_pooling(d);
    if (ctl_connect_by(d->conninfo, d->store, &err) != ST_OK) {
        could_not_look(d, "schema", err.text);
        return;
    }
    look_at_clocks(d);
    if (!look_at_schema(d)) {
        return;
    }
    look_at_server(d);
    rows = ask(d, "daemons", DOCTOR_DAEMONS);
    if (rows) {
        looked_at(d, "daemons");
        judge_daemons(&d->found, json_first(rows), ATSYNC_VERSION);
    }
    rows = ask(d, "tokens", DOCTOR_TOKENS);
    if (rows) {
        judge_tokens(&d->found, rows);
    }
    if (d->config) {
        look_at_senders(d);
    }
    count_issues(d);
}

/* ---- the report */

static struct json *json_of(const struct diagnosis *f)
{
    struct json *j = json_object();

    json_set_str(j, "severity", severity_name(f->severity));
    json_set_str(j, "check", f->check);
    json_set_str(j, "what", f->what);
    json_set_str(j, "why", f->why);
    json_set_str(j, "todo", f->todo);
    return j;
}

static size_t count_of(const struct doctor *d, enum severity severity)
{
    size_t count = 0;

    for (size_t i = 0; i < d->found.count; i++) {
        count += d->found.items[i].severity == severity;
    }
    return count;
}

static void add_count(struct buf *b, size_t count, const char *one)
{
    buf_printf(b, "%zu %s%s", count, one, count == 1 ? "" : "s");
}

static void print_for_people(const struct doctor *d)
{
    size_t width = print_width();
    struct buf b;

    buf_init(&b, SIZE_MAX / 4);
    for (size_t i = 0; i < d->found.count; i++) {
        const struct diagnosis *f = &d->found.items[i];
        char *todo;

        buf_printf(&b, "%-*s %s\n", SEVERITY_CHARS, severity_name(f->severity), f->check);
        print_wrapped(f->what, 2, width, &b);
        print_wrapped(f->why, 4, width, &b);
        todo = mem_printf("To do: %s", f->todo);
        print_wrapped(todo, 4, width, &b);
        mem_free(todo);
        buf_putc(&b, '\n');
    }
    for (const struct json *u = json_first(d->unseen); u; u = json_next(u)) {
        char *line = mem_printf("Not looked at: %s: %s.", json_get_str(u, "check"), json_get_str(u, "reason"));

        print_wrapped(line, 0, width, &b);
        mem_free(line);
    }
    if (d->found.count == 0) {
        buf_printf(&b, "Nothing is wrong: %zu checks.\n", json_count(d->looked_at));
    } else {
        buf_printf(&b, "%zu checks: ", json_count(d->looked_at));
        add_count(&b, count_of(d, SEVERITY_ERROR), "error");
        buf_puts(&b, ", ");
        add_count(&b, count_of(d, SEVERITY_WARNING), "warning");
        buf_printf(&b, ", %zu to know.\n", count_of(d, SEVERITY_INFO));
    }
    fputs(buf_text(&b), stdout);
    buf_free(&b);
}

static void print_lines(const struct doctor *d)
{
    static const struct column columns[] = {
        {"severity", "", false}, {"check", "", false}, {"what", "", false}, {"why", "", false}, {"todo", "", false}};
    struct json *rows = json_array();
    struct buf b;

    for (size_t i = 0; i < d->found.count; i++) {
        json_push(rows, json_of(&d->found.items[i]));
    }
    buf_init(&b, SIZE_MAX / 4);
    print_table(rows, columns, ATS_COUNT(columns), false, &b);
    fputs(buf_text(&b), stdout);
    buf_free(&b);
    json_free(rows);
}

static void print_json(const struct doctor *d)
{
    struct json *j = json_object();
    struct json *findings = json_array();

    for (size_t i = 0; i < d->found.count; i++) {
        json_push(findings, json_of(&d->found.items[i]));
    }
    json_set_bool(j, "ok", count_of(d, SEVERITY_ERROR) == 0);
    json_set(j, "findings", findings);
    json_set(j, "checked", json_copy(d->looked_at));
    json_set(j, "not_checked", json_copy(d->unseen));
    json_set(j, "measured", json_copy(d->facts));
    ctl_print_json(j);
}

int ctl_doctor(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    struct doctor d = {.ctl = ctl};
    int status;

    if (ctl_next_option(argc, argv, "", options) != -1) {
        return EXIT_USAGE;
    }
    if (optind < argc) {
        return ctl_usage(argv[0], "unexpected argument \"%s\"", argv[optind]);
    }
    d.facts = json_object();
    d.looked_at = json_array();
    d.unseen = json_array();
    look_at_configuration(&d);
    look_at_secrets(&d);
    if (d.config) {
        look_at_certificates(&d);
        look_at_credentials(&d);
    }
    if (d.conninfo) {
        look_at_database(&d);
    } else {
        could_not_look(&d, "database", "the configuration names none");
    }
    diagnoses_sort(&d.found);
    status = count_of(&d, SEVERITY_ERROR) > 0 ? EXIT_RUNTIME : EXIT_CLEAN;
    if (ctl->json) {
        print_json(&d);
    } else if (print_to_terminal()) {
        print_for_people(&d);
    } else {
        print_lines(&d);
    }
    diagnoses_clear(&d.found);
    json_free(d.facts);
    json_free(d.looked_at);
    json_free(d.unseen);
    store_free(d.store);
    mem_free_secret(d.conninfo);
    connector_set_unref(d.connectors);
    config_unref(d.config);
    return status;
}
