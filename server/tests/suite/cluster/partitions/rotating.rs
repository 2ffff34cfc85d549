//! Cuts that move on faster than an election: the leaders of the groups may end up on different members.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::scene::Scene;
use crate::cluster::members::Setup;
use crate::harness::{Rng, env_number};

/// How long the cuts rotate.
const ROTATING: Duration = Duration::from_secs(8);

/// Each time another cut, so that everybody still reaches everybody through others, or nearly so.
fn rotate(members: usize, cuts_at_once: u64, seed: u64) {
    // Elections are quick and cuts last for about one.
    let scene = Scene::with(Setup::new().election_ms(300), members);
    let mut rng = Rng::new(seed);
    let (mut rounds, mut apart) = (0, 0);
    scene.load.during(4, || {
        scene.load.wait_for_more(100);
        let begun = Instant::now();
        while begun.elapsed() < ROTATING {
            scene.net.set(draw(members, cuts_at_once, &mut rng));
            rounds += 1;
            let cut_for = Duration::from_millis(100 + rng.below(700));
            let (since, mut several) = (Instant::now(), false);
            while since.elapsed() < cut_for {
                several |= scene.led().iter().filter(|&&led| led > 0).count() > 1;
                thread::sleep(Duration::from_millis(20));
            }
            apart += u64::from(several);
        }
        scene.heal();
        scene.load.wait_for_more(100);
    });
    println!("seed {seed}: {rounds} cuts, during {apart} of them several members led groups");
    scene.finish(&[]);
}

/// So many pairs of members, some cut in one direction only.
fn draw(members: usize, count: u64, rng: &mut Rng) -> BTreeSet<(usize, usize)> {
    let mut cuts = BTreeSet::new();
    for _ in 0..count {
        let a = rng.below(members as u64) as usize;
        let b = (a + 1 + rng.below(members as u64 - 1) as usize) % members;
        cuts.insert((a, b));
        if !rng.one_in(4) {
            cuts.insert((b, a));
        }
    }
    cuts
}

#[test]
fn leaders_split_over_three_members_come_together_again() {
    rotate(3, 1, env_number("SUITE_CLUSTER_SEED", 1));
}

#[test]
fn leaders_split_by_two_cuts_of_three_come_together_again() {
    rotate(3, 2, env_number("SUITE_CLUSTER_SEED", 1) + 1);
}

#[test]
fn leaders_split_over_five_members_come_together_again() {
    rotate(5, 4, env_number("SUITE_CLUSTER_SEED", 1) + 2);
}
