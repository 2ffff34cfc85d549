#!/usr/bin/env bash
# Runs real clients of etcd's v2 API against uetcd and against Debian's etcd, and compares what they saw. What differs must be declared in
# ops/clients/expected.txt. Installs what is missing; services that come with the packages are not started.
#
#   ops/clients.sh                 all of them; Patroni needs root, and takes three minutes with each server
#   ops/clients.sh python go       some: python (python-etcd), go (Go's v2 client), node (node-etcd), patroni, discovery (etcd-discovery)
#
# UETCD_BIN names the server under test; without it a release build is made. KEEP=1 keeps the data and the logs of the servers.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ALL=(python go node patroni discovery)
readonly BUILT=$PWD/target/clients
readonly POLICY=/usr/sbin/policy-rc.d

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Whether what this client needs is there.
is_there() {
    case $1 in
        etcd) command -v etcd ;;
        python) /usr/bin/python3 -c 'import etcd' ;;
        go) command -v go && [ -d /usr/share/gocode/src/go.etcd.io/etcd/client ] ;;
        node) command -v node && command -v npm ;;
        patroni) [ -x /usr/bin/patroni ] && [ -d /usr/lib/postgresql ] && command -v ps ;;
        discovery) command -v discovery.etcd.io ;;
    esac >/dev/null 2>&1
}

packages_of() {
    case $1 in
        etcd) echo etcd-server ;;
        python) echo python3-etcd ;;
        go) echo golang-go golang-etcd-server-dev ;;
        node) echo nodejs npm ;;
        patroni) echo patroni postgresql procps ;;
        discovery) echo etcd-discovery ;;
    esac
}

install_missing() {
    local missing=() client
    for client in "$@"; do
        # shellcheck disable=SC2207  # names of packages have no blanks
        is_there "$client" || missing+=($(packages_of "$client"))
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing: ${missing[*]}"
    (install_packages "${missing[@]}")
    for client in "$@"; do
        is_there "$client" || { echo "$client is still missing: $(packages_of "$client")" >&2; exit 1; }
    done
}

# In a shell of its own: the packages would start an etcd, a PostgreSQL and a Patroni, which a policy forbids until that shell ends. A machine
# that has a policy keeps it.
install_packages() {
    if [ ! -e "$POLICY" ]; then
        trap 'as_root rm -f "$POLICY"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$POLICY"
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq "$@"
}

compare() {
    /usr/bin/python3 ops/clients/compare.py "$@" --tested "$UETCD_BIN" --reference 'etcd --enable-v2'
}

compare_python() {
    local script failed=0
    for script in python_etcd_one python_etcd_locks python_etcd_three python_etcd_stop; do
        compare "$script" || failed=1
    done
    return $failed
}

compare_go() {
    (cd ops/clients/go && GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$BUILT/go_client" .) || return
    GO_CLIENT="$BUILT/go_client" compare go_client
}

compare_node() {
    if [ ! -d "$BUILT/node_modules/node-etcd" ]; then
        npm install --silent --no-fund --no-audit --prefix "$BUILT" node-etcd@7.0.0 || return
    fi
    NODE_PATH="$BUILT/node_modules" compare node_etcd
}

compare_patroni() {
    # What is asserted is about time, and two PostgreSQL at a time are enough for a small machine.
    compare patroni_ha --in-turn
}

compare_discovery() {
    compare discovery
}

main() {
    [ $# -gt 0 ] || set -- "${ALL[@]}"
    local client failed=()
    for client in "$@"; do
        [[ " ${ALL[*]} " == *" $client "* ]] || { echo "$client: say some of ${ALL[*]}" >&2; exit 1; }
    done
    install_missing etcd "$@"
    if [ -z "${UETCD_BIN:-}" ]; then
        cargo build --release --bin uetcd
        UETCD_BIN="$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/uetcd"
    fi
    [ -x "$UETCD_BIN" ] || { echo "$UETCD_BIN is not a program" >&2; exit 1; }
    mkdir -p "$BUILT"
    for client in "$@"; do
        "compare_$client" || failed+=("$client")
    done
    [ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
}

main "$@"
