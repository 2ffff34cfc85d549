#!/usr/bin/env bash
# Measures uetcd and another server in turn (A B A B ...), each alone on CPU 0 with its data on the same disk, wrk on CPU 1. Prints rates,
# CPU microseconds per request (user + system) and the medians' ratios. Needs wrk and etcd-server; loopback only, bounded in time.
#
#   bench/compare.sh [ROUNDS] [SECONDS] [CONNECTIONS]                   against etcd
#   UETCD_ARGS='--shards 16' bench/compare.sh                           further arguments for uetcd
#   OTHER_BIN=/tmp/before bench/compare.sh                              against another build of uetcd
#   OTHER_BIN=target/release/uetcd OTHER_ARGS='--shards 1' bench/compare.sh
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} seconds=${2:-5} connections=${3:-64}
uetcd=${UETCD_BIN:-target/release/uetcd}
other=${OTHER_BIN:-etcd}
for program in wrk "$other" taskset "$uetcd"; do
    command -v "$program" >/dev/null || { echo "$program is missing (apt-get install wrk etcd-server; cargo build --release)" >&2; exit 1; }
done
uetcd=$(realpath "$(command -v "$uetcd")")
other=$(realpath "$(command -v "$other")")
if [ -n "${OTHER_BIN:-}" ]; then name=other arguments="--cores 1 ${OTHER_ARGS:-}"; else name=etcd arguments=--enable-v2; fi
port() { # a pair of free ports
    local port
    while port=$((20000 + RANDOM % 10000)); do ss -Hltn "sport = :$port or sport = :$((port + 1))" | grep -q . || { echo "$port"; return; }; done
}
# shellcheck source=bench/workloads.sh
. bench/workloads.sh

start() { # name port command...
    local name=$1 port=$2; shift 2
    mkdir "$work/$name"
    (cd "$work/$name" && exec taskset -c 0 "$@" --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
        --listen-peer-urls "http://127.0.0.1:$((port + 1))" >log 2>&1) &
    pids+=($!)
    for _ in $(seq 200); do curl -sf "http://127.0.0.1:$port/v2/keys/" >/dev/null && return; sleep 0.05; done
    echo "$name does not answer:" >&2; tail "$work/$name/log" >&2; exit 1
}
export GOMAXPROCS=1
# shellcheck disable=SC2086 # several arguments
first=$(port)
start uetcd "$first" "$uetcd" --cores 1 ${UETCD_ARGS:-}
second=$(port)
# shellcheck disable=SC2086 # several arguments
start "$name" "$second" "$other" $arguments

ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
measure() { # name pid port workload
    local before after output
    before=$(ticks "$2")
    output=$(taskset -c 1 wrk -t1 -c"$connections" -d"${seconds}s" -s "$work/$4.lua" "http://127.0.0.1:$3")
    after=$(ticks "$2")
    if grep -q Non-2xx <<<"$output" && [ "$4" = put ]; then echo "$1: writes were refused" >&2; exit 1; fi
    awk -v who="$1" -v what="$4" -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '
        /requests in/ { n = $1 } /Requests\/sec/ { rate = $2 }
        END { printf "%s %s %.0f %.1f\n", what, who, rate, ticks * 1e6 / hz / n }' <<<"$output" | tee -a "$work/figures"
}
echo "workload server requests/s cpu-us/request"
for _ in $(seq "$rounds"); do
    for workload in put get; do
        kill -STOP "${pids[1]}"; kill -CONT "${pids[0]}"; measure uetcd "${pids[0]}" "$first" "$workload"
        kill -STOP "${pids[0]}"; kill -CONT "${pids[1]}"; measure "$name" "${pids[1]}" "$second" "$workload"
    done
done
median() { awk -v w="$1" -v s="$2" -v f="$3" '$1 == w && $2 == s { print $f }' "$work/figures" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
for workload in put get; do
    awk -v w="$workload" -v u="$(median "$workload" uetcd 3)" -v other="$name" -v e="$(median "$workload" "$name" 3)" -v cu="$(median "$workload" uetcd 4)" \
        -v ce="$(median "$workload" "$name" 4)" 'BEGIN { printf "%s: uetcd %d/s (%.1f us CPU), %s %d/s (%.1f us CPU), ratio %.2f\n", w, u, cu, other, e, ce, u / e }'
done
