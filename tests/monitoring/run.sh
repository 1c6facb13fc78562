#!/bin/bash
# run.sh RESULTS - what packaging/monitoring holds: the alert rules (promtool: their form, and their unit tests), and the
# dashboards: JSON, expressions that Prometheus understands, and no metric that atsyncd(8) does not explain. The SQL of
# the other dashboard is tried on a real database by tests/db/dashboard_test.
#
# Appends one line "passed failed skipped name" to RESULTS. Exit status 1 if anything failed.
set -uo pipefail
results=$1
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
monitoring=packaging/monitoring
rules=$monitoring/atsyncd.rules.yml
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0 skipped=0

count() { # STATUS WHAT
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
        echo "ok     $2"
    else
        failed=$((failed + 1))
        echo "FAILED $2"
        cat "$dir/said"
    fi
}

skip() {
    skipped=$((skipped + 1))
    echo "skip   $1"
}

finish() {
    mkdir -p "$(dirname "$results")"
    printf '%d %d %d monitoring\n' "$passed" "$failed" "$skipped" >>"$results"
    [ "$failed" = 0 ]
    exit
}

# Every expression of a dashboard, with what Grafana would put in its place.
# (The variables are Grafana's, not ours.)
expressions() {
    jq -r '.. | .expr? // empty' "$monitoring/grafana-prometheus.json" |
        sed -E 's/\$__rate_interval/5m/g; s/\$(job|connector)/.*/g'
}

# ---- dashboards
for file in "$monitoring"/grafana-*.json; do
    jq -e '(.panels | length) > 10 and .uid and .title and .schemaVersion and ([.panels[].id] | length == (unique | length))
           and all(.panels[] | select(.type != "row"); .targets | length > 0)
           and all(.panels[] | select(.type != "row") | .gridPos; .x + .w <= 24)' "$file" >"$dir/said" 2>&1
    count $? "${file##*/} is a dashboard"
done

# _bucket, _sum and _count are parts of a histogram
{ expressions; grep -v '^ *#' "$rules"; } | grep -oE 'atsyncd_[a-z_]+' | sed -E 's/_(bucket|sum|count)$//' | sort -u >"$dir/used"
# a job or a file of that name is no metric
grep -oE 'atsyncd_[a-z_]+' packaging/man/atsyncd.8 | sort -u >"$dir/explained"
comm -23 "$dir/used" "$dir/explained" >"$dir/said"
[ -s "$dir/used" ] && [ ! -s "$dir/said" ]
count $? "atsyncd(8) explains every metric that is used"

# ---- what promtool knows
if ! command -v promtool >/dev/null; then
    skip "alert rules: promtool is not installed"
    skip "expressions of the dashboard: promtool is not installed"
    finish
fi
promtool check rules "$rules" >"$dir/said" 2>&1
count $? "form of the alert rules"

cp "$rules" tests/monitoring/rules.test.yml "$dir"
(cd "$dir" && promtool test rules rules.test.yml) >"$dir/said" 2>&1
count $? "unit tests of the alert rules"

# a rule that no test lets fire would not be missed
sed -nE 's/^ *- alert: *([A-Za-z]+).*/\1/p' "$rules" | sort >"$dir/alerts"
awk '/alertname:/ { match($0, /alertname: *[A-Za-z]+/); name = substr($0, RSTART + 11, RLENGTH - 11) } /exp_alerts:/ { print name }' \
    tests/monitoring/rules.test.yml | sort -u >"$dir/fire"
comm -23 "$dir/alerts" "$dir/fire" >"$dir/said"
[ -s "$dir/alerts" ] && [ ! -s "$dir/said" ]
count $? "every alert fires in a test"

{
    echo 'groups: [{name: dashboard, rules: ['
    expressions | awk '{ gsub(/\047/, "\047\047"); printf "  {record: \"panel:%d\", expr: \047%s\047},\n", NR, $0 }'
    echo ']}]'
} >"$dir/dashboard.yml"
promtool check rules "$dir/dashboard.yml" >"$dir/said" 2>&1
count $? "expressions of the dashboard ($(expressions | wc -l))"
finish
