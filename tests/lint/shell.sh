#!/bin/bash
# shell.sh - every shell script parses, is executable unless it is only sourced, and shellcheck has nothing to say
# where it is installed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SHELLCHECK=${SHELLCHECK:-shellcheck}

finish "$(
    project_files | while IFS= read -r file; do
        first=$(head -n 1 "$file" | tr -d '\0')
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
        elif command -v "$SHELLCHECK" >/dev/null; then
            "$SHELLCHECK" -f gcc -s $shell -S warning "$file" || true
        fi
    done
)"
