#include "service/lookup_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

enum { LIFETIME_MS = 1000, MIB = 1024 * 1024 };

static struct prepared_request request(const char *url, const char *body)
{
    return (struct prepared_request){.method = "GET",
                                     .url = url,
                                     .body = body,
                                     .body_len = body != NULL ? strlen(body) : 0,
                                     .cache_ms = LIFETIME_MS};
}

static struct httpc_response answer(const char *body, const struct httpc_header *headers, size_t count)
{
    return (struct httpc_response){.result = HTTPC_ANSWERED,
                                   .status = 200,
                                   .headers = headers,
                                   .header_count = count,
                                   .body = body,
                                   .body_len = strlen(body),
                                   .error = ""};
}

static void test_an_answer_is_a_copy(void **state)
{
    struct lookup_cache *c = lookup_cache_new();
    char name[] = "content-type", value[] = "application/json", body[] = "{\"a\":1}", url[] = "https://ats/stages";
    const struct httpc_header header = {.name = name, .value = value};
    struct prepared_request q = request(url, "{\"page\":2}");
    struct prepared_request other = request("https://ats/stages", "{\"page\":3}");
    struct httpc_response r = answer(body, &header, 1);
    const struct httpc_response *kept;

    (void)state;
    lookup_cache_put(c, &q, &r, 0);
    memset(name, 'x', sizeof name - 1);
    memset(value, 'x', sizeof value - 1);
    memset(body, 'x', sizeof body - 1);
    kept = lookup_cache_get(c, &q, LIFETIME_MS - 1);
    assert_non_null(kept);
    assert_string_equal(kept->body, "{\"a\":1}");
    assert_int_equal(kept->body_len, 7);
    assert_int_equal(kept->header_count, 1);
    assert_string_equal(kept->headers[0].name, "content-type");
    assert_string_equal(kept->headers[0].value, "application/json");
    assert_null(lookup_cache_get(c, &other, 0));
    assert_null(lookup_cache_get(c, &q, LIFETIME_MS));
    lookup_cache_free(c);
}

static void test_what_is_not_kept(void **state)
{
    struct lookup_cache *c = lookup_cache_new();
    struct prepared_request q = request("https://ats/stages", NULL);
    struct prepared_request once = q;
    struct httpc_response r = answer("{}", NULL, 0);

    (void)state;
    once.cache_ms = 0;
    lookup_cache_put(c, &once, &r, 0);
    r.status = 404;
    lookup_cache_put(c, &q, &r, 0);
    r = (struct httpc_response){.result = HTTPC_UNCERTAIN, .status = 200, .body = "", .error = "no answer"};
    lookup_cache_put(c, &q, &r, 0);
    assert_null(lookup_cache_get(c, &q, 0));
    r = answer("", NULL, 0);
    lookup_cache_put(c, &q, &r, 0);
    assert_string_equal(lookup_cache_get(c, &q, 0)->body, "");
    lookup_cache_clear(c);
    assert_null(lookup_cache_get(c, &q, 0));
    lookup_cache_free(c);
}

/* How many of so many equally large answers are kept; those are the last ones. */
static unsigned kept_of(unsigned count, const struct httpc_response *r)
{
    struct lookup_cache *c = lookup_cache_new();
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        char *url = mem_printf("https://ats/%u", i);
        struct prepared_request q = request(url, NULL);

        lookup_cache_put(c, &q, r, 0);
        mem_free(url);
    }
    for (unsigned i = 0; i < count; i++) {
        char *url = mem_printf("https://ats/%u", i);
        struct prepared_request q = request(url, NULL);

        if (lookup_cache_get(c, &q, 0) != NULL)
            kept++;
        else
            assert_int_equal(kept, 0); /* the oldest go first */
        mem_free(url);
    }
    lookup_cache_free(c);
    return kept;
}

/* A foreign server decides how large answers are and how many there are: headers count as much as bodies. */
static void test_the_whole_is_limited(void **state)
{
    char *large = mem_alloc(MIB);
    const struct httpc_header header = {.name = "x-large", .value = large};
    struct httpc_response r;

    (void)state;
    memset(large, 'x', MIB - 1);
    large[MIB - 1] = '\0';
    r = answer(large, NULL, 0);
    assert_in_range(kept_of(100, &r), 30, 31);
    r = answer("", &header, 1);
    assert_in_range(kept_of(100, &r), 30, 31);
    r = answer("{}", NULL, 0);
    assert_int_equal(kept_of(2100, &r), 2000);
    mem_free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_is_a_copy),
        cmocka_unit_test(test_what_is_not_kept),
        cmocka_unit_test(test_the_whole_is_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
