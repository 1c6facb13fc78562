/*
 * connector_page - what a connector says about itself (meta, see connector/meta.h), as people read it: a row of the
 * catalogue, a page of text, a settings example, a section of the manual atsyncd-connectors(7).
 *
 * Pure. Not for judging a module: an entry of connector_catalogue() has been checked already.
 */
#ifndef ATSYNC_CTL_CONNECTOR_PAGE_H
#define ATSYNC_CTL_CONNECTOR_PAGE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "lib/json.h"

/* {type, title, path, can, needs} with texts, for a table; of a module that cannot be loaded {type, path, error}. The
 * caller frees it. */
struct json *connector_page_row(const struct json *entry);
/* The same with lists: {type, title, path, can: [verbs], needs: {base_url, encryption_key: booleans, credentials,
 * settings: [names]}}, all of meta, and the example as a text. */
struct json *connector_page_json(const struct json *entry);

/* Lines of at most width characters. */
void connector_page_text(const struct json *entry, size_t width, struct buf *out);
/*
 * YAML for the configuration file: what must be there, and behind # what may be. A setting without a default gets a
 * value that its pattern accepts, or "…" if none of ours does.
 */
void connector_page_example(const struct json *meta, struct buf *out);
/* A subsection for mdoc(7). */
void connector_page_mdoc(const struct json *entry, struct buf *out);

#endif
