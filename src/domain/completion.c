#include "domain/completion.h"

#include <ctype.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"

enum { PATH_MAX_BYTES = 1024, STATUS_SHOWN_MAX = 40, ID_MAX_BYTES = 400 };

static const int64_t DAY_MS = INT64_C(86400000);

/* ---- finding members under the names that they may have ----------------------------------------------------------------- */

static const char *const id_names[] = {"id", "runId", "recordId", "workflowRunId", NULL};
static const char *const status_names[] = {"status", "state", "runStatus", NULL};
static const char *const end_names[] = {"completedAt", "endedAt", "finishedAt", "cancelledAt", "failedAt", NULL};
static const char *const start_names[] = {"startedAt", "startTime", NULL};
static const char *const node_list_names[] = {"nodes", "nodeOutcomes", "nodeResults", NULL};
static const char *const node_id_names[] = {"nodeId", "id", NULL};

static const struct json *member(const struct json *obj, const char *const *names)
{
    for (; *names; names++) {
        const struct json *j = json_get(obj, *names);

        if (j && json_type(j) != JSON_NULL) {
            return j;
        }
    }
    return NULL;
}

static const char *text_of(const struct json *obj, const char *const *names)
{
    const char *s = json_str(member(obj, names));

    return s && *s != '\0' ? s : NULL;
}

/* The run itself: the answer, or what it wraps. */
static const struct json *unwrap(const struct json *answer)
{
    static const char *const wraps[] = {"data", "run", "workflowRun"};

    for (size_t i = 0; i < ATS_COUNT(wraps) && !member(answer, status_names); i++) {
        const struct json *inner = json_get(answer, wraps[i]);

        if (json_type(inner) == JSON_OBJECT) {
            return unwrap(inner);
        }
    }
    return answer;
}

/* ---- how it stands ------------------------------------------------------------------------------------------------------ */

enum said { STATUS_UNKNOWN, STATUS_RUNNING, STATUS_COMPLETED, STATUS_FAILED, STATUS_CANCELLED };

static enum said status_of(const char *s)
{
    static const struct {
        const char *name;
        enum said status;
    } known[] = {
        {"RUNNING", STATUS_RUNNING},     {"PENDING", STATUS_RUNNING},        {"QUEUED", STATUS_RUNNING},
        {"CREATED", STATUS_RUNNING},     {"STARTED", STATUS_RUNNING},        {"IN_PROGRESS", STATUS_RUNNING},
        {"ACTIVE", STATUS_RUNNING},      {"WAITING", STATUS_RUNNING},        {"PAUSED", STATUS_RUNNING},
        {"COMPLETED", STATUS_COMPLETED}, {"SUCCEEDED", STATUS_COMPLETED},    {"OPTED_OUT", STATUS_COMPLETED},
        {"FAILED", STATUS_FAILED},       {"DELIVERY_FAILED", STATUS_FAILED}, {"CANCELLED", STATUS_CANCELLED},
        {"CANCELED", STATUS_CANCELLED},
    };

    for (size_t i = 0; i < ATS_COUNT(known); i++) {
        if (text_ieq(known[i].name, s)) {
            return known[i].status;
        }
    }
    return STATUS_UNKNOWN;
}

/* A word that names something; never an answer of a candidate. */
static bool is_word(const char *s)
{
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-");

    return s[len] == '\0' && len > 0 && len <= STATUS_SHOWN_MAX;
}

/* What the sender's event says or would say: the status may be the outcome already. */
static const char *outcome_of(const struct json *run, const char *status, const struct run *known)
{
    if (known->outcome) {
        return known->outcome;
    }
    if (json_get_str(run, "outcome")) {
        return json_get_str(run, "outcome");
    }
    if (text_ieq(status, "OPTED_OUT")) {
        return "opted_out";
    }
    return text_ieq(status, "DELIVERY_FAILED") ? "delivery_failed" : NULL;
}

static const char *event_name(enum said status)
{
    switch (status) {
    case STATUS_FAILED:
        return "WORKFLOW_RUN_FAILED";
    case STATUS_CANCELLED:
        return "WORKFLOW_RUN_CANCELLED";
    case STATUS_COMPLETED:
    case STATUS_RUNNING:
    case STATUS_UNKNOWN:
        break;
    }
    return "WORKFLOW_RUN_COMPLETED";
}

/* ---- nodes -------------------------------------------------------------------------------------------------------------- */

struct node {
    const char *id;
    const struct json *json;
    int64_t completed_us;
};

struct nodes {
    struct node *items;
    size_t count;
    bool told; /* by the API */
};

static int64_t time_of(const struct json *obj, const char *key)
{
    const char *s = json_get_str(obj, key);
    int64_t us;

    return s && time_parse_iso8601(s, &us) ? us : EVENT_TIME_NONE;
}

static size_t answers_in(const struct json *node)
{
    return json_count(json_get(json_get(node, "outcome"), "answers"));
}

static struct node *find_node(const struct nodes *n, const char *id)
{
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->items[i].id, id) == 0) {
            return &n->items[i];
        }
    }
    return NULL;
}

static void add_node(struct nodes *n, const char *id, const struct json *json)
{
    struct node *have = find_node(n, id);
    struct node node = {.id = id, .json = json, .completed_us = time_of(json, "completedAt")};

    if (have) { /* the later visit of two counts */
        *have = node;
    } else {
        n->items[n->count++] = node;
    }
}

/* A list of nodes, or a map from their ids to them. Only of what has an outcome as in the events: it may be a list of something else. */
static void take_list(struct nodes *n, const struct json *list)
{
    n->told = list && json_count(list) == 0;
    for (const struct json *j = json_first(list); j; j = json_next(j)) {
        const char *id = text_of(j, node_id_names);

        id = id || json_type(list) == JSON_ARRAY ? id : json_key(j);
        if (id && json_get_str(json_get(j, "outcome"), "kind")) {
            add_node(n, id, j);
            n->told = true;
        }
    }
}

static const struct json *list_in(const struct json *obj)
{
    const struct json *list = member(obj, node_list_names);

    return json_type(list) == JSON_ARRAY || json_type(list) == JSON_OBJECT ? list : NULL;
}

/* What the webhooks told and the API does not goes to its place by time. */
static void add_known(struct nodes *n, const struct run *known)
{
    for (size_t i = 0; i < known->node_count; i++) {
        const struct run_node *k = &known->nodes[i];
        struct node *have = find_node(n, k->node_id);
        size_t at = n->count;

        if (have) {
            if (answers_in(have->json) < answers_in(k->json)) {
                have->json = k->json;
            }
            continue;
        }
        while (at > 0 && k->completed_us != EVENT_TIME_NONE && n->items[at - 1].completed_us != EVENT_TIME_NONE &&
               n->items[at - 1].completed_us > k->completed_us) {
            at--;
        }
        memmove(&n->items[at + 1], &n->items[at], (n->count - at) * sizeof *n->items);
        n->items[at] = (struct node){.id = k->node_id, .json = k->json, .completed_us = k->completed_us};
        n->count++;
    }
}

/* The answer's nodes may be in a text of their own, which is JSON (context). */
static struct nodes nodes_of(const struct json *run, const struct run *known, struct arena *arena)
{
    const struct json *context = json_get(run, "context");
    const struct json *list = list_in(run);
    struct nodes n = {0};

    if (json_str(context)) {
        const struct json *tree = NULL;

        context =
            json_parse_in(arena, json_str(context), strlen(json_str(context)), &tree, NULL) == ST_OK ? tree : NULL;
    }
    list = list ? list : list_in(context);
    n.items = arena_alloc(arena, (json_count(list) + known->node_count + 1) * sizeof *n.items);
    take_list(&n, list);
    add_known(&n, known);
    return n;
}

static struct json *node_json(const struct node *n)
{
    struct json *copy = json_copy(n->json);

    if (!json_get_str(copy, "nodeId")) {
        json_set_str(copy, "nodeId", n->id);
    }
    return copy;
}

/* ---- the event ---------------------------------------------------------------------------------------------------------- */

/* With microseconds: "2026-04-28T10:45:00.000001Z". */
static const char *time_words(int64_t us, struct arena *arena)
{
    struct time_text t = time_iso8601(us);
    int64_t rest = us % 1000;
    char *dot = strrchr(t.s, 'Z');

    if (!dot) {
        return arena_strdup(arena, t.s);
    }
    *dot = '\0';
    return arena_printf(arena, "%s%03dZ", t.s, (int)(rest < 0 ? rest + 1000 : rest));
}

/*
 * Right after the event that was cut off, so that anything that really came later counts more than we do. Else when the run ended, as far as somebody knows.
 */
static int64_t event_time(const struct json *run, const struct run *known, const struct nodes *n, int64_t now_us)
{
    int64_t us = EVENT_TIME_NONE;

    if (known->terminal.event_id) {
        return known->terminal.time_us + 1;
    }
    for (size_t i = 0; end_names[i] && us == EVENT_TIME_NONE; i++) {
        us = time_of(run, end_names[i]);
    }
    for (size_t i = 0; i < n->count && us == EVENT_TIME_NONE; i++) {
        us = n->items[n->count - 1 - i].completed_us;
    }
    us = us != EVENT_TIME_NONE ? us : known->last_event.time_us + 1;
    return us < now_us ? us : now_us;
}

static void set_from(struct json *data, const char *key, const char *known, const struct json *run)
{
    json_set_str(data, key, known ? known : json_get_str(run, key));
}

static void copy_members(struct json *data, const struct json *run)
{
    static const char *const optional[] = {"errorCode", "errorClass", "lastFailedNodeId", "cancellationReason",
                                           "finalNodeId"};

    for (size_t i = 0; i < ATS_COUNT(optional); i++) {
        if (json_get_str(run, optional[i])) {
            json_set_str(data, optional[i], json_get_str(run, optional[i]));
        }
    }
}

/* A terminal event of the sender said more than the API may say again. */
static void copy_known(struct json *data, const struct run *known)
{
    const struct {
        const char *key, *value;
    } said[] = {{"errorCode", known->error_code},
                {"errorClass", known->error_class},
                {"lastFailedNodeId", known->last_failed_node_id},
                {"cancellationReason", known->cancellation_reason},
                {"finalNodeId", known->final_node_id}};

    for (size_t i = 0; i < ATS_COUNT(said); i++) {
        if (said[i].value) {
            json_set_str(data, said[i].key, said[i].value);
        }
    }
}

static const char *first_time(int64_t known_us, const char *said, struct arena *arena)
{
    return known_us != EVENT_TIME_NONE ? time_words(known_us, arena) : said;
}

static struct json *data_of(const struct json *run, const struct run *known, const char *outcome, const struct nodes *n,
                            int64_t at_us, struct arena *arena)
{
    struct json *data = json_object();
    struct json *list = json_array();
    bool ended = known->terminal.event_id != NULL;
    const char *said_end = text_of(run, end_names);

    json_set_str(data, "recordId", known->run_id);
    set_from(data, "organizationId", known->organization_id, run);
    set_from(data, "workflowId", known->workflow_id, run);
    set_from(data, "workflowVersionId", known->workflow_version_id, run);
    set_from(data, "workflowExternalId", known->workflow_external_id, run);
    set_from(data, "candidateProfileId", known->profile_id, run);
    set_from(data, "candidateProfileExternalId", known->external_id, run);
    json_set_str(data, "timestamp", time_words(at_us, arena));
    json_set_str(data, "startedAt", first_time(known->started_us, text_of(run, start_names), arena));
    json_set_str(data, "completedAt",
                 ended      ? first_time(known->completed_us, said_end, arena)
                 : said_end ? said_end
                            : time_words(at_us, arena));
    copy_members(data, run);
    copy_known(data, known);
    if (outcome) {
        json_set_str(data, "outcome", outcome);
    }
    /* without a list nobody has said that these nodes are all */
    json_set_bool(data, "truncated", !n->told || json_get_bool(run, "truncated"));
    for (size_t i = 0; i < n->count; i++) {
        json_push(list, node_json(&n->items[i]));
    }
    json_set(data, "nodes", list);
    return data;
}

static const char *event_id(const struct run *known, struct arena *arena)
{
    if (known->terminal.event_id) {
        return arena_printf(arena, COMPLETION_ID_PREFIX "%s/after/%s", known->run_id, known->terminal.event_id);
    }
    return arena_printf(arena, COMPLETION_ID_PREFIX "%s/ended", known->run_id);
}

static enum said known_status(const struct run *known)
{
    switch (known->state) {
    case RUN_COMPLETED:
        return STATUS_COMPLETED;
    case RUN_FAILED:
        return STATUS_FAILED;
    case RUN_CANCELLED:
        return STATUS_CANCELLED;
    case RUN_CONTACT:
    case RUN_RUNNING:
        break;
    }
    return STATUS_UNKNOWN;
}

static enum completion unusable(struct errmsg *err, const char *why)
{
    (void)err_set(err, ST_INVALID, "%s", why);
    return COMPLETION_UNUSABLE;
}

enum completion completion_make(const struct json *answer, const struct run *known, int64_t now_us, struct arena *arena,
                                const char **ret_body, struct errmsg *err)
{
    const struct json *run = unwrap(answer);
    const char *status_text = text_of(run, status_names);
    const char *id = text_of(run, id_names);
    struct json *event;
    struct nodes n;
    enum said status;
    int64_t at_us;
    char *text;

    if (json_type(answer) != JSON_OBJECT) {
        return unusable(err, "the answer is not a JSON object");
    }
    if (id && strcmp(id, known->run_id) != 0) {
        return unusable(err, "the answer is about another run");
    }
    if (!status_text) {
        return unusable(err, "the answer has no status (status or state, as a text)");
    }
    status = status_of(status_text);
    if (status == STATUS_UNKNOWN) {
        (void)err_set(err, ST_INVALID, "the answer has a status that is not known: %s",
                      is_word(status_text) ? status_text : "(no word)");
        return COMPLETION_UNUSABLE;
    }
    if (status == STATUS_RUNNING) {
        return COMPLETION_RUNNING;
    }
    if (known->terminal.event_id) {
        status = known_status(known);
    }
    n = nodes_of(run, known, arena);
    at_us = event_time(run, known, &n, now_us);
    event = json_object();
    json_set_str(event, "event", event_name(status));
    json_set_str(event, "eventId", event_id(known, arena));
    json_set_str(event, "eventTimestamp", time_words(at_us, arena));
    json_set_str(event, "madeBy", "atsyncd, from an answer of Popp's API");
    json_set(event, "data", data_of(run, known, outcome_of(run, status_text, known), &n, at_us, arena));
    text = json_text(event);
    *ret_body = arena_strdup(arena, text);
    mem_free(text);
    json_free(event);
    return COMPLETION_EVENT;
}

static bool has_node(const struct run *r, const char *id)
{
    for (size_t i = 0; i < r->node_count; i++) {
        if (strcmp(r->nodes[i].node_id, id) == 0) {
            return true;
        }
    }
    return false;
}

bool completion_improves(const struct run *before, const struct run *after)
{
    if (!after->terminal.event_id || after->answer_count < before->answer_count) {
        return false;
    }
    for (size_t i = 0; i < before->node_count; i++) {
        if (!has_node(after, before->nodes[i].node_id)) {
            return false;
        }
    }
    return !before->terminal.event_id || (after->complete && !before->complete) ||
           after->node_count > before->node_count || after->answer_count > before->answer_count;
}

/* ---- paths -------------------------------------------------------------------------------------------------------------- */

/* The next placeholder at or after `at`: its length in the path, 0 if there is none. */
static size_t find_placeholder(const char *path, size_t *at)
{
    const char *open = strchr(path + *at, '{');
    size_t len;

    if (!open) {
        *at = strlen(path);
        return 0;
    }
    *at = (size_t)(open - path);
    len = strcspn(open, "}");
    return open[len] == '}' ? len + 1 : len;
}

static bool is_placeholder(const char *at, size_t len, const char *name)
{
    return len == strlen(name) && strncmp(at, name, len) == 0;
}

static const char run_id_place[] = "{run_id}";
static const char workflow_id_place[] = "{workflow_id}";

int completion_path_check(const char *path, struct errmsg *err)
{
    bool has_run = false;
    size_t len;

    if (*path != '/' || path[1] == '/') {
        return err_set(err, ST_INVALID, "must begin with one /, such as /workflow-runs/{run_id}");
    }
    if (strlen(path) > PATH_MAX_BYTES) {
        return err_set(err, ST_INVALID, "is longer than %d bytes", PATH_MAX_BYTES);
    }
    for (const char *p = path; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`|#", *p)) {
            return err_set(err, ST_INVALID, "holds a character that cannot stand in a URL");
        }
    }
    if (strstr(path, "/../") || strstr(path, "/./")) {
        return err_set(err, ST_INVALID, "must not hold . or .. as a part");
    }
    for (size_t at = 0; (len = find_placeholder(path, &at)) > 0; at += len) {
        has_run = has_run || is_placeholder(path + at, len, run_id_place);
        if (!is_placeholder(path + at, len, run_id_place) && !is_placeholder(path + at, len, workflow_id_place)) {
            return err_set(err, ST_INVALID, "may hold {run_id} and {workflow_id}, but no other name in braces");
        }
    }
    return has_run ? ST_OK : err_set(err, ST_INVALID, "must hold {run_id}: the place of the run's id");
}

static bool is_fit_id(const char *id)
{
    return id && *id != '\0' && strlen(id) <= ID_MAX_BYTES && text_is_utf8(id, strlen(id)) && !text_leaves_path(id);
}

static void add_encoded(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~", *text)) {
            buf_putc(out, *text);
        } else {
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
        }
    }
}

const char *completion_path(const char *path, const char *run_id, const char *workflow_id, struct arena *arena)
{
    const char *filled = NULL;
    struct buf out;
    size_t done = 0;
    size_t len;

    buf_init(&out, SIZE_MAX / 4);
    for (size_t at = 0; (len = find_placeholder(path, &at)) > 0; done = at += len) {
        const char *id = is_placeholder(path + at, len, run_id_place) ? run_id : workflow_id;

        if (!is_fit_id(id)) {
            goto out;
        }
        buf_add(&out, path + done, at - done);
        add_encoded(&out, id);
    }
    buf_puts(&out, path + done);
    filled = arena_strdup(arena, buf_text(&out));
out:
    buf_free(&out);
    return filled;
}

/* ---- when again --------------------------------------------------------------------------------------------------------- */

static int64_t doubled(int64_t ms, int64_t times)
{
    for (; times > 0 && ms < DAY_MS; times--) {
        ms *= 2;
    }
    return ms < DAY_MS ? ms : DAY_MS;
}

int64_t completion_again_ms(enum completion_trouble trouble, int64_t asked, int64_t after_ms, bool is_over)
{
    enum { MINUTE_MS = 60000, TRIES_OF_NOTHING = 5, TRIES_OF_THE_ENDED = 10 };
    int64_t first_ms = is_over && after_ms > MINUTE_MS ? MINUTE_MS : after_ms;

    switch (trouble) {
    case COMPLETION_NOT_FOUND:
        if (asked >= TRIES_OF_NOTHING) {
            return -1;
        }
        break;
    case COMPLETION_NO_NEWS:
        if (asked >= TRIES_OF_THE_ENDED) {
            return -1;
        }
        break;
    case COMPLETION_STILL_RUNNING: /* for as long as the run is looked at */
        break;
    }
    return doubled(first_ms, asked);
}
