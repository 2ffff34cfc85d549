//! A backup: the state of all shards of a node at one index, as one file or stream.
//!
//! It has the form of a snapshot file (`log/src/snapshot.rs`): chunks with checksums, and a trailer without which it is not
//! whole. The head says group 65535, which no shard has, and the index for a position. Its chunks in a row are
//!
//! ```text
//! | length | who and what, as JSON | length | chunk of shard 0 | … | 0 | length | chunk of shard 1 | … | 0 |
//! ```
//! Lengths are 8 bytes, little endian; 0 ends a shard.

use std::path::Path;

use log::{GroupId, Position, SnapshotEncoder, SnapshotError, SnapshotHead, visit_snapshot};
use serde::{Deserialize, Serialize};
use shard::history::HistoryLimits;
use shard::ids::Index;
use shard::snapshot::Restore;
use shard::store::Store;

use crate::core::{Unframer, pieces};

/// The group in the head of a backup.
const NO_SHARD: GroupId = GroupId::new(u16::MAX);

/// Version of what the chunks say. A reader refuses any other.
const FORMAT: u32 = 1;

/// Who and what it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    format: u32,
    /// The version of uetcd that made it.
    version: String,
    /// The cluster, in hex.
    pub(crate) cluster: String,
    /// The member that made it, in hex.
    pub(crate) member: String,
    /// How many shards it holds.
    pub(crate) shards: u16,
    /// Everything up to here is in it, and nothing beyond.
    pub(crate) index: u64,
}

impl About {
    pub(crate) fn new(cluster: String, member: u64, shards: u16, at: Index) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, version, cluster, member: format!("{member:x}"), shards, index: at.0 }
    }
}

/// The bytes of a backup, in the order in which they are written.
pub(crate) struct Encoder(SnapshotEncoder);

impl Encoder {
    /// Appends the begin to `out`.
    pub(crate) fn new(about: &About, out: &mut Vec<u8>) -> Self {
        let position = Position { index: log::RaftIndex::new(about.index), term: 0 };
        let mut encoder = Self(SnapshotEncoder::new(SnapshotHead { group: NO_SHARD, position }, out));
        // Strings and numbers only: this can not fail.
        encoder.chunk(&serde_json::to_vec(about).unwrap_or_default(), out);
        encoder
    }

    /// Appends a chunk of the shard whose turn it is.
    pub(crate) fn chunk(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for piece in pieces(chunk) {
            self.0.chunk(&piece, out);
        }
    }

    /// The shard is whole: the next one follows, or the end.
    pub(crate) fn end_shard(&mut self, out: &mut Vec<u8>) {
        self.chunk(&[], out);
    }

    /// Appends the end.
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        self.0.finish(out);
    }
}

/// Reads a whole backup; the state of every shard, in order, is handed to `take`. Blocks. What is wrong with it, in a line
/// without the file's name, may be found when some have been.
pub(crate) fn read(
    file: &Path,
    limits: HistoryLimits,
    take: &mut dyn FnMut(u16, Store) -> Result<(), String>,
) -> Result<About, String> {
    let mut reading =
        Reading { limits, take, unframer: Unframer::default(), about: None, restore: Restore::new(limits), shard: 0 };
    let mut fault = None;
    let head = visit_snapshot(file, &mut |piece| {
        if fault.is_none() {
            fault = reading.piece(piece).err();
        }
    });
    match head {
        Err(SnapshotError::Damaged { offset, what, .. }) => Err(format!("damaged at offset {offset}: {what}")),
        Err(SnapshotError::UnknownVersion { found, .. }) => Err(format!("its format has version {found}")),
        Err(SnapshotError::Io { source, .. }) => Err(crate::config::go_reason(&source)),
        Ok(head) if head.group != NO_SHARD => Err("it is a snapshot of one shard".to_owned()),
        Ok(_) => fault.map_or_else(|| reading.finish(), Err),
    }
}

struct Reading<'a> {
    limits: HistoryLimits,
    take: &'a mut dyn FnMut(u16, Store) -> Result<(), String>,
    unframer: Unframer,
    about: Option<About>,
    /// Of the shard whose turn it is.
    restore: Restore,
    shard: u16,
}

impl Reading<'_> {
    fn piece(&mut self, piece: &[u8]) -> Result<(), String> {
        let mut unframer = std::mem::take(&mut self.unframer);
        unframer.push(piece);
        while let Some(chunk) = unframer.take() {
            self.chunk(chunk)?;
        }
        self.unframer = unframer;
        Ok(())
    }

    fn chunk(&mut self, chunk: &[u8]) -> Result<(), String> {
        if self.about.is_none() {
            let about: About = serde_json::from_slice(chunk).map_err(|error| error.to_string())?;
            if about.format != FORMAT {
                return Err(format!("its format has version {}, this build reads {FORMAT}", about.format));
            }
            self.about = Some(about);
            return Ok(());
        }
        if !chunk.is_empty() {
            return self.restore.push(chunk).map_err(|error| error.to_string());
        }
        let restore = std::mem::replace(&mut self.restore, Restore::new(self.limits));
        let store = restore.finish().map_err(|error| error.to_string())?;
        (self.take)(self.shard, store)?;
        self.shard = self.shard.checked_add(1).ok_or("it has too many shards")?;
        Ok(())
    }

    fn finish(self) -> Result<About, String> {
        let whole = self.about.filter(|about| about.shards == self.shard && self.unframer.is_empty());
        whole.ok_or_else(|| "it ends too early".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use shard::command::CommandRef;

    use super::*;

    fn backup(shards: u16, of: u16) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&About::new("c".to_owned(), 10, of, Index(9)), &mut out);
        for shard in 0..shards {
            let mut store = Store::default();
            let value = vec![b'v'; 300 << 10];
            let path = format!("/{shard}").into_bytes();
            let set = CommandRef::Set { path: &path, value: &value, dir: false, ttl: None, refresh: false };
            store.apply(Index(u64::from(shard) + 1), 1, &set).expect("set");
            for chunk in store.snapshot() {
                encoder.chunk(&chunk, &mut out);
            }
            encoder.end_shard(&mut out);
        }
        encoder.finish(&mut out);
        out
    }

    fn read_back(bytes: &[u8]) -> Result<(About, Vec<(u16, u64)>), String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("written");
        let mut stores = Vec::new();
        let about = read(file.path(), HistoryLimits::default(), &mut |shard, store| {
            assert!(store.get(format!("/{shard}").as_bytes()).is_ok());
            stores.push((shard, store.applied().0));
            Ok(())
        })?;
        Ok((about, stores))
    }

    #[test]
    fn a_backup_reads_back_shard_by_shard() {
        let (about, stores) = read_back(&backup(3, 3)).expect("whole");
        assert_eq!((about.member.as_str(), about.shards, about.index), ("a", 3, 9));
        assert_eq!(stores, [(0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn what_is_not_whole_is_refused_with_the_reason() {
        let good = backup(2, 2);
        let mut flipped = good.clone();
        flipped[400_000] ^= 1;
        let one_shard = {
            let (mut out, position) = (Vec::new(), Position { index: log::RaftIndex::new(1), term: 1 });
            SnapshotEncoder::new(SnapshotHead { group: GroupId::new(3), position }, &mut out).finish(&mut out);
            out
        };
        for (name, bytes, want) in [
            ("nothing", &[][..], "damaged at offset 0: its head"),
            ("something else", b"#!/bin/sh\n", "damaged at offset 0: its head"),
            ("cut in the middle", &good[..500_000], "damaged at offset "),
            ("without its trailer", &good[..good.len() - 4096], "damaged at offset "),
            ("flipped", &flipped, "damaged at offset "),
            ("a shard is missing", &backup(1, 2), "it ends too early"),
            ("a snapshot", &one_shard, "it is a snapshot of one shard"),
        ] {
            let fault = read_back(bytes).expect_err(name);
            assert!(fault.starts_with(want), "{name}: {fault}");
        }
    }
}
