#!/bin/bash
# listed.sh - the Makefile's explicit lists and the tree agree: no source file is an orphan, none is missing. Every SQL
# statement of sql/stmt is used, and only below src/store.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

finish "$(
    comm -3 <(make -s --no-print-directory list-sources | tr ' ' '\n' | grep . | sort -u) <(c_files src tests | grep '\.c$') |
        awk -F'\t' '$1 != "" { print $1 ":1: is listed in the Makefile but does not exist" }
                    $1 == "" { print $2 ":1: is not listed in the Makefile, so nothing builds it" }'
    [ ! -d sql/stmt ] || find sql/stmt -name '*.sql' | sort | while IFS= read -r file; do
        name=sql_$(basename "$file" .sql)
        users=$(c_files src | xargs -r grep -lw "$name" || true)
        [ -n "$users" ] || echo "$file:1: no source file uses $name"
        for user in $users; do
            case $user in src/store/*) ;; *) echo "$user:$(grep -nw -m 1 "$name" "$user" | cut -d: -f1): uses $name: SQL belongs to src/store" ;; esac
        done
    done
)"
