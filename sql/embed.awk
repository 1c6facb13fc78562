# Turns SQL files into C. mode=header: declarations of one struct sql_stmt per file; mode=statements: their definitions;
# mode=migrations: the table of migrations; mode=golden: the schema that they make, as one text. The symbol is sql_ + the file name without its ending.
function base(path,   n, parts) { n = split(path, parts, "/"); sub(/\.sql$/, "", parts[n]); return parts[n] }
function quote(line) { gsub(/\\/, "&&", line); gsub(/"/, "\\\"", line); gsub(/\t/, "\\t", line); return "    \"" line "\\n\"" }
BEGIN {
    print "/* Generated from sql/ by sql/embed.awk: do not edit. */"
    if (mode == "header") {
        print "#ifndef ATSYNC_GEN_SQL_H\n#define ATSYNC_GEN_SQL_H\n#include \"lib/db.h\""
        for (i = 1; i < ARGC; i++) printf "extern const struct sql_stmt sql_%s;\n", base(ARGV[i])
        print "#endif"
        exit
    }
    if (mode == "golden") print "#include \"store/migrations.h\"\nconst char schema_golden[] ="
    else print (mode == "migrations") ? "#include \"store/migrations.h\"" : "#include \"sql.h\""
    if (mode == "migrations") print "const struct migration migrations[] = {"
}
mode == "golden" { print quote($0); next }
FNR == 1 {
    if (open) print (mode == "migrations") ? "    }," : "    , " anew "};"
    anew = "false"
    open = 1
    if (mode == "migrations") {
        # first line of the file: "-- breaking: yes|no. [concurrent: yes. ]what it does"
        breaking = ($0 ~ /^-- breaking: yes/) ? "true" : "false"
        concurrent = ($0 ~ /^-- breaking: [a-z]+\. concurrent: yes\./) ? "true" : "false"
        name = base(FILENAME)
        printf "    {.version = %d, .name = \"%s\", .breaking = %s, .concurrent = %s, .text =\n", name + 0, name, breaking, concurrent
    } else printf "const struct sql_stmt sql_%s = {\"%s\",\n", base(FILENAME), base(FILENAME)
}
mode == "statements" && $0 ~ /^-- plan: anew/ { anew = "true" }
{ if (mode == "statements" && $0 ~ /^--/) next; print quote($0) }
END {
    if (mode == "header") exit
    if (mode == "golden") print ";"
    if (mode == "statements" && open) print "    , " anew "};"
    if (mode == "migrations") { if (open) print "    },"; print "};\nconst unsigned migration_count = sizeof(migrations) / sizeof(migrations[0]);" }
}
