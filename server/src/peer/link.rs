//! One member, as this executor sends to it.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Instant;

use net::peer::Frame;
use shard::ids::MemberId;

use super::Unsent;
use super::outbox::Outbox;
use crate::config::Url;

/// Sweeps (of 100 ms) without anything sent after which the stream says that it lives.
const IDLE_SWEEPS: u32 = 10;
/// Sweeps that a write may be under way: a process that has stopped takes nothing, and yet its kernel answers. Counted
/// in sweeps, so that the time in which this process itself was stopped does not count.
const STUCK_SWEEPS: u32 = 50;

/// What the callers of [`Links`](super::Links) and the link's task share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) to: MemberId,
    urls: RefCell<Vec<Url>>,
    outbox: RefCell<Outbox>,
    waker: RefCell<Option<Waker>>,
    /// Since when there is a stream.
    up_since: Cell<Option<Instant>>,
    /// Nobody wants this link any more.
    closed: Cell<bool>,
    /// The stream is to be replaced: the member has moved.
    moved: Cell<bool>,
    /// Sweeps since something was sent; while a write is under way, since it made progress.
    still: Cell<u32>,
    writing: Cell<bool>,
}

/// What a link's task is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Wait,
    /// Send what is in the outbox, or that the stream lives.
    Send,
    /// Close the stream.
    Close,
}

impl Link {
    pub(super) fn new(to: MemberId, urls: Vec<Url>) -> Self {
        Self {
            to,
            urls: RefCell::new(urls),
            outbox: RefCell::default(),
            waker: RefCell::default(),
            up_since: Cell::new(None),
            closed: Cell::new(false),
            moved: Cell::new(false),
            still: Cell::new(0),
            writing: Cell::new(false),
        }
    }

    /// Takes a frame for the peer; the task sends it after this turn.
    pub(super) fn send(&self, frame: &Frame) -> Result<(), Unsent> {
        if self.up_since.get().is_none() {
            return Err(Unsent::Down);
        }
        let mut outbox = self.outbox.borrow_mut();
        let was_empty = outbox.is_empty();
        outbox.push(frame)?;
        drop(outbox);
        if was_empty {
            self.wake();
        }
        Ok(())
    }

    /// Bytes that no write has taken yet.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.outbox.borrow().waiting_bytes()
    }

    /// Exchanges what is to be sent for a buffer that has been sent.
    pub(super) fn take(&self, sent: &mut Vec<u8>) {
        self.outbox.borrow_mut().take(sent);
    }

    pub(super) fn next(&self) -> Next {
        if self.closed.get() || self.moved.get() {
            Next::Close
        } else if !self.outbox.borrow().is_empty() || self.still.get() >= IDLE_SWEEPS {
            Next::Send
        } else {
            Next::Wait
        }
    }

    /// A write made progress, or has ended.
    pub(super) fn wrote(&self, goes_on: bool) {
        self.still.set(0);
        self.writing.set(goes_on);
    }

    /// A write has been under way for too long, or is in vain.
    pub(super) fn is_stuck(&self) -> bool {
        self.closed.get() || self.moved.get() || self.writing.get() && self.still.get() >= STUCK_SWEEPS
    }

    /// Called ten times a second.
    pub(super) fn sweep(&self) {
        self.still.set(self.still.get().saturating_add(1));
        if self.still.get() >= IDLE_SWEEPS {
            self.wake();
        }
    }

    pub(super) fn up(&self) {
        self.moved.set(false);
        self.wrote(false);
        self.up_since.set(Some(Instant::now()));
    }

    /// The stream is gone, with what was to be sent. Returns whether there was one.
    pub(super) fn down(&self) -> bool {
        self.outbox.replace(Outbox::default());
        self.up_since.take().is_some()
    }

    pub(super) fn up_since(&self) -> Option<Instant> {
        self.up_since.get()
    }

    /// Where the member is; never empty.
    pub(super) fn urls(&self) -> Vec<Url> {
        self.urls.borrow().clone()
    }

    /// The member is somewhere else from now on.
    pub(super) fn move_to(&self, urls: Vec<Url>) {
        if *self.urls.borrow() != urls {
            self.urls.replace(urls);
            self.moved.set(true);
            self.wake();
        }
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(super) fn register(&self, waker: &Waker) {
        let mut current = self.waker.borrow_mut();
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
