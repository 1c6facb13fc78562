/* atsyncctl: the table of commands. */
#include <getopt.h>

#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "ctl/command.h"
#include "service/app.h"
#include "service/settings.h"

#define SELECTION "[--candidate X] [--connector C] [--workflow W] [--class E] [--since T] [--yes]"
#define SELECTION_HELP                                                                                                 \
    "  --candidate X   of this candidate (external id)\n"                                                              \
    "  --connector C   at this connector\n"                                                                            \
    "  --workflow W    of this workflow (external id)\n"                                                               \
    "  --class E       with this class of error: not_found, invalid, …\n"                                            \
    "  --since T       tried (resync: with an event received) since then: 2h, 3d, or 2026-04-28T10:45:00Z\n"           \
    "  -y, --yes       do not ask\n"                                                                                   \
    "\n"

static const struct command {
    const char *name;
    const char *args;
    const char *help;    /* one line */
    const char *details; /* options and an example */
    int (*run)(const struct ctl *ctl, int argc, char **argv);
} commands[] = {
    {"setup", "[--print] [--superuser CONNINFO] [--user USER]", "make roles, database, schema and signing secret",
     "  --print                print the SQL for the database's administrator and change nothing\n"
     "  --superuser CONNINFO   make it by this connection, for a server on another machine\n"
     "  --user USER            the OS user that the daemon runs as (default: atsyncd)\n"
     "\n"
     "As root it works on this machine's PostgreSQL as the OS user postgres; anybody else has to be a superuser "
     "there.\n"
     "What is there already stays as it is: it can be repeated.\n"
     "\n"
     "Example: atsyncctl setup\n",
     ctl_setup},
    {"migrate", "[--dry-run]", "bring the database's schema up to date",
     "  --dry-run   only say what would be done\n"
     "\n"
     "The role in database.conninfo must be allowed to create the schema atsync. Daemons may be running meanwhile.\n"
     "\n"
     "Example: atsyncctl migrate --dry-run\n",
     ctl_migrate},
    {"check", "[--no-probe]", "check configuration, database, clock, permissions, and each connector against its ATS",
     "  --no-probe   make no call to an ATS\n"
     "\n"
     "Example: atsyncctl -c new.conf check\n",
     ctl_check},
    {"doctor", "", "find what is wrong or will be: disk, bloat, clocks, schema, secrets, silence",
     "Each finding says what it is, why it matters and what to do. The exit status is 1 if one of them is an error.\n"
     "Root sees most: the disk of a local database and the files of all.\n"
     "\n"
     "Example: atsyncctl doctor --json | jq .findings\n",
     ctl_doctor},
    {"connectors", "[TYPE]", "list the types of connectors, or show all about one, with an example",
     "  TYPE     this type: abilities, credentials, settings, limits, and lines for the configuration\n"
     "  --mdoc   print the pages of all types for the manual\n"
     "\n"
     "Example: atsyncctl connectors greenhouse\n",
     ctl_connectors},
    {"connector-test", "TYPE FILE [--function F]", "run a connector's function on a file: its requests, no call made",
     "  TYPE           the type: its module is looked for as the daemon does\n"
     "  FILE           JSON: context, verb, settings, base_url, answers; - is standard input\n"
     "  --function F   this function instead of the file's verb\n"
     "\n"
     "The file is described in atsyncd-connectors(7).\n"
     "\n"
     "Example: atsyncctl connector-test rest stage.json\n",
     ctl_connector_test},
    {"send-sample", "TYPE [--set PATH=VALUE]... [--source NAME] [--url URL] [--ca FILE]",
     "sign a sample event and post it to the receiver",
     "  TYPE              contact-resolved, contact-resolution-skipped, contact-resolution-failed, run-started,\n"
     "                    node-completed, run-completed, run-failed, run-cancelled, published, or the event's own "
     "name\n"
     "  --set PATH=VALUE  change the event; VALUE is JSON, or else a text\n"
     "  --source NAME     whose signing secret and path to use (default: the only source)\n"
     "  --url URL         where to (default: receiver.listen of the configuration)\n"
     "  --ca FILE         trust only the certificate authorities in this file\n"
     "\n"
     "Example: atsyncctl send-sample run-completed --set data.candidateProfileExternalId=ats_7\n",
     ctl_send_sample},
    {"import", "FILE... [--source NAME]", "take events from files as if they were received now",
     "  FILE            JSON: one event, a list, one a line, or one behind the other; - is standard input.\n"
     "                  Events may be wrapped as dead-letter queues do, in a member such as payload or body.\n"
     "  --source NAME   whose events these are (default: the only source)\n"
     "\n"
     "No signature is asked for; everything else is as with a webhook. Events that are there already are\n"
     "recognised. The exit status is 1 if some were refused; each of them is told with its line.\n"
     "\n"
     "Example: atsyncctl import dead-letters.ndjson\n",
     ctl_import},
    {"plan", "[--candidate X] [--since T] [--workflow W] [--connector C] [--config NEW]",
     "show what would be written and why, without a call",
     "  --candidate X   only this candidate (external id), with what needs nothing too\n"
     "  --since T       only candidates with an event received since then: 2h, 3d, or 2026-04-28T10:45:00Z\n"
     "  --workflow W    only what this workflow (external id) wants\n"
     "  --connector C   only at this connector\n"
     "  --config NEW    what changing to this configuration would write, beyond what happens today\n"
     "\n"
     "  + is written   ~ is tried again   ! is dead   - is no longer wanted   = needs nothing\n"
     "\n"
     "Example: atsyncctl plan --since 3d --config new.conf\n",
     ctl_plan},
    {"status", "[CANDIDATE]", "show the queue and the connectors, or how a candidate stands and what happened to it",
     "  CANDIDATE   external id, or a reference like p:cp_18c2 of who has none yet\n"
     "\n"
     "Example: atsyncctl status ats_42\n",
     ctl_status},
    {"issues", "[--all]", "show what is wrong and what to do about it",
     "  --all   those that are closed too\n"
     "\n"
     "Example: atsyncctl issues --all\n",
     ctl_issues},
    {"tail", "[--since T]", "show events, calls, writes and issues as they come, until Ctrl-C",
     "  --since T   begin then: 10m, 2h, or 2026-04-28T10:45:00Z (default: now)\n"
     "\n"
     "Example: atsyncctl tail --since 10m\n",
     ctl_tail},
    {"retry", SELECTION, "try dead writes again",
     SELECTION_HELP "Example: atsyncctl retry --connector greenhouse --class not_found --since 2d\n", ctl_retry},
    {"skip", SELECTION, "give up on dead writes", SELECTION_HELP "Example: atsyncctl skip --candidate ats_42\n",
     ctl_skip},
    {"resync", SELECTION, "compute everything again; only differences are written",
     SELECTION_HELP
     "Without any of these: every candidate.\n\nExample: atsyncctl resync --workflow cedar-rgn-screening\n",
     ctl_resync},
    {"pause", "CONNECTOR [--reason TEXT]", "make no calls by a connector until it is resumed",
     "  --reason TEXT   for whoever looks at the status\n"
     "\n"
     "Example: atsyncctl pause greenhouse --reason \"migration until noon\"\n",
     ctl_pause},
    {"resume", "CONNECTOR", "let a connector go on that is paused, throttled or given a rest",
     "\n"
     "Example: atsyncctl resume greenhouse\n",
     ctl_resume},
    {"link", "--profile ID | --run ID | --contact ID  --external-id X [--source S]",
     "say by hand whose record a profile, run or contact is",
     "  --profile ID       the sender's candidateProfileId\n"
     "  --run ID           a run, where only that is known\n"
     "  --contact ID       the recordId of a failed contact resolution\n"
     "  --external-id X    the candidate in the ATS\n"
     "  --source S         of which source (default: the only one)\n"
     "\n"
     "Example: atsyncctl link --profile cp_18c2 --external-id 4711\n",
     ctl_link},
    {"erase", "--candidate X | --profile ID | --run ID | --contact ID  [--source S] [--yes]",
     "delete what is stored of a person, and keep nothing that comes later",
     "  --candidate X    the person's external id\n"
     "  --profile ID     the sender's candidateProfileId, where no external id is known\n"
     "  --run ID         a run, where only that is known\n"
     "  --contact ID     the recordId of a failed contact resolution\n"
     "  --source S       of this source only (default: of all that know the name)\n"
     "  -y, --yes        do not ask\n"
     "\n"
     "Events, runs with their answers, writes, calls, contacts, other names and issues that name the person are\n"
     "deleted. Hashes of the names are kept, so that what is sent again, or later, is answered and not processed.\n"
     "The ATS, the sender, logs and backups are not reached: see the document privacy.md.\n"
     "\n"
     "Example: atsyncctl erase --candidate ats_42\n",
     ctl_erase},
};

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, 'j'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_help(FILE *out)
{
    fputs("Usage: atsyncctl [-c FILE] [--json] COMMAND [ARGUMENT...]\n"
          "\n"
          "  -c, --config FILE  the daemon's configuration (default " SETTINGS_DEFAULT_PATH ")\n"
          "      --json         print JSON\n"
          "      --version      print the version, and end\n"
          "  -h, --help         print this text, or with a command its own, and end\n"
          "\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < ATS_COUNT(commands); i++) {
        fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\nManual: man 8 atsyncctl\n", out);
}

static void print_command_help(const struct command *c)
{
    printf("Usage: atsyncctl [-c FILE] [--json] %s%s%s\n\nWhat it does: %s.\n\n%s", c->name,
           *c->args != '\0' ? " " : "", c->args, c->help, *c->details == '\n' ? c->details + 1 : c->details);
}

static const struct command *find_command(const char *name)
{
    const char *names[ATS_COUNT(commands)];
    const char *near;

    for (size_t i = 0; i < ATS_COUNT(commands); i++) {
        if (text_eq(commands[i].name, name)) {
            return &commands[i];
        }
        names[i] = commands[i].name;
    }
    near = suggest(name, names, ATS_COUNT(names));
    if (near) {
        (void)ctl_usage("atsyncctl", "there is no command \"%s\", did you mean %s?", name, near);
    } else {
        (void)ctl_usage("atsyncctl", "there is no command \"%s\"", name);
    }
    return NULL;
}

/* Takes --json and -c FILE out, wherever they stand before "--"; returns whether --help is among the arguments. */
static bool take_common(struct ctl *ctl, int *argc, char **argv)
{
    int kept = 1;
    bool help = false, open = true;

    for (int i = 1; i < *argc; i++) {
        open = open && !text_eq(argv[i], "--");
        help = help || (open && (text_eq(argv[i], "--help") || text_eq(argv[i], "-h")));
        if (open && text_eq(argv[i], "--json")) {
            ctl->json = true;
        } else if (open && text_eq(argv[i], "-c") && i + 1 < *argc) {
            ctl->config_path = argv[++i];
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return help;
}

int main(int argc, char **argv)
{
    static char own_name[] = "atsyncctl"; /* for messages, by whatever path it was called */
    struct ctl ctl = {.config_path = SETTINGS_DEFAULT_PATH};
    const struct command *command;
    char *name;
    int option, status;

    mem_forbid_core();
    if (argc > 0) {
        argv[0] = own_name;
    }
    while ((option = ctl_next_option(argc, argv, "+c:h", options)) != -1) {
        switch (option) {
        case 'c':
            ctl.config_path = optarg;
            break;
        case 'j':
            ctl.json = true;
            break;
        case 'V':
            puts("atsyncctl " ATSYNC_VERSION);
            return EXIT_CLEAN;
        case 'h':
            print_help(stdout);
            return EXIT_CLEAN;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind == argc) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    command = find_command(argv[optind]);
    if (!command) {
        return EXIT_USAGE;
    }
    argc -= optind;
    argv += optind;
    if (take_common(&ctl, &argc, argv)) {
        print_command_help(command);
        return EXIT_CLEAN;
    }
    name = mem_printf("atsyncctl %s", command->name);
    argv[0] = name;
    optind = 0; /* getopt begins anew */
    status = command->run(&ctl, argc, argv);
    mem_free(name);
    if (fflush(stdout) != 0 || ferror(stdout)) { /* a piece that was written earlier may be what is missing */
        perror("atsyncctl: standard output");
        return EXIT_RUNTIME;
    }
    return status;
}
