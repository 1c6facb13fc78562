#!/bin/bash
# headers.sh - each header compiles alone, so that nobody has to include another one first, and its guard is named
# after its path.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

out=$(mktemp)
trap 'rm -f "$out"' EXIT
mapfile -t headers < <(c_files include | grep '\.h$')
for header in "${headers[@]}"; do
    guard=${header#include/}
    guard=ATSYNC_$(tr 'a-z/.' 'A-Z__' <<<"$guard")
    grep -qx "#ifndef $guard" "$header" || echo "$header:1: its guard is not $guard" >>"$out"
done
# -include leaves the header itself in the role of an included file, as its users see it
for header in "${headers[@]}"; do
    if ! "$CC" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -Iinclude -include base/compiler.h -include "$header" \
        -x c /dev/null 2>"$out.cc"; then
        echo "$header:1: does not compile alone: $(sed -nE '/error:/{s/.*error: *//p;q}' "$out.cc")" >>"$out"
    fi
    rm -f "$out.cc"
done
finish "$(cat "$out")"
