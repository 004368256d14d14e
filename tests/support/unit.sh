#!/usr/bin/env bash
# unit: configures, builds and runs the test programs in one configuration.
#
#   tests/support/unit.sh CONFIG[:PROGRAM,...] [NAME]
#
# CONFIG is {gcc,clang}-{O0,O1,O2,O3,asan,asan-O0,asan-O2,tsan,tsan-O0}, PROGRAM one of meson_options.txt's test_programs.
# Ends with "N passed, N failed", counted in test cases. NAME runs only the cases whose name contains it.
set -euo pipefail
cd "$(dirname "$0")/../.."
config=${1%%:*} name=${2-} programs=
[[ $1 != *:* ]] || programs=${1#*:}
folder=build/$config

options=(--werror -Ddefault_library=static -Dtests=enabled)
[[ -z $programs ]] || options+=("-Dtest_programs=$programs")
case $programs in
    '' | *examples*) options+=(-Dexamples=enabled) ;;
    *) options+=(-Dexamples=disabled) ;;
esac
case $programs in
    '' | *tls*) ;;
    *) options+=(-Dtls=disabled) ;;
esac
arguments=-g1 # lines, for the sanitizers' reports; more costs much time and is for debuggers
case ${config#*-} in
    O0) ;;
    O[123]) options+=(-Ddebug=true -Doptimization="${config: -1}") ;;
    asan | asan-O0 | asan-O2) options+=(-Db_sanitize=address,undefined) ;;
    tsan | tsan-O0) options+=(-Db_sanitize=thread) ;;
    *) echo "unit: unknown configuration $config" >&2; exit 2 ;;
esac
case $config in
    *-O0) options+=(-Doptimization=0 -Ddebug=true) && arguments+=' -D_GLIBCXX_ASSERTIONS' ;;
    # g++ takes eight times as long for a file of tests at -O2, and twice as long at -O1, as for checks of each
    # pointer that a crash or clang's build shows as well.
    gcc-asan) options+=(-Doptimization=g -Ddebug=true) && arguments+=' -fno-sanitize=null,alignment' ;;
esac
# clang's vptr check probes memory through a pipe: in tests that use up all descriptors it calls every object invalid.
if [[ $config == clang-asan* ]]; then arguments+=' -fno-sanitize=vptr'; fi
options+=("-Dcpp_args=$arguments")
case $config in
    # Benchmarks must compile without warnings, but they need not do so each time.
    gcc-O2) options+=(-Dbench=enabled) ;;
    *) options+=(-Dbench=disabled) ;;
esac
# One configuration of --full shows that each file includes what it uses.
[[ $config != gcc-O0 ]] || options+=(-Db_pch=false)
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

test_options=(--no-rebuild --num-processes 2 --print-errorlogs)
[[ -z $name ]] || test_options+=(--test-args="'--test-case=*$name*'")
[[ ${RUNNEL_TEST_LEVEL-} != @(full|long) ]] || test_options+=(--timeout-multiplier 20)
status=0
[[ $config != gcc-@(O0|tsan-O0) ]] || python3 tests/support/frames.py "$folder" || status=$?
meson test -C "$folder" "${test_options[@]}" || status=$?
python3 tests/support/count.py "$folder/meson-logs/testlog.json" || status=$?
exit "$status"
