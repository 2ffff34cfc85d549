//! Sending a shard's state to a member that is too far behind for the log.
//!
//! The state is that of the moment in which raft asked; writes go on meanwhile. Pieces are sent a few ahead of what has
//! been acknowledged, one transfer per executor at a time and with a rest after each piece of work (see [`catchup`](super::catchup)),
//! and raft's own message comes at the end. When the connection is lost and comes back in time, the transfer goes on where
//! the receiver had come to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::peer::{Frame, SnapshotAck, SnapshotBegin, SnapshotChunk, SnapshotEnd, SnapshotOutcome};
use raft::prelude::Message;
use shard::ids::{MemberId, ShardId};
use shard::shard::SnapshotToSend;
use shard::snapshot::SnapshotChunks;

use super::catchup::REST;
use super::snapshot::pieces;
use super::{Core, Inner};
use crate::peer::translate;

/// Pieces on their way that are not acknowledged: 2 MiB.
const WINDOW: u32 = 8;
/// How long an acknowledgement may take. The receiver writes every piece to its disk.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether there is another connection.
const GLANCE: Duration = Duration::from_millis(200);

/// The transfers of this executor, by number.
#[derive(Default)]
pub(super) struct Transfers {
    begun: u64,
    under_way: BTreeMap<u64, Rc<Progress>>,
    /// States that were wanted meanwhile: raft asks again when their turn comes.
    waiting: BTreeSet<(ShardId, MemberId)>,
}

/// What the receiver has acknowledged.
#[derive(Default)]
struct Progress {
    state: RefCell<(u32, Option<SnapshotOutcome>, Option<Waker>)>,
}

/// One transfer, in its task.
struct Transfer {
    core: Weak<Core>,
    number: u64,
    shard: ShardId,
    to: MemberId,
    progress: Rc<Progress>,
    sent: u32,
    crc: u32,
    /// How it begins: said again on every connection.
    begin: Frame,
    /// What is not acknowledged, and its end, in order.
    unacknowledged: VecDeque<(u32, Frame)>,
    /// Since when the connection is up on which all of that was sent; none: some of it was not.
    sent_on: Option<Instant>,
}

impl Inner {
    /// Begins to send a state to a member.
    pub(super) fn send_state(&mut self, snapshot: SnapshotToSend) {
        let SnapshotToSend { shard, to, chunks, message } = snapshot;
        let seat = self.seat(shard);
        if !self.transfers.under_way.is_empty() {
            self.shards[seat].report_snapshot(to, false);
            self.transfers.waiting.insert((shard, to));
            return;
        }
        self.transfers.begun += 1;
        let number = self.own_number(self.transfers.begun);
        let progress = Rc::new(Progress::default());
        self.transfers.under_way.insert(number, Rc::clone(&progress));
        let metadata = message.get_snapshot().get_metadata();
        let (index, term) = (metadata.index, metadata.term);
        let begin = SnapshotBegin { transfer: number, group: u32::from(shard.0), index, term }.into();
        let core = self.core.clone();
        let (unacknowledged, sent_on) = (VecDeque::new(), None);
        let transfer = Transfer { core, number, shard, to, progress, sent: 0, crc: 0, begin, unacknowledged, sent_on };
        tracing::info!(target: "snap", "sending the state of shard {shard} to {to:x}, which is too far behind for the log");
        self.spawn(transfer.run(chunks, message));
    }

    /// What the receiver of a transfer of this executor has.
    pub(super) fn state_acknowledged(&mut self, ack: SnapshotAck) {
        let Some(progress) = self.transfers.under_way.get(&ack.transfer) else { return };
        let mut state = progress.state.borrow_mut();
        state.0 = state.0.max(ack.next);
        if ack.outcome != SnapshotOutcome::Going {
            state.1 = Some(ack.outcome);
        }
        if let Some(waker) = state.2.take() {
            waker.wake();
        }
    }
}

impl Transfer {
    async fn run(mut self, chunks: SnapshotChunks, message: Message) {
        let begun = Instant::now();
        let arrived = self.send(chunks, message).await;
        let Some(core) = self.core.upgrade() else { return };
        let mut inner = core.inner.borrow_mut();
        inner.transfers.under_way.remove(&self.number);
        let counted = inner.metrics.traffic.peers.entry(self.to.0).or_default();
        match &arrived {
            Ok(()) => {
                counted.snapshots_sent.inc();
                let (shard, ms) = (self.shard, begun.elapsed().as_millis());
                tracing::info!(target: "snap", "sent the state of shard {shard} to {:x} in {ms} ms", self.to);
            }
            Err(reason) => {
                counted.snapshots_failed.inc();
                tracing::warn!(target: "snap", "the state of shard {} did not reach {:x}: {reason}", self.shard, self.to);
            }
        }
        let seat = inner.seat(self.shard);
        inner.shards[seat].report_snapshot(self.to, arrived.is_ok());
        for (shard, to) in std::mem::take(&mut inner.transfers.waiting) {
            let seat = inner.seat(shard);
            inner.shards[seat].retry(to);
        }
        drop(inner);
        core.stir();
    }

    async fn send(&mut self, mut chunks: SnapshotChunks, message: Message) -> Result<(), String> {
        self.send_again()?;
        loop {
            let begun = Instant::now();
            let Some(chunk) = chunks.next() else { break };
            let took = begun.elapsed();
            for piece in pieces(&chunk) {
                self.piece(piece).await?;
            }
            glommio::timer::sleep(took * REST).await;
        }
        let Some(message) = translate::to_wire(self.shard, message) else { return Err("it is no snapshot".to_owned()) };
        let (transfer, chunks, crc) = (self.number, self.sent, self.crc);
        self.post(SnapshotEnd { transfer, chunks, crc, message: Box::new(message) })?;
        self.acknowledged(None).await
    }

    async fn piece(&mut self, data: Bytes) -> Result<(), String> {
        if self.sent >= WINDOW {
            self.acknowledged(Some(self.sent - WINDOW + 1)).await?;
        }
        self.crc = crc32c::crc32c_append(self.crc, &data);
        self.post(SnapshotChunk::new(self.number, u32::from(self.shard.0), self.sent, data))?;
        self.sent += 1;
        Ok(())
    }

    /// Sends a frame, at once if everything before it was sent.
    fn post(&mut self, frame: impl Into<Frame>) -> Result<(), String> {
        let core = self.core.upgrade().ok_or("this node stops")?;
        let mut inner = core.inner.borrow_mut();
        let frame = frame.into();
        if self.sent_on.is_some()
            && (inner.peers.up_since(self.to) != self.sent_on || !inner.post(self.to, frame.clone()))
        {
            self.sent_on = None;
        }
        self.unacknowledged.push_back((self.sent, frame));
        Ok(())
    }

    /// Sends what is not acknowledged if there is a connection on which it was not sent.
    fn send_again(&mut self) -> Result<(), String> {
        let core = self.core.upgrade().ok_or("this node stops")?;
        let mut inner = core.inner.borrow_mut();
        let up = inner.peers.up_since(self.to);
        if up.is_none() || up == self.sent_on {
            return Ok(());
        }
        let again = self.unacknowledged.iter().map(|(_, frame)| frame);
        let sent = std::iter::once(&self.begin).chain(again).all(|frame| inner.post(self.to, frame.clone()));
        self.sent_on = up.filter(|_| sent);
        drop(inner);
        core.stir();
        Ok(())
    }

    /// Waits until this many pieces have arrived; with `None`, until the state is taken over.
    async fn acknowledged(&mut self, pieces: Option<u32>) -> Result<(), String> {
        let (mut next, mut since) = (self.progress.next(), Instant::now());
        loop {
            let progress = Rc::clone(&self.progress);
            let done = async { Some(poll_fn(|cx| progress.poll(pieces, cx)).await) };
            let pause = async {
                glommio::timer::sleep(GLANCE).await;
                None
            };
            let outcome = futures_lite::future::or(done, pause).await;
            let now = self.progress.next();
            self.unacknowledged.retain(|(number, _)| *number >= now);
            if let Some(outcome) = outcome {
                return outcome;
            }
            if now > next {
                (next, since) = (now, Instant::now());
            }
            if since.elapsed() >= PATIENCE {
                return Err("it does not acknowledge".to_owned());
            }
            self.send_again()?;
        }
    }
}

impl Progress {
    /// The piece that the receiver wants next.
    fn next(&self) -> u32 {
        self.state.borrow().0
    }

    fn poll(&self, pieces: Option<u32>, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let mut state = self.state.borrow_mut();
        match (&state.1, pieces) {
            (Some(SnapshotOutcome::Failed(reason)), _) => return Poll::Ready(Err(reason.clone())),
            (Some(_), None) => return Poll::Ready(Ok(())),
            (_, Some(pieces)) if state.0 >= pieces => return Poll::Ready(Ok(())),
            _ => {}
        }
        state.2 = Some(cx.waker().clone());
        Poll::Pending
    }
}
