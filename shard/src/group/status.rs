//! Where a group stands, for those who look at it from outside.

use super::{Group, PeerState};
use crate::ids::{MemberId, RaftIndex, Term};
use raft::StateRole;

/// What a member is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It follows, or waits for a leader.
    Follower,
    /// It stands for election, or asks whether it could.
    Candidate,
    /// It leads.
    Leader,
}

/// How far a member's log is, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// It is the leader's up to here.
    pub matched: RaftIndex,
    /// The next entry to be sent.
    pub next: RaftIndex,
    /// How it is being brought up to date.
    pub state: PeerState,
}

/// A group as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The current term.
    pub term: Term,
    /// Who got this member's vote in it.
    pub vote: Option<MemberId>,
    /// Highest position known to be committed.
    pub commit: RaftIndex,
    /// Who leads, as far as this member knows.
    pub leader: Option<MemberId>,
    /// What this member is.
    pub role: Role,
    /// All members, this one included, in the order of their ids; empty if this one does not lead.
    pub progress: Vec<(MemberId, Reached)>,
}

impl Group {
    /// Where it stands.
    pub fn status(&self) -> Status {
        let raft = &self.node.raft;
        let role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        let known = raft.prs().iter().filter(|_| role == Role::Leader);
        let mut progress: Vec<_> = known
            .map(|(id, progress)| {
                let (matched, next) = (RaftIndex(progress.matched), RaftIndex(progress.next_idx));
                (MemberId(*id), Reached { matched, next, state: PeerState::of(progress.state) })
            })
            .collect();
        progress.sort_unstable_by_key(|(id, _)| *id);
        Status {
            term: self.term(),
            vote: (raft.vote != 0).then_some(MemberId(raft.vote)),
            commit: self.committed(),
            leader: self.leader(),
            role,
            progress,
        }
    }
}
