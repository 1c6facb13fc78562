/*
 * erase - deletes what is stored of one person and leaves hashes of the names, so that what comes later is not kept (store_ingest).
 *
 * A person is what one external id of a source stands for, with all profiles, runs and contacts that belong to nobody else; or, while no external id is known, what
 * stands under one profile, run or contact. What two external ids claim belongs to neither and is left alone.
 *
 * Not for what is not in the database: the ATS, the log, backups. Same rules as store.h. Everything goes in one transaction, during which no event is stored
 * (milliseconds); results of calls that are under way when it ends find nothing to be recorded at.
 */
#ifndef ATSYNC_STORE_ERASE_H
#define ATSYNC_STORE_ERASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "store/store.h"

enum erase_table {
    ERASE_EVENT,
    ERASE_RUN, /* answers are in it */
    ERASE_ATS_WRITE,
    ERASE_ATS_CALL,
    ERASE_CONTACT_RESOLUTION,
    ERASE_IDENTITY,
    ERASE_CANDIDATE,
    ERASE_ISSUE,
    ERASE_TABLES,
};
const char *erase_table_name(enum erase_table table);

struct erase_person {
    const char *source;
    const char *ref;         /* "x:ats_42", or "p:cp_1" and the like */
    const char *external_id; /* NULL: none is known */
};

/* Sources that anything is stored of. In the arena. */
int store_erase_sources(struct store *s, struct arena *arena, const char *const **ret, size_t *ret_count,
                        struct errmsg *err) ATS_MUSTCHECK;
/*
 * Whom a name means (subject_key: x, p, r or c). ST_CONFLICT: two external ids claim it, with what to do. Whether anything is stored is not looked at. In the
 * arena; source and name are borrowed.
 */
int store_erase_whose(struct store *s, const char *source, const char *name, const char *external_id,
                      struct arena *arena, struct erase_person *ret, struct errmsg *err) ATS_MUSTCHECK;

struct erasure {
    int64_t rows[ERASE_TABLES];
    int64_t total;
    const char *const *names; /* that the person is known by, without events */
    size_t name_count;
    const char *const *shared; /* names that somebody else claims too: left alone */
    size_t shared_count;
    const char *worker; /* the daemon that works on the person now: a call may be under way; NULL: none */
    int64_t worker_s;   /* for so long at most */
    int64_t erased_us;  /* when the person was erased before; INT64_MIN: never */
};

/* How far the look through events of nobody is; called now and then. */
typedef void (*erase_progress)(void *ctx, int64_t events);

/*
 * preview: everything is found, counted, and left as it is. Events of other families that hold one of the person's ids or addresses, under nobody's name, are
 * looked for first, outside the transaction; that reads all of them, and may take long. In the arena.
 */
int store_erase(struct store *s, const struct erase_person *who, bool preview, erase_progress progress, void *ctx,
                struct arena *arena, struct erasure *ret, struct errmsg *err) ATS_MUSTCHECK;
/*
 * After store_ingest: events of erased people may have told a run or profile that was not known to be theirs; what is stored under these goes too. Nothing is
 * done where that is not so. When it fails, the events are to be stored again, as if that had failed.
 */
int store_erase_told(struct store *s, const struct ingest_event *events, size_t count,
                     struct errmsg *err) ATS_MUSTCHECK;
/* What the planner noted of the values of columns is noted anew. May take seconds. */
int store_erase_statistics(struct store *s, struct errmsg *err) ATS_MUSTCHECK;

#endif
