#!/bin/bash
# run.sh [TOOL...]: looks through src/ with clang-tidy, cppcheck and gcc's -fanalyzer (all of them unless some are named); any
# finding fails.
#
# Called by `make analyze`, which passes the compiler's options (ANALYZE_FLAGS, quoted for a shell), the files (ANALYZE_SRCS) and where to put
# what is made on the way (ANALYZE_DIR). Which checks there are, and why not the others: .clang-tidy and cppcheck.suppressions. What is found
# depends on the version: clean is meant with clang-tidy 14, cppcheck 2.10 and gcc 12 (Debian 12); newer ones may see more. A tool
# that is not installed is skipped, and it is said.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
jobs=${JOBS:-$(nproc)}
dir=$ANALYZE_DIR
mkdir -p "$dir"
flags=()
eval "flags=($ANALYZE_FLAGS)"
read -ra srcs <<<"$ANALYZE_SRCS"

# The compilation database that clang-tidy reads.
quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}
{
    separator='['
    for src in "${srcs[@]}"; do
        printf '%s{"directory": %s, "file": %s, "arguments": ["gcc"' "$separator" "$(quoted "$PWD")" "$(quoted "$src")"
        for flag in "${flags[@]}"; do printf ', %s' "$(quoted "$flag")"; done
        printf ', "-c", %s]}\n' "$(quoted "$src")"
        separator=','
    done
    echo ']'
} >"$dir/compile_commands.json"

# One file a process: in one, clang's analyzer takes the va_start of a file before for missing in the next.
clang_tidy() {
    local tool
    tool=$(command -v clang-tidy-14 || command -v clang-tidy) || return 77
    printf '%s\0' "${srcs[@]}" | xargs -0 -n 1 -P "$jobs" "$tool" -p "$dir" --quiet --warnings-as-errors='*' 2>"$dir/clang-tidy.err"
}

cppcheck_() {
    command -v cppcheck >/dev/null || return 77
    local known=() i
    # cppcheck reads no headers of the system: what the sources need to know of them is said here
    for ((i = 0; i < ${#flags[@]}; i++)); do
        case ${flags[i]} in
        -D* | -I*) known+=("${flags[i]}") ;;
        -include) known+=("--include=include/${flags[i + 1]}") ;;
        esac
    done
    cppcheck --std=c11 --platform=unix64 "${known[@]}" -DMHD_VERSION=0x00097500 '-DPRId64="ld"' '-DPRIu64="lu"' --quiet -j "$jobs" \
        --enable=warning,style,performance,portability --suppressions-list=tests/analyze/cppcheck.suppressions --error-exitcode=1 "${srcs[@]}" 2>&1
}

gcc_analyzer() {
    local tool=${ANALYZE_GCC:-gcc}
    "$tool" -fanalyzer -x c -c -o /dev/null /dev/null 2>/dev/null || return 77
    printf '%s\0' "${srcs[@]}" | xargs -0 -n 1 -P "$jobs" "$tool" "${flags[@]}" -O1 -fanalyzer -Werror -c -o /dev/null 2>&1
}

failed=0
tools=("$@")
[ $# -gt 0 ] || tools=(cppcheck gcc clang-tidy)
for tool in "${tools[@]}"; do
    started=$SECONDS
    rc=0
    case $tool in
    clang-tidy) clang_tidy ;;
    cppcheck) cppcheck_ ;;
    gcc) gcc_analyzer ;;
    *)
        echo "analyze: no tool \"$tool\": clang-tidy, cppcheck, gcc"
        exit 2
        ;;
    esac >"$dir/$tool.out" || rc=$?
    if [ $rc = 77 ]; then
        echo "skipped analyze/$tool: not installed"
    elif [ $rc = 0 ]; then
        echo "ok      analyze/$tool ($((SECONDS - started)) s)"
    else
        echo "FAILED  analyze/$tool"
        cat "$dir/$tool.out"
        [ $tool != clang-tidy ] || grep -v 'warnings generated\|warnings treated as errors' "$dir/clang-tidy.err"
        failed=1
    fi
done
exit $failed
