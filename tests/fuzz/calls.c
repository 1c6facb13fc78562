#include "calls.h"

#include <ctype.h>

#include "base/buf.h"
#include "base/text.h"
#include "connector/module.h"
#include "connector/request.h"

static const char *const types[] = {"rest",      "ashby",           "bamboohr",   "bullhorn", "greenhouse",
                                    "icims",     "jobadder",        "kombo",      "lever",    "merge",
                                    "recruitee", "smartrecruiters", "teamtailor", "workable", "zoho-recruit"};
static const char *const verbs[] = {"note", "find_marker", "fields", "tags", "stage", "reject", "assessment", "probe"};

enum { VALUES_MAX = 16, MESSAGE_BYTES = 4 * 401, REQUESTS_MAX = 51, WAIT_MAX_MS = 24 * 3600 * 1000 };

struct kept {
    struct connector_module *module;
    struct connector_vm *vm;
    struct connector_config connectors[2]; /* without optional settings, with them */
    struct named_value credentials[VALUES_MAX];
    struct named_value settings[2][VALUES_MAX];
};

static struct kept kept[ATS_COUNT(types)];

static size_t of_letter(char letter, size_t count)
{
    return (size_t)(unsigned char)(tolower((unsigned char)letter) - 'a') % count;
}

const char *calls_type(char letter)
{
    return types[of_letter(letter, ATS_COUNT(types))];
}

const char *calls_verb(char letter)
{
    return verbs[of_letter(letter, ATS_COUNT(verbs))];
}

static void configure(struct kept *k, size_t which)
{
    const struct json *meta = connector_module_meta(k->module);
    struct connector_config *c = &k->connectors[which];

    *c = (struct connector_config){.settings = k->settings[which], .credentials = k->credentials};
    c->base_url = mem_strdup(CALLS_BASE_URL);
    c->name = mem_strdup("ats");
    for (const struct json *s = json_first(json_get(meta, "credentials")); s != NULL; s = json_next(s)) {
        PROMISE(c->credential_count < VALUES_MAX, "too many credentials");
        if (which == 0)
            k->credentials[c->credential_count] =
                (struct named_value){.name = mem_strdup(json_key(s)), .value = mem_strdup(CALLS_SECRET)};
        c->credential_count++;
    }
    for (const struct json *s = json_first(json_get(meta, "settings")); s != NULL; s = json_next(s)) {
        bool optional = json_type(json_get(s, "required")) == JSON_FALSE;

        if (json_get(s, "default") != NULL || (optional && which == 0))
            continue;
        PROMISE(c->setting_count < VALUES_MAX, "too many settings");
        k->settings[which][c->setting_count++] =
            (struct named_value){.name = mem_strdup(json_key(s)), .value = mem_strdup("17")};
    }
}

/* So that what really leaks is seen at the end. libjq 1.6 itself loses a key when an error ends .[] over an object: such an
 * input is not for the corpus. */
static void free_kept(void)
{
    for (size_t i = 0; i < ATS_COUNT(types); i++) {
        connector_vm_free(kept[i].vm);
        connector_module_unref(kept[i].module);
    }
}

static struct kept *kept_of(const char *type)
{
    struct kept *k = NULL;
    struct errmsg err = {""};
    static bool freed_at_exit;

    for (size_t i = 0; i < ATS_COUNT(types); i++)
        k = strcmp(types[i], type) == 0 ? &kept[i] : k;
    if (k->vm == NULL) {
        PROMISE(connector_module_load("conf/atsyncd.conf", type, &k->module, &err) == ST_OK &&
                    connector_vm_new(k->module, &k->vm, &err) == ST_OK,
                "%s", err.text);
        configure(k, 0);
        configure(k, 1);
        if (!freed_at_exit)
            freed_at_exit = atexit(free_kept) == 0;
    }
    return k;
}

/* ---- what is promised of a request */

/* Segments are looked at as a server may, with their percent signs decoded. */
static void check_segments(const char *path)
{
    while (*path == '/') {
        size_t len = strcspn(path + 1, "/?");
        char plain[4] = "";
        size_t n = 0;

        for (size_t i = 0; i < len && n < 3; i++) {
            bool coded = path[1 + i] == '%' && i + 2 < len && strncasecmp(path + 1 + i, "%2e", 3) == 0;

            plain[n++] = coded ? '.' : path[1 + i];
            i += coded ? 2 : 0;
        }
        PROMISE(strcmp(plain, ".") != 0 && strcmp(plain, "..") != 0, "a path leads elsewhere: %s", path);
        path += 1 + len;
    }
}

static void check_url(const struct prepared_request *q)
{
    const char *rest = q->url + strlen(CALLS_BASE_URL);

    for (const char *p = q->url; *p != '\0'; p++)
        PROMISE(*p > ' ' && *p < 0x7f && strchr("\"<>\\^`{|}#", *p) == NULL, "no URL: %s", q->url);
    PROMISE(strlen(q->url) <= REQUEST_URL_MAX_BYTES, "a URL of %zu bytes", strlen(q->url));
    if (text_starts(q->url, CALLS_BASE_URL) && (*rest == '/' || *rest == '?' || *rest == '\0'))
        check_segments(rest);
}

static void check_headers(const struct prepared_request *q)
{
    for (size_t i = 0; i < q->header_count; i++) {
        const char *name = q->headers[i].name;

        PROMISE(*name != '\0' && !text_ieq(name, "host") && !text_ieq(name, "content-length") &&
                    !text_ieq(name, "transfer-encoding"),
                "the header %s", name);
        for (const char *p = name; *p != '\0'; p++)
            PROMISE(isalnum((unsigned char)*p) || *p == '-' || *p == '_', "the header %s", name);
        for (const char *p = q->headers[i].value; *p != '\0'; p++)
            PROMISE(*p == '\t' || !iscntrl((unsigned char)*p), "the header %s holds a control character", name);
        if (q->body != NULL && text_ieq(name, "content-type") && strstr(q->headers[i].value, "json") != NULL) {
            struct json *body = fuzz_json(q->body, q->body_len);

            PROMISE(body != NULL, "a body that is no JSON: %.*s", (int)q->body_len, q->body);
            json_free(body);
        }
    }
}

static void check_request(const struct prepared_request *q)
{
    PROMISE(q->method != NULL && q->url != NULL, "no request");
    PROMISE(text_is_utf8(q->path_for_log, strlen(q->path_for_log)) && strpbrk(q->path_for_log, "\r\n") == NULL,
            "the path for the log is \"%s\"", q->path_for_log);
    check_url(q);
    check_headers(q);
}

/* ---- what is promised of a result */

static void check_decision(const struct call_result *r, bool is_append)
{
    static const struct retry_policy policy = {.base_ms = 5000, .cap_ms = 3600000, .max_age_ms = 7 * 86400000};
    struct verdict v;

    for (int64_t attempts = 1; attempts < 100; attempts *= 3) {
        outcome_decide(&policy,
                       &(struct attempt){.outcome = r->outcome,
                                         .error_class = r->error_class,
                                         .is_append = is_append,
                                         .can_look = true,
                                         .attempts = attempts,
                                         .first_tried_us = CALLS_NOW_US,
                                         .now_us = CALLS_NOW_US,
                                         .retry_after_ms = r->retry_after_ms},
                       UINT32_MAX, &v);
        PROMISE(v.delay_ms >= 0 && v.delay_ms <= WAIT_MAX_MS && v.throttle_ms <= WAIT_MAX_MS, "waits %s ms",
                num_text(v.delay_ms).s);
        PROMISE((v.state == WRITE_APPLIED) == (r->outcome == OUTCOME_OK || r->outcome == OUTCOME_ALREADY),
                "%s makes a write %s", outcome_name(r->outcome), write_state_name(v.state));
    }
}

static void check_result(const struct call_result *r, bool is_append)
{
    bool good = r->outcome == OUTCOME_OK || r->outcome == OUTCOME_ALREADY;

    PROMISE(r->message != NULL && strlen(r->message) <= MESSAGE_BYTES && text_is_utf8(r->message, strlen(r->message)),
            "the message is not UTF-8, or too long");
    for (const char *p = r->message; *p != '\0'; p++)
        PROMISE(!iscntrl((unsigned char)*p), "the message holds a control character: %s", r->message);
    PROMISE(strstr(r->message, CALLS_SECRET) == NULL, "a credential is in the message: %s", r->message);
    PROMISE(good == (r->error_class[0] == '\0'), "%s of class \"%s\"", outcome_name(r->outcome), r->error_class);
    PROMISE(outcome_class_words(r->error_class) != NULL, "no words");
    PROMISE(r->retry_after_ms >= -1 && r->retry_after_ms <= WAIT_MAX_MS, "waits %s ms", num_text(r->retry_after_ms).s);
    check_decision(r, is_append);
}

void calls_make(const struct calls_plan *plan)
{
    struct kept *k = kept_of(plan->type);
    bool is_append = strcmp(plan->verb, "note") == 0;
    unsigned requests = 0;
    struct call *c;

    if (!connector_module_has(k->module, plan->verb))
        return;
    c = call_new(k->vm, &k->connectors[plan->optional_settings], plan->verb, json_copy(plan->context), is_append,
                 "0b8d1f5e-6b0e-8c5b-9c55-0d4b9d6b7a11");
    while (call_advance(c) == CALL_REQUEST) {
        struct httpc_response response = {.error = "", .body = ""};

        PROMISE(++requests < REQUESTS_MAX, "a call without an end");
        check_request(call_request(c));
        if (plan->look != NULL)
            plan->look(plan->ctx, call_request(c));
        plan->answer(plan->ctx, call_request(c), &response);
        call_answer(c, &response, CALLS_NOW_US);
    }
    check_result(call_result(c), is_append);
    PROMISE(!plan->never_broken ||
                (strcmp(call_result(c)->error_class, "connector") != 0 && !call_result(c)->program_failed),
            "the connector is broken: %s", call_result(c)->message);
    call_free(c);
}
