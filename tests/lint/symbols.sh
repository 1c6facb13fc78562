#!/bin/bash
# symbols.sh [ROOT] - headers and objects agree: every function of a header is defined, and whatever an object exports
# is declared in a header (otherwise it should be static). LINT_BUILD names the directory of the objects.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build=${LINT_BUILD:-build}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if ! gcc --version >/dev/null 2>&1; then
    echo "gcc is not installed (it lists the declarations)"
    exit 77
fi
mapfile -t objects < <(find "$build/src" "$build/gen" -name '*.o' 2>/dev/null | sort)
if [ ${#objects[@]} = 0 ]; then
    echo "$build holds no objects: make first"
    exit 1
fi

# "name file:line" of every function that a header of ours declares
c_files include | grep '\.h$' | sed 's/^include\/\(.*\)/#include "\1"/' >"$tmp/all.c"
gcc -std=c11 -D_GNU_SOURCE -w -Iinclude -include base/compiler.h -aux-info "$tmp/aux" -fsyntax-only "$tmp/all.c"
sed -nE 's|^/\* (include/[^:]*:[0-9]+):NC \*/ (.*)|\1 \2|p' "$tmp/aux" |
    sed -nE 's/^([^ ]+) extern [^(]*[ *]([a-z_0-9]+) \(.*/\2 \1/p' | sort -u -k1,1 >"$tmp/declared"
nm --defined-only -g -A "${objects[@]}" | awk '$(NF - 1) ~ /^[TDBRVW]$/ && $NF !~ /^__/ && $NF != "main" { sub(/:.*/, "", $1); print $NF, $1, $(NF - 1) }' |
    sort -u -k1,1 >"$tmp/defined"

finish "$(
    join -v 1 "$tmp/declared" "$tmp/defined" | awk '{ print $2 ": " $1 "() is declared, but no object defines it" }'
    join -v 2 "$tmp/declared" "$tmp/defined" | while read -r name object _; do
        # data, and what is generated, is declared with extern
        grep -rqE "^extern .*\b$name\b" include "$build/gen" --include='*.h' 2>/dev/null ||
            echo "${object#"$build"/}: exports $name, which no header declares: make it static"
    done
)"
