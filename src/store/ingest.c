#include "base/text.h"
#include "lib/json.h"
#include "store/internal.h"
#include "store/store.h"
#include "sql.h"

/* After a deadlock, which PostgreSQL undoes, or the first answer of a pooler that was not known as one. */
enum { TRIES = 5 };

static int by_source_and_id(const void *a, const void *b)
{
    const struct ingest_event *x = *(const struct ingest_event *const *)a;
    const struct ingest_event *y = *(const struct ingest_event *const *)b;
    int order = strcmp(x->source, y->source);

    if (order == 0) {
        order = strcmp(x->event_id, y->event_id);
    }
    return order ? order : (x > y) - (x < y); /* of repeated ids the first one in the batch comes first */
}

static bool same_event(const struct ingest_event *a, const struct ingest_event *b)
{
    return strcmp(a->source, b->source) == 0 && strcmp(a->event_id, b->event_id) == 0;
}

/* The statement returns the ids that were new: both lists are in the same order of bytes, whatever the database's collation, only as sets. */
static int by_id(const void *key, const void *element)
{
    const struct ingest_event *k = key;
    const struct ingest_event *e = *(struct ingest_event *const *)element;
    int order = strcmp(k->source, e->source);

    return order ? order : strcmp(k->event_id, e->event_id);
}

/* The batch in the order of its keys, each id once. */
struct sorted {
    struct ingest_event **events;
    size_t count;
};

static struct sorted sort(struct ingest_event *events, size_t count)
{
    struct sorted s = {.events = mem_array(count, sizeof *s.events)};

    for (size_t i = 0; i < count; i++) {
        s.events[i] = &events[i];
        events[i].stored = events[i].erased = events[i].tells_more = false;
    }
    qsort(s.events, count, sizeof *s.events, by_source_and_id);
    for (size_t i = 0; i < count; i++) {
        if (s.count == 0 || !same_event(s.events[s.count - 1], s.events[i])) {
            s.events[s.count++] = s.events[i];
        }
    }
    return s;
}

/* The columns of what is to be stored, with the parameter behind them; valid as long as the batch. */
static void fill_events(const struct sorted *s, bool erased_are_left_out, struct batch *b, struct db_params *p)
{
    batch_init(b, "ttttttttttzy");
    for (size_t i = 0; i < s->count; i++) {
        const struct ingest_event *e = s->events[i];
        const char *const texts[] = {e->source,      e->event_id,   e->type,   e->subject,     e->connector,
                                     e->external_id, e->profile_id, e->run_id, e->workflow_id, e->workflow_external_id};

        if (e->erased) {
            continue;
        }
        for (unsigned c = 0; c < ATS_COUNT(texts); c++) {
            db_array_text(b->column[c], texts[c]);
        }
        db_array_i64(b->column[10], e->time_us); /* EVENT_TIME_NONE is SQL null */
        db_array_bytes(b->column[11], e->body, e->body_len);
    }
    db_params_init(p);
    for (unsigned c = 0; c < b->columns; c++) {
        db_add_array(p, b->column[c]);
    }
    db_add_bool(p, erased_are_left_out);
}

static void queue_erased(struct db *db, const struct sorted *s, struct db_result **ret)
{
    struct batch b;

    batch_init(&b, "ttttttlt");
    for (size_t i = 0; i < s->count; i++) {
        const struct ingest_event *e = s->events[i];
        const char *const texts[] = {e->source, e->event_id, e->subject, e->external_id, e->profile_id, e->run_id};

        for (unsigned c = 0; c < ATS_COUNT(texts); c++) {
            db_array_text(b.column[c], texts[c]);
        }
        b.rows++;
        for (unsigned k = 0; k < INGEST_ALSO_MAX && e->also[k]; k++) {
            db_array_i64(b.column[6], (int64_t)b.rows);
            db_array_text(b.column[7], e->also[k]);
        }
    }
    batch_queue(&b, db, &sql_ingest_erased, DB_ROWS, ret);
    batch_clear(&b);
}

/* What the statement said of the events. Returns whether it stored anything, and did not ask first who was erased. */
static bool read_stored(const struct sorted *s, const struct db_result *r)
{
    for (size_t row = 0; row < db_rows(r); row++) {
        const char *what = db_text(r, row, 0);

        if (strcmp(what, "ask") == 0) {
            return false;
        }
        if (strcmp(what, "all") == 0) {
            for (size_t i = 0; i < s->count; i++) {
                s->events[i]->stored = !s->events[i]->erased;
            }
        } else {
            struct ingest_event key = {.source = db_text(r, row, 1), .event_id = db_text(r, row, 2)};
            struct ingest_event **found = bsearch(&key, s->events, s->count, sizeof *s->events, by_id);

            if (found) {
                (*found)->stored = true;
            }
        }
    }
    return true;
}

static void read_erased(const struct sorted *s, const struct db_result *r)
{
    for (size_t row = 0; row < db_rows(r); row++) {
        int64_t place = db_i64(r, row, 0);
        size_t at = (size_t)(place < 0 ? -place : place);

        if (at > 0 && at <= s->count) {
            s->events[at - 1]->erased = true;
            s->events[at - 1]->tells_more = place < 0;
        }
    }
}

/* Where people were erased: their events are found out first, in the same transaction, so that nobody is erased in between. */
static int store_beside_erased(const struct store *store, const struct sorted *s, struct errmsg *err)
{
    struct db *db = store->db;
    struct db_result *r = NULL;
    struct db_params p;
    struct batch b;
    int st;

    db_queue_begin(db, DB_DURABLE);
    queue_erased(db, s, &r);
    if ((st = db_flush(db, err)) == ST_OK) {
        read_erased(s, r);
        db_result_free(r);
        fill_events(s, true, &b, &p);
        db_queue_telling(db, &sql_ingest, &p, DB_ROWS, &r, store->inserted, store->inserted_ctx);
        batch_clear(&b);
        db_queue_commit(db);
        st = db_flush(db, err);
    }
    if (st == ST_OK) {
        (void)read_stored(s, r);
    } else {
        db_rollback(db);
    }
    db_result_free(r);
    return st;
}

static int store_once(struct store *s, struct ingest_event *events, size_t count, struct errmsg *err)
{
    struct sorted sorted = sort(events, count);
    struct db_result *r = NULL;
    struct db_params p;
    struct batch b;
    bool done;
    int st;

    if (s->knows_erased) {
        st = store_beside_erased(s, &sorted, err);
    } else {
        fill_events(&sorted, false, &b, &p);
        if (s->inserted) {
            db_queue_telling(s->db, &sql_ingest, &p, DB_ROWS, &r, s->inserted, s->inserted_ctx);
            st = db_flush(s->db, err);
        } else {
            st = db_exec(s->db, &sql_ingest, &p, DB_ROWS, &r, err);
        }
        batch_clear(&b);
        done = st != ST_OK || read_stored(&sorted, r);
        db_result_free(r);
        if (!done) {
            s->knows_erased = true; /* tombstones stay */
            st = store_beside_erased(s, &sorted, err);
        }
    }
    mem_free(sorted.events);
    return st;
}

void store_tell_inserted(struct store *s, void (*fn)(void *ctx), void *ctx)
{
    s->inserted = fn;
    s->inserted_ctx = ctx;
}

int store_ingest(struct store *s, struct ingest_event *events, size_t count, struct errmsg *err)
{
    int st = count > 0 ? ST_CONFLICT : ST_OK;

    for (int i = 0; i < TRIES && st == ST_CONFLICT; i++) {
        st = store_once(s, events, count, err);
    }
    return st;
}

int store_notify(struct store *s, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_notify, NULL, DB_ROW, &r, err);

    db_result_free(r);
    return st;
}
