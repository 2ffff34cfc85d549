//! Requests meant to confuse: a proxy refuses them as a member does, so that none reaches a member in another sense.

use super::in_front_of;
use crate::harness::{Connection, PATIENCE, Server, eventually, uetcd_only};
use crate::hostile::assert_refused;

#[test]
fn every_hostile_request_is_refused_at_the_door() {
    uetcd_only!("proxy-limits: Go's server is laxer in places");
    let mut server = Server::start();
    let mut proxy = in_front_of(&server).start();
    assert_refused(&mut proxy);
    assert_eq!(server.client().value("/smuggled"), None);
    assert!(server.alive());
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_and_little_memory() {
    uetcd_only!("etcd's memory is its own business");
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let value = "v".repeat(1 << 20);
    for n in 0..20 {
        server.client().set(&format!("/big/{n}"), &value);
    }
    let before = proxy.resident_bytes();
    let stuck: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(proxy.address()).expect("it accepts");
            connection.request("GET", "/v2/keys/big?recursive=true", None).expect("it reads");
            connection
        })
        .collect();
    eventually("all of them have been asked for", PATIENCE, || {
        let page = proxy.client().get("/metrics").text();
        page.contains("etcd_proxy_handled_total{code=\"200\",method=\"GET\"} 2").then_some(())
    });
    proxy.client().set("/honest", "1");
    // What they have asked for is 400 MiB.
    let grown = proxy.resident_bytes().saturating_sub(before);
    println!("20 clients that do not read: {} KiB", grown >> 10);
    assert!(grown < 64 << 20, "20 clients that do not read took {grown} bytes");
    drop(stuck);
}
