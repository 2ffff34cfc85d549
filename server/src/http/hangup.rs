//! Noticing that a client is gone while what it has sent ahead is not read.

use std::os::fd::RawFd;

/// Whether the other side of an open socket has shut down or reset. Does not block.
pub(crate) fn is_gone(socket: RawFd) -> bool {
    let mut asked = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut asked, 1, 0) };
    ready > 0 && asked.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_shut_down_client_is_gone_although_its_input_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        client.write_all(b"ahead").expect("sent");
        assert!(!is_gone(server.as_raw_fd()));
        drop(client);
        while !is_gone(server.as_raw_fd()) {
            std::thread::yield_now();
        }
    }
}
