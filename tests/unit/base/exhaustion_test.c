/*
 * No memory left, anywhere in the modules that know no library: each allocation fails once, and the process ends as base/mem.h
 * says instead of going on with less. What the pure core does with events, configurations and signatures is tried in the same way with the
 * inputs of the fuzz targets (tests/fuzz/replay.c); here is the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mask.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/suggest.h"
#include "domain/completion.h"
#include "domain/glance.h"
#include "domain/issue.h"
#include "domain/run.h"
#include "lib/exhaust.h"

static void each_function_of_mem(void *ctx)
{
    char *text = mem_strdup("text");
    char *part = mem_strndup(text, 2);
    char *made = mem_printf("%s %s", text, part);
    char *block = mem_alloc(10);
    int *zeros = mem_zalloc(sizeof *zeros);
    int *array = mem_array(3, sizeof *array);

    (void)ctx;
    array = mem_grow(array, 100, sizeof *array);
    mem_free(array);
    mem_free(zeros);
    mem_free(block);
    mem_free(made);
    mem_free(part);
    mem_free(text);
}

static void arena_that_grows(void *ctx)
{
    struct arena *a = arena_new();

    (void)ctx;
    for (size_t size = 1; size < 3000000; size *= 7)
        (void)arena_alloc(a, size);
    (void)arena_strdup(a, arena_printf(a, "%*d", 5000, 7));
    arena_free(a);
}

static void buffer_that_grows(void *ctx)
{
    struct buf b;

    (void)ctx;
    buf_init(&b, 1 << 20);
    buf_puts(&b, "begin");
    for (int i = 0; i < 1000; i++)
        buf_putc(&b, 'x');
    buf_printf(&b, "%*d", 5000, 7);
    mem_free(buf_take(&b));
    mem_free(buf_take(&b)); /* "" is an allocation too */
    buf_free(&b);
}

static void metrics_of_a_new_name(void *ctx)
{
    static const double bounds[] = {1, 2};
    unsigned *number = ctx; /* another name for each run: a family lives as long as the process */
    char *name = mem_printf("exhausted_%u_total", ++*number);
    char *other = mem_printf("exhausted_%u_seconds", *number);
    struct metric *count = metric_counter(name, "Help.", "one,two");
    struct metric *time = metric_histogram(other, "Help.", "one", bounds, 2);
    struct buf out;

    metric_add(count, 1, "a", "b", NULL, NULL);
    metric_add(count, 1, "a", "c", NULL, NULL);
    metric_observe(time, 1.5, "a", NULL, NULL, NULL);
    buf_init(&out, 1 << 20);
    metrics_render(&out);
    buf_free(&out);
    mem_free(other);
    mem_free(name);
}

static void line_of_the_log(void *ctx)
{
    (void)ctx;
    log_write(LOG_ERROR, "told", "to", "jane@example.com", "line", "one\ntwo", NULL);
    log_write(LOG_ERROR, "told", "to", "jane@example.com", "line", "one\ntwo", NULL);
    log_finish();
}

static void guard_and_guess(void *ctx)
{
    static const char *const names[] = {"workflows", "connectors"};
    struct buf b;

    (void)ctx;
    buf_init(&b, 1000);
    mask_people("jane@example.com, +44 7700 900000", 33, &b);
    buf_free(&b);
    assert_string_equal(suggest("workflow", names, 2), "workflows");
}

static void issue_in_words(void *ctx)
{
    const struct problem p = {.class = "dead_writes",
                              .source = "popp",
                              .connector = "ashby",
                              .workflow = "nurses",
                              .detail = "configuration",
                              .kind = "stage",
                              .what = "Screen",
                              .sample = "there is no such stage",
                              .affected = 3};
    struct arena *a = arena_new();

    (void)ctx;
    for (size_t i = 0; issue_class(i); i++) {
        struct problem other = p;

        other.class = issue_class(i);
        (void)issue_words(&other, a);
    }
    arena_free(a);
}

static void glance_at_it(void *ctx)
{
    const struct glance_facts facts = {.ready = true, .warnings = 2, .worst = "A.", .oldest_due_seconds = 300};
    struct arena *a = arena_new();

    (void)ctx;
    (void)glance_of(&facts, a);
    (void)glance_duration(100000, a);
    arena_free(a);
}

static void run_completed_from_the_api(void *ctx)
{
    static const char started[] =
        "{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"e1\",\"organizationId\":\"org_1\",\"data\":{\"recordId\":"
        "\"run_1\","
        "\"workflowId\":\"wf_1\",\"timestamp\":\"2026-04-28T10:30:00Z\",\"candidateProfileExternalId\":\"ats_1\"}}";
    static const char answer[] =
        "{\"data\":{\"id\":\"run_1\",\"status\":\"COMPLETED\",\"completedAt\":\"2026-04-28T10:45:00Z\",\"nodes\":"
        "\"{\\\"screen-1\\\":{\\\"nodeType\\\":\\\"SCREENING_OUTREACH\\\",\\\"completedAt\\\":\\\"2026-04-28T10:42:"
        "00Z\\\"}}\"}}";
    struct arena *a = arena_new();
    const struct json *tree = NULL;
    const char *body = NULL;
    struct event event;
    struct run_set set;
    struct errmsg err;

    (void)ctx;
    assert_int_equal(event_parse(started, strlen(started), a, &event, &err), ST_OK);
    runs_fold(&event, 1, a, &set);
    assert_int_equal(json_parse_in(a, answer, strlen(answer), &tree, &err), ST_OK);
    assert_int_equal(completion_make(tree, &set.runs[0], INT64_C(1777800000000000), a, &body, &err), COMPLETION_EVENT);
    assert_non_null(completion_path("/runs/{run_id}?of={workflow_id}", "run 1", "wf/1", a));
    arena_free(a);
}

static void test_no_memory(void **state)
{
    static unsigned number;
    static const struct {
        const char *what;
        void (*work)(void *ctx);
        unsigned at_least; /* ways to an allocation that it is known to have */
    } works[] = {
        {"mem", each_function_of_mem, 7},
        {"an arena", arena_that_grows, 4},
        {"a buffer", buffer_that_grows, 4},
        {"metrics", metrics_of_a_new_name, 6},
        {"the log", line_of_the_log, 3},
        {"mask and suggest", guard_and_guess, 1},
        {"issues", issue_in_words, 2},
        {"the glance", glance_at_it, 1},
        {"completion", run_completed_from_the_api, 10},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(works); i++) {
        unsigned failed = exhaust_each(works[i].work, &number);

        print_message("%s: %u\n", works[i].what, failed);
        assert_in_range(failed, works[i].at_least, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
