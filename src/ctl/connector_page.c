#include "ctl/connector_page.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/text.h"
#include "ctl/print.h"
#include "lib/jqvm.h"

enum { PART_MAX_BYTES = 1024 * 1024, MDOC_WIDTH = 80, TERM_CHARS = 12 };

static const char *const verbs[] = {"stage", "reject", "fields", "tags", "note", "assessment"};

/* ---- what meta means, in words: each appends to out ---- */

static bool is_required(const struct json *entry)
{
    return json_type(json_get(entry, "required")) != JSON_FALSE && !json_get(entry, "default");
}

static bool needs_base_url(const struct json *meta)
{
    return !json_str(json_get(meta, "base_url")) && !json_get(json_get(meta, "auth"), "base_url");
}

static const char *auth_kind(const struct json *meta)
{
    const char *kind = json_get_str(json_get(meta, "auth"), "kind");

    return kind ? kind : "none";
}

/* Tokens are kept in the database, encrypted. */
static bool gets_tokens(const struct json *meta)
{
    return text_starts(auth_kind(meta), "oauth2_") || text_eq(auth_kind(meta), "chain");
}

/* 30000 -> "30 s"; the largest unit that divides it. */
static void add_duration(int64_t ms, struct buf *out)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};

    for (size_t i = 0; i < ATS_COUNT(units); i++) {
        if (ms % units[i].ms == 0) {
            buf_printf(out, "%" PRId64 " %s", ms / units[i].ms, units[i].name);
            return;
        }
    }
}

static void add_comma(const char *text, bool *first, struct buf *out)
{
    buf_puts(out, *first ? "" : ", ");
    buf_puts(out, text);
    *first = false;
}

static void add_list(const struct json *list, struct buf *out)
{
    bool first = true;

    for (const struct json *e = json_first(list); e; e = json_next(e)) {
        add_comma(json_str(e), &first, out);
    }
}

static void words_auth(const struct json *meta, struct buf *out)
{
    static const struct {
        const char *kind;
        const char *words;
    } kinds[] = {
        {"none", "not at all"},
        {"header", "the header"},
        {"basic", "basic authentication"},
        {"oauth2_client_credentials", "OAuth 2 client credentials, tokens from"},
        {"oauth2_refresh_token", "an OAuth 2 refresh token, tokens from"},
        {"chain", "requests one after the other, from"},
    };
    const struct json *auth = json_get(meta, "auth");
    const char *where = json_get_str(auth, "token_url");

    if (text_eq(auth_kind(meta), "header")) {
        where = json_get_str(auth, "name");
    } else if (text_eq(auth_kind(meta), "chain")) {
        where = json_get_str(json_first(json_get(auth, "steps")), "url");
    }
    for (size_t i = 0; i < ATS_COUNT(kinds); i++) {
        if (text_eq(kinds[i].kind, auth_kind(meta))) {
            buf_printf(out, "%s%s%s", kinds[i].words, where ? " " : "", where ? where : "");
        }
    }
}

static void words_address(const struct json *meta, struct buf *out)
{
    const char *url = json_str(json_get(meta, "base_url"));

    if (url) {
        buf_puts(out, url);
    } else {
        buf_puts(out, needs_base_url(meta) ? "base_url in the configuration" : "what the ATS names when we log in");
    }
}

static void words_pace(const struct json *meta, struct buf *out)
{
    const struct json *rate = json_get(meta, "rate");
    int64_t count = 0, per_ms = 0, n = 0;

    if (json_get_i64(rate, "count", &count) && json_get_i64(rate, "per_ms", &per_ms)) {
        buf_printf(out, "%" PRId64 " %s in ", count, count == 1 ? "request" : "requests");
        add_duration(per_ms, out);
    } else {
        buf_puts(out, rate ? "no limit of its own" : "10 requests in 1 s, for want of knowledge");
    }
    if (json_get_i64(rate, "per_day", &n)) {
        buf_printf(out, ", %" PRId64 " in a day", n);
    }
    if (json_get_i64(meta, "concurrency", &n)) {
        buf_printf(out, ", %" PRId64 " at once", n);
    }
    if (json_get_i64(meta, "timeout_ms", &n)) {
        buf_puts(out, ", each at most ");
        add_duration(n, out);
    }
}

static void words_capability(const char *verb, const struct json *ability, struct buf *out)
{
    bool first = true;
    int64_t n = 0;

    if (!ability) {
        buf_puts(out, "no");
        return;
    }
    add_comma("yes", &first, out);
    if (json_get_bool(ability, "needs_job")) {
        add_comma("the workflow must name a job", &first, out);
    }
    if (text_eq(verb, "stage")) {
        add_comma(json_get_bool(ability, "only_from") ? "only_from is possible" : "without only_from", &first, out);
    }
    if (text_eq(verb, "fields") || text_eq(verb, "tags")) {
        add_comma(json_get_bool(ability, "batch") ? "several in one call" : "one a call", &first, out);
    }
    if (json_get_i64(ability, "max_chars", &n)) {
        buf_printf(out, ", at most %" PRId64 " characters%s", n, text_eq(verb, "tags") ? "" : ", the rest is cut");
    }
    if (text_eq(verb, "note")) {
        add_comma(json_get_bool(ability, "find_marker") ? "one whose fate is unknown is looked for"
                                                        : "one whose fate is unknown cannot be looked for",
                  &first, out);
    }
    if (json_get(ability, "values")) {
        buf_puts(out, ", one of: ");
        add_list(json_get(ability, "values"), out);
    }
    if (json_get_str(ability, "pattern")) {
        buf_printf(out, ", must look like %s", json_get_str(ability, "pattern"));
    }
}

static void words_entry(const struct json *entry, struct buf *out)
{
    const char *fallback = json_str(json_get(entry, "default"));
    const char *pattern = json_get_str(entry, "pattern");

    buf_printf(out, "%s (%s", json_str(json_get(entry, "help")), is_required(entry) ? "required" : "optional");
    if (fallback) {
        buf_printf(out, ", default \"%s\"", fallback);
    }
    if (pattern) {
        buf_printf(out, ", looks like %s", pattern);
    }
    buf_putc(out, ')');
}

/* ---- rows ---- */

static struct json *names_of(const struct json *entries)
{
    struct json *list = json_array();

    for (const struct json *e = json_first(entries); e; e = json_next(e)) {
        if (is_required(e)) {
            json_push(list, json_string(json_key(e)));
        }
    }
    return list;
}

static struct json *verbs_of(const struct json *meta)
{
    struct json *list = json_array();

    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        if (json_get(json_get(meta, "capabilities"), verbs[i])) {
            json_push(list, json_string(verbs[i]));
        }
    }
    return list;
}

static struct json *begin_row(const struct json *entry)
{
    struct json *row = json_object();
    const struct json *meta = json_get(entry, "meta");

    json_set_str(row, "type", json_get_str(entry, "type"));
    if (meta) {
        json_set_str(row, "title", json_get_str(meta, "title"));
    }
    json_set_str(row, "path", json_get_str(entry, "path"));
    if (!meta) {
        json_set_str(row, "error", json_get_str(entry, "error"));
    }
    return row;
}

static void set_joined(struct json *row, const char *member, struct json *list, const char *separator)
{
    struct buf b;

    buf_init(&b, PART_MAX_BYTES);
    for (const struct json *e = json_first(list); e; e = json_next(e)) {
        buf_printf(&b, "%s%s", b.len > 0 ? separator : "", json_str(e));
    }
    json_set_str(row, member, buf_text(&b));
    buf_free(&b);
    json_free(list);
}

static void push_all(struct json *list, const char *prefix, const struct json *entries)
{
    struct json *names = names_of(entries);

    for (const struct json *e = json_first(names); e; e = json_next(e)) {
        char *name = mem_printf("%s.%s", prefix, json_str(e));

        json_push(list, json_string(name));
        mem_free(name);
    }
    json_free(names);
}

struct json *connector_page_row(const struct json *entry)
{
    struct json *row = begin_row(entry);
    const struct json *meta = json_get(entry, "meta");
    struct json *needs;

    if (!meta) {
        return row;
    }
    needs = json_array();
    if (needs_base_url(meta)) {
        json_push(needs, json_string("base_url"));
    }
    push_all(needs, "credentials", json_get(meta, "credentials"));
    push_all(needs, "settings", json_get(meta, "settings"));
    set_joined(row, "can", verbs_of(meta), " ");
    set_joined(row, "needs", needs, " ");
    return row;
}

struct json *connector_page_json(const struct json *entry)
{
    struct json *row = begin_row(entry);
    const struct json *meta = json_get(entry, "meta");
    struct json *needs;
    struct buf example;

    if (!meta) {
        return row;
    }
    needs = json_object();
    json_set_bool(needs, "base_url", needs_base_url(meta));
    json_set_bool(needs, "encryption_key", gets_tokens(meta));
    json_set(needs, "credentials", names_of(json_get(meta, "credentials")));
    json_set(needs, "settings", names_of(json_get(meta, "settings")));
    buf_init(&example, PART_MAX_BYTES);
    connector_page_example(meta, &example);
    json_set(row, "can", verbs_of(meta));
    json_set(row, "needs", needs);
    json_set(row, "meta", json_copy(meta));
    json_set_str(row, "example", buf_text(&example));
    buf_free(&example);
    return row;
}

/* ---- example ---- */

/* One of these is what most settings look like. */
static const char *const samples[] = {
    "4080",
    "acme",
    "12345678-1234-4321-abcd-123456789abc",
    "acme:4080",
    "https://ats.example.com",
    "ats.example.com",
    "user@example.com",
    "true",
    "2026-01-31",
    "eu",
    "us",
    "EU",
    "a",
};

/* {NAME: a sample that the pattern accepts} of the settings that must be given; a pattern that fits none has no member. */
static struct json *sample_values(const struct json *settings)
{
    static const char program[] = ".samples as $samples | .settings | map_values(\n"
                                  "  (.pattern // \".+\") as $p\n"
                                  "  | [$samples[] | select(test(\"\\\\A(?:\" + $p + \")\\\\z\"))] | first)\n";
    struct json *input = json_object(), *list = json_array(), *values = NULL;
    struct jqvm *q = NULL;
    struct buf in, out;

    for (size_t i = 0; i < ATS_COUNT(samples); i++) {
        json_push(list, json_string(samples[i]));
    }
    json_set(input, "samples", list);
    json_set(input, "settings", settings ? json_copy(settings) : json_object());
    buf_init(&in, PART_MAX_BYTES);
    buf_init(&out, PART_MAX_BYTES);
    json_print_wrapped(input, &in);
    /* a pattern that is no regular expression is told where a configuration uses it */
    if (jqvm_compile("samples", program, &q, NULL) != ST_OK ||
        jqvm_run(q, buf_text(&in), in.len, &out, NULL) != ST_OK ||
        json_parse_unwrap(buf_text(&out), out.len, &values, NULL) != ST_OK) {
        values = json_object();
    }
    jqvm_free(q);
    json_free(input);
    buf_free(&in);
    buf_free(&out);
    return values;
}

static void add_yaml_text(const char *text, struct buf *out)
{
    struct json *j = json_string(text);

    json_print(j, out); /* a JSON text is a YAML text */
    json_free(j);
}

static void example_credentials(const struct json *meta, struct buf *out)
{
    const char *type = json_get_str(meta, "name");
    const struct json *credentials = json_get(meta, "credentials");

    if (json_count(credentials) == 0) {
        return;
    }
    buf_puts(out, "    credentials:\n");
    for (const struct json *c = json_first(credentials); c; c = json_next(c)) {
        buf_printf(out, "      %s%s: {file: /etc/atsyncd/%s.%s}\n", is_required(c) ? "" : "#", json_key(c), type,
                   json_key(c));
    }
}

static void example_settings(const struct json *meta, struct buf *out)
{
    const struct json *settings = json_get(meta, "settings");
    struct json *values = sample_values(settings);
    bool any = false;

    for (const struct json *s = json_first(settings); s; s = json_next(s)) {
        any = any || is_required(s);
    }
    if (json_count(settings) > 0) {
        buf_printf(out, "    %ssettings:\n", any ? "" : "#");
    }
    for (const struct json *s = json_first(settings); s; s = json_next(s)) {
        const char *value = json_str(json_get(s, "default"));

        if (!value && (is_required(s) || json_get(s, "pattern"))) {
            value = json_str(json_get(values, json_key(s)));
        }
        buf_printf(out, "      %s%s: ", is_required(s) ? "" : "#", json_key(s));
        add_yaml_text(value ? value : "…", out);
        buf_putc(out, '\n');
    }
    json_free(values);
}

void connector_page_example(const struct json *meta, struct buf *out)
{
    const char *type = json_get_str(meta, "name");

    if (gets_tokens(meta)) {
        buf_puts(out, "database:\n  encryption_key: {file: /etc/atsyncd/encryption.key}\n");
    }
    buf_printf(out, "connectors:\n  %s:\n    type: %s\n", type, type);
    if (needs_base_url(meta)) {
        buf_puts(out, "    base_url: https://ats.example.com\n");
    }
    example_credentials(meta, out);
    example_settings(meta, out);
}

/* ---- a page of text ---- */

/* A term, then what belongs to it, indented where it is more than a line. */
static void add_term(const char *term, const char *text, size_t width, struct buf *out)
{
    size_t indent = TERM_CHARS + 2;
    struct buf wrapped;
    const char *at;

    buf_init(&wrapped, PART_MAX_BYTES);
    print_wrapped(text, indent, width > indent + 20 ? width : indent + 20, &wrapped);
    at = buf_text(&wrapped) + (wrapped.len > indent ? indent : 0);
    if (strlen(term) > TERM_CHARS) {
        buf_printf(out, "%s\n%*s%s", term, (int)indent, "", at);
    } else {
        buf_printf(out, "%-*s  %s", TERM_CHARS, term, at);
    }
    buf_free(&wrapped);
}

static void add_heading(const char *text, struct buf *out)
{
    buf_printf(out, "\n%s\n", text);
}

static void add_words(const char *term, void (*words)(const struct json *meta, struct buf *out),
                      const struct json *meta, size_t width, struct buf *out)
{
    struct buf b;

    buf_init(&b, PART_MAX_BYTES);
    words(meta, &b);
    add_term(term, buf_text(&b), width, out);
    buf_free(&b);
}

static void add_entries(const char *heading, const struct json *entries, size_t width, struct buf *out)
{
    if (json_count(entries) > 0) {
        add_heading(heading, out);
    }
    for (const struct json *e = json_first(entries); e; e = json_next(e)) {
        add_words(json_key(e), words_entry, e, width, out);
    }
}

static void add_capabilities(const struct json *meta, size_t width, struct buf *out)
{
    add_heading("What it can do", out);
    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        struct buf b;

        buf_init(&b, PART_MAX_BYTES);
        words_capability(verbs[i], json_get(json_get(meta, "capabilities"), verbs[i]), &b);
        add_term(verbs[i], buf_text(&b), width, out);
        buf_free(&b);
    }
    add_term("probe", json_get_bool(meta, "probe") ? "yes: atsyncctl check tries address and credentials" : "no", width,
             out);
}

void connector_page_text(const struct json *entry, size_t width, struct buf *out)
{
    const struct json *meta = json_get(entry, "meta");

    add_term("type", json_get_str(entry, "type"), width, out);
    add_term("title", json_get_str(meta, "title"), width, out);
    add_term("file", json_get_str(entry, "path"), width, out);
    add_words("address", words_address, meta, width, out);
    add_words("logs in by", words_auth, meta, width, out);
    add_words("pace", words_pace, meta, width, out);
    if (json_count(json_get(meta, "hosts")) > 0) {
        add_words("other hosts", add_list, json_get(meta, "hosts"), width, out);
    }
    add_capabilities(meta, width, out);
    add_entries("Credentials", json_get(meta, "credentials"), width, out);
    add_entries("Settings", json_get(meta, "settings"), width, out);
    if (json_count(json_get(meta, "notes")) > 0) {
        add_heading("To know", out);
    }
    for (const struct json *n = json_first(json_get(meta, "notes")); n; n = json_next(n)) {
        struct buf b;

        buf_init(&b, PART_MAX_BYTES);
        print_wrapped(json_str(n), 2, width, &b);
        buf_puts(out, "- ");
        buf_puts(out, buf_text(&b) + 2);
        buf_free(&b);
    }
    add_heading("Example", out);
    connector_page_example(meta, out);
}

/* ---- mdoc ---- */

/* One character that mdoc would take for its own, as it wants it written. */
static void add_roff_char(const char **at, struct buf *out)
{
    const unsigned char *s = (const unsigned char *)*at;
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    unsigned point = len == 1 ? s[0] : s[0] & (0xFFU >> (len + 1));

    for (size_t i = 1; i < len; i++) {
        point = point << 6 | (s[i] & 0x3FU);
    }
    if (s[0] == '\\') {
        buf_puts(out, "\\e");
    } else if (len > 1) {
        buf_printf(out, "\\[u%04X]", point);
    } else {
        buf_putc(out, (char)s[0]);
    }
    *at += len;
}

static void add_roff_word(const char *word, size_t len, struct buf *out)
{
    const char *end = word + len;

    while (word < end) {
        add_roff_char(&word, out);
    }
}

/* Running text: a new line at MDOC_WIDTH and behind each sentence, as mandoc wants it. */
static void add_roff(const char *text, struct buf *out)
{
    size_t column = 0;

    while (*(text += strspn(text, " \n")) != '\0') {
        size_t len = strcspn(text, " \n");
        const char *next = text + len + strspn(text + len, " \n");

        if (column > 0 && column + 1 + len > MDOC_WIDTH) {
            buf_putc(out, '\n');
            column = 0;
        }
        buf_puts(out, column > 0 ? " " : *text == '.' || *text == '\'' ? "\\&" : "");
        add_roff_word(text, len, out);
        column += len + 1;
        if (text[len - 1] == '.' && isupper((unsigned char)*next)) {
            buf_putc(out, '\n');
            column = 0;
        }
        text = next;
    }
    if (column > 0) {
        buf_putc(out, '\n');
    }
}

static void add_roff_lines(const char *text, struct buf *out)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");

        buf_puts(out, *text == '.' || *text == '\'' ? "\\&" : "");
        add_roff_word(text, len, out);
        buf_putc(out, '\n');
        text += len + (text[len] == '\n');
    }
}

static void mdoc_words(const char *term, void (*words)(const struct json *meta, struct buf *out),
                       const struct json *meta, struct buf *out)
{
    struct buf b;

    buf_init(&b, PART_MAX_BYTES);
    words(meta, &b);
    buf_printf(out, ".It %s\n", term);
    add_roff(buf_text(&b), out);
    buf_free(&b);
}

static void mdoc_capabilities(const struct json *meta, struct buf *out)
{
    for (size_t i = 0; i < ATS_COUNT(verbs); i++) {
        const struct json *ability = json_get(json_get(meta, "capabilities"), verbs[i]);
        struct buf b;

        if (!ability) {
            continue;
        }
        buf_init(&b, PART_MAX_BYTES);
        words_capability(verbs[i], ability, &b);
        buf_printf(out, ".It Cm %s\n", verbs[i]);
        /* the list holds only what there is */
        add_roff(buf_text(&b) + (text_starts(buf_text(&b), "yes, ") ? strlen("yes, ") : 0), out);
        buf_free(&b);
    }
}

static void mdoc_entries(const char *section, const struct json *entries, struct buf *out)
{
    for (const struct json *e = json_first(entries); e; e = json_next(e)) {
        char *term = mem_printf("Cm %s.%s", section, json_key(e));

        mdoc_words(term, words_entry, e, out);
        mem_free(term);
    }
}

void connector_page_mdoc(const struct json *entry, struct buf *out)
{
    const struct json *meta = json_get(entry, "meta");
    struct buf example;

    buf_printf(out, ".Ss %s\n", json_get_str(entry, "type"));
    add_roff(json_get_str(meta, "title"), out);
    buf_puts(out, ".Bl -tag -width Ds\n");
    mdoc_words("Address", words_address, meta, out);
    mdoc_words("Logs in by", words_auth, meta, out);
    mdoc_words("Pace", words_pace, meta, out);
    mdoc_capabilities(meta, out);
    mdoc_entries("credentials", json_get(meta, "credentials"), out);
    mdoc_entries("settings", json_get(meta, "settings"), out);
    buf_puts(out, ".El\n");
    if (json_count(json_get(meta, "notes")) > 0) {
        buf_puts(out, ".Pp\nTo know:\n.Bl -dash -compact\n");
        for (const struct json *n = json_first(json_get(meta, "notes")); n; n = json_next(n)) {
            buf_puts(out, ".It\n");
            add_roff(json_str(n), out);
        }
        buf_puts(out, ".El\n");
    }
    buf_puts(out, ".Bd -literal -offset indent\n");
    buf_init(&example, PART_MAX_BYTES);
    connector_page_example(meta, &example);
    add_roff_lines(buf_text(&example), out);
    buf_free(&example);
    buf_puts(out, ".Ed\n");
}
