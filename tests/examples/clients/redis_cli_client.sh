#!/usr/bin/env bash
# redis_cli_client PORT: redis-cli in RESP2 and RESP3, redis-benchmark, and nc with commands typed by hand.
set -euo pipefail
port=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() { echo "redis-cli: $*" >&2; exit 1; }
expect() { [[ $2 == "$1" ]] || fail "expected '$1', got '$2'"; }
cli() { redis-cli -p "$port" "$@"; }

# 10,000 messages of two publishers to one subscriber, who must hear each publisher's in order.
conversation() {
    local protocol=$1 subscriber who
    redis-cli -p "$port" "-$protocol" SUBSCRIBE cli:news >"$scratch/heard" &
    subscriber=$!
    until [[ $(cli PUBSUB NUMSUB cli:news | tail -1) == 1 ]]; do sleep 0.01; done
    for who in a b; do
        seq -f "PUBLISH cli:news $who:%g" 5000 | cli "-$protocol" >/dev/null &
        publishers[${#publishers[@]}]=$!
    done
    wait "${publishers[@]}"
    cli PUBLISH cli:news end >/dev/null
    until grep -q 'end' "$scratch/heard"; do sleep 0.01; done
    kill "$subscriber"
    wait "$subscriber" 2>/dev/null || true
    for who in a b; do
        cmp <(seq -f "$who:%g" 5000) <(grep -o "\b$who:[0-9]*" "$scratch/heard") ||
            fail "RESP$protocol: messages of $who"
    done
    publishers=()
    echo "$(redis-cli --version), RESP$protocol: 10000 messages, in order"
}

publishers=()
for protocol in 2 3; do
    expect PONG "$(cli "-$protocol" PING)"
    expect "a b" "$(cli "-$protocol" ECHO 'a b')"
    expect 0 "$(cli "-$protocol" PUBLISH nobody x)"
    [[ $(cli "-$protocol" INFO server) == *redis_version:* ]] || fail "INFO"
    [[ $(cli "-$protocol" FOO 2>&1) == *"unknown command 'FOO'"* ]] || fail "an unknown command"
    conversation "$protocol"
done

expect $'+PONG\r\n$2\r\nhi\r\n+OK\r' "$(printf 'PING\r\nECHO "hi"\r\nQUIT\r\n' | nc -N 127.0.0.1 "$port")"
expect $'-ERR Protocol error: invalid multibulk length\r' "$(printf '*x\r\n' | nc -N 127.0.0.1 "$port")"
echo "nc: inline commands and a protocol error"

redis-benchmark -p "$port" -q -n 20000 -t ping 2>&1 | tr '\r' '\n' | grep 'requests per second'
redis-benchmark -p "$port" -q -n 20000 -P 16 PUBLISH ch msg 2>&1 | tr '\r' '\n' | grep 'requests per second'
