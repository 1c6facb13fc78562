/*
 * metrics - the process's own statistics in Prometheus' model (the only global state of the program).
 *
 * A family is declared once with its label names; a series of it exists from its first use. Label values come
 * from configuration and closed lists only (a foreign event type is mapped to "other" by its caller), and a family
 * holds at most 2,000 series: beyond that, new ones are counted under the label value "other".
 *
 * Thread: everything from any thread; recording takes one short lock.
 */
#ifndef ATSYNC_BASE_METRICS_H
#define ATSYNC_BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"

struct metric; /* a family; lives as long as the process */

/* label_names: comma-separated ("source,type,result") or "" for none. Declaring the same name
 * again returns the same family. */
struct metric *metric_counter(const char *name, const char *help, const char *label_names);
struct metric *metric_gauge(const char *name, const char *help, const char *label_names);
/* bounds: ascending upper bounds, without +Inf; copied. */
struct metric *metric_histogram(const char *name, const char *help, const char *label_names, const double *bounds,
                                unsigned count);

/* Label values in the order of the names; as many as the family has labels (at most 4), NULL for the rest.
 * add: counters (a negative value is refused) and gauges; set: gauges; observe: histograms. Any other pair of call and
 * family, and a NaN observed, records nothing. */
void metric_add(struct metric *m, double value, const char *l1, const char *l2, const char *l3, const char *l4);
void metric_set(struct metric *m, double value, const char *l1, const char *l2, const char *l3, const char *l4);
void metric_observe(struct metric *m, double value, const char *l1, const char *l2, const char *l3, const char *l4);
void metric_clear(struct metric *m); /* forgets all series of a gauge, before it is filled anew from the database */

/* Prometheus text exposition format 0.0.4, families in order of declaration. */
void metrics_render(struct buf *out);

#endif
