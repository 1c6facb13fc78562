/*
 * config - the configuration file as one immutable, reference-counted object.
 *
 * One table of keys (config_keys.c) feeds the parser, types, bounds, defaults, the reload flag and `config_each_key`,
 * by which a test checks that the sample file and the man page name every key. All problems of a file are found in one
 * go. Not for connector knowledge: connector/validate checks types, settings and abilities and adds its findings to the
 * same list.
 *
 * Thread: a struct config never changes after config_load; share it with config_ref / config_unref from any thread.
 */
#ifndef ATSYNC_CONFIG_CONFIG_H
#define ATSYNC_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/status.h"
#include "domain/mapping.h"
#include "domain/signature.h"

struct receiver_config {
    char *listen;
    char *tls_certificate_file; /* NULL: plain HTTP; both or none */
    char *tls_key_file;
    char *tls_certificate_pem; /* contents, read at load */
    char *tls_key_pem;
    int64_t max_body_bytes;
    int64_t max_body_total_bytes;
    int64_t max_connections;
    int64_t max_connections_per_address; /* 0: no limit */
    int64_t request_timeout_ms;
    int64_t queue_max_events; /* events that may wait for the database before 503 is answered */
};

struct admin_config {
    char *listen; /* NULL: off ("none") */
    char *token;  /* NULL: none; required for an address other than loopback */
    bool show_personal;
};

struct database_config {
    char *conninfo;
    char *listen_conninfo;  /* a direct connection for wake-ups, when conninfo goes through a pooler; NULL: conninfo */
    char **encryption_keys; /* the first one seals, all open; any texts of 16 characters or more, hashed to the keys */
    size_t encryption_key_count; /* 0: none */
    int64_t statement_timeout_ms;
};

struct source_api { /* Popp's API, which runs are completed from */
    char *key;      /* NULL: it is not asked */
    char *base_url;
    char *organization; /* NULL: the source's only one */
    char *run_path;
    char *probe_path;
    char *answer; /* a jq program; NULL: the answer as it is */
    int64_t after_ms;
    int64_t rate_count, rate_per_ms;
    int64_t per_day;
    int64_t timeout_ms;
    char *proxy;
};

struct source_config {
    char *name;
    unsigned line;
    char **organizations; /* empty: any */
    size_t organization_count;
    struct signature_config signature; /* secrets are owned by the config */
    size_t secret_count;
    char **secrets;
    struct source_api api;
};

struct named_value { /* a setting or a credential */
    char *name;
    char *value; /* text; numbers and booleans as written */
    unsigned line;
};

struct connector_config {
    char *name;
    unsigned line;
    char *type;
    unsigned type_line;
    char *base_url; /* NULL: the type's own */
    struct named_value *credentials;
    size_t credential_count;
    struct named_value *settings;
    size_t setting_count;
    int64_t rate_count; /* 0: the type's own */
    int64_t rate_per_ms;
    int64_t concurrency; /* 0: the type's own */
    int64_t timeout_ms;  /* 0: the type's own */
    int64_t retry_base_ms, retry_cap_ms, retry_max_age_ms;
    bool hold_uncertain; /* on_uncertain: hold */
    char *ca_file, *client_certificate_file, *client_key_file, *proxy;
    bool allow_private_addresses;
};

enum { DELIVERY_WORKERS_MAX = 16 };
struct delivery_config {
    bool enabled;              /* false: this daemon only receives */
    int64_t lease_ms;          /* how long a candidate belongs to a daemon that says nothing */
    int64_t poll_ms;           /* safety net beside the wake-ups */
    int64_t slots;             /* candidates in work at once, of each worker */
    int64_t workers;           /* dispatchers of this daemon */
    int64_t max_history_bytes; /* of the events of one candidate */
};

struct config {
    char *path;
    char *instance;
    struct receiver_config receiver;
    struct admin_config admin;
    struct database_config database;
    struct delivery_config delivery;
    struct source_config *sources;
    size_t source_count;
    struct connector_config *connectors;
    size_t connector_count;
    struct mapping mapping;
    int64_t retention_events_ms;
    int64_t retention_calls_ms;
    int64_t retention_ids_ms; /* if that is shorter than of events: as long as these */
    enum log_level log_level;
    enum log_format log_format;
};

/* What is wrong with a file, in the order of its lines. */
struct config_problem {
    char *file;
    unsigned line; /* 0: concerns the file as a whole */
    char *path;    /* "receiver.max_body"; "" if none */
    char *message;
    bool is_absent_secret; /* {env} or {credential}: the daemon's unit may have what a shell has not */
};
struct config_problems {
    struct config_problem *items;
    size_t count;
};
void config_problem_add(struct config_problems *p, const char *file, unsigned line, const char *path, const char *fmt,
                        ...) ATS_PRINTF(5, 6);
void config_problems_sort(struct config_problems *p);
/* Is that all: secrets that are not there, and none that is needed for the database? */
bool config_problems_only_absent_secrets(const struct config_problems *p);
/* Is there one with this key or a key below it? */
bool config_problems_concern(const struct config_problems *p, const char *path);
void config_problems_print(const struct config_problems *p,
                           struct buf *out); /* one "FILE:LINE: path: message" a line */
void config_problems_clear(struct config_problems *p);

/* ST_OK with *ret (one reference), or ST_INVALID / ST_IO with at least one problem. Secrets and certificates are read
 * here. */
int config_load(const char *path, struct config **ret, struct config_problems *problems) ATS_MUSTCHECK;
/* The same, but with ST_INVALID *ret holds what could be read, if anything could (otherwise it stays as it was): for checks that find further problems, and for
 * who needs no secrets if nothing else is wrong (config_problems_only_absent_secrets). Otherwise members that are required, and names that something refers to, may be missing in it. */
int config_load_partly(const char *path, struct config **ret, struct config_problems *problems) ATS_MUSTCHECK;
/* The same from text; path is for messages (unit tests, fuzzing). */
int config_parse(const char *path, const char *text, size_t len, struct config **ret,
                 struct config_problems *problems) ATS_MUSTCHECK;
struct config *config_ref(struct config *c);
void config_unref(struct config *c); /* the last one wipes secrets; NULL is harmless */

const struct source_config *config_source(const struct config *c, const char *name);       /* or NULL */
const struct connector_config *config_connector(const struct config *c, const char *name); /* or NULL */
int64_t
config_max_history_bytes(const struct config *c); /* delivery.max_history, but room for two of the largest events */
/* A short digest of what a connector needs to be let in (type, base_url, credentials, settings, TLS): tells whether that changed. */
enum { CONFIG_FINGERPRINT_BYTES = 17 };
void config_connector_fingerprint(const struct connector_config *c, char ret[CONFIG_FINGERPRINT_BYTES]);
/* The same over all that decides what is written at the connector: that, and the mapping of its workflows. */
void config_mapping_fingerprint(const struct config *config, const struct connector_config *c,
                                char ret[CONFIG_FINGERPRINT_BYTES]);
const char *config_api_organization(const struct source_config *s); /* NULL when there is no API */
/* The same of what decides how a source's API answers. */
void config_api_fingerprint(const struct source_config *s, char ret[CONFIG_FINGERPRINT_BYTES]);
const char *config_value(const struct named_value *values, size_t count, const char *name); /* or NULL */

/* Appends one "path: old -> new" a line for each difference (secrets as "changed") to out. */
void config_diff(const struct config *before, const struct config *after, struct buf *out);
/*
 * What only a restart can change (listen addresses, conninfo, instance, …) becomes what it is in `before`, and what
 * cannot be without it: a listener that others can reach keeps its token. Appends these differences to kept, as
 * config_diff does. `after` is fresh from config_load and not shared yet.
 */
void config_keep_fixed(struct config *after, const struct config *before, struct buf *kept);

/* The table of keys: fn is called for each in order of the file. */
struct config_key_info {
    const char *path;     /* "connectors.NAME.retry.base" */
    const char *type;     /* "duration", "size", "text", … */
    const char *fallback; /* default as text, or NULL */
    bool required;        /* if its section or entry is there */
    bool reloadable;
    const char *help; /* one sentence */
};
void config_each_key(void (*fn)(void *ctx, const struct config_key_info *info), void *ctx);

#endif
