#include "store/internal.h"
#include "store/store.h"
#include "sql.h"

static void keys_of(const struct claim_batch *b, struct db_array *sources, struct db_array *connectors,
                    struct db_array *refs)
{
    for (size_t i = 0; i < b->count; i++) {
        db_array_text(sources, b->items[i].source);
        db_array_text(refs, b->items[i].ref);
        if (connectors) {
            db_array_text(connectors, b->items[i].connector);
        }
    }
}

/* What is left of a run that has been forgotten, or of a contact that could not be resolved. */
struct settled {
    const char *run_id; /* as stored */
    bool is_contact;
};

static bool is_settled(const struct event *e, const struct settled *list, size_t count, struct arena *arena)
{
    bool is_contact = e->type == EVENT_CONTACT_FAILED;
    const char *run_id = store_key(is_contact ? e->record_id : e->run_id, arena);

    for (size_t i = 0; run_id && i < count; i++) {
        if (list[i].is_contact == is_contact && strcmp(list[i].run_id, run_id) == 0) {
            return true;
        }
    }
    return false;
}

/* What comes late of such a run says nothing new: it would be folded as if nothing had happened before. */
static void leave_out_settled(struct loaded *l, const struct settled *list, size_t count, struct arena *arena)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->event_count; i++) {
        if (!is_settled(&l->events[i], list, count, arena)) {
            l->events[kept++] = l->events[i];
        }
    }
    l->event_count = kept;
}

static void take_settled(const struct db_result *r, size_t row, struct settled *ret, struct loaded *l)
{
    int64_t time_us = db_time(r, row, 2);

    *ret = (struct settled){.run_id = db_text(r, row, 4),
                            .is_contact = strcmp(db_text(r, row, 5), "WORKFLOW_CONTACT_RESOLUTION_FAILED") == 0};
    l->settled_us = time_us > l->settled_us ? time_us : l->settled_us;
}

/* False: their trees take more memory than the arena may have. */
static bool take_events(const struct db_result *r, const size_t *rows, size_t count, struct arena *arena,
                        struct loaded *l)
{
    struct settled *settled = NULL;
    size_t settled_count = 0;

    l->events = arena_alloc(arena, (count + 1) * sizeof *l->events);
    for (size_t i = 0; i < count; i++) {
        size_t len = 0;
        const char *body = db_bytes(r, rows[i], 3, &len);
        struct event *e = &l->events[l->event_count];
        int st;

        if (!body) {
            settled = settled ? settled : arena_alloc(arena, count * sizeof *settled);
            take_settled(r, rows[i], &settled[settled_count++], l);
            continue;
        }
        st = event_parse(body, len, arena, e, NULL);
        if (st == ST_LIMIT) {
            return false;
        }
        if (st != ST_OK) {
            continue;
        }
        e->id = arena_strdup(arena, db_text(r, rows[i], 1)); /* as stored: what ties are broken by */
        e->time_us = db_time(r, rows[i], 2);
        l->event_count++;
    }
    if (settled_count > 0) {
        leave_out_settled(l, settled, settled_count, arena);
    }
    return true;
}

static bool take_rows(const struct db_result *r, const size_t *rows, size_t count, struct arena *arena,
                      struct loaded *l)
{
    l->rows = arena_alloc(arena, (count + 1) * sizeof *l->rows);
    l->noted_elsewhere = arena_alloc(arena, (count + 1) * sizeof *l->noted_elsewhere);
    for (size_t i = 0; i < count; i++) {
        if (db_bool(r, rows[i], 12)) {
            l->noted_elsewhere[l->noted_count++] = arena_strdup(arena, db_text(r, rows[i], 1));
            continue;
        }
        struct ledger_row w = {
            .key = arena_strdup(arena, db_text(r, rows[i], 1)),
            .rev = db_i64(r, rows[i], 2),
            .hash = arena_strdup(arena, db_text(r, rows[i], 4)),
            .base_hash = arena_strdup(arena, db_text(r, rows[i], 5)),
            .uncertain = db_bool(r, rows[i], 7),
            .attempts = db_i64(r, rows[i], 8),
            .first_tried_us = db_time(r, rows[i], 9),
            .next_attempt_us = db_time(r, rows[i], 10),
            .failed_before = db_bool(r, rows[i], 11),
        };
        if (write_kind_parse(db_text(r, rows[i], 3), &w.kind) && write_state_parse(db_text(r, rows[i], 6), &w.state)) {
            l->rows[l->row_count++] = w;
        }
    }
    return true;
}

static bool take_identity(const struct db_result *r, const size_t *rows, size_t count, struct arena *arena,
                          struct loaded *l)
{
    if (count == 1) {
        l->resolved_ref = arena_strdup(arena, db_text(r, rows[0], 1));
        l->resolved_external_id = arena_strdup(arena, db_text(r, rows[0], 2));
    }
    l->identity_conflict = count > 1;
    return true;
}

typedef bool (*take_fn)(const struct db_result *r, const size_t *rows, size_t count, struct arena *arena,
                        struct loaded *l);

/* Rows name their candidate by idx (from 1), in any order; those of one candidate stay in the order in which they came. */
static bool spread(const struct db_result *r, const struct claim_batch *b, take_fn take, struct loaded *all)
{
    size_t *ends = arena_alloc(b->arena, (b->count + 2) * sizeof *ends);
    size_t *rows = arena_alloc(b->arena, (db_rows(r) + 1) * sizeof *rows);

    for (size_t row = 0; row < db_rows(r); row++) {
        ends[db_i64(r, row, 0)]++;
    }
    for (size_t i = 1; i <= b->count; i++) {
        ends[i] += ends[i - 1];
    }
    for (size_t row = db_rows(r); row-- > 0;) {
        rows[--ends[db_i64(r, row, 0)]] = row;
    }
    for (size_t i = 0; i < b->count; i++) {
        size_t end = i + 1 < b->count ? ends[i + 2] : db_rows(r);

        if (!take(r, &rows[ends[i + 1]], end - ends[i + 1], b->arena, &all[i])) {
            return false;
        }
    }
    return true;
}

/* The last row has the sum, whether all were sent or not. */
static bool are_too_large(const struct db_result *events, int64_t max_bytes)
{
    return db_rows(events) > 0 && db_i64(events, db_rows(events) - 1, 6) > max_bytes;
}

/* What is said in bytes of bodies holds for memory too: of what is packed so tightly that it takes more, less can be read. */
static bool spread_events(const struct db_result *events, const struct claim_batch *b, int64_t max_bytes,
                          struct loaded *all)
{
    bool fits;

    arena_set_max(b->arena, arena_bytes(b->arena) + STORE_LOAD_MEMORY(max_bytes));
    fits = spread(events, b, take_events, all);
    arena_set_max(b->arena, SIZE_MAX);
    return fits;
}

/* A list that cannot be read counts as none: then the ledger alone tells what the ATS has. */
static void count_sending_in(const struct claim_batch *b, struct loaded *all)
{
    for (size_t i = 0; i < b->count; i++) {
        struct ledger_row *rows = NULL;
        size_t count = 0;

        if (b->items[i].sending &&
            ledger_overlay(all[i].rows, all[i].row_count, b->items[i].sending, b->arena, &rows, &count) == ST_OK) {
            all[i].rows = rows;
            all[i].row_count = count;
        }
    }
}

static bool any_unresolved(const struct claim_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (b->items[i].ref[0] != 'x') {
            return true;
        }
    }
    return false;
}

int store_load(struct store *s, const struct claim_batch *b, int64_t max_bytes, struct loaded **ret, struct errmsg *err)
{
    struct loaded *all = arena_alloc(b->arena, (b->count + 1) * sizeof *all);
    struct db_array *sources = db_array_new(DB_TEXT_ARRAY);
    struct db_array *connectors = db_array_new(DB_TEXT_ARRAY);
    struct db_array *refs = db_array_new(DB_TEXT_ARRAY);
    struct db_result *events = NULL;
    struct db_result *rows = NULL;
    struct db_result *identities = NULL;
    struct db_params of_events;
    struct db_params by_ref;
    struct db_params by_connector;
    int st;

    *ret = NULL;
    keys_of(b, sources, connectors, refs);
    db_params_init(&by_ref);
    db_add_array(&by_ref, sources);
    db_add_array(&by_ref, refs);
    db_params_init(&by_connector);
    db_add_array(&by_connector, sources);
    db_add_array(&by_connector, connectors);
    db_add_array(&by_connector, refs);
    of_events = by_ref;
    db_add_i64(&of_events, max_bytes);
    db_queue(s->db, &sql_load_events, &of_events, DB_ROWS, &events);
    db_queue(s->db, &sql_load_ledger, &by_connector, DB_ROWS, &rows);
    if (any_unresolved(b)) {
        db_queue(s->db, &sql_resolve, &by_ref, DB_ROWS, &identities);
    }
    st = db_flush(s->db, err);
    if (st != ST_OK || are_too_large(events, max_bytes) || !spread_events(events, b, max_bytes, all)) {
        goto out;
    }
    (void)spread(rows, b, take_rows, all);
    if (identities) {
        (void)spread(identities, b, take_identity, all);
    }
    count_sending_in(b, all);
    *ret = all;
out:
    db_result_free(events);
    db_result_free(rows);
    db_result_free(identities);
    db_array_free(sources);
    db_array_free(connectors);
    db_array_free(refs);
    return st;
}

int store_workflow_names(struct store *s, struct arena *arena, struct workflow_name_row **ret, size_t *ret_count,
                         struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_i64(&p, WORKFLOW_NAMES_MAX);
    st = db_exec(s->db, &sql_workflow_names, &p, DB_ROWS, &r, err);
    if (st != ST_OK) {
        return st;
    }
    size_t count = db_rows(r);
    struct workflow_name_row *rows = arena_alloc(arena, (count + 1) * sizeof *rows);

    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct workflow_name_row){.source = arena_strdup(arena, db_text(r, i, 0)),
                                             .workflow_id = arena_strdup(arena, db_text(r, i, 1)),
                                             .external_id = arena_strdup(arena, db_text(r, i, 2))};
    }
    db_result_free(r);
    *ret = rows;
    *ret_count = count;
    return ST_OK;
}
