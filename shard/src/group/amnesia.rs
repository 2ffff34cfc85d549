//! A member that lost something it had promised.
//!
//! Its disk was wiped or is older than it was: it may have voted, and it may have acknowledged entries, and knows of
//! neither. If it voted again, or stood for election, what a majority had acknowledged could be lost; and if it
//! acknowledged entries of a leader that it had helped to depose, two logs could be committed. So it
//!
//! 1. keeps silent until what it sent before its loss has arrived or never will;
//! 2. asks every other member with a vote for its durable term, and for what it knows to be committed. A leader that it
//!    helped to elect is among them, and has counted by now what the member had acknowledged. One that was down since may
//!    not know any more that it had: so one of the answers is that of a leader, given after a quorum round;
//! 3. listens only to a leader whose term is none of the older ones;
//! 4. is over it when its own durable log holds all that they knew to be committed.
//!
//! Until then it neither votes nor campaigns. The questions travel as pre-vote requests that raft never sees.
//!
//! Who has left the group for good does not answer. The leader names those with a vote, and no other is waited for: that
//! nobody leads in a later term has been confirmed since the question, and all that was committed in earlier ones the
//! leader has committed itself. The round matters: a leader that has been deposed may not know yet who came since.
//!
//! Its owner drops what an earlier process of a member sent, once it has heard from a later one: that shortens (1) to
//! what is on the way inside this process.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mutant::Mutant;
use raft::prelude::{Message, MessageType};

use crate::ids::{MemberId, RaftIndex, Term};

/// Silence in election timeouts: longer than a message stays on its way.
const SILENT_TIMEOUTS: usize = 4;

/// What the context of a question and its answer begins with. The asker's nonce follows; and in a leader's answer the
/// members with a vote, as 8 bytes each, little endian.
const MARK: &[u8; 8] = b"amnesia?";
const VOTERS_AT: usize = MARK.len() + size_of::<u64>();

/// What the context of a leader's quorum round begins with; the asker, and the beginning of its question, follow.
const ROUND: &[u8; 8] = b"forgot?!";
const ASKER_AT: usize = ROUND.len();
const QUESTION_AT: usize = ASKER_AT + size_of::<u64>();

#[derive(Debug)]
pub(super) struct Amnesia {
    /// Whom to ask, and what they said: their term, and their commit mark. An amnesiac leads nobody, and says 0.
    answers: BTreeMap<u64, Option<(Term, RaftIndex)>>,
    /// Who said last that it leads: to be asked, too, as it may have come after the others were noted.
    leader: Option<u64>,
    /// A leader has answered, and named those with a vote.
    told: bool,
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
            leader: None,
            told: false,
            nonce,
            wait: SILENT_TIMEOUTS * election_ticks,
            again: election_ticks,
            heard: false,
        }
    }

    /// Lets one unit of time pass; returns the questions that are due. The leader is asked until it may be listened to:
    /// another one may have left meanwhile, who does not answer, or whose term no leader will reach.
    pub(super) fn tick(&mut self, me: u64) -> Vec<Message> {
        self.wait = self.wait.saturating_sub(1);
        if self.wait > 0 || self.heard {
            return Vec::new();
        }
        self.wait = self.again;
        let missing = self.answers.iter().filter(|(_, answer)| answer.is_none()).map(|(to, _)| *to);
        let asked: BTreeSet<u64> = missing.chain(self.leader).collect();
        asked.into_iter().map(|to| question(me, to, self.nonce)).collect()
    }

    /// Whether raft may see a message. Notes what it says.
    pub(super) fn admits(&mut self, message: &Message) -> bool {
        if message.context.starts_with(MARK) {
            let mine = message.context.get(MARK.len()..VOTERS_AT) == Some(&self.nonce.to_le_bytes()[..]);
            if mine && message.get_msg_type() == MessageType::MsgRequestPreVoteResponse {
                self.hear(message);
            }
            return false;
        }
        let kind = message.get_msg_type();
        let is_leaders = matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot);
        if is_leaders {
            self.leader = Some(message.from);
        }
        let Some((floor, _)) = self.known() else { return false };
        let admitted = is_leaders && Term(message.term) >= floor;
        self.heard |= admitted;
        admitted
    }

    /// What somebody has said stays: it may lose its own data, and say nothing the next time.
    fn hear(&mut self, answer: &Message) {
        let voters = voters_in(answer);
        if !voters.is_empty() {
            self.told = true;
            self.answers.retain(|id, _| voters.contains(id) || mutant::is(Mutant::GoneAwaited));
            self.answers.entry(answer.from).or_default();
        }
        if let Some(said) = self.answers.get_mut(&answer.from) {
            let (term, commit) = said.unwrap_or_default();
            *said = Some((term.max(Term(answer.term)), commit.max(RaftIndex(answer.commit))));
        }
    }

    /// Whether it is over: this much is known to be committed, and is durable here.
    pub(super) fn is_over(&self, committed: RaftIndex, persisted: RaftIndex) -> bool {
        self.heard && self.known().is_some_and(|(_, needs)| needs <= committed.min(persisted))
    }

    /// The oldest term to listen to, and what there is to catch up with; none while somebody has not answered, or no
    /// leader has.
    fn known(&self) -> Option<(Term, RaftIndex)> {
        let nothing = (Term(0), RaftIndex(0));
        let mut answers = self.told.then(|| self.answers.values())?;
        answers.try_fold(nothing, |known, answer| answer.map(|(term, commit)| (known.0.max(term), known.1.max(commit))))
    }
}

fn question(from: u64, to: u64, nonce: u64) -> Message {
    // Term 1 is below every election's, in case the question reaches a member that does not know it.
    let mut message = Message { from, to, term: 1, ..Message::default() };
    message.set_msg_type(MessageType::MsgRequestPreVote);
    message.context = [&MARK[..], &nonce.to_le_bytes()].concat().into();
    message
}

/// The members with a vote that an answer names; nobody, if it is not a leader's.
fn voters_in(answer: &Message) -> BTreeSet<u64> {
    let named = answer.context.get(VOTERS_AT..).unwrap_or_default();
    named.as_chunks().0.iter().map(|id| u64::from_le_bytes(*id)).collect()
}

/// Whether a message is such a question or an answer to one: nothing for raft.
pub(super) fn is_about_terms(message: &Message) -> bool {
    message.context.starts_with(MARK)
}

/// The answer of a member; an amnesiac's is 0 and 0. Only a leader names the `voters`: see [`round`].
pub(super) fn answer(question: &Message, term: Term, committed: RaftIndex, voters: &[MemberId]) -> Option<Message> {
    let begins = question.context.get(..VOTERS_AT)?;
    (question.get_msg_type() == MessageType::MsgRequestPreVote).then(|| {
        let mut message = Message { from: question.to, to: question.from, term: term.0, ..Message::default() };
        message.set_msg_type(MessageType::MsgRequestPreVoteResponse);
        message.commit = committed.0;
        message.reject = true;
        message.context = begins.iter().copied().chain(voters.iter().flat_map(|id| id.0.to_le_bytes())).collect();
        message
    })
}

/// The context of the quorum round that a leader has to make before it answers as one.
pub(super) fn round(question: &Message) -> Option<Vec<u8>> {
    let begins = question.context.get(..VOTERS_AT)?;
    let asks = question.get_msg_type() == MessageType::MsgRequestPreVote;
    asks.then(|| [&ROUND[..], &question.from.to_le_bytes(), begins].concat())
}

/// The question that a quorum round of the leader `me` was made for, if it was made for one.
pub(super) fn question_of(round: &[u8], me: u64) -> Option<Message> {
    let asker = round.get(ASKER_AT..QUESTION_AT).filter(|_| round.starts_with(ROUND))?;
    let mut message = question(u64::from_le_bytes(asker.try_into().ok()?), me, 0);
    message.context = Bytes::copy_from_slice(&round[QUESTION_AT..]);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(from: u64, term: u64) -> Message {
        let mut message = Message { from, to: 1, term, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message
    }

    /// The next round of questions.
    fn ask(amnesia: &mut Amnesia) -> Vec<Message> {
        (0..40).map(|_| amnesia.tick(1)).find(|asked| !asked.is_empty()).unwrap_or_default()
    }

    /// What is said by whom a question is for; a leader names those with a vote.
    fn says(asked: &Message, (term, commit): (u64, u64), voters: &[u64]) -> Message {
        let voters: Vec<MemberId> = voters.iter().copied().map(MemberId).collect();
        answer(asked, Term(term), RaftIndex(commit), &voters).expect("answered")
    }

    #[test]
    fn it_listens_to_no_leader_older_than_what_anybody_knows() {
        let mut amnesia = Amnesia::new(MemberId(1), &[1, 2, 3].map(MemberId), 9, 10);
        let silent = (0..39).all(|_| amnesia.tick(1).is_empty());
        assert!(silent && !amnesia.admits(&append(2, 7)));
        let asked = amnesia.tick(1);
        amnesia.admits(&says(&asked[0], (7, 4), &[1, 2, 3]));
        assert!(!amnesia.admits(&append(3, 8)), "one has not answered");
        amnesia.admits(&says(&asked[1], (8, 5), &[]));
        assert!(!amnesia.admits(&append(2, 7)), "an older leader");
        assert!(amnesia.admits(&append(3, 8)));
        assert!(!amnesia.is_over(RaftIndex(4), RaftIndex(9)) && amnesia.is_over(RaftIndex(5), RaftIndex(5)));
    }

    #[test]
    fn answers_to_an_earlier_start_do_not_count() {
        let mut before = Amnesia::new(MemberId(1), &[MemberId(2)], 1, 10);
        let asked = ask(&mut before);
        let mut after = Amnesia::new(MemberId(1), &[MemberId(2)], 2, 10);
        after.admits(&says(&asked[0], (3, 1), &[1, 2]));
        assert!(!after.admits(&append(2, 9)));
    }

    #[test]
    fn a_leader_is_among_those_that_answer() {
        let mut amnesia = Amnesia::new(MemberId(1), &[2, 3].map(MemberId), 9, 10);
        let asked = ask(&mut amnesia);
        for asked in &asked {
            amnesia.admits(&says(asked, (7, 4), &[]));
        }
        assert!(!amnesia.admits(&append(2, 8)), "may have forgotten that it had committed more");
        let asked = ask(&mut amnesia);
        assert_eq!(asked.iter().map(|asked| asked.to).collect::<Vec<_>>(), [2], "only the leader is asked again");
        amnesia.admits(&says(&asked[0], (8, 6), &[1, 2, 3]));
        assert!(amnesia.admits(&append(2, 8)));
        assert!(!amnesia.is_over(RaftIndex(4), RaftIndex(4)) && amnesia.is_over(RaftIndex(6), RaftIndex(6)));
        assert!(ask(&mut amnesia).is_empty());
    }

    #[test]
    fn who_has_no_vote_any_more_is_not_waited_for() {
        let mut amnesia = Amnesia::new(MemberId(1), &[2, 3, 4].map(MemberId), 9, 10);
        let asked = ask(&mut amnesia);
        amnesia.admits(&says(&asked[0], (7, 4), &[1, 2, 3]));
        assert!(!amnesia.admits(&append(2, 7)), "3 has a vote");
        amnesia.admits(&says(&asked[1], (6, 3), &[]));
        assert!(amnesia.admits(&append(2, 7)));
    }

    #[test]
    fn no_leader_has_to_reach_the_term_of_who_has_no_vote_any_more() {
        let mut amnesia = Amnesia::new(MemberId(1), &[2, 3].map(MemberId), 9, 10);
        let asked = ask(&mut amnesia);
        amnesia.admits(&says(&asked[0], (7, 4), &[1, 2, 3]));
        amnesia.admits(&says(&asked[1], (90, 4), &[]));
        assert!(!amnesia.admits(&append(2, 7)));
        let again = ask(&mut amnesia);
        amnesia.admits(&says(&again[0], (7, 5), &[1, 2]));
        assert!(amnesia.admits(&append(2, 7)));
    }

    #[test]
    fn a_leader_that_came_later_is_asked_and_counts() {
        let mut amnesia = Amnesia::new(MemberId(1), &[MemberId(2)], 9, 10);
        amnesia.admits(&append(5, 7));
        let asked = ask(&mut amnesia);
        assert_eq!(asked.iter().map(|asked| asked.to).collect::<Vec<_>>(), [2, 5]);
        amnesia.admits(&says(&asked[1], (7, 4), &[1, 5]));
        assert!(!amnesia.admits(&append(6, 6)) && amnesia.admits(&append(5, 7)));
        assert!(!amnesia.is_over(RaftIndex(3), RaftIndex(3)) && amnesia.is_over(RaftIndex(4), RaftIndex(4)));
    }

    #[test]
    fn who_loses_its_data_meanwhile_takes_nothing_back() {
        let mut amnesia = Amnesia::new(MemberId(1), &[2, 3].map(MemberId), 9, 10);
        let asked = ask(&mut amnesia);
        for (asked, said, voters) in
            [(&asked[0], (7, 4), &[][..]), (&asked[1], (6, 3), &[1, 2, 3]), (&asked[0], (0, 0), &[])]
        {
            amnesia.admits(&says(asked, said, voters));
        }
        assert!(!amnesia.admits(&append(3, 6)) && amnesia.admits(&append(3, 7)));
    }

    #[test]
    fn a_question_is_read_back_from_its_round() {
        let mut amnesia = Amnesia::new(MemberId(1), &[MemberId(2)], 9, 10);
        let asked = ask(&mut amnesia).remove(0);
        let context = round(&asked).expect("is a question");
        assert_eq!(question_of(&context, 2), Some(asked.clone()));
        assert_eq!((question_of(&context[..QUESTION_AT - 1], 2), question_of(&[0; 24], 2)), (None, None));
        let cut = Message { context: asked.context.slice(..VOTERS_AT - 1), ..asked };
        assert_eq!((round(&cut), answer(&cut, Term(1), RaftIndex(1), &[])), (None, None));
    }
}
