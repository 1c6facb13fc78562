#!/bin/bash
# secrets.sh - what is secret is compared in a time that does not tell where it differs: nothing that has the name of a secret is an argument
# of strcmp, memcmp, text_eq and the like. crypto_equal() and crypto_text_equal() are for those.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mapfile -t sources < <(c_files src)
[ ${#sources[@]} -gt 0 ] || exit 0
finish "$(awk "$C_CODE"'
    function look(call,    rest, name) {
        rest = call
        while (match(rest, /[A-Za-z_][A-Za-z_0-9]*/)) {
            name = substr(rest, RSTART, RLENGTH); rest = substr(rest, RSTART + RLENGTH)
            if (rest ~ /^(\.|->)/) continue # a part of it is compared, which has a name of its own
            if (name ~ /(^|_)(secret|token|password|passphrase|digest|seed|mac|hmac|signature|credential|key_pem|api_key)s?$/)
                return name
        }
        return ""
    }
    FNR == 1 { depth = 0; in_comment = 0 }
    {
        code = c_code($0)
        while (code != "") {
            if (depth == 0) {
                if (!match(code, /(^|[^A-Za-z0-9_])(strcmp|strncmp|strcasecmp|strncasecmp|strcoll|memcmp|bcmp|text_eq|text_ieq)[ \t]*\(/)) break
                function_name = substr(code, RSTART, RLENGTH)
                gsub(/[^A-Za-z0-9_]/, "", function_name)
                code = substr(code, RSTART + RLENGTH); depth = 1; arguments = ""; line = FNR
            }
            for (i = 1; i <= length(code) && depth > 0; i++) {
                c = substr(code, i, 1)
                depth += (c == "(") - (c == ")")
                arguments = arguments c
            }
            code = depth > 0 ? "" : substr(code, i)
            if (depth == 0 && (name = look(arguments)) != "")
                print FILENAME ":" line ": " function_name "() compares " name ": use crypto_equal() or crypto_text_equal()"
        }
        if (depth > 0) arguments = arguments " "
    }' "${sources[@]}")"
