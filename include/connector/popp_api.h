/*
 * popp_api - requests to Popp's API, and what an answer means whatever its body is. Nothing but GET is ever sent.
 *
 * Requests go to the configured base_url and nowhere else: redirects are answers, and private addresses are refused unless base_url is one.
 */
#ifndef ATSYNC_CONNECTOR_POPP_API_H
#define ATSYNC_CONNECTOR_POPP_API_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "config/config.h"
#include "lib/httpc.h"

/* path: begins with /, ids in it are encoded (completion_path). The request points into the arena and the configuration. */
void popp_api_request(const struct source_config *s, const char *path, struct arena *arena, struct httpc_request *ret);

enum popp_api_answer {
    POPP_API_OK,
    POPP_API_NOT_FOUND,
    POPP_API_KEY,         /* the key is not accepted, or may not do this */
    POPP_API_THROTTLED,   /* asked to wait */
    POPP_API_UNAVAILABLE, /* not reached, or an error on its side */
    POPP_API_ODD,         /* anything else: the address is not right */
};
/* ret_words: "HTTP 401", or why nothing came; never what the answer says. *ret_wait_ms: what it asks for; 0: nothing. */
enum popp_api_answer popp_api_meaning(const struct httpc_response *r, int64_t now_us, int64_t *ret_wait_ms,
                                      struct errmsg *ret_words);
const char *
popp_api_answer_name(enum popp_api_answer a); /* for metrics: ok, not_found, key, throttled, unavailable, odd */

#endif
