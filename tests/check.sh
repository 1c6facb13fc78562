#!/bin/bash
# check.sh - all of `make check`: lint, builds with every warning an error, and each kind of test. Goes on after a
# failure, so that one run shows everything, and ends with the line "N passed, N failed, N skipped".
#
# Exit status 0 only if something was run and nothing failed. Each step is a make target that can be called by itself;
# what they count is appended to one file (RESULTS), a line "passed failed skipped name" for each program or suite.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
jobs=${JOBS:-$(nproc)}
dir=$PWD/build/check
results=$dir/results
rm -rf "$dir"
mkdir -p "$dir"
: >"$results"

# Sanitizers put their shadow memory at fixed places: with more random bits than they were made for (32 on some
# kernels), a program now and then does not start.
if [ -z "${CHECK_ASLR_OFF:-}" ] && [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)" -gt 28 ] &&
    setarch "$(uname -m)" -R true 2>/dev/null; then
    CHECK_ASLR_OFF=1 exec setarch "$(uname -m)" -R "$0" "$@"
fi

# The leak checker looks at the process as a debugger does, which some containers forbid. Then only leaks go unseen.
printf 'int main(void)\n{\n    return 0;\n}\n' >"$dir/leak.c"
if "${CC:-gcc}" -fsanitize=address -o "$dir/leak" "$dir/leak.c" 2>"$dir/leak.log" && ! "$dir/leak" 2>"$dir/leak.log" &&
    grep -q 'LeakSanitizer has encountered a fatal error' "$dir/leak.log"; then
    echo "check: this machine forbids ptrace: leaks are not looked for"
    export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
fi

# step NAME COMMAND...: one part of the check. A part that fails without having counted a failure is itself counted, and one that
# counts nothing is one test of its own.
step() {
    local name=$1 rc=0 before failures_before started=$SECONDS
    shift
    before=$(wc -l <"$results")
    failures_before=$(awk '{ n += $2 } END { print n + 0 }' "$results")
    printf '\n==== %s\n' "$name"
    "$@" </dev/null 2>&1 || rc=$?
    if [ "$rc" != 0 ] && [ "$(awk '{ n += $2 } END { print n + 0 }' "$results")" = "$failures_before" ]; then
        echo "check: $name failed (exit status $rc): $*"
        printf '0 1 0 %s\n' "$name" >>"$results"
    elif [ "$rc" = 0 ] && [ "$(wc -l <"$results")" = "$before" ]; then
        printf '1 0 0 %s\n' "$name" >>"$results"
    fi
    printf -- '---- %s: %s s\n' "$name" $((SECONDS - started))
    return "$rc"
}

build() {
    make --no-print-directory -s -j"$jobs" WERROR=-Werror "$@"
}

run() {
    make --no-print-directory -s WERROR=-Werror RESULTS="$results" "$@"
}

# Tests run under the sanitizers: a program that only seems to work fails.
step "build with AddressSanitizer and UBSan" build SANITIZER=address all test-programs
step "lint" run SANITIZER=address lint
step "unit tests" run SANITIZER=address check-unit
step "inputs of the fuzz targets" run SANITIZER=address check-fuzz
step "database tests" run SANITIZER=address check-db
step "end-to-end tests" run SANITIZER=address check-e2e
step "status page in a browser" run SANITIZER=address check-page
step "monitoring" run check-monitoring
step "model of the protocol" run check-model
step "build with fault points" build FAULTS=1 all sandbox-ats fault-tests
step "crashes at each step" run check-faults
step "everything breaks, and a full disk" run SANITIZER=address check-chaos
step "contracts" run SANITIZER=address check-contract
step "build as released" build PREFIX=/usr BUILD=build/released all
step "install and uninstall" tests/install/run.sh
if command -v clang >/dev/null; then
    step "build with clang" build CC=clang BUILD=build/clang objects
fi

printf '\n'
awk '$2 > 0 { name = $4; for (i = 5; i <= NF; i++) name = name " " $i; printf "failed: %s (%d)\n", name, $2 }' "$results"
# shellcheck disable=SC2046 # three numbers
set -- $(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$results")
[ $(($1 + $2)) -gt 0 ] || echo "nothing was executed"
printf '%s passed, %s failed, %s skipped\n' "$1" "$2" "$3"
[ "$1" -gt 0 ] && [ "$2" = 0 ]
