//! Members are added while the cluster runs.

use std::time::{Duration, Instant};

use super::api::{add, added, json, nowhere, remove, wait_count};
use super::load::{Load, assert_kept, assert_ordered};
use super::members::{Cluster, Setup};
use super::tail::{Tail, assert_contains, assert_grows};
use crate::harness::{Ended, Flavor, PATIENCE, etcdctl, eventually, uetcd_only};

fn start(members: usize) -> Cluster {
    // etcd 3.4 refuses changes in the first seconds of a process unless told not to.
    Setup::new().args(&["--strict-reconfig-check=false"]).start(members)
}

/// Adds a member through another one and starts it; its number.
fn grow(cluster: &mut Cluster, via: usize) -> usize {
    let plan = cluster.next_plan();
    let others = cluster.up();
    added(cluster, via, &plan.peer_url());
    let nth = cluster.join(&others, plan);
    eventually("the new member takes writes", PATIENCE, || {
        let answer = super::members::impatient(cluster.address(nth)).attempt("PUT", "/v2/keys/new", Some("value=1"));
        answer.is_ok_and(|answer| answer.status < 300).then_some(())
    });
    cluster.wait_published();
    nth
}

#[test]
fn one_member_grows_to_three_which_bear_the_loss_of_one() {
    let mut cluster = start(1);
    let load = Load::on(&cluster, "g");
    let tail = Tail::of(cluster.address(0));
    load.during(2, || {
        for want in 1..3 {
            let begun = Instant::now();
            let nth = grow(&mut cluster, want - 1);
            assert_eq!(nth, want);
            cluster.wait_voter(nth);
            println!("member {nth} had its votes after {:?}", begun.elapsed());
        }
    });
    let longest = load.longest_wait();
    println!("longest wait of a client meanwhile: {longest:?}");
    let marker = cluster.client(2).set("/marker", "");
    let seen = tail.up_to(marker);
    assert_grows(&seen);
    assert_contains(tail.since, &seen, &load.acked());
    assert_ordered(&load.acked());
    assert_kept(&load.acked(), &cluster.wait_converged());
    for dead in [cluster.primary(), cluster.followers()[0]] {
        cluster.kill(dead);
        cluster.wait_writable();
        assert_kept(&load.acked(), &cluster.wait_converged());
        cluster.restart(dead);
        cluster.wait_writable();
    }
    // Growing stops nobody: no election is needed.
    assert!(longest < Duration::from_secs(3), "a client waited {longest:?}");
}

#[test]
fn a_fourth_and_a_fifth_member_join_a_running_cluster() {
    let mut cluster = start(3);
    let load = Load::on(&cluster, "five");
    load.during(2, || {
        for via in [cluster.followers()[0], 3] {
            let nth = grow(&mut cluster, via);
            cluster.wait_voter(nth);
        }
    });
    // Five bear the loss of two.
    for dead in [cluster.primary(), cluster.followers()[0]] {
        cluster.kill(dead);
        cluster.wait_writable();
    }
    assert_kept(&load.acked(), &cluster.wait_converged());
}

#[test]
fn a_mistyped_member_costs_a_single_node_nothing_and_can_be_removed() {
    uetcd_only!("members-learn-first: etcd loses its quorum");
    let mut cluster = start(1);
    for _ in 0..2 {
        let id = added(&cluster, 0, &nowhere(&cluster));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            cluster.client(0).set("/steady", "1");
            assert_eq!(cluster.client(0).get("/v2/keys/steady?quorum=true").status, 200);
            assert!(asked.elapsed() < Duration::from_secs(1), "took {:?}", asked.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(remove(&cluster, 0, &id).status, 204);
        wait_count(&cluster, 1);
    }
    // The node starts again, also with a mistyped member, and grows for real afterwards.
    let id = added(&cluster, 0, &nowhere(&cluster));
    cluster.kill(0);
    cluster.restart(0);
    cluster.wait_writable();
    assert_eq!(remove(&cluster, 0, &id).status, 204);
    let nth = grow(&mut cluster, 0);
    cluster.wait_voter(nth);
    cluster.wait_converged();
}

#[test]
fn a_mistyped_member_costs_three_nothing_even_when_one_of_them_dies() {
    uetcd_only!("members-learn-first: etcd counts it for the quorum");
    let mut cluster = start(3);
    let mistyped = [0, 1].map(|via| added(&cluster, via, &nowhere(&cluster)));
    wait_count(&cluster, 5);
    // Long enough for a vote that is given too early.
    let load = Load::on(&cluster, "m");
    let begun = Instant::now();
    load.during(1, || {
        eventually("time passes", PATIENCE, || (begun.elapsed() > Duration::from_secs(3)).then_some(()));
    });
    let dead = cluster.primary();
    cluster.kill(dead);
    cluster.wait_writable();
    let via = cluster.up()[0];
    for id in &mistyped {
        assert_eq!(remove(&cluster, via, id).status, 204);
    }
    cluster.restart(dead);
    cluster.wait_writable();
    wait_count(&cluster, 3);
    cluster.wait_converged();
}

#[test]
fn a_cluster_whose_members_changed_comes_back_as_a_whole() {
    let mut cluster = start(3);
    let load = Load::on(&cluster, "w");
    let nth = load.during(2, || grow(&mut cluster, 0));
    cluster.wait_voter(nth);
    let gone = cluster.followers()[0];
    let via = cluster.primary();
    assert_eq!(remove(&cluster, via, &cluster.id(via, gone)).status, 204);
    cluster.wait_gone(gone);
    let mistyped = added(&cluster, via, &nowhere(&cluster));
    cluster.wait_writable();
    for kill in [true, false] {
        let up = cluster.up();
        for &nth in &up {
            if kill {
                cluster.kill(nth);
            } else {
                cluster.terminate(nth);
            }
        }
        for &nth in &up {
            cluster.restart(nth);
        }
        cluster.wait_writable();
        wait_count(&cluster, 4);
        assert_kept(&load.acked(), &cluster.wait_converged());
    }
    assert_eq!(remove(&cluster, cluster.up()[1], &mistyped).status, 204);
    wait_count(&cluster, 3);
}

#[test]
fn a_member_that_was_away_finds_a_primary_that_it_has_never_heard_of() {
    let mut cluster = start(3);
    cluster.client(0).set("/before", "1");
    let (away, gone, left) = (cluster.followers()[0], cluster.followers()[1], cluster.primary());
    cluster.kill(away);
    let plan = cluster.next_plan();
    added(&cluster, left, &plan.peer_url());
    let new = cluster.join(&[0, 1, 2], plan);
    cluster.wait_voter(new);
    assert_eq!(remove(&cluster, left, &cluster.id(left, gone)).status, 204);
    cluster.wait_gone(gone);
    // Only the new member can take over, and it keeps its place when the other one is back.
    cluster.terminate(left);
    cluster.restart(left);
    cluster.wait_writable();
    println!("member {} is the primary, {new} is the new one", cluster.primary());
    cluster.restart(away);
    cluster.wait_writable();
    wait_count(&cluster, 3);
    cluster.wait_converged();
}

/// Starts the next member with these pieces as its `--initial-cluster`, which it must refuse; what it said.
fn refused(cluster: &Cluster, plan: crate::harness::Plan, pieces: &str) -> Ended {
    let mut launched = plan.args(["--initial-cluster-state", "existing", "--initial-cluster", pieces]).launch();
    let ended = launched.wait();
    assert_eq!(ended.code(), 1, "{ended:?}");
    cluster.wait_writable();
    ended
}

#[test]
fn a_member_that_was_added_is_refused_with_a_wrong_list() {
    let cluster = start(3);
    let plan = cluster.next_plan();
    let own = format!("m3={}", plan.peer_url());
    let all: Vec<String> = (0..3).map(|nth| format!("m{nth}={}", cluster.peer_url(nth))).collect();
    let count = refused(&cluster, plan.clone(), &[&all[..], std::slice::from_ref(&own)].concat().join(","));
    assert!(count.stderr.contains("member count is unequal"), "not added yet: {}", count.stderr);
    added(&cluster, 0, &plan.peer_url());
    wait_count(&cluster, 4);
    let few = refused(&cluster, plan.clone(), &[&all[..2], std::slice::from_ref(&own)].concat().join(","));
    assert!(few.stderr.contains("member count is unequal"), "{}", few.stderr);
    let other = format!("m9={}", nowhere(&cluster));
    let unmatched = refused(&cluster, plan, &[&all[..2], &[other, own]].concat().join(","));
    let words = match Flavor::under_test() {
        Flavor::Uetcd => "unmatched member while checking PeerURLs",
        // That is what 2.3 says; 3.4 says which one it is.
        Flavor::Etcd => "no match found for existing member",
    };
    assert!(unmatched.stderr.contains(words), "{}", unmatched.stderr);
}

#[test]
fn the_members_api_answers_as_etcds() {
    let cluster = start(3);
    let (a, b) = (nowhere(&cluster), nowhere(&cluster));
    let in_use = cluster.peer_url(2);
    let first = added(&cluster, 1, &a);
    wait_count(&cluster, 4);
    let put = |id: &str, url: &str| {
        let answer = json(&cluster, 2, "PUT", &format!("/v2/members/{id}"), &format!(r#"{{"peerURLs":["{url}"]}}"#));
        (answer.status, answer.text())
    };
    let exists = if Flavor::under_test() == Flavor::Etcd { "membership" } else { "etcdserver" };
    let exists = format!(r#"{{"message":"{exists}: peerURL exists"}}"#);
    let answer = add(&cluster, 0, &in_use);
    assert_eq!((answer.status, answer.text()), (409, exists.clone()));
    // Within the same second it would get the same id: etcd names that first.
    assert_eq!(add(&cluster, 0, &a).status, 409);
    assert_eq!(put(&first, &in_use), (409, exists));
    assert_eq!(put(&first, &b), (204, String::new()));
    for via in 0..3 {
        eventually("the update is everywhere", PATIENCE, || {
            cluster.client(via).get("/v2/members").text().contains(&b).then_some(())
        });
    }
    let unknown = (404, r#"{"message":"No such member: 1234"}"#.to_owned());
    assert_eq!(put("1234", &a), unknown);
    let answer = remove(&cluster, 0, "1234");
    assert_eq!((answer.status, answer.text()), unknown);
    let answer = json(&cluster, 0, "POST", "/v2/members", r#"{"peerURLs":[]}"#);
    assert_eq!((answer.status, answer.text().as_str()), (400, r#"{"message":"no valid URLs given"}"#));
    let answer = remove(&cluster, 2, &first);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    wait_count(&cluster, 3);
    for via in 0..3 {
        let answer = remove(&cluster, via, &first);
        let want = format!(r#"{{"message":"Member permanently removed: {first}"}}"#);
        assert_eq!((answer.status, answer.text()), (410, want));
    }
    // The URL may come back, the id may not.
    let second = added(&cluster, 0, &b);
    assert_ne!(second, first);
    // A member knows of it once it has applied it.
    wait_count(&cluster, 4);
    assert_eq!(remove(&cluster, 1, &second).status, 204);
    wait_count(&cluster, 3);
}

#[test]
fn etcdctl_adds_updates_and_removes_through_any_member() {
    let cluster = start(3);
    for via in 0..3 {
        let run = |args: &[&str]| {
            let output = etcdctl(cluster.server(via)).args(args).output().expect("etcdctl runs");
            assert!(output.status.success(), "{args:?} at member {via}: {output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let (url, other) = (nowhere(&cluster), nowhere(&cluster));
        let said = run(&["member", "add", "new", &url]);
        let id = said.split("with ID ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an id").to_owned();
        assert!(said.contains("ETCD_INITIAL_CLUSTER_STATE=\"existing\""), "{said}");
        assert!(run(&["member", "list"]).contains(&format!("{id}[unstarted]: peerURLs={url}")));
        assert!(run(&["member", "update", &id, &other]).contains("Updated member with ID"));
        assert!(run(&["member", "list"]).contains(&format!("{id}[unstarted]: peerURLs={other}")));
        assert!(run(&["member", "remove", &id]).contains(&format!("Removed member {id} from cluster")));
        assert_eq!(run(&["member", "list"]).lines().count(), 3);
        wait_count(&cluster, 3);
    }
}
