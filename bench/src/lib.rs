//! Benchmarks live in `benches/`; `compare.sh` beside them measures `uetcd` and etcd in turn on the same core.
