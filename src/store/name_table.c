#include "store/name_table.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct name_table {
    struct arena *arena;
    struct workflow_name_row *rows; /* by source and workflow id */
    size_t count;
    atomic_size_t refs;
};

static int by_workflow(const void *a, const void *b)
{
    const struct workflow_name_row *x = a;
    const struct workflow_name_row *y = b;
    int order = strcmp(x->source, y->source);

    return order ? order : strcmp(x->workflow_id, y->workflow_id);
}

int name_table_read(struct store *s, struct name_table **ret, struct errmsg *err)
{
    struct name_table *t = mem_zalloc(sizeof *t);
    int st;

    atomic_init(&t->refs, 1);
    t->arena = arena_new();
    st = store_workflow_names(s, t->arena, &t->rows, &t->count, err);
    if (st != ST_OK) {
        name_table_unref(t);
        return st;
    }
    if (t->count > 1) {
        qsort(t->rows, t->count, sizeof *t->rows, by_workflow);
    }
    *ret = t;
    return ST_OK;
}

struct name_table *name_table_ref(struct name_table *t)
{
    if (t) {
        atomic_fetch_add(&t->refs, 1);
    }
    return t;
}

void name_table_unref(struct name_table *t)
{
    if (t && atomic_fetch_sub(&t->refs, 1) == 1) {
        arena_free(t->arena);
        mem_free(t);
    }
}

static const char *find(const struct name_table *t, const char *source, const char *workflow_id)
{
    const struct workflow_name_row key = {.source = source, .workflow_id = workflow_id};
    const struct workflow_name_row *row =
        t && t->count > 0 ? bsearch(&key, t->rows, t->count, sizeof *t->rows, by_workflow) : NULL;

    return row ? row->external_id : NULL;
}

static const char *external_id_of(void *ctx, const char *source, const char *workflow_id)
{
    return find(ctx, source, workflow_id);
}

struct workflow_names name_table_of(struct name_table *t, const char *source)
{
    return (struct workflow_names){.external_id_of = external_id_of, .ctx = t, .source = source};
}

bool name_table_lacks(const struct name_table *t, const char *source, const struct event *e)
{
    return e->workflow_id && e->workflow_external_id && t && t->count < WORKFLOW_NAMES_MAX &&
           !find(t, source, e->workflow_id);
}
