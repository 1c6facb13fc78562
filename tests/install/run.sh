#!/bin/bash
# run.sh - `make install` into a staging directory: the files, their modes, programs that start, and nothing left after
# `make uninstall`. Builds into a directory of its own, because paths are compiled into the programs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
bad=0

fault() {
    echo "install: $*"
    bad=1
}

expect() { # MODE PATH
    if [ ! -f "$stage$2" ]; then
        fault "$2 was not installed"
    elif [ "$(stat -c %a "$stage$2")" != "$1" ]; then
        fault "$2 has mode $(stat -c %a "$stage$2"), not $1"
    fi
}

umask 077 # the caller's umask must not matter
make --no-print-directory -s DESTDIR="$stage" PREFIX=/usr BUILD=build/released install
expect 755 /usr/sbin/atsyncd
expect 755 /usr/bin/atsyncctl
expect 644 /usr/share/bash-completion/completions/atsyncctl
expect 640 /etc/atsyncd/atsyncd.conf
for file in packaging/systemd/*.service; do expect 644 "/usr/lib/systemd/system/${file##*/}"; done
expect 644 /usr/lib/sysusers.d/atsyncd.conf
expect 644 /usr/lib/tmpfiles.d/atsyncd.conf
for file in conf/connectors/*.jq; do expect 644 "/usr/share/atsyncd/connectors/${file##*/}"; done
for file in packaging/monitoring/*; do expect 644 "/usr/share/atsyncd/monitoring/${file##*/}"; done
for file in sql/migrations/*.sql; do expect 644 "/usr/share/atsyncd/sql/migrations/${file##*/}"; done
for file in packaging/man/*.[1-9]; do
    [ ! -e "$file" ] || expect 644 "/usr/share/man/man${file##*.}/${file##*/}"
done
if find "$stage" -type d ! -perm 755 | grep -Ev '/etc/atsyncd(/credentials)?$' | sed "s|^$stage||" | grep .; then fault "these directories are not open to all"; fi
version=$(cat packaging/VERSION)
for program in sbin/atsyncd bin/atsyncctl; do
    "$stage/usr/$program" --version | grep -qF "$version" || fault "$program --version does not say $version"
done

# an administrator's own configuration survives another installation
echo '# mine' >"$stage/etc/atsyncd/atsyncd.conf"
make --no-print-directory -s DESTDIR="$stage" PREFIX=/usr BUILD=build/released install
[ "$(cat "$stage/etc/atsyncd/atsyncd.conf")" = '# mine' ] || fault "a second installation overwrote the configuration"

make --no-print-directory -s DESTDIR="$stage" PREFIX=/usr BUILD=build/released uninstall
left=$(cd "$stage" && find . ! -type d | sort)
[ "$left" = ./etc/atsyncd/atsyncd.conf ] || fault "after uninstall: $left"

# the units name the programs and the configuration where they are
make --no-print-directory -s DESTDIR="$stage/local" PREFIX=/usr/local SYSCONFDIR=/usr/local/etc BUILD=build/released install-units
grep -qx 'ExecStart=/usr/local/sbin/atsyncd -c /usr/local/etc/atsyncd/atsyncd.conf' "$stage/local/usr/local/lib/systemd/system/atsyncd.service" ||
    fault "the unit of another prefix starts another program"
[ $bad = 0 ] && echo "ok      install"
exit $bad
