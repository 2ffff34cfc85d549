//! Rules left out on purpose, to see that the simulation notices: a mutant is planted in the real code, and at most one is
//! awake at a time, per thread.
//!
//! Without the feature `planted`, [`is`] is a constant `false`, and the compiler leaves out what depends on it: a server has
//! nothing of this in it. See `docs/simulation.md`.

macro_rules! mutants {
    ($($name:ident: $breaks:literal,)*) => {
        /// A rule left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $breaks] $name,)*
        }

        #[cfg(feature = "planted")]
        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it is called.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What is wrong with it.
            pub const fn breaks(self) -> &'static str {
                match self {
                    $(Self::$name => $breaks,)*
                }
            }

            /// The one of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
            }
        }
    };
}

mutants! {
    // The one order.
    PendingNotCounted: "`visible` does not wait for what is not committed",
    VisibleOneTooHigh: "`visible` is raised onto the oldest index that is not committed",
    ReachedByOneShard: "a follower shows what one shard has reached, and not all",
    ReachedTooEarly: "a frontier counts as reached one entry before its position",
    FrontierTooHigh: "a primary tells the others of an index more than is visible",
    FrontierNotedTooHigh: "the log is told that all it holds may be shown",
    AppliedAboveVisible: "what is committed is applied before it is visible",
    CommitsOneTooMany: "with a batch that is committed, the next one counts as committed",
    CompleteTooEarly: "events are handed out before other shards have theirs",
    SkippedIndices: "a regime does not go on right above the last index in its logs",
    RegimeGoesOn: "a regime goes on when a leadership is lost",
    SpoiledRegimeOpens: "a regime opens although a leadership was lost in its confirming round",
    OneConfirmationIsEnough: "a regime opens when one group is confirmed",
    LossForgotten: "who opens regimes does not hear of lost leaderships",
    RegimeUnconfirmed: "a regime opens without its confirming round",
    ReadUnconfirmed: "a quorum read is answered without its round",
    // The groups.
    SentBeforeDurable: "a follower acknowledges before it has written",
    CommitMarkTooHigh: "the commit mark on the disk covers whatever is written",
    VotesAfterAmnesia: "a member that has lost what it promised votes like any other",
    LearnerVotes: "a learner counts as a voter",
    VotesAtOnce: "a member gets its vote in the first group without waiting for the others",
    LeavesAtOnce: "a member leaves a group before it has left the first one",
    GoneTooEarly: "a member is switched off when the first group has let it go",
    GoneAwaited: "a member that has lost what it promised waits for the answer of one that has left",
    LossUnnoticed: "a leader does not hear that a member lost what it had acknowledged",
    // Commands, answers, watches.
    ComparesStaleValue: "a compare-and-swap compares with the value before the last change",
    RemembersTheRemoved: "a file that was read is shown after it has gone",
    RemembersWhatWasBelow: "a file that was read is shown after its directory has gone",
    ForwardedTwice: "a forwarded command can come twice",
    RefusedUnsettled: "a refusal is made up from a state with changes under way",
    EventSkipped: "every fiftieth event is delivered to nobody",
    EventTwice: "every fiftieth event is delivered twice",
    WatchBeginsLate: "a watch misses the event at its own first index",
    WatchOutlivesState: "watches go on when a snapshot has taken the state's place",
    ReplayBeginsLate: "a replay misses the event at its own first index",
    ClearedOffByOne: "a watch is not refused whose very first event is the last one that is gone",
    // Lifetimes.
    ExpiresEarly: "keys go two seconds early",
    ExpiresTheNewer: "a key goes that was written anew since its time was up",
    RebaseForgotten: "a new primary's clock is taken as it is",
    RebaseBackwards: "the timelines move against the clock instead of with it",
    // Snapshots.
    SnapshotWithoutHidden: "a snapshot lacks the hidden keys",
    SnapshotWithoutHistory: "a snapshot lacks the events of the past",
    SnapshotWithoutTimeline: "a snapshot lacks where the timeline stands",
    SnapshotWithoutMembers: "a snapshot lacks the members of its group",
    SnapshotUnchecked: "the checksums of a snapshot are not looked at",
    NamedBeforeSynced: "a snapshot gets its name before it is synced",
    // The log.
    AckBeforeSync: "a write counts as durable when it is written, and not when it is synced",
    WrittenOutOfOrder: "a write counts as durable although an earlier one is not",
    NamesNotSynced: "the names of a directory are never synced",
    RotDropped: "a wrong checksum at the end of the log is taken for a torn tail",
    LostWriteDropped: "a write that was promised and is not there is taken for a torn tail",
    TornTailRefused: "a torn tail is taken for damage",
    UnusedStillNamed: "a start takes a segment that was not used away from the one that names it",
    OldLifeCounts: "what an earlier life of a recycled segment left there counts",
    PromisedTooEarly: "a write says of the one before it that it was durable when it may not be",
    StartsOutOfOrder: "the logs of several cores are not read in the order of the starts",
    OverrideNotAwaited: "a segment is given up before what overrides its entries is durable",
}

#[cfg(feature = "planted")]
mod awake {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static AWAKE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this one is awake in this thread.
    pub fn is(mutant: Mutant) -> bool {
        AWAKE.get() == Some(mutant)
    }

    /// Does something with a mutant awake, or with none. What is done may not unwind.
    pub fn with<T>(mutant: Option<Mutant>, act: impl FnOnce() -> T) -> T {
        let before = AWAKE.replace(mutant);
        let done = act();
        AWAKE.set(before);
        done
    }
}

#[cfg(feature = "planted")]
pub use awake::{is, with};

/// No mutant is in this build.
#[cfg(not(feature = "planted"))]
#[inline]
pub const fn is(_: Mutant) -> bool {
    false
}

/// What depends on a mutant is left out by the compiler.
#[cfg(not(feature = "planted"))]
const _: () = assert!(!is(Mutant::AckBeforeSync));
