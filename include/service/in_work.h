/*
 * in_work - the jobs of a dispatcher that are with delivery or the recorder, and not yet recorded.
 *
 * Some of them went ahead of their record: what the plan phase knows of them is recorded with the results, by the recorder, or here when their calls take long,
 * so that the views know of the runs.
 */
#ifndef ATSYNC_SERVICE_IN_WORK_H
#define ATSYNC_SERVICE_IN_WORK_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "service/delivery.h"
#include "store/store.h"

struct in_work;

struct in_work *in_work_new(void);
void in_work_free(struct in_work *w); /* the jobs are others'; NULL is harmless */

/* plan: what is to be recorded of it, when it goes ahead, valid as long as the job; NULL: it is recorded. Before it is handed over. The dispatcher's thread. */
void in_work_add(struct in_work *w, struct job *job, const struct record *plan);
void in_work_remove(struct in_work *w, struct job *job); /* it is recorded, with its plan; any thread */
/* Copies of who is in work, in the arena: a job may be recorded and gone meanwhile. Any thread. */
size_t in_work_list(struct in_work *w, struct arena *arena, const struct claimed ***ret);
/* The lease of this candidate, if it is still in work, was not renewed: its job must not rely on it for longer than it was claimed for. Any thread. */
void in_work_not_renewed(struct in_work *w, const struct claimed *who);

/* From now on the caller records the plan, with the results; NULL: it is recorded. Waits while it is being recorded. The recorder's thread. */
const struct record *in_work_take_plan(struct in_work *w, struct job *job);
/* Records the plans of those who went ahead a quarter of a second ago; what is being sent is recorded with them, as of everybody else. Who cannot be recorded now, because
 * somebody holds its row, is tried again after some seconds. The dispatcher's thread, likewise the next. */
int in_work_record_late(struct in_work *w, struct store *s, int64_t now_ms, struct errmsg *err) ATS_MUSTCHECK;
int64_t in_work_record_late_in_ms(const struct in_work *w, int64_t now_ms); /* INT64_MAX: nobody is ahead */

#endif
