/*
 * report - what the status page and its JSON say (atsyncd(8), "Status as JSON"): the answers of the views, put
 * together.
 *
 * Figures that cost something are kept for a while: for ten times as long as it took to get them, so that any number of
 * people who look cost the database no more than a tenth of one connection's time. On a small database that is next to
 * nothing, and the answer is fresh.
 *
 * Thread: one at a time.
 */
#ifndef ATSYNC_SERVICE_REPORT_H
#define ATSYNC_SERVICE_REPORT_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/status.h"
#include "config/config.h"
#include "connector/module.h"
#include "lib/json.h"
#include "store/store.h"

struct report;

struct report *report_new(struct config *c);                  /* with a database connection of its own */
void report_free(struct report *r);                           /* NULL is harmless */
void report_reload(struct report *r, const struct config *c); /* any thread */

/* What a report is about, besides the database. */
struct report_about {
    struct config *config;
    struct connector_set *connectors;
    int64_t started_us;
    bool ready;
    const char *reason; /* why not */
};

/* The trees live until the next call of any function here. Without a database the status says so; what cannot be known
 * then is absent. */
const struct json *report_status(struct report *r, const struct report_about *about);
/* The last 24 hours: by minute, or by hour. */
int report_activity(struct report *r, const struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
int report_hours(struct report *r, const struct json **ret, struct errmsg *err) ATS_MUSTCHECK;
/* words: an external id, a profile's or run's id, a reference. personal: with answers, e-mail, phone and the values of
 * writes. */
int report_candidate(struct report *r, const struct config *c, const char *words, bool personal,
                     const struct json **ret, struct errmsg *err) ATS_MUSTCHECK;

#endif
