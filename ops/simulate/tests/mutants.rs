//! The net catches fish: with a rule left out, a seed that is known to notice does, and finds nothing with all rules kept.
//!
//! `MUTANT_SEEDS=1000` looks for every mutant from the first seed on instead, in so many.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use mutant::Mutant;
use simulate::Hunt;

/// Seeds that are tried from the known one on: a change to what a run draws need not be followed here at once.
const TRIED: u64 = 10;

fn hunt(mutant: Mutant, seeds: Option<u64>) -> Hunt {
    seeds.map_or_else(|| Hunt::new(mutant, known(mutant), TRIED), |seeds| Hunt::new(mutant, 1, seeds))
}

#[test]
fn every_rule_left_out_is_noticed() {
    let seeds = std::env::var("MUTANT_SEEDS").ok().map(|seeds| seeds.parse().expect("MUTANT_SEEDS is a number"));
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, SeqCst)) {
            match hunt(*mutant, seeds).run() {
                Ok(found) => println!("{}: seed {}, {}", mutant.name(), found.seed, found.rule()),
                Err(_) => missed.lock().expect("nobody failed with it").push(mutant.name()),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let missed = missed.into_inner().expect("nobody failed with it");
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The first seed that notices.
const fn known(mutant: Mutant) -> u64 {
    match mutant {
        Mutant::PendingNotCounted
        | Mutant::VisibleOneTooHigh
        | Mutant::ReachedByOneShard
        | Mutant::AppliedAboveVisible
        | Mutant::CommitsOneTooMany
        | Mutant::CompleteTooEarly
        | Mutant::SpoiledRegimeOpens
        | Mutant::OneConfirmationIsEnough
        | Mutant::ComparesStaleValue
        | Mutant::RemembersTheRemoved
        | Mutant::RemembersWhatWasBelow
        | Mutant::EventSkipped
        | Mutant::EventTwice
        | Mutant::WatchBeginsLate
        | Mutant::ReplayBeginsLate
        | Mutant::ClearedOffByOne
        | Mutant::ExpiresEarly
        | Mutant::ExpiresTheNewer
        | Mutant::RebaseBackwards
        | Mutant::SnapshotWithoutHidden
        | Mutant::SnapshotWithoutHistory
        | Mutant::AckBeforeSync
        | Mutant::WrittenOutOfOrder
        | Mutant::NamesNotSynced
        | Mutant::TornTailRefused
        | Mutant::UnusedStillNamed
        | Mutant::PromisedTooEarly
        | Mutant::SnapshotWithoutTimeline
        | Mutant::StartsOutOfOrder => 1,
        Mutant::FrontierTooHigh
        | Mutant::RegimeGoesOn
        | Mutant::LeavesAtOnce
        | Mutant::ReachedTooEarly
        | Mutant::NamedBeforeSynced
        | Mutant::OldLifeCounts
        | Mutant::WatchOutlivesState
        | Mutant::SnapshotWithoutMembers => 2,
        Mutant::VotesAfterAmnesia => 4,
        Mutant::LossForgotten | Mutant::ForwardedTwice => 6,
        Mutant::SentBeforeDurable => 7,
        Mutant::VotesAtOnce => 13,
        Mutant::CommitMarkTooHigh => 19,
        Mutant::GoneTooEarly | Mutant::RebaseForgotten => 21,
        Mutant::FrontierNotedTooHigh => 23,
        Mutant::GoneAwaited | Mutant::LossUnnoticed => 30,
        Mutant::SkippedIndices => 32,
        Mutant::LearnerVotes => 34,
        Mutant::RefusedUnsettled => 96,
        Mutant::OverrideNotAwaited => 123,
        Mutant::LostWriteDropped => 137,
        Mutant::RotDropped => 157,
        Mutant::SnapshotUnchecked => 585,
        Mutant::ReadUnconfirmed => 463,
        Mutant::RegimeUnconfirmed => 798,
    }
}
