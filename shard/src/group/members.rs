//! Who takes part in a group, and how that changes.
//!
//! A change is an entry of the group's log, in the encoding that raft asks for: its `ConfChangeV2` with one step and an
//! automatic transition. It is written out here, so that nothing parses protobuf that comes from a peer or a disk.

use bytes::Bytes;
use mutant::Mutant;
use raft::ProgressState;
use raft::prelude::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

use crate::error::Error;
use crate::ids::MemberId;

/// The members of a group. Invariant: both lists are sorted, and nobody is in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those with a vote.
    pub voters: Vec<MemberId>,
    /// Those that receive the log and have no vote yet.
    pub learners: Vec<MemberId>,
}

/// One change of a group's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new member, without a vote.
    AddLearner(MemberId),
    /// A learner gets its vote: once it has caught up (see [`crate::shard::Shard::progress`]).
    Promote(MemberId),
    /// A member leaves for good.
    Remove(MemberId),
}

/// Why a change of members was not proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// Only a leader that is sure of itself and is not handing over can.
    #[error("this member does not lead the group")]
    NotLeading,
    /// One change at a time: try again once the one before has been committed.
    #[error("another change of members is under way")]
    Busy,
    /// Adding a member that is there, promoting one that is no learner, removing one that is not there.
    #[error("the change does not fit the members there are")]
    Unfit,
    /// The last member with a vote, or the leader itself: hand the leadership over first.
    #[error("the group would be left without a leader")]
    Needed,
}

/// Whether a member receives what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// The leader is finding out what it has.
    Probe,
    /// It receives entries as they come.
    Replicate,
    /// It is being sent a snapshot.
    Snapshot,
}

impl PeerState {
    pub(super) fn of(state: ProgressState) -> Self {
        match state {
            ProgressState::Probe => Self::Probe,
            ProgressState::Replicate => Self::Replicate,
            ProgressState::Snapshot => Self::Snapshot,
        }
    }
}

impl Members {
    /// Members with a vote only.
    pub fn of_voters(voters: impl IntoIterator<Item = MemberId>) -> Self {
        let mut voters: Vec<MemberId> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        Self { voters, learners: Vec::new() }
    }

    /// Nobody: what a member that joins a running cluster starts from.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty() && self.learners.is_empty()
    }

    /// Whether `member` takes part, with or without a vote.
    pub fn contains(&self, member: MemberId) -> bool {
        self.voters.contains(&member) || self.learners.contains(&member)
    }

    /// All of them, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = MemberId> {
        self.voters.iter().chain(&self.learners).copied()
    }

    /// Carries out a change; false if it does not fit, and then nothing has changed. Every member decides alike.
    pub fn apply(&mut self, change: MemberChange) -> bool {
        let fits = self.fits(change);
        if fits {
            match change {
                MemberChange::AddLearner(id) => insert(&mut self.learners, id),
                MemberChange::Promote(id) => {
                    self.learners.retain(|learner| *learner != id);
                    insert(&mut self.voters, id);
                }
                MemberChange::Remove(id) => {
                    self.learners.retain(|learner| *learner != id);
                    self.voters.retain(|voter| *voter != id);
                }
            }
        }
        fits
    }

    /// Whether a change makes sense.
    pub fn fits(&self, change: MemberChange) -> bool {
        match change {
            MemberChange::AddLearner(id) => id.0 != 0 && !self.contains(id),
            MemberChange::Promote(id) => self.learners.contains(&id),
            MemberChange::Remove(id) => self.contains(id) && self.voters != [id],
        }
    }

    pub(super) fn conf(&self) -> ConfState {
        let ids = |members: &[MemberId]| members.iter().map(|member| member.0).collect();
        ConfState { voters: ids(&self.voters), learners: ids(&self.learners), ..ConfState::default() }
    }

    pub(crate) fn from_conf(conf: &ConfState) -> Self {
        let ids = |ids: &[u64]| ids.iter().map(|id| MemberId(*id)).collect::<Vec<_>>();
        Self::from_ids(ids(&conf.voters), ids(&conf.learners))
    }

    pub(crate) fn from_ids(
        voters: impl IntoIterator<Item = MemberId>,
        learners: impl IntoIterator<Item = MemberId>,
    ) -> Self {
        let Self { voters, .. } = Self::of_voters(voters);
        let Self { voters: learners, .. } = Self::of_voters(learners);
        Self { voters, learners }
    }
}

fn insert(members: &mut Vec<MemberId>, id: MemberId) {
    let at = members.partition_point(|member| *member < id);
    members.insert(at, id);
}

/// Field 2 of `ConfChangeV2`, a message.
const CHANGE: u8 = 2 << 3 | 2;
/// Field 1 of `ConfChangeSingle`, a number; left out for 0, a voter.
const KIND: u8 = 1 << 3;
/// Field 2 of `ConfChangeSingle`, a number.
const NODE: u8 = 2 << 3;
const KIND_REMOVE: u8 = 1;
const KIND_LEARNER: u8 = 2;

impl MemberChange {
    /// Whom it is about.
    pub fn member(self) -> MemberId {
        match self {
            Self::AddLearner(id) | Self::Promote(id) | Self::Remove(id) => id,
        }
    }

    /// The data of its entry.
    pub fn encode(self) -> Bytes {
        let mut single = match self {
            Self::Promote(_) => Vec::new(),
            Self::Remove(_) => vec![KIND, KIND_REMOVE],
            Self::AddLearner(_) => vec![KIND, KIND_LEARNER],
        };
        single.push(NODE);
        let mut rest = self.member().0;
        while rest >= 0x80 {
            single.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        single.push(rest as u8);
        // A change is at most 13 bytes, so that its length is one byte.
        let mut data = vec![CHANGE, single.len() as u8];
        data.extend(single);
        Bytes::from(data)
    }

    /// Reads the data of an entry that comes from a peer or a disk.
    pub fn decode(data: &[u8]) -> Result<Self, Error> {
        let found = Self::read(data).filter(|change| change.member().0 != 0 && change.encode() == data);
        found.ok_or_else(|| Error::Batch(format!("no change of members that is known here: {data:02x?}")))
    }

    fn read(data: &[u8]) -> Option<Self> {
        let [CHANGE, length, rest @ ..] = data else { return None };
        if usize::from(*length) != rest.len() {
            return None;
        }
        let (kind, rest) = match rest {
            [KIND, kind, rest @ ..] => (*kind, rest),
            rest => (0, rest),
        };
        let [NODE, id @ ..] = rest else { return None };
        if id.len() > 10 {
            return None;
        }
        let bits = id.iter().enumerate();
        let id = MemberId(bits.fold(0, |id, (nth, byte)| id | u64::from(byte & 0x7f) << (7 * nth)));
        match kind {
            0 => Some(Self::Promote(id)),
            KIND_REMOVE => Some(Self::Remove(id)),
            KIND_LEARNER => Some(Self::AddLearner(id)),
            _ => None,
        }
    }

    pub(super) fn to_raft(self) -> ConfChangeV2 {
        let mut single = ConfChangeSingle { node_id: self.member().0, ..ConfChangeSingle::default() };
        single.set_change_type(match self {
            Self::AddLearner(_) if mutant::is(Mutant::LearnerVotes) => ConfChangeType::AddNode,
            Self::AddLearner(_) => ConfChangeType::AddLearnerNode,
            Self::Promote(_) => ConfChangeType::AddNode,
            Self::Remove(_) => ConfChangeType::RemoveNode,
        });
        let mut change = ConfChangeV2::default();
        change.set_changes(vec![single].into());
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_reads_the_same_from_its_bytes() {
        for id in [1, 0x7f, 0x80, 0x1234_5678, u64::MAX].map(MemberId) {
            for change in [MemberChange::AddLearner(id), MemberChange::Promote(id), MemberChange::Remove(id)] {
                assert_eq!(MemberChange::decode(&change.encode()), Ok(change));
            }
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = MemberChange::AddLearner(MemberId(300)).encode();
        for cut in 0..good.len() {
            assert!(MemberChange::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [&[][..], &[CHANGE, 2, NODE, 0], &[CHANGE, 4, KIND, 9, NODE, 1], &[CHANGE, 3, NODE, 0x80, 0]] {
            assert!(MemberChange::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_changes_that_fit_are_carried_out() {
        let [a, b] = [1, 2].map(MemberId);
        let mut members = Members::of_voters([a]);
        for (change, fits) in [
            (MemberChange::Remove(a), false),
            (MemberChange::Promote(b), false),
            (MemberChange::AddLearner(a), false),
            (MemberChange::AddLearner(b), true),
            (MemberChange::AddLearner(b), false),
            (MemberChange::Promote(b), true),
            (MemberChange::Remove(a), true),
            (MemberChange::Remove(b), false),
        ] {
            assert_eq!(members.apply(change), fits, "{change:?} on {members:?}");
        }
        assert_eq!(members, Members::of_voters([b]));
    }
}
