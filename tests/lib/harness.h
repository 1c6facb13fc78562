/*
 * harness - what the end-to-end and database tests stand on: a PostgreSQL of their own, the sandbox ATS, the daemon
 * under test as a separate process, a sender of signed webhooks, and questions with a deadline instead of sleeps.
 *
 * A test program has one cluster; every test in it gets an empty database, an empty sandbox and no daemon. When a test
 * fails, the logs of all that it started are printed. Whatever happens, nothing is left running: the children die with
 * the program, and the cluster is removed by its watcher.
 *
 *     E2E_TEST(stored_once)
 *     {
 *         struct program *d = daemon_start(h, NULL);
 *
 *         popp_deliver(h, d, popp_event(h, "run-completed", NULL));
 *         wait_ats(h, "ats_42", "jobs.182736.stage", "\"Recruiter screen\"");
 *         daemon_stop(h, d);
 *     }
 *     int main(void) { const struct CMUnitTest tests[] = {E2E_RUN(stored_once)}; return e2e_main(tests); }
 *
 * Every function fails the running test by itself when it cannot do its work; texts and trees that are returned live
 * until the test ends. One thread only.
 */
#ifndef ATSYNC_TESTS_HARNESS_H
#define ATSYNC_TESTS_HARNESS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "lib/json.h"

enum { POLL_MS = 20 };
/* How long anything may take: generous, as sanitizers and busy machines are slow; TEST_PATIENCE in the environment multiplies it, for
 * valgrind. Only failing tests wait this long. */
#define DEADLINE_MS (deadline_ms())
int deadline_ms(void);

#define E2E_SECRET "e2e-signing-secret-one"
#define E2E_SECRET_OLD "e2e-signing-secret-old"
#define E2E_TOKEN "e2e-sandbox-token"
#define E2E_JOB "182736"
/* Lines of a connector that every test wants; the default has E2E_RETRY too. */
#define E2E_CONNECTOR "rate_limit: 1000/1s\nconcurrency: 8\ntimeout: 5s\nallow_private_addresses: true\n"
#define E2E_RETRY "retry: {base: 50ms, cap: 500ms, max_age: 1h}\n"

struct program { /* a process under test */
    char *name;
    char *log_path;
    char *conf_path; /* daemons only */
    pid_t pid;       /* 0: not running */
    unsigned port;   /* daemon: receiver; sandbox: everything */
    unsigned admin_port;
    struct program *next;
};

struct harness {
    char *dir;      /* of this test program, removed at the end */
    char *conninfo; /* the database of this test */
    struct arena *arena;
    struct program *sandbox;
    struct harness_state *state;
};

/* ---- tests */
#define E2E_TEST(name)                                                                                                 \
    static void name##_body(struct harness *h);                                                                        \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        name##_body(*state);                                                                                           \
        harness_passed(*state);                                                                                        \
    }                                                                                                                  \
    static void name##_body(struct harness *h)
#define E2E_RUN(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int e2e_main_(const char *name, const struct CMUnitTest *tests, size_t count);
#define e2e_main(tests) e2e_main_(__FILE__, tests, sizeof(tests) / sizeof((tests)[0]))
int harness_setup(void **state);
int harness_teardown(void **state);
void harness_passed(struct harness *h);

/* ---- the daemon */
struct daemon_conf {       /* lines of YAML without indentation; NULL: the lines in the comment */
    const char *instance;  /* one */
    const char *listen;    /* 127.0.0.1: the receiver's address; its port is the daemon's */
    const char *receiver;  /* none, beside listen */
    const char *delivery;  /* lease: 2s, poll: 200ms */
    const char *source;    /* signing_secrets: [E2E_SECRET, E2E_SECRET_OLD] */
    const char *connector; /* E2E_CONNECTOR E2E_RETRY, beside type, base_url and credentials */
    const char *workflows; /* cedar-rgn-screening as in the documentation, on connector "sandbox" */
    const char *top;       /* none: further top-level keys */
    const char *conninfo;  /* h->conninfo */
    const char *base_url;  /* the sandbox */
    const char *type;      /* rest */
    const char *access;    /* credentials: {token: E2E_TOKEN} */
    const char *database;  /* none, beside conninfo */
    const char *admin;     /* none, beside listen */
};
/* Writes the configuration, brings the schema up to date, starts the daemon and waits until it is ready. conf NULL: all
 * defaults. */
struct program *daemon_start(struct harness *h, const struct daemon_conf *conf);
void daemon_start_again(struct harness *h, struct program *d); /* same configuration and ports */
/* Starts without waiting for readiness (the database is away, the configuration is bad). */
struct program *daemon_spawn(struct harness *h, const struct daemon_conf *conf);
void daemon_spawn_again(struct harness *h, struct program *d); /* likewise, one that has ended */
void daemon_wait_ready(struct harness *h, struct program *d);
void daemon_rewrite_conf(struct harness *h, struct program *d, const struct daemon_conf *conf); /* for SIGHUP */
void daemon_stop(struct harness *h, struct program *d); /* SIGTERM; must end with status 0 in time */
void daemon_kill(struct harness *h, struct program *d); /* SIGKILL */
/* Resident memory, the most until now. Before the programs are started: keep_little_freed_memory. */
int64_t program_memory_max_kib(const struct program *p);
void keep_little_freed_memory(void); /* else what a sanitizer keeps of freed memory hides what a program holds */
int program_wait(struct harness *h, struct program *p);                    /* exit status, or 128 + signal */
bool program_ended(struct harness *h, struct program *p, int *ret_status); /* the same without waiting */
const char *program_log(struct harness *h, const struct program *p);
void wait_log(struct harness *h, const struct program *p, const char *part); /* until the log holds it */
/* A file in the test's directory that its owner alone may read; takes the place of one of that name. Its path. */
const char *private_file(struct harness *h, const char *name, const char *text);
/* Starts any program ("/usr/bin/chromedriver", "--port=1", NULL); it ends with the test. */
struct program *program_start(struct harness *h, const char *name, ...) ATS_SENTINEL;
/* argv with what PROGRAM_RUNNER in the environment puts before our programs (valgrind with its options); itself if there is nothing. */
char **program_argv(struct harness *h, char **argv);
bool programs_are_run_by_another(
    void); /* is there anything? Then they are slow, and their memory is not only theirs. */
/* Runs a program of the build ("atsyncctl", "-c", …, NULL) to its end; output (may be NULL): stdout and stderr. */
int program_run(struct harness *h, const char **ret_output, const char *name, ...) ATS_SENTINEL;

/* The wall clock of programs started from now on is wrong by so much; 0: right again, as every test begins. */
void shift_clock(int64_t seconds);
/* To programs started from now on, 192.0.2.1 to 192.0.2.254 are public hosts, and who comes from 127.N.A.B comes from 2001:db8:0:N::A:B
 * (public_net.c); every test begins without. */
void make_public_net(bool there);
/* Programs started from now on look for secrets in the memory that they give back (leftovers.c says what is in the two files); NULL:
 * no more, as every test begins. */
void find_leftovers(const char *secrets_path, const char *report_path);

/* ---- HTTP */
struct http_answer {
    int status;       /* 0: the connection ended without an answer */
    const char *head; /* status line and header lines */
    const char *body;
    size_t body_len;
};
const char *http_header(struct harness *h, const struct http_answer *a, const char *name); /* NULL if it is not there */
/* headers: "Name: value\r\n…" or NULL; body NULL: none. A refused connection is status 0. */
struct http_answer http_call(struct harness *h, unsigned port, const char *method, const char *path,
                             const char *headers, const char *body, size_t len);
int http_open(struct harness *h, unsigned port); /* a socket with DEADLINE_MS for each read and write; -1: refused */
void http_write(struct harness *h, int fd, const void *bytes, size_t len);
struct http_answer http_read(struct harness *h, int fd); /* one answer; the socket stays open */
unsigned free_port(struct harness *h); /* below the ephemeral range, nobody else's until the program ends */

/* ---- Popp */
extern const char POPP_ABSENT[]; /* known by its address */
/*
 * A sample event ("run-completed") with an eventId of its own, changed by pairs of path and text, ended by NULL:
 *     "data.cancellationReason", "moved abroad"   a text
 *     "data.truncated:", "true"                   a JSON value
 *     "data.timestamp", POPP_ABSENT               the member is removed
 *     "candidate", "ats_7"                        the candidate: external id and profile id ("cp_ats_7"), wherever this
 * event has them "run", "run_7"                              the run "shift", "3600" seconds added to every time in it
 */
const char *popp_event(struct harness *h, const char *sample, ...) ATS_SENTINEL;
struct http_answer popp_post(struct harness *h, const struct program *d, const char *body); /* signed */
void popp_deliver(struct harness *h, const struct program *d, const char *body);            /* must be answered 200 */
char *popp_signature(const char *secret, const char *body, size_t len); /* value of x-signature; mem_free */

/* ---- the database */
const char *sql_text(struct harness *h, const char *query); /* one column, at most one row; NULL for none or null */
void sql_script(struct harness *h, const char *text);
void wait_sql(struct harness *h, const char *query,
              const char *expected);               /* as sql_text; expected NULL: none or null */
void pg_stop(struct harness *h, const char *mode); /* "fast" or "immediate" */
void pg_start(struct harness *h);

/* ---- the ATS */
const char *ats_get(struct harness *h, const char *path); /* body of an answer 200 of the control API */
void ats_control(struct harness *h, const char *method, const char *path, const char *json); /* must succeed */
void ats_fault(struct harness *h, const char *json);
void ats_stop(struct harness *h);  /* SIGTERM: the ATS is away */
void ats_start(struct harness *h); /* on the same port, empty */
/* A part of a candidate's record as JSON text, "null" where it is not: "jobs.182736.stage", "tags", "notes.0.body". */
const char *ats_value(struct harness *h, const char *candidate, const char *path);
void wait_ats(struct harness *h, const char *candidate, const char *path, const char *expected_json);
/* How many requests about this candidate had this method (NULL: any) and a path that ends so (NULL: any). */
unsigned ats_calls(struct harness *h, const char *candidate, const char *method, const char *path_end);
void wait_ats_calls(struct harness *h, const char *candidate, const char *method, const char *path_end,
                    unsigned at_least);
int64_t ats_figure(struct harness *h, const char *name); /* of /_sandbox/stats */

/* ---- JSON and waiting */
const struct json *json_of(struct harness *h, const char *text);
const struct json *json_at(const struct json *j,
                           const char *path); /* "data.nodes.0.outcome"; NULL if it is not there */
bool text_has(const char *text, const char *part);
unsigned text_count(const char *text, const char *part);
/* Asks until yes, with the deadline; what: for the message. */
void wait_until(struct harness *h, bool (*yes)(struct harness *h, void *arg), void *arg, const char *what);

#endif
