#!/bin/sh
# run_unit.sh RESULTS PROGRAM... - runs cmocka programs, UNIT_JOBS of them at a time (one for each processor).
#
# Prints the name of each, and what it said only when something in it failed. Appends one line "passed failed skipped
# name" per program to RESULTS, for `make check` to sum up. Exit status 1 if anything failed.
# UNIT_RUNNER is put before each program (valgrind with its options, for example); UNIT_TIMEOUT_S ends one that hangs.
set -u

count() { # lines of standard output that begin with this mark; cmocka repeats the marks in its summary on stderr
    grep -c "^\[ *$1 *\] [^0-9]" "$out/stdout"
}

run_one() { # PROGRAM
    out=$(mktemp -d) || return 1
    trap 'rm -rf "$out"' EXIT
    # UNIT_RUNNER is a command with its options: splitting it is wanted
    timeout "${UNIT_TIMEOUT_S:-300}" ${UNIT_RUNNER:-} "$1" >"$out/stdout" 2>"$out/stderr"
    rc=$?
    passed=$(count OK)
    failed=$(count FAILED)
    skipped=$(count SKIPPED)
    # Cut short (crash, time-out), nothing run, or failed outside of a test (a leak found at the end): one failed.
    if ! grep -q 'test(s) run\.$' "$out/stdout" ||
        { [ "$rc" -ne 0 ] && [ "$failed" -eq 0 ]; } ||
        [ $((passed + failed + skipped)) -eq 0 ]; then
        failed=$((failed + 1))
    fi
    name=${1#*tests/unit/}
    printf '%d %d %d %s\n' "$passed" "$failed" "$skipped" "$name" >>"$results"
    if [ "$failed" -gt 0 ]; then # in one piece: others print as well
        { printf 'FAILED %s (exit status %d)\n' "$name" "$rc" && cat "$out/stdout" "$out/stderr"; } >"$out/all"
        cat "$out/all"
        return 1
    elif [ "$skipped" -gt 0 ]; then
        printf 'ok     %s (%d skipped)\n' "$name" "$skipped"
    else
        printf 'ok     %s\n' "$name"
    fi
}

if [ "$1" = --one ]; then
    results=$2
    run_one "$3"
    exit
fi
results=$1
shift
printf '%s\0' "$@" | xargs -0 -n 1 -P "${UNIT_JOBS:-$(nproc)}" "$0" --one "$results" || exit 1
