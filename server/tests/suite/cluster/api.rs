//! `/v2/members` as a client calls it.

use crate::harness::{Client, Connection, PATIENCE, Response, eventually};

use super::members::Cluster;

/// A request with a JSON body.
pub(super) fn json(cluster: &Cluster, via: usize, method: &str, target: &str, body: &str) -> Response {
    let mut connection = Connection::open(cluster.address(via)).expect("the member accepts");
    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
    connection
        .send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .expect("the member reads");
    connection.response(method).expect("an answer")
}

/// Adds a member with this peer URL; the answer.
pub(super) fn add(cluster: &Cluster, via: usize, url: &str) -> Response {
    json(cluster, via, "POST", "/v2/members", &format!(r#"{{"peerURLs":["{url}"]}}"#))
}

/// Adds a member that must be accepted; its id.
pub(super) fn added(cluster: &Cluster, via: usize, url: &str) -> String {
    let answer = add(cluster, via, url);
    assert_eq!(answer.status, 201, "{answer:?}");
    let member = answer.json();
    assert_eq!((&member["name"], &member["clientURLs"]), (&"".into(), &serde_json::json!([])), "{member}");
    assert_eq!(member["peerURLs"], serde_json::json!([url]));
    member["id"].as_str().expect("an id").to_owned()
}

/// Removes a member.
pub(super) fn remove(cluster: &Cluster, via: usize, id: &str) -> Response {
    cluster.client(via).delete(&format!("/v2/members/{id}"))
}

/// Waits until the members that run list exactly so many members.
pub(super) fn wait_count(cluster: &Cluster, count: usize) {
    for nth in cluster.up() {
        let mut client: Client = cluster.client(nth);
        eventually("the membership is the same everywhere", PATIENCE, || {
            let listed = client.attempt("GET", "/v2/members", None).ok()?.json();
            (listed["members"].as_array().map(Vec::len) == Some(count)).then_some(())
        });
    }
}

/// A peer URL where nobody listens.
pub(super) fn nowhere(cluster: &Cluster) -> String {
    cluster.next_plan().peer_url()
}
