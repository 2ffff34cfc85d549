#!/usr/bin/env bash
# What is promised, and what was run to show it: docs/reliability.md, from the output of the runs.
#
#   ops/reliability.sh run commit          runs every row at the volume of each commit; `nightly`: at that of a night
#   ops/reliability.sh run nightly 17 3    only these rows
#   ops/reliability.sh more nightly 24     the same, and what was run of them before counts as well: a volume that takes several nights
#   ops/reliability.sh run against         the tests of the rows against Debian's etcd, at the volume of each commit; whatever comes of it
#   ops/reliability.sh run together        the rows of `commit` all at once, as `.ci/run` has them
#   ops/reliability.sh page                writes docs/reliability.md from what was run
#
# Results are kept in ops/reliability/results, one file per row and volume, of the last run or of several, newest first. A row whose
# test failed is kept like any other, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROWS=ops/reliability/rows.txt RESULTS=ops/reliability/results PAGE=docs/reliability.md

target() {
    cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# The value of KEY in the block of row $1.
field() {
    awk -v row="row $1" -v key="$2" '$0 == row { inside = 1; next } /^row / { inside = 0 }
        inside && $1 == key { sub(/^[^ ]+ /, ""); print; exit }' "$ROWS"
}

rows() {
    sed -n 's/^row //p' "$ROWS"
}

file_of() {
    echo "$RESULTS/${1//, /-}.$2"
}

# What the output says of its volume: the totals of the programs, and lines that tests print about theirs.
volume_in() {
    sed -n -E \
        -e 's/^ +Summary \[ *([0-9.]+)s\] (.*)$/\2/p' \
        -e 's/^ *([0-9]+ seeds, .*|at rest after healing .*|every fault in .*)$/\1/p' \
        -e 's/^ *((soak|history|cuts|failures|slow|restart|snapshot|pauses|overload|memory|crowd|dribblers|full|snapshots|watchers|damages): .*)$/\1/p' \
        -e t \
        -e 's/^ +(command acknowledged) +([0-9]+) in .*/\2 commands acknowledged/p' \
        -e 's/^([a-z]+: ([0-9]+ inputs of the corpus|guided, ).*)$/\1/p' \
        -e '/less than 1 %/s/^ +([a-z -]+[a-z]) +[0-9]+ .*/rare: \1/p' "$1" | paste -sd ';' | sed 's/; */; /g'
}

# What became of tests against etcd: how many hold, how many are not about it, and which fail with which words.
against_in() {
    awk '/^ +Summary \[/ { sub(/^ +Summary \[[^]]*\] /, ""); tests = $1 } /^not for etcd: / { others++ }
        /^thread .* panicked at / { name = $2; gsub(/\047/, "", name); getline; said[name] = substr($0, 1, 100) }
        /^ +FAIL \[/ { name = $NF; if (!(name in failed)) { failed[name]; order[++count] = name } }
        END { printf "of %d tests %d hold, %d are not about it, %d fail", tests, tests - others - count, others, count
            for (i = 1; i <= count; i++) printf "%s `%s` (%s)", i == 1 ? ":" : ",", order[i], said[order[i]] }' "$1"
}

# The page names the commit that was run: nothing may be changed, and no program may be older than its source.
check_build() {
    local changed program source
    changed=$(git status --porcelain -- . ":!$RESULTS" ":!$PAGE")
    [ -z "$changed" ] || { echo "what is run has to be committed first:" >&2; echo "$changed" >&2; exit 1; }
    source=$(git log -1 --format=%ct -- server/src shard/src log/src net/src loadgen/src '*.toml' Cargo.lock)
    for program in "${UETCD_BIN:-}" "${LOADGEN_BIN:-}"; do
        [ -z "$program" ] || [ "$(stat -c %Y "$program")" -ge "$source" ] || { echo "$program is older than its source: build it" >&2; exit 1; }
    done
}

run_row() {
    local row=$1 volume=$2 entry
    entry=$(field "$row" "$volume")
    [ -z "$entry" ] || run "row $row" "$volume" "$(file_of "$row" "$volume")" "${entry#* }"
}

# Runs a command and writes down what came of it.
run() {
    local what=$1 volume=$2 file=$3 command=$4 output begun commit earlier rc=0
    output=$(mktemp)
    earlier=$([ -z "$MORE" ] || cat "$file" 2>/dev/null || true)
    echo "$what: $command" >&2
    begun=$SECONDS
    commit=$(git rev-parse --short HEAD)
    bash -c "$command" >"$output" 2>&1 || rc=$?
    {
        echo "commit $commit"
        echo "date $(date -u +%F)"
        echo "seconds $((SECONDS - begun))"
        echo "status $rc"
        [ "$volume" != against ] || etcd --version | sed -n 's/^etcd Version: /version /p'
        echo "volume $(if [ "$volume" = against ]; then against_in "$output"; else volume_in "$output"; fi)"
        [ -z "$earlier" ] || printf '\n%s\n' "$earlier"
    } >"$file"
    [ "$rc" -eq 0 ] || [ "$volume" = against ] || { echo "$what failed, its output is in $output" >&2; return 1; }
    rm "$output"
}

# The tests of all rows at the volume of each commit. Those with rules left out are another build, and run by themselves.
together() {
    local tests
    tests=$(sed -n "s/^commit .* -E '\(.*\)'\$/(\1)/p" "$ROWS" | paste -sd '|')
    echo "cargo nextest run --workspace -E '$tests' && cargo nextest run --workspace --features simulate/mutants --test mutants"
}

run_rows() {
    local volume=$1 failed=0 row wanted
    shift
    check_build
    if [ "$volume" = together ]; then
        # What is built beforehand is not counted.
        cargo nextest run --workspace --no-run
        cargo nextest run --workspace --features simulate/mutants --test mutants --no-run
        run "all rows" commit "$RESULTS/all.commit" "$(together)"
        return
    fi
    cargo build --quiet --profile simulate -p simulate -p fuzz
    SIM="$(target)/simulate/simulate" FUZZ="$(target)/simulate/fuzz"
    export SIM FUZZ
    mkdir -p "$RESULTS"
    while read -r row; do
        wanted=$([ $# -eq 0 ] && echo yes || true)
        for one in "$@"; do [[ ", $row, " != *", $one, "* ]] || wanted=yes; done
        [ -z "$wanted" ] || run_row "$row" "$volume" || failed=1
    done < <(rows)
    return "$failed"
}

# The value of KEY of the runs in a file, by number: they are kept in paragraphs.
result() {
    awk -v key="$2" -v run="$3" 'BEGIN { RS = ""; FS = "\n" } NR == run { for (i = 1; i <= NF; i++)
        if (index($i, key " ") == 1) { print substr($i, length(key) + 2); exit } }' "$1"
}

page_run() {
    local volume=$1 file=$2 run=$3 verdict=passed
    [ "$(result "$file" status "$run")" -eq 0 ] || verdict="**failed**"
    echo "- **$volume**: $verdict in $(result "$file" seconds "$run") s, $(result "$file" date "$run"), at $(result "$file" commit "$run"): $(result "$file" volume "$run")."
}

page_against() {
    local file=$1
    [ -f "$file" ] || return 0
    echo "- **etcd $(result "$file" version 1), the same tests**: $(result "$file" volume 1). $(result "$file" date 1)."
    printf '  ```sh\n  %s\n  ```\n' "$2"
}

page_row() {
    local row=$1 file volume entry run
    printf '\n## %s. %s\n\n' "$row" "$(field "$row" promise)"
    printf '%s\n' "- **Test**: $(field "$row" test)." "- **etcd**: $(field "$row" etcd)."
    for volume in commit nightly; do
        entry=$(field "$row" "$volume")
        [ -n "$entry" ] || continue
        file=$(file_of "$row" "$volume")
        if [ -f "$file" ]; then
            for run in $(seq "$(grep -c '^commit ' "$file")"); do page_run "$volume" "$file" "$run"; done
        else
            echo "- **$volume**: not run (about ${entry%% *} min)."
        fi
        printf '  ```sh\n  %s\n  ```\n' "${entry#* }"
    done
    entry=$(field "$row" against)
    page_against "$(file_of "$row" against)" "${entry#* }"
}

page_together() {
    local file="$RESULTS/all.commit"
    [ ! -f "$file" ] || printf '\nThe tests of all rows that run with every commit (%s), all at once as `.ci/run` has them:\n%s\n' \
        '`ops/reliability.sh run together`' "$(page_run commit "$file" 1)"
}

page() {
    {
        cat ops/reliability/head.md
        page_together
        while read -r row; do page_row "$row"; done < <(rows)
        echo
        cat ops/reliability/bugs.md
    } >"$PAGE"
}

case "${1:-}" in
    run) shift; MORE='' run_rows "$@" ;;
    more) shift; MORE=yes run_rows "$@" ;;
    page) page ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
