//! One core of one node: its shards, its log, and the turn, in the order of the server's `core/turn.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use mutant::Mutant;
use raft::prelude::Message;
use shard::command::{Batch, Command, Numbered};
use shard::group::Fetch;
use shard::ids::{Index, MemberId, RaftIndex, ShardId};
use shard::order::{Order, Token};
use shard::refusal::Refusal;
use shard::regime::Report;
use shard::shard::{Applied, Outputs, Shard, Write};

use crate::network::{FrontierSaid, Network, Payload, Sender};
use crate::plan::Plan;
use crate::snapshots::{Seat, Unread, Writing};
use crate::store::{CoreLog, frontier};

/// Contexts of quorum rounds from here on are reads; below, they are rounds of the regime.
pub(crate) const READS: u64 = 1 << 32;

/// The ticket of what no client has asked for.
pub(crate) const NOBODY: u64 = 0;

/// Expiries that are proposed at a time.
const EXPIRE_MAX: usize = 20;

/// What one core tells another.
#[derive(Clone, Debug)]
pub(crate) enum Mail {
    /// To the first core.
    Report(Report),
    /// To every core: ask the groups.
    Confirm(u64),
    /// To every core: a primary has said this.
    Frontier(Rc<FrontierSaid>),
    /// To the core that sent a snapshot.
    Reported { shard: ShardId, peer: MemberId, arrived: bool },
}

/// A command that waits for a turn.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) shard: ShardId,
    pub(crate) ticket: u64,
    pub(crate) process: u64,
    pub(crate) command: Command,
}

/// A snapshot that another member has sent, on its way to the disk. Those of one shard are written one after the other.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(crate) shard: ShardId,
    /// None: it has not begun.
    pub(crate) writing: Option<Writing>,
    pub(crate) chunks: Rc<Vec<Vec<u8>>>,
    pub(crate) message: Message,
    pub(crate) from: MemberId,
    pub(crate) process: u64,
}

pub(crate) struct Core {
    pub(crate) shards: Vec<Shard>,
    pub(crate) log: CoreLog,
    pub(crate) seats: Vec<Seat>,
    /// The own snapshot that is being written, and what is removed after it.
    pub(crate) saving: Option<Writing>,
    pub(crate) tidying: VecDeque<crate::disk::Call>,
    /// What the start has left to be read.
    pub(crate) unread: Vec<Unread>,
    pub(crate) receiving: Vec<Receiving>,
    pub(crate) mail: VecDeque<Mail>,
    /// What groups want from the log on disk.
    pub(crate) fetches: VecDeque<(ShardId, Fetch)>,
    pub(crate) commands: Vec<Asked>,
    /// Steps that it sleeps through.
    pub(crate) asleep: usize,
    frontier_sent: Index,
    frontier_noted: Index,
    /// The regime whose clock the timelines follow.
    joined: Option<Token>,
    /// Per shard, up to where its expiries were asked for.
    asked_upto: BTreeMap<ShardId, Index>,
}

/// What a turn has led to, for the node.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) mail_to_first: Vec<Mail>,
    pub(crate) reads: Vec<u64>,
    pub(crate) applied: Applied,
    pub(crate) snapshots: u64,
    /// What was given to the log, in order.
    pub(crate) writes: Vec<Write>,
    /// Tickets of commands that were refused for want of space.
    pub(crate) refused: Vec<u64>,
    /// Refusals that needed no place in the log: the ticket, what was visible, and why.
    pub(crate) made_up: Vec<(u64, Index, Refusal)>,
}

/// What the cores of a node share in a turn.
pub(crate) struct Around<'a> {
    pub(crate) at: usize,
    pub(crate) sender: Sender,
    pub(crate) order: &'a Order,
    pub(crate) net: &'a mut Network,
    /// The other members that there are.
    pub(crate) peers: &'a [MemberId],
    pub(crate) clock: u64,
    pub(crate) plan: &'a Plan,
}

impl Core {
    pub(crate) fn new(shards: Vec<Shard>, log: CoreLog, seats: Vec<Seat>, unread: Vec<Unread>) -> Self {
        Self {
            shards,
            log,
            seats,
            saving: None,
            tidying: VecDeque::new(),
            unread,
            receiving: Vec::new(),
            mail: VecDeque::new(),
            fetches: VecDeque::new(),
            commands: Vec::new(),
            asleep: 0,
            frontier_sent: Index::ZERO,
            frontier_noted: Index::ZERO,
            joined: None,
            asked_upto: BTreeMap::new(),
        }
    }

    pub(crate) fn seat(&self, id: ShardId) -> usize {
        let at = self.shards.iter().position(|shard| shard.id() == id);
        at.expect("the shard is on this core")
    }

    pub(crate) fn shard(&mut self, id: ShardId) -> &mut Shard {
        let seat = self.seat(id);
        &mut self.shards[seat]
    }

    /// One turn.
    pub(crate) fn turn(&mut self, around: &mut Around<'_>, turn: &mut Turn) {
        self.take_durable(around);
        self.submit(around, turn);
        self.advance(around, turn);
        around.order.raise(around.at);
        let visible = around.order.visible();
        for shard in &mut self.shards {
            shard.apply(visible, &mut turn.applied);
        }
        self.send_frontier(around, false);
        for shard in &self.shards {
            around.order.publish_unapplied(shard.id(), shard.oldest_unapplied());
        }
    }

    fn take_durable(&mut self, around: &mut Around<'_>) {
        let durable = self.log.take_durable();
        for (shard, number) in durable.readies {
            self.shard(shard).persisted(number);
        }
        send_all(around, durable.messages);
    }

    /// Numbers what clients asked for and gives it to the log.
    fn submit(&mut self, around: &Around<'_>, turn: &mut Turn) {
        let order = around.order;
        let wide = around.plan.wide == 1;
        if !order.is_open() || (self.commands.is_empty() && !wide) {
            return;
        }
        if self.log.is_full() {
            self.asked_upto.clear();
            let clients = self.commands.drain(..).filter(|asked| asked.ticket != NOBODY);
            turn.refused.extend(clients.map(|asked| asked.ticket));
            return;
        }
        if !self.shards.iter().all(Shard::may_propose) || (wide && !self.join_timelines(around)) {
            return;
        }
        if wide {
            self.make_up_refusals(around, turn);
        }
        if self.commands.is_empty() {
            return;
        }
        let commands = std::mem::take(&mut self.commands);
        let mut ids: Vec<ShardId> = commands.iter().map(|asked| asked.shard).collect();
        ids.sort_unstable();
        ids.dedup();
        let first = order.take(commands.len() as u64, ids.iter().copied());
        for id in ids {
            let numbered = commands.iter().zip(0..).filter(|(asked, _)| asked.shard == id);
            let commands = numbered.map(|(Asked { ticket, process, command, .. }, offset)| Numbered {
                offset,
                command: command.clone(),
                origin: *ticket,
                process: *process,
            });
            let batch = Batch { first: first.0, now: around.clock, commands: commands.collect() };
            let shard = self.shard(id);
            shard.propose(&batch);
            let top = shard.top();
            self.asked_upto.entry(id).and_modify(|asked| *asked = top.min(*asked));
            let shard = self.shard(id);
            order.publish_uncommitted(id, shard.oldest_uncommitted());
        }
    }

    /// Joins the timelines to this node's clock once per regime, before the first command: as the server's `ticker.rs`.
    fn join_timelines(&mut self, around: &Around<'_>) -> bool {
        let token = around.order.token();
        if self.joined == Some(token) {
            return true;
        }
        if !self.shards.iter().all(Shard::is_settled) {
            return false;
        }
        self.joined = Some(token);
        self.asked_upto.clear();
        let joining = self.shards.iter().filter(|shard| {
            shard.store().next_deadline().is_some() && shard.clock() > 0 && !mutant::is(Mutant::RebaseForgotten)
        });
        let rebases = joining.map(|shard| {
            own(around, shard, Command::Rebase { by_ns: around.clock.wrapping_sub(shard.clock()) as i64 })
        });
        let rebases: Vec<Asked> = rebases.collect();
        self.commands.splice(0..0, rebases);
        true
    }

    /// Proposes the removal of what is overdue.
    pub(crate) fn expire(&mut self, around: &Around<'_>) {
        if !around.order.is_open() || self.joined != Some(around.order.token()) {
            return;
        }
        for shard in &mut self.shards {
            let asked = self.asked_upto.entry(shard.id()).or_default();
            if *asked <= shard.store().applied() {
                let due = shard.store_mut().due(around.clock, EXPIRE_MAX);
                // Until they are in the log, there is nothing that says so.
                *asked = if due.is_empty() { *asked } else { Index(u64::MAX) };
                self.commands.extend(due.into_iter().map(|command| own(around, shard, command)));
            }
        }
    }

    /// Answers what cannot succeed, while nothing is under way, if this member decides alone.
    fn make_up_refusals(&mut self, around: &Around<'_>, turn: &mut Turn) {
        let alone = around.peers.is_empty() && self.shards.iter().all(|shard| shard.group().is_alone());
        let settled = self.shards.iter().all(Shard::is_settled);
        if !alone || !(settled || mutant::is(Mutant::RefusedUnsettled)) {
            return;
        }
        let visible = around.order.visible();
        while let Some(asked) = self.commands.first().filter(|asked| asked.process == around.sender.process) {
            let ticket = asked.ticket;
            let shard = self.shards.iter().find(|shard| shard.id() == asked.shard);
            let Some(Err(refusal)) = shard.map(|shard| shard.check(&asked.command)) else { return };
            turn.made_up.push((ticket, visible, refusal));
            self.commands.remove(0);
        }
    }

    /// Takes from the groups what they have ready, and gives the log what is to be made durable.
    fn advance(&mut self, around: &mut Around<'_>, turn: &mut Turn) {
        let mut out = Outputs::default();
        let order = around.order;
        for shard in &mut self.shards {
            shard.advance(&mut out);
            if around.plan.log_read_entries > 0 {
                self.fetches.extend(out.fetches.drain(..));
            } else {
                find_nothing(shard, &mut out);
            }
            if out.reports.iter().any(|report| matches!(report, Report::Lost(_))) {
                order.close();
            }
            order.note_unapplied(shard.id(), shard.oldest_unapplied());
            order.publish_committed(shard.id(), shard.group().committed());
            order.publish_uncommitted(shard.id(), shard.oldest_uncommitted());
            order.publish_reached(shard.id(), shard.reached());
            turn.mail_to_first.extend(out.reports.drain(..).map(Mail::Report));
        }
        for (shard, context) in out.confirmed {
            if context >= READS {
                turn.reads.push(context);
            } else {
                let top = self.shard(shard).top();
                turn.mail_to_first.push(Mail::Report(Report::Confirmed { shard, round: context, top }));
            }
        }
        turn.snapshots += out.snapshots.len() as u64;
        for snapshot in out.snapshots {
            let payload = Payload::Snapshot { chunks: Rc::new(snapshot.chunks.collect()), message: snapshot.message };
            around.net.send(around.sender, snapshot.to, snapshot.shard, payload);
        }
        send_all(around, out.at_once);
        self.write(around, out.writes, out.after_durable, turn);
    }

    fn write(
        &mut self,
        around: &mut Around<'_>,
        writes: Vec<Write>,
        after_durable: Vec<(ShardId, Message)>,
        turn: &mut Turn,
    ) {
        for write in &writes {
            if let Some(upto) = write.received {
                let seat = self.seat(write.shard);
                self.seats[seat].restart(upto);
            }
            self.log.push(write);
        }
        turn.writes = writes;
        let messages = self.log.hold_back(after_durable);
        send_all(around, messages);
        for (shard, number) in self.log.settle() {
            self.shard(shard).persisted(number);
        }
        self.log.submit();
    }

    /// On a primary: tells the other members what is visible, if that has moved or has to be said `again`.
    pub(crate) fn send_frontier(&mut self, around: &mut Around<'_>, again: bool) {
        let visible = around.order.visible();
        if !around.order.is_open() || (visible <= self.frontier_sent && !again) {
            return;
        }
        self.frontier_sent = visible;
        // Read after `visible`.
        let positions = (0..around.plan.shards as u16).map(|shard| around.order.committed(ShardId(shard))).collect();
        let visible = if mutant::is(Mutant::FrontierTooHigh) { visible.next() } else { visible };
        let said = Rc::new(FrontierSaid { visible, positions, clock: around.clock });
        for to in around.peers {
            around.net.send(around.sender, *to, ShardId(0), Payload::Frontier(Rc::clone(&said)));
        }
    }

    /// Notes beside the log how far the node shows, if that has moved.
    pub(crate) fn note_shown(&mut self, visible: Index) {
        if visible == self.frontier_noted {
            return;
        }
        self.frontier_noted = visible;
        if mutant::is(Mutant::FrontierNotedTooHigh) {
            for shard in &self.shards {
                self.log.push_frontier(shard.id(), frontier(visible.max(shard.top()), shard.clock()));
            }
            return;
        }
        for shard in self.shards.iter().filter(|shard| shard.shows(visible)) {
            self.log.push_frontier(shard.id(), frontier(visible, shard.clock()));
        }
    }

    /// Takes in what a primary has said.
    pub(crate) fn take_frontier(&mut self, said: &FrontierSaid) {
        for shard in &mut self.shards {
            shard.frontier(said.visible, said.positions[usize::from(shard.id().0)]);
            shard.note_clock(said.visible, said.clock);
        }
    }

    /// An own snapshot is durable: the log may forget what the one before it covers.
    pub(crate) fn saved(&mut self, writing: &Writing, visible: Index) {
        let seat = self.seat(writing.shard);
        if !self.seats[seat].saved(writing.upto) {
            return;
        }
        self.log.push_snapshot(writing.shard, writing.upto);
        self.log.push_frontier(writing.shard, frontier(visible, self.shards[seat].clock()));
        let seats = self.shards.iter().zip(&mut self.seats);
        let upto: Vec<_> = seats.filter_map(|(shard, seat)| Some((shard.id(), seat.give_up()?))).collect();
        self.log.compact(&upto);
    }
}

/// A command of the node's own.
fn own(around: &Around<'_>, shard: &Shard, command: Command) -> Asked {
    Asked { shard: shard.id(), ticket: NOBODY, process: around.sender.process, command }
}

/// The log has nothing any more of what the shard wants from it.
fn find_nothing(shard: &mut Shard, out: &mut Outputs) {
    while let Some((_, fetch)) = out.fetches.pop() {
        let nothing = shard.fetched(fetch.first, Vec::new(), RaftIndex(u64::MAX));
        nothing.expect("nothing is not wrong");
        shard.advance(out);
    }
}

fn send_all(around: &mut Around<'_>, messages: Vec<(ShardId, Message)>) {
    for (shard, message) in messages {
        around.net.send(around.sender, MemberId(message.to), shard, Payload::Raft(message));
    }
}
