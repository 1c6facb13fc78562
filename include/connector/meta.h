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
 *   auth          how requests are authenticated; texts hold {credential} or {setting}. By kind:
 *     none          {kind}
 *     header        {kind, name, value, headers: {NAME: VALUE}}: one header, and three more at most
 *     basic         {kind, username, password, headers}: RFC 7617
 *     oauth2_client_credentials
 *                   {kind, token_url, client_id, client_secret, client_auth, form}: RFC 6749 section 4.4. client_auth:
 *                   "basic" (if left out) or "body"; form: more members of the request (scope, audience, sub);
 *                   token_url holds {setting} only
 *     oauth2_refresh_token
 *                   the same and refresh_token, the first one: RFC 6749 section 6. Whatever newer one the ATS gives is
 *                   kept in the database and used from then on, until another first one is configured
 *     chain         {kind, steps: [STEP, …], refresh_token, name, value}: requests one after the other. STEP: {method,
 *                   url, query, form, headers, basic: {username, password}, captures: {NAME: POINTER}, expires_in,
 *                   expires_at}; its texts may hold {NAME} as captured by the steps before it (url: settings and
 *                   captured names only), and {refresh_token}, the newest there is, if refresh_token is given
 *     The last three get tokens. POINTER is a JSON Pointer (RFC 6901) into the answer, to a text or number; expires_in
 *     (seconds) and expires_at (epoch or ISO 8601) are pointers as well. The two oauth2 kinds capture access_token,
 *     refresh_token and the times by themselves. A captured refresh_token replaces the one before, and is stored before
 *     anything else is sent. Also of these three:
 *       captures      {NAME: POINTER} more of the token's answer (the oauth2 kinds)
 *       name, value, headers
 *                     as of header, {NAME} as captured included; if left out: Authorization: Bearer {access_token}
 *                     (chain: name and value are required)
 *       base_url      "{NAME}": where requests go instead of base_url; refused unless at the host of the connector's
 *                     base_url or at one of hosts. So is a STEP's url that holds a captured name
 *       lifetime_ms   of what was got, if the ATS does not say
 *       refresh_before_ms
 *                     how long before their end tokens are renewed (60,000; a quarter of their life at most)
 *       keep_alive_ms the refresh token dies when it is not used: it is renewed this often, also with nothing to do
 *       invalid_statuses
 *                     [412]: statuses beside 401 that mean that the tokens are not accepted any more
 *   headers       {NAME: VALUE} of every request, with {setting}
 *   hosts         ["api.example.com", "*.example.com"]: where a request's own url may lead, beside the host of
 *                 base_url; https only
 *   redirects     hosts to which a 307 or 308 is followed, credentials included; none if left out. At port 443, or the
 *                 port of the request before; "api.example.com:8443" for another one
 *   rate          {count, per_ms}; null: no limit; left out: ten a second, for want of knowledge
 *                 per_day: requests from midnight to midnight UTC; remaining: the vendor's header that tells how many
 *                 requests are left, by which we slow down before we are told to
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
 *     shown_as      (note) how people see it: "text": the text is given to the function as it is; "html": as HTML, with
 *                   every character escaped and <br>; left out where that is not known: as text in which nothing can be a tag
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

/* The same with more values, an object of texts (NULL: none): they come before settings and credentials of their name. */
int meta_fill_with(const struct json *meta, const struct connector_config *connector, const struct json *values,
                   const char *text, bool with_credentials, struct buf *out, struct errmsg *err) ATS_MUSTCHECK;
/* Whether the template holds {name} for one of the names of the object. */
bool meta_uses(const char *text, const struct json *names);

/* "api.example.com", or "*.example.com" for any host below it. */
bool meta_host_pattern_ok(const char *pattern);

#endif
