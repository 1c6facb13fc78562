/* What a candidate has typed is no markup in a note, whichever ATS it goes to: every shipped connector with the same texts. */
#include <ctype.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "lib/json.h"
#include "table.h"

/* How the ATS shows notes to people, by what its API says of them; the vendors say it of few. */
enum shown { AS_TEXT, AS_HTML, NOT_KNOWN };
static const struct {
    const char *type;
    enum shown shown;
    bool links_names; /* "#[…]" and "@[…]" in a text name somebody */
} connectors[] = {
    {"ashby", AS_TEXT, false}, /* the request says text/plain */
    {"bamboohr", NOT_KNOWN, false},
    {"bullhorn", AS_HTML, false},
    {"greenhouse", NOT_KNOWN, false},
    {"icims", NOT_KNOWN, false},
    {"jobadder", NOT_KNOWN, false},
    {"kombo", AS_TEXT, false}, /* the request says PLAIN_TEXT */
    {"lever", NOT_KNOWN, false},
    {"merge", NOT_KNOWN, false},
    {"recruitee", NOT_KNOWN, false},
    {"rest", AS_TEXT, false}, /* as its description says */
    {"smartrecruiters", NOT_KNOWN, true},
    {"teamtailor", NOT_KNOWN, false},
    {"workable", NOT_KNOWN, false},
    {"zoho-recruit", NOT_KNOWN, false},
};

static const char *const typed[] = {
    "<script>alert(1)</script>",
    "yes <img src=x onerror=\"alert(1)\">",
    "</p></div><a href='javascript:alert(1)'>me</a>",
    "<!-- the rest is gone",
    "<![CDATA[x]]>",
    "<?php echo 1 ?>",
    "<SVG/onload=alert(1)>",
    "<<b>twice</b>",
    "<\xc3\xa9>, <3, 2 < 3 > 1, a<>b, \"R&D\", &lt;b&gt; &#60;i&#62;",
    "<",
    "#[CANDIDATE:1] @[USER:2] ##[a] @@[b]",
};

/* The only text of the request that holds the note. */
static const char *find_note(const struct json *j)
{
    const char *text = json_str(j);

    if (text != NULL)
        return strstr(text, "BEGIN ") != NULL ? text : NULL;
    for (const struct json *member = json_first(j); member != NULL; member = json_next(member)) {
        const char *found = find_note(member);

        if (found != NULL)
            return found;
    }
    return NULL;
}

static bool opens_tag(const char *text)
{
    return text[0] == '<' && (isalpha((unsigned char)text[1]) || text[1] == '/' || text[1] == '!' || text[1] == '?');
}

static void check(size_t which, const char *body, const char *note)
{
    const char *type = connectors[which].type, *ours = strstr(note, "BEGIN ");

    if (connectors[which].shown == AS_TEXT && !text_starts(ours, body))
        fail_msg("%s: \"%s\" has become \"%s\"", type, body, note);
    for (const char *c = ours; *c != '\0'; c++) {
        bool is_break = connectors[which].shown == AS_HTML && text_starts(c, "<br>");

        if (connectors[which].shown != AS_TEXT && opens_tag(c) && !is_break)
            fail_msg("%s: a tag begins in \"%s\"", type, note);
        if (connectors[which].shown == AS_HTML && (*c == '<' || *c == '>' || *c == '"') && !is_break &&
            !(c - ours >= 3 && text_starts(c - 3, "<br>")))
            fail_msg("%s: not escaped: \"%s\"", type, note);
        if (connectors[which].links_names && (*c == '#' || *c == '@') && c[1] == '[')
            fail_msg("%s: somebody is named in \"%s\"", type, note);
    }
}

/* What is no markup stays as it was, but for the escapes of HTML. */
static void check_plain(size_t which, const char *body, const char *note)
{
    bool is_html = connectors[which].shown == AS_HTML;
    const char *wanted = is_html ? "BEGIN 2 &lt; 3, R&amp;D &quot;\xe2\x82\xac 5&quot; END<br>["
                                 : "BEGIN 2 < 3, R&D \"\xe2\x82\xac 5\" END\n[";

    if (strstr(note, wanted) == NULL && strstr(note, body) == NULL)
        fail_msg("%s: \"%s\" has become \"%s\"", connectors[which].type, body, note);
    if (is_html && strstr(note, wanted) == NULL)
        fail_msg("%s: \"%s\" has become \"%s\"", connectors[which].type, body, note);
}

static void check_sent(size_t which, const char *body, const char *sent,
                       void (*checks)(size_t, const char *, const char *))
{
    struct json *j = NULL;

    assert_int_equal(json_parse(sent, strlen(sent), &j, NULL), ST_OK);
    if (find_note(j) == NULL)
        fail_msg("%s: the note is not in %s", connectors[which].type, sent);
    else
        checks(which, body, find_note(j));
    json_free(j);
}

static void test_what_is_typed_is_no_markup(void **state)
{
    enum { COUNT = ATS_COUNT(typed) + 1 };
    char *bodies[COUNT], *sent[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        bodies[i] = mem_printf("BEGIN %s END", i < ATS_COUNT(typed) ? typed[i] : "2 < 3, R&D \"\xe2\x82\xac 5\"");
    for (size_t which = 0; which < ATS_COUNT(connectors); which++) {
        char *path = mem_printf("tests/unit/connector/%s.json", connectors[which].type);

        table_notes(path, bodies, sent, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            check_sent(which, bodies[i], sent[i], i < ATS_COUNT(typed) ? check : check_plain);
            mem_free(sent[i]);
        }
        mem_free(path);
    }
    for (size_t i = 0; i < COUNT; i++)
        mem_free(bodies[i]);
}

static void test_every_connector_is_here(void **state)
{
    DIR *dir = opendir("conf/connectors");
    const struct dirent *entry;
    size_t count = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name), i = 0;

        if (len < 4 || strcmp(entry->d_name + len - 3, ".jq") != 0)
            continue;
        while (i < ATS_COUNT(connectors) &&
               !(strlen(connectors[i].type) == len - 3 && strncmp(connectors[i].type, entry->d_name, len - 3) == 0))
            i++;
        if (i == ATS_COUNT(connectors))
            fail_msg("how are notes of %s shown?", entry->d_name);
        count++;
    }
    (void)closedir(dir);
    assert_int_equal(count, ATS_COUNT(connectors));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_connector_is_here),
        cmocka_unit_test(test_what_is_typed_is_no_markup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
