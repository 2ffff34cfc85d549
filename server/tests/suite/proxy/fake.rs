//! A proxy in front of something that is no member, but answers as is wanted: what exactly is sent on, and what becomes of broken answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use super::{plan, plan_of};
use crate::harness::{Client, Connection, Flavor, PATIENCE, Plan, eventually, need, uetcd_only};

/// Requests for `x-together` that are answered when all of them have come.
const TOGETHER: usize = 4;

/// A head as it came, and on which connection.
type Heard = Arc<Mutex<Vec<(usize, String)>>>;

struct Fake {
    address: SocketAddr,
    state: Arc<State>,
}

/// What its connections share.
struct State {
    heard: Heard,
    /// The client URLs that it names.
    urls: String,
    streams: Mutex<Vec<TcpStream>>,
    /// Connections before this one end when they are asked something.
    doomed: AtomicUsize,
    /// New connections are reset when they are asked something, as those are that nobody has accepted.
    stopping: AtomicBool,
    together: Barrier,
}

impl Fake {
    fn start() -> Self {
        Self::bind().serve(&[])
    }

    /// A port of a fake that is yet to be started.
    fn bind() -> Bound {
        Bound(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
    }

    fn proxy(&self) -> Plan {
        plan(&[format!("http://{}", self.address)])
    }

    fn all_heard(&self) -> Vec<(usize, String)> {
        self.state.heard.lock().expect("no panic").clone()
    }

    /// The requests for keys so far.
    fn heard(&self) -> Vec<(usize, String)> {
        self.all_heard().into_iter().filter(|(_, head)| head.contains(" /v2/keys/x")).collect()
    }

    /// As if its process had died, and its connections not yet.
    fn doom(&self) {
        self.state.doomed.store(self.state.streams.lock().expect("no panic").len(), Relaxed);
    }

    /// As a server does that stops: its idle connections end, while the kernel still takes new ones.
    fn stop(&self) {
        self.state.stopping.store(true, Relaxed);
        for stream in &*self.state.streams.lock().expect("no panic") {
            // The proxy may have ended it before.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// See [`Fake::bind`].
struct Bound(TcpListener);

impl Bound {
    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }

    /// Serves as a member with client URLs at these addresses; none: its own.
    fn serve(self, addresses: &[SocketAddr]) -> Fake {
        let address = self.address();
        let addresses = if addresses.is_empty() { &[address] } else { addresses };
        let urls: Vec<String> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
        let state = Arc::new(State {
            heard: Heard::default(),
            urls: urls.join(","),
            streams: Mutex::default(),
            doomed: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            together: Barrier::new(TOGETHER),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for (nth, stream) in self.0.incoming().enumerate() {
                let (stream, state) = (stream.expect("a connection"), Arc::clone(&shared));
                let copy = stream.try_clone().expect("a socket can be cloned");
                state.streams.lock().expect("no panic").push(copy);
                thread::spawn(move || serve(nth, stream, address, &state));
            }
        });
        Fake { address, state }
    }
}

/// Answers until the path says otherwise, or the client goes.
fn serve(nth: usize, stream: TcpStream, address: SocketAddr, state: &State) {
    if state.stopping.load(Relaxed) {
        let _ = stream.peek(&mut [0]);
        // With bytes that nobody has read it is reset, once it is closed: by its other descriptor, too.
        state.streams.lock().expect("no panic").clear();
        return;
    }
    let mut writer = stream.try_clone().expect("a socket can be cloned");
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        state.heard.lock().expect("no panic").push((nth, head.clone()));
        if nth < state.doomed.load(Relaxed) {
            let _ = writer.shutdown(Shutdown::Both);
            return;
        }
        let urls = &state.urls;
        let members = format!(r#"[{{"id":1,"name":"f","peerURLs":["http://{address}"],"clientURLs":[{urls}]}}]"#);
        let answer = |more: &str, body: &str| format!("HTTP/1.1 200 OK\r\nX-Etcd-Index: 9\r\n{more}\r\n{body}");
        let sized = |body: &str| answer(&format!("X-Etcd-Cluster-Id: 1\r\nContent-Length: {}\r\n", body.len()), body);
        let path = head.split([' ', '?']).nth(1).unwrap_or_default();
        let (text, closes) = match path.rsplit('/').next().unwrap_or_default() {
            "members" => (sized(&members), false),
            "x-together" => {
                state.together.wait();
                (sized("{}\n"), false)
            }
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
            let _ = writer.shutdown(Shutdown::Both);
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

/// A member that dies takes its connections with it, but not all at once.
#[test]
fn after_a_loss_no_write_is_sent_on_an_older_connection() {
    uetcd_only!("proxy-repeats: etcd's repeats writes");
    let fake = Fake::start();
    let proxy = fake.proxy().uetcd_args(["--cores", "1"]).start();
    let address = proxy.address();
    let get = |path: &str| ask(address, &format!("GET /v2/keys/{path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| assert_eq!(get("x-together").expect("an answer").status, 200));
        }
    });
    fake.doom();
    let put = || ask(address, "PUT /v2/keys/x-w HTTP/1.1\r\nHost: x\r\n\r\n").expect("an answer").status;
    assert_eq!([put(), put(), put()], [502, 200, 200]);
    let writes = fake.heard().iter().filter(|(_, head)| head.contains("x-w")).count();
    assert_eq!(writes, 3, "each was sent once");
    // Where a write goes after a loss, somebody has answered before.
    let doomed = fake.state.doomed.load(Relaxed);
    let heard = fake.all_heard();
    let asked: Vec<&str> = heard.iter().filter(|(nth, _)| *nth >= doomed).map(|(_, head)| head.as_str()).collect();
    assert!(asked[0].starts_with("GET /version HTTP/1.1\r\n"), "{asked:?}");
    assert_eq!(asked.iter().filter(|head| head.contains("/version")).count(), 1, "{asked:?}");
}

/// The kernel takes connections for a server until that has closed its port.
#[test]
fn no_write_fails_when_a_member_stops_that_has_ended_its_connections() {
    let bound = [Fake::bind(), Fake::bind()];
    let addresses = [bound[0].address(), bound[1].address()];
    let fakes = bound.map(|bound| bound.serve(&addresses));
    let proxy = fakes[0].proxy().uetcd_args(["--cores", "1"]).start();
    let mut client = proxy.client();
    assert_eq!(client.put("/v2/keys/x-w", &[]).status, 200);
    let first = fakes.iter().find(|fake| !fake.heard().is_empty()).expect("one was asked");
    first.stop();
    for _ in 0..5 {
        let answer = client.put("/v2/keys/x-w", &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let writes: usize = fakes.iter().map(|fake| fake.heard().len()).sum();
    assert_eq!(writes, 6, "each was sent once");
}

/// A proxy can not see that an address leads back to it when somebody on the way translates it.
#[test]
fn a_request_that_goes_round_comes_to_an_end() {
    uetcd_only!("proxy-order: etcd's sends requests round and round");
    let door = Plan::new().on_quiet_ports();
    let relay = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let fake = Fake::bind().serve(&[relay.local_addr().expect("bound")]);
    let (passed, back) = (Arc::new(AtomicUsize::new(0)), door.address());
    let count = Arc::clone(&passed);
    thread::spawn(move || {
        for stream in relay.incoming() {
            count.fetch_add(1, Relaxed);
            let near = stream.expect("a connection");
            // The test may be over.
            let Ok(far) = TcpStream::connect(back) else { return };
            let [far_back, near_back] = [&far, &near].map(|end| end.try_clone().expect("a socket can be cloned"));
            for (from, to) in [(near, far), (far_back, near_back)] {
                thread::spawn(move || pour(from, to));
            }
        }
    });
    let proxy = fake.proxy().args(["--listen-client-urls", &format!("http://{back}")]).launch();
    let mut client = Client::new(back);
    let answer = eventually("the proxy listens", PATIENCE, || client.attempt("GET", "/v2/keys/x", None).ok());
    let want = r#"{"message":"proxy: the request goes round: a member advertises the URL of a proxy"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (502, want));
    assert!(passed.load(Relaxed) <= 20, "it went round {} times", passed.load(Relaxed));
    proxy.wait_for_log("the request goes round");
}

fn pour(mut from: TcpStream, mut to: TcpStream) {
    // Whatever ends it ends both.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_request_may_have_passed_as_many_proxies_as_there_ever_are() {
    uetcd_only!("proxy-order: etcd's counts nothing");
    let fake = Fake::start();
    let proxy = fake.proxy().start();
    for (passed, want) in [(16, 200), (17, 502)] {
        let one = "X-Forwarded-For: 10.0.0.1\r\n";
        let listed = format!("x-forwarded-for: {}\r\n", vec!["10.0.0.1"; passed - 1].join(", "));
        let request = format!("GET /v2/keys/x HTTP/1.1\r\nHost: x\r\n{one}{listed}\r\n");
        assert_eq!(ask(proxy.address(), &request).expect("an answer").status, want, "{passed}");
    }
}
