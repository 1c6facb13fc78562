#include <stdarg.h>

#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "config/config_keys.h"

enum { PATH_MAX_BYTES = 1024 };

/* ---- telling problems */
void key_path_add(struct buf *out, const struct key_path *path)
{
    if (path == NULL)
        return;
    key_path_add(out, path->parent);
    if (path->name == NULL)
        buf_printf(out, "[%zu]", path->index);
    else
        buf_printf(out, "%s%s", path->parent != NULL ? "." : "", path->name);
}

void reader_problem(struct config_reader *r, unsigned line, const struct key_path *path, const char *fmt, ...)
{
    struct buf name;
    va_list ap;
    char text[1024];

    buf_init(&name, PATH_MAX_BYTES);
    key_path_add(&name, path);
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    config_problem_add(r->problems, r->file, line, buf_text(&name), "%s", text);
    buf_free(&name);
}

void reader_inline_secret(struct config_reader *r, unsigned line)
{
    if (!r->inline_secret)
        r->inline_secret_line = line;
    r->inline_secret = true;
}

static const char *article(const char *noun)
{
    return strchr("aeio", *noun) != NULL ? "an" : "a"; /* "a URL" */
}

const char *reader_scalar(struct config_reader *r, const struct key *key, const struct yaml *node,
                          const struct key_path *path)
{
    const char *name = key->type->name, *example = key->type->example;
    const char *open = example != NULL ? " (such as " : "", *close = example != NULL ? ")" : "";

    if (example == NULL)
        example = "";
    if (node->kind != YAML_SCALAR) {
        reader_problem(r, node->line, path, "must be %s %s%s%s%s, not a %s", article(name), name, open, example, close,
                       node->kind == YAML_MAP ? "map" : "list");
        return NULL;
    }
    if (yaml_tree_is_null(node)) {
        reader_problem(r, node->line, path, "has no value: give %s %s%s%s%s or leave the key out", article(name), name,
                       open, example, close);
        return NULL;
    }
    return node->scalar;
}

/* ---- reading */
static void read_value(struct config_reader *r, const struct key *key, const struct yaml *node, unsigned key_line,
                       const struct key_path *path, void *object);

static const struct key *find_key(const struct key *keys, const char *name)
{
    for (; keys->name != NULL; keys++) {
        if (text_eq(keys->name, name))
            return keys;
    }
    return NULL;
}

static size_t count_keys(const struct key *keys)
{
    size_t count = 0;

    while (keys[count].name != NULL)
        count++;
    return count;
}

static void unknown_key(struct config_reader *r, const struct key *keys, unsigned line, const struct key_path *path)
{
    size_t count = count_keys(keys);
    const char **names = mem_array(count, sizeof *names);
    struct buf possible;

    buf_init(&possible, PATH_MAX_BYTES);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&possible, "%s%s", i > 0 ? ", " : "", keys[i].name);
        names[i] = keys[i].name;
    }
    const char *meant = suggest(path->name, names, count);
    if (meant != NULL)
        reader_problem(r, line, path, "unknown key, did you mean \"%s\"?", meant);
    else
        reader_problem(r, line, path, "unknown key; possible here: %s", buf_text(&possible));
    buf_free(&possible);
    mem_free(names);
}

/* Is this the item's first time? If not, that is a problem, and it is told. */
static bool first_time(struct config_reader *r, const struct yaml_item *item, const struct key_path *path)
{
    if (item->first_line != 0)
        reader_problem(r, item->key_line, path, "given twice, first in line %u", item->first_line);
    return item->first_line == 0;
}

static void read_default(struct config_reader *r, const struct key *key, const struct key_path *path, void *object);

/* node NULL: the section is not in the file, its keys get their defaults. */
static void read_section(struct config_reader *r, const struct key *keys, const struct yaml *node,
                         const struct key_path *path, void *object)
{
    bool *given = mem_array(count_keys(keys), sizeof *given);

    for (size_t i = 0; node != NULL && i < node->count; i++) {
        const struct yaml_item *item = &node->items[i];
        const struct key_path below = {.parent = path, .name = item->key};
        const struct key *key = find_key(keys, item->key);

        if (!first_time(r, item, &below))
            continue;
        if (key == NULL) {
            unknown_key(r, keys, item->key_line, &below);
            continue;
        }
        /* the default comes first: a value that is refused leaves it in place for the rules that compare values */
        given[key - keys] = true;
        read_default(r, key, &below, object);
        read_value(r, key, item->value, item->key_line, &below, object);
    }
    for (const struct key *key = keys; key->name != NULL; key++) {
        const struct key_path below = {.parent = path, .name = key->name};

        if (given[key - keys])
            continue;
        if (key->required && node != NULL)
            reader_problem(r, node->line, &below, "is missing");
        read_default(r, key, &below, object);
    }
    mem_free(given);
}

static void read_default(struct config_reader *r, const struct key *key, const struct key_path *path, void *object)
{
    if (key->type == NULL && key->children != NULL)
        read_section(r, key->children, NULL, path, object);
    if (key->type != NULL && key->fallback != NULL) {
        char *text = mem_strdup(key->fallback);
        const struct yaml node = {.kind = YAML_SCALAR, .scalar = text, .quoted = *text == '\0'};
        key->type->read(r, key, &node, path, object);
        mem_free(text);
    }
}

static void read_entries(struct config_reader *r, const struct key *key, const struct yaml *node,
                         const struct key_path *path, void *object)
{
    const struct key_entries *e = &key->entries;
    size_t count = 0;
    char *items = mem_array(node->count > 0 ? node->count : 1, e->item_size);

    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_item *entry = &node->items[i];
        const struct key_path below = {.parent = path, .name = entry->key};

        if (!first_time(r, entry, &below))
            continue;
        char *item = items + count++ * e->item_size;
        text_put(item, e->name, mem_strdup(entry->key));
        if (e->line != NO_LINE)
            value_put(item, e->line, &entry->key_line, sizeof entry->key_line);
        if (*entry->key == '\0')
            reader_problem(r, entry->key_line, path, "a name must not be empty");
        read_value(r, key->entry, entry->value, entry->key_line, &below, item);
    }
    void *array = items;
    value_put(object, e->items, &array, sizeof array);
    value_put(object, e->count, &count, sizeof count);
}

static void read_value(struct config_reader *r, const struct key *key, const struct yaml *node, unsigned key_line,
                       const struct key_path *path, void *object)
{
    bool container = key->children != NULL || key->entry != NULL;
    const struct yaml empty = {.kind = YAML_MAP, .line = key_line};

    if (container && (key->type == NULL || node->kind == YAML_MAP)) {
        if (yaml_tree_is_null(node)) /* "receiver:" with all its keys commented out */
            node = &empty;
        if (node->kind != YAML_MAP) {
            reader_problem(r, node->line, path, "must be a map (keys with values below it), not a %s",
                           node->kind == YAML_SEQ ? "list" : "text");
            return;
        }
        if (key->entry != NULL)
            read_entries(r, key, node, path, object);
        else
            read_section(r, key->children, node, path, object);
    } else {
        key->type->read(r, key, node, path, object);
    }
    if (key->check != NULL)
        key->check(r, node, key_line, path, object);
}

void config_read(struct config_reader *r, const struct yaml *root, struct config *c)
{
    if (root->kind != YAML_MAP) {
        reader_problem(r, root->line, NULL, "the file must be a map: keys such as receiver: and sources:");
        return;
    }
    read_section(r, config_keys, root, NULL, c);
}
