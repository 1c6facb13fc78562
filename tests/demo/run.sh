#!/bin/bash
# run.sh - what `make run` shows: a private PostgreSQL, a sandbox ATS and the daemon on this machine's loopback, a signed
# sample of each of the nine workflow events, and what became of them in the ATS and in the sync-status view.
#
# Stays until Ctrl-C and leaves nothing running; its logs stay in var/log. With ONCE=1 it ends by itself: 0 when
# everything is synced within a minute, 1 with the reason when not. BUILD names the directory of the programs.
# CONNECTOR chooses the type of connector: "rest" (unless given) with the sandbox ATS of this project; for any other a
# stub of that ATS that gives recorded answers and remembers nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
connector=${CONNECTOR:-rest}
var=$PWD/var
conf=$var/atsyncd.conf
deadline_s=60
state_ok="('synced', 'nothing_to_do')"

bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi

step_number=0
step() {
    step_number=$((step_number + 1))
    printf '\n%s%d. %s%s\n' "$bold" $step_number "$*" "$plain"
}

note() {
    printf '   %s\n' "$*"
}

fail() {
    printf '\n%sFAILED: %s%s\n' "$bold" "$*" "$plain" >&2
    if [ -s "$var/log/atsyncd.log" ]; then
        echo "The daemon's last lines (all of them: var/log/atsyncd.log):" >&2
        tail -n 15 "$var/log/atsyncd.log" | sed 's/^/   /' >&2
    fi
    exit 1
}

# ---- processes: each is started by us, known by its id, and ended by us; the kernel ends them if we are killed
pids=()
started_pid=
start() { # LOGNAME COMMAND...
    local log=$var/log/$1.log
    shift
    setpriv --pdeathsig TERM -- "$@" >"$log" 2>&1 </dev/null 9>&- &
    started_pid=$!
    pids+=("$started_pid")
}

alive() {
    kill -0 "$1" 2>/dev/null
}

clean_up() {
    local status=$? i watcher
    trap '' INT TERM HUP
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null || true
        for _ in $(seq 100); do
            alive "${pids[i]}" || break
            sleep 0.1
        done
        kill -KILL "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    watcher=$(cat "$var/pg/watcher" 2>/dev/null || true)
    tests/lib/pg.sh remove "$var/pg" 9>&- || true
    [ -z "$watcher" ] || kill -- "-$watcher" 2>/dev/null || true
    rm -f "$conf" "$var/popp.secret" "$var/encryption.key" "$var/sandbox.port" "$var/answer" "$var/event" "$var/connectors"
    rm -rf "$var/stub"
    exit "$status"
}

# ---- small helpers
sql() { # STATEMENT -> unaligned text
    psql -X -q -At -v ON_ERROR_STOP=1 -c "$1"
}

table() { # PSQL OPTIONS...; the statement comes from standard input
    psql -X -q -P pager=off -P footer=off -P border=2 -P null=- -v ON_ERROR_STOP=1 "$@" | sed 's/^/   /'
}

free_port() { # PREFERRED... -> the first of them that is free, else any
    local port
    for port in "$@" $(for _ in $(seq 50); do echo $((20000 + RANDOM % 10000)); done); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
    return 1
}

wait_for() { # SECONDS PID WHAT COMMAND...: until the command succeeds, as long as the process lives
    local seconds=$1 until=$((SECONDS + $1)) pid=$2 what=$3
    shift 3
    until "$@"; do
        alive "$pid" || fail "$what: the program ended"
        [ $SECONDS -lt $until ] || fail "$what: not within $seconds seconds"
        sleep 0.05
    done
}

indented() { # BLANKS FILE
    sed "s/^/$1/; 1s/^$1//" "$2"
}

# ---- the ATS: start_ats_KIND starts it and sets connector_yaml and workflow_yaml; show_ats_KIND prints what came of it
ats_url=
connector_yaml=
candidate=ats_42 # whose record the samples are about
workflow_yaml='connector: sandbox
    job: "182736"
    on:
      contact_failed:                  {tags: [popp-unreachable]}
      contact_resolved:                {tags: [popp]}
      started:                         {stage: "Contacted"}
      node/screen-1/PASSED_CRITERIA:   {tags: [popp-screened]}
      completed/PASSED_CRITERIA:       {stage: "Recruiter screen", only_from: [none, "Contacted"], tags: [popp-passed]}
      completed/FAILED_CRITERIA:       {reject: "Did not meet criteria"}
      opted_out:                       {tags: [popp-opted-out]}
      cancelled:                       {tags: [popp-cancelled]}
      failed/SYSTEM:                   {tags: [popp-start-again]}
      finished:                        {note: summary, fields: {popp_outcome: "finished"}}
    fields:
      nmc-pin:       nmc_pin_status
      nmc-pin.score: nmc_pin_score
      screen-1/dbs:  dbs_number
      licence:       {field: has_licence, from: answerState, map: {IS_YES: "Yes", IS_NO: "No"}, clear: true}'
start_ats_rest() {
    step "The ATS: a sandbox that keeps candidates in memory"
    start sandbox-ats "$build/sandbox-ats" --listen 127.0.0.1:0 --token sandbox-token --port-file "$var/sandbox.port"
    wait_for 10 "$started_pid" "starting the sandbox ATS" test -s "$var/sandbox.port"
    ats_url=http://127.0.0.1:$(cat "$var/sandbox.port")
    connector_yaml="type: rest
    base_url: $ats_url
    credentials: {token: sandbox-token}
    allow_private_addresses: true"
    note "It speaks plain REST and shows its records at $ats_url/"
}

start_ats_stub() {
    step "The ATS: a stub of $connector that gives recorded answers and remembers nothing"
    rm -rf "$var/stub" "$var/connectors"
    mkdir -p "$var/stub"
    start stub-ats "$build/stub-ats" "$connector" --dir "$var/stub"
    wait_for 10 "$started_pid" "starting the stub of $connector" test -s "$var/stub/port"
    ats_url=http://127.0.0.1:$(cat "$var/stub/port")
    candidate=$(cat "$var/stub/candidate")
    connector_yaml=$(indented '    ' "$var/stub/connector.yaml")
    workflow_yaml=$(indented '    ' "$var/stub/workflow.yaml")
    if [ -d "$var/stub/connectors" ]; then
        # beside the configuration, so it goes before the shipped one
        ln -sfn stub/connectors "$var/connectors"
        note "It gives tokens too: a copy of $connector.jq in var/connectors asks it for them instead of the vendor"
    fi
    note "It listens at $ats_url; the record is that of candidate $candidate"
}

ats_calls_seen=0
show_new_calls() { # the writes that the ATS got since the last time
    local calls last
    calls=$(curl -fsS "$ats_url/_sandbox/log?since=$ats_calls_seen") || return 0
    while IFS='|' read -r last call; do
        ats_calls_seen=$last
        case $call in GET*) ;; *) printf '        %s-> ATS: %s%s\n' "$dim" "$call" "$plain" ;; esac
    done < <(psql -X -q -At -v calls="$calls" <<'SQL'
select c->>'seq', (c->>'method') || ' ' || (c->>'path') || coalesce(' ' || regexp_replace(c->>'body', '^(.{70}).+$', '\1 ...'), '')
from jsonb_array_elements(:'calls'::jsonb) c order by (c->>'seq')::bigint;
SQL
    )
}

show_ats_rest() {
    local records
    records=$(curl -fsS "$ats_url/_sandbox/records") || fail "the sandbox ATS does not answer"
    table -v records="$records" <<'SQL'
select c->>'id' as candidate, j.key as job, j.value->>'stage' as stage, j.value->'rejection'->>'reason' as rejected,
       (select string_agg(t, ', ') from jsonb_array_elements_text(c->'tags') t) as tags,
       jsonb_array_length(c->'notes') as notes
from jsonb_array_elements(:'records'::jsonb->'candidates') c left join lateral jsonb_each(c->'jobs') j on true;
select c->>'id' as candidate, f.key as field, f.value as value
from jsonb_array_elements(:'records'::jsonb->'candidates') c, lateral jsonb_each_text(c->'fields') f order by 1, 2;
SQL
    note "Its notes:"
    psql -X -q -At -v records="$records" <<'SQL' | sed 's/^/      | /'
select n.value->>'body' || E'\n' from jsonb_array_elements(:'records'::jsonb->'candidates') c,
       lateral jsonb_array_elements(c->'notes') with ordinality n order by n.ordinality;
SQL
}

show_ats_stub() {
    local calls
    calls=$(curl -fsS "$ats_url/_sandbox/log") || fail "the stub of the ATS does not answer"
    note "It keeps no records. What was asked of it, and written:"
    table -v calls="$calls" <<'SQL'
select c->>'method' as method, c->>'path' as path, count(*) as times
from jsonb_array_elements(:'calls'::jsonb) c group by 1, 2 order by min((c->>'seq')::bigint);
SQL
}

# ---- the program
kind=stub
[ "$connector" != rest ] || kind=rest
if [ ! -e "conf/connectors/$connector.jq" ] || { [ $kind = stub ] && [ ! -e "tests/unit/connector/$connector.json" ]; }; then
    echo "CONNECTOR=$connector: there is no such connector to try. There are:" conf/connectors/*.jq | sed 's|conf/connectors/||g; s|\.jq||g' >&2
    exit 2
fi
for program in atsyncd atsyncctl sandbox-ats stub-ats; do
    [ -x "$build/$program" ] || { echo "$build/$program is not there: make run builds it first" >&2; exit 2; }
done
mkdir -p "$var/log"
exec 9>"$var/lock"
flock -n 9 || { echo "Another \`make run\` is using var/: end it first." >&2; exit 2; }
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rm -f "$var/log"/*.log "$var/sandbox.port"

step "PostgreSQL: a private one below var/, for this run only (the system's own is not touched)"
tests/lib/pg.sh remove "$var/pg" 9>&-
PG_OWNER=$$ tests/lib/pg.sh start "$var/pg" 9>&- || fail "PostgreSQL did not start"
pg_env=$(tests/lib/pg.sh env "$var/pg")
while IFS='=' read -r name value; do export "$name=$value"; done <<<"$pg_env"
export PGCLIENTENCODING=UTF8
for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do PATH=$PATH:$bin; done # psql, where it is in no usual place
note "$(sql "select 'PostgreSQL ' || current_setting('server_version') || ' on port ' || current_setting('port')")"

"start_ats_$kind"

step "Configuration and schema"
receiver_port=$(free_port 8480)
admin_port=$(free_port 8481)
(
    umask 077
    openssl rand -hex 32 >"$var/popp.secret"
    openssl rand -hex 32 >"$var/encryption.key"
    cat >"$conf" <<YAML
# Written by tests/demo/run.sh. conf/atsyncd.conf is the commented sample of such a file.
instance: demo
receiver: {listen: "127.0.0.1:$receiver_port"}
admin: {listen: "127.0.0.1:$admin_port"}
database: {conninfo: "host=$PGHOST port=$PGPORT user=$PGUSER dbname=$PGDATABASE", encryption_key: {file: $var/encryption.key}}
sources:
  popp:
    organizations: [org_123456]
    signing_secrets:
      - {file: $var/popp.secret}
connectors:
  sandbox:
    $connector_yaml
workflows:
  cedar-rgn-screening:                 # the workflow of the samples
    $workflow_yaml
YAML
)
"$build/atsyncctl" -c "$conf" migrate >"$var/log/migrate.log" 2>&1 || { sed 's/^/   /' "$var/log/migrate.log" >&2; fail "atsyncctl migrate"; }
note "var/atsyncd.conf is written, the tables and views are in schema atsync"

step "The daemon"
start atsyncd "$build/atsyncd" -c "$conf"
daemon=$started_pid
wait_for 20 "$daemon" "starting the daemon" curl -fs -o /dev/null "http://127.0.0.1:$admin_port/readyz"
webhook=http://127.0.0.1:$receiver_port/webhooks/popp
note "It waits for webhooks at $webhook"
note "Its status page: http://127.0.0.1:$admin_port/"

sign() { # FILE -> the hexadecimal HMAC-SHA256 of its bytes, as Popp sends it
    openssl dgst -sha256 -hmac "$(cat "$var/popp.secret")" "$1" | sed 's/^.*= *//'
}

send() { # FILE -> the answer in $answer, its status in $http_status
    sed "s/\"ats_42\"/\"$candidate\"/g" "$1" >"$var/event"
    http_status=$(curl -sS -o "$var/answer" -w '%{http_code}' -H 'Content-Type: application/json' \
        -H "x-signature: $(sign "$var/event")" --data-binary "@$var/event" "$webhook") || fail "the daemon does not answer at $webhook"
    answer=$(cat "$var/answer")
}

synced() {
    [ "$(sql "select count(*) from atsync.sync_status where sync_state not in $state_ok")" = 0 ]
}

settle() { # SECONDS -> whether everything was synced by then
    local until=$((SECONDS + $1))
    until synced; do
        alive "$daemon" || fail "the daemon ended"
        [ $SECONDS -lt $until ] || return 1
        sleep 0.05
    done
}

step "A signed sample of each of the nine events, as Popp would post them"
started_s=$SECONDS
sent=0
# in the order of the events' own times
while IFS=' ' read -r _ file; do
    event=$(sed -nE 's/.*"event": *"([^"]*)".*/\1/p;T;q' "$file")
    send "$file"
    sent=$((sent + 1))
    printf '   %-36s %s %s\n' "$event" "$http_status" "$answer"
    [ "$http_status" = 200 ] || fail "$file was not accepted"
    settle 10 || true
    show_new_calls
done < <(for file in tests/samples/*.json; do
    sed -nE "s|.*\"eventTimestamp\": *\"([^\"]*)\".*|\1 $file|p;T;q" "$file"
done | sort)
# deliveries are repeated in real life: a second one must change nothing
send tests/samples/run-completed.json
printf '   %-36s %s %s\n' "the last one again" "$http_status" "$answer"
[ "$http_status" = 200 ] || fail "a repeated event was not accepted"
settle 10 || true
show_new_calls

step "Waiting until every candidate is synced"
in_time=yes
settle $((deadline_s - (SECONDS - started_s))) || in_time=no
stored=$(sql 'select count(*) from atsync.event')
note "$stored events are stored; $(sql "select string_agg(n || ' ' || sync_state, ', ') from (select sync_state, count(*) as n from atsync.sync_status group by 1) s")"

step "What the ATS holds now"
"show_ats_$kind"

step "What the daemon says about it: the view atsync.sync_status"
table -x <<'SQL'
select candidate_external_id, workflow_external_id, connector, job, run_id, run_state, outcome, result, sync_state,
       pending_writes, dead_writes, last_event_at, last_synced_at, last_error
from atsync.sync_status order by candidate_external_id, workflow_external_id;
SQL

[ $in_time = yes ] || fail "not everything was synced within $deadline_s seconds, see the table above"
[ "$stored" = "$sent" ] || fail "$sent events were sent, but $stored are stored"
[ "$(sql "select count(*) from atsync.sync_status where sync_state = 'synced'")" -gt 0 ] || fail "no candidate was synced"

if [ -n "${ONCE:-}" ] && [ "$ONCE" != 0 ]; then
    printf '\n%sAll %d events are stored and synced.%s\n' "$bold" "$sent" "$plain"
    exit 0
fi

step "Your turn; Ctrl-C ends everything"
note "Look around:      psql -h $PGHOST -p $PGPORT -U $PGUSER $PGDATABASE -c 'table atsync.candidate_timeline'"
note "Send an event:    $build/atsyncctl -c var/atsyncd.conf send-sample run-completed --set data.candidateProfileExternalId=ats_43"
note "The ATS:          $ats_url/"
note "The status page:  http://127.0.0.1:$admin_port/"
note "The daemon's log: tail -f var/log/atsyncd.log"
trap 'echo; exit 0' INT
wait "$daemon" || true
fail "the daemon ended"
