/*
 * command - the commands of atsyncctl. Each is a function that gets its own arguments, argv[0] being "atsyncctl NAME" for messages, and
 * returns an exit status (service/app.h).
 *
 * With json the answer on standard output is one JSON text; messages about failures go to standard error in any case.
 */
#ifndef ATSYNC_CTL_COMMAND_H
#define ATSYNC_CTL_COMMAND_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "lib/json.h"

struct ctl {
    const char *config_path;
    bool json;
};

int ctl_migrate(const struct ctl *ctl, int argc, char **argv);
int ctl_check(const struct ctl *ctl, int argc, char **argv);
int ctl_send_sample(const struct ctl *ctl, int argc, char **argv);

/* ---- for the commands */
/* The configuration alone, connectors not looked at. On failure the problems are printed and *ret_status is what to end with. */
bool ctl_load_config(const struct ctl *ctl, struct config **ret, int *ret_status) ATS_MUSTCHECK;
int ctl_fail(const char *command, const struct errmsg *err);              /* prints; returns the exit status for a failure at run time */
int ctl_usage(const char *command, const char *fmt, ...) ATS_PRINTF(2, 3); /* prints what is wrong and where help is; returns the status */
void ctl_print_json(struct json *j);                                      /* prints and frees */

#endif
