/*
 * rehearsal - a connector's function on a context from a file, with recorded answers instead of an ATS: which requests
 * it makes, and how it ends. Makes no call and reads no clock.
 *
 * The file is {context, verb or function, settings, credentials, base_url, answers: [{status, headers, body or text,
 * lost}]}: a verb runs in the engine (connector/step.h); classify and meta, which are no verbs, run alone, with the
 * context as their input. Credentials that are missing are made up.
 */
#ifndef ATSYNC_CTL_REHEARSAL_H
#define ATSYNC_CTL_REHEARSAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "connector/module.h"
#include "lib/json.h"

/*
 * name: of the file, for messages. function: NULL to take it from the file. now_us: for Retry-After dates. ST_INVALID:
 * the file is wrong; all that is wrong with it was added to problems. *ret (the caller frees it):
 *   of a verb   {requests: [{method, url, headers, body, is_write, cache_ms, answered, status}], ended, unused_answers, result:
 *               {outcome, class, message, http_status, retry_after_ms, found, was_write}}; result is null unless ended
 *   else        {function, output}, or {function, error}
 */
int rehearse(struct connector_module *m, const char *name, const struct json *file, const char *function,
             int64_t now_us, struct json **ret, struct config_problems *problems) ATS_MUSTCHECK;
/* For people. */
void rehearsal_print(const struct json *rehearsal, struct buf *out);
/* Whether the module did what modules must, and used all the answers. */
bool rehearsal_ok(const struct json *rehearsal);

#endif
