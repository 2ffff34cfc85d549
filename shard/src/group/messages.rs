//! Messages in and out: what raft may see of a peer's, and when its own may leave.

use mutant::Mutant;
use raft::prelude::{HardState, Message, MessageType};
use raft::{Progress, ProgressState};

use super::seed::Ready;
use super::{Group, GroupError, amnesia};
use crate::ids::{RaftIndex, Term};

impl Group {
    /// Takes in a message from a peer. Its entries have been validated.
    pub fn step(&mut self, mut message: Message) -> Result<(), GroupError> {
        if let Some(amnesia) = &mut self.amnesia {
            let admitted = amnesia.admits(&message);
            if amnesia::is_about_terms(&message) {
                self.own.extend(amnesia::answer(&message, Term(0), RaftIndex(0), &[]));
            }
            if !admitted {
                return Ok(());
            }
        } else if amnesia::is_about_terms(&message) {
            self.answer_amnesiac(&message);
            return Ok(());
        }
        check(&message)?;
        if message.get_msg_type() == MessageType::MsgTimeoutNow && !self.may_campaign() {
            return Ok(());
        }
        self.notice_loss(&mut message);
        let stepped = self.node.step(message);
        self.end_amnesia();
        self.timeouts.keep(&mut self.node.raft);
        match stepped {
            // Of a member that has just been removed, or a proposal of nobody: nothing to do about it.
            Ok(()) | Err(raft::Error::StepPeerNotFound | raft::Error::ProposalDropped) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn answer_amnesiac(&mut self, question: &Message) {
        // A term that is not durable has been promised to nobody, and may never be known again.
        self.own.extend(amnesia::answer(question, self.durable_term, self.committed(), &[]));
        if let Some(round) = amnesia::round(question).filter(|_| self.leads_surely()) {
            self.node.read_index(round);
        }
    }

    /// A quorum round has been confirmed. If it was made for an amnesiac's question, a leader answers with its members: of a
    /// change that is under way somebody else may know already.
    pub(super) fn answer_as_leader(&self, round: &[u8]) -> Option<Message> {
        let question = amnesia::question_of(round, self.node.raft.id)?;
        let is_sure = self.leads_surely() && !self.node.raft.has_pending_conf();
        is_sure.then(|| amnesia::answer(&question, self.durable_term, self.committed(), &self.members.voters))?
    }

    /// raft takes it for granted that a member has what it acknowledged. One that lost it says so, and its leader starts
    /// to send from there; a message that says so late costs some sending again.
    fn notice_loss(&mut self, message: &mut Message) {
        if mutant::is(Mutant::LossUnnoticed) {
            return;
        }
        let last = self.last().0;
        let raft = &mut self.node.raft;
        match message.get_msg_type() {
            MessageType::MsgHeartbeat if message.commit > last && message.term >= raft.term => {
                let mut answer = Message { from: raft.id, to: message.from, term: message.term, ..Message::default() };
                answer.set_msg_type(MessageType::MsgAppendResponse);
                (answer.index, answer.reject, answer.reject_hint) = (message.commit, true, last);
                self.own.push(answer);
                message.commit = last;
            }
            MessageType::MsgAppendResponse if message.reject && message.term == raft.term => {
                let from = message.from;
                if let Some(progress) = raft.mut_prs().get_mut(from).filter(|p| lost(p, message)) {
                    progress.matched = 0;
                    progress.become_probe();
                    progress.next_idx = message.index + 1;
                }
            }
            _ => {}
        }
    }

    /// What promises something leaves after it is durable. What keeps a leader in office does not wait for a disk.
    pub(super) fn sort_messages(&mut self, from_raft: &mut raft::Ready, ready: &mut Ready) {
        let term_is_durable = self.votes_under_way.is_empty() && !changes_vote(from_raft, &self.node.store().hard);
        let waits = |message: &Message| match message.get_msg_type() {
            // Asks, or answers, what nobody holds the member to.
            MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse => false,
            // Says "you lead in this term", which is forgotten only if the term is.
            MessageType::MsgHeartbeatResponse => !term_is_durable,
            _ => !mutant::is(Mutant::SentBeforeDurable),
        };
        let is_snapshot = |message: &Message| message.get_msg_type() == MessageType::MsgSnapshot;
        let mut followers = from_raft.take_persisted_messages();
        // Who has stepped down since it began one owes nobody a snapshot.
        followers.retain(|message| !is_snapshot(message));
        let (later, now): (Vec<_>, Vec<_>) = followers.into_iter().partition(waits);
        ready.after_durable = later;
        ready.at_once.extend(now);
        let (snapshots, now): (Vec<_>, Vec<_>) = from_raft.take_messages().into_iter().partition(is_snapshot);
        ready.snapshots = snapshots;
        ready.at_once.extend(now);
    }
}

/// Whether a member says that it lacks what it had acknowledged.
fn lost(progress: &Progress, message: &Message) -> bool {
    progress.state != ProgressState::Snapshot && message.reject_hint < progress.matched
}

fn changes_vote(ready: &raft::Ready, kept: &HardState) -> bool {
    ready.hs().is_some_and(|hard| (hard.term, hard.vote) != (kept.term, kept.vote))
}

/// Refuses what would bring raft down, or what only its own member may tell it.
fn check(message: &Message) -> Result<(), GroupError> {
    match message.get_msg_type() {
        MessageType::MsgAppend => {
            let positions = message.entries.iter().map(|entry| entry.index);
            if !positions.eq((message.index + 1..).take(message.entries.len())) {
                return Err(GroupError::Nonsense("entries out of order"));
            }
        }
        MessageType::MsgAppendResponse
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgSnapshot
        | MessageType::MsgTimeoutNow
        | MessageType::MsgTransferLeader => {}
        _ => return Err(GroupError::Nonsense("a kind that peers do not send")),
    }
    if message.term == 0 || message.from == 0 {
        return Err(GroupError::Nonsense("nobody's"));
    }
    Ok(())
}
