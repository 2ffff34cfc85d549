//! Members are removed while the cluster runs.

use std::time::Instant;

use super::api::{add, added, remove, wait_count};
use super::load::{Load, assert_kept, assert_ordered};
use super::members::{Cluster, Setup};
use super::tail::{assert_contains, assert_grows, tails};
use crate::harness::{Ended, uetcd_only};

fn start(members: usize) -> Cluster {
    Setup::new().args(&["--strict-reconfig-check=false"]).start(members)
}

/// A removed member says so and ends well.
fn assert_bows_out(ended: &Ended) {
    assert_eq!(ended.code(), 0, "{ended:?}");
    for line in [
        "the member has been permanently removed from the cluster",
        "the data-dir used by this member must be removed.",
    ] {
        assert!(ended.stderr.contains(line), "{line:?} in {}", ended.stderr);
    }
}

#[test]
fn a_removed_follower_ends_by_itself_and_stays_out() {
    uetcd_only!("etcd 3.4 logs it in other words");
    let mut cluster = start(3);
    let gone = cluster.followers()[1];
    let via = cluster.followers()[0];
    let id = cluster.id(via, gone);
    let begun = Instant::now();
    assert_eq!(remove(&cluster, via, &id).status, 204);
    assert_bows_out(&cluster.wait_gone(gone));
    println!("it was gone after {:?}", begun.elapsed());
    cluster.wait_writable();
    wait_count(&cluster, 2);
    // With its data it is told again.
    cluster.restart(gone);
    assert_bows_out(&cluster.wait_gone(gone));
    // Its URL may come back, under another id and without the data.
    let second = added(&cluster, via, &cluster.peer_url(gone));
    assert_ne!(second, id, "ids never return");
    cluster.rejoin(gone);
    cluster.wait_writable();
    cluster.wait_published();
    cluster.wait_voter(gone);
    cluster.wait_converged();
    // It counts: the loss of another one is borne.
    let dead = cluster.primary();
    cluster.kill(dead);
    cluster.wait_writable();
    cluster.wait_converged();
}

#[test]
fn a_removed_primary_makes_room_for_another_and_watchers_go_on() {
    uetcd_only!("etcd 3.4 logs it in other words");
    for through_itself in [false, true] {
        let mut cluster = start(3);
        let load = Load::on(&cluster, "x");
        let tails = tails(&cluster);
        let gone = cluster.primary();
        let via = if through_itself { gone } else { cluster.followers()[0] };
        load.during(3, || {
            load.wait_for_more(100);
            let id = cluster.id(via, gone);
            let begun = Instant::now();
            let answer = remove(&cluster, via, &id);
            assert_eq!(answer.status, 204, "through itself: {through_itself}: {answer:?}");
            assert_bows_out(&cluster.wait_gone(gone));
            println!("through itself: {through_itself}: gone after {:?}", begun.elapsed());
            load.wait_for_more(100);
        });
        println!("longest wait of a client: {:?}", load.longest_wait());
        wait_count(&cluster, 2);
        let marker = cluster.client(cluster.up()[0]).set("/marker", "");
        for (_, tail) in tails.iter().filter(|(nth, _)| *nth != gone) {
            let seen = tail.up_to(marker);
            assert_grows(&seen);
            assert_contains(tail.since, &seen, &load.acked());
        }
        assert_ordered(&load.acked());
        assert_kept(&load.acked(), &cluster.wait_converged());
    }
}

#[test]
fn a_follower_that_is_asked_for_its_own_removal_answers_before_it_goes() {
    uetcd_only!("etcd 3.4 logs it in other words");
    for _ in 0..3 {
        let mut cluster = start(3);
        let gone = cluster.followers()[0];
        let answer = remove(&cluster, gone, &cluster.id(gone, gone));
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_bows_out(&cluster.wait_gone(gone));
    }
}

#[test]
fn a_member_that_is_down_can_be_removed_and_learns_of_it_when_it_comes_back() {
    uetcd_only!("etcd 3.4 logs it in other words");
    let mut cluster = start(3);
    let gone = cluster.followers()[0];
    cluster.kill(gone);
    let via = cluster.up()[0];
    assert_eq!(remove(&cluster, via, &cluster.id(via, gone)).status, 204);
    wait_count(&cluster, 2);
    cluster.restart(gone);
    assert_bows_out(&cluster.wait_gone(gone));
    cluster.wait_writable();
    cluster.wait_converged();
}

#[test]
fn three_members_shrink_to_one_that_serves() {
    uetcd_only!("etcd 3.4 logs it in other words");
    let mut cluster = start(3);
    cluster.client(0).set("/kept", "1");
    for _ in 0..2 {
        let gone = cluster.primary();
        let via = cluster.followers()[0];
        assert_eq!(remove(&cluster, via, &cluster.id(via, gone)).status, 204);
        assert_bows_out(&cluster.wait_gone(gone));
        cluster.wait_writable();
    }
    let last = cluster.up()[0];
    wait_count(&cluster, 1);
    cluster.kill(last);
    cluster.restart(last);
    cluster.wait_writable();
    assert_eq!(cluster.client(last).value("/kept").as_deref(), Some("1"));
}

#[test]
fn strict_checks_refuse_what_would_cost_the_quorum() {
    uetcd_only!("etcd 3.4 also wants to have been connected for a while");
    let mut cluster = Setup::new().args(&["--strict-reconfig-check"]).start(2);
    let first = added(&cluster, 0, &cluster.next_plan().peer_url());
    // Two of three have started: a fourth would need three.
    let answer = add(&cluster, 0, &cluster.next_plan().peer_url());
    assert_eq!(answer.status, 500, "{answer:?}");
    let answer = remove(&cluster, 0, &cluster.id(0, 1));
    assert_eq!(answer.status, 500, "{answer:?}");
    assert_eq!(remove(&cluster, 1, &first).status, 204);
    wait_count(&cluster, 2);
    let gone = cluster.followers()[0];
    let via = cluster.primary();
    assert_eq!(remove(&cluster, via, &cluster.id(via, gone)).status, 204);
    assert_bows_out(&cluster.wait_gone(gone));
    cluster.wait_writable();
}
