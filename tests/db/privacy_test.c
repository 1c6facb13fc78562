/* packaging/doc/privacy.md: that it names all there is, and that what it tells to type works. */
#include "base/buf.h"
#include "base/text.h"
#include "domain/event.h"
#include "lib/storekit.h"
#include "store/erase.h"

#define PAGE TEST_SOURCE_DIR "/packaging/doc/privacy.md"

static const char *page(struct harness *h)
{
    FILE *f = fopen(PAGE, "re");
    struct buf text;
    char piece[4096];
    const char *copy;
    size_t n;

    assert_non_null(f);
    buf_init(&text, 1 << 20);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) {
        buf_add(&text, piece, n);
    }
    (void)fclose(f);
    copy = arena_strdup(h->arena, buf_text(&text));
    buf_free(&text);
    return copy;
}

/* The row "| `event` | …" of a table; NULL: there is none. */
static const char *row_of(struct harness *h, const char *text, const char *table)
{
    const char *at = strstr(text, arena_printf(h->arena, "\n| `%s` |", table));

    return at ? arena_strndup(h->arena, at + 1, strcspn(at + 1, "\n")) : NULL;
}

#define TABLES "from pg_class c where c.relnamespace = 'atsync'::regnamespace and c.relkind = 'r'"

E2E_TEST(every_table_and_column_is_described)
{
    struct kit *k = kit_open(h, NULL);
    const char *text = page(h);
    unsigned missing = 0, rows = 0;
    const char *all = sql_text(h, "select string_agg(c.relname || '.' || a.attname, ' ' order by c.relname, a.attnum) "
                                  "from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not "
                                  "a.attisdropped where c.relnamespace = 'atsync'::regnamespace and c.relkind = 'r'");

    while (*all) {
        size_t len = strcspn(all, " ");
        size_t dot = strcspn(all, ".");
        const char *table = arena_strndup(h->arena, all, dot);
        const char *column = arena_strndup(h->arena, all + dot + 1, len - dot - 1);
        const char *row = row_of(h, text, table);

        if (!row || !text_has(row, arena_printf(h->arena, "`%s`", column))) {
            fprintf(stderr, "%s says nothing of %s.%s: what does it hold of people, why, and for how long?\n", PAGE,
                    table, column);
            missing++;
        }
        all += len + (all[len] == ' ');
    }
    assert_int_equal(missing, 0);
    /* nor of what is not there any more */
    for (const char *at = strstr(text, "\n| `"); at; at = strstr(at + 1, "\n| `")) {
        const char *table = arena_strndup(h->arena, at + 4, strcspn(at + 4, "`"));

        if (!sql_text(h, arena_printf(h->arena, "select 1 " TABLES " and c.relname = '%s'", table))) {
            fail_msg("%s describes a table %s that there is not", PAGE, table);
        }
        rows++;
    }
    assert_sql(h, "select count(*) " TABLES, arena_printf(h->arena, "%u", rows));
    kit_close(k);
}

/* The statement of the page that begins so, without its semicolon. */
static const char *statement(struct harness *h, const char *text, const char *begin)
{
    const char *at = strstr(text, arena_printf(h->arena, "\n%s", begin));

    if (!at) {
        fail_msg("%s has no statement that begins with %s", PAGE, begin);
    }
    return arena_strndup(h->arena, at + 1, strcspn(at + 1, ";"));
}

static const char *count_of(struct harness *h, const char *query)
{
    return arena_printf(h->arena, "select count(*) from (%s) q", query);
}

E2E_TEST(what_it_tells_to_type_works)
{
    struct kit *k = kit_open(h, NULL);
    const char *text = page(h);
    const char *restored = statement(h, text, "select distinct e.source, e.external_id");
    const char *started = popp_event(h, "run-started", NULL);
    struct erase_person who = {.source = "popp", .ref = "x:ats_42", .external_id = "ats_42"};
    struct erasure e;
    struct errmsg err;

    assert_true(kit_put(k, popp_event(h, "contact-resolved", NULL)));
    assert_true(kit_put(k, started));
    assert_true(kit_put(k, popp_event(h, "run-completed", NULL)));
    (void)kit_work(k);
    assert_true(kit_put(k, popp_event(h, "node-completed", "data.candidateProfileExternalId", POPP_ABSENT, NULL)));
    (void)kit_work(k);
    /* access: all events, those under the profile too */
    assert_sql(h, count_of(h, statement(h, text, "select * from atsync.answers")), "6");
    assert_sql(h, count_of(h, statement(h, text, "select * from atsync.contact_resolutions")), "1");
    assert_sql(h, count_of(h, statement(h, text, "select e.received_at")), "4");

    assert_sql(h, count_of(h, restored), "0");
    assert_done(store_erase(k->store, &who, false, NULL, NULL, h->arena, &e, &err), &err);
    sql_script(h, statement(h, text, "vacuum"));
    assert_false(kit_put(k, started));
    /* a backup brings an event back */
    sql_script(h, "insert into atsync.event (source, event_id, type, subject, external_id, event_time) values ('popp', "
                  "'old', 'T', 'x:ats_42', 'ats_42', now()), ('popp', 'other', 'T', 'x:ats_43', 'ats_43', now())");
    assert_sql(h, arena_printf(h->arena, "select string_agg(external_id, ' ') from (%s) q", restored), "ats_42");
    assert_done(store_erase(k->store, &who, false, NULL, NULL, h->arena, &e, &err), &err);
    assert_int_equal(e.rows[ERASE_EVENT], 1);
    assert_sql(h, count_of(h, restored), "0");

    /* and the person may come back */
    sql_script(h, statement(h, text, "delete from atsync.tombstone"));
    assert_sql(h, "select count(*) from atsync.tombstone", "0");
    assert_true(kit_put(k, started));
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(every_table_and_column_is_described),
        E2E_RUN(what_it_tells_to_type_works),
    };

    return e2e_main(tests);
}
