//! Meaning, without I/O: what one shard of the keyspace does with the commands of its log.
//!
//! `shard` decides, others act. Inputs and time come in as values, effects go out as values; there is no clock, no
//! randomness and no executor here, so a whole cluster runs inside one deterministic simulation. A [`store::Store`]
//! is the state that all replicas of a shard share: same commands in, same state and same events out.
//! It promises etcd 2.3's v2 semantics for the part of the tree that [`route`] gives it. It does not know which index
//! may be shown, who leads, or what an answer looks like on the wire.
//!
//! `mutant::is(…)` is `false` in every build but the simulation's, which leaves out rules to see that it notices.

// What goes in and comes out.
pub mod command;
pub mod error;
pub mod event;
pub mod ids;
pub mod path;
pub mod refusal;
pub mod route;

// The state of a shard, and showing it.
mod hash;
pub mod history;
mod memory;
pub mod snapshot;
pub mod stats;
pub mod store;
pub mod system;
mod tree;
pub mod ttl;
pub mod view;
pub mod watch;

// Many shards, one order; and the shard around the state.
pub mod group;
pub mod membership;
pub mod order;
pub mod random;
pub mod regime;
pub mod remains;
pub mod shard;
