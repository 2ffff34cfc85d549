//! A whole cluster in one seeded simulation: the real shards, raft groups, regimes and one-order atomics of every node,
//! on simulated disks and a simulated network. Every step touches one core of one node, so cores learn of things at
//! different times. After every step the invariants of the one order are checked; after the faults, the cluster has to
//! come to rest.
//!
//! `SIM_SEEDS` says how many seeds to run, `SIM_FIRST` where to begin, `SIM_SEED` runs a single one.

mod act;
mod bugs;
mod core;
mod disk;
mod network;
mod node;
mod plan;
mod seeds;
mod settle;
mod truth;
mod watcher;
mod world;
