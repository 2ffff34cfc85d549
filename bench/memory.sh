#!/usr/bin/env bash
# Measures what stored keys cost in memory: starts a server, writes KEYS different keys (names of 64 bytes, values of 128) over 16 pipelined
# connections, and prints the resident memory of each key above that of the empty server, with and without the key's name and value.
# Needs nothing but bash, awk and curl; loopback only.
#
#   bench/memory.sh [KEYS]                       1,000,000 unless said otherwise
#   UETCD_ARGS='--cores 1' bench/memory.sh       other arguments; the default leaves out the history, which is bounded by itself
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${1:-1000000}
readonly CONNECTIONS=16 NAME_BYTES=64 VALUE_BYTES=128
uetcd=$(realpath "${UETCD_BIN:-target/release/uetcd}")
[ -x "$uetcd" ] || { echo "$uetcd is missing: cargo build --release" >&2; exit 1; }
work=$(mktemp -d)
pid=
finish() {
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" || true; }
    rm -rf "$work"
}
trap finish EXIT

free_port() {
    local port
    while port=$((20000 + RANDOM % 10000)); do (: </dev/tcp/127.0.0.1/$port) 2>/dev/null || { echo "$port"; return; }; done
}
port=$(free_port) peer=$(free_port)
# shellcheck disable=SC2086 # several arguments
(cd "$work" && exec "$uetcd" ${UETCD_ARGS:---history-events 1} --listen-client-urls "http://127.0.0.1:$port" \
    --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "http://127.0.0.1:$peer" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peer" >log 2>&1) &
pid=$!
for _ in $(seq 200); do curl -sf "http://127.0.0.1:$port/v2/keys/" >/dev/null && break; sleep 0.05; done
curl -sf "http://127.0.0.1:$port/v2/keys/" >/dev/null || { tail "$work/log" >&2; exit 1; }
resident() { awk '/^VmRSS:/ { printf "%d", $2 * 1024 }' "/proc/$pid/status"; }

requests() { # the first number, of which each CONNECTIONS-th follows
    awk -v first="$1" -v step="$CONNECTIONS" -v keys="$keys" -v name="$NAME_BYTES" -v size="$VALUE_BYTES" 'BEGIN {
        value = sprintf("%" size "s", ""); gsub(" ", "v", value)
        for (n = first; n < keys; n += step) {
            directory = sprintf("/directory-%03d/", n % 997)
            printf "PUT /v2/keys%s%0" name - length(directory) "d HTTP/1.1\r\nHost: a\r\n%s", directory, n, n + step < keys ? "" : "Connection: close\r\n"
            printf "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\nvalue=%s", size + 6, value
        }
    }'
}
load() { # the connection's number; prints how many keys it made
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    requests "$1" >&3 &
    grep -ac '^HTTP/1.1 201' <&3 || true
    wait $!
}
empty=$(resident)
begun=$SECONDS
loaders=()
for connection in $(seq 0 $((CONNECTIONS - 1))); do
    load "$connection" >"$work/made.$connection" &
    loaders+=($!)
done
wait "${loaders[@]}"
made=$(awk '{ sum += $1 } END { print sum }' "$work"/made.*)
[ "$made" -eq "$keys" ] || { echo "$made of $keys keys were made" >&2; exit 1; }
awk -v keys="$keys" -v empty="$empty" -v full="$(resident)" -v own=$((NAME_BYTES + VALUE_BYTES)) -v seconds=$((SECONDS - begun)) 'BEGIN {
    each = (full - empty) / keys
    printf "%d keys in %d s: %.1f MiB resident, %.1f MiB when empty\n", keys, seconds, full / 1048576, empty / 1048576
    printf "%.0f bytes per key, %.0f above its name and value\n", each, each - own
}'
