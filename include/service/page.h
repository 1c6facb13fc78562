/*
 * page - the status page as HTML, made of what report says. It works without a script; the script (page/status.js)
 * draws the charts, keeps the figures fresh and switches the colours.
 *
 * Pure: JSON in, text out. Whatever comes from outside (candidates' ids, messages of an ATS, answers) is escaped: in
 * the templates here nothing else is possible.
 */
#ifndef ATSYNC_SERVICE_PAGE_H
#define ATSYNC_SERVICE_PAGE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "lib/json.h"

struct page_file {
    const char *name;
    const char *text;
};
extern const struct page_file page_files[]; /* src/service/page, embedded; ends with a name of NULL */

struct page_about {
    bool may_log_out;   /* there is a session to end */
    bool show_personal; /* admin.show_personal */
};

/* hours: what report_hours says; NULL without a database. */
void page_status(struct buf *out, const struct json *status, const struct json *hours, const struct page_about *about);
/* candidate: what report_candidate says. */
void page_candidate(struct buf *out, const struct json *candidate, const char *instance,
                    const struct page_about *about);
/* When the database does not answer, or the like. */
void page_failure(struct buf *out, const char *instance, const char *words, const char *reason,
                  const struct page_about *about);
void page_login(struct buf *out, const char *message); /* message NULL: the first attempt */

/* One of the files as it is, or NULL. */
const char *page_file(const char *name);

#endif
