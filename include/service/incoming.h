/*
 * incoming - from a parsed event to the row that is stored: texts that PostgreSQL takes, keys that fit into an index,
 * and the connector that the event is for, as far as that can be told without looking anything up. Pure.
 */
#ifndef ATSYNC_SERVICE_INCOMING_H
#define ATSYNC_SERVICE_INCOMING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "config/config.h"
#include "domain/event.h"
#include "domain/mapping.h"
#include "store/store.h"

/*
 * Fills everything but body and stored. All texts live in the arena, except connector (the mapping's) and source (the
 * caller's).
 *
 * event_id: as sent if it is clean UTF-8 of at most 400 bytes, else "sha256:" and its digest: two ids never become one.
 *
 * external_id: clean and uncut, it is what the ATS is asked for. The others: clean; over 400 bytes "#" and their
 * digest.
 *
 * connector: NULL needs no work (an event of another family); for "" the dispatcher finds out.
 */
void incoming_event(const struct event *e, const char *source, const struct mapping *mapping, struct arena *arena,
                    struct ingest_event *ret);

/*
 * What every event has to pass, whichever way it comes: read it, and see that its organization is one that the source
 * accepts. ST_INVALID: it is no event, with the reason in words (*e is not set); ST_DENIED: of another organization, with
 * what to do. What *e points to lives in the arena.
 */
int incoming_check(const char *body, size_t len, const struct source_config *source, struct arena *arena,
                   struct event *e, struct errmsg *err) ATS_MUSTCHECK;

/* A Content-Type that says JSON: application/json or anything with the suffix +json (RFC 6839), parameters allowed. */
bool incoming_is_json(const char *content_type);

/* The source's name in "/webhooks/NAME"; NULL for any other path. */
const char *incoming_source(const char *path);

#endif
