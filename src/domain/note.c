#include "domain/note.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "lib/crypto.h"

enum { NOTE_MAX_BYTES = 1024 * 1024 };

const char *note_marker(const char *source, const char *subject, const char *key, struct arena *arena)
{
    const char *name = arena_printf(arena, "%s\n%s\n%s", source, subject, key);
    uint8_t digest[CRYPTO_SHA256_BYTES];
    char hex[2 * CRYPTO_SHA256_BYTES + 1];

    crypto_sha256(name, strlen(name), digest);
    crypto_hex(digest, 8, hex);
    return arena_printf(arena, "atsync:%s", hex);
}

/* ---- words for codes: a value that is not in the table is shown as it came ------------------------------------------------ */

struct words {
    const char *code;
    const char *text;
};

static const struct words result_words[] = {
    {"PASSED_CRITERIA", "Screening passed: the candidate met the criteria."},
    {"FAILED_CRITERIA", "Screening not passed: the candidate did not meet the criteria."},
    {"COMPLETED", "Conversation completed."},
    {"NOT_INTERESTED", "The candidate is not interested."},
    {"OPTED_OUT", "The candidate opted out of the conversation."},
    {"DELIVERY_FAILED", "The messages could not be delivered to the candidate."},
};

static const struct words outcome_words[] = {
    {"completed", "Workflow completed."},
    {"opted_out", "The candidate opted out of the conversation."},
    {"delivery_failed", "The messages could not be delivered to the candidate."},
    {"cancelled", "The workflow run was cancelled."},
    {"failed", "The workflow run failed."},
};

static const struct words moment_words[] = {
    {"started", "Workflow run started."},
    {"contact_resolved", "The contact was matched to a candidate."},
    {"contact_skipped", "The contact was skipped: the candidate already has a run of this workflow."},
    {"contact_failed", "The contact could not be matched to a candidate."},
};

static const struct words error_words[] = {
    {"EXECUTOR_TIMEOUT", "a step took longer than its time limit"},
    {"INVALID_NODE_CONFIG", "a step of the workflow is configured wrongly"},
    {"DOWNSTREAM_SERVICE_ERROR", "a service that the workflow needs reported an error"},
    {"EXECUTOR_FAILED", "a step failed"},
    {"SYSTEM_FAILURE", "a technical problem lasted too long"},
};

static const struct words state_words[] = {
    {"IS_YES", "yes"},
    {"IS_NO", "no"},
    {"IS_ANY", ""}, /* any answer will do: says nothing to a reader */
    {"INCLUDES", "as hoped"},
    {"DOES_NOT_INCLUDE", "not as hoped"},
    {"DOCUMENT_UPLOADED", "document uploaded"},
    {"DOCUMENT_NOT_UPLOADED", "document not uploaded"},
    {"NEEDS_CLARIFICATION", "needs clarification"},
};

static const struct words answer_outcome_words[] = {
    {"PASSED", "passed"},   {"FAILED", "failed"}, {"NOT_COMPLETED", "not completed"}, {"NEEDS_REVIEW", "needs review"},
    {"PENDING", "pending"},
};

static const struct words light_words[] = {{"GREEN", "green"}, {"AMBER", "amber"}, {"RED", "red"}};

static const char *in_words(const struct words *table, size_t count, const char *code)
{
    for (size_t i = 0; code && i < count; i++) {
        if (strcmp(table[i].code, code) == 0) {
            return table[i].text;
        }
    }
    return code;
}
#define WORDS(table, code) in_words(table, ATS_COUNT(table), code)

/* A text from outside on one line: line breaks and other control characters become blanks, what is not Unicode U+FFFD. */
static void add_flat(struct buf *b, const char *s)
{
    struct buf clean;

    buf_init(&clean, NOTE_MAX_BYTES);
    json_plain(s, &clean);
    for (size_t i = 0; i < clean.len; i++) {
        clean.data[i] = (unsigned char)clean.data[i] < 0x20 || clean.data[i] == 0x7f ? ' ' : clean.data[i];
    }
    buf_puts(b, buf_text(&clean)); /* whole or not at all: a full note ends with a whole character */
    buf_free(&clean);
}

static const char *flat(const char *s, struct arena *arena)
{
    struct buf b;
    const char *text;

    buf_init(&b, NOTE_MAX_BYTES);
    add_flat(&b, s);
    text = arena_strdup(arena, buf_text(&b));
    buf_free(&b);
    return text;
}

static const char *headline(const struct run *r, const char *moment, struct arena *arena)
{
    const char *text;

    if (!r->outcome || strcmp(moment, r->outcome) != 0) {
        text = WORDS(moment_words, moment);
        return text != moment ? text
                              : arena_printf(arena, "Step %s of the workflow ended.",
                                             flat(moment + (text_starts(moment, "node/") ? 5 : 0), arena));
    }
    if (r->result) {
        text = WORDS(result_words, r->result);
        return text != r->result ? text
                                 : arena_printf(arena, "Workflow completed with result %s.", flat(r->result, arena));
    }
    text = WORDS(outcome_words, r->outcome);
    return text != r->outcome ? text : arena_printf(arena, "Workflow ended with outcome %s.", flat(r->outcome, arena));
}

/* "2026-04-28 10:45 UTC" */
static const char *minute(int64_t us, struct arena *arena)
{
    struct time_text t = time_iso8601(us);

    return arena_printf(arena, "%.10s %.5s UTC", t.s, t.s + 11);
}

static void add_part(struct buf *b, bool *first, const char *text)
{
    if (text && text[0]) {
        buf_puts(b, *first ? " - " : ", ");
        add_flat(b, text);
        *first = false;
    }
}

static void add_answer(struct buf *b, const struct run_answer *a)
{
    const struct json *answer = json_get(a->json, "answer");
    const char *state = json_get_str(a->json, "answerState");
    const char *document = json_get_str(a->json, "classifiedDocumentType");
    bool has_document = json_get_str(a->json, "documentS3Key") || json_get_str(a->json, "documentTwilioMediaSid");
    double score;
    bool first = true;

    buf_puts(b, "- ");
    add_flat(b, a->slug);
    buf_puts(b, ": ");
    if (json_str(answer) && json_str(answer)[0]) {
        buf_putc(b, '"');
        add_flat(b, json_str(answer));
        buf_putc(b, '"');
        if (state && WORDS(state_words, state)[0]) {
            buf_puts(b, " (");
            add_flat(b, WORDS(state_words, state));
            buf_putc(b, ')');
        }
    } else if (json_type(answer) != JSON_NULL && !json_str(answer)) {
        json_print(answer, b);
    } else if (state && WORDS(state_words, state)[0]) {
        add_flat(b, WORDS(state_words, state));
    } else {
        buf_puts(b, "no answer");
    }
    add_part(b, &first, WORDS(light_words, json_get_str(a->json, "trafficLight")));
    add_part(b, &first, WORDS(answer_outcome_words, json_get_str(a->json, "outcome")));
    if (json_num(json_get(a->json, "score"), &score)) {
        buf_puts(b, first ? " - score " : ", score ");
        json_print(json_get(a->json, "score"), b);
        first = false;
    }
    if (document || has_document) {
        buf_puts(b, first ? " - document: " : ", document: ");
        add_flat(b, document ? document : "type not recognised");
    }
    buf_putc(b, '\n');
}

static void add_answers(struct buf *b, const struct run *r)
{
    const char *node = NULL;
    size_t nodes_with_answers = 0;

    for (size_t i = 0; i < r->answer_count; i++) {
        nodes_with_answers += i == 0 || strcmp(r->answers[i].node_id, r->answers[i - 1].node_id) != 0;
    }
    for (size_t i = 0; i < r->answer_count; i++) {
        if (nodes_with_answers > 1 && (!node || strcmp(node, r->answers[i].node_id) != 0)) {
            node = r->answers[i].node_id;
            buf_puts(b, "In ");
            add_flat(b, node);
            buf_puts(b, ":\n");
        }
        add_answer(b, &r->answers[i]);
    }
}

static void add_failure(struct buf *b, const struct run *r)
{
    const char *words = WORDS(error_words, r->error_code);

    if (r->outcome && strcmp(r->outcome, "failed") == 0) {
        buf_puts(b, "Reason: ");
        add_flat(b, words ? words : "not told");
        if (r->last_failed_node_id) {
            buf_puts(b, ", in step ");
            add_flat(b, r->last_failed_node_id);
        }
        buf_puts(b, ".");
        if (r->error_class && strcmp(r->error_class, "SYSTEM") == 0) {
            buf_puts(b, " The run can be started again.");
        } else if (r->error_class && strcmp(r->error_class, "DATA") == 0) {
            buf_puts(b, " Somebody should look at the data of this candidate or workflow.");
        }
        buf_putc(b, '\n');
    }
    if (r->cancellation_reason) {
        buf_puts(b, "Reason: ");
        add_flat(b, r->cancellation_reason);
        buf_putc(b, '\n');
    }
}

/* What was put together, as an ATS takes it: Unicode without U+0000. */
static char *finished(struct buf *b, struct arena *arena)
{
    struct buf clean;
    char *text;

    buf_init(&clean, (size_t)2 * NOTE_MAX_BYTES); /* U+FFFD has three bytes, what it stands for two at least */
    json_plain(buf_text(b), &clean);
    text = arena_strdup(arena, buf_text(&clean));
    buf_free(&clean);
    buf_free(b);
    return text;
}

char *note_summary(const struct run *r, const char *moment, const char *workflow_external_id, struct arena *arena)
{
    struct buf b;

    buf_init(&b, NOTE_MAX_BYTES);
    buf_printf(&b, "%s\n", headline(r, moment, arena));
    add_failure(&b, r);
    if (r->answer_count > 0) {
        buf_puts(&b, "\nAnswers\n");
        add_answers(&b, r);
    }
    if (r->outcome && r->truncated && !r->complete) {
        buf_puts(&b, "\nSome answers are missing here: the event that ended the run was too long and was cut.\n");
    }
    buf_puts(&b, "\nWorkflow ");
    add_flat(&b, workflow_external_id ? workflow_external_id : (r->workflow_id ? r->workflow_id : "unknown"));
    buf_puts(&b, r->is_contact_only ? ", contact " : ", run ");
    add_flat(&b, r->run_id);
    if (r->completed_us != EVENT_TIME_NONE && r->outcome) {
        buf_printf(&b, ", ended %s", minute(r->completed_us, arena));
    }
    return finished(&b, arena);
}

/* ---- templates ------------------------------------------------------------------------------------------------------- */

static const char *const placeholders[] = {"candidate", "run",   "workflow", "result",   "outcome", "state",
                                           "reason",    "error", "started",  "finished", "answers", "summary"};

static bool known_placeholder(const char *name)
{
    for (size_t i = 0; i < ATS_COUNT(placeholders); i++) {
        if (strcmp(placeholders[i], name) == 0) {
            return true;
        }
    }
    return text_starts(name, "answer:") && name[7] != '\0';
}

/* Splits a template into literal text and placeholders; either function may be NULL. */
struct template_sink {
    void (*literal)(void *ctx, const char *text, size_t len);
    int (*placeholder)(void *ctx, const char *name, struct errmsg *err);
    void *ctx;
};

static int walk_template(const char *text, const struct template_sink *sink, struct errmsg *err)
{
    while (*text) {
        size_t plain = strcspn(text, "{}");

        if (plain > 0 && sink->literal) {
            sink->literal(sink->ctx, text, plain);
        }
        text += plain;
        if (!*text) {
            break;
        }
        if (text[1] == text[0]) {
            if (sink->literal) {
                sink->literal(sink->ctx, text, 1);
            }
            text += 2;
            continue;
        }
        const char *end = *text == '{' ? strchr(text, '}') : NULL;

        if (!end) {
            return err_set(err, ST_INVALID, "a single %c in the note's text: write %c%c for the character itself",
                           *text, *text, *text);
        }
        char *name = mem_strndup(text + 1, (size_t)(end - text - 1));
        int st = sink->placeholder(sink->ctx, name, err);

        mem_free(name);
        if (st != ST_OK) {
            return st;
        }
        text = end + 1;
    }
    return ST_OK;
}

static int check_placeholder(void *ctx, const char *name, struct errmsg *err)
{
    const char *best = NULL;
    unsigned best_distance = 4;

    (void)ctx;
    if (known_placeholder(name)) {
        return ST_OK;
    }
    for (size_t i = 0; i < ATS_COUNT(placeholders); i++) {
        unsigned d = text_distance(name, placeholders[i]);

        if (d < best_distance) {
            best = placeholders[i];
            best_distance = d;
        }
    }
    if (best) {
        return err_set(err, ST_INVALID, "unknown placeholder {%s} in the note's text, did you mean {%s}?", name, best);
    }
    return err_set(err, ST_INVALID, "unknown placeholder {%s} in the note's text", name);
}

int note_template_check(const char *text, struct errmsg *err)
{
    struct template_sink sink = {.placeholder = check_placeholder};

    return walk_template(text, &sink, err);
}

struct rendering {
    struct buf out;
    const struct run *run;
    const char *moment;
    const char *workflow_external_id;
    struct arena *arena;
};

static void render_literal(void *ctx, const char *text, size_t len)
{
    struct rendering *r = ctx;

    buf_add(&r->out, text, len);
}

static void render_answer(struct rendering *r, const char *key)
{
    struct field_map place = {0};
    const struct run_answer *a;
    const struct json *value;

    if (field_key_parse(key, &place, NULL) != ST_OK) {
        return;
    }
    a = run_find_answer(r->run, place.node_id, place.slug);
    value = a ? json_get(a->json, answer_member_name(place.member)) : NULL;
    if (json_str(value)) {
        buf_puts(&r->out, json_str(value));
    } else if (json_type(value) != JSON_NULL) {
        json_print(value, &r->out);
    }
    mem_free(place.key_text);
    mem_free(place.node_id);
    mem_free(place.slug);
}

static int render_placeholder(void *ctx, const char *name, struct errmsg *err)
{
    struct rendering *r = ctx;
    const struct run *run = r->run;
    const char *text = NULL;

    (void)err;
    if (text_starts(name, "answer:")) {
        render_answer(r, name + 7);
    } else if (strcmp(name, "answers") == 0) {
        add_answers(&r->out, run);
    } else if (strcmp(name, "candidate") == 0) {
        text = run->external_id;
    } else if (strcmp(name, "run") == 0) {
        text = run->run_id;
    } else if (strcmp(name, "workflow") == 0) {
        text = r->workflow_external_id;
    } else if (strcmp(name, "result") == 0) {
        text = run->result;
    } else if (strcmp(name, "outcome") == 0) {
        text = run->outcome;
    } else if (strcmp(name, "state") == 0) {
        text = run_state_name(run->state);
    } else if (strcmp(name, "reason") == 0) {
        text = run->cancellation_reason;
    } else if (strcmp(name, "error") == 0) {
        text = WORDS(error_words, run->error_code);
    } else if (strcmp(name, "started") == 0) {
        text = run->started_us != EVENT_TIME_NONE ? minute(run->started_us, r->arena) : NULL;
    } else if (strcmp(name, "finished") == 0) {
        text = run->completed_us != EVENT_TIME_NONE ? minute(run->completed_us, r->arena) : NULL;
    } else if (strcmp(name, "summary") == 0) {
        text = note_summary(run, r->moment, r->workflow_external_id, r->arena);
    }
    buf_puts(&r->out, text);
    return ST_OK;
}

char *note_render(const char *text, const struct run *r, const char *moment, const char *workflow_external_id,
                  struct arena *arena)
{
    struct rendering state = {.run = r, .moment = moment, .workflow_external_id = workflow_external_id, .arena = arena};
    struct template_sink sink = {.literal = render_literal, .placeholder = render_placeholder, .ctx = &state};

    buf_init(&state.out, NOTE_MAX_BYTES);
    if (walk_template(text, &sink, NULL) != ST_OK) {
        buf_reset(&state.out); /* cannot happen with a checked template; then the text itself is better than nothing */
        buf_puts(&state.out, text);
    }
    return finished(&state.out, arena);
}
