#!/bin/bash
# suppressions.sh - whatever keeps a checker silent has its reason beside it: a comment in the sources (NOLINT, cppcheck-suppress, a pragma of
# gcc, no_sanitize), shellcheck's directives, the lists for cppcheck and valgrind, and the checks that .clang-tidy leaves out.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mapfile -t sources < <(c_files include src tests)
mapfile -t scripts < <(project_files | grep -v -e '\.[ch]$' -e '^tests/lint/suppressions\.sh$')
mapfile -t lists < <(project_files | grep -e '\.supp$' -e '\.suppressions$')

finish "$(
    [ ${#sources[@]} = 0 ] || awk '
        /NOLINTEND/ { next }
        match($0, /NOLINT(NEXTLINE|BEGIN)?|cppcheck-suppress(-[a-z]+)?|GCC diagnostic ignored|no_sanitize/) {
            mark = substr($0, RSTART, RLENGTH)
            words = $0
            # what is named is no reason
            gsub(/NOLINT(NEXTLINE|BEGIN)?(\([^)]*\))?|cppcheck-suppress(-[a-z]+)?[ \t]+[A-Za-z]+/, "", words)
            if (!match(words, /\/[*\/].*/)) words = ""
            else words = substr(words, RSTART)
            if (words !~ /[A-Za-z].*[A-Za-z]/) print FILENAME ":" FNR ": " mark " without a reason"
            if (mark ~ /^NOLINT/ && $0 !~ /NOLINT(NEXTLINE|BEGIN)?\([a-z]/) print FILENAME ":" FNR ": " mark " of everything: name the check"
        }' "${sources[@]}"
    [ ${#scripts[@]} = 0 ] || grep -HnE '^[[:blank:]]*# shellcheck disable=[A-Z0-9,]+[[:blank:]]*$' "${scripts[@]}" |
        sed -E 's/^([^:]*:[0-9]+):.*/\1: shellcheck disable without a reason/' || true
    [ ${#lists[@]} = 0 ] || awk '
        FNR == 1 { explained = 0; inside = 0 }
        /^#/ { explained = 1; next }
        /^[ \t]*$/ { if (!inside) explained = 0; next }
        inside { if (/^}/) { inside = 0; explained = 0 } next }
        !explained { print FILENAME ":" FNR ": no reason above it" }
        /^{/ { inside = 1 }' "${lists[@]}"
    [ ! -e .clang-tidy ] || awk '
        /^#   [a-z]/ { explained[$2] = 1 }
        /^  -[a-z]/ { name = $1; gsub(/^-|,$/, "", name); if (!(name in explained)) print FILENAME ":" FNR ": " name " is left out without a reason" }' .clang-tidy
)"
