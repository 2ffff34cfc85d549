//! One shard on one member: its raft group, its state, and the way from a command to its answer.
//!
//! ```text
//! propose, step ─► tail (in the log) ─► held (committed, above `visible`) ─► applied ─► answers, events
//! ```
//!
//! Calling order within a turn: inputs ([`Shard::step`], [`Shard::persisted`], [`Shard::tick`], [`Shard::follow`],
//! [`Shard::propose`], …), then [`Shard::advance`], whose writes are made durable and reported back; then, once `visible`
//! may have been raised, [`Shard::apply`]. Between these the owner publishes [`Shard::oldest_unapplied`],
//! [`Shard::oldest_uncommitted`] and [`Shard::reached`], in this order. An input may cost the leadership, so before
//! indices are taken for a proposal, [`Shard::may_propose`] is asked of every shard concerned: indices that were taken
//! must come into the log.

mod outputs;
mod reach;
mod tail;

use std::collections::VecDeque;

use mutant::Mutant;
use raft::prelude::Message;

use crate::command::{Batch, BatchBytes, Command, CommandRef};
use crate::error::Error;
use crate::event::Action;
use crate::group::{ChangeRefused, Group, GroupError, GroupSeed, LogEntry, MemberChange, Members, PeerProgress, Ready};
use crate::ids::{Index, MemberId, RaftIndex, ShardId, Term};
use crate::refusal::Refusal;
use crate::regime::Report;
use crate::store::{Outcome, Store};
use crate::tree::Ahead;
use crate::watch::{Hub, WatcherId};
pub use outputs::{Answer, Applied, Outputs, SnapshotToSend, Write};
use reach::Reach;
use tail::{Logged, Tail};

/// A shard: see the module's description.
///
/// Invariant: the indices of `held`, then `tail`, strictly grow and are above what is applied.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    /// Tells the commands that this process has taken from those of others.
    process: u64,
    group: Group,
    store: Store,
    hub: Hub,
    tail: Tail,
    held: VecDeque<Held>,
    /// What the primary's clock read after everything up to an index.
    noted: (Index, u64),
    /// The last entry applied.
    applied: (RaftIndex, Term),
    reach: Reach,
    /// Watchers that a snapshot has ended, not handed out yet.
    ended: Vec<WatcherId>,
    /// A snapshot has brought a new state since the last apply.
    replaced: bool,
    /// The term in which [`Report::Led`] was given.
    led: Option<Term>,
}

/// A committed entry that is not applied.
#[derive(Debug)]
struct Held {
    at: RaftIndex,
    term: Term,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Batch(BatchBytes),
    Members(MemberChange),
    /// A new leader's first entry.
    Nothing,
}

impl Shard {
    /// Starts a shard from its state and the log above it. `process` is different in every process of the cluster, and
    /// never 0: with it the owner marks the commands it takes from clients.
    pub fn start(id: ShardId, mut store: Store, mut seed: GroupSeed, process: u64) -> Result<Self, GroupError> {
        if store.members().is_empty() {
            store.set_members(seed.members);
        }
        seed.members = store.members().clone();
        let shown = seed.shown;
        let mut tail = Tail::default();
        tail.append(&seed.entries);
        let upto =
            |entry: &&LogEntry| batch_of(entry).and_then(|bytes| bytes.batch().last()).is_some_and(|i| i <= shown);
        let applied = seed.applied;
        let commit = seed.entries.iter().rev().find(upto).map_or(applied.0, |entry| entry.index);
        let group = Group::start(seed, commit)?;
        Ok(Self {
            id,
            process,
            group,
            store,
            hub: Hub::default(),
            tail,
            held: VecDeque::new(),
            noted: (Index::ZERO, 0),
            applied,
            reach: Reach::new(shown),
            ended: Vec::new(),
            replaced: false,
            led: None,
        })
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The state, as far as it is applied.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The state, for what does not change it: reading and remembering that, counting, tidying up.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The raft group, to look at.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The watchers.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The watchers, and the state that they are registered against.
    pub fn watchers(&mut self) -> (&mut Hub, &Store) {
        (&mut self.hub, &self.store)
    }

    /// Highest index in this shard's log, committed or not.
    pub fn top(&self) -> Index {
        let held = || self.held.iter().rev().find_map(Held::last);
        self.tail.last().or_else(held).unwrap_or(self.store.applied())
    }

    /// What the last primary's clock read last, as far as this shard knows, in nanoseconds of the Unix epoch; 0 if it
    /// knows nothing. A new primary's clock has to go on from there: clocks of different members need not agree.
    pub fn clock(&self) -> u64 {
        let held = || self.held.iter().rev().find_map(|held| Some((held.last()?, held.batch()?.batch().now())));
        let newest = self.tail.clock().or_else(held);
        let (upto, clock) = newest.unwrap_or((self.store.applied(), self.store.clock()));
        let (noted_upto, noted) = self.noted;
        if upto <= noted_upto { noted } else { clock }
    }

    /// The primary's clock read this when everything up to `upto` had been said: a note beside the log, or a frontier.
    pub fn note_clock(&mut self, upto: Index, clock: u64) {
        if upto >= self.noted.0 && clock > 0 {
            self.noted = (upto, clock);
        }
    }

    /// Position and term of the last entry that the state contains.
    pub fn applied(&self) -> (RaftIndex, Term) {
        self.applied
    }

    /// First index of the oldest batch in the log that is not committed, whoever wrote it.
    pub fn oldest_uncommitted(&self) -> Option<Index> {
        self.tail.first()
    }

    /// First index of the oldest batch in the log that is not applied.
    pub fn oldest_unapplied(&self) -> Option<Index> {
        let held = self.held.iter().find_map(|held| held.batch().map(|batch| batch.batch().first()));
        held.or_else(|| self.oldest_uncommitted())
    }

    /// Commands in the log and not committed.
    pub fn pending(&self) -> usize {
        self.tail.commands()
    }

    /// Nothing is under way: what the state says is all there is.
    pub fn is_settled(&self) -> bool {
        self.tail.is_empty() && self.held.is_empty()
    }

    /// Who leads the group, as far as this member knows.
    pub fn leader(&self) -> Option<MemberId> {
        self.group.leader()
    }

    /// Whom the node's other groups are to follow (see [`Shard::follow`]); asked of shard 0. Who has been removed from it
    /// hears of no leader there, and hands over what it still leads elsewhere to any of those that are left.
    pub fn primary(&self) -> Option<MemberId> {
        let members = self.group.members();
        let gone = !members.is_empty() && !members.contains(self.group.me());
        self.leader().or_else(|| members.voters.first().copied().filter(|_| gone))
    }

    /// This member may propose right now. Any input can change that.
    pub fn may_propose(&self) -> bool {
        self.group.leads_surely()
    }

    /// This member lost something that it may have promised, and does not hold yet what its leader had committed since. It
    /// neither votes nor campaigns; on the disk it stays amnesiac as well, until this turns false.
    pub fn is_amnesiac(&self) -> bool {
        self.group.is_amnesiac()
    }

    /// The group's members as of the last entry applied.
    pub fn members(&self) -> &Members {
        self.store.members()
    }

    /// How far the other members are; nothing if this one does not lead.
    pub fn progress(&self) -> impl Iterator<Item = (MemberId, PeerProgress)> {
        self.group.progress()
    }

    /// Position of the last entry in the log that is at or below `visible`: the primary's part of a frontier. `visible`
    /// has been shown by this node, so that everything at or below it is committed and known here to be.
    ///
    /// It may be a little later if entries without indices follow, or if more is applied; it is committed all the same.
    pub fn position_upto(&self, visible: Index) -> RaftIndex {
        let shown = self.held.iter().take_while(|held| held.last() <= Some(visible));
        let last = shown.filter(|held| held.batch().is_some()).last();
        last.map_or(self.applied.0, |held| held.at)
    }

    /// Notes this shard's part of a frontier: everything at or below `visible` ends, in this shard's log, at or before
    /// `position`, and is committed there. That stays true forever, whoever said it.
    pub fn frontier(&mut self, visible: Index, position: RaftIndex) {
        self.reach.note(visible, position);
        self.reach.advance(self.delivered());
    }

    /// The highest frontier whose part of this shard is committed here, and may be applied.
    pub fn reached(&self) -> Index {
        self.reach.reached()
    }

    /// Whether the state is one that may be shown at `visible`: not while a snapshot has brought it ahead.
    pub fn shows(&self, visible: Index) -> bool {
        self.store.applied() <= visible
    }

    /// Whether `command` would be refused right now. Only meaningful while [`Shard::is_settled`].
    pub fn check(&self, command: &Command) -> Result<(), Refusal> {
        self.store.check(&CommandRef::from(command))
    }

    /// Lets one unit of time pass for the group.
    pub fn tick(&mut self) {
        self.group.tick();
    }

    /// Pulls the group towards the leader of shard 0, `primary` as [`Shard::primary`] has it there. Once per tick.
    ///
    /// The primary campaigns where nobody leads; whoever else leads hands over to it; and who is not the primary waits
    /// twice as long before it stands for election. It does stand then: the primary may lack what was committed here.
    pub fn follow(&mut self, primary: Option<MemberId>) {
        if self.id.0 != 0 {
            self.group.follow(primary);
        }
    }

    /// Stands for election now.
    pub fn campaign(&mut self) {
        self.group.campaign();
    }

    /// Hands the leadership over to `to`, if this member leads. Until it has come about, or failed after an election
    /// timeout, nothing may be proposed: [`Report::Lost`] says so.
    pub fn transfer(&mut self, to: MemberId) {
        self.group.transfer(to);
    }

    /// What was last sent to `peer` may be lost.
    pub fn unreachable(&mut self, peer: MemberId) {
        self.group.unreachable(peer);
    }

    /// The snapshot for `peer` (see [`SnapshotToSend`]) has arrived with its message, or failed.
    pub fn report_snapshot(&mut self, peer: MemberId, arrived: bool) {
        self.group.report_snapshot(peer, arrived);
    }

    /// Answers one of [`Outputs::fetches`]; see [`Group::fetched`].
    pub fn fetched(&mut self, first: RaftIndex, entries: Vec<LogEntry>, from: RaftIndex) -> Result<(), GroupError> {
        self.group.fetched(first, entries, from)
    }

    /// Sends `peer` what it lacks now, instead of at the next heartbeat.
    pub fn retry(&mut self, peer: MemberId) {
        self.group.retry(peer);
    }

    /// Takes in a peer's message other than a snapshot's. [`validate_message`] has been asked about it.
    pub fn step(&mut self, message: Message) -> Result<(), GroupError> {
        if message.has_snapshot() {
            return Err(GroupError::Nonsense("a snapshot's message without its state"));
        }
        self.group.step(message)
    }

    /// Takes in a snapshot: its state, which is on this member's disk, and its message. False if there is no use for it;
    /// if there is, [`Write::received`] of the next [`Shard::advance`] says so, and the watchers end
    /// ([`Applied::ended`]).
    pub fn install(&mut self, store: Store, message: Message) -> Result<bool, GroupError> {
        let metadata = message.get_snapshot().get_metadata();
        let at = (RaftIndex(metadata.index), Term(metadata.term));
        if *store.members() != Members::from_conf(metadata.get_conf_state()) {
            return Err(GroupError::Nonsense("a snapshot's message with another's state"));
        }
        if !self.group.install(message)? {
            return Ok(false);
        }
        assert!(self.applied.0 < at.0, "a snapshot at {} accepted, applied is {}", at.0, self.applied.0);
        self.store.replace(store);
        self.applied = at;
        self.tail.clear();
        self.held.clear();
        if !mutant::is(Mutant::WatchOutlivesState) {
            self.ended.extend(self.hub.cut_all());
        }
        self.replaced = true;
        self.reach.advance(self.delivered());
        Ok(true)
    }

    /// Appends a batch to the log. The regime is open and [`Shard::may_propose`]; the indices are above all earlier ones.
    pub fn propose(&mut self, batch: &Batch) {
        let (first, top) = (Index(batch.first), self.top());
        assert!(first > top, "{first} proposed to shard {} after {top}", self.id);
        let bytes = batch.encode();
        let last = bytes.batch().last().unwrap_or(first);
        let term = self.group.term();
        let at = self.group.propose(bytes.into_bytes());
        self.tail.push(Logged { at, term, first, last, clock: batch.now, commands: batch.commands.len() });
    }

    /// Proposes a change of the group's members; returns its position. It has happened when that has been applied.
    pub fn propose_members(&mut self, change: MemberChange) -> Result<RaftIndex, ChangeRefused> {
        self.group.propose_members(change)
    }

    /// Begins a quorum round on the group; `context` comes back in [`Outputs::confirmed`]. Not at all if this member does
    /// not lead surely: then a [`Report::Lost`] has come or will.
    pub fn confirm(&mut self, context: u64) {
        if self.group.leads_surely() {
            self.group.confirm(context);
        }
    }

    /// The write of this `number` is durable.
    pub fn persisted(&mut self, number: u64) {
        self.group.persisted(number);
    }

    /// Takes from raft what it has ready.
    pub fn advance(&mut self, out: &mut Outputs) {
        while let Some(ready) = self.group.ready() {
            self.take(ready, out);
        }
        out.fetches.extend(self.group.take_fetches().map(|fetch| (self.id, fetch)));
        self.reach.advance(self.delivered());
        self.report_leadership(out);
    }

    fn take(&mut self, ready: Ready, out: &mut Outputs) {
        let Ready { number, snapshot: received, vote, entries, .. } = ready;
        self.tail.append(&entries);
        if number.is_some() || !entries.is_empty() || vote.is_some() || received.is_some() {
            out.writes.push(Write { shard: self.id, number, received, vote, entries });
        }
        out.at_once.extend(ready.at_once.into_iter().map(|m| (self.id, m)));
        out.after_durable.extend(ready.after_durable.into_iter().map(|m| (self.id, m)));
        out.snapshots.extend(ready.snapshots.into_iter().map(|message| self.snapshot_for(message)));
        out.confirmed.extend(ready.confirmed.into_iter().map(|context| (self.id, context)));
        out.removed.extend(ready.removed.then_some(self.id));
        ready.committed.iter().for_each(|entry| self.hold(entry));
    }

    fn snapshot_for(&self, message: Message) -> SnapshotToSend {
        let metadata = message.get_snapshot().get_metadata();
        assert_eq!(metadata.index, self.applied.0.0, "a snapshot of another state than the one there is");
        SnapshotToSend { shard: self.id, to: MemberId(message.to), chunks: self.store.snapshot(), message }
    }

    /// Has the processor fetch what applying so many of these shards' commands up to `visible` will need first. Only faster: see `tree::ahead`.
    pub fn fetch_ahead<'a>(shards: impl IntoIterator<Item = &'a Self>, visible: Index, commands: u64) {
        let mut ahead = Ahead::new(commands);
        for shard in shards {
            let held = shard.held.iter().take_while(|held| held.may_apply(visible, &shard.group));
            for entry in held.filter_map(Held::batch).flat_map(|batch| batch.batch().iter()) {
                if !ahead.add(shard.store.tree(), entry.command.path().unwrap_or_default()) {
                    return ahead.go();
                }
            }
        }
        ahead.go();
    }

    /// Applies what is committed and at or below `visible`.
    pub fn apply(&mut self, visible: Index, out: &mut Applied) {
        self.apply_some(visible, u64::MAX, out);
    }

    /// As [`Shard::apply`], but begins no further batch once `out` has so many commands. True: there may be more.
    pub fn apply_some(&mut self, visible: Index, commands: u64, out: &mut Applied) -> bool {
        out.ended.append(&mut self.ended);
        out.system |= std::mem::take(&mut self.replaced);
        let before = self.applied;
        while out.commands < commands
            && let Some(held) = self.held.pop_front_if(|held| held.may_apply(visible, &self.group))
        {
            self.apply_entry(&held, out);
            self.applied = (held.at, held.term);
        }
        if self.applied != before {
            self.group.applied(self.applied, self.store.members());
        }
        out.commands >= commands
    }

    fn apply_entry(&mut self, held: &Held, out: &mut Applied) {
        match &held.content {
            Content::Batch(batch) => self.apply_batch(held, batch, out),
            Content::Members(change) => {
                let mut members = self.store.members().clone();
                members.apply(*change);
                self.store.set_members(members);
            }
            Content::Nothing => {}
        }
    }

    fn apply_batch(&mut self, held: &Held, batch: &BatchBytes, out: &mut Applied) {
        out.bytes += batch.as_bytes().len() as u64;
        let batch = batch.batch();
        let now = batch.now();
        for entry in batch.iter() {
            let result = self.store.apply(entry.index, now, &entry.command);
            if let Ok(Outcome::Event { event, removed }) = &result {
                out.expired += u64::from(event.action == Action::Expire);
                self.hub.dispatch(event, removed.as_ref(), &mut out.deliveries);
            }
            out.commands += 1;
            out.system |= matches!(result, Ok(Outcome::System(_)));
            if entry.process == self.process && entry.origin != 0 {
                let (ticket, index) = (entry.origin, entry.index);
                out.answers.push(Answer { ticket, index, at: held.at, term: held.term, result });
            }
        }
    }

    fn hold(&mut self, entry: &LogEntry) {
        self.tail.commit(entry.index);
        let (at, term) = (entry.index, entry.term);
        let content = match batch_of(entry) {
            Some(batch) => Content::Batch(batch),
            None if entry.conf_change => MemberChange::decode(&entry.data).map_or(Content::Nothing, Content::Members),
            None => Content::Nothing,
        };
        self.held.push_back(Held { at, term, content });
    }

    /// Up to here, entries are committed and here to be applied.
    fn delivered(&self) -> RaftIndex {
        self.held.back().map_or(self.applied.0, |held| held.at)
    }

    fn report_leadership(&mut self, out: &mut Outputs) {
        let leads = self.group.leads_surely().then(|| self.group.term());
        if leads == self.led {
            return;
        }
        if self.led.is_some() {
            out.reports.push(Report::Lost(self.id));
        }
        if leads.is_some() {
            out.reports.push(Report::Led(self.id));
        }
        self.led = leads;
    }
}

impl Held {
    fn batch(&self) -> Option<&BatchBytes> {
        match &self.content {
            Content::Batch(batch) => Some(batch),
            Content::Members(_) | Content::Nothing => None,
        }
    }

    fn may_apply(&self, visible: Index, group: &Group) -> bool {
        match self.content {
            Content::Batch(_) => self.last() <= Some(visible) || mutant::is(Mutant::AppliedAboveVisible),
            Content::Members(_) => group.remembers_change(self.at),
            Content::Nothing => true,
        }
    }

    fn last(&self) -> Option<Index> {
        self.batch().and_then(|batch| batch.batch().last())
    }
}

/// Checks an entry that comes from a disk or a peer, before it is given to a [`Shard`].
pub fn validate(entry: &LogEntry) -> Result<(), Error> {
    if entry.conf_change {
        return MemberChange::decode(&entry.data).map(drop);
    }
    if entry.data.is_empty() {
        return Ok(());
    }
    let batch = BatchBytes::new(entry.data.clone())?;
    if batch.batch().is_empty() {
        return Err(Error::Batch(format!("entry {} has no commands", entry.index)));
    }
    Ok(())
}

/// Checks the entries of a message that comes from a peer, before it is given to a [`Shard`].
pub fn validate_message(message: &Message) -> Result<(), Error> {
    message.entries.iter().try_for_each(|entry| validate(&LogEntry::from(entry)))
}

/// First index and number of the commands in a validated entry's data; none if it has no batch.
pub fn indices_of(entry: &LogEntry) -> Option<(Index, usize)> {
    let batch = batch_of(entry)?;
    Some((batch.batch().first(), batch.batch().len()))
}

/// The index of the last command in a validated entry's data; none if it has no batch. What lies between it and the first can be
/// of other shards.
pub fn last_index_of(entry: &LogEntry) -> Option<Index> {
    batch_of(entry)?.batch().last()
}

/// The batch of an entry that has been validated; none if it holds something else.
pub(crate) fn batch_of(entry: &LogEntry) -> Option<BatchBytes> {
    let has_batch = !entry.conf_change && !entry.data.is_empty();
    // SAFETY: entries enter the process validated (`validate`), or are made by `propose`.
    has_batch.then(|| unsafe { BatchBytes::new_unchecked(entry.data.clone()) })
}
