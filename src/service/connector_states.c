#include "service/connector_states.h"

#include "base/clock.h"

int connector_states_refresh(struct connector_states *s, struct store *store, struct errmsg *err)
{
    struct arena *fresh = arena_new();
    struct connector_status_row *rows = NULL;
    size_t count = 0;
    int st = store_connector_states(store, fresh, &rows, &count, err);

    if (st != ST_OK) {
        arena_free(fresh);
        return st;
    }
    arena_free(s->arena);
    *s = (struct connector_states){.arena = fresh, .rows = rows, .count = count, .at_ms = clock_mono_ms()};
    return ST_OK;
}

const struct connector_status_row *connector_states_find(const struct connector_states *s, const char *connector)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->rows[i].connector, connector) == 0) {
            return &s->rows[i];
        }
    }
    return NULL;
}

void connector_states_clear(struct connector_states *s)
{
    arena_free(s->arena);
    *s = (struct connector_states){0};
}
