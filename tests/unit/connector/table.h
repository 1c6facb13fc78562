/*
 * table - one connector against a table of cases in a JSON file: what goes out, what comes back, what it means.
 *
 * Each case runs in the engine (connector/step.h) with scripted answers. Each is also run with hostile candidate and
 * job ids, which must stay in their place of the URL; and every decision of the module is asked of the plain jq
 * command, which must agree. A verb that meta promises and no case tries is a failure. Paths are relative to the root
 * of the project, where unit tests run.
 *
 *   {"type": "lever",
 *    "base_url": "http://127.0.0.1:8/x",  only where meta has none
 *    "settings": {NAME: TEXT}, "credentials": {NAME: TEXT},   of all cases
 *    "auth": {HEADER: VALUE},             what auth_headers_make() makes of them; left out: not looked at
 *    "candidate": {"id": …}, "job": …,    of all cases
 *    "broken_answers": true,              each case is also run with answers that are JSON of a wrong shape: whatever comes
 *                                         out, it must not be an error of the module's own
 *    "answers": {NAME: ANSWER},           that several steps give
 *    "steps": {NAME: STEP},               that several cases have
 *    "cases": [CASE, …]}
 *
 *   CASE   {"name": what is shown, "verb": …, "write": {…}, "candidate", "job", "run", "settings": instead of those
 * above (settings: added to them), "steps": [STEP or NAME, …], "result": RESULT} STEP   {"request": "GET /path?query",
 * whole URL or what stands behind the base URL, "body": the JSON sent; "form": the text sent; neither: no body,
 *           "headers": {NAME: VALUE, or null: it must be absent},
 *           "write": whether it changes something, "cache": its lifetime ("15m"); left out: not looked at,
 *           "answer": ANSWER or NAME}
 *   ANSWER {"status": 200, "headers": {…}, "body": any JSON, or "text": raw}, or {"lost": true}: it perhaps got there
 *   RESULT {"outcome", "class", "message", "retry_after_ms", "found", "was_write"}: outcome must be there, the others
 * are looked at if they are; ok and already must have no message
 *
 * `write` of a note holds body and marker; text is put in as the engine does.
 */
#ifndef ATSYNC_TESTS_CONNECTOR_TABLE_H
#define ATSYNC_TESTS_CONNECTOR_TABLE_H

/* For main(): runs the file's cases, each as a test of its own; returns the exit status. */
int table_run(const char *path);

/* For a running test: of each text, the body of the request that writes a note with it, in the file's first case of the verb note that is
 * ok; mem_free. */
void table_notes(const char *path, char *const *bodies, char **ret_sent, size_t count);

#endif
