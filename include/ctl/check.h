/*
 * check - the parts of `atsyncctl check` that stand for themselves. Each says what it found as a struct finding; none
 * changes anything, here, in the database or in an ATS.
 */
#ifndef ATSYNC_CTL_CHECK_H
#define ATSYNC_CTL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "config/config.h"
#include "connector/module.h"
#include "lib/httpc.h"

struct finding {
    bool ok;
    char *message; /* a sentence; of several problems a line each */
    char *hint;    /* what to do; NULL if ok, or if the message says it */
};
void finding_clear(struct finding *f);

/* local_us: this machine's clock when the database's said database_us, give or take unsure_us. Pure. */
struct finding check_clock(int64_t local_us, int64_t database_us, int64_t unsure_us);
/* Whether others can change the configuration, its secrets and keys, the modules, or put other files in their place.
 * That nobody else reads secrets and keys was seen to when the configuration was loaded. */
struct finding check_permissions(const struct config *config, const struct connector_set *connectors);
/*
 * The module's read-only probe against the connector's ATS. Where tokens are got without a refresh token, it signs in
 * for itself and keeps nothing; a refresh token works once, so those are left to the daemon, and said so. Blocks until
 * the answers are there.
 */
struct finding check_probe(struct httpc *http, struct config *config, const struct connector_config *connector,
                           struct connector_module *module);

/* Whether the source's API key is accepted: one read-only request. Blocks until the answer is there. */
struct finding check_api(struct httpc *http, const struct source_config *source);

#endif
