//! A cluster is founded: by members that start at once, and while they are cut off or stand still.

use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::api::wait_count;
use crate::cluster::members::Setup;
use crate::cluster::netns::Net;
use crate::harness::{Rng, env_number};

/// How long after the start links are cut.
const CUT: Duration = Duration::from_secs(3);

/// Founds a cluster whose members are cut off or stand still in turn, sooner than they can tell each other who they are.
fn found(members: usize, seed: u64) {
    let mut rng = Rng::new(seed);
    let net = Net::of(members);
    let mut cluster = Setup::new().election_ms(500).on(&net).launch(members);
    let begun = Instant::now();
    while begun.elapsed() < CUT {
        thread::sleep(Duration::from_millis(20 + rng.below(200)));
        let victim = rng.below(members as u64) as usize;
        let pause = Duration::from_millis(rng.below(400));
        if rng.one_in(2) {
            net.isolate(victim);
            thread::sleep(pause);
            net.heal();
        } else {
            cluster.pause(victim);
            thread::sleep(pause);
            cluster.resume(victim);
        }
    }
    let healed = Instant::now();
    cluster.wait_writable();
    println!("seed {seed}: all members took writes {:?} after the last cut", healed.elapsed());
    cluster.wait_published();
    wait_count(&cluster, members);
    cluster.wait_converged();
}

#[test]
fn five_members_found_a_cluster_time_and_again() {
    for round in 0..2 * env_number("SUITE_CLUSTER_ROUNDS", 4) {
        let cluster = Setup::new().election_ms(500).launch(5);
        cluster.wait_writable();
        wait_count(&cluster, 5);
        println!("round {round}: all five are in");
    }
}

#[test]
fn members_that_are_cut_off_while_the_cluster_is_founded_find_each_other() {
    for round in 0..env_number("SUITE_CLUSTER_ROUNDS", 4) {
        found(if round % 2 == 0 { 5 } else { 3 }, env_number("SUITE_CLUSTER_SEED", 1) + round);
    }
}
