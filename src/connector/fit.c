#include "connector/fit.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "connector/auth.h"
#include "connector/meta.h"
#include "connector/request.h"
#include "lib/jqvm.h"

enum { TEXT_MAX_BYTES = 4096, INPUT_MAX_BYTES = 1024 * 1024, SUGGEST_MAX = 200 };

struct fitting {
    const struct config *config;
    struct config_problems *problems;
    const char *name; /* of the connector */
    const struct connector_module *module;
    const struct json *meta;
};

static void problem(const struct fitting *f, unsigned line, const char *path, const char *fmt, ...) ATS_PRINTF(4, 5);

static void problem(const struct fitting *f, unsigned line, const char *path, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    config_problem_add(f->problems, f->config->path, line, path, "%s", text);
}

/* ---- patterns -------------------------------------------------------------------------------------------------------
 */

/* jq's own regular expressions, as that is what people who write modules know. Compiled when it is needed, for a value
 * or two at start and reload. Returns what does not fit: "" nothing, "value", or "pattern". */
static const char *pattern_misfit(const char *pattern, const char *value)
{
    static const char program[] = "(\"\\\\A(?:\" + .pattern + \")\\\\z\") as $p | .value | test($p)";
    struct jqvm *q = NULL;
    struct json *input = json_object();
    struct buf in, out;
    const char *misfit = "pattern";

    buf_init(&in, INPUT_MAX_BYTES);
    buf_init(&out, TEXT_MAX_BYTES);
    json_set_str(input, "pattern", pattern);
    json_set_str(input, "value", value);
    json_print_wrapped(input, &in);
    if (jqvm_compile("pattern", program, &q, NULL) == ST_OK && jqvm_run(q, buf_text(&in), in.len, &out, NULL) == ST_OK)
        misfit = strcmp(buf_text(&out), "true") == 0 ? "" : "value";
    jqvm_free(q);
    json_free(input);
    buf_free(&in);
    buf_free(&out);
    return misfit;
}

static void check_pattern(const struct fitting *f, unsigned line, const char *path, const char *pattern,
                          const char *value)
{
    const char *misfit = pattern != NULL && value != NULL ? pattern_misfit(pattern, value) : "";

    if (strcmp(misfit, "value") == 0)
        problem(f, line, path, "\"%.100s\" does not look like the connector wants it (pattern %s)", value, pattern);
    else if (*misfit != '\0')
        problem(f, line, path, "the pattern in %s cannot be used: %s", connector_module_path(f->module), pattern);
}

/* ---- settings and credentials
 * ------------------------------------------------------------------------------------------ */

static const char *nearest(const char *word, const struct json *names)
{
    const char *list[SUGGEST_MAX];
    size_t count = 0;

    for (const struct json *n = json_first(names); n != NULL && count < ATS_COUNT(list); n = json_next(n))
        list[count++] = json_type(names) == JSON_OBJECT ? json_key(n) : json_str(n);
    return suggest(word, list, count);
}

static void check_known(const struct fitting *f, const char *section, const char *what, const struct named_value *v)
{
    const struct json *known = json_get(f->meta, section);
    const struct json *entry = json_get(known, v->name);
    char *path = mem_printf("connectors.%s.%s.%s", f->name, section, v->name);
    const char *meant = entry == NULL ? nearest(v->name, known) : NULL;

    if (entry != NULL)
        check_pattern(f, v->line, path, json_str(json_get(entry, "pattern")), v->value);
    else if (meant != NULL)
        problem(f, v->line, path, "type %s has no such %s, did you mean \"%s\"?", connector_module_type(f->module),
                what, meant);
    else
        problem(f, v->line, path, "type %s has no such %s", connector_module_type(f->module), what);
    mem_free(path);
}

static void check_there(const struct fitting *f, unsigned line, const char *section, const struct json *entry,
                        const char *value)
{
    char *path;

    if (value != NULL || json_type(json_get(entry, "required")) == JSON_FALSE || json_get(entry, "default") != NULL)
        return;
    path = mem_printf("connectors.%s.%s.%s", f->name, section, json_key(entry));
    if (!config_problems_concern(f->problems, path)) /* else it is there, and could not be read */
        problem(f, line, path, "is required by type %s: %s", connector_module_type(f->module),
                json_str(json_get(entry, "help")));
    mem_free(path);
}

static void check_base_url(const struct fitting *f, const struct connector_config *connector)
{
    struct target *t = NULL;
    struct errmsg err;
    char *path = mem_printf("connectors.%s.base_url", f->name);

    if (!config_problems_concern(f->problems, path) && target_new(f->meta, connector, &t, &err) != ST_OK)
        problem(f, connector->line, path, "%s", err.text);
    target_free(t);
    mem_free(path);
}

void fit_connector(const struct config *c, const struct connector_config *connector, const struct connector_module *m,
                   struct config_problems *problems)
{
    struct fitting f = {
        .config = c, .problems = problems, .name = connector->name, .module = m, .meta = connector_module_meta(m)};
    size_t before = problems->count;

    for (size_t i = 0; i < connector->setting_count; i++)
        check_known(&f, "settings", "setting", &connector->settings[i]);
    for (size_t i = 0; i < connector->credential_count; i++)
        check_known(&f, "credentials", "credential", &connector->credentials[i]);
    for (const struct json *e = json_first(json_get(f.meta, "settings")); e != NULL; e = json_next(e))
        check_there(&f, connector->line, "settings", e,
                    config_value(connector->settings, connector->setting_count, json_key(e)));
    for (const struct json *e = json_first(json_get(f.meta, "credentials")); e != NULL; e = json_next(e))
        check_there(&f, connector->line, "credentials", e,
                    config_value(connector->credentials, connector->credential_count, json_key(e)));
    if (auth_gets_tokens(f.meta) && c->database.encryption_key_count == 0 &&
        !config_problems_concern(problems, "database.encryption_key"))
        problem(&f, connector->line, "database.encryption_key",
                "is required by connector \"%s\": type %s gets tokens, which are stored encrypted", connector->name,
                connector_module_type(m));
    /* a missing setting leaves a hole in the URL, which is told already */
    if (problems->count == before || connector->base_url != NULL || json_str(json_get(f.meta, "base_url")) == NULL)
        check_base_url(&f, connector);
}

/* ---- what a mapping wants
 * ------------------------------------------------------------------------------------------------ */

static const struct {
    enum write_kind kind;
    const char *cannot;
} abilities[WRITE_KIND_COUNT] = {
    {WRITE_FIELD, "write fields"},
    {WRITE_TAG, "set tags"},
    {WRITE_ASSESSMENT, "record assessments"},
    {WRITE_STAGE, "move candidates to a stage"},
    {WRITE_REJECT, "reject candidates"},
    {WRITE_NOTE, "write notes"},
};

static const char *cannot_of(enum write_kind kind)
{
    for (size_t i = 0; i < ATS_COUNT(abilities); i++) {
        if (abilities[i].kind == kind)
            return abilities[i].cannot;
    }
    return "";
}

struct action { /* of a rule, or the answers' fields */
    const struct workflow_map *workflow;
    enum write_kind kind;
    char *path;
    unsigned line;
    const struct json *ability; /* NULL: the connector has none */
};

/* Says what the connector cannot do at all, once for an action. */
static struct action action_of(const struct fitting *f, const struct workflow_map *w, enum write_kind kind, char *path,
                               unsigned line)
{
    const char *type = connector_module_type(f->module);
    struct action a = {.workflow = w, .kind = kind, .path = path, .line = line};

    a.ability = json_get(json_get(f->meta, "capabilities"), connector_verb(kind));
    if (a.ability == NULL)
        problem(f, line, path, "connector \"%s\" (type %s) cannot %s", f->name, type, cannot_of(kind));
    else if (json_get_bool(a.ability, "needs_job") && w->job == NULL)
        problem(f, line, path, "connector \"%s\" (type %s) needs to know the job for this: give workflows.%s a job",
                f->name, type, w->external_id);
    return a;
}

static size_t chars_of(const char *text)
{
    return text_is_utf8(text, strlen(text)) ? text_utf8_chars(text) : strlen(text);
}

static void check_value(const struct fitting *f, const struct action *a, unsigned line, const char *value)
{
    const struct json *values = json_get(a->ability, "values");
    const char *meant;
    int64_t max_chars;

    if (value == NULL) /* it could not be read, as has been told */
        return;
    if (json_get_i64(a->ability, "max_chars", &max_chars) && chars_of(value) > (size_t)max_chars)
        problem(f, line, a->path, "\"%s\" is longer than the %lld characters that the ATS allows", value,
                (long long)max_chars);
    check_pattern(f, line, a->path, json_str(json_get(a->ability, "pattern")), value);
    for (const struct json *v = json_first(values); v != NULL; v = json_next(v)) {
        if (strcmp(json_str(v), value) == 0)
            return;
    }
    if (values == NULL)
        return;
    meant = nearest(value, values);
    problem(f, line, a->path, "the ATS has no \"%s\"%s%s%s", value, meant != NULL ? ", did you mean \"" : "",
            meant != NULL ? meant : "", meant != NULL ? "\"?" : "");
}

static char *rule_path(const struct workflow_map *w, const struct rule *r, const char *action)
{
    return mem_printf("workflows.%s.on.%s.%s", w->external_id, r->condition_text, action);
}

static void fit_only_from(const struct fitting *f, const struct action *a, const struct rule *r)
{
    char *path = rule_path(a->workflow, r, "only_from");

    if (a->ability != NULL && !json_get_bool(a->ability, "only_from"))
        problem(f, r->line, path,
                "connector \"%s\" (type %s) cannot see in which stage a candidate is, so only_from is not possible",
                f->name, connector_module_type(f->module));
    mem_free(path);
}

/* A rule's action with its value; NULL where the value is free. */
static void fit_single(const struct fitting *f, const struct workflow_map *w, const struct rule *r,
                       enum write_kind kind, const char *value)
{
    struct action a = action_of(f, w, kind, rule_path(w, r, connector_verb(kind)), r->line);

    if (value != NULL)
        check_value(f, &a, r->line, value);
    if (kind == WRITE_STAGE && r->only_from_count > 0)
        fit_only_from(f, &a, r);
    mem_free(a.path);
}

static void fit_rule(const struct fitting *f, const struct workflow_map *w, const struct rule *r)
{
    struct action a;

    if (r->stage != NULL)
        fit_single(f, w, r, WRITE_STAGE, r->stage);
    if (r->reject != NULL)
        fit_single(f, w, r, WRITE_REJECT, r->reject);
    if (r->note != NULL)
        fit_single(f, w, r, WRITE_NOTE, NULL);
    if (r->assessment != NULL)
        fit_single(f, w, r, WRITE_ASSESSMENT, NULL);
    if (r->field_count > 0) {
        a = action_of(f, w, WRITE_FIELD, rule_path(w, r, "fields"), r->fields[0].line);
        for (size_t i = 0; i < r->field_count; i++)
            check_value(f, &a, r->fields[i].line, r->fields[i].field);
        mem_free(a.path);
    }
    if (r->tag_count > 0) {
        a = action_of(f, w, WRITE_TAG, rule_path(w, r, "tags"), r->line);
        for (size_t i = 0; i < r->tag_count; i++)
            check_value(f, &a, r->line, r->tags[i]);
        mem_free(a.path);
    }
}

void fit_workflow(const struct config *c, const struct workflow_map *w, const struct connector_module *m,
                  struct config_problems *problems)
{
    struct fitting f = {
        .config = c, .problems = problems, .name = w->connector, .module = m, .meta = connector_module_meta(m)};
    struct action a;

    for (size_t i = 0; i < w->rule_count; i++) {
        if (w->rules[i].condition_text != NULL)
            fit_rule(&f, w, &w->rules[i]);
    }
    if (w->field_count == 0)
        return;
    a = action_of(&f, w, WRITE_FIELD, mem_printf("workflows.%s.fields", w->external_id), w->fields[0].line);
    for (size_t i = 0; i < w->field_count; i++)
        check_value(&f, &a, w->fields[i].line, w->fields[i].field);
    mem_free(a.path);
}
