/*
 * setup - makes on a server what the daemon needs: its role, the role of readers, the database, the schema.
 *
 * What is there stays as it is, so everything can be repeated. Not for the daemon: who calls this is a superuser, or a
 * role that may make roles and databases. Same rules as store.h, but a database is not made in a transaction: after a
 * failure what was told is done, and the same call does the rest.
 */
#ifndef ATSYNC_STORE_SETUP_H
#define ATSYNC_STORE_SETUP_H

#include "base/buf.h"
#include "base/compiler.h"
#include "base/status.h"
#include "store/store.h"

#define SETUP_READER "atsync_reader"

struct setup_names {
    const char *role;     /* of the daemon */
    const char *database; /* the daemon's */
    const char *password; /* for a role that is made; NULL: none, it is let in by its OS user or a certificate */
};

enum setup_state { SETUP_WAS_THERE, SETUP_MADE, SETUP_CHANGED };
/* thing: role, database, privileges, owner, schema. detail: "" if there is nothing to say. */
typedef void (*setup_told)(void *ctx, enum setup_state state, const char *thing, const char *name, const char *detail);

/* A connection of an administrator; does not connect. */
struct store *store_new_at(const char *conninfo, const char *application_name);
/* ST_DENIED: this role may not; ST_INVALID: the server or a database that is there does not do. */
int store_setup_server(struct store *admin, const struct setup_names *names, setup_told told, void *ctx,
                       struct errmsg *err) ATS_MUSTCHECK;
/* admin is connected to the database itself. Afterwards the connection works as names->role. */
int store_setup_database(struct store *admin, const struct setup_names *names, setup_told told, void *ctx,
                         struct errmsg *err) ATS_MUSTCHECK;
/* Gives the views to the role of readers, as far as it does not see them; for the owner of the schema. The role is made by store_setup_server, or by whoever may. */
enum setup_reader { SETUP_READER_MISSING, SETUP_READER_SEES, SETUP_READER_SHOWN };
int store_show_to_reader(struct store *s, enum setup_reader *ret, struct errmsg *err) ATS_MUSTCHECK;
/* The same as a script for psql, for a superuser who wants to read it first. */
void store_setup_script(const struct setup_names *names, struct buf *out);

#endif
