#include "ctl/advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"

/* Messages as libpq 15 and PostgreSQL 15 give them. */
static const struct {
    const char *message;
    const char *advice; /* how it begins; NULL: none */
} cases[] = {
    {"cannot connect to the database: connection to server on socket \"/var/run/postgresql/.s.PGSQL.5432\" failed: "
     "FATAL:  database \"atsync\" does not exist",
     "atsyncctl setup makes it"},
    {"cannot connect to the database: connection to server on socket \"/var/run/postgresql/.s.PGSQL.5432\" failed: "
     "FATAL:  role \"root\" does not exist",
     "run this as root or as the user of the daemon"},
    {"cannot connect to the database: connection to server on socket \"/var/run/postgresql/.s.PGSQL.5432\" failed: "
     "FATAL:  Peer authentication failed for user \"atsyncd\"",
     "run this as root or as the user of the daemon"},
    {"cannot connect to the database: connection to server on socket \"/var/run/postgresql/.s.PGSQL.5432\" failed: No "
     "such file or directory; \tIs the server running locally and accepting connections on that socket?",
     "is PostgreSQL running on this machine"},
    {"cannot connect to the database: connection to server at \"127.0.0.1\", port 5432 failed: Connection refused",
     "is PostgreSQL running there"},
    {"cannot connect to the database: could not translate host name \"db\" to address: Name or service not known",
     "is the host in database.conninfo spelt right"},
    {"cannot connect to the database: connection to server at \"127.0.0.1\", port 5432 failed: fe_sendauth: no "
     "password "
     "supplied",
     "the server wants a password"},
    {"migration: schema_version: permission denied for database atsync (SQLSTATE 42501)",
     "the role must be allowed to create the schema"},
    {"resync: permission denied for table candidate (SQLSTATE 42501)", "the role in database.conninfo may not do that"},
    {"cannot open conf/x: No such file or directory", NULL},
    {"nothing is known of candidate \"role\"", NULL},
    {"", NULL},
};

static void test_advice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *advice = advice_of(cases[i].message);

        print_message("case %zu\n", i);
        if (cases[i].advice)
            assert_true(advice && text_starts(advice, cases[i].advice));
        else
            assert_null(advice);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_advice)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
