/*
 * claim - how long store_claim takes on a queue as it is: the daemon's own statement with its real parameters.
 *
 *   claim CONFIG CONNECTOR BATCH FIRST MEASURED
 *
 * Claims BATCH candidates at a time and gives them back as synced, first FIRST candidates, then MEASURED claims more,
 * which are timed. Prints claim_p50_us, claim_p99_us, and claimed (how many candidates in all).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/config.h"
#include "store/store.h"

enum { LEASE_MS = 60000, BATCH_MAX = 1000, MANY = 100000000 };

static void check(int st, const struct errmsg *err)
{
    if (st != ST_OK) {
        fprintf(stderr, "claim: %s: %s\n", status_name(st), err->text);
        exit(1);
    }
}

static struct config *read_config(const char *path)
{
    struct config_problems problems = {0};
    struct config *c = NULL;
    struct buf out;

    if (config_load(path, &c, &problems) != ST_OK) {
        buf_init(&out, SIZE_MAX / 4);
        config_problems_print(&problems, &out);
        fputs(buf_text(&out), stderr);
        exit(1);
    }
    config_problems_clear(&problems);
    return c;
}

/* Claims once and gives back. Returns how many candidates; *ret_us: the claim alone. */
static size_t work(struct store *s, const char *connector, const char *owner, size_t limit, int64_t *ret_us)
{
    static struct claim_mark mark;
    struct claim_batch batch;
    struct record *records;
    struct errmsg err;
    int64_t began_us = clock_mono_us();
    size_t count;

    check(store_claim(s, connector, false, owner, LEASE_MS, limit, &mark, &batch, &err), &err);
    *ret_us = clock_mono_us() - began_us;
    count = batch.count;
    records = mem_array(count + 1, sizeof *records);
    for (size_t i = 0; i < count; i++) {
        records[i] = (struct record){
            .who = &batch.items[i], .release = true, .state = "synced", .synced = true, .next_due_ms = INT64_MAX};
    }
    if (count > 0) {
        check(store_record(s, records, count, &err), &err);
    }
    mem_free(records);
    claim_batch_clear(&batch);
    return count;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int64_t limit, first, measured, us;
    size_t claimed = 0;
    struct config *config;
    struct store *store;
    struct errmsg err;
    int64_t *times;
    char *owner;

    if (argc != 6 || !text_to_i64(argv[3], 1, BATCH_MAX, &limit) || !text_to_i64(argv[4], 0, MANY, &first) ||
        !text_to_i64(argv[5], 1, MANY, &measured)) {
        fputs("usage: claim CONFIG CONNECTOR BATCH FIRST MEASURED\n", stderr);
        return 2;
    }
    config = read_config(argv[1]);
    store = store_new(config, "bench");
    store_expect_few_rows(store, true);
    owner = store_owner_name("bench", 0);
    check(store_connect(store, &err), &err);
    while (claimed < (size_t)first) {
        size_t n = work(store, argv[2], owner, (size_t)limit, &us);

        if (n == 0) {
            fputs("claim: fewer candidates are due than wanted\n", stderr);
            return 1;
        }
        claimed += n;
    }
    times = mem_array((size_t)measured, sizeof *times);
    for (int64_t i = 0; i < measured; i++) {
        claimed += work(store, argv[2], owner, (size_t)limit, &times[i]);
    }
    qsort(times, (size_t)measured, sizeof *times, by_value);
    printf("claim_p50_us=%lld claim_p99_us=%lld claimed=%zu\n", (long long)times[measured / 2],
           (long long)times[measured * 99 / 100], claimed);
    mem_free(times);
    mem_free(owner);
    store_free(store);
    config_unref(config);
    return 0;
}
