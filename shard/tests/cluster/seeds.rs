//! Seeds: many, the same twice, and those that once found something.

use std::panic::catch_unwind;

use crate::plan::{KNOWN_SEEDS, Plan};
use crate::settle::run;
use crate::world::Counts;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What a seed counted, or how it failed.
fn run_seed(seed: u64) -> Result<Counts, String> {
    catch_unwind(|| run(seed, Plan::draw(seed)).counts).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        format!("SIM_SEED={seed}: {}", text.unwrap_or_else(|| "panicked".into()))
    })
}

#[test]
fn every_seed_keeps_the_one_order_and_comes_to_rest() {
    let seeds: Vec<u64> = match number("SIM_SEED", 0) {
        0 => (0..number("SIM_SEEDS", 50)).map(|n| n + number("SIM_FIRST", 1)).collect(),
        seed => vec![seed],
    };
    let (counts, failed): (Vec<_>, Vec<_>) = seeds.iter().map(|seed| run_seed(*seed)).partition(Result::is_ok);
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of {} seeds failed:\n{}", failed.len(), seeds.len(), failed.join("\n"));
    let counts: Vec<Counts> = counts.into_iter().filter_map(Result::ok).collect();
    let total = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
    let happened = [
        ("crashes", total(|c| c.crashes)),
        ("wipes", total(|c| c.wipes)),
        ("partitions", total(|c| c.partitions)),
        ("transfers", total(|c| c.transfers)),
        ("naps", total(|c| c.naps)),
        ("messages lost", total(|c| c.lost)),
        ("snapshots sent", total(|c| c.snapshots)),
        ("snapshots installed", total(|c| c.installed)),
        ("watches ended", total(|c| c.watches_ended)),
        ("regimes", total(|c| c.regimes)),
        ("acknowledged", total(|c| c.acknowledged)),
        ("forwarded", total(|c| c.forwarded)),
        ("quorum reads", total(|c| c.reads)),
        ("promoted", total(|c| c.promoted)),
        ("removed", total(|c| c.removed)),
        ("read from the log", total(|c| c.fetched)),
        ("not in the log any more", total(|c| c.not_fetched)),
    ];
    println!("{} seeds: {happened:?}", counts.len());
    println!("rounds to rest, at most: {:?}", counts.iter().map(|c| c.rounds_to_rest).max());
    if counts.len() >= 50 {
        for (what, times) in happened {
            assert!(times > 0, "{what}: never in {} seeds", counts.len());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| {
        let world = run(seed, Plan::draw(seed));
        (world.truth.trace, world.now, world.counts.acknowledged)
    };
    for seed in [3, 4, 5] {
        assert_eq!(trace(seed), trace(seed));
    }
    assert_ne!(trace(3), trace(4));
}

#[test]
fn seeds_that_found_something() {
    for (what, seed) in KNOWN_SEEDS {
        assert_eq!(run_seed(*seed).err(), None, "{what}");
    }
}
