//! What requests may take of the memory: what is refused beyond, what is not, and who holds nothing.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Connection, PATIENCE, Plan, Response, Server, encode, eventually, uetcd_only};

/// The least that a server keeps for each of the three: 256 KiB.
const LEAST: [&str; 4] = ["--cores", "1", "--request-memory", "1"];
/// More than half of that.
const LARGE: usize = 150_000;
/// Idle connections: together they hold far more than that.
const IDLE: usize = 60;

fn start() -> Server {
    Plan::new().args(LEAST).start()
}

/// A PUT of a value of so many bytes.
fn put(key: &str, bytes: usize) -> String {
    encode("PUT", &format!("/v2/keys{key}"), Some(&format!("value={}", "v".repeat(bytes))))
}

fn put_in_chunks(key: &str, bytes: usize) -> String {
    let head = format!("PUT /v2/keys{key} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\nvalue={}\r\n0\r\n\r\n", bytes + 6, "v".repeat(bytes))
}

fn open(server: &Server) -> Connection {
    Connection::open(server.address()).expect("the server accepts")
}

fn answer(connection: &mut Connection, request: &str) -> Response {
    connection.send(request.as_bytes()).expect("the server reads");
    connection.response("PUT").expect("the server answers")
}

fn held(client: &mut Client) -> u64 {
    client.metric("uetcd_request_memory_bytes")
}

#[test]
fn a_large_request_is_refused_while_another_one_takes_the_room_and_small_ones_are_not() {
    uetcd_only!("etcd's memory is its own business");
    let server = start();
    let mut client = server.client();
    let first = put("/first", LARGE);
    let mut slow = open(&server);
    slow.send(&first.as_bytes()[..LARGE]).expect("the server reads");
    eventually("there is room for the whole of it", PATIENCE, || (held(&mut client) > 100_000).then_some(()));

    let mut refused = open(&server);
    refused.send(put("/second", LARGE).as_bytes()).expect("the server reads");
    let page = refused.response("PUT").expect("the server answers");
    assert_eq!(page.status_line, "HTTP/1.1 503 Service Unavailable: too many requests");
    assert_eq!(
        (page.header("Connection"), page.text().as_str()),
        (Some("close"), "503 Service Unavailable: too many requests")
    );
    assert!(client.metric("uetcd_requests_without_room_total") > 0);
    // Whoever is told so and stays holds nothing.
    assert!(held(&mut client) < 2 * LARGE as u64);
    client.set("/small", &"v".repeat(8_000));

    slow.send(&first.as_bytes()[LARGE..]).expect("the server reads");
    assert_eq!(slow.response("PUT").expect("the server answers").status, 201);
    assert_eq!(answer(&mut open(&server), &put("/second", LARGE)).status, 201);
}

#[test]
fn a_request_that_is_alone_may_be_as_large_as_any() {
    uetcd_only!("etcd's memory is its own business");
    let server = start();
    let mut connection = open(&server);
    for (n, bytes) in [LARGE, 300_000, 1 << 20, 9 << 20].into_iter().enumerate() {
        assert_eq!(answer(&mut connection, &put(&format!("/sized{n}"), bytes)).status, 201, "{bytes} bytes");
        assert_eq!(answer(&mut connection, &put_in_chunks(&format!("/chunks{n}"), bytes)).status, 201, "{bytes} bytes");
        assert_eq!(server.client().value(&format!("/chunks{n}")).map(|value| value.len()), Some(bytes));
    }
}

#[test]
fn idle_connections_hold_nothing_of_what_they_have_sent() {
    uetcd_only!("etcd's memory is its own business");
    let server = start();
    let mut client = server.client();
    let mut idle = Vec::new();
    for n in 0..IDLE {
        let mut connection = open(&server);
        let request =
            if n % 2 == 0 { put(&format!("/idle{n}"), 15_000) } else { put_in_chunks(&format!("/idle{n}"), LARGE) };
        assert_eq!(answer(&mut connection, &request).status, 201);
        idle.push(connection);
    }
    // A watch for ever, before which much was sent, and something after it.
    for n in 0..4 {
        let mut connection = open(&server);
        assert_eq!(answer(&mut connection, &put(&format!("/before{n}"), LARGE)).status, 201);
        connection.request("GET", "/v2/keys/never?wait=true&stream=true", None).expect("the server reads");
        assert_eq!(connection.head().expect("the head comes at once").status, 200);
        connection.socket().set_write_timeout(Some(Duration::from_millis(200))).expect("above zero");
        let _ = connection.socket().write_all("G".repeat(100_000).as_bytes());
        idle.push(connection);
    }
    eventually("nothing is held", PATIENCE, || (held(&mut client) < 10_000).then_some(()));
    assert_eq!(answer(&mut open(&server), &put("/large", LARGE)).status, 201);
    // Refused, and they go on sending, or stay.
    let slow = put("/slow", LARGE);
    let mut first = open(&server);
    first.send(&slow.as_bytes()[..LARGE]).expect("the server reads");
    eventually("there is room for the whole of it", PATIENCE, || (held(&mut client) > 100_000).then_some(()));
    for n in 0..10 {
        let mut connection = open(&server);
        let _ = connection.send(put(&format!("/refused{n}"), LARGE).as_bytes());
        assert_eq!(connection.response("PUT").expect("the server answers").status, 503);
        idle.push(connection);
    }
    drop(first);
    eventually("nothing is held again", PATIENCE, || (held(&mut client) < 10_000).then_some(()));
    assert_eq!(answer(&mut open(&server), &put("/large", LARGE)).status, 200);
}

/// All executors make a part of the root's listing; it does not stand in its own way.
#[test]
fn a_listing_that_is_alone_may_be_as_large_as_any() {
    uetcd_only!("etcd's memory is its own business");
    let server = Plan::new().args(["--cores", "2", "--request-memory", "1"]).start();
    let mut client = server.client();
    for n in 0..60 {
        client.set(&format!("/spread{n}/k"), &"v".repeat(50_000));
        client.set(&format!("/one/k{n}"), &"v".repeat(50_000));
    }
    for _ in 0..10 {
        for (target, bytes) in [("/v2/keys/one", 3_000_000), ("/v2/keys/?recursive=true", 6_000_000)] {
            let listing = client.get(target);
            assert!(listing.status == 200 && listing.body.len() > bytes, "{target}: {}", listing.status_line);
        }
    }
}

/// Many pipelines fill what may wait; a client with one small request at a time is served all the same.
#[test]
fn pipelines_leave_room_for_single_requests() {
    const PIPELINES: usize = 40;
    uetcd_only!("etcd's memory is its own business");
    let server = start();
    let until = Instant::now() + Duration::from_secs(2);
    let window = put("/piped/k", 100).repeat(64);
    let (taken, refused) = thread::scope(|scope| {
        for _ in 0..PIPELINES {
            scope.spawn(|| {
                let mut connection = open(&server);
                while Instant::now() < until {
                    connection.send(window.as_bytes()).expect("the server reads");
                    (0..64).for_each(|_| drop(connection.response("PUT").expect("the server answers")));
                }
            });
        }
        let (mut connection, mut counts) = (open(&server), (0, 0));
        while Instant::now() < until {
            let is_served = answer(&mut connection, &put("/single/k", 100)).status < 300;
            *if is_served { &mut counts.0 } else { &mut counts.1 } += 1;
        }
        counts
    });
    println!("{taken} single writes were served, {refused} refused");
    assert!(taken > 9 * refused, "{taken} single writes were served, {refused} refused");
}

/// A client that reads slowly, but reads, gets all of a large answer, however little memory there is.
#[test]
fn who_takes_an_answer_slowly_gets_all_of_it() {
    const VALUE: usize = 8 << 20;
    uetcd_only!("etcd's memory is its own business");
    let server = start();
    server.client().set("/large", &"v".repeat(VALUE));
    let slow = open(&server);
    let (mut socket, mut came, mut buffer) = (slow.socket(), Vec::new(), vec![0; 64 << 10]);
    socket.write_all(b"GET /v2/keys/large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("the server reads");
    let begun = Instant::now();
    loop {
        match socket.read(&mut buffer).expect("something comes") {
            0 => break,
            bytes => came.extend_from_slice(&buffer[..bytes]),
        }
        // All together it takes longer than a client may take nothing.
        thread::sleep(Duration::from_millis(60));
    }
    assert!(came.len() > VALUE && came.ends_with(b"\r\n0\r\n\r\n"), "{} bytes came", came.len());
    println!("{} bytes in {:.1?}", came.len(), begun.elapsed());
    assert_eq!(server.client().metric("uetcd_clients_cut_total"), 0);
}
