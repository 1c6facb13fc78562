#!/bin/bash
# text.sh - no unfinished business (TODO, FIXME, XXX), no trailing blanks, no tabs in C, a newline at the end of each
# file, and none of the C functions that overflow, keep hidden state or start a shell.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mapfile -t files < <(project_files | grep -v '^tests/lint/text\.sh$')
mapfile -t sources < <(c_files include src tests)

finish "$(
    grep -HnwE 'TODO|FIXME|XXX' "${files[@]}" | sed -E 's/^([^:]*:[0-9]+):.*/\1: unfinished: finish it or take it out/' || true
    grep -HnE '[[:blank:]]+$|'$'\r' "${files[@]}" | sed -E 's/^([^:]*:[0-9]+):.*/\1: blanks at the end of the line/' || true
    # a last line without a newline is a line for grep, and none for wc
    comm -23 <(grep -cH '' "${files[@]}" | sort) <(wc -l "${files[@]}" | sed -nE 's/^ *([0-9]+) (.+)$/\2:\1/p' | sort) |
        sed 's/$/: no newline at the end of the file/'
    awk "$C_CODE"'
        BEGIN {
            count = split("alloca asctime atof atoi atol atoll ctime gets gmtime inet_ntoa localtime mktemp popen rand setjmp " \
                          "sprintf srand strcat strcpy strncat strncpy strtok system tempnam tmpnam vsprintf", names, " ")
            for (i = 1; i <= count; i++) unsafe[names[i]] = 1
        }
        FNR == 1 { in_comment = 0 }
        /\t/ { print FILENAME ":" FNR ": a tab: indent with four spaces" }
        {
            code = c_code($0)
            while (match(code, /[A-Za-z_][A-Za-z_0-9]*[ \t]*\(/)) {
                name = substr(code, RSTART, RLENGTH); before = substr(code, RSTART - 1, 1)
                sub(/[ \t]*\($/, "", name); code = substr(code, RSTART + RLENGTH)
                # a test may run a script of ours
                if (name == "popen" && FILENAME ~ /^tests\/(chaos|e2e)\//) continue
                if (name in unsafe && before !~ /[.>]/) print FILENAME ":" FNR ": " name "() is not safe"
            }
        }' "${sources[@]}"
)"
