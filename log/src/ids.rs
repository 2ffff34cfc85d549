//! The numbers of the log, each with a type of its own.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($raw);

        impl $name {
            /// The number as the owner of its meaning counts it.
            pub const fn new(raw: $raw) -> Self {
                Self(raw)
            }

            /// The plain number.
            pub const fn get(self) -> $raw {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// One executor, and with it one log: `log/<core>/`.
    CoreId(u16)
}
number! {
    /// One raft group (a shard). It lives on one core from a start of the process to its end; the next start may move it.
    GroupId(u16)
}
number! {
    /// A segment of one core's log, from 1. Never used twice, and hence the name of one *life* of a recycled file.
    SegmentSeq(u32)
}
number! {
    /// A batch (one disk write) of one core's log, from 1. It grows over the whole life of the log and is never used
    /// twice, those of unfinished writes included.
    BatchSeq(u64)
}
number! {
    /// One start of the process, from 1. A start never appends to what an earlier one wrote.
    Epoch(u64)
}
number! {
    /// A position in one raft group's log, from 1; 0 is the empty log.
    RaftIndex(u64)
}

impl BatchSeq {
    /// Stands for "no batch".
    pub const NONE: Self = Self(0);

    /// The batch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The batch before this one; [`BatchSeq::NONE`] before the first.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl SegmentSeq {
    /// Stands for "no segment".
    pub const NONE: Self = Self(0);

    /// The segment after this one.
    ///
    /// Four thousand million segments of 4 MiB are 16 PiB of writes by one core: more than any disk lives for.
    #[must_use]
    pub fn next(self) -> Self {
        let Some(next) = self.0.checked_add(1) else { panic!("segment numbers of this log are used up") };
        Self(next)
    }
}

impl RaftIndex {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Whether a number that is read can have been counted: half of all there are is more than anything will ever come to, and leaves room
/// to reckon with what is next. A good checksum says who wrote a number, and not that it makes sense.
pub(crate) const fn is_counted(number: u64) -> bool {
    number <= u64::MAX / 2
}

/// Whose log it is. Part of every checksum, so that a block of another member's disk is never taken for our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// The cluster's 64-bit id.
    pub cluster: u64,
    /// The member's 64-bit id.
    pub member: u64,
}

/// A place in a raft group's log: what a snapshot covers, or what the log begins after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The last entry covered.
    pub index: RaftIndex,
    /// The term of that entry.
    pub term: u64,
}
