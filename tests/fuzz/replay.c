/*
 * A target with the inputs of corpus/TARGET, or with the files that it is given, one test each: what make check needs, without
 * libFuzzer. Each input once more with every allocation that fails (tests/lib/exhaust.h). Runs in the root of the project.
 */
#include "fuzz.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/buf.h"
#include "lib/exhaust.h"

enum { INPUT_MAX_BYTES = 4 * 1024 * 1024, INPUTS_MAX = 1000 };

static struct CMUnitTest tests[INPUTS_MAX];
static unsigned failed_allocations;

struct bytes {
    const uint8_t *data;
    size_t len;
};

static void run_target(void *ctx)
{
    const struct bytes *b = ctx;

    (void)LLVMFuzzerTestOneInput(b->data, b->len);
}

static void test_input(void **state)
{
    const char *path = *state;
    FILE *f = fopen(path, "rbe");
    struct buf bytes;
    char some[4096];
    size_t n;

    assert_non_null(f);
    buf_init(&bytes, INPUT_MAX_BYTES);
    while ((n = fread(some, 1, sizeof some, f)) > 0)
        buf_add(&bytes, some, n);
    (void)fclose(f);
    assert_false(bytes.failed);
    /* an allocation of exactly these bytes, so that reading behind them is seen */
    uint8_t *exact = mem_alloc(bytes.len);

    if (bytes.len > 0)
        memcpy(exact, bytes.data, bytes.len);
    assert_int_equal(LLVMFuzzerTestOneInput(exact, bytes.len), 0);
    failed_allocations += exhaust_each(run_target, &(struct bytes){exact, bytes.len});
    mem_free(exact);
    buf_free(&bytes);
}

/* Everything in the target's part of the corpus; false if there is nothing. */
static bool add_corpus(const char *program, size_t *count)
{
    const char *slash = strrchr(program, '/');
    char *dir = mem_printf("tests/fuzz/corpus/%s", slash != NULL ? slash + 1 : program);
    struct dirent **entries = NULL;
    int found = scandir(dir, &entries, NULL, alphasort);

    for (int i = 0; i < found; i++) {
        if (entries[i]->d_name[0] != '.' && *count < INPUTS_MAX) {
            char *path = mem_printf("%s/%s", dir, entries[i]->d_name);

            tests[(*count)++] =
                (struct CMUnitTest){.name = strrchr(path, '/') + 1, .test_func = test_input, .initial_state = path};
        }
        free(entries[i]);
    }
    free(entries);
    if (*count == 0)
        (void)fprintf(stderr, "%s holds nothing: run this in the root of the project\n", dir);
    mem_free(dir);
    return *count > 0;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    int failed;

    for (int i = 1; i < argc && count < INPUTS_MAX; i++)
        tests[count++] =
            (struct CMUnitTest){.name = argv[i], .test_func = test_input, .initial_state = mem_strdup(argv[i])};
    if (count == 0 && !add_corpus(argv[0], &count))
        return 1;
    failed = _cmocka_run_group_tests("corpus", tests, count, NULL, NULL);
    for (size_t i = 0; i < count; i++)
        mem_free(tests[i].initial_state);
    printf("%u allocations were made to fail\n", failed_allocations);
    return failed != 0 || failed_allocations == 0;
}
