#include "ctl/connector_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "config/config.h"
#include "connector/module.h"

/* Unit tests run in the root of the project: the shipped modules are beside this file. */
#define CONFIG "conf/atsyncd.conf"
#define MANUAL "packaging/man/atsyncd-connectors.7"
#define BEGIN ".\\\" Begin of what `make connectors-page' writes."
#define END ".\\\" End of what `make connectors-page' writes."
enum { TEXT_MAX_BYTES = 4 * 1024 * 1024 };

static struct json *catalogue;

static int load(void **state)
{
    (void)state;
    catalogue = connector_catalogue(CONFIG);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_free(catalogue);
    return 0;
}

/* Those that are installed on this machine do not matter here. */
static bool is_shipped(const struct json *entry)
{
    return text_starts(json_get_str(entry, "path"), "conf/connectors/");
}

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "re");
    struct buf b;
    int ch;

    if (f == NULL)
        fail_msg("cannot read %s", path);
    buf_init(&b, TEXT_MAX_BYTES);
    while ((ch = getc(f)) != EOF)
        buf_putc(&b, (char)ch);
    (void)fclose(f);
    return buf_take(&b);
}

/* ---- the shipped ones */

/* Secrets are not on this machine: "{file: /etc/…}" becomes a text. */
static void add_without_files(const char *example, struct buf *out)
{
    const char *file;

    while ((file = strstr(example, "{file: ")) != NULL) {
        buf_add(out, example, (size_t)(file - example));
        buf_puts(out, "\"a secret that is long enough\"");
        example = strchr(file, '}') + 1;
    }
    buf_puts(out, example);
}

/* All that may be given is given. */
static void uncomment(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '#')
            *to++ = *from;
    }
    *to = '\0';
}

static void assert_loads(const char *type, const char *example, bool complete)
{
    struct config_problems problems = {0};
    struct connector_set *set = NULL;
    struct config *config = NULL;
    struct buf text, said;
    char *yaml;

    buf_init(&text, TEXT_MAX_BYTES);
    buf_init(&said, TEXT_MAX_BYTES);
    buf_puts(&text, "receiver: {listen: \"127.0.0.1:8480\"}\nadmin: {listen: none}\n"
                    "sources: {popp: {signing_secrets: [\"0123456789abcdef\"]}}\n");
    if (!text_starts(example, "database:"))
        buf_puts(&text, "database: {conninfo: \"dbname=atsync\"}\n");
    add_without_files(example, &text);
    yaml = buf_take(&text);
    if (text_starts(example, "database:")) {
        char *key = strstr(yaml, "  encryption_key");
        char *more = mem_printf("%.*s  conninfo: \"dbname=atsync\"\n%s", (int)(key - yaml), yaml, key);

        mem_free(yaml);
        yaml = more;
    }
    if (complete)
        uncomment(yaml);
    if (config_parse(CONFIG, yaml, strlen(yaml), &config, &problems) != ST_OK ||
        connector_set_load(config, &set, &problems) != ST_OK) {
        config_problems_print(&problems, &said);
        fail_msg("the example of %s is not accepted:\n%s\n%s", type, buf_text(&said), yaml);
    }
    connector_set_unref(set);
    config_unref(config);
    config_problems_clear(&problems);
    mem_free(yaml);
    buf_free(&said);
}

static void test_examples_are_accepted(void **state)
{
    size_t count = 0;

    (void)state;
    for (const struct json *e = json_first(catalogue); e != NULL; e = json_next(e)) {
        struct buf example;

        if (!is_shipped(e))
            continue;
        count++;
        assert_null(json_get_str(e, "error"));
        buf_init(&example, TEXT_MAX_BYTES);
        connector_page_example(json_get(e, "meta"), &example);
        assert_loads(json_get_str(e, "type"), buf_text(&example), false);
        /* optional settings without a pattern are free texts: "…" will do */
        assert_loads(json_get_str(e, "type"), buf_text(&example), true);
        buf_free(&example);
    }
    assert_true(count >= 15);
}

static void test_manual_is_up_to_date(void **state)
{
    char *manual = read_text(MANUAL);
    const char *begin = strstr(manual, BEGIN);
    const char *end = strstr(manual, END);
    struct buf now;

    (void)state;
    assert_non_null(begin);
    assert_non_null(end);
    begin = strchr(begin, '\n') + 1;
    buf_init(&now, TEXT_MAX_BYTES);
    for (const struct json *e = json_first(catalogue); e != NULL; e = json_next(e)) {
        if (is_shipped(e))
            connector_page_mdoc(e, &now);
    }
    if (now.len != (size_t)(end - begin) || memcmp(buf_text(&now), begin, now.len) != 0) {
        size_t same = 0;

        while (same < now.len && buf_text(&now)[same] == begin[same])
            same++;
        fail_msg("%s is out of date: run make connectors-page; it differs from here on:\n%.200s", MANUAL,
                 buf_text(&now) + same);
    }
    buf_free(&now);
    mem_free(manual);
}

/* ---- one of our own */

static const char tiny[] =
    "{\"type\": \"tiny\", \"path\": \"/etc/x/tiny.jq\", \"meta\": {\"name\": \"tiny\", \"title\": \"Tiny ATS\","
    " \"base_url\": null, \"rate\": {\"count\": 1, \"per_ms\": 90000}, \"timeout_ms\": 1500,"
    " \"credentials\": {\"key\": {\"help\": \"the key\"}, \"other\": {\"help\": \"more\", \"required\": false}},"
    " \"settings\": {\"user\": {\"help\": \"who\", \"pattern\": \"[0-9]+\"}, \"odd\": {\"help\": \"what\", "
    "\"pattern\": \"z{9}\"},"
    "  \"mode\": {\"help\": \"how\", \"default\": \"a\\\"b\"}, \"free\": {\"help\": \"any\", \"required\": false}},"
    " \"auth\": {\"kind\": \"oauth2_client_credentials\", \"token_url\": \"https://t.example/token\"},"
    " \"capabilities\": {\"stage\": {\"values\": [\"NEW\", \"OLD\"]}, \"tags\": {\"max_chars\": 5, \"batch\": true},"
    "  \"note\": {\"needs_job\": true, \"max_chars\": 900}},"
    " \"notes\": [\".A first word. And a \\\\ second sentence \\u2026\"]}}";

static struct json *entry_of(const char *text)
{
    struct json *entry = NULL;

    assert_int_equal(json_parse(text, strlen(text), &entry, NULL), ST_OK);
    return entry;
}

static void test_row(void **state)
{
    struct json *entry = entry_of(tiny);
    struct json *row = connector_page_row(entry);
    char *text = json_text(row);

    (void)state;
    assert_string_equal(text, "{\"type\":\"tiny\",\"title\":\"Tiny ATS\",\"path\":\"/etc/x/tiny.jq\","
                              "\"can\":\"stage tags note\","
                              "\"needs\":\"base_url credentials.key settings.user settings.odd\"}");
    mem_free(text);
    json_free(row);
    row = connector_page_json(entry);
    json_set(row, "meta", NULL);
    json_set(row, "example", NULL);
    text = json_text(row);
    assert_string_equal(text, "{\"type\":\"tiny\",\"title\":\"Tiny ATS\",\"path\":\"/etc/x/tiny.jq\","
                              "\"can\":[\"stage\",\"tags\",\"note\"],\"needs\":{\"base_url\":true,"
                              "\"encryption_key\":true,\"credentials\":[\"key\"],\"settings\":[\"user\",\"odd\"]}}");
    mem_free(text);
    json_free(row);
    json_free(entry);
}

static void test_row_of_a_broken_one(void **state)
{
    struct json *entry = entry_of("{\"type\": \"b\", \"path\": \"/b.jq\", \"error\": \"/b.jq:3: no\"}");
    struct json *row = connector_page_row(entry);
    char *text = json_text(row);

    (void)state;
    assert_string_equal(text, "{\"type\":\"b\",\"path\":\"/b.jq\",\"error\":\"/b.jq:3: no\"}");
    mem_free(text);
    json_free(row);
    json_free(entry);
}

#define EXAMPLE                                                                                                        \
    "database:\n"                                                                                                      \
    "  encryption_key: {file: /etc/atsyncd/encryption.key}\n"                                                          \
    "connectors:\n"                                                                                                    \
    "  tiny:\n"                                                                                                        \
    "    type: tiny\n"                                                                                                 \
    "    base_url: https://ats.example.com\n"                                                                          \
    "    credentials:\n"                                                                                               \
    "      key: {file: /etc/atsyncd/tiny.key}\n"                                                                       \
    "      #other: {file: /etc/atsyncd/tiny.other}\n"                                                                  \
    "    settings:\n"                                                                                                  \
    "      user: \"4080\"\n"                                                                                           \
    "      odd: \"…\"\n"                                                                                             \
    "      #mode: \"a\\\"b\"\n"                                                                                        \
    "      #free: \"…\"\n"

static void test_text(void **state)
{
    struct json *entry = entry_of(tiny);
    struct buf b;

    (void)state;
    buf_init(&b, TEXT_MAX_BYTES);
    connector_page_text(entry, 60, &b);
    assert_string_equal(buf_text(&b), "type          tiny\n"
                                      "title         Tiny ATS\n"
                                      "file          /etc/x/tiny.jq\n"
                                      "address       base_url in the configuration\n"
                                      "logs in by    OAuth 2 client credentials, tokens from\n"
                                      "              https://t.example/token\n"
                                      "pace          1 request in 90 s, each at most 1500 ms\n"
                                      "\nWhat it can do\n"
                                      "stage         yes, without only_from, one of: NEW, OLD\n"
                                      "reject        no\n"
                                      "fields        no\n"
                                      "tags          yes, several in one call, at most 5 characters\n"
                                      "note          yes, the workflow must name a job, at most 900\n"
                                      "              characters, the rest is cut, one whose fate is\n"
                                      "              unknown cannot be looked for\n"
                                      "assessment    no\n"
                                      "probe         no\n"
                                      "\nCredentials\n"
                                      "key           the key (required)\n"
                                      "other         more (optional)\n"
                                      "\nSettings\n"
                                      "user          who (required, looks like [0-9]+)\n"
                                      "odd           what (required, looks like z{9})\n"
                                      "mode          how (optional, default \"a\"b\")\n"
                                      "free          any (optional)\n"
                                      "\nTo know\n"
                                      "- .A first word. And a \\ second sentence …\n"
                                      "\nExample\n" EXAMPLE);
    buf_free(&b);
    json_free(entry);
}

static void test_mdoc_is_escaped(void **state)
{
    struct json *entry = entry_of(tiny);
    struct buf b;

    (void)state;
    buf_init(&b, TEXT_MAX_BYTES);
    connector_page_mdoc(entry, &b);
    assert_non_null(strstr(buf_text(&b), ".Ss tiny\nTiny ATS\n.Bl -tag -width Ds\n"));
    assert_non_null(strstr(buf_text(&b), ".It\n\\&.A first word.\nAnd a \\e second sentence \\[u2026]\n"));
    assert_non_null(strstr(buf_text(&b), "\n      #mode: \"a\\e\"b\"\n      #free: \"\\[u2026]\"\n.Ed\n"));
    buf_free(&b);
    json_free(entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_are_accepted),
        cmocka_unit_test(test_manual_is_up_to_date),
        cmocka_unit_test(test_row),
        cmocka_unit_test(test_row_of_a_broken_one),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_mdoc_is_escaped),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
