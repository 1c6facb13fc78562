#include "ctl/advice.h"

#define AS_THE_DAEMON                                                                                                  \
    "run this as root or as the user of the daemon (runuser -u atsyncd -- atsyncctl ...), or name a user in "          \
    "database.conninfo; atsyncctl setup makes the role"

/* The first row whose parts are all in the message. */
static const struct {
    const char *part, *second;
    const char *advice;
} rows[] = {
    {"database \"", "\" does not exist", "atsyncctl setup makes it"},
    {"role \"", "\" does not exist", AS_THE_DAEMON},
    {"Peer authentication failed", NULL, AS_THE_DAEMON},
    {"Ident authentication failed", NULL,
     "the server asks an ident service, as some Fedora releases do for 127.0.0.1: leave host out of database.conninfo "
     "to go through the socket, or set scram-sha-256 and a password for this user in pg_hba.conf"},
    {"password authentication failed", NULL,
     "is the password right that database.conninfo, its passfile or PGPASSWORD gives?"},
    {"no password supplied", NULL,
     "the server wants a password: put it into a password file and name that with passfile=PATH in database.conninfo"},
    {"no pg_hba.conf entry", NULL,
     "the server does not let this user in from here: add a line to its pg_hba.conf and reload it"},
    {"could not translate host name", NULL,
     "is the host in database.conninfo spelt right, and does name service work on this machine?"},
    {"Connection refused", NULL,
     "is PostgreSQL running there (systemctl status postgresql), and on that port? atsyncctl setup says more"},
    {"connection to server on socket", "No such file or directory",
     "is PostgreSQL running on this machine (systemctl status postgresql)? atsyncctl setup says more"},
    {"timeout expired", NULL, "is the host in database.conninfo right, and does a firewall let this machine through?"},
    {"too many clients", NULL, "raise max_connections of the server, or put a pooler between"},
    {"remaining connection slots", NULL, "raise max_connections of the server, or put a pooler between"},
    {"too many connections for", NULL,
     "raise the connection limit of the role or the database (alter role, alter database)"},
    {"server does not support SSL", NULL,
     "leave sslmode=require and stronger out of database.conninfo, or enable ssl there"},
    {"certificate verify failed", NULL,
     "is sslrootcert in database.conninfo the authority that signed the server's certificate?"},
    {"permission denied for database", NULL,
     "the role must be allowed to create the schema: atsyncctl setup, or grant create on database ... to ..."},
    {"SQLSTATE 42501", NULL, "the role in database.conninfo may not do that: atsyncctl setup gives it what it needs"},
    {"SQLSTATE 53100", NULL, "free space on the disk of the database; nothing that was answered with 200 is lost"},
    {"session is read-only", NULL, "every server in database.conninfo is a standby: is there a primary?"},
};

const char *advice_of(const char *message)
{
    for (size_t i = 0; i < ATS_COUNT(rows); i++) {
        const char *at = strstr(message, rows[i].part);

        if (at && (!rows[i].second || strstr(at, rows[i].second))) {
            return rows[i].advice;
        }
    }
    return NULL;
}
