//! Too few members: what is left answers what it can, says no to the rest in time, and goes on when there are enough again.

use std::thread;
use std::time::{Duration, Instant};

use super::load::{Load, assert_kept};
use super::members::{Cluster, Setup};
use crate::harness::{Client, Response};

/// A refusal may be this much later than etcd's request timeout on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// The answer to a request and how long it took.
pub(super) fn timed(mut client: Client, method: &str, target: &str, form: Option<&str>) -> (Response, Duration) {
    let begun = Instant::now();
    let answer = client.request(method, target, form);
    (answer, begun.elapsed())
}

/// etcd's answer when there is no quorum: error 300 after the request timeout.
pub(super) fn assert_no_quorum(what: &str, (answer, took): &(Response, Duration), limit: Duration) {
    let json = answer.json();
    assert_eq!((answer.status, &json["errorCode"]), (500, &300.into()), "{what}: {answer:?}");
    assert_eq!(json["message"], "Raft Internal Error", "{what}");
    let cause = json["cause"].as_str().unwrap_or_default();
    assert!(cause.starts_with("etcdserver: request timed out"), "{what}: {answer:?}");
    assert_eq!((answer.index(), &json["index"]), (0, &0.into()), "{what}");
    assert!(*took <= limit + SLACK, "{what}: refused after {took:?}");
}

#[test]
fn a_minority_reads_refuses_in_time_and_recovers() {
    let mut cluster = Setup::new().election_ms(500).start(3);
    cluster.client(0).set("/before", "1");
    let listing = cluster.wait_converged();
    let survivor = cluster.followers()[0];
    let gone: Vec<usize> = (0..3).filter(|&nth| nth != survivor).collect();
    for &nth in &gone {
        cluster.kill(nth);
    }
    let limit = cluster.request_timeout();
    thread::scope(|scope| {
        let ask = |method: &'static str, target: &'static str, form: Option<&'static str>| {
            let client = cluster.client(survivor);
            scope.spawn(move || timed(client, method, target, form))
        };
        let refused = [
            ("a write", ask("PUT", "/v2/keys/during", Some("value=1"))),
            ("a delete", ask("DELETE", "/v2/keys/before", None)),
            ("a post", ask("POST", "/v2/keys/queue", Some("value=1"))),
            ("a quorum read", ask("GET", "/v2/keys/before?quorum=true", None)),
            ("a quorum listing", ask("GET", "/v2/keys/?quorum=true", None)),
        ];
        let begun = Instant::now();
        let mut client = cluster.client(survivor);
        while begun.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            assert_eq!(client.value("/before").as_deref(), Some("1"));
            assert_eq!(client.get("/v2/keys/?recursive=true&sorted=true").json()["node"], listing["node"]);
            assert_eq!(client.get("/v2/members").json()["members"].as_array().map(Vec::len), Some(3));
            assert!(asked.elapsed() < Duration::from_secs(1), "default reads took {:?}", asked.elapsed());
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(client.get("/health").status, 503);
        let leader = client.get("/v2/members/leader");
        assert_eq!((leader.status, leader.text().as_str()), (503, r#"{"message":"During election"}"#));
        for (what, asked) in refused {
            let answer = asked.join().expect("answered");
            println!("{what}: {} after {:?}", answer.0.text().trim(), answer.1);
            assert_no_quorum(what, &answer, limit);
        }
    });
    cluster.restart(gone[0]);
    cluster.wait_writable();
    assert_eq!(cluster.client(survivor).get("/health").status, 200);
    cluster.restart(gone[1]);
    cluster.wait_writable();
    cluster.wait_converged();
}

#[test]
fn a_primary_that_lost_the_others_refuses_too() {
    let mut cluster = Setup::new().election_ms(500).start(3);
    cluster.client(0).set("/before", "1");
    let primary = cluster.primary();
    let gone = cluster.followers();
    for &nth in &gone {
        cluster.kill(nth);
    }
    let limit = cluster.request_timeout();
    thread::scope(|scope| {
        let ask = |method: &'static str, target: &'static str, form: Option<&'static str>| {
            let client = cluster.client(primary);
            scope.spawn(move || timed(client, method, target, form))
        };
        let refused = [
            ("a write", ask("PUT", "/v2/keys/during", Some("value=1"))),
            ("a quorum read", ask("GET", "/v2/keys/before?quorum=true", None)),
        ];
        assert_eq!(cluster.client(primary).value("/before").as_deref(), Some("1"));
        for (what, asked) in refused {
            let answer = asked.join().expect("answered");
            println!("{what}: {} after {:?}", answer.0.text().trim(), answer.1);
            assert_no_quorum(what, &answer, limit);
        }
    });
    assert_eq!(cluster.client(primary).value("/before").as_deref(), Some("1"));
    cluster.restart(gone[0]);
    cluster.wait_writable();
    cluster.wait_converged();
}

#[test]
fn all_members_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::of(3);
    let load = Load::on(&cluster, "a");
    for round in 0..2 {
        load.during(4, || {
            load.wait_for_more(400);
            for nth in 0..3 {
                cluster.kill(nth);
            }
            let begun = Instant::now();
            for nth in 0..3 {
                cluster.restart(nth);
            }
            cluster.wait_writable();
            println!("round {round}: all members were back after {:?}", begun.elapsed());
        });
        assert_kept(&load.acked(), &cluster.wait_converged());
    }
    super::load::assert_ordered(&load.acked());
}
