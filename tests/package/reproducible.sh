#!/bin/bash
# reproducible.sh - builds the deb twice, in directories, time zones, languages and umasks of their own, with another number of
# processes, and compares: the same bytes. Then lintian, at its most pedantic, has nothing to say that is not explained. Leaves the
# packages in build/deb. DEB_BUILD_OPTIONS as in packaging/deb.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# of one copy: the tree may be worked on meanwhile
version=$(cat packaging/VERSION)
packaging/stage "$work" >/dev/null
tree=$work/atsyncd-$version
mkdir -p build
"$tree/packaging/deb" "$PWD/build/deb" >/dev/null
(
    umask 077
    TZ=Asia/Kathmandu LC_ALL=C.UTF-8 DEB_BUILD_OPTIONS="nocheck parallel=1" "$tree/packaging/deb" "$work/a/deeper/place" >/dev/null
)
bad=0
for deb in build/deb/*.deb build/deb/*.dsc build/deb/*.orig.tar.gz build/deb/*.spdx.json; do
    if cmp -s "$deb" "$work/a/deeper/place/${deb##*/}"; then
        echo "ok      ${deb##*/} is the same twice"
    else
        echo "FAILED  ${deb##*/} differs from a second build"
        bad=1
    fi
done
# lintian leaves directories behind
if mkdir "$work/tmp" && TMPDIR=$work/tmp lintian --allow-root --pedantic --display-info --fail-on error,warning,info,pedantic build/deb/*.changes; then
    echo "ok      lintian"
else
    bad=1
fi
[ $bad = 0 ]
