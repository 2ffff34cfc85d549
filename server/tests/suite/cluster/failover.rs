//! The primary dies under load: the others go on, nothing is lost, watchers notice nothing.

use std::time::{Duration, Instant};

use super::load::{Load, assert_kept, assert_ordered};
use super::members::{Cluster, Setup};
use super::tail::{Tail, assert_contains, assert_grows, assert_same, tails};
use crate::harness::{env_number, eventually};

/// Kills the primary; how long it was until a write begun afterwards was acknowledged, and who it was.
fn kill_primary(cluster: &mut Cluster, load: &Load) -> (Duration, usize) {
    let primary = cluster.primary();
    let killed = Instant::now();
    cluster.kill(primary);
    let limit = 2 * cluster.election() + Duration::from_secs(1);
    let writable =
        eventually("writes are acknowledged again", limit + Duration::from_secs(10), || load.first_after(killed));
    (writable - killed, primary)
}

/// The streams of the survivors go on; the one of the dead shows what the survivors show, as far as it goes.
fn check_streams(cluster: &Cluster, tails: Vec<(usize, Tail)>, dead: usize, load: &Load) {
    let marker = cluster.client(cluster.up()[0]).set("/marker", "");
    let (of_dead, survivors): (Vec<_>, Vec<_>) = tails.into_iter().partition(|(nth, _)| *nth == dead);
    let acked = load.acked();
    let seen: Vec<_> = survivors.iter().map(|(_, tail)| (tail.since, tail.up_to(marker))).collect();
    for (since, events) in &seen {
        assert_grows(events);
        assert_same((seen[0].0, &seen[0].1), (*since, events));
        assert_contains(*since, events, &acked);
    }
    for (_, tail) in of_dead {
        let (since, events) = (tail.since, tail.ended());
        assert_grows(&events);
        assert_same((seen[0].0, &seen[0].1), (since, &events));
    }
}

fn rounds(setup: Setup, members: usize, rounds: u64) {
    let mut cluster = setup.start(members);
    let load = Load::on(&cluster, "l");
    let mut took = Vec::new();
    for round in 0..rounds {
        let tails = tails(&cluster);
        let dead = load.during(4, || {
            load.wait_for_more(200);
            let (gap, dead) = kill_primary(&mut cluster, &load);
            took.push(gap);
            load.wait_for_more(200);
            dead
        });
        check_streams(&cluster, tails, dead, &load);
        cluster.restart(dead);
        cluster.wait_writable();
        let listing = cluster.wait_converged();
        assert_kept(&load.acked(), &listing);
        println!("round {round}: member {dead} was killed, writable after {:?}", took.last());
    }
    assert_ordered(&load.acked());
    took.sort();
    println!("fail-over of {members} members: {took:?}; longest wait of a client {:?}", load.longest_wait());
    // An election that nobody wins is held once more.
    let (usual, longest) = (2 * cluster.election(), 4 * cluster.election() + Duration::from_secs(1));
    assert!(took[(took.len() - 1) / 2] <= usual, "usually not writable within {usual:?}: {took:?}");
    assert!(took.iter().all(|took| *took <= longest), "not writable within {longest:?}: {took:?}");
}

#[test]
fn a_killed_primary_is_replaced_and_nothing_acknowledged_is_lost() {
    rounds(Setup::new(), 3, env_number("SUITE_CLUSTER_ROUNDS", 4));
}

#[test]
fn five_members_bear_the_loss_of_two_primaries_in_a_row() {
    let mut cluster = Setup::new().start(5);
    let load = Load::on(&cluster, "f");
    let tails = tails(&cluster);
    let dead: Vec<usize> = load.during(4, || {
        (0..2)
            .map(|_| {
                load.wait_for_more(150);
                let (gap, dead) = kill_primary(&mut cluster, &load);
                println!("member {dead} was killed, writable after {gap:?}");
                dead
            })
            .collect()
    });
    let (gone, left): (Vec<_>, Vec<_>) = tails.into_iter().partition(|(nth, _)| dead.contains(nth));
    check_streams(&cluster, left, usize::MAX, &load);
    for (_, tail) in gone {
        assert_grows(&tail.ended());
    }
    for nth in dead {
        cluster.restart(nth);
    }
    cluster.wait_writable();
    assert_kept(&load.acked(), &cluster.wait_converged());
    assert_ordered(&load.acked());
}
