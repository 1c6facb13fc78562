#include "connector/module.h"

#include <ctype.h>
#include <dirent.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "config/file.h"
#include "connector/fit.h"
#include "connector/meta.h"
#include "lib/jqvm.h"

enum {
    FILE_MAX_BYTES = 1024 * 1024,
    META_MAX_BYTES = 256 * 1024,
    TYPE_MAX_BYTES = 64,
    PATH_MAX_BYTES = 4096,
    RATE_COUNT = 10,
    RATE_PER_MS = 1000,
    CONCURRENCY = 4,
    TIMEOUT_MS = 30000,
};

struct connector_module {
    atomic_uint refs;
    char *type;
    char *path;
    char *source;
    char *program;
    char *redirect_hosts; /* or NULL */
    struct json *meta;
};

/* ---- where modules are ------------------------------------------------------------------------------------------ */

enum { PLACES_MAX = 4 };
struct places {
    char *dirs[PLACES_MAX];
    size_t count;
};

/* The program of a build tree is in build/, of a flavour in build/FLAVOUR/. */
static void add_build_tree(struct places *p)
{
    static const char *const up[] = {"/../conf/connectors", "/../../conf/connectors"};
    char exe[PATH_MAX_BYTES];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    struct stat info;
    char *slash;

    if (len <= 0)
        return;
    exe[len] = '\0';
    slash = strrchr(exe, '/');
    if (slash == NULL)
        return;
    *slash = '\0';
    for (size_t i = 0; i < ATS_COUNT(up); i++) {
        char *dir = mem_printf("%s%s", exe, up[i]);

        if (stat(dir, &info) == 0 && S_ISDIR(info.st_mode))
            p->dirs[p->count++] = dir;
        else
            mem_free(dir);
    }
}

static struct places places_of(const char *config_path)
{
    struct places p = {.count = 0};
    const char *slash = config_path != NULL ? strrchr(config_path, '/') : NULL;

    if (config_path != NULL && slash != NULL)
        p.dirs[p.count++] = mem_printf("%.*s/connectors", (int)(slash - config_path), config_path);
    else if (config_path != NULL)
        p.dirs[p.count++] = mem_strdup("connectors");
    add_build_tree(&p);
    p.dirs[p.count++] = mem_strdup(ATSYNC_DATADIR "/atsyncd/connectors");
    return p;
}

static void places_clear(struct places *p)
{
    for (size_t i = 0; i < p->count; i++)
        mem_free(p->dirs[i]);
    p->count = 0;
}

/* It becomes a part of a path. */
static bool is_type(const char *type)
{
    size_t len = strlen(type);

    for (const char *s = type; *s != '\0'; s++) {
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '-' && *s != '_')
            return false;
    }
    return len > 0 && len <= TYPE_MAX_BYTES;
}

/* The types of all files found, each once, sorted; an array of texts. */
struct type_list {
    char **names;
    size_t count;
};

static bool type_list_has(const struct type_list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->names[i], name) == 0)
            return true;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;

    return strcmp(*x, *y);
}

static struct type_list types_in(const struct places *p)
{
    struct type_list l = {.names = NULL};

    for (size_t i = 0; i < p->count; i++) {
        DIR *dir = opendir(p->dirs[i]);
        const struct dirent *entry;

        while (dir != NULL && (entry = readdir(dir)) != NULL) {
            size_t len = strlen(entry->d_name);
            char *type =
                len > 3 && strcmp(entry->d_name + len - 3, ".jq") == 0 ? mem_strndup(entry->d_name, len - 3) : NULL;

            if (type == NULL || !is_type(type) || type_list_has(&l, type)) {
                mem_free(type);
                continue;
            }
            l.names = mem_grow(l.names, l.count + 1, sizeof *l.names);
            l.names[l.count++] = type;
        }
        if (dir != NULL)
            (void)closedir(dir);
    }
    if (l.count > 1)
        qsort(l.names, l.count, sizeof *l.names, by_name);
    return l;
}

static void type_list_clear(struct type_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        mem_free(l->names[i]);
    mem_free(l->names);
}

static int not_found(const struct places *p, const char *type, struct errmsg *err)
{
    struct type_list l = types_in(p);
    struct buf where;
    const char *meant = suggest(type, (const char *const *)(void *)l.names, l.count);
    int st;

    buf_init(&where, PATH_MAX_BYTES);
    for (size_t i = 0; i < p->count; i++)
        buf_printf(&where, "%s%s", i > 0 ? ", " : "", p->dirs[i]);
    if (meant != NULL)
        st = err_set(err, ST_NOT_FOUND,
                     "there is no connector type \"%s\", did you mean \"%s\"? (looked for %s.jq in %s)", type, meant,
                     type, buf_text(&where));
    else
        st = err_set(err, ST_NOT_FOUND, "there is no connector type \"%s\" (looked for %s.jq in %s)", type, type,
                     buf_text(&where));
    buf_free(&where);
    type_list_clear(&l);
    return st;
}

/* Reads the first file of this type; *ret_path and *ret_source: mem_free. */
static int find_source(const char *config_path, const char *type, char **ret_path, char **ret_source,
                       struct errmsg *err)
{
    struct places p;
    size_t len;
    int st = ST_NOT_FOUND;

    if (!is_type(type))
        return err_set(err, ST_NOT_FOUND,
                       "\"%.64s\" is no connector type: types have small letters, digits, \"-\" and \"_\"", type);
    p = places_of(config_path);
    for (size_t i = 0; i < p.count && st == ST_NOT_FOUND; i++) {
        char *path = mem_printf("%s/%s.jq", p.dirs[i], type);
        char *source = NULL;

        st = file_read(path, FILE_MAX_BYTES, 0, &source, &len, NULL, err);
        if (st == ST_OK && strlen(source) != len)
            st = err_set(err, ST_INVALID, "%s holds a NUL byte", path);
        if (st == ST_OK) {
            *ret_path = path;
            *ret_source = source;
        } else {
            mem_free(path);
            mem_free(source);
        }
    }
    if (st == ST_NOT_FOUND)
        st = not_found(&p, type, err);
    places_clear(&p);
    return st;
}

/* ---- loading --------------------------------------------------------------------------------------------------------
 */

static const struct {
    enum write_kind kind;
    const char *verb;
    bool can_batch;
} verbs[WRITE_KIND_COUNT] = {
    {WRITE_FIELD, "fields", true}, {WRITE_TAG, "tags", true},       {WRITE_ASSESSMENT, "assessment", false},
    {WRITE_STAGE, "stage", false}, {WRITE_REJECT, "reject", false}, {WRITE_NOTE, "note", false},
};

const char *connector_verb(enum write_kind kind)
{
    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        if (verbs[i].kind == kind)
            return verbs[i].verb;
    }
    return "";
}

static const struct json *capability(const struct connector_module *m, const char *verb)
{
    return json_get(json_get(m->meta, "capabilities"), verb);
}

bool connector_module_has(const struct connector_module *m, const char *function)
{
    if (strcmp(function, "meta") == 0)
        return true;
    if (strcmp(function, "find_marker") == 0)
        return connector_module_can_find_marker(m);
    if (strcmp(function, "classify") == 0 || strcmp(function, "probe") == 0)
        return json_get_bool(m->meta, function);
    return capability(m, function) != NULL;
}

/* The file, and behind it the choice of a function: the lines in jq's messages stay those of the file. */
static char *make_program(const struct connector_module *m)
{
    static const char *const others[] = {"find_marker", "classify", "probe"};
    struct buf b;

    buf_init(&b, FILE_MAX_BYTES + META_MAX_BYTES);
    buf_printf(&b, "%s\nif .fn == \"meta\" then meta", m->source);
    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        if (connector_module_has(m, verbs[i].verb))
            buf_printf(&b, " elif .fn == \"%s\" then .ctx | %s", verbs[i].verb, verbs[i].verb);
    }
    for (size_t i = 0; i < ATS_COUNT(others); i++) {
        if (connector_module_has(m, others[i]))
            buf_printf(&b, " elif .fn == \"%s\" then .ctx | %s", others[i], others[i]);
    }
    buf_puts(&b, " else error(\"no such function\") end\n");
    return buf_take(&b);
}

static unsigned long lines_of(const char *text)
{
    unsigned long lines = 1;

    for (; *text != '\0'; text++)
        lines += *text == '\n' && text[1] != '\0';
    return lines;
}

/* FILE:LINE of meta's definition: what is wrong with its value stands behind that. */
static char *place_of_meta(const struct connector_module *m)
{
    const char *at = text_starts(m->source, "def meta") ? m->source : strstr(m->source, "\ndef meta");
    unsigned long line = 1;

    if (at == NULL)
        return mem_strdup(m->path);
    at += *at == '\n';
    for (const char *p = m->source; p < at; p++)
        line += *p == '\n';
    return mem_printf("%s:%lu", m->path, line);
}

static int read_meta(struct connector_module *m, struct errmsg *err)
{
    struct jqvm *q = NULL;
    struct buf out;
    char *program = mem_printf("%s\nmeta\n", m->source);
    char *place = place_of_meta(m);
    int st;

    buf_init(&out, META_MAX_BYTES);
    st = jqvm_compile(m->path, program, &q, err);
    if (st != ST_OK)
        goto out;
    st = jqvm_run(q, "null", 4, &out, err);
    if (st == ST_OK)
        st = json_parse(buf_text(&out), out.len, &m->meta, err);
    if (st != ST_OK)
        st = err_prefix(err, ST_INVALID, "%s: meta", place);
    else
        st = meta_check(place, m->type, m->meta, err);
out:
    jqvm_free(q);
    mem_free(place);
    buf_free(&out);
    mem_free(program);
    return st;
}

/* The line in jq's "NAME:LINE: reason"; 0 if there is none. */
static unsigned long line_of(const char *words, const char *name)
{
    return text_starts(words, name) && words[strlen(name)] == ':' ? strtoul(words + strlen(name) + 1, NULL, 10) : 0;
}

/* jq compiles only what is used: now that is all that meta promises. What is wrong behind the file's last line is a
 * function that is not there. */
static int check_functions(const struct connector_module *m, struct errmsg *err)
{
    struct jqvm *q = NULL;
    struct errmsg said = {""};
    int st = jqvm_compile(m->path, m->program, &q, &said);
    unsigned long line = line_of(said.text, m->path);

    jqvm_free(q);
    if (st == ST_OK)
        return ST_OK;
    if (line > 0 && line <= lines_of(m->source))
        return err_set(err, st, "%s", said.text);
    return err_set(err, st, "%s: meta promises a function that the file does not have: %s", m->path,
                   line > 0 ? said.text + strlen(m->path) + 1 : said.text);
}

static char *join_hosts(const struct json *hosts)
{
    struct buf b;

    if (json_count(hosts) == 0)
        return NULL;
    buf_init(&b, META_MAX_BYTES);
    for (const struct json *h = json_first(hosts); h != NULL; h = json_next(h))
        buf_printf(&b, "%s%s", b.len > 0 ? "," : "", json_str(h));
    return buf_take(&b);
}

int connector_module_load(const char *config_path, const char *type, struct connector_module **ret, struct errmsg *err)
{
    struct connector_module *m = mem_zalloc(sizeof *m);
    int st;

    atomic_init(&m->refs, 1);
    m->type = mem_strdup(type);
    st = find_source(config_path, type, &m->path, &m->source, err);
    if (st != ST_OK || (st = read_meta(m, err)) != ST_OK)
        goto out;
    m->program = make_program(m);
    st = check_functions(m, err);
    if (st != ST_OK)
        goto out;
    m->redirect_hosts = join_hosts(json_get(m->meta, "redirects"));
    *ret = m;
    m = NULL;
out:
    connector_module_unref(m);
    return st;
}

struct connector_module *connector_module_ref(struct connector_module *m)
{
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void connector_module_unref(struct connector_module *m)
{
    if (m == NULL || atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    json_free(m->meta);
    mem_free(m->redirect_hosts);
    mem_free(m->program);
    mem_free(m->source);
    mem_free(m->path);
    mem_free(m->type);
    mem_free(m);
}

const char *connector_module_type(const struct connector_module *m)
{
    return m->type;
}

const char *connector_module_path(const struct connector_module *m)
{
    return m->path;
}

const struct json *connector_module_meta(const struct connector_module *m)
{
    return m->meta;
}

const char *connector_module_source(const struct connector_module *m)
{
    return m->source;
}

const char *connector_module_program(const struct connector_module *m)
{
    return m->program;
}

bool connector_module_can(const struct connector_module *m, enum write_kind kind)
{
    return capability(m, connector_verb(kind)) != NULL;
}

bool connector_module_can_find_marker(const struct connector_module *m)
{
    return json_get_bool(capability(m, "note"), "find_marker");
}

bool connector_module_batches(const struct connector_module *m, enum write_kind kind)
{
    return json_get_bool(capability(m, connector_verb(kind)), "batch");
}

static int64_t first_set(int64_t configured, const struct json *meta, const char *name, int64_t fallback)
{
    int64_t n = fallback;

    if (configured > 0)
        return configured;
    (void)json_get_i64(meta, name, &n);
    return n;
}

struct connector_limits connector_limits_of(const struct connector_module *m, const struct connector_config *connector)
{
    const struct json *rate = json_get(m->meta, "rate");
    bool own_rate = connector->rate_count > 0;
    bool unlimited = rate && json_type(rate) == JSON_NULL; /* said so; saying nothing gets a careful pace */

    return (struct connector_limits){
        .rate_count = first_set(connector->rate_count, rate, "count", unlimited ? 0 : RATE_COUNT),
        .rate_per_ms = own_rate ? connector->rate_per_ms : first_set(0, rate, "per_ms", RATE_PER_MS),
        .per_day = first_set(0, rate, "per_day", 0),
        .remaining_header = json_get_str(rate, "remaining"),
        .concurrency = first_set(connector->concurrency, m->meta, "concurrency", CONCURRENCY),
        .timeout_ms = first_set(connector->timeout_ms, m->meta, "timeout_ms", TIMEOUT_MS),
        .http1_only = json_get_bool(m->meta, "http1_only"),
        .redirect_hosts = m->redirect_hosts,
    };
}

/* ---- the modules of a configuration
 * ------------------------------------------------------------------------------------ */

struct connector_set {
    atomic_uint refs;
    struct set_item {
        char *name;
        struct connector_module *module;
    } * items;
    size_t count;
};

static struct connector_module *find_type(const struct connector_set *s, const char *type)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(connector_module_type(s->items[i].module), type) == 0)
            return s->items[i].module;
    }
    return NULL;
}

struct connector_module *connector_set_find(const struct connector_set *s, const char *connector_name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->items[i].name, connector_name) == 0)
            return s->items[i].module;
    }
    return NULL;
}

static void load_one(struct connector_set *s, const struct config *c, const struct connector_config *connector,
                     struct config_problems *problems)
{
    struct connector_module *m = connector->type != NULL ? find_type(s, connector->type) : NULL;
    char *key = mem_printf("connectors.%s.type", connector->name);
    bool has_type = connector->type != NULL && !config_problems_concern(problems, key);
    struct errmsg err;

    mem_free(key);
    if (!has_type) /* it has been told already */
        return;
    if (m != NULL) {
        connector_module_ref(m);
    } else if (connector_module_load(c->path, connector->type, &m, &err) != ST_OK) {
        char *path = mem_printf("connectors.%s.type", connector->name);

        config_problem_add(problems, c->path, connector->type_line, path, "%s", err.text);
        mem_free(path);
        return;
    }
    s->items = mem_grow(s->items, s->count + 1, sizeof *s->items);
    s->items[s->count++] = (struct set_item){.name = mem_strdup(connector->name), .module = m};
    fit_connector(c, connector, m, problems);
}

int connector_set_load(const struct config *c, struct connector_set **ret, struct config_problems *problems)
{
    struct connector_set *s = mem_zalloc(sizeof *s);
    size_t before = problems->count;
    int st = ST_OK;

    atomic_init(&s->refs, 1);
    for (size_t i = 0; i < c->connector_count; i++)
        load_one(s, c, &c->connectors[i], problems);
    for (size_t i = 0; i < c->mapping.count; i++) {
        const struct workflow_map *w = &c->mapping.workflows[i];
        const struct connector_module *m = w->connector != NULL ? connector_set_find(s, w->connector) : NULL;

        if (m != NULL) /* otherwise it has been told already */
            fit_workflow(c, w, m, problems);
    }
    if (problems->count > before) {
        config_problems_sort(problems);
        st = ST_INVALID;
    } else {
        *ret = s;
        s = NULL;
    }
    connector_set_unref(s);
    return st;
}

struct connector_set *connector_set_ref(struct connector_set *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void connector_set_unref(struct connector_set *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (size_t i = 0; i < s->count; i++) {
        mem_free(s->items[i].name);
        connector_module_unref(s->items[i].module);
    }
    mem_free(s->items);
    mem_free(s);
}

struct json *connector_catalogue(const char *config_path)
{
    struct places p = places_of(config_path);
    struct type_list l = types_in(&p);
    struct json *list = json_array();

    for (size_t i = 0; i < l.count; i++) {
        struct json *entry = json_object();
        struct connector_module *m = NULL;
        struct errmsg err;

        json_set_str(entry, "type", l.names[i]);
        if (connector_module_load(config_path, l.names[i], &m, &err) == ST_OK) {
            json_set_str(entry, "path", m->path);
            json_set(entry, "meta", json_copy(m->meta));
        } else {
            for (size_t k = 0; k < p.count && json_get(entry, "path") == NULL; k++) {
                char *path = mem_printf("%s/%s.jq", p.dirs[k], l.names[i]);

                if (access(path, F_OK) == 0)
                    json_set_str(entry, "path", path);
                mem_free(path);
            }
            json_set_str(entry, "error", err.text);
        }
        connector_module_unref(m);
        json_push(list, entry);
    }
    type_list_clear(&l);
    places_clear(&p);
    return list;
}
