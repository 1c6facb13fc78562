/* PostgreSQL does not answer: is it there, and what starts it? */
#include <glob.h>

#include "base/buf.h"
#include "base/text.h"
#include "config/file.h"
#include "ctl/setup.h"

enum { OS_RELEASE_MAX_BYTES = 64 * 1024, ADVICE_MAX_BYTES = 4096, SERVER_PORT_MAX = 65535 };

/* ---- looking */

/* The number in place of the first * in the last match, 0 if that is none. *ret_any: whether there was a match. */
static int last_match(const char *root, const char *pattern, bool *ret_any)
{
    char *full = mem_printf("%s%s", root, pattern);
    size_t before = (size_t)(strchr(full, '*') ? strchr(full, '*') - full : 0);
    int64_t greatest = 0;
    glob_t found = {0};

    *ret_any = glob(full, 0, NULL, &found) == 0 && found.gl_pathc > 0;
    for (size_t i = 0; *ret_any && before > 0 && i < found.gl_pathc; i++) {
        const char *at = found.gl_pathv[i] + before;
        char *digits = mem_strndup(at, strspn(at, "0123456789"));
        int64_t n = 0;

        if (text_to_i64(digits, 0, SERVER_PORT_MAX, &n) && n > greatest) {
            greatest = n;
        }
        mem_free(digits);
    }
    globfree(&found);
    mem_free(full);
    return (int)greatest;
}

/* ID and ID_LIKE of os-release(5): "debian", "ubuntu" like debian; "fedora", "rocky" like "rhel centos fedora". */
static enum server_system read_system(const char *root)
{
    char *path = mem_printf("%s/etc/os-release", root);
    enum server_system system = SYSTEM_OTHER;
    char *text = NULL;
    size_t len = 0;

    if (file_read(path, OS_RELEASE_MAX_BYTES, 0, &text, &len, NULL, &(struct errmsg){{0}}) == ST_OK) {
        for (const char *line = text; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
            char *one = mem_strndup(line, strcspn(line, "\n"));

            if (text_starts(one, "ID=") || text_starts(one, "ID_LIKE=")) {
                if (strstr(one, "debian") || strstr(one, "ubuntu")) {
                    system = SYSTEM_DEBIAN;
                } else if (strstr(one, "fedora") || strstr(one, "rhel") || strstr(one, "centos")) {
                    system = SYSTEM_FEDORA;
                }
            }
            mem_free(one);
        }
    }
    mem_free(text);
    mem_free(path);
    return system;
}

struct server_facts setup_look_at_server(const char *root, int wanted_port)
{
    static const char *const data[] = {"/etc/postgresql/*/*/postgresql.conf", "/var/lib/pgsql/data/PG_VERSION",
                                       "/var/lib/pgsql/*/data/PG_VERSION"};
    struct server_facts f = {.system = read_system(root)};
    bool any = false;
    int version, port;

    version = last_match(root, "/usr/lib/postgresql/*/bin/postgres", &any);
    f.is_installed = any;
    f.version = version;
    version = last_match(root, "/usr/pgsql-*/bin/postgres", &any);
    if (any) {
        f.is_installed = true;
        f.is_versioned = true;
        f.version = version;
    }
    (void)last_match(root, "/usr/bin/postgres", &any);
    f.is_installed = f.is_installed || any;
    for (size_t i = 0; i < ATS_COUNT(data); i++) {
        (void)last_match(root, data[i], &any);
        f.has_cluster = f.has_cluster || any;
    }
    port = last_match(root, "/run/postgresql/.s.PGSQL.*[0-9]", &any);
    f.answering_port = any && port != wanted_port ? port : 0;
    return f;
}

/* ---- advising */

static void add_start(const struct server_facts *f, struct buf *b)
{
    char *service = f->is_versioned ? mem_printf("postgresql-%d", f->version) : mem_strdup("postgresql");

    switch (f->system) {
    case SYSTEM_DEBIAN:
        if (f->has_cluster) {
            buf_puts(b,
                     "    systemctl start postgresql\n"
                     "    pg_lsclusters                      # shows the clusters, their ports and whether they run\n");
        } else {
            buf_printf(b, "    pg_createcluster %d main --start\n", f->version);
        }
        break;
    case SYSTEM_FEDORA:
        if (!f->has_cluster && f->is_versioned) {
            buf_printf(b, "    /usr/pgsql-%d/bin/postgresql-%d-setup initdb\n", f->version, f->version);
        } else if (!f->has_cluster) {
            buf_puts(b, "    postgresql-setup --initdb\n");
        }
        buf_printf(b, "    systemctl enable --now %s\n", service);
        break;
    case SYSTEM_OTHER:
        buf_puts(b, "    systemctl start postgresql\n");
        break;
    }
    mem_free(service);
}

char *setup_server_advice(const struct server_facts *f)
{
    struct buf b;

    buf_init(&b, ADVICE_MAX_BYTES);
    if (f->answering_port > 0) {
        buf_printf(&b, "A server listens on port %d: is it meant? Then write port=%d into database.conninfo.\n",
                   f->answering_port, f->answering_port);
    } else if (f->is_installed) {
        buf_puts(&b, f->has_cluster ? "PostgreSQL is installed, but it does not run. To start it:\n"
                                    : "PostgreSQL is installed, but it has no data yet. To make them and start it:\n");
        add_start(f, &b);
    } else {
        buf_puts(&b, "PostgreSQL is not installed on this machine. To install and start it:\n");
        switch (f->system) {
        case SYSTEM_DEBIAN:
            buf_puts(&b, "    apt install postgresql\n");
            break;
        case SYSTEM_FEDORA:
            buf_puts(&b, "    dnf install postgresql-server\n    postgresql-setup --initdb\n"
                         "    systemctl enable --now postgresql\n");
            break;
        case SYSTEM_OTHER:
            buf_puts(&b, "    the package of the PostgreSQL server, 13 or newer, of this system\n");
            break;
        }
    }
    buf_puts(&b, "Then run this again. For a database on another machine write host=NAME into database.conninfo.\n");
    return buf_take(&b);
}
