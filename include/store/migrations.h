/*
 * migrations - the table of schema versions, generated from sql/migrations/NNN_name.sql at build time. Used in src/store and its tests only.
 */
#ifndef ATSYNC_STORE_MIGRATIONS_H
#define ATSYNC_STORE_MIGRATIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "store/store.h"

struct migration {
    int version;
    const char *name;
    bool breaking;   /* a daemon that does not know it must not work on the database */
    bool concurrent; /* its statements go outside a transaction, one by one, and may be repeated */
    const char *text;
};
extern const struct migration migrations[];
extern const unsigned migration_count;
/* The schema that they make, as sql/stmt/schema_catalog.sql tells it: generated from sql/schema.golden, which a test
 * compares with what they really make. */
extern const char schema_golden[];

/* The next statement of a concurrent migration: it ends with the first line that ends with ";". *at goes behind it; NULL when
 * none is left. */
const char *migration_statement(const char **at, size_t *ret_len);
/* store_migrate with other migrations than this release's own. */
int migrations_apply(struct store *s, const struct migration *list, unsigned count, bool dry_run,
                     void (*told)(void *ctx, const char *line), void *ctx, struct errmsg *err) ATS_MUSTCHECK;

#endif
