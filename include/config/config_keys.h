/*
 * config_keys - the table of keys, and what walks over it. For the config module only; everybody else uses config.h.
 *
 * A struct key is one row: where the key stands in the file (its parent's `children` or `entry`), its type, bounds,
 * default, whether a reload may change it, and where its value lives in the object that its parent fills. Reading
 * (config_read.c), comparing for a reload, freeing (config.c) and listing all walk the same rows.
 *
 * Glossary
 *   section   a map with fixed keys; its members live in the parent's object
 *   entries   a map whose keys are names chosen by the operator; each makes one item of an array
 *   entry     the row that describes such an item: a section, a plain value, or either of them
 */
#ifndef ATSYNC_CONFIG_CONFIG_KEYS_H
#define ATSYNC_CONFIG_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/text.h"
#include "config/config.h"
#include "lib/yaml.h"

struct key;

/* Where in the file we are; lives on the stack of the reader. */
struct key_path {
    const struct key_path *parent; /* NULL: the top */
    const char *name;              /* NULL: an element of a list, see index */
    size_t index;
};

void key_path_add(struct buf *out, const struct key_path *path);

struct config_reader {
    const char *file;
    struct config_problems *problems;
    bool inline_secret; /* the file itself holds a secret, first in this line */
    unsigned inline_secret_line;
};

/* Problems with the path as people write it: "connectors.greenhouse.retry.base", "sources.popp.signing_secrets[0]". */
void reader_problem(struct config_reader *r, unsigned line, const struct key_path *path, const char *fmt, ...)
    ATS_PRINTF(4, 5);
/* The text of a plain value; NULL, with a problem told, if node is null, a list or a map. */
const char *reader_scalar(struct config_reader *r, const struct key *key, const struct yaml *node,
                          const struct key_path *path);
void reader_inline_secret(struct config_reader *r, unsigned line);

struct key_choice {
    const char *name; /* NULL ends the list */
    int value;
};

/* How values of one kind are read, shown, compared and freed. `object` is what the key's offset counts from. */
struct key_type {
    const char *name;    /* for people: "duration" */
    const char *example; /* what a right value looks like; NULL if the name says it */
    bool secret;         /* never shown */
    void (*read)(struct config_reader *r, const struct key *key, const struct yaml *node, const struct key_path *path,
                 void *object);
    void (*show)(const struct key *key, const void *object, struct buf *out); /* for people and for comparing */
    bool (*same)(const struct key *key, const void *a, const void *b);        /* NULL: equal if they show equal */
    void (*release)(const struct key *key, void *object);                     /* NULL: nothing to free */
    void (*copy)(const struct key *key, void *to, const void *from); /* of types that a fixed key may have; else NULL */
};

struct key_entries {     /* where the array is, and what an item has besides its keys */
    size_t items, count; /* offsets in the parent's object */
    size_t item_size;
    size_t name; /* offset of `char *` in an item */
    size_t line; /* offset of `unsigned` in an item; NO_LINE if it has none */
};
#define NO_LINE SIZE_MAX

typedef void key_check(struct config_reader *r, const struct yaml *node, unsigned key_line, const struct key_path *path,
                       void *object);

struct key {
    const char *name;            /* NULL ends a table; of an entry: the placeholder for a name, "CONDITION" */
    const struct key_type *type; /* a plain value; together with children: either form */
    const struct key *children;  /* a section */
    const struct key *entry;     /* entries; with `entries` */
    struct key_entries entries;
    size_t offset, offset2; /* the value in its object; offset2 for types that fill two members. A row with
                               children is read only: they show, compare and free */
    int64_t min, max;       /* numbers: bounds in the unit of the member; texts: bytes; lists: of each text */
    const struct key_choice *choices;
    const char *fallback; /* the default as it would stand in the file; NULL: unset */
    bool required;
    bool fixed;                    /* only a restart can change it */
    const char *help;              /* one sentence */
    key_check *check;              /* rules between the keys of a section or an entry, called when they are read */
    void (*release)(void *object); /* of an entry: members that no row describes */
};

extern const struct key config_keys[]; /* the top of the file */

/* ---- types (config_types.c) */
extern const struct key_type type_text;
extern const struct key_type type_texts;
extern const struct key_type type_bool;
extern const struct key_type type_count;
extern const struct key_type type_duration;
extern const struct key_type type_size;
extern const struct key_type type_choice;
extern const struct key_type type_address;
extern const struct key_type type_address_or_none;
extern const struct key_type type_instance;
extern const struct key_type type_conninfo;
extern const struct key_type type_secret;
extern const struct key_type type_secrets;
extern const struct key_type type_secret_or_secrets;
extern const struct key_type type_pem;
extern const struct key_type type_pem_key;
extern const struct key_type type_file;
extern const struct key_type type_key_file;
extern const struct key_type type_url;
extern const struct key_type type_proxy;
extern const struct key_type type_rate;
extern const struct key_type type_scalar;
extern const struct key_type type_constant;
extern const struct key_type type_assessment;
extern const struct key_type type_score;
extern const struct key_type type_switch;

/* Members of objects by their offset, without casts between pointer types. */
void value_get(const void *object, size_t offset, void *ret, size_t size);
void value_put(void *object, size_t offset, const void *value, size_t size);
char *text_get(const void *object, size_t offset);
void text_put(void *object, size_t offset, char *s);

/* ---- reading (config_read.c) */
void config_read(struct config_reader *r, const struct yaml *root, struct config *c);

/* ---- rules between keys (config_check.c) */
bool address_is_loopback(const char *listen);
extern key_check check_admin;
extern key_check check_receiver_tls;
extern key_check check_receiver;
extern key_check check_delivery;
extern key_check check_source;
extern key_check check_signature;
extern key_check check_source_api;
extern key_check check_connector;
extern key_check check_retry;
extern key_check check_connector_tls;
extern key_check check_rule;
extern key_check check_field;
void release_rule(void *object);
void release_field(void *object);
void config_check(struct config_reader *r, const struct config *c, const struct yaml *root); /* across sections */

#endif
