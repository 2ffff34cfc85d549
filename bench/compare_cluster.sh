#!/usr/bin/env bash
# Measures clusters of three members of uetcd and of etcd in turn (A B A B ...), all on this machine, with wrk against the leader. The
# cluster that is not measured is stopped. uetcd's members have one executor each, spread over the CPUs: more than that on one machine only
# multiplies the flushes of one disk. Prints rates and the medians' ratio. Needs wrk and etcd-server; loopback only, bounded in time.
#
#   bench/compare_cluster.sh [ROUNDS] [SECONDS] [CONNECTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} seconds=${2:-5} connections=${3:-64}
uetcd=${UETCD_BIN:-target/release/uetcd}
for program in wrk etcd curl "$uetcd"; do
    command -v "$program" >/dev/null || { echo "$program is missing (apt-get install wrk etcd-server curl; cargo build --release)" >&2; exit 1; }
done
uetcd=$(realpath "$(command -v "$uetcd")")
cpus=$(nproc)
# shellcheck source=bench/workloads.sh
. bench/workloads.sh

declare -A client peer
for who in uetcd etcd; do for n in 1 2 3; do client[$who$n]=$(port) peer[$who$n]=$(port); done; done

start() { # name command...
    local who=$1 n initial; shift
    initial="m1=http://127.0.0.1:${peer[${who}1]},m2=http://127.0.0.1:${peer[${who}2]},m3=http://127.0.0.1:${peer[${who}3]}"
    for n in 1 2 3; do
        mkdir "$work/$who$n"
        own=()
        [ "$who" = uetcd ] && own=(--cores "$((n % cpus))-$((n % cpus))")
        (cd "$work/$who$n" && exec "$@" "${own[@]}" --name "m$n" --data-dir data --initial-cluster "$initial" \
            --listen-client-urls "http://127.0.0.1:${client[$who$n]}" --advertise-client-urls "http://127.0.0.1:${client[$who$n]}" \
            --listen-peer-urls "http://127.0.0.1:${peer[$who$n]}" --initial-advertise-peer-urls "http://127.0.0.1:${peer[$who$n]}" >log 2>&1) &
        pids+=($!)
    done
    for n in 1 2 3; do
        for _ in $(seq 400); do curl -sf "http://127.0.0.1:${client[$who$n]}/v2/keys/?quorum=true" >/dev/null && continue 2; sleep 0.05; done
        echo "member $n of $who does not answer:" >&2; tail "$work/$who$n/log" >&2; exit 1
    done
}
start uetcd "$uetcd"
start etcd etcd --enable-v2

resume() { # cluster: lets it go on, and waits until it takes writes
    local first=0 n
    [ "$1" = etcd ] && first=3
    kill -CONT "${pids[@]:$first:3}"
    for _ in $(seq 200); do
        for n in 1 2 3; do
            curl -sf -m 1 "http://127.0.0.1:${client[$1$n]}/v2/stats/self" | grep -q StateLeader || continue
            curl -sf -m 2 -X PUT "http://127.0.0.1:${client[$1$n]}/v2/keys/ready" -d value=1 >/dev/null && { leader=${client[$1$n]}; return; }
        done
        sleep 0.05
    done
    echo "$1 has no leader" >&2; exit 1
}
measure() { # cluster workload
    local first=0 output
    [ "$1" = etcd ] && first=3
    resume "$1"
    output=$(wrk -t1 -c"$connections" -d"${seconds}s" -s "$work/$2.lua" "http://127.0.0.1:$leader")
    if grep -q Non-2xx <<<"$output" && [ "$2" = put ]; then echo "$1: writes were refused" >&2; exit 1; fi
    awk -v who="$1" -v what="$2" '/Requests\/sec/ { printf "%s %s %.0f\n", what, who, $2 }' <<<"$output" | tee -a "$work/figures"
    kill -STOP "${pids[@]:$first:3}"
}
kill -STOP "${pids[@]}"
echo "workload cluster requests/s"
for _ in $(seq "$rounds"); do
    for workload in put get; do measure uetcd "$workload"; measure etcd "$workload"; done
done
median() { awk -v w="$1" -v s="$2" '$1 == w && $2 == s { print $3 }' "$work/figures" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
for workload in put get; do
    awk -v w="$workload" -v u="$(median "$workload" uetcd)" -v e="$(median "$workload" etcd)" \
        'BEGIN { printf "%s: uetcd %d/s, etcd %d/s, ratio %.2f\n", w, u, e, u / e }'
done
