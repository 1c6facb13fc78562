/* What people are told to do about a connector that had to stop, for each connector of the product. */
#include "connector/remedy.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "connector/module.h"

#define RELOAD " and reload (systemctl reload atsyncd or kill -HUP): it goes on by itself then."
#define LOOK "Look whether the credentials are still good, and make new ones if not. "
#define SETTING " Or a setting is wrong. "
#define IN_THE_ATS " If it was put right in the ATS instead: atsyncctl resume "

static const char *const types[] = {"rest",     "greenhouse",      "lever",      "ashby",        "bullhorn",
                                    "workable", "smartrecruiters", "teamtailor", "recruitee",    "jobadder",
                                    "merge",    "kombo",           "icims",      "zoho-recruit", "bamboohr"};
static const char *const classes[] = {"credentials", "permission", "configuration"};

static struct connector_module *load(const char *type)
{
    struct connector_module *m = NULL;
    struct errmsg err = {""};

    if (connector_module_load("conf/atsyncd.conf", type, &m, &err) != ST_OK)
        fail_msg("%s: %s", type, err.text);
    return m;
}

static struct remedy ask(const char *type, const char *error_class, const char *message, struct arena *arena)
{
    struct connector_module *m = load(type);
    struct connector_config c = {.name = arena_printf(arena, "my-%s", type), .type = arena_strdup(arena, type)};
    struct remedy r = remedy_of(connector_module_meta(m), &c, error_class, message, arena);

    connector_module_unref(m);
    return r;
}

static void test_whole_texts(void **state)
{
    static const struct {
        const char *type, *error_class, *message, *reason, *hint;
    } cases[] = {
        {"lever", "credentials", "Invalid API key.",
         "Lever rejected the credentials of connector my-lever: Invalid API key",
         LOOK "api_key: an API key made in Lever: Settings, Integrations and API, API Credentials. Put them under "
              "credentials in connectors.my-lever" RELOAD SETTING "api_host: api.lever.co, api.eu.lever.co or "
              "api.sandbox.lever.co." IN_THE_ATS "my-lever."},
        {"greenhouse", "credentials", "", "Greenhouse (Harvest v3) rejected the credentials of connector my-greenhouse",
         LOOK "client_id: of an API credential (Harvest v3, OAuth) made in Greenhouse: Configure, Dev Center, API "
              "Credentials. client_secret: shown once when the credential is made. Put them under credentials in "
              "connectors.my-greenhouse" RELOAD SETTING
              "user_id: the id of the Greenhouse user in whose name atsyncd writes, such as "
              "4080." IN_THE_ATS "my-greenhouse."},
        {"ashby", "credentials", "", "Ashby rejected the credentials of connector my-ashby",
         LOOK "api_key: an API key made in Ashby: Admin, Integrations, API Keys. Put them under credentials in "
              "connectors.my-ashby" RELOAD IN_THE_ATS "my-ashby."},
        {"workable", "permission", "403", "Workable does not permit connector my-workable to do its work",
         "Permit it to the owner of the credentials, then atsyncctl resume my-workable; atsyncctl connectors workable "
         "tells what is needed. Or take others. token: an API access token made in Workable: Settings, Integrations, "
         "Apps, "
         "Access tokens; scopes r_jobs, r_candidates, w_candidates. subdomain: the account's name, as in "
         "https://NAME.workable.com. member_id: the id of the Workable member in whose name atsyncd writes (GET "
         "/members lists them). Put them in connectors.my-workable" RELOAD},
        {"rest", "configuration", "base_url \"x\" is no address",
         "Connector my-rest cannot reach Plain REST API as it is configured: base_url \"x\" is no address",
         "Correct base_url or the settings of connectors.my-rest" RELOAD " atsyncctl check tells whether it "
         "works." IN_THE_ATS "my-rest."},
    };

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        struct arena *arena = arena_new();
        struct remedy r = ask(cases[i].type, cases[i].error_class, cases[i].message, arena);

        assert_string_equal(r.reason, cases[i].reason);
        assert_string_equal(r.hint, cases[i].hint);
        arena_free(arena);
    }
}

/* Sentences: no double marks, no help that ends in one, nothing unfinished. REMEDIES=show prints them for reading. */
static void assert_reads_well(const char *type, const char *text)
{
    static const char *const never[] = {"..", ". .", ";.", ":.", ",.", "  ", "(null)", " .", ": :", "{", "}"};

    for (size_t i = 0; i < ATS_COUNT(never); i++) {
        if (strstr(text, never[i]) != NULL)
            fail_msg("%s: \"%s\" in: %s", type, never[i], text);
    }
    assert_true(isupper((unsigned char)text[0]) || islower((unsigned char)text[0]));
}

static void test_every_connector(void **state)
{
    const char *show = getenv("REMEDIES");

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(types); i++) {
        struct connector_module *m = load(types[i]);
        const struct json *meta = connector_module_meta(m);

        for (size_t k = 0; k < ATS_COUNT(classes); k++) {
            struct arena *arena = arena_new();
            struct remedy r = ask(types[i], classes[k], "Some words.", arena);

            if (text_eq(show, "show"))
                print_message("%s.\n    %s\n", r.reason, r.hint);
            assert_reads_well(types[i], r.reason);
            assert_reads_well(types[i], r.hint);
            assert_non_null(strstr(r.reason, json_get_str(meta, "title")));
            assert_non_null(strstr(r.reason, arena_printf(arena, "connector my-%s", types[i])) != NULL
                                ? r.reason
                                : strstr(r.reason, arena_printf(arena, "Connector my-%s", types[i])));
            assert_non_null(strstr(r.hint, RELOAD));
            /* whoever has to make a new key is told where */
            for (const struct json *c = json_first(json_get(meta, "credentials")); c != NULL && k < 2; c = json_next(c))
                assert_non_null(strstr(r.hint, arena_printf(arena, "%s: %s. ", json_key(c), json_get_str(c, "help"))));
            arena_free(arena);
        }
        connector_module_unref(m);
    }
}

/* A code tells a recruiter nothing. */
static void test_codes(void **state)
{
    static const char *const messages[] = {"", "401", "403.", " 401 ", "[401]"};

    (void)state;
    for (size_t i = 0; i < ATS_COUNT(messages); i++) {
        struct arena *arena = arena_new();

        assert_string_equal(ask("ashby", "credentials", messages[i], arena).reason,
                            "Ashby rejected the credentials of connector my-ashby");
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_texts),
        cmocka_unit_test(test_every_connector),
        cmocka_unit_test(test_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
