//! etcd's line about every request, for whoever asks for that much.

use std::os::fd::{BorrowedFd, RawFd};

use net::http::request::Request;
use socket2::SockRef;

/// Logs a request that was taken from an open `socket`. Costs nothing while the package is not shown at the level of debugging.
pub(super) fn note(request: &Request<'_>, socket: Option<RawFd>) {
    tracing::debug!(
        target: "etcdhttp",
        "[{}] {} remote:{}",
        String::from_utf8_lossy(request.method.as_bytes()),
        uri(request),
        remote(socket)
    );
}

fn uri(request: &Request<'_>) -> String {
    let path = String::from_utf8_lossy(request.path);
    match request.query {
        Some(query) => format!("{path}?{}", String::from_utf8_lossy(query)),
        None => path.into_owned(),
    }
}

/// The client's address; `@`, as Go has it, for one that has none.
fn remote(socket: Option<RawFd>) -> String {
    // SAFETY: the descriptor is that of the connection, which is open while it is served.
    let socket = socket.map(|socket| unsafe { BorrowedFd::borrow_raw(socket) });
    let address = socket.and_then(|socket| SockRef::from(&socket).peer_addr().ok()?.as_socket());
    address.map_or_else(|| "@".to_owned(), |address| address.to_string())
}
