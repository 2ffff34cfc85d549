//! What has happened, so that a run can prove that it did something.

macro_rules! happened {
    ($($name:ident: $text:literal,)*) => {
        /// Something that a run counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Happened {
            $(#[doc = $text] $name,)*
        }

        impl Happened {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// In words.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Whether it is a fault that was injected, and not something that the cluster did.
            pub fn is_fault(self) -> bool {
                self as usize <= Self::LostLeadership as usize
            }
        }
    };
}

happened! {
    Kill: "process killed",
    PowerCut: "power cut",
    CutInBoot: "power cut within a start",
    TornWrite: "write cut in the middle",
    FailedWrite: "failed write",
    FailedSync: "failed fsync",
    FullDisk: "full disk",
    SlowDisk: "slow disk",
    Rot: "rotten sector",
    Misdirected: "misdirected block",
    Stale: "stale block",
    Wiped: "wiped disk",
    Partition: "partition",
    OneWay: "one-way partition",
    MessageLost: "message lost",
    MessageDoubled: "message doubled",
    Reordered: "message out of order",
    Nap: "pause of a core",
    Pause: "pause of a node",
    ClockJump: "clock jump",
    LostLeadership: "split leadership",
    MemberAdded: "member promoted",
    MemberRemoved: "member removed",
    TornTail: "torn tail dropped",
    Damaged: "damage found at a start",
    Refused: "start refused for damage",
    Repaired: "member went on without its log",
    SnapshotSaved: "snapshot saved",
    SnapshotCopied: "copy of a snapshot",
    SnapshotFailed: "snapshot not written",
    SnapshotAside: "damaged snapshot set aside",
    SnapshotSent: "snapshot sent",
    SnapshotInstalled: "snapshot installed",
    SegmentMade: "segment made",
    SegmentRecycled: "segment recycled",
    SegmentRetired: "segment given up",
    OutOfSpace: "write refused for space",
    Fetched: "entries read from the log",
    NotFetched: "entries not in the log any more",
    Regime: "regime opened",
    Acknowledged: "command acknowledged",
    Forwarded: "write forwarded",
    QuorumRead: "quorum read",
    PlainRead: "plain read",
    WatchEnded: "watch ended",
    WatchEvent: "event watched",
    MadeUp: "refusal without a place in the log",
    PastWatched: "watch from the past",
    PastRefused: "watch refused, its past is gone",
    Expired: "key expired",
    Rebased: "timeline joined to a clock",
}

/// How often each thing has happened.
#[derive(Clone, Debug)]
pub struct Counts(Vec<u64>);

impl Default for Counts {
    fn default() -> Self {
        Self(vec![0; Happened::ALL.len()])
    }
}

impl Counts {
    /// It has happened once more.
    pub(crate) fn count(&mut self, what: Happened) {
        self.add(what, 1);
    }

    /// It has happened so many times more.
    pub(crate) fn add(&mut self, what: Happened, times: u64) {
        self.0[what as usize] += times;
    }

    /// How often it has.
    pub fn of(&self, what: Happened) -> u64 {
        self.0[what as usize]
    }

    /// Takes in another run's.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own += other);
    }
}

/// What has happened in several runs, and in how many of them.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How often, in all of them.
    pub counts: Counts,
    runs: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: Counts::default(), runs: vec![0; Happened::ALL.len()] }
    }
}

impl Tally {
    /// Takes in one run's.
    pub fn add(&mut self, counts: &Counts) {
        for (what, runs) in Happened::ALL.iter().zip(&mut self.runs) {
            *runs += u64::from(counts.of(*what) > 0);
        }
        self.counts.merge(counts);
    }

    /// In how many runs it has happened.
    pub fn runs_with(&self, what: Happened) -> u64 {
        self.runs[what as usize]
    }
}
