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

enum { HELD_MAX = 32, HELD_BY_BYTES = 200 };
struct held_candidate {
    uint64_t hash;
    int64_t until_ms;
};

struct store {
    struct db *db;
    struct arena *sources; /* see ingest.c; NULL: none told yet */
    struct known_source *known_sources;
    struct held_candidate held[HELD_MAX]; /* likewise */
    size_t held_count;
    char held_by[HELD_BY_BYTES];
    bool knows_erased;           /* somebody was erased: who else was is asked before events are stored */
    void (*inserted)(void *ctx); /* see store_tell_inserted */
    void *inserted_ctx;
};

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
