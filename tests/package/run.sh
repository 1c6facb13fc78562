#!/bin/bash
# run.sh - the user's path on a clean system: a minimal Debian is made with debootstrap and booted with a real systemd; in it the
# package is installed with apt, set up, configured, started, tried, upgraded with work in the queue, downgraded (refused),
# removed and purged.
#
# Needs root, packaging/install-deps package, and a network for the first run (the booted system has none but its own loopback).
# Ends with "package: N checks, N failed".
#
#   PACKAGE_BASE  the clean tree, made once and never written to again (/var/tmp/atsyncd-package/SUITE)
#   SUITE, MIRROR bookworm, and the mirror of this machine's own apt
#   DEB           the package to try (build/deb/atsyncd_VERSION-1_ARCH.deb; made if it is not there)
#   NEXT_DEB      the one to upgrade to (made of this tree with a higher version, another sample of the configuration, a breaking
#                 migration and a concurrent one)
#   KEEP=1        leave the tree and its journal there at the end
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
suite=${SUITE:-bookworm}
base=${PACKAGE_BASE:-/var/tmp/atsyncd-package/$suite}
version=$(cat packaging/VERSION)
next=$version+next # newer than what it is upgraded from, older than any release to come
arch=$(dpkg --print-architecture)
started=$SECONDS

die() {
    echo "package: $*" >&2
    exit 2
}
[ "$(id -u)" = 0 ] || die "only root can make and boot another system"
for tool in debootstrap systemd-nspawn dpkg-buildpackage nsenter; do
    command -v $tool >/dev/null || die "$tool is not installed: packaging/install-deps package"
done
mkdir -p "$(dirname "$base")"
exec 9>"$base.lock"
flock -n 9 || die "another run uses $base"

# ---- what is tried
deb=${DEB:-build/deb/atsyncd_$version-1_$arch.deb}
[ -e "$deb" ] || packaging/deb build/deb
[ -x build/sandbox-ats ] || make -s sandbox-ats
work=$(mktemp -d /var/tmp/atsyncd-package.XXXXXX)
root=$work/system
leader=
inside() {
    nsenter -t "$leader" -m -u -i -n -p -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}
# systemd-nspawn leaves its control groups behind, and does not start where only some of them are there
remove_groups() {
    find /sys/fs/cgroup/*/payload /sys/fs/cgroup/*/supervisor -depth -type d -exec rmdir {} + 2>/dev/null || true
}
clean_up() {
    local status=$?
    trap '' INT TERM HUP
    if [ -n "$leader" ]; then
        inside systemctl poweroff --no-wall >/dev/null 2>&1 || kill -37 "$leader" 2>/dev/null || true # SIGRTMIN+3: halt
        for _ in $(seq 100); do
            kill -0 "$booted" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$booted" 2>/dev/null || true
    fi
    remove_groups
    if [ -n "${KEEP:-}" ]; then
        echo "package: kept: $work"
    else
        umount -R "$root" 2>/dev/null || true
        rm -rf "$work"
    fi
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -n "${NEXT_DEB:-}" ]; then
    next_deb=$NEXT_DEB
else
    echo "package: building the release after this one"
    packaging/stage "$work" >/dev/null
    echo "$next" >"$work/atsyncd-$version/packaging/VERSION"
    printf -- '-- breaking: yes. A release to come, for tests.\n\nalter table atsync.event add column next_release integer;\n' \
        >"$work/atsyncd-$version/sql/migrations/900_next.sql"
    printf -- '-- breaking: no. concurrent: yes. An index to come, for tests.\n\ndrop index concurrently if exists atsync.%s;\n%s;\n' \
        event_next_release 'create index concurrently event_next_release on atsync.event (next_release)' \
        >"$work/atsyncd-$version/sql/migrations/901_next_index.sql"
    echo '# a line that the next release has' >>"$work/atsyncd-$version/conf/atsyncd.conf"
    "$work/atsyncd-$version/packaging/deb" "$work/next" >/dev/null
    next_deb=$work/next/atsyncd_$next-1_$arch.deb
fi

make --no-print-directory -s PREFIX=/usr BUILD=build/released DESTDIR="$work/staged" install

# ---- the clean system
remove_groups
if [ ! -e "$base/etc/debian_version" ]; then
    mirror=${MIRROR:-$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        awk '$1 == "URIs:" && $2 ~ /\/debian\/?$/ { print $2; exit } $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /\/debian\/?$/) { print $i; exit } }')}
    [ -n "$mirror" ] || die "no Debian mirror among this machine's apt sources: name one with MIRROR="
    echo "package: making a clean $suite from $mirror"
    rm -rf "$base.new"
    {
        debootstrap --variant=minbase --include=ca-certificates "$suite" "$base.new" "$mirror"
        printf 'deb %s %s main\ndeb %s %s-updates main\ndeb %s %s-security main\n' "$mirror" "$suite" "$mirror" "$suite" \
            "${mirror%/}-security" "$suite" >"$base.new/etc/apt/sources.list"
        systemd-nspawn -q -D "$base.new" --register=no --keep-unit --resolv-conf=copy-host sh -c 'apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends systemd-sysv dbus libpam-systemd curl procps \
                openssl postgresql libcjson1 libmicrohttpd12'
    } >"$work/base.log" 2>&1 </dev/null || { tail -n 20 "$work/base.log" >&2; die "the clean system could not be made"; }
    mv "$base.new" "$base"
fi
remove_groups
mkdir "$root" "$work/upper" "$work/overlay"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/overlay" "$root"
cp "$deb" "$root/root/old.deb"
cp "$next_deb" "$root/root/next.deb"
cp build/sandbox-ats "$root/root/"
cp -a "$work/staged" "$root/var/cache/staged"
# what the package depends on is fetched now: the booted system has no network
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" sh -c 'apt-get update -q; apt-get install -y -q --download-only /root/old.deb' >"$work/download.log" 2>&1 </dev/null ||
    { tail -n 20 "$work/download.log" >&2; die "the package's dependencies cannot be had"; }

setsid systemd-nspawn -q -D "$root" --boot --register=no --keep-unit --private-network --console=pipe --machine="atsyncd$$" \
    >"$work/boot.log" 2>&1 </dev/null 9>&- &
booted=$!
state='no process'
for _ in $(seq 600); do
    if [ -z "$leader" ]; then
        child=$(cat /proc/$booted/task/*/children 2>/dev/null | tr ' ' '\n' | grep -m1 . || true)
        [ -z "$child" ] || [ "$(cat "/proc/$child/comm" 2>/dev/null)" != systemd ] || leader=$child
    else
        state=$(inside systemctl is-system-running 2>/dev/null || true)
        case $state in running | degraded) break ;; esac
    fi
    sleep 0.1
done
case $state in running | degraded) ;; *) tail -n 20 "$work/boot.log" >&2; die "the system did not come up: $state" ;; esac
echo "package: systemd is $state after $((SECONDS - started)) s"

# ---- checks
checks=0 failed=0
ok() { # WHAT COMMAND...: the command ends with 0
    local what=$1 rc=0
    shift
    "$@" >"$work/out" 2>&1 </dev/null || rc=$?
    checks=$((checks + 1))
    if [ $rc = 0 ]; then
        printf 'ok      %s\n' "$what"
    else
        printf 'FAILED  %s (exit status %s: %s)\n' "$what" $rc "$*"
        tail -n 25 "$work/out" | sed 's/^/        /'
        failed=$((failed + 1))
    fi
}
is() { # WHAT EXPECTED COMMAND...: it prints exactly that
    local what=$1 expected=$2 found
    shift 2
    found=$("$@" 2>&1 </dev/null || true)
    checks=$((checks + 1))
    if [ "$found" = "$expected" ]; then
        printf 'ok      %s\n' "$what"
    else
        printf 'FAILED  %s\n        expected: %s\n        found:    %s\n' "$what" "$expected" "$found"
        failed=$((failed + 1))
    fi
}
fails() { # WHAT COMMAND...
    local what=$1
    shift
    ok "$what" bash -c '! "$@"' _ "$@"
}
says() { # WHAT PATTERN COMMAND...: what it prints has this, whatever its exit status
    local what=$1 pattern=$2
    shift 2
    "$@" >"$work/said" 2>&1 </dev/null || true
    ok "$what" bash -c 'grep -qE -- "$1" "$2" || { cat "$2"; false; }' _ "$pattern" "$work/said"
}
soon() { # SECONDS COMMAND...: it comes true
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1 </dev/null; do
        [ $SECONDS -lt $deadline ] || { "$@"; return 1; }
        sleep 0.2
    done
}
export -f soon inside
export leader
sql() {
    inside setpriv --reuid postgres --regid postgres --clear-groups env -C / psql -X -q -At -d atsync -c "$1"
}
has_row() { # STATEMENT: it gives true
    [ "$(sql "$1")" = t ]
}
settled() { # CANDIDATE STATE
    has_row "select bool_and(sync_state = '$2') from atsync.sync_status where candidate_external_id = '$1'"
}
main_pid() {
    inside systemctl show -p MainPID --value atsyncd
}
journal() {
    inside journalctl -u atsyncd -o cat --no-pager
}
active() {
    inside systemctl is-active --quiet "$1"
}
apt() {
    inside apt-get -y -q --no-install-recommends "$@"
}

echo "---- install"
apt install /root/old.deb >"$work/apt.log" 2>&1 </dev/null || { cat "$work/apt.log"; die "apt cannot install the package"; }
says "the last line names setup" 'atsyncctl setup' tail -n 1 "$work/apt.log"
is "/etc/atsyncd is root's and the group's" "750 root:atsyncd" inside stat -c '%a %U:%G' /etc/atsyncd
is "and so is the configuration" "640 root:atsyncd" inside stat -c '%a %U:%G' /etc/atsyncd/atsyncd.conf
is "credentials are root's alone" "700 root:root" inside stat -c '%a %U:%G' /etc/atsyncd/credentials
fails "nothing runs before it is set up" active atsyncd
is "and nothing is enabled" disabled inside systemctl is-enabled atsyncd
is "no database was touched" 0 inside setpriv --reuid postgres --regid postgres --clear-groups env -C / psql -XAtqc "select count(*) from pg_database where datname = 'atsync'"
ok "the units are right" inside systemd-analyze verify --man=no atsyncd.service atsyncd@north.service
ok "their exposure is 1.2 or less" inside systemd-analyze security --threshold=12 atsyncd.service

fails "it does not start without a configuration" inside systemctl start atsyncd
is "and is not started again and again" failed inside systemctl is-active atsyncd
is "the status says why" 78 inside systemctl show -p ExecMainStatus --value atsyncd
says "and the journal in words" 'popp.secret: No such file' journal
inside systemctl reset-failed atsyncd

echo "---- set up, configure, check, start"
says "setup makes the database" 'made.*database.*atsync' inside atsyncctl setup
says "and may be repeated" 'was there.*database.*atsync' inside atsyncctl setup
inside sh -c 'cat >/etc/atsyncd/atsyncd.conf && printf sandbox-token >/etc/atsyncd/credentials/ats && chmod 600 /etc/atsyncd/credentials/ats &&
    install -m 640 -g atsyncd /etc/atsyncd/credentials/ats /etc/atsyncd/ats.token' <<'EOF'
receiver: {listen: "127.0.0.1:8480"}
admin: {listen: "127.0.0.1:8481"}
database: {conninfo: "dbname=atsync"}
sources:
  popp:
    signing_secrets: [{file: /etc/atsyncd/popp.secret}]
connectors:
  sandbox:
    type: rest
    base_url: http://127.0.0.1:9099
    allow_private_addresses: true
    credentials: {token: {file: /etc/atsyncd/ats.token}}
    retry: {base: 1s, cap: 2s}
workflows:
  "*":
    connector: sandbox
    job: "182736"
    on:
      started: {stage: Contacted}
      completed/PASSED_CRITERIA: {stage: Screened, tags: [popp-passed]}
      finished: {note: summary}
EOF
ats() { # start, or stop and forget everything
    if [ "$1" = start ]; then
        inside systemd-run -q --unit=sandbox-ats /root/sandbox-ats --listen 127.0.0.1:9099 --token sandbox-token
        soon 10 inside curl -sf http://127.0.0.1:9099/_sandbox/records
    else
        inside systemctl stop sandbox-ats
    fi
}
ats start >/dev/null
ok "atsyncctl check finds nothing" inside atsyncctl check
ok "enable and start" inside systemctl enable --now atsyncd
ok "it is ready" soon 10 inside curl -sf http://127.0.0.1:8481/readyz
is "it may do nothing to the system" $'CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2' \
    inside sh -c 'grep -E "^(CapBnd|NoNewPrivs|Seccomp):" /proc/$(systemctl show -p MainPID --value atsyncd)/status'

sample() { # N: the run of a candidate ats_N
    inside atsyncctl send-sample run-completed --set "data.recordId=run_$1" --set "data.candidateProfileId=cp_$1" --set "data.candidateProfileExternalId=ats_$1"
}
echo "---- an event"
ok "a sample is taken" sample 1
ok "and reaches the ATS" soon 20 settled ats_1 synced
says "which has it" '"popp-passed"' inside curl -sf http://127.0.0.1:9099/_sandbox/records
is "signed by hand" '{"status":"stored"}' inside sh -c 'cd /root
    printf %s "{\"event\":\"WORKFLOW_RUN_STARTED\",\"eventId\":\"hand\",\"eventTimestamp\":\"2026-05-12T09:00:00Z\",\"data\":{\"recordId\":\"run_h\",\"workflowId\":\"w\",\"workflowExternalId\":\"cedar\",\"candidateProfileId\":\"cp_h\",\"candidateProfileExternalId\":\"ats_h\"}}" >body
    s=$(openssl dgst -sha256 -hmac "$(cat /etc/atsyncd/popp.secret)" -r body | cut -d" " -f1)
    curl -s -H "Content-Type: application/json" -H "x-signature: $s" --data-binary @body http://127.0.0.1:8480/webhooks/popp'

echo "---- the unit"
inside sed -i.kept 's/^receiver:/recever:/' /etc/atsyncd/atsyncd.conf
fails "a reload with a mistake in the file fails" inside systemctl reload atsyncd
says "and names it" 'recever.*receiver' journal
ok "the daemon goes on" active atsyncd
inside mv /etc/atsyncd/atsyncd.conf.kept /etc/atsyncd/atsyncd.conf
inside sed -i 's|{file: /etc/atsyncd/ats.token}|{credential: secret_ats}|' /etc/atsyncd/atsyncd.conf
ok "a credential from systemd" inside systemctl restart atsyncd
ok "with that" sample 2
ok "the ATS is reached" soon 20 settled ats_2 synced
pid=$(main_pid)
inside kill -KILL "$pid"
ok "killed, it comes back" soon 20 bash -c 'p=$(inside systemctl show -p MainPID --value atsyncd); [ "$p" != 0 ] && [ "$p" != "$1" ]' _ "$pid"
inside sh -c 'mkdir -p /run/systemd/system/atsyncd.service.d && printf "[Service]\nWatchdogSec=2s\n" >/run/systemd/system/atsyncd.service.d/test.conf && systemctl daemon-reload && systemctl restart atsyncd'
pid=$(main_pid)
inside kill -STOP "$pid"
ok "hung, it is ended by the watchdog and comes back" soon 30 bash -c 'p=$(inside systemctl show -p MainPID --value atsyncd); [ "$p" != 0 ] && [ "$p" != "$1" ]' _ "$pid"
inside sh -c 'rm -r /run/systemd/system/atsyncd.service.d; systemctl daemon-reload; systemctl restart atsyncd'
inside systemctl stop atsyncd
is "a stop is clean" success inside systemctl show -p Result --value atsyncd
inside sh -c 'sed -e s/8480/8580/ -e s/8481/8581/ /etc/atsyncd/atsyncd.conf >/etc/atsyncd/north.conf; chgrp atsyncd /etc/atsyncd/north.conf; chmod 640 /etc/atsyncd/north.conf'
ok "two side by side" inside systemctl start atsyncd atsyncd@north
ok "the second is ready" soon 10 inside curl -sf http://127.0.0.1:8581/readyz

echo "---- upgrade with work in the queue"
ats stop
ok "an event while the ATS is away" sample 3
ok "it waits" soon 10 has_row "select count(*) > 0 from atsync.pending_writes where candidate_external_id = 'ats_3'"
inside cp /usr/sbin/atsyncd /usr/local/sbin/older-daemon
conf=$(inside sha256sum /etc/atsyncd/atsyncd.conf)
pid=$(main_pid)
north=$(inside systemctl show -p MainPID --value atsyncd@north)
apt install /root/next.deb >"$work/apt.log" 2>&1 </dev/null || { cat "$work/apt.log"; die "apt cannot upgrade the package"; }
says "the last line names migrate" 'atsyncctl migrate' tail -n 1 "$work/apt.log"
is "the configuration is as it was" "$conf" inside sha256sum /etc/atsyncd/atsyncd.conf
is "the sample is the new one" "# a line that the next release has" inside tail -n 1 /usr/share/atsyncd/atsyncd.conf
is "the new one is there" "atsyncd $next" inside atsyncd --version
ok "it was restarted" bash -c '[ "$(inside systemctl show -p MainPID --value atsyncd)" != "$1" ]' _ "$pid"
ok "and so was the second one" bash -c '[ "$(inside systemctl show -p MainPID --value atsyncd@north)" != "$1" ]' _ "$north"
says "it waits for the schema" 'atsyncctl migrate' inside curl -s http://127.0.0.1:8481/readyz
# as on a machine that has the older release still
inside sh -c 'systemctl stop atsyncd@north; systemd-run -q --unit=other-machine -p User=atsyncd -p LoadCredential=secret:/etc/atsyncd/credentials /usr/local/sbin/older-daemon -c /etc/atsyncd/north.conf'
ok "one that is not upgraded yet goes on" soon 10 inside curl -sf http://127.0.0.1:8581/readyz
ok "and takes events" inside atsyncctl -c /etc/atsyncd/north.conf send-sample run-started --set data.candidateProfileExternalId=ats_4
events=$(sql 'select count(*) from atsync.event')
says "a dry run says what migrating means for it" 'would apply 900_next: breaking, daemons of older releases end' inside atsyncctl migrate --dry-run
inside atsyncctl migrate >"$work/migrated" 2>&1 </dev/null || true
says "migrate" 'applied 900_next' cat "$work/migrated"
says "and an index, beside the work" 'applied 901_next_index' cat "$work/migrated"
ok "the older daemon ends" soon 20 bash -c '! inside systemctl is-active --quiet other-machine'
says "and says why" 'install the newer release' inside journalctl -u other-machine -o cat --no-pager
inside systemctl reset-failed other-machine 2>/dev/null || true
ok "then it is ready by itself" soon 20 inside curl -sf http://127.0.0.1:8481/readyz
ats start >/dev/null
ok "the queued work is done" soon 60 settled ats_3 synced
is "no event is lost" "$events" sql 'select count(*) from atsync.event'

# for an administrator of PostgreSQL: the same in a database of its own
inside sh -c 'sed s/dbname=atsync/dbname=second/ /etc/atsyncd/atsyncd.conf >/root/second.conf; chmod 600 /root/second.conf
    atsyncctl -c /root/second.conf setup --print >/tmp/second.sql' || true
ok "psql takes what setup --print gives" inside setpriv --reuid postgres --regid postgres --clear-groups psql -X -q -f /tmp/second.sql
is "with that index" t inside setpriv --reuid postgres --regid postgres --clear-groups env -C / \
    psql -XAtq -d second -c "select indisvalid from pg_index where indexrelid = 'atsync.event_next_release'::regclass"

echo "---- downgrade"
inside systemctl stop atsyncd@north
apt install --allow-downgrades /root/old.deb >"$work/apt.log" 2>&1 </dev/null || true
ok "the older daemon refuses" soon 20 bash -c 'inside journalctl -u atsyncd -o cat --no-pager | grep -q "must not work on: install the newer release"'
fails "and serves nothing" inside curl -sf http://127.0.0.1:8481/readyz
says "atsyncctl says why" 'install the newer release' inside atsyncctl status
apt install /root/next.deb >"$work/apt.log" 2>&1 </dev/null || { cat "$work/apt.log"; die "apt cannot upgrade the package again"; }
ok "the newer one works again" soon 20 inside curl -sf http://127.0.0.1:8481/readyz

echo "---- remove, purge"
ok "remove" apt remove atsyncd
fails "nothing runs" inside pgrep -x atsyncd
is "the configuration stays" "$conf" inside sha256sum /etc/atsyncd/atsyncd.conf
inside mv /etc/atsyncd/atsyncd.conf /root/kept.conf
ok "installed again" apt install /root/next.deb
fails "a configuration that was taken away stays away" inside test -e /etc/atsyncd/atsyncd.conf
inside cp -p /root/kept.conf /etc/atsyncd/atsyncd.conf
apt purge atsyncd >"$work/apt.log" 2>&1 </dev/null || { cat "$work/apt.log"; die "apt cannot purge the package"; }
says "purge says that the database stays" 'database was not touched' cat "$work/apt.log"
is "no file is left" "" inside sh -c 'find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/cache \) -prune -o -name "*atsync*" -print'
fails "nor the user" inside getent passwd atsyncd
is "the database is" "$events" sql 'select count(*) from atsync.event'

echo "---- without a package"
inside cp -a /var/cache/staged/. /
ok "README's line makes the user and gives it the configuration" inside sh -c "$(grep '^systemd-sysusers && ' README.md)"
is "which is the group's" "640 root:atsyncd" inside stat -c '%a %U:%G' /etc/atsyncd/atsyncd.conf
inside sh -c 'sed s/dbname=atsync/dbname=third/ /root/kept.conf >/etc/atsyncd/atsyncd.conf; (umask 077; printf sandbox-token >/etc/atsyncd/credentials/ats)'
ok "setup" inside atsyncctl setup
ok "start" inside systemctl start atsyncd
ok "it is ready" soon 10 inside curl -sf http://127.0.0.1:8481/readyz

printf 'package: %s checks, %s failed, %s s\n' $checks $failed $((SECONDS - started))
[ $failed = 0 ]
