# shellcheck shell=bash
# lib.sh - what the checks of tests/lint share. Sourced, never run.
#
# A check is called as CHECK [ROOT] and looks at the tree below ROOT (the project unless told otherwise; run.sh also
# calls it with a fixture that it must find fault with). It prints one finding a line, "file:line: what is wrong", and
# ends with 0 (nothing found), 1 (findings) or 77 (it could not look; the reason is printed).
set -euo pipefail
export LC_ALL=C

LINT_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "${1:-$LINT_TOP}"
CC=${CC:-gcc}

# c_files DIR...: the C sources and headers below these directories, sorted, without the faulty ones made for run.sh.
c_files() {
    local dir
    for dir in "$@"; do
        [ ! -d "$dir" ] || find "$dir" -path tests/lint/fixtures -prune -o -type f -name '*.[ch]' -print
    done | sort
}

# project_files: every text file that belongs to the project; the inputs of the fuzz targets are not written, they are as they are.
project_files() {
    find . \( -path ./.git -o -path ./build -o -path ./var -o -path ./tests/lint/fixtures -o -path ./tests/fuzz/corpus \) -prune -o -type f -print0 |
        xargs -0 -r grep -lI . | sed 's|^\./||' | sort
}

# An awk function: what a line of C holds besides strings, characters and comments. Set in_comment to 0 at the beginning of each file.
# shellcheck disable=SC2034 # for those that source this
C_CODE='
    function c_code(rest,    code, token, at) {
        while (rest != "") {
            if (in_comment) {
                if (!(at = index(rest, "*/"))) break
                rest = substr(rest, at + 2); in_comment = 0
            } else if (match(rest, /"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047|\/\*|\/\//)) {
                code = code substr(rest, 1, RSTART - 1) " "
                token = substr(rest, RSTART, RLENGTH); rest = substr(rest, RSTART + RLENGTH)
                if (token == "//") break
                in_comment = token == "/*"
            } else return code rest
        }
        return code
    }'

# Ends the check: "findings FILE" prints what was found, if anything, and says so by the exit status.
finish() {
    [ -n "$1" ] || exit 0
    printf '%s\n' "$1"
    exit 1
}
