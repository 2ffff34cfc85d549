//! Tokio for `hickory-resolver`, with sockets that hear at once that nobody listens where the name server should be.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::net::runtime::{DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider};
use tokio::io::Interest;
use tokio::net::UdpSocket;

type Pending<T> = Pin<Box<dyn Send + Future<Output = T>>>;

/// The runtime.
#[derive(Clone, Default)]
pub(super) struct Connected(TokioRuntimeProvider);

impl RuntimeProvider for Connected {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = Udp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        bind: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Pending<io::Result<Self::Tcp>> {
        self.0.connect_tcp(server, bind, limit)
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Pending<io::Result<Udp>> {
        let bound = self.0.bind_udp(local, server);
        Box::pin(async move {
            let socket = bound.await?;
            // Only a connected socket is told. Elsewhere one could not name the address once more with what is sent, as is
            // done; Linux does not mind.
            socket.connect(server).await?;
            let socket = Arc::new(socket);
            let failure = Mutex::new(Box::pin(failure(socket.clone())) as Pending<io::Error>);
            Ok(Udp { socket, failure })
        })
    }
}

/// What goes wrong with a socket. To Tokio this does not count as something to be received.
async fn failure(socket: Arc<UdpSocket>) -> io::Error {
    match socket.ready(Interest::ERROR).await.and_then(|_| socket.take_error()) {
        Ok(Some(error)) | Err(error) => error,
        Ok(None) => pending().await,
    }
}

/// A socket that is connected to a name server.
pub(super) struct Udp {
    socket: Arc<UdpSocket>,
    failure: Mutex<Pending<io::Error>>,
}

impl DnsUdpSocket for Udp {
    type Time = <TokioRuntimeProvider as RuntimeProvider>::Timer;

    fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let received = <UdpSocket as DnsUdpSocket>::poll_recv_from(&self.socket, cx, buffer);
        if received.is_ready() {
            return received;
        }
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.as_mut().poll(cx).map(Err)
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, bytes: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        <UdpSocket as DnsUdpSocket>::poll_send_to(&self.socket, cx, bytes, to)
    }
}
