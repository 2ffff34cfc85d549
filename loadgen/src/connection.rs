//! One socket: bytes out, bytes in. Sends and receives are tried at once; only when the kernel has nothing is readiness
//! waited for (glommio's streams do that with `POLL_ADD`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;

use crate::plan::Endpoint;

/// Bytes that are received at a time, into a buffer that all connections of a thread share.
pub(crate) const SCRATCH_BYTES: usize = 64 << 10;

/// Bytes of output after which no more requests are added before they are sent.
pub(crate) const OUT_HIGH_WATER: usize = 1 << 20;

/// A connection to a server, and what is to be sent over it.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Requests that are encoded and not sent as a whole.
    pub(crate) out: Vec<u8>,
    sent: usize,
}

impl Connection {
    /// Opens it. `out` is an empty buffer, which a closed connection gives back.
    pub(crate) async fn open(endpoint: &Endpoint, timeout: Duration, out: Vec<u8>) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(endpoint.address, timeout).await.map_err(io::Error::from)?;
        stream.set_nodelay(true).map_err(io::Error::from)?;
        Ok(Self { stream, out, sent: 0 })
    }

    /// Closes it; gives its buffer back.
    pub(crate) fn close(mut self) -> Vec<u8> {
        self.out.clear();
        self.out
    }

    /// Sends what is to be sent; ready when that is done.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let rest = &self.out[self.sent..];
            let sent = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Receives into `scratch`; 0 bytes mean that the server has closed the connection.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, scratch)
    }
}
