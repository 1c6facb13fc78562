#!/bin/bash
# run.sh RESULTS - checks protocol.pml with spin: the protocol keeps its promises under every interleaving within the
# bounds, and each assumption and each part of it is needed: without it, spin finds a run that breaks a promise.
#
# Appends one line "passed failed skipped name" to RESULTS, for `make check` to sum up. Exit status 1 if anything
# failed. packaging/doc/protocol.md tells what the model says.
set -uo pipefail
results=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
limit_s=${MODEL_TIMEOUT_S:-120}
passed=0
failed=0

for tool in spin "${CC:-gcc}"; do
    if ! command -v "${tool%% *}" >/dev/null; then
        echo "skip   the model: $tool is not installed"
        echo '0 0 1 model/protocol' >>"$results"
        exit 0
    fi
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

# explore SEARCH BOUNDS...: writes what the search found to the file "found". SEARCH: safety (every assertion, every
# end), mistake (the same, compiled in less time because a short search will do) or cycles (a run that never ends).
explore() {
    local search=$1 flags='' options=''
    shift
    case $search in
    safety) flags='-O2 -DSAFETY' ;;
    mistake) flags='-O0 -DSAFETY' ;;
    cycles) flags='-O2 -DNP' options=-l ;;
    esac
    rm -f pan pan.* ./*.trail found
    # what gcc says about spin's code is not ours to change; $flags are several words
    spin -a "$@" "$here/protocol.pml" >found 2>&1 &&
        ${CC:-gcc} -w $flags -DNOCLAIM -DCOLLAPSE -o pan pan.c >>found 2>&1 &&
        timeout "$limit_s" ./pan $options -m100000 -w22 >>found 2>&1
}

count() { # STATUS WHAT
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
        echo "ok     $2"
    else
        failed=$((failed + 1))
        echo "FAILED $2"
        cat found
    fi
}

# holds SEARCH WHAT BOUNDS...: nothing is found, and the search was complete.
holds() {
    local search=$1 what=$2
    shift 2
    explore "$search" "$@" && grep -q 'errors: 0$' found && ! grep -Eq 'not completed|max search depth too small' found
    count $? "$what ($(sed -nE 's/^ *([0-9]+) states, stored.*/\1/p' found) states)"
}

# breaks PROMISE WHAT BOUNDS...: a run is found that breaks this promise, known by its assertion.
breaks() {
    local promise=$1 what=$2
    shift 2
    explore mistake "$@" && grep -Fq "assertion violated $promise" found
    count $? "$what"
}

one_note='(ats_notes==0)'
stale='(lease_no==under[w])'
final='(((ats_stage'

holds safety 'the promises are kept' -DEVENTS=2 -DCRASHES=1 -DLOSSES=2 -DEXPIRIES=1
holds safety 'the promises are kept when the wish comes back to an old value' \
    -DEVENTS=3 -DCRASHES=0 -DLOSSES=2 -DEXPIRIES=1
holds safety 'the promises are kept with three daemons' -DWORKERS=3 -DEVENTS=1 -DCRASHES=1 -DLOSSES=1 -DEXPIRIES=1
holds cycles 'every run comes to its end' -DEVENTS=1 -DCRASHES=1 -DLOSSES=1 -DEXPIRIES=1

none=(-DCRASHES=0 -DLOSSES=0 -DEXPIRIES=0)
one_expiry=(-DCRASHES=0 -DLOSSES=0 -DEXPIRIES=1)
few=(-DEVENTS=1 -DCRASHES=1 -DLOSSES=1 -DEXPIRIES=1)
breaks "$one_note" 'needed: no request is begun after the lease' -DSEND_AFTER_LEASE -DCONSEQUENCES "${few[@]}"
breaks "$one_note" 'needed: a lease outlives its requests' -DLATE_AFTER_LEASE -DCONSEQUENCES "${few[@]}"
breaks "$one_note" 'needed: a request given up is settled' -DLATE_AFTER_TIMEOUT -DCONSEQUENCES "${few[@]}"
breaks "$one_note" 'found: a note is repeated without a look' -DNO_LOOK "${few[@]}"
breaks "$one_note" 'found: intents are not recorded' -DNO_INTENT "${few[@]}"
breaks "$final" 'found: a value that follows another is sent without an intent' \
    -DNO_INTENT_OF_SETS -DEVENTS=3 -DCRASHES=1 -DLOSSES=0 -DEXPIRIES=0
breaks "$stale" 'found: results are recorded without the lease number' -DNO_LEASE_GUARD "${few[@]}"
breaks "$final" 'found: what a stale record does to the final state' \
    -DNO_LEASE_GUARD -DCONSEQUENCES -DEVENTS=3 "${one_expiry[@]}"
breaks "$final" 'found: intents that are recorded without the lease number' \
    -DNO_GUARD_AT_INTENT -DCONSEQUENCES -DEVENTS=2 "${one_expiry[@]}"
breaks "$final" 'found: a release that does not look at the version' -DNO_VERSION_CHECK -DEVENTS=2 "${none[@]}"
breaks "$final" 'found: a version that is younger than the events' -DLATE_VERSION -DEVENTS=2 "${none[@]}"
breaks "$final" 'found: an uncertain value taken for undone' \
    -DTRUST_UNCERTAIN -DEVENTS=3 -DCRASHES=0 -DLOSSES=1 -DEXPIRIES=0

printf '%d %d 0 model/protocol\n' "$passed" "$failed" >>"$results"
[ "$failed" = 0 ]
