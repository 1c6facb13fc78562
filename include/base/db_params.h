/*
 * db_params - the values of a statement's parameters, in PostgreSQL's binary format. Sends nothing (lib/db.h). One thread at a time.
 */
#ifndef ATSYNC_BASE_DB_PARAMS_H
#define ATSYNC_BASE_DB_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DB_EPOCH_US INT64_C(946684800000000) /* PostgreSQL counts microseconds from 2000-01-01 */

/* ---- parameters: a fixed array filled in order; values are borrowed until the call returns */
enum { DB_PARAMS_MAX = 32 };
struct db_params {
    unsigned count;
    uint32_t types[DB_PARAMS_MAX];
    const char *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX];
    char inline_bytes[DB_PARAMS_MAX][8];
};
void db_params_init(struct db_params *p);
void db_add_text(struct db_params *p, const char *s); /* NULL is SQL null; must be plain UTF-8 (base/json_text.h) */
void db_add_i64(struct db_params *p, int64_t n);
void db_add_i32(struct db_params *p, int32_t n);
void db_add_bool(struct db_params *p, bool b);
void db_add_time(struct db_params *p, int64_t unix_us); /* timestamptz; INT64_MIN is SQL null */
void db_add_bytes(struct db_params *p, const void *bytes, size_t len);

/* ---- array parameters, one per column of a batch. Element order is the order of adding. */
enum db_elem { DB_TEXT_ARRAY, DB_BYTES_ARRAY, DB_I64_ARRAY, DB_I32_ARRAY, DB_BOOL_ARRAY, DB_TIME_ARRAY };
#define DB_NULL_I64 INT64_MIN
struct db_array;
struct db_array *db_array_new(enum db_elem type);
void db_array_free(struct db_array *a);
void db_array_reset(struct db_array *a);
void db_array_text(struct db_array *a, const char *s);                  /* NULL is null */
void db_array_bytes(struct db_array *a, const void *bytes, size_t len); /* bytes NULL is null */
void db_array_i64(struct db_array *a, int64_t n);           /* also int4, bool and time arrays; DB_NULL_I64 is null */
void db_add_array(struct db_params *p, struct db_array *a); /* the array stays the caller's */

#endif
