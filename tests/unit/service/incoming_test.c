#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "service/incoming.h"

static struct workflow_map maps[] = {
    {.external_id = (char[]){"cedar"}, .connector = (char[]){"greenhouse"}},
    {.external_id = (char[]){"*"}, .connector = (char[]){"lever"}},
};
static const struct mapping with_default = {.workflows = maps, .count = 2};
static const struct mapping without_default = {.workflows = maps, .count = 1};

static void fill(const char *body, const struct mapping *mapping, struct arena *arena, struct ingest_event *ret)
{
    struct event e;

    struct arena *parsing = arena_new();

    assert_int_equal(event_parse(body, strlen(body), parsing, &e, NULL), ST_OK);
    incoming_event(&e, "popp", mapping, arena, ret);
    arena_free(parsing); /* what was filled in must not point into the tree */
}

static void assert_text(const char *got, const char *expected)
{
    if (expected == NULL)
        assert_null(got);
    else
        assert_string_equal(got, expected);
}

static void test_routing(void **state)
{
    static const struct {
        const char *body;
        const struct mapping *mapping;
        const char *subject, *connector;
    } cases[] = {
        {"{\"event\":\"WORKFLOW_RUN_STARTED\",\"data\":{\"recordId\":\"r\",\"candidateProfileExternalId\":\"c\","
         "\"workflowExternalId\":\"cedar\"}}",
         &with_default, "x:c", "greenhouse"},
        {"{\"event\":\"WORKFLOW_RUN_STARTED\",\"data\":{\"recordId\":\"r\",\"candidateProfileExternalId\":\"c\","
         "\"workflowExternalId\":\"other\"}}",
         &with_default, "x:c", "lever"},
        {"{\"event\":\"WORKFLOW_RUN_STARTED\",\"data\":{\"recordId\":\"r\",\"candidateProfileExternalId\":\"c\","
         "\"workflowExternalId\":\"other\"}}",
         &without_default, "x:c", ""},
        /* which workflow this is may still be learned: not for the default */
        {"{\"event\":\"WORKFLOW_RUN_STARTED\",\"data\":{\"recordId\":\"r\",\"candidateProfileExternalId\":\"c\"}}",
         &with_default, "x:c", ""},
        /* whose it is has to be learned first */
        {"{\"event\":\"WORKFLOW_RUN_STARTED\",\"data\":{\"recordId\":\"r\",\"candidateProfileId\":\"p\","
         "\"workflowExternalId\":\"cedar\"}}",
         &with_default, "p:p", ""},
        {"{\"event\":\"WORKFLOW_RUN_STARTED\",\"data\":{\"recordId\":\"r\",\"workflowExternalId\":\"cedar\"}}",
         &with_default, "r:r", ""},
        {"{\"event\":\"WORKFLOW_CONTACT_RESOLUTION_FAILED\",\"data\":{\"recordId\":\"k\",\"workflowExternalId\":"
         "\"cedar\"}}",
         &with_default, "c:k", ""},
        {"{\"event\":\"WORKFLOW_PUBLISHED\",\"data\":{\"recordId\":\"w\",\"workflowExternalId\":\"cedar\"}}",
         &with_default, "w:w", ""},
        /* other families are kept and need no work */
        {"{\"event\":\"CONVERSATION_STARTED\",\"data\":{\"recordId\":\"k\"}}", &with_default, "", NULL},
        {"{\"event\":\"NEW\",\"data\":{\"recordId\":\"k\",\"candidateProfileExternalId\":\"c\",\"workflowExternalId\":"
         "\"cedar\"}}",
         &with_default, "x:c", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct arena *arena = arena_new();
        struct ingest_event row = {0};

        fill(cases[i].body, cases[i].mapping, arena, &row);
        assert_text(row.subject, cases[i].subject);
        assert_text(row.connector, cases[i].connector);
        assert_string_equal(row.source, "popp");
        arena_free(arena);
    }
}

static void test_members(void **state)
{
    struct arena *arena = arena_new();
    struct ingest_event row = {0};

    (void)state;
    fill("{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"e1\",\"data\":{\"recordId\":\"r1\",\"timestamp\":\"1970-01-"
         "01T00:00:01Z\","
         "\"candidateProfileExternalId\":\"c1\",\"candidateProfileId\":\"p1\",\"workflowId\":\"w1\","
         "\"workflowExternalId\":\"cedar\"}}",
         &with_default, arena, &row);
    assert_string_equal(row.event_id, "e1");
    assert_string_equal(row.type, "WORKFLOW_RUN_STARTED");
    assert_string_equal(row.external_id, "c1");
    assert_string_equal(row.profile_id, "p1");
    assert_string_equal(row.run_id, "r1");
    assert_string_equal(row.workflow_id, "w1");
    assert_string_equal(row.workflow_external_id, "cedar");
    assert_true(row.time_us == 1000000);
    arena_free(arena);
}

static void row_of_ids(const char *event_id, const char *external_id, struct arena *arena, struct ingest_event *ret)
{
    char *body = mem_printf("{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"%s\",\"data\":{\"recordId\":\"%s\","
                            "\"candidateProfileExternalId\":\"%s\"}}",
                            event_id, external_id, external_id);

    fill(body, &with_default, arena, ret);
    mem_free(body);
}

/* Two ids that PostgreSQL could not tell apart once cleaned are two events, and no id is too long for an index. */
static void test_odd_and_long_texts(void **state)
{
    struct arena *arena = arena_new();
    struct ingest_event nul = {0}, surrogate = {0}, fits = {0}, too_long = {0};
    char long_id[402];

    (void)state;
    row_of_ids("a\\u0000", "a\\u0000", arena, &nul);
    row_of_ids("a\\ud800", "a\\ud800", arena, &surrogate);
    assert_true(text_starts(nul.event_id, "sha256:"));
    assert_int_equal(strlen(nul.event_id), strlen("sha256:") + 64);
    assert_string_not_equal(nul.event_id, surrogate.event_id);
    assert_string_equal(nul.external_id, "a\xEF\xBF\xBD");
    assert_string_equal(nul.run_id, "a\xEF\xBF\xBD");

    memset(long_id, 'y', sizeof long_id - 2);
    long_id[400] = '\0';
    row_of_ids(long_id, long_id, arena, &fits);
    assert_string_equal(fits.event_id, long_id);
    assert_string_equal(fits.run_id, long_id);
    long_id[400] = 'y';
    long_id[401] = '\0';
    row_of_ids(long_id, long_id, arena, &too_long);
    assert_true(text_starts(too_long.event_id, "sha256:"));
    assert_int_equal(too_long.run_id[0], '#');
    assert_int_equal(strlen(too_long.run_id), 65);
    assert_int_equal(strlen(too_long.external_id), 1 + 64); /* an index has to hold it */
    arena_free(arena);
}

/* Under which further names somebody who was erased is met. */
static void test_further_names(void **state)
{
    static const struct {
        const char *body, *names;
    } cases[] = {
        {"{\"event\":\"CONVERSATION_COMPLETED\",\"data\":{\"recordId\":\"k\",\"conversationId\":\"v\",\"externalId\":"
         "\"x\","
         "\"externalConversationId\":\"y\",\"email\":\"m\"}}",
         "o:k o:v x:x x:y "},
        {"{\"event\":\"CONVERSATION_COMPLETED\",\"data\":{\"recordId\":\"k\",\"candidateProfileExternalId\":\"c\"}}",
         ""},
        {"{\"event\":\"WORKFLOW_CONTACT_RESOLUTION_FAILED\",\"data\":{\"recordId\":\"k\",\"email\":\"Jane.ROE@Example."
         "org\","
         "\"phoneNumber\":\"+447700900142\"}}",
         "m:jane.roe@example.org t:+447700900142 "},
        {"{\"event\":\"WORKFLOW_CONTACT_RESOLUTION_FAILED\",\"data\":{\"recordId\":\"k\",\"externalId\":\"c\","
         "\"email\":\"m\"}}",
         ""},
        {"{\"event\":\"WORKFLOW_RUN_STARTED\",\"data\":{\"recordId\":\"k\",\"conversationId\":\"v\",\"email\":\"m\"}}",
         ""},
    };
    struct arena *arena = arena_new();

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct ingest_event e;
        const char *names = "";

        fill(cases[i].body, &with_default, arena, &e);
        for (size_t k = 0; k < INGEST_ALSO_MAX && e.also[k] != NULL; k++)
            names = arena_printf(arena, "%s%s ", names, e.also[k]);
        assert_string_equal(names, cases[i].names);
    }
    arena_free(arena);
}

static void test_content_types(void **state)
{
    static const struct {
        const char *type;
        bool json;
    } cases[] = {
        {"application/json", true},
        {"Application/JSON; charset=utf-8", true},
        {"application/json;charset=utf-8", true},
        {"application/cloudevents+json", true},
        {"application/problem+JSON ; x=y", true},
        {"", false},
        {"text/plain", false},
        {"application/jsonp", false},
        {"+json", false},
        {"application/x-www-form-urlencoded", false},
        {"text/plain; x=application/json", false},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        if (incoming_is_json(cases[i].type) != cases[i].json)
            fail_msg("\"%s\"", cases[i].type);
    }
}

static void test_paths(void **state)
{
    static const struct {
        const char *path, *source;
    } cases[] = {
        {"/webhooks/popp", "popp"}, {"/webhooks/", NULL}, {"/webhooks", NULL},           {"/", NULL},
        {"/webhooks/popp/", NULL},  {"", NULL},           {"/webhooks/popp/more", NULL}, {"/Webhooks/popp", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++)
        assert_text(incoming_source(cases[i].path), cases[i].source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routing),       cmocka_unit_test(test_members), cmocka_unit_test(test_odd_and_long_texts),
        cmocka_unit_test(test_content_types), cmocka_unit_test(test_paths),   cmocka_unit_test(test_further_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
