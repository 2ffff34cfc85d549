//! One raft group: `TiKV`'s `raft` driven without I/O, clock or randomness of its own.
//!
//! Calling order, as raft's authors ask for it: any number of inputs ([`Group::propose`], [`Group::tick`], …), then
//! [`Group::ready`] until it returns `None`; what it returns is made durable in the order it was returned, and then
//! reported with [`Group::persisted`], after which there may be more to be had from [`Group::ready`].

mod memlog;

use bytes::Bytes;
use raft::prelude::{ConfState, Entry, EntryType, HardState, Message, MessageType};
use raft::{RawNode, StateRole};

use crate::ids::{MemberId, RaftIndex, Term};
use memlog::MemLog;

/// Every group's log begins above this position, so that an empty log differs from one that holds nothing yet.
pub const LOG_START: (RaftIndex, Term) = (RaftIndex(1), Term(1));

/// One entry as it is kept in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Position in the group's log.
    pub index: RaftIndex,
    /// Term of the leader that wrote it.
    pub term: Term,
    /// A change of the group's members instead of a batch.
    pub conf_change: bool,
    /// The batch (see [`crate::command::Batch`]), or a conf change, or nothing: a new leader's first entry.
    pub data: Bytes,
}

/// What raft must not forget besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// Highest term this member has taken part in.
    pub term: u64,
    /// Whom it voted for in that term; 0 if nobody.
    pub vote: u64,
    /// Highest position it knew to be committed: a lower bound, written along with other things.
    pub commit: u64,
}

/// What a group starts from: the disk, or nothing.
#[derive(Clone, Debug)]
pub struct GroupSeed {
    /// This member.
    pub member: MemberId,
    /// Members with a vote, as of `applied`.
    pub voters: Vec<MemberId>,
    /// Last position contained in the state the store starts from; [`LOG_START`] if it is empty.
    pub applied: (RaftIndex, Term),
    /// The last vote found on disk.
    pub vote: Vote,
    /// The entries found on disk above `applied`, consecutive.
    pub entries: Vec<LogEntry>,
    /// Election timeout in ticks; the group draws from `election_ticks..2 * election_ticks`.
    pub election_ticks: usize,
    /// Heartbeat interval in ticks.
    pub heartbeat_ticks: usize,
    /// Seeds the group's own generator of election timeouts.
    pub random_seed: u64,
}

/// Work that raft asks for. Everything in `entries` and `vote` becomes durable before [`Group::persisted`] is told.
#[derive(Debug, Default)]
pub struct Ready {
    /// Report this number as persisted once `entries` and `vote` are durable. `None`: nothing to write.
    pub number: Option<u64>,
    /// To be appended to the log, overriding what it holds at the same positions.
    pub entries: Vec<LogEntry>,
    /// To be written with (or instead of) entries.
    pub vote: Option<Vote>,
    /// Committed now, in order; to be applied by the shard.
    pub committed: Vec<LogEntry>,
    /// May leave at once.
    pub at_once: Vec<Message>,
    /// Must not leave before `entries` and `vote` are durable.
    pub after_durable: Vec<Message>,
    /// Contexts of the quorum rounds that have been confirmed (see [`Group::confirm`]).
    pub confirmed: Vec<u64>,
}

/// One member's share of one raft group.
pub struct Group {
    node: RawNode<MemLog>,
    /// Ready numbers that were handed out and are not reported yet.
    unreported: usize,
    random: SplitMix,
    /// The election timeout drawn last; raft draws its own from the thread's generator, which we undo.
    election_timeout: usize,
    drawn_for: (u64, StateRole),
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

/// raft refused an input that its caller should not have made; says what and where it came from.
#[derive(Debug, thiserror::Error)]
#[error("raft refused to start: {0}")]
pub struct GroupError(#[from] raft::Error);

impl Group {
    /// Starts a group from what was found on disk.
    pub fn start(seed: GroupSeed) -> Result<Self, GroupError> {
        let (applied, applied_term) = seed.applied;
        let last = seed.entries.last().map_or(applied, |e| e.index);
        let hard = HardState {
            term: seed.vote.term.max(applied_term.0).max(seed.entries.last().map_or(0, |e| e.term.0)),
            vote: seed.vote.vote,
            // The commit mark may have been written with entries that a torn tail has taken away again.
            commit: seed.vote.commit.clamp(applied.0, last.0),
            ..HardState::default()
        };
        let conf = ConfState { voters: seed.voters.iter().map(|m| m.0).collect(), ..ConfState::default() };
        let log = MemLog::new(seed.applied, seed.entries.into_iter().map(to_raft).collect(), hard, conf);
        let config = raft::Config {
            id: seed.member.0,
            election_tick: seed.election_ticks,
            heartbeat_tick: seed.heartbeat_ticks,
            applied: applied.0,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, log, &logger)?;
        let drawn_for = (node.raft.term, node.raft.state);
        let mut group = Self {
            node,
            unreported: 0,
            random: SplitMix(seed.random_seed),
            election_timeout: seed.election_ticks,
            drawn_for,
        };
        group.draw_timeout(seed.election_ticks);
        Ok(group)
    }

    /// This member leads the group.
    pub fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// This member leads, and an entry of its own term is committed: the log holds everything ever acknowledged.
    pub fn leads_surely(&self) -> bool {
        self.leads() && self.node.raft.commit_to_current_term()
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

    /// This member is the only one with a vote.
    pub fn is_alone(&self) -> bool {
        let voters = &self.node.store().conf.voters;
        voters.len() == 1 && voters[0] == self.node.raft.id
    }

    /// Members with a vote.
    pub fn voters(&self) -> Vec<MemberId> {
        self.node.store().conf.voters.iter().map(|&v| MemberId(v)).collect()
    }

    /// Lets one unit of time pass.
    pub fn tick(&mut self) {
        self.node.tick();
        self.keep_own_timeout();
    }

    /// Stands for election now instead of waiting for the timeout.
    pub fn campaign(&mut self) {
        // Refused only while a conf change is waiting to be applied; the timeout tries again.
        let _ = self.node.campaign();
        self.keep_own_timeout();
    }

    /// Appends `data` to the log of the group, which this member must lead; returns its position.
    pub fn propose(&mut self, data: Bytes) -> RaftIndex {
        assert!(self.leads(), "only a leader proposes");
        let entry = Entry { data, ..Entry::default() };
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
        self.node.read_index(context.to_le_bytes().to_vec());
    }

    /// The next piece of work, if there is any.
    pub fn ready(&mut self) -> Option<Ready> {
        if !self.node.has_ready() {
            return None;
        }
        let mut from_raft = self.node.ready();
        let number = from_raft.number();
        let entries = from_raft.take_entries();
        let mut ready = Ready {
            committed: from_raft.take_committed_entries().into_iter().map(from_raft_entry).collect(),
            at_once: from_raft.take_messages(),
            after_durable: from_raft.take_persisted_messages(),
            confirmed: from_raft.take_read_states().iter().filter_map(|r| context_of(&r.request_ctx)).collect(),
            ..Ready::default()
        };
        let sync = from_raft.must_sync();
        if let Some(hard) = from_raft.hs() {
            self.node.mut_store().hard = hard.clone();
            // The commit mark alone is not worth a write: it is a lower bound, and goes along with the next one.
            ready.vote = sync.then_some(Vote { term: hard.term, vote: hard.vote, commit: hard.commit });
        }
        self.node.mut_store().append(&entries);
        ready.entries = entries.into_iter().map(from_raft_entry).collect();
        self.node.advance_append_async(from_raft);
        if sync || !ready.after_durable.is_empty() {
            ready.number = Some(number);
            self.unreported += 1;
        } else if self.unreported == 0 {
            self.node.on_persist_ready(number);
        }
        self.keep_own_timeout();
        Some(ready)
    }

    /// Everything up to and including the ready of this `number` is durable.
    pub fn persisted(&mut self, number: u64) {
        assert!(self.unreported > 0, "ready {number} was reported twice");
        self.unreported -= 1;
        self.node.on_persist_ready(number);
        self.keep_own_timeout();
    }

    /// The shard's state contains everything up to `upto`; the entries are not needed in memory any more.
    pub fn applied(&mut self, upto: RaftIndex) {
        self.node.advance_apply_to(upto.0);
        self.node.mut_store().forget(upto);
    }

    /// raft re-draws its timeout from the thread's own random source whenever its role or term changes; a run must
    /// depend on the seed alone, so ours goes back in.
    fn keep_own_timeout(&mut self) {
        let now = (self.node.raft.term, self.node.raft.state);
        if now != self.drawn_for {
            self.drawn_for = now;
            self.draw_timeout(self.node.raft.election_timeout());
        } else if self.node.raft.randomized_election_timeout() != self.election_timeout {
            self.node.raft.set_randomized_election_timeout(self.election_timeout);
        }
    }

    fn draw_timeout(&mut self, ticks: usize) {
        self.election_timeout = ticks + (self.random.next() % ticks as u64) as usize;
        self.node.raft.set_randomized_election_timeout(self.election_timeout);
    }
}

fn context_of(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn to_raft(entry: LogEntry) -> Entry {
    let mut raft = Entry { index: entry.index.0, term: entry.term.0, data: entry.data, ..Entry::default() };
    raft.set_entry_type(if entry.conf_change { EntryType::EntryConfChangeV2 } else { EntryType::EntryNormal });
    raft
}

fn from_raft_entry(entry: Entry) -> LogEntry {
    LogEntry {
        index: RaftIndex(entry.index),
        term: Term(entry.term),
        conf_change: entry.get_entry_type() != EntryType::EntryNormal,
        data: entry.data,
    }
}

/// The generator of election timeouts: `SplitMix64` (Steele, Lea, Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(entries: Vec<LogEntry>, vote: Vote) -> GroupSeed {
        let member = MemberId(7);
        GroupSeed {
            member,
            voters: vec![member],
            applied: LOG_START,
            vote,
            entries,
            election_ticks: 10,
            heartbeat_ticks: 1,
            random_seed: 3,
        }
    }

    /// Runs the group with a disk that is always in time; returns what was committed.
    fn settle(group: &mut Group) -> Vec<LogEntry> {
        let mut committed = Vec::new();
        while let Some(ready) = group.ready() {
            committed.extend(ready.committed);
            if let Some(number) = ready.number {
                group.persisted(number);
            }
        }
        committed
    }

    #[test]
    fn a_lone_member_leads_after_its_own_vote_and_entry_are_durable() {
        let mut group = Group::start(seed(Vec::new(), Vote::default())).expect("starts");
        group.campaign();
        assert!(!group.leads_surely());
        settle(&mut group);
        assert!(group.leads_surely() && group.is_alone());
    }

    #[test]
    fn nothing_is_committed_before_it_is_persisted() {
        let mut group = Group::start(seed(Vec::new(), Vote::default())).expect("starts");
        group.campaign();
        settle(&mut group);
        let at = group.propose(Bytes::from_static(b"batch"));
        let ready = group.ready().expect("an entry to write");
        assert_eq!(ready.entries.len(), 1);
        assert!(ready.committed.is_empty());
        assert!(group.ready().is_none());
        group.persisted(ready.number.expect("must be written"));
        let committed = settle(&mut group);
        assert_eq!(committed.last().map(|e| (e.index, e.data.clone())), Some((at, Bytes::from_static(b"batch"))));
    }

    #[test]
    fn two_writes_may_be_under_way() {
        let mut group = Group::start(seed(Vec::new(), Vote::default())).expect("starts");
        group.campaign();
        settle(&mut group);
        group.propose(Bytes::from_static(b"a"));
        let first = group.ready().and_then(|r| r.number).expect("first write");
        group.propose(Bytes::from_static(b"b"));
        let second = group.ready().and_then(|r| r.number).expect("second write");
        group.persisted(first);
        let data: Vec<Bytes> =
            group.ready().map(|r| r.committed.into_iter().map(|e| e.data).collect()).unwrap_or_default();
        assert_eq!(data, [Bytes::from_static(b"a")]);
        group.persisted(second);
        assert_eq!(settle(&mut group).len(), 1);
    }

    #[test]
    fn a_restart_commits_what_the_log_holds() {
        let entries = (2..5)
            .map(|i| LogEntry {
                index: RaftIndex(i),
                term: Term(1),
                conf_change: false,
                data: Bytes::from(vec![i as u8]),
            })
            .collect();
        let mut group = Group::start(seed(entries, Vote { term: 3, vote: 7, commit: 99 })).expect("starts");
        let mut committed = settle(&mut group);
        group.campaign();
        committed.extend(settle(&mut group));
        assert!(group.leads_surely() && group.term() > Term(3));
        let positions: Vec<u64> = committed.iter().map(|e| e.index.0).collect();
        assert_eq!(positions, [2, 3, 4, 5], "three found on disk and the new leader's own");
    }

    #[test]
    fn a_quorum_round_of_one_is_confirmed_at_once() {
        let mut group = Group::start(seed(Vec::new(), Vote::default())).expect("starts");
        group.campaign();
        settle(&mut group);
        group.confirm(41);
        assert_eq!(group.ready().map(|r| r.confirmed), Some(vec![41]));
    }

    #[test]
    fn election_timeouts_depend_on_the_seed_alone() {
        let timeouts = |random_seed| {
            let mut group =
                Group::start(GroupSeed { random_seed, ..seed(Vec::new(), Vote::default()) }).expect("starts");
            let mut seen = Vec::new();
            for _ in 0..60 {
                group.tick();
                seen.push(group.node.raft.randomized_election_timeout());
            }
            seen
        };
        assert_eq!(timeouts(5), timeouts(5));
        assert!((10..20).contains(&timeouts(5)[0]));
    }
}
