//! Quorum reads: rounds on the primary, and questions to it.
//!
//! The primary confirms by a quorum round of *one* group that it still is the primary (whoever opens a regime needs them
//! all), and reads at what is then visible. Another member asks it how far one has to be, waits until it is there
//! itself, and reads its own state. All reads that wait when a round or a question begins share it.

use std::collections::{BTreeMap, VecDeque};

use net::peer::{Confirm, ConfirmOutcome, Confirmed};
use shard::ids::{Index, MemberId};

use super::message::{Answer, Message, Question};
use super::ticket::Ticket;
use super::{Inner, deliver};

/// Reads that wait for a quorum.
#[derive(Default)]
pub(super) struct QuorumReads {
    /// Rounds and questions begun so far.
    begun: u64,
    /// Asked since the last turn.
    new: Vec<Reader>,
    /// Rounds under way on this primary, oldest first.
    rounds: VecDeque<(u64, Vec<Reader>)>,
    /// Questions under way to the primary.
    asked: BTreeMap<u64, (MemberId, Vec<Reader>)>,
    /// Confirmed, but this member is not as far yet.
    behind: Vec<(Index, Vec<Reader>)>,
    /// Nobody is asked before the next tick: who was taken for the primary is not.
    paused: bool,
}

/// Who wants to know.
enum Reader {
    /// A request of this node.
    Here(Ticket, Question),
    /// Another member, under its number.
    Member(MemberId, u64),
}

impl Inner {
    /// A read of this node that needs a quorum.
    pub(super) fn quorum_read(&mut self, ticket: Ticket, question: Question) {
        self.quorum.new.push(Reader::Here(ticket, question));
    }

    /// A read of another member, which takes this one for the primary.
    pub(super) fn confirm_for(&mut self, from: MemberId, number: u64) {
        if self.node.order.is_open() {
            self.quorum.new.push(Reader::Member(from, number));
        } else {
            self.post(from, Confirmed { ticket: number, outcome: ConfirmOutcome::NotPrimary });
        }
    }

    /// Begins a round, or asks the primary, for the reads that came in since the last time.
    pub(super) fn ask_quorum(&mut self) {
        if self.quorum.new.is_empty() {
            return;
        }
        if self.node.order.is_open() {
            self.begin_round();
        } else if let Some(primary) = self.node.primary().filter(|primary| primary.0 != self.node.member) {
            self.ask_primary(primary);
        }
    }

    fn begin_round(&mut self) {
        let Some(shard) = self.shards.first_mut() else {
            // An executor without shards asks one that has some.
            for reader in std::mem::take(&mut self.quorum.new) {
                match reader {
                    Reader::Here(ticket, question) => self.send(0, Message::Ask(ticket, question)),
                    Reader::Member(from, number) => {
                        self.send(0, Message::Peer(from, Confirm { ticket: number }.into()));
                    }
                }
            }
            return;
        };
        self.quorum.begun += 1;
        shard.confirm(self.quorum.begun);
        self.quorum.rounds.push_back((self.quorum.begun, std::mem::take(&mut self.quorum.new)));
    }

    fn ask_primary(&mut self, primary: MemberId) {
        if self.quorum.paused || !self.peers.is_connected(primary) {
            return;
        }
        self.quorum.begun += 1;
        let number = self.own_number(self.quorum.begun);
        let readers = std::mem::take(&mut self.quorum.new);
        if self.post(primary, Confirm { ticket: number }) {
            self.quorum.asked.insert(number, (primary, readers));
        } else {
            self.quorum.new = readers;
            self.quorum.paused = true;
        }
    }

    /// A round of reads is confirmed; they see at least everything acknowledged before it began.
    pub(super) fn quorum_confirmed(&mut self, round: u64) {
        // A regime that has just opened has shown nothing yet of what was there before it.
        self.node.order.raise(self.me);
        let visible = self.node.order.visible();
        while let Some((_, readers)) = self.quorum.rounds.pop_front_if(|(of, _)| *of <= round) {
            for reader in readers {
                match reader {
                    Reader::Here(ticket, question) => self.read_confirmed(ticket, question),
                    Reader::Member(from, number) => {
                        let outcome = ConfirmOutcome::Visible(visible.0);
                        self.post(from, Confirmed { ticket: number, outcome });
                    }
                }
            }
        }
    }

    /// The primary's answer.
    pub(super) fn confirm_answered(&mut self, from: MemberId, answer: Confirmed) {
        let asked = self.quorum.asked.remove(&answer.ticket);
        let Some((_, readers)) = asked.filter(|(primary, _)| *primary == from) else { return };
        match answer.outcome {
            ConfirmOutcome::Visible(visible) => self.quorum.behind.push((Index(visible), readers)),
            ConfirmOutcome::NotPrimary => {
                self.quorum.paused = true;
                self.quorum.new.extend(readers);
            }
            ConfirmOutcome::Refused(reason) => {
                for reader in readers {
                    if let Reader::Here(ticket, _) = reader {
                        self.deliver(ticket, deliver::raft_error(&reason));
                    }
                }
            }
        }
    }

    /// Answers the reads that this member is far enough for.
    pub(super) fn read_upto(&mut self, visible: Index) {
        if self.quorum.behind.is_empty() {
            return;
        }
        let (ready, behind) =
            std::mem::take(&mut self.quorum.behind).into_iter().partition(|(upto, _)| *upto <= visible);
        self.quorum.behind = behind;
        let ready: Vec<(Index, Vec<Reader>)> = ready;
        for reader in ready.into_iter().flat_map(|(_, readers)| readers) {
            if let Reader::Here(ticket, question) = reader {
                self.read_confirmed(ticket, question);
            }
        }
    }

    fn read_confirmed(&mut self, ticket: Ticket, question: Question) {
        match question {
            Question::Get(get) => self.answer_get(ticket, get),
            _ => self.deliver(ticket, Answer::Confirmed(self.standing())),
        }
    }

    /// The stream to a member is gone: what was asked of it is asked again, of whoever is the primary then.
    pub(super) fn ask_again(&mut self, member: MemberId) {
        let lost: Vec<u64> =
            self.quorum.asked.iter().filter(|(_, (asked, _))| *asked == member).map(|(number, _)| *number).collect();
        for (_, readers) in lost.into_iter().filter_map(|number| self.quorum.asked.remove(&number)) {
            self.quorum.new.extend(readers);
        }
    }

    /// The regime is over: rounds under way may never be confirmed.
    pub(super) fn give_up_rounds(&mut self) {
        for reader in std::mem::take(&mut self.quorum.rounds).into_iter().flat_map(|(_, readers)| readers) {
            match reader {
                Reader::Here(..) => self.quorum.new.push(reader),
                Reader::Member(from, number) => {
                    self.post(from, Confirmed { ticket: number, outcome: ConfirmOutcome::NotPrimary });
                }
            }
        }
    }

    /// Time passes: who gave up waiting is forgotten, and whoever is the primary now may be asked.
    pub(super) fn tick_quorum(&mut self) {
        self.quorum.paused = false;
        let waiting = &mut self.waiting;
        let mut waits = |reader: &Reader| match reader {
            Reader::Here(ticket, _) => ticket.core() != Some(self.me) || waiting.find(*ticket).is_some(),
            Reader::Member(..) => true,
        };
        self.quorum.new.retain(&mut waits);
        for (_, readers) in &mut self.quorum.behind {
            readers.retain(&mut waits);
        }
        self.quorum.behind.retain(|(_, readers)| !readers.is_empty());
    }
}
