#!/bin/bash
# run.sh [TYPE...] - each connector's real requests against what is known of its ATS's API.
#
# tests/contract/TYPE.yaml states the facts as a small OpenAPI document, tests/contract/TYPE.json says what to try. Prism
# serves the document on 127.0.0.1, and the program requests (requests.c) walks every verb against it: no request may
# violate the document, and a request that is wrong on purpose must.
#
# A vendor's own document is tried likewise where TYPE.json has a section "vendor" that names one and the directory
# VENDOR_SPECS has it; those are other people's work and not part of this project.
#
# Prism comes from npm, once, into build/prism. Without npm, or without a network the first time, all is skipped.
# Environment: BUILD (where requests was built), RESULTS (gets a line "passed failed skipped name"), VENDOR_SPECS.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
prism_version=5.14.2
prism_dir=$PWD/build/prism
build=${BUILD:-build}
results=${RESULTS:-$build/tests/results}
specs=${VENDOR_SPECS:-}
tmp=$(mktemp -d) || exit 1
server= # process id of the Prism that is running
passed=0 failed=0 skipped=0

stop_server() {
    [ -n "$server" ] || return 0
    kill -KILL "$server" 2>/dev/null # it holds nothing, and is slow to end when asked
    wait "$server" 2>/dev/null
    server=
}
trap 'stop_server; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

# Ends the run: with counts, and with exit status 1 if anything failed.
finish() {
    mkdir -p "$(dirname "$results")"
    printf '%d %d %d contract\n' "$passed" "$failed" "$skipped" >>"$results"
    [ "$failed" = 0 ]
    exit
}

skip() {
    printf 'skipped contract/%s\n' "$1"
    skipped=$((skipped + 1))
}

install_prism() {
    local cli=$prism_dir/$prism_version/node_modules/@stoplight/prism-cli/dist/index.js
    local fresh=$prism_dir/fresh.$$
    if [ ! -e "$cli" ]; then
        mkdir -p "$fresh"
        if ! (cd "$fresh" && timeout 300 npm install --no-audit --no-fund --no-save --fetch-retries=1 "@stoplight/prism-cli@$prism_version") \
            >"$tmp/npm" 2>&1; then
            rm -rf "$fresh"
            return 1
        fi
        # whole or not at all: another run may have been faster
        mv -T "$fresh" "$prism_dir/$prism_version" 2>/dev/null || rm -rf "$fresh"
    fi
    prism=$cli
}

# start_server DOCUMENT: sets server and url.
start_server() {
    local deadline=$((SECONDS + 60))
    : >"$tmp/prism"
    node "$prism" mock "$1" -p 0 -h 127.0.0.1 >"$tmp/prism" 2>&1 &
    server=$!
    while [ $SECONDS -lt $deadline ] && kill -0 "$server" 2>/dev/null; do
        url=$(sed -n 's/.*Prism is listening on \(http:[^ ]*\).*/\1/p' "$tmp/prism")
        [ -z "$url" ] || return 0
        read -rt 0.1 <>"$tmp/wait" # a pause without a process
    done
    return 1
}

# try TYPE SECTION DOCUMENT
try() {
    local name=$1
    [ "$2" = own ] || name="$1 (vendor)"
    if ! start_server "$3"; then
        printf 'FAILED  contract/%s: Prism does not start with this document\n' "$name"
        tail -n 5 "$tmp/prism"
        failed=$((failed + 1))
        stop_server
        return
    fi
    rc=0
    timeout 300 "$build/tests/contract/requests" "$1" "tests/contract/$1.json" "$2" "$url" >"$tmp/said" 2>&1 || rc=$?
    stop_server
    passed=$((passed + $(grep -c '^ok ' "$tmp/said")))
    failed=$((failed + $(grep -c '^FAILED ' "$tmp/said")))
    if [ $rc != 0 ] && ! grep -q '^FAILED ' "$tmp/said"; then # it broke off
        printf 'FAILED  contract/%s: exit status %d\n' "$name" $rc
        failed=$((failed + 1))
    fi
    if [ $rc != 0 ]; then
        grep -v '^ok ' "$tmp/said"
    else
        printf 'ok      contract/%s (%d)\n' "$name" "$(grep -c '^ok ' "$tmp/said")"
    fi
}

mkfifo "$tmp/wait"
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    skip "all: npm and node are not installed"
    finish
fi
if ! install_prism; then
    tail -n 3 "$tmp/npm"
    skip "all: npm cannot install Prism (no network?)"
    finish
fi
types=("$@")
if [ $# = 0 ]; then
    for file in tests/contract/*.yaml; do
        types+=("$(basename "$file" .yaml)")
    done
fi
for type in "${types[@]}"; do
    if [ ! -e "tests/contract/$type.json" ]; then
        printf 'FAILED  contract/%s: there is no tests/contract/%s.json that says what to try\n' "$type" "$type"
        failed=$((failed + 1))
        continue
    fi
    try "$type" own "tests/contract/$type.yaml"
    vendor=$(node -p '(JSON.parse(require("fs").readFileSync(process.argv[1])).vendor || {}).spec || ""' \
        "tests/contract/$type.json")
    if [ -z "$vendor" ]; then
        continue
    elif [ -n "$specs" ] && [ -e "$specs/$vendor" ]; then
        try "$type" vendor "$specs/$vendor"
    else
        skip "$type (vendor): the vendor's own document ($vendor) is not here"
    fi
done
# a connector without a contract would go unnoticed; rest is our own API, tried by the sandbox ATS
if [ $# = 0 ]; then
    for file in conf/connectors/*.jq; do
        type=$(basename "$file" .jq)
        if [ "$type" != rest ] && [ ! -e "tests/contract/$type.yaml" ]; then
            printf 'FAILED  contract/%s: there is no tests/contract/%s.yaml\n' "$type" "$type"
            failed=$((failed + 1))
        fi
    done
fi
finish
