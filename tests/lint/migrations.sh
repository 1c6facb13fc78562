#!/bin/bash
# migrations.sh - migrations after the first release's leave the daemons that work on the database alone: each says what older daemons may
# do beside it, and none reads or writes a large table from end to end while others wait for it.
#
#   -- breaking: yes|no. [concurrent: yes. ]What it brings.
#
# The statements of a concurrent one go outside a transaction, one by one, and are repeated when they were cut off: each ends its last
# line with ";", and an index is dropped, if it is there, before it is made.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

finish "$(
    for file in sql/migrations/*.sql; do
        [ -e "$file" ] || continue
        awk '
        BEGIN { split("event candidate identity run ats_write ats_call contact_resolution", names, " "); for (i in names) large["atsync." names[i]] = 1 }
        function fault(what) { print FILENAME ":" first ": " what }
        function made_here(table) { return table in made }
        FNR == 1 {
            first = 1
            if ($0 !~ /^-- breaking: (yes|no)\. (concurrent: yes\. )?[^ ]/) fault("the first line has to say \"-- breaking: yes|no. What it brings.\"")
            concurrent = $0 ~ /concurrent: yes\./
            number = FILENAME; sub(/.*\//, "", number); number = number + 0
            released = number <= 2 # on an empty database
        }
        concurrent && /^--.*;$/ { first = FNR; fault("a comment of a concurrent migration may not end with \";\": a statement would") }
        /^[ \t]*--/ || /^[ \t]*$/ { next }
        statement == "" { first = FNR }
        { line = tolower($0); sub(/[ \t]--.*/, "", line); statement = statement " " line }
        line !~ /;[ \t]*$/ || released { if (released) statement = ""; next }
        {
            gsub(/[ \t]+/, " ", statement); sub(/^ /, "", statement)
            table = statement
            if (statement ~ /^create table /) { sub(/^create table (if not exists )?/, "", table); sub(/[ (].*/, "", table); made[table] = 1 }
            if (statement ~ /^create (unique )?index /) {
                sub(/^.* on (only )?/, "", table); sub(/[ (].*/, "", table)
                if (concurrent) {
                    name = statement; sub(/^create (unique )?index (concurrently )?/, "", name); sub(/ .*/, "", name)
                    if (last != "drop index concurrently if exists atsync." name ";")
                        fault("before it: drop index concurrently if exists atsync." name ";")
                } else if ((table in large) && !made_here(table))
                    fault("nobody can write to " table " meanwhile: create index concurrently, in a migration with \"concurrent: yes.\"")
            }
            if (statement ~ /^(create|drop) (unique )?index concurrently / && !concurrent)
                fault("concurrently needs \"concurrent: yes.\" in the first line")
            if (concurrent && statement !~ /^(create (unique )?index concurrently|drop index concurrently if exists|alter table [a-z_.]+ validate constraint|comment on) ?/)
                fault("cannot be repeated, or belongs into a migration that is not concurrent")
            if (statement ~ /^alter table /) {
                sub(/^alter table (if exists )?(only )?/, "", table); sub(/ .*/, "", table)
                if ((table in large) && !made_here(table)) {
                    if (statement ~ / alter (column )?[a-z_]+ (set data )?type | default [a-z_]+\(/) fault("writes all of " table " anew while everybody waits")
                    if (statement ~ / set not null/ || (statement ~ / add (constraint|check|foreign)/ && statement !~ / not valid| using index/))
                        fault("reads all of " table " while everybody waits: add it \"not valid\", and validate it in a concurrent migration")
                }
            }
            if (statement ~ /^(update|delete from) /) {
                sub(/^(update|delete from) (only )?/, "", table); sub(/ .*/, "", table)
                if (table in large) fault("changes rows of " table " in one transaction: however many there are")
            }
            last = statement
            statement = ""
        }' "$file"
    done
)"
