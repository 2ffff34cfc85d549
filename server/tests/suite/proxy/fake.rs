//! A proxy in front of something that is no member, but answers as is wanted: what exactly is sent on, and what becomes of broken answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{plan, plan_of};
use crate::harness::{Connection, Flavor, Plan, need, uetcd_only};

/// A head as it came, and on which connection.
type Heard = Arc<Mutex<Vec<(usize, String)>>>;

struct Fake {
    address: SocketAddr,
    heard: Heard,
}

impl Fake {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let heard = Heard::default();
        let shared = Arc::clone(&heard);
        thread::spawn(move || {
            for (nth, stream) in listener.incoming().enumerate() {
                let (stream, heard) = (stream.expect("a connection"), Arc::clone(&shared));
                thread::spawn(move || serve(nth, stream, address, &heard));
            }
        });
        Self { address, heard }
    }

    fn proxy(&self) -> Plan {
        plan(&[format!("http://{}", self.address)])
    }

    /// The requests for keys so far.
    fn heard(&self) -> Vec<(usize, String)> {
        let heard = self.heard.lock().expect("no panic");
        heard.iter().filter(|(_, head)| head.contains(" /v2/keys/x")).cloned().collect()
    }
}

/// Answers until the path says otherwise, or the client goes.
fn serve(nth: usize, stream: TcpStream, address: SocketAddr, heard: &Heard) {
    let mut writer = stream.try_clone().expect("a socket can be cloned");
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        heard.lock().expect("no panic").push((nth, head.clone()));
        let members =
            format!(r#"[{{"id":1,"name":"f","peerURLs":["http://{address}"],"clientURLs":["http://{address}"]}}]"#);
        let answer = |more: &str, body: &str| format!("HTTP/1.1 200 OK\r\nX-Etcd-Index: 9\r\n{more}\r\n{body}");
        let sized = |body: &str| answer(&format!("X-Etcd-Cluster-Id: 1\r\nContent-Length: {}\r\n", body.len()), body);
        let path = head.split([' ', '?']).nth(1).unwrap_or_default();
        let (text, closes) = match path.rsplit('/').next().unwrap_or_default() {
            "members" => (sized(&members), false),
            "x-short" => (answer("Content-Length: 100\r\n", "0123456789"), true),
            "x-in-chunk" => (answer("Transfer-Encoding: chunked\r\n", "5\r\n01"), true),
            "x-until-close" => (answer("", "all of it"), true),
            "x-nonsense" => ("SSH-2.0-OpenSSH\r\n".to_owned(), true),
            "x-hang-up" => (String::new(), true),
            "x-silent" => (String::new(), false),
            odd if odd.starts_with("x-status-") => {
                (format!("HTTP/1.1 {} Oddly Said\r\nContent-Length: 0\r\n\r\n", &odd["x-status-".len()..]), false)
            }
            _ => (sized("{}\n"), false),
        };
        if writer.write_all(text.as_bytes()).is_err() || closes {
            return;
        }
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    Some(head)
}

fn ask(address: SocketAddr, request: &str) -> std::io::Result<crate::harness::Response> {
    let mut connection = Connection::open(address)?;
    connection.send(request.as_bytes())?;
    connection.response(request.split(' ').next().unwrap_or_default())
}

#[test]
fn what_is_sent_on_is_what_came_less_what_was_for_the_proxy() {
    uetcd_only!("etcd sorts the headers, and adds two");
    let fake = Fake::start();
    let proxy = fake.proxy().start();
    for (request, want) in [
        (
            "GET /v2/keys/x?wait=false HTTP/1.1\r\nHost: example\r\nConnection: X-Kept\r\nX-Kept: 1\r\nTE: trailers\r\n\r\n",
            "GET /v2/keys/x?wait=false HTTP/1.1\r\nHost: example\r\nX-Kept: 1\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n",
        ),
        (
            "GET http://other/v2/keys/x HTTP/1.1\r\nHost: example\r\nX-Forwarded-For: 10.1.1.1\r\n\r\n",
            "GET /v2/keys/x HTTP/1.1\r\nHost: example\r\nX-Forwarded-For: 10.1.1.1, 127.0.0.1\r\n\r\n",
        ),
        (
            "DELETE /v2/keys/x HTTP/1.0\r\n\r\n",
            &format!("DELETE /v2/keys/x HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n", fake.address),
        ),
        (
            "PUT /v2/keys/x HTTP/1.1\r\nHost: example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "PUT /v2/keys/x HTTP/1.1\r\nHost: example\r\nX-Forwarded-For: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        assert_eq!(ask(proxy.address(), request).expect("an answer").status, 200, "{request}");
        assert_eq!(fake.heard().last().expect("it was asked").1, want);
    }
}

/// Whatever else a member may have sent: Go's words for it, as etcd's proxy says them.
#[test]
fn a_status_has_the_reason_phrase_of_etcds_proxy() {
    need("etcd");
    let fake = Fake::start();
    let peers = [format!("http://{}", fake.address)];
    let [ours, theirs] = [Flavor::Uetcd, Flavor::Etcd].map(|flavor| plan_of(flavor, &peers).start());
    for status in (200..=599).chain([600, 799, 999]) {
        let request = format!("GET /v2/keys/x-status-{status} HTTP/1.1\r\nHost: x\r\n\r\n");
        let [got, want] = [&ours, &theirs].map(|proxy| {
            let mut connection = Connection::open(proxy.address()).expect("it accepts");
            connection.send(request.as_bytes()).expect("it reads");
            connection.head().expect("an answer").status_line
        });
        assert_eq!(got, want);
    }
}

#[test]
fn connections_to_members_are_used_again() {
    let fake = Fake::start();
    let proxy = fake.proxy().uetcd_args(["--cores", "1"]).start();
    for _ in 0..100 {
        // Also by other clients.
        assert_eq!(ask(proxy.address(), "GET /v2/keys/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("an answer").status, 200);
    }
    let mut used: Vec<usize> = fake.heard().into_iter().map(|(nth, _)| nth).collect();
    used.dedup();
    assert!(used.len() <= 2, "100 requests took the connections {used:?}");
}

#[test]
fn an_answer_that_is_cut_off_is_cut_off_for_the_client() {
    uetcd_only!("proxy-ends: etcd's ends it as if it were complete");
    let fake = Fake::start();
    let proxy = fake.proxy().start();
    for path in ["x-short", "x-in-chunk", "x-in-chunk?wait=true"] {
        let error = ask(proxy.address(), &format!("GET /v2/keys/{path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(error.is_err(), "{path}: {error:?}");
    }
    let whole = ask(proxy.address(), "GET /v2/keys/x-until-close HTTP/1.1\r\nHost: x\r\n\r\n").expect("an answer");
    assert_eq!((whole.text().as_str(), whole.header("Transfer-Encoding")), ("all of it", Some("chunked")));
}

#[test]
fn a_write_is_sent_once_and_a_read_may_be_sent_again() {
    uetcd_only!("proxy-repeats: etcd's repeats both");
    let fake = Fake::start();
    let flags = ["--cores", "1", "--proxy-failure-wait", "0", "--proxy-read-timeout", "500"];
    let proxy = fake.proxy().args(flags).start();
    let address = proxy.address();
    let count = |path: &str| fake.heard().iter().filter(|(_, head)| head.contains(path)).count();
    for path in ["x-hang-up", "x-nonsense", "x-silent"] {
        for method in ["PUT", "POST", "DELETE", "GET"] {
            // So that there is a connection which has been used before.
            assert_eq!(ask(address, "GET /v2/keys/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("an answer").status, 200);
            let before = count(path);
            let request = format!("{method} /v2/keys/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let answer = ask(address, &request).expect("an answer");
            assert_eq!((answer.status, answer.json()["message"].is_string()), (502, true), "{method} {path}");
            let sent = count(path) - before;
            assert!(if method == "GET" { sent >= 1 } else { sent == 1 }, "{method} {path} was sent {sent} times");
        }
    }
}
