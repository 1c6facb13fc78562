/*
 * step - one write carried out as a sequence of requests, decided by the module's function after each answer.
 *
 * The function of a verb (stage, reject, fields, tags, note, assessment, find_marker, probe) gets a context and returns
 * one of
 *   {lookup: "name", request: {…}}   make this request, save the answer under .got.name, then ask again
 *   {request: {…}}                   the write itself
 *   {already: true}                  nothing to do, the record is so
 *   {skip: "because …", class: …}    decided not to do it; class: "moved" if left out
 *   {fail: "class", message: "…"}    cannot be done; class as in domain/outcome.h (not_found, invalid, …)
 *   {found: true|false}              find_marker's answer
 *
 * A lookup may also have
 *   expect: [404, …]  statuses beside 2xx that are an answer to be saved; any other ends the call at once
 *   list: ["data"]    2xx answers must hold a list of objects, or null, there ([]: the body itself; 204 needs none), else it
 *                     is a bad answer, to be tried again: something else must not pass for "there is none"
 *   record: ["data"]  likewise an object
 *   append: true      .got.name is a list and the answer is put at its end (pages); without it a name is used once
 *   write: true       it changes something in the ATS (makes the tag that the write itself then needs)
 *   cache: "15m"      how long the answer to an equal request may be used again
 * Its name is any text, so that one lookup for each of a list can be made ("application/" + id).
 *
 * request: {method, path: ["segment", …], query, headers, body: any JSON, form, url: "absolute, instead of path"}; see
 * connector/request.h. A path is a list of segments, so that a value from outside can never leave its place: the engine
 * percent-encodes each one, and refuses segments that are empty or could lead elsewhere all the same ("..", "%2e%2e", "a/../b").
 *
 * Context: {candidate: {id, profile_id}, job, run: {id, state, outcome, result, …}, workflow, settings, write, got}
 *   stage        write: {stage, only_from: […]}
 *   reject       write: {reason}
 *   fields       write: {fields: {name: value}}
 *   tags         write: {tags: […]}
 *   note         write: {body, marker, text}; find_marker gets the same
 *   assessment   write: {score, status, summary}
 * The caller gives candidate, job, run, workflow and write; settings (with defaults) and got are put in here.
 * Credentials are never in it. An answer in got is {status, headers: {lower-case name: value}, body, length}; body is
 * null if it is empty, not JSON, nested deeper than 200 levels, or has a member's name of more than 1024 bytes.
 *
 * Long texts are cut here, so that modules need not: the body of a note is cut so that text, which is the body with
 * "[marker]" as its last line, has at most capabilities.note.max_chars characters, and a cut is visible ("… [cut]");
 * likewise an assessment's summary.
 *
 * A function that fails, or makes no request of what it has, is taken by its word if no answer came before: the write is
 * "connector", invalid. After an answer it is the answer that was not as it should be: "bad_answer", to be tried again.
 * A classify that fails has no opinion, and what has an answer 2xx is then a bad answer, as a web page is.
 *
 * classify gets {status, headers, body, length, request: {verb, method, is_write, lookup}} and returns null (the engine
 * decides) or {outcome, class, message, retry_after_ms}, of which only outcome must be there. It is asked about every
 * answer, before expect.
 *
 * Nothing here does I/O: the caller sends the request and hands the answer in. Thread: as struct connector_vm, one
 * thread.
 */
#ifndef ATSYNC_CONNECTOR_STEP_H
#define ATSYNC_CONNECTOR_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "connector/auth.h"
#include "connector/module.h"
#include "domain/outcome.h"
#include "lib/httpc.h"
#include "lib/json.h"

struct connector_vm;
/* Compiles the module for this thread (15 to 20 ms): once per thread and connector. Holds a reference to the module. */
int connector_vm_new(struct connector_module *m, struct connector_vm **ret, struct errmsg *err) ATS_MUSTCHECK;
void connector_vm_free(struct connector_vm *vm); /* NULL is harmless */
/* What a function of the module makes of an input: for people who write a module, and for tests. ST_NOT_FOUND if meta
 * does not promise the function; ST_INVALID with jq's words, without the values that it quotes. *ret: json_free. */
int connector_vm_run(struct connector_vm *vm, const char *function, const struct json *input, struct json **ret,
                     struct errmsg *err) ATS_MUSTCHECK;

struct call; /* one verb for one candidate, in work */

enum call_next {
    CALL_REQUEST,  /* send call_request(), then call_answer() */
    CALL_FINISHED, /* call_result() */
};

struct call_result {
    enum outcome outcome;
    const char *error_class; /* "" for ok and already; lives as long as the call, as does message */
    const char *message;     /* a sentence for people, without secrets; "" if there is nothing to say */
    long http_status;        /* of the last answer; 0 */
    int64_t retry_after_ms;  /* -1: the ATS did not say */
    bool found;              /* find_marker */
    bool program_failed;     /* on what the ATS had answered: it may be one of several values, or pass by itself */
    bool was_write; /* the deciding request was the write itself (false: a lookup failed before it, or no request
                       decided) */
};

/* verb: see above. context: becomes the call's; what is no object is as {}; its "settings" and "got" are set here. idempotency_key (may be NULL) goes out with the write as the header that meta
 * names; a lookup that writes gets a key made of it. vm and connector must outlive the call. Never fails: what is wrong
 * shows in the result. */
struct call *call_new(struct connector_vm *vm, const struct connector_config *connector, const char *verb,
                      struct json *context, bool is_append, const char *idempotency_key);
void call_free(struct call *c); /* NULL is harmless */
/* Asks the module what comes next; asking again changes nothing until the answer is in. At most 50 requests a call. */
enum call_next call_advance(struct call *c);
/* The request to send now, without authentication, or NULL if none is waiting to be sent or answered; valid until the
 * next call_* function that is not call_request. */
struct prepared_request {
    const char *method;
    const char *url;
    const char *path_for_log; /* without query; never holds credentials */
    const struct httpc_header *headers;
    size_t header_count;
    const char *body; /* NULL: none */
    size_t body_len;
    bool is_write; /* the write itself, or a lookup that writes: note the intent first, do not take an unknown outcome
                      lightly */
    int64_t cache_ms; /* lookups: how long the answer to an equal request may be used again; 0: not at all */
};
const struct prepared_request *call_request(const struct call *c);
/* Takes the answer in: classified by the module's `classify`, where that is null by outcome_of_response. now_us: for
 * Retry-After dates. */
void call_answer(struct call *c, const struct httpc_response *response, int64_t now_us);
/* What the requests are sent with from now on, before the first and after each change: a base URL in it is where they go
 * (a foreign one ends the call), and what is secret in it is kept out of messages. Holds a reference. */
void call_set_grant(struct call *c, struct auth_grant *grant);
/* The credentials were renewed after a "reauth": the same request once more, made anew for the base URL that is good now. Returns false if it was repeated before,
 * or was not refused so. */
bool call_repeat(struct call *c);
/* Whether this append has written something, by a lookup, and is not at its end: given up now, it is as one whose outcome nobody knows. */
bool call_wrote(const struct call *c);
const struct call_result *call_result(const struct call *c);

#endif
