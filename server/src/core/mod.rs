//! One executor's part of the node: its shards, its log, and those who wait.
//!
//! Everything that changes shards happens in [`turn`]: take what has arrived, number it, write it, apply what has been
//! committed, answer. Connections read from the shards between turns.

mod answers;
mod backup;
pub(crate) mod bodies;
pub(crate) mod budget;
mod catchup;
mod crowd;
mod deliver;
mod disk;
mod fanout;
pub(crate) mod feed;
mod fetch;
mod forward;
mod frontier;
mod full;
mod heal;
mod held;
mod intake;
pub(crate) mod lane;
mod mailbox;
mod membership;
pub(crate) mod message;
mod node;
mod peers;
mod post;
mod quorum;
mod read;
mod regime;
mod replay;
mod slow;
mod snapshot;
mod spread;
mod ticker;
pub(crate) mod ticket;
mod transfer;
mod turn;
pub(crate) mod watch;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

use glommio::sync::Semaphore;
use log::{CoreId, SegmentSeq};
use net::http::date::{DateCache, DateStamp};
use net::peer::Held;
use shard::command::Command;
use shard::group::LOG_START;
use shard::ids::{Index, RaftIndex, ShardId, Term};
use shard::order::Token;
use shard::regime::Regimes;
use shard::shard::{Applied, Outputs, Shard};

use crate::metrics::CoreMetrics;
use crate::slice::{Slice, Slices};
use budget::{Budget, waiting_bytes};
use disk::Disk;
use lane::Lane;
use mailbox::Outbox;
use message::Proposal;
use post::Post;
use ticket::{Ticket, WAITING_MAX, Waiting};

pub(crate) use answers::{Encoding, Filled, SMALL_BYTES};
pub(crate) use backup::{Backup, NoBackup};
pub(crate) use deliver::{raft_error, refused};
pub(crate) use disk::Disk as CoreDisk;
pub(crate) use message::Message;
pub(crate) use node::{Node, Phase, Strangers};
pub(crate) use post::Asked;
pub(crate) use read::{OVERLOADED, no_room, shown};
pub(crate) use snapshot::{Unframer, pieces};

/// One executor's part of the node.
pub(crate) struct Core {
    /// Number of this executor.
    pub(crate) me: usize,
    pub(crate) node: Arc<Node>,
    /// What the requests of its connections may take of the memory.
    pub(crate) budget: Budget,
    inner: RefCell<Inner>,
    /// Wakes the task that runs the turns.
    driver: RefCell<Option<Waker>>,
    /// Something has changed since the last turn.
    stirred: Cell<bool>,
    /// The driver sleeps.
    parked: Cell<bool>,
    /// Held by the listing that holds `visible`.
    listing: Semaphore,
    scratch: RefCell<Vec<u8>>,
    body: Cell<Vec<u8>>,
    date: RefCell<DateCache>,
}

/// Size of the buffer that all connections of an executor read into, and of the largest body buffer that is kept.
pub(crate) const SCRATCH_BYTES: usize = 64 << 10;

/// Who waits behind a ticket.
enum Waiter {
    /// A request of a connection on this executor.
    Request { lane: Rc<Lane<Filled>>, slot: u64, since_round: u64 },
    /// A task on this executor that collects answers.
    Post(Rc<Post>),
    /// A watch of a connection on this executor, and its shard if it has but one.
    Feed(Rc<feed::Feed>, Option<ShardId>),
}

/// Work that goes on beside the turns.
type Task = Pin<Box<dyn Future<Output = ()>>>;

struct Inner {
    me: usize,
    /// For tasks that are started from within a turn.
    core: Weak<Core>,
    node: Arc<Node>,
    /// The shards of this executor: shard `g` at position `g / cores`.
    shards: Vec<Shard>,
    /// Commands that wait for the next turn, in the order of their arrival.
    queue: VecDeque<Proposal>,
    /// Bytes of their paths and values.
    queued_bytes: usize,
    /// How many these may be, and how many may be gathered for the log while the disk is busy: see [`BACKLOG_BYTES_MAX`].
    backlog_bytes: usize,
    budget: Budget,
    /// The regime in which the queue was looked at last.
    queue_of: Option<Token>,
    waiting: Waiting<Waiter>,
    outbox: Outbox<Message>,
    disk: Disk,
    pace: slow::Pace,
    peers: peers::Peers,
    forwards: forward::Forwards,
    /// The newest frontier that the other members were told.
    frontier_sent: Index,
    /// The newest frontier of a primary that was heard.
    frontier_heard: Index,
    /// The newest frontier noted beside the log.
    frontier_noted: Index,
    /// What the other members were told last of what the disk holds.
    held_told: Held,
    catchup: catchup::CatchUp,
    /// Of this executor's thread.
    slices: Slices,
    transfers: transfer::Transfers,
    fetches: fetch::Fetches,
    intake: intake::Intake,
    quorum: quorum::QuorumReads,
    watches: watch::Watches,
    under_way: crowd::UnderWay,
    encoded: bodies::Encoded,
    fan_out: fanout::FanOut,
    /// On executor 0: opens the node's regimes.
    regimes: Option<Regimes>,
    snapshots: snapshot::Schedule,
    backup: backup::Kept,
    /// Some group of this executor does not know what it has promised.
    forgetful: bool,
    /// Segments of this log that have rotted and are still there.
    rotten: Vec<(CoreId, SegmentSeq)>,
    expiry: ticker::Expiry,
    /// Reused from turn to turn.
    out: Outputs,
    applied: Applied,
    /// Everything applied so far has been handed over, so it may be published as such.
    flushed: bool,
    /// Rounds of the ticker since the start.
    rounds: u64,
    /// From this round on, a primary without room for its log may look for another one.
    yields_from: u64,
    metrics: CoreMetrics,
    /// Tasks to be started when nobody is inside: glommio polls a task for the first time while it is spawned.
    tasks: Vec<Task>,
}

/// Commands that may wait for one executor's next turn. A turn takes them all, so this is reached only while nothing
/// can be written; 64 Ki commands of a few hundred bytes are what a node can hold without noticing.
pub(crate) const QUEUE_MAX: usize = 1 << 16;

/// Bytes of keys and values that may wait for one executor's next turn, and again for the log while the disk is busy, if
/// there is memory for that (see [`budget`]); beyond, commands stay in the queue, and then are refused. Far more than a disk writes in
/// one go, far less than a record or a batch may have.
const BACKLOG_BYTES_MAX: usize = 64 << 20;
/// What may wait in any case: a batch of another member's.
const BACKLOG_BYTES_MIN: usize = 4 << 20;

impl Core {
    /// An executor's part, from what was recovered for its shards.
    ///
    /// `snapshots` are the positions of the shards' snapshots on disk, newest first.
    pub(crate) fn new(
        me: usize,
        node: Arc<Node>,
        shards: Vec<Shard>,
        snapshots: &[Vec<(RaftIndex, Term)>],
        disk: Disk,
    ) -> Rc<Self> {
        // What came with the snapshot, before anything is applied.
        for system in shards.iter().filter(|shard| shard.id() == ShardId(0)) {
            node.set_system(system.store().system().clone());
        }
        let budget = Budget::of(node.request_memory, me, &node.held_by_requests);
        Rc::new_cyclic(|core| Self {
            me,
            inner: RefCell::new(Inner::new(me, core.clone(), &node, shards, snapshots, disk, budget.clone())),
            budget,
            node,
            driver: RefCell::new(None),
            stirred: Cell::new(true),
            parked: Cell::new(false),
            listing: Semaphore::new(1),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            body: Cell::new(Vec::new()),
            date: RefCell::new(DateCache::new(0)),
        })
    }

    /// Asks for a turn soon.
    pub(crate) fn stir(&self) {
        self.stirred.set(true);
        if let Some(waker) = self.driver.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The memory that another request takes while it waits on this executor, with so many bytes of path and value; none if there is no
    /// room for it. `is_first`: its connection has nothing under way.
    pub(crate) fn room_for(&self, size: usize, is_first: bool) -> Option<usize> {
        let inner = self.inner.borrow();
        let waiting = &self.budget.waiting;
        let bytes = waiting.counted(waiting_bytes(size));
        let admitted = if is_first { waiting.admits_first(bytes) } else { waiting.admits(bytes) };
        (admitted && inner.waiting.len() < WAITING_MAX && !inner.queue_is_full()).then_some(bytes)
    }

    /// Sends a command to its shard; its answer goes to `slot` of `lane`. There must be room ([`Core::room_for`]).
    pub(crate) fn propose(&self, shard: ShardId, command: Command, lane: &Rc<Lane<Filled>>, slot: u64) {
        let to = self.node.core_of(shard);
        let mut inner = self.inner.borrow_mut();
        let ticket = inner.await_in_lane(lane, slot);
        let proposal = Proposal { shard, ticket, process: self.node.process, command };
        if to == self.me {
            inner.enqueue(proposal);
        } else {
            inner.outbox.send(to, Message::Propose(proposal));
        }
        drop(inner);
        self.stir();
    }

    /// Alone: everything that was found in the log is applied. Among others: every group has something in its log, of this
    /// start or an earlier one; the rest comes while reads are served already.
    pub(crate) fn has_caught_up(&self) -> bool {
        let inner = self.inner.borrow();
        if inner.is_alone() {
            return self.node.order.is_open() && inner.shards.iter().all(Shard::is_settled);
        }
        inner.shards.iter().all(|shard| shard.group().durable() > LOG_START.0)
    }

    /// Nothing waits to be written or handed over.
    pub(crate) fn is_quiet(&self) -> bool {
        let inner = self.inner.borrow();
        let settled = inner.shards.iter().all(|shard| shard.oldest_unapplied().is_none());
        inner.queue.is_empty()
            && inner.flushed
            && inner.disk.is_idle()
            && settled
            && self.node.mailboxes[self.me].is_empty()
    }

    /// Notes the clock in the log, so that a restart knows how much of every lifetime was left.
    pub(crate) fn note_clock(&self) {
        self.inner.borrow_mut().note_clock(0);
        self.stir();
    }

    /// The buffer that connections of this executor read into. Not across an await.
    pub(crate) fn scratch(&self) -> RefMut<'_, [u8]> {
        RefMut::map(self.scratch.borrow_mut(), |scratch| &mut scratch[..])
    }

    /// An empty buffer for a body, to be given back with [`Core::return_scratch_body`].
    pub(crate) fn scratch_body(&self) -> Vec<u8> {
        self.body.take()
    }

    /// Keeps a body's buffer for the next one, unless it has grown large.
    pub(crate) fn return_scratch_body(&self, mut body: Vec<u8>) {
        if body.capacity() <= SCRATCH_BYTES {
            body.clear();
            self.body.set(body);
        }
    }

    /// The second of this time (in nanoseconds of the Unix epoch), for the `Date` header.
    pub(crate) fn date(&self, now_ns: u64) -> DateStamp {
        *self.date.borrow_mut().at(now_ns / 1_000_000_000)
    }

    /// Bumps this executor's metrics.
    #[inline]
    pub(crate) fn count(&self, bump: impl FnOnce(&mut CoreMetrics)) {
        bump(&mut self.inner.borrow_mut().metrics);
    }
}

impl Inner {
    fn new(
        me: usize,
        core: Weak<Core>,
        node: &Arc<Node>,
        shards: Vec<Shard>,
        snapshots: &[Vec<(RaftIndex, Term)>],
        disk: Disk,
        budget: Budget,
    ) -> Self {
        if let Some(first) = shards.first().filter(|shard| shard.id() == ShardId(0)) {
            node.set_system(first.store().system().clone());
        }
        Self {
            me,
            core,
            queue: VecDeque::new(),
            queued_bytes: 0,
            backlog_bytes: budget.waiting.most().clamp(BACKLOG_BYTES_MIN, BACKLOG_BYTES_MAX),
            budget,
            queue_of: None,
            waiting: Waiting::new(me),
            outbox: Outbox::new(node.cores()),
            disk,
            pace: slow::Pace::default(),
            peers: peers::Peers::default(),
            forwards: forward::Forwards::default(),
            frontier_sent: Index::ZERO,
            frontier_heard: Index::ZERO,
            frontier_noted: Index::ZERO,
            held_told: Held::default(),
            catchup: catchup::CatchUp::default(),
            slices: Slices::of_this_thread(Slice::Longest),
            transfers: transfer::Transfers::default(),
            fetches: fetch::Fetches::default(),
            intake: intake::Intake::default(),
            quorum: quorum::QuorumReads::default(),
            watches: watch::Watches::default(),
            under_way: crowd::UnderWay::default(),
            encoded: bodies::Encoded::default(),
            fan_out: fanout::FanOut::default(),
            regimes: (me == 0).then(|| Regimes::new(usize::from(node.shards))),
            snapshots: snapshot::Schedule::new(snapshots),
            backup: None,
            forgetful: node.is_forgetful(),
            rotten: Vec::new(),
            expiry: ticker::Expiry::new(shards.len()),
            out: Outputs::default(),
            applied: Applied::default(),
            flushed: true,
            rounds: 0,
            yields_from: 0,
            metrics: CoreMetrics::with_shards(shards.iter().map(|shard| u32::from(shard.id().0))),
            tasks: Vec::new(),
            shards,
            node: Arc::clone(node),
        }
    }

    /// Position of one of this executor's shards in `shards`.
    fn seat(&self, shard: ShardId) -> usize {
        assert_eq!(self.node.core_of(shard), self.me, "shard {shard} is another executor's");
        usize::from(shard.0) / self.node.cores()
    }

    /// Starts a task of this executor after the turn.
    fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.tasks.push(Box::pin(task));
    }

    /// No command is taken before some have left the queue.
    fn queue_is_full(&self) -> bool {
        self.queue.len() >= QUEUE_MAX || self.queued_bytes >= self.backlog_bytes
    }

    /// Puts a command into the queue for the next turn, or refuses it if too much is in there.
    fn enqueue(&mut self, proposal: Proposal) {
        if self.queue_is_full() {
            self.metrics.queue_full.inc();
            self.deliver(proposal.ticket, deliver::raft_error("etcdserver: too many requests"));
            return;
        }
        self.queued_bytes += proposal.command.size_bytes();
        self.queue.push_back(proposal);
    }

    /// A ticket whose answer goes to a slot of a connection's lane.
    fn await_in_lane(&mut self, lane: &Rc<Lane<Filled>>, slot: u64) -> Ticket {
        let waiter = Waiter::Request { lane: Rc::clone(lane), slot, since_round: self.rounds };
        self.waiting.add(waiter).unwrap_or_else(|_| panic!("there was room for another waiter"))
    }

    /// No group of this executor has another member with a vote.
    fn is_alone(&self) -> bool {
        !self.shards.is_empty() && self.shards.iter().all(|shard| shard.group().is_alone())
    }

    /// Sends to an executor, which may be this one.
    fn send(&mut self, to: usize, message: Message) {
        self.outbox.send(to, message);
    }
}
