//! Benchmarks live in `benches/`. `compare.sh` beside them measures `uetcd` and etcd in turn on the same core, `loadgen.sh` the
//! load generator and `wrk` against the bare responder of `src/bin/`.
