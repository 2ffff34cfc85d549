//! Reads: of one node, of a spread directory's part.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use shard::ids::{Index, ShardId};
use shard::path::ROOT;
use shard::refusal::{Code, Refusal};
use shard::shard::Shard;
use shard::stats::Operation;
use shard::view::NodeHandle;

use super::answers::{Encoding, Filled, OnTheWay};
use super::message::{Answer, Get, KeysAnswer, Message, Question, Standing};
use super::ticket::Ticket;
use super::{Core, Inner, Lane, deliver};
use crate::body;
use crate::metrics::ReadAction;

/// Why this member shows nothing for a moment: a snapshot has brought a shard further than what it may show.
const CATCHING_UP: &str = "etcdserver: this member is catching up";
/// For who is refused because the node has too much to do; etcd's words.
pub(crate) const OVERLOADED: &str = "etcdserver: too many requests";

/// The answer to a read whose answer would be too large for now.
pub(crate) fn no_room() -> Answer {
    deliver::raft_error(OVERLOADED)
}

/// A node as it was at one index.
pub(crate) struct Found {
    pub(crate) node: NodeHandle,
    pub(crate) standing: Standing,
}

impl Core {
    /// Reads a node of one of this executor's own shards, as of what is visible now.
    pub(crate) fn get(&self, shard: ShardId, path: &[u8], recursive: bool) -> Result<Found, (Refusal, Index)> {
        self.inner.borrow_mut().get(shard, path, recursive)
    }

    /// Puts a read into the hands of the executor that has the shard, or of the next turn if it needs a quorum. There
    /// must be room ([`Core::room_for`]).
    pub(crate) fn ask_get(&self, get: Get, lane: &Rc<Lane<Filled>>, slot: u64) {
        let mut inner = self.inner.borrow_mut();
        let ticket = inner.await_in_lane(lane, slot);
        let to = self.node.core_of(get.shard);
        if to == self.me {
            inner.question(ticket, Question::Get(get));
        } else {
            inner.send(to, Message::Ask(ticket, Question::Get(get)));
        }
        drop(inner);
        self.stir();
    }
}

impl Inner {
    fn get(&mut self, shard: ShardId, path: &[u8], recursive: bool) -> Result<Found, (Refusal, Index)> {
        self.metrics.reads[if recursive { ReadAction::GetRecursive } else { ReadAction::Get }].inc();
        let seat = self.seat(shard);
        let visible = self.node.order.visible();
        self.apply(seat, visible);
        let shard = &mut self.shards[seat];
        if !shard.shows(visible) {
            return Err((Refusal::new(Code::RaftInternal, CATCHING_UP), visible));
        }
        let store = shard.store_mut();
        let found = store.read(path);
        store.count(Operation::Get, found.is_ok());
        let (raft_index, term) = shard.applied();
        match found {
            Ok(node) => Ok(Found { node, standing: Standing { index: visible, raft_index, term } }),
            Err(refusal) => Err((refusal, visible)),
        }
    }

    /// Answers a question of some executor, at once or when it can be.
    pub(super) fn question(&mut self, ticket: Ticket, question: Question) {
        match question {
            Question::Get(Get { quorum: true, .. }) | Question::Quorum => self.quorum_read(ticket, question),
            Question::Get(get) => self.answer_get(ticket, get),
            Question::Cut { at, recursive, listing } => self.cut(ticket, at, recursive, listing),
            Question::BackUp { at, number } => self.back_up(ticket, at, number),
            Question::BackupChunk { number, shard } => self.backup_chunk(ticket, number, shard),
            Question::Raft(shard) => {
                let status = self.shards[self.seat(shard)].group().status();
                self.deliver(ticket, Answer::Raft(Box::new(status)));
            }
            Question::Stats => {
                let stats = self.shards.iter().map(|shard| *shard.store().stats());
                let sum = stats.reduce(|a, b| a.plus(&b)).unwrap_or_default();
                self.deliver(ticket, Answer::Stats(Box::new(sum), self.watches.len()));
            }
            Question::Metrics => {
                self.refresh_metrics();
                self.deliver(ticket, Answer::Metrics(Box::new(self.metrics.clone())));
            }
        }
    }

    pub(super) fn answer_get(&mut self, ticket: Ticket, get: Get) {
        let now = self.node.clock.now_ns();
        let found = match self.get(get.shard, &get.path, get.recursive) {
            Ok(found) => found,
            Err((refusal, index)) => return self.deliver(ticket, Answer::Keys(deliver::refused(&refusal, index))),
        };
        if !self.finds_room(ticket, found.node.value_bytes().unwrap_or(0)) {
            return self.no_room(ticket);
        }
        if !found.node.is_dir() {
            let mut body = Vec::new();
            body::file(&found.node, &get.path, now, &mut body);
            return self.deliver(ticket, Answer::Keys(shown(found.standing, body)));
        }
        // A directory may be large: it is encoded in slices, from a handle that later writes do not touch.
        let (Some(core), Some(to)) = (self.core.upgrade(), ticket.core()) else { return };
        let mut encoding = Encoding::begin(&core, to);
        self.spawn_answer(ticket, async move {
            let body = body::directory(&found.node, &get.path, now, get.recursive, &mut encoding).await;
            body.map_or_else(no_room, |body| Answer::Keys(shown(found.standing, body)))
        });
    }

    /// Refuses a read whose answer would be too large for now.
    fn no_room(&mut self, ticket: Ticket) {
        self.metrics.no_room.inc();
        self.deliver(ticket, no_room());
    }

    /// Hands out this executor's part of `/` at exactly `at`, at which `visible` is held.
    fn cut(&mut self, ticket: Ticket, at: Index, recursive: bool, listing: Arc<OnTheWay>) {
        if !self.stands_at(at) {
            return self.deliver(ticket, Answer::Behind);
        }
        let roots: Vec<NodeHandle> = self.shards.iter().filter_map(|shard| shard.store().get(ROOT).ok()).collect();
        self.deliver(ticket, Answer::CutTaken);
        let now = self.node.clock.now_ns();
        let Some(core) = self.core.upgrade() else { return };
        let mut encoding = Encoding::part_of(listing, &core);
        self.spawn_answer(ticket, async move {
            let mut children = body::Children::default();
            for root in roots {
                if !body::children_of_root(&root, now, recursive, &mut children, &mut encoding).await {
                    return Answer::NoRoom;
                }
            }
            children.all.sort_unstable();
            Answer::Part(children.all)
        });
    }

    /// Brings all shards of this executor to `at`, at which `visible` is held. False: a snapshot has brought one further.
    pub(super) fn stands_at(&mut self, at: Index) -> bool {
        let visible = self.node.order.visible();
        assert_eq!(visible, at, "`visible` moved while it was held");
        for seat in 0..self.shards.len() {
            self.apply(seat, visible);
        }
        self.shards.iter().all(|shard| shard.shows(visible))
    }

    /// Delivers what a task of this executor comes to, when it does.
    fn spawn_answer(&mut self, ticket: Ticket, answer: impl Future<Output = Answer> + 'static) {
        let core = self.core.clone();
        self.spawn(async move {
            let answer = answer.await;
            if let Some(core) = core.upgrade() {
                core.inner.borrow_mut().deliver(ticket, answer);
                core.stir();
            }
        });
    }

    /// Brings the metrics that are states, not counts, up to date.
    fn refresh_metrics(&mut self) {
        let visible = self.node.order.visible();
        let metrics = &mut self.metrics;
        metrics.visible.set(visible.0);
        let top = self.shards.iter().map(|shard| shard.top().0).max().unwrap_or(0);
        metrics.sequence.set(top.max(self.frontier_heard.0).max(visible.0));
        metrics.watchers.set(self.watches.len());
        metrics.request_memory.set(self.budget.held() as u64);
        metrics.watch_events_waiting.set(self.node.tallies[self.me].get() as u64);
        // They are all executors' together.
        metrics.watch_events_bytes.set(if self.me == 0 { self.node.bodies.bytes() as u64 } else { 0 });
        metrics.traffic.peers.values_mut().for_each(|peer| peer.lag.set(0));
        let mut lags: BTreeMap<u64, u64> = BTreeMap::new();
        for shard in &self.shards {
            let last = shard.group().last().0;
            for (member, progress) in shard.progress() {
                *lags.entry(member.0).or_default() += last.saturating_sub(progress.matched.0);
            }
        }
        for (member, lag) in lags {
            metrics.traffic.peers.entry(member).or_default().lag.set(lag);
        }
        if self.me == 0 {
            self.node.remembered.each(|member, index| {
                metrics.traffic.peers.entry(member.0).or_default().disk.set(index);
            });
        }
        let open = self.node.order.is_open();
        for (shard, shown) in self.shards.iter().zip(&mut metrics.shards) {
            let history = shard.store().history();
            shown.last_index.set(shard.top().0);
            shown.pending.set(shard.pending() as u64);
            shown.history_events.set(history.len() as u64);
            shown.history_bytes.set(history.bytes() as u64);
            shown.has_leader = open || shard.leader().is_some();
            shown.is_leader = shard.group().leads();
            shown.is_forgetful = shard.is_amnesiac();
        }
    }

    /// Where this executor stands, for answers that concern no shard in particular.
    pub(super) fn standing(&self) -> Standing {
        let index = self.node.order.visible();
        let (raft_index, term) = self.shards.iter().map(Shard::applied).max().unwrap_or_default();
        Standing { index, raft_index, term }
    }
}

/// The answer to a successful read.
pub(crate) fn shown(standing: Standing, body: Vec<u8>) -> KeysAnswer {
    KeysAnswer { status: 200, index: standing.index, raft: Some((standing.raft_index, standing.term)), body }
}
