//! A stop that is asked for: what was begun is finished, what is not answered was not done, and the process is gone soon.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Connection, Flavor, PATIENCE, Plan, Server, eventually, load};
use crate::watch_limits::open_watch;

/// The longest that a stop may take.
const STOP: Duration = Duration::from_secs(5);
/// Clients that list everything, over and over.
const LISTERS: usize = 8;

fn start() -> Server {
    Plan::new().uetcd_args(["--cores", "2"]).start()
}

/// Lists the root until the server is gone; the number of whole answers. An answer that has begun must end.
fn list_until_gone(server: &Server, listed: &AtomicU64) -> u64 {
    let mut whole = 0;
    while let Ok(mut connection) = Connection::open(server.address()) {
        let asked = connection.request("GET", "/v2/keys/?recursive=true", None);
        if asked.is_err() || connection.silent_for(PATIENCE) {
            break;
        }
        match connection.response("GET") {
            Ok(answer) => assert_eq!(answer.json()["node"]["dir"], true),
            Err(error) => {
                // Nothing at all may have come, but not a part.
                let nothing = error.kind() == ErrorKind::ConnectionReset || error.to_string() == "line \"\"";
                assert!(nothing, "a listing was cut: {error}");
                break;
            }
        }
        whole += 1;
        listed.fetch_add(1, Ordering::Relaxed);
    }
    whole
}

#[test]
fn a_stop_cuts_no_listing_and_does_not_take_long() {
    let mut server = start();
    let value = "v".repeat(150);
    load(&server, 20_000, |n| (format!("/l{}/some-directory/key-{n}", n % 8), format!("value={value}")));
    let listed = AtomicU64::new(0);
    let took = thread::scope(|scope| {
        let listers: Vec<_> = (0..LISTERS).map(|_| scope.spawn(|| list_until_gone(&server, &listed))).collect();
        eventually("listings are under way", PATIENCE, || {
            (listed.load(Ordering::Relaxed) >= LISTERS as u64).then_some(())
        });
        let asked = Instant::now();
        server.signal(libc::SIGTERM);
        let whole: Vec<_> = listers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        assert!(whole.iter().all(Result::is_ok), "a listing was cut");
        asked
    });
    let ended = server.wait();
    let took = took.elapsed();
    println!("the stop took {took:?}");
    assert_eq!(ended.code(), 143);
    assert!(took <= STOP, "the stop took {took:?}");
    assert!(!ended.stderr.contains("are cut"), "{}", ended.stderr);
}

/// Writes one key per fresh connection until none is accepted; the numbers that were answered, and those that were not.
fn write_until_refused(server: &Server, next: &AtomicU64, stopped: &AtomicBool) -> (Vec<u64>, Vec<u64>) {
    let (mut answered, mut unanswered) = (Vec::new(), Vec::new());
    while let Ok(mut connection) = Connection::open(server.address()) {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let sent = connection.request("PUT", &format!("/v2/keys/w{}/k{n}", n % 16), Some("value=v"));
        match sent.and_then(|()| connection.response("PUT")) {
            Ok(answer) if answer.status < 300 => answered.push(n),
            Ok(answer) => panic!("{answer:?}"),
            Err(error) => {
                assert!(stopped.load(Ordering::SeqCst), "not answered before the stop: {error}");
                unanswered.push(n);
            }
        }
    }
    (answered, unanswered)
}

#[test]
fn what_a_stop_leaves_unanswered_was_not_done() {
    for _ in 0..4 {
        let mut server = start();
        let plan = server.plan().clone();
        let (next, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
        let (answered, unanswered) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let (done, lost) = write_until_refused(&server, &next, &stopped);
                    answered.lock().expect("no writer panicked").extend(done);
                    unanswered.lock().expect("no writer panicked").extend(lost);
                });
            }
            eventually("writes are under way", PATIENCE, || (next.load(Ordering::Relaxed) > 100).then_some(()));
            stopped.store(true, Ordering::SeqCst);
            server.signal(libc::SIGTERM);
        });
        assert_eq!(server.wait().code(), 143);
        let (answered, unanswered) = (answered.into_inner().expect("whole"), unanswered.into_inner().expect("whole"));
        println!("{} answered, {} not", answered.len(), unanswered.len());
        let server = plan.start();
        let mut client = server.client();
        let mut there = |n: &u64| client.value(&format!("/w{}/k{n}", n % 16)).is_some();
        for n in &answered {
            assert!(there(n), "write {n} was acknowledged and is gone");
        }
        for n in &unanswered {
            assert!(!there(n), "write {n} was done, but not answered");
        }
    }
}

#[test]
fn idle_connections_are_closed_and_requests_sent_before_the_stop_are_answered() {
    let mut server = start();
    let mut connections: Vec<_> = (0..20).map(|_| Connection::open(server.address()).expect("accepted")).collect();
    for connection in &mut connections {
        connection.request("GET", "/v2/keys/", None).expect("the server reads");
        assert_eq!(connection.response("GET").expect("an answer").status, 200);
    }
    let (idle, busy) = connections.split_at_mut(10);
    for (n, connection) in busy.iter_mut().enumerate() {
        connection.request("PUT", &format!("/v2/keys/p{n}"), Some("value=1")).expect("the server reads");
    }
    let asked = Instant::now();
    server.signal(libc::SIGTERM);
    for connection in busy {
        assert_eq!(connection.response("PUT").expect("sent before the stop").status, 201);
        assert_eq!(connection.rest().expect("the connection is closed"), b"");
    }
    for connection in idle {
        assert_eq!(connection.rest().expect("the connection is closed"), b"", "an idle connection is told something");
    }
    assert_eq!(server.wait().code(), 143);
    assert!(asked.elapsed() < STOP, "the stop took {:?}", asked.elapsed());
}

#[test]
fn a_stop_ends_streams_in_order_and_cuts_off_who_waits_for_one_event() {
    let mut server = start();
    let watch = |stream: bool, recursive: bool| {
        open_watch(&server, &format!("/v2/keys/?wait=true&recursive={recursive}&stream={stream}"))
    };
    let mut waiting = [watch(false, false), watch(false, true)];
    let mut streams = [watch(true, false), watch(true, true)];
    server.signal(libc::SIGTERM);
    for connection in &mut waiting {
        assert_eq!(connection.rest().expect("the connection is closed"), b"", "it looks whole, and has no event");
    }
    // etcd cuts them off as well (documented as stream-ends-at-stop).
    let end: &[u8] = if server.flavor() == Flavor::Uetcd { b"0\r\n\r\n" } else { b"" };
    for connection in &mut streams {
        assert_eq!(connection.rest().expect("the connection is closed"), end);
    }
    server.wait();
}

#[test]
fn half_a_request_does_not_hold_a_stop_up() {
    /// Much less than connections are given that have something to finish.
    const SOON: Duration = Duration::from_secs(3);
    let mut server = start();
    let form = "PUT /v2/keys/half HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n";
    let halves = [
        "GET /v2/keys/ha".to_owned(),
        format!("{form}\r\nval"),
        format!("{form}Expect: 100-continue\r\n\r\n"),
        "PUT /v2/keys/half HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n".to_owned(),
        // Refused; the client has yet to close its side.
        "NONSENSE\r\n\r\n".to_owned(),
    ];
    // The first answer shows that the connection is served, so that what follows it is read.
    let mut connections: Vec<_> = (0..=halves.len())
        .map(|_| {
            let mut connection = Connection::open(server.address()).expect("accepted");
            connection.request("GET", "/v2/keys/", None).expect("the server reads");
            assert_eq!(connection.response("GET").expect("an answer").status, 200);
            connection
        })
        .collect();
    let mut whole = connections.pop().expect("one more than halves");
    for (connection, half) in connections.iter_mut().zip(&halves) {
        connection.send(half.as_bytes()).expect("the server reads");
    }
    whole.send(format!("{form}\r\nval").as_bytes()).expect("the server reads");
    assert_eq!(connections[2].interim().expect("an interim answer"), "HTTP/1.1 100 Continue");
    let asked = Instant::now();
    server.signal(libc::SIGTERM);
    // The rest of this one comes in time.
    whole.send(b"ue=").expect("the server reads");
    thread::sleep(Duration::from_millis(50));
    whole.send(b"1").expect("the server reads");
    assert_eq!(whole.response("PUT").expect("received in time").status, 201);
    assert_eq!(server.wait().code(), 143);
    let took = asked.elapsed();
    assert!(took < SOON, "the stop took {took:?}");
    for connection in &mut connections[..4] {
        assert_eq!(connection.rest().expect("the connection is closed"), b"");
    }
    let refusal = connections[4].response("GET").expect("the refusal was sent");
    assert_eq!(refusal.status, 400);
}
