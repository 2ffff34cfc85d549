#!/usr/bin/env bash
# Fuzzing with coverage as a guide: every target until it has had so many seconds of CPU, two at a time.
#
#   ops/fuzz/guided.sh 4320
#
# Needs the nightly toolchain. It can be ended and begun again at any time: what was run is kept in target/guided, the time in
# its file `spent`. What is found ends it, and belongs to ops/fuzz/corpus/TARGET, which the test of every commit looks at.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly GOAL=${1:?"seconds of CPU per target"} HOME_DIR=$PWD/target/guided ROUND=300
readonly SPENT=$HOME_DIR/spent TRIPLE=x86_64-unknown-linux-gnu
readonly TARGETS=(request keys peer archive segment snapshot discovery flags)
# What cargo-fuzz passes to the compiler, without a sanitizer: there is no unsafe code in what is looked at.
readonly COVERAGE="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"

build() {
    RUSTFLAGS="$COVERAGE" cargo +nightly build --quiet --release --manifest-path ops/fuzz/libfuzzer/Cargo.toml \
        --target "$TRIPLE" --target-dir "$HOME_DIR/build"
    cargo run --quiet --profile simulate -p fuzz -- --write-seeds "$HOME_DIR/seeds"
}

# Seconds of CPU and inputs so far of a target.
spent() {
    awk -v target="$1" '$1 == target { seconds += $2; inputs += $3 } END { print int(seconds), inputs + 0 }' "$SPENT"
}

# The target that has had least and that nobody is at, taken; nothing when all have had enough or are taken.
take() {
    local target seconds
    for target in "${TARGETS[@]}"; do
        read -r seconds _ < <(spent "$target")
        [ "$seconds" -ge "$GOAL" ] || echo "$seconds $target"
    done | sort -n | while read -r _ target; do
        if mkdir "$HOME_DIR/taken-$target" 2>/dev/null; then echo "$target"; break; fi
    done
}

round() {
    local target=$1 seconds inputs log=$HOME_DIR/$1.log
    mkdir -p "$HOME_DIR/corpus/$target" "$HOME_DIR/found/$target" "ops/fuzz/corpus/$target"
    # Its limits are far above those that a target checks: the machine may be busy.
    TIMEFORMAT=%U
    seconds=$({ time "$HOME_DIR/build/$TRIPLE/release/$target" "$HOME_DIR/corpus/$target" "$HOME_DIR/seeds/$target" \
        "ops/fuzz/corpus/$target" -artifact_prefix="$HOME_DIR/found/$target/" -max_total_time=$ROUND -timeout=120 \
        -rss_limit_mb=6000 -print_final_stats=1 >"$log" 2>&1; } 2>&1) || {
        echo "$target: something was found, see $log" >&2
        return 1
    }
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$target ${seconds##*$'\n'} ${inputs:-0}" >>"$SPENT"
    echo "$(date +%T) $target: $(spent "$target")" >&2
}

work() {
    local target
    while target=$(take) && [ -n "$target" ]; do
        round "$target" || return 1
        rmdir "$HOME_DIR/taken-$target"
    done
}

build
touch "$SPENT"
rmdir "$HOME_DIR"/taken-* 2>/dev/null || true
work & one=$!
work & two=$!
failed=0
wait "$one" || failed=1
wait "$two" || failed=1
for target in "${TARGETS[@]}"; do
    read -r seconds inputs < <(spent "$target")
    echo "$target: guided, $inputs inputs in $seconds s of CPU"
done
exit "$failed"
