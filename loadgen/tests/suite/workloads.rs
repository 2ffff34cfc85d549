//! Every workload, against `uetcd` and against real etcd: nothing is wrong, and the counts are what the rates say.

use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::{Flavor, Plan, Server, document, finish, loadgen, number, report, start};

/// Requests per second of each run.
const RATE: u64 = 60;

/// Which runs there are, and the kinds of requests that each must have had.
const RUNS: [(&[&str], &[&str]); 17] = [
    (&["-w", "put"], &["put"]),
    (&["-w", "put", "--distribution", "zipfian", "--value-size", "0-5000"], &["put"]),
    (&["-w", "get"], &["get"]),
    (&["-w", "get", "--distribution", "hot", "-t", "2"], &["get"]),
    (&["-w", "quorum-get", "--distribution", "sequential"], &["quorum-get"]),
    (&["-w", "mixed", "--mix", "get=3,put=3,quorum-get=3", "--pipeline", "4"], &["get", "put", "quorum-get"]),
    (&["-w", "mixed", "--mix", "get=1,put=1,delete=1", "--prefix", "mixed-"], &["get", "put", "delete"]),
    (&["-w", "cas", "--keys", "2"], &["get", "cas"]),
    (&["-w", "create-delete", "--pipeline", "3"], &["create", "delete"]),
    (&["-w", "post", "--directories", "2"], &["post"]),
    (&["-w", "ttl", "--ttl", "1", "-d", "4s"], &["put", "get", "get-expired"]),
    (&["-w", "deep"], &["get", "put"]),
    (&["-w", "wide"], &["list"]),
    (&["-w", "list"], &["list"]),
    (&["-w", "watch", "--watchers", "5", "-t", "2"], &["put", "delivery"]),
    (&["-w", "watch", "--watchers", "4", "--directories", "2", "--long-poll"], &["put", "delivery"]),
    (&["-w", "churn"], &["get", "connect"]),
];

/// All runs beside each other: at these rates they do not notice.
fn run_all(flavor: Flavor) {
    let server = Plan::of(flavor).start();
    let rate = RATE.to_string();
    let begin = |arguments: &[&str]| {
        let given = |flag| arguments.contains(&flag);
        let mut command = loadgen(&[server.address()], arguments);
        command.args(["-c", "4", "--rate", &rate, "--json"]);
        command.args((!given("-d")).then_some(["-d", "1s"]).iter().flatten());
        command.args((!given("--keys")).then_some(["--keys", "40"]).iter().flatten());
        start(command)
    };
    let started: Vec<_> = RUNS.iter().map(|(arguments, kinds)| (begin(arguments), *arguments, *kinds)).collect();
    for (child, arguments, kinds) in started {
        check(&document(&finish(child), arguments), arguments, kinds);
    }
}

fn check(document: &Value, arguments: &[&str], kinds: &[&str]) {
    let (answered, unsent) = (number(document, "/requests"), number(document, "/unsent"));
    let seconds = if arguments.contains(&"-d") { 4 } else { 1 };
    assert_eq!(answered + unsent, RATE * seconds, "{arguments:?}: {document}");
    // The disk may be busy.
    assert!(answered > RATE * seconds / 10, "{arguments:?}: {document}");
    let count = |kind: &str| number(document, &format!("/kinds/{kind}/count"));
    assert!(kinds.iter().all(|kind| count(kind) > 0), "{arguments:?}: {document}");
    let requests = document["kinds"].as_object().expect("an object").keys();
    let others = ["delivery", "connect", "unsent"];
    let sum: u64 = requests.filter(|kind| !others.contains(&kind.as_str())).map(|kind| count(kind)).sum();
    assert_eq!(sum, answered, "{arguments:?}");
    if kinds.contains(&"delivery") {
        let each = if arguments.contains(&"--long-poll") { 2 } else { 5 };
        assert_eq!(count("delivery"), each * count("put"), "every watcher of a directory gets every write");
    }
    if kinds.contains(&"connect") {
        assert!(count("connect") + 4 >= answered, "each request has its connection: {document}");
    }
}

#[test]
fn all_workloads_run_against_uetcd() {
    run_all(Flavor::Uetcd);
}

#[test]
fn all_workloads_run_against_etcd() {
    run_all(Flavor::Etcd);
}

#[test]
fn a_closed_loop_keeps_every_connection_of_every_endpoint_busy() {
    let servers = [Plan::of(Flavor::Uetcd).start(), Plan::of(Flavor::Uetcd).start()];
    let addresses: Vec<SocketAddr> = servers.iter().map(Server::address).collect();
    let arguments = ["-w", "put", "-c", "6", "-t", "2", "--pipeline", "8", "-d", "300ms", "--keys", "100"];
    let document = report(&addresses, &arguments);
    let answered = number(&document, "/requests");
    assert!(answered > 100 && document["offered_per_second"].is_null(), "{document}");
    for server in &servers {
        let keys = server.client().get("/v2/keys/?recursive=true").text().matches("/k").count();
        assert!(keys > 10, "{keys} keys on one of the servers");
    }
}
