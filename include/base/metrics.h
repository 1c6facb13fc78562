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
/* A gauge is filled anew from the database: what was not set between the two is forgotten. Whoever scrapes meanwhile
 * sees the old value or the new one, never none. One thread only fills a family. */
void metric_refill_begin(struct metric *m);
void metric_refill_end(struct metric *m);

/* ---- reading back, for what is counted per minute and shown to people */
struct metric *metric_lookup(const char *name); /* a family that was declared, or NULL */
/* Of a counter or gauge: the sum of its series in which this label has this value, or of all (label NULL). A family of
 * NULL sums to 0. */
double metric_sum(struct metric *m, const char *label, const char *value);
struct metric_observed {
    uint64_t count;
    double sum;
    double longest; /* since the last call; 0 if there was none */
};
struct metric_observed metric_observed(struct metric *m); /* of a histogram, all series together; NULL: nothing */

/* Prometheus text exposition format 0.0.4, families in order of declaration. */
void metrics_render(struct buf *out);

#endif
