#!/usr/bin/env bash
# Installs what the tests need, where it is missing, and runs all tests. Nothing is skipped: what cannot be installed is an error.
#
#   ops/test.sh                  everything, as on every commit
#   ops/test.sh --full           the same with the long randomized runs (200+ differential seeds and member scripts, 100+ kill -9,
#                                a mirror of 100,000 keys, a minute of mutations per parser)
#   ops/test.sh -E 'test(ttl)'   further arguments go to `cargo nextest run`
#
# The black-box suite tests the binary that users get: the release profile, with its optimisation, LTO and `panic = "abort"`. The tests
# themselves, and all unit tests, stay in the dev profile: they build in a fraction of the time, and unit tests want overflow checks and debug
# assertions. Hence UETCD_BIN instead of `--cargo-profile release`, which would build every test with LTO. UETCD_BIN set from outside is kept:
# that tests any other build, such as a package's.
set -euo pipefail
cd "$(dirname "$0")/.."

# Programs and the Debian packages that bring them: the living reference, the clients, and what builds liburing. `python3/x` is a module of
# Debian's Python.
readonly NEEDED=(etcd:etcd-server etcdctl:etcd-client curl:curl openssl:openssl setpriv:util-linux ip:iproute2 nft:nftables mkfs.ext4:e2fsprogs cc:gcc make:make dnsmasq:dnsmasq-base script:bsdutils fish:fish python3/etcd:python3-etcd)

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

is_there() {
    case $1 in
        python3/*) /usr/bin/python3 -c "import ${1#python3/}" ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

install_packages() {
    local missing=()
    for pair in "${NEEDED[@]}"; do
        is_there "${pair%%:*}" || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing: ${missing[*]}"
    as_root apt-get update -qq
    # The packages would start a server of their own on 2379.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq "${missing[@]}"
}

check_programs() {
    for pair in "${NEEDED[@]}"; do
        is_there "${pair%%:*}" || { echo "${pair%%:*} is missing: apt-get install ${pair#*:}" >&2; exit 1; }
    done
    etcd --help 2>&1 | grep -q -- --enable-v2 || { echo "this etcd has no v2 API; the tests compare with 3.4 (or 3.5)" >&2; exit 1; }
    cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest
}

main() {
    if [ "${1:-}" = --full ]; then
        shift
        export SUITE_SEEDS="${SUITE_SEEDS:-250}" SUITE_KILL_ROUNDS="${SUITE_KILL_ROUNDS:-120}" SUITE_STARTS="${SUITE_STARTS:-1000}"
        export SUITE_SCRIPTS="${SUITE_SCRIPTS:-200}" SUITE_CLUSTER_ROUNDS="${SUITE_CLUSTER_ROUNDS:-20}"
        export SUITE_CLUSTER_HISTORY="${SUITE_CLUSTER_HISTORY:-60}" SUITE_SLOW="${SUITE_SLOW:-30}" SUITE_FAULTS="${SUITE_FAULTS:-50}"
        export SUITE_SOAK="${SUITE_SOAK:-300}" SUITE_PAUSES="${SUITE_PAUSES:-10}" SUITE_WATCHERS="${SUITE_WATCHERS:-500}"
        export SUITE_WATCHED="${SUITE_WATCHED:-10000}" SUITE_FULL="${SUITE_FULL:-20}" SUITE_SNAPSHOTS="${SUITE_SNAPSHOTS:-10}"
        export SUITE_OVERLOAD="${SUITE_OVERLOAD:-60}" SUITE_CROWD="${SUITE_CROWD:-50000}"
        export SUITE_DRIBBLERS="${SUITE_DRIBBLERS:-750}" SUITE_DAMAGES="${SUITE_DAMAGES:-5000}" SUITE_HELICAL="${SUITE_HELICAL:-10}"
        export SUITE_MIRROR_KEYS="${SUITE_MIRROR_KEYS:-100000}" MUTANT_SEEDS="${MUTANT_SEEDS:-1000}"
        export FUZZ_SECONDS="${FUZZ_SECONDS:-60}"
        export NEXTEST_PROFILE=full
    fi
    install_packages
    check_programs
    if [ -z "${UETCD_BIN:-}" ]; then
        cargo build --release --bin uetcd
        UETCD_BIN="$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/uetcd"
        export UETCD_BIN
    fi
    [ -x "$UETCD_BIN" ] || { echo "$UETCD_BIN is not a program" >&2; exit 1; }
    cargo nextest run --workspace "$@"
    # With rules left out, so with other builds of `shard` and `log`: nothing else may share a build with those. The whole workspace
    # is named so that its dependencies are the same, and are not built again.
    [ $# -gt 0 ] || cargo nextest run --workspace --features simulate/mutants --test mutants
    cargo test --workspace --doc
}

main "$@"
