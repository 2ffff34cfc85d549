//! HTTP/1.1 as honest clients speak it, however the bytes happen to arrive: cut, pipelined, chunked, over HTTP/1.0, and at the limits.

use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

use crate::harness::{Connection, Response, Server};

/// Requests whose answers do not depend on what was asked before: nothing they try succeeds twice.
const STEADY: [&str; 7] = [
    "GET /v2/keys/file HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /v2/keys/dir?recursive=true&sorted=true HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nX-Empty:\r\n\r\n",
    "PUT /v2/keys/file HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 23\r\n\r\nvalue=1&prevExist=false",
    "PUT /v2/keys/file HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n\
     7\r\nvalue=1\r\n10;ext=1\r\n&prevExist=false\r\n0\r\nX-Sum: y\r\nX-Empty:\r\n\r\n",
    "HEAD /v2/keys/missing HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /v2/members HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    "OPTIONS /anything HTTP/1.1\r\nHost: x\r\n\r\n",
];

fn method(request: &str) -> &str {
    request.split(' ').next().unwrap_or_default()
}

/// The answer without what changes from one second to the next.
fn steady(mut response: Response) -> Response {
    response.headers.retain(|(name, _)| name != "Date" && name != "X-Raft-Index");
    response
}

fn prepared() -> Server {
    let server = Server::start();
    let mut client = server.client();
    for (key, value) in [("/file", "v"), ("/dir/a", "1"), ("/dir/b/c", "2")] {
        client.set(key, value);
    }
    server
}

/// The answers to requests sent whole, one by one, on one connection.
fn whole(address: SocketAddr) -> Vec<Response> {
    let mut connection = Connection::open(address).expect("the server accepts");
    let one = |request: &&str| {
        connection.send(request.as_bytes()).expect("the server reads");
        steady(connection.response(method(request)).expect("the server answers"))
    };
    STEADY.iter().map(one).collect()
}

#[test]
fn a_request_cut_anywhere_is_answered_like_a_whole_one() {
    let server = prepared();
    let expected = whole(server.address());
    for (request, expected) in STEADY.iter().zip(&expected) {
        let mut connection = Connection::open(server.address()).expect("the server accepts");
        for cut in 1..request.len() {
            connection.send(&request.as_bytes()[..cut]).expect("the server reads");
            // Long enough that the server usually sees the two parts apart.
            thread::sleep(Duration::from_micros(300));
            connection.send(&request.as_bytes()[cut..]).expect("the server reads");
            let response =
                connection.response(method(request)).unwrap_or_else(|e| panic!("{request:?} cut at {cut}: {e}"));
            assert_eq!(&steady(response), expected, "{request:?} cut at {cut}");
        }
    }
}

#[test]
fn a_request_byte_by_byte_is_answered_like_a_whole_one() {
    let server = prepared();
    let expected = whole(server.address());
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    for (request, expected) in STEADY.iter().zip(&expected) {
        for byte in request.as_bytes() {
            connection.send(&[*byte]).expect("the server reads");
            thread::sleep(Duration::from_micros(50));
        }
        assert_eq!(&steady(connection.response(method(request)).expect("the server answers")), expected, "{request:?}");
    }
}

#[test]
fn a_hundred_pipelined_requests_are_answered_in_order() {
    let server = prepared();
    let expected = whole(server.address());
    let pipelined: Vec<usize> = (0..100).map(|n| n * 5 % STEADY.len()).collect();
    let bytes: String = pipelined.iter().map(|which| STEADY[*which]).collect();
    for piece in [bytes.len(), 1000, 61] {
        let mut connection = Connection::open(server.address()).expect("the server accepts");
        for part in bytes.as_bytes().chunks(piece) {
            connection.send(part).expect("the server reads");
        }
        for (n, which) in pipelined.iter().enumerate() {
            let response = connection.response(method(STEADY[*which])).expect("the server answers");
            assert_eq!(steady(response), expected[*which], "answer {n} of {piece}-byte pieces");
        }
        assert!(connection.silent_for(Duration::from_millis(50)), "more answers than requests");
    }
}

#[test]
fn pipelined_writes_take_effect_in_the_order_sent() {
    let server = Server::start();
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    // Different first segments: different shards, and most likely different cores.
    for n in 0..100 {
        connection
            .request("PUT", &format!("/v2/keys/p{}/k", n % 10), Some(&format!("value={n}")))
            .expect("the server reads");
    }
    let mut last = 0;
    for n in 0..100 {
        let index = connection.response("PUT").unwrap_or_else(|e| panic!("answer {n}: {e}")).index();
        assert!(index > last, "write {n} got index {index} after {last}");
        last = index;
    }
}

#[test]
fn a_request_behind_a_long_poll_waits_for_it() {
    let server = Server::start();
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    connection.request("GET", "/v2/keys/w?wait=true", None).expect("the server reads");
    connection.request("GET", "/v2/keys/missing", None).expect("the server reads");
    assert_eq!(connection.head().expect("a watch's head comes at once").status, 200);
    assert!(connection.silent_for(Duration::from_millis(200)), "the second request overtook the watch");
    server.client().set("/w", "1");
    assert_eq!(connection.event().expect("the event")["node"]["value"], "1");
    assert_eq!(connection.chunk().expect("the final chunk"), None);
    assert_eq!(connection.response("GET").expect("then the second answer").status, 404);
}

#[test]
fn bodies_up_to_2048_bytes_have_a_length_and_longer_ones_are_chunked() {
    let server = Server::start();
    let mut client = server.client();
    let body_length = |value: usize| format!("/k{value:04}");
    // What surrounds the value: found by asking, then used to hit the boundary exactly.
    client.set(&body_length(0), "");
    let around = client.get(&format!("/v2/keys{}", body_length(0))).body.len();
    for (length, chunked) in [(2047, false), (2048, false), (2049, true), (5000, true)] {
        let key = body_length(length);
        client.set(&key, &"v".repeat(length - around));
        let get = client.get(&format!("/v2/keys{key}"));
        let head = client.request("HEAD", &format!("/v2/keys{key}"), None);
        let length_text = length.to_string();
        assert_eq!(get.body.len(), length, "the boundary is hit exactly");
        assert_eq!(get.header("Content-Length"), (!chunked).then_some(length_text.as_str()));
        assert_eq!(get.header("Transfer-Encoding"), chunked.then_some("chunked"));
        assert_eq!(head.header("Content-Length"), get.header("Content-Length"));
        assert_eq!(head.header("Transfer-Encoding"), None);
    }
}

#[test]
fn http_1_0_is_answered_in_kind_and_closed() {
    let server = prepared();
    for (request, body) in [
        ("GET /v2/keys/missing HTTP/1.0\r\n\r\n", "Key not found"),
        ("GET /v2/keys/missing HTTP/1.0\r\nHost: x\r\n\r\n", "Key not found"),
    ] {
        let mut connection = Connection::open(server.address()).expect("the server accepts");
        connection.send(request.as_bytes()).expect("the server reads");
        let response = connection.response("GET").expect("the server answers");
        assert!(response.status_line.starts_with("HTTP/1.0 404 "), "{response:?}");
        assert!(response.text().contains(body), "{response:?}");
        assert_eq!(connection.rest().expect("closed"), b"");
    }
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    connection.send(b"GET /v2/keys/s?wait=true&stream=true HTTP/1.0\r\n\r\n").expect("the server reads");
    let head = connection.head().expect("the head comes at once");
    assert_eq!((head.status, head.header("Transfer-Encoding")), (200, None));
    server.client().set("/s", "1");
    connection.set_patience(Duration::from_millis(300));
    // A stream over HTTP/1.0 is bare JSON lines; it stays open.
    assert!(connection.rest().is_err(), "the stream ended");
}

#[test]
fn keep_alive_is_the_default_and_close_is_honoured() {
    let server = prepared();
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    connection.request("GET", "/v2/keys/file", None).expect("the server reads");
    assert_eq!(connection.response("GET").expect("an answer").header("Connection"), None);
    connection.send(b"GET /v2/keys/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("the server reads");
    assert_eq!(connection.response("GET").expect("an answer").header("Connection"), Some("close"));
    assert_eq!(connection.rest().expect("closed"), b"");
}

#[test]
fn nothing_behind_the_last_request_of_a_connection_is_taken_for_one() {
    let server = Server::start();
    let behind = "PUT /v2/keys/behind HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    for last in [
        // The client ends the connection, or the body is not waited for. Writes are answered later than they are taken.
        "PUT /v2/keys/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "PUT /v2/keys/last HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.address()).expect("the server accepts");
        connection.send(format!("{last}{behind}").as_bytes()).expect("the server reads");
        let response = connection.response("PUT").expect("an answer");
        assert_eq!((response.status / 100, response.header("Connection")), (2, Some("close")), "{last:?}");
        connection.socket().shutdown(Shutdown::Write).expect("half-closed");
        assert_eq!(connection.rest().expect("closed"), b"", "{last:?}");
    }
    assert_eq!(server.client().value("/behind"), None, "what was no request was executed");
}

#[test]
fn absolute_targets_trailing_slashes_and_long_keys_work() {
    let server = prepared();
    let mut client = server.client();
    assert_eq!(client.get("http://elsewhere:1/v2/keys/file").json()["node"]["value"], "v");
    assert_eq!(client.get("/v2/keys/file/").json()["node"]["key"], "/file");
    // etcd 3.4's port multiplexer drops request lines above 4096 bytes.
    let long = if server.flavor() == crate::harness::Flavor::Uetcd { 1_048_576 } else { 4000 };
    let key = format!("/{}", "k".repeat(long - 1));
    client.set(&key, "long");
    assert_eq!(client.value(&key).as_deref(), Some("long"));
}

#[test]
fn a_form_of_exactly_ten_mebibytes_is_the_longest_accepted() {
    let server = Server::start();
    let mut client = server.client();
    let form = |length: usize| format!("value={}", "v".repeat(length - "value=".len()));
    let accepted = client.request("PUT", "/v2/keys/big", Some(&form(10_485_760)));
    assert_eq!(accepted.status, 201);
    let refused = client.request("PUT", "/v2/keys/big", Some(&form(10_485_761)));
    assert_eq!((refused.status, refused.json()["cause"].as_str()), (400, Some("http: POST too large")), "{refused:?}");
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let server = prepared();
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    connection.request("GET", "/v2/keys/file", None).expect("the server reads");
    connection.socket().shutdown(Shutdown::Write).expect("half-closed");
    assert_eq!(connection.response("GET").expect("an answer").status, 200);
    assert_eq!(connection.rest().expect("closed"), b"");
}
