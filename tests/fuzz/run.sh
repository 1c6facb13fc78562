#!/bin/bash
# run.sh TARGET...: builds the fuzz targets with clang and libFuzzer, and runs each for FUZZ_SECONDS (60).
#
# Begins with what is in tests/fuzz/corpus and with what earlier runs kept in build/fuzz/corpus. A finding ends its target,
# stands in build/fuzz/findings and makes the exit status 1: mend the product, then put that input into tests/fuzz/corpus/TARGET.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
seconds=${FUZZ_SECONDS:-60}
build=build/fuzz
clang=${CLANG:-clang}
failed=0

mkdir -p $build/findings
printf '#include <stddef.h>\nint LLVMFuzzerTestOneInput(const unsigned char *d, size_t n);\n%s\n' \
    'int LLVMFuzzerTestOneInput(const unsigned char *d, size_t n) { return d == 0 && n > 0; }' >$build/try.c
if ! "$clang" -fsanitize=fuzzer,address,undefined -o $build/try $build/try.c 2>$build/try.log; then
    cat $build/try.log
    echo "fuzz: clang with libFuzzer is needed: packaging/install-deps build dev installs it"
    exit 1
fi
for target in "$@"; do
    if [ ! -d "tests/fuzz/corpus/$target" ]; then
        echo "fuzz: there is no target \"$target\": $(cd tests/fuzz/corpus && echo *)"
        exit 2
    fi
done
make --no-print-directory -s -j"${JOBS:-$(nproc)}" CC="$clang" SANITIZER=fuzzer fuzz-programs || exit 1

# see tests/check.sh: sanitizers and too random addresses
runner=()
! setarch "$(uname -m)" -R true 2>/dev/null || runner=(setarch "$(uname -m)" -R)
for target in "$@"; do
    log=$build/$target.log
    mkdir -p "$build/corpus/$target"
    # libjq keeps its stack by a pointer to its end, which the leak checker takes for lost; make check-fuzz frees it and looks
    leaks=1
    case $target in connector | answer) leaks=0 ;; esac
    "${runner[@]}" "$build/tests/fuzz/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=8192 -detect_leaks=$leaks \
        -print_final_stats=1 -artifact_prefix="$build/findings/$target-" "$build/corpus/$target" "tests/fuzz/corpus/$target" \
        >"$log" 2>&1
    rc=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -nE 's/.*[[:blank:]]cov: ([0-9]+).*/\1/p' "$log" | tail -n 1)
    printf '%-10s %10s runs, %s of its edges seen' "$target" "${runs:-no}" "${edges:-none}"
    if [ $rc = 0 ]; then
        echo
    else
        printf ': a finding (%s)\n' "$log"
        grep -E 'a promise is broken|ERROR:|runtime error|artifact_prefix|Test unit written' "$log" | head -n 5
        failed=1
    fi
done
exit $failed
