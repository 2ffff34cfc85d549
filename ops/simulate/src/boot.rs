//! A start: from what is on the disk to shards that run, in the order of the server's `recovery.rs`, `repair.rs` and
//! `executor.rs`. The power can go at any call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use log::{BegunLogs, GroupId, GroupLog, Position, Recovered, RecoveryError, recover};
use shard::group::{GroupSeed, LogEntry, Members, Vote};
use shard::history::HistoryLimits;
use shard::ids::{Index, MemberId, RaftIndex, ShardId, Term};
use shard::membership::Groups;
use shard::order::Order;
use shard::regime::Regimes;
use shard::shard::{Shard, validate};
use shard::snapshot::Restore;
use shard::store::{RecentRoom, Store};
use shard::system::System;

use crate::checkers::{Mirror, Watcher};
use crate::core::Core;
use crate::counts::{Counts, Happened};
use crate::disk::{Call, Fault, SimDisk};
use crate::files::LOGS;
use crate::node::{Birth, Node, Running};
use crate::plan::{ELECTION_TICKS, Plan};
use crate::snapshots::{self, Found, Seat, Unread, set_aside, unfinished};
use crate::store::{CoreLog, position};
use shard::random::Random;

/// What a start needs besides the disk.
pub(crate) struct Start<'a> {
    pub(crate) plan: &'a Plan,
    /// All members that there are.
    pub(crate) members: Vec<MemberId>,
    pub(crate) process: u64,
    pub(crate) random: &'a mut Random,
    pub(crate) counts: &'a mut Counts,
}

/// Why a start did not come to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    Disk(Fault),
    Log(RecoveryError),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Disk(fault)
    }
}

impl Node {
    /// Starts from what is durable.
    pub(crate) fn boot(&mut self, start: &mut Start<'_>) -> Result<(), Stopped> {
        let (found, mut recovered) = match self.read_back(start) {
            Err(Stopped::Log(error)) if start.members.len() > 1 && error.is_damage() => {
                self.assert_damaged(start.plan, &error);
                start.counts.count(Happened::Damaged);
                start.counts.count(Happened::Repaired);
                self.forget();
                self.disk.remove_all(Path::new(LOGS));
                self.read_back(start)?
            }
            read => read?,
        };
        if self.is_forgetful() && self.promised_to.is_empty() {
            self.promised_to = start.members.iter().copied().filter(|member| *member != self.id).collect();
        }
        start.counts.add(Happened::TornTail, recovered.torn.len() as u64);
        let cores = 1 + start.random.below(start.plan.cores_max);
        let logs = start.plan.shards.min(cores) as u16;
        let begun = BegunLogs { epoch: recovered.epoch, logs };
        let groups = std::mem::take(&mut recovered.groups);
        let identity = self.identity();
        let log_start = self.log_start();
        let seed = |(found, at)| Seed::new(at, found, &groups, log_start);
        let seeds: Vec<Seed> = found.into_iter().zip(0..).map(seed).collect();
        let mut opened = Vec::new();
        for resume in recovered.resume(cores as u16) {
            let core = usize::from(resume.core.get());
            let mine = seeds.iter().skip(core).step_by(cores).map(|seed| (GroupId::new(seed.shard), &seed.log));
            opened.push(CoreLog::open(&mut self.disk, identity, resume, start.plan, mine, start.counts)?);
        }
        self.noted = Some(begun);
        self.run(start, seeds, opened);
        Ok(())
    }

    /// Nobody goes without a log, or stays down, that was not damaged: without that damage there would be all that is needed.
    pub(crate) fn assert_damaged(&self, plan: &Plan, error: &RecoveryError) {
        let me = self.id;
        assert!(self.suspect, "node {me} lost its log to damage that nobody did: {error}");
        let (found, recovered) = self
            .look(&self.disk.undamaged(), plan)
            .unwrap_or_else(|other| panic!("node {me} lost its log: {error}; and without the damage: {other}"));
        found
            .iter()
            .filter_map(|found| found.newest.as_ref())
            .for_each(|(_, chunks)| drop(restore(chunks, plan.history())));
        recovered.groups.values().for_each(|log| drop(entries(log)));
    }

    /// A file was given up that a start may have needed: it would find all that it needs if the power went now, and with it what is not synced.
    pub(crate) fn assert_starts_without(&self, plan: &Plan) {
        if self.is_sane() {
            let read = self.look(&self.disk.with_names_alone(), plan).map(drop);
            assert!(read.is_ok(), "node {} has given up what it needs after a power cut: {read:?}", self.id);
        }
    }

    /// What a start finds on this disk.
    fn look(&self, disk: &SimDisk, plan: &Plan) -> Result<(Vec<Found>, Recovered), RecoveryError> {
        let found = snapshots::load(disk, plan.shards as u16);
        let log_start = self.log_start();
        let newest = |found: &Found| position(found.newest.as_ref().map_or(log_start, |(upto, _)| *upto));
        let bases: Vec<Position> = found.iter().map(newest).collect();
        let base = |group: GroupId| bases.get(usize::from(group.get())).copied();
        let recovered = recover(disk, Path::new(LOGS), self.identity(), &base)?;
        if let Some(noted) = self.noted {
            noted.check(Path::new(LOGS), &recovered)?;
        }
        Ok((found, recovered))
    }

    /// Snapshots and logs; damaged snapshots that were done without are set aside.
    fn read_back(&mut self, start: &mut Start<'_>) -> Result<(Vec<Found>, Recovered), Stopped> {
        let (found, recovered) = self.look(&self.disk, start.plan).map_err(Stopped::Log)?;
        for (path, _) in found.iter().flat_map(|found| &found.damaged) {
            start.counts.count(Happened::SnapshotAside);
            self.disk.call(&set_aside(path.clone()))?;
        }
        let litter: Vec<PathBuf> = unfinished(&self.disk).collect();
        litter.into_iter().try_for_each(|path| self.disk.call(&Call::Remove(path)))?;
        Ok((found, recovered))
    }

    fn run(&mut self, start: &mut Start<'_>, seeds: Vec<Seed>, logs: Vec<CoreLog>) {
        let cores = logs.len();
        let shards = seeds.len();
        let order = Order::new(shards, cores, Index::ZERO);
        let mut system = System::default();
        let mut seats: Vec<(Vec<Shard>, Vec<Seat>, Vec<Unread>)> = (0..cores).map(|_| Default::default()).collect();
        for seed in seeds {
            let at = usize::from(seed.shard);
            let seat = Seat::new(seed.on_disk.iter().copied(), seed.lost);
            let shard = self.start_shard(start, &seed);
            if shard.id() == ShardId(0) {
                system = shard.store().system().clone();
            }
            order.note_unapplied(shard.id(), shard.oldest_unapplied());
            order.publish_uncommitted(shard.id(), shard.oldest_uncommitted());
            seats[at % cores].0.push(shard);
            seats[at % cores].1.push(seat);
            seats[at % cores].2.extend(seed.unread);
        }
        let cores =
            seats.into_iter().zip(logs).map(|((shards, seats, unread), log)| Core::new(shards, log, seats, unread));
        self.running = Some(Running {
            process: start.process,
            clock_ahead_ns: self.clock_ahead_ns,
            order,
            cores: cores.collect(),
            regimes: Regimes::new(shards),
            system,
            groups: Groups::new(shards),
            round_began: 0,
            primary: None,
            watcher: Watcher::default(),
            reads: BTreeMap::new(),
            visible: Index::ZERO,
            booted: false,
        });
    }

    fn start_shard(&mut self, start: &mut Start<'_>, seed: &Seed) -> Shard {
        let founders = (1..=start.plan.founders as u64).map(MemberId);
        let joined = self.birth != Birth::Founder;
        let members = if joined { Members::default() } else { Members::of_voters(founders) };
        let applied = seed.on_disk.first().copied().unwrap_or(self.log_start());
        let entries = entries(&seed.log);
        let mirrored = entries.iter().map(|entry| (entry.index.0, entry.clone())).collect();
        self.mirrors[usize::from(seed.shard)] = Mirror { entries: mirrored, committed: applied.0.0, state: None };
        let vote = seed.log.hard_state.unwrap_or_default();
        let frontier = seed.log.frontier.unwrap_or_default();
        let others = self.promised_to.clone();
        let group = GroupSeed {
            member: self.id,
            members,
            applied,
            vote: Vote { term: vote.term, vote: vote.vote, commit: vote.commit.get() },
            entries,
            shown: Index(frontier.visible),
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: 1,
            tail_bytes: start.plan.tail_bytes,
            amnesia: Some(others).filter(|others| self.is_forgetful() && !others.is_empty()),
            random_seed: start.random.draw(),
        };
        let limits = start.plan.history();
        let store = seed.chunks.as_deref().map_or_else(|| Store::new(limits), |chunks| restore(chunks, limits));
        let started = Shard::start(ShardId(seed.shard), store, group, start.process);
        let mut shard = started.expect("what was recovered makes sense");
        shard.note_clock(Index(frontier.visible), frontier.clock);
        shard.store_mut().remember_reads(RecentRoom::new(0), (start.process, u64::from(seed.shard)));
        shard
    }
}

/// What one shard starts from.
struct Seed {
    shard: u16,
    chunks: Option<Vec<Vec<u8>>>,
    on_disk: Vec<(RaftIndex, Term)>,
    lost: Option<RaftIndex>,
    unread: Option<Unread>,
    log: GroupLog,
}

impl Seed {
    fn new(shard: u16, found: Found, groups: &BTreeMap<GroupId, GroupLog>, start: (RaftIndex, Term)) -> Self {
        let lost = found.damaged.iter().map(|(_, upto)| *upto).max();
        let (unread, (upto, chunks)) = (found.unread, found.newest.unzip());
        let base = Some(position(upto.unwrap_or(start)));
        let empty = || GroupLog { base, ..GroupLog::default() };
        let log = groups.get(&GroupId::new(shard)).cloned().unwrap_or_else(empty);
        Self { shard, chunks, on_disk: upto.into_iter().chain(found.older).collect(), lost, unread, log }
    }
}

fn entries(log: &GroupLog) -> Vec<LogEntry> {
    let entry = |entry: &log::Entry| LogEntry {
        index: RaftIndex(entry.index.get()),
        term: Term(entry.term),
        conf_change: entry.entry_type != log::EntryType::Normal,
        data: entry.payload.clone(),
    };
    let entries: Vec<LogEntry> = log.entries.iter().map(entry).collect();
    for entry in &entries {
        validate(entry).expect("what was recovered can be read");
    }
    entries
}

pub(crate) fn restore(chunks: &[Vec<u8>], limits: HistoryLimits) -> Store {
    let mut restore = Restore::new(limits);
    for chunk in chunks {
        restore.push(chunk).expect("what was written can be read");
    }
    restore.finish().expect("what was written can be read")
}
