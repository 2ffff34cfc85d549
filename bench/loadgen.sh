#!/usr/bin/env bash
# Measures uetcd-loadgen and wrk in turn (A B A B ...) against the bare responder: the responder alone on CPU 0, the generator on CPU 1. Prints
# rates, the generator's CPU microseconds per request (user + system, which noise touches least) and percentiles, then medians and ratios. A
# generator that reaches wrk's rate is no bottleneck that wrk is not. Needs wrk; loopback only, bounded in time.
#
#   bench/loadgen.sh [ROUNDS] [SECONDS] [CONNECTIONS] [PIPELINE]
#
# PIPELINE is for uetcd-loadgen only: wrk has none, and is left out when it is not 1.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} seconds=${2:-5} connections=${3:-64} pipeline=${4:-1}
loadgen=${LOADGEN_BIN:-target/release/uetcd-loadgen}
responder=${RESPONDER_BIN:-target/release/bare-responder}
for program in wrk taskset "$loadgen" "$responder"; do
    command -v "$program" >/dev/null || { echo "$program is missing (apt-get install wrk; cargo build --release -p loadgen -p bench)" >&2; exit 1; }
done
# shellcheck source=bench/workloads.sh
. bench/workloads.sh

port=$(port)
"$responder" "127.0.0.1:$port" 0 &
pids+=($!)
for _ in $(seq 200); do curl -sf "http://127.0.0.1:$port/v2/keys/lg-d0/k0" >/dev/null && break; sleep 0.05; done

TIMEFORMAT='%U %S'
timed() { # name command...: its output goes to $work/output, name and CPU seconds are printed
    local name=$1; shift
    { time taskset -c 1 "$@" >"$work/output"; } 2>"$work/cpu"
    awk -v name="$name" 'END { printf "%s %f ", name, $1 + $2 }' "$work/cpu"
}
with_wrk() {
    timed wrk wrk -t1 -c"$connections" -d"${seconds}s" --latency "http://127.0.0.1:$port/v2/keys/lg-d0/k0"
    awk '
        function us(text) { n = text + 0; return text ~ /us$/ ? n : text ~ /ms$/ ? n * 1000 : n * 1000000 }
        /^ *50%/ { p50 = us($2) } /^ *90%/ { p90 = us($2) } /^ *99%/ { p99 = us($2) } /requests in/ { n = $1 } /Requests\/sec/ { rate = $2 }
        END { print n, rate, p50, p90, p99 }' "$work/output"
}
with_loadgen() {
    timed loadgen "$loadgen" --endpoints "127.0.0.1:$port" --workload get --keys 1 --no-prefill --connections "$connections" \
        --pipeline "$pipeline" --warm-up 0 --duration "$seconds" --json
    # In a closed loop, what counts since a request was sent is what counts.
    sed -E 's/.*"requests":([0-9]+),"requests_per_second":([0-9.]+).*"since_sent":.*"p50":([0-9]+),"p90":([0-9]+).*"p99":([0-9]+).*/\1 \2 \3 \4 \5/' \
        "$work/output"
}
echo "generator requests/s cpu-us/request p50-us p90-us p99-us"
for _ in $(seq "$rounds"); do
    [ "$pipeline" != 1 ] || with_wrk
    with_loadgen
done | awk '{ printf "%s %.0f %.2f %d %d %d\n", $1, $4, $2 * 1e6 / $3, $5, $6, $7; fflush() }' | tee "$work/figures"
median() { awk -v who="$1" -v f="$2" '$1 == who { print $f }' "$work/figures" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] + 0 }'; }
for field in 2 3 4 5 6; do
    what=$(awk -v f="$field" 'BEGIN { split("- requests/s cpu-us/request p50-us p90-us p99-us", names, " "); print names[f] }')
    awk -v what="$what" -v l="$(median loadgen "$field")" -v w="$(median wrk "$field")" 'BEGIN {
        if (w > 0) printf "%s: loadgen %.4g, wrk %.4g, ratio %.2f\n", what, l, w, l / w; else printf "%s: loadgen %.4g\n", what, l }'
done
