//! Snapshot files of one core's shards, written in the real format by the same calls as the server and the log make.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use log::{
    GroupId, SNAPSHOT_CHUNK_MAX, SnapshotEncoder, SnapshotHead, list_snapshots_on, snapshot_file_name,
    visit_snapshot_on,
};
use shard::ids::{RaftIndex, ShardId, Term};

use crate::disk::{Call, Fault, SimDisk};
use crate::store::position;

/// Where the snapshots of all shards are.
pub(crate) const SNAPSHOTS: &str = "/snap";

/// What a snapshot's name ends in while it is written.
const TEMPORARY: &str = ".tmp";

/// Where a snapshot ends.
pub(crate) type Upto = (RaftIndex, Term);

/// A snapshot file in the making.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) shard: ShardId,
    pub(crate) upto: Upto,
    pub(crate) path: PathBuf,
    pub(crate) is_copy: bool,
    /// It will not be whole: what is there of it goes.
    pub(crate) is_given_up: bool,
    calls: VecDeque<Call>,
}

impl Writing {
    /// Begins to write a shard's state. If there is a file of the same position, this becomes its copy.
    pub(crate) fn begin(disk: &SimDisk, shard: ShardId, upto: Upto, chunks: impl Iterator<Item = Vec<u8>>) -> Self {
        let (group, position) = (GroupId::new(shard.0), position(upto));
        let name = |copy| snapshot_file_name(group, position.index, copy);
        let is_copy = disk.exists(&Path::new(SNAPSHOTS).join(name(false)));
        let path = Path::new(SNAPSHOTS).join(name(is_copy));
        let temporary = PathBuf::from(format!("{}{TEMPORARY}", path.display()));
        let mut bytes = Vec::new();
        let mut encoder = SnapshotEncoder::new(SnapshotHead { group, position }, &mut bytes);
        for chunk in chunks {
            let framed = [&(chunk.len() as u64).to_le_bytes()[..], &chunk].concat();
            framed.chunks(SNAPSHOT_CHUNK_MAX).for_each(|piece| encoder.chunk(piece, &mut bytes));
        }
        encoder.finish(&mut bytes);
        let calls = VecDeque::from([
            Call::Make(temporary.clone(), bytes),
            Call::Sync(temporary.clone()),
            Call::Rename(temporary, path.clone()),
            Call::SyncDir,
        ]);
        Self { shard, upto, path, is_copy, is_given_up: false, calls }
    }

    /// What it is made of has not come to its end: none of that comes any more.
    pub(crate) fn give_up(&mut self) {
        if let Some(Call::Make(temporary, _) | Call::Sync(temporary)) = self.calls.front() {
            self.calls = VecDeque::from([Call::Remove(temporary.clone())]);
            self.is_given_up = true;
        }
    }

    /// The next call. True: it was the last one, and the snapshot is durable.
    pub(crate) fn step(&mut self, disk: &mut SimDisk) -> Result<bool, Fault> {
        if let Some(call) = self.calls.pop_front() {
            disk.call(&call)?;
        }
        Ok(self.calls.is_empty())
    }
}

/// Removes a shard's snapshots but the newest `keep`, and what was not finished.
pub(crate) fn prune(disk: &SimDisk, shard: ShardId, keep: usize) -> VecDeque<Call> {
    let files = list_snapshots_on(disk, Path::new(SNAPSHOTS)).unwrap_or_default();
    let older = files.into_iter().filter(|file| file.group.get() == shard.0).skip(keep).map(|file| file.path);
    let unfinished = unfinished(disk).filter(|path| is_of(path, shard));
    let mut calls: VecDeque<Call> = older.chain(unfinished).map(Call::Remove).collect();
    if !calls.is_empty() {
        calls.push_back(Call::SyncDir);
    }
    calls
}

fn is_of(path: &Path, shard: ShardId) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{shard}-")))
}

/// Sets a damaged one aside.
pub(crate) fn set_aside(path: PathBuf) -> Call {
    let aside = PathBuf::from(format!("{}.broken", path.display()));
    Call::Rename(path, aside)
}

/// What writers left behind when they were cut off.
pub(crate) fn unfinished(disk: &SimDisk) -> impl Iterator<Item = PathBuf> + use<> {
    let names = log::Disk::names(disk, Path::new(SNAPSHOTS)).unwrap_or_default();
    names.into_iter().filter(|name| name.ends_with(TEMPORARY)).map(|name| Path::new(SNAPSHOTS).join(name))
}

/// What a start finds of one shard's snapshots.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The newest that reads well.
    pub(crate) newest: Option<(Upto, Vec<Vec<u8>>)>,
    /// Where those before it end. Nobody has read them.
    pub(crate) older: Vec<Upto>,
    /// The first of these, which is to be read soon.
    pub(crate) unread: Option<Unread>,
    pub(crate) damaged: Vec<(PathBuf, RaftIndex)>,
}

/// A snapshot that counts and that the start has not read.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) shard: ShardId,
    pub(crate) path: PathBuf,
    pub(crate) upto: RaftIndex,
}

impl Unread {
    /// As the server's `scrub.rs` does. False: it is there, and damaged.
    pub(crate) fn is_good(&self, disk: &SimDisk) -> bool {
        !disk.exists(&self.path) || visit_snapshot_on(disk, &self.path, &mut |_| {}).is_ok()
    }
}

/// Reads the newest readable snapshot of each shard, as the server's `recovery.rs` does.
pub(crate) fn load(disk: &SimDisk, shards: u16) -> Vec<Found> {
    let mut found: Vec<Found> = (0..shards).map(|_| Found::default()).collect();
    for file in list_snapshots_on(disk, Path::new(SNAPSHOTS)).unwrap_or_default() {
        let of_shard = &mut found[usize::from(file.group.get())];
        let index = RaftIndex(file.index.get());
        if of_shard.newest.is_some() {
            let shard = ShardId(file.group.get());
            of_shard.unread.get_or_insert(Unread { shard, path: file.path, upto: index });
            of_shard.older.push((index, Term::default()));
            continue;
        }
        let mut bytes = Vec::new();
        match visit_snapshot_on(disk, &file.path, &mut |piece| bytes.extend_from_slice(piece)) {
            Ok(head) => of_shard.newest = Some(((index, Term(head.position.term)), chunks_of(&bytes))),
            Err(_) => of_shard.damaged.push((file.path, index)),
        }
    }
    found
}

/// The chunks, each behind its length.
fn chunks_of(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (chunk, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
        chunks.push(chunk.to_vec());
        bytes = rest;
    }
    chunks
}

/// What one shard's snapshots cover, as the server's `core/snapshot.rs` keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seat {
    pub(crate) newest: Option<Upto>,
    pub(crate) previous: Option<Upto>,
    /// The log must not be needed up to here.
    outgrown: RaftIndex,
    given_up: RaftIndex,
}

impl Seat {
    /// Of a shard whose snapshots end there, newest first.
    pub(crate) fn new(mut on_disk: impl Iterator<Item = Upto>, lost: Option<RaftIndex>) -> Self {
        let (newest, previous) = (on_disk.next(), on_disk.next());
        Self { newest, previous, outgrown: lost.unwrap_or_default(), given_up: RaftIndex::default() }
    }

    /// An own one is durable. False if it is of no use: a newer state was received meanwhile.
    pub(crate) fn saved(&mut self, upto: Upto) -> bool {
        if self.newest.is_some_and(|newest| newest.0 > upto.0) {
            return false;
        }
        self.previous = self.newest.replace(upto);
        true
    }

    /// A received one has taken the place of the log.
    pub(crate) fn restart(&mut self, upto: Upto) {
        *self = Self { newest: Some(upto), ..Self::default() };
    }

    /// The log was told that it may forget what the one before the newest covers.
    pub(crate) fn give_up(&mut self) -> Option<RaftIndex> {
        let previous = self.previous?.0;
        self.given_up = previous;
        Some(previous)
    }

    /// The one that ends there is no more. If it was one of the newest two, there will be two again.
    pub(crate) fn lost(&mut self, index: RaftIndex) {
        let is_lost = |upto: Option<Upto>| upto.is_some_and(|upto| upto.0 == index);
        if is_lost(self.previous) {
            self.previous = None;
        } else if is_lost(self.newest) {
            self.newest = self.previous.take();
        } else {
            return;
        }
        self.outgrown = self.outgrown.max(index);
    }

    /// Another snapshot brings the shard nearer to doing without what has rotted.
    pub(crate) fn must_outgrow(&self, applied: RaftIndex, last: RaftIndex) -> bool {
        let wanted = self.outgrown.min(last);
        applied >= wanted && self.previous.map_or(RaftIndex::default(), |upto| upto.0) < wanted
    }

    /// Another snapshot lets the log be done without up to `upto`.
    pub(crate) fn frees(&self, upto: RaftIndex, applied: RaftIndex) -> bool {
        self.given_up < upto && upto <= applied
    }
}
