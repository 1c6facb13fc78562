#!/bin/bash
# rpm.sh - the rpm as far as it can be tried on Debian: rpmlint, the list of files against that of the deb, and an installation,
# an upgrade and a removal in a system of its own (rpm --root). Needs root and the clean tree of run.sh; RPM names the package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=$(cat packaging/VERSION)
base=${PACKAGE_BASE:-/var/tmp/atsyncd-package/${SUITE:-bookworm}}
rpm=${RPM:-$({ find build/rpm/RPMS -name "atsyncd-$version-*.rpm" 2>/dev/null || true; } | head -n 1)}
if [ -z "$rpm" ]; then
    packaging/rpm/build build/rpm
    rpm=$(find build/rpm/RPMS -name "atsyncd-$version-*.rpm")
fi
[ -e "$base/etc/debian_version" ] || { echo "rpm: no clean system in $base: tests/package/run.sh makes one" >&2; exit 2; }
work=$(mktemp -d /var/tmp/atsyncd-rpm.XXXXXX)
root=$work/system
clean_up() {
    local status=$?
    umount -R "$root" 2>/dev/null || true
    rm -rf "$work"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
bad=0
is() { # WHAT EXPECTED FOUND
    if [ "$2" = "$3" ]; then
        echo "ok      $1"
    else
        printf 'FAILED  %s\n        expected: %s\n        found:    %s\n' "$1" "$2" "$3"
        bad=1
    fi
}

is "rpmlint has nothing to say" "0 errors, 0 warnings" \
    "$(rpmlint -c packaging/rpm/rpmlint.toml "$rpm" build/rpm/SRPMS/*.rpm build/rpm/SPECS/atsyncd.spec 2>&1 | grep -oE '[0-9]+ errors, [0-9]+ warnings' || true)"
[ "${rpm#build/rpm/}" = "$rpm" ] ||
    is "a bill of materials lies beside it" '"SPDXRef-atsyncd"' "$(grep -o '"SPDXRef-atsyncd"' "build/rpm/atsyncd-$version.spdx.json" | sort -u)"
# the same files as in the deb, but for the places of documents and units
names() {
    sed -E 's|^\./|/|; s|^/usr/lib/systemd|/lib/systemd|; s|\.gz$||' | grep -Ev '/$|/(doc|lintian|\.build-id)(/|$)|^/usr/share/atsyncd/atsyncd\.conf$|^/etc/atsyncd/atsyncd\.conf$' | sort
}
deb=build/deb/atsyncd_$version-1_$(dpkg --print-architecture).deb
if [ -e "$deb" ]; then
    is "it has the files of the deb" "" "$(diff <(dpkg-deb --fsys-tarfile "$deb" | tar -tf - | names) \
        <(rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' "$rpm" | sed -n 's/^-[^ ]* //p' | names) || true)"
fi

mkdir "$root" "$work/upper" "$work/overlay"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/overlay" "$root"
mount -t proc proc "$root/proc"
mkdir -p "$root/var/lib/rpm"
in_root() {
    rpm --root "$root" --dbpath /var/lib/rpm "$@" 2>&1 </dev/null
}
in_root --initdb
# the libraries are Debian's packages, which rpm does not know
said=$(in_root -i --nodeps "$rpm" || true)
is "the last line names setup" "atsyncd is installed. What to do now: atsyncctl setup" "$(tail -n 1 <<<"$said")"
is "/etc/atsyncd is root's and the group's" "750 root:atsyncd" "$(chroot "$root" stat -c '%a %U:%G' /etc/atsyncd)"
is "and so is the configuration" "640 root:atsyncd" "$(chroot "$root" stat -c '%a %U:%G' /etc/atsyncd/atsyncd.conf)"
is "credentials are root's alone" "700 root:root" "$(chroot "$root" stat -c '%a %U:%G' /etc/atsyncd/credentials)"
is "nothing differs from the package" "" "$(in_root -V --nodeps atsyncd || true)"
echo '# mine' >>"$root/etc/atsyncd/atsyncd.conf"
said=$(in_root -U --force --nodeps "$rpm" || true)
is "after an upgrade the configuration is as it was" "# mine" "$(tail -n 1 "$root/etc/atsyncd/atsyncd.conf")"
said=$(in_root -e --nodeps atsyncd || true)
is "a removal says what stays" 1 "$(grep -c 'Its database was not touched' <<<"$said")"
is "and keeps a changed configuration" "atsyncd.conf.rpmsave" "$(ls "$root/etc/atsyncd")"
is "and nothing else" "" "$(find "$root/usr" "$root/lib" -name '*atsync*')"
[ $bad = 0 ] && echo "rpm: all is well"
