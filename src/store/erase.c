#include "store/erase.h"

#include <limits.h>

#include "base/text.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "store/internal.h"
#include "store/views.h"
#include "sql.h"

enum {
    TRIES = 8, /* somebody else's locks met the wrong way round */
    STEPS_MAX = 10,
    SEARCHES_MAX = 3,
    PAGE_EVENTS = 5000,
    PAGE_BYTES = 16 * 1024 * 1024, /* and one event more */
    HMAC_BLOCK_BYTES = 64,
};

struct list { /* of texts, in an arena */
    const char **items;
    size_t count, room;
};

struct work {
    struct store *s;
    const struct erase_person *who;
    const struct list *offered; /* names that an event told */
    bool preview;
    bool quick; /* events of nobody are not looked through */
    erase_progress progress;
    void *ctx;
    struct arena *arena;
    struct list names, shared;
    struct list texts;  /* that events of nobody are searched for */
    struct list others; /* names that are only remembered: conversations */
    struct list events; /* of nobody, and found */
    int64_t looked_at;
    struct erasure result;
};

const char *erase_table_name(enum erase_table table)
{
    static const char *const names[ERASE_TABLES] = {
        "event", "run", "ats_write", "ats_call", "contact_resolution", "identity", "candidate", "issue"};

    return names[table];
}

/* ---- lists */

static bool list_has(const struct list *l, const char *text)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->items[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static void list_push(struct list *l, const char *text, struct arena *arena)
{
    if (l->count == l->room) {
        size_t room = l->room > 0 ? 2 * l->room : 16;
        const char **items = arena_alloc(arena, room * sizeof *items);

        for (size_t i = 0; i < l->count; i++) {
            items[i] = l->items[i];
        }
        l->items = items;
        l->room = room;
    }
    l->items[l->count++] = arena_strdup(arena, text);
}

static void list_add(struct list *l, const char *text, struct arena *arena)
{
    if (!list_has(l, text)) {
        list_push(l, text, arena);
    }
}

static struct db_array *array_of(const struct list *l)
{
    struct db_array *a = db_array_new(DB_TEXT_ARRAY);

    for (size_t i = 0; l && i < l->count; i++) {
        db_array_text(a, l->items[i]);
    }
    return a;
}

/* ---- whom */

int store_erase_sources(struct store *s, struct arena *arena, const char *const **ret, size_t *ret_count,
                        struct errmsg *err)
{
    struct list sources = {0};
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_erase_sources, NULL, DB_ROWS, &r, err);

    if (st != ST_OK) {
        return st;
    }
    for (size_t i = 0; i < db_rows(r); i++) {
        list_add(&sources, db_text(r, i, 0), arena);
    }
    db_result_free(r);
    *ret = sources.items;
    *ret_count = sources.count;
    return ST_OK;
}

int store_erase_whose(struct store *s, const char *source, const char *name, const char *external_id,
                      struct arena *arena, struct erase_person *ret, struct errmsg *err)
{
    struct erase_person person = {.source = source, .ref = name, .external_id = external_id};
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    if (external_id) {
        *ret = person;
        return ST_OK;
    }
    db_params_init(&p);
    db_add_text(&p, source);
    db_add_text(&p, name);
    st = db_exec(s->db, &sql_erase_whose, &p, DB_ROWS, &r, err);
    if (st != ST_OK) {
        return st;
    }
    if (db_rows(r) > 1) {
        st = err_set(err, ST_CONFLICT, "%s is claimed by %s and %s: erase them one by one with --candidate", name,
                     db_text(r, 0, 1), db_text(r, 1, 1));
    } else if (db_rows(r) == 1) {
        person.ref = arena_strdup(arena, db_text(r, 0, 0));
        person.external_id = arena_strdup(arena, db_text(r, 0, 1));
    }
    db_result_free(r);
    if (st == ST_OK) {
        *ret = person;
    }
    return st;
}

/* The person's own reference with an external id; NULL: none is known. */
static const char *own_ref(const struct work *w)
{
    return text_starts(w->who->ref, "x:") ? w->who->ref : NULL;
}

static void begin_names(struct work *w)
{
    w->names = w->shared = (struct list){0};
    if (*w->who->ref != '\0') {
        list_add(&w->names, w->who->ref, w->arena);
    }
    if (w->who->external_id) { /* a reference may be a digest of it */
        list_add(&w->names, arena_printf(w->arena, "x:%s", w->who->external_id), w->arena);
    }
}

/* The names that are one step away; *ret_more: there were some. */
static int find_more_names(struct work *w, bool *ret_more, struct errmsg *err)
{
    struct db_array *names = array_of(&w->names);
    struct db_array *offered = array_of(w->offered);
    struct db_result *r = NULL;
    struct db_params p;
    size_t known = w->names.count;
    int st;

    db_params_init(&p);
    db_add_text(&p, w->who->source);
    db_add_array(&p, names);
    db_add_text(&p, own_ref(w));
    db_add_array(&p, offered);
    st = db_exec(w->s->db, &sql_erase_names, &p, DB_ROWS, &r, err);
    db_array_free(names);
    db_array_free(offered);
    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        if (db_bool(r, i, 1)) {
            list_add(&w->shared, db_text(r, i, 0), w->arena);
        } else { /* not one of those known, and each once */
            list_push(&w->names, db_text(r, i, 0), w->arena);
        }
    }
    db_result_free(r);
    *ret_more = w->names.count > known;
    return st;
}

/* While events come in there may be more with each step: it ends all the same, and is done once more when none can come. */
static int find_names(struct work *w, int steps_max, struct errmsg *err)
{
    bool more = true;
    int st = ST_OK;

    for (int i = 0; i < steps_max && more && st == ST_OK; i++) {
        st = find_more_names(w, &more, err);
    }
    return st;
}

/* ---- events of nobody */

/* As it stands in JSON, so that "7" is not found in every number. */
static void add_text(struct work *w, const char *text)
{
    struct json *j = json_string(text);
    char *quoted = json_text(j);

    list_add(&w->texts, quoted, w->arena);
    mem_free(quoted);
    json_free(j);
}

static int find_texts(struct work *w, struct errmsg *err)
{
    struct db_array *names = array_of(&w->names);
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    w->texts = w->others = (struct list){0};
    for (size_t i = 0; i < w->names.count; i++) {
        add_text(w, w->names.items[i] + 2);
    }
    db_params_init(&p);
    db_add_text(&p, w->who->source);
    db_add_array(&p, names);
    st = db_exec(w->s->db, &sql_erase_texts, &p, DB_ROWS, &r, err);
    db_array_free(names);
    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        add_text(w, db_text(r, i, 0));
        if (db_bool(r, i, 1)) {
            list_add(&w->others, arena_printf(w->arena, "o:%s", db_text(r, i, 0)), w->arena);
        }
    }
    db_result_free(r);
    return st;
}

static bool list_has_quoted(const struct list *texts, const struct json *value)
{
    char *quoted = json_text(value);
    bool has = list_has(texts, quoted);

    mem_free(quoted);
    return has;
}

/* An external id may be short, and equal to anything: it counts only where a member's name speaks of one. */
static bool is_about(const struct work *w, const struct json *j, const char *key)
{
    const char *text = json_str(j);

    if (text) {
        bool is_external = w->who->external_id && strcmp(text, w->who->external_id) == 0;

        return is_external ? key && strstr(key, "xternal") : list_has_quoted(&w->texts, j);
    }
    for (const struct json *child = json_first(j); child; child = json_next(child)) {
        if (is_about(w, child, json_key(child) ? json_key(child) : key)) {
            return true;
        }
    }
    return false;
}

static bool body_is_about(const struct work *w, const char *body, size_t len)
{
    struct arena *arena = arena_new();
    const struct json *tree = NULL;
    bool about = json_parse_in(arena, body, len, &tree, NULL) == ST_OK && is_about(w, tree, NULL);

    arena_free(arena);
    return about;
}

/* A page of them behind *after, which moves on; *ret_over: it was the last. */
static int look_through_page(struct work *w, int64_t since_us, const char **after, bool *ret_over, struct errmsg *err)
{
    struct db_array *names = array_of(&w->names);
    struct db_array *texts = array_of(&w->texts);
    struct db_result *r = NULL;
    struct db_params p;
    size_t last;
    int st;

    db_params_init(&p);
    db_add_text(&p, w->who->source);
    db_add_array(&p, names);
    db_add_array(&p, texts);
    db_add_time(&p, since_us);
    db_add_text(&p, *after);
    db_add_i64(&p, PAGE_EVENTS);
    db_add_i64(&p, PAGE_BYTES);
    st = db_exec(w->s->db, &sql_erase_nobody, &p, DB_ROWS, &r, err);
    db_array_free(names);
    db_array_free(texts);
    if (st != ST_OK) {
        return st;
    }
    last = db_rows(r);
    *ret_over = last == 0;
    for (size_t i = 0; i + 1 < last; i++) {
        size_t len = 0;
        const char *body = db_bytes(r, i, 2, &len);

        if (db_bool(r, i, 1) || body_is_about(w, body, len)) {
            list_push(&w->events, db_text(r, i, 0), w->arena);
        }
    }
    if (last > 0) {
        *after = arena_strdup(w->arena, db_text(r, last - 1, 0));
        w->looked_at += db_i64(r, last - 1, 3);
    }
    db_result_free(r);
    return ST_OK;
}

static int look_through(struct work *w, int64_t since_us, struct errmsg *err)
{
    const char *after = "";
    bool over = w->quick;
    int st = ST_OK;

    while (!over && st == ST_OK) {
        st = look_through_page(w, since_us, &after, &over, err);
        if (st == ST_OK && w->progress) {
            w->progress(w->ctx, w->looked_at);
        }
    }
    return st;
}

/* ---- the transaction */

static int lock_others_out(struct work *w, struct errmsg *err)
{
    uint8_t key[CRYPTO_SHA256_BYTES];
    uint8_t inner[HMAC_BLOCK_BYTES] = {0}, outer[HMAC_BLOCK_BYTES] = {0};
    struct db_result *r = NULL;
    struct db_params p;
    int st = db_exec(w->s->db, &sql_erase_lock, NULL, DB_ROWS, &r, err);

    db_result_free(r);
    if (st != ST_OK) {
        return st;
    }
    crypto_random(key, sizeof key);
    memcpy(inner, key, sizeof key);
    memcpy(outer, key, sizeof key);
    for (size_t i = 0; i < HMAC_BLOCK_BYTES; i++) {
        inner[i] ^= 0x36;
        outer[i] ^= 0x5c;
    }
    db_params_init(&p);
    db_add_bytes(&p, inner, sizeof inner);
    db_add_bytes(&p, outer, sizeof outer);
    st = db_exec(w->s->db, &sql_erase_key, &p, DB_COMMAND, NULL, err);
    mem_wipe(key, sizeof key);
    mem_wipe(inner, sizeof inner);
    mem_wipe(outer, sizeof outer);
    return st;
}

static int lock_candidates(struct work *w, struct errmsg *err)
{
    struct db_array *names = array_of(&w->names);
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, w->who->source);
    db_add_array(&p, names);
    st = db_exec(w->s->db, &sql_erase_candidates, &p, DB_ROWS, &r, err);
    db_array_free(names);
    for (size_t i = 0; st == ST_OK && i < db_rows(r); i++) {
        if (db_i64(r, i, 3) > w->result.worker_s) {
            w->result.worker = arena_strdup(w->arena, db_text(r, i, 2));
            w->result.worker_s = db_i64(r, i, 3);
        }
    }
    db_result_free(r);
    return st;
}

/* Once more under the locks: whoever held them may have told more names before. */
static int settle_names(struct work *w, struct errmsg *err)
{
    size_t known;
    int st;

    w->result = (struct erasure){.erased_us = INT64_MIN};
    begin_names(w);
    do {
        known = w->names.count;
        if ((st = find_names(w, w->preview ? STEPS_MAX : INT_MAX, err)) != ST_OK ||
            (st = lock_candidates(w, err)) != ST_OK) {
            return st;
        }
    } while (w->names.count > known && !w->preview);
    return ST_OK;
}

static int find_when(struct work *w, struct errmsg *err)
{
    struct db_array *names = array_of(&w->names);
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, w->who->source);
    db_add_array(&p, names);
    st = db_exec(w->s->db, &sql_erase_when, &p, DB_ROW, &r, err);
    if (st == ST_OK) {
        w->result.erased_us = db_time(r, 0, 0);
    }
    db_array_free(names);
    db_result_free(r);
    return st;
}

static int delete_told(struct work *w, struct errmsg *err)
{
    struct db_array *names = array_of(&w->names);
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, w->who->source);
    db_add_array(&p, names);
    st = db_exec(w->s->db, &sql_erase_told, &p, DB_ROW, &r, err);
    if (st == ST_OK) {
        w->result.rows[ERASE_ISSUE] = db_i64(r, 0, 0);
    }
    db_array_free(names);
    db_result_free(r);
    return st;
}

static int delete_rows(struct work *w, struct errmsg *err)
{
    struct db_array *names = array_of(&w->names);
    struct db_array *events = array_of(&w->events);
    struct db_array *others = array_of(&w->others);
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, w->who->source);
    db_add_array(&p, names);
    db_add_array(&p, events);
    db_add_array(&p, others);
    st = db_exec(w->s->db, &sql_erase_rows, &p, DB_ROW, &r, err);
    for (int i = 0; st == ST_OK && i < ERASE_ISSUE; i++) {
        w->result.rows[i] = db_i64(r, 0, i);
    }
    db_array_free(names);
    db_array_free(events);
    db_array_free(others);
    db_result_free(r);
    return st;
}

/*
 * *ret_again: nothing was done, because there are names by now that events of nobody were not searched for. Somebody of whom new names come all the
 * time is erased in the end: what mentions them is hardly older than they are, and searched once more in any case.
 */
static int erase_once(struct work *w, int64_t since_us, int tried, bool *ret_again, struct errmsg *err)
{
    size_t searched = w->names.count;
    int st = db_begin(w->s->db, err);

    *ret_again = false;
    if (st != ST_OK || (!w->preview && (st = lock_others_out(w, err)) != ST_OK) ||
        (st = settle_names(w, err)) != ST_OK ||
        (*ret_again = w->names.count > searched && w->looked_at > 0 && tried < SEARCHES_MAX) ||
        (st = find_texts(w, err)) != ST_OK || (st = look_through(w, since_us, err)) != ST_OK ||
        (st = find_when(w, err)) != ST_OK || (st = delete_told(w, err)) != ST_OK ||
        (st = delete_rows(w, err)) != ST_OK) {
        goto out;
    }
    if (!w->preview) {
        st = db_commit(w->s->db, err);
    }
out:
    db_rollback(w->s->db);
    return st;
}

/*
 * From when on events may be stored that a look does not see which begins now. Whoever stores events holds the lock until that is committed: once we have had
 * it all that came before is seen.
 */
static int find_since(struct work *w, int64_t *ret_us, struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_begin(w->s->db, err);

    if (st == ST_OK && (st = store_now(w->s, ret_us, err)) == ST_OK && !w->preview && !w->quick) {
        st = db_exec(w->s->db, &sql_erase_lock, NULL, DB_ROWS, &r, err);
        db_result_free(r);
    }
    db_rollback(w->s->db);
    return st;
}

static int erase(struct work *w, struct errmsg *err)
{
    int64_t since_us = 0;
    bool again = true;
    int st = ST_OK;

    for (int tried = 0; tried < TRIES && again; tried++) {
        begin_names(w);
        w->events = (struct list){0};
        w->looked_at = 0;
        if ((st = find_since(w, &since_us, err)) != ST_OK || (st = find_names(w, STEPS_MAX, err)) != ST_OK ||
            (st = find_texts(w, err)) != ST_OK || (st = look_through(w, 0, err)) != ST_OK) {
            return st;
        }
        st = erase_once(w, since_us, tried, &again, err);
        again = again || st == ST_CONFLICT;
    }
    return st;
}

int store_erase(struct store *s, const struct erase_person *who, bool preview, erase_progress progress, void *ctx,
                struct arena *arena, struct erasure *ret, struct errmsg *err)
{
    struct work w = {.s = s, .who = who, .preview = preview, .progress = progress, .ctx = ctx, .arena = arena};
    int st = erase(&w, err);

    if (st != ST_OK) {
        return st;
    }
    *ret = w.result;
    for (int i = 0; i < ERASE_TABLES; i++) {
        ret->total += ret->rows[i];
    }
    ret->names = w.names.items;
    ret->name_count = w.names.count;
    ret->shared = w.shared.items;
    ret->shared_count = w.shared.count;
    return ST_OK;
}

/*
 * The event is about somebody who was erased. Its profile and run count only as far as nobody else claims them. Whoever stores events does not wait for a look
 * through all that are of nobody.
 */
static int erase_again(struct store *s, const struct ingest_event *e, struct errmsg *err)
{
    struct arena *arena = arena_new();
    struct erase_person who = {
        .source = e->source, .ref = e->external_id ? e->subject : "", .external_id = e->external_id};
    struct list offered = {0};
    struct work w = {.s = s, .who = &who, .offered = &offered, .quick = true, .arena = arena};
    int st;

    if (e->profile_id) {
        list_add(&offered, arena_printf(arena, "p:%s", e->profile_id), arena);
    }
    if (e->run_id) {
        list_add(&offered, arena_printf(arena, "r:%s", e->run_id), arena);
    }
    if (text_starts(e->subject, "p:") || text_starts(e->subject, "r:")) { /* perhaps as a digest */
        list_add(&offered, e->subject, arena);
    }
    st = erase(&w, err);
    arena_free(arena);
    return st;
}

int store_erase_told(struct store *s, const struct ingest_event *events, size_t count, struct errmsg *err)
{
    int st = ST_OK;

    for (size_t i = 0; i < count && st == ST_OK; i++) {
        if (events[i].tells_more) {
            st = erase_again(s, &events[i], err);
        }
    }
    return st;
}

int store_erase_statistics(struct store *s, struct errmsg *err)
{
    return db_exec(s->db, &sql_erase_analyze, NULL, DB_COMMAND, NULL, err);
}
