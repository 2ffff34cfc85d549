//! Connections that send much ahead: watches among it that are given up, and answers whose indices never go back.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Client, Connection, Flavor, PATIENCE, Plan, Rng, Server, encode, eventually, uetcd_only};

/// How soon a client that left is noticed.
const NOTICED: Duration = Duration::from_secs(5);

fn start() -> Server {
    Plan::new().uetcd_args(["--cores", "2"]).start()
}

/// Client connections that are open, the asking one included.
fn connections(client: &mut Client) -> u64 {
    let text = client.get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with("uetcd_connections ")).expect("the gauge is there");
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn a_half_closed_connection_ends_with_the_watch_in_its_pipeline() {
    let server = start();
    let mut client = server.client();
    let pipelines = ["/v2/keys/w/k?wait=true", "/v2/keys/?wait=true&recursive=true&stream=true"];
    let mut opened: Vec<_> = pipelines
        .iter()
        .cycle()
        .take(8)
        .enumerate()
        .map(|(n, watch)| {
            let mut connection = Connection::open(server.address()).expect("the server accepts");
            let put = encode("PUT", &format!("/v2/keys/h{n}"), Some("value=1"));
            let all = put + &encode("GET", watch, None) + &encode("GET", "/v2/keys/h0", None);
            connection.send(all.as_bytes()).expect("the server reads");
            assert_eq!(connection.response("PUT").expect("an answer").status, 201);
            connection
        })
        .collect();
    // The stream's events are those of the connections opened after it; only the watchers' number matters here.
    eventually("all watch", PATIENCE, || (client.watchers() == 8).then_some(()));
    for connection in &mut opened {
        connection.socket().shutdown(Shutdown::Write).expect("an open socket");
    }
    eventually("none watches", NOTICED, || (client.watchers() == 0).then_some(()));
    for connection in &mut opened {
        connection.rest().expect("the server ends the connection");
    }
    if server.flavor() == Flavor::Uetcd {
        eventually("the connections are gone", NOTICED, || (connections(&mut client) == 1).then_some(()));
    }
    client.set("/w/k", "nobody is told");
}

#[test]
fn a_client_that_leaves_a_watch_with_much_sent_ahead_is_noticed() {
    let server = start();
    let mut client = server.client();
    let ahead = encode("GET", "/v2/keys/a", None).repeat(200_000 / 46);
    assert!(ahead.len() > 2 * (64 << 10));
    let opened: Vec<_> =
        ["/v2/keys/w?wait=true", "/v2/keys/w?wait=true&stream=true", "/v2/keys/?wait=true&recursive=true"]
            .iter()
            .cycle()
            .take(9)
            .map(|watch| {
                let mut connection = Connection::open(server.address()).expect("the server accepts");
                let all = encode("GET", watch, None) + &ahead;
                // What the server does not read stays in the socket's buffers, as far as it fits.
                connection.socket().set_nonblocking(true).expect("an open socket");
                let _ = connection.send(all.as_bytes());
                connection
            })
            .collect();
    eventually("all watch", PATIENCE, || (client.watchers() == 9).then_some(()));
    drop(opened);
    eventually("none watches", NOTICED, || (client.watchers() == 0).then_some(()));
    if server.flavor() == Flavor::Uetcd {
        eventually("the connections are gone", NOTICED, || (connections(&mut client) == 1).then_some(()));
    }
}

/// One request of a mix: method, and its bytes.
fn mixed(rng: &mut Rng) -> (&'static str, String) {
    let key = format!("/v2/keys/m{}/k{}", rng.below(48), rng.below(4));
    match rng.below(9) {
        0 => ("PUT", encode("PUT", &key, Some("value=v"))),
        1 => ("PUT", encode("PUT", &key, Some("value=v&prevIndex=1"))),
        2 => ("PUT", encode("PUT", &key, Some("value=v&prevValue=other"))),
        3 => ("DELETE", encode("DELETE", &key, None)),
        4 => ("GET", encode("GET", &format!("{key}?quorum=true"), None)),
        5 => ("GET", encode("GET", &format!("/v2/keys/m{}?recursive=true", rng.below(48)), None)),
        6 if rng.one_in(4) => ("GET", encode("GET", "/v2/keys/", None)),
        7 => ("HEAD", encode("HEAD", &key, None)),
        _ => ("GET", encode("GET", &key, None)),
    }
}

#[test]
fn the_index_never_goes_back_along_a_pipelined_connection() {
    uetcd_only!("etcd's failing commands answer with the index at which they were refused, its reads with a newer one");
    let server = start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2_u64 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let (mut client, mut rng) = (server.client(), Rng::new(100 + writer));
                while !done.load(Ordering::Relaxed) {
                    client.set(&format!("/m{}/w", rng.below(48)), "w");
                }
            });
        }
        let follow_from = |seed| {
            let server = &server;
            scope.spawn(move || follow(server, seed))
        };
        let followers: Vec<_> = (0..4).map(follow_from).collect();
        let ended: Vec<_> = followers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "an index went back");
    });
}

/// Sends windows of mixed requests on one connection, and follows the indices of the answers.
fn follow(server: &Server, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    let mut newest = 0;
    for _ in 0..15 {
        let window: Vec<_> = (0..64).map(|_| mixed(&mut rng)).collect();
        let bytes: String = window.iter().map(|(_, request)| request.as_str()).collect();
        connection.send(bytes.as_bytes()).expect("the server reads");
        for (method, request) in &window {
            let answer = connection.response(method).expect("the server answers");
            let line = request.lines().next().unwrap_or_default();
            assert!(answer.index() >= newest, "{line}: {} after {newest}: {answer:?}", answer.index());
            newest = answer.index();
        }
    }
}
