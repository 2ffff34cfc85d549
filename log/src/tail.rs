//! The hard decision: the next batch of a log is not there, or not whole. Was the write never finished (and so nothing in
//! it was promised), or has something that may have been promised been lost?
//!
//! What the batch's own sectors say ([`Found`]) is one half. The other is what came later ([`Evidence`]): at most
//! [`MAX_IN_FLIGHT`] batches are being written at a time, and every batch says which were durable when it was submitted.

use crate::ids::BatchSeq;

/// Writes under way at a time per log. More bring nothing on the disks measured, and recovery leans on the bound: one
/// sector of batch *n + 2* proves that batch *n* had been durable.
pub const MAX_IN_FLIGHT: usize = 2;

/// What the sectors of the next batch, number *n*, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All there, all checksums right.
    Whole,
    /// No sector was written.
    Absent,
    /// Some sectors were written, the others are stale, none is rotten.
    Unfinished,
    /// A sector that it covers, or may begin with, is neither old nor new; or all are there and do not make a batch.
    Rotten,
}

/// What later writes say about batch *n*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// There are no later writes.
    Nothing,
    /// Batch *n + 1* was written, while *n* was still under way.
    StillUnderWay,
    /// Something was written, or recorded, only after *n* was durable.
    WasDurable,
}

/// What becomes of batch *n*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Part of the log.
    Keep,
    /// The log ends before it, and nothing is there.
    End,
    /// The log ends before it: it and what follows was never promised.
    TornTail,
    /// It may have been promised and cannot be read: refuse, repair.
    Damaged,
}

/// Decides.
pub const fn judge(found: Found, later: Evidence) -> Verdict {
    match (found, later) {
        (Found::Whole, _) => Verdict::Keep,
        (Found::Absent, Evidence::Nothing) => Verdict::End,
        // A crash leaves every sector old or new: with an old one missing a new one, the write was never finished.
        (Found::Unfinished, Evidence::Nothing) | (Found::Absent | Found::Unfinished, Evidence::StillUnderWay) => {
            Verdict::TornTail
        }
        // A lost write was promised and is not there. Rot no crash makes, so that the stale sectors beside it cannot be
        // trusted either.
        (Found::Absent | Found::Unfinished, Evidence::WasDurable) | (Found::Rotten, _) => Verdict::Damaged,
    }
}

/// Weighs one later write against batch `lost`. `synced_upto` is what the header of `seen` says, when it can be read.
pub(crate) fn weigh(lost: BatchSeq, seen: BatchSeq, synced_upto: Option<BatchSeq>) -> Evidence {
    if seen.get() >= lost.get() + MAX_IN_FLIGHT as u64 || synced_upto.is_some_and(|synced| synced >= lost) {
        Evidence::WasDurable
    } else if seen > lost {
        Evidence::StillUnderWay
    } else {
        Evidence::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        use Evidence::{Nothing, StillUnderWay, WasDurable};
        use Found::{Absent, Rotten, Unfinished, Whole};
        for (name, found, later, want) in [
            ("the last batch", Whole, Nothing, Verdict::Keep),
            ("a batch with one unsynced behind it", Whole, StillUnderWay, Verdict::Keep),
            ("a batch in the middle", Whole, WasDurable, Verdict::Keep),
            ("a clean end", Absent, Nothing, Verdict::End),
            ("two under way, the first did not begin", Absent, StillUnderWay, Verdict::TornTail),
            ("a lost write in the middle", Absent, WasDurable, Verdict::Damaged),
            ("power cut in the last write", Unfinished, Nothing, Verdict::TornTail),
            ("two under way, the first is torn", Unfinished, StillUnderWay, Verdict::TornTail),
            ("a write lost in part, in the middle", Unfinished, WasDurable, Verdict::Damaged),
            ("rot in or right after the last batch", Rotten, Nothing, Verdict::Damaged),
            ("rot in the last but one", Rotten, StillUnderWay, Verdict::Damaged),
            ("rot in the middle", Rotten, WasDurable, Verdict::Damaged),
        ] {
            assert_eq!(judge(found, later), want, "{name}");
        }
    }

    #[test]
    fn what_a_later_write_proves() {
        use Evidence::{Nothing, StillUnderWay, WasDurable};
        let seq = BatchSeq::new;
        for (name, seen, synced, want) in [
            ("the batch itself", 10, Some(8), Nothing),
            ("one before it", 9, Some(8), Nothing),
            ("the next, submitted while it was under way", 11, Some(9), StillUnderWay),
            ("the next, without its header", 11, None, StillUnderWay),
            ("the next, submitted after it was durable", 11, Some(10), WasDurable),
            ("the next but one, whatever it says", 12, None, WasDurable),
        ] {
            assert_eq!(weigh(seq(10), seq(seen), synced.map(seq)), want, "{name}");
        }
    }
}
