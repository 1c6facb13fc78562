#!/bin/bash
# units.sh - systemd's units: both of the daemon say the same, systemd knows every word in them, and what a broken daemon could
# reach is at most 1.2 of 10 by systemd-analyze's reckoning.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if ! command -v systemd-analyze >/dev/null; then
    echo "systemd-analyze is not installed"
    exit 77
fi
dir=packaging/systemd
finish "$(
    # of several instances each has a configuration of its own, and nothing else
    line=$(diff <(sed -e 's|^Description=atsyncd: |Description=atsyncd %i: |' -e 's|/atsyncd\.conf|/%i.conf|' $dir/atsyncd.service) \
        $dir/atsyncd@.service | sed -nE '1s/.*[acd]([0-9]+).*/\1/p')
    [ -z "$line" ] || echo "$dir/atsyncd@.service:$line: differs from atsyncd.service"
    for unit in $dir/*.service; do
        # that the program is not installed here is no fault of the unit
        systemd-analyze verify --man=no "./$unit" 2>&1 | sed -nE "s|^[^ ]*/$unit:([0-9]+): (.*)|$unit:\1: \2|p" || true
        systemd-analyze security --offline=true --threshold=12 "./$unit" >/dev/null 2>&1 ||
            echo "$unit:1: exposes more than 1.2: systemd-analyze security --offline=true $unit"
    done
)"
