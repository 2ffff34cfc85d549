//! The state of one shard: what its log's commands mean.
//!
//! Everything here follows from the commands, their indices and the primary's clock in their batch, so all replicas of
//! the shard go through the same states. Semantics are etcd 2.3's; where they differ on purpose, the place says so.

mod check;
mod recent;
mod write;

use crate::command::{Command, CommandRef};
use crate::event::Event;
use crate::group::Members;
use crate::history::{History, HistoryLimits};
use crate::ids::{Index, MemberId};
use crate::path;
use crate::refusal::Refusal;
use crate::route::in_order_name;
use crate::snapshot::{self, SnapshotChunks};
use crate::stats::{Operation, Stats};
use crate::system::{Member, MemberRefusal, System};
use crate::tree::{self, Cursor, Lookup, Node, Place, Tree};
use crate::ttl::{Deadlines, Due, Timeline};
use crate::view::NodeHandle;
pub use recent::RecentRoom;
use recent::{Recent, Spot};
use std::collections::VecDeque;
use std::rc::Rc;

/// What a command did.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The tree changed.
    Event {
        /// What to answer, and to tell watchers.
        event: Rc<Event>,
        /// The directory that went, if one did: watchers below it want to know (see `Hub::dispatch`).
        removed: Option<NodeHandle>,
    },
    /// Nothing that could be shown: a rebase, or the expiry of a node that is no longer the same.
    Nothing,
    /// A system command was carried out or refused.
    System(Result<(), MemberRefusal>),
}

/// One shard's state.
///
/// Invariants: indices of commands strictly grow; every node's `modified` is at most `applied`; every node with a
/// deadline is in `deadlines`; a directory's `changed` is at least that of every directory in it; what is in `recent` is in the
/// tree.
#[derive(Debug)]
pub struct Store {
    tree: Tree,
    /// What of the tree was read lately.
    recent: Recent,
    timeline: Timeline,
    deadlines: Deadlines,
    /// Removed subtrees whose deadlines are still to be taken out of `deadlines`.
    purges: VecDeque<Cursor>,
    history: History,
    system: System,
    stats: Stats,
    /// Of the shard's group, as of the last log entry applied. Not part of the digest: no client sees them.
    members: Members,
    /// The clock of the last batch applied, nanoseconds of the epoch.
    clock: u64,
    applied: Index,
}

/// What a store is made of when a snapshot is read; the rest follows from it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) tree: Tree,
    pub(crate) timeline: Timeline,
    pub(crate) deadlines: Deadlines,
    pub(crate) history: History,
    pub(crate) system: System,
    pub(crate) stats: Stats,
    pub(crate) members: Members,
    pub(crate) clock: u64,
    pub(crate) applied: Index,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(HistoryLimits::default())
    }
}

impl Store {
    /// The empty store of a new shard.
    pub fn new(limits: HistoryLimits) -> Self {
        Self::from_parts(Parts {
            tree: Tree::default(),
            timeline: Timeline::default(),
            deadlines: Deadlines::default(),
            history: History::new(limits, Index::ZERO),
            system: System::default(),
            stats: Stats::default(),
            members: Members::default(),
            clock: 0,
            applied: Index::ZERO,
        })
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        let Parts { tree, timeline, deadlines, history, system, stats, members, clock, applied } = parts;
        let (purges, recent) = (VecDeque::new(), Recent::default());
        Self { tree, recent, timeline, deadlines, purges, history, system, stats, members, clock, applied }
    }

    /// Carries out one command, or refuses it and changes nothing but [`applied`](Self::applied) and the counters.
    ///
    /// `index` is above all before. `now` is the primary's clock in Unix nanoseconds, from the command's batch.
    pub fn apply(&mut self, index: Index, now: u64, command: &CommandRef<'_>) -> Result<Outcome, Refusal> {
        assert!(self.applied < index, "commands out of order: {index} after {}", self.applied);
        self.applied = index;
        self.clock = now;
        let done = self.carry_out(index, now, command);
        if let Some(operation) = operation(command) {
            self.stats.count(operation, done.is_ok());
        }
        if let Ok(Outcome::Event { event, .. }) = &done {
            self.history.push(event);
        }
        done
    }

    fn carry_out(&mut self, index: Index, now: u64, command: &CommandRef<'_>) -> Result<Outcome, Refusal> {
        match *command {
            CommandRef::Expire { path, deadline, created } => {
                return Ok(self.expire(index, now, path, deadline, created));
            }
            CommandRef::Rebase { by_ns } => {
                self.timeline.rebase(by_ns);
                return Ok(Outcome::Nothing);
            }
            CommandRef::System(ref system) => return Ok(Outcome::System(self.system.apply(system))),
            CommandRef::Create { path, value, dir, ttl, in_order: true } => {
                let path = path::join(path, &in_order_name(index.0));
                let named = CommandRef::Create { path: &path, value, dir, ttl, in_order: false };
                return self.carry_out(index, now, &named);
            }
            _ => {}
        }
        let spot = command.path().and_then(|path| self.recent.spot_to_renew(path));
        self.check_at(command, spot)?;
        Ok(self.write(index, now, command, spot))
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The last index applied, refused commands included.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The node at `path`, which a later write does not change.
    pub fn get(&self, path: &[u8]) -> Result<NodeHandle, Refusal> {
        Ok(check::find(&self.tree, path)?.handle(self.timeline))
    }

    /// As [`get`](Self::get), and remembers a file for the next time, if it is told to.
    pub fn read(&mut self, path: &[u8]) -> Result<NodeHandle, Refusal> {
        let spot = self.recent.spot(path);
        if let Some(file) = self.remembered(path, spot) {
            return Ok(Found::File(file).handle(self.timeline));
        }
        let found = check::find(&self.tree, path)?;
        if let (Found::File(file), Some(spot)) = (&found, spot)
            && path::is_clean(path)
        {
            self.recent.remember(spot, file);
        }
        Ok(found.handle(self.timeline))
    }

    /// Remembers files that are read from now on. What is remembered can not be seen: reads are only faster. `key` is different
    /// in every process, and nobody else's to know.
    pub fn remember_reads(&mut self, room: Rc<RecentRoom>, key: (u64, u64)) {
        self.recent = Recent::new(room, key);
    }

    /// Takes another state, and goes on remembering reads.
    pub(crate) fn replace(&mut self, store: Self) {
        let mut recent = std::mem::take(&mut self.recent);
        // What is remembered is of the old state.
        recent.forget_all();
        *self = Self { recent, ..store };
    }

    /// The expiries that are due at `now` (primary's clock, Unix nanoseconds), oldest deadline first, then by path.
    ///
    /// Looks at no more than `budget` deadlines: a mass expiry must not stall the core, the rest waits for the next
    /// turn. Until they are applied the same ones are returned again; applying one twice does nothing.
    ///
    /// Source: etcd 2.3 expires by the leader's clock, oldest first; the order of equal deadlines is ours.
    pub fn due(&mut self, now: u64, budget: usize) -> Vec<Command> {
        let late = |due: &&Due| self.timeline.is_due(due.deadline, now);
        let looked_at = self.deadlines.iter().take(budget).take_while(late);
        let (due, stale): (Vec<_>, Vec<_>) = looked_at.cloned().partition(|due| self.is_current(due));
        for due in &stale {
            self.deadlines.remove(due);
        }
        let expire =
            |due: Due| Command::Expire { path: due.path.to_vec(), deadline: due.deadline.ns(), created: due.created.0 };
        due.into_iter().map(expire).collect()
    }

    /// When [`due`](Self::due) is worth calling next, by the primary's clock in Unix nanoseconds. Never late; early
    /// if the node has gone with its directory a moment ago.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.earliest().map(|due| self.timeline.expiration(due.deadline))
    }

    /// Frees what removals and dropped handles left behind, about `budget` nodes of it; true if there is more.
    ///
    /// For every turn of the loop. Nothing that can be seen depends on it. The memory is the whole thread's: all stores
    /// of a thread share one graveyard, and any of them may empty it.
    pub fn tidy(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0
            && let Some(purge) = self.purges.front_mut()
        {
            left -= 1;
            match purge.step() {
                None => drop(self.purges.pop_front()),
                Some(place) => {
                    if let Some(due) = due_at(&place) {
                        self.deadlines.remove(&due);
                    }
                }
            }
        }
        let half = left / 2;
        let left = half + self.recent.tidy(left - half);
        tree::drop_some(left) || !self.purges.is_empty() || !self.recent.is_tidy()
    }

    /// The shard's timeline against the primary's clock.
    pub fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Deadlines kept, those of nodes gone but not yet tidied away included.
    pub fn deadline_count(&self) -> usize {
        self.deadlines.len()
    }

    /// What the cluster knows of itself; empty but on shard 0.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Who replicates this state, as of the last log entry applied; nobody in a store that is not in a shard yet.
    pub fn members(&self) -> &Members {
        &self.members
    }

    pub(crate) fn set_members(&mut self, members: Members) {
        self.members = members;
    }

    /// Leaves `me` as the only member, of the group and, in the store that keeps the membership, of the cluster; `member` is
    /// what is said of it if nothing is known. `others` are gone, too, whether the store knows them or not.
    ///
    /// No command does this: it is how a state begins a new life, in a cluster of one.
    pub fn keep_only(&mut self, me: MemberId, cluster: Option<(Member, &[MemberId])>) {
        self.members = Members::of_voters([me]);
        if let Some((member, others)) = cluster {
            self.system.keep_only(me, member, others);
        }
    }

    /// The clock that the state was told last, in nanoseconds of the Unix epoch; 0 if none.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// The events a watch can start from.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Counts a read, or a write that [`check`](Self::check) refused and that was never applied.
    pub fn count(&mut self, operation: Operation, ok: bool) {
        self.stats.count(operation, ok);
    }

    /// A hash of the tree, the timeline and the system state: equal on all replicas that applied the same commands.
    /// Visits every node; history and counters are each member's own and do not count.
    pub fn digest(&self) -> u64 {
        snapshot::digest(&self.tree, self.timeline, &self.system)
    }

    /// The state as chunks for a file or a peer. O(1) now; the work is done chunk by chunk, while writes go on.
    pub fn snapshot(&self) -> SnapshotChunks {
        SnapshotChunks::new(
            snapshot::Head {
                applied: self.applied,
                timeline: self.timeline,
                system: self.system.clone(),
                stats: self.stats,
                members: self.members.clone(),
                clock: self.clock,
                changed: self.tree.root().changed,
            },
            &self.tree,
            self.history.clone(),
        )
    }

    /// The last change that a watch on `path` would have been told of is at or before this index.
    ///
    /// A file knows the last change of its path since it exists (a path that was something else before was created
    /// later); a directory that of itself and that of all below; what does not exist cannot have changed after its
    /// deepest existing ancestor.
    pub(crate) fn last_told(&self, path: &[u8], recursive: bool) -> Index {
        match self.tree.lookup(path) {
            Lookup::File(file) | Lookup::Blocked { file, .. } => file.told,
            Lookup::Dir(dir) if recursive => dir.changed,
            Lookup::Dir(dir) => dir.told,
            Lookup::Missing { parent, .. } => parent.changed,
        }
    }

    /// The file at `path`, whose spot this is, if it is remembered.
    fn remembered(&self, path: &[u8], spot: Option<Spot>) -> Option<&tree::File> {
        let file = self.recent.get(spot?)?;
        debug_assert!(
            matches!(self.tree.lookup(path), Lookup::File(known) if known == file),
            "an old file is remembered"
        );
        Some(file)
    }

    fn is_current(&self, due: &Due) -> bool {
        let (deadline, created) = match self.tree.lookup(&due.path) {
            Lookup::File(file) => (file.deadline, file.created),
            Lookup::Dir(dir) => (dir.deadline, dir.created),
            Lookup::Missing { .. } | Lookup::Blocked { .. } => return false,
        };
        deadline == Some(due.deadline) && created == due.created
    }
}

/// A node that exists.
enum Found<'a> {
    File(&'a tree::File),
    Dir(&'a Rc<tree::Dir>),
}

impl Found<'_> {
    fn handle(&self, timeline: Timeline) -> NodeHandle {
        let node = match self {
            Self::File(file) => Node::File((*file).clone()),
            Self::Dir(dir) => Node::Dir(Rc::clone(dir)),
        };
        NodeHandle::new(node, timeline)
    }
}

/// The entry of the deadlines for the node a cursor stands on.
pub(crate) fn due_at(place: &Place<'_>) -> Option<Due> {
    let (at, deadline, created) = match place {
        Place::Enter(at, dir) => (at, dir.deadline?, dir.created),
        Place::File(at, file) => (at, file.deadline?, file.created),
        Place::Leave => return None,
    };
    Some(Due { deadline, path: Rc::from(at.path), created })
}

/// What a client's command counts as; none for those no client sends.
fn operation(command: &CommandRef<'_>) -> Option<Operation> {
    match command {
        CommandRef::Set { .. } => Some(Operation::Set),
        CommandRef::Create { .. } => Some(Operation::Create),
        CommandRef::Update { .. } => Some(Operation::Update),
        CommandRef::CompareAndSwap { .. } => Some(Operation::CompareAndSwap),
        CommandRef::Delete { .. } => Some(Operation::Delete),
        CommandRef::CompareAndDelete { .. } => Some(Operation::CompareAndDelete),
        CommandRef::Expire { .. } | CommandRef::Rebase { .. } | CommandRef::System(_) => None,
    }
}
