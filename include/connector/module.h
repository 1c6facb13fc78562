/*
 * module - one ATS as a jq file: finding it, loading it, what it says about itself (`meta`, see connector/meta.h), and
 * whether a configuration fits it.
 *
 * A module is data and pure functions; nothing here makes a call. Files are looked for in the directory "connectors"
 * beside the configuration file, then, when the program runs from a build tree, in that tree's conf/connectors, then in
 * the program's data directory. The first found wins, so that a user's own module overrides a shipped one.
 *
 * Thread: a struct connector_module is immutable and shared; a struct connector_vm (the compiled program) belongs to
 * one thread.
 */
#ifndef ATSYNC_CONNECTOR_MODULE_H
#define ATSYNC_CONNECTOR_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "domain/plan.h"
#include "lib/json.h"

struct connector_module;

/* config_path: of the configuration file, may be NULL. Compiles to read meta, checks its shape and that the functions
 * that it promises exist: ST_NOT_FOUND names the places looked at, ST_INVALID has file and line. */
int connector_module_load(const char *config_path, const char *type, struct connector_module **ret,
                          struct errmsg *err) ATS_MUSTCHECK;
struct connector_module *connector_module_ref(struct connector_module *m);
void connector_module_unref(struct connector_module *m); /* NULL is harmless */

const char *connector_module_type(const struct connector_module *m);
const char *connector_module_path(const struct connector_module *m);
const struct json *connector_module_meta(const struct connector_module *m);
/* The file's text, and the program made of it: its input is {fn: NAME, ctx: INPUT}, its output what the function NAME
 * makes of INPUT. */
const char *connector_module_source(const struct connector_module *m);
const char *connector_module_program(const struct connector_module *m);
/* Whether the program has this function: a verb of capabilities, find_marker, classify, probe, meta. */
bool connector_module_has(const struct connector_module *m, const char *function);

/* The verb that carries out writes of a kind: fields tags assessment stage reject note. */
const char *connector_verb(enum write_kind kind);
bool connector_module_can(const struct connector_module *m, enum write_kind kind);
bool connector_module_can_find_marker(const struct connector_module *m);
/* Fields and tags may go out several in one call ("batch" in meta), others one by one. */
bool connector_module_batches(const struct connector_module *m, enum write_kind kind);

/* How fast and how, from the configuration, else from meta, else what suits anybody. */
struct connector_limits {
    int64_t rate_count;           /* requests … */
    int64_t rate_per_ms;          /* … per this time */
    int64_t per_day;              /* 0: no quota. From midnight to midnight UTC */
    const char *remaining_header; /* in lower case; NULL: the vendor does not tell. Lives as long as the module */
    int64_t concurrency;
    int64_t timeout_ms;
    bool http1_only;
    const char *redirect_hosts; /* as httpc wants them, or NULL; lives as long as the module */
};
struct connector_limits connector_limits_of(const struct connector_module *m, const struct connector_config *connector);

/* All the modules that a configuration names, loaded once; also what the dispatcher uses. */
struct connector_set;
/* Loads every connector's module and checks the whole configuration against them: settings and credentials that meta
 * asks for or does not know, base_url, abilities and values for every action that a mapping uses. Problems are added to
 * the list (ST_INVALID then, *ret untouched). */
int connector_set_load(const struct config *c, struct connector_set **ret,
                       struct config_problems *problems) ATS_MUSTCHECK;
struct connector_set *connector_set_ref(struct connector_set *s);
void connector_set_unref(struct connector_set *s); /* NULL is harmless */
struct connector_module *connector_set_find(const struct connector_set *s,
                                            const char *connector_name); /* or NULL; borrowed */

/* All modules that can be found (for `atsyncctl connectors`), by type: a JSON array of {type, path, meta}; {type, path,
 * error} for one that cannot be loaded. */
struct json *connector_catalogue(const char *config_path);

#endif
