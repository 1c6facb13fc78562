/* A configuration file: either a whole configuration or problems, each a line that can be read; never half of both. */
#include "fuzz.h"

#include "base/buf.h"
#include "base/text.h"
#include "config/config.h"
#include "domain/note.h"

enum { TEXT_MAX_BYTES = 16 * 1024 * 1024 };

static void check_problems(const struct config_problems *problems)
{
    struct buf text;
    size_t lines = 0;

    buf_init(&text, TEXT_MAX_BYTES);
    config_problems_print(problems, &text);
    PROMISE(problems->count > 0, "refused without a problem");
    for (size_t i = 0; i < problems->count; i++)
        PROMISE(problems->items[i].message[0] != '\0', "a problem without words");
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    PROMISE(lines == problems->count, "%zu problems in %zu lines: %s", problems->count, lines, buf_text(&text));
    PROMISE(text_is_utf8(buf_text(&text), text.len), "the problems are not UTF-8: %s", buf_text(&text));
    buf_free(&text);
}

static void check_mapping(const struct config *c)
{
    for (size_t i = 0; i < c->mapping.count; i++) {
        const struct workflow_map *w = &c->mapping.workflows[i];

        PROMISE(mapping_find(&c->mapping, w->external_id) != NULL, "a workflow cannot be found");
        PROMISE(config_connector(c, w->connector) != NULL, "a workflow without a connector");
        for (size_t k = 0; k < w->rule_count; k++) {
            const struct rule *r = &w->rules[k];
            struct condition condition;

            PROMISE(condition_parse(r->condition_text, &condition, NULL) == ST_OK, "a condition that is none: %s",
                    r->condition_text);
            condition_clear(&condition);
            PROMISE(r->note == NULL || strcmp(r->note, "summary") == 0 || note_template_check(r->note, NULL) == ST_OK,
                    "a note that cannot be written: %s", r->note);
            for (size_t f = 0; f < r->field_count; f++) {
                struct json *value = fuzz_json(r->fields[f].value_json, strlen(r->fields[f].value_json));

                PROMISE(value != NULL, "a constant that is no JSON: %s", r->fields[f].value_json);
                json_free(value);
            }
        }
    }
}

static void check_config(struct config *c, struct config *same)
{
    char one[CONFIG_FINGERPRINT_BYTES], two[CONFIG_FINGERPRINT_BYTES];
    struct buf changes;

    buf_init(&changes, TEXT_MAX_BYTES);
    config_diff(c, same, &changes);
    PROMISE(changes.len == 0, "differs from itself: %s", buf_text(&changes));
    config_keep_fixed(same, c, &changes);
    PROMISE(changes.len == 0, "something had to be kept of itself: %s", buf_text(&changes));
    for (size_t i = 0; i < c->connector_count; i++) {
        PROMISE(config_connector(c, c->connectors[i].name) == &c->connectors[i], "a connector cannot be found");
        config_mapping_fingerprint(c, &c->connectors[i], one);
        config_mapping_fingerprint(same, &same->connectors[i], two);
        PROMISE(strcmp(one, two) == 0, "two fingerprints of one connector");
    }
    for (size_t i = 0; i < c->source_count; i++) {
        struct signature_verifier *v = NULL;

        PROMISE(config_source(c, c->sources[i].name) == &c->sources[i], "a source cannot be found");
        PROMISE(signature_verifier_new(&c->sources[i].signature, &v, NULL) == ST_OK, "no event of %s can be verified",
                c->sources[i].name);
        signature_verifier_free(v);
    }
    check_mapping(c);
    buf_free(&changes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_problems problems = {0}, none = {0};
    struct config *c = NULL, *same = NULL;
    int st = config_parse("/etc/atsyncd/atsyncd.conf", (const char *)data, size, &c, &problems);

    if (st == ST_OK) {
        PROMISE(problems.count == 0, "accepted with %zu problems: %s", problems.count, problems.items[0].message);
        PROMISE(config_parse("/etc/atsyncd/atsyncd.conf", (const char *)data, size, &same, &none) == ST_OK,
                "accepted once only");
        check_config(c, same);
    } else {
        PROMISE(c == NULL, "refused, and given");
        check_problems(&problems);
    }
    config_problems_clear(&problems);
    config_problems_clear(&none);
    config_unref(c);
    config_unref(same);
    return 0;
}
