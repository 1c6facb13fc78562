/*
 * issues - keeps the table of issues equal to what is wrong.
 */
#ifndef ATSYNC_STORE_ISSUES_H
#define ATSYNC_STORE_ISSUES_H

#include "base/compiler.h"
#include "base/status.h"
#include "domain/issue.h"
#include "store/store.h"

/*
 * What only this process can see (refused signatures, its machine's clock), besides what the database knows. Of several
 * daemons the others do not see it: an issue of ours is closed by whoever looks when nobody has told it for hold_ms.
 */
struct own_problems {
    const struct problem *items;
    size_t count;
    int64_t hold_ms;
};

/* Called once for each issue that was opened or closed by this call. */
typedef void (*issue_changed)(void *ctx, bool opened, const char *class, const char *connector, const char *message,
                              const char *hint);

/* Looks at everything, opens, updates and closes. mapping: for questions that no run answers any more. */
int store_issues_refresh(struct store *s, const struct mapping *mapping, const struct own_problems *own,
                         issue_changed changed, void *ctx, struct errmsg *err) ATS_MUSTCHECK;
/* Calls fn with each class and severity that has open issues. */
typedef void (*issue_count_fn)(void *ctx, const char *class, const char *severity, int64_t count);
int store_issues_open(struct store *s, issue_count_fn fn, void *ctx, struct errmsg *err) ATS_MUSTCHECK;

#endif
