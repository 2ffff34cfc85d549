//! Some seeds, the same twice, and seeds in which a planted bug has to be found.

use simulate::{Counts, Happened, Plan, run};

/// Few enough for every change, and in which everything happens that can.
const SEEDS: std::ops::Range<u64> = 1920..1950;

#[test]
fn seeds_keep_all_rules_and_faults_are_really_injected() {
    let mut counts = Counts::default();
    for seed in SEEDS {
        match run(seed, &Plan::draw(seed), false) {
            Ok(outcome) => counts.merge(&outcome.counts),
            Err(failure) => panic!("seed {seed}: {}\nlook at it with: simulate --seed {seed}", failure.what),
        }
    }
    for what in Happened::ALL {
        assert!(counts.of(*what) > 0, "{}: never in these seeds", what.name());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let hash = |seed, readable| run(seed, &Plan::draw(seed), readable).map(|outcome| outcome.trace_hash).ok();
    for seed in 3..6 {
        assert_eq!(hash(seed, false), hash(seed, false));
    }
    assert_eq!(hash(3, false), hash(3, true), "to look changes nothing");
    assert_ne!(hash(3, false), hash(4, false));
}

/// Seeds that once found something, and what. They only speak of it as long as the plans are drawn the same way.
const KNOWN_SEEDS: &[KnownSeed] = &[
    KnownSeed {
        what: "a core without shards was cut off in a start, while it gave up the segments that it had never written to",
        seed: 1121,
        // It is older than the wide load.
        plan: |plan| Plan { wide: 0, ..plan },
    },
    KnownSeed {
        what: "a member had been sent an empty state, which rotted: its log was taken for one that begins there",
        seed: 4436,
        plan: |plan| plan,
    },
];

struct KnownSeed {
    what: &'static str,
    seed: u64,
    plan: fn(Plan) -> Plan,
}

#[test]
fn seeds_that_found_something() {
    for KnownSeed { what, seed, plan } in KNOWN_SEEDS {
        let failed = run(*seed, &plan(Plan::draw(*seed)), false).err();
        assert!(failed.is_none(), "{what}: {failed:?}");
    }
}
