/*
 * meta - what a module says about itself: its format, whether a value has that format, and reading from it.
 *
 * Not for running anything: meta is data. The format (all members but name, title and capabilities may be left out):
 *
 *   name          the type: the file's name without .jq
 *   title         for people
 *   base_url      "https://{subdomain}.example.com/v1": {setting} is replaced; null: the configuration must give one
 *   settings      {NAME: {help, required (true), default, pattern}}: in the context as .settings; pattern is a regular
 *                 expression of jq's for the whole value
 *   credentials   {NAME: {help, required (true)}}: never in the context
 *   auth          {kind: "none"}
 *                 {kind: "header", name, value, headers: {NAME: VALUE}}: values hold {credential} or {setting}
 *                 {kind: "basic", username, password}: likewise
 *   headers       {NAME: VALUE} of every request, with {setting}
 *   hosts         ["api.example.com", "*.example.com"]: where a request's own url may lead, beside the host of
 *                 base_url; https only
 *   redirects     hosts to which a 307 or 308 is followed, credentials included; none if left out
 *   rate          {count, per_ms}; null: no limit; left out: ten a second, for want of knowledge
 *   concurrency, timeout_ms, http1_only
 *                 like rate, where the configuration says nothing
 *   content_type  of JSON bodies ("application/json")
 *   idempotency_header
 *                 gets the key of the write, the same for every repetition
 *   retry_after   [{header, unit}]: the vendor's own headers that tell how long to wait when we were throttled, beside
 *                 Retry-After, which is always understood; unit: seconds, epoch, epoch_ms, http_date, iso8601
 *   throttle_ms   how long to wait when we were throttled and nothing was said
 *   classify      true: there is a function that says what an answer means
 *   probe         true: there is a read-only function that shows that address and credentials are right
 *   notes         [texts] for people: limits, what is not verified
 *   capabilities  the verbs that have a function: {stage, reject, fields, tags, note, assessment}, each with
 *     needs_job     the workflow must name a job
 *     values        (stage, reject, fields, tags) all names there are
 *     pattern       (the same) what they look like
 *     only_from     (stage) it can look where the candidate stands
 *     batch         (fields, tags) several go out in one call
 *     max_chars     (note, assessment) longer texts are cut, the marker is kept; (tags) longer ones are refused
 *     find_marker   (note) there is a function that looks for our note
 *
 * Thread: pure.
 */
#ifndef ATSYNC_CONNECTOR_META_H
#define ATSYNC_CONNECTOR_META_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "lib/json.h"

/* ST_INVALID with "PATH: meta.auth.kind: …". type: the name that meta must have. */
int meta_check(const char *path, const char *type, const struct json *meta, struct errmsg *err) ATS_MUSTCHECK;

/* The configured value of a setting, else its default; NULL: neither. Lives as long as both arguments. */
const char *meta_setting(const struct json *meta, const struct connector_config *connector, const char *name);

/* Replaces each {name} in text by the setting or, where wanted, the credential of this name, and appends to out.
 * ST_NOT_FOUND names the one without a value; ST_INVALID: the text is not a template. out may hold a part of the text
 * then. */
int meta_fill(const struct json *meta, const struct connector_config *connector, const char *text,
              bool with_credentials, struct buf *out, struct errmsg *err) ATS_MUSTCHECK;

/* "api.example.com", or "*.example.com" for any host below it. */
bool meta_host_pattern_ok(const char *pattern);

#endif
