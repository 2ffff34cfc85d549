//! Watches through a proxy: events come at once, and the watch ends with its client, with its member and with the proxy.

use std::time::Duration;

use super::in_front_of;
use crate::harness::{Connection, Flavor, PATIENCE, Server, env_number, eventually, uetcd_only};

/// Idle watches unless `SUITE_PROXY_WATCHES` says otherwise.
const IDLE: u64 = 1000;
/// What one of them may take of the proxy's memory: two sockets and what belongs to them.
const IDLE_BYTES: u64 = 32 << 10;

fn watch(proxy: &Server, target: &str) -> Connection {
    let mut connection = Connection::open(proxy.address()).expect("it accepts");
    connection.request("GET", target, None).expect("it reads");
    connection
}

fn opened(proxy: &Server, target: &str) -> Connection {
    let mut connection = watch(proxy, target);
    assert_eq!(connection.head().expect("the head comes at once").status, 200);
    connection
}

fn wait_watchers(server: &Server, count: u64) {
    let mut client = server.client();
    eventually(&format!("{count} watchers"), PATIENCE, || (client.watchers() == count).then_some(()));
}

#[test]
fn a_long_poll_is_answered_by_its_event() {
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let mut polling = watch(&proxy, "/v2/keys/a?wait=true");
    wait_watchers(&server, 1);
    let index = proxy.client().set("/a", "1");
    let answer = polling.response("GET").expect("an answer");
    assert_eq!((answer.status, &answer.json()["node"]["modifiedIndex"]), (200, &index.into()));
    // The connection goes on.
    polling.request("GET", "/v2/keys/a", None).expect("it reads");
    assert_eq!(polling.response("GET").expect("an answer").status, 200);
}

#[test]
fn heads_and_events_come_at_once() {
    uetcd_only!("proxy-flush: etcd's sends neither");
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let mut polling = opened(&proxy, "/v2/keys/s?wait=true&recursive=true");
    let mut stream = opened(&proxy, "/v2/keys/s?wait=true&recursive=true&stream=true");
    for n in 0..20 {
        let index = server.client().set(&format!("/s/{n}"), "x");
        // One chunk is one event, as the member sent it.
        assert_eq!(stream.event().expect("an event")["node"]["modifiedIndex"], index);
    }
    assert_eq!(polling.event().expect("an event")["node"]["key"], "/s/0");
    assert_eq!(polling.chunk().expect("the end"), None);
}

#[test]
fn a_client_that_hangs_up_ends_its_watch_at_the_member() {
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let watches: Vec<_> = (0..50)
        .map(|n| watch(&proxy, if n % 2 == 0 { "/v2/keys/a?wait=true" } else { "/v2/keys/a?wait=true&stream=true" }))
        .collect();
    wait_watchers(&server, 50);
    drop(watches);
    wait_watchers(&server, 0);
    if server.flavor() == Flavor::Etcd {
        // It does not notice in the following case.
        return;
    }
    // Also one that has sent much ahead, which is not read.
    let mut ahead = watch(&proxy, "/v2/keys/a?wait=true");
    wait_watchers(&server, 1);
    ahead.socket().set_write_timeout(Some(Duration::from_secs(1))).expect("above zero");
    let _ = ahead.send(&vec![b'x'; 200 << 10]);
    drop(ahead);
    wait_watchers(&server, 0);
}

#[test]
fn a_watch_whose_member_dies_ends_in_good_order() {
    uetcd_only!("proxy-flush: etcd's does not even send a head");
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let mut polling = opened(&proxy, "/v2/keys/a?wait=true");
    let mut stream = opened(&proxy, "/v2/keys/a?wait=true&stream=true");
    server.client().set("/b", "not watched");
    let plan = server.kill();
    for watch in [&mut polling, &mut stream] {
        assert_eq!(watch.chunk().expect("an orderly end"), None);
    }
    let _server = plan.start();
    eventually("the watch can begin again", PATIENCE, || {
        polling.request("GET", "/v2/keys/a?wait=true", None).expect("the connection is kept");
        let answer = polling.head().expect("an answer");
        if answer.status == 200 {
            return Some(());
        }
        let length = answer.header("Content-Length").expect("an error is short").parse().expect("a number");
        polling.skip(length);
        None
    });
}

#[test]
fn a_stop_ends_watches_and_finishes_answers() {
    uetcd_only!("proxy-ends: etcd's cuts them off");
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let mut stream = opened(&proxy, "/v2/keys/a?wait=true&stream=true");
    let mut idle = Connection::open(proxy.address()).expect("it accepts");
    idle.request("GET", "/v2/keys/", None).expect("it reads");
    assert_eq!(idle.response("GET").expect("an answer").status, 200);
    let ended = proxy.terminate(libc::SIGTERM);
    assert_eq!(ended.code(), 143, "{}", ended.stderr);
    assert_eq!(stream.chunk().expect("an orderly end"), None);
    assert_eq!(idle.rest().expect("closed"), b"");
    assert!(ended.stderr.contains("received terminated signal, shutting down..."), "{}", ended.stderr);
    wait_watchers(&server, 0);
}

#[test]
fn idle_watches_are_cheap_and_all_wake_up() {
    uetcd_only!("etcd's memory is its own business");
    let count = env_number("SUITE_PROXY_WATCHES", IDLE);
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    proxy.client().set("/warm", "up");
    let before = proxy.resident_bytes();
    let mut watches: Vec<_> = (0..count).map(|n| opened(&proxy, &format!("/v2/keys/d{}?wait=true", n % 100))).collect();
    wait_watchers(&server, count);
    let grown = proxy.resident_bytes().saturating_sub(before);
    println!("{count} idle watches: {} KiB each", (grown / count) >> 10);
    assert!(grown <= count * IDLE_BYTES, "{count} idle watches took {grown} bytes");
    for n in 0..100 {
        proxy.client().set(&format!("/d{n}"), "woken");
    }
    for watch in &mut watches {
        assert_eq!(watch.event().expect("an event")["node"]["value"], "woken");
    }
}
