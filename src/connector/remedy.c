#include "connector/remedy.h"

#include <ctype.h>

#include "base/buf.h"
#include "base/text.h"

enum { WORDS_MAX_BYTES = 16 * 1024 };

static const char *title_of(const struct json *meta, const struct connector_config *c)
{
    const char *title = json_get_str(meta, "title");

    return title ? title : c->type;
}

/* A message of digits and signs alone ("401") says less than none. */
static bool says_something(const char *message)
{
    while (*message != '\0' && !isalpha((unsigned char)*message) && ((unsigned char)*message & 0x80) == 0) {
        message++;
    }
    return *message != '\0';
}

static const char *reason_of(const char *words, const char *message, struct arena *arena)
{
    size_t len = strlen(message);

    while (len > 0 && (message[len - 1] == '.' || message[len - 1] == ' ')) {
        len--;
    }
    return says_something(message) ? arena_printf(arena, "%s: %.*s", words, (int)len, message) : words;
}

static bool has_value(const struct named_value *values, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(values[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_required(const struct json *about)
{
    const struct json *required = json_get(about, "required");

    return json_type(required) != JSON_FALSE;
}

/* For another sentence. */
static struct buf *next(struct buf *b)
{
    if (b->len > 0) {
        buf_putc(b, ' ');
    }
    return b;
}

/* "api_key: an API key made in Lever: Settings, …" */
static void say_help(struct buf *b, const char *name, const struct json *about)
{
    const char *help = json_get_str(about, "help");

    if (help) {
        buf_printf(next(b), "%s: %s.", name, help);
    }
}

static void say_credentials(struct buf *b, const struct json *meta, const struct connector_config *c)
{
    for (const struct json *k = json_first(json_get(meta, "credentials")); k; k = json_next(k)) {
        if (is_required(k) || has_value(c->credentials, c->credential_count, json_key(k))) {
            say_help(b, json_key(k), k);
        }
    }
}

/* Does a template of these parts of meta hold {name}? */
static bool is_used(const struct json *meta, const char *const *parts, size_t count, const char *name)
{
    char *place = mem_printf("{%s}", name);
    bool used = false;

    for (size_t i = 0; i < count && !used; i++) {
        const struct json *part = json_get(meta, parts[i]);
        char *text = part ? json_text(part) : NULL;

        used = text && strstr(text, place) != NULL;
        mem_free(text);
    }
    mem_free(place);
    return used;
}

/* The settings that say who asks whom: in the address, in what is signed in with, in every request's headers. With
 * all, the others that somebody had to give, too: mostly in whose name is written. */
static void say_settings(struct buf *b, const struct json *meta, const struct connector_config *c, bool all)
{
    static const char *const parts[] = {"auth", "base_url", "headers"};

    for (const struct json *s = json_first(json_get(meta, "settings")); s; s = json_next(s)) {
        bool given =
            (is_required(s) && !json_get(s, "default")) || has_value(c->settings, c->setting_count, json_key(s));

        if (is_used(meta, parts, ATS_COUNT(parts), json_key(s)) || (all && given)) {
            say_help(b, json_key(s), s);
        }
    }
}

#define RELOAD "and reload (systemctl reload atsyncd or kill -HUP): it goes on by itself then."

static void say_resume(struct buf *b, const struct connector_config *c)
{
    buf_printf(next(b), "If it was put right in the ATS instead: atsyncctl resume %s.", c->name);
}

static void credentials_hint(struct buf *b, const struct json *meta, const struct connector_config *c)
{
    struct buf settings;

    buf_init(&settings, WORDS_MAX_BYTES);
    say_settings(&settings, meta, c, false);
    buf_printf(next(b), "Look whether the credentials are still good, and make new ones if not.");
    say_credentials(b, meta, c);
    buf_printf(next(b), "Put them under credentials in connectors.%s " RELOAD, c->name);
    if (settings.len > 0) {
        buf_printf(next(b), "Or a setting is wrong. %s", buf_text(&settings));
    }
    say_resume(b, c);
    buf_free(&settings);
}

static void permission_hint(struct buf *b, const struct json *meta, const struct connector_config *c)
{
    buf_printf(next(b),
               "Permit it to the owner of the credentials, then atsyncctl resume %s; atsyncctl connectors %s tells "
               "what is needed.",
               c->name, c->type);
    buf_printf(next(b), "Or take others.");
    say_credentials(b, meta, c);
    say_settings(b, meta, c, true);
    buf_printf(next(b), "Put them in connectors.%s " RELOAD, c->name);
}

static void configuration_hint(struct buf *b, const struct json *meta, const struct connector_config *c)
{
    buf_printf(next(b), "Correct base_url or the settings of connectors.%s " RELOAD, c->name);
    say_settings(b, meta, c, true);
    buf_printf(next(b), "atsyncctl check tells whether it works.");
    say_resume(b, c);
}

struct remedy remedy_of(const struct json *meta, const struct connector_config *connector, const char *error_class,
                        const char *message, struct arena *arena)
{
    const char *title = title_of(meta, connector);
    struct remedy r;
    const char *words;
    struct buf hint;

    buf_init(&hint, WORDS_MAX_BYTES);
    if (strcmp(error_class, "credentials") == 0) {
        words = arena_printf(arena, "%s rejected the credentials of connector %s", title, connector->name);
        credentials_hint(&hint, meta, connector);
    } else if (strcmp(error_class, "permission") == 0) {
        words = arena_printf(arena, "%s does not permit connector %s to do its work", title, connector->name);
        permission_hint(&hint, meta, connector);
    } else {
        words = arena_printf(arena, "Connector %s cannot reach %s as it is configured", connector->name, title);
        configuration_hint(&hint, meta, connector);
    }
    r = (struct remedy){.reason = reason_of(words, message, arena), .hint = arena_strdup(arena, buf_text(&hint))};
    buf_free(&hint);
    return r;
}
