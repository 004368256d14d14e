#!/usr/bin/env bash
# unit: configures, builds and runs the test programs in one configuration.
#
#   tests/support/unit.sh CONFIG [NAME]     CONFIG is {gcc,clang}-{O0,O1,O2,O3,asan,asan-O0,tsan,tsan-O0}
#
# Ends with "N passed, N failed", counted in test cases. NAME runs only the cases whose name contains it.
set -euo pipefail
cd "$(dirname "$0")/../.."
config=$1 name=${2-}
folder=build/$config

options=(--werror -Ddefault_library=static -Dtests=enabled -Dexamples=enabled)
case ${config#*-} in
    O[0123]) options+=(-Ddebug=true -Doptimization="${config: -1}") ;;
    asan) options+=(-Db_sanitize=address,undefined) ;;
    asan-O0) options+=(-Db_sanitize=address,undefined -Doptimization=0 -Ddebug=true) ;;
    tsan) options+=(-Db_sanitize=thread) ;;
    tsan-O0) options+=(-Db_sanitize=thread -Doptimization=0 -Ddebug=true) ;;
    *) echo "unit: unknown configuration $config" >&2; exit 2 ;;
esac
case $config in
    *-O0) options+=(-Dcpp_args=-D_GLIBCXX_ASSERTIONS) ;;
esac
case $config in
    # Benchmarks must compile without warnings, but they need not do so eight times.
    *-O2) options+=(-Dbench=enabled) ;;
    *) options+=(-Dbench=disabled) ;;
esac
case $config in
    gcc-*) export CXX=g++ ;;
    # Sanitizers' symbols stay undefined until clang links the program.
    clang-*) export CXX=clang++-19 && options+=(-Db_lundef=false) ;;
    *) echo "unit: unknown compiler in $config" >&2; exit 2 ;;
esac

# Configured anew when what we ask for has changed, or when it was interrupted: the stamp comes last.
if [[ $(cat "$folder/options" 2>/dev/null) != "${options[*]}" ]]; then
    rm -rf "$folder"
    meson setup "$folder" "${options[@]}"
    echo "${options[*]}" >"$folder/options"
fi
ninja -C "$folder" -j "${RUNNEL_JOBS:-$(nproc)}"

arguments=(--no-rebuild --num-processes 1 --print-errorlogs)
[[ -z $name ]] || arguments+=(--test-args="'--test-case=*$name*'")
[[ ${RUNNEL_TEST_LEVEL-} != full ]] || arguments+=(--timeout-multiplier 20)
status=0
[[ $config != gcc-O0 ]] || python3 tests/support/frames.py "$folder" || status=$?
meson test -C "$folder" "${arguments[@]}" || status=$?
python3 tests/support/count.py "$folder/meson-logs/testlog.json" || status=$?
exit "$status"
