/* atsyncd: the table of contents. What the daemon consists of is in service/app. */
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>

#include "base/mem.h"
#include "service/app.h"
#include "service/settings.h"

static const char usage[] =
    "Usage: atsyncd [-c FILE] [-t]\n"
    "Takes signed webhooks and brings candidates' records in the ATS to the state that they tell.\n"
    "\n"
    "  -c, --config FILE  configuration (default " SETTINGS_DEFAULT_PATH ")\n"
    "  -t, --test         check configuration, connectors and mapping, and end\n"
    "      --version      print the version, and end\n"
    "  -h, --help         print this text, and end\n"
    "\n"
    "Manual: man 8 atsyncd, man 5 atsyncd.conf\n";

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"test", no_argument, NULL, 't'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Without standard descriptors the first socket would become standard error, and get the log. */
static void fill_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
}

int main(int argc, char **argv)
{
    const char *path = SETTINGS_DEFAULT_PATH;
    bool test = false;
    int option;

    fill_standard_descriptors();
    mem_forbid_core();
    while ((option = getopt_long(argc, argv, "c:th", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 't':
            test = true;
            break;
        case 'V':
            puts("atsyncd " ATSYNC_VERSION);
            return EXIT_CLEAN;
        case 'h':
            fputs(usage, stdout);
            return EXIT_CLEAN;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "atsyncd: unexpected argument \"%s\"\n%s", argv[optind], usage);
        return EXIT_USAGE;
    }
    return test ? app_check(path) : app_run(path);
}
