//! What a restart does to the index: one step, as in etcd, for the member's own attributes.

use crate::harness::{Plan, Server};

/// The index that a read shows.
fn index(server: &Server) -> u64 {
    server.client().get("/v2/keys/").index()
}

/// Restarts a few times, and checks each step.
fn check_restarts(mut server: Server) {
    for round in 0..3 {
        let before = index(&server);
        let stop = if round == 1 { libc::SIGTERM } else { libc::SIGKILL };
        let plan = server.plan().clone();
        server.terminate(stop);
        server = plan.start();
        assert_eq!(index(&server), before + 1, "round {round}");
        let written = server.client().set(&format!("/r{round}"), "1");
        assert_eq!(written, before + 2, "round {round}");
    }
}

#[test]
fn a_restart_moves_the_index_by_one() {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let mut client = server.client();
    for n in 0..40 {
        client.set(&format!("/k{n}"), "1");
    }
    check_restarts(server);
}

#[test]
fn a_restart_from_snapshots_moves_the_index_by_one() {
    let server = Plan::new().args(["--snapshot-count", "20"]).uetcd_args(["--cores", "2"]).start();
    let mut client = server.client();
    // The names of keys made in order in the root live in the shard that knows the members.
    for _ in 0..200 {
        client.request("POST", "/v2/keys/", Some("value=1"));
    }
    check_restarts(server);
}
