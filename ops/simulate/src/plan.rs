//! What one seed draws: the cluster, its load and its faults.

use std::fmt;

use shard::history::HistoryLimits;
use shard::random::Random;

/// Ticks of the shortest election timeout.
pub(crate) const ELECTION_TICKS: usize = 10;

/// Events that a short history keeps: fewer than most shards have, more than come in most turns.
const HISTORY_EVENTS: usize = 30;

macro_rules! plan {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// The cluster, its load and its faults. Rates are in thousandths of the steps or messages concerned, where nothing
        /// else is said.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Plan {
            $($(#[doc = $doc])+ pub $name: usize,)*
        }

        impl Plan {
            /// Every number, by its name.
            pub fn knobs(&mut self) -> Vec<(&'static str, &mut usize)> {
                vec![$((stringify!($name), &mut self.$name),)*]
            }
        }

        impl fmt::Display for Plan {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let numbers = [$((stringify!($name), self.$name),)*];
                let texts: Vec<String> = numbers.iter().map(|(name, number)| format!("{name}={number}")).collect();
                f.write_str(&texts.join(" "))
            }
        }
    };
}

plan! {
    /// Members of the first hour.
    founders,
    /// 1: a member joins, gets a vote, and the first one leaves.
    changes_members,
    /// Shards, and so groups.
    shards,
    /// Every start draws its number of cores up to this one.
    cores_max,
    /// Steps before everything is healed.
    steps,
    /// Of the messages: lost.
    loss,
    /// Of the messages: doubled.
    duplicates,
    /// Messages among which the next one is drawn.
    reorder,
    /// Times in a run, about.
    kills,
    /// Times in a run, about.
    power_cuts,
    /// Of the starts.
    cuts_in_boot,
    /// Times in a run, about.
    failed_writes,
    /// Times in a run, about.
    full_disks,
    /// Of the crashes.
    wipes,
    /// Of the crashes: a bit or a sector rots while the node is down.
    rot,
    /// Of the crashes.
    misdirected,
    /// Of the crashes.
    stale,
    /// Calls that the disk of a node makes of those that are due; 1000: all.
    disk_speed,
    /// Times in a run, about.
    partitions,
    /// Times in a run, about: one group's leadership goes elsewhere.
    transfers,
    /// Times in a run, about: a core sleeps.
    naps,
    /// Times in a run, about: a node stands still.
    pauses,
    /// Times in a run, about.
    clock_jumps,
    /// Applied entries that a group keeps in memory, in bytes.
    tail_bytes,
    /// Blocks of a segment.
    segment_blocks,
    /// Segments beyond which an old one is given up by force.
    segments_max,
    /// Of the steps.
    snapshots,
    /// Snapshots of a shard that are kept.
    keep,
    /// Entries that a read of the log gives at most; 0: none are there any more.
    log_read_entries,
    /// Bytes of a value, at most.
    value_bytes,
    /// 1: there are keys that expire and hidden ones, watches that begin in the past of a short history, and refusals that
    /// need no place in the log.
    wide,
    /// Of the changes of members that are proposed: whom it is about gets the first group as soon as it can lead it.
    upsets,
    /// The first node's power goes at this call of its disk, counted from 1; then the run goes on to its end. 0: it does not.
    cut_at,
    /// And once more at this call after that, counted from 1: the first ones are those of a start. 0: it does not.
    cut_again_at,
    /// What these leave of what was not synced: a place in `Survives::ALL`.
    cut_leaves,
}

impl Plan {
    /// What a seed stands for.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let mut pick = |from: &[usize]| from[random.below(from.len())];
        let founders = pick(&[1, 1, 3, 3, 3, 3, 5]);
        // Damage costs a cluster of one its data: it must not have any other member to be confused with.
        let changes_members = pick(&[0, 0, 0, 1]);
        let may_lose = founders > 1 || changes_members == 0;
        let may = |drawn: usize, allowed: bool| if allowed { drawn } else { 0 };
        Self {
            founders,
            changes_members,
            shards: pick(&[1, 2, 2, 3, 4, 8, 16]),
            cores_max: pick(&[1, 2, 3, 4]),
            steps: pick(&[1500, 3000, 6000]) * (founders + 1) / 2,
            loss: pick(&[0, 0, 20, 100, 300]),
            duplicates: pick(&[0, 20, 200]),
            reorder: pick(&[1, 3, 20]),
            kills: pick(&[0, 2, 6]),
            power_cuts: pick(&[0, 3, 8, 20]),
            cuts_in_boot: pick(&[0, 0, 100, 400]),
            failed_writes: pick(&[0, 0, 2]),
            full_disks: pick(&[0, 0, 2]),
            wipes: may(pick(&[0, 0, 0, 200]), founders > 1),
            rot: may(pick(&[0, 0, 200]), may_lose),
            misdirected: may(pick(&[0, 0, 0, 200]), may_lose),
            stale: may(pick(&[0, 0, 0, 200]), may_lose),
            disk_speed: pick(&[1000, 1000, 500, 150]),
            partitions: pick(&[0, 2, 6, 20]),
            transfers: pick(&[0, 3, 10]),
            naps: pick(&[0, 5, 20]),
            pauses: pick(&[0, 0, 3]),
            clock_jumps: pick(&[0, 0, 4]),
            tail_bytes: pick(&[0, 300, 1 << 20]),
            segment_blocks: pick(&[8, 16, 32]),
            segments_max: pick(&[4, 8, 16]),
            snapshots: pick(&[2, 10, 30]),
            keep: pick(&[2, 2, 3, 5]),
            log_read_entries: pick(&[0, 5, 50]),
            value_bytes: pick(&[8, 8, 600, 5000]),
            wide: pick(&[0, 1, 1]),
            upsets: pick(&[0, 300]),
            cut_at: 0,
            cut_again_at: 0,
            cut_leaves: 0,
        }
    }

    /// The first node alone with its load: nobody takes its data over, and nothing goes wrong but what is asked for.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            founders: 1,
            changes_members: 0,
            loss: 0,
            duplicates: 0,
            reorder: 1,
            kills: 0,
            power_cuts: 0,
            cuts_in_boot: 0,
            failed_writes: 0,
            full_disks: 0,
            wipes: 0,
            rot: 0,
            misdirected: 0,
            stale: 0,
            disk_speed: 1000,
            partitions: 0,
            transfers: 0,
            naps: 0,
            pauses: 0,
            clock_jumps: 0,
            upsets: 0,
            ..self
        }
    }

    /// Sets a number by its name, as `name=number`.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let (name, number) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=NUMBER"))?;
        let number = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
        let mut knobs = self.knobs();
        let knob = knobs.iter_mut().find(|(of, _)| *of == name).ok_or_else(|| format!("a plan has no {name:?}"))?;
        *knob.1 = number;
        Ok(())
    }

    /// What a shard remembers of its events.
    pub(crate) fn history(&self) -> HistoryLimits {
        let all = HistoryLimits::default();
        HistoryLimits { events: if self.wide == 1 { HISTORY_EVENTS } else { all.events }, ..all }
    }

    /// Nodes that there ever are.
    pub(crate) fn nodes(&self) -> usize {
        self.founders + self.changes_members
    }

    /// Calls of the first node's disk before each cut of its power that is planned.
    pub(crate) fn calls_before_cuts(&self) -> impl Iterator<Item = u64> {
        [self.cut_at, self.cut_again_at].into_iter().map_while(|at| at.checked_sub(1)).map(|calls| calls as u64)
    }

    /// Whether something that happens so many times in a run happens in this step.
    pub(crate) fn strikes(&self, times: usize, random: &mut Random) -> bool {
        times > 0 && random.below(self.steps.max(1)) < times
    }
}
