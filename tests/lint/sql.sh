#!/bin/bash
# sql.sh - no SQL in string literals of src/: statements live in sql/, one file each, with parameters, so that no value
# can ever become part of a statement's text.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

statement='(select [^"]*[[:space:]]from |select [a-z_]+\(|insert into |update [a-z_.%]+ set |delete from |merge into |truncate table )'
finish "$(c_files src | xargs -r grep -HniE "\"[^\"]*\b$statement" |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: SQL in a string: move it to a file in sql\/stmt/' || true)"
