#!/usr/bin/env bash
# Measures what writing the snapshot of a large state costs the requests meanwhile: latencies of writes at a fixed rate (counted from when
# they were due), first with an empty state, and then with KEYS keys of VALUE bytes in one shard and snapshots of it. Prints the rows of
# percentiles, how many snapshots were written, how long one took and how large it is. Needs curl; loopback only, bounded in time.
#
#   bench/snapshot_pause.sh [KEYS] [VALUE] [RATE] [SECONDS]        1,000,000 keys of 64 bytes, 5,000 per second for 20 s unless said otherwise
#
# With ADDED_MS and PERCENT set it fails when the longest request beside the large state took so many milliseconds more than the longest beside
# the small one (the machine stops everybody now and then), or the 99 % more than so many hundredths of those.
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${1:-1000000} value=${2:-64} rate=${3:-5000} seconds=${4:-20}
uetcd=$(realpath "${UETCD_BIN:-target/release/uetcd}") loadgen=$(realpath "${LOADGEN_BIN:-target/release/uetcd-loadgen}")
for program in "$uetcd" "$loadgen"; do [ -x "$program" ] || { echo "$program is missing: cargo build --release" >&2; exit 1; }; done
# shellcheck source=bench/workloads.sh
. bench/workloads.sh
client=$(port) peer=$(port) last=$(($(nproc) - 1))

launch() { # snapshot-count: commands until one is due
    (cd "$work" && exec "$uetcd" --cores 0-0 --shards 1 --data-dir data --snapshot-count "$1" \
        --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" >>log 2>&1) &
    pids[0]=$!
    for _ in $(seq 1200); do curl -sf -m 2 "http://127.0.0.1:$client/health" >/dev/null && return; sleep 0.05; done
    echo "the server does not answer:" >&2; tail "$work/log" >&2; exit 1
}
load() { "$loadgen" --endpoints "127.0.0.1:$client" --cpus "$last" --keys "$keys" --value-size "$value" "$@"; }
measure() { # name; the table's rows, its 99 % and its longest time in microseconds go to a file of that name
    load -w put -c 64 -r "$rate" -d "$seconds" --warm-up 0 | awk -v name="$1" -v file="$work/$1" '
        function us(number, unit) { return number * (unit == "ms" ? 1000 : unit == "s" ? 1000000 : 1) }
        $1 == "count" { printf "%-18s %s\n", "", $0 }
        $1 == "all" { print us($9, $10), us($15, $16) >file; sub("^all  *", ""); printf "%-18s %s\n", name, $0 }'
}
snapshots() { curl -s "http://127.0.0.1:$client/metrics" | awk '$1 == "etcd_snapshot_save_total_durations_seconds_count" { print $2 }'; }

# Due in the middle of the second measurement. A log of more than 256 MiB is a reason of its own to write some.
measured=$((rate * seconds))
launch $((keys + measured + measured / 4))
for name in "small state" "large state"; do
    before=$(snapshots)
    measure "$name"
    echo "snapshots written meanwhile: $(($(snapshots) - before))"
    [ "$name" = "large state" ] || load -w get -c 64 -d 1 >/dev/null
done
[ "$(snapshots)" -gt "$before" ] || { echo "none was written in the second measurement" >&2; exit 1; }
curl -s "http://127.0.0.1:$client/metrics" | awk '$1 ~ "^etcd_snapshot_save_total_durations_seconds_(sum|count)$" { v[$1 ~ /sum/] = $2 }
    END { printf "writing one took %.1f s", v[1] / v[0] }'
size=$(stat -c %s "$work"/data/member/snap/*.snap | sort -n | tail -1)
echo ", the largest has $size bytes"
read -r small usual <"$work/small state"
read -r large longest <"$work/large state"
awk -v small="$small" -v large="$large" -v longest="$longest" -v usual="$usual" -v size="$size" -v ms="${ADDED_MS:-0}" -v percent="${PERCENT:-0}" 'BEGIN {
    printf "snapshot: %d MiB, 99 %% within %.1f ms and all within %.1f ms; %.1f and %.1f ms beside a small state\n", size / 1048576, large / 1000, longest / 1000, small / 1000, usual / 1000
    exit (ms && longest > usual + 1000 * ms) || (percent && large > small * percent / 100)
}'
