#!/bin/bash
# listed.sh - the Makefile's explicit lists and the tree agree: no source file is an orphan, none is missing. Every SQL
# statement of sql/stmt is used, and only below src/store.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mapfile -t sources < <(c_files src)
finish "$(
    comm -3 <(make -s --no-print-directory list-sources | tr ' ' '\n' | grep . | sort -u) <(c_files src tests | grep '\.c$') |
        awk -F'\t' '$1 != "" { print $1 ":1: is listed in the Makefile but does not exist" }
                    $1 == "" { print $2 ":1: is not listed in the Makefile, so nothing builds it" }'
    [ ! -d sql/stmt ] || awk '
        FILENAME == ARGV[1] { name = $0; sub(/.*\//, "", name); sub(/\.sql$/, "", name); file["sql_" name] = $0; order[++count] = "sql_" name; next }
        {
            rest = $0
            while (match(rest, /(^|[^A-Za-z0-9_])sql_[A-Za-z0-9_]+/)) {
                name = substr(rest, RSTART, RLENGTH); sub(/^[^A-Za-z0-9_]/, "", name); rest = substr(rest, RSTART + RLENGTH)
                if (!(name in file)) continue
                used[name] = 1
                if (FILENAME !~ /^src\/store\// && !((name, FILENAME) in told)) {
                    told[name, FILENAME] = 1
                    others[name] = others[name] FILENAME ":" FNR ": uses " name ": SQL belongs to src/store\n"
                }
            }
        }
        END {
            for (i = 1; i <= count; i++) {
                if (!(order[i] in used)) print file[order[i]] ":1: no source file uses " order[i]
                printf "%s", others[order[i]]
            }
        }' <(find sql/stmt -name '*.sql' | sort) "${sources[@]}"
)"
