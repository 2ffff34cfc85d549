//! What a socket knows of its client: that it is gone while what it has sent ahead is not read, and what it has not taken.

use std::os::fd::RawFd;

/// Whether the other side of an open socket has shut down or reset. Does not block.
pub(crate) fn is_gone(socket: RawFd) -> bool {
    let mut asked = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut asked, 1, 0) };
    ready > 0 && asked.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
}

/// Bytes that the other side of an open socket has not taken (`SIOCOUTQ`, tcp(7)).
pub(crate) fn unsent(socket: RawFd) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one number, which outlives the call.
    let failed = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) != 0 };
    if failed { None } else { usize::try_from(bytes).ok() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_a_client_has_not_taken_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        let (mut server, _) = listener.accept().expect("accepted");
        assert_eq!(unsent(server.as_raw_fd()), Some(0));
        server.set_nonblocking(true).expect("a socket");
        while server.write(&vec![0; 64 << 10]).is_ok() {}
        let full = unsent(server.as_raw_fd()).expect("a socket tells");
        assert!(full > 0);
        let mut taken = vec![0; full];
        while unsent(server.as_raw_fd()) == Some(full) {
            client.read_exact(&mut taken[..4096]).expect("there is much");
        }
        assert!(unsent(server.as_raw_fd()) < Some(full));
    }

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
