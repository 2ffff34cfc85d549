//! The client's side of a connection: bytes in and out, within the limits that every client has.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_lite::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use super::front::Front;
use crate::http::{Opened, Registered, is_gone};

/// A client may send ahead this much while it waits for an answer.
const AHEAD_MAX: usize = 64 << 10;
/// Bytes of unread input that an idle connection may keep allocated.
const INPUT_KEPT: usize = 16 << 10;
/// Bytes read at most after the last answer, so that the client sees it instead of a reset.
const LINGER_BYTES: usize = 32 << 20;

/// A client that is connected.
pub(super) struct Client<S> {
    front: Rc<Front>,
    stream: S,
    /// The descriptor of `stream`, if it tells.
    socket: Option<RawFd>,
    place: Registered,
    /// Received and not consumed.
    pub(super) input: Vec<u8>,
    /// Nothing more will come.
    pub(super) input_ended: bool,
    /// When the first byte of `input` came.
    since: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn new(front: Rc<Front>, opened: Opened<S>) -> Self {
        let place = front.registry.enter(None);
        let Opened { stream, socket, first, .. } = opened;
        Self { front, stream, socket, place, input: first, input_ended: false, since: Instant::now() }
    }

    /// Where it is; `None` behind a socket file.
    pub(super) fn address(&self) -> Option<IpAddr> {
        // SAFETY: the stream outlives the borrow.
        let socket = unsafe { BorrowedFd::borrow_raw(self.socket?) };
        Some(SockRef::from(&socket).peer_addr().ok()?.as_socket()?.ip())
    }

    /// Done with the first bytes of the input.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.input.drain(..bytes);
        self.since = Instant::now();
        if self.input.is_empty() && self.input.capacity() > INPUT_KEPT {
            self.input = Vec::new();
        }
    }

    /// Waits for more input, its end, or the end of the process.
    pub(super) async fn receive(&mut self) -> io::Result<()> {
        if self.input.is_empty() {
            self.place.entry.at_ease();
        } else {
            self.place.entry.hurry(self.since, self.input.len() as u64);
        }
        self.place.entry.listen(true);
        poll_fn(|cx| {
            self.place.entry.register(cx.waker());
            if self.place.entry.is_expired() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if self.is_stopped() { Poll::Ready(Ok(())) } else { self.poll_input(cx) }
        })
        .await
    }

    /// The process stops, and nothing that comes is waited for: part of a request, for a moment.
    pub(super) fn is_stopped(&self) -> bool {
        self.front.is_stopping() && (self.input.is_empty() || self.place.hears_no_more())
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let front = Rc::clone(&self.front);
        let mut scratch = front.scratch();
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut scratch))?;
        if self.input.is_empty() {
            self.since = Instant::now();
        }
        self.input_ended |= read == 0;
        self.input.extend_from_slice(&scratch[..read]);
        Poll::Ready(Ok(()))
    }

    /// While something else is waited for: takes what the client sends ahead, and notices when it ends or fails. Wakes
    /// also when the executor wakes all its connections.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.place.entry.at_ease();
        self.place.entry.register(cx.waker());
        while !self.input_ended {
            let deaf = self.input.len() >= AHEAD_MAX;
            self.place.entry.listen(!deaf);
            if deaf {
                self.input_ended = self.socket.is_some_and(is_gone);
                return if self.input_ended { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            std::task::ready!(self.poll_input(cx))?;
            if self.input_ended {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    /// Sends all of it, as long as the client takes it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let begun = Instant::now();
        let mut written = 0;
        while written < bytes.len() {
            let entry = Rc::clone(&self.place.entry);
            let sent = poll_fn(|cx| match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                Poll::Pending => {
                    entry.hurry(begun, written as u64);
                    entry.register(cx.waker());
                    if entry.is_expired() { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
                }
                ready @ Poll::Ready(_) => ready,
            })
            .await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += sent;
        }
        Ok(())
    }

    /// Ends the sending side. `lingers`: bytes of the client's may be under way, so it is read on a little, or the reset
    /// could take the last answer with it (RFC 9112 section 9.6).
    pub(super) async fn close(&mut self, lingers: bool) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.stream).poll_close(cx)).await?;
        let begun = Instant::now();
        let mut left = LINGER_BYTES;
        while lingers && left > 0 && !self.input_ended {
            self.place.entry.hurry(begun, 0);
            self.input.clear();
            poll_fn(|cx| {
                self.place.entry.register(cx.waker());
                if self.lingers_no_more() { Poll::Ready(Ok(())) } else { self.poll_input(cx) }
            })
            .await?;
            if self.lingers_no_more() {
                break;
            }
            left = left.saturating_sub(self.input.len());
        }
        Ok(())
    }

    fn lingers_no_more(&self) -> bool {
        self.place.entry.is_expired() || self.place.hears_no_more()
    }
}
