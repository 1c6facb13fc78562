#include "store/store.h"

#include "base/buf.h"
#include "base/recent.h"
#include "base/text.h"
#include "domain/breaker.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "store/internal.h"
#include "sql.h"

enum { KEY_MAX_BYTES = 400 };

/*
 * Plans are made once a connection, perhaps while a table is empty, and then reading it whole looks cheap for ever after. Whatever is asked for
 * on these connections is a few rows by their keys. Left alone, PostgreSQL takes a plan of its own for each batch of one or two, because their arrays are
 * shorter than it supposes of any; making these took 2 ms for an event, more than everything else.
 */
#define FEW_ROWS_BY_KEY                                                                                                \
    "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off; "                 \
    "set plan_cache_mode = force_generic_plan"

void store_expect_few_rows(struct store *s, bool may_forget)
{
    db_set_session(s->db, may_forget ? FEW_ROWS_BY_KEY "; set synchronous_commit = off" : FEW_ROWS_BY_KEY);
}

struct store *store_new(const struct config *c, const char *role)
{
    struct store *s = mem_zalloc(sizeof *s);
    char *name = mem_printf("atsyncd %s %s", c->instance, role);

    s->db = db_new(c->database.conninfo, name);
    s->held = held_known_new();
    store_reload(s, c);
    mem_free(name);
    return s;
}

void store_free(struct store *s)
{
    if (s) {
        db_free(s->db);
        arena_free(s->sources);
        recent_free(s->held);
        mem_free(s);
    }
}

void store_reload(struct store *s, const struct config *c)
{
    db_set_timeout(s->db, (int)c->database.statement_timeout_ms);
}

void store_disconnect(struct store *s)
{
    db_disconnect(s->db);
}

int store_connect(struct store *s, struct errmsg *err)
{
    return db_connect(s->db, err);
}

/* How many bytes the character at s has; 0 if it is none. */
static size_t character(const char *s)
{
    size_t left = strnlen(s, 4);

    for (size_t n = 1; n <= left; n++) {
        if (text_is_utf8(s, n)) {
            return n;
        }
    }
    return 0;
}

const char *store_plain(const char *s, struct arena *arena)
{
    struct buf b;
    char *copy;

    if (!s || text_is_utf8(s, strlen(s))) {
        return s;
    }
    buf_init(&b, 3 * strlen(s));
    json_plain(s, &b); /* what JSON can say and PostgreSQL cannot take */
    copy = arena_strdup(arena, buf_text(&b));
    buf_reset(&b);
    for (const char *at = copy; *at;) { /* and bytes of other encodings, e.g. in an error message of the ATS */
        size_t n = character(at);

        buf_add(&b, n ? at : "\xef\xbf\xbd", n ? n : 3);
        at += n ? n : 1;
    }
    copy = arena_strdup(arena, buf_text(&b));
    buf_free(&b);
    return copy;
}

const char *store_key(const char *s, struct arena *arena)
{
    uint8_t digest[CRYPTO_SHA256_BYTES];
    char hex[2 * CRYPTO_SHA256_BYTES + 1];
    const char *plain =
        store_plain(s, arena); /* may be longer: U+FFFD takes three bytes, what it stands for perhaps two */

    if (!plain || strlen(plain) <= KEY_MAX_BYTES) {
        return plain;
    }
    crypto_sha256(s, strlen(s), digest);
    crypto_hex(digest, sizeof digest, hex);
    return arena_printf(arena, "#%s", hex);
}

/* ---- batches ------------------------------------------------------------------------------------------------------ */

static enum db_elem element_of(char letter)
{
    switch (letter) {
    case 'y':
        return DB_BYTES_ARRAY;
    case 'l':
        return DB_I64_ARRAY;
    case 'i':
        return DB_I32_ARRAY;
    case 'b':
        return DB_BOOL_ARRAY;
    case 'z':
        return DB_TIME_ARRAY;
    default:
        return DB_TEXT_ARRAY;
    }
}

void batch_init(struct batch *b, const char *spec)
{
    b->rows = 0;
    b->columns = (unsigned)strlen(spec);
    for (unsigned i = 0; i < b->columns; i++) {
        b->column[i] = db_array_new(element_of(spec[i]));
    }
}

void batch_clear(struct batch *b)
{
    for (unsigned i = 0; i < b->columns; i++) {
        db_array_free(b->column[i]);
    }
    b->columns = 0;
}

int batch_exec(struct batch *b, struct db *db, const struct sql_stmt *stmt, enum db_shape shape, struct db_result **ret,
               struct errmsg *err)
{
    struct db_params p;

    if (b->rows == 0) {
        return ST_OK;
    }
    db_params_init(&p);
    for (unsigned i = 0; i < b->columns; i++) {
        db_add_array(&p, b->column[i]);
    }
    return db_exec(db, stmt, &p, shape, ret, err);
}

void batch_queue(struct batch *b, struct db *db, const struct sql_stmt *stmt, enum db_shape shape,
                 struct db_result **ret)
{
    struct db_params p;

    if (ret) {
        *ret = NULL;
    }
    if (b->rows == 0) {
        return;
    }
    db_params_init(&p);
    for (unsigned i = 0; i < b->columns; i++) {
        db_add_array(&p, b->column[i]);
    }
    db_queue(db, stmt, &p, shape, ret);
}

/* ---- connectors --------------------------------------------------------------------------------------------------- */

int store_connector_throttle(struct store *s, const char *connector, int64_t ms, const char *reason, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_i64(&p, ms);
    db_add_text(&p, reason);
    return db_exec(s->db, &sql_connector_throttle, &p, DB_COMMAND, NULL, err);
}

int store_connector_pause(struct store *s, const char *connector, const char *reason, const char *hint,
                          const char *config_hash, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_text(&p, reason);
    db_add_text(&p, hint);
    db_add_text(&p, config_hash);
    return db_exec(s->db, &sql_connector_pause, &p, DB_COMMAND, NULL, err);
}

int store_connector_ok(struct store *s, const char *connector, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, connector);
    return db_exec(s->db, &sql_connector_ok, &p, DB_COMMAND, NULL, err);
}

int store_connector_wake(struct store *s, const char *connector, int64_t *since_us, int64_t *ret_woken,
                         struct errmsg *err)
{
    int st = ST_OK;

    *ret_woken = 0;
    for (int tried = 1; tried >= 0 && st == ST_OK && *ret_woken == 0; tried--) {
        struct db_result *r = NULL;
        struct db_params p;

        db_params_init(&p);
        db_add_text(&p, connector);
        db_add_i64(&p, tried);
        db_add_time(&p, *since_us);
        st = db_exec(s->db, &sql_connector_wake, &p, DB_ROW, &r, err);
        if (st == ST_OK) {
            *ret_woken = db_i64(r, 0, 0);
            *since_us = db_time(r, 0, 1);
        }
        db_result_free(r);
    }
    return st;
}

int store_connector_closed(struct store *s, const char *connector, bool *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    st = db_exec(s->db, &sql_connector_closed, &p, DB_ROWS, &r, err);
    *ret = st == ST_OK && db_rows(r) > 0;
    db_result_free(r);
    return st;
}

int store_connector_changed(struct store *s, const struct store_changed *changed, int64_t *ret_found,
                            int64_t *ret_woken, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, changed->connector);
    db_add_time(&p, changed->noticed_us);
    st = db_exec(s->db, &sql_connector_changed, &p, DB_ROW, &r, err);
    *ret_found = st == ST_OK ? db_i64(r, 0, 0) : 0;
    *ret_woken = st == ST_OK ? db_i64(r, 0, 1) : 0;
    db_result_free(r);
    return st;
}

int store_connector_adopt(struct store *s, const char *connector, const char *hash, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_text(&p, hash);
    return db_exec(s->db, &sql_connector_adopt, &p, DB_COMMAND, NULL, err);
}

int store_connector_register(struct store *s, const struct config *c, struct arena *arena, struct store_changed **ret,
                             size_t *ret_count, struct errmsg *err)
{
    struct db_result *changed = NULL;
    struct batch b;
    int st;

    *ret = NULL;
    *ret_count = 0;
    batch_init(&b, "tt");
    for (size_t i = 0; i < c->connector_count; i++) {
        char hash[CONFIG_FINGERPRINT_BYTES];

        config_mapping_fingerprint(c, &c->connectors[i], hash);
        db_array_text(b.column[0], c->connectors[i].name);
        db_array_text(b.column[1], hash);
        b.rows++;
    }
    st = batch_exec(&b, s->db, &sql_connector_register, DB_ROWS, &changed, err);
    if (st == ST_OK && changed) {
        *ret = arena_alloc(arena, (db_rows(changed) + 1) * sizeof **ret);
        for (; *ret_count < db_rows(changed); ++*ret_count) {
            (*ret)[*ret_count] =
                (struct store_changed){.connector = arena_strdup(arena, db_text(changed, *ret_count, 0)),
                                       .hash = arena_strdup(arena, db_text(changed, *ret_count, 1)),
                                       .noticed_us = db_time(changed, *ret_count, 2)};
        }
    }
    db_result_free(changed);
    batch_clear(&b);
    return st;
}

int store_connector_outcomes(struct store *s, const char *connector, int64_t calls, int64_t failures,
                             struct breaker_counts *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_i64(&p, calls);
    db_add_i64(&p, failures);
    db_add_i64(&p, BREAKER_WINDOW_MS);
    st = db_exec(s->db, &sql_connector_outcomes, &p, DB_MAYBE, &r, err);
    if (st == ST_OK && db_rows(r) == 0) {
        st = err_set(err, ST_NOT_FOUND, "connector %s is not registered", connector);
    }
    if (st == ST_OK) {
        *ret = (struct breaker_counts){.calls = db_i64(r, 0, 0),
                                       .failures = db_i64(r, 0, 1),
                                       .opens = db_i64(r, 0, 2),
                                       .is_open = strcmp(db_text(r, 0, 3), "open") == 0};
    }
    db_result_free(r);
    return st;
}

int store_connector_quota(struct store *s, const char *connector, int64_t requests, int64_t *ret_used,
                          int64_t *ret_left_ms, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_i64(&p, requests);
    st = db_exec(s->db, &sql_connector_quota, &p, DB_MAYBE, &r, err);
    if (st == ST_OK && db_rows(r) == 0) {
        st = err_set(err, ST_NOT_FOUND, "connector %s is not registered", connector);
    }
    if (st == ST_OK) {
        *ret_used = db_i64(r, 0, 0);
        *ret_left_ms = db_i64(r, 0, 1);
    }
    db_result_free(r);
    return st;
}

int store_connector_open(struct store *s, const char *connector, int64_t ms, const char *reason, bool is_probe,
                         bool *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_i64(&p, ms);
    db_add_text(&p, reason);
    db_add_bool(&p, is_probe);
    st = db_exec(s->db, &sql_connector_open, &p, DB_MAYBE, &r, err);
    *ret = st == ST_OK && db_rows(r) == 1;
    db_result_free(r);
    return st;
}

int store_connector_probe(struct store *s, const char *connector, bool *ret, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, connector);
    db_add_i64(&p, BREAKER_PROBE_MS);
    st = db_exec(s->db, &sql_connector_probe, &p, DB_MAYBE, &r, err);
    if (st == ST_OK) {
        *ret = db_rows(r) == 1;
    }
    db_result_free(r);
    return st;
}

int store_daemon_beat(struct store *s, const char *owner, int64_t *ret_others, struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_text(&p, owner);
    db_add_text(&p, ATSYNC_VERSION);
    st = db_exec(s->db, &sql_daemon_beat, &p, DB_ROW, &r, err);
    if (st == ST_OK) {
        *ret_others = db_i64(r, 0, 0);
    }
    db_result_free(r);
    return st;
}

int store_daemon_leave(struct store *s, const char *owner, struct errmsg *err)
{
    struct db_params p;

    db_params_init(&p);
    db_add_text(&p, owner);
    return db_exec(s->db, &sql_daemon_leave, &p, DB_COMMAND, NULL, err);
}

int store_end_stalled(struct store *s, int64_t stalled_ms, void (*ended)(void *ctx, const char *session), void *ctx,
                      struct errmsg *err)
{
    struct db_result *r = NULL;
    struct db_params p;
    int st;

    db_params_init(&p);
    db_add_i64(&p, stalled_ms);
    st = db_exec(s->db, &sql_end_stalled, &p, DB_ROWS, &r, err);
    for (size_t row = 0; st == ST_OK && row < db_rows(r); row++) {
        ended(ctx, db_text(r, row, 0));
    }
    db_result_free(r);
    return st;
}

int store_connector_states(struct store *s, struct arena *arena, struct connector_status_row **ret, size_t *ret_count,
                           struct errmsg *err)
{
    struct db_result *r = NULL;
    int st = db_exec(s->db, &sql_connector_states, NULL, DB_ROWS, &r, err);

    if (st != ST_OK) {
        return st;
    }
    size_t count = db_rows(r);
    struct connector_status_row *rows = arena_alloc(arena, (count + 1) * sizeof *rows);

    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct connector_status_row){
            .connector = arena_strdup(arena, db_text(r, i, 0)),
            .state = arena_strdup(arena, db_text(r, i, 1)),
            .config_hash = arena_strdup(arena, db_text(r, i, 2)),
            .until_ms = db_i64(r, i, 3),
            .paused_by_operator = db_bool(r, i, 4),
        };
    }
    db_result_free(r);
    *ret = rows;
    *ret_count = count;
    return ST_OK;
}
