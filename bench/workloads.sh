# What the measurements share; to be sourced. Makes the folder $work, for `wrk` the scripts put.lua and get.lua in it, and ends the
# processes in `pids` when the script ends.

work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill -CONT "$pid" 2>/dev/null; kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done || true
    rm -rf "$work"
}
trap finish EXIT

port() { # a free port
    local port
    while port=$((20000 + RANDOM % 10000)); do ss -Hltn "sport = :$port" | grep -q . || { echo "$port"; return; }; done
}

cat >"$work/put.lua" <<'LUA'
local n, value = 0, string.rep("v", 64)
local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
request = function() n = n + 1; return wrk.format("PUT", "/v2/keys/d"..(n % 64).."/k"..(n % 1000), headers, "value="..value) end
LUA
cat >"$work/get.lua" <<'LUA'
local n = 0
request = function() n = n + 1; return wrk.format("GET", "/v2/keys/d"..(n % 64).."/k"..(n % 1000)) end
LUA
