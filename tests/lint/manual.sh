#!/bin/bash
# manual.sh - mandoc has nothing to say about the manual pages, and the pages that they name are there. (What is made from
# tables of the program is compared with them by tests: config_test, connector_page_test, views_test.)
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

finish "$(
    for page in packaging/man/*.[1-9]; do
        if command -v mandoc >/dev/null; then
            # pages of other packages need not be installed here
            mandoc -Tlint -Wstyle "$page" 2>&1 | grep -v 'referenced manual not found' |
                sed -nE 's|^mandoc: ([^:]*:[0-9]+):[0-9]+: (.*)|\1: \2|p' || true
        fi
        awk '$1 == ".Xr" && $2 ~ /^atsync/ { print FILENAME ":" FNR " " $2 "." $3 }' "$page"
    done | while read -r at name rest; do
        case $at in
        *:) printf '%s %s %s\n' "$at" "$name" "$rest" ;;
        *) [ -e "packaging/man/$name" ] || echo "$at: there is no page $name" ;;
        esac
    done
)"
