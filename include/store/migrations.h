/*
 * migrations - the table of schema versions, generated from sql/migrations/NNN_name.sql at build time. Used by store/schema only.
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

#endif
