/*
 * One transaction for everything that is to be remembered of a batch of candidates. The order of the statements is
 * the order of locks, so that two of these do not wait for each other in a circle: first our own candidates by key, then those that we pass something on to
 * (of those without a connector only what nobody else holds), then rows of other tables, which nobody locks before candidates. Who needs a row that somebody holds for
 * long is left out, so that the others need not wait for it.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "lib/json.h"
#include "store/internal.h"
#include "store/store.h"
#include "sql.h"

enum { TRIES = 3 };

struct recording {
    struct store *store;
    struct db *db;
    struct record *records;
    size_t count;
    struct arena *arena;
    struct errmsg *err;
    bool again;  /* a first try met a conflict */
    bool waited; /* the last one for a row that somebody holds */
};

static const char *plain(const struct recording *rec, const char *s)
{
    return store_plain(s, rec->arena);
}

static const char *key(const struct recording *rec, const char *s)
{
    return store_key(s, rec->arena);
}

static void add_who(struct batch *b, const struct claimed *who)
{
    db_array_text(b->column[0], who->source);
    db_array_text(b->column[1], who->connector);
    db_array_text(b->column[2], who->ref);
    b->rows++;
}

/* Sent with the others of this transaction; it returns no rows. */
static void queue_batch(const struct recording *rec, struct batch *b, const struct sql_stmt *stmt)
{
    batch_queue(b, rec->db, stmt, DB_COMMAND, NULL);
    batch_clear(b);
}

/* ---- leases ------------------------------------------------------------------------------------------------------- */

/* Which of the rows that a statement returned are still ours. */
static void keep_ours(const struct recording *rec, const struct db_result *r)
{
    for (size_t row = 0; r && row < db_rows(r); row++) {
        rec->records[db_i64(r, row, 0)].lost = false;
    }
}

/* What is being sent from now on, and what may have been sent before and is wanted no more: nobody knows whether the ATS has it. */
static const char *sending_of(const struct recording *rec, const struct record *r)
{
    struct buf list;
    const char *text;

    if (!r->diff) {
        return NULL;
    }
    buf_init(&list, SIZE_MAX / 4);
    for (size_t i = 0; !r->release && i < r->diff->count; i++) {
        const struct ledger_item *item = &r->diff->items[i];

        if (item->step == LEDGER_SEND && !write_is_append(item->wish->kind)) {
            ledger_sending_add(&list, plain(rec, item->wish->key), item->rev, item->wish->kind, item->wish->hash);
        }
    }
    for (size_t i = 0; i < r->diff->obsolete_count; i++) {
        const struct ledger_row *row = r->diff->obsolete[i];

        if (row->unrecorded && !(row->stored && row->stored->rev == row->rev)) {
            ledger_sending_add(&list, row->key, row->rev, row->kind, row->hash);
        }
    }
    text = list.len > 0 ? arena_strdup(rec->arena, buf_text(&list)) : NULL;
    buf_free(&list);
    return text;
}

static int by_key(const void *a, const void *b)
{
    const struct claimed *x = (*(const struct record *const *)a)->who;
    const struct claimed *y = (*(const struct record *const *)b)->who;
    int order = strcmp(x->source, y->source);

    order = order ? order : strcmp(x->connector, y->connector);
    return order ? order : strcmp(x->ref, y->ref);
}

/* In the order of their keys, as who stores events goes, too: so that none waits for the other in a circle. */
static const struct record **sort(const struct recording *rec)
{
    const struct record **sorted = arena_alloc(rec->arena, (rec->count + 1) * sizeof *sorted);

    for (size_t i = 0; i < rec->count; i++) {
        sorted[i] = &rec->records[i];
    }
    qsort(sorted, rec->count, sizeof *sorted, by_key);
    return sorted;
}

/*
 * All candidates are locked, those that stay in work as well. Also one that was claimed a moment ago by our clock: this process may be stopped between any
 * two lines for longer than its lease, and must not overwrite what its successor has recorded meanwhile.
 */
static void update_candidates(const struct recording *rec, struct db_result **ret)
{
    const struct record **sorted = sort(rec);
    struct batch b;

    batch_init(&b, "tttllbtltbbttlb");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *one = sorted[i];
        bool kept = !one->release || one->forget || one->waits;

        rec->records[one - rec->records].lost = true;
        if (one->held) {
            continue;
        }
        add_who(&b, one->who);
        db_array_i64(b.column[3], one->who->lease_no);
        db_array_i64(b.column[4], one - rec->records);
        db_array_i64(b.column[5], kept);
        db_array_text(b.column[6], sending_of(rec, one));
        db_array_i64(b.column[7], one->who->version);
        db_array_text(b.column[8], kept ? NULL : one->state);
        db_array_i64(b.column[9], !kept && one->synced);
        db_array_i64(b.column[10], !kept && one->failed);
        db_array_text(b.column[11], one->error_class);
        db_array_text(b.column[12], one->error && one->error[0] ? plain(rec, one->error) : NULL);
        db_array_i64(b.column[13], one->next_due_ms == INT64_MAX ? DB_NULL_I64 : one->next_due_ms);
        db_array_i64(b.column[14], one->waits);
    }
    batch_queue(&b, rec->db, &sql_record_candidate, DB_ROWS, ret);
    batch_clear(&b);
}

/* ---- ledger ------------------------------------------------------------------------------------------------------- */

static void add_superseded(struct batch *b, const struct claimed *who, const struct ledger_row *row, bool replaced,
                           bool uncertain)
{
    add_who(b, who);
    db_array_text(b->column[3], row->key);
    db_array_i64(b->column[4], row->rev);
    db_array_i64(b->column[5], replaced);
    db_array_i64(b->column[6], uncertain);
}

/* The row in the ledger that makes room for the item's own; NULL: there is none. */
static const struct ledger_row *replaced_by(const struct ledger_item *item)
{
    const struct ledger_row *row = item->row && item->row->unrecorded ? item->row->stored : item->row;

    return row && row->rev != item->rev ? row : NULL;
}

static void add_replaced(struct batch *b, const struct claimed *who, const struct ledger_item *item)
{
    const struct ledger_row *row = replaced_by(item);

    if (row) {
        add_superseded(b, who, row, true, item->row->unrecorded && item->row->rev == row->rev);
    }
}

/* A set write that is sent gets its row when it is known what became of it; until then it is in the candidate's list. */
static bool has_row_before(const struct ledger_item *item)
{
    return item->step == LEDGER_RECORD || item->step == LEDGER_LIST ||
           (item->step == LEDGER_SEND && write_is_append(item->wish->kind));
}

static enum write_state state_before(const struct ledger_item *item)
{
    if (item->step == LEDGER_LIST) {
        return WRITE_PENDING;
    }
    return item->step == LEDGER_SEND ? WRITE_SENDING : WRITE_APPLIED;
}

static void add_obsolete(struct batch *b, const struct claimed *who, const struct ledger_row *row)
{
    const struct ledger_row *stored = row->unrecorded ? row->stored : row;

    if (stored && (stored->state == WRITE_PENDING || stored->state == WRITE_SENDING || stored->state == WRITE_DEAD)) {
        add_superseded(b, who, stored, false, row->unrecorded && row->rev == stored->rev);
    }
}

static void supersede(const struct recording *rec)
{
    struct batch b;

    batch_init(&b, "ttttlbb");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        for (size_t k = 0; !r->lost && r->runs && r->diff && k < r->diff->count; k++) {
            if (has_row_before(&r->diff->items[k])) {
                add_replaced(&b, r->who, &r->diff->items[k]);
            }
        }
        for (size_t k = 0; !r->lost && r->runs && r->diff && k < r->diff->obsolete_count; k++) {
            add_obsolete(&b, r->who, r->diff->obsolete[k]);
        }
        for (size_t k = 0; !r->lost && k < r->result_count; k++) {
            if (!write_is_append(r->results[k].item->wish->kind)) {
                add_replaced(&b, r->who, r->results[k].item);
            }
        }
    }
    queue_batch(rec, &b, &sql_record_supersede);
}

/* What people read in the views: the text itself, or JSON for everything else. */
static const char *value_text(const struct recording *rec, const struct json *value)
{
    struct buf b;
    const char *text;

    if (json_str(value)) {
        return plain(rec, json_str(value));
    }
    buf_init(&b, SIZE_MAX / 4);
    json_print_plain(value, &b);
    text = arena_strdup(rec->arena, buf_text(&b));
    buf_free(&b);
    return text;
}

/* A stage that the candidate could not enter from where it stood may be tried once more when it may be entered from elsewhere. */
static const char *hash_of(const struct recording *rec, const struct ledger_item *item, enum write_state state)
{
    char *hash;

    if (state != WRITE_SKIPPED || item->wish->only_from_count == 0) {
        return item->wish->hash;
    }
    hash = arena_alloc(rec->arena, LEDGER_HASH_BYTES);
    ledger_skip_hash(item, hash);
    return hash;
}

/* The nineteen columns that say what is wanted. */
static void add_wish(const struct recording *rec, struct batch *b, const struct claimed *who,
                     const struct ledger_item *item, enum write_state state)
{
    const struct desired *wish = item->wish;

    add_who(b, who);
    db_array_text(b->column[3], plain(rec, wish->key));
    db_array_i64(b->column[4], item->rev);
    db_array_text(b->column[5], write_kind_name(wish->kind));
    db_array_text(b->column[6], plain(rec, wish->target));
    db_array_text(b->column[7], value_text(rec, wish->value));
    db_array_text(b->column[8], hash_of(rec, item, state));
    db_array_text(b->column[9], item->base_hash);
    db_array_text(b->column[10], wish->job);
    db_array_text(b->column[11], key(rec, wish->run->run_id));
    db_array_text(b->column[12], key(rec, wish->workflow_external_id));
    db_array_text(b->column[13], wish->stamp.event_id);
    db_array_i64(b->column[14], wish->stamp.time_us);
    db_array_text(b->column[15], plain(rec, wish->reason));
    db_array_i64(b->column[16], wish->line);
    db_array_text(b->column[17], write_state_name(state));
    db_array_i64(b->column[18], who->lease_no);
}

static void insert_writes(const struct recording *rec)
{
    struct batch b;

    batch_init(&b, "ttttltttttttttztitl");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        for (size_t k = 0; !r->lost && r->runs && r->diff && k < r->diff->count; k++) {
            const struct ledger_item *item = &r->diff->items[k];

            if (has_row_before(item)) {
                add_wish(rec, &b, r->who, item, state_before(item));
            }
        }
    }
    queue_batch(rec, &b, &sql_record_write);
}

/* The six columns that say what became of it. */
static void add_verdict(const struct recording *rec, struct batch *b, unsigned c, const struct record_result *res)
{
    bool pending = res->verdict.state == WRITE_PENDING;

    db_array_i64(b->column[c], res->verdict.uncertain);
    db_array_i64(b->column[c + 1], pending ? res->verdict.delay_ms : DB_NULL_I64);
    db_array_i64(b->column[c + 2], res->http_status ? res->http_status : DB_NULL_I64);
    db_array_text(b->column[c + 3],
                  res->verdict.error_class && res->verdict.error_class[0] ? res->verdict.error_class : NULL);
    db_array_text(b->column[c + 4], res->error && res->error[0] ? plain(rec, res->error) : NULL);
    db_array_i64(b->column[c + 5], res->not_attempted ? 1 : 0);
}

/* Of set writes with the whole row, of append writes into the row that is there already. */
static void record_results(const struct recording *rec)
{
    struct batch fresh;
    struct batch set;
    struct batch append;

    batch_init(&fresh, "ttttltttttttttztitlblitti");
    batch_init(&set, "ttttltttttttttztitlblitti");
    batch_init(&append, "ttttltblitti");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        for (size_t k = 0; !r->lost && k < r->result_count; k++) {
            const struct record_result *res = &r->results[k];

            if (!write_is_append(res->item->wish->kind)) {
                struct batch *b = res->item->fresh && !rec->again ? &fresh : &set;

                add_wish(rec, b, r->who, res->item, res->verdict.state);
                add_verdict(rec, b, 19, res);
                continue;
            }
            add_who(&append, r->who);
            db_array_text(append.column[3], plain(rec, res->item->wish->key));
            db_array_i64(append.column[4], res->item->rev);
            db_array_text(append.column[5], write_state_name(res->verdict.state));
            add_verdict(rec, &append, 6, res);
        }
    }
    queue_batch(rec, &fresh, &sql_record_value_new);
    queue_batch(rec, &set, &sql_record_value);
    queue_batch(rec, &append, &sql_record_result);
}

/* The route to the candidate that this reference stands for, when the record gives it up for that one; else NULL. */
static const struct record_route *stands_for(const struct record *r)
{
    return r->forget && r->route_count > 0 && strcmp(r->routes[0].ref, r->who->ref) != 0 ? &r->routes[0] : NULL;
}

/* ---- runs and what else events tell ----------------------------------------------------------------------------------- */

static const char *nodes_text(const struct recording *rec, const struct run *run)
{
    struct buf b;
    const char *text;

    buf_init(&b, SIZE_MAX / 4);
    run_print_nodes(run, &b);
    text = arena_strdup(rec->arena, buf_text(&b));
    buf_free(&b);
    return text;
}

static void add_run(const struct recording *rec, struct batch *b, const struct record *r, size_t index, bool is_latest)
{
    const struct run *run = &r->runs->runs[index];
    const char *workflow = run_workflow_external_id(run, r->names);
    const struct workflow_map *map = r->who->ref[0] == 'x' ? mapping_find(r->mapping, workflow) : NULL;
    const char *const texts[] = {key(rec, workflow),
                                 map ? map->job : NULL,
                                 key(rec, run->profile_id),
                                 key(rec, run->external_id ? run->external_id : r->who->external_id),
                                 run_state_name(run->state),
                                 plain(rec, run->outcome),
                                 plain(rec, run->result),
                                 plain(rec, run->error_code),
                                 plain(rec, run->error_class),
                                 plain(rec, run->last_failed_node_id),
                                 plain(rec, run->cancellation_reason),
                                 plain(rec, run->final_node_id)};
    unsigned c = 0;

    db_array_text(b->column[c++], r->who->source);
    db_array_text(b->column[c++], key(rec, run->run_id));
    db_array_text(b->column[c++], r->who->ref);
    db_array_text(b->column[c++], map ? map->connector : "");
    db_array_i64(b->column[c++], run->is_contact_only);
    db_array_i64(b->column[c++], is_latest);
    db_array_text(b->column[c++], key(rec, run->workflow_id));
    db_array_text(b->column[c++], key(rec, run->workflow_version_id));
    for (size_t i = 0; i < ATS_COUNT(texts); i++) {
        db_array_text(b->column[c++], texts[i]);
    }
    db_array_i64(b->column[c++], run->truncated);
    db_array_i64(b->column[c++], run->complete);
    db_array_i64(b->column[c++], run->conflict);
    db_array_i64(b->column[c++], run->started_us);
    db_array_i64(b->column[c++], run->completed_us);
    db_array_i64(b->column[c++], run->last_event.time_us);
    db_array_text(b->column[c++], nodes_text(rec, run));
    b->rows++;
}

/* A run as one of the records folded it. */
struct folded {
    const struct record *record;
    size_t index;
    bool is_latest;
    const char *source, *run_id, *ref;
    int64_t last_us;
};

/* Events may name one run for two candidates: the later one shows. */
static int by_run(const void *a, const void *b)
{
    const struct folded *x = a;
    const struct folded *y = b;
    int order = strcmp(x->source, y->source);

    order = order ? order : strcmp(x->run_id, y->run_id);
    order = order ? order : (y->last_us > x->last_us) - (y->last_us < x->last_us);
    return order ? order : strcmp(x->ref, y->ref);
}

static bool is_same_run(const struct folded *a, const struct folded *b)
{
    return strcmp(a->source, b->source) == 0 && strcmp(a->run_id, b->run_id) == 0;
}

/* Each run once, in the order of the keys. */
static void upsert_runs(const struct recording *rec)
{
    struct folded *all = NULL;
    size_t count = 0;
    struct batch b;

    batch_init(&b, "ttttbbttttttttttttttbbbzzzt");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];
        /* of a reference that stands for another one, the other folds the runs, with all that it knows of them */
        size_t runs = r->lost || !r->runs || stands_for(r) ? 0 : r->runs->count;
        const size_t *next;

        if (runs == 0) {
            continue;
        }
        next = runs_of_same_workflow(r->runs, r->names, false, rec->arena);
        all = mem_grow(all, count + runs, sizeof *all);
        for (size_t k = 0; k < runs; k++) {
            const struct run *run = &r->runs->runs[k];

            all[count++] = (struct folded){.record = r,
                                           .index = k,
                                           .is_latest = next[k] == runs,
                                           .source = r->who->source,
                                           .run_id = key(rec, run->run_id),
                                           .ref = r->who->ref,
                                           .last_us = run->last_event.time_us};
        }
    }
    if (count > 0) {
        qsort(all, count, sizeof *all, by_run);
    }
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !is_same_run(&all[i - 1], &all[i])) {
            add_run(rec, &b, all[i].record, all[i].index, all[i].is_latest);
        }
    }
    mem_free(all);
    queue_batch(rec, &b, &sql_record_run);
}

/* Another name of a candidate. */
struct name {
    const char *source, *alias, *ref, *external_id;
};

struct names {
    struct name *items;
    size_t count, room;
};

static void add_name(struct names *n, const char *source, const char *alias, const char *ref, const char *external_id)
{
    if (n->count == n->room) {
        n->room = n->room > 0 ? 2 * n->room : 64;
        n->items = mem_grow(n->items, n->room, sizeof *n->items);
    }
    n->items[n->count++] = (struct name){source, alias, ref, external_id};
}

static int compare_alias(const struct name *a, const struct name *b)
{
    int order = strcmp(a->source, b->source);

    return order ? order : strcmp(a->alias, b->alias);
}

static int by_name(const void *a, const void *b)
{
    const struct name *x = a;
    const struct name *y = b;
    int order = compare_alias(x, y);

    return order ? order : strcmp(x->ref, y->ref);
}

/* Each name of a candidate once, in the order of the keys, and whether another candidate of the batch has it, too. */
static void fill_names(struct names *n, struct batch *b)
{
    const struct name *last = NULL;

    if (n->count > 1) {
        qsort(n->items, n->count, sizeof *n->items, by_name);
    }
    for (size_t i = 0; i < n->count; last = &n->items[i++]) {
        const struct name *one = &n->items[i];
        bool torn = false;

        if (last && by_name(last, one) == 0) {
            continue;
        }
        for (size_t k = i; k > 0 && !torn && compare_alias(&n->items[k - 1], one) == 0; k--) {
            torn = strcmp(n->items[k - 1].ref, one->ref) != 0;
        }
        for (size_t k = i + 1; k < n->count && !torn && compare_alias(&n->items[k], one) == 0; k++) {
            torn = strcmp(n->items[k].ref, one->ref) != 0;
        }
        db_array_text(b->column[0], one->source);
        db_array_text(b->column[1], one->alias);
        db_array_text(b->column[2], one->ref);
        db_array_text(b->column[3], one->external_id);
        db_array_i64(b->column[4], torn);
        b->rows++;
    }
}

/* The sender's own names of a candidate whose external id is known; seven columns, of which the last two go by themselves. */
static void learn_identities(const struct recording *rec)
{
    struct names names = {0};
    struct batch b;
    struct db_params p;
    size_t waiting = 0;

    batch_init(&b, "ttttbtt");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *one = &rec->records[i];
        const struct record_route *other = one->lost ? NULL : stands_for(one);

        if (other && other->external_id &&
            one->who->ref[0] == 'r') { /* found by its run: from now on its events are found by this name */
            add_name(&names, one->who->source, one->who->ref, other->ref, key(rec, other->external_id));
        }
        for (size_t k = 0; !one->lost && one->runs && one->who->ref[0] == 'x' && k < one->runs->count; k++) {
            const struct run *run = &one->runs->runs[k];

            if (!run->external_id) {
                continue; /* told by an alias itself: nothing new */
            }
            db_array_text(b.column[5], one->who->source);
            db_array_text(b.column[6], subject_key('r', run->run_id, rec->arena));
            waiting++;
            if (run->profile_id) {
                add_name(&names, one->who->source, subject_key('p', run->profile_id, rec->arena), one->who->ref,
                         key(rec, run->external_id));
            }
        }
    }
    fill_names(&names, &b);
    if (b.rows > 0 || waiting > 0) {
        db_params_init(&p);
        for (unsigned i = 0; i < b.columns; i++) {
            db_add_array(&p, b.column[i]);
        }
        db_queue(rec->db, &sql_record_identity, &p, DB_COMMAND, NULL);
    }
    mem_free(names.items);
    batch_clear(&b);
}

static void learn_workflow_names(const struct recording *rec)
{
    struct batch b;

    batch_init(&b, "ttt");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        for (size_t k = 0; !r->lost && k < r->event_count; k++) {
            const struct event *e = &r->events[k];
            const char *known = e->workflow_id && r->names
                                    ? r->names->external_id_of(r->names->ctx, r->names->source, e->workflow_id)
                                    : NULL;

            if (e->workflow_id && e->workflow_external_id && (!known || strcmp(known, e->workflow_external_id) != 0)) {
                db_array_text(b.column[0], r->who->source);
                db_array_text(b.column[1], key(rec, e->workflow_id));
                db_array_text(b.column[2], key(rec, e->workflow_external_id));
                b.rows++;
            }
        }
    }
    queue_batch(rec, &b, &sql_record_workflow_name);
}

static int64_t number_or_null(const struct json *data, const char *name)
{
    int64_t n;

    return json_get_i64(data, name, &n) ? n : DB_NULL_I64;
}

static void add_version(const struct recording *rec, struct batch *b, const struct claimed *who, const struct event *e)
{
    const char *at = json_get_str(e->data, "publishedAt");
    int64_t published_us = DB_NULL_I64;

    if (at && !time_parse_iso8601(at, &published_us)) {
        published_us = DB_NULL_I64;
    }
    db_array_text(b->column[0], who->source);
    db_array_text(b->column[1], key(rec, e->workflow_id));
    db_array_text(b->column[2], e->workflow_version_id ? key(rec, e->workflow_version_id) : "");
    db_array_text(b->column[3], key(rec, e->workflow_external_id));
    db_array_text(b->column[4], plain(rec, e->organization_id));
    db_array_i64(b->column[5], number_or_null(e->data, "versionNumber"));
    db_array_text(b->column[6], plain(rec, json_get_str(e->data, "publishedByUserId")));
    db_array_i64(b->column[7], published_us);
    db_array_text(b->column[8], e->id);
    db_array_i64(b->column[9], e->time_us);
    b->rows++;
}

static const char *contact_kind(enum event_type type)
{
    if (type == EVENT_CONTACT_FAILED) {
        return "failed";
    }
    return type == EVENT_CONTACT_SKIPPED ? "skipped" : "resolved";
}

static void add_contact(const struct recording *rec, struct batch *b, const struct claimed *who, const struct event *e)
{
    enum json_type is_new_type = json_type(json_get(e->data, "isNewProfile"));
    const char *const texts[] = {who->source,
                                 e->id,
                                 contact_kind(e->type),
                                 who->ref,
                                 key(rec, e->record_id),
                                 plain(rec, e->organization_id),
                                 key(rec, e->workflow_id),
                                 key(rec, e->workflow_external_id),
                                 key(rec, e->workflow_version_id)};

    for (unsigned i = 0; i < ATS_COUNT(texts); i++) {
        db_array_text(b->column[i], texts[i]);
    }
    db_array_i64(b->column[9], number_or_null(e->data, "versionNumber"));
    db_array_text(b->column[10], key(rec, e->profile_id));
    db_array_text(b->column[11], plain(rec, e->external_id));
    db_array_text(b->column[12], plain(rec, json_get_str(e->data, "email")));
    db_array_text(b->column[13], plain(rec, json_get_str(e->data, "phoneNumber")));
    /* a text or a number tells neither */
    db_array_i64(b->column[14], is_new_type == JSON_TRUE ? 1 : is_new_type == JSON_FALSE ? 0 : DB_NULL_I64);
    db_array_text(b->column[15], plain(rec, json_get_str(e->data, "existingRunStatus")));
    db_array_i64(b->column[16], number_or_null(e->data, "contactIndex"));
    db_array_i64(b->column[17], e->time_us);
    b->rows++;
}

static void insert_audit(const struct recording *rec)
{
    struct batch versions;
    struct batch contacts;

    batch_init(&versions, "tttttltztz");
    batch_init(&contacts, "tttttttttlttttbtlz");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        for (size_t k = 0; !r->lost && k < r->event_count; k++) {
            enum event_type type = r->events[k].type;

            if (type == EVENT_PUBLISHED) {
                add_version(rec, &versions, r->who, &r->events[k]);
            } else if (type == EVENT_CONTACT_RESOLVED || type == EVENT_CONTACT_SKIPPED ||
                       type == EVENT_CONTACT_FAILED) {
                add_contact(rec, &contacts, r->who, &r->events[k]);
            }
        }
    }
    queue_batch(rec, &versions, &sql_record_version);
    queue_batch(rec, &contacts, &sql_record_contact);
}

/* ---- calls, routes, release --------------------------------------------------------------------------------------------- */

static void add_call(const struct recording *rec, struct batch *b, const struct claimed *who,
                     const struct record_call *c)
{
    add_who(b, who);
    db_array_i64(b->column[3], c->ago_ms);
    db_array_text(b->column[4], c->verb);
    db_array_text(b->column[5], c->method);
    db_array_text(b->column[6], plain(rec, c->path));
    db_array_i64(b->column[7], c->http_status ? c->http_status : DB_NULL_I64);
    db_array_text(b->column[8], c->outcome);
    db_array_i64(b->column[9], c->duration_us);
    db_array_text(b->column[10], c->error && c->error[0] ? plain(rec, c->error) : NULL);
}

/* Also of a lost lease: the calls were made. *ret_there: which of those candidates there still are. */
static void insert_calls(const struct recording *rec, struct db_result **ret_there)
{
    struct batch ours;
    struct batch lost;

    batch_init(&ours, "tttltttitlt");
    batch_init(&lost, "tttltttitlt");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        for (size_t k = 0; !r->held && k < r->call_count; k++) {
            add_call(rec, r->lost ? &lost : &ours, r->who, &r->calls[k]);
        }
    }
    queue_batch(rec, &ours, &sql_record_call);
    batch_queue(&lost, rec->db, &sql_record_lost_call, DB_ROWS, ret_there);
    batch_clear(&lost);
}

/* Whose place in the queue is gone, calls or not: of those that had calls it is known. */
static void tell_erased(const struct recording *rec, const struct db_result *there)
{
    for (size_t i = 0; i < rec->count; i++) {
        struct record *r = &rec->records[i];

        r->erased = r->lost && !r->held && r->call_count > 0;
        for (size_t row = 0; there && r->erased && row < db_rows(there); row++) {
            r->erased = strcmp(db_text(there, row, 0), r->who->source) != 0 ||
                        strcmp(db_text(there, row, 1), r->who->connector) != 0 ||
                        strcmp(db_text(there, row, 2), r->who->ref) != 0;
        }
    }
}

static void insert_routes(const struct recording *rec)
{
    struct batch known, only_new;

    batch_init(&known, "tttttt");
    batch_init(&only_new, "tttttt");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        for (size_t k = 0; !r->lost && k < r->route_count; k++) {
            struct batch *b = r->routes[k].only_if_new ? &only_new : &known;

            db_array_text(b->column[0], r->who->source);
            db_array_text(b->column[1], r->routes[k].connector);
            db_array_text(b->column[2], r->routes[k].ref);
            db_array_text(b->column[3], key(rec, r->routes[k].external_id));
            db_array_text(b->column[4], r->who->connector);
            db_array_text(b->column[5], r->who->ref);
            b->rows++;
        }
    }
    queue_batch(rec, &known, &sql_record_route);
    queue_batch(rec, &only_new, &sql_record_route_new);
}

static void forget(const struct recording *rec)
{
    struct batch b;

    batch_init(&b, "tttl");
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        if (!r->lost && r->release && r->forget) {
            add_who(&b, r->who);
            db_array_i64(b.column[3], r->who->version);
        }
    }
    queue_batch(rec, &b, &sql_record_forget);
}

/*
 * Whether a crash of the server may undo this a moment later. What the plan phase intends must be there before a call is made, and that a note was
 * written must not be forgotten. All else can: the candidate is due again then, or was never taken into work, and what was sent is sent again, as the list of
 * what was being sent says, or because no row says that it was (ledger_needs_intent).
 */
static enum db_durability durability_of(const struct recording *rec)
{
    for (size_t i = 0; i < rec->count; i++) {
        const struct record *r = &rec->records[i];

        if (!r->release) {
            return DB_DURABLE;
        }
        for (size_t k = 0; k < r->result_count; k++) {
            if (write_is_append(r->results[k].item->wish->kind)) {
                return DB_DURABLE;
            }
        }
    }
    return DB_MAY_BE_LOST;
}

static int undo(struct recording *rec, int st)
{
    rec->waited = held_waited_in_vain(rec->store);
    db_rollback(rec->db);
    return st;
}

static int record_once(struct recording *rec)
{
    struct db_result *ours = NULL;
    struct db_result *there = NULL;
    int st;

    db_queue_begin(rec->db, durability_of(rec));
    update_candidates(rec, &ours);
    st = db_flush(rec->db, rec->err);
    keep_ours(rec, ours);
    db_result_free(ours);
    if (st != ST_OK) {
        return undo(rec, st);
    }
    FAULT_POINT("record-in-transaction");
    insert_routes(rec);
    forget(rec);
    learn_identities(rec);
    supersede(rec);
    insert_writes(rec);
    record_results(rec);
    upsert_runs(rec);
    learn_workflow_names(rec);
    insert_audit(rec);
    insert_calls(rec, &there);
    db_queue_commit(rec->db);
    FAULT_POINT("record-before-commit");
    st = db_flush(rec->db, rec->err);
    FAULT_POINT("record-committed");
    if (st == ST_OK) {
        tell_erased(rec, there);
    } else {
        st = undo(rec, st);
    }
    db_result_free(there);
    return st;
}

/* ---- rows that somebody holds ----------------------------------------------------------------------------------------- */

/* As held_find, for all candidates whose rows this changes: its own, and those that something is passed on to. */
static int leave_out_held(const struct recording *rec, bool of_known, bool *ret_any, struct errmsg *err)
{
    struct arena *arena = arena_new();
    struct held_candidate *candidates;
    struct record **of;
    size_t count = 0;
    int st;

    for (size_t i = 0; i < rec->count; i++) {
        count += 1 + rec->records[i].route_count;
    }
    candidates = arena_alloc(arena, count * sizeof *candidates);
    of = arena_alloc(arena, count * sizeof *of);
    count = 0;
    for (size_t i = 0; i < rec->count; i++) {
        struct record *r = &rec->records[i];

        r->held = false;
        of[count] = r;
        candidates[count++] =
            (struct held_candidate){.source = r->who->source, .connector = r->who->connector, .ref = r->who->ref};
        for (size_t k = 0; k < r->route_count; k++) {
            of[count] = r;
            candidates[count++] = (struct held_candidate){
                .source = r->who->source, .connector = r->routes[k].connector, .ref = r->routes[k].ref};
        }
    }
    st = held_find(rec->store, candidates, count, of_known, ret_any, err);
    for (size_t i = 0; i < count; i++) {
        of[i]->held = of[i]->held || candidates[i].held;
    }
    arena_free(arena);
    return st;
}

static bool any_left(const struct recording *rec)
{
    size_t i = 0;

    while (i < rec->count && rec->records[i].held) {
        i++;
    }
    return i < rec->count;
}

/* A deadlock or a row that nobody expected: PostgreSQL undid it, try again. Without those whose rows are held; ST_CONFLICT: something else is. */
static int record_together(struct recording *rec)
{
    int st = ST_OK;

    for (int i = 0; i < TRIES && any_left(rec); i++) {
        bool found = true;

        rec->arena = arena_new();
        st = record_once(rec);
        arena_free(rec->arena);
        if (st != ST_CONFLICT) {
            break;
        }
        rec->again = true;
        if (rec->waited) {
            struct errmsg why;
            int asked = leave_out_held(rec, false, &found, &why);

            if (asked != ST_OK) {
                return err_set(rec->err, asked, "%s", why.text);
            }
            if (!found) {
                break;
            }
            st = ST_OK; /* should none be left */
        }
    }
    return st;
}

static void hold(struct record *r)
{
    r->held = r->lost = true;
}

/*
 * A row of another table is held, and nobody can tell whose of these candidates needs it: each of them alone. Once the first is recorded the others are, or may be tried
 * again, whatever happens.
 */
static int record_singly(struct recording *rec)
{
    size_t done = 0;

    rec->store->held_by[0] = '\0';
    for (size_t i = 0; i < rec->count; i++) {
        struct recording one = *rec;
        int st;

        if (rec->records[i].held) {
            continue;
        }
        one.records = &rec->records[i];
        one.count = 1;
        st = record_together(&one);
        if (st == ST_CONFLICT && one.waited) {
            hold(&rec->records[i]);
        } else if (st != ST_OK && done == 0) {
            return st;
        } else if (st != ST_OK) {
            while (i < rec->count) {
                hold(&rec->records[i++]);
            }
        }
        done++;
    }
    return ST_OK;
}

int store_record(struct store *s, struct record *records, size_t count, struct errmsg *err)
{
    struct recording rec = {.store = s, .db = s->db, .records = records, .count = count, .err = err};
    int st = ST_OK;
    bool any;

    for (size_t i = 0; i < count; i++) {
        records[i].held = records[i].erased = false;
        records[i].lost = true;
    }
    if (count > 0 && held_any_known(s)) {
        st = leave_out_held(&rec, true, &any, err);
    }
    if (st == ST_OK) {
        st = record_together(&rec);
    }
    if (st == ST_CONFLICT && rec.waited) {
        st = record_singly(&rec);
    }
    return st;
}
