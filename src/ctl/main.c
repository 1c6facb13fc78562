/* atsyncctl: the table of commands. */
#include <getopt.h>

#include "base/mem.h"
#include "base/suggest.h"
#include "base/text.h"
#include "ctl/command.h"
#include "service/app.h"
#include "service/settings.h"

static const struct command {
    const char *name;
    const char *args;
    const char *help;    /* one line */
    const char *details; /* options and an example */
    int (*run)(const struct ctl *ctl, int argc, char **argv);
} commands[] = {
    {"migrate", "[--dry-run]", "bring the database's schema up to date",
     "  --dry-run   only say what would be done\n"
     "\n"
     "The role in database.conninfo must be allowed to create the schema atsync. Daemons may be running meanwhile.\n"
     "\n"
     "Example: atsyncctl migrate --dry-run\n",
     ctl_migrate},
    {"check", "", "check configuration, connectors, mapping, and that the database is there and fits",
     "\n"
     "Example: atsyncctl -c new.conf check\n",
     ctl_check},
    {"send-sample", "TYPE [--set PATH=VALUE]... [--source NAME] [--url URL] [--ca FILE]", "sign a sample event and post it to the receiver",
     "  TYPE              contact-resolved, contact-resolution-skipped, contact-resolution-failed, run-started,\n"
     "                    node-completed, run-completed, run-failed, run-cancelled, published, or the event's own name\n"
     "  --set PATH=VALUE  change the event; VALUE is JSON, or else a text\n"
     "  --source NAME     whose signing secret and path to use (default: the only source)\n"
     "  --url URL         where to (default: receiver.listen of the configuration)\n"
     "  --ca FILE         trust only the certificate authorities in this file\n"
     "\n"
     "Example: atsyncctl send-sample run-completed --set data.candidateProfileExternalId=ats_7\n",
     ctl_send_sample},
};

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'}, {"json", no_argument, NULL, 'j'}, {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
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
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\nManual: man 1 atsyncctl\n", out);
}

static void print_command_help(const struct command *c)
{
    printf("Usage: atsyncctl [-c FILE] [--json] %s%s%s\n\nWhat it does: %s.\n\n%s", c->name, *c->args != '\0' ? " " : "", c->args, c->help,
           *c->details == '\n' ? c->details + 1 : c->details);
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

/* Takes --json out, wherever it stands before "--"; returns whether --help is among the arguments. */
static bool take_common(struct ctl *ctl, int *argc, char **argv)
{
    int kept = 1;
    bool help = false, open = true;

    for (int i = 1; i < *argc; i++) {
        open = open && !text_eq(argv[i], "--");
        help = help || (open && (text_eq(argv[i], "--help") || text_eq(argv[i], "-h")));
        if (open && text_eq(argv[i], "--json")) {
            ctl->json = true;
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
    struct ctl ctl = {.config_path = SETTINGS_DEFAULT_PATH};
    const struct command *command;
    char *name;
    int option, status;

    while ((option = getopt_long(argc, argv, "+c:h", options, NULL)) != -1) {
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
            print_help(stderr);
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
    if (fflush(stdout) != 0) {
        perror("atsyncctl: standard output");
        return EXIT_RUNTIME;
    }
    return status;
}
