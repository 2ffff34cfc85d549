//! One raft group: `TiKV`'s `raft` driven without I/O, clock or randomness of its own.
//!
//! Calling order, as raft's authors ask for it: any number of inputs ([`Group::propose`], [`Group::step`],
//! [`Group::tick`], …), then [`Group::ready`] until it returns `None`; what it returns is made durable in the order it was
//! returned, and then reported with [`Group::persisted`], after which there may be more to be had from [`Group::ready`].
//!
//! Members change for raft when the entry that says so is committed, not when the shard applies it: a shard may have to
//! wait for other shards with that, and raft elects nobody who has not caught up with his own group's members.

mod amnesia;
mod changes;
mod members;
mod memlog;
mod messages;
mod older;
mod pull;
mod seed;
mod status;
mod timeouts;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use mutant::Mutant;
use raft::prelude::{Entry, HardState, Message, MessageType, Snapshot};
use raft::{RawNode, ReadState, SnapshotStatus, StateRole};

use crate::ids::{MemberId, RaftIndex, Term};
use amnesia::Amnesia;
use changes::{last_change, last_change_of};
pub use members::{ChangeRefused, MemberChange, Members, PeerState};
use memlog::MemLog;
use pull::Pull;
pub use seed::{Fetch, GroupSeed, LOG_NOTHING, LOG_START, LogEntry, Ready, TAIL_BYTES, Vote};
pub use status::{Reached, Role, Status};
use timeouts::Timeouts;

/// Data of the entries in one message, in bytes: what a follower that lags is sent at a time. A larger entry goes alone.
pub const MESSAGE_BYTES: u64 = 64 << 10;

/// Messages with entries that a member has not acknowledged: with [`MESSAGE_BYTES`], at most 4 MiB per group and member.
pub const IN_FLIGHT_MESSAGES: usize = 64;

/// How far a member is, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Its log is the leader's up to here.
    pub matched: RaftIndex,
    /// How it is being brought up to date.
    pub state: PeerState,
    /// It was heard from within the last election timeout.
    pub recent_active: bool,
    /// It has no vote.
    pub is_learner: bool,
}

/// One member's share of one raft group.
pub struct Group {
    node: RawNode<MemLog>,
    /// Ready numbers that were handed out and are not reported yet.
    unreported: usize,
    /// Readies that carry a new term or vote and are not durable, with the term; and the highest term that is.
    votes_under_way: VecDeque<(u64, Term)>,
    durable_term: Term,
    /// The commit mark that was written last, and the last change of members in the log: an entry that follows a change
    /// must not be on the disk without the mark that covers the change, or a restart would count majorities of members
    /// long gone.
    written_commit: u64,
    changed_at: u64,
    /// Readies with the mark that covers a change and are not durable, with its position; and the last that is.
    changes_under_way: VecDeque<(u64, RaftIndex)>,
    durable_change: RaftIndex,
    /// The members as of the last committed entry.
    members: Members,
    /// The last committed entry that was handed out.
    delivered: u64,
    tail_bytes: usize,
    timeouts: Timeouts,
    pull: Pull,
    amnesia: Option<Amnesia>,
    /// Messages of our own, which raft knows nothing of.
    own: Vec<Message>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("term", &self.term())
            .field("role", &self.node.raft.state)
            .field("commit", &self.committed())
            .finish_non_exhaustive()
    }
}

/// raft refused an input; nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Says what and where it came from.
    #[error("raft refused an input: {0}")]
    Raft(#[from] raft::Error),
    /// A message that no peer of the same version sends.
    #[error("a peer's message makes no sense: {0}")]
    Nonsense(&'static str),
    /// The log on disk gave back others than were written there.
    #[error("the log on disk gave back wrong entries at {0}")]
    WrongEntries(RaftIndex),
}

impl Group {
    /// Starts a group from what was found on disk. `commit`: everything up to there is known to be committed.
    pub fn start(seed: GroupSeed, commit: RaftIndex) -> Result<Self, GroupError> {
        let (applied, applied_term) = seed.applied;
        let last = seed.entries.last().map_or(applied, |e| e.index);
        let commit = seed.vote.commit.max(commit.0);
        let hard = HardState {
            term: seed.vote.term.max(applied_term.0).max(seed.entries.last().map_or(0, |e| e.term.0)),
            vote: seed.vote.vote,
            // The commit mark may have been written with entries that a torn tail has taken away again.
            commit: commit.clamp(applied.0, last.0),
            ..HardState::default()
        };
        let (written_commit, durable_term) = (hard.commit, Term(hard.term));
        let changed_at = last_change(&seed.entries).unwrap_or_default().0;
        let entries = seed.entries.into_iter().map(seed::to_raft).collect();
        let log = MemLog::new(seed.applied, entries, hard, seed.members.clone());
        let config = raft::Config {
            id: seed.member.0,
            election_tick: seed.election_ticks,
            max_election_tick: timeouts::LONGEST * seed.election_ticks,
            heartbeat_tick: seed.heartbeat_ticks,
            applied: applied.0,
            max_size_per_msg: MESSAGE_BYTES,
            max_inflight_msgs: IN_FLIGHT_MESSAGES,
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node = RawNode::new(&config, log, &logger)?;
        let timeouts = Timeouts::new(seed.random_seed, seed.election_ticks, &mut node.raft);
        let ask = seed.amnesia.as_deref().filter(|_| !mutant::is(Mutant::VotesAfterAmnesia));
        Ok(Self {
            node,
            unreported: 0,
            votes_under_way: VecDeque::new(),
            durable_term,
            written_commit,
            changed_at,
            changes_under_way: VecDeque::new(),
            durable_change: RaftIndex(0),
            members: seed.members,
            delivered: applied.0,
            tail_bytes: seed.tail_bytes,
            timeouts,
            pull: Pull::new(seed.election_ticks),
            amnesia: ask.map(|ask| Amnesia::new(seed.member, ask, seed.random_seed, seed.election_ticks)),
            own: Vec::new(),
        })
    }

    /// This member.
    pub fn me(&self) -> MemberId {
        MemberId(self.node.raft.id)
    }

    /// This member leads the group.
    pub fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// This member leads, an entry of its own term is committed (so the log holds everything ever acknowledged), and it
    /// is not handing over. Only then it may propose.
    pub fn leads_surely(&self) -> bool {
        self.leads() && self.node.raft.commit_to_current_term() && self.node.raft.lead_transferee.is_none()
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<MemberId> {
        let leader = self.node.raft.leader_id;
        (leader != 0).then_some(MemberId(leader))
    }

    /// The current term.
    pub fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    /// Highest position known to be committed.
    pub fn committed(&self) -> RaftIndex {
        RaftIndex(self.node.raft.raft_log.committed)
    }

    /// Position of the last entry in the log.
    pub fn last(&self) -> RaftIndex {
        RaftIndex(self.node.raft.raft_log.last_index())
    }

    /// Highest position known to be durable here.
    pub fn durable(&self) -> RaftIndex {
        RaftIndex(self.node.raft.raft_log.persisted)
    }

    /// This member is the only one with a vote.
    pub fn is_alone(&self) -> bool {
        self.members.voters == [self.me()]
    }

    /// Members as of the last committed entry.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// It lost something it may have promised, and has not caught up.
    pub fn is_amnesiac(&self) -> bool {
        self.amnesia.is_some()
    }

    /// The highest term that is durable: what was promised in later ones has reached nobody.
    pub fn durable_term(&self) -> Term {
        self.durable_term
    }

    /// How far the others are; nothing if this member does not lead.
    pub fn progress(&self) -> impl Iterator<Item = (MemberId, PeerProgress)> {
        let tracker = self.node.raft.prs();
        let (me, leads) = (self.node.raft.id, self.leads());
        let others = tracker.iter().filter(move |(id, _)| leads && **id != me);
        others.map(|(id, progress)| {
            let state = PeerState::of(progress.state);
            let (matched, recent_active) = (RaftIndex(progress.matched), progress.recent_active);
            let is_learner = tracker.conf().learners().contains(id);
            (MemberId(*id), PeerProgress { matched, state, recent_active, is_learner })
        })
    }

    /// Lets one unit of time pass.
    pub fn tick(&mut self) {
        self.pull.tick();
        if let Some(amnesia) = &mut self.amnesia {
            self.own.extend(amnesia.tick(self.node.raft.id));
        } else if self.may_campaign() || self.leads() {
            self.node.tick();
            self.timeouts.keep(&mut self.node.raft);
        }
    }

    /// Stands for election now instead of waiting for the timeout.
    pub fn campaign(&mut self) {
        if self.may_campaign() {
            // Refused only while a conf change is waiting to be applied; the timeout tries again.
            let _ = self.node.campaign();
            self.timeouts.keep(&mut self.node.raft);
        }
    }

    /// A member that is alone wins at once, and raft asks that its log is durable then. And while a snapshot is not, raft
    /// looks for changes of members among entries that are not there any more.
    fn may_campaign(&self) -> bool {
        let whole = self.node.raft.raft_log.applied >= self.node.store().base().0;
        self.amnesia.is_none() && whole && !(self.is_alone() && self.unreported > 0)
    }

    /// Pulls the group towards `primary`, who leads the node's first group; called once per tick.
    pub fn follow(&mut self, primary: Option<MemberId>) {
        self.timeouts.be_patient(primary != Some(self.me()), &mut self.node.raft);
        match self.pull.next(&self.node.raft, primary) {
            Some(pull::Step::Campaign) => self.campaign(),
            Some(pull::Step::Transfer(to)) => self.transfer(to),
            // On its way to the leader: raft sends it there.
            Some(pull::Step::Ask) => self.node.transfer_leader(self.me().0),
            None => {}
        }
    }

    /// Hands the leadership over, if this member has it and `to` can vote. It proposes nothing meanwhile.
    pub fn transfer(&mut self, to: MemberId) {
        if self.leads() && to != self.me() && self.members.voters.contains(&to) {
            self.node.transfer_leader(to.0);
        }
    }

    /// What was sent to `peer` last may be lost.
    pub fn unreachable(&mut self, peer: MemberId) {
        self.node.report_unreachable(peer.0);
    }

    /// The snapshot that `peer` was to be sent has arrived, message and all, or has not.
    pub fn report_snapshot(&mut self, peer: MemberId, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(peer.0, status);
    }

    /// Has raft try again to bring `peer` up to date, instead of at its next heartbeat.
    pub fn retry(&mut self, peer: MemberId) {
        if !self.leads() || peer == self.me() {
            return;
        }
        let raft = &mut self.node.raft;
        if let Some(progress) = raft.mut_prs().get_mut(peer.0) {
            progress.resume();
            raft.send_append(peer.0);
        }
    }

    /// Entries that members who lag need and that are not in memory any more, asked for since the last call. Each is
    /// answered with [`Group::fetched`] sooner or later; raft waits for nothing meanwhile.
    pub fn take_fetches(&mut self) -> impl Iterator<Item = Fetch> {
        self.node.mut_store().older().take_asked()
    }

    /// Answers a [`Fetch`]: consecutive entries from its first position on, as many as there are; none if the log on disk
    /// begins only at `from` now (the member will be sent a snapshot). An error if these are not the entries that were
    /// written: they are not used, nor is the log asked for any others of that time.
    pub fn fetched(&mut self, first: RaftIndex, entries: Vec<LogEntry>, from: RaftIndex) -> Result<(), GroupError> {
        let base = self.node.store().base();
        let older = self.node.mut_store().older();
        let Some(context) = older.answer(first.0) else { return Ok(()) };
        let entries: Vec<Entry> = entries.into_iter().map(seed::to_raft).collect();
        let right = older.are_right(first.0, &entries);
        if !right {
            older.raise_floor(base.0 + 1);
        } else if entries.is_empty() {
            older.raise_floor(from.0.clamp(first.0 + 1, base.0 + 1));
        } else {
            older.lend(Some((first.0, entries)));
        }
        self.node.on_entries_fetched(context);
        self.node.mut_store().older().lend(None);
        if right { Ok(()) } else { Err(GroupError::WrongEntries(first)) }
    }

    /// Appends `data` to the log of the group, which this member must lead surely; returns its position.
    pub fn propose(&mut self, data: Bytes) -> RaftIndex {
        assert!(self.leads_surely(), "only a leader that is sure of itself proposes");
        self.append(Entry { data, ..Entry::default() })
    }

    fn append(&mut self, entry: Entry) -> RaftIndex {
        let mut message = Message { from: self.node.raft.id, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        let before = self.last();
        let proposed = self.node.raft.step(message);
        assert!(proposed.is_ok(), "a leader without limits refused a proposal: {proposed:?}");
        assert_eq!(self.last().0, before.0 + 1, "one entry per proposal");
        self.last()
    }

    /// Begins a quorum round that confirms this member's leadership; `context` comes back in [`Ready::confirmed`].
    pub fn confirm(&mut self, context: u64) {
        // Where rules can be left out, rounds of regimes are counted from 1 and reads from far above.
        let of_regime = u32::try_from(context).is_ok();
        if mutant::is(if of_regime { Mutant::RegimeUnconfirmed } else { Mutant::ReadUnconfirmed }) {
            let request_ctx = context.to_le_bytes().to_vec();
            self.node.raft.read_states.push(ReadState { index: 0, request_ctx });
            return;
        }
        self.node.read_index(context.to_le_bytes().to_vec());
    }

    /// Takes in a snapshot's message; true if raft accepted it, and the log goes on from there.
    pub fn install(&mut self, message: Message) -> Result<bool, GroupError> {
        if message.get_msg_type() != MessageType::MsgSnapshot {
            return Err(GroupError::Nonsense("a snapshot without its message"));
        }
        // raft may still hold the same one, or an older one, from a moment ago.
        let (at, before) = (message.get_snapshot().get_metadata().index, self.committed());
        self.step(message)?;
        let taken = self.node.raft.raft_log.unstable_snapshot().as_ref();
        Ok(before.0 < at && taken.is_some_and(|snapshot| snapshot.get_metadata().index == at))
    }

    /// The next piece of work, if there is any.
    pub fn ready(&mut self) -> Option<Ready> {
        if !self.node.has_ready() {
            return (!self.own.is_empty())
                .then(|| Ready { at_once: std::mem::take(&mut self.own), ..Ready::default() });
        }
        let mut from_raft = self.node.ready();
        let number = from_raft.number();
        let mut ready = Ready { at_once: std::mem::take(&mut self.own), ..Ready::default() };
        self.sort_messages(&mut from_raft, &mut ready);
        let contexts = from_raft.take_read_states();
        ready.confirmed = contexts.iter().filter_map(|read| context_of(&read.request_ctx)).collect();
        ready.at_once.extend(contexts.iter().filter_map(|read| self.answer_as_leader(&read.request_ctx)));
        let change = last_change_of(from_raft.committed_entries());
        self.changes_under_way.extend(change.map(|at| (number, at)));
        let sync = from_raft.must_sync() || change.is_some();
        ready.vote = self.vote_to_write(number, from_raft.hs(), sync);
        ready.snapshot = self.reset_to(from_raft.snapshot());
        let entries = from_raft.take_entries();
        self.node.mut_store().append(&entries);
        ready.entries = entries.iter().map(LogEntry::from).collect();
        self.changed_at = last_change(&ready.entries).map_or(self.changed_at, |at| at.0);
        ready.committed = from_raft.take_committed_entries().iter().map(LogEntry::from).collect();
        self.node.advance_append_async(from_raft);
        if sync || !ready.after_durable.is_empty() {
            ready.number = Some(number);
            self.unreported += 1;
        } else if self.unreported == 0 {
            self.node.on_persist_ready(number);
        }
        ready.removed = self.take_over(&ready.committed);
        self.timeouts.keep(&mut self.node.raft);
        Some(ready)
    }

    /// Everything up to and including the ready of this `number` is durable.
    pub fn persisted(&mut self, number: u64) {
        assert!(self.unreported > 0, "ready {number} was reported twice");
        self.unreported -= 1;
        while let Some((_, term)) = self.votes_under_way.pop_front_if(|vote| vote.0 <= number) {
            self.durable_term = term;
        }
        while let Some((_, at)) = self.changes_under_way.pop_front_if(|change| change.0 <= number) {
            self.durable_change = at;
        }
        self.node.on_persist_ready(number);
        self.settle_applied();
        self.end_amnesia();
        self.timeouts.keep(&mut self.node.raft);
    }

    /// The shard's state contains everything up to `upto`, with these members.
    pub fn applied(&mut self, upto: (RaftIndex, Term), members: &Members) {
        let keep = if self.members.all().any(|member| member != self.me()) { self.tail_bytes } else { 0 };
        self.node.mut_store().applied(upto, members, keep);
    }

    /// The commit mark alone is not worth a write: it is a lower bound, and goes along with the next one.
    fn vote_to_write(&mut self, number: u64, hard: Option<&HardState>, sync: bool) -> Option<Vote> {
        if let Some(hard) = hard {
            let kept = &self.node.store().hard;
            if (hard.term, hard.vote) != (kept.term, kept.vote) {
                self.votes_under_way.push_back((number, Term(hard.term)));
            }
            self.node.mut_store().hard = hard.clone();
        }
        // What is appended now may itself be a change: it is not committed, so that no mark covers it.
        let covers_changes = self.written_commit >= self.changed_at.min(self.node.store().hard.commit);
        if !sync || (hard.is_none() && covers_changes) {
            return None;
        }
        let hard = &self.node.store().hard;
        self.written_commit = hard.commit;
        if mutant::is(Mutant::CommitMarkTooHigh) {
            return Some(Vote { term: hard.term, vote: hard.vote, commit: self.last().0 });
        }
        Some(Vote { term: hard.term, vote: hard.vote, commit: hard.commit })
    }

    fn reset_to(&mut self, snapshot: &Snapshot) -> Option<(RaftIndex, Term)> {
        if snapshot.is_empty() {
            return None;
        }
        let metadata = snapshot.get_metadata();
        let at = (RaftIndex(metadata.index), Term(metadata.term));
        self.members = Members::from_conf(metadata.get_conf_state());
        self.node.mut_store().reset(at, self.members.clone());
        self.delivered = metadata.index;
        Some(at)
    }

    /// Carries out the changes of members among what is committed; true if this member was removed.
    fn take_over(&mut self, committed: &[LogEntry]) -> bool {
        let was_there = self.members.contains(self.me());
        for entry in committed {
            self.delivered = entry.index.0;
            if entry.conf_change {
                self.change_members(&entry.data);
            }
        }
        self.settle_applied();
        self.end_amnesia();
        was_there && !self.members.contains(self.me())
    }

    /// For raft, applied is what was handed out; and it must be durable here.
    fn settle_applied(&mut self) {
        let log = &self.node.raft.raft_log;
        let upto = self.delivered.min(log.committed).min(log.persisted);
        if upto > log.applied {
            self.node.advance_apply_to(upto);
        }
    }

    fn end_amnesia(&mut self) {
        let (committed, durable) = (self.committed(), self.durable());
        if self.amnesia.as_ref().is_some_and(|amnesia| amnesia.is_over(committed, durable)) {
            self.amnesia = None;
        }
    }
}

fn context_of(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}
