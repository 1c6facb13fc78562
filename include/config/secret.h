/*
 * secret - values that must not be seen: given as text, or fetched from a file, the environment, or systemd's
 * credentials.
 *
 * Not for storing secrets in the database (see lib/crypto's seal). A value is wiped when freed.
 */
#ifndef ATSYNC_CONFIG_SECRET_H
#define ATSYNC_CONFIG_SECRET_H

#include "base/compiler.h"
#include "base/status.h"

enum secret_kind { SECRET_INLINE, SECRET_FILE, SECRET_ENV, SECRET_CREDENTIAL };

/* SECRET_FILE: ref is a path; SECRET_ENV: a variable; SECRET_CREDENTIAL: a file name below $CREDENTIALS_DIRECTORY. One
 * trailing newline is removed. Refused: empty values, NUL bytes, over 64 KiB, files that others can read or write
 * (except below $CREDENTIALS_DIRECTORY). *ret: free with mem_free_secret. The message names the reference, never the
 * value. */
int secret_load(enum secret_kind kind, const char *ref, char **ret, struct errmsg *err) ATS_MUSTCHECK;

#endif
