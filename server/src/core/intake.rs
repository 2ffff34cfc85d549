//! Receiving a shard's state from its leader.
//!
//! Pieces go to a snapshot file and into a store in the making as they come; when both are whole and the file is durable,
//! raft is given the leader's message, and the store takes the place of the shard's.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::sync::Semaphore;
use log::{GroupId, Position, SnapshotHead, SnapshotWriter};
use net::peer::{Frame, SnapshotAck, SnapshotBegin, SnapshotChunk, SnapshotEnd, SnapshotOutcome};
use shard::ids::{MemberId, RaftIndex, ShardId, Term};
use shard::snapshot::Restore;
use shard::store::Store;

use super::snapshot::Unframer;
use super::{Core, Inner};
use crate::peer::translate;
use crate::recovery::history_limits;

/// How long the next piece may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is being received by this executor: one transfer per shard, the newest.
#[derive(Default)]
pub(super) struct Intake {
    by_shard: HashMap<ShardId, Rc<Inbox>>,
    /// The last one of each shard that came to its end: its sender may not have heard of that.
    finished: HashMap<ShardId, (MemberId, u64)>,
    /// Per shard: whose turn it is to write a file. Two transfers may be of the same position, and name their files alike, and
    /// so may an own snapshot, which also clears away what is unfinished: the later one waits until the other has let go.
    files: HashMap<ShardId, Rc<Semaphore>>,
}

impl Intake {
    /// Some shard's state is on its way to this executor.
    pub(super) fn is_receiving(&self) -> bool {
        !self.by_shard.is_empty()
    }

    /// What whoever writes a file of this shard's state holds meanwhile.
    pub(super) fn file_of(&mut self, shard: ShardId) -> Rc<Semaphore> {
        Rc::clone(self.files.entry(shard).or_insert_with(|| Rc::new(Semaphore::new(1))))
    }
}

/// Frames of one transfer on their way to its task.
struct Inbox {
    from: MemberId,
    transfer: u64,
    frames: RefCell<(VecDeque<Frame>, Option<Waker>)>,
}

struct Receiving {
    core: Weak<Core>,
    inbox: Rc<Inbox>,
    shard: ShardId,
    at: (RaftIndex, Term),
    next: u32,
    crc: u32,
}

impl Inner {
    /// A transfer of a shard of this executor begins.
    pub(super) fn begin_intake(&mut self, from: MemberId, begin: &SnapshotBegin) {
        let shard = ShardId(begin.group as u16);
        let under_way = self.intake.by_shard.get(&shard);
        if under_way.is_some_and(|inbox| (inbox.from, inbox.transfer) == (from, begin.transfer)) {
            // It goes on after a lost connection.
            return;
        }
        let transfer = begin.transfer;
        if self.intake.finished.get(&shard) == Some(&(from, transfer)) {
            let (group, next, outcome) = (begin.group, u32::MAX, SnapshotOutcome::Done);
            self.post(from, SnapshotAck { transfer, group, next, outcome });
            return;
        }
        let frames = RefCell::default();
        let inbox = Rc::new(Inbox { from, transfer: begin.transfer, frames });
        if let Some(older) = self.intake.by_shard.insert(shard, Rc::clone(&inbox)) {
            older.wake();
        }
        let at = (RaftIndex(begin.index), Term(begin.term));
        let file = self.intake.file_of(shard);
        let receiving = Receiving { core: self.core.clone(), inbox, shard, at, next: 0, crc: 0 };
        self.spawn(receiving.run(file));
    }

    /// A piece of a transfer, or its end.
    pub(super) fn intake(&mut self, from: MemberId, shard: ShardId, transfer: u64, frame: Frame) {
        let inbox = self.intake.by_shard.get(&shard);
        if let Some(inbox) = inbox.filter(|inbox| (inbox.from, inbox.transfer) == (from, transfer)) {
            inbox.frames.borrow_mut().0.push_back(frame);
            inbox.wake();
        }
    }

    /// Raft had no use for a state: its file must not be found at the next start, where the log does not reach it.
    fn discard(&mut self, file: PathBuf) {
        self.spawn(async move {
            if let Err(error) = glommio::io::remove(&file).await {
                tracing::error!(target: "snap", "can not remove {}: {error}", file.display());
            }
        });
    }
}

impl Inbox {
    fn wake(&self) {
        if let Some(waker) = self.frames.borrow_mut().1.take() {
            waker.wake();
        }
    }
}

impl Receiving {
    async fn run(mut self, file: Rc<Semaphore>) {
        // It is never closed.
        let Ok(_turn) = file.acquire_permit(1).await else { return };
        let received = self.receive().await;
        let Some(core) = self.core.upgrade() else { return };
        let mut inner = core.inner.borrow_mut();
        let current = inner.intake.by_shard.get(&self.shard).is_some_and(|inbox| Rc::ptr_eq(inbox, &self.inbox));
        if current {
            inner.intake.by_shard.remove(&self.shard);
        }
        let outcome = match received {
            Ok((store, end, file)) => {
                inner.metrics.traffic.peers.entry(self.inbox.from.0).or_default().snapshots_received.inc();
                tracing::info!(target: "snap", "received the state of shard {} up to {}", self.shard, self.at.0);
                inner.intake.finished.insert(self.shard, (self.inbox.from, self.inbox.transfer));
                let seat = inner.seat(self.shard);
                match inner.shards[seat].install(store, translate::from_wire(*end.message)) {
                    Ok(true) => {}
                    Ok(false) => inner.discard(file),
                    Err(error) => {
                        tracing::warn!(target: "snap", "shard {}: {error}", self.shard);
                        inner.discard(file);
                    }
                }
                SnapshotOutcome::Done
            }
            Err(reason) => SnapshotOutcome::Failed(reason),
        };
        self.acknowledge(&mut inner, outcome);
        drop(inner);
        core.stir();
    }

    async fn receive(&mut self) -> Result<(Store, SnapshotEnd, PathBuf), String> {
        let core = self.core.upgrade().ok_or("this node stops")?;
        let config = &core.node.config;
        let limits = history_limits(config);
        let position = Position { index: log::RaftIndex::new(self.at.0.0), term: self.at.1.0 };
        let head = SnapshotHead { group: GroupId::new(self.shard.0), position };
        let dir = config.snapshot_dir();
        drop(core);
        let mut writer = SnapshotWriter::create(&dir, head).await.map_err(|error| error.to_string())?;
        let mut restore = Restore::new(limits);
        let mut unframer = Unframer::default();
        match self.pieces(&mut writer, &mut restore, &mut unframer).await {
            Ok(end) => {
                let store = restore.finish().map_err(|error| error.to_string())?;
                let file = writer.finish().await.map_err(|error| error.to_string())?;
                Ok((store, end, file))
            }
            Err(reason) => {
                // What can not be removed has no snapshot's name, and goes with the next pruning.
                let _ = writer.abort().await;
                Err(reason)
            }
        }
    }

    async fn pieces(
        &mut self,
        writer: &mut SnapshotWriter,
        restore: &mut Restore,
        unframer: &mut Unframer,
    ) -> Result<SnapshotEnd, String> {
        loop {
            match self.next_frame().await? {
                Frame::SnapshotChunk(piece) => {
                    // An earlier one was sent again: its acknowledgement was lost.
                    if piece.number >= self.next {
                        self.check(&piece)?;
                        writer.chunk(&piece.data).await.map_err(|error| error.to_string())?;
                        unframer.push(&piece.data);
                    }
                    while let Some(chunk) = unframer.take() {
                        restore.push(chunk).map_err(|error| error.to_string())?;
                    }
                    if let Some(core) = self.core.upgrade() {
                        self.acknowledge(&mut core.inner.borrow_mut(), SnapshotOutcome::Going);
                        core.stir();
                    }
                }
                Frame::SnapshotEnd(end) if (end.chunks, end.crc) == (self.next, self.crc) => return Ok(end),
                Frame::SnapshotEnd(_) => return Err("it is not as it was sent".to_owned()),
                _ => {}
            }
        }
    }

    fn check(&mut self, piece: &SnapshotChunk) -> Result<(), String> {
        if piece.number != self.next || !piece.is_whole() {
            return Err(format!("piece {} came where {} was due, or damaged", piece.number, self.next));
        }
        self.next += 1;
        self.crc = crc32c::crc32c_append(self.crc, &piece.data);
        Ok(())
    }

    fn acknowledge(&self, inner: &mut Inner, outcome: SnapshotOutcome) {
        let (transfer, group, next) = (self.inbox.transfer, u32::from(self.shard.0), self.next);
        inner.post(self.inbox.from, SnapshotAck { transfer, group, next, outcome });
    }

    async fn next_frame(&self) -> Result<Frame, String> {
        let next = poll_fn(|cx| {
            let replaced = self.core.upgrade().is_none_or(|core| {
                let inner = core.inner.borrow();
                !inner.intake.by_shard.get(&self.shard).is_some_and(|inbox| Rc::ptr_eq(inbox, &self.inbox))
            });
            let mut frames = self.inbox.frames.borrow_mut();
            if let Some(frame) = frames.0.pop_front() {
                return Poll::Ready(Ok(frame));
            }
            if replaced {
                return Poll::Ready(Err("another transfer has taken its place".to_owned()));
            }
            frames.1 = Some(cx.waker().clone());
            Poll::Pending
        });
        let late = async {
            glommio::timer::sleep(PATIENCE).await;
            Err("nothing more came".to_owned())
        };
        futures_lite::future::or(next, late).await
    }
}
