//! The log of one core: the real appender over the simulated disk, and who waits for it; as the server's `core/disk.rs` and
//! the log's own driver have it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use log::{
    Appender, BatchSeq, Closed, EntryType, Frontier, GroupId, GroupLog, HardState, LogIdentity, Position, Record,
    Resume, SegmentHeader, Start, scan_segment,
};
use mutant::Mutant;
use raft::prelude::Message;
use shard::group::{Fetch, LogEntry};
use shard::ids::{Index, RaftIndex, ShardId, Term};
use shard::shard::{Write, indices_of};

use crate::counts::{Counts, Happened};
use crate::disk::{Call, Fault, SimDisk};
use crate::files::{Folder, Prepared};
use crate::plan::Plan;
use shard::random::Random;

/// The part of a segment that is kept for what must be written, as the driver has it.
const RESERVE_DIVISOR: u64 = 4;

/// One core's log.
#[derive(Debug)]
pub(crate) struct CoreLog {
    appender: Appender,
    folder: Folder,
    segment_bytes: u64,
    /// Numbers whose records are gathered and not under way.
    gathered: Vec<(ShardId, u64)>,
    held_back: Vec<(ShardId, Message)>,
    under_way: VecDeque<UnderWay>,
    job: Option<Job>,
    retired: VecDeque<Closed>,
    out_of_space: bool,
}

#[derive(Debug)]
struct UnderWay {
    seq: BatchSeq,
    calls: VecDeque<Call>,
    readies: Vec<(ShardId, u64)>,
    messages: Vec<(ShardId, Message)>,
}

/// What is made of the files, one thing at a time.
#[derive(Debug)]
enum Job {
    Prepare(Prepared),
    Retire(VecDeque<Call>),
}

/// What has become durable.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    pub(crate) readies: Vec<(ShardId, u64)>,
    pub(crate) messages: Vec<(ShardId, Message)>,
}

impl CoreLog {
    /// Begins a core's log: its first segment, and the state of its groups in it, are durable when this returns.
    pub(crate) fn open<'a>(
        disk: &mut SimDisk,
        identity: LogIdentity,
        resume: Resume,
        plan: &Plan,
        groups: impl Iterator<Item = (GroupId, &'a GroupLog)>,
        counts: &mut Counts,
    ) -> Result<Self, Fault> {
        let segment_bytes = (plan.segment_blocks * log::BLOCK) as u64;
        let (folder, calls) = Folder::open(&resume);
        calls.iter().try_for_each(|call| disk.call(call))?;
        let mut log = Self {
            appender: Appender::new(Start { identity, resume, segment_bytes }),
            folder,
            segment_bytes,
            gathered: Vec::new(),
            held_back: Vec::new(),
            under_way: VecDeque::new(),
            job: None,
            retired: VecDeque::new(),
            out_of_space: false,
        };
        log.find_job();
        while log.job.is_some() && !log.appender.has_next() && log.appender.room_bytes() == 0 {
            log.step_job(disk, counts)?;
        }
        for (group, state) in groups {
            state.state_records(group).for_each(|record| log.appender.push(&record));
        }
        log.submit();
        while !log.under_way.is_empty() {
            log.step_write(disk, 0)?;
            log.take_durable();
        }
        Ok(log)
    }

    /// Gathers what a shard wants to be durable.
    pub(crate) fn push(&mut self, write: &Write) {
        let group = group(write.shard);
        if let Some(upto) = write.received {
            self.appender.push(&Record::SnapshotReceived { group, position: position(upto) });
        }
        for entry in &write.entries {
            let (first, count) = indices_of(entry).unwrap_or_default();
            self.appender.push(&Record::Entry {
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
            self.appender.push(&Record::HardState { group, state });
        }
        self.gathered.extend(write.number.map(|number| (write.shard, number)));
    }

    /// Notes how far the node may show what it holds.
    pub(crate) fn push_frontier(&mut self, shard: ShardId, Frontier { visible, clock }: Frontier) {
        self.appender.push(&Record::Frontier { group: group(shard), visible, clock });
    }

    /// Notes that a snapshot of the shard up to here is durable.
    pub(crate) fn push_snapshot(&mut self, shard: ShardId, upto: (RaftIndex, Term)) {
        self.appender.push(&Record::SnapshotMark { group: group(shard), position: position(upto) });
    }

    /// Keeps messages until everything pushed so far is durable; gives them back if it is.
    pub(crate) fn hold_back(&mut self, messages: Vec<(ShardId, Message)>) -> Vec<(ShardId, Message)> {
        if self.appender.pending_bytes() > 0 {
            self.held_back.extend(messages);
        } else if let Some(last) = self.under_way.back_mut() {
            last.messages.extend(messages);
        } else {
            return messages;
        }
        Vec::new()
    }

    /// Numbers with nothing to write are as durable as what was pushed before them: those that are it already.
    pub(crate) fn settle(&mut self) -> Vec<(ShardId, u64)> {
        if self.appender.pending_bytes() > 0 {
            return Vec::new();
        }
        let readies = std::mem::take(&mut self.gathered);
        let Some(last) = self.under_way.back_mut() else { return readies };
        last.readies.extend(readies);
        Vec::new()
    }

    /// Starts writing what is gathered, if a write may start.
    pub(crate) fn submit(&mut self) {
        let Some(ticket) = self.appender.begin_write() else { return };
        let mut bytes = vec![0; ticket.length];
        self.appender.encode(&ticket, &mut bytes);
        let path = self.folder.path().join(log::segment::file_name(ticket.segment));
        let calls = VecDeque::from([Call::Write(path.clone(), ticket.offset, bytes), Call::Sync(path)]);
        let (readies, messages) = (std::mem::take(&mut self.gathered), std::mem::take(&mut self.held_back));
        self.under_way.push_back(UnderWay { seq: ticket.seq, calls, readies, messages });
    }

    /// What has become durable, in order.
    pub(crate) fn take_durable(&mut self) -> Durable {
        let mut durable = Durable::default();
        let upto = self.appender.durable_upto();
        while let Some(write) = self.under_way.pop_front_if(|write| write.seq <= upto) {
            durable.readies.extend(write.readies);
            durable.messages.extend(write.messages);
        }
        durable
    }

    /// One call of the disk for this log, if there is one to make. An error ends the node.
    pub(crate) fn step(&mut self, disk: &mut SimDisk, random: &mut Random, counts: &mut Counts) -> Result<(), Fault> {
        self.find_job();
        let writes = self.under_way.iter().filter(|write| !write.calls.is_empty()).count();
        let chains = writes + usize::from(self.job.is_some());
        match random.below(chains) {
            _ if chains == 0 => Ok(()),
            nth if nth < writes => {
                let open = self.under_way.iter().enumerate().filter(|(_, write)| !write.calls.is_empty());
                let at = open.map(|(at, _)| at).nth(nth).unwrap_or(0);
                self.step_write(disk, at)
            }
            _ => self.step_job(disk, counts),
        }
    }

    fn step_write(&mut self, disk: &mut SimDisk, at: usize) -> Result<(), Fault> {
        let write = &mut self.under_way[at];
        let Some(call) = write.calls.pop_front() else { return Ok(()) };
        disk.call(&call)?;
        let is_durable =
            if mutant::is(Mutant::AckBeforeSync) { matches!(call, Call::Write(..)) } else { write.calls.is_empty() };
        if is_durable {
            self.appender.written(write.seq);
        }
        Ok(())
    }

    /// Segments are given up first: that makes space.
    fn find_job(&mut self) {
        if self.job.is_some() {
            return;
        }
        let wanted = self.appender.wants_segment().filter(|_| !self.out_of_space);
        self.retired.extend(self.appender.take_retired());
        self.job = match self.retired.pop_front() {
            Some(closed) => Some(Job::Retire(self.folder.retire(closed))),
            None => wanted.map(|wanted| {
                let before = self.appender.naming(wanted.seq);
                Job::Prepare(self.folder.prepare(wanted, before))
            }),
        };
    }

    fn step_job(&mut self, disk: &mut SimDisk, counts: &mut Counts) -> Result<(), Fault> {
        let Some(job) = &mut self.job else { return Ok(()) };
        let (Job::Prepare(Prepared { calls, .. }) | Job::Retire(calls)) = job;
        let done = calls.pop_front().map_or(Ok(()), |call| disk.call(&call));
        if done == Err(Fault::Full) {
            self.out_of_space = true;
            self.job = None;
            return Ok(());
        }
        done?;
        if calls.is_empty() {
            match self.job.take() {
                Some(Job::Prepare(Prepared { header, recycled, .. })) => {
                    self.appender.prepared(header);
                    counts.count(if recycled { Happened::SegmentRecycled } else { Happened::SegmentMade });
                }
                Some(Job::Retire(_)) => counts.count(Happened::SegmentRetired),
                None => {}
            }
        }
        Ok(())
    }

    /// To be called now and then: tries again for space.
    pub(crate) fn tick(&mut self) {
        self.out_of_space = false;
    }

    /// Whether writes of clients have to be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.out_of_space && self.appender.room_bytes() < self.segment_bytes / RESERVE_DIVISOR
    }

    /// Gives up what snapshots make unnecessary.
    pub(crate) fn compact(&mut self, upto: &[(ShardId, RaftIndex)]) {
        let named = upto.iter().map(|(shard, index)| (group(*shard), log::RaftIndex::new(index.0)));
        self.appender.compact(&named.collect::<Vec<_>>());
    }

    /// Whether the log has more segments than it should, and which shard keeps the oldest.
    pub(crate) fn pin(&self, segments_max: u64, inherited_max: usize) -> Option<(ShardId, RaftIndex)> {
        let large = self.appender.size_bytes() > segments_max * self.segment_bytes;
        let (group, upto) = self.appender.oldest_pin()?;
        let much = large || self.appender.inherited() > inherited_max;
        much.then_some((ShardId(group.get()), RaftIndex(upto.get())))
    }

    /// Entries that this start has written, read from the segment that has them; and where those begin that are to be had.
    pub(crate) fn fetch(&self, disk: &SimDisk, shard: ShardId, fetch: Fetch) -> (Vec<LogEntry>, RaftIndex) {
        let (group, first) = (group(shard), log::RaftIndex::new(fetch.first.0));
        let whereabouts = self.appender.whereabouts();
        let from = whereabouts.first(group).map_or(RaftIndex(u64::MAX), |from| RaftIndex(from.get()));
        let found = whereabouts.find(group, first);
        let entries = found.and_then(|(place, range)| {
            let bytes = self.folder.read(disk, &place.header)?;
            let upto = fetch.upto.0.min(range.last.get());
            Some(entries_of(&place.header, &bytes, group, fetch.first.0..=upto))
        });
        (entries.unwrap_or_default(), from)
    }
}

/// The entries of a group in a segment that stand; a later one overrides an earlier one.
fn entries_of(
    header: &SegmentHeader,
    bytes: &[u8],
    group: GroupId,
    wanted: std::ops::RangeInclusive<u64>,
) -> Vec<LogEntry> {
    let scan = scan_segment(&PathBuf::new(), *header, bytes);
    let mut found: BTreeMap<u64, LogEntry> = BTreeMap::new();
    for record in scan.batches.iter().flat_map(|batch| &batch.records) {
        let Record::Entry { group: of, term, index, entry_type, .. } = record.as_record() else { continue };
        if of == group && wanted.contains(&index.get()) {
            found.split_off(&index.get());
            let conf_change = entry_type != EntryType::Normal;
            let (at, data) = (RaftIndex(index.get()), record.payload().clone());
            found.insert(index.get(), LogEntry { index: at, term: Term(term), conf_change, data });
        }
    }
    let first = *wanted.start();
    found.into_values().zip(first..).take_while(|(entry, at)| entry.index.0 == *at).map(|(entry, _)| entry).collect()
}

fn group(shard: ShardId) -> GroupId {
    GroupId::new(shard.0)
}

pub(crate) fn position((index, term): (RaftIndex, Term)) -> Position {
    Position { index: log::RaftIndex::new(index.0), term: term.0 }
}

/// A frontier as the log keeps it.
pub(crate) fn frontier(visible: Index, clock: u64) -> Frontier {
    Frontier { visible: visible.0, clock }
}
