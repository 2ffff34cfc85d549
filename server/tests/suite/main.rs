//! Black-box tests of the `uetcd` binary over HTTP, from the outside, as a client or an operator sees it.
//!
//! Every test starts its own server on free loopback ports and ends it by pid. The server under test is `uetcd`, or, with `SUITE_SERVER=etcd`,
//! Debian's etcd 3.4: that is how the tests themselves are proven. Where the two differ on purpose the test names the entry of
//! `docs/differences.md`; tests of what only `uetcd` has say so and end early against etcd.
//!
//! Knobs (environment): `UETCD_BIN` another binary, `SUITE_SEEDS` seeds of the differential test, `SUITE_KILL_ROUNDS` rounds of kill -9,
//! `SUITE_FAULTS` failures of a disk and power cuts, `SUITE_STARTS` starts of the start-up test, `SUITE_RESTARTS` restarts of the footprint's.
//! Volumes: `SUITE_REPLAY_EVENTS`, `SUITE_LARGE_WRITERS`, `SUITE_BURST` and `SUITE_MASS` (keys that expire at once), `SUITE_CROWD` (lifetimes at a
//! time) and `SUITE_LATE_MS` (how late one of them may end), `SUITE_MEMORY_KEYS`, `SUITE_WRITES`, `SUITE_FULL` (how often a disk is full),
//! `SUITE_SNAPSHOTS` (rounds of damage to snapshots), `SUITE_STUCK` and `SUITE_OVERLOAD` (watchers that do not read, and seconds of an overload
//! beside them), `SUITE_DRIBBLERS` (clients that dribble) and `SUITE_HELD_UP` (what they may cost others).

mod harness;

mod backup;
mod bodies;
mod bootstrap;
mod clients;
mod cluster;
mod differential;
mod discovery;
mod disk;
mod durability;
mod endpoints;
mod etcdctl;
mod failing_disk;
mod fairness;
mod flags;
mod footprint;
mod framing;
mod full_disk_starts;
mod hostile;
mod large;
mod lost_logs;
mod mass_expiry;
mod memory;
mod order;
mod overload;
mod pipelines;
mod proxy;
mod replay;
mod request_memory;
mod restart_index;
mod scrub;
mod snapshots;
mod starts;
mod stopping;
mod surroundings;
mod transcript;
mod ttl;
mod ttl_restarts;
mod watch;
mod watch_limits;
