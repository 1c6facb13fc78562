/*
 * sealing - the keys of database.encryption_key, for what is kept encrypted in the database: the first seals, all open,
 * so that a key can be changed while old texts are still there.
 *
 * Without a key texts are sealed with one that everybody can make: that is no protection, and who needs one asks
 * sealing_protects first.
 *
 * Thread: never changes after sealing_new; any thread.
 */
#ifndef ATSYNC_CONFIG_SEALING_H
#define ATSYNC_CONFIG_SEALING_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"

struct sealing;
struct sealing *sealing_new(const struct config *c);
void sealing_free(struct sealing *s); /* wipes the keys; NULL is harmless */
bool sealing_protects(const struct sealing *s);
/* context: what the text belongs to; it opens there only. The caller frees the result: mem_free. */
char *sealing_seal(const struct sealing *s, const char *plain, const char *context);
/* *ret_plain: mem_free_secret. *ret_old (may be NULL): it was not sealed with the key that seals now. ST_INVALID: no key
 * opens it. */
int sealing_open(const struct sealing *s, const char *sealed, const char *context, char **ret_plain, bool *ret_old,
                 struct errmsg *err) ATS_MUSTCHECK;

#endif
