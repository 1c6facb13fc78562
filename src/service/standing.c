#include "service/standing.h"

static bool row_is(const struct ledger_item *item, enum write_state state)
{
    return item->row && item->row->state == state && item->step == LEDGER_KEEP;
}

bool standing_any_row(const struct ledger_diff *diff, enum write_state state)
{
    for (size_t i = 0; i < diff->count; i++) {
        if (row_is(&diff->items[i], state)) {
            return true;
        }
    }
    return false;
}

void standing_settle(struct record *r, const struct ledger_diff *diff, bool any_dead, bool any_pending,
                     int64_t next_due_ms)
{
    r->release = true;
    r->synced = true;
    r->failed = any_pending;
    r->next_due_ms = next_due_ms;
    if (any_pending) {
        r->state = "retrying";
        r->synced = false;
    } else if (any_dead) {
        r->state = "dead";
    } else {
        r->state = diff->count > 0 ? "synced" : "nothing_to_do";
    }
}
