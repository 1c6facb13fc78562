/*
 * remedy - why a connector had to stop, and what a person can do about it, in the words of the vendor's product.
 *
 * A status code helps nobody: the module knows what the product is called, where its keys are made and what its settings mean (meta), and
 * those words belong into the issue. Pure.
 */
#ifndef ATSYNC_CONNECTOR_REMEDY_H
#define ATSYNC_CONNECTOR_REMEDY_H

#include "base/compiler.h"
#include "base/mem.h"
#include "config/config.h"
#include "lib/json.h"

struct remedy {
    const char *reason; /* "Lever rejected the credentials of connector lever: Invalid API key"; no full stop */
    const char *hint;   /* sentences */
};

/* error_class: credentials, permission; anything else is taken for the connector's configuration. message: the ATS's own
 * words or ours, redacted; "" for none. Texts live in the arena. */
struct remedy remedy_of(const struct json *meta, const struct connector_config *connector, const char *error_class,
                        const char *message, struct arena *arena);

#endif
