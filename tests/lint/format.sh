#!/bin/bash
# format.sh - the C sources look as clang-format 14 lays them out. Other versions lay them out a little differently, so
# without that one there is nothing to compare with.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for tool in clang-format-14 clang-format; do
    if "$tool" --version 2>/dev/null | grep -q 'version 14\.'; then
        finish "$(c_files include src tests | xargs -r "$tool" --style="file:$LINT_TOP/.clang-format" --dry-run --ferror-limit=1 2>&1 |
            sed -nE 's/^([^:]*:[0-9]+):[0-9]+: (warning|error): .*/\1: not formatted: make format/p')"
    fi
done
echo "clang-format 14 is not installed"
exit 77
