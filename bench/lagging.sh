#!/usr/bin/env bash
# Measures what a member that catches up costs the others: latencies of writes at a fixed rate (counted from when they were due) with all
# three members up; then one is killed, WRITES are written without it, it starts again, and the same is measured while it catches up, and
# once more afterwards: what a full history and snapshots cost meanwhile is seen there, too.
# Prints the rows of percentiles, how long it took, and the ratio of the p99s. Needs curl; loopback only, bounded in time.
#
#   bench/lagging.sh [WRITES] [RATE] [SECONDS]        1,000,000 writes, then 2,000 per second for 20 s unless said otherwise
set -euo pipefail
cd "$(dirname "$0")/.."
writes=${1:-1000000} rate=${2:-2000} seconds=${3:-20}
uetcd=$(realpath "${UETCD_BIN:-target/release/uetcd}") loadgen=$(realpath "${LOADGEN_BIN:-target/release/uetcd-loadgen}")
for program in "$uetcd" "$loadgen"; do [ -x "$program" ] || { echo "$program is missing: cargo build --release" >&2; exit 1; }; done
cpus=$(nproc)
# shellcheck source=bench/workloads.sh
. bench/workloads.sh
# shellcheck source=bench/cluster.sh
. bench/cluster.sh
for n in 1 2 3; do launch "$n"; done
for n in 1 2 3; do serves "$n"; done
leader=$(primary)
victim=$((leader % 3 + 1))

measure() { # name
    "$loadgen" --endpoints "127.0.0.1:${client[$leader]}" -w put -c 16 -r "$rate" -d "$seconds" | awk -v name="$1" '
        $1 == "count" { printf "%-14s %s\n", "", $0 } $1 == "all" { sub("^all  *", ""); printf "%-14s %s\n", name, $0 }' | tee -a "$work/rows"
}
position() { # member: how far it shows what was written
    curl -s -m 2 -D- -o /dev/null "http://127.0.0.1:${client[$1]}/v2/keys/lg-none" | awk -F': ' 'tolower($1) == "x-etcd-index" { print $2 + 0 }'
}
measure before
kill -9 "${pids[$victim]}"; wait "${pids[$victim]}" 2>/dev/null || true
before=$(position "$leader")
while now=$(position "$leader"); [ $((now - before)) -lt "$writes" ]; do
    "$loadgen" --endpoints "127.0.0.1:${client[$leader]}" -w put -c 64 --pipeline 16 -d 2 --warm-up 0 >/dev/null
done
echo "$((now - before)) writes without member $victim"
launch "$victim"
SECONDS=0
(
    for _ in $(seq 6000); do
        there=$(position "$victim" || true)
        [ "${there:-0}" -ge "$now" ] && { echo "caught up in $SECONDS s" >"$work/caught"; exit; }
        sleep 0.1
    done
) &
watcher=$!
measure meanwhile
wait "$watcher"
cat "$work/caught" 2>/dev/null || { echo "it has not caught up:" >&2; tail "$work/m$victim/log" >&2; exit 1; }
measure afterwards
awk '$1 == "count" { for (at = 1; at <= NF; at++) if ($at == "p99") column = 2 * at - 1 } # a number and its unit each
    $1 ~ /before|meanwhile|afterwards/ { p99[$1] = $column * ($(column + 1) == "us" ? 1 : 1000) }
    END { printf "p99 meanwhile: %.1f x that before, %.1f x that afterwards\n", p99["meanwhile"] / p99["before"], p99["meanwhile"] / p99["afterwards"] }' "$work/rows"
