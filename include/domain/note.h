/*
 * note - the text that a recruiter reads in the ATS.
 *
 * The summary: result first, then each question with answer and traffic light, documents, what failed and why in words,
 * run and workflow. Plain text; the marker by which our own note is found again is added as the last line when it is sent. A template of the operator's own holds
 * {placeholders}, checked when the configuration is loaded. Length limits are the connector's (connector/step).
 *
 * Pure. Returned texts live in the arena.
 */
#ifndef ATSYNC_DOMAIN_NOTE_H
#define ATSYNC_DOMAIN_NOTE_H

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "domain/run.h"

/* "atsync:" and 16 hex digits of a digest of the write's key: short, unique per note, without personal data. */
const char *note_marker(const char *source, const char *subject, const char *key, struct arena *arena);

/* The summary of a run as it is known, seen from a moment ("completed", "started", …). */
char *note_summary(const struct run *r, const char *moment, const char *workflow_external_id, struct arena *arena);

/*
 * Placeholders: {candidate} {run} {workflow} {result} {outcome} {state} {reason} {error} {started} {finished} {answers} {summary}
 * {answer:SLUG} {answer:NODE/SLUG.MEMBER}; "{{" and "}}" are braces. A value that is not known is empty.
 */
int note_template_check(const char *text, struct errmsg *err) ATS_MUSTCHECK;
char *note_render(const char *text, const struct run *r, const char *moment, const char *workflow_external_id,
                  struct arena *arena);

#endif
