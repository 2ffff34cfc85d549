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
use super::own::Own;
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
    /// How many connections to the endpoint had been lost when this one was made.
    times_lost: u64,
    /// It has served an exchange before.
    pub(super) is_used: bool,
    /// Received and not consumed.
    pub(super) input: Vec<u8>,
}

impl Upstream {
    /// Connects within `limit`, but not to what is the proxy's `own`.
    pub(super) async fn dial(own: &Own, endpoint: &Arc<Endpoint>, limit: Option<Duration>) -> io::Result<Self> {
        let (times_hung, times_lost) = (endpoint.times_hung(), endpoint.times_lost());
        let limit = limit.unwrap_or(FOR_EVER);
        let Dialled { stream, socket } = within(limit, connect(endpoint.url(), limit)).await?;
        if socket.is_some_and(|socket| own.is_at_the_end_of(socket)) {
            return Err(io::Error::other("this proxy listens there"));
        }
        let endpoint = Arc::clone(endpoint);
        Ok(Self { stream, socket, endpoint, times_hung, times_lost, is_used: false, input: Vec::new() })
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

    /// Of a connection that the member has ended in good order: whether it did so without an answer, and before its kernel
    /// had got all of the request, which no process has read, then. A reset would prove nothing: it is also what comes of a
    /// machine that has started again after it had executed the request.
    pub(super) fn has_ended_unread(&self) -> bool {
        self.input.is_empty() && self.socket.is_some_and(is_unacknowledged)
    }

    /// Nothing is known against using it once more. That it has ended puts the endpoint in doubt: a member that stops ends
    /// idle connections first, and for a moment its port still takes new ones.
    fn is_good(&self) -> bool {
        if !self.endpoint.is_listed() || self.is_given_up() || self.endpoint.times_lost() != self.times_lost {
            return false;
        }
        let is_gone = self.socket.is_some_and(is_gone);
        if is_gone {
            self.endpoint.lose();
        }
        !is_gone
    }
}

/// Whether the other side's kernel has not acknowledged all that was sent.
fn is_unacknowledged(socket: RawFd) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request, `SIOCOUTQ` by its older name, writes one integer.
    let asked = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    asked == 0 && bytes > 0
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;

    /// Both ends of a connection.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        (near, listener.accept().expect("accepted").0)
    }

    fn read_to_end(near: &mut TcpStream) {
        assert_eq!(near.read(&mut [0; 9]).expect("an orderly end"), 0);
    }

    #[test]
    fn what_came_after_the_end_was_not_read() {
        let (mut near, far) = pair();
        drop(far);
        near.write_all(b"too late").expect("the kernel takes it");
        read_to_end(&mut near);
        assert!(is_unacknowledged(near.as_raw_fd()));
    }

    #[test]
    fn what_came_before_the_end_may_have_been_read() {
        let (mut near, mut far) = pair();
        near.write_all(b"in time").expect("it is taken");
        far.read_exact(&mut [0; 7]).expect("it comes");
        drop(far);
        read_to_end(&mut near);
        assert!(!is_unacknowledged(near.as_raw_fd()));
    }
}
