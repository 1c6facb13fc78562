#!/bin/bash
# run.sh RESULTS - what the receiver offers as TLS, seen by testssl.sh: nothing older than TLS 1.2, no weak cipher, none of the
# known attacks. With a key of either kind.
#
# A finding of any severity fails, also a low one. What is not looked at: HTTP headers, which are for browsers (the receiver answers
# programs), and how clients of years ago would do. Appends one line "passed failed skipped name" to RESULTS. Exit status 1 if
# anything failed.
set -uo pipefail
results=$1
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
passed=0 failed=0
daemon=''

testssl=$(command -v testssl || command -v testssl.sh)
for tool in "${testssl:-testssl.sh}" openssl jq; do
    if ! command -v "$tool" >/dev/null; then
        echo "skip   TLS: $tool is not installed"
        echo '0 0 1 tls' >>"$results"
        exit 0
    fi
done
dir=$(mktemp -d) || exit 1
trap '[ -z "$daemon" ] || kill "$daemon"; rm -rf "$dir"' EXIT

count() { # STATUS WHAT FILE
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
        echo "ok     $2"
    else
        failed=$((failed + 1))
        echo "FAILED $2"
        cat "$3"
    fi
}

# make_certificate KIND KEY-OPTIONS...: $dir/KIND.pem and $dir/KIND.key, signed by $dir/ca.pem
make_certificate() {
    local kind=$1
    shift
    openssl req -new -nodes "$@" -keyout "$dir/$kind.key" -out "$dir/$kind.csr" -subj /CN=localhost 2>/dev/null &&
        openssl x509 -req -in "$dir/$kind.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 90 -sha256 \
            -extfile <(printf '%s\n' 'subjectAltName=DNS:localhost' 'keyUsage=digitalSignature' 'extendedKeyUsage=serverAuth' \
                'crlDistributionPoints=URI:http://localhost/crl') -out "$dir/$kind.pem" 2>/dev/null &&
        cat "$dir/ca.pem" >>"$dir/$kind.pem" && chmod 600 "$dir/$kind.key"
}

# The daemon without a database: the listener is there all the same.
start_daemon() { # KIND
    cat >"$dir/atsyncd.conf" <<CONF
receiver:
  listen: 127.0.0.1:0
  tls: {certificate: $dir/$1.pem, key: $dir/$1.key}
admin: {listen: none}
database: {conninfo: "host=$dir dbname=none"}
sources: {popp: {signing_secrets: ["only-for-this-test"]}}
CONF
    chmod 600 "$dir/atsyncd.conf"
    : >"$dir/log"
    "$BUILD/atsyncd" -c "$dir/atsyncd.conf" 2>"$dir/log" &
    daemon=$!
    for _ in $(seq 100); do
        port=$(sed -n 's/.*atsyncd is up.* receiver=127\.0\.0\.1:\([0-9]*\).*/\1/p' "$dir/log")
        [ -z "$port" ] || return 0
        kill -0 "$daemon" 2>/dev/null || break
        read -rt 0.1 <> <(:) || true
    done
    echo "the daemon did not come up" >&2
    cat "$dir/log" >&2
    return 1
}

# look KIND SECTIONS...: what testssl.sh finds there
look() {
    local kind=$1
    shift
    start_daemon "$kind" || {
        count 1 "the daemon with a certificate ($kind)" "$dir/log"
        return
    }
    rm -f "$dir/found.json"
    "$testssl" --quiet --color 0 --warnings off --nodns none --add-ca "$dir/ca.pem" --jsonfile "$dir/found.json" "$@" \
        "https://localhost:$port/" >"$dir/said" 2>&1 </dev/null
    jq -r '.[] | select(.severity | IN("OK", "INFO") | not) | "\(.severity) \(.id): \(.finding)"' "$dir/found.json" >"$dir/bad" 2>>"$dir/said"
    [ -s "$dir/found.json" ] && [ ! -s "$dir/bad" ]
    count $? "no finding ($kind)" "$dir/bad"
    jq -r '.[] | "\(.id) \(.finding)"' "$dir/found.json" |
        grep -E '^(SSLv2|SSLv3|TLS1|TLS1_1|TLS1_2|TLS1_3) ' >"$dir/protocols"
    printf '%s\n' 'SSLv2 not offered' 'SSLv3 not offered' 'TLS1 not offered' 'TLS1_1 not offered' 'TLS1_2 offered' \
        'TLS1_3 offered with final' | cmp -s - "$dir/protocols"
    count $? "TLS 1.2 and 1.3 and nothing else ($kind)" "$dir/protocols"
    kill "$daemon"
    wait "$daemon"
    count $? "the daemon ends as usual ($kind)" "$dir/log"
    daemon=''
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/ca.key" -out "$dir/ca.pem" -days 90 \
    -subj /CN=tests 2>/dev/null &&
    make_certificate ecdsa -newkey ec -pkeyopt ec_paramgen_curve:P-256 && make_certificate rsa -newkey rsa:2048 ||
    { echo "openssl could not make certificates" >&2 && exit 1; }
look ecdsa --protocols --std --fs --server-preference --server-defaults --vulnerable
look rsa --protocols --std --server-defaults
mkdir -p "$(dirname "$results")"
printf '%d %d 0 tls\n' "$passed" "$failed" >>"$results"
[ "$failed" = 0 ]
