//! Whatever bytes come from the network or a disk: one function per parser, which takes any bytes and panics if a property
//! does not hold. The same functions are run on a corpus and on mutations of it by a test of every commit, for as long as
//! one likes by the program `fuzz`, and with coverage as a guide by `ops/fuzz/guided.sh`.
//!
//! Checksums would keep mutations from getting any further than to them. So the formats that have some are looked at as the
//! bytes are, and once more with every checksum made good.

#![allow(
    clippy::duplicate_mod,
    reason = "what answers of discovery services go through is private to the configuration"
)]

mod archive;
mod discovery;
mod flags;
mod keys;
mod peer;
mod request;
mod segment;
mod snapshot;

// The server is a program and no library: what it reads its configuration with is compiled here once more.
#[path = "../../../server/src/config/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    rustdoc::broken_intra_doc_links,
    reason = "the server uses more of its files than is looked at here"
)]
mod config;
#[path = "../../../server/src"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    rustdoc::broken_intra_doc_links,
    reason = "as of the configuration, which uses them"
)]
mod server {
    pub(crate) mod core {
        pub(crate) mod ticket;
    }
    pub(crate) mod identity;
    pub(crate) mod logging;
}
// The server's files know each other by these names.
use server::{core, identity, logging};

mod memory;
mod mutate;
mod run;
mod seeds;

use shard::history::HistoryLimits;
use shard::store::Store;

pub use memory::Counting;
pub use run::{Budget, Done, fuzz, inputs_in};

/// One parser.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// What has to hold for any bytes.
    check: fn(&[u8]),
    /// Inputs that are made rather than kept: the begin of the corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What its inputs are made of.
    pub words: &'static [&'static [u8]],
    /// Bytes of memory that it may take whatever the input is: buffers of a fixed size.
    pub memory_bytes: usize,
    /// Bytes of memory that it may take per byte of its input.
    pub memory_per_byte: usize,
}

impl Target {
    /// Looks at one input; panics if it is not dealt with as it should be.
    pub fn check(&self, input: &[u8]) {
        (self.check)(input);
        // What states leave in memory is freed in turns, as there are none here.
        while Store::new(HistoryLimits::default()).tidy(usize::MAX) {}
    }
}

/// Bytes of memory that a parser may take per byte of its input.
pub const MEMORY_PER_BYTE: usize = 64;

/// The same where YAML is read: its library makes a token of each punctuation mark. The file is the operator's own.
const YAML_MEMORY_PER_BYTE: usize = 256;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "request",
        check: request::check,
        seeds: seeds::requests,
        words: request::WORDS,
        memory_bytes: 256 << 10,
        memory_per_byte: MEMORY_PER_BYTE,
    },
    Target {
        name: "keys",
        check: keys::check,
        seeds: seeds::keys,
        words: keys::WORDS,
        memory_bytes: 64 << 10,
        memory_per_byte: MEMORY_PER_BYTE,
    },
    // A frame's payload has room made for up to 1 MiB before it has come; two decoders run.
    Target {
        name: "peer",
        check: peer::check,
        seeds: seeds::frames,
        words: &[],
        memory_bytes: 8 << 20,
        memory_per_byte: MEMORY_PER_BYTE,
    },
    Target {
        name: "archive",
        check: archive::check,
        seeds: seeds::batches,
        words: &[],
        memory_bytes: 1 << 20,
        memory_per_byte: MEMORY_PER_BYTE,
    },
    Target {
        name: "segment",
        check: segment::check,
        seeds: seeds::segments,
        words: &[],
        memory_bytes: 1 << 20,
        memory_per_byte: MEMORY_PER_BYTE,
    },
    // Read in steps of 2 MiB.
    Target {
        name: "snapshot",
        check: snapshot::check,
        seeds: seeds::snapshots,
        words: &[],
        memory_bytes: 16 << 20,
        memory_per_byte: MEMORY_PER_BYTE,
    },
    Target {
        name: "discovery",
        check: discovery::check,
        seeds: seeds::replies,
        words: discovery::WORDS,
        memory_bytes: 256 << 10,
        memory_per_byte: MEMORY_PER_BYTE,
    },
    // A table of all flags, for every command line.
    Target {
        name: "flags",
        check: flags::check,
        seeds: seeds::flags,
        words: flags::WORDS,
        memory_bytes: 256 << 10,
        memory_per_byte: YAML_MEMORY_PER_BYTE,
    },
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
