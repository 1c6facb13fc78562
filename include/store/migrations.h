/*
 * migrations - the table of schema versions, generated from sql/migrations/NNN_name.sql at build time. Used in src/store only.
 */
#ifndef ATSYNC_STORE_MIGRATIONS_H
#define ATSYNC_STORE_MIGRATIONS_H

#include <stdbool.h>

#include "base/compiler.h"

struct migration {
    int version;
    const char *name;
    bool breaking; /* a daemon that does not know it must not work on the database */
    const char *text;
};
extern const struct migration migrations[];
extern const unsigned migration_count;
/* The schema that they make, as sql/stmt/schema_catalog.sql tells it: generated from sql/schema.golden, which a test
 * compares with what they really make. */
extern const char schema_golden[];

#endif
