//! The members of the groups follow the membership that shard 0 keeps.
//!
//! A change of the membership is one command in shard 0. Whoever is the primary then brings every group in line with it,
//! one change at a time, and goes on with that after a change of the primary: what a group lacks is seen by comparing.
//! A new member gets no vote before it has caught up, so one that never comes costs nothing.
//!
//! Who leads group 0 pulls the others, and must be able to lead them: a member gets its vote there last, and leaves there
//! first. A regime could not open otherwise, and so nobody could bring the groups in line either.

use mutant::Mutant;

use crate::group::{MemberChange, Members, PeerProgress};
use crate::ids::{MemberId, RaftIndex, ShardId};
use crate::shard::Shard;
use crate::system::System;

/// Entries that a learner may lack when it gets its vote: what is under way in a busy group.
const BEHIND_MAX: u64 = 256;

/// A change of a group's members that was proposed, and its position.
pub type Proposed = (ShardId, MemberChange, RaftIndex);

/// Who the members of a node's groups are, as its cores have said.
#[derive(Clone, Debug)]
pub struct Groups(Vec<Option<Members>>);

impl Groups {
    /// Of so many groups nothing is known yet.
    pub fn new(groups: usize) -> Self {
        Self(vec![None; groups])
    }

    /// Now and then, with the shards of each core: takes note of their members and, on the primary while its regime
    /// `is_open`, proposes the next change of each group that needs one and whose turn it is.
    pub fn keep(&mut self, shards: &mut [Shard], system: &System, is_open: bool) -> Vec<Proposed> {
        for shard in shards.iter() {
            self.note(shard.id(), shard.group().members());
        }
        let led = shards.iter_mut().filter(|_| is_open);
        led.filter_map(|shard| self.bring_nearer(shard, system)).collect()
    }

    fn bring_nearer(&self, shard: &mut Shard, system: &System) -> Option<Proposed> {
        let change = next_change(system, shard).filter(|change| self.is_time_for(*change, shard.id()))?;
        if change == MemberChange::Remove(shard.group().me()) {
            // The others follow who leads group 0.
            if shard.id() == ShardId(0) {
                hand_over(shard);
            }
            return None;
        }
        // Refused while another one is under way: it is seen again that something is lacking.
        let at = shard.propose_members(change).ok()?;
        Some((shard.id(), change, at))
    }

    fn note(&mut self, shard: ShardId, members: &Members) {
        let known = &mut self.0[usize::from(shard.0)];
        if known.as_ref() != Some(members) {
            *known = Some(members.clone());
        }
    }

    /// Whether the other groups have come far enough for a change of one.
    fn is_time_for(&self, change: MemberChange, shard: ShardId) -> bool {
        let is_first = shard == ShardId(0);
        let votes =
            |id, members: &Option<Members>| members.as_ref().is_some_and(|members| members.voters.contains(&id));
        match change {
            MemberChange::AddLearner(_) => true,
            MemberChange::Promote(_) if mutant::is(Mutant::VotesAtOnce) => true,
            MemberChange::Promote(id) => !is_first || self.0.iter().skip(1).all(|members| votes(id, members)),
            MemberChange::Remove(_) if mutant::is(Mutant::LeavesAtOnce) => true,
            MemberChange::Remove(id) => is_first || self.0[0].as_ref().is_some_and(|members| !members.contains(id)),
        }
    }
}

/// Whether a group still has a member that is removed from the cluster: it may need that one to agree to its own removal.
///
/// What is committed is not enough: a restart may not know of it, and would miss the vote (`Group::remembers_change`). And
/// who has lost its data, or has just joined, knows of no members yet: it can not say who has left.
pub fn lingers(shard: &Shard, system: &System) -> bool {
    let members = shard.members();
    let knows = !shard.is_amnesiac() && !members.is_empty();
    !system.removed().is_empty() && (!knows || members.all().any(|member| system.removed().contains(&member)))
}

/// Hands a group over to the voter that can take over soonest: that has most. False: there is none.
pub fn hand_over(shard: &mut Shard) -> bool {
    let voters = &shard.group().members().voters;
    let fit = shard.progress().filter(|(member, progress)| voters.contains(member) && progress.recent_active);
    let best = fit.max_by_key(|(member, progress)| (progress.matched, *member)).map(|(member, _)| member);
    best.map(|best| shard.transfer(best)).is_some()
}

/// What brings a group nearer to the membership.
fn next_change(system: &System, shard: &Shard) -> Option<MemberChange> {
    let members = shard.group().members();
    if let Some(gone) = members.all().find(|member| system.removed().contains(member)) {
        return Some(MemberChange::Remove(gone));
    }
    if let Some(new) = system.members().keys().find(|member| !members.contains(**member)) {
        return Some(MemberChange::AddLearner(*new));
    }
    let committed = shard.group().committed();
    let ready = shard.progress().find(|(member, progress)| has_caught_up(members, *member, progress, committed));
    ready.map(|(member, _)| MemberChange::Promote(member))
}

fn has_caught_up(members: &Members, member: MemberId, progress: &PeerProgress, committed: RaftIndex) -> bool {
    // raft takes a new member for active before it has said anything.
    let answers = progress.recent_active && progress.matched > RaftIndex(0);
    members.learners.contains(&member) && answers && progress.matched.0 + BEHIND_MAX >= committed.0
}

#[cfg(test)]
mod tests {
    use raft::prelude::{Message, MessageType};

    use super::*;
    use crate::command::SystemCommand;
    use crate::group::{GroupSeed, LOG_START, LogEntry, TAIL_BYTES, Vote};
    use crate::ids::{Index, Term};
    use crate::shard::{Applied, Outputs};
    use crate::store::Store;

    const NEW: MemberId = MemberId(3);

    fn voters(ids: &[u64]) -> Members {
        Members::of_voters(ids.iter().copied().map(MemberId))
    }

    #[test]
    fn a_member_votes_in_the_first_group_last() {
        let mut groups = Groups::new(3);
        let promote = MemberChange::Promote(NEW);
        assert!(!groups.is_time_for(promote, ShardId(0)), "nothing is known of the others");
        assert!(groups.is_time_for(promote, ShardId(1)));
        groups.note(ShardId(1), &voters(&[1, 3]));
        groups.note(ShardId(2), &voters(&[1]));
        assert!(!groups.is_time_for(promote, ShardId(0)));
        groups.note(ShardId(2), &voters(&[1, 3]));
        assert!(groups.is_time_for(promote, ShardId(0)));
    }

    fn seed(members: Members) -> GroupSeed {
        GroupSeed {
            member: MemberId(1),
            members,
            applied: LOG_START,
            vote: Vote::default(),
            entries: Vec::new(),
            shown: Index::ZERO,
            election_ticks: 10,
            heartbeat_ticks: 1,
            tail_bytes: TAIL_BYTES,
            amnesia: None,
            random_seed: 3,
        }
    }

    fn start(seed: GroupSeed) -> Shard {
        Shard::start(ShardId(0), Store::default(), seed, 1).expect("starts")
    }

    fn alone() -> Shard {
        let mut shard = start(seed(voters(&[1])));
        shard.campaign();
        while write(&mut shard) {}
        shard
    }

    /// The new one was a member, and is none any more.
    fn removed() -> System {
        let mut system = System::default();
        let add = SystemCommand::AddMember { id: NEW.0, name: String::new(), peer_urls: Vec::new() };
        system.apply(&add).expect("added");
        system.apply(&SystemCommand::RemoveMember { id: NEW.0 }).expect("removed");
        system
    }

    /// A turn whose writes become durable after it. False: there was nothing to write.
    fn write(shard: &mut Shard) -> bool {
        let mut out = Outputs::default();
        shard.advance(&mut out);
        shard.apply(Index::ZERO, &mut Applied::default());
        let numbers: Vec<u64> = out.writes.iter().filter_map(|write| write.number).collect();
        for number in &numbers {
            shard.persisted(*number);
        }
        !numbers.is_empty()
    }

    #[test]
    fn a_removal_counts_when_a_restart_would_know_of_it() {
        let mut shard = alone();
        shard.propose_members(MemberChange::AddLearner(NEW)).expect("proposed");
        while write(&mut shard) {}
        let system = removed();
        shard.propose_members(MemberChange::Remove(NEW)).expect("proposed");
        while shard.group().members().contains(NEW) {
            assert!(write(&mut shard), "it is committed");
        }
        assert!(lingers(&shard, &system), "that it is committed was not on the disk");
        while write(&mut shard) {}
        assert!(!lingers(&shard, &system));
    }

    #[test]
    fn who_knows_of_no_members_can_not_say_who_has_left() {
        let empty = start(seed(Members::default()));
        let amnesiac = start(GroupSeed { amnesia: Some(vec![NEW]), ..seed(voters(&[1, 2])) });
        for shard in [empty, amnesiac] {
            assert!(lingers(&shard, &removed()));
            assert!(!lingers(&shard, &System::default()), "nobody has left");
        }
    }

    /// The first shard of a member that was removed from it: nobody writes to it any more.
    fn left() -> Shard {
        let data = MemberChange::Remove(MemberId(1)).encode();
        let removal = LogEntry { index: RaftIndex(2), term: Term(1), conf_change: true, data };
        let vote = Vote { term: 1, vote: 2, commit: 2 };
        let mut shard = start(GroupSeed { vote, entries: vec![removal], ..seed(voters(&[1, 2])) });
        while write(&mut shard) {}
        shard
    }

    #[test]
    fn who_has_left_the_first_group_hands_over_what_it_leads_elsewhere() {
        let mut other = Shard::start(ShardId(1), Store::default(), seed(voters(&[1, 2])), 1).expect("starts");
        other.campaign();
        for (kind, index) in [
            (MessageType::MsgRequestPreVoteResponse, 0),
            (MessageType::MsgRequestVoteResponse, 0),
            (MessageType::MsgAppendResponse, 2),
        ] {
            while write(&mut other) {}
            let mut message = Message { from: 2, to: 1, term: 2, index, ..Message::default() };
            message.set_msg_type(kind);
            other.step(message).expect("is for it");
        }
        assert!(other.may_propose());
        other.follow(left().primary());
        assert!(!other.may_propose(), "it goes on leading");
    }

    #[test]
    fn a_member_leaves_the_first_group_first() {
        let mut groups = Groups::new(2);
        let remove = MemberChange::Remove(NEW);
        assert!(groups.is_time_for(remove, ShardId(0)));
        assert!(!groups.is_time_for(remove, ShardId(1)), "nothing is known of the first");
        groups.note(ShardId(0), &voters(&[1, 3]));
        assert!(!groups.is_time_for(remove, ShardId(1)));
        groups.note(ShardId(0), &voters(&[1]));
        assert!(groups.is_time_for(remove, ShardId(1)));
    }
}
