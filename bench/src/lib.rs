//! Benchmarks of the hot paths live in `benches/`. `compare` measures `uetcd`, etcd and others in turn on the same core (the program is
//! in `src/bin/compare/`), `loadgen.sh` the load generator and `wrk` against the bare responder of `src/bin/`, `compare_cluster.sh` whole
//! clusters.
