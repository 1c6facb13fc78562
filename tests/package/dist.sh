#!/bin/bash
# dist.sh - the source archive of `make dist` is the same bytes twice, builds where there is no git, and passes lint and the unit
# tests there (all that `make check` needs is in it too).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=$(cat packaging/VERSION)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make --no-print-directory -s dist >/dev/null
cp "build/atsyncd-$version.tar.gz" "$work/first.tar.gz"
make --no-print-directory -s dist >/dev/null
cmp "build/atsyncd-$version.tar.gz" "$work/first.tar.gz"
echo "ok      the archive is the same twice"
tar -xf "$work/first.tar.gz" -C "$work"
cd "$work/atsyncd-$version"
env -u MAKEFLAGS make --no-print-directory -s -j"$(nproc)" WERROR=-Werror all unit-programs
env -u MAKEFLAGS make --no-print-directory -s WERROR=-Werror lint check-unit >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
awk '{ p += $1; f += $2 } END { printf "ok      the archive builds; its tests: %d passed, %d failed\n", p, f }' build/tests/results
