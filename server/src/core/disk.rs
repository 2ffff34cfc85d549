//! The log of this executor, and whose writes are under way in it.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use log::{
    BatchSeq, CoreId, EntryType, GroupId, HardState, LogError, LogReader, LogWatch, LogWriter, Position, Record, Seen,
    SegmentSeq,
};
use raft::prelude::Message;
use shard::ids::{Index, RaftIndex, ShardId, Term};
use shard::shard::{Write, indices_of};

use crate::failure::Fatal;

/// The log with what the shards wait for.
pub(crate) struct Disk {
    writer: LogWriter,
    watch: LogWatch,
    seen: Seen,
    /// Ready numbers whose records are gathered and not under way.
    gathered: Vec<(ShardId, u64)>,
    /// Per shard, the highest index that is in the log as visible, or gathered for it. The log of a start takes up where the
    /// one before it ended, which may be ahead of what this node shows yet: what it says never goes back.
    noted: BTreeMap<ShardId, Index>,
    /// The highest of them that this process has made durable.
    held: Index,
    /// Messages that must not leave before that is durable.
    held_back: Vec<(ShardId, Message)>,
    under_way: VecDeque<UnderWay>,
}

struct UnderWay {
    seq: BatchSeq,
    begun: Instant,
    noted: Index,
    readies: Vec<(ShardId, u64)>,
    messages: Vec<(ShardId, Message)>,
}

/// One write that has become durable.
pub(super) struct Written {
    /// To be reported to the shards, in order.
    pub(super) readies: Vec<(ShardId, u64)>,
    /// May leave now.
    pub(super) messages: Vec<(ShardId, Message)>,
    /// From its start to its durability.
    pub(super) took: Duration,
}

impl Disk {
    /// A log that was opened for this executor. `noted`: what was found in it as visible, by shard.
    pub(crate) fn new(writer: LogWriter, noted: BTreeMap<ShardId, Index>) -> Self {
        let watch = writer.watch();
        let (gathered, held_back, under_way) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { writer, watch, seen: Seen::default(), gathered, noted, held: Index::ZERO, held_back, under_way }
    }

    /// Gathers what a shard wants to be durable.
    pub(super) fn push(&mut self, write: &Write) {
        let group = group(write.shard);
        if let Some((index, term)) = write.received {
            let position = Position { index: log::RaftIndex::new(index.0), term: term.0 };
            self.writer.push(&Record::SnapshotReceived { group, position });
        }
        for entry in &write.entries {
            let (first, count) = indices_of(entry).unwrap_or_default();
            self.writer.push(&Record::Entry {
                group,
                term: entry.term.0,
                index: log::RaftIndex::new(entry.index.0),
                entry_type: if entry.conf_change { EntryType::ConfChangeV2 } else { EntryType::Normal },
                first: first.0,
                count: count as u32,
                payload: &entry.data,
            });
        }
        if let Some(vote) = write.vote {
            let state = HardState { term: vote.term, vote: vote.vote, commit: log::RaftIndex::new(vote.commit) };
            self.writer.push(&Record::HardState { group, state });
        }
        self.gathered.extend(write.number.map(|number| (write.shard, number)));
    }

    /// Keeps messages until everything pushed so far is durable; gives them back if it is.
    pub(super) fn hold_back(&mut self, messages: impl Iterator<Item = (ShardId, Message)>) -> Vec<(ShardId, Message)> {
        if self.writer.pending_bytes() > 0 {
            self.held_back.extend(messages);
        } else if let Some(last) = self.under_way.back_mut() {
            last.messages.extend(messages);
        } else {
            return messages.collect();
        }
        Vec::new()
    }

    /// Readies with nothing to write are as durable as what was pushed before them: gives back those that are it already.
    pub(super) fn settle(&mut self) -> Vec<(ShardId, u64)> {
        if self.writer.pending_bytes() > 0 {
            return Vec::new();
        }
        let readies = std::mem::take(&mut self.gathered);
        let Some(last) = self.under_way.back_mut() else { return readies };
        last.readies.extend(readies);
        Vec::new()
    }

    /// Notes how far the node may show what it holds, and what its clock reads.
    pub(super) fn push_frontier(&mut self, shard: ShardId, visible: Index, clock: u64) {
        let noted = self.noted.entry(shard).or_default();
        *noted = visible.max(*noted);
        self.writer.push(&Record::Frontier { group: group(shard), visible: noted.0, clock });
    }

    /// The highest index that this process has durably noted as visible.
    pub(super) fn held(&self) -> Index {
        self.held
    }

    /// Notes that a snapshot of the shard up to here is durable.
    pub(super) fn push_snapshot(&mut self, shard: ShardId, upto: (RaftIndex, Term)) {
        let position = Position { index: log::RaftIndex::new(upto.0.0), term: upto.1.0 };
        self.writer.push(&Record::SnapshotMark { group: group(shard), position });
    }

    /// Starts writing what is gathered, if a write may start; returns its size in bytes.
    pub(super) fn submit(&mut self) -> Result<Option<u64>, Fatal> {
        let bytes = self.writer.pending_bytes();
        if bytes == 0 {
            return Ok(None);
        }
        let Some(seq) = self.writer.submit().map_err(fatal)? else { return Ok(None) };
        let (readies, messages) = (std::mem::take(&mut self.gathered), std::mem::take(&mut self.held_back));
        let noted = self.noted.values().copied().max().unwrap_or_default();
        self.under_way.push_back(UnderWay { seq, begun: Instant::now(), noted, readies, messages });
        Ok(Some(bytes as u64))
    }

    /// The next write that has become durable.
    pub(super) fn next_durable(&mut self) -> Option<Written> {
        let durable = self.writer.durable_upto();
        let done = self.under_way.pop_front_if(|write| write.seq <= durable)?;
        self.held = done.noted;
        let UnderWay { begun, readies, messages, .. } = done;
        Some(Written { readies, messages, took: begun.elapsed() })
    }

    /// Whether something has happened; if not, the task is woken when it does.
    pub(super) fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fatal>> {
        self.watch.poll_progress(cx, &mut self.seen).map_err(fatal)
    }

    /// Bytes gathered and not under way.
    pub(super) fn pending_bytes(&self) -> usize {
        self.writer.pending_bytes()
    }

    /// How long the oldest write that is not durable yet has been under way.
    pub(super) fn oldest_write(&self) -> Option<Duration> {
        self.under_way.front().map(|write| write.begun.elapsed())
    }

    /// Nothing is gathered or under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.writer.pending_bytes() == 0
    }

    /// No room for commands, until space is back.
    pub(super) fn is_full(&self) -> bool {
        self.writer.is_full()
    }

    /// Housekeeping, every half second or so.
    pub(super) fn tick(&mut self) {
        self.writer.tick();
    }

    /// To read again what this start has written.
    pub(super) fn reader(&self) -> LogReader {
        self.writer.reader()
    }

    /// Gives up what the snapshots up to these positions make unnecessary.
    pub(super) fn compact(&mut self, upto: &[(ShardId, RaftIndex)]) {
        let upto: Vec<(GroupId, log::RaftIndex)> =
            upto.iter().map(|(shard, index)| (group(*shard), log::RaftIndex::new(index.0))).collect();
        self.writer.compact(&upto);
    }

    /// The shard that keeps the oldest segment, and up to where it has to do without its log for that to go.
    pub(super) fn oldest_pin(&self) -> Option<(ShardId, RaftIndex)> {
        self.writer.oldest_pin().map(|(group, upto)| (ShardId(group.get()), RaftIndex(upto.get())))
    }

    /// A segment has rotted: its file will not be used again. Which shards still need it, and up to where they must come;
    /// `None`: it is not in this log (any more).
    pub(super) fn condemn(&mut self, core: CoreId, seq: SegmentSeq) -> Option<BTreeMap<ShardId, RaftIndex>> {
        let pins = self.writer.condemn(core, seq)?;
        Some(pins.into_iter().map(|(group, index)| (ShardId(group.get()), RaftIndex(index.get()))).collect())
    }

    /// Segments of earlier starts that are still needed.
    pub(super) fn inherited(&self) -> usize {
        self.writer.inherited()
    }

    /// Earlier starts of which the first segment is still needed.
    pub(super) fn inherited_starts(&self) -> usize {
        self.writer.inherited_starts()
    }

    /// Nothing is being made of the log's files.
    pub(super) fn is_tidy(&self) -> bool {
        !self.writer.is_tidying()
    }

    /// Bytes of segments on the disk.
    pub(super) fn size_bytes(&self) -> u64 {
        self.writer.size_bytes()
    }
}

fn group(shard: ShardId) -> GroupId {
    GroupId::new(shard.0)
}

fn fatal(error: LogError) -> Fatal {
    match error {
        LogError::WriteFailed { .. } => Fatal::LogWrite(error),
        LogError::PrepareFailed { .. } => Fatal::LogFiles(error),
    }
}
