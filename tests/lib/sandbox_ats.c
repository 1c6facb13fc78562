/*
 * sandbox-ats - a small applicant tracking system that keeps everything in memory: what the `rest` connector speaks to
 * in tests and in `make run`. Not a mock: it has state, so that a test can ask whether the record is right, and not
 * only which calls were made.
 *
 * Vocabulary:
 *   candidate  fields, tags, notes, and one job record (stage, rejection, assessment) per job
 *   log        every request of the API in order of arrival, with what was answered
 *   fault      a rule that spoils the next requests that match it: a status, a delay, a connection that breaks before
 * or after the change was made, an answer that is no HTTP … pending    a request whose answer is due later (delay) or
 * never (hang)
 *
 * The API of the ATS needs the bearer token. The control API below /_sandbox and the page at / need none: the program
 * is for loopback only. Everything runs in the HTTP thread but the answers of pending requests, which the main thread
 * gives.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/text.h"
#include "lib/httpd.h"
#include "lib/json.h"

enum {
    BODY_MAX_BYTES = 4 * 1024 * 1024,
    ANSWER_MAX_BYTES = 256 * 1024 * 1024,
    BUCKETS = 1 << 16,
    DELAY_MAX_MS = 3600 * 1000,
    PAD_MAX_BYTES = 64 * 1024 * 1024,
};

/* ---------------------------------------------------------------- state */

struct job {
    char *id;
    char *stage;            /* NULL: in no stage */
    struct json *rejection; /* NULL: not rejected */
    struct json *assessment;
    struct job *next;
};

struct candidate {
    char *id;
    bool exists; /* false: only asked for so far */
    struct json *fields;
    struct json *tags;  /* array of strings, each once, in order of adding */
    struct json *notes; /* array of {id, body, marker, created_at} */
    struct job *jobs;
    unsigned in_flight; /* requests that arrived and are not answered */
    unsigned in_flight_max;
    struct candidate *bucket_next;
    struct candidate *order_next; /* by first appearance */
};

struct key_use { /* one Idempotency-Key */
    char *key;
    unsigned count;
    unsigned first_status;
    char *first_body; /* the answer to give again, when the sandbox honours keys */
    struct key_use *bucket_next;
};

struct log_entry {
    uint64_t seq; /* 0: empty place */
    char *method;
    char *path;
    char *candidate;
    char *key;
    char *body;
    const char *fault; /* name of the action, or NULL */
    int64_t at_ms;     /* since the start of the program */
    unsigned in_flight;
    unsigned waiting; /* this one and those before it whose sender still waits for an answer */
    unsigned status;  /* 0: no answer yet, or none at all */
    bool applied;     /* the change was made, whatever was answered */
};

enum action {
    ACTION_STATUS,
    ACTION_DELAY,
    ACTION_RESET_BEFORE,
    ACTION_RESET_AFTER,
    ACTION_HANG,
    ACTION_GARBAGE,
    ACTION_HALF,
    ACTION_HTML
};
static const struct {
    const char *name;
    bool apply; /* is the change made, unless the rule says otherwise? */
} actions[] = {
    [ACTION_STATUS] = {"status", false},
    [ACTION_DELAY] = {"delay", true},
    [ACTION_RESET_BEFORE] = {"reset_before", false},
    [ACTION_RESET_AFTER] = {"reset_after", true},
    [ACTION_HANG] = {"hang", false},
    [ACTION_GARBAGE] = {"garbage", false},
    [ACTION_HALF] = {"half", true},
    [ACTION_HTML] = {"html", false},
};

struct fault {
    char *method; /* NULL: any; likewise the next three */
    char *path_contains;
    char *body_contains;
    char *candidate;
    int64_t skip;  /* matching requests to leave alone first */
    int64_t times; /* matching requests to spoil; -1: all */
    enum action action;
    bool apply;
    unsigned status;
    struct json *headers; /* object, or NULL */
    char *body;
    int64_t delay_ms; /* -1: until released */
    struct fault *next;
};

struct answer {
    unsigned status;
    char *body; /* owned */
};

struct pending {
    struct httpd_request *req;
    uint64_t seq;
    char *candidate; /* or NULL */
    int64_t due_ms;  /* monotonic; INT64_MAX: when released */
    bool hang;
    struct answer answer;
    struct json *headers;
    struct pending *next;
};

static struct sandbox {
    const char *token;
    bool honour_idempotency;
    struct httpd *httpd;
    int wake_fd;
    int64_t started_ms;
    pthread_mutex_t lock; /* everything below */
    struct candidate **buckets;
    struct candidate *first, *last;
    size_t candidate_count;
    struct key_use **keys;
    int64_t next_note_id;
    struct log_entry *log; /* ring */
    size_t log_max;
    uint64_t seq;
    unsigned in_flight_max; /* of one candidate */
    unsigned waiting_max;   /* likewise */
    uint64_t repeated_keys;
    struct fault *faults;
    struct pending *pendings;
} sb = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake_fd = -1, .log_max = 20000, .next_note_id = 1};

static void free_json(struct json **j)
{
    json_free(*j);
    *j = NULL;
}

/* The place of this id, made at the first mention: requests in flight are counted for unknown candidates too. */
static struct candidate *candidate_slot(const char *id)
{
    struct candidate **bucket = &sb.buckets[text_hash64(id, strlen(id)) % BUCKETS];
    struct candidate *c = *bucket;

    while (c != NULL && strcmp(c->id, id) != 0)
        c = c->bucket_next;
    if (c != NULL)
        return c;
    c = mem_zalloc(sizeof(*c));
    c->id = mem_strdup(id);
    c->fields = json_object();
    c->tags = json_array();
    c->notes = json_array();
    c->bucket_next = *bucket;
    *bucket = c;
    if (sb.last != NULL)
        sb.last->order_next = c;
    else
        sb.first = c;
    sb.last = c;
    return c;
}

static struct candidate *candidate_find(const char *id)
{
    struct candidate *c = candidate_slot(id);

    return c->exists ? c : NULL;
}

static struct candidate *candidate_make(const char *id)
{
    struct candidate *c = candidate_slot(id);

    sb.candidate_count += c->exists ? 0 : 1;
    c->exists = true;
    return c;
}

static void candidate_free(struct candidate *c)
{
    for (struct job *job = c->jobs, *next; job != NULL; job = next) {
        next = job->next;
        mem_free(job->id);
        mem_free(job->stage);
        json_free(job->rejection);
        json_free(job->assessment);
        mem_free(job);
    }
    json_free(c->fields);
    json_free(c->tags);
    json_free(c->notes);
    mem_free(c->id);
    mem_free(c);
}

static struct job *job_find(struct candidate *c, const char *id)
{
    struct job *job = c != NULL ? c->jobs : NULL;

    while (job != NULL && strcmp(job->id, id) != 0)
        job = job->next;
    return job;
}

static struct job *job_make(struct candidate *c, const char *id)
{
    struct job *job = job_find(c, id);
    struct job **end = &c->jobs;

    if (job != NULL)
        return job;
    while (*end != NULL)
        end = &(*end)->next;
    job = *end = mem_zalloc(sizeof(*job));
    job->id = mem_strdup(id);
    return job;
}

static void add_tag(struct candidate *c, const char *tag)
{
    for (const struct json *have = json_first(c->tags); have != NULL; have = json_next(have)) {
        if (text_eq(json_str(have), tag))
            return;
    }
    json_push(c->tags, json_string(tag));
}

static struct json *candidate_json(const struct candidate *c)
{
    struct json *record = json_object();
    struct json *jobs = json_object();

    json_set_str(record, "id", c->id);
    json_set(record, "fields", json_copy(c->fields));
    json_set(record, "tags", json_copy(c->tags));
    json_set(record, "notes", json_copy(c->notes));
    for (const struct job *job = c->jobs; job != NULL; job = job->next) {
        struct json *j = json_object();

        json_set_str(j, "stage", job->stage);
        json_set(j, "rejection", job->rejection != NULL ? json_copy(job->rejection) : json_null());
        json_set(j, "assessment", job->assessment != NULL ? json_copy(job->assessment) : json_null());
        json_set(jobs, job->id, j);
    }
    json_set(record, "jobs", jobs);
    return record;
}

/* ---------------------------------------------------------------- answers */

static struct answer answer_json(unsigned status, struct json *body)
{
    struct answer a = {.status = status, .body = json_text(body)};

    json_free(body);
    return a;
}

static struct answer answer_error(unsigned status, const char *message)
{
    struct json *body = json_object();

    json_set_str(body, "error", message);
    return answer_json(status, body);
}

static void respond(struct httpd_request *req, struct answer *a)
{
    httpd_respond(req, a->status, "application/json", a->body, strlen(a->body));
    mem_free(a->body);
    a->body = NULL;
}

static void respond_pretty(struct httpd_request *req, unsigned status, struct json *body)
{
    struct buf out;

    buf_init(&out, ANSWER_MAX_BYTES);
    json_print_pretty(body, &out);
    buf_putc(&out, '\n');
    httpd_respond(req, status, "application/json", buf_text(&out), out.len);
    buf_free(&out);
    json_free(body);
}

/* ---------------------------------------------------------------- the API of the ATS */

enum route { ROUTE_NONE, ROUTE_CANDIDATE, ROUTE_TAGS, ROUTE_NOTES, ROUTE_STAGE, ROUTE_REJECTION, ROUTE_ASSESSMENT };

struct target {
    enum route route;
    char *candidate;
    char *job;
};

static void target_clear(struct target *t)
{
    mem_free(t->candidate);
    mem_free(t->job);
    *t = (struct target){.route = ROUTE_NONE};
}

/* The path comes decoded, so an id may hold slashes: what is known of a path is taken from its two ends. */
static bool cut_end(const char *text, size_t *len, const char *end)
{
    size_t end_len = strlen(end);

    if (*len <= end_len || strncmp(text + *len - end_len, end, end_len) != 0)
        return false;
    *len -= end_len;
    return true;
}

static struct target target_of(const char *path)
{
    static const struct {
        const char *end;
        enum route route;
        bool in_job;
    } known[] = {
        {"/tags", ROUTE_TAGS, false},          {"/notes", ROUTE_NOTES, false},          {"/stage", ROUTE_STAGE, true},
        {"/rejection", ROUTE_REJECTION, true}, {"/assessment", ROUTE_ASSESSMENT, true},
    };
    static const char root[] = "/candidates/";
    struct target t = {.route = ROUTE_NONE};
    const char *rest;
    size_t len;

    if (!text_starts(path, root) || path[sizeof(root) - 1] == '\0')
        return t;
    rest = path + sizeof(root) - 1;
    len = strlen(rest);
    for (size_t i = 0; i < ATS_COUNT(known); i++) {
        const char *job = NULL;

        if (!cut_end(rest, &len, known[i].end))
            continue;
        if (!known[i].in_job) {
            t.route = known[i].route;
            t.candidate = mem_strndup(rest, len);
            return t;
        }
        for (const char *at = strstr(rest, "/jobs/"); at != NULL && at < rest + len; at = strstr(at + 1, "/jobs/"))
            job = at;
        if (job == NULL || job == rest || job + 6 >= rest + len)
            return t;
        t.route = known[i].route;
        t.candidate = mem_strndup(rest, (size_t)(job - rest));
        t.job = mem_strndup(job + 6, (size_t)(rest + len - job - 6));
        return t;
    }
    if (strstr(rest, "/jobs/") == NULL) {
        t.route = ROUTE_CANDIDATE;
        t.candidate = mem_strdup(rest);
    }
    return t;
}

static struct answer get_candidate(const struct target *t, const struct json *body ATS_UNUSED)
{
    const struct candidate *c = candidate_find(t->candidate);

    return c != NULL ? answer_json(200, candidate_json(c)) : answer_error(404, "no such candidate");
}

static struct answer patch_fields(const struct target *t, const struct json *body)
{
    const struct json *fields = json_get(body, "fields");
    struct json *answer;
    struct candidate *c;

    if (fields == NULL || json_type(fields) != JSON_OBJECT)
        return answer_error(422, "\"fields\" must be an object");
    for (const struct json *f = json_first(fields); f != NULL; f = json_next(f)) {
        if (json_type(f) == JSON_OBJECT)
            return answer_error(422, "a field's value must not be an object");
    }
    c = candidate_make(t->candidate);
    for (const struct json *f = json_first(fields); f != NULL; f = json_next(f))
        json_set(c->fields, json_key(f), json_copy(f));
    answer = json_object();
    json_set_str(answer, "id", c->id);
    json_set(answer, "fields", json_copy(c->fields));
    return answer_json(200, answer);
}

static struct answer post_tags(const struct target *t, const struct json *body)
{
    const struct json *tags = json_get(body, "tags");
    struct json *answer;
    struct candidate *c;

    if (tags == NULL || json_type(tags) != JSON_ARRAY)
        return answer_error(422, "\"tags\" must be an array of strings");
    for (const struct json *tag = json_first(tags); tag != NULL; tag = json_next(tag)) {
        if (json_str(tag) == NULL || json_str(tag)[0] == '\0')
            return answer_error(422, "\"tags\" must be an array of strings that are not empty");
    }
    c = candidate_make(t->candidate);
    for (const struct json *tag = json_first(tags); tag != NULL; tag = json_next(tag))
        add_tag(c, json_str(tag));
    answer = json_object();
    json_set(answer, "tags", json_copy(c->tags));
    return answer_json(200, answer);
}

static struct answer get_notes(const struct target *t, const struct json *body ATS_UNUSED)
{
    const struct candidate *c = candidate_find(t->candidate);

    return answer_json(200, c != NULL ? json_copy(c->notes) : json_array());
}

static struct answer post_note(const struct target *t, const struct json *body)
{
    const char *text = json_get_str(body, "body");
    const struct json *marker = json_get(body, "marker");
    struct candidate *c;
    struct json *note;

    if (text == NULL)
        return answer_error(422, "\"body\" must be a text that is not empty");
    if (marker != NULL && json_type(marker) != JSON_STRING && json_type(marker) != JSON_NULL)
        return answer_error(422, "\"marker\" must be a text");
    c = candidate_make(t->candidate);
    note = json_object();
    json_set_int(note, "id", sb.next_note_id++);
    json_set_str(note, "body", text);
    json_set_str(note, "marker", json_str(marker));
    json_set_str(note, "created_at", time_iso8601(clock_wall_us()).s);
    json_push(c->notes, json_copy(note));
    return answer_json(201, note);
}

static struct answer get_stage(const struct target *t, const struct json *body ATS_UNUSED)
{
    const struct job *job = job_find(candidate_find(t->candidate), t->job);
    struct json *answer;

    if (job == NULL || job->stage == NULL)
        return answer_error(404, "the candidate is in no stage of this job");
    answer = json_object();
    json_set_str(answer, "stage", job->stage);
    return answer_json(200, answer);
}

static void set_stage(struct candidate *c, const char *job_id, const char *stage)
{
    struct job *job = job_make(c, job_id);

    mem_free(job->stage);
    job->stage = mem_strdup(stage);
    free_json(&job->rejection); /* who is moved on is not rejected any more */
}

static struct answer put_stage(const struct target *t, const struct json *body)
{
    const char *stage = json_get_str(body, "stage");
    struct json *answer;

    if (stage == NULL)
        return answer_error(422, "\"stage\" must be a text that is not empty");
    set_stage(candidate_make(t->candidate), t->job, stage);
    answer = json_object();
    json_set_str(answer, "stage", stage);
    return answer_json(200, answer);
}

static struct answer post_rejection(const struct target *t, const struct json *body)
{
    const char *reason = json_get_str(body, "reason");
    struct json *rejection;
    struct job *job;

    if (reason == NULL)
        return answer_error(422, "\"reason\" must be a text that is not empty");
    job = job_make(candidate_make(t->candidate), t->job);
    rejection = json_object();
    json_set_str(rejection, "reason", reason);
    json_set_str(rejection, "at", time_iso8601(clock_wall_us()).s);
    free_json(&job->rejection);
    job->rejection = rejection;
    return answer_json(201, json_copy(rejection));
}

static struct answer put_assessment(const struct target *t, const struct json *body)
{
    const struct json *score = json_get(body, "score");
    struct job *job;

    if (score != NULL && json_type(score) != JSON_NUMBER && json_type(score) != JSON_NULL)
        return answer_error(422, "\"score\" must be a number");
    if (json_get_str(body, "status") == NULL)
        return answer_error(422, "\"status\" must be a text that is not empty");
    job = job_make(candidate_make(t->candidate), t->job);
    free_json(&job->assessment);
    job->assessment = json_copy(body);
    return answer_json(200, json_copy(body));
}

static const struct operation {
    enum route route;
    const char *method;
    bool has_body;
    struct answer (*run)(const struct target *t, const struct json *body);
} operations[] = {
    {ROUTE_CANDIDATE, "GET", false, get_candidate},  {ROUTE_CANDIDATE, "PATCH", true, patch_fields},
    {ROUTE_TAGS, "POST", true, post_tags},           {ROUTE_NOTES, "GET", false, get_notes},
    {ROUTE_NOTES, "POST", true, post_note},          {ROUTE_STAGE, "GET", false, get_stage},
    {ROUTE_STAGE, "PUT", true, put_stage},           {ROUTE_REJECTION, "POST", true, post_rejection},
    {ROUTE_ASSESSMENT, "PUT", true, put_assessment},
};

/* Counts the key; gives the first answer when this is a note's repetition and the sandbox honours keys. */
static bool key_seen(const char *key, bool is_note, struct answer *ret)
{
    struct key_use **bucket = &sb.keys[text_hash64(key, strlen(key)) % BUCKETS];
    struct key_use *use = *bucket;

    while (use != NULL && strcmp(use->key, key) != 0)
        use = use->bucket_next;
    if (use == NULL) {
        use = mem_zalloc(sizeof(*use));
        use->key = mem_strdup(key);
        use->bucket_next = *bucket;
        *bucket = use;
    } else {
        sb.repeated_keys++;
    }
    use->count++;
    if (!sb.honour_idempotency || !is_note || use->first_body == NULL)
        return false;
    *ret = (struct answer){.status = use->first_status, .body = mem_strdup(use->first_body)};
    return true;
}

static void key_answered(const char *key, const struct answer *a)
{
    struct key_use *use = sb.keys[text_hash64(key, strlen(key)) % BUCKETS];

    while (use != NULL && strcmp(use->key, key) != 0)
        use = use->bucket_next;
    if (use == NULL || use->first_body != NULL || a->status >= 300)
        return;
    use->first_status = a->status;
    use->first_body = mem_strdup(a->body);
}

/* Does what the request asks for. */
static struct answer apply(const struct target *t, const struct httpd_request *req)
{
    const char *method = httpd_method(req);
    const char *key = httpd_header(req, "Idempotency-Key", NULL);
    size_t body_len = 0;
    const char *body_text = httpd_body(req, &body_len);
    const struct operation *op = NULL;
    struct json *body = NULL;
    struct answer answer;

    for (size_t i = 0; i < ATS_COUNT(operations) && op == NULL; i++) {
        if (operations[i].route == t->route && strcmp(operations[i].method, method) == 0)
            op = &operations[i];
    }
    if (op == NULL)
        return t->route == ROUTE_NONE ? answer_error(404, "no such path")
                                      : answer_error(405, "no such method for this path");
    if (op->has_body) {
        if (json_parse(body_text, body_len, &body, NULL) != ST_OK)
            return answer_error(400, "the body is not valid JSON");
        if (json_type(body) != JSON_OBJECT) {
            json_free(body);
            return answer_error(422, "the body must be an object");
        }
    }
    if (key == NULL || !op->has_body) {
        answer = op->run(t, body);
    } else if (!key_seen(key, op->run == post_note, &answer)) {
        answer = op->run(t, body);
        key_answered(key, &answer);
    }
    json_free(body);
    return answer;
}

/* ---------------------------------------------------------------- log */

static void log_clear_entry(struct log_entry *e)
{
    mem_free(e->method);
    mem_free(e->path);
    mem_free(e->candidate);
    mem_free(e->key);
    mem_free(e->body);
    *e = (struct log_entry){.seq = 0};
}

static struct log_entry *log_find(uint64_t seq) /* NULL when it was overwritten since */
{
    struct log_entry *e = &sb.log[seq % sb.log_max];

    return e->seq == seq ? e : NULL;
}

/* Requests about a candidate whose senders still wait: one that was killed or gave up has closed its connection. */
static unsigned senders_waiting(const char *candidate)
{
    unsigned count = 0;
    char byte;

    for (const struct pending *p = sb.pendings; p != NULL; p = p->next) {
        if (text_eq(p->candidate, candidate) && recv(httpd_socket(p->req), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
            errno == EAGAIN)
            count++;
    }
    return count;
}

static uint64_t log_arrival(const struct httpd_request *req, const struct target *t)
{
    struct candidate *c = t->candidate != NULL ? candidate_slot(t->candidate) : NULL;
    struct log_entry *e;

    sb.seq++;
    e = &sb.log[sb.seq % sb.log_max];
    log_clear_entry(e);
    e->seq = sb.seq;
    e->method = mem_strdup(httpd_method(req));
    e->path = mem_strdup(httpd_path(req));
    e->candidate = mem_strdup(t->candidate);
    e->key = mem_strdup(httpd_header(req, "Idempotency-Key", NULL));
    e->body = mem_strdup(httpd_body(req, NULL));
    e->at_ms = clock_mono_ms() - sb.started_ms;
    if (c != NULL) {
        c->in_flight++;
        if (c->in_flight > c->in_flight_max)
            c->in_flight_max = c->in_flight;
        if (c->in_flight > sb.in_flight_max)
            sb.in_flight_max = c->in_flight;
        e->in_flight = c->in_flight;
        e->waiting = 1 + senders_waiting(t->candidate);
        if (e->waiting > sb.waiting_max)
            sb.waiting_max = e->waiting;
    }
    return sb.seq;
}

static void log_departure(uint64_t seq, const char *candidate, unsigned status)
{
    struct log_entry *e = log_find(seq);

    if (e != NULL)
        e->status = status;
    if (candidate != NULL)
        candidate_slot(candidate)->in_flight--;
}

/* At most limit entries after `since`, the oldest first. */
static struct json *log_json(uint64_t since, const char *candidate, int64_t limit)
{
    struct json *list = json_array();
    uint64_t first = sb.seq >= sb.log_max ? sb.seq - sb.log_max + 1 : 1;

    for (uint64_t seq = since + 1 > first ? since + 1 : first; seq <= sb.seq && limit > 0; seq++) {
        const struct log_entry *e = log_find(seq);
        struct json *j;
        struct json *body = NULL;

        if (e == NULL || (candidate != NULL && !text_eq(e->candidate, candidate)))
            continue;
        limit--;
        j = json_object();
        json_set_int(j, "seq", (int64_t)e->seq);
        json_set_int(j, "at_ms", e->at_ms);
        json_set_str(j, "method", e->method);
        json_set_str(j, "path", e->path);
        json_set_str(j, "candidate", e->candidate);
        json_set_int(j, "status", e->status);
        json_set_str(j, "idempotency_key", e->key);
        json_set_str(j, "fault", e->fault);
        json_set_int(j, "in_flight", e->in_flight);
        json_set_int(j, "waiting", e->waiting);
        json_set(j, "applied", json_bool(e->applied));
        if (e->body != NULL && json_parse(e->body, strlen(e->body), &body, NULL) == ST_OK)
            json_set(j, "body", body);
        else
            json_set_str(j, "body", e->body);
        json_push(list, j);
    }
    return list;
}

/* ---------------------------------------------------------------- faults */

static void fault_free(struct fault *f)
{
    mem_free(f->method);
    mem_free(f->path_contains);
    mem_free(f->body_contains);
    mem_free(f->candidate);
    json_free(f->headers);
    mem_free(f->body);
    mem_free(f);
}

static void faults_clear(void)
{
    for (struct fault *f = sb.faults, *next; f != NULL; f = next) {
        next = f->next;
        fault_free(f);
    }
    sb.faults = NULL;
}

static bool fault_matches(const struct fault *f, const struct httpd_request *req, const struct target *t)
{
    const char *body = httpd_body(req, NULL);

    return (f->method == NULL || text_eq(f->method, httpd_method(req))) &&
           (f->path_contains == NULL || strstr(httpd_path(req), f->path_contains) != NULL) &&
           (f->body_contains == NULL || (body != NULL && strstr(body, f->body_contains) != NULL)) &&
           (f->candidate == NULL || text_eq(f->candidate, t->candidate));
}

/* The first rule that matches and is not used up; its count goes down. It stays in the list until it is used up AND
 * another request comes by, so that the pointer is good for this request. */
static struct fault *fault_for(const struct httpd_request *req, const struct target *t)
{
    struct fault **at = &sb.faults;

    while (*at != NULL) {
        struct fault *f = *at;

        if (f->times == 0) {
            *at = f->next;
            fault_free(f);
            continue;
        }
        if (fault_matches(f, req, t)) {
            if (f->skip > 0) {
                f->skip--;
            } else {
                f->times -= f->times > 0;
                return f;
            }
        }
        at = &f->next;
    }
    return NULL;
}

static void add_headers(struct httpd_request *req, const struct json *headers)
{
    for (const struct json *h = json_first(headers); h != NULL; h = json_next(h))
        httpd_add_header(req, json_key(h), json_str(h));
}

/* Ends the connection behind the server's back; the answer that it still owes then finds no way out, and it closes. */
static void drop_connection(struct httpd_request *req, const void *last_words, size_t len, bool reset)
{
    static const char nothing[] = "{}";
    int fd = httpd_socket(req);

    if (len > 0 && send(fd, last_words, len, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        perror("sandbox-ats: send");
    if (reset) {
        struct sockaddr none = {.sa_family = AF_UNSPEC};

        (void)connect(fd, &none, sizeof(none)); /* Linux: aborts the connection, the peer gets RST */
    }
    (void)shutdown(fd, SHUT_RDWR);
    httpd_respond(req, 500, "application/json", nothing, strlen(nothing));
}

static void keep(struct httpd_request *req, uint64_t seq, const char *candidate, const struct fault *f,
                 struct answer *answer)
{
    uint64_t one = 1;
    struct pending *p = mem_zalloc(sizeof(*p));

    p->req = req;
    p->seq = seq;
    p->candidate = mem_strdup(candidate);
    p->hang = f->action == ACTION_HANG;
    p->due_ms = f->action == ACTION_HANG || f->delay_ms < 0 ? INT64_MAX : clock_mono_ms() + f->delay_ms;
    p->headers = f->headers != NULL ? json_copy(f->headers) : NULL;
    p->answer = *answer;
    answer->body = NULL;
    p->next = sb.pendings;
    sb.pendings = p;
    if (write(sb.wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        perror("sandbox-ats: eventfd");
}

static void finish(struct pending *p)
{
    if (p->hang) {
        log_departure(p->seq, p->candidate, 0);
        drop_connection(p->req, NULL, 0, true);
    } else {
        log_departure(p->seq, p->candidate, p->answer.status);
        add_headers(p->req, p->headers);
        respond(p->req, &p->answer);
    }
    json_free(p->headers);
    mem_free(p->candidate);
    mem_free(p->answer.body);
    mem_free(p);
}

/* Finishes what is due at now_ms (INT64_MAX: everything). The caller holds the lock and wakes the server. */
static void finish_due(int64_t now_ms)
{
    struct pending **at = &sb.pendings;

    while (*at != NULL) {
        struct pending *p = *at;

        if (p->due_ms > now_ms) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        finish(p);
    }
}

static void spoil(struct httpd_request *req, const struct target *t, uint64_t seq, const struct fault *f)
{
    static const char garbage[] = "\x15\x03\x01 this is not HTTP\r\n\r\n";
    static const char html[] =
        "<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Please sign in.</p></body></html>\n";
    struct log_entry *e = log_find(seq);
    struct answer answer = {.status = 0};
    struct buf raw;

    buf_init(&raw, ANSWER_MAX_BYTES);
    if (e != NULL)
        e->fault = actions[f->action].name;
    if (f->apply) {
        answer = apply(t, req);
        if (e != NULL)
            e->applied = answer.status < 300;
    }
    switch (f->action) {
    case ACTION_STATUS:
        log_departure(seq, t->candidate, f->status);
        add_headers(req, f->headers);
        httpd_respond(req, f->status, "application/json", f->body, strlen(f->body));
        break;
    case ACTION_HTML:
        log_departure(seq, t->candidate, f->status);
        add_headers(req, f->headers);
        httpd_respond(req, f->status, "text/html; charset=utf-8", html, strlen(html));
        break;
    case ACTION_DELAY:
        if (!f->apply)
            answer = (struct answer){.status = f->status, .body = mem_strdup(f->body)};
        keep(req, seq, t->candidate, f, &answer);
        break;
    case ACTION_HANG:
        keep(req, seq, t->candidate, f, &answer);
        break;
    case ACTION_RESET_BEFORE:
    case ACTION_RESET_AFTER:
        log_departure(seq, t->candidate, 0);
        drop_connection(req, NULL, 0, true);
        break;
    case ACTION_GARBAGE:
        log_departure(seq, t->candidate, 0);
        drop_connection(req, garbage, sizeof(garbage) - 1, false);
        break;
    case ACTION_HALF: {
        const char *whole = answer.body != NULL ? answer.body : f->body;

        buf_printf(&raw, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                   strlen(whole));
        buf_add(&raw, whole, strlen(whole) / 2);
        log_departure(seq, t->candidate, 0);
        drop_connection(req, raw.data, raw.len, false);
        break;
    }
    }
    buf_free(&raw);
    mem_free(answer.body);
}

static int64_t member_i64(const struct json *obj, const char *key, int64_t fallback)
{
    (void)json_get_i64(obj, key, &fallback);
    return fallback;
}

/* A rule from its JSON; NULL with *ret_error when it makes no sense. */
static struct fault *fault_parse(const struct json *j, const char **ret_error)
{
    const struct json *match = json_get(j, "match");
    const char *action = json_get_str(j, "action");
    const char *body = json_str(json_get(j, "body"));
    int64_t status = member_i64(j, "status", action != NULL && strcmp(action, "html") == 0 ? 200 : 500);
    int64_t delay_ms = member_i64(j, "delay_ms", -1);
    int64_t pad_bytes = member_i64(j, "pad_bytes", 0); /* so many blanks behind the body */
    struct fault *f;
    size_t i = 0;

    while (i < ATS_COUNT(actions) && (action == NULL || strcmp(actions[i].name, action) != 0))
        i++;
    if (i == ATS_COUNT(actions)) {
        *ret_error = "\"action\" must be status, delay, reset_before, reset_after, hang, garbage, half or html";
        return NULL;
    }
    if (status < 200 || status > 599) {
        *ret_error = "\"status\" must be between 200 and 599";
        return NULL;
    }
    if (delay_ms > DELAY_MAX_MS) {
        *ret_error = "\"delay_ms\" must be at most an hour";
        return NULL;
    }
    if (pad_bytes < 0 || pad_bytes > PAD_MAX_BYTES) {
        *ret_error = "\"pad_bytes\" must be at most 64 MiB";
        return NULL;
    }
    f = mem_zalloc(sizeof(*f));
    f->method = mem_strdup(json_get_str(match, "method"));
    f->path_contains = mem_strdup(json_get_str(match, "path_contains"));
    f->body_contains = mem_strdup(json_get_str(match, "body_contains"));
    f->candidate = mem_strdup(json_get_str(match, "candidate"));
    f->skip = member_i64(j, "skip", 0);
    f->times = member_i64(j, "times", 1);
    f->action = (enum action)i;
    f->apply = json_get(j, "apply") != NULL ? json_get_bool(j, "apply") : actions[i].apply;
    f->status = (unsigned)status;
    f->headers = json_type(json_get(j, "headers")) == JSON_OBJECT ? json_copy(json_get(j, "headers")) : NULL;
    f->body =
        mem_printf("%s%*s", body != NULL ? body : "{\"error\":\"the sandbox was told to fail\"}", (int)pad_bytes, "");
    f->delay_ms = delay_ms;
    return f;
}

/* ---------------------------------------------------------------- control API */

static void state_clear(void)
{
    finish_due(INT64_MAX);
    faults_clear();
    for (struct candidate *c = sb.first, *next; c != NULL; c = next) {
        next = c->order_next;
        candidate_free(c);
    }
    sb.first = sb.last = NULL;
    sb.candidate_count = 0;
    memset(sb.buckets, 0, BUCKETS * sizeof(*sb.buckets));
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct key_use *use = sb.keys[i], *next; use != NULL; use = next) {
            next = use->bucket_next;
            mem_free(use->key);
            mem_free(use->first_body);
            mem_free(use);
        }
        sb.keys[i] = NULL;
    }
    for (size_t i = 0; i < sb.log_max; i++)
        log_clear_entry(&sb.log[i]);
    sb.in_flight_max = 0;
    sb.waiting_max = 0;
    sb.repeated_keys = 0;
}

static struct json *done(void)
{
    struct json *j = json_object();

    json_set_bool(j, "done", true);
    return j;
}

static void refuse(struct httpd_request *req, unsigned status, const char *message)
{
    struct answer a = answer_error(status, message);

    respond(req, &a);
}

static void control_set(struct httpd_request *req, const struct json *body)
{
    const char *id = json_get_str(body, "candidate");
    const char *job = json_get_str(body, "job");
    const struct json *stage = json_get(body, "stage");
    const struct json *fields = json_get(body, "fields");
    struct candidate *c;

    if (id == NULL || (stage != NULL && job == NULL)) {
        refuse(req, 400, "\"candidate\" is needed, and \"job\" with a \"stage\"");
        return;
    }
    c = candidate_make(id);
    if (stage != NULL)
        set_stage(c, job, json_str(stage));
    for (const struct json *f = json_first(fields); f != NULL; f = json_next(f))
        json_set(c->fields, json_key(f), json_copy(f));
    respond_pretty(req, 200, candidate_json(c));
}

static void control_records(struct httpd_request *req)
{
    struct json *all = json_object();
    struct json *list = json_array();

    for (const struct candidate *c = sb.first; c != NULL; c = c->order_next) {
        if (c->exists)
            json_push(list, candidate_json(c));
    }
    json_set(all, "candidates", list);
    respond_pretty(req, 200, all);
}

static void control_log(struct httpd_request *req)
{
    const char *since = httpd_query(req, "since");
    const char *limit = httpd_query(req, "limit");
    int64_t after = 0;
    int64_t count = INT64_MAX;

    if (limit != NULL && !text_to_i64(limit, 1, INT64_MAX, &count)) {
        refuse(req, 400, "\"limit\" must be a number of entries");
        return;
    }
    if (since != NULL && !text_to_i64(since, 0, INT64_MAX - 1, &after)) {
        refuse(req, 400, "\"since\" must be a number of the log");
        return;
    }
    respond_pretty(req, 200, log_json((uint64_t)after, httpd_query(req, "candidate"), count));
}

static void control_stats(struct httpd_request *req)
{
    struct json *j = json_object();
    int64_t pending = 0, faults = 0;

    for (const struct pending *p = sb.pendings; p != NULL; p = p->next)
        pending++;
    for (const struct fault *f = sb.faults; f != NULL; f = f->next)
        faults += f->times != 0;
    json_set_int(j, "requests", (int64_t)sb.seq);
    json_set_int(j, "candidates", (int64_t)sb.candidate_count);
    json_set_int(j, "max_in_flight_per_candidate", sb.in_flight_max);
    json_set_int(j, "max_waiting_per_candidate", sb.waiting_max);
    json_set_int(j, "repeated_keys", (int64_t)sb.repeated_keys);
    json_set_int(j, "pending", pending);
    json_set_int(j, "faults", faults);
    respond_pretty(req, 200, j);
}

static void control_keys(struct httpd_request *req)
{
    struct json *j = json_object();

    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct key_use *use = sb.keys[i]; use != NULL; use = use->bucket_next)
            json_set_int(j, use->key, use->count);
    }
    respond_pretty(req, 200, j);
}

static void control_fault(struct httpd_request *req, const struct json *body)
{
    const char *error = NULL;
    struct fault **end = &sb.faults;
    struct fault *f = fault_parse(body, &error);

    if (f == NULL) {
        refuse(req, 400, error);
        return;
    }
    while (*end != NULL)
        end = &(*end)->next;
    *end = f;
    respond_pretty(req, 201, done());
}

static void control(struct httpd_request *req, const char *path)
{
    static const char one[] = "/candidates/";
    const char *method = httpd_method(req);
    bool is_get = strcmp(method, "GET") == 0, is_post = strcmp(method, "POST") == 0;
    size_t len = 0;
    const char *text = httpd_body(req, &len);
    struct json *body = NULL;

    if (is_post && len > 0 && json_parse(text, len, &body, NULL) != ST_OK) {
        refuse(req, 400, "the body is not valid JSON");
        return;
    }
    if (is_get && strcmp(path, "/records") == 0) {
        control_records(req);
    } else if (is_get && text_starts(path, one)) {
        const struct candidate *c = candidate_find(path + sizeof(one) - 1);

        if (c != NULL)
            respond_pretty(req, 200, candidate_json(c));
        else
            refuse(req, 404, "no such candidate");
    } else if (is_get && strcmp(path, "/log") == 0) {
        control_log(req);
    } else if (is_get && strcmp(path, "/stats") == 0) {
        control_stats(req);
    } else if (is_get && strcmp(path, "/keys") == 0) {
        control_keys(req);
    } else if (is_post && strcmp(path, "/fault") == 0) {
        control_fault(req, body);
    } else if (strcmp(method, "DELETE") == 0 && strcmp(path, "/fault") == 0) {
        faults_clear();
        respond_pretty(req, 200, done());
    } else if (is_post && strcmp(path, "/release") == 0) {
        finish_due(INT64_MAX);
        respond_pretty(req, 200, done());
    } else if (is_post && strcmp(path, "/set") == 0) {
        control_set(req, body);
    } else if (is_post && strcmp(path, "/reset") == 0) {
        state_clear();
        respond_pretty(req, 200, done());
    } else {
        refuse(req, 404, "no such path of the sandbox");
    }
    json_free(body);
}

/* ---------------------------------------------------------------- the page */

static void html_text(struct buf *out, const char *s)
{
    for (; s != NULL && *s != '\0'; s++) {
        switch (*s) {
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        default:
            buf_putc(out, *s);
            break;
        }
    }
}

static void html_value(struct buf *out, const struct json *j)
{
    char *text;

    if (json_str(j) != NULL) {
        html_text(out, json_str(j));
        return;
    }
    text = json_text(j);
    html_text(out, text);
    mem_free(text);
}

static void html_row(struct buf *out, const char *name, const struct json *value)
{
    buf_puts(out, "<tr><th>");
    html_text(out, name);
    buf_puts(out, "</th><td>");
    html_value(out, value);
    buf_puts(out, "</td></tr>\n");
}

static void html_candidate(struct buf *out, const struct candidate *c)
{
    buf_puts(out, "<h2>Candidate ");
    html_text(out, c->id);
    buf_puts(out, "</h2>\n<table>\n");
    for (const struct job *job = c->jobs; job != NULL; job = job->next) {
        buf_puts(out, "<tr><th>Job ");
        html_text(out, job->id);
        buf_puts(out, "</th><td>stage: ");
        html_text(out, job->stage != NULL ? job->stage : "none");
        if (job->rejection != NULL) {
            buf_puts(out, "; rejected: ");
            html_text(out, json_get_str(job->rejection, "reason"));
        }
        if (job->assessment != NULL) {
            buf_puts(out, "; assessment: ");
            html_value(out, job->assessment);
        }
        buf_puts(out, "</td></tr>\n");
    }
    buf_puts(out, "<tr><th>Tags</th><td>");
    for (const struct json *tag = json_first(c->tags); tag != NULL; tag = json_next(tag)) {
        buf_puts(out, "<span class=\"tag\">");
        html_text(out, json_str(tag));
        buf_puts(out, "</span> ");
    }
    buf_puts(out, "</td></tr>\n");
    for (const struct json *f = json_first(c->fields); f != NULL; f = json_next(f))
        html_row(out, json_key(f), f);
    for (const struct json *note = json_first(c->notes); note != NULL; note = json_next(note)) {
        buf_puts(out, "<tr><th>Note, ");
        html_text(out, json_get_str(note, "created_at"));
        buf_puts(out, "</th><td><pre>");
        html_text(out, json_get_str(note, "body"));
        buf_puts(out, "</pre></td></tr>\n");
    }
    buf_puts(out, "</table>\n");
}

static void page(struct httpd_request *req)
{
    enum { SHOWN_MAX = 200 };
    struct buf out;
    size_t shown = 0;

    buf_init(&out, ANSWER_MAX_BYTES);
    buf_puts(&out,
             "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sandbox ATS</title>"
             "<meta http-equiv=\"refresh\" content=\"3\"><style>body{font:15px sans-serif;margin:2em;max-width:60em}"
             "table{border-collapse:collapse;width:100%}th,td{border:1px solid #ccc;padding:.3em .6em;text-align:left;"
             "vertical-align:top}th{width:14em;font-weight:normal;background:#f4f4f4}pre{margin:0;white-space:pre-wrap;"
             "font:inherit}.tag{background:#dde8f7;border-radius:.6em;padding:0 .5em}</style></head><body>\n"
             "<h1>Sandbox ATS</h1>\n");
    buf_printf(&out,
               "<p>%zu candidates, %llu requests so far. The same as JSON: <a href=\"/_sandbox/records\">records</a>, "
               "<a href=\"/_sandbox/log\">log</a>.</p>\n",
               sb.candidate_count, (unsigned long long)sb.seq);
    for (const struct candidate *c = sb.first; c != NULL && shown < SHOWN_MAX; c = c->order_next) {
        if (c->exists) {
            html_candidate(&out, c);
            shown++;
        }
    }
    if (sb.candidate_count > SHOWN_MAX)
        buf_printf(&out, "<p>The first %d are shown.</p>\n", SHOWN_MAX);
    buf_puts(&out, "</body></html>\n");
    httpd_respond(req, 200, "text/html; charset=utf-8", buf_text(&out), out.len);
    buf_free(&out);
}

/* ---------------------------------------------------------------- requests */

static bool is_authorized(const struct httpd_request *req)
{
    static const char scheme[] = "Bearer ";
    unsigned count = 0;
    const char *given = httpd_header(req, "Authorization", &count);

    return count == 1 && given != NULL && text_starts(given, scheme) && text_eq(given + sizeof(scheme) - 1, sb.token);
}

static void serve(struct httpd_request *req)
{
    struct target t = target_of(httpd_path(req));
    uint64_t seq = log_arrival(req, &t);
    const struct fault *f;

    if (!is_authorized(req)) {
        log_departure(seq, t.candidate, 401);
        httpd_add_header(req, "WWW-Authenticate", "Bearer");
        refuse(req, 401, "the bearer token is missing or wrong");
    } else if ((f = fault_for(req, &t)) != NULL) {
        spoil(req, &t, seq, f);
    } else {
        struct answer answer = apply(&t, req);
        struct log_entry *e = log_find(seq);

        if (e != NULL)
            e->applied = answer.status < 300;
        log_departure(seq, t.candidate, answer.status);
        respond(req, &answer);
    }
    target_clear(&t);
}

static void handle(void *ctx ATS_UNUSED, struct httpd_request *req)
{
    static const char control_root[] = "/_sandbox";
    const char *path = httpd_path(req);

    pthread_mutex_lock(&sb.lock);
    if (text_starts(path, control_root))
        control(req, path + sizeof(control_root) - 1);
    else if (strcmp(path, "/") == 0 && strcmp(httpd_method(req), "GET") == 0)
        page(req);
    else
        serve(req);
    pthread_mutex_unlock(&sb.lock);
    httpd_wake(sb.httpd); /* a release answers other requests than this one */
}

static void check(void *ctx ATS_UNUSED, struct httpd_request *req ATS_UNUSED)
{
    /* Everything is looked at when it is there whole. */
}

static void too_large(void *ctx ATS_UNUSED, struct httpd_request *req)
{
    refuse(req, 413, "the body is larger than 4 MiB");
}

/* ---------------------------------------------------------------- program */

static bool write_port_file(const char *path, unsigned port)
{
    char *temporary = mem_printf("%s.new", path);
    FILE *f = fopen(temporary, "we");
    bool ok = f != NULL && fprintf(f, "%u\n", port) > 0;

    if (f != NULL && fclose(f) != 0)
        ok = false;
    if (ok && rename(temporary, path) != 0)
        ok = false;
    if (!ok)
        fprintf(stderr, "sandbox-ats: cannot write %s: %s\n", path, strerror(errno));
    mem_free(temporary);
    return ok;
}

/* Waits for signals, for answers that become due, and for clients that give up on a hanging request. */
static void wait_loop(int signal_fd)
{
    for (;;) {
        struct pollfd *fds;
        nfds_t count = 2;
        int64_t due_ms = INT64_MAX, now_ms;
        bool ended;

        pthread_mutex_lock(&sb.lock);
        for (const struct pending *p = sb.pendings; p != NULL; p = p->next)
            count++;
        fds = mem_array(count, sizeof(*fds));
        fds[0] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = sb.wake_fd, .events = POLLIN};
        count = 2;
        for (const struct pending *p = sb.pendings; p != NULL; p = p->next) {
            fds[count++] = (struct pollfd){.fd = p->hang ? httpd_socket(p->req) : -1, .events = POLLRDHUP};
            if (p->due_ms < due_ms)
                due_ms = p->due_ms;
        }
        pthread_mutex_unlock(&sb.lock);

        now_ms = clock_mono_ms();
        if (due_ms == INT64_MAX)
            (void)poll(fds, count, -1);
        else
            (void)poll(fds, count, due_ms > now_ms ? (int)(due_ms - now_ms) : 0);

        if ((fds[1].revents & POLLIN) != 0) {
            uint64_t ignored;

            (void)!read(sb.wake_fd, &ignored, sizeof(ignored));
        }
        ended = (fds[0].revents & POLLIN) != 0;
        pthread_mutex_lock(&sb.lock);
        for (nfds_t i = 2; i < count; i++) {
            for (struct pending *p = sb.pendings; p != NULL && fds[i].revents != 0; p = p->next) {
                if (p->hang && httpd_socket(p->req) == fds[i].fd)
                    p->due_ms = 0;
            }
        }
        finish_due(clock_mono_ms());
        pthread_mutex_unlock(&sb.lock);
        httpd_wake(sb.httpd);
        mem_free(fds);
        if (ended)
            return;
    }
}

static const char usage[] =
    "usage: sandbox-ats --token TOKEN [--listen HOST:PORT] [--port-file FILE] [--honour-idempotency] [--log-max N]\n"
    "A small ATS in memory, for tests and demonstrations. Port 0 takes a free one.\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"token", required_argument, NULL, 't'},
        {"port-file", required_argument, NULL, 'p'},
        {"honour-idempotency", no_argument, NULL, 'i'},
        {"log-max", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct httpd_config config = {
        .listen = "127.0.0.1:0",
        .body_max_bytes = BODY_MAX_BYTES,
        .connections_max = 2000,
        .request_timeout_ms = 60000,
        .thread_name = "sandbox",
    };
    struct httpd_handlers handlers = {.check = check, .too_large = too_large, .handle = handle};
    const char *port_file = NULL;
    struct errmsg err = {.text = ""};
    int64_t log_max = (int64_t)sb.log_max;
    int signal_fd = -1, status = 1, c;
    sigset_t signals;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'l':
            config.listen = optarg;
            break;
        case 't':
            sb.token = optarg;
            break;
        case 'p':
            port_file = optarg;
            break;
        case 'i':
            sb.honour_idempotency = true;
            break;
        case 'm':
            if (!text_to_i64(optarg, 1, 10 * 1000 * 1000, &log_max)) {
                fputs("sandbox-ats: --log-max must be between 1 and 10000000\n", stderr);
                return 2;
            }
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (sb.token == NULL || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before the first thread */
    signal(SIGPIPE, SIG_IGN);
    sb.log_max = (size_t)log_max;
    sb.log = mem_array(sb.log_max, sizeof(*sb.log));
    sb.buckets = mem_array(BUCKETS, sizeof(struct candidate *));
    sb.keys = mem_array(BUCKETS, sizeof(struct key_use *));
    sb.started_ms = clock_mono_ms();
    sb.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (sb.wake_fd < 0 || signal_fd < 0) {
        perror("sandbox-ats: eventfd or signalfd");
        goto done;
    }
    if (httpd_new(&config, &handlers, &sb.httpd, &err) != ST_OK || httpd_start(sb.httpd, &err) != ST_OK) {
        fprintf(stderr, "sandbox-ats: %s\n", err.text);
        goto done;
    }
    status = 0;
    if (port_file == NULL || write_port_file(port_file, httpd_port(sb.httpd))) {
        printf("sandbox-ats: listening on port %u\n", httpd_port(sb.httpd));
        fflush(stdout);
        wait_loop(signal_fd);
    } else {
        status = 1;
    }
    httpd_quiesce(sb.httpd);
    pthread_mutex_lock(&sb.lock);
    finish_due(INT64_MAX);
    pthread_mutex_unlock(&sb.lock);
    httpd_wake(sb.httpd);
    httpd_stop(sb.httpd);
    httpd_join(sb.httpd);
done:
    pthread_mutex_lock(&sb.lock);
    state_clear();
    pthread_mutex_unlock(&sb.lock);
    httpd_free(sb.httpd);
    mem_free(sb.log);
    mem_free(sb.buckets);
    mem_free(sb.keys);
    if (signal_fd >= 0)
        close(signal_fd);
    if (sb.wake_fd >= 0)
        close(sb.wake_fd);
    return status;
}
