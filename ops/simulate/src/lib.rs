//! Whole clusters in one process: the real shards, raft groups, regimes and one-order atomics of every node over the real
//! log and snapshot format on a simulated disk, with a simulated network and clock. One seed is one run, byte for byte.
//!
//! A run has four phases: faults, healing, rest within a bounded time, and checks of what clients were told. The invariants
//! of `docs/one-order.md` are checked after every step. See `docs/simulation.md`.

mod counts;
mod plan;
mod trace;

mod disk;
mod files;
mod snapshots;
mod store;

mod boot;
mod core;
mod network;
mod node;

mod act;
mod faults;
mod load;
mod membership;
mod settle;
mod world;

mod checkers;

mod every_call;
mod run;
mod shrink;

#[cfg(feature = "mutants")]
mod hunt;

pub use counts::{Counts, Happened, Tally};
pub use every_call::{Cuts, every_call};
pub use plan::Plan;
pub use run::{Failure, Outcome, run};
pub use shrink::shrink;

#[cfg(feature = "mutants")]
pub use hunt::{Found, Hunt};
