/*
 * setup - the parts of `atsyncctl setup` that do not touch the database: which secrets the configuration names, making
 * those that are ours to make, and what to do where PostgreSQL does not answer.
 */
#ifndef ATSYNC_CTL_SETUP_H
#define ATSYNC_CTL_SETUP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "lib/yaml.h"

/* ---- secrets */

struct secret_file {
    const char *key;  /* "sources.popp.signing_secrets" */
    const char *path; /* in the configuration */
    bool is_ours;     /* any random text will do; otherwise somebody else gives it */
};
/* Every {file: PATH} of the configuration, in its order, in the arena. Pure. */
size_t setup_secret_files(const struct yaml *root, struct arena *arena, struct secret_file **ret);

/* Who can read a file: the user, by its own groups. */
struct file_reader {
    const char *name;
    uid_t uid;
    gid_t gid;
};
/*
 * Makes the file with 256 random bits in hexadecimal, all at once and never over another. As root it belongs to root
 * and can be read by the reader's group (0640), otherwise to us alone (0600). ST_CONFLICT: it is there.
 */
int setup_make_secret(const char *path, const struct file_reader *reader, struct errmsg *err) ATS_MUSTCHECK;
/* Whether this user can read a file that is there, its directory included. */
bool setup_can_read(const char *path, const struct file_reader *reader);

/* ---- a server that does not answer */

enum server_system { SYSTEM_DEBIAN, SYSTEM_FEDORA, SYSTEM_OTHER };
struct server_facts { /* of this machine */
    enum server_system system;
    bool is_installed;  /* the server's programs */
    bool has_cluster;   /* a directory of data */
    int version;        /* of the newest programs: 15; 0: not known */
    bool is_versioned;  /* Fedora with packages of the PostgreSQL project: the service is postgresql-15 */
    int answering_port; /* that a server listens on, other than the wanted one; 0: none */
};
/* root: "" for this machine; another directory in tests. wanted_port: where nobody answered. */
struct server_facts setup_look_at_server(const char *root, int wanted_port);
/* What to do, in lines that can be pasted. Pure; caller: mem_free. */
char *setup_server_advice(const struct server_facts *facts);

#endif
