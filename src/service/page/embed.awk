# Turns the files of the status page into C: a table of their names and texts, as they are.
function base(path,   n, parts) { n = split(path, parts, "/"); return parts[n] }
function quote(line) { gsub(/\\/, "&&", line); gsub(/"/, "\\\"", line); gsub(/\t/, "\\t", line); return "    \"" line "\\n\"" }
BEGIN {
    print "/* Generated from src/service/page by embed.awk: do not edit. */"
    print "#include \"service/page.h\""
    print "const struct page_file page_files[] = {"
}
FNR == 1 { if (open) print "    },"; open = 1; printf "    {\"%s\",\n", base(FILENAME) }
{ print quote($0) }
END { if (open) print "    },"; print "    {0, 0},\n};" }
