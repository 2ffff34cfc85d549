//! What one seed draws: the cluster and its faults.

use shard::random::Random;

/// Ticks of the shortest election timeout.
pub(crate) const ELECTION_TICKS: usize = 10;

/// A rule left out on purpose: the simulation has to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A regime opens without the confirming round.
    NoConfirm,
    /// Indices go on above what is visible, not above what the logs hold.
    NoBase,
    /// `visible` does not wait for what is not committed.
    EarlyVisible,
    /// A lost leadership does not close the regime.
    Thaw,
    /// A write counts as durable when it is handed to the disk.
    AckBeforeDurable,
    /// A member whose disk was wiped votes like any other.
    VoteAfterAmnesia,
    /// A follower takes a frontier as shown when it comes.
    EarlyFrontier,
    /// A member ahead of `visible` after a snapshot shows its state.
    ShowsAhead,
}

/// Seeds that once found something, and what. They only speak of it as long as the plans are drawn the same way; and those
/// in which members change take another course since the groups follow `shard::membership` here, too.
pub(crate) const KNOWN_SEEDS: &[(&str, u64)] = &[
    ("a snapshot came twice", 45),
    ("a member campaigned before its snapshot was durable", 60),
    ("a leader was removed by what an earlier one had proposed", 449),
    ("a survivor forgot that the other one had left", 340),
    ("the first group's leader had no vote elsewhere", 249),
    ("who had left the first group went on leading others", 293),
    ("an amnesiac in a quiet group got a snapshot and nothing after", 2997),
    ("an amnesiac waited for the answer of a member that had left", 2),
    ("a leader had stepped down before its snapshot was sent", 1729),
    ("a leader had stepped down before its snapshot was sent, with members changing", 3933),
    ("an amnesiac was told of a term that was not durable, and believed no leader after", 1567),
    ("the same in every group at once", 3186),
];

fn is_known(seed: u64) -> bool {
    KNOWN_SEEDS.iter().any(|(_, known)| *known == seed)
}

/// The cluster, its load and its faults, in thousandths of the steps or messages concerned.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) founders: usize,
    /// A member that joins, gets a vote, and whose predecessor leaves.
    pub(crate) changes_members: bool,
    pub(crate) shards: u16,
    pub(crate) cores_max: usize,
    pub(crate) steps: usize,
    pub(crate) loss: usize,
    pub(crate) duplicates: usize,
    /// Messages among which the next one is drawn.
    pub(crate) reorder: usize,
    pub(crate) crashes: usize,
    pub(crate) wipes: bool,
    pub(crate) partitions: usize,
    pub(crate) transfers: usize,
    pub(crate) slow_disk: bool,
    /// Steps of a core that is asleep are skipped.
    pub(crate) naps: usize,
    pub(crate) nap_steps: usize,
    pub(crate) tail_bytes: usize,
    /// Entries that a read of the log on disk gives at most; with 0 the disk never has them any more.
    pub(crate) log_read_entries: usize,
    pub(crate) bug: Option<Bug>,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let founders = [1, 3, 3, 3, 3, 5][random.below(6)];
        let mut pick = |from: &[usize]| from[random.below(from.len())];
        Self {
            founders,
            changes_members: pick(&[0, 0, 0, 1]) == 1,
            shards: pick(&[1, 2, 2, 3, 4, 8]) as u16,
            cores_max: pick(&[1, 2, 3]),
            steps: pick(&[1500, 3000, 5000]) * founders / 2,
            loss: pick(&[0, 0, 20, 100, 300]),
            duplicates: pick(&[0, 20, 200]),
            reorder: pick(&[1, 3, 20]),
            crashes: pick(&[0, 1, 3, 10]),
            wipes: pick(&[0, 0, 1]) == 1,
            partitions: pick(&[0, 1, 4, 15]),
            transfers: pick(&[0, 2, 6]),
            slow_disk: pick(&[0, 0, 1]) == 1,
            naps: pick(&[0, 2, 5]),
            nap_steps: 200,
            tail_bytes: pick(&[0, 300, 1 << 20]),
            // Not drawn like the others: seeds that found something must stay what they were.
            log_read_entries: if is_known(seed) { 0 } else { [0, 5, 50][Random::new(seed, 6).below(3)] },
            bug: None,
        }
    }

    /// A run that shows what a rule is good for, if it is left out.
    pub(crate) fn for_bug(seed: u64, bug: Bug) -> Self {
        let drawn = Self { bug: Some(bug), ..Self::draw(seed) };
        let calm = Self { founders: 3, changes_members: false, wipes: false, partitions: 25, loss: 100, ..drawn };
        match bug {
            // Wiped disks among members that do not all hold the same.
            Bug::VoteAfterAmnesia => Self { wipes: true, crashes: 25, ..calm },
            // Leaderships that move, and cores that learn of it late.
            Bug::NoConfirm | Bug::Thaw => {
                let (shards, cores_max, steps, partitions) = (2, 3, 20_000, 4);
                let (transfers, naps, nap_steps) = (3, 5, 400);
                Self { shards, cores_max, steps, partitions, transfers, naps, nap_steps, crashes: 0, loss: 0, ..calm }
            }
            _ => drawn,
        }
    }
}
