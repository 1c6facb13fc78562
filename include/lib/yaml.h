/*
 * yaml - a YAML document as a tree with line numbers (the only file that knows libyaml).
 *
 * Not a general YAML reader: one document, anchors and aliases, tags and merge keys are refused (they hide where a
 * value comes from). A repeated key is kept and marked, so that a caller can name all of them in one go.
 * Limits: 1 MiB of text, 64 levels, 100,000 nodes.
 *
 * The functions are called yaml_tree_*, because libyaml exports yaml_free and others: a function of that name in the
 * program would replace the library's own.
 */
#ifndef ATSYNC_LIB_YAML_H
#define ATSYNC_LIB_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/status.h"

enum { YAML_TEXT_MAX_BYTES = 1024 * 1024 };

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_SEQ };

struct yaml {
    enum yaml_kind kind;
    unsigned line; /* from 1: where the node begins */
    char *scalar;  /* YAML_SCALAR: its text, never with a NUL inside */
    bool quoted;   /* YAML_SCALAR: in quotes or a block, so it is text even if it looks like a number or null */
    size_t count;  /* children */
    struct yaml_item *items;
};

struct yaml_item {
    char *key; /* YAML_MAP only */
    unsigned key_line;
    unsigned first_line; /* not 0: the same key came before, in this line */
    struct yaml *value;
};

/* Parses text. On failure ST_INVALID, or ST_LIMIT; *ret_line is the line and err the reason, which never quotes the
 * text (it may be a secret). The tree is freed as a whole by yaml_tree_free. An empty document is an empty map. */
int yaml_tree_parse(const char *text, size_t len, struct yaml **ret, unsigned *ret_line,
                    struct errmsg *err) ATS_MUSTCHECK;
void yaml_tree_free(struct yaml *root); /* root only; wipes the scalars, which may be secrets; NULL is harmless */
/* The value of the first such key; NULL if absent, or map is NULL or not a map. */
const struct yaml *yaml_tree_get(const struct yaml *map, const char *key);
/* A plain scalar that YAML 1.2's core schema reads as null: empty, ~, null, Null, NULL. */
bool yaml_tree_is_null(const struct yaml *n);

#endif
