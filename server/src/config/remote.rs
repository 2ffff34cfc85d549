//! What running members say to one that is about to start, on their peer ports.

use std::time::{Duration, Instant};

use super::blocking::{self, Connection, NoAnswer, dial, dial_file};
use super::urls::{Endpoint, Url};

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

fn exchange(url: &Url, path: &str, deadline: Instant) -> Result<Fetched, NoAnswer> {
    let mut stream: Box<dyn Connection> = match url.endpoint() {
        Endpoint::Unix(file) => Box::new(dial_file(file)?),
        Endpoint::Tcp(host, port) => Box::new(dial(host, *port, deadline)?),
    };
    let host = url.host_port();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: uetcd\r\nConnection: close\r\n\r\n");
    let (head, body) = blocking::exchange(&mut *stream, request.as_bytes(), deadline)?;
    let cluster_id = head.field("X-Etcd-Cluster-Id").map(|id| String::from_utf8_lossy(id).into_owned());
    Ok(Fetched { cluster_id, body })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
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
