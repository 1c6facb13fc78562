#!/bin/bash
# shell.sh - every shell script parses, is executable unless it is only sourced, and shellcheck has nothing to say
# where it is installed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SHELLCHECK=${SHELLCHECK:-shellcheck}

finish "$(
    scripts=()
    while IFS=$'\t' read -r file first; do
        case $first in
        '#!/bin/bash'* | '#!/usr/bin/env bash'*) shell=bash ;;
        '#!/bin/sh'*) shell='sh' ;;
        '# shellcheck shell=bash') shell=sourced ;;
        *) case $file in *.sh) echo "$file:1: does not say which shell it is for" ;; esac; continue ;;
        esac
        if [ $shell = sourced ]; then
            shell=bash
        else
            [ -x "$file" ] || echo "$file:1: is not executable"
        fi
        if ! $shell -n "$file" 2>/dev/null; then
            echo "$file:1: does not parse: $shell -n $file"
        else
            scripts+=("$shell" "$file")
        fi
    done < <(project_files | xargs -r awk 'FNR == 1 { print FILENAME "\t" $0 }')
    if command -v "$SHELLCHECK" >/dev/null; then
        # each for itself, as many at once as there are processors: it is what lint waits for
        printf '%s\0' "${scripts[@]}" | xargs -0 -r -n 2 -P "$(nproc)" sh -c '"$0" -f gcc -s "$1" -S warning "$2" || true' "$SHELLCHECK" | sort -V
    fi
)"
