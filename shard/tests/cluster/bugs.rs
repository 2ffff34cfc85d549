//! The net catches fish: with a rule left out, some seed has to notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::plan::{Bug, Plan};
use crate::settle::run;

/// A seed that notices, of the hundred from `first` on; and it finds nothing without the bug.
fn found(bug: Bug, first: u64) -> Option<u64> {
    let fails = |seed: u64, plan: Plan| catch_unwind(AssertUnwindSafe(|| run(seed, plan))).is_err();
    let seed = (first..first + 100).find(|seed| fails(*seed, Plan::for_bug(*seed, bug)))?;
    (!fails(seed, Plan { bug: None, ..Plan::for_bug(seed, bug) })).then_some(seed)
}

#[test]
fn every_planted_bug_is_found() {
    // With the first seed that is known to notice.
    let bugs = [
        (Bug::NoConfirm, 9),
        (Bug::NoBase, 1),
        (Bug::EarlyVisible, 1),
        (Bug::Thaw, 1),
        (Bug::AckBeforeDurable, 23),
        (Bug::VoteAfterAmnesia, 4),
        (Bug::EarlyFrontier, 1),
        (Bug::ShowsAhead, 2),
    ];
    std::panic::set_hook(Box::new(|_| {}));
    let results: Vec<(Bug, Option<u64>)> = bugs.map(|(bug, first)| (bug, found(bug, first))).into();
    let _ = std::panic::take_hook();
    println!("{results:?}");
    let missed: Vec<_> = results.iter().filter(|(_, seed)| seed.is_none()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
