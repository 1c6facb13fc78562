#include "base/text.h"
#include "lib/json.h"
#include "store/internal.h"
#include "store/store.h"
#include "sql.h"

enum {
    TRIES =
        5, /* after a deadlock, which PostgreSQL undoes, or the first answer of a pooler that was not known as one */
};

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

/* The batch in the order of its keys, each id once, without what has to be left out. */
struct sorted {
    struct ingest_event **events;
    size_t count;
};

static struct sorted sort(struct ingest_event *events, size_t count)
{
    struct sorted s = {.events = mem_array(count, sizeof *s.events)};
    size_t taken = 0;

    for (size_t i = 0; i < count; i++) {
        events[i].stored = events[i].erased = events[i].tells_more = false;
        if (!events[i].held) {
            s.events[taken++] = &events[i];
        }
    }
    qsort(s.events, taken, sizeof *s.events, by_source_and_id);
    for (size_t i = 0; i < taken; i++) {
        if (s.count == 0 || !same_event(s.events[s.count - 1], s.events[i])) {
            s.events[s.count++] = s.events[i];
        }
    }
    return s;
}

/* ---- parameters --------------------------------------------------------------------------------------------------- */

/* One row of the queue: what a batch tells of a candidate. */
static int by_candidate(const void *a, const void *b)
{
    const struct ingest_event *x = *(const struct ingest_event *const *)a;
    const struct ingest_event *y = *(const struct ingest_event *const *)b;
    int order = strcmp(x->source, y->source);

    order = order ? order : strcmp(x->connector, y->connector);
    return order ? order : strcmp(x->subject, y->subject);
}

static const char *greater(const char *a, const char *b)
{
    if (!a || !b) {
        return a ? a : b;
    }
    return strcmp(a, b) < 0 ? b : a;
}

/* Candidates whose events were all there already are among them: which these are only the statement finds out. */
static void fill_candidates(const struct sorted *s, struct batch *b)
{
    struct ingest_event **with = mem_array(s->count + 1, sizeof *with);
    size_t count = 0;

    for (size_t i = 0; i < s->count; i++) {
        if (s->events[i]->connector && !s->events[i]->erased) {
            with[count++] = s->events[i];
        }
    }
    qsort(with, count, sizeof *with, by_candidate);
    for (size_t i = 0, next; i < count; i = next) {
        const char *external_id = NULL, *workflow_external_id = NULL;
        int64_t time_us = with[i]->time_us;

        for (next = i; next < count && by_candidate(&with[i], &with[next]) == 0; next++) {
            external_id = greater(external_id, with[next]->external_id);
            workflow_external_id = greater(workflow_external_id, with[next]->workflow_external_id);
            if (time_us != EVENT_TIME_NONE &&
                (with[next]->time_us == EVENT_TIME_NONE || with[next]->time_us > time_us)) {
                time_us = with[next]->time_us;
            }
        }
        db_array_text(b->column[0], with[i]->source);
        db_array_text(b->column[1], with[i]->connector);
        db_array_text(b->column[2], with[i]->subject);
        db_array_text(b->column[3], external_id);
        db_array_text(b->column[4], workflow_external_id);
        db_array_i64(b->column[5], time_us);
    }
    mem_free(with);
}

/* What the statement needs; the parameters are valid as long as the columns. */
struct input {
    struct batch events, candidates;
    struct db_params params;
};

static void fill(const struct sorted *s, bool erased_are_left_out, struct input *in)
{
    batch_init(&in->events, "tttttttttzy");
    for (size_t i = 0; i < s->count; i++) {
        const struct ingest_event *e = s->events[i];
        const char *const texts[] = {e->source,  e->event_id,    e->type,
                                     e->subject, e->external_id, e->profile_id,
                                     e->run_id,  e->workflow_id, e->workflow_external_id};

        if (e->erased) {
            continue;
        }
        for (unsigned c = 0; c < ATS_COUNT(texts); c++) {
            db_array_text(in->events.column[c], texts[c]);
        }
        db_array_i64(in->events.column[9], e->time_us); /* EVENT_TIME_NONE is SQL null */
        db_array_bytes(in->events.column[10], e->body, e->body_len);
    }
    batch_init(&in->candidates, "tttttz");
    fill_candidates(s, &in->candidates);
    db_params_init(&in->params);
    for (unsigned c = 0; c < in->events.columns; c++) {
        db_add_array(&in->params, in->events.column[c]);
    }
    for (unsigned c = 0; c < in->candidates.columns; c++) {
        db_add_array(&in->params, in->candidates.column[c]);
    }
    db_add_bool(&in->params, erased_are_left_out);
}

static void clear(struct input *in)
{
    batch_clear(&in->events);
    batch_clear(&in->candidates);
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

/* ---- senders ------------------------------------------------------------------------------------------------------ */

/* A sender whose row is known to be there. */
struct known_source {
    const char *name;
    struct known_source *next;
};

static bool is_known(const struct store *s, const char *source)
{
    const struct known_source *k = s->known_sources;

    while (k && strcmp(k->name, source) != 0) {
        k = k->next;
    }
    return k != NULL;
}

static void forget_sources(struct store *s)
{
    arena_free(s->sources);
    s->sources = NULL;
    s->known_sources = NULL;
}

/* Before anything is stored of a sender, its row is made: in a transaction of its own, since it says only that there may be something. */
static int tell_sources(struct store *s, const struct sorted *sorted, struct errmsg *err)
{
    struct batch b;
    int st;

    batch_init(&b, "t");
    for (size_t i = 0; i < sorted->count; i++) {
        const char *source = sorted->events[i]->source;

        if (!is_known(s, source)) {
            struct known_source *k;

            s->sources = s->sources ? s->sources : arena_new();
            k = arena_alloc(s->sources, sizeof *k);
            *k = (struct known_source){.name = arena_strdup(s->sources, source), .next = s->known_sources};
            s->known_sources = k;
            db_array_text(b.column[0], source);
            b.rows++;
        }
    }
    st = batch_exec(&b, s->db, &sql_source_seen, DB_COMMAND, NULL, err);
    batch_clear(&b);
    return st;
}

/* ---- storing ------------------------------------------------------------------------------------------------------ */

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
    struct input in;
    int st;

    db_queue_begin(db, DB_DURABLE);
    queue_erased(db, s, &r);
    if ((st = db_flush(db, err)) == ST_OK) {
        read_erased(s, r);
        db_result_free(r);
        fill(s, true, &in);
        db_queue_telling(db, &sql_ingest, &in.params, DB_ROWS, &r, store->inserted, store->inserted_ctx);
        clear(&in);
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
    struct input in;
    bool done;
    int st = tell_sources(s, &sorted, err);

    if (st == ST_OK && sorted.count == 0) {
        mem_free(sorted.events);
        return ST_OK;
    }
    if (st == ST_OK && s->knows_erased) {
        st = store_beside_erased(s, &sorted, err);
    } else if (st == ST_OK) {
        fill(&sorted, false, &in);
        if (s->inserted) {
            db_queue_telling(s->db, &sql_ingest, &in.params, DB_ROWS, &r, s->inserted, s->inserted_ctx);
            st = db_flush(s->db, err);
        } else {
            st = db_exec(s->db, &sql_ingest, &in.params, DB_ROWS, &r, err);
        }
        clear(&in);
        done = st != ST_OK || read_stored(&sorted, r);
        db_result_free(r);
        if (!done) {
            s->knows_erased = true; /* tombstones stay */
            st = store_beside_erased(s, &sorted, err);
        }
    }
    if (st != ST_OK) {
        forget_sources(s); /* perhaps it is another database next time */
    }
    mem_free(sorted.events);
    return st;
}

void store_tell_inserted(struct store *s, void (*fn)(void *ctx), void *ctx)
{
    s->inserted = fn;
    s->inserted_ctx = ctx;
}

/* ---- candidates that somebody holds ------------------------------------------------------------------------------- */

/* See held_find. */
static int leave_out_held(struct store *s, struct ingest_event *events, size_t count, bool of_known, bool *ret_any,
                          struct errmsg *err)
{
    struct held_candidate *candidates = mem_array(count, sizeof *candidates);
    struct ingest_event **of = mem_array(count, sizeof *of);
    size_t with = 0;
    int st;

    for (size_t i = 0; i < count; i++) {
        events[i].held = false;
        if (events[i].connector) {
            candidates[with] = (struct held_candidate){
                .source = events[i].source, .connector = events[i].connector, .ref = events[i].subject};
            of[with++] = &events[i];
        }
    }
    st = held_find(s, candidates, with, of_known, ret_any, err);
    for (size_t i = 0; i < with; i++) {
        of[i]->held = candidates[i].held;
    }
    mem_free(of);
    mem_free(candidates);
    return st;
}

int store_ingest(struct store *s, struct ingest_event *events, size_t count, struct errmsg *err)
{
    int st = count > 0 ? ST_CONFLICT : ST_OK;
    bool found = true;

    for (size_t i = 0; i < count; i++) {
        events[i].held = false;
    }
    if (count > 0 && held_any_known(s)) {
        int asked = leave_out_held(s, events, count, true, &found, err);

        if (asked != ST_OK) {
            return asked;
        }
    }
    for (int i = 0; i < TRIES && st == ST_CONFLICT; i++) {
        st = store_once(s, events, count, err);
        if (st == ST_CONFLICT && held_waited_in_vain(s)) {
            struct errmsg why;
            int asked = leave_out_held(s, events, count, false, &found, &why);

            if (asked != ST_OK) {
                return err_set(err, asked, "%s", why.text);
            }
            if (!found) {
                return st;
            }
        }
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
