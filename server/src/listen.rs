//! Listening sockets, bound before anything else is started, so that a busy port costs nothing but a line.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::prepare::Role;
use crate::config::{Config, Endpoint, Url};

/// Connections that may wait to be accepted, per executor.
const BACKLOG: i32 = 1024;

/// Who is expected to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Clients: the whole v2 API.
    Client,
    /// Other members, and those who want to join or to proxy.
    Peer,
    /// Scrapers: `/metrics` and `/health` alone.
    Metrics,
}

/// A socket that listens, on its way to the executor that accepts from it.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Who is expected.
    pub(crate) side: Side,
    /// Where they connect.
    pub(crate) place: Place,
}

/// Where a listener listens.
#[derive(Debug)]
pub(crate) enum Place {
    /// A TCP socket that listens already.
    Tcp(OwnedFd),
    /// A socket file, bound by its executor: glommio can not take over one that is.
    Unix(PathBuf),
}

/// Binds all listen URLs; returns the listeners of each executor. A proxy has no port for peers. The TCP ports for clients and peers are shared by all
/// executors (`SO_REUSEPORT`), everything else is for the first one.
///
/// The error is etcd's: `listen tcp 127.0.0.1:2379: bind: address already in use`.
pub(crate) fn bind_all(config: &Config, role: Role) -> Result<Vec<Vec<Listener>>, String> {
    let mut executors: Vec<Vec<Listener>> = config.cores.iter().map(|_| Vec::new()).collect();
    let peers = config.listen_peer.iter().map(|url| (url, Side::Peer)).filter(|_| role == Role::Member);
    let clients = config.listen_client.iter().map(|url| (url, Side::Client));
    for (url, side) in peers.chain(clients) {
        if url.listen_address()?.is_some() {
            for (executor, listener) in executors.iter_mut().zip(bind_shared(url, side, config.cores.len())?) {
                executor.push(listener);
            }
        } else {
            executors[0].push(bind_one(url, side)?);
        }
    }
    for url in &config.listen_metrics {
        executors[0].push(bind_one(url, Side::Metrics)?);
    }
    Ok(executors)
}

fn bind_one(url: &Url, side: Side) -> Result<Listener, String> {
    match (url.listen_address()?, url.endpoint()) {
        (Some(address), _) => {
            let socket = tcp(address, false).map_err(|error| refused(url, &error))?;
            Ok(Listener { side, place: Place::Tcp(socket.into()) })
        }
        (None, Endpoint::Unix(path)) => {
            remove_stale_socket(path);
            // Found out before anything is started. Its executor binds it again: glommio can not take this one over.
            UnixListener::bind(path).map_err(|error| refused(url, &error))?;
            let _ = std::fs::remove_file(path);
            Ok(Listener { side, place: Place::Unix(path.clone()) })
        }
        (None, Endpoint::Tcp(..)) => Err(format!("{url} has no address")),
    }
}

/// One socket per executor on the same port. With `SO_REUSEPORT` from the beginning, a second server of the same user
/// would share it: the first socket listens alone, and lets others join after that.
fn bind_shared(url: &Url, side: Side, executors: usize) -> Result<Vec<Listener>, String> {
    let Some(mut address) = url.listen_address()? else { return Ok(Vec::new()) };
    let mut listeners = Vec::with_capacity(executors);
    for nth in 0..executors {
        let socket = tcp(address, nth > 0).and_then(|socket| {
            socket.set_reuse_port(executors > 1)?;
            Ok(socket)
        });
        let socket = socket.map_err(|error| refused(url, &error))?;
        // Port 0 asks for any free port; the others follow the first.
        if let Some(bound) = socket.local_addr().ok().and_then(|bound| bound.as_socket()) {
            address = bound;
        }
        listeners.push(Listener { side, place: Place::Tcp(socket.into()) });
    }
    Ok(listeners)
}

fn tcp(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// A socket file stays behind when a process is killed. If nobody answers on it, it is in the way.
fn remove_stale_socket(path: &Path) {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if std::os::unix::net::UnixStream::connect(path).is_err_and(refused) {
        let _ = std::fs::remove_file(path);
    }
}

fn refused(url: &Url, error: &io::Error) -> String {
    let reason = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "bind: address already in use".to_owned(),
        Some(libc::EACCES) => "bind: permission denied".to_owned(),
        Some(libc::EADDRNOTAVAIL) => "bind: cannot assign requested address".to_owned(),
        _ => error.to_string(),
    };
    let network = if matches!(url.endpoint(), Endpoint::Unix(_)) { "unix" } else { "tcp" };
    format!("listen {network} {}: {reason}", url.host_port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn url(port: u16) -> Url {
        Url::parse(&format!("http://127.0.0.1:{port}")).expect("a URL")
    }

    /// Connections that wait at each listener.
    fn waiting(listeners: Vec<Listener>) -> Vec<usize> {
        let count = |listener: Listener| {
            let Place::Tcp(socket) = listener.place else { panic!("a TCP socket") };
            let socket = TcpListener::from(socket);
            socket.set_nonblocking(true).expect("it can be set");
            socket.incoming().take_while(Result::is_ok).count()
        };
        listeners.into_iter().map(count).collect()
    }

    #[test]
    fn executors_share_a_port_with_each_other_and_with_nobody_else() {
        let first = bind_shared(&url(0), Side::Client, 3).expect("a free port");
        let Place::Tcp(socket) = &first[0].place else { panic!("a TCP socket") };
        let port = TcpListener::from(socket.try_clone().expect("a copy")).local_addr().expect("an address").port();
        for executors in [1, 3] {
            let second = bind_shared(&url(port), Side::Client, executors);
            let reason = second.expect_err("the port is taken");
            assert_eq!(reason, format!("listen tcp 127.0.0.1:{port}: bind: address already in use"));
        }
        let clients: Vec<_> = (0..60).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("connected")).collect();
        let waiting = waiting(first);
        assert_eq!(waiting.iter().sum::<usize>(), clients.len());
        assert!(waiting.iter().all(|count| *count > 0), "{waiting:?}");
    }
}
