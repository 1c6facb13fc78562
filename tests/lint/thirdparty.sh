#!/bin/bash
# thirdparty.sh - a library's headers are included in one source file of src/ only, never in our headers, and a source
# file knows one library at most. Everything else in <…> must be a header of the C library or the kernel.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

finish "$(c_files include src | xargs awk '
    BEGIN {
        split("assert ctype dirent dlfcn endian errno fcntl float fnmatch getopt glob grp inttypes limits locale math netdb poll pthread " \
              "pwd sched semaphore signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn " \
              "string strings syslog termios threads time uchar unistd wchar wctype", names, " ")
        for (i in names) system_header[names[i] ".h"] = 1
    }
    function library(header) {
        if (header ~ /^curl\//) return "libcurl"
        if (header ~ /^cjson\//) return "cJSON"
        if (header ~ /^openssl\//) return "OpenSSL"
        if (header ~ /^(libpq|postgresql)/) return "libpq"
        if (header == "microhttpd.h") return "libmicrohttpd"
        if (header == "jq.h" || header == "jv.h") return "libjq"
        if (header == "yaml.h") return "libyaml"
        if (header in system_header || header ~ /^(arpa|linux|net|netinet|sys)\//) return ""
        return "unknown"
    }
    /^[ \t]*#[ \t]*include[ \t]*</ {
        header = $0; sub(/^[^<]*</, "", header); sub(/>.*/, "", header)
        name = library(header); here = FILENAME ":" FNR ": "
        if (name == "") next
        if (name == "unknown") print here "<" header "> is not known: add it to tests/lint/thirdparty.sh"
        else if (FILENAME ~ /^include\//) print here name " is visible in a header of ours"
        else if (name in home && home[name] != FILENAME) print here name " already has a home, " home[name]
        else if (FILENAME in guest && guest[FILENAME] != name) print here "this file already knows " guest[FILENAME] ", so " name " needs a file of its own"
        else { home[name] = FILENAME; guest[FILENAME] = name }
    }')"
