#!/bin/bash
# threads.sh - the daemon calls no function that works on memory that all threads share. (strerror, strsignal and getenv are safe: glibc gives each
# thread its own text, and the environment is never changed.) atsyncctl and what main() does before there are threads may.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

unsafe='asctime|basename|clearenv|crypt|ctime|dirname|exit|getdate|getgrent|getgrgid|getgrnam|gethostbyaddr|gethostbyname|getlogin|getnetbyname|getopt|getopt_long|getpwent|getpwnam|getpwuid|getservbyname|getservbyport|glob|gmtime|inet_ntoa|localtime|mblen|mbtowc|putenv|rand|random|setenv|setlocale|srand|srandom|strtok|tmpnam|ttyname|unsetenv|wctomb'
finish "$(c_files src | grep -v -e '^src/ctl/' -e '^src/main\.c$' | xargs -r grep -HnE "(^|[^A-Za-z0-9_>.])($unsafe)\(" |
    sed -E "s/^([^:]*:[0-9]+):(.*[^A-Za-z0-9_>.])?($unsafe)\(.*/\1: \3() is not safe where there are threads/" || true)"
