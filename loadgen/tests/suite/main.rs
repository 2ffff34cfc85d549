//! Black-box tests of `uetcd-loadgen`: against `uetcd` (`UETCD_BIN`) and real etcd, and against servers that answer wrongly.

mod harness;

mod answers;
mod open_loop;
mod outputs;
mod workloads;
