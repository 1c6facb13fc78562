#!/bin/bash
# run.sh TARGET...: builds the fuzz targets with clang and libFuzzer, and runs each for FUZZ_SECONDS (60).
#
# Begins with what is in tests/fuzz/corpus and with what earlier runs kept in build/fuzz/corpus. A finding ends its target,
# stands in build/fuzz/findings and makes the exit status 1: mend the product, then put that input into tests/fuzz/corpus/TARGET.
#
# At the end of each target: how many lines of the files that it is there for its inputs reach (with llvm-cov, where that is installed; the
# lines that they do not reach are in build/fuzz/TARGET.uncovered).
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

# What a target is there for.
about() {
    case $1 in
    signature) echo src/domain/signature.c ;;
    event) echo src/domain/event.c src/service/incoming.c ;;
    story) echo src/domain/{run,mapping,plan,ledger,note}.c ;;
    config) echo src/config/config{,_check,_keys,_read,_types}.c src/lib/yaml.c ;;
    connector) echo src/connector/{request,step,message}.c src/lib/jqvm.c ;;
    answer) echo src/connector/{step,remedy,message}.c src/domain/outcome.c ;;
    json) echo src/lib/json.c src/base/{json_text,json_scan,decimal}.c ;;
    esac
}

# llvm-cov of the same version as clang
version=$("$clang" --version | sed -nE 's/.*version ([0-9]+).*/\1/p' | head -n 1)
llvm_cov=$(command -v "llvm-cov-$version" || command -v llvm-cov)
llvm_profdata=$(command -v "llvm-profdata-$version" || command -v llvm-profdata)
if [ -n "$llvm_cov" ] && [ -n "$llvm_profdata" ]; then
    make --no-print-directory -s -j"${JOBS:-$(nproc)}" CC="$clang" SANITIZER=fuzzer COVERAGE=1 fuzz-programs || llvm_cov=
fi

# Prints ", 88 % of the lines of FILE… reached".
coverage() {
    local target=$1 program=$build/coverage/tests/fuzz/$1 profile=$build/$1.profile sources lines missed
    [ -n "$llvm_cov" ] && [ -n "$llvm_profdata" ] || return 0
    LLVM_PROFILE_FILE=$profile.raw "$program" -runs=0 -detect_leaks=0 "$build/corpus/$target" "tests/fuzz/corpus/$target" >/dev/null 2>&1
    "$llvm_profdata" merge -o "$profile" "$profile.raw" || return 0
    read -ra sources <<<"$(about "$target")"
    "$llvm_cov" show "$program" -instr-profile="$profile" -show-line-counts "${sources[@]}" |
        grep -E '^ +[0-9]+\| +0\||^/' >"$build/$target.uncovered"
    read -r lines missed < <("$llvm_cov" report "$program" -instr-profile="$profile" "${sources[@]}" | awk '$1 == "TOTAL" { print $8, $9 }')
    [ -z "$lines" ] || printf ', %s %% of %s lines of %s' $((100 * (lines - missed) / lines)) "$lines" "${sources[*]#src/}"
}

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
    printf '%-10s %10s runs, %s edges seen' "$target" "${runs:-no}" "${edges:-none}"
    coverage "$target"
    if [ $rc = 0 ]; then
        echo
    else
        printf ': a finding (%s)\n' "$log"
        grep -E 'a promise is broken|ERROR:|runtime error|artifact_prefix|Test unit written' "$log" | head -n 5
        failed=1
    fi
done
exit $failed
