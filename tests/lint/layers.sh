#!/bin/bash
# layers.sh - includes point down only: base < lib < domain < config < connector, store < service < ctl, src/main.c.
# Directories of one level do not know each other, headers never include one another in a circle, and an include is
# written from include/ on ("base/buf.h").
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

finish "$(c_files include src | xargs awk '
    BEGIN {
        level["base"] = 0; level["lib"] = 1; level["domain"] = 2; level["config"] = 3
        level["connector"] = 4; level["store"] = 4; level["service"] = 5; level["ctl"] = 6; level["main.c"] = 6
    }
    FNR == 1 {
        split(FILENAME, part, "/"); own = part[2]
        if (!(own in level)) print FILENAME ":1: the directory has no level: give it one in tests/lint/layers.sh"
        if (FILENAME ~ /^include\//) headers[++header_count] = substr(FILENAME, length("include/") + 1)
    }
    !(own in level) { next }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\""); target = quoted[2]; split(target, part, "/"); dir = part[1]
        if (target == "sql.h") { # generated from sql/stmt
            if (own != "store") print FILENAME ":" FNR ": only src/store may include the SQL statements"
            next
        }
        if (!(dir in level) || (getline line <("include/" target)) < 0) {
            print FILENAME ":" FNR ": \"" target "\" is not below include/"
            next
        }
        close("include/" target)
        if (level[dir] > level[own]) print FILENAME ":" FNR ": " own " may not include " dir ": includes point down"
        else if (level[dir] == level[own] && dir != own) print FILENAME ":" FNR ": " own " and " dir " may not know each other"
        if (FILENAME ~ /^include\//) edges[headers[header_count]] = edges[headers[header_count]] " " target
    }
    # Walks down from a header; a header met again on the way closes a circle.
    function walk(header, path,   list, count, i) {
        if (state[header] == "done") return
        if (state[header] == "open") { print "include/" header ":1: headers include each other in a circle:" path " " header; return }
        state[header] = "open"
        count = split(edges[header], list, " ")
        for (i = 1; i <= count; i++) walk(list[i], path " " header)
        state[header] = "done"
    }
    END { for (i = 1; i <= header_count; i++) walk(headers[i], "") }')"
