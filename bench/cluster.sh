# A cluster of three members of uetcd for the measurements in this folder; to be sourced after workloads.sh, with $uetcd the program and
# $cpus the number of CPUs. Members have one executor each, spread over the CPUs.

declare -A client peer
for n in 1 2 3; do client[$n]=$(port) peer[$n]=$(port); done
initial="m1=http://127.0.0.1:${peer[1]},m2=http://127.0.0.1:${peer[2]},m3=http://127.0.0.1:${peer[3]}"

launch() { # member
    mkdir -p "$work/m$1"
    (cd "$work/m$1" && exec "$uetcd" --cores "$(($1 % cpus))-$(($1 % cpus))" --name "m$1" --data-dir data --initial-cluster "$initial" \
        --listen-client-urls "http://127.0.0.1:${client[$1]}" --advertise-client-urls "http://127.0.0.1:${client[$1]}" \
        --listen-peer-urls "http://127.0.0.1:${peer[$1]}" --initial-advertise-peer-urls "http://127.0.0.1:${peer[$1]}" >>log 2>&1) &
    pids[$1]=$!
}
serves() { # member: waits until it takes part
    for _ in $(seq 400); do curl -sf -m 2 "http://127.0.0.1:${client[$1]}/v2/keys/?quorum=true" >/dev/null && return; sleep 0.05; done
    echo "member $1 does not answer:" >&2; tail "$work/m$1/log" >&2; exit 1
}
primary() { # the number of the member that leads
    local n
    for _ in $(seq 200); do
        for n in 1 2 3; do curl -sf -m 1 "http://127.0.0.1:${client[$n]}/v2/stats/self" | grep -q StateLeader && { echo "$n"; return; }; done
        sleep 0.05
    done
    echo "there is no leader" >&2; exit 1
}
