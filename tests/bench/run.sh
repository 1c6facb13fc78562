#!/bin/bash
# run.sh - what `make bench` does: measures how fast the daemon is, as ratios to what this machine can do at best, and prints a table.
# It decides nothing: a ratio that got worse is seen beside the one that was recorded last.
#
#   ROUNDS=N     rounds, interleaved (5); the figures are medians. 1 is a quick look
#   ONLY=A,B     some figures only: ingest, e2e, drain, latency, memory, claim, snapshot, calls, stored
#   SECS=S       how long each load lasts (3)
#   FULL=1       10 million stored events instead of one million, and a snapshot that is held for about a minute
#   PEER=DIR     a competitor too: a folder whose run.sh takes LG, QUEUE, TX, SECS, CONNS, N, RATE, PORT, WARM and a mode
#   RECORD=1     writes the ratios to tests/bench/recorded.tsv
#
# Everything runs on this machine's loopback beside a private PostgreSQL that is durable (fsync, synchronous_commit, full_page_writes);
# sender, daemon, database and ATS share its cores, so a rate is that of the whole chain on this machine, and only the ratios mean anything.
# Nothing stays but build/bench/log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
here=$PWD/tests/bench
dir=$build/bench
programs=$build/tests/bench
recorded=$here/recorded.tsv
rounds=${ROUNDS:-5}
secs=${SECS:-3}
peer=${PEER:-}
figures=(ingest e2e drain latency memory claim snapshot calls stored)
only=${ONLY:-}
wanted=,${only:-$(IFS=, && echo "${figures[*]}")},

drain_events=20000
backlog_events=100000
snapshot_events=150000
snapshot_secs=10
claim_rows=1000000
claim_due=$((3000 * rounds + 2000))
claim_finished=100000
stored_events=1000000
calls_runs=200
latency_rate=200
if [ -n "${FULL:-}" ] && [ "$FULL" != 0 ]; then
    stored_events=10000000
    snapshot_events=900000
    snapshot_secs=60
fi
secret=bench-secret-0123456789
connector=ats

fail() {
    printf 'bench: %s\n' "$*" >&2
    exit 1
}

case $rounds in '' | *[!0-9]* | 0) fail "ROUNDS=$rounds: a number from 1 on" ;; esac
for name in ${only//,/ }; do
    case " ${figures[*]} " in *" $name "*) ;; *) fail "ONLY=$name: there are ${figures[*]}" ;; esac
done
wants() { [[ $wanted == *,$1,* ]]; }

# ---- processes: each is started by us, known by its id, and ended by us; the kernel ends them if we are killed
pids=()
started_pid=
start() { # LOG COMMAND...: its output goes to LOG.out
    local log=$dir/log/$1
    shift
    setpriv --pdeathsig TERM -- "$@" >"$log.out" 2>"$log.err" </dev/null 9>&- &
    started_pid=$!
    pids+=("$started_pid")
}

alive() { kill -0 "$1" 2>/dev/null; }

forget() { # PID
    local pid rest=()
    for pid in "${pids[@]}"; do [ "$pid" = "$1" ] || rest+=("$pid"); done
    pids=(${rest[@]+"${rest[@]}"})
}

finish() { # PID: waits for its end
    local status=0
    wait "$1" || status=$?
    forget "$1"
    return "$status"
}

stop() { # PID: ends it
    local pid=$1 i
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < 300; i++)); do
        alive "$pid" || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    finish "$pid" || true
}

run() { # LOG COMMAND...: to its end; Ctrl-C is heard meanwhile
    local log=$1
    start "$@"
    finish "$started_pid" || fail "$log failed: $(tail -n 3 "$dir/log/$log.err" "$dir/log/$log.out" | tr '\n' ' ')"
}

peer_group=
clean_up() {
    local status=$? i
    trap '' INT TERM HUP
    [ -z "$peer_group" ] || kill -TERM -- "-$peer_group" 2>/dev/null || true
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do stop "${pids[i]}" 2>/dev/null; done
    tests/lib/pg.sh remove "$dir/pg" 9>&- || true
    rm -rf "$dir/peer" "$dir/values" "$dir"/*.conf "$dir"/*.json "$dir"/*.sql
    exit "$status"
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 10000))
        if port_is_free "$port"; then
            printf '%s\n' "$port"
            return
        fi
    done
    fail "no free port"
}

wait_for() { # SECONDS PID WHAT COMMAND...: until the command succeeds, as long as the process lives
    local until=$((SECONDS + $1)) pid=$2 what=$3
    shift 3
    until "$@"; do
        alive "$pid" || fail "$what: the program ended; its log is in $dir/log"
        [ $SECONDS -lt $until ] || fail "$what: not in time"
        sleep 0.02
    done
}

# ---- what was measured
measured() { # NAME VALUE
    printf '%s\t%s\n' "$1" "$2" >>"$dir/values"
}

median() { # NAME -> the median, nothing if it was not measured
    awk -F'\t' -v name="$1" '$1 == name { print $2 }' "$dir/values" | sort -g |
        awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

round=0
show() { # WHAT VALUE
    printf '  %d/%d  %-58s %s\n' "$round" "$rounds" "$1" "$2"
}

line=
field() { # NAME -> its number in $line ("name=12.3ms"), 0 if it is not there
    local number=0
    [[ " $line" =~ \ $1=([0-9.]+) ]] && number=${BASH_REMATCH[1]}
    printf '%s\n' "$number"
}

# ---- the database
sql() { # DATABASE STATEMENT
    psql -X -q -At -v ON_ERROR_STOP=1 -d "$1" -c "$2"
}

start_database() {
    local assignment
    tests/lib/pg.sh remove "$dir/pg" 9>&-
    PG_OWNER=$$ tests/lib/pg.sh start "$dir/pg" 9>&- || fail "PostgreSQL did not start"
    while IFS= read -r assignment; do export "${assignment?}"; done < <(tests/lib/pg.sh env "$dir/pg")
    for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do PATH=$PATH:$bin; done # psql and pgbench, where they are in no usual place
    export PGCLIENTENCODING=UTF8 PGOPTIONS='-c client_min_messages=warning'
    for assignment in shared_buffers=512MB max_wal_size=4GB max_connections=200; do
        sql postgres "alter system set ${assignment%%=*} = '${assignment#*=}'"
    done
    tests/lib/pg.sh stop "$dir/pg"
    PG_OWNER=$$ tests/lib/pg.sh start "$dir/pg" 9>&- || fail "PostgreSQL did not start again"
    [ "$(sql postgres "select string_agg(setting, ',') from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes')")" = on,on,on ] ||
        fail "PostgreSQL is not durable"
}

fresh_database() { # NAME [TEMPLATE]; also brings what earlier work left in memory to disk, so that each begins alike
    sql postgres "drop database if exists $1 with (force)"
    sql postgres "create database $1 template ${2:-bench_empty}"
    sql postgres checkpoint
}

# ---- the daemon
receiver_port=$(free_port)
admin_port=$(free_port)
sink_port=$(free_port)
fields_only='fields: {dbs: dbs_number, licence: has_licence, nmc-pin: nmc_pin_status}'
# what the documentation shows, for what a sync costs
all_kinds='on:
      started:                   {stage: "Contacted"}
      completed/PASSED_CRITERIA: {stage: "Recruiter screen", tags: [popp-passed]}
      finished:                  {note: summary}
    fields: {dbs: dbs_number, licence: has_licence, nmc-pin: nmc_pin_status}'

write_conf() { # FILE DATABASE DELIVERS [MAPPING]
    rm -f "$1"
    (umask 077 && cat >"$1") <<YAML
instance: bench
receiver: {listen: "127.0.0.1:$receiver_port"}
admin: {listen: "127.0.0.1:$admin_port"}
database: {conninfo: "host=$PGHOST port=$PGPORT user=$PGUSER dbname=$2"}
sources:
  popp: {signing_secrets: [$secret]}
connectors:
  $connector:
    type: rest
    base_url: http://127.0.0.1:$sink_port
    credentials: {token: 0123456789abcdef}
    concurrency: 64
    allow_private_addresses: true
workflows:
  cedar-rgn-screening:
    connector: $connector
    job: "182736"
    ${4:-$fields_only}
delivery: {enabled: $3}
YAML
}

daemon=
daemon_start() { # DATABASE DELIVERS [MAPPING]
    write_conf "$dir/daemon.conf" "$@"
    start atsyncd "$build/atsyncd" -c "$dir/daemon.conf"
    daemon=$started_pid
    wait_for 20 "$daemon" "starting the daemon" curl -fs -o /dev/null "http://127.0.0.1:$admin_port/readyz"
}

daemon_stop() {
    stop "$daemon"
    daemon=
}

memory_mb() { # NAME: VmHWM or VmRSS of the daemon
    awk -v name="$1:" '$1 == name { printf "%.1f\n", $2 / 1024 }' "/proc/$daemon/status"
}

load() { # OPTIONS of load; its line is in $line
    run load "$programs/load" --port "$receiver_port" --secret "$secret" --body "$here/event.json" "$@"
    line=$(cat "$dir/log/load.out")
    [ "$(field bad)" = 0 ] || printf '  note: %s events were not accepted: %s\n' "$(field bad)" "$(head -n 1 "$dir/log/load.err")"
}

sink=
sink_start() { # OPTIONS of load
    start sink "$programs/load" --sink "$sink_port" "$@"
    sink=$started_pid
    wait_for 10 "$sink" "starting the ATS" eval "! port_is_free $sink_port"
}

sink_finish() { # its line is in $line
    finish "$sink" || true
    line=$(cat "$dir/log/sink.out")
}

sink_stop() {
    stop "$sink"
    line=$(cat "$dir/log/sink.out")
}

# ---- 1, 2: receiving
prepare_ingest() {
    local hex
    command -v pgbench >/dev/null || return 0
    hex=$(od -An -v -tx1 "$here/event.json" | tr -d ' \n')
    # what most would write: one statement and one commit for each event
    cat >"$dir/ceiling.sql" <<SQL
\\set n random(1, 9000000000000000000)
insert into ceiling (event_id, event, record_id, payload) values ('evt_' || :n, 'WORKFLOW_RUN_COMPLETED', 'run_xyz789', '\\x$hex'::bytea) on conflict do nothing;
SQL
}

ceiling() {
    local rate
    command -v pgbench >/dev/null || return 0
    fresh_database bench_run
    sql bench_run "create table ceiling (id bigint generated always as identity primary key, event_id text not null unique,
        received_at timestamptz not null default now(), event text not null, record_id text, status smallint not null default 0, payload bytea not null)"
    # the daemon's own table has it, where the server can
    sql bench_run "alter table ceiling alter payload set compression lz4" 2>/dev/null || true
    run pgbench pgbench -n -M prepared -c 32 -j 2 -T "$secs" -f "$dir/ceiling.sql" bench_run
    rate=$(awk '$1 == "tps" && !/including/ { printf "%.0f\n", $3 }' "$dir/log/pgbench.out")
    measured ceiling "$rate"
    show "single-row inserts by pgbench, 32 clients" "$rate/s"
}

bursts() { # CONNECTIONS
    load --conns "$1" --secs 2 --burst
    measured "stalled_$1" "$(field stalled)"
    show "bursts of exactly $1 requests" "$(field acked) answered, $(field stalled) of them after more than 2 s or never"
}

round_ingest() {
    local conns
    ceiling
    peer_round ingest tx
    peer_round ingest batch
    for conns in 32 128; do
        fresh_database bench_run
        daemon_start bench_run false
        load --conns "$conns" --secs 1
        load --conns "$conns" --secs "$secs"
        measured "ingest_$conns" "$(field ack_rate)"
        show "ingest, $conns connections" "$(field ack_rate)/s, answered after $(field ack_p50) ms (p99 $(field ack_p99))"
        [ "$conns" = 32 ] || bursts 128
        [ "$conns" = 32 ] || bursts 256
        daemon_stop
    done
}

# ---- 3: receiving and delivering
e2e() { # DATABASE OPTIONS of load
    local database=$1
    shift
    daemon_start "$database" true
    load --sink "$sink_port" --secs 1 "$@"
    load --sink "$sink_port" --secs "$secs" --drain 120 "$@"
    [ "$(field delivered)" = "$(field acked)" ] || printf '  note: %s of %s events were delivered\n' "$(field delivered)" "$(field acked)"
}

round_e2e() {
    fresh_database bench_run
    e2e bench_run
    measured e2e "$(field e2e_rate)"
    measured memory_e2e "$(memory_mb VmHWM)"
    show "end to end, 32 connections" "$(field e2e_rate)/s, delivered after $(field e2e_p50) ms (p99 $(field e2e_p99)), resident $(memory_mb VmRSS) MB, at most $(memory_mb VmHWM)"
    daemon_stop
    peer_round e2e cte
    peer_round e2e batch
}

# ---- 4: stored events
drain() { # DATABASE RUN COUNT SECONDS: delivers what is stored, or as much as it can in that time; the line is in $line
    sink_start --run "$2" --count "$3" --drain "$4"
    daemon_start "$1" true
    sink_finish
    daemon_stop
}

round_drain() {
    fresh_database bench_run
    daemon_start bench_run false
    load --count "$drain_events" --secs 120 --run drain
    daemon_stop
    drain bench_run drain "$drain_events" 300
    [ "$(field delivered)" = "$drain_events" ] || printf '  note: %s of %s events were delivered\n' "$(field delivered)" "$drain_events"
    measured drain "$(field drain_rate)"
    show "drain of $drain_events stored events" "$(field drain_rate)/s"
    sink_start
    run curl_ceiling "$programs/curl_ceiling" "$sink_port" 64 "$secs"
    line=$(cat "$dir/log/curl_ceiling.out")
    measured curl "$(field rate)"
    show "PATCH by one thread of curl multi, 64 connections" "$(field rate)/s"
    peer_round drain batch
    sink_stop
}

# ---- 5: latency
round_latency() {
    fresh_database bench_run
    daemon_start bench_run true
    load --sink "$sink_port" --secs 1
    load --sink "$sink_port" --secs $((secs + 2)) --rate "$latency_rate" --conns 64
    measured latency_p50 "$(field e2e_p50)"
    measured latency_p99 "$(field e2e_p99)"
    show "event to delivery at $latency_rate/s" "$(field e2e_p50) ms (p99 $(field e2e_p99), answered after $(field ack_p50))"
    daemon_stop
    peer_round latency cte
}

# ---- 6: memory
prepare_backlog() { # EVENTS: a database with so many waiting ones, made once
    local name=bench_backlog_$1
    [ "$(sql postgres "select count(*) from pg_database where datname = '$name'")" = 0 ] || return 0
    echo "Storing $1 events that wait"
    fresh_database "$name"
    daemon_start "$name" false
    load --count "$1" --secs 600 --conns 64 --run backlog
    daemon_stop
    sql "$name" 'vacuum analyze'
}

prepare_memory() {
    prepare_backlog "$backlog_events"
}

round_memory() {
    local stored
    fresh_database bench_run "bench_backlog_$backlog_events"
    write_conf "$dir/daemon.conf" bench_run true
    run pause "$build/atsyncctl" -c "$dir/daemon.conf" pause "$connector"
    sink_start
    daemon_start bench_run true
    load --secs 1
    stored=$(memory_mb VmHWM)
    run resume "$build/atsyncctl" -c "$dir/daemon.conf" resume "$connector"
    load --secs "$secs"
    measured memory_waiting "$(memory_mb VmHWM)"
    show "resident with $backlog_events waiting candidates" "at most $stored MB while paused, $(memory_mb VmHWM) MB once it delivers"
    sink_stop
    daemon_stop
}

# ---- 7: claims
fill_candidates() { # DATABASE PREFIX COUNT STATE DUE_AT
    sql "$1" "insert into atsync.candidate (source, connector, ref, external_id, workflow_external_id, state, due_at, last_event_at)
        select 'popp', '$connector', 'x:$2' || i, '$2' || i, 'cedar-rgn-screening', '$4', $5, now() from generate_series(1, $3) as i"
}

# Those that wait became due in the order in which they came, as in life.
due_at="now() - ($claim_rows - i) * interval '1 ms'"
prepare_claim() {
    local kind
    for kind in none finished future waiting; do
        echo "Making the queue \"$kind\""
        fresh_database "bench_claim_$kind"
        case $kind in
        finished) fill_candidates bench_claim_finished f "$claim_rows" synced null ;;
        future) fill_candidates bench_claim_future f "$claim_rows" retrying "now() + interval '1 day' + random() * interval '1 day'" ;;
        waiting) fill_candidates bench_claim_waiting f "$claim_rows" pending "$due_at" ;;
        esac
        fill_candidates "bench_claim_$kind" d "$claim_due" pending "$due_at"
        sql "bench_claim_$kind" 'vacuum analyze atsync.candidate'
        sql postgres checkpoint
    done
}

claim() { # DATABASE BATCH FIRST MEASURED -> the median in $line
    write_conf "$dir/claim.conf" "$1" false
    run claim "$programs/claim" "$dir/claim.conf" "$connector" "$2" "$3" "$4"
    line=$(cat "$dir/log/claim.out")
}

round_claim() {
    local kind
    for kind in none finished future waiting; do
        claim "bench_claim_$kind" 10 500 200
        measured "claim_$kind" "$(field claim_p50_us)"
        show "claim of 10, queue \"$kind\"" "$(field claim_p50_us) us (p99 $(field claim_p99_us))"
    done
}

# ---- 7: somebody's open snapshot
snapshot_open() { # DATABASE: an analyst's transaction, which keeps what is dead from being removed
    PGAPPNAME=bench-snapshot start snapshot psql -X -q -At -d "$1" \
        -c "begin isolation level repeatable read; select count(*) from atsync.connector_state; select pg_sleep(3600)"
    snapshot=$started_pid
    wait_for 10 "$snapshot" "opening a snapshot" snapshot_is_open
}

snapshot_is_open() {
    [ "$(sql postgres "select count(*) from pg_stat_activity where application_name = 'bench-snapshot' and backend_xmin is not null and query ~ 'pg_sleep'")" = 1 ]
}

snapshot_close() {
    sql postgres "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'bench-snapshot'" >/dev/null
    finish "$snapshot" || true
}

prepare_snapshot() {
    echo "Making a queue of $((claim_finished + 20000))"
    fresh_database bench_claim_due
    fill_candidates bench_claim_due d $((claim_finished + 20000)) pending "$due_at"
    sql bench_claim_due 'vacuum analyze atsync.candidate'
    prepare_backlog "$snapshot_events"
}

round_snapshot() {
    local how
    for how in without with; do
        fresh_database bench_run bench_claim_due
        [ $how = without ] || snapshot_open bench_run
        claim bench_run 100 "$claim_finished" 50
        [ $how = without ] || snapshot_close
        measured "claim_$how" "$(field claim_p50_us)"
        show "claim of 100 after $claim_finished, $how a snapshot" "$(field claim_p50_us) us (p99 $(field claim_p99_us))"
    done
    for how in without with; do
        fresh_database bench_run "bench_backlog_$snapshot_events"
        [ $how = without ] || snapshot_open bench_run
        drain bench_run backlog "$snapshot_events" "$snapshot_secs"
        [ $how = without ] || snapshot_close
        measured "drain_$how" "$(field tail_rate)"
        show "drain for at most $snapshot_secs s, $how a snapshot" "$(field drain_rate)/s, the last quarter $(field tail_rate)/s"
    done
}

# ---- 8: calls
own_ids='s/"run_[^"]*"/"run_xyz789"/g; s/"cp_[^"]*"/"cp_abc123"/g; s/"eventId": *"[^"]*"/"eventId":"evt_abc123-EVENT"/'
prepare_calls() {
    local i
    sed "$own_ids; s/-EVENT/-1/" conf/samples/run-started.json >"$dir/event-1.json"
    for i in 2 3 4 5; do sed "$own_ids; s/-EVENT/-$i/; s/\"screen-1\"/\"screen-$i\"/" conf/samples/node-completed.json >"$dir/event-$i.json"; done
    sed "$own_ids; s/-EVENT/-6/" conf/samples/run-completed.json >"$dir/event-6.json"
}

nothing_waits() {
    [ "$(sql bench_run 'select count(*) from atsync.candidate where due_at is not null')" = 0 ]
}

calls() { # FILE...: calls for each run, when its events come while the connector is paused
    local file
    fresh_database bench_run
    write_conf "$dir/daemon.conf" bench_run true "$all_kinds"
    run pause "$build/atsyncctl" -c "$dir/daemon.conf" pause "$connector"
    daemon_start bench_run true "$all_kinds"
    for file in "$@"; do load --count "$calls_runs" --secs 60 --run calls --body "$file"; done
    sink_start --run calls
    run resume "$build/atsyncctl" -c "$dir/daemon.conf" resume "$connector"
    wait_for 60 "$daemon" "delivering" nothing_waits
    daemon_stop
    sink_stop
    awk -v calls="$(field sinkreq)" -v runs=$calls_runs 'BEGIN { printf "%.2f\n", calls / runs }'
}

round_calls() {
    local value
    value=$(calls "$dir/event-6.json")
    measured calls_one "$value"
    value=$(calls "$dir"/event-[1-6].json)
    measured calls_six "$value"
    show "calls for a run with 6 events while the ATS was away" "$value, for its last event alone $(median calls_one)"
}

# ---- 9: what has been stored before
# Rows are made from those that the daemon itself wrote for one event, so that they look as they do in life.
prepare_stored() {
    local candidates=$((stored_events / 10)) id="md5(i::text) || i" table
    echo "Storing $stored_events events of $candidates candidates"
    fresh_database bench_stored
    daemon_start bench_stored true
    load --sink "$sink_port" --count 1 --secs 10 --run base
    wait_for 10 "$daemon" "delivering" eval "[ \"\$(sql bench_stored 'select count(*) from atsync.candidate where due_at is not null')\" = 0 ]"
    daemon_stop
    multiply() { # TABLE COUNT CHANGES
        echo "  $1"
        sql bench_stored "set synchronous_commit = off; set max_parallel_workers_per_gather = 0;
            insert into atsync.$1 select r.* from atsync.$1 b, generate_series(1, $2) as i,
            lateral (select $id as id, md5((i % $candidates + 1)::text) || (i % $candidates + 1) as c) k,
            lateral jsonb_populate_record(b, jsonb_build_object($3)) r"
    }
    multiply event "$stored_events" "'event_id', 'evt_' || k.id, 'subject', 'x:' || k.c, 'external_id', k.c, 'profile_id', 'cp_' || k.c, 'run_id', 'run_' || k.c"
    multiply candidate "$candidates" "'ref', 'x:' || k.id, 'external_id', k.id"
    multiply run "$candidates" "'run_id', 'run_' || k.id, 'ref', 'x:' || k.id, 'profile_id', 'cp_' || k.id, 'external_id', k.id"
    multiply ats_write "$candidates" "'ref', 'x:' || k.id, 'run_id', 'run_' || k.id"
    multiply ats_call "$candidates" "'ref', 'x:' || k.id"
    multiply identity "$candidates" "'ref', 'x:' || k.id, 'external_id', k.id, 'alias', left(b.alias, 2) || k.id"
    sql bench_stored 'vacuum analyze'
    for table in event candidate run ats_write ats_call identity; do
        printf '  %-10s %s\n' $table "$(sql bench_stored "select reltuples::bigint || ' rows, ' || pg_size_pretty(pg_table_size(oid)) || ' and indexes ' || pg_size_pretty(pg_indexes_size(oid)) from pg_class where oid = 'atsync.$table'::regclass")"
    done
    sql postgres checkpoint
}

round_stored() {
    local database
    fresh_database bench_run
    for database in bench_run bench_stored; do
        e2e "$database" --scatter
        measured "stored_e2e_$database" "$(field e2e_rate)"
        daemon_stop
        daemon_start "$database" false
        load --secs "$secs" --scatter
        measured "stored_ingest_$database" "$(field ack_rate)"
        daemon_stop
        # left over by the second load; the next round begins without
        sql "$database" "update atsync.candidate set due_at = null, state = 'synced' where due_at is not null"
        show "$([ $database = bench_run ] && echo none || echo "$stored_events") stored before" \
            "end to end $(median "stored_e2e_$database")/s, ingest $(median "stored_ingest_$database")/s (medians so far)"
    done
}

# ---- the competitor
prepare_peer() {
    [ -x "$peer/run.sh" ] || fail "PEER=$peer: there is no run.sh"
    command -v npm >/dev/null || fail "PEER needs node and npm"
    echo "Installing the competitor"
    mkdir -p "$dir/peer"
    cp -r "$peer" "$dir/peer/peer"
    chmod -R u+w "$dir/peer"
    cp "$here/event.json" "$dir/peer/sample2k.json"
    (cd "$dir/peer/peer" && npm install --no-audit --no-fund) >"$dir/log/npm.out" 2>&1 || fail "npm install: see $dir/log/npm.out"
    sql postgres 'create database bench_peer'
}

peer_round() { # MODE TX
    local mode=$1 tx=$2 value
    [ -n "$peer" ] || return 0
    sql postgres checkpoint
    # a group of its own, named by its id: run.sh starts programs that would outlive it
    start peer env LG="$programs/load" QUEUE=graphile TX="$tx" WARM=1 SECS="$([ "$mode" = latency ] && echo $((secs + 2)) || echo "$secs")" CONNS=32 N=10000 \
        RATE="$latency_rate" PORT=18300 DRAIN_SINK="http://127.0.0.1:$sink_port" PGDATABASE=bench_peer setsid "$dir/peer/peer/run.sh" "$mode"
    peer_group=$started_pid
    finish "$started_pid" || fail "the competitor failed: see $dir/log/peer.err"
    peer_group=
    line=$(tr '\n' ' ' <"$dir/log/peer.out")
    case $mode in
    ingest) value=$(field ack_rate) ;;
    e2e) value=$(field e2e_rate) ;;
    drain) value=$(field drain_rate) ;;
    latency) value=$(field e2e_p50) ;;
    esac
    measured "peer_${mode}_$tx" "$value"
    [ "$mode" != latency ] || measured peer_latency_p99 "$(field e2e_p99)"
    if [ "$mode" = e2e ]; then measured "peer_memory" "$(($(field receiver) + $(field worker)))"; fi
    show "the competitor: $mode, $tx" "$value$([ "$mode" = latency ] && echo " ms (p99 $(field e2e_p99))" || echo /s)"
}

# ---- the table
rows=()
row() { # KEY LABEL VALUE BASE GOAL [UNIT [alone]]; VALUE and BASE are names of what was measured; alone: also without BASE
    local value base ratio=- last
    value=$(median "$3")
    base=$(median "$4")
    [ -n "$value" ] || return 0
    [ -n "$base" ] || [ -z "$4" ] || [ -n "${7:-}" ] || return 0
    [ -z "$base" ] || ratio=$(awk -v a="$value" -v b="$base" 'BEGIN { if (b > 0) printf "%.2f\n", a / b; else print "-" }')
    [ -n "$4" ] || ratio=$value
    last=$(awk -F'\t' -v key="$1" '$1 == key { print $2 }' "$recorded" 2>/dev/null || true)
    rows+=("$(printf '%s\t%s\t%s\t%s\t%s\t%s\t%s' "$1" "$2" "$value${6:-}" "${base:+$base${6:-}}" "$ratio" "$5" "${last:--}")")
}

all_rows() {
    local million=$((stored_events / 1000000))
    row ingest32 "ingest, 32 connections / single-row inserts by pgbench, 32 clients" ingest_32 ceiling ">= 1.0 (1.5)" /s alone
    row ingest128 "ingest, 128 connections / the same" ingest_128 ceiling ">= 1.25 (2)" /s alone
    row ingest_tx "ingest / Node, BEGIN..COMMIT" ingest_32 peer_ingest_tx ">= 10 (14)" /s
    row ingest_batch "ingest / Node, group commit of its own" ingest_32 peer_ingest_batch ">= 3.5 (5)" /s
    row stalled128 "requests stalled at exactly 128 connections" stalled_128 "" "0"
    row stalled256 "requests stalled at exactly 256 connections" stalled_256 "" "0"
    row e2e_cte "end to end / Node graphile" e2e peer_e2e_cte ">= 8 (12)" /s
    row e2e_batch "end to end / Node group commit" e2e peer_e2e_batch ">= 2.7 (4)" /s
    [ -n "$peer" ] || row e2e "end to end" e2e peer_e2e_cte "" /s alone
    row drain "drain of stored events / one thread of curl multi, 64 connections" drain curl ">= 0.30 (0.45)" /s
    row drain_peer "drain / Node graphile" drain peer_drain_batch ">= 4 (5)" /s
    row p50 "event to delivery at $latency_rate/s, p50${peer:+ / Node graphile}" latency_p50 peer_latency_cte "<= 0.65 (0.4)" " ms" alone
    row p99 "event to delivery at $latency_rate/s, p99${peer:+ / Node graphile}" latency_p99 peer_latency_p99 "<= 0.7 (0.4)" " ms" alone
    row memory "resident memory after end to end${peer:+ / Node receiver and worker}" memory_e2e peer_memory "<= 0.125 (0.07)" " MB" alone
    row memory_waiting "resident memory with $backlog_events waiting candidates / without" memory_waiting memory_e2e "the same" " MB" alone
    row claim_finished "claim p50, $claim_rows finished candidates / none" claim_finished claim_none "<= 1.3 (1.1)" " us"
    row claim_future "claim p50, $claim_rows that are due later / none" claim_future claim_none "<= 1.3 (1.1)" " us"
    row claim_waiting "claim p50, $claim_rows that wait / none" claim_waiting claim_none "<= 1.3 (1.1)" " us"
    row claim_snapshot "claim p50 after $claim_finished under an open snapshot / without" claim_with claim_without "<= 2 (1.1)" " us"
    row drain_snapshot "drain, the last quarter of $snapshot_secs s, under an open snapshot / without" drain_with drain_without ">= 0.8 (0.95)" /s
    row calls "ATS calls of a run, 6 events while the ATS was away / of one sync" calls_six calls_one "1" ""
    row stored_e2e "end to end, $million million stored events / none" stored_e2e_bench_stored stored_e2e_bench_run ">= 0.8 (0.95)" /s
    row stored_ingest "ingest, $million million stored events / none" stored_ingest_bench_stored stored_ingest_bench_run ">= 0.8 (0.95)" /s
}

print_table() {
    [ ${#rows[@]} -gt 0 ] || fail "nothing was measured"
    {
        printf 'figure\tvalue\tceiling or baseline\tratio\tgoal (aim)\tlast recorded\n'
        printf -- '---\t---\t---\t---\t---\t---\n'
        printf '%s\n' "${rows[@]}" | cut -f 2-
    } | awk -F'\t' '{ for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if ($i != "---" && length($i) > wide[i]) wide[i] = length($i) } columns = NF }
        END {
            for (r = 1; r <= NR; r++) {
                for (i = 1; i <= columns; i++) {
                    text = cell[r, i]
                    while (length(text) < wide[i]) text = text (cell[r, i] == "---" ? "-" : " ")
                    printf "| %s ", text
                }
                print "|"
            }
        }'
}

write_recorded() {
    local date
    date=$(date +%F)
    {
        printf '# key\tratio\tvalue\tbaseline\trounds\tdate; written by make bench RECORD=1\n'
        {
            printf '%s\n' "${rows[@]}" | awk -F'\t' -v OFS='\t' -v date="$date" -v rounds="$rounds" '$5 != "-" { print $1, $5, $3, $4 == "" ? "-" : $4, rounds, date }'
            [ ! -f "$recorded" ] || grep -v '^#' "$recorded"
        } | awk -F'\t' '!seen[$1]++'
    } >"$dir/recorded"
    mv "$dir/recorded" "$recorded"
    echo "Recorded in tests/bench/recorded.tsv."
}

# ---- the program
for program in "$build/atsyncd" "$build/atsyncctl" "$programs/load" "$programs/curl_ceiling" "$programs/claim"; do
    [ -x "$program" ] || fail "$program is not there: make bench builds it first"
done
mkdir -p "$dir/log"
exec 9>"$dir/lock"
flock -n 9 || fail "another \`make bench\` is running"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rm -f "$dir"/log/* "$dir/values"
: >"$dir/values"

read -r load_before _ </proc/loadavg # other work on the machine shows here
start_database
about="$(date '+%F'), $(nproc) cores of $(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo), Linux $(uname -r), PostgreSQL $(sql postgres 'show server_version'), medians of $rounds rounds, load average at the start $load_before"
echo "$about"
sql postgres 'create database bench_empty'
write_conf "$dir/daemon.conf" bench_empty true
run migrate "$build/atsyncctl" -c "$dir/daemon.conf" migrate
[ -z "$peer" ] || prepare_peer
for name in "${figures[@]}"; do
    if wants "$name" && declare -F "prepare_$name" >/dev/null; then "prepare_$name"; fi
done
for ((round = 1; round <= rounds; round++)); do
    for name in "${figures[@]}"; do
        if wants "$name"; then "round_$name"; fi
    done
done
all_rows
printf '\n%s\n\n' "$about"
print_table
if [ -n "${RECORD:-}" ] && [ "$RECORD" != 0 ]; then write_recorded; fi
