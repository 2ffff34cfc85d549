//! What is on the disk, read back before anything is served: snapshots, logs, and what each executor starts from.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use log::{
    BegunLogs, GroupId, GroupLog, OsDisk, Position, RecoveryError, Resume, SnapshotError, SnapshotFile, SnapshotHead,
    list_snapshots, read_snapshot, recover, set_aside, tidy_snapshots,
};
use shard::group::LogEntry;
use shard::history::HistoryLimits;
use shard::ids::{RaftIndex, Term};
use shard::shard::validate;
use shard::snapshot::Restore;
use shard::store::Store;

use crate::birth::Birth;
use crate::config::Config;
use crate::core::Unframer;
use crate::failure::Fatal;

/// What one shard starts from.
#[derive(Debug)]
pub(crate) struct ShardSeed {
    /// Its number, and that of its group.
    pub(crate) shard: u16,
    /// The pieces of its newest readable snapshot; none: it starts empty.
    pub(crate) snapshot: Option<Vec<Bytes>>,
    /// Positions of its snapshots on the disk, the one that it starts from first.
    pub(crate) snapshots: Vec<(RaftIndex, Term)>,
    /// Where its newest damaged snapshot ended.
    pub(crate) lost: Option<RaftIndex>,
    /// The log above it.
    pub(crate) log: GroupLog,
}

impl ShardSeed {
    /// The term in which its group starts.
    fn term(&self) -> u64 {
        let voted = self.log.hard_state.map_or(0, |state| state.term);
        let snapshot = self.snapshots.first().map_or(0, |(_, term)| term.0);
        let entry = self.log.entries.last().map_or(0, |entry| entry.term);
        voted.max(snapshot).max(entry)
    }

    /// Takes out the state of its snapshot and the entries of the log above it, checked.
    pub(crate) fn take_state(&mut self, limits: HistoryLimits) -> Result<(Store, Vec<LogEntry>), Fatal> {
        let shard = self.shard;
        let store = match self.snapshot.take() {
            None => Store::new(limits),
            Some(pieces) => restore(shard, pieces, limits)?,
        };
        let mut entries = Vec::with_capacity(self.log.entries.len());
        for entry in self.log.entries.drain(..) {
            let entry = from_log(entry);
            validate(&entry).map_err(|error| unusable(shard, &error))?;
            entries.push(entry);
        }
        Ok((store, entries))
    }
}

/// A shard's state from the pieces of a snapshot of it, each of which is given up when it has been taken in.
pub(crate) fn restore(shard: u16, pieces: Vec<Bytes>, limits: HistoryLimits) -> Result<Store, Fatal> {
    let (mut restore, mut unframer) = (Restore::new(limits), Unframer::default());
    for piece in pieces {
        unframer.push(&piece);
        while let Some(chunk) = unframer.take() {
            restore.push(chunk).map_err(|error| unusable(shard, &error))?;
        }
    }
    if !unframer.is_empty() {
        return Err(unusable(shard, &"its snapshot's chunks do not fit"));
    }
    restore.finish().map_err(|error| unusable(shard, &error))
}

/// An entry as the log keeps it, for a shard.
pub(crate) fn from_log(entry: log::Entry) -> LogEntry {
    LogEntry {
        index: RaftIndex(entry.index.get()),
        term: Term(entry.term),
        conf_change: entry.entry_type != log::EntryType::Normal,
        data: entry.payload,
    }
}

/// Why a shard can not be started from what is on the disk.
pub(crate) fn unusable(shard: u16, what: &dyn Display) -> Fatal {
    Fatal::Other(format!("shard {shard} can not be restored: {what}"))
}

/// How much of the past each shard keeps.
pub(crate) fn history_limits(config: &Config) -> HistoryLimits {
    HistoryLimits { events: config.history_events, bytes: config.history_bytes }
}

/// What the executors start from.
#[derive(Debug)]
pub(crate) struct Found {
    /// Per executor: its shards in order.
    pub(crate) shards: Vec<Vec<ShardSeed>>,
    /// Per executor: how its log goes on.
    pub(crate) resume: Vec<Resume>,
    /// The logs that this start begins.
    pub(crate) begun: BegunLogs,
    /// Snapshots that count and were not read: the one before the newest of each shard. What it covers of the log is given up on the
    /// strength of it, so it is to be read soon; but clients need not wait for that.
    pub(crate) unread: Vec<SnapshotFile>,
}

impl Found {
    /// The highest index that is noted on the disk as visible.
    pub(crate) fn visible(&self) -> u64 {
        self.shards.iter().flatten().filter_map(|seed| seed.log.frontier).map(|noted| noted.visible).max().unwrap_or(0)
    }

    /// Per executor: the sum of its groups' terms.
    pub(crate) fn terms(&self) -> Vec<u64> {
        self.shards.iter().map(|seeds| seeds.iter().map(ShardSeed::term).sum()).collect()
    }
}

/// Why a state could not be read back.
pub(crate) enum Unread {
    /// The log is not what it was.
    Log(RecoveryError),
    /// Anything else.
    Fatal(Fatal),
}

impl From<RecoveryError> for Unread {
    fn from(error: RecoveryError) -> Self {
        Self::Log(error)
    }
}

impl From<Fatal> for Unread {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

impl From<Unread> for Fatal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Log(error) => Self::Other(error.to_string()),
            Unread::Fatal(fatal) => fatal,
        }
    }
}

/// A shard's newest readable snapshot.
struct Loaded {
    position: Position,
    pieces: Vec<Bytes>,
    /// Those before it, which nobody has read.
    older: Vec<SnapshotFile>,
}

/// Reads everything back. Blocks; changes nothing on the disk, but for damaged and unfinished snapshots.
///
/// `noted` are the logs that there must be.
pub(crate) fn read_back(config: &Config, birth: &Birth, noted: Option<BegunLogs>) -> Result<Found, Unread> {
    let begun = Instant::now();
    let (mut snapshots, damaged) = load_snapshots(&config.snapshot_dir(), birth.shards)?;
    let (index, term) = birth.log_start();
    let start = Position { index: log::RaftIndex::new(index.0), term: term.0 };
    let base_of = |loaded: Option<&Loaded>| Some(loaded.map_or(start, |loaded| loaded.position));
    let base = |group: GroupId| base_of(snapshots.get(&group));
    let mut recovered = recover(&OsDisk::default(), &config.log_dir(), birth.log_identity(), &base)?;
    if let Some(noted) = noted {
        noted.check(&config.log_dir(), &recovered)?;
    }
    for file in &damaged {
        put_aside(&file.path);
    }
    if let Err(error) = tidy_snapshots(&config.snapshot_dir()) {
        tracing::warn!(target: "snap", "can not tidy {}: {error}", config.snapshot_dir().display());
    }
    for torn in &recovered.torn {
        tracing::info!(target: "wal", "{torn}");
    }
    let bytes = recovered.bytes;
    let cores = config.cores.len();
    // An executor without shards has nothing to write.
    let logs_begun = BegunLogs { epoch: recovered.epoch, logs: birth.shards.min(cores as u16) };
    let mut shards: Vec<Vec<ShardSeed>> = (0..cores).map(|_| Vec::new()).collect();
    let unread = snapshots.values().filter_map(|loaded| loaded.older.first().cloned()).collect();
    let mut entries = 0;
    for shard in 0..birth.shards {
        let group = GroupId::new(shard);
        // One that was restored from a backup has a snapshot, and no log yet.
        let empty = GroupLog { base: base_of(snapshots.get(&group)), ..GroupLog::default() };
        let log = recovered.groups.remove(&group).unwrap_or(empty);
        entries += log.entries.len();
        let mut seed = seed(shard, log, snapshots.remove(&group));
        let lost = damaged.iter().filter(|file| file.group == group).map(|file| RaftIndex(file.index.get()));
        seed.lost = lost.max();
        shards[usize::from(shard) % cores].push(seed);
    }
    if bytes > 0 {
        let ms = begun.elapsed().as_millis();
        tracing::info!(target: "wal", "read back {entries} entries from {bytes} bytes of log in {ms} ms");
    }
    Ok(Found { shards, resume: recovered.resume(cores as u16), begun: logs_begun, unread })
}

fn seed(shard: u16, log: GroupLog, loaded: Option<Loaded>) -> ShardSeed {
    let Some(Loaded { position, pieces, older }) = loaded else {
        return ShardSeed { shard, snapshot: None, snapshots: Vec::new(), lost: None, log };
    };
    let newest = (RaftIndex(position.index.get()), Term(position.term));
    // Of the older ones only the position counts: the log is kept from there on.
    let older = older.iter().map(|file| (RaftIndex(file.index.get()), Term::default()));
    let snapshots = std::iter::once(newest).chain(older).collect();
    ShardSeed { shard, snapshot: Some(pieces), snapshots, lost: None, log }
}

/// For each shard the newest snapshot that reads well; and the damaged ones that are newer, which are named. Of shards that there are
/// not, nothing is read.
fn load_snapshots(dir: &Path, shards: u16) -> Result<(BTreeMap<GroupId, Loaded>, Vec<SnapshotFile>), Fatal> {
    let mut files = list_snapshots(dir).map_err(|error| {
        Fatal::Other(format!("can not list {}: {error}. Check the owner and mode of the data directory", dir.display()))
    })?;
    files.retain(|file| file.group.get() < shards);
    // Newest first within a group.
    let queue = Mutex::new(files.chunk_by(|a, b| a.group == b.group));
    let found = Mutex::new((BTreeMap::new(), Vec::new()));
    let load = || {
        while let Some(files) = { queue.lock().unwrap_or_else(PoisonError::into_inner).next() } {
            let (loaded, damaged) = load_newest(files);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.0.extend(loaded.map(|loaded| (files[0].group, loaded)));
            found.1.extend(damaged);
        }
    };
    let threads = OsDisk::default().threads().min(files.len());
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(load))));
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The newest of one shard's snapshots that reads well, and the damaged ones that are newer.
fn load_newest(files: &[SnapshotFile]) -> (Option<Loaded>, Vec<SnapshotFile>) {
    let mut damaged = Vec::new();
    for (at, file) in files.iter().enumerate() {
        match read_snapshot(&file.path) {
            Ok((SnapshotHead { position, .. }, pieces)) => {
                let older = files[at + 1..].to_vec();
                return (Some(Loaded { position, pieces, older }), damaged);
            }
            Err(error) => {
                tracing::error!(target: "snap", "{error}");
                damaged.extend(matches!(error, SnapshotError::Damaged { .. }).then(|| file.clone()));
            }
        }
    }
    (None, damaged)
}

/// The state was found without this snapshot: it must not count as one of those that are kept.
fn put_aside(path: &Path) {
    match set_aside(path) {
        Ok(aside) => tracing::warn!(target: "snap", "the damaged snapshot is now {}", aside.display()),
        Err(error) => tracing::warn!(target: "snap", "can not rename {}: {error}", path.display()),
    }
}
