//! Random scripts of members that are added, started, removed, moved, restarted and killed, while clients write.

mod leaders;
mod quorum;
mod script;

use crate::harness::{Rng, env_number, uetcd_only};

/// Runs this part of the scripts: those whose number leaves `part` when divided by the number of parts.
fn run(part: u64, parts: u64, sizes: std::ops::RangeInclusive<u64>) {
    let first = env_number("SUITE_CLUSTER_SEED", 1);
    let rounds = env_number("SUITE_SCRIPTS", 6);
    for seed in (first..first + rounds).filter(|seed| seed % parts == part) {
        let mut rng = Rng::new(seed);
        let size = sizes.start() + rng.below(sizes.end() - sizes.start() + 1);
        println!("--- seed {seed}: {size} members");
        script::play(size as usize, rng);
    }
}

#[test]
fn a_few_members_come_and_go() {
    uetcd_only!("members-learn-first: a member that was added and not started costs etcd its quorum");
    run(0, 2, 1..=3);
}

#[test]
fn many_members_come_and_go() {
    uetcd_only!("members-learn-first: a member that was added and not started costs etcd its quorum");
    run(1, 2, 3..=5);
}
