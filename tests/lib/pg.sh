#!/bin/bash
# pg.sh - a private PostgreSQL in a directory, for tests and for `make run`. Not for production: it trusts every local
# user.
#
#   pg.sh start DIR [PORT]           creates the cluster if there is none, starts it, creates the database "atsync"
#   pg.sh stop DIR [fast|immediate]  stops it; nothing to do is success
#   pg.sh env DIR                    prints PGHOST=… PGPORT=… PGUSER=… PGDATABASE=…, one a line
#   pg.sh remove DIR                 stops it and deletes DIR
#   pg.sh standby DIR FROM           a standby of the running cluster in FROM, whose commits wait for it from then on
#   pg.sh kill DIR                   kills the server as a crash would
#   pg.sh promote DIR                makes a standby the primary; returns when it takes writes
#
# PG_FAST=1    no fsync: for tests that do not crash the machine
# PG_OWNER=PID a watcher stops and removes the cluster when that process is gone, however it ended
# PG_BINDIR    where initdb and pg_ctl are, if they are in no usual place
#
# PostgreSQL refuses to run as root, so root hands the cluster to user postgres (or nobody). If that user cannot reach
# DIR (a checkout below /root), the cluster lives in a directory of its own below /var/tmp, noted in DIR/location.
set -euo pipefail

say() { printf 'pg.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# ---- the server's programs: PATH on most systems, versioned directories on Debian and with PGDG packages on Fedora
find_bindir() {
    local candidate
    if [ -n "${PG_BINDIR:-}" ]; then
        printf '%s\n' "$PG_BINDIR"
        return
    fi
    while IFS= read -r candidate; do
        if [ -x "$candidate/initdb" ] && [ -x "$candidate/pg_ctl" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV; echo /usr/bin
        dirname "$(command -v initdb || echo /usr/bin/initdb)")
    die "no PostgreSQL server programs found (initdb, pg_ctl): install postgresql (Debian) or postgresql-server" \
        "(Fedora), or set PG_BINDIR"
}

# ---- who runs it
server_user() {
    [ "$(id -u)" -eq 0 ] || { id -un; return; }
    if id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

# Runs a command as the server's user, in a directory that this user can enter.
as_server() {
    local user
    user=$(server_user)
    if [ "$(id -u)" -ne 0 ]; then
        (cd / && exec "$@")
    elif command -v runuser >/dev/null; then
        (cd / && exec runuser -u "$user" -- "$@")
    elif command -v setpriv >/dev/null; then
        (cd / && exec setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups -- "$@")
    elif command -v su >/dev/null; then
        (cd / && exec su -s /bin/bash "$user" -c "$(printf '%q ' "$@")")
    else
        die "PostgreSQL does not run as root, and none of runuser, setpriv, su is there: run this as another user"
    fi
}

# ---- where it is
location() { # DIR -> the directory that holds data/ and the socket
    if [ -f "$1/location" ]; then cat "$1/location"; else printf '%s\n' "$1"; fi
}

socket_dir() { # a socket's path may have 107 bytes, ".s.PGSQL.NNNNN" included
    local home=$1
    if [ "${#home}" -le 85 ]; then printf '%s\n' "$home"; else cat "$home/socket_dir"; fi
}

prepare_location() { # DIR
    local dir=$1 home user
    mkdir -p "$dir"
    user=$(server_user)
    [ -f "$dir/location" ] && [ -d "$(cat "$dir/location")" ] && return
    rm -f "$dir/location"
    [ "$(id -u)" -eq 0 ] || return 0
    chown "$user" "$dir"
    if ! as_server test -w "$dir" 2>/dev/null; then
        home=$(mktemp -d /var/tmp/atsyncd-pg.XXXXXX)
        chown "$user" "$home"
        printf '%s\n' "$home" >"$dir/location"
        say "user $user cannot reach $dir: the cluster is in $home"
    fi
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

choose_port() { # below the ephemeral range, so that an outgoing connection does not take it meanwhile
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 10000))
        if port_is_free "$port"; then
            printf '%s\n' "$port"
            return
        fi
    done
    die "no free port found between 20000 and 29999"
}

is_zombie() { grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; } # some containers' first process leaves them for long

is_running() { # HOME
    as_server "$bindir/pg_ctl" -D "$1/data" status >/dev/null 2>&1 && ! is_zombie "$(head -n 1 "$1/data/postmaster.pid")"
}

create_cluster() { # HOME
    local home=$1 sockets
    sockets=$(socket_dir "$home")
    as_server "$bindir/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --locale=C ${PG_FAST:+-N} \
        >"$home/initdb.log" 2>&1 ||
        { cat "$home/initdb.log" >&2; die "initdb failed in $home"; }
    {
        echo "listen_addresses = '127.0.0.1'"
        echo "unix_socket_directories = '$sockets'"
        echo "max_connections = 100"
        echo "log_line_prefix = '%m [%p] %a '"
        [ -z "${PG_FAST:-}" ] || printf '%s = off\n' fsync full_page_writes
    } | as_server tee -a "$home/data/postgresql.conf" >/dev/null
}

prepare() { # DIR, which becomes the global dir
    local home
    mkdir -p "$1"
    dir=$(cd "$1" && pwd)
    prepare_location "$dir"
    home=$(location "$dir")
    if [ "${#home}" -gt 85 ] && [ ! -f "$home/socket_dir" ]; then
        mktemp -d /tmp/atsyncd-socket.XXXXXX >"$home/socket_dir"
        [ "$(id -u)" -ne 0 ] || chown "$(server_user)" "$(cat "$home/socket_dir")"
    fi
}

start() { # DIR [PORT]
    local home wanted=${2:-0} port attempt
    prepare "$1"
    home=$(location "$dir")
    [ -f "$home/data/PG_VERSION" ] || create_cluster "$home"
    if ! is_running "$home"; then
        [ "$wanted" != 0 ] || [ ! -f "$dir/port" ] || wanted=$(cat "$dir/port")
        for attempt in 1 2 3 4 5; do
            port=$wanted
            [ "$port" != 0 ] || port=$(choose_port)
            # Not our file descriptors: whoever reads our output would wait for the server's end.
            if as_server "$bindir/pg_ctl" -D "$home/data" -w -t 60 -s -l "$home/postgres.log" -o "-p $port" start \
                </dev/null >"$dir/pg_ctl.log" 2>&1; then
                printf '%s\n' "$port" >"$dir/port"
                break
            fi
            # Another process may have taken the port between our look and the server's bind: then another try helps.
            if [ "$attempt" = 5 ] || [ "$wanted" != 0 ] ||
                ! tail -n 20 "$home/postgres.log" | grep -q 'Address already in use'; then
                tail -n 20 "$home/postgres.log" >&2 || true
                die "PostgreSQL in $home did not start: its log is above"
            fi
        done
    fi
    if [ "$(sql postgres "select 1 from pg_database where datname = 'atsync'")" != 1 ]; then
        sql postgres 'create database atsync' >/dev/null
    fi
    [ -z "${PG_OWNER:-}" ] || watch_owner "$dir" "$PG_OWNER"
}

sql() { # DATABASE STATEMENT, in the cluster of the global dir
    "$bindir/psql" -X -At -h "$(socket_dir "$(location "$dir")")" -p "$(cat "$dir/port")" -U postgres -d "$1" \
        -v ON_ERROR_STOP=1 -c "$2"
}

# ---- replication
standby() { # DIR FROM
    local home primary
    [ -f "$2/port" ] || die "there is no cluster in $2"
    primary="host=127.0.0.1 port=$(cat "$2/port") user=postgres"
    prepare "$1"
    home=$(location "$dir")
    as_server "$bindir/pg_basebackup" -D "$home/data" -d "$primary" -X stream -c fast >"$dir/basebackup.log" 2>&1 ||
        { cat "$dir/basebackup.log" >&2; die "pg_basebackup from $2 failed"; }
    {
        echo "unix_socket_directories = '$(socket_dir "$home")'"
        echo "primary_conninfo = '$primary application_name=standby'"
    } | as_server tee -a "$home/data/postgresql.conf" >/dev/null
    as_server touch "$home/data/standby.signal"
    start "$dir"
    dir=$(cd "$2" && pwd)
    # after the copy was made, so that the standby does not wait for itself once it is the primary
    sql postgres "alter system set synchronous_standby_names = 'ANY 1 (standby)'" >/dev/null
    sql postgres 'select pg_reload_conf()' >/dev/null
    for _ in $(seq 300); do
        [ "$(sql postgres "select 1 from pg_stat_replication where sync_state = 'quorum'")" != 1 ] || return 0
        sleep 0.1
    done
    die "the standby in $1 did not catch up with $2 within 30 seconds"
}

crash() { # DIR
    local home pid
    home=$(location "$1")
    pid=$(head -n 1 "$home/data/postmaster.pid")
    kill -KILL "$pid"
    while kill -0 "$pid" 2>/dev/null && ! is_zombie "$pid"; do sleep 0.02; done
}

promote() { # DIR
    as_server "$bindir/pg_ctl" -D "$(location "$1")/data" -w -t 60 -s promote </dev/null ||
        die "the standby in $1 was not promoted within a minute"
}

watch_owner() { # DIR PID
    if [ -f "$1/owner" ] && [ "$(cat "$1/owner")" = "$2" ]; then return; fi
    printf '%s\n' "$2" >"$1/owner"
    # Only what still belongs to that process is removed: DIR may have a new cluster with a new owner by then.
    setsid bash -c 'tail --pid="$2" -f /dev/null
        [ "$(cat "$1/owner" 2>/dev/null)" != "$2" ] || exec bash "$0" remove "$1"' "$self" "$1" "$2" \
        </dev/null >/dev/null 2>&1 &
}

stop() { # DIR [MODE]
    local home mode=${2:-fast}
    case $mode in fast | immediate) ;; *) die "stop DIR fast or immediate, not \"$mode\"" ;; esac
    [ -d "$1" ] || return 0
    home=$(location "$1")
    is_running "$home" || return 0
    as_server "$bindir/pg_ctl" -D "$home/data" -w -t 60 -s -m "$mode" stop </dev/null ||
        die "PostgreSQL in $home did not stop within a minute"
}

remove() { # DIR
    local home sockets=
    [ -d "$1" ] || return 0
    home=$(location "$1")
    [ ! -f "$home/socket_dir" ] || sockets=$(cat "$home/socket_dir")
    [ ! -f "$home/data/PG_VERSION" ] || stop "$1" immediate
    rm -rf -- ${sockets:+"$sockets"}
    [ "$home" = "$1" ] || rm -rf -- "$home"
    rm -rf -- "$1"
}

env_of() { # DIR
    [ -f "$1/port" ] || die "there is no cluster in $1: pg.sh start $1 makes one"
    printf 'PGHOST=%s\nPGPORT=%s\nPGUSER=postgres\nPGDATABASE=atsync\n' \
        "$(socket_dir "$(location "$1")")" "$(cat "$1/port")"
}

self=$(readlink -f "$0")
[ $# -ge 2 ] ||
    die "usage: pg.sh start DIR [PORT] | stop DIR [fast|immediate] | env DIR | remove DIR | standby DIR FROM | kill DIR | promote DIR"
bindir=$(find_bindir)
dir=$2
case $1 in
start) start "$2" "${3:-0}" ;;
stop) stop "$2" "${3:-fast}" ;;
env) env_of "$2" ;;
remove) remove "$2" ;;
standby) standby "$2" "${3:?the cluster to copy is missing}" ;;
kill) crash "$2" ;;
promote) promote "$2" ;;
*) die "unknown command \"$1\": start, stop, env, remove, standby, kill or promote" ;;
esac
