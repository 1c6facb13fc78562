#!/bin/bash
# run.sh [--worktree] [COMMAND...]: proves that a machine with nothing but git, make and a shell can run and test atsyncd.
#
# Makes a minimal Debian with debootstrap (git, make and ca-certificates are all that is added), clones this repository
# into it and runs `make run ONCE=1` and `make check` there, as root and without stdin. Afterwards no process may be
# left and no PostgreSQL cluster of the system's may have been made. Needs root, debootstrap and a network.
#
# --worktree copies the files as they are now instead of cloning the last commit. COMMAND... runs instead of the two.
#
#   MINIMAL_BASE   the debootstrapped tree, made once and never written to again (/var/tmp/atsyncd-minimal/SUITE)
#   SUITE          bookworm unless told otherwise
#   MIRROR         unless told otherwise the one that this machine's apt uses
set -euo pipefail

if [ "${1:-}" = inside ]; then
    # ---- in the minimal system: process 1 of its own process namespace, so that nothing can hide
    mount -t proc proc /proc
    cd /root
    git config --global --add safe.directory '*' # the clone's source belongs to somebody else
    if [ -d /mnt/source.git-less ]; then
        mkdir atsyncd && tar -C atsyncd -xf /mnt/source.git-less/files.tar
        (cd atsyncd && git init -q && git add -A)
    else
        git clone -q file:///mnt/source atsyncd
    fi
    cd atsyncd
    shift
    step() {
        local started=$SECONDS rc=0
        printf '\n==== %s\n' "$*"
        "$@" </dev/null 2>&1 | tee /root/output || rc=${PIPESTATUS[0]}
        printf '==== %s: exit status %s after %s s\n' "$*" "$rc" $((SECONDS - started))
        [ "$rc" = 0 ] || failed+=("$*: exit status $rc")
        local left=()
        local stat
        for stat in /proc/[0-9]*/stat; do
            local pid=${stat#/proc/}
            pid=${pid%/stat}
            [ "$pid" = 1 ] || [ "$pid" = $BASHPID ] || [ ! -s "/proc/$pid/cmdline" ] || left+=("$pid $(tr '\0' ' ' <"/proc/$pid/cmdline")")
        done
        [ ${#left[@]} = 0 ] || failed+=("$*: left running: ${left[*]}")
    }
    failed=()
    if [ $# -gt 0 ]; then
        step "$@"
    else
        step make run ONCE=1
        step make check
        tail -n 1 /root/output | grep -Eqx '[0-9]+ passed, 0 failed, [0-9]+ skipped' ||
            failed+=("make check: its last line is \"$(tail -n 1 /root/output)\"")
    fi
    for cluster in /etc/postgresql/*/main; do
        [ ! -e "$cluster" ] || failed+=("the system got a PostgreSQL cluster of its own: $cluster")
    done
    [ ! -e /etc/postgresql-common/createcluster.d/atsyncd-install-deps.conf ] || failed+=("install-deps left its file in createcluster.d")
    printf '\n'
    for f in "${failed[@]}"; do echo "minimal: FAILED: $f"; done
    [ ${#failed[@]} = 0 ] || exit 1
    echo "minimal: all is well"
    exit 0
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "minimal: only root can make and enter another system: sudo $0" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "minimal: install debootstrap first" >&2; exit 2; }
worktree=no
if [ "${1:-}" = --worktree ]; then
    worktree=yes
    shift
fi

suite=${SUITE:-bookworm}
base=${MINIMAL_BASE:-/var/tmp/atsyncd-minimal/$suite}
mirror=${MIRROR:-$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
    awk '$1 == "URIs:" && $2 ~ /\/debian\/?$/ { print $2; exit } $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /\/debian\/?$/) { print $i; exit } }')}
[ -n "$mirror" ] || { echo "minimal: no Debian mirror among this machine's apt sources: name one with MIRROR=" >&2; exit 2; }

if [ ! -e "$base/etc/debian_version" ]; then
    mkdir -p "$(dirname "$base")"
    rm -rf "$base.new"
    debootstrap --variant=minbase --include=ca-certificates,git,make "$suite" "$base.new" "$mirror"
    printf 'deb %s %s main\ndeb %s %s-updates main\n' "$mirror" "$suite" "$mirror" "$suite" >"$base.new/etc/apt/sources.list"
    mv "$base.new" "$base" # a half-made base is never used
fi
mkdir -p "$base.debs/partial" # downloaded packages are kept for the next time

work=$(mktemp -d /var/tmp/atsyncd-minimal.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$work"/{root,upper,overlay,source}
if [ $worktree = yes ]; then
    (cd "$here" && git ls-files -z -co --exclude-standard --deduplicate | while IFS= read -r -d '' f; do
        [ ! -e "$f" ] || printf '%s\0' "$f"
    done | tar --null -T - -cf "$work/source/files.tar")
else
    # what is below .git of a linked worktree lies elsewhere; and this tree may belong to somebody else
    printf '[safe]\n\tdirectory = *\n' >"$work/gitconfig"
    GIT_CONFIG_GLOBAL=$work/gitconfig git clone -q --bare "$here" "$work/source"
fi

export work base here worktree
# Mounts and processes live in namespaces of their own: whatever happens, they end with this command.
unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
    mount --make-rprivate /
    # a layer over the base; where overlayfs is missing, a copy
    mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/overlay" "$work/root" 2>/dev/null ||
        cp -a "$base/." "$work/root"
    root=$work/root
    mount --rbind /dev "$root/dev"
    mkdir -p "$root/mnt/source" "$root/var/cache/apt/archives"
    mount --bind "$base.debs" "$root/var/cache/apt/archives"
    if [ "$worktree" = yes ]; then
        mkdir "$root/mnt/source.git-less"
        mount --bind "$work/source" "$root/mnt/source.git-less"
    else
        mount --bind "$work/source" "$root/mnt/source"
    fi
    cp --dereference /etc/resolv.conf "$root/etc/resolv.conf"
    cp "$here/tests/minimal/run.sh" "$root/mnt/run.sh"
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8 \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        chroot "$root" /bin/bash /mnt/run.sh inside "$@"' bash "$@"
