//! What running members say to one that is about to start: a small blocking client of their peer ports.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use net::http::client::decode_head;

use super::go_reason;
use super::urls::{Endpoint, Url};

/// The longest answer: far above the list of any cluster.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// An answer of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// `X-Etcd-Cluster-Id`.
    pub(crate) cluster_id: Option<String>,
    /// The body. As in etcd, the status does not count: what can be read is an answer.
    pub(crate) body: Vec<u8>,
}

/// Asks a member's peer URL for a path, within a time limit. The error is Go's text.
pub(crate) type Fetch<'a> = &'a dyn Fn(&Url, &str, Duration) -> Result<Fetched, String>;

/// [`Fetch`] over the network.
pub(crate) fn fetch(url: &Url, path: &str, limit: Duration) -> Result<Fetched, String> {
    let answer = exchange(url, path, Instant::now() + limit);
    answer.map_err(|reason| format!("Get {url}{path}: {reason}"))
}

fn exchange(url: &Url, path: &str, deadline: Instant) -> Result<Fetched, String> {
    let mut stream = connect(url, deadline)?;
    let host = url.host_port();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: uetcd\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| in_go(&error))?;
    let mut received = Vec::new();
    let (head, mut start) = loop {
        match decode_head(&received, false).map_err(|error| error.to_string())? {
            Some(found) => break found,
            None => read_more(&mut *stream, &mut received, deadline)?,
        }
    };
    let mut body = Vec::new();
    let mut decoder = head.body();
    loop {
        let progress = decoder.decode(&received[start..], &mut body).map_err(|error| error.to_string())?;
        start += progress.consumed;
        if progress.finished {
            break;
        }
        match read_more(&mut *stream, &mut received, deadline) {
            Ok(()) => {}
            Err(reason) if reason == "EOF" && decoder.may_end_with_connection() => break,
            Err(reason) => return Err(reason),
        }
    }
    let cluster_id = head.field("X-Etcd-Cluster-Id").map(|id| String::from_utf8_lossy(id).into_owned());
    Ok(Fetched { cluster_id, body })
}

/// A connection whose reads and writes each end by a deadline.
trait Connection: Read + Write {
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

fn connect(url: &Url, deadline: Instant) -> Result<Box<dyn Connection>, String> {
    let stream: Box<dyn Connection> = match url.endpoint() {
        Endpoint::Unix(path) => Box::new(
            UnixStream::connect(path)
                .map_err(|error| format!("dial unix {}: connect: {}", path.display(), go_reason(&error)))?,
        ),
        Endpoint::Tcp(host, port) => {
            let none = || format!("dial tcp: lookup {host}: no such host");
            let mut reason = none();
            let mut addresses = (host.as_str(), *port).to_socket_addrs().map_err(|_| none())?;
            let found = addresses.find_map(|address| {
                let dialled = TcpStream::connect_timeout(&address, left(deadline).ok()?);
                dialled.inspect_err(|error| reason = format!("dial tcp {address}: {}", in_go(error))).ok()
            });
            Box::new(found.ok_or(reason)?)
        }
    };
    stream.limit(left(deadline)?).map_err(|error| in_go(&error))?;
    Ok(stream)
}

fn read_more(stream: &mut dyn Connection, received: &mut Vec<u8>, deadline: Instant) -> Result<(), String> {
    let mut piece = [0; 8192];
    let read = loop {
        stream.limit(left(deadline)?).map_err(|error| in_go(&error))?;
        match stream.read(&mut piece) {
            // A signal, or work of the kernel for this thread.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read.map_err(|error| in_go(&error))?,
        }
    };
    received.extend_from_slice(&piece[..read]);
    match read {
        0 => Err("EOF".to_owned()),
        _ if received.len() > ANSWER_BYTES_MAX => Err("the answer is too long".to_owned()),
        _ => Ok(()),
    }
}

fn left(deadline: Instant) -> Result<Duration, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err("i/o timeout".to_owned()) } else { Ok(left) }
}

/// As Go says it.
fn in_go(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "i/o timeout".to_owned(),
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => go_reason(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers one request with these bytes; its URL.
    fn server(answer: &'static [u8]) -> (thread::JoinHandle<String>, Url) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("is bound"));
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).expect("a request"), 1);
                request.push(byte[0]);
            }
            stream.write_all(answer).expect("an answer");
            String::from_utf8(request).expect("text")
        });
        (serving, Url::parse(&url).expect("valid"))
    }

    #[test]
    fn an_answer_is_read_however_it_ends() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: c1\r\nContent-Length: 3\r\n\r\n[]\n"[..],
            b"HTTP/1.1 200 OK\r\nx-etcd-cluster-id: c1\r\n\r\n[]\n",
            b"HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: c1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n1\r\n\n\r\n0\r\n\r\n",
        ] {
            let (serving, url) = server(answer);
            let got = fetch(&url, "/members", Duration::from_secs(10)).expect("an answer");
            assert_eq!(got, Fetched { cluster_id: Some("c1".to_owned()), body: b"[]\n".to_vec() });
            let request = serving.join().expect("ended well");
            assert!(request.starts_with("GET /members HTTP/1.1\r\n"), "{request}");
        }
    }

    #[test]
    fn what_goes_wrong_is_said_in_go_s_words() {
        let (serving, url) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[");
        let got = fetch(&url, "/members", Duration::from_secs(10));
        assert_eq!(got, Err(format!("Get {url}/members: EOF")));
        serving.join().expect("ended well");
        // The port is free again.
        let got = fetch(&url, "/members", Duration::from_secs(10)).expect_err("nobody listens");
        assert_eq!(got, format!("Get {url}/members: dial tcp {}: connect: connection refused", url.host_port()));
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = Url::parse(&format!("http://{}", silent.local_addr().expect("is bound"))).expect("valid");
        let got = fetch(&url, "/members", Duration::from_millis(30)).expect_err("nobody answers");
        assert_eq!(got, format!("Get {url}/members: i/o timeout"));
    }
}
