/* Tokens of connectors: one daemon has the right to renew at a time, and no version is ever replaced by an older one. */
#include "base/text.h"
#include "lib/storekit.h"
#include "store/tokens.h"

static struct token_row claim(struct kit *k, const char *owner, int64_t lease_ms)
{
    struct token_row row = {0};
    struct errmsg err;

    assert_done(store_token_claim(k->store, "ats", owner, lease_ms, &row, &err), &err);
    return row;
}

static bool is_ours(struct kit *k, const char *owner, int64_t lease_ms)
{
    struct token_row row = claim(k, owner, lease_ms);
    bool ours = row.is_ours;

    token_row_clear(&row);
    return ours;
}

E2E_TEST(one_has_the_lease_at_a_time)
{
    struct kit *k = kit_open(h, NULL);
    struct errmsg err;

    assert_true(is_ours(k, "one", 60000));
    assert_false(is_ours(k, "two", 60000));
    assert_true(is_ours(k, "one", 60000));                                /* prolongs */
    assert_done(store_token_release(k->store, "ats", "two", &err), &err); /* not theirs to give back */
    assert_false(is_ours(k, "two", 60000));
    assert_done(store_token_release(k->store, "ats", "one", &err), &err);
    assert_true(is_ours(k, "two", 60000));
    sql_script(h, "update atsync.connector_token set lease_until = now() - interval '1 second'");
    assert_true(is_ours(k, "one", 60000)); /* who had it is dead */
    kit_close(k);
}

E2E_TEST(versions_only_grow)
{
    struct kit *k = kit_open(h, NULL);
    struct token_row row = {0};
    struct errmsg err;

    assert_int_equal(store_token_read(k->store, "ats", &row, &err), ST_NOT_FOUND);
    row = claim(k, "one", 60000);
    assert_int_equal(row.version, 0);
    assert_null(row.sealed);
    assert_null(row.seed);
    token_row_clear(&row);
    assert_done(store_token_save(k->store, "ats", 0, "seed", "v1:a", false, &err), &err);
    assert_done(store_token_save(k->store, "ats", 0, "seed", "v1:a", false, &err),
                &err); /* nobody knew whether it was done */
    assert_sql(h, "select concat_ws('|', version, sealed, lease_owner) from atsync.connector_token", "1|v1:a|one");
    assert_int_equal(store_token_save(k->store, "ats", 0, "seed", "v1:late", true, &err), ST_CONFLICT);
    assert_string_equal(err.text, "other tokens of connector ats were stored meanwhile");
    assert_done(store_token_save(k->store, "ats", 1, "seed", "v1:b", true, &err), &err);
    assert_sql(h,
               "select concat_ws('|', version, seed, sealed, lease_owner is null, renewed_at is not null) "
               "from atsync.connector_token",
               "2|seed|v1:b|t|t");
    assert_done(store_token_read(k->store, "ats", &row, &err), &err);
    assert_int_equal(row.version, 2);
    assert_string_equal(row.sealed, "v1:b");
    assert_string_equal(row.seed, "seed");
    assert_false(row.is_ours);
    token_row_clear(&row);
    /* a rotated token is worth more than the lease, which had ended while it was got */
    assert_true(is_ours(k, "one", 60000));
    sql_script(h, "update atsync.connector_token set lease_until = now() - interval '1 second'");
    assert_true(is_ours(k, "two", 60000));
    assert_done(store_token_save(k->store, "ats", 2, "seed", "v1:c", false, &err), &err);
    assert_sql(h, "select concat_ws('|', version, sealed, lease_owner) from atsync.connector_token", "3|v1:c|two");
    kit_close(k);
}

static void collect(void *ctx, const char *connector, int64_t version, const char *sealed)
{
    unsigned *count = ctx;

    ++*count;
    assert_string_equal(connector, "ats");
    assert_int_equal(version, 1);
    assert_string_equal(sealed, "v1:a");
}

/* Only what is still there is sealed anew, and whoever uses the tokens notices nothing. */
E2E_TEST(sealed_anew_without_a_new_version)
{
    struct kit *k = kit_open(h, NULL);
    unsigned count = 0;
    struct errmsg err;

    assert_true(is_ours(k, "one", 60000));
    assert_done(store_token_list(k->store, collect, &count, &err), &err);
    assert_int_equal(count, 0); /* a lease alone holds nothing */
    assert_done(store_token_save(k->store, "ats", 0, "seed", "v1:a", true, &err), &err);
    assert_done(store_token_list(k->store, collect, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_done(store_token_reseal(k->store, "ats", 1, "v1:a", "v1:b", &err), &err);
    assert_sql(h, "select concat_ws('|', version, sealed, seed) from atsync.connector_token", "1|v1:b|seed");
    assert_int_equal(store_token_reseal(k->store, "ats", 1, "v1:a", "v1:c", &err), ST_CONFLICT);
    assert_done(store_token_save(k->store, "ats", 1, "seed", "v1:d", true, &err), &err);
    assert_int_equal(store_token_reseal(k->store, "ats", 1, "v1:b", "v1:c", &err), ST_CONFLICT);
    assert_sql(h, "select concat_ws('|', version, sealed) from atsync.connector_token", "2|v1:d");
    kit_close(k);
}

E2E_TEST(the_reader_role_sees_no_tokens)
{
    struct kit *k = kit_open(h, NULL);

    assert_sql(h, "select has_table_privilege('atsync_reader', 'atsync.connector_token', 'select')", "false");
    kit_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(one_has_the_lease_at_a_time),
        E2E_RUN(versions_only_grow),
        E2E_RUN(sealed_anew_without_a_new_version),
        E2E_RUN(the_reader_role_sees_no_tokens),
    };

    return e2e_main(tests);
}
