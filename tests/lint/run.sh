#!/bin/bash
# run.sh [CHECK...]: runs the checks of this directory on the project (all of them unless some are named).
#
# Each check is first tried on a small tree made for it, fixtures/CHECK, where it must find exactly what stands in
# fixtures/CHECK/expected: a check that finds nothing because it is broken is worse than none. A check counts as one
# test; RESULTS names the file that the counts are appended to. LINT_BUILD is where the objects are.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
export LINT_BUILD=${LINT_BUILD:-build}
LINT_BUILD=$(mkdir -p "$LINT_BUILD" && cd "$LINT_BUILD" && pwd)

all=(layers thirdparty headers listed sql threads migrations text shell suppressions manual units secrets symbols format)
checks=("$@")
[ $# -gt 0 ] || checks=("${all[@]}")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Prints what is wrong with the check itself, if anything.
try_on_fixture() {
    local check=$1 rc=0
    local fixture=$here/fixtures/$check
    if [ "$check" = symbols ]; then # it looks at objects
        mkdir -p "$tmp/objects/src/base"
        "${CC:-gcc}" -std=c11 -I"$fixture/include" -c -o "$tmp/objects/src/base/count.o" "$fixture/src/base/count.c"
    fi
    LINT_BUILD=$tmp/objects SHELLCHECK=none "$here/$check.sh" "$fixture" >"$tmp/$check.found" 2>&1 || rc=$?
    [ $rc != 77 ] || return 0
    if [ $rc != 1 ] || ! cmp -s "$fixture/expected" "$tmp/$check.found"; then
        printf 'the check is broken: on fixtures/%s it ended with %s and found\n' "$check" "$rc"
        diff -u --label expected --label found "$fixture/expected" "$tmp/$check.found" || true
    fi
}

# Leaves what it found in CHECK.out, and how it ended in CHECK.rc; "broken" if it is the check that is wrong.
run_check() {
    local check=$1 rc=0
    try_on_fixture "$check" >"$tmp/$check.out"
    if [ -s "$tmp/$check.out" ]; then
        rc=broken
    else
        "$here/$check.sh" >"$tmp/$check.out" 2>&1 || rc=$?
    fi
    echo "$rc" >"$tmp/$check.rc"
}

for check in "${checks[@]}"; do
    if [ ! -x "$here/$check.sh" ]; then
        echo "lint: no check \"$check\": ${all[*]}" >&2
        exit 2
    fi
done
for check in "${checks[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
    run_check "$check" &
done
wait

passed=0 failed=0 skipped=0
for check in "${checks[@]}"; do
    case $(cat "$tmp/$check.rc" 2>/dev/null || echo unfinished) in
    0)
        printf 'ok      lint/%s\n' "$check"
        passed=$((passed + 1))
        ;;
    77)
        printf 'skipped lint/%s: %s\n' "$check" "$(cat "$tmp/$check.out")"
        skipped=$((skipped + 1))
        ;;
    *)
        printf 'FAILED  lint/%s\n' "$check"
        sed 's/^/        /' "$tmp/$check.out"
        failed=$((failed + 1))
        ;;
    esac
done
[ -z "${RESULTS:-}" ] || printf '%s %s %s lint\n' $passed $failed $skipped >>"$RESULTS"
[ $failed = 0 ]
