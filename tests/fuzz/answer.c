/*
 * What an ATS says: statuses, headers and bodies of any kind, for each connector's lookups, pages and writes. Input: a line of two
 * letters (connector, verb; a capital sets the optional settings), then answers with "\n--\n" between them, the last one for all
 * requests that are left. An answer: a line "STATUS RESULT" (RESULT: a digit of enum httpc_result), header lines "name: value",
 * an empty line, the body.
 */
#include "calls.h"

#include <ctype.h>

#include "base/text.h"

enum { ANSWERS_MAX = 8, HEADERS_MAX = 8 };

struct said {
    long status;
    enum httpc_result result;
    struct httpc_header headers[HEADERS_MAX];
    size_t header_count;
    char *body;
    size_t body_len;
};

struct talk {
    const char *type;
    const char *verb;
    struct said answers[ANSWERS_MAX];
    size_t count, next;
};

static void answer(void *ctx, const struct prepared_request *request, struct httpc_response *ret)
{
    struct talk *t = ctx;
    const struct said *s = &t->answers[t->next < t->count ? t->next++ : t->count - 1];
    bool answered = s->result == HTTPC_ANSWERED;

    (void)request;
    *ret = (struct httpc_response){.result = s->result,
                                   .status = s->status,
                                   .headers = s->headers,
                                   .header_count = s->header_count,
                                   .body = answered ? s->body : "",
                                   .body_len = answered ? s->body_len : 0,
                                   .error = answered ? "" : "the connection broke " CALLS_SECRET};
}

/* The allowed place is the base URL's host, or one that the module names. */
static void look(void *ctx, const struct prepared_request *q)
{
    const struct talk *t = ctx;
    const char *own = "ats.example.com";
    const char *of_vendor = strcmp(t->type, "bullhorn") == 0   ? ".bullhornstaffing.com"
                            : strcmp(t->type, "jobadder") == 0 ? ".jobadder.com"
                                                               : own;
    const char *host = q->url + strlen("https://");
    size_t len, vendor_len = strlen(of_vendor);

    PROMISE(text_starts(q->url, "https://"), "not encrypted: %s", q->url);
    len = strcspn(host, ":/?");
    PROMISE((len == strlen(own) && strncasecmp(host, own, len) == 0) ||
                (len > vendor_len && strncasecmp(host + len - vendor_len, of_vendor, vendor_len) == 0),
            "%s goes to a foreign host: %s", t->type, q->url);
}

static enum httpc_result result_of(const char *line)
{
    static const enum httpc_result results[] = {HTTPC_ANSWERED, HTTPC_TOO_LARGE, HTTPC_NOT_SENT, HTTPC_UNCERTAIN,
                                                HTTPC_REFUSED};
    const char *blank = strchr(line, ' ');

    return blank != NULL ? results[(unsigned)(blank[1] - '0') % 5] : HTTPC_ANSWERED;
}

/* As curl would give them: names in lower case, no line ends in values. */
static void read_answer(struct fuzz_input in, struct said *ret, struct arena *arena)
{
    const char *first = fuzz_line(&in, arena);
    int64_t status = 0;

    *ret = (struct said){.result = result_of(first)};
    if (text_to_i64(arena_strndup(arena, first, strcspn(first, " ")), 0, 999, &status))
        ret->status = (long)status;
    while (in.left > 0 && ret->header_count < HEADERS_MAX) {
        char *line = fuzz_line(&in, arena);
        char *colon = strchr(line, ':');

        if (*line == '\0')
            break;
        if (colon == NULL || colon == line)
            continue;
        *colon = '\0';
        for (char *p = line; *p != '\0'; p++)
            *p = (char)tolower((unsigned char)*p);
        ret->headers[ret->header_count++] = (struct httpc_header){.name = line, .value = colon + 1 + (colon[1] == ' ')};
    }
    ret->body_len = in.left;
    ret->body = arena_alloc(arena, in.left + 1);
    if (in.left > 0)
        memcpy(ret->body, in.at, in.left);
}

static struct json *context_of(const char *verb)
{
    char *text = mem_printf(
        "{\"candidate\":{\"id\":\"4212\",\"profile_id\":\"cp_1\"},\"job\":\"182736\",\"run\":{\"id\":\"run_1\","
        "\"state\":"
        "\"completed\",\"outcome\":\"completed\",\"result\":\"PASSED_CRITERIA\"},\"workflow\":\"cedar\",\"write\":%s}",
        strcmp(verb, "fields") == 0       ? "{\"fields\":{\"pin\":\"18C2094E\",\"score\":100}}"
        : strcmp(verb, "tags") == 0       ? "{\"tags\":[\"popp-passed\",\"other\"]}"
        : strcmp(verb, "stage") == 0      ? "{\"stage\":\"Screen\",\"only_from\":[\"Contacted\",\"none\"]}"
        : strcmp(verb, "reject") == 0     ? "{\"reason\":\"Did not meet criteria\"}"
        : strcmp(verb, "assessment") == 0 ? "{\"score\":80,\"status\":\"PASSED_CRITERIA\",\"summary\":\"Passed\"}"
                                          : "{\"body\":\"Passed\\nAll well\",\"marker\":\"atsync:5cc784a3d16de0bb\"}");
    struct json *context = fuzz_json(text, strlen(text));

    mem_free(text);
    return context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {(const char *)data, size};
    struct arena *arena = arena_new();
    const char *letters = fuzz_line(&in, arena);
    struct talk t = {.type = calls_type(letters[0]), .verb = calls_verb(letters[0] != '\0' ? letters[1] : 'a')};
    struct json *context = context_of(t.verb);

    do {
        read_answer(fuzz_take(&in, "\n--\n"), &t.answers[t.count++], arena);
    } while (in.left > 0 && t.count < ANSWERS_MAX);
    calls_make(&(struct calls_plan){.type = t.type,
                                    .verb = t.verb,
                                    .context = context,
                                    .optional_settings = letters[0] >= 'A' && letters[0] <= 'Z',
                                    .answer = answer,
                                    .look = look,
                                    .ctx = &t});
    json_free(context);
    arena_free(arena);
    return 0;
}
