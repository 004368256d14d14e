#!/usr/bin/env bash
# format: every C++ file looks as clang-format-19 would write it. `tests/support/format.sh --fix` rewrites them.
set -euo pipefail
cd "$(dirname "$0")/../.."
mapfile -d '' files < <(find runtime channel io examples tests bench -name '*.[ch]pp' -print0 | sort -z)
if [[ ${1-} == --fix ]]; then
    clang-format-19 -i "${files[@]}"
    exit
fi
bad=$(clang-format-19 --dry-run "${files[@]}" 2>&1 | sed -n 's/^\([^: ]*\):[0-9]*:[0-9]*: .*/\1/p' | uniq -c)
[[ -z $bad ]] || { printf '%s\n' "places to format (tests/support/format.sh --fix does it):" "$bad"; exit 1; }
