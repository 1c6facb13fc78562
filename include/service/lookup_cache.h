/*
 * lookup_cache - answers to lookups that rarely change (stage names, field ids), kept for as long as the connector's module says.
 *
 * One for each connector and configuration. Bounded: 2,000 answers and 32 MiB, the oldest go first. Not for writes, and only for answers with a 2xx status.
 * Thread: the delivery thread's.
 */
#ifndef ATSYNC_SERVICE_LOOKUP_CACHE_H
#define ATSYNC_SERVICE_LOOKUP_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "connector/step.h"
#include "lib/httpc.h"

struct lookup_cache;

struct lookup_cache *lookup_cache_new(void);
void lookup_cache_free(struct lookup_cache *c); /* NULL is harmless */

/* What an equal request was answered, or NULL; lives until the next call of any function here. */
const struct httpc_response *lookup_cache_get(struct lookup_cache *c, const struct prepared_request *q, int64_t now_ms);
/* Copies the answer. Does nothing for a request without a lifetime or an answer that is not a success. */
void lookup_cache_put(struct lookup_cache *c, const struct prepared_request *q, const struct httpc_response *response,
                      int64_t now_ms);
/* Forgets everything: something that was looked up is not so any more. */
void lookup_cache_clear(struct lookup_cache *c);

#endif
