//! Links that come and go while a cluster is founded.

use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::api::wait_count;
use crate::cluster::members::Setup;
use crate::cluster::netns::Net;
use crate::harness::{Rng, env_number};

/// How long after the start links are cut.
const CUT: Duration = Duration::from_secs(3);

/// Founds a cluster whose members are cut off in turn, sooner than they can tell each other who they are.
fn found(members: usize, seed: u64) {
    let mut rng = Rng::new(seed);
    let net = Net::of(members);
    let cluster = Setup::new().election_ms(500).on(&net).launch(members);
    let begun = Instant::now();
    while begun.elapsed() < CUT {
        thread::sleep(Duration::from_millis(20 + rng.below(200)));
        net.isolate(rng.below(members as u64) as usize);
        thread::sleep(Duration::from_millis(rng.below(400)));
        net.heal();
    }
    let healed = Instant::now();
    cluster.wait_writable();
    println!("seed {seed}: all members took writes {:?} after the last cut", healed.elapsed());
    cluster.wait_published();
    wait_count(&cluster, members);
    cluster.wait_converged();
}

#[test]
fn members_that_are_cut_off_while_the_cluster_is_founded_find_each_other() {
    for round in 0..env_number("SUITE_CLUSTER_ROUNDS", 4) {
        found(if round % 2 == 0 { 5 } else { 3 }, env_number("SUITE_CLUSTER_SEED", 1) + round);
    }
}
