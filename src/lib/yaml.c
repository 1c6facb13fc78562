#include "lib/yaml.h"

#include <yaml.h>

#include "base/mem.h"

enum { LEVELS_MAX = 64, NODES_MAX = 100000 };

struct reading {
    yaml_parser_t parser;
    const char *text;
    size_t len;
    size_t nodes;
    unsigned *line;
    struct errmsg *err;
};

static unsigned line_of(const yaml_mark_t *mark)
{
    return (unsigned)mark->line + 1;
}

static int refuse(struct reading *r, enum status st, const yaml_mark_t *at, const char *why)
{
    *r->line = line_of(at);
    return err_set(r->err, st, "%s", why);
}

/* libyaml's own texts are constants: they do not quote the file. */
static int syntax_error(struct reading *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem != NULL ? p->problem : "it cannot be read";

    if (p->error == YAML_READER_ERROR) {
        /* such an error has an offset instead of a mark */
        unsigned line = 1;
        for (size_t i = 0; i < p->problem_offset && i < r->len; i++)
            line += r->text[i] == '\n';
        *r->line = line;
        return err_set(r->err, ST_INVALID, "not valid YAML: %s", problem);
    }
    *r->line = line_of(&p->problem_mark);
    if (p->context != NULL)
        return err_set(r->err, ST_INVALID, "not valid YAML: %s (%s that began in line %u)", problem, p->context,
                       line_of(&p->context_mark));
    return err_set(r->err, ST_INVALID, "not valid YAML: %s", problem);
}

static int next_event(struct reading *r, yaml_event_t *event)
{
    if (!yaml_parser_parse(&r->parser, event))
        return syntax_error(r);
    return ST_OK;
}

static void drop_event(yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        mem_wipe(event->data.scalar.value, event->data.scalar.length);
    yaml_event_delete(event);
}

static void node_free(struct yaml *n)
{
    if (n == NULL)
        return;
    for (size_t i = 0; i < n->count; i++) {
        mem_free_secret(n->items[i].key);
        node_free(n->items[i].value);
    }
    mem_free(n->items);
    mem_free_secret(n->scalar);
    mem_free(n);
}

void yaml_tree_free(struct yaml *root)
{
    node_free(root);
}

static struct yaml *node_new(enum yaml_kind kind, const yaml_mark_t *at)
{
    struct yaml *n = mem_zalloc(sizeof *n);

    n->kind = kind;
    n->line = line_of(at);
    return n;
}

static struct yaml_item *add_item(struct yaml *parent, size_t *cap)
{
    if (parent->count == *cap) {
        *cap = *cap == 0 ? 8 : *cap * 2;
        parent->items = mem_grow(parent->items, *cap, sizeof *parent->items);
    }
    struct yaml_item *item = &parent->items[parent->count++];
    *item = (struct yaml_item){0};
    return item;
}

static int by_key_and_place(const void *a, const void *b)
{
    const struct yaml_item *const *x = a;
    const struct yaml_item *const *y = b;
    int order = strcmp((*x)->key, (*y)->key);

    if (order != 0)
        return order;
    return *x < *y ? -1 : *x > *y;
}

static void mark_repeated_keys(struct yaml *map)
{
    if (map->count < 2)
        return;
    struct yaml_item **sorted = mem_array(map->count, sizeof *sorted);
    for (size_t i = 0; i < map->count; i++)
        sorted[i] = &map->items[i];
    qsort(sorted, map->count, sizeof *sorted, by_key_and_place);
    for (size_t i = 1; i < map->count; i++) {
        const struct yaml_item *before = sorted[i - 1];
        if (strcmp(before->key, sorted[i]->key) == 0)
            sorted[i]->first_line = before->first_line != 0 ? before->first_line : before->key_line;
    }
    mem_free(sorted);
}

static int read_node(struct reading *r, yaml_event_t *event, unsigned level, struct yaml **ret);

static int read_scalar(struct reading *r, const yaml_event_t *event, struct yaml **ret)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;

    if (event->data.scalar.anchor != NULL)
        return refuse(r, ST_INVALID, &event->start_mark, "anchors (&) are not supported here: write the value out");
    if (event->data.scalar.tag != NULL)
        return refuse(r, ST_INVALID, &event->start_mark, "tags (!) are not supported here: leave the tag out");
    if (memchr(text, '\0', len) != NULL)
        return refuse(r, ST_INVALID, &event->start_mark, "a text must not hold a NUL character (\\0)");

    struct yaml *n = node_new(YAML_SCALAR, &event->start_mark);
    n->scalar = mem_strndup(text, len);
    n->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    *ret = n;
    return ST_OK;
}

static int read_seq(struct reading *r, const yaml_event_t *start, unsigned level, struct yaml **ret)
{
    struct yaml *n = NULL;
    size_t cap = 0;
    int st;

    if (start->data.sequence_start.anchor != NULL)
        return refuse(r, ST_INVALID, &start->start_mark, "anchors (&) are not supported here: write the value out");
    if (start->data.sequence_start.tag != NULL)
        return refuse(r, ST_INVALID, &start->start_mark, "tags (!) are not supported here: leave the tag out");

    n = node_new(YAML_SEQ, &start->start_mark);
    for (;;) {
        yaml_event_t event;
        st = next_event(r, &event);
        if (st != ST_OK)
            goto out;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            drop_event(&event);
            break;
        }
        struct yaml *value = NULL;
        st = read_node(r, &event, level, &value);
        if (st != ST_OK)
            goto out;
        struct yaml_item *item = add_item(n, &cap);
        item->key_line = value->line;
        item->value = value;
    }
    *ret = n;
    n = NULL;
out:
    node_free(n);
    return st;
}

static int read_map(struct reading *r, const yaml_event_t *start, unsigned level, struct yaml **ret)
{
    struct yaml *n = NULL;
    size_t cap = 0;
    int st;

    if (start->data.mapping_start.anchor != NULL)
        return refuse(r, ST_INVALID, &start->start_mark, "anchors (&) are not supported here: write the value out");
    if (start->data.mapping_start.tag != NULL)
        return refuse(r, ST_INVALID, &start->start_mark, "tags (!) are not supported here: leave the tag out");

    n = node_new(YAML_MAP, &start->start_mark);
    for (;;) {
        yaml_event_t event;
        st = next_event(r, &event);
        if (st != ST_OK)
            goto out;
        if (event.type == YAML_MAPPING_END_EVENT) {
            drop_event(&event);
            break;
        }
        yaml_mark_t at = event.start_mark;
        struct yaml *key = NULL;
        st = read_node(r, &event, level, &key);
        if (st != ST_OK)
            goto out;
        if (key->kind != YAML_SCALAR) {
            node_free(key);
            st = refuse(r, ST_INVALID, &at, "a key must be a text, not a list or a map");
            goto out;
        }
        if (strcmp(key->scalar, "<<") == 0 && !key->quoted) {
            node_free(key);
            st = refuse(r, ST_INVALID, &at, "merge keys (<<) are not supported here: write the keys out");
            goto out;
        }
        struct yaml_item *item = add_item(n, &cap);
        item->key = key->scalar;
        item->key_line = key->line;
        key->scalar = NULL;
        node_free(key);

        st = next_event(r, &event);
        if (st == ST_OK)
            st = read_node(r, &event, level, &item->value);
        if (st != ST_OK)
            goto out;
    }
    mark_repeated_keys(n);
    *ret = n;
    n = NULL;
out:
    node_free(n);
    return st;
}

/* Consumes the event. */
static int read_node(struct reading *r, yaml_event_t *event, unsigned level, struct yaml **ret)
{
    int st;

    if (level > LEVELS_MAX)
        st = refuse(r, ST_LIMIT, &event->start_mark, "nested deeper than 64 levels");
    else if (++r->nodes > NODES_MAX)
        st = refuse(r, ST_LIMIT, &event->start_mark, "more than 100000 values in one file");
    else if (event->type == YAML_SCALAR_EVENT)
        st = read_scalar(r, event, ret);
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        st = read_seq(r, event, level + 1, ret);
    else if (event->type == YAML_MAPPING_START_EVENT)
        st = read_map(r, event, level + 1, ret);
    else
        st = refuse(r, ST_INVALID, &event->start_mark, "aliases (*) are not supported here: write the value out");
    drop_event(event);
    return st;
}

static int read_document(struct reading *r, struct yaml **ret)
{
    struct yaml *root = NULL;
    yaml_event_t event;
    int st;

    for (;;) {
        st = next_event(r, &event);
        if (st != ST_OK)
            goto out;
        if (event.type == YAML_STREAM_END_EVENT) {
            drop_event(&event);
            break;
        }
        if (event.type == YAML_DOCUMENT_START_EVENT) {
            bool second = root != NULL;
            bool tags = event.data.document_start.tag_directives.start != event.data.document_start.tag_directives.end;
            yaml_mark_t at = event.start_mark;
            drop_event(&event);
            if (second)
                st = refuse(r, ST_INVALID, &at, "a second document (---) is not supported: keep one document a file");
            else if (tags)
                st = refuse(r, ST_INVALID, &at, "tags (%TAG) are not supported here: leave the directive out");
            else if ((st = next_event(r, &event)) == ST_OK)
                st = read_node(r, &event, 1, &root);
            if (st != ST_OK)
                goto out;
        } else {
            drop_event(&event); /* start of the stream, end of the document */
        }
    }
    if (root == NULL || yaml_tree_is_null(root)) {
        node_free(root);
        root = mem_zalloc(sizeof *root);
        root->kind = YAML_MAP;
        root->line = 1;
    }
    *ret = root;
    root = NULL;
out:
    node_free(root);
    return st;
}

int yaml_tree_parse(const char *text, size_t len, struct yaml **ret, unsigned *ret_line, struct errmsg *err)
{
    struct reading r = {.text = text, .len = len, .line = ret_line, .err = err};
    int st;

    if (len > YAML_TEXT_MAX_BYTES) {
        *ret_line = 1;
        return err_set(err, ST_LIMIT, "larger than 1 MiB");
    }
    if (!yaml_parser_initialize(&r.parser)) {
        *ret_line = 1;
        return err_set(err, ST_INTERNAL, "libyaml has no memory");
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    st = read_document(&r, ret);

    /* libyaml's own copies of the text, which may hold secrets */
    mem_wipe(r.parser.raw_buffer.start, (size_t)(r.parser.raw_buffer.end - r.parser.raw_buffer.start));
    mem_wipe(r.parser.buffer.start, (size_t)(r.parser.buffer.end - r.parser.buffer.start));
    yaml_parser_delete(&r.parser);
    return st;
}

const struct yaml *yaml_tree_get(const struct yaml *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->items[i].key, key) == 0)
            return map->items[i].value;
    }
    return NULL;
}

bool yaml_tree_is_null(const struct yaml *n)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

    if (n->kind != YAML_SCALAR || n->quoted)
        return false;
    for (size_t i = 0; i < ATS_COUNT(nulls); i++) {
        if (strcmp(n->scalar, nulls[i]) == 0)
            return true;
    }
    return false;
}
