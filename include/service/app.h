/*
 * app - the daemon as a whole: order of start, reload and stop.
 */
#ifndef ATSYNC_SERVICE_APP_H
#define ATSYNC_SERVICE_APP_H

#include "base/compiler.h"

enum { EXIT_CLEAN = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78 };

/* Loads and checks configuration and connectors; prints the problems, or that there are none, to stdout/stderr. Returns
 * an exit status. */
int app_check(const char *config_path);
/* Runs until a signal ends it. Returns an exit status. */
int app_run(const char *config_path);

#endif
