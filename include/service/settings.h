/*
 * settings - the configuration together with the connectors that it names, as every program needs them.
 */
#ifndef ATSYNC_SERVICE_SETTINGS_H
#define ATSYNC_SERVICE_SETTINGS_H

#include "base/buf.h"
#include "base/compiler.h"
#include "config/config.h"
#include "connector/module.h"

#define SETTINGS_DEFAULT_PATH ATSYNC_SYSCONFDIR "/atsyncd/atsyncd.conf"

/* Both or nothing. On failure (ST_INVALID, ST_IO) all problems are appended to problems, one "FILE:LINE: message" a
 * line. */
int settings_load(const char *path, struct config **ret_config, struct connector_set **ret_connectors,
                  struct buf *problems) ATS_MUSTCHECK;
/* The same for a reload: keys that only a restart can change are as in `before`, and told in kept (config_keep_fixed). */
int settings_load_again(const char *path, const struct config *before, struct config **ret_config,
                        struct connector_set **ret_connectors, struct buf *problems, struct buf *kept) ATS_MUSTCHECK;

#endif
