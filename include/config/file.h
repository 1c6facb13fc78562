/*
 * file - a small file as a text: configuration, secrets, certificates. Not for streams or large data.
 */
#ifndef ATSYNC_CONFIG_FILE_H
#define ATSYNC_CONFIG_FILE_H

#include <stddef.h>

#include "base/compiler.h"
#include "base/status.h"

/*
 * Reads a regular file whole. *ret is NUL-terminated (the NUL is not counted); free it with mem_free, after mem_wipe if
 * it is secret. *ret_mode (may be NULL) gets the permission bits. ST_NOT_FOUND, ST_IO, ST_INVALID if it is not a
 * regular file, ST_LIMIT over max_bytes, ST_DENIED if the file has one of the forbidden permission bits (0: anything
 * goes); the message names the path, never the contents.
 */
int file_read(const char *path, size_t max_bytes, unsigned forbidden_mode, char **ret, size_t *ret_len,
              unsigned *ret_mode, struct errmsg *err) ATS_MUSTCHECK;

#endif
