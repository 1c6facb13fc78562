/*
 * db - one connection to PostgreSQL (the only file that knows libpq).
 *
 * Every statement is a constant text from sql/ with parameters ($1…): nothing here or above builds SQL out of
 * values. Results and parameters travel in binary. The caller states the shape it expects, and another shape is ST_INTERNAL.
 * No session state is needed between calls, so a pooler in transaction mode may stand in between. Statements are prepared once a connection;
 * behind a pooler they are sent as a whole, because what was prepared stays behind in a session that others get. A pooler that db_is_pooled() does not
 * see is noticed when it sends them to another server (SQLSTATE 26000, 42P05). Their plans are made anew from time to time, between transactions.
 *
 * Failures: ST_UNAVAILABLE (no connection, server going down, read-only server after a failover: the connection is closed and the
 * next call connects anew), ST_UNCERTAIN (the connection broke while a statement or COMMIT was under way), ST_CONFLICT (serialization failure, deadlock, unique
 * violation), ST_DENIED (permission), ST_LIMIT (disk full, out of memory or connections there), ST_INVALID (data exceptions), ST_INTERNAL (the rest: our SQL is wrong).
 * db_sqlstate() tells more.
 * What is not answered in time is cancelled on the server too. Thread: one struct db belongs to one thread at a time.
 */
#ifndef ATSYNC_LIB_DB_H
#define ATSYNC_LIB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/db_params.h"
#include "base/status.h"

struct db;
struct db_result;

/* Generated from sql/stmt/NAME.sql: see build/gen/sql.h. */
struct sql_stmt {
    const char *name; /* file name without .sql, for messages and statistics */
    const char *text;
    bool
        planned_anew; /* the file says "-- plan: anew": its best plan depends on the values (a LIMIT, a filter that may be off) */
};

enum db_shape {
    DB_COMMAND, /* no rows are returned */
    DB_ROW,     /* exactly one row */
    DB_MAYBE,   /* no row or one */
    DB_ROWS,    /* any number of rows */
};

/* conninfo: anything libpq takes, several hosts included. Time limits for connecting and for dead peers are added
 * where it says nothing (connect_timeout=5, tcp_user_timeout=10000, keepalives, target_session_attrs=read-write). Does not connect yet. */
struct db *db_new(const char *conninfo, const char *application_name);
void db_free(struct db *db); /* NULL is harmless */
/* The longest wait for one statement; default 30,000. Any thread: for statements that begin afterwards. */
void db_set_timeout(struct db *db, int timeout_ms);

/* ---- connection strings, without connecting */
bool db_conninfo_is_valid(const char *conninfo); /* its keywords and form; not whether anybody is there */
/* What conninfo itself says of a keyword ("user"); NULL if nothing, or if it is no connection string. Caller:
 * mem_free_secret. */
char *db_conninfo_value(const char *conninfo, const char *keyword);
/* The same with other values: pairs of keyword and value, ended by NULL; a value NULL takes the keyword out. NULL if
 * conninfo is no connection string. Caller: mem_free_secret. */
char *db_conninfo_with(const char *conninfo, ...) ATS_SENTINEL;

/* Statements for the beginning of each connection (a constant), that only make others faster: behind a pooler they are left out. */
void db_set_session(struct db *db, const char *statements);

int db_connect(struct db *db, struct errmsg *err) ATS_MUSTCHECK; /* does nothing when connected */
void db_disconnect(struct db *db);
bool db_is_connected(const struct db *db);
int db_server_version(struct db *db); /* 150018 for 15.18; 0 when not connected */

/* ---- statements */
/* params may be NULL. ret may be NULL for DB_COMMAND; otherwise *ret is freed by db_result_free. */
int db_exec(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, enum db_shape shape,
            struct db_result **ret, struct errmsg *err) ATS_MUSTCHECK;
/*
 * Several statements in one round trip (libpq's pipeline mode; one after the other where libpq is older than 14). db_queue only notes: parameters may
 * be changed once it returns, *ret is set by db_flush. db_flush sends, waits and returns the first failure; what was queued behind a failed statement
 * was not carried out, and all results are NULL then. Without db_queue_begin they are one transaction in a pipeline, and one each without. A transaction that was
 * begun in the queue and not committed in it is still open afterwards, also after a failure: db_rollback. Nothing else may be called between the first
 * db_queue and db_flush.
 */
enum db_durability {
    DB_DURABLE,
    DB_MAY_BE_LOST, /* a crash of the server may undo the last moments (synchronous_commit = off); never what was seen to be before others */
};
void db_queue(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, enum db_shape shape,
              struct db_result **ret);
/*
 * As db_queue. answered is called, within db_flush, as soon as this statement has been carried out, while what follows it, the commit above all, is still waited
 * for; not after a failure. With a libpq older than 14 it is not called at all.
 */
void db_queue_telling(struct db *db, const struct sql_stmt *stmt, const struct db_params *params, enum db_shape shape,
                      struct db_result **ret, void (*answered)(void *ctx), void *ctx);
void db_queue_begin(struct db *db, enum db_durability durability); /* as db_begin */
void db_queue_commit(struct db *db);
int db_flush(struct db *db, struct errmsg *err) ATS_MUSTCHECK;
/* A script of several statements without parameters or results (migrations only). */
int db_script(struct db *db, const char *name, const char *text, struct errmsg *err) ATS_MUSTCHECK;
int db_begin(struct db *db, struct errmsg *err) ATS_MUSTCHECK;
int db_commit(struct db *db, struct errmsg *err) ATS_MUSTCHECK; /* ST_UNCERTAIN if the answer was lost */
void db_rollback(struct db *db);
const char *db_sqlstate(const struct db *db); /* of the last failure; "" if it had none */

/* What the server keeps instead of a password (as its password_encryption says), for create role. Caller:
 * mem_free_secret. */
int db_encrypt_password(struct db *db, const char *role, const char *password, char **ret,
                        struct errmsg *err) ATS_MUSTCHECK;

size_t db_rows(const struct db_result *r);
bool db_is_null(const struct db_result *r, size_t row, int col);
const char *db_text(const struct db_result *r, size_t row, int col); /* NULL for null; lives as long as the result */
int64_t db_i64(const struct db_result *r, size_t row, int col);      /* int2, int4, int8; 0 for null */
bool db_bool(const struct db_result *r, size_t row, int col);
double db_double(const struct db_result *r, size_t row, int col); /* float8 only: cast in the statement */
int64_t db_time(const struct db_result *r, size_t row, int col);  /* microseconds since 1970; INT64_MIN for null */
const void *db_bytes(const struct db_result *r, size_t row, int col, size_t *ret_len);
int db_columns(const struct db_result *r);
const char *db_column_name(const struct db_result *r, int col);
void db_result_free(struct db_result *r); /* NULL is harmless */

/* ---- LISTEN: needs a connection of its own, directly to the server */
/* Whether a pooler (PgBouncer and its kind) stands between: the server process that answers is not the one that the
 * connection was told of at its start. Of a connected db; false when not connected. */
bool db_is_pooled(const struct db *db);
/* channel: a constant identifier. ST_INVALID behind a pooler, where LISTEN would stay behind in a session that others
 * get, and hear nothing; the connection is closed. */
int db_listen(struct db *db, const char *channel, struct errmsg *err) ATS_MUSTCHECK;
int db_fd(const struct db *db); /* for poll(); -1 when not connected */
/* Reads what has arrived; returns the number of notifications, or a negative status when the connection is gone. */
int db_notifications(struct db *db, struct errmsg *err);

#endif
