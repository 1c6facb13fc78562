#include "base/text.h"
#include "lib/json.h"
#include "store/internal.h"
#include "store/store.h"
#include "sql.h"

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

static void add_row(struct batch *b, const struct ingest_event *e)
{
    const char *const texts[] = {e->source,      e->event_id,   e->type,   e->subject,     e->connector,
                                 e->external_id, e->profile_id, e->run_id, e->workflow_id, e->workflow_external_id};

    for (unsigned i = 0; i < ATS_COUNT(texts); i++) {
        db_array_text(b->column[i], texts[i]);
    }
    db_array_i64(b->column[10], e->time_us); /* EVENT_TIME_NONE is SQL null */
    db_array_bytes(b->column[11], e->body, e->body_len);
    b->rows++;
    for (unsigned i = 0; i < INGEST_ALSO_MAX && e->also[i]; i++) {
        db_array_i64(b->column[12], (int64_t)b->rows);
        db_array_text(b->column[13], e->also[i]);
    }
}

/* The statement returns the ids that were new: both lists are in the same order of bytes, whatever the database's collation, only as sets. */
static int by_id(const void *key, const void *element)
{
    const struct ingest_event *k = key;
    const struct ingest_event *e = *(struct ingest_event *const *)element;
    int order = strcmp(k->source, e->source);

    return order ? order : strcmp(k->event_id, e->event_id);
}

int store_ingest(struct store *s, struct ingest_event *events, size_t count, struct errmsg *err)
{
    struct ingest_event **sorted = mem_array(count, sizeof *sorted);
    size_t distinct = 0;
    struct batch b;
    struct db_result *r = NULL;
    int st;

    for (size_t i = 0; i < count; i++) {
        sorted[i] = &events[i];
        events[i].stored = events[i].erased = events[i].tells_more = false;
    }
    qsort(sorted, count, sizeof *sorted, by_source_and_id);
    batch_init(&b, "ttttttttttzylt");
    for (size_t i = 0; i < count; i++) {
        if (distinct == 0 || !same_event(sorted[distinct - 1], sorted[i])) {
            sorted[distinct++] = sorted[i];
            add_row(&b, sorted[i]);
        }
    }
    st = batch_exec(&b, s->db, &sql_ingest, DB_ROWS, &r, err);
    if (st == ST_OK && r) { /* none when there was nothing to store */
        for (size_t row = 0; row < db_rows(r); row++) {
            struct ingest_event key = {.source = db_text(r, row, 0), .event_id = db_text(r, row, 1)};
            struct ingest_event **found = bsearch(&key, sorted, distinct, sizeof *sorted, by_id);

            if (found) {
                (*found)->erased = db_bool(r, row, 2);
                (*found)->tells_more = db_bool(r, row, 3);
                (*found)->stored = !(*found)->erased;
            }
        }
    }
    db_result_free(r);
    batch_clear(&b);
    mem_free(sorted);
    return st;
}

int store_notify(struct store *s, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_notify, NULL, DB_ROW, &r, err);

    db_result_free(r);
    return st;
}
