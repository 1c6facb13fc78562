#include "service/incoming.h"

#include "base/buf.h"
#include "base/text.h"
#include "lib/crypto.h"
#include "lib/json.h"

enum { KEY_MAX_BYTES = 400 };

static const char *digest(const char *prefix, const char *s, struct arena *arena)
{
    uint8_t bytes[CRYPTO_SHA256_BYTES];
    char hex[2 * CRYPTO_SHA256_BYTES + 1];

    crypto_sha256(s, strlen(s), bytes);
    crypto_hex(bytes, sizeof bytes, hex);
    return arena_printf(arena, "%s%s", prefix, hex);
}

static const char *clean(const char *s, struct arena *arena)
{
    struct buf b;
    const char *copy;

    if (!s || text_is_utf8(s, strlen(s))) {
        return arena_strdup(arena, s);
    }
    buf_init(&b, 3 * strlen(s)); /* U+FFFD has three bytes */
    json_plain(s, &b);
    copy = arena_strdup(arena, buf_text(&b));
    buf_free(&b);
    return copy;
}

static const char *key(const char *s, struct arena *arena)
{
    const char *plain = clean(s, arena); /* may be longer: U+FFFD takes three bytes, what it stands for perhaps two */

    return plain && strlen(plain) > KEY_MAX_BYTES ? digest("#", s, arena) : plain;
}

static const char *event_id(const char *s, struct arena *arena)
{
    size_t len = strlen(s);

    return len > KEY_MAX_BYTES || !text_is_utf8(s, len) ? digest("sha256:", s, arena) : arena_strdup(arena, s);
}

static const char *connector_of(const struct event *e, const char *subject, const struct mapping *mapping)
{
    const struct workflow_map *map;

    if (e->type == EVENT_OTHER) {
        return NULL;
    }
    if (!text_starts(subject, "x:") || !e->workflow_external_id) {
        return "";
    }
    map = mapping_find(mapping, e->workflow_external_id);
    return map ? map->connector : "";
}

/* Under which names an erased person may be met in an event that is kept under nobody's, or under a contact of which only the address is known. */
static void add_also(const struct event *e, struct arena *arena, struct ingest_event *ret)
{
    static const struct {
        bool of_contact;
        char kind;
        const char *member;
    } members[] = {{false, 'o', "recordId"},   {false, 'o', "conversationId"},
                   {false, 'x', "externalId"}, {false, 'x', "externalConversationId"},
                   {true, 'm', "email"},       {true, 't', "phoneNumber"}};
    size_t n = 0;

    if (e->external_id || (e->type != EVENT_OTHER && e->type != EVENT_CONTACT_FAILED)) {
        return;
    }
    for (size_t i = 0; i < ATS_COUNT(members); i++) {
        const char *text = json_get_str(e->data, members[i].member);

        if (text && members[i].of_contact == (e->type == EVENT_CONTACT_FAILED)) {
            char *name = arena_printf(arena, "%c:%s", members[i].kind, clean(text, arena));

            for (char *c = name; members[i].kind == 'm' && *c; c++) {
                *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
            }
            ret->also[n++] = name;
        }
    }
}

void incoming_event(const struct event *e, const char *source, const struct mapping *mapping, struct arena *arena,
                    struct ingest_event *ret)
{
    const char *subject = arena_strdup(arena, event_subject(e, arena));

    *ret = (struct ingest_event){
        .source = source,
        .event_id = event_id(e->id, arena),
        .type = key(e->type_name, arena),
        .subject = subject,
        .connector = connector_of(e, subject, mapping),
        .external_id = key(e->external_id, arena),
        .profile_id = key(e->profile_id, arena),
        .run_id = key(e->run_id, arena),
        .workflow_id = key(e->workflow_id, arena),
        .workflow_external_id = key(e->workflow_external_id, arena),
        .time_us = e->time_us,
    };
    add_also(e, arena, ret);
}

static bool organization_allowed(const struct source_config *source, const char *organization)
{
    for (size_t i = 0; i < source->organization_count; i++) {
        if (text_eq(source->organizations[i], organization)) {
            return true;
        }
    }
    return source->organization_count == 0;
}

int incoming_check(const char *body, size_t len, const struct source_config *source, struct arena *arena,
                   struct event *e, struct errmsg *err)
{
    int st = event_parse(body, len, arena, e, err);

    if (st == ST_OK && !organization_allowed(source, e->organization_id)) {
        st = err_set(err, ST_DENIED, "organization %s is not among those that sources.%s.organizations accepts",
                     e->organization_id ? clean(e->organization_id, arena) : "(none)", source->name);
    }
    return st;
}

bool incoming_is_json(const char *content_type)
{
    char type[128];
    size_t len = strcspn(content_type, "; \t");

    if (len >= sizeof type) {
        return false;
    }
    memcpy(type, content_type, len);
    type[len] = '\0';
    return text_ieq(type, "application/json") ||
           (len > strlen("+json") && text_ieq(type + len - strlen("+json"), "+json"));
}

const char *incoming_source(const char *path)
{
    static const char prefix[] = "/webhooks/";
    const char *name = path + sizeof prefix - 1;

    return text_starts(path, prefix) && *name != '\0' && !strchr(name, '/') ? name : NULL;
}
