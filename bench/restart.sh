#!/usr/bin/env bash
# Measures a start after kill -9 in the middle of a load: how long until clients are served, and that per GiB of log that was read, and per GiB
# of log and snapshots. KEYS keys of VALUE bytes are written for SECONDS. Needs curl and python3; loopback only, bounded in time.
#
#   bench/restart.sh [KEYS] [VALUE] [SECONDS]        2,000 keys of 16 KiB for 10 s unless said otherwise
#
# With PER_GIB_S set it fails when a GiB of log took more seconds than that, beside what a start with next to no log took.
#
# A virtual machine that gives its host what is free (free page reporting) gets it back at 0.4 GB/s, and a start would be measured
# that asks the host for memory. So 2 GiB are touched before, as a machine of its own would have it; not with COLD=1.
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${1:-2000} value=${2:-16384} seconds=${3:-10}
uetcd=$(realpath "${UETCD_BIN:-target/release/uetcd}") loadgen=$(realpath "${LOADGEN_BIN:-target/release/uetcd-loadgen}")
for program in "$uetcd" "$loadgen"; do [ -x "$program" ] || { echo "$program is missing: cargo build --release" >&2; exit 1; }; done
# shellcheck source=bench/workloads.sh
. bench/workloads.sh
client=$(port) peer=$(port)

launch() { # waits until clients are served
    (cd "$work" && exec "$uetcd" --data-dir data \
        --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" >log 2>&1) &
    pids[0]=$!
    for _ in $(seq 6000); do curl -sf -m 2 "http://127.0.0.1:$client/health" >/dev/null && return; sleep 0.01; done
    echo "the server does not answer:" >&2; tail "$work/log" >&2; exit 1
}
now() { date +%s%N; }
snapshot_bytes() { # of the newest of each shard, from which a start begins
    find "$work/data/member/snap" -name '*.snap' -printf '%f %s\n' | sort | awk '{ split($1, name, "-"); size[name[1]] = $2 }
        END { for (shard in size) sum += size[shard]; print sum + 0 }'
}

end() { kill -9 "${pids[0]}"; wait "${pids[0]}" 2>/dev/null || true; }
warm() { # memory
    [ -n "${COLD:-}" ] || python3 -c '
import mmap
memory = mmap.mmap(-1, 2 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, len(memory), 4096): memory[at] = 1'
}

launch
end
warm
begun=$(now)
launch
always=$(($(now) - begun))
"$loadgen" --endpoints "127.0.0.1:$client" -w put -c 64 --keys "$keys" --value-size "$value" -d "$((seconds + 2))" --warm-up 0 >"$work/load" 2>&1 &
pids[1]=$!
sleep "$seconds"
end
wait "${pids[1]}" 2>/dev/null || true # it misses the server
snapshots=$(snapshot_bytes)
warm
begun=$(now)
launch
took=$(($(now) - begun))
log=$(sed -n 's/.* from \([0-9]*\) bytes of log in .*/\1/p' "$work/log")
awk -v log_bytes="$log" -v snapshots="$snapshots" -v ns="$took" -v value="$value" -v limit="${PER_GIB_S:-0}" -v always="$always" 'BEGIN {
    gib = (log_bytes + snapshots) / 1073741824
    of_log = log_bytes / 1073741824
    printf "restart: values of %d bytes, %d MiB of log and %d MiB of snapshots, serving %.2f s after kill -9, %.2f s with next to no log; the rest is %.1f s per GiB of log, %.1f of all\n",
        value, log_bytes / 1048576, snapshots / 1048576, ns / 1e9, always / 1e9, (ns - always) / 1e9 / of_log, (ns - always) / 1e9 / gib
    exit limit && ns > always + limit * of_log * 1e9
}'
