/* What an administrator does with atsyncctl: setup, doctor, completion, and long work at a terminal. */
#include <signal.h>

#include "base/text.h"
#include "lib/ctlkit.h"

#define COMPLETION TEST_SOURCE_DIR "/packaging/completion/atsyncctl"
#define SAMPLE_CONF TEST_SOURCE_DIR "/conf/atsyncd.conf"

/* ---- completion */

/* What bash offers at the end of this line; a word each, in its order. */
static const char *completed(struct harness *h, const char *line)
{
    char *command = arena_printf(h->arena,
                                 "PATH=%s:$PATH; . %s || exit; words=(%s); COMP_WORDS=(\"${words[@]}\"); "
                                 "COMP_CWORD=$((${#words[@]} - 1)); _atsyncctl; printf '%%s ' \"${COMPREPLY[@]}\"",
                                 TEST_BUILD_DIR, COMPLETION, line);
    char *script = arena_printf(h->arena, "%s/completion.sh", h->dir);
    char output[4096];
    FILE *f = fopen(script, "we");
    size_t n;

    assert_non_null(f);
    fputs(command, f);
    assert_int_equal(fclose(f), 0);
    f = popen(arena_printf(h->arena, "bash --norc %s 2>&1", script), "re");
    assert_non_null(f);
    n = fread(output, 1, sizeof output - 1, f);
    assert_int_equal(pclose(f), 0);
    while (n > 0 && output[n - 1] == ' ')
        n--;
    return arena_strndup(h->arena, output, n);
}

E2E_TEST(bash_completes)
{
#define CONF "-c " SAMPLE_CONF " "
    static const struct {
        const char *line;
        const char *offered;
    } cases[] = {
        {"atsyncctl re", "retry resync resume"},
        {"atsyncctl --v", "--version"},
        {"atsyncctl --json sta", "status"},
        {"atsyncctl retry --c", "--candidate --connector --class"},
        {"atsyncctl retry --y", "--yes"},
        {"atsyncctl " CONF "retry --connector ''", "greenhouse"},
        {"atsyncctl " CONF "retry --connector = gr", "greenhouse"}, /* as bash splits --connector=gr */
        {"atsyncctl " CONF "resync --candidate x --workflow ''", "cedar-rgn-screening"},
        {"atsyncctl retry --class not", "not_found"},
        {"atsyncctl " CONF "pause ''", "greenhouse"},
        {"atsyncctl " CONF "pause greenhouse ''", ""}, /* one at a time */
        {"atsyncctl send-sample run-c", "run-completed run-cancelled"},
        {"atsyncctl " CONF "send-sample --source ''", "popp"},
        {"atsyncctl " CONF "connectors recr", "recruitee"},
        {"atsyncctl " CONF "connector-test re", "recruitee rest"},
        {"atsyncctl plan --config " TEST_SOURCE_DIR "/conf/atsyncd.c", SAMPLE_CONF},
        {"atsyncctl " CONF "status ''", ""}, /* no candidate is looked up for it */
        {"atsyncctl nonsense --", "--help --json"},
    };
#undef CONF

    for (size_t i = 0; i < ATS_COUNT(cases); i++) {
        const char *offered = completed(h, cases[i].line);

        if (strcmp(offered, cases[i].offered) != 0)
            fail_msg("%s\noffers  %s\nand not %s", cases[i].line, offered, cases[i].offered);
    }
}

/* Every command that there is has a help with an example, and its options are offered. */
E2E_TEST(every_command_has_help_and_completion)
{
    const char *commands = completed(h, "atsyncctl ''");
    unsigned count = 0;

    for (const char *at = commands; *at != '\0'; at += strspn(at, " ")) {
        const char *name = arena_strndup(h->arena, at, strcspn(at, " "));
        const char *help = NULL;
        const char *offered = completed(h, arena_printf(h->arena, "atsyncctl %s --", name));

        at += strlen(name);
        count++;
        assert_int_equal(program_run(h, &help, "atsyncctl", name, "--help", NULL), 0);
        assert_has(help, arena_printf(h->arena, "Usage: atsyncctl [-c FILE] [--json] %s", name));
        assert_has(help, "\nExample: atsyncctl ");
        assert_has(strstr(help, "\nExample: "), arena_printf(h->arena, " %s", name));
        for (const char *line = strstr(help, "\n  -"); line != NULL; line = strstr(line + 1, "\n  -")) {
            const char *option = strstr(line, "--");

            assert_non_null(option);
            option = arena_strndup(h->arena, option, strspn(option, "-abcdefghijklmnopqrstuvwxyz"));
            if (!text_has(arena_printf(h->arena, "%s ", offered), arena_printf(h->arena, "%s ", option)))
                fail_msg("%s %s is not completed, only %s", name, option, offered);
        }
    }
    assert_true(count >= 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        E2E_RUN(bash_completes),
        E2E_RUN(every_command_has_help_and_completion),
    };

    if (freopen("/dev/null", "r", stdin) == NULL) /* whoever runs the tests may sit at a terminal */
        return 1;
    return e2e_main(tests);
}
