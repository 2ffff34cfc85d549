#!/usr/bin/env bash
# Measures what replication adds to one write: the median latency of writes over one connection to a single node and to the primary of
# three members, in turn, each on CPU 0 with the others on the other CPUs, beside what it must cost: a loopback round trip (a GET over one
# connection to the bare responder) and a follower's disk write (the mean of its own fsync metric in the same run). Needs curl; loopback only,
# bounded in time.
#
#   bench/added_latency.sh [ROUNDS] [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} seconds=${2:-4}
uetcd=$(realpath "${UETCD_BIN:-target/release/uetcd}") loadgen=$(realpath "${LOADGEN_BIN:-target/release/uetcd-loadgen}")
responder=$(realpath "${RESPONDER_BIN:-target/release/bare-responder}")
for program in "$uetcd" "$loadgen" "$responder"; do
    [ -x "$program" ] || { echo "$program is missing: cargo build --release --workspace" >&2; exit 1; }
done
cpus=$(nproc)
# shellcheck source=bench/workloads.sh
. bench/workloads.sh
# shellcheck source=bench/cluster.sh
. bench/cluster.sh
for n in 1 2 3; do launch "$n"; done
for n in 1 2 3; do serves "$n"; done
# The primary is the one that shares its CPU with nobody: with two CPUs m2 alone is on CPU 0.
for _ in $(seq 20); do
    leader=$(primary)
    [ "$leader" = 2 ] && break
    kill -STOP "${pids[$leader]}"; sleep 2.5; kill -CONT "${pids[$leader]}"; sleep 1
done
follower=$((leader % 3 + 1))
alone=$(port)
mkdir "$work/alone"
(cd "$work/alone" && exec "$uetcd" --cores 0-0 --data-dir data --listen-client-urls "http://127.0.0.1:$alone" \
    --advertise-client-urls "http://127.0.0.1:$alone" --listen-peer-urls "http://127.0.0.1:$(port)" >log 2>&1) &
pids[4]=$!
bare=$(port)
"$responder" "127.0.0.1:$bare" 0 &
pids[5]=$!
for at in "$alone" "$bare"; do
    for _ in $(seq 200); do curl -s -o /dev/null "http://127.0.0.1:$at/v2/keys/" && break; sleep 0.05; done
done

p50() { # name port workload
    taskset -c "$((cpus - 1))" "$loadgen" --endpoints "127.0.0.1:$2" -w "$3" --keys 1 --no-prefill -c 1 -d "$seconds" --json |
        sed -E 's/.*"since_sent":.*"p50":([0-9]+),"p90".*/'"$1"' \1/' | tee -a "$work/figures"
}
fsync() { # sum and count of the follower's
    curl -s "http://127.0.0.1:${client[$follower]}/metrics" | awk '/^etcd_disk_wal_fsync_duration_seconds_sum/ { s = $2 } /^etcd_disk_wal_fsync_duration_seconds_count/ { n = $2 } END { print s, n }'
}
for _ in $(seq "$rounds"); do
    p50 alone "$alone" put
    read -r sum count < <(fsync)
    p50 cluster "${client[$leader]}" put
    read -r sum_after count_after < <(fsync)
    awk -v s="$sum" -v n="$count" -v t="$sum_after" -v m="$count_after" 'BEGIN { printf "disk %.0f\n", (t - s) * 1e6 / (m - n) }' | tee -a "$work/figures"
    p50 loopback "$bare" get
done
median() { awk -v w="$1" '$1 == w { print $2 }' "$work/figures" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
awk -v a="$(median alone)" -v c="$(median cluster)" -v d="$(median disk)" -v l="$(median loopback)" 'BEGIN {
    printf "p50 of one write: alone %d us, cluster %d us: %d us added; a loopback round trip is %d us, a follower'"'"'s disk write %d us: %d us beyond them\n", a, c, c - a, l, d, c - a - l - d }'
