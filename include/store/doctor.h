/*
 * doctor - what atsyncctl doctor asks the database: facts only, and none that takes long or changes anything. What they
 * mean is judged in ctl/doctor.h.
 *
 * Same rules as store.h. Facts are JSON, one object a row; the members are the columns of sql/stmt/doctor_<fact>.sql.
 */
#ifndef ATSYNC_STORE_DOCTOR_H
#define ATSYNC_STORE_DOCTOR_H

#include <stddef.h>

#include "base/compiler.h"
#include "base/status.h"
#include "lib/json.h"
#include "store/store.h"

enum doctor_fact { DOCTOR_SERVER, DOCTOR_HOLDERS, DOCTOR_TABLES, DOCTOR_INDEXES, DOCTOR_DAEMONS, DOCTOR_TOKENS };
/* An array of rows; DOCTOR_SERVER and DOCTOR_DAEMONS give one. The caller frees it. */
int store_doctor_ask(struct store *s, enum doctor_fact fact, struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
/* The same of senders. */
int store_doctor_ask_sources(struct store *s, const char *const *sources, size_t count, struct json **ret,
                             struct errmsg *err) ATS_MUSTCHECK;

/* What stands between us and the server. */
enum pooling {
    POOLING_NONE,
    POOLING_SESSION,     /* a server connection of our own, as far as can be seen */
    POOLING_TRANSACTION, /* shared with others between transactions */
    POOLING_STATEMENT,   /* no transactions at all: of no use to us */
};
/* other: a second connection by the same way. */
int store_doctor_pooling(struct store *s, struct store *other, enum pooling *ret, struct errmsg *err) ATS_MUSTCHECK;

/* The schema as it is, and as the migrations of this release make it: texts of sql/stmt/schema_catalog.sql. Caller:
 * mem_free; and nothing. */
int store_doctor_schema(struct store *s, char **ret, struct errmsg *err) ATS_MUSTCHECK;
const char *store_doctor_expected_schema(void);

#endif
