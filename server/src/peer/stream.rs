//! One connection, over TCP or a socket file.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::{TcpStream, UnixStream};
use socket2::SockRef;

use crate::config::{Endpoint, Url};

/// How long sent bytes may stay without the peer's acknowledgement: a machine that has vanished answers nothing.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// What bytes go through.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Wire for S {}

/// Any of them.
pub(crate) type Stream = Box<dyn Wire>;

/// A connection that was made.
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    /// Its descriptor, if it tells.
    pub(crate) socket: Option<RawFd>,
}

/// Connects to a URL of a member; tries all addresses of a name, each for as long as `limit`.
pub(crate) async fn connect(url: &Url, limit: Duration) -> io::Result<Dialled> {
    match url.endpoint() {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(plain)?;
            Ok(Dialled { stream: Box::new(stream), socket: None })
        }
        Endpoint::Tcp(host, port) => {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in addresses(host, *port).await? {
                match TcpStream::connect_timeout(address, limit).await {
                    Ok(stream) => {
                        set_options(&stream);
                        let socket = Some(stream.as_raw_fd());
                        return Ok(Dialled { stream: Box::new(stream), socket });
                    }
                    Err(error) => last = plain(error),
                }
            }
            Err(last)
        }
    }
}

/// The addresses of a host. Only names are looked up, and not on this thread.
async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let host = host.to_owned();
    let look_up = move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
    glommio::executor().spawn_blocking(look_up).await
}

/// Frames are whole writes, so they need not wait for more. None of it is worth giving a connection up for.
fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    // SAFETY: the stream outlives the borrow.
    let socket = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

fn plain(error: glommio::GlommioError<()>) -> io::Error {
    error.into()
}

/// Ends with an error if `work` takes longer than `limit`.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    futures_lite::future::or(work, async {
        glommio::timer::sleep(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

/// Fills the buffer.
pub(super) async fn read_exact(stream: &mut (impl Wire + ?Sized), buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer[filled..])).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    Ok(())
}

/// Sends all of it.
pub(super) async fn write_all(stream: &mut (impl Wire + ?Sized), bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let sent = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, &bytes[written..])).await?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        written += sent;
    }
    Ok(())
}
