/*
 * connector_states - what all daemons share about the connectors, as read from the database a moment ago.
 *
 * One thread at a time.
 */
#ifndef ATSYNC_SERVICE_CONNECTOR_STATES_H
#define ATSYNC_SERVICE_CONNECTOR_STATES_H

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "store/store.h"

struct connector_states {
    struct arena *arena; /* NULL: never read */
    struct connector_status_row *rows;
    size_t count;
    int64_t at_ms; /* our monotonic clock when they were read */
};

int connector_states_refresh(struct connector_states *s, struct store *store, struct errmsg *err) ATS_MUSTCHECK;
const struct connector_status_row *connector_states_find(const struct connector_states *s, const char *connector);
void connector_states_clear(struct connector_states *s);

#endif
