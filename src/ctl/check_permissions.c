#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/file.h"
#include "ctl/check.h"
#include "lib/yaml.h"

enum { PROBLEMS_MAX_BYTES = 256 * 1024 };

struct looking {
    struct buf problems;
    unsigned count;
    char **directories; /* each is looked at once */
    size_t directory_count;
};

static void look_at_directory(struct looking *l, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = !slash ? mem_strdup(".") : slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
    struct stat info;

    for (size_t i = 0; i < l->directory_count; i++) {
        if (strcmp(l->directories[i], dir) == 0) {
            mem_free(dir);
            return;
        }
    }
    /* with the sticky bit only owners take away their files */
    if (stat(dir, &info) == 0 && (info.st_mode & S_IWOTH) != 0 && (info.st_mode & S_ISVTX) == 0) {
        buf_printf(&l->problems, "others can replace what is in %s (mode %04o): run chmod o-w on it\n", dir,
                   (unsigned)info.st_mode & 07777U);
    }
    l->directories = mem_grow(l->directories, l->directory_count + 1, sizeof *l->directories);
    l->directories[l->directory_count++] = dir;
}

/* Who can read it was looked at when it was loaded. */
static void look_at_file(struct looking *l, const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        buf_printf(&l->problems, "cannot look at %s: %s\n", path, strerror(errno));
        return;
    }
    l->count++;
    if ((info.st_mode & S_IWOTH) != 0) {
        buf_printf(&l->problems, "others can write %s (mode %04o): run chmod o-w on it\n", path,
                   (unsigned)info.st_mode & 07777U);
    }
    look_at_directory(l, path);
}

/* Secrets are {file: PATH}; "key" is the private key of a tls section. */
static void look_through(struct looking *l, const struct yaml *node)
{
    const struct yaml *file = node->count == 1 ? yaml_tree_get(node, "file") : NULL;
    const struct yaml *tls = yaml_tree_get(node, "tls");
    const struct yaml *key = yaml_tree_get(tls, "key");

    if (file && file->kind == YAML_SCALAR) {
        look_at_file(l, file->scalar);
        return;
    }
    if (key && key->kind == YAML_SCALAR) {
        look_at_file(l, key->scalar);
    }
    for (size_t i = 0; i < node->count; i++) {
        look_through(l, node->items[i].value);
    }
}

static void look_at_references(struct looking *l, const struct config *config)
{
    struct yaml *root = NULL;
    struct errmsg err = {{0}};
    unsigned line = 0;
    char *text = NULL;
    size_t len = 0;

    if (file_read(config->path, YAML_TEXT_MAX_BYTES, 0, &text, &len, NULL, &err) == ST_OK &&
        yaml_tree_parse(text, len, &root, &line, &err) == ST_OK) {
        look_through(l, root);
    } else {
        buf_printf(&l->problems, "%s\n", err.text); /* it was good a moment ago */
    }
    if (text) {
        mem_wipe(text, len);
    }
    mem_free(text);
    yaml_tree_free(root);
}

struct finding check_permissions(const struct config *config, const struct connector_set *connectors)
{
    struct looking l = {.count = 0};
    struct finding f = {.ok = false};

    buf_init(&l.problems, PROBLEMS_MAX_BYTES);
    look_at_file(&l, config->path);
    look_at_references(&l, config);
    for (size_t i = 0; i < config->connector_count; i++) {
        const struct connector_module *m = connector_set_find(connectors, config->connectors[i].name);

        if (m) {
            look_at_file(&l, connector_module_path(m));
        }
    }
    f.ok = l.problems.len == 0;
    f.message = f.ok ? mem_printf("nobody else can change the %u files that count", l.count)
                     : mem_strndup(buf_text(&l.problems), l.problems.len - 1);
    buf_free(&l.problems);
    for (size_t i = 0; i < l.directory_count; i++) {
        mem_free(l.directories[i]);
    }
    mem_free(l.directories);
    return f;
}
