//! Connections to members: made, used for one exchange after the other, and kept between them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead as _, AsyncWrite as _};

use super::endpoint::Endpoint;
use crate::http::is_gone;
use crate::peer::{Dialled, Stream, connect, within};

/// Idle connections that an executor keeps to one member, as etcd has it.
const IDLE_MAX: usize = 128;
/// How long the kernel tries when no limit is given: longer than it does by itself.
const FOR_EVER: Duration = Duration::from_mins(10);

/// A connection to a member.
pub(super) struct Upstream {
    stream: Stream,
    socket: Option<RawFd>,
    pub(super) endpoint: Arc<Endpoint>,
    /// How often the endpoint had been found hung when this exchange began.
    times_hung: u64,
    /// It has served an exchange before.
    pub(super) is_used: bool,
    /// Received and not consumed.
    pub(super) input: Vec<u8>,
}

impl Upstream {
    /// Connects within `limit`.
    pub(super) async fn dial(endpoint: &Arc<Endpoint>, limit: Option<Duration>) -> io::Result<Self> {
        let times_hung = endpoint.times_hung();
        let limit = limit.unwrap_or(FOR_EVER);
        let Dialled { stream, socket } = within(limit, connect(endpoint.url(), limit)).await?;
        let endpoint = Arc::clone(endpoint);
        Ok(Self { stream, socket, endpoint, times_hung, is_used: false, input: Vec::new() })
    }

    /// Sends what the member takes of `bytes`; the number of bytes.
    pub(super) async fn write(&mut self, bytes: &[u8], limit: Option<Duration>) -> io::Result<usize> {
        let write = poll_fn(|cx| Pin::new(&mut self.stream).poll_write(cx, bytes));
        let sent = match limit {
            Some(limit) => within(limit, write).await?,
            None => write.await?,
        };
        if sent == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(sent) }
    }

    /// Appends what has come to `input`; the number of bytes, 0 at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, scratch))?;
        self.input.extend_from_slice(&scratch[..read]);
        if read > 0 {
            self.endpoint.hear();
        }
        Poll::Ready(Ok(read))
    }

    /// The endpoint was found hung since this exchange began.
    pub(super) fn is_given_up(&self) -> bool {
        self.endpoint.times_hung() != self.times_hung
    }

    /// Nothing is known against using it once more.
    fn is_good(&self) -> bool {
        self.endpoint.is_listed() && !self.is_given_up() && !self.socket.is_some_and(is_gone)
    }
}

/// The idle connections of one executor.
#[derive(Default)]
pub(super) struct Pool(RefCell<Vec<Upstream>>);

impl Pool {
    /// The connection to a member that was used last: the others may be closed by idleness.
    pub(super) fn take(&self, endpoint: &Arc<Endpoint>) -> Option<Upstream> {
        let mut idle = self.0.borrow_mut();
        while let Some(at) = idle.iter().rposition(|kept| Arc::ptr_eq(&kept.endpoint, endpoint)) {
            let found = idle.remove(at);
            if found.is_good() {
                return Some(found);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is complete.
    pub(super) fn keep(&self, mut upstream: Upstream) {
        let mut idle = self.0.borrow_mut();
        let same = idle.iter().filter(|kept| Arc::ptr_eq(&kept.endpoint, &upstream.endpoint)).count();
        // Bytes behind an answer belong to nothing that was asked.
        if same < IDLE_MAX && upstream.input.is_empty() && upstream.is_good() {
            upstream.is_used = true;
            upstream.input = Vec::new();
            idle.push(upstream);
        }
    }

    /// Closes those that can not be used again.
    pub(super) fn sweep(&self) {
        self.0.borrow_mut().retain(Upstream::is_good);
    }
}
