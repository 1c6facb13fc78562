/* What ingest promises when there is no database. With one it is tested end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "service/ingest.h"

enum { DEADLINE_MS = 20000, QUEUE_MAX = 3 };

static const char conf[] = "receiver: {queue_max_events: 3}\n"
                           "database: {conninfo: \"host=/there-is-no-such-directory dbname=x\"}\n"
                           "sources: {popp: {signing_secrets: [\"0123456789abcdef\"]}}\n";

struct answers {
    pthread_mutex_t mutex;
    unsigned unavailable, others, batches;
    bool any_stored;
};

static struct answers answers = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void on_done(struct ingest_item *item, enum ingest_result result)
{
    (void)item;
    (void)pthread_mutex_lock(&answers.mutex);
    if (result == INGEST_UNAVAILABLE)
        answers.unavailable++;
    else
        answers.others++;
    (void)pthread_mutex_unlock(&answers.mutex);
}

static void on_batch_done(void *ctx, bool any_stored)
{
    (void)ctx;
    (void)pthread_mutex_lock(&answers.mutex);
    answers.batches++;
    answers.any_stored = answers.any_stored || any_stored;
    (void)pthread_mutex_unlock(&answers.mutex);
}

static struct ingest *ingest_for_test(void)
{
    const struct ingest_hooks hooks = {.batch_done = on_batch_done};
    struct config_problems problems = {0};
    struct config *c = NULL;
    struct ingest *in;

    assert_int_equal(config_parse("test.conf", conf, sizeof conf - 1, &c, &problems), ST_OK);
    in = ingest_new(c, &hooks);
    config_unref(c);
    config_problems_clear(&problems);
    return in;
}

static void test_full_queue_then_away(void **state)
{
    static const struct timespec step = {.tv_nsec = 1000000};
    struct ingest *in = ingest_for_test();
    struct ingest_item items[QUEUE_MAX + 1] = {0};
    struct errmsg err = {{0}};
    int64_t until_ms = clock_mono_ms() + DEADLINE_MS;

    (void)state;
    for (size_t i = 0; i <= QUEUE_MAX; i++)
        items[i] = (struct ingest_item){.event = {.source = "popp", .event_id = "e", .type = "t", .subject = ""},
                                        .done = on_done};
    assert_int_equal(ingest_state(in, NULL), INGEST_CONNECTING);
    for (size_t i = 0; i < QUEUE_MAX; i++)
        assert_int_equal(ingest_submit(in, &items[i]), ST_OK);
    assert_int_equal(ingest_submit(in, &items[QUEUE_MAX]), ST_LIMIT);
    assert_int_equal(ingest_queued(in), QUEUE_MAX);

    /* the first attempt to connect fails: whoever waits is told, later ones are refused at once */
    assert_int_equal(ingest_start(in, &err), ST_OK);
    while (ingest_state(in, &err) == INGEST_CONNECTING && clock_mono_ms() < until_ms)
        (void)nanosleep(&step, NULL);
    assert_int_equal(ingest_state(in, &err), INGEST_AWAY);
    assert_non_null(strstr(err.text, "/there-is-no-such-directory"));
    assert_int_equal(ingest_submit(in, &items[QUEUE_MAX]), ST_UNAVAILABLE);
    assert_int_equal(ingest_queued(in), 0);
    ingest_stop(in);
    ingest_join(in);
    assert_int_equal(answers.unavailable, QUEUE_MAX);
    assert_int_equal(answers.others, 0);
    assert_int_equal(answers.batches, 1);
    assert_false(answers.any_stored);
    ingest_free(in);
}

static void test_nothing_is_taken_after_stop(void **state)
{
    struct ingest *in = ingest_for_test();
    struct ingest_item item = {.done = on_done};

    (void)state;
    ingest_stop(in);
    assert_int_equal(ingest_submit(in, &item), ST_UNAVAILABLE);
    ingest_free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_queue_then_away),
        cmocka_unit_test(test_nothing_is_taken_after_stop),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    log_finish();
    return failed;
}
