//! Accepting connections.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, RawFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream, UnixListener};
use glommio::sync::Semaphore;
use socket2::{SockRef, TcpKeepalive};

use super::connection::{self, Opened};
use super::registry::Registry;
use crate::core::Core;
use crate::listen::{Listener, Place, Side};
use crate::peer::{self, Links};

/// How long a silent peer is given before the kernel asks whether it is still there, as etcd has it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// After a failed accept (no descriptors left, say): long enough not to spin, short enough not to be noticed.
const RETRY: Duration = Duration::from_millis(50);

/// What becomes of the connections that an executor accepts.
pub(crate) trait Service: Clone + 'static {
    /// A connection was accepted.
    fn accepted(&self);
    /// One could not be.
    fn refused(&self);
    /// Serves a connection until it ends.
    fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(self, opened: Opened<S>) -> impl Future<Output = ()>;
}

/// What the connections of a member's executor need.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) core: Rc<Core>,
    pub(crate) registry: Rc<Registry>,
    pub(crate) links: Rc<Links>,
}

impl Service for Served {
    fn accepted(&self) {
        self.core.count(|metrics| metrics.accepted.inc());
    }

    fn refused(&self) {
        self.core.count(|metrics| metrics.refused.inc());
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(self, opened: Opened<S>) {
        match opened.side {
            Side::Peer => serve_peer(self, opened.stream, opened.socket).await,
            Side::Client | Side::Metrics => connection::serve(self.core, self.registry, opened).await,
        }
    }
}

/// Accepts from a listener until the task is cancelled. `permits` is what the connections may number; who comes beyond it
/// waits in the kernel's queue, as with etcd.
pub(crate) async fn accept(service: impl Service, permits: Rc<Semaphore>, listener: Listener) {
    let side = listener.side;
    match listener.place {
        Place::Tcp(socket) => {
            // SAFETY: the descriptor is a listening TCP socket, and given away here.
            let listener = unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) };
            loop {
                let Ok(permit) = permits.acquire_static_permit(1).await else { return };
                match listener.accept().await {
                    Ok(stream) => {
                        set_options(&stream);
                        let socket = Some(stream.as_raw_fd());
                        start(&service, Opened { stream, socket, side, first: Vec::new() }, permit);
                    }
                    Err(error) => refused(&service, &error).await,
                }
            }
        }
        Place::Unix(path) => {
            let listener = match UnixListener::bind(&path) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(target: "etcdmain", "listen unix {}: {error}. It is not served", path.display());
                    return;
                }
            };
            let _bound = SocketFile(path);
            loop {
                let Ok(permit) = permits.acquire_static_permit(1).await else { return };
                match listener.accept().await {
                    Ok(stream) => start(&service, Opened { stream, socket: None, side, first: Vec::new() }, permit),
                    Err(error) => refused(&service, &error).await,
                }
            }
        }
    }
}

/// The file of a socket that listens; it goes with the listener, as in Go.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed by somebody else. What stays behind after all does not keep a start from binding.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Answers are whole writes, so they need not wait for more; and a peer that has vanished is noticed. Neither is worth
/// refusing a client for.
fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    // SAFETY: the stream outlives the borrow.
    let socket = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let _ = SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE));
}

fn start<S, P>(service: &impl Service, opened: Opened<S>, permit: P)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    P: 'static,
{
    service.accepted();
    let service = service.clone();
    glommio::spawn_local(async move {
        service.serve(opened).await;
        drop(permit);
    })
    .detach();
}

/// The peer port is for other members and for HTTP; the first byte tells them apart.
async fn serve_peer<S>(served: Served, mut stream: S, socket: Option<RawFd>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Some(first) = peer::opening(&mut stream).await else { return };
    if peer::is_peer(&first) {
        served.links.accept(Box::new(stream), first).await;
    } else {
        let opened = Opened { stream, socket, side: Side::Peer, first };
        connection::serve(served.core, served.registry, opened).await;
    }
}

async fn refused(service: &impl Service, error: &glommio::GlommioError<()>) {
    service.refused();
    tracing::warn!(target: "etcdhttp", "a connection could not be accepted: {error}. Raise the limit of open files if there are none left");
    glommio::timer::sleep(RETRY).await;
}
