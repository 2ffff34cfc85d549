//! Requests meant to confuse or exhaust a server: refused, the connection ended, nothing smuggled in, and the server none the worse.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Flavor, Plan, Rng, Server, env_number};
use crate::watch_limits::raise_descriptor_limit;

const REQUESTS: &str = include_str!("../hostile/requests.txt");
/// Longest until a hostile request is answered or cut off.
const PROMPT: Duration = Duration::from_secs(5);
/// Longest that a client may dribble a head or a body.
const SLOW_LIMIT: Duration = Duration::from_secs(30);
/// When it is given up that they are cut off.
const GIVEN_UP: Duration = Duration::from_secs(40);

/// Clients that dribble at the same time, unless `SUITE_DRIBBLERS` says otherwise.
const DRIBBLERS: usize = 30;
/// How often each of them sends a byte.
const DRIBBLE: Duration = Duration::from_millis(300);
/// What others' p99 may become meanwhile, in hundredths of what it was, unless `SUITE_HELD_UP` says otherwise: the machine may be busy.
const HELD_UP: u64 = 10_000;

/// A request and how it may end.
struct Case {
    line: usize,
    bytes: Vec<u8>,
    outcomes: String,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in REQUESTS.lines().enumerate() {
        if let Some(bytes) = line.strip_prefix("> ") {
            cases.push(Case { line: number + 1, bytes: unescape(bytes), outcomes: String::new() });
        } else if let Some(outcomes) = line.strip_prefix("= ") {
            outcomes.clone_into(&mut cases.last_mut().expect("an outcome follows a request").outcomes);
        }
    }
    cases
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(inner) = rest.strip_prefix("<<") {
            let (repeated, after) = inner.split_once(">>").expect("<< is closed");
            let (unit, count) = repeated.rsplit_once('*').expect("<<TEXT*COUNT>>");
            out.extend(unescape(unit).repeat(count.parse().expect("COUNT is a number")));
            rest = after;
        } else if c == '\\' {
            let (byte, length) = escape(&rest[1..]);
            out.push(byte);
            rest = &rest[1 + length..];
        } else {
            out.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// The byte of the escape after a backslash, and the escape's length.
fn escape(text: &str) -> (u8, usize) {
    match text.as_bytes().first() {
        Some(b'r') => (b'\r', 1),
        Some(b'n') => (b'\n', 1),
        Some(b't') => (b'\t', 1),
        Some(b'0') => (0, 1),
        Some(b'\\') => (b'\\', 1),
        Some(b'x') => (u8::from_str_radix(&text[1..3], 16).expect("two hexadecimal digits"), 3),
        other => panic!("escape {other:?}"),
    }
}

/// What came back for raw bytes.
struct Outcome {
    bytes: Vec<u8>,
    closed: bool,
}

impl Outcome {
    fn answers(&self) -> usize {
        self.bytes.windows(9).filter(|w| *w == b"HTTP/1.1 " || *w == b"HTTP/1.0 ").count()
    }

    fn status(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(9..12)?).ok()
    }

    /// True when one of the case's outcomes happened.
    fn fits(&self, outcomes: &str) -> bool {
        outcomes.split('|').any(|outcome| match outcome.strip_suffix('+') {
            _ if outcome == "close" => self.bytes.is_empty() && self.closed,
            Some(status) => self.status() == Some(status) && self.answers() == 1,
            None => self.status() == Some(outcome) && self.answers() == 1 && self.closed,
        })
    }
}

/// Sends bytes and reads until the server closes, or has answered and then been quiet for `linger`, or [`PROMPT`] has passed.
fn provoke(address: SocketAddr, bytes: &[u8], linger: Duration) -> Outcome {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(linger)).expect("above zero");
    let mut writer = stream.try_clone().expect("a socket can be cloned");
    writer.set_write_timeout(Some(PROMPT)).expect("above zero");
    let owned = bytes.to_vec();
    // A server that refuses early need not read the rest: the writer's failure says nothing.
    let writing = thread::spawn(move || drop(writer.write_all(&owned)));
    let mut outcome = Outcome { bytes: Vec::new(), closed: false };
    let deadline = Instant::now() + PROMPT;
    let mut buffer = [0; 16 * 1024];
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => outcome.closed = true,
            Ok(n) => outcome.bytes.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if !outcome.bytes.is_empty() && writing.is_finished() {
                    break;
                }
            }
            Err(_) => outcome.closed = true,
        }
        if outcome.closed {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    writing.join().expect("the writer does not panic");
    outcome
}

#[test]
fn every_hostile_request_is_refused_and_smuggles_nothing() {
    let mut server = Server::start();
    assert_refused(&mut server);
    let smuggled = server.client().value("/smuggled");
    assert!(server.flavor() == Flavor::Etcd || smuggled.is_none(), "a request was smuggled in");
}

/// Sends all of them to a server, which must refuse them and live on.
pub(crate) fn assert_refused(server: &mut Server) {
    let cases = cases();
    assert!(cases.len() >= 100, "only {} cases", cases.len());
    let mut failures = String::new();
    for case in &cases {
        assert!(!case.outcomes.is_empty(), "line {}: no outcome", case.line);
        // A server may wait a moment before it closes, so that its answer is not lost to a reset.
        let linger = if case.outcomes.contains('+') { 250 } else { 1500 };
        let outcome = provoke(server.address(), &case.bytes, Duration::from_millis(linger));
        // Go's server is laxer in places; against etcd only the harness and the server's health are checked.
        if server.flavor() == Flavor::Uetcd && !outcome.fits(&case.outcomes) {
            let (start, end) = (&case.bytes[..case.bytes.len().min(200)], outcome.bytes.len().min(300));
            let shown = String::from_utf8_lossy(&outcome.bytes[..end]).into_owned();
            let _ = writeln!(
                failures,
                "line {}: {:?}\n  want {}, got {} answers, closed: {}: {shown:?}",
                case.line,
                String::from_utf8_lossy(start),
                case.outcomes,
                outcome.answers(),
                outcome.closed
            );
        }
        assert!(server.alive(), "line {}: the server died", case.line);
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn random_bytes_and_mangled_requests_never_hang_or_kill_the_server() {
    let mut server = Server::start();
    let mut rng = Rng::new(5);
    let honest = b"PUT /v2/keys/mangled?x=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=1";
    for _ in 0..300 {
        let mut bytes = honest.to_vec();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = rng.next() as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, rng.next() as u8),
            }
        }
        let mut stream = TcpStream::connect(server.address()).expect("the server accepts");
        stream.set_read_timeout(Some(PROMPT)).expect("above zero");
        let _ = stream.write_all(&bytes);
        // Now an unfinished request can only be given up.
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        if let Err(e) = stream.read_to_end(&mut answer) {
            assert_ne!(e.kind(), std::io::ErrorKind::WouldBlock, "hangs: {:?}", String::from_utf8_lossy(&bytes));
        }
        assert!(server.alive(), "died of {:?}", String::from_utf8_lossy(&bytes));
    }
    server.client().set("/alive", "1");
}

#[test]
fn slow_heads_and_slow_bodies_are_cut_off_and_hold_nobody_up() {
    let mut server = Server::start();
    // Go's server as etcd sets it up waits for ever; there is nothing to see.
    let limit = if server.flavor() == Flavor::Uetcd { GIVEN_UP } else { Duration::from_secs(2) };
    let starts: [&[u8]; 3] = [
        b"GET /v2/keys/a",
        b"GET /v2/keys/a HTTP/1.1\r\nHost: x\r\nA: ",
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
    ];
    let count = env_number("SUITE_DRIBBLERS", DRIBBLERS as u64) as usize;
    raise_descriptor_limit(3 * count as u64 + 1000);
    let mut client = server.client();
    let before = p99(&mut client, || false);
    let dribblers = dribble(server.address(), &starts, count, limit);
    let meanwhile = p99(&mut client, || !dribblers.is_finished());
    let (cut_off, last) = dribblers.join().expect("they dribble to the end");
    println!(
        "dribblers: {cut_off} of {count} cut off, the last after {last:.1?}; p99 of others {before:?} before, {meanwhile:?} meanwhile"
    );
    assert!(server.flavor() == Flavor::Etcd || cut_off == count, "only {cut_off} of {count} slow clients were cut off");
    assert!(last <= SLOW_LIMIT, "the last one was cut off after {last:.1?}");
    assert!(server.alive());
    assert_not_held_up(server.flavor(), before, meanwhile);
}

#[test]
fn clients_that_take_every_descriptor_hold_nobody_up() {
    const LIMIT: usize = 400;
    let server = Plan::new().after(&format!("ulimit -n {LIMIT}")).start();
    raise_descriptor_limit(3 * LIMIT as u64);
    // Below what slow clients are given, so that all are there.
    let length = Duration::from_secs(env_number("SUITE_FLOODED", 0)).min(SLOW_LIMIT / 2);
    let mut client = server.client();
    let before = p99_for(&mut client, length);
    // Those that are let in say a little, and those that are not wait in the kernel.
    let flood: Vec<TcpStream> = (0..2 * LIMIT)
        .filter_map(|_| TcpStream::connect_timeout(&server.address(), Duration::from_secs(1)).ok())
        .filter_map(|mut stream| stream.write_all(b"GET /v2/keys/a").ok().map(|()| stream))
        .collect();
    assert!(flood.len() > LIMIT, "only {} connections", flood.len());
    let meanwhile = p99_for(&mut client, length);
    println!(
        "dribblers: {} of {} connections for {LIMIT} descriptors; p99 of others {before:?} before, {meanwhile:?} meanwhile",
        flood.len(),
        2 * LIMIT
    );
    assert_not_held_up(server.flavor(), before, meanwhile);
}

/// The 99th percentile of what an honest client does in so long a time.
fn p99_for(client: &mut Client, length: Duration) -> Duration {
    let begun = Instant::now();
    p99(client, || begun.elapsed() < length)
}

/// What others' p99 has become is not much more than what it was. (etcd's is its own affair.)
fn assert_not_held_up(flavor: Flavor, before: Duration, meanwhile: Duration) {
    let allowed = before * env_number("SUITE_HELD_UP", HELD_UP) as u32 / 100;
    assert!(flavor == Flavor::Etcd || meanwhile <= allowed, "p99 of others was {before:?}, and is {meanwhile:?}");
}

/// The 99th percentile of an honest client's writes: of a few hundred, and of further ones while `on`, for a bounded time.
fn p99(client: &mut Client, mut on: impl FnMut() -> bool) -> Duration {
    let (mut took, deadline) = (Vec::new(), Instant::now() + GIVEN_UP + PROMPT);
    while took.len() < 300 || (on() && took.len() < 10_000) {
        let asked = Instant::now();
        client.set("/honest", "1");
        took.push(asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(2), "an honest request took {:?}", asked.elapsed());
        assert!(Instant::now() < deadline, "others dribble still");
        thread::sleep(Duration::from_millis(10));
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// So many connections that send a byte now and then, for `limit`; how many of them the server ended, and the last one when. One thread has them all, and
/// their bytes are spread over time: many that wake at once would hold up whoever measures, not the server.
fn dribble(
    address: SocketAddr,
    starts: &[&'static [u8]],
    count: usize,
    limit: Duration,
) -> thread::JoinHandle<(usize, Duration)> {
    let starts: Vec<&'static [u8]> = starts.iter().copied().cycle().take(count).collect();
    thread::spawn(move || {
        let connect = |start: &[u8]| {
            let mut stream = TcpStream::connect(address).expect("the server accepts");
            stream.write_all(start).expect("the first bytes are taken");
            stream.set_nonblocking(true).expect("a socket");
            stream
        };
        let mut open: Vec<TcpStream> = starts.into_iter().map(connect).collect();
        let begun = Instant::now();
        let mut last = Duration::ZERO;
        while !open.is_empty() && begun.elapsed() < limit {
            let (pause, before) = (DRIBBLE / open.len() as u32, open.len());
            open.retain_mut(|stream| {
                thread::sleep(pause);
                sends_more(stream)
            });
            if open.len() < before {
                last = begun.elapsed();
            }
        }
        (count - open.len(), last)
    })
}

/// Sends another byte. False: the server has ended the connection; an answer such as 408 may precede that.
fn sends_more(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 1024];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return stream.write_all(b"x").is_ok(),
            Err(_) => return false,
        }
    }
}

#[test]
fn escapes_and_repetitions_are_understood() {
    assert_eq!(unescape(r"a\r\n\0\x7f\\<<b\t*2>>c"), b"a\r\n\0\x7f\\b\tb\tc");
}
