//! One shard on one member: its raft group, its state, and the way from a command to its answer.
//!
//! ```text
//! propose ─► written (in the log, not committed) ─► held (committed, above `visible`) ─► applied ─► answers, events
//! ```
//!
//! Calling order within a turn: inputs ([`Shard::propose`], [`Shard::persisted`], [`Shard::tick`], …), then
//! [`Shard::advance`], whose writes are made durable and reported back; then, once `visible` may have been raised,
//! [`Shard::apply`]. Between these the owner publishes [`Shard::oldest_uncommitted`] and [`Shard::oldest_unapplied`].

use std::collections::VecDeque;
use std::rc::Rc;

use raft::prelude::Message;

use crate::command::{Batch, BatchBytes, Command, CommandRef};
use crate::error::Error;
use crate::event::{Action, Event};
use crate::group::{Group, GroupError, GroupSeed, LogEntry, Vote};
use crate::ids::{Index, RaftIndex, ShardId, Term};
use crate::refusal::Refusal;
use crate::regime::Report;
use crate::store::{Outcome, Store};
use crate::watch::{Hub, WatcherId};

/// A shard: see the module's description.
///
/// Invariants: the indices of `held`, then `written`, strictly grow and are above what is applied; `top` is the highest
/// of them all.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    group: Group,
    store: Store,
    hub: Hub,
    written: VecDeque<Written>,
    held: VecDeque<Held>,
    /// The last entry applied.
    applied: (RaftIndex, Term),
    /// Highest index in the log, committed or not.
    top: Index,
    /// The greatest clock in the log, nanoseconds of the epoch: where a new primary's clock has to go on.
    clock: u64,
    /// The term in which [`Report::Led`] was given.
    led: Option<Term>,
}

/// An entry that this member has proposed and that is not committed.
#[derive(Debug)]
struct Written {
    at: RaftIndex,
    term: Term,
    first: Index,
    commands: usize,
}

/// A committed entry that is not applied.
#[derive(Debug)]
struct Held {
    at: RaftIndex,
    term: Term,
    /// None: a new leader's first entry.
    batch: Option<BatchBytes>,
    /// Proposed by this process, so somebody may be waiting for the answers.
    ours: bool,
}

/// What goes to the disk: see [`crate::group::Ready`].
#[derive(Debug)]
pub struct Write {
    /// Whose it is.
    pub shard: ShardId,
    /// To be given to [`Shard::persisted`].
    pub number: Option<u64>,
    /// Written along with the entries.
    pub vote: Option<Vote>,
    /// Appended, overriding what the log holds at the same positions.
    pub entries: Vec<LogEntry>,
}

/// What a shard wants done after [`Shard::advance`]. Reused from turn to turn.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be made durable, in order.
    pub writes: Vec<Write>,
    /// May leave at once.
    pub at_once: Vec<(ShardId, Message)>,
    /// Must not leave before the writes are durable.
    pub after_durable: Vec<(ShardId, Message)>,
    /// For the regime (see [`crate::regime`]); a loss has to close the order at once.
    pub reports: Vec<Report>,
    /// Contexts of the quorum rounds that were confirmed.
    pub confirmed: Vec<(ShardId, u64)>,
}

/// The answer to one proposed command.
#[derive(Debug)]
pub struct Answer {
    /// The proposer's ticket.
    pub ticket: u64,
    /// The command's index.
    pub index: Index,
    /// Position of its entry in the group's log.
    pub at: RaftIndex,
    /// Term of its entry.
    pub term: Term,
    /// What came of it.
    pub result: Result<Outcome, Refusal>,
}

/// What applying has led to. Reused from turn to turn.
#[derive(Debug, Default)]
pub struct Applied {
    /// For those who wait, in index order.
    pub answers: Vec<Answer>,
    /// For the watchers of this shard, in index order.
    pub deliveries: Vec<(WatcherId, Rc<Event>)>,
    /// Commands applied, refused ones included.
    pub commands: u64,
    /// Bytes of the batches that they came in.
    pub bytes: u64,
    /// Nodes that ran out of time.
    pub expired: u64,
    /// A system command was among them: members or versions may have changed.
    pub system: bool,
}

impl Shard {
    /// Starts a shard from its state and the log above it.
    pub fn start(id: ShardId, store: Store, seed: GroupSeed) -> Result<Self, GroupError> {
        let log_top = seed.entries.iter().rev().find_map(|entry| last_index(&entry.data));
        let clock = seed.entries.iter().filter_map(|entry| clock_of(&entry.data)).max().unwrap_or(0);
        let top = log_top.unwrap_or(Index::ZERO).max(store.applied());
        let applied = seed.applied;
        let group = Group::start(seed)?;
        let (written, held) = (VecDeque::new(), VecDeque::new());
        Ok(Self { id, group, store, hub: Hub::default(), written, held, applied, top, clock, led: None })
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The state, as far as it is applied.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The state, for what does not change it: counting reads, tidying up.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The raft group, to look at.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The watchers, and the state that they are registered against.
    pub fn watchers(&mut self) -> (&mut Hub, &Store) {
        (&mut self.hub, &self.store)
    }

    /// Highest index in this shard's log, committed or not.
    pub fn top(&self) -> Index {
        self.top
    }

    /// The greatest clock in this shard's log, in nanoseconds of the Unix epoch; 0 if there is none.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Position and term of the last entry that the state contains.
    pub fn applied(&self) -> (RaftIndex, Term) {
        self.applied
    }

    /// First index of the oldest batch that is not committed.
    pub fn oldest_uncommitted(&self) -> Option<Index> {
        self.written.front().map(|written| written.first)
    }

    /// First index of the oldest batch that is not applied.
    pub fn oldest_unapplied(&self) -> Option<Index> {
        let held = self.held.iter().find_map(|held| held.batch.as_ref().map(|batch| batch.batch().first()));
        held.or_else(|| self.oldest_uncommitted())
    }

    /// Commands proposed by this member and not committed.
    pub fn pending(&self) -> usize {
        self.written.iter().map(|written| written.commands).sum()
    }

    /// Nothing is under way: what the state says is all there is.
    pub fn is_settled(&self) -> bool {
        self.written.is_empty() && self.held.is_empty()
    }

    /// Whether `command` would be refused right now. Only meaningful while [`Shard::is_settled`].
    pub fn check(&self, command: &Command) -> Result<(), Refusal> {
        self.store.check(&CommandRef::from(command))
    }

    /// Lets one unit of time pass for the group.
    pub fn tick(&mut self) {
        self.group.tick();
    }

    /// Stands for election now.
    pub fn campaign(&mut self) {
        self.group.campaign();
    }

    /// Appends a batch to the log. The regime is open, so this member leads; the indices are above all earlier ones.
    pub fn propose(&mut self, batch: &Batch) {
        let first = Index(batch.first);
        assert!(first > self.top, "{first} proposed to shard {} after {}", self.id, self.top);
        let bytes = batch.encode();
        self.top = bytes.batch().last().unwrap_or(first);
        self.clock = self.clock.max(batch.now);
        let term = self.group.term();
        let at = self.group.propose(bytes.into_bytes());
        self.written.push_back(Written { at, term, first, commands: batch.commands.len() });
    }

    /// Begins a quorum round on the group; `context` comes back in [`Outputs::confirmed`].
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
            if ready.number.is_some() || !ready.entries.is_empty() || ready.vote.is_some() {
                let (number, vote) = (ready.number, ready.vote);
                out.writes.push(Write { shard: self.id, number, vote, entries: ready.entries });
            }
            out.at_once.extend(ready.at_once.into_iter().map(|m| (self.id, m)));
            out.after_durable.extend(ready.after_durable.into_iter().map(|m| (self.id, m)));
            out.confirmed.extend(ready.confirmed.into_iter().map(|context| (self.id, context)));
            for entry in ready.committed {
                self.hold(entry);
            }
        }
        self.report_leadership(out);
    }

    /// Applies what is committed and at or below `visible`.
    pub fn apply(&mut self, visible: Index, out: &mut Applied) {
        while let Some(held) = self.held.front() {
            let last = held.batch.as_ref().and_then(|batch| batch.batch().last());
            if last > Some(visible) {
                break;
            }
            if let Some(held) = self.held.pop_front() {
                self.apply_entry(&held, out);
                self.applied = (held.at, held.term);
                self.group.applied(held.at);
            }
        }
    }

    fn apply_entry(&mut self, held: &Held, out: &mut Applied) {
        let Some(batch) = &held.batch else { return };
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
            if held.ours && entry.origin != 0 {
                let (ticket, index) = (entry.origin, entry.index);
                out.answers.push(Answer { ticket, index, at: held.at, term: held.term, result });
            }
        }
    }

    fn hold(&mut self, entry: LogEntry) {
        // What was proposed for a position and has not been committed there was overridden by another leader.
        let mut ours = false;
        while let Some(written) = self.written.front().filter(|written| written.at <= entry.index) {
            ours = (written.at, written.term) == (entry.index, entry.term);
            self.written.pop_front();
        }
        // SAFETY: entries enter the process validated (`validate`), or are made by `propose`.
        let batch = (!entry.data.is_empty()).then(|| unsafe { BatchBytes::new_unchecked(entry.data) });
        self.held.push_back(Held { at: entry.index, term: entry.term, batch, ours });
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

/// Checks an entry that comes from a disk or a peer, before it is given to a [`Shard`].
pub fn validate(entry: &LogEntry) -> Result<(), Error> {
    if entry.conf_change {
        return Err(Error::Batch(format!(
            "entry {} changes the group's members: written by a newer uetcd",
            entry.index
        )));
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

/// First index and number of the commands in a validated entry's data; none if it has no batch.
pub fn indices_of(data: &bytes::Bytes) -> Option<(Index, usize)> {
    let batch = validated(data)?;
    Some((batch.batch().first(), batch.batch().len()))
}

fn last_index(data: &bytes::Bytes) -> Option<Index> {
    validated(data)?.batch().last()
}

fn clock_of(data: &bytes::Bytes) -> Option<u64> {
    validated(data).map(|batch| batch.batch().now())
}

fn validated(data: &bytes::Bytes) -> Option<BatchBytes> {
    // SAFETY: entries enter the process validated (`validate`), or are made by `propose`.
    (!data.is_empty()).then(|| unsafe { BatchBytes::new_unchecked(data.clone()) })
}
