//! Black-box tests of `uetcdctl`: beside Debian's `etcdctl`, and on its own.
//!
//! What both have is compared byte for byte: `parity` runs tables of command lines. A line whose answers differ on purpose names the entry of
//! `docs/differences.md` that says so. Servers are real etcd 3.4 with `--enable-v2`, and `uetcd` (`UETCD_BIN`) where only that will do.

mod dns;
mod harness;

mod mirror;
mod own;
mod parity;
mod tls;
mod walkthrough;
