/* Which external id is known of a workflow: of many, of each source by itself, and until the table is full. */
#include "store/name_table.h"

#include "base/text.h"
#include "lib/storekit.h"

static struct name_table *read_names(struct kit *k)
{
    struct name_table *t = NULL;
    struct errmsg err;

    assert_done(name_table_read(k->store, &t, &err), &err);
    return t;
}

/* "-": none */
static const char *name_of(struct name_table *t, const char *source, const char *workflow_id)
{
    struct workflow_names names = name_table_of(t, source);
    const char *name = names.external_id_of(names.ctx, names.source, workflow_id);

    return name ? name : "-";
}

static bool lacks(const struct name_table *t, const char *source, const char *workflow_id, const char *external_id)
{
    const struct event e = {.workflow_id = workflow_id, .workflow_external_id = external_id};

    return name_table_lacks(t, source, &e);
}

E2E_TEST(each_of_many_is_found)
{
    struct kit *k = kit_open(h, NULL);
    struct name_table *t;

    /* learned in another order than that of the ids; "other" knows the odd ones by other names */
    sql_script(h, "insert into atsync.workflow_name (source, workflow_id, external_id, learned_at) "
                  "select 'popp', 'w' || i, 'x' || i, now() - (i * 37 % 101) * interval '1 s' "
                  "from generate_series(1, 300) as i "
                  "union all select 'other', 'w' || i, 'y' || i, now() from generate_series(1, 300, 2) as i");
    t = read_names(k);
    for (int i = 1; i <= 300; i++) {
        const char *id = arena_printf(h->arena, "w%d", i);

        assert_string_equal(name_of(t, "popp", id), arena_printf(h->arena, "x%d", i));
        assert_string_equal(name_of(t, "other", id), i % 2 == 1 ? arena_printf(h->arena, "y%d", i) : "-");
    }
    assert_string_equal(name_of(t, "popp", "w0"), "-");
    assert_string_equal(name_of(t, "popp", "w301"), "-");
    assert_string_equal(name_of(t, "pop", "w1"), "-");
    name_table_unref(t);
    kit_close(k);
}

E2E_TEST(a_table_stays_what_it_was_when_read)
{
    struct kit *k = kit_open(h, NULL);
    struct name_table *before = read_names(k);
    struct name_table *held = name_table_ref(before);
    struct name_table *after;

    assert_string_equal(name_of(before, "popp", "w1"), "-");
    sql_script(h, "insert into atsync.workflow_name (source, workflow_id, external_id) values ('popp', 'w1', 'x1')");
    after = read_names(k);
    name_table_unref(before);
    assert_string_equal(name_of(held, "popp", "w1"), "-");
    assert_string_equal(name_of(after, "popp", "w1"), "x1");
    name_table_unref(held);
    name_table_unref(after);
    kit_close(k);
}

E2E_TEST(what_a_table_lacks)
{
    struct kit *k = kit_open(h, NULL);
    struct name_table *t;

    sql_script(h, "insert into atsync.workflow_name (source, workflow_id, external_id) values ('popp', 'w1', 'x1')");
    t = read_names(k);
    assert_true(lacks(t, "popp", "w2", "x2"));
    assert_true(lacks(t, "other", "w1", "x1"));
    assert_false(lacks(t, "popp", "w1", "x1"));
    /* the event tells nothing */
    assert_false(lacks(t, "popp", "w2", NULL));
    assert_false(lacks(t, "popp", NULL, "x2"));
    assert_false(lacks(NULL, "popp", "w2", "x2"));
    name_table_unref(t);

    /* and of a crowd beyond all sense no more is asked for */
    sql_script(h, arena_printf(h->arena,
                               "insert into atsync.workflow_name (source, workflow_id, external_id) "
                               "select 'popp', 'crowd' || i, 'x' from generate_series(1, %d) as i",
                               WORKFLOW_NAMES_MAX + 1));
    t = read_names(k);
    assert_string_equal(name_of(t, "popp", "w1"), "x1"); /* it was learned first */
    assert_false(lacks(t, "popp", "w2", "x2"));
    name_table_unref(t);
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(each_of_many_is_found),
        E2E_RUN(a_table_stays_what_it_was_when_read),
        E2E_RUN(what_a_table_lacks),
    };

    return e2e_main(tests);
}
