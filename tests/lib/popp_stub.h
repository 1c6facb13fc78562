/*
 * popp_stub - Popp's API inside the test program, as far as atsyncd asks it.
 *
 *   GET /v1/workflow-runs/ID                          the run that was set, else 404
 *   GET /v1/candidate-profiles/by-external-id/ID      404
 * Both want the headers x-api-key (POPP_KEY, unless the rules say another) and x-organization-id; else 401.
 *
 * Thread: all functions from any thread.
 */
#ifndef ATSYNC_TESTS_POPP_STUB_H
#define ATSYNC_TESTS_POPP_STUB_H

#include <stdbool.h>

#include "base/compiler.h"

#define POPP_KEY "popp-api-key-4711"
#define POPP_ORGANIZATION "org_123456"

struct popp_rules {
    int status;              /* what everything is answered with; 0: as it should */
    const char *body;        /* with that, or instead of any run; NULL: none */
    const char *retry_after; /* with a status; NULL: none */
    const char *key;         /* the one that is accepted; NULL: POPP_KEY */
    bool hang;               /* requests are kept and never answered, until the rules change */
};
struct popp_figures {
    unsigned requests; /* for runs */
    unsigned refused;  /* among them: 401 */
    unsigned probes;
    unsigned held; /* now */
};

struct popp_stub;
struct popp_stub *popp_stub_start(void); /* ends the process if it cannot */
void popp_stub_stop(struct popp_stub *s);
unsigned popp_stub_port(const struct popp_stub *s);
void popp_stub_rules(struct popp_stub *s, const struct popp_rules *rules); /* from now on; lets go what was held */
void popp_stub_set(struct popp_stub *s, const char *run_id, const char *answer); /* as JSON */
struct popp_figures popp_stub_figures(struct popp_stub *s);
unsigned popp_stub_asked(struct popp_stub *s, const char *run_id); /* how often */

#endif
