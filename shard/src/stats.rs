//! The counters of `/v2/stats/store`.
//!
//! Each request counts once, as what it was: a success or a failure. (etcd 2.3 counts some failures as successes, and
//! internal reads with the clients'.) They are this member's own and no part of what replicas must agree on.

/// What a request asked for, as far as the counters tell requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A read.
    Get,
    /// An unconditional write.
    Set,
    /// A removal.
    Delete,
    /// A write where something must be.
    Update,
    /// A write where nothing must be.
    Create,
    /// A conditional write.
    CompareAndSwap,
    /// A conditional removal.
    CompareAndDelete,
}

/// One pair of counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that succeeded.
    pub success: u64,
    /// Requests that were refused.
    pub fail: u64,
}

/// The counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    tallies: [Tally; 7],
    expired: u64,
}

impl Stats {
    /// Every counter's number, in the order of [`Stats::named`].
    pub const COUNTERS: usize = 15;

    /// Counts one request.
    pub fn count(&mut self, operation: Operation, ok: bool) {
        let tally = &mut self.tallies[operation as usize];
        if ok {
            tally.success += 1;
        } else {
            tally.fail += 1;
        }
    }

    /// Counts one expired node.
    pub fn count_expired(&mut self) {
        self.expired += 1;
    }

    /// The counters of one operation.
    pub fn tally(&self, operation: Operation) -> Tally {
        self.tallies[operation as usize]
    }

    /// Names and counts in the order of the JSON document, which ends with the current `watchers`.
    pub fn named(&self) -> [(&'static str, u64); Self::COUNTERS] {
        let [get, set, delete, update, create, swap, compare_delete] = self.tallies;
        [
            ("getsSuccess", get.success),
            ("getsFail", get.fail),
            ("setsSuccess", set.success),
            ("setsFail", set.fail),
            ("deleteSuccess", delete.success),
            ("deleteFail", delete.fail),
            ("updateSuccess", update.success),
            ("updateFail", update.fail),
            ("createSuccess", create.success),
            ("createFail", create.fail),
            ("compareAndSwapSuccess", swap.success),
            ("compareAndSwapFail", swap.fail),
            ("compareAndDeleteSuccess", compare_delete.success),
            ("compareAndDeleteFail", compare_delete.fail),
            ("expireCount", self.expired),
        ]
    }

    /// Counters as [`Stats::named`] gave them.
    pub fn from_counts(counts: [u64; Self::COUNTERS]) -> Self {
        let tallies = std::array::from_fn(|n| Tally { success: counts[2 * n], fail: counts[2 * n + 1] });
        Self { tallies, expired: counts[Self::COUNTERS - 1] }
    }

    /// The counts of two shards together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let (ours, theirs) = (self.named(), other.named());
        Self::from_counts(std::array::from_fn(|n| ours[n].1 + theirs[n].1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_where_their_names_say() {
        let mut stats = Stats::default();
        for (operation, ok, name) in [
            (Operation::Get, true, "getsSuccess"),
            (Operation::Set, false, "setsFail"),
            (Operation::Delete, true, "deleteSuccess"),
            (Operation::Update, false, "updateFail"),
            (Operation::Create, true, "createSuccess"),
            (Operation::CompareAndSwap, false, "compareAndSwapFail"),
            (Operation::CompareAndDelete, true, "compareAndDeleteSuccess"),
        ] {
            let before = stats;
            stats.count(operation, ok);
            let moved: Vec<_> = stats.named().into_iter().zip(before.named()).filter(|(a, b)| a != b).collect();
            assert_eq!(moved, [((name, 1), (name, 0))]);
        }
        stats.count_expired();
        assert_eq!(stats.named()[14], ("expireCount", 1));
        assert_eq!(Stats::from_counts(stats.named().map(|(_, n)| n)), stats);
        assert_eq!(stats.plus(&stats).tally(Operation::Get), Tally { success: 2, fail: 0 });
    }
}
