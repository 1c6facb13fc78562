/*
 * command - the commands of atsyncctl. Each is a function that gets its own arguments, argv[0] being "atsyncctl NAME"
 * for messages, and returns an exit status (service/app.h).
 *
 * With json the answer on standard output is one JSON text; messages about failures go to standard error in any case.
 */
#ifndef ATSYNC_CTL_COMMAND_H
#define ATSYNC_CTL_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "lib/json.h"
#include "store/store.h"

struct ctl {
    const char *config_path;
    bool json;
};

int ctl_setup(const struct ctl *ctl, int argc, char **argv);
int ctl_migrate(const struct ctl *ctl, int argc, char **argv);
int ctl_check(const struct ctl *ctl, int argc, char **argv);
int ctl_doctor(const struct ctl *ctl, int argc, char **argv);
int ctl_send_sample(const struct ctl *ctl, int argc, char **argv);
int ctl_import(const struct ctl *ctl, int argc, char **argv);
int ctl_plan(const struct ctl *ctl, int argc, char **argv);
int ctl_link(const struct ctl *ctl, int argc, char **argv);
int ctl_erase(const struct ctl *ctl, int argc, char **argv);
int ctl_resync(const struct ctl *ctl, int argc, char **argv);
int ctl_retry(const struct ctl *ctl, int argc, char **argv);
int ctl_skip(const struct ctl *ctl, int argc, char **argv);
int ctl_pause(const struct ctl *ctl, int argc, char **argv);
int ctl_resume(const struct ctl *ctl, int argc, char **argv);
int ctl_status(const struct ctl *ctl, int argc, char **argv);
int ctl_issues(const struct ctl *ctl, int argc, char **argv);
int ctl_tail(const struct ctl *ctl, int argc, char **argv);
int ctl_connectors(const struct ctl *ctl, int argc, char **argv);
int ctl_connector_test(const struct ctl *ctl, int argc, char **argv);

/* ---- for the commands */
/* The configuration alone, connectors not looked at. On failure the problems are printed and *ret_status is what to end
 * with. */
bool ctl_load_config(const struct ctl *ctl, struct config **ret, int *ret_status) ATS_MUSTCHECK;
/* The same for who asks only the database: secrets that are in the daemon's environment, or credentials of its unit, may be missing. */
bool ctl_load_config_without_secrets(const struct ctl *ctl, struct config **ret, int *ret_status) ATS_MUSTCHECK;
/* Prints, with what to do about it where that is known (ctl/advice.h); returns the exit status for a failure at run
 * time. */
int ctl_fail(const char *command, const struct errmsg *err);
/* Prints what is wrong and where help is; returns the exit status. */
int ctl_usage(const char *command, const char *fmt, ...) ATS_PRINTF(2, 3);
/* As getopt_long without its messages: '?' after it has said what is wrong with the option (and where help is), and
 * then the status to end with is EXIT_USAGE. */
struct option;
int ctl_next_option(int argc, char **argv, const char *short_options, const struct option *options);
/* Prints and frees. */
void ctl_print_json(struct json *j);
void ctl_print_json_part(const struct json *j); /* likewise without freeing and without the end of the line */
/* The configuration, perhaps without secrets, and a connection to a database whose schema fits. Otherwise says why not, and *ret_status is what
 * to end with. */
bool ctl_open(const struct ctl *ctl, const char *command, struct config **ret_config, struct store **ret_store,
              int *ret_status) ATS_MUSTCHECK;
/*
 * Connects, if that is not done. As root, and where conninfo names no user, it is the OS user of the daemon that
 * connects: peer authentication lets that one in, not root. Everything else stays with root, files above all.
 */
#define CTL_DAEMON_USER "atsyncd"
int ctl_connect(const struct config *c, struct store *s, struct errmsg *err) ATS_MUSTCHECK;
int ctl_connect_by(const char *conninfo, struct store *s, struct errmsg *err) ATS_MUSTCHECK; /* the same */
/* Connects as this OS user, which takes root; NULL: as we are. */
int ctl_connect_as(const char *os_user, struct store *s, struct errmsg *err) ATS_MUSTCHECK;
/* "2026-04-28T10:45:00Z", or "2h", "3d" back from the database's time. ST_INVALID says how to write it. */
int ctl_since(struct store *s, const char *text, int64_t *ret_us, struct errmsg *err) ATS_MUSTCHECK;
/* name NULL: the only source. ST_NOT_FOUND, ST_INVALID with what to do. */
int ctl_find_source(const struct config *c, const char *name, const struct source_config **ret,
                    struct errmsg *err) ATS_MUSTCHECK;
/*
 * For what cannot be undone: says what will be touched ("This will give up on 12 dead writes.") and asks whether to go
 * on. CTL_GO_ON, or the status to end with: 1 after a no, 2 where nobody is there to ask (standard input is no
 * terminal) and --yes was not given.
 */
enum { CTL_GO_ON = -1 };
int ctl_confirm(const char *command, bool yes, const char *sentence) ATS_MUSTCHECK;
/* Says that there is no such connector, and the likely one; returns the status. */
int ctl_unknown_connector(const char *command, const struct config *c, const char *name);

#endif
