//! A small blocking HTTP client, for the time before there are executors: one request on one connection, until a deadline.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use net::http::client::{ResponseHead, decode_head};

use super::go_reason;

/// The longest answer: far above the list of any cluster.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Why there is no answer. Shown in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The time was up.
    TimedOut,
    /// Anything else.
    Failed(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("i/o timeout"),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut,
            io::ErrorKind::ConnectionRefused => Self::Failed("connect: connection refused".to_owned()),
            // TLS says so of a connection that ends without a farewell.
            io::ErrorKind::UnexpectedEof => Self::Failed(END.to_owned()),
            _ => Self::Failed(go_reason(&error)),
        }
    }
}

/// What Go calls the end of a connection.
const END: &str = "EOF";

/// A connection whose reads and writes can each be given a limit.
pub(super) trait Connection: Read + Write {
    /// From now on.
    fn limit(&self, left: Duration) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn limit(&self, left: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(left)).and_then(|()| self.set_write_timeout(Some(left)))
    }
}

impl Connection for UnixStream {
    fn limit(&self, left: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(left)).and_then(|()| self.set_write_timeout(Some(left)))
    }
}

/// Connects to the first address of a host that takes it.
pub(super) fn dial(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, NoAnswer> {
    let none = || NoAnswer::Failed(format!("dial tcp: lookup {host}: no such host"));
    let mut reason = none();
    let mut addresses = (host, port).to_socket_addrs().map_err(|_| none())?;
    let found = addresses.find_map(|address| {
        let dialled = left(deadline).and_then(|left| Ok(TcpStream::connect_timeout(&address, left)?));
        dialled
            .map_err(|error| {
                reason = match error {
                    NoAnswer::TimedOut => NoAnswer::TimedOut,
                    NoAnswer::Failed(text) => NoAnswer::Failed(format!("dial tcp {address}: {text}")),
                }
            })
            .ok()
    });
    found.ok_or(reason)
}

/// Connects to a socket file.
pub(super) fn dial_file(file: &Path) -> Result<UnixStream, NoAnswer> {
    let failed = |error| NoAnswer::Failed(format!("dial unix {}: connect: {}", file.display(), go_reason(&error)));
    UnixStream::connect(file).map_err(failed)
}

/// Sends a request and reads the whole answer.
pub(super) fn exchange(
    stream: &mut dyn Connection,
    request: &[u8],
    deadline: Instant,
) -> Result<(ResponseHead, Vec<u8>), NoAnswer> {
    let (head, mut received) = ask(stream, request, deadline)?;
    let (mut body, mut start) = (Vec::new(), 0);
    let mut decoder = head.body();
    loop {
        let progress = decoder.decode(&received[start..], &mut body).map_err(malformed)?;
        start += progress.consumed;
        if progress.finished {
            break;
        }
        match read_more(stream, &mut received, deadline) {
            Ok(()) => {}
            Err(NoAnswer::Failed(reason)) if reason == END && decoder.may_end_with_connection() => break,
            Err(reason) => return Err(reason),
        }
    }
    Ok((head, body))
}

/// Sends a request and reads the head of the answer; the rest is what came with it.
pub(super) fn ask(
    stream: &mut dyn Connection,
    request: &[u8],
    deadline: Instant,
) -> Result<(ResponseHead, Vec<u8>), NoAnswer> {
    stream.limit(left(deadline)?)?;
    stream.write_all(request)?;
    stream.flush()?;
    let mut received = Vec::new();
    loop {
        match decode_head(&received, false).map_err(malformed)? {
            Some((head, length)) => return Ok((head, received.split_off(length))),
            None => read_more(stream, &mut received, deadline)?,
        }
    }
}

fn malformed(error: impl fmt::Display) -> NoAnswer {
    NoAnswer::Failed(error.to_string())
}

fn read_more(stream: &mut dyn Connection, received: &mut Vec<u8>, deadline: Instant) -> Result<(), NoAnswer> {
    let mut piece = [0; 8192];
    let read = loop {
        stream.limit(left(deadline)?)?;
        match stream.read(&mut piece) {
            // A signal, or work of the kernel for this thread.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    received.extend_from_slice(&piece[..read]);
    match read {
        0 => Err(NoAnswer::Failed(END.to_owned())),
        _ if received.len() > ANSWER_BYTES_MAX => Err(NoAnswer::Failed("the answer is too long".to_owned())),
        _ => Ok(()),
    }
}

fn left(deadline: Instant) -> Result<Duration, NoAnswer> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(NoAnswer::TimedOut) } else { Ok(left) }
}
