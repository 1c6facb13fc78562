/* A body from a stranger, up to what is stored: keys fit into an index, texts into PostgreSQL, and nothing is lost. */
#include "fuzz.h"

#include "base/buf.h"
#include "base/text.h"
#include "service/incoming.h"

enum { KEY_MAX_BYTES = 400, SUBJECT_MAX_BYTES = 202, TEXT_MAX_BYTES = 64 * 1024 * 1024 };

static void check_text(const char *s, size_t max_bytes, const char *what)
{
    if (s == NULL)
        return;
    PROMISE(text_is_utf8(s, strlen(s)), "%s is not UTF-8", what);
    PROMISE(max_bytes == 0 || strlen(s) <= max_bytes, "%s has %zu bytes", what, strlen(s));
}

static char popp[] = "popp", organization[] = "org_123456";
static char *accepted[] = {organization};

static struct source_config source_that_accepts(char **organizations, size_t count)
{
    return (struct source_config){.name = popp, .organizations = organizations, .organization_count = count};
}

static void check_stored(const struct event *e, struct arena *arena)
{
    static const struct mapping mapping = {0};
    struct ingest_event row;

    incoming_event(e, "popp", &mapping, arena, &row);
    PROMISE(row.event_id != NULL && *row.event_id != '\0', "no event id");
    check_text(row.event_id, KEY_MAX_BYTES, "event_id");
    PROMISE(strlen(e->id) > KEY_MAX_BYTES || !text_is_utf8(e->id, strlen(e->id)) || text_eq(e->id, row.event_id),
            "a clean event id was changed");
    PROMISE(row.type != NULL && row.subject != NULL, "type or subject is missing");
    check_text(row.type, KEY_MAX_BYTES, "type");
    check_text(row.subject, SUBJECT_MAX_BYTES, "subject");
    check_text(row.external_id, KEY_MAX_BYTES, "external_id");
    check_text(row.profile_id, KEY_MAX_BYTES, "profile_id");
    check_text(row.run_id, KEY_MAX_BYTES, "run_id");
    check_text(row.workflow_id, KEY_MAX_BYTES, "workflow_id");
    check_text(row.workflow_external_id, KEY_MAX_BYTES, "workflow_external_id");
    PROMISE(e->external_id == NULL || strlen(e->external_id) > KEY_MAX_BYTES ||
                !text_is_utf8(e->external_id, strlen(e->external_id)) || text_eq(e->external_id, row.external_id),
            "an external id was changed");
    PROMISE(event_type_label(e->type_name) != NULL, "no label");
}

/* What goes into the column is taken by PostgreSQL, and tells the same story where it can. */
static void check_column(const struct event *e, size_t len, struct arena *arena)
{
    struct event again;
    struct buf text;
    struct errmsg err = {""};

    buf_init(&text, TEXT_MAX_BYTES);
    json_print(e->tree, &text);
    PROMISE(event_parse(buf_text(&text), text.len, arena, &again, &err) == ST_OK, "printed, it is no event: %s",
            err.text);
    PROMISE(json_equal(e->tree, again.tree), "printed, it is another event");
    PROMISE(again.type == e->type && again.time_us == e->time_us && text_eq(again.run_id, e->run_id) &&
                text_eq(event_subject(&again, arena), event_subject(e, arena)),
            "printed, it is about something else");
    buf_reset(&text);
    json_print_plain(e->tree, &text);
    PROMISE(!text.failed && text_is_utf8(buf_text(&text), text.len), "the column is not UTF-8");
    PROMISE(strstr(buf_text(&text), "\\u0000") == NULL || strstr(buf_text(&text), "\\\\u0000") != NULL,
            "the column holds U+0000: %s", buf_text(&text));
    PROMISE(event_parse(buf_text(&text), text.len, arena, &again, &err) == ST_OK || len == 0,
            "the column is no event: %s", err.text);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source_config any = source_that_accepts(NULL, 0), one = source_that_accepts(accepted, 1);
    struct arena *arena = arena_new();
    struct event e, same;
    struct errmsg err = {""};
    char *text = mem_strndup((const char *)data, size);
    int st = incoming_check((const char *)data, size, &any, arena, &e, &err);

    if (st == ST_OK) {
        check_stored(&e, arena);
        check_column(&e, size, arena);
        st = incoming_check((const char *)data, size, &one, arena, &same, &err);
        PROMISE(st == (text_eq(e.organization_id, organization) ? ST_OK : ST_DENIED), "the wrong organization: %s",
                status_name(st));
        PROMISE(text_is_utf8(err.text, strlen(err.text)), "the reason is not UTF-8");
    } else {
        PROMISE(st == ST_INVALID && err.text[0] != '\0', "refused without a reason");
    }
    (void)incoming_is_json(text);
    PROMISE(incoming_source(text) == NULL || strchr(incoming_source(text), '/') == NULL, "a source with a slash");
    mem_free(text);
    arena_free(arena);
    return 0;
}
