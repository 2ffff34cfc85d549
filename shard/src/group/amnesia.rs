//! A member that lost something it had promised.
//!
//! Its disk was wiped or is older than it was: it may have voted, and it may have acknowledged entries, and knows of
//! neither. If it voted again, or stood for election, what a majority had acknowledged could be lost; and if it
//! acknowledged entries of a leader that it had helped to depose, two logs could be committed. So it
//!
//! 1. keeps silent until what it sent before its loss has arrived or never will;
//! 2. asks every other member with a vote for its durable term, and for what it knows to be committed. A leader that it
//!    helped to elect is among them, and has counted by now what the member had acknowledged;
//! 3. listens only to a leader whose term is none of the older ones;
//! 4. is over it when its own durable log holds all that they knew to be committed.
//!
//! Until then it neither votes nor campaigns. The questions travel as pre-vote requests that raft never sees.
//!
//! Its owner drops what an earlier process of a member sent, once it has heard from a later one: that shortens (1) to
//! what is on the way inside this process.

use std::collections::BTreeMap;

use raft::prelude::{Message, MessageType};

use crate::ids::{MemberId, RaftIndex, Term};

/// Silence in election timeouts: longer than a message stays on its way.
const SILENT_TIMEOUTS: usize = 4;

/// What the context of a question and its answer begins with; the asker's nonce follows.
const MARK: &[u8; 8] = b"amnesia?";

#[derive(Debug)]
pub(super) struct Amnesia {
    /// Whom to ask, and what they said: their term, and their commit mark. An amnesiac leads nobody, and says 0.
    answers: BTreeMap<u64, Option<(Term, RaftIndex)>>,
    nonce: u64,
    /// Ticks to the next round of questions.
    wait: usize,
    again: usize,
    /// A leader that it may listen to has been heard.
    heard: bool,
}

impl Amnesia {
    pub(super) fn new(me: MemberId, ask: &[MemberId], nonce: u64, election_ticks: usize) -> Self {
        let others = ask.iter().filter(|member| **member != me);
        Self {
            answers: others.map(|member| (member.0, None)).collect(),
            nonce,
            wait: SILENT_TIMEOUTS * election_ticks,
            again: election_ticks,
            heard: false,
        }
    }

    /// Lets one unit of time pass; returns the questions that are due.
    pub(super) fn tick(&mut self, me: u64) -> Vec<Message> {
        self.wait = self.wait.saturating_sub(1);
        if self.wait > 0 {
            return Vec::new();
        }
        self.wait = self.again;
        let missing = self.answers.iter().filter(|(_, term)| term.is_none());
        missing.map(|(&to, _)| question(me, to, self.nonce)).collect()
    }

    /// Whether raft may see a message. Notes what it says.
    pub(super) fn admits(&mut self, message: &Message) -> bool {
        if message.context.starts_with(MARK) {
            let mine = message.context[MARK.len()..] == self.nonce.to_le_bytes();
            if mine && message.get_msg_type() == MessageType::MsgRequestPreVoteResponse {
                let said = (Term(message.term), RaftIndex(message.commit));
                self.answers.entry(message.from).and_modify(|answer| *answer = Some(said));
            }
            return false;
        }
        let Some((floor, _)) = self.known() else { return false };
        let kind = message.get_msg_type();
        let is_leaders = matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot);
        let admitted = is_leaders && Term(message.term) >= floor;
        self.heard |= admitted;
        admitted
    }

    /// A member has left for good: nobody waits for its answer.
    pub(super) fn gone(&mut self, member: MemberId) {
        self.answers.remove(&member.0);
    }

    /// Whether it is over: this much is known to be committed, and is durable here.
    pub(super) fn is_over(&self, committed: RaftIndex, persisted: RaftIndex) -> bool {
        self.heard && self.known().is_some_and(|(_, needs)| needs <= committed.min(persisted))
    }

    /// The oldest term to listen to, and what there is to catch up with; none while somebody has not answered.
    fn known(&self) -> Option<(Term, RaftIndex)> {
        let nothing = (Term(0), RaftIndex(0));
        self.answers
            .values()
            .try_fold(nothing, |known, answer| answer.map(|(term, commit)| (known.0.max(term), known.1.max(commit))))
    }
}

fn question(from: u64, to: u64, nonce: u64) -> Message {
    // Term 1 is below every election's, in case the question reaches a member that does not know it.
    let mut message = Message { from, to, term: 1, ..Message::default() };
    message.set_msg_type(MessageType::MsgRequestPreVote);
    message.context = [&MARK[..], &nonce.to_le_bytes()].concat().into();
    message
}

/// Whether a message is such a question or an answer to one: nothing for raft.
pub(super) fn is_about_terms(message: &Message) -> bool {
    message.context.starts_with(MARK)
}

/// The answer of a member; an amnesiac's is 0 and 0.
pub(super) fn answer(question: &Message, term: Term, committed: RaftIndex) -> Option<Message> {
    (question.get_msg_type() == MessageType::MsgRequestPreVote).then(|| {
        let mut message = Message { from: question.to, to: question.from, term: term.0, ..Message::default() };
        message.set_msg_type(MessageType::MsgRequestPreVoteResponse);
        message.commit = committed.0;
        message.reject = true;
        message.context = question.context.clone();
        message
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(from: u64, term: u64) -> Message {
        let mut message = Message { from, to: 1, term, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message
    }

    #[test]
    fn it_listens_to_no_leader_older_than_what_anybody_knows() {
        let mut amnesia = Amnesia::new(MemberId(1), &[1, 2, 3].map(MemberId), 9, 10);
        let silent = (0..39).all(|_| amnesia.tick(1).is_empty());
        assert!(silent && !amnesia.admits(&append(2, 7)));
        let questions = amnesia.tick(1);
        let answers: Vec<Message> =
            questions.iter().zip([7, 8]).filter_map(|(asked, n)| answer(asked, Term(n), RaftIndex(n - 3))).collect();
        amnesia.admits(&answers[0]);
        assert!(!amnesia.admits(&append(3, 8)), "one has not answered");
        amnesia.admits(&answers[1]);
        assert!(!amnesia.admits(&append(2, 7)), "an older leader");
        assert!(amnesia.admits(&append(3, 8)));
        assert!(!amnesia.is_over(RaftIndex(4), RaftIndex(9)) && amnesia.is_over(RaftIndex(5), RaftIndex(5)));
    }

    #[test]
    fn answers_to_an_earlier_start_do_not_count() {
        let mut before = Amnesia::new(MemberId(1), &[MemberId(2)], 1, 10);
        let asked = (0..40).flat_map(|_| before.tick(1)).next().expect("asks");
        let mut after = Amnesia::new(MemberId(1), &[MemberId(2)], 2, 10);
        after.admits(&answer(&asked, Term(3), RaftIndex(1)).expect("answered"));
        assert!(!after.admits(&append(2, 9)));
    }
}
