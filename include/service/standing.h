/*
 * standing - how a candidate stands once there is nothing (more) to send for it: its state in the queue, and when it is due again.
 *
 * Pure; for the dispatcher (nothing to send) and the recorder (everything was tried).
 */
#ifndef ATSYNC_SERVICE_STANDING_H
#define ATSYNC_SERVICE_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "domain/ledger.h"
#include "store/store.h"

/* Whether a row that stays as it is has this state. */
bool standing_any_row(const struct ledger_diff *diff, enum write_state state);
/* Fills in state, synced, failed, release and next_due_ms. any_pending: something has to be tried again, next_due_ms from now. */
void standing_settle(struct record *r, const struct ledger_diff *diff, bool any_dead, bool any_pending,
                     int64_t next_due_ms);

#endif
