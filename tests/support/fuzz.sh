#!/usr/bin/env bash
# fuzz: the fuzzers, for some seconds each; for ten minutes in full tests. They need clang's libFuzzer.
#
# A fuzzer's corpus stays in build/fuzz and is continued by the next run.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=10
[[ ${RUNNEL_TEST_LEVEL-} != full ]] || seconds=600

# fuzz NAME DICTIONARY SOURCE...
fuzz() {
    local name=$1 dictionary=$2 folder=build/fuzz/$1
    shift 2
    mkdir -p "$folder/corpus"
    clang++-19 -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -I examples "$@" -lfmt -o "$folder/$name"
    "$folder/$name" -max_total_time="$seconds" -print_final_stats=1 -dict="$dictionary" \
        -artifact_prefix="$folder/" "$folder/corpus"
}

fuzz resp_fuzz tests/examples/resp.dict tests/examples/resp_fuzz.cpp examples/pubsub/resp.cpp
