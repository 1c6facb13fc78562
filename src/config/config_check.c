#include <ctype.h>

#include "base/address.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "config/config_keys.h"
#include "domain/completion.h"
#include "domain/note.h"
#include "lib/crypto.h"
#include "lib/jqvm.h"

enum { NAME_MAX_BYTES = 64 };

static bool is_name(const char *s)
{
    size_t len = strlen(s);

    for (const char *p = s; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            return false;
    }
    return len >= 1 && len <= NAME_MAX_BYTES;
}

/* Sources stand in URLs, connectors in metrics and views: both must need no escaping anywhere. */
static void check_name(struct config_reader *r, unsigned line, const struct key_path *path)
{
    if (*path->name != '\0' && !is_name(path->name))
        reader_problem(r, line, path, "a name must consist of 1 to 64 letters, digits, \"-\" and \"_\"");
}

/* The line of a key, if it is there, else that of the map. */
static unsigned line_of(const struct yaml *map, const char *key)
{
    const struct yaml *value = yaml_tree_get(map, key);

    return value != NULL ? value->line : map->line;
}

static void needs_both(struct config_reader *r, const struct yaml *node, const struct key_path *path, const char *a,
                       const char *b)
{
    bool has_a = yaml_tree_get(node, a) != NULL, has_b = yaml_tree_get(node, b) != NULL;

    if (!has_a && !has_b)
        reader_problem(r, node->line, path, "needs both %s and %s", a, b);
    else if (!has_a || !has_b)
        reader_problem(r, node->line, path, "needs both %s and %s: %s is missing", a, b, has_a ? b : a);
}

/* ---- receiver, admin, delivery */
void check_receiver_tls(struct config_reader *r, const struct yaml *node, unsigned key_line,
                        const struct key_path *path, void *object)
{
    const struct config *c = object;
    struct errmsg err;

    (void)key_line;
    needs_both(r, node, path, "certificate", "key");
    if (c->receiver.tls_certificate_pem != NULL && c->receiver.tls_key_pem != NULL &&
        crypto_key_fits(c->receiver.tls_certificate_pem, c->receiver.tls_key_pem, &err) != ST_OK)
        reader_problem(r, node->line, path, "%s", err.text);
}

void check_receiver(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                    void *object)
{
    const struct config *c = object;
    const struct key_path total = {.parent = path, .name = "max_body_total"};

    (void)key_line;
    if (c->receiver.max_body_total_bytes < c->receiver.max_body_bytes)
        reader_problem(r, line_of(node, "max_body_total"), &total, "must be at least max_body: the body of one event");
}

bool address_is_loopback(const char *listen)
{
    return text_starts(listen, "127.") || text_starts(listen, "localhost:") || text_starts(listen, "[::1]:");
}

void check_admin(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                 void *object)
{
    const struct config *c = object;
    const struct key_path token = {.parent = path, .name = "token"};

    (void)key_line;
    if (c->admin.listen != NULL && !address_is_loopback(c->admin.listen) && yaml_tree_get(node, "token") == NULL)
        reader_problem(r, line_of(node, "listen"), &token,
                       "is missing: it is required because %s can be reached from other machines", c->admin.listen);
}

void check_delivery(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                    void *object)
{
    const struct config *c = object;

    (void)key_line;
    if (c->delivery.poll_ms >= c->delivery.lease_ms)
        reader_problem(r, node->line, path, "poll (%s) must be shorter than lease (%s)",
                       duration_text(c->delivery.poll_ms).s, duration_text(c->delivery.lease_ms).s);
}

/* ---- sources */
void check_source(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                  void *object)
{
    struct source_config *s = object;
    struct signature_verifier *verifier = NULL;
    const struct key_path secrets = {.parent = path, .name = "signing_secrets"};
    const struct key_path api = {.parent = path, .name = "api"};
    const struct key_path organization = {.parent = &api, .name = "organization"};
    struct errmsg err;

    check_name(r, key_line, path);
    if (s->api.key != NULL && s->api.organization == NULL && s->organization_count != 1)
        reader_problem(r, line_of(node, "api"), &organization,
                       "is missing: the organization that the key belongs to (or give exactly one in organizations)");
    s->signature.secrets = (const char *const *)s->secrets;
    s->signature.secret_count = s->secret_count;
    /* some secrets have a form of their own (whsec_): learn now that one is damaged */
    if (s->secret_count > 0 && signature_verifier_new(&s->signature, &verifier, &err) != ST_OK)
        reader_problem(r, line_of(node, "signing_secrets"), &secrets, "%s", err.text);
    signature_verifier_free(verifier);
}

static bool is_header_name(const char *s)
{
    /* RFC 9110 section 5.6.2: token */
    for (; *s != '\0'; s++) {
        if (!isalnum((unsigned char)*s) && strchr("!#$%&'*+-.^_`|~", *s) == NULL)
            return false;
    }
    return true;
}

static void only_with(struct config_reader *r, const struct yaml *node, const struct key_path *path, const char *key,
                      const char *scheme, const char *allowed)
{
    const struct key_path below = {.parent = path, .name = key};
    const struct yaml *value = yaml_tree_get(node, key);

    if (value != NULL)
        reader_problem(r, value->line, &below, "has no meaning with scheme %s, only with %s: leave it out", scheme,
                       allowed);
}

void check_signature(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                     void *object)
{
    static const char fixed_header[] = "webhook-signature"; /* standardwebhooks.com specification */
    struct source_config *s = object;
    const struct key_path header_path = {.parent = path, .name = "header"};
    const struct yaml *header = yaml_tree_get(node, "header");
    const char *scheme = NULL;
    enum signature_encoding own = SIGNATURE_HEX; /* what the scheme does anyway may be said */

    (void)key_line;
    if (!is_header_name(s->signature.header))
        reader_problem(r, line_of(node, "header"), &header_path, "is not the name of an HTTP header");
    switch (s->signature.scheme) {
    case SIGNATURE_BODY:
        only_with(r, node, path, "tolerance", "body", "standard-webhooks and timestamped");
        return;
    case SIGNATURE_STANDARD_WEBHOOKS:
        scheme = "standard-webhooks";
        own = SIGNATURE_BASE64;
        if (header != NULL && !text_ieq(s->signature.header, fixed_header))
            reader_problem(r, header->line, &header_path,
                           "scheme standard-webhooks has fixed headers (%s): leave it out", fixed_header);
        text_put(s, offsetof(struct source_config, signature.header), mem_strdup(fixed_header));
        break;
    case SIGNATURE_TIMESTAMPED:
        scheme = "timestamped";
        break;
    }
    if (s->signature.encoding != own)
        only_with(r, node, path, "encoding", scheme, "body");
    if (s->signature.prefix[0] != '\0')
        only_with(r, node, path, "prefix", scheme, "body");
}

/* The key must not travel unencrypted, unless it stays on this machine or in its network. */
static bool is_encrypted_or_near(const char *url)
{
    const char *host = strstr(url, "://");
    const char *begin;
    size_t len;
    char *name;
    bool near;

    if (host == NULL || text_starts(url, "https://"))
        return true;
    begin = host + 3 + (host[3] == '[');
    len = host[3] == '[' ? strcspn(begin, "]") : strcspn(begin, ":/");
    name = mem_strndup(begin, len);
    near = text_ieq(name, "localhost") ||
           ((strchr(name, ':') != NULL || strspn(name, "0123456789.") == len) && address_is_private(name));
    mem_free(name);
    return near;
}

void check_source_api(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                      void *object)
{
    const struct source_config *s = object;
    const struct key_path run_path = {.parent = path, .name = "run_path"};
    const struct key_path probe_path = {.parent = path, .name = "probe_path"};
    const struct key_path base_url = {.parent = path, .name = "base_url"};
    const struct key_path answer = {.parent = path, .name = "answer"};
    struct jqvm *vm = NULL;
    struct errmsg err;

    (void)key_line;
    if (completion_path_check(s->api.run_path, &err) != ST_OK)
        reader_problem(r, line_of(node, "run_path"), &run_path, "%s", err.text);
    if (*s->api.probe_path != '/')
        reader_problem(r, line_of(node, "probe_path"), &probe_path, "must begin with /");
    if (!is_encrypted_or_near(s->api.base_url))
        reader_problem(
            r, line_of(node, "base_url"), &base_url,
            "must begin with https://: the key would travel unencrypted (http:// is for loopback and private "
            "addresses)");
    if (s->api.answer != NULL && jqvm_compile("answer", s->api.answer, &vm, &err) != ST_OK)
        reader_problem(r, line_of(node, "answer"), &answer, "%s", err.text);
    jqvm_free(vm);
}

/* ---- connectors */
void check_connector(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                     void *object)
{
    const struct connector_config *c = object;
    const struct key_path type = {.parent = path, .name = "type"};

    check_name(r, key_line, path);
    /* it becomes a file name */
    if (c->type != NULL && !is_name(c->type))
        reader_problem(r, line_of(node, "type"), &type,
                       "must consist of 1 to 64 letters, digits, \"-\" and \"_\": it names a file of connectors/");
    unsigned type_line = line_of(node, "type");
    value_put(object, offsetof(struct connector_config, type_line), &type_line, sizeof type_line);
}

void check_retry(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                 void *object)
{
    const struct connector_config *c = object;

    (void)key_line;
    if (c->retry_base_ms > c->retry_cap_ms)
        reader_problem(r, node->line, path, "base (%s) must not be longer than cap (%s)",
                       duration_text(c->retry_base_ms).s, duration_text(c->retry_cap_ms).s);
    if (c->retry_cap_ms > c->retry_max_age_ms)
        reader_problem(r, node->line, path, "cap (%s) must not be longer than max_age (%s)",
                       duration_text(c->retry_cap_ms).s, duration_text(c->retry_max_age_ms).s);
}

void check_connector_tls(struct config_reader *r, const struct yaml *node, unsigned key_line,
                         const struct key_path *path, void *object)
{
    (void)key_line;
    (void)object;
    if (yaml_tree_get(node, "certificate") != NULL || yaml_tree_get(node, "key") != NULL)
        needs_both(r, node, path, "certificate", "key");
}

/* ---- workflows */
static void check_note(struct config_reader *r, const char *note, unsigned line, const struct key_path *path)
{
    static const char *const words[] = {"summary"};
    struct errmsg err;

    if (text_eq(note, words[0]))
        return;
    if (suggest(note, words, ATS_COUNT(words)) != NULL)
        reader_problem(r, line, path, "\"%s\": did you mean \"summary\"?", note);
    else if (note_template_check(note, &err) != ST_OK)
        reader_problem(r, line, path, "%s", err.text);
}

void check_rule(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                void *object)
{
    struct rule *rule = object;
    const struct key_path only_from = {.parent = path, .name = "only_from"};
    const struct key_path reject = {.parent = path, .name = "reject"};
    const struct key_path note = {.parent = path, .name = "note"};
    const struct yaml *from = yaml_tree_get(node, "only_from");
    struct errmsg err;

    if (*path->name != '\0' && condition_parse(path->name, &rule->condition, &err) != ST_OK)
        reader_problem(r, key_line, path, "%s", err.text);
    if (node->count == 0)
        reader_problem(r, key_line, path,
                       "says nothing to do: give stage, reject, fields, tags, note or assessment, or leave it out");
    if (yaml_tree_get(node, "stage") != NULL && yaml_tree_get(node, "reject") != NULL)
        reader_problem(r, line_of(node, "reject"), &reject, "cannot stand beside stage: one moment has one outcome");
    if (from != NULL && yaml_tree_get(node, "stage") == NULL)
        reader_problem(r, from->line, &only_from, "has no meaning without stage");
    if (rule->note != NULL)
        check_note(r, rule->note, line_of(node, "note"), &note);
}

void release_rule(void *object)
{
    struct rule *rule = object;

    condition_clear(&rule->condition);
}

void check_field(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                 void *object)
{
    struct field_map *f = object;
    struct field_map parsed = {0};
    const struct key_path from_path = {.parent = path, .name = "from"};
    const struct yaml *from = yaml_tree_get(node, "from");
    struct errmsg err;

    if (*path->name == '\0')
        return; /* told already */
    if (field_key_parse(path->name, &parsed, &err) != ST_OK) {
        reader_problem(r, key_line, path, "%s", err.text);
        return;
    }
    f->node_id = parsed.node_id;
    f->slug = parsed.slug;
    if (from == NULL) {
        f->member = parsed.member;
        return;
    }
    size_t without_member = strlen(parsed.slug) + (parsed.node_id != NULL ? strlen(parsed.node_id) + 1 : 0);
    if (without_member != strlen(path->name))
        reader_problem(r, from->line, &from_path, "the key names the member \"%s\" already: leave one of them out",
                       answer_member_name(parsed.member));
}

void release_field(void *object)
{
    struct field_map *f = object;

    mem_free(f->node_id);
    mem_free(f->slug);
    f->node_id = NULL;
    f->slug = NULL;
}

/* ---- across sections */
static void check_workflow_connectors(struct config_reader *r, const struct config *c, const struct yaml *workflows)
{
    const struct key_path top = {.name = "workflows"};
    const char **names = mem_array(c->connector_count > 0 ? c->connector_count : 1, sizeof *names);
    size_t next = 0;

    for (size_t i = 0; i < c->connector_count; i++)
        names[i] = c->connectors[i].name;
    /* the reader made one map of every entry that is not a repetition, in their order */
    for (size_t i = 0; i < workflows->count && next < c->mapping.count; i++) {
        if (workflows->items[i].first_line != 0)
            continue;
        const struct workflow_map *w = &c->mapping.workflows[next++];
        const struct key_path path = {.parent = &top, .name = w->external_id};
        const struct key_path connector = {.parent = &path, .name = "connector"};
        if (w->connector == NULL || config_connector(c, w->connector) != NULL)
            continue;
        unsigned line = line_of(workflows->items[i].value, "connector");
        const char *meant = suggest(w->connector, names, c->connector_count);
        if (meant != NULL)
            reader_problem(r, line, &connector, "there is no connector \"%s\", did you mean \"%s\"?", w->connector,
                           meant);
        else
            reader_problem(r, line, &connector, "there is no connector \"%s\" in connectors", w->connector);
    }
    mem_free(names);
}

/* An event that is forgotten while its writes are still tried could not be looked at any more; one without an id cannot be. */
static void check_retention(struct config_reader *r, const struct config *c, const struct yaml *root)
{
    const struct key_path retention = {.name = "retention"};
    const struct key_path path = {.parent = &retention, .name = "events"};
    const struct key_path ids = {.parent = &retention, .name = "ids"};
    const struct yaml *section = yaml_tree_get(root, "retention");
    int64_t longest_ms = 0;
    const char *name = NULL;

    for (size_t i = 0; i < c->connector_count; i++) {
        if (c->connectors[i].retry_max_age_ms > longest_ms) {
            longest_ms = c->connectors[i].retry_max_age_ms;
            name = c->connectors[i].name;
        }
    }
    if (section != NULL && yaml_tree_get(section, "ids") != NULL && c->retention_ids_ms < c->retention_events_ms)
        reader_problem(r, line_of(section, "ids"), &ids,
                       "%s is too short: events are kept for %s (retention.events), and each has its id",
                       duration_text(c->retention_ids_ms).s, duration_text(c->retention_events_ms).s);
    if (c->retention_events_ms < longest_ms)
        reader_problem(r, section != NULL ? line_of(section, "events") : 0, &path,
                       "%s is too short: connector %s tries its writes for %s (retry.max_age)",
                       duration_text(c->retention_events_ms).s, name, duration_text(longest_ms).s);
}

void config_check(struct config_reader *r, const struct config *c, const struct yaml *root)
{
    const struct yaml *workflows = yaml_tree_get(root, "workflows");

    if (workflows != NULL)
        check_workflow_connectors(r, c, workflows);
    check_retention(r, c, root);
}
