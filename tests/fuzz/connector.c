/*
 * Values of strangers in the requests of each connector. Input: a line of two letters (connector, verb; a capital sets the
 * optional settings), then lines: candidate, job, name, and three values, each JSON or a text; what is left is
 * the body of every answer.
 */
#include "calls.h"

#include "base/buf.h"
#include "base/text.h"

enum { TEXT_MAX_BYTES = 16 * 1024 * 1024 };

struct told {
    const char *type;
    const char *verb;
    const struct json *write;
    struct fuzz_input answer;
    char *body;
};

static void answer(void *ctx, const struct prepared_request *request, struct httpc_response *ret)
{
    static const struct httpc_header headers[] = {{.name = "content-type", .value = "application/json"}};
    const struct told *t = ctx;

    (void)request;
    *ret = (struct httpc_response){.result = HTTPC_ANSWERED,
                                   .status = 200,
                                   .headers = headers,
                                   .header_count = 1,
                                   .body = t->body,
                                   .body_len = t->answer.left,
                                   .error = ""};
}

/* The plain API: each value arrives as it was. */
static void look_at_rest(const struct told *t, const struct prepared_request *q)
{
    struct json *body = q->body != NULL ? fuzz_json(q->body, q->body_len) : NULL;

    PROMISE(text_starts(q->url, CALLS_BASE_URL "/candidates/"), "the path was left: %s", q->url);
    if (q->is_write && strcmp(t->verb, "fields") == 0)
        PROMISE(json_equal(json_get(body, "fields"), json_get(t->write, "fields")), "other fields arrive: %s", q->body);
    if (q->is_write && strcmp(t->verb, "tags") == 0)
        PROMISE(json_equal(json_get(body, "tags"), json_get(t->write, "tags")), "other tags arrive: %s", q->body);
    if (q->is_write && strcmp(t->verb, "stage") == 0)
        PROMISE(json_equal(json_get(body, "stage"), json_get(t->write, "stage")), "another stage arrives: %s", q->body);
    json_free(body);
}

/* Its notes are HTML: what a candidate typed is text in there. */
static void look_at_bullhorn(const struct told *t, const struct prepared_request *q)
{
    struct json *body = q->body != NULL ? fuzz_json(q->body, q->body_len) : NULL;
    const char *html = json_str(json_get(body, "comments"));

    if (q->is_write && strcmp(t->verb, "note") == 0 && html != NULL) {
        for (const char *p = html; *p != '\0'; p++) {
            PROMISE(*p != '<' || text_starts(p, "<br>"), "HTML of a candidate: %s", html);
            PROMISE(*p != '>' || (p - html >= 3 && strncmp(p - 3, "<br", 3) == 0), "HTML of a candidate: %s", html);
            PROMISE(*p != '"', "a quote of a candidate: %s", html);
            PROMISE(*p != '&' || text_starts(p, "&amp;") || text_starts(p, "&lt;") || text_starts(p, "&gt;") ||
                        text_starts(p, "&quot;"),
                    "an entity of a candidate: %s", html);
        }
    }
    json_free(body);
}

static void look(void *ctx, const struct prepared_request *q)
{
    const struct told *t = ctx;

    if (strcmp(t->type, "rest") == 0)
        look_at_rest(t, q);
    if (strcmp(t->type, "bullhorn") == 0)
        look_at_bullhorn(t, q);
}

static struct json *text_of(const char *line)
{
    struct json *value = fuzz_value(line);
    char *text = json_str(value) != NULL ? mem_strdup(json_str(value)) : json_text(value);
    struct json *j = json_string(text);

    mem_free(text);
    json_free(value);
    return j;
}

/* As the dispatcher makes it (src/service/delivery.c). */
static struct json *context_of(struct fuzz_input *in, const char *verb, struct arena *arena)
{
    struct json *context = json_object(), *candidate = json_object(), *run = json_object(), *write = json_object();
    struct json *list = json_array(), *fields = json_object();
    const char *name, *values[3];

    json_set(candidate, "id", text_of(fuzz_line(in, arena)));
    json_set_str(candidate, "profile_id", "cp_1");
    json_set(context, "candidate", candidate);
    json_set(context, "job", text_of(fuzz_line(in, arena)));
    name = fuzz_line(in, arena);
    for (size_t i = 0; i < ATS_COUNT(values); i++)
        values[i] = fuzz_line(in, arena);
    json_set(run, "id", text_of(values[1]));
    json_set_str(run, "state", "completed");
    json_set_str(run, "outcome", "completed");
    json_set_str(run, "result", "PASSED_CRITERIA");
    json_set_str(run, "started_at", "2026-05-12T09:00:00.000Z");
    json_set_str(run, "completed_at", "2026-05-12T09:34:10.000Z");
    json_set(context, "run", run);
    json_set_str(context, "workflow", "cedar-rgn-screening");
    if (strcmp(verb, "note") == 0 || strcmp(verb, "find_marker") == 0) {
        json_set(write, "body", text_of(values[0]));
        json_set_str(write, "marker", "atsync:5cc784a3d16de0bb");
    } else if (strcmp(verb, "fields") == 0) {
        struct json *key = text_of(name);

        json_set(fields, json_str(key), fuzz_value(values[0]));
        json_set(fields, "second", fuzz_value(values[1]));
        json_set(write, "fields", json_copy(fields));
        json_free(key);
    } else if (strcmp(verb, "tags") == 0) {
        json_push(list, text_of(name));
        json_push(list, text_of(values[0]));
        json_set(write, "tags", json_copy(list));
    } else if (strcmp(verb, "stage") == 0) {
        json_set(write, "stage", text_of(name));
        json_push(list, text_of(values[0]));
        json_set(write, "only_from", json_copy(list));
    } else if (strcmp(verb, "reject") == 0) {
        json_set(write, "reason", text_of(name));
    } else if (strcmp(verb, "assessment") == 0) {
        struct json *score = fuzz_value(values[0]);

        json_set(write, "score", json_type(score) == JSON_NUMBER ? json_copy(score) : json_null());
        json_set(write, "status", text_of(name));
        json_set(write, "summary", text_of(values[1]));
        json_free(score);
    }
    json_set(context, "write", write);
    json_free(fields);
    json_free(list);
    return context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {(const char *)data, size};
    struct arena *arena = arena_new();
    const char *letters = fuzz_line(&in, arena);
    char verb = letters[0] != '\0' ? letters[1] : 'a';
    struct told t = {.type = calls_type(letters[0]), .verb = calls_verb(verb)};
    struct json *context = context_of(&in, t.verb, arena);

    t.write = json_get(context, "write");
    t.answer = in;
    t.body = mem_strndup(in.left > 0 ? in.at : "", in.left);
    t.answer.left = strlen(t.body);
    calls_make(&(struct calls_plan){.type = t.type,
                                    .verb = t.verb,
                                    .context = context,
                                    .optional_settings = letters[0] >= 'A' && letters[0] <= 'Z',
                                    .never_broken = strcmp(t.type, "rest") == 0 && strcmp(t.verb, "stage") != 0 &&
                                                    strcmp(t.verb, "find_marker") != 0,
                                    .answer = answer,
                                    .look = look,
                                    .ctx = &t});
    mem_free(t.body);
    json_free(context);
    arena_free(arena);
    return 0;
}
