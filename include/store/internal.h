/*
 * internal - what the files of store share. Not for anybody outside src/store.
 */
#ifndef ATSYNC_STORE_INTERNAL_H
#define ATSYNC_STORE_INTERNAL_H

#include "base/compiler.h"
#include "base/mem.h"
#include "lib/db.h"
#include "store/store.h"

struct known_source;
struct recent;

enum { HELD_BY_BYTES = 200 };

struct store {
    struct db *db;
    struct arena *sources; /* see ingest.c; NULL: none told yet */
    struct known_source *known_sources;
    struct recent *held; /* see held.c, likewise the next one */
    char held_by[HELD_BY_BYTES];
    bool knows_erased;           /* somebody was erased: who else was is asked before events are stored */
    void (*inserted)(void *ctx); /* see store_tell_inserted */
    void *inserted_ctx;
};

/*
 * held.c: candidates whose rows other sessions hold. What must not wait for them for long sets lock_timeout in its first statement; when that was in vain it asks who
 * they are, goes on without them, and asks for those first from then on, for a minute: so that not each event or result of them is waited with.
 */
struct held_candidate { /* borrowed texts */
    const char *source, *connector, *ref;
    bool held; /* out */
};
struct recent *held_known_new(void);
/* Whether the last statement of this connection ended because it had waited for a lock. */
bool held_waited_in_vain(const struct store *s);
bool held_any_known(const struct store *s);
/*
 * Marks those that are held at this moment; *ret_any: there are such. of_known: only those that were held within the last minute are asked for; a row may
 * also be in the hands of who records something at this moment, which is no reason to do without it.
 */
int held_find(struct store *s, struct held_candidate *candidates, size_t count, bool of_known, bool *ret_any,
              struct errmsg *err) ATS_MUSTCHECK;

/* Text for a text column: itself when it is clean UTF-8, else a cleaned copy in the arena. NULL stays NULL. */
const char *store_plain(const char *s, struct arena *arena);
/* The same, and over 400 bytes replaced by "#" and a digest: for columns that are in an index. */
const char *store_key(const char *s, struct arena *arena);

/* Arrays as the columns of one statement. */
enum { BATCH_COLUMNS_MAX = 28 };
struct batch {
    unsigned columns;
    size_t rows;
    struct db_array *column[BATCH_COLUMNS_MAX];
};
/* spec: one letter a column: t text, y bytes, l int8, i int4, b boolean, z timestamptz. */
void batch_init(struct batch *b, const char *spec);
void batch_clear(struct batch *b);
/* With db_queue, if there are rows; else *ret is NULL. */
void batch_queue(struct batch *b, struct db *db, const struct sql_stmt *stmt, enum db_shape shape,
                 struct db_result **ret);
/* Runs the statement if there are rows; ret may be NULL. */
int batch_exec(struct batch *b, struct db *db, const struct sql_stmt *stmt, enum db_shape shape, struct db_result **ret,
               struct errmsg *err);

#endif
