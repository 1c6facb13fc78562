#include "base/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/mem.h"
#include "base/text.h"

enum {
    METRIC_LABELS_MAX = 4,
    METRIC_SERIES_MAX = 2000,
    METRIC_TABLE_FIRST = 16, /* slots of a family's hash table: a power of two */
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct series {
    char *labels[METRIC_LABELS_MAX];
    uint64_t hash;
    double value;      /* of a histogram: the sum */
    double longest;    /* histogram only: the greatest observed since it was asked for */
    bool stale;        /* not set since the refill began */
    uint64_t count;    /* histogram only */
    uint64_t *buckets; /* histogram only: how many fell into each bound, not cumulated */
};

struct metric {
    enum metric_kind kind;
    char *name;
    char *help;
    char *label_names[METRIC_LABELS_MAX];
    unsigned label_count;
    double *bounds;
    unsigned bound_count;
    struct series **series; /* in order of first use */
    size_t series_count;
    size_t series_room;
    uint32_t *table; /* hash table of numbers of series + 1; 0 is an empty slot */
    size_t table_size;
    struct metric *next;
};

static struct {
    pthread_mutex_t lock;
    struct metric *first;
    struct metric **end; /* where the next family is hung in; NULL until the first */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void parse_label_names(struct metric *m, const char *names)
{
    while (*names != '\0' && m->label_count < METRIC_LABELS_MAX) {
        size_t len = strcspn(names, ",");

        m->label_names[m->label_count++] = mem_strndup(names, len);
        names += len;
        names += *names == ',' ? 1 : 0;
    }
}

static struct metric *metric_find(const char *name)
{
    struct metric *m = registry.first;

    while (m != NULL && strcmp(m->name, name) != 0)
        m = m->next;
    return m;
}

static struct metric *metric_declare(enum metric_kind kind, const char *name, const char *help, const char *label_names,
                                     const double *bounds, unsigned bound_count)
{
    struct metric *m;

    (void)pthread_mutex_lock(&registry.lock);
    m = metric_find(name);
    if (m == NULL) {
        m = mem_zalloc(sizeof *m);
        m->kind = kind;
        m->name = mem_strdup(name);
        m->help = mem_strdup(help);
        parse_label_names(m, label_names);
        if (bound_count > 0) {
            m->bounds = mem_array(bound_count, sizeof *m->bounds);
            memcpy(m->bounds, bounds, bound_count * sizeof *m->bounds);
            m->bound_count = bound_count;
        }
        if (registry.end == NULL)
            registry.end = &registry.first;
        *registry.end = m;
        registry.end = &m->next;
    }
    (void)pthread_mutex_unlock(&registry.lock);
    return m;
}

struct metric *metric_counter(const char *name, const char *help, const char *label_names)
{
    return metric_declare(METRIC_COUNTER, name, help, label_names, NULL, 0);
}

struct metric *metric_gauge(const char *name, const char *help, const char *label_names)
{
    return metric_declare(METRIC_GAUGE, name, help, label_names, NULL, 0);
}

struct metric *metric_histogram(const char *name, const char *help, const char *label_names, const double *bounds,
                                unsigned count)
{
    return metric_declare(METRIC_HISTOGRAM, name, help, label_names, bounds, count);
}

static uint64_t labels_hash(const struct metric *m, const char *const *labels)
{
    uint64_t hash = 0;

    for (unsigned i = 0; i < m->label_count; i++)
        hash = hash * 31 + text_hash64(labels[i], strlen(labels[i]));
    return hash ^ hash >> 32;
}

static bool labels_equal(const struct metric *m, const struct series *s, const char *const *labels)
{
    for (unsigned i = 0; i < m->label_count; i++) {
        if (strcmp(s->labels[i], labels[i]) != 0)
            return false;
    }
    return true;
}

/* The slot that holds this series or, with a 0 in it, could. The table is never more than half full. */
static uint32_t *table_slot(const struct metric *m, uint64_t hash, const char *const *labels)
{
    size_t mask = m->table_size - 1;
    size_t i = (size_t)hash & mask;

    while (m->table[i] != 0) {
        const struct series *s = m->series[m->table[i] - 1];

        if (labels != NULL && s->hash == hash && labels_equal(m, s, labels))
            break;
        i = (i + 1) & mask;
    }
    return &m->table[i];
}

static void table_grow(struct metric *m)
{
    m->table_size = m->table_size > 0 ? m->table_size * 2 : METRIC_TABLE_FIRST;
    mem_free(m->table);
    m->table = mem_array(m->table_size, sizeof *m->table);
    for (uint32_t i = 0; i < m->series_count; i++)
        *table_slot(m, m->series[i]->hash, NULL) = i + 1;
}

static struct series *series_new(struct metric *m, uint64_t hash, const char *const *labels)
{
    struct series *s = mem_zalloc(sizeof *s);

    s->hash = hash;
    for (unsigned i = 0; i < m->label_count; i++)
        s->labels[i] = mem_strdup(labels[i]);
    if (m->kind == METRIC_HISTOGRAM)
        s->buckets = mem_array(m->bound_count, sizeof *s->buckets);
    if (m->series_count == m->series_room) {
        m->series_room = m->series_room > 0 ? m->series_room * 2 : METRIC_TABLE_FIRST;
        m->series = mem_grow(m->series, m->series_room, sizeof *m->series);
    }
    m->series[m->series_count++] = s;
    return s;
}

static struct series *series_get(struct metric *m, const char *const *labels)
{
    static const char *const other[METRIC_LABELS_MAX] = {"other", "other", "other", "other"};
    uint64_t hash = labels_hash(m, labels);
    uint32_t *slot;

    if (m->table_size <= 2 * m->series_count)
        table_grow(m);
    slot = table_slot(m, hash, labels);
    if (*slot == 0 && m->series_count >= METRIC_SERIES_MAX) {
        /* bounds memory and the scrape; the sum over the family stays right */
        labels = other;
        hash = labels_hash(m, labels);
        slot = table_slot(m, hash, labels);
    }
    if (*slot == 0) {
        (void)series_new(m, hash, labels);
        *slot = (uint32_t)m->series_count;
    }
    return m->series[*slot - 1];
}

static void record(struct metric *m, enum metric_kind kind, bool set, double value, const char *const *given)
{
    const char *labels[METRIC_LABELS_MAX];
    struct series *s;

    if (m->kind != kind)
        return;
    for (unsigned i = 0; i < METRIC_LABELS_MAX; i++)
        labels[i] = given[i] != NULL ? given[i] : "";
    (void)pthread_mutex_lock(&registry.lock);
    s = series_get(m, labels);
    s->value = set ? value : s->value + value;
    s->stale = false;
    if (kind == METRIC_HISTOGRAM) {
        unsigned i = 0;

        s->longest = value > s->longest ? value : s->longest;
        while (i < m->bound_count && value > m->bounds[i])
            i++;
        if (i < m->bound_count)
            s->buckets[i]++;
        s->count++;
    }
    (void)pthread_mutex_unlock(&registry.lock);
}

void metric_add(struct metric *m, double value, const char *l1, const char *l2, const char *l3, const char *l4)
{
    if (m->kind == METRIC_COUNTER && !(value >= 0))
        return; /* a counter that fell would look like a restart */
    record(m, m->kind == METRIC_COUNTER ? METRIC_COUNTER : METRIC_GAUGE, false, value,
           (const char *const[]){l1, l2, l3, l4});
}

void metric_set(struct metric *m, double value, const char *l1, const char *l2, const char *l3, const char *l4)
{
    record(m, METRIC_GAUGE, true, value, (const char *const[]){l1, l2, l3, l4});
}

void metric_observe(struct metric *m, double value, const char *l1, const char *l2, const char *l3, const char *l4)
{
    if (isnan(value))
        return; /* it would spoil the sum for ever */
    record(m, METRIC_HISTOGRAM, false, value, (const char *const[]){l1, l2, l3, l4});
}

static void series_free(const struct metric *m, struct series *s)
{
    for (unsigned i = 0; i < m->label_count; i++)
        mem_free(s->labels[i]);
    mem_free(s->buckets);
    mem_free(s);
}

void metric_refill_begin(struct metric *m)
{
    if (m->kind != METRIC_GAUGE)
        return;
    (void)pthread_mutex_lock(&registry.lock);
    for (size_t i = 0; i < m->series_count; i++)
        m->series[i]->stale = true;
    (void)pthread_mutex_unlock(&registry.lock);
}

void metric_refill_end(struct metric *m)
{
    size_t kept = 0;

    if (m->kind != METRIC_GAUGE)
        return;
    (void)pthread_mutex_lock(&registry.lock);
    for (size_t i = 0; i < m->series_count; i++) {
        if (m->series[i]->stale)
            series_free(m, m->series[i]);
        else
            m->series[kept++] = m->series[i];
    }
    m->series_count = kept;
    if (m->table_size > 0)
        memset(m->table, 0, m->table_size * sizeof *m->table);
    for (uint32_t i = 0; i < kept; i++)
        *table_slot(m, m->series[i]->hash, NULL) = i + 1;
    (void)pthread_mutex_unlock(&registry.lock);
}

/* ---- reading back */

struct metric *metric_lookup(const char *name)
{
    struct metric *m;

    (void)pthread_mutex_lock(&registry.lock);
    m = metric_find(name);
    (void)pthread_mutex_unlock(&registry.lock);
    return m;
}

double metric_sum(struct metric *m, const char *label, const char *value)
{
    unsigned which = 0;
    double sum = 0;

    if (m == NULL)
        return 0;
    while (label != NULL && which < m->label_count && strcmp(m->label_names[which], label) != 0)
        which++;
    (void)pthread_mutex_lock(&registry.lock);
    for (size_t i = 0; i < m->series_count; i++) {
        if (label == NULL || (which < m->label_count && strcmp(m->series[i]->labels[which], value) == 0))
            sum += m->series[i]->value;
    }
    (void)pthread_mutex_unlock(&registry.lock);
    return sum;
}

struct metric_observed metric_observed(struct metric *m)
{
    struct metric_observed all = {0};

    if (m == NULL || m->kind != METRIC_HISTOGRAM)
        return all;
    (void)pthread_mutex_lock(&registry.lock);
    for (size_t i = 0; i < m->series_count; i++) {
        struct series *s = m->series[i];

        all.count += s->count;
        all.sum += s->value;
        all.longest = s->longest > all.longest ? s->longest : all.longest;
        s->longest = 0;
    }
    (void)pthread_mutex_unlock(&registry.lock);
    return all;
}

/* ---- the exposition */

/* HELP texts escape backslash and line feed, label values the quotation mark too. */
static void add_escaped(struct buf *out, const char *text, bool quotes)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            buf_puts(out, "\\n");
            continue;
        }
        if (*text == '\\' || (quotes && *text == '"'))
            buf_putc(out, '\\');
        buf_putc(out, *text);
    }
}

static void add_number(struct buf *out, double value)
{
    char text[40];

    if (isnan(value)) {
        buf_puts(out, "NaN");
    } else if (isinf(value)) {
        buf_puts(out, value > 0 ? "+Inf" : "-Inf");
    } else if (fabs(value) < 1e15 && floor(value) >= value) {
        buf_printf(out, "%.0f", value); /* exact, and people read counters */
    } else {
        (void)snprintf(text, sizeof text, "%.15g", value);
        if (strtod(text, NULL) < value || strtod(text, NULL) > value)
            (void)snprintf(text, sizeof text, "%.17g", value);
        buf_puts(out, text);
    }
}

/* name_suffix{label="value",le="bound"} and the blank before the figure */
static void add_sample_name(struct buf *out, const struct metric *m, const struct series *s, const char *suffix,
                            const double *le)
{
    const char *separator = "{";

    buf_puts(out, m->name);
    buf_puts(out, suffix);
    for (unsigned i = 0; i < m->label_count; i++) {
        buf_printf(out, "%s%s=\"", separator, m->label_names[i]);
        add_escaped(out, s->labels[i], true);
        buf_putc(out, '"');
        separator = ",";
    }
    if (le != NULL) {
        buf_printf(out, "%sle=\"", separator);
        add_number(out, *le);
        buf_putc(out, '"');
        separator = ",";
    }
    buf_puts(out, *separator == ',' ? "} " : " ");
}

static void render_histogram(struct buf *out, const struct metric *m, const struct series *s)
{
    const double infinity = HUGE_VAL;
    uint64_t below = 0;

    for (unsigned i = 0; i < m->bound_count; i++) {
        below += s->buckets[i];
        add_sample_name(out, m, s, "_bucket", &m->bounds[i]);
        buf_printf(out, "%" PRIu64 "\n", below);
    }
    add_sample_name(out, m, s, "_bucket", &infinity);
    buf_printf(out, "%" PRIu64 "\n", s->count);
    add_sample_name(out, m, s, "_sum", NULL);
    add_number(out, s->value);
    buf_putc(out, '\n');
    add_sample_name(out, m, s, "_count", NULL);
    buf_printf(out, "%" PRIu64 "\n", s->count);
}

static void render_family(struct buf *out, const struct metric *m)
{
    static const char *const kind_names[] = {"counter", "gauge", "histogram"};

    buf_printf(out, "# HELP %s ", m->name);
    add_escaped(out, m->help, false);
    buf_printf(out, "\n# TYPE %s %s\n", m->name, kind_names[m->kind]);
    for (size_t i = 0; i < m->series_count; i++) {
        if (m->kind == METRIC_HISTOGRAM) {
            render_histogram(out, m, m->series[i]);
            continue;
        }
        add_sample_name(out, m, m->series[i], "", NULL);
        add_number(out, m->series[i]->value);
        buf_putc(out, '\n');
    }
}

void metrics_render(struct buf *out)
{
    (void)pthread_mutex_lock(&registry.lock);
    for (const struct metric *m = registry.first; m != NULL; m = m->next)
        render_family(out, m);
    (void)pthread_mutex_unlock(&registry.lock);
}
