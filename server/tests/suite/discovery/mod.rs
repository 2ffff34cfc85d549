//! Clusters whose members find each other: through the keys of another cluster, or through DNS.

mod interrupted;
mod overflow;
mod refusals;
mod roads;
mod service;
mod srv;

use std::net::{Ipv4Addr, TcpListener};

use crate::harness::{Flavor, PATIENCE, Plan, Server, eventually, percent};

/// A server with a registry for this many members; the discovery URL.
fn registry(size: &str) -> (Server, String) {
    let server = Server::start();
    let url = open_registry(&server, size);
    (server, url)
}

/// A further registry of a server.
fn open_registry(server: &Server, size: &str) -> String {
    let token = format!("/v2/keys/_etcd/registry/{}", percent(size));
    let made = server.client().put(&format!("{token}/_config/size"), &[("value", size)]);
    assert_eq!(made.status, 201, "{made:?}");
    server.url(&token)
}

/// A member to be, with a name and ports of its own.
fn member(flavor: Flavor, name: &str, url: &str) -> Plan {
    Plan::of(flavor).named(name).on_quiet_ports().bootstrapped_by("--discovery", url)
}

/// Launches members one after the other, each when the one before has registered, so that the order is known.
fn launch(flavor: Flavor, names: &[&str], url: &str) -> Vec<Server> {
    let launch = |name: &&str| {
        let server = member(flavor, name, url).launch();
        server.wait_for_log("found self ");
        server
    };
    names.iter().map(launch).collect()
}

/// Waits until they are one cluster of just these members, and serve.
fn is_one_cluster(members: &[Server]) {
    for (at, member) in members.iter().enumerate() {
        let mut client = member.client();
        eventually("a member serves", PATIENCE, || {
            let healthy = client.attempt("GET", "/health", None).is_ok_and(|answer| answer.status == 200);
            let key = format!("/v2/keys/from-{at}");
            (healthy && client.attempt("PUT", &key, Some("value=x")).is_ok_and(|answer| answer.status < 300))
                .then_some(())
        });
    }
    for member in members {
        let mut client = member.client();
        let known = eventually("all are published", PATIENCE, || {
            let known = client.get("/v2/members").json()["members"].as_array().cloned().unwrap_or_default();
            let published =
                |member: &serde_json::Value| member["clientURLs"].as_array().is_some_and(|urls| !urls.is_empty());
            known.iter().all(published).then_some(known)
        });
        assert_eq!(known.len(), members.len(), "{known:?}");
        for at in 0..members.len() {
            assert_eq!(client.get(&format!("/v2/keys/from-{at}?quorum=true")).status, 200);
        }
    }
}

/// A URL where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound"))
}

/// Checks that what has failed left nothing where its data would be, not even an empty directory. etcd leaves the latter, and in it
/// what it has made so far.
fn leaves_nothing(plan: &Plan) {
    let is_there = plan.data().exists();
    assert!(plan.flavor() == Flavor::Etcd || !is_there, "{}: {:?}", plan.data().display(), contents(plan));
}

/// What is in the data directory of a member to be.
fn contents(plan: &Plan) -> Vec<String> {
    let entries = std::fs::read_dir(plan.data()).into_iter().flatten();
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}
