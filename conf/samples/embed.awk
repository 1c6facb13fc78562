# Turns the sample events into C: a table of name and text, for `atsyncctl send-sample`.
function base(path,   n, parts) { n = split(path, parts, "/"); sub(/\.json$/, "", parts[n]); return parts[n] }
function quote(line) { gsub(/\\/, "\\\\", line); gsub(/"/, "\\\"", line); gsub(/\t/, "\\t", line); return "     \"" line "\\n\"" }
BEGIN {
    print "/* Generated from conf/samples/ by embed.awk: do not edit. */"
    print "#include \"ctl/sample.h\"\n\nconst struct sample samples[] = {"
}
FNR == 1 {
    if (open) print "    },"
    open = 1
    printf "    {\"%s\",\n", base(FILENAME)
}
{ print quote($0) }
END {
    if (open) print "    },"
    print "};\nconst size_t sample_count = sizeof(samples) / sizeof(samples[0]);"
}
