#include "config/config.h"

#include <stdarg.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/text.h"
#include "config/config_keys.h"
#include "config/file.h"
#include "lib/crypto.h"
#include "lib/yaml.h"

enum { OTHERS = 07, SHOWN_MAX_BYTES = 200 };

/* ---- problems */
static char *printable(char *s)
{
    for (char *p = s; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?'; /* a name with a newline must not look like a second message */
    }
    return s;
}

void config_problem_add(struct config_problems *p, const char *file, unsigned line, const char *path, const char *fmt,
                        ...)
{
    va_list ap;

    p->items = mem_grow(p->items, p->count + 1, sizeof *p->items);
    va_start(ap, fmt);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = mem_alloc(len > 0 ? (size_t)len + 1 : 1);
    va_start(ap, fmt);
    (void)vsnprintf(text, len > 0 ? (size_t)len + 1 : 1, fmt, ap);
    va_end(ap);
    p->items[p->count++] = (struct config_problem){
        .file = mem_strdup(file),
        .line = line,
        .path = printable(mem_strdup(path)),
        .message = printable(text),
    };
}

struct placed {
    struct config_problem problem;
    size_t place;
};

static int by_line_and_place(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;

    if (x->problem.line != y->problem.line)
        return x->problem.line < y->problem.line ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

bool config_problems_concern(const struct config_problems *p, const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < p->count; i++) {
        const char *other = p->items[i].path;

        if (strncmp(other, path, len) == 0 && (other[len] == '\0' || other[len] == '.'))
            return true;
    }
    return false;
}

bool config_problems_only_absent_secrets(const struct config_problems *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (!p->items[i].is_absent_secret)
            return false;
    }
    return !config_problems_concern(p, "database");
}

void config_problems_sort(struct config_problems *p)
{
    if (p->count < 2)
        return;
    struct placed *placed = mem_array(p->count, sizeof *placed);
    for (size_t i = 0; i < p->count; i++)
        placed[i] = (struct placed){p->items[i], i};
    qsort(placed, p->count, sizeof *placed, by_line_and_place);
    for (size_t i = 0; i < p->count; i++)
        p->items[i] = placed[i].problem;
    mem_free(placed);
}

void config_problems_print(const struct config_problems *p, struct buf *out)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct config_problem *problem = &p->items[i];

        buf_puts(out, problem->file);
        if (problem->line > 0)
            buf_printf(out, ":%u", problem->line);
        if (*problem->path != '\0')
            buf_printf(out, ": %s", problem->path);
        buf_printf(out, ": %s\n", problem->message);
    }
}

void config_problems_clear(struct config_problems *p)
{
    for (size_t i = 0; i < p->count; i++) {
        mem_free(p->items[i].file);
        mem_free(p->items[i].path);
        mem_free(p->items[i].message);
    }
    mem_free(p->items);
    *p = (struct config_problems){0};
}

/* ---- lifetime */
struct shared_config {
    struct config config; /* first, so that a pointer to one is a pointer to the other */
    atomic_uint references;
};

static void release_keys(const struct key *keys, void *object);

static void release_key(const struct key *key, void *object)
{
    if (key->entry != NULL) {
        char *items = text_get(object, key->entries.items);
        size_t count;

        value_get(object, key->entries.count, &count, sizeof count);
        for (size_t i = 0; i < count; i++) {
            char *item = items + i * key->entries.item_size;
            release_key(key->entry, item);
            text_put(item, key->entries.name, NULL);
        }
        mem_free(items);
    } else if (key->children != NULL) {
        release_keys(key->children, object);
    } else if (key->type->release != NULL) {
        key->type->release(key, object);
    }
    if (key->release != NULL)
        key->release(object);
}

static void release_keys(const struct key *keys, void *object)
{
    for (; keys->name != NULL; keys++)
        release_key(keys, object);
}

struct config *config_ref(struct config *c)
{
    struct shared_config *shared = (struct shared_config *)c;

    atomic_fetch_add(&shared->references, 1);
    return c;
}

void config_unref(struct config *c)
{
    struct shared_config *shared = (struct shared_config *)c;

    if (c == NULL || atomic_fetch_sub(&shared->references, 1) != 1)
        return;
    release_keys(config_keys, c);
    mem_free(c->path);
    mem_free(shared);
}

/* ---- loading */
static int build(struct config_reader *r, const char *text, size_t len, struct config **ret)
{
    struct yaml *root = NULL;
    struct shared_config *shared = NULL;
    size_t before = r->problems->count;
    unsigned line = 0;
    struct errmsg err;

    if (yaml_tree_parse(text, len, &root, &line, &err) != ST_OK) {
        config_problem_add(r->problems, r->file, line, "", "%s", err.text);
        return ST_INVALID;
    }
    shared = mem_zalloc(sizeof *shared);
    atomic_init(&shared->references, 1);
    shared->config.path = mem_strdup(r->file);
    config_read(r, root, &shared->config);
    if (root->kind == YAML_MAP)
        config_check(r, &shared->config, root);
    yaml_tree_free(root);
    *ret = &shared->config;
    return r->problems->count > before ? ST_INVALID : ST_OK;
}

static int whole_or_nothing(int st, struct config *c, struct config **ret)
{
    if (st == ST_OK) {
        *ret = c;
    } else {
        config_unref(c);
    }
    return st;
}

int config_parse(const char *path, const char *text, size_t len, struct config **ret, struct config_problems *problems)
{
    struct config_reader r = {.file = path, .problems = problems};
    struct config *c = NULL;
    int st = build(&r, text, len, &c);

    config_problems_sort(problems);
    return whole_or_nothing(st, c, ret);
}

int config_load_partly(const char *path, struct config **ret, struct config_problems *problems)
{
    struct config_reader r = {.file = path, .problems = problems};
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    struct errmsg err;

    if (file_read(path, YAML_TEXT_MAX_BYTES, 0, &text, &len, &mode, &err) != ST_OK) {
        config_problem_add(problems, path, 0, "", "%s", err.text);
        return ST_IO;
    }
    int st = build(&r, text, len, ret);
    mem_wipe(text, len);
    mem_free(text);
    if (r.inline_secret && (mode & OTHERS) != 0) {
        config_problem_add(problems, path, 0, "",
                           "others can read or write this file (mode %04o), and it holds secrets (line %u): run chmod "
                           "o-rwx on it, or move the secrets into files of their own with {file: PATH}",
                           mode, r.inline_secret_line);
        st = ST_INVALID;
    }
    config_problems_sort(problems);
    return st;
}

int config_load(const char *path, struct config **ret, struct config_problems *problems)
{
    struct config *c = NULL;
    int st = config_load_partly(path, &c, problems);

    return whole_or_nothing(st, c, ret);
}

/* ---- looking up */
const struct source_config *config_source(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->source_count; i++) {
        if (text_eq(c->sources[i].name, name))
            return &c->sources[i];
    }
    return NULL;
}

const struct connector_config *config_connector(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->connector_count; i++) {
        if (text_eq(c->connectors[i].name, name))
            return &c->connectors[i];
    }
    return NULL;
}

int64_t config_max_history_bytes(const struct config *c)
{
    int64_t two_bodies = 2 * c->receiver.max_body_bytes;

    return c->delivery.max_history_bytes > two_bodies ? c->delivery.max_history_bytes : two_bodies;
}

const char *config_value(const struct named_value *values, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (text_eq(values[i].name, name))
            return values[i].value;
    }
    return NULL;
}

/* ---- comparing for a reload */
static void diff_keys(struct buf *out, const struct key *keys, const struct key_path *path, const void *before,
                      const void *after);

static void add_line(struct buf *out, const struct key_path *path, const char *text)
{
    struct buf line;

    buf_init(&line, 4096);
    key_path_add(&line, path);
    buf_printf(&line, ": %s", text);
    char *whole = printable(buf_take(&line));
    buf_printf(out, "%s\n", whole);
    mem_free(whole);
}

static void add_shown(struct buf *out, const struct key *key, const void *object)
{
    struct buf value;

    buf_init(&value, (size_t)128 * 1024);
    key->type->show(key, object, &value);
    size_t cut = text_utf8_cut(buf_text(&value), value.len, SHOWN_MAX_BYTES);
    buf_printf(out, "%.*s%s", (int)cut, buf_text(&value), cut < value.len ? "..." : "");
    buf_free(&value);
}

static bool same_value(const struct key *key, const void *before, const void *after)
{
    struct buf a, b;

    if (key->type->same != NULL)
        return key->type->same(key, before, after);
    buf_init(&a, 4096);
    buf_init(&b, 4096);
    key->type->show(key, before, &a);
    key->type->show(key, after, &b);
    bool same = text_eq(buf_text(&a), buf_text(&b));
    buf_free(&a);
    buf_free(&b);
    return same;
}

static void diff_value(struct buf *out, const struct key *key, const struct key_path *path, const void *before,
                       const void *after)
{
    if (same_value(key, before, after))
        return;
    if (key->type->secret) {
        add_line(out, path, "changed");
    } else {
        struct buf from, to;

        buf_init(&from, 2048);
        buf_init(&to, 2048);
        add_shown(&from, key, before);
        add_shown(&to, key, after);
        if (text_eq(buf_text(&from), buf_text(&to)))
            buf_puts(&from, ": contents changed");
        else
            buf_printf(&from, " -> %s", buf_text(&to));
        add_line(out, path, buf_text(&from));
        buf_free(&from);
        buf_free(&to);
    }
}

struct entry_list {
    const char *items;
    size_t count;
};

static struct entry_list entries_of(const struct key *key, const void *object)
{
    struct entry_list list;

    value_get(object, key->entries.items, &list.items, sizeof list.items);
    value_get(object, key->entries.count, &list.count, sizeof list.count);
    return list;
}

/* hint: where it most likely is, so that two long lists in the same order compare in linear time */
static const char *find_entry(const struct key *key, struct entry_list list, const char *name, size_t hint)
{
    const struct key_entries *e = &key->entries;

    for (size_t i = 0; i < list.count; i++) {
        const char *item = list.items + (hint + i) % list.count * e->item_size;
        if (text_eq(text_get(item, e->name), name))
            return item;
    }
    return NULL;
}

static void diff_key(struct buf *out, const struct key *key, const struct key_path *path, const void *before,
                     const void *after);

static void diff_entries(struct buf *out, const struct key *key, const struct key_path *path, const void *before,
                         const void *after)
{
    const struct key_entries *e = &key->entries;
    struct entry_list old = entries_of(key, before), new = entries_of(key, after);

    for (size_t i = 0; i < old.count; i++) {
        const char *item = old.items + i * e->item_size;
        const struct key_path below = {.parent = path, .name = text_get(item, e->name)};
        const char *other = find_entry(key, new, below.name, i);
        if (other == NULL)
            add_line(out, &below, "removed");
        else
            diff_key(out, key->entry, &below, item, other);
    }
    for (size_t i = 0; i < new.count; i++) {
        const char *item = new.items + i * e->item_size;
        const struct key_path below = {.parent = path, .name = text_get(item, e->name)};
        if (find_entry(key, old, below.name, i) == NULL)
            add_line(out, &below, "added");
    }
}

static void diff_key(struct buf *out, const struct key *key, const struct key_path *path, const void *before,
                     const void *after)
{
    if (key->entry != NULL)
        diff_entries(out, key, path, before, after);
    else if (key->children != NULL)
        diff_keys(out, key->children, path, before, after);
    else
        diff_value(out, key, path, before, after);
}

static void diff_keys(struct buf *out, const struct key *keys, const struct key_path *path, const void *before,
                      const void *after)
{
    for (; keys->name != NULL; keys++) {
        const struct key_path below = {.parent = path, .name = keys->name};
        diff_key(out, keys, &below, before, after);
    }
}

void config_diff(const struct config *before, const struct config *after, struct buf *out)
{
    diff_keys(out, config_keys, NULL, before, after);
}

static void keep_value(const struct key *key, const struct key_path *path, void *after, const void *before,
                       struct buf *kept)
{
    diff_value(kept, key, path, before, after);
    key->type->copy(key, after, before);
}

static void keep_keys(const struct key *keys, const struct key_path *path, void *after, const void *before,
                      struct buf *kept)
{
    for (; keys->name != NULL; keys++) {
        const struct key_path below = {.parent = path, .name = keys->name};

        if (keys->children != NULL)
            keep_keys(keys->children, &below, after, before, kept);
        else if (keys->fixed)
            keep_value(keys, &below, after, before, kept);
    }
}

/* Of a section at the top of the file. */
static void keep_one(const char *section, const char *name, struct config *after, const struct config *before,
                     struct buf *kept)
{
    const struct key_path path = {.name = section};
    const struct key_path below = {.parent = &path, .name = name};
    const struct key *key = config_keys;

    while (!text_eq(key->name, section))
        key++;
    for (key = key->children; !text_eq(key->name, name);)
        key++;
    keep_value(key, &below, after, before, kept);
}

void config_keep_fixed(struct config *after, const struct config *before, struct buf *kept)
{
    keep_keys(config_keys, NULL, after, before, kept);
    if (after->admin.listen != NULL && !address_is_loopback(after->admin.listen) && after->admin.token == NULL)
        keep_one("admin", "token", after, before, kept);
    if (after->delivery.poll_ms >= after->delivery.lease_ms)
        keep_one("delivery", "poll", after, before, kept);
}

/* ---- fingerprint */
static void mix(struct buf *b, const char *text)
{
    buf_puts(b, text != NULL ? text : "");
    buf_putc(b, '\0');
}

static void mix_connector(struct buf *b, const struct connector_config *c)
{
    mix(b, c->type);
    mix(b, c->base_url);
    mix(b, c->ca_file);
    mix(b, c->client_certificate_file);
    mix(b, c->client_key_file);
    mix(b, c->proxy);
    if (c->allow_private_addresses) {
        mix(b, "allow_private_addresses");
    }
    for (size_t i = 0; i < c->credential_count; i++) {
        mix(b, c->credentials[i].name);
        mix(b, c->credentials[i].value);
    }
    for (size_t i = 0; i < c->setting_count; i++) {
        mix(b, c->settings[i].name);
        mix(b, c->settings[i].value);
    }
}

static void mix_rule(struct buf *b, const struct rule *r)
{
    mix(b, r->condition_text);
    mix(b, r->stage);
    for (size_t i = 0; i < r->only_from_count; i++) {
        mix(b, r->only_from[i]);
    }
    mix(b, r->reject);
    for (size_t i = 0; i < r->field_count; i++) {
        mix(b, r->fields[i].field);
        mix(b, r->fields[i].value_json);
    }
    for (size_t i = 0; i < r->tag_count; i++) {
        mix(b, r->tags[i]);
    }
    mix(b, r->note);
    mix(b, r->assessment != NULL ? r->assessment->score_from : NULL);
}

static void mix_field(struct buf *b, const struct field_map *f)
{
    mix(b, f->key_text);
    mix(b, f->field);
    mix(b, answer_member_name(f->member));
    buf_printf(b, "%d %d", (int)f->type, (int)f->clear);
    for (size_t i = 0; i < f->option_count; i++) {
        mix(b, f->options[i].from);
        mix(b, f->options[i].to_json);
    }
}

static void mix_workflow(struct buf *b, const struct workflow_map *w)
{
    mix(b, w->external_id);
    mix(b, w->job);
    buf_printf(b, "%d", (int)w->live);
    for (size_t i = 0; i < w->rule_count; i++)
        mix_rule(b, &w->rules[i]);
    for (size_t i = 0; i < w->field_count; i++)
        mix_field(b, &w->fields[i]);
}

static void finish_fingerprint(struct buf *b, char ret[CONFIG_FINGERPRINT_BYTES])
{
    uint8_t digest[CRYPTO_SHA256_BYTES];

    crypto_sha256(b->data, b->len, digest);
    crypto_hex(digest, (CONFIG_FINGERPRINT_BYTES - 1) / 2, ret);
    buf_free(b);
}

void config_connector_fingerprint(const struct connector_config *c, char ret[CONFIG_FINGERPRINT_BYTES])
{
    struct buf b;

    buf_init_secret(&b, SIZE_MAX / 4);
    mix_connector(&b, c);
    finish_fingerprint(&b, ret);
}

const char *config_api_organization(const struct source_config *s)
{
    if (s->api.key == NULL)
        return NULL;
    return s->api.organization != NULL ? s->api.organization : s->organizations[0];
}

void config_api_fingerprint(const struct source_config *s, char ret[CONFIG_FINGERPRINT_BYTES])
{
    struct buf b;

    buf_init_secret(&b, SIZE_MAX / 4);
    mix(&b, s->api.key);
    mix(&b, s->api.base_url);
    mix(&b, config_api_organization(s));
    mix(&b, s->api.run_path);
    mix(&b, s->api.answer);
    mix(&b, s->api.proxy);
    mix(&b, num_text(s->api.per_day).s);
    finish_fingerprint(&b, ret);
}

void config_mapping_fingerprint(const struct config *config, const struct connector_config *c,
                                char ret[CONFIG_FINGERPRINT_BYTES])
{
    struct buf b;

    buf_init_secret(&b, SIZE_MAX / 4);
    mix_connector(&b, c);
    for (size_t i = 0; i < config->mapping.count; i++) {
        if (strcmp(config->mapping.workflows[i].connector, c->name) == 0)
            mix_workflow(&b, &config->mapping.workflows[i]);
    }
    finish_fingerprint(&b, ret);
}
