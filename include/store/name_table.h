/*
 * name_table - which external id the events told of each workflow id, for runs whose own events do not tell it.
 *
 * A table does not change once it is read: jobs keep the one that they were planned with, and their results are recorded by another thread while
 * the dispatcher has a newer one.
 */
#ifndef ATSYNC_STORE_NAME_TABLE_H
#define ATSYNC_STORE_NAME_TABLE_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/status.h"
#include "domain/event.h"
#include "domain/plan.h"
#include "store/store.h"

struct name_table;

/* Reads it from the database. *ret: name_table_unref. */
int name_table_read(struct store *s, struct name_table **ret, struct errmsg *err) ATS_MUSTCHECK;
struct name_table *name_table_ref(struct name_table *t); /* any thread; NULL is harmless, likewise below */
void name_table_unref(struct name_table *t);
/* The names of one source, as the plan asks for them; valid as long as the table and source. */
struct workflow_names name_table_of(struct name_table *t, const char *source);
/* Does the event tell an external id of a workflow that has none here, and is there room for it? */
bool name_table_lacks(const struct name_table *t, const char *source, const struct event *e);

#endif
